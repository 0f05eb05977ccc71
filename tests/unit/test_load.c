/* SPDX-License-Identifier: MIT */
/*
 * larder_get_or_set() and the explicit leases, in one process: what each end of a loader is to the caller and to the store, what a set or delete during a
 * load does to it, and who refreshes a stale value. Times are those of the plan's clock; no test waits for one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache.h"
#include "child.h"
#include "leave_out.h"

/* What a loader of this test does, and what it saw. */
struct source {
	struct box *box;
	int says;                      /* enum larder_loaded */
	const char *text;              /* NULL: nothing is given */
	int64_t ttl_ms;                /* 0: the policy's */
	int64_t hard_end_ms;
	const char *etag;
	int no_store;
	int64_t takes_ms;              /* the clock moves by so much meanwhile */
	void (*meanwhile)(struct source *source);
	_Atomic unsigned calls, ended;
	char old[64], old_etag[64];    /* "" = none */
	int64_t left_ms;
};

static void shift(struct box *box, int64_t ms)
{
	atomic_fetch_add(&box->plan->boot_shift_ms, ms);
}

#define NEEDS_CLOCK(box) \
	do { \
		if (!(box)->plan) \
			LEAVE_OUT("no clock that can be moved"); \
	} while (0)

static int load(struct larder_load *load, void *ctx)
{
	struct source *source = ctx;

	atomic_fetch_add(&source->calls, 1);
	source->left_ms = load->left_ms;
	source->old[0] = 0;
	if (load->old && load->old->len < sizeof(source->old)) {
		memcpy(source->old, load->old->data, load->old->len);
		source->old[load->old->len] = 0;
	}
	(void)snprintf(source->old_etag, sizeof(source->old_etag), "%s", load->old_etag);
	if (source->takes_ms)
		shift(source->box, source->takes_ms);
	if (source->meanwhile)
		source->meanwhile(source);
	if (source->ttl_ms)
		load->store.ttl_ms = source->ttl_ms;
	load->store.hard_end_ms = source->hard_end_ms;
	load->etag = source->etag;
	load->no_store = source->no_store;
	atomic_fetch_add(&source->ended, 1);
	if (source->text && larder_load_give(load, source->text, strlen(source->text)) != 0)
		return LARDER_LOAD_FAILED;
	return source->says;
}

static struct source source_of(struct box *box, const char *text)
{
	return (struct source){ .box = box, .says = LARDER_LOADED, .text = text };
}

/* What the call returns; with a value, its text is compared. */
static int gives(struct source *source, const char *name, const char *text, int from, const struct larder_call *call)
{
	const struct larder_loading loading = { sizeof(loading), 0, 0, load, source, NULL };
	struct larder_value value = { 0 };
	int rc = larder_get_or_set(source->box->tenant, BOX_SPACE, name, strlen(name), &loading, call, &value);

	if (rc == 0 || rc == LARDER_STALE) {
		assert_int_equal(value.len, strlen(text));
		assert_memory_equal(value.data, text, value.len);
		assert_int_equal(value.source, from);
		assert_int_equal(value.state, rc);
		larder_value_free(&value);
	}
	if (rc == LARDER_ABSENT)
		assert_true(!value.data && value.len == 0 && value.state == LARDER_ABSENT);
	return rc;
}

static struct larder_stats stats_of(struct box *box)
{
	struct larder_stats stats = { .size = sizeof(stats) };

	assert_int_equal(larder_get_stats(box->cache, &stats), 0);
	return stats;
}

static void test_a_missing_value_is_loaded_once_and_kept(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "blue");

	box_open(box, NULL);
	assert_int_equal(gives(&source, "k", "blue", LARDER_FROM_LOADER, NULL), 0);
	assert_int_equal(gives(&source, "k", "blue", LARDER_FROM_L1, NULL), 0);
	assert_true(box_gives(box, "k", 0, "blue"));
	assert_int_equal(source.calls, 1);
	assert_string_equal(source.old, "");
	assert_in_range(source.left_ms, 1, 2000);
	assert_int_equal(stats_of(box).loads, 1);
	assert_int_equal(stats_of(box).misses, 1);
	assert_int_equal(stats_of(box).gets, 3);
}

static void test_not_found_is_remembered(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, NULL);

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "NEGATIVE_TTL=10s", NULL });
	source.says = LARDER_LOADED_ABSENT;
	assert_int_equal(gives(&source, "k", NULL, 0, NULL), LARDER_ABSENT);
	assert_int_equal(gives(&source, "k", NULL, 0, NULL), LARDER_ABSENT);
	assert_int_equal(source.calls, 1);
	shift(box, 10000);
	assert_int_equal(gives(&source, "k", NULL, 0, NULL), LARDER_ABSENT);
	assert_int_equal(source.calls, 2);
}

static void test_a_failure_is_throttled_and_then_tried_again(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, NULL);

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "FAIL_THROTTLE_MS=1s", NULL });
	source.says = LARDER_LOAD_FAILED;
	assert_int_equal(gives(&source, "k", NULL, 0, NULL), LARDER_E_LOAD);
	assert_int_equal(gives(&source, "k", NULL, 0, NULL), LARDER_E_LOAD);
	assert_in_range(larder_retry_after(), 1, 1000);
	assert_int_equal(source.calls, 1);
	/* Nothing of it is stored: errors are no negative entries. */
	assert_true(box_gives(box, "k", LARDER_MISS, NULL));
	assert_int_equal(stats_of(box).load_failures, 1);
	shift(box, 1000);
	source = source_of(box, "back");
	assert_int_equal(gives(&source, "k", "back", LARDER_FROM_LOADER, NULL), 0);
}

static void test_a_loader_that_says_nothing_sensible_has_failed(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, NULL);

	box_open(box, (const char *const[]){ "FAIL_THROTTLE_MS=0", NULL });
	/* Loaded, and nothing given; unchanged, and nothing old; a number that means nothing; times out of bounds. */
	assert_int_equal(gives(&source, "k", NULL, 0, NULL), LARDER_E_LOAD);
	source.says = LARDER_LOADED_UNCHANGED;
	assert_int_equal(gives(&source, "k", NULL, 0, NULL), LARDER_E_LOAD);
	source.says = 77;
	assert_int_equal(gives(&source, "k", NULL, 0, NULL), LARDER_E_LOAD);
	source = source_of(box, "x");
	source.ttl_ms = -5;
	assert_int_equal(gives(&source, "k", NULL, 0, NULL), LARDER_E_TTL);
	assert_true(box_gives(box, "k", LARDER_MISS, NULL));
	source.ttl_ms = 0;
	assert_int_equal(gives(&source, "k", "x", LARDER_FROM_LOADER, NULL), 0);
}

static void test_what_must_not_be_stored_is_given_out(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "secret");

	box_open(box, NULL);
	source.no_store = 1;
	assert_int_equal(gives(&source, "k", "secret", LARDER_FROM_LOADER, NULL), 0);
	assert_int_equal(gives(&source, "k", "secret", LARDER_FROM_LOADER, NULL), 0);
	assert_int_equal(source.calls, 2);
	assert_true(box_gives(box, "k", LARDER_MISS, NULL));
}

static void test_the_loader_chooses_times(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "a");

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "TTL=1h", NULL });
	source.ttl_ms = 5000;
	assert_int_equal(gives(&source, "k", "a", LARDER_FROM_LOADER, NULL), 0);
	shift(box, 4000);
	assert_true(box_gives(box, "k", 0, "a"));
	shift(box, 1000);
	assert_true(box_gives(box, "k", LARDER_MISS, NULL));
	/* A hard end that is over: nobody is given the value. */
	source.hard_end_ms = 1000;
	assert_int_equal(gives(&source, "k", NULL, 0, NULL), LARDER_MISS);
	assert_true(box_gives(box, "k", LARDER_MISS, NULL));
}

static void test_a_loader_slower_than_the_ttl(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "late");

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "TTL=1s", NULL });
	source.takes_ms = 3000;
	/* The TTL counts from when it is stored. */
	assert_int_equal(gives(&source, "k", "late", LARDER_FROM_LOADER, NULL), 0);
	assert_true(box_gives(box, "k", 0, "late"));
}

static void test_unchanged_renews_the_old_value(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "v1");

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "TTL=10s", "STALE=1m", NULL });
	source.etag = "\"one\"";
	assert_int_equal(gives(&source, "k", "v1", LARDER_FROM_LOADER, NULL), 0);
	shift(box, 20000);
	assert_true(box_gives(box, "k", LARDER_STALE, "v1"));
	source = source_of(box, NULL);
	source.says = LARDER_LOADED_UNCHANGED;
	assert_int_equal(gives(&source, "k", "v1", LARDER_FROM_LOADER, NULL), 0);
	assert_string_equal(source.old, "v1");
	assert_string_equal(source.old_etag, "\"one\"");
	shift(box, 9000);
	assert_true(box_gives(box, "k", 0, "v1"));
	/* The ETag went on with it. */
	shift(box, 1000);
	assert_int_equal(gives(&source, "k", "v1", LARDER_FROM_LOADER, NULL), 0);
	assert_string_equal(source.old_etag, "\"one\"");
	assert_int_equal(source.calls, 2);
}

static void test_a_failed_refresh_leaves_the_stale_value(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "v1");

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "TTL=10s", "STALE=1m", NULL });
	assert_int_equal(gives(&source, "k", "v1", LARDER_FROM_LOADER, NULL), 0);
	shift(box, 20000);
	source.says = LARDER_LOAD_FAILED;
	assert_int_equal(gives(&source, "k", "v1", LARDER_FROM_L1, NULL), LARDER_STALE);
	assert_int_equal(gives(&source, "k", "v1", LARDER_FROM_L1, NULL), LARDER_STALE);
	assert_int_equal(source.calls, 2);
	shift(box, 60000);
	assert_int_equal(gives(&source, "k", NULL, 0, NULL), LARDER_E_LOAD);
}

static void test_stale_if_error(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "v1");

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "TTL=10s", "STALE=0", "STALE_IF_ERROR=1h", "FAIL_THROTTLE_MS=1s", NULL });
	assert_int_equal(gives(&source, "k", "v1", LARDER_FROM_LOADER, NULL), 0);
	shift(box, 20000);
	/* A get has no source that could fail. */
	assert_true(box_gives(box, "k", LARDER_MISS, NULL));
	source.says = LARDER_LOAD_FAILED;
	assert_int_equal(gives(&source, "k", "v1", LARDER_FROM_L1, NULL), LARDER_STALE);
	/* While the failure is remembered, too. */
	assert_int_equal(gives(&source, "k", "v1", LARDER_FROM_L1, NULL), LARDER_STALE);
	assert_int_equal(source.calls, 2);
	assert_string_equal(source.old, "v1");
	shift(box, 1000);
	/* "Not found" is no error. */
	source.says = LARDER_LOADED_ABSENT;
	source.text = NULL;
	assert_int_equal(gives(&source, "k", NULL, 0, NULL), LARDER_ABSENT);
}

/* ---- writes during a load ---- */

static void set_meanwhile(struct source *source)
{
	assert_int_equal(box_set(source->box, "k", "newer"), 0);
}

static void delete_meanwhile(struct source *source)
{
	assert_in_range(larder_delete(source->box->tenant, BOX_SPACE, "k", 1, NULL), 0, LARDER_MISS);
}

static void delete_set_delete_meanwhile(struct source *source)
{
	delete_meanwhile(source);
	set_meanwhile(source);
	delete_meanwhile(source);
}

static void clear_meanwhile(struct source *source)
{
	assert_int_equal(larder_clear_space(source->box->tenant, BOX_SPACE, NULL), 0);
}

static void test_a_write_during_a_load_wins(void **state)
{
	static const struct { void (*meanwhile)(struct source *); int result; const char *text; } cases[] = {
		{ set_meanwhile, 0, "newer" }, { delete_meanwhile, LARDER_MISS, NULL }, { delete_set_delete_meanwhile, LARDER_MISS, NULL },
		{ clear_meanwhile, LARDER_MISS, NULL },
	};
	struct box *box = *state;

	box_open(box, NULL);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct source source = source_of(box, "older");

		assert_in_range(larder_delete(box->tenant, BOX_SPACE, "k", 1, NULL), 0, LARDER_MISS);
		source.meanwhile = cases[i].meanwhile;
		/* Its own caller is given it; nobody else is. */
		assert_int_equal(gives(&source, "k", "older", LARDER_FROM_LOADER, NULL), 0);
		assert_true(box_gives(box, "k", cases[i].result, cases[i].text));
	}
}

static void invalidate_meanwhile(struct source *source)
{
	assert_int_equal(larder_invalidate_tags(source->box->tenant, (const char *const[]){ "user-1" }, 1, NULL), 0);
}

static void test_the_old_tags_count_too(void **state)
{
	struct box *box = *state;
	struct larder_store store = LARDER_STORE_INIT;
	struct source source = source_of(box, "of before");

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "TTL=10s", "STALE=1h", NULL });
	store.tags = (const char *const[]){ "user-1" };
	store.tag_count = 1;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "k", 1, "old", 3, &store, NULL), 0);
	shift(box, 20000);
	/* The loader gives no tags; what it read is from before the invalidation all the same. */
	source.meanwhile = invalidate_meanwhile;
	assert_int_equal(gives(&source, "k", "of before", LARDER_FROM_LOADER, NULL), 0);
	assert_true(box_gives(box, "k", LARDER_MISS, NULL));
}

static void test_a_refresh_discarded_again_and_again(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "loaded");

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "TTL=10s", "STALE=1h", NULL });
	source.meanwhile = set_meanwhile;
	for (unsigned i = 1; i <= 20; i++) {
		assert_int_equal(box_set(box, "k", "newer"), 0);
		shift(box, 20000);
		assert_int_equal(gives(&source, "k", "loaded", LARDER_FROM_LOADER, NULL), 0);
		assert_int_equal(source.calls, i);
		assert_true(box_gives(box, "k", 0, "newer"));
	}
}

static void end_of_the_stale_window(struct source *source)
{
	shift(source->box, 120000);
}

static void test_the_stale_window_ends_during_a_refresh(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "v1");

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "TTL=10s", "STALE=1m", NULL });
	assert_int_equal(gives(&source, "k", "v1", LARDER_FROM_LOADER, NULL), 0);
	shift(box, 20000);
	source.says = LARDER_LOADED_UNCHANGED;
	source.text = NULL;
	source.meanwhile = end_of_the_stale_window;
	/* It was looked at in time, and its source says that it is good. */
	assert_int_equal(gives(&source, "k", "v1", LARDER_FROM_LOADER, NULL), 0);
	assert_true(box_gives(box, "k", 0, "v1"));
}

/* ---- leases ---- */

static larder_lease *lease_of(struct box *box, const char *name)
{
	larder_lease *lease = NULL;

	assert_int_equal(larder_lease_try(box->tenant, BOX_SPACE, name, strlen(name), NULL, &lease), 0);
	assert_non_null(lease);
	return lease;
}

static int try(struct box *box, const char *name)
{
	larder_lease *lease = NULL;
	int rc = larder_lease_try(box->tenant, BOX_SPACE, name, strlen(name), NULL, &lease);

	assert_null(lease);
	return rc;
}

static void test_an_explicit_lease_keeps_others_away_until_it_is_filled(void **state)
{
	struct box *box = *state;
	larder_lease *lease;

	box_open(box, NULL);
	lease = lease_of(box, "k");
	assert_int_equal(try(box, "k"), LARDER_E_BUSY);
	assert_in_range(larder_retry_after(), 1, 5000);
	assert_int_equal(larder_fill(lease, "filled", 6, NULL, NULL), 0);
	assert_int_equal(try(box, "k"), LARDER_EXISTS);
	assert_int_equal(larder_retry_after(), 0);
	assert_true(box_gives(box, "k", 0, "filled"));
	lease = lease_of(box, "none");
	assert_int_equal(larder_fill_absent(lease, NULL, NULL), 0);
	assert_true(box_gives(box, "none", LARDER_ABSENT, NULL));
}

static void test_a_dropped_lease_is_free_at_once_and_a_failed_one_is_throttled(void **state)
{
	struct box *box = *state;

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "FAIL_THROTTLE_MS=2s", NULL });
	larder_lease_drop(lease_of(box, "k"), 0);
	larder_lease_drop(lease_of(box, "k"), 1);
	assert_int_equal(try(box, "k"), LARDER_E_LOAD);
	assert_in_range(larder_retry_after(), 1, 2000);
	shift(box, 2000);
	larder_lease_drop(lease_of(box, "k"), 0);
	larder_lease_drop(NULL, 1);
}

static void test_a_lease_ends_by_itself_and_its_fill_is_stored_all_the_same(void **state)
{
	struct box *box = *state;
	larder_lease *slow, *quick;

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "LEASE_MS=1s", NULL });
	slow = lease_of(box, "k");
	shift(box, 900);
	assert_int_equal(larder_lease_renew(slow, 1000), 0);
	shift(box, 900);
	assert_int_equal(try(box, "k"), LARDER_E_BUSY);
	shift(box, 100);
	quick = lease_of(box, "k");
	assert_int_equal(larder_lease_renew(slow, 1000), LARDER_MISS);
	/* Losing the lease does not make a slow load worthless. */
	assert_int_equal(larder_fill(slow, "slow", 4, NULL, NULL), 0);
	assert_true(box_gives(box, "k", 0, "slow"));
	/* Nor did its end end the other's; but that one's look is older than what is there now. */
	assert_int_equal(larder_fill(quick, "quick", 5, NULL, NULL), LARDER_EXISTS);
	assert_true(box_gives(box, "k", 0, "slow"));
}

static void test_a_fill_after_a_write_is_discarded(void **state)
{
	struct box *box = *state;
	larder_lease *lease;

	box_open(box, NULL);
	lease = lease_of(box, "k");
	assert_int_equal(box_set(box, "k", "set"), 0);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "k", 1, NULL), 0);
	/* Somebody who looks now need not wait for a fill that will be discarded. */
	larder_lease_drop(lease_of(box, "k"), 0);
	assert_int_equal(larder_fill(lease, "old", 3, NULL, NULL), LARDER_EXISTS);
	assert_true(box_gives(box, "k", LARDER_MISS, NULL));
}

static void test_bad_fills_end_the_lease(void **state)
{
	static char large[2000];
	const struct larder_store bad = { .size = sizeof(bad), .ttl_ms = -1, .stale_ms = 0 };
	struct box *box = *state;

	box_open(box, (const char *const[]){ "MAX_VALUE=1K", NULL });
	assert_int_equal(larder_fill(lease_of(box, "k"), "x", 1, &bad, NULL), LARDER_E_TTL);
	assert_int_equal(larder_fill(lease_of(box, "k"), NULL, 1, NULL, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_fill(lease_of(box, "k"), large, sizeof(large), NULL, NULL), LARDER_E_TOO_LARGE);
	assert_int_equal(larder_fill(NULL, "x", 1, NULL, NULL), LARDER_E_USAGE);
	assert_true(box_gives(box, "k", LARDER_MISS, NULL));
	larder_lease_drop(lease_of(box, "k"), 0);
}

static void test_a_stale_value_comes_with_its_lease(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "v1");
	larder_lease *lease = NULL, *second = NULL;
	const struct larder_loading first_loading = { sizeof(first_loading), 0, 0, load, &source, &lease },
		second_loading = { sizeof(second_loading), 0, 0, load, &source, &second };
	struct larder_value value = { 0 };

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "TTL=10s", "STALE=1h", NULL });
	assert_int_equal(gives(&source, "k", "v1", LARDER_FROM_LOADER, NULL), 0);
	shift(box, 20000);
	assert_int_equal(larder_get_or_set(box->tenant, BOX_SPACE, "k", 1, &first_loading, NULL, &value), LARDER_STALE);
	larder_value_free(&value);
	assert_non_null(lease);
	/* One of them is elected; the other is given the stale value alone. */
	assert_int_equal(larder_get_or_set(box->tenant, BOX_SPACE, "k", 1, &second_loading, NULL, &value), LARDER_STALE);
	larder_value_free(&value);
	assert_null(second);
	assert_int_equal(source.calls, 1);
	assert_int_equal(larder_fill(lease, "v2", 2, NULL, NULL), 0);
	assert_int_equal(larder_get_or_set(box->tenant, BOX_SPACE, "k", 1, &second_loading, NULL, &value), 0);
	assert_memory_equal(value.data, "v2", 2);
	larder_value_free(&value);
	assert_int_equal(source.calls, 1);
}

/* ---- the thread ---- */

static int refreshed(struct box *box, struct source *source, const char *text)
{
	struct larder_value value = { 0 };
	const struct larder_loading loading = { sizeof(loading), LARDER_LOAD_ANY_THREAD, 0, load, source, NULL };
	int rc = larder_get_or_set(box->tenant, BOX_SPACE, "k", 1, &loading, NULL, &value), is = 0;

	if (rc == 0 || rc == LARDER_STALE) {
		is = rc == 0 && value.len == strlen(text) && memcmp(value.data, text, value.len) == 0;
		larder_value_free(&value);
	}
	return is;
}

static void test_a_thread_refreshes_what_is_stale(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "v1"), second = source_of(box, "v2");

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "TTL=10s", "STALE=1h", "THREADS=1", NULL });
	assert_true(refreshed(box, &source, "v1"));
	shift(box, 20000);
	/* At once, and stale; the new one comes by and by. */
	assert_false(refreshed(box, &second, "v2"));
	assert_true(CHILD_POLL(refreshed(box, &second, "v2")));
	assert_int_equal(second.ended, 1);
	assert_string_equal(second.old, "v1");
	assert_true(CHILD_POLL(stats_of(box).refreshes == 1));
}

static _Atomic int may_go_on;

static void wait_meanwhile(struct source *source)
{
	(void)source;
	(void)CHILD_POLL(atomic_load(&may_go_on));
}

/* Of several threads at once: it writes down nothing. */
static int load_slowly(struct larder_load *load, void *ctx)
{
	atomic_fetch_add((_Atomic unsigned *)ctx, 1);
	(void)CHILD_POLL(atomic_load(&may_go_on));
	return larder_load_give(load, "slow", 4) == 0 ? LARDER_LOADED : LARDER_LOAD_FAILED;
}

static void test_closing_waits_for_a_refresh_and_lets_the_queue_go(void **state)
{
	struct box *box = *state;
	_Atomic unsigned calls = 0;
	char name[8];

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "TTL=10s", "STALE=1h", "THREADS=1", NULL });
	for (int i = 0; i < 20; i++) {
		(void)snprintf(name, sizeof(name), "k%d", i);
		assert_int_equal(box_set(box, name, "old"), 0);
	}
	shift(box, 20000);
	atomic_store(&may_go_on, 0);
	for (int i = 0; i < 20; i++) {
		const struct larder_loading loading = { sizeof(loading), LARDER_LOAD_ANY_THREAD, 0, load_slowly, &calls, NULL };
		struct larder_value value = { 0 };

		(void)snprintf(name, sizeof(name), "k%d", i);
		assert_int_equal(larder_get_or_set(box->tenant, BOX_SPACE, name, strlen(name), &loading, NULL, &value), LARDER_STALE);
		larder_value_free(&value);
	}
	/* Some are under way, the rest is queued. */
	assert_true(CHILD_POLL(calls >= 1));
	atomic_store(&may_go_on, 1);
	box_close(box);
	assert_in_range(calls, 1, 20);
}

static void close_in_child(void *arg)
{
	struct box *box = arg;

	/* The parent's jobs and threads are not ours: nothing to wait for, nothing freed twice. */
	box_close(box);
}

static void test_a_child_inherits_no_jobs(void **state)
{
	struct box *box = *state;
	struct source slow = source_of(box, "slow");
	const struct larder_loading loading = { sizeof(loading), LARDER_LOAD_ANY_THREAD, 0, load, &slow, NULL };
	struct larder_value value = { 0 };

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "TTL=10s", "STALE=1h", "THREADS=1", NULL });
	assert_int_equal(box_set(box, "k", "old"), 0);
	shift(box, 20000);
	atomic_store(&may_go_on, 0);
	slow.meanwhile = wait_meanwhile;
	assert_int_equal(larder_get_or_set(box->tenant, BOX_SPACE, "k", 1, &loading, NULL, &value), LARDER_STALE);
	larder_value_free(&value);
	assert_true(CHILD_POLL(slow.calls == 1));
	assert_int_equal(child_run(close_in_child, box), 0);
	atomic_store(&may_go_on, 1);
	assert_true(CHILD_POLL(stats_of(box).refreshes == 1));
}

/* ---- early refresh ---- */

static void test_a_value_is_refreshed_early_the_likelier_the_nearer_its_end(void **state)
{
	enum { ROUNDS = 400 };
	struct box *box = *state;
	struct larder_value value = { 0 };
	unsigned early[2] = { 0, 0 };

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "TTL=100s", NULL });
	for (int nearer = 0; nearer < 2; nearer++) {
		for (int i = 0; i < ROUNDS; i++) {
			struct source source = source_of(box, "v");
			char name[16];

			(void)snprintf(name, sizeof(name), "%d-%d", nearer, i);
			source.takes_ms = 2000;
			assert_int_equal(gives(&source, name, "v", LARDER_FROM_LOADER, NULL), 0);
			shift(box, nearer ? 98000 : 50000);
			source.takes_ms = 0;
			assert_int_equal(larder_get_or_set(box->tenant, BOX_SPACE, name, strlen(name),
			    &(struct larder_loading){ sizeof(struct larder_loading), 0, 0, load, &source, NULL }, NULL, &value), 0);
			assert_int_equal(value.source, source.calls > 1 ? LARDER_FROM_LOADER : LARDER_FROM_L1);
			larder_value_free(&value);
			early[nearer] += source.calls > 1;
		}
	}
	/* beta 1, load 2 s: with 50 s left e^-25 of them, with 2 s left e^-1: 147 of 400, +- 5 deviations of 9.6. */
	assert_int_equal(early[0], 0);
	assert_in_range(early[1], 99, 195);
}

/* ---- arguments, off ---- */

static void test_bad_arguments(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "x");
	struct larder_loading loading = { sizeof(loading), 0, 0, load, &source, NULL };
	struct larder_value value = { 0 };
	larder_lease *lease = NULL;

	box_open(box, NULL);
	assert_int_equal(larder_get_or_set(NULL, BOX_SPACE, "k", 1, &loading, NULL, &value), LARDER_E_CLOSED);
	assert_int_equal(larder_get_or_set(box->tenant, BOX_SPACE, "k", 1, NULL, NULL, &value), LARDER_E_USAGE);
	assert_int_equal(larder_get_or_set(box->tenant, BOX_SPACE, "k", 1, &loading, NULL, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_get_or_set(box->tenant, "NO", "k", 1, &loading, NULL, &value), LARDER_E_SPACE_NAME);
	assert_int_equal(larder_get_or_set(box->tenant, BOX_SPACE, "", 0, &loading, NULL, &value), LARDER_E_NAME);
	loading.flags = 2;
	assert_int_equal(larder_get_or_set(box->tenant, BOX_SPACE, "k", 1, &loading, NULL, &value), LARDER_E_USAGE);
	loading.flags = 0;
	loading.loader = NULL;
	assert_int_equal(larder_get_or_set(box->tenant, BOX_SPACE, "k", 1, &loading, NULL, &value), LARDER_E_USAGE);
	loading.loader = load;
	loading.ctx_size = 5000;
	assert_int_equal(larder_get_or_set(box->tenant, BOX_SPACE, "k", 1, &loading, NULL, &value), LARDER_E_USAGE);
	assert_int_equal(larder_lease_try(box->tenant, BOX_SPACE, "k", 1, NULL, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_lease_try(NULL, BOX_SPACE, "k", 1, NULL, &lease), LARDER_E_CLOSED);
	assert_int_equal(larder_lease_renew(NULL, 100), LARDER_E_USAGE);
	assert_int_equal(larder_load_give(NULL, "x", 1), LARDER_E_USAGE);
	assert_int_equal(larder_load_renew(NULL, 1), LARDER_E_USAGE);
	assert_int_equal(source.calls, 0);
}

static void test_while_off_every_call_loads(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "x");

	box_open(box, (const char *const[]){ "ENABLED=0", NULL });
	assert_int_equal(gives(&source, "k", "x", LARDER_FROM_LOADER, NULL), 0);
	assert_int_equal(gives(&source, "k", "x", LARDER_FROM_LOADER, NULL), 0);
	assert_int_equal(source.calls, 2);
	assert_int_equal(try(box, "k"), LARDER_UNAVAILABLE);
	assert_int_equal(larder_reason(), LARDER_REASON_OFF);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, box_begin, box_end)
	const struct CMUnitTest tests[] = {
		ROW(test_a_missing_value_is_loaded_once_and_kept), ROW(test_not_found_is_remembered), ROW(test_a_failure_is_throttled_and_then_tried_again),
		ROW(test_a_loader_that_says_nothing_sensible_has_failed), ROW(test_what_must_not_be_stored_is_given_out), ROW(test_the_loader_chooses_times),
		ROW(test_a_loader_slower_than_the_ttl), ROW(test_unchanged_renews_the_old_value), ROW(test_a_failed_refresh_leaves_the_stale_value),
		ROW(test_stale_if_error), ROW(test_a_write_during_a_load_wins), ROW(test_the_old_tags_count_too), ROW(test_a_refresh_discarded_again_and_again),
		ROW(test_the_stale_window_ends_during_a_refresh), ROW(test_an_explicit_lease_keeps_others_away_until_it_is_filled),
		ROW(test_a_dropped_lease_is_free_at_once_and_a_failed_one_is_throttled),
		ROW(test_a_lease_ends_by_itself_and_its_fill_is_stored_all_the_same), ROW(test_a_fill_after_a_write_is_discarded),
		ROW(test_bad_fills_end_the_lease), ROW(test_a_stale_value_comes_with_its_lease), ROW(test_a_thread_refreshes_what_is_stale),
		ROW(test_closing_waits_for_a_refresh_and_lets_the_queue_go), ROW(test_a_child_inherits_no_jobs),
		ROW(test_a_value_is_refreshed_early_the_likelier_the_nearer_its_end), ROW(test_bad_arguments), ROW(test_while_off_every_call_loads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
