/* SPDX-License-Identifier: MIT */
/*
 * Settling rows of the outbox, the drainer's lock, who sleeps until what, and the figures. The races are drawn in l1/drain.c; those of the sleepers:
 *
 *   a call, or an end, between the sleeper's      the count that it read is an older one: it does not sleep.
 *   look and its sleep
 *   killed between the event and its count        nobody is woken: sleeps are short, and who wakes looks.
 *   rows are settled otherwise (folded, too old)  the same.
 */
#include "l1/inside.h"

#include <limits.h>
#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/fault.h"
#include "base/futex.h"
#include "base/process.h"

enum { LOOK_FOR_OLDEST = 2000, LOCK_WAIT_MS = 1, SLICE_MS = 10 };

/* ---- who sleeps until what ---- */

static _Atomic uint32_t *word_of(const struct ld_store *store, enum ld_outbox_event event)
{
	return event == LD_OUTBOX_CALLS ? &store->seg.h->drain_calls : &store->seg.h->drain_ends;
}

/* Inside ld_enter(). */
static void tell_event(const struct ld_store *store, enum ld_outbox_event event)
{
	atomic_fetch_add(word_of(store, event), 1);
	ld_futex_wake(word_of(store, event), INT_MAX);
}

uint32_t ld_outbox_count(struct ld_store *store, enum ld_outbox_event event)
{
	uint32_t count = 0;
	int64_t now_ms;

	if (ld_enter(store, store->config.wait_ms, &now_ms) == 0) {
		count = atomic_load(word_of(store, event));
		ld_leave(store);
	}
	return count;
}

void ld_outbox_sleep(struct ld_store *store, enum ld_outbox_event event, uint32_t count, int64_t wait_ms)
{
	_Atomic uint32_t nobodys = count;
	int64_t now_ms, slice_ms = wait_ms < SLICE_MS ? wait_ms : SLICE_MS;

	if (ld_enter(store, store->config.wait_ms, &now_ms) == 0) {
		ld_futex_wait(word_of(store, event), count, slice_ms);
		ld_leave(store);
	} else {
		ld_futex_wait(&nobodys, count, slice_ms);
	}
}

void ld_outbox_call(struct ld_store *store)
{
	int64_t now_ms;

	if (ld_enter(store, store->config.wait_ms, &now_ms) != 0)
		return;
	tell_event(store, LD_OUTBOX_CALLS);
	ld_leave(store);
}

int ld_outbox_is_held(struct ld_store *store)
{
	int64_t now_ms;
	int held = 0;

	if (ld_enter(store, store->config.wait_ms, &now_ms) == 0) {
		held = atomic_load(&store->seg.h->drain_gate.holder) != 0;
		ld_leave(store);
	}
	return held;
}

int ld_outbox_is_wanted(struct ld_store *store)
{
	int64_t now_ms;
	int wanted = 0;

	if (ld_enter(store, store->config.wait_ms, &now_ms) == 0) {
		wanted = ld_wanted_is_new(store->seg.wanted);
		ld_leave(store);
	}
	return wanted;
}

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
		tell_event(store, LD_OUTBOX_ENDS);
	}
	ld_leave(store);
	if (rc == LARDER_E_CORRUPT)
		ld_store_condemn(store, generation, "damaged", 1);
	return rc == 0 ? 0 : LARDER_UNAVAILABLE;
}

/* ---- the lock ---- */

static int have_lock(const struct ld_seg *seg)
{
	return atomic_load(&seg->h->drain_gate.holder) == seg->self;
}

/* From a holder that a signal has stopped, whose last request is over. See l1/drain.c. */
static int take_from_stopped(struct ld_seg *seg)
{
	struct ld_seg_header *h = seg->h;
	uint64_t holder = atomic_load(&h->drain_gate.holder);
	char state;

	if (holder == 0 || ld_clock_boot_ms() < (int64_t)atomic_load(&h->drain_until_ms))
		return 0;
	state = ld_process_state(ld_seg_pid_of(seg, holder));
	if ((state != 'T' && state != 't') || !ld_gate_take_from(&h->drain_gate, holder, seg->self))
		return 0;
	ld_host_count(seg, LD_HC_tellers_stopped, 1);
	return 1;
}

int ld_outbox_lock(struct ld_store *store, int64_t *ret_wait_ms)
{
	int64_t now_ms;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return rc;
	if (have_lock(&store->seg)) {
		rc = LARDER_EXISTS;
	} else {
		struct ld_gate_user user = ld_env_gate_user(&store->seg);

		if (ld_gate_take(&store->seg.h->drain_gate, &user, LOCK_WAIT_MS) == LD_GATE_TIMEOUT && !take_from_stopped(&store->seg))
			rc = LARDER_EXISTS;
	}
	if (rc == 0) {
		uint64_t until_ms = atomic_load(&store->seg.h->drain_until_ms);

		LD_POINT(drain_taken);
		now_ms = ld_clock_boot_ms();
		atomic_store(&store->seg.h->drain_from_ms, until_ms);
		*ret_wait_ms = (int64_t)until_ms > now_ms ? (int64_t)until_ms - now_ms : 0;
	}
	ld_leave(store);
	return rc;
}

int ld_outbox_sending(struct ld_store *store, int64_t within_ms, int64_t *ret_until_ms)
{
	struct ld_seg_header *h;
	int64_t now_ms;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return rc;
	h = store->seg.h;
	if (!have_lock(&store->seg) || now_ms < (int64_t)atomic_load(&h->drain_from_ms)) {
		rc = LARDER_E_BUSY;
	} else {
		*ret_until_ms = now_ms + (within_ms > 0 ? within_ms : 0);
		ld_seq_raise(&h->drain_until_ms, (uint64_t)*ret_until_ms);
		LD_POINT(drain_sending);
		/* After it: pairs with the gate, and the look at drain_until_ms, of a successor. */
		rc = have_lock(&store->seg) ? 0 : LARDER_E_BUSY;
	}
	ld_leave(store);
	return rc;
}

void ld_outbox_unlock(struct ld_store *store, int quiet)
{
	struct ld_seg_header *h;
	uint64_t until_ms;
	int64_t now_ms;

	if (ld_enter(store, store->config.wait_ms, &now_ms) != 0)
		return;
	h = store->seg.h;
	until_ms = atomic_load(&h->drain_until_ms);
	/*
	 * Of a predecessor one may be on its way still. Stopped here and overtaken, we leave what the successor has written: its time is a later one, and
	 * the gate has its number.
	 */
	if (have_lock(&store->seg) && quiet)
		(void)atomic_compare_exchange_strong(&h->drain_until_ms, &until_ms, atomic_load(&h->drain_from_ms));
	if (ld_gate_leave_own(&h->drain_gate, store->seg.self))
		tell_event(store, LD_OUTBOX_ENDS);
	ld_leave(store);
}

/* ---- what was not answered ---- */

/* The digest is uniform. */
static uint64_t tag_of(const struct ld_key *key)
{
	uint64_t tag;

	memcpy(&tag, key->digest, sizeof(tag));
	return tag;
}

/* Inside the store, or without a slot of its own where there is none. */
static void with_segment(struct ld_store *store, void (*fn)(struct ld_seg *seg, const void *ctx), const void *ctx)
{
	int64_t now_ms;

	if (ld_enter(store, store->config.wait_ms, &now_ms) != 0) {
		ld_from_outside(store, fn, ctx);
		return;
	}
	fn(&store->seg, ctx);
	ld_leave(store);
}

struct note {
	uint64_t tag;
	int64_t until_ms;
	int *rc;
};

static void note(struct ld_seg *seg, const void *ctx)
{
	const struct note *note = ctx;

	*note->rc = ld_unanswered_note(seg->unanswered, note->tag, note->until_ms, ld_clock_boot_ms()) ? 0 : LARDER_E_FULL;
}

int ld_outbox_unanswered(struct ld_store *store, const struct ld_key *key, int64_t until_ms)
{
	int rc = LARDER_UNAVAILABLE;
	const struct note what = { tag_of(key), until_ms, &rc };

	with_segment(store, note, &what);
	return rc;
}

struct claim {
	uint64_t tag;
	int64_t until_ms;
	uint64_t *claim;
	int answered;
};

static void claim(struct ld_seg *seg, const void *ctx)
{
	const struct claim *claim = ctx;

	*claim->claim = ld_unanswered_claim(seg->unanswered, claim->tag, claim->until_ms, ld_clock_boot_ms());
}

static void end_claim(struct ld_seg *seg, const void *ctx)
{
	const struct claim *claim = ctx;

	(claim->answered ? ld_unanswered_take_back : ld_unanswered_keep)(seg->unanswered, claim->tag, *claim->claim);
}

uint64_t ld_outbox_claim(struct ld_store *store, const struct ld_key *key, int64_t until_ms)
{
	uint64_t made = 0;
	const struct claim what = { tag_of(key), until_ms, &made, 0 };

	with_segment(store, claim, &what);
	return made;
}

void ld_outbox_claim_end(struct ld_store *store, const struct ld_key *key, uint64_t claim, int answered)
{
	const struct claim what = { tag_of(key), 0, &claim, answered };

	if (claim)
		with_segment(store, end_claim, &what);
}

int64_t ld_outbox_unanswered_left(struct ld_store *store, const struct ld_key *key)
{
	int64_t now_ms, left_ms = 0;

	if (ld_enter(store, store->config.wait_ms, &now_ms) == 0) {
		left_ms = ld_unanswered_left(store->seg.unanswered, tag_of(key), now_ms);
		ld_leave(store);
	}
	return left_ms;
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
