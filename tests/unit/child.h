/* SPDX-License-Identifier: MIT */
/**
 * Children for unit tests: a piece of a test that runs in a forked process of its own. A child must not use cmocka's assertions,
 * which would go on with the parent's test; it says what it found with its exit status.
 */
#ifndef LARDER_TESTS_UNIT_CHILD_H
#define LARDER_TESTS_UNIT_CHILD_H

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/** For child_run(): leave with the number of the line at fault (1..250 as a status), so that a failure can be found. */
#define CHILD_CHECK(condition) \
	do { \
		if (!(condition)) \
			_exit(__LINE__ % 250 + 1); \
	} while (0)

/** Fork, run fn(arg) in the child, _exit(0) after it. Returns the pid, -1 when fork failed. */
static inline pid_t child_start(void (*fn)(void *), void *arg)
{
	pid_t pid = fork();

	if (pid == 0) {
		fn(arg);
		_exit(0);
	}
	return pid;
}

/** Wait for a child: its exit status, 256 + the signal that killed it, or -1. */
static inline int child_end(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -1;
	}
	return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

static inline int child_run(void (*fn)(void *), void *arg)
{
	return child_end(child_start(fn, arg));
}

/** Zeroed memory that children share; NULL when there is none. Freed with munmap(). */
static inline void *child_share(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static inline int64_t child_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/** Poll until the condition holds, for at most ten seconds; its value then. */
#define CHILD_POLL(condition) \
	__extension__({ \
		int64_t poll_end_ = child_now_ms() + 10000; \
		while (!(condition) && child_now_ms() < poll_end_) \
			(void)usleep(500); \
		(condition); \
	})

/**
 * Meet: go on when `party` have come in all, since *ready was 0. Spins, so that threads go on at the same moment as nearly as they can, which those
 * that a barrier wakes do not.
 */
static inline void child_meet(_Atomic uint32_t *ready, uint32_t party)
{
	atomic_fetch_add(ready, 1);
	for (unsigned spins = 0; atomic_load(ready) < party; spins++)
		if (spins > 2000)
			(void)sched_yield();
}

#endif
