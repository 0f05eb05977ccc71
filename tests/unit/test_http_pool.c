/* SPDX-License-Identifier: MIT */
/*
 * The pool of connections: used again, closed in time, never by two at once; across threads, across fork, and across a server that comes and goes. Answers
 * name their request, so that one which reached the wrong caller would be seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/fault.h"
#include "http.h"

enum { THREADS = 8, CALLS = 150, CHILDREN = 6 };

static void test_connection_is_used_again(void **state)
{
	struct world *world = *state;

	world_rule(world, (struct fault_answer){ .echo = 1 });
	for (int i = 0; i < 20; i++)
		assert_int_equal(world_get(world, "/a")->reused, i > 0);
	assert_int_equal(counts(world)->connections, 1);
	assert_int_equal(stats(world).opened, 1);
	assert_int_equal(stats(world).reused, 19);
	assert_int_equal(stats(world).idle, 1);
	assert_int_equal(stats(world).in_use, 0);
	assert_int_equal(stats(world).waits, 0);
}

static void test_idle_connection_is_closed(void **state)
{
	struct world *world = *state;

	world->config.idle_ms = 400;
	world_again(world);
	world_rule(world, (struct fault_answer){ .echo = 1 });
	world_get(world, "/a");
	ld_http_tidy(world->http);
	assert_int_equal(stats(world).idle, 1);
	assert_true(CHILD_POLL((ld_http_tidy(world->http), stats(world).closed_idle == 1)));
	assert_int_equal(stats(world).idle, 0);
	assert_true(CHILD_POLL(counts(world)->open == 0));
	/* Without tidying, one that was idle for too long is not taken. */
	assert_int_equal(world_get(world, "/a")->reused, 0);
	int64_t until_ms = child_now_ms() + 450;
	assert_true(CHILD_POLL(child_now_ms() > until_ms));
	assert_int_equal(world_get(world, "/a")->reused, 0);
	assert_int_equal(stats(world).closed_idle, 2);
	assert_int_equal(counts(world)->connections, 3);
}

static void test_old_connection_is_closed(void **state)
{
	struct world *world = *state;
	int64_t from_ms = child_now_ms();

	world->config.max_age_ms = 80;
	world_again(world);
	world_rule(world, (struct fault_answer){ .echo = 1 });
	/* In use all the time, so never idle. */
	while (stats(world).closed_age < 3 && child_now_ms() - from_ms < 10000)
		assert_int_equal(world_get(world, "/a")->outcome, LD_HTTP_OK);
	assert_int_equal(stats(world).closed_age, 3);
	assert_in_range(child_now_ms() - from_ms, 3 * 80, 10000);
	assert_int_equal(stats(world).closed_age + stats(world).idle, counts(world)->connections);
	assert_int_equal(stats(world).closed_idle, 0);
}

struct caller {
	struct world *world;
	pthread_t thread;
	int id, calls;
	int64_t limit_ms;
	int wrong;
	enum ld_http_outcome outcome;
	int64_t took_us;
};

/* Each call's path and body are its own, and must come back. */
static void *call_many(void *arg)
{
	struct caller *caller = arg;

	for (int i = 0; i < caller->calls; i++) {
		struct ld_http_answer answer;
		char path[64], body[64], expected[160];
		struct ld_http_request request = { .method = LD_HTTP_PUT, .path = path, .body = body, .limit_ms = caller->limit_ms };

		(void)snprintf(path, sizeof(path), "/t/%d/%d", caller->id, i);
		request.body_len = (size_t)snprintf(body, sizeof(body), "body of %d by %d", i, caller->id);
		(void)snprintf(expected, sizeof(expected), "PUT %s %s", path, body);
		if (ld_http_perform(caller->world->http, &request, &answer) != 0)
			caller->wrong++;
		caller->outcome = answer.outcome;
		caller->took_us = answer.took_us;
		if (answer.outcome == LD_HTTP_OK && (answer.body == NULL || strcmp((const char *)answer.body, expected) != 0))
			caller->wrong++;
		ld_http_answer_free(&answer);
	}
	return NULL;
}

static void start_callers(struct world *world, struct caller *callers, int count, int calls, int64_t limit_ms)
{
	for (int i = 0; i < count; i++) {
		callers[i] = (struct caller){ .world = world, .id = i, .calls = calls, .limit_ms = limit_ms };
		assert_int_equal(pthread_create(&callers[i].thread, NULL, call_many, &callers[i]), 0);
	}
}

static void join_callers(struct caller *callers, int count)
{
	for (int i = 0; i < count; i++) {
		assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
		assert_int_equal(callers[i].wrong, 0);
	}
}

static void test_threads_share_the_pool(void **state)
{
	struct world *world = *state;
	struct caller callers[THREADS];

	world->config.pool = 3;
	world->config.pool_wait_ms = 60000;
	world_again(world);
	world_rule(world, (struct fault_answer){ .echo = 1 });
	start_callers(world, callers, THREADS, CALLS, 60000);
	join_callers(callers, THREADS);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(callers[i].outcome, LD_HTTP_OK);
	assert_int_equal(counts(world)->requests, THREADS * CALLS);
	assert_in_range(counts(world)->connections, 1, 3);
	assert_true(stats(world).waits > 0);
	assert_int_equal(stats(world).busy, 0);
	assert_int_equal(stats(world).opened + stats(world).reused, THREADS * CALLS);
}

static void test_busy_pool(void **state)
{
	struct world *world = *state;
	struct caller callers[2], waiter;
	int64_t from_ms;

	world->config.pool = 2;
	world->config.pool_wait_ms = 100;
	world_again(world);
	world_rule(world, (struct fault_answer){ .echo = 1, .hold = 1 });
	fault_server_shut(world->server);
	start_callers(world, callers, 2, 1, 60000);
	assert_true(CHILD_POLL(counts(world)->holding == 2));
	assert_int_equal(stats(world).in_use, 2);
	from_ms = child_now_ms();
	assert_string_equal(ld_http_outcome_name(world_get(world, "/k")->outcome), "pool_busy");
	assert_in_range(child_now_ms() - from_ms, 98, 9000);
	assert_int_equal(world->answer.sent, 0);
	assert_int_equal(stats(world).waits, 1);
	assert_int_equal(stats(world).busy, 1);
	/* One that waits has its turn when a call ends. */
	world->config.pool_wait_ms = 60000;
	fault_server_open(world->server);
	join_callers(callers, 2);
	world_again(world);
	fault_server_shut(world->server);
	start_callers(world, callers, 2, 1, 60000);
	assert_true(CHILD_POLL(counts(world)->holding == 2));
	/* The limit of the call is the shorter one. */
	from_ms = child_now_ms();
	assert_string_equal(ld_http_outcome_name(world_ask(world, (struct ld_http_request){ .limit_ms = 20 })->outcome), "pool_busy");
	assert_in_range(child_now_ms() - from_ms, 19, 20000);
	start_callers(world, &waiter, 1, 1, 60000);
	fault_server_open(world->server);
	join_callers(callers, 2);
	join_callers(&waiter, 1);
	assert_int_equal(waiter.outcome, LD_HTTP_OK);
	assert_int_equal(stats(world).busy, 1);
}

/* ---- fork ---- */

struct family {
	struct world *world;
};

static void ask_as(struct ld_http *http, const char *path, const char *expected)
{
	struct ld_http_request request = { .path = path, .limit_ms = 100000 };
	struct ld_http_answer answer;

	CHILD_CHECK(ld_http_perform(http, &request, &answer) == 0);
	CHILD_CHECK(answer.outcome == LD_HTTP_OK && answer.status == 200);
	CHILD_CHECK(answer.body != NULL && strcmp((const char *)answer.body, expected) == 0);
	ld_http_answer_free(&answer);
}

static void be_child(void *arg)
{
	struct family *family = arg;
	struct ld_http_request request = { .path = "/parent", .limit_ms = 1000 };
	struct ld_http_answer answer;
	struct ld_http *own;

	CHILD_CHECK(ld_http_perform(family->world->http, &request, &answer) == LARDER_E_BUG);
	/* Either of the two, in a child. */
	if (getpid() % 2)
		ld_http_abandon(family->world->http);
	else
		ld_http_free(family->world->http);
	CHILD_CHECK(ld_http_new(&family->world->config, &own) == 0);
	for (int i = 0; i < 10; i++) {
		char path[32], expected[64];

		(void)snprintf(path, sizeof(path), "/child/%d/%d", (int)getpid(), i);
		(void)snprintf(expected, sizeof(expected), "GET %s ", path);
		ask_as(own, path, expected);
	}
	ld_http_free(own);
}

/* Children of a parent with idle connections, each at once with the parent's own calls. */
static void inherit(struct world *world, unsigned connections)
{
	struct family family = { .world = world };
	struct caller callers[2];
	pid_t pids[CHILDREN];

	world_rule(world, (struct fault_answer){ .echo = 1 });
	fault_server_rule(world->server, "/", &(struct fault_answer){ .echo = 1 }, 0);
	start_callers(world, callers, 2, 20, 20000);
	join_callers(callers, 2);
	assert_in_range(counts(world)->connections, 1, connections);
	for (int i = 0; i < CHILDREN; i++) {
		pids[i] = child_start(be_child, &family);
		expect_body(world_get(world, "/parent"), "GET /parent ");
		assert_int_equal(world->answer.reused, 1);
	}
	for (int i = 0; i < CHILDREN; i++)
		assert_int_equal(child_end(pids[i]), 0);
	expect_body(world_get(world, "/parent"), "GET /parent ");
	assert_int_equal(world->answer.reused, 1);
	/* Each child one of its own, and the parent none that is new. */
	assert_int_equal(counts(world)->connections - stats(world).opened, CHILDREN);
	assert_int_equal(counts(world)->requests, 40 + CHILDREN + 10 * CHILDREN + 1);
}

static void test_fork_with_a_used_pool(void **state)
{
	inherit(*state, 2);
}

/* Over TLS a goodbye on a connection that belongs to the parent would end it. */
static void test_fork_with_a_used_pool_over_tls(void **state)
{
	struct world *world = *state;
	struct fault_options options = { .cert_file = world_path(world, "cert"), .key_file = world_path(world, "key") };

	assert_int_equal(fault_certificate(options.cert_file, options.key_file, "IP:127.0.0.1", 3600), 0);
	world->config.ca_file = options.cert_file;
	world_serve(world, &options);
	inherit(world, 2);
}

/* The child of a process one of whose threads is in a call. */
static void test_fork_within_a_call(void **state)
{
	struct world *world = *state;
	struct family family = { .world = world };
	struct caller caller;

	world_rule(world, (struct fault_answer){ .echo = 1 });
	for (int round = 0; round < 5; round++) {
		pid_t pids[3];

		fault_server_clear(world->server);
		fault_server_rule(world->server, "/t", &(struct fault_answer){ .echo = 1, .hold = 1 }, 0);
		fault_server_rule(world->server, "/", &(struct fault_answer){ .echo = 1 }, 0);
		fault_server_shut(world->server);
		start_callers(world, &caller, 1, 1, 20000);
		assert_true(CHILD_POLL(counts(world)->holding == 1));
		for (int i = 0; i < 3; i++)
			pids[i] = child_start(be_child, &family);
		for (int i = 0; i < 3; i++)
			assert_int_equal(child_end(pids[i]), 0);
		fault_server_open(world->server);
		join_callers(&caller, 1);
		assert_int_equal(caller.outcome, LD_HTTP_OK);
	}
	assert_int_equal(counts(world)->connections - stats(world).opened, 15);
}

static void close_all_and_wait(void *arg)
{
	_Atomic int *go = arg;

	CHILD_CHECK(CHILD_POLL(atomic_load(go) == 1));
}

/* A child that never touches what it inherited does not keep the parent's connection open. */
static void test_closing_in_the_parent_ends_the_connection(void **state)
{
	struct world *world = *state;
	_Atomic int *go = child_share(sizeof(*go));
	pid_t pid;

	world_rule(world, (struct fault_answer){ .echo = 1 });
	world_get(world, "/k");
	pid = child_start(close_all_and_wait, (void *)go);
	ld_http_free(world->http);
	world->http = NULL;
	assert_true(CHILD_POLL(counts(world)->open == 0));
	*go = 1;
	assert_int_equal(child_end(pid), 0);
	(void)munmap((void *)go, sizeof(*go));
}

/* ---- a server that comes and goes ---- */

static void test_restart_costs_no_failed_call(void **state)
{
	static const enum ld_http_method methods[] = { LD_HTTP_GET, LD_HTTP_PUT, LD_HTTP_POST, LD_HTTP_DELETE, LD_HTTP_HEAD };
	struct world *world = *state;
	struct caller callers[4];
	char *body = calloc(1, 300000);

	world_rule(world, (struct fault_answer){ .echo = 1 });
	start_callers(world, callers, 4, 20, 20000);
	join_callers(callers, 4);
	for (int round = 0; round < 20; round++) {
		fault_server_stop(world->server);
		assert_int_equal(fault_server_again(world->server), 0);
		for (size_t i = 0; i < 5; i++) {
			enum ld_http_method method = methods[(i + (size_t)round) % 5];
			int with_body = method == LD_HTTP_PUT || method == LD_HTTP_POST;
			struct ld_http_answer *answer = world_ask(world, (struct ld_http_request){ .method = method, .path = "/r",
				.body = with_body ? body : NULL, .body_len = with_body ? (size_t)round * 4000 : 0 });

			assert_string_equal(ld_http_outcome_name(answer->outcome), "ok");
			assert_int_equal(answer->status, 200);
		}
	}
	free(body);
}

/* A server that closes after each answer without having said so: the next call finds the connection dead, or on its way there. */
static void test_expired_keep_alive_costs_no_failed_call(void **state)
{
	static const size_t sizes[] = { 0, 100, 20000, 300000 };
	struct world *world = *state;
	char *body = calloc(1, 300000);

	world_rule(world, (struct fault_answer){ .fault = FAULT_CLOSE_AFTER, .body = "b" });
	for (int i = 0; i < 200; i++)
		expect_body(world_get(world, "/e"), "b");
	for (int i = 0; i < 200; i++)
		expect_body(world_ask(world, (struct ld_http_request){ .method = i % 2 ? LD_HTTP_POST : LD_HTTP_PUT, .path = "/e", .body = body,
			.body_len = sizes[i / 2 % 4] }), "b");
	assert_true(counts(world)->requests >= 400);
	free(body);
}

/* Bytes that nobody asked for must not be the next call's answer. */
static void test_unasked_answer_is_nobodys(void **state)
{
	struct world *world = *state;

	for (int i = 0; i < 5; i++) {
		uint64_t late = counts(world)->late;

		fault_server_clear(world->server);
		fault_server_rule(world->server, "/", &(struct fault_answer){ .fault = FAULT_LATE, .echo = 1 }, 1);
		fault_server_rule(world->server, "/", &(struct fault_answer){ .echo = 1 }, 0);
		fault_server_shut(world->server);
		expect_body(world_get(world, "/first"), "GET /first ");
		fault_server_open(world->server);
		assert_true(CHILD_POLL(counts(world)->late == late + 1));
		expect_body(world_get(world, "/second"), "GET /second ");
		assert_int_equal(world->answer.reused, 0);
	}
}

static void test_body_longer_than_its_length(void **state)
{
	struct world *world = *state;

	fault_server_rule(world->server, "/less", &(struct fault_answer){ .fault = FAULT_LENGTH_LESS,
	    .body = "four HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL" }, 0);
	fault_server_rule(world->server, "/", &(struct fault_answer){ .echo = 1 }, 0);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(world_get(world, "/less")->outcome, LD_HTTP_OK);
		expect_body(world_get(world, "/next"), "GET /next ");
	}
}

/* ---- what stays behind ---- */

static unsigned count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static void test_descriptors_do_not_grow(void **state)
{
	struct world *world = *state;
	unsigned before;

	fault_server_rule(world->server, "/close", &(struct fault_answer){ .fault = FAULT_CLOSE_AFTER, .body = "b" }, 0);
	fault_server_rule(world->server, "/reset", &(struct fault_answer){ .fault = FAULT_RESET }, 0);
	fault_server_rule(world->server, "/", &(struct fault_answer){ .body = "b" }, 0);
	world_get(world, "/k");
	before = count_descriptors();
	for (int i = 0; i < 10000; i++) {
		const char *path = i % 100 == 0 ? "/close" : i % 100 == 50 ? "/reset" : "/k";

		if (world_get(world, path)->outcome != LD_HTTP_OK)
			assert_int_equal(i % 100, 50);
	}
	assert_in_range(count_descriptors(), before - 1, before);
	world_again(world);
	for (int i = 0; i < 50; i++)
		world_again(world);
	assert_in_range(count_descriptors(), 0, before);
}

/* Programs that the host starts get none of the connections. */
static void test_connections_are_close_on_exec(void **state)
{
	struct world *world = *state;
	int found = 0;

	world_rule(world, (struct fault_answer){ .body = "b" });
	world_get(world, "/k");
	for (int fd = 3; fd < 256; fd++) {
		struct sockaddr_in peer = { .sin_family = AF_UNSPEC };
		socklen_t len = sizeof(peer);

		if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0 || ntohs(peer.sin_port) != fault_server_port(world->server))
			continue;
		found++;
		assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	}
	assert_int_equal(found, 1);
}

#ifdef LARDER_FAULTS

/* Every allocation fails in turn, those of libcurl too: memory is out, or the answer is right, or there is none; never a wrong one. */
static void test_allocations_fail(void **state)
{
	struct world *world = *state;
	struct ld_fault_plan *plan = child_share(sizeof(*plan));
	int64_t n, failed = 0;

	assert_non_null(plan);
	ld_fault_use(plan);
	world_rule(world, (struct fault_answer){ .echo = 1, .headers = "Content-Encoding: identity\r\n" });
	for (n = 1; n < 20000; n++) {
		struct ld_http_request request = { .path = "/m", .limit_ms = LIMIT_MS };
		struct ld_http_answer answer = { .outcome = LD_HTTP_TIMEOUT };
		struct ld_http *http = NULL;
		int rc, left;

		plan->alloc_countdown = n;
		rc = ld_http_new(&world->config, &http);
		if (rc == 0)
			rc = ld_http_perform(http, &request, &answer);
		left = plan->alloc_countdown > 0;
		plan->alloc_countdown = 0;
		assert_true(rc == 0 || rc == LARDER_E_NOMEM);
		if (rc == 0 && answer.outcome == LD_HTTP_OK)
			expect_body(&answer, "GET /m ");
		/* The server has no part in it. */
		assert_false(rc == 0 && answer.outcome == LD_HTTP_BAD_ANSWER && answer.sent);
		if (left)
			assert_int_equal(rc == 0 ? answer.outcome : LD_HTTP_OUTCOMES, LD_HTTP_OK);
		ld_http_answer_free(&answer);
		ld_http_free(http);
		if (left)
			break;
		failed++;
	}
	ld_fault_use(NULL);
	(void)munmap(plan, sizeof(*plan));
	print_message("# %lld allocations\n", (long long)failed);
	assert_true(failed > 20 && failed < 19999);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_WORLD(test_connection_is_used_again),
		WITH_WORLD(test_idle_connection_is_closed),
		WITH_WORLD(test_old_connection_is_closed),
		WITH_WORLD(test_threads_share_the_pool),
		WITH_WORLD(test_busy_pool),
		WITH_WORLD(test_fork_with_a_used_pool),
		WITH_WORLD(test_fork_with_a_used_pool_over_tls),
		WITH_WORLD(test_fork_within_a_call),
		WITH_WORLD(test_closing_in_the_parent_ends_the_connection),
		WITH_WORLD(test_restart_costs_no_failed_call),
		WITH_WORLD(test_expired_keep_alive_costs_no_failed_call),
		WITH_WORLD(test_unasked_answer_is_nobodys),
		WITH_WORLD(test_body_longer_than_its_length),
		WITH_WORLD(test_descriptors_do_not_grow),
		WITH_WORLD(test_connections_are_close_on_exec),
#ifdef LARDER_FAULTS
		WITH_WORLD(test_allocations_fail),
#endif
	};

	return cmocka_run_group_tests_name("http_pool", tests, NULL, NULL);
}
