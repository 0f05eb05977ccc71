/* SPDX-License-Identifier: MIT */
/**
 * The open connections of a worker, in a list, so that one which sends or takes a byte now and then for ever can be found.
 */
#ifndef L2D_CONNECTION_H
#define L2D_CONNECTION_H

#include "worker.h"

/** It was accepted. NULL without memory: it is served all the same, but not watched. */
struct l2d_connection *l2d_connection_begin(struct l2d_worker *worker, int fd);
/** It was closed. NULL is allowed. */
void l2d_connection_end(struct l2d_worker *worker, struct l2d_connection *own);
/** A request of it begins (busy 1) or ends (0). NULL is allowed. */
void l2d_connection_mark(struct l2d_connection *own, int busy);
/** Shut down those whose head or request takes longer than L2D_HEAD_IDLES, L2D_REQUEST_IDLES allow. */
void l2d_connections_cut(struct l2d_worker *worker, int64_t now_ms);

#endif
