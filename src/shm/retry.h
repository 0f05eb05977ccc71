/* SPDX-License-Identifier: MIT */
/**
 * A retry budget: of all calls of the host at most a share may be retries, so that a service in trouble does not get several times its load. Each
 * first try earns a part of a token, up to a cap; each retry takes a whole one. One word. Zeroed = a full budget.
 *
 * Retries are never more than pct % of first tries plus the cap. No locks, never blocks; any process and thread. A process killed at any instruction
 * has earned or taken, or not: nothing is held.
 */
#ifndef LD_SHM_RETRY_H
#define LD_SHM_RETRY_H

#include <stdatomic.h>
#include <stdint.h>

enum { LD_RETRY_PCT = 20, LD_RETRY_CAP = 10 };

/** 8 bytes. What is missing from a full budget, in hundredths of a token. */
struct ld_retry {
	_Atomic uint64_t spent;
};
_Static_assert(sizeof(struct ld_retry) == 8, "layout");

/** A first try is made: earn pct hundredths of a token. While the budget is full this is one load. */
void ld_retry_earn(struct ld_retry *retry, uint32_t pct);

/** May a retry be made? Takes a token of at most `cap`. Returns 1, or 0 when there is no whole one. */
int ld_retry_take(struct ld_retry *retry, uint32_t cap);

#endif
