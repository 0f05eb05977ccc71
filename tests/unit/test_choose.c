/* SPDX-License-Identifier: MIT */
/*
 * The chooser: who goes first, who is left alone, and that it ends for any window, with equal rows in it too.
 */
#include "l1/choose.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WINDOW = 4096 };

static struct ld_candidate window[WINDOW], before[WINDOW];

static uint64_t drawn = UINT64_C(88172645463325252);

static uint64_t draw(uint64_t below)
{
	drawn ^= drawn << 13;
	drawn ^= drawn >> 7;
	drawn ^= drawn << 17;
	return drawn % below;
}

static void put(size_t at, uint64_t seq, unsigned estimate, int dead)
{
	memset(&window[at], 0, sizeof(window[at]));
	window[at].seq = seq;
	window[at].estimate = (uint8_t)estimate;
	window[at].dead = (uint8_t)dead;
	window[at].key_len = 34;
	memcpy(window[at].key, &seq, sizeof(seq));
}

/* Who goes before whom; 0 for equals. */
static int rank(const struct ld_candidate *a, const struct ld_candidate *b)
{
	if (a->dead != b->dead)
		return a->dead ? -1 : 1;
	if (a->dead)
		return 0;
	if (a->estimate != b->estimate)
		return a->estimate < b->estimate ? -1 : 1;
	return a->seq > b->seq ? -1 : a->seq < b->seq;
}

static int by_seq(const void *a, const void *b)
{
	const struct ld_candidate *x = a, *y = b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* The lowest sequence of the live rows that are left alone; rows are in `before`. */
static uint64_t first_left_alone(size_t count)
{
	size_t spare = count * 5 / 100;
	uint64_t lowest = UINT64_MAX;

	qsort(before, count, sizeof(*before), by_seq);
	for (size_t i = count; i-- > 0 && spare > 0;)
		if (!before[i].dead) {
			lowest = before[i].seq;
			spare--;
		}
	return lowest;
}

static void check_choice(size_t count, unsigned batch)
{
	uint64_t limit, sum = 0;
	size_t eligible = count - count * 5 / 100, victims;

	memcpy(before, window, count * sizeof(*window));
	for (size_t i = 0; i < count; i++)
		sum += window[i].seq * 31 + window[i].estimate;
	limit = first_left_alone(count);
	victims = ld_choose(window, count, batch);
	assert_true(victims <= batch);
	assert_int_equal(victims, eligible < batch ? eligible : batch);
	/* The same rows are there, whole. */
	for (size_t i = 0; i < count; i++) {
		sum -= window[i].seq * 31 + window[i].estimate;
		assert_int_equal(memcmp(window[i].key, &window[i].seq, sizeof(window[i].seq)), 0);
	}
	assert_int_equal(sum, 0);
	for (size_t i = 0; i < victims; i++) {
		/* None that is left alone is among the victims (of equal age some may be). */
		assert_true(window[i].dead || window[i].seq <= limit);
		for (size_t k = victims; k < count; k++)
			if (window[k].dead || window[k].seq < limit)
				assert_true(rank(&window[i], &window[k]) <= 0);
	}
}

static void test_batches(void **state)
{
	(void)state;
	assert_int_equal(ld_choose_batch(0), 1);
	assert_int_equal(ld_choose_batch(1999), 1);
	assert_int_equal(ld_choose_batch(2000), 2);
	assert_int_equal(ld_choose_batch(256000), 256);
	assert_int_equal(ld_choose_batch(UINT64_MAX), 256);
	assert_int_equal(ld_choose_window(1), 16);
	assert_int_equal(ld_choose_window(256), WINDOW);
}

static void test_few_candidates(void **state)
{
	(void)state;
	assert_int_equal(ld_choose(window, 0, 4), 0);
	for (size_t count = 1; count <= 40; count++)
		for (unsigned batch = 1; batch <= 40; batch += 3) {
			for (size_t i = 0; i < count; i++)
				put(i, 100 + i, (unsigned)(i * 7) % 16, i % 5 == 0);
			check_choice(count, batch);
		}
}

static void test_the_dead_go_first(void **state)
{
	(void)state;
	for (size_t i = 0; i < 100; i++)
		put(i, i + 1, i % 10 == 3 ? 15 : 0, i % 10 == 3);
	assert_int_equal(ld_choose(window, 100, 12), 12);
	for (size_t i = 0; i < 12; i++)
		assert_int_equal(window[i].dead, i < 10);
}

/* Also the dead among the newest. */
static void test_the_newest_dead_are_not_left_alone(void **state)
{
	(void)state;
	for (size_t i = 0; i < 100; i++)
		put(i, i + 1, 3, i >= 97);
	assert_int_equal(ld_choose(window, 100, 3), 3);
	for (size_t i = 0; i < 3; i++)
		assert_true(window[i].dead);
}

static void test_the_least_used_go_next(void **state)
{
	(void)state;
	for (size_t i = 0; i < 160; i++)
		put(i, 1000 - i, (unsigned)(i / 10), 0);
	assert_int_equal(ld_choose(window, 160, 10), 10);
	/* The newest eight are left alone, who have the lowest estimate. */
	for (size_t i = 0; i < 10; i++)
		assert_true(window[i].seq <= 992 && window[i].estimate <= 1);
}

static void test_among_equals_the_newest_goes(void **state)
{
	(void)state;
	for (size_t i = 0; i < 100; i++)
		put(i, (i * 37) % 100 + 1, 2, 0);
	assert_int_equal(ld_choose(window, 100, 10), 10);
	/* 96..100 are left alone, 86..95 go. */
	for (size_t i = 0; i < 10; i++)
		assert_in_range(window[i].seq, 86, 95);
}

static void test_all_the_same(void **state)
{
	(void)state;
	for (size_t count = 1; count <= WINDOW; count = count * 2 + 1) {
		for (size_t i = 0; i < count; i++)
			put(i, 5, 5, 0);
		check_choice(count, 8);
		for (size_t i = 0; i < count; i++)
			put(i, 5, 5, 1);
		check_choice(count, 8);
	}
}

/* As in a small store, where runs overlap: many rows stand in the window several times. */
static void test_random_windows(void **state)
{
	(void)state;
	for (int round = 0; round < 3000; round++) {
		size_t count = 1 + draw(250);
		uint64_t different = 1 + draw(300), dead = draw(20);

		for (size_t i = 0; i < count; i++) {
			uint64_t row = draw(different);

			put(i, 1000 + row, (unsigned)(row * 2654435761u >> 7) % (1 + (unsigned)draw(16)), dead != 0 && row % dead == 0);
		}
		check_choice(count, 1 + (unsigned)draw(40));
	}
}

static void test_large_windows(void **state)
{
	(void)state;
	for (int shape = 0; shape < 4; shape++) {
		for (size_t i = 0; i < WINDOW; i++)
			put(i, shape == 0 ? i : shape == 1 ? WINDOW - i : shape == 2 ? i % 7 : draw(1 << 20), shape == 3 ? (unsigned)draw(16) : 1, 0);
		check_choice(WINDOW, 256);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_batches),
		cmocka_unit_test(test_few_candidates),
		cmocka_unit_test(test_the_dead_go_first),
		cmocka_unit_test(test_the_newest_dead_are_not_left_alone),
		cmocka_unit_test(test_the_least_used_go_next),
		cmocka_unit_test(test_among_equals_the_newest_goes),
		cmocka_unit_test(test_all_the_same),
		cmocka_unit_test(test_random_windows),
		cmocka_unit_test(test_large_windows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
