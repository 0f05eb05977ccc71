/* SPDX-License-Identifier: MIT */
/*
 * The retry budget. Earning is done by every first try of every process, taking by the few that failed; it must never block. One word, each
 * change one compare-and-swap:
 *
 *   A, B take the last token      one swap wins, the other looks again and finds none.
 *   A earns while B takes         whoever's swap fails looks again; nothing is earned or taken twice.
 *   killed before, after a swap   not done, or done: at worst a token is paid for a retry that nobody made.
 */
#include "shm/retry.h"

enum { TOKEN = 100 };

void ld_retry_earn(struct ld_retry *retry, uint32_t pct)
{
	uint64_t spent = atomic_load_explicit(&retry->spent, memory_order_relaxed);

	/* relaxed: the word orders nothing */
	while (spent != 0 && !atomic_compare_exchange_weak_explicit(&retry->spent, &spent, spent > pct ? spent - pct : 0, memory_order_relaxed,
	    memory_order_relaxed))
		;
}

int ld_retry_take(struct ld_retry *retry, uint32_t cap)
{
	uint64_t spent = atomic_load_explicit(&retry->spent, memory_order_relaxed);

	do {
		if (spent + TOKEN > (uint64_t)cap * TOKEN)
			return 0;
	} while (!atomic_compare_exchange_weak_explicit(&retry->spent, &spent, spent + TOKEN, memory_order_relaxed, memory_order_relaxed));
	return 1;
}
