/* SPDX-License-Identifier: MIT */
/*
 * A worker that attaches and then enters seccomp: with a short list of system calls every call of the library works, for longer than the look at the
 * files once a second; with a second list it opens again what was made anew meanwhile; without that list, but with an errno instead of death for
 * what is in it, it degrades. The two lists are those of liblarder(3), under "Workers that lock themselves in". Any other call kills.
 *
 * The filter is for all threads of the process, the library's own included. Time is the plan's.
 */
#include <errno.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/sample.h"
#include "lib/team.h"
#include "unit/leave_out.h"

/* What every call may need. */
static const int usual[] = {
	/* waiting for others, and the time where the kernel gives it through no page of its own */
	SYS_futex, SYS_clock_nanosleep, SYS_clock_gettime,
	/* who lives, whether the files stand */
	SYS_fcntl, SYS_fstat, SYS_newfstatat,
	/* LMDB's commit */
	SYS_pwrite64, SYS_pwritev, SYS_writev, SYS_lseek,
	/* memory, of malloc() */
	SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise,
	/* the beginning and the end of the library's thread */
	SYS_set_robust_list, SYS_rseq, SYS_rt_sigprocmask, SYS_gettid, SYS_setpriority, SYS_exit,
	/* every program's */
	SYS_exit_group, SYS_rt_sigreturn, SYS_restart_syscall, SYS_getpid,
};

/* What opening again may need, and making anew. */
static const int healing[] = {
	SYS_openat, SYS_close, SYS_read, SYS_pread64, SYS_getdents64, SYS_fstatfs, SYS_geteuid,
#ifdef SYS_mkdir
	SYS_mkdir,
#else
	SYS_mkdirat,
#endif
	SYS_prlimit64, SYS_unlinkat, SYS_renameat, SYS_dup3, SYS_fallocate, SYS_ftruncate, SYS_fchown,
	/* LMDB, where the files are on ext2 to ext4: it asks for the kernel's age */
	SYS_uname,
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH 0
#endif

enum { RULES_MAX = 5 + 2 * (COUNT(usual) + COUNT(healing)), LARGE_B = 1 << 20, ROUNDS = 12 };

struct board {
	struct team_barrier barrier;
	_Atomic int refused;        /* no filter could be had */
	_Atomic int over;
};
static struct board *board;
static const char *dir;
static larder *cache;
static larder_tenant *tenant;
static larder_inspector *inspector;
static unsigned char large[LARGE_B], buffer[LARGE_B];

/* ---- the filter ---- */

struct program {
	struct sock_filter rules[RULES_MAX];
	unsigned short used;
};

static void add(struct program *program, uint16_t code, uint32_t k, uint8_t if_true, uint8_t if_not)
{
	program->rules[program->used++] = (struct sock_filter)BPF_JUMP(code, k, if_true, if_not);
}

static void answer(struct program *program, const int *calls, size_t count, uint32_t with)
{
	for (size_t i = 0; i < count; i++) {
		add(program, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i], 0, 1);
		add(program, BPF_RET | BPF_K, with, 0, 0);
	}
}

/* Returns 0 where there is no seccomp for us. */
static int lock_in(uint32_t with_healing)
{
	struct program program = { .used = 0 };
	struct sock_fprog filter = { 0, program.rules };

	add(&program, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
	add(&program, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	add(&program, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
	add(&program, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
	answer(&program, usual, COUNT(usual), SECCOMP_RET_ALLOW);
	answer(&program, healing, COUNT(healing), with_healing);
	add(&program, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
	filter.len = program.used;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0;
}

/* ---- the calls ---- */

static void pass_time(int64_t ms)
{
	atomic_fetch_add(&team_plan()->boot_shift_ms, ms);
}

static void set_sample(const char *name, size_t len, uint64_t version)
{
	sample_fill(large, len, 1, version);
	TEAM_EXPECT(larder_set(tenant, "cell", name, strlen(name), large, len, NULL, NULL), 0);
}

static void expect_sample(const char *name, size_t len, uint64_t version)
{
	struct larder_value value = { 0 };
	uint64_t found = 0;

	TEAM_EXPECT(larder_get(tenant, "cell", name, strlen(name), NULL, &value), 0);
	TEAM_CHECK(value.len == len && sample_wrong(value.data, value.len, 1, &found) == NULL && found == version);
	larder_value_free(&value);
	TEAM_EXPECT(larder_get_into(tenant, "cell", name, strlen(name), buffer, sizeof(buffer), NULL, &value), 0);
	TEAM_CHECK(value.len == len && sample_wrong(buffer, value.len, 1, &found) == NULL && found == version);
}

static void get_many(void)
{
	struct larder_item items[3] = { { .space = "cell", .name = "small", .name_len = 5 }, { .space = "cell", .name = "large", .name_len = 5 },
		{ .space = "cell", .name = "none", .name_len = 4 } };

	TEAM_EXPECT(larder_mget(tenant, items, 3, NULL), 0);
	TEAM_CHECK(items[0].result == 0 && items[1].result == 0 && items[2].result == LARDER_MISS);
	for (int i = 0; i < 2; i++)
		larder_value_free(&items[i].value);
}

static int see_listed(void *ctx, const struct larder_listed *entry)
{
	(void)entry;
	++*(unsigned *)ctx;
	return 0;
}

static void look_at_everything(void)
{
	struct larder_stats stats = { .size = sizeof(stats) };
	struct larder_summary summary = { .size = sizeof(summary) };
	unsigned listed = 0;

	TEAM_EXPECT(larder_list(tenant, NULL, see_listed, &listed, NULL), 0);
	TEAM_CHECK(listed >= 2);
	TEAM_EXPECT(larder_get_stats(cache, &stats), 0);
	TEAM_EXPECT(larder_tenant_get_stats(tenant, &stats), 0);
	TEAM_CHECK(stats.hits > 0);
	TEAM_EXPECT(larder_inspect_summary(inspector, &summary), 0);
}

static void call_everything(uint64_t version)
{
	set_sample("small", 100, version);
	set_sample("large", LARGE_B, version);
	expect_sample("small", 100, version);
	expect_sample("large", LARGE_B, version);
	get_many();
	look_at_everything();
	TEAM_EXPECT(larder_add(tenant, "cell", "small", 5, "x", 1, NULL, NULL), LARDER_EXISTS);
	TEAM_EXPECT(larder_add(tenant, "cell", "added", 5, "x", 1, NULL, NULL), 0);
	TEAM_EXPECT(larder_touch(tenant, "cell", "added", 5, 1000000, 0, NULL), 0);
	TEAM_EXPECT(larder_delete(tenant, "cell", "added", 5, NULL), 0);
	TEAM_EXPECT(larder_exists(tenant, "cell", "added", 5, NULL), LARDER_MISS);
	TEAM_EXPECT(larder_set_absent(tenant, "cell", "absent", 6, NULL, NULL), 0);
	TEAM_EXPECT(larder_exists(tenant, "cell", "absent", 6, NULL), LARDER_ABSENT);
	if (version % 3 == 0)
		TEAM_EXPECT(larder_clear_space(tenant, "cell", NULL), 0);
	if (version % 3 == 1)
		TEAM_EXPECT(larder_clear_tenant(tenant, NULL), 0);
	if (version % 3 == 2)
		TEAM_EXPECT(larder_clear_all(cache, NULL), 0);
	TEAM_EXPECT(larder_exists(tenant, "cell", "small", 5, NULL), LARDER_MISS);
	set_sample("small", 100, version);
}

/* Attach, look into everything once, lock the door. */
static void enter(uint32_t with_healing)
{
	inspector = team_inspect(dir);
	TEAM_EXPECT(larder_attach(cache), 0);
	if (lock_in(with_healing))
		return;
	atomic_store(&board->refused, 1);
	_exit(0);
}

/* ---- the tests ---- */

static uint64_t passed(enum ld_fault_point point)
{
	return atomic_load(&team_plan()->passed[point]);
}

static int set_a_word(void)
{
	return larder_set(tenant, "cell", "word", 4, "word", 4, NULL, NULL);
}

static void meet(void)
{
	team_meet(&board->barrier, 2);
}

static int is_evictor(void)
{
	struct larder_summary summary = { .size = sizeof(summary) };

	return larder_inspect_summary(inspector, &summary) == 0 && summary.evictor_pid == (int32_t)getpid();
}

/* Others write and die meanwhile, and the process's own thread sees to that: it is the evictor, and looks for dead readers. */
static void use_for_long(void *arg)
{
	uint64_t checks;

	(void)arg;
	enter(SECCOMP_RET_KILL_PROCESS);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, is_evictor()));
	meet();
	for (uint64_t version = 1; version <= ROUNDS; version++) {
		call_everything(version);
		pass_time(500);
	}
	meet();
	meet();
	checks = passed(LD_FAULT_reader_check);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, (pass_time(200), passed(LD_FAULT_reader_check) > checks)));
	TEAM_CHECK(is_evictor());
	call_everything(ROUNDS + 1);
	atomic_store(&board->over, 1);
}

static void attach_and_die(void *arg)
{
	(void)arg;
	TEAM_EXPECT(larder_attach(cache), 0);
	(void)kill(getpid(), SIGKILL);
}

static void watch_it(void)
{
	meet();
	meet();
	TEAM_EXPECT(team_end(team_start(attach_and_die, NULL)), 256 + SIGKILL);
	meet();
}

static larder *open_here(const char *threads)
{
	return team_open(dir, "SIZE=16M", "WORKERS=8", "TENANTS=16", "TTL=10h", "WRITE_WAIT_MS=10s", threads, NULL);
}

/* With a handle of its own, that has no thread to become the evictor; it begins when the other one is it. */
static void write_beside(void *arg)
{
	(void)arg;
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->barrier.round) > 0 || atomic_load(&board->over)));
	cache = open_here("THREADS=0");
	tenant = team_tenant(cache, "beside");
	for (; !atomic_load(&board->over); team_pause())
		TEAM_EXPECT(set_a_word(), 0);
	larder_tenant_close(tenant);
	larder_close(cache);
}

static void unlink_store(int generation)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/larder.%d.mdb", dir, generation);
	TEAM_CHECK(unlink(path) == 0);
}

/* Another one makes the store anew, then the worker itself; then the whole directory. */
static void heal_inside(void *arg)
{
	(void)arg;
	enter(SECCOMP_RET_ALLOW);
	for (uint64_t version = 1; version <= 3; version++) {
		call_everything(version);
		meet();
		meet();
		TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, larder_exists(tenant, "cell", "small", 5, NULL) == LARDER_MISS && set_a_word() == 0));
	}
	call_everything(4);
	larder_inspect_close(inspector);
	larder_tenant_close(tenant);
	larder_close(cache);
}

static void destroy_outside(void)
{
	meet();
	unlink_store(1);
	pass_time(1100);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, set_a_word() == 0));
	meet();
	meet();
	unlink_store(2);
	pass_time(1100);
	meet();
	meet();
	team_remove(dir);
	pass_time(1100);
	meet();
}

/* Not dead, and never with something old: the reason says why. */
static void degrade_inside(void *arg)
{
	struct larder_value value = { 0 };

	(void)arg;
	enter(SECCOMP_RET_ERRNO | EPERM);
	call_everything(1);
	meet();
	meet();
	for (int i = 0; i < 5; i++) {
		TEAM_EXPECT(larder_get(tenant, "cell", "small", 5, NULL, &value), LARDER_UNAVAILABLE);
		TEAM_EXPECT(larder_reason(), LARDER_REASON_ATTACH);
		TEAM_EXPECT(set_a_word(), LARDER_UNAVAILABLE);
		TEAM_EXPECT(larder_delete(tenant, "cell", "small", 5, NULL), LARDER_E_BUSY);
		TEAM_EXPECT(larder_add(tenant, "cell", "added", 5, "x", 1, NULL, NULL), LARDER_E_BUSY);
		TEAM_EXPECT(larder_clear_tenant(tenant, NULL), LARDER_E_BUSY);
		pass_time(1100);
	}
	meet();
}

static void make_anew_outside(void)
{
	meet();
	unlink_store(1);
	pass_time(1100);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, set_a_word() == 0));
	meet();
	meet();
	TEAM_EXPECT(larder_exists(tenant, "cell", "word", 4, NULL), 0);
}

static void run(const char *threads, void (*inside)(void *), void (*outside)(void), void (*beside)(void *))
{
	pid_t neighbour = beside ? team_start(beside, NULL) : 0, prisoner;
	int ended;

	cache = open_here(threads);
	tenant = team_tenant(cache, "prisoner");
	prisoner = team_start(inside, NULL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, team_has_ended(prisoner) || atomic_load(&board->barrier.arrived) == 1));
	if (!team_has_ended(prisoner))
		outside();
	ended = team_end(prisoner);
	atomic_store(&board->over, 1);
	if (neighbour)
		team_join(neighbour);
	larder_tenant_close(tenant);
	larder_close(cache);
	if (ended == 256 + SIGSYS)
		TEAM_FAIL("the filter killed it for a system call that is in neither list: strace -f names it");
	TEAM_EXPECT(ended, 0);
}

static void prison(const char *threads, void (*inside)(void *), void (*outside)(void), void (*beside)(void *))
{
	int refused;

	if (UNDER_SANITIZER)
		LEAVE_OUT("a sanitizer's runtime makes system calls of its own");
	if (ARCH == 0)
		LEAVE_OUT("the number of this processor's system calls is not known here");
	dir = team_directory();
	team_disarm();
	board = team_share(sizeof(*board));
	run(threads, inside, outside, beside);
	refused = atomic_load(&board->refused);
	team_unshare(board, sizeof(*board));
	team_remove(dir);
	if (refused)
		LEAVE_OUT("no seccomp filter is permitted");
}

static void test_all_calls_within_the_short_list(void **state)
{
	(void)state;
	prison("THREADS=1", use_for_long, watch_it, write_beside);
}

static void test_heals_within_both_lists(void **state)
{
	(void)state;
	prison("THREADS=0", heal_inside, destroy_outside, NULL);
}

static void test_degrades_where_opening_is_refused(void **state)
{
	(void)state;
	prison("THREADS=0", degrade_inside, make_anew_outside, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_calls_within_the_short_list),
		cmocka_unit_test(test_heals_within_both_lists),
		cmocka_unit_test(test_degrades_where_opening_is_refused),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests_name("seccomp", tests, NULL, NULL);
}
