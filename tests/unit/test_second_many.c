/* SPDX-License-Identifier: MIT */
/*
 * Many values at once through both tiers, against a server that does as it is told: what L2 is asked for goes out together, over no more connections than
 * the pool has, within one budget; and each item ends as a get of it would have.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "l2/client.h"
#include "second.h"

enum { MANY = 32, POOL = 8, ITEMS_MAX = 160 };

struct both {
	struct second *second;
	struct box *box;               /* the second's, as the server */
	struct fault_server *server;
	char names[ITEMS_MAX][16];
	struct larder_item items[ITEMS_MAX];
	char paths[ITEMS_MAX][72];
};

static int begin(void **state)
{
	struct both *both = calloc(1, sizeof(*both));
	void *second = NULL;

	if (!both || second_begin(&second) != 0)
		return -1;
	both->second = second;
	both->box = both->second->box;
	both->server = both->second->server;
	for (int i = 0; i < ITEMS_MAX; i++) {
		snprintf(both->names[i], sizeof(both->names[i]), "n%d", i);
		both->items[i] = (struct larder_item){ .space = BOX_SPACE, .name = both->names[i], .name_len = strlen(both->names[i]) };
	}
	*state = both;
	return 0;
}

static void free_values(struct both *both)
{
	for (int i = 0; i < ITEMS_MAX; i++)
		larder_value_free(&both->items[i].value);
}

static int end(void **state)
{
	struct both *both = *state;
	void *second = both->second;
	int rc;

	free_values(both);
	rc = second_end(&second);
	free(both);
	return rc;
}

static struct box *open_both(struct both *both, const char *const *more)
{
	return second_open_cache(both->second, "L2_POOL=8", more);
}

static void rule(struct both *both, const char *prefix, struct fault_answer answer, unsigned times)
{
	if (!answer.headers)
		answer.headers = "Content-Type: application/json\r\n";
	fault_server_rule(both->server, prefix, &answer, times);
}

static struct fault_counts *counts(struct both *both)
{
	return fault_server_counts(both->server);
}

static int64_t now_ms(void)
{
	struct timespec now;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Milliseconds that the call took. */
static int64_t get_many(struct both *both, size_t count, uint32_t budget_ms)
{
	const struct larder_call call = { sizeof(call), 0, budget_ms, NULL, NULL };
	int64_t began_ms = now_ms();

	free_values(both);
	assert_int_equal(larder_mget(both->box->tenant, both->items, count, budget_ms ? &call : NULL), 0);
	return now_ms() - began_ms;
}

static void expect_all(struct both *both, size_t count, int result, const char *value)
{
	for (size_t i = 0; i < count; i++) {
		const struct larder_item *item = &both->items[i];

		if (item->result != result)
			fail_msg("%s: %s", both->names[i], larder_result_name(item->result));
		if (!value)
			continue;
		assert_int_equal(item->value.len, strlen(value));
		assert_memory_equal(item->value.data, value, item->value.len);
	}
}

static size_t count_of(struct both *both, size_t count, int result)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++)
		found += both->items[i].result == result;
	return found;
}

static struct larder_stats stats_of(struct both *both)
{
	struct larder_stats stats = { .size = sizeof(stats) };

	assert_int_equal(larder_get_stats(both->box->cache, &stats), 0);
	return stats;
}

#define GOOD "{\"value\":\"blue\",\"ttl\":30}"

/* ---- together ---- */

/* One after the other they would take MANY delays. */
static void test_many_take_a_few_delays(void **state)
{
	enum { DELAY_MS = 100 };
	struct both *both = *state;
	int64_t took_ms;

	open_both(both, NULL);
	rule(both, "/", (struct fault_answer){ .body = GOOD, .pause_ms = DELAY_MS }, 0);
	took_ms = get_many(both, MANY, 0);
	expect_all(both, MANY, 0, "blue");
	for (int i = 0; i < MANY; i++)
		assert_int_equal(both->items[i].value.source, LARDER_FROM_L2);
	assert_in_range(took_ms, MANY / POOL * DELAY_MS, MANY / 2 * DELAY_MS);
	assert_int_equal(counts(both)->requests, MANY);
	assert_int_equal(counts(both)->connections, POOL);
	/* From here on they are here. */
	get_many(both, MANY, 0);
	expect_all(both, MANY, 0, "blue");
	for (int i = 0; i < MANY; i++)
		assert_int_equal(both->items[i].value.source, LARDER_FROM_L1);
	assert_int_equal(counts(both)->requests, MANY);
	assert_int_equal(stats_of(both).l2_hits, MANY);
}

static void test_only_what_is_not_here_is_asked(void **state)
{
	struct both *both = *state;
	struct box *box = open_both(both, NULL);

	for (int i = 0; i < MANY; i += 2)
		assert_int_equal(box_set(box, both->names[i], "here"), 0);
	assert_int_equal(larder_flush(box->cache, 1), LARDER_E_BUSY);
	/* One whose delete L2 has not been told is a miss, whatever L2 has. */
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, both->names[1], strlen(both->names[1]), NULL), LARDER_MISS);
	fault_server_clear(both->server);
	rule(both, "/", (struct fault_answer){ .body = GOOD }, 0);
	counts(both)->requests = 0;
	get_many(both, MANY, 0);
	assert_int_equal(both->items[0].value.source, LARDER_FROM_L1);
	assert_memory_equal(both->items[0].value.data, "here", 4);
	assert_int_equal(both->items[1].result, LARDER_MISS);
	assert_int_equal(both->items[3].value.source, LARDER_FROM_L2);
	assert_int_equal(count_of(both, MANY, 0), MANY - 1);
	assert_int_equal(counts(both)->requests, MANY / 2 - 1);
}

/* The path that each is asked under. */
static void learn_paths(struct both *both, size_t count)
{
	struct larder_value value;

	for (size_t i = 0; i < count; i++) {
		assert_int_equal(larder_get(both->box->tenant, BOX_SPACE, both->names[i], strlen(both->names[i]), NULL, &value), LARDER_MISS);
		snprintf(both->paths[i], sizeof(both->paths[i]), "%.71s", fault_server_seen(both->server, 0)->path);
	}
}

static void test_each_ends_in_its_own_way(void **state)
{
	static const struct { struct fault_answer answer; unsigned times; int result; } rows[] = {
		{ { .body = GOOD }, 0, 0 },
		{ { .status = 404 }, 0, LARDER_MISS },
		{ { .status = 501 }, 0, LARDER_E_L2 },
		{ { .status = 403 }, 0, LARDER_E_L2 },
		{ { .body = "{\"value\":" }, 0, LARDER_E_L2 },
		{ { .body = GOOD, .fault = FAULT_HALF }, 0, LARDER_E_L2 },
		/* Once, and then it is well again: a retry. */
		{ { .status = 503 }, 1, 0 },
		{ { .body = GOOD, .fault = FAULT_BYTES, .pause_ms = 1 }, 0, 0 },
		{ { .status = 302, .headers = "Location: /elsewhere\r\n" }, 0, LARDER_E_L2 },
		{ { .body = GOOD, .fault = FAULT_CLOSE_AFTER }, 0, 0 },
		{ { .status = 410 }, 0, LARDER_MISS },
		{ { .body = GOOD, .fault = FAULT_CHUNKED }, 0, 0 },
	};
	enum { COUNT = sizeof(rows) / sizeof(*rows) };
	struct both *both = *state;

	/* Failures enough to open the breaker are among them. */
	open_both(both, (const char *const[]){ "BREAKER_FAILURES=1000", "BREAKER_ERROR_PCT=100", NULL });
	learn_paths(both, COUNT);
	for (size_t i = 0; i < COUNT; i++)
		rule(both, both->paths[i], rows[i].answer, rows[i].times);
	rule(both, "/", (struct fault_answer){ .body = GOOD }, 0);
	get_many(both, COUNT, 0);
	for (size_t i = 0; i < COUNT; i++) {
		if (both->items[i].result != rows[i].result)
			fail_msg("row %zu: %s", i, larder_result_name(both->items[i].result));
		if (rows[i].result == 0)
			assert_memory_equal(both->items[i].value.data, "blue", 4);
	}
	assert_int_equal(stats_of(both).l2_retries, 1);
	/* Counted as it comes in; of one the body then turns out to be no JSON. */
	assert_int_equal(stats_of(both).l2_hits, 6);
	assert_int_equal(stats_of(both).l2_misses, COUNT + 2);
	assert_int_equal(stats_of(both).l2_denied, 1);
	assert_int_equal(stats_of(both).l2_bad_bodies, 1);
}

static void test_bodies_are_not_mixed_up(void **state)
{
	struct both *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "L2_CODEC=raw", NULL });

	rule(both, "/", (struct fault_answer){ .echo = 1, .headers = "Cache-Control: max-age=60\r\n" }, 0);
	get_many(both, MANY, 0);
	expect_all(both, MANY, 0, NULL);
	/* Its own path is in each; here, too. */
	for (int i = 0; i < MANY; i++) {
		struct larder_value value;

		assert_memory_equal(both->items[i].value.data, "GET /", 5);
		for (int k = 0; k < i; k++)
			assert_memory_not_equal(both->items[i].value.data, both->items[k].value.data, both->items[i].value.len);
		assert_int_equal(larder_get(box->tenant, BOX_SPACE, both->names[i], strlen(both->names[i]), NULL, &value), 0);
		assert_int_equal(value.source, LARDER_FROM_L1);
		assert_memory_equal(value.data, both->items[i].value.data, value.len);
		larder_value_free(&value);
	}
}

static void test_a_restart_of_l2_fails_none(void **state)
{
	struct both *both = *state;

	open_both(both, (const char *const[]){ "L2_RETRIES=0", NULL });
	for (int round = 0; round < 4; round++) {
		get_many(both, MANY, 0);
		expect_all(both, MANY, LARDER_MISS, NULL);
		fault_server_stop(both->server);
		assert_int_equal(fault_server_again(both->server), 0);
	}
}

/* ---- bounds ---- */

static void test_the_host_bound_is_waited_for(void **state)
{
	struct both *both = *state;

	open_both(both, (const char *const[]){ "L2_INFLIGHT=2", NULL });
	rule(both, "/", (struct fault_answer){ .body = GOOD, .pause_ms = 5 }, 0);
	get_many(both, MANY, 0);
	expect_all(both, MANY, 0, "blue");
	assert_int_equal(counts(both)->connections, 2);
	assert_int_equal(stats_of(both).l2_busy, 0);
}

static void test_one_budget_for_all(void **state)
{
	enum { BUDGET_MS = 1000 };
	struct both *both = *state;
	int64_t took_ms;

	open_both(both, NULL);
	rule(both, "/", (struct fault_answer){ .fault = FAULT_SILENT }, 0);
	took_ms = get_many(both, MANY, BUDGET_MS);
	expect_all(both, MANY, LARDER_E_L2, NULL);
	assert_int_equal(larder_reason(), LARDER_REASON_L2_TIMEOUT);
	assert_in_range(took_ms, BUDGET_MS - 5, 2 * BUDGET_MS);
	assert_int_equal(counts(both)->requests, POOL);
	assert_int_equal(stats_of(both).l2_timeouts, MANY);
	/* Such a short time of the caller's own says nothing of L2. */
	assert_false(box_said(both->box, "transition=opened"));
	/* Nor has a call in several parts several budgets: one of its own for each turn of the pool would be twenty. */
	took_ms = get_many(both, ITEMS_MAX, BUDGET_MS);
	expect_all(both, ITEMS_MAX, LARDER_E_L2, NULL);
	assert_in_range(took_ms, BUDGET_MS - 5, 2 * BUDGET_MS);
}

static void test_the_settings_limit_is_for_all(void **state)
{
	enum { LIMIT_MS = 1000 };
	struct both *both = *state;
	int64_t took_ms;

	open_both(both, (const char *const[]){ "L2_GET_MS=1s", "BREAKER_OPEN_MS=60s", "BREAKER_OPEN_MAX_MS=60s", NULL });
	rule(both, "/", (struct fault_answer){ .fault = FAULT_SILENT }, 0);
	took_ms = get_many(both, ITEMS_MAX, 0);
	expect_all(both, ITEMS_MAX, LARDER_E_L2, NULL);
	assert_in_range(took_ms, LIMIT_MS - 5, 2 * LIMIT_MS);
	/* And now it is known to be down. */
	assert_true(box_said(both->box, "transition=opened-failures"));
	assert_in_range(counts(both)->requests, 5, POOL);
}

/* Of those that are asked some miss, before the limit refuses the rest; what is asked for last is in a part of its own, and is not asked of L2. */
static void test_the_longest_time_to_wait_is_told(void **state)
{
	enum { COLD_BURST = 5 };
	struct both *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "L2_RATE=1/m", "L2_BURST=10", NULL });

	rule(both, "/", (struct fault_answer){ .status = 404 }, 0);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, both->names[LD_L2_MANY], strlen(both->names[LD_L2_MANY]), NULL), LARDER_MISS);
	get_many(both, LD_L2_MANY + 1, 0);
	assert_in_range(larder_retry_after(), 1000, 120000);
	assert_int_equal(count_of(both, LD_L2_MANY + 1, LARDER_MISS), COLD_BURST + 1);
	assert_int_equal(count_of(both, LD_L2_MANY + 1, LARDER_E_LIMIT), LD_L2_MANY - COLD_BURST);
	assert_int_equal(larder_mget(box->tenant, &both->items[LD_L2_MANY], 1, NULL), 0);
	assert_int_equal(larder_retry_after(), 0);
}

static void test_an_open_breaker_refuses_all_at_once(void **state)
{
	struct both *both = *state;
	uint64_t before;

	open_both(both, (const char *const[]){ "L2_RETRIES=0", "BREAKER_OPEN_MS=60s", "BREAKER_OPEN_MAX_MS=60s", NULL });
	rule(both, "/", (struct fault_answer){ .status = 500 }, 0);
	get_many(both, 6, 0);
	expect_all(both, 6, LARDER_E_L2, NULL);
	assert_true(box_said(both->box, "transition=opened-failures"));
	before = counts(both)->requests;
	assert_in_range(get_many(both, MANY, 0), 0, 500);
	expect_all(both, MANY, LARDER_E_L2, NULL);
	assert_int_equal(larder_reason(), LARDER_REASON_L2_OPEN);
	assert_int_equal(counts(both)->requests, before);
	assert_in_range(stats_of(both).l2_refused, MANY, MANY + 1);
}

/* It opens while most of them still wait for their turn. */
static void test_opening_in_the_midst(void **state)
{
	struct both *both = *state;

	open_both(both, (const char *const[]){ "L2_RETRIES=0", "L2_POOL=2", "BREAKER_OPEN_MS=60s", "BREAKER_OPEN_MAX_MS=60s", NULL });
	rule(both, "/", (struct fault_answer){ .status = 500 }, 0);
	get_many(both, MANY, 0);
	expect_all(both, MANY, LARDER_E_L2, NULL);
	assert_in_range(counts(both)->requests, 5, 7);
	assert_int_equal(stats_of(both).l2_refused + stats_of(both).l2_errors, MANY);
}

#ifdef LARDER_FAULTS
static void test_one_probe_of_many(void **state)
{
	struct both *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "L2_RETRIES=0", "BREAKER_OPEN_MS=1s", NULL });
	uint64_t before;

	rule(both, "/", (struct fault_answer){ .status = 500 }, 5);
	get_many(both, 5, 0);
	assert_true(box_said(box, "transition=opened-failures"));
	before = counts(both)->requests;
	atomic_fetch_add(&box->plan->boot_shift_ms, 1300);
	get_many(both, MANY, 0);
	assert_int_equal(counts(both)->requests, before + 1);
	assert_int_equal(count_of(both, MANY, LARDER_MISS), 1);
	assert_int_equal(count_of(both, MANY, LARDER_E_L2), MANY - 1);
}

/* Each allocation fails once. Nothing is then called a miss that L2 was not asked for. */
static void test_without_memory(void **state)
{
	enum { COUNT = 4, FAILURES_MAX = 500 };
	const struct larder_call here = { sizeof(here), LARDER_CALL_THIS_TIER, 0, NULL, NULL };
	struct both *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "L2_RETRIES=0", "L2_POOL=4", NULL });
	int64_t left = 0;
	int n = 1;

	rule(both, "/", (struct fault_answer){ .body = GOOD }, 0);
	for (; n < FAILURES_MAX && left <= 0; n++) {
		for (int i = 0; i < COUNT; i++)
			assert_in_range(larder_delete(box->tenant, BOX_SPACE, both->names[i], strlen(both->names[i]), &here), 0, LARDER_MISS);
		free_values(both);
		box->plan->alloc_countdown = n;
		assert_int_equal(larder_mget(box->tenant, both->items, COUNT, NULL), 0);
		left = box->plan->alloc_countdown;
		box->plan->alloc_countdown = 0;
		assert_int_equal(count_of(both, COUNT, 0) + count_of(both, COUNT, LARDER_E_L2) + count_of(both, COUNT, LARDER_UNAVAILABLE), COUNT);
	}
	assert_true(left > 0);
	expect_all(both, COUNT, 0, "blue");
	assert_in_range(n, 10, FAILURES_MAX - 1);
}
#endif

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_many_take_a_few_delays), TEST(test_only_what_is_not_here_is_asked), TEST(test_each_ends_in_its_own_way),
		TEST(test_bodies_are_not_mixed_up), TEST(test_a_restart_of_l2_fails_none), TEST(test_the_host_bound_is_waited_for),
		TEST(test_one_budget_for_all), TEST(test_the_settings_limit_is_for_all), TEST(test_the_longest_time_to_wait_is_told), TEST(test_an_open_breaker_refuses_all_at_once),
		TEST(test_opening_in_the_midst),
#ifdef LARDER_FAULTS
		TEST(test_one_probe_of_many), TEST(test_without_memory),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
