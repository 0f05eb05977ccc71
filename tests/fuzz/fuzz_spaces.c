/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the spaces file. Whatever it holds, either there are problems, told a line each in printable ASCII, or every
 * policy and quota that comes of it is inside its bounds.
 */
#include "cache/settings.h"
#include "cache/spaces.h"

#include <stdio.h>
#include <stdlib.h>

#include <larder/larder.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "broken: %s\n", what);
	abort();
}

static void check_problems(const struct ld_problems *problems)
{
	unsigned lines = problems->count != 0;

	require(!problems->lost, "memory for problems");
	for (size_t i = 0; i < problems->len; i++) {
		char c = problems->text[i];

		require(c == '\n' || (c >= 0x20 && c < 0x7f), "problems are printable");
		lines += c == '\n';
	}
	require(lines == problems->count, "a problem is a line");
}

static void check_policy(const struct ld_spaces *spaces, const char *tenant, const char *space)
{
	static const struct ld_policy fallback = { .ttl_ms = 300000, .negative_ms = 30000, .beta = 100 };
	struct ld_policy policy;

	ld_spaces_policy(spaces, tenant, space, &fallback, &policy);
	require(policy.ttl_ms >= 1 && policy.ttl_ms <= LARDER_TTL_MAX_MS, "ttl");
	require(policy.stale_ms >= 0 && policy.stale_ms <= LARDER_TTL_MAX_MS, "stale");
	require(policy.negative_ms >= 1 && policy.negative_ms <= LARDER_TTL_MAX_MS, "negative");
	require(policy.error_ms >= 0 && policy.error_ms <= LARDER_TTL_MAX_MS, "error window");
	require(policy.l2_ttl_ms >= 0 && policy.l2_ttl_ms <= LARDER_TTL_MAX_MS, "TTL in L2");
	require(policy.jitter_pct >= 0 && policy.jitter_pct <= 90, "jitter");
	require(policy.beta >= 0 && policy.beta <= 1000, "beta");
	require(policy.on_busy == LD_ON_BUSY_LOAD || policy.on_busy == LD_ON_BUSY_FAIL, "busy");
	require(policy.keep_names == 0 || policy.keep_names == 1, "names");
}

static void check_quota(const struct ld_spaces *spaces, const char *tenant)
{
	uint64_t quota = ld_spaces_quota(spaces, tenant);

	require(quota == 0 || (quota >= 65536 && quota <= UINT64_C(1099511627776)), "quota");
}

static int is_rate(int64_t rate)
{
	return rate == 0 || (rate >= 1000 && rate <= INT64_C(1000000000000000));
}

static void check_limits(const struct ld_spaces *spaces, const char *tenant)
{
	static const struct ld_limits fallback = { 1000, 1, 1000, 1, 0, 0, 0, 0 };
	struct ld_limits limits;

	ld_spaces_limits(spaces, tenant, &fallback, &limits);
	require(is_rate(limits.rate) && is_rate(limits.subkey_rate), "rates");
	require(limits.burst >= 0 && limits.burst <= 1000000000, "burst");
	require(limits.subkey_burst >= 0 && limits.subkey_burst <= 1000000000, "burst of sub-keys");
}

/* Each field that is laid over the settings is in its bounds, and nothing else is touched. */
static void check_breaker(const struct ld_spaces *spaces, const char *tenant)
{
	int64_t numbers[LD_SETTINGS];
	int own, changed = 0;

	for (int i = 0; i < LD_SETTINGS; i++)
		numbers[i] = -1;
	own = ld_spaces_breaker(spaces, tenant, numbers);
	for (int i = 0; i < LD_SETTINGS; i++) {
		if (numbers[i] == -1)
			continue;
		changed = 1;
		require(i >= LD_SET_BREAKER_FAILURES && i <= LD_SET_BREAKER_SUCCESSES, "a setting of breakers");
		require(numbers[i] >= ld_setting_rows[i].low && numbers[i] <= ld_setting_rows[i].high, "bounds of a breaker");
	}
	require(own == changed, "a breaker of its own");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const ids[] = { "a", "b", "acme", "config", "jwt-validation" };
	struct ld_problems problems = { 0 };
	struct ld_spaces *spaces = NULL;
	int result = ld_spaces_parse((const char *)data, size, "s.json", &spaces, &problems);

	require(result == (problems.count != 0 ? LARDER_E_SETTINGS : 0), "problems and only problems are an error");
	require((spaces != NULL) == (result == 0), "policies and only without problems");
	check_problems(&problems);
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		for (size_t j = 0; j < sizeof(ids) / sizeof(ids[0]); j++)
			check_policy(spaces, ids[i], ids[j]);
		check_quota(spaces, ids[i]);
		check_limits(spaces, ids[i]);
		check_breaker(spaces, ids[i]);
	}
	ld_spaces_free(spaces);
	ld_problems_free(&problems);
	return 0;
}
