/* SPDX-License-Identifier: MIT */
/*
 * The rolling window of a breaker. Written once in every call to L2, so it is one compare-and-swap there; summed up only when a call has
 * failed or was slow. It must never block, and never let counts of an older generation into a newer one.
 *
 *   A and B count at once            one compare-and-swap wins, the other looks again.
 *   A, B meet a bucket of long ago   the one whose compare-and-swap wins begins it anew with its own call; the other then adds to it.
 *   killed before, after the swap    the call is not counted, or counted: there is no third.
 *   A was stopped with an old time   its bucket belongs to a later time by now: not counted. Stopped for longer than NEWER_EPOCHS it cannot
 *                                    be told from one that found a bucket of long ago: it begins the bucket anew, and so does the next
 *                                    call after it. The counts of one bucket are lost then.
 *   A was stopped with an old        as with an old time, if it is still the same bucket's time.
 *   generation
 *
 * Epochs are compared modulo 2^18: a bucket that nobody touched for exactly so many of its turns would be taken for a new one, after fifteen
 * days without a call with buckets of a second.
 */
#include "shm/window.h"

enum {
	COUNT_BITS = 12, EPOCH_SHIFT = 3 * COUNT_BITS, EPOCH_BITS = 18, GENERATION_SHIFT = EPOCH_SHIFT + EPOCH_BITS, GENERATION_BITS = 10,
	/* How far ahead a bucket may be and still be taken for newer, not for very old. */
	NEWER_EPOCHS = 64
};
_Static_assert(GENERATION_SHIFT + GENERATION_BITS == 64, "layout");
_Static_assert(LD_WINDOW_COUNT_MAX == (1 << COUNT_BITS) - 1, "layout");

#define EPOCH_MASK ((UINT64_C(1) << EPOCH_BITS) - 1)
#define GENERATION_MASK ((UINT64_C(1) << GENERATION_BITS) - 1)
#define COUNT_MASK ((uint64_t)LD_WINDOW_COUNT_MAX)
/* The counts without the highest bit of each: what is left of them after a shift by one. */
#define HALF_COUNTS ((COUNT_MASK >> 1) * (1 | UINT64_C(1) << COUNT_BITS | UINT64_C(1) << (2 * COUNT_BITS)))

static uint64_t epoch_at(int64_t window_ms, int64_t now_ms)
{
	uint64_t bucket_ms = (uint64_t)window_ms / LD_WINDOW_BUCKETS;

	return (uint64_t)now_ms / (bucket_ms ? bucket_ms : 1);
}

/* The upper part of the word of a bucket at that time. */
static uint64_t tag_of(uint64_t epoch, uint32_t generation)
{
	return (generation & GENERATION_MASK) << GENERATION_SHIFT | (epoch & EPOCH_MASK) << EPOCH_SHIFT;
}

/* By how much is the bucket's epoch, its generation, behind that of the tag? Modulo their sizes. */
static uint64_t epochs_behind(uint64_t bucket, uint64_t tag)
{
	return ((tag >> EPOCH_SHIFT) - (bucket >> EPOCH_SHIFT)) & EPOCH_MASK;
}

static uint64_t generations_behind(uint64_t bucket, uint64_t tag)
{
	return ((tag >> GENERATION_SHIFT) - (bucket >> GENERATION_SHIFT)) & GENERATION_MASK;
}

static int is_newer(uint64_t bucket, uint64_t tag)
{
	uint64_t epochs = epochs_behind(bucket, tag);

	return epochs == 0 ? generations_behind(bucket, tag) > GENERATION_MASK / 2 : epochs > EPOCH_MASK - NEWER_EPOCHS;
}

static uint64_t with_room(uint64_t bucket)
{
	if ((bucket & COUNT_MASK) != COUNT_MASK)
		return bucket;
	return (bucket >> EPOCH_SHIFT) << EPOCH_SHIFT | ((bucket >> 1) & HALF_COUNTS);
}

void ld_window_add(struct ld_window *window, uint32_t generation, int64_t window_ms, int64_t now_ms, enum ld_window_call call)
{
	uint64_t epoch = epoch_at(window_ms, now_ms), tag = tag_of(epoch, generation), one = 1, next;
	_Atomic uint64_t *bucket = &window->buckets[epoch % LD_WINDOW_BUCKETS];
	uint64_t old = atomic_load_explicit(bucket, memory_order_relaxed);

	one |= call == LD_WINDOW_FAILED ? UINT64_C(1) << COUNT_BITS : 0;
	one |= call == LD_WINDOW_SLOW ? UINT64_C(1) << (2 * COUNT_BITS) : 0;
	do {
		if (old >> EPOCH_SHIFT == tag >> EPOCH_SHIFT)
			next = with_room(old) + one;
		else if (is_newer(old, tag))
			return;
		else
			next = tag + one;
		/* relaxed: the word is whole by itself, and orders nothing */
	} while (!atomic_compare_exchange_weak_explicit(bucket, &old, next, memory_order_relaxed, memory_order_relaxed));
}

struct ld_window_sum ld_window_sum(const struct ld_window *window, uint32_t generation, int64_t window_ms, int64_t now_ms)
{
	uint64_t tag = tag_of(epoch_at(window_ms, now_ms), generation);
	struct ld_window_sum sum = { 0, 0, 0 };

	for (unsigned i = 0; i < LD_WINDOW_BUCKETS; i++) {
		uint64_t bucket = atomic_load_explicit(&window->buckets[i], memory_order_relaxed);

		if (generations_behind(bucket, tag) != 0 || epochs_behind(bucket, tag) >= LD_WINDOW_BUCKETS)
			continue;
		sum.calls += (uint32_t)(bucket & COUNT_MASK);
		sum.failures += (uint32_t)(bucket >> COUNT_BITS & COUNT_MASK);
		sum.slow += (uint32_t)(bucket >> (2 * COUNT_BITS) & COUNT_MASK);
	}
	return sum;
}
