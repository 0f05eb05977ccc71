/* SPDX-License-Identifier: MIT */
/*
 * Tenant handles and key spaces: from (tenant, space, name) to a key. A key space - policy and HMAC midstates - is made at its first use and then only
 * read; the table of the cache and the row of the tenant are filled by compare-and-swap, so two threads may make one twice and one of them throws
 * its own away.
 */
#include "cache/handle.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

int larder_tenant_open(larder *cache, const char *tenant, larder_tenant **ret_tenant)
{
	int64_t numbers[LD_SETTINGS];
	larder_tenant *made;

	if (!ret_tenant)
		return LARDER_E_USAGE;
	if (!ld_is_cache(cache))
		return LARDER_E_CLOSED;
	if (!tenant || !ld_text_is_id(tenant, LARDER_TENANT_MAX))
		return LARDER_E_TENANT;
	made = ld_calloc(1, sizeof(*made));
	if (!made)
		return LARDER_E_NOMEM;
	made->magic = LD_TENANT_MAGIC;
	made->cache = cache;
	strncpy(made->name, tenant, sizeof(made->name) - 1);
	made->tag = ld_store_tag(made->name, NULL);
	made->quota_b = ld_spaces_quota(cache->spaces, made->name);
	ld_spaces_limits(cache->spaces, made->name, &cache->limits, &made->limits);
	memcpy(numbers, cache->settings.number, sizeof(numbers));
	made->own_breaker = ld_spaces_breaker(cache->spaces, made->name, numbers);
	ld_breaker_settings_of(numbers, &made->breaker);
	*ret_tenant = made;
	return 0;
}

void larder_tenant_close(larder_tenant *tenant)
{
	if (!tenant || tenant->magic != LD_TENANT_MAGIC)
		return;
	tenant->magic = 0;
	free(tenant);
}

static void fill(const larder_tenant *tenant, const char *space, struct ld_keyspace *to)
{
	memset(to, 0, sizeof(*to));
	memcpy(to->tenant, tenant->name, sizeof(to->tenant));
	strncpy(to->space, space, sizeof(to->space) - 1);
	to->tenant_tag = tenant->tag;
	to->scope_tag = ld_store_tag(tenant->name, space);
	ld_spaces_policy(tenant->cache->spaces, tenant->name, space, &tenant->cache->fallback, &to->policy);
}

static struct ld_keyspace *make(const larder_tenant *tenant, const struct ld_keyspace *filled)
{
	const larder *cache = tenant->cache;
	struct ld_keyspace *made = ld_malloc(sizeof(*made));
	struct ld_key_state *state;

	if (!made)
		return NULL;
	*made = *filled;
	state = ld_locked_take(cache->arena, sizeof(*state));
	if (state)
		ld_key_prepare(cache->secret.data, cache->secret.len, made->tenant, made->space, state);
	made->state = state;
	return made;
}

/* In the table of the cache: linear probing from the tag; rows are never removed. NULL when it is full or memory is out. */
static struct ld_keyspace *of_cache(const larder_tenant *tenant, const struct ld_keyspace *wanted)
{
	larder *cache = tenant->cache;
	struct ld_keyspace *made = NULL;

	for (unsigned i = 0; i < LD_KEYSPACES; i++) {
		_Atomic(struct ld_keyspace *) *place = &cache->keyspaces[(wanted->scope_tag + i) % LD_KEYSPACES];
		struct ld_keyspace *there = atomic_load(place);

		if (!there) {
			made = made ? made : make(tenant, wanted);
			if (!made || atomic_compare_exchange_strong(place, &there, made))
				return made;
		}
		if (there->scope_tag == wanted->scope_tag && strcmp(there->tenant, wanted->tenant) == 0 &&
		    strcmp(there->space, wanted->space) == 0) {
			free(made);
			return there;
		}
	}
	free(made);
	return NULL;
}

const struct ld_keyspace *ld_keyspace_of(larder_tenant *tenant, const char *space, struct ld_keyspace *room)
{
	struct ld_keyspace *found;

	if (!space)
		return NULL;
	for (unsigned i = 0; i < LD_KEYSPACES_OF_TENANT; i++) {
		found = atomic_load_explicit(&tenant->seen[i], memory_order_acquire);
		if (!found)
			break;
		if (strcmp(found->space, space) == 0)
			return found;
	}
	if (!ld_text_is_id(space, LARDER_SPACE_MAX))
		return NULL;
	fill(tenant, space, room);
	found = of_cache(tenant, room);
	if (!found)
		return room;
	for (unsigned i = 0; i < LD_KEYSPACES_OF_TENANT; i++) {
		struct ld_keyspace *none = NULL;

		if (atomic_compare_exchange_strong(&tenant->seen[i], &none, found) || none == found)
			break;
	}
	return found;
}

const struct ld_keyspace *ld_keyspace_reserved(larder_tenant *tenant, const char *space, struct ld_keyspace *room)
{
	const struct ld_keyspace *found;

	fill(tenant, space, room);
	found = of_cache(tenant, room);
	return found ? found : room;
}

void ld_make_key(larder_tenant *tenant, const struct ld_keyspace *keyspace, const void *name, size_t name_len, struct ld_key *ret_key)
{
	struct ld_key_state own;

	ret_key->tenant = tenant->name;
	ret_key->space = keyspace->space;
	ret_key->tenant_tag = tenant->tag;
	ret_key->scope_tag = keyspace->scope_tag;
	ret_key->quota_b = tenant->quota_b;
	ret_key->keep_quota = 0;
	ret_key->tell_l2 = 0;
	ret_key->row_hint = &tenant->row_hint;
	if (keyspace->state) {
		ld_key_derive(keyspace->state, name, name_len, ret_key->digest);
		return;
	}
	ld_key_prepare(tenant->cache->secret.data, tenant->cache->secret.len, keyspace->tenant, keyspace->space, &own);
	ld_key_derive(&own, name, name_len, ret_key->digest);
	ld_wipe(&own, sizeof(own));
}

int ld_prepare_key(larder_tenant *tenant, const char *space, const void *name, size_t name_len, struct ld_keyspace *room,
    const struct ld_keyspace **ret_keyspace, struct ld_key *ret_key)
{
	const struct ld_keyspace *keyspace = ld_keyspace_of(tenant, space, room);

	if (!keyspace)
		return LARDER_E_SPACE_NAME;
	if (!name || name_len < 1 || name_len > LARDER_NAME_MAX)
		return LARDER_E_NAME;
	ld_relock(tenant->cache);
	ld_make_key(tenant, keyspace, name, name_len, ret_key);
	*ret_keyspace = keyspace;
	return 0;
}
