/* SPDX-License-Identifier: MIT */
/*
 * The first section of `larder stat`: the cache as a whole, its fill and fragmentation, who does the background work, who holds the
 * writer gate.
 */
#include <inttypes.h>
#include <string.h>

#include "human.h"
#include "stat_show.h"
#include "table.h"

static const struct table_column columns[] = { { NULL, TABLE_LEFT }, { NULL, TABLE_LEFT } };

static double share(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void row_bytes(struct table *table, const char *title, uint64_t bytes, uint64_t whole)
{
	char text[HUMAN_SIZE];
	human_bytes(text, bytes);
	table_cell(table, title);
	if (whole)
		table_cellf(table, "%s  %.1f %%", text, share(bytes, whole));
	else
		table_cell(table, text);
}

static void row_count(struct table *table, const char *title, uint64_t count, uint64_t most)
{
	char text[HUMAN_SIZE], most_text[HUMAN_SIZE];
	table_cell(table, title);
	if (most)
		table_cellf(table, "%s of %s", human_count(text, count), human_count(most_text, most));
	else
		table_cell(table, human_count(text, count));
}

static void row_text(struct table *table, const char *title, const char *text)
{
	table_cell(table, title);
	table_bytes(table, text, strlen(text), 0);
}

static void rows_fill(struct table *table, const struct larder_summary *summary)
{
	row_bytes(table, "size", summary->size_bytes, 0);
	row_bytes(table, "used", summary->used_bytes, summary->size_bytes);
	row_bytes(table, "evictor works above", summary->low_bytes, summary->size_bytes);
	row_bytes(table, "writers evict above", summary->high_bytes, summary->size_bytes);
	row_count(table, "entries", summary->entries, summary->max_entries);
	row_count(table, "chunks", summary->chunks, 0);
	row_count(table, "tenants", summary->tenants, summary->tenants_max);
	row_bytes(table, "file", summary->file_bytes, 0);
	row_bytes(table, "map, with reserve", summary->map_bytes, 0);
	row_bytes(table, "segment", summary->segment_bytes, 0);
	/* Fragmentation: room inside the file that is free but not given back, and what no writer may use yet. */
	row_bytes(table, "free in the file", summary->free_bytes, summary->file_bytes);
	row_bytes(table, "pinned by readers", summary->pinned_bytes, summary->file_bytes);
}

static void row_evictor(struct table *table, const struct larder_summary *summary)
{
	char beat[HUMAN_SIZE], sweep[HUMAN_SIZE];
	table_cell(table, "background work");
	if (summary->evictor_pid) {
		table_cellf(table, "pid %" PRId64 ", last sign of life %s ago", summary->evictor_pid,
		            human_duration(beat, summary->evictor_beat_ms));
	} else {
		table_colour(table, TABLE_YELLOW);
		table_cell(table, "nobody");
	}
	table_cell(table, "last full sweep");
	if (summary->sweep_ms < 0)
		table_cell(table, "none yet");
	else
		table_cellf(table, "%s ago", human_duration(sweep, summary->sweep_ms));
}

static void row_gate(struct table *table, const struct larder_summary *summary)
{
	char held[HUMAN_SIZE];
	table_cell(table, "writer gate");
	if (!summary->gate_pid) {
		table_cell(table, "free");
		return;
	}
	table_colour(table, summary->gate_held_ms > 1000 ? TABLE_RED : TABLE_PLAIN);
	table_cellf(table, "held by pid %" PRId64 " for %s", summary->gate_pid, human_duration(held, summary->gate_held_ms));
}

static void print(const struct larder_summary *summary, int first)
{
	char made[HUMAN_SIZE];
	struct table *table;
	table_heading(stdout, "CACHE", first);
	table = table_new(stdout, columns, 2);
	row_text(table, "directory", summary->directory);
	row_text(table, "name", summary->name);
	table_cell(table, "switched");
	table_colour(table, summary->on ? TABLE_GREEN : TABLE_RED);
	table_cell(table, summary->on ? "on" : "off");
	row_text(table, "made", human_time(made, summary->made_ms));
	rows_fill(table, summary);
	row_count(table, "processes", summary->slots, summary->slots_max);
	row_count(table, "readers", summary->readers, summary->readers_max);
	row_evictor(table, summary);
	row_gate(table, summary);
	row_count(table, "last write transaction", summary->sequence, 0);
	row_count(table, "file generation", summary->file_generation, 0);
	row_count(table, "layout", summary->layout, 0);
	table_free(table);
}

static json_t *whole(uint64_t number)
{
	return json_integer((json_int_t)number);
}

static json_t *pack_sizes(const struct larder_summary *s)
{
	return json_pack("{so so so so so so so so so}", "size_bytes", whole(s->size_bytes), "map_bytes", whole(s->map_bytes),
	                 "file_bytes", whole(s->file_bytes), "used_bytes", whole(s->used_bytes), "free_bytes", whole(s->free_bytes),
	                 "pinned_bytes", whole(s->pinned_bytes), "segment_bytes", whole(s->segment_bytes), "low_bytes",
	                 whole(s->low_bytes), "high_bytes", whole(s->high_bytes));
}

static json_t *pack_counts(const struct larder_summary *s)
{
	return json_pack("{so so so so so so so so so so so so}", "entries", whole(s->entries), "chunks", whole(s->chunks), "max_entries",
	                 whole(s->max_entries), "tenants", whole(s->tenants), "tenants_max", whole(s->tenants_max), "sequence",
	                 whole(s->sequence), "file_generation", whole(s->file_generation), "layout", whole(s->layout), "slots",
	                 whole(s->slots), "slots_max", whole(s->slots_max), "readers", whole(s->readers), "readers_max",
	                 whole(s->readers_max));
}

static json_t *pack_roles(const struct larder_summary *s)
{
	return json_pack("{ss ss sb sI sI sI sI sI sI sf}", "directory", s->directory, "name", s->name, "on", s->on != 0, "made_ms",
	                 (json_int_t)s->made_ms, "evictor_pid", (json_int_t)s->evictor_pid, "evictor_beat_ms",
	                 (json_int_t)s->evictor_beat_ms, "sweep_ms", (json_int_t)s->sweep_ms, "gate_pid", (json_int_t)s->gate_pid,
	                 "gate_held_ms", (json_int_t)s->gate_held_ms, "fill_percent", share(s->used_bytes, s->size_bytes));
}

static int add(json_t *json, const struct larder_summary *summary)
{
	json_t *object = pack_roles(summary), *sizes = pack_sizes(summary), *counts = pack_counts(summary);
	int failed = !object || !sizes || !counts || json_object_update(object, sizes) || json_object_update(object, counts);
	json_decref(sizes);
	json_decref(counts);
	if (failed)
		json_decref(object);
	return failed || json_object_set_new(json, "cache", object) ? STAT_OUT_OF_MEMORY : 0;
}

int stat_cache(struct stat_out *out)
{
	struct larder_summary summary;
	memset(&summary, 0, sizeof summary);
	summary.size = sizeof summary;
	int result = larder_inspect_summary(out->inspector, &summary);
	if (result)
		return result;
	if (out->json)
		return add(out->json, &summary);
	print(&summary, out->first);
	return 0;
}
