/* SPDX-License-Identifier: MIT */
/**
 * Latencies in log-linear buckets: each power of two is cut into REPLAY_HISTOGRAM_SUB equal buckets, so that every value up
 * to REPLAY_HISTOGRAM_MAX_NS keeps its magnitude to within 1.6 %, in 18 KB and without an allocation. The idea is
 * HdrHistogram's (Gil Tene, https://hdrhistogram.org).
 *
 * A histogram lies in shared memory. One worker adds to it; the master reads it while the worker lives or after it was
 * killed, and sees at worst a count that is one behind. All zero is an empty histogram.
 */
#ifndef LARDER_TOOL_REPLAY_HISTOGRAM_H
#define LARDER_TOOL_REPLAY_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define REPLAY_HISTOGRAM_SUB_BITS 6
#define REPLAY_HISTOGRAM_SUB (1u << REPLAY_HISTOGRAM_SUB_BITS)
/** A little over 18 minutes; longer times are counted as this. */
#define REPLAY_HISTOGRAM_MAX_NS ((UINT64_C(1) << 40) - 1)
#define REPLAY_HISTOGRAM_BUCKETS ((40 - REPLAY_HISTOGRAM_SUB_BITS + 1) * REPLAY_HISTOGRAM_SUB)

struct replay_histogram {
	_Atomic uint64_t counts[REPLAY_HISTOGRAM_BUCKETS]; /* written by its one worker, read by the master; both relaxed */
};

/** Where a time is counted, and the longest time that is counted there. */
unsigned replay_histogram_bucket(uint64_t ns);
uint64_t replay_histogram_edge(unsigned bucket);

/** Count one time. Only for the worker that owns the histogram. */
void replay_histogram_add(struct replay_histogram *histogram, uint64_t ns);

/** Add the counts of `from` to `into`, which belongs to the caller. */
void replay_histogram_merge(struct replay_histogram *into, const struct replay_histogram *from);

uint64_t replay_histogram_count(const struct replay_histogram *histogram);

/**
 * The upper edge of the bucket that holds the value at this percentile (nearest rank), so that the answer is never too low.
 *
 * percent   above 0, at most 100
 *
 * Returns   nanoseconds; 0 when nothing was counted
 */
uint64_t replay_histogram_percentile(const struct replay_histogram *histogram, double percent);

#endif
