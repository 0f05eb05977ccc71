/* SPDX-License-Identifier: MIT */
/* The log of the breaker's transitions (replay_breaker.h). Written by the workers, some of which are killed, and read by the master meanwhile:
 *
 *     worker A   number 1    state, name    at (release)                          killed before `at`: the reader passes slot 1 over
 *     worker B        number 2    state, name    at (release)
 *     master                            reads 2, not 1           reads 1, 2
 *
 * The latest state is one word with the number in it, so that a writer that is slow does not put an older state over a newer one. */
#include "replay_breaker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE_BITS 2
#define STATE_MASK 3u

void replay_breaker_note(struct replay_breaker_log *log, enum larder_breaker_state state, const char *transition, int64_t at_ns)
{
	uint32_t index = atomic_fetch_add_explicit(&log->count, 1, memory_order_relaxed);
	uint64_t mine = ((uint64_t)index + 1) << STATE_BITS | ((uint32_t)state & STATE_MASK);
	uint64_t now = atomic_load_explicit(&log->now, memory_order_relaxed);

	while (now < mine && !atomic_compare_exchange_weak_explicit(&log->now, &now, mine, memory_order_relaxed, memory_order_relaxed))
		;
	if (index >= REPLAY_TRANSITIONS_MAX)
		return;
	struct replay_transition_slot *slot = &log->slots[index];
	slot->state = (int32_t)state;
	snprintf(slot->name, sizeof(slot->name), "%s", transition);
	/* release; pairs with the acquire in replay_breaker_read() */
	atomic_store_explicit(&slot->at_ns, at_ns, memory_order_release);
}

enum larder_breaker_state replay_breaker_state(struct replay_breaker_log *log)
{
	return (enum larder_breaker_state)(atomic_load_explicit(&log->now, memory_order_relaxed) & STATE_MASK);
}

const char *replay_breaker_name(enum larder_breaker_state state)
{
	switch (state) {
	case LARDER_BREAKER_OPEN:
		return "open";
	case LARDER_BREAKER_HALF_OPEN:
		return "half-open";
	case LARDER_BREAKER_CLOSED:
		break;
	}
	return "closed";
}

uint32_t replay_breaker_count(struct replay_breaker_log *log)
{
	return atomic_load_explicit(&log->count, memory_order_relaxed);
}

static int compare(const void *a, const void *b)
{
	const struct replay_transition *one = a, *other = b;
	return (one->at_ns > other->at_ns) - (one->at_ns < other->at_ns);
}

size_t replay_breaker_read(struct replay_breaker_log *log, struct replay_transition *into)
{
	uint32_t noted = replay_breaker_count(log);
	size_t count = 0;

	for (uint32_t i = 0; i < noted && i < REPLAY_TRANSITIONS_MAX; i++) {
		const struct replay_transition_slot *slot = &log->slots[i];
		/* acquire; pairs with the release in replay_breaker_note() */
		int64_t at_ns = atomic_load_explicit(&slot->at_ns, memory_order_acquire);
		if (at_ns == 0)
			continue;
		into[count].at_ns = at_ns;
		into[count].state = (enum larder_breaker_state)slot->state;
		memcpy(into[count].name, slot->name, sizeof(slot->name));
		count++;
	}
	qsort(into, count, sizeof(*into), compare);
	return count;
}

/* From a moment to the first transition into a state after it and before an end; -1 = there is none. */
static int64_t time_to(const struct replay_transition *transitions, size_t count, enum larder_breaker_state state, int64_t from_ns, int64_t end_ns)
{
	for (size_t i = 0; i < count; i++)
		if (transitions[i].state == state && transitions[i].at_ns >= from_ns && transitions[i].at_ns < end_ns)
			return transitions[i].at_ns - from_ns;
	return -1;
}

struct replay_reaction replay_breaker_reaction(const struct replay_transition *transitions, size_t count, int64_t killed_ns, int64_t returned_ns)
{
	struct replay_reaction reaction = { -1, -1 };

	if (killed_ns != 0)
		reaction.open_ns = time_to(transitions, count, LARDER_BREAKER_OPEN, killed_ns, returned_ns ? returned_ns : INT64_MAX);
	if (returned_ns != 0)
		reaction.recover_ns = time_to(transitions, count, LARDER_BREAKER_CLOSED, returned_ns, INT64_MAX);
	return reaction;
}
