/* SPDX-License-Identifier: MIT */
/**
 * larder, seen from outside: for tools that look into a live cache, and for the agent that does its background work.
 *
 * An inspector needs no secret: it sees keys, not names (but for spaces that keep them). It takes a process slot and a reader
 * slot like a worker, reads in slices of at most 200 entries, and never holds the writer gate for longer than a worker does.
 */
#ifndef LARDER_INSPECT_H
#define LARDER_INSPECT_H

#include <larder/larder.h>

#ifdef __cplusplus
extern "C" {
#endif

/** An attached inspector. Opaque; one thread at a time. */
typedef struct larder_inspector larder_inspector;

/**
 * Attach to an existing cache. Nothing is created but the slot.
 *
 * options   as larder_open(); the secret is neither needed nor read
 * ret_why   as larder_open()
 *
 * Returns   0; LARDER_MISS there is no cache in that directory; LARDER_UNAVAILABLE not now; errors of larder_open()
 */
LARDER_API LARDER_CHECK int larder_inspect_open(const struct larder_options *options, larder_inspector **ret_inspector, char **ret_why);
LARDER_API void larder_inspect_close(larder_inspector *inspector);

/** States of an entry, as bits for a filter. */
#define LARDER_IS_FRESH UINT32_C(1)
#define LARDER_IS_STALE UINT32_C(2)
#define LARDER_IS_EXPIRED UINT32_C(4)   /**< beyond TTL and windows, or past its hard end; not yet reclaimed */
#define LARDER_IS_CLEARED UINT32_C(8)   /**< under a clear, an invalidated tag or a barrier; not yet reclaimed */
#define LARDER_IS_DAMAGED UINT32_C(16)  /**< checksum or format wrong */
#define LARDER_IS_ERROR_WINDOW UINT32_C(32) /**< after its stale window: served only when its source fails */
#define LARDER_IS_ANY UINT32_C(63)

/** One entry. Pointers are borrowed for the callback. Wall-clock times are milliseconds since 1970. */
struct larder_entry {
	const char *tenant;
	const char *space;
	const void *name;          /**< NULL where not kept */
	size_t name_len;
	unsigned char digest[LARDER_DIGEST_SIZE];
	const void *value;         /**< NULL unless asked for; NULL for an absent or damaged entry */
	size_t value_len;
	size_t stored_bytes;       /**< what it occupies: row and chunks */
	int64_t created_ms;        /**< wall clock, as of now */
	int64_t expires_ms;        /**< end of the TTL, wall clock, as of now */
	int64_t stale_end_ms;      /**< end of the stale window or hard end, wall clock, as of now */
	int64_t dead_ms;           /**< end of the error window or hard end, wall clock, as of now */
	int64_t hard_end_ms;       /**< 0 = none */
	int64_t age_ms;
	int64_t fresh_ms;
	int64_t left_ms;           /**< until stale_end_ms */
	int64_t error_left_ms;     /**< until dead_ms */
	uint64_t sequence;         /**< write transaction, growing */
	uint32_t flags;
	uint32_t state;            /**< exactly one LARDER_IS_ bit */
	uint32_t hits_estimate;    /**< from the access sketch, 0..15, halved as time goes by */
	uint16_t key_id;
	uint8_t absent;            /**< 1: a remembered "not found" */
	uint8_t tag_count;         /**< 0..LARDER_ENTRY_TAGS_MAX */
	uint32_t load_ms;          /**< what it took to load it; 0 = not known */
	const uint64_t *tags;      /**< keyed hashes, the same wherever the secret is; NULL only with tag_count 0 */
};

/** Give entries their value. */
#define LARDER_INSPECT_VALUES UINT32_C(1)

/** Which entries. Set size to sizeof; zero fields do not filter, but states: 0 = those that somebody may still be given. */
struct larder_filter {
	size_t size;
	uint32_t flags;
	uint32_t states;
	const char *tenant;
	const char *space;
	int64_t age_min_ms, age_max_ms;
	uint64_t value_min, value_max;
};

/** Return 0 to go on, anything else to stop. Runs outside any transaction. */
typedef int (*larder_entry_fn)(void *ctx, const struct larder_entry *entry);

/**
 * Walk the entries. With a tenant only that tenant's rows are touched.
 *
 * progress  NULL, or called once a slice with rows looked at and rows in all (an estimate); non-zero stops
 *
 * Returns   0; what a callback returned if not 0; LARDER_UNAVAILABLE; LARDER_E_USAGE, LARDER_E_TENANT, LARDER_E_SPACE_NAME
 */
typedef int (*larder_progress_fn)(void *ctx, uint64_t done, uint64_t total);
LARDER_API LARDER_CHECK int larder_inspect_entries(larder_inspector *inspector, const struct larder_filter *filter,
    larder_entry_fn fn, larder_progress_fn progress, void *ctx);

/** The cache as a whole. Set size to sizeof before the call. */
struct larder_summary {
	size_t size;
	const char *directory;     /**< borrowed until close */
	const char *name;
	uint64_t size_bytes;       /**< LARDER_SIZE */
	uint64_t map_bytes;        /**< with the reserve */
	uint64_t file_bytes;       /**< the file as it stands */
	uint64_t used_bytes;       /**< pages in use x page size */
	uint64_t free_bytes;       /**< pages free in the file, reusable now */
	uint64_t pinned_bytes;     /**< pages free, but kept back by the oldest reader */
	uint64_t segment_bytes;
	uint64_t entries, chunks, max_entries, tenants, tenants_max;
	uint64_t low_bytes, high_bytes;
	uint64_t sequence;         /**< last write transaction */
	uint32_t file_generation;  /**< grows when the store is made anew */
	uint32_t slots, slots_max, readers, readers_max;
	int64_t made_ms;           /**< when the segment was made, wall clock */
	int64_t evictor_pid;       /**< 0 = none */
	int64_t evictor_beat_ms;   /**< since its last sign of life */
	int64_t sweep_ms;          /**< since the last full sweep ended; -1 = none yet */
	int64_t gate_pid;          /**< who holds the writer gate; 0 = nobody */
	int64_t gate_held_ms;
	int32_t on;                /**< 0 after `larder off` */
	uint32_t layout;           /**< version of the shared layout */
};
LARDER_API LARDER_CHECK int larder_inspect_summary(larder_inspector *inspector, struct larder_summary *ret_summary);

/** A counter that explains itself. value is summed over all tenants. */
typedef int (*larder_counter_fn)(void *ctx, const char *name, const char *text, uint64_t value);
LARDER_API LARDER_CHECK int larder_inspect_counters(larder_inspector *inspector, larder_counter_fn fn, void *ctx);

/** A process slot. state: "live", "dead" (to be reclaimed), "stopped" (a signal stopped it). */
struct larder_slot {
	uint32_t index;
	int32_t pid;
	int64_t attached_ms;       /**< ago */
	const char *state;
	const char *role;          /**< "worker", "inspector", "agent" */
	int evictor;               /**< 1: it does the background work */
	int gate;                  /**< 1: it holds the writer gate */
};
typedef int (*larder_slot_fn)(void *ctx, const struct larder_slot *slot);
LARDER_API LARDER_CHECK int larder_inspect_slots(larder_inspector *inspector, larder_slot_fn fn, void *ctx);

/** A reader of the store. lag: write transactions since its snapshot, 0 when idle. pinning: 1 if it is the oldest and active. */
struct larder_reader {
	int32_t pid;
	int active;
	int pinning;
	uint64_t lag;
};
typedef int (*larder_reader_fn)(void *ctx, const struct larder_reader *reader);
LARDER_API LARDER_CHECK int larder_inspect_readers(larder_inspector *inspector, larder_reader_fn fn, void *ctx);

/** A tenant. quota_bytes 0 = none. counters as larder_tenant_get_stats(). */
struct larder_tenant_info {
	const char *tenant;
	uint64_t entries, bytes, quota_bytes;
	struct larder_stats stats;
};
typedef int (*larder_tenant_fn)(void *ctx, const struct larder_tenant_info *tenant);
LARDER_API LARDER_CHECK int larder_inspect_tenants(larder_inspector *inspector, larder_tenant_fn fn, void *ctx);

/** One thing found wrong: what it is, and whether it was mended. tenant and digest may be NULL. */
struct larder_finding {
	const char *what;
	const char *tenant;
	const unsigned char *digest;
	int mended;
};
typedef int (*larder_finding_fn)(void *ctx, const struct larder_finding *finding);

/**
 * Walk everything: rows, checksums, chunks without a row, rows without chunks, accounts of tenants, dead slots and readers.
 *
 * repair    1: damaged rows and lost chunks are removed, accounts are put right
 * ret_found on 0: how many findings
 */
LARDER_API LARDER_CHECK int larder_inspect_check(larder_inspector *inspector, int repair, larder_finding_fn fn,
    larder_progress_fn progress, void *ctx, uint64_t *ret_found);

/**
 * Switch the cache off or on for every running process at once. While it is off gets miss and sets are not stored, but sets
 * and deletes still remove what is there, so nothing old is served when it is on again. Holds until the segment is made anew.
 */
LARDER_API LARDER_CHECK int larder_inspect_switch(larder_inspector *inspector, int on);

/** Set the counters of all tenants and of the host to zero, as larder_stats_reset(). */
LARDER_API LARDER_CHECK int larder_inspect_reset(larder_inspector *inspector);

/** Clear by name without a secret; space NULL = whole tenant, tenant NULL = everything. Results as larder_clear_space(). */
LARDER_API LARDER_CHECK int larder_inspect_clear(larder_inspector *inspector, const char *tenant, const char *space);

/**
 * Store an entry as a dump gave it: under its digest, with its remaining times. The cache must have the secret that the dump's
 * had, or nobody will ever find the entry.
 *
 * Used of entry: tenant, space, name, digest, value, fresh_ms, left_ms, error_left_ms, hard_end_ms, flags, key_id, absent, load_ms, tags. What was
 * invalidated by tag, or cleared, after the dump was made is not known here: such an entry comes back.
 *
 * Returns   0; LARDER_MISS its time is over, nothing stored; LARDER_UNAVAILABLE; errors of larder_set()
 */
LARDER_API LARDER_CHECK int larder_inspect_restore(larder_inspector *inspector, const struct larder_entry *entry);

/**
 * Transitions of a breaker of one kind: "opened-failures", "opened-errors", "opened-slow", "half-opened", "reopened", "closed",
 * "forced-open", "closed-by-hand", "reset".
 */
struct larder_transition {
	const char *name;
	uint64_t count;
};

/**
 * A circuit breaker. Everything is borrowed for the callback. Each number is right by itself, they need not be of one moment.
 *
 * name      address of L2, or the tenant whose breaker is its own; "shared" for the one that many share when the table is full; "(unnamed)"
 *           while the process that made it has not written its name
 * state     "closed", "open", "half-open", "forced-open"
 * retry_after_ms  until a call is let through; 0 = now, -1 = not before it is closed by hand
 * failures_in_row, window_  since it closed; 0 unless it is closed. The window is this process's LARDER_BREAKER_WINDOW_MS long
 * successes probes in a row that succeeded, of those that close it; 0 unless it is half-open
 */
struct larder_breaker {
	const char *name;
	const char *state;
	int64_t retry_after_ms;
	uint32_t failures_in_row;
	uint32_t successes;
	uint32_t window_calls, window_failures, window_slow;
	uint32_t transition_count;
	const struct larder_transition *transitions; /**< one for each kind, in a fixed order */
	uint64_t refused;          /**< calls kept from L2 */
	uint64_t failures;         /**< calls that counted as failed */
	uint64_t slow;             /**< calls that counted as slow */
	uint64_t neutral;          /**< calls that taught nothing */
	uint64_t probes;           /**< calls let through as a probe */
	uint64_t probes_lost;      /**< probes that were not reported in their time: their process died or stopped */
	uint64_t late_reports;     /**< of an earlier state: they changed nothing */
	int64_t opened_ms, half_opened_ms, closed_ms; /**< ago, the last of each; -1 = never */
};
typedef int (*larder_breaker_info_fn)(void *ctx, const struct larder_breaker *breaker);

/**
 * One call for each breaker of the cache, those that no process uses any more included; fn may call larder.
 *
 * Returns   0; what fn returned if not 0; LARDER_UNAVAILABLE; LARDER_E_USAGE
 */
LARDER_API LARDER_CHECK int larder_inspect_breakers(larder_inspector *inspector, larder_breaker_info_fn fn, void *ctx);

enum larder_breaker_order {
	LARDER_BREAKER_ORDER_OPEN = 1,  /**< refuse every call until it is closed or reset by hand */
	LARDER_BREAKER_ORDER_CLOSE = 2, /**< let every call through; failures are counted anew, and may open it again */
	LARDER_BREAKER_ORDER_RESET = 3  /**< as new, its statistics zeroed */
};

/**
 * Order a breaker, for all processes at once. What was so already stays as it is. A transition is logged, and told to the
 * callback of the options that the inspector was opened with.
 *
 * name      as larder_inspect_breakers() tells it; NULL = every one
 *
 * Returns   0; LARDER_MISS there is no such breaker (with NULL: none at all); LARDER_UNAVAILABLE; LARDER_E_USAGE
 */
LARDER_API LARDER_CHECK int larder_inspect_breaker_force(larder_inspector *inspector, const char *name, enum larder_breaker_order order);

/**
 * The outbox: what L2 has not been told yet. Set size to sizeof before the call. The first six are of one snapshot, and
 * enqueued = acknowledged + failed + dropped + coalesced + pending.
 */
struct larder_outbox {
	size_t size;
	uint64_t enqueued;         /**< sets and deletes that were to be told */
	uint64_t acknowledged;     /**< taken by L2 */
	uint64_t failed;           /**< refused by L2 for good */
	uint64_t dropped;          /**< given up: over the bounds, or too old */
	uint64_t coalesced;        /**< replaced by a newer write of the same key */
	uint64_t pending;          /**< waiting */
	uint64_t pending_bytes;    /**< of entries that are kept for pending sets */
	uint64_t rows_max;         /**< bounds in force: of pending, */
	uint64_t bytes_max;        /**< of pending_bytes, */
	int64_t age_max_ms;        /**< of the oldest */
	int64_t oldest_ms;         /**< age of the oldest pending one; 0 = none. Beyond 2,000 rows as of the last pass over all */
	const char *teller;        /**< "none"; the process that tells L2: "live", "stopped" (a signal stopped it: another may take over), "dead" */
	int32_t teller_pid;        /**< 0 = nobody */
	int32_t reserved;
	int64_t sending_ms;        /**< so long from now at most requests of it may be on their way; 0 = none */
};
LARDER_API LARDER_CHECK int larder_inspect_outbox(larder_inspector *inspector, struct larder_outbox *ret_outbox);

/** A write that waits, as it would be told now; no value. Pointers are borrowed for the callback. */
struct larder_outbox_row {
	const char *tenant;
	const char *op;            /**< "set", "delete" */
	unsigned char digest[LARDER_DIGEST_SIZE];
	int64_t created_ms;        /**< wall clock, when it was written */
	int64_t age_ms;
	uint64_t value_len;        /**< of a set */
	int64_t left_ms;           /**< of a set: until its TTL ends */
	uint64_t sequence;         /**< write transaction, growing */
};
typedef int (*larder_outbox_fn)(void *ctx, const struct larder_outbox_row *row);
/**
 * Walk them in the order of keys, in slices of at most 200; fn runs outside any transaction. tenant NULL = all.
 * Returns 0; what fn returned if not 0; LARDER_UNAVAILABLE; LARDER_E_TENANT, LARDER_E_USAGE.
 */
LARDER_API LARDER_CHECK int larder_inspect_outbox_each(larder_inspector *inspector, const char *tenant, larder_outbox_fn fn, void *ctx);

/**
 * Everything that decides what a get of one name does now, and what it would do. Set size to sizeof before the call. The store's part is of one snapshot,
 * the rest of moments around it. Texts are static. Ages and times left are milliseconds; sequences are write transactions.
 */
struct larder_explanation {
	size_t size;
	/* What a get would do. */
	int32_t asks_l2;           /**< 1: it would ask L2, and return its answer; `result` is then for when L2 has none */
	int32_t waits;             /**< 1: it would wait for somebody else who fetches the value; `result` is then for when that one finds none */
	int32_t refreshes;         /**< 1: it would return the stale value at once, while L2 is asked for a newer one; in a process without threads, before it returns */
	int32_t result;            /**< enum larder_result of a get */
	int32_t if_l2_fails;       /**< the same, when L2 is asked, by whomever, and fails */
	const char *why;           /**< one sentence */
	/* What a larder_get_or_set() would do. */
	int32_t loads;             /**< 1: it would have its loader called, if L2 has none */
	int32_t load_waits;        /**< 1: it would wait for somebody else who loads */
	int32_t load_result;       /**< what it would return if the load, its own or the other's, fails */
	int32_t may_be_early;      /**< 1: it may have a fresh value refreshed, by lot */
	const char *load_why;      /**< one sentence */
	/* The key, and what goes for it. */
	unsigned char digest[LARDER_DIGEST_SIZE];
	int32_t on;                /**< 0 after `larder off` */
	int32_t passed;            /**< 1: LARDER_ENABLED is off, or the key is outside LARDER_ROLLOUT */
	int64_t ttl_ms, stale_ms, error_ms, negative_ms; /**< the policy of now, for what is stored from now on */
	int32_t keeps_names;
	/* The entry. The rest of it is 0 where there is none, or it is damaged. */
	uint32_t state;            /**< a LARDER_IS_ bit; 0 = there is none */
	int32_t absent;            /**< 1: a remembered "not found" */
	int32_t tells_l2;          /**< 1: a set or delete of now would be told to L2 */
	int64_t age_ms;
	int64_t fresh_ms, left_ms, error_left_ms; /**< until the end of TTL, stale window and error window; below 0: over for so long; the hard end counted in */
	int64_t load_ms;           /**< that its load took; 0 = it was not loaded */
	int64_t hard_end_ms;       /**< wall clock; 0 = none */
	uint64_t sequence, value_len, stored_bytes;
	uint32_t flags, hits_estimate;
	char etag[128];
	/* What hides it: an entry whose sequence is below a clear's, or not above the barrier's, is not served. 0 = none. */
	uint64_t cleared_all, cleared_tenant, cleared_space;
	uint64_t barrier;          /**< a write of the key, or of one that shares its place, could not be done */
	uint32_t tag_count;        /**< tags of the entry */
	uint32_t reserved;
	uint64_t tag;              /**< hash of the one of them that was invalidated last, or shares its word with one; 0 = none was */
	uint64_t tag_cleared;      /**< when; as a clear's */
	/* The lease: who fetches the value. */
	int32_t lease_held;        /**< 1: somebody has it, and its time is not over; the next five are 0 otherwise */
	int32_t lease_pid;         /**< 0 = not known: its holder is dead */
	int32_t lease_alive;       /**< 1: its holder lives; of a dead one the next caller takes it over */
	int32_t lease_outdated;    /**< 1: the key was written since: the next caller takes it over */
	int64_t lease_age_ms, lease_left_ms;
	uint32_t lease_waiting;    /**< calls that came to wait for its end */
	uint32_t reserved2;
	int64_t throttled_ms;      /**< a load failed, and for so long there is no other; 0 = there may be */
	int64_t failed_ago_ms;     /**< the last load that failed; -1 = none that is known */
	/* What L2 has not been told, and what it may not hand back. */
	const char *pending;       /**< "none", "set", "delete"; a pending write of the key keeps L2 from being asked */
	int64_t pending_ms;        /**< how long it has waited */
	int64_t l2_invalid_ms;     /**< wall clock: what L2 has from before it is not given out; 0 = none */
	/* The way to L2. */
	int32_t l2;                /**< 1: there is a second level */
	int32_t breaker;           /**< enum larder_breaker_state; -1 = none */
	int32_t breaker_own;       /**< 1: it is the tenant's own, by its policy */
	int64_t breaker_retry_ms;  /**< until a call is let through; 0 = now, -1 = not before it is closed by hand */
	int64_t limit_rate;        /**< the tenant's gets of L2 in 10^9 s; 0 = no limit */
	int64_t limit_retry_ms;    /**< until the limit lets one through; 0 = now */
};

/**
 * Explain a name to an operator. It needs the secret, hence a tenant's handle. Nothing is counted, noted as an access, stored, taken from a limit, or
 * asked of L2; nothing is logged.
 *
 * name      as larder_get()
 *
 * Returns   0; LARDER_UNAVAILABLE the store could not be looked into; LARDER_E_USAGE, LARDER_E_SPACE_NAME, LARDER_E_NAME, LARDER_E_CLOSED
 * Blocks    as larder_get() without L2    Threads  any    Fork  any process    Since  0.1
 */
LARDER_API LARDER_CHECK int larder_inspect_explain(larder_tenant *tenant, const char *space, const void *name, size_t name_len,
    struct larder_explanation *ret_explanation);

/**
 * Do the background work of the cache for at most wait_ms, waiting for work included: evict, sweep, clear dead readers and
 * slots. For a process of its own (`larder agent`) beside servers that run with LARDER_THREADS=off.
 *
 * Where LARDER_L2_URL is set, the first call starts a thread that tells L2 what the outbox holds, while no other process does,
 * until the inspector is closed: a slow L2 must not keep the evictor waiting. It needs no secret.
 *
 * Returns   0 it did the work, or waited for some; LARDER_EXISTS another live process has the role; LARDER_UNAVAILABLE;
 *           LARDER_E_SETTINGS those of L2 are wrong, the log has why; LARDER_E_NOMEM
 */
LARDER_API LARDER_CHECK int larder_inspect_work(larder_inspector *inspector, uint32_t wait_ms);

/** A setting, as the table of larder(5) has it, with the value in effect. problem: NULL, or what is wrong with the value. */
struct larder_setting {
	const char *name;          /**< with LARDER_ */
	const char *type;          /**< "size", "time", "number", "percent", "text", "path", "choice", "flag" */
	const char *bounds;        /**< "1M..1T", or the choices */
	const char *fallback;      /**< the default, as text */
	const char *text;          /**< one sentence */
	const char *value;         /**< effective, as text; "(set)" for a secret */
	const char *origin;        /**< "default", "environment", "options", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY" */
	const char *problem;
};
typedef int (*larder_setting_fn)(void *ctx, const struct larder_setting *setting);

/**
 * Tell every setting, then one row for each unknown LARDER_* variable (type NULL, problem set), then one for each contradiction
 * and each fault of the spaces file (name NULL, problem set).
 *
 * Returns   0 all well; LARDER_E_SETTINGS there were problems; what the callback returned if not 0; LARDER_E_USAGE for options that no
 *           caller may pass, or fn NULL; LARDER_E_NOMEM
 */
LARDER_API LARDER_CHECK int larder_settings_each(const struct larder_options *options, larder_setting_fn fn, void *ctx);

#ifdef __cplusplus
}
#endif

#endif
