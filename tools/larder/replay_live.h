/* SPDX-License-Identifier: MIT */
/**
 * The progress line of `larder replay`: how far it is, how fast, what is found where, and how the second level fares. At most 79 columns where there
 * is one.
 */
#ifndef LARDER_TOOL_REPLAY_LIVE_H
#define LARDER_TOOL_REPLAY_LIVE_H

#include <stdint.h>

#include "progress.h"
#include "replay_tiers.h"
#include "replay_worker.h"

struct replay_live {
	struct progress progress;
	uint64_t evictions;       /* of the cache before the run */
	uint64_t gets;            /* at the last drawing, with its time: the rate between two is the rate now */
	int64_t drawn_ns;
};

/** Sum the workers' counts up. Any time. */
void replay_live_sum(const struct replay_plan *plan, struct replay_counts *ret_sum);

void replay_live_start(struct replay_live *live, const struct replay_plan *plan, int quiet, uint64_t evictions);
void replay_live_draw(struct replay_live *live, const struct replay_plan *plan, struct replay_tiers *tiers);

#endif
