/* SPDX-License-Identifier: MIT */
/**
 * What master and workers of `larder replay` have in common: the plan, which each worker inherits by fork and never changes, and
 * the shared area, through which they talk.
 */
#ifndef LARDER_TOOL_REPLAY_WORKER_H
#define LARDER_TOOL_REPLAY_WORKER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <larder/larder.h>

#include "replay_breaker.h"
#include "replay_histogram.h"
#include "replay_trace.h"
#include "replay_value.h"

#define REPLAY_WORKERS_MAX 4096
/** Requests that a worker takes from the trace at once: few enough to keep the order nearly, many enough to make the cursor
 * cheap. */
#define REPLAY_BLOCK 64

enum replay_deal {
	REPLAY_DEAL_BLOCKS,       /* whoever is free takes the next block */
	REPLAY_DEAL_HASH          /* each key belongs to one worker */
};

/** How a call of the replay ended: the gets, then the sets. */
enum replay_call {
	REPLAY_L1_HIT = 0,        /* fresh, from this host's cache */
	REPLAY_L2_HIT,            /* fresh, from L2 */
	REPLAY_STALE,             /* stale, from this host's cache: L2, if there is one, had nothing newer or could not be asked */
	REPLAY_MISS,              /* with `load`: one whose loader was called */
	REPLAY_OUTAGE,            /* LARDER_E_L2, but for those that the breaker refused */
	REPLAY_REFUSED,           /* LARDER_E_L2, the breaker being open */
	REPLAY_UNSERVED,          /* LARDER_UNAVAILABLE, and errors */
	REPLAY_SET,               /* the sets, those included that were not stored */
	REPLAY_CALLS
};
/** As the tables and JSON name it, "L1 hit" and "l1_hit"; static. */
const char *replay_call_title(enum replay_call call);
const char *replay_call_name(enum replay_call call);

/** What a worker counts. */
struct replay_counts {
	uint64_t calls[REPLAY_CALLS];
	uint64_t unavailable;     /* gets that the cache could not answer */
	uint64_t errors;          /* gets and sets with a result below 0 that is no outage */
	uint64_t unstored;        /* sets that were not stored */
	uint64_t wrong;           /* hits with another value than the key's */
	uint64_t loads;           /* with `load`: calls of the loader */
};
#define REPLAY_COUNTS (sizeof(struct replay_counts) / sizeof(uint64_t))

uint64_t replay_counts_gets(const struct replay_counts *counts);
/** Values that were found, wherever and however old. */
uint64_t replay_counts_hits(const struct replay_counts *counts);
/** Sets that were stored. */
uint64_t replay_counts_stored(const struct replay_counts *counts);

/** The longest call of a kind. */
struct replay_worst {
	_Atomic uint64_t ns;           /* how long it took */
	_Atomic int64_t began_ns;      /* CLOCK_MONOTONIC */
};

/**
 * A worker's part of the shared area. Only the process that has the place writes it; the master reads it at any time, and the
 * successor of a killed worker goes on where its predecessor was. All accesses are relaxed: nothing is read because of
 * something else that was read here, and each figure may be one request behind. A worker killed between two of its stores leaves
 * one request counted that will be done again, or one block that nobody does.
 */
struct replay_slot {
	_Atomic uint64_t next;         /* request to be done next */
	_Atomic uint64_t end;          /* of its block */
	_Atomic uint64_t counts[REPLAY_COUNTS]; /* in the order of struct replay_counts */
	_Atomic uint64_t reasons[LARDER_REASON_COUNT]; /* of gets and sets that were not served, outages included */
	_Atomic int64_t finished_ns;   /* when its share was done, CLOCK_MONOTONIC; 0 = not yet */
	_Atomic uint64_t private_b;    /* its private memory then */
	_Atomic int32_t last_error;    /* last result below 0 */
	uint32_t padding;
	struct replay_worst worst[REPLAY_CALLS];
	struct replay_histogram calls[REPLAY_CALLS];
} __attribute__((aligned(64)));

/** Anonymous shared memory, made by the master before it forks. */
struct replay_shared {
	_Atomic uint64_t cursor;       /* next block that nobody took; workers add, relaxed */
	_Atomic uint32_t stop;         /* the master sets it, workers look at it before each request; relaxed */
	uint32_t padding;
	struct replay_breaker_log breaker;
	struct replay_slot slots[] __attribute__((aligned(64)));
};

/** What is to be done. */
struct replay_plan {
	struct replay_trace trace;
	struct replay_sizes sizes;
	larder *cache;
	larder_tenant *tenant;
	const char *space;
	struct larder_store store;
	unsigned workers;
	enum replay_deal deal;
	int set_on_miss;
	int64_t fetch_ms;         /* that a miss costs before the set */
	int load;                 /* 1: by larder_get_or_set(), whose loader costs fetch_ms; no set */
	int latency;              /* 0: take no times */
	int has_l2;               /* LARDER_L2_URL is set */
	struct replay_shared *shared;
};

/** CLOCK_MONOTONIC, nanoseconds. */
int64_t replay_now_ns(void);

/** Read a slot's counts. */
void replay_counts_read(const struct replay_slot *slot, struct replay_counts *ret_counts);

/** Attach to the cache, waiting a while for it to become available. Returns 0 or what larder_attach() said last. */
int replay_worker_attach(const struct replay_plan *plan);

/**
 * Do a worker's share, until the trace is done or shared->stop is set. For the child process that has slot `index`.
 *
 * Returns   an exit code: 0 done, 3 memory ran out
 */
int replay_worker_run(const struct replay_plan *plan, unsigned index);

#endif
