/* SPDX-License-Identifier: MIT */
/*
 * Leases of the segment's table, for the keys of the store. Called by cache/ when a value is missing and somebody is to fetch it. It looks at no entry. It must
 * never wait without a limit, and hold nothing while it waits but its place in the store, which it leaves every 20 ms or sooner: so the store can be
 * let go of under those who wait, and a holder that died is noticed.
 *
 *   fork while holding          the lease is the parent's: its process number is in it, and in the child nothing comes of ending or renewing it.
 *   the process attaches anew   to the same segment: its slot is another, so others take the lease over as a dead one's, unless it is ended before.
 *                               To another segment: the lease is of the old one, and means nothing.
 *   the process is killed       its slot's lock is free at once; the first waiter whose sleep is over asks, and wakes the others.
 */
#include "l1/inside.h"

#include <string.h>

#include "base/clock.h"
#include "base/errors.h"

/* A waiter's sleeps differ by some milliseconds from those of other processes, so that they do not all wake up at once. */
enum { SLICE_MS = 20, SLICE_SPREAD_MS = 8, INCARNATION_BITS = 5 };

/* The key that is asked about, for the callbacks. */
struct asking {
	struct ld_store *store;
	const struct ld_key *key;
	uint64_t mark;      /* as last worked out; 0 = nobody has asked for it */
};

/* A slot and the low bits of its incarnation. Who comes into a dead holder's slot 32 incarnations later is taken for it, until the lease's time is over. */
static uint32_t holder_of(uint32_t slot, uint32_t incarnation)
{
	return (incarnation & ((1u << INCARNATION_BITS) - 1)) << 16 | (slot + 1);
}

static uint64_t number_of(const struct ld_seg *seg, uint32_t holder)
{
	uint32_t slot = (holder & 0xffff) - 1, incarnation;

	if (slot >= seg->h->params.slots)
		return 0;
	incarnation = atomic_load(&seg->slots[slot].incarnation);
	return holder_of(slot, incarnation) == holder ? (uint64_t)incarnation << 16 | (slot + 1) : 0;
}

static int is_alive(void *ctx, uint32_t holder)
{
	const struct asking *asking = ctx;
	uint64_t number = number_of(&asking->store->seg, holder);

	return number != 0 && ld_seg_alive(&asking->store->seg, number);
}

/* A fill that has seen less than this is discarded: as ld_store_fill() sees it. */
static uint64_t mark_of(void *ctx)
{
	struct asking *asking = ctx;
	struct ld_store *store = asking->store;
	const struct ld_key *key = asking->key;
	struct ld_hidden hidden = ld_hidden_of(&store->seg, ld_tenant_of(store, key), key->scope_tag, key->digest);
	uint64_t marks[] = { atomic_load(ld_barrier_of(store->seg.stamps, key->digest)), hidden.cleared, atomic_load(&store->seg.h->clears_forgotten) };

	asking->mark = (uint64_t)store->env.generation << 48;
	for (unsigned i = 0; i < sizeof(marks) / sizeof(*marks); i++)
		asking->mark = marks[i] > asking->mark ? marks[i] : asking->mark;
	return asking->mark;
}

static struct ld_lease_ask ask_of(struct asking *asking, int64_t now_ms)
{
	const struct ld_seg *seg = &asking->store->seg;

	return (struct ld_lease_ask){ .self = holder_of((uint32_t)seg->slot, seg->incarnation), .now_ms = now_ms, .alive = is_alive, .mark = mark_of,
		.ctx = asking };
}

/* The digest is uniform; keys of two tenants have different ones, but for what a caller without a secret may make of them. */
static uint64_t tag_of(const struct ld_key *key)
{
	uint64_t tag;

	memcpy(&tag, key->digest, sizeof(tag));
	return tag ^ key->tenant_tag;
}

static void count_answer(const struct ld_seg *seg, enum ld_lease_answer answer, const struct ld_lease *lease, const struct asking *asking)
{
	if (answer == LD_LEASE_TAKEN) {
		ld_host_count(seg, LD_HC_leases_taken, 1);
		if (lease->taken_over)
			ld_host_count(seg, LD_HC_lease_takeovers, 1);
	}
	if (answer == LD_LEASE_THROTTLED)
		ld_host_count(seg, LD_HC_lease_throttled, 1);
	/* With a mark it was not for want of room. */
	if (answer == LD_LEASE_NONE && asking->mark == 0)
		ld_host_count(seg, LD_HC_leases_full, 1);
}

enum ld_lease_answer ld_store_lease_try(struct ld_store *store, const struct ld_key *key, const struct ld_way *way, const struct ld_seen *seen,
    int64_t lease_ms, struct ld_lease *ret_lease, int64_t *ret_retry_ms)
{
	struct asking asking = { store, key, 0 };
	enum ld_lease_answer answer;
	struct ld_lease_ask ask;
	int64_t now_ms;

	if (ld_enter(store, ld_budget(store, way), &now_ms) != 0)
		return LD_LEASE_NONE;
	ask = ask_of(&asking, now_ms);
	ask.lease_ms = lease_ms;
	if (seen && seen->segment == store->seg.h->made_ms)
		ask.seen = seen->seq;
	answer = ld_lease_try(&store->seg.leases, tag_of(key), &ask, ret_lease, ret_retry_ms);
	count_answer(&store->seg, answer, ret_lease, &asking);
	if (answer == LD_LEASE_TAKEN || answer == LD_LEASE_HELD) {
		ret_lease->segment = store->seg.h->made_ms;
		ret_lease->process = answer == LD_LEASE_TAKEN ? ld_process_generation() : 0;
	}
	ld_leave(store);
	return answer;
}

/* Look, and sleep for a slice if it runs. 0, LARDER_MISS or LARDER_E_BUSY; LARDER_EXISTS to go on. */
static int wait_slice(struct ld_store *store, const struct ld_lease *lease, int first, int64_t now_ms, int64_t end_ms, enum ld_lease_end *ret_end)
{
	struct asking asking = { store, NULL, 0 };
	const struct ld_lease_ask ask = ask_of(&asking, now_ms);
	int64_t slice_ms = SLICE_MS - store->seg.slot % SLICE_SPREAD_MS, left_ms;
	enum ld_lease_now now;

	if (lease->segment != store->seg.h->made_ms)
		return LARDER_MISS;
	now = ld_lease_check(&store->seg.leases, lease, &ask, &left_ms, ret_end);
	if (now != LD_LEASE_RUNS)
		return now == LD_LEASE_HAS_ENDED ? 0 : LARDER_MISS;
	if (now_ms >= end_ms)
		return LARDER_E_BUSY;
	slice_ms = left_ms < slice_ms ? left_ms : slice_ms;
	slice_ms = end_ms - now_ms < slice_ms ? end_ms - now_ms : slice_ms;
	if (first)
		ld_host_count(&store->seg, LD_HC_lease_waits, 1);
	ld_lease_sleep(&store->seg.leases, lease, first, slice_ms);
	return LARDER_EXISTS;
}

int ld_store_lease_wait(struct ld_store *store, const struct ld_lease *lease, int64_t end_ms, enum ld_lease_end *ret_end)
{
	for (int first = 1;; first = 0) {
		int64_t now_ms;
		int rc;

		/* Without the store there is nobody to wait for. */
		if (ld_enter(store, store->config.wait_ms, &now_ms) != 0)
			return LARDER_MISS;
		rc = wait_slice(store, lease, first, now_ms, end_ms, ret_end);
		ld_leave(store);
		if (rc != LARDER_EXISTS)
			return rc;
	}
}

/* Enter, if the lease is one that this process took in this segment. 1 or 0. */
static int enter_as_holder(struct ld_store *store, const struct ld_lease *lease, int64_t *ret_now_ms)
{
	if (lease->process != ld_process_generation() || ld_enter(store, store->config.wait_ms, ret_now_ms) != 0)
		return 0;
	if (lease->segment == store->seg.h->made_ms)
		return 1;
	ld_leave(store);
	return 0;
}

void ld_store_lease_end(struct ld_store *store, struct ld_lease *lease, enum ld_lease_end end, int64_t throttle_ms)
{
	int64_t now_ms;

	if (!enter_as_holder(store, lease, &now_ms))
		return;
	(void)ld_lease_end(&store->seg.leases, lease, end, throttle_ms, now_ms);
	ld_leave(store);
}

int ld_store_lease_renew(struct ld_store *store, struct ld_lease *lease, int64_t lease_ms)
{
	int64_t now_ms;
	int ours;

	if (!enter_as_holder(store, lease, &now_ms))
		return LARDER_MISS;
	/* In another slot we are dead to the others. */
	ours = ld_lease_unpack(lease->token).holder == holder_of((uint32_t)store->seg.slot, store->seg.incarnation) &&
	    ld_lease_renew(&store->seg.leases, lease, lease_ms, now_ms);
	ld_leave(store);
	return ours ? 0 : LARDER_MISS;
}

int64_t ld_store_lease_throttled(struct ld_store *store, const struct ld_key *key, const struct ld_way *way)
{
	struct ld_lease_view view;
	int64_t now_ms, left_ms = 0;

	if (ld_enter(store, ld_budget(store, way), &now_ms) != 0)
		return 0;
	if (!ld_is_off(store, way) && ld_lease_look(&store->seg.leases, tag_of(key), now_ms, &view))
		left_ms = view.throttled_ms;
	ld_leave(store);
	return left_ms;
}

int ld_store_lease_look(struct ld_store *store, const struct ld_key *key, struct ld_lease_info *ret_info)
{
	struct asking asking = { store, key, 0 };
	struct ld_lease_view view;
	uint64_t number;
	int64_t now_ms;

	if (ld_enter(store, store->config.wait_ms, &now_ms) != 0)
		return LARDER_UNAVAILABLE;
	if (!ld_lease_look(&store->seg.leases, tag_of(key), now_ms, &view)) {
		ld_leave(store);
		return LARDER_MISS;
	}
	*ret_info = (struct ld_lease_info){ .held = view.held, .age_ms = view.age_ms, .left_ms = view.left_ms, .waiting = view.waiting,
		.throttled_ms = view.throttled_ms, .failed_ago_ms = view.failed_ago_ms };
	if (view.held) {
		number = number_of(&store->seg, view.holder);
		ret_info->alive = is_alive(&asking, view.holder);
		ret_info->pid = ld_seg_pid_of(&store->seg, number);
		ret_info->outdated = view.seen != 0 && mark_of(&asking) > view.seen;
	}
	ld_leave(store);
	return 0;
}
