/* SPDX-License-Identifier: MIT */
/**
 * What is done with the cache for a request that is complete and not refused. Each answers (answer.h has the results).
 */
#ifndef L2D_SERVE_H
#define L2D_SERVE_H

#include "request.h"

/** GET and HEAD, PUT and POST, DELETE of a key. */
int l2d_serve_key(struct l2d_request *request);
/** /_health: write, read and delete a key of the service's own; 200 or 503. */
int l2d_serve_health(struct l2d_request *request);
/** /_metrics */
int l2d_serve_metrics(struct l2d_request *request);

#endif
