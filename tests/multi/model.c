/* SPDX-License-Identifier: MIT */
/*
 * What larder ought to do, as plain as it can be written: no store, no sharing, no clock but the two of the span. See model.h; the caller holds the
 * key's lock.
 */
#include "model.h"

#include <string.h>

#include "base/clock.h"

void span_begin(struct span *span)
{
	span->boot_from = ld_clock_boot_ms();
	span->wall_from = ld_clock_wall_ms();
}

void span_end(struct span *span)
{
	span->boot_to = ld_clock_boot_ms();
	span->wall_to = ld_clock_wall_ms();
}

int span_is_exact(const struct span *span)
{
	return span->boot_from == span->boot_to && span->wall_from == span->wall_to;
}

static unsigned state_at(const struct known *known, int64_t boot_ms, int64_t wall_ms)
{
	if (boot_ms >= known->dead_ms || (known->hard_end_ms != 0 && wall_ms >= known->hard_end_ms))
		return MAY_MISS;
	if (known->as == KNOWN_ABSENT)
		return MAY_ABSENT;
	return boot_ms < known->fresh_until_ms ? MAY_FRESH : MAY_STALE;
}

/* Between two borders nothing changes: looking at both ends and at the borders is looking at every time. A slack is as if it were earlier. */
static unsigned states_by_time(const struct known *known, const struct span *span)
{
	int64_t from = span->boot_from - known->times_slack, to = span->boot_to;
	const int64_t times[] = { from, to, known->fresh_until_ms, known->dead_ms };
	unsigned states = 0;

	for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++)
		if (times[i] >= from && times[i] <= to)
			states |= state_at(known, times[i], span->wall_from) | state_at(known, times[i], span->wall_to);
	return states;
}

unsigned model_states(const struct known *known, const struct span *span)
{
	if (known->as == KNOWN_NONE)
		return MAY_MISS;
	return states_by_time(known, span) | (known->ended ? MAY_MISS : 0);
}

unsigned model_bit(int result)
{
	switch (result) {
	case LARDER_OK:
		return MAY_FRESH;
	case LARDER_STALE:
		return MAY_STALE;
	case LARDER_ABSENT:
		return MAY_ABSENT;
	case LARDER_MISS:
		return MAY_MISS;
	default:
		return 0;
	}
}

static void set_times(struct known *known, const struct span *span, int64_t ttl_ms, int64_t stale_ms)
{
	known->fresh_until_ms = span->boot_from + ttl_ms;
	known->dead_ms = known->fresh_until_ms + (known->as == KNOWN_ABSENT ? 0 : stale_ms);
	known->times_slack = span->boot_to - span->boot_from;
}

void model_put(struct known *known, const struct span *span, enum known_as as, const struct larder_store *store, size_t len, uint64_t version)
{
	memset(known, 0, sizeof(*known));
	known->as = as;
	known->flags = store->flags;
	known->len = len;
	known->version = version;
	known->created_ms = span->boot_from;
	known->created_slack = span->boot_to - span->boot_from;
	known->hard_end_ms = store->hard_end_ms;
	set_times(known, span, store->ttl_ms, store->stale_ms);
	model_wall_was(known, span->wall_to);
}

void model_touch(struct known *known, const struct span *span, int64_t ttl_ms, int64_t stale_ms)
{
	set_times(known, span, ttl_ms, stale_ms);
}

void model_remove(struct known *known)
{
	memset(known, 0, sizeof(*known));
}

void model_missed(struct known *known, const struct span *span)
{
	/* The boot clock never goes back. Past a hard end it may be there again when the wall clock does; before it, it was removed. */
	if (known->hard_end_ms == 0 || !(states_by_time(known, span) & MAY_MISS))
		model_remove(known);
}

void model_wall_was(struct known *known, int64_t wall_ms)
{
	if (known->hard_end_ms != 0 && known->hard_end_ms <= wall_ms)
		known->ended = 1;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int are_times(const struct known *known, const struct span *span, const struct larder_value *value, int64_t later_ms)
{
	int64_t end_ms = known->hard_end_ms ? known->hard_end_ms - span->wall_from : INT64_MAX;

	return value->fresh_ms == least(known->fresh_until_ms + later_ms - span->boot_from, end_ms) &&
	    value->left_ms == least(known->dead_ms + later_ms - span->boot_from, end_ms);
}

static int find_times(struct known *known, const struct span *span, const struct larder_value *value)
{
	int64_t later_ms = 0, more_ms = 0;

	while (later_ms <= known->times_slack && !are_times(known, span, value, later_ms))
		later_ms++;
	if (later_ms > known->times_slack)
		return 0;
	/* Behind a hard end several will do. */
	while (later_ms + more_ms < known->times_slack && are_times(known, span, value, later_ms + more_ms + 1))
		more_ms++;
	known->fresh_until_ms += later_ms;
	known->dead_ms += later_ms;
	known->times_slack = more_ms;
	return 1;
}

const char *model_found(struct known *known, const struct span *span, const struct larder_value *value)
{
	int64_t created_ms = span->boot_from - value->age_ms;

	if (created_ms < known->created_ms || created_ms > known->created_ms + known->created_slack)
		return "age";
	known->created_ms = created_ms;
	known->created_slack = 0;
	if (!find_times(known, span, value))
		return "times left";
	if (value->hard_end_ms != known->hard_end_ms)
		return "hard end";
	if (value->flags != known->flags)
		return "flags";
	return value->len == known->len ? NULL : "length";
}
