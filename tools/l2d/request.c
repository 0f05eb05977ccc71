/* SPDX-License-Identifier: MIT */
/*
 * From the head of a request to its end (request.h). libmicrohttpd calls handle() once with the head, once for each piece of the body,
 * once at the end of it; an answer can be queued at the first and at the last of these calls, and nowhere between. So:
 *
 *     refused, and the body is long, waits for "100 Continue",
 *     or ends who knows where                                     answered at the first call; the connection is closed
 *     refused, and the body is short                              read and thrown away, answered at the last call; the connection goes on
 *     too long as it comes, in chunks                             thrown away for as much again, answered; beyond that cut off without an answer
 */
#include "request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <microhttpd.h>

#include "answer.h"
#include "connection.h"
#include "log.h"
#include "serve.h"

#define THROW_AWAY (UINT64_C(64) << 10)
#define FIRST_ROOM (UINT64_C(64) << 10)
#define MEMORY_OF_CONNECTION (32U << 10)

static int64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- the head ---- */

static enum MHD_Result note_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct l2d_request *request = cls;

	(void)kind;
	if (value)
		l2d_headers_note(&request->headers, name, value);
	return MHD_YES;
}

static struct l2d_connection *own_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return info ? info->socket_context : NULL;
}

static int has_long_body(const struct l2d_request *request)
{
	return request->announced > THROW_AWAY || (request->headers.expect && strcasecmp(request->headers.expect, "100-continue") == 0);
}

/* A client that leaves Nagle's algorithm on sends head and body apart, and waits for the head to be acknowledged: 40 ms, unless it is now. */
static void acknowledge(const struct l2d_request *request)
{
	const int on = 1;

	/* A Unix socket does not know the option, and does not need it. */
	if (request->own)
		(void)setsockopt(request->own->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

/*
 * libmicrohttpd hands a target over as a string, so that one with a NUL in it would be served as another one, which is shorter. It leaves the request line
 * where it came in, though: the version stands one byte behind the target, and further behind if the target did not end with its string. Where a
 * version stands elsewhere, nothing is known.
 */
static void *note_target(void *cls, const char *target, struct MHD_Connection *connection)
{
	struct l2d_connection *own = own_of(connection);

	(void)cls;
	if (own)
		own->target_end = target + strlen(target);
	return NULL;
}

static int is_cut(struct l2d_connection *own, const char *version)
{
	uintptr_t end = own ? (uintptr_t)own->target_end : 0, at = (uintptr_t)version;

	if (own)
		own->target_end = NULL;
	return end != 0 && at > end + 1 && at - end < MEMORY_OF_CONNECTION;
}

static enum MHD_Result begin(struct l2d_worker *worker, struct MHD_Connection *connection, const char *path, const char *method, const char *version,
    void **context)
{
	struct l2d_request *request = calloc(1, sizeof(*request));

	if (request == NULL)
		return MHD_NO;
	*context = request;
	request->worker = worker;
	request->connection = connection;
	request->own = own_of(connection);
	request->method_text = method;
	request->cut = is_cut(request->own, version);
	request->began_us = now_us();
	worker->active++;
	l2d_connection_mark(request->own, 1);
	MHD_get_connection_values(connection, MHD_HEADER_KIND, note_header, request);
	l2d_request_judge(request, path);
	if (request->refusal.status != 0 && (request->headers.unclear || has_long_body(request)))
		return l2d_answer_refusal(request, &request->refusal);
	if (request->announced > 0)
		acknowledge(request);
	return MHD_YES;
}

/* ---- the body ---- */

static void drop_body(struct l2d_request *request)
{
	if (request->room)
		request->worker->uploads_b -= request->size;
	free(request->room);
	request->room = NULL;
	request->len = request->size = 0;
}

static void refuse_body(struct l2d_request *request, unsigned status, const char *name, const char *why)
{
	drop_body(request);
	request->refusal = (struct l2d_refusal){ status, status == 503 ? 1 : 0, name, why };
}

static uint64_t uploads_max(const struct l2d_worker *worker)
{
	uint64_t max = worker->service->options.max_value_b * L2D_UPLOADS;
	return max > UINT64_C(64) << 20 ? max : UINT64_C(64) << 20;
}

/* Room for so many more bytes: what was announced if that is little, else twice as much each time. Returns 0, or -1 and a refusal. */
static int make_room(struct l2d_request *request, size_t more)
{
	struct l2d_worker *worker = request->worker;
	size_t need = request->len + more, size = request->size ? request->size * 2 : FIRST_ROOM;

	if (need <= request->size)
		return 0;
	if (request->announced > 0 && (size > request->announced || need * 2 > request->announced))
		size = request->announced;
	size = size < need ? need : size;
	if (worker->uploads_b + (size - request->size) > uploads_max(worker)) {
		refuse_body(request, 503, "LARDER_E_BUSY", "too many bodies are being received");
		return -1;
	}
	unsigned char *room = realloc(request->room, L2D_HEAD_SIZE + size + 1);
	if (room == NULL) {
		refuse_body(request, 503, "LARDER_E_NOMEM", "out of memory");
		return -1;
	}
	worker->uploads_b += size - request->size;
	request->room = room;
	request->size = size;
	return 0;
}

static enum MHD_Result take_body(struct l2d_request *request, const char *data, size_t *len)
{
	size_t more = *len;

	*len = 0;
	request->bytes_in += more;
	l2d_add(&request->worker->slot->bytes_in, more);
	if (request->refusal.status == 0 && more > request->limit - request->len)
		refuse_body(request, 413, "LARDER_E_TOO_LARGE", request->limit ? "the value is larger than --max-value" : "no body is taken here");
	if (request->refusal.status == 0 && make_room(request, more) == 0) {
		memcpy(request->room + L2D_HEAD_SIZE + request->len, data, more);
		request->len += more;
		request->room[L2D_HEAD_SIZE + request->len] = '\0';
		return MHD_YES;
	}
	request->discarded += more;
	return request->discarded > request->limit + THROW_AWAY ? MHD_NO : MHD_YES;
}

/* ---- the end ---- */

static int carry_out(struct l2d_request *request)
{
	if (request->refusal.status != 0)
		return l2d_answer_refusal(request, &request->refusal);
	switch (request->route.place) {
	case L2D_AT_HEALTH:
		return l2d_serve_health(request);
	case L2D_AT_METRICS:
		return l2d_serve_metrics(request);
	default:
		return l2d_serve_key(request);
	}
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *connection, const char *path, const char *method, const char *version,
    const char *data, size_t *len, void **context)
{
	struct l2d_request *request = *context;

	if (request == NULL)
		return begin(cls, connection, path, method, version, context);
	if (*len > 0)
		return take_body(request, data, len);
	size_t size = request->size;
	int rc = carry_out(request);
	/* Serving may have taken the body over. */
	if (request->room == NULL)
		request->worker->uploads_b -= size, request->size = 0;
	else
		drop_body(request);
	return rc == MHD_YES ? MHD_YES : MHD_NO;
}

static void log_request(const struct l2d_request *request)
{
	static const char *const methods[L2D_METHODS] = { "GET", "HEAD", "PUT", "POST", "DELETE", "other" };
	const char *id = request->headers.request_id;

	l2d_log(LARDER_LOG_INFO, "request", "worker=%u method=%s status=%u bytes_in=%llu bytes_out=%llu us=%lld%s%s", request->worker->index,
	    methods[request->method], request->status, (unsigned long long)request->bytes_in, (unsigned long long)request->bytes_out,
	    (long long)(now_us() - request->began_us), id ? " request_id=" : "", id ? id : "");
}

static void completed(void *cls, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode why)
{
	struct l2d_worker *worker = cls;
	struct l2d_request *request = *context;

	(void)connection;
	(void)why;
	if (request == NULL)
		return;
	*context = NULL;
	worker->active--;
	l2d_connection_mark(request->own, 0);
	/* One that was cut off before it was answered is counted as status 0. */
	l2d_count(worker->slot, request->method, request->status, request->bytes_out);
	if (worker->service->options.log)
		log_request(request);
	drop_body(request);
	free(request);
}

/* ---- the server ---- */

static void on_connection(void *cls, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode code)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		*context = info ? l2d_connection_begin(cls, info->connect_fd) : NULL;
	else
		l2d_connection_end(cls, *context);
}

/* A path is compared as it came: no key has a character that would have to be escaped. */
static size_t leave_escaped(void *cls, struct MHD_Connection *connection, char *text)
{
	(void)cls;
	(void)connection;
	return strlen(text);
}

int l2d_server_start(struct l2d_worker *worker, int listen_fd)
{
	const struct l2d_options *options = &worker->service->options;

	worker->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_TURBO | MHD_USE_ITC, 0, NULL, NULL, handle, worker,
	    MHD_OPTION_LISTEN_SOCKET, (MHD_socket)listen_fd,
	    MHD_OPTION_CONNECTION_LIMIT, options->connections,
	    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(options->idle_ms / 1000),
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_OF_CONNECTION,
	    MHD_OPTION_STRICT_FOR_CLIENT, 1,
	    MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
	    MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL,
	    MHD_OPTION_URI_LOG_CALLBACK, note_target, NULL,
	    MHD_OPTION_NOTIFY_CONNECTION, on_connection, worker,
	    MHD_OPTION_NOTIFY_COMPLETED, completed, worker,
	    MHD_OPTION_END);
	return worker->daemon ? 0 : -1;
}
