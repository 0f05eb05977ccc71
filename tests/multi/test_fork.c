/* SPDX-License-Identifier: MIT */
/*
 * One handle, made in a master, in every kind of child: of a master that used it, of a thread beside others in calls, of a child, after exec, of root
 * with workers that give their rights up. And what one process may do only once.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pthread.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/sample.h"
#include "lib/team.h"
#include "unit/leave_out.h"

static const char *dir;
static larder *cache;
static larder_tenant *tenant;

static void set_number(uint32_t key, uint64_t version)
{
	unsigned char value[2000];

	sample_fill(value, sizeof(value), key, version);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, larder_set(tenant, "fork", &key, sizeof(key), value, sizeof(value), NULL, NULL) == 0));
}

static void expect_number(uint32_t key, uint64_t version)
{
	struct larder_value value = { 0 };
	uint64_t found = 0;

	TEAM_EXPECT(larder_get(tenant, "fork", &key, sizeof(key), NULL, &value), 0);
	TEAM_CHECK(sample_wrong(value.data, value.len, key, &found) == NULL);
	TEAM_EXPECT((int64_t)found, (int64_t)version);
	larder_value_free(&value);
}

static void begin(void)
{
	dir = team_directory();
	cache = team_open(dir, "SIZE=16M", "WORKERS=16", "TENANTS=16", "TTL=1h", "WRITE_WAIT_MS=200ms", NULL);
	tenant = team_tenant(cache, "family");
}

static void end(void)
{
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* ---- slots ---- */

struct seen {
	unsigned live, dead, mine;
};

static int see_slot(void *ctx, const struct larder_slot *slot)
{
	struct seen *seen = ctx;

	seen->live += strcmp(slot->state, "dead") != 0;
	seen->dead += strcmp(slot->state, "dead") == 0;
	seen->mine += slot->pid == (int32_t)getpid();
	return 0;
}

static struct seen slots(void)
{
	larder_inspector *inspector = team_inspect(dir);
	struct seen seen = { 0 };

	TEAM_EXPECT(larder_inspect_slots(inspector, see_slot, &seen), 0);
	larder_inspect_close(inspector);
	return seen;
}

/* ---- children ---- */

static void be_child(void *arg)
{
	uint32_t base = (uint32_t)(uintptr_t)arg;

	expect_number(1, 1);
	for (uint32_t i = 0; i < 50; i++)
		set_number(base + i, base);
	for (uint32_t i = 0; i < 50; i++)
		expect_number(base + i, base);
	TEAM_EXPECT(slots().mine, 1);
	/* Without closing: _exit() follows. */
}

static void be_parent_of_child(void *arg)
{
	be_child(arg);
	team_run(be_child, (void *)((uintptr_t)arg + 1000));
	be_child(arg);
}

static void test_used_in_the_master_before_fork(void **state)
{
	pid_t pids[4];

	(void)state;
	begin();
	set_number(1, 1);
	expect_number(1, 1);
	for (uintptr_t i = 0; i < 4; i++)
		pids[i] = team_start(be_child, (void *)(1000 * (i + 1)));
	for (int i = 0; i < 4; i++)
		team_join(pids[i]);
	expect_number(1, 1);
	expect_number(4049, 4000);
	end();
}

static void test_fork_of_a_fork(void **state)
{
	(void)state;
	begin();
	set_number(1, 1);
	team_run(be_parent_of_child, (void *)10000);
	expect_number(11049, 11000);
	end();
}

static void test_exit_without_close_costs_nothing(void **state)
{
	(void)state;
	begin();
	set_number(1, 1);
	/* Far more than there are slots. */
	for (uintptr_t i = 0; i < 60; i++)
		team_run(be_child, (void *)(1000 * (i % 3 + 1)));
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, slots().dead == 0));
	TEAM_EXPECT(slots().live, 1);
	end();
}

/* ---- threads in calls while another one forks ---- */

static _Atomic int over;

static void *call_all_the_time(void *arg)
{
	uint32_t key = 100 + (uint32_t)(uintptr_t)arg;

	for (uint64_t version = 1; !atomic_load(&over); version++) {
		set_number(key, version);
		expect_number(key, version);
	}
	return NULL;
}

static void *fork_many(void *arg)
{
	(void)arg;
	for (uintptr_t i = 0; i < 40; i++)
		team_run(be_child, (void *)(1000 * (i % 3 + 1)));
	return NULL;
}

static void test_fork_while_threads_are_in_calls(void **state)
{
	pthread_t threads[3], forker;

	(void)state;
	if (UNDER_SANITIZER)
		LEAVE_OUT("a sanitizer's own locks may be held by a thread that the child does not have");
	begin();
	set_number(1, 1);
	atomic_store(&over, 0);
	for (uintptr_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call_all_the_time, (void *)i), 0);
	assert_int_equal(pthread_create(&forker, NULL, fork_many, NULL), 0);
	assert_int_equal(pthread_join(forker, NULL), 0);
	atomic_store(&over, 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	end();
}

/* ---- exec ---- */

/* What the program does when it was started as "--after-exec DIR". */
static int after_exec(const char *where)
{
	dir = where;
	cache = team_open(dir, "SIZE=16M", "WORKERS=16", "TENANTS=16", "TTL=1h", "WRITE_WAIT_MS=200ms", NULL);
	tenant = team_tenant(cache, "family");
	expect_number(1, 1);
	set_number(2, 2);
	end();
	return 0;
}

static void exec_again(void *arg)
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	(void)arg;
	TEAM_CHECK(len > 0);
	self[len] = 0;
	/* Attached, with a slot in its name: the same process, another image. */
	expect_number(1, 1);
	execl(self, self, "--after-exec", dir, (char *)NULL);
}

static void test_exec_is_no_second_copy(void **state)
{
	(void)state;
	begin();
	set_number(1, 1);
	team_run(exec_again, NULL);
	expect_number(2, 2);
	end();
}

/* ---- twice in one process ---- */

static void test_opened_twice_is_one_handle(void **state)
{
	larder *again = NULL, *other = NULL;
	char *why = NULL;

	(void)state;
	begin();
	again = team_open(dir, "SIZE=16M", "WORKERS=16", "TENANTS=16", "TTL=1h", "WRITE_WAIT_MS=200ms", NULL);
	assert_ptr_equal(again, cache);
	assert_int_equal(team_try_open(&other, &why, dir, "SIZE=16M", "WORKERS=16", "TENANTS=16", "TTL=2h", "WRITE_WAIT_MS=200ms", NULL),
	    LARDER_E_SETTINGS);
	assert_non_null(strstr(why, "TTL"));
	larder_free(why);
	larder_close(again);
	set_number(1, 1);
	expect_number(1, 1);
	end();
}

/* The library as it is installed, loaded beside the one in this program. */
static void *load_second_copy(void)
{
	char self[PATH_MAX], *slash;
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 64);

	if (len <= 0)
		return NULL;
	self[len] = 0;
	slash = strstr(self, "/tests/multi/");
	if (!slash)
		return NULL;
	strcpy(slash, "/.libs/liblarder.so");
	return dlopen(self, RTLD_NOW | RTLD_LOCAL);
}

static void test_second_copy_is_refused(void **state)
{
	void *copy = load_second_copy();
	struct larder_options options = LARDER_OPTIONS_INIT;
	const char *settings[] = { NULL, TEAM_SECRET, "SIZE=16M", "WORKERS=16", "TENANTS=16", NULL };
	int (*open_of_copy)(const struct larder_options *, larder **, char **);
	void (*free_of_copy)(void *);
	char in[PATH_MAX + 8], *why = NULL;
	larder *second = NULL;

	(void)state;
	if (!copy)
		LEAVE_OUT("the shared library is not there: make it first");
	*(void **)&open_of_copy = dlsym(copy, "larder_open");
	*(void **)&free_of_copy = dlsym(copy, "larder_free");
	assert_true(open_of_copy && open_of_copy != larder_open);
	begin();
	set_number(1, 1);
	snprintf(in, sizeof(in), "DIR=%s", dir);
	settings[0] = in;
	options.settings = settings;
	options.flags = LARDER_OPEN_NO_ENV;
	assert_int_equal(open_of_copy(&options, &second, &why), LARDER_E_REFUSED);
	assert_non_null(strstr(why, "another copy"));
	free_of_copy(why);
	/* The first one's locks are as they were. */
	expect_number(1, 1);
	TEAM_EXPECT(slots().mine, 1);
	team_run(be_child, (void *)1000);
	end();
	dlclose(copy);
}

/* ---- without threads ---- */

static unsigned threads_of_this_process(void)
{
	DIR *tasks = opendir("/proc/self/task");
	unsigned count = 0;

	TEAM_CHECK(tasks != NULL);
	for (struct dirent *row = readdir(tasks); row; row = readdir(tasks))
		count += row->d_name[0] != '.';
	closedir(tasks);
	return count;
}

static void call_without_thread(void *arg)
{
	unsigned before = threads_of_this_process();

	(void)arg;
	set_number(1, 1);
	expect_number(1, 1);
	TEAM_EXPECT(threads_of_this_process(), before);
}

static void do_the_work(void *arg)
{
	larder_inspector *inspector = team_inspect(dir);
	struct larder_summary summary = { .size = sizeof(summary) };

	(void)arg;
	for (int64_t until = team_now_ms() + TEAM_DEADLINE_MS; team_now_ms() < until;) {
		TEAM_EXPECT(larder_inspect_work(inspector, 50), 0);
		TEAM_EXPECT(larder_inspect_summary(inspector, &summary), 0);
		if (summary.entries == 0)
			break;
	}
	TEAM_EXPECT((int64_t)summary.entries, 0);
	larder_inspect_close(inspector);
}

static void test_without_threads_an_agent_works(void **state)
{
	(void)state;
	dir = team_directory();
	cache = team_open(dir, "SIZE=16M", "WORKERS=16", "TENANTS=16", "TTL=300ms", "THREADS=off", "SWEEP_MS=200", NULL);
	tenant = team_tenant(cache, "family");
	call_without_thread(NULL);
	team_run(call_without_thread, NULL);
	team_run(do_the_work, NULL);
	end();
	/* The other way: one thread more with it. */
	begin();
	set_number(1, 1);
	assert_true(threads_of_this_process() >= 2);
	end();
}

/* ---- many at once ---- */

enum { CROWD = 32, FEW = 8 };
static struct team_barrier *starting;

static void attach_with_the_others(void *arg)
{
	(void)arg;
	team_meet(starting, CROWD);
	TEAM_EXPECT(larder_attach(cache), 0);
	expect_number(1, 1);
}

static void call_with_the_others(void *arg)
{
	(void)arg;
	team_meet(starting, FEW);
	expect_number(1, 1);
}

/* Though none of them has its turn within the time that a call may take. */
static void start_together(void (*fn)(void *), unsigned count)
{
	pid_t pids[CROWD];

	dir = team_directory();
	cache = team_open(dir, "SIZE=16M", "WORKERS=64", "TENANTS=16", "TTL=1h", "WRITE_WAIT_MS=1ms", NULL);
	tenant = team_tenant(cache, "family");
	starting = team_share(sizeof(*starting));
	set_number(1, 1);
	for (unsigned i = 0; i < count; i++)
		pids[i] = team_start(fn, NULL);
	for (unsigned i = 0; i < count; i++)
		team_join(pids[i]);
	team_unshare(starting, sizeof(*starting));
	end();
}

static void test_workers_that_are_started_together(void **state)
{
	(void)state;
	start_together(attach_with_the_others, CROWD);
	start_together(call_with_the_others, FEW);
}

/* ---- root ---- */

static void give_up_rights(const struct passwd *nobody)
{
	TEAM_CHECK(setgroups(0, NULL) == 0 && setgid(nobody->pw_gid) == 0 && setuid(nobody->pw_uid) == 0);
	TEAM_CHECK(setuid(0) != 0);
}

static void be_nobody(void *arg)
{
	give_up_rights(getpwnam("nobody"));
	be_child(arg);
}

static const char *nowhere;

static void be_locked_up(void *arg)
{
	const struct passwd *nobody = getpwnam("nobody");

	TEAM_EXPECT(larder_attach(cache), 0);
	TEAM_CHECK(chroot(nowhere) == 0 && chdir("/") == 0);
	give_up_rights(nobody);
	for (uint32_t i = 0; i < 50; i++)
		set_number((uint32_t)(uintptr_t)arg + i, 1);
	for (uint32_t i = 0; i < 50; i++)
		expect_number((uint32_t)(uintptr_t)arg + i, 1);
	/* Past the next look at the files. */
	TEAM_POLL(1200, 0);
	expect_number((uint32_t)(uintptr_t)arg, 1);
	set_number((uint32_t)(uintptr_t)arg, 2);
}

static void test_root_master_with_workers_without_rights(void **state)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	const char *settings[] = { NULL, TEAM_SECRET, "SIZE=16M", "WORKERS=16", "TENANTS=16", "TTL=1h", "WRITE_WAIT_MS=200ms", NULL };
	char in[PATH_MAX + 8], file[PATH_MAX + 32], *why = NULL;
	struct stat st;

	(void)state;
	if (geteuid() != 0 || !getpwnam("nobody"))
		LEAVE_OUT("needs root, and a user nobody");
	snprintf(in, sizeof(in), "DIR=%s/inner", team_directory());
	dir = in + 4;
	/* The way to it must be open to them. */
	*strrchr(in, '/') = 0;
	assert_int_equal(chmod(dir, 0711), 0);
	in[strlen(in)] = '/';
	settings[0] = in;
	options.settings = settings;
	options.flags = LARDER_OPEN_NO_ENV;
	options.user = "nobody";
	if (larder_open(&options, &cache, &why) != 0)
		TEAM_FAIL("open: %s", why);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_uid, getpwnam("nobody")->pw_uid);
	assert_int_equal(st.st_mode & 07777, 0700);
	snprintf(file, sizeof(file), "%s/larder.seg", dir);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_uid, getpwnam("nobody")->pw_uid);
	assert_int_equal(st.st_mode & 07777, 0600);
	tenant = team_tenant(cache, "family");
	set_number(1, 1);
	team_run(be_nobody, (void *)1000);
	expect_number(1000, 1000);
	nowhere = team_directory();
	team_run(be_locked_up, (void *)2000);
	expect_number(2000, 2);
	end();
}

/* ---- root: what is given away ---- */

/* A directory in one that others may pass through. */
static void inner_directory(char ret_path[PATH_MAX])
{
	const char *outer = team_directory();

	TEAM_CHECK(chmod(outer, 0711) == 0);
	snprintf(ret_path, PATH_MAX, "%s/inner", outer);
	dir = ret_path;
}

static int open_for(const char *user, const char *group, char **ret_why)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	const char *settings[] = { NULL, TEAM_SECRET, "SIZE=16M", "WORKERS=16", "TENANTS=16", "L1_MAP=writable", NULL };
	char in[PATH_MAX + 8];
	int rc;

	snprintf(in, sizeof(in), "DIR=%s", dir);
	settings[0] = in;
	options.settings = settings;
	options.flags = LARDER_OPEN_NO_ENV;
	options.user = user;
	options.group = group;
	cache = NULL;
	rc = larder_open(&options, &cache, ret_why);
	TEAM_CHECK((rc == 0) == (cache != NULL));
	return rc;
}

static void expect_owner(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		TEAM_FAIL("%s is not there", path);
	if (st.st_uid != uid || st.st_gid != gid || (st.st_mode & 07777) != mode)
		TEAM_FAIL("%s is of uid %u, gid %u, mode %04o", path, (unsigned)st.st_uid, (unsigned)st.st_gid, (unsigned)(st.st_mode & 07777));
}

/* Everything in the directory, which is whatever the library has made. */
static void expect_all_owned(uid_t uid, gid_t gid)
{
	DIR *rows = opendir(dir);
	unsigned count = 0;
	char path[2 * PATH_MAX];

	TEAM_CHECK(rows != NULL);
	expect_owner(dir, uid, gid, 0700);
	for (struct dirent *row = readdir(rows); row; row = readdir(rows)) {
		if (row->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, row->d_name);
		expect_owner(path, uid, gid, 0600);
		count++;
	}
	closedir(rows);
	TEAM_EXPECT(count, 4);
}

enum { A_GROUP = 4321 };

static void is_given(const char *user, const char *group, uid_t uid, gid_t gid)
{
	char path[PATH_MAX], *why = NULL;

	inner_directory(path);
	if (open_for(user, group, &why) != 0)
		TEAM_FAIL("open: %s", why);
	expect_all_owned(uid, gid);
	larder_close(cache);
	/* Again, with nothing to make. */
	TEAM_EXPECT(open_for(user, group, NULL), 0);
	expect_all_owned(uid, gid);
	larder_close(cache);
}

static void test_root_gives_what_it_made(void **state)
{
	const struct passwd *nobody = getpwnam("nobody");

	(void)state;
	if (geteuid() != 0 || !nobody)
		LEAVE_OUT("needs root, and a user nobody");
	is_given("nobody", NULL, nobody->pw_uid, nobody->pw_gid);
	is_given("nobody", "4321", nobody->pw_uid, A_GROUP);
	is_given(NULL, "4321", 0, A_GROUP);
}

static void test_root_does_not_give_a_directory_that_was_there(void **state)
{
	char path[PATH_MAX], *why = NULL;

	(void)state;
	if (geteuid() != 0 || !getpwnam("nobody"))
		LEAVE_OUT("needs root, and a user nobody");
	inner_directory(path);
	TEAM_CHECK(mkdir(path, 0700) == 0);
	for (uid_t owner = 0; owner < 2; owner++) {
		TEAM_CHECK(chown(path, owner, A_GROUP) == 0);
		TEAM_EXPECT(open_for("nobody", NULL, &why), LARDER_E_REFUSED);
		TEAM_CHECK(strstr(why, path) && strstr(why, "belongs to uid"));
		larder_free(why);
		expect_owner(path, owner, A_GROUP, 0700);
		/* Nor is anything put into it. */
		TEAM_CHECK(rmdir(path) == 0 && mkdir(path, 0700) == 0);
	}
}

static void make_theirs(char ret_path[2 * PATH_MAX])
{
	FILE *file;

	snprintf(ret_path, 2 * PATH_MAX, "%s/../theirs", dir);
	file = fopen(ret_path, "w");
	TEAM_CHECK(file && fputs("root's", file) >= 0 && fchmod(fileno(file), 0600) == 0 && fclose(file) == 0);
}

/* The user whose directory it is puts a link to a file of root's where root is about to make one: root must not give him that. */
static void is_not_given(const char *name, int (*put)(const char *theirs, const char *path))
{
	const struct passwd *nobody = getpwnam("nobody");
	char inner[PATH_MAX], path[2 * PATH_MAX], theirs[2 * PATH_MAX], *why = NULL;

	inner_directory(inner);
	TEAM_CHECK(mkdir(inner, 0700) == 0 && chown(inner, nobody->pw_uid, nobody->pw_gid) == 0);
	make_theirs(theirs);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	TEAM_CHECK(put(theirs, path) == 0);
	TEAM_EXPECT(open_for("nobody", NULL, &why), LARDER_E_REFUSED);
	if (!strstr(why, name))
		TEAM_FAIL("%s is not named: %s", name, why);
	larder_free(why);
	expect_owner(theirs, 0, 0, 0600);
}

static void test_root_gives_nobody_what_is_linked(void **state)
{
	(void)state;
	if (geteuid() != 0 || !getpwnam("nobody"))
		LEAVE_OUT("needs root, and a user nobody");
	is_not_given("larder.lock", link);
	is_not_given("larder.lock", symlink);
	is_not_given("larder.seg", link);
	is_not_given("larder.seg", symlink);
}

/* The same while root is at it: the file that it has made is exchanged before it allocates its room. */
static void open_and_stop(void *arg)
{
	int rc;

	(void)arg;
	team_arm(LD_FAULT_store_made_tables, LD_FAULT_STOP, getpid(), 1);
	rc = open_for("nobody", NULL, NULL);
	if (rc == 0)
		larder_close(cache);
}

static void test_root_gives_nobody_what_was_exchanged(void **state)
{
	char inner[PATH_MAX], path[2 * PATH_MAX], theirs[2 * PATH_MAX];
	struct stat st;
	pid_t pid;

	(void)state;
	if (geteuid() != 0 || !getpwnam("nobody"))
		LEAVE_OUT("needs root, and a user nobody");
	inner_directory(inner);
	pid = team_start(open_and_stop, NULL);
	team_await_stop(pid);
	make_theirs(theirs);
	snprintf(path, sizeof(path), "%s/larder.1.mdb", dir);
	TEAM_CHECK(unlink(path) == 0 && link(theirs, path) == 0);
	team_continue(pid);
	team_join(pid);
	team_disarm();
	expect_owner(theirs, 0, 0, 0600);
	TEAM_CHECK(stat(theirs, &st) == 0);
	TEAM_EXPECT(st.st_size, 6);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_used_in_the_master_before_fork),
		cmocka_unit_test(test_fork_of_a_fork),
		cmocka_unit_test(test_exit_without_close_costs_nothing),
		cmocka_unit_test(test_fork_while_threads_are_in_calls),
		cmocka_unit_test(test_exec_is_no_second_copy),
		cmocka_unit_test(test_opened_twice_is_one_handle),
		cmocka_unit_test(test_second_copy_is_refused),
		cmocka_unit_test(test_without_threads_an_agent_works),
		cmocka_unit_test(test_workers_that_are_started_together),
		cmocka_unit_test(test_root_master_with_workers_without_rights),
		cmocka_unit_test(test_root_gives_what_it_made),
		cmocka_unit_test(test_root_does_not_give_a_directory_that_was_there),
		cmocka_unit_test(test_root_gives_nobody_what_is_linked),
		cmocka_unit_test(test_root_gives_nobody_what_was_exchanged),
	};

	if (argc == 3 && strcmp(argv[1], "--after-exec") == 0) {
		team_begin(1, argv);
		return after_exec(argv[2]);
	}
	team_begin(argc, argv);
	return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
