/* SPDX-License-Identifier: MIT */
/*
 * Off and on: by setting, by share of the keys, and by the inspector's switch for all processes at once. While off gets miss and sets
 * are not stored, but whatever was set or deleted meanwhile is not served when the cache is on again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache.h"
#include "child.h"

enum { KEYS = 2000 };

/* What is changed while off; all keys had "old" before. */
static void change_while_off(struct box *box)
{
	struct larder_item items[2] = { { BOX_SPACE, "many-1", 6, 0, { 0 } }, { BOX_SPACE, "many-2", 6, 0, { 0 } } };
	larder_tenant *t = box->tenant;

	assert_true(box_gives(box, "kept", LARDER_MISS, NULL));
	assert_int_equal(larder_exists(t, BOX_SPACE, "kept", 4, NULL), LARDER_MISS);
	assert_int_equal(larder_mget(t, items, 2, NULL), 0);
	assert_true(items[0].result == LARDER_MISS && items[1].result == LARDER_MISS);
	assert_int_equal(box_set(box, "set", "new"), LARDER_UNAVAILABLE);
	assert_int_equal(larder_reason(), LARDER_REASON_OFF);
	assert_int_equal(larder_set_absent(t, BOX_SPACE, "absent", 6, NULL, NULL), LARDER_UNAVAILABLE);
	assert_int_equal(larder_reason(), LARDER_REASON_OFF);
	assert_int_equal(larder_add(t, BOX_SPACE, "add", 3, "new", 3, NULL, NULL), LARDER_E_BUSY);
	assert_int_equal(larder_touch(t, BOX_SPACE, "touch", 5, 3600000, 0, NULL), LARDER_MISS);
	assert_int_equal(larder_delete(t, BOX_SPACE, "delete", 6, NULL), 0);
	assert_int_equal(larder_delete(t, BOX_SPACE, "none", 4, NULL), LARDER_MISS);
	assert_int_equal(larder_delete_many(t, items, 2, NULL), 0);
	assert_int_equal(larder_clear_space(t, "cleared", NULL), 0);
	assert_int_equal(box_set(box, "fresh", "new"), LARDER_UNAVAILABLE);
}

static void set_before(struct box *box)
{
	static const char *const names[] = { "kept", "set", "absent", "delete", "many-1", "many-2", "touch" };

	for (int i = 0; i < 7; i++)
		assert_int_equal(box_set(box, names[i], "old"), 0);
	assert_int_equal(larder_set(box->tenant, "cleared", "a", 1, "old", 3, NULL, NULL), 0);
}

static void check_after(struct box *box)
{
	static const char *const gone[] = { "set", "absent", "delete", "many-1", "many-2", "add", "fresh" };

	assert_true(box_gives(box, "kept", 0, "old"));
	assert_true(box_gives(box, "touch", 0, "old"));
	for (int i = 0; i < 7; i++)
		assert_true(box_gives(box, gone[i], LARDER_MISS, NULL));
	assert_int_equal(larder_exists(box->tenant, "cleared", "a", 1, NULL), LARDER_MISS);
	assert_int_equal(box_set(box, "set", "now"), 0);
	assert_true(box_gives(box, "set", 0, "now"));
}

static void test_disabled_by_setting(void **state)
{
	struct box *box = *state;
	struct larder_stats stats = { .size = sizeof(stats) };

	box_open(box, NULL);
	set_before(box);
	box_close(box);
	box_open(box, (const char *const[]){ "ENABLED=0", NULL });
	assert_int_equal(larder_stats_reset(box->cache), 0);
	change_while_off(box);
	assert_int_equal(larder_get_stats(box->cache, &stats), 0);
	assert_true(stats.bypassed == 4 && stats.gets == 4 && stats.sets == 0 && stats.hit_ratio <= 0);
	box_close(box);
	box_open(box, NULL);
	check_after(box);
}

/* A worker, in a process of its own, and how far it has come. */
struct worker {
	struct box *box;
	_Atomic int saw_off;
};

static void be_switched(void *arg)
{
	struct worker *worker = arg;
	larder_tenant *tenant = worker->box->tenant;

	CHILD_CHECK(CHILD_POLL(larder_exists(tenant, BOX_SPACE, "kept", 4, NULL) == LARDER_MISS));
	worker->saw_off = 1;
	CHILD_CHECK(CHILD_POLL(larder_exists(tenant, BOX_SPACE, "kept", 4, NULL) == 0));
}

static void test_switched_off_for_all_processes(void **state)
{
	struct larder_summary summary = { .size = sizeof(summary) };
	struct worker *worker = child_share(sizeof(*worker));
	struct box *box = *state;
	pid_t child;

	box_open(box, NULL);
	set_before(box);
	worker->box = box;
	child = child_start(be_switched, worker);
	box_inspect(box);
	assert_int_equal(larder_inspect_switch(box->inspector, 0), 0);
	assert_int_equal(larder_inspect_summary(box->inspector, &summary), 0);
	assert_int_equal(summary.on, 0);
	assert_true(CHILD_POLL(worker->saw_off != 0));
	change_while_off(box);
	assert_int_equal(larder_inspect_switch(box->inspector, 1), 0);
	assert_int_equal(larder_inspect_summary(box->inspector, &summary), 0);
	assert_int_equal(summary.on, 1);
	assert_int_equal(child_end(child), 0);
	check_after(box);
	(void)munmap(worker, sizeof(*worker));
}

static void test_off_outlives_the_handles(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	box_inspect(box);
	set_before(box);
	assert_int_equal(larder_inspect_switch(box->inspector, 0), 0);
	box_close(box);
	box_open(box, NULL);
	change_while_off(box);
	box_inspect(box);
	assert_int_equal(larder_inspect_switch(box->inspector, 1), 0);
	check_after(box);
}

static unsigned served(struct box *box, unsigned char *which)
{
	unsigned count = 0;

	for (int i = 0; i < KEYS; i++) {
		int rc = larder_exists(box->tenant, BOX_SPACE, &i, sizeof(i), NULL);

		assert_true(rc == 0 || rc == LARDER_MISS);
		which[i] = rc == 0;
		count += rc == 0;
	}
	return count;
}

static void test_a_rollout_serves_its_share(void **state)
{
	static unsigned char tenth[KEYS], half[KEYS], all[KEYS];
	struct larder_stats stats = { .size = sizeof(stats) };
	struct box *box = *state;
	unsigned stored = 0;

	box_open(box, NULL);
	for (int i = 0; i < KEYS; i++)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), "old", 3, NULL, NULL), 0);
	box_close(box);
	box_open(box, (const char *const[]){ "ROLLOUT=10", NULL });
	assert_int_equal(larder_stats_reset(box->cache), 0);
	assert_in_range(served(box, tenth), KEYS / 10 - 60, KEYS / 10 + 60);
	assert_int_equal(larder_get_stats(box->cache, &stats), 0);
	assert_int_equal(stats.bypassed + stats.hits, KEYS);
	/* All are set anew: those outside are not stored, and their old value is gone for good. */
	for (int i = 0; i < KEYS; i++) {
		int rc = larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), "new", 3, NULL, NULL);

		assert_int_equal(rc, tenth[i] ? 0 : LARDER_UNAVAILABLE);
		if (rc != 0)
			assert_int_equal(larder_reason(), LARDER_REASON_OFF);
		stored += rc == 0;
	}
	box_close(box);
	box_open(box, (const char *const[]){ "ROLLOUT=50", NULL });
	assert_int_equal(served(box, half), stored);
	box_close(box);
	box_open(box, NULL);
	assert_int_equal(served(box, all), stored);
	for (int i = 0; i < KEYS; i++) {
		struct larder_value value;

		assert_true(all[i] == tenth[i] && half[i] == tenth[i]);
		if (!all[i])
			continue;
		assert_int_equal(larder_get(box->tenant, BOX_SPACE, &i, sizeof(i), NULL, &value), 0);
		assert_int_equal(memcmp(value.data, "new", 3), 0);
		larder_value_free(&value);
	}
}

/* A larger share holds the smaller one's keys. */
static void test_a_rollout_grows(void **state)
{
	static unsigned char smaller[KEYS], larger[KEYS];
	static const char *const shares[] = { "ROLLOUT=0", "ROLLOUT=1", "ROLLOUT=25", "ROLLOUT=75", "ROLLOUT=99", "ROLLOUT=100" };
	static const unsigned percent[] = { 0, 1, 25, 75, 99, 100 };
	struct box *box = *state;

	box_open(box, NULL);
	for (int i = 0; i < KEYS; i++)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), "x", 1, NULL, NULL), 0);
	for (int k = 0; k < 6; k++) {
		unsigned share = percent[k] * KEYS / 100, count;

		box_close(box);
		box_open(box, (const char *const[]){ shares[k], NULL });
		count = served(box, larger);
		assert_in_range(count, share < 100 ? 0 : share - 100, share + 100);
		assert_true((k > 0 || count == 0) && (k < 5 || count == KEYS));
		for (int i = 0; i < KEYS; i++)
			assert_true(k == 0 || larger[i] >= smaller[i]);
		memcpy(smaller, larger, sizeof(smaller));
	}
}

#define WITH_BOX(test) cmocka_unit_test_setup_teardown(test, box_begin, box_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BOX(test_disabled_by_setting),
		WITH_BOX(test_switched_off_for_all_processes),
		WITH_BOX(test_off_outlives_the_handles),
		WITH_BOX(test_a_rollout_serves_its_share),
		WITH_BOX(test_a_rollout_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
