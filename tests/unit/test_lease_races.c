/* SPDX-License-Identifier: MIT */
/*
 * Leases, step by step: two or three calls on one set, in all orders that lib/schedules.h makes; of schedules with two switches a share. Whoever is
 * killed, its process is dead from then on. After every schedule:
 *
 *   - of those who asked for one tag one at most has the lease, and one does, unless somebody was killed;
 *   - whoever has it can end it, and nobody who came too late can;
 *   - who waited was told how it ended, unless a taker or the holder was killed, or was at it;
 *   - when all is over every row can be had again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/schedules.h"

#undef atomic_load
#undef atomic_compare_exchange_strong
#define atomic_load(word) (schedule_step(), atomic_load_explicit(word, memory_order_seq_cst))
#define atomic_compare_exchange_strong(word, expected, wanted) \
	(schedule_step(), atomic_compare_exchange_strong_explicit(word, expected, wanted, memory_order_seq_cst, memory_order_seq_cst))
#include "shm/lease.c"
#include "shm/lease_wait.c"

enum { NOW = 1000000, LEASE_MS = 1000, LATER = NOW + 500, TAGS = 4, ANY = 9 };

/* What an actor does: ask; ask, and end it at once; end, renew or look after the lease that was there before. */
enum op { TRY, TRY_AND_END, FINISH, RENEW, CHECK };

struct part {
	enum op op;
	uint64_t tag;
	int64_t now_ms;
	uint64_t seen;
};

struct scenario {
	const char *name;
	void (*prepare)(void);
	unsigned parts;
	struct part part[SCHEDULE_ACTORS];
	unsigned wanted[TAGS];  /* leases of each tag that are had in the end, if nobody was killed; ANY = one or none */
};

struct actor {
	int result, had;
	int beside;             /* a taker was under way when it looked */
	enum ld_lease_end end;
	struct ld_lease lease;
};

static struct ld_lease_row rows[LD_LEASE_WAYS] __attribute__((aligned(64)));
static const struct ld_leases one_set = { rows, 1 };
static struct ld_lease before;  /* of actor 0, where there is one */
static uint64_t mark;
static struct actor actors[SCHEDULE_ACTORS];
static const struct scenario *playing;

static int is_alive(void *ctx, uint32_t holder)
{
	(void)ctx;
	return holder != schedule_victim() + 1;
}

static uint64_t mark_of(void *ctx)
{
	(void)ctx;
	return mark;
}

static struct ld_lease_ask ask_as(unsigned who, const struct part *part)
{
	return (struct ld_lease_ask){ .self = who + 1, .seen = part->seen, .now_ms = part->now_ms, .lease_ms = LEASE_MS, .alive = is_alive, .mark = mark_of };
}

static void act(unsigned index)
{
	struct actor *self = &actors[index];
	const struct part *part = &playing->part[index];
	const struct ld_lease_ask ask = ask_as(index, part);
	int64_t unused_ms;

	switch (part->op) {
	case TRY:
	case TRY_AND_END:
		self->result = (int)ld_lease_try(&one_set, part->tag, &ask, &self->lease, &unused_ms);
		self->had = self->result == (int)LD_LEASE_TAKEN;
		if (part->op == TRY_AND_END && self->had)
			self->result = ld_lease_end(&one_set, &self->lease, LD_LEASE_STORED, 0, part->now_ms) ? (int)LD_LEASE_HELD : -1;
		break;
	case FINISH:
		self->result = ld_lease_end(&one_set, &before, LD_LEASE_UNSTORED, 0, part->now_ms);
		break;
	case RENEW:
		self->lease = before;
		self->had = ld_lease_renew(&one_set, &self->lease, LEASE_MS, part->now_ms);
		self->result = self->had ? (int)LD_LEASE_TAKEN : (int)LD_LEASE_HELD;
		break;
	case CHECK:
		self->result = (int)ld_lease_check(&one_set, &before, &ask, &unused_ms, &self->end);
		for (unsigned i = 0; i < playing->parts; i++)
			self->beside |= i != index && schedule_is_inside(i) && playing->part[i].op <= TRY_AND_END;
		break;
	}
}

#define MUST(condition) \
	do { \
		if (!(condition)) \
			fail_msg("%s: not %s; %s; results %d %d %d", playing->name, #condition, schedule_text(), actors[0].result, actors[1].result, \
			    actors[2].result); \
	} while (0)

static int is_holder(unsigned i)
{
	return schedule_is_done(i) && actors[i].had && actors[i].result == (int)LD_LEASE_TAKEN && i != schedule_victim();
}

static void judge_tag(uint64_t tag)
{
	unsigned had = 0, asked = 0;

	for (unsigned i = 0; i < playing->parts; i++) {
		if (playing->part[i].tag != tag)
			continue;
		asked++;
		had += (unsigned)is_holder(i);
	}
	MUST(had <= 1);
	if (asked > 0 && schedule_victim() == SCHEDULE_NOBODY && playing->wanted[tag] != ANY)
		MUST(had == playing->wanted[tag]);
}

static void look_at_all(void)
{
	for (uint64_t tag = 1; tag < TAGS; tag++)
		judge_tag(tag);
	for (unsigned i = 0; i < playing->parts; i++) {
		const struct actor *actor = &actors[i];

		MUST(actor->result != -1);
		if (!schedule_is_done(i) || playing->part[i].op != CHECK)
			continue;
		/* How it ended is written down a moment after another one began to take the row. */
		MUST(actor->result != (int)LD_LEASE_IS_LOST || schedule_victim() != SCHEDULE_NOBODY || actor->beside);
		MUST(actor->result != (int)LD_LEASE_HAS_ENDED || actor->end == LD_LEASE_UNSTORED);
	}
	/* What is held can be ended, once, by its holder. */
	for (unsigned i = 0; i < playing->parts; i++)
		if (is_holder(i)) {
			MUST(rows[actors[i].lease.row].tag >> 16 == playing->part[i].tag);
			MUST(ld_lease_end(&one_set, &actors[i].lease, LD_LEASE_FAILED, 0, LATER) == 1);
			MUST(ld_lease_end(&one_set, &actors[i].lease, LD_LEASE_FAILED, 0, LATER) == 0);
		}
	for (uint64_t tag = 10; tag < 10 + LD_LEASE_WAYS; tag++) {
		const struct part part = { TRY, tag, NOW + 100 * LEASE_MS, 0 };
		const struct ld_lease_ask ask = ask_as(0, &part);
		struct ld_lease lease;
		int64_t unused_ms;

		MUST(ld_lease_try(&one_set, tag, &ask, &lease, &unused_ms) == LD_LEASE_TAKEN);
	}
}

static void reset(void)
{
	memset((void *)rows, 0, sizeof(rows));
	mark = 0;
	playing->prepare();
	for (unsigned i = 0; i < SCHEDULE_ACTORS; i++)
		actors[i].had = actors[i].result = actors[i].beside = 0;
}

/* ---- the scenarios ---- */

static void nobody(void)
{
}

static struct ld_lease take_as(unsigned who, uint64_t tag, int64_t now_ms, uint64_t seen)
{
	const struct part part = { TRY, tag, now_ms, seen };
	const struct ld_lease_ask ask = ask_as(who, &part);
	struct ld_lease lease;
	int64_t unused_ms;

	assert_int_equal(ld_lease_try(&one_set, tag, &ask, &lease, &unused_ms), LD_LEASE_TAKEN);
	return lease;
}

/* Actor 0 has the lease of tag 1. */
static void held(void)
{
	before = take_as(0, 1, NOW, 0);
}

/* It has it, and its time is just over. */
static void held_too_long(void)
{
	before = take_as(0, 1, NOW - LEASE_MS, 0);
}

/* What it fetches is older than a write of the key. */
static void held_and_written(void)
{
	before = take_as(0, 1, NOW, 40);
	mark = 41;
}

/* Tag 1 had the lease a while ago. */
static void ended(void)
{
	before = take_as(0, 1, NOW - 100, 0);
	(void)ld_lease_end(&one_set, &before, LD_LEASE_UNSTORED, 0, NOW - 50);
}

/* All rows are held for long by somebody else but one, which was tag 1's. */
static void one_idle(void)
{
	ended();
	for (uint64_t tag = 50; tag < 50 + LD_LEASE_WAYS - 1; tag++)
		(void)take_as(60, tag, NOW, 0);
}

/* Actor 0 asks at NOW, the others when the time that it has for taking is over: it may be stopped anywhere in between. */
#define LATE (NOW + 2 * LD_LEASE_NAMING_MS)

static const struct scenario scenarios[] = {
	{ "two want a tag", nobody, 2, { { TRY, 1, NOW, 0 }, { TRY, 1, NOW, 0 } }, { 0, 1 } },
	{ "three want a tag", nobody, 3, { { TRY, 1, NOW, 0 }, { TRY, 1, NOW, 0 }, { TRY, 1, NOW, 0 } }, { 0, 1 } },
	{ "two want a tag that was there", ended, 2, { { TRY, 1, NOW, 0 }, { TRY, 1, NOW, 0 } }, { 0, 1 } },
	{ "two want two tags", nobody, 2, { { TRY, 1, NOW, 0 }, { TRY, 2, NOW, 0 } }, { 0, 1, 1 } },
	{ "three want two tags, one was there", ended, 3, { { TRY, 2, NOW, 0 }, { TRY, 1, NOW, 0 }, { TRY, 2, NOW, 0 } }, { 0, 1, 1 } },
	{ "one ends, two wait", held, 3, { { FINISH, 3, NOW, 0 }, { CHECK, 0, NOW, 0 }, { CHECK, 0, NOW, 0 } }, { 0 } },
	{ "one ends, one wants it, one waits", held, 3, { { FINISH, 3, NOW, 0 }, { TRY, 1, NOW, 0 }, { CHECK, 0, NOW, 0 } }, { 0, ANY } },
	{ "it has ended, one had it since, one waits", ended, 2, { { TRY_AND_END, 1, NOW, 0 }, { CHECK, 0, NOW, 0 } }, { 0 } },
	{ "one renews too late, one takes over", held_too_long, 2, { { RENEW, 1, NOW, 0 }, { TRY, 1, NOW, 0 } }, { 0, 1 } },
	{ "two take over", held_too_long, 2, { { TRY, 1, NOW, 0 }, { TRY, 1, NOW, 0 } }, { 0, 1 } },
	{ "two take over after a write", held_and_written, 2, { { TRY, 1, NOW, 41 }, { TRY, 1, NOW, 42 } }, { 0, 1 } },
	{ "a late one, of the same tag", ended, 2, { { TRY, 1, NOW, 7 }, { TRY, 1, LATE, 8 } }, { 0, 1 } },
	{ "a late one, of a new tag", nobody, 2, { { TRY, 1, NOW, 7 }, { TRY, 1, LATE, 8 } }, { 0, 1 } },
	{ "a late one, of another tag", ended, 3, { { TRY, 2, NOW, 7 }, { TRY, 1, LATE, 8 }, { TRY, 2, LATE, 9 } }, { 0, 1, 1 } },
	{ "a late one, and no other row", one_idle, 2, { { TRY, 2, NOW, 7 }, { TRY, 1, LATE, 8 } }, { 0, ANY, ANY } },
	{ "a late one, and two others", one_idle, 3, { { TRY, 2, NOW, 7 }, { TRY_AND_END, 1, LATE, 8 }, { TRY, 1, LATE, 8 } }, { 0, ANY, ANY } },
};

static int begin(void **state)
{
	const struct schedule_plan plan = { .reset = reset, .act = act, .judge = look_at_all, .steps_min = 3, .steps_max = 400, .samples = 300,
		.samples_long = 30000, .far = 1 };

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
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_schedules) };

	return cmocka_run_group_tests_name("lease races", tests, begin, end);
}
