/* SPDX-License-Identifier: MIT */
/*
 * Walking everything and telling what is wrong: rows that cannot be decoded or fail their checksum, values whose chunks are missing or damaged,
 * chunks that no row names, and what does not add up (l1/check_counts.c). With `repair` it removes the rows and chunks, and puts the counts right.
 * Called by the inspector; it must never take away what a row names, nor keep writers waiting for a whole table.
 *
 * It runs beside the workers, in slices. Chunks: the ids that rows name are collected first, the chunk table is walked afterwards; an id from before
 * the beginning that is still there and that no row named belongs to nobody, because a row and its chunks come and go in one transaction and an id is
 * never used again.
 */
#include "l1/check.h"

#include <stdlib.h>
#include <string.h>

#include "base/errors.h"
#include "base/mem.h"

enum { SLICE = 200 };

int ld_check_report(struct ld_check *check, const char *what, const char *tenant, const unsigned char *digest, int mended)
{
	const struct larder_finding finding = { what, tenant, digest, mended };

	check->found++;
	return check->fn ? check->fn(check->ctx, &finding) : 0;
}

/* Do something in a transaction of its own, under the writer gate; fn returns 0 to have it committed. 0 or what went wrong. */
static int in_transaction(struct ld_check *check, int (*fn)(struct ld_write *write, const void *ctx), const void *ctx)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_store *store = check->store;
	struct ld_write write;
	int64_t now_ms;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return rc;
	rc = ld_gate_in(store, store->config.wait_ms);
	if (rc == 0) {
		rc = ld_write_begin(&write, store, accounts);
		if (rc == 0)
			rc = fn(&write, ctx);
		if (rc == 0)
			rc = ld_write_commit(&write);
		else
			ld_write_abort(&write);
		ld_gate_out(store);
	}
	ld_leave(store);
	return rc;
}

/* ---- rows and values, over the ordinary scan ---- */

static int remove_row(struct ld_write *write, const void *ctx)
{
	const struct larder_entry *entry = ctx;
	unsigned char bytes[LD_KEY_MAX];
	MDB_val key = { ld_entry_key(entry->tenant, entry->digest, bytes), bytes }, row;
	MDB_cursor *cursor;
	int rc = ld_env_error(mdb_cursor_open(write->txn, write->store->env.entries, &cursor));

	if (rc != 0)
		return rc;
	rc = ld_env_error(mdb_cursor_get(cursor, &key, &row, MDB_SET_KEY));
	if (rc == 0)
		rc = ld_write_remove(write, cursor, &key, &row);
	mdb_cursor_close(cursor);
	return rc;
}

static int see_entry(void *ctx, const struct larder_entry *entry)
{
	struct ld_check *check = ctx;

	if (entry->state == LARDER_IS_DAMAGED)
		return ld_check_report(check, "row or value damaged", entry->tenant, entry->digest,
		    check->repair && in_transaction(check, remove_row, entry) == 0);
	return 0;
}

static int see_progress(void *ctx, uint64_t done, uint64_t total)
{
	const struct ld_check *check = ctx;

	return check->progress ? check->progress(check->ctx, done, total) : 0;
}

/* ---- the walk over a table ---- */

int ld_walk_rows(struct ld_walk *walk, MDB_txn *txn, int slice)
{
	const struct ld_env *env = &walk->check->store->env;
	MDB_val key = { walk->place_len, walk->place }, row;
	MDB_cursor *cursor;
	const MDB_dbi tables[] = { env->entries, env->chunks, env->outbox };
	int rc = mdb_cursor_open(txn, tables[walk->table], &cursor), seen = 0;

	if (rc != 0)
		return ld_env_error(rc);
	rc = mdb_cursor_get(cursor, &key, &row, walk->place_len ? MDB_SET_RANGE : MDB_FIRST);
	if (rc == 0 && key.mv_size == walk->place_len && memcmp(key.mv_data, walk->place, key.mv_size) == 0)
		rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT);
	while (rc == 0 && seen++ < slice) {
		int stop;

		/* A damaged tree may go round in circles. */
		if (!ld_key_follows(txn, mdb_cursor_dbi(cursor), &key, walk->place, walk->place_len)) {
			rc = MDB_CORRUPTED;
			break;
		}
		stop = walk->see(walk, &key, &row);
		if (stop != 0) {
			mdb_cursor_close(cursor);
			return stop;
		}
		walk->place_len = key.mv_size < LD_KEY_MAX ? key.mv_size : LD_KEY_MAX;
		memcpy(walk->place, key.mv_data, walk->place_len);
		rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 1 : ld_env_error(rc);
}

static int walk_slice(struct ld_walk *walk)
{
	struct ld_store *store = walk->check->store;
	int64_t now_ms;
	MDB_txn *txn;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return LARDER_E_BUSY;
	rc = ld_read_begin(store, store->config.wait_ms, &txn);
	if (rc == 0) {
		rc = ld_walk_rows(walk, txn, SLICE);
		ld_env_read_end(&store->env, txn);
	} else {
		rc = LARDER_E_BUSY;
	}
	ld_leave(store);
	return rc;
}

static int walk_all(struct ld_walk *walk)
{
	int rc = 0;

	while (rc == 0)
		rc = walk_slice(walk);
	return rc == 1 ? 0 : rc;
}

/* ---- chunks that no row names ---- */

static int note_id(struct ld_check *check, uint64_t id)
{
	if (check->ids_used == check->ids_size) {
		size_t size = check->ids_size ? check->ids_size * 2 : 1024;
		uint64_t *ids = ld_realloc(check->ids, size * sizeof(*ids));

		if (!ids)
			return LARDER_E_NOMEM;
		check->ids = ids;
		check->ids_size = size;
	}
	check->ids[check->ids_used++] = id;
	return 0;
}

static int see_ids(struct ld_walk *walk, const MDB_val *key, const MDB_val *row)
{
	struct ld_entry entry;

	(void)key;
	if (ld_entry_decode(row->mv_data, row->mv_size, &entry) != 0 || entry.head.chunk_id == 0)
		return 0;
	return note_id(walk->check, entry.head.chunk_id);
}

static int compare_ids(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

struct orphans {
	unsigned char keys[SLICE][LD_CHUNK_KEY];
	unsigned count;
};

static int see_chunk(struct ld_walk *walk, const MDB_val *key, const MDB_val *row)
{
	struct ld_check *check = walk->check;
	struct orphans *orphans = walk->ctx;
	uint64_t id = 0;

	(void)row;
	if (key->mv_size != LD_CHUNK_KEY)
		return 0;
	for (int i = 0; i < 8; i++)
		id = id << 8 | ((const unsigned char *)key->mv_data)[i];
	if (id > check->from_seq || bsearch(&id, check->ids, check->ids_used, sizeof(id), compare_ids))
		return 0;
	memcpy(orphans->keys[orphans->count++], key->mv_data, LD_CHUNK_KEY);
	return 0;
}

static int remove_orphans(struct ld_write *write, const void *ctx)
{
	const struct orphans *orphans = ctx;
	int rc = 0;

	for (unsigned i = 0; i < orphans->count && rc == 0; i++) {
		MDB_val key = { LD_CHUNK_KEY, (void *)(uintptr_t)orphans->keys[i] };

		rc = ld_env_error(mdb_del(write->txn, write->store->env.chunks, &key, NULL));
		rc = rc == LARDER_MISS ? 0 : rc;
	}
	return rc;
}

static int check_chunks(struct ld_check *check)
{
	struct orphans orphans;
	struct ld_walk ids = { .check = check, .see = see_ids };
	struct ld_walk walk = { .check = check, .table = LD_WALK_CHUNKS, .see = see_chunk, .ctx = &orphans };
	int rc = walk_all(&ids), end = 0;

	if (rc != 0)
		return rc;
	if (check->ids_used)
		qsort(check->ids, check->ids_used, sizeof(*check->ids), compare_ids);
	while (!end && rc == 0) {
		int mended;

		orphans.count = 0;
		end = walk_slice(&walk);
		if (end < 0)
			return end;
		if (orphans.count == 0)
			continue;
		mended = check->repair && in_transaction(check, remove_orphans, &orphans) == 0;
		for (unsigned i = 0; i < orphans.count && rc == 0; i++)
			rc = ld_check_report(check, "chunk that no entry names", NULL, NULL, mended);
	}
	return rc;
}

int ld_store_check(struct ld_store *store, int repair, larder_finding_fn fn, larder_progress_fn progress, void *ctx, uint64_t *ret_found)
{
	struct ld_check check = { .store = store, .repair = repair, .fn = fn, .progress = progress, .ctx = ctx };
	const struct ld_scan scan = { NULL, NULL, LARDER_IS_ANY, 1, see_entry, see_progress, &check };
	uint32_t generation;
	int64_t now_ms;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return rc;
	/* Of one that is still going on the row may be missing in the first snapshot, and the chunks be there in the last. */
	check.from_seq = ld_finished_seq(&store->seg);
	generation = store->env.generation;
	ld_leave(store);
	rc = ld_store_scan(store, &scan);
	if (rc == LARDER_UNAVAILABLE && larder_reason() == LARDER_REASON_CORRUPT)
		rc = LARDER_E_CORRUPT;
	if (rc == 0)
		rc = check_chunks(&check);
	if (rc == 0)
		rc = ld_check_counts(&check);
	free(check.ids);
	if (rc == LARDER_E_CORRUPT) {
		/* Not one entry, the tree itself: there is nothing left to walk. */
		if (repair)
			ld_store_condemn(store, generation, "damaged", 1);
		rc = ld_check_report(&check, "tree of the store damaged", NULL, NULL, repair);
	}
	if (rc == 0)
		*ret_found = check.found;
	return rc;
}
