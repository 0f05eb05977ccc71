/* SPDX-License-Identifier: MIT */
/*
 * Memory for secrets. Called by the opening of a cache and by each process's first call. It must never leave a secret behind:
 * not in a core dump, not in swap, not after free.
 *
 * The mapping is private and inherited: children need the secret, so MADV_WIPEONFORK is not for it. Its own book-keeping is at
 * its start, so that an arena is one mapping:
 *
 *     | struct ld_locked | taken | taken | free ... | to the end of the last page
 */
#include "crypto/locked.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x6c6f636b65642121)
#define ALIGN 16

struct ld_locked {
	uint64_t magic;
	size_t mapped;          /* bytes of the mapping */
	_Atomic size_t used;    /* of those, from its start; a multiple of ALIGN. Written by ld_locked_take() of any thread */
	size_t reserved;
};

_Static_assert(sizeof(struct ld_locked) % ALIGN == 0, "what is taken first is aligned");

static int lock(struct ld_locked *arena)
{
	return mlock(arena, arena->mapped) == 0;
}

struct ld_locked *ld_locked_new(size_t size, int *ret_locked)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t mapped;
	struct ld_locked *arena;

	if (size > SIZE_MAX / 2)
		return NULL;
	mapped = (sizeof(*arena) + size + page - 1) / page * page;
	arena = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena == MAP_FAILED)
		return NULL;
	(void)madvise(arena, mapped, MADV_DONTDUMP);
	arena->magic = MAGIC;
	arena->mapped = mapped;
	atomic_init(&arena->used, sizeof(*arena));
	*ret_locked = lock(arena);
	return arena;
}

void *ld_locked_take(struct ld_locked *arena, size_t size)
{
	size_t used, wanted;

	if (arena->magic != MAGIC || size > arena->mapped)
		return NULL;
	wanted = size == 0 ? ALIGN : (size + ALIGN - 1) / ALIGN * ALIGN;
	/* Relaxed: what is taken belongs to the taker alone, who hands it on by means of its own. */
	used = atomic_load_explicit(&arena->used, memory_order_relaxed);
	do {
		if (wanted > arena->mapped - used)
			return NULL;
	} while (!atomic_compare_exchange_weak_explicit(&arena->used, &used, used + wanted, memory_order_relaxed,
	    memory_order_relaxed));
	return (unsigned char *)arena + used;
}

int ld_locked_again(struct ld_locked *arena)
{
	return arena->magic == MAGIC && lock(arena);
}

void ld_locked_free(struct ld_locked *arena)
{
	size_t mapped;

	if (arena == NULL || arena->magic != MAGIC)
		return;
	mapped = arena->mapped;
	ld_wipe(arena, mapped);
	(void)munmap(arena, mapped);
}

void ld_wipe(void *data, size_t len)
{
	explicit_bzero(data, len);
}
