/* SPDX-License-Identifier: MIT */
/*
 * Eviction: read a window (l1/evict_window.c), let the chooser pick, remove the victims in one short transaction. Called by the keeper in the
 * background, and by a writer that finds no room, inside its gate. It must never remove what it has not looked at again in that transaction.
 *
 * The window is read in a read transaction, or in the write transaction when the gate is held already; every victim is looked at again in the
 * transaction that removes it: it may have been replaced meanwhile, then its sequence differs and it stays; or it is the value of a set that L2 has
 * not been told, then it is passed over while there is anything else.
 *
 * Killed at any line: a transaction is done or not done; counters may miss one batch.
 */
#include "l1/evict_window.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"

/* Pages freed at once: LMDB writes their numbers as one record, which needs contiguous pages when it is longer than one. */
enum { PAGES_AT_ONCE = 384 };
/* A window of so few rows is looked for again, so often, before what waits to be told to L2 is evicted. */
enum { SMALL_WINDOW = 512, SMALL_WINDOWS = 8 };
/* "Not found" entries are looked for among the rows of such a batch's window, however few of them are to go. */
enum { NEGATIVE_BATCH = 32 };

uint64_t ld_store_random(struct ld_store *store)
{
	/* xorshift64* (Vigna 2016); racing threads may draw the same number, which harms nothing */
	uint64_t x = atomic_load_explicit(&store->random, memory_order_relaxed);

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	atomic_store_explicit(&store->random, x, memory_order_relaxed);
	return x * UINT64_C(2685821657736338717);
}

static int over_quota(const struct ld_tenant_row *row, uint64_t more_b)
{
	uint64_t quota = atomic_load_explicit(&row->quota_b, memory_order_relaxed);

	return quota != 0 && atomic_load_explicit(&row->bytes, memory_order_relaxed) + more_b > quota;
}

void ld_pressure_now(const struct ld_store *store, const struct ld_tenant_row *row, uint64_t more_b, struct ld_pressure *ret_pressure)
{
	const struct ld_seg_header *h = store->seg.h;
	uint64_t used_b = atomic_load_explicit(&h->used_pages, memory_order_relaxed) * LD_PAGE;
	uint64_t entries = atomic_load_explicit(&h->entries, memory_order_relaxed);

	ret_pressure->over_low = used_b > h->params.low_b;
	ret_pressure->over_high = used_b > h->params.high_b;
	ret_pressure->over_entries = h->params.max_entries != 0 && entries >= h->params.max_entries;
	ret_pressure->over_quota = row && over_quota(row, more_b);
}

/* ---- the victims ---- */

static void tally(struct ld_write *write, const struct ld_candidate *victim)
{
	struct ld_seg *seg = &write->store->seg;
	size_t len = ld_entry_key_tenant(victim->key, victim->key_len);

	for (unsigned i = 0; i < write->accounts_used; i++)
		if (strlen(write->accounts[i].tenant) == len && memcmp(write->accounts[i].tenant, victim->key, len) == 0)
			ld_tenant_count(write->accounts[i].row, ld_seg_stripe(seg), victim->dead ? LD_TC_expiries : LD_TC_evictions, 1);
}

/* 1: it waits to be told to L2 and is passed over; 0; or an error. force: it may not be passed over, L2 is told a delete. */
static int is_kept(struct ld_write *write, const MDB_val *key, const struct ld_candidate *victim, int force)
{
	if (victim->dead || !ld_pending_keeps(write->store, write->txn, key, victim->seq))
		return 0;
	return force ? ld_pending_give_up(write, key) : 1;
}

/* Remove what is still as it was. Runs overlap in a small store: a row that stands twice is gone the second time. Returns how many went, or an
 * error; *ret_kept 1 if any was passed over. */
static int remove_some(struct ld_write *write, struct ld_candidate *victims, size_t count, int force, int *ret_kept)
{
	MDB_cursor *cursor;
	uint32_t pages = 0;
	int gone = 0, rc = ld_env_error(mdb_cursor_open(write->txn, write->store->env.entries, &cursor));

	if (rc != 0)
		return rc;
	for (size_t i = 0; i < count && rc == 0 && pages < PAGES_AT_ONCE; i++) {
		MDB_val key = { victims[i].key_len, victims[i].key }, row;
		struct ld_entry entry;
		int kept;

		rc = ld_env_error(mdb_cursor_get(cursor, &key, &row, MDB_SET_KEY));
		if (rc == LARDER_MISS || (rc == 0 && ld_entry_decode(row.mv_data, row.mv_size, &entry) == 0 && entry.head.seq != victims[i].seq)) {
			rc = 0;
			continue;
		}
		kept = rc == 0 ? is_kept(write, &key, &victims[i], force) : rc;
		if (kept == 1) {
			*ret_kept = 1;
			continue;
		}
		rc = kept == 0 ? ld_write_remove(write, cursor, &key, &row) : kept;
		if (rc == 0) {
			victims[i].gone = 1;
			gone++;
			pages += victims[i].pages;
		}
		LD_POINT(evict_removed);
	}
	mdb_cursor_close(cursor);
	/* No room for another tenant's account: commit what there is. */
	return rc == 0 || (rc == LARDER_E_BUSY && gone > 0) ? gone : rc;
}

/* The victims that were chosen; where all of them wait to be told to L2, the chooser's next ones. *ret_kept 1 if any does. */
static int remove_chosen(struct ld_write *write, struct ld_evict_window *window, unsigned batch, size_t victims, int *ret_kept)
{
	size_t at = 0;
	int kept = 0, gone = 0;

	while (victims > 0 && gone == 0) {
		kept = 0;
		gone = remove_some(write, window->rows + at, victims, 0, &kept);
		*ret_kept |= kept;
		at += victims;
		victims = kept ? ld_choose(window->rows + at, window->count - at, batch) : 0;
	}
	return gone;
}

/*
 * The same, and where the whole window waits, further windows: a small one may lie among rows that all do. Where these wait too, room is wanted all the
 * same: a batch goes, and L2 is told deletes.
 */
static int remove_victims(struct ld_write *write, struct ld_evict_window *window, const char *tenant, unsigned batch, size_t victims)
{
	int kept = 0, gone = remove_chosen(write, window, batch, victims, &kept), rc = 0;

	for (int more = window->max <= SMALL_WINDOW ? SMALL_WINDOWS : 1; gone == 0 && kept && rc == 0 && more > 0; more--) {
		window->count = 0;
		rc = ld_evict_window_read(window, write->txn, tenant);
		victims = ld_choose(window->rows, window->count, batch);
		if (rc == 0)
			gone = remove_chosen(write, window, batch, victims, &kept);
	}
	if (rc != 0)
		return rc;
	return gone == 0 && kept ? remove_some(write, window->rows, victims, 1, &kept) : gone;
}

static int commit_victims(struct ld_write *write, const struct ld_evict_window *window, int gone)
{
	int rc = gone > 0 ? ld_write_commit(write) : 0;

	if (gone <= 0 || rc != 0) {
		ld_write_abort(write);
		return rc != 0 ? rc : gone;
	}
	for (size_t i = 0; i < window->count; i++)
		if (window->rows[i].gone)
			tally(write, &window->rows[i]);
	return gone;
}

static int evict_inside(struct ld_store *store, const char *tenant, unsigned batch, int negative)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_evict_window window;
	struct ld_write write;
	int rc;

	if (!ld_evict_window_new(store, negative ? NEGATIVE_BATCH : batch, &window))
		return LARDER_E_NOMEM;
	window.negative = negative;
	rc = ld_write_begin(&write, store, accounts);
	if (rc == 0) {
		rc = ld_evict_window_read(&window, write.txn, tenant);
		if (rc == 0) {
			rc = remove_victims(&write, &window, tenant, batch, ld_choose(window.rows, window.count, batch));
			rc = commit_victims(&write, &window, rc);
		} else {
			ld_write_abort(&write);
		}
	}
	free(window.rows);
	return rc;
}

int ld_evict_inside(struct ld_store *store, const char *tenant, unsigned batch)
{
	return evict_inside(store, tenant, batch, 0);
}

int ld_evict_negative(struct ld_store *store, const char *tenant, unsigned batch)
{
	return evict_inside(store, tenant, batch, 1);
}

/* The same in the background: the window is read outside the gate. */
static int evict_outside(struct ld_store *store, const char *tenant, unsigned batch)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_evict_window window;
	struct ld_write write;
	size_t victims = 0;
	MDB_txn *txn;
	int rc;

	if (!ld_evict_window_new(store, batch, &window))
		return LARDER_E_NOMEM;
	rc = ld_read_begin(store, store->config.wait_ms, &txn);
	if (rc == 0) {
		rc = ld_evict_window_read(&window, txn, tenant);
		ld_env_read_end(&store->env, txn);
		victims = rc == 0 ? ld_choose(window.rows, window.count, batch) : 0;
	}
	LD_POINT(evict_chosen);
	if (victims > 0 && ld_gate_in(store, store->config.wait_ms) == 0) {
		rc = ld_write_begin(&write, store, accounts);
		if (rc == 0) {
			rc = remove_victims(&write, &window, tenant, batch, victims);
			rc = commit_victims(&write, &window, rc);
		}
		ld_gate_out(store);
	}
	free(window.rows);
	return rc;
}

static const char *tenant_over_quota(const struct ld_store *store)
{
	for (uint32_t i = 1; i < ld_tenants_used(&store->seg.tenants); i++) {
		const struct ld_tenant_row *row = &store->seg.tenants.rows[i];

		if (atomic_load_explicit(&row->ready, memory_order_acquire) && over_quota(row, 0))
			return row->name;
	}
	return NULL;
}

int ld_evict_background(struct ld_store *store, int64_t end_ms)
{
	struct ld_seg_header *h = store->seg.h;
	unsigned batch = ld_choose_batch(h->params.capacity);
	int did = 0;

	do {
		const char *tenant = tenant_over_quota(store);
		struct ld_pressure pressure;
		int gone;

		ld_pressure_now(store, NULL, 0, &pressure);
		/* A batch below the bound, so that writers seldom meet it. */
		if (h->params.max_entries > batch && atomic_load(&h->entries) + batch > h->params.max_entries)
			pressure.over_entries = 1;
		if (!tenant && !pressure.over_low && !pressure.over_entries)
			break;
		gone = evict_outside(store, pressure.over_low || pressure.over_entries ? NULL : tenant, batch);
		if (gone <= 0)
			break;
		ld_host_count(&store->seg, LD_HC_evict_rounds, 1);
		did = 1;
	} while (ld_clock_boot_ms() < end_ms);
	return did;
}
