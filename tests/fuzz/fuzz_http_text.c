/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: texts of headers, each taken for every kind of header. What is refused leaves the output alone; what is taken is in its
 * bounds, and what can be written back reads the same again.
 */
#include "l2/http_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NOW_MS INT64_C(1700000000000)
#define LAST_MS INT64_C(253402300800000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "broken: %s\n", what);
	abort();
}

static int is_seconds(int64_t s)
{
	return s >= -1 && s <= LD_HTTP_SECONDS_MAX;
}

static void check_cache_control(const char *text, size_t len)
{
	struct ld_http_cache_control once = LD_HTTP_CACHE_CONTROL_INIT, twice;

	ld_http_cache_control(text, len, &once);
	require(is_seconds(once.max_age_s) && is_seconds(once.s_maxage_s), "max-age");
	require(is_seconds(once.stale_while_revalidate_s) && is_seconds(once.stale_if_error_s), "stale");
	require((once.no_store | once.no_cache | 1) == 1, "flags");
	require(ld_http_fresh_s(&once) == (once.s_maxage_s >= 0 ? once.s_maxage_s : once.max_age_s), "fresh");
	twice = once;
	ld_http_cache_control(text, len, &twice);
	require(memcmp(&once, &twice, sizeof(once)) == 0, "said twice is said once");
}

static void check_date(const char *text, size_t len)
{
	int64_t ms = -7, again_ms = -8, wait_ms = -7;
	char written[64];
	struct tm parts;
	time_t s;
	int result = ld_http_date(text, len, NOW_MS, &ms);

	if (result != 0) {
		require(result == -1 && ms == -7, "a date that is none");
		return;
	}
	require(ms >= 0 && ms <= LAST_MS && ms % 1000 == 0, "a date's bounds");
	require(ld_http_retry_after(text, len, NOW_MS, &wait_ms) == 0 && wait_ms >= 0 && wait_ms <= LD_HTTP_SECONDS_MAX * 1000, "a date to wait for");
	s = (time_t)(ms / 1000);
	/* A leap second at the very end is in the year 10000. */
	if (ms == LAST_MS || gmtime_r(&s, &parts) == NULL)
		return;
	require(strftime(written, sizeof(written), "%a, %d %b %Y %H:%M:%S GMT", &parts) > 0, "writing a date");
	require(ld_http_date(written, strlen(written), NOW_MS, &again_ms) == 0 && again_ms == ms, "a date written again");
}

static void check_numbers(const char *text, size_t len)
{
	int64_t s = -7, ms = -7;
	uint64_t number = 77, again = 78;
	char written[32];

	require(ld_http_age(text, len, &s) == 0 ? s >= 0 && s <= LD_HTTP_SECONDS_MAX : s == -7, "age");
	require(ld_http_retry_after(text, len, NOW_MS, &ms) == 0 ? ms >= 0 && ms <= LD_HTTP_SECONDS_MAX * 1000 : ms == -7, "retry after");
	if (ld_http_number(text, len, UINT64_MAX, &number) != 0) {
		require(number == 77, "a number that is none");
		return;
	}
	(void)snprintf(written, sizeof(written), "%" PRIu64, number);
	require(ld_http_number(written, strlen(written), number, &again) == 0 && again == number, "a number written again");
	require(number == 0 || ld_http_number(written, strlen(written), number - 1, &again) == -1, "a number's bound");
}

static void check_etag(const char *text, size_t len)
{
	char etag[LD_HTTP_ETAG_SIZE] = "before", again[LD_HTTP_ETAG_SIZE];

	if (ld_http_etag(text, len, etag) != 0) {
		require(strcmp(etag, "before") == 0, "an entity tag that is none");
		return;
	}
	require(strlen(etag) >= 2 && strpbrk(etag, "\r\n \t") == NULL, "an entity tag");
	require(ld_http_etag(etag, strlen(etag), again) == 0 && strcmp(etag, again) == 0, "an entity tag again");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;

	check_cache_control(text, size);
	check_date(text, size);
	check_numbers(text, size);
	check_etag(text, size);
	(void)ld_http_is_json(text, size);
	return 0;
}
