/* SPDX-License-Identifier: MIT */
/*
 * The circuit breaker. Asked before every call to L2 and told after it, by every process of the host; it must never block, never wait for another
 * process, and never be left in a state that needs one. All that decides is in one word, and each change of it is one compare-and-swap from
 * the exact word that its maker saw:
 *
 *   A, B find the time open over      one swap wins and is the prober; the other sees a lease that runs, and is refused.
 *   the prober A is killed            whoever asks after the lease's deadline takes the probe over, with a new generation.
 *   A is slow, B took over            A's pass is not the word any more: its report is late.
 *   A is stopped inside admit         its swap fails if anybody was there since; if not, its lease begins at the time it had read and is
 *                                     the shorter for it, perhaps over already: then it is B's turn, and A's report is late.
 *   A reports, B takes over           one swap wins; the other is late, or refused.
 *   A's failure opens it, B's too     one swap wins and tells; the other finds another word and tells nothing.
 *   A reports from before it opened   its pass is not the word: late, whatever has happened since, closing included.
 *   killed before, after a swap       the change is not made, or made whole; after it the statistics of it are not counted, nobody tells.
 *
 * Beside the word stand the failures in a row (`streak`) and the window. Both carry the generation they belong to, so nothing has to be cleared
 * when it closes, and what is left of an older generation counts for nothing:
 *
 *   A counts for an older generation  it looks at the streak first, at the word then: while the word is A's, what it saw of the streak is not of a
 *   over a newer count                newer generation, and the swap from it fails if it is by then.
 *   A succeeds while B fails          A clears the streak only as it saw it: B's failure came after and stays, or before and is cleared.
 *   killed between window, streak     the call has one count and not the other.
 *   killed after the streak is full   the next failure finds it full and opens the breaker.
 */
#include "shm/breaker.h"

#include "base/fault.h"

enum {
	SUCCESSES_SHIFT = 2, LEVEL_SHIFT = 6, GENERATION_SHIFT = LD_BREAKER_GENERATION_SHIFT, TIME_SHIFT = 24,
	SUCCESSES_MASK = 15, LEVEL_MASK = 31, GENERATION_MASK = 8191
};

#define TIME_MASK ((UINT64_C(1) << (64 - TIME_SHIFT)) - 1)
/* Kept out of the way of the report that says that all is well. */
#define SELDOM __attribute__((noinline, cold))
/* No deadline is this far off: one that is, is damage, and is taken for over. */
#define FAR_MS (2 * (int64_t)LD_BREAKER_TIME_MAX_MS)

/* ---- the word ---- */

struct ld_breaker_word ld_breaker_unpack(uint64_t word)
{
	return (struct ld_breaker_word){
		.state = (enum ld_breaker_state)(word & 3),
		.successes = word >> SUCCESSES_SHIFT & SUCCESSES_MASK,
		.level = word >> LEVEL_SHIFT & LEVEL_MASK,
		.generation = word >> GENERATION_SHIFT & GENERATION_MASK,
		.time_ms = (int64_t)(word >> TIME_SHIFT),
	};
}

uint64_t ld_breaker_pack(const struct ld_breaker_word *parts)
{
	return (uint64_t)parts->state | (uint64_t)(parts->successes & SUCCESSES_MASK) << SUCCESSES_SHIFT |
	    (uint64_t)(parts->level & LEVEL_MASK) << LEVEL_SHIFT | (uint64_t)(parts->generation & GENERATION_MASK) << GENERATION_SHIFT |
	    ((uint64_t)parts->time_ms & TIME_MASK) << TIME_SHIFT;
}

/* A new state, of the next generation. */
static uint64_t next_word(const struct ld_breaker_word *from, enum ld_breaker_state state, uint32_t level, int64_t time_ms)
{
	return ld_breaker_pack(&(struct ld_breaker_word){ state, 0, level, from->generation + 1, time_ms });
}

static int turn(struct ld_breaker *breaker, uint64_t from, uint64_t to)
{
	/* acq_rel: whoever sees the new word (acquire) sees what its maker saw */
	return atomic_compare_exchange_strong_explicit(&breaker->word, &from, to, memory_order_acq_rel, memory_order_acquire);
}

int64_t ld_breaker_left(const struct ld_breaker_word *parts, int64_t now_ms)
{
	int64_t left = parts->time_ms - now_ms;

	return left > 0 && left <= FAR_MS ? left : 0;
}

static int64_t within(int64_t value, int64_t least, int64_t most)
{
	return value < least ? least : value > most ? most : value;
}

/* ---- statistics ---- */

static void count(_Atomic uint64_t *counter)
{
	/* relaxed: the counters order nothing */
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static enum ld_breaker_event late(struct ld_breaker *breaker)
{
	count(&breaker->late);
	return LD_BREAKER_NO_EVENT;
}

/* A transition was made: note it for tools. */
static enum ld_breaker_event note(struct ld_breaker *breaker, enum ld_breaker_event event, enum ld_breaker_state into, int64_t now_ms)
{
	_Atomic int64_t *when = into == LD_BREAKER_CLOSED ? &breaker->closed_ms :
	    into == LD_BREAKER_HALF_OPEN ? &breaker->half_opened_ms : &breaker->opened_ms;

	LD_POINT(breaker_turned);
	count(&breaker->events[event]);
	atomic_store_explicit(when, now_ms, memory_order_relaxed);
	return event;
}

/* ---- how long it stays open ---- */

static int64_t open_max(const struct ld_breaker_settings *settings)
{
	return within(settings->open_max_ms, 1, LD_BREAKER_TIME_MAX_MS);
}

/* Without jitter: doubled level times, within the longest. */
static int64_t open_time(const struct ld_breaker_settings *settings, uint32_t level)
{
	int64_t max = open_max(settings);

	return within(within(settings->open_ms, 1, max) << (level < LD_BREAKER_LEVEL_MAX ? level : LD_BREAKER_LEVEL_MAX), 1, max);
}

/* The next level; no further than where the time is the longest, or it would take long to come down. */
static uint32_t raised(const struct ld_breaker_settings *settings, uint32_t level)
{
	return level < LD_BREAKER_LEVEL_MAX && open_time(settings, level) < open_max(settings) ? level + 1 : level;
}

/* A closed breaker's level after its healthy time. */
static uint32_t lowered(const struct ld_breaker_settings *settings, const struct ld_breaker_word *closed, int64_t now_ms)
{
	int64_t steps = (now_ms - closed->time_ms) / open_max(settings);

	return steps <= 0 ? closed->level : steps < closed->level ? closed->level - (uint32_t)steps : 0;
}

/* splitmix64's finish (Steele, Lea, Flood 2014): the seed alone may be the same for the life of a host. */
static uint64_t mixed(uint64_t seed, uint64_t with)
{
	uint64_t x = seed + with * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* The word that opens it. */
static uint64_t opened(const struct ld_breaker_settings *settings, const struct ld_breaker_word *from, uint32_t level, int64_t now_ms, uint64_t seed)
{
	int64_t wanted = open_time(settings, level), pct = within(settings->jitter_pct, 0, 100);
	int64_t least = within(wanted - wanted * pct / 100, 1, wanted), most = within(wanted + wanted * pct / 100, 1, open_max(settings));
	int64_t chosen = least + (int64_t)(mixed(seed, (uint64_t)now_ms << 13 | from->generation) % (uint64_t)(most - least + 1));

	return next_word(from, LD_BREAKER_OPEN, level, now_ms + chosen);
}

/* ---- before the call ---- */

static enum ld_breaker_verdict refuse(struct ld_breaker *breaker, int64_t retry_after_ms, struct ld_breaker_pass *ret_pass)
{
	count(&breaker->refused);
	/* Not the word, which may be another's probe: a report of it shall be late, although nobody should make one. */
	*ret_pass = (struct ld_breaker_pass){ LD_BREAKER_FORCED_OPEN, retry_after_ms, LD_BREAKER_NO_EVENT };
	return LD_BREAKER_REFUSED;
}

/* The probe of a word that has no lease, or one that is over. Returns 0 if somebody else was there. */
static int take_probe(struct ld_breaker *breaker, uint64_t from, int64_t now_ms, int64_t lease_ms, struct ld_breaker_pass *ret_pass)
{
	struct ld_breaker_word parts = ld_breaker_unpack(from);
	int was_open = parts.state == LD_BREAKER_OPEN, is_lost = !was_open && parts.time_ms != 0;
	uint64_t to;

	parts.state = LD_BREAKER_HALF_OPEN;
	parts.generation++;
	parts.time_ms = now_ms + within(lease_ms, 1, LD_BREAKER_TIME_MAX_MS);
	to = ld_breaker_pack(&parts);
	if (!turn(breaker, from, to))
		return 0;
	LD_POINT(breaker_probe_taken);
	count(&breaker->probes);
	if (is_lost)
		count(&breaker->probes_lost);
	*ret_pass = (struct ld_breaker_pass){ to, 0, LD_BREAKER_NO_EVENT };
	if (was_open)
		ret_pass->event = note(breaker, LD_BREAKER_HALF_OPENED, LD_BREAKER_HALF_OPEN, now_ms);
	return 1;
}

enum ld_breaker_verdict ld_breaker_admit_slowly(struct ld_breaker *breaker, const struct ld_breaker_settings *settings, int64_t now_ms,
    int64_t lease_ms, struct ld_breaker_pass *ret_pass)
{
	/* Each further round is one in which another process has made a transition. */
	for (;;) {
		/* acquire: pairs with turn() */
		uint64_t word = atomic_load_explicit(&breaker->word, memory_order_acquire);
		struct ld_breaker_word parts = ld_breaker_unpack(word);
		int64_t left;

		if (parts.state == LD_BREAKER_CLOSED) {
			*ret_pass = (struct ld_breaker_pass){ word, 0, LD_BREAKER_NO_EVENT };
			return LD_BREAKER_ADMITTED;
		}
		if (parts.state == LD_BREAKER_FORCED_OPEN)
			return refuse(breaker, open_max(settings), ret_pass);
		left = ld_breaker_left(&parts, now_ms);
		if (left > 0)
			return refuse(breaker, left, ret_pass);
		if (take_probe(breaker, word, now_ms, lease_ms, ret_pass))
			return LD_BREAKER_PROBE;
	}
}

/* ---- after a probe ---- */

/* The word after a probe, and what kind of transition that is. */
static uint64_t judged(const struct ld_breaker_settings *settings, uint64_t word, enum ld_breaker_outcome outcome, int64_t now_ms, uint64_t seed,
    enum ld_breaker_event *ret_event)
{
	struct ld_breaker_word parts = ld_breaker_unpack(word);

	*ret_event = LD_BREAKER_NO_EVENT;
	/* Where slow calls open it, a slow probe must not close it, or it would open and close for ever. */
	if (outcome == LD_BREAKER_FAILURE || (outcome == LD_BREAKER_SLOW && settings->slow_pct != 0)) {
		*ret_event = LD_BREAKER_REOPENED;
		return opened(settings, &parts, raised(settings, parts.level), now_ms, seed);
	}
	if (outcome != LD_BREAKER_NEUTRAL)
		parts.successes++;
	if (parts.successes >= within(settings->successes, 1, LD_BREAKER_SUCCESSES_MAX)) {
		*ret_event = LD_BREAKER_CLOSED_AGAIN;
		return next_word(&parts, LD_BREAKER_CLOSED, raised(settings, parts.level), now_ms);
	}
	parts.time_ms = 0;
	return ld_breaker_pack(&parts);
}

static SELDOM enum ld_breaker_event report_probe(struct ld_breaker *breaker, const struct ld_breaker_settings *settings, uint64_t word,
    enum ld_breaker_outcome outcome, int64_t now_ms, uint64_t seed)
{
	struct ld_breaker_word parts = ld_breaker_unpack(word);
	enum ld_breaker_event event;
	uint64_t to = judged(settings, word, outcome, now_ms, seed, &event);

	LD_POINT(breaker_report);
	if (ld_breaker_left(&parts, now_ms) == 0 || !turn(breaker, word, to))
		return late(breaker);
	if (outcome != LD_BREAKER_SUCCESS)
		count(outcome == LD_BREAKER_FAILURE ? &breaker->failures : outcome == LD_BREAKER_SLOW ? &breaker->slow : &breaker->neutral);
	return event == LD_BREAKER_NO_EVENT ? event : note(breaker, event, ld_breaker_unpack(to).state, now_ms);
}

/* ---- after a call while it was closed ---- */

/* One failure more in a row. Returns how many that are, 0 when the pass has become late. */
static uint32_t lengthen(struct ld_breaker *breaker, uint64_t word)
{
	for (;;) {
		/* acquire, and before the word is looked at: see above; pairs with the swap below */
		uint64_t streak = atomic_load_explicit(&breaker->streak, memory_order_acquire), next;

		if (atomic_load_explicit(&breaker->word, memory_order_acquire) != word)
			return 0;
		next = ld_breaker_is_streak_of(streak, word) ? streak : ld_breaker_empty_streak(word);
		next += (next & LD_BREAKER_STREAK_MAX) != LD_BREAKER_STREAK_MAX;
		if (atomic_compare_exchange_weak_explicit(&breaker->streak, &streak, next, memory_order_acq_rel, memory_order_relaxed))
			return (uint32_t)(next & LD_BREAKER_STREAK_MAX);
	}
}

static void end_streak(struct ld_breaker *breaker, uint64_t word, uint64_t streak)
{
	if (ld_breaker_is_streak_of(streak, word) && streak != ld_breaker_empty_streak(word))
		atomic_compare_exchange_strong_explicit(&breaker->streak, &streak, ld_breaker_empty_streak(word), memory_order_acq_rel, memory_order_relaxed);
}

static int is_share(uint32_t part, uint32_t whole, uint32_t pct, uint32_t volume)
{
	return pct != 0 && whole >= within(volume, 1, LD_BREAKER_VOLUME_MAX) && (uint64_t)part * 100 >= (uint64_t)whole * pct;
}

/* Does the window open it? Looked at when a call was bad: a good one makes no share larger. */
static enum ld_breaker_event window_says(const struct ld_breaker *breaker, const struct ld_breaker_settings *settings, uint32_t generation,
    enum ld_breaker_outcome outcome, int64_t now_ms)
{
	struct ld_window_sum sum = ld_window_sum(&breaker->window, generation, settings->window_ms, now_ms);

	if (outcome == LD_BREAKER_FAILURE)
		return is_share(sum.failures, sum.calls, settings->error_pct, settings->volume) ? LD_BREAKER_OPENED_ERRORS : LD_BREAKER_NO_EVENT;
	return is_share(sum.slow, sum.calls, settings->slow_pct, settings->volume) ? LD_BREAKER_OPENED_SLOW : LD_BREAKER_NO_EVENT;
}

static enum ld_breaker_event open_for(struct ld_breaker *breaker, const struct ld_breaker_settings *settings, uint64_t word,
    enum ld_breaker_event event, int64_t now_ms, uint64_t seed)
{
	struct ld_breaker_word parts = ld_breaker_unpack(word);

	if (event == LD_BREAKER_NO_EVENT || !turn(breaker, word, opened(settings, &parts, lowered(settings, &parts, now_ms), now_ms, seed)))
		return LD_BREAKER_NO_EVENT;
	return note(breaker, event, LD_BREAKER_OPEN, now_ms);
}

static SELDOM enum ld_breaker_event report_failure(struct ld_breaker *breaker, const struct ld_breaker_settings *settings, uint64_t word, int64_t now_ms,
    uint64_t seed)
{
	uint32_t generation = ld_breaker_unpack(word).generation, failures;
	enum ld_breaker_event event = LD_BREAKER_OPENED_FAILURES;

	ld_window_add(&breaker->window, generation, settings->window_ms, now_ms, LD_WINDOW_FAILED);
	LD_POINT(breaker_counted);
	failures = lengthen(breaker, word);
	if (failures == 0)
		return late(breaker);
	count(&breaker->failures);
	if (settings->failures == 0 || failures < within(settings->failures, 1, LD_BREAKER_STREAK_MAX))
		event = window_says(breaker, settings, generation, LD_BREAKER_FAILURE, now_ms);
	return open_for(breaker, settings, word, event, now_ms, seed);
}

static SELDOM enum ld_breaker_event report_slow(struct ld_breaker *breaker, const struct ld_breaker_settings *settings, uint64_t word, int64_t now_ms,
    uint64_t seed)
{
	uint32_t generation = ld_breaker_unpack(word).generation;

	ld_window_add(&breaker->window, generation, settings->window_ms, now_ms, LD_WINDOW_SLOW);
	count(&breaker->slow);
	return open_for(breaker, settings, word, window_says(breaker, settings, generation, LD_BREAKER_SLOW, now_ms), now_ms, seed);
}

enum ld_breaker_event ld_breaker_report(struct ld_breaker *breaker, const struct ld_breaker_settings *settings, const struct ld_breaker_pass *pass,
    enum ld_breaker_outcome outcome, int64_t now_ms, uint64_t seed)
{
	uint64_t word = pass->word, streak;

	if ((word & 3) == LD_BREAKER_HALF_OPEN)
		return report_probe(breaker, settings, word, outcome, now_ms, seed);
	/* Before the word is looked at, as in lengthen(). */
	streak = atomic_load_explicit(&breaker->streak, memory_order_acquire);
	if ((word & 3) != LD_BREAKER_CLOSED || atomic_load_explicit(&breaker->word, memory_order_acquire) != word)
		return late(breaker);
	if (outcome == LD_BREAKER_FAILURE)
		return report_failure(breaker, settings, word, now_ms, seed);
	if (outcome == LD_BREAKER_NEUTRAL) {
		count(&breaker->neutral);
		return LD_BREAKER_NO_EVENT;
	}
	end_streak(breaker, word, streak);
	if (outcome == LD_BREAKER_SLOW)
		return report_slow(breaker, settings, word, now_ms, seed);
	ld_window_add(&breaker->window, (uint32_t)(word >> GENERATION_SHIFT) & GENERATION_MASK, settings->window_ms, now_ms, LD_WINDOW_CALL);
	return LD_BREAKER_NO_EVENT;
}

/* ---- by hand ---- */

/* Into a state from whatever other there is. Returns 0 if it is in it already and need not change. */
static int put(struct ld_breaker *breaker, enum ld_breaker_state state, int even_if_it_is, int64_t now_ms)
{
	for (;;) {
		uint64_t word = atomic_load_explicit(&breaker->word, memory_order_acquire);
		struct ld_breaker_word parts = ld_breaker_unpack(word);

		if (parts.state == state && !even_if_it_is)
			return 0;
		if (turn(breaker, word, next_word(&parts, state, 0, now_ms)))
			return 1;
	}
}

enum ld_breaker_event ld_breaker_force_open(struct ld_breaker *breaker, int64_t now_ms)
{
	if (!put(breaker, LD_BREAKER_FORCED_OPEN, 0, now_ms))
		return LD_BREAKER_NO_EVENT;
	return note(breaker, LD_BREAKER_FORCED, LD_BREAKER_FORCED_OPEN, now_ms);
}

enum ld_breaker_event ld_breaker_close(struct ld_breaker *breaker, int64_t now_ms)
{
	if (!put(breaker, LD_BREAKER_CLOSED, 0, now_ms))
		return LD_BREAKER_NO_EVENT;
	return note(breaker, LD_BREAKER_CLOSED_BY_HAND, LD_BREAKER_CLOSED, now_ms);
}

enum ld_breaker_event ld_breaker_reset(struct ld_breaker *breaker, int64_t now_ms)
{
	_Atomic uint64_t *const zeroed[] = { &breaker->refused, &breaker->late, &breaker->probes, &breaker->probes_lost, &breaker->failures,
		&breaker->slow, &breaker->neutral };

	(void)put(breaker, LD_BREAKER_CLOSED, 1, now_ms);
	for (unsigned i = 0; i < sizeof(zeroed) / sizeof(zeroed[0]); i++)
		atomic_store_explicit(zeroed[i], 0, memory_order_relaxed);
	for (unsigned i = 0; i < LD_BREAKER_EVENTS; i++)
		atomic_store_explicit(&breaker->events[i], 0, memory_order_relaxed);
	atomic_store_explicit(&breaker->opened_ms, 0, memory_order_relaxed);
	atomic_store_explicit(&breaker->half_opened_ms, 0, memory_order_relaxed);
	return note(breaker, LD_BREAKER_RESET, LD_BREAKER_CLOSED, now_ms);
}
