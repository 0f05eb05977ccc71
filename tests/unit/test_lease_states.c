/* SPDX-License-Identifier: MIT */
/*
 * Every state that three processes can bring a row of the leases into, breadth first: its words, the lease or the wait of each process, and what an onlooker
 * knows who sees all of them. From each state each process does everything it can: try (having seen the last write of the key, or not), end, renew, look
 * after the lease that it waits for, die, die in the middle of a take; the key is written; and time goes on. Along each step:
 *
 *   - whoever is given the lease is the only one who has it: any other holder is dead, over time, or overtaken by a write of the key;
 *   - an end or a renewal by a holder that has lost it changes no byte; one by a holder that has it is heard;
 *   - whoever waits is told how that very holding ended, or that it was lost, and that only when it was, or when a taker died in between;
 *   - whoever is told to wait has somebody to wait for; whoever is throttled gets in after the time he was told;
 *   - from every state time and one call are enough for somebody to get the lease.
 *
 * States are the same when they differ only by when they are: times are relative to now, generations to the row's, what was seen to the last write. A holding
 * of four generations ago is forgotten. What a process that is stopped in the middle of a take may do later is test_lease_races.c's.
 */
#include "shm/lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/states.h"

enum {
	PROCESSES = 3, NOW = 100000, GENERATION = 100, LONG_AGO = -1, KEPT = 3, DEAD = 9, MARK = 1000, LEASE_MS = 2, THROTTLE_MS = 2,
	STATES_MAX = 1 << 21, TAG = 77
};

/* ---- a state ---- */

/* What a process has: a lease, or a wait for one. */
enum role { NOTHING, HOLDS, WAITS };
enum fate { RUNNING, STORED = LD_LEASE_STORED, FAILED = LD_LEASE_FAILED, UNSTORED = LD_LEASE_UNSTORED, GONE };

struct process {
	int8_t role;
	int8_t holder, generation; /* of the lease; the generation relative to the row's */
	int8_t time;               /* of a lease that it holds: when it is over */
	int8_t fate;               /* what has become of that holding, by what the onlooker has seen */
	int8_t unnoted;            /* a taker died before it had noted how the one before had ended: it may be lost */
};

/* All bytes, so that states can be compared as memory. */
struct state {
	int8_t state, holder, time;
	int8_t fresh;              /* the row was never taken */
	int8_t ends_behind;        /* how far the list of ends is behind the row's generation */
	int8_t ends[KEPT];         /* of the generations before, the last one first */
	int8_t seen;               /* of the holder, relative to the last write; -1 = less */
	struct process processes[PROCESSES];
};

/* ---- between states and the real thing ---- */

static struct ld_lease_row rows[LD_LEASE_WAYS] __attribute__((aligned(64)));
static const struct ld_leases table_of_one = { rows, 1 };

static int is_alive(void *ctx, uint32_t holder)
{
	(void)ctx;
	return holder != DEAD;
}

static uint64_t mark_of(void *ctx)
{
	(void)ctx;
	return MARK;
}

static struct ld_lease_ask ask_as(int who, int64_t now_ms)
{
	return (struct ld_lease_ask){ .self = (uint32_t)who + 1, .seen = MARK, .now_ms = now_ms, .lease_ms = LEASE_MS, .alive = is_alive, .mark = mark_of };
}

static uint64_t word_of(int state, int holder, int generation, int time)
{
	const struct ld_lease_word word = { (enum ld_lease_state)state, (uint32_t)holder, (uint32_t)(GENERATION + generation), (uint32_t)(NOW + time) };

	return ld_lease_pack(&word);
}

static struct ld_lease lease_of(const struct process *process)
{
	return (struct ld_lease){ .row = 0, .token = word_of(LD_LEASE_IS_HELD, process->holder, process->generation, process->time) };
}

static void make_real(const struct state *state)
{
	uint64_t list = 0;

	memset((void *)rows, 0, sizeof(rows));
	if (state->fresh)
		return;
	rows[0].word = word_of(state->state, state->holder, 0, state->time);
	rows[0].tag = (uint64_t)TAG << 16 | 5;
	rows[0].seen = (uint64_t)(MARK + state->seen);
	for (int i = KEPT; i >= state->ends_behind; i--)
		list = list << 4 | (uint64_t)state->ends[i - 1];
	rows[0].ends = list << 8 | (uint64_t)(GENERATION - state->ends_behind);
}

static int8_t clamped(int64_t value)
{
	return (int8_t)(value < LONG_AGO ? LONG_AGO : value);
}

/* Which of the processes is which does not matter: of all ways to number them the one whose bytes come first. */
static struct state least_of_all(const struct state *state)
{
	static const int8_t orders[6][PROCESSES] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
	struct state least = *state;

	for (int n = 1; n < 6; n++) {
		struct state other = *state;

		/* Of an idle row it is how it ended. */
		if (state->state >= LD_LEASE_IS_NAMING && state->holder >= 1 && state->holder <= PROCESSES)
			other.holder = (int8_t)(orders[n][state->holder - 1] + 1);
		for (int i = 0; i < PROCESSES; i++) {
			struct process *process = &other.processes[orders[n][i]];

			*process = state->processes[i];
			if (process->holder >= 1 && process->holder <= PROCESSES)
				process->holder = (int8_t)(orders[n][process->holder - 1] + 1);
		}
		if (memcmp(&other, &least, sizeof(other)) < 0)
			least = other;
	}
	return least;
}

/* The state that the row is in; what the onlooker knows is in `from` already, with generations relative to the row as it was. */
static struct state made_state(const struct state *from, int64_t now_ms)
{
	struct ld_lease_word word = ld_lease_unpack(rows[0].word);
	int busy = word.state >= LD_LEASE_IS_NAMING, throttled = word.state == LD_LEASE_IS_FAILED, moved, behind;
	struct state state = *from;

	if (rows[0].word == 0)
		return state;
	state.fresh = 0;
	moved = from->fresh ? 0 : (int)word.generation - GENERATION;
	state.state = (int8_t)word.state;
	state.holder = (int8_t)word.holder;
	state.time = busy || throttled ? clamped((int64_t)word.time - now_ms) : LONG_AGO;
	/* Of what is over it does not matter since when. */
	behind = (int)((word.generation - (uint32_t)rows[0].ends) & 255);
	state.ends_behind = (int8_t)(behind < 1 ? 1 : behind > KEPT + 1 ? KEPT + 1 : behind);
	for (int i = 1; i <= KEPT; i++)
		state.ends[i - 1] = i < behind ? 0 : (int8_t)(rows[0].ends >> 8 >> 4 * (i - behind) & 15);
	state.seen = busy ? (int8_t)((int64_t)rows[0].seen - MARK < -1 ? -1 : (int64_t)rows[0].seen - MARK) : 0;
	for (int i = 0; i < PROCESSES; i++) {
		struct process *process = &state.processes[i];

		if (process->role == NOTHING)
			continue;
		process->generation = (int8_t)(process->generation - moved);
		process->time = process->role == HOLDS ? clamped(NOW + process->time - now_ms) : 0;
		if (process->role == WAITS && process->fate != RUNNING)
			process->holder = 0;
		if (process->generation < -KEPT)
			memset(process, 0, sizeof(*process));
	}
	return least_of_all(&state);
}

/* ---- all states ---- */

static uint64_t steps;

static void tell(const char *how, const void *at)
{
	static const char *const names[] = { "idle", "failed", "naming", "held" };
	const struct state *state = at;

	print_message("#   %-24s -> %s by %d, %d ms, ends %d behind: %d %d %d, seen %d\n", how, names[state->state], state->holder, state->time,
	    state->ends_behind, state->ends[0], state->ends[1], state->ends[2], state->seen);
	for (int i = 0; i < PROCESSES; i++)
		if (state->processes[i].role != NOTHING)
			print_message("#      %d %s %d of %d, %d ms, fate %d\n", i + 1, state->processes[i].role == HOLDS ? "holds" : "waits for",
			    state->processes[i].generation, state->processes[i].holder, state->processes[i].time, state->processes[i].fate);
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
	struct state state;     /* what the onlooker knows after it */
	int64_t now_ms;
};

static void begin(struct step *step, uint32_t from, const char *how)
{
	step->from = from;
	step->how = how;
	step->state = *state_at(from);
	step->now_ms = NOW;
	make_real(&step->state);
}

static void end(struct step *step)
{
	struct state state = made_state(&step->state, step->now_ms);

	steps++;
	states_add(&state, step->from, step->how);
}

/* Everybody's holding of the row's generation has this fate; the holder's own too. */
static void decide(struct state *state, enum fate fate)
{
	for (int i = 0; i < PROCESSES; i++)
		if (state->processes[i].role != NOTHING && state->processes[i].generation == 0 && state->processes[i].fate == RUNNING)
			state->processes[i].fate = (int8_t)fate;
}

/* A take has begun: what was running is over. */
static void supersede(struct state *state)
{
	decide(state, GONE);
}

static int generation_now(void)
{
	return (int)ld_lease_unpack(rows[0].word).generation - GENERATION;
}

static void try(struct step *step, int who, uint64_t seen)
{
	struct state *state = &step->state;
	struct process *process = &state->processes[who];
	struct ld_lease_ask ask = ask_as(who, NOW);
	enum ld_lease_answer answer;
	struct ld_lease lease;
	int64_t retry_ms = 0;
	int overtaken = state->state == LD_LEASE_IS_HELD && state->seen < 0 && state->time > 0 && seen == MARK;

	ask.seen = seen;
	answer = ld_lease_try(&table_of_one, TAG, &ask, &lease, &retry_ms);
	switch (answer) {
	case LD_LEASE_TAKEN:
		for (int i = 0; i < PROCESSES; i++)
			MUST(state->processes[i].role != HOLDS || state->processes[i].fate != RUNNING || state->processes[i].time <= 0 || overtaken);
		MUST(lease.stored == (!state->fresh && state->state == LD_LEASE_IS_IDLE && state->holder == LD_LEASE_STORED));
		MUST(lease.taken_over == (!state->fresh && state->state >= LD_LEASE_IS_NAMING));
		supersede(state);
		*process = (struct process){ HOLDS, (int8_t)(who + 1), (int8_t)(state->fresh ? 0 : generation_now()), LEASE_MS, RUNNING, 0 };
		break;
	case LD_LEASE_HELD:
		MUST(state->state >= LD_LEASE_IS_NAMING && state->time > 0 && state->holder != DEAD);
		MUST(state->seen == 0 || state->state == LD_LEASE_IS_NAMING);
		*process = (struct process){ WAITS, state->holder, 0, 0, RUNNING, 0 };
		break;
	case LD_LEASE_THROTTLED:
		MUST(state->state == LD_LEASE_IS_FAILED && state->time > 0 && retry_ms == state->time);
		ask.now_ms = NOW + retry_ms;
		MUST(ld_lease_try(&table_of_one, TAG, &ask, &lease, &retry_ms) == LD_LEASE_TAKEN);
		make_real(state);
		break;
	case LD_LEASE_NONE:
		MUST(state->state == LD_LEASE_IS_HELD && state->seen < 0 && seen < MARK);
		break;
	}
}

/* It dies in the middle of a take, after so many of its writes. */
static void die_taking(struct step *step, int who, int writes)
{
	struct state *state = &step->state;
	struct ld_lease_ask ask = ask_as(who, NOW);
	struct ld_lease_row before, after;
	struct ld_lease lease;
	int64_t retry_ms;

	memcpy((void *)&before, (const void *)&rows[0], sizeof(before));
	if (ld_lease_try(&table_of_one, TAG, &ask, &lease, &retry_ms) != LD_LEASE_TAKEN) {
		make_real(state);
		return;
	}
	memcpy((void *)&after, (const void *)&rows[0], sizeof(after));
	memcpy((void *)&rows[0], (const void *)&before, sizeof(before));
	rows[0].word = word_of(writes < 4 ? LD_LEASE_IS_NAMING : LD_LEASE_IS_HELD, DEAD, state->fresh ? 0 : generation_now() + 1, 0) & ~UINT64_C(0xffffffff);
	/* A dead one is found so at once: how much time it had left matters as little as that of a holder. */
	rows[0].word |= (uint32_t)(NOW + LEASE_MS);
	if (state->fresh)
		rows[0].word = after.word;
	if (writes >= 1 || state->fresh)
		rows[0].ends = after.ends;
	if (writes >= 2 || state->fresh)
		rows[0].tag = after.tag;
	if (writes >= 3 || state->fresh)
		rows[0].seen = after.seen;
	supersede(state);
	for (int i = 0; i < PROCESSES; i++)
		state->processes[i].unnoted |= (int8_t)(state->processes[i].role == WAITS && state->processes[i].generation == 0 && writes < 1);
	memset(&state->processes[who], 0, sizeof(state->processes[who]));
	if (state->fresh) {
		struct ld_lease_word word = ld_lease_unpack(after.word);

		word.holder = DEAD;
		rows[0].word = ld_lease_pack(&word);
	}
}

static void finish(struct step *step, int who, enum ld_lease_end how, int64_t throttle_ms)
{
	struct process *process = &step->state.processes[who];
	struct ld_lease lease = lease_of(process);
	struct ld_lease_row before[LD_LEASE_WAYS];
	int changed;

	memcpy((void *)before, (const void *)rows, sizeof(rows));
	changed = ld_lease_end(&table_of_one, &lease, how, throttle_ms, NOW);
	MUST(changed == (process->fate == RUNNING));
	MUST(changed || memcmp((const void *)before, (const void *)rows, sizeof(rows)) == 0);
	memset(process, 0, sizeof(*process));
	if (changed) {
		decide(&step->state, (enum fate)how);
		/* A second time is too late. */
		MUST(ld_lease_end(&table_of_one, &lease, LD_LEASE_FAILED, 100, NOW) == 0);
	}
}

static void renew(struct step *step, int who)
{
	struct process *process = &step->state.processes[who];
	struct ld_lease lease = lease_of(process);
	struct ld_lease_row before[LD_LEASE_WAYS];
	int changed;

	memcpy((void *)before, (const void *)rows, sizeof(rows));
	changed = ld_lease_renew(&table_of_one, &lease, LEASE_MS, NOW);
	MUST(changed == (process->fate == RUNNING));
	MUST(changed || memcmp((const void *)before, (const void *)rows, sizeof(rows)) == 0);
	if (changed)
		process->time = LEASE_MS;
	else
		memset(process, 0, sizeof(*process));
}

static void look_after(struct step *step, int who)
{
	struct state *state = &step->state;
	struct process *process = &state->processes[who];
	const struct ld_lease_ask ask = ask_as(who, NOW);
	struct ld_lease lease = lease_of(process);
	enum ld_lease_end how = LD_LEASE_GONE;
	int64_t left_ms = 0;
	enum ld_lease_now now = ld_lease_check(&table_of_one, &lease, &ask, &left_ms, &how);

	if (process->fate == RUNNING && process->holder != DEAD && state->time > 0) {
		MUST(now == LD_LEASE_RUNS && left_ms == state->time);
		return;
	}
	if (process->fate == RUNNING || process->fate == GONE)
		MUST(now == LD_LEASE_IS_LOST);
	else
		MUST((now == LD_LEASE_HAS_ENDED && (int)how == process->fate) || (now == LD_LEASE_IS_LOST && process->unnoted));
	/* Who finds it dead says so to all. */
	if (process->fate == RUNNING && process->holder == DEAD && state->time > 0)
		decide(state, GONE);
	memset(process, 0, sizeof(*process));
}

static void die(struct step *step, int who)
{
	struct state *state = &step->state;
	struct ld_lease_word word = ld_lease_unpack(rows[0].word);

	memset(&state->processes[who], 0, sizeof(state->processes[who]));
	for (int i = 0; i < PROCESSES; i++)
		if (state->processes[i].holder == who + 1)
			state->processes[i].holder = DEAD;
	if (rows[0].word != 0 && word.state >= LD_LEASE_IS_NAMING && word.holder == (uint32_t)who + 1) {
		word.holder = DEAD;
		rows[0].word = ld_lease_pack(&word);
	}
}

static void write_key(void)
{
	if (rows[0].seen != 0)
		rows[0].seen = MARK - 1;
}

static void wait_a_moment(struct step *step)
{
	struct ld_lease_ask ask = ask_as(0, NOW + LD_LEASE_NAMING_MS + LEASE_MS + THROTTLE_MS);
	struct ld_lease lease;
	int64_t retry_ms;

	MUST(ld_lease_try(&table_of_one, TAG, &ask, &lease, &retry_ms) == LD_LEASE_TAKEN);
	make_real(&step->state);
	step->now_ms++;
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
	switch ((enum role)state_at(at)->processes[who].role) {
	case NOTHING:
		STEP("try", try(step, who, MARK));
		STEP("try, behind a write", try(step, who, MARK - 1));
		for (int writes = 0; writes <= 4; writes++)
			STEP("die while taking", die_taking(step, who, writes));
		break;
	case HOLDS:
		STEP("end, stored", finish(step, who, LD_LEASE_STORED, 0));
		STEP("end, unstored", finish(step, who, LD_LEASE_UNSTORED, 0));
		STEP("end, failed", finish(step, who, LD_LEASE_FAILED, 0));
		STEP("end, throttled", finish(step, who, LD_LEASE_FAILED, THROTTLE_MS));
		STEP("renew", renew(step, who));
		STEP("die", die(step, who));
		break;
	case WAITS:
		STEP("look", look_after(step, who));
		break;
	}
}

static void test_all_states(void **state)
{
	struct state start = { .fresh = 1, .ends_behind = 1 };
	unsigned by_state[4] = { 0 };

	(void)state;
	states_begin(sizeof(start), STATES_MAX, tell);
	states_add(&start, 0, "start");
	for (uint32_t at = 0; at < states_count(); at++) {
		by_state[state_at(at)->state]++;
		STEP("wait", wait_a_moment(step));
		STEP("write", write_key());
		for (int who = 0; who < PROCESSES; who++)
			step_process(at, who);
	}
	print_message("# %u states, %llu steps: idle %u, failed %u, naming %u, held %u\n", states_count(),
	    (unsigned long long)steps, by_state[0], by_state[1], by_state[2], by_state[3]);
	assert_true(states_count() > 1000);
	for (int i = 0; i < 4; i++)
		assert_true(by_state[i] > 0);
	states_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_all_states) };

	return cmocka_run_group_tests_name("lease states", tests, NULL, NULL);
}
