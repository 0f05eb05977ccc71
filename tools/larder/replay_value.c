/* SPDX-License-Identifier: MIT */
/* The values that `larder replay` stores, and the check of those that it finds. It runs for every request between two timings,
 * so it must cost less than what is measured: about a nanosecond for each eight bytes. No state, no allocation. */
#include "replay_value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "human.h"
#include "replay_random.h"

#define LOGNORMAL_CUT 1000

/* Two texts with `by` between them; first is cut off into room. */
static const char *split(const char *text, char by, char *room, size_t room_size)
{
	const char *at = strchr(text, by);
	if (at == NULL || (size_t)(at - text) >= room_size)
		return NULL;
	memcpy(room, text, (size_t)(at - text));
	room[at - text] = '\0';
	return at + 1;
}

static int parse_uniform(const char *text, struct replay_sizes *sizes)
{
	char low[HUMAN_SIZE];
	const char *high = split(text, '-', low, sizeof(low));
	if (high == NULL || human_parse_size(low, &sizes->low) < 0 || human_parse_size(high, &sizes->high) < 0)
		return -1;
	sizes->kind = REPLAY_SIZE_UNIFORM;
	return sizes->low <= sizes->high && sizes->high <= REPLAY_VALUE_MAX ? 0 : -1;
}

static int parse_lognormal(const char *text, struct replay_sizes *sizes)
{
	char mean[HUMAN_SIZE];
	char *end;
	uint64_t bytes;
	const char *sigma = split(text, ',', mean, sizeof(mean));
	if (sigma == NULL || human_parse_size(mean, &bytes) < 0 || bytes == 0 || *sigma < '0' || *sigma > '9')
		return -1;
	double value = strtod(sigma, &end);
	if (*end != '\0' || !(value >= 0 && value <= 4) || bytes > REPLAY_VALUE_MAX)
		return -1;
	uint64_t high = bytes * LOGNORMAL_CUT;
	if (high > REPLAY_VALUE_MAX)
		high = REPLAY_VALUE_MAX;
	*sizes = (struct replay_sizes){ REPLAY_SIZE_LOGNORMAL, 1, high, (double)bytes, value };
	return 0;
}

int replay_sizes_parse(const char *text, struct replay_sizes *ret_sizes)
{
	static const char uniform[] = "uniform:", lognormal[] = "lognormal:";
	struct replay_sizes sizes = { 0 };
	int r;

	if (strncmp(text, uniform, sizeof(uniform) - 1) == 0) {
		r = parse_uniform(text + sizeof(uniform) - 1, &sizes);
	} else if (strncmp(text, lognormal, sizeof(lognormal) - 1) == 0) {
		r = parse_lognormal(text + sizeof(lognormal) - 1, &sizes);
	} else {
		r = human_parse_size(text, &sizes.low);
		sizes.high = sizes.low;
		if (sizes.low > REPLAY_VALUE_MAX)
			r = -1;
	}
	if (r == 0)
		*ret_sizes = sizes;
	return r;
}

uint64_t replay_value_seed(const char *name, size_t name_len)
{
	uint64_t hash = name_len;
	for (; name_len >= 8; name += 8, name_len -= 8) {
		uint64_t word;
		memcpy(&word, name, 8);
		hash = replay_mix(hash ^ word) + REPLAY_GOLDEN;
	}
	uint64_t last = 0;
	memcpy(&last, name, name_len);
	return replay_mix(hash ^ last);
}

/* A standard normal number by Box and Muller's method ("A note on the generation of random normal deviates", 1958). */
static double normal(uint64_t seed)
{
	double u = 1.0 - replay_unit(replay_mix(seed + REPLAY_GOLDEN));
	double v = replay_unit(replay_mix(seed + 2 * REPLAY_GOLDEN));
	return sqrt(-2.0 * log(u)) * cos(2.0 * 3.14159265358979323846 * v);
}

size_t replay_value_len(const struct replay_sizes *sizes, uint64_t seed)
{
	uint64_t span = sizes->high - sizes->low + 1;
	double len;

	switch (sizes->kind) {
	case REPLAY_SIZE_FIXED:
		break;
	case REPLAY_SIZE_UNIFORM:
		return (size_t)(sizes->low + (uint64_t)(replay_unit(replay_mix(seed + REPLAY_GOLDEN)) * (double)span));
	case REPLAY_SIZE_LOGNORMAL:
		len = sizes->mean * exp(sizes->sigma * normal(seed) - sizes->sigma * sizes->sigma / 2);
		return (size_t)fmin(fmax(len, (double)sizes->low), (double)sizes->high);
	}
	return (size_t)sizes->low;
}

/* Word number i of a value. */
static uint64_t word_at(uint64_t start, size_t i)
{
	return replay_mix(start + (uint64_t)i * REPLAY_GOLDEN);
}

static uint64_t start_of(uint64_t seed, size_t len)
{
	return replay_mix(seed ^ ((uint64_t)len << 32));
}

void replay_value_fill(uint64_t seed, void *data, size_t len)
{
	uint64_t start = start_of(seed, len);
	char *at = data;
	size_t i = 0;
	for (; len - i * 8 >= 8; i++) {
		uint64_t word = word_at(start, i);
		memcpy(at + i * 8, &word, 8);
	}
	uint64_t last = word_at(start, i);
	memcpy(at + i * 8, &last, len - i * 8);
}

int replay_value_is_right(uint64_t seed, const void *data, size_t len)
{
	uint64_t start = start_of(seed, len);
	const char *at = data;
	uint64_t differs = 0;
	size_t i = 0;
	for (; len - i * 8 >= 8; i++) {
		uint64_t word;
		memcpy(&word, at + i * 8, 8);
		differs |= word ^ word_at(start, i);
	}
	uint64_t last = word_at(start, i);
	return differs == 0 && memcmp(at + i * 8, &last, len - i * 8) == 0;
}
