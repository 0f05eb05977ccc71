/* SPDX-License-Identifier: MIT */
/*
 * The access sketch: written by every hit and every insert of every process, read by whoever evicts. It must never block, and it may be torn
 * at any instruction: each word is whole by itself and means nothing together with another.
 *
 * A word is sixteen 4-bit counters. A line is 8 words; row i of a key (i = 0..3) is one of the 32 counters of words 2i and 2i + 1, so the four
 * are always different counters.
 */
#include "shm/sketch.h"

#include <string.h>

#define HALF_MASK UINT64_C(0x7777777777777777)

uint64_t ld_sketch_lines(uint64_t capacity)
{
	uint64_t lines = 16;

	while (lines * 64 < capacity * 16)
		lines *= 2;
	return lines;
}

/* The key's word of row i, and the shift of its counter there. */
static _Atomic uint64_t *locate(_Atomic uint64_t *line, uint64_t bits, unsigned row, unsigned *ret_shift)
{
	uint64_t mine = bits >> (row * 5);

	*ret_shift = (unsigned)(mine & 15) * 4;
	return line + row * 2 + ((mine >> 4) & 1);
}

static _Atomic uint64_t *line_of(const struct ld_sketch *sketch, const unsigned char *digest, uint64_t *ret_bits)
{
	uint64_t where;

	memcpy(&where, digest, sizeof(where));
	memcpy(ret_bits, digest + 8, sizeof(*ret_bits));
	return sketch->words + (where & sketch->line_mask) * LD_SKETCH_LINE_WORDS;
}

void ld_sketch_bump(const struct ld_sketch *sketch, const unsigned char *digest)
{
	uint64_t bits;
	_Atomic uint64_t *line = line_of(sketch, digest, &bits);

	for (unsigned row = 0; row < 4; row++) {
		unsigned shift;
		_Atomic uint64_t *word = locate(line, bits, row, &shift);
		uint64_t old = atomic_load_explicit(word, memory_order_relaxed);

		for (int tries = 0; tries < 2 && ((old >> shift) & 15) != LD_SKETCH_MAX; tries++)
			/* relaxed: the counters order nothing */
			if (atomic_compare_exchange_weak_explicit(word, &old, old + (UINT64_C(1) << shift), memory_order_relaxed,
			    memory_order_relaxed))
				break;
	}
}

unsigned ld_sketch_estimate(const struct ld_sketch *sketch, const unsigned char *digest)
{
	uint64_t bits;
	_Atomic uint64_t *line = line_of(sketch, digest, &bits);
	unsigned least = LD_SKETCH_MAX;

	for (unsigned row = 0; row < 4; row++) {
		unsigned shift, count;
		_Atomic uint64_t *word = locate(line, bits, row, &shift);

		count = (unsigned)(atomic_load_explicit(word, memory_order_relaxed) >> shift) & 15;
		if (count < least)
			least = count;
	}
	return least;
}

uint64_t ld_sketch_halve(const struct ld_sketch *sketch, uint64_t from, uint64_t lines)
{
	uint64_t end = sketch->line_mask + 1;
	uint64_t to = lines < end - from ? from + lines : end;

	for (uint64_t i = from * LD_SKETCH_LINE_WORDS; i < to * LD_SKETCH_LINE_WORDS; i++) {
		uint64_t old = atomic_load_explicit(&sketch->words[i], memory_order_relaxed);

		while (old != 0 && !atomic_compare_exchange_weak_explicit(&sketch->words[i], &old, (old >> 1) & HALF_MASK,
		    memory_order_relaxed, memory_order_relaxed))
			;
	}
	return to == end ? 0 : to;
}
