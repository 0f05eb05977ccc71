/* SPDX-License-Identifier: MIT */
/*
 * Read transactions of one environment: a pool of reset ones, each with its slot in LMDB's reader table, so that a read costs a renewal and
 * waits for nobody. Only a transaction that is new takes the reader mutex, and only through the read gate.
 *
 * The pool is a row of words; a thread marks the word of the transaction that it takes, and unmarks it: whoever marks it has it alone. The mark
 * also says that somebody is inside, for whoever wants to close (l1/store.c). Killed with one taken: its slot in the reader table stays until
 * somebody clears dead readers; meanwhile its snapshot pins pages.
 * Stopped with one taken, in mid-copy: the same, until it goes on. `larder stat` shows its pid.
 */
#include "l1/env.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <larder/larder.h>

#include "base/errors.h"
#include "base/fault.h"

/* Where this thread looks first: spreads the threads of a process over the pool. */
static _Thread_local unsigned home;
static _Atomic unsigned homes;

enum { BRIEF_MS = 5 };

static unsigned home_of_thread(void)
{
	if (home == 0)
		home = 1 + atomic_fetch_add_explicit(&homes, 1, memory_order_relaxed) % LD_ENV_POOL;
	return home - 1;
}

static int alive(void *ctx, uint64_t holder)
{
	return ld_seg_alive(ctx, holder);
}

struct ld_gate_user ld_env_gate_user(const struct ld_seg *seg)
{
	return (struct ld_gate_user){ seg->self, alive, (void *)(uintptr_t)seg };
}

_Atomic uintptr_t *ld_env_take(struct ld_env *env, MDB_txn **ret_txn)
{
	unsigned first = home_of_thread();

	for (unsigned i = 0; i < LD_ENV_POOL; i++) {
		_Atomic uintptr_t *place = &env->pool[(first + i) % LD_ENV_POOL];
		uintptr_t word = atomic_load_explicit(place, memory_order_relaxed);

		if (word != 0 && (word & LD_ENV_TAKEN) == 0 && atomic_compare_exchange_strong(place, &word, word | LD_ENV_TAKEN)) {
			*ret_txn = (MDB_txn *)word;
			return place;
		}
	}
	return NULL;
}

int ld_env_is_taken(const struct ld_env *env)
{
	for (unsigned i = 0; i < LD_ENV_POOL; i++)
		if (atomic_load(&env->pool[i]) & LD_ENV_TAKEN)
			return 1;
	return 0;
}

/* To the place that it was taken from, or, if it is new, to a free one. */
static int put_pooled(struct ld_env *env, MDB_txn *txn)
{
	unsigned first = home_of_thread();

	for (unsigned i = 0; i < LD_ENV_POOL; i++) {
		_Atomic uintptr_t *place = &env->pool[(first + i) % LD_ENV_POOL];

		if (atomic_load_explicit(place, memory_order_relaxed) == ((uintptr_t)txn | LD_ENV_TAKEN)) {
			ld_env_put(place, txn);
			return 1;
		}
	}
	for (unsigned i = 0; i < LD_ENV_POOL; i++) {
		uintptr_t none = 0;

		if (atomic_compare_exchange_strong_explicit(&env->pool[(first + i) % LD_ENV_POOL], &none, (uintptr_t)txn, memory_order_release,
		    memory_order_relaxed))
			return 1;
	}
	return 0;
}

static int begin_new(struct ld_env *env, const struct ld_env_gate *gate, MDB_txn **ret_txn)
{
	struct ld_gate_user user = ld_env_gate_user(gate->seg);
	struct ld_gate *read_gate = &gate->seg->h->read_gate;
	int rc, dead;

	if (ld_gate_take(read_gate, &user, gate->budget_ms) == LD_GATE_TIMEOUT) {
		ld_reason_set(LARDER_REASON_READ_GATE);
		return LARDER_UNAVAILABLE;
	}
	LD_POINT(first_read);
	rc = mdb_txn_begin(env->lmdb, NULL, MDB_RDONLY, ret_txn);
	if (rc == MDB_READERS_FULL && mdb_reader_check(env->lmdb, &dead) == 0 && dead > 0) {
		ld_host_count(gate->seg, LD_HC_readers_cleared, (uint64_t)dead);
		rc = mdb_txn_begin(env->lmdb, NULL, MDB_RDONLY, ret_txn);
	}
	ld_gate_leave(read_gate);
	if (rc == 0)
		return 0;
	ld_reason_set(rc == MDB_READERS_FULL ? LARDER_REASON_READERS : rc == ENOMEM ? LARDER_REASON_NOMEM : LARDER_REASON_DISK);
	return ld_env_error(rc) == LARDER_E_CORRUPT ? LARDER_E_CORRUPT : LARDER_UNAVAILABLE;
}

/* Of another thread that has put it back. 0, or -1. */
static int renew_pooled(struct ld_env *env, MDB_txn **ret_txn)
{
	MDB_txn *txn;
	_Atomic uintptr_t *place = ld_env_take(env, &txn);

	if (!place)
		return -1;
	if (mdb_txn_renew(txn) != 0) {
		atomic_store(place, 0);
		mdb_txn_abort(txn);
		return -1;
	}
	*ret_txn = txn;
	return 0;
}

/* Where the read gate is held by a stopped process, what another thread puts back will do: look for it again after a moment, and at the end. */
int ld_env_read_begin(struct ld_env *env, const struct ld_env_gate *gate, MDB_txn **ret_txn)
{
	int64_t brief_ms = gate->budget_ms < BRIEF_MS ? gate->budget_ms : BRIEF_MS;
	const struct ld_env_gate first = { gate->seg, brief_ms }, rest = { gate->seg, gate->budget_ms - brief_ms };
	int rc;

	if (renew_pooled(env, ret_txn) == 0)
		return 0;
	rc = begin_new(env, &first, ret_txn);
	if (rc != LARDER_UNAVAILABLE || larder_reason() != LARDER_REASON_READ_GATE)
		return rc;
	if (renew_pooled(env, ret_txn) == 0)
		return 0;
	rc = begin_new(env, &rest, ret_txn);
	return rc == LARDER_UNAVAILABLE && larder_reason() == LARDER_REASON_READ_GATE && renew_pooled(env, ret_txn) == 0 ? 0 : rc;
}

void ld_env_read_end(struct ld_env *env, MDB_txn *txn)
{
	mdb_txn_reset(txn);
	if (!put_pooled(env, txn))
		mdb_txn_abort(txn);
}

int ld_env_clear_readers(struct ld_env *env, const struct ld_env_gate *gate)
{
	struct ld_gate_user user = ld_env_gate_user(gate->seg);
	int dead = 0;

	if (ld_gate_take(&gate->seg->h->read_gate, &user, gate->budget_ms) == LD_GATE_TIMEOUT)
		return -1;
	LD_POINT(reader_check);
	if (mdb_reader_check(env->lmdb, &dead) == 0 && dead > 0)
		ld_host_count(gate->seg, LD_HC_readers_cleared, (uint64_t)dead);
	ld_gate_leave(&gate->seg->h->read_gate);
	return dead;
}

struct list {
	struct ld_env_reader *rows;
	unsigned max, count;
	uint64_t oldest;        /* snapshot; UINT64_MAX = nobody reads */
};

/* LMDB gives the reader table as text only: "  pid thread txnid\n", with "-" for an idle one, after a line of headings. */
static int list_row(const char *text, void *ctx)
{
	struct list *list = ctx;
	char snapshot[32];
	uint64_t txn = 0;
	int pid;

	if (sscanf(text, " %d %*s %31s", &pid, snapshot) != 2)
		return 0;
	if (snapshot[0] != '-' && sscanf(snapshot, "%" SCNu64, &txn) == 1 && txn < list->oldest)
		list->oldest = txn;
	if (list->count < list->max)
		list->rows[list->count] = (struct ld_env_reader){ pid, txn };
	list->count++;
	return 0;
}

unsigned ld_env_readers(struct ld_env *env, struct ld_env_reader *rows, unsigned max)
{
	struct list list = { rows, max, 0, UINT64_MAX };

	mdb_reader_list(env->lmdb, list_row, &list);
	return list.count;
}

int ld_env_use(const struct ld_env *env, MDB_txn *txn, struct ld_env_use *ret_use)
{
	const MDB_dbi tables[] = { env->main, env->entries, env->chunks, env->outbox };
	uint64_t rows[4];
	MDB_envinfo info;
	MDB_stat stat;

	ret_use->pages = 2;
	for (int i = 0; i < 4; i++) {
		int rc = mdb_stat(txn, tables[i], &stat);

		if (rc != 0)
			return ld_env_error(rc);
		ret_use->pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
		rows[i] = stat.ms_entries;
	}
	ret_use->entries = rows[1];
	ret_use->chunks = rows[2];
	if (mdb_env_info(env->lmdb, &info) != 0)
		return LARDER_E_IO;
	ret_use->last_page = info.me_last_pgno;
	return 0;
}

uint64_t ld_env_oldest(struct ld_env *env)
{
	struct list list = { NULL, 0, 0, UINT64_MAX };

	mdb_reader_list(env->lmdb, list_row, &list);
	return list.oldest;
}

int ld_env_count_free(struct ld_env *env, MDB_txn *txn, uint64_t *ret_reusable, uint64_t *ret_pinned)
{
	uint64_t oldest = ld_env_oldest(env), own = mdb_txn_id(txn), id, reusable = 0, pinned = 0;
	MDB_val key, data;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn, 0, &cursor); /* table 0 is the free list: transaction id, then a count and page numbers */

	if (rc != 0)
		return ld_env_error(rc);
	while ((rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
		size_t pages;

		if (key.mv_size != sizeof(id) || data.mv_size < sizeof(pages))
			continue;
		memcpy(&id, key.mv_data, sizeof(id));
		memcpy(&pages, data.mv_data, sizeof(pages));
		/* LMDB takes what was freed before the oldest snapshot; if that is the newest one, the rest comes free with the next commit. */
		if (id < oldest || oldest >= own)
			reusable += pages;
		else
			pinned += pages;
	}
	mdb_cursor_close(cursor);
	if (rc != MDB_NOTFOUND)
		return ld_env_error(rc);
	*ret_reusable = reusable;
	*ret_pinned = pinned;
	return 0;
}
