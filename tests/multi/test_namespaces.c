/* SPDX-License-Identifier: MIT */
/*
 * Two process-id namespaces and one directory: record locks and LMDB know processes by their number, so a cache that is in use in one namespace is
 * refused in another, with a message that says why; when nobody uses it, it is made anew there. Needs root.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/process.h"
#include "lib/team.h"

struct board {
	_Atomic int not_permitted, holds, leave, elsewhere, come_back;
};

static struct board *board;
static const char *dir;

static larder *open_here(void)
{
	return team_open(dir, "SIZE=4M", "WORKERS=16", "TENANTS=16", "TTL=1h", "THREADS=0", "EVICTOR=inline", NULL);
}

static int get_key(larder_tenant *tenant)
{
	struct larder_value value = { 0 };
	int rc = larder_get(tenant, "space", "key", 3, NULL, &value);

	larder_value_free(&value);
	return rc;
}

/* In the first namespace: uses the cache until told to leave. */
static void hold(void *arg)
{
	larder *cache = open_here();
	larder_tenant *tenant = team_tenant(cache, "one");

	(void)arg;
	TEAM_EXPECT(larder_set(tenant, "space", "key", 3, "first", 5, NULL, NULL), 0);
	atomic_store(&board->holds, 1);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->leave)));
	/* Nobody has harmed it. */
	TEAM_EXPECT(get_key(tenant), 0);
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* ---- as the first process of another namespace ---- */

struct visit {
	int flag;
	void (*fn)(void);
};

static void be_first_process(const struct visit *visit)
{
	/* As a container has it; without it /proc shows the processes of the namespace that it was mounted in. */
	if (visit->flag == CLONE_NEWPID && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		(void)!mount("proc", "/proc", "proc", 0, NULL);
	TEAM_CHECK(visit->flag != CLONE_NEWPID || getpid() == 1);
	visit->fn();
}

static void enter(void *arg)
{
	const struct visit *visit = arg;
	pid_t first;

	if (unshare(visit->flag) != 0) {
		atomic_store(&board->not_permitted, 1);
		return;
	}
	/* Its mounts are its own too. */
	TEAM_CHECK(visit->flag != CLONE_NEWPID || unshare(CLONE_NEWNS) == 0);
	/* team_start() would miss the parent, which has no number in there. */
	first = fork();
	TEAM_CHECK(first >= 0);
	if (first == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		be_first_process(visit);
		_exit(0);
	}
	team_join(first);
}

static void expect_refused(void)
{
	char *why = NULL;
	larder *cache = NULL;

	TEAM_EXPECT(team_try_open(&cache, &why, dir, "SIZE=4M", "WORKERS=16", "TENANTS=16", NULL), LARDER_E_REFUSED);
	TEAM_CHECK(cache == NULL && why != NULL);
	if (!strstr(why, "in use") || !strstr(why, "namespace") || !strstr(why, dir) || !strstr(why, "LARDER_DIR"))
		TEAM_FAIL("the message does not say what to do: %s", why);
	larder_free(why);
}

static void expect_made_anew(void)
{
	larder *cache = open_here();
	larder_tenant *tenant = team_tenant(cache, "one");

	TEAM_EXPECT(get_key(tenant), LARDER_MISS);
	TEAM_EXPECT(larder_set(tenant, "space", "key", 3, "second", 6, NULL, NULL), 0);
	TEAM_EXPECT(get_key(tenant), 0);
	atomic_store(&board->elsewhere, 1);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->come_back)));
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* ---- the tests ---- */

static void begin(void)
{
	dir = team_directory();
	board = team_share(sizeof(*board));
}

static void end(void)
{
	team_unshare(board, sizeof(*board));
	team_remove(dir);
}

static void leave_out(const char *kind)
{
	print_message("# left out: no new %s namespace is permitted\n", kind);
}

static void is_refused_while_in_use(int flag, const char *kind)
{
	struct visit visit = { flag, expect_refused };
	pid_t holder;

	begin();
	holder = team_start(hold, NULL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->holds) || ld_process_state(holder) == 'Z'));
	team_run(enter, &visit);
	atomic_store(&board->leave, 1);
	team_join(holder);
	if (atomic_load(&board->not_permitted))
		leave_out(kind);
	end();
}

static void test_another_pid_namespace_is_refused_while_in_use(void **state)
{
	(void)state;
	is_refused_while_in_use(CLONE_NEWPID, "process-id");
}

static void test_another_time_namespace_is_refused_while_in_use(void **state)
{
	(void)state;
	is_refused_while_in_use(CLONE_NEWTIME, "time");
}

/* A handle of the first namespace, made before and idle meanwhile: it cannot use what was made elsewhere, until that is left in turn. */
static void test_is_made_anew_when_nobody_uses_it(void **state)
{
	struct visit visit = { CLONE_NEWPID, expect_made_anew };
	larder_tenant *tenant;
	larder *cache;
	pid_t visitor;

	(void)state;
	begin();
	atomic_store(&board->leave, 1);
	team_run(hold, NULL);
	cache = open_here();
	visitor = team_start(enter, &visit);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->elsewhere) || ld_process_state(visitor) == 'Z'));
	if (!atomic_load(&board->not_permitted)) {
		tenant = team_tenant(cache, "one");
		TEAM_EXPECT(get_key(tenant), LARDER_UNAVAILABLE);
		TEAM_EXPECT(larder_reason(), LARDER_REASON_ATTACH);
		atomic_store(&board->come_back, 1);
		team_join(visitor);
		TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, larder_attach(cache) == 0));
		TEAM_EXPECT(get_key(tenant), LARDER_MISS);
		TEAM_EXPECT(larder_set(tenant, "space", "key", 3, "third", 5, NULL, NULL), 0);
		TEAM_EXPECT(get_key(tenant), 0);
		larder_tenant_close(tenant);
	} else {
		team_join(visitor);
		leave_out("process-id");
	}
	larder_close(cache);
	end();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_another_pid_namespace_is_refused_while_in_use),
		cmocka_unit_test(test_another_time_namespace_is_refused_while_in_use),
		cmocka_unit_test(test_is_made_anew_when_nobody_uses_it),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
