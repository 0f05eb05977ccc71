/* SPDX-License-Identifier: MIT */
/*
 * The way of a get that found nothing fresh. One caller on the host takes the key's lease and fetches; the others wait for its end, bounded by their own
 * budgets, and look again. The lease decides who fetches; what may be stored is decided by the fence in the store (l1/put.c), so a lease that is lost,
 * taken over or never had costs a fetch more and nothing else.
 *
 *   A looks and finds nothing, B stores and ends, A takes the lease     the lease says that the one before it ended with a stored value: A looks once more.
 *   the holder dies, or its time is over                                those who wait learn it within a slice and one of them takes over.
 *   the holder's fetch fails                                            all who waited fail with it, and go stale where they may.
 *   the value may not be stored                                         those who waited fetch for themselves, at once, without a lease: they would queue
 *                                                                       up for nothing.
 *   a set or delete comes between                                       the fence discards the fill; who waited looks again and finds the set's value, or
 *                                                                       nothing, and fetches anew.
 *
 * Killed with the lease: it is taken over. Killed after the store and before the end: the same, and the one who takes over finds the value.
 */
#include "cache/fill.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/fault.h"
#include "base/process.h"

enum { LEASE_MARGIN_MS = 100 };

static struct ld_store *store_of(const struct ld_fill *fill)
{
	return fill->asked->tenant->cache->store;
}

static int is_stale(const struct ld_fill *fill)
{
	return fill->result == LARDER_STALE;
}

void ld_fill_end(struct ld_fill *fill, enum ld_lease_end end, int64_t throttle_ms)
{
	if (!fill->held)
		return;
	fill->held = 0;
	ld_store_lease_end(store_of(fill), &fill->lease, end, throttle_ms);
}

int64_t ld_fill_lease_ms(const struct ld_asked *asked, const struct larder_loading *loading)
{
	const int64_t *number = asked->tenant->cache->settings.number;
	int64_t l2_ms = asked->call && asked->call->budget_ms ? asked->call->budget_ms : number[LD_SET_L2_GET_MS];

	return loading ? number[LD_SET_LEASE_MS] : l2_ms + LEASE_MARGIN_MS;
}

int ld_fill_look(struct ld_fill *fill)
{
	struct ld_look look = *fill->look;

	if (!look.buffer)
		free(fill->found->data);
	fill->found->data = NULL;
	look.note = (look.note & ~LD_NOTE_ACCESS) | LD_NOTE_UNCOUNTED | (fill->early ? LD_NOTE_EARLY : 0);
	fill->result = ld_store_get(store_of(fill), &fill->asked->key, &fill->asked->way, &look, fill->found);
	return fill->result;
}

/* What was found is not for the caller. */
static int without_value(struct ld_fill *fill, int rc)
{
	if (!fill->look->buffer)
		free(fill->found->data);
	fill->found->data = NULL;
	return rc;
}

static int is_wanted(const struct ld_fill *fill)
{
	int rc = fill->result;

	if (!fill->loading)
		return ld_second_wanted(fill->asked, rc, fill->found);
	return rc == LARDER_MISS || rc == LARDER_STALE || rc == LARDER_UNAVAILABLE;
}

/* ---- fetching ---- */

/* Of the budget, for whoever has waited for somebody else; the limit of one call to L2 begins anew for others. */
static int64_t left_of(const struct ld_fill *fill)
{
	int64_t left_ms = fill->end_ms - ld_clock_boot_ms();

	return !fill->joined ? 0 : left_ms < 1 ? 1 : left_ms;
}

/* Where a loader follows, a value in its error window is kept when L2 has none: the loader may fail too, and is given it as the old one. */
static int fetch_from_l2(struct ld_fill *fill, enum ld_lease_end *ret_end)
{
	struct ld_found *found = fill->found;
	int error_only = found->error_only, rc;

	if (fill->loading)
		found->error_only = 0;
	rc = ld_second_get(fill->asked, fill->result, fill->look, left_of(fill), found, &fill->source, ret_end);
	if (rc == LARDER_STALE && fill->source != LARDER_FROM_L2)
		found->error_only = error_only;
	return rc;
}

int ld_fill_fetch(struct ld_fill *fill)
{
	enum ld_lease_end end = LD_LEASE_MISSED;
	int rc = fill->result;

	LD_POINT(fill_taken);
	if (!fill->early && ld_second_wanted(fill->asked, rc, fill->found))
		rc = fetch_from_l2(fill, &end);
	if (!fill->loading) {
		ld_fill_end(fill, end, 0);
		return rc;
	}
	if (rc != 0 || fill->early)
		rc = ld_fill_load(fill, rc, &end);
	LD_POINT(fill_stored);
	ld_fill_end(fill, end, fill->asked->tenant->cache->settings.number[LD_SET_FAIL_THROTTLE_MS]);
	return rc;
}

/* Somebody else's fetch failed, now or a moment ago. */
static int failed(struct ld_fill *fill, enum ld_lease_end end, int64_t retry_ms)
{
	if (end >= LD_LEASE_L2_FAILED)
		ld_reason_set(LARDER_REASON_L2_TIMEOUT + (end - LD_LEASE_L2_FAILED));
	if (is_stale(fill))
		return LARDER_STALE;
	ld_retry_after_set(retry_ms);
	return without_value(fill, fill->loading ? LARDER_E_LOAD : LARDER_E_L2);
}

/* A place among the few loads of this process that have no lease. A child begins with none: whose they are is in the same word as how many. */
static int take_extra(larder *cache)
{
	uint64_t process = ld_process_generation() & ~LD_EXTRA_COUNT, was = atomic_load(&cache->extra), count;

	do {
		count = (was & ~LD_EXTRA_COUNT) == process ? was & LD_EXTRA_COUNT : 0;
		if (count >= (uint64_t)cache->settings.number[LD_SET_FILL_EXTRA])
			return 0;
	} while (!atomic_compare_exchange_weak(&cache->extra, &was, process | (count + 1)));
	return 1;
}

/* The other one keeps the lease. What it has left is looked up anew: it may have been renewed, or have changed hands, while we waited. */
static int busy(struct ld_fill *fill)
{
	struct ld_lease_info info;

	if (ld_store_lease_look(store_of(fill), &fill->asked->key, &info) == 0 && info.held && info.alive && !info.outdated)
		ld_retry_after_set(info.left_ms);
	return without_value(fill, LARDER_E_BUSY);
}

/* The budget is over, and the other one has not come back. Without a loader that is L2, which has not answered in time. */
static int overflow(struct ld_fill *fill)
{
	larder *cache = fill->asked->tenant->cache;
	enum ld_lease_end end;
	int rc;

	ld_store_count(cache->store, &fill->asked->key, LD_TC_load_overflows);
	if (is_stale(fill))
		return LARDER_STALE;
	if (!fill->loading)
		return failed(fill, LD_LEASE_L2_FAILED, 0);
	if (fill->asked->keyspace->policy.on_busy == LD_ON_BUSY_FAIL || !take_extra(cache))
		return busy(fill);
	/* The loader has its time all the same: who waited for another one need not fail for that. */
	fill->end_ms = ld_clock_boot_ms() + cache->settings.number[LD_SET_FILL_WAIT_MS];
	rc = ld_fill_load(fill, fill->result, &end);
	atomic_fetch_sub(&cache->extra, 1);
	return rc;
}

/* Wait for whoever has the lease. 1: this is the end, with *ret_rc; 0: look again. */
static int wait_for_it(struct ld_fill *fill, int *ret_rc)
{
	enum ld_lease_end end = LD_LEASE_STORED;

	switch (ld_store_lease_wait(store_of(fill), &fill->lease, fill->end_ms, &end)) {
	case 0:
		break;
	case LARDER_E_BUSY:
		*ret_rc = overflow(fill);
		return 1;
	default:
		return 0;
	}
	/* A fetch of L2 alone says nothing about our loader, nor a loader's about L2. */
	if (fill->loading ? end == LD_LEASE_FAILED : end >= LD_LEASE_L2_FAILED) {
		*ret_rc = failed(fill, end, fill->loading ? ld_store_lease_throttled(store_of(fill), &fill->asked->key, &fill->asked->way) : 0);
		return 1;
	}
	if (end == LD_LEASE_MISSED && !fill->loading) {
		*ret_rc = without_value(fill, LARDER_MISS);
		return 1;
	}
	if (end == LD_LEASE_UNSTORED) {
		*ret_rc = ld_fill_fetch(fill);
		return 1;
	}
	return 0;
}

static enum ld_lease_answer try(struct ld_fill *fill, int64_t *ret_retry_ms)
{
	const struct ld_asked *asked = fill->asked;
	enum ld_lease_answer answer = ld_store_lease_try(store_of(fill), &asked->key, &asked->way, &fill->found->seen,
	    ld_fill_lease_ms(asked, fill->loading), &fill->lease, ret_retry_ms);

	fill->held = answer == LD_LEASE_TAKEN;
	return answer;
}

/* The cache is off, or was switched off while we waited: everybody loads for himself. */
static int bypass(struct ld_fill *fill)
{
	enum ld_lease_end end;

	return fill->loading ? ld_fill_load(fill, LARDER_MISS, &end) : fill->result;
}

/* Nothing, or nothing that may be given out unless the fetch fails. */
static int fetch_once_on_the_host(struct ld_fill *fill)
{
	int rc;

	for (;;) {
		int64_t retry_ms = 0;
		enum ld_lease_answer answer = try(fill, &retry_ms);

		if (answer == LD_LEASE_THROTTLED && fill->loading)
			return failed(fill, LD_LEASE_FAILED, retry_ms);
		if (answer == LD_LEASE_NONE || answer == LD_LEASE_THROTTLED)
			return ld_fill_fetch(fill);
		if (answer == LD_LEASE_HELD) {
			if (!fill->joined++)
				ld_store_count(store_of(fill), &fill->asked->key, LD_TC_load_joins);
			if (wait_for_it(fill, &rc))
				return rc;
		}
		/* Whoever had it before may have stored the value after our look, or died when it had. */
		if (answer != LD_LEASE_TAKEN || fill->lease.stored || fill->lease.taken_over)
			ld_fill_look(fill);
		if (fill->found->bypassed) {
			ld_fill_end(fill, LD_LEASE_STORED, 0);
			return bypass(fill);
		}
		if (!is_wanted(fill)) {
			ld_fill_end(fill, LD_LEASE_STORED, 0);
			return fill->result;
		}
		if (answer == LD_LEASE_TAKEN)
			return ld_fill_fetch(fill);
	}
}

/* ---- refreshing ---- */

static int has_thread(const struct ld_fill *fill)
{
	const larder *cache = fill->asked->tenant->cache;

	return cache->refresh && (!fill->loading || fill->loading->flags & LARDER_LOAD_ANY_THREAD);
}

/* There is a value to give out. One caller of the host sees to a newer one: by the thread, by itself after its response, or now. */
static int refresh(struct ld_fill *fill)
{
	int64_t retry_ms = 0;
	int was = fill->result;

	if (try(fill, &retry_ms) != LD_LEASE_TAKEN)
		return was;
	if (has_thread(fill) && ld_refresh_queue(fill->asked->tenant->cache->refresh, fill)) {
		fill->held = 0;
		return was;
	}
	if (fill->loading && fill->loading->ret_lease) {
		*fill->loading->ret_lease = ld_lease_of(fill->asked, &fill->lease, &fill->found->seen);
		if (!*fill->loading->ret_lease)
			ld_fill_end(fill, LD_LEASE_STORED, 0);
		fill->held = 0;
		return was;
	}
	ld_fill_look(fill);
	if (!is_wanted(fill) && !(fill->early && fill->result == 0)) {
		ld_fill_end(fill, LD_LEASE_STORED, 0);
		return fill->result;
	}
	return ld_fill_fetch(fill);
}

/* Numbers in 0..1, of each thread its own; not for secrets. */
static double chance(void)
{
	static _Thread_local uint64_t state;
	uint64_t z;

	if (state == 0)
		state = (uint64_t)ld_clock_boot_ns() ^ (uint64_t)(uintptr_t)&state ^ ld_process_generation() << 40;
	/* splitmix64: Steele, Lea, Flood, Fast Splittable Pseudorandom Number Generators, 2014. */
	state += UINT64_C(0x9e3779b97f4a7c15);
	z = state;
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
}

/* XFetch: the nearer the end, and the longer a load takes, the likelier. */
static int is_due_early(const struct ld_fill *fill)
{
	const struct ld_found *found = fill->found;
	int64_t beta = fill->asked->keyspace->policy.beta, left_ms = found->fresh_until_ms - found->now_ms;
	double reach_ms = (double)found->load_ms * (double)beta / 100;

	if (found->load_ms == 0 || beta == 0 || (double)left_ms > reach_ms * LD_FILL_EARLY_MOST)
		return 0;
	return -reach_ms * log(chance()) >= (double)left_ms;
}

/* ---- for the gets ---- */

int ld_fill_from_l2(struct ld_fill *fill)
{
	return is_stale(fill) && !fill->found->error_only ? refresh(fill) : fetch_once_on_the_host(fill);
}

int ld_fill_by_loader(struct ld_fill *fill)
{
	if (fill->found->bypassed)
		return bypass(fill);
	if (fill->result == 0) {
		fill->early = is_due_early(fill);
		/* The fence wants to know what a look has seen; and by now it may be stale, or gone. */
		if (!fill->early || ld_fill_look(fill) == 0)
			return fill->early ? refresh(fill) : 0;
		fill->early = 0;
	}
	if (is_stale(fill) && !fill->found->error_only)
		return refresh(fill);
	return is_wanted(fill) ? fetch_once_on_the_host(fill) : fill->result;
}
