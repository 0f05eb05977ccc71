/* SPDX-License-Identifier: MIT */
/*
 * The health check: what each failure of a tier, of the evictor and of the outbox does to it, what it sends, how long it may take, and that it leaves nothing
 * behind. A service that keeps what it is given is asked by the tests of the command line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "second.h"

#include "child.h"

#define NO_EVICTOR "EVICTOR=inline" /* is not judged */

static struct larder_health health_of(struct box *box)
{
	struct larder_health health = { .size = sizeof(health) };

	assert_int_equal(larder_health(box->cache, &health), 0);
	assert_int_equal(health.size, sizeof(health));
	assert_true((health.level == LARDER_HEALTH_OK) == (health.reason[0] == 0));
	return health;
}

static int has(const struct larder_health *health, const char *text)
{
	int there = strstr(health->reason, text) != NULL;

	if (!there)
		print_message("# reason: %s\n", health->reason);
	return there;
}

/* ---- the store ---- */

static void test_a_store_that_fares_well(void **state)
{
	struct larder_stats stats = { .size = sizeof(stats) };
	struct second *second = *state;
	struct larder_health health;

	box_open(second->box, (const char *const[]){ NO_EVICTOR, NULL });
	health = health_of(second->box);
	assert_true(health.level == LARDER_HEALTH_OK && health.on == 1);
	assert_true(health.l1.asked == 1 && health.l1.reads == 1 && health.l1.writes == 1);
	assert_true(health.l1.write.result == 0 && health.l1.read.result == 0 && health.l1.removal.result == 0);
	assert_in_range(health.l1.write.took_us, 0, 60000000);
	assert_true(health.l1.read.took_us >= 0 && health.l1.removal.took_us >= 0);
	assert_true(health.l2.asked == 0 && health.l2.reads == 0 && health.breaker == -1 && health.outbox_pending == 0);
	assert_int_equal(larder_get_stats(second->box->cache, &stats), 0);
	assert_true(stats.entries == 0 && stats.sets == 1 && stats.hits == 1 && stats.deletes == 1);
	assert_int_equal(second_requests(second), 0);
}

static void test_wrong_arguments(void **state)
{
	struct second *second = *state;
	struct larder_health health;

	memset(&health, 0x5a, sizeof(health));
	health.size = sizeof(health) - 1;
	box_open(second->box, NULL);
	assert_int_equal(larder_health(second->box->cache, &health), LARDER_E_USAGE);
	assert_int_equal(larder_health(second->box->cache, NULL), LARDER_E_USAGE);
	health.size++;
	assert_int_equal(larder_health(NULL, &health), LARDER_E_CLOSED);
	assert_int_equal(health.level, 0x5a5a5a5a);
}

static void test_switched_off_is_degraded_and_never_down(void **state)
{
	struct second *second = *state;
	struct box *box = second->box;
	struct larder_health health;

	box_open(box, (const char *const[]){ NO_EVICTOR, NULL });
	box_inspect(box);
	assert_int_equal(larder_inspect_switch(box->inspector, 0), 0);
	health = health_of(box);
	assert_true(health.level == LARDER_HEALTH_DEGRADED && health.on == 0 && health.l1.writes == 0);
	assert_string_equal(health.reason, "the cache is switched off");
	assert_int_equal(health.l1.write.reason, LARDER_REASON_OFF);
	assert_int_equal(larder_inspect_switch(box->inspector, 1), 0);
	assert_int_equal(health_of(box).level, LARDER_HEALTH_OK);
}

static void test_a_process_that_passes_through_asks_the_store_all_the_same(void **state)
{
	struct second *second = *state;
	struct larder_health health;

	box_open(second->box, (const char *const[]){ NO_EVICTOR, "ENABLED=0", NULL });
	health = health_of(second->box);
	assert_true(health.level == LARDER_HEALTH_DEGRADED && health.on == 0 && health.l1.reads == 1 && health.l1.writes == 1);
}

/* The segment is one that may not be used: its mode is that of no segment of ours. */
struct lost {
	larder *cache;
	struct larder_health health;
	int rc;
};

static void ask_in_child(void *ctx)
{
	struct lost *lost = ctx;

	lost->health.size = sizeof(lost->health);
	lost->rc = larder_health(lost->cache, &lost->health);
}

static struct larder_health health_without_a_store(struct second *second)
{
	struct lost *lost = child_share(sizeof(*lost));
	struct larder_health health;
	char path[256];

	lost->cache = second->box->cache;
	assert_int_equal(chmod(box_path(second->box, "larder.seg", path), 0666), 0);
	assert_int_equal(child_run(ask_in_child, lost), 0);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(lost->rc, 0);
	health = lost->health;
	(void)munmap(lost, sizeof(*lost));
	return health;
}

static void test_no_store_and_no_l2_is_down(void **state)
{
	struct second *second = *state;
	struct larder_health health;

	box_open(second->box, NULL);
	health = health_without_a_store(second);
	assert_int_equal(health.level, LARDER_HEALTH_DOWN);
	assert_true(health.l1.asked == 1 && health.l1.reads == 0 && health.l1.writes == 0);
	assert_int_equal(health.l1.write.result, LARDER_UNAVAILABLE);
	assert_int_equal(health.l1.write.reason, LARDER_REASON_ATTACH);
	assert_true(has(&health, "L1 can be neither written nor read: the shared files cannot be opened just now"));
	assert_true(health.evictor_pid == 0 && health.evictor_beat_ms == -1);
}

static void test_no_store_with_an_l2_that_answers_is_degraded(void **state)
{
	struct second *second = *state;
	struct larder_health health;

	box_open(second->box, (const char *const[]){ second->url, "L2_WRITE=off", NULL });
	health = health_without_a_store(second);
	assert_true(health.level == LARDER_HEALTH_DEGRADED && health.l2.reads == 1 && health.breaker == -1);
}

/* ---- the evictor ---- */

static void test_nobody_does_the_background_work(void **state)
{
	struct second *second = *state;
	struct larder_health health;

	box_open(second->box, NULL);
	health = health_of(second->box);
	assert_int_equal(health.level, LARDER_HEALTH_DEGRADED);
	assert_string_equal(health.reason, "nobody does the background work");
	box_inspect(second->box);
	assert_int_equal(larder_inspect_work(second->box->inspector, 1), 0);
	health = health_of(second->box);
	assert_true(health.level == LARDER_HEALTH_OK && health.evictor_pid == (int32_t)getpid());
	assert_in_range(health.evictor_beat_ms, 0, 5000);
}

/* It is elected a moment after the first call: that moment is no fault. */
static void test_a_process_with_a_thread_of_its_own_is_not_degraded_at_first(void **state)
{
	struct second *second = *state;

	box_open(second->box, (const char *const[]){ "THREADS=1", NULL });
	assert_int_equal(health_of(second->box).level, LARDER_HEALTH_OK);
}

/* ---- L2 ---- */

/* POST, GET, DELETE with these states; retries would shift them. */
static struct larder_health health_with(struct second *second, int post, int get, int delete)
{
	box_open(second->box, (const char *const[]){ second->url, NO_EVICTOR, "L2_RETRIES=0", NULL });
	second_answer(second, post, 1);
	second_answer(second, get, 1);
	second_answer(second, delete, 1);
	return health_of(second->box);
}

static void test_what_is_sent_to_l2(void **state)
{
	struct second *second = *state;
	struct larder_health health = health_with(second, 200, 404, 204);
	const struct fault_request *post = fault_server_seen(second->server, 2), *get = fault_server_seen(second->server, 1),
	    *gone = fault_server_seen(second->server, 0);
	char tenant[64] = "", id[64] = "", body[200] = "";

	assert_int_equal(second_requests(second), 3);
	assert_string_equal(post->method, "POST");
	assert_string_equal(get->method, "GET");
	assert_string_equal(gone->method, "DELETE");
	assert_string_equal(post->path, get->path);
	assert_string_equal(post->path, gone->path);
	assert_int_equal(strlen(post->path), 65);
	assert_true(fault_request_header(post, "X-Tenant-Id", tenant, sizeof(tenant)));
	assert_string_equal(tenant, "larder-health");
	assert_true(fault_request_header(gone, "Idempotency-Key", id, sizeof(id)) && strlen(id) == 32);
	assert_true(post->body_len < sizeof(body) && memcpy(body, post->body, post->body_len));
	assert_non_null(strstr(body, "\"ttl\":10"));
	/* It was written, and is not there. */
	assert_true(health.l2.asked == 1 && health.l2.reads == 0 && health.l2.writes == 1 && health.level == LARDER_HEALTH_DEGRADED);
	assert_int_equal(health.l2.read.result, LARDER_MISS);
	assert_string_equal(health.reason, "L2 cannot be read: no such entry");
	assert_true(health.breaker == LARDER_BREAKER_CLOSED && health.l2.removal.result == 0);
	/* Past the outbox. */
	assert_int_equal(health.outbox_pending, 0);
}

static void test_another_value_than_was_written(void **state)
{
	struct second *second = *state;
	struct larder_health health;

	box_open(second->box, (const char *const[]){ second->url, NO_EVICTOR, NULL });
	second_answer(second, 200, 1);
	fault_server_rule(second->server, "/", &(struct fault_answer){ .headers = "Content-Type: application/json\r\n",
		.body = "{\"value\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"ttl\":30}" }, 1);
	second_answer(second, 200, 0);
	health = health_of(second->box);
	assert_true(health.level == LARDER_HEALTH_DEGRADED && health.l2.reads == 0 && health.l2.writes == 1);
	assert_int_equal(health.l2.read.result, LARDER_E_CORRUPT);
	assert_true(has(&health, "L2 cannot be read: damage was found"));
}

static void test_an_l2_that_refuses_writes_but_answers(void **state)
{
	struct larder_health health = health_with(*state, 403, 404, 404);

	assert_true(health.level == LARDER_HEALTH_DEGRADED && health.l2.reads == 1 && health.l2.writes == 0);
	assert_int_equal(health.l2.write.result, LARDER_E_L2);
	assert_int_equal(health.l2.write.reason, LARDER_REASON_L2_DENIED);
	assert_int_equal(health.l2.removal.result, LARDER_MISS);
	assert_true(has(&health, "L2 cannot be written: L2 does not let us in"));
}

static void test_an_l2_that_does_not_remove(void **state)
{
	struct larder_health health = health_with(*state, 200, 404, 500);

	assert_int_equal(health.l2.removal.result, LARDER_E_L2);
	assert_int_equal(health.l2.removal.reason, LARDER_REASON_L2_SERVER);
	assert_true(health.level == LARDER_HEALTH_DEGRADED && health.l2.write.result == 0 && health.l2.writes == 0);
}

static void test_a_silent_l2_costs_one_limit(void **state)
{
	struct second *second = *state;
	struct larder_health health;

	fault_server_rule(second->server, "/", &(struct fault_answer){ .fault = FAULT_SILENT }, 0);
	box_open(second->box, (const char *const[]){ second->url, NO_EVICTOR, "L2_SET_MS=300", "L2_GET_MS=20s", "L2_DELETE_MS=20s", NULL });
	health = health_of(second->box);
	assert_int_equal(health.level, LARDER_HEALTH_DEGRADED);
	assert_int_equal(health.l2.write.reason, LARDER_REASON_L2_TIMEOUT);
	assert_in_range(health.l2.write.took_us, 290000, 10000000);
	assert_true(health.l2.read.took_us == -1 && health.l2.removal.took_us == -1 && health.l2.read.result == LARDER_E_L2);
	assert_true(health.l2.reads == 0 && health.l2.writes == 0);
	assert_int_equal(second_requests(second), 1);
	assert_string_equal(health.reason, "L2 can be neither written nor read: L2 did not answer in time");
}

static void test_an_open_breaker_is_told_and_asks_nothing(void **state)
{
	struct second *second = *state;
	struct larder_health health;

	second_open(second, (const char *const[]){ NO_EVICTOR, NULL });
	assert_int_equal(larder_exists(second->box->tenant, BOX_SPACE, "a", 1, NULL), LARDER_MISS);
	assert_int_equal(larder_inspect_breaker_force(second->box->inspector, NULL, LARDER_BREAKER_ORDER_OPEN), 0);
	health = health_of(second->box);
	assert_true(health.level == LARDER_HEALTH_DEGRADED && health.breaker == LARDER_BREAKER_OPEN && health.breaker_retry_ms == -1);
	assert_int_equal(health.l2.write.reason, LARDER_REASON_L2_OPEN);
	assert_int_equal(second_requests(second), 1);
	assert_true(has(&health, "the circuit breaker is open"));
}

static void test_an_l2_that_is_only_read_is_only_read(void **state)
{
	struct second *second = *state;
	struct larder_health health;

	box_open(second->box, (const char *const[]){ second->url, NO_EVICTOR, "L2_WRITE=off", NULL });
	health = health_of(second->box);
	assert_true(health.level == LARDER_HEALTH_OK && health.l2.asked == 1 && health.l2.reads == 1 && health.l2.writes == 0);
	assert_true(health.l2.write.took_us == -1 && health.l2.removal.took_us == -1 && health.l2.write.result == 0);
	assert_int_equal(second_requests(second), 1);
	assert_string_equal(fault_server_seen(second->server, 0)->method, "GET");
}

#ifdef LARDER_FAULTS

static void test_a_silent_evictor(void **state)
{
	struct second *second = *state;
	struct larder_health health;

	box_open(second->box, NULL);
	box_inspect(second->box);
	assert_int_equal(larder_inspect_work(second->box->inspector, 1), 0);
	second->box->plan->boot_shift_ms = 4000;
	assert_int_equal(health_of(second->box).level, LARDER_HEALTH_OK);
	second->box->plan->boot_shift_ms = 8000;
	health = health_of(second->box);
	assert_int_equal(health.level, LARDER_HEALTH_DEGRADED);
	assert_true(has(&health, "gave no sign of life for 8 s") && health.evictor_beat_ms >= 8000);
}

static void test_a_write_that_waits(void **state)
{
	struct second *second = *state;
	struct larder_health health;

	box_open(second->box, (const char *const[]){ second->url, NO_EVICTOR, "L2_RETRIES=0", NULL });
	assert_int_equal(box_set(second->box, "a", "x"), 0);
	second->box->plan->boot_shift_ms = 50000;
	health = health_of(second->box);
	assert_true(health.outbox_pending == 1 && health.outbox_oldest_ms >= 50000 && !strstr(health.reason, "waits"));
	second->box->plan->boot_shift_ms = 70000;
	health = health_of(second->box);
	assert_true(has(&health, "a write waits to be told to L2 for 70 s") && health.level == LARDER_HEALTH_DEGRADED);
}

static void test_failing_allocations(void **state)
{
	struct second *second = *state;
	int rc = LARDER_E_NOMEM;

	box_open(second->box, (const char *const[]){ second->url, NO_EVICTOR, "L2_RETRIES=0", NULL });
	for (int64_t n = 1; n < 200; n++) {
		struct larder_health health = { .size = sizeof(health) };
		int64_t left;

		second->box->plan->alloc_countdown = n;
		rc = larder_health(second->box->cache, &health);
		left = second->box->plan->alloc_countdown;
		second->box->plan->alloc_countdown = 0;
		assert_true(rc == 0 || rc == LARDER_E_NOMEM);
		if (left > 0)
			return;
	}
	fail_msg("no end of allocations");
}

#endif

#define WITH_SECOND(test) cmocka_unit_test_setup_teardown(test, second_begin, second_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SECOND(test_a_store_that_fares_well),
		WITH_SECOND(test_wrong_arguments),
		WITH_SECOND(test_switched_off_is_degraded_and_never_down),
		WITH_SECOND(test_a_process_that_passes_through_asks_the_store_all_the_same),
		WITH_SECOND(test_no_store_and_no_l2_is_down),
		WITH_SECOND(test_no_store_with_an_l2_that_answers_is_degraded),
		WITH_SECOND(test_nobody_does_the_background_work),
		WITH_SECOND(test_a_process_with_a_thread_of_its_own_is_not_degraded_at_first),
		WITH_SECOND(test_what_is_sent_to_l2),
		WITH_SECOND(test_another_value_than_was_written),
		WITH_SECOND(test_an_l2_that_refuses_writes_but_answers),
		WITH_SECOND(test_an_l2_that_does_not_remove),
		WITH_SECOND(test_a_silent_l2_costs_one_limit),
		WITH_SECOND(test_an_open_breaker_is_told_and_asks_nothing),
		WITH_SECOND(test_an_l2_that_is_only_read_is_only_read),
#ifdef LARDER_FAULTS
		WITH_SECOND(test_a_silent_evictor),
		WITH_SECOND(test_a_write_that_waits),
		WITH_SECOND(test_failing_allocations),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
