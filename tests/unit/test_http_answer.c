/* SPDX-License-Identifier: MIT */
/*
 * Headers of an answer: what each is read as, what counts when one comes twice, and that nothing which a server may write into them does more than to be
 * passed over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "http.h"
#include "l2/http_inside.h"

enum field { AGE, MAX_AGE, STALE, MODIFIED, CREATED, HARD_END, RETRY, FLAGS, NO_STORE, NO_CACHE, JSON };

static int64_t value_of(const struct ld_http_answer *answer, enum field field)
{
	const int64_t values[] = { answer->age_s, answer->max_age_s, answer->stale_s, answer->last_modified_ms, answer->created_ms,
		answer->hard_end_ms, answer->retry_after_ms, answer->flags, answer->no_store, answer->no_cache, answer->json };

	return values[field];
}

/* All lines of a block, each ended by \r\n, as libcurl hands them over. */
static void receive(struct ld_http_receipt *receipt, const char *lines)
{
	while (*lines != '\0') {
		const char *end = strstr(lines, "\r\n") + 2;
		char line[8192];

		assert_in_range(end - lines, 2, sizeof(line) - 1);
		memcpy(line, lines, (size_t)(end - lines));
		(void)ld_http_receipt_header(line, 1, (size_t)(end - lines), receipt);
		lines = end;
	}
}

static struct ld_http_answer read_headers(const char *headers)
{
	struct ld_http_answer answer = { .outcome = LD_HTTP_OK };
	struct ld_http_receipt receipt;

	/* Wall clock: Sun, 06 Nov 1994 08:49:37 GMT. */
	ld_http_receipt_init(&receipt, &answer, BODY_MAX, 0, INT64_C(784111777000));
	receive(&receipt, "HTTP/1.1 200 OK\r\n");
	receive(&receipt, headers);
	receive(&receipt, "\r\n");
	assert_int_equal(receipt.closed, 1);
	return answer;
}

static void test_fields(void **state)
{
	static const struct { const char *headers; enum field field; int64_t value; } rows[] = {
		{ "", AGE, -1 }, { "Age: 0\r\n", AGE, 0 }, { "age:17\r\n", AGE, 17 }, { "AGE: \t 17 \t\r\n", AGE, 17 }, { "Age: -1\r\n", AGE, -1 },
		{ "Age: 1.5\r\n", AGE, -1 }, { "Age: 1 2\r\n", AGE, -1 }, { "Age:\r\n", AGE, -1 }, { "Age: +1\r\n", AGE, -1 }, { "Age: 0x10\r\n", AGE, -1 },
		{ "Age: 99999999999999999999999999999999999\r\n", AGE, 2147483647 }, { "Age: 2147483648\r\n", AGE, 2147483647 },
		{ "Age: 3\r\nAge: 9\r\nAge: 5\r\n", AGE, 9 }, { "Age: x\r\nAge: 5\r\n", AGE, 5 }, { "Ages: 5\r\n", AGE, -1 }, { " Age: 5\r\n", AGE, -1 },
		{ "Age : 5\r\n", AGE, -1 }, { "X-Age: 5\r\n", AGE, -1 },
		{ "Cache-Control: max-age=60\r\n", MAX_AGE, 60 }, { "cache-control: public, MAX-AGE=60 , foo\r\n", MAX_AGE, 60 },
		{ "Cache-Control: max-age=\"60\"\r\n", MAX_AGE, 60 }, { "Cache-Control: max-age = 60\r\n", MAX_AGE, 60 },
		{ "Cache-Control: max-age=60, max-age=30\r\n", MAX_AGE, 30 }, { "Cache-Control: max-age=30\r\nCache-Control: max-age=60\r\n", MAX_AGE, 30 },
		{ "Cache-Control: max-age=\r\n", MAX_AGE, 0 }, { "Cache-Control: max-age\r\n", MAX_AGE, 0 }, { "Cache-Control: max-age=-5\r\n", MAX_AGE, 0 },
		{ "Cache-Control: max-age=1.5\r\n", MAX_AGE, 0 }, { "Cache-Control: max-age=60, max-age=soon\r\n", MAX_AGE, 0 },
		{ "Cache-Control: public\r\n", MAX_AGE, -1 }, { "Cache-Control: stale-while-revalidate=-5\r\n", STALE, -1 },
		{ "Expires: 0\r\n", MAX_AGE, 0 }, { "Expires: -1\r\n", MAX_AGE, 0 }, { "Expires:\r\n", MAX_AGE, 0 }, { "Expires: tomorrow, or so\r\n", MAX_AGE, 0 },
		{ "Expires: Sun, 06 Nov 1994 08:49:36 GMT\r\n", MAX_AGE, 0 }, { "Expires: Sun, 06 Nov 1994 08:50:37 GMT\r\n", MAX_AGE, 60 },
		{ "Date: Sun, 06 Nov 1994 08:49:07 GMT\r\nExpires: Sun, 06 Nov 1994 08:50:37 GMT\r\n", MAX_AGE, 90 },
		{ "Expires: Sun, 06 Nov 1994 08:50:37 GMT\r\nDate: today\r\n", MAX_AGE, 60 }, { "Expires: Sat, 06 Nov 2094 08:49:37 GMT\r\n", MAX_AGE, 2147483647 },
		{ "Expires: Sun, 06 Nov 1994 08:50:37 GMT\r\nExpires: 0\r\n", MAX_AGE, 0 }, { "Expires: 0\r\nCache-Control: max-age=30\r\n", MAX_AGE, 30 },
		{ "Cache-Control: max-age=x\r\nExpires: Sun, 06 Nov 1994 08:50:37 GMT\r\n", MAX_AGE, 0 }, { "Date: Sun, 06 Nov 1994 08:49:07 GMT\r\n", MAX_AGE, -1 },
		{ "Cache-Control: s-max-age=5\r\n", MAX_AGE, -1 }, { "Cache-Control: x=\"max-age=5, max-age=6\"\r\n", MAX_AGE, -1 },
		{ "Cache-Control: x=\"unended, max-age=5\r\n", MAX_AGE, -1 }, { "Cache-Control: ,,,max-age=5,,\r\n", MAX_AGE, 5 },
		{ "Cache-Control: max-age=9999999999999\r\n", MAX_AGE, 2147483647 },
		{ "Cache-Control: max-age=1, stale-while-revalidate=30\r\n", STALE, 30 }, { "Cache-Control: max-age=1\r\n", STALE, -1 },
		{ "Cache-Control: No-Store\r\n", NO_STORE, 1 }, { "Cache-Control: max-age=1\r\nCache-Control: no-store\r\n", NO_STORE, 1 },
		{ "Cache-Control: no-storey\r\n", NO_STORE, 0 }, { "Cache-Control: no-cache=\"Set-Cookie\"\r\n", NO_CACHE, 1 },
		{ "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", MODIFIED, INT64_C(784111777000) },
		{ "Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT\r\n", MODIFIED, INT64_C(784111777000) },
		{ "Last-Modified: Sun Nov  6 08:49:37 1994\r\n", MODIFIED, INT64_C(784111777000) },
		{ "Last-Modified: yesterday, or so\r\n", MODIFIED, -1 }, { "Last-Modified: 17\r\n", MODIFIED, -1 },
		{ "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nLast-Modified: Sun, 06 Nov 1994 08:49:36 GMT\r\n", MODIFIED, INT64_C(784111776000) },
		{ "X-Larder-Created: 1700000000123\r\n", CREATED, INT64_C(1700000000123) }, { "X-Larder-Created: 1e9\r\n", CREATED, -1 },
		{ "X-Larder-Created: 99999999999999999999\r\n", CREATED, -1 }, { "X-Larder-Created: 5\r\nX-Larder-Created: 4\r\n", CREATED, 4 },
		{ "X-Larder-Hard-End: 1700000000123\r\n", HARD_END, INT64_C(1700000000123) }, { "X-Larder-Hard-End: 9\r\nx-larder-hard-end: 7\r\n", HARD_END, 7 },
		{ "X-Larder-Flags: 4294967295\r\n", FLAGS, INT64_C(4294967295) }, { "X-Larder-Flags: 4294967296\r\n", FLAGS, -1 },
		{ "X-Larder-Flags: 1\r\nX-Larder-Flags: 2\r\n", FLAGS, 1 },
		{ "Retry-After: 0\r\n", RETRY, 0 }, { "Retry-After: 3\r\n", RETRY, 3000 }, { "Retry-After: 3600\r\n", RETRY, 3600000 },
		{ "Retry-After: 3601\r\n", RETRY, 3600000 }, { "Retry-After: 99999999999999\r\n", RETRY, 3600000 }, { "Retry-After: soon\r\n", RETRY, -1 },
		{ "Retry-After: Sun, 06 Nov 1994 08:49:47 GMT\r\n", RETRY, 10000 }, { "Retry-After: Sun, 06 Nov 1994 08:49:27 GMT\r\n", RETRY, 0 },
		{ "Retry-After: Sun, 06 Nov 2044 08:49:37 GMT\r\n", RETRY, 3600000 }, { "Retry-After: 2\r\nRetry-After: 5\r\n", RETRY, 5000 },
		{ "Content-Type: application/json\r\n", JSON, 1 }, { "Content-Type: Application/JSON; charset=utf-8\r\n", JSON, 1 },
		{ "Content-Type: application/problem+json\r\n", JSON, 1 }, { "Content-Type: application/octet-stream\r\n", JSON, 0 },
		{ "Content-Type: application/jsonp\r\n", JSON, 0 }, { "Content-Type: text/plain; a=application/json\r\n", JSON, 0 }, { "Content-Type:\r\n", JSON, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ld_http_answer answer = read_headers(rows[i].headers);

		if (value_of(&answer, rows[i].field) != rows[i].value)
			print_message("# %s", rows[i].headers);
		assert_int_equal(value_of(&answer, rows[i].field), rows[i].value);
	}
}

static void test_etags(void **state)
{
	static const struct { const char *headers, *etag; } rows[] = { { "ETag: \"abc\"\r\n", "\"abc\"" }, { "etag:W/\"abc\"\r\n", "W/\"abc\"" },
		{ "ETag: \"\"\r\n", "\"\"" }, { "ETag: abc\r\n", "" }, { "ETag: \"abc\r\n", "" }, { "ETag: \"\r\n", "" }, { "ETag: W/\r\n", "" },
		{ "ETag: \"a b\"\r\n", "" }, { "ETag: \"a\"b\"\r\n", "" }, { "ETag: \"a\x01\"\r\n", "" }, { "ETag: \"a\"\r\nETag: \"b\"\r\n", "\"a\"" } };
	char longest[LD_HTTP_ETAG_MAX + 16];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(read_headers(rows[i].headers).etag, rows[i].etag);
	(void)snprintf(longest, sizeof(longest), "ETag: \"%0*d\"\r\n", LD_HTTP_ETAG_MAX - 2, 0);
	assert_int_equal(strlen(read_headers(longest).etag), LD_HTTP_ETAG_MAX);
	(void)snprintf(longest, sizeof(longest), "ETag: \"%0*d\"\r\n", LD_HTTP_ETAG_MAX - 1, 0);
	assert_string_equal(read_headers(longest).etag, "");
}

/* What an interim answer says is forgotten; what comes after the headers is none. */
static void test_interim_answers_and_trailers(void **state)
{
	struct ld_http_answer answer = { .outcome = LD_HTTP_OK };
	struct ld_http_receipt receipt;

	(void)state;
	ld_http_receipt_init(&receipt, &answer, BODY_MAX, 0, 0);
	receive(&receipt, "HTTP/1.1 103 Early\r\nAge: 7\r\nETag: \"early\"\r\nCache-Control: no-store\r\nExpires: 0\r\n\r\n");
	assert_int_equal(receipt.closed, 0);
	receive(&receipt, "HTTP/1.1 200 OK\r\nAge: 1\r\n\r\n");
	receive(&receipt, "Age: 99\r\nETag: \"trailer\"\r\nHTTP/1.1 200 OK\r\n\r\n");
	assert_int_equal(answer.age_s, 1);
	assert_string_equal(answer.etag, "");
	assert_int_equal(answer.no_store, 0);
	assert_int_equal(answer.max_age_s, -1);
}

static void test_the_same_over_the_wire(void **state)
{
	struct world *world = *state;
	struct ld_http_answer *answer;

	world_rule(world, (struct fault_answer){ .status = 103, .headers = "Age: 7\r\n\r\nHTTP/1.1 200 OK\r\nAge: 2\r\nETag: \"e\"\r\n"
	    "Cache-Control: max-age=60, stale-while-revalidate=30\r\nX-Larder-Created: 1700000000000\r\nX-Larder-Flags: 3\r\n", .body = "final" });
	answer = world_get(world, "/k");
	expect_body(answer, "final");
	assert_int_equal(answer->status, 200);
	assert_int_equal(answer->age_s, 2);
	assert_int_equal(answer->max_age_s, 60);
	assert_int_equal(answer->stale_s, 30);
	assert_int_equal(answer->created_ms, INT64_C(1700000000000));
	assert_int_equal(answer->flags, 3);
	assert_string_equal(answer->etag, "\"e\"");
	/* Chunks with a trailer. */
	world_rule(world, (struct fault_answer){ .fault = FAULT_DELIMITED, .headers = "Transfer-Encoding: chunked\r\n",
	    .body = "4\r\nbody\r\n0\r\nAge: 77\r\n\r\n" });
	answer = world_get(world, "/k");
	expect_body(answer, "body");
	assert_int_equal(answer->age_s, -1);
	/* An answer that is not whole has no fields to be believed, but those that say how to go on. */
	world_rule(world, (struct fault_answer){ .status = 429, .headers = "Retry-After: 2\r\n" });
	assert_int_equal(world_get(world, "/k")->retry_after_ms, 2000);
	assert_int_equal(world->answer.status, 429);
}

/* Random lines out of pieces that mean something, and of any bytes: nothing is read outside of them (the sanitizers look), every field within its bounds. */
static void test_garbage(void **state)
{
	static const char *const pieces[] = { "Age", "Cache-Control", "ETag", "Retry-After", "Last-Modified", "Content-Length", "Content-Type",
		"X-Larder-Created", "X-Larder-Flags", ":", ": ", "\"", ",", "=", "max-age", "9", "99999999999999999999", "-", " ", "\t", "W/", "+json", ";",
		"HTTP/1.1 ", "200", "Sun, 06 Nov 1994 08:49:37 GMT", "\r", "\n" };
	uint64_t random = 1;

	(void)state;
	for (int round = 0; round < 200000; round++) {
		struct ld_http_answer answer = { .outcome = LD_HTTP_OK };
		struct ld_http_receipt receipt;
		size_t len = 0;
		char text[512], *line;

		ld_http_receipt_init(&receipt, &answer, BODY_MAX, 0, 0);
		for (int i = 0; i < 8; i++) {
			random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			if ((random >> 60) == 0) {
				text[len++] = (char)(random >> 40);
			} else {
				const char *piece = pieces[(random >> 33) % (sizeof(pieces) / sizeof(pieces[0]))];

				memcpy(text + len, piece, strlen(piece));
				len += strlen(piece);
			}
		}
		/* In memory of its own size, without a NUL. */
		line = malloc(len);
		memcpy(line, text, len);
		(void)ld_http_receipt_header(line, 1, len, &receipt);
		free(line);
		assert_in_range(answer.age_s + 1, 0, INT64_C(2147483648));
		assert_in_range(answer.max_age_s + 1, 0, INT64_C(2147483648));
		assert_in_range(answer.retry_after_ms + 1, 0, LD_HTTP_RETRY_AFTER_MAX_MS + 1);
		assert_in_range(answer.flags + 1, 0, INT64_C(4294967296));
		assert_in_range(strlen(answer.etag), 0, LD_HTTP_ETAG_MAX);
	}
}

static void test_number_and_size_of_lines(void **state)
{
	struct ld_http_answer answer = { .outcome = LD_HTTP_OK };
	struct ld_http_receipt receipt;
	char line[] = "X: y\r\n";
	char *large = calloc(1, LD_HTTP_ANSWER_LINES_MAX_B + 1);

	(void)state;
	ld_http_receipt_init(&receipt, &answer, BODY_MAX, 0, 0);
	for (int i = 0; i < LD_HTTP_ANSWER_LINES_MAX; i++)
		assert_int_equal(ld_http_receipt_header(line, 1, 6, &receipt), 6);
	assert_int_equal(receipt.too_many, 0);
	assert_int_equal(ld_http_receipt_header(line, 1, 6, &receipt), 0);
	assert_int_equal(receipt.too_many, 1);
	ld_http_receipt_init(&receipt, &answer, BODY_MAX, 0, 0);
	assert_int_equal(ld_http_receipt_header(large, 1, LD_HTTP_ANSWER_LINES_MAX_B, &receipt), LD_HTTP_ANSWER_LINES_MAX_B);
	assert_int_equal(ld_http_receipt_header(large, 1, 1, &receipt), 0);
	assert_int_equal(receipt.too_many, 1);
	free(large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_etags),
		cmocka_unit_test(test_interim_answers_and_trailers),
		WITH_WORLD(test_the_same_over_the_wire),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_number_and_size_of_lines),
	};

	return cmocka_run_group_tests_name("http_answer", tests, NULL, NULL);
}
