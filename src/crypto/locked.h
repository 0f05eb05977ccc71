/* SPDX-License-Identifier: MIT */
/**
 * Memory for secrets: locked against swapping, kept out of core dumps, wiped when freed. Locks do not survive fork: each process
 * calls ld_locked_again() once. A kernel that refuses to lock (RLIMIT_MEMLOCK) is reported, not fatal: the memory is still kept
 * out of dumps and wiped.
 */
#ifndef LD_CRYPTO_LOCKED_H
#define LD_CRYPTO_LOCKED_H

#include <stddef.h>

struct ld_locked;

/** An arena of at least size bytes; NULL when memory is out. ret_locked: 1 if the kernel locked it. */
struct ld_locked *ld_locked_new(size_t size, int *ret_locked);
/** size bytes, 16-aligned, zeroed; NULL when the arena is used up. Thread-safe, lock-free. Freed with the arena only. */
void *ld_locked_take(struct ld_locked *arena, size_t size);
/** Lock again in a child. Returns 1 if locked. */
int ld_locked_again(struct ld_locked *arena);
/** Wipe and free. NULL is allowed. */
void ld_locked_free(struct ld_locked *arena);
/** Wipe, and not optimised away. */
void ld_wipe(void *data, size_t len);

#endif
