/* SPDX-License-Identifier: MIT */
/**
 * An explorer for tests of state machines: every state that can be reached from a first one, breadth first, each once, with the step that led to it.
 * A state is a test's own struct, compared as memory: it must have no padding.
 *
 *     states_begin(sizeof(struct state), 1 << 20, tell_state);
 *     states_add(&start, 0, "start");
 *     for (uint32_t at = 0; at < states_count(); at++)      every step from states_at(at), each ends with states_add(&after, at, "name")
 *
 * One explorer in a process; include cmocka.h first.
 */
#ifndef LD_TESTS_LIB_STATES_H
#define LD_TESTS_LIB_STATES_H

#include <stddef.h>
#include <stdint.h>

/** Begin anew, with room for so many states; what was found before is freed. tell: prints a state, and how it was reached. */
void states_begin(size_t state_size, uint32_t max, void (*tell)(const char *how, const void *state));
/** Free all. */
void states_end(void);

/** This state was reached from that one: kept unless it is known. how is copied. */
void states_add(const void *state, uint32_t from, const char *how);
uint32_t states_count(void);
/** Borrowed; stays where it is. */
const void *states_at(uint32_t at);

/** Unless right: print the way to a state, and what its step did wrong; fail the test. */
void states_must(int right, const char *what, uint32_t at, const char *how);

#endif
