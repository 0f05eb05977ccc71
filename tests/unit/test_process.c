/* SPDX-License-Identifier: MIT */
/*
 * base/process and base/futex, with real forks and threads: numbers that no relative shares, a lock that fork cannot leave
 * held, what /proc says of live, stopped and dead processes, and wakes across processes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/fault.h"
#include "base/futex.h"
#include "base/process.h"
#include "child.h"
#include "leave_out.h"

#define THREADS 4
#define ROUNDS 20000

/* Numbers of relatives, in memory that they share. */
struct family {
	_Atomic uint64_t parent, child, grandchild, sibling, cloned;
};

static void be_grandchild(void *arg)
{
	((struct family *)arg)->grandchild = ld_process_generation();
}

static void be_child(void *arg)
{
	struct family *family = arg;

	family->child = ld_process_generation();
	CHILD_CHECK(ld_process_generation() == family->child);
	CHILD_CHECK(child_run(be_grandchild, family) == 0);
	CHILD_CHECK(ld_process_generation() == family->child);
}

static void be_sibling(void *arg)
{
	((struct family *)arg)->sibling = ld_process_generation();
}

/* Exits with 0 when all numbers differ; runs in a child, whose number is the parent's of this family. */
static void be_family(void *arg)
{
	struct family *family = arg;
	uint64_t all[4];

	family->parent = ld_process_generation();
	CHILD_CHECK(child_run(be_child, family) == 0);
	CHILD_CHECK(child_run(be_sibling, family) == 0);
	CHILD_CHECK(ld_process_generation() == family->parent);
	all[0] = family->parent;
	all[1] = family->child;
	all[2] = family->grandchild;
	all[3] = family->sibling;
	for (int i = 0; i < 4; i++) {
		CHILD_CHECK(all[i] != 0);
		for (int k = 0; k < i; k++)
			CHILD_CHECK(all[i] != all[k]);
	}
}

#ifdef LARDER_FAULTS
/* First of all tests: no number was asked for yet, so the child begins anew, without a page that the kernel wipes. */
static void test_without_wiped_pages_relatives_differ_too(void **state)
{
	struct ld_fault_plan *plan = child_share(sizeof(*plan));
	struct family *family = child_share(sizeof(*family));

	(void)state;
	plan->point = LD_FAULT_process_page;
	plan->action = LD_FAULT_ERROR;
	plan->error = EINVAL;
	plan->countdown = 1;
	ld_fault_use(plan);
	assert_int_equal(child_run(be_family, family), 0);
	assert_int_equal(plan->acted, 1);
	ld_fault_use(NULL);
	(void)munmap(plan, sizeof(*plan));
	(void)munmap(family, sizeof(*family));
}
#endif

static void test_relatives_differ(void **state)
{
	struct family *family = child_share(sizeof(*family));
	uint64_t mine = ld_process_generation();

	(void)state;
	assert_int_equal(child_run(be_family, family), 0);
	assert_true(family->parent != mine && family->child != mine && family->grandchild != mine && family->sibling != mine);
	assert_true(ld_process_generation() == mine);
	(void)munmap(family, sizeof(*family));
}

/* fork() of the C library is not asked: only the kernel can have wiped the page. */
static void test_raw_clone_is_seen(void **state)
{
	struct family *family = child_share(sizeof(*family));
	uint64_t mine = ld_process_generation();
	long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	(void)state;
	if (pid == 0) {
		family->cloned = ld_process_generation();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(child_end((pid_t)pid), 0);
	assert_true(family->cloned != 0 && family->cloned != mine);
	(void)munmap(family, sizeof(*family));
}

static void *ask_number(void *arg)
{
	*(uint64_t *)arg = ld_process_generation();
	return NULL;
}

/* In a child, so that the threads race for the first call. */
static void race_for_number(void *arg)
{
	uint64_t numbers[THREADS] = { 0 };
	pthread_t threads[THREADS];

	(void)arg;
	for (int i = 0; i < THREADS; i++)
		CHILD_CHECK(pthread_create(&threads[i], NULL, ask_number, &numbers[i]) == 0);
	for (int i = 0; i < THREADS; i++)
		CHILD_CHECK(pthread_join(threads[i], NULL) == 0);
	for (int i = 0; i < THREADS; i++)
		CHILD_CHECK(numbers[i] != 0 && numbers[i] == ld_process_generation());
}

static void test_threads_share_a_number(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++)
		assert_int_equal(child_run(race_for_number, NULL), 0);
}

static void test_lock_and_unlock(void **state)
{
	struct ld_process_lock lock = { 0 };

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ld_process_lock(&lock, 0), 0);
		assert_true(lock.owner == ld_process_generation());
		ld_process_unlock(&lock);
		assert_true(lock.owner == 0);
	}
}

static void test_held_lock_gives_up_after_its_time(void **state)
{
	struct ld_process_lock lock = { 0 };
	int64_t start;

	(void)state;
	assert_int_equal(ld_process_lock(&lock, 0), 0);
	assert_int_equal(ld_process_lock(&lock, 0), -1);
	assert_int_equal(ld_process_lock(&lock, -1), -1);
	start = child_now_ms();
	assert_int_equal(ld_process_lock(&lock, 50), -1);
	assert_in_range(child_now_ms() - start, 49, 10000);
	ld_process_unlock(&lock);
	assert_int_equal(ld_process_lock(&lock, 0), 0);
	ld_process_unlock(&lock);
}

struct waiter {
	struct ld_process_lock lock;
	int result;
	int64_t waited_ms;
};

static void *wait_long(void *arg)
{
	struct waiter *waiter = arg;
	int64_t start = child_now_ms();

	/* Longer than any limit inside, so that the bound is used too. */
	waiter->result = ld_process_lock(&waiter->lock, INT64_MAX);
	waiter->waited_ms = child_now_ms() - start;
	if (waiter->result == 0)
		ld_process_unlock(&waiter->lock);
	return NULL;
}

static void test_unlock_wakes_each_sleeper(void **state)
{
	struct waiter waiter = { .result = -2 };
	pthread_t threads[THREADS];

	(void)state;
	assert_int_equal(ld_process_lock(&waiter.lock, 0), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_long, &waiter), 0);
	assert_true(CHILD_POLL(atomic_load(&waiter.lock.wait) == 1));
	ld_process_unlock(&waiter.lock);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(waiter.result, 0);
	assert_true(waiter.lock.owner == 0);
}

struct counter {
	struct ld_process_lock lock;
	uint64_t count;         /* under the lock, and not atomic */
	_Atomic int late;
};

static void *count_under_lock(void *arg)
{
	struct counter *counter = arg;

	for (int i = 0; i < ROUNDS; i++) {
		if (ld_process_lock(&counter->lock, 60000) != 0) {
			atomic_fetch_add(&counter->late, 1);
			continue;
		}
		counter->count++;
		ld_process_unlock(&counter->lock);
	}
	return NULL;
}

static int count_with_threads(struct counter *counter)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		if (pthread_create(&threads[i], NULL, count_under_lock, counter) != 0)
			return -1;
	}
	for (int i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	return counter->late == 0 && counter->count == (uint64_t)THREADS * ROUNDS ? 0 : -1;
}

static void test_lock_excludes(void **state)
{
	struct counter counter = { .count = 0 };

	(void)state;
	assert_int_equal(count_with_threads(&counter), 0);
}

struct holder {
	struct counter counter;
	pthread_barrier_t held, release;
};

static void *hold(void *arg)
{
	struct holder *holder = arg;

	if (ld_process_lock(&holder->counter.lock, 1000) != 0)
		return arg;
	(void)pthread_barrier_wait(&holder->held);
	(void)pthread_barrier_wait(&holder->release);
	ld_process_unlock(&holder->counter.lock);
	return NULL;
}

/* The holder is a thread of the parent: here it does not exist. */
static void take_over(void *arg)
{
	struct holder *holder = arg;

	CHILD_CHECK(ld_process_lock(&holder->counter.lock, 0) == 0);
	CHILD_CHECK(holder->counter.lock.owner == ld_process_generation());
	CHILD_CHECK(ld_process_lock(&holder->counter.lock, 10) == -1);
	ld_process_unlock(&holder->counter.lock);
}

/* All threads of the child try at once, and still exclude each other. */
static void take_over_with_threads(void *arg)
{
	if (!UNDER_THREAD_SANITIZER)
		CHILD_CHECK(count_with_threads(&((struct holder *)arg)->counter) == 0);
}

static void take_over_in_grandchild(void *arg)
{
	CHILD_CHECK(child_run(take_over, arg) == 0);
}

static void test_lock_held_at_fork_is_taken_over(void **state)
{
	static struct holder holder;
	pthread_t thread;
	void *failed = NULL;

	(void)state;
	(void)pthread_barrier_init(&holder.held, NULL, 2);
	(void)pthread_barrier_init(&holder.release, NULL, 2);
	assert_int_equal(pthread_create(&thread, NULL, hold, &holder), 0);
	(void)pthread_barrier_wait(&holder.held);
	assert_int_equal(child_run(take_over, &holder), 0);
	assert_int_equal(child_run(take_over_in_grandchild, &holder), 0);
	assert_int_equal(child_run(take_over_with_threads, &holder), 0);
	assert_int_equal(ld_process_lock(&holder.counter.lock, 0), -1);
	(void)pthread_barrier_wait(&holder.release);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	assert_int_equal(ld_process_lock(&holder.counter.lock, 1000), 0);
	ld_process_unlock(&holder.counter.lock);
	(void)pthread_barrier_destroy(&holder.held);
	(void)pthread_barrier_destroy(&holder.release);
}

static void test_start_time(void **state)
{
	uint64_t mine = ld_process_start_time((int)getpid());

	(void)state;
	assert_true(mine > 0);
	assert_true(mine == ld_process_start_time((int)getpid()));
	assert_true(ld_process_start_time((int)getppid()) <= mine || getppid() == 0);
	assert_true(ld_process_start_time(0) == 0);
	assert_true(ld_process_start_time(-1) == 0);
	assert_true(ld_process_start_time(INT_MAX) == 0);
}

static void be_stopped(void *arg)
{
	(void)arg;
	/* A name made to mislead whoever looks for the first bracket. */
	(void)prctl(PR_SET_NAME, ") R 1 (x y) Z");
	(void)raise(SIGSTOP);
}

static void test_state_and_start_time_of_another(void **state)
{
	pid_t pid = child_start(be_stopped, NULL);
	int status = 0;
	siginfo_t info;
	uint64_t start;

	(void)state;
	assert_int_equal(ld_process_state((int)getpid()), 'R');
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	assert_true(CHILD_POLL(ld_process_state((int)pid) == 'T'));
	start = ld_process_start_time((int)pid);
	assert_true(start >= ld_process_start_time((int)getpid()));
	assert_int_equal(kill(pid, SIGCONT), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(ld_process_state((int)pid), 'Z');
	assert_true(ld_process_start_time((int)pid) == start);
	assert_int_equal(child_end(pid), 0);
	assert_int_equal(ld_process_state(0), '\0');
	assert_int_equal(ld_process_state(INT_MAX), '\0');
}

static void test_namespaces(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat("/proc/self/ns/pid", &st), 0);
	assert_true(ld_process_namespace("pid") == (uint64_t)st.st_ino);
	assert_true(ld_process_namespace("pid") != 0);
	if (stat("/proc/self/ns/time", &st) == 0)
		assert_true(ld_process_namespace("time") == (uint64_t)st.st_ino);
	assert_true(ld_process_namespace("nonesuch") == 0);
}

static void test_futex_returns_at_once_when_the_word_differs(void **state)
{
	_Atomic uint32_t word = 5;
	int64_t start = child_now_ms();

	(void)state;
	ld_futex_wait(&word, 4, 3600000);
	assert_in_range(child_now_ms() - start, 0, 60000);
	ld_futex_wake(&word, 1);
}

static void test_futex_wait_ends_by_itself(void **state)
{
	_Atomic uint32_t word = 5;
	int64_t start = child_now_ms();

	(void)state;
	/* One long wait may return early, spuriously; so may not all of them. */
	for (int i = 0; i < 20; i++)
		ld_futex_wait(&word, 5, 5);
	assert_in_range(child_now_ms() - start, 20, 60000);
	start = child_now_ms();
	ld_futex_wait(&word, 5, 0);
	ld_futex_wait(&word, 5, INT64_MIN);
	assert_in_range(child_now_ms() - start, 0, 60000);
}

static void sleep_on_word(void *arg)
{
	_Atomic uint32_t *words = arg;

	atomic_fetch_add(&words[1], 1);
	while (atomic_load(&words[0]) == 0)
		ld_futex_wait(&words[0], 0, INT64_MAX);
}

static void test_futex_wakes_other_processes(void **state)
{
	_Atomic uint32_t *words = child_share(4096);
	pid_t pids[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		pids[i] = child_start(sleep_on_word, (void *)words);
	assert_true(CHILD_POLL(atomic_load(&words[1]) == 3));
	for (int i = 0; i < 3; i++)
		assert_true(CHILD_POLL(ld_process_state((int)pids[i]) == 'S'));
	atomic_store(&words[0], 1);
	ld_futex_wake(&words[0], INT_MAX);
	for (int i = 0; i < 3; i++)
		assert_int_equal(child_end(pids[i]), 0);
	(void)munmap((void *)words, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef LARDER_FAULTS
		cmocka_unit_test(test_without_wiped_pages_relatives_differ_too),
#endif
		cmocka_unit_test(test_relatives_differ),
		cmocka_unit_test(test_raw_clone_is_seen),
		cmocka_unit_test(test_threads_share_a_number),
		cmocka_unit_test(test_lock_and_unlock),
		cmocka_unit_test(test_held_lock_gives_up_after_its_time),
		cmocka_unit_test(test_unlock_wakes_each_sleeper),
		cmocka_unit_test(test_lock_excludes),
		cmocka_unit_test(test_lock_held_at_fork_is_taken_over),
		cmocka_unit_test(test_start_time),
		cmocka_unit_test(test_state_and_start_time_of_another),
		cmocka_unit_test(test_namespaces),
		cmocka_unit_test(test_futex_returns_at_once_when_the_word_differs),
		cmocka_unit_test(test_futex_wait_ends_by_itself),
		cmocka_unit_test(test_futex_wakes_other_processes),
	};

	return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
