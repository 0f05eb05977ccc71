/* SPDX-License-Identifier: MIT */
/**
 * Who does the background work: one process of the host at a time, elected. It is a role, not a lock: what the holder does is safe with a
 * second one beside it (each change goes through the writer gate), so a stopped holder may be replaced, and steps down when it goes on.
 */
#ifndef LD_SHM_ROLE_H
#define LD_SHM_ROLE_H

#include "shm/seg.h"

/** A holder that gave no sign of life for this long is replaced although its process lives. */
enum { LD_ROLE_SILENT_MS = 1500 };

/** Have it, keep it, or take it from one who is dead or silent; gives a sign of life. Returns 1 = it is ours, 0 = another's. */
int ld_role_hold(struct ld_seg *seg, int64_t now_ms);
/** Give it back, if it is ours. */
void ld_role_drop(struct ld_seg *seg);
/** Call the holder to work. One load and seldom a futex call. */
void ld_role_call(struct ld_seg *seg);
/** Sleep until called, for at most wait_ms. */
void ld_role_sleep(struct ld_seg *seg, int64_t wait_ms);

#endif
