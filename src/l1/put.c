/* SPDX-License-Identifier: MIT */
/*
 * Sets, adds and fills: one LMDB transaction each, under the writer gate, within the caller's budget.
 *
 * A set that cannot commit raises its key's barrier (l1/write.c) before it returns. An add and a fill raise none: they promise to change nothing when they
 * fail.
 *
 * A fill stores what somebody fetched after a look-up that found nothing, unless something newer was written since: that is the fence (l1/fence.c).
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

enum { MAKE_ROOM_ROUNDS = 8, INLINE_BATCH = 32, PINNED_FOR_GOOD_MS = 250, OUTBOX_PAGES = 8 };

struct item {
	const struct ld_key *key;
	const struct ld_put *put;
	unsigned char key_bytes[LD_KEY_MAX];
	size_t key_len;
	unsigned char row[LD_ROW_MAX];
	size_t row_len;
	struct ld_entry_head head;
	int64_t now_ms;
	const struct ld_seen *seen;    /* of a fill; else NULL */
};

int64_t ld_jittered(struct ld_store *store, const unsigned char *digest, int64_t ttl_ms, uint32_t jitter_pct)
{
	uint64_t most_ms = jitter_pct == 0 ? 0 : (uint64_t)ttl_ms / 100 * jitter_pct + (uint64_t)ttl_ms % 100 * jitter_pct / 100, lot;

	if (most_ms == 0)
		return ttl_ms;
	/* Processes that were forked from one begin with the same number: the key keeps them apart. */
	memcpy(&lot, digest, sizeof(lot));
	return ttl_ms - (int64_t)((lot ^ ld_store_random(store)) % (most_ms + 1));
}

static void encode(struct ld_store *store, struct item *item, const struct ld_key *key, const struct ld_put *put, int64_t now_ms)
{
	struct ld_entry_head *head = &item->head;

	memset(head, 0, sizeof(*head));
	item->key = key;
	item->put = put;
	item->seen = NULL;
	item->now_ms = now_ms;
	item->key_len = ld_entry_key(key->tenant, key->digest, item->key_bytes);
	head->version = LD_ENTRY_VERSION;
	head->bits = put->absent ? LD_ENTRY_ABSENT : 0;
	head->flags = put->flags;
	head->key_id = put->key_id;
	head->created_ms = now_ms;
	head->fresh_until_ms = now_ms + ld_jittered(store, key->digest, put->ttl_ms, put->jitter_pct);
	head->stale_until_ms = head->fresh_until_ms + put->stale_ms;
	head->dead_ms = head->stale_until_ms + put->error_ms;
	head->load_ms = put->load_ms;
	head->tag_count = (uint8_t)put->tag_count;
	head->hard_end_ms = put->hard_end_ms;
	memcpy(&head->digest_tail, key->digest + LARDER_DIGEST_SIZE - 8, 8);
	item->row_len = ld_entry_plan(head, strlen(key->space), put->name ? put->name_len : 0, put->etag ? strlen(put->etag) : 0, put->len);
	if (head->chunks)
		head->value_sum = ld_hash64(put->data, put->len);
	ld_entry_encode(head, put->tags, key->space, put->name, put->etag, put->data, item->row);
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
	struct ld_hidden hidden;
	struct ld_entry entry;
	int64_t wall_ms = 0;

	if (ld_entry_decode(row->mv_data, row->mv_size, &entry) != 0 || ld_entry_verify(row->mv_data, row->mv_size, item->key->digest) != 0 ||
	    entry.head.bits & LD_ENTRY_ABSENT)
		return 0;
	hidden = ld_entry_hidden(&store->seg, tenant, item->key->scope_tag, item->key->digest, &entry);
	return ld_entry_state(&entry.head, &hidden, item->now_ms, &wall_ms) == LARDER_IS_FRESH;
}

/* What is told of it, in the same transaction. */
static int tell(struct ld_write *write, const struct item *item)
{
	const struct ld_tell value = { item->key->tenant, item->key->digest, LD_OUTBOX_SET, write->seq,
		ld_entry_cost(&item->head, item->row_len, item->key_len), item->head.fresh_until_ms, item->put->l2_ttl_ms };
	const struct ld_tell nothing = { item->key->tenant, item->key->digest, LD_OUTBOX_DELETE, 0, 0, 0, 0 };

	if (!item->key->tell_l2)
		return 0;
	return ld_outbox_tell(write, item->put->absent ? &nothing : &value);
}

/* May it be stored over this row, which may be none? 0 or LARDER_EXISTS. */
static int may_replace(struct ld_write *write, const struct item *item, const MDB_val *key, const MDB_val *row)
{
	if (item->put->only_new && row && would_be_found(write->store, item, row))
		return LARDER_EXISTS;
	if (!item->seen)
		return 0;
	if (!ld_fence_admits(write, item->key, item->put, item->seen, key, row))
		return LARDER_EXISTS;
	LD_POINT(fill_admitted);
	return 0;
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
	if (rc == 0)
		rc = may_replace(write, item, &key, code == 0 ? &row : NULL);
	if (rc == 0)
		rc = ld_write_room(write, item->head.chunks + 2u + (item->key->tell_l2 ? OUTBOX_PAGES : 0));
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
	uint64_t cost = ld_entry_cost(&item->head, item->row_len, item->key_len);
	struct ld_account account[LD_ACCOUNTS];
	struct ld_write write;
	int rc = ld_write_begin(&write, store, account);

	if (rc != 0)
		return rc;
	rc = replace(&write, item);
	if (rc == 0 && ld_write_account(&write, item->key->tenant, strlen(item->key->tenant), 1, (int64_t)cost) != 0)
		rc = LARDER_E_BUG;
	if (rc == 0)
		ld_negative_change(&write, &item->head, 1, cost);
	if (rc == 0)
		rc = tell(&write, item);
	if (rc == 0 && (!item->seen || item->key->tell_l2)) {
		ld_stamp(&write, item->key->digest);
		LD_POINT(stamp_raised);
	}
	if (rc == 0)
		return ld_write_commit(&write);
	ld_write_abort(&write);
	return rc;
}

/* A batch; for a "not found" of its like, if there are any to be found. */
static int evict_for(struct ld_store *store, const struct item *item, const char *tenant, unsigned batch)
{
	int gone = item->put->absent ? ld_evict_negative(store, tenant, batch) : 0;

	return gone == 0 ? ld_evict_inside(store, tenant, batch) : gone;
}

/* Above the high mark or a bound the writer makes room itself, a small batch at a time. */
static void make_room(struct ld_store *store, const struct item *item, const struct ld_tenant_row *row, uint64_t cost)
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
		gone = evict_for(store, item, pressure.over_quota ? row->name : NULL, batch);
		if (gone <= 0)
			return;
		ld_host_count(&store->seg, LD_HC_inline_evictions, (uint64_t)gone);
	}
}

static int store_inside(struct ld_store *store, struct item *item, const struct ld_tenant_row *row, uint64_t cost)
{
	struct ld_pressure pressure;
	int rc;

	rc = item->put->absent ? ld_negative_make_room(store, cost) : 0;
	if (rc != 0)
		return rc;
	make_room(store, item, row, cost);
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
		ld_tell_reason(rc);
	ld_count_reason(store);
	ld_tenant_count(row, ld_seg_stripe(&store->seg), LD_TC_sets_dropped, 1);
	if (only_new)
		return rc == LARDER_E_BUSY || rc == LARDER_E_FULL ? rc : LARDER_E_IO;
	ld_raise_barrier(&store->seg, key);
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
		ld_from_outside(store, ld_raise_barrier, key);
		return rc;
	}
	if (ld_is_off(store, way)) {
		ld_leave(store);
		return remove_instead(store, key, way, put->only_new);
	}
	row = ld_tenant_of(store, key);
	ld_sketch_prefetch(&store->seg.sketch, key->digest);
	encode(store, &item, key, put, now_ms);
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

/* ---- filling ---- */

static int fill_inside(struct ld_store *store, const struct ld_key *key, const struct ld_put *put, const struct ld_seen *seen, int64_t now_ms,
    int64_t budget_ms)
{
	struct item item;
	int rc;

	ld_sketch_prefetch(&store->seg.sketch, key->digest);
	encode(store, &item, key, put, now_ms);
	item.seen = seen;
	ld_reason_set(LARDER_REASON_NONE);
	rc = store_gated(store, &item, budget_ms);
	if (rc == 0) {
		ld_host_count(&store->seg, LD_HC_fills, 1);
		ld_sketch_bump(&store->seg.sketch, key->digest);
	} else if (rc == LARDER_EXISTS) {
		ld_host_count(&store->seg, LD_HC_fills_discarded, 1);
	} else {
		if (rc != LARDER_E_BUSY)
			ld_tell_reason(rc);
		ld_count_reason(store);
	}
	return rc;
}

int ld_store_fill(struct ld_store *store, const struct ld_key *key, const struct ld_way *way, const struct ld_put *put, const struct ld_seen *seen)
{
	int64_t budget_ms = ld_budget(store, way), now_ms;
	uint32_t generation;
	int rc = ld_enter_within(store, &budget_ms, &now_ms);

	if (rc != 0)
		return rc;
	if (ld_is_off(store, way)) {
		ld_leave(store);
		ld_reason_set(LARDER_REASON_OFF);
		return LARDER_UNAVAILABLE;
	}
	rc = fill_inside(store, key, put, seen, now_ms, budget_ms);
	generation = store->env.generation;
	ld_leave(store);
	if (rc == LARDER_E_CORRUPT)
		ld_store_condemn(store, generation, "damaged", 1);
	else
		ld_work_mend(store);
	return rc < 0 ? LARDER_UNAVAILABLE : rc;
}
