/* SPDX-License-Identifier: MIT */
/*
 * Rounds: the two sides of a case take turns, so that what disturbs one disturbs the other, and one disturbed round is outvoted
 * by the median. Who goes first changes from round to round.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 24, ROUNDS_QUICK = 5, ROUND_NS = 50000000, ROUND_QUICK_NS = 10000000, WARM_NS = 20000000 };

static int64_t read_clock(clockid_t id)
{
	struct timespec now;

	bench_must(clock_gettime(id, &now) == 0, "clock_gettime");
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t bench_cpu_ns(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

int64_t bench_wall_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

unsigned bench_rounds(const struct bench_options *options)
{
	return options->quick ? ROUNDS_QUICK : ROUNDS;
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

double bench_median(const double *values, size_t count)
{
	double sorted[BENCH_ROUNDS_MAX];

	bench_must(count > 0 && count <= BENCH_ROUNDS_MAX, "too many rounds");
	memcpy(sorted, values, count * sizeof(*values));
	qsort(sorted, count, sizeof(*sorted), by_value);
	return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

static double run(const struct bench_side *side, uint64_t ops)
{
	int64_t from = bench_cpu_ns();

	side->run(side->ctx, ops);
	return (double)(bench_cpu_ns() - from) / (double)ops;
}

/* Warm up, and find out how many operations make a round. */
static uint64_t calibrate(const struct bench_side *side, int64_t round_ns)
{
	uint64_t ops = 1;
	double each;

	do {
		ops *= 2;
		each = run(side, ops);
	} while (each * (double)ops < WARM_NS);
	ops = (uint64_t)((double)round_ns / each);
	return ops ? ops : 1;
}

void bench_pair(const struct bench_options *options, const struct bench_side *ours, const struct bench_side *beside,
    struct bench_row *row)
{
	double ours_ns[BENCH_ROUNDS_MAX], beside_ns[BENCH_ROUNDS_MAX], ratios[BENCH_ROUNDS_MAX];
	int64_t round_ns = options->quick ? ROUND_QUICK_NS : ROUND_NS;
	uint64_t ours_ops = calibrate(ours, round_ns), beside_ops = calibrate(beside, round_ns);
	unsigned rounds = bench_rounds(options);

	for (unsigned i = 0; i < rounds; i++) {
		if (i % 2)
			beside_ns[i] = run(beside, beside_ops);
		ours_ns[i] = run(ours, ours_ops);
		if (i % 2 == 0)
			beside_ns[i] = run(beside, beside_ops);
		ratios[i] = ours_ns[i] / beside_ns[i];
	}
	row->ours_ns = bench_median(ours_ns, rounds);
	row->beside_ns = bench_median(beside_ns, rounds);
	row->ratio = bench_median(ratios, rounds);
}
