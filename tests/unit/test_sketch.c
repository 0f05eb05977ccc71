/* SPDX-License-Identifier: MIT */
/*
 * The access sketch on a table of the test's own: counting, saturation, halving, and that one counter never spills into its neighbour, with
 * threads at it too.
 */
#include "shm/sketch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

enum { LINES = 64, THREADS = 4, KEYS = 40, BUMPS = 12 };

static _Alignas(64) _Atomic uint64_t words[LINES * LD_SKETCH_LINE_WORDS];
static const struct ld_sketch sketch = { words, LINES - 1 };

static int wipe(void **state)
{
	(void)state;
	for (size_t i = 0; i < LINES * LD_SKETCH_LINE_WORDS; i++)
		words[i] = 0;
	return 0;
}

/* A digest whose first word picks the line and whose second one the counters. */
static void digest_of(uint64_t line, uint64_t bits, unsigned char digest[32])
{
	memset(digest, 0, 32);
	memcpy(digest, &line, 8);
	memcpy(digest + 8, &bits, 8);
}

static void random_digest(uint64_t n, unsigned char digest[32])
{
	uint64_t a = n * UINT64_C(0x9e3779b97f4a7c15) + 1, b = (n + 77) * UINT64_C(0xc2b2ae3d27d4eb4f);

	digest_of(a ^ a >> 29, b ^ b >> 31, digest);
}

/* Sum of all counters. */
static unsigned total(void)
{
	unsigned sum = 0;

	for (size_t i = 0; i < LINES * LD_SKETCH_LINE_WORDS; i++)
		for (unsigned k = 0; k < 64; k += 4)
			sum += (unsigned)(words[i] >> k) & 15;
	return sum;
}

static void test_lines_for_a_capacity(void **state)
{
	(void)state;
	assert_int_equal(ld_sketch_lines(0), 16);
	assert_int_equal(ld_sketch_lines(64), 16);
	assert_int_equal(ld_sketch_lines(65), 32);
	assert_int_equal(ld_sketch_lines(1 << 20), 1 << 18);
	assert_int_equal(ld_sketch_lines((1 << 20) + 1), 1 << 19);
}

static void test_counts_and_saturates(void **state)
{
	unsigned char digest[32];

	(void)state;
	random_digest(1, digest);
	assert_int_equal(ld_sketch_estimate(&sketch, digest), 0);
	for (unsigned i = 1; i <= 40; i++) {
		ld_sketch_bump(&sketch, digest);
		assert_int_equal(ld_sketch_estimate(&sketch, digest), i < LD_SKETCH_MAX ? i : LD_SKETCH_MAX);
	}
	assert_int_equal(total(), 4 * LD_SKETCH_MAX);
}

/* Four counters, always different ones, all in the line. */
static void test_a_key_has_four_counters_in_its_line(void **state)
{
	unsigned char digest[32];

	for (uint64_t n = 0; n < 2000; n++) {
		uint64_t line;
		unsigned here = 0;

		(void)wipe(state);
		random_digest(n, digest);
		memcpy(&line, digest, 8);
		line %= LINES;
		ld_sketch_bump(&sketch, digest);
		for (size_t i = line * LD_SKETCH_LINE_WORDS; i < (line + 1) * LD_SKETCH_LINE_WORDS; i++)
			for (unsigned k = 0; k < 64; k += 4)
				here += (words[i] >> k & 15) == 1;
		assert_int_equal(here, 4);
		assert_int_equal(total(), 4);
	}
}

/* Whatever stands in the other counters of the words stays. */
static void test_neighbours_are_untouched(void **state)
{
	unsigned char digest[32];
	uint64_t before[LINES * LD_SKETCH_LINE_WORDS];
	unsigned grown = 0;

	(void)state;
	for (size_t i = 0; i < LINES * LD_SKETCH_LINE_WORDS; i++) {
		before[i] = (i % 3 == 0) ? 0 : (i % 3 == 1) ? ~UINT64_C(0) : UINT64_C(0x0f1e2d3c4b5a6978);
		words[i] = before[i];
	}
	for (uint64_t n = 0; n < 50; n++)
		for (int i = 0; i < 20; i++) {
			random_digest(n, digest);
			ld_sketch_bump(&sketch, digest);
		}
	for (size_t i = 0; i < LINES * LD_SKETCH_LINE_WORDS; i++)
		for (unsigned k = 0; k < 64; k += 4) {
			unsigned was = before[i] >> k & 15, is = words[i] >> k & 15;

			/* Counters only grow, up to the top, and only those of the fifty keys. */
			assert_true(is == was || is == LD_SKETCH_MAX);
			grown += is != was;
		}
	assert_in_range(grown, 50, 200);
}

static void test_one_word_by_hand(void **state)
{
	unsigned char digest[32];

	(void)state;
	/* Counter 3 of word 0 in line 5 (row 0), counters 0 of words 2, 4 and 6 (rows 1 to 3). */
	digest_of(5, 3, digest);
	ld_sketch_bump(&sketch, digest);
	ld_sketch_bump(&sketch, digest);
	assert_true(words[40] == UINT64_C(2) << 12 && words[42] == 2 && words[44] == 2 && words[46] == 2);
	assert_true(words[41] == 0 && words[43] == 0 && words[45] == 0 && words[47] == 0);
	/* The line is the first word modulo the lines. */
	digest_of(5 + LINES, 3, digest);
	assert_int_equal(ld_sketch_estimate(&sketch, digest), 2);
}

static void test_halving(void **state)
{
	unsigned char digest[32];
	uint64_t next = 0;
	int rounds = 0;

	(void)state;
	for (size_t i = 0; i < LINES * LD_SKETCH_LINE_WORDS; i++)
		words[i] = UINT64_C(0xfedcba9876543210);
	do {
		next = ld_sketch_halve(&sketch, next, 7);
		rounds++;
		assert_true(next <= LINES);
	} while (next != 0);
	assert_int_equal(rounds, (LINES + 6) / 7);
	for (size_t i = 0; i < LINES * LD_SKETCH_LINE_WORDS; i++)
		assert_true(words[i] == UINT64_C(0x7766554433221100));
	assert_int_equal(ld_sketch_halve(&sketch, 3, 1), 4);
	assert_int_equal(ld_sketch_halve(&sketch, 0, UINT64_MAX), 0);
	assert_int_equal(ld_sketch_halve(&sketch, LINES - 1, 5), 0);
	(void)wipe(state);
	random_digest(9, digest);
	for (int i = 0; i < 20; i++)
		ld_sketch_bump(&sketch, digest);
	(void)ld_sketch_halve(&sketch, 0, LINES);
	assert_int_equal(ld_sketch_estimate(&sketch, digest), 7);
}

/* Keys that share some counters are over-estimated, never under-estimated. */
static void test_never_too_low(void **state)
{
	unsigned char digest[32];
	unsigned too_high = 0;

	(void)state;
	for (uint64_t n = 0; n < 300; n++)
		for (uint64_t i = 0; i < n % 10; i++) {
			random_digest(n, digest);
			ld_sketch_bump(&sketch, digest);
		}
	for (uint64_t n = 0; n < 300; n++) {
		random_digest(n, digest);
		assert_true(ld_sketch_estimate(&sketch, digest) >= n % 10);
		too_high += ld_sketch_estimate(&sketch, digest) > n % 10;
	}
	/* 300 keys in 64 lines: some collide in all four. */
	assert_true(too_high < 60);
}

static void *bump_all(void *arg)
{
	unsigned char digest[32];

	(void)arg;
	for (int i = 0; i < BUMPS / THREADS; i++)
		for (uint64_t n = 0; n < KEYS; n++) {
			digest_of(n, n * 0x01234567, digest);
			ld_sketch_bump(&sketch, digest);
		}
	return NULL;
}

static void test_threads_lose_little(void **state)
{
	pthread_t threads[THREADS];
	unsigned char digest[32];
	unsigned sum = 0;

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, bump_all, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (uint64_t n = 0; n < KEYS; n++) {
		digest_of(n, n * 0x01234567, digest);
		assert_true(ld_sketch_estimate(&sketch, digest) <= BUMPS);
		sum += ld_sketch_estimate(&sketch, digest);
	}
	assert_true(sum >= KEYS * BUMPS * 9 / 10);
}

#define WIPED(test) cmocka_unit_test_setup(test, wipe)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_for_a_capacity),
		WIPED(test_counts_and_saturates),
		WIPED(test_a_key_has_four_counters_in_its_line),
		WIPED(test_neighbours_are_untouched),
		WIPED(test_one_word_by_hand),
		WIPED(test_halving),
		WIPED(test_never_too_low),
		WIPED(test_threads_lose_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
