/* SPDX-License-Identifier: MIT */
/**
 * The master of `larder replay`: forks the workers, starts them together, watches them, kills some of them if it is asked to,
 * and keeps the progress line.
 */
#ifndef LARDER_TOOL_REPLAY_MASTER_H
#define LARDER_TOOL_REPLAY_MASTER_H

#include <stdint.h>

#include "cli.h"
#include "replay_tiers.h"
#include "replay_worker.h"

/** What came of a run besides what is in the slots. */
struct replay_outcome {
	int64_t began_ns;         /* when all workers were let go, CLOCK_MONOTONIC */
	int64_t ended_ns;         /* when the last one was gone */
	struct larder_stats before, after; /* of the whole cache; before.size 0 = not available */
	unsigned died;            /* workers that ended other than by finishing or by our own kill */
	unsigned killed;          /* by us */
	int worker_exit;          /* largest exit code of a worker that gave up */
	int interrupted;
	struct replay_second second; /* only where plan->has_l2 */
};

struct replay_conduct {
	int64_t kill_every_ms;    /* 0 = never */
	uint64_t seed;            /* of the choice whom to kill */
	int quiet;                /* no progress */
	struct replay_tiers *tiers; /* used only where plan->has_l2 */
};

/**
 * Make the shared area that plan->shared points to afterwards.
 *
 * Returns   0; -1 memory ran out. Free with replay_shared_free().
 */
int replay_shared_make(struct replay_plan *plan);
void replay_shared_free(struct replay_plan *plan);

/**
 * Replay. Returns when no worker is left. Single-threaded; SIGCHLD is blocked meanwhile, SIGINT and SIGTERM must have been
 * given to cli_catch_signals().
 *
 * Returns   0; -1 no worker could be started, said on stderr
 */
int replay_master_run(struct replay_plan *plan, const struct replay_conduct *conduct, struct replay_outcome *ret_outcome);

#endif
