/* SPDX-License-Identifier: MIT */
/**
 * The one source of numbers that look random in `larder replay`: SplitMix64 (Steele, Lea and Flood, "Fast splittable
 * pseudorandom number generators", OOPSLA 2014). Everything that it feeds is repeatable from a seed, on every platform.
 */
#ifndef LARDER_TOOL_REPLAY_RANDOM_H
#define LARDER_TOOL_REPLAY_RANDOM_H

#include <stdint.h>

#define REPLAY_GOLDEN UINT64_C(0x9e3779b97f4a7c15)

/** SplitMix64's finalizer: a bijection that spreads each bit of the input over the output. */
static inline uint64_t replay_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/** The next number of the stream whose state is *state; any state is a good one. */
static inline uint64_t replay_next(uint64_t *state)
{
	return replay_mix(*state += REPLAY_GOLDEN);
}

/** A number in [0, 1) from the upper 53 bits. */
static inline double replay_unit(uint64_t x)
{
	return (double)(x >> 11) * 0x1.0p-53;
}

#endif
