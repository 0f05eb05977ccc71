/* SPDX-License-Identifier: MIT */
/*
 * A history of calls of several processes around one cache and one L2, checked as it is made: gets of all kinds, loads, leases, fills, sets, adds,
 * deletes, clears, invalidations by tag, touches, and the telling of L2, with budgets long and short; processes killed and stopped at every fault point
 * on their way and at random moments; clocks that jump, so that TTLs, windows, hard ends, leases and back-offs are over; an L2 that is slow, fails,
 * loses answers, and carries out what the dead have sent.
 *
 * What is guaranteed, on one host (the processes that share a directory):
 *
 *   1. When a set, set_absent, delete, delete_many, clear or tag invalidation has returned, no call that begins afterwards, in any process, gives out a value
 *      of the keys concerned that was older: out of the store, out of L2, stale, in its error window, out of a fill that was under way, or as "not
 *      found". That holds for LARDER_UNAVAILABLE of a set and for LARDER_E_BUSY, _FULL and _IO of the others too, but not for an add that has not stored.
 *   2. "Older" is what was written by a call that had returned before the write began, or was given by a loader that asked its source before. What calls
 *      that overlap have written may be found in either order. A loader that asks afterwards gives what it finds; the caller of a loader is given what
 *      that loader gave, though it be discarded for everybody else.
 *   3. A call that was killed has come to pass or not. Once anybody was given what it wrote, no later call is given what was before it.
 *   4. All of this whoever is killed or stopped, and wherever.
 *   5. Nothing is promised of being found: any call may miss.
 *
 * Across hosts: what one host has written is in L2 when its outbox has told it, and the others find it there when what they have themselves is over: so a host
 * may give out what another one has overwritten or deleted for at most its own TTL and windows, after L2 has been told. Clears and invalidations by tag are
 * not told to other hosts. Writes of one key by two hosts are kept by L2 in the order in which it carries them out.
 *
 * What it rests on: L2 carries a request out before the time is over that the settings give it, whether its client still waits or not, or never, and none twice
 * that has the same Idempotency-Key; the wall clock is not set back by more than LARDER_L2_SKEW_MS; the segment stays. Left out: LARDER_CALL_THIS_TIER, which
 * tells L2 nothing. A drainer that is stopped just between its look at the clock and the system call that sends, for longer than its limit: see l1/drain.c.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "history.h"
#include "history_calls.h"
#include "lib/team.h"

enum { REACH_MS = 120, JUMP_MAX_MS = 2500 };

/* Not on the way of these calls: making a cache, and limits. All others are killed at; a new one is too. */
static const enum ld_fault_point elsewhere[] = { LD_FAULT_none, LD_FAULT_process_page, LD_FAULT_key_random, LD_FAULT_seg_made_file, LD_FAULT_seg_allocate,
	LD_FAULT_seg_before_rename, LD_FAULT_seg_after_rename, LD_FAULT_store_made_files, LD_FAULT_store_made_tables, LD_FAULT_store_made,
	LD_FAULT_store_remade, LD_FAULT_limit_frozen, LD_FAULT_limit_named, LD_FAULT_limit_charged, LD_FAULT_limit_between };

/* Reached in every run. */
static const enum ld_fault_point certain[] = { LD_FAULT_get_mid_copy, LD_FAULT_gate_taken, LD_FAULT_txn_begin, LD_FAULT_set_old_removed, LD_FAULT_set_row_put,
	LD_FAULT_set_chunks_put, LD_FAULT_delete_removed, LD_FAULT_txn_commit, LD_FAULT_txn_committed, LD_FAULT_gate_leaving, LD_FAULT_outbox_row_put,
	LD_FAULT_outbox_counted, LD_FAULT_stamp_raised, LD_FAULT_fill_admitted, LD_FAULT_fill_taken, LD_FAULT_fill_loaded, LD_FAULT_fill_stored,
	LD_FAULT_lease_seen, LD_FAULT_lease_held, LD_FAULT_lease_ended };

/* The writer gate is held, or that by which processes attach. */
static const enum ld_fault_point gated[] = { LD_FAULT_gate_taken, LD_FAULT_set_row_put, LD_FAULT_stamp_raised, LD_FAULT_fill_admitted, LD_FAULT_delete_removed,
	LD_FAULT_txn_commit, LD_FAULT_txn_committed, LD_FAULT_gate_leaving, LD_FAULT_store_opening, LD_FAULT_first_read };

static struct history_counts *counts;
static struct history_l2 *l2;
static larder *cache;
static pid_t pids[HISTORY_WORKERS];
static unsigned indices[HISTORY_WORKERS];
static uint64_t kills, stops, jumps, outages, acted[LD_FAULT_POINTS];

static void work(void *arg)
{
	history_work(cache, *(unsigned *)arg, counts);
}

static void start_worker(unsigned i)
{
	indices[i] = i;
	pids[i] = team_start(work, &indices[i]);
}

/* Whoever is dead by now is replaced. Returns how many had been killed; one that ended otherwise has found something. */
static unsigned replace_dead(void)
{
	unsigned killed = 0;

	for (unsigned i = 0; i < HISTORY_WORKERS; i++) {
		int status;

		if (waitpid(pids[i], &status, WNOHANG) != pids[i])
			continue;
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			TEAM_FAIL("a worker ended with status %x", (unsigned)status);
		history_died(i);
		killed++;
		start_worker(i);
	}
	kills += killed;
	return killed;
}

static unsigned luck(uint64_t *random, unsigned of)
{
	return (unsigned)(team_random(random) >> 33) % of;
}

static void let_run(unsigned us)
{
	int64_t until_us = team_now_us() + us;

	while (team_now_us() < until_us) {
		replace_dead();
		team_pause();
	}
}

/* A worker may still be dying of what was armed last. */
static void end_worker(unsigned i)
{
	int ended = team_end(pids[i]);

	if (ended != 0 && ended != 256 + SIGKILL)
		TEAM_FAIL("a worker ended with %d", ended);
}

/* At times several at once: those who come after them attach at once too, and not all of them get in. */
static void kill_someone(uint64_t *random)
{
	unsigned many = luck(random, 4) ? 1 : 2 + luck(random, HISTORY_WORKERS - 1);

	for (unsigned i = 0; i < many; i++)
		kill(pids[luck(random, HISTORY_WORKERS)], SIGKILL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, replace_dead() > 0));
}

/* ---- at the fault points ---- */

static int is_elsewhere(unsigned point)
{
	for (unsigned i = 0; i < sizeof(elsewhere) / sizeof(*elsewhere); i++)
		if (elsewhere[i] == point)
			return 1;
	return 0;
}

/* One after the other, in an order drawn by lot each time round. */
static enum ld_fault_point next_point(uint64_t *random)
{
	static unsigned order[LD_FAULT_POINTS], used, at;

	if (at == used) {
		at = used = 0;
		for (unsigned point = 0; point < LD_FAULT_POINTS; point++)
			if (!is_elsewhere(point))
				order[used++] = point;
		for (unsigned i = used - 1; i > 0; i--) {
			unsigned other = luck(random, i + 1), was = order[i];

			order[i] = order[other];
			order[other] = was;
		}
	}
	return (enum ld_fault_point)order[at++];
}

/* The point that is armed now. It stays so while other things happen. */
static struct {
	enum ld_fault_point point;
	int stops, is_counted;
	int64_t until_ms;               /* for so long; or, where somebody is stopped, until it goes on */
} armed;

/* So that the next one has to recover. It may do so before its point is armed. */
static void kill_in_gate(void)
{
	team_arm(LD_FAULT_set_row_put, LD_FAULT_KILL, 0, 1);
	(void)TEAM_POLL(REACH_MS, atomic_load(&team_plan()->acted) > 0);
}

static void arm_next(uint64_t *random)
{
	armed.stops = luck(random, 2) == 0;
	/* Whoever is stopped in the gate shows what others do who cannot get in. */
	armed.point = armed.stops && luck(random, 2) ? gated[luck(random, sizeof(gated) / sizeof(*gated))] : next_point(random);
	armed.is_counted = 0;
	if (armed.point == LD_FAULT_gate_recovering)
		kill_in_gate();
	armed.until_ms = team_now_ms() + (team_is_long() ? 10 * REACH_MS : REACH_MS);
	team_arm(armed.point, armed.stops ? LD_FAULT_STOP : LD_FAULT_KILL, 0, 1 + (int64_t)luck(random, 3));
}

/* Whoever is stopped goes on, or is killed. */
static void resume(uint64_t *random)
{
	for (unsigned i = 0; i < HISTORY_WORKERS; i++)
		if (team_is_stopped(pids[i]))
			kill(pids[i], luck(random, 2) ? SIGCONT : SIGKILL);
}

/* What has become of the point that is armed. Others cannot get in while somebody is stopped inside the gate. */
static void attend(uint64_t *random)
{
	if (atomic_load(&team_plan()->acted) > 0 && !armed.is_counted) {
		armed.is_counted = 1;
		acted[armed.point]++;
		stops += (uint64_t)armed.stops;
		armed.until_ms = team_now_ms() + (armed.stops ? 1 + (int64_t)luck(random, 80) : 0);
	}
	if (team_now_ms() < armed.until_ms)
		return;
	team_disarm();
	/* It may have acted just now. */
	if (armed.stops)
		resume(random);
	arm_next(random);
}

static void reach(enum ld_fault_point point)
{
	team_arm(point, LD_FAULT_KILL, 0, 1);
	if (!TEAM_POLL(TEAM_DEADLINE_MS, (replace_dead(), atomic_load(&team_plan()->acted) > 0)))
		TEAM_FAIL("point %s was not reached", ld_fault_name(point));
	acted[point]++;
	team_disarm();
}

/* ---- clocks, and L2 ---- */

/* While nobody runs, and nothing is on its way: what is sent before a jump does not arrive after it. */
static void jump(uint64_t *random)
{
	static const unsigned at_most_ms[] = { 50, 700, 700, JUMP_MAX_MS };
	int64_t by_ms = 1 + (int64_t)luck(random, at_most_ms[luck(random, 4)]);

	int was_stopped[HISTORY_WORKERS];

	for (unsigned i = 0; i < HISTORY_WORKERS; i++) {
		was_stopped[i] = team_is_stopped(pids[i]);
		kill(pids[i], SIGSTOP);
	}
	for (unsigned i = 0; i < HISTORY_WORKERS; i++)
		TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, team_is_stopped(pids[i]) || team_has_ended(pids[i])));
	history_l2_settle();
	atomic_fetch_add(&team_plan()->boot_shift_ms, by_ms);
	atomic_fetch_add(&team_plan()->wall_shift_ms, by_ms);
	for (unsigned i = 0; i < HISTORY_WORKERS; i++)
		if (!was_stopped[i])
			kill(pids[i], SIGCONT);
	jumps++;
}

static void turn_l2(uint64_t *random)
{
	int was = atomic_load(&l2->mode);

	atomic_store(&l2->mode, was != L2_GOOD ? L2_GOOD : 1 + (int)luck(random, L2_MODES - 1));
	outages += was == L2_GOOD;
}

static void disturb(uint64_t *random)
{
	unsigned what = luck(random, 100);

	attend(random);
	if (what < 8)
		kill_someone(random);
	else if (what < 55)
		jump(random);
	else if (what < 59 || (what < 80 && atomic_load(&l2->mode) != L2_GOOD))
		turn_l2(random);
	/* Whoever tells L2 needs some time without being killed. */
	let_run(luck(random, luck(random, 16) ? 10000 : 200000));
}

/* ---- the test ---- */

static void print_one(uint64_t number, const char *what)
{
	print_message(" %llu %s", (unsigned long long)number, what);
}

static void print_counts(double seconds)
{
	print_message("# %.1f s:", seconds);
	print_one(kills, "kills,");
	print_one(stops, "stops,");
	print_one(jumps, "jumps,");
	print_one(outages, "outages;");
	print_one(counts->from_l1, "given from L1,");
	print_one(counts->from_l2, "from L2,");
	print_one(counts->from_loader, "from loaders;");
	print_one(counts->stale, "of them stale,");
	print_one(counts->absent, "absent;");
	print_one(counts->nothing, "not given;");
	print_one(counts->loads, "loads,");
	print_one(counts->fills, "leases filled,");
	print_one(counts->unfilled, "not;");
	print_one(counts->writes, "writes done,");
	print_one(counts->undone, "not,");
	print_one(counts->clears, "of them clears,");
	print_one(counts->invalidations, "invalidations");
	print_message("\n# L2:");
	print_one(l2->gets, "gets,");
	print_one(l2->hits, "hits,");
	print_one(l2->same, "renewed,");
	print_one(l2->puts, "puts,");
	print_one(l2->deletes, "deletes,");
	print_one(l2->repeated, "repeated,");
	print_one(l2->lost, "lost,");
	print_one(l2->refused, "refused");
	print_message("\n# not reached:");
	for (unsigned point = 0; point < LD_FAULT_POINTS; point++)
		if (!is_elsewhere(point) && acted[point] == 0)
			print_message(" %s", ld_fault_name((enum ld_fault_point)point));
	print_message("\n");
}

/* It was at work, and everything came to pass. */
static int is_enough(void)
{
	return counts->from_l1 > 500 && counts->from_l2 > 20 && counts->from_loader > 100 && counts->stale > 20 && counts->absent > 20 && counts->writes > 200 &&
	    counts->undone > 20 && counts->fills > 20 && counts->clears > 5 && counts->invalidations > 10 && kills > 20 && stops > 2 && jumps > 20 && outages > 1;
}

/* Everything is short, for the clocks jump. */
static larder *open_cache(const char *url, const char *codec, const char *writes)
{
	return team_open(team_directory(), "SIZE=4M", "MAX_ENTRIES=7", "NEGATIVE_SHARE=50", "WORKERS=32", "TENANTS=16", "SWEEP_MS=100", "WRITE_WAIT_MS=10",
	    "TTL=400ms", "STALE=300ms", "STALE_IF_ERROR=1s", "TTL_JITTER=20", "L2_TTL=30s", "L2_SKEW_MS=0", "L2_TTL_MAX=60s", "LEASE_MS=60ms", "FAIL_THROTTLE_MS=20ms",
	    "FILL_WAIT_MS=50ms", "L2_GET_MS=100ms", "L2_SET_MS=250ms", "L2_DELETE_MS=250ms", "BREAKER_OPEN_MS=40ms", "BREAKER_OPEN_MAX_MS=300ms",
	    "OUTBOX_AGE=3s", url, codec, writes, NULL);
}

static void make_history(const char *codec, const char *writes, int64_t time_ms)
{
	uint64_t random = team_seed();
	int64_t began_ms = team_now_ms();
	char url[80];

	kills = stops = jumps = outages = 0;
	memset(acted, 0, sizeof(acted));
	counts = team_share(sizeof(*counts));
	history_make();
	team_plan();
	l2 = history_l2_start(url, sizeof(url));
	cache = open_cache(url, codec, writes);
	for (unsigned i = 0; i < HISTORY_WORKERS; i++)
		start_worker(i);
	arm_next(&random);
	while (team_now_ms() - began_ms < time_ms || (!is_enough() && team_now_ms() - began_ms < time_ms + TEAM_DEADLINE_MS))
		disturb(&random);
	team_disarm();
	for (unsigned i = 0; i < HISTORY_WORKERS; i++)
		kill(pids[i], SIGCONT);
	for (unsigned i = 0; i < sizeof(certain) / sizeof(*certain); i++)
		if (acted[certain[i]] == 0)
			reach(certain[i]);
	atomic_store(&l2->mode, L2_GOOD);
	atomic_store(&counts->stop, 1);
	for (unsigned i = 0; i < HISTORY_WORKERS; i++)
		end_worker(i);
	print_counts((double)(team_now_ms() - began_ms) / 1000);
	history_l2_stop();
	larder_close(cache);
	history_free();
	assert_true(is_enough());
	team_unshare(counts, sizeof(*counts));
}

static void test_history_over_json(void **state)
{
	(void)state;
	make_history("L2_CODEC=json", "L2_WRITE=behind", (int64_t)team_size(7000, 180000));
}

/* Budgets of a millisecond too: nothing newer of a key may overtake what L2 carries out after its caller has gone. */
static void test_history_over_raw(void **state)
{
	(void)state;
	make_history("L2_CODEC=raw", "L2_WRITE=through", (int64_t)team_size(7000, 180000));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_history_over_json),
		cmocka_unit_test(test_history_over_raw),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
