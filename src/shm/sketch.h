/* SPDX-License-Identifier: MIT */
/**
 * How often was a key used, roughly? A count-min sketch (Cormode and Muthukrishnan 2005) of 4-bit counters that is halved now and
 * then (TinyLFU: Einziger, Friedman, Manes 2017). The four counters of a key lie in one cache line.
 *
 * Bumped by compare-and-swap, saturating: a plain add would carry into the neighbour. A bump that loses a race is dropped after one more
 * try: the sketch is an estimate.
 */
#ifndef LD_SHM_SKETCH_H
#define LD_SHM_SKETCH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { LD_SKETCH_LINE_WORDS = 8, LD_SKETCH_MAX = 15 };

/** A view of a sketch; words has (line_mask + 1) * LD_SKETCH_LINE_WORDS of them, 64-aligned. */
struct ld_sketch {
	_Atomic uint64_t *words;
	uint64_t line_mask;
};

/** Lines for a capacity in entries: 16 bytes an entry, a power of two. */
uint64_t ld_sketch_lines(uint64_t capacity);

/** Ask for the line of a key, which ld_sketch_bump() will write soon. */
static inline void ld_sketch_prefetch(const struct ld_sketch *sketch, const unsigned char *digest)
{
	uint64_t where;

	memcpy(&where, digest, sizeof(where));
	__builtin_prefetch((const void *)(sketch->words + (where & sketch->line_mask) * LD_SKETCH_LINE_WORDS), 1);
}

/** Note an access. digest: 16 uniform bytes or more. */
void ld_sketch_bump(const struct ld_sketch *sketch, const unsigned char *digest);

/** 0..LD_SKETCH_MAX. */
unsigned ld_sketch_estimate(const struct ld_sketch *sketch, const unsigned char *digest);

/** Halve the counters of `lines` lines from line `from`; stops at the end. Returns the next line to do, 0 when the end was reached. */
uint64_t ld_sketch_halve(const struct ld_sketch *sketch, uint64_t from, uint64_t lines);

#endif
