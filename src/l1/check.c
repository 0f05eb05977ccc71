/* SPDX-License-Identifier: MIT */
/*
 * Walking everything and telling what is wrong: rows that cannot be decoded or fail their checksum, values whose chunks are missing or damaged, chunks
 * that no row names, accounts of tenants that do not add up. With `repair` it removes the rows and chunks and puts the accounts right.
 *
 * It runs beside the workers, in slices. Chunks: the ids that rows name are collected first, the chunk table is walked afterwards; an id from before
 * the beginning that is still there and that no row named belongs to nobody, because a row and its chunks come and go in one transaction and an id is
 * never used again. Accounts, what "not found" entries take, and the outbox's counts: each is counted in one snapshot, for a sum over slices would be out
 * of date, and with no gate held; how it is put right under the writer gate is told in l1/mend.c.
 */
#include "l1/inside.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/fault.h"
#include "base/mem.h"

enum { SLICE = 200, WHAT_B = 128, OUTBOX_MAX = 200000000 };

struct check {
	struct ld_store *store;
	int repair;
	larder_finding_fn fn;
	larder_progress_fn progress;
	void *ctx;
	uint64_t found, done, total, from_seq;
	uint64_t *ids;              /* chunk ids that rows name, sorted later */
	size_t ids_used, ids_size;
};

static int report(struct check *check, const char *what, const char *tenant, const unsigned char *digest, int mended)
{
	const struct larder_finding finding = { what, tenant, digest, mended };

	check->found++;
	return check->fn ? check->fn(check->ctx, &finding) : 0;
}

/* ---- rows and values, over the ordinary scan ---- */

static int note_id(struct check *check, uint64_t id)
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

static int remove_row(struct check *check, const struct larder_entry *entry)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_store *store = check->store;
	unsigned char bytes[LD_KEY_MAX];
	MDB_val key = { ld_entry_key(entry->tenant, entry->digest, bytes), bytes }, row;
	struct ld_write write;
	MDB_cursor *cursor;
	int64_t now_ms;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return rc;
	rc = ld_gate_in(store, store->config.wait_ms);
	if (rc == 0) {
		rc = ld_write_begin(&write, store, accounts);
		if (rc == 0 && mdb_cursor_open(write.txn, store->env.entries, &cursor) == 0) {
			rc = ld_env_error(mdb_cursor_get(cursor, &key, &row, MDB_SET_KEY));
			if (rc == 0)
				rc = ld_write_remove(&write, cursor, &key, &row);
			mdb_cursor_close(cursor);
		}
		if (rc == 0)
			rc = ld_write_commit(&write);
		else
			ld_write_abort(&write);
		ld_gate_out(store);
	}
	ld_leave(store);
	return rc;
}

static int see_entry(void *ctx, const struct larder_entry *entry)
{
	struct check *check = ctx;

	if (entry->state == LARDER_IS_DAMAGED)
		return report(check, "row or value damaged", entry->tenant, entry->digest, check->repair && remove_row(check, entry) == 0);
	return 0;
}

static int see_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct check *check = ctx;

	check->done = done;
	check->total = total;
	return check->progress ? check->progress(check->ctx, done, total) : 0;
}

/* ---- chunks that no row names ---- */

/* One slice of a table, from after `place`; calls see() for each row. Returns 1 at the end. */
struct walk {
	struct check *check;
	enum { LD_WALK_ENTRIES = 0, LD_WALK_CHUNKS, LD_WALK_OUTBOX } table;
	unsigned char place[LD_KEY_MAX];
	size_t place_len;
	int (*see)(struct walk *walk, const MDB_val *key, const MDB_val *row);
	void *ctx;
};

static int walk_rows(struct walk *walk, MDB_txn *txn, int slice)
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

static int walk_slice(struct walk *walk)
{
	struct ld_store *store = walk->check->store;
	int64_t now_ms;
	MDB_txn *txn;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return LARDER_E_BUSY;
	rc = ld_read_begin(store, store->config.wait_ms, &txn);
	if (rc == 0) {
		rc = walk_rows(walk, txn, SLICE);
		ld_env_read_end(&store->env, txn);
	} else {
		rc = LARDER_E_BUSY;
	}
	ld_leave(store);
	return rc;
}

static int walk_all(struct walk *walk)
{
	int rc = 0;

	while (rc == 0)
		rc = walk_slice(walk);
	return rc == 1 ? 0 : rc;
}

static int see_ids(struct walk *walk, const MDB_val *key, const MDB_val *row)
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

static int see_chunk(struct walk *walk, const MDB_val *key, const MDB_val *row)
{
	struct check *check = walk->check;
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

static int remove_orphans(struct check *check, const struct orphans *orphans)
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
		for (unsigned i = 0; i < orphans->count && rc == 0; i++) {
			MDB_val key = { LD_CHUNK_KEY, (void *)(uintptr_t)orphans->keys[i] };

			rc = ld_env_error(mdb_del(write.txn, store->env.chunks, &key, NULL));
			rc = rc == LARDER_MISS ? 0 : rc;
		}
		if (rc == 0)
			rc = ld_write_commit(&write);
		else
			ld_write_abort(&write);
		ld_gate_out(store);
	}
	ld_leave(store);
	return rc;
}

static int check_chunks(struct check *check)
{
	struct orphans orphans;
	struct walk ids = { .check = check, .see = see_ids };
	struct walk walk = { .check = check, .table = LD_WALK_CHUNKS, .see = see_chunk, .ctx = &orphans };
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
		mended = check->repair && remove_orphans(check, &orphans) == 0;
		for (unsigned i = 0; i < orphans.count && rc == 0; i++)
			rc = report(check, "chunk that no entry names", NULL, NULL, mended);
	}
	return rc;
}

/* ---- accounts ---- */

struct sum {
	const char *tenant;
	size_t len;
	struct ld_account_row row;     /* what it ought to be */
	struct ld_account_row was;
	uint64_t snapshot;
	int malformed;                 /* the account is no row of ours: nobody can change it, nor an entry of the tenant's */
};

static int see_cost(struct walk *walk, const MDB_val *key, const MDB_val *row)
{
	struct sum *sum = walk->ctx;
	struct ld_entry entry;

	if (ld_entry_key_tenant(key->mv_data, key->mv_size) != sum->len || memcmp(key->mv_data, sum->tenant, sum->len) != 0)
		return 2;
	if (ld_entry_decode(row->mv_data, row->mv_size, &entry) == 0) {
		sum->row.entries++;
		sum->row.bytes += ld_entry_cost(&entry.head, row->mv_size, key->mv_size);
	}
	return 0;
}

static int see_pending(struct walk *walk, const MDB_val *key, const MDB_val *row)
{
	struct sum *sum = walk->ctx;

	(void)row;
	if (ld_entry_key_tenant(key->mv_data, key->mv_size) != sum->len || memcmp(key->mv_data, sum->tenant, sum->len) != 0)
		return 2;
	sum->row.pending++;
	return 0;
}

/* Sum and account of a tenant in one snapshot. Returns 1 if they differ, 0, or an error. */
static int differs(struct check *check, MDB_txn *txn, struct sum *sum)
{
	static const unsigned char lowest[LARDER_DIGEST_SIZE];
	struct walk walk = { .check = check, .see = see_cost, .ctx = sum };
	int rc;

	memset(&sum->row, 0, sizeof(sum->row));
	walk.place_len = ld_entry_key(sum->tenant, lowest, walk.place);
	rc = walk_rows(&walk, txn, INT32_MAX);
	if (rc < 0)
		return rc;
	walk = (struct walk){ .check = check, .table = LD_WALK_OUTBOX, .see = see_pending, .ctx = sum };
	walk.place_len = ld_entry_key(sum->tenant, lowest, walk.place);
	rc = walk_rows(&walk, txn, INT32_MAX);
	if (rc < 0)
		return rc;
	rc = ld_account_read(&check->store->env, txn, sum->tenant, sum->len, &sum->was);
	sum->snapshot = mdb_txn_id(txn);
	sum->malformed = rc == LARDER_E_CORRUPT;
	return rc < 0 && !sum->malformed ? rc : sum->malformed || memcmp(&sum->was, &sum->row, sizeof(sum->was)) != 0;
}

static int sum_up(struct check *check, struct sum *sum)
{
	struct ld_store *store = check->store;
	MDB_txn *txn;
	int rc = ld_read_begin(store, store->config.wait_ms, &txn);

	if (rc != 0)
		return rc;
	rc = differs(check, txn, sum);
	ld_env_read_end(&store->env, txn);
	return rc;
}

static int change_account(struct ld_write *write, const struct sum *sum, struct ld_account_row *ret_row)
{
	const struct ld_env *env = &write->store->env;
	int rc = ld_account_read(env, write->txn, sum->tenant, sum->len, ret_row);

	if (rc == LARDER_E_CORRUPT && sum->malformed) {
		*ret_row = sum->row;
	} else if (rc == 0 && !sum->malformed) {
		ret_row->entries = ld_mend_count(ret_row->entries, sum->was.entries, sum->row.entries);
		ret_row->bytes = ld_mend_count(ret_row->bytes, sum->was.bytes, sum->row.bytes);
		ret_row->pending = ld_mend_count(ret_row->pending, sum->was.pending, sum->row.pending);
	} else {
		return rc == 0 ? LARDER_E_BUSY : rc;
	}
	return ld_account_write(env, write->txn, sum->tenant, sum->len, ret_row);
}

static int put_right(struct ld_store *store, const struct sum *sum)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_account_row right;
	struct ld_write write;
	int rc = ld_gate_in(store, store->config.wait_ms);

	if (rc != 0)
		return rc;
	rc = ld_write_begin(&write, store, accounts);
	if (rc == 0) {
		rc = ld_mend_begin(&write, sum->snapshot);
		if (rc == 0)
			rc = change_account(&write, sum, &right);
		rc = ld_mend_commit(&write, rc);
	}
	if (rc == 0) {
		struct ld_tenant_row *row = ld_tenant_named(&store->seg, sum->tenant);

		atomic_store(&row->entries, right.entries);
		atomic_store(&row->bytes, right.bytes);
	}
	ld_gate_out(store);
	return rc;
}

static int check_account(struct check *check, const char *tenant)
{
	struct ld_store *store = check->store;
	struct sum sum = { .tenant = tenant, .len = strlen(tenant) };
	int64_t now_ms;
	int after, rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return LARDER_E_BUSY;
	rc = after = sum_up(check, &sum);
	for (int i = 0; i < LD_MEND_TRIES && after == 1 && check->repair; i++) {
		LD_POINT(check_counted);
		(void)put_right(store, &sum);
		after = sum_up(check, &sum);
	}
	ld_leave(store);
	return rc == 1 ? report(check, "account of the tenant does not add up", tenant, NULL, after == 0) : rc;
}

static int check_accounts(struct check *check)
{
	struct ld_store *store = check->store;
	int rc = 0;

	for (uint32_t i = 1; rc == 0; i++) {
		char tenant[LARDER_TENANT_MAX + 1] = "";
		uint32_t max = 0;
		int64_t now_ms;

		rc = ld_enter(store, store->config.wait_ms, &now_ms);
		if (rc != 0)
			return LARDER_E_BUSY;
		max = ld_tenants_used(&store->seg.tenants);
		if (i < max && atomic_load(&store->seg.tenants.rows[i].ready))
			memcpy(tenant, store->seg.tenants.rows[i].name, sizeof(tenant));
		ld_leave(store);
		if (i >= max)
			break;
		if (tenant[0])
			rc = check_account(check, tenant);
	}
	return rc;
}

static int check_negative(struct check *check)
{
	int mended, rc = ld_negative_check(check->store, check->repair, &mended);

	return rc == 1 ? report(check, "count of \"not found\" entries does not add up", NULL, NULL, mended) : rc;
}

/* ---- the outbox ---- */

struct outbox_sum {
	struct ld_outbox_counts was;
	uint64_t pending, pending_b;   /* what there is */
	uint64_t snapshot;
};

static uint64_t enqueued_by(const struct ld_outbox_counts *counts)
{
	return counts->acknowledged + counts->failed + counts->dropped + counts->coalesced + counts->pending;
}

/* Do the counts add up, and is so much in the table? 1 if not, 0, or an error. */
static int outbox_differs(struct check *check, MDB_txn *txn, struct outbox_sum *ret_sum)
{
	const struct ld_env *env = &check->store->env;
	struct ld_pending row;
	MDB_val key, data;
	MDB_cursor *cursor;
	int rc = ld_outbox_read_counts(env, txn, &ret_sum->was);

	if (rc != 0)
		return rc;
	ret_sum->snapshot = mdb_txn_id(txn);
	ret_sum->pending = ret_sum->pending_b = 0;
	rc = mdb_cursor_open(txn, env->outbox, &cursor);
	if (rc != 0)
		return ld_env_error(rc);
	while ((rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0 && ret_sum->pending < OUTBOX_MAX) {
		if (ld_pending_decode(&data, &row) != 0)
			break;
		ret_sum->pending++;
		ret_sum->pending_b += row.bytes;
	}
	mdb_cursor_close(cursor);
	if (rc != MDB_NOTFOUND)
		return rc == 0 ? LARDER_E_CORRUPT : ld_env_error(rc);
	return ret_sum->was.pending != ret_sum->pending || ret_sum->was.pending_b != ret_sum->pending_b ||
	    ret_sum->was.enqueued != enqueued_by(&ret_sum->was);
}

static int sum_outbox(struct check *check, struct outbox_sum *ret_sum)
{
	struct ld_store *store = check->store;
	MDB_txn *txn;
	int rc = ld_read_begin(store, store->config.wait_ms, &txn);

	if (rc != 0)
		return rc;
	rc = outbox_differs(check, txn, ret_sum);
	ld_env_read_end(&store->env, txn);
	return rc;
}

static int put_outbox_right(struct ld_store *store, const struct outbox_sum *sum)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_write write;
	int rc = ld_gate_in(store, store->config.wait_ms);

	if (rc != 0)
		return rc;
	rc = ld_write_begin(&write, store, accounts);
	if (rc == 0) {
		struct ld_outbox_counts *counts = &write.outbox;

		rc = ld_mend_begin(&write, sum->snapshot);
		if (rc == 0)
			rc = ld_outbox_use(&write);
		if (rc == 0) {
			counts->pending = ld_mend_count(counts->pending, sum->was.pending, sum->pending);
			counts->pending_b = ld_mend_count(counts->pending_b, sum->was.pending_b, sum->pending_b);
			counts->enqueued = enqueued_by(counts);
		}
		rc = ld_mend_commit(&write, rc);
	}
	ld_gate_out(store);
	return rc;
}

static int check_outbox(struct check *check)
{
	struct ld_store *store = check->store;
	struct outbox_sum sum;
	int64_t now_ms;
	int after, rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return LARDER_E_BUSY;
	rc = after = sum_outbox(check, &sum);
	for (int i = 0; i < LD_MEND_TRIES && after == 1 && check->repair; i++) {
		LD_POINT(check_counted);
		(void)put_outbox_right(store, &sum);
		after = sum_outbox(check, &sum);
	}
	ld_leave(store);
	return rc == 1 ? report(check, "counts of the outbox do not add up", NULL, NULL, after == 0) : rc;
}

int ld_store_check(struct ld_store *store, int repair, larder_finding_fn fn, larder_progress_fn progress, void *ctx, uint64_t *ret_found)
{
	struct check check = { .store = store, .repair = repair, .fn = fn, .progress = progress, .ctx = ctx };
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
		rc = check_accounts(&check);
	if (rc == 0)
		rc = check_negative(&check);
	if (rc == 0)
		rc = check_outbox(&check);
	free(check.ids);
	if (rc == LARDER_E_CORRUPT) {
		/* Not one entry, the tree itself: there is nothing left to walk. */
		if (repair)
			ld_store_condemn(store, generation, "damaged", 1);
		rc = report(&check, "tree of the store damaged", NULL, NULL, repair);
	}
	if (rc == 0)
		*ret_found = check.found;
	return rc;
}
