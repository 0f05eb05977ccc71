/* SPDX-License-Identifier: MIT */
/*
 * The retry budget: full at first, a share of the first tries after that, never more than its cap, and exact with threads at it. And the calls under
 * way: bounded over all slots, those of the dead left out.
 */
#include "shm/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "child.h"
#include "shm/inflight.h"
#include "shm/seg.h"

enum { THREADS = 2, TRIES = 200000, SLOTS = 8, BOUND = 5, ROUNDS = 20000 };

static int take_all(struct ld_retry *retry)
{
	int taken = 0;

	while (ld_retry_take(retry, LD_RETRY_CAP))
		taken++;
	return taken;
}

static void test_the_budget_is_full_at_first(void **state)
{
	struct ld_retry retry = { 0 };

	(void)state;
	assert_int_equal(take_all(&retry), 10);
	assert_int_equal(ld_retry_take(&retry, LD_RETRY_CAP), 0);
}

static void test_one_retry_for_five_first_tries(void **state)
{
	struct ld_retry retry = { 0 };
	int taken = take_all(&retry);

	(void)state;
	for (int tries = 1; tries <= 1000; tries++) {
		ld_retry_earn(&retry, LD_RETRY_PCT);
		taken += ld_retry_take(&retry, LD_RETRY_CAP);
		assert_int_equal(taken, 10 + tries / 5);
	}
}

static void test_the_budget_has_a_cap(void **state)
{
	struct ld_retry retry = { 0 };

	(void)state;
	for (int i = 0; i < 1000; i++)
		ld_retry_earn(&retry, LD_RETRY_PCT);
	assert_int_equal(take_all(&retry), 10);
	/* One and a half tokens come back: one retry. Any share, any cap; none is none. */
	for (int i = 0; i < 3; i++)
		ld_retry_earn(&retry, 50);
	assert_int_equal(take_all(&retry), 1);
	ld_retry_earn(&retry, 100000);
	assert_int_equal(take_all(&retry), 10);
	assert_int_equal(ld_retry_take(&retry, 11), 1);
	assert_int_equal(ld_retry_take(&retry, 0), 0);
	ld_retry_earn(&retry, 0);
	assert_int_equal(retry.spent, 1100);
}

struct crowd {
	struct ld_retry retry;
	_Atomic int taken;
	_Atomic uint32_t ready;
};

static void *fail_always(void *arg)
{
	struct crowd *crowd = arg;

	child_meet(&crowd->ready, THREADS);
	for (int i = 0; i < TRIES; i++) {
		ld_retry_earn(&crowd->retry, LD_RETRY_PCT);
		crowd->taken += ld_retry_take(&crowd->retry, LD_RETRY_CAP);
	}
	return NULL;
}

static void test_threads_share_the_budget(void **state)
{
	static struct crowd crowd;
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fail_always, &crowd), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	/* Never more than the share; a try made while the budget was full earned nothing, and that is at most the cap's worth. */
	assert_in_range(crowd.taken, THREADS * TRIES / 5 - 1, THREADS * TRIES / 5 + LD_RETRY_CAP);
}

/* ---- calls under way ---- */

struct host {
	struct ld_slot slots[SLOTS];
	_Atomic uint32_t dead;          /* bits of slots */
	_Atomic uint32_t asked;
	_Atomic uint32_t inside, too_many, let_in;
	_Atomic uint32_t next, ready;
};

static int is_alive(void *ctx, uint32_t slot)
{
	struct host *host = ctx;

	host->asked++;
	return !(host->dead >> slot & 1);
}

static struct ld_inflight inflight_of(struct host *host, uint32_t self)
{
	return (struct ld_inflight){ &host->slots[0].l2_inflight, sizeof(struct ld_slot), SLOTS, self, is_alive, host };
}

static void test_calls_under_way_are_bounded(void **state)
{
	static struct host host;
	struct ld_inflight one = inflight_of(&host, 1), two = inflight_of(&host, 6);

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(ld_inflight_enter(&one, BOUND), 1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(ld_inflight_enter(&two, BOUND), 1);
	/* Nobody was asked about while there was room. */
	assert_int_equal(host.asked, 0);
	assert_int_equal(ld_inflight_enter(&two, BOUND), 0);
	assert_int_equal(ld_inflight_enter(&one, BOUND), 0);
	assert_int_equal(ld_inflight_sum(&one), 5);
	assert_true(host.slots[1].l2_inflight == 3 && host.slots[6].l2_inflight == 2);
	ld_inflight_leave(&one);
	assert_int_equal(ld_inflight_enter(&two, BOUND), 1);
	assert_int_equal(ld_inflight_enter(&two, 0), 0);
}

static void test_the_dead_are_left_out(void **state)
{
	static struct host host;
	struct ld_inflight dead = inflight_of(&host, 2), mine = inflight_of(&host, 3);

	(void)state;
	for (int i = 0; i < BOUND; i++)
		assert_int_equal(ld_inflight_enter(&dead, BOUND), 1);
	assert_int_equal(ld_inflight_enter(&mine, BOUND), 0);
	host.dead = 1 << 2;
	for (int i = 0; i < BOUND; i++)
		assert_int_equal(ld_inflight_enter(&mine, BOUND), 1);
	assert_int_equal(ld_inflight_enter(&mine, BOUND), 0);
	assert_int_equal(ld_inflight_sum(&mine), BOUND);
}

/* A count that the next process of the slot has set to 0 is not taken below it. */
static void test_never_below_nothing(void **state)
{
	static struct host host;
	struct ld_inflight mine = inflight_of(&host, 0);

	(void)state;
	ld_inflight_leave(&mine);
	assert_int_equal(host.slots[0].l2_inflight, 0);
	assert_int_equal(ld_inflight_enter(&mine, 1), 1);
}

/* Two for one place, at the same moment. */
static void *come_and_go(void *arg)
{
	struct host *host = arg;
	struct ld_inflight mine = inflight_of(host, host->next++);

	for (uint32_t i = 0; i < ROUNDS; i++) {
		int in;

		child_meet(&host->ready, (3 * i + 1) * 2);
		in = ld_inflight_enter(&mine, 1);
		host->inside += (uint32_t)in;
		child_meet(&host->ready, (3 * i + 2) * 2);
		host->too_many += host->inside > 1;
		host->let_in += (uint32_t)in;
		child_meet(&host->ready, (3 * i + 3) * 2);
		if (in) {
			host->inside--;
			ld_inflight_leave(&mine);
		}
	}
	return NULL;
}

static void test_never_more_than_the_bound(void **state)
{
	static struct host host;
	pthread_t threads[2];

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &host), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(host.too_many, 0);
	assert_in_range(host.let_in, 1, ROUNDS);
	for (int i = 0; i < SLOTS; i++)
		assert_int_equal(host.slots[i].l2_inflight, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_budget_is_full_at_first),
		cmocka_unit_test(test_one_retry_for_five_first_tries),
		cmocka_unit_test(test_the_budget_has_a_cap),
		cmocka_unit_test(test_threads_share_the_budget),
		cmocka_unit_test(test_calls_under_way_are_bounded),
		cmocka_unit_test(test_the_dead_are_left_out),
		cmocka_unit_test(test_never_below_nothing),
		cmocka_unit_test(test_never_more_than_the_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
