/* SPDX-License-Identifier: MIT */
/*
 * Leases through the store: whose they are, what a write or a clear of the key does to them, threads that wait, what is counted and what a tool sees, and a
 * segment that was made anew.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "child.h"
#include "told.h"

enum { LEASE_MS = 60000 };

static int64_t retry_ms;

static enum ld_lease_answer try_with(struct box *box, const char *name, const struct ld_seen *seen, int64_t lease_ms, struct ld_lease *lease)
{
	const struct ld_key key = told_key(box, name);

	retry_ms = -1;
	return ld_store_lease_try(told_store(box), &key, &told_way, seen, lease_ms, lease, &retry_ms);
}

static enum ld_lease_answer try_name(struct box *box, const char *name, struct ld_lease *lease)
{
	return try_with(box, name, NULL, LEASE_MS, lease);
}

static int wait_for(struct box *box, struct ld_lease *lease, int64_t for_ms, enum ld_lease_end *end)
{
	return ld_store_lease_wait(told_store(box), lease, ld_clock_boot_ms() + for_ms, end);
}

static uint64_t counted(struct box *box, enum ld_host_counter which)
{
	struct ld_tallies tallies;

	assert_int_equal(ld_store_tallies(told_store(box), NULL, &tallies), 0);
	return tallies.host[which];
}

static void test_taken_waited_for_and_ended(void **state)
{
	struct box *box = *state;
	enum ld_lease_end end = LD_LEASE_GONE;
	struct ld_lease ours, theirs, other;

	box_open(box, NULL);
	assert_int_equal(try_name(box, "a", &ours), LD_LEASE_TAKEN);
	assert_int_equal(try_name(box, "a", &theirs), LD_LEASE_HELD);
	assert_int_equal(try_name(box, "b", &other), LD_LEASE_TAKEN);
	assert_int_equal(wait_for(box, &theirs, 30, &end), LARDER_E_BUSY);
	/* A time that is over already is no wait at all. */
	assert_int_equal(wait_for(box, &theirs, -1000, &end), LARDER_E_BUSY);
	ld_store_lease_end(told_store(box), &ours, LD_LEASE_STORED, 0);
	assert_int_equal(wait_for(box, &theirs, -1000, &end), 0);
	assert_int_equal(end, LD_LEASE_STORED);
	ld_store_lease_end(told_store(box), &other, LD_LEASE_FAILED, 5000);
	assert_int_equal(try_name(box, "b", &other), LD_LEASE_THROTTLED);
	assert_true(retry_ms > 0 && retry_ms <= 5000);
	assert_int_equal(try_name(box, "a", &ours), LD_LEASE_TAKEN);
	assert_int_equal(ours.stored, 1);
	assert_int_equal(counted(box, LD_HC_leases_taken), 3);
	assert_int_equal(counted(box, LD_HC_lease_waits), 1);
	assert_int_equal(counted(box, LD_HC_lease_throttled), 1);
	assert_int_equal(counted(box, LD_HC_lease_takeovers), 0);
	assert_int_equal(counted(box, LD_HC_leases_full), 0);
}

/* One name of two tenants, or of two spaces, is two keys. */
static void test_keys_are_told_apart(void **state)
{
	struct box *box = *state;
	larder_tenant *tenant;
	struct ld_lease lease;
	struct ld_key key;

	box_open(box, NULL);
	assert_int_equal(try_name(box, "a", &lease), LD_LEASE_TAKEN);
	key = told_key_in(box, box->tenant, "other", "a", 1);
	assert_int_equal(ld_store_lease_try(told_store(box), &key, &told_way, NULL, LEASE_MS, &lease, &retry_ms), LD_LEASE_TAKEN);
	assert_int_equal(larder_tenant_open(box->cache, "globex", &tenant), 0);
	key = told_key_in(box, tenant, BOX_SPACE, "a", 1);
	assert_int_equal(ld_store_lease_try(told_store(box), &key, &told_way, NULL, LEASE_MS, &lease, &retry_ms), LD_LEASE_TAKEN);
	larder_tenant_close(tenant);
}

static void test_time_is_over(void **state)
{
	struct box *box = *state;
	struct ld_lease ours, theirs;
	enum ld_lease_end end;

	box_open(box, NULL);
	assert_int_equal(try_with(box, "a", NULL, 60, &ours), LD_LEASE_TAKEN);
	assert_int_equal(try_with(box, "a", NULL, LEASE_MS, &theirs), LD_LEASE_HELD);
	assert_int_equal(wait_for(box, &theirs, 10000, &end), LARDER_MISS);
	assert_int_equal(try_with(box, "a", NULL, LEASE_MS, &theirs), LD_LEASE_TAKEN);
	ld_store_lease_end(told_store(box), &ours, LD_LEASE_FAILED, 5000);
	assert_int_equal(ld_store_lease_renew(told_store(box), &ours, LEASE_MS), LARDER_MISS);
	assert_int_equal(try_with(box, "a", NULL, LEASE_MS, &ours), LD_LEASE_HELD);
	assert_int_equal(counted(box, LD_HC_lease_takeovers), 1);
	assert_int_equal(ld_store_lease_renew(told_store(box), &theirs, 40), 0);
	assert_int_equal(wait_for(box, &ours, 10000, &end), LARDER_MISS);
}

/* ---- the key is written ---- */

/* A holder's look-up, then `between`; what is the next caller told, who looked before it, and who looks after it? */
static void expect_overtaken(struct box *box, void (*between)(struct box *box), int overtaken)
{
	struct ld_seen seen, later;
	struct ld_lease ours, theirs;

	box_open(box, NULL);
	seen = told_miss(box, "a");
	assert_int_equal(try_with(box, "a", &seen, LEASE_MS, &ours), LD_LEASE_TAKEN);
	assert_int_equal(try_with(box, "a", &seen, LEASE_MS, &theirs), LD_LEASE_HELD);
	between(box);
	assert_int_equal(try_with(box, "a", &seen, LEASE_MS, &theirs), overtaken ? LD_LEASE_NONE : LD_LEASE_HELD);
	later = told_miss(box, "a");
	assert_int_equal(try_with(box, "a", &later, LEASE_MS, &theirs), overtaken ? LD_LEASE_TAKEN : LD_LEASE_HELD);
	assert_int_equal(ld_store_lease_renew(told_store(box), &ours, LEASE_MS), overtaken ? LARDER_MISS : 0);
	assert_int_equal(try_with(box, "a", &seen, LEASE_MS, &theirs), LD_LEASE_HELD);
	assert_int_equal(counted(box, LD_HC_lease_takeovers), overtaken);
	assert_int_equal(counted(box, LD_HC_leases_full), 0);
}

static void delete_it(struct box *box)
{
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), LARDER_MISS);
}

static void set_and_delete_it(struct box *box)
{
	assert_int_equal(untold_set(box, "a", "x"), 0);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), 0);
}

static void clear_space(struct box *box)
{
	assert_int_equal(ld_store_clear(told_store(box), "acme", BOX_SPACE, &told_way), 0);
}

static void clear_tenant(struct box *box)
{
	assert_int_equal(ld_store_clear(told_store(box), "acme", NULL, &told_way), 0);
}

static void clear_all(struct box *box)
{
	assert_int_equal(ld_store_clear(told_store(box), NULL, NULL, &told_way), 0);
}

static void write_another(struct box *box)
{
	assert_int_equal(untold_set(box, "b", "x"), 0);
	assert_int_equal(ld_store_clear(told_store(box), "globex", NULL, &told_way), 0);
}

static void test_overtaken_by_a_delete(void **state)
{
	expect_overtaken(*state, delete_it, 1);
}

static void test_overtaken_by_a_set(void **state)
{
	expect_overtaken(*state, set_and_delete_it, 1);
}

static void test_overtaken_by_a_clear_of_the_space(void **state)
{
	expect_overtaken(*state, clear_space, 1);
}

static void test_overtaken_by_a_clear_of_the_tenant(void **state)
{
	expect_overtaken(*state, clear_tenant, 1);
}

static void test_overtaken_by_a_clear_of_everything(void **state)
{
	expect_overtaken(*state, clear_all, 1);
}

static void test_not_overtaken_by_other_keys(void **state)
{
	expect_overtaken(*state, write_another, 0);
}

/* ---- threads ---- */

struct waiter {
	struct box *box;
	struct ld_lease lease;
	pthread_t thread;
	int result;
	enum ld_lease_end end;
};

static void *wait_in_a_thread(void *arg)
{
	struct waiter *waiter = arg;

	waiter->result = wait_for(waiter->box, &waiter->lease, 20000, &waiter->end);
	return NULL;
}

static struct ld_lease_info look(struct box *box, const char *name)
{
	const struct ld_key key = told_key(box, name);
	struct ld_lease_info info;

	memset(&info, 0, sizeof(info));
	assert_int_equal(ld_store_lease_look(told_store(box), &key, &info), 0);
	return info;
}

/* Threads of the process that holds it wait as anybody does. */
static void test_threads_wait(void **state)
{
	struct box *box = *state;
	struct waiter waiters[4];
	struct ld_lease ours;

	box_open(box, NULL);
	assert_int_equal(try_name(box, "a", &ours), LD_LEASE_TAKEN);
	for (int i = 0; i < 4; i++) {
		waiters[i].box = box;
		assert_int_equal(try_name(box, "a", &waiters[i].lease), LD_LEASE_HELD);
		assert_int_equal(pthread_create(&waiters[i].thread, NULL, wait_in_a_thread, &waiters[i]), 0);
	}
	assert_true(CHILD_POLL(look(box, "a").waiting == 4));
	ld_store_lease_end(told_store(box), &ours, LD_LEASE_UNSTORED, 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(waiters[i].thread, NULL), 0);
		assert_int_equal(waiters[i].result, 0);
		assert_int_equal(waiters[i].end, LD_LEASE_UNSTORED);
	}
	assert_int_equal(look(box, "a").waiting, 0);
}

/* ---- tools ---- */

static void test_look(void **state)
{
	struct box *box = *state;
	struct ld_lease_info info;
	struct ld_lease lease;
	struct ld_seen seen;
	struct ld_key none;

	box_open(box, NULL);
	none = told_key(box, "never");
	seen = told_miss(box, "a");
	assert_int_equal(ld_store_lease_look(told_store(box), &none, &info), LARDER_MISS);
	assert_int_equal(try_with(box, "a", &seen, LEASE_MS, &lease), LD_LEASE_TAKEN);
	info = look(box, "a");
	assert_true(info.held && info.alive && !info.outdated && info.pid == (int32_t)getpid());
	assert_true(info.left_ms > LEASE_MS - 10000 && info.left_ms <= LEASE_MS && info.age_ms < 10000);
	assert_true(info.waiting == 0 && info.throttled_ms == 0 && info.failed_ago_ms == -1);
	delete_it(box);
	assert_int_equal(look(box, "a").outdated, 1);
	ld_store_lease_end(told_store(box), &lease, LD_LEASE_FAILED, 9000);
	info = look(box, "a");
	assert_true(!info.held && info.throttled_ms > 0 && info.throttled_ms <= 9000 && info.failed_ago_ms >= 0 && info.failed_ago_ms < 9000);
}

static void take_and_leave(void *arg)
{
	struct box *box = arg;
	struct ld_lease lease;

	_exit(try_name(box, "a", &lease) == LD_LEASE_TAKEN ? 0 : 1);
}

static void test_look_at_a_dead_holder(void **state)
{
	struct box *box = *state;
	struct ld_lease_info info;
	struct ld_lease lease;

	box_open(box, NULL);
	assert_int_equal(child_run(take_and_leave, box), 0);
	info = look(box, "a");
	assert_true(info.held && !info.alive);
	assert_int_equal(try_name(box, "a", &lease), LD_LEASE_TAKEN);
	assert_int_equal(counted(box, LD_HC_lease_takeovers), 1);
	assert_int_equal(look(box, "a").alive, 1);
}

/* ---- a table that is full; another segment ---- */

static void test_full(void **state)
{
	struct box *box = *state;
	unsigned taken = 0, without = 0;
	struct ld_lease leases[200];
	char name[16];

	box_open(box, (const char *const[]){ "LEASES=64", NULL });
	for (unsigned i = 0; i < 200; i++) {
		enum ld_lease_answer answer;

		(void)snprintf(name, sizeof(name), "n%u", i);
		answer = try_name(box, name, &leases[i]);
		assert_true(answer == LD_LEASE_TAKEN || answer == LD_LEASE_NONE);
		taken += answer == LD_LEASE_TAKEN;
		without += answer == LD_LEASE_NONE;
	}
	assert_int_equal(taken, 64);
	assert_int_equal(without, 136);
	assert_int_equal(counted(box, LD_HC_leases_full), 136);
	assert_int_equal(told_header(box)->params.leases, 64);
}

static void test_another_segment(void **state)
{
	struct box *box = *state;
	struct ld_lease ours, theirs, later;
	enum ld_lease_end end;
	char path[256];
	int64_t made_ms;

	box_open(box, NULL);
	assert_int_equal(try_name(box, "a", &ours), LD_LEASE_TAKEN);
	assert_int_equal(try_name(box, "a", &theirs), LD_LEASE_HELD);
	made_ms = told_header(box)->made_ms;
	(void)snprintf(path, sizeof(path), "%s/larder.seg", box->dir);
	assert_int_equal(unlink(path), 0);
	assert_true(CHILD_POLL(told_header(box)->made_ms != made_ms));
	assert_int_equal(wait_for(box, &theirs, 20000, &end), LARDER_MISS);
	assert_int_equal(try_name(box, "a", &later), LD_LEASE_TAKEN);
	/* The row and the word may be the same: it is of another segment. */
	ours.row = later.row;
	ours.token = later.token;
	ld_store_lease_end(told_store(box), &ours, LD_LEASE_FAILED, 5000);
	assert_int_equal(ld_store_lease_renew(told_store(box), &ours, LEASE_MS), LARDER_MISS);
	assert_int_equal(try_name(box, "a", &theirs), LD_LEASE_HELD);
	assert_int_equal(theirs.token, later.token);
}

/* The store file is made anew: what the holder has seen is of the old one, and is not stored. */
static void test_another_store_file(void **state)
{
	struct box *box = *state;
	struct ld_lease ours, theirs;
	struct ld_seen seen, later;
	uint32_t generation;

	box_open(box, NULL);
	seen = told_miss(box, "a");
	assert_int_equal(try_with(box, "a", &seen, LEASE_MS, &ours), LD_LEASE_TAKEN);
	generation = atomic_load(&told_header(box)->file_generation);
	ld_store_condemn(told_store(box), generation, "a test", 0);
	assert_true(atomic_load(&told_header(box)->file_generation) != generation);
	later = told_miss(box, "a");
	assert_int_equal(try_with(box, "a", &later, LEASE_MS, &theirs), LD_LEASE_TAKEN);
	assert_int_equal(theirs.taken_over, 1);
	/* The one before is in another slot now, and dead to the others. */
	assert_int_equal(ld_store_lease_renew(told_store(box), &ours, LEASE_MS), LARDER_MISS);
}

static int begin(void **state)
{
	return box_begin(state);
}

static int end(void **state)
{
	return box_end(state);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_taken_waited_for_and_ended), TEST(test_keys_are_told_apart), TEST(test_time_is_over), TEST(test_overtaken_by_a_delete),
		TEST(test_overtaken_by_a_set), TEST(test_overtaken_by_a_clear_of_the_space), TEST(test_overtaken_by_a_clear_of_the_tenant),
		TEST(test_overtaken_by_a_clear_of_everything), TEST(test_not_overtaken_by_other_keys), TEST(test_threads_wait), TEST(test_look),
		TEST(test_look_at_a_dead_holder), TEST(test_full), TEST(test_another_segment), TEST(test_another_store_file),
	};

	return cmocka_run_group_tests_name("lease store", tests, NULL, NULL);
}
