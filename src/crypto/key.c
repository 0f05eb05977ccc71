/* SPDX-License-Identifier: MIT */
/*
 * Keys from names. ld_key_derive() is called by every data call, so its cost is part of every hit; ld_key_prepare() once for a
 * (tenant, space). Nothing here may allocate, fail, or leave a state or an inner digest on the stack.
 *
 *     inner:  H(ipad) -> block of the tenant -> block of the space -> | midstate | -> name, padding -> digest
 *     outer:  H(opad) ->                                              | midstate | -> digest, padding -> key
 */
/* The low-level calls are deprecated in OpenSSL 3, but nothing else lets us go on from a midstate without an allocation. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "crypto/key.h"

#include <endian.h>
#include <errno.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/random.h>

#include "base/fault.h"
#include "crypto/locked.h"

#define BLOCK SHA256_CBLOCK
#define INNER_BLOCKS 3  /* ipad, tenant, space */
#define OUTER_BLOCKS 1
#define LENGTH_B 8       /* of a message's length in its last block */

_Static_assert(sizeof(struct ld_key_state) == 64, "two SHA-256 states");
_Static_assert(sizeof(((SHA256_CTX *)0)->h) == 32, "a state is copied as it is");

static void absorb_key(SHA256_CTX *context, const unsigned char key[BLOCK], unsigned char pad)
{
	unsigned char block[BLOCK];

	for (size_t i = 0; i < BLOCK; i++)
		block[i] = key[i] ^ pad;
	(void)SHA256_Init(context);
	SHA256_Transform(context, block);
	ld_wipe(block, sizeof(block));
}

/* The length first: no tenant that ends like another's beginning, and no space, can give the same block. */
static void absorb_id(SHA256_CTX *context, const char *id)
{
	unsigned char block[BLOCK] = { 0 };
	size_t len = strnlen(id, BLOCK - 1);

	block[0] = (unsigned char)len;
	memcpy(block + 1, id, len);
	SHA256_Transform(context, block);
}

void ld_key_prepare(const unsigned char *secret, size_t secret_len, const char *tenant, const char *space,
    struct ld_key_state *ret_state)
{
	unsigned char key[BLOCK] = { 0 };
	SHA256_CTX context;

	/* RFC 2104, section 2: a key longer than a block is hashed first. */
	if (secret_len > BLOCK)
		ld_key_sha256(secret, secret_len, key);
	else
		memcpy(key, secret, secret_len);
	absorb_key(&context, key, 0x36);
	absorb_id(&context, tenant);
	absorb_id(&context, space);
	memcpy(ret_state->inner, context.h, sizeof(ret_state->inner));
	absorb_key(&context, key, 0x5c);
	memcpy(ret_state->outer, context.h, sizeof(ret_state->outer));
	ld_wipe(key, sizeof(key));
	ld_wipe(&context, sizeof(context));
}

/* What HMAC's message ends in: its last bytes, a one bit, zeros, and the length in bits with the blocks that came before (FIPS 180-4, 5.1.1). */
static void absorb_end(SHA256_CTX *context, const unsigned char *rest, size_t rest_len, uint64_t total_len)
{
	unsigned char block[BLOCK] = { 0 };

	if (rest_len != 0)
		memcpy(block, rest, rest_len);
	block[rest_len] = 0x80;
	if (rest_len >= BLOCK - LENGTH_B) {
		SHA256_Transform(context, block);
		memset(block, 0, sizeof(block));
	}
	total_len = htobe64(total_len * 8);
	memcpy(block + BLOCK - LENGTH_B, &total_len, LENGTH_B);
	SHA256_Transform(context, block);
	ld_wipe(block, sizeof(block));
}

static void put_state(const SHA256_CTX *context, unsigned char ret_digest[32])
{
	for (size_t i = 0; i < 8; i++) {
		uint32_t word = htobe32(context->h[i]);

		memcpy(ret_digest + i * sizeof(word), &word, sizeof(word));
	}
}

/* By whole blocks, without SHA256_Update() and _Final(): those copy and wipe a context for each half, a fifth of the time of a key. */
void ld_key_derive(const struct ld_key_state *state, const void *name, size_t name_len, unsigned char ret_digest[32])
{
	const unsigned char *at = name;
	unsigned char inner[SHA256_DIGEST_LENGTH];
	size_t left = name_len;
	SHA256_CTX context;

	memcpy(context.h, state->inner, sizeof(context.h));
	for (; left >= BLOCK; left -= BLOCK, at += BLOCK)
		SHA256_Transform(&context, at);
	absorb_end(&context, at, left, INNER_BLOCKS * BLOCK + name_len);
	put_state(&context, inner);
	memcpy(context.h, state->outer, sizeof(context.h));
	absorb_end(&context, inner, sizeof(inner), OUTER_BLOCKS * BLOCK + sizeof(inner));
	put_state(&context, ret_digest);
	ld_wipe(inner, sizeof(inner));
	ld_wipe(context.h, sizeof(context.h));
}

void ld_key_sha256(const void *data, size_t len, unsigned char ret_digest[32])
{
	SHA256_CTX context;

	(void)SHA256_Init(&context);
	(void)SHA256_Update(&context, data, len);
	(void)SHA256_Final(ret_digest, &context);
	ld_wipe(&context, sizeof(context));
}

/* The kernel's own generator: it has no state in this process that a fork could duplicate. */
int ld_key_random(void *data, size_t len)
{
	unsigned char *at = data;

	if (LD_FAULT(key_random) != 0)
		return -1;
	while (len > 0) {
		ssize_t got = getrandom(at, len, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return -1;
		at += got;
		len -= (size_t)got;
	}
	return 0;
}
