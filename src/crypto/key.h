/* SPDX-License-Identifier: MIT */
/**
 * Key derivation: HMAC-SHA-256 (RFC 2104) over an unambiguous encoding of (tenant, space, name):
 *
 *     block 1 (64 bytes)  length of the tenant, the tenant, zeros
 *     block 2 (64 bytes)  length of the space, the space, zeros
 *     the rest            the name, as it is; HMAC's own padding ends it
 *
 * Both blocks are whole SHA-256 blocks, so the inner state after them is computed once for each (tenant, space); a key then costs
 * the name's blocks and one outer block: about 100 ns, where one-shot HMAC() takes 1,040 to 1,400 and a re-initialised EVP_MAC 200.
 * That is why the low-level SHA256_* calls are used although OpenSSL 3 marks them deprecated.
 *
 * States are as good as the secret: they live in locked memory (crypto/locked.h).
 */
#ifndef LD_CRYPTO_KEY_H
#define LD_CRYPTO_KEY_H

#include <stddef.h>
#include <stdint.h>

/** Inner and outer midstates for one (tenant, space). 64 bytes. */
struct ld_key_state {
	uint32_t inner[8];
	uint32_t outer[8];
};

/**
 * secret 32 bytes or more; tenant and space are checked already (1..63, 1..31 bytes). Blocks: no. Never fails.
 */
void ld_key_prepare(const unsigned char *secret, size_t secret_len, const char *tenant, const char *space,
    struct ld_key_state *ret_state);

/** name 1..LARDER_NAME_MAX bytes. Leaves nothing of the state on the stack. */
void ld_key_derive(const struct ld_key_state *state, const void *name, size_t name_len, unsigned char ret_digest[32]);

/** SHA-256 of some bytes; for identities, not for keys. */
void ld_key_sha256(const void *data, size_t len, unsigned char ret_digest[32]);

/** Fill with random bytes. Returns 0, or -1. */
int ld_key_random(void *data, size_t len);

#endif
