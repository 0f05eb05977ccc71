/* SPDX-License-Identifier: MIT */
/*
 * Leases of the store among real processes: of many who want a key at once one gets it, and the others are woken when it is done; whoever is killed or
 * stopped, at whichever line, holds up nobody for longer than was promised.
 *
 * Times: `soon` is what is promised after a death, 50 ms. A host that is busy with other things may need longer now and then, so the median of several
 * deaths is held to it, and the longest to half a second more.
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

#include "base/clock.h"
#include "base/futex.h"
#include "cache/handle.h"
#include "lib/team.h"
#include "unit/leave_out.h"

enum { CROWD = 64, ROUNDS_MAX = 1000, KEYS = 96, WORKERS = 8, SOON_MS = 50, SPARE_MS = 500, LONG_MS = 600000, DEATHS = 9, PARTS = 10 };

static const enum ld_fault_point points[] = { LD_FAULT_lease_naming, LD_FAULT_lease_noted, LD_FAULT_lease_named, LD_FAULT_lease_seen,
	LD_FAULT_lease_held, LD_FAULT_lease_ended };
enum { POINTS = sizeof(points) / sizeof(*points), TAKING = POINTS - 1 };

struct board {
	_Atomic int stop;
	struct team_barrier start, middle, end;
	_Atomic uint32_t taken[ROUNDS_MAX], held, ready, going;
	_Atomic int64_t done_us;
	_Atomic uint32_t raw;
	uint32_t late_us[2][ROUNDS_MAX * CROWD];
	_Atomic uint32_t late_used[2];
	_Atomic int64_t taken_us;
	_Atomic uint32_t woken, ended_as[4];
	_Atomic int32_t inside[KEYS];     /* pid of who has the key's lease */
	_Atomic uint64_t takes, waits, throttles, nones, lost, told;
};

static struct board *board;
static larder *cache;
static struct ld_store *store;
static struct ld_key keys[KEYS];
static const struct ld_way way = { 1000, 0 };

static larder_tenant *tenant;

static void open_store(const char *leases)
{
	static struct ld_keyspace room;

	board = team_share(sizeof(*board));
	cache = team_open(team_directory(), "SIZE=2M", "WORKERS=128", "TENANTS=16", "THREADS=0", leases, NULL);
	tenant = team_tenant(cache, "acme");
	for (unsigned i = 0; i < KEYS; i++) {
		const struct ld_keyspace *keyspace;
		char name[16];

		TEAM_EXPECT(ld_prepare_key(tenant, "lease", name, (size_t)snprintf(name, sizeof(name), "key-%u", i), &room, &keyspace, &keys[i]), 0);
	}
	store = cache->store;
	team_plan();
}

static void close_store(void)
{
	team_disarm();
	larder_tenant_close(tenant);
	larder_close(cache);
	team_unshare(board, sizeof(*board));
}

static enum ld_lease_answer try_key(unsigned key, int64_t lease_ms, struct ld_lease *lease)
{
	int64_t retry_ms = 0;

	return ld_store_lease_try(store, &keys[key], &way, NULL, lease_ms, lease, &retry_ms);
}

/* Many who attach at the same moment stand in each other's way for longer than a call may take. */
static void be_here(void)
{
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, ld_store_attach(store) == 0));
}

static int wait_for(struct ld_lease *lease, int64_t for_ms, enum ld_lease_end *end)
{
	return ld_store_lease_wait(store, lease, ld_clock_boot_ms() + for_ms, end);
}

/* Until the lease is ours: as a caller does who waits. */
static void take_at_last(unsigned key, int64_t lease_ms, struct ld_lease *lease)
{
	int64_t end_ms = team_now_ms() + TEAM_DEADLINE_MS;

	for (;;) {
		enum ld_lease_answer answer = try_key(key, lease_ms, lease);
		enum ld_lease_end end;

		if (answer == LD_LEASE_TAKEN)
			return;
		TEAM_CHECK(answer == LD_LEASE_HELD && team_now_ms() < end_ms);
		(void)wait_for(lease, TEAM_DEADLINE_MS, &end);
	}
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* ---- many at once ---- */

static void note_late(unsigned of)
{
	int64_t late_us = team_now_us() - atomic_load(&board->done_us);

	board->late_us[of][atomic_fetch_add(&board->late_used[of], 1)] = (uint32_t)late_us;
}

/* All who wait are asleep, as nearly as can be known: each says so before it goes to sleep. */
static void await_sleepers(void)
{
	if (!TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->ready) == CROWD - 1))
		TEAM_FAIL("only %u came to wait", atomic_load(&board->ready));
	usleep(3000);
	atomic_store(&board->ready, 0);
	atomic_store(&board->done_us, team_now_us());
}

static void lease_round(unsigned round)
{
	enum ld_lease_end end = LD_LEASE_GONE;
	struct ld_lease lease;
	enum ld_lease_answer answer = try_key(0, LONG_MS, &lease);

	if (answer == LD_LEASE_TAKEN) {
		atomic_fetch_add(&board->taken[round], 1);
		await_sleepers();
		ld_store_lease_end(store, &lease, LD_LEASE_STORED, 0);
		return;
	}
	TEAM_EXPECT((int)answer, LD_LEASE_HELD);
	atomic_fetch_add(&board->ready, 1);
	TEAM_EXPECT(wait_for(&lease, TEAM_DEADLINE_MS, &end), 0);
	note_late(0);
	TEAM_EXPECT((int)end, LD_LEASE_STORED);
}

static void raw_round(unsigned index, unsigned round)
{
	uint32_t seen = atomic_load(&board->raw);

	team_meet(&board->middle, CROWD);
	if (index == round % CROWD) {
		await_sleepers();
		atomic_fetch_add(&board->raw, 1);
		ld_futex_wake(&board->raw, CROWD);
		return;
	}
	atomic_fetch_add(&board->ready, 1);
	while (atomic_load(&board->raw) == seen)
		ld_futex_wait(&board->raw, seen, 1000);
	note_late(1);
}

static unsigned rounds;

static void be_of_the_crowd(void *arg)
{
	unsigned index = *(const unsigned *)arg;

	be_here();
	for (unsigned round = 0; round < rounds; round++) {
		team_meet(&board->start, CROWD);
		lease_round(round);
		team_meet(&board->end, CROWD);
		raw_round(index, round);
	}
}

static uint32_t percentile(uint32_t *late_us, uint32_t count, unsigned percent)
{
	qsort(late_us, count, sizeof(*late_us), by_number);
	return late_us[(uint64_t)count * percent / 100];
}

/* How much later than of the raw futex is the p99 of the lease? The median of ten parts of the run, so that a burst of other work does not decide it. */
static double p99_ratio(void)
{
	uint32_t part = (CROWD - 1) * rounds / PARTS, percents[PARTS];

	for (unsigned i = 0; i < PARTS; i++) {
		double ours = percentile(board->late_us[0] + i * part, part, 99), raw = percentile(board->late_us[1] + i * part, part, 99);

		percents[i] = (uint32_t)(100 * ours / (raw > 1 ? raw : 1));
	}
	return percentile(percents, PARTS, 50) / 100.0;
}

static void test_a_crowd(void **state)
{
	pid_t pids[CROWD];
	unsigned indexes[CROWD];
	struct ld_tallies tallies;
	uint32_t count;
	double ratio;

	(void)state;
	open_store("LEASES=4096");
	rounds = (unsigned)team_size(200, ROUNDS_MAX);
	for (unsigned i = 0; i < CROWD; i++) {
		indexes[i] = i;
		pids[i] = team_start(be_of_the_crowd, &indexes[i]);
	}
	for (unsigned i = 0; i < CROWD; i++)
		team_join(pids[i]);
	for (unsigned round = 0; round < rounds; round++)
		assert_int_equal(board->taken[round], 1);
	assert_int_equal(ld_store_tallies(store, NULL, &tallies), 0);
	assert_int_equal(tallies.host[LD_HC_leases_taken], rounds);
	assert_int_equal(tallies.host[LD_HC_lease_waits], rounds * (CROWD - 1));
	assert_int_equal(tallies.host[LD_HC_lease_takeovers], 0);
	count = (CROWD - 1) * rounds;
	assert_true(atomic_load(&board->late_used[0]) == count && atomic_load(&board->late_used[1]) == count);
	ratio = p99_ratio();
	print_message("# %u rounds: woken after %u us (median), %u us (p99); by a raw futex %u us, %u us; p99 by parts of the run %.2f times\n", rounds,
	    percentile(board->late_us[0], count, 50), percentile(board->late_us[0], count, 99), percentile(board->late_us[1], count, 50),
	    percentile(board->late_us[1], count, 99), ratio);
	/* 1.5 is what is wanted, and measured by the benchmark; the rest is for a host that has other things to do. */
	assert_true(UNDER_SANITIZER || ratio < 3);
	close_store();
}

/* ---- the holder dies, or is stopped ---- */

static void hold_until_killed(void *arg)
{
	struct ld_lease lease;

	(void)arg;
	TEAM_EXPECT((int)try_key(0, LONG_MS, &lease), LD_LEASE_TAKEN);
	atomic_store(&board->going, 1);
	pause();
}

static void take_and_say(void *arg)
{
	struct ld_lease lease;

	(void)arg;
	be_here();
	atomic_fetch_add(&board->ready, 1);
	take_at_last(0, LONG_MS, &lease);
	TEAM_EXPECT(atomic_exchange(&board->taken_us, team_now_us()), 0);
	atomic_fetch_add(&board->held, 1);
	usleep(1000);
	atomic_store(&board->taken_us, 0);
	ld_store_lease_end(store, &lease, LD_LEASE_UNSTORED, 0);
}

static void check_soon(const char *what, uint32_t *late_us, unsigned count)
{
	qsort(late_us, count, sizeof(*late_us), by_number);
	print_message("# %s: the next one after %.1f ms (median), %.1f ms (longest)\n", what, late_us[count / 2] / 1000.0, late_us[count - 1] / 1000.0);
	assert_true(UNDER_SANITIZER || (late_us[count / 2] <= SOON_MS * 1000 && late_us[count - 1] <= (SOON_MS + SPARE_MS) * 1000));
}

/* Sixteen wait for it when it is killed: one of them has it soon, and each gets it once, one at a time. */
static void kill_holder(unsigned waiters, uint32_t *ret_late_us)
{
	pid_t holder, pids[16];
	int64_t killed_us, taken_us = 0;

	atomic_store(&board->going, 0);
	atomic_store(&board->ready, 0);
	atomic_store(&board->held, 0);
	holder = team_start(hold_until_killed, NULL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->going)));
	for (unsigned i = 0; i < waiters; i++)
		pids[i] = team_start(take_and_say, NULL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->ready) == waiters));
	usleep(20000 + (useconds_t)(team_now_us() % 20000));
	TEAM_CHECK(atomic_load(&board->held) == 0);
	killed_us = team_now_us();
	kill(holder, SIGKILL);
	/* The first one says for a millisecond when it has taken it. */
	while (taken_us == 0 && team_now_us() < killed_us + TEAM_DEADLINE_MS * INT64_C(1000)) {
		taken_us = atomic_load(&board->taken_us);
		if (taken_us == 0 && atomic_load(&board->held) > 0)
			taken_us = team_now_us();
	}
	*ret_late_us = (uint32_t)(taken_us - killed_us);
	team_end(holder);
	for (unsigned i = 0; i < waiters; i++)
		team_join(pids[i]);
	TEAM_CHECK(atomic_load(&board->held) == waiters);
}

static void test_holder_is_killed(void **state)
{
	uint32_t late_us[DEATHS];

	(void)state;
	open_store("LEASES=64");
	for (unsigned i = 0; i < DEATHS; i++)
		kill_holder(1, &late_us[i]);
	check_soon("a holder killed, one waits", late_us, DEATHS);
	for (unsigned i = 0; i < DEATHS; i++)
		kill_holder(16, &late_us[i]);
	check_soon("a holder killed, sixteen wait", late_us, DEATHS);
	close_store();
}

enum { LEASE_MS = 400 };

/* Takes it, is stopped, goes on when another one has it: everything it does then is in vain. */
static void hold_and_be_stopped(void *arg)
{
	enum ld_lease_end end;
	struct ld_lease lease, other;

	(void)arg;
	TEAM_EXPECT((int)try_key(0, LEASE_MS, &lease), LD_LEASE_TAKEN);
	atomic_store(&board->going, 1);
	while (atomic_load(&board->going) == 1)
		usleep(1000);
	TEAM_EXPECT(ld_store_lease_renew(store, &lease, LONG_MS), LARDER_MISS);
	ld_store_lease_end(store, &lease, LD_LEASE_FAILED, LONG_MS);
	TEAM_EXPECT((int)try_key(0, LEASE_MS, &other), LD_LEASE_HELD);
	TEAM_EXPECT(wait_for(&other, 0, &end), LARDER_E_BUSY);
	atomic_store(&board->going, 3);
	TEAM_EXPECT(wait_for(&other, TEAM_DEADLINE_MS, &end), 0);
	TEAM_EXPECT((int)end, LD_LEASE_UNSTORED);
}

static void test_holder_is_stopped(void **state)
{
	struct ld_lease lease;
	enum ld_lease_end end;
	int64_t from_ms, took_ms;
	pid_t holder;

	(void)state;
	open_store("LEASES=64");
	from_ms = team_now_ms();
	holder = team_start(hold_and_be_stopped, NULL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->going)));
	kill(holder, SIGSTOP);
	team_await_stop(holder);
	TEAM_EXPECT((int)try_key(0, LEASE_MS, &lease), LD_LEASE_HELD);
	took_ms = team_now_ms();
	TEAM_EXPECT(wait_for(&lease, 50, &end), LARDER_E_BUSY);
	took_ms = team_now_ms() - took_ms;
	TEAM_CHECK(took_ms >= 49 && took_ms < 50 + SPARE_MS);
	take_at_last(0, LONG_MS, &lease);
	took_ms = team_now_ms() - from_ms;
	print_message("# a holder of %d ms stopped: the next one after %lld ms\n", LEASE_MS, (long long)took_ms);
	TEAM_CHECK(took_ms >= LEASE_MS - 1 && took_ms < LEASE_MS + SPARE_MS);
	atomic_store(&board->going, 2);
	team_continue(holder);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->going) == 3));
	ld_store_lease_end(store, &lease, LD_LEASE_UNSTORED, 0);
	team_join(holder);
	close_store();
}

/* A loader that is slow, and says so. */
static void hold_and_renew(void *arg)
{
	struct ld_lease lease;

	(void)arg;
	TEAM_EXPECT((int)try_key(0, 200, &lease), LD_LEASE_TAKEN);
	atomic_store(&board->going, 1);
	for (int i = 0; i < 16; i++) {
		usleep(50000);
		TEAM_EXPECT(ld_store_lease_renew(store, &lease, LEASE_MS + SPARE_MS), 0);
	}
	ld_store_lease_end(store, &lease, LD_LEASE_STORED, 0);
}

static void test_holder_renews(void **state)
{
	struct ld_lease lease;
	enum ld_lease_end end;
	pid_t holder;

	(void)state;
	open_store("LEASES=64");
	holder = team_start(hold_and_renew, NULL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->going)));
	TEAM_EXPECT((int)try_key(0, LEASE_MS, &lease), LD_LEASE_HELD);
	TEAM_EXPECT(wait_for(&lease, TEAM_DEADLINE_MS, &end), 0);
	TEAM_EXPECT((int)end, LD_LEASE_STORED);
	team_join(holder);
	close_store();
}

/* ---- a waiter dies; a holder forks ---- */

static void wait_and_say(void *arg)
{
	enum ld_lease_end end = LD_LEASE_GONE;
	struct ld_lease lease;

	(void)arg;
	TEAM_EXPECT((int)try_key(0, LONG_MS, &lease), LD_LEASE_HELD);
	atomic_fetch_add(&board->ready, 1);
	TEAM_EXPECT(wait_for(&lease, TEAM_DEADLINE_MS, &end), 0);
	atomic_fetch_add(&board->ended_as[end], 1);
}

static void test_waiters_are_killed(void **state)
{
	struct ld_lease_info info;
	struct ld_lease lease;
	pid_t pids[8];

	(void)state;
	open_store("LEASES=64");
	TEAM_EXPECT((int)try_key(0, LONG_MS, &lease), LD_LEASE_TAKEN);
	for (unsigned i = 0; i < 8; i++)
		pids[i] = team_start(wait_and_say, NULL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, ld_store_lease_look(store, &keys[0], &info) == 0 && info.waiting == 8));
	for (unsigned i = 0; i < 4; i++)
		team_kill(pids[i]);
	ld_store_lease_end(store, &lease, LD_LEASE_FAILED, 0);
	for (unsigned i = 4; i < 8; i++)
		team_join(pids[i]);
	assert_int_equal(board->ended_as[LD_LEASE_FAILED], 4);
	/* Nothing is left of the dead. */
	TEAM_EXPECT((int)try_key(0, LONG_MS, &lease), LD_LEASE_TAKEN);
	TEAM_EXPECT(ld_store_lease_look(store, &keys[0], &info), 0);
	assert_int_equal(info.waiting, 0);
	ld_store_lease_end(store, &lease, LD_LEASE_STORED, 0);
	close_store();
}

static void do_as_a_child(void *arg)
{
	struct ld_lease lease = *(struct ld_lease *)arg, same;
	enum ld_lease_end end;

	/* Inherited, and not ours. */
	TEAM_EXPECT(ld_store_lease_renew(store, &lease, LONG_MS), LARDER_MISS);
	ld_store_lease_end(store, &lease, LD_LEASE_FAILED, LONG_MS);
	TEAM_EXPECT((int)try_key(0, LONG_MS, &same), LD_LEASE_HELD);
	TEAM_CHECK(same.token == lease.token && same.row == lease.row);
	atomic_store(&board->going, 1);
	/* But it can be waited for. */
	TEAM_EXPECT(wait_for(&lease, TEAM_DEADLINE_MS, &end), 0);
	TEAM_EXPECT((int)end, LD_LEASE_STORED);
}

static void come_and_go(void *arg)
{
	(void)arg;
	be_here();
}

static void test_fork_while_holding(void **state)
{
	struct ld_lease lease, other;
	pid_t pid;

	(void)state;
	open_store("LEASES=64");
	TEAM_EXPECT((int)try_key(0, LONG_MS, &lease), LD_LEASE_TAKEN);
	/* The end of a child takes no lock of its parent's away. */
	team_run(come_and_go, NULL);
	pid = team_start(do_as_a_child, &lease);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->going)));
	TEAM_EXPECT((int)try_key(0, LONG_MS, &other), LD_LEASE_HELD);
	TEAM_EXPECT(ld_store_lease_renew(store, &lease, LONG_MS), 0);
	ld_store_lease_end(store, &lease, LD_LEASE_STORED, 0);
	team_join(pid);
	close_store();
}

/* ---- killed at each line ---- */

static void take_and_die(void *arg)
{
	struct ld_lease lease;

	(void)arg;
	(void)try_key(0, LONG_MS, &lease);
	TEAM_FAIL("it was not killed");
}

/* What a taker is that is killed at a point: of a row that nobody had, of one that ended, of one that is over time. */
static void prepare_row(unsigned how)
{
	struct ld_lease lease;

	if (how == 0)
		return;
	TEAM_EXPECT((int)try_key(0, 1, &lease), LD_LEASE_TAKEN);
	if (how == 1)
		ld_store_lease_end(store, &lease, LD_LEASE_STORED, 0);
	else
		usleep(3000);
}

static void test_killed_while_taking(void **state)
{
	uint32_t late_us[TAKING * 3];
	unsigned n = 0;

	(void)state;
	for (unsigned how = 0; how < 3; how++)
		for (unsigned i = 0; i < TAKING; i++, n++) {
			struct ld_lease lease;
			pid_t pid;

			open_store("LEASES=64");
			prepare_row(how);
			team_arm(points[i], LD_FAULT_KILL, 0, 1);
			pid = team_start(take_and_die, NULL);
			assert_int_equal(team_end(pid), 256 + SIGKILL);
			assert_int_equal(atomic_load(&team_plan()->acted), 1);
			late_us[n] = (uint32_t)team_now_us();
			take_at_last(0, LONG_MS, &lease);
			late_us[n] = (uint32_t)team_now_us() - late_us[n];
			ld_store_lease_end(store, &lease, LD_LEASE_STORED, 0);
			close_store();
		}
	check_soon("killed while taking", late_us, n);
}

static void end_and_die(void *arg)
{
	struct ld_lease lease;

	(void)arg;
	TEAM_EXPECT((int)try_key(0, LONG_MS, &lease), LD_LEASE_TAKEN);
	atomic_store(&board->going, 1);
	while (atomic_load(&board->going) == 1)
		usleep(300);
	ld_store_lease_end(store, &lease, LD_LEASE_STORED, 0);
	TEAM_FAIL("it was not killed");
}

/* It has ended, and nobody was woken: who waits sees it by itself. */
static void test_killed_while_ending(void **state)
{
	uint32_t late_us[DEATHS];

	(void)state;
	for (unsigned i = 0; i < DEATHS; i++) {
		pid_t holder, waiter;

		open_store("LEASES=64");
		holder = team_start(end_and_die, NULL);
		TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->going)));
		waiter = team_start(wait_and_say, NULL);
		TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->ready)));
		usleep(2000);
		team_arm(LD_FAULT_lease_ended, LD_FAULT_KILL, holder, 1);
		atomic_store(&board->going, 2);
		assert_int_equal(team_end(holder), 256 + SIGKILL);
		late_us[i] = (uint32_t)team_now_us();
		team_join(waiter);
		late_us[i] = (uint32_t)team_now_us() - late_us[i];
		assert_int_equal(board->ended_as[LD_LEASE_STORED], 1);
		close_store();
	}
	check_soon("killed while ending", late_us, DEATHS);
}

/* ---- workers that are killed all the time ---- */

/*
 * Dead, or on its way there. The kernel drops a process' locks, by which others learn that it is gone, some time before its state says so; by its flags
 * (PF_EXITING, field 9) it has begun to end before that.
 */
static int is_gone(int32_t pid)
{
	enum { PF_EXITING = 4 };
	char path[64], line[1024], state, *name_end;
	unsigned flags;
	FILE *stat;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	stat = fopen(path, "re");
	if (!stat)
		return 1;
	name_end = fgets(line, sizeof(line), stat) ? strrchr(line, ')') : NULL;
	fclose(stat);
	return !name_end || sscanf(name_end, ") %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2 || state == 'Z' || state == 'X' || flags & PF_EXITING;
}

/* Nobody else has it: who had it last has given it back, or is dead. */
static void come_in(unsigned key)
{
	int32_t before = atomic_exchange(&board->inside[key], (int32_t)getpid());

	if (before != 0 && !is_gone(before))
		TEAM_FAIL("key %u: %d has the lease, and %d has it too", key, (int)before, (int)getpid());
}

static void hold_for_a_moment(unsigned key, struct ld_lease *lease, uint64_t random)
{
	static const enum ld_lease_end ends[] = { LD_LEASE_STORED, LD_LEASE_FAILED, LD_LEASE_UNSTORED, LD_LEASE_FAILED };

	come_in(key);
	atomic_fetch_add(&board->takes, 1);
	/* A moment in which others may come, on a host that is busy with other things too. */
	if (random % 4 == 0)
		usleep((useconds_t)(random >> 8 & (random % 32 == 0 ? 16383 : 1023)));
	if (random % 7 == 0)
		TEAM_EXPECT(ld_store_lease_renew(store, lease, LONG_MS), 0);
	atomic_store(&board->inside[key], 0);
	ld_store_lease_end(store, lease, ends[random >> 20 & 3], (int64_t)(random >> 24 & 3));
}

static void work(void *arg)
{
	uint64_t random = (team_seed() ^ ((uint64_t)getpid() << 20)) | 1;

	(void)arg;
	while (!atomic_load(&board->stop)) {
		uint64_t dice = team_random(&random);
		/* A few keys that all want, and many that make the rows change hands. */
		unsigned key = dice % 3 ? (unsigned)(dice >> 40) % 3 : (unsigned)(dice >> 40) % KEYS;
		enum ld_lease_end end;
		struct ld_lease lease;
		int rc;

		switch (try_key(key, LONG_MS, &lease)) {
		case LD_LEASE_TAKEN:
			hold_for_a_moment(key, &lease, dice);
			break;
		case LD_LEASE_HELD:
			rc = wait_for(&lease, TEAM_DEADLINE_MS, &end);
			TEAM_CHECK(rc == 0 || rc == LARDER_MISS);
			atomic_fetch_add(rc == 0 ? &board->waits : &board->lost, 1);
			break;
		case LD_LEASE_THROTTLED:
			atomic_fetch_add(&board->throttles, 1);
			break;
		case LD_LEASE_NONE:
			atomic_fetch_add(&board->nones, 1);
			break;
		}
	}
}

static unsigned replace_dead(pid_t *pids)
{
	unsigned killed = 0;

	for (unsigned i = 0; i < WORKERS; i++) {
		int status;

		if (waitpid(pids[i], &status, WNOHANG) != pids[i])
			continue;
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			TEAM_FAIL("a worker ended with status %x", (unsigned)status);
		killed++;
		pids[i] = team_start(work, NULL);
	}
	return killed;
}

static int has_seen_enough(uint64_t kills)
{
	return kills > 10 && board->takes > 100 && board->waits > 10;
}

/* For so long, and longer where the host is too busy for enough to happen. */
static uint64_t work_and_kill(int64_t for_ms)
{
	uint64_t random = team_seed(), kills = 0;
	int64_t begin_ms = team_now_ms(), next_ms = 0;
	pid_t pids[WORKERS];

	for (unsigned i = 0; i < WORKERS; i++)
		pids[i] = team_start(work, NULL);
	for (unsigned n = 0; team_now_ms() < begin_ms + (has_seen_enough(kills) ? for_ms : for_ms + TEAM_DEADLINE_MS); team_pause()) {
		kills += replace_dead(pids);
		if (team_now_ms() < next_ms)
			continue;
		next_ms = team_now_ms() + (int64_t)(team_random(&random) % 20);
		if (n++ % 3 == 0)
			kill(pids[team_random(&random) % WORKERS], SIGKILL);
		else
			team_arm(points[n % POINTS], LD_FAULT_KILL, 0, 1 + (int64_t)(team_random(&random) % 50));
	}
	team_disarm();
	atomic_store(&board->stop, 1);
	for (unsigned i = 0; i < WORKERS; i++) {
		int ended = team_end(pids[i]);

		TEAM_CHECK(ended == 0 || ended == 256 + SIGKILL);
	}
	return kills;
}

static void test_workers_are_killed(void **state)
{
	struct ld_tallies tallies;
	struct ld_lease lease;
	uint64_t kills;

	(void)state;
	open_store("LEASES=64");
	kills = work_and_kill((int64_t)team_size(3000, 120000));
	print_message("# %llu kills; %llu takes, %llu waits, %llu lost, %llu throttled, %llu without\n", (unsigned long long)kills,
	    (unsigned long long)board->takes, (unsigned long long)board->waits, (unsigned long long)board->lost, (unsigned long long)board->throttles,
	    (unsigned long long)board->nones);
	assert_true(has_seen_enough(kills));
	for (unsigned i = 0; i < POINTS; i++)
		assert_true(atomic_load(&team_plan()->passed[points[i]]) > 0);
	assert_int_equal(ld_store_tallies(store, NULL, &tallies), 0);
	assert_true(tallies.host[LD_HC_leases_taken] >= board->takes);
	/* What the dead held is had at once again. */
	for (unsigned key = 0; key < KEYS; key++) {
		while (try_key(key, LONG_MS, &lease) == LD_LEASE_THROTTLED)
			usleep(1000);
		usleep(LD_LEASE_ASK_MS * 1000 / 50);
		ld_store_lease_end(store, &lease, LD_LEASE_STORED, 0);
	}
	for (unsigned key = 0; key < KEYS; key++) {
		take_at_last(key, LONG_MS, &lease);
		ld_store_lease_end(store, &lease, LD_LEASE_STORED, 0);
	}
	close_store();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_crowd),
		cmocka_unit_test(test_holder_is_killed),
		cmocka_unit_test(test_holder_is_stopped),
		cmocka_unit_test(test_holder_renews),
		cmocka_unit_test(test_waiters_are_killed),
		cmocka_unit_test(test_fork_while_holding),
		cmocka_unit_test(test_killed_while_taking),
		cmocka_unit_test(test_killed_while_ending),
		cmocka_unit_test(test_workers_are_killed),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests_name("lease", tests, NULL, NULL);
}
