/* SPDX-License-Identifier: MIT */
/*
 * The background work, and what it must leave true: dead entries go within a sweep, in each of the three ways to do the work; a clear is one small
 * transaction whatever it hides, and its room comes back; use stays between the marks; of any number of concurrent adds exactly one wins.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/sample.h"
#include "lib/team.h"

enum { MANY = 4000, ADDERS = 6, ROUNDS = 200, REMOVED_MS = 15000 };

/* The writer gate is generous here: what is tested is not the deadline. */
static const struct larder_call patient = { sizeof(patient), 0, 20000, NULL, NULL };

static void store_some(larder_tenant *tenant, const char *space, unsigned from, unsigned to, int64_t ttl_ms, size_t len)
{
	struct larder_store store = LARDER_STORE_INIT;
	unsigned char value[4096];

	store.ttl_ms = ttl_ms;
	for (unsigned i = from; i < to; i++) {
		sample_fill(value, len, i, 1);
		TEAM_EXPECT(larder_set(tenant, space, &i, sizeof(i), value, len, &store, &patient), 0);
	}
}

static struct larder_stats stats_of(larder *cache)
{
	struct larder_stats stats = { .size = sizeof(stats) };

	TEAM_EXPECT(larder_get_stats(cache, &stats), 0);
	return stats;
}

static void expect_gone(larder *cache, uint64_t left)
{
	TEAM_CHECK(TEAM_POLL(REMOVED_MS, stats_of(cache).entries == left));
}

static int finding(void *ctx, const struct larder_finding *found)
{
	(void)ctx;
	TEAM_FAIL("check found: %s", found->what);
}

static void expect_sound(const char *dir)
{
	larder_inspector *inspector = team_inspect(dir);
	uint64_t found = 1;

	TEAM_EXPECT(larder_inspect_check(inspector, 0, finding, NULL, NULL, &found), 0);
	TEAM_EXPECT((int64_t)found, 0);
	larder_inspect_close(inspector);
}

static void test_expired_entries_go_within_a_sweep(void **state)
{
	const char *dir = team_directory();
	larder *cache = team_open(dir, "SIZE=32M", "SWEEP_MS=500", NULL);
	larder_tenant *tenant = team_tenant(cache, "acme");

	(void)state;
	store_some(tenant, "short", 0, MANY, 50, 200);
	store_some(tenant, "long", 0, 100, 3600000, 200);
	expect_gone(cache, 100);
	assert_true(stats_of(cache).expiries == MANY);
	assert_true(stats_of(cache).evictions == 0);
	larder_tenant_close(tenant);
	larder_close(cache);
	expect_sound(dir);
	team_remove(dir);
}

static void test_writers_do_it_where_there_is_no_thread(void **state)
{
	const char *dir = team_directory();
	larder *cache = team_open(dir, "SIZE=32M", "SWEEP_MS=200", "EVICTOR=inline", NULL);
	larder_tenant *tenant = team_tenant(cache, "acme");
	unsigned key = MANY;

	(void)state;
	store_some(tenant, "short", 0, MANY, 50, 200);
	/* Nobody else works: the writes themselves must bring the dead away. */
	assert_true(TEAM_POLL(REMOVED_MS, (store_some(tenant, "long", key, key + 40, 3600000, 200), key += 40,
	    stats_of(cache).expiries >= MANY)));
	larder_tenant_close(tenant);
	larder_close(cache);
	expect_sound(dir);
	team_remove(dir);
}

static void test_nobody_does_it_when_off_but_an_agent_may(void **state)
{
	const char *dir = team_directory();
	larder *cache = team_open(dir, "SIZE=32M", "SWEEP_MS=200", "EVICTOR=off", NULL);
	larder_tenant *tenant = team_tenant(cache, "acme");
	larder_inspector *agent;

	(void)state;
	store_some(tenant, "short", 0, 500, 1, 200);
	assert_true(TEAM_POLL(1000, larder_exists(tenant, "short", &(unsigned){ 499 }, sizeof(unsigned), NULL) == LARDER_MISS));
	assert_true(stats_of(cache).entries == 500);
	agent = team_inspect(dir);
	assert_true(TEAM_POLL(REMOVED_MS, larder_inspect_work(agent, 100) == 0 && stats_of(cache).entries == 0));
	larder_inspect_close(agent);
	larder_tenant_close(tenant);
	larder_close(cache);
	team_remove(dir);
}

static void test_use_stays_below_the_high_mark(void **state)
{
	const char *dir = team_directory();
	larder *cache = team_open(dir, "SIZE=8M", NULL);
	larder_tenant *tenant = team_tenant(cache, "acme");
	uint64_t high_b = (uint64_t)(8 << 20) / 100 * 95;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		store_some(tenant, "config", i * 1000, (i + 1) * 1000, 3600000, 1000);
		/* A set may find it just below the mark and add its own pages and those of the tree. */
		assert_true(stats_of(cache).used_bytes <= high_b + 64 * 4096);
	}
	assert_true(stats_of(cache).evictions > 5000);
	assert_true(stats_of(cache).sets_dropped == 0);
	larder_tenant_close(tenant);
	larder_close(cache);
	expect_sound(dir);
	team_remove(dir);
}

static void test_entries_stay_below_their_bound(void **state)
{
	const char *dir = team_directory();
	larder *cache = team_open(dir, "SIZE=32M", "MAX_ENTRIES=1000", NULL);
	larder_tenant *tenant = team_tenant(cache, "acme");

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		store_some(tenant, "config", i * 100, (i + 1) * 100, 3600000, 100);
		assert_true(stats_of(cache).entries <= 1000);
	}
	assert_true(stats_of(cache).entries >= 900);
	larder_tenant_close(tenant);
	larder_close(cache);
	team_remove(dir);
}

static int64_t clear_time_us(larder_tenant *tenant, const char *space)
{
	int64_t start = team_now_us();

	TEAM_EXPECT(larder_clear_space(tenant, space, &patient), 0);
	return team_now_us() - start;
}

/* The median of some clears of a space with so many entries. */
static int64_t typical_clear_us(larder_tenant *tenant, const char *space)
{
	int64_t times[7];

	for (unsigned i = 0; i < 7; i++) {
		times[i] = clear_time_us(tenant, space);
		for (unsigned j = i; j > 0 && times[j - 1] > times[j]; j--) {
			int64_t swap = times[j];

			times[j] = times[j - 1];
			times[j - 1] = swap;
		}
	}
	return times[3];
}

static void test_clear_is_small_and_its_room_comes_back(void **state)
{
	const char *dir = team_directory();
	larder *cache = team_open(dir, "SIZE=64M", NULL);
	larder_tenant *acme = team_tenant(cache, "acme"), *other = team_tenant(cache, "other");
	int64_t few_us, many_us;

	(void)state;
	store_some(acme, "few", 0, 1, 3600000, 100);
	store_some(acme, "many", 0, 5 * MANY, 3600000, 100);
	store_some(acme, "kept", 0, 10, 3600000, 100);
	store_some(other, "many", 0, 10, 3600000, 100);
	few_us = typical_clear_us(acme, "few");
	many_us = typical_clear_us(acme, "many");
	/* 20,000 entries to remove would take hundreds of times as long. */
	if (many_us > 20 * few_us + 2000)
		fail_msg("clearing %d entries took %lld us, one entry %lld us", 5 * MANY, (long long)many_us, (long long)few_us);
	for (unsigned i = 0; i < 5 * MANY; i += 100)
		assert_int_equal(larder_exists(acme, "many", &i, sizeof(i), NULL), LARDER_MISS);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(larder_exists(acme, "kept", &i, sizeof(i), NULL), 0);
		assert_int_equal(larder_exists(other, "many", &i, sizeof(i), NULL), 0);
	}
	/* The default sweep takes a minute; a clear makes it hurry. */
	expect_gone(cache, 20);
	store_some(acme, "many", 0, 1, 3600000, 100);
	assert_int_equal(larder_exists(acme, "many", &(unsigned){ 0 }, sizeof(unsigned), NULL), 0);
	assert_int_equal(larder_clear_tenant(acme, &patient), 0);
	expect_gone(cache, 10);
	assert_int_equal(larder_clear_all(cache, &patient), 0);
	expect_gone(cache, 0);
	larder_tenant_close(acme);
	larder_tenant_close(other);
	larder_close(cache);
	expect_sound(dir);
	team_remove(dir);
}

struct adding {
	struct team_barrier barrier;
	_Atomic uint32_t won[ROUNDS];
	larder_tenant *tenant;
};

static void add_them(void *ctx)
{
	struct adding *adding = ctx;

	for (unsigned round = 0; round < ROUNDS; round++) {
		int rc;

		team_meet(&adding->barrier, ADDERS);
		rc = larder_add(adding->tenant, "jobs", &round, sizeof(round), "taken", 5, NULL, &patient);
		if (rc == 0)
			atomic_fetch_add(&adding->won[round], 1);
		else
			TEAM_EXPECT(rc, LARDER_EXISTS);
	}
}

static void test_exactly_one_add_wins(void **state)
{
	const char *dir = team_directory();
	larder *cache = team_open(dir, "SIZE=8M", NULL);
	struct adding *adding = team_share(sizeof(*adding));
	pid_t pids[ADDERS];

	(void)state;
	adding->tenant = team_tenant(cache, "acme");
	for (int i = 0; i < ADDERS; i++)
		pids[i] = team_start(add_them, adding);
	for (int i = 0; i < ADDERS; i++)
		team_join(pids[i]);
	for (unsigned round = 0; round < ROUNDS; round++)
		assert_int_equal(atomic_load(&adding->won[round]), 1);
	larder_tenant_close(adding->tenant);
	larder_close(cache);
	team_unshare(adding, sizeof(*adding));
	team_remove(dir);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expired_entries_go_within_a_sweep),
		cmocka_unit_test(test_writers_do_it_where_there_is_no_thread),
		cmocka_unit_test(test_nobody_does_it_when_off_but_an_agent_may),
		cmocka_unit_test(test_use_stays_below_the_high_mark),
		cmocka_unit_test(test_entries_stay_below_their_bound),
		cmocka_unit_test(test_clear_is_small_and_its_room_comes_back),
		cmocka_unit_test(test_exactly_one_add_wins),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
