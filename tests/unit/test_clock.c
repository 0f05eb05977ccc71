/* SPDX-License-Identifier: MIT */
/*
 * base/clock: the clocks agree with the kernel's, do not run backwards, and are shifted by the plan in the build with fault
 * points.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fault.h"

static int64_t kernel_ns(clockid_t clock)
{
	struct timespec now;

	assert_int_equal(clock_gettime(clock, &now), 0);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void test_boot_clock_lies_between_two_looks_at_the_kernels(void **state)
{
	int64_t before = kernel_ns(CLOCK_BOOTTIME);
	int64_t ns = ld_clock_boot_ns();
	int64_t ms = ld_clock_boot_ms();
	int64_t after = kernel_ns(CLOCK_BOOTTIME);

	(void)state;
	assert_true(before <= ns && ns <= after);
	assert_true(ns / 1000000 <= ms && ms <= after / 1000000);
}

static void test_wall_clock_lies_between_two_looks_at_the_kernels(void **state)
{
	int64_t before = kernel_ns(CLOCK_REALTIME) / 1000000;
	int64_t ms = ld_clock_wall_ms();

	(void)state;
	assert_true(before <= ms && ms <= kernel_ns(CLOCK_REALTIME) / 1000000);
}

static void test_boot_clock_never_runs_backwards(void **state)
{
	int64_t last = ld_clock_boot_ns();

	(void)state;
	for (int i = 0; i < 100000; i++) {
		int64_t now = ld_clock_boot_ns();

		assert_true(now >= last);
		last = now;
	}
}

static void test_boot_id_is_the_kernels(void **state)
{
	unsigned char id[16], again[16];
	char text[40] = "", mine[40];
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");

	(void)state;
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	(void)fclose(file);
	text[36] = '\0';
	assert_int_equal(ld_clock_boot_id(id), 0);
	(void)snprintf(mine, sizeof(mine), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", id[0], id[1],
	    id[2], id[3], id[4], id[5], id[6], id[7], id[8], id[9], id[10], id[11], id[12], id[13], id[14], id[15]);
	assert_string_equal(mine, text);
	assert_int_equal(ld_clock_boot_id(again), 0);
	assert_memory_equal(id, again, 16);
}

#ifdef LARDER_FAULTS
static void test_plan_shifts_both_clocks_each_by_its_own(void **state)
{
	struct ld_fault_plan plan = { 0 };
	int64_t boot = ld_clock_boot_ms(), ns = ld_clock_boot_ns(), wall = ld_clock_wall_ms();

	(void)state;
	ld_fault_use(&plan);
	atomic_store(&plan.boot_shift_ms, 3600000);
	atomic_store(&plan.wall_shift_ms, -86400000);
	assert_in_range(ld_clock_boot_ms() - boot, 3600000, 3660000);
	assert_in_range((ld_clock_boot_ns() - ns) / 1000000, 3600000, 3660000);
	assert_in_range(ld_clock_wall_ms() - wall + 86400000, 0, 60000);
	ld_fault_use(NULL);
	assert_in_range(ld_clock_boot_ms() - boot, 0, 60000);
	assert_in_range(ld_clock_wall_ms() - wall, 0, 60000);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_boot_clock_lies_between_two_looks_at_the_kernels),
		cmocka_unit_test(test_wall_clock_lies_between_two_looks_at_the_kernels),
		cmocka_unit_test(test_boot_clock_never_runs_backwards),
		cmocka_unit_test(test_boot_id_is_the_kernels),
#ifdef LARDER_FAULTS
		cmocka_unit_test(test_plan_shifts_both_clocks_each_by_its_own),
#endif
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
