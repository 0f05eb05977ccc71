/* SPDX-License-Identifier: MIT */
/**
 * The store of one cache: segment and LMDB environment together, made, attached and healed; and every operation on its entries. It
 * hides fork: one struct ld_store, made in the master, works in every process, because each call compares the generation of the process with
 * the one that attached.
 *
 * States of a store in a process, and the way between them (l1/store.c):
 *
 *     away ----attach----> here ----file or segment replaced, damage----> draining ----all calls out----> away
 *       ^                    |
 *       +------- fork -------+   (the child starts away, and lets go of what it inherited)
 *
 * Calls made while it is not here attach, within their budget; when that fails they return LARDER_UNAVAILABLE, and the next attempt is made a
 * moment later.
 */
#ifndef LD_L1_STORE_H
#define LD_L1_STORE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <larder/inspect.h>

#include "base/log.h"
#include "base/text.h"
#include "shm/seg.h"

enum ld_evictor_mode { LD_EVICTOR_THREAD = 0, LD_EVICTOR_INLINE = 1, LD_EVICTOR_OFF = 2 };

/** What a store is opened with; copied. */
struct ld_store_config {
	char *dir;                     /* borrowed for the call */
	char *name;                    /* borrowed for the call */
	uid_t uid;                     /* owner of what is made; -1 = as it comes */
	gid_t gid;
	struct ld_seg_params params;
	int64_t wait_ms;               /* default budget of a call */
	enum ld_evictor_mode evictor;
	int threads;                   /* 0: start none */
	int create;                    /* 0: fail with LARDER_MISS when there is no cache */
	struct ld_seg_self self;
	struct ld_log log;             /* its cache name is replaced by our copy of name */
};

struct ld_store;

/**
 * Check the directory and the file system, make what is missing, attach once and let go of it again, so that children inherit no environment.
 * Returns as larder_open(); LARDER_MISS without `create`.
 */
int ld_store_open(const struct ld_store_config *config, struct ld_store **ret_store, struct ld_problems *problems);
void ld_store_close(struct ld_store *store);
/** It was opened by somebody who wanted less (an inspector): from now on it may create and starts a thread as this config says. */
void ld_store_promote(struct ld_store *store, const struct ld_store_config *config);
/** Attach now. 0 or LARDER_UNAVAILABLE with the thread's reason set. */
int ld_store_attach(struct ld_store *store);
const struct ld_log *ld_store_log(const struct ld_store *store);
/** The params in force: those of the segment. */
void ld_store_params(const struct ld_store *store, struct ld_seg_params *ret_params);

/**
 * Whose entry. tenant and space are checked ids. row_hint remembers the tenant's row of the segment across calls (attach serial << 32 |
 * row); zero at first, owned by the caller.
 */
struct ld_key {
	const char *tenant;
	const char *space;
	uint64_t tenant_tag;           /* ld_store_tag(tenant, NULL) */
	uint64_t scope_tag;            /* ld_store_tag(tenant, space) */
	uint64_t quota_b;
	int keep_quota;                /* 1: the tenant's row keeps the quota it has */
	int tell_l2;                   /* 1: what is written under it is told to L2: a row of the outbox, in the same transaction (l1/outbox.h) */
	_Atomic uint64_t *row_hint;
	unsigned char digest[LARDER_DIGEST_SIZE];
};
uint64_t ld_store_tag(const char *tenant, const char *space);

/** How a call runs. pass: the cache is switched off for this key by the process's own settings. */
struct ld_way {
	int64_t budget_ms;             /* 0 = the store's */
	int pass;
};

/**
 * Every write that had ended when this was noted; for ld_store_fill(). segment: which one it is of, so that it says nothing after a new one was made.
 * All zero: not noted; a fill with that is discarded.
 */
struct ld_seen {
	uint64_t seq;
	int64_t segment;
};

/**
 * What a look-up found. pending: 1 where nothing was found (with LD_NOTE_SEEN: nothing fresh), and L2 has not been told the last write of this key, or where that cannot be known:
 * L2 must not be asked. Where we could not attach it is 0: without the store there is no such promise.
 */
struct ld_found {
	void *data;                    /* allocated, or the caller's buffer */
	size_t len;
	int64_t created_ms, fresh_until_ms;
	int64_t stale_until_ms;        /* end of the stale window */
	int64_t dead_ms;               /* end of the error window */
	int64_t hard_end_ms;
	int64_t now_ms, wall_ms;       /* wall_ms only when hard_end_ms is not 0 */
	uint32_t flags;
	uint32_t load_ms;              /* what it took to load it; 0 = not known */
	int error_only;                /* 1: in its error window: to be given to the caller only when its source fails. Only with LD_NOTE_ERROR_WINDOW */
	unsigned tag_count;            /* of look->tags; 0 where nothing was written there */
	int pending;
	int bypassed;                  /* 1: the cache is off, or the key is outside the rollout: nothing was looked up */
	struct ld_seen seen;           /* only with LD_NOTE_SEEN, for LARDER_MISS and LARDER_STALE */
};

/**
 * note: LD_NOTE_ACCESS in the access sketch; LD_NOTE_SEEN what a fill needs, at the price of a second look where nothing fresh was found, and with
 * LD_NOTE_EARLY where something was, too; LD_NOTE_UNCOUNTED in no counter of gets;
 * LD_NOTE_ERROR_WINDOW a value in its error window is wanted too (LARDER_STALE, with found->error_only), where it is LARDER_MISS otherwise, as is one that
 * the caller's buffer is too small for. It is counted as a miss either way;
 * LD_NOTE_SOURCE_FAILED a value in its error window is found, and counted, as any stale one: whoever asks has seen its source fail.
 */
enum { LD_NOTE_ACCESS = 1, LD_NOTE_SEEN = 2, LD_NOTE_ERROR_WINDOW = 4, LD_NOTE_UNCOUNTED = 8, LD_NOTE_EARLY = 16, LD_NOTE_SOURCE_FAILED = 32 };
/** Most tags of an entry. A tag is a keyed hash (cache/tags.c), the same on all hosts that have the secret. */
enum { LD_TAGS_MAX = LARDER_ENTRY_TAGS_MAX };
/** buffer NULL: allocate. want_data 0: times only. */
struct ld_look {
	void *buffer;
	size_t buffer_size;
	int want_data;
	int note;
	char *etag;                    /* NULL, or room for LD_ETAG_MAX + 1 bytes: of a stale value, "" if it has none */
	uint64_t *tags;                /* NULL, or room for LD_TAGS_MAX: of a stale value; found->tag_count says how many */
};

/**
 * Look up. Counts what it returns.
 * Returns 0, LARDER_STALE, LARDER_ABSENT, LARDER_MISS, LARDER_UNAVAILABLE with the reason set, LARDER_E_SPACE with ret_found->len.
 */
int ld_store_get(struct ld_store *store, const struct ld_key *key, const struct ld_way *way, const struct ld_look *look,
    struct ld_found *ret_found);
/** Many look-ups in one snapshot; results[i] as above. */
void ld_store_get_many(struct ld_store *store, const struct ld_key *keys, size_t count, const struct ld_way *way,
    const struct ld_look *look, struct ld_found *ret_found, int *ret_results);

/** What to store. */
struct ld_put {
	const void *data;
	size_t len;
	const void *name;              /* NULL = not kept */
	size_t name_len;
	const char *etag;              /* NULL, or up to LD_ETAG_MAX bytes of text */
	int64_t ttl_ms;
	int64_t stale_ms;              /* window after the TTL in which it is served at once */
	int64_t error_ms;              /* window after that one in which it is served only when its source fails */
	int64_t hard_end_ms;
	int64_t l2_ttl_ms;             /* TTL that L2 is told; 0 = the one that it has here */
	uint32_t jitter_pct;           /* 0..90: ttl_ms is shortened by a random share of at most so much; never lengthened */
	uint32_t load_ms;              /* what it took to load it; 0 = not known */
	uint32_t flags;
	unsigned tag_count;            /* 0..LD_TAGS_MAX */
	const uint64_t *tags;          /* borrowed */
	uint16_t key_id;
	int absent;
	int only_new;                  /* add */
	int loaded;                    /* a fill of a loader's value, not of L2's */
};

/**
 * Store. Returns 0; LARDER_EXISTS (only_new); LARDER_UNAVAILABLE with the reason set (the key is under a barrier);
 * with only_new LARDER_E_BUSY, LARDER_E_FULL, LARDER_E_IO instead. With tell_l2 a value is told as a set, "not found" as a delete.
 */
int ld_store_put(struct ld_store *store, const struct ld_key *key, const struct ld_way *way, const struct ld_put *put);
/**
 * Store what came from L2 or from a loader: as ld_store_put(), but it changes nothing that is newer, and raises no barrier when it fails. seen: of the look-up
 * that found nothing fresh, made before L2 was asked, or the loader.
 *
 * Returns 0; LARDER_EXISTS it was discarded, and counted so: the key was set, deleted, touched or cleared, or a tag of what is stored here was
 *         invalidated, since, perhaps by a call that could not be completed; or was filled since; or has a write that is not told yet; or the store was made anew. LARDER_UNAVAILABLE with the reason set
 */
int ld_store_fill(struct ld_store *store, const struct ld_key *key, const struct ld_way *way, const struct ld_put *put, const struct ld_seen *seen);
/**
 * May a value be given out that L2 handed back, created at this time (wall clock; 0 = undated) with these tags? No (0) when an invalidation time covers
 * it - of one of its tags, its tenant, its space, everything, or of a write of the key that could not be done - and the value is undated, older, or newer
 * by no more than skew_ms; else 1. To be asked after L2 has answered. Lock-free where the store is here.
 */
struct ld_l2_given {
	int64_t created_wall_ms;
	int64_t skew_ms;
	const uint64_t *tags;          /* borrowed; NULL with tag_count 0 */
	unsigned tag_count;
};
int ld_store_l2_admits(struct ld_store *store, const struct ld_key *key, const struct ld_l2_given *given);
/** Remove; as larder_delete(). One transaction; ret_results[i] of each. With tell_l2 the delete is told whether there was an entry or not. Returns the first error, or 0. */
int ld_store_delete(struct ld_store *store, const struct ld_key *keys, size_t count, const struct ld_way *way, int *ret_results);
/** New times, as of a put; the error window keeps its length. With tell_l2 the entry is told again. 0, LARDER_MISS, LARDER_UNAVAILABLE. */
struct ld_touch { int64_t ttl_ms, stale_ms, l2_ttl_ms; uint32_t jitter_pct; };
int ld_store_touch(struct ld_store *store, const struct ld_key *key, const struct ld_way *way, const struct ld_touch *touch);
/**
 * Clear: space NULL = the tenant, tenant NULL = everything; L2's older values too, by an invalidation time, even when the clear could not be done.
 * 0, LARDER_E_BUSY, LARDER_E_FULL, LARDER_E_IO.
 */
int ld_store_clear(struct ld_store *store, const char *tenant, const char *space, const struct ld_way *way);
/**
 * What was stored under any of these tags before is not served any more, and what L2 has of it from before neither, even when this could not be done:
 * 0, LARDER_E_BUSY, LARDER_E_FULL, LARDER_E_IO. key: whose call it is; its digest is not looked at. Costs the same whatever was stored.
 */
int ld_store_invalidate_tags(struct ld_store *store, const struct ld_key *key, const uint64_t *tags, size_t count, const struct ld_way *way);

/** One bucket of the limiter, and what it allows. The tag is a hash that the caller makes: nobody can tell from it whose it is. */
struct ld_limit_ask {
	uint64_t tag;
	struct ld_limit_rule rule;
};
enum { LD_LIMIT_ASKS = 4 };
/**
 * Take `cost` from each of 0..LD_LIMIT_ASKS buckets, or from none; counted for the key's tenant, whose digest is not looked at.
 * Returns 0; LARDER_E_LIMIT with ret_retry_ms: milliseconds after which it may do, < 0 never, the cost is above a burst; LARDER_UNAVAILABLE with the
 * reason set: nothing was taken.
 */
int ld_store_limit(struct ld_store *store, const struct ld_key *key, const struct ld_way *way, const struct ld_limit_ask *asks,
    unsigned count, uint32_t cost, int64_t *ret_retry_ms);
/** From now on, and for so long at least, rules that mind a cold host have half their rate. 0; LARDER_UNAVAILABLE. */
int ld_store_limit_half(struct ld_store *store, int64_t for_ms);

/**
 * The lease of a key: whoever has it fetches the missing value, for all processes of the host. Answers, ends and struct ld_lease are those of shm/lease.h, where
 * it is said what they promise: one fetch at a time as a rule, and never a wrong value for the lack of it, which ld_store_fill() sees to. The order is
 *
 *     look up (LD_NOTE_SEEN) ---> try ---> TAKEN: fetch, ld_store_fill(), end
 *                                     ---> HELD: wait, then look up again
 *
 * Between a look-up and a lease that is TAKEN the value may have been stored by whoever had it before: then lease->stored is 1, and another look-up is due
 * before the fetch. Calls and leases may change threads; copies of a lease are as good as it is, until it is renewed.
 */

/**
 * Take the lease until lease_ms (1..LD_LEASE_TIME_MAX_MS) from now, or learn why not. seen: of the caller's own look-up, as for ld_store_fill(); NULL = not
 * noted. A holder is not joined but taken over when it is dead, when its time is over, or when the key was written since its own look-up, and
 * ours is newer; if ours is not, the answer is NONE. HELD: ret_lease is whom to wait for. HELD, THROTTLED: ret_retry_ms until it is over.
 *
 * Never blocks but to attach. NONE too where the store is not here.
 */
enum ld_lease_answer ld_store_lease_try(struct ld_store *store, const struct ld_key *key, const struct ld_way *way, const struct ld_seen *seen,
    int64_t lease_ms, struct ld_lease *ret_lease, int64_t *ret_retry_ms);
/**
 * Wait for the end of a lease that was HELD, until end_ms (boot clock) at most.
 * Returns 0 with how it ended; LARDER_MISS there is nobody to wait for any more: dead, noticed within 20 ms, over time, taken over, or the store is
 *         another one: try again; LARDER_E_BUSY end_ms has come
 */
int ld_store_lease_wait(struct ld_store *store, const struct ld_lease *lease, int64_t end_ms, enum ld_lease_end *ret_end);
/** End it, and wake all who wait; throttle_ms counts with LD_LEASE_FAILED. Nothing happens if it is not ours any more, nor in a child of the one who took it. */
void ld_store_lease_end(struct ld_store *store, struct ld_lease *lease, enum ld_lease_end end, int64_t throttle_ms);
/** Ours until lease_ms from now. 0; LARDER_MISS it is not ours any more. */
int ld_store_lease_renew(struct ld_store *store, struct ld_lease *lease, int64_t lease_ms);

/** For tools: who has it, and since when. */
struct ld_lease_info {
	int held;                      /* 1: somebody has it, and its time is not over */
	int alive;                     /* these six only of a held one: its holder lives */
	int32_t pid;                   /* 0 = not known: it is dead */
	int outdated;                  /* 1: the key was written since: nobody joins it */
	int64_t age_ms, left_ms;
	uint32_t waiting;              /* who came to wait for it */
	int64_t throttled_ms;          /* > 0: a fetch failed, and for so long there is no other */
	int64_t failed_ago_ms;         /* last failure; -1 = none that is known */
};
/** Changes nothing. 0; LARDER_MISS nothing is known of the key; LARDER_UNAVAILABLE with the reason set. */
int ld_store_lease_look(struct ld_store *store, const struct ld_key *key, struct ld_lease_info *ret_info);
/** What is left of the throttle, and holds up such a call; 0 = nothing does, as where the cache is off, when nobody asks for a lease. */
int64_t ld_store_lease_throttled(struct ld_store *store, const struct ld_key *key, const struct ld_way *way);
/** Everything that decides about one key, as seen in one snapshot. Times as in struct ld_found. */
struct ld_store_explained {
	int off;
	uint32_t state;                /* LARDER_IS_ bit, 0 = no row; the entry's fields are 0 then, and where it is damaged */
	int absent;
	int64_t created_ms, fresh_until_ms, stale_until_ms, dead_ms, hard_end_ms, now_ms, wall_ms;
	uint64_t seq, value_len, stored_b;
	uint32_t flags, hits, load_ms;
	uint32_t tag_count;
	uint64_t tag, tag_cleared;     /* of its tags the one that was invalidated last, and up to which sequence; both 0 = none was */
	char etag[128];                /* LD_ETAG_MAX and the end */
	uint64_t cleared_all, cleared_tenant, cleared_space, barrier;
	int pending;                   /* 0 = nothing, else enum ld_outbox_op */
	int64_t pending_since_ms;
	int64_t l2_invalid_ms;         /* as ld_store_l2_admits() asks for; wall clock */
};
/** Look without a trace: nothing is counted, noted, made or mended. 0, or LARDER_UNAVAILABLE with the reason set. */
int ld_store_explain(struct ld_store *store, const struct ld_key *key, struct ld_store_explained *ret_explained);

/** Count a call that never reached the store (refused arguments, pass-through). */
void ld_store_count(struct ld_store *store, const struct ld_key *key, enum ld_tenant_counter which);

/**
 * Do something short to the segment: fn runs inside the store, with the time. For the states that others keep there (breakers, limits).
 * Returns what fn returned; LARDER_UNAVAILABLE with the reason set.
 */
int ld_store_with(struct ld_store *store, int64_t budget_ms, int (*fn)(struct ld_seg *seg, int64_t now_ms, void *ctx), void *ctx);
/** Grows with each attachment of this process: what was counted in its slot under another one is gone. */
uint32_t ld_store_serial(struct ld_store *store);

/** Called with each entry of a scan, outside any transaction. Non-zero stops. */
typedef int (*ld_scan_fn)(void *ctx, const struct larder_entry *entry);
struct ld_scan {
	const char *tenant;            /* NULL = all */
	const char *space;             /* NULL = all */
	uint32_t states;               /* LARDER_IS_ bits */
	int values;
	ld_scan_fn fn;
	larder_progress_fn progress;   /* NULL = none */
	void *ctx;
};
/** Walk in slices of at most 200 rows. 0, what the callback returned, LARDER_UNAVAILABLE. */
int ld_store_scan(struct ld_store *store, const struct ld_scan *scan);

/** larder_inspect_check(). */
int ld_store_check(struct ld_store *store, int repair, larder_finding_fn fn, larder_progress_fn progress, void *ctx, uint64_t *ret_found);

/** This process is there for the background work alone; shown in listings of slots. */
void ld_store_is_agent(struct ld_store *store);
/** Background work for at most wait_ms; larder_inspect_work(). */
int ld_store_work(struct ld_store *store, int64_t wait_ms);

/** Summaries for tools. */
int ld_store_summary(struct ld_store *store, struct larder_summary *ret_summary);
int ld_store_slots(struct ld_store *store, larder_slot_fn fn, void *ctx);
int ld_store_readers(struct ld_store *store, larder_reader_fn fn, void *ctx);
/** Sums over all tenants, or of one (row_key NULL = all); in the order of the enums. Fill of the store, or the tenant's account. */
struct ld_tallies {
	uint64_t tenant[LD_TENANT_COUNTERS];
	uint64_t host[LD_HOST_COUNTERS];
	uint64_t entries, used_b, size_b;
};
int ld_store_tallies(struct ld_store *store, const struct ld_key *key, struct ld_tallies *ret_tallies);
int ld_store_tally_reset(struct ld_store *store);
/** One call for each known tenant. */
typedef int (*ld_tenant_fn)(void *ctx, const char *tenant, uint64_t quota_b, const struct ld_tallies *tallies);
int ld_store_tenants(struct ld_store *store, ld_tenant_fn fn, void *ctx);
/** Off and on, for all processes. */
int ld_store_switch(struct ld_store *store, int on);

#endif
