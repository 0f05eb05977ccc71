/* SPDX-License-Identifier: MIT */
/*
 * One HTTP call: what goes out, what comes back, and the outcome of everything that a server can do wrong, each inside its limit of time and size.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "http.h"

/* ---- what goes out ---- */

static void test_request_arrives_as_asked(void **state)
{
	static const struct ld_http_header headers[] = { { "X-Tenant-Id", "acme" }, { "Content-Type", "application/json" }, { "X-Odd", "a: b;c=\"d\"" } };
	static const struct { enum ld_http_method method; const char *name, *body; } rows[] = {
		{ LD_HTTP_PUT, "PUT", "{\"a\":1}" }, { LD_HTTP_GET, "GET", NULL }, { LD_HTTP_POST, "POST", "p" }, { LD_HTTP_HEAD, "HEAD", NULL },
		{ LD_HTTP_PUT, "PUT", "" }, { LD_HTTP_DELETE, "DELETE", NULL }, { LD_HTTP_GET, "GET", NULL } };
	struct world *world = *state;
	char value[128];

	world_rule(world, (struct fault_answer){ .status = 200 });
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ld_http_answer *answer = world_ask(world, (struct ld_http_request){ .method = rows[i].method, .path = "/a/b-c_d.e~",
			.headers = headers, .headers_count = 3, .body = rows[i].body, .body_len = rows[i].body ? strlen(rows[i].body) : 0 });
		const struct fault_request *seen = fault_server_seen(world->server, 0);

		expect_body(answer, "");
		assert_string_equal(seen->method, rows[i].name);
		assert_string_equal(seen->path, "/a/b-c_d.e~");
		assert_int_equal(seen->body_len, rows[i].body ? strlen(rows[i].body) : 0);
		assert_memory_equal(seen->body, rows[i].body ? rows[i].body : "", seen->body_len);
		assert_true(fault_request_header(seen, "X-Tenant-Id", value, sizeof(value)));
		assert_string_equal(value, "acme");
		assert_true(fault_request_header(seen, "X-Odd", value, sizeof(value)));
		assert_string_equal(value, "a: b;c=\"d\"");
		assert_true(fault_request_header(seen, "User-Agent", value, sizeof(value)));
		assert_memory_equal(value, "larder/", 7);
		assert_true(fault_request_header(seen, "Accept-Encoding", value, sizeof(value)));
		assert_string_equal(value, "gzip, deflate");
		assert_false(fault_request_header(seen, "Authorization", value, sizeof(value)));
		assert_false(fault_request_header(seen, "Expect", value, sizeof(value)));
		assert_int_equal(answer->sent, 1);
		assert_int_equal(answer->reused, i > 0);
		assert_in_range(answer->took_us, 1, LIMIT_MS * 1000);
	}
	assert_int_equal(counts(world)->requests, sizeof(rows) / sizeof(rows[0]));
	assert_int_equal(counts(world)->connections, 1);
}

/* What was asked for once must not cling to the next call on the same connection. */
static void test_nothing_clings_to_a_connection(void **state)
{
	static const struct ld_http_header secret = { "X-Secret", "s" };
	struct world *world = *state;
	char value[64];

	world_rule(world, (struct fault_answer){ .body = "b" });
	world_ask(world, (struct ld_http_request){ .method = LD_HTTP_PUT, .headers = &secret, .headers_count = 1, .body = "first", .body_len = 5 });
	expect_body(world_get(world, "/x"), "b");
	assert_string_equal(fault_server_seen(world->server, 0)->method, "GET");
	assert_int_equal(fault_server_seen(world->server, 0)->body_len, 0);
	assert_false(fault_request_header(fault_server_seen(world->server, 0), "X-Secret", value, sizeof(value)));
	assert_false(fault_request_header(fault_server_seen(world->server, 0), "Content-Type", value, sizeof(value)));
	world_ask(world, (struct ld_http_request){ .method = LD_HTTP_HEAD });
	expect_body(world_get(world, "/x"), "b");
	assert_int_equal(counts(world)->connections, 1);
}

static void test_large_bodies_both_ways(void **state)
{
	static const size_t sizes[] = { 0, 1, 16383, 16384, 65535, 65536, 99000 };
	struct world *world = *state;
	char *body = malloc(3000000);

	for (size_t i = 0; i < 3000000; i++)
		body[i] = (char)('a' + i % 23);
	world_rule(world, (struct fault_answer){ .echo = 1 });
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct ld_http_answer *answer = world_ask(world, (struct ld_http_request){ .method = i % 2 ? LD_HTTP_PUT : LD_HTTP_POST, .path = "/b",
			.body = body, .body_len = sizes[i] });
		size_t skip = i % 2 ? 7 : 8;

		assert_int_equal(answer->outcome, LD_HTTP_OK);
		assert_int_equal(answer->body_len, sizes[i] + skip);
		assert_memory_equal(answer->body + skip, body, sizes[i]);
	}
	world_rule(world, (struct fault_answer){ .body = "stored" });
	expect_body(world_ask(world, (struct ld_http_request){ .method = LD_HTTP_PUT, .body = body, .body_len = 3000000 }), "stored");
	assert_int_equal(fault_server_seen(world->server, 0)->body_len, 3000000);
	free(body);
}

static int perform(struct world *world, struct ld_http_request request)
{
	int rc;

	if (request.path == NULL)
		request.path = "/k";
	if (request.limit_ms == 0)
		request.limit_ms = LIMIT_MS;
	memset(&world->answer, 0xff, sizeof(world->answer));
	rc = ld_http_perform(world->http, &request, &world->answer);
	assert_null(world->answer.body);
	return rc;
}

/* A line end in a header would be another header, or another request. */
static void test_injection_is_refused(void **state)
{
	static const char *const bad_values[] = { "a\r\nX-Admin: 1", "a\nb", "a\rb", "a\tb", "\x01", "a\x7f", "a\x1b[0m", "", " a", "a ", NULL };
	static const char *const bad_names[] = { "X Y", "X:", "X\r\nY", "", NULL, "X\n", "X\x80", "X(" };
	static const char *const bad_paths[] = { "", "k", "/a b", "/a\r\n", "/a?b", "/a#b", "/a/../b", "/..", "/./a", "/a%2e", "/\x80", "/a@b", "/a\\b" };
	struct world *world = *state;
	char long_path[LD_HTTP_PATH_MAX + 2];

	world_rule(world, (struct fault_answer){ .status = 200 });
	for (size_t i = 0; i < sizeof(bad_values) / sizeof(bad_values[0]); i++) {
		struct ld_http_header header = { "X-Value", bad_values[i] };

		assert_int_equal(perform(world, (struct ld_http_request){ .headers = &header, .headers_count = 1 }), LARDER_E_USAGE);
	}
	for (size_t i = 0; i < sizeof(bad_names) / sizeof(bad_names[0]); i++) {
		struct ld_http_header header = { bad_names[i], "v" };

		assert_int_equal(perform(world, (struct ld_http_request){ .headers = &header, .headers_count = 1 }), LARDER_E_USAGE);
	}
	for (size_t i = 0; i < sizeof(bad_paths) / sizeof(bad_paths[0]); i++)
		assert_int_equal(perform(world, (struct ld_http_request){ .path = bad_paths[i] }), LARDER_E_USAGE);
	memset(long_path, '/', sizeof(long_path));
	long_path[LD_HTTP_PATH_MAX + 1] = '\0';
	assert_int_equal(perform(world, (struct ld_http_request){ .path = long_path }), LARDER_E_USAGE);
	assert_int_equal(counts(world)->connections, 0);
	long_path[LD_HTTP_PATH_MAX] = '\0';
	assert_int_equal(world_get(world, long_path)->status, 200);
}

static void test_bounds_of_a_request(void **state)
{
	struct ld_http_header headers[LD_HTTP_HEADERS_MAX + 1];
	struct world *world = *state;
	char value[LD_HTTP_HEADERS_MAX_B];

	world_rule(world, (struct fault_answer){ .status = 200 });
	for (int i = 0; i <= LD_HTTP_HEADERS_MAX; i++)
		headers[i] = (struct ld_http_header){ "X", "v" };
	assert_int_equal(perform(world, (struct ld_http_request){ .headers = headers, .headers_count = LD_HTTP_HEADERS_MAX + 1 }), LARDER_E_USAGE);
	assert_int_equal(perform(world, (struct ld_http_request){ .headers = headers, .headers_count = LD_HTTP_HEADERS_MAX }), 0);
	memset(value, 'v', sizeof(value));
	value[LD_HTTP_HEADERS_MAX_B - 4] = '\0';
	headers[0].value = value;
	assert_int_equal(perform(world, (struct ld_http_request){ .headers = headers, .headers_count = 1 }), LARDER_E_USAGE);
	value[LD_HTTP_HEADERS_MAX_B - 5] = '\0';
	assert_int_equal(perform(world, (struct ld_http_request){ .headers = headers, .headers_count = 1 }), 0);
	assert_int_equal(perform(world, (struct ld_http_request){ .limit_ms = -1 }), LARDER_E_USAGE);
	assert_int_equal(perform(world, (struct ld_http_request){ .body = "b", .body_len = 1 }), LARDER_E_USAGE);
	assert_int_equal(perform(world, (struct ld_http_request){ .method = LD_HTTP_PUT, .body_len = 1 }), LARDER_E_USAGE);
	assert_int_equal(perform(world, (struct ld_http_request){ .method = (enum ld_http_method)9 }), LARDER_E_USAGE);
	assert_int_equal(counts(world)->requests, 2);
}

/* ---- faults ---- */

/* Each ends in its outcome, and in time; the call after it is as if nothing had been. */
static void test_faults_have_outcomes(void **state)
{
	static const struct { enum fault_kind fault; enum ld_http_outcome outcome; int status; int64_t limit_ms, at_least_ms; } rows[] = {
		{ FAULT_SILENT, LD_HTTP_TIMEOUT, 0, 150, 140 },
		{ FAULT_CLOSE, LD_HTTP_RESET, 0, 5000, 0 },
		{ FAULT_RESET, LD_HTTP_RESET, 0, 5000, 0 },
		{ FAULT_RESET_MID, LD_HTTP_RESET, 200, 5000, 0 },
		{ FAULT_HALF, LD_HTTP_BAD_BODY, 200, 5000, 0 },
		{ FAULT_STALL, LD_HTTP_TIMEOUT, 200, 150, 140 },
		{ FAULT_BYTES, LD_HTTP_TIMEOUT, 0, 150, 140 },
		{ FAULT_LENGTH_LESS, LD_HTTP_OK, 200, 5000, 0 },
		{ FAULT_LENGTH_MORE, LD_HTTP_BAD_BODY, 200, 5000, 0 },
		{ FAULT_CHUNKED, LD_HTTP_OK, 200, 5000, 0 },
		{ FAULT_CHUNKED_HALF, LD_HTTP_BAD_BODY, 200, 5000, 0 },
		{ FAULT_CHUNKED_BAD, LD_HTTP_BAD_BODY, 200, 5000, 0 },
		{ FAULT_ENDLESS, LD_HTTP_BAD_BODY, 200, 5000, 0 },
		{ FAULT_HEADERS, LD_HTTP_BAD_ANSWER, 200, 5000, 0 },
		{ FAULT_LINE, LD_HTTP_BAD_ANSWER, 200, 5000, 0 },
		{ FAULT_STATUS_LINE, LD_HTTP_BAD_ANSWER, 0, 5000, 0 },
		{ FAULT_NOT_HTTP, LD_HTTP_BAD_ANSWER, 0, 5000, 0 },
		{ FAULT_DELIMITED, LD_HTTP_BAD_BODY, 200, 5000, 0 },
		{ FAULT_GZIP, LD_HTTP_OK, 200, 5000, 0 },
		{ FAULT_GZIP_BAD, LD_HTTP_BAD_BODY, 200, 5000, 0 },
		{ FAULT_CLOSE_AFTER, LD_HTTP_OK, 200, 5000, 0 },
	};
	struct world *world = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t from_ms = child_now_ms();
		struct ld_http_answer *answer;

		world_rule(world, (struct fault_answer){ .fault = rows[i].fault, .body = "some bytes of a body", .pause_ms = 25 });
		answer = world_ask(world, (struct ld_http_request){ .limit_ms = rows[i].limit_ms });
		if (answer->outcome != rows[i].outcome)
			print_message("# fault %d\n", (int)rows[i].fault);
		assert_string_equal(ld_http_outcome_name(answer->outcome), ld_http_outcome_name(rows[i].outcome));
		assert_int_equal(answer->status, rows[i].status);
		assert_int_equal(answer->sent, 1);
		assert_in_range(child_now_ms() - from_ms, rows[i].at_least_ms, rows[i].limit_ms + 4000);
		assert_in_range(answer->took_us, rows[i].at_least_ms * 1000, 10000000);
		if (answer->outcome != LD_HTTP_OK)
			assert_null(answer->body);
		world_rule(world, (struct fault_answer){ .echo = 1 });
		expect_body(world_get(world, "/next"), "GET /next ");
	}
}

enum { UNREAD_B = 65536, KILLED_MS = 1000 };

/* One that does not read: in its backlog, with little room for what it has not read. */
static int listen_and_sleep(struct world *world, char *url, size_t room)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), little = 2048;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	(void)snprintf(url, room, "http://127.0.0.1:%d", ntohs(at.sin_port));
	world->config.url = url;
	world_again(world);
	return fd;
}

/* All that comes on the next connection. Returns how it ended: 0, or an error. */
static int read_all(int listener, size_t *ret_len)
{
	int fd = accept(listener, NULL, NULL), rc;
	char some[4096];
	ssize_t got;

	assert_true(fd >= 0);
	*ret_len = 0;
	while ((got = recv(fd, some, sizeof(some), 0)) > 0)
		*ret_len += (size_t)got;
	rc = got == 0 ? 0 : errno;
	(void)close(fd);
	return rc;
}

/* Whoever reads after that finds the rest of a write gone, with its end: nobody carries it out later. A read does no harm. */
static void test_nothing_is_sent_of_a_write_that_was_given_up(void **state)
{
	static const enum ld_http_method methods[] = { LD_HTTP_PUT, LD_HTTP_POST, LD_HTTP_DELETE };
	static char body[UNREAD_B];
	struct world *world = *state;
	struct ld_http_answer *answer;
	char url[64];
	int listener = listen_and_sleep(world, url, sizeof(url));
	size_t len;

	memset(body, 'b', sizeof(body));
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		int has_body = methods[i] != LD_HTTP_DELETE;

		answer = world_ask(world, (struct ld_http_request){ .method = methods[i], .body = has_body ? body : NULL, .body_len = has_body ? UNREAD_B : 0,
			.limit_ms = 200 });
		assert_string_equal(ld_http_outcome_name(answer->outcome), "timeout");
		assert_int_equal(answer->sent, 1);
		assert_int_equal(read_all(listener, &len), ECONNRESET);
		assert_true(len < UNREAD_B);
	}
	answer = world_ask(world, (struct ld_http_request){ .limit_ms = 200 });
	assert_string_equal(ld_http_outcome_name(answer->outcome), "timeout");
	assert_int_equal(read_all(listener, &len), 0);
	(void)close(listener);
}

/* A process that is killed leaves the rest of its write to the kernel, which gives it up at the write's limit. */
static void test_nothing_is_sent_of_a_write_whose_process_was_killed(void **state)
{
	static char body[UNREAD_B];
	struct world *world = *state;
	char url[64];
	int listener = listen_and_sleep(world, url, sizeof(url)), status;
	struct pollfd ready = { .fd = listener, .events = POLLIN };
	int64_t from_ms = child_now_ms();
	size_t len;
	pid_t pid;

	memset(body, 'b', sizeof(body));
	pid = fork();
	if (pid == 0) {
		struct ld_http_answer answer;
		struct ld_http *http;

		if (ld_http_new(&world->config, &http) == 0)
			(void)ld_http_perform(http, &(struct ld_http_request){ .method = LD_HTTP_PUT, .path = "/k", .body = body, .body_len = UNREAD_B,
				.limit_ms = KILLED_MS }, &answer);
		_exit(1);
	}
	assert_int_equal(poll(&ready, 1, LIMIT_MS), 1);
	(void)poll(NULL, 0, KILLED_MS / 4);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* Nobody has read, so the kernel has asked for room all the while. */
	while (child_now_ms() - from_ms < 4 * KILLED_MS)
		(void)poll(NULL, 0, 50);
	assert_int_not_equal(read_all(listener, &len), 0);
	assert_true(len < UNREAD_B);
	(void)close(listener);
}

static void test_nobody_listens(void **state)
{
	struct world *world = *state;
	struct ld_http_answer *answer;

	fault_server_stop(world->server);
	answer = world_get(world, "/k");
	assert_string_equal(ld_http_outcome_name(answer->outcome), "refused");
	assert_int_equal(answer->sent, 0);
	assert_int_equal(answer->reused, 0);
	assert_int_equal(answer->status, 0);
	assert_int_equal(answer->age_s, -1);
	assert_int_equal(stats(world).opened, 0);
	/* A name that cannot be (RFC 6761). */
	world->config.url = "http://nobody.invalid/";
	world_again(world);
	answer = world_ask(world, (struct ld_http_request){ .limit_ms = 3000 });
	assert_true(answer->outcome == LD_HTTP_REFUSED || answer->outcome == LD_HTTP_TIMEOUT);
	assert_int_equal(answer->sent, 0);
	assert_in_range(answer->took_us, 0, 8000000);
}

/* A host that takes no connection at all: its queue is full, and nobody accepts. */
static void test_connecting_has_its_own_limit(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM, 0), fillers[4];
	socklen_t len = sizeof(address);
	struct world *world = *state;
	char url[64];

	assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	for (int i = 0; i < 4; i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fillers[i], (struct sockaddr *)&address, len);
	}
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", ntohs(address.sin_port));
	world->config.url = url;
	world->config.connect_ms = 100;
	world_again(world);
	world_ask(world, (struct ld_http_request){ .limit_ms = LIMIT_MS });
	assert_string_equal(ld_http_outcome_name(world->answer.outcome), "timeout");
	assert_int_equal(world->answer.sent, 0);
	assert_in_range(world->answer.took_us, 95000, 9000000);
	/* The limit of the call is the shorter one here. */
	world->config.connect_ms = 60000;
	world_again(world);
	world_ask(world, (struct ld_http_request){ .limit_ms = 50 });
	assert_string_equal(ld_http_outcome_name(world->answer.outcome), "timeout");
	assert_in_range(world->answer.took_us, 48000, 9000000);
	for (int i = 0; i < 4; i++)
		(void)close(fillers[i]);
	(void)close(listener);
}

static void test_statuses(void **state)
{
	static const struct { int status; enum ld_http_outcome outcome; } rows[] = { { 200, LD_HTTP_OK }, { 201, LD_HTTP_OK }, { 204, LD_HTTP_OK },
		{ 304, LD_HTTP_OK }, { 400, LD_HTTP_OK }, { 404, LD_HTTP_OK }, { 429, LD_HTTP_OK }, { 500, LD_HTTP_OK }, { 503, LD_HTTP_OK },
		{ 599, LD_HTTP_OK }, { 300, LD_HTTP_BAD_ANSWER }, { 301, LD_HTTP_BAD_ANSWER }, { 302, LD_HTTP_BAD_ANSWER }, { 307, LD_HTTP_BAD_ANSWER },
		{ 308, LD_HTTP_BAD_ANSWER }, { 600, LD_HTTP_BAD_ANSWER }, { 999, LD_HTTP_BAD_ANSWER } };
	struct world *world = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ld_http_answer *answer;

		world_rule(world, (struct fault_answer){ .status = rows[i].status, .body = rows[i].status == 204 || rows[i].status == 304 ? NULL : "why" });
		answer = world_get(world, "/k");
		assert_string_equal(ld_http_outcome_name(answer->outcome), ld_http_outcome_name(rows[i].outcome));
		assert_int_equal(answer->status, rows[i].status);
		if (rows[i].status >= 400 && rows[i].status <= 599)
			expect_body(answer, "why");
	}
}

static void test_redirect_is_not_followed(void **state)
{
	struct world *world = *state;
	struct fault_server *inside = fault_server_start(NULL);
	char location[256];

	assert_non_null(inside);
	(void)snprintf(location, sizeof(location), "Location: %s/secret\r\n", fault_server_url(inside));
	world_rule(world, (struct fault_answer){ .status = 302, .headers = location, .body = "there" });
	assert_int_equal(world_get(world, "/k")->outcome, LD_HTTP_BAD_ANSWER);
	assert_null(world->answer.body);
	assert_int_equal(counts(world)->requests, 1);
	assert_int_equal(fault_server_counts(inside)->connections, 0);
	fault_server_free(inside);
}

static void test_no_proxy_from_the_environment(void **state)
{
	static const char *const names[] = { "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY" };
	struct world *world = *state;
	struct fault_server *proxy = fault_server_start(NULL);

	assert_non_null(proxy);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(setenv(names[i], fault_server_url(proxy), 1), 0);
	world_again(world);
	world_rule(world, (struct fault_answer){ .body = "straight" });
	expect_body(world_get(world, "/k"), "straight");
	assert_int_equal(fault_server_counts(proxy)->connections, 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(unsetenv(names[i]), 0);
	fault_server_free(proxy);
}

/* The cap is met by the byte, however the body comes. */
static void test_cap_of_the_body(void **state)
{
	static const enum fault_kind kinds[] = { FAULT_NONE, FAULT_CHUNKED, FAULT_GZIP };
	struct world *world = *state;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct ld_http_answer *answer;

		world_rule(world, (struct fault_answer){ .fault = kinds[i], .fill = BODY_MAX });
		answer = world_get(world, "/k");
		assert_string_equal(ld_http_outcome_name(answer->outcome), "ok");
		assert_int_equal(answer->body_len, BODY_MAX);
		assert_int_equal(answer->body[BODY_MAX - 1], 'x');
		world_rule(world, (struct fault_answer){ .fault = kinds[i], .fill = BODY_MAX + 1 });
		assert_string_equal(ld_http_outcome_name(world_get(world, "/k")->outcome), "bad_body");
		world_rule(world, (struct fault_answer){ .fault = kinds[i], .fill = 11 });
		assert_string_equal(ld_http_outcome_name(world_ask(world, (struct ld_http_request){ .body_max = 10 })->outcome), "bad_body");
		assert_int_equal(world_ask(world, (struct ld_http_request){ .body_max = 11 })->body_len, 11);
	}
	/* A request cannot raise it; nor does an error have another one. */
	world_rule(world, (struct fault_answer){ .status = 500, .fill = BODY_MAX + 1 });
	assert_string_equal(ld_http_outcome_name(world_ask(world, (struct ld_http_request){ .body_max = 2 * BODY_MAX })->outcome), "bad_body");
	/* A HEAD tells of a body that does not come. */
	assert_int_equal(world_ask(world, (struct ld_http_request){ .method = LD_HTTP_HEAD })->status, 500);
	assert_int_equal(world->answer.outcome, LD_HTTP_OK);
	/* 60 MB in 60 KB. */
	world_rule(world, (struct fault_answer){ .fault = FAULT_GZIP, .fill = 60000000 });
	assert_string_equal(ld_http_outcome_name(world_ask(world, (struct ld_http_request){ .limit_ms = 60000 })->outcome), "bad_body");
}

/* ---- SIGPIPE ---- */

struct caller {
	struct world *world;
	pthread_t thread;
	enum ld_http_outcome outcome;
};

static void *call_held(void *arg)
{
	struct caller *caller = arg;
	struct ld_http_request request = { .path = "/held", .limit_ms = LIMIT_MS };
	struct ld_http_answer answer;

	caller->outcome = ld_http_perform(caller->world->http, &request, &answer) == 0 ? answer.outcome : LD_HTTP_OUTCOMES;
	ld_http_answer_free(&answer);
	return NULL;
}

/* With its default action it would end this program. Over TLS, where the sending is not libcurl's own. */
static void test_sigpipe_within_a_call_is_kept_from_the_host(void **state)
{
	struct caller caller = { .world = *state };
	struct fault_options options = { .cert_file = world_path(*state, "cert"), .key_file = world_path(*state, "key") };

	assert_int_equal(fault_certificate(options.cert_file, options.key_file, "IP:127.0.0.1", 3600), 0);
	caller.world->config.ca_file = options.cert_file;
	world_serve(caller.world, &options);
	assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
	world_rule(*state, (struct fault_answer){ .echo = 1, .hold = 1 });
	fault_server_shut(caller.world->server);
	assert_int_equal(pthread_create(&caller.thread, NULL, call_held, &caller), 0);
	assert_true(CHILD_POLL(counts(*state)->holding == 1));
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_kill(caller.thread, SIGPIPE), 0);
	fault_server_open(caller.world->server);
	assert_int_equal(pthread_join(caller.thread, NULL), 0);
	assert_string_equal(ld_http_outcome_name(caller.outcome), "ok");
}

static void test_sigpipe_of_the_host_is_left_to_it(void **state)
{
	struct world *world = *state;
	sigset_t set, before, after, pending;

	world_rule(world, (struct fault_answer){ .body = "b" });
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGPIPE);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
	expect_body(world_get(world, "/k"), "b");
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, &after), 0);
	for (int signal = 1; signal < 32; signal++)
		assert_int_equal(sigismember(&before, signal), sigismember(&after, signal));
	assert_int_equal(raise(SIGPIPE), 0);
	expect_body(world_get(world, "/k"), "b");
	assert_int_equal(sigpending(&pending), 0);
	assert_int_equal(sigismember(&pending, SIGPIPE), 1);
	assert_int_equal(sigtimedwait(&set, NULL, &(struct timespec){ 0, 0 }), SIGPIPE);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

/* Writes into connections that the other side has torn down. */
static void test_writing_to_a_dead_connection(void **state)
{
	struct world *world = *state;
	char *body = calloc(1, 4000000);

	assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
	world_rule(world, (struct fault_answer){ .body = "b" });
	for (int i = 0; i < 5; i++) {
		expect_body(world_ask(world, (struct ld_http_request){ .method = LD_HTTP_PUT, .body = body, .body_len = 4000000 }), "b");
		fault_server_stop(world->server);
		world_ask(world, (struct ld_http_request){ .method = LD_HTTP_PUT, .body = body, .body_len = 4000000 });
		assert_true(world->answer.outcome == LD_HTTP_REFUSED || world->answer.outcome == LD_HTTP_RESET);
		assert_int_equal(fault_server_again(world->server), 0);
	}
	free(body);
}

/* ---- other transports ---- */

static void test_unix_socket(void **state)
{
	struct world *world = *state;
	struct fault_options options = { .socket = world_path(world, "l2.sock") };
	char url[256];

	world_serve(world, &options);
	world_rule(world, (struct fault_answer){ .echo = 1 });
	expect_body(world_get(world, "/k"), "GET /k ");
	(void)snprintf(url, sizeof(url), "%s:/pre/fix/", fault_server_url(world->server));
	world->config.url = url;
	/* No host, so none that could be forbidden. */
	world->config.allow_hosts = "l2.example";
	world_again(world);
	expect_body(world_get(world, "/k"), "GET /pre/fix/k ");
	expect_body(world_get(world, "/k"), "GET /pre/fix/k ");
	assert_int_equal(counts(world)->connections, 2);
	fault_server_stop(world->server);
	assert_string_equal(ld_http_outcome_name(world_get(world, "/k")->outcome), "refused");
	assert_int_equal(fault_server_again(world->server), 0);
	expect_body(world_get(world, "/k"), "GET /pre/fix/k ");
}

static void test_prefix_and_localhost(void **state)
{
	struct world *world = *state;
	char url[256];

	world_rule(world, (struct fault_answer){ .echo = 1 });
	(void)snprintf(url, sizeof(url), "HTTP://LocalHost:%d/v1/cache//", fault_server_port(world->server));
	world->config.url = url;
	world->config.allow_hosts = "l2.example, localhost";
	world_again(world);
	expect_body(world_get(world, "/k"), "GET /v1/cache/k ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_WORLD(test_request_arrives_as_asked),
		WITH_WORLD(test_nothing_clings_to_a_connection),
		WITH_WORLD(test_large_bodies_both_ways),
		WITH_WORLD(test_injection_is_refused),
		WITH_WORLD(test_bounds_of_a_request),
		WITH_WORLD(test_faults_have_outcomes),
		WITH_WORLD(test_nothing_is_sent_of_a_write_that_was_given_up),
		WITH_WORLD(test_nothing_is_sent_of_a_write_whose_process_was_killed),
		WITH_WORLD(test_nobody_listens),
		WITH_WORLD(test_connecting_has_its_own_limit),
		WITH_WORLD(test_statuses),
		WITH_WORLD(test_redirect_is_not_followed),
		WITH_WORLD(test_no_proxy_from_the_environment),
		WITH_WORLD(test_cap_of_the_body),
		WITH_WORLD(test_sigpipe_within_a_call_is_kept_from_the_host),
		WITH_WORLD(test_sigpipe_of_the_host_is_left_to_it),
		WITH_WORLD(test_writing_to_a_dead_connection),
		WITH_WORLD(test_unix_socket),
		WITH_WORLD(test_prefix_and_localhost),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
