/* SPDX-License-Identifier: MIT */
/**
 * The reason behind a LARDER_UNAVAILABLE, kept for each thread until larder_reason() asks for it. The public functions of the
 * same file (larder_strerror() and its like) are declared in <larder/larder.h>.
 */
#ifndef LD_BASE_ERRORS_H
#define LD_BASE_ERRORS_H

#include <larder/larder.h>

/** What larder_reason() of this thread returns from now on; LARDER_REASON_NONE forgets. Threads: any, each has its own. */
void ld_reason_set(enum larder_reason reason);
/** What larder_retry_after() of this thread returns from now on: 0 forgets. Every data call begins with that (cache/call.c). */
void ld_retry_after_set(int64_t retry_after_ms);
/** The same if it is longer: for each of the keys of one call. */
void ld_retry_after_raise(int64_t retry_after_ms);

#endif
