/* SPDX-License-Identifier: MIT */
/**
 * ld_hash64() for processors with AVX2; crypto/hash.c calls it where LD_HASH_AVX2 is defined and the processor has it.
 */
#ifndef LD_CRYPTO_HASH_AVX2_H
#define LD_CRYPTO_HASH_AVX2_H

#include <stddef.h>
#include <stdint.h>

/* gcc compiles one file for another processor by a pragma; clang does not know that one. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define LD_HASH_AVX2 1
#endif

uint64_t ld_hash64_avx2(const void *data, size_t len);

#endif
