/* SPDX-License-Identifier: MIT */
/*
 * The sections of `larder stat` that have a row for each of something: counters, tenants, processes, readers. A row goes to a table or
 * to a JSON array; which, the section says once.
 */
#include <inttypes.h>
#include <string.h>

#include "human.h"
#include "stat_show.h"
#include "table.h"

/* Where the rows of one section go: exactly one of both. */
struct rows {
	struct table *table;
	json_t *array;
	int lost;
	uint64_t hits, misses;    /* of the counters seen, for the ratio */
};

static void append(struct rows *rows, json_t *row)
{
	rows->lost |= json_array_append_new(rows->array, row) != 0;
}

static int begin(struct rows *rows, const struct stat_out *out, const char *heading, const struct table_column *columns, size_t count)
{
	memset(rows, 0, sizeof *rows);
	if (out->json) {
		rows->array = json_array();
		return rows->array ? 0 : STAT_OUT_OF_MEMORY;
	}
	table_heading(stdout, heading, out->first);
	rows->table = table_new(stdout, columns, count);
	return rows->table ? 0 : STAT_OUT_OF_MEMORY;
}

/* member: name in the JSON object. Takes result on. */
static int end(struct rows *rows, const struct stat_out *out, const char *member, int result)
{
	if (rows->table && table_free(rows->table))
		rows->lost = 1;
	if (rows->array && json_object_set_new(out->json, member, rows->array))
		rows->lost = 1;
	return result ? result : rows->lost ? STAT_OUT_OF_MEMORY : 0;
}

static void cell_count(struct table *table, uint64_t count)
{
	char text[HUMAN_SIZE];
	table_cell(table, human_count(text, count));
}

static void cell_bytes(struct table *table, uint64_t bytes)
{
	char text[HUMAN_SIZE];
	table_cell(table, human_bytes(text, bytes));
}

static void add_to_ratio(struct rows *rows, const char *name, uint64_t value)
{
	if (strcmp(name, "hits") == 0 || strcmp(name, "stale_hits") == 0 || strcmp(name, "absent_hits") == 0)
		rows->hits += value;
	else if (strcmp(name, "misses") == 0 || strcmp(name, "unavailable") == 0)
		rows->misses += value;
}

static double ratio(const struct rows *rows)
{
	uint64_t all = rows->hits + rows->misses;
	return all ? (double)rows->hits / (double)all : 0;
}

static int on_counter(void *ctx, const char *name, const char *text, uint64_t value)
{
	struct rows *rows = ctx;
	add_to_ratio(rows, name, value);
	if (rows->array) {
		append(rows, json_pack("{ss sI ss}", "name", name, "value", (json_int_t)value, "text", text));
		return 0;
	}
	table_colour(rows->table, value ? TABLE_PLAIN : TABLE_DIM);
	table_cell(rows->table, name);
	table_colour(rows->table, value ? TABLE_PLAIN : TABLE_DIM);
	cell_count(rows->table, value);
	table_colour(rows->table, TABLE_DIM);
	table_cell(rows->table, text);
	return 0;
}

int stat_counters(struct stat_out *out)
{
	static const struct table_column columns[] = { { "COUNTER", TABLE_LEFT }, { "VALUE", TABLE_RIGHT }, { "MEANING", TABLE_LEFT } };
	struct rows rows;
	int result = begin(&rows, out, "COUNTERS", columns, 3);
	if (result)
		return result;
	result = larder_inspect_counters(out->inspector, on_counter, &rows);
	if (rows.array) {
		rows.lost |= json_object_set_new(out->json, "hit_ratio", json_real(ratio(&rows))) != 0;
	} else {
		table_cell(rows.table, "hit ratio");
		table_cellf(rows.table, "%.1f %%", 100 * ratio(&rows));
		table_colour(rows.table, TABLE_DIM);
		table_cell(rows.table, "hits of all kinds, of the gets that were answered or should have been");
	}
	return end(&rows, out, "counters", result);
}

static json_t *pack_tenant(const struct larder_tenant_info *tenant)
{
	const struct larder_stats *s = &tenant->stats;
	return json_pack("{ss sI sI sI sI sI sI sI sI sI sI sI sI sf}", "tenant", tenant->tenant, "entries", (json_int_t)tenant->entries,
	                 "bytes", (json_int_t)tenant->bytes, "quota_bytes", (json_int_t)tenant->quota_bytes, "gets", (json_int_t)s->gets,
	                 "hits", (json_int_t)s->hits, "stale_hits", (json_int_t)s->stale_hits, "absent_hits", (json_int_t)s->absent_hits,
	                 "misses", (json_int_t)s->misses, "sets", (json_int_t)s->sets, "deletes", (json_int_t)s->deletes, "evictions",
	                 (json_int_t)s->evictions, "expiries", (json_int_t)s->expiries, "hit_ratio", s->hit_ratio);
}

static int on_tenant(void *ctx, const struct larder_tenant_info *tenant)
{
	struct rows *rows = ctx;
	if (rows->array) {
		append(rows, pack_tenant(tenant));
		return 0;
	}
	table_bytes(rows->table, tenant->tenant, strlen(tenant->tenant), 0);
	cell_count(rows->table, tenant->entries);
	cell_bytes(rows->table, tenant->bytes);
	if (tenant->quota_bytes)
		cell_bytes(rows->table, tenant->quota_bytes);
	else
		table_cell(rows->table, "-");
	cell_count(rows->table, tenant->stats.gets);
	table_cellf(rows->table, "%.1f %%", 100 * tenant->stats.hit_ratio);
	cell_count(rows->table, tenant->stats.sets);
	cell_count(rows->table, tenant->stats.evictions);
	return 0;
}

int stat_tenants(struct stat_out *out)
{
	static const struct table_column columns[] = {
		{ "TENANT", TABLE_LEFT }, { "ENTRIES", TABLE_RIGHT }, { "BYTES", TABLE_RIGHT }, { "QUOTA", TABLE_RIGHT },
		{ "GETS", TABLE_RIGHT }, { "HIT RATIO", TABLE_RIGHT }, { "SETS", TABLE_RIGHT }, { "EVICTIONS", TABLE_RIGHT },
	};
	struct rows rows;
	int result = begin(&rows, out, "TENANTS", columns, 8);
	if (result == 0)
		result = end(&rows, out, "tenants", larder_inspect_tenants(out->inspector, on_tenant, &rows));
	return result;
}

static enum table_colour slot_colour(const char *state)
{
	if (strcmp(state, "live") == 0)
		return TABLE_GREEN;
	return strcmp(state, "stopped") == 0 ? TABLE_RED : TABLE_YELLOW;
}

static int on_slot(void *ctx, const struct larder_slot *slot)
{
	struct rows *rows = ctx;
	char attached[HUMAN_SIZE];
	if (rows->array) {
		append(rows, json_pack("{sI sI ss ss sI sb sb}", "slot", (json_int_t)slot->index, "pid", (json_int_t)slot->pid, "state",
		                       slot->state, "role", slot->role, "attached_ms", (json_int_t)slot->attached_ms, "evictor",
		                       slot->evictor, "gate", slot->gate));
		return 0;
	}
	table_cellf(rows->table, "%" PRIu32, slot->index);
	table_cellf(rows->table, "%" PRId32, slot->pid);
	table_colour(rows->table, slot_colour(slot->state));
	table_cell(rows->table, slot->state);
	table_cell(rows->table, slot->role);
	table_cell(rows->table, human_duration(attached, slot->attached_ms));
	table_cellf(rows->table, "%s%s%s", slot->evictor ? "background work" : "", slot->evictor && slot->gate ? ", " : "",
	            slot->gate ? "writer gate" : "");
	return 0;
}

int stat_slots(struct stat_out *out)
{
	static const struct table_column columns[] = {
		{ "SLOT", TABLE_RIGHT }, { "PID", TABLE_RIGHT }, { "STATE", TABLE_LEFT }, { "ROLE", TABLE_LEFT },
		{ "ATTACHED", TABLE_RIGHT }, { "HOLDS", TABLE_LEFT },
	};
	struct rows rows;
	int result = begin(&rows, out, "PROCESSES", columns, 6);
	if (result == 0)
		result = end(&rows, out, "slots", larder_inspect_slots(out->inspector, on_slot, &rows));
	return result;
}

static int on_reader(void *ctx, const struct larder_reader *reader)
{
	struct rows *rows = ctx;
	if (rows->array) {
		append(rows, json_pack("{sI sb sb sI}", "pid", (json_int_t)reader->pid, "active", reader->active, "pinning", reader->pinning,
		                       "lag", (json_int_t)reader->lag));
		return 0;
	}
	table_cellf(rows->table, "%" PRId32, reader->pid);
	table_cell(rows->table, reader->active ? "reading" : "idle");
	cell_count(rows->table, reader->lag);
	table_colour(rows->table, reader->pinning ? TABLE_RED : TABLE_PLAIN);
	if (reader->pinning)
		table_cellf(rows->table, "pid %" PRId32 " pins freed pages", reader->pid);
	else
		table_cell(rows->table, "");
	return 0;
}

int stat_readers(struct stat_out *out)
{
	static const struct table_column columns[] = {
		{ "PID", TABLE_RIGHT }, { "STATE", TABLE_LEFT }, { "TRANSACTIONS BEHIND", TABLE_RIGHT }, { "NOTE", TABLE_LEFT },
	};
	struct rows rows;
	int result = begin(&rows, out, "READERS", columns, 4);
	if (result == 0)
		result = end(&rows, out, "readers", larder_inspect_readers(out->inspector, on_reader, &rows));
	return result;
}
