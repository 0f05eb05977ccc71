/* SPDX-License-Identifier: MIT */
/*
 * Every state that three processes can bring a breaker into, breadth first: the control word and the streak, the pass that each process holds, and what
 * an onlooker knows who sees all of them. From each state each process does everything it can: ask (also with a time read a moment ago), report a
 * success, a failure or nothing (in time, late, or with an old time), die; and time goes on. Along each step:
 *
 *   - at most one probe has a lease that runs;
 *   - a report that is not fresh changes nothing but the count of late ones;
 *   - it closes only at the last of so many fresh successes in a row, opens only at a fresh failure, each told by the call that made it;
 *   - whoever is refused is let in after the time he was told;
 *   - from every state time and one call are enough for somebody to be let in.
 *
 * States are the same when they differ only by when they are: times are kept relative to now, generations relative to the word's. What is over is
 * over: a deadline of long ago is one of two ms ago, a pass of many generations ago one of four.
 */
#include "shm/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "leave_out.h"
#include "lib/states.h"

enum {
	PROCESSES = 3, NOW = 100000, GENERATION = 4000, LONG_AGO = -2, GENERATIONS_KEPT = 4, NONE = -1,
	STATES_MAX = 1 << 20
};

/* Failures that open it, successes that close it, time open and longest, length of a lease; and the healthy time after which all is forgotten. */
static struct ld_breaker_settings settings = { .volume = 1, .window_ms = 1000 };
static int64_t lease_ms, long_healthy;

/* ---- a state ---- */

/* A word, with its generation relative to the breaker's and its time to now; free: half-open without a lease. */
struct word {
	int8_t state, successes, level, generation, time, free;
};

/* What a process holds. `fresh` is the onlooker's: it is of the present closed episode, or the probe whose turn it is. */
struct process {
	struct word word;
	int8_t holds, fresh;
};

/* All bytes, so that states can be compared as memory. */
struct state {
	struct word word;
	int8_t streak;          /* failures in a row of this generation; NONE = the streak is of an older one, and full */
	int8_t streak_seen;     /* the onlooker's count of fresh failures since it closed, or the last success */
	int8_t successes_seen;  /* and of fresh successes of probes since it opened */
	int8_t closed;          /* is it closed, by what he has seen? */
	int8_t forced;
	int8_t lease;           /* until when the last probe's lease runs, relative to now, unless it was given back */
	int8_t lease_runs;
	struct process processes[PROCESSES];
};

/* ---- between states and the real thing ---- */

static uint64_t real_word(const struct word *word)
{
	struct ld_breaker_word parts = {
		.state = (enum ld_breaker_state)word->state, .successes = (uint32_t)word->successes, .level = (uint32_t)word->level,
		.generation = (uint32_t)(GENERATION + word->generation), .time_ms = word->free ? 0 : NOW + word->time,
	};

	return ld_breaker_pack(&parts);
}

static int8_t clamped(int64_t value, int64_t least)
{
	return (int8_t)(value < least ? least : value);
}

/* `generation` is the breaker's own. */
static struct word state_word(uint64_t real, uint32_t generation, int64_t now_ms)
{
	struct ld_breaker_word parts = ld_breaker_unpack(real);
	int32_t behind = (int32_t)((generation - parts.generation) & 8191);

	return (struct word){
		.state = (int8_t)parts.state, .successes = (int8_t)parts.successes, .level = (int8_t)parts.level,
		.generation = (int8_t)-(behind < GENERATIONS_KEPT ? behind : GENERATIONS_KEPT),
		.time = parts.time_ms == 0 || parts.state == LD_BREAKER_FORCED_OPEN ? 0 :
		    clamped(parts.time_ms - now_ms, parts.state == LD_BREAKER_CLOSED ? -long_healthy : LONG_AGO),
		.free = parts.state == LD_BREAKER_HALF_OPEN && parts.time_ms == 0,
	};
}

/* The real breaker of a state, at NOW. */
static void make_real(const struct state *state, struct ld_breaker *ret_breaker)
{
	memset((void *)ret_breaker, 0, sizeof(*ret_breaker));
	ret_breaker->word = real_word(&state->word);
	if (state->streak == NONE) {
		struct word older = { .generation = -1, .time = -1 };

		ret_breaker->streak = ld_breaker_empty_streak(real_word(&older)) + settings.failures;
	} else {
		ret_breaker->streak = ld_breaker_empty_streak(ret_breaker->word) + (uint64_t)state->streak;
	}
}

static int process_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct process));
}

/* The state that the real breaker is in; `from` has what the onlooker knows, and the passes. */
static struct state made_state(const struct ld_breaker *breaker, const struct state *from, const uint64_t passes[PROCESSES], int64_t now_ms)
{
	struct state state = *from;
	uint64_t word = breaker->word;
	uint32_t generation = ld_breaker_unpack(word).generation;

	state.word = state_word(word, generation, now_ms);
	state.streak = ld_breaker_is_streak_of(breaker->streak, word) && state.word.state == LD_BREAKER_CLOSED ?
	    (int8_t)(breaker->streak & LD_BREAKER_STREAK_MAX) : NONE;
	state.lease = from->lease_runs ? clamped(NOW + from->lease - now_ms, LONG_AGO) : 0;
	for (int i = 0; i < PROCESSES; i++) {
		struct process *process = &state.processes[i];

		process->word = process->holds ? state_word(passes[i], generation, now_ms) : (struct word){ 0 };
		/* Of a pass that is not the word's it does not matter how many successes there were. */
		if (process->holds && passes[i] != word)
			process->word.successes = process->word.level = 0;
	}
	/* Which of them is which does not matter either. */
	qsort(state.processes, PROCESSES, sizeof(struct process), process_order);
	return state;
}

/* ---- all states ---- */

static uint64_t steps;

static void tell(const char *how, const void *at)
{
	const struct word *word = &((const struct state *)at)->word;

	print_message("#   %-20s -> %s level %d, %d successes, %s%d\n", how, ld_breaker_state_name((enum ld_breaker_state)word->state), word->level,
	    word->successes, word->free ? "no lease, " : "", word->time);
}

static const struct state *state_at(uint32_t at)
{
	return states_at(at);
}

/* Where a step goes wrong: the way to it, and what is wrong. */
#define MUST(condition) states_must((condition) != 0, #condition, step->from, step->how)

/* ---- one step ---- */

struct step {
	uint32_t from;
	const char *how;
	struct ld_breaker breaker;
	struct state state;     /* what the onlooker knows after it */
	uint64_t passes[PROCESSES];
	int64_t now_ms;
};

static void begin(struct step *step, uint32_t from, const char *how)
{
	step->from = from;
	step->how = how;
	step->state = *state_at(from);
	step->now_ms = NOW;
	make_real(&step->state, &step->breaker);
	for (int i = 0; i < PROCESSES; i++)
		step->passes[i] = real_word(&step->state.processes[i].word);
}

static void end(struct step *step)
{
	struct state state = made_state(&step->breaker, &step->state, step->passes, step->now_ms);

	steps++;
	MUST((step->state.closed != 0) == (state.word.state == LD_BREAKER_CLOSED));
	MUST((step->state.forced != 0) == (state.word.state == LD_BREAKER_FORCED_OPEN));
	states_add(&state, step->from, step->how);
}

static int is_running(const struct state *state)
{
	return state->lease_runs && state->lease > 0;
}

/* The same breaker later: is anybody let in? */
static int is_let_in(const struct ld_breaker *breaker, int64_t now_ms)
{
	struct ld_breaker copy;
	struct ld_breaker_pass pass;

	memcpy((void *)&copy, (const void *)breaker, sizeof(copy));
	return ld_breaker_admit(&copy, &settings, now_ms, lease_ms, &pass) != LD_BREAKER_REFUSED;
}

/* A report that must change nothing but the count of late ones. */
static void report_late(struct step *step, const struct ld_breaker_pass *pass, enum ld_breaker_outcome outcome, int64_t now_ms)
{
	struct ld_breaker before;
	enum ld_breaker_event event;

	memcpy((void *)&before, (const void *)&step->breaker, sizeof(before));
	event = ld_breaker_report(&step->breaker, &settings, pass, outcome, now_ms, 0);
	MUST(event == LD_BREAKER_NO_EVENT);
	MUST(step->breaker.late == before.late + 1);
	before.late++;
	MUST(memcmp((const void *)&before, (const void *)&step->breaker, sizeof(before)) == 0);
}

static void ask(struct step *step, int who, int64_t now_ms)
{
	struct process *process = &step->state.processes[who];
	struct ld_breaker_pass pass;
	enum ld_breaker_verdict verdict = ld_breaker_admit(&step->breaker, &settings, now_ms, lease_ms, &pass);

	if (verdict == LD_BREAKER_REFUSED) {
		MUST(!step->state.closed);
		MUST(pass.retry_after_ms > 0);
		MUST(step->state.forced || is_let_in(&step->breaker, now_ms + pass.retry_after_ms));
		report_late(step, &pass, LD_BREAKER_FAILURE, now_ms);
		return;
	}
	MUST(!step->state.forced);
	MUST((verdict == LD_BREAKER_ADMITTED) == (step->state.closed != 0));
	*process = (struct process){ .holds = 1, .fresh = 1 };
	step->passes[who] = pass.word;
	if (verdict != LD_BREAKER_PROBE)
		return;
	/* Now, not by the clock of who asks. */
	MUST(!is_running(&step->state));
	MUST((pass.event == LD_BREAKER_HALF_OPENED) == (state_at(step->from)->word.state == LD_BREAKER_OPEN));
	for (int i = 0; i < PROCESSES; i++)
		step->state.processes[i].fresh = i == who;
	step->state.lease_runs = 1;
	step->state.lease = (int8_t)(now_ms + lease_ms - NOW);
}

static void open_up(struct state *state)
{
	state->closed = 0;
	state->streak_seen = state->successes_seen = 0;
	for (int i = 0; i < PROCESSES; i++)
		state->processes[i].fresh = 0;
}

static void give_back(struct state *state)
{
	state->lease_runs = state->lease = 0;
}

/* What a fresh report must do, by what the onlooker has counted. */
static void check_fresh(struct step *step, enum ld_breaker_outcome outcome, enum ld_breaker_event event)
{
	struct state *state = &step->state;

	if (state->closed) {
		state->streak_seen = (int8_t)(outcome == LD_BREAKER_SUCCESS ? 0 : state->streak_seen + (outcome == LD_BREAKER_FAILURE));
		MUST((event == LD_BREAKER_OPENED_FAILURES) == (state->streak_seen == (int8_t)settings.failures));
		MUST(event == LD_BREAKER_NO_EVENT || event == LD_BREAKER_OPENED_FAILURES);
		if (event != LD_BREAKER_NO_EVENT)
			open_up(state);
		return;
	}
	give_back(state);
	state->successes_seen = (int8_t)(state->successes_seen + (outcome == LD_BREAKER_SUCCESS));
	MUST((event == LD_BREAKER_REOPENED) == (outcome == LD_BREAKER_FAILURE));
	MUST((event == LD_BREAKER_CLOSED_AGAIN) == (state->successes_seen == (int8_t)settings.successes));
	if (event == LD_BREAKER_REOPENED)
		open_up(state);
	if (event == LD_BREAKER_CLOSED_AGAIN) {
		state->closed = 1;
		state->streak_seen = state->successes_seen = 0;
	}
}

static void report(struct step *step, int who, enum ld_breaker_outcome outcome, int64_t now_ms)
{
	struct process *process = &step->state.processes[who];
	struct ld_breaker_pass pass = { step->passes[who], 0, LD_BREAKER_NO_EVENT };
	int is_probe = (pass.word & 3) == LD_BREAKER_HALF_OPEN;
	int fresh = process->fresh && (!is_probe || now_ms < NOW + step->state.lease);

	*process = (struct process){ .holds = 0 };
	if (fresh)
		check_fresh(step, outcome, ld_breaker_report(&step->breaker, &settings, &pass, outcome, now_ms, 0));
	/* A second report of a probe is late. */
	if (!fresh || is_probe)
		report_late(step, &pass, outcome, now_ms);
}

/* It is killed, or forgets: whatever it held runs on. */
static void die(struct step *step, int who)
{
	step->state.processes[who] = (struct process){ .holds = 0 };
}

static void by_hand(struct step *step, int which)
{
	struct state *state = &step->state;
	int was_closed = state->closed, was_forced = state->forced;
	enum ld_breaker_event event = which == 0 ? ld_breaker_force_open(&step->breaker, NOW) :
	    which == 1 ? ld_breaker_close(&step->breaker, NOW) : ld_breaker_reset(&step->breaker, NOW);

	MUST((event == LD_BREAKER_NO_EVENT) == (which == 0 ? was_forced : which == 1 ? was_closed : 0));
	if (event == LD_BREAKER_NO_EVENT)
		return;
	open_up(state);
	give_back(state);
	state->closed = which != 0;
	state->forced = which == 0;
}

/* ---- from a state ---- */

#define STEP(name, call) \
	do { \
		struct step now_, *step = &now_; \
		begin(step, at, name); \
		call; \
		end(step); \
	} while (0)

static void step_process(uint32_t at, int who)
{
	if (!state_at(at)->processes[who].holds) {
		STEP("ask", ask(step, who, NOW));
		STEP("ask, old time", ask(step, who, NOW - 1));
		return;
	}
	STEP("success", report(step, who, LD_BREAKER_SUCCESS, NOW));
	STEP("failure", report(step, who, LD_BREAKER_FAILURE, NOW));
	STEP("neutral", report(step, who, LD_BREAKER_NEUTRAL, NOW));
	STEP("success, old time", report(step, who, LD_BREAKER_SUCCESS, NOW - 1));
	STEP("failure, old time", report(step, who, LD_BREAKER_FAILURE, NOW - 1));
	STEP("die", die(step, who));
}

static void wait_a_moment(struct step *step)
{
	MUST(step->state.forced || is_let_in(&step->breaker, NOW + settings.open_max_ms + lease_ms));
	step->now_ms++;
}

static void step_all(uint32_t at, int with_hands)
{
	STEP("wait", wait_a_moment(step));
	for (int who = 0; who < PROCESSES; who++)
		step_process(at, who);
	for (int which = 0; with_hands && which < 3; which++)
		STEP(which == 0 ? "force open" : which == 1 ? "close" : "reset", by_hand(step, which));
}

static void explore(uint32_t failures, uint32_t successes, int64_t open_ms, int64_t open_max_ms, int64_t lease, int with_hands)
{
	struct state start = { .closed = 1 };
	unsigned by_state[4] = { 0 };

	settings.failures = failures;
	settings.successes = successes;
	settings.open_ms = open_ms;
	settings.open_max_ms = open_max_ms;
	lease_ms = lease;
	/* The time open doubles at most thrice here, and closing adds one. */
	long_healthy = 4 * open_max_ms + 1;
	start.word.time = (int8_t)-long_healthy;
	states_begin(sizeof(start), STATES_MAX, tell);
	steps = 0;
	states_add(&start, 0, "start");
	for (uint32_t at = 0; at < states_count(); at++) {
		step_all(at, with_hands);
		by_state[state_at(at)->word.state]++;
	}
	print_message("# failures %u, successes %u, open %d to %d ms, lease %d ms%s: %u states, %llu steps; %u closed, %u open, %u half-open, %u forced\n",
	    failures, successes, (int)open_ms, (int)open_max_ms, (int)lease, with_hands ? ", with hands" : "", states_count(),
	    (unsigned long long)steps, by_state[0], by_state[1], by_state[2], by_state[3]);
	/* All of it was there. */
	assert_true(by_state[0] > 100 && by_state[1] > 100 && by_state[2] > 100);
	assert_int_equal(by_state[3] != 0, with_hands);
}

static void test_every_state_of_three_processes(void **state)
{
	(void)state;
	explore(2, 2, 2, 4, 2, 0);
	/* There are no threads here, and the others take minutes. */
	if (UNDER_THREAD_SANITIZER)
		return;
	/* A lease that is longer than the time open, and one that is shorter; one failure, one success are enough. */
	explore(2, 3, 1, 4, 5, 0);
	explore(3, 2, 4, 8, 1, 0);
	explore(1, 1, 1, 2, 3, 0);
}

static void test_every_state_with_somebody_at_the_tool(void **state)
{
	(void)state;
	if (UNDER_THREAD_SANITIZER)
		LEAVE_OUT("there are no threads here, and it takes minutes");
	explore(2, 2, 2, 4, 2, 1);
}

static int drop(void **state)
{
	(void)state;
	states_end();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_state_of_three_processes),
		cmocka_unit_test(test_every_state_with_somebody_at_the_tool),
	};

	return cmocka_run_group_tests(tests, NULL, drop);
}
