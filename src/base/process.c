/* SPDX-License-Identifier: MIT */
/*
 * The number of this process, a lock that survives fork, and what /proc says of other processes. Called by every data call (the
 * number) and by whatever attaches. It must never need a call from the application after fork.
 *
 * The number, in the order of its bits: how many forks lie between the first process and this one, the pid, the time in
 * milliseconds. The first part alone differs from every ancestor's, whose number a lock may still hold; the other two tell
 * siblings apart.
 *
 *     parent   page: 7   ancestor: 7
 *       fork   page: 0   ancestor: 7      the kernel wipes the page and copies everything else
 *     child    page: 8   ancestor: 8      the first call finds 0 and counts on
 *
 * `ancestor` is written before the page: a fork between the two may skip a number, and never repeats one.
 */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

#define PID_BITS 22     /* PID_MAX_LIMIT of Linux */
#define TIME_BITS 22
#define DEPTH_BITS 20
#define MASK(bits) ((UINT64_C(1) << (bits)) - 1)
#define BUDGET_MAX_MS INT64_C(86400000)

static _Atomic(_Atomic uint64_t *) published;   /* the word that is 0 in a new child; NULL before the first call */
static _Atomic uint64_t fallback;               /* that word where no page can be wiped by the kernel */
static _Atomic uint64_t ancestor;               /* forks since the first process, as of the last count */

static void wipe_in_child(void)
{
	atomic_store(&fallback, 0);
}

static void *map_page(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	if (LD_FAULT(process_page) != 0 || madvise(page, size, MADV_WIPEONFORK) != 0) {
		(void)munmap(page, size);
		return NULL;
	}
	return page;
}

/* Two threads may both come here: the second one's page is given back; a handler registered twice wipes twice, harmlessly. */
static _Atomic uint64_t *publish(void)
{
	void *page = map_page();
	_Atomic uint64_t *word = page;
	_Atomic uint64_t *before = NULL;

	if (page == NULL) {
		/* Without the handler nothing is published, so that the next call tries again. */
		if (pthread_atfork(NULL, NULL, wipe_in_child) != 0)
			return &fallback;
		word = &fallback;
	}
	if (atomic_compare_exchange_strong(&published, &before, word))
		return word;
	if (page != NULL)
		(void)munmap(page, (size_t)sysconf(_SC_PAGESIZE));
	return before;
}

static uint64_t count_on(_Atomic uint64_t *word)
{
	uint64_t depth = (atomic_load(&ancestor) + 1) & MASK(DEPTH_BITS);
	uint64_t pid = (uint64_t)getpid() & MASK(PID_BITS);
	uint64_t now = (uint64_t)ld_clock_boot_ms() & MASK(TIME_BITS);
	uint64_t before = 0;
	uint64_t mine = depth << (PID_BITS + TIME_BITS) | pid << TIME_BITS | now;

	atomic_store(&ancestor, depth);
	/* Never 0: a pid is not. Another thread of this process may have been first; then its number counts. */
	return atomic_compare_exchange_strong(word, &before, mine) ? mine : before;
}

uint64_t ld_process_generation(void)
{
	/* Acquire; pairs with the exchange in publish(): the word's page is there when its address is. */
	_Atomic uint64_t *word = atomic_load_explicit(&published, memory_order_acquire);
	uint64_t mine;

	if (__builtin_expect(word == NULL, 0))
		word = publish();
	mine = atomic_load_explicit(word, memory_order_relaxed);
	return __builtin_expect(mine != 0, 1) ? mine : count_on(word);
}

/*
 * The lock. A waiter raises `wait` before it tries again; who unlocks lowers it after freeing the owner word:
 *
 *     waiter    wait = 1          try: owner is held           sleep while wait == 1
 *     holder             owner = 0            wait: 1 -> 0, wake one
 *
 * All four are sequentially consistent, so either the waiter's try sees owner == 0, or the holder sees wait == 1. One wake is
 * enough for many sleepers: whoever is woken raises `wait` again before it tries, and so owes the next one a wake. A wake is
 * never lost with a waiter whose time is over: it tries once more before it gives up.
 *
 * When the holder is a thread that fork left behind, owner holds an ancestor's number and is simply taken.
 */
static int try_lock(struct ld_process_lock *lock, uint64_t mine)
{
	uint64_t owner = 0;

	if (atomic_compare_exchange_strong(&lock->owner, &owner, mine))
		return 1;
	return owner != mine && atomic_compare_exchange_strong(&lock->owner, &owner, mine);
}

static struct timespec deadline_after(int64_t budget_ms)
{
	struct timespec at = { 0, 0 };

	if (budget_ms > BUDGET_MAX_MS)
		budget_ms = BUDGET_MAX_MS;
	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += (time_t)(budget_ms / 1000);
	at.tv_nsec += (long)(budget_ms % 1000) * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

/* Returns -1 when the deadline has passed. FUTEX_WAIT_BITSET, because its time is absolute. */
static int sleep_until(struct ld_process_lock *lock, const struct timespec *deadline)
{
	long rc = syscall(SYS_futex, &lock->wait, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 1, deadline, NULL,
	    FUTEX_BITSET_MATCH_ANY);

	return rc != 0 && errno == ETIMEDOUT ? -1 : 0;
}

int ld_process_lock(struct ld_process_lock *lock, int64_t budget_ms)
{
	uint64_t mine = ld_process_generation();
	struct timespec deadline;
	int late = 0;

	if (try_lock(lock, mine))
		return 0;
	if (budget_ms <= 0)
		return -1;
	deadline = deadline_after(budget_ms);
	for (;;) {
		atomic_store(&lock->wait, 1);
		if (try_lock(lock, mine))
			return 0;
		if (late)
			return -1;
		late = sleep_until(lock, &deadline) != 0;
	}
}

void ld_process_unlock(struct ld_process_lock *lock)
{
	atomic_store(&lock->owner, 0);
	if (atomic_exchange(&lock->wait, 0) != 0)
		(void)syscall(SYS_futex, &lock->wait, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

/* What follows the command's name in /proc/PID/stat: " S 1 ..." from field 3 on; NULL when there is no such process. */
static const char *read_stat(int pid, char *buffer, size_t size)
{
	char path[64];
	ssize_t got;
	char *end;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	got = read(fd, buffer, size - 1);
	(void)close(fd);
	if (got <= 0)
		return NULL;
	buffer[got] = '\0';
	/* The name may hold blanks and brackets; the last bracket ends it. */
	end = strrchr(buffer, ')');
	return end == NULL ? NULL : end + 1;
}

uint64_t ld_process_start_time(int pid)
{
	char buffer[1024];
	const char *at = read_stat(pid, buffer, sizeof(buffer));

	for (int field = 2; at != NULL && field < 22; field++) {
		at = strchr(at, ' ');
		if (at != NULL)
			at++;
	}
	return at == NULL ? 0 : strtoull(at, NULL, 10);
}

char ld_process_state(int pid)
{
	char buffer[1024];
	const char *at = read_stat(pid, buffer, sizeof(buffer));

	return at == NULL || at[0] != ' ' ? '\0' : at[1];
}

uint64_t ld_process_namespace(const char *kind)
{
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
	return stat(path, &st) != 0 ? 0 : (uint64_t)st.st_ino;
}
