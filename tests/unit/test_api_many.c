/* SPDX-License-Identifier: MIT */
/*
 * The calls on many entries: mget, delete_many, list, and the three clears; what a listing tells, where names are kept, and
 * callbacks that call larder.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache.h"

enum { MANY = 700, SPACES = 6000 };

/* ---- mget and delete_many ---- */

static void test_mget_gives_each_its_own_result(void **state)
{
	struct box *box = *state;
	struct larder_item items[7] = {
		{ BOX_SPACE, "a", 1, 99, { 0 } }, { BOX_SPACE, "none", 4, 99, { 0 } }, { BOX_SPACE, "absent", 6, 99, { 0 } },
		{ "Bad", "a", 1, 99, { 0 } }, { "other", "a", 1, 99, { 0 } }, { BOX_SPACE, "", 0, 99, { 0 } }, { BOX_SPACE, "a", 1, 99, { 0 } },
	};

	box_open(box, NULL);
	assert_int_equal(box_set(box, "a", "one"), 0);
	assert_int_equal(larder_set(box->tenant, "other", "a", 1, "two", 3, NULL, NULL), 0);
	assert_int_equal(larder_set_absent(box->tenant, BOX_SPACE, "absent", 6, NULL, NULL), 0);
	assert_int_equal(larder_mget(box->tenant, items, 7, NULL), 0);
	assert_int_equal(items[0].result, 0);
	assert_true(items[0].value.len == 3 && memcmp(items[0].value.data, "one", 3) == 0);
	assert_int_equal(items[1].result, LARDER_MISS);
	assert_null(items[1].value.data);
	assert_int_equal(items[2].result, LARDER_ABSENT);
	assert_true(items[2].value.data == NULL && items[2].value.state == LARDER_ABSENT);
	assert_int_equal(items[3].result, LARDER_E_SPACE_NAME);
	assert_int_equal(items[4].result, 0);
	assert_true(items[4].value.len == 3 && memcmp(items[4].value.data, "two", 3) == 0);
	assert_int_equal(items[5].result, LARDER_E_NAME);
	assert_int_equal(items[6].result, 0);
	assert_ptr_not_equal(items[6].value.data, items[0].value.data);
	for (int i = 0; i < 7; i++)
		larder_value_free(&items[i].value);
}

static void fill_items(struct larder_item *items, int *names, int count)
{
	for (int i = 0; i < count; i++) {
		names[i] = i;
		items[i] = (struct larder_item){ BOX_SPACE, &names[i], sizeof(names[i]), 99, { 0 } };
	}
}

static void set_many(struct box *box, int count)
{
	for (int i = 0; i < count; i++)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), &i, sizeof(i), NULL, NULL), 0);
}

static void test_mget_of_many(void **state)
{
	struct box *box = *state;
	struct larder_item items[MANY];
	int names[MANY];

	box_open(box, NULL);
	set_many(box, MANY - 100);
	fill_items(items, names, MANY);
	assert_int_equal(larder_mget(box->tenant, items, MANY, NULL), 0);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(items[i].result, i < MANY - 100 ? 0 : LARDER_MISS);
		if (i < MANY - 100)
			assert_int_equal(*(int *)items[i].value.data, i);
		larder_value_free(&items[i].value);
	}
}

static void test_delete_many(void **state)
{
	struct box *box = *state;
	struct larder_item items[5] = {
		{ BOX_SPACE, "a", 1, 99, { 0 } }, { BOX_SPACE, "none", 4, 99, { 0 } }, { BOX_SPACE, "b", 1, 99, { 0 } },
		{ BOX_SPACE, "a", 1, 99, { 0 } }, { "other", "c", 1, 99, { 0 } },
	};

	box_open(box, NULL);
	assert_int_equal(box_set(box, "a", "x"), 0);
	assert_int_equal(box_set(box, "b", "x"), 0);
	assert_int_equal(box_set(box, "stays", "x"), 0);
	assert_int_equal(larder_set(box->tenant, "other", "c", 1, "x", 1, NULL, NULL), 0);
	assert_int_equal(larder_delete_many(box->tenant, items, 5, NULL), 0);
	assert_int_equal(items[0].result, 0);
	assert_int_equal(items[1].result, LARDER_MISS);
	assert_int_equal(items[2].result, 0);
	assert_int_equal(items[3].result, LARDER_MISS);
	assert_int_equal(items[4].result, 0);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL) && box_gives(box, "b", LARDER_MISS, NULL) && box_gives(box, "stays", 0, "x"));
	assert_int_equal(larder_exists(box->tenant, "other", "c", 1, NULL), LARDER_MISS);
}

/* Malformed ones stand for themselves: the others are removed, the first error is returned. */
static void test_delete_many_with_malformed_ones(void **state)
{
	struct box *box = *state;
	struct larder_item items[4] = {
		{ BOX_SPACE, "", 0, 99, { 0 } }, { BOX_SPACE, "a", 1, 99, { 0 } }, { "Bad", "b", 1, 99, { 0 } }, { BOX_SPACE, "b", 1, 99, { 0 } },
	};

	box_open(box, NULL);
	assert_int_equal(box_set(box, "a", "x"), 0);
	assert_int_equal(box_set(box, "b", "x"), 0);
	assert_int_equal(larder_delete_many(box->tenant, items, 4, NULL), LARDER_E_NAME);
	assert_int_equal(items[0].result, LARDER_E_NAME);
	assert_int_equal(items[1].result, 0);
	assert_int_equal(items[2].result, LARDER_E_SPACE_NAME);
	assert_int_equal(items[3].result, 0);
}

static void test_delete_many_of_many(void **state)
{
	struct box *box = *state;
	struct larder_item items[MANY];
	int names[MANY];
	struct larder_stats stats = { .size = sizeof(stats) };

	box_open(box, NULL);
	set_many(box, MANY);
	fill_items(items, names, MANY);
	assert_int_equal(larder_delete_many(box->tenant, items, MANY, NULL), 0);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(items[i].result, 0);
	assert_int_equal(larder_get_stats(box->cache, &stats), 0);
	assert_int_equal(stats.entries, 0);
	assert_int_equal(stats.deletes, MANY);
}

/* ---- listing ---- */

struct seen {
	struct box *box;
	unsigned count, per_name[MANY], others;
	int stop_at, result;
	struct larder_listed last;
	char space[LARDER_SPACE_MAX + 1], name[LARDER_NAME_MAX];
};

static int see(void *ctx, const struct larder_listed *entry)
{
	struct seen *seen = ctx;
	int name = -1;

	seen->count++;
	seen->last = *entry;
	(void)snprintf(seen->space, sizeof(seen->space), "%s", entry->space);
	if (entry->name)
		memcpy(seen->name, entry->name, entry->name_len);
	if (entry->name && entry->name_len == sizeof(name))
		memcpy(&name, entry->name, sizeof(name));
	if (name >= 0 && name < MANY)
		seen->per_name[name]++;
	else
		seen->others++;
	return seen->stop_at && seen->count == (unsigned)seen->stop_at ? seen->result : 0;
}

static const char *write_spaces(const struct box *box, const char *json, char row[256])
{
	char path[256];
	FILE *file = fopen(box_path(box, "spaces.json", path), "w");

	assert_non_null(file);
	assert_true(fputs(json, file) >= 0);
	assert_int_equal(fclose(file), 0);
	(void)snprintf(row, 256, "SPACES_FILE=%.200s", path);
	return row;
}

static void test_a_listing_sees_each_entry_once(void **state)
{
	struct box *box = *state;
	struct seen seen = { 0 };
	larder_tenant *other;
	char row[256];

	box_open(box, (const char *const[]){ write_spaces(box, "{\"spaces\":{\"config\":{\"names\":true}}}", row), NULL });
	assert_int_equal(larder_list(box->tenant, NULL, see, &seen, NULL), 0);
	assert_int_equal(seen.count, 0);
	set_many(box, MANY);
	assert_int_equal(larder_set(box->tenant, "other", "a", 1, "x", 1, NULL, NULL), 0);
	assert_int_equal(larder_tenant_open(box->cache, "acme-2", &other), 0);
	assert_int_equal(larder_set(other, BOX_SPACE, "a", 1, "x", 1, NULL, NULL), 0);
	larder_tenant_close(other);
	assert_int_equal(larder_tenant_open(box->cache, "acm", &other), 0);
	assert_int_equal(larder_set(other, BOX_SPACE, "a", 1, "x", 1, NULL, NULL), 0);
	assert_int_equal(larder_list(box->tenant, NULL, see, &seen, NULL), 0);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(seen.per_name[i], 1);
	assert_int_equal(seen.others, 1);
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(larder_list(box->tenant, "other", see, &seen, NULL), 0);
	assert_int_equal(seen.count, 1);
	assert_string_equal(seen.space, "other");
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(larder_list(other, NULL, see, &seen, NULL), 0);
	assert_int_equal(seen.count, 1);
	larder_tenant_close(other);
}

static void test_a_listing_can_be_stopped(void **state)
{
	struct box *box = *state;
	struct seen seen = { .stop_at = 3, .result = -4711 };

	box_open(box, NULL);
	set_many(box, 10);
	assert_int_equal(larder_list(box->tenant, NULL, see, &seen, NULL), -4711);
	assert_int_equal(seen.count, 3);
}

static void test_what_a_listing_tells(void **state)
{
	struct larder_store store = LARDER_STORE_INIT;
	struct box *box = *state;
	struct seen seen = { 0 };
	static const unsigned char none[LARDER_DIGEST_SIZE];

	box_open(box, NULL);
	store.ttl_ms = 60000;
	store.stale_ms = 1000;
	store.flags = 9;
	assert_int_equal(larder_set(box->tenant, "other", "secret-name", 11, "0123456789", 10, &store, NULL), 0);
	assert_int_equal(larder_list(box->tenant, NULL, see, &seen, NULL), 0);
	assert_int_equal(seen.count, 1);
	assert_string_equal(seen.space, "other");
	assert_true(seen.last.name == NULL && seen.last.name_len == 0);
	assert_int_equal(seen.last.value_len, 10);
	assert_int_equal(seen.last.flags, 9);
	assert_int_equal(seen.last.state, LARDER_OK);
	assert_int_equal(seen.last.fresh_ms, 60000 - seen.last.age_ms);
	assert_int_equal(seen.last.left_ms, 61000 - seen.last.age_ms);
	assert_true(memcmp(seen.last.digest, none, sizeof(none)) != 0);
	assert_int_equal(larder_set_absent(box->tenant, "other", "secret-name", 11, NULL, NULL), 0);
	assert_int_equal(larder_list(box->tenant, NULL, see, &seen, NULL), 0);
	assert_int_equal(seen.last.state, LARDER_ABSENT);
	assert_int_equal(seen.last.value_len, 0);
	/* What is cleared is not listed, before and after its room is reclaimed. */
	seen.count = 0;
	assert_int_equal(larder_clear_space(box->tenant, "other", NULL), 0);
	assert_int_equal(larder_list(box->tenant, NULL, see, &seen, NULL), 0);
	assert_int_equal(seen.count, 0);
}

/* Names of every length, with a value in the row and one in chunks. */
static void test_names_are_kept_where_the_policy_says_so(void **state)
{
	static const size_t names[] = { 1, 2, 1024, 1025, 4080, 4081, 4095, LARDER_NAME_MAX }, values[] = { 0, 5, 3000, 9000 };
	struct box *box = *state;
	char name[LARDER_NAME_MAX], row[256];
	unsigned char data[9000];
	struct larder_value value;
	struct seen seen;

	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = (char)(i * 7 + 1);
	memset(data, 'v', sizeof(data));
	box_open(box, (const char *const[]){ write_spaces(box, "{\"spaces\":{\"kept\":{\"names\":true}},"
	    "\"tenants\":{\"acme\":{\"spaces\":{\"not-for-acme\":{\"names\":false}}}}}", row), NULL });
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		for (size_t k = 0; k < sizeof(values) / sizeof(*values); k++) {
			memset(&seen, 0, sizeof(seen));
			assert_int_equal(larder_set(box->tenant, "kept", name, names[i], data, values[k], NULL, NULL), 0);
			assert_int_equal(larder_list(box->tenant, "kept", see, &seen, NULL), 0);
			assert_int_equal(seen.count, 1);
			assert_int_equal(seen.last.name_len, names[i]);
			assert_int_equal(memcmp(seen.name, name, names[i]), 0);
			assert_int_equal(larder_get(box->tenant, "kept", name, names[i], NULL, &value), 0);
			assert_int_equal(value.len, values[k]);
			assert_int_equal(memcmp(value.data, data, values[k]), 0);
			larder_value_free(&value);
			assert_int_equal(larder_delete(box->tenant, "kept", name, names[i], NULL), 0);
		}
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(larder_set(box->tenant, "not-for-acme", "n", 1, "x", 1, NULL, NULL), 0);
	assert_int_equal(larder_list(box->tenant, NULL, see, &seen, NULL), 0);
	assert_true(seen.count == 1 && seen.last.name == NULL);
}

static int delete_it(void *ctx, const struct larder_listed *entry)
{
	struct seen *seen = ctx;
	struct box *box = seen->box;
	struct larder_stats stats = { .size = sizeof(stats) };
	int rc = see(ctx, entry);

	if (larder_delete(box->tenant, entry->space, entry->name, entry->name_len, NULL) != 0 || larder_get_stats(box->cache, &stats) != 0 ||
	    box_set(box, "one more", "x") != 0)
		return -1;
	return rc;
}

static void test_a_callback_may_call_larder(void **state)
{
	struct box *box = *state;
	struct seen seen = { .box = box };
	char row[256];

	box_open(box, (const char *const[]){ write_spaces(box, "{\"spaces\":{\"config\":{\"names\":true}}}", row), NULL });
	set_many(box, MANY);
	assert_int_equal(larder_list(box->tenant, NULL, delete_it, &seen, NULL), 0);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(seen.per_name[i], 1);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, &(int){ 3 }, sizeof(int), NULL), LARDER_MISS);
}

/* ---- clears ---- */

static void test_clears_reach_what_they_name(void **state)
{
	struct box *box = *state;
	larder_tenant *other;

	box_open(box, NULL);
	assert_int_equal(larder_tenant_open(box->cache, "other", &other), 0);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(box_set(box, "a", "x"), 0);
		assert_int_equal(larder_set(box->tenant, "second", "a", 1, "x", 1, NULL, NULL), 0);
		assert_int_equal(larder_set(other, BOX_SPACE, "a", 1, "x", 1, NULL, NULL), 0);
		if (round == 0)
			assert_int_equal(larder_clear_space(box->tenant, BOX_SPACE, NULL), 0);
		else if (round == 1)
			assert_int_equal(larder_clear_tenant(box->tenant, NULL), 0);
		else
			assert_int_equal(larder_clear_all(box->cache, NULL), 0);
		assert_true(box_gives(box, "a", LARDER_MISS, NULL));
		assert_int_equal(larder_exists(box->tenant, "second", "a", 1, NULL), round > 0 ? LARDER_MISS : 0);
		assert_int_equal(larder_exists(other, BOX_SPACE, "a", 1, NULL), round > 1 ? LARDER_MISS : 0);
		assert_int_equal(box_set(box, "a", "after"), 0);
		assert_true(box_gives(box, "a", 0, "after"));
	}
	larder_tenant_close(other);
}

static void test_a_clear_outlives_the_handles(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	set_many(box, 20);
	assert_int_equal(larder_clear_space(box->tenant, BOX_SPACE, NULL), 0);
	box_close(box);
	box_open(box, NULL);
	for (int i = 0; i < 20; i++)
		assert_int_equal(larder_exists(box->tenant, BOX_SPACE, &i, sizeof(i), NULL), LARDER_MISS);
}

/* More spaces than the table of cleared ones has room for: then more is cleared than was asked for, never less, and never another's. */
static void test_clears_of_many_spaces(void **state)
{
	struct box *box = *state;
	larder_tenant *other;
	char space[32];

	box_open(box, NULL);
	assert_int_equal(larder_tenant_open(box->cache, "other", &other), 0);
	assert_int_equal(larder_set(other, "s-1", "a", 1, "x", 1, NULL, NULL), 0);
	for (int i = 0; i < SPACES; i++) {
		(void)snprintf(space, sizeof(space), "s-%d", i);
		assert_int_equal(larder_set(box->tenant, space, "a", 1, "x", 1, NULL, NULL), 0);
	}
	for (int i = 0; i < SPACES; i++) {
		(void)snprintf(space, sizeof(space), "s-%d", i);
		assert_int_equal(larder_clear_space(box->tenant, space, NULL), 0);
	}
	for (int i = 0; i < SPACES; i++) {
		(void)snprintf(space, sizeof(space), "s-%d", i);
		assert_int_equal(larder_exists(box->tenant, space, "a", 1, NULL), LARDER_MISS);
		assert_int_equal(larder_set(box->tenant, space, "a", 1, "x", 1, NULL, NULL), 0);
		assert_int_equal(larder_exists(box->tenant, space, "a", 1, NULL), 0);
	}
	assert_int_equal(larder_exists(other, "s-1", "a", 1, NULL), 0);
	larder_tenant_close(other);
}

#define WITH_BOX(test) cmocka_unit_test_setup_teardown(test, box_begin, box_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BOX(test_mget_gives_each_its_own_result),
		WITH_BOX(test_mget_of_many),
		WITH_BOX(test_delete_many),
		WITH_BOX(test_delete_many_with_malformed_ones),
		WITH_BOX(test_delete_many_of_many),
		WITH_BOX(test_a_listing_sees_each_entry_once),
		WITH_BOX(test_a_listing_can_be_stopped),
		WITH_BOX(test_what_a_listing_tells),
		WITH_BOX(test_names_are_kept_where_the_policy_says_so),
		WITH_BOX(test_a_callback_may_call_larder),
		WITH_BOX(test_clears_reach_what_they_name),
		WITH_BOX(test_a_clear_outlives_the_handles),
		WITH_BOX(test_clears_of_many_spaces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
