/* SPDX-License-Identifier: MIT */
/*
 * A lease that nobody else wants: taken and given back, in the table and through the store, each less the loop round it, beside the 200 ns that it may
 * cost. And how long it takes until sixteen processes that wait have been woken, beside as many that sleep on a futex of nothing else: p99 of all in
 * alternate rounds.
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
#include <unistd.h>

#include "base/clock.h"
#include "base/futex.h"
#include "cache/handle.h"

enum { ALLOWED_NS = 200, NOW_MS = 86400000, LEASE_MS = 60000, SETS = 512, TAGS = 1024, WAITERS = 16, SETTLE_US = 3000, ROUNDS_WAKE = 400,
	ROUNDS_WAKE_QUICK = 40 };

static const struct bench_load small = { .entries = 1, .value_len = 64, .map_b = 8 << 20, .no_thread = 1 };

/* ---- taking and giving back ---- */

static int lives(void *ctx, uint32_t holder)
{
	(void)ctx;
	(void)holder;
	return 1;
}

static uint64_t unwritten(void *ctx)
{
	(void)ctx;
	return 0;
}

static void in_the_table(void *ctx, uint64_t ops)
{
	const struct ld_leases *table = ctx;
	struct ld_lease_ask ask = { .self = 1, .seen = 1, .lease_ms = LEASE_MS, .alive = lives, .mark = unwritten };
	struct ld_lease lease;
	int64_t retry_ms;

	for (uint64_t i = 0; i < ops; i++) {
		uint64_t tag = (i % TAGS + 1) * UINT64_C(0x9e3779b97f4a7c15);

		ask.now_ms = NOW_MS + (int64_t)(i / TAGS);
		bench_must(ld_lease_try(table, tag, &ask, &lease, &retry_ms) == LD_LEASE_TAKEN, "ld_lease_try");
		bench_must(ld_lease_end(table, &lease, LD_LEASE_STORED, 0, ask.now_ms), "ld_lease_end");
	}
}

/* Keys of different names, made before the clock runs. */
struct wanting {
	struct bench_ours ours;
	struct ld_store *store;
	struct ld_key keys[TAGS];
	struct ld_keyspace room;
};

static void through_the_store(void *ctx, uint64_t ops)
{
	struct wanting *wanting = ctx;
	const struct ld_way way = { 0, 0 };
	const struct ld_seen seen = { 1, 1 };
	struct ld_lease lease;
	int64_t retry_ms;

	for (uint64_t i = 0; i < ops; i++) {
		bench_must(ld_store_lease_try(wanting->store, &wanting->keys[i % TAGS], &way, &seen, LEASE_MS, &lease, &retry_ms) == LD_LEASE_TAKEN,
		    "ld_store_lease_try");
		ld_store_lease_end(wanting->store, &lease, LD_LEASE_STORED, 0);
	}
}

static void nothing(void *ctx, uint64_t ops)
{
	for (uint64_t i = 0; i < ops; i++) {
		uint64_t tag = (i % TAGS + 1) * UINT64_C(0x9e3779b97f4a7c15);

		bench_use(&tag);
		bench_use(ctx);
	}
}

static void measure(const struct bench_options *options, const char *name, void *ctx, void (*run)(void *, uint64_t))
{
	struct bench_row row = { .name = name, .beside = "200 ns, which it may cost", .target = 1 };
	const struct bench_side ours = { run, ctx }, loop = { nothing, ctx };

	bench_pair(options, &ours, &loop, &row);
	row.ours_ns -= row.beside_ns;
	row.beside_ns = ALLOWED_NS;
	row.ratio = row.ours_ns / ALLOWED_NS;
	bench_report(options, &row);
}

static void open_wanting(const struct bench_options *options, struct wanting *wanting)
{
	char name[BENCH_NAME];

	bench_ours_open(options, &small, NULL, &wanting->ours);
	wanting->store = wanting->ours.cache->store;
	for (uint32_t i = 0; i < TAGS; i++) {
		const struct ld_keyspace *keyspace;

		bench_name(i, name);
		bench_must(ld_prepare_key(wanting->ours.tenant, BENCH_SPACE, name, sizeof(name), &wanting->room, &keyspace, &wanting->keys[i]) == 0, "key");
	}
}

void bench_case_lease(const struct bench_options *options, const char *name)
{
	static struct ld_lease_row rows[SETS * LD_LEASE_WAYS] __attribute__((aligned(64)));
	static struct wanting wanting;
	struct ld_leases table = { rows, SETS };

	measure(options, name, &table, in_the_table);
	open_wanting(options, &wanting);
	measure(options, "lease-store", &wanting, through_the_store);
	bench_ours_close(&wanting.ours);
}

/* ---- waking ---- */

enum side { OURS, RAW, END };

struct shared {
	_Atomic uint32_t round, asleep, awake, raw;
	_Atomic int side;
	_Atomic int64_t woken_ns;
	uint32_t late_used[2];
	uint32_t late_ns[2][ROUNDS_WAKE * WAITERS];
	_Atomic int64_t late_of[WAITERS];
};

static void wait_ours(const struct wanting *wanting, struct shared *shared)
{
	const struct ld_way way = { 1000, 0 };
	struct ld_lease lease;
	enum ld_lease_end end;
	int64_t retry_ms;

	bench_must(ld_store_lease_try(wanting->store, &wanting->keys[0], &way, NULL, LEASE_MS, &lease, &retry_ms) == LD_LEASE_HELD, "not held");
	atomic_fetch_add(&shared->asleep, 1);
	bench_must(ld_store_lease_wait(wanting->store, &lease, ld_clock_boot_ms() + LEASE_MS, &end) == 0 && end == LD_LEASE_STORED, "not woken");
}

static void wait_raw(struct shared *shared)
{
	uint32_t seen = atomic_load(&shared->raw);

	atomic_fetch_add(&shared->asleep, 1);
	while (atomic_load(&shared->raw) == seen)
		ld_futex_wait(&shared->raw, seen, 1000);
}

static void be_a_waiter(const struct wanting *wanting, struct shared *shared, unsigned index)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (ld_store_attach(wanting->store) != 0)
		usleep(1000);
	for (uint32_t known = 0;; known++) {
		atomic_fetch_add(&shared->awake, 1);
		while (atomic_load(&shared->round) == known)
			ld_futex_wait(&shared->round, known, 1000);
		switch ((enum side)atomic_load(&shared->side)) {
		case OURS:
			wait_ours(wanting, shared);
			break;
		case RAW:
			wait_raw(shared);
			break;
		case END:
			_exit(0);
		}
		atomic_store(&shared->late_of[index], bench_wall_ns() - atomic_load(&shared->woken_ns));
	}
}

static void await(const _Atomic uint32_t *count)
{
	while (atomic_load(count) < WAITERS) {
		bench_must(waitpid(-1, NULL, WNOHANG) == 0, "a waiter ended");
		usleep(100);
	}
}

static void wake_round(const struct wanting *wanting, struct shared *shared, enum side side)
{
	const struct ld_way way = { 1000, 0 };
	struct ld_lease lease;
	int64_t retry_ms;

	if (side == OURS)
		bench_must(ld_store_lease_try(wanting->store, &wanting->keys[0], &way, NULL, LEASE_MS, &lease, &retry_ms) == LD_LEASE_TAKEN, "not taken");
	atomic_store(&shared->side, (int)side);
	atomic_store(&shared->asleep, 0);
	atomic_store(&shared->awake, 0);
	atomic_fetch_add(&shared->round, 1);
	ld_futex_wake(&shared->round, WAITERS);
	if (side == END)
		return;
	await(&shared->asleep);
	usleep(SETTLE_US);
	atomic_store(&shared->woken_ns, bench_wall_ns());
	if (side == OURS) {
		ld_store_lease_end(wanting->store, &lease, LD_LEASE_STORED, 0);
	} else {
		atomic_fetch_add(&shared->raw, 1);
		ld_futex_wake(&shared->raw, WAITERS);
	}
	await(&shared->awake);
	for (unsigned i = 0; i < WAITERS; i++)
		shared->late_ns[side][shared->late_used[side]++] = (uint32_t)atomic_load(&shared->late_of[i]);
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double percentile(struct shared *shared, enum side side, unsigned percent)
{
	qsort(shared->late_ns[side], shared->late_used[side], sizeof(uint32_t), by_number);
	return shared->late_ns[side][(size_t)shared->late_used[side] * percent / 100];
}

static void report_wake(const struct bench_options *options, const char *name, struct shared *shared, unsigned percent, double target)
{
	struct bench_row row = { .name = name, .beside = "as many waiters of a raw futex", .target = target };

	row.ours_ns = percentile(shared, OURS, percent);
	row.beside_ns = percentile(shared, RAW, percent);
	row.ratio = row.ours_ns / row.beside_ns;
	bench_report(options, &row);
}

void bench_case_wake(const struct bench_options *options, const char *name)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned rounds = options->quick ? ROUNDS_WAKE_QUICK : ROUNDS_WAKE;
	static struct wanting wanting;
	pid_t pids[WAITERS];

	bench_must(shared != MAP_FAILED, "mmap");
	open_wanting(options, &wanting);
	fflush(NULL);
	for (unsigned i = 0; i < WAITERS; i++) {
		pids[i] = fork();
		bench_must(pids[i] >= 0, "fork");
		if (pids[i] == 0)
			be_a_waiter(&wanting, shared, i);
	}
	await(&shared->awake);
	for (unsigned i = 0; i < 2 * rounds; i++)
		wake_round(&wanting, shared, i % 2 ? RAW : OURS);
	wake_round(&wanting, shared, END);
	for (unsigned i = 0; i < WAITERS; i++)
		waitpid(pids[i], NULL, 0);
	report_wake(options, name, shared, 99, 1.5);
	report_wake(options, "wake-median", shared, 50, 0);
	bench_ours_close(&wanting.ours);
	munmap(shared, sizeof(*shared));
}
