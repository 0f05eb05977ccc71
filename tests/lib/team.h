/* SPDX-License-Identifier: MIT */
/**
 * For tests with several processes: a team of child processes around one cache in a directory of its own, memory that they share, and a
 * way for a child to say what it found.
 *
 * A child must not use cmocka's assertions, which would go on with its parent's test: it uses TEAM_CHECK(), which also works in the parent, in
 * any thread. Nothing here waits without a deadline: a child that does not come to its end is killed, and the test fails.
 */
#ifndef LARDER_TESTS_LIB_TEAM_H
#define LARDER_TESTS_LIB_TEAM_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include <larder/inspect.h>

#include "base/fault.h"

/** Longest time anything may take that should take milliseconds; a test that gets there has found a hang. */
enum { TEAM_DEADLINE_MS = 60000 };

/**
 * Read --long, LARDER_LONG and LARDER_SEED (or LARDER_TEST_LONG, LARDER_TEST_SEED), print the seed; call it first in main(). Any other argument is
 * a pattern of the tests to be made.
 */
void team_begin(int argc, char **argv);
int team_is_long(void);
uint64_t team_seed(void);
/** The first number for `make check`, the second for the long form. */
uint64_t team_size(uint64_t usual, uint64_t lengthy);

/** xorshift64*; state must not be 0. */
uint64_t team_random(uint64_t *state);

/** Say what is wrong, once for the team, and end: the process if it is a child, the test if it is the parent. */
void team_fail(const char *file, int line, const char *format, ...) __attribute__((noreturn, format(printf, 3, 4)));
#define TEAM_CHECK(condition) ((condition) ? (void)0 : team_fail(__FILE__, __LINE__, "%s", #condition))
#define TEAM_FAIL(...) team_fail(__FILE__, __LINE__, __VA_ARGS__)
/** Compare a result, naming both. */
#define TEAM_EXPECT(result, expected) team_expect(__FILE__, __LINE__, #result, (result), (expected))
void team_expect(const char *file, int line, const char *what, int64_t is, int64_t expected);

/** Zeroed memory that children share. Fails the test when there is none. */
void *team_share(size_t size);
void team_unshare(void *memory, size_t size);

int64_t team_now_ms(void);
int64_t team_now_us(void);
/** Poll until the condition holds, for at most limit_ms; 1 if it did. */
#define TEAM_POLL(limit_ms, condition) \
	__extension__({ \
		int64_t poll_end_ = team_now_ms() + (limit_ms); \
		int poll_held_; \
		while (!(poll_held_ = (condition) ? 1 : 0) && team_now_ms() < poll_end_) \
			team_pause(); \
		poll_held_; \
	})
/** A moment between two looks. */
void team_pause(void);

/** Fork, run fn(arg) in the child, which dies with its parent; _exit(0) after it. */
pid_t team_start(void (*fn)(void *), void *arg);
/** Wait for its end: exit status, or 256 + the signal that killed it. One that does not end is killed and fails the test. */
int team_end(pid_t pid);
/** Wait for its end, which must be exit(0): otherwise fail with what it said. */
void team_join(pid_t pid);
void team_run(void (*fn)(void *), void *arg);
/** SIGKILL and wait. */
void team_kill(pid_t pid);
/** Wait until a signal has stopped it. */
void team_await_stop(pid_t pid);
/** 1 if it has been stopped by now. */
int team_is_stopped(pid_t pid);
/** 1 if it has ended, and is still to be waited for. */
int team_has_ended(pid_t pid);
void team_continue(pid_t pid);

/** A point that `parties` processes must reach before any goes on; in shared memory, zeroed. */
struct team_barrier {
	_Atomic uint32_t arrived, round;
};
void team_meet(struct team_barrier *barrier, uint32_t parties);

/** A directory for one cache, under $TMPDIR where that is set, else /dev/shm, or /tmp where that is small; removed with everything in it at the end of
 * the program. */
const char *team_directory(void);
/** Remove it now. */
void team_remove(const char *dir);
/** Bytes of shared memory that a secret is made of: the same for all of a program. */
#define TEAM_SECRET "SECRET=a secret of the tests, of thirty-two bytes or more"

/** Open the cache of a directory without the environment; settings end with NULL: team_open(dir, "SIZE=8M", NULL). */
larder *team_open(const char *dir, ...) __attribute__((sentinel));
/** The same, giving the result and, unless NULL, the text. */
int team_try_open(larder **ret_cache, char **ret_why, const char *dir, ...) __attribute__((sentinel));
larder_tenant *team_tenant(larder *cache, const char *tenant);
larder_inspector *team_inspect(const char *dir);

#ifdef LARDER_FAULTS
/** The plan of this program, shared with children; made at the first call. */
struct ld_fault_plan *team_plan(void);
/** Arm it for one process (0 = any): the pass number `pass` of the point acts. */
void team_arm(enum ld_fault_point point, enum ld_fault_action action, pid_t pid, int64_t pass);
void team_disarm(void);
#endif

#endif
