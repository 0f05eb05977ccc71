/* SPDX-License-Identifier: MIT */
/*
 * The chooser: lowest estimate goes first. Called by the evictor with a window that it has sampled; knows neither the store nor the sketch.
 *
 * Why the newest are left alone: an entry that has just been stored has had no chance to be used again. Why newest first among equals: of
 * two entries with the same count, the older one earned it over more halvings.
 */
#include "l1/choose.h"

#include <stdlib.h>

enum { BATCH_MAX = 256, LOOK_AT = 16, NEWEST_PERCENT = 5 };

unsigned ld_choose_batch(uint64_t capacity)
{
	uint64_t batch = capacity / 1000;

	return batch < 1 ? 1 : batch > BATCH_MAX ? BATCH_MAX : (unsigned)batch;
}

size_t ld_choose_window(unsigned batch)
{
	return (size_t)batch * LOOK_AT;
}

static int newest_first(const void *a, const void *b)
{
	const struct ld_candidate *x = a, *y = b;

	return x->seq < y->seq ? 1 : x->seq > y->seq ? -1 : 0;
}

static int victims_first(const void *a, const void *b)
{
	const struct ld_candidate *x = a, *y = b;

	if (x->dead != y->dead)
		return x->dead ? -1 : 1;
	if (x->estimate != y->estimate)
		return x->estimate < y->estimate ? -1 : 1;
	return newest_first(a, b);
}

/* Move the newest ones behind the others; returns how many are left in front. The dead are never among those left alone. */
static size_t protect_newest(struct ld_candidate *window, size_t count)
{
	size_t spare = count * NEWEST_PERCENT / 100, kept = count;

	qsort(window, count, sizeof(*window), newest_first);
	for (size_t i = 0; spare > 0 && i < kept; spare--) {
		struct ld_candidate swap = window[i];

		if (swap.dead) {
			i++;
			continue;
		}
		kept--;
		window[i] = window[kept];
		window[kept] = swap;
		i++;
	}
	return kept;
}

size_t ld_choose(struct ld_candidate *window, size_t count, unsigned batch)
{
	size_t eligible = protect_newest(window, count);

	qsort(window, eligible, sizeof(*window), victims_first);
	return eligible < batch ? eligible : batch;
}
