/* SPDX-License-Identifier: MIT */
/* Draws the progress line (replay_live.h) from what workers count in shared memory; called by the master four times a second. */
#include "replay_live.h"

#include "human.h"

void replay_live_sum(const struct replay_plan *plan, struct replay_counts *ret_sum)
{
	struct replay_counts sum = { .wrong = 0 }, counts;
	uint64_t *into = (uint64_t *)&sum;
	const uint64_t *from = (const uint64_t *)&counts;

	for (unsigned i = 0; i < plan->workers; i++) {
		replay_counts_read(&plan->shared->slots[i], &counts);
		for (size_t at = 0; at < REPLAY_COUNTS; at++)
			into[at] += from[at];
	}
	*ret_sum = sum;
}

void replay_live_start(struct replay_live *live, const struct replay_plan *plan, int quiet, uint64_t evictions)
{
	progress_start(&live->progress, "replay", "gets", quiet ? PROGRESS_OFF : PROGRESS_ON);
	live->progress.brief = plan->has_l2;
	live->evictions = evictions;
	live->gets = 0;
	live->drawn_ns = replay_now_ns();
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void note_one_tier(struct replay_live *live, const struct replay_plan *plan, const struct replay_counts *sum)
{
	struct larder_stats stats = { .size = sizeof(stats) };
	char entries[HUMAN_SIZE], used[HUMAN_SIZE], evictions[HUMAN_SIZE];
	double ratio = percent(replay_counts_hits(sum), replay_counts_gets(sum));

	if (larder_get_stats(plan->cache, &stats) == 0)
		progress_note(&live->progress, "hit %.2f %%, %s entries, %s, %s evicted", ratio, human_count(entries, stats.entries),
		    human_bytes(used, stats.used_bytes), human_count(evictions, stats.evictions - live->evictions));
	else
		progress_note(&live->progress, "hit %.2f %%", ratio);
}

/* The rate is that since the last drawing: an average would hide what an outage does to it. */
static void note_both_tiers(struct replay_live *live, const struct replay_plan *plan, struct replay_tiers *tiers, const struct replay_counts *sum)
{
	int64_t now_ns = replay_now_ns();
	uint64_t gets = replay_counts_gets(sum);
	double seconds = (double)(now_ns - live->drawn_ns) / 1e9;
	char rate[HUMAN_SIZE], state[64];

	human_count(rate, seconds > 0 ? (uint64_t)((double)(gets - live->gets) / seconds) : 0);
	live->gets = gets;
	live->drawn_ns = now_ns;
	progress_note(&live->progress, "%s gets/s  L1 %.1f %%  L2 %.1f %%  %s", rate,
	    percent(sum->calls[REPLAY_L1_HIT] + sum->calls[REPLAY_STALE], gets), percent(sum->calls[REPLAY_L2_HIT], gets),
	    replay_tiers_state(tiers, plan, state, sizeof(state)));
}

void replay_live_draw(struct replay_live *live, const struct replay_plan *plan, struct replay_tiers *tiers)
{
	struct replay_counts sum;

	if (!live->progress.shown)
		return;
	replay_live_sum(plan, &sum);
	if (plan->has_l2)
		note_both_tiers(live, plan, tiers, &sum);
	else
		note_one_tier(live, plan, &sum);
	progress_step(&live->progress, replay_counts_gets(&sum), plan->trace.count);
}
