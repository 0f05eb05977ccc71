/* SPDX-License-Identifier: MIT */
/*
 * Statistics and listings for servers: counters of the segment in the public struct, and the live entries of one tenant.
 */
#include "cache/handle.h"

#include <stddef.h>
#include <string.h>

#include "base/text.h"

/* What the struct ended with when there was no second level. */
enum { FIRST_STATS_B = offsetof(struct larder_stats, l2_hits) };

static uint64_t get_counts(const struct ld_tallies *tallies)
{
	const uint64_t *t = tallies->tenant;

	return t[LD_TC_hits] + t[LD_TC_stale_hits] + t[LD_TC_absent_hits] + t[LD_TC_misses] + t[LD_TC_unavailable] + t[LD_TC_bypassed] +
	    t[LD_TC_get_errors];
}

static void fill_loads(const uint64_t *t, struct larder_stats *stats)
{
	stats->loads = t[LD_TC_loads];
	stats->load_failures = t[LD_TC_load_failures];
	stats->load_joins = t[LD_TC_load_joins];
	stats->load_overflows = t[LD_TC_load_overflows];
	stats->refreshes = t[LD_TC_refreshes];
}

static void fill_second(const uint64_t *t, struct larder_stats *stats)
{
	uint64_t answered = t[LD_TC_l2_hits] + t[LD_TC_l2_misses];

	stats->l2_hits = t[LD_TC_l2_hits];
	stats->l2_misses = t[LD_TC_l2_misses];
	stats->l2_writes = t[LD_TC_l2_writes];
	stats->l2_timeouts = t[LD_TC_l2_timeouts];
	stats->l2_unreachable = t[LD_TC_l2_unreachable];
	stats->l2_errors = t[LD_TC_l2_errors];
	stats->l2_throttled = t[LD_TC_l2_throttled];
	stats->l2_denied = t[LD_TC_l2_denied];
	stats->l2_rejected = t[LD_TC_l2_rejected];
	stats->l2_bad_bodies = t[LD_TC_l2_bad_bodies];
	stats->l2_refused = t[LD_TC_l2_refused];
	stats->l2_busy = t[LD_TC_l2_busy];
	stats->l2_limited = t[LD_TC_l2_limited];
	stats->l2_retries = t[LD_TC_l2_retries];
	stats->l2_bytes_in = t[LD_TC_l2_bytes_in];
	stats->l2_bytes_out = t[LD_TC_l2_bytes_out];
	stats->l2_ms = t[LD_TC_l2_ms];
	stats->l2_hit_ratio = answered ? (double)stats->l2_hits / (double)answered : 0;
}

void ld_fill_stats(const struct ld_tallies *tallies, struct larder_stats *stats)
{
	const uint64_t *t = tallies->tenant;
	uint64_t asked;

	stats->gets = get_counts(tallies);
	stats->hits = t[LD_TC_hits];
	stats->stale_hits = t[LD_TC_stale_hits];
	stats->absent_hits = t[LD_TC_absent_hits];
	stats->misses = t[LD_TC_misses];
	stats->unavailable = t[LD_TC_unavailable];
	stats->bypassed = t[LD_TC_bypassed];
	stats->get_errors = t[LD_TC_get_errors];
	stats->sets = t[LD_TC_sets];
	stats->sets_dropped = t[LD_TC_sets_dropped];
	stats->deletes = t[LD_TC_deletes];
	stats->deletes_failed = t[LD_TC_deletes_failed];
	stats->touches = t[LD_TC_touches];
	stats->clears = t[LD_TC_clears];
	stats->evictions = t[LD_TC_evictions];
	stats->expiries = t[LD_TC_expiries];
	stats->corrupt = t[LD_TC_corrupt];
	stats->entries = tallies->entries;
	stats->used_bytes = tallies->used_b;
	stats->size_bytes = tallies->size_b;
	asked = stats->gets - stats->bypassed - stats->get_errors;
	stats->hit_ratio = asked ? (double)(stats->hits + stats->stale_hits + stats->absent_hits) / (double)asked : 0;
	fill_second(t, stats);
	fill_loads(t, stats);
}

/* As much as the caller's struct has room for. */
static int fill(struct ld_store *store, const struct ld_key *key, struct larder_stats *ret_stats)
{
	struct larder_stats stats = { .size = 0 };
	struct ld_tallies tallies;
	int rc;

	if (!ret_stats || ret_stats->size < FIRST_STATS_B)
		return LARDER_E_USAGE;
	rc = ld_store_tallies(store, key, &tallies);
	if (rc != 0)
		return rc;
	ld_fill_stats(&tallies, &stats);
	stats.size = ret_stats->size;
	memcpy(ret_stats, &stats, stats.size < sizeof(stats) ? stats.size : sizeof(stats));
	return 0;
}

int larder_get_stats(larder *cache, struct larder_stats *ret_stats)
{
	return ld_is_cache(cache) ? fill(cache->store, NULL, ret_stats) : LARDER_E_CLOSED;
}

int larder_tenant_get_stats(larder_tenant *tenant, struct larder_stats *ret_stats)
{
	struct ld_key key;

	if (!ld_is_tenant(tenant))
		return LARDER_E_CLOSED;
	key = ld_tenant_key(tenant);
	return fill(tenant->cache->store, &key, ret_stats);
}

int larder_stats_reset(larder *cache)
{
	return ld_is_cache(cache) ? ld_store_tally_reset(cache->store) : LARDER_E_CLOSED;
}

struct listing {
	larder_list_fn fn;
	void *ctx;
};

static int list_entry(void *ctx, const struct larder_entry *entry)
{
	const struct listing *listing = ctx;
	struct larder_listed listed = {
		.space = entry->space, .name = entry->name, .name_len = entry->name_len, .value_len = entry->value_len,
		.age_ms = entry->age_ms, .fresh_ms = entry->fresh_ms, .left_ms = entry->left_ms, .flags = entry->flags,
	};

	listed.state = entry->absent ? LARDER_ABSENT : entry->state == LARDER_IS_FRESH ? LARDER_OK : LARDER_STALE;
	memcpy(listed.digest, entry->digest, sizeof(listed.digest));
	return listing->fn(listing->ctx, &listed);
}

int larder_list(larder_tenant *tenant, const char *space, larder_list_fn fn, void *ctx, const struct larder_call *call)
{
	struct listing listing = { fn, ctx };
	struct ld_scan scan = { NULL, space, LARDER_IS_FRESH | LARDER_IS_STALE, 0, list_entry, NULL, &listing };

	if (!ld_is_tenant(tenant))
		return LARDER_E_CLOSED;
	if (!fn || ld_begin_call(call) != 0)
		return LARDER_E_USAGE;
	if (space && !ld_text_is_id(space, LARDER_SPACE_MAX))
		return LARDER_E_SPACE_NAME;
	scan.tenant = tenant->name;
	return ld_store_scan(tenant->cache->store, &scan);
}
