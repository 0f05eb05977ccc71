/* SPDX-License-Identifier: MIT */
/*
 * Takes from the limiter of the segment. Called by cache/ for the server's own requests and for calls to L2. It looks at no entry, and works while
 * the cache is off. It must take from all buckets it is asked for, or from none.
 *
 * Two buckets cannot be charged in one step. So both are looked at first; then they are charged in their order, and what was charged is given back
 * when a later one refuses after all:
 *
 *   another take comes between look and charge    given back, unless somebody has taken from that bucket since: then the cost is lost to it
 *   killed between two charges                    the first bucket has lost the cost
 *
 *   Both let through less, never more. While it is charged and not yet given back, others may be refused that need not have been.
 */
#include "l1/inside.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/fault.h"

/* The longest time that one of them refuses for; 0 = none does. */
static int64_t wait_of_all(const struct ld_limiter *limiter, const struct ld_limit_ask *asks, unsigned count, uint32_t cost, int64_t now_ns)
{
	int64_t longest = 0;

	for (unsigned i = 0; i < count; i++) {
		int64_t wait_ms = ld_limiter_wait_ms(limiter, asks[i].tag, &asks[i].rule, cost, now_ns);

		if (wait_ms < 0)
			return wait_ms;
		longest = wait_ms > longest ? wait_ms : longest;
	}
	return longest;
}

static int64_t take_all(const struct ld_seg *seg, const struct ld_limit_ask *asks, unsigned count, uint32_t cost, int64_t now_ns)
{
	struct ld_limit_taken taken[LD_LIMIT_ASKS];
	unsigned shared = 0;

	for (unsigned i = 0; i < count; i++) {
		int64_t wait_ms = ld_limiter_take(&seg->limiter, asks[i].tag, &asks[i].rule, cost, now_ns, &taken[i]);

		if (wait_ms != 0) {
			while (i-- > 0)
				ld_limiter_give_back(&taken[i]);
			return wait_ms;
		}
		shared += (unsigned)taken[i].shared;
		if (i + 1 < count)
			LD_POINT(limit_between);
	}
	if (shared)
		ld_host_count(seg, LD_HC_limit_shared, shared);
	return 0;
}

int ld_store_limit(struct ld_store *store, const struct ld_key *key, const struct ld_way *way, const struct ld_limit_ask *asks,
    unsigned count, uint32_t cost, int64_t *ret_retry_ms)
{
	struct ld_tenant_row *row;
	int64_t now_ms, now_ns, wait_ms;
	unsigned stripe;

	if (count == 0 || count > LD_LIMIT_ASKS)
		return count == 0 ? 0 : LARDER_E_BUG;
	if (ld_enter(store, ld_budget(store, way), &now_ms) != 0)
		return LARDER_UNAVAILABLE;
	now_ns = ld_clock_boot_ns();
	wait_ms = count > 1 ? wait_of_all(&store->seg.limiter, asks, count, cost, now_ns) : 0;
	if (wait_ms == 0)
		wait_ms = take_all(&store->seg, asks, count, cost, now_ns);
	row = ld_tenant_of(store, key);
	stripe = ld_seg_stripe(&store->seg);
	ld_tenant_count(row, stripe, LD_TC_limit_takes, 1);
	if (wait_ms != 0)
		ld_tenant_count(row, stripe, LD_TC_limited, 1);
	ld_leave(store);
	if (wait_ms == 0)
		return 0;
	*ret_retry_ms = wait_ms;
	return LARDER_E_LIMIT;
}

int ld_store_limit_half(struct ld_store *store, int64_t for_ms)
{
	int64_t now_ms;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return rc;
	ld_limiter_half_until(&store->seg.limiter, now_ms + for_ms);
	ld_leave(store);
	return 0;
}
