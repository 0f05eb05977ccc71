/* SPDX-License-Identifier: MIT */
/*
 * Both tiers through the public calls, against a server that does as it is told: what a get asks of L2 and keeps, what each failure is to the caller, what
 * writes tell, and that nothing older comes back. No thread of ours: the outbox is told by larder_flush().
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <time.h>

#include "child.h"
#include "second.h"

enum { FLUSH_MS = 20000 };

static struct box *open_both(struct second *both, const char *const *more)
{
	return second_open_cache(both, NULL, more);
}

static void answer(struct second *both, int status, const char *headers, const char *body, unsigned times)
{
	fault_server_rule(both->server, "/", &(struct fault_answer){ .status = status, .headers = headers, .body = body }, times);
}

static const char *header(const struct fault_request *request, const char *name)
{
	static char value[512];

	assert_non_null(request);
	return fault_request_header(request, name, value, sizeof(value)) ? value : "";
}

/* Another host's cache on the same L2 would find nothing here: forget what this host has. */
static void forget_here(struct box *box, const char *name)
{
	const struct larder_call here = { sizeof(here), LARDER_CALL_THIS_TIER, 0, NULL, NULL };

	assert_in_range(larder_delete(box->tenant, BOX_SPACE, name, strlen(name), &here), 0, LARDER_MISS);
}

/* ---- reading ---- */

static void test_a_miss_reads_through_and_is_kept(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, NULL);
	struct larder_value value;
	char path[80];

	answer(both, 200, "Content-Type: application/json\r\n", "{\"value\":\"blue\",\"ttl\":30,\"flags\":7}", 1);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "theme", 5, NULL, &value), 0);
	assert_int_equal(value.source, LARDER_FROM_L2);
	assert_int_equal(value.flags, 7);
	assert_int_equal(value.len, 4);
	assert_memory_equal(value.data, "blue", 4);
	assert_in_range(value.fresh_ms, 1, 30000);
	larder_value_free(&value);
	/* From here on L2 is not asked: it would say 404. */
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "theme", 5, NULL, &value), 0);
	assert_int_equal(value.source, LARDER_FROM_L1);
	assert_int_equal(value.flags, 7);
	assert_in_range(value.fresh_ms, 1, 30000);
	larder_value_free(&value);
	assert_int_equal(second_requests(both), 1);
	assert_string_equal(header(fault_server_seen(both->server, 0), "X-Tenant-Id"), "acme");
	assert_int_equal(strlen(header(fault_server_seen(both->server, 0), "X-Request-Id")), 32);
	assert_string_equal(fault_server_seen(both->server, 0)->method, "GET");
	assert_int_equal(snprintf(path, sizeof(path), "%s", fault_server_seen(both->server, 0)->path), 65);
	assert_int_equal(strspn(path + 1, "0123456789abcdef"), 64);
}

static void test_what_l2_has_not_is_a_miss(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, NULL);

	assert_true(box_gives(box, "none", LARDER_MISS, NULL));
	assert_int_equal(second_requests(both), 1);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "none", 4, NULL), LARDER_MISS);
	assert_string_equal(fault_server_seen(both->server, 0)->method, "HEAD");
	answer(both, 200, NULL, NULL, 0);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "none", 4, NULL), 0);
}

static void test_this_tier_does_not_ask(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, NULL);
	const struct larder_call here = { sizeof(here), LARDER_CALL_THIS_TIER, 0, NULL, NULL };
	struct larder_value value;

	answer(both, 200, NULL, "x", 0);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, &here, &value), LARDER_MISS);
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, "v", 1, NULL, &here), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	assert_int_equal(second_requests(both), 0);
}

static void test_l1_keeps_nothing_longer_than_l2_says(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "TTL=1h", "L2_CODEC=raw", NULL });
	struct larder_value value;

	answer(both, 200, "Content-Type: application/octet-stream\r\nCache-Control: max-age=100\r\nAge: 40\r\n", "raw", 1);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, &value), 0);
	assert_in_range(value.fresh_ms, 50000, 60000);
	larder_value_free(&value);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, &value), 0);
	assert_int_equal(value.source, LARDER_FROM_L1);
	assert_in_range(value.fresh_ms, 50000, 60000);
	larder_value_free(&value);
	/* Not to be kept at all. */
	fault_server_clear(both->server);
	answer(both, 200, "Cache-Control: no-store, max-age=100\r\n", "once", 0);
	assert_true(box_gives(box, "b", 0, "once"));
	assert_true(box_gives(box, "b", 0, "once"));
	assert_int_equal(second_requests(both), 3);
	/* Nothing is left of it. */
	fault_server_clear(both->server);
	answer(both, 200, "Cache-Control: max-age=100\r\nAge: 100\r\n", "old", 0);
	assert_true(box_gives(box, "c", LARDER_MISS, NULL));
}

/* A time that cannot be read is not one that was not given: nobody knows that the value is fresh. */
static void test_unreadable_times_are_none(void **state)
{
	static const char *const unreadable[] = { "Cache-Control: max-age=-5\r\n", "Cache-Control: max-age=long\r\n", "Expires: 0\r\n",
		"Expires: Thu, 01 Jan 1970 00:00:00 GMT\r\n" };
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "TTL=1h", "L2_CODEC=raw", NULL });
	struct larder_value value;

	for (size_t i = 0; i < sizeof(unreadable) / sizeof(*unreadable); i++) {
		fault_server_clear(both->server);
		answer(both, 200, unreadable[i], "v", 0);
		assert_true(box_gives(box, "a", LARDER_MISS, NULL));
		assert_true(box_gives(box, "a", LARDER_MISS, NULL));
		assert_int_equal(second_requests(both), 2 * (i + 1));
	}
	/* One that was not given is the policy's. */
	fault_server_clear(both->server);
	answer(both, 200, NULL, "v", 1);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "b", 1, NULL, &value), 0);
	assert_in_range(value.fresh_ms, 3590000, 3600000);
	larder_value_free(&value);
	assert_true(box_gives(box, "b", 0, "v"));
	assert_int_equal(second_requests(both), 9);
	/* A date far ahead is as good as a max-age. */
	answer(both, 200, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nExpires: Sun, 06 Nov 1994 08:50:37 GMT\r\n", "v", 1);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "c", 1, NULL, &value), 0);
	assert_in_range(value.fresh_ms, 50000, 60000);
	larder_value_free(&value);
}

static void test_a_hard_end_travels(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "TTL=1h", NULL });
	struct larder_store store = LARDER_STORE_INIT;
	struct larder_value value;
	int64_t end_ms = ((int64_t)time(NULL) + 60) * 1000;
	char body[128];

	snprintf(body, sizeof(body), "{\"value\":\"t\",\"ttl\":3600,\"hard_end\":%lld}", (long long)end_ms);
	answer(both, 200, "Content-Type: application/json\r\n", body, 1);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "token", 5, NULL, &value), 0);
	assert_int_equal(value.hard_end_ms, end_ms);
	assert_in_range(value.left_ms, 1, 60000);
	larder_value_free(&value);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "token", 5, NULL, &value), 0);
	assert_true(value.source == LARDER_FROM_L1 && value.hard_end_ms == end_ms && value.left_ms <= 60000);
	larder_value_free(&value);
	store.hard_end_ms = end_ms;
	fault_server_clear(both->server);
	answer(both, 204, NULL, NULL, 0);
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "own", 3, "v", 1, &store, NULL), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	snprintf(body, sizeof(body), "\"hard_end\":%lld", (long long)end_ms);
	assert_non_null(strstr((const char *)fault_server_seen(both->server, 0)->body, body));
}

static void test_many_and_into(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, NULL);
	struct larder_item items[3] = { { BOX_SPACE, "a", 1, 0, { 0 } }, { BOX_SPACE, "here", 4, 0, { 0 } }, { BOX_SPACE, "c", 1, 0, { 0 } } };
	struct larder_value value;
	char buffer[4];

	assert_int_equal(box_set(box, "here", "mine"), 0);
	answer(both, 200, "Content-Type: application/json\r\n", "{\"value\":\"abcd\",\"ttl\":30}", 0);
	assert_int_equal(larder_mget(box->tenant, items, 3, NULL), 0);
	assert_true(items[0].result == 0 && items[0].value.source == LARDER_FROM_L2 && memcmp(items[0].value.data, "abcd", 4) == 0);
	assert_true(items[1].result == 0 && items[1].value.source == LARDER_FROM_L1 && memcmp(items[1].value.data, "mine", 4) == 0);
	assert_true(items[2].result == 0 && items[2].value.len == 4);
	for (int i = 0; i < 3; i++)
		larder_value_free(&items[i].value);
	assert_int_equal(larder_get_into(box->tenant, BOX_SPACE, "d", 1, buffer, 3, NULL, &value), LARDER_E_SPACE);
	assert_int_equal(value.len, 4);
	assert_int_equal(larder_get_into(box->tenant, BOX_SPACE, "e", 1, buffer, 4, NULL, &value), 0);
	assert_memory_equal(buffer, "abcd", 4);
	assert_int_equal(value.source, LARDER_FROM_L2);
}

/* ---- tags and the error window ---- */

static int set_tagged(struct box *box, const char *name, const char *text, const char *tag)
{
	struct larder_store store = LARDER_STORE_INIT;

	store.tags = &tag;
	store.tag_count = 1;
	store.error_ms = 600000;
	return larder_set(box->tenant, BOX_SPACE, name, strlen(name), text, strlen(text), &store, NULL);
}

/* What is told under a tag comes back under it, on any host with the secret: it is the hash that travels. */
static void test_tags_travel(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "TTL=1h", "STALE=10s", "STALE_IF_ERROR=1m", NULL });
	const char *red = "red";
	char body[256], hash[24];
	const char *sent, *told;

	answer(both, 204, NULL, NULL, 1);
	assert_int_equal(set_tagged(box, "a", "v", "red"), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	sent = (const char *)fault_server_seen(both->server, 0)->body;
	assert_non_null(strstr(sent, "\"stale_if_error\":600"));
	told = strstr(sent, "\"larder_tags\":[\"");
	assert_non_null(told);
	snprintf(hash, sizeof(hash), "%.16s", told + strlen("\"larder_tags\":[\""));
	assert_int_equal(strspn(hash, "0123456789abcdef"), 16);
	/* As another host would: the value comes from L2, and is kept with its tag. */
	forget_here(box, "a");
	snprintf(body, sizeof(body), "{\"value\":\"v\",\"ttl\":60,\"created\":%lld,\"larder_tags\":[\"%s\"]}", (long long)time(NULL) * 1000, hash);
	answer(both, 200, "Content-Type: application/json\r\n", body, 0);
	assert_true(box_gives(box, "a", 0, "v"));
	assert_int_equal(second_requests(both), 2);
	assert_true(box_gives(box, "a", 0, "v"));
	assert_int_equal(second_requests(both), 2);
	/* Invalidated it is gone here, and what L2 has from before is not taken. */
	assert_int_equal(larder_invalidate_tags(box->tenant, &red, 1, NULL), 0);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	assert_int_equal(second_requests(both), 3);
	assert_true(box_gives(box, "b", LARDER_MISS, NULL));
	/* What is newer is. */
	fault_server_clear(both->server);
	snprintf(body, sizeof(body), "{\"value\":\"new\",\"ttl\":60,\"larder_tags\":[\"%s\"]}", hash);
	answer(both, 200, "Content-Type: application/json\r\n", body, 0);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	fault_server_clear(both->server);
	answer(both, 200, "Content-Type: application/json\r\n", "{\"value\":\"other\",\"ttl\":60,\"larder_tags\":[\"0000000000000000\"]}", 0);
	assert_true(box_gives(box, "a", 0, "other"));
}

static void test_tags_in_headers(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "L2_CODEC=raw", "L2_SKEW_MS=0", NULL });
	const char *red = "red", *told;
	char headers[256];

	answer(both, 204, NULL, NULL, 1);
	assert_int_equal(set_tagged(box, "a", "v", "red"), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	assert_non_null(strstr(header(fault_server_seen(both->server, 0), "Cache-Control"), ", stale-if-error=600"));
	told = header(fault_server_seen(both->server, 0), "X-Larder-Tags");
	assert_int_equal(strspn(told, "0123456789abcdef"), 16);
	forget_here(box, "a");
	snprintf(headers, sizeof(headers), "Cache-Control: max-age=60\r\nX-Larder-Tags: %.16s\r\nX-Larder-Created: %lld\r\n", told,
	    (long long)time(NULL) * 1000 - 10000);
	answer(both, 200, headers, "v", 0);
	assert_true(box_gives(box, "a", 0, "v"));
	assert_int_equal(larder_invalidate_tags(box->tenant, &red, 1, NULL), 0);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	/* What cannot be told from an invalidated one is not given out. */
	fault_server_clear(both->server);
	answer(both, 200, "Cache-Control: max-age=60\r\nX-Larder-Tags: red\r\n", "v", 0);
	assert_true(box_gives(box, "a", LARDER_E_L2, NULL));
	assert_int_equal(larder_reason(), LARDER_REASON_L2_BODY);
}

/* L2 is told its own time to live where the caller has not given one. */
static void test_l2_has_its_own_ttl(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "TTL=60s", "L2_TTL=300s", "TTL_JITTER=50", NULL });
	struct larder_store store = LARDER_STORE_INIT;
	struct larder_value value;

	answer(both, 204, NULL, NULL, 0);
	assert_int_equal(box_set(box, "a", "v"), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	assert_non_null(strstr((const char *)fault_server_seen(both->server, 0)->body, "\"ttl\":300,"));
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, &value), 0);
	assert_in_range(value.fresh_ms, 25000, 60000);
	larder_value_free(&value);
	assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "a", 1, LARDER_POLICY, 0, NULL), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	assert_non_null(strstr((const char *)fault_server_seen(both->server, 0)->body, "\"ttl\":300,"));
	store.ttl_ms = 7000;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, "v", 1, &store, NULL), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	assert_null(strstr((const char *)fault_server_seen(both->server, 0)->body, "\"ttl\":300"));
}

/* ---- failures ---- */

struct failing {
	struct fault_answer answer;
	enum larder_reason reason;
	const char *name;
};

static const struct failing failures[] = {
	{ { .fault = FAULT_SILENT }, LARDER_REASON_L2_TIMEOUT, "silent" },
	{ { .fault = FAULT_RESET }, LARDER_REASON_L2_RESET, "reset" },
	{ { .fault = FAULT_LENGTH_MORE, .body = "half" }, LARDER_REASON_L2_BODY, "short body" },
	{ { .status = 500 }, LARDER_REASON_L2_SERVER, "500" },
	{ { .status = 429 }, LARDER_REASON_L2_THROTTLED, "429" },
	{ { .status = 403 }, LARDER_REASON_L2_DENIED, "403" },
	{ { .status = 400 }, LARDER_REASON_L2_REJECTED, "400" },
	{ { .status = 302, .headers = "Location: http://127.0.0.1:1/\r\n" }, LARDER_REASON_L2_REJECTED, "redirect" },
	{ { .status = 304 }, LARDER_REASON_L2_REJECTED, "304 that was not asked for" },
	{ { .status = 201, .body = "made" }, LARDER_REASON_L2_BODY, "201" },
	{ { .status = 204 }, LARDER_REASON_L2_BODY, "204" },
	{ { .status = 206, .headers = "Content-Range: bytes 0-3/9\r\n", .body = "part" }, LARDER_REASON_L2_BODY, "206" },
	{ { .fault = FAULT_NOT_HTTP }, LARDER_REASON_L2_BODY, "not HTTP" },
	{ { .fault = FAULT_HEADERS }, LARDER_REASON_L2_BODY, "headers without end" },
	{ { .fault = FAULT_LINE }, LARDER_REASON_L2_BODY, "a header without end" },
	{ { .fault = FAULT_STATUS_LINE }, LARDER_REASON_L2_BODY, "a status without end" },
	{ { .headers = "Content-Type: application/json\r\n", .body = "{\"value\":" }, LARDER_REASON_L2_BODY, "bad JSON" },
};

static void test_each_failure_is_no_miss(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "L2_GET_MS=3s", "L2_RETRIES=0", "BREAKER_FAILURES=0", "BREAKER_ERROR_PCT=0", NULL });

	for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
		fault_server_clear(both->server);
		fault_server_rule(both->server, "/", &failures[i].answer, 0);
		print_message("# %s\n", failures[i].name);
		assert_true(box_gives(box, failures[i].name, LARDER_E_L2, NULL));
		assert_int_equal(larder_reason(), failures[i].reason);
	}
	fault_server_stop(both->server);
	assert_true(box_gives(box, "refused", LARDER_E_L2, NULL));
	assert_int_equal(larder_reason(), LARDER_REASON_L2_CONNECT);
	assert_int_equal(larder_classify(LARDER_E_L2), LARDER_CLASS_AGAIN);
}

static void test_retries(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "L2_RETRIES=2", NULL });

	/* Two failures, then an answer: one get, three requests. */
	answer(both, 503, NULL, NULL, 2);
	answer(both, 200, "Content-Type: application/json\r\n", "{\"value\":\"third\",\"ttl\":30}", 1);
	assert_true(box_gives(box, "a", 0, "third"));
	assert_int_equal(second_requests(both), 3);
	/* Not for what is the caller's fault. */
	fault_server_clear(both->server);
	answer(both, 400, NULL, NULL, 0);
	assert_true(box_gives(box, "b", LARDER_E_L2, NULL));
	assert_int_equal(second_requests(both), 4);
	/* 501 is for good. */
	fault_server_clear(both->server);
	answer(both, 501, NULL, NULL, 0);
	assert_true(box_gives(box, "c", LARDER_E_L2, NULL));
	assert_int_equal(second_requests(both), 5);
	/* Not before L2 has said so, and not when there is no time for it. */
	fault_server_clear(both->server);
	answer(both, 429, "Retry-After: 60\r\n", NULL, 0);
	assert_true(box_gives(box, "d", LARDER_E_L2, NULL));
	assert_int_equal(second_requests(both), 6);
	/* A write says by its key that it is the same one. */
	fault_server_clear(both->server);
	answer(both, 502, NULL, NULL, 1);
	answer(both, 204, NULL, NULL, 0);
	assert_int_equal(box_set(box, "e", "v"), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	assert_int_equal(second_requests(both), 8);
	{
		char first[512];

		snprintf(first, sizeof(first), "%s", header(fault_server_seen(both->server, 1), "Idempotency-Key"));
		assert_int_equal(strlen(first), 32);
		assert_string_equal(header(fault_server_seen(both->server, 0), "Idempotency-Key"), first);
	}
}

static void test_the_host_learns_that_it_is_down(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "L2_RETRIES=0", "BREAKER_OPEN_MS=60s", "BREAKER_OPEN_MAX_MS=60s", NULL });
	uint64_t before;
	char name[16];

	answer(both, 500, NULL, NULL, 0);
	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_true(box_gives(box, name, LARDER_E_L2, NULL));
		assert_int_equal(larder_reason(), LARDER_REASON_L2_SERVER);
	}
	before = second_requests(both);
	assert_int_equal(before, 5);
	assert_true(box_said(box, "transition=opened-failures"));
	for (int i = 0; i < 100; i++)
		assert_true(box_gives(box, "later", LARDER_E_L2, NULL));
	assert_int_equal(larder_reason(), LARDER_REASON_L2_OPEN);
	assert_int_equal(second_requests(both), before);
	/* Writes do not wait, and are told once it is back. */
	assert_int_equal(box_set(box, "kept", "v"), 0);
	assert_int_equal(larder_flush(box->cache, 50), LARDER_E_BUSY);
	assert_true(box_gives(box, "kept", 0, "v"));
	assert_int_equal(second_requests(both), before);
}

/* L2 is back, and the breaker does not know it yet. */
static void test_a_flush_says_that_the_breaker_is_open(void **state)
{
	struct second *both = *state;
	struct box *box = second_open(both, (const char *const[]){ "L2_RETRIES=0", "BREAKER_FAILURES=3", "BREAKER_OPEN_MS=1m", "BREAKER_OPEN_MAX_MS=2m",
		NULL });

	/* One that is not let through, and the breaker has nothing to do with it. */
	answer(both, 500, NULL, NULL, 0);
	assert_int_equal(box_set(box, "kept", "v"), 0);
	assert_int_equal(larder_flush(box->cache, 0), LARDER_E_BUSY);
	assert_int_equal(larder_reason(), LARDER_REASON_NONE);
	assert_int_equal(larder_retry_after(), 0);
	assert_true(box_gives(box, "a", LARDER_E_L2, NULL));
	assert_true(box_gives(box, "b", LARDER_E_L2, NULL));
	fault_server_clear(both->server);
	assert_int_equal(larder_flush(box->cache, 20), LARDER_E_BUSY);
	assert_int_equal(larder_reason(), LARDER_REASON_L2_OPEN);
	assert_in_range(larder_retry_after(), 30000, 72000);
	/* By hand: for that nobody can wait. */
	assert_int_equal(larder_inspect_breaker_force(box->inspector, NULL, LARDER_BREAKER_ORDER_OPEN), 0);
	assert_int_equal(larder_flush(box->cache, 20), LARDER_E_BUSY);
	assert_int_equal(larder_reason(), LARDER_REASON_L2_OPEN);
	assert_int_equal(larder_retry_after(), 120000);
	assert_int_equal(larder_inspect_breaker_force(box->inspector, NULL, LARDER_BREAKER_ORDER_RESET), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	assert_int_equal(larder_retry_after(), 0);
}

/* Of what is there instead of L2, as of L2 itself. A redirect and what else L2 says for itself are no such thing. */
static void test_what_is_no_answer_opens_the_breaker(void **state)
{
	static const struct fault_answer broken[] = { { .fault = FAULT_NOT_HTTP }, { .fault = FAULT_LINE }, { .status = 206, .body = "part" } };
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "L2_RETRIES=0", "BREAKER_FAILURES=3", "BREAKER_OPEN_MS=60s", "BREAKER_OPEN_MAX_MS=60s", NULL });

	answer(both, 302, "Location: http://127.0.0.1:1/\r\n", NULL, 10);
	answer(both, 304, NULL, NULL, 10);
	for (int i = 0; i < 20; i++) {
		assert_true(box_gives(box, "a", LARDER_E_L2, NULL));
		assert_int_equal(larder_reason(), LARDER_REASON_L2_REJECTED);
	}
	for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++)
		fault_server_rule(both->server, "/", &broken[i], 1);
	for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++) {
		assert_true(box_gives(box, "a", LARDER_E_L2, NULL));
		assert_int_equal(larder_reason(), LARDER_REASON_L2_BODY);
	}
	assert_true(box_said(box, "transition=opened-failures"));
	assert_true(box_gives(box, "a", LARDER_E_L2, NULL));
	assert_int_equal(larder_reason(), LARDER_REASON_L2_OPEN);
	assert_int_equal(second_requests(both), 23);
}

/* It is not refused: L2 is told as soon as there is one. */
static void test_a_write_outlives_what_is_no_answer(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "L2_RETRIES=0", "L2_GET_MS=200ms", "L2_SET_MS=200ms", "L2_DELETE_MS=200ms", NULL });

	fault_server_rule(both->server, "/", &(struct fault_answer){ .fault = FAULT_NOT_HTTP }, 1);
	fault_server_rule(both->server, "/", &(struct fault_answer){ .fault = FAULT_STATUS_LINE }, 1);
	answer(both, 204, NULL, NULL, 0);
	assert_int_equal(box_set(box, "a", "text"), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	assert_int_equal(second_requests(both), 3);
	assert_string_equal(fault_server_seen(both->server, 0)->method, "POST");
	assert_non_null(strstr((const char *)fault_server_seen(both->server, 0)->body, "\"value\":\"text\""));
}

static void without_descriptors(void *arg)
{
	struct box *box = arg;
	struct rlimit limit;

	CHILD_CHECK(larder_attach(box->cache) == 0);
	CHILD_CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = 64;
	CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	while (dup(STDERR_FILENO) >= 0)
		;
	for (int i = 0; i < 10; i++) {
		CHILD_CHECK(box_gives(box, "poor", LARDER_E_L2, NULL));
		CHILD_CHECK(larder_reason() == LARDER_REASON_L2_BUSY);
	}
}

/* What one worker lacks is no word about L2: the others go on asking. */
static void test_a_worker_without_descriptors_opens_no_breaker(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "BREAKER_FAILURES=2", "BREAKER_OPEN_MS=60s", "BREAKER_OPEN_MAX_MS=60s", NULL });

	answer(both, 200, "Content-Type: application/json\r\n", "{\"value\":\"there\",\"ttl\":30}", 0);
	assert_int_equal(child_run(without_descriptors, box), 0);
	assert_int_equal(second_requests(both), 0);
	assert_true(box_gives(box, "rich", 0, "there"));
}

#ifdef LARDER_FAULTS
static void test_one_probe_and_three_successes(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "L2_RETRIES=0", "BREAKER_OPEN_MS=1s", NULL });

	answer(both, 500, NULL, NULL, 5);
	for (int i = 0; i < 5; i++)
		assert_true(box_gives(box, "a", LARDER_E_L2, NULL));
	assert_true(box_gives(box, "a", LARDER_E_L2, NULL));
	assert_int_equal(larder_reason(), LARDER_REASON_L2_OPEN);
	atomic_fetch_add(&box->plan->boot_shift_ms, 1300);
	/* 404 is a success: three probes close it. */
	for (int i = 0; i < 3; i++) {
		assert_false(box_said(box, "closed-again"));
		assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	}
	assert_true(box_said(box, "transition=half-opened") || second_requests(both) == 8);
	assert_int_equal(second_requests(both), 8);
}

static void test_a_stale_value_outlives_l2(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "L2_RETRIES=0", "TTL=1s", "STALE=1h", "L2_CODEC=raw", NULL });
	struct larder_value value;

	answer(both, 200, "Cache-Control: max-age=1, stale-while-revalidate=3600\r\nETag: \"v1\"\r\n", "first", 1);
	assert_true(box_gives(box, "a", 0, "first"));
	atomic_fetch_add(&box->plan->boot_shift_ms, 2000);
	/* L2 fails: what is stale is better than nothing. */
	answer(both, 500, NULL, NULL, 1);
	assert_true(box_gives(box, "a", LARDER_STALE, "first"));
	/* L2 has lost it: the same. */
	answer(both, 404, NULL, NULL, 1);
	assert_true(box_gives(box, "a", LARDER_STALE, "first"));
	/* It has not changed: fresh again, without a body. */
	answer(both, 304, "Cache-Control: max-age=60\r\n", NULL, 1);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, &value), 0);
	assert_memory_equal(value.data, "first", 5);
	larder_value_free(&value);
	assert_string_equal(header(fault_server_seen(both->server, 0), "If-None-Match"), "\"v1\"");
	assert_true(box_gives(box, "a", 0, "first"));
	assert_int_equal(second_requests(both), 4);
	/* It has changed. */
	atomic_fetch_add(&box->plan->boot_shift_ms, 61000);
	answer(both, 200, "Cache-Control: max-age=60\r\n", "second", 1);
	assert_true(box_gives(box, "a", 0, "second"));
}

/* RFC 9111, 4.3.4: a 304 is about the value that was asked about. Tags are compared weakly. */
static void test_another_etag_renews_nothing(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "L2_RETRIES=0", "TTL=1s", "STALE=1h", "L2_CODEC=raw", "BREAKER_FAILURES=0", NULL });

	answer(both, 200, "Cache-Control: max-age=1, stale-while-revalidate=3600\r\nETag: \"v1\"\r\n", "first", 1);
	assert_true(box_gives(box, "a", 0, "first"));
	atomic_fetch_add(&box->plan->boot_shift_ms, 2000);
	answer(both, 304, "ETag: \"v2\"\r\nCache-Control: max-age=60\r\n", NULL, 1);
	assert_true(box_gives(box, "a", LARDER_STALE, "first"));
	assert_int_equal(larder_reason(), LARDER_REASON_L2_BODY);
	answer(both, 304, "ETag: W/\"v2\"\r\nCache-Control: max-age=60\r\n", NULL, 1);
	assert_true(box_gives(box, "a", LARDER_STALE, "first"));
	answer(both, 304, "ETag: W/\"v1\"\r\nCache-Control: max-age=60\r\n", NULL, 1);
	assert_true(box_gives(box, "a", 0, "first"));
	assert_true(box_gives(box, "a", 0, "first"));
	assert_string_equal(header(fault_server_seen(both->server, 0), "If-None-Match"), "\"v1\"");
	assert_int_equal(second_requests(both), 4);
}

/* This host's store takes nothing: both tiers are one then. */
static void test_without_l1_everything_goes_to_l2(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "WRITE_WAIT_MS=20", NULL });
	struct ld_fault_plan *plan = box->plan;
	char path[256];

	/* Nothing can be attached while the directory is closed to us and no segment is mapped. */
	box_path(box, "larder.seg", path);
	assert_int_equal(unlink(path), 0);
	atomic_store(&plan->point, LD_FAULT_seg_allocate);
	atomic_store(&plan->action, LD_FAULT_ERROR);
	atomic_store(&plan->error, 28);
	atomic_store(&plan->countdown, 1);
	answer(both, 204, NULL, NULL, 1);
	assert_int_equal(box_set(box, "a", "v"), 0);
	assert_string_equal(fault_server_seen(both->server, 0)->method, "POST");
	answer(both, 200, "Content-Type: application/json\r\n", "{\"value\":\"v\",\"ttl\":30}", 1);
	assert_true(box_gives(box, "a", 0, "v"));
	answer(both, 204, NULL, NULL, 1);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), LARDER_E_BUSY);
	assert_string_equal(fault_server_seen(both->server, 0)->method, "DELETE");
}
#endif

static void test_a_tenant_is_kept_to_its_share_of_l2(void **state)
{
	struct second *both = *state;
	/* A new cache is a cold host: half of the burst, and of the rate. */
	struct box *box = open_both(both, (const char *const[]){ "L2_RATE=1/m", "L2_BURST=10", NULL });
	struct larder_stats stats = { .size = sizeof(stats) };
	int asked = 0;
	char name[16];

	for (int i = 0; i < 20; i++) {
		struct larder_value value = { 0 };
		int rc;

		snprintf(name, sizeof(name), "n%d", i);
		rc = larder_get(box->tenant, BOX_SPACE, name, strlen(name), NULL, &value);
		assert_true(rc == LARDER_MISS || rc == LARDER_E_LIMIT);
		asked += rc == LARDER_MISS;
	}
	assert_int_equal(asked, 5);
	assert_int_equal(second_requests(both), 5);
	assert_in_range(larder_retry_after(), 1000, 120000);
	assert_int_equal(larder_get_stats(box->cache, &stats), 0);
	/* What is here is not concerned. */
	assert_int_equal(box_set(box, "own", "v"), 0);
	assert_true(box_gives(box, "own", 0, "v"));
	/* Who does not ask L2 has nothing to wait for. */
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "own", 3, NULL), 0);
	assert_true(box_gives(box, "other", LARDER_E_LIMIT, NULL));
	assert_in_range(larder_retry_after(), 1000, 120000);
	assert_true(box_gives(box, "own", LARDER_MISS, NULL));
	assert_int_equal(larder_retry_after(), 0);
}

/* ---- writing ---- */

static void test_writes_are_told(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "TTL=90500ms", NULL });
	const struct fault_request *seen;

	answer(both, 204, NULL, NULL, 0);
	assert_int_equal(box_set(box, "a", "text"), 0);
	assert_int_equal(second_requests(both), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	seen = fault_server_seen(both->server, 0);
	assert_int_equal(second_requests(both), 1);
	assert_string_equal(seen->method, "POST");
	assert_string_equal(header(seen, "Content-Type"), "application/json");
	assert_string_equal(header(seen, "X-Tenant-Id"), "acme");
	assert_non_null(strstr((const char *)seen->body, "\"value\":\"text\""));
	assert_non_null(strstr((const char *)seen->body, "\"ttl\":90"));
	/* Of several writes of a key the last one is told; a delete of what is not there, too. */
	assert_int_equal(box_set(box, "a", "two"), 0);
	assert_int_equal(box_set(box, "a", "three"), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	assert_int_equal(second_requests(both), 2);
	assert_non_null(strstr((const char *)fault_server_seen(both->server, 0)->body, "three"));
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "unknown", 7, NULL), LARDER_MISS);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	assert_string_equal(fault_server_seen(both->server, 0)->method, "DELETE");
	/* "Not found" is kept here; L2 forgets what it had. */
	assert_int_equal(larder_set_absent(box->tenant, BOX_SPACE, "a", 1, NULL, NULL), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	assert_string_equal(fault_server_seen(both->server, 0)->method, "DELETE");
	assert_true(box_gives(box, "a", LARDER_ABSENT, NULL));
}

static void test_raw_and_the_tenant_in_the_path(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "L2_CODEC=raw", "L2_TENANT_IN=path", "TTL=90500ms", "L2_WRITE=through", NULL });
	const struct larder_call call = { sizeof(call), 0, 0, "request-17", NULL };
	const struct fault_request *seen;
	struct larder_value value;

	answer(both, 204, NULL, NULL, 1);
	/* Through: told before the call returns. */
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, "by\0tes", 6, NULL, NULL), 0);
	seen = fault_server_seen(both->server, 0);
	assert_int_equal(second_requests(both), 1);
	assert_string_equal(seen->method, "PUT");
	assert_string_equal(header(seen, "X-Tenant-Id"), "");
	assert_memory_equal(seen->path, "/acme/", 6);
	assert_memory_equal(seen->body, "by\0tes", 6);
	assert_string_equal(header(seen, "Cache-Control"), "max-age=90");
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "b", 1, &call, &value), LARDER_MISS);
	assert_string_equal(header(fault_server_seen(both->server, 0), "X-Request-Id"), "request-17");
}

static void test_what_is_not_told_yet_is_not_asked_for(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, NULL);

	answer(both, 200, "Content-Type: application/json\r\n", "{\"value\":\"older\",\"ttl\":30}", 0);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), LARDER_MISS);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	assert_int_equal(second_requests(both), 0);
	assert_true(box_gives(box, "b", 0, "older"));
}

static int64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void test_a_clear_holds_against_l2(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, (const char *const[]){ "L2_SKEW_MS=0", NULL });
	int64_t cleared_ms;
	char body[128];

	answer(both, 200, "Content-Type: application/json\r\n", "{\"value\":\"undated\",\"ttl\":30}", 0);
	assert_true(box_gives(box, "a", 0, "undated"));
	assert_int_equal(larder_clear_space(box->tenant, BOX_SPACE, NULL), 0);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	/* Another space is not concerned. */
	assert_int_equal(larder_exists(box->tenant, "other", "a", 1, NULL), 0);
	/* What was written since is: in a later millisecond than the clear. */
	fault_server_clear(both->server);
	for (cleared_ms = wall_ms(); wall_ms() <= cleared_ms; )
		;
	snprintf(body, sizeof(body), "{\"value\":\"new\",\"ttl\":30,\"created\":%lld}", (long long)wall_ms());
	answer(both, 200, "Content-Type: application/json\r\n", body, 0);
	assert_true(box_gives(box, "a", 0, "new"));
	/* The same for all of the tenant. */
	assert_int_equal(larder_clear_tenant(box->tenant, NULL), 0);
	fault_server_clear(both->server);
	answer(both, 200, "Content-Type: application/json\r\n", "{\"value\":\"old\",\"ttl\":30,\"created\":1700000000000}", 0);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	assert_true(box_gives(box, "b", LARDER_MISS, NULL));
}

static void test_an_evil_tenant_or_id_makes_no_header(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, NULL);
	const struct larder_call call = { sizeof(call), 0, 0, "a\r\nX-Evil: 1", NULL };
	struct larder_value value;

	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, &call, &value), LARDER_E_USAGE);
	assert_int_equal(second_requests(both), 0);
}

static void test_settings_are_checked_at_open(void **state)
{
	struct second *both = *state;
	larder *cache = NULL;
	char *why = NULL;

	assert_int_equal(box_try(both->box, (const char *const[]){ "L2_URL=ftp://host/", "L2_POOL=0", NULL }, &cache, &why), LARDER_E_SETTINGS);
	assert_non_null(strstr(why, "LARDER_L2_URL"));
	assert_non_null(strstr(why, "LARDER_L2_POOL"));
	larder_free(why);
	assert_int_equal(box_try(both->box, (const char *const[]){ "L2_URL=http://10.0.0.1/", "L2_ALLOW_HOSTS=cache.internal", NULL }, &cache, &why),
	    LARDER_E_SETTINGS);
	larder_free(why);
}

static void test_what_l2_had_before_a_write_is_not_kept(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, NULL);

	answer(both, 204, NULL, NULL, 0);
	assert_int_equal(box_set(box, "a", "new"), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	forget_here(box, "a");
	fault_server_clear(both->server);
	answer(both, 200, "Content-Type: application/json\r\n", "{\"value\":\"new\",\"ttl\":30}", 0);
	assert_true(box_gives(box, "a", 0, "new"));
}

/* Set here, not told yet, and stale: what L2 has is older, however fresh it may call it. */
static void test_stale_and_not_told(void **state)
{
	struct second *both = *state;
	struct box *box = open_both(both, NULL);
	struct larder_store store = LARDER_STORE_INIT;
	struct larder_value value;
	int rc = 0;

	store.ttl_ms = 50;
	store.stale_ms = 3600000;
	answer(both, 200, "Content-Type: application/json\r\n", "{\"value\":\"older\",\"ttl\":3600}", 0);
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "n", 1, "newer", 5, &store, NULL), 0);
	for (int i = 0; i < 10000 && rc == 0; i++) {
		rc = larder_get(box->tenant, BOX_SPACE, "n", 1, NULL, &value);
		assert_memory_equal(value.data, "newer", 5);
		larder_value_free(&value);
		assert_int_equal(nanosleep(&(struct timespec){ 0, 1000000 }, NULL), 0);
	}
	assert_int_equal(rc, LARDER_STALE);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "n", 1, NULL), LARDER_STALE);
	assert_int_equal(second_requests(both), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_miss_reads_through_and_is_kept, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_what_l2_has_not_is_a_miss, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_this_tier_does_not_ask, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_l1_keeps_nothing_longer_than_l2_says, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_unreadable_times_are_none, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_a_hard_end_travels, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_many_and_into, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_tags_travel, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_tags_in_headers, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_l2_has_its_own_ttl, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_each_failure_is_no_miss, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_retries, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_the_host_learns_that_it_is_down, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_a_flush_says_that_the_breaker_is_open, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_what_is_no_answer_opens_the_breaker, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_a_write_outlives_what_is_no_answer, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_a_worker_without_descriptors_opens_no_breaker, second_begin, second_end),
#ifdef LARDER_FAULTS
		cmocka_unit_test_setup_teardown(test_one_probe_and_three_successes, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_a_stale_value_outlives_l2, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_another_etag_renews_nothing, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_without_l1_everything_goes_to_l2, second_begin, second_end),
#endif
		cmocka_unit_test_setup_teardown(test_a_tenant_is_kept_to_its_share_of_l2, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_writes_are_told, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_raw_and_the_tenant_in_the_path, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_what_is_not_told_yet_is_not_asked_for, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_a_clear_holds_against_l2, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_an_evil_tenant_or_id_makes_no_header, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_settings_are_checked_at_open, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_what_l2_had_before_a_write_is_not_kept, second_begin, second_end),
		cmocka_unit_test_setup_teardown(test_stale_and_not_told, second_begin, second_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
