/* SPDX-License-Identifier: MIT */
/**
 * Futex waits on words in shared memory: never PRIVATE, always timed (DESIGN decision 14).
 */
#ifndef LD_BASE_FUTEX_H
#define LD_BASE_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

/** Sleep while *word == expected, for at most wait_ms (>= 1). Returns at once when it differs; spurious returns happen. */
void ld_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t wait_ms);
/** Wake up to count sleepers. */
void ld_futex_wake(_Atomic uint32_t *word, int count);

#endif
