/* SPDX-License-Identifier: MIT */
/*
 * One connection of the fault server, in a process of its own: requests are read, remembered, and answered as the rules have it. Blocking throughout;
 * it ends with the connection, or is killed.
 */
#include "fault_inside.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <zlib.h>

enum { IN_MAX = 65536, HEAD_MAX = 4096 };

struct connection {
	struct fault_shared *shared;
	SSL *ssl;               /* NULL = plain */
	int fd;
	uint64_t number;
	char in[IN_MAX + 1];    /* what was read and not yet used */
	size_t in_len;
	struct fault_request *request;
	unsigned char *body;    /* of the request, whole */
	unsigned char *out;     /* of the answer */
	size_t out_len;
};

/* ---- bytes ---- */

static ssize_t receive(struct connection *c, void *data, size_t size)
{
	if (c->ssl != NULL)
		return SSL_read(c->ssl, data, (int)size);
	return recv(c->fd, data, size, 0);
}

/* Returns 0, or -1 when the client has gone. */
static int transmit(struct connection *c, const void *data, size_t size)
{
	const unsigned char *at = data;

	while (size > 0) {
		size_t part = size < 16384 ? size : 16384;
		ssize_t sent = c->ssl != NULL ? SSL_write(c->ssl, at, (int)part) : send(c->fd, at, part, MSG_NOSIGNAL);

		if (sent < 0 && c->ssl == NULL && errno == EINTR)
			continue;
		if (sent <= 0)
			return -1;
		at += sent;
		size -= (size_t)sent;
	}
	return 0;
}

/* Nothing more is said; the connection stays until the client ends it. */
static void be_silent(struct connection *c)
{
	char waste[4096];

	while (recv(c->fd, waste, sizeof(waste), 0) > 0)
		;
}

static void set_reset(struct connection *c)
{
	const struct linger now = { 1, 0 };

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static void wait_at_gate(struct connection *c)
{
	while (atomic_load(&c->shared->shut))
		usleep(200);
}

/* ---- the request ---- */

/* Up to the empty line. Returns the length of all headers, 0 at the end of the connection. */
static size_t read_head(struct connection *c)
{
	for (;;) {
		char *end;
		ssize_t got;

		c->in[c->in_len] = '\0';
		end = strstr(c->in, "\r\n\r\n");
		if (end != NULL)
			return (size_t)(end - c->in) + 4;
		if (c->in_len == IN_MAX)
			return 0;
		got = receive(c, c->in + c->in_len, IN_MAX - c->in_len);
		if (got <= 0)
			return 0;
		c->in_len += (size_t)got;
	}
}

static int read_body(struct connection *c, struct fault_request *request, size_t head)
{
	char length[32] = "0";
	size_t have;

	fault_request_header(request, "Content-Length", length, sizeof(length));
	request->body_len = strtoull(length, NULL, 10);
	free(c->body);
	c->body = malloc(request->body_len + 1);
	if (c->body == NULL)
		return -1;
	have = c->in_len - head < request->body_len ? c->in_len - head : request->body_len;
	memcpy(c->body, c->in + head, have);
	c->in_len -= head + have;
	memmove(c->in, c->in + head + have, c->in_len);
	while (have < request->body_len) {
		ssize_t got = receive(c, c->body + have, request->body_len - have);

		if (got <= 0)
			return -1;
		have += (size_t)got;
	}
	c->body[have] = '\0';
	memcpy(request->body, c->body, have < sizeof(request->body) ? have : sizeof(request->body));
	return 0;
}

/* A request is put together aside and remembered only when it is whole. */
static int read_request(struct connection *c, struct fault_request *aside)
{
	size_t head = read_head(c);
	uint64_t number;
	char *lines;

	if (head == 0 || sscanf(c->in, "%15s %1023s", aside->method, aside->path) != 2)
		return -1;
	lines = strchr(c->in, '\n') + 1;
	snprintf(aside->headers, sizeof(aside->headers), "%.*s", (int)(head - (size_t)(lines - c->in)), lines);
	aside->connection = c->number;
	if (read_body(c, aside, head) != 0)
		return -1;
	number = atomic_fetch_add(&c->shared->counts.requests, 1) + 1;
	c->request = &c->shared->log[number % FAULT_LOG];
	atomic_store(&c->request->number, 0);
	*c->request = *aside;
	atomic_store(&c->request->number, number);
	return 0;
}

/* ---- the answer ---- */

static struct fault_rule *find_rule(struct connection *c)
{
	for (unsigned i = 0; i < FAULT_RULES; i++) {
		struct fault_rule *rule = &c->shared->rules[i];
		int64_t left = atomic_load(&rule->left);

		if (!atomic_load(&rule->on) || strncmp(c->request->path, rule->prefix, strlen(rule->prefix)) != 0)
			continue;
		while (left > 0 && left != INT64_MAX) {
			if (atomic_compare_exchange_weak(&rule->left, &left, left - 1))
				return rule;
		}
		if (left == INT64_MAX)
			return rule;
	}
	return NULL;
}

static void compress_out(struct connection *c)
{
	z_stream stream = { 0 };
	size_t room = c->out_len / 500 + 65536;
	unsigned char *packed = malloc(room);

	if (packed == NULL || deflateInit2(&stream, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY) != Z_OK)
		_exit(1);
	stream.next_in = c->out;
	stream.avail_in = (uInt)c->out_len;
	stream.next_out = packed;
	stream.avail_out = (uInt)room;
	if (deflate(&stream, Z_FINISH) != Z_STREAM_END)
		_exit(1);
	free(c->out);
	c->out = packed;
	c->out_len = stream.total_out;
	deflateEnd(&stream);
}

static void make_body(struct connection *c, const struct fault_rule *rule)
{
	size_t echo = rule->answer.echo ? strlen(c->request->method) + strlen(c->request->path) + 2 + c->request->body_len : 0;
	size_t own = rule->answer.echo ? echo : rule->answer.body_len;

	free(c->out);
	c->out_len = own + rule->answer.fill;
	c->out = malloc(c->out_len + 1);
	if (c->out == NULL)
		_exit(1);
	if (rule->answer.echo) {
		int used = sprintf((char *)c->out, "%s %s ", c->request->method, c->request->path);

		memcpy(c->out + used, c->body, c->request->body_len);
	} else {
		memcpy(c->out, rule->body, own);
	}
	memset(c->out + own, 'x', rule->answer.fill);
	if (rule->answer.fault == FAULT_GZIP)
		compress_out(c);
}

static int transmit_slowly(struct connection *c, const void *data, size_t size, int pause_ms)
{
	for (size_t i = 0; i < size; i++) {
		if (transmit(c, (const char *)data + i, 1) != 0)
			return -1;
		usleep((useconds_t)pause_ms * 1000);
	}
	return 0;
}

/* In chunks of up to 1000 bytes. */
static int transmit_chunks(struct connection *c, int with_end)
{
	char line[32];

	for (size_t at = 0; at < c->out_len; at += 1000) {
		size_t part = c->out_len - at < 1000 ? c->out_len - at : 1000;
		int used = snprintf(line, sizeof(line), "%zx\r\n", part);

		if (transmit(c, line, (size_t)used) != 0 || transmit(c, c->out + at, part) != 0 || transmit(c, "\r\n", 2) != 0)
			return -1;
	}
	return with_end ? transmit(c, "0\r\n\r\n", 5) : -1;
}

static int transmit_without_end(struct connection *c, const char *piece)
{
	while (transmit(c, piece, strlen(piece)) == 0)
		;
	return -1;
}

/* Status line and headers. Returns their length. */
static size_t make_head(const struct connection *c, const struct fault_rule *rule, int status, char *head)
{
	static const char chunked[] = "Transfer-Encoding: chunked\r\n", gzip[] = "Content-Encoding: gzip\r\n";
	size_t length = c->out_len;
	int used = snprintf(head, HEAD_MAX, "HTTP/1.1 %d Ordered\r\n%s", status, rule->headers);

	switch (rule->answer.fault) {
	case FAULT_HEADERS:
		return (size_t)used;
	case FAULT_LINE:
		return (size_t)(used + snprintf(head + used, HEAD_MAX - (size_t)used, "X-More: "));
	case FAULT_STATUS_LINE:
		return (size_t)(strchr(head, '\r') - head);
	case FAULT_CHUNKED:
	case FAULT_CHUNKED_HALF:
	case FAULT_CHUNKED_BAD:
	case FAULT_ENDLESS:
		return (size_t)(used + snprintf(head + used, HEAD_MAX - (size_t)used, "%s\r\n", chunked));
	case FAULT_DELIMITED:
		return (size_t)(used + snprintf(head + used, HEAD_MAX - (size_t)used, "\r\n"));
	case FAULT_LENGTH_LESS:
		length /= 2;
		break;
	case FAULT_LENGTH_MORE:
		length += 10;
		break;
	default:
		break;
	}
	return (size_t)(used + snprintf(head + used, HEAD_MAX - (size_t)used, "%sContent-Length: %zu\r\n\r\n",
	    rule->answer.fault == FAULT_GZIP || rule->answer.fault == FAULT_GZIP_BAD ? gzip : "", length));
}

/* Headers and, unless the client wanted them alone, the body. Returns 0 when the connection goes on. */
static int send_answer(struct connection *c, const struct fault_rule *rule, int status)
{
	static const char late[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
	enum fault_kind fault = rule->answer.fault;
	char head[HEAD_MAX];
	size_t head_len = make_head(c, rule, status, head);
	int bodiless = strcmp(c->request->method, "HEAD") == 0 || status == 204 || status == 304;
	size_t body_len = bodiless ? 0 : fault == FAULT_HALF || fault == FAULT_RESET_MID || fault == FAULT_STALL ? c->out_len / 2 : c->out_len;

	if (fault == FAULT_BYTES)
		return transmit_slowly(c, head, head_len, rule->answer.pause_ms) != 0 ? -1 :
		    transmit_slowly(c, c->out, body_len, rule->answer.pause_ms);
	if (transmit(c, head, head_len) != 0)
		return -1;
	switch (fault) {
	case FAULT_CHUNKED:
	case FAULT_CHUNKED_HALF:
		return transmit_chunks(c, fault == FAULT_CHUNKED);
	case FAULT_CHUNKED_BAD:
		return transmit(c, "4\r\nabcd\r\nhello\r\n", 16);
	case FAULT_ENDLESS:
		return transmit_without_end(c, "5\r\nhello\r\n");
	case FAULT_HEADERS:
		return transmit_without_end(c, "X-More: and more\r\n");
	case FAULT_LINE:
	case FAULT_STATUS_LINE:
		return transmit_without_end(c, "and more and more and more and more and more and more and more and more ");
	default:
		break;
	}
	if (transmit(c, c->out, body_len) != 0)
		return -1;
	switch (fault) {
	case FAULT_RESET_MID:
		/* What was sent is on its way before the reset throws away the rest. */
		usleep(20000);
		set_reset(c);
		return -1;
	case FAULT_STALL:
		be_silent(c);
		return -1;
	case FAULT_HALF:
	case FAULT_LENGTH_MORE:
	case FAULT_DELIMITED:
	case FAULT_CLOSE_AFTER:
		return -1;
	case FAULT_LATE:
		wait_at_gate(c);
		if (transmit(c, late, sizeof(late) - 1) != 0)
			return -1;
		atomic_fetch_add(&c->shared->counts.late, 1);
		return 0;
	default:
		return 0;
	}
}

/* Returns 0 when the connection goes on. */
static int answer(struct connection *c)
{
	static const struct fault_rule missing = { .answer = { .status = 404 } };
	struct fault_rule *found = find_rule(c);
	const struct fault_rule *rule = found != NULL ? found : &missing;
	uint64_t nth = found != NULL ? atomic_fetch_add(&found->used, 1) : 0;
	unsigned percent = (unsigned)rule->answer.percent;
	int status = rule->answer.status == 0 || (percent != 0 && nth * percent % 100 >= percent) ? 200 : rule->answer.status;

	if (rule->answer.hold) {
		atomic_fetch_add(&c->shared->counts.holding, 1);
		wait_at_gate(c);
		atomic_fetch_sub(&c->shared->counts.holding, 1);
	}
	if (rule->answer.pause_ms > 0 && rule->answer.fault != FAULT_BYTES)
		usleep((useconds_t)rule->answer.pause_ms * 1000);
	switch (rule->answer.fault) {
	case FAULT_SILENT:
		be_silent(c);
		return -1;
	case FAULT_RESET:
		set_reset(c);
		return -1;
	case FAULT_CLOSE:
		return -1;
	case FAULT_NOT_HTTP:
		transmit(c, "220 mail.example ESMTP\r\n", 24);
		return -1;
	default:
		make_body(c, rule);
		return send_answer(c, rule, status);
	}
}

void fault_serve(struct fault_shared *shared, SSL_CTX *tls, int fd)
{
	struct connection *c = calloc(1, sizeof(*c));
	struct fault_request *aside = calloc(1, sizeof(*aside));
	int going = c != NULL && aside != NULL, on = 1;

	if (!going)
		_exit(1);
	/* Headers and body leave in two pieces; the second must not wait for an acknowledgement. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->shared = shared;
	c->fd = fd;
	c->number = atomic_fetch_add(&shared->counts.connections, 1) + 1;
	if (tls != NULL) {
		c->ssl = SSL_new(tls);
		SSL_set_fd(c->ssl, fd);
		going = SSL_accept(c->ssl) == 1;
		if (!going)
			atomic_fetch_add(&shared->counts.handshakes_failed, 1);
	}
	while (going && read_request(c, aside) == 0 && answer(c) == 0)
		;
	atomic_fetch_sub(&shared->counts.open, 1);
	close(fd);
}
