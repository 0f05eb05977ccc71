/* SPDX-License-Identifier: MIT */
/*
 * Telling L2, from the API: the teller's thread where the process may have threads, and larder_flush(), which tells by itself or waits for who does.
 */
#include "cache/handle.h"

#include <time.h>

#include "base/clock.h"
#include "base/errors.h"
#include "l1/outbox.h"
#include "l2/drain.h"

enum { TICK_MS = 2 };

void ld_drain_start_if(larder *cache)
{
	if (cache->drain && cache->settings.number[LD_SET_THREADS])
		ld_drain_start(cache->drain);
}

static void pause_until(int64_t wait_ms, int64_t end_ms)
{
	int64_t left_ms = end_ms - ld_clock_boot_ms();
	struct timespec pause;

	wait_ms = wait_ms > left_ms ? left_ms : wait_ms;
	if (wait_ms < 1)
		return;
	pause = (struct timespec){ (time_t)(wait_ms / 1000), (long)(wait_ms % 1000) * 1000000 };
	nanosleep(&pause, NULL);
}

/* Something is pending still. Why, where it is the breaker: one that was opened by hand is told as the gets tell it, for nobody can wait for that. */
static int still_pending(const larder *cache)
{
	int64_t retry_ms;

	ld_reason_set(LARDER_REASON_NONE);
	if (ld_l2_is_open(cache->l2, &retry_ms)) {
		ld_reason_set(LARDER_REASON_L2_OPEN);
		ld_retry_after_set(retry_ms > 0 ? retry_ms : cache->settings.number[LD_SET_BREAKER_OPEN_MAX_MS]);
	}
	return LARDER_E_BUSY;
}

int larder_flush(larder *cache, uint32_t budget_ms)
{
	int64_t end_ms, wait_ms;
	int rc = LARDER_E_BUSY;

	if (!ld_is_cache(cache))
		return LARDER_E_CLOSED;
	ld_retry_after_set(0);
	if (!cache->drain)
		return 0;
	end_ms = ld_clock_boot_ms() + budget_ms;
	do {
		enum ld_drain_result result = ld_drain_round(cache->drain, &wait_ms);

		/* Another process tells: its rows are acknowledged by and by, so look again soon. */
		pause_until(result == LD_DRAIN_OTHERS ? TICK_MS : result == LD_DRAIN_EMPTY ? 0 : wait_ms, end_ms);
		rc = ld_outbox_any(cache->store) ? LARDER_E_BUSY : 0;
	} while (rc != 0 && ld_clock_boot_ms() < end_ms);
	ld_drain_leave(cache->drain);
	return rc == 0 ? 0 : still_pending(cache);
}
