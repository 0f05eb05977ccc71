/* SPDX-License-Identifier: MIT */
/*
 * A process that ends by exit() without closing its cache, with threads of the library at work: its exit handlers free what OpenSSL has. None may be in
 * there then, and the end does not wait for L2.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/fault_server.h"
#include "lib/team.h"

enum { ROUNDS = 150, ROUNDS_LONG = 3000, SOON_MS = 30000, LATEST_US = 6000 };
#define FORM "SIZE=8M", "WORKERS=16", "L2_SET_MS=10m", "L2_GET_MS=10m", "L2_CONNECT_MS=1m", "EVICTOR=off", "BREAKER_FAILURES=0", "BREAKER_ERROR_PCT=0"

struct stage {
	const char *dir;
	char cert[300], key[300], ca[330], url[300];
	struct fault_server *server;
};

static struct stage stage;
static larder *cache;

static int begin(void **state)
{
	struct fault_options options = { .cert_file = stage.cert, .key_file = stage.key };

	(void)state;
	stage.dir = team_directory();
	snprintf(stage.cert, sizeof(stage.cert), "%s/cert", stage.dir);
	snprintf(stage.key, sizeof(stage.key), "%s/key", stage.dir);
	snprintf(stage.ca, sizeof(stage.ca), "L2_CA_FILE=%s", stage.cert);
	if (fault_certificate(stage.cert, stage.key, "IP:127.0.0.1", 3600) != 0)
		return -1;
	stage.server = fault_server_start(&options);
	if (!stage.server)
		return -1;
	snprintf(stage.url, sizeof(stage.url), "L2_URL=%s", fault_server_url(stage.server));
	return 0;
}

static int end(void **state)
{
	(void)state;
	fault_server_free(stage.server);
	team_remove(stage.dir);
	return 0;
}

/* ---- at any moment ---- */

static void store_stale(void *arg)
{
	const struct larder_store store = { .size = sizeof(store), .ttl_ms = 1, .stale_ms = 3600000 };
	const struct larder_call here = { .size = sizeof(here), .flags = LARDER_CALL_THIS_TIER };
	larder_tenant *tenant = team_tenant(cache, "acme");
	uint32_t rounds = *(uint32_t *)arg;

	for (uint32_t i = 0; i < rounds; i++)
		TEAM_EXPECT(larder_set(tenant, "s", &i, sizeof(i), "v", 1, &store, &here), 0);
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* A thread asks L2 for a newer one, over a connection that it makes. */
static void exit_meanwhile(uint32_t i, int64_t after_us)
{
	const struct timespec after = { 0, (long)after_us * 1000 };
	larder_tenant *tenant = team_tenant(cache, "acme");
	struct larder_value value = { 0 };

	TEAM_EXPECT(larder_get(tenant, "s", &i, sizeof(i), NULL, &value), LARDER_STALE);
	larder_value_free(&value);
	(void)nanosleep(&after, NULL);
	exit(0);
}

static void test_exit_at_any_moment(void **state)
{
	uint32_t rounds = team_is_long() ? ROUNDS_LONG : ROUNDS;
	uint64_t random = team_seed();

	(void)state;
	cache = team_open(stage.dir, FORM, "TTL=1h", stage.ca, stage.url, NULL);
	team_run(store_stale, &rounds);
	for (uint32_t i = 0; i < rounds; i++) {
		int64_t after_us = (int64_t)(team_random(&random) >> 20) % LATEST_US;
		pid_t pid;

		fflush(NULL);
		pid = fork();
		TEAM_CHECK(pid >= 0);
		if (pid == 0)
			exit_meanwhile(i, after_us);
		TEAM_EXPECT(team_end(pid), 0);
	}
	TEAM_CHECK(fault_server_counts(stage.server)->connections > 0);
	larder_close(cache);
}

/* ---- while L2 does not answer ---- */

/* Runs after the library's handler. What it had under way has been let go; and the cache can be closed. */
static void close_late(void)
{
	if (!TEAM_POLL(SOON_MS, atomic_load(&fault_server_counts(stage.server)->open) == 0))
		_exit(2);
	larder_close(cache);
}

static void exit_while_it_tells(void)
{
	larder_tenant *tenant;

	if (atexit(close_late) != 0)
		_exit(3);
	cache = team_open(stage.dir, FORM, "TTL=1h", stage.ca, stage.url, NULL);
	tenant = team_tenant(cache, "acme");
	TEAM_EXPECT(larder_set(tenant, "s", "k", 1, "v", 1, NULL, NULL), 0);
	TEAM_CHECK(TEAM_POLL(SOON_MS, atomic_load(&fault_server_counts(stage.server)->requests) > 0));
	exit(0);
}

static void test_exit_does_not_wait_for_l2(void **state)
{
	pid_t pid;

	(void)state;
	fault_server_rule(stage.server, "/", &(struct fault_answer){ .fault = FAULT_SILENT }, 0);
	fflush(NULL);
	pid = fork();
	TEAM_CHECK(pid >= 0);
	if (pid == 0)
		exit_while_it_tells();
	TEAM_EXPECT(team_end(pid), 0);
}

/* The last handler of all but the leak sanitizer's: whoever leaves so frees nothing. */
static void end_child(int status, void *parent)
{
	if (getpid() != *(pid_t *)parent)
		_exit(status);
}

int main(int argc, char **argv)
{
	static pid_t parent;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_exit_at_any_moment, begin, end),
		cmocka_unit_test_setup_teardown(test_exit_does_not_wait_for_l2, begin, end),
	};

	parent = getpid();
	if (on_exit(end_child, &parent) != 0)
		return 99;
	team_begin(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
