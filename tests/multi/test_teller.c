/* SPDX-License-Identifier: MIT */
/*
 * Who tells L2, and in what order: a caller of LARDER_L2_WRITE=through waits for its own row and not for those that are stuck in front of it, whoever
 * tells; a teller that a signal has stopped is replaced, without an older write after a newer one when it goes on; and what was sent and never answered is
 * over before anything newer of its key is sent.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cache/handle.h"
#include "l1/outbox.h"
#include "lib/fault_server.h"
#include "lib/team.h"

/* L2's limits are 300 ms, so the time of a request is over after 300 and the teller's margin of 500. */
enum { STUCK = 200, THROUGH_MS = 10000, OVER_MS = 800, SOON_MS = 30000 };
#define LIMITS "L2_GET_MS=300", "L2_SET_MS=300", "L2_DELETE_MS=300", "L2_CONNECT_MS=300"
#define FORM "SIZE=8M", "WORKERS=16", "L2_CODEC=raw", "L2_TENANT_IN=path", "L2_RETRIES=0", "BREAKER_FAILURES=0", "BREAKER_ERROR_PCT=0", "TTL=1h"

struct shared {
	_Atomic int ready, go, leave;
};

struct stage {
	struct fault_server *server;
	struct shared *shared;
	const char *dir;
	char url[300];
	int is_long;                       /* who sits in the gate: open_long() */
};

/* When L2 was told what the stopped one had not. */
static int64_t told_ms;

static int begin(void **state)
{
	struct stage *stage = calloc(1, sizeof(*stage));

	if (!stage)
		return -1;
	told_ms = 0;
	*state = stage;
	stage->server = fault_server_start(NULL);
	stage->shared = team_share(sizeof(*stage->shared));
	stage->dir = team_directory();
	if (!stage->server)
		return -1;
	snprintf(stage->url, sizeof(stage->url), "L2_URL=%s", fault_server_url(stage->server));
	return 0;
}

static int end(void **state)
{
	struct stage *stage = *state;

	team_disarm();
	team_remove(stage->dir);
	team_unshare(stage->shared, sizeof(*stage->shared));
	fault_server_free(stage->server);
	free(stage);
	return 0;
}

static void set(larder_tenant *tenant, const char *name, const char *value, uint32_t budget_ms)
{
	struct larder_call call = LARDER_CALL_INIT;

	call.budget_ms = budget_ms;
	TEAM_EXPECT(larder_set(tenant, "s", name, strlen(name), value, strlen(value), NULL, &call), 0);
}

/* How many of the requests that are remembered wrote this value. */
static unsigned wrote(struct stage *stage, const char *value)
{
	unsigned count = 0;

	for (unsigned back = 0; back < FAULT_LOG; back++) {
		const struct fault_request *request = fault_server_seen(stage->server, back);

		count += request && strcmp(request->method, "PUT") == 0 && request->body_len == strlen(value) &&
		    memcmp(request->body, value, request->body_len) == 0;
	}
	return count;
}

/* The same write may be told again, when it could not be settled in time; by its Idempotency-Key L2 knows that it is the same. Is it one write? */
static int is_one_write(struct stage *stage, const char *value)
{
	char first[64] = "", id[64];

	for (unsigned back = 0; back < FAULT_LOG; back++) {
		const struct fault_request *request = fault_server_seen(stage->server, back);

		if (!request || strcmp(request->method, "PUT") != 0 || request->body_len != strlen(value) ||
		    memcmp(request->body, value, request->body_len) != 0)
			continue;
		if (!fault_request_header(request, "Idempotency-Key", id, sizeof(id)) || (first[0] && strcmp(first, id) != 0))
			return 0;
		strcpy(first, id);
	}
	return first[0] != '\0';
}

static uint64_t pending(const char *dir)
{
	struct larder_outbox outbox = { .size = sizeof(outbox) };
	larder_inspector *inspector = team_inspect(dir);

	TEAM_EXPECT(larder_inspect_outbox(inspector, &outbox), 0);
	larder_inspect_close(inspector);
	return outbox.pending;
}

/* ---- through ---- */

/* Rows of a tenant that sorts first, which L2 does not take. The budget is for the gate too: a short one only where nobody waits otherwise. */
static void fill_with_stuck(struct stage *stage, larder *cache, uint32_t budget_ms)
{
	larder_tenant *tenant = team_tenant(cache, "aaa");
	char name[16];

	fault_server_rule(stage->server, "/aaa/", &(struct fault_answer){ .status = 503, .headers = "Retry-After: 1\r\n" }, 0);
	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 204 }, 0);
	for (int i = 0; i < STUCK; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		set(tenant, name, "stuck", budget_ms);
	}
	larder_tenant_close(tenant);
	TEAM_EXPECT(pending(stage->dir), STUCK);
}

static void expect_through(struct stage *stage, larder *cache)
{
	larder_tenant *tenant = team_tenant(cache, "acme");
	int64_t began_ms = team_now_ms();

	set(tenant, "mine", "told", THROUGH_MS);
	/* Whoever has waited for all rows has waited in vain, for the whole of its time. */
	TEAM_CHECK(team_now_ms() - began_ms < THROUGH_MS / 2);
	TEAM_CHECK(is_one_write(stage, "told"));
	TEAM_EXPECT(pending(stage->dir), STUCK);
	began_ms = team_now_ms();
	TEAM_EXPECT(larder_delete(tenant, "s", "mine", 4, &(const struct larder_call){ .size = sizeof(struct larder_call), .budget_ms = THROUGH_MS }), 0);
	TEAM_CHECK(team_now_ms() - began_ms < THROUGH_MS / 2);
	TEAM_EXPECT(pending(stage->dir), STUCK);
	larder_tenant_close(tenant);
}

static void test_through_waits_for_its_own_row(void **state)
{
	struct stage *stage = *state;
	larder *cache = team_open(stage->dir, FORM, "THREADS=0", "L2_WRITE=through", stage->url, NULL);

	fill_with_stuck(stage, cache, 1);
	expect_through(stage, cache);
	larder_close(cache);
}

static void tell_in_background(void *arg)
{
	struct stage *stage = arg;
	larder *cache = team_open(stage->dir, FORM, "L2_WRITE=behind", stage->url, NULL);

	fill_with_stuck(stage, cache, 0);
	/* It has the lock: it has tried. */
	TEAM_CHECK(TEAM_POLL(SOON_MS, fault_server_counts(stage->server)->requests > 0));
	atomic_store(&stage->shared->ready, 1);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&stage->shared->leave)));
	larder_close(cache);
}

static void test_through_asks_the_teller(void **state)
{
	struct stage *stage = *state;
	pid_t teller = team_start(tell_in_background, stage);
	larder *cache;

	TEAM_CHECK(TEAM_POLL(SOON_MS, atomic_load(&stage->shared->ready)));
	cache = team_open(stage->dir, FORM, "THREADS=0", "L2_WRITE=through", stage->url, NULL);
	expect_through(stage, cache);
	larder_close(cache);
	atomic_store(&stage->shared->leave, 1);
	team_join(teller);
}

/* Many keys of one call, more than the ring of hints has room for. */
static void test_through_of_many(void **state)
{
	enum { MANY = 100 };
	struct stage *stage = *state;
	pid_t teller = team_start(tell_in_background, stage);
	static char names[MANY][16];
	struct larder_item items[MANY];
	larder_tenant *tenant;
	larder *cache;

	TEAM_CHECK(TEAM_POLL(SOON_MS, atomic_load(&stage->shared->ready)));
	cache = team_open(stage->dir, FORM, "THREADS=0", "L2_WRITE=through", stage->url, NULL);
	tenant = team_tenant(cache, "acme");
	memset(items, 0, sizeof(items));
	for (int i = 0; i < MANY; i++) {
		items[i].space = "s";
		items[i].name = names[i];
		items[i].name_len = (size_t)snprintf(names[i], sizeof(names[i]), "d%d", i);
	}
	TEAM_EXPECT(larder_delete_many(tenant, items, MANY, &(const struct larder_call){ .size = sizeof(struct larder_call), .budget_ms = SOON_MS }), 0);
	TEAM_EXPECT(pending(stage->dir), STUCK);
	larder_tenant_close(tenant);
	larder_close(cache);
	atomic_store(&stage->shared->leave, 1);
	team_join(teller);
}

enum { CALLERS = 12, CALLING_MS = 1500, PAUSE_MS = 20 };

static void call_for_a_row(void *arg)
{
	struct stage *stage = arg;
	larder *cache = team_open(stage->dir, FORM, "THREADS=0", "L2_WRITE=through", stage->url, NULL);
	larder_tenant *tenant = team_tenant(cache, "aaa");
	char name[24];

	snprintf(name, sizeof(name), "w%d", (int)getpid());
	set(tenant, name, "stuck", CALLING_MS);
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* However many wait, and call: what L2 does not take it is not asked without a pause. One request of a round that is refused ends it, so four are the most. */
static void test_calls_do_not_drive_the_teller(void **state)
{
	struct stage *stage = *state;
	pid_t teller = team_start(tell_in_background, stage), callers[CALLERS];
	int64_t began_ms, took_ms;
	uint64_t requests;

	TEAM_CHECK(TEAM_POLL(SOON_MS, atomic_load(&stage->shared->ready)));
	requests = fault_server_counts(stage->server)->requests;
	began_ms = team_now_ms();
	for (int i = 0; i < CALLERS; i++)
		callers[i] = team_start(call_for_a_row, stage);
	for (int i = 0; i < CALLERS; i++)
		team_join(callers[i]);
	requests = fault_server_counts(stage->server)->requests - requests;
	took_ms = team_now_ms() - began_ms;
	print_message("# %u requests in %d ms\n", (unsigned)requests, (int)took_ms);
	TEAM_CHECK(requests <= 4 * (uint64_t)(took_ms / PAUSE_MS + 2));
	atomic_store(&stage->shared->leave, 1);
	team_join(teller);
}

static void tell_spared(void *arg)
{
	struct stage *stage = arg;
	larder *cache = team_open(stage->dir, FORM, "L2_WRITE=behind", stage->url, NULL);
	larder_tenant *tenant = team_tenant(cache, "aaa");

	for (int i = 0; i < STUCK; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		set(tenant, name, "spared", 0);
	}
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&stage->shared->leave)));
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* Asked to be left alone for an hour, L2 is, but for what somebody waits for: a request of each of the four senders at most, and in the next rounds none. */
static void test_retry_after_is_honoured(void **state)
{
	enum { WATCHED_MS = 1000 };
	struct stage *stage = *state;
	larder_tenant *tenant;
	int64_t began_ms;
	larder *cache;
	pid_t teller;

	fault_server_rule(stage->server, "/aaa/", &(struct fault_answer){ .status = 429, .headers = "Retry-After: 3600\r\n" }, 0);
	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 204 }, 0);
	teller = team_start(tell_spared, stage);
	TEAM_CHECK(TEAM_POLL(SOON_MS, fault_server_counts(stage->server)->requests > 0));
	began_ms = team_now_ms();
	TEAM_CHECK(TEAM_POLL(SOON_MS, team_now_ms() - began_ms > WATCHED_MS));
	TEAM_CHECK(fault_server_counts(stage->server)->requests <= 4);
	TEAM_CHECK(pending(stage->dir) > 0);
	cache = team_open(stage->dir, FORM, "THREADS=0", "L2_WRITE=through", stage->url, NULL);
	tenant = team_tenant(cache, "acme");
	set(tenant, "mine", "told", THROUGH_MS);
	TEAM_EXPECT(wrote(stage, "told"), 1);
	larder_tenant_close(tenant);
	larder_close(cache);
	atomic_store(&stage->shared->leave, 1);
	team_join(teller);
}

/* Sent elsewhere, which we do not follow, a write is kept, for it is no fault of its own. */
static void test_a_redirect_loses_no_write(void **state)
{
	struct stage *stage = *state;
	larder *cache = team_open(stage->dir, FORM, "THREADS=0", stage->url, NULL);
	larder_tenant *tenant = team_tenant(cache, "acme");

	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 302, .headers = "Location: /away\r\n" }, 2);
	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 204 }, 0);
	set(tenant, "k", "kept", 0);
	TEAM_EXPECT(larder_flush(cache, SOON_MS), 0);
	TEAM_EXPECT(wrote(stage, "kept"), 3);
	TEAM_CHECK(is_one_write(stage, "kept"));
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* While the breaker is open nobody waits. */
static void test_through_does_not_wait_for_an_open_breaker(void **state)
{
	struct stage *stage = *state;
	larder *cache = team_open(stage->dir, "SIZE=8M", "WORKERS=16", "THREADS=0", "L2_WRITE=through", "L2_RETRIES=0", "BREAKER_FAILURES=1", "BREAKER_OPEN_MS=1h",
	    "BREAKER_OPEN_MAX_MS=1h", stage->url, NULL);
	larder_tenant *tenant = team_tenant(cache, "acme");
	int64_t began_ms;

	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 500 }, 0);
	began_ms = team_now_ms();
	set(tenant, "mine", "v", SOON_MS);
	set(tenant, "other", "v", SOON_MS);
	TEAM_CHECK(team_now_ms() - began_ms < SOON_MS / 2);
	TEAM_EXPECT(pending(stage->dir), 2);
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* ---- a stopped teller ---- */

/* Nobody but the writers enters the writer gate. A process that is stopped inside it keeps the others from their outbox, and this is not about that. */
#define NO_EVICTOR "EVICTOR=off"

/* Sets "k" to "old"; when it is told to go on, "last" to "last". Stopped by its parent or at a fault point in between. */
static void tell_and_be_stopped(void *arg)
{
	struct stage *stage = arg;
	larder *cache = team_open(stage->dir, FORM, LIMITS, NO_EVICTOR, stage->url, NULL);
	larder_tenant *tenant = team_tenant(cache, "acme");

	set(tenant, "k", "old", 0);
	atomic_store(&stage->shared->ready, 1);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&stage->shared->go)));
	set(tenant, "last", "last", 0);
	TEAM_CHECK(TEAM_POLL(SOON_MS, wrote(stage, "last") > 0));
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* With the teller stopped: set "k" to "new" here; L2 has it within a bound; the teller goes on, and nothing older is told. */
static void replace(struct stage *stage, pid_t teller)
{
	larder *cache = team_open(stage->dir, FORM, LIMITS, NO_EVICTOR, stage->url, NULL);
	larder_tenant *tenant = team_tenant(cache, "acme");
	unsigned old = wrote(stage, "old");
	int64_t began_ms = team_now_ms();

	set(tenant, "k", "new", 0);
	TEAM_CHECK(TEAM_POLL(SOON_MS, wrote(stage, "new") > 0));
	told_ms = team_now_ms();
	print_message("# told %d ms after the set\n", (int)(told_ms - began_ms));
	fault_server_open(stage->server);
	TEAM_CHECK(team_is_stopped(teller));
	team_continue(teller);
	atomic_store(&stage->shared->go, 1);
	team_join(teller);
	TEAM_CHECK(TEAM_POLL(SOON_MS, pending(stage->dir) == 0));
	TEAM_EXPECT(wrote(stage, "new"), 1);
	/* What was sent before is all that there is of it. */
	TEAM_EXPECT(wrote(stage, "old"), old);
	larder_tenant_close(tenant);
	larder_close(cache);
}

static void stop(pid_t teller)
{
	TEAM_EXPECT(kill(teller, SIGSTOP), 0);
	team_await_stop(teller);
}

static void test_one_that_has_nothing_to_tell(void **state)
{
	struct stage *stage = *state;
	pid_t teller;

	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 204 }, 0);
	teller = team_start(tell_and_be_stopped, stage);
	TEAM_CHECK(TEAM_POLL(SOON_MS, wrote(stage, "old") > 0));
	TEAM_CHECK(TEAM_POLL(SOON_MS, pending(stage->dir) == 0));
	stop(teller);
	replace(stage, teller);
}

static void test_one_whose_request_is_not_answered(void **state)
{
	struct stage *stage = *state;
	pid_t teller;

	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 204, .hold = 1 }, 1);
	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 204 }, 0);
	fault_server_shut(stage->server);
	teller = team_start(tell_and_be_stopped, stage);
	TEAM_CHECK(TEAM_POLL(SOON_MS, atomic_load(&fault_server_counts(stage->server)->holding) == 1));
	stop(teller);
	replace(stage, teller);
}

/* Its request has been announced, not sent. */
static void expect_not_sent(struct stage *stage, enum ld_fault_point point)
{
	pid_t teller;
	int64_t began_ms;

	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 204 }, 0);
	team_arm(point, LD_FAULT_STOP, 0, 1);
	began_ms = team_now_ms();
	teller = team_start(tell_and_be_stopped, stage);
	team_await_stop(teller);
	TEAM_EXPECT(wrote(stage, "old"), 0);
	replace(stage, teller);
	/* Not before its time was over. */
	TEAM_CHECK(told_ms - began_ms >= OVER_MS);
}

static void test_one_that_was_about_to_send(void **state)
{
	expect_not_sent(*state, LD_FAULT_tell_sending);
}

/* With the connection made: the worst place. */
static void test_one_that_had_a_connection(void **state)
{
	expect_not_sent(*state, LD_FAULT_http_sending);
}

/* It has the answer, and not settled the row: it settles nothing that is newer. */
static void test_one_that_was_about_to_settle(void **state)
{
	struct stage *stage = *state;
	pid_t teller;

	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 204 }, 0);
	team_arm(LD_FAULT_tell_settling, LD_FAULT_STOP, 0, 1);
	teller = team_start(tell_and_be_stopped, stage);
	team_await_stop(teller);
	TEAM_EXPECT(wrote(stage, "old"), 1);
	replace(stage, teller);
}

/* Between the announcement and the look at the lock. */
static void test_one_that_has_announced_a_request(void **state)
{
	struct stage *stage = *state;
	pid_t teller;

	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 204 }, 0);
	team_arm(LD_FAULT_drain_sending, LD_FAULT_STOP, 0, 1);
	teller = team_start(tell_and_be_stopped, stage);
	team_await_stop(teller);
	replace(stage, teller);
}

/* ---- a request that is given up ---- */

/* L2 may still carry out what was sent until the limit of 1,500 ms and the margin are over. The budgets are shorter. */
enum { GIVEN_UP_MS = 2000, BUDGET_MS = 200 };
#define SLOW_LIMITS "L2_GET_MS=1500", "L2_SET_MS=1500", "L2_DELETE_MS=1500", "L2_CONNECT_MS=1500"

static larder *open_slow(struct stage *stage, const char *threads)
{
	return team_open(stage->dir, FORM, SLOW_LIMITS, threads, "L2_WRITE=through", stage->url, NULL);
}

/* The first request ends so, all others well. */
static void end_the_first(struct stage *stage, const struct fault_answer *answer)
{
	fault_server_rule(stage->server, "/", answer, 1);
	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 204 }, 0);
	if (answer->hold)
		fault_server_shut(stage->server);
}

/* Set "k" to "old" until L2 has seen it; returns a time before that one was begun: it may be seen after its caller has gone. */
static int64_t send_old(struct stage *stage, larder *cache)
{
	larder_tenant *tenant = team_tenant(cache, "acme");
	int64_t began_ms = team_now_ms();

	TEAM_CHECK(TEAM_POLL(SOON_MS, (set(tenant, "k", "old", BUDGET_MS), wrote(stage, "old") > 0)));
	TEAM_EXPECT(wrote(stage, "old"), 1);
	larder_tenant_close(tenant);
	return began_ms;
}

/* Nothing newer of the key is sent in all that time, here or elsewhere. */
static void expect_not_yet(struct stage *stage, const char *value, int64_t began_ms)
{
	unsigned count = wrote(stage, value);

	TEAM_CHECK(count == 0 || team_now_ms() - began_ms >= GIVEN_UP_MS);
}

/* Set "k" to "new": L2 is not told until the time of the older request is over. What else there is it is told at once. */
static void expect_in_order(struct stage *stage, larder *cache, int64_t began_ms)
{
	larder_tenant *tenant = team_tenant(cache, "acme");

	set(tenant, "k", "new", BUDGET_MS);
	expect_not_yet(stage, "new", began_ms);
	set(tenant, "other", "other", THROUGH_MS);
	TEAM_EXPECT(wrote(stage, "other"), 1);
	expect_not_yet(stage, "new", began_ms);
	fault_server_open(stage->server);
	TEAM_EXPECT(larder_flush(cache, SOON_MS), 0);
	TEAM_CHECK(team_now_ms() - began_ms >= GIVEN_UP_MS);
	TEAM_EXPECT(wrote(stage, "old"), 1);
	TEAM_EXPECT(wrote(stage, "new"), 1);
	larder_tenant_close(tenant);
}

/* What comes of a request of which nobody knows whether L2 will carry it out. */
static void test_the_next_waits_for_what_was_given_up(void **state)
{
	static const struct fault_answer answers[] = { { .status = 204, .hold = 1 }, { .fault = FAULT_SILENT }, { .fault = FAULT_CLOSE },
		{ .fault = FAULT_RESET }, { .status = 500 }, { .status = 502 }, { .status = 503 }, { .status = 504 } };

	for (unsigned i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		larder *cache;

		assert_int_equal(begin(state), 0);
		cache = open_slow(*state, "THREADS=0");
		end_the_first(*state, &answers[i]);
		expect_in_order(*state, cache, send_old(*state, cache));
		larder_close(cache);
		end(state);
	}
}

/* Nothing there to delete says nothing of the try before, which may be under way still. */
static void test_a_404_does_not_answer_for_the_try_before(void **state)
{
	const struct larder_call call = { .size = sizeof(call), .budget_ms = THROUGH_MS };
	struct stage *stage = *state;
	larder *cache = team_open(stage->dir, "SIZE=8M", "WORKERS=16", "L2_CODEC=raw", "L2_TENANT_IN=path", "L2_RETRIES=1", "BREAKER_FAILURES=0",
	    "BREAKER_ERROR_PCT=0", SLOW_LIMITS, "THREADS=0", "L2_WRITE=through", stage->url, NULL);
	larder_tenant *tenant = team_tenant(cache, "acme");
	int64_t began_ms = team_now_ms();

	fault_server_rule(stage->server, "/", &(struct fault_answer){ .fault = FAULT_RESET }, 1);
	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 404 }, 1);
	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 204 }, 0);
	TEAM_EXPECT(larder_delete(tenant, "s", "k", 1, &call), LARDER_MISS);
	TEAM_EXPECT(fault_server_counts(stage->server)->requests, 2);
	TEAM_EXPECT(pending(stage->dir), 0);
	set(tenant, "k", "new", BUDGET_MS);
	expect_not_yet(stage, "new", began_ms);
	TEAM_EXPECT(larder_flush(cache, SOON_MS), 0);
	TEAM_EXPECT(wrote(stage, "new"), 1);
	TEAM_CHECK(team_now_ms() - began_ms >= GIVEN_UP_MS);
	larder_tenant_close(tenant);
	larder_close(cache);
}

struct sender {
	struct stage *stage;
	int64_t began_ms;
};

static void send_and_leave(void *arg)
{
	struct sender *sender = arg;
	larder *cache = open_slow(sender->stage, "THREADS=0");

	sender->began_ms = send_old(sender->stage, cache);
	larder_close(cache);
}

/* Another process does not know better. */
static void test_a_successor_waits_too(void **state)
{
	struct stage *stage = *state;
	struct sender *sender = team_share(sizeof(*sender));
	larder *cache = open_slow(stage, "THREADS=0");

	sender->stage = stage;
	end_the_first(stage, &(struct fault_answer){ .status = 204, .hold = 1 });
	team_run(send_and_leave, sender);
	expect_in_order(stage, cache, sender->began_ms);
	larder_close(cache);
	team_unshare(sender, sizeof(*sender));
}

/* A thread tells: its request has the whole time, however short its caller's is. The next one goes as soon as it is answered. */
static void test_a_thread_gives_nothing_up(void **state)
{
	struct stage *stage = *state;
	larder *cache = open_slow(stage, "THREADS=1");
	larder_tenant *tenant = team_tenant(cache, "acme");
	int64_t began_ms;

	end_the_first(stage, &(struct fault_answer){ .status = 204, .hold = 1 });
	began_ms = send_old(stage, cache);
	set(tenant, "k", "new", BUDGET_MS);
	expect_not_yet(stage, "new", began_ms);
	fault_server_open(stage->server);
	TEAM_CHECK(TEAM_POLL(SOON_MS, wrote(stage, "new") == 1));
	print_message("# told %d ms after the first was begun\n", (int)(team_now_ms() - began_ms));
	TEAM_EXPECT(larder_flush(cache, SOON_MS), 0);
	TEAM_EXPECT(wrote(stage, "old"), 1);
	/* The connection on which it was answered is the one that it was sent on: nobody has hung up. */
	TEAM_EXPECT(fault_server_counts(stage->server)->connections, 1);
	larder_tenant_close(tenant);
	larder_close(cache);
}

static int is_let_go(larder *cache)
{
	struct larder_stats stats = { .size = sizeof(stats) };

	TEAM_EXPECT(larder_get_stats(cache, &stats), 0);
	return stats.l2_refused > 0;
}

/* A request that is let go when the breaker opens is one of those too, whoever tells. */
static void test_what_the_breaker_cut_off_is_waited_for(void **state)
{
	struct stage *stage = *state;
	larder *cache = open_slow(stage, "THREADS=1");
	larder_tenant *tenant = team_tenant(cache, "acme");
	larder_inspector *inspector = team_inspect(stage->dir);
	int64_t began_ms;

	end_the_first(stage, &(struct fault_answer){ .status = 204, .hold = 1 });
	began_ms = send_old(stage, cache);
	TEAM_EXPECT(larder_inspect_breaker_force(inspector, NULL, LARDER_BREAKER_ORDER_OPEN), 0);
	TEAM_CHECK(TEAM_POLL(SOON_MS, is_let_go(cache)));
	set(tenant, "k", "new", BUDGET_MS);
	TEAM_EXPECT(larder_inspect_breaker_force(inspector, NULL, LARDER_BREAKER_ORDER_RESET), 0);
	expect_in_order(stage, cache, began_ms);
	larder_inspect_close(inspector);
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* L2 has long to answer; nobody waits for the gate. */
static larder *open_long(struct stage *stage)
{
	return team_open(stage->dir, FORM, "L2_SET_MS=60s", "WRITE_WAIT_MS=1ms", "THREADS=0", "L2_WRITE=through", stage->url, NULL);
}

static void sit_in_the_gate(void *arg)
{
	struct stage *stage = arg;
	larder *cache = stage->is_long ? open_long(stage) : open_slow(stage, "THREADS=0");
	larder_tenant *tenant = team_tenant(cache, "acme");

	set(tenant, "mine", "mine", THROUGH_MS);
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* What the store does not take is told without the outbox. When that is given up, the outbox waits. */
static void test_what_was_told_beside_the_outbox_is_waited_for(void **state)
{
	const struct larder_call call = { .size = sizeof(call), .budget_ms = BUDGET_MS };
	struct stage *stage = *state;
	larder *cache = open_slow(stage, "THREADS=0");
	larder_tenant *tenant = team_tenant(cache, "acme");
	int64_t began_ms = 0;
	pid_t sitter;

	end_the_first(stage, &(struct fault_answer){ .status = 204, .hold = 1 });
	team_arm(LD_FAULT_set_row_put, LD_FAULT_STOP, 0, 1);
	sitter = team_start(sit_in_the_gate, stage);
	team_await_stop(sitter);
	team_disarm();
	began_ms = team_now_ms();
	TEAM_CHECK(TEAM_POLL(SOON_MS, larder_set(tenant, "s", "k", 1, "old", 3, NULL, &call) == LARDER_UNAVAILABLE && wrote(stage, "old") > 0));
	team_continue(sitter);
	team_join(sitter);
	expect_in_order(stage, cache, began_ms);
	larder_tenant_close(tenant);
	larder_close(cache);
}

static int set_beside(larder_tenant *tenant, const char *name, const char *value)
{
	return larder_set(tenant, "s", name, strlen(name), value, strlen(value), NULL, NULL);
}

/* Answered, nobody is kept back, however long the request could have taken, and however many were told so. */
static void test_what_was_answered_beside_the_outbox_keeps_nobody(void **state)
{
	enum { BESIDE = 600 };
	const struct larder_call call = { .size = sizeof(call), .budget_ms = SOON_MS };
	struct stage *stage = *state;
	larder *cache = open_long(stage);
	larder_tenant *tenant = team_tenant(cache, "acme");
	int64_t began_ms = team_now_ms();
	unsigned told = 0;
	pid_t sitter;

	stage->is_long = 1;
	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 204 }, 0);
	team_arm(LD_FAULT_set_row_put, LD_FAULT_STOP, 0, 1);
	sitter = team_start(sit_in_the_gate, stage);
	team_await_stop(sitter);
	team_disarm();
	for (int i = 0; i < BESIDE; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		told += set_beside(tenant, name, "beside") == 0;
	}
	TEAM_EXPECT(told, BESIDE);
	TEAM_EXPECT(set_beside(tenant, "k", "old"), 0);
	TEAM_EXPECT(wrote(stage, "old"), 1);
	team_continue(sitter);
	team_join(sitter);
	TEAM_EXPECT(larder_set(tenant, "s", "k", 1, "new", 3, NULL, &call), 0);
	TEAM_EXPECT(wrote(stage, "new"), 1);
	TEAM_CHECK(team_now_ms() - began_ms < 60000);
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* Stopped when the request of its row has been announced. */
static void tell_old(void *arg)
{
	struct stage *stage = arg;
	larder *cache = team_open(stage->dir, FORM, "L2_SET_MS=60s", NO_EVICTOR, stage->url, NULL);
	larder_tenant *tenant = team_tenant(cache, "acme");

	set(tenant, "k", "old", 0);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&stage->shared->leave)));
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* A row that the teller read before is not sent after what was told beside the outbox. */
static void test_what_was_told_beside_the_outbox_is_not_overtaken(void **state)
{
	struct stage *stage = *state;
	larder_tenant *tenant;
	pid_t teller, sitter;
	larder *cache;

	stage->is_long = 1;
	fault_server_rule(stage->server, "/", &(struct fault_answer){ .status = 204 }, 0);
	team_arm(LD_FAULT_drain_sending, LD_FAULT_STOP, 0, 1);
	teller = team_start(tell_old, stage);
	team_await_stop(teller);
	cache = open_long(stage);
	tenant = team_tenant(cache, "acme");
	team_arm(LD_FAULT_set_row_put, LD_FAULT_STOP, 0, 1);
	sitter = team_start(sit_in_the_gate, stage);
	team_await_stop(sitter);
	team_disarm();
	TEAM_EXPECT(set_beside(tenant, "k", "new"), 0);
	TEAM_EXPECT(wrote(stage, "new"), 1);
	team_continue(teller);
	team_continue(sitter);
	team_join(sitter);
	TEAM_CHECK(TEAM_POLL(SOON_MS, pending(stage->dir) == 0));
	TEAM_EXPECT(wrote(stage, "old"), 0);
	atomic_store(&stage->shared->leave, 1);
	team_join(teller);
	larder_tenant_close(tenant);
	larder_close(cache);
}

static void set_newer(void *arg)
{
	larder *cache = open_long(arg);
	larder_tenant *tenant = team_tenant(cache, "acme");

	set(tenant, "k", "new", 10 * SOON_MS);
	larder_tenant_close(tenant);
	larder_close(cache);
}

static int newest_is(larder_tenant *tenant, const char *value)
{
	struct larder_value found = { 0 };
	int is = larder_get(tenant, "s", "k", 1, NULL, &found) == 0 && found.len == strlen(value) && memcmp(found.data, value, found.len) == 0;

	larder_value_free(&found);
	return is;
}

/* Whoever waits for a key that is kept back does not keep the others' rows from being told. */
static void test_one_that_is_kept_back_lets_others_tell(void **state)
{
	struct stage *stage = *state;
	larder *cache = open_long(stage);
	larder_tenant *tenant = team_tenant(cache, "acme");
	pid_t waiter;

	end_the_first(stage, &(struct fault_answer){ .fault = FAULT_RESET });
	(void)send_old(stage, cache);
	waiter = team_start(set_newer, stage);
	TEAM_CHECK(TEAM_POLL(SOON_MS, newest_is(tenant, "new")));
	for (int i = 0; i < 5; i++) {
		set(tenant, "other", "other", SOON_MS);
		TEAM_EXPECT(wrote(stage, "other"), i + 1);
	}
	TEAM_EXPECT(wrote(stage, "new"), 0);
	team_kill(waiter);
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* Not sent, or refused: there is nothing to wait for. */
static void test_what_was_not_sent_keeps_nobody(void **state)
{
	struct stage *stage = *state;
	larder *cache = team_open(stage->dir, FORM, "L2_SET_MS=60s", "THREADS=0", "L2_WRITE=through", stage->url, NULL);
	larder_tenant *tenant = team_tenant(cache, "acme");
	int64_t began_ms = team_now_ms();

	fault_server_stop(stage->server);
	set(tenant, "k", "old", BUDGET_MS);
	TEAM_EXPECT(fault_server_again(stage->server), 0);
	end_the_first(stage, &(struct fault_answer){ .status = 503, .headers = "Retry-After: 1\r\n" });
	TEAM_CHECK(TEAM_POLL(SOON_MS, (set(tenant, "k", "older", BUDGET_MS), wrote(stage, "older") > 0)));
	set(tenant, "k", "new", SOON_MS);
	TEAM_EXPECT(wrote(stage, "new"), 1);
	TEAM_CHECK(team_now_ms() - began_ms < SOON_MS);
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* There is no room to remember the key: then nothing at all is sent for so long, by nobody. */
static void test_without_room_all_wait(void **state)
{
	struct stage *stage = *state;
	larder *cache = open_slow(stage, "THREADS=0");
	larder_tenant *tenant = team_tenant(cache, "acme");
	uint64_t random = team_seed();
	struct ld_key key = { .tenant = "full" };
	int64_t began_ms;

	for (unsigned i = 0; i < 20000; i++) {
		for (unsigned at = 0; at < sizeof(key.digest); at++)
			key.digest[at] = (unsigned char)(team_random(&random) >> 40);
		(void)ld_outbox_unanswered(cache->store, &key, ld_clock_boot_ms() + 3600000);
	}
	end_the_first(stage, &(struct fault_answer){ .status = 204, .hold = 1 });
	began_ms = send_old(stage, cache);
	set(tenant, "other", "other", BUDGET_MS);
	expect_not_yet(stage, "other", began_ms);
	larder_tenant_close(tenant);
	larder_close(cache);
	cache = open_slow(stage, "THREADS=0");
	tenant = team_tenant(cache, "acme");
	set(tenant, "other", "other", BUDGET_MS);
	expect_not_yet(stage, "other", began_ms);
	fault_server_open(stage->server);
	TEAM_EXPECT(larder_flush(cache, SOON_MS), 0);
	TEAM_EXPECT(wrote(stage, "other"), 1);
	larder_tenant_close(tenant);
	larder_close(cache);
}

#define STAGED(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		STAGED(test_through_waits_for_its_own_row),
		STAGED(test_through_asks_the_teller),
		STAGED(test_through_of_many),
		STAGED(test_calls_do_not_drive_the_teller),
		STAGED(test_retry_after_is_honoured),
		STAGED(test_a_redirect_loses_no_write),
		STAGED(test_through_does_not_wait_for_an_open_breaker),
		STAGED(test_one_that_has_nothing_to_tell),
		STAGED(test_one_whose_request_is_not_answered),
		STAGED(test_one_that_was_about_to_send),
		STAGED(test_one_that_had_a_connection),
		STAGED(test_one_that_was_about_to_settle),
		STAGED(test_one_that_has_announced_a_request),
		cmocka_unit_test(test_the_next_waits_for_what_was_given_up),
		STAGED(test_a_404_does_not_answer_for_the_try_before),
		STAGED(test_a_successor_waits_too),
		STAGED(test_a_thread_gives_nothing_up),
		STAGED(test_what_the_breaker_cut_off_is_waited_for),
		STAGED(test_what_was_told_beside_the_outbox_is_waited_for),
		STAGED(test_what_was_answered_beside_the_outbox_keeps_nobody),
		STAGED(test_what_was_told_beside_the_outbox_is_not_overtaken),
		STAGED(test_one_that_is_kept_back_lets_others_tell),
		STAGED(test_what_was_not_sent_keeps_nobody),
		STAGED(test_without_room_all_wait),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
