/* SPDX-License-Identifier: MIT */
/*
 * Tags: checks them, makes their hashes, and hands an invalidation over to the store. It must never store, send or log a tag's text: what is kept of it is
 * a keyed hash, in a space whose name no caller can use. The hash depends on secret, tenant and tag alone, for it travels to L2 and is read by other hosts.
 */
#include "cache/handle.h"

#include <string.h>

/* Not an id, so no space of a caller's. */
#define TAG_SPACE "#tag"

/* Its length, or 0 when it is none. */
static size_t tag_len(const char *tag)
{
	size_t len = tag ? strnlen(tag, LARDER_TAG_MAX + 1) : 0;

	for (size_t i = 0; i < len; i++)
		if (tag[i] <= 0x20 || tag[i] >= 0x7f)
			return 0;
	return len <= LARDER_TAG_MAX ? len : 0;
}

int ld_tags_of(larder_tenant *tenant, const char *const *tags, size_t count, uint64_t *ret_hashes)
{
	const struct ld_keyspace *keyspace;
	struct ld_keyspace room;
	struct ld_key key;

	if (count == 0)
		return 0;
	if (!tags)
		return LARDER_E_USAGE;
	for (size_t i = 0; i < count; i++)
		if (tag_len(tags[i]) == 0)
			return LARDER_E_USAGE;
	ld_relock(tenant->cache);
	keyspace = ld_keyspace_reserved(tenant, TAG_SPACE, &room);
	for (size_t i = 0; i < count; i++) {
		ld_make_key(tenant, keyspace, tags[i], strlen(tags[i]), &key);
		/* Big-endian, so that it is the same number on every host. */
		ret_hashes[i] = 0;
		for (int byte = 0; byte < 8; byte++)
			ret_hashes[i] = ret_hashes[i] << 8 | key.digest[byte];
	}
	return 0;
}

int larder_invalidate_tags(larder_tenant *tenant, const char *const *tags, size_t count, const struct larder_call *call)
{
	uint64_t hashes[LARDER_INVALIDATE_MAX];
	struct ld_way way;
	struct ld_key key;
	int rc;

	if (!ld_is_tenant(tenant))
		return LARDER_E_CLOSED;
	if (ld_begin_call(call) != 0 || count < 1 || count > LARDER_INVALIDATE_MAX)
		return LARDER_E_USAGE;
	rc = ld_tags_of(tenant, tags, count, hashes);
	if (rc != 0)
		return rc;
	key = (struct ld_key){ .tenant = tenant->name, .tenant_tag = tenant->tag, .quota_b = tenant->quota_b, .row_hint = &tenant->row_hint };
	way = ld_way_of(tenant->cache, call, NULL);
	return ld_store_invalidate_tags(tenant->cache->store, &key, hashes, count, &way);
}
