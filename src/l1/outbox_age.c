/* SPDX-License-Identifier: MIT */
/*
 * The walk over the outbox: a slice of rows each round, in key order, round and round. Sets that wait for longer than LARDER_OUTBOX_AGE become deletes, and
 * deletes fold. A delete that takes a set's place waits as long again. Called by the process that has the background role; it also finds the oldest
 * row, and clears the word that says that something is pending when nothing is.
 *
 * Between two slices nothing is held. What is too old is looked at again in the transaction that gives it up: if its sequence differs, it was written
 * anew and stays. Killed at any line: given up, or not.
 */
#include "l1/inside.h"

#include <string.h>

#include "base/clock.h"
#include "base/fault.h"

struct old_row {
	unsigned char key[LD_KEY_MAX];
	size_t key_len;
	uint64_t seq;
};

struct age_slice {
	struct old_row old[LD_PENDING_SLICE];
	unsigned old_count;
	int at_end;
};

static int look(struct ld_store *store, MDB_txn *txn, int64_t now_ms, struct age_slice *slice)
{
	MDB_val key = { store->outbox_key_len, store->outbox_key }, data;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn, store->env.outbox, &cursor);

	if (rc != 0)
		return ld_env_error(rc);
	rc = mdb_cursor_get(cursor, &key, &data, store->outbox_key_len ? MDB_SET_RANGE : MDB_FIRST);
	if (rc == 0 && key.mv_size == store->outbox_key_len && memcmp(key.mv_data, store->outbox_key, key.mv_size) == 0)
		rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
	for (unsigned rows = 0; rc == 0 && rows < LD_PENDING_SLICE; rows++) {
		struct ld_pending row;

		/* A damaged tree may go round in circles. */
		if (key.mv_size > LD_KEY_MAX || ld_pending_decode(&data, &row) != 0 ||
		    !ld_key_follows(txn, store->env.outbox, &key, store->outbox_key, store->outbox_key_len)) {
			rc = MDB_CORRUPTED;
			break;
		}
		store->outbox_key_len = key.mv_size;
		memcpy(store->outbox_key, key.mv_data, key.mv_size);
		if (store->outbox_oldest_ms == 0 || row.enqueued_ms < store->outbox_oldest_ms)
			store->outbox_oldest_ms = row.enqueued_ms;
		if (now_ms - row.enqueued_ms > (int64_t)store->seg.h->params.outbox_age_ms) {
			struct old_row *old = &slice->old[slice->old_count++];

			memcpy(old->key, key.mv_data, key.mv_size);
			old->key_len = key.mv_size;
			old->seq = row.seq;
		}
		rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	slice->at_end = rc == MDB_NOTFOUND;
	return rc == MDB_NOTFOUND ? 0 : ld_env_error(rc);
}

static int give_up_one(struct ld_write *write, MDB_cursor *cursor, const struct old_row *old)
{
	MDB_val key = { old->key_len, (void *)(uintptr_t)old->key }, data;
	struct ld_pending row;
	int rc = ld_env_error(mdb_cursor_get(cursor, &key, &data, MDB_SET_KEY));

	if (rc == 0)
		rc = ld_pending_decode(&data, &row);
	if (rc == LARDER_MISS || (rc == 0 && row.seq != old->seq))
		return 0;
	if (rc != 0)
		return rc;
	key = (MDB_val){ old->key_len, (void *)(uintptr_t)old->key };
	return row.op == LD_OUTBOX_SET ? ld_outbox_to_delete(write, cursor, &key, &row, LD_GIVE_UP_DROPPED) :
	    ld_outbox_fold(write, cursor, &key, &row, LD_GIVE_UP_DROPPED);
}

/* Also without any row: the counts are read and written, and with them the word in the segment. */
static int give_up(struct ld_store *store, const struct age_slice *slice)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_write write;
	MDB_cursor *cursor;
	int rc = ld_write_begin(&write, store, accounts);

	if (rc != 0)
		return rc;
	rc = ld_env_error(mdb_cursor_open(write.txn, store->env.outbox, &cursor));
	if (rc != 0) {
		ld_write_abort(&write);
		return rc;
	}
	for (unsigned i = 0; i < slice->old_count && rc == 0; i++)
		rc = give_up_one(&write, cursor, &slice->old[i]);
	mdb_cursor_close(cursor);
	/* No room for another tenant's account: the rest comes in the next pass. */
	if (rc == LARDER_E_BUSY)
		rc = 0;
	if (rc == 0)
		rc = ld_outbox_use(&write);
	if (rc == 0)
		return ld_write_commit(&write);
	ld_write_abort(&write);
	return rc;
}

/* The end of a pass. Returns 1 if nothing at all was seen, and the word says that there is something. */
static int end_pass(struct ld_store *store)
{
	int nothing = store->outbox_oldest_ms == 0;

	atomic_store(&store->seg.h->outbox_oldest_ms, store->outbox_oldest_ms);
	store->outbox_key_len = 0;
	store->outbox_oldest_ms = 0;
	return nothing;
}

void ld_outbox_age_some(struct ld_store *store, int64_t now_ms)
{
	struct age_slice slice;
	MDB_txn *txn;
	int rc, idle = 0;

	if (atomic_load(&store->seg.h->outbox_any) == 0) {
		store->outbox_key_len = 0;
		store->outbox_oldest_ms = 0;
		return;
	}
	slice.old_count = 0;
	slice.at_end = 0;
	if (ld_read_begin(store, store->config.wait_ms, &txn) != 0)
		return;
	rc = look(store, txn, now_ms, &slice);
	ld_env_read_end(&store->env, txn);
	if (rc == 0 && slice.at_end)
		idle = end_pass(store);
	LD_POINT(outbox_aging);
	if (rc == 0 && (slice.old_count > 0 || idle) && ld_gate_in(store, store->config.wait_ms) == 0) {
		rc = give_up(store, &slice);
		ld_gate_out(store);
	}
	if (rc == LARDER_E_CORRUPT)
		atomic_store(&store->damaged, store->env.generation);
}
