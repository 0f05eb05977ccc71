/* SPDX-License-Identifier: MIT */
/*
 * The rolling window of a breaker: what is in it and what has left it, generations apart, full buckets, old times, years of uptime, and threads that
 * count at once.
 */
#include "shm/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "child.h"

enum { WINDOW = 10000, BUCKET = WINDOW / LD_WINDOW_BUCKETS, THREADS = 2, CALLS = 2000, ROUNDS = 50 };

static const int64_t start_ms = 86400000;

static struct ld_window_sum sum_at(const struct ld_window *window, uint32_t generation, int64_t now_ms)
{
	return ld_window_sum(window, generation, WINDOW, now_ms);
}

static void test_counts_by_kind(void **state)
{
	struct ld_window window = { 0 };
	struct ld_window_sum sum = sum_at(&window, 0, start_ms);

	(void)state;
	assert_int_equal(sum.calls + sum.failures + sum.slow, 0);
	for (int i = 0; i < 100; i++)
		ld_window_add(&window, 3, WINDOW, start_ms + i * 90, i % 10 == 0 ? LD_WINDOW_FAILED : i % 4 == 1 ? LD_WINDOW_SLOW : LD_WINDOW_CALL);
	sum = sum_at(&window, 3, start_ms + 9000);
	assert_int_equal(sum.calls, 100);
	assert_int_equal(sum.failures, 10);
	assert_int_equal(sum.slow, 25);
}

/* A call is seen for nine tenths of the window at least, and ten tenths at most. */
static void test_calls_leave_by_time_alone(void **state)
{
	(void)state;
	for (int64_t at = start_ms; at < start_ms + BUCKET; at += 37) {
		struct ld_window window = { 0 };

		ld_window_add(&window, 1, WINDOW, at, LD_WINDOW_FAILED);
		for (int64_t age = 0; age < WINDOW - BUCKET; age += 100)
			assert_int_equal(sum_at(&window, 1, at + age).failures, 1);
		assert_int_equal(sum_at(&window, 1, at + WINDOW).calls, 0);
		/* Gone for good, also in the next round of the buckets. */
		for (int round = 1; round < 30; round++)
			assert_int_equal(sum_at(&window, 1, at + round * (int64_t)WINDOW).calls, 0);
	}
}

static void test_a_bucket_is_begun_anew(void **state)
{
	struct ld_window window = { 0 };

	(void)state;
	for (int round = 0; round < 100; round++) {
		int64_t now_ms = start_ms + round * (int64_t)WINDOW;

		ld_window_add(&window, 1, WINDOW, now_ms, LD_WINDOW_FAILED);
		ld_window_add(&window, 1, WINDOW, now_ms, LD_WINDOW_CALL);
		assert_int_equal(sum_at(&window, 1, now_ms).calls, 2);
		assert_int_equal(sum_at(&window, 1, now_ms).failures, 1);
	}
}

static void test_generations_are_apart(void **state)
{
	struct ld_window window = { 0 };

	(void)state;
	for (uint32_t generation = 1; generation < 9000; generation++) {
		for (int i = 0; i < 3; i++)
			ld_window_add(&window, generation, WINDOW, start_ms, LD_WINDOW_FAILED);
		/* One who is late with a call of the generation before. */
		ld_window_add(&window, generation - 1, WINDOW, start_ms, LD_WINDOW_FAILED);
		assert_int_equal(sum_at(&window, generation, start_ms).calls, 3);
		assert_int_equal(sum_at(&window, generation - 1, start_ms).calls, 0);
		assert_int_equal(sum_at(&window, generation + 1, start_ms).calls, 0);
	}
}

/* A full bucket is halved: no count runs into its neighbour, and the shares stay. */
static void test_a_full_bucket_keeps_its_shares(void **state)
{
	struct ld_window window = { 0 };

	(void)state;
	for (int i = 1; i <= 100000; i++) {
		struct ld_window_sum sum;

		ld_window_add(&window, 5, WINDOW, start_ms, i % 5 == 0 ? LD_WINDOW_FAILED : i % 5 == 1 ? LD_WINDOW_SLOW : LD_WINDOW_CALL);
		sum = sum_at(&window, 5, start_ms);
		assert_true(i > LD_WINDOW_COUNT_MAX || sum.calls == (uint32_t)i);
		assert_true(i <= LD_WINDOW_COUNT_MAX || (sum.calls > LD_WINDOW_COUNT_MAX / 2 && sum.calls <= LD_WINDOW_COUNT_MAX));
		if (i > 100)
			assert_true(sum.failures * 100 >= sum.calls * 19 && sum.failures * 100 <= sum.calls * 21 && sum.slow * 100 <= sum.calls * 21);
	}
	/* All of them bad: all counts are full at once. */
	memset((void *)&window, 0, sizeof(window));
	for (int i = 0; i < 10000; i++)
		ld_window_add(&window, 5, WINDOW, start_ms, LD_WINDOW_FAILED);
	assert_int_equal(sum_at(&window, 5, start_ms).calls, sum_at(&window, 5, start_ms).failures);
	assert_int_equal(sum_at(&window, 5, start_ms).slow, 0);
}

/* One that was stopped with an old time takes no newer counts away. */
static void test_an_old_time_is_not_counted(void **state)
{
	struct ld_window window = { 0 };

	(void)state;
	for (int i = 0; i < 4; i++)
		ld_window_add(&window, 2, WINDOW, start_ms, LD_WINDOW_FAILED);
	for (int64_t age = WINDOW; age <= 6 * WINDOW; age += WINDOW)
		ld_window_add(&window, 2, WINDOW, start_ms - age, LD_WINDOW_CALL);
	assert_int_equal(sum_at(&window, 2, start_ms).calls, 4);
	/* The same bucket's time, an older generation. */
	ld_window_add(&window, 1, WINDOW, start_ms, LD_WINDOW_CALL);
	assert_int_equal(sum_at(&window, 2, start_ms).calls, 4);
	/* So old that it looks like the future: the bucket begins anew, and is right again with the next call. */
	ld_window_add(&window, 2, WINDOW, start_ms - 70 * BUCKET, LD_WINDOW_CALL);
	ld_window_add(&window, 2, WINDOW, start_ms, LD_WINDOW_FAILED);
	assert_int_equal(sum_at(&window, 2, start_ms).calls, 1);
}

/* After a long time without a call, whatever the buckets hold is old. */
static void test_long_silences(void **state)
{
	(void)state;
	for (int64_t silence = WINDOW; silence < INT64_C(20) * 365 * 86400000; silence = silence * 3 + 77) {
		struct ld_window window = { 0 };

		for (int i = 0; i < LD_WINDOW_BUCKETS; i++)
			ld_window_add(&window, 7, WINDOW, start_ms + i * BUCKET, LD_WINDOW_FAILED);
		assert_int_equal(sum_at(&window, 7, start_ms + 9 * BUCKET).calls, 10);
		assert_int_equal(sum_at(&window, 7, start_ms + 9 * BUCKET + silence).calls, 0);
		ld_window_add(&window, 7, WINDOW, start_ms + silence + WINDOW, LD_WINDOW_CALL);
		assert_int_equal(sum_at(&window, 7, start_ms + silence + WINDOW).calls, 1);
	}
}

static void test_windows_of_other_lengths(void **state)
{
	static const int64_t lengths[] = { 0, 1, 9, 10, 11, 99, 1000, 60000, 86400000 };

	(void)state;
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct ld_window window = { 0 };

		for (int k = 0; k < 20; k++)
			ld_window_add(&window, 1, lengths[i], start_ms, LD_WINDOW_SLOW);
		assert_int_equal(ld_window_sum(&window, 1, lengths[i], start_ms).slow, 20);
		assert_int_equal(ld_window_sum(&window, 1, lengths[i], start_ms + lengths[i] + 10).slow, 0);
	}
}

/* ---- threads ---- */

struct crowd {
	struct ld_window window;
	_Atomic uint32_t ready;
};

static void *count_calls(void *arg)
{
	struct crowd *crowd = arg;

	/* Over two turns of the buckets, so that they are begun anew by whoever comes first. */
	for (int step = 0; step < 2 * LD_WINDOW_BUCKETS; step++) {
		child_meet(&crowd->ready, (uint32_t)(step + 1) * THREADS);
		for (int i = 0; i < CALLS; i++)
			ld_window_add(&crowd->window, 1, WINDOW, start_ms + step * BUCKET, i % 2 ? LD_WINDOW_FAILED : LD_WINDOW_SLOW);
	}
	return NULL;
}

static void test_threads_lose_nothing(void **state)
{
	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct crowd crowd = { .ready = 0 };
		pthread_t threads[THREADS];
		struct ld_window_sum sum;

		for (int i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, count_calls, &crowd), 0);
		for (int i = 0; i < THREADS; i++)
			assert_int_equal(pthread_join(threads[i], NULL), 0);
		sum = sum_at(&crowd.window, 1, start_ms + (2 * LD_WINDOW_BUCKETS - 1) * BUCKET);
		assert_int_equal(sum.calls, THREADS * CALLS * LD_WINDOW_BUCKETS);
		assert_int_equal(sum.failures, sum.calls / 2);
		assert_int_equal(sum.slow, sum.calls / 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts_by_kind),
		cmocka_unit_test(test_calls_leave_by_time_alone),
		cmocka_unit_test(test_a_bucket_is_begun_anew),
		cmocka_unit_test(test_generations_are_apart),
		cmocka_unit_test(test_a_full_bucket_keeps_its_shares),
		cmocka_unit_test(test_an_old_time_is_not_counted),
		cmocka_unit_test(test_long_silences),
		cmocka_unit_test(test_windows_of_other_lengths),
		cmocka_unit_test(test_threads_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
