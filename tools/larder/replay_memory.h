/* SPDX-License-Identifier: MIT */
/**
 * How much memory a process has for itself alone.
 */
#ifndef LARDER_TOOL_REPLAY_MEMORY_H
#define LARDER_TOOL_REPLAY_MEMORY_H

#include <stdint.h>
#include <stdio.h>

/**
 * Sum Private_Clean and Private_Dirty over the private mappings of a file in the format of /proc/PID/smaps.
 *
 * The sums of smaps_rollup would not do: the kernel calls a page of a shared mapping "private" while only one process has
 * touched it, so that the cache itself would be counted as the first worker's. Pages inherited by fork and not written since,
 * the trace among them, are in the master too, and are not private by the kernel's own account.
 *
 * Returns   bytes
 */
uint64_t replay_memory_sum(FILE *smaps);

/** The same for this process; 0 when the kernel does not tell. */
uint64_t replay_memory_own(void);

#endif
