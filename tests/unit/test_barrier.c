/* SPDX-License-Identifier: MIT */
/*
 * Barriers and cleared scopes: words that only grow, and a table whose sets fill up.
 */
#include "shm/barrier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

enum { THREADS = 4, RAISES = 50000, ROWS = LD_SCOPE_SETS * LD_SCOPE_WAYS };

static struct ld_scope scopes[ROWS];
static _Atomic uint64_t barriers[LD_BARRIERS];

static int wipe(void **state)
{
	(void)state;
	for (int i = 0; i < ROWS; i++)
		scopes[i].tag = scopes[i].seq = 0;
	for (int i = 0; i < LD_BARRIERS; i++)
		barriers[i] = 0;
	return 0;
}

static void test_a_raise_is_a_maximum(void **state)
{
	static const uint64_t raises[] = { 5, 3, 5, 9, 0, UINT64_MAX, 7 }, after[] = { 5, 5, 5, 9, 9, UINT64_MAX, UINT64_MAX };
	_Atomic uint64_t word = 0;

	(void)state;
	for (int i = 0; i < 7; i++) {
		ld_seq_raise(&word, raises[i]);
		assert_true(word == after[i]);
	}
}

static _Atomic uint64_t shared_word;

static void *raise_all(void *arg)
{
	uint64_t from = (uint64_t)(uintptr_t)arg, seen = 0;

	for (uint64_t i = 0; i < RAISES; i++) {
		uint64_t now;

		ld_seq_raise(&shared_word, i * THREADS + from);
		now = shared_word;
		if (now < i * THREADS + from || now < seen)
			return arg;
		seen = now;
	}
	return NULL;
}

static void test_threads_raise_one_word(void **state)
{
	pthread_t threads[THREADS];
	void *broken;

	(void)state;
	shared_word = 0;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, raise_all, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &broken), 0);
		assert_null(broken);
	}
	assert_true(shared_word == (uint64_t)RAISES * THREADS);
}

/* The word of a key stays in the table, and all words are used. */
static void test_keys_spread_over_the_table(void **state)
{
	unsigned char digest[24] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 65536; i++) {
		_Atomic uint64_t *word;

		digest[16] = (unsigned char)i;
		digest[17] = (unsigned char)(i >> 8);
		word = ld_barrier_of(barriers, digest);
		assert_true(word >= barriers && word < barriers + LD_BARRIERS);
		++*word;
	}
	for (unsigned i = 0; i < LD_BARRIERS; i++)
		assert_int_equal(barriers[i], 65536 / LD_BARRIERS);
}

static void test_scopes_are_raised_and_found(void **state)
{
	(void)state;
	assert_int_equal(ld_scope_seq(scopes, 1), 0);
	assert_int_equal(ld_scope_raise(scopes, 1, 100), 0);
	assert_int_equal(ld_scope_seq(scopes, 1), 100);
	assert_int_equal(ld_scope_raise(scopes, 1, 50), 0);
	assert_int_equal(ld_scope_seq(scopes, 1), 100);
	assert_int_equal(ld_scope_raise(scopes, 1, 150), 0);
	assert_int_equal(ld_scope_seq(scopes, 1), 150);
	/* Another one of the same set, and the largest there is. */
	assert_int_equal(ld_scope_seq(scopes, 1 + LD_SCOPE_SETS), 0);
	assert_int_equal(ld_scope_raise(scopes, 1 + LD_SCOPE_SETS, 7), 0);
	assert_int_equal(ld_scope_raise(scopes, UINT64_MAX, 9), 0);
	assert_true(ld_scope_seq(scopes, 1 + LD_SCOPE_SETS) == 7 && ld_scope_seq(scopes, UINT64_MAX) == 9 && ld_scope_seq(scopes, 1) == 150);
}

static void test_a_full_set_says_so(void **state)
{
	const uint64_t first = 3, step = LD_SCOPE_SETS;

	(void)state;
	for (uint64_t i = 0; i < LD_SCOPE_WAYS; i++)
		assert_int_equal(ld_scope_raise(scopes, first + i * step, i + 1), 0);
	assert_int_equal(ld_scope_raise(scopes, first + LD_SCOPE_WAYS * step, 99), -1);
	assert_int_equal(ld_scope_seq(scopes, first + LD_SCOPE_WAYS * step), 0);
	/* Those that are there can be raised, and other sets have room. */
	assert_int_equal(ld_scope_raise(scopes, first + 2 * step, 88), 0);
	assert_int_equal(ld_scope_raise(scopes, first + 1, 77), 0);
	for (uint64_t i = 0; i < LD_SCOPE_WAYS; i++)
		assert_int_equal(ld_scope_seq(scopes, first + i * step), i == 2 ? 88 : i + 1);
	/* One is forgotten: its row is for the next one. */
	ld_scope_forget(scopes, first + 5 * step, 6);
	assert_int_equal(ld_scope_raise(scopes, first + LD_SCOPE_WAYS * step, 99), 0);
	assert_int_equal(ld_scope_seq(scopes, first + LD_SCOPE_WAYS * step), 99);
	assert_int_equal(ld_scope_seq(scopes, first + 5 * step), 0);
}

static void test_what_was_raised_since_is_not_forgotten(void **state)
{
	(void)state;
	assert_int_equal(ld_scope_raise(scopes, 42, 10), 0);
	ld_scope_forget(scopes, 42, 9);
	assert_int_equal(ld_scope_seq(scopes, 42), 10);
	ld_scope_forget(scopes, 42, 10);
	assert_int_equal(ld_scope_seq(scopes, 42), 0);
	ld_scope_forget(scopes, 42, 10);
	ld_scope_forget(scopes, 43, 10);
	/* A row that is used again starts with its own sequence, lower than the one it had. */
	assert_int_equal(ld_scope_raise(scopes, 42, 4), 0);
	assert_int_equal(ld_scope_seq(scopes, 42), 4);
}

/* A writer that is killed between the two words of a new row leaves a sequence without a tag. */
static void test_a_torn_row_is_free(void **state)
{
	(void)state;
	scopes[5 * LD_SCOPE_WAYS].seq = 1000;
	assert_int_equal(ld_scope_seq(scopes, 5), 0);
	assert_int_equal(ld_scope_raise(scopes, 5, 20), 0);
	assert_int_equal(ld_scope_seq(scopes, 5), 20);
}

#define WIPED(test) cmocka_unit_test_setup(test, wipe)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WIPED(test_a_raise_is_a_maximum),
		WIPED(test_threads_raise_one_word),
		WIPED(test_keys_spread_over_the_table),
		WIPED(test_scopes_are_raised_and_found),
		WIPED(test_a_full_set_says_so),
		WIPED(test_what_was_raised_since_is_not_forgotten),
		WIPED(test_a_torn_row_is_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
