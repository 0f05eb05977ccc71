/* SPDX-License-Identifier: MIT */
/*
 * The only file that reads a clock. Called by cache/, l1/ and the log; everything below them is handed `now`. It must never
 * be slow: both clocks come from the vDSO. In the build with fault points the plan's shifts are added here and nowhere else.
 */
#include "base/clock.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"
#define MS_PER_S 1000
#define NS_PER_MS 1000000
#define NS_PER_S 1000000000

#ifdef LARDER_FAULTS
static int64_t boot_shift_ms(void)
{
	struct ld_fault_plan *plan = ld_fault_current();

	return plan == NULL ? 0 : atomic_load_explicit(&plan->boot_shift_ms, memory_order_relaxed);
}

static int64_t wall_shift_ms(void)
{
	struct ld_fault_plan *plan = ld_fault_current();

	return plan == NULL ? 0 : atomic_load_explicit(&plan->wall_shift_ms, memory_order_relaxed);
}
#else
#define boot_shift_ms() INT64_C(0)
#define wall_shift_ms() INT64_C(0)
#endif

int64_t ld_clock_boot_ms(void)
{
	struct timespec now = { 0, 0 };

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * MS_PER_S + now.tv_nsec / NS_PER_MS + boot_shift_ms();
}

int64_t ld_clock_boot_ns(void)
{
	struct timespec now = { 0, 0 };

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec + boot_shift_ms() * NS_PER_MS;
}

int64_t ld_clock_coarse_ms(void)
{
	struct timespec now = { 0, 0 };

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64_t)now.tv_sec * MS_PER_S + now.tv_nsec / NS_PER_MS + boot_shift_ms();
}

int64_t ld_clock_wall_ms(void)
{
	struct timespec now = { 0, 0 };

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * MS_PER_S + now.tv_nsec / NS_PER_MS + wall_shift_ms();
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* "01234567-89ab-cdef-0123-456789abcdef": hyphens are skipped, anything else that is no digit is an error. */
static int parse_boot_id(const char *text, size_t len, unsigned char ret_id[16])
{
	size_t digits = 0;

	for (size_t i = 0; i < len && digits < 32; i++) {
		int value = hex_digit(text[i]);

		if (text[i] == '-')
			continue;
		if (value < 0)
			return -1;
		ret_id[digits / 2] = (unsigned char)(digits % 2 == 0 ? value << 4 : ret_id[digits / 2] | value);
		digits++;
	}
	return digits == 32 ? 0 : -1;
}

int ld_clock_boot_id(unsigned char ret_id[16])
{
	char text[64];
	unsigned char id[16];
	ssize_t got;
	int fd = open(BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	got = read(fd, text, sizeof(text));
	(void)close(fd);
	if (got < 0 || parse_boot_id(text, (size_t)got, id) != 0)
		return -1;
	memcpy(ret_id, id, sizeof(id));
	return 0;
}
