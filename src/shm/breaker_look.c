/* SPDX-License-Identifier: MIT */
/*
 * A breaker for those who only look at it: tools, and whoever logs its transitions. Writes nothing. The numbers are read one after the other while
 * others write them, so two of them may be of two moments; each is right by itself.
 */
#include "shm/breaker.h"

static const char *const state_names[] = { "closed", "open", "half-open", "forced-open" };
static const char *const event_names[LD_BREAKER_EVENTS] = {
	[LD_BREAKER_NO_EVENT] = "none",
	[LD_BREAKER_OPENED_FAILURES] = "opened-failures",
	[LD_BREAKER_OPENED_ERRORS] = "opened-errors",
	[LD_BREAKER_OPENED_SLOW] = "opened-slow",
	[LD_BREAKER_HALF_OPENED] = "half-opened",
	[LD_BREAKER_REOPENED] = "reopened",
	[LD_BREAKER_CLOSED_AGAIN] = "closed",
	[LD_BREAKER_FORCED] = "forced-open",
	[LD_BREAKER_CLOSED_BY_HAND] = "closed-by-hand",
	[LD_BREAKER_RESET] = "reset",
};

const char *ld_breaker_state_name(enum ld_breaker_state state)
{
	return state_names[state & 3];
}

const char *ld_breaker_event_name(enum ld_breaker_event event)
{
	return (unsigned)event < LD_BREAKER_EVENTS ? event_names[event] : "unknown";
}

void ld_breaker_look(const struct ld_breaker *breaker, const struct ld_breaker_settings *settings, int64_t now_ms,
    struct ld_breaker_view *ret_view)
{
	uint64_t word = atomic_load_explicit(&breaker->word, memory_order_acquire);
	uint64_t streak = atomic_load_explicit(&breaker->streak, memory_order_relaxed);
	struct ld_breaker_view view = { .word = ld_breaker_unpack(word) };

	if (view.word.state == LD_BREAKER_CLOSED) {
		view.streak = ld_breaker_is_streak_of(streak, word) ? (uint32_t)(streak & LD_BREAKER_STREAK_MAX) : 0;
		view.window = ld_window_sum(&breaker->window, view.word.generation, settings->window_ms, now_ms);
	} else {
		view.retry_after_ms = view.word.state == LD_BREAKER_FORCED_OPEN ? -1 : ld_breaker_left(&view.word, now_ms);
	}
	view.opened_ms = atomic_load_explicit(&breaker->opened_ms, memory_order_relaxed);
	view.half_opened_ms = atomic_load_explicit(&breaker->half_opened_ms, memory_order_relaxed);
	view.closed_ms = atomic_load_explicit(&breaker->closed_ms, memory_order_relaxed);
	for (unsigned i = 0; i < LD_BREAKER_EVENTS; i++)
		view.events[i] = atomic_load_explicit(&breaker->events[i], memory_order_relaxed);
	view.refused = atomic_load_explicit(&breaker->refused, memory_order_relaxed);
	view.late = atomic_load_explicit(&breaker->late, memory_order_relaxed);
	view.probes = atomic_load_explicit(&breaker->probes, memory_order_relaxed);
	view.probes_lost = atomic_load_explicit(&breaker->probes_lost, memory_order_relaxed);
	view.failures = atomic_load_explicit(&breaker->failures, memory_order_relaxed);
	view.slow = atomic_load_explicit(&breaker->slow, memory_order_relaxed);
	view.neutral = atomic_load_explicit(&breaker->neutral, memory_order_relaxed);
	*ret_view = view;
}
