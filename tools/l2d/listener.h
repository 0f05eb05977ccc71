/* SPDX-License-Identifier: MIT */
/**
 * The listening sockets: one for each worker, all made by the master before it forks, and kept open by it. So a worker that dies takes no
 * connection with it but those it had accepted: the ones that still wait in its queue wait for its successor.
 */
#ifndef L2D_LISTENER_H
#define L2D_LISTENER_H

#include <sys/types.h>

#include "options.h"

struct l2d_listener {
	int fds[L2D_WORKERS_MAX];
	unsigned count;
	unsigned port;            /* 0 for a Unix socket */
	char address[160];        /* as a client would write it */
	char path[108];           /* of a Unix socket, else "" */
	dev_t dev;                /* of that path, to remove only our own */
	ino_t ino;
};

/**
 * Listen for `count` workers at "HOST:PORT", "[V6]:PORT" or "unix:/path". Port 0 is a free one. A Unix socket that nobody listens to any more
 * is replaced; it has one queue for all workers.
 *
 * Returns   0; -1 after a complaint on stderr: in use, no such address, ...
 */
int l2d_listen(const char *where, unsigned count, struct l2d_listener *ret_listener);
/** In a worker: close those of the others. */
void l2d_listener_keep(struct l2d_listener *listener, unsigned index);
/** In the master: close them all, so that nobody can connect any more, and remove a Unix socket's path. */
void l2d_listener_close(struct l2d_listener *listener);

#endif
