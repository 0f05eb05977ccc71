/* SPDX-License-Identifier: MIT */
/**
 * Where the public calls meet the second level: what a get asks of L2 and keeps of the answer, what a write that this host's store could not take does
 * instead. Nothing here is called where LARDER_L2_URL is not set. Private to cache/.
 */
#ifndef LD_CACHE_SECOND_H
#define LD_CACHE_SECOND_H

#include "cache/handle.h"
#include "l1/entry.h"
#include "l2/client.h"

/** The settings' part of it, checked: every problem by its setting's name. 0, LARDER_E_SETTINGS; 0 as well when there is no second level. */
int ld_second_check(const struct ld_settings *settings, struct ld_problems *problems);
/** Make client and teller for a store that is open. Settings, which have an L2_URL, and store are borrowed. 0, LARDER_E_SETTINGS, LARDER_E_NOMEM. */
int ld_second_make(const struct ld_settings *settings, larder_breaker_fn on_breaker, void *on_breaker_ctx, struct ld_store *store,
    struct ld_l2 **ret_l2, struct ld_drain **ret_drain, struct ld_problems *problems);
/** The same for a cache, if it has a second level. */
int ld_second_open(larder *cache, const struct larder_options *options, struct ld_problems *problems);
void ld_second_close(larder *cache);

/** One key of a call, made by its checks. name borrowed. */
struct ld_asked {
	larder_tenant *tenant;
	const struct ld_keyspace *keyspace;
	struct ld_keyspace room;
	struct ld_key key;
	struct ld_way way;
	const void *name;
	size_t name_len;
	const struct larder_call *call;
};

/** Check handle, options, space and name of a look-up, and make the key; an error is counted. 0, or the error. */
int ld_ask(larder_tenant *tenant, const char *space, const void *name, size_t name_len, const struct larder_call *call, struct ld_asked *asked);

/** Check how something is to be stored (NULL = the policy's way) and write it down, its tags in the caller's array; the value is the caller's. 0, or the error. */
int ld_put_make(const struct ld_asked *asked, const struct larder_store *store, uint64_t tags[LD_TAGS_MAX], struct ld_put *put);

/** Is L2 to be asked after this result of the store? 0 or 1. */
int ld_second_wanted(const struct ld_asked *asked, int result, const struct ld_found *found);

/** Is what this call writes told to L2? For key.tell_l2. */
int ld_second_tells(const larder *cache, const struct larder_call *call);

/**
 * Ask L2 for what the store has not, or has as stale; keep the answer. found: what the store gave, freed when something newer is given.
 *
 * Returns the call's result, with found as the store would have filled it and *ret_source; data is the caller's buffer where look has one. ret_end: how a
 * lease for it ends. left_ms: what is left of the call's budget, where it has waited already; else 0.
 */
int ld_second_get(const struct ld_asked *asked, int result, const struct ld_look *look, int64_t left_ms, struct ld_found *found, int16_t *ret_source,
    enum ld_lease_end *ret_end);
/** One of several keys, of one tenant, for ld_second_get_many(). asked, found and result as for ld_second_get(); source and result are set, found as there. */
struct ld_second_item {
	struct ld_asked asked;
	struct ld_l2_ask ask;          /* room for it */
	struct ld_found *found;
	int result;
	int16_t source;
};
/** Several keys of one call, at most LD_L2_MANY, at once and within one budget (0 = that of the settings). look has no room for an ETag. No leases. */
void ld_second_get_many(struct ld_second_item *items, size_t count, const struct ld_look *look, int64_t budget_ms);
/** The same for larder_exists(). */
int ld_second_exists(const struct ld_asked *asked, int result);

/**
 * The store could not take a write: tell L2 within what is left of the call, with no outbox and in no order with others that are told so. A set holds the
 * outbox back from its key until L2 can no longer carry it out. Returns 1 if L2 has taken it.
 */
int ld_second_put(const struct ld_asked *asked, const struct ld_put *put);
int ld_second_delete(const struct ld_asked *asked);
/**
 * The store has taken writes of these keys, all with the same tell_l2. LARDER_L2_WRITE=through: wait until L2 has been told of them, within the call's
 * budget. Otherwise only see to it that there is a teller. call: NULL is allowed.
 */
void ld_second_told(larder *cache, const struct ld_key *keys, size_t count, const struct larder_call *call);

#endif
