/* SPDX-License-Identifier: MIT */
/**
 * The clocks. Everything that expires counts on CLOCK_BOOTTIME in milliseconds: wall-clock steps do not move it, and it goes
 * on during suspend. Only a caller's hard end is wall clock. Modules below cache/ and l1/ never read a clock: `now` is an argument.
 *
 * In the build with fault points both clocks are shifted by the plan (base/fault.h), which is how tests travel in time.
 */
#ifndef LD_BASE_CLOCK_H
#define LD_BASE_CLOCK_H

#include <stdint.h>

/** Milliseconds since boot, fine; about 25 ns. Never fails. */
int64_t ld_clock_boot_ms(void);
/** Nanoseconds since boot, for measuring. */
int64_t ld_clock_boot_ns(void);
/** Milliseconds of a clock of its own, a kernel's tick coarse, which does not count suspend; about 5 ns. For asking whether it is time to look. */
int64_t ld_clock_coarse_ms(void);
/** Milliseconds since 1970. */
int64_t ld_clock_wall_ms(void);

/** This boot, as 16 bytes from /proc/sys/kernel/random/boot_id. Returns 0, or -1 when it cannot be read. */
int ld_clock_boot_id(unsigned char ret_id[16]);

#endif
