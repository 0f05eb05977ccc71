/* SPDX-License-Identifier: MIT */
/*
 * The chooser: lowest estimate goes first. Called by the evictor with a window that it has sampled; knows neither the store nor the sketch.
 *
 * Why the newest are left alone: an entry that has just been stored has had no chance to be used again. Why newest first among equals: of
 * two entries with the same count, the older one earned it over more halvings.
 */
#include "l1/choose.h"

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

/* Orders: < 0 when a comes before b. Neither is ever 0 for two rows of different sequence. */
typedef int (*order)(const struct ld_candidate *a, const struct ld_candidate *b);

static int newer(const struct ld_candidate *a, const struct ld_candidate *b)
{
	return a->seq > b->seq ? -1 : a->seq < b->seq;
}

/* The dead and the older ones before the newest. */
static int eligible_first(const struct ld_candidate *a, const struct ld_candidate *b)
{
	if (a->dead != b->dead)
		return a->dead ? -1 : 1;
	return newer(b, a);
}

static int victims_first(const struct ld_candidate *a, const struct ld_candidate *b)
{
	if (a->dead != b->dead)
		return a->dead ? -1 : 1;
	if (a->estimate != b->estimate)
		return a->estimate < b->estimate ? -1 : 1;
	return newer(a, b);
}

static void swap(struct ld_candidate *a, struct ld_candidate *b)
{
	struct ld_candidate kept = *a;

	*a = *b;
	*b = kept;
}

/* Reorder so that the first `want` rows come before all others (quickselect: Hoare 1961); a sort would do far more than is asked. */
static void select_first(struct ld_candidate *rows, size_t count, size_t want, order before)
{
	size_t low = 0, high = count;

	while (want > low && want < high && high - low > 1) {
		size_t i = low, j = high - 1;
		struct ld_candidate pivot = rows[low + (high - low - 1) / 2];

		for (;;) {
			while (before(&rows[i], &pivot) < 0)
				i++;
			while (before(&pivot, &rows[j]) < 0)
				j--;
			if (i >= j)
				break;
			swap(&rows[i++], &rows[j--]);
		}
		/* rows[low..j] do not come after rows[j+1..high) */
		if (want <= j + 1)
			high = j + 1;
		else
			low = j + 1;
	}
}

size_t ld_choose(struct ld_candidate *window, size_t count, unsigned batch)
{
	size_t eligible = count - count * NEWEST_PERCENT / 100;

	select_first(window, count, eligible, eligible_first);
	if (eligible <= batch)
		return eligible;
	select_first(window, eligible, batch, victims_first);
	return batch;
}
