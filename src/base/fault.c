/* SPDX-License-Identifier: MIT */
/*
 * Kills, stops or fails the process where a test's plan says so. Only the build with LARDER_FAULTS has any code here; what is
 * shipped contains none of it. Called through LD_FAULT() and LD_POINT() alone.
 *
 * The plan is shared by processes that all pass the same point:
 *
 *     worker A   countdown 2 -> 1   goes on
 *     worker B   countdown 1 -> 0   acts
 *     worker C   countdown 0        goes on
 *
 * The countdown is moved by compare-and-swap, never by a plain decrement, so exactly one pass sees 1 -> 0.
 */
#include "base/fault.h"

#ifdef LARDER_FAULTS

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static _Atomic(struct ld_fault_plan *) current;

static const char *const names[LD_FAULT_POINTS] = {
#define LD_FAULT_ROW(name, text) [LD_FAULT_##name] = #name,
#include "base/fault.def"
#undef LD_FAULT_ROW
};

void ld_fault_use(struct ld_fault_plan *plan)
{
	/* Release; pairs with the acquire in ld_fault_current(): whoever sees the plan sees what the test wrote into it. */
	atomic_store_explicit(&current, plan, memory_order_release);
}

struct ld_fault_plan *ld_fault_current(void)
{
	return atomic_load_explicit(&current, memory_order_acquire);
}

const char *ld_fault_name(enum ld_fault_point point)
{
	return (unsigned)point < LD_FAULT_POINTS ? names[point] : "unknown";
}

/* Is this pass meant, and is it the one that takes the countdown from 1 to 0? */
static int is_due(struct ld_fault_plan *plan, enum ld_fault_point point)
{
	int32_t pid = atomic_load(&plan->pid);
	int64_t left;

	if (atomic_load(&plan->action) == LD_FAULT_NOTHING || atomic_load(&plan->point) != (uint32_t)point)
		return 0;
	if (pid != 0 && pid != (int32_t)getpid())
		return 0;
	left = atomic_load(&plan->countdown);
	while (left > 0) {
		if (atomic_compare_exchange_weak(&plan->countdown, &left, left - 1))
			return left == 1;
	}
	return 0;
}

static void die(void)
{
	(void)kill(getpid(), SIGKILL);
	for (;;)
		(void)pause();
}

static int act(struct ld_fault_plan *plan)
{
	uint32_t action = atomic_load(&plan->action);

	atomic_fetch_add(&plan->acted, 1);
	if (action == LD_FAULT_KILL)
		die();
	/* To this thread: a signal to the process may be taken by another one, and this one would go on for a moment. */
	if (action == LD_FAULT_STOP)
		(void)raise(SIGSTOP);
	return action == LD_FAULT_ERROR ? atomic_load(&plan->error) : 0;
}

int ld_fault_pass(enum ld_fault_point point)
{
	struct ld_fault_plan *plan = ld_fault_current();

	if (plan == NULL || (unsigned)point >= LD_FAULT_POINTS)
		return 0;
	atomic_fetch_add(&plan->passed[point], 1);
	return is_due(plan, point) ? act(plan) : 0;
}

#endif
