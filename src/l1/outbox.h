/* SPDX-License-Identifier: MIT */
/**
 * The outbox, as the drainer and the tools see it: what L2 has not been told yet (DESIGN decision 22). It is a table of the store, written in the very
 * transaction of the set, add, touch or delete that it tells of (l1/store.h, tell_l2), with one row for each key: the last write wins, and
 * so the order of a key's writes is kept. A pending set has no copy of its value: the value is the entry itself, which the evictor passes over.
 *
 * Life of a row:
 *
 *     write --> pending --told--> acknowledged                       gone
 *                 |    --told--> failed for good                     a set leaves a delete in its place; a delete folds
 *                 |    --another write of the key--> coalesced       the newer row stands in its place
 *                 |    --too old, or its bytes over the bound-->     a set becomes a delete (dropped, and enqueued anew); a delete folds
 *                 +----too many rows--> dropped                      folds
 *
 * To fold is to drop rows of a tenant and to raise its invalidation time instead (ld_store_l2_admits()): this host then takes nothing from L2 that
 * may be older. Other hosts are not told: they may see the older value in L2 until its own TTL there is over.
 *
 * In every snapshot   enqueued = acknowledged + failed + dropped + coalesced + pending,   whoever was killed.
 *
 * A row that is told but not settled is told again, with the same Idempotency-Key: by the same drainer, or by its successor.
 */
#ifndef LD_L1_OUTBOX_H
#define LD_L1_OUTBOX_H

#include <stddef.h>
#include <stdint.h>

#include <larder/larder.h>

#include "l1/store.h"

enum ld_outbox_op { LD_OUTBOX_SET = 1, LD_OUTBOX_DELETE = 2 };
enum ld_outbox_outcome { LD_OUTBOX_LEFT = 0, LD_OUTBOX_ACKNOWLEDGED = 1, LD_OUTBOX_FAILED = 2 };
enum { LD_OUTBOX_IDEMPOTENCY = 16, LD_OUTBOX_TAKE_MAX = 200 };

/**
 * One row as it must be told now. All but `outcome` is written by ld_outbox_take() and left alone by the drainer.
 * Of a set: L2 gets value, ttl_ms, stale_ms and error_ms as counted from created_wall_ms, so that a retry sends the same bytes.
 */
struct ld_outbox_row {
	char tenant[LARDER_TENANT_MAX + 1];
	unsigned char digest[LARDER_DIGEST_SIZE];
	unsigned char idempotency[LD_OUTBOX_IDEMPOTENCY]; /* of this logical write, the same each time that it is taken as the same op */
	enum ld_outbox_op op;
	enum ld_outbox_outcome outcome; /* for ld_outbox_settle(): LEFT until the drainer says otherwise */
	uint64_t seq;                  /* of the write; names this state of the row */
	int64_t created_wall_ms;       /* when it was written */
	int64_t enqueued_ms;           /* the same on the boot clock */
	uint64_t barrier;              /* the key's, when the row was read */
	/* Only of a set. */
	void *value;                   /* allocated; ld_outbox_forget() frees it. NULL for a delete */
	size_t len;
	int64_t ttl_ms;                /* from created_wall_ms on; > 0 */
	int64_t stale_ms;              /* window after it; >= 0 */
	int64_t error_ms;              /* window after that one; >= 0 */
	int64_t left_ms;               /* of ttl_ms, when it was taken; > 0 */
	int64_t hard_end_ms;           /* wall clock; 0 = none */
	uint32_t flags;                /* the caller's */
	uint32_t tag_count;            /* 0..LD_TAGS_MAX */
	uint64_t tags[LARDER_ENTRY_TAGS_MAX];
};

/** Where a drainer is in the table. Zeroed: at the beginning. Means nothing to anybody else. */
struct ld_outbox_place {
	unsigned char key[LARDER_TENANT_MAX + 1 + LARDER_DIGEST_SIZE];
	uint32_t key_len;
	uint32_t passes;               /* times that the end was reached */
};

/**
 * The next pending rows in the order of keys, from after the place; where it has come to the end and has found nothing, from the beginning. One
 * call never gives a row twice. A set whose entry is gone, of another write, cleared, invalidated by a tag, under a barrier, damaged or past its TTL - the one here, or the one in
 * L2 if that is shorter - is told as a delete.
 * One short read transaction.
 *
 * rows      room for max rows; those that were filled go to ld_outbox_forget()
 * max       1..LD_OUTBOX_TAKE_MAX
 * max_b     of values; the first row is given even if it is larger
 *
 * Returns   0 with *ret_count, 0 = nothing is pending; LARDER_UNAVAILABLE with the reason set, *ret_count is 0
 * Blocks    as a get    Threads  any, with a place each    Fork  any process
 */
int ld_outbox_take(struct ld_store *store, struct ld_outbox_place *place, struct ld_outbox_row *rows, size_t max, size_t max_b, size_t *ret_count);
/**
 * Somebody waits for the row of this key: the teller is to take it before others. A hint, which may be lost: say it again from time to time. The key's
 * tenant and digest are looked at.
 */
void ld_outbox_want(struct ld_store *store, const struct ld_key *key);
/** Has this key a pending row? 1; 0 no, or it cannot be seen. As a get. */
int ld_outbox_pending(struct ld_store *store, const struct ld_key *key);
/** As ld_outbox_take(), of these keys; keys NULL: of those that ld_outbox_want() has named since. *ret_count 0: none of them is pending. */
int ld_outbox_take_these(struct ld_store *store, const struct ld_key *keys, size_t key_count, struct ld_outbox_row *rows, size_t max, size_t max_b,
    size_t *ret_count);
/** Free the values; rows is zeroed. */
void ld_outbox_forget(struct ld_outbox_row *rows, size_t count);

/**
 * Write down what became of rows: those that are acknowledged go; a set that failed for good becomes a delete, to be told in its place; a delete that
 * failed for good folds. Only rows whose seq is still the same are touched. One transaction for up to 64 tenants.
 *
 * Returns   0; LARDER_UNAVAILABLE with the reason set: some or all rows are as they were, settle all of them again
 * Blocks    up to budget_ms for the writer gate, 0 = the store's time    Threads  any    Fork  any process
 */
int ld_outbox_settle(struct ld_store *store, const struct ld_outbox_row *rows, size_t count, int64_t budget_ms);

/** Is anything pending? 0: surely not, at the time of the call; 1: probably. 0 as well when the store is not here. One load. */
int ld_outbox_any(struct ld_store *store);

/*
 * The drainer's lock: one teller on the host at a time, for a second one could let an older write overtake a newer one. It is taken over from a dead
 * process, from one that has let go of the segment, and from one that a signal has stopped, when the time of its last request is over. Requests of such a
 * predecessor may still be on their way, so its successor sends nothing before the last of them has ended.
 *
 *     ld_outbox_lock() == 0 --> { take, ld_outbox_sending() == 0 --> send, settle } --> ld_outbox_unlock()
 */

/**
 * Try to become the drainer; waits for nobody. A thread that has the lock keeps it; two threads of one process exclude each other.
 * Returns 0 with the time to wait before the first request, usually 0; LARDER_EXISTS: another one has it; LARDER_UNAVAILABLE
 */
int ld_outbox_lock(struct ld_store *store, int64_t *ret_wait_ms);
/**
 * Before each request: it will have ended, whatever happens to us, in within_ms from now (its time limit). *ret_until_ms: the boot clock then; nothing may be
 * sent later, and somewhat earlier is better.
 * Returns 0; LARDER_E_BUSY we have the lock no more, or a predecessor's request may still be on its way: do not send; LARDER_UNAVAILABLE: nor then
 */
int ld_outbox_sending(struct ld_store *store, int64_t within_ms, int64_t *ret_until_ms);
/** Give the lock back, if we have it. quiet 1: no request of ours is on its way any more, but of keys that ld_outbox_unanswered() has been told. */
void ld_outbox_unlock(struct ld_store *store, int quiet);

/**
 * A request about this key was sent and has ended without an answer: L2 may carry it out until then, and whoever has the lock sends nothing of the key before.
 * Of the key its digest is looked at. Needs no slot in the segment.
 * Returns 0; LARDER_E_FULL there is no room to remember it; LARDER_UNAVAILABLE there is no segment
 */
int ld_outbox_unanswered(struct ld_store *store, const struct ld_key *key, int64_t until_ms);
/**
 * The same of a request that is about to be sent by one who has not the lock; to be ended when it has: answered, the claim is taken back.
 * Returns the claim; 0 there is no room, or no segment: nobody waits for it
 */
uint64_t ld_outbox_claim(struct ld_store *store, const struct ld_key *key, int64_t until_ms);
/** A claim of 0 is allowed. */
void ld_outbox_claim_end(struct ld_store *store, const struct ld_key *key, uint64_t claim, int answered);
/** How long nothing of this key may be sent, ms; 0 = it may. */
int64_t ld_outbox_unanswered_left(struct ld_store *store, const struct ld_key *key);
/**
 * After ld_outbox_sending(): has its key, or one that shares its barrier, been written beside the outbox since this row was read? 1: it may be older than what
 * L2 has been told; take it anew. 0: no, or it cannot be seen.
 */
int ld_outbox_is_outdated(struct ld_store *store, const struct ld_outbox_row *row);

/*
 * Sleeping until something happens: read the count, look, and sleep for as long as it is what it was. In slices of 10 ms, inside the store.
 */
enum ld_outbox_event {
	LD_OUTBOX_CALLS,               /* the holder of the lock was called: somebody waits for a row */
	LD_OUTBOX_ENDS                 /* rows were settled, or a holder has left */
};
uint32_t ld_outbox_count(struct ld_store *store, enum ld_outbox_event event);
/** Returns when it is no longer `count`, after wait_ms, after a slice, or for no reason. */
void ld_outbox_sleep(struct ld_store *store, enum ld_outbox_event event, uint32_t count, int64_t wait_ms);
/** Call the holder. */
void ld_outbox_call(struct ld_store *store);
/** Has anybody the lock, dead or alive? 1 or 0. */
int ld_outbox_is_held(struct ld_store *store);
/** Has ld_outbox_want() named a key that ld_outbox_take_these() has not looked for yet? 1 or 0. */
int ld_outbox_is_wanted(struct ld_store *store);

/** Everything there is to count, as of one snapshot; pending_b: bytes of entries that are kept for pending sets. */
struct ld_outbox_counts {
	uint64_t enqueued, acknowledged, failed, dropped, coalesced, pending, pending_b;
};
struct ld_outbox_summary {
	struct ld_outbox_counts counts;
	uint64_t rows_max, bytes_max;  /* bounds in force */
	int64_t age_max_ms;
	int64_t oldest_ms;             /* age of the oldest pending row; 0 = none. Exact up to 2,000 rows, beyond that as of the last full pass */
	int32_t drainer_pid;           /* 0 = nobody has the lock */
	int drainer_alive;
	int64_t drain_until_ms;        /* from now: how long requests may still be on their way */
};
/** For tools. 0 or LARDER_UNAVAILABLE with the reason set. */
int ld_outbox_summary(struct ld_store *store, struct ld_outbox_summary *ret_summary);

/** Walk the rows, as they would be told, without values (value NULL, len told). Slices of at most 200, the callback outside of any transaction. */
typedef int (*ld_outbox_fn)(void *ctx, const struct ld_outbox_row *row);
/** tenant NULL = all. 0, what the callback returned if not 0, LARDER_UNAVAILABLE with the reason set. */
int ld_outbox_walk(struct ld_store *store, const char *tenant, ld_outbox_fn fn, void *ctx);

#endif
