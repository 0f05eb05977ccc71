/* SPDX-License-Identifier: MIT */
/*
 * How much of the store "not found" entries take. They have a share of it (LARDER_NEGATIVE_SHARE) and no more: whoever asks for names that do not exist can
 * make as many of them as he likes, and must never push out a value with them. Number and bytes are one row, written in the transaction that adds or removes
 * such an entry, so that a kill cannot part them; writers look at a mirror in the segment, which is one transaction old after a kill. Called by whoever
 * changes entries, by whoever is about to remember a "not found" (l1/put.c), and by the check.
 */
#include "l1/inside.h"

#include <string.h>

#include "base/errors.h"
#include "l1/choose.h"

enum { MAKE_ROOM_ROUNDS = 8, BATCH_MAX = 32 };

/* Key of the row in the main table. */
static const char COUNTS_KEY[] = "N";

static MDB_val counts_key(void)
{
	return (MDB_val){ sizeof(COUNTS_KEY) - 1, (void *)(uintptr_t)COUNTS_KEY };
}

static int read_row(const struct ld_env *env, MDB_txn *txn, struct ld_negative *ret_row)
{
	MDB_val key = counts_key(), data;
	int rc = mdb_get(txn, env->main, &key, &data);

	memset(ret_row, 0, sizeof(*ret_row));
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0 || data.mv_size != sizeof(*ret_row))
		return rc ? ld_env_error(rc) : LARDER_E_CORRUPT;
	memcpy(ret_row, data.mv_data, sizeof(*ret_row));
	return 0;
}

static int write_row(struct ld_write *write, const struct ld_negative *row)
{
	MDB_val key = counts_key(), data = { sizeof(*row), (void *)(uintptr_t)row };

	write->negative_after = *row;
	write->negative_used = 1;
	return ld_env_error(mdb_put(write->txn, write->store->env.main, &key, &data, 0));
}

static uint64_t changed(uint64_t was, int64_t by)
{
	return by < 0 && (uint64_t)-by > was ? 0 : was + (uint64_t)by;
}

int ld_negative_save(struct ld_write *write)
{
	struct ld_negative row;
	int rc;

	if (write->negative_entries == 0 && write->negative_bytes == 0)
		return 0;
	rc = read_row(&write->store->env, write->txn, &row);
	if (rc != 0)
		return rc;
	row.entries = changed(row.entries, write->negative_entries);
	row.bytes = changed(row.bytes, write->negative_bytes);
	return write_row(write, &row);
}

void ld_negative_mirror(struct ld_write *write)
{
	struct ld_seg_header *h = write->store->seg.h;

	if (!write->negative_used)
		return;
	atomic_store_explicit(&h->negative_entries, write->negative_after.entries, memory_order_relaxed);
	atomic_store_explicit(&h->negative_b, write->negative_after.bytes, memory_order_relaxed);
}

/* No product of sizes: it may be a terabyte. */
static uint64_t share(uint64_t of, uint32_t pct)
{
	return of / 100 * pct + of % 100 * pct / 100;
}

int ld_negative_is_over(const struct ld_store *store, uint64_t more_b)
{
	const struct ld_seg_header *h = store->seg.h;
	uint64_t most = share(h->params.max_entries, h->params.negative_pct);

	if (atomic_load_explicit(&h->negative_b, memory_order_relaxed) + more_b > share(h->params.size_b, h->params.negative_pct))
		return 1;
	/* One at least, however few entries there may be. */
	return h->params.max_entries != 0 && atomic_load_explicit(&h->negative_entries, memory_order_relaxed) >= (most ? most : 1);
}

int ld_negative_make_room(struct ld_store *store, uint64_t cost)
{
	unsigned batch = ld_choose_batch(store->seg.h->params.capacity);

	batch = batch > BATCH_MAX ? BATCH_MAX : batch;
	for (int round = 0; round < MAKE_ROOM_ROUNDS && ld_negative_is_over(store, cost); round++) {
		int gone = ld_evict_negative(store, NULL, batch);

		if (gone < 0)
			return gone;
		ld_host_count(&store->seg, LD_HC_negative_evictions, (uint64_t)gone);
	}
	if (!ld_negative_is_over(store, cost))
		return 0;
	ld_reason_set(LARDER_REASON_FULL);
	return LARDER_E_FULL;
}

/* ---- the check ---- */

/* What a snapshot said, and what it ought to have said. */
struct look {
	struct ld_negative was, right;
	int malformed;             /* the row is none: nobody can change it, nor such an entry */
};

/* What there is, as this transaction sees it. */
static int count_all(const struct ld_store *store, MDB_txn *txn, struct ld_negative *ret_row)
{
	unsigned char place[LD_KEY_MAX];
	size_t place_len = 0;
	MDB_cursor *cursor;
	MDB_val key, row;
	int rc = mdb_cursor_open(txn, store->env.entries, &cursor);

	memset(ret_row, 0, sizeof(*ret_row));
	if (rc != 0)
		return ld_env_error(rc);
	while ((rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT)) == 0) {
		struct ld_entry entry;

		/* A damaged tree may go round in circles. */
		if (!ld_key_follows(txn, store->env.entries, &key, place, place_len)) {
			rc = MDB_CORRUPTED;
			break;
		}
		place_len = key.mv_size < LD_KEY_MAX ? key.mv_size : LD_KEY_MAX;
		memcpy(place, key.mv_data, place_len);
		if (ld_entry_decode(row.mv_data, row.mv_size, &entry) != 0 || !(entry.head.bits & LD_ENTRY_ABSENT))
			continue;
		ret_row->entries++;
		ret_row->bytes += ld_entry_cost(&entry.head, row.mv_size, key.mv_size);
	}
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : ld_env_error(rc);
}

static int look(struct ld_store *store, MDB_txn *txn, void *ctx)
{
	struct look *look = ctx;
	int rc = read_row(&store->env, txn, &look->was);

	look->malformed = rc == LARDER_E_CORRUPT;
	if (rc == 0 || look->malformed)
		rc = count_all(store, txn, &look->right);
	return rc == 0 ? look->malformed || memcmp(&look->was, &look->right, sizeof(look->was)) != 0 : rc;
}

/* LARDER_E_CORRUPT is of the tree: a row that has gone bad since the snapshot is for the next look to see. */
static int change_row(struct ld_write *write, const void *ctx)
{
	const struct look *look = ctx;
	struct ld_negative row;
	int rc = read_row(&write->store->env, write->txn, &row);

	if (rc == LARDER_E_CORRUPT && look->malformed)
		return write_row(write, &look->right);
	if (rc == LARDER_E_CORRUPT || (rc == 0 && look->malformed))
		return LARDER_E_BUSY;
	row.entries = ld_mend_count(row.entries, look->was.entries, look->right.entries);
	row.bytes = ld_mend_count(row.bytes, look->was.bytes, look->right.bytes);
	return rc == 0 ? write_row(write, &row) : rc;
}

int ld_negative_check(struct ld_store *store, int repair, int *ret_mended)
{
	struct look found;
	const struct ld_counting counting = { look, change_row, &found };
	int64_t now_ms;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);

	*ret_mended = 0;
	if (rc != 0)
		return LARDER_E_BUSY;
	rc = ld_mend_counts(store, &counting, repair, ret_mended);
	ld_leave(store);
	return rc;
}
