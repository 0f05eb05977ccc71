/* SPDX-License-Identifier: MIT */
/*
 * larder_inspect_explain() against larder_get() and larder_get_or_set(): in each state what was explained is what then happens, and explaining has left no trace.
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
	assert_int_equal(first.lease_waiting, second.lease_waiting);
	assert_non_null(first.why);
	assert_non_null(first.load_why);
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

/* Past its TTL at once, in the stale window or in the error window for an hour; L2 is not told. */
static void set_old(struct box *box, const char *name, uint32_t state)
{
	const struct larder_call here = { sizeof(here), LARDER_CALL_THIS_TIER, 0, NULL, NULL };
	struct larder_store store = LARDER_STORE_INIT;

	store.ttl_ms = 1;
	store.stale_ms = state == LARDER_IS_STALE ? HOUR_MS : 0;
	store.error_ms = HOUR_MS;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, name, strlen(name), "v", 1, &store, &here), 0);
	assert_true(CHILD_POLL(explain(box, name).state == state));
}

static int load_in_vain(struct larder_load *load, void *ctx)
{
	(void)load;
	++*(int *)ctx;
	return LARDER_LOAD_FAILED;
}

/* What was explained of a larder_get_or_set(), then one whose loader fails. */
static struct larder_explanation loads(struct box *box, const char *name, int calls, int result, const char *why)
{
	struct larder_explanation explained = explain(box, name);
	int called = 0;
	const struct larder_loading loading = { sizeof(loading), 0, 0, load_in_vain, &called, NULL };
	struct larder_value value = { 0 };

	if (explained.loads != calls || explained.load_result != result || !strstr(explained.load_why, why))
		print_message("# %s: %s, loads %d: %s\n", name, larder_result_name(explained.load_result), explained.loads, explained.load_why);
	assert_int_equal(explained.loads, calls);
	assert_int_equal(explained.load_result, result);
	assert_non_null(strstr(explained.load_why, why));
	assert_int_equal(explained.load_waits, 0);
	assert_int_equal(larder_get_or_set(box->tenant, BOX_SPACE, name, strlen(name), &loading, NULL, &value), result);
	assert_int_equal(called, calls);
	if (result == 0 || result == LARDER_STALE)
		larder_value_free(&value);
	return explained;
}

static larder_lease *lease_of(struct box *box, const char *name)
{
	larder_lease *lease = NULL;

	assert_int_equal(larder_lease_try(box->tenant, BOX_SPACE, name, strlen(name), NULL, &lease), 0);
	return lease;
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

static void set_tagged(struct box *box)
{
	const char *const tags[] = { "user:1", "user:2" };
	struct larder_store store = LARDER_STORE_INIT;

	store.ttl_ms = HOUR_MS;
	store.tags = tags;
	store.tag_count = 2;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "n", 1, "v", 1, &store, NULL), 0);
}

static void test_tags(void **state)
{
	struct second *second = *state;
	struct box *box = second->box;
	struct larder_explanation e;
	uint64_t tag;

	box_open(box, NULL);
	box_inspect(box);
	set_tagged(box);
	e = holds(box, "n", LARDER_OK, 0, "fresh");
	assert_int_equal(e.tag_count, 2);
	assert_int_equal(e.tag, 0);
	assert_int_equal(e.tag_cleared, 0);
	assert_int_equal(larder_invalidate_tags(box->tenant, (const char *const[]){ "user:2" }, 1, NULL), 0);
	e = holds(box, "n", LARDER_MISS, 0, "a tag of the entry");
	assert_int_equal(e.state, LARDER_IS_CLEARED);
	assert_true(e.sequence < e.tag_cleared && e.cleared_space == 0);
	tag = e.tag;
	assert_int_not_equal(tag, 0);
	/* Whatever hides it last: then it is the clear. */
	assert_int_equal(larder_clear_space(box->tenant, BOX_SPACE, NULL), 0);
	(void)holds(box, "n", LARDER_MISS, 0, "the space was cleared");
	set_tagged(box);
	e = holds(box, "n", LARDER_OK, 0, "fresh");
	assert_true(e.sequence > e.tag_cleared);
	assert_int_equal(larder_invalidate_tags(box->tenant, (const char *const[]){ "user:1" }, 1, NULL), 0);
	e = holds(box, "n", LARDER_MISS, 0, "a tag of the entry");
	assert_int_not_equal(e.tag, tag);
}

static void test_the_error_window(void **state)
{
	struct second *second = *state;
	struct box *box = second->box;
	struct larder_explanation e;

	box_open(box, NULL);
	box_inspect(box);
	set_old(box, "n", LARDER_IS_ERROR_WINDOW);
	e = holds(box, "n", LARDER_MISS, 0, "error window");
	assert_int_equal(e.if_l2_fails, LARDER_MISS);
	assert_true(e.left_ms <= 0);
	assert_in_range(e.error_left_ms, HOUR_MS - 60000, HOUR_MS);
	(void)loads(box, "n", 1, LARDER_STALE, "the caller loads it");
	(void)loads(box, "n", 0, LARDER_STALE, "failed a moment ago");
}

/* ---- fills ---- */

static void test_who_loads(void **state)
{
	struct second *second = *state;
	struct box *box = second->box;
	struct larder_explanation e;

	box_open(box, (const char *const[]){ "FAIL_THROTTLE_MS=10m", NULL });
	box_inspect(box);
	e = loads(box, "n", 1, LARDER_E_LOAD, "the caller loads it");
	assert_int_equal(e.throttled_ms, 0);
	assert_int_equal(e.failed_ago_ms, -1);
	e = loads(box, "n", 0, LARDER_E_LOAD, "failed a moment ago");
	assert_in_range(e.throttled_ms, 540000, 600000);
	assert_in_range(e.failed_ago_ms, 0, 60000);
	/* A plain get knows nothing of that. */
	(void)holds(box, "n", LARDER_MISS, 0, "no entry");
	set_old(box, "s", LARDER_IS_STALE);
	(void)loads(box, "s", 1, LARDER_STALE, "one caller has it refreshed");
	(void)loads(box, "s", 0, LARDER_STALE, "failed a moment ago");
	set_for(box, "f", HOUR_MS, 0);
	(void)loads(box, "f", 0, LARDER_OK, "no load is needed");
	assert_int_equal(larder_set_absent(box->tenant, BOX_SPACE, "a", 1, NULL, NULL), 0);
	(void)loads(box, "a", 0, LARDER_ABSENT, "no load is needed");
	assert_int_equal(larder_inspect_switch(box->inspector, 0), 0);
	(void)loads(box, "f", 1, LARDER_E_LOAD, "nothing is kept");
}

static void test_a_lease(void **state)
{
	const struct larder_call brief = { sizeof(brief), 0, 20, NULL, NULL };
	int called = 0;
	const struct larder_loading loading = { sizeof(loading), 0, 0, load_in_vain, &called, NULL };
	struct second *second = *state;
	struct box *box = second->box;
	struct larder_value value = { 0 };
	struct larder_explanation e;
	larder_lease *lease;

	box_open(box, (const char *const[]){ "ON_BUSY=fail", "LEASE_MS=10m", NULL });
	box_inspect(box);
	assert_int_equal(explain(box, "n").lease_held, 0);
	lease = lease_of(box, "n");
	e = explain(box, "n");
	assert_int_equal(e.lease_held, 1);
	assert_int_equal(e.lease_alive, 1);
	assert_int_equal(e.lease_outdated, 0);
	assert_int_equal(e.lease_pid, getpid());
	assert_in_range(e.lease_left_ms, 540000, 600000);
	assert_in_range(e.lease_age_ms, 0, 60000);
	assert_int_equal(e.lease_waiting, 0);
	assert_int_equal(e.loads, 0);
	assert_int_equal(e.load_waits, 1);
	assert_int_equal(e.load_result, LARDER_E_LOAD);
	assert_int_equal(larder_get_or_set(box->tenant, BOX_SPACE, "n", 1, &loading, &brief, &value), LARDER_E_BUSY);
	assert_int_equal(called, 0);
	assert_true(explain(box, "n").lease_waiting >= 1);
	/* Without L2 a plain get waits for nobody. */
	(void)holds(box, "n", LARDER_MISS, 0, "no entry");
	/* Its fill would be discarded: whoever comes next loads. */
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "n", 1, NULL), LARDER_MISS);
	assert_int_equal(explain(box, "n").lease_outdated, 1);
	(void)loads(box, "n", 1, LARDER_E_LOAD, "the caller loads it");
	larder_lease_drop(lease, 0);
	/* What is stale is given out while another one is at it. */
	set_old(box, "s", LARDER_IS_STALE);
	lease = lease_of(box, "s");
	e = loads(box, "s", 0, LARDER_STALE, "somebody else fetches a newer one");
	larder_lease_drop(lease, 0);
}

static void take_and_die(void *arg)
{
	struct box *box = arg;
	larder_lease *lease = NULL;

	CHILD_CHECK(larder_lease_try(box->tenant, BOX_SPACE, "n", 1, NULL, &lease) == 0);
}

static void test_a_dead_holder(void **state)
{
	struct second *second = *state;
	struct box *box = second->box;
	struct larder_explanation e;

	box_open(box, (const char *const[]){ "LEASE_MS=10m", NULL });
	box_inspect(box);
	assert_int_equal(child_run(take_and_die, box), 0);
	e = loads(box, "n", 1, LARDER_E_LOAD, "the caller loads it");
	assert_int_equal(e.lease_held, 1);
	assert_int_equal(e.lease_alive, 0);
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

static void test_old_values_and_l2(void **state)
{
	struct second *second = *state;
	struct box *box = second_open(second, (const char *const[]){ "L2_RETRIES=0", "BREAKER_FAILURES=0", "BREAKER_ERROR_PCT=0", NULL });
	struct larder_explanation e;
	larder_lease *lease;

	/* Stale: returned, and L2 asked; there is no thread to do that afterwards. */
	set_old(box, "s", LARDER_IS_STALE);
	e = holds(box, "s", LARDER_STALE, 0, "one process asks L2");
	assert_int_equal(e.refreshes, 1);
	assert_int_equal(e.if_l2_fails, LARDER_STALE);
	assert_int_equal(second_requests(second), 1);
	lease = lease_of(box, "s");
	assert_int_equal(holds(box, "s", LARDER_STALE, 0, "somebody else").refreshes, 0);
	larder_lease_drop(lease, 1);
	assert_int_equal(holds(box, "s", LARDER_STALE, 0, "failed a moment ago").refreshes, 0);
	assert_int_equal(second_requests(second), 1);
	/* In the error window: L2 has none, L2 fails, L2 is not asked. */
	set_old(box, "e", LARDER_IS_ERROR_WINDOW);
	e = holds(box, "e", LARDER_MISS, 1, "error window");
	assert_int_equal(e.if_l2_fails, LARDER_STALE);
	second_answer(second, 503, 2);
	assert_true(box_gives(box, "e", explain(box, "e").if_l2_fails, "v"));
	assert_int_equal(explain(box, "n").if_l2_fails, LARDER_E_L2);
	assert_true(box_gives(box, "n", LARDER_E_L2, NULL));
	assert_int_equal(second_requests(second), 4);
	/* With a loader: L2 has none, and then the loader fails. */
	(void)loads(box, "m", 1, LARDER_E_LOAD, "L2 is asked, then");
	(void)loads(box, "e", 1, LARDER_STALE, "L2 is asked, then");
	assert_int_equal(second_requests(second), 6);
	assert_int_equal(larder_inspect_breaker_force(box->inspector, NULL, LARDER_BREAKER_ORDER_OPEN), 0);
	(void)holds(box, "e", LARDER_STALE, 0, "breaker is open");
	set_old(box, "s2", LARDER_IS_STALE);
	assert_int_equal(holds(box, "s2", LARDER_STALE, 0, "breaker is open").refreshes, 0);
	assert_int_equal(second_requests(second), 6);
}

static uint64_t refreshes_of(struct box *box)
{
	struct larder_stats stats = { .size = sizeof(stats) };

	assert_int_equal(larder_get_stats(box->cache, &stats), 0);
	return stats.refreshes;
}

static void test_a_thread_refreshes(void **state)
{
	struct second *second = *state;
	struct box *box = second_open(second, (const char *const[]){ "THREADS=1", "EVICTOR=off", NULL });

	set_old(box, "s", LARDER_IS_STALE);
	fault_server_rule(second->server, "/", &(struct fault_answer){ .body = "{\"value\":\"new\",\"ttl\":3600}" }, 0);
	assert_int_equal(explain(box, "s").refreshes, 1);
	assert_true(box_gives(box, "s", LARDER_STALE, "v"));
	/* Not by explaining, which finds that something moves meanwhile. */
	assert_true(CHILD_POLL(refreshes_of(box) == 1));
	(void)holds(box, "s", LARDER_OK, 0, "fresh");
}

static void test_who_waits_for_l2(void **state)
{
	const struct larder_call brief = { sizeof(brief), 0, 20, NULL, NULL };
	struct second *second = *state;
	struct box *box = second_open(second, NULL);
	struct larder_value value = { 0 };
	struct larder_explanation e;
	larder_lease *lease = lease_of(box, "n");

	e = explain(box, "n");
	assert_int_equal(e.waits, 1);
	assert_int_equal(e.asks_l2, 0);
	assert_int_equal(e.result, LARDER_MISS);
	assert_int_equal(e.if_l2_fails, LARDER_E_L2);
	assert_non_null(strstr(e.why, "waits for that one"));
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "n", 1, &brief, &value), LARDER_E_L2);
	assert_int_equal(second_requests(second), 0);
	larder_lease_drop(lease, 0);
	e = holds(box, "n", LARDER_MISS, 1, "no entry");
	assert_int_equal(e.waits, 0);
}

static void test_a_breaker_of_its_own(void **state)
{
	static const char policies[] = "{\"tenants\":{\"acme\":{\"breaker\":{\"failures\":1,\"open\":\"1h\",\"open_max\":\"1h\"}}}}";
	struct second *second = *state;
	char path[256], row[300];
	FILE *stream = fopen(box_path(second->box, "spaces.json", path), "w");
	struct larder_explanation e;
	larder_tenant *other;
	struct box *box;

	assert_non_null(stream);
	assert_true(fputs(policies, stream) >= 0);
	assert_int_equal(fclose(stream), 0);
	(void)snprintf(row, sizeof(row), "SPACES_FILE=%s", path);
	box = second_open(second, (const char *const[]){ "L2_RETRIES=0", row, NULL });
	assert_int_equal(larder_tenant_open(box->cache, "other", &other), 0);
	e = explain(box, "n");
	assert_int_equal(e.breaker, LARDER_BREAKER_CLOSED);
	assert_int_equal(e.breaker_own, 1);
	second_answer(second, 500, 1);
	assert_true(box_gives(box, "n", LARDER_E_L2, NULL));
	e = holds(box, "n", LARDER_E_L2, 0, "breaker is open");
	assert_int_equal(e.breaker, LARDER_BREAKER_OPEN);
	assert_in_range(e.breaker_retry_ms, 1, 2 * HOUR_MS);
	e = explain_of(box, other, "n");
	assert_int_equal(e.breaker, LARDER_BREAKER_CLOSED);
	assert_int_equal(e.breaker_own, 0);
	assert_int_equal(e.asks_l2, 1);
	/* And the other way round. */
	assert_int_equal(larder_inspect_breaker_force(box->inspector, "acme", LARDER_BREAKER_ORDER_CLOSE), 0);
	assert_int_equal(larder_inspect_breaker_force(box->inspector, second_name(second), LARDER_BREAKER_ORDER_OPEN), LARDER_MISS);
	(void)holds(box, "n", LARDER_MISS, 1, "no entry");
	larder_tenant_close(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, second_begin, second_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_ages_of_an_entry),
		TEST(test_what_hides_it),
		TEST(test_tags),
		TEST(test_the_error_window),
		TEST(test_who_loads),
		TEST(test_a_lease),
		TEST(test_a_dead_holder),
#ifdef LARDER_FAULTS
		TEST(test_a_barrier),
#endif
		TEST(test_outside_the_rollout),
		TEST(test_no_trace),
		TEST(test_bad_arguments),
		TEST(test_the_way_to_l2),
		TEST(test_the_limit_on_l2),
		TEST(test_old_values_and_l2),
		TEST(test_a_thread_refreshes),
		TEST(test_who_waits_for_l2),
		TEST(test_a_breaker_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
