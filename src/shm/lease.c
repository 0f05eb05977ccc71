/* SPDX-License-Identifier: MIT */
/*
 * Leases in shared memory, without a lock. Called by l1/lease.c with the segment's table, and by tests with one on the stack. It must never leave a row that
 * nobody can use again, and never let a late call of an earlier holder change what a later one has. All atomics that decide are sequentially
 * consistent: the arguments below need one order of what is written and read.
 *
 * A take needs more than one word, so it goes through a state of its own:
 *
 *     word    idle, n ------> naming, n + 1, LD_LEASE_NAMING_MS ----------------------------------------> held, n + 1 ---> look round
 *     ends                               ---> how n ended
 *     tag                                                 ---> ours, count + 1
 *     seen                                                                 ---> our look-up's
 *
 *   two take one row                  one compare-and-swap from what both saw succeeds; the other looks again, and finds it held.
 *   another comes while it is named   it looks a few times, for this takes some ten instructions; then it waits as for a held one, if the name is its own.
 *   killed at naming, or before held  the word has the holder: whoever asks finds it dead and takes over. Generation n + 1 has ended as GONE. If `ends`
 *                                     was not written, so has n: its waiters try again.
 *   stopped there, and goes on        the row is taken over after LD_LEASE_NAMING_MS. Each word is written by compare-and-swap from what it was while the
 *                                     row was ours: `ends` and `tag` differ after every take, so the late write fails (their counters would have to
 *                                     go round, 256 and 65,536 takes, between two instructions), and so does the last step. `seen` may be what it was:
 *                                     then the later holder has ours. If ours is older it is taken over once for nothing; if it is newer, some join
 *                                     a fetch that will not be stored, and fetch for themselves after it.
 *   killed after held                 it is held by a dead process.
 *
 * A tag may come to have two rows, if two that find none at the same time choose different ones. Therefore a taker, with the lease held, looks at the other
 * rows of the set, and gives it back when it finds its tag held there too. Of two takers the one that was held later sees the other; both may see
 * each other, and both try again: then they find the name, and so the same row. Where the other one has ended already, with a stored value, the taker
 * is told so.
 */
#include "shm/lease.h"

#include <stddef.h>

#include "base/fault.h"
#include "shm/lease_inside.h"

#define LABEL_BITS 48
#define HOLDER_MASK ((UINT32_C(1) << 21) - 1)
/* Tries of a take, and for how long a stored value is one that a caller may have missed. */
enum { TRIES = 200, STORED_MS = 10000 };

uint64_t ld_lease_sets(uint64_t rows)
{
	return rows < 1 ? 1 : (rows + LD_LEASE_WAYS - 1) / LD_LEASE_WAYS;
}

uint64_t ld_lease_size(uint64_t rows)
{
	return ld_lease_sets(rows) * LD_LEASE_WAYS * sizeof(struct ld_lease_row);
}

uint64_t ld_lease_pack(const struct ld_lease_word *word)
{
	return (uint64_t)word->state << 61 | (uint64_t)(word->holder & HOLDER_MASK) << 40 | (uint64_t)(word->generation & LD_LEASE_GENERATIONS) << 32 |
	    word->time;
}

struct ld_lease_word ld_lease_unpack(uint64_t word)
{
	return (struct ld_lease_word){ (enum ld_lease_state)(word >> 61), (uint32_t)(word >> 40) & HOLDER_MASK, (uint32_t)(word >> 32) & LD_LEASE_GENERATIONS,
		(uint32_t)word };
}

struct ld_lease_row *ld_lease_set_of(const struct ld_leases *table, uint64_t tag)
{
	return table->rows + ((tag >> 32) * table->sets >> 32) * LD_LEASE_WAYS;
}

uint64_t ld_lease_label_of(uint64_t tag)
{
	uint64_t label = tag & ((UINT64_C(1) << LABEL_BITS) - 1);

	return label ? label : 1;
}

/*
 * How good is it to give this row to another tag? 0 = it is held. Best one that nobody ever had, then that which is idle for the longest time: so all who look
 * at the same moment choose the same, and slow waiters find how theirs ended. Worst one that is throttled, with the most left of it.
 */
static uint32_t rank_of(uint64_t word, int64_t left_ms, int64_t now_ms)
{
	if (word == 0)
		return UINT32_MAX;
	if (ld_lease_is_busy(word) && left_ms > 0)
		return 0;
	if (ld_lease_state_of(word) == LD_LEASE_IS_FAILED && left_ms > 0)
		return (uint32_t)(LD_LEASE_TIME_MAX_MS - left_ms) + 1;
	return UINT32_C(0x40000000) + ((uint32_t)(uint64_t)now_ms - (uint32_t)word) / 2;
}

void ld_lease_find(struct ld_lease_row *set, uint64_t label, int64_t now_ms, struct ld_lease_found *ret_found)
{
	struct ld_lease_found found = { .own = NULL };
	uint32_t best = 0;

	for (struct ld_lease_row *row = set; row < set + LD_LEASE_WAYS; row++) {
		/* In this order: the name changes only while the row is being named, so that it is that of the word, if a swap from the word succeeds. */
		uint64_t word = atomic_load(&row->word);
		int64_t left_ms = ld_lease_left_of(word, now_ms);
		uint32_t rank;

		if (atomic_load(&row->tag) >> 16 == label) {
			if (!found.own || (left_ms > 0 && (ld_lease_is_busy(word) || ld_lease_left_of(found.own_word, now_ms) == 0))) {
				found.own = row;
				found.own_word = word;
			}
			continue;
		}
		rank = rank_of(word, left_ms, now_ms);
		if (rank == 0)
			found.naming |= ld_lease_state_of(word) == LD_LEASE_IS_NAMING;
		if (rank > best) {
			found.idle = row;
			found.idle_word = word;
			best = rank;
		}
	}
	*ret_found = found;
}

/* ---- taking ---- */

/* A take that is made: all that it goes by. */
struct want {
	const struct ld_leases *table;
	const struct ld_lease_ask *ask;
	struct ld_lease_row *set;
	uint64_t label;
};

/* Change a word of the row while it is being named by us, from whatever it is. 0 when it is not ours any more. */
static int change(struct ld_lease_row *row, uint64_t naming, _Atomic uint64_t *word, uint64_t (*next)(uint64_t was, uint64_t with), uint64_t with)
{
	for (int tries = 0; tries < TRIES; tries++) {
		uint64_t was = atomic_load(word);

		if (atomic_load(&row->word) != naming)
			return 0;
		if (atomic_compare_exchange_strong(word, &was, next(was, with)))
			return 1;
	}
	return 0;
}

/* with: the word before, whose generation is over. A holder was taken over. */
static uint64_t next_ends(uint64_t was, uint64_t with)
{
	return ld_lease_ends_with(was, ld_lease_generation_of(with), ld_lease_end_of(with));
}

static uint64_t next_tag(uint64_t was, uint64_t with)
{
	return with << 16 | ((was + 1) & 0xffff);
}

static uint64_t next_seen(uint64_t was, uint64_t with)
{
	(void)was;
	return with;
}

/* From the word that was seen to ours. The held word, or 0 when another one was faster. */
static uint64_t take(struct ld_lease_row *row, uint64_t before, const struct want *want)
{
	const struct ld_lease_ask *ask = want->ask;
	uint32_t generation = ld_lease_generation_of(before) + 1;
	uint64_t naming = ld_lease_word_of(LD_LEASE_IS_NAMING, ask->self, generation, ask->now_ms + LD_LEASE_NAMING_MS), expected = before;
	uint64_t held = ld_lease_word_of(LD_LEASE_IS_HELD, ask->self, generation, ask->now_ms + ld_lease_bounded(ask->lease_ms));

	if (!atomic_compare_exchange_strong(&row->word, &expected, naming))
		return 0;
	LD_POINT(lease_naming);
	if (!change(row, naming, &row->ends, next_ends, before))
		return 0;
	LD_POINT(lease_noted);
	if (!change(row, naming, &row->tag, next_tag, want->label))
		return 0;
	LD_POINT(lease_named);
	if (!change(row, naming, &row->seen, next_seen, ask->seen))
		return 0;
	LD_POINT(lease_seen);
	expected = naming;
	if (!atomic_compare_exchange_strong(&row->word, &expected, held))
		return 0;
	LD_POINT(lease_held);
	atomic_store_explicit(&row->taken_ms, ask->now_ms, memory_order_relaxed);
	return held;
}

/* Has it ended with a stored value, a moment ago? Whoever asks may have read the clock before that: then its time is ahead. */
static int has_stored(uint64_t word, const struct ld_lease_ask *ask)
{
	return ld_lease_end_of(word) == LD_LEASE_STORED && (int32_t)((uint32_t)(uint64_t)ask->now_ms - (uint32_t)word) < STORED_MS;
}

/* Look at the other rows of our tag. ret_stored is set where one of them has ended with a stored value. */
static int is_held_elsewhere(const struct want *want, const struct ld_lease_row *but, int *ret_stored)
{
	for (struct ld_lease_row *row = want->set; row < want->set + LD_LEASE_WAYS; row++) {
		uint64_t word = atomic_load(&row->word);

		if (row == but || atomic_load(&row->tag) >> 16 != want->label)
			continue;
		if (ld_lease_state_of(word) == LD_LEASE_IS_HELD && ld_lease_left_of(word, want->ask->now_ms) > 0)
			return 1;
		*ret_stored |= has_stored(word, want->ask);
	}
	return 0;
}

/* 1; 0 another one was faster: look again. */
static int take_row(struct ld_lease_row *row, uint64_t before, const struct want *want, struct ld_lease *ret_lease)
{
	uint64_t held = take(row, before, want);
	int taken_over = ld_lease_is_busy(before), stored = 0;

	/* Those who waited for the one before shall look. */
	if (taken_over)
		ld_lease_wake_all(row);
	if (held == 0)
		return 0;
	if (is_held_elsewhere(want, row, &stored)) {
		const struct ld_lease lease = { .row = (uint32_t)(row - want->table->rows), .token = held };

		(void)ld_lease_end(want->table, &lease, LD_LEASE_GONE, 0, want->ask->now_ms);
		return 0;
	}
	*ret_lease = (struct ld_lease){ .row = (uint32_t)(row - want->table->rows), .token = held, .stored = stored, .taken_over = taken_over };
	return 1;
}

/* Has the key been written since the holder looked it up? Then nobody shall wait for what it fetches. */
static int is_outdated(struct ld_lease_row *row, uint64_t word, const struct ld_lease_ask *ask, uint64_t *ret_seen)
{
	*ret_seen = atomic_load(&row->seen);
	return ld_lease_state_of(word) == LD_LEASE_IS_HELD && *ret_seen != 0 && ask->mark(ask->ctx) > *ret_seen;
}

/* Somebody has it, or had it. TAKEN stands for: take it. */
static enum ld_lease_answer judge(struct ld_lease_row *row, uint64_t word, const struct ld_lease_ask *ask, int64_t *ret_retry_ms)
{
	int64_t left_ms = ld_lease_left_of(word, ask->now_ms);
	uint64_t seen;

	if (left_ms == 0 || (!ld_lease_is_busy(word) && ld_lease_state_of(word) != LD_LEASE_IS_FAILED))
		return LD_LEASE_TAKEN;
	*ret_retry_ms = left_ms;
	if (!ld_lease_is_busy(word))
		return LD_LEASE_THROTTLED;
	if (is_outdated(row, word, ask, &seen))
		return ask->seen > seen ? LD_LEASE_TAKEN : LD_LEASE_NONE;
	return ld_lease_is_dead(row, word, ask) ? LD_LEASE_TAKEN : LD_LEASE_HELD;
}

/* The set is full: is a holder dead? */
static struct ld_lease_row *find_dead(const struct want *want, uint64_t *ret_word)
{
	for (struct ld_lease_row *row = want->set; row < want->set + LD_LEASE_WAYS; row++) {
		*ret_word = atomic_load(&row->word);
		if (ld_lease_is_busy(*ret_word) && ld_lease_is_dead(row, *ret_word, want->ask))
			return row;
	}
	return NULL;
}

/* 1 with the answer; 0 look again. may_look: it is early enough to look again when a row is being named. */
static int try_own(const struct want *want, const struct ld_lease_found *found, int may_look, enum ld_lease_answer *ret_answer,
    struct ld_lease *ret_lease, int64_t *ret_retry_ms)
{
	uint64_t word = found->own_word;

	if (may_look && ld_lease_state_of(word) == LD_LEASE_IS_NAMING && ld_lease_left_of(word, want->ask->now_ms) > 0)
		return 0;
	*ret_answer = judge(found->own, word, want->ask, ret_retry_ms);
	if (*ret_answer == LD_LEASE_TAKEN) {
		if (!take_row(found->own, word, want, ret_lease))
			return 0;
		ret_lease->stored |= has_stored(word, want->ask);
	}
	if (*ret_answer == LD_LEASE_HELD)
		*ret_lease = (struct ld_lease){ .row = (uint32_t)(found->own - want->table->rows), .token = word };
	return 1;
}

static int try_new(const struct want *want, const struct ld_lease_found *found, int may_look, enum ld_lease_answer *ret_answer,
    struct ld_lease *ret_lease)
{
	struct ld_lease_row *row = found->idle;
	uint64_t word = found->idle_word;

	/* Perhaps that one gets our name. */
	if (may_look && found->naming)
		return 0;
	if (!row)
		row = find_dead(want, &word);
	*ret_answer = row ? LD_LEASE_TAKEN : LD_LEASE_NONE;
	if (!row)
		return 1;
	if (!take_row(row, word, want, ret_lease))
		return 0;
	atomic_store_explicit(&row->failed_ms, 0, memory_order_relaxed);
	return 1;
}

enum ld_lease_answer ld_lease_try(const struct ld_leases *table, uint64_t tag, const struct ld_lease_ask *ask, struct ld_lease *ret_lease,
    int64_t *ret_retry_ms)
{
	const struct want want = { table, ask, ld_lease_set_of(table, tag), ld_lease_label_of(tag) };
	enum ld_lease_answer answer;

	for (int tries = 0; tries < TRIES; tries++) {
		struct ld_lease_found found;

		ld_lease_find(want.set, want.label, ask->now_ms, &found);
		if (found.own ? try_own(&want, &found, tries < LD_LEASE_LOOKS, &answer, ret_lease, ret_retry_ms) :
		    try_new(&want, &found, tries < LD_LEASE_LOOKS, &answer, ret_lease))
			return answer;
		ld_lease_pause();
	}
	return LD_LEASE_NONE;
}
