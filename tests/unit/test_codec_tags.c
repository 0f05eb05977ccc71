/* SPDX-License-Identifier: MIT */
/*
 * What a value carries to L2 and back beside its bytes: tags, and the window in which it is served only when its source fails. In both forms, exactly
 * as written; and that what is malformed is never taken as if it had not been there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <larder/larder.h>

#include "l2/codec.h"
#include "l2/http_inside.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define NOW INT64_C(1700000000000)
#define SIXTEEN "\"0000000000000000\",\"0000000000000001\",\"0000000000000002\",\"0000000000000003\",\"0000000000000004\",\"0000000000000005\"," \
	"\"0000000000000006\",\"0000000000000007\",\"0000000000000008\",\"0000000000000009\",\"000000000000000a\",\"000000000000000b\"," \
	"\"000000000000000c\",\"000000000000000d\",\"000000000000000e\",\"000000000000000f\""

static struct ld_wire_value value_of(int64_t ttl_ms, int64_t stale_ms, int64_t error_ms, uint32_t tags)
{
	struct ld_wire_value value = { .data = (const unsigned char *)"x", .len = 1, .ttl_ms = ttl_ms, .stale_ms = stale_ms, .error_ms = error_ms,
		.tag_count = tags };

	for (uint32_t i = 0; i < tags && i < LD_WIRE_TAGS_MAX; i++)
		value.tags[i] = UINT64_C(0xfedcba9876543210) >> (4 * i);
	return value;
}

static struct ld_wire_answer answer_of(const char *body, size_t len, int is_json)
{
	return (struct ld_wire_answer){ .body = body, .len = len, .is_json = is_json, .age_ms = -1, .max_age_s = -1, .stale_while_revalidate_s = -1,
		.stale_if_error_s = -1, .default_ttl_ms = 300000, .default_stale_ms = 7000, .default_error_ms = 11000 };
}

/* ---- JSON ---- */

static void expect_json(const struct ld_wire_value *value, const char *want)
{
	struct ld_wire_body body;

	assert_int_equal(ld_codec_encode(LD_CODEC_JSON, value, &body), LD_CODEC_OK);
	if (body.len != strlen(want) || memcmp(body.data, want, body.len) != 0)
		fail_msg("%.*s", (int)body.len, body.data);
	ld_wire_body_free(&body);
}

static void json_is_exactly_this(void **state)
{
	struct ld_wire_value value = value_of(60000, 30000, 5500, 2), most = value_of(INT64_MAX, INT64_MAX, INT64_MAX, 99);
	struct ld_wire_body body;

	(void)state;
	expect_json(&value, "{\"value\":\"x\",\"ttl\":60,\"stale\":30,\"stale_if_error\":5.5,\"larder_tags\":[\"fedcba9876543210\",\"0fedcba987654321\"]}");
	value = value_of(1000, 0, 1, 0);
	expect_json(&value, "{\"value\":\"x\",\"ttl\":1,\"stale_if_error\":0.001}");
	value = value_of(1000, 0, 0, 1);
	expect_json(&value, "{\"value\":\"x\",\"ttl\":1,\"larder_tags\":[\"fedcba9876543210\"]}");
	/* The longest tail is whole; more tags than there may be are not written. */
	most.created_ms = most.hard_end_ms = INT64_MAX;
	most.flags = UINT32_MAX;
	most.data = (const unsigned char *)"\xff";
	assert_int_equal(ld_codec_encode(LD_CODEC_JSON, &most, &body), LD_CODEC_OK);
	assert_memory_equal(body.data + body.len - 21, ",\"000000000000000f\"]}", 21);
	ld_wire_body_free(&body);
}

static enum ld_codec_result decode_json(const char *fields, struct ld_wire_value *ret_value, const char **ret_why)
{
	char body[1024];
	int len = snprintf(body, sizeof(body), "{\"value\":\"x\"%s}", fields);
	struct ld_wire_answer answer = answer_of(body, (size_t)len, 1);

	return ld_codec_decode(&answer, NOW, 100, ret_value, ret_why);
}

static void json_is_read(void **state)
{
	struct ld_wire_value value;
	const char *why;

	(void)state;
	assert_int_equal(decode_json(",\"ttl\":60,\"stale\":5,\"stale_if_error\":2.5,\"larder_tags\":[\"fedcba9876543210\",\"0000000000000001\"]", &value, &why),
	    LD_CODEC_OK);
	assert_true(value.error_ms == 2500 && value.error_left_ms == 2500 && value.stale_left_ms == 5000 && value.left_ms == 60000);
	assert_true(value.tag_count == 2 && value.tags[0] == UINT64_C(0xfedcba9876543210) && value.tags[1] == 1);
	ld_wire_value_free(&value);
	assert_int_equal(decode_json(",\"larder_tags\":[" SIXTEEN "]", &value, &why), LD_CODEC_OK);
	assert_true(value.tag_count == 16 && value.tags[15] == 15);
	/* Without a TTL the windows are the policy's, unless they are given. */
	assert_true(value.stale_ms == 7000 && value.error_ms == 11000);
	ld_wire_value_free(&value);
	assert_int_equal(decode_json(",\"stale_if_error\":1,\"larder_tags\":[]", &value, &why), LD_CODEC_OK);
	assert_true(value.tag_count == 0 && value.stale_ms == 7000 && value.error_ms == 1000);
	ld_wire_value_free(&value);
	assert_int_equal(decode_json(",\"ttl\":1,\"stale_if_error\":null,\"larder_tags\":null", &value, &why), LD_CODEC_OK);
	assert_true(value.tag_count == 0 && value.error_ms == 0);
	ld_wire_value_free(&value);
	assert_int_equal(decode_json(",\"ttl\":1,\"stale_if_error\":1e300", &value, &why), LD_CODEC_OK);
	assert_true(value.error_ms == LARDER_TTL_MAX_MS);
	ld_wire_value_free(&value);
}

static void json_that_is_bad(void **state)
{
	static const char *const rows[] = { ",\"larder_tags\":\"fedcba9876543210\"", ",\"larder_tags\":{}", ",\"larder_tags\":1", ",\"larder_tags\":[1]", ",\"larder_tags\":[null]",
		",\"larder_tags\":[\"\"]", ",\"larder_tags\":[\"fedcba987654321\"]", ",\"larder_tags\":[\"fedcba98765432100\"]", ",\"larder_tags\":[\"FEDCBA9876543210\"]",
		",\"larder_tags\":[\"fedcba987654321g\"]", ",\"larder_tags\":[\"fedcba98\\u0000654321\"]", ",\"larder_tags\":[" SIXTEEN ",\"0000000000000000\"]",
		",\"larder_tags\":[\"fedcba9876543210\",\"\"]", ",\"stale_if_error\":-1", ",\"stale_if_error\":\"1\"", ",\"stale_if_error\":[]" };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct ld_wire_value value;
		const char *why = NULL;

		if (decode_json(rows[i], &value, &why) != LD_CODEC_E_BODY)
			fail_msg("%s", rows[i]);
		assert_non_null(why);
	}
}

/* A name that is somebody else's as well: it is ours where it is as we once wrote it, and else no fault of the body's. */
static void json_tags_of_another_service(void **state)
{
	static const char *const others[] = { ",\"tags\":[\"a\",\"b\"]", ",\"tags\":\"x\"", ",\"tags\":{\"a\":[1]}", ",\"tags\":7", ",\"tags\":[]",
		",\"tags\":[\"fedcba9876543210\",\"b\"]", ",\"tags\":[" SIXTEEN ",\"0000000000000000\"]", ",\"tags\":[1],\"larder_tags\":null" };
	struct ld_wire_value value;
	const char *why;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		assert_int_equal(decode_json(others[i], &value, &why), LD_CODEC_OK);
		assert_int_equal(value.tag_count, 0);
		ld_wire_value_free(&value);
	}
	assert_int_equal(decode_json(",\"tags\":[\"fedcba9876543210\",\"0000000000000001\"]", &value, &why), LD_CODEC_OK);
	assert_true(value.tag_count == 2 && value.tags[0] == UINT64_C(0xfedcba9876543210) && value.tags[1] == 1);
	ld_wire_value_free(&value);
	/* Whichever comes first, ours count, and ours are never passed over. */
	assert_int_equal(decode_json(",\"tags\":[\"a\"],\"larder_tags\":[\"0000000000000002\"]", &value, &why), LD_CODEC_OK);
	assert_true(value.tag_count == 1 && value.tags[0] == 2);
	ld_wire_value_free(&value);
	assert_int_equal(decode_json(",\"larder_tags\":[\"0000000000000002\"],\"tags\":[\"0000000000000001\"]", &value, &why), LD_CODEC_OK);
	assert_true(value.tag_count == 1 && value.tags[0] == 2);
	ld_wire_value_free(&value);
	assert_int_equal(decode_json(",\"tags\":[\"0000000000000001\"],\"larder_tags\":[\"a\"]", &value, &why), LD_CODEC_E_BODY);
}

/* ---- raw ---- */

static void expect_raw(const struct ld_wire_value *value, const char *cache_control, const char *tags)
{
	struct ld_wire_body body;
	const char *control = NULL, *told = NULL;

	assert_int_equal(ld_codec_encode(LD_CODEC_RAW, value, &body), LD_CODEC_OK);
	for (size_t i = 0; i < body.header_count; i++) {
		if (strcmp(body.headers[i].name, "Cache-Control") == 0)
			control = body.headers[i].value;
		if (strcmp(body.headers[i].name, "X-Larder-Tags") == 0)
			told = body.headers[i].value;
	}
	assert_string_equal(control, cache_control);
	if (tags)
		assert_string_equal(told, tags);
	else
		assert_null(told);
	ld_wire_body_free(&body);
}

/* RFC 5861 counts both windows from the end of the TTL on. */
static void raw_is_exactly_this(void **state)
{
	struct ld_wire_value value = value_of(60000, 30000, 600000, 2), most = value_of(INT64_MAX, INT64_MAX, INT64_MAX, 16);

	(void)state;
	expect_raw(&value, "max-age=60, stale-while-revalidate=30, stale-if-error=630", "fedcba9876543210,0fedcba987654321");
	value = value_of(1600, 0, 1500, 0);
	expect_raw(&value, "max-age=1, stale-if-error=2", NULL);
	value = value_of(1600, 0, 300, 1);
	expect_raw(&value, "max-age=1", "fedcba9876543210");
	most.created_ms = most.hard_end_ms = INT64_MAX;
	most.flags = UINT32_MAX;
	expect_raw(&most, "max-age=315360000, stale-while-revalidate=315360000, stale-if-error=630720000",
	    "fedcba9876543210,0fedcba987654321,00fedcba98765432,000fedcba9876543,0000fedcba987654,00000fedcba98765,000000fedcba9876,0000000fedcba987,"
	    "00000000fedcba98,000000000fedcba9,0000000000fedcba,00000000000fedcb,000000000000fedc,0000000000000fed,00000000000000fe,000000000000000f");
}

static void raw_is_read(void **state)
{
	static const uint64_t tags[] = { 5, 6 };
	struct ld_wire_answer answer = answer_of("x", 1, 0);
	struct ld_wire_value value;
	const char *why;

	(void)state;
	answer.max_age_s = 60;
	answer.stale_while_revalidate_s = 30;
	answer.stale_if_error_s = 630;
	answer.tags = tags;
	answer.tag_count = 2;
	assert_int_equal(ld_codec_decode(&answer, NOW, 100, &value, &why), LD_CODEC_OK);
	assert_true(value.stale_ms == 30000 && value.error_ms == 600000 && value.error_left_ms == 600000);
	assert_true(value.tag_count == 2 && value.tags[0] == 5 && value.tags[1] == 6);
	/* One that ends before the stale window does is none. */
	answer.stale_if_error_s = 20;
	assert_int_equal(ld_codec_decode(&answer, NOW, 100, &value, &why), LD_CODEC_OK);
	assert_true(value.stale_ms == 30000 && value.error_ms == 0);
	answer.stale_while_revalidate_s = -1;
	assert_int_equal(ld_codec_decode(&answer, NOW, 100, &value, &why), LD_CODEC_OK);
	assert_true(value.stale_ms == 0 && value.error_ms == 20000);
	answer.stale_if_error_s = -1;
	assert_int_equal(ld_codec_decode(&answer, NOW, 100, &value, &why), LD_CODEC_OK);
	assert_int_equal(value.error_ms, 0);
	answer.bad_tags = 1;
	why = NULL;
	assert_int_equal(ld_codec_decode(&answer, NOW, 100, &value, &why), LD_CODEC_E_BODY);
	assert_non_null(why);
}

/* A body's own tags count before the header's, also when there are none of them; what may be another service's does not. */
static void json_with_a_header(void **state)
{
	static const uint64_t tags[] = { 5 };
	static const char own[] = "{\"value\":\"x\",\"larder_tags\":[\"0000000000000007\"]}", none[] = "{\"value\":\"x\",\"larder_tags\":[]}",
		plain[] = "{\"value\":\"x\"}", theirs[] = "{\"value\":\"x\",\"tags\":[\"0000000000000007\"]}", nobodys[] = "{\"value\":\"x\",\"tags\":[]}";
	const struct { const char *body; uint32_t count; uint64_t first; } rows[] = { { own, 1, 7 }, { none, 0, 0 }, { plain, 1, 5 },
		{ theirs, 1, 5 }, { nobodys, 1, 5 } };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct ld_wire_answer answer = answer_of(rows[i].body, strlen(rows[i].body), 1);
		struct ld_wire_value value;
		const char *why;

		answer.tags = tags;
		answer.tag_count = 1;
		assert_int_equal(ld_codec_decode(&answer, NOW, 100, &value, &why), LD_CODEC_OK);
		assert_int_equal(value.tag_count, rows[i].count);
		if (rows[i].count)
			assert_true(value.tags[0] == rows[i].first);
		ld_wire_value_free(&value);
	}
}

/* ---- what is left ---- */

static void what_is_left_of_the_windows(void **state)
{
	static const struct { int64_t age_ms, left_ms, stale_ms, error_ms; } rows[] = {
		{ 0, 60000, 30000, 10000 }, { 59999, 1, 30000, 10000 }, { 60000, 0, 30000, 10000 }, { 89999, 0, 1, 10000 }, { 90000, 0, 0, 10000 },
		{ 99999, 0, 0, 1 }, { 100000, 0, 0, 0 }, { INT64_C(1) << 50, 0, 0, 0 },
	};
	static const char body[] = "{\"value\":\"x\",\"ttl\":60,\"stale\":30,\"stale_if_error\":10}";

	(void)state;
	for (int want = 0; want < 2; want++)
		for (size_t i = 0; i < COUNT_OF(rows); i++) {
			struct ld_wire_answer answer = answer_of(body, sizeof(body) - 1, 1);
			struct ld_wire_value value;
			const char *why;
			int served = rows[i].left_ms + rows[i].stale_ms + (want ? rows[i].error_ms : 0) > 0;

			answer.age_ms = rows[i].age_ms;
			answer.want_error_window = want;
			assert_int_equal(ld_codec_decode(&answer, NOW, 100, &value, &why), served ? LD_CODEC_OK : LD_CODEC_EXPIRED);
			if (!served)
				continue;
			assert_int_equal(value.left_ms, rows[i].left_ms);
			assert_int_equal(value.stale_left_ms, rows[i].stale_ms);
			assert_int_equal(value.error_left_ms, rows[i].error_ms);
			ld_wire_value_free(&value);
		}
	/* The hard end cuts off what is behind it. */
	for (int64_t room_ms = 1; room_ms < 110000; room_ms += 777) {
		struct ld_wire_answer answer = answer_of(body, sizeof(body) - 1, 1);
		struct ld_wire_value value;
		const char *why;

		answer.hard_end_ms = NOW + room_ms;
		assert_int_equal(ld_codec_decode(&answer, NOW, 100, &value, &why), LD_CODEC_OK);
		assert_int_equal(value.left_ms + value.stale_left_ms + value.error_left_ms, room_ms < 100000 ? room_ms : 100000);
		assert_true(value.left_ms == (room_ms < 60000 ? room_ms : 60000) && value.stale_left_ms >= 0 && value.error_left_ms >= 0);
		ld_wire_value_free(&value);
	}
}

static void a_renewal_keeps_the_tags(void **state)
{
	static const uint64_t tags[] = { 9 };
	struct ld_wire_value value = value_of(0, 0, 0, 2);
	struct ld_wire_answer answer = answer_of(NULL, 0, 0);

	(void)state;
	answer.max_age_s = 10;
	answer.stale_if_error_s = 15;
	assert_int_equal(ld_codec_renew(&answer, NOW, &value), LD_CODEC_OK);
	assert_true(value.tag_count == 2 && value.tags[0] == UINT64_C(0xfedcba9876543210) && value.error_left_ms == 15000);
	answer.tags = tags;
	answer.tag_count = 1;
	assert_int_equal(ld_codec_renew(&answer, NOW, &value), LD_CODEC_OK);
	assert_true(value.tag_count == 1 && value.tags[0] == 9);
	answer.bad_tags = 1;
	assert_int_equal(ld_codec_renew(&answer, NOW, &value), LD_CODEC_EXPIRED);
}

/* ---- the headers of an answer ---- */

static void take(struct ld_http_answer *answer, const char *const *lines, size_t count)
{
	struct ld_http_receipt receipt;
	char line[512];

	memset(answer, 0, sizeof(*answer));
	ld_http_receipt_init(&receipt, answer, 100, 0, NOW);
	for (size_t i = 0; i < count; i++) {
		int len = snprintf(line, sizeof(line), "%s\r\n", lines[i]);

		assert_int_equal(ld_http_receipt_header(line, 1, (size_t)len, &receipt), len);
	}
}

static void headers_of_an_answer(void **state)
{
	static const char *const good[] = { "HTTP/1.1 200 OK", "Cache-Control: max-age=1, Stale-If-Error=\"7\"", "Cache-Control: stale-if-error=5",
		"x-larder-tags: 000000000000000a , 000000000000000b", "X-Larder-Tags: 000000000000000c" };
	static const char *const bad[] = { "", ",", "0", "000000000000000a,", ",000000000000000a", "000000000000000a 000000000000000b",
		"000000000000000A", "000000000000000a;000000000000000b", "\"000000000000000a\"" };
	struct ld_http_answer answer;
	const char *lines[18] = { "HTTP/1.1 200 OK" };

	(void)state;
	take(&answer, good, COUNT_OF(good));
	assert_int_equal(answer.error_s, 5);
	assert_true(answer.bad_tags == 0 && answer.tag_count == 3 && answer.tags[0] == 10 && answer.tags[2] == 12);
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		char line[128];

		snprintf(line, sizeof(line), "X-Larder-Tags: %s", bad[i]);
		lines[1] = line;
		lines[2] = "X-Larder-Tags: 000000000000000c";
		take(&answer, lines, 3);
		assert_int_equal(answer.bad_tags, 1);
	}
	for (size_t i = 1; i < 18; i++)
		lines[i] = "X-Larder-Tags: 000000000000000c";
	take(&answer, lines, 17);
	assert_true(answer.bad_tags == 0 && answer.tag_count == 16);
	take(&answer, lines, 18);
	assert_int_equal(answer.bad_tags, 1);
	/* What an interim answer said is forgotten. */
	lines[1] = "X-Larder-Tags: none";
	lines[2] = "";
	lines[3] = "HTTP/1.1 200 OK";
	lines[0] = "HTTP/1.1 103 Early Hints";
	take(&answer, lines, 4);
	assert_true(answer.bad_tags == 0 && answer.tag_count == 0 && answer.error_s == -1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_is_exactly_this), cmocka_unit_test(json_is_read), cmocka_unit_test(json_that_is_bad),
		cmocka_unit_test(json_tags_of_another_service),
		cmocka_unit_test(raw_is_exactly_this), cmocka_unit_test(raw_is_read), cmocka_unit_test(json_with_a_header),
		cmocka_unit_test(what_is_left_of_the_windows), cmocka_unit_test(a_renewal_keeps_the_tags), cmocka_unit_test(headers_of_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
