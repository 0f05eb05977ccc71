/* SPDX-License-Identifier: MIT */
/*
 * larder_inspect_explain() against larder_get(): in each state what was explained is what then happens, and explaining has left no trace.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "child.h"
#include "second.h"

enum { HOUR_MS = 3600000 };

static int add_up(void *ctx, const char *name, const char *text, uint64_t value)
{
	(void)name;
	(void)text;
	*(uint64_t *)ctx = *(uint64_t *)ctx * 31 + value;
	return 0;
}

static uint64_t counters(struct box *box)
{
	uint64_t sum = 0;

	assert_int_equal(larder_inspect_counters(box->inspector, add_up, &sum), 0);
	return sum;
}

/* Explain it twice: the second time everything is as it was the first time, but for ages. */
static struct larder_explanation explain_of(struct box *box, larder_tenant *tenant, const char *name)
{
	struct larder_explanation first = { .size = sizeof(first) }, second = { .size = sizeof(second) };
	uint64_t before = counters(box);

	assert_int_equal(larder_inspect_explain(tenant, BOX_SPACE, name, strlen(name), &first), 0);
	assert_int_equal(larder_inspect_explain(tenant, BOX_SPACE, name, strlen(name), &second), 0);
	assert_int_equal(counters(box), before);
	assert_int_equal(first.hits_estimate, second.hits_estimate);
	assert_int_equal(first.sequence, second.sequence);
	assert_non_null(first.why);
	return first;
}

static struct larder_explanation explain(struct box *box, const char *name)
{
	return explain_of(box, box->tenant, name);
}

/* What was explained, then a get, which does it. */
static struct larder_explanation holds(struct box *box, const char *name, int result, int asks_l2, const char *why)
{
	struct larder_explanation explained = explain(box, name);

	if (explained.result != result || explained.asks_l2 != asks_l2 || !strstr(explained.why, why))
		print_message("# %s: %s, L2 %d: %s\n", name, larder_result_name(explained.result), explained.asks_l2, explained.why);
	assert_int_equal(explained.result, result);
	assert_int_equal(explained.asks_l2, asks_l2);
	assert_non_null(strstr(explained.why, why));
	assert_true(box_gives(box, name, result, NULL));
	return explained;
}

static void set_for(struct box *box, const char *name, int64_t ttl_ms, int64_t stale_ms)
{
	struct larder_store store = LARDER_STORE_INIT;

	store.ttl_ms = ttl_ms;
	store.stale_ms = stale_ms;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, name, strlen(name), "v", 1, &store, NULL), 0);
}

/* ---- the store alone ---- */

static void test_the_ages_of_an_entry(void **state)
{
	struct second *second = *state;
	struct box *box = second->box;
	struct larder_explanation e;

	box_open(box, NULL);
	box_inspect(box);
	e = holds(box, "n", LARDER_MISS, 0, "no entry");
	assert_int_equal(e.state, 0);
	assert_int_equal(e.l2, 0);
	assert_int_equal(e.breaker, -1);
	assert_string_equal(e.pending, "none");
	set_for(box, "n", HOUR_MS, HOUR_MS);
	e = holds(box, "n", LARDER_OK, 0, "fresh");
	assert_int_equal(e.state, LARDER_IS_FRESH);
	assert_in_range(e.fresh_ms, HOUR_MS - 60000, HOUR_MS);
	assert_in_range(e.left_ms, 2 * HOUR_MS - 60000, 2 * HOUR_MS);
	assert_int_equal(e.value_len, 1);
	assert_int_equal(e.on, 1);
	assert_int_equal(e.hits_estimate + 1, explain(box, "n").hits_estimate);
	set_for(box, "n", 1, HOUR_MS);
	assert_true(CHILD_POLL(explain(box, "n").state == LARDER_IS_STALE));
	e = holds(box, "n", LARDER_STALE, 0, "stale window");
	assert_true(e.fresh_ms <= 0 && e.left_ms > 0);
	set_for(box, "n", 1, 0);
	assert_true(CHILD_POLL(explain(box, "n").state == LARDER_IS_EXPIRED));
	(void)holds(box, "n", LARDER_MISS, 0, "past its TTL");
	assert_int_equal(larder_set_absent(box->tenant, BOX_SPACE, "n", 1, NULL, NULL), 0);
	e = holds(box, "n", LARDER_ABSENT, 0, "not found");
	assert_int_equal(e.absent, 1);
}

static void test_what_hides_it(void **state)
{
	struct second *second = *state;
	struct box *box = second->box;
	struct larder_explanation e;

	box_open(box, NULL);
	box_inspect(box);
	set_for(box, "n", HOUR_MS, 0);
	assert_int_equal(larder_clear_space(box->tenant, BOX_SPACE, NULL), 0);
	e = holds(box, "n", LARDER_MISS, 0, "the space was cleared");
	assert_int_equal(e.state, LARDER_IS_CLEARED);
	assert_true(e.sequence < e.cleared_space && e.cleared_tenant == 0 && e.cleared_all == 0);
	assert_true(e.l2_invalid_ms > 0);
	set_for(box, "n", HOUR_MS, 0);
	(void)holds(box, "n", LARDER_OK, 0, "fresh");
	assert_int_equal(larder_clear_tenant(box->tenant, NULL), 0);
	(void)holds(box, "n", LARDER_MISS, 0, "the tenant was cleared");
	set_for(box, "n", HOUR_MS, 0);
	assert_int_equal(larder_clear_all(box->cache, NULL), 0);
	(void)holds(box, "n", LARDER_MISS, 0, "everything was cleared");
	set_for(box, "n", HOUR_MS, 0);
	assert_int_equal(larder_inspect_switch(box->inspector, 0), 0);
	e = holds(box, "n", LARDER_MISS, 0, "switched off");
	assert_int_equal(e.on, 0);
	assert_int_equal(larder_inspect_switch(box->inspector, 1), 0);
	(void)holds(box, "n", LARDER_OK, 0, "fresh");
}

#ifdef LARDER_FAULTS
static void test_a_barrier(void **state)
{
	struct second *second = *state;
	struct box *box = second->box;
	struct larder_explanation e;

	box_open(box, NULL);
	box_inspect(box);
	set_for(box, "n", HOUR_MS, 0);
	box->plan->error = ENOSPC;
	box->plan->countdown = 1;
	box->plan->action = LD_FAULT_ERROR;
	box->plan->point = LD_FAULT_txn_commit;
	assert_int_equal(box_set(box, "n", "w"), LARDER_UNAVAILABLE);
	e = holds(box, "n", LARDER_MISS, 0, "could not be done");
	assert_true(e.barrier >= e.sequence);
	assert_int_equal(e.state, LARDER_IS_CLEARED);
}
#endif

static void test_outside_the_rollout(void **state)
{
	struct second *second = *state;
	struct box *box = second->box;

	box_open(box, (const char *const[]){ "ROLLOUT=0", NULL });
	assert_int_equal(box_try_inspect(box, (const char *const[]){ "ROLLOUT=0", NULL }, &box->inspector, NULL), 0);
	assert_int_equal(holds(box, "n", LARDER_MISS, 0, "LARDER_ROLLOUT").passed, 1);
}

static int see_tenant(void *ctx, const struct larder_tenant_info *tenant)
{
	*(int *)ctx |= strcmp(tenant->tenant, "nobody") == 0;
	return 0;
}

static int see_breaker(void *ctx, const struct larder_breaker *breaker)
{
	(void)breaker;
	++*(int *)ctx;
	return 0;
}

/* A tenant that nobody has used has no row afterwards, an L2 that nobody has asked no breaker. */
static void test_no_trace(void **state)
{
	struct second *second = *state;
	struct box *box = second_open(second, NULL);
	larder_tenant *nobody;
	int there = 0, breakers = 0;

	assert_int_equal(larder_tenant_open(box->cache, "nobody", &nobody), 0);
	box_forget_lines(box);
	assert_int_equal(explain_of(box, nobody, "n").state, 0);
	assert_int_equal(larder_inspect_tenants(box->inspector, see_tenant, &there), 0);
	assert_int_equal(there, 0);
	assert_int_equal(larder_inspect_breakers(box->inspector, see_breaker, &breakers), 0);
	assert_int_equal(breakers, 0);
	assert_int_equal(second_requests(second), 0);
	assert_int_equal(box->lines_len, 0);
	larder_tenant_close(nobody);
}

static void test_bad_arguments(void **state)
{
	struct second *second = *state;
	struct box *box = second->box;
	struct larder_explanation e = { .size = sizeof(e) }, small = { .size = sizeof(e) - 1 };

	box_open(box, NULL);
	assert_int_equal(larder_inspect_explain(NULL, BOX_SPACE, "n", 1, &e), LARDER_E_CLOSED);
	assert_int_equal(larder_inspect_explain(box->tenant, BOX_SPACE, "n", 1, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_inspect_explain(box->tenant, BOX_SPACE, "n", 1, &small), LARDER_E_USAGE);
	assert_int_equal(larder_inspect_explain(box->tenant, "NO", "n", 1, &e), LARDER_E_SPACE_NAME);
	assert_int_equal(larder_inspect_explain(box->tenant, BOX_SPACE, "n", 0, &e), LARDER_E_NAME);
	assert_int_equal(larder_inspect_explain(box->tenant, BOX_SPACE, NULL, 1, &e), LARDER_E_NAME);
}

/* ---- with L2 ---- */

static void test_the_way_to_l2(void **state)
{
	struct second *second = *state;
	struct box *box = second_open(second, NULL);
	struct larder_explanation e;
	uint64_t asked;

	/* 404 */
	e = holds(box, "n", LARDER_MISS, 1, "no entry");
	assert_int_equal(e.l2, 1);
	assert_int_equal(e.tells_l2, 1);
	assert_int_equal(e.breaker, LARDER_BREAKER_CLOSED);
	assert_int_equal(second_requests(second), 1);
	/* What is not told keeps L2 from being asked: a delete, and a set that has become stale. */
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "n", 1, NULL), LARDER_MISS);
	e = holds(box, "n", LARDER_MISS, 0, "waits to be told");
	assert_string_equal(e.pending, "delete");
	set_for(box, "s", 1, HOUR_MS);
	assert_true(CHILD_POLL(explain(box, "s").state == LARDER_IS_STALE));
	e = holds(box, "s", LARDER_STALE, 0, "waits to be told");
	assert_string_equal(e.pending, "set");
	assert_int_equal(second_requests(second), 1);
	/* A breaker that is held open. */
	assert_int_equal(larder_inspect_breaker_force(box->inspector, NULL, LARDER_BREAKER_ORDER_OPEN), 0);
	e = holds(box, "other", LARDER_E_L2, 0, "breaker");
	assert_int_equal(e.breaker, LARDER_BREAKER_OPEN);
	assert_int_equal(e.breaker_retry_ms, -1);
	assert_int_equal(larder_inspect_breaker_force(box->inspector, NULL, LARDER_BREAKER_ORDER_CLOSE), 0);
	asked = second_requests(second);
	(void)holds(box, "other", LARDER_MISS, 1, "no entry");
	assert_int_equal(second_requests(second), asked + 1);
}

static void test_the_limit_on_l2(void **state)
{
	struct second *second = *state;
	struct box *box = second_open(second, (const char *const[]){ "L2_RATE=1/h", "L2_BURST=2", NULL });
	struct larder_explanation e = explain(box, "n");

	assert_int_equal(e.limit_rate, 277777);
	assert_int_equal(e.limit_retry_ms, 0);
	(void)holds(box, "n", LARDER_MISS, 1, "no entry");
	e = holds(box, "n", LARDER_E_LIMIT, 0, "limit");
	assert_true(e.limit_retry_ms > 0);
	assert_int_equal(second_requests(second), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, second_begin, second_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_ages_of_an_entry),
		TEST(test_what_hides_it),
#ifdef LARDER_FAULTS
		TEST(test_a_barrier),
#endif
		TEST(test_outside_the_rollout),
		TEST(test_no_trace),
		TEST(test_bad_arguments),
		TEST(test_the_way_to_l2),
		TEST(test_the_limit_on_l2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
