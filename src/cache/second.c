/* SPDX-License-Identifier: MIT */
/*
 * Reading through and writing past. A value from L2 is given to the caller only if no invalidation covers it, and kept only if nothing newer was written
 * since the look that missed it (ld_store_fill()); an outage is never called a miss.
 *
 * Races, with A reading through and B writing:
 *
 *   B sets or deletes while A waits for L2      A's fill is discarded; A, which began before, may give L2's older value out once.
 *   B has set, L2 does not know it yet          the row in the outbox makes A's miss local: L2 is not asked.
 *   B's write could not be done at all          its barrier has a time: L2's older value is not given out on this host.
 */
#include "cache/second.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/mem.h"
#include "l2/drain.h"

/* ---- reading ---- */

int ld_second_wanted(const struct ld_asked *asked, int result, const struct ld_found *found)
{
	const larder *cache = asked->tenant->cache;

	if (!cache->l2 || asked->way.pass || found->bypassed || (asked->call && asked->call->flags & LARDER_CALL_THIS_TIER))
		return 0;
	return !found->pending && (result == LARDER_STALE || result == LARDER_UNAVAILABLE || result == LARDER_MISS);
}

static struct ld_l2_call call_of(const struct ld_asked *asked, const struct ld_tenant_rights *rights)
{
	const struct larder_call *call = asked->call;

	return (struct ld_l2_call){ .key = &asked->key, .budget_ms = call ? call->budget_ms : 0, .request_id = call ? call->request_id : NULL,
		.breaker = rights->own_breaker ? &rights->breaker : NULL };
}

/* May the value be given out, so old and so tagged? Asked after L2 has answered. */
static int is_admitted(const struct ld_asked *asked, const struct ld_wire_value *value)
{
	const larder *cache = asked->tenant->cache;
	const struct ld_l2_given given = { value->created_ms, cache->settings.number[LD_SET_L2_SKEW_MS], value->tags, value->tag_count };

	return ld_store_l2_admits(cache->store, &asked->key, &given);
}

static int64_t lesser(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Keep what L2 gave: never for longer than L2 would, nor than the policy of this tier wants. */
static enum ld_lease_end keep(const struct ld_asked *asked, const struct ld_wire_value *value, const void *data, const struct ld_seen *seen)
{
	const struct ld_policy *policy = &asked->keyspace->policy;
	struct ld_put put = { .data = data, .len = value->len, .etag = value->etag, .hard_end_ms = value->hard_end_ms, .flags = value->flags,
		.tags = value->tags, .tag_count = value->tag_count, .jitter_pct = (uint32_t)policy->jitter_pct };
	int64_t stale_left_ms = value->left_ms + value->stale_left_ms;
	int rc;

	if (value->no_store || value->left_ms < 1)
		return LD_LEASE_UNSTORED;
	put.ttl_ms = lesser(policy->ttl_ms, value->left_ms);
	put.stale_ms = lesser(policy->stale_ms, stale_left_ms - put.ttl_ms);
	put.error_ms = lesser(policy->error_ms, stale_left_ms + value->error_left_ms - put.ttl_ms - put.stale_ms);
	if (policy->keep_names) {
		put.name = asked->name;
		put.name_len = asked->name_len;
	}
	rc = ld_store_fill(asked->tenant->cache->store, &asked->key, &asked->way, &put, seen);
	ld_reason_set(LARDER_REASON_NONE);
	return rc == 0 || rc == LARDER_EXISTS ? LD_LEASE_STORED : LD_LEASE_UNSTORED;
}

/* The value's bytes, for the caller: in the buffer, or in the memory that they came in. */
static int hand_over(struct ld_wire_value *value, const struct ld_look *look, struct ld_found *found)
{
	found->len = value->len;
	if (look->buffer) {
		if (value->len > look->buffer_size)
			return LARDER_E_SPACE;
		if (value->len)
			memcpy(look->buffer, value->data, value->len);
		found->data = look->buffer;
		return 0;
	}
	free(found->data);
	if (!value->memory)
		value->memory = ld_malloc(1);
	if (!value->memory) {
		found->data = NULL;
		ld_reason_set(LARDER_REASON_NOMEM);
		return LARDER_UNAVAILABLE;
	}
	if (value->len && value->data != value->memory)
		memmove(value->memory, value->data, value->len);
	found->data = value->memory;
	value->memory = NULL;
	return 0;
}

static void tell_times(const struct ld_wire_value *value, struct ld_found *found)
{
	int64_t wall_ms = ld_clock_wall_ms();

	found->now_ms = ld_clock_boot_ms();
	found->wall_ms = wall_ms;
	found->created_ms = found->now_ms - (value->created_ms > 0 ? wall_ms - value->created_ms : 0);
	found->fresh_until_ms = found->now_ms + value->left_ms;
	found->stale_until_ms = found->fresh_until_ms + value->stale_left_ms;
	found->dead_ms = found->stale_until_ms + value->error_left_ms;
	found->error_only = 0;
	found->hard_end_ms = value->hard_end_ms;
	found->flags = value->flags;
}

_Static_assert((int)LD_WIRE_TAGS_MAX <= (int)LD_TAGS_MAX, "there is room for as many tags as L2 may give");

/* What the value in hand has from now on: a loader may say that it is unchanged, and then it is stored with these. */
static void tell_kept(const struct ld_wire_value *value, const struct ld_look *look, struct ld_found *found)
{
	if (look->etag)
		memcpy(look->etag, value->etag, strlen(value->etag) + 1);
	if (look->tags) {
		memcpy(look->tags, value->tags, sizeof(*look->tags) * value->tag_count);
		found->tag_count = value->tag_count;
	}
}

static int take(const struct ld_asked *asked, struct ld_wire_value *value, const struct ld_look *look, struct ld_found *found,
    enum ld_lease_end *ret_end)
{
	int rc;

	*ret_end = keep(asked, value, value->data, &found->seen);
	tell_times(value, found);
	tell_kept(value, look, found);
	rc = hand_over(value, look, found);
	return rc != 0 ? rc : value->left_ms > 0 ? 0 : LARDER_STALE;
}

/* What we have is stale, and L2 may say that it is still good: no body then. NULL when it has no ETag. */
static const struct ld_wire_value *copy_of(int result, const struct ld_look *look, const struct ld_found *found, struct ld_wire_value *copy)
{
	if (result != LARDER_STALE || !look->etag || !look->etag[0] || !look->tags)
		return NULL;
	copy->created_ms = ld_clock_wall_ms() - (found->now_ms - found->created_ms);
	copy->hard_end_ms = found->hard_end_ms;
	copy->flags = found->flags;
	copy->tag_count = found->tag_count;
	memcpy(copy->tags, look->tags, sizeof(*look->tags) * found->tag_count);
	memcpy(copy->etag, look->etag, strlen(look->etag) + 1);
	return copy;
}

/* 304: the stale value in hand is fresh again, here and for the caller. Returns 0 when it may not be given out. */
static int renew(const struct ld_asked *asked, struct ld_wire_value *value, const struct ld_look *look, struct ld_found *found,
    enum ld_lease_end *ret_end)
{
	if (!look->want_data || value->left_ms < 1 || !is_admitted(asked, value))
		return 0;
	value->len = found->len;
	*ret_end = keep(asked, value, found->data, &found->seen);
	tell_times(value, found);
	tell_kept(value, look, found);
	return 1;
}

/* L2 had nothing for us. A stale value is better than none, but one in its error window only if L2 failed; what L2 could not tell is not a miss. */
static int without(int result, const struct ld_look *look, struct ld_found *found, enum ld_l2_outcome outcome)
{
	if (outcome != LD_L2_MISS)
		ld_reason_set(ld_l2_reason(outcome));
	if (result == LARDER_STALE && (outcome != LD_L2_MISS || !found->error_only))
		return result;
	if (result == LARDER_STALE && look->want_data && !look->buffer) {
		free(found->data);
		found->data = NULL;
	}
	return outcome == LD_L2_MISS ? LARDER_MISS : LARDER_E_L2;
}

/*
 * The limits on gets of L2, of the tenant and of the call's sub-key: half of them while the host is cold (DESIGN: E3). Over one nothing is asked, and that is
 * its own outcome. Where nobody can count, the breaker and the bound on calls under way still stand.
 */
static int is_over_limit(const struct ld_asked *asked, const struct ld_limits *limits)
{
	larder_tenant *tenant = asked->tenant;
	const char *subkey = asked->call ? asked->call->subkey : NULL;
	struct ld_limit_ask asks[2];
	int64_t retry_ms = 0;
	unsigned count = 0;

	if (subkey && limits->l2_subkey_rate)
		asks[count++] = (struct ld_limit_ask){ ld_limit_tag(tenant, LD_LIMIT_L2, subkey), { limits->l2_subkey_rate, limits->l2_subkey_burst, 1 } };
	if (limits->l2_rate)
		asks[count++] = (struct ld_limit_ask){ ld_limit_tag(tenant, LD_LIMIT_L2, NULL), { limits->l2_rate, limits->l2_burst, 1 } };
	if (count == 0 || ld_store_limit(tenant->cache->store, &asked->key, &asked->way, asks, count, 1, &retry_ms) != LARDER_E_LIMIT)
		return 0;
	ld_store_count(tenant->cache->store, &asked->key, LD_TC_l2_limited);
	ld_retry_after_raise(retry_ms);
	return 1;
}

static int over_limit(int result)
{
	return result == LARDER_STALE ? result : LARDER_E_LIMIT;
}

/* What L2 answered, to the caller and to those who wait. The value is freed. */
static int use_answer(const struct ld_asked *asked, int result, const struct ld_look *look, struct ld_l2_ask *ask, struct ld_found *found,
    int16_t *ret_source, enum ld_lease_end *ret_end)
{
	struct ld_wire_value *value = &ask->value;
	enum larder_reason reason = ld_l2_reason(ask->outcome);
	int rc;

	*ret_end = ask->outcome == LD_L2_MISS ? LD_LEASE_MISSED : LD_LEASE_UNSTORED;
	if (reason >= LARDER_REASON_L2_TIMEOUT)
		*ret_end = LD_LEASE_L2_FAILED + (reason - LARDER_REASON_L2_TIMEOUT);
	if (ask->outcome == LD_L2_SAME && renew(asked, value, look, found, ret_end))
		return 0;
	if (ask->outcome != LD_L2_HIT) {
		ld_retry_after_raise(ask->end.retry_after_ms);
		return without(result, look, found, ask->outcome);
	}
	if (!is_admitted(asked, value)) {
		*ret_end = LD_LEASE_MISSED;
		rc = without(result, look, found, LD_L2_MISS);
	} else {
		rc = take(asked, value, look, found, ret_end);
		*ret_source = LARDER_FROM_L2;
	}
	ld_wire_value_free(value);
	return rc;
}

static struct ld_l2_have have_of(const struct ld_asked *asked, const struct ld_wire_value *copy)
{
	const struct ld_policy *policy = &asked->keyspace->policy;

	return (struct ld_l2_have){ .default_ttl_ms = policy->ttl_ms, .default_stale_ms = policy->stale_ms, .default_error_ms = policy->error_ms, .copy = copy };
}

int ld_second_get(const struct ld_asked *asked, int result, const struct ld_look *look, int64_t left_ms, struct ld_found *found, int16_t *ret_source,
    enum ld_lease_end *ret_end)
{
	const struct ld_tenant_rights rights = ld_tenant_rights(asked->tenant);
	struct ld_wire_value copy = { 0 };
	struct ld_l2_ask ask = { .call = call_of(asked, &rights), .have = have_of(asked, copy_of(result, look, found, &copy)) };

	ld_drain_start_if(asked->tenant->cache);
	*ret_end = LD_LEASE_UNSTORED;
	if (is_over_limit(asked, &rights.limits))
		return over_limit(result);
	if (left_ms > 0)
		ask.call.budget_ms = left_ms;
	ask.outcome = ld_l2_get(asked->tenant->cache->l2, &ask.call, &ask.have, &ask.value, &ask.end);
	return use_answer(asked, result, look, &ask, found, ret_source, ret_end);
}

void ld_second_get_many(struct ld_second_item *items, size_t count, const struct ld_look *look, int64_t budget_ms)
{
	struct ld_second_item *sent[LD_L2_MANY];
	struct ld_l2_ask *asks[LD_L2_MANY];
	struct ld_tenant_rights rights;
	enum ld_lease_end end;
	size_t used = 0;

	if (count == 0)
		return;
	rights = ld_tenant_rights(items[0].asked.tenant);

	for (size_t i = 0; i < count && used < LD_L2_MANY; i++) {
		struct ld_second_item *item = &items[i];

		if (is_over_limit(&item->asked, &rights.limits)) {
			item->result = over_limit(item->result);
			continue;
		}
		item->ask = (struct ld_l2_ask){ .call = call_of(&item->asked, &rights), .have = have_of(&item->asked, NULL) };
		asks[used] = &item->ask;
		sent[used++] = item;
	}
	if (used == 0)
		return;
	ld_drain_start_if(items[0].asked.tenant->cache);
	ld_l2_get_many(items[0].asked.tenant->cache->l2, asks, used, budget_ms);
	for (size_t i = 0; i < used; i++)
		sent[i]->result = use_answer(&sent[i]->asked, sent[i]->result, look, asks[i], sent[i]->found, &sent[i]->source, &end);
}

int ld_second_exists(const struct ld_asked *asked, int result)
{
	static const struct ld_look look = { 0 };
	const struct ld_tenant_rights rights = ld_tenant_rights(asked->tenant);
	const struct ld_l2_call call = call_of(asked, &rights);
	struct ld_found none = { 0 };
	struct ld_l2_end end;
	enum ld_l2_outcome outcome;

	if (is_over_limit(asked, &rights.limits))
		return over_limit(result);
	outcome = ld_l2_head(asked->tenant->cache->l2, &call, &end);
	ld_retry_after_set(end.retry_after_ms);
	return outcome == LD_L2_HIT ? 0 : without(result, &look, &none, outcome);
}

/* ---- writing ---- */

int ld_second_tells(const larder *cache, const struct larder_call *call)
{
	return cache->l2 && cache->settings.number[LD_SET_L2_WRITE] != LD_L2_WRITE_OFF && !(call && call->flags & LARDER_CALL_THIS_TIER);
}

/*
 * Told from here, for the store takes nothing and there is no outbox: within the call's budget, at once, by whoever comes. Writes of one key that are told so
 * have no order in L2 among themselves, nor with a request of the teller that is sent at the same time. On this host nothing is wrong with that: each of them has raised the key's
 * barrier, and what L2 has from before it is not given out. Other hosts may see an older value until it ends there.
 *
 *   a set is on its way                           the teller sends nothing of the key until it is answered: ld_drain_beside(). Where there is no room to
 *                                                 say so, it goes all the same, without an order.
 *   the teller has read an older row of the key   it looks at the barrier, which was raised before we came here, and does not send it: l2/drain.c.
 *   a set is given up, L2 carries it out later    the store may take the next set of the key, which the teller may not send before: ld_drain_beside().
 *   a delete is given up                          carried out after a newer set it leaves nothing there: a miss, and no older value.
 *   killed before the answer                      the teller waits until the request's time is over, sent or not.
 */
static int write_id(unsigned char id[LD_L2_WRITE_ID])
{
	return ld_key_random(id, LD_L2_WRITE_ID);
}

int ld_second_delete(const struct ld_asked *asked)
{
	const struct ld_tenant_rights rights = ld_tenant_rights(asked->tenant);
	const struct ld_l2_call call = call_of(asked, &rights);
	unsigned char id[LD_L2_WRITE_ID];
	enum ld_l2_outcome outcome;
	struct ld_l2_end end;

	if (!asked->key.tell_l2 || write_id(id) != 0)
		return 0;
	outcome = ld_l2_delete(asked->tenant->cache->l2, &call, id, &end);
	return outcome == LD_L2_HIT || outcome == LD_L2_MISS;
}

int ld_second_put(const struct ld_asked *asked, const struct ld_put *put)
{
	const struct ld_tenant_rights rights = ld_tenant_rights(asked->tenant);
	struct ld_l2_call call = call_of(asked, &rights);
	struct ld_wire_value value = { .data = put->data, .len = put->len, .ttl_ms = put->l2_ttl_ms ? put->l2_ttl_ms : put->ttl_ms,
		.stale_ms = put->stale_ms, .error_ms = put->error_ms, .created_ms = ld_clock_wall_ms(), .hard_end_ms = put->hard_end_ms,
		.flags = put->flags, .tag_count = put->tag_count };
	unsigned char id[LD_L2_WRITE_ID];
	struct ld_drain *drain = asked->tenant->cache->drain;
	struct ld_beside beside;
	enum ld_l2_outcome outcome;
	struct ld_l2_end end;

	if (put->absent)
		return ld_second_delete(asked);
	if (!asked->key.tell_l2 || write_id(id) != 0)
		return 0;
	ld_drain_beside(drain, &asked->key, &beside);
	call.until_ms = beside.until_ms;
	if (put->tag_count)
		memcpy(value.tags, put->tags, sizeof(*put->tags) * put->tag_count);
	outcome = ld_l2_put(asked->tenant->cache->l2, &call, &value, id, &end);
	ld_drain_beside_end(drain, &asked->key, &beside, end.unanswered);
	return outcome == LD_L2_HIT;
}

void ld_second_told(larder *cache, const struct ld_key *keys, size_t count, const struct larder_call *call)
{
	if (count == 0 || !keys[0].tell_l2)
		return;
	ld_drain_start_if(cache);
	if (cache->settings.number[LD_SET_L2_WRITE] != LD_L2_WRITE_THROUGH)
		return;
	/* What could not be told in time stays pending: the write is done here all the same. */
	(void)ld_drain_wait_for(cache->drain, keys, count, call && call->budget_ms ? call->budget_ms : cache->settings.number[LD_SET_L2_SET_MS]);
}
