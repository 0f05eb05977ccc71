/* SPDX-License-Identifier: MIT */
/*
 * The parts of larder-l2d that need no HTTP server: heads of requests, both codecs, the kept value and its tag, base64, and the
 * memory of writes with every place where its owner can die.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"

#include "base64.h"
#include "envelope.h"
#include "headers.h"
#include "once.h"
#include "options.h"
#include "shared.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* ---- where a path leads ---- */

struct route_case {
	const char *path, *tenant;
	int result;
	const char *in_tenant, *key;
};

static void test_routes(void **state)
{
	static const struct route_case cases[] = {
		{ "/acme/key", NULL, 0, "acme", "key" },
		{ "/key", "acme", 0, "acme", "key" },
		{ "/acme/key", "acme", 0, "acme", "key" },
		{ "/acme/_health", NULL, 0, "acme", "_health" },
		{ "/_healthy", "acme", 0, "acme", "_healthy" },
		{ "/key", NULL, LARDER_E_TENANT, NULL, NULL },
		{ "/key", "", LARDER_E_TENANT, NULL, NULL },
		{ "//key", NULL, LARDER_E_TENANT, NULL, NULL },
		{ "/AC/key", NULL, LARDER_E_TENANT, NULL, NULL },
		{ "/acme/key", "acme2", LARDER_E_USAGE, NULL, NULL },
		{ "/acme/key", "acm", LARDER_E_USAGE, NULL, NULL },
		{ "/", "acme", LARDER_E_NAME, NULL, NULL },
		{ "/acme/", NULL, LARDER_E_NAME, NULL, NULL },
		{ "/acme/key/", NULL, LARDER_E_NAME, NULL, NULL },
		{ "/acme/b/c", NULL, LARDER_E_NAME, NULL, NULL },
		{ "/acme/k%65y", NULL, LARDER_E_NAME, NULL, NULL },
		{ "key", "acme", LARDER_E_USAGE, NULL, NULL },
		{ "*", "acme", LARDER_E_USAGE, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct l2d_route route;
		const char *why = NULL;
		int rc = l2d_route_read(cases[i].path, cases[i].tenant, &route, &why);
		assert_int_equal(rc, cases[i].result);
		if (rc != 0) {
			assert_non_null(why);
			continue;
		}
		assert_int_equal(route.place, L2D_AT_KEY);
		assert_string_equal(route.tenant, cases[i].in_tenant);
		assert_string_equal(route.key, cases[i].key);
		assert_int_equal(route.key_len, strlen(cases[i].key));
	}
}

static void test_longest_names(void **state)
{
	char path[400] = "/";
	struct l2d_route route;
	const char *why;

	(void)state;
	memset(path + 1, 't', 63);
	path[64] = '/';
	memset(path + 65, 'K', 256);
	assert_int_equal(l2d_route_read(path, NULL, &route, &why), 0);
	assert_int_equal(strlen(route.tenant), 63);
	assert_int_equal(route.key_len, 256);
	path[321] = 'K';
	assert_int_equal(l2d_route_read(path, NULL, &route, &why), LARDER_E_NAME);
	assert_int_equal(l2d_route_read("/_metrics", NULL, &route, &why), 0);
	assert_int_equal(route.place, L2D_AT_METRICS);
}

static void test_header_fields(void **state)
{
	struct l2d_headers headers = { 0 };

	(void)state;
	l2d_headers_note(&headers, "x-TENANT-id", "a");
	l2d_headers_note(&headers, "X-Tenant-Idx", "b");
	l2d_headers_note(&headers, "Accept", "c");
	l2d_headers_note(&headers, "accept", "d");
	assert_string_equal(headers.tenant, "a");
	assert_string_equal(headers.accept, "c");
	assert_null(headers.twice);
	l2d_headers_note(&headers, "X-Tenant-Id", "a");
	assert_string_equal(headers.twice, "X-Tenant-Id");
	assert_int_equal(headers.unclear, 0);
}

static int is_unclear(const char *first, const char *second)
{
	struct l2d_headers headers = { 0 };

	l2d_headers_note(&headers, first, "5");
	l2d_headers_note(&headers, second, "5");
	return headers.unclear;
}

static void test_heads_that_leave_the_end_open(void **state)
{
	(void)state;
	assert_int_equal(is_unclear("Content-Length", "Accept"), 0);
	assert_int_equal(is_unclear("X-Tenant-Id", "X-Tenant-Id"), 0);
	assert_int_equal(is_unclear("Content-Length", "content-length"), 1);
	assert_int_equal(is_unclear("Transfer-Encoding", "Transfer-Encoding"), 1);
	assert_int_equal(is_unclear("Accept", "Content-Length "), 1);
	assert_int_equal(is_unclear("Transfer-Encoding\t", "Accept"), 1);
}

static void test_codec_that_is_accepted(void **state)
{
	static const struct { const char *accept; enum l2d_codec kept, got; } cases[] = {
		{ NULL, L2D_JSON, L2D_JSON }, { "", L2D_JSON, L2D_JSON }, { "*/*", L2D_JSON, L2D_JSON },
		{ "application/json", L2D_RAW, L2D_JSON }, { "APPLICATION/JSON", L2D_RAW, L2D_JSON },
		{ "application/octet-stream, application/json", L2D_JSON, L2D_RAW },
		{ "text/html;q=1,application/json ; q=0.5", L2D_RAW, L2D_JSON },
		{ "application/json;q=0", L2D_RAW, L2D_RAW }, { "application/json; q=0.000, */*", L2D_RAW, L2D_RAW },
		{ "application/json;q=0.001", L2D_RAW, L2D_JSON }, { "application/json;v=1;q=0,x", L2D_RAW, L2D_RAW },
		{ "application/jsonx", L2D_RAW, L2D_RAW }, { ",,;,", L2D_RAW, L2D_RAW },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++)
		assert_int_equal(l2d_codec_accepted(cases[i].accept, cases[i].kept), cases[i].got);
}

static void test_bearer(void **state)
{
	(void)state;
	assert_true(l2d_is_bearer("Bearer abc", "abc", 3));
	assert_true(l2d_is_bearer("bearer   abc", "abc", 3));
	assert_false(l2d_is_bearer("Bearer abcabc", "abc", 3));
	assert_false(l2d_is_bearer("Bearer ab", "abc", 3));
	assert_false(l2d_is_bearer("Bearer ", "abc", 3));
	assert_false(l2d_is_bearer("Bearerabc", "abc", 3));
	assert_false(l2d_is_bearer(NULL, "abc", 3));
}

/* ---- the raw codec ---- */

static int raw_tags(const char *tags, struct l2d_value *ret_value)
{
	const struct l2d_headers headers = { .tags = tags };
	const char *why;

	*ret_value = (struct l2d_value){ .len = 5 };
	return l2d_raw_read(&headers, 7000, ret_value, &why);
}

static void test_raw_tags(void **state)
{
	static const char *const bad[] = { "", ",", "0123456789abcdef,", "0123456789ABCDEF", "0123456789abcde", "0123456789abcdef 0123456789abcdef" };
	struct l2d_value value;
	char text[19 * L2D_TAGS_MAX + 1], list[17 * 17 + 1] = "";

	(void)state;
	assert_int_equal(raw_tags(" 0123456789abcdef ,fedcba9876543210 ", &value), 0);
	assert_true(value.tag_count == 2 && value.tags[0] == UINT64_C(0x0123456789abcdef) && value.tags[1] == UINT64_C(0xfedcba9876543210));
	assert_int_equal(l2d_tags_write(&value, "", text, sizeof(text)), 33);
	assert_string_equal(text, "0123456789abcdef,fedcba9876543210");
	for (size_t i = 0; i < LENGTH(bad); i++)
		assert_int_equal(raw_tags(bad[i], &value), LARDER_E_USAGE);
	for (int i = 0; i < 17; i++) {
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s0123456789abcdef", i ? "," : "");
		assert_int_equal(raw_tags(list, &value), i < 16 ? 0 : LARDER_E_USAGE);
	}
}

static int raw(const char *cache_control, const char *created, struct l2d_value *ret_value)
{
	const struct l2d_headers headers = { .cache_control = cache_control, .created = created };
	const char *why;

	*ret_value = (struct l2d_value){ .len = 5 };
	return l2d_raw_read(&headers, 7000, ret_value, &why);
}

static void test_raw_times(void **state)
{
	struct l2d_value value;
	char text[100];

	(void)state;
	assert_int_equal(raw(NULL, NULL, &value), 0);
	assert_int_equal(value.ttl_ms, 7000);
	assert_int_equal(value.content, 0);
	assert_int_equal(value.len, 5);
	assert_int_equal(raw(" public , Max-Age=\"60\" ,stale-while-revalidate=5", "9", &value), 0);
	assert_int_equal(value.ttl_ms, 60000);
	assert_int_equal(value.stale_ms, 5000);
	assert_int_equal(value.created_ms, 9);
	assert_int_equal(value.content, L2D_CONTENT_DATED);
	l2d_raw_freshness(&value, text, sizeof(text));
	assert_string_equal(text, "max-age=60, stale-while-revalidate=5");
	/* More than ten years is ten years, as RFC 9111 has it for numbers that are too large. */
	assert_int_equal(raw("max-age=99999999999999999999999", NULL, &value), 0);
	assert_int_equal(value.ttl_ms, LARDER_TTL_MAX_MS);
	assert_int_equal(raw("no-store, max-age=5", NULL, &value), 1);
	assert_int_equal(raw("max-age=5, no-storex", NULL, &value), 0);
	assert_int_equal(raw("max-age=", NULL, &value), LARDER_E_TTL);
	assert_int_equal(raw("max-age=-1", NULL, &value), LARDER_E_TTL);
	assert_int_equal(raw("max-age=1.5", NULL, &value), LARDER_E_TTL);
	assert_int_equal(raw(NULL, "253402300800000", &value), LARDER_E_TTL);
	assert_int_equal(raw(NULL, "", &value), LARDER_E_TTL);
	/* RFC 5861 counts both windows from the end of the TTL. */
	assert_int_equal(raw("max-age=60, stale-if-error=30, stale-while-revalidate=5", NULL, &value), 0);
	assert_true(value.stale_ms == 5000 && value.error_ms == 25000);
	l2d_raw_freshness(&value, text, sizeof(text));
	assert_string_equal(text, "max-age=60, stale-while-revalidate=5, stale-if-error=30");
	assert_int_equal(raw("max-age=60, stale-if-error=30, stale-while-revalidate=50", NULL, &value), 0);
	assert_true(value.stale_ms == 50000 && value.error_ms == 0);
	assert_int_equal(raw("max-age=60, stale-if-error=x", NULL, &value), LARDER_E_TTL);
	value.ttl_ms = 1999, value.stale_ms = 999;
	l2d_raw_freshness(&value, text, sizeof(text));
	assert_string_equal(text, "max-age=1");
}

/* ---- the JSON codec ---- */

/* What an envelope comes back as. Returns the result of reading it. */
static int round_trip(const char *text, size_t len, char *to, size_t room, struct l2d_value *ret_value)
{
	unsigned char *kept = NULL;
	const char *why = NULL;
	char *copy = malloc(len + 1); /* so that a sanitizer sees a step too far */
	size_t written;

	memcpy(copy, text, len);
	copy[len] = '\0';
	int rc = l2d_envelope_read(copy, len, 1000, &kept, ret_value, &why);
	free(copy);
	if (rc != 0) {
		assert_non_null(why);
		return rc;
	}
	char *back = l2d_envelope_write(ret_value, &written);
	assert_non_null(back);
	assert_int_equal(written, strlen(back));
	assert_true(written < room);
	memcpy(to, back, written + 1);
	free(back);
	free(kept);
	return 0;
}

static void test_envelopes(void **state)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "{\"value\":\"\"}", "{\"value\":\"\",\"ttl\":1}" },
		{ " { \"ttl\" : 2.5 , \"value\" : \"a\" } ", "{\"value\":\"a\",\"ttl\":2.5}" },
		{ "{\"value\":\"a\",\"ttl\":0.001,\"stale\":0.25}", "{\"value\":\"a\",\"ttl\":0.001,\"stale\":0.25}" },
		{ "{\"value\":\"a\",\"larder_tags\":[\"0123456789abcdef\",\"fedcba9876543210\"],\"stale_if_error\":9.5,\"stale\":1}",
		    "{\"value\":\"a\",\"ttl\":1,\"stale\":1,\"stale_if_error\":9.5,\"larder_tags\":[\"0123456789abcdef\",\"fedcba9876543210\"]}" },
		{ "{\"value\":\"a\",\"larder_tags\":[],\"stale_if_error\":0}", "{\"value\":\"a\",\"ttl\":1}" },
		{ "{\"value\":\"a\",\"larder_tags\":null,\"stale_if_error\":null}", "{\"value\":\"a\",\"ttl\":1}" },
		{ "{\"value\":\"a\",\"tags\":[\"0123456789abcdef\"]}", "{\"value\":\"a\",\"ttl\":1,\"larder_tags\":[\"0123456789abcdef\"]}" },
		{ "{\"value\":\"a\",\"tags\":[\"0123456789abcdef\",\"b\"]}", "{\"value\":\"a\",\"ttl\":1}" },
		{ "{\"value\":\"a\",\"tags\":{\"x\":1}}", "{\"value\":\"a\",\"ttl\":1}" },
		{ "{\"value\":\"a\",\"tags\":[\"a\"],\"larder_tags\":[\"0123456789abcdef\"]}",
		    "{\"value\":\"a\",\"ttl\":1,\"larder_tags\":[\"0123456789abcdef\"]}" },
		{ "{\"value\":\"a\",\"ttl\":1e1,\"created\":0}", "{\"value\":\"a\",\"ttl\":10,\"created\":0}" },
		{ "{\"value\":\"a\",\"ttl\":null,\"created\":null,\"encoding\":null}", "{\"value\":\"a\",\"ttl\":1}" },
		{ "{\"value\":\"\\u0001\\b\\/\\ud83d\\ude00\\u007f\"}", "{\"value\":\"\\u0001\\b/\xf0\x9f\x98\x80\x7f\",\"ttl\":1}" },
		{ "{\"value\":\"\\u0000\"}", "{\"value\":\"AA==\",\"encoding\":\"base64\",\"ttl\":1}" },
		{ "{\"value\":\"YQ==\",\"encoding\":\"base64\"}", "{\"value\":\"YQ==\",\"encoding\":\"base64\",\"ttl\":1}" },
		{ "{\"value\":null}", "{\"value\":null,\"ttl\":1}" },
		{ "{\"value\": true ,\"x\":[{}]}", "{\"value\":true,\"ttl\":1}" },
		{ "{\"value\":-1.50e+300}", "{\"value\":-1.50e+300,\"ttl\":1}" },
		{ "{\"value\":18446744073709551616}", "{\"value\":18446744073709551616,\"ttl\":1}" },
		{ "{\"value\":[ ]}", "{\"value\":[],\"ttl\":1}" },
		{ "{\"value\":{\"b\" : \" \\\" } \" ,\t\"a\":[1 , {} ]},\"flags\":4294967295}",
		    "{\"value\":{\"b\":\" \\\" } \",\"a\":[1,{}]},\"ttl\":1,\"flags\":4294967295}" },
		{ "{\"data\":1,\"datax\":2}", "{\"value\":1,\"ttl\":1}" },
		{ "{\"data\":1,\"value\":2}", "{\"value\":2,\"ttl\":1}" },
		{ "{\"value\":1,\"value\":[2]}", "{\"value\":[2],\"ttl\":1}" },
		{ "{\"valu\\u0065\":[ 1 ]}", "{\"value\":[1.0],\"ttl\":1}" },
		{ "{\"x\":{\"value\":3},\"value\":4,\"y\":\"value\"}", "{\"value\":4,\"ttl\":1}" },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct l2d_value value;
		char back[500] = "";
		assert_int_equal(round_trip(cases[i].in, strlen(cases[i].in), back, sizeof(back), &value), 0);
		assert_string_equal(back, cases[i].out);
	}
}

#define FOUR "\"0123456789abcdef\",\"0123456789abcdef\",\"0123456789abcdef\",\"0123456789abcdef\","
#define SEVENTEEN FOUR FOUR FOUR FOUR "\"0123456789abcdef\""

static void test_envelopes_refused(void **state)
{
	static const struct { const char *in; int result; } cases[] = {
		{ "", LARDER_E_USAGE }, { "null", LARDER_E_USAGE }, { "[1]", LARDER_E_USAGE }, { "{}", LARDER_E_USAGE }, { "{\"value\":", LARDER_E_USAGE },
		{ "{\"value\":\"a\"} x", LARDER_E_USAGE }, { "{\"value\":\"\xc3\"}", LARDER_E_USAGE }, { "{\"value\":1e999}", LARDER_E_USAGE },
		{ "{\"value\":\"a\",\"encoding\":1}", LARDER_E_USAGE }, { "{\"value\":\"a\",\"encoding\":\"base64\"}", LARDER_E_USAGE },
		{ "{\"value\":\"YR==\",\"encoding\":\"base64\"}", LARDER_E_USAGE }, { "{\"value\":[],\"encoding\":\"base64\"}", LARDER_E_USAGE },
		{ "{\"value\":\"a\",\"ttl\":-0.1}", LARDER_E_TTL }, { "{\"value\":\"a\",\"ttl\":315360000.1}", LARDER_E_TTL },
		{ "{\"value\":\"a\",\"stale\":-1}", LARDER_E_TTL }, { "{\"value\":\"a\",\"hard_end\":1e300}", LARDER_E_TTL },
		{ "{\"value\":\"a\",\"stale_if_error\":-1}", LARDER_E_TTL }, { "{\"value\":\"a\",\"larder_tags\":\"0123456789abcdef\"}", LARDER_E_USAGE },
		{ "{\"value\":\"a\",\"larder_tags\":[\"0123456789ABCDEF\"]}", LARDER_E_USAGE }, { "{\"value\":\"a\",\"larder_tags\":[\"0123456789abcde\"]}", LARDER_E_USAGE },
		{ "{\"value\":\"a\",\"larder_tags\":[1]}", LARDER_E_USAGE }, { "{\"value\":\"a\",\"larder_tags\":[" SEVENTEEN "]}", LARDER_E_USAGE },
		{ "{\"value\":\"a\",\"flags\":-1}", LARDER_E_USAGE }, { "{\"value\":\"a\",\"created\":\"now\"}", LARDER_E_USAGE },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct l2d_value value;
		char back[500];
		assert_int_equal(round_trip(cases[i].in, strlen(cases[i].in), back, sizeof(back), &value), cases[i].result);
	}
}

/* Every length of bytes, and every byte. */
static void test_base64(void **state)
{
	unsigned char bytes[256], back[260]; /* a decoder may write to the end of the last group */
	char text[400];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 37 + 11);
	for (size_t n = 0; n <= sizeof(bytes); n++) {
		size_t wrote = l2d_base64_encode(bytes, n, text);
		assert_int_equal(wrote, l2d_base64_size(n));
		assert_int_equal(l2d_base64_decode(text, wrote, back, &len), 0);
		assert_int_equal(len, n);
		assert_memory_equal(back, bytes, n);
		if (n > 0)
			assert_int_equal(l2d_base64_decode(text, wrote - 1, back, &len), -1);
	}
	assert_int_equal(l2d_base64_decode("====", 4, back, &len), -1);
	assert_int_equal(l2d_base64_decode("a=b=", 4, back, &len), -1);
	assert_int_equal(l2d_base64_decode("YQ==YQ==", 8, back, &len), -1);
	assert_int_equal(l2d_base64_decode("YQ\n=", 4, back, &len), -1);
}

static void test_text_or_not(void **state)
{
	static const char *const texts[] = { "", "a", "12345678901234567890", "1234567\xc3\xa9z", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\x7f\x01" };
	static const char *const others[] = { "\x80", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "12345678\xc3" };

	(void)state;
	for (size_t i = 0; i < LENGTH(texts); i++)
		assert_true(l2d_is_text(texts[i], strlen(texts[i])));
	for (size_t i = 0; i < LENGTH(others); i++)
		assert_false(l2d_is_text(others[i], strlen(others[i])));
	assert_false(l2d_is_text("1234\0" "567890", 11));
	assert_false(l2d_is_text("12345678\0", 9));
}

/* ---- the kept value ---- */

static void test_kept_and_read_again(void **state)
{
	unsigned char kept[L2D_HEAD_SIZE + 3];
	struct l2d_value value = { .data = "abc", .len = 3, .created_ms = 1700000000123, .ttl_ms = LARDER_TTL_MAX_MS, .stale_ms = 5,
		.hard_end_ms = 9700000000000, .flags = UINT32_MAX, .codec = L2D_JSON, .content = L2D_CONTENT_JSON | L2D_CONTENT_DATED, .error_ms = 7,
		.tag_count = 16 }, back;

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		value.tags[i] = UINT64_C(0x0123456789abcdef) * (i + 1);
	l2d_value_pack(&value, kept);
	memcpy(kept + L2D_HEAD_SIZE, "abc", 3);
	assert_int_equal(l2d_value_unpack(kept, sizeof(kept), &back), 0);
	assert_ptr_equal(back.data, kept + L2D_HEAD_SIZE);
	back.data = value.data;
	assert_int_equal(back.len, value.len);
	assert_int_equal(back.created_ms, value.created_ms);
	assert_int_equal(back.ttl_ms, value.ttl_ms);
	assert_int_equal(back.stale_ms, value.stale_ms);
	assert_int_equal(back.hard_end_ms, value.hard_end_ms);
	assert_int_equal(back.flags, value.flags);
	assert_int_equal(back.codec, value.codec);
	assert_int_equal(back.content, value.content);
	assert_int_equal(back.hash, value.hash);
	assert_int_equal(l2d_value_unpack(kept, L2D_HEAD_SIZE - 1, &back), -1);
	assert_int_equal(back.error_ms, 7);
	assert_true(back.tag_count == 16 && memcmp(back.tags, value.tags, sizeof(value.tags)) == 0);
	kept[6] = 17;
	assert_int_equal(l2d_value_unpack(kept, sizeof(kept), &back), -1);
	kept[6] = 16;
	kept[3] = '1';
	assert_int_equal(l2d_value_unpack(kept, sizeof(kept), &back), -1);
}

static void test_tags(void **state)
{
	unsigned char head[L2D_HEAD_SIZE];
	struct l2d_value value = { .data = "abc", .len = 3, .ttl_ms = 5 };
	char tag[L2D_ETAG_SIZE], other[L2D_ETAG_SIZE], list[100];

	(void)state;
	l2d_value_pack(&value, head);
	l2d_value_etag(&value, L2D_RAW, tag);
	l2d_value_etag(&value, L2D_JSON, other);
	assert_string_not_equal(tag, other);
	value.ttl_ms = 6;
	l2d_value_pack(&value, head);
	l2d_value_etag(&value, L2D_RAW, other);
	assert_string_not_equal(tag, other);
	/* An other window, or other tags, are another representation. */
	for (int i = 0; i < 2; i++) {
		l2d_value_etag(&value, L2D_RAW, tag);
		value.error_ms = 9;
		value.tag_count = (uint8_t)i;
		value.tags[0] = 3;
		l2d_value_pack(&value, head);
		l2d_value_etag(&value, L2D_RAW, other);
		assert_string_not_equal(tag, other);
	}
	snprintf(list, sizeof(list), "\"a\", W/%s", tag);
	assert_true(l2d_value_etag_in(list, tag));
	assert_true(l2d_value_etag_in(tag, tag));
	assert_true(l2d_value_etag_in(" * ", tag));
	assert_false(l2d_value_etag_in(list, other));
	assert_false(l2d_value_etag_in("", tag));
	assert_false(l2d_value_etag_in("\"", tag));
	tag[strlen(tag) - 1] = '\0';
	assert_false(l2d_value_etag_in(tag, other));
}

/* ---- writes that take effect once ---- */

struct pair {
	struct l2d_shared *shared;
	struct larder_call call;
	struct l2d_once one, two;    /* of the workers in slot 0 and 1, for the same write */
};

static int begin(void **state)
{
	return box_begin(state);
}

static int end(void **state)
{
	return box_end(state);
}

static void make_pair(struct box *box, struct pair *pair)
{
	box_open(box, NULL);
	pair->shared = l2d_shared_make(2);
	assert_non_null(pair->shared);
	pair->call = (struct larder_call)LARDER_CALL_INIT;
	atomic_store(&pair->shared->slot[0].life, 1);
	atomic_store(&pair->shared->slot[1].life, 1);
	pair->one = (struct l2d_once){ .shared = pair->shared, .tenant = box->tenant, .call = &pair->call, .slot = 0, .life = 1 };
	pair->two = pair->one;
	pair->two.slot = 1;
	l2d_once_name(&pair->one, "PUT", "key", "abc");
	l2d_once_name(&pair->two, "PUT", "key", "abc");
}

static enum l2d_once_result begin_write(struct l2d_once *once, unsigned *ret_status)
{
	enum l2d_once_result result = L2D_ONCE_RUNNING;
	assert_int_equal(l2d_once_begin(once, &result, ret_status), 0);
	return result;
}

static void test_a_repeat_is_answered_as_the_first(void **state)
{
	struct pair pair;
	unsigned status = 0;

	make_pair(*state, &pair);
	assert_int_equal(begin_write(&pair.one, &status), L2D_ONCE_FIRST);
	assert_int_equal(begin_write(&pair.two, &status), L2D_ONCE_RUNNING);
	l2d_once_done(&pair.one, 201);
	assert_int_equal(begin_write(&pair.two, &status), L2D_ONCE_REPEAT);
	assert_int_equal(status, 201);
	assert_int_equal(begin_write(&pair.one, &status), L2D_ONCE_REPEAT);
	l2d_once_name(&pair.two, "POST", "key", "abc");
	assert_int_equal(begin_write(&pair.two, &status), L2D_ONCE_FIRST);
	l2d_once_name(&pair.two, "PUT", "key2", "abc");
	assert_int_equal(begin_write(&pair.two, &status), L2D_ONCE_FIRST);
	l2d_once_name(&pair.two, "PUT", "key", "abcd");
	assert_int_equal(begin_write(&pair.two, &status), L2D_ONCE_FIRST);
}

static void test_a_write_that_failed_is_a_first_again(void **state)
{
	struct pair pair;
	unsigned status = 0;

	make_pair(*state, &pair);
	assert_int_equal(begin_write(&pair.one, &status), L2D_ONCE_FIRST);
	l2d_once_undo(&pair.one);
	assert_int_equal(begin_write(&pair.two, &status), L2D_ONCE_FIRST);
}

/* Killed between the two steps: whoever repeats it takes it over, but only once the owner is known to be gone. */
static void test_a_write_whose_worker_died_is_taken_over(void **state)
{
	struct pair pair;
	unsigned status = 0;

	make_pair(*state, &pair);
	assert_int_equal(begin_write(&pair.one, &status), L2D_ONCE_FIRST);
	assert_int_equal(begin_write(&pair.two, &status), L2D_ONCE_RUNNING);
	atomic_store(&pair.shared->slot[0].life, 2);
	assert_int_equal(begin_write(&pair.two, &status), L2D_ONCE_FIRST);
	/* The successor in the slot of the dead one has another life, and waits like any other. */
	atomic_store(&pair.shared->slot[0].life, 3);
	pair.one.life = 3;
	assert_int_equal(begin_write(&pair.one, &status), L2D_ONCE_RUNNING);
	l2d_once_done(&pair.two, 204);
	assert_int_equal(begin_write(&pair.one, &status), L2D_ONCE_REPEAT);
	assert_int_equal(status, 204);
}

static void test_a_write_of_another_run_or_of_oneself_is_taken_over(void **state)
{
	struct pair pair;
	unsigned status = 0;

	make_pair(*state, &pair);
	assert_int_equal(begin_write(&pair.one, &status), L2D_ONCE_FIRST);
	assert_int_equal(begin_write(&pair.one, &status), L2D_ONCE_FIRST);
	pair.shared->run ^= 1;
	assert_int_equal(begin_write(&pair.two, &status), L2D_ONCE_FIRST);
}

/* ---- words of the command line ---- */

static void test_sizes_and_times(void **state)
{
	static const char *const bad_sizes[] = { "", "K", "1KB", "1k", "-1", " 1", "1.5M", "99999999999999999999", "9000000000T" };
	static const char *const bad_times[] = { "", "s", "1x", "-1s", "1.5h", "3651d", "99999999999999999999" };
	uint64_t bytes;
	int64_t ms;

	(void)state;
	assert_int_equal(l2d_parse_size("64K", &bytes), 0);
	assert_int_equal(bytes, 65536);
	assert_int_equal(l2d_parse_size("1T", &bytes), 0);
	assert_int_equal(bytes, UINT64_C(1) << 40);
	assert_int_equal(l2d_parse_time("90", &ms), 0);
	assert_int_equal(ms, 90000);
	assert_int_equal(l2d_parse_time("500ms", &ms), 0);
	assert_int_equal(ms, 500);
	assert_int_equal(l2d_parse_time("3650d", &ms), 0);
	assert_int_equal(ms, LARDER_TTL_MAX_MS);
	for (size_t i = 0; i < LENGTH(bad_sizes); i++)
		assert_int_equal(l2d_parse_size(bad_sizes[i], &bytes), -1);
	for (size_t i = 0; i < LENGTH(bad_times); i++)
		assert_int_equal(l2d_parse_time(bad_times[i], &ms), -1);
	assert_int_equal(l2d_parse_number("4294967295", UINT32_MAX, &bytes), 0);
	assert_int_equal(l2d_parse_number("4294967296", UINT32_MAX, &bytes), -1);
	assert_int_equal(l2d_parse_number("7", 5, &bytes), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_longest_names),
		cmocka_unit_test(test_header_fields),
		cmocka_unit_test(test_heads_that_leave_the_end_open),
		cmocka_unit_test(test_codec_that_is_accepted),
		cmocka_unit_test(test_bearer),
		cmocka_unit_test(test_raw_times), cmocka_unit_test(test_raw_tags),
		cmocka_unit_test(test_envelopes),
		cmocka_unit_test(test_envelopes_refused),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_text_or_not),
		cmocka_unit_test(test_kept_and_read_again),
		cmocka_unit_test(test_tags),
		cmocka_unit_test_setup_teardown(test_a_repeat_is_answered_as_the_first, begin, end),
		cmocka_unit_test_setup_teardown(test_a_write_that_failed_is_a_first_again, begin, end),
		cmocka_unit_test_setup_teardown(test_a_write_whose_worker_died_is_taken_over, begin, end),
		cmocka_unit_test_setup_teardown(test_a_write_of_another_run_or_of_oneself_is_taken_over, begin, end),
		cmocka_unit_test(test_sizes_and_times),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
