/* SPDX-License-Identifier: MIT */
/*
 * Counts put right beside the writers. Counting everything takes long, so the check does it in a snapshot, with no gate held; what it carries into the
 * gate is by how much the counts are off. That stays true meanwhile, for who changes an entry changes its counts by as much in the same transaction. It is
 * no longer true once another check has put them right: each leaves a note of its transaction, in that transaction. Nor is it where a count that is too
 * low has come to its end meanwhile: nothing is taken from 0, and it is off by less from then on. So the check counts again after it has put something
 * right, and tries TRIES times. A count that is no row is written anew, if the check comes before a writer of it; else the store is set aside.
 * Called by the check alone.
 *
 *     check A                            writers                              check B
 *     snapshot 7: off by +3                                                   snapshot 7: off by +3
 *                                        8: an entry more, counts +1
 *     9: counts +3, the note says 9
 *                                                                             the note is newer than 7: counts again, off by 0
 *
 * A check that is killed before its commit leaves everything as it was, after it everything is right.
 */
#include "l1/inside.h"

#include <string.h>

#include "base/fault.h"

enum { TRIES = 3 };

/* Key of the note in the main table. */
static const char NOTE_KEY[] = "M";

/* Is what was counted in this snapshot still what the counts are off by? If so, leave the note. */
static int leave_note(struct ld_write *write, uint64_t snapshot)
{
	const struct ld_env *env = &write->store->env;
	uint64_t noted, now = mdb_txn_id(write->txn);
	MDB_val key = { sizeof(NOTE_KEY) - 1, (void *)(uintptr_t)NOTE_KEY }, data;
	int rc = mdb_get(write->txn, env->main, &key, &data);

	if (rc != 0 && rc != MDB_NOTFOUND)
		return ld_env_error(rc);
	/* A note that is damaged says nothing, and is written anew. */
	if (rc == 0 && data.mv_size == sizeof(noted)) {
		memcpy(&noted, data.mv_data, sizeof(noted));
		if (noted > snapshot && noted < now)
			return LARDER_E_BUSY;
	}
	data = (MDB_val){ sizeof(now), &now };
	return ld_env_error(mdb_put(write->txn, env->main, &key, &data, 0));
}

int ld_mend_after(struct ld_store *store, const struct ld_counting *counting, uint64_t snapshot)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_write write;
	int rc = ld_gate_in(store, store->config.wait_ms);

	if (rc != 0)
		return rc;
	rc = ld_write_begin(&write, store, accounts);
	if (rc == 0) {
		rc = leave_note(&write, snapshot);
		if (rc == 0)
			rc = counting->change(&write, counting->ctx);
		if (rc == 0)
			rc = ld_write_commit(&write);
		else
			ld_write_abort(&write);
	}
	ld_gate_out(store);
	return rc;
}

static int look(struct ld_store *store, const struct ld_counting *counting, uint64_t *ret_snapshot)
{
	MDB_txn *txn;
	int rc = ld_read_begin(store, store->config.wait_ms, &txn);

	if (rc != 0)
		return rc;
	*ret_snapshot = mdb_txn_id(txn);
	rc = counting->look(store, txn, counting->ctx);
	ld_env_read_end(&store->env, txn);
	return rc;
}

int ld_mend_counts(struct ld_store *store, const struct ld_counting *counting, int repair, int *ret_mended)
{
	uint64_t snapshot = 0;
	int after, rc = after = look(store, counting, &snapshot);

	for (int i = 0; i < TRIES && after == 1 && repair; i++) {
		LD_POINT(check_counted);
		after = ld_mend_after(store, counting, snapshot);
		if (after != LARDER_E_CORRUPT)
			after = look(store, counting, &snapshot);
	}
	*ret_mended = rc == 1 && after == 0;
	return after == LARDER_E_CORRUPT ? after : rc;
}
