/* SPDX-License-Identifier: MIT */
/**
 * Values that can be recognised: each says whose it is and which version, and carries a checksum, so that a torn, foreign or old one is
 * noticed wherever it turns up.
 */
#ifndef LARDER_TESTS_LIB_SAMPLE_H
#define LARDER_TESTS_LIB_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

/** The first bytes of a value; smaller ones than this are not made. */
struct sample {
	uint32_t sum;               /* of everything after it, and of the length */
	uint32_t key;               /* whose it is */
	uint64_t version;
};
enum { SAMPLE_MIN = sizeof(struct sample) };

/** Fill len bytes, SAMPLE_MIN or more. */
void sample_fill(void *data, size_t len, uint32_t key, uint64_t version);

/** NULL if it is whole and of this key, with its version; otherwise what is wrong. */
const char *sample_wrong(const void *data, size_t len, uint32_t key, uint64_t *ret_version);

/** A length from min to max, small ones far more often. */
size_t sample_len(uint64_t *random, size_t min, size_t max);

#endif
