/* SPDX-License-Identifier: MIT */
/**
 * What the master of `larder replay` does with the second level while workers replay, and after them: takes it away and gives it back, looks at the
 * outbox, and at the end waits until L2 has been told everything and the breaker is closed again.
 */
#ifndef LARDER_TOOL_REPLAY_TIERS_H
#define LARDER_TOOL_REPLAY_TIERS_H

#include <stdint.h>

#include <larder/inspect.h>

#include "progress.h"
#include "replay_l2.h"
#include "replay_outage.h"
#include "replay_worker.h"

/** How L2 fared. */
struct replay_second {
	int64_t killed_ns, returned_ns; /* CLOCK_MONOTONIC, of the outage; 0 = there was none */
	int64_t flush_ns;         /* that larder_flush() took after the last get until nothing was pending, or until we gave up; -1 = not tried */
	int flushed;              /* 1: nothing was pending any more */
	struct larder_outbox before, after; /* size 0 = not known */
};

struct replay_tiers {
	const struct larder_options *options; /* to look at the outbox with; borrowed */
	struct replay_l2 l2;      /* ours, or nothing */
	int has_outage;
	struct replay_outage outage;
	int64_t wait_ms;          /* longest time that settle takes */
	/* From here on the master's own; zero at first. */
	enum { REPLAY_L2_BEFORE = 0, REPLAY_L2_AWAY, REPLAY_L2_BACK } phase;
	uint64_t done_then;       /* requests that were done when it was killed */
	larder_inspector *inspector;
};

/** The workers are about to go. */
void replay_tiers_begin(struct replay_tiers *tiers, struct replay_second *ret_second);

/** Kill L2, or start it again, when it is time to. done: requests so far; began_ns: when the workers were let go. Cheap, as often as you like. */
void replay_tiers_tick(struct replay_tiers *tiers, uint64_t done, uint64_t total, int64_t began_ns);
/** How soon the next tick is of use, at most so long. */
int64_t replay_tiers_wait_ns(const struct replay_tiers *tiers, int64_t longest_ns);

/** "breaker half-open  outbox 12,345", for the progress line. Writes at most size bytes into buffer and returns it. */
const char *replay_tiers_state(struct replay_tiers *tiers, const struct replay_plan *plan, char *buffer, size_t size);

/**
 * After the last worker: see to it that L2 is back, tell it what is pending, and wait for a breaker that an outage opened.
 * Blocks up to wait_ms, less after an interrupt.
 */
void replay_tiers_settle(struct replay_tiers *tiers, const struct replay_plan *plan, struct progress *progress, struct replay_second *second);

/** Free what begin made. L2 is stopped by who started it. */
void replay_tiers_end(struct replay_tiers *tiers);

#endif
