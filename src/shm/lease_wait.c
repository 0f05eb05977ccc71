/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a lease, ending it, renewing it. Called by l1/lease.c. A late call of an earlier holder must change nothing, a waiter must not miss the end, and
 * one that is killed must not be missed by anybody.
 *
 * The end, with H the holder, W a waiter, T a taker:
 *
 *     H: word: held -> ended ---> read `waiting`: if not 0, clear it, count `wake` up, wake all
 *     W: read `wake` ---> count `waiting` up ---> read the word: if it is held still, sleep while `wake` is what it was
 *
 *   W goes to sleep while H ends it   either W reads the ended word, or H reads W's `waiting`, and W's sleep returns, or does not begin.
 *   H is killed after the word        nobody is woken: W's sleep is short, it looks again by itself. The lease has ended as H said.
 *   T takes it before W has looked    W finds another generation, and how its own ended in `ends`, written before the row is held again.
 *   W is killed                       `waiting` is too high until the next end: one idle wake call.
 *   H renews while T takes over       one compare-and-swap succeeds. H's fails: not ours any more. T's fails: it looks again, and finds time left.
 *   H is stopped past its time        T takes over; H's end and renewal find another word.
 *   W finds H dead                    it ends the lease as GONE, from the exact word, and wakes the others. A holder that is dead renews nothing.
 */
#include "shm/lease.h"

#include <limits.h>
#include <stddef.h>

#include "base/fault.h"
#include "base/futex.h"
#include "shm/lease_inside.h"

/* When an idle row says that it became so: a moment ago, so that who has read the clock just before does not take a failure for a throttled one. */
enum { IDLE_AGO_MS = 1000 };

void ld_lease_wake_all(struct ld_lease_row *row)
{
	if (atomic_load(&row->waiting) == 0 || atomic_exchange(&row->waiting, 0) == 0)
		return;
	atomic_fetch_add(&row->wake, 1);
	ld_futex_wake(&row->wake, INT_MAX);
}

/* Is the holder surely dead? One of all who want to know asks, once in a while; for the others it lives. */
int ld_lease_is_dead(struct ld_lease_row *row, uint64_t word, const struct ld_lease_ask *ask)
{
	int64_t asked_ms = atomic_load_explicit(&row->asked_ms, memory_order_relaxed), since_ms = ask->now_ms - asked_ms;

	/* Who asked may have read the clock after us. */
	if (asked_ms != 0 && since_ms < LD_LEASE_ASK_MS && since_ms > -LD_LEASE_ASK_MS)
		return 0;
	if (!atomic_compare_exchange_strong(&row->asked_ms, &asked_ms, ask->now_ms))
		return 0;
	return !ask->alive(ask->ctx, ld_lease_unpack(word).holder);
}

/* Of a row that is idle from now on. */
static uint64_t idle_word(enum ld_lease_end end, uint32_t generation, int64_t now_ms)
{
	return ld_lease_word_of(end == LD_LEASE_FAILED ? LD_LEASE_IS_FAILED : LD_LEASE_IS_IDLE, end, generation, now_ms - IDLE_AGO_MS);
}

/* Is this the holding that the token is of? Its time may have been renewed, and it may have been being named. */
static int is_same(uint64_t word, uint64_t token)
{
	return ld_lease_is_busy(word) && (word << 3) >> 35 == (token << 3) >> 35;
}

/* The word, when nobody is naming the row, or does not come to an end of it. */
static uint64_t settled_word(struct ld_lease_row *row)
{
	uint64_t word = atomic_load(&row->word);

	for (int looks = 0; looks < LD_LEASE_LOOKS && ld_lease_state_of(word) == LD_LEASE_IS_NAMING; looks++) {
		ld_lease_pause();
		word = atomic_load(&row->word);
	}
	return word;
}

enum ld_lease_now ld_lease_check(const struct ld_leases *table, const struct ld_lease *lease, const struct ld_lease_ask *ask, int64_t *ret_left_ms,
    enum ld_lease_end *ret_end)
{
	struct ld_lease_row *row = &table->rows[lease->row];
	uint64_t word = settled_word(row);
	uint32_t generation = ld_lease_generation_of(lease->token);
	enum ld_lease_end end;

	if (is_same(word, lease->token)) {
		*ret_left_ms = ld_lease_left_of(word, ask->now_ms);
		if (*ret_left_ms == 0)
			return LD_LEASE_IS_LOST;
		if (!ld_lease_is_dead(row, word, ask))
			return LD_LEASE_RUNS;
		if (atomic_compare_exchange_strong(&row->word, &word, idle_word(LD_LEASE_GONE, generation, ask->now_ms)))
			ld_lease_wake_all(row);
		return LD_LEASE_IS_LOST;
	}
	if (ld_lease_is_busy(word) || ld_lease_generation_of(word) != generation)
		end = ld_lease_end_in(atomic_load(&row->ends), generation);
	else
		end = ld_lease_end_of(word);
	if (end == LD_LEASE_GONE)
		return LD_LEASE_IS_LOST;
	*ret_end = end;
	return LD_LEASE_HAS_ENDED;
}

void ld_lease_sleep(const struct ld_leases *table, const struct ld_lease *lease, int first, int64_t wait_ms)
{
	struct ld_lease_row *row = &table->rows[lease->row];
	uint32_t wake = atomic_load(&row->wake);

	if (first || atomic_load(&row->waiting) == 0)
		atomic_fetch_add(&row->waiting, 1);
	if (is_same(atomic_load(&row->word), lease->token))
		ld_futex_wait(&row->wake, wake, wait_ms);
}

/* ---- its holder ---- */

int ld_lease_end(const struct ld_leases *table, const struct ld_lease *lease, enum ld_lease_end end, int64_t throttle_ms, int64_t now_ms)
{
	struct ld_lease_row *row = &table->rows[lease->row];
	int throttled = end == LD_LEASE_FAILED && throttle_ms > 0;
	uint64_t token = lease->token;
	uint32_t generation = ld_lease_generation_of(token);
	uint64_t ended = throttled ? ld_lease_word_of(LD_LEASE_IS_FAILED, LD_LEASE_FAILED, generation, now_ms + ld_lease_bounded(throttle_ms)) :
	    idle_word(end, generation, now_ms);

	if (!atomic_compare_exchange_strong(&row->word, &token, ended))
		return 0;
	LD_POINT(lease_ended);
	if (end == LD_LEASE_FAILED)
		atomic_store_explicit(&row->failed_ms, now_ms, memory_order_relaxed);
	ld_lease_wake_all(row);
	return 1;
}

int ld_lease_renew(const struct ld_leases *table, struct ld_lease *lease, int64_t lease_ms, int64_t now_ms)
{
	struct ld_lease_word word = ld_lease_unpack(lease->token);
	uint64_t token = lease->token, renewed;

	word.time = (uint32_t)(uint64_t)(now_ms + ld_lease_bounded(lease_ms));
	renewed = ld_lease_pack(&word);
	if (!atomic_compare_exchange_strong(&table->rows[lease->row].word, &token, renewed))
		return 0;
	lease->token = renewed;
	return 1;
}

int ld_lease_look(const struct ld_leases *table, uint64_t tag, int64_t now_ms, struct ld_lease_view *ret_view)
{
	struct ld_lease_view view = { .failed_ago_ms = -1 };
	struct ld_lease_found found;
	int64_t left_ms, failed_ms;

	ld_lease_find(ld_lease_set_of(table, tag), ld_lease_label_of(tag), now_ms, &found);
	if (!found.own)
		return 0;
	left_ms = ld_lease_left_of(found.own_word, now_ms);
	failed_ms = atomic_load_explicit(&found.own->failed_ms, memory_order_relaxed);
	if (failed_ms != 0)
		view.failed_ago_ms = now_ms > failed_ms ? now_ms - failed_ms : 0;
	if (ld_lease_is_busy(found.own_word) && left_ms > 0) {
		int64_t age_ms = now_ms - atomic_load_explicit(&found.own->taken_ms, memory_order_relaxed);

		view.held = 1;
		view.holder = ld_lease_unpack(found.own_word).holder;
		view.left_ms = left_ms;
		view.age_ms = age_ms > 0 ? age_ms : 0;
		view.seen = atomic_load(&found.own->seen);
		view.waiting = atomic_load(&found.own->waiting);
	} else if (ld_lease_state_of(found.own_word) == LD_LEASE_IS_FAILED) {
		view.throttled_ms = left_ms;
	}
	*ret_view = view;
	return 1;
}
