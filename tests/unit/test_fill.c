/* SPDX-License-Identifier: MIT */
/*
 * Fills behind the write fence - everything that may happen to a key between the look-up that missed and the fill - and what L2 may hand back: times
 * of clears, of writes that could not be done, of a store that was lost, and how they are forgotten.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>

#include "child.h"
#include "told.h"

static int fill(struct box *box, const char *name, const char *text, const struct ld_seen *seen)
{
	struct ld_key key = told_key(box, name);
	const struct ld_put put = told_put(text);

	/* What comes from L2 is not told to it. */
	key.tell_l2 = 0;
	return ld_store_fill(told_store(box), &key, &told_way, &put, seen);
}

static void expect_fills(struct box *box, uint64_t stored, uint64_t discarded)
{
	struct ld_tallies tallies;

	assert_int_equal(ld_store_tallies(told_store(box), NULL, &tallies), 0);
	assert_int_equal(tallies.host[LD_HC_fills], stored);
	assert_int_equal(tallies.host[LD_HC_fills_discarded], discarded);
}

/* ---- the fence ---- */

static void test_a_fill_is_stored_and_tells_nothing(void **state)
{
	struct box *box = *state;
	struct ld_seen seen;

	box_open(box, NULL);
	seen = told_miss(box, "a");
	assert_int_equal(fill(box, "a", "of L2", &seen), 0);
	assert_true(box_gives(box, "a", 0, "of L2"));
	expect_fills(box, 1, 0);
	told_expect(box, 0, 0, 0, 0, 0, 0);
}

static void test_writes_of_other_keys_do_not_matter(void **state)
{
	struct box *box = *state;
	struct ld_seen seen;

	box_open(box, NULL);
	assert_int_equal(told_set(box, "before", "x"), 0);
	seen = told_miss(box, "a");
	assert_int_equal(told_set(box, "other", "x"), 0);
	assert_int_equal(told_delete(box, "another"), LARDER_MISS);
	assert_int_equal(fill(box, "a", "of L2", &seen), 0);
	assert_true(box_gives(box, "a", 0, "of L2"));
}

static void expect_discarded(struct box *box, const struct ld_seen *seen, int result, const char *text)
{
	assert_int_equal(fill(box, "a", "of L2", seen), LARDER_EXISTS);
	assert_true(box_gives(box, "a", result, text));
	expect_fills(box, 0, 1);
	/* The next miss is as any other. */
	if (result == LARDER_MISS && !told_is_pending(box, "a")) {
		struct ld_seen now = told_miss(box, "a");

		assert_int_equal(fill(box, "a", "newer", &now), 0);
		assert_true(box_gives(box, "a", 0, "newer"));
	}
}

static void test_a_set_between(void **state)
{
	struct box *box = *state;
	struct ld_seen seen;

	box_open(box, NULL);
	seen = told_miss(box, "a");
	assert_int_equal(untold_set(box, "a", "newer"), 0);
	expect_discarded(box, &seen, 0, "newer");
}

static void test_a_delete_of_an_absent_key_between(void **state)
{
	struct box *box = *state;
	struct ld_seen seen;

	box_open(box, NULL);
	seen = told_miss(box, "a");
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), LARDER_MISS);
	expect_discarded(box, &seen, LARDER_MISS, NULL);
}

static void test_a_set_and_a_delete_between(void **state)
{
	struct box *box = *state;
	struct ld_seen seen;

	box_open(box, NULL);
	seen = told_miss(box, "a");
	assert_int_equal(told_set(box, "a", "newer"), 0);
	assert_int_equal(told_delete(box, "a"), 0);
	assert_int_equal(told_settle(box, LD_OUTBOX_ACKNOWLEDGED), 1);
	expect_discarded(box, &seen, LARDER_MISS, NULL);
}

/* Its entry has died and was swept: only the stamp knows of it. */
static void test_a_set_that_is_gone_again_between(void **state)
{
	struct box *box = *state;
	struct ld_put put = told_put("brief");
	struct ld_key key;
	struct ld_seen seen;

	box_open(box, (const char *const[]){ "SWEEP_MS=100", NULL });
	seen = told_miss(box, "a");
	key = untold_key(box, "a");
	put.ttl_ms = 1;
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	assert_true(CHILD_POLL(ld_store_work(told_store(box), 1) == 0 && atomic_load(&told_header(box)->entries) == 0));
	expect_discarded(box, &seen, LARDER_MISS, NULL);
}

static void test_an_add_between(void **state)
{
	struct box *box = *state;
	struct ld_seen seen;

	box_open(box, NULL);
	seen = told_miss(box, "a");
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "a", 1, "added", 5, NULL, NULL), 0);
	expect_discarded(box, &seen, 0, "added");
}

static void test_a_clear_between(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	for (int kind = 0; kind < 3; kind++) {
		struct ld_seen seen = told_miss(box, "a");

		assert_int_equal(kind == 0 ? larder_clear_space(box->tenant, BOX_SPACE, NULL) : kind == 1 ? larder_clear_tenant(box->tenant, NULL) :
		    larder_clear_all(box->cache, NULL), 0);
		assert_int_equal(fill(box, "a", "of L2", &seen), LARDER_EXISTS);
		assert_true(box_gives(box, "a", LARDER_MISS, NULL));
		expect_fills(box, 0, (uint64_t)kind + 1);
	}
}

static void test_a_clear_of_another_space_between(void **state)
{
	struct box *box = *state;
	struct ld_seen seen;

	box_open(box, NULL);
	seen = told_miss(box, "a");
	assert_int_equal(larder_clear_space(box->tenant, "elsewhere", NULL), 0);
	assert_int_equal(fill(box, "a", "of L2", &seen), 0);
}

/* The sweep has removed everything and forgotten the clear: the fill does not come back all the same. */
static void test_a_clear_that_is_forgotten_between(void **state)
{
	struct box *box = *state;
	struct ld_seen seen;

	box_open(box, (const char *const[]){ "SWEEP_MS=100", NULL });
	seen = told_miss(box, "a");
	assert_int_equal(larder_clear_space(box->tenant, BOX_SPACE, NULL), 0);
	assert_true(CHILD_POLL(ld_store_work(told_store(box), 1) == 0 && atomic_load(&told_header(box)->clears_forgotten) != 0));
	expect_discarded(box, &seen, LARDER_MISS, NULL);
}

static void test_another_fill_between(void **state)
{
	struct box *box = *state;
	struct ld_seen seen, later;

	box_open(box, NULL);
	seen = told_miss(box, "a");
	later = told_miss(box, "a");
	assert_int_equal(fill(box, "a", "first", &later), 0);
	assert_int_equal(fill(box, "a", "second", &seen), LARDER_EXISTS);
	assert_true(box_gives(box, "a", 0, "first"));
	expect_fills(box, 1, 1);
}

static void test_a_pending_row_refuses_a_fill(void **state)
{
	struct box *box = *state;
	struct ld_seen seen;

	box_open(box, NULL);
	assert_int_equal(told_delete(box, "a"), LARDER_MISS);
	/* It was seen, but L2 was not told. */
	seen = told_miss(box, "a");
	assert_int_equal(fill(box, "a", "of L2", &seen), LARDER_EXISTS);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	assert_int_equal(told_settle(box, LD_OUTBOX_ACKNOWLEDGED), 1);
	assert_int_equal(fill(box, "a", "of L2", &seen), 0);
	told_expect(box, 1, 1, 0, 0, 0, 0);
}

static void test_a_write_that_could_not_be_done_between(void **state)
{
	struct box *box = *state;
	struct ld_seen seen;
	struct ld_key key;

	box_open(box, NULL);
	key = told_key(box, "a");
	seen = told_miss(box, "a");
	ld_raise_barrier(&told_store(box)->seg, &key);
	expect_discarded(box, &seen, LARDER_MISS, NULL);
}

/* A clear from outside, of a process that cannot get in. */
static void test_a_clear_that_could_not_get_in_between(void **state)
{
	struct box *box = *state;
	struct ld_seg_header *h;
	struct ld_seen seen;

	box_open(box, (const char *const[]){ "WRITE_WAIT_MS=5", NULL });
	h = told_header(box);
	seen = told_miss(box, "a");
	atomic_store(&h->write_gate.holder, told_store(box)->seg.self);
	assert_int_equal(larder_clear_tenant(box->tenant, NULL), LARDER_E_BUSY);
	atomic_store(&h->write_gate.holder, 0);
	assert_false(told_admits(box, "a", ld_clock_wall_ms() - 1000, 0));
	expect_discarded(box, &seen, LARDER_MISS, NULL);
}

static void test_a_fill_without_a_look_is_discarded(void **state)
{
	const struct ld_seen nothing = { 0, 0 };
	struct box *box = *state;
	struct ld_seen seen;

	box_open(box, NULL);
	assert_int_equal(fill(box, "a", "of L2", &nothing), LARDER_EXISTS);
	seen = told_miss(box, "a");
	seen.segment++;
	assert_int_equal(fill(box, "a", "of L2", &seen), LARDER_EXISTS);
}

static void test_a_fill_while_off_is_not_stored(void **state)
{
	struct box *box = *state;
	struct ld_seen seen;

	box_open(box, NULL);
	seen = told_miss(box, "a");
	assert_int_equal(ld_store_switch(told_store(box), 0), 0);
	assert_int_equal(fill(box, "a", "of L2", &seen), LARDER_UNAVAILABLE);
	assert_int_equal(ld_store_switch(told_store(box), 1), 0);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	expect_fills(box, 0, 0);
}

static void test_a_fill_of_another_generation_is_discarded(void **state)
{
	struct box *box = *state;
	struct ld_seen seen;

	box_open(box, NULL);
	seen = told_miss(box, "a");
	ld_store_condemn(told_store(box), told_store(box)->env.generation, "for the test", 0);
	expect_discarded(box, &seen, LARDER_MISS, NULL);
}

#ifdef LARDER_FAULTS
static void test_a_touch_between_keeps_the_stale_value(void **state)
{
	struct box *box = *state;
	struct ld_put put = told_put("stale");
	struct ld_key key;
	struct ld_found found;

	box_open(box, NULL);
	key = untold_key(box, "a");
	put.stale_ms = TOLD_HOUR;
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	atomic_fetch_add(&box->plan->boot_shift_ms, TOLD_HOUR + 1000);
	assert_int_equal(told_look(box, "a", &found), LARDER_STALE);
	assert_int_equal(told_touch(box, &key, TOLD_HOUR, 0), 0);
	expect_discarded(box, &found.seen, 0, "stale");
}

static void test_a_fill_refreshes_a_stale_value(void **state)
{
	struct box *box = *state;
	struct ld_put put = told_put("stale");
	struct ld_key key;
	struct ld_found found;

	box_open(box, NULL);
	key = untold_key(box, "a");
	put.stale_ms = TOLD_HOUR;
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	atomic_fetch_add(&box->plan->boot_shift_ms, TOLD_HOUR + 1000);
	assert_int_equal(told_look(box, "a", &found), LARDER_STALE);
	assert_int_equal(fill(box, "a", "fresh", &found.seen), 0);
	assert_true(box_gives(box, "a", 0, "fresh"));
}

/* A writer that is in the gate when the look is made, and commits later, is above what was seen. */
static void test_a_failed_commit_between(void **state)
{
	struct box *box = *state;
	struct ld_seen seen;

	box_open(box, NULL);
	seen = told_miss(box, "a");
	box->plan->error = ENOSPC;
	box->plan->point = LD_FAULT_txn_commit;
	box->plan->action = LD_FAULT_ERROR;
	box->plan->countdown = 1;
	assert_int_equal(told_set(box, "a", "newer"), LARDER_UNAVAILABLE);
	box->plan->action = LD_FAULT_NOTHING;
	assert_int_equal(fill(box, "a", "of L2", &seen), LARDER_EXISTS);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
}

static void test_a_fill_that_cannot_commit_raises_no_barrier(void **state)
{
	struct box *box = *state;
	struct ld_seen seen;

	box_open(box, NULL);
	seen = told_miss(box, "a");
	box->plan->error = ENOSPC;
	box->plan->point = LD_FAULT_txn_commit;
	box->plan->action = LD_FAULT_ERROR;
	box->plan->countdown = 1;
	assert_int_equal(fill(box, "a", "of L2", &seen), LARDER_UNAVAILABLE);
	box->plan->action = LD_FAULT_NOTHING;
	assert_true(told_admits(box, "a", 0, 0));
	assert_int_equal(fill(box, "a", "of L2", &seen), 0);
	assert_true(box_gives(box, "a", 0, "of L2"));
}
#endif

/* ---- what L2 may hand back ---- */

static void test_clears_refuse_what_is_older(void **state)
{
	struct box *box = *state;
	larder_tenant *other;
	struct ld_key elsewhere, others;
	int64_t wall_ms;

	box_open(box, NULL);
	assert_int_equal(larder_tenant_open(box->cache, "other", &other), 0);
	elsewhere = told_key_in(box, box->tenant, "elsewhere", "a", 1);
	others = told_key_in(box, other, BOX_SPACE, "a", 1);
	assert_true(told_admits(box, "a", 0, 1000) && told_admits(box, "a", 1, 1000));
	assert_int_equal(larder_clear_space(box->tenant, BOX_SPACE, NULL), 0);
	wall_ms = ld_clock_wall_ms();
	assert_false(told_admits(box, "a", 0, 1000));
	assert_false(told_admits(box, "a", wall_ms - 5000, 1000));
	assert_false(told_admits(box, "a", wall_ms + 500, 1000));
	assert_true(told_admits(box, "a", wall_ms + 1001, 1000));
	assert_true(told_admits_of(box, &elsewhere, 0, 1000));
	assert_true(told_admits_of(box, &others, 0, 1000));
	assert_int_equal(larder_clear_tenant(box->tenant, NULL), 0);
	assert_false(told_admits_of(box, &elsewhere, 0, 1000));
	assert_true(told_admits_of(box, &others, 0, 1000));
	assert_int_equal(larder_clear_all(box->cache, NULL), 0);
	assert_false(told_admits_of(box, &others, wall_ms - 1, 0));
	larder_tenant_close(other);
}

static void test_any_time_may_be_asked_for(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	assert_int_equal(larder_clear_all(box->cache, NULL), 0);
	assert_true(told_admits(box, "a", INT64_MAX, 0));
	assert_false(told_admits(box, "a", INT64_MAX, INT64_MAX));
	assert_false(told_admits(box, "a", INT64_MIN, 0));
	assert_false(told_admits(box, "a", INT64_MIN, INT64_MAX));
	assert_true(told_admits(box, "a", INT64_MAX, INT64_MIN));
}

/* More spaces than the table has room for: then the tenant's. */
static void test_spaces_beyond_the_table(void **state)
{
	enum { SPACES = 6000 };
	struct box *box = *state;
	char space[32];

	box_open(box, (const char *const[]){ "SIZE=16M", NULL });
	for (unsigned i = 0; i < SPACES; i++) {
		snprintf(space, sizeof(space), "space-%u", i);
		assert_int_equal(larder_clear_space(box->tenant, space, NULL), 0);
	}
	for (unsigned i = 0; i < SPACES; i += 97) {
		struct ld_key key;

		snprintf(space, sizeof(space), "space-%u", i);
		key = told_key_in(box, box->tenant, space, "a", 1);
		assert_false(told_admits_of(box, &key, 0, 0));
	}
}

static void test_a_store_made_anew_refuses_what_is_older(void **state)
{
	struct box *box = *state;
	int64_t wall_ms;

	box_open(box, NULL);
	assert_int_equal(told_delete(box, "a"), LARDER_MISS);
	assert_true(told_admits(box, "a", 0, 0));
	wall_ms = ld_clock_wall_ms();
	ld_store_condemn(told_store(box), told_store(box)->env.generation, "for the test", 0);
	assert_false(told_admits(box, "a", 0, 0));
	assert_false(told_admits(box, "a", wall_ms - 1, 0));
	assert_true(told_admits(box, "a", ld_clock_wall_ms() + 5, 0));
	told_expect(box, 0, 0, 0, 0, 0, 0);
}

static void test_a_segment_that_was_removed_is_a_loss(void **state)
{
	struct box *box = *state;
	char path[256];

	box_open(box, NULL);
	assert_int_equal(told_delete(box, "a"), LARDER_MISS);
	box_close(box);
	/* Left as it is, it is as it was. */
	box_open(box, NULL);
	told_expect(box, 1, 0, 0, 0, 0, 1);
	assert_true(told_admits(box, "a", 0, 0));
	box_close(box);
	assert_int_equal(unlink(box_path(box, "larder.seg", path)), 0);
	box_open(box, NULL);
	told_expect(box, 0, 0, 0, 0, 0, 0);
	assert_false(told_admits(box, "a", 0, 0));
	assert_true(told_admits(box, "a", ld_clock_wall_ms() + 5, 0));
}

static void test_a_new_cache_refuses_nothing(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	assert_true(told_admits(box, "a", 0, 0));
	assert_true(told_admits(box, "a", 1, 0));
	assert_int_equal(told_header(box)->l2_raised_ms, 0);
}

/* One that cannot attach asks the segment from outside. */
static void ask_without_a_slot(void *arg)
{
	struct box *box = arg;
	struct ld_store *store = told_store(box);

	CHILD_CHECK(ld_store_attach(store) == LARDER_UNAVAILABLE);
	CHILD_CHECK(!told_admits(box, "a", 1, 0));
	CHILD_CHECK(told_admits(box, "a", ld_clock_wall_ms() + 5, 0));
}

/* Those that hold slots, and how many have theirs; shared. */
struct holders {
	struct box *box;
	pid_t parent;
	_Atomic unsigned ready;
};

static void hold_a_slot(void *arg)
{
	struct holders *holders = arg;

	/* A test that fails leaves none of them behind. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHILD_CHECK(getppid() == holders->parent);
	CHILD_CHECK(CHILD_POLL(ld_store_attach(told_store(holders->box)) == 0));
	atomic_fetch_add(&holders->ready, 1);
	for (;;)
		(void)pause();
}

static void test_one_without_a_slot_asks_too(void **state)
{
	struct holders *holders = child_share(sizeof(*holders));
	struct box *box = *state;
	pid_t pids[64];
	unsigned count = 0;
	int asked;

	box_open(box, (const char *const[]){ "WORKERS=4", NULL });
	assert_int_equal(larder_clear_all(box->cache, NULL), 0);
	holders->box = box;
	holders->parent = getpid();
	for (; count < told_header(box)->params.slots - 1; count++)
		pids[count] = child_start(hold_a_slot, holders);
	asked = CHILD_POLL(atomic_load(&holders->ready) == count) ? child_run(ask_without_a_slot, box) : -1;
	while (count-- > 0) {
		assert_int_equal(kill(pids[count], SIGKILL), 0);
		assert_int_equal(child_end(pids[count]), 256 + SIGKILL);
	}
	assert_int_equal(asked, 0);
	(void)munmap(holders, sizeof(*holders));
}

#ifdef LARDER_FAULTS
static void travel(struct box *box, int64_t by_ms)
{
	atomic_fetch_add(&box->plan->boot_shift_ms, by_ms);
	atomic_fetch_add(&box->plan->wall_shift_ms, by_ms);
	assert_int_equal(ld_store_work(told_store(box), 1), 0);
}

static void test_times_are_forgotten_when_they_are_over(void **state)
{
	struct box *box = *state;
	struct ld_key elsewhere;

	box_open(box, (const char *const[]){ "L2_TTL_MAX=10m", NULL });
	elsewhere = told_key_in(box, box->tenant, "elsewhere", "a", 1);
	assert_int_equal(larder_clear_space(box->tenant, BOX_SPACE, NULL), 0);
	travel(box, 300000);
	assert_int_equal(larder_clear_space(box->tenant, "elsewhere", NULL), 0);
	travel(box, 299000);
	assert_false(told_admits(box, "a", 0, 0));
	travel(box, 40000);
	assert_true(told_admits(box, "a", 0, 0));
	assert_false(told_admits_of(box, &elsewhere, 0, 0));
	travel(box, 300000);
	assert_true(told_admits_of(box, &elsewhere, 0, 0));
}

static void test_tenants_and_everything_are_forgotten(void **state)
{
	struct box *box = *state;

	box_open(box, (const char *const[]){ "L2_TTL_MAX=10m", NULL });
	assert_int_equal(larder_clear_tenant(box->tenant, NULL), 0);
	travel(box, 120000);
	assert_int_equal(larder_clear_all(box->cache, NULL), 0);
	travel(box, 500000);
	assert_false(told_admits(box, "a", 0, 0));
	travel(box, 200000);
	assert_true(told_admits(box, "a", 0, 0));
	travel(box, 700000);
	assert_int_equal(told_header(box)->l2_raised_ms, 0);
	/* A time that is raised again counts from then. */
	assert_int_equal(larder_clear_tenant(box->tenant, NULL), 0);
	travel(box, 590000);
	assert_int_equal(larder_clear_tenant(box->tenant, NULL), 0);
	travel(box, 590000);
	assert_false(told_admits(box, "a", 0, 0));
}

/* What has no row is forgotten when nothing was raised for so long. */
static void test_times_without_a_row_are_forgotten(void **state)
{
	struct box *box = *state;
	struct ld_key key;

	box_open(box, (const char *const[]){ "L2_TTL_MAX=10m", NULL });
	key = told_key(box, "a");
	told_header(box);
	ld_raise_barrier(&told_store(box)->seg, &key);
	ld_invalid_raise(&told_store(box)->seg, "acme", NULL);
	travel(box, 400000);
	assert_int_equal(larder_clear_space(box->tenant, "elsewhere", NULL), 0);
	travel(box, 400000);
	assert_false(told_admits(box, "a", 0, 0));
	assert_false(told_admits(box, "b", 0, 0));
	travel(box, 300000);
	assert_true(told_admits(box, "a", 0, 0));
	assert_true(told_admits(box, "b", 0, 0));
	assert_int_equal(told_header(box)->l2_raised_ms, 0);
}
#endif

#define IN_A_BOX(test) cmocka_unit_test_setup_teardown(test, box_begin, box_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_BOX(test_a_fill_is_stored_and_tells_nothing),
		IN_A_BOX(test_writes_of_other_keys_do_not_matter),
		IN_A_BOX(test_a_set_between),
		IN_A_BOX(test_a_delete_of_an_absent_key_between),
		IN_A_BOX(test_a_set_and_a_delete_between),
		IN_A_BOX(test_a_set_that_is_gone_again_between),
		IN_A_BOX(test_an_add_between),
		IN_A_BOX(test_a_clear_between),
		IN_A_BOX(test_a_clear_of_another_space_between),
		IN_A_BOX(test_a_clear_that_is_forgotten_between),
		IN_A_BOX(test_another_fill_between),
		IN_A_BOX(test_a_pending_row_refuses_a_fill),
		IN_A_BOX(test_a_write_that_could_not_be_done_between),
		IN_A_BOX(test_a_clear_that_could_not_get_in_between),
		IN_A_BOX(test_a_fill_without_a_look_is_discarded),
		IN_A_BOX(test_a_fill_while_off_is_not_stored),
		IN_A_BOX(test_a_fill_of_another_generation_is_discarded),
#ifdef LARDER_FAULTS
		IN_A_BOX(test_a_touch_between_keeps_the_stale_value),
		IN_A_BOX(test_a_fill_refreshes_a_stale_value),
		IN_A_BOX(test_a_failed_commit_between),
		IN_A_BOX(test_a_fill_that_cannot_commit_raises_no_barrier),
#endif
		IN_A_BOX(test_clears_refuse_what_is_older),
		IN_A_BOX(test_any_time_may_be_asked_for),
		IN_A_BOX(test_spaces_beyond_the_table),
		IN_A_BOX(test_a_store_made_anew_refuses_what_is_older),
		IN_A_BOX(test_a_segment_that_was_removed_is_a_loss),
		IN_A_BOX(test_a_new_cache_refuses_nothing),
		IN_A_BOX(test_one_without_a_slot_asks_too),
#ifdef LARDER_FAULTS
		IN_A_BOX(test_times_are_forgotten_when_they_are_over),
		IN_A_BOX(test_tenants_and_everything_are_forgotten),
		IN_A_BOX(test_times_without_a_row_are_forgotten),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
