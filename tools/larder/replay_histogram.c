/* SPDX-License-Identifier: MIT */
/* The latency histogram of `larder replay`: pure arithmetic over an array of counts. It never allocates, locks or reads a
 * clock. The workers add to it, the report reads it. */
#include "replay_histogram.h"

#include <math.h>

unsigned replay_histogram_bucket(uint64_t ns)
{
	if (ns > REPLAY_HISTOGRAM_MAX_NS)
		ns = REPLAY_HISTOGRAM_MAX_NS;
	if (ns < REPLAY_HISTOGRAM_SUB)
		return (unsigned)ns;
	unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - REPLAY_HISTOGRAM_SUB_BITS;
	return (shift << REPLAY_HISTOGRAM_SUB_BITS) + (unsigned)(ns >> shift);
}

uint64_t replay_histogram_edge(unsigned bucket)
{
	if (bucket < REPLAY_HISTOGRAM_SUB)
		return bucket;
	unsigned shift = (bucket >> REPLAY_HISTOGRAM_SUB_BITS) - 1;
	uint64_t head = REPLAY_HISTOGRAM_SUB + bucket % REPLAY_HISTOGRAM_SUB;
	return ((head + 1) << shift) - 1;
}

void replay_histogram_add(struct replay_histogram *histogram, uint64_t ns)
{
	/* Load and store instead of a fetch-and-add: there is one writer, and the locked instruction would be in every
	 * figure. */
	_Atomic uint64_t *count = &histogram->counts[replay_histogram_bucket(ns)];
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
}

void replay_histogram_merge(struct replay_histogram *into, const struct replay_histogram *from)
{
	for (unsigned i = 0; i < REPLAY_HISTOGRAM_BUCKETS; i++) {
		uint64_t sum = atomic_load_explicit(&into->counts[i], memory_order_relaxed);
		sum += atomic_load_explicit(&from->counts[i], memory_order_relaxed);
		atomic_store_explicit(&into->counts[i], sum, memory_order_relaxed);
	}
}

uint64_t replay_histogram_count(const struct replay_histogram *histogram)
{
	uint64_t count = 0;
	for (unsigned i = 0; i < REPLAY_HISTOGRAM_BUCKETS; i++)
		count += atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
	return count;
}

uint64_t replay_histogram_percentile(const struct replay_histogram *histogram, double percent)
{
	uint64_t count = replay_histogram_count(histogram);
	uint64_t rank = (uint64_t)ceil((double)count * percent / 100.0);
	uint64_t seen = 0;
	if (count == 0)
		return 0;
	if (rank == 0)
		rank = 1;
	for (unsigned i = 0; i < REPLAY_HISTOGRAM_BUCKETS; i++) {
		seen += atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
		if (seen >= rank)
			return replay_histogram_edge(i);
	}
	return REPLAY_HISTOGRAM_MAX_NS;
}
