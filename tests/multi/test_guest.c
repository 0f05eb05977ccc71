/* SPDX-License-Identifier: MIT */
/*
 * A host that is no ordinary one: without standard descriptors, with a small limit on the size of files, with a umask that takes everything away. The cache
 * does no harm there, and takes none.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "lib/fault_server.h"
#include "lib/team.h"

#define FORM "SIZE=8M", "WORKERS=16", "THREADS=0", "TTL=1h"
enum { LINES = 1000, OPENS = 300, PARTIES = 2, FEW_B = 4096 };

struct stage {
	const char *dir, *map;
	char url[300];
	struct team_barrier wrote;
};

static struct stage *stage;

static int begin(void **state)
{
	(void)state;
	stage = team_share(sizeof(*stage));
	stage->dir = team_directory();
	stage->map = "L1_MAP=protected";
	return 0;
}

static int end(void **state)
{
	(void)state;
	team_remove(stage->dir);
	team_unshare(stage, sizeof(*stage));
	return 0;
}

static void set(larder_tenant *tenant, const char *name, int expected)
{
	TEAM_EXPECT(larder_set(tenant, "s", name, strlen(name), name, strlen(name), NULL, NULL), expected);
}

static void get(larder_tenant *tenant, const char *name)
{
	struct larder_value value = { 0 };

	TEAM_EXPECT(larder_get(tenant, "s", name, strlen(name), NULL, &value), 0);
	TEAM_CHECK(value.len == strlen(name) && memcmp(value.data, name, value.len) == 0);
	larder_value_free(&value);
}

/* ---- without standard descriptors ---- */

static void close_standard(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		(void)close(fd);
}

static void expect_none_standard(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		TEAM_EXPECT(fcntl(fd, F_GETFD), -1);
}

static void print_much(void)
{
	for (unsigned i = 0; i < LINES; i++) {
		TEAM_EXPECT(write(STDIN_FILENO, "a line of the host\n", 19), -1);
		TEAM_EXPECT(write(STDOUT_FILENO, "a line of the host\n", 19), -1);
		TEAM_EXPECT(write(STDERR_FILENO, "a line of the host\n", 19), -1);
	}
}

static void use_without(void *arg)
{
	larder_tenant *tenant;
	larder *cache;

	(void)arg;
	close_standard();
	cache = team_open(stage->dir, FORM, stage->map, NULL);
	expect_none_standard();
	tenant = team_tenant(cache, "acme");
	set(tenant, "one", 0);
	expect_none_standard();
	print_much();
	get(tenant, "one");
	set(tenant, "two", 0);
	team_meet(&stage->wrote, PARTIES);
	/* The other one is attached too; what is printed now would be found by it. */
	team_meet(&stage->wrote, PARTIES);
	print_much();
	expect_none_standard();
	larder_tenant_close(tenant);
	larder_close(cache);
	expect_none_standard();
}

static void expect_no_damage(void)
{
	larder_inspector *inspector = team_inspect(stage->dir);
	uint64_t found = UINT64_MAX;

	TEAM_EXPECT(larder_inspect_check(inspector, 0, NULL, NULL, NULL, &found), 0);
	TEAM_EXPECT(found, 0);
	larder_inspect_close(inspector);
}

/* Made by the one without, and found by the other; then the other way round. */
static void closed_descriptors(const char *map)
{
	stage->map = map;
	for (unsigned round = 0; round < 2; round++) {
		pid_t pid = team_start(use_without, NULL);
		larder_tenant *tenant;
		larder *cache;

		team_meet(&stage->wrote, PARTIES);
		cache = team_open(stage->dir, FORM, map, NULL);
		tenant = team_tenant(cache, "acme");
		get(tenant, "one");
		team_meet(&stage->wrote, PARTIES);
		team_join(pid);
		get(tenant, "two");
		set(tenant, "three", 0);
		expect_no_damage();
		larder_tenant_close(tenant);
		larder_close(cache);
	}
}

static void test_closed_descriptors(void **state)
{
	(void)state;
	closed_descriptors("L1_MAP=protected");
}

static void test_closed_descriptors_writable(void **state)
{
	(void)state;
	closed_descriptors("L1_MAP=writable");
}

/* The sockets of L2 are none either, and libcurl's own are not. */
static void ask_l2_without(void *arg)
{
	larder_tenant *tenant;
	larder *cache;

	(void)arg;
	close_standard();
	cache = team_open(stage->dir, FORM, "L2_SET_MS=10s", "L2_WRITE=through", stage->url, NULL);
	tenant = team_tenant(cache, "acme");
	set(tenant, "one", 0);
	expect_none_standard();
	larder_tenant_close(tenant);
	larder_close(cache);
}

static void test_closed_descriptors_and_l2(void **state)
{
	struct fault_server *server = fault_server_start(NULL);

	(void)state;
	TEAM_CHECK(server != NULL);
	snprintf(stage->url, sizeof(stage->url), "L2_URL=%s", fault_server_url(server));
	team_run(ask_l2_without, NULL);
	TEAM_CHECK(fault_server_counts(server)->requests > 0);
	fault_server_free(server);
}

/* Threads that open at once: what one holds for a moment must not be there for another one to be given a moment later. */
static _Atomic uint32_t low;

static void *open_often(void *dir)
{
	for (unsigned i = 0; i < OPENS; i++) {
		int fd = ld_file_open_at(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);

		if (fd <= STDERR_FILENO)
			atomic_fetch_add(&low, 1);
		(void)close(fd);
	}
	return NULL;
}

static void open_together(void *dir)
{
	pthread_t threads[4];

	close_standard();
	for (unsigned i = 0; i < 4; i++)
		TEAM_EXPECT(pthread_create(&threads[i], NULL, open_often, dir), 0);
	for (unsigned i = 0; i < 4; i++)
		TEAM_EXPECT(pthread_join(threads[i], NULL), 0);
	TEAM_EXPECT(atomic_load(&low), 0);
	expect_none_standard();
}

static void test_threads_that_open_together(void **state)
{
	(void)state;
	team_run(open_together, (void *)(uintptr_t)stage->dir);
}

/* ---- with a small limit on the size of files ---- */

static void limit_files(void)
{
	const struct rlimit limit = { FEW_B, FEW_B };

	TEAM_EXPECT(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void make_limited(void *arg)
{
	larder *cache = NULL;
	char *why = NULL;

	(void)arg;
	limit_files();
	TEAM_EXPECT(team_try_open(&cache, &why, stage->dir, FORM, stage->map, NULL), LARDER_E_FULL);
	TEAM_CHECK(strstr(why, "the limit on file sizes (ulimit -f) is below 12M") != NULL);
	larder_free(why);
}

/* The handle is its parent's, and so is what was made; the limit is its own. */
static void use_limited(void *arg)
{
	larder_tenant *tenant = arg;
	struct larder_value value = { 0 };

	limit_files();
	for (unsigned i = 0; i < 2; i++) {
		set(tenant, "two", LARDER_UNAVAILABLE);
		TEAM_EXPECT(larder_reason(), LARDER_REASON_DISK);
		TEAM_EXPECT(larder_get(tenant, "s", "one", 3, NULL, &value), LARDER_UNAVAILABLE);
		TEAM_EXPECT(larder_reason(), LARDER_REASON_DISK);
	}
}

static void small_limit(const char *map)
{
	larder_tenant *tenant;
	larder *cache;

	stage->map = map;
	team_run(make_limited, NULL);
	cache = team_open(stage->dir, FORM, map, NULL);
	tenant = team_tenant(cache, "acme");
	set(tenant, "one", 0);
	team_run(use_limited, tenant);
	set(tenant, "two", 0);
	get(tenant, "one");
	expect_no_damage();
	larder_tenant_close(tenant);
	larder_close(cache);
}

static void test_small_limit(void **state)
{
	(void)state;
	small_limit("L1_MAP=protected");
}

static void test_small_limit_writable(void **state)
{
	(void)state;
	small_limit("L1_MAP=writable");
}

/* ---- with a umask that leaves nothing ---- */

static void expect_mode(const char *path, mode_t mode)
{
	struct stat st;

	TEAM_EXPECT(stat(path, &st), 0);
	TEAM_EXPECT(st.st_mode & 07777, mode);
}

static void expect_modes(const char *dir)
{
	static const char *const files[] = { "larder.seg", "larder.lock", "larder.1.mdb", "larder.1.mdb-lock" };
	char path[400];

	expect_mode(dir, 0700);
	for (unsigned i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		expect_mode(path, 0600);
	}
}

/* Root may open what has no mode at all: so this is done by another user, where there is one to be had. */
static void make_masked(void *arg)
{
	char dir[300];
	larder *cache;

	(void)arg;
	if (geteuid() == 0)
		TEAM_CHECK(chown(stage->dir, 65534, 65534) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
	umask(0777);
	snprintf(dir, sizeof(dir), "%s/inner", stage->dir);
	cache = team_open(dir, FORM, NULL);
	expect_modes(dir);
	larder_close(cache);
	cache = team_open(dir, FORM, NULL);
	larder_close(cache);
}

static void test_umask(void **state)
{
	(void)state;
	team_run(make_masked, NULL);
}

static void make_masked_for_another(void *arg)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	char dir[300];
	const char *settings[] = { dir, "SIZE=8M", "WORKERS=16", "THREADS=0", TEAM_SECRET, NULL };
	larder *cache = NULL;

	(void)arg;
	umask(0777);
	snprintf(dir, sizeof(dir), "DIR=%s/inner", stage->dir);
	options.settings = settings;
	options.flags = LARDER_OPEN_NO_ENV;
	options.user = geteuid() == 0 ? "65534" : NULL;
	TEAM_EXPECT(larder_open(&options, &cache, NULL), 0);
	expect_modes(dir + 4);
	larder_close(cache);
}

static void test_umask_of_a_master(void **state)
{
	(void)state;
	team_run(make_masked_for_another, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_closed_descriptors, begin, end),
		cmocka_unit_test_setup_teardown(test_closed_descriptors_writable, begin, end),
		cmocka_unit_test_setup_teardown(test_closed_descriptors_and_l2, begin, end),
		cmocka_unit_test_setup_teardown(test_threads_that_open_together, begin, end),
		cmocka_unit_test_setup_teardown(test_small_limit, begin, end),
		cmocka_unit_test_setup_teardown(test_small_limit_writable, begin, end),
		cmocka_unit_test_setup_teardown(test_umask, begin, end),
		cmocka_unit_test_setup_teardown(test_umask_of_a_master, begin, end),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
