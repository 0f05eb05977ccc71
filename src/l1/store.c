/* SPDX-License-Identifier: MIT */
/*
 * The life of a store in a process: attaching, noticing that it was replaced, healing, letting go. Every operation enters here and leaves here;
 * between the two, segment and environment stay mapped, and they must never be taken down. The files themselves are l1/files.c's, opening and closing
 * the handle is l1/open.c's.
 *
 * Races inside one process, with A inside a call and B replacing:
 *
 *   A adds itself to `users`, then looks at `here` again; B clears `here`, then looks at `users`. Both are sequentially consistent, so either
 *   A sees that it is away and leaves, or B sees A and waits. B waits for a bounded time; when A does not come out (it is stopped under a
 *   debugger, it copies a gigabyte) the store stays draining, and whoever calls next goes on waiting.
 *   A reader marks a transaction of the pool instead, to the same effect: the mark before the look at `here`, `here` before the look at the marks. One
 *   that marks after B has looked sees `here` cleared and unmarks; until then B does not take that transaction down (l1/env.c), so
 *   no reader is ever left with a transaction of a closed environment, nor with one of the same address in the next.
 *
 * Races between processes:
 *
 *   two find no segment       the open lock lets one make it; the other attaches to what it finds afterwards.
 *   one makes a new store     file generation and so file names are new; the generation in the segment is raised last. Killed before that: the
 *                             next one cleans up what it left and makes another. Others go on with the old file until they see the number.
 *   the segment is replaced   whoever has the old one sees that its file is unlinked, within a second, and attaches to the new one. The new one
 *                             begins with a new store file, so two groups never write one file under two gates.
 */
#include "l1/inside.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/errors.h"
#include "crypto/hash.h"
#include "shm/role.h"

/* FIRST_MS: workers that are started together attach one after the other, and the first call of each has the time for it, once. */
enum { DRAIN_MS = 50, CHECK_EVERY_MS = 1000, RETRY_MS = 100, FIRST_MS = 500 };

uint64_t ld_store_tag(const char *tenant, const char *space)
{
	char text[LARDER_TENANT_MAX + LARDER_SPACE_MAX + 2];
	size_t len = strlen(tenant);
	uint64_t tag;

	memcpy(text, tenant, len);
	if (space) {
		text[len++] = 0;
		memcpy(text + len, space, strlen(space));
		len += strlen(space);
	}
	tag = ld_hash64(text, len);
	return tag ? tag : 1;
}

static int attach_parts(struct ld_store *store, int64_t end_ms, struct ld_problems *problems)
{
	int rc;

	ld_seg_init(&store->seg);
	rc = ld_files_map_segment(store, &store->seg, end_ms, problems);
	if (rc == 0)
		rc = ld_seg_take_slot(&store->seg, &store->config.self, ld_clock_boot_ms());
	if (rc == LARDER_UNAVAILABLE && store->seg.h)
		ld_reason_set(LARDER_REASON_SLOTS);
	if (rc == 0)
		rc = ld_files_open_env(store, &store->seg, &store->env, end_ms, problems);
	if (rc != 0)
		ld_seg_detach(&store->seg);
	return rc;
}

/* Let go of what belongs to another process: we are its child. */
static void forget_inherited(struct ld_store *store, uint64_t process)
{
	if (store->attached_by != 0 && store->attached_by != process) {
		ld_env_abandon(&store->env);
		ld_seg_abandon(&store->seg);
		store->attached_by = 0;
		atomic_store(&store->users, 0);
		atomic_store(&store->inline_busy, 0);
	}
	if (store->keeper_of != process)
		store->keeper_of = 0;
}

/* Wait until no call is inside. Bounded; 0 or -1. */
static int drain(struct ld_store *store, int64_t budget_ms)
{
	int64_t end_ms = ld_clock_boot_ms() + budget_ms;
	const struct timespec pause = { 0, 200000L };

	atomic_store(&store->here, 0);
	while (atomic_load(&store->users) != 0 || ld_env_is_taken(&store->env)) {
		if (store->attached_by != 0)
			ld_role_call(&store->seg);
		if (ld_clock_boot_ms() >= end_ms)
			return -1;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static void detach_parts(struct ld_store *store)
{
	ld_env_close(&store->env);
	ld_seg_detach(&store->seg);
	store->attached_by = 0;
}

static void note_failure(struct ld_store *store, int rc, const struct ld_problems *problems)
{
	enum larder_reason reason = larder_reason();

	if (reason == LARDER_REASON_NONE || rc < 0)
		reason = rc == LARDER_E_FULL ? LARDER_REASON_DISK : rc == LARDER_E_NOMEM ? LARDER_REASON_NOMEM : LARDER_REASON_ATTACH;
	atomic_store(&store->retry_reason, (uint32_t)reason);
	atomic_store(&store->retry_ms, ld_clock_boot_ms() + RETRY_MS);
	LD_LOG(&store->config.log, LARDER_LOG_WARN, "attach_failed", NULL, LD_T("result", larder_result_name(rc)),
	    LD_T("reason", problems->text ? problems->text : larder_reason_text(reason)),);
}

/* Under store->lock. */
static int attach_locked(struct ld_store *store, int64_t end_ms, struct ld_problems *problems)
{
	uint64_t process = ld_process_generation();
	int rc;

	if (atomic_load(&store->here) == process)
		return 0;
	forget_inherited(store, process);
	if (store->attached_by == process) {
		int64_t left_ms = end_ms - ld_clock_boot_ms();

		if (drain(store, left_ms < DRAIN_MS ? left_ms : DRAIN_MS) != 0)
			return LARDER_UNAVAILABLE;
		detach_parts(store);
	}
	ld_reason_set(LARDER_REASON_NONE);
	rc = ld_files_directory_again(store, problems);
	if (rc == 0)
		rc = attach_parts(store, end_ms, problems);
	if (rc != 0) {
		note_failure(store, rc, problems);
		return rc;
	}
	store->attached_by = process;
	atomic_store(&store->retry_ms, 0);
	atomic_fetch_add(&store->serial, 1);
	atomic_store(&store->next_check_ms, ld_clock_boot_ms() + CHECK_EVERY_MS);
	atomic_store(&store->here, process);
	ld_keeper_start(store);
	return 0;
}

static int attach_slowly(struct ld_store *store, int64_t budget_ms)
{
	struct ld_problems problems = { 0 };
	int64_t retry_ms = atomic_load(&store->retry_ms), now_ms = ld_clock_boot_ms();
	int rc = LARDER_UNAVAILABLE;

	if (retry_ms != 0 && now_ms < retry_ms) {
		ld_reason_set((enum larder_reason)atomic_load(&store->retry_reason));
		return LARDER_UNAVAILABLE;
	}
	ld_reason_set(LARDER_REASON_ATTACH);
	if (ld_process_lock(&store->lock, budget_ms) == 0) {
		rc = attach_locked(store, now_ms + budget_ms, &problems);
		atomic_store(&store->tried_by, ld_process_generation());
		ld_process_unlock(&store->lock);
	}
	ld_problems_free(&problems);
	if (rc == 0)
		return 0;
	if (larder_reason() == LARDER_REASON_NONE)
		ld_reason_set(LARDER_REASON_ATTACH);
	return LARDER_UNAVAILABLE;
}

/* Once a second in each process: do the files still stand? */
static void look_around(struct ld_store *store, int64_t now_ms, int64_t due_ms)
{
	struct ld_env_place place = ld_files_env_place(store);
	uint32_t generation = store->env.generation;

	if (!atomic_compare_exchange_strong(&store->next_check_ms, &due_ms, now_ms + CHECK_EVERY_MS))
		return;
	if (ld_seg_is_gone(&store->seg)) {
		LD_LOG(&store->config.log, LARDER_LOG_WARN, "segment_vanished", NULL, { NULL, NULL, 0 },);
		atomic_store(&store->here, 0);
		return;
	}
	if (ld_env_is_whole(&store->env, &place) || atomic_load(&store->seg.h->file_generation) != generation)
		return;
	if (ld_files_remake(store, &store->seg, generation, "file vanished, was replaced or cut short", 1, now_ms + store->config.wait_ms) == 0)
		atomic_store(&store->here, 0);
}

static int step_in(struct ld_store *store, uint64_t process)
{
	if (atomic_load_explicit(&store->here, memory_order_acquire) != process)
		return 0;
	atomic_fetch_add(&store->users, 1);
	if (atomic_load(&store->here) == process)
		return 1;
	atomic_fetch_sub(&store->users, 1);
	return 0;
}

int ld_enter(struct ld_store *store, int64_t budget_ms, int64_t *ret_now_ms)
{
	for (int tries = 0; tries < 3; tries++) {
		uint64_t process = ld_process_generation();
		int64_t now_ms, due_ms;

		if (!step_in(store, process)) {
			int rc = attach_slowly(store, budget_ms);

			if (rc != 0)
				return rc;
			continue;
		}
		now_ms = ld_clock_boot_ms();
		due_ms = atomic_load_explicit(&store->next_check_ms, memory_order_relaxed);
		if (now_ms >= due_ms)
			look_around(store, now_ms, due_ms);
		if (atomic_load_explicit(&store->seg.h->file_generation, memory_order_acquire) == store->env.generation &&
		    atomic_load_explicit(&store->here, memory_order_relaxed) == process) {
			*ret_now_ms = now_ms;
			return 0;
		}
		atomic_store(&store->here, 0);
		ld_leave(store);
	}
	ld_reason_set(LARDER_REASON_ATTACH);
	return LARDER_UNAVAILABLE;
}

int ld_enter_within(struct ld_store *store, int64_t *budget_ms, int64_t *ret_now_ms)
{
	uint64_t process = ld_process_generation();
	/* The clock costs too much to be read for those who have nothing to wait for. */
	int64_t began_ms = atomic_load_explicit(&store->here, memory_order_relaxed) == process ? 0 : ld_clock_boot_ms();
	int rc;

	if (began_ms != 0 && *budget_ms == store->config.wait_ms && *budget_ms < FIRST_MS && atomic_load(&store->tried_by) != process)
		*budget_ms = FIRST_MS;
	rc = ld_enter(store, *budget_ms, ret_now_ms);
	if (rc == 0 && began_ms != 0)
		*budget_ms -= *ret_now_ms - began_ms < *budget_ms ? *ret_now_ms - began_ms : *budget_ms;
	return rc;
}

void ld_leave(struct ld_store *store)
{
	/* release (and more): pairs with the look at `users` in drain() */
	atomic_fetch_sub(&store->users, 1);
}

/* The short way in: nothing is due, and the pool has a transaction. 1, or 0 = nothing was done. */
static int read_at_once(struct ld_store *store, int64_t *ret_now_ms, struct ld_reading *reading)
{
	uint64_t process = ld_process_generation();

	if (atomic_load_explicit(&store->here, memory_order_acquire) != process)
		return 0;
	reading->place = ld_env_take(&store->env, &reading->txn);
	if (!reading->place)
		return 0;
	if (atomic_load(&store->here) == process) {
		*ret_now_ms = ld_clock_boot_ms();
		if (*ret_now_ms < atomic_load_explicit(&store->next_check_ms, memory_order_relaxed) &&
		    atomic_load_explicit(&store->seg.h->file_generation, memory_order_acquire) == store->env.generation &&
		    mdb_txn_renew(reading->txn) == 0) {
			reading->inside = 1;
			return 1;
		}
	}
	ld_env_put(reading->place, reading->txn);
	return 0;
}

int ld_reading_begin(struct ld_store *store, int64_t budget_ms, int64_t *ret_now_ms, struct ld_reading *ret_reading)
{
	int rc;

	ret_reading->inside = 0;
	if (read_at_once(store, ret_now_ms, ret_reading))
		return 0;
	ret_reading->place = NULL;
	ret_reading->txn = NULL;
	rc = ld_enter_within(store, &budget_ms, ret_now_ms);
	if (rc != 0)
		return rc;
	ret_reading->inside = 1;
	rc = ld_read_begin(store, budget_ms, &ret_reading->txn);
	if (rc != 0)
		ret_reading->txn = NULL;
	return rc;
}

int ld_reading_again(struct ld_reading *reading)
{
	mdb_txn_reset(reading->txn);
	if (mdb_txn_renew(reading->txn) == 0)
		return 0;
	ld_reason_set(LARDER_REASON_READERS);
	return LARDER_UNAVAILABLE;
}

void ld_reading_end(struct ld_store *store, const struct ld_reading *reading)
{
	if (reading->place) {
		mdb_txn_reset(reading->txn);
		ld_env_put(reading->place, reading->txn);
		return;
	}
	if (reading->txn)
		ld_env_read_end(&store->env, reading->txn);
	ld_leave(store);
}

void ld_from_outside(struct ld_store *store, void (*fn)(struct ld_seg *seg, const void *ctx), const void *ctx)
{
	struct ld_seg_place place = ld_files_seg_place(store);
	struct ld_problems problems = { 0 };
	struct ld_seg seg;

	ld_seg_init(&seg);
	if (ld_seg_attach(&seg, &place, &problems) == 0) {
		fn(&seg, ctx);
		ld_seg_abandon(&seg);
	}
	ld_problems_free(&problems);
}

void ld_call_keeper(struct ld_store *store)
{
	if (!step_in(store, ld_process_generation()))
		return;
	ld_role_call(&store->seg);
	ld_leave(store);
}

void ld_store_condemn(struct ld_store *store, uint32_t generation, const char *why, int aside)
{
	if (!step_in(store, ld_process_generation()))
		return;
	if (store->env.generation == generation)
		ld_files_remake(store, &store->seg, generation, why, aside, ld_clock_boot_ms() + store->config.wait_ms);
	if (atomic_load(&store->seg.h->file_generation) != store->env.generation)
		atomic_store(&store->here, 0);
	ld_leave(store);
}

int ld_store_with(struct ld_store *store, int64_t budget_ms, int (*fn)(struct ld_seg *seg, int64_t now_ms, void *ctx), void *ctx)
{
	int64_t now_ms;
	int rc = ld_enter(store, budget_ms, &now_ms);

	if (rc != 0)
		return rc;
	rc = fn(&store->seg, now_ms, ctx);
	ld_leave(store);
	return rc;
}

uint32_t ld_store_serial(struct ld_store *store)
{
	return atomic_load_explicit(&store->serial, memory_order_relaxed);
}

int ld_store_let_go(struct ld_store *store, int64_t budget_ms)
{
	uint64_t process = ld_process_generation();

	forget_inherited(store, process);
	if (drain(store, budget_ms) != 0)
		return -1;
	if (store->attached_by == process) {
		ld_role_drop(&store->seg);
		detach_parts(store);
	}
	return 0;
}
