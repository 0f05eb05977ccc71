/* SPDX-License-Identifier: MIT */
/*
 * Counters: each moves with the calls that its comment names and with no others, gets are the sum of their outcomes, a tenant has its
 * own, and a reset sets all to zero.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "cache.h"
#include "child.h"

static struct larder_stats now(struct box *box)
{
	struct larder_stats stats = { .size = sizeof(stats) };

	assert_int_equal(larder_get_stats(box->cache, &stats), 0);
	assert_int_equal(stats.gets, stats.hits + stats.stale_hits + stats.absent_hits + stats.misses + stats.unavailable + stats.bypassed +
	    stats.get_errors);
	return stats;
}

/* Every counter as a field of its own, in the order of the struct. */
enum { COUNTERS = 17 };

static void counters_of(const struct larder_stats *stats, uint64_t counters[COUNTERS])
{
	memcpy(counters, &stats->gets, COUNTERS * sizeof(*counters));
}

/* Which counters moved since `before`, and by how much, as a text: "gets+1 hits+1". */
static const char *moved(struct box *box, struct larder_stats *before)
{
	static const char *const names[COUNTERS] = { "gets", "hits", "stale_hits", "absent_hits", "misses", "unavailable", "bypassed", "get_errors",
		"sets", "sets_dropped", "deletes", "deletes_failed", "touches", "clears", "evictions", "expiries", "corrupt" };
	static char text[512];
	struct larder_stats after = now(box);
	uint64_t was[COUNTERS], is[COUNTERS];
	size_t used = 0;

	counters_of(before, was);
	counters_of(&after, is);
	text[0] = 0;
	for (int i = 0; i < COUNTERS; i++)
		if (was[i] != is[i])
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s%+lld", used ? " " : "", names[i],
			    (long long)(is[i] - was[i]));
	*before = after;
	return text;
}

static void test_each_call_moves_its_counters(void **state)
{
	struct box *box = *state;
	struct larder_stats at;
	struct larder_value value;
	larder_tenant *t;
	char small[1];

	box_open(box, NULL);
	t = box->tenant;
	at = now(box);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	assert_string_equal(moved(box, &at), "gets+1 misses+1");
	assert_int_equal(box_set(box, "a", "text"), 0);
	assert_string_equal(moved(box, &at), "sets+1");
	assert_true(box_gives(box, "a", 0, "text"));
	assert_string_equal(moved(box, &at), "gets+1 hits+1");
	assert_int_equal(larder_exists(t, BOX_SPACE, "a", 1, NULL), 0);
	assert_string_equal(moved(box, &at), "gets+1 hits+1");
	assert_int_equal(larder_get_into(t, BOX_SPACE, "a", 1, small, 1, NULL, &value), LARDER_E_SPACE);
	assert_string_equal(moved(box, &at), "gets+1 get_errors+1");
	assert_int_equal(larder_get(t, "Bad", "a", 1, NULL, &value), LARDER_E_SPACE_NAME);
	assert_string_equal(moved(box, &at), "gets+1 get_errors+1");
	assert_int_equal(larder_set(t, "Bad", "a", 1, "x", 1, NULL, NULL), LARDER_E_SPACE_NAME);
	assert_string_equal(moved(box, &at), "");
	assert_int_equal(larder_set_absent(t, BOX_SPACE, "b", 1, NULL, NULL), 0);
	assert_string_equal(moved(box, &at), "sets+1");
	assert_true(box_gives(box, "b", LARDER_ABSENT, NULL));
	assert_string_equal(moved(box, &at), "gets+1 absent_hits+1");
	assert_int_equal(larder_add(t, BOX_SPACE, "a", 1, "x", 1, NULL, NULL), LARDER_EXISTS);
	assert_string_equal(moved(box, &at), "");
	assert_int_equal(larder_add(t, BOX_SPACE, "c", 1, "x", 1, NULL, NULL), 0);
	assert_string_equal(moved(box, &at), "sets+1");
	assert_int_equal(larder_touch(t, BOX_SPACE, "c", 1, 1000, 0, NULL), 0);
	assert_string_equal(moved(box, &at), "touches+1");
	assert_int_equal(larder_touch(t, BOX_SPACE, "none", 4, 1000, 0, NULL), LARDER_MISS);
	assert_string_equal(moved(box, &at), "");
	assert_int_equal(larder_delete(t, BOX_SPACE, "c", 1, NULL), 0);
	assert_string_equal(moved(box, &at), "deletes+1");
	assert_int_equal(larder_delete(t, BOX_SPACE, "c", 1, NULL), LARDER_MISS);
	assert_string_equal(moved(box, &at), "");
	assert_int_equal(larder_clear_space(t, BOX_SPACE, NULL), 0);
	assert_int_equal(larder_clear_tenant(t, NULL), 0);
	assert_int_equal(larder_clear_all(box->cache, NULL), 0);
	assert_string_equal(moved(box, &at), "clears+3");
}

static void test_many_at_once_are_counted_one_by_one(void **state)
{
	struct box *box = *state;
	struct larder_stats at;
	struct larder_item items[4] = {
		{ BOX_SPACE, "a", 1, 0, { 0 } }, { BOX_SPACE, "b", 1, 0, { 0 } }, { "Bad", "b", 1, 0, { 0 } }, { BOX_SPACE, "none", 4, 0, { 0 } },
	};

	box_open(box, NULL);
	assert_int_equal(box_set(box, "a", "x"), 0);
	assert_int_equal(larder_set_absent(box->tenant, BOX_SPACE, "b", 1, NULL, NULL), 0);
	at = now(box);
	assert_int_equal(larder_mget(box->tenant, items, 4, NULL), 0);
	assert_string_equal(moved(box, &at), "gets+4 hits+1 absent_hits+1 misses+1 get_errors+1");
	larder_value_free(&items[0].value);
	assert_int_equal(larder_delete_many(box->tenant, items, 2, NULL), 0);
	assert_string_equal(moved(box, &at), "deletes+2");
}

static void test_stale_hits_and_their_ratio(void **state)
{
	struct larder_store store = LARDER_STORE_INIT;
	struct box *box = *state;
	struct larder_stats at;
	uint64_t stale = 0;

	box_open(box, NULL);
	store.ttl_ms = 1;
	store.stale_ms = 600000;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, "x", 1, &store, NULL), 0);
	assert_true(CHILD_POLL(larder_exists(box->tenant, BOX_SPACE, "a", 1, NULL) == LARDER_STALE));
	assert_true(now(box).stale_hits >= 1);
	assert_int_equal(larder_stats_reset(box->cache), 0);
	at = now(box);
	assert_true(at.gets == 0 && at.sets == 0 && at.hit_ratio <= 0);
	for (int i = 0; i < 3; i++)
		stale += box_gives(box, "a", LARDER_STALE, "x");
	assert_int_equal(stale, 3);
	assert_string_equal(moved(box, &at), "gets+3 stale_hits+3");
	assert_true(fabs(now(box).hit_ratio - 1) < 1e-9);
	assert_true(box_gives(box, "b", LARDER_MISS, NULL));
	assert_true(fabs(now(box).hit_ratio - 0.75) < 1e-9);
	/* Refused arguments are not asked of the cache. */
	assert_int_equal(larder_exists(box->tenant, "Bad", "a", 1, NULL), LARDER_E_SPACE_NAME);
	assert_true(fabs(now(box).hit_ratio - 0.75) < 1e-9);
}

static void test_a_tenant_has_its_own(void **state)
{
	struct larder_stats stats = { .size = sizeof(stats) };
	struct box *box = *state;
	larder_tenant *other, *again;
	uint64_t bytes;
	char data[6000] = "x";

	box_open(box, NULL);
	assert_int_equal(larder_tenant_open(box->cache, "other", &other), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(larder_set(other, BOX_SPACE, &i, sizeof(i), data, sizeof(data), NULL, NULL), 0);
	assert_int_equal(box_set(box, "a", "x"), 0);
	assert_true(box_gives(box, "a", 0, "x"));
	assert_int_equal(larder_tenant_get_stats(other, &stats), 0);
	assert_true(stats.sets == 5 && stats.gets == 0 && stats.entries == 5 && stats.size_bytes == 0);
	bytes = stats.used_bytes;
	assert_in_range(bytes, 5 * 6000, 5 * 12000);
	/* The handle is a view: another one of the same tenant sees the same. */
	assert_int_equal(larder_tenant_open(box->cache, "other", &again), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(larder_delete(again, BOX_SPACE, &i, sizeof(i), NULL), 0);
	assert_int_equal(larder_tenant_get_stats(other, &stats), 0);
	assert_true(stats.deletes == 4 && stats.entries == 1 && stats.used_bytes == bytes / 5);
	assert_int_equal(larder_tenant_get_stats(box->tenant, &stats), 0);
	assert_true(stats.sets == 1 && stats.hits == 1 && stats.deletes == 0 && stats.entries == 1);
	larder_tenant_close(again);
	larder_tenant_close(other);
}

static void test_fill_is_told(void **state)
{
	struct box *box = *state;
	struct larder_stats stats;
	char data[10000] = "x";

	box_open(box, NULL);
	stats = now(box);
	assert_int_equal(stats.size_bytes, 8 << 20);
	assert_int_equal(stats.entries, 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), data, sizeof(data), NULL, NULL), 0);
	stats = now(box);
	assert_int_equal(stats.entries, 100);
	assert_in_range(stats.used_bytes, 100 * sizeof(data), 150 * sizeof(data));
	for (int i = 0; i < 100; i++)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), data, 10, NULL, NULL), 0);
	assert_int_equal(now(box).entries, 100);
	/* Chunks are gone; rows that shrank may still stand on as many pages. */
	assert_in_range(now(box).used_bytes, 4096, 100 * 4096);
}

static void test_a_quota_takes_the_tenants_own(void **state)
{
	struct larder_stats stats = { .size = sizeof(stats) };
	struct box *box = *state;
	char path[256], row[270], data[3000] = "x";
	FILE *file = fopen(box_path(box, "spaces.json", path), "w");
	larder_tenant *small;

	assert_non_null(file);
	assert_true(fputs("{\"tenants\":{\"small\":{\"quota\":\"64K\"}}}", file) >= 0);
	assert_int_equal(fclose(file), 0);
	(void)snprintf(row, sizeof(row), "SPACES_FILE=%s", path);
	box_open(box, (const char *const[]){ row, NULL });
	assert_int_equal(larder_tenant_open(box->cache, "small", &small), 0);
	for (int i = 0; i < 50; i++)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), data, sizeof(data), NULL, NULL), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(larder_set(small, BOX_SPACE, &i, sizeof(i), data, sizeof(data), NULL, NULL), 0);
	assert_int_equal(larder_tenant_get_stats(small, &stats), 0);
	assert_int_equal(stats.size_bytes, 65536);
	assert_in_range(stats.used_bytes, 30000, 65536);
	assert_int_equal(stats.entries + stats.evictions, 100);
	assert_int_equal(larder_tenant_get_stats(box->tenant, &stats), 0);
	assert_true(stats.entries == 50 && stats.evictions == 0);
	larder_tenant_close(small);
}

static void test_max_entries_evicts(void **state)
{
	struct box *box = *state;
	struct larder_stats stats;
	unsigned there = 0;

	box_open(box, (const char *const[]){ "MAX_ENTRIES=100", NULL });
	for (int i = 0; i < 1000; i++)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), "x", 1, NULL, NULL), 0);
	stats = now(box);
	assert_in_range(stats.entries, 80, 100);
	assert_int_equal(stats.entries + stats.evictions, 1000);
	for (int i = 0; i < 1000; i++)
		there += larder_exists(box->tenant, BOX_SPACE, &i, sizeof(i), NULL) == 0;
	assert_int_equal(there, stats.entries);
}

static void test_a_full_store_evicts_and_takes_every_set(void **state)
{
	struct box *box = *state;
	struct larder_stats stats;
	char data[20000];

	memset(data, 'x', sizeof(data));
	box_open(box, NULL);
	for (int i = 0; i < 3000; i++)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), data, 100 + (size_t)(i * 7919) % 19900, NULL, NULL), 0);
	stats = now(box);
	assert_true(stats.evictions > 1000 && stats.sets == 3000 && stats.sets_dropped == 0);
	assert_int_equal(stats.entries + stats.evictions, 3000);
	assert_in_range(stats.used_bytes, (8 << 20) / 100 * 60, 8 << 20);
}

#define WITH_BOX(test) cmocka_unit_test_setup_teardown(test, box_begin, box_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BOX(test_each_call_moves_its_counters),
		WITH_BOX(test_many_at_once_are_counted_one_by_one),
		WITH_BOX(test_stale_hits_and_their_ratio),
		WITH_BOX(test_a_tenant_has_its_own),
		WITH_BOX(test_fill_is_told),
		WITH_BOX(test_a_quota_takes_the_tenants_own),
		WITH_BOX(test_max_entries_evicts),
		WITH_BOX(test_a_full_store_evicts_and_takes_every_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
