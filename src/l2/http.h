/* SPDX-License-Identifier: MIT */
/**
 * HTTP to the second level, and nothing else: a pool of kept-alive connections, one call at a time on each, every call inside one limit of
 * time and its answer inside one limit of size. It knows no codec, no breaker and no retry; those are built on it. The only user of libcurl.
 *
 *     ld_http_config_check()           once, when settings are read: every problem by its setting's name
 *     ld_http_prepare()                in the master
 *     ld_http_new()                    in each process, after fork, at its first call
 *     ld_http_perform() ...            any number of threads
 *     ld_http_tidy() now and then      closes what was idle for too long; each call does some of it too
 *     ld_http_free()                   or, in a child that inherited one, ld_http_abandon()
 *
 * What it never does, whatever the environment or the server says: another protocol than http and https, a redirect, a proxy, .netrc,
 * cookies, a certificate that was not verified, TLS below 1.2, SIGPIPE to the host program.
 *
 * Threads: when a connection is opened, a host name is resolved in a thread that libcurl starts for the time of the look-up; a call whose time is
 * over leaves it behind, and it ends by itself. A server that may have no threads gives an address, "localhost" or a unix socket; none of those starts
 * one.
 *
 * Programs that the host starts inherit no connection. They do inherit two descriptors of each handle over which libcurl would wake itself, and which
 * it does not mark close-on-exec.
 */
#ifndef LD_L2_HTTP_H
#define LD_L2_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "l2/http_text.h"

/** Bounds. Lengths are without the NUL; headers are those of the caller, name, value and four bytes each. */
#define LD_HTTP_URL_MAX 1024
#define LD_HTTP_PATH_MAX 512
#define LD_HTTP_HEADERS_MAX 16
#define LD_HTTP_HEADERS_MAX_B 4096
#define LD_HTTP_TOKEN_MAX 4096
#define LD_HTTP_ETAG_MAX 127
#define LD_HTTP_POOL_MAX 1024
/** Longest Retry-After that is believed. */
#define LD_HTTP_RETRY_AFTER_MAX_MS INT64_C(3600000)

struct ld_log;

/** Settings, by the names of larder(5). Strings are borrowed for the call; NULL or empty = not given. */
struct ld_http_config {
	const char *url;            /* LARDER_L2_URL: http://HOST[:PORT][/PREFIX], https://..., unix:/PATH[:/PREFIX] */
	const char *ca_file;        /* LARDER_L2_CA_FILE: PEM, these and no others; not given: the system's */
	const char *cert_file;      /* LARDER_L2_CERT_FILE: PEM, shown to the server; together with key_file */
	const char *key_file;       /* LARDER_L2_KEY_FILE: PEM */
	const char *token_file;     /* LARDER_L2_TOKEN_FILE: sent as Bearer; without the newline at its end; read again when it changes */
	const char *allow_hosts;    /* LARDER_L2_ALLOW_HOSTS: comma list; HOST, or .DOMAIN for all below it; sockets are not subject to it */
	int64_t connect_ms;         /* LARDER_L2_CONNECT_MS, >= 1: name, TCP and TLS, inside a call's limit */
	int64_t idle_ms;            /* LARDER_L2_IDLE_MS, >= 1: a connection unused for longer is not used again */
	int64_t max_age_ms;         /* LARDER_L2_MAX_AGE_MS, >= 1: nor one that was opened longer ago */
	int64_t pool_wait_ms;       /* LARDER_L2_POOL_WAIT_MS, >= 0: longest wait for a connection of the pool, inside a call's limit */
	uint32_t pool;              /* LARDER_L2_POOL, 1..LD_HTTP_POOL_MAX: connections of a process */
	int http2;                  /* LARDER_L2_HTTP2: 1 = over TLS, where the server has it */
	size_t body_max;            /* largest body of an answer, decoded; a request may lower it */
	const struct ld_log *log;   /* borrowed for as long as the ld_http lives; NULL = nowhere */
};

/**
 * Look a configuration through, files included. An empty problems list means that ld_http_new() will take it.
 *
 * Returns 0; LARDER_E_SETTINGS with a line for each problem
 */
int ld_http_config_check(const struct ld_http_config *config, struct ld_problems *problems);

struct ld_http;

/**
 * Initialise libcurl and what it is built on, once for a process and its children. Best before there are threads, and before chroot() or seccomp.
 * Returns 0 or LARDER_E_NOMEM
 */
int ld_http_prepare(void);

/**
 * Make one for this process; nothing is connected yet. The strings are copied.
 *
 * Returns 0; LARDER_E_SETTINGS; LARDER_E_NOMEM
 */
int ld_http_new(const struct ld_http_config *config, struct ld_http **ret_http);

/** Close all connections and free. No call may be under way. In a child of its maker it is ld_http_abandon(). NULL is allowed. */
void ld_http_free(struct ld_http *http);

/**
 * For a child that inherited one: let go of it without a byte to or from its parent's connections. The child's copies of their descriptors are
 * closed. What threads of the parent had in use at the moment of the fork is lost memory here, and nothing else. NULL is allowed.
 */
void ld_http_abandon(struct ld_http *http);

enum ld_http_method { LD_HTTP_GET, LD_HTTP_HEAD, LD_HTTP_PUT, LD_HTTP_POST, LD_HTTP_DELETE };

struct ld_http_header {
	const char *name;           /* a token of RFC 9110 */
	const char *value;          /* without control characters */
};

/** All borrowed for the call. */
struct ld_http_request {
	enum ld_http_method method;
	const char *path;           /* appended to the URL's prefix: "/...", of [A-Za-z0-9/_.~-], without ".." */
	const struct ld_http_header *headers;
	unsigned headers_count;
	const void *body;           /* PUT and POST; otherwise none */
	size_t body_len;
	int64_t limit_ms;           /* 1..86400000: the whole call, wait for a connection and last byte of the body included */
	size_t body_max;            /* of the answer; 0 = the configuration's, which also bounds this one */
	/** Is the answer wanted no longer? Asked at least 20 times a second while it is waited for. NULL: it is waited for until the limit. */
	int (*stop)(void *ctx);
	void *stop_ctx;
};

enum ld_http_outcome {
	LD_HTTP_OK = 0,         /* a whole answer, of whatever status but a redirect */
	LD_HTTP_TIMEOUT,        /* the time for connecting or for the call was over */
	LD_HTTP_REFUSED,        /* could not connect: refused, unreachable, no such name, no such socket */
	LD_HTTP_RESET,          /* closed or broken before an answer, or within it */
	LD_HTTP_BAD_BODY,       /* too large, cut short, badly encoded, or of a length that is not told */
	LD_HTTP_TLS,            /* no TLS between us: the certificate is refused, theirs or ours */
	LD_HTTP_POOL_BUSY,      /* all connections were in use for the whole of pool_wait_ms, or of the limit where that is shorter; or this process may not
	                           or cannot make a socket or open a certificate, for want of descriptors */
	LD_HTTP_BAD_ANSWER,     /* a redirect, or not HTTP, or headers without end, or a line of them; or libcurl would not begin: then nothing was `sent` */
	LD_HTTP_STOPPED,        /* `stop` said so */
	LD_HTTP_OUTCOMES
};

/** "ok", "timeout", ...; static. */
const char *ld_http_outcome_name(enum ld_http_outcome outcome);

/**
 * What came back. Fields of headers are -1 (numbers), 0 (yes or no) or empty where the header is missing, malformed or out of bounds; but a
 * max-age or Expires that is malformed says that the answer is stale (RFC 9111, 4.2.1 and 5.3). Where one comes twice the more careful value counts: the
 * larger Age, the smaller max-age and windows, the older creation, the earlier end, the longer Retry-After; of ETag and X-Larder-Flags the first. Interim
 * answers (1xx) and trailers are passed over.
 */
struct ld_http_answer {
	enum ld_http_outcome outcome;
	int status;                 /* 200..599 with LD_HTTP_OK; otherwise what was seen of it, 0 = nothing */
	unsigned char *body;        /* with LD_HTTP_OK: body_len bytes and a NUL, or NULL if there are none */
	size_t body_len;
	int64_t age_s;              /* Age */
	int64_t max_age_s;          /* Cache-Control: max-age; where there is none, Expires less Date (or now); malformed: 0 */
	int64_t stale_s;            /* Cache-Control: stale-while-revalidate */
	int64_t error_s;            /* Cache-Control: stale-if-error */
	int64_t last_modified_ms;   /* Last-Modified, since 1970 */
	int64_t created_ms;         /* X-Larder-Created, since 1970 */
	int64_t hard_end_ms;        /* X-Larder-Hard-End, since 1970 */
	int64_t retry_after_ms;     /* Retry-After from now on, 0..LD_HTTP_RETRY_AFTER_MAX_MS; seconds or a date */
	int64_t flags;              /* X-Larder-Flags, 0..2^32-1 */
	uint64_t tags[LD_HTTP_TAGS_MAX]; /* X-Larder-Tags, of all lines together */
	uint32_t tag_count;
	uint8_t bad_tags;           /* 1: such a line was malformed, or there were too many tags: it is not as if there was none */
	uint8_t no_store;           /* Cache-Control */
	uint8_t no_cache;
	uint8_t json;               /* Content-Type: application/json, or ...+json */
	uint8_t sent;               /* something of the request may have reached the server: 0 = it may be repeated whatever it is */
	uint8_t reused;             /* over a connection that was open already */
	char etag[LD_HTTP_ETAG_MAX + 1]; /* with its quotes, and W/ if it is weak; empty when longer */
	int64_t took_us;            /* from call to return */
};

/**
 * One request, one answer. When a connection that was kept alive turns out to be closed, the request is sent again on a new one, within the same
 * limit: that is why a write carries an Idempotency-Key.
 *
 * ret_answer  on 0: filled; give it to ld_http_answer_free(). Otherwise: zeroed, but for `sent`
 *
 * Returns   0; LARDER_E_USAGE a control character, a path, header, length or limit out of bounds: nothing was sent; LARDER_E_NOMEM;
 *           LARDER_E_BUG it belongs to another process
 * Blocks    up to limit_ms    Threads  any    Fork  only its maker
 */
int ld_http_perform(struct ld_http *http, const struct ld_http_request *request, struct ld_http_answer *ret_answer);

/**
 * Several requests of one thread on their way at once, each over a connection of its own:
 *
 *     ld_http_hold()      take a connection of the pool, for one request
 *     ld_http_depart()    the request begins
 *     ld_http_fly()       until one of several has landed; again for the rest
 *     ld_http_release()   the connection goes back; of one that has not landed it is closed, and there is no answer. So is that of a write without one
 *
 * Only `landed` and `result` are for the caller. It belongs to the thread that holds it.
 */
struct ld_http_flight {
	int landed;                 /* 1: over, and `result` is what ld_http_perform() would have returned */
	int result;
	struct ld_http *http;
	struct ld_http_slot *slot;  /* NULL: nothing is held */
	const struct ld_http_request *request;
	struct ld_http_answer *answer;
	int64_t from_ns, until_ns, began_ms, looked_ms;
	int in_air;                 /* libcurl has it */
	int again;                  /* sent for the second time */
};
#define LD_HTTP_FLIGHTS_MAX 64

/**
 * wait_ms  longest wait for a connection; 0 = none; negative = none, and if there is none free it is not counted as a wait
 *
 * Returns 0; LARDER_E_BUSY no connection is free; LARDER_E_NOMEM; LARDER_E_BUG it belongs to another process. Unless 0 nothing is held.
 */
int ld_http_hold(struct ld_http *http, int64_t wait_ms, struct ld_http_flight *flight);
/**
 * Begin it. Request and answer must stay until it is released; from_ns (ld_clock_boot_ns()) is when its limit began.
 * Returns 0, and ret_answer is filled when it has landed with the result 0; LARDER_E_USAGE as ld_http_perform(): it may still be released.
 */
int ld_http_depart(struct ld_http_flight *flight, const struct ld_http_request *request, int64_t from_ns, struct ld_http_answer *ret_answer);
/** Wait until at least one of 1..LD_HTTP_FLIGHTS_MAX flights of one ld_http has landed, for at most wait_ms; at once where one has already. */
void ld_http_fly(struct ld_http_flight *const *flights, unsigned count, int64_t wait_ms);
/** Give the connection back. Twice, or where nothing is held, is allowed. */
void ld_http_release(struct ld_http_flight *flight);

/** Free what the answer holds. A zeroed one, or twice, is allowed. */
void ld_http_answer_free(struct ld_http_answer *answer);

/** Close what was idle for longer than idle_ms or is older than max_age_ms. Does not block. */
void ld_http_tidy(struct ld_http *http);

/** Of one process, since ld_http_new(). */
struct ld_http_stats {
	uint64_t opened;            /* connections that were opened */
	uint64_t reused;            /* calls over a connection that was open already */
	uint64_t closed_idle;       /* closed after idle_ms */
	uint64_t closed_age;        /* closed after max_age_ms */
	uint64_t waits;             /* calls that had to wait for a connection */
	uint64_t busy;              /* of those, calls that got none */
	uint32_t in_use;            /* now: connections with a call on them */
	uint32_t idle;              /* now: kept for the next call */
};
void ld_http_stats(struct ld_http *http, struct ld_http_stats *ret_stats);

#endif
