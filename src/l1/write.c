/* SPDX-License-Identifier: MIT */
/*
 * Sets, adds, touches and deletes: one LMDB transaction each, under the writer gate, within the caller's budget.
 *
 * A set or delete that cannot commit raises its key's barrier to the highest sequence that anybody has begun, before it returns: whatever is
 * stored under the key now, or is being stored by a writer that is stopped inside the gate, is not served any more. An add raises none: it
 * promises to change nothing when it fails.
 *
 * Killed before the commit: as if the call had never been made, and it never returned. Killed after it: the value is stored, the mirrors are one
 * transaction old.
 */
#include "l1/inside.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/fault.h"
#include "crypto/hash.h"
#include "l1/choose.h"
#include "shm/role.h"

enum { MAKE_ROOM_ROUNDS = 8, INLINE_BATCH = 32, PINNED_FOR_GOOD_MS = 250 };

static void raise_in(struct ld_seg *seg, const void *ctx)
{
	const struct ld_key *key = ctx;

	ld_seq_raise(ld_barrier_of(seg->barriers, key->digest), atomic_load(&seg->h->write_seq));
	ld_host_count(seg, LD_HC_barriers, 1);
}

static void raise_barrier(struct ld_store *store, const struct ld_key *key)
{
	raise_in(&store->seg, key);
}

/* Error of a transaction to the reason that the caller may ask for. What was full has been said where it was found. */
static void tell_reason(int rc)
{
	if (rc == LARDER_E_FULL && larder_reason() != LARDER_REASON_NONE)
		return;
	ld_reason_set(rc == LARDER_E_FULL ? LARDER_REASON_DISK : rc == LARDER_E_NOMEM ? LARDER_REASON_NOMEM :
	    rc == LARDER_E_CORRUPT ? LARDER_REASON_CORRUPT : LARDER_REASON_DISK);
}

static void count_reason(struct ld_store *store)
{
	enum larder_reason reason = larder_reason();

	if (reason >= LARDER_REASON_ATTACH && reason <= LARDER_REASON_NOMEM)
		ld_host_count(&store->seg, LD_HC_unavailable_attach + (reason - LARDER_REASON_ATTACH), 1);
}

/* ---- storing ---- */

struct item {
	const struct ld_key *key;
	const struct ld_put *put;
	unsigned char key_bytes[LD_KEY_MAX];
	size_t key_len;
	unsigned char row[LD_ROW_MAX];
	size_t row_len;
	struct ld_entry_head head;
	int64_t now_ms;
};

static void encode(struct item *item, const struct ld_key *key, const struct ld_put *put, int64_t now_ms)
{
	struct ld_entry_head *head = &item->head;

	memset(head, 0, sizeof(*head));
	item->key = key;
	item->put = put;
	item->now_ms = now_ms;
	item->key_len = ld_entry_key(key->tenant, key->digest, item->key_bytes);
	head->version = LD_ENTRY_VERSION;
	head->bits = put->absent ? LD_ENTRY_ABSENT : 0;
	head->flags = put->flags;
	head->key_id = put->key_id;
	head->created_ms = now_ms;
	head->fresh_until_ms = now_ms + put->ttl_ms;
	head->dead_ms = head->fresh_until_ms + put->stale_ms;
	head->hard_end_ms = put->hard_end_ms;
	memcpy(&head->digest_tail, key->digest + LARDER_DIGEST_SIZE - 8, 8);
	item->row_len = ld_entry_plan(head, strlen(key->space), put->name ? put->name_len : 0, put->etag ? strlen(put->etag) : 0, put->len);
	if (head->chunks)
		head->value_sum = ld_hash64(put->data, put->len);
	ld_entry_encode(head, key->space, put->name, put->etag, put->data, item->row);
}

static int put_chunks(struct ld_write *write, uint32_t index, const unsigned char *data, size_t len)
{
	unsigned char bytes[LD_CHUNK_KEY];
	MDB_val key = { sizeof(bytes), bytes };
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(write->txn, write->store->env.chunks, &cursor);

	if (rc != 0)
		return ld_env_error(rc);
	while (rc == 0 && len > 0) {
		size_t part = len < LD_CHUNK_B ? len : LD_CHUNK_B;
		MDB_val chunk = { part, (void *)(uintptr_t)data };

		ld_entry_chunk_key(write->seq, index++, bytes);
		/* Chunk ids grow: always at the end, so pages are filled one after the other. */
		rc = mdb_cursor_put(cursor, &key, &chunk, MDB_APPEND);
		data += part;
		len -= part;
	}
	mdb_cursor_close(cursor);
	return ld_env_error(rc);
}

static int put_all_chunks(struct ld_write *write, const struct item *item)
{
	const struct ld_entry_head *head = &item->head;
	int rc = head->chunks ? put_chunks(write, 0, item->put->data, head->value_len - head->tail_len) : 0;

	LD_POINT(set_chunks_put);
	if (rc == 0 && ld_entry_name_chunks(head))
		rc = put_chunks(write, head->chunks, item->put->name, head->name_len);
	return rc;
}

static int would_be_found(struct ld_store *store, const struct item *item, const MDB_val *row)
{
	const struct ld_tenant_row *tenant = ld_tenant_of(store, item->key);
	struct ld_hidden hidden = ld_hidden_of(&store->seg, tenant, item->key->scope_tag, item->key->digest);
	struct ld_entry entry;
	int64_t wall_ms = 0;

	if (ld_entry_decode(row->mv_data, row->mv_size, &entry) != 0 || ld_entry_verify(row->mv_data, row->mv_size, item->key->digest) != 0 ||
	    entry.head.bits & LD_ENTRY_ABSENT)
		return 0;
	return ld_entry_state(&entry.head, &hidden, item->now_ms, &wall_ms) == LARDER_IS_FRESH;
}

/* The old row out, the new one in. */
static int replace(struct ld_write *write, struct item *item)
{
	MDB_val key = { item->key_len, item->key_bytes }, row;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(write->txn, write->store->env.entries, &cursor), code;

	if (rc != 0)
		return ld_env_error(rc);
	code = mdb_cursor_get(cursor, &key, &row, MDB_SET_KEY);
	rc = code == MDB_NOTFOUND ? 0 : ld_env_error(code);
	if (code == 0 && item->put->only_new && would_be_found(write->store, item, &row))
		rc = LARDER_EXISTS;
	if (rc == 0)
		rc = ld_write_room(write, item->head.chunks + 2u);
	if (rc == 0 && code == 0)
		rc = ld_write_unlink(write, &key, &row);
	LD_POINT(set_old_removed);
	if (rc == 0) {
		ld_entry_stamp(item->row, item->row_len, write->seq);
		key = (MDB_val){ item->key_len, item->key_bytes };
		row = (MDB_val){ item->row_len, item->row };
		/* The cursor stands at the old row: no second search. */
		rc = ld_env_error(mdb_cursor_put(cursor, &key, &row, code == 0 ? MDB_CURRENT : 0));
	}
	mdb_cursor_close(cursor);
	LD_POINT(set_row_put);
	return rc == 0 ? put_all_chunks(write, item) : rc;
}

static int store_once(struct ld_store *store, struct item *item)
{
	struct ld_account account[LD_ACCOUNTS];
	struct ld_write write;
	int rc = ld_write_begin(&write, store, account);

	if (rc != 0)
		return rc;
	rc = replace(&write, item);
	if (rc == 0 && ld_write_account(&write, item->key->tenant, strlen(item->key->tenant), 1,
	    (int64_t)ld_entry_cost(&item->head, item->row_len, item->key_len)) != 0)
		rc = LARDER_E_BUG;
	if (rc == 0)
		return ld_write_commit(&write);
	ld_write_abort(&write);
	return rc;
}

/* Above the high mark or a bound the writer makes room itself, a small batch at a time. */
static void make_room(struct ld_store *store, const struct ld_tenant_row *row, uint64_t cost)
{
	struct ld_pressure pressure;
	unsigned batch = ld_choose_batch(store->seg.h->params.capacity);

	batch = batch > INLINE_BATCH ? INLINE_BATCH : batch;
	for (int round = 0; round < MAKE_ROOM_ROUNDS; round++) {
		int gone;

		ld_pressure_now(store, row, cost, &pressure);
		if (!pressure.over_high && !pressure.over_entries && !pressure.over_quota &&
		    !(store->config.evictor == LD_EVICTOR_INLINE && pressure.over_low))
			return;
		gone = ld_evict_inside(store, pressure.over_quota ? row->name : NULL, batch);
		if (gone <= 0)
			return;
		ld_host_count(&store->seg, LD_HC_inline_evictions, (uint64_t)gone);
	}
}

static int store_inside(struct ld_store *store, struct item *item, const struct ld_tenant_row *row, uint64_t cost)
{
	struct ld_pressure pressure;
	int rc;

	make_room(store, row, cost);
	ld_pressure_now(store, row, cost, &pressure);
	if (pressure.over_quota) {
		ld_reason_set(LARDER_REASON_FULL);
		return LARDER_E_FULL;
	}
	rc = store_once(store, item);
	if (rc == LARDER_E_FULL)
		atomic_store(&store->seg.h->reusable_pages, 0);
	/* Full all the same: a large value, or free pages in the wrong places. Once more after a batch, unless a reader pins what would be freed. */
	if (rc != LARDER_E_FULL || !pressure.over_low || atomic_load(&store->seg.h->pinned_since_ms) || ld_evict_inside(store, NULL, INLINE_BATCH) <= 0)
		return rc;
	ld_reason_set(LARDER_REASON_NONE);
	return store_once(store, item);
}

/* A reader that was merely preempted keeps pages back for a moment: worth waiting for, outside the gate. One that does not move is not. */
static int worth_waiting(const struct ld_store *store, int rc, int64_t end_ms)
{
	int64_t since_ms = atomic_load(&store->seg.h->pinned_since_ms), now_ms = ld_clock_boot_ms();
	const struct timespec pause = { 0, 500000L };

	if (rc != LARDER_E_FULL || since_ms == 0 || larder_reason() == LARDER_REASON_DISK || now_ms >= end_ms ||
	    now_ms - since_ms > PINNED_FOR_GOOD_MS)
		return 0;
	nanosleep(&pause, NULL);
	ld_reason_set(LARDER_REASON_NONE);
	return 1;
}

static int store_gated(struct ld_store *store, struct item *item, int64_t budget_ms)
{
	const struct ld_tenant_row *row = ld_tenant_of(store, item->key);
	uint64_t cost = ld_entry_cost(&item->head, item->row_len, item->key_len);
	int64_t end_ms = item->now_ms + budget_ms;
	struct ld_pressure pressure;
	int rc;

	do {
		int64_t left_ms = end_ms - ld_clock_boot_ms();

		if (ld_gate_in(store, left_ms < 1 ? 1 : left_ms) != 0)
			return LARDER_E_BUSY;
		rc = store_inside(store, item, row, cost);
		ld_pressure_now(store, row, 0, &pressure);
		ld_gate_out(store);
	} while (worth_waiting(store, rc, end_ms));
	if (pressure.over_low || pressure.over_entries)
		ld_role_call(&store->seg);
	ld_work_inline(store, item->now_ms);
	return rc;
}

/* While off: what is there is removed, so that it is not served when the cache is on again. */
static int remove_instead(struct ld_store *store, const struct ld_key *key, const struct ld_way *way, int only_new)
{
	int gone, rc = only_new ? LARDER_E_BUSY : LARDER_UNAVAILABLE;

	if (!only_new)
		ld_store_delete(store, key, 1, way, &gone);
	ld_reason_set(LARDER_REASON_OFF);
	return rc;
}

static int fail(struct ld_store *store, const struct ld_key *key, struct ld_tenant_row *row, int rc, int only_new)
{
	if (rc != LARDER_E_BUSY)
		tell_reason(rc);
	count_reason(store);
	ld_tenant_count(row, ld_seg_stripe(&store->seg), LD_TC_sets_dropped, 1);
	if (only_new)
		return rc == LARDER_E_BUSY || rc == LARDER_E_FULL ? rc : LARDER_E_IO;
	raise_barrier(store, key);
	return LARDER_UNAVAILABLE;
}

int ld_store_put(struct ld_store *store, const struct ld_key *key, const struct ld_way *way, const struct ld_put *put)
{
	int64_t budget_ms = ld_budget(store, way), now_ms;
	struct ld_tenant_row *row;
	struct item item;
	uint32_t generation;
	int rc = ld_enter_within(store, &budget_ms, &now_ms);

	if (rc != 0) {
		if (put->only_new)
			return LARDER_E_BUSY;
		ld_from_outside(store, raise_in, key);
		return rc;
	}
	if (way->pass || atomic_load_explicit(&store->seg.h->off, memory_order_relaxed)) {
		ld_leave(store);
		return remove_instead(store, key, way, put->only_new);
	}
	row = ld_tenant_of(store, key);
	ld_sketch_prefetch(&store->seg.sketch, key->digest);
	encode(&item, key, put, now_ms);
	ld_reason_set(LARDER_REASON_NONE);
	rc = store_gated(store, &item, budget_ms);
	if (rc == 0) {
		ld_tenant_count(row, ld_seg_stripe(&store->seg), LD_TC_sets, 1);
		ld_sketch_bump(&store->seg.sketch, key->digest);
	} else if (rc < 0) {
		int error = rc;

		rc = fail(store, key, row, rc, put->only_new);
		generation = store->env.generation;
		ld_leave(store);
		if (error == LARDER_E_CORRUPT)
			ld_store_condemn(store, generation, "damaged", 1);
		return rc;
	}
	ld_leave(store);
	ld_work_mend(store);
	return rc;
}

/* ---- deleting ---- */

static int delete_one(struct ld_write *write, MDB_cursor *cursor, const struct ld_key *key, int64_t now_ms, int *ret_result)
{
	const struct ld_tenant_row *tenant = ld_tenant_of(write->store, key);
	struct ld_hidden hidden = ld_hidden_of(&write->store->seg, tenant, key->scope_tag, key->digest);
	unsigned char bytes[LD_KEY_MAX];
	MDB_val at = { ld_entry_key(key->tenant, key->digest, bytes), bytes }, row;
	struct ld_entry entry;
	int64_t wall_ms = 0;
	int rc = mdb_cursor_get(cursor, &at, &row, MDB_SET_KEY);

	*ret_result = LARDER_MISS;
	if (rc != 0)
		return rc == MDB_NOTFOUND ? 0 : ld_env_error(rc);
	if (ld_entry_decode(row.mv_data, row.mv_size, &entry) == 0 &&
	    ld_entry_state(&entry.head, &hidden, now_ms, &wall_ms) & (LARDER_IS_FRESH | LARDER_IS_STALE))
		*ret_result = 0;
	rc = ld_write_remove(write, cursor, &at, &row);
	LD_POINT(delete_removed);
	return rc;
}

static int delete_all(struct ld_store *store, const struct ld_key *keys, size_t count, int64_t now_ms, int *ret_results)
{
	struct ld_account account[LD_ACCOUNTS];
	struct ld_write write;
	MDB_cursor *cursor;
	int rc = ld_write_begin(&write, store, account);

	if (rc != 0)
		return rc;
	rc = ld_env_error(mdb_cursor_open(write.txn, store->env.entries, &cursor));
	if (rc == 0) {
		for (size_t i = 0; i < count && rc == 0; i++)
			rc = delete_one(&write, cursor, &keys[i], now_ms, &ret_results[i]);
		mdb_cursor_close(cursor);
	}
	if (rc == 0 && write.changed)
		return ld_write_commit(&write);
	ld_write_abort(&write);
	return rc;
}

int ld_store_delete(struct ld_store *store, const struct ld_key *keys, size_t count, const struct ld_way *way, int *ret_results)
{
	int64_t budget_ms = ld_budget(store, way), now_ms;
	uint64_t gone = 0;
	unsigned stripe;
	int rc = ld_enter_within(store, &budget_ms, &now_ms);

	for (size_t i = 0; i < count && rc != 0; i++) {
		ld_from_outside(store, raise_in, &keys[i]);
		ret_results[i] = LARDER_E_BUSY;
	}
	if (rc != 0)
		return LARDER_E_BUSY;
	stripe = ld_seg_stripe(&store->seg);
	ld_reason_set(LARDER_REASON_NONE);
	rc = ld_gate_in(store, budget_ms) != 0 ? LARDER_E_BUSY : 0;
	if (rc == 0) {
		rc = delete_all(store, keys, count, now_ms, ret_results);
		ld_gate_out(store);
		if (rc != 0) {
			tell_reason(rc);
			rc = rc == LARDER_E_FULL ? rc : LARDER_E_IO;
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (rc != 0) {
			raise_barrier(store, &keys[i]);
			ret_results[i] = rc;
		} else if (ret_results[i] == 0) {
			gone++;
		}
	}
	if (count > 0)
		ld_tenant_count(ld_tenant_of(store, keys), stripe, rc ? LD_TC_deletes_failed : LD_TC_deletes, rc ? count : gone);
	if (rc != 0)
		count_reason(store);
	ld_leave(store);
	return rc;
}

/* ---- touching ---- */

static int touch_once(struct ld_store *store, const struct ld_key *key, int64_t now_ms, int64_t ttl_ms, int64_t stale_ms)
{
	const struct ld_tenant_row *tenant = ld_tenant_of(store, key);
	struct ld_hidden hidden = ld_hidden_of(&store->seg, tenant, key->scope_tag, key->digest);
	unsigned char bytes[LD_KEY_MAX], copy[LD_ROW_MAX];
	MDB_val at = { ld_entry_key(key->tenant, key->digest, bytes), bytes }, row;
	struct ld_account account[LD_ACCOUNTS];
	struct ld_entry entry;
	struct ld_write write;
	int64_t wall_ms = 0;
	int rc = ld_write_begin(&write, store, account);

	if (rc != 0)
		return rc;
	rc = ld_env_error(mdb_get(write.txn, store->env.entries, &at, &row));
	if (rc == 0 && (ld_entry_decode(row.mv_data, row.mv_size, &entry) != 0 || ld_entry_verify(row.mv_data, row.mv_size, key->digest) != 0 ||
	    !(ld_entry_state(&entry.head, &hidden, now_ms, &wall_ms) & (LARDER_IS_FRESH | LARDER_IS_STALE))))
		rc = LARDER_MISS;
	if (rc == 0) {
		/* "Not found" is never stale: a window after its end would let a touch revive what a get does not find. */
		if (entry.head.bits & LD_ENTRY_ABSENT)
			stale_ms = 0;
		memcpy(copy, row.mv_data, row.mv_size);
		ld_entry_retime(copy, row.mv_size, now_ms + ttl_ms, now_ms + ttl_ms + stale_ms);
		row.mv_data = copy;
		rc = ld_env_error(mdb_put(write.txn, store->env.entries, &at, &row, 0));
	}
	if (rc == 0)
		return ld_write_commit(&write);
	ld_write_abort(&write);
	return rc;
}

int ld_store_touch(struct ld_store *store, const struct ld_key *key, const struct ld_way *way, int64_t ttl_ms, int64_t stale_ms)
{
	int64_t budget_ms = ld_budget(store, way), now_ms;
	int rc = ld_enter_within(store, &budget_ms, &now_ms);

	if (rc != 0)
		return rc;
	if (way->pass || atomic_load_explicit(&store->seg.h->off, memory_order_relaxed)) {
		ld_leave(store);
		return LARDER_MISS;
	}
	ld_reason_set(LARDER_REASON_NONE);
	rc = ld_gate_in(store, budget_ms);
	if (rc == 0) {
		rc = touch_once(store, key, now_ms, ttl_ms, stale_ms);
		ld_gate_out(store);
		if (rc < 0) {
			tell_reason(rc);
			rc = LARDER_UNAVAILABLE;
		}
	}
	if (rc == 0)
		ld_tenant_count(ld_tenant_of(store, key), ld_seg_stripe(&store->seg), LD_TC_touches, 1);
	if (rc == LARDER_UNAVAILABLE)
		count_reason(store);
	ld_leave(store);
	return rc;
}
