/* SPDX-License-Identifier: MIT */
/**
 * Named points at which a test can kill, stop or fail the process. Each source is built twice: as shipped, where a point is
 * the constant 0 and leaves no code, and with LARDER_FAULTS, where a point asks a plan in memory that the test shares with its
 * children. base/fault.def names every point once, so that a test can go through all of them.
 *
 * Use:  if (LD_FAULT(set_before_commit)) ...         the value is 0, or an errno to act as if the next line had failed
 *       LD_POINT(set_after_commit);                  a point where only kill and stop make sense
 */
#ifndef LD_BASE_FAULT_H
#define LD_BASE_FAULT_H

#include <stdatomic.h>
#include <stdint.h>

enum ld_fault_point {
#define LD_FAULT_ROW(name, text) LD_FAULT_##name,
#include "base/fault.def"
#undef LD_FAULT_ROW
	LD_FAULT_POINTS
};

enum ld_fault_action {
	LD_FAULT_NOTHING = 0,
	LD_FAULT_KILL,          /* SIGKILL to ourselves */
	LD_FAULT_STOP,          /* SIGSTOP to ourselves */
	LD_FAULT_ERROR          /* the point returns plan->error */
};

/**
 * The plan: all zero means no fault. Made by a test in MAP_SHARED memory before it forks. Any process writes it, every process reads
 * it. `countdown` passes are let through first; the pass that takes it from 1 to 0 acts, once. `pid` 0 is any process.
 */
struct ld_fault_plan {
	_Atomic int64_t boot_shift_ms;
	_Atomic int64_t wall_shift_ms;
	_Atomic uint32_t point;      /* enum ld_fault_point */
	_Atomic uint32_t action;     /* enum ld_fault_action */
	_Atomic int32_t error;
	_Atomic int32_t pid;
	_Atomic int64_t countdown;
	_Atomic uint64_t acted;      /* times it acted */
	_Atomic int64_t alloc_countdown; /* the allocation that takes it from 1 to 0 fails; 0 = none */
	_Atomic uint64_t alloc_failed; /* allocations that it has failed */
	_Atomic uint64_t passed[LD_FAULT_POINTS]; /* passes of each point */
};

#ifdef LARDER_FAULTS
/** Use this plan from now on, and in children; NULL = none. */
void ld_fault_use(struct ld_fault_plan *plan);
struct ld_fault_plan *ld_fault_current(void);
int ld_fault_pass(enum ld_fault_point point);
/** A point's name, its text. */
const char *ld_fault_name(enum ld_fault_point point);
#define LD_FAULT(name) ld_fault_pass(LD_FAULT_##name)
#else
#define LD_FAULT(name) 0
#endif
#define LD_POINT(name) ((void)LD_FAULT(name))

#endif
