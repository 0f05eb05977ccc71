/* SPDX-License-Identifier: MIT */
/*
 * Leases on a table of the stack, with an invented clock and invented processes: who gets one, for how long, what ends it, and what becomes of those who come
 * too late. What several processes can do to each other is in test_lease_states.c and test_lease_races.c.
 */
#include "shm/lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { NOW = 1000000, LEASE_MS = 500, SETS = 4, ANNA = 1, BERT = 2, CARL = 3 };

static struct ld_lease_row rows[SETS * LD_LEASE_WAYS] __attribute__((aligned(64)));
static const struct ld_leases table = { rows, SETS };
static const struct ld_leases one_set = { rows, 1 };

static uint32_t dead;           /* holder that is; 0 = nobody */
static unsigned asked;
static uint64_t mark;

static int is_alive(void *ctx, uint32_t holder)
{
	(void)ctx;
	asked++;
	return holder != dead;
}

static uint64_t mark_of(void *ctx)
{
	(void)ctx;
	return mark;
}

static int start(void **state)
{
	(void)state;
	memset((void *)rows, 0, sizeof(rows));
	dead = asked = 0;
	mark = 0;
	return 0;
}

static struct ld_lease_ask ask_as(uint32_t who, int64_t now_ms)
{
	return (struct ld_lease_ask){ .self = who, .now_ms = now_ms, .lease_ms = LEASE_MS, .alive = is_alive, .mark = mark_of };
}

static int64_t retry_ms;

static enum ld_lease_answer try_tag(const struct ld_leases *of, uint64_t tag, uint32_t who, int64_t now_ms, struct ld_lease *ret_lease)
{
	const struct ld_lease_ask ask = ask_as(who, now_ms);

	retry_ms = -1;
	return ld_lease_try(of, tag, &ask, ret_lease, &retry_ms);
}

static enum ld_lease_answer try_as(uint32_t who, int64_t now_ms, struct ld_lease *ret_lease)
{
	return try_tag(&table, 77, who, now_ms, ret_lease);
}

static enum ld_lease_answer try_seen(uint32_t who, uint64_t seen, struct ld_lease *ret_lease)
{
	struct ld_lease_ask ask = ask_as(who, NOW);

	ask.seen = seen;
	return ld_lease_try(&table, 77, &ask, ret_lease, &retry_ms);
}

/* What has become of it: -1 it runs, -2 it is lost, else how it ended. */
enum { RUNS = -1, LOST = -2 };
static int64_t left_ms;
static int become(const struct ld_lease *lease, int64_t now_ms)
{
	const struct ld_lease_ask ask = ask_as(CARL, now_ms);
	enum ld_lease_end end = LD_LEASE_GONE;
	enum ld_lease_now now = ld_lease_check(&table, lease, &ask, &left_ms, &end);

	return now == LD_LEASE_RUNS ? RUNS : now == LD_LEASE_IS_LOST ? LOST : (int)end;
}

static void test_one_has_it(void **state)
{
	struct ld_lease ours, theirs;

	(void)state;
	assert_int_equal(try_as(ANNA, NOW, &ours), LD_LEASE_TAKEN);
	assert_true(!ours.stored && !ours.taken_over);
	assert_int_equal(try_as(BERT, NOW + 1, &theirs), LD_LEASE_HELD);
	assert_true(theirs.row == ours.row && theirs.token == ours.token);
	/* The process that has it is no exception: it may have another thread. */
	assert_int_equal(try_as(ANNA, NOW + 1, &theirs), LD_LEASE_HELD);
	assert_int_equal(become(&theirs, NOW + 100), RUNS);
	assert_int_equal(left_ms, LEASE_MS - 100);
	assert_int_equal(ld_lease_end(&table, &ours, LD_LEASE_STORED, 0, NOW + 200), 1);
	assert_int_equal(become(&theirs, NOW + 201), LD_LEASE_STORED);
	assert_int_equal(ld_lease_end(&table, &ours, LD_LEASE_FAILED, 50, NOW + 200), 0);
	assert_int_equal(become(&theirs, NOW + 201), LD_LEASE_STORED);
	assert_int_equal(try_as(BERT, NOW + 202, &theirs), LD_LEASE_TAKEN);
	assert_true(theirs.stored && !theirs.taken_over);
}

static void test_stored_is_said_for_a_while(void **state)
{
	struct ld_lease lease;

	(void)state;
	assert_int_equal(try_as(ANNA, NOW, &lease), LD_LEASE_TAKEN);
	assert_int_equal(ld_lease_end(&table, &lease, LD_LEASE_STORED, 0, NOW), 1);
	assert_int_equal(try_as(ANNA, NOW + 8000, &lease), LD_LEASE_TAKEN);
	assert_int_equal(lease.stored, 1);
	assert_int_equal(ld_lease_end(&table, &lease, LD_LEASE_STORED, 0, NOW + 8000), 1);
	assert_int_equal(try_as(ANNA, NOW + 20000, &lease), LD_LEASE_TAKEN);
	assert_int_equal(lease.stored, 0);
	assert_int_equal(ld_lease_end(&table, &lease, LD_LEASE_UNSTORED, 0, NOW + 20000), 1);
	assert_int_equal(try_as(ANNA, NOW + 20001, &lease), LD_LEASE_TAKEN);
	assert_int_equal(lease.stored, 0);
}

/* Who asks has read the clock, and was stopped for seconds while it was stored. */
static void test_stored_is_said_to_whoever_is_late(void **state)
{
	struct ld_lease lease;

	(void)state;
	assert_int_equal(try_as(ANNA, NOW, &lease), LD_LEASE_TAKEN);
	assert_int_equal(ld_lease_end(&table, &lease, LD_LEASE_STORED, 0, NOW + 5000), 1);
	assert_int_equal(try_as(BERT, NOW + 1, &lease), LD_LEASE_TAKEN);
	assert_int_equal(lease.stored, 1);
}

/* A tag that has two rows: the other one was taken while a slow process was naming the first, which it then gave back. */
static void test_stored_is_said_by_another_row(void **state)
{
	const struct ld_lease_word naming = { LD_LEASE_IS_NAMING, BERT, 1, NOW + LD_LEASE_NAMING_MS }, gone = { LD_LEASE_IS_IDLE, LD_LEASE_GONE, 1, NOW };
	struct ld_lease lease;

	(void)state;
	atomic_store(&rows[0].word, ld_lease_pack(&naming));
	assert_int_equal(try_tag(&one_set, 77, ANNA, NOW, &lease), LD_LEASE_TAKEN);
	assert_int_equal(lease.row, 1);
	assert_int_equal(ld_lease_end(&one_set, &lease, LD_LEASE_STORED, 0, NOW), 1);
	atomic_store(&rows[0].tag, UINT64_C(77) << 16 | 1);
	atomic_store(&rows[0].word, ld_lease_pack(&gone));
	assert_int_equal(try_tag(&one_set, 77, CARL, NOW, &lease), LD_LEASE_TAKEN);
	assert_int_equal(lease.row, 0);
	assert_int_equal(lease.stored, 1);
}

static void test_time_is_over(void **state)
{
	struct ld_lease ours, theirs, third;

	(void)state;
	assert_int_equal(try_as(ANNA, NOW, &ours), LD_LEASE_TAKEN);
	assert_int_equal(try_as(BERT, NOW + LEASE_MS - 1, &theirs), LD_LEASE_HELD);
	assert_int_equal(become(&theirs, NOW + LEASE_MS - 1), RUNS);
	assert_int_equal(left_ms, 1);
	assert_int_equal(become(&theirs, NOW + LEASE_MS), LOST);
	assert_int_equal(try_as(BERT, NOW + LEASE_MS, &theirs), LD_LEASE_TAKEN);
	assert_true(theirs.taken_over && theirs.row == ours.row);
	/* The first one comes back: nothing that it does changes anything. */
	memset(&third, 0, sizeof(third));
	assert_int_equal(ld_lease_end(&table, &ours, LD_LEASE_STORED, 0, NOW + LEASE_MS + 1), 0);
	assert_int_equal(ld_lease_end(&table, &ours, LD_LEASE_FAILED, 5000, NOW + LEASE_MS + 1), 0);
	assert_int_equal(ld_lease_renew(&table, &ours, LEASE_MS, NOW + LEASE_MS + 1), 0);
	assert_int_equal(become(&ours, NOW + LEASE_MS + 1), LOST);
	assert_int_equal(try_as(CARL, NOW + LEASE_MS + 2, &third), LD_LEASE_HELD);
	assert_true(third.token == theirs.token);
	assert_int_equal(ld_lease_end(&table, &theirs, LD_LEASE_UNSTORED, 0, NOW + LEASE_MS + 3), 1);
	assert_int_equal(become(&third, NOW + LEASE_MS + 3), LD_LEASE_UNSTORED);
	assert_int_equal(become(&ours, NOW + LEASE_MS + 3), LOST);
}

/* Late, but nobody has come in between: it is still there to be ended or renewed. */
static void test_late_alone(void **state)
{
	struct ld_lease ours, theirs;

	(void)state;
	assert_int_equal(try_as(ANNA, NOW, &ours), LD_LEASE_TAKEN);
	assert_int_equal(ld_lease_renew(&table, &ours, LEASE_MS, NOW + 2 * LEASE_MS), 1);
	assert_int_equal(try_as(BERT, NOW + 3 * LEASE_MS - 1, &theirs), LD_LEASE_HELD);
	assert_int_equal(ld_lease_end(&table, &ours, LD_LEASE_STORED, 0, NOW + 4 * LEASE_MS), 1);
	assert_int_equal(become(&theirs, NOW + 4 * LEASE_MS), LD_LEASE_STORED);
}

static void test_renewed(void **state)
{
	struct ld_lease ours, before, theirs;

	(void)state;
	assert_int_equal(try_as(ANNA, NOW, &ours), LD_LEASE_TAKEN);
	before = ours;
	assert_int_equal(try_as(BERT, NOW, &theirs), LD_LEASE_HELD);
	for (int i = 1; i < 10; i++) {
		assert_int_equal(ld_lease_renew(&table, &ours, LEASE_MS, NOW + i * (LEASE_MS - 1)), 1);
		assert_int_equal(become(&theirs, NOW + i * (LEASE_MS - 1) + 1), RUNS);
	}
	/* The copy of before is of the same holding, and not good any more. */
	assert_int_equal(ld_lease_end(&table, &before, LD_LEASE_FAILED, 0, NOW), 0);
	assert_int_equal(become(&before, NOW + 9 * (LEASE_MS - 1)), RUNS);
	assert_int_equal(ld_lease_end(&table, &ours, LD_LEASE_STORED, 0, NOW), 1);
	assert_int_equal(become(&theirs, NOW + 9 * (LEASE_MS - 1)), LD_LEASE_STORED);
	assert_int_equal(ld_lease_renew(&table, &ours, LEASE_MS, NOW), 0);
}

static void test_lengths_are_bounded(void **state)
{
	struct ld_lease_ask ask = ask_as(ANNA, NOW);
	struct ld_lease lease;

	(void)state;
	ask.lease_ms = INT64_MAX / 2;
	assert_int_equal(ld_lease_try(&table, 77, &ask, &lease, &retry_ms), LD_LEASE_TAKEN);
	assert_int_equal(become(&lease, NOW), RUNS);
	assert_int_equal(left_ms, LD_LEASE_TIME_MAX_MS);
	assert_int_equal(ld_lease_renew(&table, &lease, -5, NOW), 1);
	assert_int_equal(become(&lease, NOW), RUNS);
	assert_int_equal(left_ms, 1);
	assert_int_equal(ld_lease_end(&table, &lease, LD_LEASE_FAILED, INT64_MAX / 2, NOW), 1);
	assert_int_equal(try_as(BERT, NOW, &lease), LD_LEASE_THROTTLED);
	assert_int_equal(retry_ms, LD_LEASE_TIME_MAX_MS);
}

static void test_holder_is_dead(void **state)
{
	struct ld_lease ours, theirs;

	(void)state;
	assert_int_equal(try_as(ANNA, NOW, &ours), LD_LEASE_TAKEN);
	assert_int_equal(asked, 0);
	assert_int_equal(try_as(BERT, NOW + 1, &theirs), LD_LEASE_HELD);
	assert_int_equal(asked, 1);
	dead = ANNA;
	/* Once in a while only. */
	for (int i = 1; i < LD_LEASE_ASK_MS; i++)
		assert_int_equal(try_as(BERT, NOW + 1 + i, &theirs), LD_LEASE_HELD);
	assert_int_equal(asked, 1);
	assert_int_equal(try_as(BERT, NOW + 1 + LD_LEASE_ASK_MS, &theirs), LD_LEASE_TAKEN);
	assert_int_equal(asked, 2);
	assert_int_equal(theirs.taken_over, 1);
	assert_int_equal(ld_lease_end(&table, &ours, LD_LEASE_STORED, 0, NOW), 0);
	assert_int_equal(become(&ours, NOW + 30), LOST);
}

static void test_a_waiter_finds_it_dead(void **state)
{
	struct ld_lease ours, theirs;

	(void)state;
	assert_int_equal(try_as(ANNA, NOW, &ours), LD_LEASE_TAKEN);
	assert_int_equal(try_as(BERT, NOW, &theirs), LD_LEASE_HELD);
	dead = ANNA;
	assert_int_equal(become(&theirs, NOW + LD_LEASE_ASK_MS - 1), RUNS);
	assert_int_equal(become(&theirs, NOW + LD_LEASE_ASK_MS), LOST);
	/* It has said so to all: nobody needs to ask again. */
	asked = 0;
	assert_int_equal(become(&theirs, NOW + LD_LEASE_ASK_MS), LOST);
	assert_int_equal(try_as(BERT, NOW + LD_LEASE_ASK_MS, &theirs), LD_LEASE_TAKEN);
	assert_int_equal(asked, 0);
	assert_int_equal(theirs.taken_over, 0);
}

static void test_throttled(void **state)
{
	struct ld_lease ours, theirs;

	(void)state;
	assert_int_equal(try_as(ANNA, NOW, &ours), LD_LEASE_TAKEN);
	assert_int_equal(try_as(BERT, NOW, &theirs), LD_LEASE_HELD);
	assert_int_equal(ld_lease_end(&table, &ours, LD_LEASE_FAILED, 300, NOW + 10), 1);
	assert_int_equal(become(&theirs, NOW + 10), LD_LEASE_FAILED);
	assert_int_equal(try_as(ANNA, NOW + 10, &ours), LD_LEASE_THROTTLED);
	assert_int_equal(retry_ms, 300);
	assert_int_equal(try_as(CARL, NOW + 309, &ours), LD_LEASE_THROTTLED);
	assert_int_equal(retry_ms, 1);
	assert_int_equal(try_as(CARL, NOW + 310, &ours), LD_LEASE_TAKEN);
	/* Without a time nobody is kept away, not even one whose clock was read before. */
	assert_int_equal(ld_lease_end(&table, &ours, LD_LEASE_FAILED, 0, NOW + 400), 1);
	assert_int_equal(try_as(CARL, NOW + 390, &ours), LD_LEASE_TAKEN);
	/* And only a failure throttles. */
	assert_int_equal(ld_lease_end(&table, &ours, LD_LEASE_UNSTORED, 300, NOW + 400), 1);
	assert_int_equal(try_as(CARL, NOW + 400, &ours), LD_LEASE_TAKEN);
}

/* The key is written while it is fetched. */
static void test_overtaken_by_a_write(void **state)
{
	struct ld_lease ours, theirs, third;

	(void)state;
	assert_int_equal(try_seen(ANNA, 40, &ours), LD_LEASE_TAKEN);
	mark = 40;
	assert_int_equal(try_seen(BERT, 41, &theirs), LD_LEASE_HELD);
	mark = 41;
	/* Whoever has seen no more would fetch what is not stored either. */
	assert_int_equal(try_seen(BERT, 40, &theirs), LD_LEASE_NONE);
	assert_int_equal(try_seen(BERT, 0, &theirs), LD_LEASE_NONE);
	assert_int_equal(try_seen(BERT, 41, &theirs), LD_LEASE_TAKEN);
	assert_int_equal(theirs.taken_over, 1);
	assert_int_equal(ld_lease_end(&table, &ours, LD_LEASE_STORED, 0, NOW), 0);
	assert_int_equal(try_seen(CARL, 40, &third), LD_LEASE_HELD);
	assert_int_equal(try_seen(CARL, 45, &third), LD_LEASE_HELD);
	assert_true(third.token == theirs.token);
	assert_int_equal(ld_lease_end(&table, &theirs, LD_LEASE_STORED, 0, NOW), 1);
	/* A holder that has not noted what it saw is joined by all. */
	assert_int_equal(try_seen(ANNA, 0, &ours), LD_LEASE_TAKEN);
	assert_int_equal(try_seen(CARL, 45, &third), LD_LEASE_HELD);
}

/* A slow waiter learns how its lease ended, though the row was taken again. */
static void test_slow_waiter(void **state)
{
	static const enum ld_lease_end ends[] = { LD_LEASE_FAILED, LD_LEASE_STORED, LD_LEASE_UNSTORED };
	struct ld_lease waited[LD_LEASE_ENDS + 2], ours;
	unsigned n = LD_LEASE_ENDS + 2;

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(try_as(ANNA, NOW, &ours), LD_LEASE_TAKEN);
		assert_int_equal(try_as(BERT, NOW, &waited[i]), LD_LEASE_HELD);
		if (i % 5 != 4)
			assert_int_equal(ld_lease_end(&table, &ours, ends[i % 3], 0, NOW), 1);
		else
			dead = ANNA;
		/* Each is taken over that was not ended; let some time go by, so that who is dead may be asked for. */
		if (i % 5 == 4) {
			assert_int_equal(try_as(CARL, NOW + LEASE_MS, &ours), LD_LEASE_TAKEN);
			assert_int_equal(ld_lease_end(&table, &ours, LD_LEASE_UNSTORED, 0, NOW), 1);
			dead = 0;
		}
	}
	assert_int_equal(try_as(ANNA, NOW, &ours), LD_LEASE_TAKEN);
	for (unsigned i = 0, ago = n + n / 5; i < n; i++, ago--) {
		int expected = i % 5 == 4 ? LOST : (int)ends[i % 3];

		assert_int_equal(become(&waited[i], NOW), ago > LD_LEASE_ENDS ? LOST : expected);
		ago -= i % 5 == 4;
	}
}

/* Round and round: a generation comes again after 256. A waiter of the first must wait, be told something, or be sent away; never be wedged. */
static void test_generations_go_round(void **state)
{
	struct ld_lease first, ours, theirs;

	(void)state;
	assert_int_equal(try_as(ANNA, NOW, &first), LD_LEASE_TAKEN);
	assert_int_equal(ld_lease_end(&table, &first, LD_LEASE_FAILED, 0, NOW), 1);
	for (int i = 1; i < 1000; i++) {
		int was = become(&first, NOW);

		if (i <= LD_LEASE_ENDS + 1)
			assert_int_equal(was, LD_LEASE_FAILED);
		else
			assert_int_equal(was, i % 256 >= 1 && i % 256 <= LD_LEASE_ENDS + 1 ? LD_LEASE_STORED : LOST);
		assert_int_equal(try_as(BERT, NOW, &ours), LD_LEASE_TAKEN);
		assert_int_equal(try_as(CARL, NOW, &theirs), LD_LEASE_HELD);
		/* The same generation, and another holder. */
		assert_int_equal(ld_lease_end(&table, &first, LD_LEASE_STORED, 0, NOW), 0);
		assert_int_equal(ld_lease_end(&table, &ours, LD_LEASE_STORED, 0, NOW), 1);
		assert_int_equal(become(&theirs, NOW), LD_LEASE_STORED);
	}
}

/* The time in the word goes round after 49 days. */
static void test_time_goes_round(void **state)
{
	const int64_t round = INT64_C(1) << 32;
	struct ld_lease ours, theirs;

	(void)state;
	for (int64_t now = round - 2 * LEASE_MS; now < round + 2 * LEASE_MS; now += 7) {
		assert_int_equal(try_as(ANNA, now, &ours), LD_LEASE_TAKEN);
		assert_int_equal(try_as(BERT, now + LEASE_MS - 1, &theirs), LD_LEASE_HELD);
		assert_int_equal(become(&theirs, now + LEASE_MS), LOST);
		assert_int_equal(ld_lease_end(&table, &ours, LD_LEASE_FAILED, 5, now), 1);
		assert_int_equal(try_as(BERT, now + 4, &theirs), LD_LEASE_THROTTLED);
	}
	/* Left behind for 49 days less a moment: it looks held; and is not, once its holder is known to be dead, or after an hour. */
	assert_int_equal(try_as(ANNA, NOW, &ours), LD_LEASE_TAKEN);
	assert_int_equal(try_as(BERT, NOW + round, &theirs), LD_LEASE_HELD);
	assert_int_equal(try_as(BERT, NOW + round + LEASE_MS, &theirs), LD_LEASE_TAKEN);
	start(NULL);
	assert_int_equal(try_as(ANNA, NOW, &ours), LD_LEASE_TAKEN);
	dead = ANNA;
	assert_int_equal(try_as(BERT, NOW + round, &theirs), LD_LEASE_TAKEN);
}

/* Eight are held: the ninth gets none, unless one of them is dead or over time. */
static void test_full(void **state)
{
	struct ld_lease held[LD_LEASE_WAYS], more;

	(void)state;
	for (unsigned i = 0; i < LD_LEASE_WAYS; i++)
		assert_int_equal(try_tag(&one_set, 100 + i, ANNA, NOW + i, &held[i]), LD_LEASE_TAKEN);
	for (unsigned i = 0; i < LD_LEASE_WAYS; i++)
		for (unsigned k = 0; k < i; k++)
			assert_true(held[i].row != held[k].row);
	assert_int_equal(try_tag(&one_set, 200, BERT, NOW + 10, &more), LD_LEASE_NONE);
	assert_int_equal(try_tag(&one_set, 103, BERT, NOW + 10, &more), LD_LEASE_HELD);
	/* An idle one is used at once. */
	assert_int_equal(ld_lease_end(&one_set, &held[5], LD_LEASE_STORED, 0, NOW + 10), 1);
	assert_int_equal(try_tag(&one_set, 200, BERT, NOW + 11, &more), LD_LEASE_TAKEN);
	assert_true(more.row == held[5].row && !more.stored && !more.taken_over);
	assert_int_equal(try_tag(&one_set, 105, BERT, NOW + 11, &more), LD_LEASE_NONE);
	dead = ANNA;
	assert_int_equal(try_tag(&one_set, 105, BERT, NOW + 30, &more), LD_LEASE_TAKEN);
	assert_int_equal(more.taken_over, 1);
	dead = 0;
	assert_int_equal(try_tag(&one_set, 300, BERT, NOW + LEASE_MS - 1, &more), LD_LEASE_NONE);
	assert_int_equal(try_tag(&one_set, 300, BERT, NOW + LEASE_MS + 1, &more), LD_LEASE_TAKEN);
}

/* A row that is throttled gives way before the table is full; the one with the least left first. */
static void test_full_of_throttled(void **state)
{
	struct ld_lease lease, rows_of[LD_LEASE_WAYS];

	(void)state;
	for (unsigned i = 0; i < LD_LEASE_WAYS; i++) {
		assert_int_equal(try_tag(&one_set, 100 + i, ANNA, NOW, &rows_of[i]), LD_LEASE_TAKEN);
		assert_int_equal(ld_lease_end(&one_set, &rows_of[i], LD_LEASE_FAILED, i == 3 ? 50 : 100 + i, NOW), 1);
	}
	assert_int_equal(try_tag(&one_set, 104, BERT, NOW, &lease), LD_LEASE_THROTTLED);
	assert_int_equal(try_tag(&one_set, 200, BERT, NOW, &lease), LD_LEASE_TAKEN);
	assert_int_equal(lease.row, rows_of[3].row);
	assert_int_equal(try_tag(&one_set, 103, BERT, NOW, &lease), LD_LEASE_TAKEN);
	assert_int_equal(lease.row, rows_of[0].row);
}

/* Which row is given away: one that nobody ever had, then that which is idle for the longest time. */
static void test_oldest_row_goes_first(void **state)
{
	struct ld_lease lease, rows_of[LD_LEASE_WAYS];

	(void)state;
	for (unsigned i = 0; i < LD_LEASE_WAYS; i++) {
		assert_int_equal(try_tag(&one_set, 100 + i, ANNA, NOW, &rows_of[i]), LD_LEASE_TAKEN);
		assert_int_equal(rows_of[i].row, i);
		assert_int_equal(ld_lease_end(&one_set, &rows_of[i], LD_LEASE_STORED, 0, NOW + (i * 5) % 8 * 10), 1);
	}
	/* By when they ended: 0, 5, 2, 7, 4, 1, 6, 3. */
	for (unsigned i = 0; i < LD_LEASE_WAYS; i++) {
		assert_int_equal(try_tag(&one_set, 200 + i, ANNA, NOW + 100, &lease), LD_LEASE_TAKEN);
		assert_int_equal(lease.row, i * 5 % 8);
	}
}

/* Two tags that are told apart by nothing that a row has: one waits for the other, in vain. */
static void test_tags_collide(void **state)
{
	const uint64_t tag = UINT64_C(0x0001123456789abc), same = UINT64_C(0x0002123456789abc);
	struct ld_lease ours, theirs;

	(void)state;
	assert_int_equal(try_tag(&one_set, tag, ANNA, NOW, &ours), LD_LEASE_TAKEN);
	assert_int_equal(try_tag(&one_set, same, BERT, NOW, &theirs), LD_LEASE_HELD);
	assert_int_equal(ld_lease_end(&one_set, &ours, LD_LEASE_STORED, 0, NOW), 1);
	assert_int_equal(become(&theirs, NOW), LD_LEASE_STORED);
	assert_int_equal(try_tag(&one_set, same, BERT, NOW, &theirs), LD_LEASE_TAKEN);
	/* A tag of nothing but zeros is one as any other, and an empty row is not its own. */
	assert_int_equal(try_tag(&one_set, 0, ANNA, NOW, &ours), LD_LEASE_TAKEN);
	assert_int_equal(try_tag(&one_set, 0, BERT, NOW, &theirs), LD_LEASE_HELD);
}

/* A taker that died or was stopped before it held the row. */
static void test_left_half_taken(void **state)
{
	const struct ld_lease_word left = { LD_LEASE_IS_NAMING, ANNA, 2, NOW + LD_LEASE_NAMING_MS };
	struct ld_lease ours, theirs;

	(void)state;
	assert_int_equal(try_as(ANNA, NOW, &ours), LD_LEASE_TAKEN);
	assert_int_equal(ld_lease_end(&table, &ours, LD_LEASE_STORED, 0, NOW), 1);
	rows[ours.row].word = ld_lease_pack(&left);
	assert_int_equal(try_as(BERT, NOW, &theirs), LD_LEASE_HELD);
	assert_int_equal(become(&theirs, NOW + 1), RUNS);
	assert_int_equal(become(&theirs, NOW + LD_LEASE_NAMING_MS), LOST);
	assert_int_equal(try_as(BERT, NOW + LD_LEASE_NAMING_MS, &theirs), LD_LEASE_TAKEN);
	assert_true(theirs.taken_over && theirs.row == ours.row);
	/* What came before it was not written down: whoever slept through it all tries again. */
	assert_int_equal(become(&ours, NOW), LOST);
	/* The same when it is dead, without waiting for its time. */
	assert_int_equal(ld_lease_end(&table, &theirs, LD_LEASE_STORED, 0, NOW + 100), 1);
	rows[ours.row].word = ld_lease_pack(&left);
	dead = ANNA;
	assert_int_equal(try_as(BERT, NOW + LD_LEASE_NAMING_MS - 1, &theirs), LD_LEASE_HELD);
	rows[ours.row].asked_ms = 0;
	assert_int_equal(try_as(BERT, NOW + LD_LEASE_NAMING_MS - 1, &theirs), LD_LEASE_TAKEN);
}

static void test_look(void **state)
{
	struct ld_lease_view view;
	struct ld_lease lease, other;

	(void)state;
	assert_int_equal(ld_lease_look(&table, 77, NOW, &view), 0);
	assert_int_equal(try_seen(ANNA, 41, &lease), LD_LEASE_TAKEN);
	assert_int_equal(try_as(BERT, NOW, &other), LD_LEASE_HELD);
	ld_lease_sleep(&table, &other, 1, 1);
	ld_lease_sleep(&table, &other, 0, 1);
	assert_int_equal(ld_lease_look(&table, 77, NOW + 30, &view), 1);
	assert_true(view.held && view.holder == ANNA && view.age_ms == 30 && view.left_ms == LEASE_MS - 30 && view.seen == 41 && view.waiting == 1);
	assert_true(view.throttled_ms == 0 && view.failed_ago_ms == -1);
	assert_int_equal(ld_lease_end(&table, &lease, LD_LEASE_FAILED, 200, NOW + 40), 1);
	assert_int_equal(ld_lease_look(&table, 77, NOW + 50, &view), 1);
	assert_true(!view.held && view.throttled_ms == 190 && view.failed_ago_ms == 10);
	assert_int_equal(try_as(ANNA, NOW + 300, &lease), LD_LEASE_TAKEN);
	assert_int_equal(ld_lease_look(&table, 77, NOW + 300, &view), 1);
	assert_true(view.held && view.waiting == 0 && view.failed_ago_ms == 260);
	assert_int_equal(ld_lease_look(&table, 77, NOW + 300 + LEASE_MS, &view), 1);
	assert_int_equal(view.held, 0);
}

static void test_sizes(void **state)
{
	(void)state;
	assert_int_equal(ld_lease_sets(0), 1);
	assert_int_equal(ld_lease_sets(8), 1);
	assert_int_equal(ld_lease_sets(9), 2);
	assert_int_equal(ld_lease_sets(4096), 512);
	assert_int_equal(ld_lease_size(4096), 262144);
	for (unsigned i = 0; i < 1000; i++) {
		struct ld_lease lease;

		/* The highest tags are in the last set. */
		start(NULL);
		assert_int_equal(try_tag(&table, UINT64_MAX - i, ANNA, NOW, &lease), LD_LEASE_TAKEN);
		assert_int_equal(lease.row / LD_LEASE_WAYS, SETS - 1);
	}
}

#define TEST(fn) cmocka_unit_test_setup(fn, start)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_has_it), TEST(test_stored_is_said_for_a_while), TEST(test_stored_is_said_to_whoever_is_late), TEST(test_stored_is_said_by_another_row),
		TEST(test_time_is_over),
		TEST(test_late_alone), TEST(test_renewed),
		TEST(test_lengths_are_bounded), TEST(test_holder_is_dead), TEST(test_a_waiter_finds_it_dead), TEST(test_throttled),
		TEST(test_overtaken_by_a_write), TEST(test_slow_waiter), TEST(test_generations_go_round), TEST(test_time_goes_round),
		TEST(test_full), TEST(test_full_of_throttled), TEST(test_oldest_row_goes_first), TEST(test_tags_collide),
		TEST(test_left_half_taken), TEST(test_look), TEST(test_sizes),
	};

	return cmocka_run_group_tests_name("lease", tests, NULL, NULL);
}
