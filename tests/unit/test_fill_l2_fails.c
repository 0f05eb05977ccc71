/* SPDX-License-Identifier: MIT */
/*
 * Fills while the second level fails, is known to be down, or does not answer: what a loader, an older value and the caller's budget make of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "child.h"
#include "leave_out.h"
#include "second.h"
#include "source.h"

enum { FLUSH_MS = 20000 };

static struct source source;
static uint32_t budget_ms;
static int64_t took_ms;
static int rc;

static void *load_in_time(void *arg)
{
	const struct larder_call call = { sizeof(call), 0, budget_ms, NULL, NULL };
	int64_t began_ms = child_now_ms();

	(void)arg;
	rc = source_gives(&source, "k", budget_ms ? &call : NULL, "loaded", LARDER_FROM_LOADER);
	took_ms = child_now_ms() - began_ms;
	return NULL;
}

static larder_lease *lease_of(struct box *box, const char *name)
{
	larder_lease *lease = NULL;

	assert_int_equal(larder_lease_try(box->tenant, BOX_SPACE, name, strlen(name), NULL, &lease), 0);
	return lease;
}

static void silence(struct second *second)
{
	fault_server_clear(second->server);
	fault_server_rule(second->server, "/", &(struct fault_answer){ .fault = FAULT_SILENT }, 0);
}

/* A value in its error window. */
static void begin_old(struct second *second, const char *const *more)
{
	const char *rows[12] = { "STALE=0", "STALE_IF_ERROR=1h", "TTL=10s", "L2_RETRIES=0", "FAIL_THROTTLE_MS=0", "BREAKER_OPEN_MS=1m", "BREAKER_OPEN_MAX_MS=1m",
		"L2_GET_MS=20s", "L2_SET_MS=20s" };
	struct box *box;

	for (int i = 0; more && more[i]; i++)
		rows[9 + i] = more[i];
	box = second_open(second, rows);
	second_answer(second, 204, 1);
	assert_int_equal(box_set(box, "k", "old"), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	source_shift(box, 20000);
}

/* ---- the loader behind a failing L2 ---- */

static void test_with_l2_down_the_loader_is_asked(void **state)
{
	struct second *second = *state;
	struct box *box = second_open(second, (const char *const[]){ "L2_RETRIES=0", "L2_GET_MS=20s", NULL });

	source = source_of(box, "loaded");
	fault_server_stop(second->server);
	for (int i = 0; i < 20; i++) {
		char name[8];

		(void)snprintf(name, sizeof(name), "k%d", i);
		assert_int_equal(source_gives(&source, name, NULL, "loaded", LARDER_FROM_LOADER), 0);
		/* The breaker has opened by now, and it is no matter to this caller. */
		assert_int_equal(larder_retry_after(), 0);
		assert_true(box_gives(box, name, 0, "loaded"));
	}
	assert_int_equal(source.calls, 20);
}

static void test_both_fail(void **state)
{
	struct second *second = *state;
	struct box *box = second_open(second, (const char *const[]){ "L2_RETRIES=0", "L2_GET_MS=20s", NULL });

	second_answer(second, 500, 0);
	source = source_of(box, NULL);
	assert_int_equal(source_gives(&source, "k", NULL, NULL, 0), LARDER_E_LOAD);
	assert_in_range(larder_retry_after(), 1, 1000);
	assert_int_equal(source.calls, 1);
}

/* ---- an older value ---- */

static void test_an_old_value_is_given_when_the_loader_fails_too(void **state)
{
	static const int statuses[] = { 500, 404 };
	struct second *second = *state;
	struct box *box = second->box;

	NEEDS_CLOCK(box);
	begin_old(second, NULL);
	for (int i = 0; i < 2; i++) {
		struct larder_value value = { 0 };
		const struct larder_loading loading = { sizeof(loading), 0, 0, source_load, &source, NULL };

		source = source_of(box, NULL);
		second_answer(second, statuses[i], 1);
		assert_int_equal(larder_get_or_set(box->tenant, BOX_SPACE, "k", 1, &loading, NULL, &value), LARDER_STALE);
		assert_memory_equal(value.data, "old", 3);
		/* To the end of the error window: one in which it is served has been over for long. */
		assert_in_range(value.left_ms, 3500000, 3600000);
		larder_value_free(&value);
		assert_string_equal(source.old, "old");
		assert_int_equal(source.calls, 1);
	}
	/* It has not changed, says its source: renewed, though L2 has none. */
	second_answer(second, 404, 1);
	source.says = LARDER_LOADED_UNCHANGED;
	assert_int_equal(source_gives(&source, "k", NULL, "old", LARDER_FROM_LOADER), 0);
	assert_true(box_gives(box, "k", 0, "old"));
}

static void test_an_old_value_while_the_breaker_is_open(void **state)
{
	struct second *second = *state;
	struct box *box = second->box;
	uint64_t before;

	NEEDS_CLOCK(box);
	begin_old(second, NULL);
	second_answer(second, 500, 0);
	for (int i = 0; i < 6; i++)
		assert_true(box_gives(box, (const char *const[]){ "a", "b", "c", "d", "e", "f" }[i], LARDER_E_L2, NULL));
	assert_int_equal(larder_reason(), LARDER_REASON_L2_OPEN);
	before = second_requests(second);
	assert_true(box_gives(box, "k", LARDER_STALE, "old"));
	assert_in_range(larder_retry_after(), 1, 60000);
	source = source_of(box, NULL);
	assert_int_equal(source_gives(&source, "k", NULL, "old", LARDER_FROM_L1), LARDER_STALE);
	assert_int_equal(larder_retry_after(), 0);
	assert_int_equal(source.calls, 1);
	source = source_of(box, "loaded");
	assert_int_equal(source_gives(&source, "k", NULL, "loaded", LARDER_FROM_LOADER), 0);
	assert_int_equal(second_requests(second), before);
}

static void expect_many(struct box *box, const int *results)
{
	static const char *const names[] = { "fresh", "stale", "k", "none", "absent" }, *const texts[] = { "v", "v", "old", NULL, NULL };
	struct larder_item items[5];

	for (int i = 0; i < 5; i++)
		items[i] = (struct larder_item){ .space = BOX_SPACE, .name = names[i], .name_len = strlen(names[i]) };
	assert_int_equal(larder_mget(box->tenant, items, 5, NULL), 0);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(items[i].result, results[i]);
		if (results[i] == 0 || results[i] == LARDER_STALE) {
			assert_int_equal(items[i].value.len, strlen(texts[i]));
			assert_memory_equal(items[i].value.data, texts[i], items[i].value.len);
			assert_int_equal(items[i].value.state, results[i]);
		} else {
			assert_null(items[i].value.data);
		}
		larder_value_free(&items[i].value);
	}
}

static void test_many_with_one_in_its_error_window(void **state)
{
	struct second *second = *state;
	struct box *box = second->box;
	struct larder_store stale = LARDER_STORE_INIT;
	const struct larder_call here = { sizeof(here), LARDER_CALL_THIS_TIER, 0, NULL, NULL };

	NEEDS_CLOCK(box);
	begin_old(second, (const char *const[]){ "NEGATIVE_TTL=1h", NULL });
	stale.stale_ms = 3600000;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "stale", 5, "v", 1, &stale, &here), 0);
	source_shift(box, 20000);
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "fresh", 5, "v", 1, NULL, &here), 0);
	assert_int_equal(larder_set_absent(box->tenant, BOX_SPACE, "absent", 6, NULL, &here), 0);
	second_answer(second, 500, 3);
	expect_many(box, (const int[]){ 0, LARDER_STALE, LARDER_STALE, LARDER_E_L2, LARDER_ABSENT });
	/* L2 answers, and has none of them. */
	second_answer(second, 404, 3);
	expect_many(box, (const int[]){ 0, LARDER_STALE, LARDER_MISS, LARDER_MISS, LARDER_ABSENT });
	assert_int_equal(second_requests(second), 1 + 3 + 3);
}

/* ---- budgets ---- */

static void test_waiting_and_l2_together_keep_to_the_budget(void **state)
{
	enum { BUDGET_MS = 1500, WAITED_MS = 1200, SLACK_MS = 800 };
	struct second *second = *state;
	struct box *box = second_open(second, (const char *const[]){ "L2_RETRIES=0", "L2_GET_MS=20s", NULL });
	larder_lease *lease;
	pthread_t thread;
	int64_t began_ms;

	silence(second);
	source = source_of(box, "loaded");
	budget_ms = BUDGET_MS;
	lease = lease_of(box, "k");
	assert_int_equal(pthread_create(&thread, NULL, load_in_time, NULL), 0);
	assert_true(CHILD_POLL(source_stats(box).load_joins == 1));
	began_ms = child_now_ms();
	assert_true(CHILD_POLL(child_now_ms() - began_ms >= WAITED_MS));
	larder_lease_drop(lease, 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(rc, 0);
	assert_int_equal(second_requests(second), 1);
	/* L2 had what was left of it; a budget of its own would be 1,200 ms more. */
	assert_in_range(took_ms, BUDGET_MS - 50, UNDER_SANITIZER ? 5000 : BUDGET_MS + SLACK_MS);
	assert_true(source.left_ms < 50);
}

static void test_a_long_budget_of_waiting_is_not_one_for_l2(void **state)
{
	struct second *second = *state;
	struct box *box = second_open(second, (const char *const[]){ "L2_RETRIES=0", "L2_GET_MS=100ms", "FILL_WAIT_MS=20s", NULL });
	larder_lease *lease;
	pthread_t thread;

	silence(second);
	source = source_of(box, "loaded");
	budget_ms = 0;
	lease = lease_of(box, "k");
	assert_int_equal(pthread_create(&thread, NULL, load_in_time, NULL), 0);
	assert_true(CHILD_POLL(source_stats(box).load_joins == 1));
	larder_lease_drop(lease, 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(rc, 0);
	assert_int_equal(second_requests(second), 1);
	assert_true(took_ms < 8000);
}

static void test_a_get_does_not_wait_past_its_budget(void **state)
{
	const struct larder_call brief = { sizeof(brief), 0, 60, NULL, NULL };
	struct second *second = *state;
	struct box *box = second_open(second, NULL);
	larder_lease *lease = lease_of(box, "k");
	struct larder_value value = { 0 };
	int64_t began_ms = child_now_ms();

	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "k", 1, &brief, &value), LARDER_E_L2);
	assert_int_equal(larder_reason(), LARDER_REASON_L2_TIMEOUT);
	assert_in_range(child_now_ms() - began_ms, 50, 5000);
	assert_null(value.data);
	assert_int_equal(second_requests(second), 0);
	larder_lease_drop(lease, 0);
	assert_true(box_gives(box, "k", LARDER_MISS, NULL));
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, second_begin, second_end)
	const struct CMUnitTest tests[] = {
		ROW(test_with_l2_down_the_loader_is_asked), ROW(test_both_fail), ROW(test_an_old_value_is_given_when_the_loader_fails_too),
		ROW(test_an_old_value_while_the_breaker_is_open), ROW(test_many_with_one_in_its_error_window),
		ROW(test_waiting_and_l2_together_keep_to_the_budget), ROW(test_a_long_budget_of_waiting_is_not_one_for_l2),
		ROW(test_a_get_does_not_wait_past_its_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
