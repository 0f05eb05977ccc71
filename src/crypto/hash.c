/* SPDX-License-Identifier: MIT */
/*
 * XXH3, compiled into this file so that nothing of xxhash is exported or linked. Called for checksums and table places, never
 * for keys.
 */
#include "crypto/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t ld_hash64(const void *data, size_t len)
{
	return XXH3_64bits(data, len);
}
