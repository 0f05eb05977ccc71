/* SPDX-License-Identifier: MIT */
/*
 * Aligned columns for any number of rows (table.h). The first rows are kept back to learn the widths; after them memory does not
 * grow with the number of rows.
 */
#include "table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "human.h"

struct cell {
	char *text;
	size_t width;
	enum table_colour colour;
};

struct table {
	FILE *out;
	const struct table_column *columns;
	size_t count;
	size_t *widths;
	struct cell *cells;       /* TABLE_AHEAD rows of count */
	size_t filled;            /* cells */
	enum table_colour colour; /* of the next cell */
	int colours;
	int titled;               /* the titles are printed */
	int ahead;                /* still learning the widths */
	int lost;
};

static const char *const codes[] = {
	[TABLE_PLAIN] = "", [TABLE_BOLD] = "\033[1m", [TABLE_DIM] = "\033[2m", [TABLE_RED] = "\033[31m",
	[TABLE_GREEN] = "\033[32m", [TABLE_YELLOW] = "\033[33m", [TABLE_CYAN] = "\033[36m",
};

struct table *table_new(FILE *out, const struct table_column *columns, size_t count)
{
	struct table *table = calloc(1, sizeof *table);
	if (!table)
		return NULL;
	*table = (struct table){ .out = out, .columns = columns, .count = count, .colours = cli_colours(out), .ahead = 1 };
	table->widths = calloc(count, sizeof *table->widths);
	table->cells = calloc(count * TABLE_AHEAD, sizeof *table->cells);
	if (!table->widths || !table->cells) {
		table_free(table);
		return NULL;
	}
	for (size_t i = 0; i < count; i++)
		table->widths[i] = columns[i].title ? human_width(columns[i].title) : 0;
	return table;
}

static void blanks(FILE *out, size_t count)
{
	fprintf(out, "%*s", (int)count, "");
}

static void print_text(const struct table *table, const char *text, enum table_colour colour)
{
	if (table->colours && colour != TABLE_PLAIN && *text)
		fprintf(table->out, "%s%s\033[0m", codes[colour], text);
	else
		fputs(text, table->out);
}

/*
 * owed: blanks due before this text; they are printed only if something follows, so that no line ends in blanks. Returns what is owed
 * then.
 */
static size_t print_one(const struct table *table, size_t column, const char *text, size_t width, enum table_colour colour, size_t owed)
{
	size_t pad = table->widths[column] > width ? table->widths[column] - width : 0;
	int right = table->columns[column].align == TABLE_RIGHT;
	if (width == 0)
		return owed + pad + 2;
	blanks(table->out, owed + (right ? pad : 0));
	print_text(table, text, colour);
	return (right ? 0 : pad) + 2;
}

static void print_row(const struct table *table, const struct cell *cells)
{
	size_t owed = 0;
	for (size_t i = 0; i < table->count; i++)
		owed = print_one(table, i, cells[i].text ? cells[i].text : "", cells[i].width, cells[i].colour, owed);
	putc('\n', table->out);
}

static void print_titles(struct table *table)
{
	size_t owed = 0;
	table->titled = 1;
	if (!table->columns[0].title)
		return;
	for (size_t i = 0; i < table->count; i++)
		owed = print_one(table, i, table->columns[i].title, human_width(table->columns[i].title), TABLE_BOLD, owed);
	putc('\n', table->out);
}

static void print_rows(struct table *table)
{
	size_t rows = table->filled / table->count;
	if (!table->titled)
		print_titles(table);
	for (size_t row = 0; row < rows; row++)
		print_row(table, table->cells + row * table->count);
	for (size_t i = 0; i < table->filled; i++)
		free(table->cells[i].text);
	memset(table->cells, 0, table->filled * sizeof *table->cells);
	table->filled = 0;
}

static void learn(struct table *table, size_t column, size_t width)
{
	if (table->ahead && width > table->widths[column])
		table->widths[column] = width;
}

/* Takes text over. */
static void put(struct table *table, char *text)
{
	size_t column = table->filled % table->count;
	struct cell *cell = &table->cells[table->filled];
	if (!text)
		table->lost = 1;
	*cell = (struct cell){ text, text ? human_width(text) : 0, table->colour };
	table->colour = TABLE_PLAIN;
	learn(table, column, cell->width);
	table->filled++;
	if (column + 1 < table->count)
		return;
	if (table->ahead && table->filled < table->count * TABLE_AHEAD)
		return;
	print_rows(table);
	table->ahead = 0;
}

void table_cell(struct table *table, const char *text)
{
	if (table)
		put(table, strdup(text ? text : ""));
}

void table_cellf(struct table *table, const char *format, ...)
{
	char *text;
	va_list arguments;
	if (!table)
		return;
	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		text = NULL;
	va_end(arguments);
	put(table, text);
}

void table_bytes(struct table *table, const void *data, size_t len, size_t max)
{
	if (table)
		put(table, human_safe(data, len, max, 0));
}

void table_colour(struct table *table, enum table_colour colour)
{
	if (table)
		table->colour = colour;
}

void table_flush(struct table *table)
{
	if (table && table->filled % table->count == 0) {
		print_rows(table);
		fflush(table->out);
	}
}

int table_free(struct table *table)
{
	if (!table)
		return -1;
	if (table->cells && table->widths)
		print_rows(table);
	int lost = table->lost;
	free(table->cells);
	free(table->widths);
	free(table);
	return lost ? -1 : 0;
}

void table_heading(FILE *out, const char *text, int first)
{
	const char *bold = cli_colours(out) ? codes[TABLE_BOLD] : "";
	fprintf(out, "%s%s%s%s\n", first ? "" : "\n", bold, text, *bold ? "\033[0m" : "");
}
