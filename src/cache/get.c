/* SPDX-License-Identifier: MIT */
/*
 * The reading half of the API: checks the arguments, makes the key, asks the store, and says how old what it found is. Nothing here waits or locks.
 */
#include "cache/fill.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/mem.h"

enum { MGET_AT_ONCE = LD_L2_MANY };

static void tell(const struct ld_found *found, int state, int16_t source, struct larder_value *ret_value)
{
	int64_t end_ms = found->now_ms < found->stale_until_ms ? found->stale_until_ms : found->dead_ms;
	int64_t left_ms = end_ms - found->now_ms, fresh_ms = found->fresh_until_ms - found->now_ms;

	if (found->hard_end_ms != 0) {
		int64_t hard_ms = found->hard_end_ms - found->wall_ms;

		left_ms = hard_ms < left_ms ? hard_ms : left_ms;
		fresh_ms = hard_ms < fresh_ms ? hard_ms : fresh_ms;
	}
	ret_value->data = found->data;
	/* What was looked at before "not found" came may have had a length. */
	ret_value->len = found->data ? found->len : 0;
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

int ld_ask(larder_tenant *tenant, const char *space, const void *name, size_t name_len, const struct larder_call *call, struct ld_asked *asked)
{
	int rc;

	if (!ld_is_tenant(tenant))
		return LARDER_E_CLOSED;
	rc = ld_begin_call(call);
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

static int of_caller(const struct larder_call *call)
{
	return call && call->flags & LARDER_CALL_SOURCE_FAILED ? LD_NOTE_SOURCE_FAILED : 0;
}

static int notes(const larder *cache, const struct larder_call *call)
{
	return LD_NOTE_ACCESS | (cache->l2 ? LD_NOTE_SEEN | LD_NOTE_ERROR_WINDOW : 0) | of_caller(call);
}

static int64_t end_of(const struct larder_call *call, int64_t default_ms)
{
	return ld_clock_boot_ms() + (call && call->budget_ms ? (int64_t)call->budget_ms : default_ms);
}

/* What this host has, where L2 may not be asked. A value in its error window is for those whose source failed: L2, if it does not take our writes. */
static int get_here(int rc, const struct ld_look *look, struct ld_found *found)
{
	if (rc != LARDER_STALE || !found->error_only || found->pending)
		return rc;
	if (!look->buffer)
		free(found->data);
	found->data = NULL;
	return LARDER_MISS;
}

/* Nothing fresh here. */
static int get_through(const struct ld_asked *asked, int rc, const struct ld_look *look, struct ld_found *found, int16_t *ret_source)
{
	struct ld_fill fill = { .asked = asked, .look = look, .found = found, .result = rc, .source = *ret_source,
		.end_ms = end_of(asked->call, asked->tenant->cache->settings.number[LD_SET_L2_GET_MS]) };

	if (!ld_second_wanted(asked, rc, found))
		return get_here(rc, look, found);
	rc = ld_fill_from_l2(&fill);
	*ret_source = fill.source;
	return rc;
}

/* Both tiers. */
static int look_up(larder_tenant *tenant, const char *space, const void *name, size_t name_len, const struct larder_call *call, void *buffer,
    size_t buffer_size, struct larder_value *ret_value)
{
	struct ld_found found = { 0 };
	struct ld_asked asked;
	char etag[LD_ETAG_MAX + 1];
	uint64_t tags[LD_TAGS_MAX];
	struct ld_look look = { .buffer = buffer, .buffer_size = buffer_size, .want_data = 1 };
	int16_t source = LARDER_FROM_L1;
	int rc = ld_ask(tenant, space, name, name_len, call, &asked);

	if (rc != 0)
		return rc;
	look.note = notes(tenant->cache, call);
	etag[0] = '\0';
	look.etag = tenant->cache->l2 ? etag : NULL;
	look.tags = tenant->cache->l2 ? tags : NULL;
	rc = ld_store_get(tenant->cache->store, &asked.key, &asked.way, &look, &found);
	if (rc != 0 && tenant->cache->l2)
		rc = get_through(&asked, rc, &look, &found, &source);
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

int larder_get_or_set(larder_tenant *tenant, const char *space, const void *name, size_t name_len, const struct larder_loading *loading,
    const struct larder_call *call, struct larder_value *ret_value)
{
	char etag[LD_ETAG_MAX + 1];
	uint64_t tags[LD_TAGS_MAX];
	const struct ld_look look = { .want_data = 1, .note = LD_NOTE_ACCESS | LD_NOTE_SEEN | LD_NOTE_ERROR_WINDOW, .etag = etag, .tags = tags };
	struct ld_found found = { 0 };
	struct ld_asked asked;
	struct ld_fill fill = { .asked = &asked, .loading = loading, .look = &look, .found = &found, .source = LARDER_FROM_L1 };
	int rc;

	if (!ret_value || !loading || loading->size < sizeof(*loading) || loading->flags & ~LARDER_LOAD_ANY_THREAD || !loading->loader ||
	    loading->ctx_size > LD_FILL_CTX_MAX || (loading->ctx_size && !loading->ctx))
		return LARDER_E_USAGE;
	etag[0] = '\0';
	if (loading->ret_lease)
		*loading->ret_lease = NULL;
	rc = ld_ask(tenant, space, name, name_len, call, &asked);
	if (rc != 0)
		return rc;
	fill.result = ld_store_get(tenant->cache->store, &asked.key, &asked.way, &look, &found);
	if (fill.result != 0 || found.load_ms != 0) {
		fill.end_ms = end_of(call, tenant->cache->settings.number[LD_SET_FILL_WAIT_MS]);
		fill.result = ld_fill_by_loader(&fill);
	}
	if (fill.result == 0 || fill.result == LARDER_STALE || fill.result == LARDER_ABSENT)
		tell(&found, fill.result, fill.source, ret_value);
	return fill.result;
}

int larder_exists(larder_tenant *tenant, const char *space, const void *name, size_t name_len, const struct larder_call *call)
{
	struct ld_look look = { .note = LD_NOTE_SEEN };
	struct ld_found found = { 0 };
	struct ld_asked asked;
	int rc = ld_ask(tenant, space, name, name_len, call, &asked);

	if (rc != 0)
		return rc;
	look.note |= of_caller(call);
	rc = ld_store_get(tenant->cache->store, &asked.key, &asked.way, &look, &found);
	return ld_second_wanted(&asked, rc, &found) ? ld_second_exists(&asked, rc) : rc;
}

/* Of many, what is to be asked of L2: how many. Keys are made again: the first one's space may be in a row of the loop before. */
static size_t get_wanted(larder_tenant *tenant, const struct larder_item *items, const size_t *item_of, size_t count, const struct larder_call *call,
    const struct ld_look *look, struct ld_found *found, int *results, struct ld_second_item *ret_wanted, size_t *ret_place)
{
	size_t used = 0;

	for (size_t i = 0; i < count; i++) {
		const struct larder_item *item = &items[item_of[i]];
		struct ld_second_item *wanted = &ret_wanted[used];
		int rc;

		if (results[i] != LARDER_STALE && results[i] != LARDER_UNAVAILABLE && results[i] != LARDER_MISS)
			continue;
		rc = ld_ask(tenant, item->space, item->name, item->name_len, call, &wanted->asked);
		if (rc != 0)
			results[i] = rc;
		if (rc != 0)
			continue;
		if (!ld_second_wanted(&wanted->asked, results[i], &found[i])) {
			results[i] = get_here(results[i], look, &found[i]);
			continue;
		}
		wanted->found = &found[i];
		wanted->result = results[i];
		wanted->source = LARDER_FROM_L1;
		ret_place[used++] = i;
	}
	return used;
}

/* Without memory to ask with it is not known what L2 has. */
static void cannot_ask(const struct larder_call *call, size_t count, const struct ld_found *found, int *results)
{
	for (size_t i = 0; i < count; i++) {
		if (results[i] != LARDER_MISS || found[i].pending || found[i].bypassed || (call && call->flags & LARDER_CALL_THIS_TIER))
			continue;
		ld_reason_set(LARDER_REASON_NOMEM);
		results[i] = LARDER_E_L2;
	}
}

/* Those of many that the store did not answer, all at once within the budget. */
static void get_further(larder_tenant *tenant, const struct larder_item *items, const size_t *item_of, size_t count, const struct larder_call *call,
    int64_t budget_ms, const struct ld_look *look, struct ld_found *found, int *results, int16_t *sources)
{
	struct ld_second_item *wanted = count ? ld_calloc(count, sizeof(*wanted)) : NULL;
	size_t place[MGET_AT_ONCE], used;

	if (!wanted) {
		cannot_ask(call, count, found, results);
		return;
	}
	used = get_wanted(tenant, items, item_of, count, call, look, found, results, wanted, place);
	ld_second_get_many(wanted, used, look, budget_ms);
	for (size_t i = 0; i < used; i++) {
		results[place[i]] = wanted[i].result;
		sources[place[i]] = wanted[i].source;
	}
	free(wanted);
}

/* Up to MGET_AT_ONCE of the items in one snapshot; what L2 is asked for, at once. */
static void get_some(larder_tenant *tenant, struct larder_item *items, size_t count, const struct larder_call *call, int64_t l2_budget_ms)
{
	const struct ld_look look = { .want_data = 1, .note = notes(tenant->cache, call) };
	struct ld_key keys[MGET_AT_ONCE];
	struct ld_found found[MGET_AT_ONCE];
	int results[MGET_AT_ONCE];
	size_t item_of[MGET_AT_ONCE], asked = 0;
	struct ld_way way = ld_way_of(tenant->cache, call, NULL);
	int16_t sources[MGET_AT_ONCE];

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
	for (size_t i = 0; i < asked; i++)
		sources[i] = LARDER_FROM_L1;
	if (tenant->cache->l2)
		get_further(tenant, items, item_of, asked, call, l2_budget_ms, &look, found, results, sources);
	for (size_t i = 0; i < asked; i++) {
		struct larder_item *item = &items[item_of[i]];

		item->result = results[i];
		if (results[i] == 0 || results[i] == LARDER_STALE || results[i] == LARDER_ABSENT)
			tell(&found[i], results[i], sources[i], &item->value);
	}
}

/* What all the parts of one call have together for L2, at least a millisecond. */
static int64_t budget_left(const larder *cache, const struct larder_call *call, int64_t began_ms)
{
	int64_t budget_ms = call && call->budget_ms ? call->budget_ms : cache->settings.number[LD_SET_L2_GET_MS];
	int64_t left_ms = began_ms + budget_ms - ld_clock_boot_ms();

	return left_ms > 1 ? left_ms : 1;
}

int larder_mget(larder_tenant *tenant, struct larder_item *items, size_t count, const struct larder_call *call)
{
	int64_t began_ms = ld_clock_boot_ms(), retry_ms = 0;
	int rc;

	if (!ld_is_tenant(tenant))
		return LARDER_E_CLOSED;
	rc = ld_begin_call(call);
	if (rc != 0 || (!items && count != 0))
		return LARDER_E_USAGE;
	for (size_t at = 0; at < count; at += MGET_AT_ONCE) {
		size_t part = count - at < MGET_AT_ONCE ? count - at : MGET_AT_ONCE;

		get_some(tenant, items + at, part, call, at == 0 && !(call && call->budget_ms) ? 0 : budget_left(tenant->cache, call, began_ms));
		/* Each part begins anew. */
		retry_ms = larder_retry_after() > retry_ms ? larder_retry_after() : retry_ms;
	}
	ld_retry_after_set(retry_ms);
	return 0;
}

void larder_value_free(struct larder_value *value)
{
	if (!value)
		return;
	free(value->data);
	memset(value, 0, sizeof(*value));
}
