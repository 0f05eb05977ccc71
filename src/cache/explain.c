/* SPDX-License-Identifier: MIT */
/*
 * larder_inspect_explain(): what a get, and one with a loader, would do, worked out from the same states that they look at, in the same order. It must never
 * do any of it: nothing is counted, taken, stored or asked. What it says must not differ from what get.c, fill.c and second.c do; tests compare them.
 */
#include "cache/fill.h"

#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "l1/outbox.h"
#include "l2/client.h"

/* ---- what is known ---- */

static void tell_times(const struct ld_store_explained *seen, struct larder_explanation *to)
{
	int64_t end_ms = seen->hard_end_ms - seen->wall_ms;

	to->age_ms = seen->now_ms - seen->created_ms;
	to->fresh_ms = seen->fresh_until_ms - seen->now_ms;
	to->left_ms = seen->stale_until_ms - seen->now_ms;
	to->error_left_ms = seen->dead_ms - seen->now_ms;
	to->hard_end_ms = seen->hard_end_ms;
	if (seen->hard_end_ms == 0)
		return;
	to->fresh_ms = end_ms < to->fresh_ms ? end_ms : to->fresh_ms;
	to->left_ms = end_ms < to->left_ms ? end_ms : to->left_ms;
	to->error_left_ms = end_ms < to->error_left_ms ? end_ms : to->error_left_ms;
}

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
	tell_times(seen, to);
	to->absent = seen->absent;
	to->load_ms = seen->load_ms;
	to->tag_count = seen->tag_count;
	to->tag = seen->tag;
	to->tag_cleared = seen->tag_cleared;
	to->sequence = seen->seq;
	to->value_len = seen->value_len;
	to->stored_bytes = seen->stored_b;
	to->flags = seen->flags;
	to->hits_estimate = seen->hits;
	memcpy(to->etag, seen->etag, sizeof(to->etag));
}

static void tell_policy(const struct ld_policy *policy, struct larder_explanation *to)
{
	to->ttl_ms = policy->ttl_ms;
	to->stale_ms = policy->stale_ms;
	to->error_ms = policy->error_ms;
	to->negative_ms = policy->negative_ms;
	to->keeps_names = policy->keep_names;
}

static void tell_lease(larder *cache, const struct ld_key *key, struct larder_explanation *to)
{
	struct ld_lease_info info = { .failed_ago_ms = -1 };

	/* Where the store cannot be entered any more nobody is waited for. */
	(void)ld_store_lease_look(cache->store, key, &info);
	to->lease_held = info.held;
	to->lease_pid = info.pid;
	to->lease_alive = info.alive;
	to->lease_outdated = info.outdated;
	to->lease_age_ms = info.age_ms;
	to->lease_left_ms = info.left_ms;
	to->lease_waiting = info.waiting;
	to->throttled_ms = info.throttled_ms;
	to->failed_ago_ms = info.failed_ago_ms;
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

static void tell_breaker(larder_tenant *tenant, const struct ld_key *key, struct larder_explanation *to)
{
	const struct ld_tenant_rights rights = ld_tenant_rights(tenant);
	const struct ld_l2_call call = { .key = key, .breaker = rights.own_breaker ? &rights.breaker : NULL };
	struct ld_breaker_view view;

	to->breaker_own = rights.own_breaker ? 1 : 0;
	if (ld_l2_breaker_of(tenant->cache->l2, &call, &view) != 0)
		return;
	to->breaker = view.word.state == LD_BREAKER_CLOSED ? LARDER_BREAKER_CLOSED :
	    view.word.state == LD_BREAKER_HALF_OPEN ? LARDER_BREAKER_HALF_OPEN : LARDER_BREAKER_OPEN;
	to->breaker_retry_ms = view.retry_after_ms;
}

/* ---- what follows ---- */

static int is_hidden_by(const struct larder_explanation *from, uint64_t cleared)
{
	return from->sequence < cleared;
}

static const char *why_cleared(const struct larder_explanation *from)
{
	uint64_t wider = from->cleared_all > from->cleared_tenant ? from->cleared_all : from->cleared_tenant;

	if (from->sequence <= from->barrier)
		return "a later write of this key, or of one that shares its barrier, could not be done: the entry is not served";
	if (is_hidden_by(from, from->cleared_space) && from->cleared_space > wider)
		return "the space was cleared after the entry was stored";
	if (!is_hidden_by(from, wider))
		return "a tag of the entry, or one that shares its word, was invalidated after the entry was stored";
	return from->cleared_tenant > from->cleared_all ? "the tenant was cleared after the entry was stored" :
	    "everything was cleared after the entry was stored";
}

/* Why the store alone has no fresh value. */
static const char *why_not_here(const struct larder_explanation *from)
{
	switch (from->state) {
	case 0:
		return "there is no entry";
	case LARDER_IS_DAMAGED:
		return "the entry is damaged";
	case LARDER_IS_CLEARED:
		return why_cleared(from);
	case LARDER_IS_EXPIRED:
		return from->hard_end_ms != 0 ? "the entry is past its time, which its hard end bounds" : "the entry is past its TTL and windows";
	case LARDER_IS_ERROR_WINDOW:
		return "the value is past its stale window, in its error window: it is given out only when its source fails";
	default:
		return from->absent ? "the remembered \"not found\" is past its time" : "the value is past its TTL, in its stale window";
	}
}

static int is_stale(const struct larder_explanation *of)
{
	return of->state == LARDER_IS_STALE && !of->absent;
}

/* There is a value that may be given out at once, or when its source fails. */
static int has_value(const struct larder_explanation *of)
{
	return !of->absent && (of->state == LARDER_IS_STALE || of->state == LARDER_IS_ERROR_WINDOW);
}

/* Whoever comes now does not get the lease. */
static int is_held(const struct larder_explanation *of)
{
	return of->lease_held && of->lease_alive && !of->lease_outdated;
}

static int is_refused(const struct larder_explanation *of)
{
	return of->breaker == LARDER_BREAKER_OPEN && of->breaker_retry_ms != 0;
}

/* refresh() in fill.c: the value is given out whatever becomes of it. */
static void judge_refresh(struct larder_explanation *to)
{
	to->result = to->if_l2_fails = LARDER_STALE;
	if (is_held(to))
		to->why = "the value is stale, and somebody else fetches a newer one: it is returned at once";
	else if (to->throttled_ms != 0)
		to->why = "the value is stale, and loading it failed a moment ago: it is returned at once, and not refreshed yet";
	else if (to->limit_retry_ms != 0)
		to->why = "the value is stale, and the tenant is over its limit on gets of L2: it is returned at once, and not refreshed yet";
	else if (is_refused(to))
		to->why = "the value is stale, and the breaker is open: it is returned at once, and not refreshed yet";
	else {
		to->refreshes = 1;
		to->why = "the value is stale: it is returned at once, and one process asks L2 for a newer one";
	}
}

/* fetch_once_on_the_host() in fill.c, without a loader. */
static void judge_fetch(struct larder_explanation *to)
{
	to->result = LARDER_MISS;
	to->if_l2_fails = has_value(to) ? LARDER_STALE : LARDER_E_L2;
	if (is_held(to)) {
		to->waits = 1;
		to->why = "somebody else fetches it: a get waits for that one, within its budget";
	} else if (to->limit_retry_ms != 0) {
		to->result = to->if_l2_fails = has_value(to) ? LARDER_STALE : LARDER_E_LIMIT;
		to->why = "the tenant is over its limit on gets of L2";
	} else if (is_refused(to)) {
		to->result = to->if_l2_fails;
		to->why = "the breaker is open: L2 is not asked";
	} else {
		to->asks_l2 = 1;
	}
}

/* A get, as get.c has it. */
static void judge(struct larder_explanation *to)
{
	to->why = why_not_here(to);
	to->result = is_stale(to) ? LARDER_STALE : to->state == LARDER_IS_DAMAGED ? LARDER_UNAVAILABLE : LARDER_MISS;
	if (!to->on || to->passed) {
		to->result = LARDER_MISS;
		to->why = to->passed ? "LARDER_ENABLED is off, or the key is outside LARDER_ROLLOUT: nothing is looked up" :
		    "the cache is switched off: nothing is looked up";
	} else if (to->state == LARDER_IS_FRESH) {
		to->result = to->absent ? LARDER_ABSENT : LARDER_OK;
		to->why = to->absent ? "it is remembered as not found" : "the value is fresh";
	} else if (to->l2 && strcmp(to->pending, "none") != 0) {
		to->result = has_value(to) ? LARDER_STALE : to->result;
		to->why = "a write of this key waits to be told to L2: until then L2 is not asked for it";
	} else if (to->l2) {
		if (is_stale(to))
			judge_refresh(to);
		else
			judge_fetch(to);
		return;
	}
	to->if_l2_fails = to->result;
}

/* One with a loader that is to be called, or whose turn it is not. */
static void judge_load_of_none(struct larder_explanation *to)
{
	to->load_result = has_value(to) ? LARDER_STALE : LARDER_E_LOAD;
	if (is_held(to)) {
		to->load_waits = !is_stale(to);
		to->load_why = is_stale(to) ? "somebody else fetches a newer one: the stale value is returned at once" :
		    "somebody else fetches it: the caller waits for that one, within its budget";
	} else if (to->throttled_ms != 0) {
		to->load_why = is_stale(to) ? "a load failed a moment ago: the stale value is returned at once" : "a load failed a moment ago: it is not tried again yet";
	} else {
		to->loads = 1;
		to->load_why = is_stale(to) ? "the stale value is returned, and one caller has it refreshed" :
		    to->asks_l2 ? "L2 is asked, then the caller loads it, and the host waits for that" : "the caller loads it, and the host waits for that";
	}
}

static void judge_load(struct larder_explanation *to, int64_t beta)
{
	if (!to->on || to->passed) {
		to->loads = 1;
		to->load_result = LARDER_E_LOAD;
		to->load_why = "every caller loads, and nothing is kept";
	} else if (to->state == LARDER_IS_FRESH) {
		to->load_result = to->absent ? LARDER_ABSENT : LARDER_OK;
		to->may_be_early = !to->absent && (double)to->load_ms * (double)beta / 100 * LD_FILL_EARLY_MOST >= (double)to->fresh_ms && to->load_ms != 0;
		to->load_why = to->may_be_early ? "the value is fresh, and may be refreshed early, by lot" : "no load is needed";
	} else {
		judge_load_of_none(to);
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
	tell_policy(&keyspace->policy, &to);
	to.passed = ld_way_of(cache, NULL, &key).pass;
	to.tells_l2 = ld_second_tells(cache, NULL);
	tell_entry(&seen, &to);
	tell_lease(cache, &key, &to);
	to.l2 = cache->l2 != NULL;
	if (to.l2) {
		tell_breaker(tenant, &key, &to);
		tell_limit(tenant, &to);
	}
	judge(&to);
	judge_load(&to, keyspace->policy.beta);
	*ret_explanation = to;
	return 0;
}
