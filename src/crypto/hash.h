/* SPDX-License-Identifier: MIT */
/**
 * A fast 64-bit checksum and table hash (XXH3, header-only xxhash). It protects against accidents, not against forgery.
 */
#ifndef LD_CRYPTO_HASH_H
#define LD_CRYPTO_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t ld_hash64(const void *data, size_t len);

#endif
