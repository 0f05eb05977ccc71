/* SPDX-License-Identifier: MIT */
/*
 * How long a value that was read may live: TTL, stale window, age, creation and hard end, in both codecs and on renewal; clocks that
 * differ; numbers that are absurd. A life is never longer than L2 said, whatever is combined.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <larder/larder.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "l2/codec.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define NOW INT64_C(1700000000000)
#define TEN_YEARS LARDER_TTL_MAX_MS

/* An answer that gives nothing. What a row gives after it overrides, which is meant. */
#pragma GCC diagnostic ignored "-Woverride-init"
#define PLAIN .age_ms = -1, .max_age_s = -1, .stale_while_revalidate_s = -1, .default_ttl_ms = 300000, .default_stale_ms = 7000

enum { EXPIRED = -1 };

/* left_ms EXPIRED: nothing is left. */
struct row {
	const char *json;                /* fields behind the value, NULL for raw */
	struct ld_wire_answer answer;
	int64_t left_ms, stale_left_ms, created_ms, hard_end_ms;
};

static enum ld_codec_result decode_row(const struct row *row, int64_t now_ms, struct ld_wire_value *ret_value)
{
	struct ld_wire_answer answer = row->answer;
	char body[256] = "x";
	const char *why = NULL;
	enum ld_codec_result result;

	answer.is_json = row->json != NULL;
	answer.body = body;
	answer.len = row->json == NULL ? 1 : (size_t)snprintf(body, sizeof(body), "{\"value\":\"x\"%s}", row->json);
	result = ld_codec_decode(&answer, now_ms, 100, ret_value, &why);
	assert_int_equal(why == NULL, result == LD_CODEC_OK);
	return result;
}

static void expect_row(const struct row *row, size_t number)
{
	struct ld_wire_value value = { .left_ms = EXPIRED };
	enum ld_codec_result result = decode_row(row, NOW, &value);

	if (result != (row->left_ms == EXPIRED ? LD_CODEC_EXPIRED : LD_CODEC_OK) || value.left_ms != row->left_ms ||
	    value.stale_left_ms != row->stale_left_ms || value.created_ms != row->created_ms || value.hard_end_ms != row->hard_end_ms)
		fail_msg("row %zu, %s: %d, left %lld and %lld, created %lld, end %lld", number, row->json != NULL ? row->json : "raw",
		    result, (long long)value.left_ms, (long long)value.stale_left_ms, (long long)value.created_ms, (long long)value.hard_end_ms);
	if (result == LD_CODEC_OK)
		ld_wire_value_free(&value);
}

static void expect_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		expect_row(&rows[i], i);
}

static void times_of_json(void **state)
{
	static const struct row rows[] = {
		{ ",\"ttl\":60", { PLAIN }, 60000, 0, 0, 0 },
		{ ",\"ttl\":0.5", { PLAIN }, 500, 0, 0, 0 },
		{ ",\"ttl\":1.001", { PLAIN }, 1001, 0, 0, 0 },
		{ ",\"ttl\":60,\"stale\":30", { PLAIN }, 60000, 30000, 0, 0 },
		{ ",\"ttl\":60,\"created\":1699999990000", { PLAIN }, 50000, 0, NOW - 10000, 0 },
		{ ",\"ttl\":60,\"created\":1699999990000.9", { PLAIN }, 50000, 0, NOW - 10000, 0 },
		/* The older of Age and creation counts. */
		{ ",\"ttl\":60,\"created\":1699999990000", { PLAIN, .age_ms = 20000 }, 40000, 0, NOW - 10000, 0 },
		{ ",\"ttl\":60,\"created\":1699999990000", { PLAIN, .age_ms = 5000 }, 50000, 0, NOW - 10000, 0 },
		{ ",\"ttl\":60", { PLAIN, .age_ms = 20000 }, 40000, 0, 0, 0 },
		/* A creation in the future is now. */
		{ ",\"ttl\":60,\"created\":1700000010000", { PLAIN }, 60000, 0, NOW, 0 },
		{ ",\"ttl\":60,\"created\":1e300", { PLAIN, .age_ms = 1000 }, 59000, 0, NOW, 0 },
		{ ",\"ttl\":60,\"created\":0", { PLAIN }, 60000, 0, 0, 0 },
		/* The end, to the millisecond, and the stale window behind it. */
		{ ",\"ttl\":60,\"stale\":30", { PLAIN, .age_ms = 59999 }, 1, 30000, 0, 0 },
		{ ",\"ttl\":60,\"stale\":30", { PLAIN, .age_ms = 60000 }, 0, 30000, 0, 0 },
		{ ",\"ttl\":60,\"stale\":30", { PLAIN, .age_ms = 89999 }, 0, 1, 0, 0 },
		{ ",\"ttl\":60,\"stale\":30", { PLAIN, .age_ms = 90000 }, EXPIRED, 0, 0, 0 },
		{ ",\"ttl\":60", { PLAIN, .age_ms = 60000 }, EXPIRED, 0, 0, 0 },
		{ ",\"ttl\":0", { PLAIN }, EXPIRED, 0, 0, 0 },
		{ ",\"ttl\":0,\"stale\":5", { PLAIN }, 0, 5000, 0, 0 },
		{ ",\"ttl\":0.0004", { PLAIN }, EXPIRED, 0, 0, 0 },
		/* Its own TTL goes before headers, with its own stale window; without one, max-age, then the default. */
		{ ",\"ttl\":60", { PLAIN, .max_age_s = 10, .stale_while_revalidate_s = 9 }, 60000, 0, 0, 0 },
		{ "", { PLAIN, .max_age_s = 10, .stale_while_revalidate_s = 9 }, 10000, 9000, 0, 0 },
		{ "", { PLAIN, .max_age_s = 10 }, 10000, 0, 0, 0 },
		{ ",\"ttl\":null,\"stale\":12", { PLAIN, .max_age_s = 10 }, 10000, 12000, 0, 0 },
		{ "", { PLAIN }, 300000, 7000, 0, 0 },
		{ ",\"stale\":0", { PLAIN }, 300000, 0, 0, 0 },
		{ "", { PLAIN, .last_modified_ms = NOW - 1000 }, 299000, 7000, NOW - 1000, 0 },
		{ ",\"created\":1699999990000", { PLAIN, .last_modified_ms = NOW - 1000 }, 290000, 7000, NOW - 10000, 0 },
		{ ",\"ttl\":60", { PLAIN, .created_ms = NOW - 10000 }, 50000, 0, NOW - 10000, 0 },
		{ ",\"ttl\":60", { PLAIN, .last_modified_ms = NOW - 1000000 }, 60000, 0, NOW - 1000000, 0 },
		/* Absurd numbers. */
		{ ",\"ttl\":315360000", { PLAIN }, TEN_YEARS, 0, 0, 0 },
		{ ",\"ttl\":1e308,\"stale\":99999999999999999999", { PLAIN }, TEN_YEARS, TEN_YEARS, 0, 0 },
		{ ",\"ttl\":1e308,\"hard_end\":1e308", { PLAIN }, TEN_YEARS, 0, 0, INT64_C(9007199254740992) },
	};

	(void)state;
	expect_rows(rows, COUNT_OF(rows));
}

static void times_of_raw(void **state)
{
	static const struct row rows[] = {
		{ NULL, { PLAIN, .max_age_s = 60 }, 60000, 0, 0, 0 },
		{ NULL, { PLAIN, .max_age_s = 60, .stale_while_revalidate_s = 30 }, 60000, 30000, 0, 0 },
		{ NULL, { PLAIN, .max_age_s = 60, .age_ms = 15000 }, 45000, 0, 0, 0 },
		{ NULL, { PLAIN, .max_age_s = 60, .age_ms = 15000, .created_ms = NOW - 20500 }, 39500, 0, NOW - 20500, 0 },
		{ NULL, { PLAIN, .max_age_s = 60, .created_ms = NOW + 5000 }, 60000, 0, NOW, 0 },
		/* Last-Modified dates the value; it does not use up a max-age, which counts from the answer on. */
		{ NULL, { PLAIN, .max_age_s = 60, .last_modified_ms = NOW - 90000 }, 60000, 0, NOW - 90000, 0 },
		{ NULL, { PLAIN, .last_modified_ms = NOW - 90000 }, 210000, 7000, NOW - 90000, 0 },
		{ NULL, { PLAIN, .last_modified_ms = NOW - 301000 }, 0, 6000, NOW - 301000, 0 },
		{ NULL, { PLAIN, .last_modified_ms = NOW - 307000 }, EXPIRED, 0, 0, 0 },
		{ NULL, { PLAIN, .last_modified_ms = NOW + 1000 }, 300000, 7000, NOW, 0 },
		{ NULL, { PLAIN, .created_ms = NOW - 1000, .last_modified_ms = NOW - 90000 }, 299000, 7000, NOW - 1000, 0 },
		{ NULL, { PLAIN }, 300000, 7000, 0, 0 },
		{ NULL, { PLAIN, .max_age_s = 0 }, EXPIRED, 0, 0, 0 },
		{ NULL, { PLAIN, .max_age_s = 0, .stale_while_revalidate_s = 3 }, 0, 3000, 0, 0 },
		{ NULL, { PLAIN, .max_age_s = 60, .age_ms = 60000 }, EXPIRED, 0, 0, 0 },
		{ NULL, { PLAIN, .max_age_s = INT64_MAX, .stale_while_revalidate_s = INT64_MAX }, TEN_YEARS, TEN_YEARS, 0, 0 },
		{ NULL, { PLAIN, .max_age_s = 60, .age_ms = INT64_MAX }, EXPIRED, 0, 0, 0 },
		{ NULL, { PLAIN, .max_age_s = INT64_MIN, .stale_while_revalidate_s = INT64_MIN, .age_ms = INT64_MIN, .created_ms = INT64_MIN,
		    .hard_end_ms = INT64_MIN, .last_modified_ms = INT64_MIN }, 300000, 7000, 0, 0 },
	};

	(void)state;
	expect_rows(rows, COUNT_OF(rows));
}

/* Nothing passes the hard end: it cuts the TTL, then the window; the earlier of two counts. */
static void hard_ends(void **state)
{
	static const struct row rows[] = {
		{ NULL, { PLAIN, .max_age_s = 60, .hard_end_ms = NOW + 60001 }, 60000, 0, 0, NOW + 60001 },
		{ NULL, { PLAIN, .max_age_s = 60, .hard_end_ms = NOW + 59999 }, 59999, 0, 0, NOW + 59999 },
		{ NULL, { PLAIN, .max_age_s = 60, .stale_while_revalidate_s = 30, .hard_end_ms = NOW + 70000 }, 60000, 10000, 0, NOW + 70000 },
		{ NULL, { PLAIN, .max_age_s = 60, .stale_while_revalidate_s = 30, .hard_end_ms = NOW + 50000 }, 50000, 0, 0, NOW + 50000 },
		{ NULL, { PLAIN, .max_age_s = 60, .stale_while_revalidate_s = 30, .hard_end_ms = NOW + 5000, .age_ms = 70000 }, 0, 5000, 0, NOW + 5000 },
		{ NULL, { PLAIN, .max_age_s = 60, .hard_end_ms = NOW + 1 }, 1, 0, 0, NOW + 1 },
		{ NULL, { PLAIN, .max_age_s = 60, .hard_end_ms = NOW }, EXPIRED, 0, 0, 0 },
		{ NULL, { PLAIN, .max_age_s = 60, .hard_end_ms = 1, .no_store = 1 }, EXPIRED, 0, 0, 0 },
		{ NULL, { PLAIN, .max_age_s = 60, .hard_end_ms = NOW, .no_store = 1 }, EXPIRED, 0, 0, 0 },
		{ ",\"ttl\":60,\"hard_end\":1700000005000", { PLAIN }, 5000, 0, 0, NOW + 5000 },
		{ ",\"ttl\":60,\"hard_end\":1700000005000", { PLAIN, .hard_end_ms = NOW + 4000 }, 4000, 0, 0, NOW + 4000 },
		{ ",\"ttl\":60,\"hard_end\":1700000005000", { PLAIN, .hard_end_ms = NOW + 6000 }, 5000, 0, 0, NOW + 5000 },
		{ ",\"ttl\":60,\"hard_end\":1700000000000", { PLAIN }, EXPIRED, 0, 0, 0 },
		{ ",\"ttl\":60,\"hard_end\":0", { PLAIN }, 60000, 0, 0, 0 },
		{ ",\"hard_end\":1700000005000", { PLAIN }, 5000, 0, 0, NOW + 5000 },
	};

	(void)state;
	expect_rows(rows, COUNT_OF(rows));
}

/* What may not be kept is for this caller, though nothing is left of it. */
static void no_store(void **state)
{
	static const struct row rows[] = {
		{ NULL, { PLAIN, .max_age_s = 0, .no_store = 1 }, 0, 0, 0, 0 },
		{ NULL, { PLAIN, .max_age_s = 60, .no_store = 1 }, 60000, 0, 0, 0 },
		{ ",\"ttl\":0", { PLAIN, .no_store = 1 }, 0, 0, 0, 0 },
	};
	struct ld_wire_value value;

	(void)state;
	expect_rows(rows, COUNT_OF(rows));
	assert_int_equal(decode_row(&rows[1], NOW, &value), LD_CODEC_OK);
	assert_int_equal(value.no_store, 1);
}

static void flags_and_tags(void **state)
{
	static char longest[LD_HTTP_ETAG_SIZE + 1];
	struct row row = { NULL, { PLAIN, .flags = 5, .etag = "W/\"a\"" }, 0, 0, 0, 0 };
	struct ld_wire_value value;

	(void)state;
	assert_int_equal(decode_row(&row, NOW, &value), LD_CODEC_OK);
	assert_int_equal(value.flags, 5);
	assert_string_equal(value.etag, "W/\"a\"");
	assert_int_equal(value.no_store, 0);
	row.json = ",\"flags\":4294967295";
	assert_int_equal(decode_row(&row, NOW, &value), LD_CODEC_OK);
	assert_true(value.flags == UINT32_MAX);
	ld_wire_value_free(&value);
	row.json = ",\"flags\":0";
	assert_int_equal(decode_row(&row, NOW, &value), LD_CODEC_OK);
	assert_int_equal(value.flags, 0);
	ld_wire_value_free(&value);
	row.json = NULL;
	memset(longest, 'x', LD_HTTP_ETAG_SIZE);
	row.answer.etag = longest;
	assert_int_equal(decode_row(&row, NOW, &value), LD_CODEC_OK);
	assert_string_equal(value.etag, "");
	longest[LD_HTTP_ETAG_SIZE - 1] = '\0';
	assert_int_equal(decode_row(&row, NOW, &value), LD_CODEC_OK);
	assert_string_equal(value.etag, longest);
}

/* A wall clock before 1970, or at its end, is no reason for a longer life, nor for undefined sums. */
static void absurd_clocks(void **state)
{
	static const struct row row = { NULL, { PLAIN, .max_age_s = 60, .created_ms = NOW, .hard_end_ms = INT64_MAX }, 0, 0, 0, 0 };
	struct ld_wire_value value;

	(void)state;
	assert_int_equal(decode_row(&row, INT64_MIN, &value), LD_CODEC_OK);
	assert_int_equal(value.left_ms, 60000);
	assert_int_equal(value.created_ms, 0);
	assert_int_equal(decode_row(&row, INT64_MAX - 1, &value), LD_CODEC_EXPIRED);
	assert_int_equal(decode_row(&row, NOW + 59999, &value), LD_CODEC_OK);
	assert_int_equal(value.left_ms, 1);
}

/* Every time that is written is read as it was: each millisecond of two seconds, and steps up to ten years. */
static void times_come_back(void **state)
{
	(void)state;
	for (int64_t ttl_ms = 1; ttl_ms <= TEN_YEARS; ttl_ms += ttl_ms < 2000 ? 1 : ttl_ms / 97) {
		struct ld_wire_value value = { .data = (const unsigned char *)"x", .len = 1, .ttl_ms = ttl_ms, .stale_ms = TEN_YEARS - ttl_ms,
			.created_ms = NOW, .hard_end_ms = NOW + 2 * TEN_YEARS, .flags = (uint32_t)ttl_ms }, got;
		struct ld_wire_answer answer = { PLAIN, .is_json = 1 };
		struct ld_wire_body body;
		const char *why;

		assert_int_equal(ld_codec_encode(LD_CODEC_JSON, &value, &body), LD_CODEC_OK);
		answer.body = body.data;
		answer.len = body.len;
		assert_int_equal(ld_codec_decode(&answer, NOW, 1, &got, &why), LD_CODEC_OK);
		assert_true(got.ttl_ms == value.ttl_ms && got.stale_ms == value.stale_ms && got.left_ms == value.ttl_ms);
		assert_true(got.created_ms == NOW && got.hard_end_ms == value.hard_end_ms && got.flags == value.flags);
		ld_wire_value_free(&got);
		ld_wire_body_free(&body);
	}
}

/* Renewal: 304 */

static void expect_renewal(const struct ld_wire_answer *answer, int64_t left_ms, int64_t stale_ms, int64_t created_ms, int64_t end_ms)
{
	static const unsigned char data[] = "kept";
	struct ld_wire_value value = { .data = data, .len = 4, .left_ms = -9, .created_ms = NOW - 500000, .hard_end_ms = NOW + 40000,
		.flags = 3, .etag = "\"old\"" }, before = value;
	enum ld_codec_result result = ld_codec_renew(answer, NOW, &value);

	assert_int_equal(result, left_ms == EXPIRED ? LD_CODEC_EXPIRED : LD_CODEC_OK);
	if (left_ms == EXPIRED) {
		assert_memory_equal(&value, &before, sizeof(value));
		return;
	}
	assert_int_equal(value.left_ms, left_ms);
	assert_int_equal(value.stale_left_ms, stale_ms);
	assert_int_equal(value.created_ms, created_ms);
	assert_int_equal(value.hard_end_ms, end_ms);
	assert_ptr_equal(value.data, data);
	assert_int_equal(value.len, 4);
	assert_int_equal(value.flags, 3);
	assert_string_equal(value.etag, answer->etag != NULL ? answer->etag : "\"old\"");
}

static void renewals(void **state)
{
	(void)state;
	expect_renewal(&(struct ld_wire_answer){ PLAIN, .max_age_s = 30, .stale_while_revalidate_s = 5 }, 30000, 5000, NOW - 500000, NOW + 40000);
	/* Not past the hard end that the entry had, nor past an earlier one. */
	expect_renewal(&(struct ld_wire_answer){ PLAIN, .max_age_s = 60, .stale_while_revalidate_s = 5 }, 40000, 0, NOW - 500000, NOW + 40000);
	expect_renewal(&(struct ld_wire_answer){ PLAIN, .max_age_s = 60, .hard_end_ms = NOW + 90000 }, 40000, 0, NOW - 500000, NOW + 40000);
	expect_renewal(&(struct ld_wire_answer){ PLAIN, .max_age_s = 60, .hard_end_ms = NOW + 9000 }, 9000, 0, NOW - 500000, NOW + 9000);
	expect_renewal(&(struct ld_wire_answer){ PLAIN, .max_age_s = 60, .hard_end_ms = NOW }, EXPIRED, 0, 0, 0);
	expect_renewal(&(struct ld_wire_answer){ PLAIN, .max_age_s = 60, .age_ms = 50000 }, 10000, 0, NOW - 500000, NOW + 40000);
	expect_renewal(&(struct ld_wire_answer){ PLAIN, .max_age_s = 60, .age_ms = 60000 }, EXPIRED, 0, 0, 0);
	expect_renewal(&(struct ld_wire_answer){ PLAIN, .max_age_s = 60, .created_ms = NOW - 45000, .etag = "\"new\"" }, 15000, 0, NOW - 45000,
	    NOW + 40000);
	expect_renewal(&(struct ld_wire_answer){ PLAIN, .max_age_s = 20, .last_modified_ms = NOW - 700000 }, 20000, 0, NOW - 700000, NOW + 40000);
	expect_renewal(&(struct ld_wire_answer){ PLAIN, .last_modified_ms = NOW - 700000 }, EXPIRED, 0, 0, 0);
	expect_renewal(&(struct ld_wire_answer){ PLAIN, .last_modified_ms = NOW - 290000 }, 10000, 7000, NOW - 290000, NOW + 40000);
	expect_renewal(&(struct ld_wire_answer){ PLAIN, .default_ttl_ms = 8000 }, 8000, 7000, NOW - 500000, NOW + 40000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_of_json), cmocka_unit_test(times_of_raw), cmocka_unit_test(hard_ends), cmocka_unit_test(no_store),
		cmocka_unit_test(flags_and_tags), cmocka_unit_test(absurd_clocks), cmocka_unit_test(times_come_back), cmocka_unit_test(renewals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
