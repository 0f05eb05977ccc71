/* SPDX-License-Identifier: MIT */
/*
 * The host and its second level: it learns once that L2 is down, whatever the number of its processes; it is back when L2 is; and what it has to tell
 * reaches L2 in the order of each key, whoever is killed on the way.
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

#include "lib/fault_server.h"
#include "lib/team.h"

enum { WORKERS = 8, LIMIT_MS = 1500, SLACK_MS = 1000, KEYS = 6, TELLERS = 3, FLUSH_MS = 30000 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_SANITIZED = 1 };
#else
enum { IS_SANITIZED = 0 };
#endif

static larder *cache;
static struct fault_server *server;

static struct shared {
	struct team_barrier start;
	_Atomic int64_t learned_ms[WORKERS];   /* from the start until the first call that was refused had returned */
	_Atomic int64_t longest_ms;            /* of any call */
	_Atomic uint64_t failed;
	_Atomic uint64_t round;
} *shared;

static const char *url_row(void)
{
	static char row[300];

	snprintf(row, sizeof(row), "L2_URL=%s", fault_server_url(server));
	return row;
}

static void begin_with(const struct fault_answer *answer)
{
	shared = team_share(sizeof(*shared));
	server = fault_server_start(NULL);
	TEAM_CHECK(server != NULL);
	if (answer)
		fault_server_rule(server, "/", answer, 0);
}

static void end(void)
{
	larder_close(cache);
	fault_server_free(server);
	team_unshare(shared, sizeof(*shared));
	cache = NULL;
}

static int get(larder_tenant *tenant, uint32_t key)
{
	struct larder_value value = { 0 };
	int64_t began_ms = team_now_ms(), took_ms, seen;
	int rc = larder_get(tenant, "down", &key, sizeof(key), NULL, &value);

	larder_value_free(&value);
	took_ms = team_now_ms() - began_ms;
	seen = atomic_load(&shared->longest_ms);
	while (took_ms > seen && !atomic_compare_exchange_weak(&shared->longest_ms, &seen, took_ms))
		;
	return rc;
}

/* ---- it learns once ---- */

static void ask_until_refused(void *arg)
{
	uint32_t me = (uint32_t)(uintptr_t)arg, key = me * 1000;
	larder_tenant *tenant = team_tenant(cache, "acme");
	int64_t began_ms;

	/* A process that cannot attach yet goes by a breaker of its own. */
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, larder_attach(cache) == 0));
	team_meet(&shared->start, WORKERS);
	began_ms = team_now_ms();
	do
		TEAM_EXPECT(get(tenant, key++), LARDER_E_L2);
	while (larder_reason() != LARDER_REASON_L2_OPEN);
	atomic_store(&shared->learned_ms[me], team_now_ms() - began_ms);
	larder_tenant_close(tenant);
}

static void test_a_dead_l2_is_learned_once(void **state)
{
	pid_t workers[WORKERS];
	int64_t last_ms = 0;

	(void)state;
	/* It takes the connection and never answers: the worst way to be down. */
	begin_with(&(struct fault_answer){ .fault = FAULT_SILENT });
	cache = team_open(team_directory(), "SIZE=8M", "WORKERS=32", "L2_GET_MS=1500ms", "L2_RETRIES=2", "BREAKER_OPEN_MS=1m", "BREAKER_OPEN_MAX_MS=1m",
	    url_row(), NULL);
	for (uintptr_t i = 0; i < WORKERS; i++)
		workers[i] = team_start(ask_until_refused, (void *)i);
	for (int i = 0; i < WORKERS; i++)
		team_join(workers[i]);
	for (int i = 0; i < WORKERS; i++)
		last_ms = atomic_load(&shared->learned_ms[i]) > last_ms ? atomic_load(&shared->learned_ms[i]) : last_ms;
	print_message("# the last of %d workers knew after %lld ms, one limit is %d ms; longest call %lld ms\n", WORKERS, (long long)last_ms, LIMIT_MS,
	    (long long)atomic_load(&shared->longest_ms));
	/* One limit, not one for each failure. Who was told of his own failure before the fifth may have asked again, and is not left to wait. */
	TEAM_CHECK(fault_server_counts(server)->requests <= 2 * WORKERS);
	TEAM_CHECK(last_ms < LIMIT_MS + SLACK_MS);
	end();
}

static int64_t cpu_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
	return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static void test_a_refused_call_is_cheap(void **state)
{
	enum { BATCHES = 20, BATCH = 2000 };
	int64_t best_ns = INT64_MAX;
	larder_tenant *tenant;

	(void)state;
	begin_with(&(struct fault_answer){ .status = 500 });
	cache = team_open(team_directory(), "SIZE=8M", "WORKERS=32", "L2_RETRIES=0", "BREAKER_OPEN_MS=1m", "BREAKER_OPEN_MAX_MS=1m", "THREADS=0", url_row(), NULL);
	tenant = team_tenant(cache, "acme");
	for (uint32_t key = 0; key < 5; key++)
		TEAM_EXPECT(get(tenant, key), LARDER_E_L2);
	for (uint32_t batch = 0; batch < BATCHES; batch++) {
		int64_t began_ns = cpu_ns(), took_ns;
		struct larder_value value;

		for (uint32_t key = 0; key < BATCH; key++)
			TEAM_EXPECT(larder_get(tenant, "down", &key, sizeof(key), NULL, &value), LARDER_E_L2);
		took_ns = (cpu_ns() - began_ns) / BATCH;
		best_ns = took_ns < best_ns ? took_ns : best_ns;
	}
	print_message("# a refused get takes %lld ns of CPU time\n", (long long)best_ns);
	TEAM_EXPECT((int64_t)fault_server_counts(server)->requests, 5);
	TEAM_CHECK(IS_SANITIZED || best_ns < 5000);
	larder_tenant_close(tenant);
	end();
}

/* ---- it is back ---- */

static void ask_meanwhile(void *arg)
{
	larder_tenant *tenant = team_tenant(cache, "acme");
	uint32_t key = (uint32_t)(uintptr_t)arg * 100000;

	while (getppid() != 1 && atomic_load(&shared->failed) == 0)
		(void)get(tenant, key++);
	larder_tenant_close(tenant);
}

static void test_it_recovers(void **state)
{
	pid_t workers[4];
	larder_tenant *tenant;
	int64_t back_ms;

	(void)state;
	begin_with(NULL);
	cache = team_open(team_directory(), "SIZE=8M", "WORKERS=32", "L2_GET_MS=600", "BREAKER_OPEN_MS=100ms", "BREAKER_OPEN_MAX_MS=400ms", url_row(), NULL);
	tenant = team_tenant(cache, "acme");
	TEAM_EXPECT(get(tenant, 1), LARDER_MISS);
	for (uintptr_t i = 0; i < 4; i++)
		workers[i] = team_start(ask_meanwhile, (void *)(i + 1));
	fault_server_stop(server);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, get(tenant, 2) == LARDER_E_L2 && larder_reason() == LARDER_REASON_L2_OPEN));
	TEAM_EXPECT(fault_server_again(server), 0);
	back_ms = team_now_ms();
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, get(tenant, 3) == LARDER_MISS));
	back_ms = team_now_ms() - back_ms;
	print_message("# back after %lld ms; the breaker's longest pause is 400 ms and 20 %%\n", (long long)back_ms);
	TEAM_CHECK(back_ms < 5000);
	atomic_store(&shared->failed, 1);
	for (int i = 0; i < 4; i++)
		team_join(workers[i]);
	larder_tenant_close(tenant);
	end();
}

/* ---- what is told ---- */

static void write_versions(void *arg)
{
	larder_tenant *tenant = team_tenant(cache, "acme");
	uint64_t random = team_seed() * 2 + 1 + (uint64_t)(uintptr_t)arg;

	for (uint32_t i = 1; i <= 400; i++) {
		uint32_t key = (uint32_t)(team_random(&random) % KEYS);
		char text[32];

		snprintf(text, sizeof(text), "v%08llu", (unsigned long long)(atomic_load(&shared->round) * 1000 + i));
		/* One writer a key, so that its versions grow. */
		if (key % 2 == (uint32_t)(uintptr_t)arg)
			TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, larder_set(tenant, "told", &key, sizeof(key), text, strlen(text), NULL, NULL) == 0));
	}
	larder_tenant_close(tenant);
}

static void tell(void *arg)
{
	(void)arg;
	while (larder_flush(cache, FLUSH_MS) != 0)
		;
}

/* Of the requests that the server remembers, newest first: versions of a key never grow towards the past. */
static void check_order(void)
{
	unsigned newest[256] = { 0 };
	const struct fault_request *seen;
	unsigned looked = 0;

	for (unsigned back = 0; back < FAULT_LOG && (seen = fault_server_seen(server, back)) != NULL; back++) {
		const char *text = strstr((const char *)seen->body, "\"v0");
		unsigned version, *last;

		if (!text || sscanf(text, "\"v%u", &version) != 1)
			continue;
		/* The first two digits of the digest tell six keys apart, or the test fails to tell, not to check. */
		last = &newest[strtoul((const char[]){ seen->path[1], seen->path[2], 0 }, NULL, 16)];
		TEAM_CHECK(*last == 0 || version <= *last);
		*last = version;
		looked++;
	}
	TEAM_CHECK(looked > 0);
}

static void test_tellers_are_killed(void **state)
{
	static const enum ld_fault_point points[] = { LD_FAULT_tell_sending, LD_FAULT_tell_sent, LD_FAULT_tell_settling, LD_FAULT_drain_taken };
	uint64_t rounds = team_size(12, 200);

	(void)state;
	begin_with(&(struct fault_answer){ .status = 204 });
	cache = team_open(team_directory(), "SIZE=8M", "WORKERS=32", "THREADS=0", "L2_SET_MS=300", "L2_GET_MS=300", "L2_DELETE_MS=300", url_row(), NULL);
	for (uint64_t round = 0; round < rounds; round++) {
		pid_t teller, writers[2];

		atomic_store(&shared->round, round + 1);
		team_arm(points[round % 4], LD_FAULT_KILL, 0, 1 + (int64_t)(round % 3));
		for (uintptr_t i = 0; i < 2; i++)
			writers[i] = team_start(write_versions, (void *)i);
		teller = team_start(tell, NULL);
		for (int i = 0; i < 2; i++)
			team_join(writers[i]);
		(void)team_end(teller);
		team_disarm();
		team_run(tell, NULL);
		check_order();
	}
	end();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_dead_l2_is_learned_once),
		cmocka_unit_test(test_a_refused_call_is_cheap),
		cmocka_unit_test(test_it_recovers),
		cmocka_unit_test(test_tellers_are_killed),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
