/* SPDX-License-Identifier: MIT */
/*
 * The futex system call for words in shared memory. Called by shm/ and l1/. It must never be used without a time limit: whoever
 * should wake us may have been killed. FUTEX_WAIT counts a relative time on CLOCK_MONOTONIC, so wall-clock steps do not matter.
 */
#include "base/futex.h"

#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Longer than any wait that makes sense; a spurious return is allowed. */
#define WAIT_MAX_MS INT64_C(3600000)

void ld_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t wait_ms)
{
	struct timespec limit;

	if (wait_ms < 1)
		wait_ms = 1;
	if (wait_ms > WAIT_MAX_MS)
		wait_ms = WAIT_MAX_MS;
	limit.tv_sec = (time_t)(wait_ms / 1000);
	limit.tv_nsec = (long)(wait_ms % 1000) * 1000000;
	(void)syscall(SYS_futex, word, FUTEX_WAIT, expected, &limit, NULL, 0);
}

void ld_futex_wake(_Atomic uint32_t *word, int count)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}
