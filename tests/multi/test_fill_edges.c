/* SPDX-License-Identifier: MIT */
/*
 * Fills that cannot be stored, because a stopped process has the writer gate or pins a full store: the value goes to whoever loaded it, those who wait fetch
 * for themselves, in bounded time, and afterwards all is as ever. And a value that is deleted while it is about to be refreshed early.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/sample.h"
#include "lib/team.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLACK_MS = 10000 };
#else
enum { SLACK_MS = 1000 };
#endif

enum { CALLERS = 6, WRITE_WAIT_MS = 200, LARGE = 256 << 10, KEYS = 12, ROUNDS = 4000 };

static larder *cache;
static larder_tenant *tenant;
static unsigned char large[LARGE];

static struct shared {
	_Atomic uint64_t loads;
	_Atomic uint64_t values;
	_Atomic int64_t longest_ms;
} *shared;

static void begin(void)
{
	shared = team_share(sizeof(*shared));
	cache = team_open(team_directory(), "SIZE=8M", "WORKERS=32", "THREADS=0", "WRITE_WAIT_MS=200ms", "FILL_WAIT_MS=20s", "LEASE_MS=60s",
	    "TTL=10s", "STALE=1h", NULL);
	tenant = team_tenant(cache, "acme");
}

static void end(void)
{
	larder_tenant_close(tenant);
	larder_close(cache);
	team_remove(team_directory());
	atomic_store(&team_plan()->boot_shift_ms, 0);
	team_disarm();
	team_unshare(shared, sizeof(*shared));
}

static uint64_t joins(void)
{
	struct larder_stats stats = { .size = sizeof(stats) };

	TEAM_EXPECT(larder_get_stats(cache, &stats), 0);
	return stats.load_joins;
}

/* The first waits until the others wait for it. */
static int load(struct larder_load *load, void *ctx)
{
	if (atomic_fetch_add(&shared->loads, 1) == 0 && ctx)
		TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, joins() == CALLERS - 1));
	return larder_load_give(load, "new", 3) == 0 ? LARDER_LOADED : LARDER_LOAD_FAILED;
}

static int ask(int together)
{
	static int yes;
	const struct larder_loading loading = { sizeof(loading), 0, 0, load, together ? &yes : NULL, NULL };
	struct larder_value value = { 0 };
	int64_t began_ms = team_now_ms(), took_ms, longest;
	int rc = larder_get_or_set(tenant, "edges", "k", 1, &loading, NULL, &value);

	took_ms = team_now_ms() - began_ms;
	longest = atomic_load(&shared->longest_ms);
	while (took_ms > longest && !atomic_compare_exchange_weak(&shared->longest_ms, &longest, took_ms))
		;
	if (rc == 0)
		TEAM_CHECK(value.len == 3 && memcmp(value.data, "new", 3) == 0);
	atomic_fetch_add(&shared->values, rc == 0);
	larder_value_free(&value);
	return rc;
}

static void ask_together(void *arg)
{
	(void)arg;
	TEAM_EXPECT(larder_attach(cache), 0);
	TEAM_EXPECT(ask(1), 0);
}

/* All want one value that cannot be stored. */
static void expect_values_for_all(void)
{
	pid_t pids[CALLERS];

	for (int i = 0; i < CALLERS; i++)
		pids[i] = team_start(ask_together, NULL);
	for (int i = 0; i < CALLERS; i++)
		team_join(pids[i]);
	TEAM_EXPECT(atomic_load(&shared->values), CALLERS);
	TEAM_EXPECT(atomic_load(&shared->loads), CALLERS);
	/* The one that they waited for, and their own: each up to a limit of a write. */
	TEAM_CHECK(atomic_load(&shared->longest_ms) <= 2 * WRITE_WAIT_MS + SLACK_MS);
}

static void expect_all_is_well(void)
{
	uint64_t before = atomic_load(&shared->loads);

	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, ask(0) == 0 && larder_exists(tenant, "edges", "k", 1, NULL) == 0));
	TEAM_CHECK(atomic_load(&shared->loads) > before);
	before = atomic_load(&shared->loads);
	TEAM_EXPECT(ask(0), 0);
	TEAM_EXPECT(atomic_load(&shared->loads), before);
}

/* ---- the gate is held ---- */

static void set_stopping(void *arg)
{
	(void)arg;
	TEAM_EXPECT(larder_attach(cache), 0);
	team_arm(LD_FAULT_gate_taken, LD_FAULT_STOP, getpid(), 1);
	TEAM_EXPECT(larder_set(tenant, "edges", "other", 5, "x", 1, NULL, NULL), 0);
}

static void test_the_gate_is_held_by_a_stopped_process(void **state)
{
	pid_t pid;

	(void)state;
	begin();
	pid = team_start(set_stopping, NULL);
	team_await_stop(pid);
	expect_values_for_all();
	TEAM_EXPECT(larder_exists(tenant, "edges", "k", 1, NULL), LARDER_MISS);
	team_continue(pid);
	team_join(pid);
	expect_all_is_well();
	end();
}

/* ---- the store is full ---- */

static int set_some(unsigned round)
{
	char name[16];
	int len = snprintf(name, sizeof(name), "n%u", round % KEYS);

	sample_fill(large, LARGE, round % KEYS, round);
	return larder_set(tenant, "edges", name, (size_t)len, large, LARGE, NULL, NULL);
}

static void read_stopping(void *arg)
{
	struct larder_value value = { 0 };

	(void)arg;
	TEAM_EXPECT(larder_attach(cache), 0);
	team_arm(LD_FAULT_get_mid_copy, LD_FAULT_STOP, getpid(), 1);
	TEAM_EXPECT(larder_get(tenant, "edges", "n0", 2, NULL, &value), 0);
	larder_value_free(&value);
}

static int fills(void)
{
	int rc = 0;

	/* Large ones until there is no room, then small ones, for what is left of it. */
	for (unsigned round = 1; round < ROUNDS && rc == 0; round++)
		rc = set_some(round);
	TEAM_EXPECT(rc, LARDER_UNAVAILABLE);
	for (unsigned round = 0; round < ROUNDS; round++) {
		rc = larder_set(tenant, "edges", &round, sizeof(round), large, 3000, NULL, NULL);
		if (rc != 0)
			return rc;
	}
	return rc;
}

static void test_the_store_is_full_and_pinned(void **state)
{
	pid_t pid;

	(void)state;
	begin();
	TEAM_EXPECT(set_some(0), 0);
	pid = team_start(read_stopping, NULL);
	team_await_stop(pid);
	TEAM_EXPECT(fills(), LARDER_UNAVAILABLE);
	TEAM_CHECK(larder_reason() == LARDER_REASON_PINNED || larder_reason() == LARDER_REASON_FULL);
	expect_values_for_all();
	team_continue(pid);
	team_join(pid);
	expect_all_is_well();
	end();
}

/* ---- deleted while it is about to be refreshed early ---- */

/* As if it had taken weeks: the chance that it is not refreshed early is one in hundreds of thousands. */
static int load_slowly(struct larder_load *load, void *ctx)
{
	(void)ctx;
	atomic_fetch_add(&team_plan()->boot_shift_ms, INT64_C(4000000000));
	return larder_load_give(load, "new", 3) == 0 ? LARDER_LOADED : LARDER_LOAD_FAILED;
}

static void ask_stopping(void *arg)
{
	(void)arg;
	TEAM_EXPECT(larder_attach(cache), 0);
	/* It has found the value, fresh. */
	team_arm(LD_FAULT_get_mid_copy, LD_FAULT_STOP, getpid(), 1);
	TEAM_EXPECT(ask(0), 0);
}

static void test_deleted_before_its_early_refresh(void **state)
{
	const struct larder_loading loading = { sizeof(loading), 0, 0, load_slowly, NULL, NULL };
	struct larder_value value = { 0 };
	pid_t pid;

	(void)state;
	begin();
	TEAM_EXPECT(larder_get_or_set(tenant, "edges", "k", 1, &loading, NULL, &value), 0);
	larder_value_free(&value);
	pid = team_start(ask_stopping, NULL);
	team_await_stop(pid);
	TEAM_EXPECT(larder_delete(tenant, "edges", "k", 1, NULL), 0);
	team_continue(pid);
	team_join(pid);
	TEAM_EXPECT(atomic_load(&shared->loads), 1);
	TEAM_EXPECT(larder_exists(tenant, "edges", "k", 1, NULL), 0);
	end();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_gate_is_held_by_a_stopped_process), cmocka_unit_test(test_the_store_is_full_and_pinned),
		cmocka_unit_test(test_deleted_before_its_early_refresh),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
