/* SPDX-License-Identifier: MIT */
/* The master's dealings with the second level (replay_tiers.h). An outage in the middle of a replay, seen from here:
 *
 *     requests   0 -------------- at --------------- at + for ------------------- end ------ settled
 *     larder-l2d runs             SIGKILL            started again, same port and directory
 *     breaker    closed           opens              half-open, closed; if the trace ends before, while we settle
 *     outbox     nearly empty     grows              shrinks                                  empty
 *
 * Nothing here may wait for L2 but settle. */
#include "replay_tiers.h"

#include <stdio.h>
#include <time.h>

#include "cli.h"
#include "human.h"

#define LOOK_NS 20000000          /* how exactly an outage is timed */
#define FLUSH_MS 100
#define PROBE_NAME "larder replay asks L2 for this"

static void look_at_outbox(struct replay_tiers *tiers, struct larder_outbox *ret_outbox)
{
	struct larder_outbox outbox = { .size = sizeof(outbox) };

	ret_outbox->size = 0;
	if (tiers->inspector == NULL && larder_inspect_open(tiers->options, &tiers->inspector, NULL) != 0) {
		tiers->inspector = NULL;
		return;
	}
	if (larder_inspect_outbox(tiers->inspector, &outbox) == 0)
		*ret_outbox = outbox;
}

void replay_tiers_begin(struct replay_tiers *tiers, struct replay_second *ret_second)
{
	*ret_second = (struct replay_second){ .flush_ns = -1 };
	look_at_outbox(tiers, &ret_second->before);
}

void replay_tiers_tick(struct replay_tiers *tiers, uint64_t done, uint64_t total, int64_t began_ns)
{
	int64_t now_ns = replay_now_ns();

	if (tiers->has_outage && tiers->phase == REPLAY_L2_BEFORE && replay_span_is_over(&tiers->outage.at, done, total, now_ns - began_ns)) {
		replay_l2_kill(&tiers->l2);
		tiers->done_then = done;
		tiers->phase = REPLAY_L2_AWAY;
	} else if (tiers->phase == REPLAY_L2_AWAY &&
		   replay_span_is_over(&tiers->outage.length, done - tiers->done_then, total, now_ns - tiers->l2.killed_ns)) {
		replay_l2_revive(&tiers->l2);
		tiers->phase = REPLAY_L2_BACK;
	}
	replay_l2_tick(&tiers->l2);
}

int64_t replay_tiers_wait_ns(const struct replay_tiers *tiers, int64_t longest_ns)
{
	int idle = !tiers->has_outage || (tiers->phase == REPLAY_L2_BACK && tiers->l2.pid != 0);
	return idle || longest_ns < LOOK_NS ? longest_ns : LOOK_NS;
}

const char *replay_tiers_state(struct replay_tiers *tiers, const struct replay_plan *plan, char *buffer, size_t size)
{
	struct larder_outbox outbox = { .size = 0 };
	char pending[HUMAN_SIZE];

	look_at_outbox(tiers, &outbox);
	snprintf(buffer, size, "breaker %s  outbox %s", replay_breaker_name(replay_breaker_state(&plan->shared->breaker)),
	    outbox.size ? human_count(pending, outbox.pending) : "?");
	return buffer;
}

/* A call that goes to L2, and so is a probe when it is time for one: telling does the same, while there is something to tell. */
static void ask(const struct replay_plan *plan)
{
	int r = larder_exists(plan->tenant, plan->space, PROBE_NAME, sizeof(PROBE_NAME) - 1, NULL);
	(void)r;
}

static void draw(struct replay_tiers *tiers, const struct replay_plan *plan, struct progress *progress)
{
	char state[64];

	if (!progress->shown || !progress->terminal)
		return;
	progress_note(progress, "all gets done, telling L2  %s", replay_tiers_state(tiers, plan, state, sizeof(state)));
	progress_step(progress, progress->done, progress->total);
}

static int is_closed(const struct replay_plan *plan)
{
	return replay_breaker_state(&plan->shared->breaker) == LARDER_BREAKER_CLOSED;
}

static void settle(struct replay_tiers *tiers, const struct replay_plan *plan, struct progress *progress, struct replay_second *second)
{
	const struct timespec pause = { 0, LOOK_NS };
	int64_t began_ns = replay_now_ns(), end_ns = began_ns + tiers->wait_ms * 1000000;

	while (!cli_interrupted && !tiers->l2.lost && replay_now_ns() < end_ns) {
		if (!second->flushed) {
			second->flushed = larder_flush(plan->cache, FLUSH_MS) == 0;
			second->flush_ns = replay_now_ns() - began_ns;
		}
		if (second->flushed && (!tiers->has_outage || is_closed(plan)))
			break;
		if (second->flushed) {
			ask(plan);
			nanosleep(&pause, NULL);
		}
		replay_l2_tick(&tiers->l2);
		draw(tiers, plan, progress);
	}
}

void replay_tiers_settle(struct replay_tiers *tiers, const struct replay_plan *plan, struct progress *progress, struct replay_second *second)
{
	if (tiers->phase == REPLAY_L2_AWAY && !cli_interrupted) {
		replay_l2_revive(&tiers->l2);
		replay_l2_tick(&tiers->l2);
		tiers->phase = REPLAY_L2_BACK;
	}
	settle(tiers, plan, progress, second);
	second->killed_ns = tiers->l2.killed_ns;
	second->returned_ns = tiers->l2.returned_ns;
	look_at_outbox(tiers, &second->after);
}

void replay_tiers_end(struct replay_tiers *tiers)
{
	if (tiers->inspector != NULL)
		larder_inspect_close(tiers->inspector);
	tiers->inspector = NULL;
}
