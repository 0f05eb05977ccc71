/* SPDX-License-Identifier: MIT */
/**
 * Which process is this? A number that differs between a process and each of its forked children, for one memory load a call, and
 * a lock that a child may find locked by a thread which it does not have.
 *
 * The number lives in a page that the kernel wipes in the child (MADV_WIPEONFORK, Linux 4.14), so that raw clone() is seen too;
 * where that is refused, pthread_atfork() wipes it.
 */
#ifndef LD_BASE_PROCESS_H
#define LD_BASE_PROCESS_H

#include <stdatomic.h>
#include <stdint.h>

/** Never 0. The same in all threads of a process, another one in every child. Thread-safe, async-signal-safe after the first call. */
uint64_t ld_process_generation(void);

/**
 * A lock inside one process that survives fork: the word holds the generation of the process that locked it; a child that finds
 * its parent's generation in it takes it over, for the holder does not exist here. Zeroed = free.
 */
struct ld_process_lock {
	_Atomic uint64_t owner;     /* generation of the locking process; 0 = free */
	_Atomic uint32_t wait;      /* futex, private to the process */
	uint32_t reserved;
};

/** Wait for at most budget_ms. Returns 0, or -1 when the time is over. Not recursive. */
int ld_process_lock(struct ld_process_lock *lock, int64_t budget_ms);
void ld_process_unlock(struct ld_process_lock *lock);

/** Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat); 0 when there is no such process. */
uint64_t ld_process_start_time(int pid);
/** 'R', 'S', 'T', ... of a process; 0 when there is none. */
char ld_process_state(int pid);
/** Inode of a namespace of this process, "pid" or "time"; 0 when it cannot be read. */
uint64_t ld_process_namespace(const char *kind);

#endif
