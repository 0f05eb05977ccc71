/* SPDX-License-Identifier: MIT */
/*
 * A second level that stores what it is told: one process, one thread, plain HTTP/1.1 on a port of loopback. It keeps the headers that the codecs write as they
 * came, and gives them back with Age and ETag. A GET is answered with what was there when it came, after a while; a write is carried out after a while,
 * and answered. See history.h.
 */
#include "history.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "lib/team.h"

enum { CONNECTIONS = 256, IN_MAX = 65536, HEADERS_MAX = 1024, PATH_SIZE = 256, VALUES = 64, IDS = 4096, ID_SIZE = 64, STALL_US = 150000 };

struct value {
	char path[PATH_SIZE];
	int there;
	char headers[HEADERS_MAX];
	size_t len;
	unsigned char body[IN_MAX];
	int64_t since_ms;
	uint64_t etag;
};

struct connection {
	int fd;
	char in[IN_MAX + 1];
	size_t in_len, used;            /* bytes of the request that is being served; 0 = none */
	int64_t carry_out_us, answer_us;/* when; 0 = done, or nothing to do */
	int is_write, drop;             /* drop: no answer, the connection is closed */
	int stalled;                    /* it came while we were not running */
	char *out;
	size_t out_len;
};

static struct history_l2 *l2;
static pid_t pid;
static struct connection connections[CONNECTIONS];
static struct value values[VALUES];
static char ids[IDS][ID_SIZE];
static unsigned ids_used;
static uint64_t random_state, etags;
static int64_t looked_us;

static uint64_t luck(uint64_t of)
{
	return (team_random(&random_state) >> 20) % of;
}

/* ---- requests ---- */

static int header(const char *in, const char *name, char *ret_text, size_t size)
{
	size_t len = strlen(name);

	for (const char *line = strstr(in, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
		if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':') {
			const char *text = line + 3 + len + strspn(line + 3 + len, " ");

			snprintf(ret_text, size, "%.*s", (int)strcspn(text, "\r"), text);
			return 1;
		}
	}
	return 0;
}

static struct value *value_of(const char *path)
{
	struct value *free_one = NULL;

	for (unsigned i = 0; i < VALUES; i++) {
		if (strcmp(values[i].path, path) == 0)
			return &values[i];
		if (!free_one && !values[i].path[0])
			free_one = &values[i];
	}
	if (free_one)
		snprintf(free_one->path, PATH_SIZE, "%s", path);
	return free_one;
}

static void path_of(const struct connection *c, char path[PATH_SIZE])
{
	const char *begin = strchr(c->in, ' ') + 1;

	snprintf(path, PATH_SIZE, "%.*s", (int)strcspn(begin, " "), begin);
}

static void answer(struct connection *c, int status, const char *headers, const void *body, size_t len, int without_body)
{
	c->out = malloc(HEADERS_MAX + 512 + len);
	if (!c->out)
		_exit(1);
	c->out_len = (size_t)snprintf(c->out, HEADERS_MAX + 512, "HTTP/1.1 %d Said\r\n%sContent-Length: %zu\r\n\r\n", status, headers, len);
	if (len && !without_body) {
		memcpy(c->out + c->out_len, body, len);
		c->out_len += len;
	}
}

static void get(struct connection *c, const struct value *value)
{
	char headers[HEADERS_MAX + 256], etag[64], wanted[64];
	int is_head = strncmp(c->in, "HEAD", 4) == 0;

	atomic_fetch_add(&l2->gets, 1);
	if (!value->there) {
		answer(c, 404, "", NULL, 0, 0);
		return;
	}
	atomic_fetch_add(&l2->hits, 1);
	snprintf(etag, sizeof(etag), "\"e%llu\"", (unsigned long long)value->etag);
	snprintf(headers, sizeof(headers), "%sAge: %lld\r\nETag: %s\r\n", value->headers, (long long)(ld_clock_wall_ms() - value->since_ms) / 1000, etag);
	if (header(c->in, "If-None-Match", wanted, sizeof(wanted)) && strcmp(wanted, etag) == 0) {
		atomic_fetch_add(&l2->same, 1);
		answer(c, 304, headers, NULL, 0, 1);
	} else {
		answer(c, 200, headers, value->body, value->len, is_head);
	}
}

/* One that was carried out before is not carried out again, wherever it was on its way. */
static int is_known(const char *id)
{
	for (unsigned i = 0; i < IDS; i++)
		if (strcmp(ids[i], id) == 0)
			return 1;
	snprintf(ids[ids_used++ % IDS], ID_SIZE, "%s", id);
	return 0;
}

static void keep(struct connection *c, struct value *value)
{
	static const char *const kept[] = { "Content-Type", "Cache-Control", "X-Larder-Created", "X-Larder-Hard-End", "X-Larder-Flags", "X-Larder-Tags" };
	const char *body = strstr(c->in, "\r\n\r\n") + 4;
	char text[512];
	size_t used = 0;

	value->headers[0] = '\0';
	for (unsigned i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		if (header(c->in, kept[i], text, sizeof(text)))
			used += (size_t)snprintf(value->headers + used, HEADERS_MAX - used, "%s: %s\r\n", kept[i], text);
	value->len = c->used - (size_t)(body - c->in);
	memcpy(value->body, body, value->len);
	value->since_ms = ld_clock_wall_ms();
	value->etag = ++etags;
	value->there = 1;
	atomic_fetch_add(&l2->puts, 1);
}

static void carry_out(struct connection *c)
{
	char path[PATH_SIZE], id[ID_SIZE] = "";
	struct value *value;
	int is_delete = strncmp(c->in, "DELETE", 6) == 0;

	path_of(c, path);
	value = value_of(path);
	c->carry_out_us = 0;
	if (!value || !header(c->in, "Idempotency-Key", id, sizeof(id))) {
		answer(c, 400, "", NULL, 0, 0);
		return;
	}
	if (is_known(id)) {
		atomic_fetch_add(&l2->repeated, 1);
	} else if (is_delete) {
		value->there = 0;
		atomic_fetch_add(&l2->deletes, 1);
	} else {
		keep(c, value);
	}
	answer(c, 204, "", NULL, 0, 1);
}

/* A whole request has come. */
static void begin_request(struct connection *c)
{
	int64_t now_us = team_now_us();
	int mode = atomic_load(&l2->mode);
	char path[PATH_SIZE];
	struct value *value;

	path_of(c, path);
	c->is_write = strncmp(c->in, "GET", 3) != 0 && strncmp(c->in, "HEAD", 4) != 0;
	c->drop = mode == L2_CLOSES;
	c->carry_out_us = 0;
	c->answer_us = now_us + (int64_t)(luck(8) ? luck(500) : luck(12000));
	if (mode == L2_FAILS || (luck(64) == 0 && mode == L2_GOOD)) {
		atomic_fetch_add(&l2->refused, 1);
		answer(c, 503, "", NULL, 0, 0);
	} else if (c->is_write) {
		/* Dropped or not: with the connection lost nobody knows whether it was carried out. */
		c->drop |= luck(32) == 0;
		atomic_fetch_add(&l2->lost, (uint64_t)c->drop);
		c->carry_out_us = now_us + (int64_t)(luck(16) ? luck(800) : luck(100000));
		c->answer_us = c->carry_out_us + (int64_t)luck(300);
	} else {
		value = value_of(path);
		if (value)
			get(c, value);
		else
			answer(c, 404, "", NULL, 0, 0);
	}
}

/* ---- connections ---- */

static void forget(struct connection *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c->out);
	c->out = NULL;
	c->fd = -1;
	c->in_len = c->used = c->out_len = 0;
	c->carry_out_us = c->answer_us = 0;
}

static void look_for_request(struct connection *c)
{
	char length[32] = "0";
	const char *end;

	c->stalled = team_now_us() - looked_us > STALL_US;
	c->in[c->in_len] = '\0';
	end = c->used == 0 ? strstr(c->in, "\r\n\r\n") : NULL;
	if (!end)
		return;
	header(c->in, "Content-Length", length, sizeof(length));
	if (c->in_len < (size_t)(end + 4 - c->in) + strtoul(length, NULL, 10))
		return;
	c->used = (size_t)(end + 4 - c->in) + strtoul(length, NULL, 10);
	begin_request(c);
}

/* What has come, of those who have gone too. Returns 1 if anything has. */
static int receive(struct connection *c)
{
	ssize_t got = c->in_len < IN_MAX ? recv(c->fd, c->in + c->in_len, IN_MAX - c->in_len, MSG_DONTWAIT) : -1;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got <= 0) {
		/* A write of a client that is dead, or has given up, is carried out all the same - unless we were not running ourselves: who knows how long it has waited. */
		if (c->carry_out_us != 0 && !c->stalled) {
			c->drop = 1;
			close(c->fd);
			c->fd = -2;
			return 0;
		}
		forget(c);
		return 1;
	}
	c->in_len += (size_t)got;
	look_for_request(c);
	return 1;
}

static void finish(struct connection *c)
{
	if (!c->drop && c->fd >= 0 && send(c->fd, c->out, c->out_len, MSG_NOSIGNAL) == (ssize_t)c->out_len) {
		free(c->out);
		c->out = NULL;
		c->answer_us = 0;
		c->in_len -= c->used;
		memmove(c->in, c->in + c->used, c->in_len);
		c->used = 0;
		look_for_request(c);
		return;
	}
	forget(c);
}

/* What is due of what has come; all of it, if `now`. */
static void work_off(int now)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &connections[i];

		if (c->fd == -1 || c->used == 0)
			continue;
		if (c->carry_out_us != 0 && (now || team_now_us() >= c->carry_out_us))
			carry_out(c);
		if (c->carry_out_us == 0 && (now || team_now_us() >= c->answer_us))
			finish(c);
	}
}

static int welcome(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), one = 1;

	if (fd < 0)
		return 0;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		if (connections[i].fd == -1) {
			connections[i].fd = fd;
			return 1;
		}
	}
	close(fd);
	return 1;
}

/* One look at everything. Returns 1 if anything had come. */
static int look(int listener, int wait_ms)
{
	struct pollfd polled[CONNECTIONS + 1];
	int any = 0;

	for (unsigned i = 0; i < CONNECTIONS; i++)
		polled[i] = (struct pollfd){ connections[i].fd, POLLIN, 0 };
	polled[CONNECTIONS] = (struct pollfd){ listener, POLLIN, 0 };
	if (poll(polled, CONNECTIONS + 1, wait_ms) <= 0) {
		looked_us = team_now_us();
		return 0;
	}
	for (unsigned i = 0; i < CONNECTIONS; i++)
		if (polled[i].fd >= 0 && polled[i].revents)
			any |= receive(&connections[i]);
	while (polled[CONNECTIONS].revents && welcome(listener))
		any = 1;
	looked_us = team_now_us();
	return any;
}

static void settle(int listener)
{
	uint32_t asked = atomic_load(&l2->settle);

	if (asked == atomic_load(&l2->settled))
		return;
	for (unsigned quiet = 0; quiet < 2; quiet++) {
		if (look(listener, 0))
			quiet = 0;
		work_off(1);
	}
	atomic_store(&l2->settled, asked);
}

static void serve(void *arg)
{
	int listener = *(int *)arg;

	looked_us = team_now_us();
	random_state = team_seed() ^ 0x4c32;
	random_state |= random_state == 0;
	for (unsigned i = 0; i < CONNECTIONS; i++)
		connections[i].fd = -1;
	while (!atomic_load(&l2->stop)) {
		look(listener, 1);
		work_off(0);
		settle(listener);
	}
}

/* ---- for the test ---- */

struct history_l2 *history_l2_start(char *ret_setting, size_t size)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	l2 = team_share(sizeof(*l2));
	TEAM_CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&at, len) == 0 && listen(listener, 128) == 0 &&
	    getsockname(listener, (struct sockaddr *)&at, &len) == 0);
	snprintf(ret_setting, size, "L2_URL=http://127.0.0.1:%d", ntohs(at.sin_port));
	pid = team_start(serve, &listener);
	close(listener);
	return l2;
}

void history_l2_settle(void)
{
	uint32_t asked = atomic_fetch_add(&l2->settle, 1) + 1;

	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&l2->settled) == asked));
}

void history_l2_stop(void)
{
	atomic_store(&l2->stop, 1);
	team_join(pid);
	team_unshare(l2, sizeof(*l2));
}
