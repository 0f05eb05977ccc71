/* SPDX-License-Identifier: MIT */
/**
 * The second level as the cache uses it: get, put, delete and head of one key, each within one limit of time, with whatever stands between a call and
 * the network:
 *
 *     call -> breaker of the host (or the tenant's own) -> bound on calls under way -> HTTP, retried within the limit -> codec
 *
 * Breaker, retry budget and bound are in the segment, so the host learns once that L2 is down. Nobody stays inside the store while a request is on its
 * way: what is admitted is reported later, and the breaker's pass tells a report that came too late. Where there is no segment just now, a breaker of
 * the process itself does.
 *
 * One struct ld_l2 is made in the master, with nothing connected; connections are made in each process at its first call and never
 * shared. Threads: any. Fork: works in every child, with no further call.
 */
#ifndef LD_L2_CLIENT_H
#define LD_L2_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include <larder/larder.h>

#include "base/log.h"
#include "l1/store.h"
#include "l2/codec.h"
#include "l2/http.h"
#include "shm/breaker.h"

/** Where the tenant goes. */
enum ld_l2_tenant_in { LD_L2_IN_HEADER = 0, LD_L2_IN_PATH = 1, LD_L2_IN_BOTH = 2 };

/** Copied, but for the log, which is borrowed for as long as it lives. */
struct ld_l2_config {
	struct ld_http_config http;
	enum ld_codec codec;            /* of what is written; what is read says itself what it is */
	enum ld_l2_tenant_in tenant_in;
	int64_t get_ms, set_ms, delete_ms; /* longest time of a call, retries included */
	uint32_t retries;               /* after the first try */
	uint32_t inflight;              /* calls of the host under way at once */
	size_t value_max;
	struct ld_breaker_settings breaker;
	larder_breaker_fn on_breaker;   /* NULL: nobody is told */
	void *on_breaker_ctx;
};

/** How a call ended. Those from LD_L2_TIMEOUT on are an outage or a refusal: nothing is known of the value. */
enum ld_l2_outcome {
	LD_L2_HIT = 0,                  /* GET, HEAD: it is there; PUT, DELETE: done */
	LD_L2_MISS,                     /* 404, 410, or what is there has expired */
	LD_L2_SAME,                     /* 304: the caller's copy is still good */
	LD_L2_UNKEPT,                   /* PUT: the codec cannot carry so short a life; nothing was sent */
	LD_L2_TIMEOUT,
	LD_L2_CONNECT,                  /* refused, unreachable, no such name */
	LD_L2_RESET,
	LD_L2_TLS,
	LD_L2_SERVER,                   /* 5xx */
	LD_L2_THROTTLED,                /* 429 */
	LD_L2_DENIED,                   /* 401, 403, 407 */
	LD_L2_REJECTED,                 /* another 4xx, or a redirect: any 3xx but a 304 that was asked for */
	LD_L2_BODY,                     /* an answer that cannot be read: not HTTP, cut short, a part of the value, a 304 of another value */
	LD_L2_OPEN,                     /* the breaker is open */
	LD_L2_BUSY,                     /* no connection free, no descriptor for one, or too many calls of the host under way */
	LD_L2_LOCAL,                    /* out of memory, or a request that may not be sent */
	LD_L2_OUTCOMES
};
/** The reason that larder_reason() gives for it; LARDER_REASON_NONE up to LD_L2_UNKEPT. */
enum larder_reason ld_l2_reason(enum ld_l2_outcome outcome);

struct ld_l2;

/**
 * Check the configuration and make one. store is borrowed.
 *
 * Returns 0; LARDER_E_SETTINGS with problems; LARDER_E_NOMEM
 */
int ld_l2_new(const struct ld_l2_config *config, struct ld_store *store, const struct ld_log *log, struct ld_l2 **ret_l2,
    struct ld_problems *problems);
/** No call may be under way. NULL is allowed. */
void ld_l2_free(struct ld_l2 *l2);

/** Which key, and how. All borrowed for the call. */
struct ld_l2_call {
	const struct ld_key *key;
	int64_t budget_ms;              /* of the caller; 0 = the limit of the settings. The shorter one counts */
	int64_t until_ms;               /* boot clock: nothing is sent after it, however late this process comes to it; 0 = no such time */
	const char *request_id;         /* NULL: a random one */
	const struct ld_breaker_settings *breaker; /* of the tenant, whose breaker is then its own; NULL = the host's */
};

/** More about the end of a call. */
struct ld_l2_end {
	int64_t retry_after_ms;         /* OPEN, THROTTLED, SERVER: so long, if it was told; else 0 */
	int64_t took_ms;
	uint32_t tries;                 /* requests sent */
	int status;                     /* of the last answer; 0 = none. 300..399 with LD_L2_REJECTED: a redirect, which says nothing against the request */
	int unanswered;                 /* 1: L2 may have a request of this call that it has not answered, and may carry it out later */
};

/** Times for an answer that gives none, and what the caller has already. */
struct ld_l2_have {
	int64_t default_ttl_ms, default_stale_ms;
	const struct ld_wire_value *copy; /* with its etag and tags: asked for only if it differs; NULL = there is none */
	int64_t default_error_ms;
	int want_error_window;            /* 1: a value in its error window is LD_L2_HIT too, with left_ms and stale_left_ms 0 */
};

/**
 * GET. ret_value on LD_L2_HIT: free with ld_wire_value_free(); on LD_L2_SAME: the copy's new times, without data.
 * Blocks up to the limit.
 */
enum ld_l2_outcome ld_l2_get(struct ld_l2 *l2, const struct ld_l2_call *call, const struct ld_l2_have *have,
    struct ld_wire_value *ret_value, struct ld_l2_end *ret_end);
/** One of several keys: what is asked, and how it ended. Zeroed but for the first two. */
struct ld_l2_ask {
	struct ld_l2_call call;                /* its budget does not count */
	struct ld_l2_have have;
	struct ld_wire_value value;            /* as ret_value of ld_l2_get() */
	struct ld_l2_end end;
	enum ld_l2_outcome outcome;
};
enum { LD_L2_MANY = 64 };
/**
 * GET of 1..LD_L2_MANY keys at once, over as many connections as the pool has free and the host's bound on calls under way lets in; the others wait for
 * those. Each key has its own outcome, retries and report to the breaker, exactly as with ld_l2_get(); all together have one budget (0 = the limit of the
 * settings). A key whose turn does not come within it is LD_L2_TIMEOUT. Blocks up to the budget.
 */
void ld_l2_get_many(struct ld_l2 *l2, struct ld_l2_ask *const *asks, size_t count, int64_t budget_ms);

/** HEAD: LD_L2_HIT, LD_L2_MISS, or an outage. */
enum ld_l2_outcome ld_l2_head(struct ld_l2 *l2, const struct ld_l2_call *call, struct ld_l2_end *ret_end);

/** The bytes that name one logical write, the same each time that it is sent (Idempotency-Key). */
enum { LD_L2_WRITE_ID = 16 };
enum ld_l2_outcome ld_l2_put(struct ld_l2 *l2, const struct ld_l2_call *call, const struct ld_wire_value *value,
    const unsigned char write_id[LD_L2_WRITE_ID], struct ld_l2_end *ret_end);
enum ld_l2_outcome ld_l2_delete(struct ld_l2 *l2, const struct ld_l2_call *call, const unsigned char write_id[LD_L2_WRITE_ID],
    struct ld_l2_end *ret_end);

/** Would a call be admitted now? 1, or 0 with the time until one may be; takes nothing. For the drainer, which waits. */
int ld_l2_is_open(struct ld_l2 *l2, int64_t *ret_retry_after_ms);

/** The host's breaker, as it is now. 0, or -1 where it cannot be seen. */
int ld_l2_breaker(struct ld_l2 *l2, struct ld_breaker_view *ret_view);
/** The one that this call would come to: the host's, or its tenant's own. It makes none. */
int ld_l2_breaker_of(struct ld_l2 *l2, const struct ld_l2_call *call, struct ld_breaker_view *ret_view);

/** The longest that any call may take: after so long no request of ours is on its way any more. */
int64_t ld_l2_longest_ms(const struct ld_l2 *l2);

#endif
