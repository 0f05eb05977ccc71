/* SPDX-License-Identifier: MIT */
/**
 * The checker of test_history.c, and the second level that its workers have.
 *
 * What is true of a key is one word, its source: the number of its newest version. Whoever sets, deletes, clears or invalidates first advances the source of
 * each key that is covered, and then calls larder; a loader gives what the source says when it is asked. So "older" is defined: version v is older than a write
 * when the call that wrote v had ended before that write began. All stamps come from one counter.
 *
 *     floor   of a key: when the newest of its writes that have completed began. A read notes it before it asks; what it is given must not have been
 *             written by a call that had ended by then.
 *     shown   of a key: when the newest version that anybody was given out of a tier was begun to be written. The same bound: a write that was killed may
 *             have come to pass or not, but not first the one and then the other.
 *
 * A write that was killed is over when its process has been waited for, and raises no floor. All in memory that the processes share, made before they fork.
 */
#ifndef LARDER_TESTS_MULTI_HISTORY_H
#define LARDER_TESTS_MULTI_HISTORY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <larder/larder.h>

enum { HISTORY_KEYS = 8, HISTORY_WORKERS = 6 };

/** Before the fork; history_free() after all have ended. */
void history_make(void);
void history_free(void);

/** What a loader gives now. */
uint64_t history_source(unsigned key);

/**
 * A write of the keys whose bits are in `keys` begins: their sources are advanced. call: a literal, for the message. ret_versions: of HISTORY_KEYS, written
 * for those keys. One at a time in a worker.
 */
void history_write(unsigned worker, const char *call, unsigned keys, uint64_t *ret_versions);
/** It has returned. Those of `promised` are such that nothing older may be given out from now on. */
void history_wrote(unsigned worker, unsigned promised, int result);
/** The worker is dead, and has been waited for. */
void history_died(unsigned worker);

/** Before a read of a key. */
struct history_read {
	uint64_t floor, shown;
};
struct history_read history_read(unsigned key);
/** It was given this version; `call` says by what. Fails the test if it may not be. */
void history_was_given(unsigned key, const struct history_read *read, uint64_t version, const struct larder_value *value, const char *call);

/* ---- the second level ---- */

enum history_l2_mode { L2_GOOD = 0, L2_FAILS, L2_CLOSES, L2_MODES };

/** Orders to it, and what it has done. */
struct history_l2 {
	_Atomic int mode, stop;
	_Atomic uint32_t settle, settled;
	_Atomic uint64_t gets, hits, same, puts, deletes, repeated, lost, refused;
};
/**
 * A service that really stores what is told to it: one process, never killed, with the clock of the team's plan. It answers after a while, carries writes out
 * after a while - also those of a client that is dead by then - and now and then carries one out without saying so. Writes are told apart by their
 * Idempotency-Key.
 */
struct history_l2 *history_l2_start(char *ret_setting, size_t size);
/** Whatever has been sent to it is carried out. Clients should be stopped. */
void history_l2_settle(void);
void history_l2_stop(void);

#endif
