/* SPDX-License-Identifier: MIT */
/*
 * Time: entries live to the millisecond, stale windows, hard ends, and clocks that jump. The build with fault points moves the clocks;
 * as shipped, only what needs no moving is tested, in real milliseconds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cache.h"
#include "child.h"
#include "leave_out.h"

#define DAY_MS INT64_C(86400000)

static int set_for(struct box *box, const char *name, int64_t ttl_ms, int64_t stale_ms, int64_t hard_end_ms)
{
	struct larder_store store = LARDER_STORE_INIT;

	store.ttl_ms = ttl_ms;
	store.stale_ms = stale_ms;
	store.hard_end_ms = hard_end_ms;
	return larder_set(box->tenant, BOX_SPACE, name, strlen(name), name, strlen(name), &store, NULL);
}

static void test_a_short_life_ends_in_real_time(void **state)
{
	struct box *box = *state;
	struct larder_value value;
	int64_t set_ms, got_ms;
	int rc;

	box_open(box, NULL);
	set_ms = child_now_ms();
	assert_int_equal(set_for(box, "a", 50, 30, 0), 0);
	assert_true(CHILD_POLL(larder_exists(box->tenant, BOX_SPACE, "a", 1, NULL) != 0));
	got_ms = child_now_ms();
	/* Two clocks that tick at different moments: a millisecond less. */
	assert_true(got_ms - set_ms >= 49);
	rc = larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, &value);
	assert_true(rc == LARDER_STALE || rc == LARDER_MISS);
	if (rc == LARDER_STALE) {
		assert_in_range(value.age_ms, 50, 79);
		assert_true(value.fresh_ms <= 0 && value.fresh_ms > -30 && value.left_ms > 0 && value.left_ms == value.fresh_ms + 30);
		assert_int_equal(value.state, LARDER_STALE);
		larder_value_free(&value);
	}
	assert_true(CHILD_POLL(larder_exists(box->tenant, BOX_SPACE, "a", 1, NULL) == LARDER_MISS));
	assert_true(child_now_ms() - set_ms >= 79);
}

#ifdef LARDER_FAULTS

/*
 * Time as the test wants it: the boot clock is held still by taking away from its shift what has passed. The call itself
 * takes less than a millisecond as a rule; where a tick falls between, the step is done again.
 */
struct frozen {
	struct box *box;
	int64_t boot_ms;      /* what ld_clock_boot_ms() shall return */
};

static void show(struct frozen *frozen, int64_t boot_ms)
{
	struct ld_fault_plan *plan = frozen->box->plan;

	frozen->boot_ms = boot_ms;
	do
		atomic_fetch_add(&plan->boot_shift_ms, boot_ms - ld_clock_boot_ms());
	while (ld_clock_boot_ms() != boot_ms);
}

static struct frozen freeze(struct box *box)
{
	struct frozen frozen = { box, 0 };

	show(&frozen, ld_clock_boot_ms() + 1000);
	return frozen;
}

static int set_at(struct frozen *frozen, const char *name, int64_t ttl_ms, int64_t stale_ms)
{
	int64_t at_ms = frozen->boot_ms;
	int rc;

	do {
		show(frozen, at_ms);
		rc = set_for(frozen->box, name, ttl_ms, stale_ms, 0);
	} while (ld_clock_boot_ms() != at_ms);
	return rc;
}

/* What a get gives at exactly this time; its times too. */
static int get_at(struct frozen *frozen, int64_t at_ms, const char *name, struct larder_value *ret_value)
{
	for (;;) {
		int rc;

		show(frozen, at_ms);
		memset(ret_value, 0, sizeof(*ret_value));
		rc = larder_get(frozen->box->tenant, BOX_SPACE, name, strlen(name), NULL, ret_value);
		if (rc == 0 || rc == LARDER_STALE) {
			free(ret_value->data);
			ret_value->data = NULL;
		}
		if (ld_clock_boot_ms() == at_ms)
			return rc;
	}
}

static void test_life_ends_to_the_millisecond(void **state)
{
	struct frozen frozen;
	struct box *box = *state;
	struct larder_value value;
	int64_t from;

	box_open(box, NULL);
	frozen = freeze(box);
	from = frozen.boot_ms;
	assert_int_equal(set_at(&frozen, "a", 5000, 0), 0);
	assert_int_equal(get_at(&frozen, from, "a", &value), 0);
	assert_true(value.age_ms == 0 && value.fresh_ms == 5000 && value.left_ms == 5000);
	assert_int_equal(get_at(&frozen, from + 4999, "a", &value), 0);
	assert_true(value.age_ms == 4999 && value.fresh_ms == 1 && value.left_ms == 1);
	assert_int_equal(get_at(&frozen, from + 5000, "a", &value), LARDER_MISS);
	assert_int_equal(get_at(&frozen, from + 4999, "a", &value), 0);
}

static void test_the_stale_window_ends_to_the_millisecond(void **state)
{
	struct frozen frozen;
	struct box *box = *state;
	struct larder_value value;
	int64_t from;

	box_open(box, NULL);
	frozen = freeze(box);
	from = frozen.boot_ms;
	assert_int_equal(set_at(&frozen, "a", 1, 700), 0);
	assert_int_equal(get_at(&frozen, from, "a", &value), 0);
	assert_int_equal(get_at(&frozen, from + 1, "a", &value), LARDER_STALE);
	assert_true(value.state == LARDER_STALE && value.fresh_ms == 0 && value.left_ms == 700);
	assert_int_equal(get_at(&frozen, from + 700, "a", &value), LARDER_STALE);
	assert_true(value.fresh_ms == -699 && value.left_ms == 1 && value.age_ms == 700);
	assert_int_equal(get_at(&frozen, from + 701, "a", &value), LARDER_MISS);
}

static void test_the_longest_life_is_ten_years(void **state)
{
	struct frozen frozen;
	struct box *box = *state;
	struct larder_value value;
	int64_t from;

	box_open(box, NULL);
	frozen = freeze(box);
	from = frozen.boot_ms;
	assert_int_equal(set_at(&frozen, "a", LARDER_TTL_MAX_MS, LARDER_TTL_MAX_MS), 0);
	assert_int_equal(get_at(&frozen, from + LARDER_TTL_MAX_MS - 1, "a", &value), 0);
	assert_int_equal(get_at(&frozen, from + LARDER_TTL_MAX_MS, "a", &value), LARDER_STALE);
	assert_int_equal(get_at(&frozen, from + 2 * LARDER_TTL_MAX_MS - 1, "a", &value), LARDER_STALE);
	assert_int_equal(get_at(&frozen, from + 2 * LARDER_TTL_MAX_MS, "a", &value), LARDER_MISS);
}

static void test_absence_has_no_stale_window(void **state)
{
	struct frozen frozen;
	struct box *box = *state;
	struct larder_value value;
	int64_t from;

	box_open(box, (const char *const[]){ "NEGATIVE_TTL=3s", "STALE=1h", NULL });
	frozen = freeze(box);
	from = frozen.boot_ms;
	assert_int_equal(larder_set_absent(box->tenant, BOX_SPACE, "a", 1, NULL, NULL), 0);
	assert_int_equal(get_at(&frozen, from + 2999, "a", &value), LARDER_ABSENT);
	assert_int_equal(get_at(&frozen, from + 4000, "a", &value), LARDER_MISS);
}

static void test_touch_counts_from_now_and_revives_nothing(void **state)
{
	struct frozen frozen;
	struct box *box = *state;
	struct larder_value value;
	int64_t from;

	box_open(box, NULL);
	frozen = freeze(box);
	from = frozen.boot_ms;
	assert_int_equal(set_at(&frozen, "a", 1000, 500), 0);
	show(&frozen, from + 1200);
	assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "a", 1, 60000, 0, NULL), 0);
	assert_int_equal(get_at(&frozen, from + 61000, "a", &value), 0);
	assert_int_equal(value.age_ms, 61000);
	assert_int_equal(get_at(&frozen, from + 62000, "a", &value), LARDER_MISS);
	assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "a", 1, 60000, 0, NULL), LARDER_MISS);
	assert_int_equal(get_at(&frozen, from + 62000, "a", &value), LARDER_MISS);
}

static void test_a_stale_entry_is_no_obstacle_to_an_add(void **state)
{
	struct frozen frozen;
	struct box *box = *state;

	box_open(box, NULL);
	frozen = freeze(box);
	assert_int_equal(set_at(&frozen, "a", 1000, 60000), 0);
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "a", 1, "new", 3, NULL, NULL), LARDER_EXISTS);
	show(&frozen, frozen.boot_ms + 2000);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "a", 1, NULL), LARDER_STALE);
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "a", 1, "new", 3, NULL, NULL), 0);
	assert_true(box_gives(box, "a", 0, "new"));
	/* A stale one is there to be deleted, a dead one is not. */
	assert_int_equal(set_at(&frozen, "b", 1000, 60000), 0);
	assert_int_equal(set_at(&frozen, "c", 1000, 0), 0);
	show(&frozen, frozen.boot_ms + 2000);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "b", 1, NULL), 0);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "c", 1, NULL), LARDER_MISS);
}

static void test_the_hard_end_follows_the_wall_clock(void **state)
{
	struct box *box = *state;
	int64_t end_ms;

	box_open(box, NULL);
	end_ms = ld_clock_wall_ms() + 3600000;
	assert_int_equal(set_for(box, "ends", 5 * DAY_MS, 5 * DAY_MS, end_ms), 0);
	assert_int_equal(set_for(box, "lives", 3600000, 0, 0), 0);
	box->plan->wall_shift_ms = DAY_MS;
	assert_true(box_gives(box, "ends", LARDER_MISS, NULL));
	assert_true(box_gives(box, "lives", 0, "lives"));
	/* Set back: it has not come yet; nothing was removed that would have to come back. */
	box->plan->wall_shift_ms = -DAY_MS;
	assert_true(box_gives(box, "ends", 0, "ends"));
	assert_true(box_gives(box, "lives", 0, "lives"));
	/* The boot clock does not move a hard end, but ends the life. */
	box->plan->wall_shift_ms = 0;
	box->plan->boot_shift_ms = DAY_MS;
	assert_true(box_gives(box, "ends", 0, "ends"));
	assert_true(box_gives(box, "lives", LARDER_MISS, NULL));
	box->plan->boot_shift_ms = 11 * DAY_MS;
	assert_true(box_gives(box, "ends", LARDER_MISS, NULL));
}

static void test_the_hard_end_is_exact(void **state)
{
	struct box *box = *state;
	int64_t end_ms, real_ms;

	box_open(box, NULL);
	real_ms = ld_clock_wall_ms();
	end_ms = real_ms + 10 * DAY_MS;
	assert_int_equal(set_for(box, "a", 60 * DAY_MS, 60 * DAY_MS, end_ms), 0);
	/* A few seconds before it is served, fresh; at any time after it is not, whatever TTL and stale window say. */
	box->plan->wall_shift_ms = 10 * DAY_MS - 10000;
	assert_true(box_gives(box, "a", 0, "a"));
	do
		atomic_fetch_add(&box->plan->wall_shift_ms, end_ms - ld_clock_wall_ms());
	while (ld_clock_wall_ms() < end_ms);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "a", 1, DAY_MS, 0, NULL), LARDER_MISS);
	/* Neither does touching it earlier carry it past its end. */
	box->plan->wall_shift_ms = 0;
	assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "a", 1, 90 * DAY_MS, 90 * DAY_MS, NULL), 0);
	assert_true(box_gives(box, "a", 0, "a"));
	box->plan->wall_shift_ms = 10 * DAY_MS + 10000;
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
}

static void test_a_wall_clock_step_moves_no_life(void **state)
{
	static const int64_t steps[] = { DAY_MS, -DAY_MS };
	struct box *box = *state;
	struct larder_value value;
	struct frozen frozen;
	int64_t from;

	box_open(box, NULL);
	frozen = freeze(box);
	from = frozen.boot_ms;
	for (int i = 0; i < 2; i++, from += 10000) {
		show(&frozen, from);
		assert_int_equal(set_at(&frozen, "a", 2000, 1000), 0);
		box->plan->wall_shift_ms += steps[i];
		assert_int_equal(get_at(&frozen, from + 1999, "a", &value), 0);
		assert_int_equal(get_at(&frozen, from + 2000, "a", &value), LARDER_STALE);
		assert_int_equal(get_at(&frozen, from + 3000, "a", &value), LARDER_MISS);
	}
}

static void test_a_quick_sweep_takes_only_the_dead(void **state)
{
	struct larder_stats stats = { .size = sizeof(stats) };
	struct box *box = *state;
	struct frozen frozen;

	box_open(box, NULL);
	box_inspect(box);
	frozen = freeze(box);
	assert_int_equal(set_at(&frozen, "fresh", 100000, 0), 0);
	assert_int_equal(set_at(&frozen, "stale", 1000, 100000), 0);
	assert_int_equal(set_at(&frozen, "dead", 1000, 1000), 0);
	assert_int_equal(set_for(box, "ended", 100000, 0, ld_clock_wall_ms() + 1000), 0);
	box->plan->wall_shift_ms = 5000;
	show(&frozen, frozen.boot_ms + 5000);
	for (int i = 0; i < 20 && stats.expiries < 2; i++) {
		assert_int_equal(larder_inspect_work(box->inspector, 1), 0);
		assert_int_equal(larder_get_stats(box->cache, &stats), 0);
		box->plan->boot_shift_ms += 61000 / 20;
	}
	assert_int_equal(stats.expiries, 2);
	assert_int_equal(stats.entries, 2);
	assert_true(box_gives(box, "fresh", 0, "fresh"));
	assert_true(box_gives(box, "stale", LARDER_STALE, "stale"));
}

#endif

#define WITH_BOX(test) cmocka_unit_test_setup_teardown(test, box_begin, box_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BOX(test_a_short_life_ends_in_real_time),
#ifdef LARDER_FAULTS
		WITH_BOX(test_life_ends_to_the_millisecond),
		WITH_BOX(test_the_stale_window_ends_to_the_millisecond),
		WITH_BOX(test_the_longest_life_is_ten_years),
		WITH_BOX(test_absence_has_no_stale_window),
		WITH_BOX(test_touch_counts_from_now_and_revives_nothing),
		WITH_BOX(test_a_stale_entry_is_no_obstacle_to_an_add),
		WITH_BOX(test_the_hard_end_follows_the_wall_clock),
		WITH_BOX(test_the_hard_end_is_exact),
		WITH_BOX(test_a_wall_clock_step_moves_no_life),
		WITH_BOX(test_a_quick_sweep_takes_only_the_dead),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
