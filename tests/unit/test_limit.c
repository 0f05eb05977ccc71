/* SPDX-License-Identifier: MIT */
/*
 * larder_limit_take(): its arguments, tenants and sub-keys with their own buckets, both limits or neither, policies that change, what is said when
 * nobody can count, counters, and that no sub-key is left anywhere in clear.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "cache.h"
#include "cache/handle.h"
#include "child.h"

static int begin(void **state) { return box_begin(state); }
static int end(void **state) { return box_end(state); }

static int take(larder_tenant *tenant, const char *subkey, uint32_t cost)
{
	int64_t retry_ms = -77;
	int rc = larder_limit_take(tenant, subkey, cost, NULL, &retry_ms);

	if (rc != LARDER_E_LIMIT)
		assert_int_equal(retry_ms, -77);
	else
		assert_true(retry_ms == -1 || retry_ms > 0);
	return rc;
}

/* A slow rate, so that the test is over before a take comes back. */
static unsigned greedy(larder_tenant *tenant, const char *subkey)
{
	unsigned taken = 0;
	int rc;

	while ((rc = take(tenant, subkey, 1)) == 0)
		taken++;
	assert_int_equal(rc, LARDER_E_LIMIT);
	return taken;
}

static void test_no_limit(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(take(box->tenant, i % 2 ? "user" : NULL, 1000000), 0);
}

static void test_bad_arguments(void **state)
{
	struct box *box = *state;
	struct larder_call call = LARDER_CALL_INIT;
	char longest[66];

	memset(longest, 'x', sizeof(longest));
	longest[65] = 0;
	box_open(box, (const char *const[]){ "LIMIT_RATE=1/h", "LIMIT_BURST=20", NULL });
	assert_int_equal(larder_limit_take(NULL, NULL, 1, NULL, NULL), LARDER_E_CLOSED);
	assert_int_equal(larder_limit_take((larder_tenant *)(void *)box->cache, NULL, 1, NULL, NULL), LARDER_E_CLOSED);
	assert_int_equal(take(box->tenant, NULL, 0), LARDER_E_USAGE);
	assert_int_equal(take(box->tenant, "", 1), LARDER_E_USAGE);
	assert_int_equal(take(box->tenant, "a b", 1), LARDER_E_USAGE);
	assert_int_equal(take(box->tenant, "a\n", 1), LARDER_E_USAGE);
	assert_int_equal(take(box->tenant, "\xc3\xa4", 1), LARDER_E_USAGE);
	assert_int_equal(take(box->tenant, longest, 1), LARDER_E_USAGE);
	assert_int_equal(take(box->tenant, longest + 1, 1), 0);
	call.size = 3;
	assert_int_equal(larder_limit_take(box->tenant, NULL, 1, &call, NULL), LARDER_E_USAGE);
	call.size = sizeof(call);
	call.flags = 0x80;
	assert_int_equal(larder_limit_take(box->tenant, NULL, 1, &call, NULL), LARDER_E_USAGE);
	call.flags = LARDER_CALL_THIS_TIER;
	assert_int_equal(larder_limit_take(box->tenant, NULL, 1, &call, NULL), 0);
	/* None of those was counted. */
	assert_int_equal(greedy(box->tenant, NULL), 18);
	assert_int_equal(larder_limit_take(box->tenant, NULL, 1, NULL, NULL), LARDER_E_LIMIT);
	assert_int_equal(larder_classify(LARDER_E_LIMIT), LARDER_CLASS_AGAIN);
}

static void test_when_to_try_again(void **state)
{
	struct box *box = *state;
	int64_t retry_ms = 0;

	box_open(box, (const char *const[]){ "LIMIT_RATE=1/m", "LIMIT_BURST=3", NULL });
	assert_int_equal(take(box->tenant, NULL, 3), 0);
	assert_int_equal(larder_retry_after(), 0);
	assert_int_equal(larder_limit_take(box->tenant, NULL, 1, NULL, &retry_ms), LARDER_E_LIMIT);
	assert_in_range(retry_ms, 50000, 60001);
	assert_int_equal(larder_retry_after(), retry_ms);
	/* Whoever does not want it from the call has it all the same. */
	assert_int_equal(larder_limit_take(box->tenant, NULL, 1, NULL, NULL), LARDER_E_LIMIT);
	assert_in_range(larder_retry_after(), 50000, 60001);
	assert_int_equal(larder_limit_take(box->tenant, NULL, 3, NULL, &retry_ms), LARDER_E_LIMIT);
	assert_in_range(retry_ms, 170000, 180001);
	assert_int_equal(larder_limit_take(box->tenant, NULL, 4, NULL, &retry_ms), LARDER_E_LIMIT);
	assert_int_equal(retry_ms, -1);
	assert_int_equal(larder_retry_after(), -1);
	assert_int_equal(larder_reason(), LARDER_REASON_NONE);
	/* It is of the last call. */
	assert_true(box_gives(box, "none", LARDER_MISS, NULL));
	assert_int_equal(larder_retry_after(), 0);
#ifdef LARDER_FAULTS
	atomic_fetch_add(&box->plan->boot_shift_ms, 60001);
	assert_int_equal(greedy(box->tenant, NULL), 1);
	/* The wall clock has nothing to do with it. */
	atomic_fetch_add(&box->plan->wall_shift_ms, 86400000);
	assert_int_equal(greedy(box->tenant, NULL), 0);
	atomic_fetch_add(&box->plan->boot_shift_ms, 86400000);
	assert_int_equal(greedy(box->tenant, NULL), 3);
#endif
}

static void test_tenants_and_subkeys(void **state)
{
	struct box *box = *state;
	struct larder_call call = LARDER_CALL_INIT;
	larder_tenant *other, *again;

	box_open(box, (const char *const[]){ "LIMIT_RATE=1/h", "LIMIT_BURST=10", "LIMIT_SUBKEY_RATE=1/h", "LIMIT_SUBKEY_BURST=4", NULL });
	assert_int_equal(larder_tenant_open(box->cache, "other", &other), 0);
	assert_int_equal(larder_tenant_open(box->cache, "acme", &again), 0);
	assert_int_equal(greedy(box->tenant, "ann"), 4);
	assert_int_equal(greedy(again, "ann"), 0);
	assert_int_equal(take(box->tenant, "bob", 3), 0);
	/* The sub-key of the call counts where there is no other. */
	call.subkey = "ann";
	assert_int_equal(larder_limit_take(box->tenant, NULL, 1, &call, NULL), LARDER_E_LIMIT);
	/* The tenant has three left, bob has one: the one that refuses takes nothing from the other. */
	for (int i = 0; i < 10; i++)
		assert_int_equal(take(again, "bob", 2), LARDER_E_LIMIT);
	assert_int_equal(greedy(again, "bob"), 1);
	for (int i = 0; i < 10; i++)
		assert_int_equal(take(box->tenant, "eve", 3), LARDER_E_LIMIT);
	assert_int_equal(larder_limit_take(box->tenant, "eve", 1, &call, NULL), 0);
	call.subkey = "eve";
	assert_int_equal(larder_limit_take(box->tenant, NULL, 1, &call, NULL), 0);
	assert_int_equal(greedy(box->tenant, NULL), 0);
	/* Another tenant, and its ann, have their own. */
	assert_int_equal(greedy(other, "ann"), 4);
	assert_int_equal(greedy(other, NULL), 6);
	larder_tenant_close(other);
	larder_tenant_close(again);
}

/* A tenant's policy over the settings; and another one at the next open, over what was taken before. */
static void test_policies(void **state)
{
	struct box *box = *state;
	char file[256], setting[300];
	larder_tenant *vip, *off;
	FILE *spaces;

	box_path(box, "spaces.json", file);
	snprintf(setting, sizeof(setting), "SPACES_FILE=%s", file);
	for (int round = 0; round < 2; round++) {
		spaces = fopen(file, "w");
		assert_non_null(spaces);
		fprintf(spaces, "{\"tenants\":{\"vip\":{\"rate\":\"1/h\",\"burst\":%d},\"off\":{\"rate\":0},\"acme\":{\"subkey_rate\":0.001}}}", round ? 12 : 5);
		assert_int_equal(fclose(spaces), 0);
		box_open(box, (const char *const[]){ setting, "LIMIT_RATE=2/h", "LIMIT_BURST=3", NULL });
		assert_int_equal(larder_tenant_open(box->cache, "vip", &vip), 0);
		assert_int_equal(larder_tenant_open(box->cache, "off", &off), 0);
		assert_int_equal(greedy(vip, "ann"), round ? 7 : 5);
		assert_int_equal(take(off, "ann", 1000000000), 0);
		assert_int_equal(greedy(box->tenant, "ann"), round ? 0 : 1);
		assert_int_equal(greedy(box->tenant, "bob"), round ? 0 : 1);
		assert_int_equal(greedy(box->tenant, NULL), round ? 0 : 1);
		larder_tenant_close(vip);
		larder_tenant_close(off);
		box_close(box);
	}
}

static void test_while_the_cache_is_off(void **state)
{
	struct box *box = *state;

	box_open(box, (const char *const[]){ "LIMIT_RATE=1/h", "LIMIT_BURST=2", "ENABLED=0", NULL });
	box_inspect(box);
	assert_int_equal(take(box->tenant, NULL, 1), 0);
	assert_int_equal(larder_inspect_switch(box->inspector, 0), 0);
	assert_int_equal(greedy(box->tenant, NULL), 1);
	assert_int_equal(larder_clear_all(box->cache, NULL), 0);
	assert_int_equal(larder_stats_reset(box->cache), 0);
	assert_int_equal(greedy(box->tenant, NULL), 0);
}

/* Something that may not be used stands in the segment's place. */
static void spoil(struct box *box)
{
	char path[256];

	box_path(box, "larder.seg", path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/nonexistent", path), 0);
}

static void test_nobody_can_count(void **state)
{
	struct box *box = *state;
	int64_t retry_ms = 0;
	char path[256];

	for (int closed = 0; closed < 2; closed++) {
		box_open(box, (const char *const[]){ "LIMIT_RATE=1/h", "LIMIT_BURST=2", closed ? "LIMIT_ON_FAILURE=closed" : "LIMIT_ON_FAILURE=open", NULL });
		spoil(box);
		assert_int_equal(larder_limit_take(box->tenant, NULL, 1, NULL, &retry_ms), closed ? LARDER_E_LIMIT : LARDER_UNAVAILABLE);
		assert_int_equal(retry_ms, closed ? 1000 : 0);
		assert_int_equal(larder_retry_after(), retry_ms);
		assert_int_equal(larder_reason(), LARDER_REASON_ATTACH);
		assert_int_equal(unlink(box_path(box, "larder.seg", path)), 0);
		/* It heals by itself. */
		assert_true(CHILD_POLL(take(box->tenant, NULL, 1) == 0 && larder_limit_take(box->tenant, NULL, 3, NULL, &retry_ms) == LARDER_E_LIMIT &&
		    retry_ms == -1));
		box_close(box);
	}
	/* Where there is no limit there is nothing to count. */
	box_open(box, (const char *const[]){ "LIMIT_ON_FAILURE=closed", NULL });
	spoil(box);
	assert_int_equal(take(box->tenant, "ann", 1), 0);
}

struct seen { uint64_t takes, limited, shared; };

static int see(void *ctx, const char *name, const char *text, uint64_t value)
{
	struct seen *seen = ctx;

	(void)text;
	if (strcmp(name, "limit_takes") == 0)
		seen->takes = value;
	if (strcmp(name, "limited") == 0)
		seen->limited = value;
	if (strcmp(name, "limit_shared") == 0)
		seen->shared = value;
	return 0;
}

static void test_counters(void **state)
{
	struct box *box = *state;
	struct seen seen = { 0 };
	char subkey[32];
	unsigned admitted = 0;

	box_open(box, (const char *const[]){ "LIMIT_RATE=1/h", "LIMIT_BURST=100000", "LIMIT_SUBKEY_RATE=1/h", "LIMIT_SUBKEY_BURST=2", "LIMIT_ROWS=64", NULL });
	box_inspect(box);
	assert_int_equal(greedy(box->tenant, "ann"), 2);
	assert_int_equal(take(box->tenant, NULL, 1), 0);
	assert_int_equal(larder_inspect_counters(box->inspector, see, &seen), 0);
	assert_true(seen.takes == 4 && seen.limited == 1 && seen.shared == 0);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(subkey, sizeof(subkey), "user-%u", i);
		admitted += take(box->tenant, subkey, 1) == 0;
	}
	/* Seventy rows, ten of them shared by those without one. */
	assert_int_equal(larder_inspect_counters(box->inspector, see, &seen), 0);
	assert_in_range(admitted, 50, 90);
	assert_in_range(seen.shared, 5, 20);
	assert_int_equal(seen.takes, 304);
	assert_int_equal(seen.limited, 301 - admitted);
}

/* Nothing of the shared files, nor of the log, has the sub-key or what an unkeyed hash makes of it. */
static void test_no_subkey_is_kept(void **state)
{
	static const char subkey[] = "user-with-a-long-name@example.org";
	struct box *box = *state;
	uint64_t plain = ld_store_tag(subkey, NULL), tag;
	struct stat st;
	char path[256];
	char *all;
	int fd;

	box_open(box, (const char *const[]){ "LIMIT_SUBKEY_RATE=1/h", "LIMIT_ROWS=64", "LOG_LEVEL=debug", NULL });
	assert_int_equal(greedy(box->tenant, subkey), 1);
	fd = open(box_path(box, "larder.seg", path), O_RDONLY);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	all = malloc((size_t)st.st_size);
	assert_true(all && read(fd, all, (size_t)st.st_size) == st.st_size);
	close(fd);
	assert_null(memmem(all, (size_t)st.st_size, subkey, 8));
	assert_null(memmem(all, (size_t)st.st_size, &plain, 6));
	/* But the tag is there: six bytes of it, above a count. */
	tag = ld_limit_tag(box->tenant, LD_LIMIT_REQUESTS, subkey);
	assert_non_null(memmem(all, (size_t)st.st_size, &tag, 6));
	free(all);
	assert_false(box_said(box, "user-with"));
}

static void test_tags(void **state)
{
	struct box *box = *state;
	larder_tenant *other;
	uint64_t tags[8];
	char reserved[] = "#limit";

	box_open(box, NULL);
	assert_int_equal(larder_tenant_open(box->cache, "other", &other), 0);
	tags[0] = ld_limit_tag(box->tenant, LD_LIMIT_REQUESTS, NULL);
	tags[1] = ld_limit_tag(box->tenant, LD_LIMIT_L2, NULL);
	tags[2] = ld_limit_tag(other, LD_LIMIT_REQUESTS, NULL);
	tags[3] = ld_limit_tag(box->tenant, LD_LIMIT_REQUESTS, "ann");
	tags[4] = ld_limit_tag(box->tenant, LD_LIMIT_L2, "ann");
	tags[5] = ld_limit_tag(other, LD_LIMIT_REQUESTS, "ann");
	tags[6] = ld_limit_tag(box->tenant, LD_LIMIT_REQUESTS, "acme");
	tags[7] = ld_limit_tag(box->tenant, LD_LIMIT_REQUESTS, "t");
	for (int i = 0; i < 8; i++)
		for (int k = 0; k < i; k++)
			assert_true(tags[i] != tags[k]);
	assert_true(tags[0] == ld_limit_tag(box->tenant, LD_LIMIT_REQUESTS, NULL));
	assert_true(tags[3] == ld_limit_tag(box->tenant, LD_LIMIT_REQUESTS, "ann"));
	/* No caller gets into the space that they are made in. */
	assert_int_equal(larder_set(box->tenant, reserved, "at", 2, "x", 1, NULL, NULL), LARDER_E_SPACE_NAME);
	assert_int_equal(larder_clear_space(box->tenant, reserved, NULL), LARDER_E_SPACE_NAME);
	larder_tenant_close(other);
}

/* What one process takes is gone for another. */
static void take_four(void *arg)
{
	for (int i = 0; i < 4; i++)
		CHILD_CHECK(larder_limit_take(arg, "ann", 1, NULL, NULL) == 0);
}

static void test_processes_count_together(void **state)
{
	struct box *box = *state;

	box_open(box, (const char *const[]){ "LIMIT_RATE=1/h", "LIMIT_BURST=10", NULL });
	assert_int_equal(child_run(take_four, box->tenant), 0);
	assert_int_equal(greedy(box->tenant, NULL), 6);
}

/* One bucket asked for twice looks good until the second charge: what a race of two calls would do. The first is given back. */
static void test_given_back(void **state)
{
	const struct ld_limit_ask asks[] = { { 1, { INT64_C(1000000), 3, 0 } }, { 2, { INT64_C(1000000), 3, 0 } }, { 2, { INT64_C(1000000), 3, 0 } } };
	const struct ld_limit_ask both[] = { { 2, { INT64_C(500000), 3, 0 } }, { 1, { INT64_C(1000000), 3, 0 } } };
	struct box *box = *state;
	struct ld_key key;
	int64_t retry_ms;

	box_open(box, NULL);
	key = (struct ld_key){ .tenant = box->tenant->name, .tenant_tag = box->tenant->tag, .row_hint = &box->tenant->row_hint };
	for (int i = 0; i < 10; i++)
		assert_int_equal(ld_store_limit(box->cache->store, &key, NULL, asks, 3, 2, &retry_ms), LARDER_E_LIMIT);
	assert_int_equal(ld_store_limit(box->cache->store, &key, NULL, asks, 3, 1, &retry_ms), 0);
	assert_int_equal(ld_store_limit(box->cache->store, &key, NULL, asks, 1, 2, &retry_ms), 0);
	assert_int_equal(ld_store_limit(box->cache->store, &key, NULL, asks + 1, 1, 1, &retry_ms), 0);
	/* Of two that refuse, the longer time counts. */
	assert_int_equal(ld_store_limit(box->cache->store, &key, NULL, &both[0], 1, 2, &retry_ms), LARDER_E_LIMIT);
	assert_in_range(retry_ms, 900000, 1000001);
	assert_int_equal(ld_store_limit(box->cache->store, &key, NULL, both, 2, 2, &retry_ms), LARDER_E_LIMIT);
	assert_in_range(retry_ms, 1900000, 2000001);
}

/* Takes of a rule that minds a cold host, beside one that does not. */
static int take_cold(struct box *box, unsigned count)
{
	const struct ld_limit_ask asks[] = { { 1, { INT64_C(1000000), 8, 1 } }, { 2, { INT64_C(1000000), 100, 0 } } };
	struct ld_key key = { .tenant = box->tenant->name, .tenant_tag = box->tenant->tag, .row_hint = &box->tenant->row_hint };
	int64_t retry_ms;

	return ld_store_limit(box->cache->store, &key, NULL, asks, count, 1, &retry_ms);
}

static unsigned greedy_cold(struct box *box)
{
	unsigned taken = 0;

	while (take_cold(box, 2) == 0)
		taken++;
	return taken;
}

static void test_a_cold_host(void **state)
{
	struct box *box = *state;
#ifdef LARDER_FAULTS
	const int64_t long_ms = 100000000;
	char path[256];
#endif

	box_open(box, NULL);
	assert_int_equal(take_cold(box, 0), 0);
	assert_int_equal(take_cold(box, LD_LIMIT_ASKS + 1), LARDER_E_BUG);
	/* The segment is new: half the burst. */
	assert_int_equal(greedy_cold(box), 4);
	assert_int_equal(ld_store_limit_half(box->cache->store, 1000), 0);
#ifdef LARDER_FAULTS
	atomic_fetch_add(&box->plan->boot_shift_ms, long_ms);
	assert_int_equal(greedy_cold(box), 8);
	/* As after the breaker has closed. */
	atomic_fetch_add(&box->plan->boot_shift_ms, long_ms);
	assert_int_equal(ld_store_limit_half(box->cache->store, 60000), 0);
	assert_int_equal(greedy_cold(box), 4);
	/* The store is made anew, because its file is gone: there is nothing in it. */
	atomic_fetch_add(&box->plan->boot_shift_ms, long_ms);
	assert_int_equal(unlink(box_path(box, "larder.1.mdb", path)), 0);
	assert_int_equal(box_set(box, "name", "value"), 0);
	assert_int_equal(greedy_cold(box), 4);
	atomic_fetch_add(&box->plan->boot_shift_ms, LD_LIMIT_COLD_MS + long_ms);
	assert_int_equal(greedy_cold(box), 8);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_limit, begin, end),
		cmocka_unit_test_setup_teardown(test_bad_arguments, begin, end),
		cmocka_unit_test_setup_teardown(test_when_to_try_again, begin, end),
		cmocka_unit_test_setup_teardown(test_tenants_and_subkeys, begin, end),
		cmocka_unit_test_setup_teardown(test_policies, begin, end),
		cmocka_unit_test_setup_teardown(test_while_the_cache_is_off, begin, end),
		cmocka_unit_test_setup_teardown(test_nobody_can_count, begin, end),
		cmocka_unit_test_setup_teardown(test_counters, begin, end),
		cmocka_unit_test_setup_teardown(test_no_subkey_is_kept, begin, end),
		cmocka_unit_test_setup_teardown(test_tags, begin, end),
		cmocka_unit_test_setup_teardown(test_processes_count_together, begin, end),
		cmocka_unit_test_setup_teardown(test_given_back, begin, end),
		cmocka_unit_test_setup_teardown(test_a_cold_host, begin, end),
	};

	return cmocka_run_group_tests_name("limit", tests, NULL, NULL);
}
