/* SPDX-License-Identifier: MIT */
/**
 * A rolling window of calls: how many there were in the last window_ms, how many of them failed, how many were slow. Ten buckets of a tenth
 * of the window each, a bucket one word: the counts together with the time and the generation that they belong to. So there is nothing to
 * clear when time goes on or a new generation begins, and a process killed at any instruction has counted its call whole or not at all.
 *
 * Zeroed = empty. No locks, never blocks; any process and thread. Counts are at most LD_WINDOW_COUNT_MAX a bucket: a bucket that is full is
 * halved, which keeps its percentages.
 */
#ifndef LD_SHM_WINDOW_H
#define LD_SHM_WINDOW_H

#include <stdatomic.h>
#include <stdint.h>

enum { LD_WINDOW_BUCKETS = 10, LD_WINDOW_COUNT_MAX = 4095 };

/**
 * A bucket's word, from the lowest bit: calls 12, failures 12, slow 12, epoch 18, generation 10. The epoch is the number of the bucket's time
 * since boot, the generation its lowest bits. Written by every call that is counted, read by whoever sums up.
 */
struct ld_window {
	_Atomic uint64_t buckets[LD_WINDOW_BUCKETS];
};
_Static_assert(sizeof(struct ld_window) == 80, "layout");

/** What a call was; LD_WINDOW_CALL alone for a good one. */
enum ld_window_call { LD_WINDOW_CALL = 0, LD_WINDOW_FAILED = 1, LD_WINDOW_SLOW = 2 };

struct ld_window_sum {
	uint32_t calls, failures, slow;
};

/**
 * Count a call that ended at now_ms. Every caller gives the same window_ms (at least LD_WINDOW_BUCKETS; others only make the counts wrong). A
 * call whose bucket belongs to a later time or generation already is not counted.
 */
void ld_window_add(struct ld_window *window, uint32_t generation, int64_t window_ms, int64_t now_ms, enum ld_window_call call);

/** The calls of this generation in the window that ends at now_ms: between nine and ten tenths of window_ms. */
struct ld_window_sum ld_window_sum(const struct ld_window *window, uint32_t generation, int64_t window_ms, int64_t now_ms);

#endif
