/* SPDX-License-Identifier: MIT */
/*
 * The reading half of the API: checks the arguments, makes the key, asks the store, and says how old what it found is. Nothing here waits or locks.
 */
#include "cache/second.h"

#include <stdlib.h>
#include <string.h>

#include "base/errors.h"
#include "base/mem.h"

enum { MGET_AT_ONCE = 64 };

static void tell(const struct ld_found *found, int state, int16_t source, struct larder_value *ret_value)
{
	int64_t left_ms = found->dead_ms - found->now_ms, fresh_ms = found->fresh_until_ms - found->now_ms;

	if (found->hard_end_ms != 0) {
		int64_t end_ms = found->hard_end_ms - found->wall_ms;

		left_ms = end_ms < left_ms ? end_ms : left_ms;
		fresh_ms = end_ms < fresh_ms ? end_ms : fresh_ms;
	}
	ret_value->data = found->data;
	ret_value->len = found->len;
	ret_value->age_ms = found->now_ms - found->created_ms;
	ret_value->fresh_ms = fresh_ms;
	ret_value->left_ms = left_ms;
	ret_value->hard_end_ms = found->hard_end_ms;
	ret_value->flags = found->flags;
	ret_value->state = (int16_t)state;
	ret_value->source = source;
}

static int refuse(larder_tenant *tenant, int rc)
{
	const struct ld_key key = ld_tenant_key(tenant);

	ld_store_count(tenant->cache->store, &key, LD_TC_get_errors);
	return rc;
}

/* Checks and key. 0, or the error, which is counted. */
static int ask(larder_tenant *tenant, const char *space, const void *name, size_t name_len, const struct larder_call *call, struct ld_asked *asked)
{
	int rc;

	if (!ld_is_tenant(tenant))
		return LARDER_E_CLOSED;
	rc = ld_check_call(call);
	if (rc == 0)
		rc = ld_prepare_key(tenant, space, name, name_len, &asked->room, &asked->keyspace, &asked->key);
	if (rc != 0)
		return refuse(tenant, rc);
	asked->tenant = tenant;
	asked->name = name;
	asked->name_len = name_len;
	asked->call = call;
	asked->way = ld_way_of(tenant->cache, call, &asked->key);
	return 0;
}

static unsigned notes(const larder *cache)
{
	return LD_NOTE_ACCESS | (cache->l2 ? LD_NOTE_SEEN : 0);
}

/* Both tiers. */
static int look_up(larder_tenant *tenant, const char *space, const void *name, size_t name_len, const struct larder_call *call, void *buffer,
    size_t buffer_size, struct larder_value *ret_value)
{
	struct ld_found found = { 0 };
	struct ld_asked asked;
	char etag[LD_ETAG_MAX + 1];
	struct ld_look look = { buffer, buffer_size, 1, 0, NULL };
	int16_t source = LARDER_FROM_L1;
	int rc = ask(tenant, space, name, name_len, call, &asked);

	if (rc != 0)
		return rc;
	look.note = (int)notes(tenant->cache);
	etag[0] = '\0';
	look.etag = tenant->cache->l2 ? etag : NULL;
	rc = ld_store_get(tenant->cache->store, &asked.key, &asked.way, &look, &found);
	if (ld_second_wanted(&asked, rc, &found))
		rc = ld_second_get(&asked, rc, &look, &found, &source);
	if (rc == 0 || rc == LARDER_STALE || rc == LARDER_ABSENT)
		tell(&found, rc, source, ret_value);
	if (rc == LARDER_E_SPACE)
		ret_value->len = found.len;
	return rc;
}

int larder_get(larder_tenant *tenant, const char *space, const void *name, size_t name_len, const struct larder_call *call,
    struct larder_value *ret_value)
{
	return ret_value ? look_up(tenant, space, name, name_len, call, NULL, 0, ret_value) : LARDER_E_USAGE;
}

int larder_get_into(larder_tenant *tenant, const char *space, const void *name, size_t name_len, void *buffer, size_t buffer_size,
    const struct larder_call *call, struct larder_value *ret_value)
{
	static unsigned char none;

	if (!ret_value || (!buffer && buffer_size != 0))
		return LARDER_E_USAGE;
	return look_up(tenant, space, name, name_len, call, buffer ? buffer : &none, buffer_size, ret_value);
}

int larder_exists(larder_tenant *tenant, const char *space, const void *name, size_t name_len, const struct larder_call *call)
{
	static const struct ld_look look = { NULL, 0, 0, LD_NOTE_SEEN, NULL };
	struct ld_found found = { 0 };
	struct ld_asked asked;
	int rc = ask(tenant, space, name, name_len, call, &asked);

	if (rc != 0)
		return rc;
	rc = ld_store_get(tenant->cache->store, &asked.key, &asked.way, &look, &found);
	return ld_second_wanted(&asked, rc, &found) ? ld_second_exists(&asked, rc) : rc;
}

/* An item of many that the store did not answer. Its key is made again: the first one's space may be in a row of the loop before. */
static int get_further(larder_tenant *tenant, const struct larder_item *item, const struct larder_call *call, int result,
    const struct ld_look *look, struct ld_found *found, int16_t *ret_source)
{
	struct ld_asked asked;
	int rc = ask(tenant, item->space, item->name, item->name_len, call, &asked);

	if (rc != 0 || !ld_second_wanted(&asked, result, found))
		return rc != 0 ? rc : result;
	return ld_second_get(&asked, result, look, found, ret_source);
}

/* Up to MGET_AT_ONCE of the items in one snapshot; what L2 is asked for, one by one within the call's budget. */
static void get_some(larder_tenant *tenant, struct larder_item *items, size_t count, const struct larder_call *call)
{
	const struct ld_look look = { NULL, 0, 1, (int)notes(tenant->cache), NULL };
	struct ld_key keys[MGET_AT_ONCE];
	struct ld_found found[MGET_AT_ONCE];
	int results[MGET_AT_ONCE];
	size_t item_of[MGET_AT_ONCE], asked = 0;
	struct ld_way way = ld_way_of(tenant->cache, call, NULL);

	for (size_t i = 0; i < count; i++) {
		const struct ld_keyspace *keyspace;
		struct ld_keyspace room;
		int rc = ld_prepare_key(tenant, items[i].space, items[i].name, items[i].name_len, &room, &keyspace, &keys[asked]);

		memset(&items[i].value, 0, sizeof(items[i].value));
		items[i].result = rc;
		if (rc != 0) {
			refuse(tenant, rc);
		} else if (ld_way_of(tenant->cache, call, &keys[asked]).pass) {
			items[i].result = ld_store_get(tenant->cache->store, &keys[asked], &(struct ld_way){ way.budget_ms, 1 }, &look, &found[asked]);
		} else {
			memset(&found[asked], 0, sizeof(found[asked]));
			item_of[asked++] = i;
		}
	}
	ld_store_get_many(tenant->cache->store, keys, asked, &way, &look, found, results);
	for (size_t i = 0; i < asked; i++) {
		struct larder_item *item = &items[item_of[i]];
		int16_t source = LARDER_FROM_L1;

		if (tenant->cache->l2)
			results[i] = get_further(tenant, item, call, results[i], &look, &found[i], &source);
		item->result = results[i];
		if (results[i] == 0 || results[i] == LARDER_STALE || results[i] == LARDER_ABSENT)
			tell(&found[i], results[i], source, &item->value);
	}
}

int larder_mget(larder_tenant *tenant, struct larder_item *items, size_t count, const struct larder_call *call)
{
	int rc;

	if (!ld_is_tenant(tenant))
		return LARDER_E_CLOSED;
	rc = ld_check_call(call);
	if (rc != 0 || (!items && count != 0))
		return LARDER_E_USAGE;
	for (size_t at = 0; at < count; at += MGET_AT_ONCE)
		get_some(tenant, items + at, count - at < MGET_AT_ONCE ? count - at : MGET_AT_ONCE, call);
	return 0;
}

void larder_value_free(struct larder_value *value)
{
	if (!value)
		return;
	free(value->data);
	memset(value, 0, sizeof(*value));
}
