/* SPDX-License-Identifier: MIT */
/*
 * The limiter, step by step: two or three takes on one set, switched between at every read and write of shared memory. Of two takes all schedules
 * with two switches are tried, of three a share of them, and many with three and four; LARDER_TEST_LONG makes it all of them, and many more. In each
 * a take may be killed instead of going on. After every one, everybody takes what there still is: no tag may have been admitted more often
 * than its burst, for the clock stands still.
 *
 * The module is compiled into this program with its atomics replaced by ones that stop before they act. Each take runs in a thread, but only one
 * at a time runs.
 */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void step(void);

static inline uint64_t read_word(_Atomic uint64_t *word)
{
	step();
	return atomic_load(word);
}

static inline int change_word(_Atomic uint64_t *word, uint64_t *expected, uint64_t wanted)
{
	step();
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

enum { ACTORS = 3, SWITCHES = 4, STEPS_MAX = 400, SAMPLES = 400, SAMPLES_LONG = 40000 };

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
	struct part part[ACTORS];
	int64_t end_ns;         /* when everybody takes the rest */
	unsigned allowed[8];    /* by tag, then */
};

struct actor {
	pthread_t thread;
	sem_t turn;
	sigjmp_buf killed;
	int has_work, done, quit;
	int64_t result;
};

static struct table table;
static const struct ld_limiter limiter = { &table.head, &table.set, 1 };
static const struct ld_limit_rule rule = { LD_LIMIT_PER_S, BURST, 0 };
static struct actor actors[ACTORS];
static const struct scenario *playing;
static sem_t over;

/* The schedule: after so many steps in all, go to that actor; and whether the one that is left is killed. */
static struct { unsigned at, to; } switches[SWITCHES + 1];
static unsigned switches_used, next_switch, steps, actor_now;
static int kill_at;         /* number of the switch whose leaver never goes on; -1 = none */
static unsigned victim;
static int under_way, dying, lengthy;
static unsigned long schedules;

static void hand_over(unsigned to)
{
	unsigned from = actor_now;

	actor_now = to;
	sem_post(&actors[to].turn);
	while (sem_wait(&actors[from].turn) != 0)
		;
	if (dying)
		siglongjmp(actors[from].killed, 1);
}

static void step(void)
{
	if (!under_way)
		return;
	steps++;
	while (next_switch < switches_used && switches[next_switch].at <= steps) {
		unsigned to = switches[next_switch].to, from = actor_now;

		if ((int)next_switch == kill_at)
			victim = from;
		next_switch++;
		if (to != from && !actors[to].done && to != victim)
			hand_over(to);
	}
}

/* One has come to its end: another, or all are through. */
static void finish(unsigned self)
{
	actors[self].done = 1;
	for (unsigned i = 0; i < playing->parts; i++) {
		if (!actors[i].done && i != victim) {
			actor_now = i;
			sem_post(&actors[i].turn);
			return;
		}
	}
	sem_post(&over);
}

static void *act(void *arg)
{
	struct actor *self = arg;
	unsigned index = (unsigned)(self - actors);

	for (;;) {
		struct ld_limit_taken taken;

		while (sem_wait(&self->turn) != 0)
			;
		if (self->quit)
			return NULL;
		if (dying) {
			sem_post(&over);
			continue;
		}
		if (sigsetjmp(self->killed, 0) != 0) {
			sem_post(&over);
			continue;
		}
		self->has_work = 1;
		self->result = ld_limiter_take(&limiter, playing->part[index].tag, &rule, playing->part[index].cost, playing->part[index].now_ns, &taken);
		self->has_work = 0;
		finish(index);
	}
}

static unsigned admitted_of(uint64_t tag)
{
	unsigned admitted = 0;

	for (unsigned i = 0; i < playing->parts; i++)
		if (playing->part[i].tag == tag && actors[i].done && actors[i].result == 0)
			admitted += playing->part[i].cost;
	return admitted;
}

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem) != 0)
		;
}

/* The killed one is unwound only now, and touches nothing any more. */
static void bury(void)
{
	if (victim >= playing->parts || !actors[victim].has_work)
		return;
	dying = 1;
	sem_post(&actors[victim].turn);
	wait_for(&over);
	dying = 0;
	actors[victim].has_work = 0;
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
			fail_msg("%s: tag %u was admitted %u times; switches at %u to %u, %u to %u, %u to %u, %u to %u, killed %d", playing->name, (unsigned)tag,
			    admitted, switches[0].at, switches[0].to, switches[1].at, switches[1].to, switches[2].at, switches[2].to, switches[3].at,
			    switches[3].to, kill_at);
	}
}

/* Returns the steps that it took. */
static unsigned play(unsigned first)
{
	memset(&table, 0, sizeof(table));
	playing->prepare(&table.set);
	next_switch = steps = 0;
	victim = ACTORS;
	for (unsigned i = 0; i < ACTORS; i++)
		actors[i].done = actors[i].has_work = 0;
	actor_now = first;
	under_way = 1;
	sem_post(&actors[first].turn);
	wait_for(&over);
	under_way = 0;
	bury();
	judge();
	schedules++;
	return steps;
}

static void play_all_kills(unsigned first)
{
	for (kill_at = -1; kill_at < (int)switches_used; kill_at++)
		(void)play(first);
	kill_at = -1;
}

static uint64_t random_state = 88172645463325252u;

static unsigned draw(unsigned below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state >> 20) % below;
}

/* All with two switches, at any two steps. */
static void play_pairs(unsigned first, unsigned length)
{
	unsigned parts = playing->parts;

	switches_used = 2;
	for (unsigned a = 1; a <= length; a++) {
		for (unsigned b = a; b <= length + 1; b += parts == 2 || lengthy ? 1 : 1 + draw(4)) {
			switches[0].at = a;
			switches[0].to = (first + 1) % parts;
			switches[1].at = b;
			switches[1].to = parts == 2 ? first : (first + 1 + draw(2)) % parts;
			kill_at = (int)draw(3) - 1;
			(void)play(first);
		}
	}
}

static void play_samples(unsigned length)
{
	for (unsigned n = 0; n < (lengthy ? SAMPLES_LONG : SAMPLES); n++) {
		unsigned at = 0;

		switches_used = 3 + n % 2;
		for (unsigned i = 0; i < switches_used; i++) {
			at += 1 + draw(2 * length / switches_used);
			switches[i].at = at;
			switches[i].to = draw(playing->parts);
		}
		play_all_kills(draw(playing->parts));
	}
}

static void play_scenario(const struct scenario *scenario)
{
	playing = scenario;
	for (unsigned first = 0; first < scenario->parts; first++) {
		unsigned length;

		kill_at = -1;
		switches_used = 0;
		memset(switches, 0, sizeof(switches));
		length = play(first);
		assert_in_range(length, 2 * LD_LIMIT_WAYS, STEPS_MAX);
		play_pairs(first, length);
	}
	play_samples(100);
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
	(void)state;
	lengthy = getenv("LARDER_TEST_LONG") && strcmp(getenv("LARDER_TEST_LONG"), "0") != 0;
	if (sem_init(&over, 0, 0) != 0)
		return -1;
	for (unsigned i = 0; i < ACTORS; i++)
		if (sem_init(&actors[i].turn, 0, 0) != 0 || pthread_create(&actors[i].thread, NULL, act, &actors[i]) != 0)
			return -1;
	return 0;
}

static int end(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ACTORS; i++) {
		actors[i].quit = 1;
		sem_post(&actors[i].turn);
		pthread_join(actors[i].thread, NULL);
	}
	return 0;
}

static void test_schedules(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		play_scenario(&scenarios[i]);
	print_message("# %lu schedules\n", schedules);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_schedules),
	};

	return cmocka_run_group_tests_name("limiter-races", tests, begin, end);
}
