/* SPDX-License-Identifier: MIT */
/*
 * The ring of rows that somebody waits for: what is posted is taken once, what is too much pushes the oldest out, and words that do not belong together
 * are nobody's key.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "shm/wanted.h"

static int begin(void **state)
{
	*state = calloc(1, sizeof(struct ld_wanted));
	return *state ? 0 : -1;
}

static int end(void **state)
{
	free(*state);
	return 0;
}

static void post(struct ld_wanted *wanted, unsigned char first, size_t len)
{
	unsigned char key[LD_WANTED_KEY];

	memset(key, first, sizeof(key));
	ld_wanted_post(wanted, key, len);
}

/* The first bytes of what is there, one for each row; how many. */
static unsigned take_all(struct ld_wanted *wanted, unsigned char firsts[LD_WANTED_ROWS])
{
	unsigned count = 0;

	for (unsigned row = 0; row < LD_WANTED_ROWS; row++) {
		unsigned char key[LD_WANTED_KEY];
		size_t len = ld_wanted_take(wanted, row, key);

		if (len == 0)
			continue;
		for (size_t i = 0; i < len; i++)
			assert_int_equal(key[i], key[0]);
		firsts[count++] = key[0];
	}
	return count;
}

static void test_what_is_posted_is_taken_once(void **state)
{
	struct ld_wanted *wanted = *state;
	unsigned char firsts[LD_WANTED_ROWS], key[LD_WANTED_KEY];

	assert_int_equal(ld_wanted_look(wanted), 0);
	assert_int_equal(take_all(wanted, firsts), 0);
	assert_int_equal(ld_wanted_is_new(wanted), 0);
	post(wanted, 7, 40);
	assert_int_equal(ld_wanted_is_new(wanted), 1);
	assert_int_equal(ld_wanted_is_new(wanted), 1);
	assert_int_equal(ld_wanted_look(wanted), 1);
	assert_int_equal(ld_wanted_is_new(wanted), 0);
	assert_int_equal(ld_wanted_look(wanted), 0);
	assert_int_equal(ld_wanted_take(wanted, 0, key), 40);
	assert_int_equal(ld_wanted_take(wanted, 0, key), 0);
	for (size_t len = 1; len <= LD_WANTED_KEY; len++) {
		post(wanted, (unsigned char)len, len);
		assert_int_equal(take_all(wanted, firsts), 1);
		assert_int_equal(firsts[0], len);
	}
}

static void test_the_oldest_are_pushed_out(void **state)
{
	struct ld_wanted *wanted = *state;
	unsigned char firsts[LD_WANTED_ROWS];

	for (unsigned i = 0; i < LD_WANTED_ROWS + 5; i++)
		post(wanted, (unsigned char)i, 40);
	assert_int_equal(take_all(wanted, firsts), LD_WANTED_ROWS);
	for (unsigned row = 0; row < LD_WANTED_ROWS; row++)
		assert_int_equal(firsts[row], row < 5 ? LD_WANTED_ROWS + row : row);
}

static void test_mixed_words_are_nobodys(void **state)
{
	struct ld_wanted *wanted = *state;
	unsigned char firsts[LD_WANTED_ROWS];

	for (unsigned i = 0; i < LD_WANTED_KEY / 8; i++) {
		post(wanted, 9, LD_WANTED_KEY);
		wanted->rows[i % LD_WANTED_ROWS].key[i] ^= UINT64_C(1) << (5 * i);
		assert_int_equal(take_all(wanted, firsts), 0);
	}
	memset(wanted, 0, sizeof(*wanted));
	post(wanted, 9, 40);
	wanted->rows[0].len = 41;
	assert_int_equal(take_all(wanted, firsts), 0);
	wanted->rows[0].len = 100000;
	assert_int_equal(take_all(wanted, firsts), 0);
	/* Killed between the words and the check: posted to again, the row is as new. */
	wanted->posted = 0;
	post(wanted, 3, 40);
	assert_int_equal(take_all(wanted, firsts), 1);
	assert_int_equal(firsts[0], 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_is_posted_is_taken_once, begin, end),
		cmocka_unit_test_setup_teardown(test_the_oldest_are_pushed_out, begin, end),
		cmocka_unit_test_setup_teardown(test_mixed_words_are_nobodys, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
