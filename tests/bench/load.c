/* SPDX-License-Identifier: MIT */
/*
 * What both sides work on: names, keys, values, and the order in which entries are asked for. All of it is made from a seed, so
 * two runs ask for the same.
 */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RING = 1 << 20, BYTES_MAX = 1 << 20 };

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static double next_unit(uint64_t *state)
{
	return (double)(next_random(state) >> 11) * 0x1.0p-53;
}

/* sums[i]: probability of a rank up to i */
static double *zipf_sums(uint32_t entries, double skew)
{
	double *sums = malloc(entries * sizeof(*sums)), sum = 0;

	bench_must(sums != NULL, "memory");
	for (uint32_t i = 0; i < entries; i++)
		sums[i] = sum += pow((double)i + 1, -skew);
	for (uint32_t i = 0; i < entries; i++)
		sums[i] /= sum;
	return sums;
}

static uint32_t rank_of(const double *sums, uint32_t entries, double drawn)
{
	uint32_t low = 0, high = entries - 1;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (sums[middle] < drawn)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void bench_draw_init(struct bench_draw *draw, uint32_t entries, double skew, uint64_t seed)
{
	double *sums = skew > 0 ? zipf_sums(entries, skew) : NULL;

	draw->size = RING;
	draw->at = 0;
	draw->ring = malloc(RING * sizeof(*draw->ring));
	bench_must(draw->ring != NULL, "memory");
	/* A rank is an entry's number as it is: keys are hashes of it, so neighbours in rank are no neighbours in the tree. */
	for (uint32_t i = 0; i < RING; i++)
		draw->ring[i] = sums ? rank_of(sums, entries, next_unit(&seed)) : (uint32_t)(next_random(&seed) % entries);
	free(sums);
}

void bench_draw_free(struct bench_draw *draw)
{
	free(draw->ring);
	memset(draw, 0, sizeof(*draw));
}

void bench_name(uint32_t entry, char ret_name[BENCH_NAME])
{
	static const char digits[] = "0123456789abcdef";

	memcpy(ret_name, "profile:", 8);
	for (int i = 0; i < 8; i++)
		ret_name[8 + i] = digits[entry >> (28 - 4 * i) & 15];
}

void bench_key(uint32_t entry, unsigned char ret_key[BENCH_KEY])
{
	uint64_t state = (uint64_t)entry << 20;

	memcpy(ret_key, BENCH_TENANT, BENCH_TENANT_LEN + 1);
	for (int i = 0; i < 4; i++) {
		uint64_t part = next_random(&state);

		memcpy(ret_key + BENCH_TENANT_LEN + 1 + 8 * i, &part, 8);
	}
}

const unsigned char *bench_bytes(size_t len)
{
	static unsigned char bytes[BYTES_MAX];
	uint64_t state = 42;

	bench_must(len <= sizeof(bytes), "value too long");
	for (size_t i = 0; bytes[0] == 0 && i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(next_random(&state) | 1);
	return bytes;
}
