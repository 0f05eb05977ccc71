/* SPDX-License-Identifier: MIT */
/*
 * The writing half of the API: checks the arguments, fills in the policy, makes the key, and hands over to the store.
 */
#include "cache/second.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/mem.h"

enum { STORE_SIZE_MAX = 4096 };

static int check_store(const struct larder_store *store)
{
	if (!store)
		return 0;
	if (store->size < sizeof(*store) || store->size > STORE_SIZE_MAX || store->reserved != 0)
		return LARDER_E_USAGE;
	if (store->ttl_ms != LARDER_POLICY && (store->ttl_ms < 1 || store->ttl_ms > LARDER_TTL_MAX_MS))
		return LARDER_E_TTL;
	if (store->stale_ms != LARDER_POLICY && (store->stale_ms < 0 || store->stale_ms > LARDER_TTL_MAX_MS))
		return LARDER_E_TTL;
	if (store->error_ms != LARDER_POLICY && (store->error_ms < 0 || store->error_ms > LARDER_TTL_MAX_MS))
		return LARDER_E_TTL;
	return store->hard_end_ms < 0 ? LARDER_E_TTL : 0;
}

static int64_t or_policy(int64_t given_ms, int64_t policy_ms)
{
	return given_ms == LARDER_POLICY ? policy_ms : given_ms;
}

/* In L2 a policy's TTL may be another one; a caller's is the same everywhere. */
static int64_t l2_ttl(int64_t given_ms, const struct ld_policy *policy)
{
	return given_ms == LARDER_POLICY ? policy->l2_ttl_ms : 0;
}

static void fill(const struct ld_keyspace *keyspace, const struct larder_store *store, const void *name, size_t name_len, struct ld_put *put)
{
	static const struct larder_store by_policy = LARDER_STORE_INIT;
	const struct ld_policy *policy = &keyspace->policy;

	store = store ? store : &by_policy;
	put->ttl_ms = or_policy(store->ttl_ms, put->absent ? policy->negative_ms : policy->ttl_ms);
	put->stale_ms = put->absent ? 0 : or_policy(store->stale_ms, policy->stale_ms);
	put->error_ms = put->absent ? 0 : or_policy(store->error_ms, policy->error_ms);
	put->l2_ttl_ms = l2_ttl(store->ttl_ms, policy);
	put->jitter_pct = (uint32_t)policy->jitter_pct;
	put->hard_end_ms = store->hard_end_ms;
	put->flags = store->flags;
	if (policy->keep_names) {
		put->name = name;
		put->name_len = name_len;
	}
}

/* hashes: room for LD_TAGS_MAX. */
static int take_tags(larder_tenant *tenant, const struct larder_store *store, uint64_t *hashes, struct ld_put *put)
{
	if (store->tag_count > (size_t)tenant->cache->settings.number[LD_SET_TAGS_MAX])
		return LARDER_E_USAGE;
	put->tags = hashes;
	put->tag_count = (unsigned)store->tag_count;
	return ld_tags_of(tenant, store->tags, store->tag_count, hashes);
}

int ld_put_make(const struct ld_asked *asked, const struct larder_store *store, uint64_t tags[LD_TAGS_MAX], struct ld_put *put)
{
	int rc = check_store(store);

	if (rc == 0 && store)
		rc = take_tags(asked->tenant, store, tags, put);
	if (rc == 0)
		fill(asked->keyspace, store, asked->name, asked->name_len, put);
	return rc;
}

/* A hard end that is over: nothing to store, but what is there must go. */
static int remove_old(const struct ld_asked *asked)
{
	int gone, rc = ld_store_delete(asked->tenant->cache->store, &asked->key, 1, &asked->way, &gone);

	if (rc >= 0) {
		ld_second_told(asked->tenant->cache, &asked->key, 1, asked->call);
		return 0;
	}
	return ld_second_delete(asked) ? 0 : LARDER_UNAVAILABLE;
}

/* Handle, options and key of a write. 0, or the error. */
static int ask(larder_tenant *tenant, const char *space, const void *name, size_t name_len, const struct larder_call *call, struct ld_asked *asked)
{
	int rc = ld_prepare_key(tenant, space, name, name_len, &asked->room, &asked->keyspace, &asked->key);

	if (rc != 0)
		return rc;
	asked->tenant = tenant;
	asked->name = name;
	asked->name_len = name_len;
	asked->call = call;
	asked->way = ld_way_of(tenant->cache, call, &asked->key);
	asked->key.tell_l2 = ld_second_tells(tenant->cache, call);
	return 0;
}

/* What this host's store could not take goes to L2 at once, within the call's budget. An add may not: nobody could say that it was the first. */
static int put_both(const struct ld_asked *asked, const struct ld_put *put)
{
	int rc = ld_store_put(asked->tenant->cache->store, &asked->key, &asked->way, put);

	if (rc == 0)
		ld_second_told(asked->tenant->cache, &asked->key, 1, asked->call);
	else if (rc == LARDER_UNAVAILABLE && larder_reason() != LARDER_REASON_OFF && ld_second_put(asked, put))
		rc = 0;
	return rc;
}

static int put_value(larder_tenant *tenant, const char *space, const void *name, size_t name_len, struct ld_put *put,
    const struct larder_store *store, const struct larder_call *call)
{
	uint64_t tags[LD_TAGS_MAX];
	struct ld_asked asked;
	int rc;

	if (!ld_is_tenant(tenant))
		return LARDER_E_CLOSED;
	rc = ld_begin_call(call);
	if (rc == 0 && !put->data && put->len != 0)
		rc = LARDER_E_USAGE;
	if (rc == 0)
		rc = check_store(store);
	if (rc == 0 && put->len > (size_t)tenant->cache->settings.number[LD_SET_MAX_VALUE])
		rc = LARDER_E_TOO_LARGE;
	if (rc == 0 && store)
		rc = take_tags(tenant, store, tags, put);
	if (rc == 0)
		rc = ask(tenant, space, name, name_len, call, &asked);
	if (rc != 0)
		return rc;
	fill(asked.keyspace, store, name, name_len, put);
	/* An add must look whether there is one: it stores what is dead at once, over what a get would not find. */
	if (!put->only_new && put->hard_end_ms != 0 && put->hard_end_ms <= ld_clock_wall_ms())
		return remove_old(&asked);
	return put_both(&asked, put);
}

int larder_set(larder_tenant *tenant, const char *space, const void *name, size_t name_len, const void *data, size_t len,
    const struct larder_store *store, const struct larder_call *call)
{
	struct ld_put put = { .data = data, .len = len };

	return put_value(tenant, space, name, name_len, &put, store, call);
}

int larder_set_absent(larder_tenant *tenant, const char *space, const void *name, size_t name_len, const struct larder_store *store,
    const struct larder_call *call)
{
	struct ld_put put = { .absent = 1 };

	return put_value(tenant, space, name, name_len, &put, store, call);
}

int larder_add(larder_tenant *tenant, const char *space, const void *name, size_t name_len, const void *data, size_t len,
    const struct larder_store *store, const struct larder_call *call)
{
	struct ld_put put = { .data = data, .len = len, .only_new = 1 };

	return put_value(tenant, space, name, name_len, &put, store, call);
}

int larder_touch(larder_tenant *tenant, const char *space, const void *name, size_t name_len, int64_t ttl_ms, int64_t stale_ms,
    const struct larder_call *call)
{
	const struct larder_store times = { .size = sizeof(times), .ttl_ms = ttl_ms, .stale_ms = stale_ms };
	struct ld_touch touch;
	const struct ld_policy *policy;
	struct ld_asked asked;
	int rc;

	if (!ld_is_tenant(tenant))
		return LARDER_E_CLOSED;
	rc = ld_begin_call(call);
	if (rc == 0)
		rc = check_store(&times);
	if (rc == 0)
		rc = ask(tenant, space, name, name_len, call, &asked);
	if (rc != 0)
		return rc;
	policy = &asked.keyspace->policy;
	touch = (struct ld_touch){ or_policy(ttl_ms, policy->ttl_ms), or_policy(stale_ms, policy->stale_ms), l2_ttl(ttl_ms, policy),
		(uint32_t)policy->jitter_pct };
	rc = ld_store_touch(tenant->cache->store, &asked.key, &asked.way, &touch);
	if (rc == 0)
		ld_second_told(tenant->cache, &asked.key, 1, call);
	return rc;
}

int larder_delete(larder_tenant *tenant, const char *space, const void *name, size_t name_len, const struct larder_call *call)
{
	struct ld_asked asked;
	int result, rc;

	if (!ld_is_tenant(tenant))
		return LARDER_E_CLOSED;
	rc = ld_begin_call(call);
	if (rc == 0)
		rc = ask(tenant, space, name, name_len, call, &asked);
	if (rc != 0)
		return rc;
	rc = ld_store_delete(tenant->cache->store, &asked.key, 1, &asked.way, &result);
	if (rc == 0)
		ld_second_told(tenant->cache, &asked.key, 1, call);
	else
		(void)ld_second_delete(&asked);
	return rc != 0 ? rc : result;
}

/* Keys of the items that are well formed; returns how many, and the first error of the others. */
static size_t make_keys(larder_tenant *tenant, struct larder_item *items, size_t count, const struct larder_call *call, struct ld_key *keys,
    size_t *item_of, int *ret_first)
{
	int tells = ld_second_tells(tenant->cache, call);
	size_t made = 0;

	for (size_t i = 0; i < count; i++) {
		const struct ld_keyspace *keyspace;
		struct ld_keyspace room;

		items[i].result = ld_prepare_key(tenant, items[i].space, items[i].name, items[i].name_len, &room, &keyspace, &keys[made]);
		if (items[i].result == 0) {
			/* The key borrows the space's name, which may be in `room`; deleting does not look at it. */
			keys[made].space = NULL;
			keys[made].tell_l2 = tells;
			item_of[made++] = i;
		} else if (*ret_first == 0) {
			*ret_first = items[i].result;
		}
	}
	return made;
}

int larder_delete_many(larder_tenant *tenant, struct larder_item *items, size_t count, const struct larder_call *call)
{
	struct ld_way way;
	struct ld_key *keys;
	size_t *item_of, made;
	int *results, first = 0, rc;

	if (!ld_is_tenant(tenant))
		return LARDER_E_CLOSED;
	if (ld_begin_call(call) != 0 || (!items && count != 0) || count > SIZE_MAX / sizeof(*keys) / 2)
		return LARDER_E_USAGE;
	if (count == 0)
		return 0;
	keys = ld_malloc(count * sizeof(*keys));
	item_of = ld_malloc(count * sizeof(*item_of));
	results = ld_malloc(count * sizeof(*results));
	if (!keys || !item_of || !results) {
		first = LARDER_E_NOMEM;
		goto out;
	}
	made = make_keys(tenant, items, count, call, keys, item_of, &first);
	way = ld_way_of(tenant->cache, call, NULL);
	rc = made ? ld_store_delete(tenant->cache->store, keys, made, &way, results) : 0;
	for (size_t i = 0; i < made; i++)
		items[item_of[i]].result = results[i];
	if (rc == 0)
		ld_second_told(tenant->cache, keys, made, call);
	if (first == 0)
		first = rc;
out:
	free(keys);
	free(item_of);
	free(results);
	return first;
}

int larder_clear_space(larder_tenant *tenant, const char *space, const struct larder_call *call)
{
	struct ld_keyspace room;
	struct ld_way way;

	if (!ld_is_tenant(tenant))
		return LARDER_E_CLOSED;
	if (ld_begin_call(call) != 0)
		return LARDER_E_USAGE;
	if (!ld_keyspace_of(tenant, space, &room))
		return LARDER_E_SPACE_NAME;
	way = ld_way_of(tenant->cache, call, NULL);
	return ld_store_clear(tenant->cache->store, tenant->name, space, &way);
}

int larder_clear_tenant(larder_tenant *tenant, const struct larder_call *call)
{
	struct ld_way way;

	if (!ld_is_tenant(tenant))
		return LARDER_E_CLOSED;
	if (ld_begin_call(call) != 0)
		return LARDER_E_USAGE;
	way = ld_way_of(tenant->cache, call, NULL);
	return ld_store_clear(tenant->cache->store, tenant->name, NULL, &way);
}

int larder_clear_all(larder *cache, const struct larder_call *call)
{
	struct ld_way way;

	if (!ld_is_cache(cache))
		return LARDER_E_CLOSED;
	if (ld_begin_call(call) != 0)
		return LARDER_E_USAGE;
	way = ld_way_of(cache, call, NULL);
	return ld_store_clear(cache->store, NULL, NULL, &way);
}
