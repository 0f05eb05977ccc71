/* SPDX-License-Identifier: MIT */
/*
 * XXH3 with AVX2. A file of its own, because the instruction set is that of everything in it: nothing else may be in here, or it would run on
 * processors that lack AVX2.
 */
#include "crypto/hash_avx2.h"

#ifdef LD_HASH_AVX2
#pragma GCC target("avx2")
#define XXH_INLINE_ALL
#define XXH_VECTOR 2 /* XXH_AVX2, which the header has not defined yet */
#include <xxhash.h>

uint64_t ld_hash64_avx2(const void *data, size_t len)
{
	return XXH3_64bits(data, len);
}
#else
typedef int ld_hash_avx2_is_not_built;
#endif
