/* SPDX-License-Identifier: MIT */
/*
 * larder_inspect_explain(): what a get would do, worked out from the same states that a get looks at, in the same order. It must never do any of it:
 * nothing is counted, taken, stored or asked. What it says must not differ from what get.c and second.c do; tests compare the two.
 */
#include "cache/second.h"

#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "l1/outbox.h"
#include "l2/client.h"

/* ---- what is known ---- */

static void tell_entry(const struct ld_store_explained *seen, struct larder_explanation *to)
{
	to->on = !seen->off;
	to->state = seen->state;
	to->cleared_all = seen->cleared_all;
	to->cleared_tenant = seen->cleared_tenant;
	to->cleared_space = seen->cleared_space;
	to->barrier = seen->barrier;
	to->l2_invalid_ms = seen->l2_invalid_ms;
	to->pending = seen->pending == 0 ? "none" : seen->pending == LD_OUTBOX_SET ? "set" : "delete";
	to->pending_ms = seen->pending ? seen->now_ms - seen->pending_since_ms : 0;
	if (seen->state == 0 || seen->state == LARDER_IS_DAMAGED)
		return;
	to->absent = seen->absent;
	to->age_ms = seen->now_ms - seen->created_ms;
	to->fresh_ms = seen->fresh_until_ms - seen->now_ms;
	to->left_ms = seen->dead_ms - seen->now_ms;
	to->hard_end_ms = seen->hard_end_ms;
	if (seen->hard_end_ms != 0) {
		int64_t end_ms = seen->hard_end_ms - seen->wall_ms;

		to->fresh_ms = end_ms < to->fresh_ms ? end_ms : to->fresh_ms;
		to->left_ms = end_ms < to->left_ms ? end_ms : to->left_ms;
	}
	to->sequence = seen->seq;
	to->value_len = seen->value_len;
	to->stored_bytes = seen->stored_b;
	to->flags = seen->flags;
	to->hits_estimate = seen->hits;
	memcpy(to->etag, seen->etag, sizeof(to->etag));
}

struct limit_look {
	struct ld_limit_ask ask;
	int64_t wait_ms;
};

static int look_at_limit(struct ld_seg *seg, int64_t now_ms, void *ctx)
{
	struct limit_look *look = ctx;

	(void)now_ms;
	look->wait_ms = ld_limiter_wait_ms(&seg->limiter, look->ask.tag, &look->ask.rule, 1, ld_clock_boot_ns());
	return 0;
}

static void tell_limit(larder_tenant *tenant, struct larder_explanation *to)
{
	const struct ld_limits limits = ld_tenant_rights(tenant).limits;
	struct limit_look look = { .ask = { .rule = { limits.l2_rate, limits.l2_burst, 1 } } };

	to->limit_rate = limits.l2_rate;
	if (limits.l2_rate == 0)
		return;
	look.ask.tag = ld_limit_tag(tenant, LD_LIMIT_L2, NULL);
	if (ld_store_with(tenant->cache->store, tenant->cache->settings.number[LD_SET_WRITE_WAIT_MS], look_at_limit, &look) == 0)
		to->limit_retry_ms = look.wait_ms;
}

static void tell_breaker(larder_tenant *tenant, struct larder_explanation *to)
{
	struct ld_breaker_view view;

	if (ld_l2_breaker(tenant->cache->l2, &view) != 0)
		return;
	to->breaker = view.word.state == LD_BREAKER_CLOSED ? LARDER_BREAKER_CLOSED :
	    view.word.state == LD_BREAKER_HALF_OPEN ? LARDER_BREAKER_HALF_OPEN : LARDER_BREAKER_OPEN;
	to->breaker_retry_ms = view.retry_after_ms;
}

/* ---- what follows ---- */

/* Why the store alone has no fresh value. */
static const char *why_not_here(const struct larder_explanation *from)
{
	uint64_t cleared = from->cleared_all > from->cleared_tenant ? from->cleared_all : from->cleared_tenant;

	switch (from->state) {
	case 0:
		return "there is no entry";
	case LARDER_IS_DAMAGED:
		return "the entry is damaged";
	case LARDER_IS_CLEARED:
		if (from->sequence <= from->barrier)
			return "a later write of this key, or of one that shares its barrier, could not be done: the entry is not served";
		return from->sequence < from->cleared_space && from->cleared_space > cleared ? "the space was cleared after the entry was stored" :
		    from->cleared_tenant > from->cleared_all ? "the tenant was cleared after the entry was stored" :
		    "everything was cleared after the entry was stored";
	case LARDER_IS_EXPIRED:
		return from->hard_end_ms != 0 ? "the entry is past its time, which its hard end bounds" : "the entry is past its TTL and stale window";
	default:
		return from->absent ? "the remembered \"not found\" is past its time" : "the value is past its TTL, in its stale window";
	}
}

static void judge_l2(struct larder_explanation *to, int result)
{
	if (strcmp(to->pending, "none") != 0)
		to->why = "a write of this key waits to be told to L2: until then L2 is not asked for it";
	else if (to->limit_retry_ms != 0) {
		result = result == LARDER_STALE ? result : LARDER_E_LIMIT;
		to->why = "the tenant is over its limit on gets of L2";
	} else if (to->breaker == LARDER_BREAKER_OPEN && to->breaker_retry_ms != 0) {
		result = result == LARDER_STALE ? result : LARDER_E_L2;
		to->why = "the breaker is open: L2 is not asked";
	} else {
		to->asks_l2 = 1;
	}
	to->result = result;
}

static void judge(struct larder_explanation *to)
{
	int stale = to->state == LARDER_IS_STALE && !to->absent;

	to->why = why_not_here(to);
	to->result = stale ? LARDER_STALE : to->state == LARDER_IS_DAMAGED ? LARDER_UNAVAILABLE : LARDER_MISS;
	if (!to->on || to->passed) {
		to->result = LARDER_MISS;
		to->why = to->passed ? "LARDER_ENABLED is off, or the key is outside LARDER_ROLLOUT: nothing is looked up" :
		    "the cache is switched off: nothing is looked up";
	} else if (to->state == LARDER_IS_FRESH) {
		to->result = to->absent ? LARDER_ABSENT : LARDER_OK;
		to->why = to->absent ? "it is remembered as not found" : "the value is fresh";
	} else if (to->l2) {
		judge_l2(to, to->result);
	}
}

int larder_inspect_explain(larder_tenant *tenant, const char *space, const void *name, size_t name_len,
    struct larder_explanation *ret_explanation)
{
	struct ld_store_explained seen;
	const struct ld_keyspace *keyspace;
	struct larder_explanation to = { .size = sizeof(to), .breaker = -1 };
	struct ld_keyspace room;
	struct ld_key key;
	larder *cache;
	int rc;

	if (!ld_is_tenant(tenant))
		return LARDER_E_CLOSED;
	if (!ret_explanation || ret_explanation->size < sizeof(to))
		return LARDER_E_USAGE;
	rc = ld_prepare_key(tenant, space, name, name_len, &room, &keyspace, &key);
	if (rc == 0)
		rc = ld_store_explain(tenant->cache->store, &key, &seen);
	if (rc != 0)
		return rc;
	cache = tenant->cache;
	to.size = ret_explanation->size;
	memcpy(to.digest, key.digest, sizeof(to.digest));
	to.ttl_ms = keyspace->policy.ttl_ms;
	to.stale_ms = keyspace->policy.stale_ms;
	to.negative_ms = keyspace->policy.negative_ms;
	to.keeps_names = keyspace->policy.keep_names;
	to.passed = ld_way_of(cache, NULL, &key).pass;
	to.tells_l2 = ld_second_tells(cache, NULL);
	tell_entry(&seen, &to);
	to.l2 = cache->l2 != NULL;
	if (to.l2) {
		tell_breaker(tenant, &to);
		tell_limit(tenant, &to);
	}
	judge(&to);
	*ret_explanation = to;
	return 0;
}
