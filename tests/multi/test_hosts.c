/* SPDX-License-Identifier: MIT */
/*
 * Two hosts - two directories, several processes each - behind one L2: each is kept to its own limits, and what one writes or deletes the other has from L2.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "lib/fault_server.h"
#include "lib/l2d.h"
#include "lib/team.h"

enum { HOSTS = 2, WORKERS = 3, KEYS = 24, RATE = 200, BURST = 40, VERSION_MAX = 32 };

struct board {
	_Atomic int stop;
	_Atomic uint64_t admitted[HOSTS], refused[HOSTS], asked[HOSTS];
	struct team_barrier barrier;
	char read[HOSTS][KEYS][VERSION_MAX];
};

static struct board *board;
static const char *dirs[HOSTS];
static char url[300];

static int begin(void **state)
{
	(void)state;
	board = team_share(sizeof(*board));
	for (int i = 0; i < HOSTS; i++)
		dirs[i] = team_directory();
	return 0;
}

static int end(void **state)
{
	(void)state;
	for (int i = 0; i < HOSTS; i++)
		team_remove(dirs[i]);
	team_unshare(board, sizeof(*board));
	return 0;
}

/* ---- limits ---- */

struct worker {
	int host, number;
	larder *cache;
};

/* Every get is of another name, so that each that is admitted asks L2. */
static void ask(void *arg)
{
	const struct worker *worker = arg;
	larder_tenant *tenant = team_tenant(worker->cache, "acme");
	char name[40];

	for (unsigned i = 0; !atomic_load(&board->stop); i++) {
		struct larder_value value = { 0 };
		int len = snprintf(name, sizeof(name), "n-%d-%u", worker->number, i), rc;

		atomic_fetch_add(&board->asked[worker->host], 1);
		rc = larder_get(tenant, "s", name, (size_t)len, NULL, &value);
		if (rc == LARDER_MISS)
			atomic_fetch_add(&board->admitted[worker->host], 1);
		else if (rc == LARDER_E_LIMIT)
			atomic_fetch_add(&board->refused[worker->host], 1);
		else
			TEAM_FAIL("a get of L2 is %s", larder_result_name(rc));
	}
	larder_tenant_close(tenant);
}

static void test_each_host_has_its_limits(void **state)
{
	struct fault_server *server = fault_server_start(NULL);
	struct worker workers[HOSTS][WORKERS];
	pid_t pids[HOSTS][WORKERS];
	larder *caches[HOSTS];
	int64_t began_ns;
	double seconds;

	(void)state;
	assert_non_null(server);
	snprintf(url, sizeof(url), "L2_URL=%s", fault_server_url(server));
	for (int host = 0; host < HOSTS; host++)
		caches[host] = team_open(dirs[host], "SIZE=8M", "WORKERS=16", "THREADS=0", "L2_RATE=200", "L2_BURST=40", "L2_RETRIES=0", "L2_GET_MS=20s", url, NULL);
	began_ns = ld_clock_boot_ns();
	for (int host = 0; host < HOSTS; host++)
		for (int i = 0; i < WORKERS; i++) {
			workers[host][i] = (struct worker){ host, i, caches[host] };
			pids[host][i] = team_start(ask, &workers[host][i]);
		}
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, ld_clock_boot_ns() - began_ns > (int64_t)team_size(1500, 20000) * 1000000));
	atomic_store(&board->stop, 1);
	for (int host = 0; host < HOSTS; host++)
		for (int i = 0; i < WORKERS; i++)
			team_join(pids[host][i]);
	seconds = (double)(ld_clock_boot_ns() - began_ns) / 1e9;
	for (int host = 0; host < HOSTS; host++) {
		uint64_t admitted = atomic_load(&board->admitted[host]);
		/* Both are cold: half of the rate and of the burst. */
		double most = (RATE * seconds + BURST) / 2;

		print_message("# host %d: %llu of %llu admitted in %.3f s, %.0f allowed\n", host, (unsigned long long)admitted,
		    (unsigned long long)atomic_load(&board->asked[host]), seconds, most);
		assert_true((double)admitted <= most);
		assert_true(admitted >= BURST / 2);
		assert_true(atomic_load(&board->refused[host]) > 0);
		larder_close(caches[host]);
	}
	/* What was admitted, and nothing else, has come to L2. */
	assert_int_equal(fault_server_counts(server)->requests, atomic_load(&board->admitted[0]) + atomic_load(&board->admitted[1]));
	fault_server_free(server);
}

/* ---- values ---- */

/* As if it had never been here: L2 is asked next. */
static void forget(larder_tenant *tenant, const char *name)
{
	const struct larder_call here = { .size = sizeof(here), .flags = LARDER_CALL_THIS_TIER };
	int rc = larder_delete(tenant, "s", name, strlen(name), &here);

	TEAM_CHECK(rc == 0 || rc == LARDER_MISS);
}

/* "" for what is not there. */
static void read_l2(larder_tenant *tenant, const char *name, char ret_text[VERSION_MAX])
{
	struct larder_value value = { 0 };
	int rc;

	forget(tenant, name);
	rc = larder_get(tenant, "s", name, strlen(name), NULL, &value);
	TEAM_CHECK(rc == 0 || rc == LARDER_MISS);
	TEAM_CHECK(rc != 0 || (value.source == LARDER_FROM_L2 && value.len < VERSION_MAX));
	memset(ret_text, 0, VERSION_MAX);
	if (rc == 0)
		memcpy(ret_text, value.data, value.len);
	larder_value_free(&value);
}

static larder *open_host(int host)
{
	return team_open(dirs[host], "SIZE=8M", "WORKERS=16", "THREADS=0", "TTL=1h", "L2_GET_MS=20s", "L2_SET_MS=20s", "L2_DELETE_MS=20s", url, NULL);
}

static void set(larder_tenant *tenant, const char *name, const char *text)
{
	TEAM_EXPECT(larder_set(tenant, "s", name, strlen(name), text, strlen(text), NULL, NULL), 0);
}

static void test_they_see_each_others_writes(void **state)
{
	larder *caches[HOSTS];
	larder_tenant *tenants[HOSTS];
	char text[VERSION_MAX];
	struct l2d l2d;
	const char *dir = team_directory();

	(void)state;
	if (!l2d_start(&l2d, dir))
		skip();
	memcpy(url, l2d.url, sizeof(l2d.url));
	for (int host = 0; host < HOSTS; host++) {
		caches[host] = open_host(host);
		tenants[host] = team_tenant(caches[host], "acme");
	}
	for (int writer = 0; writer < HOSTS; writer++) {
		int reader = 1 - writer;
		struct larder_value value;

		set(tenants[writer], "k", writer ? "two" : "one");
		TEAM_EXPECT(larder_flush(caches[writer], TEAM_DEADLINE_MS), 0);
		read_l2(tenants[reader], "k", text);
		assert_string_equal(text, writer ? "two" : "one");
		/* The reader has kept it: it serves it from its own store. */
		TEAM_EXPECT(larder_get(tenants[reader], "s", "k", 1, NULL, &value), 0);
		assert_int_equal(value.source, LARDER_FROM_L1);
		larder_value_free(&value);
		TEAM_EXPECT(larder_delete(tenants[writer], "s", "k", 1, NULL), 0);
		TEAM_EXPECT(larder_flush(caches[writer], TEAM_DEADLINE_MS), 0);
		read_l2(tenants[reader], "k", text);
		assert_string_equal(text, "");
	}
	for (int host = 0; host < HOSTS; host++) {
		larder_tenant_close(tenants[host]);
		larder_close(caches[host]);
	}
	l2d_stop(&l2d);
	team_remove(dir);
}

/* Writes and deletes keys that both hosts have, tells them, and reads what came of it. */
static void write_and_read(void *arg)
{
	const int host = *(const int *)arg;
	larder *cache = open_host(host);
	larder_tenant *tenant = team_tenant(cache, "acme");
	uint64_t random = (team_seed() + (uint64_t)host * 77777777) | 1;
	char name[16], text[VERSION_MAX];

	team_meet(&board->barrier, HOSTS);
	for (int i = 0; i < (int)team_size(500, 50000); i++) {
		snprintf(name, sizeof(name), "k%u", (unsigned)(team_random(&random) >> 32) % KEYS);
		snprintf(text, sizeof(text), "host %d, write %d", host, i);
		if ((team_random(&random) >> 32) % 4 != 0)
			set(tenant, name, text);
		else
			TEAM_CHECK(larder_delete(tenant, "s", name, strlen(name), NULL) >= 0);
		if (i % 50 == 0)
			TEAM_EXPECT(larder_flush(cache, TEAM_DEADLINE_MS), 0);
	}
	TEAM_EXPECT(larder_flush(cache, TEAM_DEADLINE_MS), 0);
	team_meet(&board->barrier, HOSTS);
	for (int key = 0; key < KEYS; key++) {
		snprintf(name, sizeof(name), "k%d", key);
		read_l2(tenant, name, board->read[host][key]);
	}
	larder_tenant_close(tenant);
	larder_close(cache);
}

static void test_in_the_end_they_agree(void **state)
{
	static int numbers[HOSTS] = { 0, 1 };
	const char *dir = team_directory();
	unsigned there = 0, by[HOSTS] = { 0, 0 };
	pid_t pids[HOSTS];
	struct l2d l2d;

	(void)state;
	if (!l2d_start(&l2d, dir))
		skip();
	memcpy(url, l2d.url, sizeof(l2d.url));
	for (int host = 0; host < HOSTS; host++)
		pids[host] = team_start(write_and_read, &numbers[host]);
	for (int host = 0; host < HOSTS; host++)
		team_join(pids[host]);
	for (int key = 0; key < KEYS; key++) {
		assert_string_equal(board->read[0][key], board->read[1][key]);
		there += board->read[0][key][0] != 0;
		if (board->read[0][key][0])
			by[board->read[0][key][5] - '0']++;
	}
	print_message("# %u of %d keys are there, %u written by host 0, %u by host 1\n", there, KEYS, by[0], by[1]);
	assert_true(there > 0);
	l2d_stop(&l2d);
	team_remove(dir);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_host_has_its_limits, begin, end),
		cmocka_unit_test_setup_teardown(test_they_see_each_others_writes, begin, end),
		cmocka_unit_test_setup_teardown(test_in_the_end_they_agree, begin, end),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
