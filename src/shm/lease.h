/* SPDX-License-Identifier: MIT */
/**
 * Leases: who fetches a missing value, for all processes of the host together (DESIGN decisions 18 and 19). A fixed table of rows in shared memory, in
 * sets of eight:
 *
 *     tag (64 bits, a hash of the caller's) -> set; the row that has the lower 48 bits of the tag
 *
 *     +------+  take   +------+  end                         +---------------------------------+
 *     | idle | ------> | held | ---------------------------> | idle, or throttled for a moment |
 *     +------+         +------+                              +---------------------------------+
 *                       |    ^ take over, with a new generation: its holder is dead, or its time is over, or what it fetches is older
 *                       +----+ than the last write of the key
 *
 * A row is held by one at a time, and each holding is a generation of the row. A lease says exactly which: an end or a renewal that comes after another
 * one has taken over finds another word, and changes nothing. Nobody has to be alive for a row to become free again: a dead holder's is taken over as soon
 * as somebody looks, a live one's when its time is over. How the last 14 generations of a row ended stays readable, so that a waiter who is slow
 * to wake up learns it even when the row is held again.
 *
 * The table costs deduplication where it is too small, never anything else. A row is needed only while it is held or throttled. When all eight of a set are
 * held, the next tag gets none: it fetches without a lease. Two tags of a set whose lower 48 bits are the same have one row: one of them waits for the other's
 * fetch, in vain. What may be stored is decided elsewhere, by the write fence; a lease that two have at once, or nobody, makes a fetch more.
 *
 * `now` is the boot clock in milliseconds, an argument. No locks, no allocation; any process and thread. ld_lease_try() and ld_lease_check() ask `alive`,
 * a system call or so, once in LD_LEASE_ASK_MS for a row, and never on the way of a row that nobody holds. ld_lease_sleep() alone blocks.
 */
#ifndef LD_SHM_LEASE_H
#define LD_SHM_LEASE_H

#include <stdatomic.h>
#include <stdint.h>

enum {
	LD_LEASE_WAYS = 8,
	LD_LEASE_TIME_MAX_MS = 3600000, /* no lease and no throttling is for longer */
	LD_LEASE_NAMING_MS = 10,        /* the time that a taker has to write down whose the row is, which takes some ten instructions */
	LD_LEASE_ASK_MS = 10,
	LD_LEASE_ENDS = 14              /* generations whose end stays readable */
};

enum ld_lease_answer {
	LD_LEASE_TAKEN,                 /* it is ours: fetch, then end it */
	LD_LEASE_HELD,                  /* another one fetches: wait for its end, or go on without */
	LD_LEASE_THROTTLED,             /* a fetch failed a moment ago */
	LD_LEASE_NONE                   /* no lease is to be had: fetch without one */
};

/** How a holding ended. GONE is never given to an end: nobody has ended it, it was taken over. */
enum ld_lease_end {
	LD_LEASE_GONE,
	LD_LEASE_STORED,                /* the value is in the store */
	LD_LEASE_FAILED,                /* the fetch failed: whoever waited fails with it; when throttled, so does everybody for so long */
	LD_LEASE_UNSTORED,              /* it went well and was not stored: whoever waited fetches for itself */
	LD_LEASE_MISSED,                /* there is no such value: whoever asked for no more than was asked has the answer */
	LD_LEASE_L2_FAILED,             /* this and up to ten more: L2 alone was asked, and failed; by reason, from LARDER_REASON_L2_TIMEOUT on */
	LD_LEASE_END_MAX = 15
};

/** One cache line. Zeroed = idle, of nobody. Every field is written by any process; all but the last four decide something. */
struct ld_lease_row {
	_Atomic uint64_t word;          /* holder and state; see struct ld_lease_word. It alone decides who holds the row */
	_Atomic uint64_t tag;           /* lower 48 bits of a tag << 16 | how often it was written */
	_Atomic uint64_t seen;          /* of the holder: what its look-up had seen; 0 = not known */
	_Atomic uint64_t ends;          /* how generations ended, 4 bits each, the newest lowest; below them its generation, 8 bits */
	_Atomic int64_t asked_ms;       /* when somebody last asked whether the holder lives */
	_Atomic int64_t taken_ms;       /* for tools, as the next one; written after the row was taken, so that it may lag behind */
	_Atomic int64_t failed_ms;      /* last failure; 0 = none */
	_Atomic uint32_t wake;          /* futex word, counts wake-ups */
	_Atomic uint32_t waiting;       /* who came to wait since the last wake-up; not 0: somebody may sleep. Whoever is killed stays counted until then */
};
_Static_assert(sizeof(struct ld_lease_row) == 64, "layout");

/** The table: sets x LD_LEASE_WAYS rows, 64-aligned, zeroed when the segment is made. */
struct ld_leases {
	struct ld_lease_row *rows;
	uint64_t sets;                  /* 1..2^32 - 1 */
};

/** Sets for at least so many rows, and the bytes that they take. */
uint64_t ld_lease_sets(uint64_t rows);
uint64_t ld_lease_size(uint64_t rows);

/**
 * The word, from the lowest bit: time 32, generation 8, holder 21, state 3. Of an idle row the holder is how its generation ended. The time is milliseconds since boot modulo 2^32: when the lease or the throttling is
 * over, or when the row became idle. It counts as ahead when it is so by no more than LD_LEASE_TIME_MAX_MS. A row that nobody has touched for 49 days may
 * therefore look held or throttled for an hour at most; if it was left by a dead process it is taken over all the same.
 *
 * A generation comes again after 256 holdings of the row. Then a word is the same as an earlier one only if it has the same holder and the same
 * millisecond as well. An end that comes so late, at such a moment, ends a lease that is not its own: a fetch more. A waiter who slept through 256 holdings
 * waits for the present one, or is told how it ended.
 */
enum ld_lease_state {
	LD_LEASE_IS_IDLE,
	LD_LEASE_IS_FAILED,             /* idle too, and throttled while its time is ahead */
	LD_LEASE_IS_NAMING,             /* being taken: whose it is is being written down */
	LD_LEASE_IS_HELD
};
struct ld_lease_word {
	enum ld_lease_state state;
	uint32_t holder, generation, time;
};
uint64_t ld_lease_pack(const struct ld_lease_word *word);
struct ld_lease_word ld_lease_unpack(uint64_t word);

/** Who asks, and what for. Both callbacks are called from inside the call, some microseconds at most. */
struct ld_lease_ask {
	uint32_t self;                  /* number of this process, 1..2^21 - 1; the same for all its threads */
	uint64_t seen;                  /* the sequence that the caller's look-up had seen; 0 = not known */
	int64_t now_ms;
	int64_t lease_ms;               /* of a take: 1..LD_LEASE_TIME_MAX_MS, else the nearest one */
	int (*alive)(void *ctx, uint32_t holder);
	uint64_t (*mark)(void *ctx);    /* sequence of the last write of the key: a fetch that had seen less is not stored */
	void *ctx;
};

/** A lease, or whom to wait for. The caller's memory; a copy is as good. */
struct ld_lease {
	uint32_t row;
	int stored;                     /* TAKEN: 1 the one before ended with a stored value, perhaps after our look-up: look again before fetching */
	int taken_over;                 /* TAKEN: 1 from another holder */
	uint64_t token;                 /* the word */
	int64_t segment;                /* these two are the caller's, and not looked at here */
	uint64_t process;
};

/**
 * Take the lease of a tag. ret_lease is written for TAKEN and HELD, ret_retry_ms (what is left) for HELD and THROTTLED. From a holder whose fetch has seen less than the last
 * write of the key it is taken over by whoever has seen more than the holder; who has not is answered NONE, for what it fetches is not stored either.
 */
enum ld_lease_answer ld_lease_try(const struct ld_leases *table, uint64_t tag, const struct ld_lease_ask *ask, struct ld_lease *ret_lease,
    int64_t *ret_retry_ms);

enum ld_lease_now { LD_LEASE_RUNS, LD_LEASE_HAS_ENDED, LD_LEASE_IS_LOST };
/**
 * What has become of a lease? RUNS, with what is left of its time; HAS_ENDED, with how; IS_LOST: its holder is dead, its time is over, it was taken over or too
 * much has happened since. Finding it dead ends it as GONE and wakes all.
 */
enum ld_lease_now ld_lease_check(const struct ld_leases *table, const struct ld_lease *lease, const struct ld_lease_ask *ask, int64_t *ret_left_ms,
    enum ld_lease_end *ret_end);
/** Sleep until its end wakes us, for at most wait_ms; returns at once when it has ended, and now and then for nothing. first: 1 in the first one of a wait. */
void ld_lease_sleep(const struct ld_leases *table, const struct ld_lease *lease, int first, int64_t wait_ms);

/** End it and wake all who wait. throttle_ms > 0, with FAILED: for so long nobody gets it. 1; 0 it was not ours any more, and nothing was changed. */
int ld_lease_end(const struct ld_leases *table, const struct ld_lease *lease, enum ld_lease_end end, int64_t throttle_ms, int64_t now_ms);
/** Ours until now + lease_ms; also when its time was over and nobody has taken it. 1, lease is changed; 0 it is not ours any more. */
int ld_lease_renew(const struct ld_leases *table, struct ld_lease *lease, int64_t lease_ms, int64_t now_ms);

/** A look for tools: changes nothing. Each number is right by itself, they need not be of one moment. */
struct ld_lease_view {
	int held;                       /* 1: somebody has it, dead or alive, and its time is not over */
	uint32_t holder;
	int64_t age_ms, left_ms;        /* of a held one */
	uint64_t seen;
	uint32_t waiting;               /* who came to wait for it */
	int64_t throttled_ms;           /* what is left of it; 0 = it is not */
	int64_t failed_ago_ms;          /* last failure; -1 = none that is known */
};
/** 1; 0 no row has this tag. */
int ld_lease_look(const struct ld_leases *table, uint64_t tag, int64_t now_ms, struct ld_lease_view *ret_view);

#endif
