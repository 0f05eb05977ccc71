/* SPDX-License-Identifier: MIT */
/**
 * What the two parts of the check share: its state, its findings, and the walk over a table. Private to l1/check.c and l1/check_counts.c.
 */
#ifndef LD_L1_CHECK_H
#define LD_L1_CHECK_H

#include "l1/inside.h"

struct ld_check {
	struct ld_store *store;
	int repair;
	larder_finding_fn fn;
	larder_progress_fn progress;
	void *ctx;
	uint64_t found, from_seq;
	uint64_t *ids;              /* chunk ids that rows name, sorted later */
	size_t ids_used, ids_size;
};

/** Count a finding and tell it. Returns what the caller's function says: not 0 ends the check. */
int ld_check_report(struct ld_check *check, const char *what, const char *tenant, const unsigned char *digest, int mended);

/** A walk over a table, from after `place`; calls see() for each row, which ends it by anything but 0. */
struct ld_walk {
	struct ld_check *check;
	enum { LD_WALK_ENTRIES = 0, LD_WALK_CHUNKS, LD_WALK_OUTBOX } table;
	unsigned char place[LD_KEY_MAX];
	size_t place_len;
	int (*see)(struct ld_walk *walk, const MDB_val *key, const MDB_val *row);
	void *ctx;
};
/** Go on by at most `slice` rows, in a transaction. Returns 0; 1 at the end of the table; what see() returned; an error. */
int ld_walk_rows(struct ld_walk *walk, MDB_txn *txn, int slice);

/** Everything that must add up, and with `repair` does afterwards. 0; what ld_check_report() returned; an error. */
int ld_check_counts(struct ld_check *check);

#endif
