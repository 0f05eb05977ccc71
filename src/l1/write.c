/* SPDX-License-Identifier: MIT */
/*
 * Touches and deletes, and what all writing calls share: one LMDB transaction each, under the writer gate, within the caller's budget. Sets
 * and adds are l1/put.c's.
 *
 * A set or delete that cannot commit raises its key's barrier to the highest sequence that anybody has begun, before it returns: whatever is
 * stored under the key now, or is being stored by a writer that is stopped inside the gate, is not served any more. It raises the key's stamp
 * and wall too, so that no fill brings the older value back, and none is given out of L2 (l1/invalid.c).
 *
 * Killed before the commit: as if the call had never been made, and it never returned. Killed after it: the value is stored, the mirrors are one
 * transaction old.
 */
#include "l1/inside.h"

#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/fault.h"

void ld_raise_barrier(struct ld_seg *seg, const void *ctx)
{
	const struct ld_key *key = ctx;

	/* Before the barrier: see l1/put.c. */
	ld_invalid_raise_key(seg, key->digest);
	ld_seq_raise(ld_barrier_of(seg->barriers, key->digest), atomic_load(&seg->h->write_seq));
	ld_host_count(seg, LD_HC_barriers, 1);
}

/* Error of a transaction to the reason that the caller may ask for. What was full has been said where it was found. */
void ld_tell_reason(int rc)
{
	if (rc == LARDER_E_FULL && larder_reason() != LARDER_REASON_NONE)
		return;
	ld_reason_set(rc == LARDER_E_FULL ? LARDER_REASON_DISK : rc == LARDER_E_NOMEM ? LARDER_REASON_NOMEM :
	    rc == LARDER_E_CORRUPT ? LARDER_REASON_CORRUPT : LARDER_REASON_DISK);
}

void ld_count_reason(struct ld_store *store)
{
	enum larder_reason reason = larder_reason();

	if (reason >= LARDER_REASON_ATTACH && reason <= LARDER_REASON_NOMEM)
		ld_host_count(&store->seg, LD_HC_unavailable_attach + (reason - LARDER_REASON_ATTACH), 1);
}

/* ---- deleting ---- */

static int remove_entry(struct ld_write *write, MDB_cursor *cursor, const struct ld_key *key, int64_t now_ms, int *ret_result)
{
	const struct ld_tenant_row *tenant = ld_tenant_of(write->store, key);
	unsigned char bytes[LD_KEY_MAX];
	MDB_val at = { ld_entry_key(key->tenant, key->digest, bytes), bytes }, row;
	struct ld_hidden hidden;
	struct ld_entry entry;
	int64_t wall_ms = 0;
	int rc = mdb_cursor_get(cursor, &at, &row, MDB_SET_KEY);

	*ret_result = LARDER_MISS;
	if (rc != 0)
		return rc == MDB_NOTFOUND ? 0 : ld_env_error(rc);
	if (ld_entry_decode(row.mv_data, row.mv_size, &entry) == 0) {
		hidden = ld_entry_hidden(&write->store->seg, tenant, key->scope_tag, key->digest, &entry);
		if (ld_entry_state(&entry.head, &hidden, now_ms, &wall_ms) & (LARDER_IS_FRESH | LARDER_IS_STALE))
			*ret_result = 0;
	}
	rc = ld_write_remove(write, cursor, &at, &row);
	LD_POINT(delete_removed);
	return rc;
}

/* Absent or not: L2 may have it. */
static int delete_one(struct ld_write *write, MDB_cursor *cursor, const struct ld_key *key, int64_t now_ms, int *ret_result)
{
	const struct ld_tell tell = { key->tenant, key->digest, LD_OUTBOX_DELETE, 0, 0, 0, 0 };
	int rc = remove_entry(write, cursor, key, now_ms, ret_result);

	if (rc == 0 && key->tell_l2)
		rc = ld_outbox_tell(write, &tell);
	ld_stamp(write, key->digest);
	LD_POINT(stamp_raised);
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
		ld_from_outside(store, ld_raise_barrier, &keys[i]);
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
			ld_tell_reason(rc);
			rc = rc == LARDER_E_FULL ? rc : LARDER_E_IO;
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (rc != 0) {
			ld_raise_barrier(&store->seg, &keys[i]);
			ret_results[i] = rc;
		} else if (ret_results[i] == 0) {
			gone++;
		}
	}
	if (count > 0)
		ld_tenant_count(ld_tenant_of(store, keys), stripe, rc ? LD_TC_deletes_failed : LD_TC_deletes, rc ? count : gone);
	if (rc != 0)
		ld_count_reason(store);
	ld_leave(store);
	return rc;
}

/* ---- touching ---- */

/* The entry is told again, with its new times; it keeps its sequence. */
static int tell_touched(struct ld_write *write, const struct ld_key *key, const struct ld_entry_head *head, uint64_t cost, int64_t fresh_until_ms,
    int64_t l2_ttl_ms)
{
	const struct ld_tell value = { key->tenant, key->digest, LD_OUTBOX_SET, head->seq, cost, fresh_until_ms, l2_ttl_ms };
	const struct ld_tell nothing = { key->tenant, key->digest, LD_OUTBOX_DELETE, 0, 0, 0, 0 };

	if (!key->tell_l2)
		return 0;
	return ld_outbox_tell(write, head->bits & LD_ENTRY_ABSENT ? &nothing : &value);
}

/* The row may be given new times: it is whole, and a get would find it. */
static int may_touch(struct ld_store *store, const struct ld_key *key, const MDB_val *row, int64_t now_ms, struct ld_entry *ret_entry)
{
	struct ld_hidden hidden;
	int64_t wall_ms = 0;

	if (ld_entry_decode(row->mv_data, row->mv_size, ret_entry) != 0 || ld_entry_verify(row->mv_data, row->mv_size, key->digest) != 0)
		return 0;
	hidden = ld_entry_hidden(&store->seg, ld_tenant_of(store, key), key->scope_tag, key->digest, ret_entry);
	return (ld_entry_state(&ret_entry->head, &hidden, now_ms, &wall_ms) & (LARDER_IS_FRESH | LARDER_IS_STALE)) != 0;
}

/* "Not found" is never stale: a window after its end would let a touch revive what a get does not find. An error window keeps its length. */
static struct ld_entry_times times_from(struct ld_store *store, const struct ld_key *key, const struct ld_entry_head *head, int64_t now_ms,
    const struct ld_touch *touch)
{
	struct ld_entry_times times;

	times.fresh_until_ms = now_ms + ld_jittered(store, key->digest, touch->ttl_ms, touch->jitter_pct);
	times.stale_until_ms = times.fresh_until_ms + (head->bits & LD_ENTRY_ABSENT ? 0 : touch->stale_ms);
	times.dead_ms = times.stale_until_ms + (head->dead_ms > head->stale_until_ms ? head->dead_ms - head->stale_until_ms : 0);
	return times;
}

static int touch_once(struct ld_store *store, const struct ld_key *key, int64_t now_ms, const struct ld_touch *touch)
{
	unsigned char bytes[LD_KEY_MAX], copy[LD_ROW_MAX];
	MDB_val at = { ld_entry_key(key->tenant, key->digest, bytes), bytes }, row;
	struct ld_account account[LD_ACCOUNTS];
	struct ld_entry_times times = { 0, 0, 0 };
	struct ld_entry entry;
	struct ld_write write;
	int rc = ld_write_begin(&write, store, account);

	if (rc != 0)
		return rc;
	rc = ld_env_error(mdb_get(write.txn, store->env.entries, &at, &row));
	if (rc == 0 && !may_touch(store, key, &row, now_ms, &entry))
		rc = LARDER_MISS;
	if (rc == 0) {
		times = times_from(store, key, &entry.head, now_ms, touch);
		memcpy(copy, row.mv_data, row.mv_size);
		ld_entry_retime(copy, row.mv_size, &times);
		row.mv_data = copy;
		rc = ld_env_error(mdb_put(write.txn, store->env.entries, &at, &row, 0));
	}
	if (rc == 0)
		rc = tell_touched(&write, key, &entry.head, ld_entry_cost(&entry.head, row.mv_size, at.mv_size), times.fresh_until_ms,
		    touch->l2_ttl_ms);
	if (rc == 0) {
		ld_stamp(&write, key->digest);
		LD_POINT(stamp_raised);
		return ld_write_commit(&write);
	}
	ld_write_abort(&write);
	return rc;
}

int ld_store_touch(struct ld_store *store, const struct ld_key *key, const struct ld_way *way, const struct ld_touch *touch)
{
	int64_t budget_ms = ld_budget(store, way), now_ms;
	int rc = ld_enter_within(store, &budget_ms, &now_ms);

	if (rc != 0)
		return rc;
	if (ld_is_off(store, way)) {
		ld_leave(store);
		return LARDER_MISS;
	}
	ld_reason_set(LARDER_REASON_NONE);
	rc = ld_gate_in(store, budget_ms);
	if (rc == 0) {
		rc = touch_once(store, key, now_ms, touch);
		ld_gate_out(store);
		if (rc < 0) {
			ld_tell_reason(rc);
			rc = LARDER_UNAVAILABLE;
		}
	}
	if (rc == 0)
		ld_tenant_count(ld_tenant_of(store, key), ld_seg_stripe(&store->seg), LD_TC_touches, 1);
	if (rc == LARDER_UNAVAILABLE)
		ld_count_reason(store);
	ld_leave(store);
	return rc;
}
