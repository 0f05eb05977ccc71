/* SPDX-License-Identifier: MIT */
/*
 * Settings of the HTTP layer: which are refused and with what words, hosts that are allowed, TLS that is verified whatever happens, and a token that is
 * renewed in its file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/log.h"
#include "http.h"

/* ---- problems ---- */

static void expect_problem(const struct ld_http_config *config, const char *text)
{
	struct ld_problems problems = { 0 };
	struct ld_http *http = NULL;
	int rc = ld_http_config_check(config, &problems);

	if (text == NULL) {
		if (rc != 0)
			print_message("# %s\n", problems.text);
		assert_int_equal(rc, 0);
		assert_int_equal(problems.count, 0);
		assert_int_equal(ld_http_new(config, &http), 0);
		ld_http_free(http);
	} else {
		assert_int_equal(rc, LARDER_E_SETTINGS);
		if (problems.text == NULL || strstr(problems.text, text) == NULL)
			print_message("# %s: not in: %s\n", text, problems.text ? problems.text : "");
		assert_non_null(problems.text);
		assert_non_null(strstr(problems.text, text));
		assert_int_equal(ld_http_new(config, &http), LARDER_E_SETTINGS);
		assert_null(http);
	}
	ld_problems_free(&problems);
}

static void expect_url(const char *url, const char *allow_hosts, const char *text)
{
	struct ld_http_config config = world_config(url);

	config.allow_hosts = allow_hosts;
	expect_problem(&config, text);
}

static void test_addresses(void **state)
{
	static const struct { const char *url, *problem; } rows[] = {
		{ "http://l2.example", NULL }, { "http://l2.example/", NULL }, { "https://l2.example:8443/v1/cache", NULL }, { "HTTPS://L2.example", NULL },
		{ "http://[::1]:80/a", NULL }, { "http://127.0.0.1", NULL }, { "unix:/run/l2.sock", NULL }, { "unix:/run/l2.sock:/v1", NULL },
		{ "UNIX:/run/l2.sock:/", NULL },
		{ NULL, "LARDER_L2_URL: not given" }, { "", "LARDER_L2_URL: not given" }, { "l2.example", "must begin with" }, { "//l2.example", "must begin with" },
		{ "ftp://l2.example", "must begin with" }, { "file:///etc/passwd", "must begin with" }, { "gopher://l2.example", "must begin with" },
		{ "httpx://l2.example", "must begin with" }, { "http:/l2.example", "must begin with" }, { "http://", "cannot be read" },
		{ "http://user@l2.example", "user or password" }, { "http://user:sesame@l2.example", "user or password" },
		{ "http://l2.example@evil.example", "user or password" }, { "http://l2.example/a@b", "user or password" },
		{ "http://l2.example?x=1", "no query" }, { "http://l2.example#x", "no query" }, { "http://l2.example\\@evil", "user or password" },
		{ "http://l2.example\\evil", "backslash" }, { "http://l2.example/\r\nX: y", "control character" }, { "http://l2 example", "blank" },
		{ " http://l2.example", "blank" }, { "http://l2.example/\x80", "not ASCII" }, { "http://l2.example:99999", "cannot be read" },
		{ "http://l2.example:x", "cannot be read" }, { "http://l2.example/a/../b", "\"..\"" }, { "http://l2.example/;x", "the path may hold" },
		{ "unix:run/l2.sock", "absolute path" }, { "unix:", "absolute path" }, { "unix:/", "absolute path" }, { "unix:/run/l2.sock:/a b", "blank" },
		{ "unix:/run/l2.sock:/a?b", "the path may hold" },
	};
	char *longest = malloc(LD_HTTP_URL_MAX + 2);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect_url(rows[i].url, NULL, rows[i].problem);
	memset(longest, 'a', LD_HTTP_URL_MAX + 1);
	memcpy(longest, "http://l2.example/", 18);
	longest[LD_HTTP_URL_MAX + 1] = '\0';
	expect_url(longest, NULL, "longer than 1024 bytes");
	memcpy(longest, "unix:/aaaaaaaaaaaaa", 18);
	longest[5 + 108] = '\0';
	expect_url(longest, NULL, "at most 107 bytes");
	longest[5 + 107] = '\0';
	expect_url(longest, NULL, NULL);
	free(longest);
}

/* A password that was put into the address by mistake is in no problem. */
static void test_problem_does_not_tell_the_address(void **state)
{
	struct ld_http_config config = world_config("http://user:sesame@l2.example");
	struct ld_problems problems = { 0 };

	(void)state;
	assert_int_equal(ld_http_config_check(&config, &problems), LARDER_E_SETTINGS);
	assert_null(strstr(problems.text, "sesame"));
	ld_problems_free(&problems);
}

static void test_allowed_hosts(void **state)
{
	static const struct { const char *url, *list; int allowed; } rows[] = {
		{ "http://l2.example", "l2.example", 1 }, { "http://L2.Example:81/x", "other, l2.EXAMPLE", 1 }, { "http://l2.example.", "l2.example", 1 },
		{ "http://l2.example", ",,l2.example,", 1 }, { "http://a.l2.example", ".l2.example", 1 }, { "http://a.b.l2.example", "x,.l2.example", 1 },
		{ "http://l2.example", ".l2.example", 0 }, { "http://a.l2.example", "l2.example", 0 }, { "http://evil-l2.example", ".l2.example", 0 },
		{ "http://l2.example.evil", "l2.example", 0 }, { "http://l2.exampl", "l2.example", 0 }, { "http://l2.example", "l2", 0 },
		{ "http://127.0.0.1", "127.0.0.1", 1 }, { "http://2130706433", "127.0.0.1", 1 }, { "http://0x7f.1", "127.0.0.1", 1 },
		{ "http://2130706433", "10.0.0.1", 0 }, { "http://0177.0.0.1", "10.0.0.1", 0 }, { "http://[::1]", "[::1]", 1 }, { "http://[::1]", "::1", 1 },
		{ "http://[::2]", "::1", 0 }, { "http://l2.example", ",", 0 }, { "unix:/run/l2.sock", "l2.example", 1 }, { "http://l2.example", "", 1 },
		{ "http://169.254.169.254", "l2.example", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect_url(rows[i].url, rows[i].list, rows[i].allowed ? NULL : "its host is not in LARDER_L2_ALLOW_HOSTS");
	expect_url("http://l2.example", "l2.example\n", "LARDER_L2_ALLOW_HOSTS: hosts and");
	expect_url("http://l2.example", "http://l2.example", "LARDER_L2_ALLOW_HOSTS: hosts and");
}

static void test_numbers(void **state)
{
	struct ld_http_config good = world_config("http://l2.example"), config = good;

	(void)state;
#define BAD(field, value, text) \
	do { \
		config = good; \
		config.field = (value); \
		expect_problem(&config, text); \
	} while (0)
	BAD(connect_ms, 0, "LARDER_L2_CONNECT_MS: 0 is out of bounds, 1..");
	BAD(idle_ms, -1, "LARDER_L2_IDLE_MS: -1");
	BAD(max_age_ms, 0, "LARDER_L2_MAX_AGE_MS: 0");
	BAD(max_age_ms, INT64_C(86400001), "LARDER_L2_MAX_AGE_MS: 86400001");
	BAD(pool_wait_ms, -1, "LARDER_L2_POOL_WAIT_MS: -1");
	BAD(pool_wait_ms, 0, NULL);
	BAD(pool, 0, "LARDER_L2_POOL: 0 is out of bounds, 1..1024");
	BAD(pool, 1025, "LARDER_L2_POOL: 1025");
	BAD(pool, 1024, NULL);
	BAD(http2, 2, "LARDER_L2_HTTP2: 2");
	BAD(body_max, 0, "largest body");
}

static void test_files(void **state)
{
	struct world *world = *state;
	struct ld_http_config good = world_config("https://l2.example"), config = good;
	const char *path = world_path(world, "file"), *fifo = world_path(world, "fifo");
	char many[LD_HTTP_TOKEN_MAX + 2];

	write_file(path, "token\n", 0600);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	BAD(ca_file, path, NULL);
	BAD(ca_file, "/nonesuch/ca", "LARDER_L2_CA_FILE=/nonesuch/ca: cannot be opened");
	BAD(ca_file, world->dir, "not a regular file");
	BAD(ca_file, "/tmp/a\nb", "LARDER_L2_CA_FILE: holds a control character");
	BAD(cert_file, path, "LARDER_L2_CERT_FILE: is of no use without LARDER_L2_KEY_FILE");
	BAD(key_file, path, "LARDER_L2_KEY_FILE: is of no use without LARDER_L2_CERT_FILE");
	config = good;
	config.cert_file = config.key_file = path;
	expect_problem(&config, NULL);
	assert_int_equal(chmod(path, 0644), 0);
	expect_problem(&config, "LARDER_L2_KEY_FILE=");
	BAD(token_file, path, "open to others (mode 0644)");
	assert_int_equal(chmod(path, 0640), 0);
	BAD(token_file, path, "open to others (mode 0640)");
	assert_int_equal(chmod(path, 0600), 0);
	BAD(token_file, path, NULL);
	BAD(token_file, fifo, "not a regular file");
	BAD(token_file, "/nonesuch/token", "LARDER_L2_TOKEN_FILE=/nonesuch/token: cannot be opened");
	write_file(path, "", 0600);
	BAD(token_file, path, "one line of 1..4096 printable characters");
	write_file(path, "two\nlines", 0600);
	BAD(token_file, path, "one line of 1..4096 printable characters");
	write_file(path, "a b", 0600);
	BAD(token_file, path, "one line of 1..4096 printable characters");
	memset(many, 't', sizeof(many));
	many[LD_HTTP_TOKEN_MAX + 1] = '\0';
	write_file(path, many, 0600);
	BAD(token_file, path, "one line of 1..4096 printable characters");
	many[LD_HTTP_TOKEN_MAX] = '\0';
	write_file(path, many, 0600);
	BAD(token_file, path, NULL);
}

static void test_all_problems_at_once(void **state)
{
	struct ld_http_config config = { .url = "ftp://x", .ca_file = "/nonesuch", .allow_hosts = "*" };
	struct ld_problems problems = { 0 };

	(void)state;
	assert_int_equal(ld_http_config_check(&config, &problems), LARDER_E_SETTINGS);
	/* The address, the list, connect, idle, age, pool, the body, the file. */
	assert_int_equal(problems.count, 8);
	ld_problems_free(&problems);
}

/* ---- TLS ---- */

struct pair {
	const char *cert, *key;
};

static struct pair make_pair(struct world *world, const char *name, const char *names, long valid_s)
{
	static char paths[8][128];
	static unsigned next;
	struct pair pair = { paths[next % 8], paths[(next + 1) % 8] };

	(void)snprintf(paths[next % 8], sizeof(paths[0]), "%s/%s.cert", world->dir, name);
	(void)snprintf(paths[(next + 1) % 8], sizeof(paths[0]), "%s/%s.key", world->dir, name);
	next += 2;
	assert_int_equal(fault_certificate(pair.cert, pair.key, names, valid_s), 0);
	assert_int_equal(chmod(pair.key, 0600), 0);
	return pair;
}

static void expect_tls(struct world *world, const struct pair *pair, const char *ca_file, const char *outcome)
{
	struct fault_options options = { .cert_file = pair->cert, .key_file = pair->key };
	uint64_t requests = 0;

	world->config.ca_file = ca_file;
	world_serve(world, &options);
	world_rule(world, (struct fault_answer){ .echo = 1 });
	for (int i = 0; i < 3; i++) {
		struct ld_http_answer *answer = world_ask(world, (struct ld_http_request){ .method = LD_HTTP_PUT, .path = "/s", .body = "secret", .body_len = 6 });

		assert_string_equal(ld_http_outcome_name(answer->outcome), outcome);
		if (answer->outcome == LD_HTTP_OK) {
			expect_body(answer, "PUT /s secret");
			assert_int_equal(answer->reused, i > 0);
			requests++;
		} else {
			assert_int_equal(answer->sent, 0);
		}
	}
	assert_int_equal(counts(world)->requests, requests);
}

static void test_certificates(void **state)
{
	struct world *world = *state;
	struct pair good = make_pair(world, "good", "IP:127.0.0.1,DNS:localhost", 3600);
	struct pair other = make_pair(world, "other", "DNS:other.example", 3600);
	struct pair ended = make_pair(world, "ended", "IP:127.0.0.1", -60);
	struct pair stranger = make_pair(world, "stranger", "IP:127.0.0.1", 3600);

	expect_tls(world, &good, good.cert, "ok");
	/* Of the right authority, for another name. */
	expect_tls(world, &other, other.cert, "tls");
	expect_tls(world, &ended, ended.cert, "tls");
	/* It signs for itself, and we trust another one. */
	expect_tls(world, &stranger, good.cert, "tls");
	/* With the authorities of the system. */
	expect_tls(world, &good, NULL, "tls");
	/* A file of authorities that is none. */
	write_file(world_path(world, "no.cert"), "not a certificate\n", 0600);
	expect_tls(world, &good, world_path(world, "no.cert"), "tls");
}

static void test_old_tls_is_refused(void **state)
{
	struct world *world = *state;
	struct pair good = make_pair(world, "good", "IP:127.0.0.1", 3600);
	struct fault_options options = { .cert_file = good.cert, .key_file = good.key, .old_tls = 1 };

	world->config.ca_file = good.cert;
	world_serve(world, &options);
	assert_string_equal(ld_http_outcome_name(world_get(world, "/k")->outcome), "tls");
	assert_int_equal(world->answer.sent, 0);
}

static void test_our_own_certificate(void **state)
{
	struct world *world = *state;
	struct pair good = make_pair(world, "good", "IP:127.0.0.1", 3600), ours = make_pair(world, "ours", "DNS:worker", 3600);
	struct fault_options options = { .cert_file = good.cert, .key_file = good.key, .client_ca_file = ours.cert };

	world->config.ca_file = good.cert;
	world_serve(world, &options);
	world_rule(world, (struct fault_answer){ .body = "known" });
	assert_int_not_equal(world_get(world, "/k")->outcome, LD_HTTP_OK);
	assert_int_equal(counts(world)->requests, 0);
	world->config.cert_file = ours.cert;
	world->config.key_file = ours.key;
	world_again(world);
	expect_body(world_get(world, "/k"), "known");
}

static void leave_free(int count)
{
	struct rlimit limit;
	int fd, last = -1;

	CHILD_CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = 64;
	CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	while ((fd = dup(STDERR_FILENO)) >= 0)
		last = fd;
	for (; count > 0; count--)
		CHILD_CHECK(close(last--) == 0);
}

struct poor {
	struct world *world;
	int count;
};

/* Leaves with 100 and the outcome of a call with so many descriptors free. */
static void ask_poorly(void *arg)
{
	const struct poor *poor = arg;
	struct ld_http_request request = { .path = "/k", .limit_ms = LIMIT_MS };
	struct ld_http_answer answer;
	struct ld_http *http;

	CHILD_CHECK(ld_http_new(&poor->world->config, &http) == 0);
	leave_free(poor->count);
	CHILD_CHECK(ld_http_perform(http, &request, &answer) == 0);
	_exit(100 + (int)answer.outcome);
}

/* From none on, until there are enough. */
static void expect_busy_or_answer(struct world *world)
{
	struct poor poor = { world, 0 };
	int status;

	do {
		status = child_run(ask_poorly, &poor);
		assert_true(status == 100 + LD_HTTP_POOL_BUSY || status == 100 + LD_HTTP_OK);
	} while (status != 100 + LD_HTTP_OK && ++poor.count < 32);
	assert_int_equal(status, 100 + LD_HTTP_OK);
	/* With one it had a socket, and no file. */
	assert_true(poor.count >= 2);
}

/* A file that cannot be opened for want of descriptors is no word about L2; one that is no certificate is. */
static void test_no_descriptor_for_a_certificate(void **state)
{
	struct world *world = *state;
	struct pair good = make_pair(world, "good", "IP:127.0.0.1", 3600), ours = make_pair(world, "ours", "DNS:worker", 3600);
	struct fault_options options = { .cert_file = good.cert, .key_file = good.key };

	world->config.ca_file = good.cert;
	world_serve(world, &options);
	world_rule(world, (struct fault_answer){ .body = "known" });
	expect_busy_or_answer(world);
	world->config.cert_file = ours.cert;
	world->config.key_file = ours.key;
	expect_busy_or_answer(world);
	world->config.key_file = good.key;
	world_again(world);
	assert_string_equal(ld_http_outcome_name(world_get(world, "/k")->outcome), "tls");
}

/* Neither is the other, and both are found out. */
static void test_plain_and_tls_mixed_up(void **state)
{
	struct world *world = *state;
	struct pair good = make_pair(world, "good", "IP:127.0.0.1", 3600);
	struct fault_options options = { .cert_file = good.cert, .key_file = good.key };
	char url[64];

	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%d", fault_server_port(world->server));
	world->config.url = url;
	world_again(world);
	assert_int_not_equal(world_ask(world, (struct ld_http_request){ .limit_ms = 300 })->outcome, LD_HTTP_OK);
	assert_int_equal(world->answer.sent, 0);
	world_serve(world, &options);
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", fault_server_port(world->server));
	world->config.url = url;
	world_again(world);
	assert_int_not_equal(world_get(world, "/k")->outcome, LD_HTTP_OK);
}

struct listener {
	int fd, reset;
};

/* Take one connection, read what comes first, and end it. */
static void *break_off(void *arg)
{
	struct listener *listener = arg;
	const struct linger now = { 1, 0 };
	int fd = accept(listener->fd, NULL, NULL);
	char waste[64];

	(void)recv(fd, waste, sizeof(waste), 0);
	if (listener->reset)
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	(void)close(fd);
	return NULL;
}

/* A server that goes away in the middle of it is no refused certificate: the call may be made again. */
static void test_handshake_that_breaks_off(void **state)
{
	struct world *world = *state;
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	struct listener listener = { .fd = socket(AF_INET, SOCK_STREAM, 0) };
	pthread_t thread;
	char url[64];

	assert_int_equal(bind(listener.fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(listener.fd, 4), 0);
	assert_int_equal(getsockname(listener.fd, (struct sockaddr *)&address, &len), 0);
	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%d", ntohs(address.sin_port));
	world->config.url = url;
	/* Where the system has no authorities, libcurl would not even begin. */
	world->config.ca_file = make_pair(world, "good", "IP:127.0.0.1", 3600).cert;
	world_again(world);
	for (listener.reset = 0; listener.reset < 2; listener.reset++) {
		assert_int_equal(pthread_create(&thread, NULL, break_off, &listener), 0);
		assert_string_equal(ld_http_outcome_name(world_get(world, "/k")->outcome), "reset");
		assert_int_equal(world->answer.sent, 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
	}
	(void)close(listener.fd);
}

/* ---- the token ---- */

static _Atomic int lines;

static void count_lines(void *ctx, enum larder_log_level level, const char *line)
{
	(void)ctx;
	(void)level;
	if (strstr(line, "event=l2_token_refused") != NULL && strstr(line, "TOKEN_FILE=") != NULL)
		lines++;
}

static int token_is(struct world *world, const char *token)
{
	char value[128] = "", expected[128];

	(void)snprintf(expected, sizeof(expected), "Bearer %s", token);
	assert_int_equal(world_get(world, "/k")->outcome, LD_HTTP_OK);
	(void)fault_request_header(fault_server_seen(world->server, 0), "Authorization", value, sizeof(value));
	return strcmp(value, expected) == 0;
}

static void test_token_is_renewed(void **state)
{
	struct world *world = *state;
	struct ld_log log = { .fn = count_lines, .cache = "c", .level = LARDER_LOG_WARN };
	char path[128], other[128];

	(void)snprintf(path, sizeof(path), "%s/token", world->dir);
	(void)snprintf(other, sizeof(other), "%s/other", world->dir);
	world_rule(world, (struct fault_answer){ .body = "b" });
	write_file(path, "first-token\n", 0600);
	world->config.token_file = path;
	world->config.log = &log;
	world_again(world);
	assert_true(token_is(world, "first-token"));
	/* Written in place, without the newline. */
	write_file(path, "second", 0600);
	assert_true(CHILD_POLL(token_is(world, "second")));
	/* Replaced, as a careful hand does it. */
	write_file(other, "third", 0600);
	assert_int_equal(rename(other, path), 0);
	assert_true(CHILD_POLL(token_is(world, "third")));
	/* What is no good is said once, and the old one is used. */
	lines = 0;
	write_file(other, "fourth\r\nX: y", 0600);
	assert_int_equal(rename(other, path), 0);
	assert_true(CHILD_POLL((world_get(world, "/k"), lines == 1)));
	assert_true(token_is(world, "third"));
	assert_int_equal(unlink(path), 0);
	assert_true(CHILD_POLL((world_get(world, "/k"), lines == 2)));
	assert_true(token_is(world, "third"));
	write_file(path, "fifth", 0644);
	assert_true(CHILD_POLL((world_get(world, "/k"), lines == 3)));
	assert_true(token_is(world, "third"));
	write_file(path, "sixth", 0600);
	assert_true(CHILD_POLL(token_is(world, "sixth")));
	assert_int_equal(lines, 3);
	assert_int_equal(counts(world)->connections, 1);
}

/* A process that may not read what its master could says so when it makes its client. */
static void test_file_that_went_away(void **state)
{
	struct world *world = *state;
	struct ld_http *http = NULL;
	const char *path = world_path(world, "token");

	write_file(path, "token", 0600);
	world->config.token_file = path;
	assert_int_equal(ld_http_new(&world->config, &http), 0);
	ld_http_free(http);
	http = NULL;
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ld_http_new(&world->config, &http), LARDER_E_SETTINGS);
	assert_null(http);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_problem_does_not_tell_the_address),
		cmocka_unit_test(test_allowed_hosts),
		cmocka_unit_test(test_numbers),
		WITH_WORLD(test_files),
		cmocka_unit_test(test_all_problems_at_once),
		WITH_WORLD(test_certificates),
		WITH_WORLD(test_old_tls_is_refused),
		WITH_WORLD(test_our_own_certificate),
		WITH_WORLD(test_no_descriptor_for_a_certificate),
		WITH_WORLD(test_plain_and_tls_mixed_up),
		WITH_WORLD(test_handshake_that_breaks_off),
		WITH_WORLD(test_token_is_renewed),
		WITH_WORLD(test_file_that_went_away),
	};

	return cmocka_run_group_tests_name("http_config", tests, NULL, NULL);
}
