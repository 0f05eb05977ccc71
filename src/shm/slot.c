/* SPDX-License-Identifier: MIT */
/*
 * Slots: who is attached, and who of them lives. The claim to a slot is a POSIX record lock on its byte of NAME.lock, which the kernel drops
 * when the process ends, however it ends (DESIGN decision 12). The words in the slot only describe its holder.
 *
 *   two processes want one slot       fcntl(F_SETLK) gives the byte to one; the other tries the next.
 *   killed after the lock             the byte is free again; the words are the predecessor's, whose incarnation nobody holds anything under.
 *   killed after the incarnation      as a dead process of that incarnation.
 *   killed at any later line          the slot says live, the lock says dead: the lock is believed.
 * F_GETLK never reports a lock of one's own process, so our own slot is known by its index. A slot with our pid, start time and program image
 * that this copy of the library did not take belongs to a second copy in this process: it must be refused before NAME.lock is opened here,
 * because closing any descriptor of it would drop the first copy's locks.
 */
#include "shm/seg.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <larder/larder.h>

#include "base/fault.h"
#include "base/process.h"

/* number = incarnation << 16 | slot + 1, so that it is never 0 */
static uint32_t slot_of(uint64_t number)
{
	return (uint32_t)(number & 0xffff) - 1;
}

static int second_copy(const struct ld_seg *seg, const struct ld_seg_self *self, uint64_t start_time)
{
	for (uint32_t i = 0; i < seg->h->params.slots; i++) {
		const struct ld_slot *slot = &seg->slots[i];

		if (atomic_load(&slot->live) && atomic_load(&slot->pid) == (int32_t)getpid() && atomic_load(&slot->start_time) == start_time &&
		    atomic_load(&slot->image) == self->image && atomic_load(&slot->copy) != self->copy)
			return 1;
	}
	return 0;
}

static int lock_byte(const struct ld_seg *seg, short type, off_t byte)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return fcntl(seg->lock_fd, F_SETLK, &lock);
}

static void describe(struct ld_seg *seg, const struct ld_seg_self *self, uint64_t start_time, int64_t now_ms)
{
	struct ld_slot *slot = &seg->slots[seg->slot];
	uint32_t incarnation = atomic_load(&slot->incarnation) + 1;

	incarnation = incarnation ? incarnation : 1;
	atomic_store(&slot->live, 0);
	/* From here on whatever the predecessor held belongs to a dead number. */
	atomic_store(&slot->incarnation, incarnation);
	LD_POINT(slot_new_incarnation);
	atomic_store(&slot->pid, (int32_t)getpid());
	atomic_store(&slot->role, self->role);
	atomic_store(&slot->start_time, start_time);
	atomic_store(&slot->image, self->image);
	atomic_store(&slot->copy, self->copy);
	atomic_store(&slot->attached_ms, now_ms);
	atomic_store(&slot->l2_inflight, 0);
	atomic_store(&slot->live, 1);
	seg->incarnation = incarnation;
	seg->self = (uint64_t)incarnation << 16 | (uint64_t)(seg->slot + 1);
}

int ld_seg_second_copy(const struct ld_seg *seg, const struct ld_seg_self *self)
{
	return second_copy(seg, self, ld_process_start_time((int)getpid()));
}

int ld_seg_take_slot(struct ld_seg *seg, const struct ld_seg_self *self, int64_t now_ms)
{
	uint64_t start_time = ld_process_start_time((int)getpid());

	if (lock_byte(seg, F_RDLCK, LD_LOCK_IN_USE) != 0)
		return LARDER_UNAVAILABLE;
	for (uint32_t i = 0; i < seg->h->params.slots; i++) {
		if (lock_byte(seg, F_WRLCK, LD_LOCK_SLOTS + (off_t)i) != 0)
			continue;
		LD_POINT(slot_locked);
		seg->slot = (int32_t)i;
		describe(seg, self, start_time, now_ms);
		return 0;
	}
	return LARDER_UNAVAILABLE;
}

int ld_seg_slot_alive(const struct ld_seg *seg, uint32_t slot)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LD_LOCK_SLOTS + (off_t)slot, .l_len = 1 };

	if ((int32_t)slot == seg->slot)
		return 1;
	/* In doubt it lives: nothing may be taken from a live process. */
	return fcntl(seg->lock_fd, F_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

int ld_seg_alive(const struct ld_seg *seg, uint64_t number)
{
	uint32_t slot = slot_of(number);

	if (number == seg->self)
		return 1;
	if (slot >= seg->h->params.slots || atomic_load(&seg->slots[slot].incarnation) != (uint32_t)(number >> 16))
		return 0;
	return ld_seg_slot_alive(seg, slot);
}

int32_t ld_seg_pid_of(const struct ld_seg *seg, uint64_t number)
{
	uint32_t slot = slot_of(number);

	return number == 0 || slot >= seg->h->params.slots ? 0 : atomic_load(&seg->slots[slot].pid);
}

unsigned ld_seg_clear_slots(struct ld_seg *seg)
{
	unsigned cleared = 0;

	for (uint32_t i = 0; i < seg->h->params.slots; i++) {
		struct ld_slot *slot = &seg->slots[i];
		uint32_t incarnation = atomic_load(&slot->incarnation);

		/* Take its lock for a moment, so that nobody moves in while we mark it. */
		if ((int32_t)i == seg->slot || !atomic_load(&slot->live) || lock_byte(seg, F_WRLCK, LD_LOCK_SLOTS + (off_t)i) != 0)
			continue;
		if (atomic_load(&slot->incarnation) == incarnation && atomic_exchange(&slot->live, 0)) {
			atomic_store_explicit(&slot->pid, 0, memory_order_relaxed);
			cleared++;
		}
		lock_byte(seg, F_UNLCK, LD_LOCK_SLOTS + (off_t)i);
	}
	if (cleared)
		ld_host_count(seg, LD_HC_slots_cleared, cleared);
	return cleared;
}
