/* SPDX-License-Identifier: MIT */
/*
 * Processes that end in the midst of a fill: killed at each point of it, as a waiter, with refreshes queued and under way, or by exit() while their threads
 * run; and a fork while a lease is held. Whoever comes next has the right value at once, and nothing is wedged.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/team.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_SANITIZED = 1 };
#else
enum { IS_SANITIZED = 0 };
#endif

enum { LOAD_MS = 5, AT_ONCE_MS = 50, WAITERS = 6, QUEUED = 12 };

static larder *cache;
static larder_tenant *tenant;

static struct shared {
	_Atomic uint64_t loads;
	_Atomic uint64_t failed;
	_Atomic int32_t is_under_way;
	_Atomic int32_t may_go_on;
} *shared;

static void begin(const char *threads)
{
	shared = team_share(sizeof(*shared));
	cache = team_open(team_directory(), "SIZE=8M", "WORKERS=64", "TTL=10s", "STALE=1h", "LEASE_MS=60s", "FILL_WAIT_MS=20s", "WRITE_WAIT_MS=10s", threads, NULL);
	tenant = team_tenant(cache, "acme");
}

static void end(void)
{
	larder_tenant_close(tenant);
	larder_close(cache);
	team_remove(team_directory());
	atomic_store(&team_plan()->boot_shift_ms, 0);
	team_disarm();
	team_unshare(shared, sizeof(*shared));
}

static struct larder_stats stats(void)
{
	struct larder_stats stats = { .size = sizeof(stats) };

	TEAM_EXPECT(larder_get_stats(cache, &stats), 0);
	return stats;
}

static void work_for(int64_t ms)
{
	const struct timespec time = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

	nanosleep(&time, NULL);
}

static int load(struct larder_load *load, void *ctx)
{
	(void)ctx;
	atomic_fetch_add(&shared->loads, 1);
	work_for(LOAD_MS);
	return larder_load_give(load, "new", 3) == 0 ? LARDER_LOADED : LARDER_LOAD_FAILED;
}

static int ask(const char *name, larder_loader loader, uint32_t flags, const char *text)
{
	const struct larder_loading loading = { sizeof(loading), flags, 0, loader, NULL, NULL };
	struct larder_value value = { 0 };
	int rc = larder_get_or_set(tenant, "ends", name, strlen(name), &loading, NULL, &value);

	if (rc == 0 || rc == LARDER_STALE)
		TEAM_CHECK(value.len == strlen(text) && memcmp(value.data, text, value.len) == 0);
	larder_value_free(&value);
	return rc;
}

static void set_stale(const char *name)
{
	TEAM_EXPECT(larder_set(tenant, "ends", name, strlen(name), "old", 3, NULL, NULL), 0);
}

/* ---- killed at each point ---- */

static void fill_dying(void *arg)
{
	team_arm((enum ld_fault_point)(uintptr_t)arg, LD_FAULT_KILL, getpid(), 1);
	(void)ask("k", load, 0, "new");
}

static void refresh_dying(void *arg)
{
	team_arm((enum ld_fault_point)(uintptr_t)arg, LD_FAULT_KILL, getpid(), 1);
	(void)ask("k", load, LARDER_LOAD_ANY_THREAD, "old");
	for (;;)
		team_pause();
}

static void fill_explicitly(void *arg)
{
	larder_lease *lease = NULL;

	team_arm((enum ld_fault_point)(uintptr_t)arg, LD_FAULT_KILL, getpid(), 1);
	TEAM_EXPECT(larder_lease_try(tenant, "ends", "k", 1, NULL, &lease), 0);
	TEAM_EXPECT(larder_fill(lease, "new", 3, NULL, NULL), 0);
}

static void expect_killed(void (*fn)(void *), enum ld_fault_point point)
{
	TEAM_EXPECT(team_end(team_start(fn, (void *)(uintptr_t)point)), 256 + SIGKILL);
	team_disarm();
}

/* Who comes next: within 50 ms and the load. */
static void expect_at_once(int rc, const char *text)
{
	int64_t began_ms = team_now_ms(), took_ms;

	TEAM_EXPECT(ask("k", load, 0, text), rc);
	took_ms = team_now_ms() - began_ms;
	TEAM_CHECK(took_ms <= (AT_ONCE_MS + LOAD_MS) * (IS_SANITIZED ? 20 : 1));
}

static void test_killed_in_a_fill(void **state)
{
	static const struct { void (*fn)(void *); enum ld_fault_point point; uint64_t loads; } rows[] = {
		{ fill_dying, LD_FAULT_fill_taken, 1 }, { fill_dying, LD_FAULT_fill_loaded, 2 }, { fill_dying, LD_FAULT_fill_admitted, 2 },
		/* It is stored: who takes the lease over finds it. */
		{ fill_dying, LD_FAULT_fill_stored, 1 }, { fill_explicitly, LD_FAULT_fill_stored, 0 }, { fill_explicitly, LD_FAULT_fill_admitted, 1 },
	};

	(void)state;
	begin("THREADS=0");
	for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		TEAM_CHECK(larder_delete(tenant, "ends", "k", 1, NULL) >= 0);
		atomic_store(&shared->loads, 0);
		expect_killed(rows[i].fn, rows[i].point);
		expect_at_once(0, "new");
		TEAM_EXPECT(atomic_load(&shared->loads), rows[i].loads);
		expect_at_once(0, "new");
		TEAM_EXPECT(atomic_load(&shared->loads), rows[i].loads);
	}
	end();
}

static void test_killed_in_a_refresh(void **state)
{
	static const enum ld_fault_point points[] = { LD_FAULT_refresh_queued, LD_FAULT_refresh_begun, LD_FAULT_fill_taken, LD_FAULT_fill_loaded };

	(void)state;
	begin("THREADS=1");
	for (unsigned i = 0; i < sizeof(points) / sizeof(*points); i++) {
		TEAM_CHECK(larder_delete(tenant, "ends", "k", 1, NULL) >= 0);
		set_stale("k");
		atomic_fetch_add(&team_plan()->boot_shift_ms, 20000);
		expect_killed(refresh_dying, points[i]);
		/* Stale as it was, and whoever asks now loads it. */
		expect_at_once(0, "new");
		expect_at_once(0, "new");
	}
	end();
}

/* ---- waiters ---- */

static int load_when_told(struct larder_load *load, void *ctx)
{
	(void)ctx;
	atomic_fetch_add(&shared->loads, 1);
	atomic_store(&shared->is_under_way, 1);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&shared->may_go_on)));
	return larder_load_give(load, "new", 3) == 0 ? LARDER_LOADED : LARDER_LOAD_FAILED;
}

static void wait_for_it(void *arg)
{
	(void)arg;
	TEAM_EXPECT(ask("k", load_when_told, 0, "new"), 0);
}

static void test_waiters_are_killed(void **state)
{
	pid_t owner, waiters[WAITERS];

	(void)state;
	begin("THREADS=0");
	owner = team_start(wait_for_it, NULL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&shared->is_under_way)));
	for (int i = 0; i < WAITERS; i++)
		waiters[i] = team_start(wait_for_it, NULL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, stats().load_joins == WAITERS));
	for (int i = 0; i < WAITERS; i += 2)
		team_kill(waiters[i]);
	atomic_store(&shared->may_go_on, 1);
	team_join(owner);
	for (int i = 1; i < WAITERS; i += 2)
		team_join(waiters[i]);
	TEAM_EXPECT(atomic_load(&shared->loads), 1);
	end();
}

/* ---- fork while holding ---- */

/* It is held still, by the parent. */
static void find_it_held(void *arg)
{
	larder_lease *own = NULL;

	(void)arg;
	TEAM_EXPECT(larder_lease_try(tenant, "ends", "k", 1, NULL, &own), LARDER_E_BUSY);
	TEAM_CHECK(larder_retry_after() > 1000);
}

static void drop_the_parents(void *arg)
{
	TEAM_EXPECT(larder_lease_renew(arg, 1000), LARDER_MISS);
	larder_lease_drop(arg, 1);
	find_it_held(NULL);
}

static void fill_the_parents(void *arg)
{
	TEAM_EXPECT(larder_fill(arg, "child", 5, NULL, NULL), LARDER_E_USAGE);
	TEAM_EXPECT(larder_exists(tenant, "ends", "k", 1, NULL), LARDER_MISS);
	find_it_held(NULL);
}

static void test_a_child_has_no_lease_of_its_parents(void **state)
{
	larder_lease *lease = NULL;

	(void)state;
	begin("THREADS=0");
	TEAM_EXPECT(larder_lease_try(tenant, "ends", "k", 1, NULL, &lease), 0);
	team_run(drop_the_parents, lease);
	team_run(fill_the_parents, lease);
	team_run(find_it_held, NULL);
	TEAM_EXPECT(larder_lease_renew(lease, 60000), 0);
	TEAM_EXPECT(larder_fill(lease, "parent", 6, NULL, NULL), 0);
	TEAM_EXPECT(ask("k", load, 0, "parent"), 0);
	TEAM_EXPECT(atomic_load(&shared->loads), 0);
	end();
}

/* ---- jobs queued ---- */

static void name_of(int i, char name[16])
{
	(void)snprintf(name, 16, "k%d", i);
}

/* Four are under way, the others queued. */
static void queue_many(void)
{
	char name[16];

	for (int i = 0; i < QUEUED; i++) {
		name_of(i, name);
		TEAM_EXPECT(ask(name, load_when_told, LARDER_LOAD_ANY_THREAD, "old"), LARDER_STALE);
	}
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&shared->loads) == 4));
}

static void exit_with_jobs(void *arg)
{
	queue_many();
	if (arg)
		exit(0);
	_exit(0);
}

static void die_with_jobs(void *arg)
{
	(void)arg;
	queue_many();
	kill(getpid(), SIGKILL);
}

static void set_many(void *arg)
{
	char name[16];

	(void)arg;
	for (int i = 0; i < QUEUED; i++) {
		name_of(i, name);
		set_stale(name);
	}
}

static void end_with_jobs(void (*fn)(void *), void *arg, int status)
{
	char name[16];

	begin("THREADS=1");
	/* In a child: what this one has open is let go of in its children, which a checker of leaks minds at their exit(). */
	team_run(set_many, NULL);
	atomic_fetch_add(&team_plan()->boot_shift_ms, 20000);
	TEAM_EXPECT(team_end(team_start(fn, arg)), status);
	/* Each is refreshed by who asks next, in its own time. */
	for (int i = 0; i < QUEUED; i++) {
		int64_t began_ms = team_now_ms();

		name_of(i, name);
		TEAM_EXPECT(ask(name, load, 0, "new"), 0);
		TEAM_CHECK(team_now_ms() - began_ms <= (AT_ONCE_MS + LOAD_MS) * (IS_SANITIZED ? 20 : 1));
	}
	end();
}

static void test_exit_with_jobs_queued(void **state)
{
	(void)state;
	end_with_jobs(exit_with_jobs, (void *)1, 0);
}

static void test_end_at_once_with_jobs_queued(void **state)
{
	(void)state;
	end_with_jobs(exit_with_jobs, NULL, 0);
}

static void test_killed_with_jobs_queued(void **state)
{
	(void)state;
	end_with_jobs(die_with_jobs, NULL, 256 + SIGKILL);
}

/* Its threads load and store all the time; they do so still when the process leaves, with its libraries' own ends. */
static int load_quickly(struct larder_load *load, void *ctx)
{
	(void)ctx;
	atomic_fetch_add(&shared->loads, 1);
	load->store.ttl_ms = 1;
	return larder_load_give(load, "old", 3) == 0 ? LARDER_LOADED : LARDER_LOAD_FAILED;
}

static void exit_while_threads_run(void *arg)
{
	uint64_t before = atomic_load(&shared->loads);
	char name[16];

	(void)arg;
	for (int i = 0; atomic_load(&shared->loads) < before + 50; i = (i + 1) % QUEUED) {
		name_of(i, name);
		TEAM_CHECK(ask(name, load_quickly, LARDER_LOAD_ANY_THREAD, "old") >= 0);
	}
	exit(0);
}

static void test_exit_while_threads_run(void **state)
{
	uint64_t rounds = team_size(40, 1000);

	(void)state;
	begin("THREADS=1");
	for (uint64_t i = 0; i < rounds; i++)
		TEAM_EXPECT(team_end(team_start(exit_while_threads_run, NULL)), 0);
	end();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed_in_a_fill), cmocka_unit_test(test_killed_in_a_refresh), cmocka_unit_test(test_waiters_are_killed),
		cmocka_unit_test(test_a_child_has_no_lease_of_its_parents), cmocka_unit_test(test_exit_with_jobs_queued),
		cmocka_unit_test(test_end_at_once_with_jobs_queued), cmocka_unit_test(test_killed_with_jobs_queued),
		cmocka_unit_test(test_exit_while_threads_run),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
