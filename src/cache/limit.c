/* SPDX-License-Identifier: MIT */
/*
 * The limits of a tenant's requests: checks the arguments, makes the tags, asks the store. It must never store or log a sub-key: its tag is a
 * keyed hash, in a space whose name no caller can use.
 */
#include "cache/handle.h"

#include <string.h>

#include "base/errors.h"

/* Not an id, so no space of a caller's. */
#define LIMIT_SPACE "#limit"
/* When nobody can count, and that refuses: the segment is looked for again every RETRY_MS of l1/store.c. */
enum { FAILED_RETRY_MS = 1000 };

uint64_t ld_limit_tag(larder_tenant *tenant, enum ld_limit_kind kind, const char *subkey)
{
	uint64_t tag = subkey ? 0 : atomic_load_explicit(&tenant->limit_tags[kind], memory_order_relaxed);
	char name[LD_SUBKEY_MAX + 2] = { (char)('a' + kind), subkey ? 's' : 't' };
	size_t len = subkey ? strlen(subkey) : 0;
	struct ld_keyspace room;
	struct ld_key key;

	if (tag != 0)
		return tag;
	memcpy(name + 2, subkey ? subkey : "", len);
	ld_relock(tenant->cache);
	ld_make_key(tenant, ld_keyspace_reserved(tenant, LIMIT_SPACE, &room), name, len + 2, &key);
	memcpy(&tag, key.digest, sizeof(tag));
	tag = tag ? tag : 1;
	if (!subkey)
		atomic_store_explicit(&tenant->limit_tags[kind], tag, memory_order_relaxed);
	return tag;
}

static void ask(larder_tenant *tenant, const char *subkey, int64_t rate, int64_t burst, struct ld_limit_ask *asks, unsigned *count)
{
	if (rate == 0)
		return;
	asks[(*count)++] = (struct ld_limit_ask){ ld_limit_tag(tenant, LD_LIMIT_REQUESTS, subkey), { rate, burst, 0 } };
}

/* Nobody could count. */
static int failed(const larder *cache, int64_t *ret_retry_ms)
{
	if (cache->settings.number[LD_SET_LIMIT_ON_FAILURE] == 0)
		return LARDER_UNAVAILABLE;
	*ret_retry_ms = FAILED_RETRY_MS;
	return LARDER_E_LIMIT;
}

int larder_limit_take(larder_tenant *tenant, const char *subkey, uint32_t cost, const struct larder_call *call, int64_t *ret_retry_after_ms)
{
	struct ld_limit_ask asks[2];
	struct ld_limits limits;
	unsigned count = 0;
	int64_t retry_ms;
	struct ld_way way;
	struct ld_key key;
	int rc;

	if (!ld_is_tenant(tenant))
		return LARDER_E_CLOSED;
	if (ld_begin_call(call) != 0 || ld_check_subkey(subkey) != 0 || cost == 0)
		return LARDER_E_USAGE;
	if (!subkey && call)
		subkey = call->subkey;
	ld_tenant_refresh(tenant);
	limits = ld_tenant_rights(tenant).limits;
	if (subkey)
		ask(tenant, subkey, limits.subkey_rate, limits.subkey_burst, asks, &count);
	ask(tenant, NULL, limits.rate, limits.burst, asks, &count);
	key = ld_tenant_key(tenant);
	way = ld_way_of(tenant->cache, call, NULL);
	rc = ld_store_limit(tenant->cache->store, &key, &way, asks, count, cost, &retry_ms);
	if (rc == LARDER_E_LIMIT)
		ld_reason_set(LARDER_REASON_NONE);
	if (rc == LARDER_UNAVAILABLE)
		rc = failed(tenant->cache, &retry_ms);
	if (rc != LARDER_E_LIMIT)
		return rc;
	ld_retry_after_set(retry_ms);
	if (ret_retry_after_ms)
		*ret_retry_after_ms = retry_ms;
	return rc;
}
