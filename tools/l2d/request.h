/* SPDX-License-Identifier: MIT */
/**
 * One request, from its head to its end, as libmicrohttpd calls for it. What is wrong with a head is decided before any of the body is read;
 * the answer is given at once if the body is long, else when it has been read, so that the connection can go on.
 */
#ifndef L2D_REQUEST_H
#define L2D_REQUEST_H

#include "headers.h"
#include "worker.h"

/** A refusal that is decided, but perhaps not yet sent. status 0 = none. */
struct l2d_refusal {
	unsigned status;
	unsigned retry_after_s;   /* 0 = none */
	const char *name;         /* "LARDER_E_...": static */
	const char *why;          /* static, without anything of the caller's */
};

struct l2d_request {
	struct l2d_worker *worker;
	struct MHD_Connection *connection;
	struct l2d_connection *own;
	const char *method_text;
	enum l2d_method method;
	enum l2d_codec codec;     /* of the body of a write */
	struct l2d_headers headers;
	struct l2d_route route;
	struct l2d_refusal refusal;
	unsigned char *room;      /* L2D_HEAD_SIZE bytes, then the body, then a NUL; NULL before the first byte */
	size_t len;               /* of the body */
	size_t size;              /* room for the body */
	size_t limit;             /* more is refused */
	int cut;                  /* the path is what stands before a NUL */
	uint64_t announced;       /* Content-Length, 0 if there is none */
	uint64_t discarded;
	uint64_t bytes_in;
	int64_t began_us;
	unsigned status;          /* of the answer */
	uint64_t bytes_out;
};

/** Decide on a head; also sets method, codec, limit and route. For request.c. */
void l2d_request_judge(struct l2d_request *request, const char *path);

/** Start the worker's server on its socket: worker->daemon, without a thread. Returns 0 or -1. */
int l2d_server_start(struct l2d_worker *worker, int listen_fd);

#endif
