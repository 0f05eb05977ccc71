/* SPDX-License-Identifier: MIT */
/*
 * The calls on one entry, as larder.h promises them: values of every size around the edges of rows and chunks, buffers of the
 * caller, remembered absence, adds, touches, deletes, and who can see whose entries.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache.h"
#include "leave_out.h"

enum { MAX_VALUE = 2 << 20, THREADS = 4, KEYS = 200, ROUNDS = 2000 };

static const char *const large[] = { "SIZE=32M", "MAX_VALUE=2M", NULL };

static void fill(unsigned char *data, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (unsigned char)(i * 31 + i / 253 + seed);
}

static int set_bytes(struct box *box, const char *name, const void *data, size_t len)
{
	return larder_set(box->tenant, BOX_SPACE, name, strlen(name), data, len, NULL, NULL);
}

/* ---- values ---- */

static void check_round_trip(struct box *box, unsigned char *data, size_t len, unsigned seed)
{
	struct larder_value value = { 0 };
	unsigned char *copy = malloc(len + 1);

	fill(data, len, seed);
	assert_int_equal(set_bytes(box, "sized", data, len), 0);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "sized", 5, NULL, &value), 0);
	assert_int_equal(value.len, len);
	assert_non_null(value.data);
	assert_int_equal(memcmp(value.data, data, len), 0);
	larder_value_free(&value);
	assert_null(value.data);
	copy[len] = 0xa5;
	assert_int_equal(larder_get_into(box->tenant, BOX_SPACE, "sized", 5, copy, len, NULL, &value), 0);
	assert_ptr_equal(value.data, len ? copy : value.data);
	assert_int_equal(value.len, len);
	assert_int_equal(memcmp(copy, data, len), 0);
	assert_int_equal(copy[len], 0xa5);
	free(copy);
}

static void test_every_size_comes_back(void **state)
{
	static const size_t sizes[] = { 0, 1, 2, 3900, 3976, 3977, 3978, 3979, 4079, 4080, 4081, 8056, 8057, 8058, 8160, 8161, 12240, 102400,
		1 << 20, MAX_VALUE };
	struct box *box = *state;
	unsigned char *data = malloc(MAX_VALUE);

	box_open(box, large);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		check_round_trip(box, data, sizes[i], i);
	for (unsigned i = sizeof(sizes) / sizeof(*sizes); i-- > 0;)
		check_round_trip(box, data, sizes[i], i + 100);
	free(data);
}

static void test_too_large_leaves_the_older_value(void **state)
{
	struct box *box = *state;
	unsigned char *data = calloc(1, MAX_VALUE + 1);

	box_open(box, large);
	assert_int_equal(box_set(box, "a", "older"), 0);
	assert_int_equal(set_bytes(box, "a", data, MAX_VALUE + 1), LARDER_E_TOO_LARGE);
	assert_true(box_gives(box, "a", 0, "older"));
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "b", 1, data, MAX_VALUE + 1, NULL, NULL), LARDER_E_TOO_LARGE);
	assert_true(box_gives(box, "b", LARDER_MISS, NULL));
	free(data);
}

static void test_a_buffer_that_is_too_small_stays_as_it_is(void **state)
{
	static const size_t lengths[] = { 1, 100, 5000 };
	struct box *box = *state;
	struct larder_value value;
	unsigned char data[5000], buffer[5000], before[5000];

	box_open(box, NULL);
	fill(data, sizeof(data), 1);
	memset(before, 0x5a, sizeof(before));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(set_bytes(box, "a", data, lengths[i]), 0);
		memcpy(buffer, before, sizeof(buffer));
		memset(&value, 0, sizeof(value));
		assert_int_equal(larder_get_into(box->tenant, BOX_SPACE, "a", 1, buffer, lengths[i] - 1, NULL, &value), LARDER_E_SPACE);
		assert_int_equal(value.len, lengths[i]);
		assert_int_equal(memcmp(buffer, before, sizeof(buffer)), 0);
		assert_int_equal(larder_get_into(box->tenant, BOX_SPACE, "a", 1, NULL, 0, NULL, &value), LARDER_E_SPACE);
		assert_int_equal(value.len, lengths[i]);
	}
	assert_int_equal(set_bytes(box, "a", NULL, 0), 0);
	assert_int_equal(larder_get_into(box->tenant, BOX_SPACE, "a", 1, NULL, 0, NULL, &value), 0);
	assert_int_equal(value.len, 0);
}

static void test_a_value_says_how_it_was_stored(void **state)
{
	struct larder_store store = LARDER_STORE_INIT;
	struct box *box = *state;
	struct larder_value value;

	box_open(box, (const char *const[]){ "TTL=10m", "STALE=1m", NULL });
	assert_int_equal(box_set(box, "a", "x"), 0);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, &value), 0);
	assert_in_range(value.age_ms, 0, 5000);
	assert_int_equal(value.fresh_ms, 600000 - value.age_ms);
	assert_int_equal(value.left_ms, 660000 - value.age_ms);
	assert_int_equal(value.hard_end_ms, 0);
	assert_int_equal(value.flags, 0);
	assert_int_equal(value.state, LARDER_OK);
	assert_int_equal(value.source, LARDER_FROM_L1);
	larder_value_free(&value);
	store.ttl_ms = 30000;
	store.stale_ms = 0;
	store.flags = 0xdeadbeef;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, "y", 1, &store, NULL), 0);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, &value), 0);
	assert_int_equal(value.fresh_ms, 30000 - value.age_ms);
	assert_int_equal(value.left_ms, value.fresh_ms);
	assert_true(value.flags == 0xdeadbeef);
	larder_value_free(&value);
	larder_value_free(&value);
	larder_value_free(NULL);
}

static void test_the_hard_end_bounds_what_is_left(void **state)
{
	struct larder_store store = LARDER_STORE_INIT;
	struct box *box = *state;
	struct larder_value value;
	struct timespec now;

	box_open(box, (const char *const[]){ "TTL=1h", "STALE=1h", NULL });
	assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
	store.hard_end_ms = (int64_t)now.tv_sec * 1000 + 60000;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, "x", 1, &store, NULL), 0);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, &value), 0);
	assert_true(value.hard_end_ms == store.hard_end_ms);
	assert_in_range(value.left_ms, 40000, 60000);
	assert_int_equal(value.fresh_ms, value.left_ms);
	larder_value_free(&value);
	/* One that is past stores nothing, and removes what is there. */
	store.hard_end_ms = (int64_t)now.tv_sec * 1000 - 1000;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, "y", 1, &store, NULL), 0);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	store.hard_end_ms = 1;
	assert_int_equal(box_set(box, "b", "x"), 0);
	assert_int_equal(larder_set_absent(box->tenant, BOX_SPACE, "b", 1, &store, NULL), 0);
	assert_true(box_gives(box, "b", LARDER_MISS, NULL));
}

static void test_an_add_with_a_past_hard_end_claims_nothing(void **state)
{
	struct larder_store store = LARDER_STORE_INIT;
	struct box *box = *state;

	box_open(box, NULL);
	store.hard_end_ms = 1;
	assert_int_equal(box_set(box, "a", "there"), 0);
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "a", 1, "y", 1, &store, NULL), LARDER_EXISTS);
	assert_true(box_gives(box, "a", 0, "there"));
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "b", 1, "y", 1, &store, NULL), 0);
	assert_true(box_gives(box, "b", LARDER_MISS, NULL));
}

/* ---- absent, add, touch, exists, delete ---- */

static void test_absence_is_remembered(void **state)
{
	struct larder_store store = LARDER_STORE_INIT;
	struct larder_value value = { 0 };
	struct box *box = *state;

	box_open(box, (const char *const[]){ "NEGATIVE_TTL=7s", "STALE=1h", NULL });
	store.flags = 77;
	assert_int_equal(larder_set_absent(box->tenant, BOX_SPACE, "a", 1, &store, NULL), 0);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, &value), LARDER_ABSENT);
	assert_null(value.data);
	assert_int_equal(value.len, 0);
	assert_int_equal(value.flags, 77);
	assert_int_equal(value.fresh_ms, 7000 - value.age_ms);
	assert_int_equal(value.left_ms, value.fresh_ms);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "a", 1, NULL), LARDER_ABSENT);
	assert_int_equal(box_set(box, "a", "found"), 0);
	assert_true(box_gives(box, "a", 0, "found"));
	store.ttl_ms = 60000;
	assert_int_equal(larder_set_absent(box->tenant, BOX_SPACE, "a", 1, &store, NULL), 0);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, &value), LARDER_ABSENT);
	assert_int_equal(value.fresh_ms, 60000 - value.age_ms);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), 0);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
}

static void test_add_stores_only_what_is_missing(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "a", 1, "one", 3, NULL, NULL), 0);
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "a", 1, "two", 3, NULL, NULL), LARDER_EXISTS);
	assert_true(box_gives(box, "a", 0, "one"));
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), 0);
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "a", 1, "three", 5, NULL, NULL), 0);
	assert_true(box_gives(box, "a", 0, "three"));
	assert_int_equal(larder_set_absent(box->tenant, BOX_SPACE, "b", 1, NULL, NULL), 0);
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "b", 1, "four", 4, NULL, NULL), 0);
	assert_true(box_gives(box, "b", 0, "four"));
	assert_int_equal(larder_clear_tenant(box->tenant, NULL), 0);
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "b", 1, "five", 4, NULL, NULL), 0);
	assert_true(box_gives(box, "b", 0, "five"));
}

static void test_touch_gives_new_times_and_nothing_else(void **state)
{
	struct larder_store store = LARDER_STORE_INIT;
	struct larder_value value;
	struct box *box = *state;
	unsigned char data[9000];

	box_open(box, (const char *const[]){ "TTL=1m", NULL });
	assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "a", 1, 1000, 0, NULL), LARDER_MISS);
	fill(data, sizeof(data), 3);
	store.flags = 5;
	store.hard_end_ms = INT64_C(9000000000000);
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, data, sizeof(data), &store, NULL), 0);
	assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "a", 1, 3600000, 1800000, NULL), 0);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, &value), 0);
	assert_in_range(value.fresh_ms, 3595000, 3600000);
	assert_int_equal(value.left_ms, value.fresh_ms + 1800000);
	assert_true(value.flags == 5 && value.hard_end_ms == store.hard_end_ms && value.len == sizeof(data));
	assert_int_equal(memcmp(value.data, data, sizeof(data)), 0);
	larder_value_free(&value);
	assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "a", 1, LARDER_POLICY, LARDER_POLICY, NULL), 0);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, &value), 0);
	assert_in_range(value.fresh_ms, 55000, 60000);
	assert_int_equal(value.left_ms, value.fresh_ms);
	larder_value_free(&value);
	/* A cleared one is not revived. */
	assert_int_equal(larder_clear_space(box->tenant, BOX_SPACE, NULL), 0);
	assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "a", 1, 3600000, 0, NULL), LARDER_MISS);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
}

static int tell_hits(void *ctx, const struct larder_entry *entry)
{
	*(uint32_t *)ctx = entry->hits_estimate;
	return 0;
}

static void test_exists_notes_no_access(void **state)
{
	struct box *box = *state;
	uint32_t before = 0, after = 0;

	box_open(box, NULL);
	box_inspect(box);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "a", 1, NULL), LARDER_MISS);
	assert_int_equal(box_set(box, "a", "x"), 0);
	assert_int_equal(larder_inspect_entries(box->inspector, NULL, tell_hits, NULL, &before), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "a", 1, NULL), 0);
	assert_int_equal(larder_inspect_entries(box->inspector, NULL, tell_hits, NULL, &after), 0);
	assert_int_equal(after, before);
	for (int i = 0; i < 5; i++)
		assert_true(box_gives(box, "a", 0, "x"));
	assert_int_equal(larder_inspect_entries(box->inspector, NULL, tell_hits, NULL, &after), 0);
	assert_int_equal(after, before + 5);
}

static void test_delete_says_whether_it_was_there(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), LARDER_MISS);
	assert_int_equal(box_set(box, "a", "x"), 0);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), 0);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), LARDER_MISS);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	assert_int_equal(box_set(box, "a", "y"), 0);
	assert_true(box_gives(box, "a", 0, "y"));
	assert_int_equal(larder_clear_all(box->cache, NULL), 0);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), LARDER_MISS);
}

/* ---- who sees what ---- */

static void test_tenants_and_spaces_are_apart(void **state)
{
	static const char *const ids[] = { "a", "aa", "a-a", "aaa", "0", "-" };
	struct box *box = *state;
	larder_tenant *tenants[6];
	struct larder_value value;

	box_open(box, NULL);
	for (int i = 0; i < 6; i++)
		assert_int_equal(larder_tenant_open(box->cache, ids[i], &tenants[i]), 0);
	for (int i = 0; i < 6; i++)
		for (int k = 0; k < 6; k++)
			assert_int_equal(larder_set(tenants[i], ids[k], "same", 4, (char[]){ (char)i, (char)k }, 2, NULL, NULL), 0);
	for (int i = 0; i < 6; i++)
		for (int k = 0; k < 6; k++) {
			assert_int_equal(larder_get(tenants[i], ids[k], "same", 4, NULL, &value), 0);
			assert_true(((char *)value.data)[0] == i && ((char *)value.data)[1] == k);
			larder_value_free(&value);
		}
	assert_int_equal(larder_delete(tenants[0], "a", "same", 4, NULL), 0);
	assert_int_equal(larder_get(tenants[0], "a", "same", 4, NULL, &value), LARDER_MISS);
	assert_int_equal(larder_exists(tenants[0], "aa", "same", 4, NULL), 0);
	assert_int_equal(larder_exists(tenants[1], "a", "same", 4, NULL), 0);
	for (int i = 0; i < 6; i++)
		larder_tenant_close(tenants[i]);
}

static void test_names_are_bytes(void **state)
{
	static const char names[][4] = { "ab", "a\0b", "a\0", "a", "\0", "\xff\n" };
	static const size_t lengths[] = { 2, 3, 2, 1, 1, 2 };
	struct box *box = *state;
	char longest[LARDER_NAME_MAX];
	struct larder_value value;

	box_open(box, NULL);
	for (int i = 0; i < 6; i++)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, names[i], lengths[i], &"123456"[i], 1, NULL, NULL), 0);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(larder_get(box->tenant, BOX_SPACE, names[i], lengths[i], NULL, &value), 0);
		assert_int_equal(*(char *)value.data, '1' + i);
		larder_value_free(&value);
	}
	memset(longest, 'n', sizeof(longest));
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, longest, sizeof(longest), "x", 1, NULL, NULL), 0);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, longest, sizeof(longest), NULL), 0);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, longest, sizeof(longest) - 1, NULL), LARDER_MISS);
}

static void test_what_is_stored_outlives_the_handles(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	assert_int_equal(box_set(box, "a", "kept"), 0);
	assert_int_equal(box_set(box, "b", "cleared"), 0);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "b", 1, NULL), 0);
	box_close(box);
	box_open(box, NULL);
	assert_true(box_gives(box, "a", 0, "kept"));
	assert_true(box_gives(box, "b", LARDER_MISS, NULL));
	box_close(box);
	/* With another secret there is nothing: the keys are others. */
	box_open(box, (const char *const[]){ "SECRET=another-secret-another-secret-another", NULL });
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
}

/* ---- threads ---- */

struct crowd {
	struct box *box;
	_Atomic unsigned won, failed;
};

static void *add_all(void *arg)
{
	struct crowd *crowd = arg;

	for (int i = 0; i < KEYS; i++) {
		struct larder_call call = LARDER_CALL_INIT;
		int rc;

		call.budget_ms = 10000;
		rc = larder_add(crowd->box->tenant, BOX_SPACE, &i, sizeof(i), "x", 1, NULL, &call);
		crowd->won += rc == 0;
		crowd->failed += rc != 0 && rc != LARDER_EXISTS;
	}
	return NULL;
}

static void *mix_all(void *arg)
{
	struct crowd *crowd = arg;

	for (int i = 0; i < ROUNDS; i++) {
		struct larder_call call = LARDER_CALL_INIT;
		int name = i % 10, text[2] = { name, ~name }, rc;
		struct larder_value value;

		call.budget_ms = 10000;
		if (i % 4 == 0)
			crowd->failed += larder_set(crowd->box->tenant, BOX_SPACE, &name, sizeof(name), text, sizeof(text), NULL, &call) != 0;
		rc = larder_get(crowd->box->tenant, BOX_SPACE, &name, sizeof(name), &call, &value);
		crowd->failed += rc != 0 && rc != LARDER_MISS;
		if (rc != 0)
			continue;
		crowd->failed += value.len != sizeof(text) || memcmp(value.data, text, sizeof(text)) != 0;
		larder_value_free(&value);
	}
	return NULL;
}

static void run_crowd(struct crowd *crowd, void *(*fn)(void *))
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fn, crowd), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void test_of_concurrent_adds_one_wins(void **state)
{
	struct crowd crowd = { .box = *state };

	box_open(crowd.box, NULL);
	run_crowd(&crowd, add_all);
	assert_int_equal(crowd.won, KEYS);
	assert_int_equal(crowd.failed, 0);
}

static void test_threads_share_a_handle(void **state)
{
	struct crowd crowd = { .box = *state };

	box_open(crowd.box, (const char *const[]){ "THREADS=1", NULL });
	run_crowd(&crowd, mix_all);
	assert_int_equal(crowd.failed, 0);
}

#define WITH_BOX(test) cmocka_unit_test_setup_teardown(test, box_begin, box_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BOX(test_every_size_comes_back),
		WITH_BOX(test_too_large_leaves_the_older_value),
		WITH_BOX(test_a_buffer_that_is_too_small_stays_as_it_is),
		WITH_BOX(test_a_value_says_how_it_was_stored),
		WITH_BOX(test_the_hard_end_bounds_what_is_left),
		WITH_BOX(test_an_add_with_a_past_hard_end_claims_nothing),
		WITH_BOX(test_absence_is_remembered),
		WITH_BOX(test_add_stores_only_what_is_missing),
		WITH_BOX(test_touch_gives_new_times_and_nothing_else),
		WITH_BOX(test_exists_notes_no_access),
		WITH_BOX(test_delete_says_whether_it_was_there),
		WITH_BOX(test_tenants_and_spaces_are_apart),
		WITH_BOX(test_names_are_bytes),
		WITH_BOX(test_what_is_stored_outlives_the_handles),
		WITH_BOX(test_of_concurrent_adds_one_wins),
		WITH_BOX(test_threads_share_a_handle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
