/* SPDX-License-Identifier: MIT */
/**
 * The three forms of `larder dump`: table, one JSON object a line, CSV (RFC 4180).
 */
#ifndef LARDER_DUMP_WRITE_H
#define LARDER_DUMP_WRITE_H

#include "record.h"
#include "table.h"

/** Order of the words of DUMP_FORMATS. */
enum dump_format { DUMP_TABLE, DUMP_JSONL, DUMP_CSV };
#define DUMP_FORMATS "table|jsonl|csv"

struct dump_writer {
	enum dump_format format;
	enum record_values values;
	struct table *table;
	int terminal;             /* stdout is one: nothing that is not printable reaches it */
	int lost;                 /* out of memory */
};

/** Print the head, if the form has one. Returns 0, or -1 when out of memory. */
int dump_begin(struct dump_writer *writer, enum dump_format format, enum record_values values);
/** Print an entry. What goes wrong is seen by dump_finish() and cli_output_gone(). */
void dump_entry(struct dump_writer *writer, const struct larder_entry *entry);
/** Returns 0, or -1 when memory ran out and rows are missing. */
int dump_finish(struct dump_writer *writer);

#endif
