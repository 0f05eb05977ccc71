/* SPDX-License-Identifier: MIT */
/*
 * What tools see of the second level: breakers and orders to them, the outbox as figures and row by row, who tells it, and the agent's call that does. The
 * inspector has no secret in any of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <signal.h>

#include "second.h"

#include "cache/handle.h"
#include "child.h"
#include "l1/outbox.h"

/* ---- breakers ---- */

enum { SEEN_MAX = 300, KINDS = 9 };

struct breakers {
	unsigned count, stop_at;
	struct larder_breaker last;
	char name[LD_BREAKER_NAME];
	uint64_t transitions[KINDS];
	const char *names[KINDS];
	unsigned shared, opened;
};

static int see_breaker(void *ctx, const struct larder_breaker *breaker)
{
	struct breakers *seen = ctx;

	assert_int_equal(breaker->transition_count, KINDS);
	seen->last = *breaker;
	(void)snprintf(seen->name, sizeof(seen->name), "%s", breaker->name);
	for (unsigned i = 0; i < KINDS; i++) {
		seen->transitions[i] = breaker->transitions[i].count;
		seen->names[i] = breaker->transitions[i].name;
	}
	seen->shared += strcmp(breaker->name, "shared") == 0;
	seen->opened += strcmp(breaker->state, "forced-open") == 0;
	return ++seen->count == seen->stop_at ? 42 : 0;
}

static struct breakers look(struct second *second)
{
	struct breakers seen = { 0 };

	assert_int_equal(larder_inspect_breakers(second->box->inspector, see_breaker, &seen), 0);
	return seen;
}

static uint64_t times(const struct breakers *seen, const char *transition)
{
	for (unsigned i = 0; i < KINDS; i++)
		if (strcmp(seen->names[i], transition) == 0)
			return seen->transitions[i];
	fail_msg("no transition %s", transition);
	return 0;
}

static int ask(struct second *second, const char *name)
{
	return larder_exists(second->box->tenant, BOX_SPACE, name, strlen(name), NULL);
}

static void test_a_breaker_is_told_once_it_was_used(void **state)
{
	struct second *second = *state;
	struct breakers seen;

	second_open(second, NULL);
	assert_int_equal(look(second).count, 0);
	assert_int_equal(larder_inspect_breaker_force(second->box->inspector, NULL, LARDER_BREAKER_ORDER_OPEN), LARDER_MISS);
	assert_int_equal(ask(second, "a"), LARDER_MISS);
	seen = look(second);
	assert_int_equal(seen.count, 1);
	assert_string_equal(seen.name, second_name(second));
	assert_string_equal(seen.last.state, "closed");
	assert_true(seen.last.retry_after_ms == 0 && seen.last.window_calls == 1 && seen.last.window_failures == 0 && seen.last.failures_in_row == 0);
	assert_true(seen.last.opened_ms == -1 && seen.last.half_opened_ms == -1 && seen.last.closed_ms == -1 && seen.last.refused == 0);
}

static void test_failures_open_it_and_are_shown(void **state)
{
	struct second *second = *state;
	struct breakers seen;

	second_open(second, (const char *const[]){ "L2_RETRIES=0", "BREAKER_FAILURES=3", "BREAKER_OPEN_MS=1h", "BREAKER_OPEN_MAX_MS=1h", NULL });
	second_answer(second, 501, 0);
	assert_int_equal(ask(second, "a"), LARDER_E_L2);
	assert_int_equal(ask(second, "a"), LARDER_E_L2);
	seen = look(second);
	assert_true(seen.last.failures_in_row == 2 && seen.last.window_calls == 2 && seen.last.window_failures == 2 && seen.last.failures == 2);
	assert_int_equal(ask(second, "a"), LARDER_E_L2);
	for (int i = 0; i < 4; i++)
		assert_int_equal(ask(second, "a"), LARDER_E_L2);
	seen = look(second);
	assert_string_equal(seen.last.state, "open");
	assert_in_range(seen.last.retry_after_ms, 2700000, 4400000);
	assert_int_equal(seen.last.refused, 4);
	assert_int_equal(times(&seen, "opened-failures"), 1);
	assert_int_equal(times(&seen, "opened-errors") + times(&seen, "forced-open") + times(&seen, "half-opened"), 0);
	assert_in_range(seen.last.opened_ms, 0, 60000);
	assert_int_equal(second_requests(second), 3);
}

static void test_an_order_holds_for_everybody(void **state)
{
	struct second *second = *state;
	larder_inspector *inspector;
	struct breakers seen;

	inspector = second_open(second, NULL)->inspector;
	assert_int_equal(ask(second, "a"), LARDER_MISS);
	assert_int_equal(larder_inspect_breaker_force(inspector, second_name(second), LARDER_BREAKER_ORDER_OPEN), 0);
	assert_int_equal(larder_inspect_breaker_force(inspector, NULL, LARDER_BREAKER_ORDER_OPEN), 0);
	assert_int_equal(second->told, 1);
	assert_int_equal(second->told_state, LARDER_BREAKER_OPEN);
	assert_string_equal(second->told_transition, "forced-open");
	assert_true(box_said(second->box, "event=breaker") && box_said(second->box, "transition=forced-open"));
	assert_int_equal(ask(second, "b"), LARDER_E_L2);
	assert_int_equal(larder_reason(), LARDER_REASON_L2_OPEN);
	seen = look(second);
	assert_string_equal(seen.last.state, "forced-open");
	assert_int_equal(seen.last.retry_after_ms, -1);
	assert_int_equal(seen.last.refused, 1);
	assert_int_equal(second_requests(second), 1);
	assert_int_equal(larder_inspect_breaker_force(inspector, NULL, LARDER_BREAKER_ORDER_CLOSE), 0);
	assert_int_equal(second->told_state, LARDER_BREAKER_CLOSED);
	assert_int_equal(ask(second, "b"), LARDER_MISS);
	seen = look(second);
	assert_true(times(&seen, "closed-by-hand") == 1 && seen.last.closed_ms >= 0 && seen.last.refused == 1);
	assert_int_equal(larder_inspect_breaker_force(inspector, NULL, LARDER_BREAKER_ORDER_RESET), 0);
	seen = look(second);
	assert_true(times(&seen, "closed-by-hand") == 0 && times(&seen, "reset") == 1 && seen.last.refused == 0);
	assert_int_equal(second->told, 3);
}

static void test_wrong_orders(void **state)
{
	struct second *second = *state;
	larder_inspector *inspector;

	inspector = second_open(second, NULL)->inspector;
	assert_int_equal(ask(second, "a"), LARDER_MISS);
	assert_int_equal(larder_inspect_breaker_force(inspector, "nobody", LARDER_BREAKER_ORDER_OPEN), LARDER_MISS);
	assert_int_equal(larder_inspect_breaker_force(inspector, NULL, (enum larder_breaker_order)0), LARDER_E_USAGE);
	assert_int_equal(larder_inspect_breaker_force(inspector, NULL, (enum larder_breaker_order)4), LARDER_E_USAGE);
	assert_int_equal(larder_inspect_breaker_force(NULL, NULL, LARDER_BREAKER_ORDER_OPEN), LARDER_E_CLOSED);
	assert_int_equal(larder_inspect_breakers(inspector, NULL, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_inspect_breakers(NULL, see_breaker, NULL), LARDER_E_CLOSED);
	assert_int_equal(look(second).opened, 0);
}

/* Rows as tenants with breakers of their own would take them: all that the table has, and more. */
static int take_rows(struct ld_seg *seg, int64_t now_ms, void *ctx)
{
	char name[LD_BREAKER_NAME];

	(void)now_ms;
	for (uint64_t i = 1; i <= *(unsigned *)ctx; i++) {
		(void)snprintf(name, sizeof(name), "tenant-%u", (unsigned)i);
		(void)ld_breakers_row(&seg->breakers, name, i);
	}
	return 0;
}

static void test_one_of_many_is_ordered_and_a_full_table_has_a_shared_one(void **state)
{
	struct second *second = *state;
	struct breakers seen;
	unsigned rows = 10;

	second_open(second, NULL);
	assert_int_equal(ld_store_with(second->box->cache->store, 1000, take_rows, &rows), 0);
	seen = look(second);
	assert_true(seen.count == 10 && seen.shared == 0);
	assert_int_equal(larder_inspect_breaker_force(second->box->inspector, "tenant-7", LARDER_BREAKER_ORDER_OPEN), 0);
	assert_int_equal(look(second).opened, 1);
	assert_int_equal(larder_inspect_breaker_force(second->box->inspector, "shared", LARDER_BREAKER_ORDER_OPEN), LARDER_MISS);
	rows = SEEN_MAX;
	assert_int_equal(ld_store_with(second->box->cache->store, 1000, take_rows, &rows), 0);
	seen = look(second);
	assert_true(seen.count == LD_SEG_BREAKERS && seen.shared == 1);
	assert_int_equal(larder_inspect_breaker_force(second->box->inspector, "shared", LARDER_BREAKER_ORDER_OPEN), 0);
	assert_int_equal(look(second).opened, 2);
	seen = (struct breakers){ .stop_at = 100 };
	assert_int_equal(larder_inspect_breakers(second->box->inspector, see_breaker, &seen), 42);
	assert_int_equal(seen.count, 100);
}

/* ---- the outbox ---- */

static struct larder_outbox outbox_of(struct second *second)
{
	struct larder_outbox outbox = { .size = sizeof(outbox) };

	assert_int_equal(larder_inspect_outbox(second->box->inspector, &outbox), 0);
	assert_int_equal(outbox.enqueued, outbox.acknowledged + outbox.failed + outbox.dropped + outbox.coalesced + outbox.pending);
	return outbox;
}

struct rows {
	unsigned sets, deletes, others, count, stop_at;
	struct larder_outbox_row last;
};

static int see_row(void *ctx, const struct larder_outbox_row *row)
{
	struct rows *rows = ctx;

	rows->sets += strcmp(row->op, "set") == 0;
	rows->deletes += strcmp(row->op, "delete") == 0;
	rows->others += strcmp(row->tenant, "acme") != 0;
	rows->last = *row;
	return ++rows->count == rows->stop_at ? 42 : 0;
}

static struct rows rows_of(struct second *second, const char *tenant)
{
	struct rows rows = { 0 };

	assert_int_equal(larder_inspect_outbox_each(second->box->inspector, tenant, see_row, &rows), 0);
	return rows;
}

static int find_digest(void *ctx, const struct larder_entry *entry)
{
	memcpy(ctx, entry->digest, LARDER_DIGEST_SIZE);
	return 0;
}

static void test_the_outbox_in_figures_and_rows(void **state)
{
	const struct larder_filter filter = { .size = sizeof(filter), .tenant = "other" };
	struct second *second = *state;
	unsigned char digest[LARDER_DIGEST_SIZE];
	struct larder_outbox outbox;
	larder_tenant *other;
	struct rows rows;
	struct box *box = second_open(second, NULL);

	assert_int_equal(outbox_of(second).enqueued, 0);
	assert_int_equal(box_set(box, "a", "one"), 0);
	assert_int_equal(box_set(box, "a", "three"), 0);
	assert_in_range(larder_delete(box->tenant, BOX_SPACE, "b", 1, NULL), 0, LARDER_MISS);
	assert_int_equal(larder_tenant_open(box->cache, "other", &other), 0);
	assert_int_equal(larder_set(other, BOX_SPACE, "c", 1, "12345", 5, NULL, NULL), 0);
	larder_tenant_close(other);
	outbox = outbox_of(second);
	assert_true(outbox.enqueued == 4 && outbox.pending == 3 && outbox.coalesced == 1 && outbox.acknowledged == 0);
	assert_true(outbox.rows_max == 4096 && outbox.bytes_max == 1 << 20 && outbox.age_max_ms == 3600000 && outbox.pending_bytes > 0);
	assert_in_range(outbox.oldest_ms, 1, 60000);
	assert_true(outbox.teller_pid == 0 && strcmp(outbox.teller, "none") == 0 && outbox.sending_ms == 0);
	rows = rows_of(second, NULL);
	assert_true(rows.count == 3 && rows.sets == 2 && rows.deletes == 1 && rows.others == 1);
	rows = rows_of(second, "other");
	assert_true(rows.count == 1 && rows.sets == 1 && rows.others == 1 && rows.last.value_len == 5 && rows.last.sequence > 0);
	assert_in_range(rows.last.left_ms, 240000, 300000);
	assert_in_range(rows.last.age_ms, 0, 60000);
	assert_true(rows.last.created_ms > 1600000000000);
	assert_int_equal(larder_inspect_entries(box->inspector, &filter, find_digest, NULL, digest), 0);
	assert_memory_equal(rows.last.digest, digest, LARDER_DIGEST_SIZE);
	assert_int_equal(rows_of(second, "nobody").count, 0);
	rows = (struct rows){ .stop_at = 2 };
	assert_int_equal(larder_inspect_outbox_each(box->inspector, NULL, see_row, &rows), 42);
	assert_int_equal(rows.count, 2);
}

static void test_wrong_arguments_of_the_outbox(void **state)
{
	struct second *second = *state;
	struct larder_outbox outbox = { .size = sizeof(outbox) - 1 };
	struct rows rows = { 0 };
	larder_inspector *inspector;

	inspector = second_open(second, NULL)->inspector;
	assert_int_equal(larder_inspect_outbox(inspector, &outbox), LARDER_E_USAGE);
	assert_int_equal(larder_inspect_outbox(inspector, NULL), LARDER_E_USAGE);
	outbox.size++;
	assert_int_equal(larder_inspect_outbox(NULL, &outbox), LARDER_E_CLOSED);
	assert_int_equal(larder_inspect_outbox_each(inspector, "Bad", see_row, &rows), LARDER_E_TENANT);
	assert_int_equal(larder_inspect_outbox_each(inspector, NULL, NULL, &rows), LARDER_E_USAGE);
	assert_int_equal(larder_inspect_outbox_each(NULL, NULL, see_row, &rows), LARDER_E_CLOSED);
	assert_int_equal(rows.count, 0);
}

/* Hold the teller's lock until killed. */
struct teller {
	larder *cache;
	_Atomic int has;
};

static void tell_for_ever(void *ctx)
{
	struct teller *teller = ctx;
	int64_t wait_ms, until_ms;

	CHILD_CHECK(ld_outbox_lock(teller->cache->store, &wait_ms) == 0);
	CHILD_CHECK(ld_outbox_sending(teller->cache->store, 30000, &until_ms) == 0);
	teller->has = 1;
	for (;;)
		(void)pause();
}

static void test_who_tells_and_whether_he_lives(void **state)
{
	struct teller *teller = child_share(sizeof(*teller));
	struct second *second = *state;
	struct larder_outbox outbox;
	pid_t pid;

	second_open(second, NULL);
	teller->cache = second->box->cache;
	pid = child_start(tell_for_ever, teller);
	assert_true(CHILD_POLL(teller->has == 1));
	outbox = outbox_of(second);
	assert_int_equal(outbox.teller_pid, pid);
	assert_string_equal(outbox.teller, "live");
	assert_in_range(outbox.sending_ms, 1, 30000);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_true(CHILD_POLL(strcmp(outbox_of(second).teller, "stopped") == 0));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(child_end(pid), 256 + SIGKILL);
	assert_string_equal(outbox_of(second).teller, "dead");
	(void)munmap(teller, sizeof(*teller));
}

/* ---- the agent's call ---- */

static void test_work_tells_what_is_pending(void **state)
{
	struct second *second = *state;
	struct box *box = second_open(second, NULL);

	second_answer(second, 200, 0);
	assert_int_equal(box_set(box, "a", "one"), 0);
	assert_in_range(larder_delete(box->tenant, BOX_SPACE, "b", 1, NULL), 0, LARDER_MISS);
	assert_int_equal(outbox_of(second).pending, 2);
	assert_int_equal(larder_inspect_work(box->inspector, 1), 0);
	assert_true(CHILD_POLL(outbox_of(second).pending == 0));
	assert_int_equal(outbox_of(second).acknowledged, 2);
	assert_int_equal(second_requests(second), 2);
	/* A silent service keeps the teller waiting, not the evictor. */
	fault_server_clear(second->server);
	fault_server_rule(second->server, "/", &(struct fault_answer){ .fault = FAULT_SILENT }, 0);
	assert_int_equal(box_set(box, "a", "two"), 0);
	assert_true(CHILD_POLL(second_requests(second) == 3));
	assert_int_equal(larder_inspect_work(box->inspector, 1), 0);
	assert_int_equal(outbox_of(second).pending, 1);
}

static void test_work_with_wrong_settings_says_so(void **state)
{
	struct second *second = *state;
	const char *const rows[] = { "L2_URL=https://127.0.0.1:9", "L2_CA_FILE=/nowhere/at/all", NULL };
	larder_inspector *inspector;
	struct larder_summary summary = { .size = sizeof(summary) };

	box_open(second->box, NULL);
	assert_int_equal(second_try_inspect(second, rows, &inspector), 0);
	/* Who only looks is not kept from it. */
	assert_int_equal(larder_inspect_summary(inspector, &summary), 0);
	assert_int_equal(larder_inspect_work(inspector, 1), LARDER_E_SETTINGS);
	assert_true(box_said(second->box, "l2_not_told") && box_said(second->box, "L2_CA_FILE"));
	larder_inspect_close(inspector);
}

static void test_work_without_a_second_level(void **state)
{
	struct second *second = *state;

	box_open(second->box, NULL);
	box_inspect(second->box);
	assert_int_equal(larder_inspect_work(second->box->inspector, 1), 0);
	assert_null(second->box->inspector->drain);
}

/* ---- statistics ---- */

static void test_statistics_of_the_second_level(void **state)
{
	struct larder_stats stats = { .size = sizeof(stats) };
	struct larder_value value;
	struct second *second = *state;
	struct box *box = second_open(second, (const char *const[]){ "L2_RETRIES=1", "BREAKER_FAILURES=0", "BREAKER_ERROR_PCT=0", NULL });

	fault_server_rule(second->server, "/", &(struct fault_answer){ .headers = "Content-Type: application/json\r\n",
		.body = "{\"value\":\"blue\",\"ttl\":30}" }, 1);
	second_answer(second, 404, 3);
	second_answer(second, 503, 2);
	second_answer(second, 403, 1);
	second_answer(second, 400, 1);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, &value), 0);
	larder_value_free(&value);
	for (int i = 0; i < 3; i++)
		assert_int_equal(larder_get(box->tenant, BOX_SPACE, "b", 1, NULL, &value), LARDER_MISS);
	for (int i = 0; i < 3; i++)
		assert_int_equal(larder_get(box->tenant, BOX_SPACE, "b", 1, NULL, &value), LARDER_E_L2);
	assert_int_equal(larder_inspect_breaker_force(box->inspector, NULL, LARDER_BREAKER_ORDER_OPEN), 0);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "b", 1, NULL, &value), LARDER_E_L2);
	assert_int_equal(larder_get_stats(box->cache, &stats), 0);
	assert_true(stats.l2_hits == 1 && stats.l2_misses == 3 && fabs(stats.l2_hit_ratio - 0.25) < 1e-9);
	assert_true(stats.l2_errors == 1 && stats.l2_retries == 1 && stats.l2_denied == 1 && stats.l2_rejected == 1 && stats.l2_refused == 1);
	assert_true(stats.l2_writes == 0 && stats.l2_timeouts == 0 && stats.l2_bytes_in >= 25 && stats.misses == 8 && stats.hits == 0);
	assert_true(fabs(stats.hit_ratio) < 1e-9);
	assert_int_equal(larder_tenant_get_stats(box->tenant, &stats), 0);
	assert_int_equal(stats.l2_misses, 3);
}

/* A program that was built when the struct was shorter: nothing behind its end is touched. */
static void test_statistics_for_an_older_caller(void **state)
{
	struct second *second = *state;
	struct larder_stats stats;

	memset(&stats, 0x5a, sizeof(stats));
	stats.size = offsetof(struct larder_stats, l2_hits);
	box_open(second->box, NULL);
	assert_int_equal(box_set(second->box, "a", "x"), 0);
	assert_true(box_gives(second->box, "a", 0, "x"));
	assert_int_equal(larder_get_stats(second->box->cache, &stats), 0);
	assert_true(stats.size == offsetof(struct larder_stats, l2_hits) && stats.hits == 1 && stats.sets == 1);
	assert_true(fabs(stats.hit_ratio - 1) < 1e-9);
	assert_int_equal(stats.l2_hits, UINT64_C(0x5a5a5a5a5a5a5a5a));
	stats.size--;
	assert_int_equal(larder_get_stats(second->box->cache, &stats), LARDER_E_USAGE);
}

#define WITH_SECOND(test) cmocka_unit_test_setup_teardown(test, second_begin, second_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SECOND(test_a_breaker_is_told_once_it_was_used),
		WITH_SECOND(test_failures_open_it_and_are_shown),
		WITH_SECOND(test_an_order_holds_for_everybody),
		WITH_SECOND(test_wrong_orders),
		WITH_SECOND(test_one_of_many_is_ordered_and_a_full_table_has_a_shared_one),
		WITH_SECOND(test_the_outbox_in_figures_and_rows),
		WITH_SECOND(test_wrong_arguments_of_the_outbox),
		WITH_SECOND(test_who_tells_and_whether_he_lives),
		WITH_SECOND(test_work_tells_what_is_pending),
		WITH_SECOND(test_work_with_wrong_settings_says_so),
		WITH_SECOND(test_work_without_a_second_level),
		WITH_SECOND(test_statistics_of_the_second_level),
		WITH_SECOND(test_statistics_for_an_older_caller),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
