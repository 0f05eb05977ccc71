/* SPDX-License-Identifier: MIT */
/*
 * base/text: never past the buffer, always ended, always a prefix; JSON strings that every parser takes; problems that are told
 * all at once, also when memory is out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/text.h"

static void test_text_grows_by_all_three_ways(void **state)
{
	char data[64];
	struct ld_text text;

	(void)state;
	memset(data, 'x', sizeof(data));
	ld_text_init(&text, data, sizeof(data));
	assert_string_equal(data, "");
	ld_text_add(&text, "one ");
	ld_text_addf(&text, "%d %s ", 2, "two");
	ld_text_add_json(&text, "three", 5);
	assert_string_equal(data, "one 2 two \"three\"");
	assert_int_equal(text.len, 17);
	assert_int_equal(text.truncated, 0);
}

/* For every size: what fits is a prefix of the whole, the NUL is inside, and the byte behind the buffer is untouched. */
static void test_too_short_a_buffer_holds_a_prefix(void **state)
{
	static const char whole[] = "abc12345\"x\\n\"end";

	(void)state;
	for (size_t size = 1; size <= sizeof(whole) + 2; size++) {
		char *data = malloc(size + 1);
		struct ld_text text;

		data[size] = '#';
		ld_text_init(&text, data, size);
		ld_text_add(&text, "abc");
		ld_text_addf(&text, "%d", 12345);
		ld_text_add_json(&text, "x\n", 2);
		ld_text_add(&text, "end");
		assert_int_equal(data[size], '#');
		assert_int_equal(text.truncated, size < sizeof(whole));
		assert_int_equal(text.len, size < sizeof(whole) ? size - 1 : sizeof(whole) - 1);
		assert_int_equal(strlen(data), text.len);
		assert_memory_equal(data, whole, text.len);
		free(data);
	}
}

static void test_nothing_is_added_to_a_cut_text(void **state)
{
	char data[6];
	struct ld_text text;

	(void)state;
	ld_text_init(&text, data, sizeof(data));
	ld_text_add(&text, "abc");
	ld_text_add(&text, "defg");
	ld_text_add(&text, "");
	ld_text_addf(&text, "%s", "");
	ld_text_add_json(&text, "", 0);
	assert_string_equal(data, "abcde");
	assert_int_equal(text.truncated, 1);
}

static const struct {
	const char *in;
	size_t len;
	const char *out;
} json_rows[] = {
	{ "", 0, "\"\"" },
	{ "plain", 5, "\"plain\"" },
	{ "a\"b\\c/", 6, "\"a\\\"b\\\\c/\"" },
	{ "\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"" },
	{ "\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\\u007f\"" },
	{ "\xc2\x80\xc2\x9f\xc2\xa0", 6, "\"\\u0080\\u009f\xc2\xa0\"" },
	{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x8d\x8e", 9, "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x8d\x8e\"" },
	/* the ends of each length, RFC 3629 */
	{ "\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 19,
	    "\"\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"" },
	/* a lone continuation; overlong forms; a surrogate; beyond U+10FFFF; bytes that never occur */
	{ "\x80", 1, "\"\xef\xbf\xbd\"" },
	{ "\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xc1\xbf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xe0\x9f\xbf", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xf0\x8f\xbf\xbf", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xf4\x90\x80\x80", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xf5\xff", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
	/* cut in the middle, at the end and before a good character */
	{ "a\xe2\x82", 3, "\"a\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xe2\x82z", 3, "\"\xef\xbf\xbd\xef\xbf\xbdz\"" },
	{ "\xf0\x9f\x8d", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	{ "\xc3\"", 2, "\"\xef\xbf\xbd\\\"\"" },
};

static void test_json_escapes_and_replaces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(json_rows) / sizeof(json_rows[0]); i++) {
		char data[128];
		char *in = malloc(json_rows[i].len + 1);
		struct ld_text text;

		/* An exact copy, so that a read past the end is seen by a sanitizer. */
		memcpy(in, json_rows[i].in, json_rows[i].len);
		in = realloc(in, json_rows[i].len > 0 ? json_rows[i].len : 1);
		ld_text_init(&text, data, sizeof(data));
		ld_text_add_json(&text, in, json_rows[i].len);
		assert_string_equal(data, json_rows[i].out);
		assert_int_equal(text.truncated, 0);
		free(in);
	}
}

static void test_problems_are_joined_by_newlines(void **state)
{
	struct ld_problems problems = { 0 };
	char longer[5000];

	(void)state;
	ld_problem(&problems, "SIZE=%d: %s", 1, "too small");
	assert_string_equal(problems.text, "SIZE=1: too small");
	ld_problem(&problems, "TTL: 1ms..10y");
	assert_string_equal(problems.text, "SIZE=1: too small\nTTL: 1ms..10y");
	memset(longer, 'l', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	ld_problem(&problems, "%s", longer);
	assert_int_equal(problems.count, 3);
	assert_int_equal(problems.lost, 0);
	assert_int_equal(problems.len, 17 + 1 + 13 + 1 + 4999);
	assert_int_equal(strlen(problems.text), problems.len);
	assert_string_equal(problems.text + 32, longer);
	ld_problems_free(&problems);
	assert_null(problems.text);
	assert_int_equal(problems.count, 0);
	assert_int_equal(problems.len, 0);
	ld_problems_free(&problems);
}

#ifdef LARDER_FAULTS
static void test_problem_without_memory_is_counted_and_lost(void **state)
{
	struct ld_problems problems = { 0 };
	struct ld_fault_plan plan = { 0 };

	(void)state;
	ld_fault_use(&plan);
	plan.alloc_countdown = 1;
	ld_problem(&problems, "first");
	assert_null(problems.text);
	assert_int_equal(problems.lost, 1);
	assert_int_equal(problems.count, 1);
	ld_problem(&problems, "second");
	plan.alloc_countdown = 1;
	ld_problem(&problems, "third");
	assert_string_equal(problems.text, "second");
	assert_int_equal(problems.len, 6);
	assert_int_equal(problems.count, 3);
	ld_problems_free(&problems);
	assert_int_equal(problems.lost, 0);
	ld_fault_use(NULL);
}
#endif

static void test_ids(void **state)
{
	char id[65];

	(void)state;
	assert_int_equal(ld_text_is_id("a", 1), 1);
	assert_int_equal(ld_text_is_id("az-09", 63), 1);
	assert_int_equal(ld_text_is_id("-", 63), 1);
	assert_int_equal(ld_text_is_id("", 63), 0);
	assert_int_equal(ld_text_is_id(NULL, 63), 0);
	assert_int_equal(ld_text_is_id("A", 63), 0);
	assert_int_equal(ld_text_is_id("a_b", 63), 0);
	assert_int_equal(ld_text_is_id("a b", 63), 0);
	assert_int_equal(ld_text_is_id("a\n", 63), 0);
	assert_int_equal(ld_text_is_id("a/b", 63), 0);
	assert_int_equal(ld_text_is_id("\xc3\xa4", 63), 0);
	memset(id, 'a', sizeof(id));
	id[63] = '\0';
	assert_int_equal(ld_text_is_id(id, 63), 1);
	assert_int_equal(ld_text_is_id(id, 62), 0);
	id[63] = 'a';
	id[64] = '\0';
	assert_int_equal(ld_text_is_id(id, 63), 0);
}

/* Every single byte, and the promise to read at most max + 1 bytes: there is no NUL in this memory. */
static void test_id_of_any_byte_reads_no_further_than_promised(void **state)
{
	char *id = malloc(4);

	(void)state;
	memset(id, 'z', 4);
	assert_int_equal(ld_text_is_id(id, 3), 0);
	free(id);
	for (int c = 1; c < 256; c++) {
		char one[2] = { (char)c, '\0' };
		int allowed = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';

		assert_int_equal(ld_text_is_id(one, 31), allowed);
	}
}

static void test_hex(void **state)
{
	static const unsigned char data[] = { 0x00, 0x01, 0x9a, 0xbc, 0xff };
	char hex[12];

	(void)state;
	hex[11] = '#';
	ld_text_hex(data, sizeof(data), hex);
	assert_string_equal(hex, "00019abcff");
	assert_int_equal(hex[11], '#');
	ld_text_hex(data, 0, hex);
	assert_string_equal(hex, "");
}

/* Each byte at each place of every length, among ASCII: good is what is ASCII without NUL. */
static void test_utf8_is_told_from_bytes(void **state)
{
	char data[24];

	(void)state;
	assert_int_equal(ld_text_is_utf8("", 0), 1);
	for (unsigned c = 0; c < 256; c++) {
		for (size_t at = 0; at < sizeof(data); at++) {
			memset(data, 'x', sizeof(data));
			data[at] = (char)c;
			for (size_t len = at + 1; len <= sizeof(data); len++)
				assert_int_equal(ld_text_is_utf8(data, len), c > 0 && c < 0x80);
			assert_int_equal(ld_text_is_utf8(data, at), 1);
		}
	}
	/* A whole character is one wherever it stands, and none as soon as it is cut. */
	for (size_t at = 0; at + 4 <= sizeof(data); at++) {
		memset(data, 'x', sizeof(data));
		memcpy(data + at, "\xf0\x9f\x98\x80", 4);
		for (size_t len = at; len <= sizeof(data); len++)
			assert_int_equal(ld_text_is_utf8(data, len), len == at || len >= at + 4);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_grows_by_all_three_ways),
		cmocka_unit_test(test_too_short_a_buffer_holds_a_prefix),
		cmocka_unit_test(test_nothing_is_added_to_a_cut_text),
		cmocka_unit_test(test_json_escapes_and_replaces),
		cmocka_unit_test(test_problems_are_joined_by_newlines),
#ifdef LARDER_FAULTS
		cmocka_unit_test(test_problem_without_memory_is_counted_and_lost),
#endif
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_id_of_any_byte_reads_no_further_than_promised),
		cmocka_unit_test(test_utf8_is_told_from_bytes),
		cmocka_unit_test(test_hex),
	};

	return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
