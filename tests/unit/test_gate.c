/* SPDX-License-Identifier: MIT */
/*
 * The gate: one holder at a time, waits that end in time, dead holders whose gate is taken over, live ones whose gate never is, and
 * waiters that are woken and not starved. Who lives is the test's invention.
 */
#include "shm/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/clock.h"
#include "child.h"

enum { THREADS = 4, ROUNDS = 3000, SELF = 1, OTHER = 2 };

/* Which numbers are alive: all but this one. */
struct world {
	struct ld_gate gate;
	_Atomic uint64_t dead;
	_Atomic unsigned asked;
};

static int is_alive(void *ctx, uint64_t holder)
{
	struct world *world = ctx;

	world->asked++;
	return holder != world->dead;
}

static struct ld_gate_user user_of(struct world *world, uint64_t self)
{
	return (struct ld_gate_user){ self, is_alive, world };
}

static void test_taken_and_left(void **state)
{
	struct world world = { 0 };
	struct ld_gate_user user = user_of(&world, SELF);

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ld_gate_take(&world.gate, &user, 1), LD_GATE_TAKEN);
		assert_true(world.gate.holder == SELF && world.gate.since_ms != 0);
		ld_gate_leave(&world.gate);
		assert_true(world.gate.holder == 0 && world.gate.since_ms == 0);
	}
	assert_int_equal(world.asked, 0);
}

static void test_a_wait_ends_in_time(void **state)
{
	struct world world = { 0 };
	struct ld_gate_user holder = user_of(&world, OTHER), user = user_of(&world, SELF);
	int64_t from_ms;

	(void)state;
	assert_int_equal(ld_gate_take(&world.gate, &holder, 1), LD_GATE_TAKEN);
	from_ms = child_now_ms();
	assert_int_equal(ld_gate_take(&world.gate, &user, 40), LD_GATE_TIMEOUT);
	assert_in_range(child_now_ms() - from_ms, 38, 2000);
	assert_int_equal(world.gate.holder, OTHER);
	ld_gate_leave(&world.gate);
	assert_int_equal(ld_gate_take(&world.gate, &user, 40), LD_GATE_TAKEN);
}

/* One that has it for longer than five budgets is stopped: nobody waits for it, and nobody takes it. */
static void test_a_stopped_holder_is_not_waited_for(void **state)
{
	struct world world = { 0 };
	struct ld_gate_user user = user_of(&world, SELF);
	int64_t from_ms = child_now_ms();

	(void)state;
	world.gate.holder = OTHER;
	world.gate.since_ms = ld_clock_boot_ms() - 5 * 60000 - 1;
	for (int i = 0; i < 100; i++)
		assert_int_equal(ld_gate_take(&world.gate, &user, 60000), LD_GATE_TIMEOUT);
	assert_true(child_now_ms() - from_ms < 30000);
	assert_int_equal(world.gate.holder, OTHER);
	/* A time that is not known is none: it is waited for. */
	world.gate.since_ms = 0;
	from_ms = child_now_ms();
	assert_int_equal(ld_gate_take(&world.gate, &user, 30), LD_GATE_TIMEOUT);
	assert_true(child_now_ms() - from_ms >= 28);
}

static void test_a_dead_holders_gate_is_taken_over(void **state)
{
	static const int64_t since[] = { 0, 1, INT64_MAX / 2 };
	struct world world = { .dead = OTHER };
	struct ld_gate_user user = user_of(&world, SELF);

	(void)state;
	for (int i = 0; i < 3; i++) {
		world.gate.holder = OTHER;
		world.gate.since_ms = since[i];
		assert_int_equal(ld_gate_take(&world.gate, &user, 1000), LD_GATE_TAKEN_OVER);
		assert_int_equal(world.gate.holder, SELF);
		ld_gate_leave(&world.gate);
		assert_int_equal(ld_gate_take(&world.gate, &user, 1000), LD_GATE_TAKEN);
		ld_gate_leave(&world.gate);
	}
}

/* Another incarnation of the same place is another number: alive. */
static void test_only_the_dead_number_is_replaced(void **state)
{
	struct world world = { .dead = OTHER };
	struct ld_gate_user user = user_of(&world, SELF);

	(void)state;
	world.gate.holder = OTHER + 65536;
	assert_int_equal(ld_gate_take(&world.gate, &user, 10), LD_GATE_TIMEOUT);
	assert_int_equal(world.gate.holder, OTHER + 65536);
}

/* Nobody asks whether he is alive himself, and nobody takes what he holds already. */
static void test_not_recursive(void **state)
{
	struct world world = { .dead = SELF };
	struct ld_gate_user user = user_of(&world, SELF);

	(void)state;
	assert_int_equal(ld_gate_take(&world.gate, &user, 5), LD_GATE_TAKEN);
	assert_int_equal(ld_gate_take(&world.gate, &user, 5), LD_GATE_TIMEOUT);
	assert_int_equal(world.gate.holder, SELF);
}

/* ---- threads ---- */

struct team {
	struct world world;
	_Atomic uint64_t inside, collisions, timeouts, next;
	uint64_t guarded;       /* written inside the gate only */
};

static void *take_turns(void *arg)
{
	struct team *team = arg;
	struct ld_gate_user user = user_of(&team->world, 10 + atomic_fetch_add(&team->next, 1));

	for (int i = 0; i < ROUNDS; i++) {
		if (ld_gate_take(&team->world.gate, &user, 20000) < 0) {
			team->timeouts++;
			continue;
		}
		team->collisions += atomic_fetch_add(&team->inside, 1) != 0;
		team->guarded++;
		atomic_fetch_sub(&team->inside, 1);
		ld_gate_leave(&team->world.gate);
	}
	return NULL;
}

static void test_threads_take_turns(void **state)
{
	static struct team team;
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_turns, &team), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(team.collisions, 0);
	assert_int_equal(team.timeouts, 0);
	assert_int_equal(team.guarded, THREADS * ROUNDS);
	assert_int_equal(team.world.gate.holder, 0);
}

/* One who takes it again and again, and one who wants it once. */
struct greed {
	struct world world;
	_Atomic int stop, began;
};

static void *take_greedily(void *arg)
{
	struct greed *greed = arg;
	struct ld_gate_user user = user_of(&greed->world, OTHER);

	while (!greed->stop) {
		if (ld_gate_take(&greed->world.gate, &user, 1000) < 0)
			continue;
		greed->began = 1;
		for (int i = 0; i < 2000; i++)
			atomic_signal_fence(memory_order_seq_cst);
		ld_gate_leave(&greed->world.gate);
	}
	return NULL;
}

static void test_the_hungry_are_let_in(void **state)
{
	static struct greed greed;
	struct ld_gate_user user = user_of(&greed.world, SELF);
	unsigned missed = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, take_greedily, &greed), 0);
	assert_true(CHILD_POLL(greed.began != 0));
	for (int i = 0; i < 50; i++) {
		if (ld_gate_take(&greed.world.gate, &user, 1000) < 0)
			missed++;
		else
			ld_gate_leave(&greed.world.gate);
	}
	greed.stop = 1;
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(missed, 0);
}

/* What one who waits too long has said keeps newcomers back for a moment only. */
static void test_an_old_complaint_holds_nobody_back(void **state)
{
	struct world world = { 0 };
	struct ld_gate_user user = user_of(&world, SELF);
	int64_t from_ms = child_now_ms();

	(void)state;
	for (int i = 0; i < 200; i++) {
		world.gate.hungry_ms = ld_clock_boot_ms() - 1000;
		assert_int_equal(ld_gate_take(&world.gate, &user, 5), LD_GATE_TAKEN);
		ld_gate_leave(&world.gate);
	}
	assert_true(child_now_ms() - from_ms < 300);
	world.gate.hungry_ms = ld_clock_boot_ms();
	assert_int_equal(ld_gate_take(&world.gate, &user, 100), LD_GATE_TAKEN);
	ld_gate_leave(&world.gate);
}

/* ---- wake-ups ---- */

struct sleeper {
	struct world world;
	_Atomic int result;
};

static void *wait_for_it(void *arg)
{
	struct sleeper *sleeper = arg;
	struct ld_gate_user user = user_of(&sleeper->world, SELF);

	sleeper->result = 100 + (int)ld_gate_take(&sleeper->world.gate, &user, 10000);
	return NULL;
}

static void test_leaving_wakes_a_sleeper(void **state)
{
	static struct sleeper sleeper;
	struct ld_gate_user holder = user_of(&sleeper.world, OTHER);
	uint32_t woken;
	pthread_t thread;

	(void)state;
	assert_int_equal(ld_gate_take(&sleeper.world.gate, &holder, 1), LD_GATE_TAKEN);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_it, &sleeper), 0);
	assert_true(CHILD_POLL(sleeper.world.gate.waiting != 0));
	assert_int_equal(sleeper.result, 0);
	woken = sleeper.world.gate.wake;
	ld_gate_leave(&sleeper.world.gate);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(sleeper.result, 100 + LD_GATE_TAKEN);
	assert_int_equal(sleeper.world.gate.wake, woken + 1);
	assert_int_equal(sleeper.world.gate.holder, SELF);
	/* The one who slept leaves a sign for others who may sleep too. */
	assert_int_equal(sleeper.world.gate.waiting, 1);
}

static void test_a_sleeper_finds_the_holder_dead(void **state)
{
	static struct sleeper sleeper;
	struct ld_gate_user holder = user_of(&sleeper.world, OTHER);
	pthread_t thread;

	(void)state;
	assert_int_equal(ld_gate_take(&sleeper.world.gate, &holder, 1), LD_GATE_TAKEN);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_it, &sleeper), 0);
	assert_true(CHILD_POLL(sleeper.world.gate.waiting != 0));
	sleeper.world.dead = OTHER;
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(sleeper.result, 100 + LD_GATE_TAKEN_OVER);
	assert_int_equal(sleeper.world.gate.holder, SELF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_taken_and_left),
		cmocka_unit_test(test_a_wait_ends_in_time),
		cmocka_unit_test(test_a_stopped_holder_is_not_waited_for),
		cmocka_unit_test(test_a_dead_holders_gate_is_taken_over),
		cmocka_unit_test(test_only_the_dead_number_is_replaced),
		cmocka_unit_test(test_not_recursive),
		cmocka_unit_test(test_threads_take_turns),
		cmocka_unit_test(test_the_hungry_are_let_in),
		cmocka_unit_test(test_an_old_complaint_holds_nobody_back),
		cmocka_unit_test(test_leaving_wakes_a_sleeper),
		cmocka_unit_test(test_a_sleeper_finds_the_holder_dead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
