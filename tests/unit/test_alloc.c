/* SPDX-License-Identifier: MIT */
/*
 * Every allocation fails in turn, in every call: the call says that memory is out or that the cache is not available, or does without;
 * never a crash, never a wrong value, never a leak. Only the build with fault points can fail an allocation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache.h"
#include "leave_out.h"

#ifdef LARDER_FAULTS

enum { ITEMS = 5, SWEEP_MAX = 2000, LARGE = 9000 };

static char large[LARGE];

/* A piece of work: 0 it was done as if nothing had failed, 1 it was refused as it may be, -1 it did something wrong. */
typedef int (*work_fn)(struct box *box);

static int may_be(int rc)
{
	return rc == LARDER_E_NOMEM || rc == LARDER_UNAVAILABLE || rc == LARDER_E_IO || rc == LARDER_E_BUSY || rc == LARDER_E_FULL ? 1 : -1;
}

/* Fail the first allocation, then the second, and so on until all the work's have passed. */
static void sweep(struct box *box, work_fn work, unsigned at_least)
{
	unsigned failed = 0;

	for (int64_t n = 1; n < SWEEP_MAX; n++) {
		int outcome;
		int64_t left;

		box->plan->alloc_countdown = n;
		outcome = work(box);
		left = box->plan->alloc_countdown;
		box->plan->alloc_countdown = 0;
		if (outcome < 0)
			print_message("# wrong at allocation %lld\n", (long long)n);
		assert_true(outcome >= 0);
		if (left > 0) {
			/* It passed fewer than n: none failed. */
			assert_int_equal(outcome, 0);
			assert_true(failed >= at_least);
			return;
		}
		failed++;
	}
	fail_msg("no end of allocations");
}

static int open_and_close(struct box *box)
{
	larder *cache = NULL;
	char *why = NULL;
	int rc = box_try(box, NULL, &cache, &why);

	larder_free(why);
	if (rc == 0)
		larder_close(cache);
	return rc == 0 ? 0 : cache ? -1 : may_be(rc);
}

static void test_open(void **state)
{
	struct box *box = *state;

	sweep(box, open_and_close, 5);
	box_open(box, NULL);
	assert_int_equal(box_set(box, "a", "x"), 0);
	/* And with it open already. */
	sweep(box, open_and_close, 2);
	assert_true(box_gives(box, "a", 0, "x"));
}

static int open_tenant(struct box *box)
{
	larder_tenant *tenant = NULL;
	int rc = larder_tenant_open(box->cache, "other", &tenant);

	if (rc != 0)
		return tenant ? -1 : may_be(rc);
	rc = larder_exists(tenant, "new", "n", 1, NULL);
	larder_tenant_close(tenant);
	return rc == LARDER_MISS ? 0 : may_be(rc);
}

static int inspect(struct box *box)
{
	larder_inspector *inspector = NULL;
	char *why = NULL;
	int rc = box_try_inspect(box, NULL, &inspector, &why);

	larder_free(why);
	if (rc == 0)
		larder_inspect_close(inspector);
	return rc == 0 ? 0 : inspector ? -1 : may_be(rc);
}

static int get_one(struct box *box)
{
	struct larder_value value = { 0 };
	int rc = larder_get(box->tenant, BOX_SPACE, "large", 5, NULL, &value);

	if (rc != 0)
		return value.data ? -1 : may_be(rc);
	rc = value.len == LARGE && memcmp(value.data, large, LARGE) == 0 ? 0 : -1;
	larder_value_free(&value);
	return rc;
}

static int get_many(struct box *box)
{
	struct larder_item items[ITEMS];
	int missing = 0;

	for (int i = 0; i < ITEMS; i++)
		items[i] = (struct larder_item){ BOX_SPACE, i % 2 ? "large" : "a", i % 2 ? 5 : 1, 99, { 0 } };
	if (larder_mget(box->tenant, items, ITEMS, NULL) != 0)
		return -1;
	for (int i = 0; i < ITEMS; i++) {
		if (items[i].result != 0)
			missing |= may_be(items[i].result) > 0 && !items[i].value.data ? 1 : -1;
		else if (items[i].value.len != (i % 2 ? LARGE : 1))
			missing = -1;
		larder_value_free(&items[i].value);
	}
	return missing;
}

/* After a set that failed the older value is gone; after one that did not it is the new one. */
static int set_one(struct box *box)
{
	struct larder_value value = { 0 };
	int64_t countdown;
	int rc = larder_set(box->tenant, BOX_SPACE, "set", 3, large, LARGE, NULL, NULL), got;

	countdown = atomic_exchange(&box->plan->alloc_countdown, 0);
	got = larder_get(box->tenant, BOX_SPACE, "set", 3, NULL, &value);
	larder_value_free(&value);
	box->plan->alloc_countdown = countdown;
	if (rc == 0)
		return got == 0 ? 0 : -1;
	return got == LARDER_MISS ? may_be(rc) : -1;
}

static int delete_some(struct box *box)
{
	struct larder_item items[2] = { { BOX_SPACE, "d1", 2, 99, { 0 } }, { BOX_SPACE, "d2", 2, 99, { 0 } } };
	int64_t countdown = atomic_exchange(&box->plan->alloc_countdown, 0);
	int rc;

	if (box_set(box, "d1", "x") != 0 || box_set(box, "d2", "x") != 0)
		return -1;
	box->plan->alloc_countdown = countdown;
	rc = larder_delete_many(box->tenant, items, 2, NULL);
	if (rc == 0)
		return items[0].result == 0 && items[1].result == 0 ? 0 : -1;
	return may_be(rc);
}

static int count_listed(void *ctx, const struct larder_listed *entry)
{
	*(int *)ctx += entry->value_len > 0;
	return 0;
}

static int list_all(struct box *box)
{
	int count = 0, rc = larder_list(box->tenant, NULL, count_listed, &count, NULL);

	return rc == 0 ? (count >= 2 ? 0 : -1) : may_be(rc);
}

/* An entry whose value was asked for has it, or the walk says that it could not be done. */
static int has_value(void *ctx, const struct larder_entry *entry)
{
	int *wrong = ctx;

	*wrong |= entry->state == LARDER_IS_DAMAGED || !entry->value;
	return 0;
}

static int walk_all(struct box *box)
{
	struct larder_filter filter = { .size = sizeof(filter), .flags = LARDER_INSPECT_VALUES, .states = LARDER_IS_ANY };
	int wrong = 0, rc = larder_inspect_entries(box->inspector, &filter, has_value, NULL, &wrong);

	return wrong ? -1 : rc == 0 ? 0 : may_be(rc);
}

static int check_all(struct box *box)
{
	uint64_t found = 0;
	int rc = larder_inspect_check(box->inspector, 1, NULL, NULL, NULL, &found);

	/* Whatever is missing, nothing may be taken for damage. */
	return found != 0 ? -1 : rc == 0 ? (box->plan->alloc_countdown > 0 ? 0 : 1) : may_be(rc);
}

static int see_reader(void *ctx, const struct larder_reader *reader)
{
	(void)ctx;
	return reader->pid <= 0;
}

static int tell_figures(struct box *box)
{
	struct larder_summary summary = { .size = sizeof(summary) };
	int rc = larder_inspect_summary(box->inspector, &summary);

	if (rc == 0)
		rc = larder_inspect_readers(box->inspector, see_reader, NULL);
	return rc == 0 ? (box->plan->alloc_countdown > 0 ? 0 : 1) : may_be(rc);
}

static int work_on(struct box *box)
{
	int rc = larder_inspect_work(box->inspector, 0);

	return rc == 0 ? (box->plan->alloc_countdown > 0 ? 0 : 1) : may_be(rc);
}

static void test_calls(void **state)
{
	static const struct { work_fn work; unsigned at_least; } works[] = { { open_tenant, 1 }, { inspect, 1 }, { get_one, 1 }, { get_many, 5 },
		{ set_one, 0 }, { delete_some, 3 }, { list_all, 1 }, { walk_all, 3 }, { check_all, 3 }, { tell_figures, 1 }, { work_on, 0 } };
	struct larder_stats stats = { .size = sizeof(stats) };
	struct box *box = *state;

	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (char)(i * 11);
	box_open(box, NULL);
	box_inspect(box);
	assert_int_equal(box_set(box, "a", "x"), 0);
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "large", 5, large, LARGE, NULL, NULL), 0);
	for (size_t i = 0; i < sizeof(works) / sizeof(*works); i++) {
		print_message("# work %zu\n", i);
		sweep(box, works[i].work, works[i].at_least);
	}
	assert_true(box_gives(box, "a", 0, "x"));
	assert_int_equal(larder_get_stats(box->cache, &stats), 0);
	assert_int_equal(stats.corrupt, 0);
}

/* A full store whose writers cannot get memory for a window to evict from: sets are refused or done, nothing else. */
static int set_into_full(struct box *box)
{
	static int next;
	int rc = 0;

	for (int i = 0; i < 20 && rc == 0; i++, next++)
		rc = larder_set(box->tenant, BOX_SPACE, &next, sizeof(next), large, LARGE, NULL, NULL);
	return rc == 0 ? (box->plan->alloc_countdown > 0 ? 0 : 1) : may_be(rc);
}

static void test_evicting(void **state)
{
	struct box *box = *state;

	box_open(box, (const char *const[]){ "SIZE=1M", "MAX_VALUE=64K", NULL });
	for (int i = 0; i < 20; i++)
		assert_int_equal(set_into_full(box), 1);
	sweep(box, set_into_full, 1);
	assert_int_equal(set_into_full(box), 1);
}

#else

static void test_only_with_fault_points(void **state)
{
	(void)state;
	LEAVE_OUT("the library as shipped has no fault points");
}

#endif

#define WITH_BOX(test) cmocka_unit_test_setup_teardown(test, box_begin, box_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef LARDER_FAULTS
		WITH_BOX(test_open),
		WITH_BOX(test_calls),
		WITH_BOX(test_evicting),
#else
		cmocka_unit_test(test_only_with_fault_points),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
