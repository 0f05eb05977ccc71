/* SPDX-License-Identifier: MIT */
/*
 * How many threads are at work, and the handler that waits for them. Called by the threads of cache/ and l2/, and when the process ends. It must never hold
 * that up for longer than WAIT_MS.
 *
 *   begin after the handler has looked      refused: both are under the lock.
 *   a thread that is at work ends the       (from the host's log function) it does not wait for itself.
 *   process
 *   a child ends, forked in the midst       the count is the parent's: of another generation, it is 0 here.
 *   the cache is closed later still, by     the threads have returned, or return from their loaders: joining them does not wait for the handler.
 *   another handler
 *   killed, or ended without handlers       neither OpenSSL's run nor ours.
 */
#include "base/background.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/futex.h"
#include "base/process.h"

enum { WAIT_MS = 2000, LOCK_MS = 1000, LOOK_MS = 100 };

static struct ld_process_lock lock;    /* guards the next two; held for a few lines */
static uint64_t counted;               /* generation of the process that `inside` is of */
static _Atomic uint32_t inside;        /* threads at work; futex word, written under the lock */
static _Atomic uint64_t ending;        /* generation of the process whose handler has run; 0 = none */
static _Atomic int prepared;
static _Thread_local enum { ELSEWHERE, AT_WORK, STEPPED_OUT } here;

static int is_ending(void)
{
	return atomic_load(&ending) == ld_process_generation();
}

static void take_lock(void)
{
	while (ld_process_lock(&lock, LOCK_MS) != 0)
		;
	if (counted != ld_process_generation()) {
		counted = ld_process_generation();
		atomic_store(&inside, 0);
	}
}

static void wait_for_others(void)
{
	int64_t end_ms = ld_clock_boot_ms() + WAIT_MS;
	uint32_t own = here == AT_WORK, now;

	while ((now = atomic_load(&inside)) > own && ld_clock_boot_ms() < end_ms)
		ld_futex_wait(&inside, now, LOOK_MS);
}

static void at_exit(void)
{
	take_lock();
	atomic_store(&ending, ld_process_generation());
	ld_process_unlock(&lock);
	wait_for_others();
}

void ld_background_prepare(void)
{
	if (!atomic_exchange(&prepared, 1))
		(void)atexit(at_exit);
}

int ld_background_begin(void)
{
	int may;

	take_lock();
	may = !is_ending();
	if (may) {
		atomic_fetch_add(&inside, 1);
		here = AT_WORK;
	}
	ld_process_unlock(&lock);
	return may;
}

static void leave(void)
{
	take_lock();
	atomic_fetch_sub(&inside, 1);
	ld_process_unlock(&lock);
	/* Who comes to wait later, under the lock, finds the count as it is. */
	if (is_ending())
		ld_futex_wake(&inside, 1);
}

void ld_background_end(void)
{
	if (here == AT_WORK)
		leave();
	here = ELSEWHERE;
}

int ld_background_is_over(void)
{
	return here != ELSEWHERE && is_ending();
}

void ld_background_step_out(void)
{
	if (here != AT_WORK)
		return;
	leave();
	here = STEPPED_OUT;
}

int ld_background_step_in(void)
{
	return here != STEPPED_OUT || ld_background_begin();
}
