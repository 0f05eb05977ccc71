/* SPDX-License-Identifier: MIT */
/*
 * What is taken away under running workers: the store's file, and the whole directory. They notice within a second, one of them makes it anew, once,
 * and all meet in the new one. A clear by a process that finds no slot. Time is the plan's, so that no test waits for a second to pass.
 */
#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/team.h"

static const char *dir;
static larder *cache;
static larder_tenant *tenant;

static int set_text(const char *name, const char *value)
{
	return larder_set(tenant, "heal", name, strlen(name), value, strlen(value), NULL, NULL);
}

/* The result of a get; what it found must be this value. */
static int get_text(const char *name, const char *expected)
{
	struct larder_value value = { 0 };
	int rc = larder_get(tenant, "heal", name, strlen(name), NULL, &value);

	if (rc == 0 && (value.len != strlen(expected) || memcmp(value.data, expected, value.len) != 0))
		TEAM_FAIL("%s is %.*s, not %s", name, (int)value.len, (const char *)value.data, expected);
	if (rc == 0)
		larder_value_free(&value);
	return rc;
}

/* threads: "THREADS=0" where nobody shall look at the files but who is told to. */
static void begin(const char *threads)
{
	dir = team_directory();
	team_disarm();
	cache = team_open(dir, "SIZE=8M", "WORKERS=4", "TENANTS=16", "TTL=10h", "WRITE_WAIT_MS=500ms", threads, NULL);
	tenant = team_tenant(cache, "healed");
}

static void end(void)
{
	larder_tenant_close(tenant);
	larder_close(cache);
	team_remove(dir);
}

/* Everybody is due for a look at the files. */
static void pass_time(int64_t ms)
{
	atomic_fetch_add(&team_plan()->boot_shift_ms, ms);
}

static int see_counter(void *ctx, const char *name, const char *text, uint64_t value)
{
	(void)text;
	if (strcmp(name, "stores_remade") == 0)
		*(int64_t *)ctx = (int64_t)value;
	return 0;
}

static int64_t stores_remade(void)
{
	larder_inspector *inspector = team_inspect(dir);
	int64_t remade = -1;

	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, larder_inspect_counters(inspector, see_counter, &remade) == 0));
	larder_inspect_close(inspector);
	return remade;
}

/* ---- threads of one process, which no record lock keeps apart ---- */

enum { MATES = 4, ROUNDS = 20 };

static struct team_barrier meeting;
/* Passes of the point in the middle of making a store; when there are more, somebody is at it. */
static _Atomic uint64_t passed_before;

static uint64_t passed(void)
{
	return atomic_load(&team_plan()->passed[LD_FAULT_store_made_files]);
}

static void unlink_store(int generation)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/larder.%d.mdb", dir, generation);
	if (unlink(path) != 0)
		TEAM_FAIL("no store of generation %d: one was made more than once, or not at all", generation);
}

/* Without a pause: what is waited for lasts for some hundred microseconds. */
static void await_somebody_at_it(void)
{
	int64_t end_ms = team_now_ms() + TEAM_DEADLINE_MS;

	while (passed() == atomic_load(&passed_before))
		TEAM_CHECK(team_now_ms() < end_ms);
}

/* The first finds the file gone; the others look when another is being made, which nobody has been told of yet. */
static void lose_the_file(int number, int round, const char *name)
{
	int rc;

	if (number == 0) {
		atomic_store(&passed_before, passed());
		unlink_store(round + 1);
	}
	team_meet(&meeting, MATES);
	if (number != 0)
		await_somebody_at_it();
	pass_time(1100);
	rc = get_text(name, name);
	/* Where another one looks for it, a call may still be answered from the old file. */
	TEAM_CHECK(rc == 0 || rc == LARDER_MISS || rc == LARDER_UNAVAILABLE);
	team_meet(&meeting, MATES);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, set_text(name, name) == 0));
	TEAM_EXPECT(get_text(name, name), 0);
	team_meet(&meeting, MATES);
}

static void *be_mate(void *arg)
{
	int number = (int)(uintptr_t)arg;
	char name[16];

	snprintf(name, sizeof(name), "name-%d", number);
	for (int round = 0; round < ROUNDS; round++)
		lose_the_file(number, round, name);
	return NULL;
}

static void be_mates(void *arg)
{
	pthread_t threads[MATES];

	(void)arg;
	TEAM_EXPECT(larder_attach(cache), 0);
	for (uintptr_t i = 0; i < MATES; i++)
		TEAM_CHECK(pthread_create(&threads[i], NULL, be_mate, (void *)i) == 0);
	for (int i = 0; i < MATES; i++)
		TEAM_CHECK(pthread_join(threads[i], NULL) == 0);
}

static void test_threads_that_notice_at_once_make_one_store(void **state)
{
	(void)state;
	begin("THREADS=0");
	team_run(be_mates, NULL);
	TEAM_EXPECT(stores_remade(), ROUNDS);
	end();
}

/* ---- the directory ---- */

enum { WORKERS = 3 };

struct board {
	struct team_barrier barrier;
	_Atomic int over;
};
static struct board *board;

static void name_of(int number, char ret_name[16])
{
	snprintf(ret_name, 16, "name-%d", number);
}

/* Each stores a value of its own, then finds those of all the others: they are in the same store. */
static void store_and_find(int number)
{
	char name[16];

	name_of(number, name);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, set_text(name, name) == 0));
	team_meet(&board->barrier, WORKERS + 1);
	for (int i = 0; i <= WORKERS; i++) {
		name_of(i, name);
		TEAM_EXPECT(get_text(name, name), 0);
	}
	team_meet(&board->barrier, WORKERS + 1);
}

/* Twice in a row: the second try is not the first one's leavings. */
static void expect_unavailable(void)
{
	for (int i = 0; i < 3; i++) {
		TEAM_EXPECT(get_text("name-0", "name-0"), LARDER_UNAVAILABLE);
		TEAM_EXPECT(larder_reason(), LARDER_REASON_ATTACH);
		TEAM_EXPECT(set_text("name-0", "name-0"), LARDER_UNAVAILABLE);
		team_meet(&board->barrier, WORKERS + 1);
		team_meet(&board->barrier, WORKERS + 1);
	}
}

static void (*between)(void);

static void be_worker(void *arg)
{
	store_and_find((int)(uintptr_t)arg);
	/* The directory is removed here. */
	team_meet(&board->barrier, WORKERS + 1);
	if (between)
		between();
	store_and_find((int)(uintptr_t)arg);
}

static unsigned files_in_it(void)
{
	DIR *rows = opendir(dir);
	unsigned count = 0;

	TEAM_CHECK(rows != NULL);
	for (struct dirent *row = readdir(rows); row; row = readdir(rows))
		count += row->d_name[0] != '.';
	closedir(rows);
	return count;
}

/* mode 0: nobody makes it again. */
static void lose_the_directory(mode_t mode)
{
	team_remove(dir);
	TEAM_CHECK(access(dir, F_OK) != 0);
	if (mode != 0)
		TEAM_CHECK(mkdir(dir, 0700) == 0 && chmod(dir, mode) == 0);
	pass_time(1100);
	team_meet(&board->barrier, WORKERS + 1);
}

/* As the workers, but that it sees to the directory: they shall not use one that others may read, however often they try. */
static void expect_unused(void)
{
	for (int i = 0; i < 3; i++) {
		team_meet(&board->barrier, WORKERS + 1);
		TEAM_EXPECT(files_in_it(), 0);
		pass_time(1100);
		if (i == 2)
			TEAM_CHECK(chmod(dir, 0700) == 0);
		team_meet(&board->barrier, WORKERS + 1);
	}
}

static void removed_and_made_again(mode_t mode)
{
	pid_t pids[WORKERS];
	struct stat st;

	begin("THREADS=0");
	board = team_share(sizeof(*board));
	between = mode & 077 ? expect_unavailable : NULL;
	for (int i = 0; i < WORKERS; i++)
		pids[i] = team_start(be_worker, (void *)(uintptr_t)i);
	store_and_find(WORKERS);
	lose_the_directory(mode);
	if (between)
		expect_unused();
	store_and_find(WORKERS);
	for (int i = 0; i < WORKERS; i++)
		team_join(pids[i]);
	TEAM_CHECK(stat(dir, &st) == 0);
	TEAM_EXPECT(st.st_mode & 07777, 0700);
	/* A new segment, with a new store: nothing was mended in place. */
	TEAM_EXPECT(stores_remade(), 0);
	team_unshare(board, sizeof(*board));
	end();
}

static void test_directory_removed_and_made_again(void **state)
{
	(void)state;
	removed_and_made_again(0700);
}

static void test_directory_removed_and_left_to_the_workers(void **state)
{
	(void)state;
	removed_and_made_again(0);
}

static void test_directory_made_again_for_others_is_not_used(void **state)
{
	(void)state;
	removed_and_made_again(0755);
}

/* ---- no slot ---- */

enum { SLOTS = 4 + 16 };   /* WORKERS, and those of the tools */

static larder_tenant *beside;

/* All at once, and one after the other: where the machine is busy the last ones do not have their turn within the second that one call waits. */
static void attach(void)
{
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, larder_attach(cache) == 0));
}

static void hold_slot(void *arg)
{
	(void)arg;
	attach();
	team_meet(&board->barrier, SLOTS + 1);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->over)));
}

static int get_beside(void)
{
	return larder_exists(beside, "heal", "x", 1, NULL);
}

static void store_all(void)
{
	TEAM_EXPECT(set_text("one", "one"), 0);
	TEAM_EXPECT(larder_set(tenant, "other", "x", 1, "x", 1, NULL, NULL), 0);
	TEAM_EXPECT(larder_set(beside, "heal", "x", 1, "x", 1, NULL, NULL), 0);
}

static void expect_state(int in_tenant, int in_other_space, int in_beside)
{
	TEAM_EXPECT(get_text("one", "one"), in_tenant);
	TEAM_EXPECT(larder_exists(tenant, "other", "x", 1, NULL), in_other_space);
	TEAM_EXPECT(get_beside(), in_beside);
}

/* One of those that have a slot: stores, lets the other one clear, looks. */
static void watch_clears(void *arg)
{
	attach();
	team_meet(&board->barrier, SLOTS + 1);
	for (int i = 0; i < 3; i++) {
		store_all();
		expect_state(0, 0, 0);
		team_meet((struct team_barrier *)arg, 2);
		team_meet((struct team_barrier *)arg, 2);
		/* A space that cannot be cleared alone takes its tenant along. */
		expect_state(LARDER_MISS, LARDER_MISS, i == 2 ? LARDER_MISS : 0);
	}
	/* And nothing that is stored later is hidden. */
	store_all();
	expect_state(0, 0, 0);
}

static int clear(int what)
{
	if (what == 0)
		return larder_clear_tenant(tenant, NULL);
	return what == 1 ? larder_clear_space(tenant, "heal", NULL) : larder_clear_all(cache, NULL);
}

static void test_clear_without_a_slot_hides(void **state)
{
	struct team_barrier *turn = team_share(sizeof(*turn));
	pid_t pids[SLOTS];

	(void)state;
	begin("THREADS=0");
	beside = team_tenant(cache, "beside");
	board = team_share(sizeof(*board));
	pids[0] = team_start(watch_clears, turn);
	for (int i = 1; i < SLOTS; i++)
		pids[i] = team_start(hold_slot, NULL);
	team_meet(&board->barrier, SLOTS + 1);
	TEAM_EXPECT(get_text("one", "one"), LARDER_UNAVAILABLE);
	TEAM_EXPECT(larder_reason(), LARDER_REASON_SLOTS);
	for (int what = 0; what < 3; what++) {
		team_meet(turn, 2);
		TEAM_EXPECT(clear(what), LARDER_E_BUSY);
		team_meet(turn, 2);
	}
	team_join(pids[0]);
	atomic_store(&board->over, 1);
	for (int i = 1; i < SLOTS; i++)
		team_join(pids[i]);
	/* With a slot it is an ordinary clear again. */
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, clear(0) == 0));
	TEAM_EXPECT(get_beside(), 0);
	larder_tenant_close(beside);
	team_unshare(board, sizeof(*board));
	team_unshare(turn, sizeof(*turn));
	end();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads_that_notice_at_once_make_one_store),
		cmocka_unit_test(test_directory_removed_and_made_again),
		cmocka_unit_test(test_directory_removed_and_left_to_the_workers),
		cmocka_unit_test(test_directory_made_again_for_others_is_not_used),
		cmocka_unit_test(test_clear_without_a_slot_hides),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests_name("heal", tests, NULL, NULL);
}
