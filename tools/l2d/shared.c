/* SPDX-License-Identifier: MIT */
/*
 * The mapping that the processes of a service share (shared.h).
 *
 *     master   life: 0 -> 1   fork                 waitpid  life: 1 -> 2      life: 2 -> 3   fork
 *     worker                  counts, life is 1    killed                                    counts on, life is 3
 *     another                                 asks after life 1: lives until the master has waited for it
 *
 * The answer "over" is thus never early; it is late by the time that the master takes to wait for its child. If the master dies, its workers
 * die with it, and the next run has another number.
 */
#include "shared.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "value.h"

const uint16_t l2d_statuses[L2D_STATUSES] = { 0, 200, 201, 204, 304, 400, 401, 404, 405, 411, 413, 415, 429, 500, 503, 409 };

struct l2d_shared *l2d_shared_make(unsigned slots)
{
	size_t size = sizeof(struct l2d_shared) + slots * sizeof(struct l2d_slot);
	void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct l2d_shared *shared = mapped;

	if (mapped == MAP_FAILED)
		return NULL;
	shared->slots = slots;
	if (getrandom(&shared->run, sizeof(shared->run), 0) != (ssize_t)sizeof(shared->run)) {
		munmap(mapped, size);
		return NULL;
	}
	return shared;
}

void l2d_add(_Atomic uint64_t *counter, uint64_t more)
{
	/* Relaxed, load and store: this process is the only writer, and readers want no order. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

void l2d_count(struct l2d_slot *slot, enum l2d_method method, unsigned status, uint64_t bytes_out)
{
	unsigned row = L2D_STATUSES - 1;

	while (row > 0 && l2d_statuses[row] != status)
		row--;
	l2d_add(&slot->requests[method][row], 1);
	l2d_add(&slot->bytes_out, bytes_out);
}

int l2d_is_over(const struct l2d_shared *shared, uint64_t run, uint32_t slot, uint64_t life)
{
	if (run != shared->run || slot >= shared->slots)
		return 1;
	/* Acquire; pairs with the release in the master's waiting for its child. */
	return atomic_load_explicit(&shared->slot[slot].life, memory_order_acquire) != life;
}
