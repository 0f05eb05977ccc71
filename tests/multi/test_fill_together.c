/* SPDX-License-Identifier: MIT */
/*
 * Several processes that want one value at once: one of them fetches it, from L2 or by its loader, and each way that this can end is the end for all who
 * waited. Whoever fetches does not come to its end before all the others wait, so nothing here depends on who is quick.
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

#include "lib/fault_server.h"
#include "lib/team.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLACK_MS = 10000 };
#else
enum { SLACK_MS = 1500 };
#endif

enum { CALLERS = 6, FLUSH_MS = 20000, REFUSED = 1000 };

static larder *cache;
static struct fault_server *server;

static struct shared {
	struct team_barrier start;
	_Atomic uint64_t loads;
	_Atomic uint64_t seen[64];             /* how often each result was returned, from -32 on */
	_Atomic uint64_t from[4];              /* sources of values */
	_Atomic int32_t reason;                /* of LARDER_E_L2; REFUSED: not all were the same */
	_Atomic int64_t longest_ms;
	_Atomic int32_t has_stopped;
} *shared;

static uint64_t seen(int result)
{
	return atomic_load(&shared->seen[32 + result]);
}

static struct larder_stats stats(void)
{
	struct larder_stats stats = { .size = sizeof(stats) };

	TEAM_EXPECT(larder_get_stats(cache, &stats), 0);
	return stats;
}

static void begin(int with_l2, const char *setting, const char *second, const char *third)
{
	char url[300];

	shared = team_share(sizeof(*shared));
	if (with_l2) {
		server = fault_server_start(NULL);
		TEAM_CHECK(server != NULL);
		(void)snprintf(url, sizeof(url), "L2_URL=%s", fault_server_url(server));
	}
	cache = team_open(team_directory(), "SIZE=8M", "WORKERS=32", "FILL_WAIT_MS=20s", "WRITE_WAIT_MS=10s", "L2_RETRIES=0", with_l2 ? url : "L2_RETRIES=0",
	    setting, second, third, NULL);
}

static void end(void)
{
	larder_close(cache);
	cache = NULL;
	team_remove(team_directory());
	fault_server_free(server);
	server = NULL;
	atomic_store(&team_plan()->boot_shift_ms, 0);
	team_unshare(shared, sizeof(*shared));
}

static void note(int rc, const struct larder_value *value, int64_t began_ms)
{
	int64_t took_ms = team_now_ms() - began_ms, longest = atomic_load(&shared->longest_ms);
	int32_t none = 0, reason = (int32_t)larder_reason();

	while (took_ms > longest && !atomic_compare_exchange_weak(&shared->longest_ms, &longest, took_ms))
		;
	atomic_fetch_add(&shared->seen[32 + rc], 1);
	if (rc == 0 || rc == LARDER_STALE)
		atomic_fetch_add(&shared->from[value->source], 1);
	if (rc == LARDER_E_L2 && !atomic_compare_exchange_strong(&shared->reason, &none, reason) && none != reason)
		atomic_store(&shared->reason, REFUSED);
}

/* ---- a loader, and those who wait for it ---- */

/* What the loader says, and what all are given. */
struct says {
	int result;
	const char *text;
	int no_store;
	const char *given;
};

static int load(struct larder_load *load, void *ctx)
{
	const struct says *says = ctx;

	/* Only the first waits for the others: those may load for themselves, when that is how it ends. */
	if (atomic_fetch_add(&shared->loads, 1) == 0)
		TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, stats().load_joins == CALLERS - 1));
	load->no_store = says->no_store;
	if (says->text && larder_load_give(load, says->text, strlen(says->text)) != 0)
		return LARDER_LOAD_FAILED;
	return says->result;
}

static void ask(void *arg)
{
	const struct says *says = arg;
	larder_tenant *tenant = team_tenant(cache, "acme");
	const struct larder_loading loading = { sizeof(loading), 0, 0, load, arg, NULL };
	struct larder_value value = { 0 };
	int64_t began_ms = team_now_ms();
	int rc = larder_get_or_set(tenant, "together", "k", 1, &loading, NULL, &value);

	note(rc, &value, began_ms);
	if (rc == 0 || rc == LARDER_STALE)
		TEAM_CHECK(says->given && value.len == strlen(says->given) && memcmp(value.data, says->given, value.len) == 0);
	larder_value_free(&value);
	larder_tenant_close(tenant);
}

static struct says a_value = { LARDER_LOADED, "v", 0, "v" }, nothing = { LARDER_LOADED_ABSENT, NULL, 0, NULL },
	in_vain = { LARDER_LOAD_FAILED, NULL, 0, "old" }, the_same = { LARDER_LOADED_UNCHANGED, NULL, 0, "old" }, a_secret = { LARDER_LOADED, "secret", 1, "secret" };

static void all(void (*fn)(void *), void *arg)
{
	pid_t pids[CALLERS];

	for (int i = 0; i < CALLERS; i++)
		pids[i] = team_start(fn, arg);
	for (int i = 0; i < CALLERS; i++)
		team_join(pids[i]);
}

static void set_old(void)
{
	larder_tenant *tenant = team_tenant(cache, "acme");

	TEAM_EXPECT(larder_set(tenant, "together", "k", 1, "old", 3, NULL, NULL), 0);
	larder_tenant_close(tenant);
	atomic_fetch_add(&team_plan()->boot_shift_ms, 20000);
}

static int exists(void)
{
	larder_tenant *tenant = team_tenant(cache, "acme");
	int rc = larder_exists(tenant, "together", "k", 1, NULL);

	larder_tenant_close(tenant);
	return rc;
}

static void test_all_are_given_what_one_has_loaded(void **state)
{
	(void)state;
	begin(0, NULL, NULL, NULL);
	all(ask, &a_value);
	TEAM_EXPECT(seen(0), CALLERS);
	TEAM_EXPECT(shared->loads, 1);
	TEAM_EXPECT(shared->from[LARDER_FROM_LOADER], 1);
	TEAM_EXPECT(shared->from[LARDER_FROM_L1], CALLERS - 1);
	end();
}

static void test_all_are_told_that_there_is_no_such_thing(void **state)
{
	(void)state;
	begin(0, NULL, NULL, NULL);
	all(ask, &nothing);
	TEAM_EXPECT(seen(LARDER_ABSENT), CALLERS);
	TEAM_EXPECT(shared->loads, 1);
	end();
}

static void test_all_fail_together(void **state)
{
	(void)state;
	begin(0, "FAIL_THROTTLE_MS=0", NULL, NULL);
	all(ask, &in_vain);
	TEAM_EXPECT(seen(LARDER_E_LOAD), CALLERS);
	TEAM_EXPECT(shared->loads, 1);
	end();
}

static void test_all_who_fail_are_given_the_old_value(void **state)
{
	(void)state;
	begin(0, "FAIL_THROTTLE_MS=0", "TTL=10s", "STALE_IF_ERROR=1h");
	set_old();
	all(ask, &in_vain);
	TEAM_EXPECT(seen(LARDER_STALE), CALLERS);
	TEAM_EXPECT(shared->loads, 1);
	end();
}

static void test_all_are_given_what_is_unchanged(void **state)
{
	(void)state;
	begin(0, "TTL=10s", "STALE_IF_ERROR=1h", NULL);
	set_old();
	all(ask, &the_same);
	TEAM_EXPECT(seen(0), CALLERS);
	TEAM_EXPECT(shared->loads, 1);
	TEAM_EXPECT(exists(), 0);
	end();
}

static void test_what_is_not_stored_is_loaded_by_each(void **state)
{
	(void)state;
	begin(0, NULL, NULL, NULL);
	all(ask, &a_secret);
	TEAM_EXPECT(seen(0), CALLERS);
	TEAM_EXPECT(shared->loads, CALLERS);
	TEAM_EXPECT(shared->from[LARDER_FROM_LOADER], CALLERS);
	TEAM_EXPECT(exists(), LARDER_MISS);
	end();
}

/* ---- L2, and those who wait for it ---- */

static void get(void *arg)
{
	larder_tenant *tenant = team_tenant(cache, "acme");
	struct larder_value value = { 0 };
	int64_t began_ms;
	int rc;

	(void)arg;
	TEAM_CHECK(larder_attach(cache) == 0);
	team_meet(&shared->start, CALLERS);
	began_ms = team_now_ms();
	rc = larder_get(tenant, "together", "k", 1, NULL, &value);
	note(rc, &value, began_ms);
	larder_value_free(&value);
	larder_tenant_close(tenant);
}

/* All ask, and when one request is held at the server and all others wait for it, it is answered. */
static void all_get(const struct fault_answer *answer)
{
	struct fault_answer held = *answer;
	pid_t pids[CALLERS];

	held.hold = 1;
	fault_server_rule(server, "/", &held, 1);
	fault_server_rule(server, "/", answer, 0);
	fault_server_shut(server);
	for (int i = 0; i < CALLERS; i++)
		pids[i] = team_start(get, NULL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, stats().load_joins == CALLERS - 1));
	fault_server_open(server);
	for (int i = 0; i < CALLERS; i++)
		team_join(pids[i]);
	TEAM_EXPECT(fault_server_counts(server)->requests, 1);
}

static void test_l2_is_asked_once_for_all(void **state)
{
	(void)state;
	begin(1, "L2_GET_MS=20s", NULL, NULL);
	all_get(&(struct fault_answer){ .headers = "Content-Type: application/json\r\n", .body = "{\"value\":\"v\",\"ttl\":60}" });
	TEAM_EXPECT(seen(0), CALLERS);
	TEAM_EXPECT(shared->from[LARDER_FROM_L2], 1);
	end();
}

static void test_one_miss_of_l2_is_for_all(void **state)
{
	(void)state;
	begin(1, "L2_GET_MS=20s", NULL, NULL);
	all_get(&(struct fault_answer){ .status = 404 });
	TEAM_EXPECT(seen(LARDER_MISS), CALLERS);
	end();
}

static void test_one_failure_of_l2_is_for_all_and_is_not_remembered(void **state)
{
	(void)state;
	begin(1, "L2_GET_MS=20s", NULL, NULL);
	all_get(&(struct fault_answer){ .status = 503 });
	TEAM_EXPECT(seen(LARDER_E_L2), CALLERS);
	TEAM_EXPECT(shared->reason, LARDER_REASON_L2_SERVER);
	TEAM_EXPECT(exists(), LARDER_E_L2);
	TEAM_EXPECT(fault_server_counts(server)->requests, 2);
	end();
}

static void test_a_silent_l2_costs_all_one_limit(void **state)
{
	enum { LIMIT_MS = 500 };

	(void)state;
	begin(1, "L2_GET_MS=500ms", NULL, NULL);
	fault_server_rule(server, "/", &(struct fault_answer){ .fault = FAULT_SILENT }, 0);
	all(get, NULL);
	TEAM_EXPECT(seen(LARDER_E_L2), CALLERS);
	TEAM_EXPECT(shared->reason, LARDER_REASON_L2_TIMEOUT);
	TEAM_CHECK(shared->longest_ms >= LIMIT_MS - 100 && shared->longest_ms <= LIMIT_MS + SLACK_MS);
	/* Who is woken by the failure does not ask again; one that came to wait too late may have. */
	TEAM_CHECK(fault_server_counts(server)->requests <= 2);
	end();
}

/* ---- L2 and loader ---- */

static void test_of_all_one_asks_l2_and_loads(void **state)
{
	(void)state;
	begin(1, NULL, NULL, NULL);
	fault_server_rule(server, "/", &(struct fault_answer){ .status = 404 }, 1);
	fault_server_rule(server, "/", &(struct fault_answer){ .status = 204 }, 0);
	all(ask, &a_value);
	TEAM_EXPECT(larder_flush(cache, FLUSH_MS), 0);
	TEAM_EXPECT(seen(0), CALLERS);
	TEAM_EXPECT(shared->loads, 1);
	/* The look, and what it was told. */
	TEAM_EXPECT(fault_server_counts(server)->requests, 2);
	end();
}

static int load_and_stop(struct larder_load *load, void *ctx)
{
	(void)ctx;
	if (atomic_fetch_add(&shared->loads, 1) == 0) {
		atomic_store(&shared->has_stopped, 1);
		kill(getpid(), SIGSTOP);
		return larder_load_give(load, "older", 5) == 0 ? LARDER_LOADED : LARDER_LOAD_FAILED;
	}
	return larder_load_give(load, "newer", 5) == 0 ? LARDER_LOADED : LARDER_LOAD_FAILED;
}

static void load_stopping(void *arg)
{
	larder_tenant *tenant = team_tenant(cache, "acme");
	const struct larder_loading loading = { sizeof(loading), 0, 0, load_and_stop, NULL, NULL };
	struct larder_value value = { 0 };

	TEAM_EXPECT(larder_get_or_set(tenant, "together", "k", 1, &loading, NULL, &value), 0);
	TEAM_CHECK(value.len == 5 && memcmp(value.data, arg, 5) == 0);
	larder_value_free(&value);
	larder_tenant_close(tenant);
}

static void test_who_was_stopped_past_its_lease_tells_l2_nothing_older(void **state)
{
	const struct fault_request *request;
	pid_t owner;

	(void)state;
	begin(1, "LEASE_MS=1s", "THREADS=0", NULL);
	fault_server_rule(server, "/", &(struct fault_answer){ .status = 404 }, 2);
	fault_server_rule(server, "/", &(struct fault_answer){ .status = 204 }, 0);
	owner = team_start(load_stopping, (void *)(uintptr_t)"older");
	team_await_stop(owner);
	atomic_fetch_add(&team_plan()->boot_shift_ms, 1000);
	team_run(load_stopping, (void *)(uintptr_t)"newer");
	TEAM_EXPECT(larder_flush(cache, FLUSH_MS), 0);
	team_continue(owner);
	/* It has its own value, and nobody else. */
	team_join(owner);
	TEAM_EXPECT(larder_flush(cache, FLUSH_MS), 0);
	TEAM_EXPECT(exists(), 0);
	TEAM_EXPECT(shared->loads, 2);
	TEAM_EXPECT(fault_server_counts(server)->requests, 3);
	request = fault_server_seen(server, 0);
	TEAM_CHECK(request && strcmp(request->method, "POST") == 0 && strstr((const char *)request->body, "newer") != NULL);
	team_run(load_stopping, (void *)(uintptr_t)"newer");
	end();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_are_given_what_one_has_loaded), cmocka_unit_test(test_all_are_told_that_there_is_no_such_thing),
		cmocka_unit_test(test_all_fail_together), cmocka_unit_test(test_all_who_fail_are_given_the_old_value),
		cmocka_unit_test(test_all_are_given_what_is_unchanged), cmocka_unit_test(test_what_is_not_stored_is_loaded_by_each),
		cmocka_unit_test(test_l2_is_asked_once_for_all), cmocka_unit_test(test_one_miss_of_l2_is_for_all),
		cmocka_unit_test(test_one_failure_of_l2_is_for_all_and_is_not_remembered), cmocka_unit_test(test_a_silent_l2_costs_all_one_limit),
		cmocka_unit_test(test_of_all_one_asks_l2_and_loads), cmocka_unit_test(test_who_was_stopped_past_its_lease_tells_l2_nothing_older),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
