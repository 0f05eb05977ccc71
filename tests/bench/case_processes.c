/* SPDX-License-Identifier: MIT */
/*
 * Cases of several processes. Workers are forked once for a case and do both sides in turn; a round begins and ends for all of
 * them at times that the first process sets, so that each side has the whole host to itself.
 *
 *   parent   writes side and times, counts `round` up, wakes all           waits until `done` has them all
 *   worker   sleeps while `round` is the one it knows                      runs, writes its result, counts `done` up
 *
 * A worker that fails ends with a message; the parent looks for that while it waits.
 */
#include "bench.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/futex.h"

enum { WORKERS_MAX = 8, TRIES = 20, BATCH = 32, BUCKETS = 64 * 16 };
enum { START_NS = 2000000, ROUND_NS = 200000000, ROUND_QUICK_NS = 50000000 };
enum side { OURS, RAW, END };

struct result {
	uint64_t ops;
	uint32_t latency[BUCKETS];       /* of single operations; only where they are asked for */
};

struct shared {
	_Atomic uint32_t round, done;
	_Atomic int side;
	_Atomic int64_t start_ns, end_ns;
	struct result results[WORKERS_MAX];
};

struct group {
	const struct bench_options *options;
	const struct bench_load *load;
	struct bench_ours *ours;
	struct bench_raw *raw;
	struct shared *shared;
	unsigned workers, writers;       /* the first `writers` of them set */
	int latencies;
	pid_t pids[WORKERS_MAX];
};

/* Sixteen buckets for each power of two. */
static unsigned bucket_of(int64_t ns)
{
	uint64_t value = ns < 16 ? 16 : (uint64_t)ns;
	unsigned power = 63 - (unsigned)__builtin_clzll(value);

	return power * 16 + (unsigned)(value >> (power - 4) & 15);
}

static double bucket_ns(unsigned bucket)
{
	return (double)(UINT64_C(16) + bucket % 16) * (double)(UINT64_C(1) << (bucket / 16 - 4));
}

static void wait_until(int64_t ns)
{
	while (bench_wall_ns() < ns)
		;
}

static void run_round(const struct group *group, const struct bench_side *side, int latencies, struct result *result)
{
	int64_t end_ns = atomic_load(&group->shared->end_ns), before, now;

	memset(result, 0, sizeof(*result));
	wait_until(atomic_load(&group->shared->start_ns));
	for (now = bench_wall_ns(); now < end_ns;) {
		side->run(side->ctx, latencies ? 1 : BATCH);
		result->ops += latencies ? 1 : BATCH;
		before = now;
		now = bench_wall_ns();
		if (latencies)
			result->latency[bucket_of(now - before)]++;
	}
}

static void work(const struct group *group, unsigned index)
{
	struct shared *shared = group->shared;
	int writes = index < group->writers;
	const struct bench_side sides[] = {
		{ writes ? bench_ours_set : bench_ours_get_into, group->ours }, { writes ? bench_raw_set : bench_raw_get_into, group->raw } };
	struct bench_draw draw;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	bench_draw_init(&draw, group->load->entries, 0, 100 + index);
	group->ours->draw = group->raw->draw = &draw;
	bench_raw_again(group->raw);
	/* Page tables and caches of both, before anybody looks at the clock. */
	bench_ours_get_into(group->ours, group->load->entries);
	bench_raw_get_into(group->raw, group->load->entries);
	for (uint32_t known = 0;; known++) {
		enum side side;

		atomic_fetch_add(&shared->done, 1);
		while (atomic_load(&shared->round) == known)
			ld_futex_wait(&shared->round, known, 1000);
		side = (enum side)atomic_load(&shared->side);
		if (side == END)
			_exit(0);
		run_round(group, &sides[side], group->latencies && !writes, &shared->results[index]);
	}
}

/* Until all workers are done; a dead one ends the program. */
static void wait_for_workers(const struct group *group)
{
	const struct timespec nap = { 0, 500000 };

	while (atomic_load(&group->shared->done) < group->workers) {
		bench_must(waitpid(-1, NULL, WNOHANG) == 0, "a worker ended");
		nanosleep(&nap, NULL);
	}
	atomic_store(&group->shared->done, 0);
}

static void begin_round(const struct group *group, enum side side)
{
	struct shared *shared = group->shared;
	int64_t start_ns = bench_wall_ns() + START_NS;

	atomic_store(&shared->side, (int)side);
	atomic_store(&shared->start_ns, start_ns);
	atomic_store(&shared->end_ns, start_ns + (group->options->quick ? ROUND_QUICK_NS : ROUND_NS));
	atomic_fetch_add(&shared->round, 1);
	ld_futex_wake(&shared->round, WORKERS_MAX);
}

/* What a round gave: time for one get of all readers together, the readers' p99.9, time for one set of all writers together. */
struct outcome { double get_ns, tail_ns, set_ns; };

static double tail_of(const struct group *group)
{
	uint64_t count[BUCKETS] = { 0 }, all = 0, below = 0;
	unsigned bucket;

	for (unsigned w = group->writers; w < group->workers; w++)
		for (unsigned b = 0; b < BUCKETS; b++)
			count[b] += group->shared->results[w].latency[b];
	for (unsigned b = 0; b < BUCKETS; b++)
		all += count[b];
	for (bucket = 0; bucket < BUCKETS - 1 && (below += count[bucket]) * 1000 < all * 999; bucket++)
		;
	return bucket_ns(bucket < 64 ? 64 : bucket);
}

/* On a busy host a worker may not run at all in a round: then the round is done again. */
static int everybody_ran(const struct group *group)
{
	for (unsigned w = 0; w < group->workers; w++)
		if (group->shared->results[w].ops == 0)
			return 0;
	return 1;
}

static struct outcome round_of(const struct group *group, enum side side)
{
	double ns = group->options->quick ? ROUND_QUICK_NS : ROUND_NS;
	uint64_t gets = 0, sets = 0;
	int tries = 0;

	do {
		bench_must(tries++ < TRIES, "the host is too busy: in no round did every worker run");
		begin_round(group, side);
		wait_for_workers(group);
	} while (!everybody_ran(group));
	for (unsigned w = 0; w < group->workers; w++)
		*(w < group->writers ? &sets : &gets) += group->shared->results[w].ops;
	return (struct outcome){ ns / (double)gets, group->latencies ? tail_of(group) : 0, sets ? ns / (double)sets : 0 };
}

struct column { double ours[BENCH_ROUNDS_MAX], raw[BENCH_ROUNDS_MAX], ratio[BENCH_ROUNDS_MAX]; };

static void note(struct column *column, unsigned round, double ours, double raw)
{
	column->ours[round] = ours;
	column->raw[round] = raw;
	column->ratio[round] = raw > 0 ? ours / raw : 0;
}

static void report(const struct group *group, const struct column *column, struct bench_row row)
{
	unsigned rounds = bench_rounds(group->options);

	row.ours_ns = bench_median(column->ours, rounds);
	row.beside_ns = bench_median(column->raw, rounds);
	row.ratio = bench_median(column->ratio, rounds);
	bench_report(group->options, &row);
}

static void start(struct group *group)
{
	group->shared = mmap(NULL, sizeof(*group->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bench_must(group->shared != MAP_FAILED, "mmap");
	fflush(NULL);
	for (unsigned i = 0; i < group->workers; i++) {
		group->pids[i] = fork();
		bench_must(group->pids[i] >= 0, "fork");
		if (group->pids[i] == 0)
			work(group, i);
	}
	wait_for_workers(group);
}

static void stop(struct group *group)
{
	begin_round(group, END);
	for (unsigned i = 0; i < group->workers; i++)
		waitpid(group->pids[i], NULL, 0);
	munmap(group->shared, sizeof(*group->shared));
}

static void run_rounds(const struct group *group, struct column *gets, struct column *tails, struct column *sets)
{
	for (unsigned i = 0; i < bench_rounds(group->options); i++) {
		enum side first = i % 2 ? RAW : OURS;
		struct outcome a = round_of(group, first), b = round_of(group, first == OURS ? RAW : OURS);
		const struct outcome *ours = first == OURS ? &a : &b, *raw = first == OURS ? &b : &a;

		note(gets, i, ours->get_ns, raw->get_ns);
		note(tails, i, ours->tail_ns, raw->tail_ns);
		note(sets, i, ours->set_ns, raw->set_ns);
	}
}

static const struct bench_load small = { .entries = 100000, .value_len = 512, .map_b = 256 << 20 };
/* A preempted reader pins what the writer frees meanwhile: much room, so that neither side is full before it runs again. */
static const struct bench_load roomy = { .entries = 100000, .value_len = 512, .map_b = 1 << 30 };

static void open_both(const struct bench_options *options, const struct bench_load *load, struct bench_ours *ours,
    struct bench_raw *raw)
{
	bench_ours_open(options, load, NULL, ours);
	bench_raw_open(options, load, NULL, 0, raw);
	bench_ours_fill(ours);
	bench_raw_fill(raw);
}

void bench_case_readers(const struct bench_options *options, const char *name)
{
	static const unsigned readers[] = { 1, 2, 4 };
	static struct column gets, others;
	struct bench_ours ours;
	struct bench_raw raw;

	open_both(options, &small, &ours, &raw);
	for (unsigned i = 0; i < sizeof(readers) / sizeof(*readers); i++) {
		struct group group = { .options = options, .load = &small, .ours = &ours, .raw = &raw, .workers = readers[i] };
		struct bench_row row = { .beside = "raw: as many readers; a get of all together" };
		char row_name[32];

		snprintf(row_name, sizeof(row_name), "%s-%u", name, readers[i]);
		row.name = row_name;
		start(&group);
		run_rounds(&group, &gets, &others, &others);
		stop(&group);
		report(&group, &gets, row);
	}
	bench_ours_close(&ours);
	bench_raw_close(&raw);
}

/* A reader for each CPU but one, on which the writer is. */
static unsigned reader_count(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus < 2 ? 1 : cpus > 5 ? 4 : (unsigned)cpus - 1;
}

void bench_case_writer(const struct bench_options *options, const char *name)
{
	static struct column gets, tails, sets;
	struct group group = { .options = options, .load = &roomy, .workers = 1 + reader_count(), .writers = 1, .latencies = 1 };
	struct bench_ours ours;
	struct bench_raw raw;

	open_both(options, &roomy, &ours, &raw);
	group.ours = &ours;
	group.raw = &raw;
	start(&group);
	run_rounds(&group, &gets, &tails, &sets);
	stop(&group);
	report(&group, &gets, (struct bench_row){ .name = name, .beside = "raw: a get of all readers, beside a writer" });
	report(&group, &tails,
	    (struct bench_row){ .name = "readers-writer-p99.9", .beside = "raw: p99.9 of a get, beside a writer" });
	report(&group, &sets, (struct bench_row){ .name = "readers-writer-sets", .beside = "raw: a commit, beside the readers" });
	bench_ours_close(&ours);
	bench_raw_close(&raw);
}
