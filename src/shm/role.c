/* SPDX-License-Identifier: MIT */
/*
 * Election of the process that does the background work. Called about twice a second by each process's keeper.
 *
 *   two processes take it at once     one compare-and-swap from the number that both saw; the loser sees the winner.
 *   the holder is killed              its number stays; whoever asks next finds it dead and takes it.
 *   killed between swap and beat      the beat is the predecessor's: the role may be taken again at once, by a third process.
 *   the holder is stopped             no beat for LD_ROLE_SILENT_MS: it is replaced. When it goes on it may finish the transaction it is in,
 *                                     under the writer gate, which nobody took from it; then it finds another number and steps down.
 *   called while it goes to sleep     `wake` is read before `asleep` is set; a call between the two is seen at the next tick.
 */
#include "shm/role.h"

#include "base/futex.h"

int ld_role_hold(struct ld_seg *seg, int64_t now_ms)
{
	struct ld_seg_header *h = seg->h;
	uint64_t holder = atomic_load(&h->evictor);
	int64_t beat = atomic_load_explicit(&h->evictor_beat_ms, memory_order_relaxed);

	if (holder != seg->self) {
		if (holder != 0 && now_ms - beat < LD_ROLE_SILENT_MS && ld_seg_alive(seg, holder))
			return 0;
		if (!atomic_compare_exchange_strong(&h->evictor, &holder, seg->self))
			return 0;
		ld_host_count(seg, LD_HC_evictor_elections, 1);
	}
	atomic_store_explicit(&h->evictor_beat_ms, now_ms, memory_order_relaxed);
	return 1;
}

void ld_role_drop(struct ld_seg *seg)
{
	uint64_t self = seg->self;

	atomic_compare_exchange_strong(&seg->h->evictor, &self, 0);
}

void ld_role_call(struct ld_seg *seg)
{
	struct ld_seg_header *h = seg->h;

	if (!atomic_load_explicit(&h->evictor_asleep, memory_order_relaxed) || !atomic_exchange(&h->evictor_asleep, 0))
		return;
	atomic_fetch_add(&h->evictor_wake, 1);
	ld_futex_wake(&h->evictor_wake, 1);
}

void ld_role_sleep(struct ld_seg *seg, int64_t wait_ms)
{
	struct ld_seg_header *h = seg->h;
	uint32_t seen = atomic_load(&h->evictor_wake);

	atomic_store(&h->evictor_asleep, 1);
	ld_futex_wait(&h->evictor_wake, seen, wait_ms);
	atomic_store(&h->evictor_asleep, 0);
}
