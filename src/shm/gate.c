/* SPDX-License-Identifier: MIT */
/*
 * A lock with a deadline, on one futex. Called by l1/ around everything in LMDB that may block.
 *
 * Races, with A the holder and B, C waiters:
 *
 *   A leaves while B goes to sleep    B sets `waiting`, then looks at `holder` again, then sleeps only while `wake` still has the value
 *                                     it read before that look. A clears `holder`, then takes `waiting`, then counts `wake` up. Either
 *                                     B sees holder == 0, or A sees waiting == 1 and B's sleep returns at once.
 *   B is woken, C still sleeps        A wakes one and has cleared `waiting`; B sets it again before each sleep and after a sleep that
 *                                     ended in taking the gate, so that B's own leaving wakes C.
 *   B is killed while it sleeps       `waiting` may stay 1 for nobody: one idle wake call at the next leave.
 *   B is killed right after A woke it C's wake-up is lost; sleeps are at most SLICE_MAX_MS long, so C looks again by itself.
 *   A is killed holding               the number stays. Waiters ask after each slice whether A lives; the one whose compare-and-swap
 *                                     from A's exact number succeeds has it. A number carries the slot's incarnation, so a new process
 *                                     in A's slot has another one and cannot be mistaken for A.
 *   A is killed after holder = 0      nothing is held; a wake-up may be lost, as above.
 *   A is stopped holding              waiters time out; nobody takes it.
 *   A, in a loop, takes it again      A waiter that has waited for a quarter of its time says so in `hungry_ms`; a newcomer that sees it waits
 *   before B, woken, runs             a slice before it tries. Killed while hungry: the word is too old to count after STAND_BACK_MS.
 *   B takes, is killed or preempted   `since_ms` is 0, for the last holder cleared it before it left: others wait for their own time
 *   before since_ms is written        only. After a take-over it may be the dead holder's: others give up sooner than they must.
 */
#include "shm/gate.h"

#include "base/clock.h"
#include "base/futex.h"

/*
 * First and longest sleep without asking whether the holder lives: each is twice as long as the one before, for a thousand waiters that all ask every
 * two milliseconds, or every 64, would leave the holder no time to run; how long a hungry waiter keeps newcomers back; looks before the first sleep.
 */
enum { SLICE_MS = 2, SLICE_MAX_MS = 512, STAND_BACK_MS = 3, SPINS = 60, PAUSES = 20, STOPPED_BUDGETS = 5 };

static void pause_briefly(void)
{
	for (int i = 0; i < PAUSES; i++)
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#else
		atomic_signal_fence(memory_order_seq_cst);
#endif
}

static int try_take(struct ld_gate *gate, uint64_t from, uint64_t self)
{
	/* acquire (and more): pairs with the store in ld_gate_leave() */
	if (!atomic_compare_exchange_strong_explicit(&gate->holder, &from, self, memory_order_seq_cst, memory_order_relaxed))
		return 0;
	atomic_store_explicit(&gate->since_ms, ld_clock_boot_ms(), memory_order_relaxed);
	return 1;
}

/* Is it worth waiting for this holder? Until our own time is over, or it has had the gate for so long that it is stopped, not just preempted. */
static int64_t time_left(struct ld_gate *gate, int64_t start_ms, int64_t now_ms, int64_t budget_ms)
{
	int64_t since = atomic_load_explicit(&gate->since_ms, memory_order_relaxed);
	int64_t own = start_ms + budget_ms - now_ms;
	int64_t holders = since + STOPPED_BUDGETS * budget_ms - now_ms;

	return since == 0 || own < holders ? own : holders;
}

static void sleep_slice(struct ld_gate *gate, uint64_t holder, int64_t wait_ms)
{
	uint32_t seen = atomic_load(&gate->wake);

	atomic_store(&gate->waiting, 1);
	if (atomic_load(&gate->holder) == holder)
		ld_futex_wait(&gate->wake, seen, wait_ms);
}

static int is_anybody_hungry(struct ld_gate *gate)
{
	int64_t hungry_ms = atomic_load_explicit(&gate->hungry_ms, memory_order_relaxed);

	return hungry_ms != 0 && ld_clock_boot_ms() - hungry_ms < STAND_BACK_MS;
}

/* Holders are quick as a rule: look a few times before sleeping. */
static int spin(struct ld_gate *gate, uint64_t self)
{
	for (int i = 0; i < SPINS; i++) {
		pause_briefly();
		if (atomic_load_explicit(&gate->holder, memory_order_relaxed) == 0 && try_take(gate, 0, self))
			return 1;
	}
	return 0;
}

/* One who waits. */
struct wait {
	struct ld_gate *gate;
	const struct ld_gate_user *user;
	int64_t start_ms, budget_ms, slice_ms;
	int slept, hungry;
};

static void eat(struct wait *wait)
{
	if (wait->hungry)
		atomic_store_explicit(&wait->gate->hungry_ms, 0, memory_order_relaxed);
	/* Others may sleep: our leaving shall wake one. */
	if (wait->slept)
		atomic_store(&wait->gate->waiting, 1);
}

/* Look once, then sleep a slice. Returns 1 to go on waiting, or with the result. */
static int wait_slice(struct wait *wait, enum ld_gate_result *ret_result)
{
	struct ld_gate *gate = wait->gate;
	uint64_t holder = atomic_load(&gate->holder), self = wait->user->self;
	int64_t now_ms, left;

	if (holder == 0) {
		*ret_result = LD_GATE_TAKEN;
		return !try_take(gate, 0, self);
	}
	now_ms = ld_clock_boot_ms();
	left = time_left(gate, wait->start_ms, now_ms, wait->budget_ms);
	if ((wait->slept || left <= 0) && holder != self && !wait->user->alive(wait->user->ctx, holder)) {
		*ret_result = LD_GATE_TAKEN_OVER;
		return !try_take(gate, holder, self);
	}
	*ret_result = LD_GATE_TIMEOUT;
	if (left <= 0)
		return 0;
	/* One of them says so for all, and goes on saying it, with short sleeps. */
	if (now_ms - wait->start_ms >= wait->budget_ms / 4 && (wait->hungry || !is_anybody_hungry(gate))) {
		wait->hungry = 1;
		wait->slice_ms = SLICE_MS;
		atomic_store_explicit(&gate->hungry_ms, now_ms, memory_order_relaxed);
	}
	sleep_slice(gate, holder, left < wait->slice_ms ? left : wait->slice_ms);
	wait->slice_ms = 2 * wait->slice_ms < SLICE_MAX_MS ? 2 * wait->slice_ms : SLICE_MAX_MS;
	wait->slept = 1;
	return 1;
}

enum ld_gate_result ld_gate_take(struct ld_gate *gate, const struct ld_gate_user *user, int64_t budget_ms)
{
	struct wait wait = { gate, user, 0, budget_ms, SLICE_MS, 0, 0 };
	enum ld_gate_result result = LD_GATE_TIMEOUT;

	if (is_anybody_hungry(gate)) {
		wait.start_ms = ld_clock_boot_ms();
		sleep_slice(gate, atomic_load(&gate->holder), SLICE_MS);
	} else if (try_take(gate, 0, user->self) || spin(gate, user->self)) {
		return LD_GATE_TAKEN;
	} else {
		wait.start_ms = ld_clock_boot_ms();
	}
	while (wait_slice(&wait, &result))
		;
	if (result != LD_GATE_TIMEOUT)
		eat(&wait);
	return result;
}

void ld_gate_leave(struct ld_gate *gate)
{
	atomic_store_explicit(&gate->since_ms, 0, memory_order_relaxed);
	/* release (and more): pairs with the compare-and-swap in try_take() */
	atomic_store(&gate->holder, 0);
	if (atomic_exchange(&gate->waiting, 0)) {
		atomic_fetch_add(&gate->wake, 1);
		ld_futex_wake(&gate->wake, 1);
	}
}

int ld_gate_take_from(struct ld_gate *gate, uint64_t holder, uint64_t self)
{
	return try_take(gate, holder, self);
}

int ld_gate_leave_own(struct ld_gate *gate, uint64_t self)
{
	/* Not since_ms = 0 before it, as above: it may be a successor's. An old one makes a waiter give up sooner, no more. */
	return atomic_compare_exchange_strong(&gate->holder, &self, 0);
}
