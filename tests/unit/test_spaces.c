/* SPDX-License-Identifier: MIT */
/*
 * The spaces file: which policy wins, both sides of every bound, the place and text of every fault, and files that are no files.
 */
#include "cache/settings.h"
#include "cache/spaces.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <larder/larder.h>

#include "base/fault.h"

static const struct ld_policy fallback = { .ttl_ms = 300000, .negative_ms = 30000, .beta = 100 };

static struct ld_spaces *parse_well(const char *json)
{
	struct ld_problems problems = { 0 };
	struct ld_spaces *spaces = NULL;

	assert_int_equal(ld_spaces_parse(json, strlen(json), "s.json", &spaces, &problems), 0);
	assert_int_equal(problems.count, 0);
	assert_non_null(spaces);
	return spaces;
}

static void expect_faults(const char *json, size_t len, unsigned count, const char *text)
{
	struct ld_problems problems = { 0 };
	struct ld_spaces *spaces = NULL;

	assert_int_equal(ld_spaces_parse(json, len, "s.json", &spaces, &problems), LARDER_E_SETTINGS);
	assert_null(spaces);
	assert_int_equal(problems.count, count);
	if (text != NULL)
		assert_string_equal(problems.text, text);
	ld_problems_free(&problems);
}

/* A policy that says nothing but this. */
static struct ld_policy plain(int64_t ttl_ms, int64_t stale_ms, int64_t negative_ms, int keep_names)
{
	struct ld_policy policy = fallback;

	policy.ttl_ms = ttl_ms;
	policy.stale_ms = stale_ms;
	policy.negative_ms = negative_ms;
	policy.keep_names = keep_names;
	return policy;
}

static void expect_policy(const struct ld_spaces *spaces, const char *tenant, const char *space, struct ld_policy expected)
{
	struct ld_policy policy;

	ld_spaces_policy(spaces, tenant, space, &fallback, &policy);
	assert_int_equal(policy.ttl_ms, expected.ttl_ms);
	assert_int_equal(policy.stale_ms, expected.stale_ms);
	assert_int_equal(policy.negative_ms, expected.negative_ms);
	assert_int_equal(policy.keep_names, expected.keep_names);
	assert_int_equal(policy.error_ms, expected.error_ms);
	assert_int_equal(policy.l2_ttl_ms, expected.l2_ttl_ms);
	assert_int_equal(policy.jitter_pct, expected.jitter_pct);
	assert_int_equal(policy.beta, expected.beta);
	assert_int_equal(policy.on_busy, expected.on_busy);
}

static void nothing_given(void **state)
{
	static const char *const nothings[] = { "{}", " { } ", "{\"spaces\":{}}", "{\"tenants\":{}}", "{\"spaces\":{\"a\":{}}}",
		"{\"tenants\":{\"t\":{}}}", "{\"tenants\":{\"t\":{\"spaces\":{\"a\":{}}}}}" };

	(void)state;
	for (size_t i = 0; i < sizeof(nothings) / sizeof(nothings[0]); i++) {
		struct ld_spaces *spaces = parse_well(nothings[i]);

		expect_policy(spaces, "t", "a", fallback);
		assert_int_equal(ld_spaces_quota(spaces, "t"), 0);
		ld_spaces_free(spaces);
	}
	expect_policy(NULL, "t", "a", fallback);
	assert_int_equal(ld_spaces_quota(NULL, "t"), 0);
	ld_spaces_free(NULL);
}

/* Tenant's space, then the space, then the settings; each field by itself. */
static void each_field_finds_its_policy(void **state)
{
	struct ld_spaces *spaces = parse_well("{ \"tenants\": {"
	    "  \"zeta\": { \"quota\": 65536, \"spaces\": { \"config\": { \"ttl\": \"1h\", \"names\": false },"
	    "    \"own\": { \"stale\": 5 } } },"
	    "  \"acme\": { \"spaces\": { \"config\": { \"negative\": 7000 } }, \"quota\": \"64M\" },"
	    "  \"a\": {} },"
	    "  \"spaces\": { \"tokens\": { \"ttl\": \"60s\", \"stale\": \"5m\", \"negative\": \"10s\" },"
	    "    \"config\": { \"ttl\": 1, \"names\": true } } }");

	(void)state;
	expect_policy(spaces, "zeta", "config", plain(3600000, 0, 30000, 0));
	expect_policy(spaces, "acme", "config", plain(1, 0, 7000, 1));
	expect_policy(spaces, "other", "config", plain(1, 0, 30000, 1));
	expect_policy(spaces, "zeta", "own", plain(300000, 5, 30000, 0));
	expect_policy(spaces, "acme", "own", fallback);
	expect_policy(spaces, "acme", "tokens", plain(60000, 300000, 10000, 0));
	expect_policy(spaces, "acme", "token", fallback);
	assert_int_equal(ld_spaces_quota(spaces, "zeta"), 65536);
	assert_int_equal(ld_spaces_quota(spaces, "acme"), 64 << 20);
	assert_int_equal(ld_spaces_quota(spaces, "a"), 0);
	assert_int_equal(ld_spaces_quota(spaces, "acm"), 0);
	assert_int_equal(ld_spaces_quota(spaces, ""), 0);
	ld_spaces_free(spaces);
}

static void expect_limits(const struct ld_spaces *spaces, const char *tenant, int64_t rate, int64_t burst, int64_t subkey_rate, int64_t subkey_burst)
{
	static const struct ld_limits by_settings = { 5000000000, 50, 2000000000, 20, 7000000000, 0, 8000000000, 80 };
	struct ld_limits limits;

	ld_spaces_limits(spaces, tenant, &by_settings, &limits);
	assert_int_equal(limits.rate, rate);
	assert_int_equal(limits.burst, burst);
	assert_int_equal(limits.subkey_rate, subkey_rate);
	assert_int_equal(limits.subkey_burst, subkey_burst);
}

/* A rate of one's own does not go with the burst of the settings. */
static void limits_of_tenants(void **state)
{
	struct ld_spaces *spaces = parse_well("{ \"tenants\": {"
	    "  \"all\": { \"rate\": 100, \"burst\": 200, \"subkey_rate\": \"30/m\", \"subkey_burst\": \"10\" },"
	    "  \"free\": { \"rate\": 0, \"subkey_rate\": \"0\" }, \"bursts\": { \"burst\": 7, \"subkey_burst\": 0 },"
	    "  \"decimal\": { \"rate\": 0.1, \"subkey_rate\": 1e2, \"quota\": 65536 }, \"none\": {} } }");

	(void)state;
	expect_limits(spaces, "all", INT64_C(100000000000), 200, 500000000, 10);
	expect_limits(spaces, "free", 0, 0, 0, 0);
	expect_limits(spaces, "bursts", 5000000000, 7, 2000000000, 0);
	expect_limits(spaces, "decimal", 100000000, 0, INT64_C(100000000000), 0);
	expect_limits(spaces, "none", 5000000000, 50, 2000000000, 20);
	expect_limits(spaces, "other", 5000000000, 50, 2000000000, 20);
	expect_limits(NULL, "all", 5000000000, 50, 2000000000, 20);
	assert_int_equal(ld_spaces_quota(spaces, "decimal"), 65536);
	assert_int_equal(ld_spaces_quota(spaces, "all"), 0);
	ld_spaces_free(spaces);
}

/* The same for what is asked of L2. */
static void limits_of_the_second_level(void **state)
{
	static const struct ld_limits by_settings = { 0, 0, 0, 0, 7000000000, 70, 8000000000, 80 };
	struct ld_spaces *spaces = parse_well("{\"tenants\":{\"all\":{\"l2_rate\":1,\"l2_burst\":2,\"l2_subkey_rate\":3,\"l2_subkey_burst\":4},"
	    "\"rates\":{\"l2_subkey_rate\":\"60/m\"}}}");
	struct ld_limits limits;

	(void)state;
	ld_spaces_limits(spaces, "all", &by_settings, &limits);
	assert_true(limits.l2_rate == 1000000000 && limits.l2_burst == 2 && limits.l2_subkey_rate == 3000000000 && limits.l2_subkey_burst == 4);
	assert_true(limits.rate == 0 && limits.subkey_rate == 0);
	ld_spaces_limits(spaces, "rates", &by_settings, &limits);
	assert_true(limits.l2_rate == 7000000000 && limits.l2_burst == 70 && limits.l2_subkey_rate == 1000000000 && limits.l2_subkey_burst == 0);
	ld_spaces_limits(spaces, "other", &by_settings, &limits);
	assert_true(limits.l2_subkey_rate == 8000000000 && limits.l2_subkey_burst == 80);
	ld_spaces_free(spaces);
}

/* A field that is given is laid over the settings; one is enough for a breaker of its own. */
static void breakers_of_tenants(void **state)
{
	struct ld_spaces *spaces = parse_well("{\"tenants\":{\"one\":{\"breaker\":{\"open\":\"5s\"}},\"none\":{\"breaker\":{}},\"all\":{\"breaker\":"
	    "{\"failures\":0,\"error_pct\":1,\"volume\":2,\"window\":300,\"slow\":4,\"slow_pct\":\"5%\",\"open\":60,\"open_max\":\"7s\",\"successes\":8}}}}");
	static const int64_t all[] = { 0, 1, 2, 300, 4, 5, 60, 7000, 8 };
	int64_t numbers[LD_SETTINGS];

	(void)state;
	for (int i = 0; i < LD_SETTINGS; i++)
		numbers[i] = 100 + i;
	assert_int_equal(ld_spaces_breaker(NULL, "one", numbers), 0);
	assert_int_equal(ld_spaces_breaker(spaces, "none", numbers), 0);
	assert_int_equal(ld_spaces_breaker(spaces, "other", numbers), 0);
	assert_int_equal(ld_spaces_breaker(spaces, "one", numbers), 1);
	for (int i = 0; i < LD_SETTINGS; i++)
		assert_int_equal(numbers[i], i == LD_SET_BREAKER_OPEN_MS ? 5000 : 100 + i);
	assert_int_equal(ld_spaces_breaker(spaces, "all", numbers), 1);
	for (int i = 0; i < LD_SETTINGS; i++)
		assert_int_equal(numbers[i], i >= LD_SET_BREAKER_FAILURES && i <= LD_SET_BREAKER_SUCCESSES ? all[i - LD_SET_BREAKER_FAILURES] : 100 + i);
	ld_spaces_free(spaces);
}

/* Bounds */

static const struct {
	const char *format;     /* of the whole, the value is put in */
	const char *place;
	int64_t low, high;
	const char *allowed;
} bounds[] = {
	{ "{\"spaces\":{\"s\":{\"ttl\":%s}}}", "spaces.s.ttl", 1, LARDER_TTL_MAX_MS, "1ms..3650d" },
	{ "{\"spaces\":{\"s\":{\"stale\":%s}}}", "spaces.s.stale", 0, LARDER_TTL_MAX_MS, "0..3650d" },
	{ "{\"spaces\":{\"s\":{\"negative\":%s}}}", "spaces.s.negative", 1, LARDER_TTL_MAX_MS, "1ms..3650d" },
	{ "{\"tenants\":{\"t\":{\"spaces\":{\"s\":{\"ttl\":%s}}}}}",
	  "tenants.t.spaces.s.ttl", 1, LARDER_TTL_MAX_MS, "1ms..3650d" },
	{ "{\"tenants\":{\"t\":{\"quota\":%s}}}", "tenants.t.quota", 65536, INT64_C(1099511627776), "64K..1T" },
	{ "{\"tenants\":{\"t\":{\"rate\":%s}}}", "tenants.t.rate", 0, 1000000, "0, 0.000001..1000000" },
	{ "{\"tenants\":{\"t\":{\"burst\":%s}}}", "tenants.t.burst", 0, 1000000000, "0..1000000000" },
	{ "{\"tenants\":{\"t\":{\"subkey_rate\":%s}}}", "tenants.t.subkey_rate", 0, 1000000, "0, 0.000001..1000000" },
	{ "{\"tenants\":{\"t\":{\"subkey_burst\":%s}}}", "tenants.t.subkey_burst", 0, 1000000000, "0..1000000000" },
	{ "{\"tenants\":{\"t\":{\"l2_subkey_rate\":%s}}}", "tenants.t.l2_subkey_rate", 0, 1000000, "0, 0.000001..1000000" },
	{ "{\"tenants\":{\"t\":{\"breaker\":{\"failures\":%s}}}}", "tenants.t.breaker.failures", 0, 10000, "0..10000" },
	{ "{\"tenants\":{\"t\":{\"breaker\":{\"successes\":%s}}}}", "tenants.t.breaker.successes", 1, 15, "1..15" },
};

static void check_bound(size_t row, int64_t number, int taken)
{
	for (int quoted = 0; quoted < 2; quoted++) {
		char value[32], json[256], text[256];

		snprintf(value, sizeof(value), quoted ? "\"%" PRId64 "\"" : "%" PRId64, number);
		snprintf(json, sizeof(json), bounds[row].format, value);
		snprintf(text, sizeof(text), "s.json: %s: %" PRId64 ": out of range, allowed %s", bounds[row].place, number,
		    bounds[row].allowed);
		if (taken)
			ld_spaces_free(parse_well(json));
		else
			expect_faults(json, strlen(json), 1, text);
	}
}

static void bounds_of_every_field(void **state)
{
	(void)state;
	for (size_t row = 0; row < sizeof(bounds) / sizeof(bounds[0]); row++) {
		check_bound(row, bounds[row].low - 1, 0);
		check_bound(row, bounds[row].low, 1);
		check_bound(row, bounds[row].high, 1);
		check_bound(row, bounds[row].high + 1, 0);
		check_bound(row, INT64_MAX, 0);
		check_bound(row, -INT64_MAX, 0);
	}
}

/* Faults */

static const struct {
	const char *json;
	const char *text;
} fault_cases[] = {
	{ "[]", "s.json: the whole: not an object" },
	{ "{\"spaces\":[]}", "s.json: spaces: not an object" },
	{ "{\"spaces\":null}", "s.json: spaces: not an object" },
	{ "{\"tenants\":1}", "s.json: tenants: not an object" },
	{ "{\"space\":{}}", "s.json: space: unknown field, allowed are spaces, tenants" },
	{ "{\"spaces\":{\"a\":\"60s\"}}", "s.json: spaces.a: not an object" },
	{ "{\"spaces\":{\"Jwt\":{}}}", "s.json: spaces.Jwt: not an id, allowed are a-z, 0-9 and '-', 1..31 of them" },
	{ "{\"spaces\":{\"\":{}}}", "s.json: spaces.: not an id, allowed are a-z, 0-9 and '-', 1..31 of them" },
	{ "{\"spaces\":{\"a\\nb\":{}}}", "s.json: spaces.a\\x0ab: not an id, allowed are a-z, 0-9 and '-', 1..31 of them" },
	{ "{\"spaces\":{\"a23456789012345678901234567890-2\":{}}}",
	  "s.json: spaces.a23456789012345678901234567890-2: not an id, allowed are a-z, 0-9 and '-', 1..31 of them" },
	{ "{\"tenants\":{\"a_b\":{}}}", "s.json: tenants.a_b: not an id, allowed are a-z, 0-9 and '-', 1..63 of them" },
	{ "{\"tenants\":{\"a\":[]}}", "s.json: tenants.a: not an object" },
	{ "{\"tenants\":{\"a\":{\"ttl\":1}}}", "s.json: tenants.a.ttl: unknown field, allowed are quota, rate, burst, subkey_rate, subkey_burst, l2_rate, l2_burst, "
	  "l2_subkey_rate, l2_subkey_burst, breaker, spaces" },
	{ "{\"tenants\":{\"a\":{\"breaker\":1}}}", "s.json: tenants.a.breaker: not an object" },
	{ "{\"tenants\":{\"a\":{\"breaker\":{\"open_ms\":1}}}}", "s.json: tenants.a.breaker.open_ms: unknown field, allowed are failures, error_pct, "
	  "volume, window, slow, slow_pct, open, open_max, successes" },
	{ "{\"tenants\":{\"a\":{\"rate\":null}}}", "s.json: tenants.a.rate: not a text like \"30/m\", nor a number" },
	{ "{\"tenants\":{\"a\":{\"rate\":-0.5}}}", "s.json: tenants.a.rate: -0.500000000: out of range, allowed 0, 0.000001..1000000" },
	{ "{\"tenants\":{\"a\":{\"rate\":1e300}}}",
	  "s.json: tenants.a.rate: 1000000000000000052504760255204: out of range, allowed 0, 0.000001..1000000" },
	{ "{\"tenants\":{\"a\":{\"rate\":1e-7}}}", "s.json: tenants.a.rate: 0.000000100: out of range, allowed 0, 0.000001..1000000" },
	{ "{\"tenants\":{\"a\":{\"burst\":1.5}}}", "s.json: tenants.a.burst: not a whole number" },
	{ "{\"tenants\":{\"a\":{\"spaces\":{\"b\":{\"quota\":1}}}}}",
	  "s.json: tenants.a.spaces.b.quota: unknown field, allowed are ttl, stale, stale_if_error, negative, l2_ttl, jitter, beta, busy, names" },
	{ "{\"spaces\":{\"a\":{\"TTL\":1}}}", "s.json: spaces.a.TTL: unknown field, allowed are ttl, stale, stale_if_error, negative, l2_ttl, jitter, beta, busy, names" },
	{ "{\"spaces\":{\"a\":{\"ttl\":1.0}}}", "s.json: spaces.a.ttl: not a whole number" },
	{ "{\"spaces\":{\"a\":{\"ttl\":1e3}}}", "s.json: spaces.a.ttl: not a whole number" },
	{ "{\"spaces\":{\"a\":{\"ttl\":true}}}", "s.json: spaces.a.ttl: not a text like \"5m\", nor a whole number" },
	{ "{\"spaces\":{\"a\":{\"ttl\":null}}}", "s.json: spaces.a.ttl: not a text like \"5m\", nor a whole number" },
	{ "{\"spaces\":{\"a\":{\"ttl\":{}}}}", "s.json: spaces.a.ttl: not a text like \"5m\", nor a whole number" },
	{ "{\"spaces\":{\"a\":{\"ttl\":\"60 s\"}}}",
	  "s.json: spaces.a.ttl: 60 s: not a time (digits, then ms, s, m, h, d or nothing), allowed 1ms..3650d" },
	{ "{\"spaces\":{\"a\":{\"ttl\":\"1.5m\"}}}",
	  "s.json: spaces.a.ttl: 1.5m: a fraction, which is not taken: write it in a smaller unit, allowed 1ms..3650d" },
	{ "{\"spaces\":{\"a\":{\"ttl\":\"\"}}}",
	  "s.json: spaces.a.ttl: : not a time (digits, then ms, s, m, h, d or nothing), allowed 1ms..3650d" },
	{ "{\"spaces\":{\"a\":{\"names\":\"true\"}}}", "s.json: spaces.a.names: not true or false" },
	{ "{\"spaces\":{\"a\":{\"names\":1}}}", "s.json: spaces.a.names: not true or false" },
};

static void faults_have_their_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(fault_cases) / sizeof(fault_cases[0]); i++)
		expect_faults(fault_cases[i].json, strlen(fault_cases[i].json), 1, fault_cases[i].text);
}

/* The words are jansson's; the place is ours. */
static void syntax_has_its_line(void **state)
{
	static const char *const cases[] = { "", "x", "{", "\n{\"spaces\":{\"a\":{\"ttl\":1},\"a\":{}}}", "{\"spaces\":{},}",
		"{\"spaces\":{}} x", "{\"a\\u0000b\":{}}", "{\"a\xff\":{}}", "{\"a\n\":{}}", "\xef\xbb\xbf{}", "{'spaces':{}}",
		"{\"spaces\":{\"a\":{\"ttl\":99999999999999999999}}}", "{\"spaces\":{\"a\":{\"ttl\":1e999}}}" };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ld_problems problems = { 0 };
		struct ld_spaces *spaces = NULL;
		const char *place = cases[i][0] == '\n' ? "s.json: line 2, column " : "s.json: line 1, column ";

		assert_int_equal(ld_spaces_parse(cases[i], strlen(cases[i]), "s.json", &spaces, &problems), LARDER_E_SETTINGS);
		assert_int_equal(problems.count, 1);
		assert_int_equal(strncmp(problems.text, place, strlen(place)), 0);
		assert_null(strchr(problems.text, '\n'));
		ld_problems_free(&problems);
	}
}

static void all_faults_at_once(void **state)
{
	static const char json[] = "{ \"spaces\": { \"jwt-validation\": { \"ttl\": \"0\", \"stale\": \"x\", \"names\": 0 },"
	    " \"B\": {} },\n"
	    "\"tenants\": { \"acme\": { \"quota\": \"1K\", \"spaces\": { \"c\": { \"ttl\": -1, \"t\": 1 } } } }, \"more\": 1 }";

	(void)state;
	expect_faults(json, strlen(json), 8,
	    "s.json: spaces.jwt-validation.ttl: 0: out of range, allowed 1ms..3650d\n"
	    "s.json: spaces.jwt-validation.stale: x: not a time (digits, then ms, s, m, h, d or nothing), allowed 0..3650d\n"
	    "s.json: spaces.jwt-validation.names: not true or false\n"
	    "s.json: spaces.B: not an id, allowed are a-z, 0-9 and '-', 1..31 of them\n"
	    "s.json: tenants.acme.quota: 1K: out of range, allowed 64K..1T\n"
	    "s.json: tenants.acme.spaces.c.ttl: -1: out of range, allowed 1ms..3650d\n"
	    "s.json: tenants.acme.spaces.c.t: unknown field, allowed are ttl, stale, stale_if_error, negative, l2_ttl, jitter, beta, busy, names\n"
	    "s.json: more: unknown field, allowed are spaces, tenants");
}

static char *repeat(size_t count, const char *format, const char *before, const char *after, size_t *ret_len)
{
	size_t size = strlen(before) + count * (strlen(format) + 24) + strlen(after) + 1;
	char *json = malloc(size);
	size_t len = (size_t)snprintf(json, size, "%s", before);

	for (size_t i = 0; i < count; i++) {
		len += (size_t)snprintf(json + len, size - len, "%s", i > 0 ? "," : "");
		len += (size_t)snprintf(json + len, size - len, format, i, i);
	}
	*ret_len = len + (size_t)snprintf(json + len, size - len, "%s", after);
	return json;
}

static void faults_are_told_up_to_a_hundred(void **state)
{
	size_t len;
	char *json = repeat(100, "\"f%zu\":1", "{", "}", &len);

	(void)state;
	expect_faults(json, len, 100, NULL);
	free(json);
	json = repeat(50000, "\"f%zu\":1", "{", "}", &len);
	expect_faults(json, len, 101, NULL);
	free(json);
}

/* Limits */

static void depth_is_limited(void **state)
{
	static const char eight[] = "{\"a\":[[[[[[[1]]]]]]]}", nine[] = "{\"a\":[[[[[[[[1]]]]]]]]}";
	static const char flat[] = "{\"a[[[[[[[[[[{{{{\\\"[[[[[[[[[\":[],\"b\":[],\"c\":[{},{},{},{},{},{},{},{},{},{}]}";
	size_t len = (size_t)1 << 20;
	char *deep = malloc(len);

	(void)state;
	expect_faults(eight, strlen(eight), 1, "s.json: a: unknown field, allowed are spaces, tenants");
	expect_faults(nine, strlen(nine), 1, "s.json: the whole: nested too deep, allowed 1..8");
	expect_faults(flat, strlen(flat), 3, NULL);
	memset(deep, '[', len);
	expect_faults(deep, len, 1, "s.json: the whole: nested too deep, allowed 1..8");
	free(deep);
}

static void length_is_limited(void **state)
{
	size_t most = (size_t)1 << 20;
	char *json = malloc(most + 1);
	struct ld_problems problems = { 0 };
	struct ld_spaces *spaces = NULL;

	(void)state;
	memset(json, ' ', most + 1);
	memcpy(json, "{}", 2);
	assert_int_equal(ld_spaces_parse(json, most, "s.json", &spaces, &problems), 0);
	ld_spaces_free(spaces);
	expect_faults(json, most + 1, 1, "s.json: the whole: longer than 1M, allowed 0..1M");
	free(json);
}

static void ten_thousand_tenants(void **state)
{
	size_t len;
	char *json = repeat(10000,
	    "\"t%zu\":{\"quota\":\"64K\",\"spaces\":{\"c\":{\"ttl\":1%zu}}}", "{\"tenants\":{", "}}", &len);
	struct ld_problems problems = { 0 };
	struct ld_spaces *spaces = NULL;

	(void)state;
	assert_in_range(len, 400000, 1 << 20);
	assert_int_equal(ld_spaces_parse(json, len, "s.json", &spaces, &problems), 0);
	for (int i = 0; i < 10000; i++) {
		char tenant[32], ttl[32];

		snprintf(tenant, sizeof(tenant), "t%d", i);
		snprintf(ttl, sizeof(ttl), "1%d", i);
		expect_policy(spaces, tenant, "c", plain(atoll(ttl), 0, 30000, 0));
		assert_int_equal(ld_spaces_quota(spaces, tenant), 65536);
	}
	expect_policy(spaces, "t10000", "c", fallback);
	assert_int_equal(ld_spaces_quota(spaces, "t10000"), 0);
	ld_spaces_free(spaces);
	free(json);
}

static void longest_ids(void **state)
{
	static const char tenant[] = "t23456789-123456789-123456789-123456789-123456789-123456789-123";
	static const char space[] = "s23456789-123456789-123456789-1";
	char json[512], text[512];
	struct ld_spaces *spaces;

	(void)state;
	assert_int_equal(strlen(tenant), LARDER_TENANT_MAX);
	assert_int_equal(strlen(space), LARDER_SPACE_MAX);
	snprintf(json, sizeof(json), "{\"tenants\":{\"%s\":{\"quota\":\"1M\",\"spaces\":{\"%s\":{\"ttl\":2}}}}}", tenant, space);
	spaces = parse_well(json);
	expect_policy(spaces, tenant, space, plain(2, 0, 30000, 0));
	assert_int_equal(ld_spaces_quota(spaces, tenant), 1 << 20);
	ld_spaces_free(spaces);
	snprintf(json, sizeof(json), "{\"tenants\":{\"%s\":{\"spaces\":{\"%s\":{\"ttl\":0}}}}}", tenant, space);
	snprintf(text, sizeof(text), "s.json: tenants.%s.spaces.%s.ttl: 0: out of range, allowed 1ms..3650d", tenant, space);
	expect_faults(json, strlen(json), 1, text);
	snprintf(json, sizeof(json), "{\"tenants\":{\"%s4\":{}}}", tenant);
	snprintf(text, sizeof(text), "s.json: tenants.%s4: not an id, allowed are a-z, 0-9 and '-', 1..63 of them", tenant);
	expect_faults(json, strlen(json), 1, text);
}

/* Files */

static char directory[] = "/tmp/larder-test-XXXXXX";
static char path[64];

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/larder-test-XXXXXX");
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/spaces.json", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(directory);
}

static void write_file(const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void expect_load(const char *file, int result, const char *problem)
{
	struct ld_problems problems = { 0 };
	struct ld_spaces *spaces = NULL;
	char text[256];

	assert_int_equal(ld_spaces_load(file, &spaces, &problems), result);
	assert_int_equal(spaces != NULL, result == 0);
	if (problem != NULL) {
		snprintf(text, sizeof(text), "%s: %s", file, problem);
		assert_string_equal(problems.text, text);
	} else {
		assert_int_equal(problems.count, 0);
	}
	ld_spaces_free(spaces);
	ld_problems_free(&problems);
}

static void files(void **state)
{
	char link[80];

	(void)state;
	expect_load(NULL, 0, NULL);
	expect_load("", 0, NULL);
	expect_load(path, LARDER_E_SETTINGS, "No such file or directory");
	expect_load(directory, LARDER_E_SETTINGS, "not a regular file");
	expect_load("/dev/zero", LARDER_E_SETTINGS, "not a regular file");
	write_file("{\"spaces\":{\"a\":{\"ttl\":\"0s\"}}}");
	expect_load(path, LARDER_E_SETTINGS, "spaces.a.ttl: 0s: out of range, allowed 1ms..3650d");
	write_file("{\"spaces\":{\"a\":{\"ttl\":\"1s\"}}}");
	expect_load(path, 0, NULL);
	snprintf(link, sizeof(link), "%s/link", directory);
	assert_int_equal(symlink(path, link), 0);
	expect_load(link, 0, NULL);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(truncate(path, (1 << 20) + 1), 0);
	expect_load(path, LARDER_E_SETTINGS, "the whole: longer than 1M, allowed 0..1M");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	expect_load(path, LARDER_E_SETTINGS, "not a regular file");
}

/* Each of them by itself, from all three places; and what is none. */
static void windows_and_lots(void **state)
{
	static const char *const bad[] = { "\"jitter\":91", "\"jitter\":-1", "\"jitter\":\"5s\"", "\"jitter\":1.5", "\"beta\":10.01", "\"beta\":-1",
		"\"beta\":\"x\"", "\"beta\":true", "\"beta\":\"1.125\"", "\"busy\":\"wait\"", "\"busy\":1", "\"busy\":null", "\"busy\":\"\"",
		"\"stale_if_error\":-1", "\"stale_if_error\":\"3651d\"", "\"l2_ttl\":\"x\"", "\"l2_ttl\":\"3651d\"", "\"l2_ttl\":1.5" };
	struct ld_spaces *spaces = parse_well("{\"spaces\":{\"a\":{\"stale_if_error\":\"1h\",\"l2_ttl\":5000,\"jitter\":\"30%\",\"beta\":1.5,\"busy\":\"fail\"},"
	    "\"b\":{\"beta\":0,\"jitter\":90},\"c\":{\"beta\":\"2.25\"},\"d\":{\"beta\":10,\"busy\":\"load\"}},"
	    "\"tenants\":{\"t\":{\"spaces\":{\"a\":{\"stale_if_error\":0,\"busy\":\"load\",\"beta\":\"0.5\"}}}}}");
	struct ld_policy expected = fallback;

	(void)state;
	expected.error_ms = 3600000;
	expected.l2_ttl_ms = 5000;
	expected.jitter_pct = 30;
	expected.beta = 150;
	expected.on_busy = LD_ON_BUSY_FAIL;
	expect_policy(spaces, "other", "a", expected);
	expected.error_ms = 0;
	expected.beta = 50;
	expected.on_busy = LD_ON_BUSY_LOAD;
	expect_policy(spaces, "t", "a", expected);
	expected = fallback;
	expected.beta = 0;
	expected.jitter_pct = 90;
	expect_policy(spaces, "t", "b", expected);
	expected = fallback;
	expected.beta = 225;
	expect_policy(spaces, "t", "c", expected);
	expected.beta = 1000;
	expect_policy(spaces, "t", "d", expected);
	ld_spaces_free(spaces);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		char json[128];
		int len = snprintf(json, sizeof(json), "{\"spaces\":{\"a\":{%s}}}", bad[i]);

		expect_faults(json, (size_t)len, 1, NULL);
	}
}

/* What is shipped as an example must be one. */
static void example(void **state)
{
	const char *top = getenv("srcdir");
	struct ld_problems problems = { 0 };
	struct ld_spaces *spaces = NULL;
	struct ld_policy expected;
	char file[4200];

	(void)state;
	snprintf(file, sizeof(file), "%s/src/cache/spaces.example.json", top != NULL ? top : ".");
	assert_int_equal(ld_spaces_load(file, &spaces, &problems), 0);
	expected = plain(60000, 0, 10000, 0);
	expected.l2_ttl_ms = 300000;
	expected.on_busy = LD_ON_BUSY_FAIL;
	expect_policy(spaces, "initech", "jwt-validation", expected);
	expected = plain(30000, 30000, 5000, 0);
	expected.l2_ttl_ms = 180000;
	expected.error_ms = 120000;
	expect_policy(spaces, "initech", "credits-check", expected);
	expected = plain(3600000, 86400000, 60000, 1);
	expected.l2_ttl_ms = 3600000;
	expected.error_ms = 604800000;
	expected.jitter_pct = 20;
	expected.beta = 200;
	expect_policy(spaces, "acme", "config", expected);
	assert_int_equal(ld_spaces_quota(spaces, "initech"), 16 << 20);
	ld_spaces_free(spaces);
}

#ifdef LARDER_FAULTS
/* Every allocation of ours failed in turn: the result is always that memory ran out, and (under a sanitizer) nothing leaks. */
static int sweep(const char *text, int result)
{
	static struct ld_fault_plan plan;
	int failed = 0, got, acted;

	write_file(text);
	ld_fault_use(&plan);
	do {
		struct ld_problems problems = { 0 };
		struct ld_spaces *spaces = NULL;

		atomic_store(&plan.alloc_countdown, failed + 1);
		got = ld_spaces_load(path, &spaces, &problems);
		acted = atomic_load(&plan.alloc_countdown) == 0;
		assert_int_equal(got, acted ? LARDER_E_NOMEM : result);
		assert_int_equal(spaces != NULL, got == 0);
		ld_spaces_free(spaces);
		ld_problems_free(&problems);
		failed += acted;
	} while (acted);
	ld_fault_use(NULL);
	return failed;
}

static void allocations_fail(void **state)
{
	size_t len;
	char *json = repeat(17, "\"t%zu\":{\"quota\":\"64K\",\"spaces\":{\"c\":{\"ttl\":1%zu}}}", "{\"tenants\":{", "}}", &len);

	(void)state;
	assert_int_equal(sweep(json, 0), 2 + 2 * 2);
	assert_int_equal(sweep("{\"a\":1,\"b\":2}", LARDER_E_SETTINGS), 2 + 2);
	free(json);
}
#endif

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_given), cmocka_unit_test(each_field_finds_its_policy), cmocka_unit_test(limits_of_tenants),
		cmocka_unit_test(limits_of_the_second_level),
		cmocka_unit_test(breakers_of_tenants),
		cmocka_unit_test(bounds_of_every_field),
		cmocka_unit_test(faults_have_their_place), cmocka_unit_test(syntax_has_its_line),
		cmocka_unit_test(all_faults_at_once),
		cmocka_unit_test(faults_are_told_up_to_a_hundred), cmocka_unit_test(depth_is_limited),
		cmocka_unit_test(length_is_limited),
		cmocka_unit_test(ten_thousand_tenants), cmocka_unit_test(longest_ids),
		cmocka_unit_test_setup_teardown(files, make_directory, remove_directory), cmocka_unit_test(windows_and_lots),
		cmocka_unit_test(example),
#ifdef LARDER_FAULTS
		cmocka_unit_test_setup_teardown(allocations_fail, make_directory, remove_directory),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
