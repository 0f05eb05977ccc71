/* SPDX-License-Identifier: MIT */
/*
 * The limiter, step by step: two or three takes on one set, in all orders that lib/schedules.h makes; of schedules with two switches all of two
 * takes, a share of three. After every schedule everybody takes what there still is: no tag may have been admitted more often than its burst, for the
 * clock stands still.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/schedules.h"

static inline uint64_t read_word(_Atomic uint64_t *word)
{
	schedule_step();
	return atomic_load(word);
}

static inline int change_word(_Atomic uint64_t *word, uint64_t *expected, uint64_t wanted)
{
	schedule_step();
	return atomic_compare_exchange_strong(word, expected, wanted);
}

/* The head's word is of another type, and no race. */
static inline uint64_t read_any(const void *word, size_t is_signed)
{
	return is_signed ? (uint64_t)atomic_load((_Atomic int64_t *)(uintptr_t)word) : read_word((_Atomic uint64_t *)(uintptr_t)word);
}

#undef atomic_load
#undef atomic_compare_exchange_strong
#define atomic_load(word) _Generic((word), _Atomic int64_t *: (int64_t)read_any(word, 1), default: read_any(word, 0))
#define atomic_compare_exchange_strong(word, expected, wanted) change_word(word, expected, wanted)
#include "shm/limiter.c"
#undef atomic_load
#undef atomic_compare_exchange_strong

#define S INT64_C(1000000000)
#define NOW (50 * S)
#define BURST 3

struct table {
	struct ld_limiter_head head;
	struct ld_limiter_set set;
};

/* A take that is made by one of the actors. */
struct part {
	uint64_t tag;
	int64_t now_ns;
	uint32_t cost;
};

struct scenario {
	const char *name;
	void (*prepare)(struct ld_limiter_set *set);
	unsigned parts;
	struct part part[SCHEDULE_ACTORS];
	int64_t end_ns;         /* when everybody takes the rest */
	unsigned allowed[8];    /* by tag, then */
};

static struct table table;
static const struct ld_limiter limiter = { &table.head, &table.set, 1 };
static const struct ld_limit_rule rule = { LD_LIMIT_PER_S, BURST, 0 };
static int64_t results[SCHEDULE_ACTORS];
static const struct scenario *playing;

static void act(unsigned who)
{
	const struct part *part = &playing->part[who];
	struct ld_limit_taken taken;

	results[who] = ld_limiter_take(&limiter, part->tag, &rule, part->cost, part->now_ns, &taken);
}

static unsigned admitted_of(uint64_t tag)
{
	unsigned admitted = 0;

	for (unsigned i = 0; i < playing->parts; i++)
		if (playing->part[i].tag == tag && schedule_is_done(i) && results[i] == 0)
			admitted += playing->part[i].cost;
	return admitted;
}

static void judge(void)
{
	struct ld_limit_taken taken;

	for (uint64_t tag = 1; tag < 8; tag++) {
		unsigned admitted = admitted_of(tag);

		if (playing->allowed[tag] == 0)
			continue;
		while (ld_limiter_take(&limiter, tag, &rule, 1, playing->end_ns, &taken) == 0)
			admitted++;
		if (admitted > playing->allowed[tag])
			fail_msg("%s: tag %u was admitted %u times; %s", playing->name, (unsigned)tag, admitted, schedule_text());
	}
}

static void reset(void)
{
	memset(&table, 0, sizeof(table));
	playing->prepare(&table.set);
}

/* ---- the scenarios ---- */

static void nobody(struct ld_limiter_set *set)
{
	(void)set;
}

static void own_row(struct ld_limiter_set *set, int row, uint64_t tag, int64_t until_ns)
{
	atomic_store(&set->rows[row].owner, tag << 16 | 7);
	atomic_store(&set->rows[row].until, (uint64_t)until_ns * 16);
}

/* The first row is 1's, and idle; the others are busy for a long time. */
static void one_idle(struct ld_limiter_set *set)
{
	own_row(set, 0, 1, NOW - LD_LIMIT_IDLE_NS);
	for (int i = 1; i < LD_LIMIT_WAYS; i++)
		own_row(set, i, 100, NOW + 1000 * S);
}

static void two_idle(struct ld_limiter_set *set)
{
	one_idle(set);
	own_row(set, 3, 2, NOW - S);
}

static void all_busy(struct ld_limiter_set *set)
{
	for (int i = 0; i < LD_LIMIT_WAYS; i++)
		own_row(set, i, 100, NOW + 1000 * S);
}

/* Somebody was killed while row 2 was given to 1. */
static void one_named(struct ld_limiter_set *set)
{
	all_busy(set);
	own_row(set, 2, 1, NOW - LD_LIMIT_IDLE_NS);
	atomic_fetch_or(&set->rows[2].until, UINT64_C(1) << 63);
}

static const struct scenario scenarios[] = {
	{ "the first two takes of a tag", nobody, 2, { { 1, NOW, 2 }, { 1, NOW, 2 } }, NOW, { 0, BURST } },
	{ "the first three takes of a tag", nobody, 3, { { 1, NOW, 1 }, { 1, NOW, 2 }, { 1, NOW, 1 } }, NOW, { 0, BURST } },
	{ "the owner comes when its row is given away", one_idle, 2, { { 2, NOW, 1 }, { 1, NOW, 1 } }, NOW, { 0, BURST, BURST } },
	{ "two want a row, and its owner", one_idle, 3, { { 2, NOW, 1 }, { 1, NOW, 1 }, { 3, NOW, 1 } }, NOW, { 0, BURST, BURST, BURST } },
	{ "one tag wants a row twice", one_idle, 2, { { 2, NOW, 2 }, { 2, NOW, 2 } }, NOW, { 0, BURST, BURST } },
	{ "one finds a row, the other not yet", one_idle, 2, { { 2, NOW, 2 }, { 2, NOW - 1, 2 } }, NOW, { 0, 0, BURST } },
	{ "one finds a row, two not yet", one_idle, 3, { { 2, NOW, 1 }, { 2, NOW - 1, 2 }, { 2, NOW - 1, 1 } }, NOW, { 0, 0, BURST } },
	{ "two rows, three takes", two_idle, 3, { { 3, NOW, 2 }, { 3, NOW, 2 }, { 1, NOW, 1 } }, NOW, { 0, BURST, 0, BURST } },
	{ "no row", all_busy, 3, { { 1, NOW, 1 }, { 2, NOW, 1 }, { 1, NOW, 2 } }, NOW, { 0, BURST, BURST } },
	{ "a row that was left frozen", one_named, 3, { { 1, NOW, 2 }, { 2, NOW, 1 }, { 1, NOW, 1 } }, NOW, { 0, BURST, BURST } },
	/* The late one had read the clock an hour ago; its tag may get that one take beyond, nobody else may. */
	{ "a late one", one_idle, 3, { { 2, NOW, 1 }, { 3, NOW + 3600 * S, 1 }, { 1, NOW + 3600 * S, 1 } }, NOW + 3600 * S,
	  { 0, BURST, BURST + 1, BURST } },
};

static int begin(void **state)
{
	const struct schedule_plan plan = { .reset = reset, .act = act, .judge = judge, .steps_min = 2 * LD_LIMIT_WAYS, .steps_max = 400, .samples = 400,
		.samples_long = 40000, .all_pairs = 1 };

	(void)state;
	return schedule_begin(&plan);
}

static int end(void **state)
{
	(void)state;
	return schedule_end();
}

static void test_schedules(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		playing = &scenarios[i];
		schedule_play(playing->parts);
	}
	print_message("# %lu schedules\n", schedule_count());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_schedules),
	};

	return cmocka_run_group_tests_name("limiter-races", tests, begin, end);
}
