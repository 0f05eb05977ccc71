/* SPDX-License-Identifier: MIT */
/*
 * Fills with a second level, in one process: who is asked, and told what, when L2 has the value, has it stale, has it unchanged, or has not got it; and a load
 * that is overtaken by writes. What L2 was told is what the server has seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "child.h"
#include "leave_out.h"
#include "second.h"
#include "source.h"
#include "cache/handle.h"

enum { FLUSH_MS = 20000 };

#define JSON "Content-Type: application/json\r\n"

static void answer(struct second *second, const char *headers, int status, const char *body, unsigned times)
{
	fault_server_rule(second->server, "/", &(struct fault_answer){ .status = status, .headers = headers, .body = body }, times);
}

/* No limit of a call to L2 is what these are about. */
static struct box *begin(struct second *second, const char *const *more)
{
	const char *rows[12] = { "L2_GET_MS=20s", "L2_SET_MS=20s", "L2_DELETE_MS=20s" };

	for (int i = 0; more && more[i]; i++)
		rows[3 + i] = more[i];
	return second_open(second, rows);
}

/* Requests by method among those that the server remembers, with this text in the body; NULL = any. */
static unsigned seen_of(struct second *second, const char *method, const char *text)
{
	const struct fault_request *seen;
	unsigned count = 0;

	for (unsigned back = 0; back < FAULT_LOG && (seen = fault_server_seen(second->server, back)) != NULL; back++)
		count += strcmp(seen->method, method) == 0 && (!text || strstr((const char *)seen->body, text) != NULL);
	return count;
}

static const char *last_method(struct second *second)
{
	const struct fault_request *seen = fault_server_seen(second->server, 0);

	return seen ? seen->method : "";
}

static int has_header(struct second *second, const char *name, const char *text)
{
	char value[512];
	const struct fault_request *seen = fault_server_seen(second->server, 0);

	return seen && fault_request_header(seen, name, value, sizeof(value)) && strcmp(value, text) == 0;
}

/* ---- who is asked, who is told ---- */

static void test_what_l2_has_is_not_loaded(void **state)
{
	struct second *second = *state;
	struct box *box = begin(second, NULL);
	struct source source = source_of(box, "loaded");

	answer(second, JSON, 200, "{\"value\":\"of L2\",\"ttl\":30}", 0);
	assert_int_equal(source_gives(&source, "k", NULL, "of L2", LARDER_FROM_L2), 0);
	assert_int_equal(source_gives(&source, "k", NULL, "of L2", LARDER_FROM_L1), 0);
	assert_int_equal(source.calls, 0);
	assert_int_equal(second_requests(second), 1);
}

static void test_what_l2_has_not_is_loaded_and_told(void **state)
{
	static const struct { const char *setting; unsigned at_once, in_the_end; } ways[] = {
		{ "L2_WRITE=behind", 0, 1 }, { "L2_WRITE=through", 1, 1 }, { "L2_WRITE=off", 0, 0 },
	};
	struct second *second = *state;

	for (unsigned i = 0; i < 3; i++) {
		struct box *box = begin(second, (const char *const[]){ ways[i].setting, NULL });
		struct source source = source_of(box, ways[i].setting);

		fault_server_clear(second->server);
		answer(second, NULL, 404, NULL, 1);
		answer(second, NULL, 204, NULL, 0);
		assert_int_equal(larder_clear_all(box->cache, NULL), 0);
		assert_int_equal(source_gives(&source, ways[i].setting, NULL, ways[i].setting, LARDER_FROM_LOADER), 0);
		assert_int_equal(seen_of(second, "POST", ways[i].setting), ways[i].at_once);
		assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
		assert_int_equal(seen_of(second, "POST", ways[i].setting), ways[i].in_the_end);
		assert_int_equal(seen_of(second, "GET", NULL), i + 1);
		assert_int_equal(source.calls, 1);
		box_close(box);
	}
}

static void test_not_found_is_told_as_a_delete(void **state)
{
	struct second *second = *state;
	struct box *box = begin(second, NULL);
	struct source source = source_of(box, NULL);

	source.says = LARDER_LOADED_ABSENT;
	answer(second, NULL, 404, NULL, 0);
	assert_int_equal(source_gives(&source, "k", NULL, NULL, 0), LARDER_ABSENT);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	assert_string_equal(last_method(second), "DELETE");
	assert_int_equal(source_gives(&source, "k", NULL, NULL, 0), LARDER_ABSENT);
	assert_int_equal(source.calls, 1);
}

static void test_this_tier_alone_is_neither_asked_nor_told(void **state)
{
	const struct larder_call here = { sizeof(here), LARDER_CALL_THIS_TIER, 0, NULL, NULL };
	struct second *second = *state;
	struct box *box = begin(second, NULL);
	struct source source = source_of(box, "loaded");

	assert_int_equal(source_gives(&source, "k", &here, "loaded", LARDER_FROM_LOADER), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	assert_true(box_gives(box, "k", 0, "loaded"));
	assert_int_equal(second_requests(second), 0);
}

static void test_a_fill_over_a_write_that_is_not_told_yet(void **state)
{
	struct second *second = *state;
	struct box *box = begin(second, NULL);
	struct source source = source_of(box, "loaded");

	answer(second, NULL, 204, NULL, 0);
	assert_int_equal(box_set(box, "k", "before"), 0);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "k", 1, NULL), 0);
	/* L2 knows nothing of it and is not asked; the load has seen the delete, and comes after it. */
	assert_int_equal(source_gives(&source, "k", NULL, "loaded", LARDER_FROM_LOADER), 0);
	assert_true(box_gives(box, "k", 0, "loaded"));
	assert_int_equal(second_requests(second), 0);
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	assert_int_equal(seen_of(second, "GET", NULL), 0);
	assert_string_equal(last_method(second), "POST");
	assert_int_equal(seen_of(second, "POST", "loaded"), 1);
	assert_int_equal(seen_of(second, "POST", "before"), 0);
}

/* ---- writes during a load ---- */

static void set_meanwhile(struct source *source)
{
	assert_int_equal(box_set(source->box, "k", "newer"), 0);
}

static void delete_meanwhile(struct source *source)
{
	assert_in_range(larder_delete(source->box->tenant, BOX_SPACE, "k", 1, NULL), 0, LARDER_MISS);
}

static void delete_set_delete_meanwhile(struct source *source)
{
	delete_meanwhile(source);
	set_meanwhile(source);
	delete_meanwhile(source);
}

static void clear_meanwhile(struct source *source)
{
	assert_int_equal(larder_clear_space(source->box->tenant, BOX_SPACE, NULL), 0);
}

static void flush_after_a_delete(struct source *source)
{
	delete_set_delete_meanwhile(source);
	assert_int_equal(larder_flush(source->box->cache, FLUSH_MS), 0);
}

static void test_nothing_older_reaches_l2(void **state)
{
	static const struct { void (*meanwhile)(struct source *); const char *last; int result; } cases[] = {
		{ set_meanwhile, "POST", 0 }, { delete_meanwhile, "DELETE", LARDER_MISS }, { delete_set_delete_meanwhile, "DELETE", LARDER_MISS },
		{ flush_after_a_delete, "DELETE", LARDER_MISS }, { clear_meanwhile, "GET", LARDER_MISS },
	};
	struct second *second = *state;
	struct box *box = begin(second, NULL);

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct source source = source_of(box, "older");

		/* The delete is taken, then it has none, then it takes what it is told. */
		answer(second, NULL, 204, NULL, 1);
		answer(second, NULL, 404, NULL, 1);
		answer(second, NULL, 204, NULL, 0);
		delete_meanwhile(&source);
		assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
		source.meanwhile = cases[i].meanwhile;
		assert_int_equal(source_gives(&source, "k", NULL, "older", LARDER_FROM_LOADER), 0);
		assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
		assert_string_equal(last_method(second), cases[i].last);
		assert_int_equal(seen_of(second, "POST", "older"), 0);
		fault_server_clear(second->server);
		assert_true(box_gives(box, "k", cases[i].result, "newer"));
	}
	assert_int_equal(seen_of(second, "POST", "newer"), 1);
}

/* ---- stale, and unchanged ---- */

/* Tags as the wire has them. */
static const char *tags_row(struct box *box, const char *tag, const char *more)
{
	static char rows[400];
	uint64_t hash;

	assert_int_equal(ld_tags_of(box->tenant, &tag, 1, &hash), 0);
	(void)snprintf(rows, sizeof(rows), "%sETag: \"v1\"\r\nX-Larder-Tags: %016llx\r\n", more, (unsigned long long)hash);
	return rows;
}

static void test_304_keeps_tags_etag_and_error_window(void **state)
{
	struct second *second = *state;
	struct box *box = begin(second, (const char *const[]){ "L2_CODEC=raw", "L2_RETRIES=0", "STALE_IF_ERROR=1h", "STALE=0", "TTL=1h", NULL });
	struct source source = source_of(box, "loaded");

	NEEDS_CLOCK(box);
	answer(second, tags_row(box, "price", "Cache-Control: max-age=10, stale-if-error=3600\r\n"), 200, "first", 1);
	assert_int_equal(source_gives(&source, "k", NULL, "first", LARDER_FROM_L2), 0);
	for (int round = 0; round < 2; round++) {
		source_shift(box, 20000);
		answer(second, "Cache-Control: max-age=10, stale-if-error=3600\r\n", 304, NULL, 1);
		assert_int_equal(source_gives(&source, "k", NULL, "first", LARDER_FROM_L1), 0);
		assert_true(has_header(second, "If-None-Match", "\"v1\""));
		assert_true(box_gives(box, "k", 0, "first"));
	}
	/* Its error window is there still. */
	source_shift(box, 20000);
	answer(second, NULL, 500, NULL, 1);
	assert_true(box_gives(box, "k", LARDER_STALE, "first"));
	/* And its tag. */
	assert_int_equal(larder_invalidate_tags(box->tenant, (const char *const[]){ "price" }, 1, NULL), 0);
	answer(second, NULL, 500, NULL, 1);
	assert_true(box_gives(box, "k", LARDER_E_L2, NULL));
	assert_int_equal(source.calls, 0);
}

static void test_stale_of_l2_is_for_the_loader_to_renew(void **state)
{
	struct second *second = *state;
	struct box *box = begin(second, (const char *const[]){ "L2_CODEC=raw", "FAIL_THROTTLE_MS=0", NULL });
	struct source source = source_of(box, "loaded");
	const char *old = "Cache-Control: max-age=10, stale-while-revalidate=3600\r\nAge: 60\r\n";

	/* Its loader fails: L2's stale value is better than nothing. */
	answer(second, tags_row(box, "price", old), 200, "stale of L2", 4);
	answer(second, NULL, 204, NULL, 0);
	source.says = LARDER_LOAD_FAILED;
	assert_int_equal(source_gives(&source, "k", NULL, "stale of L2", LARDER_FROM_L2), LARDER_STALE);
	assert_string_equal(source.old, "stale of L2");
	assert_string_equal(source.old_etag, "\"v1\"");
	/* A newer one. */
	source.says = LARDER_LOADED;
	assert_int_equal(source_gives(&source, "newer", NULL, "loaded", LARDER_FROM_LOADER), 0);
	assert_true(box_gives(box, "newer", 0, "loaded"));
	/* Unchanged: it is fresh again, and still under its tag. */
	source = source_of(box, NULL);
	source.says = LARDER_LOADED_UNCHANGED;
	assert_int_equal(source_gives(&source, "same", NULL, "stale of L2", LARDER_FROM_LOADER), 0);
	assert_true(box_gives(box, "same", 0, "stale of L2"));
	assert_int_equal(larder_flush(box->cache, FLUSH_MS), 0);
	assert_int_equal(larder_invalidate_tags(box->tenant, (const char *const[]){ "price" }, 1, NULL), 0);
	fault_server_clear(second->server);
	assert_true(box_gives(box, "same", LARDER_MISS, NULL));
	assert_true(box_gives(box, "newer", 0, "loaded"));
}

static _Atomic int result;

static void *get_stale(void *arg)
{
	atomic_store(&result, box_gives(arg, "k", 0, "second"));
	return NULL;
}

static void begin_stale(struct second *second, const char *threads)
{
	struct box *box = begin(second, (const char *const[]){ "STALE=1h", threads, NULL });

	answer(second, JSON, 200, "{\"value\":\"first\",\"ttl\":10,\"stale\":3600}", 1);
	fault_server_rule(second->server, "/", &(struct fault_answer){ .headers = JSON, .body = "{\"value\":\"second\",\"ttl\":10,\"stale\":3600}", .hold = 1 }, 0);
	assert_true(box_gives(box, "k", 0, "first"));
	source_shift(box, 20000);
	fault_server_shut(second->server);
}

static void test_stale_is_given_at_once_while_l2_hangs(void **state)
{
	struct second *second = *state;
	struct box *box = second->box;
	int64_t began_ms;

	NEEDS_CLOCK(box);
	begin_stale(second, "THREADS=1");
	began_ms = child_now_ms();
	for (int i = 0; i < 20; i++)
		assert_true(box_gives(box, "k", LARDER_STALE, "first"));
	assert_true(child_now_ms() - began_ms < 10000);
	assert_true(CHILD_POLL(fault_server_counts(second->server)->holding == 1));
	fault_server_open(second->server);
	assert_true(CHILD_POLL(source_stats(box).refreshes == 1));
	assert_true(box_gives(box, "k", 0, "second"));
	assert_int_equal(second_requests(second), 2);
}

static void test_without_threads_one_caller_pays(void **state)
{
	struct second *second = *state;
	struct box *box = second->box;
	pthread_t thread;

	NEEDS_CLOCK(box);
	begin_stale(second, "THREADS=0");
	assert_int_equal(pthread_create(&thread, NULL, get_stale, box), 0);
	assert_true(CHILD_POLL(fault_server_counts(second->server)->holding == 1));
	for (int i = 0; i < 20; i++)
		assert_true(box_gives(box, "k", LARDER_STALE, "first"));
	fault_server_open(second->server);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(result, 1);
	assert_int_equal(second_requests(second), 2);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, second_begin, second_end)
	const struct CMUnitTest tests[] = {
		ROW(test_what_l2_has_is_not_loaded), ROW(test_what_l2_has_not_is_loaded_and_told), ROW(test_not_found_is_told_as_a_delete),
		ROW(test_this_tier_alone_is_neither_asked_nor_told), ROW(test_a_fill_over_a_write_that_is_not_told_yet), ROW(test_nothing_older_reaches_l2),
		ROW(test_304_keeps_tags_etag_and_error_window), ROW(test_stale_of_l2_is_for_the_loader_to_renew),
		ROW(test_stale_is_given_at_once_while_l2_hangs), ROW(test_without_threads_one_caller_pays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
