/* SPDX-License-Identifier: MIT */
/*
 * Checksums and table hashes by XXH3, from the header-only xxhash. Compiled for the least of processors, and where the compiler can do so a second time
 * for AVX2 (crypto/hash_avx2.c), chosen at run time: the same sums, in half the time for a few hundred bytes and more. Must be cheap: each read goes
 * through it.
 */
#include "crypto/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "crypto/hash_avx2.h"

enum { SHORT_B = 240 };

uint64_t ld_hash64(const void *data, size_t len)
{
#ifdef LD_HASH_AVX2
	/* XXH3 is scalar up to 240 bytes. The builtin reads a variable that libgcc sets at start. */
	if (len > SHORT_B && __builtin_cpu_supports("avx2"))
		return ld_hash64_avx2(data, len);
#endif
	return XXH3_64bits(data, len);
}
