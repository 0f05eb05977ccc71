/* SPDX-License-Identifier: MIT */
/**
 * What the circuit breaker did during a run of `larder replay`: every process writes the transitions that it made into one log in shared memory, from
 * the callback of struct larder_options; the master reads it at any time, and sums an outage up.
 *
 * All zero is an empty log of a closed breaker. A process that is killed while it writes costs its own transition, nothing else. A replay has one
 * tenant, so one breaker.
 */
#ifndef LARDER_TOOL_REPLAY_BREAKER_H
#define LARDER_TOOL_REPLAY_BREAKER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <larder/larder.h>

/** Transitions that are kept, the first ones; later ones are counted. */
#define REPLAY_TRANSITIONS_MAX 256
#define REPLAY_TRANSITION_SIZE 36

struct replay_transition_slot {
	_Atomic int64_t at_ns;         /* CLOCK_MONOTONIC; 0 = not written yet. Stored last, release; pairs with the acquire of the reader */
	int32_t state;
	char name[REPLAY_TRANSITION_SIZE];
};
_Static_assert(sizeof(struct replay_transition_slot) == 48, "layout");

struct replay_breaker_log {
	_Atomic uint64_t now;          /* the latest: its number, from 1, times 4, and the state it led to. Swapped by whoever writes, relaxed */
	_Atomic uint32_t count;        /* numbers given; added to by whoever writes, relaxed */
	uint32_t padding;
	struct replay_transition_slot slots[REPLAY_TRANSITIONS_MAX];
};

struct replay_transition {
	int64_t at_ns;
	enum larder_breaker_state state;
	char name[REPLAY_TRANSITION_SIZE];
};

/** Write a transition down. Any process and thread. */
void replay_breaker_note(struct replay_breaker_log *log, enum larder_breaker_state state, const char *transition, int64_t at_ns);

/** Where the breaker is, as far as the log knows. */
enum larder_breaker_state replay_breaker_state(struct replay_breaker_log *log);
/** "closed", "open", "half-open"; static. */
const char *replay_breaker_name(enum larder_breaker_state state);

/** How many there were, those that are not kept included. */
uint32_t replay_breaker_count(struct replay_breaker_log *log);
/** Those that are kept, in the order of their times. into: room for REPLAY_TRANSITIONS_MAX. Returns how many. */
size_t replay_breaker_read(struct replay_breaker_log *log, struct replay_transition *into);

/** How long the host took to see an outage, and its end; -1 = it did not. */
struct replay_reaction {
	int64_t open_ns;               /* from the kill to the first time that it opened */
	int64_t recover_ns;            /* from the return to when it was closed */
};

/**
 * Sum an outage up. transitions in the order of their times; killed_ns, returned_ns: 0 = did not happen.
 * What it does between kill and return is its way to open; only what it does after the return counts as recovery.
 */
struct replay_reaction replay_breaker_reaction(const struct replay_transition *transitions, size_t count, int64_t killed_ns, int64_t returned_ns);

#endif
