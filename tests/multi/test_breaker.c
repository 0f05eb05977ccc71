/* SPDX-License-Identifier: MIT */
/*
 * Sixteen processes, one breaker in memory that they share, and a server that comes and goes: probers killed between taking the probe and reporting
 * it, and at every other point of the breaker. There are never two probes whose leases run, it closes again each time, and nobody waits for a dead
 * prober for longer than its lease.
 *
 * A prober writes the deadline of its lease on the board before it calls, and takes it back before it reports; one that is killed leaves it there.
 * All leases are equally long, so two of them overlap when their deadlines are nearer to each other than that, whoever was slow to write.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "lib/team.h"
#include "shm/breaker.h"

enum { WORKERS = 16, LEASE = 20, WORKERS_MAX = 4096 };

static const struct ld_breaker_settings settings = { .failures = 5, .error_pct = 50, .volume = 20, .successes = 3, .jitter_pct = 20,
	.window_ms = 200, .open_ms = 2, .open_max_ms = 8 };

struct board {
	struct ld_breaker breaker;
	_Atomic uint32_t up, stop;
	_Atomic uint32_t quiet;                  /* 1: nobody says anything but success or failure, nobody forgets to report */
	_Atomic int32_t kill_in_call;            /* the probe that takes it from 1 to 0 dies in its call */
	_Atomic uint64_t told[LD_BREAKER_EVENTS], calls, overlaps;
	_Atomic uint32_t started;
	_Atomic int64_t leases[WORKERS_MAX];     /* by worker, in the order in which they started; 0 = it is not probing */
};

static struct board *board;
static pid_t workers[WORKERS];

/* ---- a worker ---- */

static void write_lease(uint32_t self, int64_t deadline_ms)
{
	uint32_t started = board->started;

	atomic_store(&board->leases[self], deadline_ms);
	for (uint32_t i = 0; i < started; i++) {
		int64_t other = atomic_load(&board->leases[i]);

		if (i == self || other == 0 || other - deadline_ms >= LEASE || deadline_ms - other >= LEASE)
			continue;
		board->overlaps++;
		TEAM_FAIL("two probes at once: leases until %lld and %lld", (long long)deadline_ms, (long long)other);
	}
}

static void die_if_it_is_wanted(void)
{
	int32_t left = board->kill_in_call;

	while (left > 0)
		if (atomic_compare_exchange_weak(&board->kill_in_call, &left, left - 1))
			break;
	if (left == 1)
		raise(SIGKILL);
}

/* The call itself: what the server says. A probe takes a moment. */
static enum ld_breaker_outcome ask_server(int is_probe, uint64_t *random)
{
	if (is_probe) {
		die_if_it_is_wanted();
		team_pause();
	}
	board->calls++;
	if (!board->quiet && team_random(random) % 16 == 0)
		return LD_BREAKER_NEUTRAL;
	return board->up ? LD_BREAKER_SUCCESS : LD_BREAKER_FAILURE;
}

static void work(void *arg)
{
	uint32_t self = board->started++;
	uint64_t random = team_seed() + self * 7919 + 1;

	(void)arg;
	TEAM_CHECK(self < WORKERS_MAX);
	while (!board->stop) {
		struct ld_breaker_pass pass;
		enum ld_breaker_verdict verdict = ld_breaker_admit(&board->breaker, &settings, ld_clock_boot_ms(), LEASE, &pass);
		enum ld_breaker_outcome outcome;

		if (pass.event != LD_BREAKER_NO_EVENT)
			board->told[pass.event]++;
		if (verdict == LD_BREAKER_REFUSED) {
			TEAM_CHECK(pass.retry_after_ms > 0);
			team_pause();
			continue;
		}
		if (verdict == LD_BREAKER_PROBE)
			write_lease(self, ld_breaker_unpack(pass.word).time_ms);
		outcome = ask_server(verdict == LD_BREAKER_PROBE, &random);
		atomic_store(&board->leases[self], 0);
		if (!board->quiet && team_random(&random) % 64 == 0)
			continue;
		board->told[ld_breaker_report(&board->breaker, &settings, &pass, outcome, ld_clock_boot_ms(), self)]++;
		if (verdict == LD_BREAKER_ADMITTED)
			team_pause();
	}
}

static int begin(void **state)
{
	(void)state;
	board = team_share(sizeof(*board));
	board->up = 1;
	(void)team_plan();
	for (int i = 0; i < WORKERS; i++)
		workers[i] = team_start(work, NULL);
	return 0;
}

static int end(void **state)
{
	(void)state;
	team_disarm();
	for (int i = 0; i < WORKERS; i++)
		if (workers[i] > 0)
			team_kill(workers[i]);
	team_unshare(board, sizeof(*board));
	return 0;
}

static void stop_all(void)
{
	team_disarm();
	board->stop = 1;
	for (int i = 0; i < WORKERS; i++) {
		pid_t pid = workers[i];

		workers[i] = 0;
		team_join(pid);
	}
}

static enum ld_breaker_state state_now(void)
{
	return ld_breaker_unpack(board->breaker.word).state;
}

/* ---- kills ---- */

/* Has one of them died? It must be a kill that was wanted; another takes its place. */
static int has_one_died(void)
{
	for (int i = 0; i < WORKERS; i++) {
		int ended;

		if (!team_has_ended(workers[i]))
			continue;
		ended = team_end(workers[i]);
		workers[i] = 0;
		if (ended != 256 + SIGKILL)
			TEAM_FAIL("a worker ended with %d", ended);
		workers[i] = team_start(work, NULL);
		return 1;
	}
	return 0;
}

/* The server flaps while they die. */
static int flap_until_one_has_died(uint64_t *random)
{
	board->up = team_random(random) % 3 == 0;
	return has_one_died();
}

static void aim(unsigned which, int64_t pass)
{
	static const enum ld_fault_point points[] = { LD_FAULT_breaker_probe_taken, LD_FAULT_breaker_report, LD_FAULT_breaker_turned,
		LD_FAULT_breaker_counted };

	/* The point between the other two is the call, which is not the breaker's. */
	if (which == 0)
		board->kill_in_call = (int32_t)pass;
	else
		team_arm(points[which - 1], LD_FAULT_KILL, 0, pass);
}

static void test_killed_probers(void **state)
{
	uint64_t kills = team_size(200, 2000), random = team_seed(), hits[5] = { 0 };
	int64_t longest_ms = 0;

	(void)state;
	for (uint64_t i = 0; i < kills; i++) {
		/* Mostly probers: the last point is a caller's while it is closed. */
		unsigned which = (unsigned)(team_random(&random) % 16);
		int64_t from_ms;

		which = which == 15 ? 4 : which % 4;
		aim(which, 1 + (int64_t)(team_random(&random) % 3));
		if (!TEAM_POLL(TEAM_DEADLINE_MS, flap_until_one_has_died(&random)))
			TEAM_FAIL("kill %llu of kind %u: nobody came there, the breaker is %s", (unsigned long long)i, which,
			    ld_breaker_state_name(state_now()));
		hits[which]++;
		team_disarm();
		board->up = 1;
		from_ms = team_now_ms();
		if (!TEAM_POLL(TEAM_DEADLINE_MS, state_now() == LD_BREAKER_CLOSED))
			TEAM_FAIL("after kill %llu of kind %u it stays %s", (unsigned long long)i, which, ld_breaker_state_name(state_now()));
		longest_ms = team_now_ms() - from_ms > longest_ms ? team_now_ms() - from_ms : longest_ms;
	}
	stop_all();
	print_message("# %llu kills: %llu in the call, %llu with the probe taken, %llu about to report, %llu after a transition, %llu counting; "
	    "closed again within %lld ms; %llu calls, %llu probes, %llu lost, %llu late\n", (unsigned long long)kills, (unsigned long long)hits[0],
	    (unsigned long long)hits[1], (unsigned long long)hits[2], (unsigned long long)hits[3], (unsigned long long)hits[4],
	    (long long)longest_ms, (unsigned long long)board->calls, (unsigned long long)board->breaker.probes,
	    (unsigned long long)board->breaker.probes_lost, (unsigned long long)board->breaker.late);
	TEAM_CHECK(board->overlaps == 0);
	TEAM_CHECK(board->breaker.probes_lost >= kills / 4 && board->breaker.probes > kills);
	/* Each was told to one, or to nobody because he was killed. */
	for (int i = 1; i < LD_BREAKER_EVENTS; i++)
		TEAM_CHECK(board->told[i] <= board->breaker.events[i] && board->breaker.events[i] <= board->told[i] + kills);
}

/* ---- nobody is killed ---- */

static void test_each_transition_is_told_once(void **state)
{
	uint64_t rounds = team_size(40, 400), opened = 0;
	_Atomic uint64_t *events = board->breaker.events;

	(void)state;
	board->quiet = 1;
	for (uint64_t i = 0; i < rounds; i++) {
		board->up = 0;
		TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, state_now() != LD_BREAKER_CLOSED));
		TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, board->breaker.events[LD_BREAKER_REOPENED] >= i));
		board->up = 1;
		TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, state_now() == LD_BREAKER_CLOSED));
	}
	stop_all();
	for (int i = 1; i < LD_BREAKER_EVENTS; i++)
		TEAM_EXPECT((int64_t)board->told[i], (int64_t)events[i]);
	opened = events[LD_BREAKER_OPENED_FAILURES] + events[LD_BREAKER_OPENED_ERRORS];
	print_message("# %llu rounds: opened %llu times, reopened %llu, closed %llu\n", (unsigned long long)rounds, (unsigned long long)opened,
	    (unsigned long long)events[LD_BREAKER_REOPENED], (unsigned long long)events[LD_BREAKER_CLOSED_AGAIN]);
	TEAM_CHECK(opened >= rounds);
	/* Whatever opens becomes half-open, and that closes or opens again. */
	TEAM_EXPECT((int64_t)events[LD_BREAKER_HALF_OPENED], (int64_t)(events[LD_BREAKER_REOPENED] + events[LD_BREAKER_CLOSED_AGAIN]));
	TEAM_EXPECT((int64_t)events[LD_BREAKER_HALF_OPENED], (int64_t)(opened + events[LD_BREAKER_REOPENED]));
	TEAM_CHECK(board->overlaps == 0);
}

/* A prober that is stopped, not killed: it is replaced as well, and what it says when it goes on is late. */
static void test_a_stopped_prober_is_replaced(void **state)
{
	int64_t from_ms;
	pid_t stopped = 0;
	uint64_t lost;

	(void)state;
	board->quiet = 1;
	team_arm(LD_FAULT_breaker_report, LD_FAULT_STOP, 0, 1);
	board->up = 0;
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, team_plan()->acted == 1));
	team_disarm();
	from_ms = team_now_ms();
	board->up = 1;
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, state_now() == LD_BREAKER_CLOSED));
	print_message("# closed again %lld ms after its prober was stopped\n", (long long)(team_now_ms() - from_ms));
	lost = board->breaker.late;
	for (int i = 0; i < WORKERS; i++)
		if (team_is_stopped(workers[i]))
			stopped = workers[i];
	TEAM_CHECK(stopped != 0);
	team_continue(stopped);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, board->breaker.late > lost));
	TEAM_CHECK(state_now() == LD_BREAKER_CLOSED);
	stop_all();
}

#define WITH_WORKERS(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		WITH_WORKERS(test_killed_probers),
		WITH_WORKERS(test_each_transition_is_told_once),
		WITH_WORKERS(test_a_stopped_prober_is_replaced),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
