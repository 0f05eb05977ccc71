/* SPDX-License-Identifier: MIT */
/*
 * The keeper: one thread in each process that may do the background work, and the rounds of work themselves, for the one of them that has the
 * role. `larder agent` runs the rounds without a thread.
 *
 * The thread blocks all signals and runs at a slightly lower priority: much lower would let a busy host preempt it inside the writer gate, and
 * writers wait there for 20 ms only. It holds nothing while it sleeps, but for its place in ld_enter() while it has the role, and then it sleeps for
 * TICK_MS at most.
 *
 *   killed anywhere        the role passes on (shm/role.h); what it was doing is done or not done.
 *   fork                   the child has no keeper; it starts its own when it attaches.
 *   close during a round   keeper_stop is looked at between rounds; a round lasts at most ROUND_MS and a transaction.
 */
#include "l1/inside.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/futex.h"
#include "shm/role.h"

enum { TICK_MS = 100, ELECT_MS = 400, ROUND_MS = 50, HOUSE_MS = 1000, READERS_EVERY = 5, NICER = 2, HALVE_LINES = 4096, INLINE_EVERY = 32, INLINE_ROWS = 200, HURRY_MS = 4000 };

/* Rows to look at now, so that a sweep takes about the time it may. */
static uint64_t sweep_rows(struct ld_store *store, int64_t now_ms)
{
	struct ld_seg_header *h = store->seg.h;
	int64_t limit_ms = (int64_t)h->params.sweep_ms, ended_ms = atomic_load(&h->sweep_ended_ms);
	uint64_t entries = atomic_load(&h->entries), per_tick;

	/* One that ended early waits for its turn, but for a clear, whose room is wanted. */
	if (store->sweep_from_seq == 0 && ended_ms != 0 && !atomic_load(&h->sweep_soon) &&
	    now_ms - atomic_load(&h->sweep_began_ms) < limit_ms * 3 / 4)
		return 0;
	if ((store->sweep_fast || atomic_load(&h->sweep_soon)) && limit_ms > HURRY_MS)
		limit_ms = HURRY_MS;
	per_tick = entries * TICK_MS * 2 / (uint64_t)limit_ms + 1;
	return per_tick < 200 ? 200 : per_tick;
}

static uint64_t accesses(const struct ld_store *store)
{
	static const enum ld_tenant_counter noted[] = { LD_TC_hits, LD_TC_stale_hits, LD_TC_absent_hits, LD_TC_sets };
	uint64_t sum = 0;

	for (uint32_t i = 0; i < ld_tenants_used(&store->seg.tenants); i++)
		for (unsigned c = 0; c < sizeof(noted) / sizeof(*noted); c++)
			sum += ld_tenant_counted(&store->seg.tenants.rows[i], noted[c]);
	return sum;
}

/* The sketch is halved every 20 accesses for each entry of capacity (DESIGN decision 24); a few lines a round. Killed in the middle: the next one
 * goes on at `halve_next`, which is at most one piece behind. */
static void halve(struct ld_store *store)
{
	struct ld_seg_header *h = store->seg.h;
	uint64_t next = atomic_load(&h->halve_next), now, last = atomic_load(&h->accesses_halved);

	if (next == 0) {
		now = accesses(store);
		if (now < last)
			atomic_store(&h->accesses_halved, now);
		if (now < last || now - last < 20 * h->params.capacity)
			return;
		atomic_store(&h->accesses_halved, now);
		ld_host_count(&store->seg, LD_HC_halvings, 1);
	}
	do {
		next = ld_sketch_halve(&store->seg.sketch, next, HALVE_LINES);
		atomic_store(&h->halve_next, next);
		LD_POINT(sketch_halving);
	} while (next != 0 && next % (HALVE_LINES * 16) != 0);
}

static void house(struct ld_store *store, int64_t now_ms)
{
	const struct ld_env_gate gate = { &store->seg, store->config.wait_ms };
	unsigned dead;

	if (now_ms - store->housekeeping_ms < HOUSE_MS)
		return;
	dead = ld_seg_clear_slots(&store->seg);
	/* A process that died without a slot of ours still in the table is rare: look every few seconds for it. */
	if (dead > 0 || now_ms / HOUSE_MS % READERS_EVERY == 0)
		ld_env_clear_readers(&store->env, &gate);
	ld_invalid_forget(store, now_ms);
	store->housekeeping_ms = now_ms;
}

/* One round inside ld_enter(), with the role. Returns 1 if there is more to do at once. */
static int work_round(struct ld_store *store, int64_t now_ms)
{
	int more = ld_evict_background(store, now_ms + ROUND_MS);
	uint64_t rows = sweep_rows(store, now_ms);

	LD_POINT(keeper_round);
	if (rows > 0)
		ld_sweep_some(store, rows);
	ld_outbox_age_some(store, now_ms);
	halve(store);
	house(store, now_ms);
	return more;
}

void ld_work_mend(struct ld_store *store)
{
	uint32_t generation = atomic_load_explicit(&store->damaged, memory_order_relaxed);

	if (generation != 0 && atomic_exchange(&store->damaged, 0) != 0)
		ld_store_condemn(store, generation, "damaged", 1);
}

int ld_store_work(struct ld_store *store, int64_t wait_ms)
{
	int64_t end_ms = ld_clock_boot_ms() + wait_ms, now_ms;
	int rc = 0;

	do {
		int more = 0;

		rc = ld_enter(store, store->config.wait_ms, &now_ms);
		if (rc != 0)
			return rc;
		if (ld_role_hold(&store->seg, now_ms)) {
			more = work_round(store, now_ms);
			now_ms = ld_clock_boot_ms();
			if (!more && now_ms < end_ms)
				ld_role_sleep(&store->seg, end_ms - now_ms < TICK_MS ? end_ms - now_ms : TICK_MS);
		} else {
			rc = LARDER_EXISTS;
		}
		ld_leave(store);
		ld_work_mend(store);
	} while (rc == 0 && ld_clock_boot_ms() < end_ms && !atomic_load(&store->keeper_stop));
	return rc;
}

/* Every few writes one of them looks at a slice of the entries, if its process has the role; evicting is done by every writer for itself. */
void ld_work_inline(struct ld_store *store, int64_t now_ms)
{
	if (store->config.evictor != LD_EVICTOR_INLINE || atomic_fetch_add_explicit(&store->inline_calls, 1, memory_order_relaxed) % INLINE_EVERY != 0)
		return;
	if (!ld_role_hold(&store->seg, now_ms) || atomic_exchange(&store->inline_busy, 1))
		return;
	if (sweep_rows(store, now_ms) > 0)
		ld_sweep_some(store, INLINE_ROWS);
	ld_outbox_age_some(store, now_ms);
	halve(store);
	house(store, now_ms);
	atomic_store(&store->inline_busy, 0);
}

static void *keep(void *ctx)
{
	struct ld_store *store = ctx;

	/* Linux: the priority of the calling thread alone. */
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICER);
	while (!atomic_load(&store->keeper_stop))
		if (ld_store_work(store, ELECT_MS) != 0)
			ld_futex_wait(&store->keeper_stop, 0, ELECT_MS);
	return NULL;
}

void ld_keeper_start(struct ld_store *store)
{
	sigset_t all, old;

	if (!store->config.threads || store->config.evictor != LD_EVICTOR_THREAD || store->keeper_of != 0)
		return;
	atomic_store(&store->keeper_stop, 0);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&store->keeper, NULL, keep, store) == 0) {
		pthread_setname_np(store->keeper, "larder");
		store->keeper_of = ld_process_generation();
	} else {
		LD_LOG(&store->config.log, LARDER_LOG_WARN, "no_keeper_thread", NULL, { NULL, NULL, 0 },);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void ld_keeper_stop(struct ld_store *store)
{
	if (store->keeper_of != ld_process_generation())
		return;
	atomic_store(&store->keeper_stop, 1);
	ld_futex_wake(&store->keeper_stop, 1);
	ld_call_keeper(store);
	pthread_join(store->keeper, NULL);
	store->keeper_of = 0;
}
