/* SPDX-License-Identifier: MIT */
/*
 * Walking the entries for listings and dumps: slices of at most 200 rows or a few megabytes, copied out in one short read transaction, given to the
 * callback outside of it. The place is remembered as a key, so what is stored or removed meanwhile may or may not be seen, everything else once.
 */
#include "l1/inside.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/mem.h"
#include "crypto/hash.h"

enum { SLICE = 200, SLICE_B = 4 << 20 };

/* An entry copied out of the store. */
struct copied {
	struct larder_entry entry;
	char tenant[LARDER_TENANT_MAX + 1], space[LARDER_SPACE_MAX + 1];
	unsigned char *name, *value;   /* allocated */
	uint64_t tags[LD_TAGS_MAX];
};

struct slice {
	struct ld_store *store;
	const struct ld_scan *scan;
	struct copied *rows;
	unsigned count, looked_at;
	size_t bytes;
	int64_t now_ms, boot_to_wall_ms;
	unsigned char place[LD_KEY_MAX];
	size_t place_len;
	int at_end, at_row, no_memory;   /* at_row: place is a row that was looked at */
};

static void forget_rows(struct slice *slice)
{
	for (unsigned i = 0; i < slice->count; i++) {
		free(slice->rows[i].name);
		free(slice->rows[i].value);
	}
	slice->count = 0;
	slice->bytes = 0;
}

static int64_t lesser(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void tell_times(const struct slice *slice, const struct ld_entry_head *head, struct larder_entry *to)
{
	int64_t wall = slice->boot_to_wall_ms, hard = head->hard_end_ms;

	to->created_ms = head->created_ms + wall;
	to->expires_ms = head->fresh_until_ms + wall;
	to->stale_end_ms = head->stale_until_ms + wall;
	to->dead_ms = head->dead_ms + wall;
	if (hard != 0) {
		to->expires_ms = lesser(to->expires_ms, hard);
		to->stale_end_ms = lesser(to->stale_end_ms, hard);
		to->dead_ms = lesser(to->dead_ms, hard);
	}
	to->hard_end_ms = hard;
	to->age_ms = slice->now_ms - head->created_ms;
	to->fresh_ms = to->expires_ms - wall - slice->now_ms;
	to->left_ms = to->stale_end_ms - wall - slice->now_ms;
	to->error_left_ms = to->dead_ms - wall - slice->now_ms;
}

static void copy_tags(const struct ld_entry *entry, struct copied *to)
{
	for (unsigned i = 0; i < entry->head.tag_count; i++)
		to->tags[i] = ld_entry_tag(entry, i);
	to->entry.tags = to->tags;
	to->entry.tag_count = entry->head.tag_count;
}

static void damage(struct copied *to)
{
	to->entry.state = LARDER_IS_DAMAGED;
	to->space[0] = 0;
}

static void copy_name(struct slice *slice, MDB_txn *txn, const struct ld_entry *entry, struct copied *to)
{
	if (entry->head.name_len == 0)
		return;
	to->name = ld_malloc(entry->head.name_len);
	if (!to->name) {
		slice->no_memory = 1;
		return;
	}
	if (entry->name)
		memcpy(to->name, entry->name, entry->head.name_len);
	else if (ld_name_copy(&slice->store->env, txn, entry, to->name) != 0)
		damage(to);
	to->entry.name = to->name;
	to->entry.name_len = entry->head.name_len;
}

static void copy_value(struct slice *slice, MDB_txn *txn, const struct ld_entry *entry, struct copied *to)
{
	if (!slice->scan->values || entry->head.bits & LD_ENTRY_ABSENT)
		return;
	to->value = ld_malloc(entry->head.value_len ? entry->head.value_len : 1);
	if (!to->value) {
		slice->no_memory = 1;
		return;
	}
	if (ld_value_copy(&slice->store->env, txn, entry, to->value) != 0) {
		damage(to);
		return;
	}
	to->entry.value = to->value;
	slice->bytes += entry->head.value_len;
}

static uint32_t state_of(struct slice *slice, const struct ld_entry *entry, const struct copied *to)
{
	struct ld_seg *seg = &slice->store->seg;
	const struct ld_tenant_row *row = ld_tenant_named(seg, to->tenant);
	struct ld_hidden hidden = ld_entry_hidden(seg, row, ld_store_tag(to->tenant, to->space), to->entry.digest, entry);
	int64_t wall_ms = slice->now_ms + slice->boot_to_wall_ms;

	return ld_entry_state(&entry->head, &hidden, slice->now_ms, &wall_ms);
}

/* Take one row over if the scan wants it. */
static void take_row(struct slice *slice, MDB_txn *txn, const MDB_val *key, const MDB_val *row)
{
	struct copied *to = &slice->rows[slice->count];
	size_t tenant_len = ld_entry_key_tenant(key->mv_data, key->mv_size);
	struct ld_entry entry;

	memset(to, 0, sizeof(*to));
	to->entry.tenant = to->tenant;
	to->entry.space = to->space;
	memcpy(to->tenant, key->mv_data, tenant_len);
	if (tenant_len != 0)
		memcpy(to->entry.digest, (const char *)key->mv_data + tenant_len + 1, LARDER_DIGEST_SIZE);
	if (tenant_len == 0 || ld_entry_decode(row->mv_data, row->mv_size, &entry) != 0 ||
	    ld_entry_verify(row->mv_data, row->mv_size, to->entry.digest) != 0) {
		to->entry.stored_bytes = row->mv_size;
		damage(to);
	} else {
		memcpy(to->space, entry.space, entry.head.space_len);
		if (slice->scan->space && strcmp(slice->scan->space, to->space) != 0)
			return;
		to->entry.state = state_of(slice, &entry, to);
		to->entry.value_len = entry.head.value_len;
		to->entry.stored_bytes = ld_entry_cost(&entry.head, row->mv_size, key->mv_size);
		to->entry.sequence = entry.head.seq;
		to->entry.flags = entry.head.flags;
		to->entry.key_id = entry.head.key_id;
		to->entry.absent = entry.head.bits & LD_ENTRY_ABSENT ? 1 : 0;
		to->entry.hits_estimate = ld_sketch_estimate(&slice->store->seg.sketch, to->entry.digest);
		to->entry.load_ms = entry.head.load_ms;
		copy_tags(&entry, to);
		tell_times(slice, &entry.head, &to->entry);
		/* Damage in chunks shows in the copying only. */
		if (slice->scan->states & (to->entry.state | (slice->scan->values ? LARDER_IS_DAMAGED : 0))) {
			copy_name(slice, txn, &entry, to);
			copy_value(slice, txn, &entry, to);
		}
	}
	if (to->entry.state & slice->scan->states) {
		slice->count++;
	} else {
		free(to->name);
		free(to->value);
	}
}

static int outside(const struct slice *slice, const MDB_val *key)
{
	size_t len;

	if (!slice->scan->tenant)
		return 0;
	len = strlen(slice->scan->tenant);
	return ld_entry_key_tenant(key->mv_data, key->mv_size) != len || memcmp(key->mv_data, slice->scan->tenant, len) != 0;
}

static int read_rows(struct slice *slice, MDB_txn *txn)
{
	MDB_val key = { slice->place_len, slice->place }, row;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn, slice->store->env.entries, &cursor);

	if (rc != 0)
		return ld_env_error(rc);
	rc = mdb_cursor_get(cursor, &key, &row, slice->place_len ? MDB_SET_RANGE : MDB_FIRST);
	if (rc == 0 && slice->looked_at > 0 && key.mv_size == slice->place_len && memcmp(key.mv_data, slice->place, key.mv_size) == 0)
		rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT);
	slice->looked_at = 0;
	while (rc == 0 && !outside(slice, &key)) {
		/* A damaged tree may go round in circles. */
		if (slice->at_row && !ld_key_follows(txn, slice->store->env.entries, &key, slice->place, slice->place_len)) {
			rc = MDB_CORRUPTED;
			break;
		}
		take_row(slice, txn, &key, &row);
		slice->place_len = key.mv_size < LD_KEY_MAX ? key.mv_size : LD_KEY_MAX;
		memcpy(slice->place, key.mv_data, slice->place_len);
		slice->at_row = 1;
		slice->looked_at++;
		if (slice->looked_at == SLICE || slice->bytes > SLICE_B)
			break;
		rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT);
	}
	slice->at_end = rc == MDB_NOTFOUND || (rc == 0 && outside(slice, &key));
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : ld_env_error(rc);
}

/* One slice: inside the store, but the callbacks outside. */
static int read_slice(struct slice *slice)
{
	struct ld_store *store = slice->store;
	MDB_txn *txn;
	int rc = ld_enter(store, store->config.wait_ms, &slice->now_ms);

	if (rc != 0)
		return rc;
	slice->boot_to_wall_ms = ld_clock_wall_ms() - slice->now_ms;
	rc = ld_read_begin(store, store->config.wait_ms, &txn);
	if (rc == 0) {
		rc = read_rows(slice, txn);
		ld_env_read_end(&store->env, txn);
		if (rc < 0 || slice->no_memory) {
			ld_reason_set(rc < 0 ? LARDER_REASON_CORRUPT : LARDER_REASON_NOMEM);
			rc = LARDER_UNAVAILABLE;
		}
	}
	ld_leave(store);
	return rc;
}

static int tell(struct slice *slice)
{
	for (unsigned i = 0; i < slice->count; i++) {
		struct copied *row = &slice->rows[i];
		int rc = slice->scan->fn(slice->scan->ctx, &row->entry);

		if (rc != 0)
			return rc;
	}
	return 0;
}

static uint64_t rows_in_all(struct ld_store *store)
{
	uint64_t entries = 0;
	int64_t now_ms;

	if (ld_enter(store, store->config.wait_ms, &now_ms) == 0) {
		entries = atomic_load(&store->seg.h->entries);
		ld_leave(store);
	}
	return entries;
}

int ld_store_scan(struct ld_store *store, const struct ld_scan *scan)
{
	struct slice slice = { .store = store, .scan = scan };
	uint64_t done = 0, total = scan->progress ? rows_in_all(store) : 0;
	int rc = 0;

	slice.rows = ld_calloc(SLICE, sizeof(*slice.rows));
	if (!slice.rows) {
		ld_reason_set(LARDER_REASON_NOMEM);
		return LARDER_UNAVAILABLE;
	}
	if (scan->tenant) {
		static const unsigned char lowest[LARDER_DIGEST_SIZE];

		slice.place_len = ld_entry_key(scan->tenant, lowest, slice.place);
	}
	while (rc == 0 && !slice.at_end) {
		rc = read_slice(&slice);
		done += slice.looked_at;
		if (rc == 0)
			rc = tell(&slice);
		forget_rows(&slice);
		if (rc == 0 && scan->progress)
			rc = scan->progress(scan->ctx, done, total > done ? total : done);
	}
	free(slice.rows);
	return rc;
}
