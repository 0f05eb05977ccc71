/* SPDX-License-Identifier: MIT */
/**
 * How many calls to L2 does the host have under way? Each process counts its own in its slot, and the sum over the slots of live processes is
 * bounded (DESIGN decision 13): a shared counter would keep what a killed process had counted in for ever.
 *
 * Calling sequence: ld_inflight_enter(); if it let in, make the call, then ld_inflight_leave(). No locks, never blocks for long: `alive` is asked only when
 * the bound is reached, about processes that have calls under way. Any process and thread that has a slot. Who takes a slot sets its count to 0.
 */
#ifndef LD_SHM_INFLIGHT_H
#define LD_SHM_INFLIGHT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/** The counts: one word in each of `slots` structs of stride_b bytes. `self` is the caller's; alive(): does the process of that slot live? */
struct ld_inflight {
	_Atomic uint32_t *first;
	size_t stride_b;
	uint32_t slots, self;
	int (*alive)(void *ctx, uint32_t slot);
	void *ctx;
};

/**
 * Count a call in, if no more than `bound` are under way with it. Returns 1 it is counted, 0 there are too many. Of several that come at once to
 * the last place all may be told so; more than `bound` are never let in.
 */
int ld_inflight_enter(const struct ld_inflight *inflight, uint32_t bound);

/** Count it out. Never below 0. */
void ld_inflight_leave(const struct ld_inflight *inflight);

/** Calls of live processes under way now. */
uint64_t ld_inflight_sum(const struct ld_inflight *inflight);

#endif
