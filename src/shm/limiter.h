/* SPDX-License-Identifier: MIT */
/**
 * The limiter: how often may something happen, counted for all processes of the host together. It is the generic cell rate algorithm
 * (ITU-T I.371, 2004, annex A.1, virtual scheduling): one time for each bucket, at which it will be full again. A take moves that time on by
 * cost x interval, and is refused if it would come to lie further ahead than the bucket is deep. Nothing has to refill a bucket.
 *
 * Buckets are rows of a fixed table, in sets of seven and one that is shared:
 *
 *     tag (64 bits, a hash of the caller's) -> set; the row whose owner has the lower 48 bits of the tag
 *
 * The table never fills up for good. A row whose time is past is a full bucket, the same as none, and is given to another tag when one needs it.
 * When all seven rows of a set are active, the tags without a row take from the shared row of the set together: each is limited more than it
 * should be, by the others, until a row falls idle. What a tag took from the shared row goes with it into the row that it gets. Two tags of a
 * set whose lower 48 bits are the same have one bucket: again too little, never too much.
 *
 * What is promised for every tag, whichever rows it has, whoever is killed at whichever line: what is admitted in any time is at most
 * rate x time + burst. Two exceptions: a process that is stopped inside a take, between reading the clock and the end of the call, for longer than
 * LD_LIMIT_IDLE_NS may get that one take beyond it; and when the rule of a tag changes, what it took before counts as the time it took up then.
 *
 * Units: time is CLOCK_BOOTTIME in nanoseconds, an argument; inside it is sixteenths of a nanosecond, good for eighteen years since boot.
 * A take's interval is rounded up to one of these: at 1,000,000 a second the rate is at most 0.007 % too low, at 1,000 a second 0.000007 %; no
 * error adds up, and none lets through too much. Blocks: never, a take that loses LD_LIMIT_TRIES races is refused for a millisecond.
 */
#ifndef LD_SHM_LIMITER_H
#define LD_SHM_LIMITER_H

#include <stdatomic.h>
#include <stdint.h>

/** Rates are takes in 10^9 seconds: this is one take a second. Bounds of a rate: one in 10^6 seconds, 10^6 in one. */
#define LD_LIMIT_PER_S INT64_C(1000000000)
#define LD_LIMIT_RATE_MIN INT64_C(1000)
#define LD_LIMIT_RATE_MAX INT64_C(1000000000000000)

enum {
	LD_LIMIT_WAYS = 7,
	LD_LIMIT_TRIES = 200,
	LD_LIMIT_IDLE_NS = 100000000,   /* a row is idle when its time is past for so long: a late take must not find it gone */
	LD_LIMIT_COLD_MS = 300000       /* half the rate for so long after a cold start */
};

/** A bucket. Zeroed = of nobody. */
struct ld_limiter_row {
	_Atomic uint64_t until;         /* when it is full again; the top bit: it is being given to another owner. Grows, but for what is given back */
	_Atomic uint64_t owner;         /* label of a tag << 16 | how often it was given away */
};

/** Two cache lines. */
struct ld_limiter_set {
	struct ld_limiter_row rows[LD_LIMIT_WAYS];
	struct ld_limiter_row shared;   /* has no owner */
};
_Static_assert(sizeof(struct ld_limiter_set) == 128, "layout");

/** In front of the sets. */
struct ld_limiter_head {
	_Atomic int64_t half_until_ms;  /* boot clock; 0 = not at all. Raised by whoever finds the host cold, read by each take that minds it */
	char pad[120];
};
_Static_assert(sizeof(struct ld_limiter_head) == 128, "layout");

/** A view of it. */
struct ld_limiter {
	struct ld_limiter_head *head;
	struct ld_limiter_set *sets;    /* 128-aligned; zeroed memory is a table without an active row */
	uint64_t set_count;             /* 1..2^32 - 1 */
};

/** Sets for at least so many rows, and bytes of the whole with its head. */
uint64_t ld_limiter_sets(uint64_t rows);
uint64_t ld_limiter_size(uint64_t rows);

/** What a bucket allows. */
struct ld_limit_rule {
	int64_t rate;                   /* takes in 10^9 s, LD_LIMIT_RATE_MIN..LD_LIMIT_RATE_MAX */
	int64_t burst;                  /* takes at once, 1..10^9; 0 = what the rate gives in a second, at least 1. No more than two years of the rate */
	int cold;                       /* 1: half the rate while the host is cold */
};

/** A take that was admitted, for ld_limiter_give_back(). */
struct ld_limit_taken {
	_Atomic uint64_t *until;
	uint64_t before, after;
	int shared;                     /* 1: from the shared row of a set whose rows were all active */
};

/**
 * Take `cost` (1 or more) from the bucket of a tag. While the host is cold a rule that minds it has half the rate and half the burst; a
 * take of more than half the burst is then admitted when the bucket is full.
 *
 * Returns 0 admitted, ret_taken is written; > 0 refused, nothing was taken: milliseconds after which a lone caller is admitted; < 0 refused for
 * good: the cost is above the burst.
 */
int64_t ld_limiter_take(const struct ld_limiter *limiter, uint64_t tag, const struct ld_limit_rule *rule, uint32_t cost, int64_t now_ns,
    struct ld_limit_taken *ret_taken);
/** What ld_limiter_take() would return now. Takes nothing, changes nothing. */
int64_t ld_limiter_wait_ms(const struct ld_limiter *limiter, uint64_t tag, const struct ld_limit_rule *rule, uint32_t cost, int64_t now_ns);
/** Undo a take, if nobody has taken from that bucket since; else it stays taken. 1 or 0. */
int ld_limiter_give_back(const struct ld_limit_taken *taken);

/** Half the rate until then (boot clock, milliseconds), or longer, where somebody else has said so. */
void ld_limiter_half_until(const struct ld_limiter *limiter, int64_t until_ms);

/** A bucket as a tool shows it. */
struct ld_limit_view {
	int64_t left;                   /* takes that would be admitted at once */
	int64_t full_ms;                /* until the bucket is full; 0 = it is */
	int known;                      /* 1: the tag has a row of its own */
};
void ld_limiter_look(const struct ld_limiter *limiter, uint64_t tag, const struct ld_limit_rule *rule, int64_t now_ns,
    struct ld_limit_view *ret_view);

#endif
