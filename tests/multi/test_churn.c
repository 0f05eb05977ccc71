/* SPDX-License-Identifier: MIT */
/*
 * Mixed sizes from 16 bytes to 1 MB, the cache full, for a long time: no set is refused, every value that is found is right, use stays between the
 * marks, and the last tenth of the sets is not much slower than the first tenth after the cache was full.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "lib/sample.h"
#include "lib/team.h"

enum { WRITERS = 2, TENTHS = 10, KEYS = 400000, SMALL = 16, LARGE = 1 << 20 };

struct board {
	_Atomic uint64_t done;              /* sets of all writers */
	_Atomic uint64_t bytes[TENTHS];     /* stored in each tenth */
	_Atomic int64_t began_us[TENTHS + 1];
	_Atomic int64_t cpu_us[TENTHS];     /* that the processes worked for it */
	_Atomic uint64_t most_used, hits;
};

static struct board *board;
static const char *dir;
static larder *cache;
static uint64_t sets;

/* Most are small; every 64th may have any size. */
static size_t draw_len(uint64_t *random)
{
	uint64_t drawn = team_random(random) >> 32;

	if (drawn % 64 == 0)
		return SMALL + (size_t)(team_random(random) % (LARGE - SMALL + 1));
	return sample_len(random, SMALL, drawn % 10 == 0 ? 64 << 10 : 4 << 10);
}

static void look_for(larder_tenant *tenant, unsigned key)
{
	struct larder_value value = { 0 };
	const char *wrong;
	uint64_t version;
	int rc = larder_get(tenant, "churn", &key, sizeof(key), NULL, &value);

	TEAM_CHECK(rc == 0 || rc == LARDER_MISS);
	if (rc != 0)
		return;
	wrong = sample_wrong(value.data, value.len, key, &version);
	if (wrong)
		TEAM_FAIL("the value of key %u is %s", key, wrong);
	atomic_fetch_add(&board->hits, 1);
	larder_value_free(&value);
}

static void note_use(larder_inspector *inspector)
{
	struct larder_summary summary = { .size = sizeof(summary) };

	TEAM_EXPECT(larder_inspect_summary(inspector, &summary), 0);
	if (summary.used_bytes > atomic_load(&board->most_used))
		atomic_store(&board->most_used, summary.used_bytes);
}

/* Of the whole process, its evictor thread included. */
static int64_t cpu_us(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

static void churn(void *arg)
{
	const struct larder_call generous = { sizeof(generous), 0, 5000, NULL, NULL };
	uint64_t random = (team_seed() + (uintptr_t)arg * 7919) | 1, mine;
	larder_tenant *tenant = team_tenant(cache, "churn");
	larder_inspector *inspector = team_inspect(dir);
	unsigned char *value = malloc(LARGE);
	int64_t worked_us = cpu_us(), now_us;

	TEAM_CHECK(value != NULL);
	while ((mine = atomic_fetch_add(&board->done, 1)) < sets) {
		unsigned key = (unsigned)(team_random(&random) % KEYS);
		size_t len = draw_len(&random);

		if (mine % (sets / TENTHS) == 0)
			atomic_store(&board->began_us[mine / (sets / TENTHS)], team_now_us());
		sample_fill(value, len, key, mine);
		TEAM_EXPECT(larder_set(tenant, "churn", &key, sizeof(key), value, len, NULL, &generous), 0);
		atomic_fetch_add(&board->bytes[mine / (sets / TENTHS)], len);
		if (mine % 8 == 0)
			look_for(tenant, (unsigned)(team_random(&random) % KEYS));
		if (mine % 256 == 0)
			note_use(inspector);
		now_us = cpu_us();
		atomic_fetch_add(&board->cpu_us[mine / (sets / TENTHS)], now_us - worked_us);
		worked_us = now_us;
	}
	free(value);
	larder_inspect_close(inspector);
	larder_tenant_close(tenant);
}

/* Sets a second of the clock, and of work. */
static double rate(int tenth)
{
	return (double)(sets / TENTHS) * 1e6 / (double)(board->began_us[tenth + 1] - board->began_us[tenth]);
}

static double rate_of_work(int tenth)
{
	return (double)(sets / TENTHS) * 1e6 / (double)board->cpu_us[tenth];
}

/* The first tenth fills it, the second is the first one that is full from its beginning. A busy neighbour slows the clock's rate, and a cache that
 * wears out slows both. */
static void expect_steady(void)
{
	for (int i = 0; i < TENTHS; i++)
		print_message("# tenth %d: %.0f sets/s, %.0f a second of work, %.0f MB/s\n", i + 1, rate(i), rate_of_work(i),
		    (double)board->bytes[i] / (double)(board->began_us[i + 1] - board->began_us[i]));
	TEAM_CHECK(board->bytes[0] > UINT64_C(64) << 20);
	if (rate(TENTHS - 1) < 0.7 * rate(1) && rate_of_work(TENTHS - 1) < 0.7 * rate_of_work(1))
		TEAM_FAIL("the last tenth ran at %.0f %% of the first one", 100 * rate(TENTHS - 1) / rate(1));
}

static void test_churn(void **state)
{
	struct larder_stats stats = { .size = sizeof(stats) };
	uint64_t size = UINT64_C(64) << 20, found = 1;
	larder_inspector *inspector;
	pid_t pids[WRITERS];

	(void)state;
	sets = team_size(100000, 2000000);
	board = team_share(sizeof(*board));
	dir = team_directory();
	cache = team_open(dir, "SIZE=64M", "WORKERS=16", "TENANTS=16", "TTL=1h", NULL);
	for (uintptr_t i = 0; i < WRITERS; i++)
		pids[i] = team_start(churn, (void *)i);
	for (int i = 0; i < WRITERS; i++)
		team_join(pids[i]);
	atomic_store(&board->began_us[TENTHS], team_now_us());
	expect_steady();
	TEAM_EXPECT(larder_get_stats(cache, &stats), 0);
	TEAM_EXPECT((int64_t)stats.sets, (int64_t)sets);
	TEAM_EXPECT((int64_t)stats.sets_dropped, 0);
	TEAM_CHECK(stats.evictions > sets / 4 && board->hits > 0);
	print_message("# %llu evictions, at most %.1f %% used, %.1f %% at the end\n", (unsigned long long)stats.evictions,
	    100.0 * (double)board->most_used / (double)size, 100.0 * (double)stats.used_bytes / (double)size);
	/* Between the marks of 90 and 95 %, but for a large value and what two batches are. */
	TEAM_CHECK(board->most_used < size * 97 / 100);
	TEAM_CHECK(stats.used_bytes > size * 80 / 100);
	inspector = team_inspect(dir);
	TEAM_EXPECT(larder_inspect_check(inspector, 0, NULL, NULL, NULL, &found), 0);
	TEAM_EXPECT((int64_t)found, 0);
	larder_inspect_close(inspector);
	larder_close(cache);
	team_unshare(board, sizeof(*board));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_churn),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests_name("churn", tests, NULL, NULL);
}
