/* SPDX-License-Identifier: MIT */
/**
 * A scheduler for tests of races: calls on one piece of shared memory, switched between at every read and write of it. The module under test is
 * compiled into the test, with its atomics replaced by ones that call schedule_step() before they act. Each call runs in a thread, but only one at a
 * time runs.
 *
 * For each scenario: all schedules with two switches, or a share of them, and many with three and four; LARDER_TEST_LONG makes it all of them, and
 * many more. In each an actor may be killed instead of going on. One scheduler in a process; include cmocka.h first.
 */
#ifndef LD_TESTS_LIB_SCHEDULES_H
#define LD_TESTS_LIB_SCHEDULES_H

enum { SCHEDULE_ACTORS = 3, SCHEDULE_NOBODY = 99 };

/** What is played. */
struct schedule_plan {
	void (*reset)(void);               /* before each schedule: the shared memory, and what the actors have */
	void (*act)(unsigned who);         /* an actor's call, in its thread; who 0.. */
	void (*judge)(void);               /* after each schedule; fails the test where something is wrong */
	unsigned steps_min, steps_max;     /* of a schedule without a switch */
	unsigned samples, samples_long;    /* of schedules with three and four switches; of the long form */
	int all_pairs;                     /* 1: of two actors all schedules with two switches, always */
	int far;                           /* 1: the second switch comes as late as the actor in between can have come to its end */
};

/** Start the threads. 0 or -1. */
int schedule_begin(const struct schedule_plan *plan);
int schedule_end(void);

/** Play all schedules of 2..SCHEDULE_ACTORS actors. */
void schedule_play(unsigned actors);
/** How many have been played so far. */
unsigned long schedule_count(void);

/** For the atomics of the module: here it may be switched. */
void schedule_step(void);

/** For act() and judge(): who has been killed, or SCHEDULE_NOBODY; has an actor come to its end; is it within its call? */
unsigned schedule_victim(void);
int schedule_is_done(unsigned who);
int schedule_is_inside(unsigned who);
/** The schedule in words, for what judge() says. Static. */
const char *schedule_text(void);

#endif
