/* SPDX-License-Identifier: MIT */
/*
 * Tenant handles and key spaces: from (tenant, space, name) to a key. A key space - policy and HMAC midstates - is made at its first use and then only
 * read; the table of the cache and the row of the tenant are filled by compare-and-swap, so two threads may make one twice and one of them throws
 * its own away.
 *
 * What comes from the policies is worked out again where it is used first after they have changed: by one thread, into a twin (policies.h); a call
 * that finds it being done goes on with what held before. A call copies what it uses, and keeps it to its end.
 */
#include "cache/handle.h"

#include <stdlib.h>
#include <string.h>

#include "base/errors.h"
#include "base/mem.h"
#include "base/text.h"
#include "shm/seg.h"

/* ---- rights ---- */

static int count_look(struct ld_seg *seg, int64_t now_ms, void *ctx)
{
	(void)now_ms;
	ld_host_count(seg, *(enum ld_policies_look *)ctx == LD_POLICIES_NEW ? LD_HC_spaces_reloads : LD_HC_spaces_refused, 1);
	return 0;
}

static void look(larder *cache)
{
	enum ld_policies_look came;

	if (!ld_policies_due(&cache->policies))
		return;
	came = ld_policies_look(&cache->policies, cache->log);
	if (came != LD_POLICIES_SAME && ld_store_with(cache->store, 0, count_look, &came) != 0)
		ld_reason_set(LARDER_REASON_NONE);
}

/* With the lock of the twin, or before anybody else has the handle. */
static void work_out_rights(larder_tenant *tenant)
{
	larder *cache = tenant->cache;
	struct ld_tenant_rights rights = { 0 };
	int64_t numbers[LD_SETTINGS];
	uint64_t version;
	const struct ld_spaces *spaces = ld_policies_pin(&cache->policies, &version);

	rights.quota_b = ld_spaces_quota(spaces, tenant->name);
	ld_spaces_limits(spaces, tenant->name, &cache->limits, &rights.limits);
	memcpy(numbers, cache->settings.number, sizeof(numbers));
	rights.own_breaker = ld_spaces_breaker(spaces, tenant->name, numbers);
	ld_breaker_settings_of(numbers, &rights.breaker);
	ld_policies_unpin(&cache->policies, version);
	ld_twin_write(&tenant->rights, version, &rights, sizeof(rights));
	atomic_store_explicit(&tenant->quota_b, rights.quota_b, memory_order_relaxed);
	atomic_store_explicit(&tenant->rights_version, version, memory_order_relaxed);
}

void ld_tenant_refresh(larder_tenant *tenant)
{
	larder *cache = tenant->cache;

	look(cache);
	if (atomic_load_explicit(&tenant->rights_version, memory_order_relaxed) == ld_policies_version(&cache->policies) ||
	    ld_process_lock(&tenant->rights.lock, 0) != 0)
		return;
	work_out_rights(tenant);
	ld_process_unlock(&tenant->rights.lock);
}

struct ld_tenant_rights ld_tenant_rights(larder_tenant *tenant)
{
	struct ld_tenant_rights rights = { 0 };
	uint64_t version;

	(void)ld_twin_read(&tenant->rights, &rights, sizeof(rights), &version);
	return rights;
}

struct ld_key ld_tenant_key(larder_tenant *tenant)
{
	return (struct ld_key){ .tenant = tenant->name, .tenant_tag = tenant->tag,
		.quota_b = atomic_load_explicit(&tenant->quota_b, memory_order_relaxed), .row_hint = &tenant->row_hint };
}

int larder_tenant_open(larder *cache, const char *tenant, larder_tenant **ret_tenant)
{
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
	look(cache);
	work_out_rights(made);
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

/* ---- key spaces ---- */

/* Names and tags; the policy comes last, where it is needed. */
static void fill(const larder_tenant *tenant, const char *space, struct ld_keyspace *to)
{
	memset(to, 0, sizeof(*to));
	memcpy(to->tenant, tenant->name, sizeof(to->tenant));
	strncpy(to->space, space, sizeof(to->space) - 1);
	to->id = to->space;
	to->tenant_tag = tenant->tag;
	to->scope_tag = ld_store_tag(tenant->name, space);
}

/* The policy of now. Returns the version that it is of. */
static uint64_t work_out_policy(larder *cache, const struct ld_keyspace *keyspace, struct ld_policy *ret_policy)
{
	uint64_t version;
	const struct ld_spaces *spaces = ld_policies_pin(&cache->policies, &version);

	ld_spaces_policy(spaces, keyspace->tenant, keyspace->space, &cache->fallback, ret_policy);
	ld_policies_unpin(&cache->policies, version);
	return version;
}

static struct ld_keyspace_row *make(const larder_tenant *tenant, const struct ld_keyspace *filled)
{
	const larder *cache = tenant->cache;
	struct ld_keyspace_row *made = ld_calloc(1, sizeof(*made));
	struct ld_key_state *state;

	if (!made)
		return NULL;
	made->first = *filled;
	made->first.id = made->first.space;
	made->version = work_out_policy(tenant->cache, filled, &made->first.policy);
	state = ld_locked_take(cache->arena, sizeof(*state));
	if (state)
		ld_key_prepare(cache->secret.data, cache->secret.len, filled->tenant, filled->space, state);
	made->first.state = state;
	return made;
}

/* In the table of the cache: linear probing from the tag; rows are never removed. NULL when it is full or memory is out. */
static struct ld_keyspace_row *of_cache(const larder_tenant *tenant, const struct ld_keyspace *wanted)
{
	larder *cache = tenant->cache;
	struct ld_keyspace_row *made = NULL;

	for (unsigned i = 0; i < LD_KEYSPACES; i++) {
		_Atomic(struct ld_keyspace_row *) *place = &cache->keyspaces[(wanted->scope_tag + i) % LD_KEYSPACES];
		struct ld_keyspace_row *there = atomic_load(place);

		if (!there) {
			made = made ? made : make(tenant, wanted);
			if (!made || atomic_compare_exchange_strong(place, &there, made))
				return made;
		}
		if (there->first.scope_tag == wanted->scope_tag && strcmp(there->first.tenant, wanted->tenant) == 0 &&
		    strcmp(there->first.space, wanted->space) == 0) {
			free(made);
			return there;
		}
	}
	free(made);
	return NULL;
}

/* The policies have changed since the row was made: a copy of it, with the policy of now; with that of before while another thread works it out. */
static const struct ld_keyspace *later(larder *cache, struct ld_keyspace_row *row, struct ld_keyspace *room)
{
	uint64_t version = row->version;

	*room = row->first;
	(void)ld_twin_read(&row->policy, &room->policy, sizeof(room->policy), &version);
	if (version != ld_policies_version(&cache->policies) && ld_process_lock(&row->policy.lock, 0) == 0) {
		version = work_out_policy(cache, room, &room->policy);
		ld_twin_write(&row->policy, version, &room->policy, sizeof(room->policy));
		ld_process_unlock(&row->policy.lock);
	}
	return room;
}

static const struct ld_keyspace *now(larder *cache, struct ld_keyspace_row *row, struct ld_keyspace *room)
{
	return row->version == ld_policies_version(&cache->policies) ? &row->first : later(cache, row, room);
}

const struct ld_keyspace *ld_keyspace_of(larder_tenant *tenant, const char *space, struct ld_keyspace *room)
{
	struct ld_keyspace_row *found;

	if (!space)
		return NULL;
	ld_tenant_refresh(tenant);
	for (unsigned i = 0; i < LD_KEYSPACES_OF_TENANT; i++) {
		found = atomic_load_explicit(&tenant->seen[i], memory_order_acquire);
		if (!found)
			break;
		if (strcmp(found->first.space, space) == 0)
			return now(tenant->cache, found, room);
	}
	if (!ld_text_is_id(space, LARDER_SPACE_MAX))
		return NULL;
	fill(tenant, space, room);
	found = of_cache(tenant, room);
	if (!found) {
		(void)work_out_policy(tenant->cache, room, &room->policy);
		return room;
	}
	for (unsigned i = 0; i < LD_KEYSPACES_OF_TENANT; i++) {
		struct ld_keyspace_row *none = NULL;

		if (atomic_compare_exchange_strong(&tenant->seen[i], &none, found) || none == found)
			break;
	}
	return now(tenant->cache, found, room);
}

const struct ld_keyspace *ld_keyspace_reserved(larder_tenant *tenant, const char *space, struct ld_keyspace *room)
{
	const struct ld_keyspace_row *found;

	fill(tenant, space, room);
	found = of_cache(tenant, room);
	return found ? &found->first : room;
}

void ld_make_key(larder_tenant *tenant, const struct ld_keyspace *keyspace, const void *name, size_t name_len, struct ld_key *ret_key)
{
	struct ld_key_state own;

	*ret_key = ld_tenant_key(tenant);
	ret_key->space = keyspace->id;
	ret_key->scope_tag = keyspace->scope_tag;
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
