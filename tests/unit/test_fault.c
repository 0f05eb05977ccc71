/* SPDX-License-Identifier: MIT */
/*
 * base/fault and base/mem: a plan kills, stops or fails exactly the pass it names, once, over all processes; as shipped a point
 * is the constant 0 and allocations are the C library's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/mem.h"
#include "child.h"

static void test_allocations_are_usable(void **state)
{
	char *text = ld_strdup("larder");
	unsigned char *zeros = ld_calloc(16, 4);
	char *more = ld_malloc(8);

	(void)state;
	assert_string_equal(text, "larder");
	for (int i = 0; i < 64; i++)
		assert_int_equal(zeros[i], 0);
	memcpy(more, "1234567", 8);
	more = ld_realloc(more, 4096);
	assert_string_equal(more, "1234567");
	free(text);
	free(zeros);
	free(more);
}

#ifndef LARDER_FAULTS

static void test_point_is_the_constant_nothing(void **state)
{
	_Static_assert(LD_FAULT(none) == 0, "a constant");

	(void)state;
	assert_int_equal(LD_FAULT(none), 0);
	LD_POINT(none);
}

#else

static int setup(void **state)
{
	struct ld_fault_plan *plan = child_share(sizeof(*plan));

	*state = plan;
	ld_fault_use(plan);
	return plan == NULL ? -1 : 0;
}

static int teardown(void **state)
{
	ld_fault_use(NULL);
	return munmap(*state, sizeof(struct ld_fault_plan));
}

static void test_without_a_plan_nothing_happens(void **state)
{
	struct ld_fault_plan *plan = *state;

	assert_ptr_equal(ld_fault_current(), plan);
	plan->point = LD_FAULT_none;
	plan->action = LD_FAULT_ERROR;
	plan->error = EIO;
	plan->countdown = 1;
	ld_fault_use(NULL);
	assert_null(ld_fault_current());
	assert_int_equal(LD_FAULT(none), 0);
	assert_int_equal(plan->passed[LD_FAULT_none], 0);
	assert_int_equal(plan->countdown, 1);
}

static void test_zeroed_plan_only_counts(void **state)
{
	struct ld_fault_plan *plan = *state;

	for (int i = 0; i < 7; i++)
		assert_int_equal(LD_FAULT(none), 0);
	assert_int_equal(plan->passed[LD_FAULT_none], 7);
	assert_int_equal(plan->acted, 0);
}

static void test_error_comes_from_the_third_pass_and_from_no_other(void **state)
{
	struct ld_fault_plan *plan = *state;

	plan->point = LD_FAULT_process_page;
	plan->action = LD_FAULT_ERROR;
	plan->error = ENOSPC;
	plan->countdown = 3;
	for (int i = 1; i <= 10; i++) {
		assert_int_equal(LD_FAULT(none), 0);
		assert_int_equal(LD_FAULT(process_page), i == 3 ? ENOSPC : 0);
	}
	assert_int_equal(plan->acted, 1);
	assert_int_equal(plan->countdown, 0);
	assert_int_equal(plan->passed[LD_FAULT_process_page], 10);
}

static void test_plan_for_another_process_is_not_ours(void **state)
{
	struct ld_fault_plan *plan = *state;

	plan->point = LD_FAULT_none;
	plan->action = LD_FAULT_ERROR;
	plan->error = EIO;
	plan->countdown = 1;
	plan->pid = (int32_t)getppid();
	assert_int_equal(LD_FAULT(none), 0);
	assert_int_equal(plan->countdown, 1);
	plan->pid = (int32_t)getpid();
	assert_int_equal(LD_FAULT(none), EIO);
}

static void pass_twice(void *arg)
{
	struct ld_fault_plan *plan = arg;

	CHILD_CHECK(LD_FAULT(none) == 0);
	atomic_store(&plan->error, 77);
	CHILD_CHECK(LD_FAULT(none) == 0);
	atomic_store(&plan->error, 78);
}

static void test_kill_ends_the_process_at_the_point(void **state)
{
	struct ld_fault_plan *plan = *state;

	plan->point = LD_FAULT_none;
	plan->action = LD_FAULT_KILL;
	plan->countdown = 2;
	assert_int_equal(child_run(pass_twice, plan), 256 + SIGKILL);
	assert_int_equal(plan->error, 77);
	assert_int_equal(plan->acted, 1);
}

static void test_stop_goes_on_when_continued(void **state)
{
	struct ld_fault_plan *plan = *state;
	int status = 0;
	pid_t pid;

	plan->point = LD_FAULT_none;
	plan->action = LD_FAULT_STOP;
	plan->countdown = 2;
	pid = child_start(pass_twice, plan);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(WSTOPSIG(status), SIGSTOP);
	assert_int_equal(plan->error, 77);
	assert_int_equal(kill(pid, SIGCONT), 0);
	assert_int_equal(child_end(pid), 0);
	assert_int_equal(plan->error, 78);
	assert_int_equal(plan->acted, 1);
}

static void pass_often(void *arg)
{
	int failed = 0;

	(void)arg;
	for (int i = 0; i < 5000; i++)
		failed += LD_FAULT(none) == EIO;
	_exit(failed);
}

static void test_one_pass_of_all_processes_acts(void **state)
{
	struct ld_fault_plan *plan = *state;
	pid_t pids[4];
	int failed = 0;

	plan->point = LD_FAULT_none;
	plan->action = LD_FAULT_ERROR;
	plan->error = EIO;
	plan->countdown = 10000;
	for (int i = 0; i < 4; i++)
		pids[i] = child_start(pass_often, NULL);
	for (int i = 0; i < 4; i++)
		failed += child_end(pids[i]);
	assert_int_equal(failed, 1);
	assert_int_equal(plan->acted, 1);
	assert_int_equal(plan->passed[LD_FAULT_none], 20000);
}

static void test_each_point_has_a_name_of_its_own(void **state)
{
	(void)state;
	assert_string_equal(ld_fault_name(LD_FAULT_none), "none");
	assert_string_equal(ld_fault_name(LD_FAULT_POINTS), "unknown");
	for (unsigned i = 0; i < LD_FAULT_POINTS; i++) {
		assert_true(ld_fault_name(i)[0] != '\0');
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(ld_fault_name(i), ld_fault_name(k));
	}
	assert_int_equal(ld_fault_pass(LD_FAULT_POINTS), 0);
}

/* Each allocator in turn as the second of two allocations: refused once, then it works again. */
static void test_chosen_allocation_fails_once(void **state)
{
	struct ld_fault_plan *plan = *state;

	for (int kind = 0; kind < 4; kind++) {
		for (int round = 1; round <= 3; round++) {
			void *memory;

			if (round == 1)
				plan->alloc_countdown = 2;
			errno = 0;
			memory = kind == 0 ? ld_malloc(8) : kind == 1 ? ld_calloc(2, 4) :
			    kind == 2 ? ld_realloc(NULL, 8) : ld_strdup("larder");
			assert_int_equal(memory == NULL, round == 2);
			if (round == 2)
				assert_int_equal(errno, ENOMEM);
			free(memory);
		}
		assert_int_equal(plan->alloc_countdown, 0);
	}
}

static void test_failed_realloc_leaves_the_old_block(void **state)
{
	struct ld_fault_plan *plan = *state;
	char *old = ld_strdup("larder");

	plan->alloc_countdown = 1;
	assert_null(ld_realloc(old, 4096));
	assert_string_equal(old, "larder");
	free(old);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allocations_are_usable),
#ifndef LARDER_FAULTS
		cmocka_unit_test(test_point_is_the_constant_nothing),
#else
#define WITH_PLAN(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
		WITH_PLAN(test_without_a_plan_nothing_happens),
		WITH_PLAN(test_zeroed_plan_only_counts),
		WITH_PLAN(test_error_comes_from_the_third_pass_and_from_no_other),
		WITH_PLAN(test_plan_for_another_process_is_not_ours),
		WITH_PLAN(test_kill_ends_the_process_at_the_point),
		WITH_PLAN(test_stop_goes_on_when_continued),
		WITH_PLAN(test_one_pass_of_all_processes_acts),
		WITH_PLAN(test_each_point_has_a_name_of_its_own),
		WITH_PLAN(test_chosen_allocation_fails_once),
		WITH_PLAN(test_failed_realloc_leaves_the_old_block),
#endif
	};

	return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
