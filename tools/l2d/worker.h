/* SPDX-License-Identifier: MIT */
/**
 * A worker: one process, one thread that serves connections, one listening socket. Inside it everything of a request happens between two
 * waits; only larder may block, for the budget of a call.
 */
#ifndef L2D_WORKER_H
#define L2D_WORKER_H

#include "listener.h"
#include "options.h"
#include "shared.h"

/** What the master made before it forked; not changed afterwards. */
struct l2d_service {
	struct l2d_options options;
	struct l2d_listener listener;
	struct l2d_shared *shared;
	larder *cache;
	char *token;              /* NULL = none is asked for */
	size_t token_len;
};

/** Longest time that a call of larder may wait for another process. */
#define L2D_BUDGET_MS 100
/** A head that is not complete in this many idle times, or a request that is not over in this many, is cut off. */
#define L2D_HEAD_IDLES 2
#define L2D_REQUEST_IDLES 5
/** Bytes of bodies that a worker keeps at once, in --max-value; 64M at least. */
#define L2D_UPLOADS 32
/** Slots for handles of tenants. */
#define L2D_TENANTS 256

struct MHD_Daemon;
struct MHD_Connection;

/** An open connection; kept in a list, so that what drips can be found. */
struct l2d_connection {
	struct l2d_connection *next, *prev;
	int64_t since_ms;         /* it was accepted, or its last request ended or began */
	int fd;
	int busy;                 /* between head and end of a request */
	const char *target_end;   /* of the request whose head has just come: where its target ends as a string; NULL = not known. Only compared */
};

struct l2d_tenant_slot {
	larder_tenant *handle;
	char name[64];
};

struct l2d_worker {
	const struct l2d_service *service;
	struct l2d_slot *slot;
	struct MHD_Daemon *daemon;
	struct l2d_connection *connections;
	uint64_t life;
	uint64_t uploads_b;       /* bodies that are kept now */
	unsigned index;
	unsigned active;          /* requests between head and end */
	int draining;             /* answers close their connection */
	struct l2d_tenant_slot tenants[L2D_TENANTS];
};

/** Milliseconds of the monotonic clock. */
int64_t l2d_now_ms(void);

/** Serve until SIGTERM, which must be blocked, then drain. Returns the exit code. `service` is the child's own copy. */
int l2d_worker_run(struct l2d_service *service, unsigned index);

/** The handle of a tenant whose name was checked; NULL: out of memory. Valid until the next call. */
larder_tenant *l2d_worker_tenant(struct l2d_worker *worker, const char *name);

#endif
