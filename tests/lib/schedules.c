/* SPDX-License-Identifier: MIT */
/* See schedules.h. */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/schedules.h"

enum { SWITCHES = 4 };

struct actor {
	pthread_t thread;
	sem_t turn;
	sigjmp_buf killed;
	int has_work, done, quit;
};

static struct schedule_plan plan;
static struct actor actors[SCHEDULE_ACTORS];
static unsigned parts;
static sem_t over;

/* The schedule: after so many steps in all, go to that actor; and whether the one that is left is killed. */
static struct { unsigned at, to; } switches[SWITCHES + 1];
static unsigned switches_used, next_switch, steps, actor_now;
static int kill_at;         /* number of the switch whose leaver never goes on; -1 = none */
static unsigned victim = SCHEDULE_NOBODY;
static int under_way, dying, lengthy;
static unsigned long schedules;

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem) != 0)
		;
}

static void hand_over(unsigned to)
{
	unsigned from = actor_now;

	actor_now = to;
	sem_post(&actors[to].turn);
	wait_for(&actors[from].turn);
	if (dying)
		siglongjmp(actors[from].killed, 1);
}

void schedule_step(void)
{
	if (!under_way)
		return;
	steps++;
	while (next_switch < switches_used && switches[next_switch].at <= steps) {
		unsigned to = switches[next_switch].to, from = actor_now;

		if ((int)next_switch == kill_at && to != from && !actors[to].done)
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
	for (unsigned i = 0; i < parts; i++) {
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
	unsigned who = (unsigned)(self - actors);

	for (;;) {
		wait_for(&self->turn);
		if (self->quit)
			return NULL;
		if (dying || sigsetjmp(self->killed, 0) != 0) {
			sem_post(&over);
			continue;
		}
		self->has_work = 1;
		plan.act(who);
		self->has_work = 0;
		finish(who);
	}
}

/* The killed one is unwound only now, and touches nothing any more. */
static void bury(void)
{
	if (victim >= parts || !actors[victim].has_work)
		return;
	dying = 1;
	sem_post(&actors[victim].turn);
	wait_for(&over);
	dying = 0;
	actors[victim].has_work = 0;
}

/* Returns the steps that it took. */
static unsigned play(unsigned first)
{
	victim = SCHEDULE_NOBODY;
	plan.reset();
	next_switch = steps = 0;
	for (unsigned i = 0; i < SCHEDULE_ACTORS; i++)
		actors[i].done = actors[i].has_work = 0;
	actor_now = first;
	under_way = 1;
	sem_post(&actors[first].turn);
	wait_for(&over);
	under_way = 0;
	bury();
	plan.judge();
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
	int all = lengthy || (parts == 2 && plan.all_pairs);

	switches_used = 2;
	for (unsigned a = 1; a <= length; a++) {
		for (unsigned b = a; b <= (plan.far ? a : 0) + length + 1; b += all ? 1 : 1 + draw(4)) {
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
	for (unsigned n = 0; n < (lengthy ? plan.samples_long : plan.samples); n++) {
		unsigned at = 0;

		switches_used = 3 + n % 2;
		for (unsigned i = 0; i < switches_used; i++) {
			at += 1 + draw(2 * length / switches_used);
			switches[i].at = at;
			switches[i].to = draw(parts);
		}
		play_all_kills(draw(parts));
	}
}

void schedule_play(unsigned of)
{
	parts = of;
	for (unsigned first = 0; first < parts; first++) {
		unsigned length;

		kill_at = -1;
		switches_used = 0;
		memset(switches, 0, sizeof(switches));
		length = play(first);
		assert_in_range(length, plan.steps_min, plan.steps_max);
		play_pairs(first, length);
	}
	play_samples(100);
}

unsigned long schedule_count(void)
{
	return schedules;
}

unsigned schedule_victim(void)
{
	return victim;
}

int schedule_is_done(unsigned who)
{
	return actors[who].done;
}

int schedule_is_inside(unsigned who)
{
	return actors[who].has_work;
}

const char *schedule_text(void)
{
	static char text[160];

	(void)snprintf(text, sizeof(text), "switches at %u to %u, %u to %u, %u to %u, %u to %u, killed at switch %d: actor %u", switches[0].at,
	    switches[0].to, switches[1].at, switches[1].to, switches[2].at, switches[2].to, switches[3].at, switches[3].to, kill_at, victim);
	return text;
}

int schedule_begin(const struct schedule_plan *what)
{
	const char *text = getenv("LARDER_TEST_LONG");

	plan = *what;
	lengthy = text && strcmp(text, "0") != 0;
	if (sem_init(&over, 0, 0) != 0)
		return -1;
	for (unsigned i = 0; i < SCHEDULE_ACTORS; i++)
		if (sem_init(&actors[i].turn, 0, 0) != 0 || pthread_create(&actors[i].thread, NULL, act, &actors[i]) != 0)
			return -1;
	return 0;
}

int schedule_end(void)
{
	for (unsigned i = 0; i < SCHEDULE_ACTORS; i++) {
		actors[i].quit = 1;
		sem_post(&actors[i].turn);
		pthread_join(actors[i].thread, NULL);
	}
	return 0;
}
