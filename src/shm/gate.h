/* SPDX-License-Identifier: MIT */
/**
 * A gate: a lock in shared memory with a deadline. It stands in front of LMDB's own mutexes and opening locks, none of which can be
 * waited for with a limit (DESIGN decision 5).
 *
 * A gate is never taken from a live holder, however long it is stopped; one of them, at the end of this file, is, by those who know how. From a dead one it is taken by whoever finds it so; what the
 * holder left half done is LMDB's to recover (robust mutex), or is written so that half done is harmless.
 */
#ifndef LD_SHM_GATE_H
#define LD_SHM_GATE_H

#include <stdatomic.h>
#include <stdint.h>

/** 32 bytes in the segment. Zeroed = free. */
struct ld_gate {
	_Atomic uint64_t holder;    /* a holder's number, 0 = free; written by whoever takes or leaves it */
	_Atomic int64_t since_ms;   /* when the holder took it, 0 = not known yet; only a hint */
	_Atomic uint32_t wake;      /* futex word, counts wake-ups */
	_Atomic uint32_t waiting;   /* 1: somebody may sleep on it */
	_Atomic int64_t hungry_ms;  /* when somebody last found that it waits for too long, 0 = nobody; newcomers then stand back */
};
_Static_assert(sizeof(struct ld_gate) == 32, "layout");

/** Who asks: its number (never 0), and how to tell whether another number's process lives. */
struct ld_gate_user {
	uint64_t self;
	int (*alive)(void *ctx, uint64_t holder);
	void *ctx;
};

enum ld_gate_result {
	LD_GATE_TAKEN = 0,
	LD_GATE_TAKEN_OVER = 1,     /* taken from a dead holder */
	LD_GATE_TIMEOUT = -1
};

/**
 * Take it, waiting for at most budget_ms. When the present holder has it for longer than five times that already, it is not waited
 * for at all: the first callers learn that a holder is stopped, the others need not each find out.
 */
enum ld_gate_result ld_gate_take(struct ld_gate *gate, const struct ld_gate_user *user, int64_t budget_ms);

/** Leave it. Only by its holder. */
void ld_gate_leave(struct ld_gate *gate);

/*
 * For a gate whose holders know how to lose it while they live (the drainer's, l1/drain.c), and for no other.
 */
/** Take it from this very holder, who need not be dead. 1 or 0. */
int ld_gate_take_from(struct ld_gate *gate, uint64_t holder, uint64_t self);
/** Leave it if it is still ours. Wakes nobody: for waiters of short sleeps. 1 or 0. */
int ld_gate_leave_own(struct ld_gate *gate, uint64_t self);

#endif
