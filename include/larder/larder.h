/* SPDX-License-Identifier: MIT */
/**
 * larder: one cache for all worker processes of a host.
 *
 * Order of calls in a pre-forking server:
 *
 *     master:  larder_open()                     before fork, once for a directory
 *     worker:  larder_tenant_open()              after or before fork, once for a tenant
 *              larder_get(), larder_set(), ...   any number of threads
 *              larder_tenant_close()
 *     master:  larder_close()
 *
 * A handle made before fork works in every child with no further call. A child that dies, or exits without closing, costs
 * nothing but its slot, which the next process takes over. exit() has the library's threads leave off first, which takes at most two seconds; it does not
 * wait for a loader on one of them.
 *
 * Results: 0 done, > 0 another normal outcome (stale, miss, ...), < 0 an error; enum larder_result has them all. Output
 * parameters are written only where the comment of a call says so. Times are milliseconds, sizes are bytes.
 *
 * Unless a comment says otherwise, a call may be made from any thread of any process, at any time between open and close,
 * but not from a signal handler. Nothing here starts a signal handler, prints, or ends the process. A call needs 64 KiB of stack. A thread must leave a call
 * by its return: cancelled (pthread_cancel) inside it, or left by longjmp() or a C++ exception out of a loader, it leaves held what the call has, the
 * host's writer gate among it, until the process ends. Descriptors that were opened in here are not the program's to close: a daemon closes what it
 * has inherited before larder_open().
 */
#ifndef LARDER_LARDER_H
#define LARDER_LARDER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LARDER_API __attribute__((visibility("default")))
#define LARDER_CHECK __attribute__((warn_unused_result))
#else
#define LARDER_API
#define LARDER_CHECK
#endif

#define LARDER_VERSION_MAJOR 0
#define LARDER_VERSION_MINOR 1
#define LARDER_VERSION_PATCH 0

/** Longest tenant id, `^[a-z0-9-]{1,63}$`; longest space name, `^[a-z0-9-]{1,31}$`; longest name, any bytes. */
#define LARDER_TENANT_MAX 63
#define LARDER_SPACE_MAX 31
#define LARDER_NAME_MAX 4096
/** Bytes of a key's digest: the whole HMAC-SHA-256 (RFC 2104, FIPS 180-4). */
#define LARDER_DIGEST_SIZE 32
/** Longest tag, printable ASCII without blanks; most tags of an entry, whatever the setting LARDER_TAGS_MAX allows; most of one larder_invalidate_tags(). */
#define LARDER_TAG_MAX 64
#define LARDER_ENTRY_TAGS_MAX 16
#define LARDER_INVALIDATE_MAX 256
/** Longest TTL, stale window and error window: ten years. */
#define LARDER_TTL_MAX_MS INT64_C(315360000000)

/** What a call can return. The numbers are part of the ABI; larder_strerror() gives the text. */
enum larder_result {
	LARDER_OK = 0,           /**< done; for a get: a fresh value */
	LARDER_STALE = 1,        /**< a value after its TTL, inside its stale window */
	LARDER_MISS = 2,         /**< there is no such entry */
	LARDER_ABSENT = 3,       /**< remembered as "not found" by larder_set_absent() */
	LARDER_EXISTS = 4,       /**< larder_add(): an entry is there already; nothing was stored */
	LARDER_UNAVAILABLE = 5,  /**< the cache could not answer: go on as after a miss; larder_reason() says why */

	LARDER_E_USAGE = -1,     /**< an argument that no caller may pass: NULL, an unknown flag, a wrong size */
	LARDER_E_TENANT = -2,    /**< the tenant id is malformed, empty or too long */
	LARDER_E_SPACE_NAME = -3,/**< the space is malformed, empty or too long */
	LARDER_E_NAME = -4,      /**< the name is empty or longer than LARDER_NAME_MAX */
	LARDER_E_TTL = -5,       /**< a TTL or window that is negative, zero where it may not be, or above LARDER_TTL_MAX_MS */
	LARDER_E_TOO_LARGE = -6, /**< the value is larger than LARDER_MAX_VALUE */
	LARDER_E_SPACE = -7,     /**< the caller's buffer is too small; the length needed is given */
	LARDER_E_SETTINGS = -8,  /**< settings out of bounds or contradicting each other */
	LARDER_E_SECRET = -9,    /**< no secret, too short, or readable by others */
	LARDER_E_REFUSED = -10,  /**< the directory, file or segment may not be used by this process */
	LARDER_E_BUSY = -11,     /**< not done within its time; nothing changed but that an older value is no longer served */
	LARDER_E_FULL = -12,     /**< not done for want of room; as above */
	LARDER_E_IO = -13,       /**< not done, the store failed; as above */
	LARDER_E_CORRUPT = -14,  /**< damage was found */
	LARDER_E_NOMEM = -15,    /**< the process is out of memory */
	LARDER_E_CLOSED = -16,   /**< the handle is closed, or is no handle */
	LARDER_E_BUG = -17,      /**< a defect in larder; please report it */
	LARDER_E_LIMIT = -18,    /**< over the limit; nothing was taken, and the call says when to try again */
	LARDER_E_L2 = -19,       /**< not in this host's cache, and L2 could not be asked; larder_reason() says why */
	LARDER_E_LOAD = -20      /**< missing, and the loader failed now or a moment ago: larder_retry_after() */
};

/** What a caller can do about an error. */
enum larder_error_class {
	LARDER_CLASS_NONE = 0,   /**< not an error */
	LARDER_CLASS_USAGE,      /**< mend the call or the settings */
	LARDER_CLASS_AGAIN,      /**< the same call may do later */
	LARDER_CLASS_CAPACITY,   /**< give it more room, or a larger buffer */
	LARDER_CLASS_CORRUPT,    /**< run `larder check` */
	LARDER_CLASS_REFUSED,    /**< mend owner, mode or place of the files */
	LARDER_CLASS_IO,         /**< look at the disk */
	LARDER_CLASS_BUG         /**< report it */
};

/** Why the last call of this thread returned LARDER_UNAVAILABLE, LARDER_E_L2, or of larder_flush() LARDER_E_BUSY. */
enum larder_reason {
	LARDER_REASON_NONE = 0,
	LARDER_REASON_ATTACH,    /**< the shared files cannot be opened just now */
	LARDER_REASON_SLOTS,     /**< every process slot is taken: raise LARDER_WORKERS */
	LARDER_REASON_READERS,   /**< every reader slot is taken: raise LARDER_WORKERS */
	LARDER_REASON_READ_GATE, /**< another process holds the reader table, stopped or very slow */
	LARDER_REASON_WRITE_GATE,/**< another process held the writer gate for longer than LARDER_WRITE_WAIT_MS */
	LARDER_REASON_FULL,      /**< no room, and nothing could be evicted */
	LARDER_REASON_PINNED,    /**< no room, because a reader that does not move pins freed pages: `larder stat` names it */
	LARDER_REASON_DISK,      /**< the file system is full, or failed */
	LARDER_REASON_CORRUPT,   /**< the entry failed its checksum */
	LARDER_REASON_NOMEM,     /**< the process is out of memory */
	LARDER_REASON_OFF,       /**< a set while the cache is off, or outside the rollout: not stored, by order */
	LARDER_REASON_L2_TIMEOUT,/**< L2 did not answer in time */
	LARDER_REASON_L2_CONNECT,/**< no connection to L2: refused, unreachable, no such name */
	LARDER_REASON_L2_RESET,  /**< the connection to L2 broke before the answer was whole */
	LARDER_REASON_L2_TLS,    /**< no TLS with L2: a certificate was refused */
	LARDER_REASON_L2_SERVER, /**< L2 answered with 5xx */
	LARDER_REASON_L2_THROTTLED, /**< L2 answered with 429 */
	LARDER_REASON_L2_DENIED, /**< L2 answered with 401 or 403: look at LARDER_L2_TOKEN_FILE */
	LARDER_REASON_L2_REJECTED, /**< L2 answered with another 4xx, or a redirect */
	LARDER_REASON_L2_BODY,   /**< an answer of L2 could not be read, is not HTTP, has a part of the value, or calls another value unchanged */
	LARDER_REASON_L2_OPEN,   /**< the circuit breaker is open: L2 is known to be down, and was not asked */
	LARDER_REASON_L2_BUSY,   /**< no connection was free, or LARDER_L2_INFLIGHT calls of the host were under way */
	LARDER_REASON_COUNT
};

/**
 * A cache: one directory and name on this host. Opaque. Opening the same directory and name twice in a process gives the
 * same handle, counted; it is closed when it was closed as often as it was opened.
 */
typedef struct larder larder;

/** One tenant's view of a cache; the only way to its data, and there is none to another tenant's. Opaque. */
typedef struct larder_tenant larder_tenant;

enum larder_log_level {
	LARDER_LOG_ERROR = 0,
	LARDER_LOG_WARN = 1,
	LARDER_LOG_INFO = 2,
	LARDER_LOG_DEBUG = 3
};

enum larder_breaker_state {
	LARDER_BREAKER_CLOSED = 0,
	LARDER_BREAKER_OPEN = 1,
	LARDER_BREAKER_HALF_OPEN = 2
};

/**
 * Told of a transition of a circuit breaker, in the process and thread that made it, once on the host. breaker: the address of L2, or the tenant whose
 * breaker is its own; transition: "opened-failures", "closed-again", ... Both are borrowed for the call. It may call larder.
 */
typedef void (*larder_breaker_fn)(void *ctx, const char *breaker, enum larder_breaker_state state, const char *transition);

/**
 * Receives one finished line without a newline, in the format of LARDER_LOG_FORMAT, at or below LARDER_LOG_LEVEL. It holds
 * neither names nor any part of a digest. Called from any thread; must not call larder.
 */
typedef void (*larder_log_fn)(void *ctx, enum larder_log_level level, const char *line);

/** Do not read LARDER_* variables (nor RUNTIME_DIRECTORY, CREDENTIALS_DIRECTORY) from the environment. */
#define LARDER_OPEN_NO_ENV UINT32_C(1)

/**
 * How to open. Set size to sizeof(struct larder_options) and the rest to zero; LARDER_OPTIONS_INIT does.
 *
 * settings  NULL, or a NULL-terminated array of "NAME=value" with the names of larder(5) without the prefix LARDER_, such as
 *           "SIZE=256M". They are read as the environment is, with the same bounds, and win over it. Borrowed for the call.
 * user, group  names or decimal ids, or NULL. Only for a process of user 0: everything that is created belongs to them,
 *           so that workers which setuid() later can use it. Borrowed for the call.
 */
struct larder_options {
	size_t size;
	uint32_t flags;
	uint32_t reserved;
	const char *const *settings;
	const char *user;
	const char *group;
	larder_log_fn log;
	void *log_ctx;
	larder_breaker_fn breaker;
	void *breaker_ctx;
};
#define LARDER_OPTIONS_INIT { sizeof(struct larder_options), 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL }

/**
 * Open a cache: read and check the settings and the secret, make directory, segment and store where they are missing.
 *
 * options   NULL for everything from the environment
 * ret_cache on 0: the handle, to be closed with larder_close()
 * ret_why   NULL, or where a text goes on an error: every problem found, a line each, with the allowed range; free with
 *           larder_free(). NULL on success.
 *
 * Returns   0; LARDER_E_SETTINGS, LARDER_E_SECRET, LARDER_E_REFUSED, LARDER_E_FULL (the file system, or the process's limit on
 *           file sizes, is smaller than LARDER_SIZE with its reserve), LARDER_E_IO, LARDER_E_NOMEM, LARDER_E_USAGE. A shared file that is merely busy or damaged is no
 *           error: the handle is returned and heals.
 * Blocks    up to a second, for another process that is opening
 * Fork      call it in the master; or in each process
 */
LARDER_API LARDER_CHECK int larder_open(const struct larder_options *options, larder **ret_cache, char **ret_why);

/**
 * Do at once what the first call after fork would do: take a slot, map the store, lock the secret in memory. Needed by a
 * worker that is about to chroot() or to enter seccomp; good for one of many that are started together, which attach one
 * after the other: a first call waits its budget for that, or half a second, and is LARDER_UNAVAILABLE beyond it. Harmless
 * at any other time.
 *
 * Returns   0; LARDER_UNAVAILABLE not now, and the next call tries again; LARDER_E_CLOSED
 * Blocks    up to five seconds, or LARDER_WRITE_WAIT_MS where that is longer, for other processes that attach; for that long too where one of them is stopped in the midst of it
 */
LARDER_API LARDER_CHECK int larder_attach(larder *cache);

/**
 * Close a handle. The last close of a process stops its background threads, gives its slot back and wipes the secret. It waits for loaders that run in the
 * background, and for a call to L2 that is under way.
 * No other call on the handle, nor on tenants of it, may be running or follow. NULL is allowed.
 */
LARDER_API void larder_close(larder *cache);

/**
 * Make a handle for one tenant.
 *
 * tenant    `^[a-z0-9-]{1,63}$`, borrowed for the call
 * ret_tenant on 0: the handle, to be closed with larder_tenant_close() before the cache is
 *
 * Returns   0; LARDER_E_TENANT, LARDER_E_CLOSED, LARDER_E_NOMEM, LARDER_E_USAGE
 */
LARDER_API LARDER_CHECK int larder_tenant_open(larder *cache, const char *tenant, larder_tenant **ret_tenant);
LARDER_API void larder_tenant_close(larder_tenant *tenant);

/**
 * This call: only the shared memory of this host. Accepted everywhere; without an L2 it changes nothing. A look does not ask L2. What is written, filled,
 * loaded or deleted is not told to L2: what that has, though it be older, is found again by a later call without the flag, when nothing is here.
 */
#define LARDER_CALL_THIS_TIER UINT32_C(1)
/**
 * The caller's own source has failed: a value in its error window is given as well, and treated, as one in its stale window: LARDER_STALE. For
 * larder_get(), larder_get_into(), larder_mget() and larder_exists(), of callers that fill by leases or sets; accepted everywhere, and changes nothing
 * else. Never beyond the error window or the hard end.
 */
#define LARDER_CALL_SOURCE_FAILED UINT32_C(2)

/**
 * What one call may do. NULL is the default everywhere. Set size to sizeof(struct larder_call), the rest to zero.
 *
 * budget_ms  longest time the call may wait for other processes, at most 3,600,000; 0 = LARDER_WRITE_WAIT_MS
 * request_id borrowed for the call; NULL, or 1 to 128 printable ASCII characters without blanks, which go with every log line of the call
 * subkey     borrowed for the call; NULL, or the caller's own sub-key (a user): 1 to 64 printable ASCII characters without blanks. Give a hash of
 *            anything else. What does not fit, "" too, is LARDER_E_USAGE, as with request_id
 */
struct larder_call {
	size_t size;
	uint32_t flags;
	uint32_t budget_ms;
	const char *request_id;
	const char *subkey;
};
#define LARDER_CALL_INIT { sizeof(struct larder_call), 0, 0, NULL, NULL }

enum larder_source {
	LARDER_FROM_NONE = 0,
	LARDER_FROM_L1 = 1,      /**< the shared memory of this host */
	LARDER_FROM_L2 = 2,      /**< the second level, now */
	LARDER_FROM_LOADER = 3   /**< the caller's loader, now */
};

/**
 * A value that was found.
 *
 * data      the bytes; not NULL, also for len 0. Owned by the caller: larder_value_free(). From larder_get_into() it is
 *           the caller's own buffer and nothing is to be freed. After LARDER_ABSENT there is no value: NULL, and len 0
 * age_ms    since it was stored
 * fresh_ms  until its TTL ends; < 0 when stale
 * left_ms   until it is served no more (end of the stale window or the hard end, whichever is first). For a value that is given only because its source
 *           failed: the end of its error window instead
 * hard_end_ms wall clock, milliseconds since 1970; 0 = none
 * flags     what larder_set() was given
 * state     LARDER_OK, LARDER_STALE or LARDER_ABSENT, as the call returned it
 */
struct larder_value {
	void *data;
	size_t len;
	int64_t age_ms;
	int64_t fresh_ms;
	int64_t left_ms;
	int64_t hard_end_ms;
	uint32_t flags;
	int16_t state;
	int16_t source;
};

/** Free what a get returned and set the struct to zero. NULL and a zeroed struct are allowed. */
LARDER_API void larder_value_free(struct larder_value *value);

/** Free a text that larder allocated. NULL is allowed. */
LARDER_API void larder_free(void *text);

/**
 * Look a value up.
 *
 * space     `^[a-z0-9-]{1,31}$`, borrowed for the call
 * name      1..LARDER_NAME_MAX bytes of any content, borrowed for the call
 * ret_value on 0 and LARDER_STALE: the value; on LARDER_ABSENT: its times, no data
 *
 * Returns   0 fresh; LARDER_STALE; LARDER_MISS; LARDER_ABSENT; LARDER_UNAVAILABLE;
 *           LARDER_E_L2 not here, and L2 could not be asked: larder_reason(); LARDER_E_LIMIT not here, and the tenant is over its limit on gets of L2;
 *           after both larder_retry_after();
 *           LARDER_E_SPACE_NAME, LARDER_E_NAME, LARDER_E_USAGE, LARDER_E_CLOSED
 * Blocks    never on another process's lock, but for the first reads of a process, which take a reader slot: up to the
 *           budget. Where L2 is asked: up to LARDER_L2_GET_MS, or the budget if that is shorter
 */
LARDER_API LARDER_CHECK int larder_get(larder_tenant *tenant, const char *space, const void *name, size_t name_len,
    const struct larder_call *call, struct larder_value *ret_value);

/**
 * As larder_get(), into the caller's buffer; no allocation.
 *
 * Returns also LARDER_E_SPACE: the value is longer than buffer_size; ret_value->len is the length needed, the buffer is
 * unchanged.
 */
LARDER_API LARDER_CHECK int larder_get_into(larder_tenant *tenant, const char *space, const void *name, size_t name_len,
    void *buffer, size_t buffer_size, const struct larder_call *call, struct larder_value *ret_value);

/** One key of a call on many. space and name are borrowed for the call; result and value are written for each item. */
struct larder_item {
	const char *space;
	const void *name;
	size_t name_len;
	int result;
	struct larder_value value;
};

/**
 * Look many values up, one snapshot for each 64 of them. Each item's result is what larder_get() would have returned for it. What is not here L2 is
 * asked for, up to LARDER_L2_POOL of them at once, and all within one budget: the call's, or else LARDER_L2_GET_MS.
 *
 * Returns   0 when every item has a result; LARDER_E_USAGE, LARDER_E_CLOSED. Free each item's value.
 */
LARDER_API LARDER_CHECK int larder_mget(larder_tenant *tenant, struct larder_item *items, size_t count,
    const struct larder_call *call);

/** Take this time from the space's policy. */
#define LARDER_POLICY INT64_MIN

/**
 * How to store. NULL = the space's policy. Set size to sizeof(struct larder_store); LARDER_STORE_INIT does, with the
 * policy's times.
 *
 * ttl_ms    1..LARDER_TTL_MAX_MS, or LARDER_POLICY
 * stale_ms  0..LARDER_TTL_MAX_MS after the TTL during which it is served as LARDER_STALE, or LARDER_POLICY
 * hard_end_ms wall clock, milliseconds since 1970: the value is never served at or after it; 0 = none. One that is already
 *           past is no error: nothing is stored, and the older value is removed.
 * flags     the caller's own 32 bits, returned with the value
 * error_ms  0..LARDER_TTL_MAX_MS after the stale window, or LARDER_POLICY: in it the value is no longer served, but to whoever asks its source and
 *           finds that it fails. Without a source it changes nothing but how long the entry takes room
 * tags      NULL, or tag_count texts of 1..LARDER_TAG_MAX printable ASCII characters without blanks: larder_invalidate_tags() of any of them ends the
 *           value. Borrowed for the call. A tag belongs to the tenant: the same text of another one is another tag. Kept as a keyed hash, never as text
 * tag_count 0..LARDER_TAGS_MAX, the setting
 *
 * The TTL is shortened by the policy's jitter, if it has any.
 */
struct larder_store {
	size_t size;
	int64_t ttl_ms;
	int64_t stale_ms;
	int64_t hard_end_ms;
	uint32_t flags;
	uint32_t reserved;
	int64_t error_ms;
	const char *const *tags;
	size_t tag_count;
};
#define LARDER_STORE_INIT { sizeof(struct larder_store), LARDER_POLICY, LARDER_POLICY, 0, 0, 0, LARDER_POLICY, NULL, 0 }

/**
 * Store a value, over any older one.
 *
 * data      len bytes, 0..LARDER_MAX_VALUE, borrowed for the call; NULL only with len 0
 *
 * Returns   0 stored; LARDER_UNAVAILABLE not stored, and no older value is served any more either;
 *           LARDER_E_TOO_LARGE (the older value stays), LARDER_E_TTL, LARDER_E_SPACE_NAME, LARDER_E_NAME, LARDER_E_USAGE,
 *           LARDER_E_CLOSED
 * Blocks    up to the budget, for the writer gate
 */
LARDER_API LARDER_CHECK int larder_set(larder_tenant *tenant, const char *space, const void *name, size_t name_len,
    const void *data, size_t len, const struct larder_store *store, const struct larder_call *call);

/**
 * Remember that there is no such thing: gets return LARDER_ABSENT until the policy's negative TTL, or store->ttl_ms, ends. On this host alone: L2 is told
 * a delete of the name, and gives other hosts nothing. Returns and blocks as larder_set().
 */
LARDER_API LARDER_CHECK int larder_set_absent(larder_tenant *tenant, const char *space, const void *name, size_t name_len,
    const struct larder_store *store, const struct larder_call *call);

/**
 * Store a value only if a get would find none: one atomic step over all processes. Of any number of concurrent adds of one
 * key exactly one returns 0. A stale or a remembered absent entry is no obstacle to it.
 *
 * Returns   0 stored; LARDER_EXISTS; LARDER_E_BUSY, LARDER_E_FULL, LARDER_E_IO it could not be done and nothing at all changed (never
 *           LARDER_UNAVAILABLE: going on as if it had been stored would be wrong; LARDER_E_BUSY while the cache is off, too);
 *           errors of larder_set()
 */
LARDER_API LARDER_CHECK int larder_add(larder_tenant *tenant, const char *space, const void *name, size_t name_len,
    const void *data, size_t len, const struct larder_store *store, const struct larder_call *call);

/**
 * Give an entry new times, counted from now; its value, flags, tags, hard end and the length of its error window stay. A dead entry is not revived.
 *
 * Returns   0; LARDER_MISS; LARDER_UNAVAILABLE the old times hold; errors of larder_set()
 */
LARDER_API LARDER_CHECK int larder_touch(larder_tenant *tenant, const char *space, const void *name, size_t name_len,
    int64_t ttl_ms, int64_t stale_ms, const struct larder_call *call);

/** As larder_get() without the value, and without noting an access. */
LARDER_API LARDER_CHECK int larder_exists(larder_tenant *tenant, const char *space, const void *name, size_t name_len,
    const struct larder_call *call);

/**
 * Remove an entry.
 *
 * Returns   0 it was there and is gone; LARDER_MISS there was none; LARDER_E_BUSY, LARDER_E_FULL, LARDER_E_IO it could not be
 *           removed from the store, but is no longer served on this host
 * Blocks    up to the budget, for the writer gate
 */
LARDER_API LARDER_CHECK int larder_delete(larder_tenant *tenant, const char *space, const void *name, size_t name_len,
    const struct larder_call *call);

/** Remove many entries in one transaction. Each item's result is as of larder_delete(); returns the first error of them, or 0. */
LARDER_API LARDER_CHECK int larder_delete_many(larder_tenant *tenant, struct larder_item *items, size_t count,
    const struct larder_call *call);

/**
 * Clear a space of the tenant, the whole tenant, or everything. One small transaction, whatever the number of entries; their
 * room is reclaimed in the background.
 *
 * Returns   0; LARDER_E_BUSY, LARDER_E_FULL, LARDER_E_IO it could not get in or be recorded: what is there is hidden all the same - after
 *           LARDER_E_BUSY the whole tenant's, also for a space; call again; LARDER_E_SPACE_NAME, LARDER_E_CLOSED, LARDER_E_USAGE
 */
LARDER_API LARDER_CHECK int larder_clear_space(larder_tenant *tenant, const char *space, const struct larder_call *call);
LARDER_API LARDER_CHECK int larder_clear_tenant(larder_tenant *tenant, const struct larder_call *call);
LARDER_API LARDER_CHECK int larder_clear_all(larder *cache, const struct larder_call *call);

/**
 * Invalidate everything of the tenant that was stored under any of these tags: it is not served any more, by any process of the host, from neither tier.
 * One small transaction, whatever the number of entries; their room is reclaimed in the background. What is stored under a tag afterwards is served;
 * what was asked of L2 or of a loader before, and comes with such a tag, is not stored. Tags share a table of 65,536 words: an invalidation may hide
 * a few other tagged entries too, which are then fetched again. Other hosts are not told: they serve what L2 gives them, and what they have, until
 * their own TTL ends.
 *
 * tags      count texts as in struct larder_store, borrowed for the call
 * count     1..LARDER_INVALIDATE_MAX
 *
 * Returns   0; LARDER_E_BUSY, LARDER_E_FULL, LARDER_E_IO it could not get in or be recorded: what is there is hidden all the same, and what L2 has
 *           from before is not given out; LARDER_E_USAGE, LARDER_E_CLOSED
 * Blocks    up to the budget, for the writer gate
 * Threads   any    Fork  any process    Since  0.1
 */
LARDER_API LARDER_CHECK int larder_invalidate_tags(larder_tenant *tenant, const char *const *tags, size_t count, const struct larder_call *call);

/**
 * Tell L2 what it has not been told yet, or wait for the process that does. At the end of a short-lived program, before a host is taken out of service, in
 * tests; servers need not call it. While L2's circuit breaker is open, up to LARDER_BREAKER_OPEN_MAX_MS after L2 is back, nothing is told, however long the
 * budget; `larder breaker --reset` ends that.
 *
 * budget_ms longest time it may take, 0 = one look
 *
 * Returns   0 nothing is pending any more, or there is no second level; LARDER_E_BUSY something still is: larder_reason() is LARDER_REASON_L2_OPEN, with
 *           larder_retry_after(), if the breaker is open now; LARDER_E_CLOSED
 * Blocks    up to the budget, and the time of a call to L2 that is under way then
 */
LARDER_API LARDER_CHECK int larder_flush(larder *cache, uint32_t budget_ms);

/**
 * May the server do this request now? Takes `cost` from the limit of the tenant, and from that of the sub-key (a user of the tenant) if there is
 * one; from both or from neither. All processes of the host count together, over a crash of any of them too. At most rate x time + burst is let
 * through. The rates are those of the tenant in LARDER_SPACES_FILE, else LARDER_LIMIT_RATE and its like; where none applies, the
 * answer is 0 at once. It makes no difference to this call whether the cache is on. The sub-key is neither stored nor logged: what is kept is a
 * keyed hash.
 *
 * Two calls that race for the last of one limit may lose what they took from the other; that lets through less than it might.
 *
 * subkey    borrowed for the call; NULL for call->subkey, if there is one; 1 to 64 printable ASCII characters without blanks: give a hash of anything else
 * cost      1 or more: how much this request counts
 * call      NULL, or how to run
 * ret_retry_after_ms NULL, or where to write on LARDER_E_LIMIT: milliseconds after which the same call may do; -1 if it never will, for the
 *           cost is above the burst
 *
 * Returns   0 go on; LARDER_E_LIMIT refuse; LARDER_UNAVAILABLE nobody could count, go on: only with LARDER_LIMIT_ON_FAILURE=open, with closed
 *           it is LARDER_E_LIMIT, and larder_reason() says why; LARDER_E_USAGE, LARDER_E_CLOSED
 * Blocks    never on another process's lock; the first call of a process attaches: up to the budget
 * Threads   any    Fork  any process    Since  0.1
 */
LARDER_API LARDER_CHECK int larder_limit_take(larder_tenant *tenant, const char *subkey, uint32_t cost, const struct larder_call *call,
    int64_t *ret_retry_after_ms);

/* ---- filling ---- */

/**
 * The right to fill one missing value, of one process on the host; the others wait, or are given what is stale. Opaque. It ends with larder_fill(),
 * larder_fill_absent() or larder_lease_drop(), or by itself: when its process dies, or after LARDER_LEASE_MS unless it is renewed. Then another caller
 * fills. What its holder stores after that is stored all the same, unless the key was set, deleted, cleared or invalidated since the look that missed.
 *
 * One thread at a time. It must be ended before the tenant's handle is closed, in the process that got it; in a child after fork it fills nothing, and
 * larder_lease_drop() only frees it.
 */
typedef struct larder_lease larder_lease;

/** What a loader says. Anything below 0 is LARDER_LOAD_FAILED, and remembered for LARDER_FAIL_THROTTLE_MS. */
enum larder_loaded {
	LARDER_LOAD_FAILED = -1,
	LARDER_LOADED = 0,       /**< larder_load_give() was called */
	LARDER_LOADED_ABSENT = 1,/**< there is no such thing: remembered for the policy's negative TTL, or store.ttl_ms */
	LARDER_LOADED_UNCHANGED = 2 /**< the old value is still good, and gets new times; only where there is an old one */
};

/**
 * One load, given to the loader. Everything above `store` is for reading, and borrowed for the call.
 *
 * old        what the cache has, too old or about to be; NULL = nothing. Its data, len, flags, age_ms and hard_end_ms are set
 * old_etag   what the loader, or L2, gave with it; "" = nothing
 * left_ms    of the caller's budget, or of the time that a load in the background may take; a loader that needs longer goes on, but the caller may be late, and after LARDER_LEASE_MS another one begins.
 *            larder_load_renew() puts that off
 * request_id of the caller; NULL = none
 *
 * The loader may write what follows. store begins with the policy's times; etag is borrowed until the loader has returned, up to 127 bytes, longer is
 * not kept; no_store 1: the value is for this caller alone, and is not kept: those who wait load for
 * themselves then, at once. So they do when the store takes no value.
 */
struct larder_load {
	size_t size;
	const char *space;
	const void *name;
	size_t name_len;
	const struct larder_value *old;
	const char *old_etag;
	int64_t left_ms;
	const char *request_id;
	struct larder_store store;
	const char *etag;
	int no_store;
	int reserved;
	void *inside;
};

/** Fetch the value: enum larder_loaded. May call larder, but not larder_get_or_set() for the same name. ctx as given, or its copy. */
typedef int (*larder_loader)(struct larder_load *load, void *ctx);

/** From inside the loader: the value, copied. The last one counts. Returns 0; LARDER_E_NOMEM; LARDER_E_USAGE. */
LARDER_API LARDER_CHECK int larder_load_give(struct larder_load *load, const void *data, size_t len);
/** From inside the loader: it takes longer, keep others waiting for lease_ms more (at most ten minutes). Returns 0; LARDER_MISS another one has begun. */
LARDER_API LARDER_CHECK int larder_load_renew(struct larder_load *load, uint32_t lease_ms);

/** The loader may be called from a thread of larder's, after larder_get_or_set() has returned: to refresh a stale value. */
#define LARDER_LOAD_ANY_THREAD UINT32_C(1)

/**
 * How to load. Set size to sizeof(struct larder_loading), the rest to zero.
 *
 * ctx        given to the loader. With LARDER_LOAD_ANY_THREAD and ctx_size 0 it must live until the cache is closed
 * ctx_size   0, or so many bytes of ctx are copied for a load that runs later, up to 4096
 * ret_lease  NULL, or where the lease of a stale value goes, or of a fresh one that is due early, for a caller that fills after its response: written NULL
 *            unless it is given one, which can be after LARDER_STALE and after 0. Not used where larder's own thread refreshes
 */
struct larder_loading {
	size_t size;
	uint32_t flags;
	uint32_t ctx_size;
	larder_loader loader;
	void *ctx;
	larder_lease **ret_lease;
};
#define LARDER_LOADING_INIT { sizeof(struct larder_loading), 0, 0, NULL, NULL, NULL }

/**
 * Get, and where there is nothing, load it: once on the host, however many ask. The others wait for that load, within their budgets.
 *
 *     fresh               returned. Shortly before its TTL ends one caller is chosen by chance to refresh it early (policy "beta"; XFetch: Vattani,
 *                         Chierichetti, Lowenstein, Optimal Probabilistic Cache Stampede Prevention, VLDB 2015)
 *     stale               returned at once, and one caller on the host refreshes it: larder's thread, with LARDER_LOAD_ANY_THREAD; else this caller takes
 *                         the lease with it, where ret_lease is given; else this caller, who loads before it returns
 *     missing             L2 is asked, if there is one, then the loader; what comes is stored, and told to L2
 *     the load fails      all who waited fail together: with a stale value where the policy's stale_if_error allows it, else LARDER_E_LOAD. For
 *                         LARDER_FAIL_THROTTLE_MS nobody loads this value again
 *
 * Waiting ends with the budget (call->budget_ms; 0 = LARDER_FILL_WAIT_MS). Then the caller loads by itself, unless the policy says "busy": "fail", or
 * LARDER_FILL_EXTRA such loads of its process are under way: LARDER_E_BUSY.
 *
 * A value whose miss was seen before a set, delete, clear or invalidation of its key is given to the caller who loaded it, and to nobody else.
 *
 * Returns   0; LARDER_STALE; LARDER_ABSENT; LARDER_E_LOAD, LARDER_E_BUSY: larder_retry_after(); LARDER_MISS the loader's value was beyond its hard end;
 *           LARDER_E_TTL the loader gave times out of bounds; LARDER_E_SPACE_NAME, LARDER_E_NAME, LARDER_E_USAGE, LARDER_E_CLOSED
 * Blocks    up to the budget for others, and for as long as the loader takes where it is this caller's to run
 * Fork      a child holds no lease of its parent's
 */
LARDER_API LARDER_CHECK int larder_get_or_set(larder_tenant *tenant, const char *space, const void *name, size_t name_len,
    const struct larder_loading *loading, const struct larder_call *call, struct larder_value *ret_value);

/**
 * For event-driven callers, after a get that found nothing fresh: may this caller fill the value?
 *
 * ret_lease  on 0: to be ended with larder_fill(), larder_fill_absent() or larder_lease_drop(); else NULL is written there
 *
 * Returns   0 it is ours; LARDER_EXISTS there is a fresh value, or "not found", by now: get it; LARDER_E_BUSY somebody else fills: larder_retry_after() says for how
 *           long at most; LARDER_E_LOAD the last load failed a moment ago: larder_retry_after(); LARDER_UNAVAILABLE the cache is off; LARDER_E_NOMEM;
 *           errors of larder_get()
 * Blocks    as a get of this tier
 */
LARDER_API LARDER_CHECK int larder_lease_try(larder_tenant *tenant, const char *space, const void *name, size_t name_len,
    const struct larder_call *call, larder_lease **ret_lease);
/**
 * Store the value, tell those who wait, end and free the lease. store and data as of larder_set().
 *
 * Returns   0 stored; LARDER_EXISTS not stored: the key was set, deleted, cleared or invalidated since; LARDER_UNAVAILABLE; errors of larder_set(). The
 *           lease is ended and freed in each case; NULL is LARDER_E_USAGE
 */
LARDER_API LARDER_CHECK int larder_fill(larder_lease *lease, const void *data, size_t len, const struct larder_store *store,
    const struct larder_call *call);
/** The same for "there is no such thing", as larder_set_absent(). */
LARDER_API LARDER_CHECK int larder_fill_absent(larder_lease *lease, const struct larder_store *store, const struct larder_call *call);
/** Keep it for lease_ms more, at most ten minutes. Returns 0; LARDER_MISS it is over, and another one may fill; LARDER_E_USAGE. */
LARDER_API LARDER_CHECK int larder_lease_renew(larder_lease *lease, uint32_t lease_ms);
/** End and free it without a value. failed 1: those who wait fail with it, and for LARDER_FAIL_THROTTLE_MS nobody tries again. NULL is allowed. */
LARDER_API void larder_lease_drop(larder_lease *lease, int failed);

/** One entry as a listing shows it. All pointers are borrowed for the callback. */
struct larder_listed {
	const char *space;
	const void *name;          /**< NULL where the space's policy does not keep names */
	size_t name_len;
	unsigned char digest[LARDER_DIGEST_SIZE];
	size_t value_len;
	int64_t age_ms;
	int64_t fresh_ms;
	int64_t left_ms;
	uint32_t flags;
	int state;                 /**< LARDER_OK, LARDER_STALE or LARDER_ABSENT */
};

/** Return 0 to go on, anything else to stop the listing. Runs outside any transaction: it may call larder. */
typedef int (*larder_list_fn)(void *ctx, const struct larder_listed *entry);

/**
 * List the live entries of a tenant, in no meaningful order, without looking at another tenant's. Short transactions of
 * at most 200 entries: what is stored or removed meanwhile may or may not be seen, everything else is seen once.
 *
 * space     NULL for all spaces
 *
 * Returns   0; what the callback returned, if not 0; LARDER_UNAVAILABLE; LARDER_E_SPACE_NAME, LARDER_E_CLOSED, LARDER_E_USAGE
 */
LARDER_API LARDER_CHECK int larder_list(larder_tenant *tenant, const char *space, larder_list_fn fn, void *ctx,
    const struct larder_call *call);

/**
 * Counters since the segment was made or reset, of all processes of the host; then the present fill.
 * Set size to sizeof(struct larder_stats) before the call: a program that was built with a shorter struct gets what that one had.
 */
struct larder_stats {
	size_t size;
	uint64_t gets;             /**< all look-ups: the sum of the next seven */
	uint64_t hits;             /**< fresh */
	uint64_t stale_hits;
	uint64_t absent_hits;
	uint64_t misses;
	uint64_t unavailable;      /**< gets that could not be answered */
	uint64_t bypassed;         /**< gets while off, or outside the rollout */
	uint64_t get_errors;       /**< refused arguments */
	uint64_t sets;             /**< stored by a set or add; what L2 or a loader gave is not in it: fills, of `larder stat` */
	uint64_t sets_dropped;     /**< not stored for want of the gate, room or disk */
	uint64_t deletes;          /**< entries removed by a delete */
	uint64_t deletes_failed;
	uint64_t touches;
	uint64_t clears;
	uint64_t evictions;        /**< removed to make room */
	uint64_t expiries;         /**< removed because dead: time, clear or barrier */
	uint64_t corrupt;          /**< entries that failed their checksum */
	uint64_t entries;
	uint64_t used_bytes;       /**< pages in use x page size */
	uint64_t size_bytes;       /**< LARDER_SIZE */
	double hit_ratio;          /**< (hits + stale_hits + absent_hits) / (gets - bypassed - get_errors), 0 when there are none */
	/* The second level. One call may be several requests, but is counted once, by how it ended. */
	uint64_t l2_hits;          /**< calls that found a value */
	uint64_t l2_misses;        /**< calls that found none */
	uint64_t l2_writes;        /**< sets and deletes that L2 has taken */
	uint64_t l2_timeouts;      /**< not answered in time */
	uint64_t l2_unreachable;   /**< no connection, or one that broke */
	uint64_t l2_errors;        /**< 5xx */
	uint64_t l2_throttled;     /**< 429 */
	uint64_t l2_denied;        /**< 401 or 403 */
	uint64_t l2_rejected;      /**< another 4xx, or a redirect */
	uint64_t l2_bad_bodies;    /**< answers that could not be read */
	uint64_t l2_refused;       /**< kept from L2 by the open breaker */
	uint64_t l2_busy;          /**< no free connection, or too many of the host under way */
	uint64_t l2_limited;       /**< kept from L2 by the tenant's limit */
	uint64_t l2_retries;       /**< requests that were repeated */
	uint64_t l2_bytes_in;      /**< of bodies from L2 */
	uint64_t l2_bytes_out;     /**< of bodies to L2 */
	uint64_t l2_ms;            /**< spent waiting for L2 */
	double l2_hit_ratio;       /**< l2_hits / (l2_hits + l2_misses), 0 when there are none */
	/* Fills. */
	uint64_t loads;            /**< calls of a loader, and leases that were filled */
	uint64_t load_failures;    /**< of them, those that failed */
	uint64_t load_joins;       /**< calls that waited for somebody else's fetch instead of making their own */
	uint64_t load_overflows;   /**< calls that waited out their budget */
	uint64_t refreshes;        /**< fetches in the background */
};

/** Returns 0; LARDER_UNAVAILABLE; LARDER_E_CLOSED, LARDER_E_USAGE. The tenant's has its entries and bytes, and its quota as size. */
LARDER_API LARDER_CHECK int larder_get_stats(larder *cache, struct larder_stats *ret_stats);
LARDER_API LARDER_CHECK int larder_tenant_get_stats(larder_tenant *tenant, struct larder_stats *ret_stats);

/** Set the counters of all tenants to zero. Counts made meanwhile by other processes may be lost. */
LARDER_API LARDER_CHECK int larder_stats_reset(larder *cache);

enum larder_health_level {
	LARDER_HEALTH_OK = 0,
	LARDER_HEALTH_DEGRADED = 1, /**< it serves, but not as it should: see larder_health() */
	LARDER_HEALTH_DOWN = 2      /**< neither tier serves */
};

/**
 * One step of a health check.
 *
 * result    LARDER_OK; LARDER_MISS what was written before is not there; LARDER_UNAVAILABLE or LARDER_E_L2 with the reason;
 *           LARDER_E_CORRUPT another value is there; LARDER_E_BUSY, LARDER_E_FULL, LARDER_E_IO
 * reason    enum larder_reason, LARDER_REASON_NONE where the result says it all
 * took_us   how long it took; -1 it was not made, and result is that of the step before
 */
struct larder_health_step {
	int32_t result;
	int32_t reason;
	int64_t took_us;
};

/**
 * One tier: a value was written under a key of its own, read back, and removed.
 *
 * asked     0: there is no such tier, all else is 0
 * reads     1: what was written was read back; or nothing could be written, and a read was answered with a miss
 * writes    1: the value was written, and removed
 */
struct larder_health_tier {
	int32_t asked;
	int32_t reads;
	int32_t writes;
	int32_t reserved;
	struct larder_health_step write;
	struct larder_health_step read;
	struct larder_health_step removal;
};

/** How a cache fares. Set size to sizeof(struct larder_health) before the call. */
struct larder_health {
	size_t size;
	int32_t level;             /**< enum larder_health_level */
	int32_t on;                /**< 0 after `larder off`, or with LARDER_ENABLED=0 */
	struct larder_health_tier l1;
	struct larder_health_tier l2;
	int32_t breaker;           /**< enum larder_breaker_state of L2's, after the check; -1 = there is no L2, or it cannot be seen */
	int32_t evictor_pid;       /**< who does the background work; 0 = nobody */
	int64_t breaker_retry_ms;  /**< until it lets a call through; 0 = now, -1 = not before it is closed by hand */
	int64_t evictor_beat_ms;   /**< since the last sign of life of that process; -1 = never, or it cannot be seen */
	uint64_t outbox_pending;   /**< writes that L2 has not been told yet */
	int64_t outbox_oldest_ms;  /**< age of the oldest of them; 0 = none */
	char reason[256];          /**< why it is not ok, the worst first, in one line; empty when it is */
};

/**
 * Check a cache by using it: write, read and remove a value of 64 bytes under a random name of the reserved tenant
 * "larder-health", space "health", in this host's store, and where LARDER_L2_URL is set in L2 itself, past store and outbox.
 * With LARDER_L2_WRITE=off L2 is only read from. Each step is counted in that tenant's counters. What a check that was killed
 * leaves behind is gone ten seconds later, in both tiers.
 *
 *     down      neither reading nor writing works in the store, and there is no L2, or neither works there
 *     degraded  otherwise, when one of these holds:
 *               a step failed in either tier;
 *               the breaker of L2 is not closed;
 *               the process that does the background work gave no sign of life for 5 s - not with LARDER_EVICTOR=inline, nor
 *               asked by a process that does such work itself and has been attached for less than that;
 *               a write has waited for over 60 s to be told to L2;
 *               the cache is switched off: its store is not judged then, for it does not store, by order
 *     ok        otherwise
 *
 * The breaker lets these calls through as any other: an open one refuses them, and one that is due takes the first as its
 * probe. After a time-out, a connection that could not be made, or a refusal of the breaker no further step is made in L2.
 *
 * Returns   0 with all fields written, however the cache fares; LARDER_E_NOMEM, LARDER_E_CLOSED, LARDER_E_USAGE with nothing
 *           written
 * Blocks    up to LARDER_WRITE_WAIT_MS for each step in the store; LARDER_L2_SET_MS, _GET_MS and _DELETE_MS in L2
 * Threads   any    Fork  any process    Since  0.1
 */
LARDER_API LARDER_CHECK int larder_health(larder *cache, struct larder_health *ret_health);

/** A short text for a result; never NULL; static. */
LARDER_API const char *larder_strerror(int result);
/** The name of a result as logs and tools print it, "LARDER_E_BUSY"; never NULL; static. */
LARDER_API const char *larder_result_name(int result);
/** What can be done about a result. */
LARDER_API enum larder_error_class larder_classify(int result);
/** Why this thread's last call gave LARDER_UNAVAILABLE, LARDER_E_L2, or of larder_flush() LARDER_E_BUSY; and its text. */
LARDER_API enum larder_reason larder_reason(void);
LARDER_API const char *larder_reason_text(enum larder_reason reason);
/**
 * Milliseconds before which it is no use to make this thread's last call again; 0 = not known, or at once. Each call that reads, writes, takes from a
 * limit or tries for a lease begins with 0, as does larder_flush(); it is set by these results:
 *
 *     LARDER_E_L2     of L2, or of its breaker; for one that was opened by hand LARDER_BREAKER_OPEN_MAX_MS
 *     LARDER_E_LIMIT  of the limit, also of larder_limit_take(): *ret_retry_after_ms, -1 if it never will do
 *     LARDER_E_LOAD   what is left of LARDER_FAIL_THROTTLE_MS
 *     LARDER_E_BUSY   of larder_get_or_set() and larder_lease_try() what is left of the other one's lease; of larder_flush() of the breaker
 *     LARDER_STALE    as for LARDER_E_L2 and LARDER_E_LIMIT, where that is why the value is stale
 *
 * and after larder_mget() it is the longest of its items.
 */
LARDER_API int64_t larder_retry_after(void);
/** "0.1.0" */
LARDER_API const char *larder_version(void);

#ifdef __cplusplus
}
#endif

#endif
