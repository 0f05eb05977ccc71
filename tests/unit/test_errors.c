/* SPDX-License-Identifier: MIT */
/*
 * base/errors: every result has its name, text and class; a thread's reason is its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/errors.h"

#define LAST_ERROR LARDER_E_LOAD
#define LAST_OUTCOME LARDER_UNAVAILABLE

static const struct {
	int result;
	enum larder_error_class class;
	const char *name;
} rows[] = {
	{ 0, LARDER_CLASS_NONE, "LARDER_OK" },
	{ 1, LARDER_CLASS_NONE, "LARDER_STALE" },
	{ 2, LARDER_CLASS_NONE, "LARDER_MISS" },
	{ 3, LARDER_CLASS_NONE, "LARDER_ABSENT" },
	{ 4, LARDER_CLASS_NONE, "LARDER_EXISTS" },
	{ 5, LARDER_CLASS_NONE, "LARDER_UNAVAILABLE" },
	{ -1, LARDER_CLASS_USAGE, "LARDER_E_USAGE" },
	{ -2, LARDER_CLASS_USAGE, "LARDER_E_TENANT" },
	{ -3, LARDER_CLASS_USAGE, "LARDER_E_SPACE_NAME" },
	{ -4, LARDER_CLASS_USAGE, "LARDER_E_NAME" },
	{ -5, LARDER_CLASS_USAGE, "LARDER_E_TTL" },
	{ -6, LARDER_CLASS_CAPACITY, "LARDER_E_TOO_LARGE" },
	{ -7, LARDER_CLASS_CAPACITY, "LARDER_E_SPACE" },
	{ -8, LARDER_CLASS_USAGE, "LARDER_E_SETTINGS" },
	{ -9, LARDER_CLASS_USAGE, "LARDER_E_SECRET" },
	{ -10, LARDER_CLASS_REFUSED, "LARDER_E_REFUSED" },
	{ -11, LARDER_CLASS_AGAIN, "LARDER_E_BUSY" },
	{ -12, LARDER_CLASS_CAPACITY, "LARDER_E_FULL" },
	{ -13, LARDER_CLASS_IO, "LARDER_E_IO" },
	{ -14, LARDER_CLASS_CORRUPT, "LARDER_E_CORRUPT" },
	{ -15, LARDER_CLASS_CAPACITY, "LARDER_E_NOMEM" },
	{ -16, LARDER_CLASS_USAGE, "LARDER_E_CLOSED" },
	{ -17, LARDER_CLASS_BUG, "LARDER_E_BUG" },
	{ -18, LARDER_CLASS_AGAIN, "LARDER_E_LIMIT" },
	{ -19, LARDER_CLASS_AGAIN, "LARDER_E_L2" },
	{ -20, LARDER_CLASS_AGAIN, "LARDER_E_LOAD" },
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void test_every_result_has_its_row(void **state)
{
	(void)state;
	assert_int_equal(ROWS, LAST_OUTCOME - LAST_ERROR + 1);
	for (size_t i = 0; i < ROWS; i++) {
		assert_string_equal(larder_result_name(rows[i].result), rows[i].name);
		assert_int_equal(larder_classify(rows[i].result), rows[i].class);
		assert_true(strlen(larder_strerror(rows[i].result)) > 3);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(larder_strerror(rows[i].result), larder_strerror(rows[k].result));
	}
}

static void test_unknown_numbers_are_answered(void **state)
{
	static const int unknown[] = { LAST_ERROR - 1, LAST_OUTCOME + 1, INT32_MIN, INT32_MAX };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(larder_result_name(unknown[i]), unknown[i] < 0 ? "LARDER_E_UNKNOWN" : "LARDER_UNKNOWN");
		assert_string_equal(larder_strerror(unknown[i]), unknown[i] < 0 ? "unknown error" : "unknown result");
		assert_int_equal(larder_classify(unknown[i]), unknown[i] < 0 ? LARDER_CLASS_BUG : LARDER_CLASS_NONE);
	}
}

static void test_every_reason_has_a_text_of_its_own(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LARDER_REASON_COUNT; i++) {
		assert_true(strlen(larder_reason_text(i)) > 3);
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(larder_reason_text(i), larder_reason_text(k));
	}
	assert_string_equal(larder_reason_text(LARDER_REASON_COUNT), "unknown reason");
	assert_non_null(strstr(larder_reason_text(LARDER_REASON_SLOTS), "LARDER_WORKERS"));
}

static void *use_a_reason(void *arg)
{
	enum larder_reason *first = arg;

	*first = larder_reason();
	ld_reason_set(LARDER_REASON_DISK);
	return larder_reason() == LARDER_REASON_DISK ? arg : NULL;
}

static void test_reason_belongs_to_its_thread(void **state)
{
	enum larder_reason first = LARDER_REASON_COUNT;
	pthread_t thread;
	void *done = NULL;

	(void)state;
	assert_int_equal(larder_reason(), LARDER_REASON_NONE);
	ld_reason_set(LARDER_REASON_FULL);
	assert_int_equal(pthread_create(&thread, NULL, use_a_reason, &first), 0);
	assert_int_equal(pthread_join(thread, &done), 0);
	assert_ptr_equal(done, &first);
	assert_int_equal(first, LARDER_REASON_NONE);
	assert_int_equal(larder_reason(), LARDER_REASON_FULL);
	ld_reason_set(LARDER_REASON_NONE);
	assert_int_equal(larder_reason(), LARDER_REASON_NONE);
}

static void test_version_and_free(void **state)
{
	(void)state;
	assert_string_equal(larder_version(), "0.1.0");
	larder_free(NULL);
	larder_free(strdup("a text"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_result_has_its_row),
		cmocka_unit_test(test_unknown_numbers_are_answered),
		cmocka_unit_test(test_every_reason_has_a_text_of_its_own),
		cmocka_unit_test(test_reason_belongs_to_its_thread),
		cmocka_unit_test(test_version_and_free),
	};

	return cmocka_run_group_tests_name("errors", tests, NULL, NULL);
}
