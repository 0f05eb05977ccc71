/* SPDX-License-Identifier: MIT */
/*
 * Several caches in a process, one cache opened several times, inspectors beside handles, and handles used in children.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "cache.h"
#include "child.h"

static void test_directories_are_apart(void **state)
{
	struct box *a = *state, *b = box_new();

	box_open(a, NULL);
	box_open(b, NULL);
	assert_ptr_not_equal(a->cache, b->cache);
	assert_int_equal(box_set(a, "n", "of a"), 0);
	assert_true(box_gives(b, "n", LARDER_MISS, NULL));
	assert_int_equal(box_set(b, "n", "of b"), 0);
	assert_true(box_gives(a, "n", 0, "of a"));
	assert_int_equal(larder_clear_all(a->cache, NULL), 0);
	assert_true(box_gives(b, "n", 0, "of b"));
	assert_int_equal(box_free(b), 0);
	assert_true(box_gives(a, "n", LARDER_MISS, NULL));
}

static void test_names_in_one_directory_are_apart(void **state)
{
	struct box *box = *state;
	larder *second;
	larder_tenant *tenant;

	box_open(box, NULL);
	assert_int_equal(box_try(box, (const char *const[]){ "NAME=second", "TTL=1h", NULL }, &second, NULL), 0);
	assert_ptr_not_equal(second, box->cache);
	assert_int_equal(larder_tenant_open(second, "acme", &tenant), 0);
	assert_int_equal(box_set(box, "n", "first"), 0);
	assert_int_equal(larder_exists(tenant, BOX_SPACE, "n", 1, NULL), LARDER_MISS);
	assert_int_equal(larder_set(tenant, BOX_SPACE, "n", 1, "second", 6, NULL, NULL), 0);
	larder_tenant_close(tenant);
	larder_close(second);
	assert_true(box_gives(box, "n", 0, "first"));
}

static void test_opening_twice_gives_the_same(void **state)
{
	struct box *box = *state;
	larder *again = NULL, *linked = NULL;
	char path[200], row[220];

	box_open(box, NULL);
	assert_int_equal(box_try(box, NULL, &again, NULL), 0);
	assert_ptr_equal(again, box->cache);
	assert_int_equal(box_set(box, "n", "x"), 0);
	larder_close(again);
	/* Still open. */
	assert_true(box_gives(box, "n", 0, "x"));
	/* The directory counts, not the way to it. */
	(void)snprintf(path, sizeof(path), "%s/.", box->dir);
	(void)snprintf(row, sizeof(row), "DIR=%s", path);
	if (box_try(box, (const char *const[]){ row, NULL }, &linked, NULL) == 0) {
		assert_ptr_equal(linked, box->cache);
		larder_close(linked);
	}
	assert_true(box_gives(box, "n", 0, "x"));
}

static void test_opening_twice_with_other_settings_is_refused(void **state)
{
	static const char *const others[][2] = { { "TTL=1h", "LARDER_TTL" }, { "SIZE=9M", "LARDER_SIZE" }, { "ENABLED=0", "LARDER_ENABLED" },
		{ "SECRET=another-secret-another-secret-another", "the secret" } };
	struct box *box = *state;
	larder *again = NULL;
	char *why;

	box_open(box, NULL);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(box_try(box, (const char *const[]){ others[i][0], NULL }, &again, &why), LARDER_E_SETTINGS);
		assert_null(again);
		assert_non_null(strstr(why, others[i][1]));
		assert_null(strstr(why, "another-secret"));
		larder_free(why);
	}
	assert_int_equal(box_set(box, "n", "x"), 0);
}

static void test_files_are_private(void **state)
{
	static const char *const files[] = { "larder.seg", "larder.lock", "larder.1.mdb", "larder.1.mdb-lock" };
	struct box *box = *state;
	struct stat st;
	char path[256];

	(void)umask(0);
	box_open(box, NULL);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(stat(box_path(box, files[i], path), &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		assert_int_equal(st.st_uid, geteuid());
	}
	(void)umask(022);
}

static void test_a_missing_directory_is_made(void **state)
{
	struct box *box = *state;
	struct stat st;
	larder *cache = NULL;
	char path[200], row[220];

	(void)snprintf(path, sizeof(path), "%s/new", box->dir);
	(void)snprintf(row, sizeof(row), "DIR=%s", path);
	assert_int_equal(box_try(box, (const char *const[]){ row, NULL }, &cache, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	larder_close(cache);
}

/* ---- children ---- */

static void use_it(void *arg)
{
	struct box *box = arg;

	CHILD_CHECK(box_gives(box, "n", 0, "of the parent"));
	CHILD_CHECK(box_set(box, "m", "of the child") == 0);
	CHILD_CHECK(larder_attach(box->cache) == 0);
}

static void close_it(void *arg)
{
	struct box *box = arg;

	use_it(arg);
	box_close(box);
}

static void open_it(void *arg)
{
	struct box *box = arg;
	larder *again;

	CHILD_CHECK(box_try(box, NULL, &again, NULL) == 0);
	CHILD_CHECK(again == box->cache);
	use_it(arg);
	larder_close(again);
	CHILD_CHECK(box_gives(box, "n", 0, "of the parent"));
}

static void test_a_child_uses_the_handle(void **state)
{
	void (*const uses[])(void *) = { use_it, close_it, open_it };
	struct box *box = *state;

	box_open(box, NULL);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(box_set(box, "n", "of the parent"), 0);
		assert_int_equal(child_run(uses[i], box), 0);
		assert_true(box_gives(box, "m", 0, "of the child"));
		assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "m", 1, NULL), 0);
	}
}

/* ---- inspectors ---- */

static void test_an_inspector_outlives_the_cache(void **state)
{
	struct larder_summary summary = { .size = sizeof(summary) };
	struct box *box = *state;

	box_open(box, NULL);
	box_inspect(box);
	assert_int_equal(box_set(box, "n", "x"), 0);
	larder_tenant_close(box->tenant);
	larder_close(box->cache);
	box->tenant = NULL;
	box->cache = NULL;
	assert_int_equal(larder_inspect_summary(box->inspector, &summary), 0);
	assert_int_equal(summary.entries, 1);
	/* And the cache is opened beside it again. */
	box_open(box, NULL);
	assert_true(box_gives(box, "n", 0, "x"));
}

static void test_an_inspector_makes_nothing(void **state)
{
	struct box *box = *state;
	larder_inspector *inspector = NULL;
	char *why = NULL, path[256];

	assert_int_equal(box_try_inspect(box, NULL, &inspector, &why), LARDER_MISS);
	assert_null(inspector);
	assert_non_null(strstr(why, box->dir));
	larder_free(why);
	assert_int_equal(access(box_path(box, "larder.seg", path), F_OK), -1);
	assert_int_equal(access(box_path(box, "larder.lock", path), F_OK), -1);
}

static void test_attach_and_close_are_harmless(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	assert_int_equal(larder_attach(box->cache), 0);
	assert_int_equal(larder_attach(box->cache), 0);
	assert_int_equal(box_set(box, "n", "x"), 0);
	box_close(box);
	box_close(box);
	for (int i = 0; i < 30; i++) {
		box_open(box, (const char *const[]){ "THREADS=1", NULL });
		assert_true(box_gives(box, "n", 0, "x"));
		box_close(box);
	}
}

#define WITH_BOX(test) cmocka_unit_test_setup_teardown(test, box_begin, box_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BOX(test_directories_are_apart),
		WITH_BOX(test_names_in_one_directory_are_apart),
		WITH_BOX(test_opening_twice_gives_the_same),
		WITH_BOX(test_opening_twice_with_other_settings_is_refused),
		WITH_BOX(test_files_are_private),
		WITH_BOX(test_a_missing_directory_is_made),
		WITH_BOX(test_a_child_uses_the_handle),
		WITH_BOX(test_an_inspector_outlives_the_cache),
		WITH_BOX(test_an_inspector_makes_nothing),
		WITH_BOX(test_attach_and_close_are_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
