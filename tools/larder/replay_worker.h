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

/** What a worker counts. */
struct replay_counts {
	uint64_t gets;
	uint64_t hits;
	uint64_t unavailable;     /* gets that the cache could not answer */
	uint64_t errors;          /* gets and sets with a result below 0 */
	uint64_t sets;
	uint64_t refused;         /* sets that were not stored */
	uint64_t wrong;           /* hits with another value than the key's */
};
#define REPLAY_COUNTS (sizeof(struct replay_counts) / sizeof(uint64_t))

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
	_Atomic uint64_t reasons[LARDER_REASON_COUNT]; /* of gets and sets that were not served */
	_Atomic int64_t finished_ns;   /* when its share was done, CLOCK_MONOTONIC; 0 = not yet */
	_Atomic uint64_t private_b;    /* its private memory then */
	_Atomic int32_t last_error;    /* last result below 0 */
	uint32_t padding;
	struct replay_histogram hits;
	struct replay_histogram sets;
} __attribute__((aligned(64)));

/** Anonymous shared memory, made by the master before it forks. */
struct replay_shared {
	_Atomic uint64_t cursor;       /* next block that nobody took; workers add, relaxed */
	_Atomic uint32_t stop;         /* the master sets it, workers look at it before each request; relaxed */
	uint32_t padding;
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
	int latency;              /* 0: take no times */
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
