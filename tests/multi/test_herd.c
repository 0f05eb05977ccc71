/* SPDX-License-Identifier: MIT */
/*
 * Many callers, one missing value: it is loaded once on the host; whoever loads it may die, stop or fail, and harms nobody else. What is counted are calls
 * of the loader, in memory that all processes share.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#include "lib/team.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_SANITIZED = 1 };
#else
enum { IS_SANITIZED = 0 };
#endif

enum { HERD = 64, LOAD_MS = 2, TAKE_OVER_MS = 50, SLACK_MS = 1500, FAILING_PROCESSES = 40, FAILING_THREADS = 25, CALLERS = 100, TURNS = 8, TRACE_WORKERS = 8 };

static larder *cache;

static struct shared {
	struct team_barrier start, end;
	_Atomic uint64_t loads;
	_Atomic uint32_t round;
	_Atomic uint32_t kill_round;           /* the first loader of this round kills itself; 0 = none */
	_Atomic uint32_t stop_round;           /* the same, stopped */
	_Atomic int64_t ended_us;              /* when it did */
	_Atomic int64_t longest_us;            /* until the next load began */
	_Atomic int32_t owner;                 /* pid of whoever loaded first in this round; 0 = nobody yet */
	_Atomic uint64_t counted[3];           /* results of the callers: a value, LARDER_E_BUSY, LARDER_E_LOAD */
	_Atomic int64_t longest_call_ms;
	_Atomic int64_t slowest_ms[TURNS];     /* the slowest caller of each turn */
	_Atomic uint64_t requests;
} *shared;

static void raise_to(_Atomic int64_t *word, int64_t value)
{
	int64_t seen = atomic_load(word);

	while (value > seen && !atomic_compare_exchange_weak(word, &seen, value))
		;
}

static void work_for(int64_t ms)
{
	const struct timespec time = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

	nanosleep(&time, NULL);
}

/* The value of a round is its number. */
static int load(struct larder_load *load, void *ctx)
{
	uint32_t round = *(const uint32_t *)ctx;
	int32_t nobody = 0;

	atomic_fetch_add(&shared->loads, 1);
	if (atomic_compare_exchange_strong(&shared->owner, &nobody, getpid())) {
		if (atomic_load(&shared->kill_round) == round || atomic_load(&shared->stop_round) == round) {
			atomic_store(&shared->ended_us, team_now_us());
			kill(getpid(), atomic_load(&shared->kill_round) == round ? SIGKILL : SIGSTOP);
		}
	} else if (atomic_load(&shared->ended_us) != 0) {
		raise_to(&shared->longest_us, team_now_us() - atomic_exchange(&shared->ended_us, 0));
	}
	work_for(LOAD_MS);
	return larder_load_give(load, &round, sizeof(round)) == 0 ? LARDER_LOADED : LARDER_LOAD_FAILED;
}

static int ask(larder_tenant *tenant, uint32_t round, uint32_t budget_ms)
{
	const struct larder_loading loading = { sizeof(loading), 0, 0, load, &round, NULL };
	const struct larder_call call = { sizeof(call), 0, budget_ms, NULL, NULL };
	struct larder_value value = { 0 };
	int64_t began_ms = team_now_ms();
	int rc = larder_get_or_set(tenant, "herd", &round, sizeof(round), &loading, &call, &value);

	raise_to(&shared->longest_call_ms, team_now_ms() - began_ms);
	if (rc == 0)
		TEAM_CHECK(value.len == sizeof(round) && memcmp(value.data, &round, sizeof(round)) == 0);
	larder_value_free(&value);
	atomic_fetch_add(&shared->counted[rc == 0 ? 0 : rc == LARDER_E_BUSY ? 1 : 2], 1);
	return rc;
}

static void begin_with(const char *setting, const char *another)
{
	shared = team_share(sizeof(*shared));
	cache = team_open(team_directory(), "SIZE=32M", "WORKERS=1200", "THREADS=0", "WRITE_WAIT_MS=10s", setting, setting ? another : NULL, NULL);
}

static void end(void)
{
	larder_close(cache);
	cache = NULL;
	team_remove(team_directory());
	team_unshare(shared, sizeof(*shared));
}

/* ---- one load a round ---- */

static void be_one_of_the_herd(void *arg)
{
	uint32_t rounds = *(const uint32_t *)arg;
	larder_tenant *tenant = team_tenant(cache, "acme");

	TEAM_CHECK(larder_attach(cache) == 0);
	for (uint32_t round = 1; round <= rounds; round++) {
		team_meet(&shared->start, HERD);
		TEAM_EXPECT(ask(tenant, round, 20000), 0);
	}
	larder_tenant_close(tenant);
}

static void test_a_herd_makes_one_load_a_round(void **state)
{
	uint32_t rounds = (uint32_t)team_size(200, 2000);
	pid_t pids[HERD];

	(void)state;
	begin_with(NULL, NULL);
	for (int i = 0; i < HERD; i++)
		pids[i] = team_start(be_one_of_the_herd, &rounds);
	for (int i = 0; i < HERD; i++)
		team_join(pids[i]);
	TEAM_EXPECT(atomic_load(&shared->loads), rounds);
	TEAM_EXPECT(atomic_load(&shared->counted[0]), (int64_t)rounds * HERD);
	end();
}

/* ---- the owner dies ---- */

static void ask_once(void *arg)
{
	larder_tenant *tenant = team_tenant(cache, "acme");

	(void)arg;
	TEAM_CHECK(larder_attach(cache) == 0);
	team_meet(&shared->start, HERD / 4);
	TEAM_EXPECT(ask(tenant, atomic_load(&shared->round), 20000), 0);
	larder_tenant_close(tenant);
}

static void test_a_killed_owner_is_followed_at_once(void **state)
{
	uint32_t rounds = (uint32_t)team_size(20, 500);
	int64_t longest_us;

	(void)state;
	begin_with("LEASE_MS=60s", NULL);
	for (uint32_t round = 1; round <= rounds; round++) {
		pid_t pids[HERD / 4];
		int killed = 0;

		atomic_store(&shared->owner, 0);
		atomic_store(&shared->kill_round, round);
		atomic_store(&shared->round, round);
		for (int i = 0; i < HERD / 4; i++)
			pids[i] = team_start(ask_once, NULL);
		for (int i = 0; i < HERD / 4; i++) {
			int status = team_end(pids[i]);

			TEAM_CHECK(status == 0 || status == 256 + SIGKILL);
			killed += status != 0;
		}
		TEAM_EXPECT(killed, 1);
		/* One load more for the one that was killed. */
		TEAM_EXPECT(atomic_load(&shared->loads), 2 * round);
	}
	longest_us = atomic_load(&shared->longest_us);
	print_message("# %u owners killed: the next load began within %lld us\n", rounds, (long long)longest_us);
	TEAM_CHECK(longest_us > 0 && longest_us <= TAKE_OVER_MS * 1000 * (IS_SANITIZED ? 10 : 1));
	end();
}

/* ---- the owner is stopped ---- */

static void ask_within(void *arg)
{
	uint32_t budget_ms = *(const uint32_t *)arg;
	larder_tenant *tenant = team_tenant(cache, "acme");

	TEAM_CHECK(larder_attach(cache) == 0);
	(void)ask(tenant, 1, budget_ms);
	larder_tenant_close(tenant);
}

static void test_a_stopped_owner_costs_nobody_more_than_its_budget(void **state)
{
	const uint32_t budget_ms = 300, long_ms = 20000;
	larder_tenant *tenant;
	pid_t pids[8], owner;

	(void)state;
	begin_with("ON_BUSY=fail", "LEASE_MS=60s");
	atomic_store(&shared->stop_round, 1);
	owner = team_start(ask_within, (void *)(uintptr_t)&long_ms);
	team_await_stop(owner);
	atomic_store(&shared->longest_call_ms, 0);
	for (int i = 0; i < 8; i++)
		pids[i] = team_start(ask_within, (void *)(uintptr_t)&budget_ms);
	for (int i = 0; i < 8; i++)
		team_join(pids[i]);
	TEAM_EXPECT(atomic_load(&shared->counted[1]), 8);
	TEAM_EXPECT(atomic_load(&shared->loads), 1);
	TEAM_CHECK(atomic_load(&shared->longest_call_ms) >= 300);
	TEAM_CHECK(atomic_load(&shared->longest_call_ms) <= 300 + SLACK_MS * (IS_SANITIZED ? 10 : 1));
	/* Its time is over: another one loads. */
	atomic_fetch_add(&team_plan()->boot_shift_ms, 60000);
	team_run(ask_within, (void *)(uintptr_t)&budget_ms);
	TEAM_EXPECT(atomic_load(&shared->loads), 2);
	TEAM_EXPECT(atomic_load(&shared->counted[0]), 1);
	/* A delete, then it goes on: its caller has the value, nobody else. */
	tenant = team_tenant(cache, "acme");
	TEAM_EXPECT(larder_delete(tenant, "herd", &(uint32_t){ 1 }, sizeof(uint32_t), NULL), 0);
	team_continue(owner);
	team_join(owner);
	TEAM_EXPECT(atomic_load(&shared->counted[0]), 2);
	TEAM_EXPECT(larder_exists(tenant, "herd", &(uint32_t){ 1 }, sizeof(uint32_t), NULL), LARDER_MISS);
	larder_tenant_close(tenant);
	end();
}

static void test_who_waited_out_its_budget_may_load_by_itself(void **state)
{
	const uint32_t budget_ms = 100, long_ms = 20000;
	pid_t pids[6], owner;

	(void)state;
	/* Two at once in each process: one is enough for these. */
	begin_with("FILL_EXTRA=2", NULL);
	atomic_store(&shared->stop_round, 1);
	owner = team_start(ask_within, (void *)(uintptr_t)&long_ms);
	team_await_stop(owner);
	for (int i = 0; i < 6; i++)
		pids[i] = team_start(ask_within, (void *)(uintptr_t)&budget_ms);
	for (int i = 0; i < 6; i++)
		team_join(pids[i]);
	TEAM_EXPECT(atomic_load(&shared->counted[0]), 6);
	/* The first of them to come back has stored it: the others found it or loaded too. */
	TEAM_CHECK(atomic_load(&shared->loads) >= 2 && atomic_load(&shared->loads) <= 7);
	team_continue(owner);
	team_join(owner);
	end();
}

/* ---- all fail together ---- */

static uint64_t joined(void)
{
	struct larder_stats stats = { .size = sizeof(stats) };

	TEAM_EXPECT(larder_get_stats(cache, &stats), 0);
	return stats.load_joins;
}

static int load_in_vain(struct larder_load *load, void *ctx)
{
	(void)load;
	(void)ctx;
	atomic_fetch_add(&shared->loads, 1);
	/* Until all others have come to wait. */
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, joined() == FAILING_PROCESSES * FAILING_THREADS - 1));
	return LARDER_LOAD_FAILED;
}

static void *ask_the_failing(void *arg)
{
	larder_tenant *tenant = arg;
	const struct larder_loading loading = { sizeof(loading), 0, 0, load_in_vain, NULL, NULL };
	const struct larder_call call = { sizeof(call), 0, 30000, NULL, NULL };
	struct larder_value value = { 0 };
	int rc = larder_get_or_set(tenant, "herd", "failing", 7, &loading, &call, &value);

	atomic_fetch_add(&shared->counted[rc == LARDER_E_LOAD ? 2 : 0], 1);
	return NULL;
}

static void be_many_threads(void *arg)
{
	larder_tenant *tenant = team_tenant(cache, "acme");
	pthread_t threads[FAILING_THREADS];

	(void)arg;
	TEAM_CHECK(larder_attach(cache) == 0);
	team_meet(&shared->start, FAILING_PROCESSES);
	for (int i = 0; i < FAILING_THREADS; i++)
		TEAM_CHECK(pthread_create(&threads[i], NULL, ask_the_failing, tenant) == 0);
	for (int i = 0; i < FAILING_THREADS; i++)
		pthread_join(threads[i], NULL);
	larder_tenant_close(tenant);
}

static void test_a_thousand_waiters_fail_together(void **state)
{
	pid_t pids[FAILING_PROCESSES];
	int64_t began_ms;

	(void)state;
	begin_with("FAIL_THROTTLE_MS=30s", NULL);
	began_ms = team_now_ms();
	for (int i = 0; i < FAILING_PROCESSES; i++)
		pids[i] = team_start(be_many_threads, NULL);
	for (int i = 0; i < FAILING_PROCESSES; i++)
		team_join(pids[i]);
	TEAM_EXPECT(atomic_load(&shared->counted[2]), FAILING_PROCESSES * FAILING_THREADS);
	TEAM_EXPECT(atomic_load(&shared->loads), 1);
	print_message("# %d waiters of a failing load done in %lld ms\n", FAILING_PROCESSES * FAILING_THREADS, (long long)(team_now_ms() - began_ms));
	end();
}

/* ---- a hundred callers, and a trace ---- */

enum { SLOW_MS = 5 };

static int load_slowly(struct larder_load *load, void *ctx)
{
	(void)ctx;
	atomic_fetch_add(&shared->loads, 1);
	work_for(SLOW_MS);
	return larder_load_give(load, load->name, load->name_len) == 0 ? LARDER_LOADED : LARDER_LOAD_FAILED;
}

static int get_slow(larder_tenant *tenant, uint32_t name, _Atomic int64_t *longest_ms)
{
	const struct larder_loading loading = { sizeof(loading), 0, 0, load_slowly, NULL, NULL };
	struct larder_value value = { 0 };
	int64_t began_ms = team_now_ms();
	int rc = larder_get_or_set(tenant, "trace", &name, sizeof(name), &loading, NULL, &value);

	raise_to(longest_ms, team_now_ms() - began_ms);
	if (rc == 0)
		TEAM_CHECK(value.len == sizeof(name) && memcmp(value.data, &name, sizeof(name)) == 0);
	larder_value_free(&value);
	return rc;
}

static void be_a_caller(void *arg)
{
	larder_tenant *tenant = team_tenant(cache, "acme");

	(void)arg;
	TEAM_CHECK(larder_attach(cache) == 0);
	for (uint32_t turn = 0; turn < TURNS; turn++) {
		team_meet(&shared->start, CALLERS);
		TEAM_EXPECT(get_slow(tenant, turn, &shared->slowest_ms[turn]), 0);
	}
	larder_tenant_close(tenant);
}

static void test_a_hundred_callers_are_done_soon(void **state)
{
	pid_t pids[CALLERS];
	int64_t best_ms;

	(void)state;
	begin_with(NULL, NULL);
	for (int i = 0; i < CALLERS; i++)
		pids[i] = team_start(be_a_caller, NULL);
	for (int i = 0; i < CALLERS; i++)
		team_join(pids[i]);
	TEAM_EXPECT(atomic_load(&shared->loads), TURNS);
	/* The best of some turns: what the host does beside this is not ours. */
	best_ms = atomic_load(&shared->slowest_ms[0]);
	for (int turn = 1; turn < TURNS; turn++)
		best_ms = atomic_load(&shared->slowest_ms[turn]) < best_ms ? atomic_load(&shared->slowest_ms[turn]) : best_ms;
	print_message("# the slowest of %d callers: %lld ms, the load %d ms\n", CALLERS, (long long)best_ms, SLOW_MS);
	TEAM_CHECK(best_ms <= (100 + SLOW_MS) * (IS_SANITIZED ? 10 : 1));
	end();
}

/* Names as a trace has them: a few very often, by Zipf's law with exponent 1 over a thousand names. */
static uint32_t draw(uint64_t *random)
{
	uint64_t number = team_random(random) >> 11;
	double u = (double)number / 9007199254740992.0;
	double n = 1;

	/* The inverse of ln(n) / ln(1000), as 1000^u, without libm. */
	for (int bit = 0; bit < 20; bit++) {
		static const double roots[20] = { 31.6227766, 5.62341325, 2.37137371, 1.53992653, 1.24093775, 1.11397386, 1.05545013, 1.02735103, 1.01358302,
			1.00676860, 1.00337859, 1.00168787, 1.00084358, 1.00042170, 1.00021083, 1.00010541, 1.00005270, 1.00002635, 1.00001318, 1.00000659 };

		u *= 2;
		if (u >= 1) {
			u -= 1;
			n *= roots[bit];
		}
	}
	return (uint32_t)n;
}

static uint64_t per_worker;

static void replay(void *arg)
{
	larder_tenant *tenant = team_tenant(cache, "acme");
	uint64_t random = team_seed() + (uint64_t)(uintptr_t)arg * 977 + 1;

	TEAM_CHECK(larder_attach(cache) == 0);
	team_meet(&shared->start, TRACE_WORKERS);
	for (uint64_t i = 0; i < per_worker; i++)
		TEAM_EXPECT(get_slow(tenant, draw(&random), &shared->longest_call_ms), 0);
	atomic_fetch_add(&shared->requests, per_worker);
	larder_tenant_close(tenant);
}

static void test_loads_of_a_trace(void **state)
{
	int64_t began_ms, took_ms;
	pid_t pids[TRACE_WORKERS];
	double with, without;

	(void)state;
	begin_with(NULL, NULL);
	per_worker = team_size(10000, 200000);
	began_ms = team_now_ms();
	for (uintptr_t i = 0; i < TRACE_WORKERS; i++)
		pids[i] = team_start(replay, (void *)i);
	for (int i = 0; i < TRACE_WORKERS; i++)
		team_join(pids[i]);
	took_ms = team_now_ms() - began_ms;
	with = (double)atomic_load(&shared->requests) / (double)(took_ms > 0 ? took_ms : 1);
	without = (double)TRACE_WORKERS / SLOW_MS;
	print_message("# %llu requests, %llu loads; %.1f requests/ms, at most %.1f without\n", (unsigned long long)atomic_load(&shared->requests),
	    (unsigned long long)atomic_load(&shared->loads), with, without);
	/* 95 % fewer, ten times the throughput. */
	TEAM_CHECK(atomic_load(&shared->loads) * 20 <= atomic_load(&shared->requests));
	TEAM_CHECK(IS_SANITIZED || with >= 10 * without);
	end();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_herd_makes_one_load_a_round), cmocka_unit_test(test_a_killed_owner_is_followed_at_once),
		cmocka_unit_test(test_a_stopped_owner_costs_nobody_more_than_its_budget),
		cmocka_unit_test(test_who_waited_out_its_budget_may_load_by_itself), cmocka_unit_test(test_a_thousand_waiters_fail_together),
		cmocka_unit_test(test_a_hundred_callers_are_done_soon), cmocka_unit_test(test_loads_of_a_trace),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
