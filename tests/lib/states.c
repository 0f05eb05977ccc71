/* SPDX-License-Identifier: MIT */
/* See states.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/states.h"

struct origin {
	uint32_t from;
	char how[24];
};

static unsigned char *found;       /* states, one after the other */
static struct origin *origins;     /* of each */
static uint32_t *table;            /* by hash: number of a state, plus one; 0 = free */
static uint32_t used, most;
static size_t size;
static void (*tell_state)(const char *how, const void *state);

void states_end(void)
{
	free(found);
	free(origins);
	free(table);
	found = NULL;
	origins = NULL;
	table = NULL;
	used = 0;
}

void states_begin(size_t state_size, uint32_t max, void (*tell)(const char *how, const void *state))
{
	states_end();
	size = state_size;
	most = max;
	tell_state = tell;
	found = calloc(max, state_size);
	origins = calloc(max, sizeof(*origins));
	table = calloc(2 * (size_t)max, sizeof(*table));
	assert_true(found && origins && table);
}

uint32_t states_count(void)
{
	return used;
}

const void *states_at(uint32_t at)
{
	return found + at * size;
}

void states_add(const void *state, uint32_t from, const char *how)
{
	const unsigned char *bytes = state;
	uint64_t hash = 1469598103934665603u;
	uint32_t at;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 1099511628211u;
	for (at = (uint32_t)(hash ^ hash >> 32) % (2 * most); table[at] != 0; at = (at + 1) % (2 * most))
		if (memcmp(states_at(table[at] - 1), state, size) == 0)
			return;
	assert_true(used < most);
	memcpy(found + used * size, state, size);
	origins[used].from = from;
	(void)snprintf(origins[used].how, sizeof(origins[used].how), "%s", how);
	table[at] = ++used;
}

static void tell_way(uint32_t at)
{
	if (at != 0)
		tell_way(origins[at].from);
	tell_state(origins[at].how, states_at(at));
}

void states_must(int right, const char *what, uint32_t at, const char *how)
{
	if (right)
		return;
	tell_way(at);
	print_message("#   then %s: not %s\n", how, what);
	fail();
}
