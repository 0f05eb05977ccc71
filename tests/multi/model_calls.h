/* SPDX-License-Identifier: MIT */
/**
 * What the processes of test_exact.c share, and the calls that they make at random. Each call is compared with what the model says.
 *
 * Locks, in their order; all in shared memory:
 *
 *   door          taken by everybody for a moment, to get at the own lock; kept by whoever wants to be alone
 *   own[process]  held through each call; whoever wants to be alone takes all of them
 *   locks[key]    held through each call that has to do with the key, in the order of the keys
 *
 * So calls on different keys run at once, and a clear, a listing or a step of a clock is alone.
 */
#ifndef LARDER_TESTS_MULTI_MODEL_CALLS_H
#define LARDER_TESTS_MULTI_MODEL_CALLS_H

#include <pthread.h>
#include <stdatomic.h>

#include "multi/model.h"

enum { MODEL_PROCESSES = 4, MODEL_TENANTS = 3, MODEL_SPACES = 3, MODEL_KEYS = MODEL_TENANTS * MODEL_SPACES * 32 };
/** Policies, as the settings must give them. */
enum { MODEL_TTL_MS = 40000, MODEL_STALE_MS = 10000, MODEL_NEGATIVE_MS = 5000, MODEL_VALUE_MAX = 150000 };

struct board {
	pthread_mutex_t door, own[MODEL_PROCESSES], locks[MODEL_KEYS];
	struct known known[MODEL_KEYS];
	_Atomic uint64_t version, found, missed, stored, removed;
	int64_t days;               /* that the wall clock is ahead */
};

/** One process. */
struct worker {
	struct board *board;
	unsigned index;
	uint64_t random;
	larder_tenant *tenants[MODEL_TENANTS];
	unsigned char value[MODEL_VALUE_MAX], buffer[MODEL_VALUE_MAX];
};

extern const char *const model_tenants[MODEL_TENANTS];
extern const char *const model_spaces[MODEL_SPACES];
/** Waits for long enough that no jump of the clock ends it. */
extern const struct larder_call model_patient;

unsigned model_draw(struct worker *worker, unsigned below);
/** From a millisecond to two days, each power of two as often as another. */
int64_t model_draw_time(struct worker *worker);
unsigned model_tenant_of(unsigned key);
unsigned model_space_of(unsigned key);

void model_make_locks(struct board *board);
void model_begin_alone(struct board *board);
void model_end_alone(struct board *board);

/** One call at random, beside others. */
void model_call(struct worker *worker);
/** Get a key; nobody else may be at it. */
void model_get(struct worker *worker, unsigned key);
/** Fail, with all that is known of the key. value may be NULL. */
void model_wrong(struct worker *worker, const char *what, unsigned key, const struct span *span, int result, const struct larder_value *value);

#endif
