/* SPDX-License-Identifier: MIT */
/*
 * Write transactions: the writer gate, begin and commit, tenants' accounts, and whether there is room. Called by whoever changes entries.
 *
 * The gate is held from before mdb_txn_begin() to after the mirrors are written, so LMDB's writer mutex is always free for the holder, or
 * its holder is dead:
 *
 *   killed inside the gate          the next one takes the gate over, remembers in `recover` that LMDB is not recovered, passes the read gate
 *                                   too (recovery takes LMDB's reader mutex) and lets LMDB recover; then clears `recover`.
 *   killed before the commit        LMDB's last meta page stands: nothing happened. `write_seq` is one too high: harmless, it is a bound.
 *   killed between commit and       used_pages, entries and an account in the segment are one transaction old; the next commit of any writer
 *   mirrors                         (of that tenant) puts them right.
 *   stopped inside the gate         nobody takes it; others time out, at once after the first (shm/gate.h).
 */
#include "l1/inside.h"

#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/fault.h"

enum { ACCOUNT_KEY_MAX = LARDER_TENANT_MAX + 1, COUNT_AGAIN_MS = 2, TREE_PAGES = 16 };

/* Let LMDB recover its mutexes after a dead writer, where it cannot wait for a stopped process. */
static int recover(struct ld_store *store, int64_t budget_ms)
{
	struct ld_seg_header *h = store->seg.h;
	struct ld_gate_user user = ld_env_gate_user(&store->seg);
	MDB_txn *txn;

	if (ld_gate_take(&h->read_gate, &user, budget_ms) == LD_GATE_TIMEOUT)
		return -1;
	LD_POINT(gate_recovering);
	if (mdb_txn_begin(store->env.lmdb, NULL, 0, &txn) == 0)
		mdb_txn_abort(txn);
	atomic_store(&h->recover, 0);
	ld_gate_leave(&h->read_gate);
	return 0;
}

int ld_gate_in(struct ld_store *store, int64_t budget_ms)
{
	struct ld_seg_header *h = store->seg.h;
	struct ld_gate_user user = ld_env_gate_user(&store->seg);
	enum ld_gate_result taken = ld_gate_take(&h->write_gate, &user, budget_ms);

	if (taken == LD_GATE_TIMEOUT) {
		ld_reason_set(LARDER_REASON_WRITE_GATE);
		return LARDER_UNAVAILABLE;
	}
	if (taken == LD_GATE_TAKEN_OVER) {
		atomic_store(&h->recover, 1);
		ld_host_count(&store->seg, LD_HC_gate_takeovers, 1);
	}
	LD_POINT(gate_taken);
	if (atomic_load_explicit(&h->recover, memory_order_relaxed) && recover(store, budget_ms) != 0) {
		ld_gate_leave(&h->write_gate);
		ld_reason_set(LARDER_REASON_READ_GATE);
		return LARDER_UNAVAILABLE;
	}
	return 0;
}

void ld_gate_out(struct ld_store *store)
{
	LD_POINT(gate_leaving);
	ld_gate_leave(&store->seg.h->write_gate);
}

/*
 * Its sequence: one more than any that was ever begun. LMDB's own id would not do, for after an aborted or failed transaction the next one has it
 * again, and a barrier that was raised to the failed one's sequence would hide what the next one stores.
 */
static uint64_t next_seq(struct ld_store *store)
{
	uint64_t last = atomic_load(&store->seg.h->write_seq), base = store->env.base_seq;
	uint64_t seq = (last > base ? last : base) + 1;

	atomic_store(&store->seg.h->write_seq, seq);
	return seq;
}

int ld_write_begin(struct ld_write *write, struct ld_store *store, struct ld_account *accounts)
{
	int rc = LD_FAULT(txn_begin);

	write->store = store;
	write->txn = NULL;
	write->accounts = accounts;
	write->accounts_used = 0;
	write->changed = 0;
	write->outbox_used = 0;
	write->negative_entries = write->negative_bytes = 0;
	write->negative_used = 0;
	rc = rc ? rc : mdb_txn_begin(store->env.lmdb, NULL, 0, &write->txn);
	if (rc != 0)
		return ld_env_error(rc);
	write->seq = next_seq(store);
	rc = ld_env_use(&store->env, write->txn, &write->use);
	if (rc != 0)
		ld_write_abort(write);
	return rc;
}

void ld_write_abort(struct ld_write *write)
{
	if (write->txn)
		mdb_txn_abort(write->txn);
	write->txn = NULL;
}

/* ---- accounts ---- */

static MDB_val account_key(const char *tenant, size_t len, unsigned char bytes[ACCOUNT_KEY_MAX])
{
	bytes[0] = 'T';
	memcpy(bytes + 1, tenant, len);
	return (MDB_val){ len + 1, bytes };
}

int ld_account_read(const struct ld_env *env, MDB_txn *txn, const char *tenant, size_t tenant_len, struct ld_account_row *ret_row)
{
	unsigned char bytes[ACCOUNT_KEY_MAX];
	MDB_val key = account_key(tenant, tenant_len, bytes), data;
	int rc = mdb_get(txn, env->main, &key, &data);

	memset(ret_row, 0, sizeof(*ret_row));
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0 || data.mv_size != sizeof(*ret_row))
		return rc ? ld_env_error(rc) : LARDER_E_CORRUPT;
	memcpy(ret_row, data.mv_data, sizeof(*ret_row));
	return 0;
}

int ld_account_write(const struct ld_env *env, MDB_txn *txn, const char *tenant, size_t tenant_len, const struct ld_account_row *row)
{
	unsigned char bytes[ACCOUNT_KEY_MAX];
	MDB_val key = account_key(tenant, tenant_len, bytes), data = { sizeof(*row), (void *)(uintptr_t)row };
	int rc;

	if (row->entries != 0 || row->pending != 0)
		return ld_env_error(mdb_put(txn, env->main, &key, &data, 0));
	rc = mdb_del(txn, env->main, &key, NULL);
	return rc == MDB_NOTFOUND ? 0 : ld_env_error(rc);
}

/* The account of a tenant in this transaction; NULL when there is no room for another. */
static struct ld_account *account_of(struct ld_write *write, const char *tenant, size_t tenant_len)
{
	struct ld_account *account;

	for (unsigned i = 0; i < write->accounts_used; i++)
		if (strlen(write->accounts[i].tenant) == tenant_len && memcmp(write->accounts[i].tenant, tenant, tenant_len) == 0)
			return &write->accounts[i];
	if (write->accounts_used == LD_ACCOUNTS)
		return NULL;
	account = &write->accounts[write->accounts_used++];
	memcpy(account->tenant, tenant, tenant_len);
	account->tenant[tenant_len] = 0;
	account->entries = account->bytes = account->pending = 0;
	account->row = ld_tenant_named(&write->store->seg, account->tenant);
	return account;
}

int ld_write_account(struct ld_write *write, const char *tenant, size_t tenant_len, int64_t entries, int64_t bytes)
{
	struct ld_account *account = account_of(write, tenant, tenant_len);

	if (!account)
		return -1;
	account->entries += entries;
	account->bytes += bytes;
	return 0;
}

int ld_write_pending(struct ld_write *write, const char *tenant, size_t tenant_len, int64_t pending)
{
	struct ld_account *account = account_of(write, tenant, tenant_len);

	if (!account)
		return -1;
	account->pending += pending;
	return 0;
}

static uint64_t changed(uint64_t was, int64_t by)
{
	return by < 0 && (uint64_t)-by > was ? 0 : was + (uint64_t)by;
}

static int write_accounts(struct ld_write *write)
{
	const struct ld_env *env = &write->store->env;

	for (unsigned i = 0; i < write->accounts_used; i++) {
		struct ld_account *account = &write->accounts[i];
		size_t len = strlen(account->tenant);
		struct ld_account_row row;
		int rc = ld_account_read(env, write->txn, account->tenant, len, &row);

		if (rc != 0)
			return rc;
		row.entries = changed(row.entries, account->entries);
		row.bytes = changed(row.bytes, account->bytes);
		row.pending = changed(row.pending, account->pending);
		account->entries_after = row.entries;
		account->bytes_after = row.bytes;
		rc = ld_account_write(env, write->txn, account->tenant, len, &row);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static void mirror(struct ld_write *write)
{
	struct ld_seg_header *h = write->store->seg.h;

	/* Of a store that was replaced meanwhile nobody wants to know. */
	if (atomic_load(&h->file_generation) != write->store->env.generation)
		return;
	atomic_store_explicit(&h->used_pages, write->use.pages, memory_order_relaxed);
	atomic_store_explicit(&h->entries, write->use.entries, memory_order_relaxed);
	atomic_store_explicit(&h->last_page, write->use.last_page, memory_order_relaxed);
	for (unsigned i = 0; i < write->accounts_used; i++) {
		struct ld_account *account = &write->accounts[i];

		/* The shared row stands for many accounts, and has none. */
		if (account->row == write->store->seg.tenants.rows)
			continue;
		atomic_store_explicit(&account->row->entries, account->entries_after, memory_order_relaxed);
		atomic_store_explicit(&account->row->bytes, account->bytes_after, memory_order_relaxed);
	}
	ld_negative_mirror(write);
	if (write->outbox_used)
		ld_outbox_mirror(write);
}

int ld_write_commit(struct ld_write *write)
{
	int rc = write_accounts(write), code;

	if (rc == 0)
		rc = ld_negative_save(write);
	if (rc == 0 && write->outbox_used)
		rc = ld_outbox_save(write);
	if (rc == 0)
		rc = ld_env_use(&write->store->env, write->txn, &write->use);
	if (rc == 0)
		rc = ld_env_error(LD_FAULT(txn_commit));
	if (rc != 0) {
		ld_write_abort(write);
		return rc;
	}
	code = mdb_txn_commit(write->txn);
	write->txn = NULL;
	LD_POINT(txn_committed);
	if (code == 0)
		mirror(write);
	return ld_env_error(code);
}

/* ---- removing ---- */

static int remove_chunks(struct ld_write *write, uint64_t chunk_id, uint32_t count)
{
	unsigned char bytes[LD_CHUNK_KEY];
	MDB_val key = { sizeof(bytes), bytes };

	for (uint32_t i = 0; i < count; i++) {
		int rc;

		ld_entry_chunk_key(chunk_id, i, bytes);
		rc = mdb_del(write->txn, write->store->env.chunks, &key, NULL);
		if (rc != 0 && rc != MDB_NOTFOUND)
			return ld_env_error(rc);
	}
	return 0;
}

int ld_write_unlink(struct ld_write *write, const MDB_val *key, const MDB_val *row)
{
	size_t tenant_len = ld_entry_key_tenant(key->mv_data, key->mv_size);
	struct ld_entry entry;
	int64_t cost;

	write->changed = 1;
	/* A damaged row names no chunks that could be believed; the check finds them. */
	if (tenant_len == 0 || ld_entry_decode(row->mv_data, row->mv_size, &entry) != 0)
		return 0;
	cost = (int64_t)ld_entry_cost(&entry.head, row->mv_size, key->mv_size);
	if (ld_write_account(write, key->mv_data, tenant_len, -1, -cost) != 0)
		return LARDER_E_BUSY;
	ld_negative_change(write, &entry.head, -1, (uint64_t)cost);
	return remove_chunks(write, entry.head.chunk_id, entry.head.chunks + ld_entry_name_chunks(&entry.head));
}

int ld_write_remove(struct ld_write *write, MDB_cursor *cursor, const MDB_val *key, const MDB_val *row)
{
	int rc = ld_write_unlink(write, key, row);

	return rc != 0 ? rc : ld_env_error(mdb_cursor_del(cursor, 0));
}

/* ---- room ---- */

static int count_free(struct ld_store *store, int64_t now_ms)
{
	struct ld_seg_header *h = store->seg.h;
	uint64_t reusable, pinned;
	MDB_txn *txn;
	/* LMDB shows its free list to read transactions only. */
	int rc = ld_read_begin(store, store->config.wait_ms, &txn);

	if (rc != 0)
		return LARDER_E_BUSY;
	rc = ld_env_count_free(&store->env, txn, &reusable, &pinned);
	ld_env_read_end(&store->env, txn);
	if (rc != 0)
		return rc;
	atomic_store(&h->reusable_pages, reusable);
	atomic_store(&h->counted_ms, now_ms);
	if (pinned <= reusable)
		atomic_store(&h->pinned_since_ms, 0);
	else if (atomic_load(&h->pinned_since_ms) == 0)
		atomic_store(&h->pinned_since_ms, now_ms);
	return 0;
}

/* Free pages as far as we know: counted when the estimate is used up, but not again and again while a count finds too few. */
static int free_pages(struct ld_store *store, uint64_t need, uint64_t *ret_pages)
{
	struct ld_seg_header *h = store->seg.h;
	int64_t now_ms;
	int rc;

	*ret_pages = atomic_load(&h->reusable_pages);
	if (*ret_pages >= need)
		return 0;
	now_ms = ld_clock_boot_ms();
	if (atomic_load(&h->short_of_room) && now_ms - atomic_load(&h->counted_ms) < COUNT_AGAIN_MS)
		return 0;
	rc = count_free(store, now_ms);
	*ret_pages = atomic_load(&h->reusable_pages);
	/* A reader that was killed keeps its snapshot until somebody looks: look now. */
	if (rc == 0 && *ret_pages < need && atomic_load(&h->pinned_since_ms) != 0) {
		const struct ld_env_gate gate = { &store->seg, store->config.wait_ms };

		if (ld_env_clear_readers(&store->env, &gate) > 0)
			rc = count_free(store, now_ms);
		*ret_pages = atomic_load(&h->reusable_pages);
	}
	atomic_store(&h->short_of_room, *ret_pages < need);
	return rc;
}

int ld_write_room(struct ld_write *write, uint64_t pages)
{
	struct ld_seg_header *h = write->store->seg.h;
	uint64_t map_pages = h->params.map_b / LD_PAGE, keep = (h->params.map_b - h->params.size_b) / LD_PAGE / 4;
	uint64_t need = pages + TREE_PAGES + keep, last = write->use.last_page + 1;
	uint64_t unused = last < map_pages ? map_pages - last : 0, reusable;
	int rc;

	/* Pages at the end of the file that no one has ever had are room for sure. */
	if (unused >= need)
		return 0;
	rc = free_pages(write->store, need - unused, &reusable);
	if (rc != 0)
		return rc;
	if (reusable + unused >= need) {
		atomic_store(&h->reusable_pages, reusable - (reusable < pages + TREE_PAGES ? reusable : pages + TREE_PAGES));
		return 0;
	}
	ld_reason_set(atomic_load(&h->pinned_since_ms) ? LARDER_REASON_PINNED : LARDER_REASON_FULL);
	return LARDER_E_FULL;
}
