/* SPDX-License-Identifier: MIT */
/*
 * Open connections (connection.h). The server closes those without any traffic by itself; what is cut off here is shut down only, so that the
 * server sees its end and closes it like any other.
 */
#include "connection.h"

#include <stdlib.h>
#include <sys/socket.h>

struct l2d_connection *l2d_connection_begin(struct l2d_worker *worker, int fd)
{
	struct l2d_connection *own = calloc(1, sizeof(*own));

	if (own == NULL)
		return NULL;
	own->fd = fd;
	own->since_ms = l2d_now_ms();
	own->next = worker->connections;
	if (own->next)
		own->next->prev = own;
	worker->connections = own;
	l2d_add(&worker->slot->connections, 1);
	return own;
}

void l2d_connection_end(struct l2d_worker *worker, struct l2d_connection *own)
{
	if (own == NULL)
		return;
	if (own->prev)
		own->prev->next = own->next;
	else
		worker->connections = own->next;
	if (own->next)
		own->next->prev = own->prev;
	l2d_add(&worker->slot->connections, (uint64_t)-1);
	free(own);
}

void l2d_connection_mark(struct l2d_connection *own, int busy)
{
	if (own == NULL)
		return;
	own->busy = busy;
	own->since_ms = l2d_now_ms();
}

void l2d_connections_cut(struct l2d_worker *worker, int64_t now_ms)
{
	const int64_t idle_ms = worker->service->options.idle_ms;

	for (struct l2d_connection *at = worker->connections; at; at = at->next)
		if (now_ms - at->since_ms > idle_ms * (at->busy ? L2D_REQUEST_IDLES : L2D_HEAD_IDLES)) {
			shutdown(at->fd, SHUT_RDWR);
			at->since_ms = now_ms;
		}
}
