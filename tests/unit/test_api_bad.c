/* SPDX-License-Identifier: MIT */
/*
 * What no caller may pass: malformed tenants, spaces and names, absurd times, wrong sizes and flags, NULL and closed handles.
 * Each is refused with the result that larder.h names, and nothing is stored or removed by it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache.h"

static char *repeated(char c, size_t len)
{
	char *text = malloc(len + 1);

	memset(text, c, len);
	text[len] = 0;
	return text;
}

static const char *const malformed[] = { "", "A", "aB", "a b", "a_b", "a.b", "a/b", "..", "a\n", "\x01", "a\x7f", "\xc3\xa4", "a\r\nX: y", "a:b", NULL };

static void test_tenants(void **state)
{
	struct box *box = *state;
	larder_tenant *tenant = NULL;
	char *longest = repeated('t', LARDER_TENANT_MAX), *longer = repeated('t', LARDER_TENANT_MAX + 1);

	box_open(box, NULL);
	for (int i = 0; malformed[i]; i++)
		assert_int_equal(larder_tenant_open(box->cache, malformed[i], &tenant), LARDER_E_TENANT);
	assert_int_equal(larder_tenant_open(box->cache, NULL, &tenant), LARDER_E_TENANT);
	assert_int_equal(larder_tenant_open(box->cache, longer, &tenant), LARDER_E_TENANT);
	assert_int_equal(larder_tenant_open(box->cache, "a", NULL), LARDER_E_USAGE);
	assert_null(tenant);
	assert_int_equal(larder_tenant_open(box->cache, longest, &tenant), 0);
	assert_int_equal(larder_set(tenant, BOX_SPACE, "a", 1, "x", 1, NULL, NULL), 0);
	assert_int_equal(larder_exists(tenant, BOX_SPACE, "a", 1, NULL), 0);
	larder_tenant_close(tenant);
	larder_tenant_close(NULL);
	free(longest);
	free(longer);
}

/* Each call that takes a space and a name, with one of them or something else wrong. */
static void all_give(struct box *box, const char *space, const void *name, size_t name_len, const struct larder_call *call, int result)
{
	larder_tenant *t = box->tenant;
	struct larder_value value = { 0 };
	struct larder_item item = { space, name, name_len, 99, { 0 } };
	char buffer[8];

	assert_int_equal(larder_get(t, space, name, name_len, call, &value), result);
	assert_int_equal(larder_get_into(t, space, name, name_len, buffer, sizeof(buffer), call, &value), result);
	assert_int_equal(larder_set(t, space, name, name_len, "x", 1, NULL, call), result);
	assert_int_equal(larder_set_absent(t, space, name, name_len, NULL, call), result);
	assert_int_equal(larder_add(t, space, name, name_len, "x", 1, NULL, call), result);
	assert_int_equal(larder_touch(t, space, name, name_len, 1000, 0, call), result);
	assert_int_equal(larder_exists(t, space, name, name_len, call), result);
	assert_int_equal(larder_delete(t, space, name, name_len, call), result);
	assert_int_equal(larder_delete_many(t, &item, 1, call), result);
	if (result != LARDER_E_USAGE) {
		assert_int_equal(item.result, result);
		assert_int_equal(larder_mget(t, &item, 1, call), 0);
		assert_int_equal(item.result, result);
	} else {
		assert_int_equal(larder_mget(t, &item, 1, call), LARDER_E_USAGE);
	}
	assert_null(value.data);
	assert_null(item.value.data);
}

static int never(void *ctx, const struct larder_listed *entry)
{
	(void)entry;
	++*(int *)ctx;
	return 0;
}

static void test_spaces(void **state)
{
	struct box *box = *state;
	char *longest = repeated('s', LARDER_SPACE_MAX), *longer = repeated('s', LARDER_SPACE_MAX + 1);
	int calls = 0;

	box_open(box, NULL);
	for (int i = 0; malformed[i]; i++) {
		all_give(box, malformed[i], "a", 1, NULL, LARDER_E_SPACE_NAME);
		assert_int_equal(larder_clear_space(box->tenant, malformed[i], NULL), LARDER_E_SPACE_NAME);
		assert_int_equal(larder_list(box->tenant, malformed[i], never, &calls, NULL), LARDER_E_SPACE_NAME);
	}
	all_give(box, NULL, "a", 1, NULL, LARDER_E_SPACE_NAME);
	assert_int_equal(larder_clear_space(box->tenant, NULL, NULL), LARDER_E_SPACE_NAME);
	all_give(box, longer, "a", 1, NULL, LARDER_E_SPACE_NAME);
	assert_int_equal(larder_set(box->tenant, longest, "a", 1, "x", 1, NULL, NULL), 0);
	assert_int_equal(larder_exists(box->tenant, longest, "a", 1, NULL), 0);
	assert_int_equal(larder_clear_space(box->tenant, longest, NULL), 0);
	assert_int_equal(larder_exists(box->tenant, longest, "a", 1, NULL), LARDER_MISS);
	free(longest);
	free(longer);
}

static void test_names(void **state)
{
	struct box *box = *state;
	char *longer = repeated('n', LARDER_NAME_MAX + 1);

	box_open(box, NULL);
	assert_int_equal(box_set(box, "there", "x"), 0);
	all_give(box, BOX_SPACE, "", 0, NULL, LARDER_E_NAME);
	all_give(box, BOX_SPACE, NULL, 0, NULL, LARDER_E_NAME);
	all_give(box, BOX_SPACE, NULL, 5, NULL, LARDER_E_NAME);
	all_give(box, BOX_SPACE, longer, LARDER_NAME_MAX + 1, NULL, LARDER_E_NAME);
	all_give(box, BOX_SPACE, "a", SIZE_MAX, NULL, LARDER_E_NAME);
	assert_true(box_gives(box, "there", 0, "x"));
	free(longer);
}

static void test_calls(void **state)
{
	struct box *box = *state;
	struct larder_call good = LARDER_CALL_INIT, bad;
	char *id = repeated('i', 128), *long_id = repeated('i', 129), *key = repeated('k', 64), *long_key = repeated('k', 65);
	const char *const wrong[] = { "", "a b", "a\nb", "\x7f", "\xc3\xa4", long_id };

	box_open(box, NULL);
	for (size_t size = 0; size < sizeof(bad); size++) {
		bad = good;
		bad.size = size;
		all_give(box, BOX_SPACE, "a", 1, &bad, LARDER_E_USAGE);
	}
	bad = good;
	bad.flags = 4;
	all_give(box, BOX_SPACE, "a", 1, &bad, LARDER_E_USAGE);
	assert_int_equal(larder_clear_space(box->tenant, BOX_SPACE, &bad), LARDER_E_USAGE);
	assert_int_equal(larder_clear_tenant(box->tenant, &bad), LARDER_E_USAGE);
	assert_int_equal(larder_clear_all(box->cache, &bad), LARDER_E_USAGE);
	assert_int_equal(larder_list(box->tenant, NULL, never, NULL, &bad), LARDER_E_USAGE);
	for (int i = 0; i < 6; i++) {
		bad = good;
		bad.request_id = wrong[i];
		all_give(box, BOX_SPACE, "a", 1, &bad, LARDER_E_USAGE);
		bad = good;
		bad.subkey = i == 5 ? long_key : wrong[i];
		all_give(box, BOX_SPACE, "a", 1, &bad, LARDER_E_USAGE);
	}
	good.flags = LARDER_CALL_THIS_TIER | LARDER_CALL_SOURCE_FAILED;
	good.budget_ms = 1000;
	good.request_id = id;
	good.subkey = key;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, "x", 1, NULL, &good), 0);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "a", 1, &good), 0);
	free(id);
	free(long_id);
	free(key);
	free(long_key);
}

/* A call's struct grows in later versions: a larger one is taken. */
static void test_structs_may_grow(void **state)
{
	struct { struct larder_call call; char more[64]; } call = { LARDER_CALL_INIT, { 0 } };
	struct { struct larder_store store; char more[64]; } store = { LARDER_STORE_INIT, { 0 } };
	struct box *box = *state;

	box_open(box, NULL);
	call.call.size = sizeof(call);
	store.store.size = sizeof(store);
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, "x", 1, &store.store, &call.call), 0);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "a", 1, &call.call), 0);
}

static void stores_give(struct box *box, const struct larder_store *store, int result)
{
	larder_tenant *t = box->tenant;

	assert_int_equal(larder_set(t, BOX_SPACE, "there", 5, "y", 1, store, NULL), result);
	assert_int_equal(larder_set_absent(t, BOX_SPACE, "there", 5, store, NULL), result);
	assert_int_equal(larder_add(t, BOX_SPACE, "new", 3, "y", 1, store, NULL), result);
	assert_true(box_gives(box, "there", 0, "x"));
	assert_true(box_gives(box, "new", LARDER_MISS, NULL));
}

static void test_stores(void **state)
{
	static const int64_t ttls[] = { 0, -1, LARDER_TTL_MAX_MS + 1, INT64_MAX, INT64_MIN + 1 };
	static const int64_t windows[] = { -1, LARDER_TTL_MAX_MS + 1, INT64_MAX, INT64_MIN + 1 };
	const struct larder_store good = LARDER_STORE_INIT;
	struct larder_store bad;
	struct box *box = *state;

	box_open(box, NULL);
	assert_int_equal(box_set(box, "there", "x"), 0);
	for (int i = 0; i < 5; i++) {
		bad = good;
		bad.ttl_ms = ttls[i];
		stores_give(box, &bad, LARDER_E_TTL);
		assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "there", 5, ttls[i], 0, NULL), LARDER_E_TTL);
	}
	for (int i = 0; i < 4; i++) {
		bad = good;
		bad.stale_ms = windows[i];
		stores_give(box, &bad, LARDER_E_TTL);
		assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "there", 5, 1, windows[i], NULL), LARDER_E_TTL);
	}
	bad = good;
	bad.hard_end_ms = -1;
	stores_give(box, &bad, LARDER_E_TTL);
	for (size_t size = 0; size < sizeof(bad); size++) {
		bad = good;
		bad.size = size;
		stores_give(box, &bad, LARDER_E_USAGE);
	}
	bad = good;
	bad.reserved = 1;
	stores_give(box, &bad, LARDER_E_USAGE);
	bad = good;
	bad.ttl_ms = LARDER_TTL_MAX_MS;
	bad.stale_ms = LARDER_TTL_MAX_MS;
	bad.hard_end_ms = INT64_MAX;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "there", 5, "z", 1, &bad, NULL), 0);
	assert_true(box_gives(box, "there", 0, "z"));
	bad.ttl_ms = 1;
	assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "there", 5, LARDER_TTL_MAX_MS, 0, NULL), 0);
}

static void test_missing_arguments(void **state)
{
	struct larder_stats stats = { .size = offsetof(struct larder_stats, l2_hits) - 1 };
	struct box *box = *state;
	struct larder_value value = { 0 };
	struct larder_item item = { 0 };

	box_open(box, NULL);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_get_into(box->tenant, BOX_SPACE, "a", 1, &value, sizeof(value), NULL, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_get_into(box->tenant, BOX_SPACE, "a", 1, NULL, 5, NULL, &value), LARDER_E_USAGE);
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, NULL, 1, NULL, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "a", 1, NULL, 1, NULL, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_mget(box->tenant, NULL, 1, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_mget(box->tenant, NULL, 0, NULL), 0);
	assert_int_equal(larder_mget(box->tenant, &item, 0, NULL), 0);
	assert_int_equal(larder_delete_many(box->tenant, NULL, 1, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_delete_many(box->tenant, NULL, 0, NULL), 0);
	assert_int_equal(larder_list(box->tenant, NULL, NULL, NULL, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_get_stats(box->cache, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_get_stats(box->cache, &stats), LARDER_E_USAGE);
	assert_int_equal(larder_tenant_get_stats(box->tenant, &stats), LARDER_E_USAGE);
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, NULL, 0, NULL, NULL), 0);
}

static void test_no_handle(void **state)
{
	struct larder_stats stats = { .size = sizeof(stats) };
	unsigned char junk[sizeof(void *) * 64] = { 1, 2, 3 };
	struct box none = { 0 };
	void *const handles[] = { NULL, junk };
	larder_tenant *tenant;
	int calls = 0;

	(void)state;
	for (int i = 0; i < 2; i++) {
		none.tenant = handles[i];
		for (int k = 0; k < 1; k++) {
			struct larder_value value;
			struct larder_item item = { BOX_SPACE, "a", 1, 0, { 0 } };
			char buffer[8];

			assert_int_equal(larder_get(none.tenant, BOX_SPACE, "a", 1, NULL, &value), LARDER_E_CLOSED);
			assert_int_equal(larder_get_into(none.tenant, BOX_SPACE, "a", 1, buffer, 8, NULL, &value), LARDER_E_CLOSED);
			assert_int_equal(larder_set(none.tenant, BOX_SPACE, "a", 1, "x", 1, NULL, NULL), LARDER_E_CLOSED);
			assert_int_equal(larder_set_absent(none.tenant, BOX_SPACE, "a", 1, NULL, NULL), LARDER_E_CLOSED);
			assert_int_equal(larder_add(none.tenant, BOX_SPACE, "a", 1, "x", 1, NULL, NULL), LARDER_E_CLOSED);
			assert_int_equal(larder_touch(none.tenant, BOX_SPACE, "a", 1, 1, 0, NULL), LARDER_E_CLOSED);
			assert_int_equal(larder_exists(none.tenant, BOX_SPACE, "a", 1, NULL), LARDER_E_CLOSED);
			assert_int_equal(larder_delete(none.tenant, BOX_SPACE, "a", 1, NULL), LARDER_E_CLOSED);
			assert_int_equal(larder_delete_many(none.tenant, &item, 1, NULL), LARDER_E_CLOSED);
			assert_int_equal(larder_mget(none.tenant, &item, 1, NULL), LARDER_E_CLOSED);
		}
		assert_int_equal(larder_clear_space(none.tenant, BOX_SPACE, NULL), LARDER_E_CLOSED);
		assert_int_equal(larder_clear_tenant(none.tenant, NULL), LARDER_E_CLOSED);
		assert_int_equal(larder_clear_all(handles[i], NULL), LARDER_E_CLOSED);
		assert_int_equal(larder_list(none.tenant, NULL, never, &calls, NULL), LARDER_E_CLOSED);
		assert_int_equal(larder_get_stats(handles[i], &stats), LARDER_E_CLOSED);
		assert_int_equal(larder_tenant_get_stats(none.tenant, &stats), LARDER_E_CLOSED);
		assert_int_equal(larder_stats_reset(handles[i]), LARDER_E_CLOSED);
		assert_int_equal(larder_attach(handles[i]), LARDER_E_CLOSED);
		assert_int_equal(larder_tenant_open(handles[i], "a", &tenant), LARDER_E_CLOSED);
		larder_tenant_close(handles[i]);
		larder_close(handles[i]);
		larder_inspect_close(handles[i]);
	}
	assert_int_equal(calls, 0);
	larder_free(NULL);
}

/* A tenant's handle is no cache's and the other way round. */
static void test_a_handle_of_another_kind(void **state)
{
	struct box *box = *state;
	larder_tenant *tenant;

	box_open(box, NULL);
	assert_int_equal(larder_exists((larder_tenant *)(void *)box->cache, BOX_SPACE, "a", 1, NULL), LARDER_E_CLOSED);
	assert_int_equal(larder_tenant_open((larder *)(void *)box->tenant, "a", &tenant), LARDER_E_CLOSED);
	larder_close((larder *)(void *)box->tenant);
	larder_tenant_close((larder_tenant *)(void *)box->cache);
	assert_int_equal(box_set(box, "a", "x"), 0);
	assert_true(box_gives(box, "a", 0, "x"));
}

static void test_options(void **state)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct box *box = *state;
	larder *cache = NULL;
	char *why = NULL;

	assert_int_equal(larder_open(&options, NULL, NULL), LARDER_E_USAGE);
	/* Up to the settings it must be whole. */
	for (size_t size = 0; size < offsetof(struct larder_options, user); size += 4) {
		options.size = size;
		assert_int_equal(larder_open(&options, &cache, NULL), LARDER_E_USAGE);
	}
	options.size = sizeof(options);
	options.flags = 0x80;
	assert_int_equal(larder_open(&options, &cache, &why), LARDER_E_USAGE);
	larder_free(why);
	assert_null(cache);
	assert_int_equal(box_try(box, (const char *const[]){ "SIZE=1K", "TTL=0", "NAME=Bad", "NOTHING=1", NULL }, &cache, &why), LARDER_E_SETTINGS);
	assert_non_null(why);
	/* All at once, each with its range. */
	assert_non_null(strstr(why, "SIZE"));
	assert_non_null(strstr(why, "TTL"));
	assert_non_null(strstr(why, "NAME"));
	assert_non_null(strstr(why, "1M"));
	larder_free(why);
	assert_int_equal(box_try(box, (const char *const[]){ "SECRET=short", NULL }, &cache, NULL), LARDER_E_SETTINGS);
	assert_null(cache);
}

static void test_no_secret(void **state)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct box *box = *state;
	larder *cache = NULL;
	char *why = NULL, dir[160];

	(void)snprintf(dir, sizeof(dir), "DIR=%s/none", box->dir);
	options.flags = LARDER_OPEN_NO_ENV;
	options.settings = (const char *const[]){ dir, NULL };
	assert_int_equal(larder_open(&options, &cache, &why), LARDER_E_SECRET);
	assert_null(cache);
	assert_non_null(why);
	assert_non_null(strstr(why, "SECRET"));
	larder_free(why);
	/* Nothing was made before everything was known. */
	assert_int_equal(access(dir + 4, F_OK), -1);
}

#define WITH_BOX(test) cmocka_unit_test_setup_teardown(test, box_begin, box_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BOX(test_tenants),
		WITH_BOX(test_spaces),
		WITH_BOX(test_names),
		WITH_BOX(test_calls),
		WITH_BOX(test_structs_may_grow),
		WITH_BOX(test_stores),
		WITH_BOX(test_missing_arguments),
		WITH_BOX(test_no_handle),
		WITH_BOX(test_a_handle_of_another_kind),
		WITH_BOX(test_options),
		WITH_BOX(test_no_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
