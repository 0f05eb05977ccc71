/* SPDX-License-Identifier: MIT */
/**
 * Rows of aligned columns, for any number of rows: the first TABLE_AHEAD rows decide the widths, later ones are printed as they
 * come. Two spaces part the columns, no tabs, no trailing blanks; titles only if the columns have them. Colours only where
 * cli_colours() allows.
 *
 *     struct table *table = table_new(stdout, columns, 3);
 *     table_cell(table, "acme"); table_cellf(table, "%d", 4); table_colour(table, TABLE_RED); table_cell(table, "dead");
 *     table_free(table);                             a row ends by itself; the rest is flushed
 *
 * Out of memory: rows are lost, and table_free() returns -1.
 */
#ifndef LARDER_TABLE_H
#define LARDER_TABLE_H

#include <stddef.h>
#include <stdio.h>

#define TABLE_AHEAD 200

enum table_align { TABLE_LEFT, TABLE_RIGHT };
enum table_colour { TABLE_PLAIN, TABLE_BOLD, TABLE_DIM, TABLE_RED, TABLE_GREEN, TABLE_YELLOW, TABLE_CYAN };

struct table_column {
	const char *title;        /**< NULL in all columns = no line of titles */
	enum table_align align;
};

struct table;

/** columns are borrowed until table_free(). NULL when out of memory; the other calls accept NULL. */
struct table *table_new(FILE *out, const struct table_column *columns, size_t count);
/** The next cell of the row. The text is copied; it must be safe (human_safe()) already. */
void table_cell(struct table *table, const char *text);
void table_cellf(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** The next cell from untrusted bytes, at most max columns (0 = any). */
void table_bytes(struct table *table, const void *data, size_t len, size_t max);
/** The colour of the next cell only. */
void table_colour(struct table *table, enum table_colour colour);
/** Print what is kept back, now. */
void table_flush(struct table *table);
/** Flush and free. Returns 0, or -1 when rows were lost. */
int table_free(struct table *table);

/** A heading above a table, bold where there are colours; a blank line before it when it is not the first. */
void table_heading(FILE *out, const char *text, int first);

#endif
