/* SPDX-License-Identifier: MIT */
/*
 * Processes of a test, what they share, and how they are waited for. Linked into each program of tests/multi; see team.h.
 */
#include "team.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/futex.h"
#include "base/process.h"

enum { SETTINGS_MAX = 40, DIRECTORIES_MAX = 256, SAID_B = 1024 };

/* What went wrong first, in memory that all of the program share. */
struct said {
	_Atomic uint32_t taken;
	char text[SAID_B];
};

static struct said *said;
static pid_t parent;
static int lengthy;
static uint64_t seed;
static char *directories[DIRECTORIES_MAX];
static unsigned directories_used;

/* ---- the program ---- */

static const char *variable(const char *name, const char *other)
{
	const char *value = getenv(name);

	return value ? value : getenv(other);
}

static void remove_all(void)
{
	if (getpid() != parent)
		return;
	for (unsigned i = 0; i < directories_used; i++)
		team_remove(directories[i]);
}

void team_begin(int argc, char **argv)
{
	const char *text = variable("LARDER_LONG", "LARDER_TEST_LONG");
	struct timespec now;

	parent = getpid();
	said = team_share(sizeof(*said));
	lengthy = text && strcmp(text, "0") != 0;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--long") == 0)
			lengthy = 1;
		else
			cmocka_set_test_filter(argv[i]);
	}
	text = variable("LARDER_SEED", "LARDER_TEST_SEED");
	clock_gettime(CLOCK_REALTIME, &now);
	seed = text ? strtoull(text, NULL, 0) : (uint64_t)now.tv_nsec * 2654435761u + (uint64_t)now.tv_sec;
	seed = seed ? seed : 1;
	printf("# seed %llu%s\n", (unsigned long long)seed, lengthy ? ", long form" : "");
	fflush(stdout);
	atexit(remove_all);
}

int team_is_long(void)
{
	return lengthy;
}

uint64_t team_seed(void)
{
	return seed;
}

uint64_t team_size(uint64_t usual, uint64_t lengthy_size)
{
	return lengthy ? lengthy_size : usual;
}

uint64_t team_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * UINT64_C(2685821657736338717);
}

/* ---- saying what is wrong ---- */

static void tell(const char *file, int line, const char *format, va_list args)
{
	int used = snprintf(said->text, sizeof(said->text), "%s:%d: process %d: ", file, line, (int)getpid());

	vsnprintf(said->text + used, sizeof(said->text) - (size_t)used, format, args);
}

void team_fail(const char *file, int line, const char *format, ...)
{
	va_list args;

	if (atomic_exchange(&said->taken, 1) == 0) {
		va_start(args, format);
		tell(file, line, format, args);
		va_end(args);
	}
	if (getpid() != parent)
		_exit(1);
	print_error("%s\n", said->text);
	atomic_store(&said->taken, 0);
	_fail(file, line);
	abort();
}

void team_expect(const char *file, int line, const char *what, int64_t is, int64_t expected)
{
	if (is != expected)
		team_fail(file, line, "%s is %lld (%s, %s), not %lld (%s)", what, (long long)is, larder_result_name((int)is),
		    larder_reason_text(larder_reason()), (long long)expected, larder_result_name((int)expected));
}

/* ---- memory and time ---- */

void *team_share(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED) {
		perror("mmap");
		exit(99);
	}
	return memory;
}

void team_unshare(void *memory, size_t size)
{
	munmap(memory, size);
}

int64_t team_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t team_now_ms(void)
{
	return team_now_us() / 1000;
}

void team_pause(void)
{
	usleep(300);
}

/* ---- processes ---- */

pid_t team_start(void (*fn)(void *), void *arg)
{
	pid_t us = getpid(), pid = fork();

	if (pid < 0)
		TEAM_FAIL("fork: %s", strerror(errno));
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != us)
		_exit(1);
	fn(arg);
	_exit(0);
}

int team_end(pid_t pid)
{
	/* A child's whole run of a long form takes minutes. */
	int64_t limit_ms = (int64_t)TEAM_DEADLINE_MS * (team_is_long() ? 30 : 1);
	int status = 0;
	pid_t ended = 0;

	if (!TEAM_POLL(limit_ms, (ended = waitpid(pid, &status, WNOHANG)) != 0)) {
		char state = ld_process_state((int)pid);

		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		TEAM_FAIL("process %d did not end within %lld ms, its state was %c", (int)pid, (long long)limit_ms, state);
	}
	if (ended != pid)
		TEAM_FAIL("process %d cannot be waited for: %s", (int)pid, strerror(errno));
	return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

void team_join(pid_t pid)
{
	int ended = team_end(pid);

	if (ended != 0)
		TEAM_FAIL("process %d ended with %d", (int)pid, ended);
}

void team_run(void (*fn)(void *), void *arg)
{
	team_join(team_start(fn, arg));
}

void team_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	(void)team_end(pid);
}

/* As /proc has it: a process may be stopped by whoever is not its parent's child, and waitpid() tells it once only. */
int team_is_stopped(pid_t pid)
{
	return ld_process_state((int)pid) == 'T';
}

int team_has_ended(pid_t pid)
{
	return ld_process_state((int)pid) == 'Z';
}

void team_await_stop(pid_t pid)
{
	char state = 0;

	if (!TEAM_POLL(TEAM_DEADLINE_MS, (state = ld_process_state((int)pid)) == 'T' || state == 'Z'))
		TEAM_FAIL("process %d was not stopped, its state is %c", (int)pid, state);
	if (state == 'Z')
		TEAM_FAIL("process %d ended with %d before it was stopped", (int)pid, team_end(pid));
}

void team_continue(pid_t pid)
{
	kill(pid, SIGCONT);
}

/* Asleep, not looking now and then: a hundred that look leave little of a small machine to those who are still to come. */
void team_meet(struct team_barrier *barrier, uint32_t parties)
{
	uint32_t round = atomic_load(&barrier->round);
	int64_t end_ms = team_now_ms() + TEAM_DEADLINE_MS;

	if (atomic_fetch_add(&barrier->arrived, 1) + 1 == parties) {
		atomic_store(&barrier->arrived, 0);
		atomic_fetch_add(&barrier->round, 1);
		ld_futex_wake(&barrier->round, (int)parties);
		return;
	}
	while (atomic_load(&barrier->round) == round && team_now_ms() < end_ms)
		ld_futex_wait(&barrier->round, round, 1000);
	if (atomic_load(&barrier->round) == round)
		TEAM_FAIL("only %u of %u came", atomic_load(&barrier->arrived), parties);
}

/* ---- the cache ---- */

/* A container's /dev/shm has 64 MiB unless it was told otherwise, where a test wants 90 and several run at once: then the disk. */
static const char *roomy(void)
{
	const uint64_t enough = UINT64_C(1) << 30;
	struct statvfs st;

	if (access("/dev/shm", W_OK | X_OK) || statvfs("/dev/shm", &st) || (uint64_t)st.f_bavail * st.f_frsize < enough)
		return "/tmp";
	return "/dev/shm";
}

const char *team_directory(void)
{
	const char *base = getenv("TMPDIR");
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/larder-test-XXXXXX", base && *base ? base : roomy());
	if (directories_used == DIRECTORIES_MAX || !mkdtemp(path) || !(directories[directories_used] = strdup(path)))
		TEAM_FAIL("no directory %s: %s", path, strerror(errno));
	return directories[directories_used++];
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	(void)kind;
	(void)where;
	return remove(path);
}

void team_remove(const char *dir)
{
	nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int open_with(larder **ret_cache, char **ret_why, const char *dir, va_list args)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	const char *settings[SETTINGS_MAX + 1] = { 0 };
	char in[PATH_MAX + 8];
	unsigned used = 0;

	snprintf(in, sizeof(in), "DIR=%s", dir);
	settings[used++] = in;
	settings[used++] = TEAM_SECRET;
	while (used < SETTINGS_MAX && (settings[used] = va_arg(args, const char *)) != NULL)
		used++;
	TEAM_CHECK(used < SETTINGS_MAX);
	options.flags = LARDER_OPEN_NO_ENV;
	options.settings = settings;
	return larder_open(&options, ret_cache, ret_why);
}

int team_try_open(larder **ret_cache, char **ret_why, const char *dir, ...)
{
	va_list args;
	int rc;

	va_start(args, dir);
	rc = open_with(ret_cache, ret_why, dir, args);
	va_end(args);
	return rc;
}

larder *team_open(const char *dir, ...)
{
	larder *cache = NULL;
	char *why = NULL;
	va_list args;
	int rc;

	va_start(args, dir);
	rc = open_with(&cache, &why, dir, args);
	va_end(args);
	if (rc != 0)
		TEAM_FAIL("open gave %s: %s", larder_result_name(rc), why ? why : "");
	return cache;
}

larder_tenant *team_tenant(larder *cache, const char *tenant)
{
	larder_tenant *opened = NULL;

	TEAM_EXPECT(larder_tenant_open(cache, tenant, &opened), 0);
	return opened;
}

larder_inspector *team_inspect(const char *dir)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	const char *settings[] = { NULL, NULL };
	larder_inspector *inspector = NULL;
	char in[PATH_MAX + 8];

	snprintf(in, sizeof(in), "DIR=%s", dir);
	settings[0] = in;
	options.flags = LARDER_OPEN_NO_ENV;
	options.settings = settings;
	TEAM_EXPECT(larder_inspect_open(&options, &inspector, NULL), 0);
	return inspector;
}

/* ---- faults ---- */

#ifdef LARDER_FAULTS

struct ld_fault_plan *team_plan(void)
{
	static struct ld_fault_plan *plan;

	if (!plan) {
		plan = team_share(sizeof(*plan));
		ld_fault_use(plan);
	}
	return plan;
}

void team_arm(enum ld_fault_point point, enum ld_fault_action action, pid_t pid, int64_t pass)
{
	struct ld_fault_plan *plan = team_plan();

	atomic_store(&plan->countdown, 0);
	atomic_store(&plan->acted, 0);
	atomic_store(&plan->pid, (int32_t)pid);
	atomic_store(&plan->point, (uint32_t)point);
	atomic_store(&plan->action, (uint32_t)action);
	/* Last: from here on the plan is in force. */
	atomic_store(&plan->countdown, pass);
}

void team_disarm(void)
{
	atomic_store(&team_plan()->countdown, 0);
	atomic_store(&team_plan()->action, LD_FAULT_NOTHING);
}

#endif
