/* SPDX-License-Identifier: MIT */
/*
 * The wire codecs: exact bytes of what is written, every value read back as it was, every body that is not right refused with its
 * reason, and memory that runs out at each allocation, jansson's included. Times are in test_codec_time.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <larder/larder.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/mem.h"
#include "l2/codec.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define NOW_MS INT64_C(1700000000000)
#define VALUE_MAX ((size_t)4 << 20)
#define ENTRY "\"ttl\":60,\"created\":1700000000000}"

static struct ld_wire_value value_of(const void *data, size_t len)
{
	return (struct ld_wire_value){ .data = data, .len = len, .ttl_ms = 60000, .created_ms = NOW_MS };
}

static struct ld_wire_answer answer_of(const void *body, size_t len, int is_json)
{
	return (struct ld_wire_answer){ .body = body, .len = len, .is_json = is_json, .age_ms = -1, .max_age_s = -1,
		.stale_while_revalidate_s = -1, .default_ttl_ms = 300000, .default_stale_ms = 0 };
}

/* Writing */

static void expect_json(const struct ld_wire_value *value, const char *want)
{
	struct ld_wire_body body;

	assert_int_equal(ld_codec_encode(LD_CODEC_JSON, value, &body), LD_CODEC_OK);
	if (body.len != strlen(want) || memcmp(body.data, want, body.len) != 0)
		fail_msg("%.*s", (int)body.len, body.data);
	assert_int_equal(body.header_count, 1);
	assert_string_equal(body.headers[0].name, "Content-Type");
	assert_string_equal(body.headers[0].value, "application/json");
	ld_wire_body_free(&body);
	assert_null(body.memory);
}

static void json_is_exactly_this(void **state)
{
	static const struct { const char *data; size_t len; const char *json; } rows[] = {
		{ "", 0, "{\"value\":\"\"," ENTRY },
		{ "hello", 5, "{\"value\":\"hello\"," ENTRY },
		{ "{\"a\":[1,\"\\n\"]}", 14, "{\"value\":{\"a\":[1,\"\\n\"]}," ENTRY },
		{ "{\"a\": 1}", 8, "{\"value\":\"{\\\"a\\\": 1}\"," ENTRY },
		{ "[]", 2, "{\"value\":[]," ENTRY },
		{ "7", 1, "{\"value\":\"7\"," ENTRY },
		{ "\"x\"", 3, "{\"value\":\"\\\"x\\\"\"," ENTRY },
		{ "\x01\b\t\n\v\f\r\x1f /\x7f", 11, "{\"value\":\"\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f /\x7f\"," ENTRY },
		{ "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", 15, "{\"value\":\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\"," ENTRY },
		{ "\xe2\x80\xa8", 3, "{\"value\":\"\xe2\x80\xa8\"," ENTRY },
		{ "\0", 1, "{\"value\":\"AA==\",\"encoding\":\"base64\"," ENTRY },
		{ "a\0b", 3, "{\"value\":\"YQBi\",\"encoding\":\"base64\"," ENTRY },
		{ "\xff\xfe", 2, "{\"value\":\"//4=\",\"encoding\":\"base64\"," ENTRY },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct ld_wire_value value = value_of(rows[i].data, rows[i].len);

		expect_json(&value, rows[i].json);
	}
	expect_json(&(struct ld_wire_value){ .data = NULL, .ttl_ms = 1 }, "{\"value\":\"\",\"ttl\":0.001}");
	expect_json(&(struct ld_wire_value){ .data = (const unsigned char *)"x", .len = 1, .ttl_ms = 60500, .stale_ms = 30010, .created_ms = 1,
		.hard_end_ms = INT64_C(1700000600000), .flags = UINT32_MAX },
	    "{\"value\":\"x\",\"ttl\":60.5,\"stale\":30.01,\"created\":1,\"hard_end\":1700000600000,\"flags\":4294967295}");
	expect_json(&(struct ld_wire_value){ .data = (const unsigned char *)"\xff", .len = 1, .ttl_ms = INT64_MAX, .stale_ms = INT64_MAX,
		.created_ms = INT64_MAX, .hard_end_ms = INT64_MAX, .flags = UINT32_MAX },
	    "{\"value\":\"/w==\",\"encoding\":\"base64\",\"ttl\":315360000,\"stale\":315360000,\"created\":9223372036854775807,"
	    "\"hard_end\":9223372036854775807,\"flags\":4294967295}");
}

static void expect_raw(const struct ld_wire_value *value, const char *want)
{
	struct ld_wire_body body;
	char headers[512];
	size_t len = 0;

	assert_int_equal(ld_codec_encode(LD_CODEC_RAW, value, &body), LD_CODEC_OK);
	assert_ptr_equal(body.data, value->data);
	assert_int_equal(body.len, value->len);
	assert_null(body.memory);
	for (size_t i = 0; i < body.header_count; i++)
		len += (size_t)snprintf(headers + len, sizeof(headers) - len, "%s: %s\n", body.headers[i].name, body.headers[i].value);
	assert_string_equal(headers, want);
	ld_wire_body_free(&body);
}

static void raw_is_exactly_this(void **state)
{
	static const unsigned char data[] = "a\0b";

	(void)state;
	expect_raw(&(struct ld_wire_value){ .data = data, .len = 3, .ttl_ms = 1000 },
	    "Content-Type: application/octet-stream\nCache-Control: max-age=1\n");
	expect_raw(&(struct ld_wire_value){ .data = data, .len = 3, .ttl_ms = 60999, .stale_ms = 30000, .created_ms = NOW_MS, .flags = 7 },
	    "Content-Type: application/octet-stream\nCache-Control: max-age=60, stale-while-revalidate=30\n"
	    "X-Larder-Created: 1700000000000\nX-Larder-Flags: 7\n");
	/* The end of the window is kept to the second: 1.6 + 1.5 are 1 + 2. A window that is nothing is not written. */
	expect_raw(&(struct ld_wire_value){ .data = data, .len = 3, .ttl_ms = 1600, .stale_ms = 1500 },
	    "Content-Type: application/octet-stream\nCache-Control: max-age=1, stale-while-revalidate=2\n");
	expect_raw(&(struct ld_wire_value){ .data = data, .len = 3, .ttl_ms = 1600, .stale_ms = 300 },
	    "Content-Type: application/octet-stream\nCache-Control: max-age=1\n");
	expect_raw(&(struct ld_wire_value){ .data = data, .len = 0, .ttl_ms = INT64_MAX, .stale_ms = INT64_MAX, .created_ms = INT64_MAX,
		.hard_end_ms = INT64_MAX, .flags = UINT32_MAX },
	    "Content-Type: application/octet-stream\nCache-Control: max-age=315360000, stale-while-revalidate=315360000\n"
	    "X-Larder-Created: 9223372036854775807\nX-Larder-Hard-End: 9223372036854775807\nX-Larder-Flags: 4294967295\n");
}

/* Below a second raw has no word for it; below a millisecond nobody has. */
static void too_short_a_life(void **state)
{
	static const int64_t ttls[] = { INT64_MIN, -1, 0, 1, 999, 1000 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ttls); i++) {
		struct ld_wire_value value = { .data = (const unsigned char *)"x", .len = 1, .ttl_ms = ttls[i], .stale_ms = 60000 };
		struct ld_wire_body json, raw;

		assert_int_equal(ld_codec_encode(LD_CODEC_JSON, &value, &json), ttls[i] >= 1 ? LD_CODEC_OK : LD_CODEC_UNKEPT);
		assert_int_equal(ld_codec_encode(LD_CODEC_RAW, &value, &raw), ttls[i] >= 1000 ? LD_CODEC_OK : LD_CODEC_UNKEPT);
		if (ttls[i] >= 1)
			ld_wire_body_free(&json);
	}
}

/* There and back */

static void round_trip(const unsigned char *data, size_t len)
{
	struct ld_wire_value value = value_of(data, len), json, raw;
	struct ld_wire_answer answer;
	struct ld_wire_body body;
	const char *why;

	assert_int_equal(ld_codec_encode(LD_CODEC_JSON, &value, &body), LD_CODEC_OK);
	assert_in_range(body.len, len, ld_codec_body_max(len));
	answer = answer_of(body.data, body.len, 1);
	assert_int_equal(ld_codec_decode(&answer, NOW_MS, len, &json, &why), LD_CODEC_OK);
	ld_wire_body_free(&body);
	assert_int_equal(json.len, len);
	assert_memory_equal(json.data, data, len);
	assert_int_equal(json.left_ms, 60000);
	ld_wire_value_free(&json);
	assert_int_equal(ld_codec_encode(LD_CODEC_RAW, &value, &body), LD_CODEC_OK);
	answer = answer_of(body.data, body.len, 0);
	assert_int_equal(ld_codec_decode(&answer, NOW_MS, len, &raw, &why), LD_CODEC_OK);
	assert_ptr_equal(raw.data, data);
	assert_int_equal(raw.len, len);
	assert_null(raw.memory);
	ld_wire_value_free(&raw);
	ld_wire_body_free(&body);
}

static void every_byte_and_length(void **state)
{
	unsigned char data[300];

	(void)state;
	for (unsigned first = 0; first < 256; first++) {
		data[0] = (unsigned char)first;
		round_trip(data, 1);
		data[1] = 'x';
		round_trip(data, 2);
	}
	for (unsigned len = 0; len <= sizeof(data); len++) {
		for (unsigned i = 0; i < len; i++)
			data[i] = (unsigned char)(len * 7 + i);
		round_trip(data, len);
		for (unsigned i = 0; i < len; i++)
			data[i] = (unsigned char)(1 + (len + i) % 127);
		round_trip(data, len);
	}
}

static void a_megabyte(void **state)
{
	size_t len = (size_t)1 << 20;
	unsigned char *data = malloc(len);

	(void)state;
	assert_non_null(data);
	for (uint32_t i = 0, x = 1; i < len; i++, x = x * 1664525 + 1013904223)
		data[i] = (unsigned char)(x >> 24);
	round_trip(data, len);
	memset(data, 1, len);
	round_trip(data, len);
	memset(data, 'a', len);
	round_trip(data, len);
	free(data);
}

/* A byte of each kind at each place round the edges of words of eight: the writer and the reader skip by words. */
static void odd_bytes_between_plain_ones(void **state)
{
	static const char *const odd[] = { "\"", "\\", "\n", "\x01", "\x1f", "\x7f", "\xc3\xa9", "\xf0\x9f\x98\x80", "\xff", "\xc3", "\0" };
	unsigned char data[64];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(odd); i++) {
		size_t size = odd[i][0] == '\0' ? 1 : strlen(odd[i]);

		for (size_t len = size; len <= 40; len++) {
			for (size_t at = 0; at + size <= len; at++) {
				memset(data, 'x', sizeof(data));
				memcpy(data + at, odd[i], size);
				round_trip(data, len);
			}
		}
	}
}

/* An object or array goes as it is if it comes back so; whatever else begins like one is a string. Byte for byte all the same. */
static void json_goes_as_json(void **state)
{
	static const char *const as_json[] = { "{}", "[]", "[null,true,false]", "{\"z\":1,\"a\":{\"b\":[]}}", "[0.1,1.5,-7,1e300,123456789012345678]",
		"[\"\\u0000\",\"\\n\\\"\\\\\",\"/\",\"\x7f\"]", "{\"gr\xc3\xbc\xc3\x9f\":\"\xf0\x9f\x98\x80\"}", "{\"value\":1,\"ttl\":\"x\"}", "{\"\":0}" };
	static const char *const as_text[] = { "{", "[", "{}x", "[] ", " []", "[1, 2]", "{\"a\":1,\"a\":2}", "[1.10]", "[1.0e5]", "[0.12345678901234567]",
		"[123456789012345678901]", "[1e400]", "[\"\\u0041\"]", "[\"\\/\"]", "{\"a\\u0000b\":1}", "{\"\\u0061\":1}", "[\"\\ud800\"]", "[01]", "[-0]x", "[1,]",
		"{}{}", "[\"\n\"]", "[-0.0e0]" };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(as_json) + COUNT_OF(as_text); i++) {
		const char *data = i < COUNT_OF(as_json) ? as_json[i] : as_text[i - COUNT_OF(as_json)];
		struct ld_wire_value value = value_of(data, strlen(data));
		struct ld_wire_body body;

		assert_int_equal(ld_codec_encode(LD_CODEC_JSON, &value, &body), LD_CODEC_OK);
		if ((memcmp(body.data, "{\"value\":\"", 10) != 0) != (i < COUNT_OF(as_json)))
			fail_msg("%.*s", (int)body.len, body.data);
		ld_wire_body_free(&body);
		round_trip((const unsigned char *)data, strlen(data));
	}
}

/* Texts made of what JSON is made of, some of them JSON. */
static void what_looks_like_json_comes_back(void **state)
{
	static const char *const parts[] = { "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"b\":", "1", "0.1", "1e5", "true", "null", " ", "\\u0041", "\\n", "-", "\xc3\xa9" };
	uint32_t x = 7;

	(void)state;
	for (int run = 0; run < 200000; run++) {
		char data[200];
		size_t len = 0, count = 1 + (x >> 20) % 12;

		data[len++] = x >> 31 ? '{' : '[';
		for (size_t i = 0; i < count; i++) {
			const char *part = parts[(x = x * 1664525 + 1013904223) / (UINT32_MAX / COUNT_OF(parts) + 1)];

			memcpy(data + len, part, strlen(part));
			len += strlen(part);
		}
		data[len] = data[0] == '{' ? '}' : ']';
		round_trip((const unsigned char *)data, len + 1);
		x = x * 1664525 + 1013904223;
	}
}

/* The longest one, and the deepest, and what is beyond them. */
static void json_within_its_bounds(void **state)
{
	static char data[LD_WIRE_JSON_MAX_B + 2];

	(void)state;
	for (size_t len = LD_WIRE_JSON_MAX_B - 1; len <= LD_WIRE_JSON_MAX_B + 1; len++) {
		struct ld_wire_value value = value_of(data, len);
		struct ld_wire_body body;

		memset(data, 'x', sizeof(data));
		memcpy(data, "[\"", 2);
		memcpy(data + len - 2, "\"]", 2);
		assert_int_equal(ld_codec_encode(LD_CODEC_JSON, &value, &body), LD_CODEC_OK);
		assert_int_equal(memcmp(body.data, "{\"value\":[", 10) == 0, len <= LD_WIRE_JSON_MAX_B);
		ld_wire_body_free(&body);
		round_trip((const unsigned char *)data, len);
	}
	for (size_t depth = LD_WIRE_DEPTH_MAX - 2; depth <= LD_WIRE_DEPTH_MAX + 1; depth++) {
		struct ld_wire_value value = value_of(data, 2 * depth);
		struct ld_wire_body body;

		memset(data, '[', depth);
		memset(data + depth, ']', depth);
		assert_int_equal(ld_codec_encode(LD_CODEC_JSON, &value, &body), LD_CODEC_OK);
		assert_int_equal(memcmp(body.data, "{\"value\":[", 10) == 0, depth < LD_WIRE_DEPTH_MAX);
		ld_wire_body_free(&body);
		round_trip((const unsigned char *)data, 2 * depth);
	}
}

/* What is text goes as text, what is not quite goes as base64; both come back. */
static void edges_of_utf8(void **state)
{
	static const char *const text[] = { "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
		"\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\xef\xbb\xbf" };
	static const char *const bytes[] = { "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2x", "\xe0\x9f\xbf", "\xe2\x82", "\xed\xa0\x80",
		"\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x9f\x98", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "ok\xc3" };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(text) + COUNT_OF(bytes); i++) {
		const char *data = i < COUNT_OF(text) ? text[i] : bytes[i - COUNT_OF(text)];
		struct ld_wire_value value = value_of(data, strlen(data));
		struct ld_wire_body body;

		assert_int_equal(ld_codec_encode(LD_CODEC_JSON, &value, &body), LD_CODEC_OK);
		assert_int_equal(memmem(body.data, body.len, "base64", 6) == NULL, i < COUNT_OF(text));
		ld_wire_body_free(&body);
		round_trip((const unsigned char *)data, strlen(data));
	}
}

/* Reading what others write */

static void other_bodies(void **state)
{
	static const struct { const char *json; size_t json_len; const char *data; size_t len; } rows[] = {
#define ROW(json, data) { json, sizeof(json) - 1, data, sizeof(data) - 1 }
		ROW("{\"value\":\"x\"}", "x"),
		ROW(" \t\r\n{ \"ttl\" : 60.0 , \"value\" : \"x\" } ", "x"),
		ROW("{\"data\":\"x\"}", "x"),
		ROW("{\"data\":\"x\",\"value\":\"y\"}", "y"),
		ROW("{\"value\":\"x\",\"ttl\":null,\"stale\":null,\"created\":null,\"hard_end\":null,\"flags\":null,\"encoding\":null}", "x"),
		ROW("{\"value\":\"x\",\"other\":{\"value\":\"z\"},\"labels\":[\"value\"],\"Value\":1,\"TTL\":\"no\"}", "x"),
		ROW("{\"value\":\"\\u0000a\\u0000\"}", "\0a\0"),
		ROW("{\"value\":\"\\u20ac\\ud83d\\ude00\\/\"}", "\xe2\x82\xac\xf0\x9f\x98\x80/"),
		ROW("{\"value\":\"AP8=\",\"encoding\":\"base64\"}", "\0\xff"),
		ROW("{\"encoding\":\"base64\",\"data\":\"\"}", ""),
		ROW("{\"val\\u0075e\":\"x\"}", "x"),
		/* A value that is JSON: its text without blanks, digit for digit. */
		ROW("{\"value\":null}", "null"), ROW("{\"value\":true}", "true"), ROW("{\"value\": false }", "false"),
		ROW("{\"a\":true,\"value\":true,\"b\":null}", "true"),
		ROW("{\"value\":0}", "0"), ROW("{\"value\":-0}", "-0"), ROW("{\"value\":1.10}", "1.10"), ROW("{\"value\":1E+2}", "1E+2"),
		ROW("{\"value\":9007199254740993}", "9007199254740993"),
		ROW("{\"value\":123456789012345678901234567890123}", "123456789012345678901234567890123"),
		ROW("{\"value\":0.1000000000000000055511151231257827}", "0.1000000000000000055511151231257827"),
		ROW("{\"value\":{}}", "{}"), ROW("{\"value\":[ ]}", "[]"),
		ROW("{\"x\":[{\"value\":9}],\"value\" :\n\t{ \"a b\" : [ 1, 2.50 , \"\\u00e9 \\\" }\" ] }\n,\"ttl\":5}",
		    "{\"a b\":[1,2.50,\"\\u00e9 \\\" }\"]}"),
		ROW("{\"v\\u0061lue\": [ 1 ] , \"x\":2}", "[1]"),
#undef ROW
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct ld_wire_answer answer = answer_of(rows[i].json, rows[i].json_len, 1);
		struct ld_wire_value value;
		const char *why = "";

		if (ld_codec_decode(&answer, NOW_MS, VALUE_MAX, &value, &why) != LD_CODEC_OK)
			fail_msg("%s: %s", rows[i].json, why);
		if (value.len != rows[i].len || memcmp(value.data, rows[i].data, value.len) != 0)
			fail_msg("%s: %.*s", rows[i].json, (int)value.len, value.data);
		assert_int_equal(value.data[value.len], 0);
		ld_wire_value_free(&value);
	}
}

static void expect_bad(const char *json, size_t len, size_t value_max, const char *want)
{
	char *copy = malloc(len > 0 ? len : 1);
	struct ld_wire_value value;
	struct ld_wire_answer answer;
	const char *why = "";

	assert_non_null(copy);
	memcpy(copy, json, len);
	memset(&value, 0x5a, sizeof(value));
	answer = answer_of(copy, len, 1);
	if (ld_codec_decode(&answer, NOW_MS, value_max, &value, &why) != LD_CODEC_E_BODY || strcmp(why, want) != 0)
		fail_msg("%s: %s", json, why);
	assert_int_equal(value.flags, 0x5a5a5a5a);
	free(copy);
}

static void bad_bodies(void **state)
{
	static const struct { const char *why; const char *json[32]; } rows[] = {
		{ "it is not JSON", { "", " ", "x", "{", "}", "{\"value\"", "{\"value\":", "{\"value\":\"x\"", "{\"value\":\"x}", "{\"value\":\"x\",}",
		    "{'value':'x'}", "{value:1}", "{\"value\":\"x\"} x", "{\"value\":\"x\"}{}", "{\"value\":\"x\",\"value\":\"y\"}",
		    "{\"value\":\"x\",\"val\\u0075e\":\"y\"}", "{\"value\":{\"a\":1,\"a\":2}}", "{\"a\\u0000\":1,\"value\":\"x\"}", "{\"value\":01}",
		    "{\"value\":1e999}", "{\"value\":NaN}", "{\"value\":\"\\ud800\"}", "{\"value\":\"\\udc00\\ud800\"}", "{\"value\":\"\xff\"}",
		    "{\"value\":\"\xed\xa0\x80\"}", "{\"value\":\"\xc0\x80\"}", "{\"value\":\"\n\"}", "{\"value\":\"\\x\"}", "{\"value\":\"\\u12\"}",
		    "\xef\xbb\xbf{\"value\":\"x\"}", "{\"ttl\":-1e400,\"value\":1}" } },
		{ "it is not a JSON object", { "[]", "[{\"value\":\"x\"}]" } },
		{ "it has no value", { "{}", "{\"ttl\":60}", "{\"Value\":\"x\"}", "{\"x\":{\"value\":\"x\"}}" } },
		{ "its ttl is not a number of seconds", { "{\"value\":\"x\",\"ttl\":\"60\"}", "{\"value\":\"x\",\"ttl\":true}",
		    "{\"value\":\"x\",\"ttl\":[]}", "{\"value\":\"x\",\"ttl\":-1}", "{\"value\":\"x\",\"ttl\":-0.001}" } },
		{ "its stale is not a number of seconds", { "{\"value\":\"x\",\"stale\":\"1\"}", "{\"value\":\"x\",\"stale\":-1}" } },
		{ "its created is not a time", { "{\"value\":\"x\",\"created\":\"2024\"}", "{\"value\":\"x\",\"created\":-1}" } },
		{ "its hard_end is not a time", { "{\"value\":\"x\",\"hard_end\":{}}", "{\"value\":\"x\",\"hard_end\":-1}" } },
		{ "its flags are not a number of 32 bits", { "{\"value\":\"x\",\"flags\":4294967296}", "{\"value\":\"x\",\"flags\":-1}",
		    "{\"value\":\"x\",\"flags\":1.5}", "{\"value\":\"x\",\"flags\":\"1\"}", "{\"value\":\"x\",\"flags\":1e300}" } },
		{ "its encoding is not known", { "{\"value\":\"x\",\"encoding\":\"utf-8\"}", "{\"value\":\"x\",\"encoding\":\"BASE64\"}",
		    "{\"value\":\"x\",\"encoding\":64}", "{\"value\":\"x\",\"encoding\":\"\"}" } },
		{ "its value is encoded, and not a string", { "{\"value\":1,\"encoding\":\"base64\"}", "{\"value\":null,\"encoding\":\"base64\"}" } },
		{ "its value is not base64", { "{\"value\":\"x\",\"encoding\":\"base64\"}", "{\"value\":\"AA=\",\"encoding\":\"base64\"}",
		    "{\"value\":\"AB==\",\"encoding\":\"base64\"}", "{\"value\":\"AAA\\n\",\"encoding\":\"base64\"}",
		    "{\"value\":\"AAA\\u0000\",\"encoding\":\"base64\"}", "{\"value\":\"__==\",\"encoding\":\"base64\"}" } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		for (size_t j = 0; j < COUNT_OF(rows[i].json) && rows[i].json[j] != NULL; j++)
			expect_bad(rows[i].json[j], strlen(rows[i].json[j]), VALUE_MAX, rows[i].why);
	}
	expect_bad("{\"value\":\"x\"\0}", 14, VALUE_MAX, "it is not JSON");
	expect_bad("{\"value\":\"x\"}\0", 14, VALUE_MAX, "it is not JSON");
	expect_bad("{\"value\":\"x\",\"encoding\":\"base64\\u0000\"}", 39, VALUE_MAX, "its encoding is not known");
}

static void sizes_are_limited(void **state)
{
	static const char *const large[] = { "{\"value\":\"12345\"}", "{\"value\":\"AAAAAAA=\",\"encoding\":\"base64\"}", "{\"value\":[1, 2]}",
		"{\"value\":12345}", "{\"value\":false}", "{\"value\":\"\\u00001234\"}" };
	char *padded = malloc(5000);

	(void)state;
	assert_non_null(padded);
	for (size_t i = 0; i < COUNT_OF(large); i++) {
		struct ld_wire_answer answer = answer_of(large[i], strlen(large[i]), 1);
		struct ld_wire_value value;
		const char *why;

		expect_bad(large[i], strlen(large[i]), 4, "the value is larger than it may be");
		expect_bad(large[i], strlen(large[i]), 0, "the value is larger than it may be");
		assert_int_equal(ld_codec_decode(&answer, NOW_MS, 5, &value, &why), LD_CODEC_OK);
		ld_wire_value_free(&value);
		answer.is_json = 0;
		assert_int_equal(ld_codec_decode(&answer, NOW_MS, answer.len - 1, &value, &why), LD_CODEC_E_BODY);
		assert_string_equal(why, "the value is larger than it may be");
		assert_int_equal(ld_codec_decode(&answer, NOW_MS, answer.len, &value, &why), LD_CODEC_OK);
	}
	memset(padded, ' ', 5000);
	memcpy(padded, "{\"value\":\"x\"}", 13);
	assert_int_equal(ld_codec_body_max(1), 4102);
	expect_bad(padded, 4103, 1, "the value is larger than it may be");
	assert_true(ld_codec_body_max(SIZE_MAX) == SIZE_MAX);
	assert_true(ld_codec_body_max(SIZE_MAX / 6) == SIZE_MAX);
	free(padded);
}

static char *nested(size_t depth)
{
	char *json = malloc(2 * depth + 16);

	assert_non_null(json);
	memcpy(json, "{\"value\":", 9);
	memset(json + 9, '[', depth - 1);
	memset(json + 8 + depth, ']', depth - 1);
	memcpy(json + 7 + 2 * depth, "}", 2);
	return json;
}

/* Looked at before jansson recurses or allocates. */
static void depth_and_parts_are_limited(void **state)
{
	char *most = nested(64), *more = nested(65), *parts = malloc(3000000), *open = malloc(3000000);
	struct ld_wire_answer answer = answer_of(most, strlen(most), 1);
	struct ld_wire_value value;
	const char *why;

	(void)state;
	assert_non_null(parts);
	assert_non_null(open);
	assert_int_equal(ld_codec_decode(&answer, NOW_MS, VALUE_MAX, &value, &why), LD_CODEC_OK);
	assert_int_equal(value.len, 126);
	ld_wire_value_free(&value);
	expect_bad(more, strlen(more), VALUE_MAX, "it is nested too deep");
	for (size_t i = 0; i < 3000000; i += 3)
		memcpy(parts + i, "{},", 3);
	memcpy(parts, "{\"value\":[", 10);
	memcpy(parts + 3000000 - 3, "]}}", 3);
	expect_bad(parts, 3000000, VALUE_MAX, "it has too many parts");
	memset(open, '[', 3000000);
	expect_bad(open, 3000000, VALUE_MAX, "it is nested too deep");
	free(most);
	free(more);
	free(parts);
	free(open);
}

#ifdef LARDER_FAULTS

/*
 * Every allocation failed in turn, jansson's too. Ours are told as they are; of jansson's some are told as bad JSON. Under a sanitizer
 * nothing may leak.
 */
static int sweep(const char *json, int with_jansson)
{
	static struct ld_fault_plan plan;
	struct ld_wire_answer answer = answer_of(json, strlen(json), 1);
	int failed = 0, acted;

	if (with_jansson)
		json_set_alloc_funcs(ld_malloc, free);
	ld_fault_use(&plan);
	do {
		struct ld_wire_value value = { .flags = 99 };
		const char *why = NULL;
		enum ld_codec_result result;

		atomic_store(&plan.alloc_countdown, failed + 1);
		result = ld_codec_decode(&answer, NOW_MS, VALUE_MAX, &value, &why);
		acted = atomic_load(&plan.alloc_countdown) == 0;
		assert_true(acted ? result == LD_CODEC_E_NOMEM || (with_jansson && result == LD_CODEC_E_BODY) : result == LD_CODEC_OK);
		assert_true(acted ? value.flags == 99 && why != NULL : value.flags == 0 && value.data != NULL);
		if (result == LD_CODEC_OK)
			ld_wire_value_free(&value);
		failed += acted;
	} while (acted);
	atomic_store(&plan.alloc_countdown, 0);
	ld_fault_use(NULL);
	json_set_alloc_funcs(malloc, free);
	return failed;
}

static void allocations_fail(void **state)
{
	static const char *const bodies[] = { "{\"value\":\"text\",\"ttl\":60}", "{\"value\":\"AAAA\",\"encoding\":\"base64\",\"ttl\":60}",
		"{\"value\":\"text\",\"ttl\":60,\"note\":1}", "{\"value\":{\"a\":[1,2,3,\"x\"]},\"ttl\":60}", "{\"value\":\"\\u0000\"}", "{\"data\":\"x\"}" };
	/* The value; the value, and what is around it for the parser; a value tried in vain, and then the value; the value. */
	static const int counts[] = { 1, 1, 2, 2, 2, 1 };
	static struct ld_fault_plan plan;
	struct ld_wire_value value = value_of("x", 1);
	struct ld_wire_body body = { .len = 77 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bodies); i++) {
		assert_int_equal(sweep(bodies[i], 0), counts[i]);
		/* The first two never come to the parser. */
		assert_in_range(sweep(bodies[i], 1), i < 2 ? 1 : 8, i < 2 ? 1 : 100);
	}
	ld_fault_use(&plan);
	atomic_store(&plan.alloc_countdown, 1);
	assert_int_equal(ld_codec_encode(LD_CODEC_JSON, &value, &body), LD_CODEC_E_NOMEM);
	assert_int_equal(body.len, 77);
	/* Raw allocates nothing. */
	atomic_store(&plan.alloc_countdown, 1);
	assert_int_equal(ld_codec_encode(LD_CODEC_RAW, &value, &body), LD_CODEC_OK);
	assert_int_equal(atomic_load(&plan.alloc_countdown), 1);
	ld_fault_use(NULL);
}

#endif

/* Most envelopes are read by hand, and must be to it what they are to the parser: the same with a member that only the parser takes. */
static void reading_by_hand_is_as_the_parser(void **state)
{
	static const char *const bodies[] = {
		"{\"value\":\"aGk=\"}", "{\"value\":\"aGk=\",\"ttl\":60}", "{\"ttl\":60,\"value\":\"aGk=\"}", " {\t\"value\" : \"aGk=\"\r\n,\"ttl\" : 60 } \n",
		"{\"value\":\"aGk=\",\"ttl\":0}", "{\"value\":\"aGk=\",\"ttl\":00}", "{\"value\":\"aGk=\",\"ttl\":01}", "{\"value\":\"aGk=\",\"ttl\":-1}",
		"{\"value\":\"aGk=\",\"ttl\":1.5}", "{\"value\":\"aGk=\",\"ttl\":1e3}", "{\"value\":\"aGk=\",\"ttl\":\"60\"}", "{\"value\":\"aGk=\",\"ttl\":null}",
		"{\"value\":\"aGk=\",\"ttl\":60,\"ttl\":60}", "{\"value\":\"aGk=\",\"ttl\":999999999999999}", "{\"value\":\"aGk=\",\"ttl\":1000000000000000}",
		"{\"value\":\"aGk=\",\"ttl\":60,\"flags\":4294967295}", "{\"value\":\"aGk=\",\"ttl\":60,\"flags\":4294967296}",
		"{\"value\":\"aGk=\",\"ttl\":60,\"stale\":30,\"created\":1699999990000,\"hard_end\":1700000050000,\"flags\":7}",
		"{\"value\":\"aGk=\",\"encoding\":\"base64\",\"ttl\":60}", "{\"encoding\":\"base64\",\"value\":\"aGk=\",\"ttl\":60}",
		"{\"value\":\"a\",\"encoding\":\"base64\"}", "{\"value\":\"aGk=\",\"encoding\":\"base64 \"}", "{\"value\":\"aGk=\",\"encoding\":\"hex\"}",
		"{\"value\":\"aGk=\",\"encoding\":null,\"ttl\":60}", "{\"value\":\"aGk=\",\"encoding\":\"base64\",\"encoding\":\"base64\"}",
		"{\"value\":\"aGk=\",\"ttl\":60,\"value\":\"aGo=\"}", "{\"value\":\"aGk=\",\"ttl\":60,}", "{,\"value\":\"aGk=\",\"ttl\":60}", "{\"value\":\"aGk=\" \"ttl\":60}",
		"{\"value\":\"aGk=\",\"ttl\" 60}", "{\"value\":\"aGk=\",\"ttl\":}", "{\"value\":\"aGk=\",\"ttl\":6 0}", "{\"value\":\"aGk=\",ttl:60}",
		"{\"value\":\"aGk=\",\"ttl\":60} {", "{\"value\":\"aGk=\",\"t\\u0074l\":60}", "{\"value\":\"aGk=\",\"TTL\":60}", "{\"value\":\"aGk=\",\"tags\":[\"a\"],\"ttl\":60}",
		"[{\"value\":\"aGk=\",\"ttl\":60}]", "x{\"value\":\"aGk=\",\"ttl\":60}", "{\"x\":{\"value\":\"aGk=\"},\"ttl\":60}",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bodies); i++) {
		const char *end = strrchr(bodies[i], '}');
		int before = (int)(end - bodies[i]);
		struct ld_wire_value by_hand = { 0 }, parsed = { 0 };
		struct ld_wire_answer answer = answer_of(bodies[i], strlen(bodies[i]), 1);
		enum ld_codec_result result, want;
		const char *why = NULL;
		char body[512];

		result = ld_codec_decode(&answer, NOW_MS, VALUE_MAX, &by_hand, &why);
		answer = answer_of(body, (size_t)snprintf(body, sizeof(body), "%.*s,\"note\":true%s", before, bodies[i], end), 1);
		want = ld_codec_decode(&answer, NOW_MS, VALUE_MAX, &parsed, &why);
		if (result != want)
			fail_msg("%s: %d, not %d", bodies[i], (int)result, (int)want);
		assert_int_equal(by_hand.len, parsed.len);
		if (want == LD_CODEC_OK)
			assert_memory_equal(by_hand.data, parsed.data, parsed.len + 1);
		assert_int_equal(by_hand.ttl_ms, parsed.ttl_ms);
		assert_int_equal(by_hand.stale_ms, parsed.stale_ms);
		assert_int_equal(by_hand.left_ms, parsed.left_ms);
		assert_int_equal(by_hand.created_ms, parsed.created_ms);
		assert_int_equal(by_hand.hard_end_ms, parsed.hard_end_ms);
		assert_int_equal(by_hand.flags, parsed.flags);
		ld_wire_value_free(&by_hand);
		ld_wire_value_free(&parsed);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_is_exactly_this), cmocka_unit_test(raw_is_exactly_this), cmocka_unit_test(too_short_a_life),
		cmocka_unit_test(every_byte_and_length), cmocka_unit_test(a_megabyte), cmocka_unit_test(odd_bytes_between_plain_ones),
		cmocka_unit_test(json_goes_as_json),
		cmocka_unit_test(what_looks_like_json_comes_back),
		cmocka_unit_test(json_within_its_bounds),
		cmocka_unit_test(edges_of_utf8),
		cmocka_unit_test(other_bodies), cmocka_unit_test(bad_bodies), cmocka_unit_test(sizes_are_limited),
		cmocka_unit_test(reading_by_hand_is_as_the_parser),
		cmocka_unit_test(depth_and_parts_are_limited),
#ifdef LARDER_FAULTS
		cmocka_unit_test(allocations_fail),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
