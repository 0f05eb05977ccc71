/* SPDX-License-Identifier: MIT */
/**
 * Values that can be checked without having been kept: length and bytes are functions of the key, and the bytes of the length
 * too. So a value that belongs to another key, is cut, or has a bit turned is found out, and values from an earlier run with
 * other lengths are still right ones.
 */
#ifndef LARDER_TOOL_REPLAY_VALUE_H
#define LARDER_TOOL_REPLAY_VALUE_H

#include <stddef.h>
#include <stdint.h>

/** Longest value of any distribution. */
#define REPLAY_VALUE_MAX ((uint64_t)1 << 30)

enum replay_size_kind { REPLAY_SIZE_FIXED, REPLAY_SIZE_UNIFORM, REPLAY_SIZE_LOGNORMAL };

/** How long values are. */
struct replay_sizes {
	enum replay_size_kind kind;
	uint64_t low, high;       /* FIXED: equal; others: bounds, inclusive */
	double mean, sigma;       /* LOGNORMAL: mean in bytes, sigma of the logarithm */
};

/**
 * Read "512", "4K", "uniform:16-4K" or "lognormal:MEAN,SIGMA" (sigma 0..4; cut at 1 byte and at 1,000 times the mean).
 *
 * Returns   0; -1 it is none of these, or out of bounds
 */
int replay_sizes_parse(const char *text, struct replay_sizes *ret_sizes);

/** The number that stands for a key; the same for the same bytes on every host and in every run. */
uint64_t replay_value_seed(const char *name, size_t name_len);

/** The length of a key's value. */
size_t replay_value_len(const struct replay_sizes *sizes, uint64_t seed);

/** Write the value of a key at a length. */
void replay_value_fill(uint64_t seed, void *data, size_t len);

/** Are these bytes, all of them, a value of this key? 1 or 0. */
int replay_value_is_right(uint64_t seed, const void *data, size_t len);

#endif
