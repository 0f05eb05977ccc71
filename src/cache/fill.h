/* SPDX-License-Identifier: MIT */
/**
 * Fills: who fetches what this host's store has not, from L2 or by the caller's loader, while the others wait for it (DESIGN decisions 18, 19). Used by the
 * gets, by the thread that refreshes, and by the explicit leases. Private to cache/.
 */
#ifndef LD_CACHE_FILL_H
#define LD_CACHE_FILL_H

#include "cache/second.h"

/** One fill: of a call, or of a job of the refreshing thread. Everything is borrowed for as long as it is used. */
struct ld_fill {
	const struct ld_asked *asked;
	const struct larder_loading *loading; /* NULL: L2 alone */
	const struct ld_look *look;           /* with LD_NOTE_SEEN, and room for an ETag */
	struct ld_found *found;               /* of the last look */
	int result;                           /* of the last look */
	int16_t source;                       /* of the value, when there is one */
	int early;                            /* 1: it is fresh; L2's copy is as old */
	int64_t end_ms;                       /* of the caller's budget */
	struct ld_lease lease;
	int held;                             /* 1: the lease is ours */
	unsigned joined;                      /* times that it has waited for another one's */
};

/** Most bytes of a loader's context that are copied. */
enum { LD_FILL_CTX_MAX = 4096 };
/** A value is not refreshed early while more of its time is left than so many times what a load takes (times beta): a chance below e^-20 is none. */
enum { LD_FILL_EARLY_MOST = 20 };

/** A get found nothing fresh, and L2 is to be asked (ld_second_wanted()). Returns the get's result; found and source are as they are to be told. */
int ld_fill_from_l2(struct ld_fill *fill);
/** The same with a loader; also for a fresh value, which may be refreshed early. */
int ld_fill_by_loader(struct ld_fill *fill);
/** Fetch now, with the lease or without one, and end it. Returns as above. */
int ld_fill_fetch(struct ld_fill *fill);
/** Look again, after what was found is freed; neither counted nor noted. Returns, and keeps, the result. */
int ld_fill_look(struct ld_fill *fill);
/** End the lease, if it is ours. */
void ld_fill_end(struct ld_fill *fill, enum ld_lease_end end, int64_t throttle_ms);

/**
 * Run the loader, store and tell what it gives; found has the old value, with LARDER_STALE (or 0, early) as `was`. Returns the call's result;
 * ret_end: for the lease.
 */
int ld_fill_load(struct ld_fill *fill, int was, enum ld_lease_end *ret_end);

/** How long a lease for this fill is taken. */
int64_t ld_fill_lease_ms(const struct ld_asked *asked, const struct larder_loading *loading);

/** Wrap a lease that was just taken, for the caller. NULL: out of memory. */
larder_lease *ld_lease_of(const struct ld_asked *asked, const struct ld_lease *lease, const struct ld_seen *seen);

/* ---- the refreshing threads; cache/refresh.c ---- */

struct ld_refresh;
/** Made in the master, with no thread. cache is borrowed. NULL when memory is out. */
struct ld_refresh *ld_refresh_new(larder *cache);
/** End what is queued, wait for what is under way, stop the threads of this process. No call may be under way. NULL is allowed. */
void ld_refresh_free(struct ld_refresh *refresh);
/** Give it a fill whose lease is ours. Returns 1: a thread has it, and the lease; 0: it has not, and the caller still has. Never blocks on a load. */
int ld_refresh_queue(struct ld_refresh *refresh, const struct ld_fill *fill);

#endif
