/* SPDX-License-Identifier: MIT */
/*
 * Counts put right beside the writers. Counting everything takes long, so the check does it in a snapshot, with no gate held; what it carries into the
 * gate is by how much the counts are off. That stays true meanwhile, for who changes an entry changes its counts by as much in the same transaction. It is
 * no longer true once another check has put them right: each leaves a note of its transaction, in that transaction. Nor is it where a count that is too
 * low has come to its end meanwhile: nothing is taken from 0, and it is off by less from then on. So the check counts again after it has put something
 * right, and tries LD_MEND_TRIES times. A count that is no row is written anew, if the check comes before a writer of it; else the store is set aside.
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

/* Key of the note in the main table. */
static const char NOTE_KEY[] = "M";

int ld_mend_begin(struct ld_write *write, uint64_t snapshot)
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

int ld_mend_commit(struct ld_write *write, int rc)
{
	if (rc == 0)
		return ld_write_commit(write);
	ld_write_abort(write);
	return rc;
}
