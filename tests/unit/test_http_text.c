/* SPDX-License-Identifier: MIT */
/*
 * Texts of headers: what counts, what does not, and that a text which is not what it should be leaves everything as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "l2/http_text.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define MAX LD_HTTP_SECONDS_MAX
/* 2024-02-29 12:00:00 UTC */
#define NOW_MS INT64_C(1709208000000)

/* In a block of exactly its length, so that a sanitizer sees the first byte read beyond it. */
static char *exact(const char *text, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, text, len);
	return copy;
}

static void add_control(struct ld_http_cache_control *control, const char *text)
{
	char *copy = exact(text, strlen(text));

	ld_http_cache_control(copy, strlen(text), control);
	free(copy);
}

static void cache_control(void **state)
{
	static const struct {
		const char *text;
		struct ld_http_cache_control want;
	} rows[] = {
		{ "", { -1, -1, -1, -1, 0, 0 } },
		{ "max-age=60", { 60, -1, -1, -1, 0, 0 } },
		{ "MAX-AGE=60", { 60, -1, -1, -1, 0, 0 } },
		{ "max-age=0", { 0, -1, -1, -1, 0, 0 } },
		{ "max-age=2147483648", { MAX, -1, -1, -1, 0, 0 } },
		{ "max-age=2147483649", { MAX, -1, -1, -1, 0, 0 } },
		{ "max-age=99999999999999999999999999999999999999", { MAX, -1, -1, -1, 0, 0 } },
		{ "max-age=\"60\"", { 60, -1, -1, -1, 0, 0 } },
		{ " \t max-age=60 \t", { 60, -1, -1, -1, 0, 0 } },
		{ "max-age = 60", { 60, -1, -1, -1, 0, 0 } },
		{ "public, max-age=60, stale-while-revalidate=30", { 60, -1, 30, -1, 0, 0 } },
		{ "max-age=60,s-maxage=10,stale-if-error=5", { 60, 10, -1, 5, 0, 0 } },
		{ "s-maxage=100, max-age=10", { 10, 100, -1, -1, 0, 0 } },
		{ "no-store", { -1, -1, -1, -1, 1, 0 } },
		{ "No-Store", { -1, -1, -1, -1, 1, 0 } },
		{ "private", { -1, -1, -1, -1, 1, 0 } },
		{ "PRIVATE, max-age=5", { 5, -1, -1, -1, 1, 0 } },
		{ "private=\"set-cookie, x\", max-age=5", { 5, -1, -1, -1, 1, 0 } },
		{ "no-cache", { -1, -1, -1, -1, 0, 1 } },
		{ "no-cache=\"a\", no-store", { -1, -1, -1, -1, 1, 1 } },
		{ "no-cache, no-store, must-revalidate, max-age=0", { 0, -1, -1, -1, 1, 1 } },
		/* No number is none at all; of two the smaller. */
		{ "max-age", { 0, -1, -1, -1, 0, 0 } },
		{ "max-age=", { 0, -1, -1, -1, 0, 0 } },
		{ "max-age=-1", { 0, -1, -1, -1, 0, 0 } },
		{ "max-age=6.5", { 0, -1, -1, -1, 0, 0 } },
		{ "max-age=6x", { 0, -1, -1, -1, 0, 0 } },
		{ "max-age=6 7", { 0, -1, -1, -1, 0, 0 } },
		{ "max-age=\"6", { 0, -1, -1, -1, 0, 0 } },
		{ "max-age=\"", { 0, -1, -1, -1, 0, 0 } },
		{ "max-age=60, max-age=50", { 50, -1, -1, -1, 0, 0 } },
		{ "max-age=50, max-age=60", { 50, -1, -1, -1, 0, 0 } },
		/* Not directives that we know, however they look. */
		{ "x-max-age=60", { -1, -1, -1, -1, 0, 0 } },
		{ "max-agee=60", { -1, -1, -1, -1, 0, 0 } },
		{ "no-stores, privates, immutable", { -1, -1, -1, -1, 0, 0 } },
		{ "ext=\"no-store, max-age=1\", max-age=60", { 60, -1, -1, -1, 0, 0 } },
		{ "ext=\"a\\\", no-store\", max-age=60", { 60, -1, -1, -1, 0, 0 } },
		{ "ext=\"no-store", { -1, -1, -1, -1, 0, 0 } },
		{ ",,, ,max-age=60,,", { 60, -1, -1, -1, 0, 0 } },
		{ "=60", { -1, -1, -1, -1, 0, 0 } },
		{ "\xff\x01, max-age=60", { 60, -1, -1, -1, 0, 0 } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct ld_http_cache_control got = LD_HTTP_CACHE_CONTROL_INIT;

		add_control(&got, rows[i].text);
		if (memcmp(&got, &rows[i].want, sizeof(got)) != 0)
			fail_msg("%s: %lld %lld %lld %lld %d %d", rows[i].text, (long long)got.max_age_s, (long long)got.s_maxage_s,
			    (long long)got.stale_while_revalidate_s, (long long)got.stale_if_error_s, got.no_store, got.no_cache);
	}
}

static void cache_control_in_several_headers(void **state)
{
	struct ld_http_cache_control got = LD_HTTP_CACHE_CONTROL_INIT;

	(void)state;
	assert_int_equal(ld_http_fresh_s(&got), -1);
	add_control(&got, "max-age=60");
	assert_int_equal(ld_http_fresh_s(&got), 60);
	add_control(&got, "s-maxage=90, stale-if-error=7");
	assert_int_equal(ld_http_fresh_s(&got), 90);
	add_control(&got, "no-cache, max-age=30, s-maxage=0");
	assert_int_equal(ld_http_fresh_s(&got), 0);
	assert_int_equal(got.max_age_s, 30);
	assert_int_equal(got.stale_if_error_s, 7);
	assert_int_equal(got.no_cache, 1);
	assert_int_equal(got.no_store, 0);
}

/* A NUL inside a text is a byte like others: no blank, no end. */
static void texts_with_nul(void **state)
{
	struct ld_http_cache_control control = LD_HTTP_CACHE_CONTROL_INIT;
	char etag[LD_HTTP_ETAG_SIZE];
	uint64_t number;
	int64_t s;

	(void)state;
	ld_http_cache_control("max-age=6\0000, no-store\0, no-cache", 32, &control);
	assert_int_equal(control.max_age_s, 0);
	assert_int_equal(control.no_store, 1);
	assert_int_equal(control.no_cache, 1);
	assert_int_equal(ld_http_age("6\0", 2, &s), -1);
	assert_int_equal(ld_http_number("6\0", 2, 10, &number), -1);
	assert_int_equal(ld_http_etag("\"a\0b\"", 5, etag), -1);
	assert_int_equal(ld_http_is_json("application/json\0", 17), 0);
}

static void expect_age(const char *text, int result, int64_t want)
{
	char *copy = exact(text, strlen(text));
	int64_t s = -7;

	assert_int_equal(ld_http_age(copy, strlen(text), &s), result);
	assert_int_equal(s, result == 0 ? want : -7);
	free(copy);
}

static void ages(void **state)
{
	static const char *const bad[] = { "", " ", ",", ", 5", "-1", "+1", "1.5", "0x1", "1 2", "a", "\"1\"", "1s" };

	(void)state;
	expect_age("0", 0, 0);
	expect_age("0060", 0, 60);
	expect_age(" 60\t", 0, 60);
	expect_age("60, 70", 0, 60);
	expect_age("2147483647", 0, MAX - 1);
	expect_age("18446744073709551617", 0, MAX);
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		expect_age(bad[i], -1, 0);
}

static void expect_number(const char *text, uint64_t max, int result, uint64_t want)
{
	char *copy = exact(text, strlen(text));
	uint64_t number = 77;

	assert_int_equal(ld_http_number(copy, strlen(text), max, &number), result);
	assert_true(number == (result == 0 ? want : 77));
	free(copy);
}

static void numbers(void **state)
{
	(void)state;
	expect_number("0", 0, 0, 0);
	expect_number("1", 0, -1, 0);
	expect_number("4294967295", UINT32_MAX, 0, UINT32_MAX);
	expect_number("4294967296", UINT32_MAX, -1, 0);
	expect_number("18446744073709551615", UINT64_MAX, 0, UINT64_MAX);
	expect_number("18446744073709551616", UINT64_MAX, -1, 0);
	expect_number("99999999999999999999", UINT64_MAX, -1, 0);
	expect_number("000000000000000000000000012", 12, 0, 12);
	expect_number(" 12 ", 12, 0, 12);
	expect_number("", 12, -1, 0);
	expect_number("-1", 12, -1, 0);
	expect_number("1,2", 12, -1, 0);
}

/* Dates */

static void expect_date(const char *text, int64_t now_ms, int result, int64_t want_ms)
{
	char *copy = exact(text, strlen(text));
	int64_t ms = -7;
	int got = ld_http_date(copy, strlen(text), now_ms, &ms);

	if (got != result || ms != (result == 0 ? want_ms : -7))
		fail_msg("%s: %d, %lld", text, got, (long long)ms);
	free(copy);
}

static void dates(void **state)
{
	(void)state;
	expect_date("Sun, 06 Nov 1994 08:49:37 GMT", NOW_MS, 0, INT64_C(784111777000));
	expect_date("Sunday, 06-Nov-94 08:49:37 GMT", NOW_MS, 0, INT64_C(784111777000));
	expect_date("Sun Nov  6 08:49:37 1994", NOW_MS, 0, INT64_C(784111777000));
	expect_date("Wed Nov 16 08:49:37 1994", NOW_MS, 0, INT64_C(784975777000));
	expect_date("Wed Nov 06 08:49:37 1994", NOW_MS, 0, INT64_C(784111777000));
	expect_date("\t Sun, 06 Nov 1994 08:49:37 GMT ", NOW_MS, 0, INT64_C(784111777000));
	/* The day of the week is not checked. */
	expect_date("Mon, 06 Nov 1994 08:49:37 GMT", NOW_MS, 0, INT64_C(784111777000));
	expect_date("Thu, 01 Jan 1970 00:00:00 GMT", NOW_MS, 0, 0);
	expect_date("Fri, 31 Dec 9999 23:59:59 GMT", NOW_MS, 0, INT64_C(253402300799000));
	expect_date("Thu, 29 Feb 2024 12:00:00 GMT", NOW_MS, 0, NOW_MS);
	expect_date("Sat, 31 Dec 2016 23:59:60 GMT", NOW_MS, 0, INT64_C(1483228800000));
	expect_date("Tue, 29 Feb 2000 00:00:00 GMT", NOW_MS, 0, INT64_C(951782400000));
}

static void faulty_dates(void **state)
{
	static const char *const bad[] = { "", " ", "Sun", "Sun,", "Sunday", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC",
		"Sun, 06 Nov 1994 08:49:37 +0000", "Sun, 06 Nov 1994 08:49:37 GMT x", "Sun, 6 Nov 1994 08:49:37 GMT",
		"Sun, 06 nov 1994 08:49:37 GMT", "sun, 06 Nov 1994 08:49:37 GMT", "Xun, 06 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 94 08:49:37 GMT", "Sun, 06 Nov 1994 8:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT",
		"Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
		"Sun, 31 Nov 1994 08:49:37 GMT", "Wed, 29 Feb 2023 00:00:00 GMT", "Wed, 29 Feb 2100 00:00:00 GMT",
		"Wed, 31 Dec 1969 23:59:59 GMT", "Wed, 01 Jan 0000 00:00:00 GMT", "Sunday, 06-Nov-1994 08:49:37 GMT",
		"Sunday, 06 Nov 94 08:49:37 GMT", "Sun Nov 6 08:49:37 1994", "Sun Nov  6 08:49:37 1994 GMT", "Sun Nov  6 08:49:37 94",
		"784111777", "0", "-1", "1994-11-06T08:49:37Z" };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		expect_date(bad[i], NOW_MS, -1, 0);
}

/* More than fifty years ahead is a hundred years less. */
static void years_with_two_digits(void **state)
{
	int64_t in_2094, in_1994 = INT64_C(784111777000);

	(void)state;
	assert_int_equal(ld_http_date("Sat, 06 Nov 2094 08:49:37 GMT", 29, 0, &in_2094), 0);
	expect_date("Sunday, 06-Nov-94 08:49:37 GMT", INT64_C(1000), 0, in_1994);
	expect_date("Sunday, 06-Nov-94 08:49:37 GMT", INT64_C(2248000000000), 0, in_1994);
	expect_date("Sunday, 06-Nov-94 08:49:37 GMT", INT64_C(2449000000000), 0, in_2094);
	expect_date("Saturday, 06-Nov-94 08:49:37 GMT", in_2094, 0, in_2094);
	expect_date("Monday, 01-Jan-74 00:00:00 GMT", NOW_MS, 0, INT64_C(3281990400000));
	expect_date("Wednesday, 01-Jan-75 00:00:00 GMT", NOW_MS, 0, INT64_C(157766400000));
	expect_date("Friday, 31-Dec-99 23:59:59 GMT", INT64_MAX, 0, INT64_C(253402300799000));
	expect_date("Friday, 31-Dec-99 23:59:59 GMT", INT64_MIN, 0, INT64_C(946684799000));
}

/* Against the C library: a day in each month of four centuries, in all three forms. */
static void dates_as_the_c_library_writes_them(void **state)
{
	static const char *const forms[] = { "%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y" };

	(void)state;
	for (int64_t s = 0; s < INT64_C(12622780800); s += INT64_C(2630111)) {
		time_t time = (time_t)s;
		struct tm parts;
		char text[64];

		assert_non_null(gmtime_r(&time, &parts));
		for (size_t i = 0; i < COUNT_OF(forms); i++) {
			assert_true(strftime(text, sizeof(text), forms[i], &parts) > 0);
			expect_date(text, s * 1000, 0, s * 1000);
		}
	}
}

static void expect_retry(const char *text, int result, int64_t want_ms)
{
	char *copy = exact(text, strlen(text));
	int64_t ms = -7;

	assert_int_equal(ld_http_retry_after(copy, strlen(text), NOW_MS, &ms), result);
	assert_int_equal(ms, result == 0 ? want_ms : -7);
	free(copy);
}

static void retry_after(void **state)
{
	(void)state;
	expect_retry("0", 0, 0);
	expect_retry(" 120 ", 0, 120000);
	expect_retry("99999999999999999999", 0, MAX * 1000);
	expect_retry("Thu, 29 Feb 2024 12:00:30 GMT", 0, 30000);
	expect_retry("Thursday, 29-Feb-24 12:00:30 GMT", 0, 30000);
	expect_retry("Thu, 29 Feb 2024 11:59:59 GMT", 0, 0);
	expect_retry("Fri, 31 Dec 9999 23:59:59 GMT", 0, MAX * 1000);
	expect_retry("", -1, 0);
	expect_retry("-1", -1, 0);
	expect_retry("1.5", -1, 0);
	expect_retry("soon", -1, 0);
	expect_retry("120, 130", -1, 0);
}

/* Words */

static void expect_etag(const char *text, size_t len, const char *want)
{
	char etag[LD_HTTP_ETAG_SIZE] = "before", *copy = exact(text, len);

	assert_int_equal(ld_http_etag(copy, len, etag), want != NULL ? 0 : -1);
	assert_string_equal(etag, want != NULL ? want : "before");
	free(copy);
}

static void etags(void **state)
{
	static const char *const bad[] = { "", "\"", "W/", "W/\"", "W/a\"", "abc", "\"abc", "abc\"", "w/\"abc\"", "W /\"abc\"", "W/\"a\"b\"",
		"\"a b\"", "\"a\tb\"", "\"a\rb\"", "\"a\nb\"", "\"a\x7f\"", "\"a\", \"b\"", "*", "'a'" };
	char longest[LD_HTTP_ETAG_SIZE + 1];

	(void)state;
	expect_etag("\"\"", 2, "\"\"");
	expect_etag("W/\"\"", 4, "W/\"\"");
	expect_etag("\"abc\"", 5, "\"abc\"");
	expect_etag(" W/\"abc\"\t", 9, "W/\"abc\"");
	expect_etag("\"!#\\\xe9~\"", 7, "\"!#\\\xe9~\"");
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		expect_etag(bad[i], strlen(bad[i]), NULL);
	memset(longest, 'x', sizeof(longest));
	longest[0] = longest[LD_HTTP_ETAG_SIZE - 1] = '"';
	expect_etag(longest, LD_HTTP_ETAG_SIZE, NULL);
	longest[LD_HTTP_ETAG_SIZE - 2] = '"';
	longest[LD_HTTP_ETAG_SIZE - 1] = '\0';
	expect_etag(longest, LD_HTTP_ETAG_SIZE - 1, longest);
}

static void content_types(void **state)
{
	static const char *const json[] = { "application/json", "Application/JSON", " application/json ", "application/json; charset=utf-8",
		"application/json;charset=utf-8", "application/json;" };
	static const char *const others[] = { "", ";", "application/jsonp", "application/ld+json", "text/json", "application/octet-stream",
		"application/json, text/plain", "application /json", "json" };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(json); i++)
		assert_int_equal(ld_http_is_json(json[i], strlen(json[i])), 1);
	for (size_t i = 0; i < COUNT_OF(others); i++)
		assert_int_equal(ld_http_is_json(others[i], strlen(others[i])), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(cache_control), cmocka_unit_test(cache_control_in_several_headers), cmocka_unit_test(texts_with_nul),
		cmocka_unit_test(ages), cmocka_unit_test(numbers), cmocka_unit_test(dates), cmocka_unit_test(faulty_dates),
		cmocka_unit_test(years_with_two_digits), cmocka_unit_test(dates_as_the_c_library_writes_them), cmocka_unit_test(retry_after),
		cmocka_unit_test(etags), cmocka_unit_test(content_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
