/* SPDX-License-Identifier: MIT */
/*
 * crypto/key and crypto/hash: keys are what HMAC() gives over the documented encoding, no two of (tenant, space, name) meet,
 * and nothing of a state stays on the stack.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fault.h"
#include "crypto/hash.h"
#include "crypto/key.h"
#include "leave_out.h"

#define NAME_MAX_B 4096

static unsigned char secret[4096];
static unsigned char name[NAME_MAX_B];

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = (unsigned char)(i * 7 + 3);
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = (unsigned char)(i * 13 + (i >> 8));
	return 0;
}

/* The encoding of crypto/key.h, written a second time. Returns its length. */
static size_t encode(const char *tenant, const char *space, const void *data, size_t len, unsigned char *ret_message)
{
	memset(ret_message, 0, 128);
	ret_message[0] = (unsigned char)strlen(tenant);
	memcpy(ret_message + 1, tenant, strlen(tenant));
	ret_message[64] = (unsigned char)strlen(space);
	memcpy(ret_message + 65, space, strlen(space));
	memcpy(ret_message + 128, data, len);
	return 128 + len;
}

static void check(size_t secret_len, const char *tenant, const char *space, size_t name_len)
{
	static unsigned char message[128 + NAME_MAX_B];
	size_t len = encode(tenant, space, name, name_len, message);
	unsigned char want[32], got[33];
	struct ld_key_state key;
	unsigned want_len = 0;

	assert_non_null(HMAC(EVP_sha256(), secret, (int)secret_len, message, len, want, &want_len));
	assert_int_equal(want_len, 32);
	got[32] = '#';
	ld_key_prepare(secret, secret_len, tenant, space, &key);
	ld_key_derive(&key, name, name_len, got);
	assert_memory_equal(got, want, 32);
	assert_int_equal(got[32], '#');
}

static void test_keys_are_hmac_of_the_encoding(void **state)
{
	(void)state;
	for (size_t len = 0; len <= 300; len++)
		check(32, "tenant-1", "articles", len);
	check(32, "tenant-1", "articles", 4095);
	check(32, "tenant-1", "articles", 4096);
}

/* Below, at and above the block of 64 bytes from which on HMAC hashes its key. */
static void test_secrets_of_any_length(void **state)
{
	static const size_t lens[] = { 32, 33, 63, 64, 65, 127, 128, 4096 };

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
		check(lens[i], "t", "s", 20);
}

static void test_ids_of_any_length(void **state)
{
	char tenant[64], space[32];

	(void)state;
	for (size_t len = 1; len <= 63; len++) {
		memset(tenant, 'a', len);
		tenant[len] = '\0';
		memset(space, 'b', len % 31 + 1);
		space[len % 31 + 1] = '\0';
		check(32, tenant, space, 10);
	}
}

/* Computed with another implementation (Python's hmac); a store on a disk depends on it. */
static void test_key_is_pinned(void **state)
{
	static const unsigned char want[32] = {
		0x3d, 0xc5, 0xab, 0xb1, 0x98, 0x3d, 0x06, 0x71, 0x50, 0x56, 0x5d, 0x3b, 0x30, 0x67, 0xb9, 0xa4,
		0x03, 0x30, 0xde, 0xb6, 0x4d, 0x2b, 0x98, 0xc6, 0x87, 0x8f, 0xd2, 0x0b, 0xee, 0x5e, 0x1e, 0xd7,
	};
	unsigned char counting[32], got[32];
	struct ld_key_state key;

	(void)state;
	for (size_t i = 0; i < 32; i++)
		counting[i] = (unsigned char)i;
	ld_key_prepare(counting, 32, "acme", "pages", &key);
	ld_key_derive(&key, "/index.html", 11, got);
	assert_memory_equal(got, want, 32);
}

static const struct {
	const char *tenant, *space, *name;
} neighbours[] = {
	{ "a", "bc", "d" }, { "ab", "c", "d" }, { "a", "b", "cd" }, { "abc", "d", "d" }, { "a", "bcd", "d" }, { "d", "bc", "a" },
	{ "bc", "a", "d" }, { "a", "bc", "dd" }, { "a", "bc", "D" }, { "a", "bc-", "d" }, { "a-", "bc", "d" },
	{ "a", "bc", "-d" },
	{ "a1", "bc", "d" }, { "a", "1bc", "d" }, { "abcd", "abcd", "abcd" }, { "abcdabcd", "abcd", "abcd" },
};
#define NEIGHBOURS (sizeof(neighbours) / sizeof(neighbours[0]))

static void test_neighbours_never_meet(void **state)
{
	unsigned char digests[NEIGHBOURS][32];
	struct ld_key_state key;

	(void)state;
	for (size_t i = 0; i < NEIGHBOURS; i++) {
		ld_key_prepare(secret, 32, neighbours[i].tenant, neighbours[i].space, &key);
		ld_key_derive(&key, neighbours[i].name, strlen(neighbours[i].name), digests[i]);
		for (size_t k = 0; k < i; k++)
			assert_memory_not_equal(digests[i], digests[k], 32);
	}
}

/* A name that carries a NUL, or ends in zeros, or begins as a block would, is a name of its own. */
static void test_names_of_zeros_never_meet(void **state)
{
	static const unsigned char zeros[200];
	unsigned char digests[200][32];
	struct ld_key_state key;

	(void)state;
	ld_key_prepare(secret, 32, "a", "b", &key);
	for (size_t len = 0; len < 200; len++) {
		ld_key_derive(&key, zeros, len, digests[len]);
		for (size_t k = 0; k < len; k++)
			assert_memory_not_equal(digests[len], digests[k], 32);
	}
}

static void test_other_secret_gives_other_key(void **state)
{
	unsigned char one[32], two[32];
	struct ld_key_state key;

	(void)state;
	ld_key_prepare(secret, 32, "a", "b", &key);
	ld_key_derive(&key, "n", 1, one);
	ld_key_prepare(secret + 1, 32, "a", "b", &key);
	ld_key_derive(&key, "n", 1, two);
	assert_memory_not_equal(one, two, 32);
}

static void test_state_is_not_used_up(void **state)
{
	unsigned char one[32], two[32];
	struct ld_key_state key, copy;

	(void)state;
	ld_key_prepare(secret, 32, "a", "b", &key);
	copy = key;
	ld_key_derive(&key, "n", 1, one);
	ld_key_derive(&key, "m", 1, two);
	ld_key_derive(&key, "n", 1, two);
	assert_memory_equal(&key, &copy, sizeof(key));
	assert_memory_equal(one, two, 32);
}

#define MARK "a mark that stays on the stack"

struct run {
	const struct ld_key_state *key;
	unsigned char digest[32];
};

/* So deep that nothing which follows reaches it: proof that what is looked through is the stack. */
static __attribute__((noinline)) void leave_mark(void)
{
	char deep[8192];

	memcpy(deep, MARK, sizeof(MARK));
	__asm__ volatile("" : : "r"(deep) : "memory");
}

static void *derive(void *arg)
{
	struct run *run = arg;

	ld_key_derive(run->key, name, 100, run->digest);
	leave_mark();
	return NULL;
}

#define STACK_B (512 * 1024)

/* The inner digest, step by step. */
static void digest_inner(const char *tenant, const char *space, size_t name_len, unsigned char ret_inner[32])
{
	unsigned char message[64 + 128 + 100];

	for (size_t i = 0; i < 64; i++)
		message[i] = (i < 32 ? secret[i] : 0) ^ 0x36;
	(void)encode(tenant, space, name, name_len, message + 64);
	assert_non_null(SHA256(message, 192 + name_len, ret_inner));
}

/* Run derive() in a thread whose stack is this file, which can be read when the thread has gone, whatever watches our memory. */
static void derive_on_file(int fd, struct run *run)
{
	void *stack = mmap(NULL, STACK_B, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	pthread_attr_t attributes;
	pthread_t thread;

	assert_true(stack != MAP_FAILED);
	assert_int_equal(pthread_attr_init(&attributes), 0);
	assert_int_equal(pthread_attr_setstack(&attributes, stack, STACK_B), 0);
	assert_int_equal(pthread_create(&thread, &attributes, derive, run), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	(void)pthread_attr_destroy(&attributes);
	(void)munmap(stack, STACK_B);
}

static void test_nothing_of_the_state_stays_on_the_stack(void **state)
{
	static unsigned char seen[STACK_B];
	unsigned char inner[32];
	struct ld_key_state key;
	struct run run = { &key, { 0 } };
	int fd = memfd_create("stack", MFD_CLOEXEC);

	(void)state;
	/* Its runtime binds functions as the thread ends; the dynamic linker then saves the vector registers on this stack. */
	if (UNDER_SANITIZER) {
		(void)close(fd);
		LEAVE_OUT("the sanitizer's runtime writes on the stack");
	}
	assert_int_equal(ftruncate(fd, STACK_B), 0);
	ld_key_prepare(secret, 32, "a", "b", &key);
	derive_on_file(fd, &run);
	assert_int_equal(pread(fd, seen, STACK_B, 0), STACK_B);
	assert_int_equal(close(fd), 0);
	digest_inner("a", "b", 100, inner);
	assert_non_null(memmem(seen, STACK_B, MARK, sizeof(MARK)));
	assert_null(memmem(seen, STACK_B, key.inner, 16));
	assert_null(memmem(seen, STACK_B, key.outer, 16));
	assert_null(memmem(seen, STACK_B, inner, 16));
}

static void test_sha256(void **state)
{
	/* FIPS 180-4, "abc" and the empty message */
	static const unsigned char abc[32] = { 0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae,
		0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad };
	static const unsigned char empty[32] = { 0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99,
		0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55 };
	unsigned char digest[32];

	(void)state;
	ld_key_sha256("abc", 3, digest);
	assert_memory_equal(digest, abc, 32);
	ld_key_sha256("", 0, digest);
	assert_memory_equal(digest, empty, 32);
}

static void test_random(void **state)
{
	unsigned char one[4097] = { 0 }, two[4097] = { 0 };
	size_t zeros = 0;

	(void)state;
	assert_int_equal(ld_key_random(one, 4096), 0);
	assert_int_equal(ld_key_random(two, 4096), 0);
	assert_memory_not_equal(one, two, 32);
	assert_int_equal(one[4096], 0);
	for (size_t i = 0; i < 4096; i++)
		zeros += one[i] == 0;
	/* 16 are to be expected; 200 come once in 10^100 runs */
	assert_true(zeros < 200);
	assert_int_equal(ld_key_random(one, 0), 0);
}

#ifdef LARDER_FAULTS
static void test_random_that_fails_says_so(void **state)
{
	struct ld_fault_plan plan = { .point = LD_FAULT_key_random, .action = LD_FAULT_ERROR, .error = 38, .countdown = 1 };
	unsigned char data[16] = { 0 };

	(void)state;
	ld_fault_use(&plan);
	assert_int_equal(ld_key_random(data, sizeof(data)), -1);
	assert_int_equal(ld_key_random(data, sizeof(data)), 0);
	ld_fault_use(NULL);
}
#endif

static void test_hash(void **state)
{
	uint64_t seen[600];

	(void)state;
	/* XXH3-64 of nothing and of "abc", as every implementation gives them */
	assert_true(ld_hash64("", 0) == UINT64_C(0x2d06800538d394c2));
	assert_true(ld_hash64("abc", 3) == UINT64_C(0x78af5f94892f3950));
	for (size_t len = 0; len < 600; len++) {
		unsigned char *copy = malloc(len + 1);

		/* Not aligned, and the same. */
		memcpy(copy + 1, name, len);
		seen[len] = ld_hash64(name, len);
		assert_true(ld_hash64(copy + 1, len) == seen[len]);
		for (size_t k = 0; k < len; k++)
			assert_true(seen[k] != seen[len]);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_are_hmac_of_the_encoding),
		cmocka_unit_test(test_secrets_of_any_length),
		cmocka_unit_test(test_ids_of_any_length),
		cmocka_unit_test(test_key_is_pinned),
		cmocka_unit_test(test_neighbours_never_meet),
		cmocka_unit_test(test_names_of_zeros_never_meet),
		cmocka_unit_test(test_other_secret_gives_other_key),
		cmocka_unit_test(test_state_is_not_used_up),
		cmocka_unit_test(test_nothing_of_the_state_stays_on_the_stack),
		cmocka_unit_test(test_sha256),
		cmocka_unit_test(test_random),
#ifdef LARDER_FAULTS
		cmocka_unit_test(test_random_that_fails_says_so),
#endif
		cmocka_unit_test(test_hash),
	};

	return cmocka_run_group_tests_name("key", tests, setup, NULL);
}
