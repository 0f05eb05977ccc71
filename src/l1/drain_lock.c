/* SPDX-License-Identifier: MIT */
/*
 * Who may tell L2, and who waits for that: the drainer's lock, the keys that are kept back, who sleeps until what. Called by the drainer and by those who wait
 * for it; it must never let two processes send at once. The races of the lock are drawn in l1/drain.c; those of the sleepers:
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
#include "base/fault.h"
#include "base/futex.h"
#include "base/process.h"

enum { LOCK_WAIT_MS = 1, SLICE_MS = 10 };

/* ---- who sleeps until what ---- */

static _Atomic uint32_t *word_of(const struct ld_store *store, enum ld_outbox_event event)
{
	return event == LD_OUTBOX_CALLS ? &store->seg.h->drain_calls : &store->seg.h->drain_ends;
}

void ld_outbox_tell_event(const struct ld_store *store, enum ld_outbox_event event)
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
	ld_outbox_tell_event(store, LD_OUTBOX_CALLS);
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
		ld_outbox_tell_event(store, LD_OUTBOX_ENDS);
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

int ld_outbox_is_outdated(struct ld_store *store, const struct ld_outbox_row *row)
{
	int64_t now_ms;
	int is = 0;

	if (ld_enter(store, store->config.wait_ms, &now_ms) == 0) {
		is = atomic_load(ld_barrier_of(store->seg.barriers, row->digest)) != row->barrier;
		ld_leave(store);
	}
	return is;
}
