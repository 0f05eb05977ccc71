/* SPDX-License-Identifier: MIT */
/*
 * The outbox: which writes have a row, as what it is told, how it is settled, its bounds, and that its counts add up after each step; the evictor beside
 * it; the drainer's lock, with processes that die.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>

#include "child.h"
#include "told.h"

static struct ld_outbox_row rows[TOLD_ROWS], again[TOLD_ROWS];

static int is_of(struct box *box, const struct ld_outbox_row *row, const char *name)
{
	const struct ld_key key = told_key(box, name);

	return strcmp(row->tenant, "acme") == 0 && memcmp(row->digest, key.digest, sizeof(key.digest)) == 0;
}

static void expect_only(struct box *box, const char *name, enum ld_outbox_op op, const char *text)
{
	assert_int_equal(told_take(box, rows), 1);
	assert_true(is_of(box, &rows[0], name));
	assert_int_equal(rows[0].op, op);
	assert_int_equal(rows[0].outcome, LD_OUTBOX_LEFT);
	assert_int_equal(rows[0].len, text ? strlen(text) : 0);
	if (text)
		assert_memory_equal(rows[0].value, text, strlen(text));
	else
		assert_null(rows[0].value);
	ld_outbox_forget(rows, 1);
	assert_null(rows[0].value);
}

/* ---- what has a row ---- */

static void test_nothing_is_told_unasked(void **state)
{
	struct box *box = *state;
	struct ld_found found;

	box_open(box, NULL);
	assert_int_equal(box_set(box, "a", "text"), 0);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), 0);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "b", 1, NULL), LARDER_MISS);
	told_expect(box, 0, 0, 0, 0, 0, 0);
	assert_int_equal(told_take(box, rows), 0);
	assert_int_equal(ld_outbox_any(told_store(box)), 0);
	assert_int_equal(told_look(box, "a", &found), LARDER_MISS);
	assert_int_equal(found.pending, 0);
}

static void test_a_set_is_told(void **state)
{
	struct box *box = *state;
	struct ld_key key;
	struct ld_put put = { .data = "value", .len = 5, .ttl_ms = 60000, .stale_ms = 7000, .flags = 77 };
	int64_t wall_ms = ld_clock_wall_ms();

	box_open(box, NULL);
	key = told_key(box, "a");
	put.hard_end_ms = wall_ms + 3600000;
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	told_expect(box, 1, 0, 0, 0, 0, 1);
	assert_int_equal(ld_outbox_any(told_store(box)), 1);
	assert_int_equal(told_take(box, rows), 1);
	assert_true(is_of(box, &rows[0], "a"));
	assert_true(rows[0].op == LD_OUTBOX_SET && rows[0].len == 5 && memcmp(rows[0].value, "value", 5) == 0);
	assert_true(rows[0].created_wall_ms >= wall_ms && rows[0].created_wall_ms <= ld_clock_wall_ms());
	assert_in_range(rows[0].ttl_ms, 59000, 60000);
	assert_true(rows[0].left_ms > 50000 && rows[0].left_ms <= rows[0].ttl_ms);
	assert_int_equal(rows[0].stale_ms, 7000);
	assert_int_equal(rows[0].hard_end_ms, put.hard_end_ms);
	assert_int_equal(rows[0].flags, 77);
	assert_true(rows[0].seq != 0);
	ld_outbox_forget(rows, 1);
}

static void test_an_add_is_told_if_it_adds(void **state)
{
	struct box *box = *state;
	struct ld_key key;
	struct ld_put put = told_put("added");

	box_open(box, NULL);
	key = told_key(box, "a");
	put.only_new = 1;
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	expect_only(box, "a", LD_OUTBOX_SET, "added");
	put = told_put("other");
	put.only_new = 1;
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), LARDER_EXISTS);
	told_expect(box, 1, 0, 0, 0, 0, 1);
	expect_only(box, "a", LD_OUTBOX_SET, "added");
}

static void test_not_found_is_told_as_a_delete(void **state)
{
	struct box *box = *state;
	const struct ld_put put = { .absent = 1, .ttl_ms = TOLD_HOUR };
	struct ld_key key;

	box_open(box, NULL);
	key = told_key(box, "a");
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	expect_only(box, "a", LD_OUTBOX_DELETE, NULL);
	/* So is the touch of one. */
	assert_int_equal(told_touch(box, &key, TOLD_HOUR, 0), 0);
	expect_only(box, "a", LD_OUTBOX_DELETE, NULL);
	told_expect(box, 2, 0, 0, 0, 1, 1);
}

static void test_a_touch_tells_the_entry_again(void **state)
{
	struct box *box = *state;
	struct ld_key key;
	uint64_t seq;

	box_open(box, NULL);
	key = told_key(box, "a");
	assert_int_equal(told_set(box, "a", "text"), 0);
	assert_int_equal(told_take(box, rows), 1);
	seq = rows[0].seq;
	assert_int_equal(told_touch(box, &key, 2 * TOLD_HOUR, 5), 0);
	assert_int_equal(told_take(box, again), 1);
	assert_true(again[0].op == LD_OUTBOX_SET && again[0].len == 4 && again[0].seq > seq && again[0].stale_ms == 5);
	assert_in_range(again[0].ttl_ms, 2 * TOLD_HOUR - 1000, 2 * TOLD_HOUR);
	assert_memory_not_equal(rows[0].idempotency, again[0].idempotency, sizeof(rows[0].idempotency));
	/* What was taken before the touch settles nothing. */
	rows[0].outcome = LD_OUTBOX_ACKNOWLEDGED;
	assert_int_equal(ld_outbox_settle(told_store(box), rows, 1, 0), 0);
	told_expect(box, 2, 0, 0, 0, 1, 1);
	again[0].outcome = LD_OUTBOX_ACKNOWLEDGED;
	assert_int_equal(ld_outbox_settle(told_store(box), again, 1, 0), 0);
	told_expect(box, 2, 1, 0, 0, 1, 0);
	ld_outbox_forget(rows, 1);
	ld_outbox_forget(again, 1);
	/* One that finds nothing tells nothing. */
	key = told_key(box, "b");
	assert_int_equal(told_touch(box, &key, TOLD_HOUR, 0), LARDER_MISS);
	told_expect(box, 2, 1, 0, 0, 1, 0);
}

static void test_a_delete_is_told_whether_there_was_an_entry(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	assert_int_equal(untold_set(box, "a", "text"), 0);
	assert_int_equal(told_delete(box, "a"), 0);
	expect_only(box, "a", LD_OUTBOX_DELETE, NULL);
	assert_int_equal(told_settle(box, LD_OUTBOX_ACKNOWLEDGED), 1);
	assert_int_equal(told_delete(box, "b"), LARDER_MISS);
	expect_only(box, "b", LD_OUTBOX_DELETE, NULL);
	told_expect(box, 2, 1, 0, 0, 0, 1);
}

static void test_deletes_of_many_are_told(void **state)
{
	struct box *box = *state;
	struct ld_key keys[3];
	int results[3];

	box_open(box, NULL);
	assert_int_equal(told_set(box, "b", "text"), 0);
	keys[0] = told_key(box, "a");
	keys[1] = told_key(box, "b");
	keys[2] = untold_key(box, "c");
	assert_int_equal(ld_store_delete(told_store(box), keys, 3, &told_way, results), 0);
	assert_true(results[0] == LARDER_MISS && results[1] == 0 && results[2] == LARDER_MISS);
	told_expect(box, 3, 0, 0, 0, 1, 2);
	assert_int_equal(told_take(box, rows), 2);
	assert_true(rows[0].op == LD_OUTBOX_DELETE && rows[1].op == LD_OUTBOX_DELETE);
	ld_outbox_forget(rows, 2);
}

static void test_a_set_while_off_is_told_as_a_delete(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	assert_int_equal(told_set(box, "a", "old"), 0);
	assert_int_equal(ld_store_switch(told_store(box), 0), 0);
	assert_int_equal(told_set(box, "a", "new"), LARDER_UNAVAILABLE);
	assert_int_equal(ld_store_switch(told_store(box), 1), 0);
	expect_only(box, "a", LD_OUTBOX_DELETE, NULL);
	told_expect(box, 2, 0, 0, 0, 1, 1);
}

static void test_the_last_write_of_a_key_wins(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	assert_int_equal(told_set(box, "a", "one"), 0);
	assert_int_equal(told_set(box, "a", "two"), 0);
	expect_only(box, "a", LD_OUTBOX_SET, "two");
	told_expect(box, 2, 0, 0, 0, 1, 1);
	assert_int_equal(told_delete(box, "a"), 0);
	expect_only(box, "a", LD_OUTBOX_DELETE, NULL);
	assert_int_equal(told_set(box, "a", "three"), 0);
	expect_only(box, "a", LD_OUTBOX_SET, "three");
	told_expect(box, 4, 0, 0, 0, 3, 1);
}

/* ---- as what it is told ---- */

static void expect_told_as_delete(struct box *box, const unsigned char idempotency[LD_OUTBOX_IDEMPOTENCY])
{
	assert_int_equal(told_take(box, rows), 1);
	assert_int_equal(rows[0].op, LD_OUTBOX_DELETE);
	assert_null(rows[0].value);
	/* L2 may have got the set: this is another write. */
	assert_memory_not_equal(rows[0].idempotency, idempotency, LD_OUTBOX_IDEMPOTENCY);
	ld_outbox_forget(rows, 1);
}

/* A pending set of "a", whose idempotency stays the same. */
static void begin_pending(struct box *box, unsigned char ret_idempotency[LD_OUTBOX_IDEMPOTENCY])
{
	box_open(box, (const char *const[]){ "OUTBOX_AGE=10h", NULL });
	assert_int_equal(told_set(box, "a", "text"), 0);
	assert_int_equal(told_take(box, rows), 1);
	assert_int_equal(told_take(box, again), 1);
	assert_memory_equal(rows[0].idempotency, again[0].idempotency, LD_OUTBOX_IDEMPOTENCY);
	memcpy(ret_idempotency, rows[0].idempotency, LD_OUTBOX_IDEMPOTENCY);
	ld_outbox_forget(rows, 1);
	ld_outbox_forget(again, 1);
}

static void test_a_set_whose_entry_is_gone_is_told_as_a_delete(void **state)
{
	unsigned char idempotency[LD_OUTBOX_IDEMPOTENCY];
	struct box *box = *state;

	begin_pending(box, idempotency);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), 0);
	expect_told_as_delete(box, idempotency);
	assert_int_equal(told_settle(box, LD_OUTBOX_ACKNOWLEDGED), 1);
	told_expect(box, 1, 1, 0, 0, 0, 0);
}

static void test_a_set_whose_entry_is_anothers_is_told_as_a_delete(void **state)
{
	unsigned char idempotency[LD_OUTBOX_IDEMPOTENCY];
	struct box *box = *state;

	begin_pending(box, idempotency);
	assert_int_equal(untold_set(box, "a", "untold"), 0);
	expect_told_as_delete(box, idempotency);
}

static void test_a_set_that_is_cleared_is_told_as_a_delete(void **state)
{
	unsigned char idempotency[LD_OUTBOX_IDEMPOTENCY];
	struct box *box = *state;

	begin_pending(box, idempotency);
	assert_int_equal(larder_clear_space(box->tenant, BOX_SPACE, NULL), 0);
	expect_told_as_delete(box, idempotency);
}

static void test_a_set_under_a_barrier_is_told_as_a_delete(void **state)
{
	unsigned char idempotency[LD_OUTBOX_IDEMPOTENCY];
	struct box *box = *state;
	struct ld_key key;

	begin_pending(box, idempotency);
	key = told_key(box, "a");
	ld_raise_barrier(&told_store(box)->seg, &key);
	expect_told_as_delete(box, idempotency);
}

#ifdef LARDER_FAULTS
static void test_a_set_past_its_ttl_is_told_as_a_delete(void **state)
{
	unsigned char idempotency[LD_OUTBOX_IDEMPOTENCY];
	struct box *box = *state;

	begin_pending(box, idempotency);
	atomic_fetch_add(&box->plan->boot_shift_ms, TOLD_HOUR - 60000);
	assert_int_equal(told_take(box, rows), 1);
	assert_true(rows[0].op == LD_OUTBOX_SET && rows[0].left_ms <= 60000 && rows[0].left_ms > 0 && rows[0].ttl_ms > TOLD_HOUR - 1000);
	ld_outbox_forget(rows, 1);
	atomic_fetch_add(&box->plan->boot_shift_ms, 60001);
	expect_told_as_delete(box, idempotency);
	/* Whether it is swept or not. */
	assert_int_equal(ld_store_work(told_store(box), 1), 0);
	expect_told_as_delete(box, idempotency);
	told_expect(box, 1, 0, 0, 0, 0, 1);
}
#endif

static void test_a_large_value_is_told_whole(void **state)
{
	struct box *box = *state;
	static unsigned char big[100000];
	const struct ld_put put = { .data = big, .len = sizeof(big), .ttl_ms = TOLD_HOUR };
	struct ld_key key;

	box_open(box, NULL);
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (unsigned char)(i * 7 + i / 251);
	key = told_key(box, "a");
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	assert_int_equal(told_take(box, rows), 1);
	assert_true(rows[0].len == sizeof(big) && memcmp(rows[0].value, big, sizeof(big)) == 0);
	ld_outbox_forget(rows, 1);
	assert_in_range(told_counts(box).pending_b, sizeof(big), sizeof(big) + 8192);
}

/* ---- taking ---- */

enum { MANY = 450 };

static void set_many(struct box *box, unsigned count)
{
	char name[16];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(told_set(box, name, name), 0);
	}
}

static void test_rows_come_in_the_order_of_keys_and_round_again(void **state)
{
	struct ld_outbox_place place = { .passes = 0 };
	struct box *box = *state;
	unsigned char last[LARDER_DIGEST_SIZE] = { 0 }, first[LARDER_DIGEST_SIZE];
	size_t count, seen = 0;

	box_open(box, NULL);
	set_many(box, MANY);
	while (place.passes == 0) {
		assert_int_equal(ld_outbox_take(told_store(box), &place, rows, 64, 1 << 20, &count), 0);
		for (size_t i = 0; i < count; i++) {
			assert_true(memcmp(rows[i].digest, last, sizeof(last)) > 0);
			memcpy(last, rows[i].digest, sizeof(last));
			if (seen++ == 0)
				memcpy(first, last, sizeof(first));
		}
		ld_outbox_forget(rows, count);
	}
	assert_int_equal(seen, MANY);
	assert_int_equal(place.passes, 1);
	assert_int_equal(ld_outbox_take(told_store(box), &place, rows, 1, 1 << 20, &count), 0);
	assert_int_equal(count, 1);
	assert_memory_equal(rows[0].digest, first, sizeof(first));
	ld_outbox_forget(rows, count);
	/* From the last row on there is nothing: it begins anew in the same call. */
	place.key_len = (uint32_t)ld_entry_key("acme", last, place.key);
	assert_int_equal(ld_outbox_take(told_store(box), &place, rows, 1, 1 << 20, &count), 0);
	assert_int_equal(count, 1);
	assert_memory_equal(rows[0].digest, first, sizeof(first));
	ld_outbox_forget(rows, count);
	/* No more than 200 at once, whatever is asked for. */
	place.key_len = 0;
	assert_int_equal(ld_outbox_take(told_store(box), &place, rows, 1000, 1 << 20, &count), 0);
	assert_int_equal(count, LD_OUTBOX_TAKE_MAX);
	ld_outbox_forget(rows, count);
}

static void test_values_are_bounded_but_for_the_first(void **state)
{
	struct ld_outbox_place place = { .passes = 0 };
	struct box *box = *state;
	size_t count, seen = 0;

	box_open(box, NULL);
	set_many(box, 10);
	/* Two bytes each. */
	for (unsigned turn = 0; turn < 10; turn++) {
		assert_int_equal(ld_outbox_take(told_store(box), &place, rows, 10, 1, &count), 0);
		assert_int_equal(count, 1);
		seen += count;
		ld_outbox_forget(rows, count);
	}
	place.key_len = 0;
	assert_int_equal(ld_outbox_take(told_store(box), &place, rows, 10, 7, &count), 0);
	assert_int_equal(count, 3);
	ld_outbox_forget(rows, count);
	assert_int_equal(seen, 10);
}

/* ---- settling ---- */

static void test_what_is_acknowledged_goes(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	set_many(box, 3);
	assert_int_equal(told_settle(box, LD_OUTBOX_LEFT), 3);
	told_expect(box, 3, 0, 0, 0, 0, 3);
	assert_int_equal(told_take(box, rows), 3);
	rows[1].outcome = LD_OUTBOX_ACKNOWLEDGED;
	assert_int_equal(ld_outbox_settle(told_store(box), rows, 3, 0), 0);
	told_expect(box, 3, 1, 0, 0, 0, 2);
	/* Twice is once. */
	assert_int_equal(ld_outbox_settle(told_store(box), rows, 3, 0), 0);
	told_expect(box, 3, 1, 0, 0, 0, 2);
	ld_outbox_forget(rows, 3);
	assert_int_equal(told_settle(box, LD_OUTBOX_ACKNOWLEDGED), 2);
	told_expect(box, 3, 3, 0, 0, 0, 0);
	assert_int_equal(told_counts(box).pending_b, 0);
	assert_int_equal(ld_outbox_any(told_store(box)), 0);
	/* The entries stay. */
	assert_true(box_gives(box, "n0", 0, "n0") && box_gives(box, "n1", 0, "n1") && box_gives(box, "n2", 0, "n2"));
}

static void test_a_failed_set_leaves_a_delete(void **state)
{
	struct box *box = *state;
	unsigned char idempotency[LD_OUTBOX_IDEMPOTENCY];

	begin_pending(box, idempotency);
	assert_int_equal(told_settle(box, LD_OUTBOX_FAILED), 1);
	told_expect(box, 2, 0, 1, 0, 0, 1);
	assert_int_equal(told_counts(box).pending_b, 0);
	assert_int_equal(told_take(box, rows), 1);
	assert_int_equal(rows[0].op, LD_OUTBOX_DELETE);
	assert_memory_not_equal(rows[0].idempotency, idempotency, sizeof(idempotency));
	ld_outbox_forget(rows, 1);
	/* Here it is still there. */
	assert_true(box_gives(box, "a", 0, "text"));
	assert_true(told_admits(box, "a", 1, 0));
}

static void test_a_failed_delete_folds(void **state)
{
	struct box *box = *state;
	int64_t wall_ms;

	box_open(box, NULL);
	assert_int_equal(told_delete(box, "a"), LARDER_MISS);
	assert_true(told_admits(box, "a", 0, 0));
	wall_ms = ld_clock_wall_ms();
	assert_int_equal(told_settle(box, LD_OUTBOX_FAILED), 1);
	told_expect(box, 1, 0, 1, 0, 0, 0);
	assert_false(told_admits(box, "a", 0, 0));
	assert_false(told_admits(box, "b", wall_ms - 1, 0));
	assert_false(told_admits(box, "b", ld_clock_wall_ms() + 500, 1000));
	assert_true(told_admits(box, "b", ld_clock_wall_ms() + 1500, 1000));
}

static void test_a_row_written_meanwhile_is_left_alone(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	assert_int_equal(told_set(box, "a", "one"), 0);
	assert_int_equal(told_take(box, rows), 1);
	assert_int_equal(told_set(box, "a", "two"), 0);
	for (int outcome = LD_OUTBOX_ACKNOWLEDGED; outcome <= LD_OUTBOX_FAILED; outcome++) {
		rows[0].outcome = (enum ld_outbox_outcome)outcome;
		assert_int_equal(ld_outbox_settle(told_store(box), rows, 1, 0), 0);
		told_expect(box, 2, 0, 0, 0, 1, 1);
		ld_outbox_forget(rows, 1);
		expect_only(box, "a", LD_OUTBOX_SET, "two");
		assert_int_equal(told_take(box, rows), 1);
		rows[0].seq--;
	}
	ld_outbox_forget(rows, 1);
}

static void test_rows_of_more_tenants_than_a_transaction_has_room_for(void **state)
{
	enum { TENANTS = 150 };
	struct box *box = *state;
	const struct ld_put put = told_put("x");

	box_open(box, (const char *const[]){ "TENANTS=200", NULL });
	for (unsigned i = 0; i < TENANTS; i++) {
		larder_tenant *tenant;
		struct ld_key key;
		char name[16];

		snprintf(name, sizeof(name), "tenant-%u", i);
		assert_int_equal(larder_tenant_open(box->cache, name, &tenant), 0);
		key = told_key_in(box, tenant, BOX_SPACE, "a", 1);
		assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
		larder_tenant_close(tenant);
	}
	told_expect(box, TENANTS, 0, 0, 0, 0, TENANTS);
	assert_int_equal(told_settle(box, LD_OUTBOX_ACKNOWLEDGED), TENANTS);
	told_expect(box, TENANTS, TENANTS, 0, 0, 0, 0);
}

/* ---- misses ---- */

static void test_a_pending_row_makes_a_miss_local(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	assert_int_equal(told_is_pending(box, "a"), 0);
	assert_int_equal(told_set(box, "a", "text"), 0);
	assert_int_equal(told_delete(box, "a"), 0);
	assert_int_equal(told_is_pending(box, "a"), 1);
	assert_int_equal(told_is_pending(box, "b"), 0);
	assert_int_equal(told_settle(box, LD_OUTBOX_ACKNOWLEDGED), 1);
	assert_int_equal(told_is_pending(box, "a"), 0);
}

static void test_a_hidden_entry_with_a_pending_set_is_a_local_miss(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	assert_int_equal(told_set(box, "a", "text"), 0);
	assert_int_equal(larder_clear_tenant(box->tenant, NULL), 0);
	assert_int_equal(told_is_pending(box, "a"), 1);
	assert_int_equal(told_settle(box, LD_OUTBOX_ACKNOWLEDGED), 1);
	assert_int_equal(told_is_pending(box, "a"), 0);
}

static void test_many_looks_see_pending_rows(void **state)
{
	static const struct ld_look look = { .want_data = 1, .note = LD_NOTE_SEEN };
	struct ld_found found[3];
	struct box *box = *state;
	struct ld_key keys[3];
	int results[3];

	box_open(box, NULL);
	assert_int_equal(told_delete(box, "a"), LARDER_MISS);
	assert_int_equal(told_set(box, "c", "text"), 0);
	keys[0] = told_key(box, "a");
	keys[1] = told_key(box, "b");
	keys[2] = told_key(box, "c");
	memset(found, 0xff, sizeof(found));
	ld_store_get_many(told_store(box), keys, 3, &told_way, &look, found, results);
	assert_true(results[0] == LARDER_MISS && found[0].pending == 1);
	assert_true(results[1] == LARDER_MISS && found[1].pending == 0 && found[1].seen.seq != 0 && found[1].seen.segment != 0);
	assert_true(results[2] == 0 && found[2].pending == 0);
	free(found[2].data);
}

#ifdef LARDER_FAULTS
static void test_a_stale_value_with_a_pending_row_is_not_refreshed(void **state)
{
	struct box *box = *state;
	struct ld_put put = told_put("text");
	struct ld_found found;
	struct ld_key key;

	box_open(box, NULL);
	put.stale_ms = TOLD_HOUR;
	key = told_key(box, "a");
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	atomic_fetch_add(&box->plan->boot_shift_ms, TOLD_HOUR + 1000);
	assert_int_equal(told_look(box, "a", &found), LARDER_STALE);
	assert_int_equal(found.pending, 1);
	assert_int_equal(told_settle(box, LD_OUTBOX_ACKNOWLEDGED), 1);
	assert_int_equal(told_look(box, "a", &found), LARDER_STALE);
	assert_int_equal(found.pending, 0);
	assert_true(found.seen.seq != 0);
}

/* ---- failing ---- */

static void test_a_set_that_cannot_commit_leaves_no_row(void **state)
{
	struct box *box = *state;
	int64_t wall_ms;

	box_open(box, NULL);
	assert_int_equal(told_set(box, "a", "one"), 0);
	assert_int_equal(told_settle(box, LD_OUTBOX_ACKNOWLEDGED), 1);
	assert_true(told_admits(box, "a", 0, 0));
	wall_ms = ld_clock_wall_ms();
	box->plan->error = ENOSPC;
	box->plan->point = LD_FAULT_txn_commit;
	box->plan->action = LD_FAULT_ERROR;
	box->plan->countdown = 1;
	assert_int_equal(told_set(box, "a", "two"), LARDER_UNAVAILABLE);
	box->plan->action = LD_FAULT_NOTHING;
	told_expect(box, 1, 1, 0, 0, 0, 0);
	/* L2 was not told, so what it has of the key is not given out. */
	assert_false(told_admits(box, "a", 0, 0));
	assert_false(told_admits(box, "a", wall_ms - 1, 0));
	assert_true(told_admits(box, "a", ld_clock_wall_ms() + 10, 0));
	assert_true(told_admits(box, "b", 0, 0));
	/* The word in the segment was raised for nothing; the background work finds that out. */
	assert_int_equal(ld_outbox_any(told_store(box)), 1);
	assert_int_equal(told_is_pending(box, "a"), 0);
	assert_int_equal(ld_store_work(told_store(box), 1), 0);
	assert_int_equal(ld_outbox_any(told_store(box)), 0);
}

static void test_a_settling_that_fails_changes_nothing(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	set_many(box, 3);
	assert_int_equal(told_take(box, rows), 3);
	for (int i = 0; i < 3; i++)
		rows[i].outcome = LD_OUTBOX_ACKNOWLEDGED;
	box->plan->error = ENOSPC;
	box->plan->point = LD_FAULT_txn_commit;
	box->plan->action = LD_FAULT_ERROR;
	box->plan->countdown = 1;
	assert_int_equal(ld_outbox_settle(told_store(box), rows, 3, 0), LARDER_UNAVAILABLE);
	box->plan->action = LD_FAULT_NOTHING;
	told_expect(box, 3, 0, 0, 0, 0, 3);
	assert_int_equal(ld_outbox_settle(told_store(box), rows, 3, 0), 0);
	told_expect(box, 3, 3, 0, 0, 0, 0);
	ld_outbox_forget(rows, 3);
}

/* Without random bytes each write has a key of its own all the same. */
static void test_without_random_bytes(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	told_header(box);
	box->plan->error = EIO;
	box->plan->point = LD_FAULT_key_random;
	box->plan->action = LD_FAULT_ERROR;
	for (int i = 0; i < 2; i++) {
		box->plan->countdown = 1;
		assert_int_equal(told_set(box, i ? "b" : "a", "text"), 0);
	}
	box->plan->action = LD_FAULT_NOTHING;
	assert_int_equal(told_take(box, rows), 2);
	assert_memory_not_equal(rows[0].idempotency, rows[1].idempotency, LD_OUTBOX_IDEMPOTENCY);
	ld_outbox_forget(rows, 2);
}
#endif

/* ---- bounds ---- */

static void test_over_the_bytes_a_set_is_told_as_a_delete(void **state)
{
	struct box *box = *state;
	static char text[3000];

	memset(text, 'x', sizeof(text) - 1);
	box_open(box, (const char *const[]){ "OUTBOX_BYTES=10K", NULL });
	assert_int_equal(told_set(box, "a", text), 0);
	assert_int_equal(told_set(box, "b", text), 0);
	told_expect(box, 2, 0, 0, 0, 0, 2);
	assert_int_equal(told_counts(box).pending_b, 8192);
	assert_int_equal(told_set(box, "c", text), 0);
	told_expect(box, 4, 0, 0, 1, 0, 3);
	assert_int_equal(told_counts(box).pending_b, 8192);
	assert_int_equal(told_take(box, rows), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(rows[i].op, is_of(box, &rows[i], "c") ? LD_OUTBOX_DELETE : LD_OUTBOX_SET);
	ld_outbox_forget(rows, 3);
	assert_true(box_gives(box, "c", 0, NULL));
	/* What is told makes room again. */
	assert_int_equal(told_settle(box, LD_OUTBOX_ACKNOWLEDGED), 3);
	assert_int_equal(told_set(box, "c", text), 0);
	expect_only(box, "c", LD_OUTBOX_SET, text);
}

static void test_over_the_rows_the_tenant_with_the_most_folds(void **state)
{
	struct box *box = *state;
	const struct ld_put put = told_put("x");
	larder_tenant *other;
	struct ld_key key;
	char name[16];

	box_open(box, (const char *const[]){ "OUTBOX_ROWS=100", NULL });
	assert_int_equal(larder_tenant_open(box->cache, "other", &other), 0);
	set_many(box, 60);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "o%u", i);
		key = told_key_in(box, other, BOX_SPACE, name, 1);
		assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	}
	told_expect(box, 100, 0, 0, 0, 0, 100);
	assert_true(told_admits(box, "n0", 0, 0));
	key = told_key_in(box, other, BOX_SPACE, "one-more", 1);
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	told_expect(box, 101, 0, 0, 60, 0, 41);
	/* All of the larger one's, none of the other's. */
	assert_false(told_admits(box, "n0", 0, 0));
	assert_false(told_admits(box, "never-written", ld_clock_wall_ms() - 1000, 0));
	assert_true(told_admits(box, "n0", ld_clock_wall_ms() + 2, 0));
	assert_true(told_admits_of(box, &key, 0, 0));
	assert_int_equal(told_take(box, rows), 41);
	for (int i = 0; i < 41; i++)
		assert_string_equal(rows[i].tenant, "other");
	ld_outbox_forget(rows, 41);
	/* The entries are not touched. */
	assert_true(box_gives(box, "n59", 0, "n59"));
	larder_tenant_close(other);
}

static void test_a_fold_is_a_slice(void **state)
{
	struct box *box = *state;

	box_open(box, (const char *const[]){ "OUTBOX_ROWS=300", NULL });
	set_many(box, 301);
	told_expect(box, 301, 0, 0, 200, 0, 101);
}

static void test_one_call_may_delete_more_than_there_may_be_rows(void **state)
{
	enum { KEYS = 1000 };
	static struct ld_key keys[KEYS];
	static int results[KEYS];
	struct box *box = *state;
	struct ld_outbox_counts counts;
	char name[16];

	box_open(box, (const char *const[]){ "OUTBOX_ROWS=100", NULL });
	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		keys[i] = told_key(box, name);
	}
	assert_int_equal(ld_store_delete(told_store(box), keys, KEYS, &told_way, results), 0);
	counts = told_counts(box);
	assert_int_equal(counts.enqueued, KEYS);
	assert_true(counts.pending <= 100 && counts.dropped == KEYS - counts.pending);
	assert_false(told_admits(box, "n0", 0, 0));
}

#ifdef LARDER_FAULTS
static void test_too_old_sets_become_deletes_and_deletes_fold(void **state)
{
	struct box *box = *state;
	struct ld_key key;
	const struct ld_put put = { .data = "text", .len = 4, .ttl_ms = 100 * (int64_t)TOLD_HOUR };

	box_open(box, (const char *const[]){ "OUTBOX_AGE=10m", NULL });
	key = told_key(box, "a");
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	assert_int_equal(told_delete(box, "b"), LARDER_MISS);
	atomic_fetch_add(&box->plan->boot_shift_ms, 599000);
	assert_int_equal(ld_store_work(told_store(box), 1), 0);
	told_expect(box, 2, 0, 0, 0, 0, 2);
	assert_true(told_summary(box).oldest_ms >= 599000);
	assert_true(told_admits(box, "a", 0, 0));
	atomic_fetch_add(&box->plan->boot_shift_ms, 2000);
	assert_int_equal(ld_store_work(told_store(box), 1), 0);
	/* The set was dropped and a delete enqueued; the delete was dropped. */
	told_expect(box, 3, 0, 0, 2, 0, 1);
	assert_int_equal(told_counts(box).pending_b, 0);
	expect_only(box, "a", LD_OUTBOX_DELETE, NULL);
	assert_false(told_admits(box, "b", 0, 0));
	assert_true(box_gives(box, "a", 0, "text"));
	/* The delete waits as long again. */
	atomic_fetch_add(&box->plan->boot_shift_ms, 590000);
	assert_int_equal(ld_store_work(told_store(box), 1), 0);
	told_expect(box, 3, 0, 0, 2, 0, 1);
	atomic_fetch_add(&box->plan->boot_shift_ms, 20000);
	assert_int_equal(ld_store_work(told_store(box), 1), 0);
	told_expect(box, 3, 0, 0, 3, 0, 0);
	assert_int_equal(ld_outbox_any(told_store(box)), 0);
}
#endif

/* ---- the evictor ---- */

static unsigned found_of(struct box *box, const char *prefix, unsigned count)
{
	unsigned found = 0;
	char name[16];

	for (unsigned i = 0; i < count; i++) {
		int len = snprintf(name, sizeof(name), "%s%u", prefix, i);

		found += larder_exists(box->tenant, BOX_SPACE, name, (size_t)len, NULL) == 0;
	}
	return found;
}

static void test_the_evictor_passes_over_what_is_not_told(void **state)
{
	struct box *box = *state;
	char name[16];

	box_open(box, (const char *const[]){ "MAX_ENTRIES=100", NULL });
	set_many(box, 50);
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "u%u", i);
		assert_int_equal(untold_set(box, name, name), 0);
	}
	assert_int_equal(found_of(box, "n", 50), 50);
	assert_in_range(found_of(box, "u", 2000), 1, 51);
	told_expect(box, 50, 0, 0, 0, 0, 50);
	/* What is told is as any other. */
	assert_int_equal(told_settle(box, LD_OUTBOX_ACKNOWLEDGED), 50);
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "v%u", i);
		assert_int_equal(untold_set(box, name, name), 0);
	}
	assert_true(found_of(box, "n", 50) < 40);
}

static void test_where_all_wait_room_is_made_all_the_same(void **state)
{
	struct box *box = *state;
	struct ld_outbox_counts counts;

	box_open(box, (const char *const[]){ "MAX_ENTRIES=100", NULL });
	set_many(box, 300);
	counts = told_counts(box);
	assert_int_equal(counts.pending, 300);
	/* Each that had to go is told as a delete. */
	assert_in_range(counts.dropped, 199, 230);
	assert_int_equal(counts.enqueued, 300 + counts.dropped);
	assert_in_range(found_of(box, "n", 300), 70, 101);
}

/* ---- the lock ---- */

enum { HOLDER_DOES_NOTHING, HOLDER_SENDS };

struct holder {
	struct box *box;
	_Atomic int has_it;
	int what;
	int64_t within_ms;
};

static void hold(void *arg)
{
	struct holder *holder = arg;
	struct ld_store *store = told_store(holder->box);
	int64_t wait_ms = -1, until_ms;

	CHILD_CHECK(ld_outbox_lock(store, &wait_ms) == 0);
	CHILD_CHECK(wait_ms == 0);
	if (holder->what != HOLDER_DOES_NOTHING)
		CHILD_CHECK(ld_outbox_sending(store, holder->within_ms, &until_ms) == 0);
	atomic_store(&holder->has_it, 1);
	if (holder->what == HOLDER_DOES_NOTHING)
		for (;;)
			(void)pause();
	(void)raise(SIGSTOP);
	/* Somebody else has it: nothing of his is touched. */
	CHILD_CHECK(ld_outbox_sending(store, 1000, &until_ms) == LARDER_E_BUSY);
	ld_outbox_unlock(store, 1);
	CHILD_CHECK(ld_outbox_lock(store, &wait_ms) == LARDER_EXISTS);
}

static pid_t start_holder(struct box *box, struct holder *holder, int what, int64_t within_ms)
{
	pid_t pid;

	holder->box = box;
	holder->what = what;
	holder->within_ms = within_ms;
	pid = child_start(hold, holder);
	assert_true(CHILD_POLL(atomic_load(&holder->has_it) == 1));
	return pid;
}

static void test_one_drainer_at_a_time(void **state)
{
	struct holder *holder = child_share(sizeof(*holder));
	struct box *box = *state;
	int64_t wait_ms = 77, until_ms;
	pid_t pid;

	box_open(box, NULL);
	pid = start_holder(box, holder, HOLDER_DOES_NOTHING, 0);
	assert_int_equal(ld_outbox_lock(told_store(box), &wait_ms), LARDER_EXISTS);
	assert_int_equal(wait_ms, 77);
	assert_int_equal(ld_outbox_sending(told_store(box), 1000, &until_ms), LARDER_E_BUSY);
	assert_int_equal(told_summary(box).drainer_pid, pid);
	assert_int_equal(told_summary(box).drainer_alive, 1);
	ld_outbox_unlock(told_store(box), 1);
	assert_int_equal(ld_outbox_lock(told_store(box), &wait_ms), LARDER_EXISTS);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(child_end(pid), 256 + SIGKILL);
	/* It had sent nothing. */
	assert_int_equal(ld_outbox_lock(told_store(box), &wait_ms), 0);
	assert_int_equal(wait_ms, 0);
	assert_int_equal(ld_outbox_sending(told_store(box), 1000, &until_ms), 0);
	assert_int_equal(ld_outbox_lock(told_store(box), &wait_ms), LARDER_EXISTS);
	ld_outbox_unlock(told_store(box), 1);
	assert_int_equal(told_summary(box).drainer_pid, 0);
	assert_int_equal(told_summary(box).drain_until_ms, 0);
	(void)munmap(holder, sizeof(*holder));
}

static void test_a_successor_waits_for_the_dead_ones_request(void **state)
{
	struct holder *holder = child_share(sizeof(*holder));
	struct box *box = *state;
	int64_t wait_ms = -1, until_ms;
	pid_t pid;

	box_open(box, NULL);
	pid = start_holder(box, holder, HOLDER_SENDS, 60000);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(child_end(pid), 256 + SIGKILL);
	assert_int_equal(ld_outbox_lock(told_store(box), &wait_ms), 0);
	assert_in_range(wait_ms, 50000, 60000);
	assert_int_equal(ld_outbox_sending(told_store(box), 10, &until_ms), LARDER_E_BUSY);
	/* Giving it back does not shorten the time. */
	ld_outbox_unlock(told_store(box), 1);
	assert_int_equal(ld_outbox_lock(told_store(box), &wait_ms), 0);
	assert_in_range(wait_ms, 50000, 60000);
#ifdef LARDER_FAULTS
	atomic_fetch_add(&box->plan->boot_shift_ms, 60001);
	assert_int_equal(ld_outbox_sending(told_store(box), 10, &until_ms), 0);
#endif
	ld_outbox_unlock(told_store(box), 0);
	(void)munmap(holder, sizeof(*holder));
}

static void test_a_stopped_one_loses_it_when_its_request_is_over(void **state)
{
	struct holder *holder = child_share(sizeof(*holder));
	struct box *box = *state;
	int64_t wait_ms = -1, until_ms, end_ms;
	pid_t pid;
	int rc;

	box_open(box, NULL);
	pid = start_holder(box, holder, HOLDER_SENDS, 400);
	assert_true(CHILD_POLL(ld_process_state(pid) == 'T'));
	end_ms = ld_clock_boot_ms() + told_summary(box).drain_until_ms;
	rc = ld_outbox_lock(told_store(box), &wait_ms);
	while (rc == LARDER_EXISTS && ld_clock_boot_ms() < end_ms + 10000) {
		(void)usleep(500);
		rc = ld_outbox_lock(told_store(box), &wait_ms);
	}
	assert_int_equal(rc, 0);
	assert_true(ld_clock_boot_ms() >= end_ms);
	assert_int_equal(wait_ms, 0);
	assert_int_equal(ld_outbox_sending(told_store(box), 60000, &until_ms), 0);
	assert_in_range(until_ms, ld_clock_boot_ms() + 50000, ld_clock_boot_ms() + 60000);
	assert_int_equal(kill(pid, SIGCONT), 0);
	assert_int_equal(child_end(pid), 0);
	/* It did not leave ours, nor say that nothing of ours is on its way. */
	assert_int_equal(told_summary(box).drainer_pid, getpid());
	assert_in_range(told_summary(box).drain_until_ms, 50000, 60000);
	ld_outbox_unlock(told_store(box), 1);
	(void)munmap(holder, sizeof(*holder));
}

static void test_an_unquiet_unlock_is_waited_for(void **state)
{
	struct box *box = *state;
	int64_t wait_ms = -1, until_ms;

	box_open(box, NULL);
	assert_int_equal(ld_outbox_lock(told_store(box), &wait_ms), 0);
	assert_int_equal(ld_outbox_sending(told_store(box), 60000, &until_ms), 0);
	assert_int_equal(ld_outbox_sending(told_store(box), 1, &until_ms), 0);
	ld_outbox_unlock(told_store(box), 0);
	assert_int_equal(ld_outbox_lock(told_store(box), &wait_ms), 0);
	assert_in_range(wait_ms, 50000, 60000);
	ld_outbox_unlock(told_store(box), 1);
	assert_in_range(told_summary(box).drain_until_ms, 50000, 60000);
}

/* ---- listing ---- */

struct listed {
	unsigned rows, deletes, values, other_tenants, stop_at;
	uint64_t len;
};

static int list(void *ctx, const struct ld_outbox_row *row)
{
	struct listed *listed = ctx;

	listed->rows++;
	listed->deletes += row->op == LD_OUTBOX_DELETE;
	listed->values += row->value != NULL;
	listed->other_tenants += strcmp(row->tenant, "acme") != 0;
	listed->len += row->len;
	return listed->rows == listed->stop_at ? 42 : 0;
}

static void test_rows_are_listed(void **state)
{
	struct listed listed = { 0 };
	struct box *box = *state;
	const struct ld_put put = told_put("text");
	larder_tenant *other;
	struct ld_key key;

	box_open(box, NULL);
	assert_int_equal(larder_tenant_open(box->cache, "other", &other), 0);
	set_many(box, MANY);
	assert_int_equal(told_delete(box, "n0"), 0);
	key = told_key_in(box, other, BOX_SPACE, "a", 1);
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	assert_int_equal(ld_outbox_walk(told_store(box), NULL, list, &listed), 0);
	assert_true(listed.rows == MANY + 1 && listed.deletes == 1 && listed.values == 0 && listed.other_tenants == 1);
	listed = (struct listed){ 0 };
	assert_int_equal(ld_outbox_walk(told_store(box), "acme", list, &listed), 0);
	assert_true(listed.rows == MANY && listed.other_tenants == 0);
	listed = (struct listed){ 0 };
	assert_int_equal(ld_outbox_walk(told_store(box), "other", list, &listed), 0);
	assert_true(listed.rows == 1 && listed.len == 4);
	listed = (struct listed){ 0 };
	assert_int_equal(ld_outbox_walk(told_store(box), "nobody", list, &listed), 0);
	assert_int_equal(listed.rows, 0);
	listed = (struct listed){ .stop_at = 7 };
	assert_int_equal(ld_outbox_walk(told_store(box), NULL, list, &listed), 42);
	assert_int_equal(listed.rows, 7);
	larder_tenant_close(other);
}

static void test_the_summary_has_the_bounds(void **state)
{
	struct ld_outbox_summary summary;
	struct box *box = *state;

	box_open(box, (const char *const[]){ "OUTBOX_AGE=7m", "OUTBOX_BYTES=12K", NULL });
	summary = told_summary(box);
	/* 8 MiB / 2048: fewer than the setting's 100,000. */
	assert_int_equal(summary.rows_max, 4096);
	assert_int_equal(summary.bytes_max, 12288);
	assert_int_equal(summary.age_max_ms, 420000);
	assert_int_equal(summary.oldest_ms, 0);
	assert_int_equal(told_delete(box, "a"), LARDER_MISS);
	assert_true(told_summary(box).oldest_ms >= 0 && told_summary(box).oldest_ms < 60000);
}

/* Counts that are wrong are found, and put right. */
static void test_a_check_puts_the_counts_right(void **state)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct box *box = *state;
	struct ld_write write;
	struct ld_store *store;
	uint64_t found = 0;
	int64_t now_ms;

	box_open(box, NULL);
	store = told_store(box);
	set_many(box, 5);
	assert_int_equal(ld_enter(store, 100, &now_ms), 0);
	assert_int_equal(ld_gate_in(store, 100), 0);
	assert_int_equal(ld_write_begin(&write, store, accounts), 0);
	assert_int_equal(ld_outbox_use(&write), 0);
	write.outbox.pending += 3;
	assert_int_equal(ld_write_pending(&write, "acme", 4, 2), 0);
	assert_int_equal(ld_write_commit(&write), 0);
	ld_gate_out(store);
	ld_leave(store);
	assert_int_equal(ld_store_check(store, 0, NULL, NULL, NULL, &found), 0);
	assert_int_equal(found, 2);
	assert_int_equal(ld_store_check(store, 1, NULL, NULL, NULL, &found), 0);
	assert_int_equal(found, 2);
	told_expect(box, 5, 0, 0, 0, 0, 5);
}

#define IN_A_BOX(test) cmocka_unit_test_setup_teardown(test, box_begin, box_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_BOX(test_nothing_is_told_unasked),
		IN_A_BOX(test_a_set_is_told),
		IN_A_BOX(test_an_add_is_told_if_it_adds),
		IN_A_BOX(test_not_found_is_told_as_a_delete),
		IN_A_BOX(test_a_touch_tells_the_entry_again),
		IN_A_BOX(test_a_delete_is_told_whether_there_was_an_entry),
		IN_A_BOX(test_deletes_of_many_are_told),
		IN_A_BOX(test_a_set_while_off_is_told_as_a_delete),
		IN_A_BOX(test_the_last_write_of_a_key_wins),
		IN_A_BOX(test_a_set_whose_entry_is_gone_is_told_as_a_delete),
		IN_A_BOX(test_a_set_whose_entry_is_anothers_is_told_as_a_delete),
		IN_A_BOX(test_a_set_that_is_cleared_is_told_as_a_delete),
		IN_A_BOX(test_a_set_under_a_barrier_is_told_as_a_delete),
		IN_A_BOX(test_a_large_value_is_told_whole),
		IN_A_BOX(test_rows_come_in_the_order_of_keys_and_round_again),
		IN_A_BOX(test_values_are_bounded_but_for_the_first),
		IN_A_BOX(test_what_is_acknowledged_goes),
		IN_A_BOX(test_a_failed_set_leaves_a_delete),
		IN_A_BOX(test_a_failed_delete_folds),
		IN_A_BOX(test_a_row_written_meanwhile_is_left_alone),
		IN_A_BOX(test_rows_of_more_tenants_than_a_transaction_has_room_for),
		IN_A_BOX(test_a_pending_row_makes_a_miss_local),
		IN_A_BOX(test_a_hidden_entry_with_a_pending_set_is_a_local_miss),
		IN_A_BOX(test_many_looks_see_pending_rows),
#ifdef LARDER_FAULTS
		IN_A_BOX(test_a_set_past_its_ttl_is_told_as_a_delete),
		IN_A_BOX(test_a_stale_value_with_a_pending_row_is_not_refreshed),
		IN_A_BOX(test_a_set_that_cannot_commit_leaves_no_row),
		IN_A_BOX(test_a_settling_that_fails_changes_nothing),
		IN_A_BOX(test_without_random_bytes),
		IN_A_BOX(test_too_old_sets_become_deletes_and_deletes_fold),
#endif
		IN_A_BOX(test_over_the_bytes_a_set_is_told_as_a_delete),
		IN_A_BOX(test_over_the_rows_the_tenant_with_the_most_folds),
		IN_A_BOX(test_a_fold_is_a_slice),
		IN_A_BOX(test_one_call_may_delete_more_than_there_may_be_rows),
		IN_A_BOX(test_the_evictor_passes_over_what_is_not_told),
		IN_A_BOX(test_where_all_wait_room_is_made_all_the_same),
		IN_A_BOX(test_one_drainer_at_a_time),
		IN_A_BOX(test_a_successor_waits_for_the_dead_ones_request),
		IN_A_BOX(test_a_stopped_one_loses_it_when_its_request_is_over),
		IN_A_BOX(test_an_unquiet_unlock_is_waited_for),
		IN_A_BOX(test_rows_are_listed),
		IN_A_BOX(test_the_summary_has_the_bounds),
		IN_A_BOX(test_a_check_puts_the_counts_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
