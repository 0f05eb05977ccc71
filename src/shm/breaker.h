/* SPDX-License-Identifier: MIT */
/**
 * A circuit breaker for all processes of the host: a plain struct in shared memory, and functions of (breaker, settings, ..., now). It knows
 * neither what is called nor that it is shared; `now` is the boot clock in milliseconds, so steps of the wall clock do not reach it.
 *
 *      +--------+   failures, error rate, slow rate   +------+
 *      | closed | ----------------------------------> | open | <-------------+
 *      +--------+                                     +------+               |
 *          ^                                             | the time is over, | a probe
 *          |                                             | one caller probes | fails
 *          |                                             v                   |
 *          |  so many probes in a row succeed      +-----------+             |
 *          +-------------------------------------- | half-open | ------------+
 *                                                  +-----------+
 *
 *      half-open     one probe at a time: it is a lease, with a deadline. A probe that succeeds or teaches nothing gives the lease back; one whose
 *                    process was killed loses it when the deadline has passed. Either way the next caller is the next prober.
 *      forced open   by hand, from any state; stays until it is closed or reset by hand.
 *
 * Calling sequence: ld_breaker_admit(); if it did not refuse, make the call, then ld_breaker_report() with the same pass, once. A caller that
 * gives up before it has called reports LD_BREAKER_NEUTRAL. Nothing is held between the two but, by the prober, the lease: forgetting to report, or
 * being killed, costs that time and nothing else. A pass may be reported from another thread.
 *
 * Zeroed = closed, never opened. No locks, never blocks, allocates nothing; any process and thread. A child that inherited a pass in fork must
 * not report it: one report is the parent's.
 */
#ifndef LD_SHM_BREAKER_H
#define LD_SHM_BREAKER_H

#include <stdatomic.h>
#include <stdint.h>

#include "shm/window.h"

enum ld_breaker_state {
	LD_BREAKER_CLOSED = 0,
	LD_BREAKER_OPEN,
	LD_BREAKER_HALF_OPEN,
	LD_BREAKER_FORCED_OPEN
};

/** What happened, told to the one caller that made it happen, so that it is logged once. At most once: a caller may be killed before it can. */
enum ld_breaker_event {
	LD_BREAKER_NO_EVENT = 0,
	LD_BREAKER_OPENED_FAILURES,     /* closed -> open: so many failures in a row */
	LD_BREAKER_OPENED_ERRORS,       /* closed -> open: share of failures in the window */
	LD_BREAKER_OPENED_SLOW,         /* closed -> open: share of slow calls in the window */
	LD_BREAKER_HALF_OPENED,         /* open -> half-open: the first probe is on its way */
	LD_BREAKER_REOPENED,            /* half-open -> open: a probe failed */
	LD_BREAKER_CLOSED_AGAIN,        /* half-open -> closed */
	LD_BREAKER_FORCED,              /* opened by hand */
	LD_BREAKER_CLOSED_BY_HAND,
	LD_BREAKER_RESET,
	LD_BREAKER_EVENTS
};

enum ld_breaker_outcome {
	LD_BREAKER_SUCCESS,
	LD_BREAKER_SLOW,                /* a success that took longer than slow_ms */
	LD_BREAKER_FAILURE,
	LD_BREAKER_NEUTRAL              /* says nothing about the service: the caller's own fault, its own short time, given up */
};

enum ld_breaker_verdict {
	LD_BREAKER_ADMITTED = 0,
	LD_BREAKER_PROBE = 1,           /* admitted as the one prober: no retries, and within the lease */
	LD_BREAKER_REFUSED = -1
};

/** When it opens, and for how long. Values out of their range are taken as the nearest one in it. */
struct ld_breaker_settings {
	uint32_t failures;              /* in a row; 0 = never for that */
	uint32_t error_pct;             /* of the calls in the window; 0 = never for that */
	uint32_t slow_pct;              /* of the calls in the window; 0 = never for that, and a slow probe is a success */
	uint32_t volume;                /* fewer calls in the window have no percentage; 1..LD_BREAKER_VOLUME_MAX */
	uint32_t successes;             /* probes in a row that close it; 1..LD_BREAKER_SUCCESSES_MAX */
	uint32_t jitter_pct;            /* the time it stays open differs by up to this much from what is wanted; 0..100 */
	int64_t window_ms;
	int64_t slow_ms;                /* 0 = no call is slow; see ld_breaker_answered() */
	int64_t open_ms;                /* first time that it stays open; each time it opens again without a healthy time between: twice as long */
	int64_t open_max_ms;            /* and never longer than this; so much healthy time takes one doubling back. At most LD_BREAKER_TIME_MAX_MS */
};
#define LD_BREAKER_DEFAULTS { 5, 50, 0, 10, 3, 20, 10000, 0, 1000, 30000 }

enum { LD_BREAKER_VOLUME_MAX = 2000, LD_BREAKER_SUCCESSES_MAX = 15, LD_BREAKER_LEVEL_MAX = 27, LD_BREAKER_TIME_MAX_MS = 86400000 };

/**
 * 384 bytes. The control word alone decides; everything else counts, and may lag behind it by what killed processes did not write. The word has
 * its own cache line, which is written by transitions only. Every field is written by any process that calls, read by tools too.
 */
struct ld_breaker {
	_Atomic uint64_t word __attribute__((aligned(64)));
	_Atomic int64_t opened_ms;      /* times of the last transitions, 0 = never: into open, */
	_Atomic int64_t half_opened_ms; /* into half-open, */
	_Atomic int64_t closed_ms;      /* into closed */
	char pad0[32];

	_Atomic uint64_t events[LD_BREAKER_EVENTS] __attribute__((aligned(64))); /* transitions by kind */
	char pad1[48];

	_Atomic uint64_t refused __attribute__((aligned(64)));
	_Atomic uint64_t late;          /* reports of an older generation, or after the lease: they changed nothing */
	_Atomic uint64_t probes;        /* leases given */
	_Atomic uint64_t probes_lost;   /* leases whose time ran out before they were reported */
	_Atomic uint64_t failures;      /* reports that counted, but for good ones, which nobody counts here */
	_Atomic uint64_t slow;
	_Atomic uint64_t neutral;
	char pad2[8];

	_Atomic uint64_t streak __attribute__((aligned(64))); /* failures in a row 16, from the lowest bit; the closed generation they belong to 48 */
	struct ld_window window;
	char pad3[40];
};
_Static_assert(sizeof(struct ld_breaker) == 384, "layout");

/**
 * The control word, from the lowest bit: state 2, successes 4, level 5, generation 13, time 40. The time is in ms since boot, good for 34 years:
 *
 *   closed        since when. Level: how often the time open would be doubled if it opened at once.
 *   open          until when. Level: how often its time is doubled.
 *   half-open     until when the probe's lease runs; 0 = there is none. Successes: probes in a row that succeeded.
 *   forced open   since when.
 *
 * The generation grows with every transition and every probe taken. A pass holds the whole word and is valid while the word is the same, so
 * an older pass would be taken for a valid one only if generation and time were both the same again. They cannot be: a probe's time is its
 * deadline, a later probe is taken after that and has a later one; a closed word's time is when it closed, and no 8192 generations pass in
 * that same millisecond, for each closing takes a time open of one at least.
 */
struct ld_breaker_word {
	enum ld_breaker_state state;
	uint32_t successes, level, generation;
	int64_t time_ms;
};
struct ld_breaker_word ld_breaker_unpack(uint64_t word);
uint64_t ld_breaker_pack(const struct ld_breaker_word *parts);
/** How long until the deadline of an open or half-open word; 0 = it is over. */
int64_t ld_breaker_left(const struct ld_breaker_word *parts, int64_t now_ms);

/** Failures in a row are counted to here; the upper 48 bits of the streak are the generation, and most of the time, of the closed word. */
enum { LD_BREAKER_STREAK_MAX = 65535, LD_BREAKER_GENERATION_SHIFT = 11 };

static inline uint64_t ld_breaker_empty_streak(uint64_t word)
{
	return word >> LD_BREAKER_GENERATION_SHIFT << 16;
}

static inline int ld_breaker_is_streak_of(uint64_t streak, uint64_t word)
{
	return (streak & ~(uint64_t)LD_BREAKER_STREAK_MAX) == ld_breaker_empty_streak(word);
}

/** What ld_breaker_admit() found. */
struct ld_breaker_pass {
	uint64_t word;
	int64_t retry_after_ms;         /* refused: so long, if nothing happens before; else 0 */
	enum ld_breaker_event event;
};

/** As ld_breaker_admit(), when it is not closed. */
enum ld_breaker_verdict ld_breaker_admit_slowly(struct ld_breaker *breaker, const struct ld_breaker_settings *settings, int64_t now_ms,
    int64_t lease_ms, struct ld_breaker_pass *ret_pass);

/**
 * May a call be made? One load while it is closed. lease_ms: longest time that the call may take, with a margin for the process to be scheduled;
 * used if it becomes the probe. 1..LD_BREAKER_TIME_MAX_MS.
 */
static inline enum ld_breaker_verdict ld_breaker_admit(struct ld_breaker *breaker, const struct ld_breaker_settings *settings, int64_t now_ms,
    int64_t lease_ms, struct ld_breaker_pass *ret_pass)
{
	/* acquire: pairs with the release of the swap that closed it */
	uint64_t word = atomic_load_explicit(&breaker->word, memory_order_acquire);

	if (__builtin_expect((word & 3) != LD_BREAKER_CLOSED, 0))
		return ld_breaker_admit_slowly(breaker, settings, now_ms, lease_ms, ret_pass);
	*ret_pass = (struct ld_breaker_pass){ word, 0, LD_BREAKER_NO_EVENT };
	return LD_BREAKER_ADMITTED;
}

/** The outcome of a call that was answered, after took_ms. */
static inline enum ld_breaker_outcome ld_breaker_answered(const struct ld_breaker_settings *settings, int64_t took_ms)
{
	return settings->slow_ms > 0 && took_ms > settings->slow_ms ? LD_BREAKER_SLOW : LD_BREAKER_SUCCESS;
}

/**
 * Say how the call ended, at now_ms. seed: any number that differs between hosts, for the jitter. A report of an older generation, a second one of
 * the same probe, and one after the probe's lease are counted and change nothing. Returns the transition that this report made.
 */
enum ld_breaker_event ld_breaker_report(struct ld_breaker *breaker, const struct ld_breaker_settings *settings, const struct ld_breaker_pass *pass,
    enum ld_breaker_outcome outcome, int64_t now_ms, uint64_t seed);

/** By hand: open it until it is closed or reset by hand; NO_EVENT if it is that already. */
enum ld_breaker_event ld_breaker_force_open(struct ld_breaker *breaker, int64_t now_ms);
/** By hand: close it, with counts and times open begun anew; NO_EVENT if it is closed. */
enum ld_breaker_event ld_breaker_close(struct ld_breaker *breaker, int64_t now_ms);
/** By hand: as new, the statistics zeroed too. Calls under way are late then. */
enum ld_breaker_event ld_breaker_reset(struct ld_breaker *breaker, int64_t now_ms);

/** A look at it for tools; writes nothing. Each number is right by itself, they need not be of one moment. */
struct ld_breaker_view {
	struct ld_breaker_word word;
	int64_t retry_after_ms;         /* of a call that came now; 0 = it would be admitted, -1 = not before somebody closes it by hand */
	uint32_t streak;                /* failures in a row */
	struct ld_window_sum window;    /* both empty unless it is closed */
	int64_t opened_ms, half_opened_ms, closed_ms;
	uint64_t events[LD_BREAKER_EVENTS];
	uint64_t refused, late, probes, probes_lost, failures, slow, neutral;
};
void ld_breaker_look(const struct ld_breaker *breaker, const struct ld_breaker_settings *settings, int64_t now_ms,
    struct ld_breaker_view *ret_view);

/** Short names: "closed", "open", "half-open", "forced-open"; "opened-failures" and so on. */
const char *ld_breaker_state_name(enum ld_breaker_state state);
const char *ld_breaker_event_name(enum ld_breaker_event event);

#endif
