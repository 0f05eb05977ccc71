/* SPDX-License-Identifier: MIT */
/*
 * The table of keys with a request that was not answered: a key waits until its time is over, no time is lost to a shorter or another one, and where there is no
 * room it is said so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

#include "shm/unanswered.h"

/* Of one set, with labels of their own. */
#define TAG(n) ((uint64_t)(n) << 41 | 5)

static int begin(void **state)
{
	*state = calloc(1, sizeof(struct ld_unanswered));
	return *state ? 0 : -1;
}

static int end(void **state)
{
	free(*state);
	return 0;
}

static void test_a_key_waits_until_its_time_is_over(void **state)
{
	struct ld_unanswered *table = *state;

	assert_int_equal(ld_unanswered_left(table, 0, 0), 0);
	assert_int_equal(ld_unanswered_left(table, TAG(1), 1000), 0);
	assert_int_equal(ld_unanswered_note(table, TAG(1), 1500, 1000), 1);
	assert_int_equal(ld_unanswered_left(table, TAG(1), 1000), 500);
	assert_int_equal(ld_unanswered_left(table, TAG(1), 1499), 1);
	assert_int_equal(ld_unanswered_left(table, TAG(1), 1500), 0);
	assert_int_equal(ld_unanswered_left(table, TAG(1), 9999), 0);
	/* Others do not: another label of the set, the same one in another set. */
	assert_int_equal(ld_unanswered_left(table, TAG(2), 1000), 0);
	assert_int_equal(ld_unanswered_left(table, TAG(1) + 1, 1000), 0);
	/* The label of nothing is one as well. */
	assert_int_equal(ld_unanswered_note(table, 0, 1500, 1000), 1);
	assert_int_equal(ld_unanswered_left(table, 0, 1000), 500);
}

static void test_the_longest_time_counts(void **state)
{
	struct ld_unanswered *table = *state;

	assert_int_equal(ld_unanswered_note(table, TAG(1), 1500, 1000), 1);
	assert_int_equal(ld_unanswered_note(table, TAG(1), 1200, 1000), 1);
	assert_int_equal(ld_unanswered_left(table, TAG(1), 1000), 500);
	assert_int_equal(ld_unanswered_note(table, TAG(1), 1700, 1000), 1);
	assert_int_equal(ld_unanswered_left(table, TAG(1), 1000), 700);
	/* Behind a word that has become free, the older one of the key still stands. */
	assert_int_equal(ld_unanswered_note(table, TAG(2), 3000, 1000), 1);
	assert_int_equal(ld_unanswered_note(table, TAG(2), 2500, 2000), 1);
	assert_int_equal(ld_unanswered_left(table, TAG(2), 2000), 1000);
	/* For 34 years. */
	assert_int_equal(ld_unanswered_note(table, TAG(3), (INT64_C(1) << 40) - 1, 1000), 1);
	assert_int_equal(ld_unanswered_left(table, TAG(3), 1000), (INT64_C(1) << 40) - 1001);
}

static void test_a_full_set_says_so(void **state)
{
	struct ld_unanswered *table = *state;

	for (unsigned i = 1; i <= LD_UNANSWERED_WAYS; i++)
		assert_int_equal(ld_unanswered_note(table, TAG(i), 1500 + i, 1000), 1);
	assert_int_equal(ld_unanswered_note(table, TAG(100), 2000, 1000), 0);
	assert_int_equal(ld_unanswered_left(table, TAG(100), 1000), 0);
	assert_int_equal(ld_unanswered_note(table, TAG(3), 1900, 1000), 1);
	assert_int_equal(ld_unanswered_note(table, TAG(100) + 1, 2000, 1000), 1);
	for (unsigned i = 1; i <= LD_UNANSWERED_WAYS; i++)
		assert_int_equal(ld_unanswered_left(table, TAG(i), 1000), i == 3 ? 900 : 500 + i);
	/* The first one's time is over: there is room for one. */
	assert_int_equal(ld_unanswered_note(table, TAG(100), 2000, 1501), 1);
	assert_int_equal(ld_unanswered_note(table, TAG(101), 2000, 1501), 0);
	assert_int_equal(ld_unanswered_left(table, TAG(100), 1501), 499);
	assert_int_equal(ld_unanswered_left(table, TAG(2), 1501), 1);
}

/* A claim is its request's alone: what is taken back leaves what others have noted or claimed. */
static void test_a_claim_is_taken_back(void **state)
{
	struct ld_unanswered *table = *state;
	uint64_t first, second;

	first = ld_unanswered_claim(table, TAG(1), 1500, 1000);
	assert_int_not_equal(first, 0);
	assert_int_equal(ld_unanswered_left(table, TAG(1), 1000), 500);
	ld_unanswered_take_back(table, TAG(1), first);
	assert_int_equal(ld_unanswered_left(table, TAG(1), 1000), 0);
	/* Of two to the same ms each has its own. */
	first = ld_unanswered_claim(table, TAG(1), 1500, 1000);
	second = ld_unanswered_claim(table, TAG(1), 1500, 1000);
	ld_unanswered_take_back(table, TAG(1), first);
	assert_int_equal(ld_unanswered_left(table, TAG(1), 1000), 500);
	ld_unanswered_take_back(table, TAG(1), second);
	assert_int_equal(ld_unanswered_left(table, TAG(1), 1000), 0);
	/* A note of the same time, or an earlier or later one, stays, whichever came first. */
	for (int i = -1; i <= 1; i++) {
		first = ld_unanswered_claim(table, TAG(2), 1500, 1000);
		assert_int_equal(ld_unanswered_note(table, TAG(2), 1500 + i, 1000), 1);
		second = ld_unanswered_claim(table, TAG(2), 1500, 1000);
		ld_unanswered_take_back(table, TAG(2), first);
		ld_unanswered_take_back(table, TAG(2), second);
		assert_int_equal(ld_unanswered_left(table, TAG(2), 1000), 500 + i);
	}
	/* Its time is over, and the word another one's. */
	first = ld_unanswered_claim(table, TAG(3), 1600, 1000);
	for (unsigned i = 0; i < LD_UNANSWERED_WAYS; i++)
		assert_int_equal(ld_unanswered_note(table, TAG(10 + i), 3000, 1600), 1);
	ld_unanswered_take_back(table, TAG(3), first);
	for (unsigned i = 0; i < LD_UNANSWERED_WAYS; i++)
		assert_int_equal(ld_unanswered_left(table, TAG(10 + i), 1600), 1400);
	ld_unanswered_take_back(table, TAG(10), 0);
	ld_unanswered_keep(table, TAG(10), 0);
	assert_int_equal(ld_unanswered_left(table, TAG(10), 1600), 1400);
}

static void test_a_claim_is_kept(void **state)
{
	struct ld_unanswered *table = *state;
	uint64_t claim;

	/* However many of a key are given up, they need one word, to the latest time. */
	for (unsigned i = 1; i <= 100; i++) {
		claim = ld_unanswered_claim(table, TAG(1), 1500 + (i * 7) % 101, 1000);
		assert_int_not_equal(claim, 0);
		ld_unanswered_keep(table, TAG(1), claim);
	}
	assert_int_equal(ld_unanswered_left(table, TAG(1), 1000), 600);
	for (unsigned i = 1; i < LD_UNANSWERED_WAYS; i++)
		assert_int_equal(ld_unanswered_note(table, TAG(1 + i), 1500, 1000), 1);
	assert_int_equal(ld_unanswered_note(table, TAG(100), 1500, 1000), 0);
}

/* Claims do not take the last words of a set from the teller. */
static void test_claims_leave_room_for_notes(void **state)
{
	struct ld_unanswered *table = *state;

	for (unsigned i = 0; i < LD_UNANSWERED_BESIDE; i++)
		assert_int_not_equal(ld_unanswered_claim(table, TAG(1 + i), 1500, 1000), 0);
	assert_int_equal(ld_unanswered_claim(table, TAG(100), 1500, 1000), 0);
	for (unsigned i = LD_UNANSWERED_BESIDE; i < LD_UNANSWERED_WAYS; i++)
		assert_int_equal(ld_unanswered_note(table, TAG(100 + i), 1500, 1000), 1);
	for (unsigned i = 0; i < LD_UNANSWERED_BESIDE; i++)
		assert_int_equal(ld_unanswered_left(table, TAG(1 + i), 1000), 500);
}

/* ---- several at once ---- */

enum { NOTERS = 4, ROUNDS = 2000 };

struct noter {
	struct ld_unanswered *table;
	uint64_t tag;
	unsigned lost;
};

/* Each of one set, with room for all: none is pushed out by another. */
static void *note(void *ctx)
{
	struct noter *noter = ctx;

	for (int64_t now_ms = 1; now_ms <= ROUNDS; now_ms++) {
		int noted = ld_unanswered_note(noter->table, noter->tag, now_ms + 2 * ROUNDS, now_ms);

		noter->lost += !noted || ld_unanswered_left(noter->table, noter->tag, now_ms) != 2 * ROUNDS;
	}
	return NULL;
}

static void test_several_at_once(void **state)
{
	struct noter noters[NOTERS];
	pthread_t threads[NOTERS];

	for (unsigned i = 0; i < NOTERS; i++) {
		noters[i] = (struct noter){ *state, TAG(i + 1), 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, note, &noters[i]), 0);
	}
	for (unsigned i = 0; i < NOTERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(noters[i].lost, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_key_waits_until_its_time_is_over, begin, end),
		cmocka_unit_test_setup_teardown(test_the_longest_time_counts, begin, end),
		cmocka_unit_test_setup_teardown(test_a_full_set_says_so, begin, end),
		cmocka_unit_test_setup_teardown(test_a_claim_is_taken_back, begin, end),
		cmocka_unit_test_setup_teardown(test_a_claim_is_kept, begin, end),
		cmocka_unit_test_setup_teardown(test_claims_leave_room_for_notes, begin, end),
		cmocka_unit_test_setup_teardown(test_several_at_once, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
