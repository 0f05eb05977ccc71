/* SPDX-License-Identifier: MIT */
/**
 * A seeded generator of accesses: Zipf-distributed popularity, a hot set that moves, and sequential scans in between. The
 * same recipe gives the same accesses everywhere.
 *
 * Keys 0..keys-1 are the popular ones; keys..2*keys-1 are touched by scans alone.
 */
#ifndef LARDER_TOOL_REPLAY_GENERATOR_H
#define LARDER_TOOL_REPLAY_GENERATOR_H

#include <stddef.h>
#include <stdint.h>

#define REPLAY_KEYS_MAX 1000000000u
#define REPLAY_REQUESTS_MAX 4000000000u

/** What `--generate` says. */
struct replay_recipe {
	double alpha;           /* Zipf exponent, 0..10; 0 = uniform */
	uint32_t keys;          /* 1..REPLAY_KEYS_MAX */
	uint64_t requests;      /* 1..REPLAY_REQUESTS_MAX */
	uint64_t seed;
	uint32_t shift;         /* the run is cut into this many parts, each with hot keys of its own; 0 and 1: one part */
	double scan_percent;    /* 0..100: share of the requests that belong to scans */
	uint32_t scan_len;      /* 1..REPLAY_KEYS_MAX: keys of one scan */
};

#define REPLAY_RECIPE_DEFAULT "zipf:1.0,keys=200000,requests=2000000,seed=1,shift=4,scan=5"

/**
 * Read "zipf:ALPHA,keys=N,requests=N,seed=N,shift=N,scan=PERCENT,scan_len=N". Each part after ALPHA may be left out and is
 * then as in REPLAY_RECIPE_DEFAULT, with scans of 1000 keys. Counts take K, M and G (powers of 1000).
 *
 * ret_recipe on 0: the recipe
 * why       on -1: one sentence, why_size bytes at most
 *
 * Returns   0; -1 the text is not a recipe
 */
int replay_recipe_parse(const char *text, struct replay_recipe *ret_recipe, char *why, size_t why_size);

/** A generator at work. Owned by the caller, nothing to free. */
struct replay_generator {
	struct replay_recipe recipe;
	uint64_t state;         /* of the random stream */
	uint64_t made;          /* accesses so far */
	uint64_t scan_next;     /* next key of a scan, from 0 */
	uint32_t scan_left;     /* keys left of the running scan */
	double scan_start;      /* probability that a scan starts at an access outside scans */
	double h_first, h_last, s; /* constants of the Zipf sampler */
};

void replay_generator_init(struct replay_generator *generator, const struct replay_recipe *recipe);

/** The next access: a key id, 0..2*keys-1. */
uint32_t replay_generator_next(struct replay_generator *generator);

/** A rank 1..keys, rank k with a probability in proportion to 1 / k^alpha. */
uint32_t replay_generator_rank(struct replay_generator *generator);

#endif
