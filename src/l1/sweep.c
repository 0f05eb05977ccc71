/* SPDX-License-Identifier: MIT */
/*
 * The sweep: every entry is looked at once in LARDER_SWEEP_MS, in key order, in slices of at most 200 rows, and removed if nobody can be given it
 * any more - expired, past its hard end, cleared, a tag of it invalidated, or under a barrier. Called by the process that has the background role.
 *
 * Between two slices nothing is held; the place is remembered as a key. A process that takes the role over begins a new sweep. When a sweep has
 * gone through all rows and could remove all that was dead, clears older than its beginning have done their work and are forgotten.
 */
#include "l1/inside.h"

#include <string.h>

#include "base/clock.h"
#include "base/fault.h"

enum { SLICE = 200 };

struct dead_row {
	unsigned char key[LD_KEY_MAX];
	size_t key_len;
	uint64_t seq;
};

struct slice {
	struct ld_store *store;
	struct dead_row dead[SLICE];
	unsigned dead_count, rows;
	int64_t now_ms, wall_ms;
	int at_end;
};

int ld_row_is_dead(const struct ld_seg *seg, const MDB_val *key, const MDB_val *row, int64_t now_ms, int64_t *wall_ms, uint64_t *ret_seq)
{
	size_t tenant_len = ld_entry_key_tenant(key->mv_data, key->mv_size);
	char tenant[LARDER_TENANT_MAX + 1], space[LARDER_SPACE_MAX + 1];
	struct ld_hidden hidden;
	struct ld_entry entry;

	*ret_seq = 0;
	if (tenant_len == 0 || ld_entry_decode(row->mv_data, row->mv_size, &entry) != 0)
		return 0;
	*ret_seq = entry.head.seq;
	memcpy(tenant, key->mv_data, tenant_len);
	tenant[tenant_len] = 0;
	memcpy(space, entry.space, entry.head.space_len);
	space[entry.head.space_len] = 0;
	hidden = ld_entry_hidden(seg, ld_tenant_named(seg, tenant), ld_store_tag(tenant, space), (const unsigned char *)key->mv_data + tenant_len + 1,
	    &entry);
	return (ld_entry_state(&entry.head, &hidden, now_ms, wall_ms) & LD_IS_ALIVE) == 0;
}

static int is_dead(struct slice *slice, const MDB_val *key, const MDB_val *row, uint64_t *ret_seq)
{
	return ld_row_is_dead(&slice->store->seg, key, row, slice->now_ms, &slice->wall_ms, ret_seq);
}

static int look(struct slice *slice, MDB_txn *txn)
{
	struct ld_store *store = slice->store;
	MDB_val key = { store->sweep_key_len, store->sweep_key }, row;
	struct dead_row *dead;
	MDB_cursor *cursor;
	uint64_t seq;
	int rc = mdb_cursor_open(txn, store->env.entries, &cursor);

	if (rc != 0)
		return ld_env_error(rc);
	rc = mdb_cursor_get(cursor, &key, &row, store->sweep_key_len ? MDB_SET_RANGE : MDB_FIRST);
	/* The place is the last row that was looked at: go on after it, unless it is gone. */
	if (rc == 0 && key.mv_size == store->sweep_key_len && memcmp(key.mv_data, store->sweep_key, key.mv_size) == 0)
		rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT);
	while (rc == 0) {
		/* A damaged tree may go round in circles. */
		if (!ld_key_follows(txn, store->env.entries, &key, store->sweep_key, store->sweep_key_len)) {
			rc = MDB_CORRUPTED;
			break;
		}
		dead = &slice->dead[slice->dead_count];
		if (is_dead(slice, &key, &row, &seq)) {
			memcpy(dead->key, key.mv_data, key.mv_size);
			dead->key_len = key.mv_size;
			dead->seq = seq;
			slice->dead_count++;
		}
		store->sweep_key_len = key.mv_size < LD_KEY_MAX ? key.mv_size : LD_KEY_MAX;
		memcpy(store->sweep_key, key.mv_data, store->sweep_key_len);
		if (++slice->rows == SLICE)
			break;
		rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	slice->at_end = rc == MDB_NOTFOUND;
	return rc == MDB_NOTFOUND ? 0 : ld_env_error(rc);
}

/* Remove the dead of the slice that are still as they were. Returns 0, or an error when some had to be left. */
static int bury(struct slice *slice)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_store *store = slice->store;
	struct ld_write write;
	MDB_cursor *cursor;
	int rc = ld_write_begin(&write, store, accounts);

	if (rc != 0)
		return rc;
	rc = ld_env_error(mdb_cursor_open(write.txn, store->env.entries, &cursor));
	if (rc != 0) {
		ld_write_abort(&write);
		return rc;
	}
	for (unsigned i = 0; i < slice->dead_count && rc == 0; i++) {
		MDB_val key = { slice->dead[i].key_len, slice->dead[i].key }, row;
		uint64_t seq;

		rc = ld_env_error(mdb_cursor_get(cursor, &key, &row, MDB_SET_KEY));
		if (rc == LARDER_MISS || (rc == 0 && (!is_dead(slice, &key, &row, &seq) || seq != slice->dead[i].seq))) {
			rc = 0;
			continue;
		}
		if (rc == 0)
			rc = ld_write_remove(&write, cursor, &key, &row);
		LD_POINT(sweep_removed);
	}
	mdb_cursor_close(cursor);
	if (rc != 0 && rc != LARDER_E_BUSY) {
		ld_write_abort(&write);
		return rc;
	}
	for (unsigned i = 0; i < write.accounts_used; i++)
		ld_tenant_count(write.accounts[i].row, ld_seg_stripe(&store->seg), LD_TC_expiries, (uint64_t)-write.accounts[i].entries);
	if (ld_write_commit(&write) != 0)
		return LARDER_E_IO;
	return rc;
}

/* A transaction has room for so many tenants' accounts: the rest of the slice in further ones. */
static int bury_all(struct slice *slice)
{
	struct ld_store *store = slice->store;
	int rc = LARDER_E_BUSY;

	for (unsigned i = 0; i <= SLICE / LD_ACCOUNTS && rc == LARDER_E_BUSY; i++) {
		if (ld_gate_in(store, store->config.wait_ms) != 0)
			return LARDER_E_BUSY;
		rc = bury(slice);
		ld_gate_out(store);
	}
	return rc;
}

static void begin(struct ld_store *store, int64_t now_ms)
{
	store->sweep_key_len = 0;
	store->sweep_clean = 1;
	store->sweep_fast = (int)atomic_exchange(&store->seg.h->sweep_soon, 0);
	/* A clear that is still going on may have hidden nothing yet: what is passed by now is not gone when it has. */
	store->sweep_from_seq = ld_finished_seq(&store->seg);
	atomic_store(&store->seg.h->sweep_began_ms, now_ms);
}

static void end(struct ld_store *store, int64_t now_ms)
{
	struct ld_seg_header *h = store->seg.h;

	store->sweep_key_len = 0;
	atomic_store(&h->sweep_ended_ms, now_ms);
	ld_host_count(&store->seg, LD_HC_sweeps, 1);
	if (store->sweep_clean)
		ld_clears_forget(store, store->sweep_from_seq);
	store->sweep_from_seq = 0;
}

void ld_sweep_some(struct ld_store *store, uint64_t rows)
{
	struct slice slice = { .store = store };

	while (rows > 0) {
		MDB_txn *txn;
		int rc;

		slice.dead_count = slice.rows = 0;
		slice.wall_ms = 0;
		slice.now_ms = ld_clock_boot_ms();
		if (store->sweep_from_seq == 0)
			begin(store, slice.now_ms);
		if (ld_read_begin(store, store->config.wait_ms, &txn) != 0)
			return;
		rc = look(&slice, txn);
		ld_env_read_end(&store->env, txn);
		ld_host_count(&store->seg, LD_HC_swept, slice.rows);
		if (rc == 0 && slice.dead_count > 0)
			rc = bury_all(&slice);
		if (rc != 0)
			store->sweep_clean = 0;
		if (rc == LARDER_E_CORRUPT)
			atomic_store(&store->damaged, store->env.generation);
		if (rc < 0 && slice.rows < SLICE && !slice.at_end)
			return;
		if (slice.at_end) {
			end(store, slice.now_ms);
			return;
		}
		rows -= rows < slice.rows ? rows : slice.rows;
	}
}
