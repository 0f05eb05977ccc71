/* SPDX-License-Identifier: MIT */
/*
 * Rows of the outbox in write transactions: written by whoever writes a key, given up when there are too many or they are too old, settled for the
 * drainer (l1/drain.c). The counts are one row of the main table, read by the first and written at the end of each transaction that changes a row:
 *
 *   killed before the commit     neither row nor count: LMDB's last meta page stands, with what was true before.
 *   killed after the commit      both; the mirrors in the segment are those of the transaction before, until the next one.
 *
 * `outbox_any` in the segment spares those who miss the look into the table. A reader that finds it 0 must be sure that its key had no row in its
 * snapshot that is still untold. W writes a row, S settles the last one, R reads:
 *
 *   W sets the word, then commits; R takes its snapshot, then reads the word      a row in R's snapshot was committed before, so the word was set
 *                                                                                 before R reads it: R finds 1,
 *   S commits the empty table, then clears the word                               unless S has cleared it since: then L2 has been told, or the row has
 *                                                                                 folded, and L2 may be asked.
 *   S clears while W sets            both are inside the writer gate: one comes after the other. S looks at the count of its own transaction.
 *   S is of an older store file      it looks whether the file is still the one in use; a writer of the new one waits for the gate that S has.
 *   W is killed before its commit, or its commit fails     the word is 1 for nothing: whoever settles or walks next clears it.
 */
#include "l1/inside.h"

#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "crypto/hash.h"
#include "crypto/key.h"

/* A row with its share of a page that is two thirds full takes some 256 bytes: so many bytes of the store for each, an eighth of them at most. */
enum { STORE_B_A_ROW = 2048 };

static const char COUNTS_KEY[] = "O";

uint64_t ld_outbox_rows_max(const struct ld_seg_params *params)
{
	uint64_t room = params->size_b / STORE_B_A_ROW;

	return params->outbox_rows < room ? params->outbox_rows : room;
}

int ld_pending_decode(const MDB_val *data, struct ld_pending *ret_row)
{
	if (data->mv_size != sizeof(*ret_row))
		return LARDER_E_CORRUPT;
	memcpy(ret_row, data->mv_data, sizeof(*ret_row));
	return ret_row->op == LD_OUTBOX_SET || ret_row->op == LD_OUTBOX_DELETE ? 0 : LARDER_E_CORRUPT;
}

/* ---- counts ---- */

int ld_outbox_read_counts(const struct ld_env *env, MDB_txn *txn, struct ld_outbox_counts *ret_counts)
{
	MDB_val key = { 1, (void *)(uintptr_t)COUNTS_KEY }, data;
	int rc = mdb_get(txn, env->main, &key, &data);

	memset(ret_counts, 0, sizeof(*ret_counts));
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0 || data.mv_size != sizeof(*ret_counts))
		return rc ? ld_env_error(rc) : LARDER_E_CORRUPT;
	memcpy(ret_counts, data.mv_data, sizeof(*ret_counts));
	return 0;
}

/* The counts of this transaction, read once. */
int ld_outbox_use(struct ld_write *write)
{
	int rc = write->outbox_used ? 0 : ld_outbox_read_counts(&write->store->env, write->txn, &write->outbox);

	if (rc == 0)
		write->outbox_used = 1;
	return rc;
}

int ld_outbox_save(struct ld_write *write)
{
	MDB_val key = { 1, (void *)(uintptr_t)COUNTS_KEY }, data = { sizeof(write->outbox), &write->outbox };
	int rc = ld_env_error(mdb_put(write->txn, write->store->env.main, &key, &data, 0));

	LD_POINT(outbox_counted);
	/* Before the commit: see above. */
	if (write->outbox.pending != 0)
		atomic_store(&write->store->seg.h->outbox_any, 1);
	return rc;
}

void ld_outbox_mirror(struct ld_write *write)
{
	struct ld_seg_header *h = write->store->seg.h;
	uint64_t counts[LD_SEG_OUTBOX_COUNTS];

	_Static_assert(sizeof(counts) == sizeof(write->outbox), "layout");
	memcpy(counts, &write->outbox, sizeof(counts));
	for (unsigned i = 0; i < LD_SEG_OUTBOX_COUNTS; i++)
		atomic_store_explicit(&h->outbox_counts[i], counts[i], memory_order_relaxed);
	if (write->outbox.pending != 0)
		return;
	LD_POINT(outbox_emptied);
	atomic_store(&h->outbox_any, 0);
	atomic_store(&h->outbox_oldest_ms, 0);
}

static uint64_t less(uint64_t n, uint64_t by)
{
	return n > by ? n - by : 0;
}

/* ---- looking ---- */

int ld_pending_find(const struct ld_store *store, MDB_txn *txn, const MDB_val *key, struct ld_pending *ret_row)
{
	MDB_val at = *key, data;
	int rc;

	/* After the snapshot was taken: see above. */
	if (atomic_load(&store->seg.h->outbox_any) == 0)
		return LARDER_MISS;
	rc = ld_env_error(mdb_get(txn, store->env.outbox, &at, &data));
	return rc != 0 ? rc : ld_pending_decode(&data, ret_row);
}

int ld_pending_keeps(const struct ld_store *store, MDB_txn *txn, const MDB_val *key, uint64_t entry_seq)
{
	struct ld_pending row;

	return ld_pending_find(store, txn, key, &row) == 0 && row.op == LD_OUTBOX_SET && row.entry_seq == entry_seq;
}

/* ---- giving up ---- */

/* A new one for each logical write: 128 random bits. Without random bytes what nobody else has: this sequence, at this time. */
static void new_idempotency(struct ld_pending *row)
{
	const uint64_t from[2] = { row->seq, (uint64_t)row->created_wall_ms };
	uint64_t made[2];

	if (ld_key_random(row->idempotency, sizeof(row->idempotency)) == 0)
		return;
	made[0] = ld_hash64(from, sizeof(from));
	made[1] = row->seq;
	memcpy(row->idempotency, made, sizeof(made));
}

static void begin_row(const struct ld_write *write, enum ld_outbox_op op, struct ld_pending *row)
{
	memset(row, 0, sizeof(*row));
	row->op = (uint8_t)op;
	row->seq = write->seq;
	row->created_wall_ms = ld_clock_wall_ms();
	row->enqueued_ms = ld_clock_boot_ms();
	new_idempotency(row);
}

static void count_given_up(struct ld_write *write, enum ld_give_up why)
{
	if (why == LD_GIVE_UP_FAILED)
		write->outbox.failed++;
	else
		write->outbox.dropped++;
}

int ld_outbox_to_delete(struct ld_write *write, MDB_cursor *cursor, const MDB_val *key, const struct ld_pending *row, enum ld_give_up why)
{
	struct ld_pending instead;
	MDB_val at = *key, data = { sizeof(instead), &instead };
	int rc = ld_outbox_use(write);

	if (rc != 0)
		return rc;
	begin_row(write, LD_OUTBOX_DELETE, &instead);
	rc = ld_env_error(mdb_cursor_put(cursor, &at, &data, MDB_CURRENT));
	count_given_up(write, why);
	write->outbox.enqueued++;
	write->outbox.pending_b = less(write->outbox.pending_b, row->bytes);
	write->changed = 1;
	return rc;
}

/* The row under the cursor, out. */
static int remove_row(struct ld_write *write, MDB_cursor *cursor, const MDB_val *key, const struct ld_pending *row)
{
	size_t tenant_len = ld_entry_key_tenant(key->mv_data, key->mv_size);
	int rc = ld_outbox_use(write);

	if (rc == 0 && tenant_len == 0)
		rc = LARDER_E_CORRUPT;
	if (rc == 0 && ld_write_pending(write, key->mv_data, tenant_len, -1) != 0)
		rc = LARDER_E_BUSY;
	if (rc != 0)
		return rc;
	write->outbox.pending = less(write->outbox.pending, 1);
	write->outbox.pending_b = less(write->outbox.pending_b, row->bytes);
	write->changed = 1;
	return ld_env_error(mdb_cursor_del(cursor, 0));
}

int ld_outbox_fold(struct ld_write *write, MDB_cursor *cursor, const MDB_val *key, const struct ld_pending *row, enum ld_give_up why)
{
	size_t tenant_len = ld_entry_key_tenant(key->mv_data, key->mv_size);
	char tenant[LARDER_TENANT_MAX + 1];
	int rc;

	memcpy(tenant, key->mv_data, tenant_len);
	tenant[tenant_len] = 0;
	rc = remove_row(write, cursor, key, row);
	LD_POINT(outbox_folding);
	if (rc != 0)
		return rc;
	count_given_up(write, why);
	return ld_invalid_write(write, tenant, NULL);
}

int ld_outbox_acknowledge(struct ld_write *write, MDB_cursor *cursor, const MDB_val *key, const struct ld_pending *row)
{
	int rc = remove_row(write, cursor, key, row);

	if (rc == 0)
		write->outbox.acknowledged++;
	LD_POINT(outbox_settling);
	return rc;
}

int ld_pending_give_up(struct ld_write *write, const MDB_val *key)
{
	MDB_val at = *key, data;
	struct ld_pending row;
	MDB_cursor *cursor;
	int rc = ld_env_error(mdb_cursor_open(write->txn, write->store->env.outbox, &cursor));

	if (rc != 0)
		return rc;
	rc = ld_env_error(mdb_cursor_get(cursor, &at, &data, MDB_SET_KEY));
	if (rc == 0)
		rc = ld_pending_decode(&data, &row);
	if (rc == 0)
		rc = ld_outbox_to_delete(write, cursor, &at, &row, LD_GIVE_UP_DROPPED);
	mdb_cursor_close(cursor);
	return rc;
}

/* ---- too many rows ---- */

/* Of this transaction, not written yet. */
static int64_t pending_change(const struct ld_write *write, const char *tenant, size_t len)
{
	for (unsigned i = 0; i < write->accounts_used; i++)
		if (strlen(write->accounts[i].tenant) == len && memcmp(write->accounts[i].tenant, tenant, len) == 0)
			return write->accounts[i].pending;
	return 0;
}

/* The tenant with the most pending rows; the one who writes, where no account says more. */
static int most_pending(struct ld_write *write, const char *writer, char ret_tenant[LARDER_TENANT_MAX + 1])
{
	MDB_val key = { 1, (void *)(uintptr_t)"T" }, data;
	struct ld_account_row row;
	int64_t most = pending_change(write, writer, strlen(writer));
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(write->txn, write->store->env.main, &cursor);

	if (rc != 0)
		return ld_env_error(rc);
	strcpy(ret_tenant, writer);
	rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
	for (; rc == 0 && ((char *)key.mv_data)[0] == 'T'; rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
		const char *tenant = (const char *)key.mv_data + 1;
		size_t len = key.mv_size - 1;
		int64_t pending;

		if (len > LARDER_TENANT_MAX || data.mv_size != sizeof(row))
			continue;
		memcpy(&row, data.mv_data, sizeof(row));
		pending = (int64_t)row.pending + pending_change(write, tenant, len);
		if (pending > most) {
			most = pending;
			memcpy(ret_tenant, tenant, len);
			ret_tenant[len] = 0;
		}
	}
	mdb_cursor_close(cursor);
	return rc == 0 || rc == MDB_NOTFOUND ? 0 : ld_env_error(rc);
}

static int fold_rows(struct ld_write *write, MDB_cursor *cursor, const char *tenant)
{
	static const unsigned char lowest[LARDER_DIGEST_SIZE];
	unsigned char bytes[LD_KEY_MAX];
	size_t len = strlen(tenant);
	int rc = 0;

	for (unsigned i = 0; i < LD_PENDING_SLICE && rc == 0; i++) {
		MDB_val key = { ld_entry_key(tenant, lowest, bytes), bytes }, data;
		struct ld_pending row;

		rc = ld_env_error(mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE));
		if (rc == LARDER_MISS || (rc == 0 && (ld_entry_key_tenant(key.mv_data, key.mv_size) != len || memcmp(key.mv_data, tenant, len) != 0)))
			return 0;
		if (rc == 0)
			rc = ld_pending_decode(&data, &row);
		if (rc == 0)
			rc = remove_row(write, cursor, &key, &row);
		if (rc == 0)
			count_given_up(write, LD_GIVE_UP_DROPPED);
		LD_POINT(outbox_folding);
	}
	return rc;
}

static int fold_slice(struct ld_write *write, const char *writer)
{
	char tenant[LARDER_TENANT_MAX + 1];
	MDB_cursor *cursor;
	int rc = most_pending(write, writer, tenant);

	if (rc == 0)
		rc = ld_env_error(mdb_cursor_open(write->txn, write->store->env.outbox, &cursor));
	if (rc != 0)
		return rc;
	rc = fold_rows(write, cursor, tenant);
	mdb_cursor_close(cursor);
	if (rc == 0)
		rc = ld_invalid_write(write, tenant, NULL);
	ld_host_count(&write->store->seg, LD_HC_outbox_folds, 1);
	return rc;
}

/* ---- telling ---- */

/* A new row, or over the key's older one, which is coalesced. */
static int put_row(struct ld_write *write, MDB_cursor *cursor, const struct ld_tell *tell, const struct ld_pending *row)
{
	unsigned char bytes[LD_KEY_MAX];
	MDB_val key = { ld_entry_key(tell->tenant, tell->digest, bytes), bytes }, data = { sizeof(*row), (void *)(uintptr_t)row };
	struct ld_pending older;
	int rc = mdb_cursor_put(cursor, &key, &data, MDB_NOOVERWRITE);

	if (rc == 0) {
		if (ld_write_pending(write, tell->tenant, strlen(tell->tenant), 1) != 0)
			return LARDER_E_BUSY;
		write->outbox.pending++;
	} else if (rc == MDB_KEYEXIST) {
		rc = ld_pending_decode(&data, &older);
		if (rc != 0)
			return rc;
		data = (MDB_val){ sizeof(*row), (void *)(uintptr_t)row };
		key = (MDB_val){ key.mv_size, bytes };
		/* LMDB has left the cursor at the row that it found. */
		rc = mdb_cursor_put(cursor, &key, &data, MDB_CURRENT);
		write->outbox.coalesced++;
		write->outbox.pending_b = less(write->outbox.pending_b, older.bytes);
	}
	write->outbox.enqueued++;
	write->outbox.pending_b += row->bytes;
	write->changed = 1;
	return ld_env_error(rc);
}

int ld_outbox_tell(struct ld_write *write, const struct ld_tell *tell)
{
	const struct ld_seg_params *params = &write->store->seg.h->params;
	struct ld_pending row;
	MDB_cursor *cursor;
	int rc = ld_outbox_use(write);

	if (rc == 0)
		rc = ld_env_error(mdb_cursor_open(write->txn, write->store->env.outbox, &cursor));
	if (rc != 0)
		return rc;
	begin_row(write, tell->op, &row);
	if (tell->op == LD_OUTBOX_SET && write->outbox.pending_b + tell->bytes <= params->outbox_b) {
		row.entry_seq = tell->entry_seq;
		row.bytes = tell->bytes;
		row.expires_ms = tell->expires_ms;
		row.l2_ttl_ms = tell->l2_ttl_ms;
	} else if (tell->op == LD_OUTBOX_SET) {
		/* Too much is kept already: the set is dropped, and a delete told in its place. */
		row.op = LD_OUTBOX_DELETE;
		write->outbox.enqueued++;
		write->outbox.dropped++;
	}
	rc = put_row(write, cursor, tell, &row);
	mdb_cursor_close(cursor);
	LD_POINT(outbox_row_put);
	if (rc == 0 && write->outbox.pending > ld_outbox_rows_max(params))
		rc = fold_slice(write, tell->tenant);
	return rc;
}
