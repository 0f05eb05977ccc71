/* SPDX-License-Identifier: MIT */
/* The access generator of `larder replay`. Pure: no clock, no allocation, no global state; the master calls it once for each
 * request before it forks.
 *
 * Ranks are drawn by rejection-inversion (W. Hörmann and G. Derflinger, "Rejection-inversion to generate variates from
 * monotone discrete distributions", ACM TOMACS 6(3), 1996): constant time and no table, whatever the number of keys. With
 * h(x) = x^-alpha and H its integral, a point u under H is drawn uniformly, inverted to x, rounded to k, and kept if it lies
 * under the histogram of h:
 *
 *     h |*
 *       |_*_                 u >= H(k + 1/2) - h(k) keeps k; few points are thrown away whatever the exponent, and
 *       |   *___             most of the kept ones are recognised by k - x <= s, without another power.
 *       |_______*____ x
 */
#include "replay_generator.h"

#include <math.h>

#include "replay_random.h"

/* log(1 + x) / x and (exp(x) - 1) / x, which stay exact where the exponent is close to 1 and x close to 0. */
static double log1p_over(double x)
{
	return fabs(x) > 1e-8 ? log1p(x) / x : 1.0 - x * (0.5 - x * (1.0 / 3.0));
}

static double expm1_over(double x)
{
	return fabs(x) > 1e-8 ? expm1(x) / x : 1.0 + x * 0.5 * (1.0 + x * (1.0 / 3.0));
}

static double density(double alpha, double x)
{
	return exp(-alpha * log(x));
}

/* (x^(1 - alpha) - 1) / (1 - alpha), and log x for alpha 1. */
static double integral(double alpha, double x)
{
	double log_x = log(x);
	return expm1_over((1.0 - alpha) * log_x) * log_x;
}

static double integral_inverse(double alpha, double x)
{
	double t = x * (1.0 - alpha);
	if (t < -1.0)
		t = -1.0; /* only by rounding */
	return exp(log1p_over(t) * x);
}

void replay_generator_init(struct replay_generator *generator, const struct replay_recipe *recipe)
{
	double share = recipe->scan_percent / 100.0;
	double alpha = recipe->alpha;

	*generator = (struct replay_generator){ .recipe = *recipe, .state = replay_mix(recipe->seed + REPLAY_GOLDEN) };
	/* A scan started with probability p at each other access is p * len of 1 + p * len accesses. */
	generator->scan_start = share >= 1.0 ? 1.0 : share / ((1.0 - share) * recipe->scan_len);
	generator->h_first = integral(alpha, 1.5) - 1.0;
	generator->h_last = integral(alpha, (double)recipe->keys + 0.5);
	generator->s = 2.0 - integral_inverse(alpha, integral(alpha, 2.5) - density(alpha, 2.0));
}

uint32_t replay_generator_rank(struct replay_generator *generator)
{
	double alpha = generator->recipe.alpha;
	double keys = (double)generator->recipe.keys;

	for (;;) {
		double part = replay_unit(replay_next(&generator->state));
		double u = generator->h_last + part * (generator->h_first - generator->h_last);
		double x = integral_inverse(alpha, u);
		double k = fmin(fmax(floor(x + 0.5), 1.0), keys);
		if (k - x <= generator->s || u >= integral(alpha, k + 0.5) - density(alpha, k))
			return (uint32_t)k;
	}
}

/* The key of a rank in the present part of the run. Ranks are turned round by one part's share of the keys, so that no two
 * parts have hot keys in common and each hot set was cold before. */
static uint32_t key_of_rank(const struct replay_generator *generator, uint32_t rank)
{
	const struct replay_recipe *recipe = &generator->recipe;
	if (recipe->shift < 2)
		return rank - 1;
	uint64_t part = (uint64_t)((double)(generator->made % recipe->requests) / (double)recipe->requests * recipe->shift);
	uint64_t turn = part * recipe->keys / recipe->shift;
	return (uint32_t)((rank - 1 + turn) % recipe->keys);
}

static uint32_t scan_key(struct replay_generator *generator)
{
	generator->scan_left--;
	return generator->recipe.keys + (uint32_t)(generator->scan_next++ % generator->recipe.keys);
}

uint32_t replay_generator_next(struct replay_generator *generator)
{
	uint32_t key;
	if (generator->scan_left == 0 && generator->scan_start > 0 &&
	    replay_unit(replay_next(&generator->state)) < generator->scan_start)
		generator->scan_left = generator->recipe.scan_len;
	if (generator->scan_left > 0)
		key = scan_key(generator);
	else
		key = key_of_rank(generator, replay_generator_rank(generator));
	generator->made++;
	return key;
}
