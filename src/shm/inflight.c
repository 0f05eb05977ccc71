/* SPDX-License-Identifier: MIT */
/*
 * Calls under way, over all slots. Asked before every call to L2.
 *
 *   A, B come to the last place    each counts itself in first and sums up then; both swaps come before both sums in one order of all
 *                                  (seq_cst), so at least the later one finds too many and counts itself out. It may be both.
 *   killed while counted in        its slot's process is dead: the sum leaves it out; who takes the slot sets it to 0.
 *   killed between in and out      the same.
 *   the slot changes hands while   the count is of the new process from then on, or 0: a sum is wrong by one call for a moment.
 *   it is summed up
 *   a thread leaves after its      the count there is another's, and may be 0 already: it is never taken below.
 *   process took another slot
 */
#include "shm/inflight.h"

static _Atomic uint32_t *count_of(const struct ld_inflight *inflight, uint32_t slot)
{
	return (_Atomic uint32_t *)(void *)((char *)inflight->first + inflight->stride_b * slot);
}

static uint64_t sum_of_all(const struct ld_inflight *inflight)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < inflight->slots; i++)
		sum += atomic_load(count_of(inflight, i));
	return sum;
}

uint64_t ld_inflight_sum(const struct ld_inflight *inflight)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < inflight->slots; i++) {
		uint32_t count = atomic_load(count_of(inflight, i));

		if (count != 0 && (i == inflight->self || inflight->alive(inflight->ctx, i)))
			sum += count;
	}
	return sum;
}

int ld_inflight_enter(const struct ld_inflight *inflight, uint32_t bound)
{
	/* seq_cst, as the loads of the sum: see above */
	atomic_fetch_add(count_of(inflight, inflight->self), 1);
	/* Who lives is a system call a slot: not asked while it makes no difference. */
	if (sum_of_all(inflight) <= bound || ld_inflight_sum(inflight) <= bound)
		return 1;
	ld_inflight_leave(inflight);
	return 0;
}

void ld_inflight_leave(const struct ld_inflight *inflight)
{
	_Atomic uint32_t *count = count_of(inflight, inflight->self);
	uint32_t now = atomic_load(count);

	while (now != 0 && !atomic_compare_exchange_weak(count, &now, now - 1))
		;
}
