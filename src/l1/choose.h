/* SPDX-License-Identifier: MIT */
/**
 * Which entries to evict: the one place that decides it. Pure: a window of candidates in, the victims first out. Quality was
 * simulated over 33 traces (DESIGN decision 25).
 */
#ifndef LD_L1_CHOOSE_H
#define LD_L1_CHOOSE_H

#include <stddef.h>
#include <stdint.h>

#include "l1/entry.h"

struct ld_candidate {
	unsigned char key[LD_KEY_MAX];
	uint8_t key_len;
	uint8_t estimate;        /* of the access sketch */
	uint8_t dead;            /* nobody can read it any more: always a victim, never counted as evicted */
	uint8_t gone;            /* the caller's: it was removed */
	uint64_t seq;            /* write transaction: larger is newer */
	uint32_t pages;          /* that go with it */
};

/** Entries removed at once for a capacity in entries: a thousandth, 1..256. */
unsigned ld_choose_batch(uint64_t capacity);
/** Candidates to look at for a batch. */
size_t ld_choose_window(unsigned batch);

/**
 * Put up to `batch` victims first: the dead, then those with the lowest estimates, newest first among equals; the newest 5 % of the
 * window are left alone. Reorders the array. Returns how many victims.
 */
size_t ld_choose(struct ld_candidate *window, size_t count, unsigned batch);

#endif
