/* SPDX-License-Identifier: MIT */
/*
 * JSON as text: its depth, its cost beside what jansson really allocates, the text of a member beside what jansson finds there, and
 * base64 beside the vectors of RFC 4648.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "l2/base64.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static void depths(void **state)
{
	static const struct { const char *json; size_t depth; } rows[] = { { "", 0 }, { "1", 0 }, { "{}", 1 }, { "[[]]", 2 }, { "[][]", 1 },
		{ "[{\"a\":[{}]}]", 4 }, { "\"[[[[\"", 0 }, { "[\"\\\"[[[\"]", 1 }, { "[\"\\\\\",[]]", 2 }, { "]]]][", 1 }, { "\"[[", 0 },
		{ "[\"\\", 1 }, { "{[{[{[", 6 } };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct ld_json_size size;

		ld_json_measure(rows[i].json, strlen(rows[i].json), &size);
		assert_int_equal(size.depth, rows[i].depth);
	}
}

/* What jansson has allocated in all, as glibc rounds it, its own word included: an upper bound of what it has at one time. */
static size_t used_b;

static void *count_malloc(size_t size)
{
	used_b += size + 8 < 32 ? 32 : (size + 8 + 15) / 16 * 16;
	return malloc(size);
}

/* count times the item, in which %s is the comma and %zu its number. */
static char *repeat(const char *begin, const char *item, size_t count, const char *end)
{
	size_t size = strlen(begin) + count * (strlen(item) + 12) + strlen(end) + 1, len;
	char *json = malloc(size);

	assert_non_null(json);
	len = (size_t)snprintf(json, size, "%s", begin);
	for (size_t i = 0; i < count; i++)
		len += (size_t)snprintf(json + len, size - len, item, i > 0 ? "," : "", i);
	(void)snprintf(json + len, size - len, "%s", end);
	return json;
}

static size_t parse_cost(const char *json, size_t len)
{
	json_t *root;

	used_b = 0;
	json_set_alloc_funcs(count_malloc, free);
	root = json_loadb(json, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
	json_set_alloc_funcs(malloc, free);
	assert_non_null(root);
	json_decref(root);
	return used_b;
}

static void the_cost_is_never_more(void **state)
{
	static const struct { const char *begin, *item, *end; } shapes[] = { { "[", "%s1", "]" }, { "[", "%s\"\"", "]" }, { "[", "%s{}", "]" },
		{ "[", "%s[]", "]" }, { "[", "%strue", "]" }, { "[", "%s{\"a\":\"\"}", "]" }, { "[", "%s[1]", "]" }, { "[", "%s[\"\"]", "]" },
		{ "{\"z\":[", "%s{\"a\":1,\"b\":2}", "]}" }, { "{", "%s\"%zu\":1", "}" }, { "{", "%s\"%zu\":\"\"", "}" },
		{ "{", "%s\"%zu\":\"%%s%%s%%s%%s%%s%%s%%s%%s%%s%%s\"", "}" }, { "[", "%s\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", "]" } };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(shapes); i++) {
		for (size_t count = 1; count <= 10000; count = count * 10 / 7 + 1) {
			char *json = repeat(shapes[i].begin, shapes[i].item, count, shapes[i].end);
			struct ld_json_size size;

			ld_json_measure(json, strlen(json), &size);
			assert_in_range(parse_cost(json, strlen(json)), size.memory_b / 8, size.memory_b);
			free(json);
		}
	}
}

/* A long string is counted with the buffer that grows to it. */
static void the_cost_of_a_string(void **state)
{
	char *json = malloc(3000003);
	struct ld_json_size size;

	(void)state;
	assert_non_null(json);
	memset(json, 'x', 3000003);
	memcpy(json, "[\"", 2);
	memcpy(json + 3000001, "\"]", 2);
	ld_json_measure(json, 3000003, &size);
	assert_in_range(size.memory_b, 6000000, 6100000);
	assert_in_range(parse_cost(json, 3000003), 3000000, 2 * size.memory_b);
	free(json);
}

/* The text of each member, parsed by itself, is what jansson found there; without blanks too. */
static void check_members(const char *json)
{
	json_t *root = json_loads(json, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL), *value;
	size_t n = 0, len, compact_len;
	const char *key, *text;
	char *compact;

	assert_non_null(root);
	json_object_foreach(root, key, value) {
		json_t *alone, *compacted;

		assert_int_equal(ld_json_member(json, strlen(json), n++, &text, &len), 0);
		compact_len = ld_json_compact(text, len, NULL);
		compact = malloc(compact_len + 1);
		assert_non_null(compact);
		assert_int_equal(ld_json_compact(text, len, compact), compact_len);
		alone = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		compacted = json_loadb(compact, compact_len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		assert_true(json_equal(alone, value));
		assert_true(json_equal(compacted, value));
		assert_int_equal(ld_json_compact(compact, compact_len, NULL), compact_len);
		json_decref(alone);
		json_decref(compacted);
		free(compact);
	}
	assert_int_equal(n, json_object_size(root));
	assert_int_equal(ld_json_member(json, strlen(json), n, &text, &len), -1);
	json_decref(root);
}

static void members(void **state)
{
	char *many = repeat("{", "%s\"k%zu\" : { \"a\" : [ 1 , 2 ] }", 3000, "}");

	(void)state;
	check_members("{}");
	check_members(" { } ");
	check_members("{\"a\":1}");
	check_members("{\"z\":1,\"a\":2,\"m\":3,\"\":4}");
	check_members("\r\n{ \"a\" : { \"b\" : 1 , \"c\" : [ 2 , { \"d\" : 3 } ] } ,\t\"e\" : [ ] , \"f\" : \"\" , \"g\" : null }\n");
	check_members("{\"a:b,c}\":\"d:e,f}\",\"\\\"\\\\\":\"\\\"}\\\\\",\"\\u0061\":\"x\",\"h\":{\",\":\":\",\"}\":\"{\"}}");
	check_members("{\"nul\":\"\\u0000\",\"after\":1.5e3,\"x\":true,\"y\":false,\"q\":-0.0}");
	check_members(many);
	free(many);
}

/* Of what is no object there is no member, or some part of the text, and never anything outside of it. */
static void members_of_faulty_text(void **state)
{
	static const char *const texts[] = { "", "{", "}", "[1,2]", "\"", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":\"", "{\"a\":[",
		"{\"a\":]]]],", "{:::", "{,,,", "{\"a\\", "{\"a\":\"\\", "1:2", "{{{{:}}}}" };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		size_t len = strlen(texts[i]), got_len;
		char *copy = malloc(len + 1), compact[32];
		const char *got;

		memcpy(copy, texts[i], len);
		copy = realloc(copy, len > 0 ? len : 1);
		for (size_t n = 0; n < 8; n++) {
			if (ld_json_member(copy, len, n, &got, &got_len) == 0)
				assert_true(got >= copy && got + got_len <= copy + len);
		}
		assert_true(ld_json_compact(copy, len, compact) <= len);
		free(copy);
	}
}

static void compact(void **state)
{
	static const char text[] = " { \"a b\" : [ 1 ,\t12345678901234567890 ] ,\r\n \"\\\" \" : 1.10 } ";
	static const char want[] = "{\"a b\":[1,12345678901234567890],\"\\\" \":1.10}";
	char got[sizeof(text)];
	size_t len = ld_json_compact(text, sizeof(text) - 1, got);

	(void)state;
	assert_int_equal(len, sizeof(want) - 1);
	assert_memory_equal(got, want, len);
}

/* Each byte at each place of every length: found, or not. */
static void runs(void **state)
{
	char text[40];

	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		for (size_t at = 0; at < 33; at++) {
			memset(text, at % 2 ? 'x' : '\xff', sizeof(text));
			text[at] = (char)c;
			for (size_t len = at + 1; len <= sizeof(text); len += 7)
				assert_int_equal(ld_json_run(text, len), c < 0x20 || c == '"' || c == '\\' ? at : len);
			assert_int_equal(ld_json_run(text, at), at);
		}
	}
}

static void found_by_key(void **state)
{
	static const char json[] = "{ \"a\":{\"value\":1} , \"b\":\"\\\"value\\\":2\", \"value\" : [3,\"}\"] ,\"value\":4,\"v\\u0061l\":5}";
	const char *text = NULL;
	size_t len = 0;

	(void)state;
	assert_int_equal(ld_json_find(json, sizeof(json) - 1, "value", &text, &len), 0);
	assert_int_equal(len, 9);
	assert_memory_equal(text, " [3,\"}\"] ", len);
	assert_int_equal(ld_json_find(json, sizeof(json) - 1, "valu", &text, &len), -1);
	assert_int_equal(ld_json_find(json, sizeof(json) - 1, "values", &text, &len), -1);
	assert_int_equal(ld_json_find(json, sizeof(json) - 1, "val", &text, &len), -1);
	for (size_t cut = 0; cut < sizeof(json) - 1; cut++) {
		if (ld_json_find(json, cut, "value", &text, &len) == 0)
			assert_true(text >= json && text + len <= json + cut);
	}
}

static void plain_strings(void **state)
{
	static const struct { const char *text, *want; } rows[] = { { "\"\"", "" }, { "\"abc\"", "abc" }, { " \t\"abc\"\r\n", "abc" },
		{ "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" }, { "\"gr\xc3\xbc\xc3\x9f\x7f\"", "gr\xc3\xbc\xc3\x9f\x7f" },
		{ "\"\\\\\"", "\\" }, { "", NULL }, { " ", NULL }, { "\"", NULL }, { "abc", NULL }, { "\"abc", NULL }, { "abc\"", NULL },
		{ "\"a\"b\"", NULL }, { "\"a\" \"b\"", NULL }, { "\"a\\\"", NULL }, { "\"\\\"", NULL }, { "\"\\u0041\"", NULL }, { "\"\\x\"", NULL },
		{ "\"\\a\"", NULL }, { "\"a\nb\"", NULL }, { "\"a\x1f\"", NULL }, { "\"\xff\"", NULL }, { "\"\xc3\"", NULL },
		{ "\"\xc3\\n\"", NULL }, { "\"\xed\xa0\x80\"", NULL }, { "[\"a\"]", NULL } };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		size_t size = strlen(rows[i].text), len = 99;
		char *data = malloc(size > 0 ? size : 1);

		assert_int_equal(ld_json_plain(rows[i].text, size, data, &len), rows[i].want != NULL ? 0 : -1);
		if (rows[i].want != NULL) {
			assert_int_equal(len, strlen(rows[i].want));
			assert_memory_equal(data, rows[i].want, len);
		}
		free(data);
	}
	assert_int_equal(ld_json_plain("\"a\0b\"", 5, (char[8]){ 0 }, &(size_t){ 0 }), -1);
}

/* Base64 */

static void expect_base64(const char *data, const char *text)
{
	char encoded[16];
	unsigned char decoded[16];
	size_t len = 99;

	assert_int_equal(ld_base64_size(strlen(data)), strlen(text));
	ld_base64_encode(data, strlen(data), encoded);
	assert_memory_equal(encoded, text, strlen(text));
	assert_int_equal(ld_base64_decode(text, strlen(text), decoded, &len), 0);
	assert_int_equal(len, strlen(data));
	assert_memory_equal(decoded, data, len);
}

static void base64_vectors(void **state)
{
	(void)state;
	expect_base64("", "");
	expect_base64("f", "Zg==");
	expect_base64("fo", "Zm8=");
	expect_base64("foo", "Zm9v");
	expect_base64("foob", "Zm9vYg==");
	expect_base64("fooba", "Zm9vYmE=");
	expect_base64("foobar", "Zm9vYmFy");
	expect_base64("\xfb\xff\xbf", "+/+/");
}

/* Every text of four characters out of these either is what its bytes are written as, or is refused. */
static void each_value_has_one_text(void **state)
{
	static const char some[] = "AQgwBZaz09+/=-_ \n\xc3";
	size_t taken = 0, count = sizeof(some); /* the NUL too */

	(void)state;
	for (size_t i = 0; i < count * count * count * count; i++) {
		char text[4] = { some[i % count], some[i / count % count], some[i / count / count % count], some[i / count / count / count] };
		unsigned char data[3];
		char again[4];
		size_t len;

		if (ld_base64_decode(text, 4, data, &len) != 0)
			continue;
		taken++;
		assert_int_equal(ld_base64_size(len), 4);
		ld_base64_encode(data, len, again);
		assert_memory_equal(again, text, 4);
	}
	/* Twelve digits: four of them; three, the last without its low bits (A Q g w 0), and =; two, the last A Q g w, and ==. */
	assert_int_equal(taken, 12 * 12 * 12 * 12 + 12 * 12 * 5 + 12 * 4);
}

static void faulty_base64(void **state)
{
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg===", "=", "==", "====", "Zg==Zg==", "Zm9v=", "Zm9vZ", "Zm9=v", "Zm9v\n",
		" Zm9v", "Zm 9v", "Zh==", "Zm9=", "Z===", "Zm9vZm9-", "Zm9_", "=m9v" };
	unsigned char data[16];
	size_t len;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		assert_int_equal(ld_base64_decode(bad[i], strlen(bad[i]), data, &len), -1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(depths), cmocka_unit_test(the_cost_is_never_more), cmocka_unit_test(the_cost_of_a_string),
		cmocka_unit_test(members), cmocka_unit_test(members_of_faulty_text), cmocka_unit_test(compact), cmocka_unit_test(runs),
		cmocka_unit_test(found_by_key), cmocka_unit_test(plain_strings), cmocka_unit_test(base64_vectors),
		cmocka_unit_test(each_value_has_one_text), cmocka_unit_test(faulty_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
