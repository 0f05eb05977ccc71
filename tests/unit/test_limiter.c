/* SPDX-License-Identifier: MIT */
/*
 * The limiter with an invented clock: exact counts for rates, bursts and costs; every decision beside that of a sequential model; rows that are
 * given to other tags, sets without a free row, what a killed process leaves, tags with two rows; a cold host; long uptimes.
 */
#include "shm/limiter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#define S INT64_C(1000000000)
#define MS INT64_C(1000000)
#define PER_S LD_LIMIT_PER_S
#define YEAR (365 * 86400 * S)
#define FROZEN (UINT64_C(1) << 63)
#define TICKS 16

enum { SETS_MAX = 512, THREADS = 4 };

struct table {
	struct ld_limiter_head head;
	struct ld_limiter_set sets[SETS_MAX];
};

static struct table table;
static struct ld_limiter limiter;

static void fresh(uint64_t sets)
{
	memset(&table, 0, sizeof(table));
	limiter = (struct ld_limiter){ &table.head, table.sets, sets };
}

static int64_t take(uint64_t tag, const struct ld_limit_rule *rule, uint32_t cost, int64_t now_ns)
{
	struct ld_limit_taken taken;
	int64_t before = ld_limiter_wait_ms(&limiter, tag, rule, cost, now_ns), is;

	is = ld_limiter_take(&limiter, tag, rule, cost, now_ns, &taken);
	/* Nobody else is there: what was foretold is so. */
	assert_int_equal(is, before);
	return is;
}

/* How many of cost 1 are admitted at one moment. */
static unsigned greedy(uint64_t tag, const struct ld_limit_rule *rule, int64_t now_ns)
{
	unsigned admitted = 0;

	while (take(tag, rule, 1, now_ns) == 0)
		admitted++;
	return admitted;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

static void test_sizes(void **state)
{
	(void)state;
	assert_int_equal(ld_limiter_sets(0), 1);
	assert_int_equal(ld_limiter_sets(1), 1);
	assert_int_equal(ld_limiter_sets(7), 1);
	assert_int_equal(ld_limiter_sets(8), 2);
	assert_int_equal(ld_limiter_size(7), 256);
	assert_int_equal(ld_limiter_size(16384), 128 + 2341 * 128);
}

static void test_a_burst_then_the_rate(void **state)
{
	const struct ld_limit_rule rule = { 10 * PER_S, 5, 0 };
	int64_t t = 1000 * S;

	(void)state;
	fresh(1);
	assert_int_equal(greedy(1, &rule, t), 5);
	assert_int_equal(take(1, &rule, 1, t), 100);
	assert_int_equal(take(1, &rule, 1, t + 1), 100);
	assert_int_equal(take(1, &rule, 1, t + 99 * MS), 1);
	assert_int_equal(take(1, &rule, 1, t + 100 * MS - 1), 1);
	assert_int_equal(take(1, &rule, 1, t + 100 * MS), 0);
	assert_int_equal(take(1, &rule, 1, t + 100 * MS), 100);
	assert_int_equal(take(1, &rule, 3, t + 100 * MS), 300);
	assert_int_equal(greedy(1, &rule, t + 350 * MS), 2);
	assert_int_equal(greedy(1, &rule, t + 100 * S), 5);
	/* Another tag has a bucket of its own. */
	assert_int_equal(greedy(2, &rule, t + 100 * S), 5);
}

static void test_costs(void **state)
{
	const struct ld_limit_rule rule = { PER_S, 10, 0 };
	int64_t t = S;

	(void)state;
	fresh(1);
	assert_int_equal(take(1, &rule, 11, t), -1);
	assert_int_equal(take(1, &rule, UINT32_MAX, t), -1);
	assert_int_equal(take(1, &rule, 10, t), 0);
	assert_int_equal(take(1, &rule, 10, t), 10000);
	assert_int_equal(take(1, &rule, 1, t), 1000);
	assert_int_equal(take(1, &rule, 11, t), -1);
	assert_int_equal(take(1, &rule, 4, t + 4 * S - 1), 1);
	assert_int_equal(take(1, &rule, 4, t + 4 * S), 0);
	assert_int_equal(take(1, &rule, 7, t + 10 * S), 1000);
	assert_int_equal(take(1, &rule, 6, t + 10 * S), 0);
}

static void test_a_burst_that_is_not_given(void **state)
{
	static const struct {
		int64_t rate;
		unsigned burst;
	} rows[] = { { LD_LIMIT_RATE_MIN, 1 }, { PER_S / 60, 1 }, { PER_S, 1 }, { 5 * PER_S / 2, 2 }, { 100 * PER_S, 100 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct ld_limit_rule rule = { rows[i].rate, 0, 0 };

		fresh(1);
		assert_int_equal(greedy(1, &rule, YEAR), rows[i].burst);
	}
}

/*
 * As many as there are, for a long time, asked for every `step`: at most rate x time + burst, reckoned exactly, and hardly less.
 */
static void check_rate(int64_t rate, int64_t burst, int64_t step_ns, int64_t for_ns, int64_t start_ns)
{
	const struct ld_limit_rule rule = { rate, burst, 0 };
	uint64_t admitted = 0, most;

	fresh(1);
	for (int64_t t = 0; t <= for_ns; t += step_ns) {
		admitted += greedy(7, &rule, start_ns + t);
		most = (uint64_t)((unsigned __int128)rate * (unsigned __int128)t / 1000000000000000000) + (uint64_t)burst;
		assert_true(admitted <= most);
	}
	most = (uint64_t)((unsigned __int128)rate * (unsigned __int128)for_ns / 1000000000000000000) + (uint64_t)burst;
	if ((double)admitted < (double)most * (1 - 7e-5) - 1)
		fail_msg("rate %lld: %llu admitted of %llu", (long long)rate, (unsigned long long)admitted, (unsigned long long)most);
}

static void test_rates(void **state)
{
	static const int64_t rates[] = { 60, 3600, 1 };
	static const int64_t fast[] = { 999999 * PER_S, 1000000 * PER_S, 700000 * PER_S, 123457 * PER_S, 65537 * PER_S + 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
		check_rate(PER_S / rates[i], 3, S, 20000 * S, YEAR);
	check_rate(3 * PER_S, 2, 7 * MS, 1000 * S, S);
	check_rate(1000 * PER_S, 50, 10 * MS, 100 * S, S);
	for (size_t i = 0; i < sizeof(fast) / sizeof(fast[0]); i++)
		check_rate(fast[i], 1000, 500000, 2 * S, 3 * YEAR + 12345);
}

/* ---- the model ---- */

enum { TAGS = 60 };

struct model {
	unsigned __int128 full_at[TAGS];  /* in sixteenths of a nanosecond */
	int64_t half_until_ms;
};

/* GCRA as its definition has it, one after the other. */
static int64_t model_take(struct model *model, unsigned i, const struct ld_limit_rule *rule, uint32_t cost, int64_t now_ns)
{
	unsigned __int128 now = (unsigned __int128)now_ns * TICKS, at = model->full_at[i] > now ? model->full_at[i] : now;
	unsigned __int128 interval = ((unsigned __int128)1000000000 * 1000000000 * TICKS + (unsigned __int128)rule->rate - 1) / (unsigned __int128)rule->rate;
	unsigned __int128 depth = interval * (unsigned __int128)rule->burst, most = now + depth;

	if (cost > rule->burst)
		return -1;
	if (rule->cold && now_ns / MS < model->half_until_ms)
		interval *= 2;
	if (at + interval * cost > most && at != now) {
		unsigned __int128 over = interval * cost > depth ? at - now : at + interval * cost - most;

		return (int64_t)((over + MS * TICKS - 1) / (MS * TICKS));
	}
	model->full_at[i] = at + interval * cost;
	return 0;
}

static void test_as_the_model(void **state)
{
	static struct model model;
	struct ld_limit_rule rules[TAGS];
	uint64_t tags[TAGS], random = 88172645463325252u, per_set[SETS_MAX] = { 0 };
	int64_t now = S;
	uint64_t admitted = 0, refused = 0;

	(void)state;
	fresh(SETS_MAX);
	memset(&model, 0, sizeof(model));
	for (unsigned i = 0; i < TAGS; i++) {
		random = mix(random + 1);
		tags[i] = mix(i + 1000);
		/* Never more than a set has rows: sharing is tested elsewhere. */
		assert_true(++per_set[(tags[i] >> 32) * SETS_MAX >> 32] <= LD_LIMIT_WAYS);
		rules[i] = (struct ld_limit_rule){ (int64_t)(random % (i % 2 ? 100 : 100000) + 1) * (PER_S / 50), (int64_t)(random >> 40) % 50 + 1, i % 3 == 0 };
	}
	for (unsigned n = 0; n < 400000; n++) {
		unsigned i;
		uint32_t cost;
		int64_t is, expected;

		random = mix(random + n);
		i = (unsigned)(random % TAGS);
		cost = (uint32_t)(random >> 20) % 8 == 0 ? (uint32_t)(random >> 30) % 60 + 1 : 1;
		now += (int64_t)(random >> 50) % 1000 * 1000 + (n % 50000 == 0 ? YEAR / 7 : 0) + (n % 1000 == 0 ? 30 * S : 0);
		if (n % 7001 == 0) {
			model.half_until_ms = now / MS + 3000;
			ld_limiter_half_until(&limiter, model.half_until_ms);
		}
		expected = model_take(&model, i, &rules[i], cost, now);
		is = take(tags[i], &rules[i], cost, now);
		if (is != expected)
			fail_msg("take %u, tag %u, cost %u: %lld, not %lld", n, i, cost, (long long)is, (long long)expected);
		admitted += is == 0;
		refused += is > 0;
	}
	assert_true(admitted > 20000 && refused > 20000);
}

/* ---- rows and sets ---- */

static unsigned owned(const struct ld_limiter_set *set, uint64_t tag)
{
	unsigned rows = 0;

	for (int i = 0; i < LD_LIMIT_WAYS; i++)
		rows += atomic_load(&set->rows[i].owner) >> 16 == tag;
	return rows;
}

static void test_idle_rows_are_given_away(void **state)
{
	const struct ld_limit_rule rule = { PER_S, 1, 0 };
	int64_t t = 50 * S;

	(void)state;
	fresh(1);
	for (uint64_t tag = 1; tag <= LD_LIMIT_WAYS; tag++)
		assert_int_equal(greedy(tag, &rule, t + (int64_t)tag), 1);
	/* Full again after a second, idle a tenth later: the one that was first is the first to go. */
	assert_int_equal(take(8, &rule, 1, t + S + LD_LIMIT_IDLE_NS), 0);
	assert_int_equal(owned(table.sets, 8), 0);
	assert_int_equal(take(9, &rule, 1, t + S + LD_LIMIT_IDLE_NS + 1), 1000);
	assert_int_equal(owned(table.sets, 9), 1);
	assert_int_equal(owned(table.sets, 1), 0);
	assert_int_equal(owned(table.sets, 2), 1);
	for (uint64_t round = 1; round < 100; round++)
		for (uint64_t tag = 100 * round; tag < 100 * round + LD_LIMIT_WAYS; tag++)
			assert_int_equal(greedy(tag, &rule, t + (int64_t)(round + 5) * 2 * S), 1);
}

static void test_what_is_given_away_counts(void **state)
{
	const struct ld_limit_rule rule = { 1000 * PER_S, 1, 0 };

	(void)state;
	fresh(1);
	for (uint64_t n = 0; n < 70000 * LD_LIMIT_WAYS; n++)
		assert_int_equal(take(n % 50 + 1, &rule, 1, (int64_t)(n + 1) * S), 0);
}

static void test_a_full_set_shares_a_row(void **state)
{
	const struct ld_limit_rule rule = { 10 * PER_S, 4, 0 }, quick = { 1000 * PER_S, 2, 0 };
	struct ld_limit_taken taken;
	struct ld_limit_view view;
	int64_t t = 50 * S;

	(void)state;
	fresh(1);
	for (uint64_t tag = 1; tag <= LD_LIMIT_WAYS; tag++)
		assert_int_equal(take(tag, &rule, 1, t), 0);
	assert_int_equal(ld_limiter_take(&limiter, 8, &rule, 1, t, &taken), 0);
	assert_int_equal(taken.shared, 1);
	assert_int_equal(take(9, &rule, 2, t), 0);
	assert_int_equal(take(10, &rule, 2, t), 100);
	assert_int_equal(greedy(8, &rule, t), 1);
	assert_int_equal(greedy(10, &rule, t), 0);
	/* It waits for what the others took. */
	assert_int_equal(take(11, &quick, 1, t), 399);
	/* Those with a row have what is theirs. */
	for (uint64_t tag = 1; tag <= LD_LIMIT_WAYS; tag++)
		assert_int_equal(greedy(tag, &rule, t), 3);
	ld_limiter_look(&limiter, 3, &rule, t, &view);
	assert_true(view.known && view.left == 0 && view.full_ms == 400);
	ld_limiter_look(&limiter, 8, &rule, t, &view);
	assert_true(!view.known && view.left == 0 && view.full_ms == 400);
	/* A row falls idle: whoever gets it begins with what the shared row was ahead, but not with more than its own depth. */
	assert_int_equal(greedy(8, &rule, t + 300 * MS), 3);
	assert_int_equal(take(9, &rule, 4, t + 600 * MS), 100);
	assert_int_equal(owned(table.sets, 9), 1);
	assert_int_equal(take(11, &quick, 1, t + 600 * MS), 1);
	assert_int_equal(owned(table.sets, 11), 1);
	assert_int_equal(greedy(11, &quick, t + 601 * MS), 1);
	assert_int_equal(greedy(11, &quick, t + 603 * MS), 2);
}

/* More tags than rows, all of them busy: nobody is refused for good, and nobody gets too much. */
static void test_more_tags_than_rows(void **state)
{
	enum { MANY = 40 };
	const struct ld_limit_rule rule = { 5 * PER_S, 2, 0 };
	unsigned admitted[MANY] = { 0 };
	uint64_t random = 1;
	int64_t start = 9 * S, end = start + 60 * S;

	(void)state;
	fresh(1);
	for (int64_t now = start; now <= end; now += 10 * MS) {
		unsigned tag = (unsigned)((random = mix(random)) % MANY);

		admitted[tag] += take(tag + 1, &rule, 1, now) == 0;
	}
	for (unsigned tag = 0; tag < MANY; tag++)
		assert_true(admitted[tag] >= 10 && admitted[tag] <= 302);
}

/* Two tags that cannot be told apart in their set have one bucket. */
static void test_tags_that_look_the_same(void **state)
{
	const struct ld_limit_rule rule = { PER_S, 3, 0 };

	(void)state;
	fresh(1);
	assert_int_equal(take(UINT64_C(0xabcd000000000001), &rule, 2, S), 0);
	assert_int_equal(greedy(UINT64_C(0x1234000000000001), &rule, S), 1);
	/* A label of zero is as good as any. */
	assert_int_equal(greedy(UINT64_C(0x1234000000000000), &rule, S), 0);
	assert_int_equal(greedy(2, &rule, S), 3);
	fresh(2);
	assert_int_equal(greedy(UINT64_C(0xffff000000000001), &rule, S), 3);
	assert_int_equal(greedy(UINT64_C(0x1234000000000001), &rule, S), 3);
}

/* ---- what the killed leave ---- */

static void test_a_frozen_row_comes_back(void **state)
{
	const struct ld_limit_rule rule = { PER_S, 2, 0 };
	int64_t t = 50 * S;

	(void)state;
	for (int named = 0; named < 2; named++) {
		fresh(1);
		for (int i = 0; i < LD_LIMIT_WAYS; i++) {
			atomic_store(&table.sets[0].rows[i].until, FROZEN | (uint64_t)(t + 10 * MS) * TICKS);
			atomic_store(&table.sets[0].rows[i].owner, (named ? UINT64_C(9) : UINT64_C(3)) << 16 | 65535);
		}
		/* The old owner is gone; the new one, if it was named already, waits, for what it took may be counted in two places. */
		assert_int_equal(take(4, &rule, 1, t), 0);
		assert_int_equal(greedy(named ? 3 : 4, &rule, t), 1);
		assert_int_equal(owned(table.sets, 4), 0);
		/* Not foretold: the wait is for the lease. */
		if (named)
			assert_int_equal(ld_limiter_take(&limiter, 9, &rule, 1, t, &(struct ld_limit_taken){ 0 }), 1);
		t += 110 * MS;
		assert_int_equal(greedy(named ? 9 : 4, &rule, t), 0);
		assert_int_equal(owned(table.sets, named ? 9 : 4), named ? LD_LIMIT_WAYS : 1);
		assert_int_equal(greedy(5, &rule, t + 3 * S), 2);
	}
}

static void test_two_rows_of_one_tag(void **state)
{
	const struct ld_limit_rule rule = { PER_S, 6, 0 };
	int64_t t = 50 * S;

	(void)state;
	fresh(1);
	for (int i = 2; i < 5; i++)
		atomic_store(&table.sets[0].rows[i].owner, UINT64_C(77) << 16);
	atomic_store(&table.sets[0].rows[2].until, (uint64_t)(t + 2 * S) * TICKS);
	atomic_store(&table.sets[0].rows[3].until, (uint64_t)(t + S) * TICKS);
	atomic_store(&table.sets[0].rows[4].until, (uint64_t)(t - S) * TICKS);
	assert_int_equal(greedy(77, &rule, t), 3);
	assert_int_equal(take(77, &rule, 1, t), 1000);
	/* Each row drains by itself: two at a time is too much for some of it, and is not admitted. */
	assert_int_equal(greedy(77, &rule, t + S), 2);
	assert_int_equal(greedy(77, &rule, t + 2 * S), 1);
	assert_int_equal(greedy(77, &rule, t + 20 * S), 6);
}

static void test_give_back(void **state)
{
	const struct ld_limit_rule rule = { PER_S, 3, 0 };
	struct ld_limit_taken first, second;
	struct ld_limit_view view;

	(void)state;
	fresh(1);
	assert_int_equal(ld_limiter_take(&limiter, 1, &rule, 2, S, &first), 0);
	assert_int_equal(ld_limiter_give_back(&first), 1);
	assert_int_equal(ld_limiter_give_back(&first), 0);
	ld_limiter_look(&limiter, 1, &rule, S, &view);
	assert_true(view.known && view.left == 3 && view.full_ms == 0);
	assert_int_equal(ld_limiter_take(&limiter, 1, &rule, 1, S, &first), 0);
	assert_int_equal(ld_limiter_take(&limiter, 1, &rule, 1, S, &second), 0);
	assert_int_equal(ld_limiter_give_back(&first), 0);
	assert_int_equal(ld_limiter_give_back(&second), 1);
	assert_int_equal(ld_limiter_give_back(&first), 1);
	ld_limiter_look(&limiter, 1, &rule, S, &view);
	assert_int_equal(view.left, 3);
}

/* ---- rules that change ---- */

static void test_a_cold_host(void **state)
{
	const struct ld_limit_rule cold = { 10 * PER_S, 4, 1 }, all = { 10 * PER_S, 4, 0 }, one = { 10 * PER_S, 1, 1 };
	struct ld_limit_view view;
	int64_t t = 50 * S;

	(void)state;
	fresh(4);
	ld_limiter_half_until(&limiter, 60000);
	ld_limiter_half_until(&limiter, 59000);
	assert_int_equal(greedy(1, &cold, t), 2);
	assert_int_equal(take(1, &cold, 1, t), 200);
	assert_int_equal(greedy(2, &all, t), 4);
	/* More than half the burst goes through a full bucket, once. */
	assert_int_equal(take(3, &cold, 4, t), 0);
	assert_int_equal(take(3, &cold, 4, t), 800);
	assert_int_equal(take(3, &cold, 1, t), 600);
	assert_int_equal(take(3, &cold, 5, t), -1);
	ld_limiter_look(&limiter, 4, &one, t, &view);
	assert_true(view.left == 1 && !view.known);
	assert_int_equal(greedy(4, &one, t), 1);
	ld_limiter_look(&limiter, 4, &one, t, &view);
	assert_true(view.left == 0 && view.full_ms == 200 && view.known);
	/* Five seconds at half the rate. */
	for (int64_t at = t + MS; at < t + 5 * S; at += MS)
		assert_true(take(1, &cold, 1, at) != 0 || (at - t) % (200 * MS) == 0);
	/* The last moment of it, and after it. */
	assert_int_equal(greedy(5, &cold, 60 * S - 1), 2);
	assert_int_equal(greedy(6, &cold, 60 * S), 4);
	/* The end of it gives nobody more than there is: two for 400 ms; 200 ms later two of full rate. */
	assert_int_equal(greedy(5, &cold, 60 * S), 0);
	assert_int_equal(greedy(5, &cold, 60 * S + 200 * MS), 2);
	/* Nor does its beginning. */
	assert_int_equal(greedy(7, &all, 61 * S), 4);
	ld_limiter_half_until(&limiter, 70000);
	assert_int_equal(take(7, &cold, 1, 61 * S), 200);
}

static void test_a_rate_that_changes(void **state)
{
	const struct ld_limit_rule slow = { PER_S, 4, 0 }, quick = { 100 * PER_S, 4, 0 };
	int64_t t = 50 * S;

	(void)state;
	fresh(1);
	assert_int_equal(greedy(1, &slow, t), 4);
	/* Four seconds ahead is a long time for the quick one. */
	assert_int_equal(take(1, &quick, 1, t), 3970);
	assert_int_equal(greedy(1, &quick, t + 4 * S), 4);
	assert_int_equal(greedy(1, &slow, t + 4 * S), 3);
}

static void test_long_uptimes(void **state)
{
	const struct ld_limit_rule slow = { LD_LIMIT_RATE_MIN, 1000000000, 0 }, quick = { LD_LIMIT_RATE_MAX, 1000000000, 0 };
	struct ld_limit_view view;

	(void)state;
	for (int64_t years = 0; years <= 15; years += 5) {
		int64_t t = years * YEAR + 1;

		fresh(1);
		assert_int_equal(take(1, &quick, 1000000000, t), 0);
		assert_int_equal(take(1, &quick, 1000000000, t), 1000000);
		assert_int_equal(take(1, &quick, 1, t + 1000), 0);
		assert_int_equal(take(1, &quick, 1000000000, t + 1000 * S + 1000), 0);
		/* A bucket is no deeper than two years and a quarter. */
		assert_int_equal(take(2, &slow, 1000000000, t), 0);
		ld_limiter_look(&limiter, 2, &slow, t, &view);
		assert_int_equal(view.full_ms, (INT64_C(1) << 60) / TICKS / MS + 1);
		assert_int_equal(take(2, &slow, 1, t + 1000000 * S), 0);
	}
	/* The moment of the boot. */
	fresh(1);
	assert_int_equal(take(1, &quick, 1, 0), 0);
	assert_int_equal(take(2, &slow, 1, 0), 0);
}

/* ---- threads ---- */

struct crowd {
	pthread_barrier_t start;
	_Atomic uint32_t admitted[32];
	unsigned tags;
	struct ld_limit_rule rule;
};

static void *take_in_a_crowd(void *arg)
{
	struct crowd *crowd = arg;
	uint64_t random = (uint64_t)(uintptr_t)&random;

	pthread_barrier_wait(&crowd->start);
	for (unsigned n = 0; n < 20000; n++) {
		unsigned tag = (unsigned)((random = mix(random + n)) % crowd->tags);
		struct ld_limit_taken taken;

		if (ld_limiter_take(&limiter, tag + 1, &crowd->rule, 1, 50 * S, &taken) == 0)
			atomic_fetch_add(&crowd->admitted[tag], 1);
	}
	return NULL;
}

/* A clock that stands still: each tag has its burst and not one more, and those with a row have all of it. */
static void check_crowd(unsigned tags, unsigned times)
{
	for (unsigned n = 0; n < times; n++) {
		struct crowd crowd = { .tags = tags, .rule = { PER_S, 500, 0 } };
		pthread_t threads[THREADS];
		unsigned whole = 0, all = 0;

		fresh(1);
		pthread_barrier_init(&crowd.start, NULL, THREADS);
		for (int i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, take_in_a_crowd, &crowd), 0);
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		pthread_barrier_destroy(&crowd.start);
		for (unsigned tag = 0; tag < tags; tag++) {
			assert_true(crowd.admitted[tag] <= 500);
			whole += crowd.admitted[tag] == 500;
			all += crowd.admitted[tag];
		}
		/* A tag may have two rows, and a take be lost to a race: hardly more than that is missing. */
		assert_true(tags > LD_LIMIT_WAYS ? whole >= 1 && all <= 500 * (LD_LIMIT_WAYS + 1) : all >= 490 * tags);
	}
}

static void test_threads_at_once(void **state)
{
	(void)state;
	check_crowd(1, 10);
	check_crowd(3, 10);
	check_crowd(20, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_a_burst_then_the_rate),
		cmocka_unit_test(test_costs),
		cmocka_unit_test(test_a_burst_that_is_not_given),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_as_the_model),
		cmocka_unit_test(test_idle_rows_are_given_away),
		cmocka_unit_test(test_what_is_given_away_counts),
		cmocka_unit_test(test_a_full_set_shares_a_row),
		cmocka_unit_test(test_more_tags_than_rows),
		cmocka_unit_test(test_tags_that_look_the_same),
		cmocka_unit_test(test_a_frozen_row_comes_back),
		cmocka_unit_test(test_two_rows_of_one_tag),
		cmocka_unit_test(test_give_back),
		cmocka_unit_test(test_a_cold_host),
		cmocka_unit_test(test_a_rate_that_changes),
		cmocka_unit_test(test_long_uptimes),
		cmocka_unit_test(test_threads_at_once),
	};

	return cmocka_run_group_tests_name("limiter", tests, NULL, NULL);
}
