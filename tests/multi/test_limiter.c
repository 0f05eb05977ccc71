/* SPDX-License-Identifier: MIT */
/*
 * The limiter under many processes that are killed at random and at each of its points: what is admitted is never more than rate x time + burst, in
 * any window of time, and not much less; a table that is too small refuses nobody for good; what the dead leave is used again.
 *
 * A take counts for the window in which it read the clock, after it has returned. Whoever is killed has not counted what it took: that can only
 * make the counts smaller. A take that lasted for LD_LIMIT_IDLE_NS, on a machine that is too busy, may be one too many: those are counted too. How
 * much must have been admitted at least is reckoned from the milliseconds in which anybody asked.
 */
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
#include "shm/limiter.h"

enum { WORKERS = 8, TAGS = 42, WINDOWS = 2000, WINDOW_MS = 100, SUBKEYS = 3, ASKED_MS = WINDOWS * WINDOW_MS };

static const enum ld_fault_point points[] = { LD_FAULT_limit_frozen, LD_FAULT_limit_named, LD_FAULT_limit_charged, LD_FAULT_limit_between };

/* All that they share. */
struct board {
	struct ld_limiter_head head;
	struct ld_limiter_set sets[2];
	int64_t start_ns;
	unsigned tags;                 /* of one group; a worker takes from one group at a time */
	unsigned groups;
	struct ld_limit_rule rule;
	_Atomic int stop;
	_Atomic uint32_t late;
	_Atomic unsigned char asked[ASKED_MS];
	_Atomic uint64_t refused;
	_Atomic uint32_t admitted[TAGS][WINDOWS];
	_Atomic uint64_t from_tenant, from_subkey[SUBKEYS];
};

static struct board *board;
static struct ld_limiter limiter;
static larder *cache;

/* ---- the killing ---- */

static pid_t pids[WORKERS];
static void (*work_of_all)(void *);
static uint64_t kills;

static unsigned replace_dead(void)
{
	unsigned killed = 0;

	for (unsigned i = 0; i < WORKERS; i++) {
		int status;

		if (waitpid(pids[i], &status, WNOHANG) != pids[i])
			continue;
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			TEAM_FAIL("a worker ended with status %x", (unsigned)status);
		killed++;
		pids[i] = team_start(work_of_all, NULL);
	}
	kills += killed;
	return killed;
}

/* Workers for so long, killed now and then: by a signal, and at the points that they pass. */
static void run_and_kill(void (*work)(void *), int64_t for_ms, unsigned first_point, unsigned points_used)
{
	uint64_t random = team_seed();
	int64_t end_ms = team_now_ms() + for_ms, next_ms = 0;

	work_of_all = work;
	kills = 0;
	atomic_store(&board->stop, 0);
	for (unsigned i = 0; i < WORKERS; i++)
		pids[i] = team_start(work, NULL);
	for (unsigned n = 0; team_now_ms() < end_ms; team_pause()) {
		replace_dead();
		if (team_now_ms() < next_ms)
			continue;
		next_ms = team_now_ms() + (int64_t)(team_random(&random) % 20);
		if (n++ % 2)
			kill(pids[team_random(&random) % WORKERS], SIGKILL);
		else
			team_arm(points[first_point + n / 2 % points_used], LD_FAULT_KILL, 0, 1 + (int64_t)(team_random(&random) % 3));
	}
	team_disarm();
	atomic_store(&board->stop, 1);
	for (unsigned i = 0; i < WORKERS; i++) {
		int ended = team_end(pids[i]);

		TEAM_CHECK(ended == 0 || ended == 256 + SIGKILL);
	}
	TEAM_CHECK(kills > 3);
}

/* ---- the module alone ---- */

static void note_asked(int64_t now_ns)
{
	int64_t ms = (now_ns - board->start_ns) / 1000000;

	TEAM_CHECK(ms >= 0 && ms < ASKED_MS);
	atomic_store_explicit(&board->asked[ms], 1, memory_order_relaxed);
}

static double seconds_asked(void)
{
	unsigned ms = 0;

	for (unsigned i = 0; i < ASKED_MS; i++)
		ms += atomic_load(&board->asked[i]);
	return ms / 1000.0;
}

static void prepare(unsigned sets, unsigned tags, unsigned groups, const struct ld_limit_rule *rule)
{
	board = team_share(sizeof(*board));
	limiter = (struct ld_limiter){ &board->head, board->sets, sets };
	board->tags = tags;
	board->groups = groups;
	board->rule = *rule;
	board->start_ns = ld_clock_boot_ns();
	team_plan();
}

/* Even ones in one half of the table, odd ones in the other. */
static uint64_t tag_of(unsigned i)
{
	return (uint64_t)(i & 1) << 63 | (i + 1);
}

static void take_by_turns(void *arg)
{
	uint64_t random = (team_seed() ^ ((uint64_t)getpid() << 20)) | 1;

	(void)arg;
	while (!atomic_load(&board->stop)) {
		int64_t now_ns = ld_clock_boot_ns(), window = (now_ns - board->start_ns) / (WINDOW_MS * INT64_C(1000000)), refused;
		unsigned group = (unsigned)(window / 2) % board->groups;
		unsigned tag = group * board->tags + (unsigned)(team_random(&random) % board->tags);
		struct ld_limit_taken taken;

		TEAM_CHECK(window < WINDOWS && tag < TAGS);
		note_asked(now_ns);
		refused = ld_limiter_take(&limiter, tag_of(tag), &board->rule, 1, now_ns, &taken);
		TEAM_CHECK(refused >= 0);
		if (ld_clock_boot_ns() - now_ns >= LD_LIMIT_IDLE_NS)
			atomic_fetch_add(&board->late, 1);
		if (refused == 0)
			atomic_fetch_add(&board->admitted[tag][window], 1);
		else
			atomic_fetch_add(&board->refused, 1);
	}
}

static uint64_t most_in(int64_t ns)
{
	return (uint64_t)((double)ns * (double)board->rule.rate / 1e18) + (uint64_t)board->rule.burst;
}

/* The bound holds in each window and in each row of windows from the first; returns how many were admitted in all. */
static uint64_t check_windows(unsigned tag)
{
	uint64_t sum = 0, late = atomic_load(&board->late);

	for (unsigned w = 0; w < WINDOWS; w++) {
		uint64_t admitted = atomic_load(&board->admitted[tag][w]);

		sum += admitted;
		if (admitted > most_in(WINDOW_MS * INT64_C(1000000)) + late || sum > most_in((w + 1) * WINDOW_MS * INT64_C(1000000)) + late)
			TEAM_FAIL("tag %u: %llu admitted in window %u, %llu up to it", tag, (unsigned long long)admitted, w, (unsigned long long)sum);
	}
	return sum;
}

static void test_one_tag(void **state)
{
	const struct ld_limit_rule rule = { 5000 * LD_LIMIT_PER_S, 50, 0 };
	uint64_t admitted, most;
	double asked;

	(void)state;
	prepare(1, 1, 1, &rule);
	run_and_kill(take_by_turns, (int64_t)team_size(1500, 60000), 0, 3);
	admitted = check_windows(0);
	most = most_in(ld_clock_boot_ns() - board->start_ns);
	asked = seconds_asked();
	print_message("# %llu kills, %llu admitted of at most %llu, asked for in %.3f s, %llu refused, %u late\n", (unsigned long long)kills,
	    (unsigned long long)admitted, (unsigned long long)most, asked, (unsigned long long)board->refused, board->late);
	/* The rest went with the killed. */
	assert_true((double)admitted > asked * 5000 / 2);
	team_unshare(board, sizeof(*board));
}

/* Seven rows, groups of as many tags, one after the other: rows fall idle and are given away, under kills at every step of that. */
static void test_rows_are_given_away(void **state)
{
	const struct ld_limit_rule rule = { 500 * LD_LIMIT_PER_S, 5, 0 };
	uint64_t all = 0;
	double asked;

	(void)state;
	prepare(1, LD_LIMIT_WAYS, 6, &rule);
	run_and_kill(take_by_turns, (int64_t)team_size(3000, 120000), 0, 3);
	asked = seconds_asked();
	for (unsigned tag = 0; tag < TAGS; tag++)
		all += check_windows(tag);
	print_message("# %llu kills, %llu admitted of about %.0f, %llu refused, %u late\n", (unsigned long long)kills, (unsigned long long)all,
	    asked * LD_LIMIT_WAYS * 500, (unsigned long long)board->refused, board->late);
	/* For a tenth of a second of two a group has one row together, until those of the one before are idle. */
	assert_true((double)all > asked * LD_LIMIT_WAYS * 500 / 5);
	team_unshare(board, sizeof(*board));
}

/* Twice as many tags as rows, all at once: each is admitted again and again. */
static void test_too_small_a_table(void **state)
{
	const struct ld_limit_rule rule = { 100 * LD_LIMIT_PER_S, 3, 0 };
	uint64_t least = UINT64_MAX;

	(void)state;
	prepare(2, 28, 1, &rule);
	run_and_kill(take_by_turns, (int64_t)team_size(2000, 60000), 0, 3);
	for (unsigned tag = 0; tag < 28; tag++) {
		uint64_t admitted = check_windows(tag);

		least = admitted < least ? admitted : least;
	}
	print_message("# %llu kills, the least admitted of a tag %llu\n", (unsigned long long)kills, (unsigned long long)least);
	assert_true(least >= 2);
	team_unshare(board, sizeof(*board));
}

/* What the dead have left, once everything is idle, is as good as new. */
static void test_nothing_is_left(void **state)
{
	const struct ld_limit_rule rule = { 100 * LD_LIMIT_PER_S, 3, 0 };
	struct ld_limit_taken taken;
	int64_t later_ns;

	(void)state;
	prepare(1, LD_LIMIT_WAYS, 6, &rule);
	run_and_kill(take_by_turns, 1000, 0, 3);
	later_ns = ld_clock_boot_ns() + INT64_C(1000000000);
	for (uint64_t tag = 1000; tag < 1000 + LD_LIMIT_WAYS; tag++) {
		for (int i = 0; i < 3; i++)
			assert_int_equal(ld_limiter_take(&limiter, tag, &rule, 1, later_ns, &taken), 0);
		assert_int_equal(taken.shared, 0);
		assert_int_equal(ld_limiter_take(&limiter, tag, &rule, 1, later_ns, &taken), 10);
	}
	team_unshare(board, sizeof(*board));
}

/* ---- through the library ---- */

static void take_requests(void *arg)
{
	uint64_t random = (team_seed() ^ ((uint64_t)getpid() << 20)) | 1;
	larder_tenant *tenant = team_tenant(cache, "acme");

	(void)arg;
	while (!atomic_load(&board->stop)) {
		unsigned user = (unsigned)(team_random(&random) % SUBKEYS);
		const char subkey[] = { 'u', (char)('0' + user), 0 };
		int64_t retry_ms = 0;
		int64_t now_ns = ld_clock_boot_ns();
		int rc = larder_limit_take(tenant, subkey, 1, NULL, &retry_ms);

		if (rc != LARDER_UNAVAILABLE)
			note_asked(now_ns);

		if (rc == 0) {
			atomic_fetch_add(&board->from_subkey[user], 1);
			atomic_fetch_add(&board->from_tenant, 1);
		} else if (rc != LARDER_UNAVAILABLE) {
			TEAM_EXPECT(rc, LARDER_E_LIMIT);
			TEAM_CHECK(retry_ms >= 1 && retry_ms < 1000);
			atomic_fetch_add(&board->refused, 1);
		}
	}
}

static void check_share(const char *what, uint64_t admitted, double seconds, double rate, double burst, double share)
{
	double asked = seconds_asked();

	print_message("# %s: %llu admitted of %.0f, asked for in %.3f s\n", what, (unsigned long long)admitted, seconds * rate + burst, asked);
	if ((double)admitted > seconds * rate + burst || (double)admitted < share * asked * rate)
		TEAM_FAIL("%s: %llu admitted in %.3f s", what, (unsigned long long)admitted, seconds);
}

static void test_requests(void **state)
{
	const struct ld_limit_rule none = { 1, 1, 0 };
	double seconds;

	(void)state;
	prepare(1, 1, 1, &none);
	cache = team_open(team_directory(), "SIZE=2M", "WORKERS=32", "TENANTS=16", "LIMIT_RATE=1000", "LIMIT_BURST=20", "LIMIT_SUBKEY_RATE=500",
	    "LIMIT_SUBKEY_BURST=10", "LIMIT_ROWS=64", "THREADS=0", NULL);
	board->start_ns = ld_clock_boot_ns();
	run_and_kill(take_requests, (int64_t)team_size(2000, 60000), 0, 4);
	seconds = (double)(ld_clock_boot_ns() - board->start_ns) / 1e9;
	check_share("the tenant", board->from_tenant, seconds, 1000, 20, 0.3);
	for (unsigned user = 0; user < SUBKEYS; user++)
		check_share("a sub-key", board->from_subkey[user], seconds, 500, 10, 0.1);
	larder_close(cache);
	team_unshare(board, sizeof(*board));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_tag),
		cmocka_unit_test(test_rows_are_given_away),
		cmocka_unit_test(test_too_small_a_table),
		cmocka_unit_test(test_nothing_is_left),
		cmocka_unit_test(test_requests),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests_name("limiter", tests, NULL, NULL);
}
