/* SPDX-License-Identifier: MIT */
/*
 * LARDER_CALL_SOURCE_FAILED: a caller that fetches by itself, by leases, and has seen its source fail is given what is in its error window, by every call
 * that looks a value up and with and without a second level; and nothing that is older, nor anything that was invalidated.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "leave_out.h"
#include "second.h"
#include "source.h"

enum { TTL_MS = 10000, STALE_MS = 20000, ERROR_MS = 30000 };

static const char *const windows[] = { "TTL=10s", "STALE=20s", "STALE_IF_ERROR=30s", NULL };

static const struct larder_call here = { sizeof(here), LARDER_CALL_THIS_TIER, 0, NULL, NULL };
static const struct larder_call failed = { sizeof(failed), LARDER_CALL_SOURCE_FAILED, 0, NULL, NULL };
static const struct larder_call failed_here = { sizeof(failed_here), LARDER_CALL_SOURCE_FAILED | LARDER_CALL_THIS_TIER, 0, NULL, NULL };

static void check_value(const struct larder_value *value, int result, const char *text, int64_t left_ms)
{
	assert_int_equal(value->len, strlen(text));
	assert_memory_equal(value->data, text, value->len);
	assert_int_equal(value->state, result);
	/* The clock goes on while the test runs. */
	assert_in_range(value->left_ms, left_ms - 5000, left_ms);
}

/* All that look "k" up. left_ms: of what they find. */
static void all_give(struct box *box, const struct larder_call *call, int result, int64_t left_ms)
{
	struct larder_item item = { .space = BOX_SPACE, .name = "k", .name_len = 1 };
	struct larder_value value = { 0 }, copy = { 0 };
	char buffer[5];

	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "k", 1, call, &value), result);
	assert_int_equal(larder_get_into(box->tenant, BOX_SPACE, "k", 1, buffer, sizeof(buffer), call, &copy), result);
	assert_int_equal(larder_mget(box->tenant, &item, 1, call), 0);
	assert_int_equal(item.result, result);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "k", 1, call), result);
	if (result == 0 || result == LARDER_STALE) {
		check_value(&value, result, "value", left_ms);
		check_value(&copy, result, "value", left_ms);
		check_value(&item.value, result, "value", left_ms);
	}
	larder_value_free(&value);
	larder_value_free(&item.value);
}

/* What a call with the flag and one without it give, in every age of a value. */
static void by_age(struct box *box)
{
	source_shift(box, TTL_MS - 5000);
	all_give(box, &here, 0, STALE_MS + 5000);
	all_give(box, &failed_here, 0, STALE_MS + 5000);
	source_shift(box, 5000);
	all_give(box, &here, LARDER_STALE, STALE_MS);
	all_give(box, &failed_here, LARDER_STALE, STALE_MS);
	source_shift(box, STALE_MS);
	all_give(box, &here, LARDER_MISS, 0);
	all_give(box, &failed_here, LARDER_STALE, ERROR_MS);
	source_shift(box, ERROR_MS);
	all_give(box, &here, LARDER_MISS, 0);
	all_give(box, &failed_here, LARDER_MISS, 0);
}

static void test_every_age(void **state)
{
	struct box *box = ((struct second *)*state)->box;

	NEEDS_CLOCK(box);
	box_open(box, windows);
	assert_int_equal(box_set(box, "k", "value"), 0);
	by_age(box);
}

static void test_every_age_before_a_second_level(void **state)
{
	struct second *second = *state;
	struct box *box = second->box;

	NEEDS_CLOCK(box);
	second_open_cache(second, "L2_WRITE=off", windows);
	assert_int_equal(box_set(box, "k", "value"), 0);
	by_age(box);
	assert_int_equal(second_requests(second), 0);
}

static void test_the_hard_end_is_the_end(void **state)
{
	struct box *box = ((struct second *)*state)->box;
	struct larder_store store = LARDER_STORE_INIT;
	struct timespec now;

	NEEDS_CLOCK(box);
	box_open(box, windows);
	assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
	store.hard_end_ms = (int64_t)now.tv_sec * 1000 + TTL_MS + STALE_MS + 20000;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "k", 1, "value", 5, &store, NULL), 0);
	source_shift(box, TTL_MS + STALE_MS);
	atomic_fetch_add(&box->plan->wall_shift_ms, TTL_MS + STALE_MS);
	all_give(box, &failed_here, LARDER_STALE, 20000);
	atomic_fetch_add(&box->plan->wall_shift_ms, 20000);
	all_give(box, &failed_here, LARDER_MISS, 0);
}

static void begin_error_window(struct box *box)
{
	assert_int_equal(box_set(box, "k", "value"), 0);
	source_shift(box, TTL_MS + STALE_MS);
	all_give(box, &failed_here, LARDER_STALE, ERROR_MS);
}

static void test_what_was_invalidated_is_not_given(void **state)
{
	struct box *box = ((struct second *)*state)->box;

	NEEDS_CLOCK(box);
	box_open(box, windows);
	begin_error_window(box);
	assert_in_range(larder_delete(box->tenant, BOX_SPACE, "k", 1, NULL), 0, LARDER_MISS);
	all_give(box, &failed, LARDER_MISS, 0);
	begin_error_window(box);
	assert_int_equal(larder_clear_space(box->tenant, BOX_SPACE, NULL), 0);
	all_give(box, &failed, LARDER_MISS, 0);
	/* "Not found" has no window. */
	assert_int_equal(larder_set_absent(box->tenant, BOX_SPACE, "k", 1, NULL, NULL), 0);
	all_give(box, &failed, LARDER_ABSENT, 0);
	source_shift(box, 30000);
	all_give(box, &failed, LARDER_MISS, 0);
}

static void test_counters_and_short_buffers(void **state)
{
	struct box *box = ((struct second *)*state)->box;
	struct larder_stats before, after;
	struct larder_value value = { 0 };
	char buffer[4];

	NEEDS_CLOCK(box);
	box_open(box, windows);
	begin_error_window(box);
	before = source_stats(box);
	assert_int_equal(larder_get_into(box->tenant, BOX_SPACE, "k", 1, buffer, 4, NULL, &value), LARDER_MISS);
	assert_int_equal(larder_get_into(box->tenant, BOX_SPACE, "k", 1, buffer, 4, &failed, &value), LARDER_E_SPACE);
	assert_int_equal(value.len, 5);
	all_give(box, &failed, LARDER_STALE, ERROR_MS);
	after = source_stats(box);
	assert_int_equal(after.misses - before.misses, 1);
	assert_int_equal(after.stale_hits - before.stale_hits, 4);
}

/* The event loop's way: it looks, takes the lease, its source fails, and it has something to answer with all the same; those who come later, too. */
static void test_beside_a_lease(void **state)
{
	struct box *box = ((struct second *)*state)->box;
	larder_lease *lease = (larder_lease *)box;

	NEEDS_CLOCK(box);
	box_open(box, windows);
	begin_error_window(box);
	all_give(box, &here, LARDER_MISS, 0);
	assert_int_equal(larder_lease_try(box->tenant, BOX_SPACE, "k", 1, &failed_here, &lease), 0);
	larder_lease_drop(lease, 1);
	assert_int_equal(larder_lease_try(box->tenant, BOX_SPACE, "k", 1, NULL, &lease), LARDER_E_LOAD);
	/* Nothing to end: whoever ends it all the same does no harm. */
	assert_null(lease);
	all_give(box, &here, LARDER_MISS, 0);
	all_give(box, &failed_here, LARDER_STALE, ERROR_MS);
}

/* Calls that do not look up, or have a source of their own, take it and do as without it. */
static void test_it_changes_nothing_elsewhere(void **state)
{
	struct box *box = ((struct second *)*state)->box;
	struct source source;

	NEEDS_CLOCK(box);
	box_open(box, windows);
	begin_error_window(box);
	source = source_of(box, "loaded");
	assert_int_equal(source_gives(&source, "k", &failed, "loaded", LARDER_FROM_LOADER), 0);
	begin_error_window(box);
	assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "k", 1, 1000, 0, &failed), LARDER_MISS);
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "k", 1, "new", 3, NULL, &failed), 0);
	assert_true(box_gives(box, "k", 0, "new"));
}

/* With a second level that may be asked it is a stale value as any other: L2 is asked for a newer one, and it is better than L2's "nothing". */
static void test_the_second_level_is_asked_behind_it(void **state)
{
	struct second *second = *state;
	struct larder_item item = { .space = BOX_SPACE, .name = "k", .name_len = 1 };
	struct box *box = second->box;

	NEEDS_CLOCK(box);
	second_open_cache(second, "L2_WRITE=off", windows);
	begin_error_window(box);
	second_answer(second, 404, 0);
	assert_true(box_gives(box, "k", LARDER_MISS, NULL));
	assert_int_equal(second_requests(second), 1);
	all_give(box, &failed, LARDER_STALE, ERROR_MS);
	assert_int_equal(second_requests(second), 5);
	fault_server_clear(second->server);
	fault_server_rule(second->server, "/", &(struct fault_answer){ .status = 200, .headers = "Content-Type: application/json\r\n",
		.body = "{\"value\":\"newer\",\"ttl\":60}" }, 0);
	assert_int_equal(larder_mget(box->tenant, &item, 1, &failed), 0);
	assert_int_equal(item.result, 0);
	assert_int_equal(item.value.source, LARDER_FROM_L2);
	larder_value_free(&item.value);
	assert_true(box_gives(box, "k", 0, "newer"));
}

#define WITH_SECOND(test) cmocka_unit_test_setup_teardown(test, second_begin, second_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SECOND(test_every_age),
		WITH_SECOND(test_every_age_before_a_second_level),
		WITH_SECOND(test_the_hard_end_is_the_end),
		WITH_SECOND(test_what_was_invalidated_is_not_given),
		WITH_SECOND(test_counters_and_short_buffers),
		WITH_SECOND(test_beside_a_lease),
		WITH_SECOND(test_it_changes_nothing_elsewhere),
		WITH_SECOND(test_the_second_level_is_asked_behind_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
