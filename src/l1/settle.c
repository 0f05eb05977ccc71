/* SPDX-License-Identifier: MIT */
/*
 * Settling rows of the outbox when L2 has answered, and the outbox's figures. Called by the drainer and by tools; the races are drawn in l1/drain.c.
 */
#include "l1/inside.h"

#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/fault.h"

enum { LOOK_FOR_OLDEST = 2000 };

/* ---- settling ---- */

static int settle_one(struct ld_write *write, MDB_cursor *cursor, const struct ld_outbox_row *told)
{
	unsigned char bytes[LD_KEY_MAX];
	MDB_val key = { ld_entry_key(told->tenant, told->digest, bytes), bytes }, data;
	struct ld_pending row;
	int rc = ld_env_error(mdb_cursor_get(cursor, &key, &data, MDB_SET_KEY));

	if (rc == 0)
		rc = ld_pending_decode(&data, &row);
	if (rc == LARDER_MISS || (rc == 0 && row.seq != told->seq))
		return 0;
	if (rc != 0)
		return rc;
	key = (MDB_val){ key.mv_size, bytes };
	if (told->outcome == LD_OUTBOX_ACKNOWLEDGED)
		return ld_outbox_acknowledge(write, cursor, &key, &row);
	/* A set in whose place a delete was told has failed as a delete. */
	return told->op == LD_OUTBOX_SET ? ld_outbox_to_delete(write, cursor, &key, &row, LD_GIVE_UP_FAILED) :
	    ld_outbox_fold(write, cursor, &key, &row, LD_GIVE_UP_FAILED);
}

/* As many as one transaction has room for; *at goes on. */
static int settle_some(struct ld_store *store, const struct ld_outbox_row *rows, size_t count, size_t *at)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_write write;
	MDB_cursor *cursor;
	size_t i = *at;
	int rc = ld_write_begin(&write, store, accounts);

	if (rc != 0)
		return rc;
	rc = ld_env_error(mdb_cursor_open(write.txn, store->env.outbox, &cursor));
	if (rc != 0) {
		ld_write_abort(&write);
		return rc;
	}
	for (; i < count; i++) {
		rc = rows[i].outcome == LD_OUTBOX_LEFT ? 0 : settle_one(&write, cursor, &rows[i]);
		if (rc != 0)
			break;
	}
	mdb_cursor_close(cursor);
	if (rc != 0 && (rc != LARDER_E_BUSY || i == *at)) {
		ld_write_abort(&write);
		return rc;
	}
	rc = 0;
	if (write.changed)
		rc = ld_write_commit(&write);
	else
		ld_write_abort(&write);
	if (rc == 0)
		*at = i;
	return rc;
}

int ld_outbox_settle(struct ld_store *store, const struct ld_outbox_row *rows, size_t count, int64_t budget_ms)
{
	uint32_t generation;
	int64_t now_ms;
	size_t at = 0;
	int rc;

	budget_ms = budget_ms > 0 ? budget_ms : store->config.wait_ms;
	rc = ld_enter_within(store, &budget_ms, &now_ms);
	if (rc != 0)
		return rc;
	ld_reason_set(LARDER_REASON_NONE);
	generation = store->env.generation;
	rc = ld_gate_in(store, budget_ms);
	if (rc == 0) {
		while (at < count && rc == 0)
			rc = settle_some(store, rows, count, &at);
		ld_gate_out(store);
		if (rc != 0)
			ld_tell_reason(rc);
		ld_outbox_tell_event(store, LD_OUTBOX_ENDS);
	}
	ld_leave(store);
	if (rc == LARDER_E_CORRUPT)
		ld_store_condemn(store, generation, "damaged", 1);
	return rc == 0 ? 0 : LARDER_UNAVAILABLE;
}

/* ---- figures ---- */

/* Of the first rows; of the others what the last pass over all of them saw. */
static int find_oldest(const struct ld_store *store, MDB_txn *txn, int64_t *ret_oldest_ms)
{
	MDB_val key, data;
	MDB_cursor *cursor;
	int64_t oldest_ms = 0, passed_ms;
	unsigned rows = 0;
	int rc = mdb_cursor_open(txn, store->env.outbox, &cursor);

	if (rc != 0)
		return ld_env_error(rc);
	while (rows++ < LOOK_FOR_OLDEST && (rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
		struct ld_pending row;

		if (ld_pending_decode(&data, &row) == 0 && (oldest_ms == 0 || row.enqueued_ms < oldest_ms))
			oldest_ms = row.enqueued_ms;
	}
	mdb_cursor_close(cursor);
	if (rc == 0) {
		passed_ms = atomic_load(&store->seg.h->outbox_oldest_ms);
		if (passed_ms != 0 && passed_ms < oldest_ms)
			oldest_ms = passed_ms;
	}
	*ret_oldest_ms = oldest_ms;
	return rc == 0 || rc == MDB_NOTFOUND ? 0 : ld_env_error(rc);
}

static void tell_drainer(const struct ld_seg *seg, int64_t now_ms, struct ld_outbox_summary *to)
{
	uint64_t holder = atomic_load(&seg->h->drain_gate.holder);
	int64_t until_ms = (int64_t)atomic_load(&seg->h->drain_until_ms);

	to->drainer_pid = ld_seg_pid_of(seg, holder);
	to->drainer_alive = holder != 0 && ld_seg_alive(seg, holder);
	to->drain_until_ms = until_ms > now_ms ? until_ms - now_ms : 0;
}

int ld_outbox_summary(struct ld_store *store, struct ld_outbox_summary *ret_summary)
{
	int64_t now_ms, oldest_ms = 0;
	MDB_txn *txn;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return rc;
	memset(ret_summary, 0, sizeof(*ret_summary));
	ret_summary->rows_max = ld_outbox_rows_max(&store->seg.h->params);
	ret_summary->bytes_max = store->seg.h->params.outbox_b;
	ret_summary->age_max_ms = (int64_t)store->seg.h->params.outbox_age_ms;
	rc = ld_read_begin(store, store->config.wait_ms, &txn);
	if (rc == 0) {
		rc = ld_outbox_read_counts(&store->env, txn, &ret_summary->counts);
		if (rc == 0)
			rc = find_oldest(store, txn, &oldest_ms);
		ld_env_read_end(&store->env, txn);
		if (rc != 0)
			ld_reason_set(LARDER_REASON_CORRUPT);
	}
	ret_summary->oldest_ms = oldest_ms != 0 && oldest_ms < now_ms ? now_ms - oldest_ms : oldest_ms != 0;
	tell_drainer(&store->seg, now_ms, ret_summary);
	ld_leave(store);
	return rc == 0 ? 0 : LARDER_UNAVAILABLE;
}
