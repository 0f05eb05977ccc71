/* SPDX-License-Identifier: MIT */
/*
 * The part of the check that adds up: the accounts of tenants, what "not found" entries take, the counts of the outbox. Called by l1/check.c, after
 * it has walked the entries; it must never hold the writer gate while it counts.
 *
 * Each is counted in one snapshot, for a sum over slices would be out of date, and with no gate held; how it is put right under the writer gate is
 * told in l1/mend.c.
 */
#include "l1/check.h"

#include <string.h>

#include "base/errors.h"
#include "base/fault.h"

enum { OUTBOX_MAX = 200000000 };

/* ---- accounts ---- */

struct sum {
	const char *tenant;
	size_t len;
	struct ld_account_row row;     /* what it ought to be */
	struct ld_account_row was;
	uint64_t snapshot;
	int malformed;                 /* the account is no row of ours: nobody can change it, nor an entry of the tenant's */
};

static int see_cost(struct ld_walk *walk, const MDB_val *key, const MDB_val *row)
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

static int see_pending(struct ld_walk *walk, const MDB_val *key, const MDB_val *row)
{
	struct sum *sum = walk->ctx;

	(void)row;
	if (ld_entry_key_tenant(key->mv_data, key->mv_size) != sum->len || memcmp(key->mv_data, sum->tenant, sum->len) != 0)
		return 2;
	sum->row.pending++;
	return 0;
}

/* Sum and account of a tenant in one snapshot. Returns 1 if they differ, 0, or an error. */
static int differs(struct ld_check *check, MDB_txn *txn, struct sum *sum)
{
	static const unsigned char lowest[LARDER_DIGEST_SIZE];
	struct ld_walk walk = { .check = check, .see = see_cost, .ctx = sum };
	int rc;

	memset(&sum->row, 0, sizeof(sum->row));
	walk.place_len = ld_entry_key(sum->tenant, lowest, walk.place);
	rc = ld_walk_rows(&walk, txn, INT32_MAX);
	if (rc < 0)
		return rc;
	walk = (struct ld_walk){ .check = check, .table = LD_WALK_OUTBOX, .see = see_pending, .ctx = sum };
	walk.place_len = ld_entry_key(sum->tenant, lowest, walk.place);
	rc = ld_walk_rows(&walk, txn, INT32_MAX);
	if (rc < 0)
		return rc;
	rc = ld_account_read(&check->store->env, txn, sum->tenant, sum->len, &sum->was);
	sum->snapshot = mdb_txn_id(txn);
	sum->malformed = rc == LARDER_E_CORRUPT;
	return rc < 0 && !sum->malformed ? rc : sum->malformed || memcmp(&sum->was, &sum->row, sizeof(sum->was)) != 0;
}

static int sum_up(struct ld_check *check, struct sum *sum)
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

/* The commit writes the account's mirror in the segment, too. */
static int touch_account(struct ld_write *write, const struct sum *sum)
{
	return ld_write_account(write, sum->tenant, sum->len, 0, 0) == 0 ? 0 : LARDER_E_BUSY;
}

/* LARDER_E_CORRUPT is of the tree: an account that is no row now, and was one in the snapshot, is for the next count to see. */
static int change_account(struct ld_write *write, const struct sum *sum)
{
	const struct ld_env *env = &write->store->env;
	struct ld_account_row row;
	int rc = ld_account_read(env, write->txn, sum->tenant, sum->len, &row);

	if (rc == LARDER_E_CORRUPT && sum->malformed) {
		row = sum->row;
	} else if (rc == 0 && !sum->malformed) {
		row.entries = ld_mend_count(row.entries, sum->was.entries, sum->row.entries);
		row.bytes = ld_mend_count(row.bytes, sum->was.bytes, sum->row.bytes);
		row.pending = ld_mend_count(row.pending, sum->was.pending, sum->row.pending);
	} else {
		return rc == 0 || rc == LARDER_E_CORRUPT ? LARDER_E_BUSY : rc;
	}
	rc = ld_account_write(env, write->txn, sum->tenant, sum->len, &row);
	return rc == 0 ? touch_account(write, sum) : rc;
}

/* In a transaction of its own. mirror_only: the account is right, what the segment has of it is not. */
static int put_right(struct ld_store *store, const struct sum *sum, int mirror_only)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_write write;
	int rc = ld_gate_in(store, store->config.wait_ms);

	if (rc != 0)
		return rc;
	rc = ld_write_begin(&write, store, accounts);
	if (rc == 0) {
		rc = mirror_only ? touch_account(&write, sum) : ld_mend_begin(&write, sum->snapshot);
		if (rc == 0 && !mirror_only)
			rc = change_account(&write, sum);
		rc = ld_mend_commit(&write, rc);
	}
	ld_gate_out(store);
	return rc;
}

/* A writer that was killed after its commit has left the mirror as it was, and one that is too high has the tenant refused for its quota, with nobody to
 * correct it. A writer that is between the two makes it look so as well, and no harm is done. */
static int is_mirror_off(struct ld_store *store, const struct sum *sum)
{
	const struct ld_tenant_row *row = ld_tenant_named(&store->seg, sum->tenant);

	return row != store->seg.tenants.rows && (atomic_load(&row->entries) != sum->was.entries || atomic_load(&row->bytes) != sum->was.bytes);
}

static int check_account(struct ld_check *check, const char *tenant)
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
		after = put_right(store, &sum, 0) == LARDER_E_CORRUPT ? LARDER_E_CORRUPT : sum_up(check, &sum);
	}
	if (after == 0 && check->repair && is_mirror_off(store, &sum) && put_right(store, &sum, 1) == LARDER_E_CORRUPT)
		after = LARDER_E_CORRUPT;
	ld_leave(store);
	if (after == LARDER_E_CORRUPT)
		return after;
	return rc == 1 ? ld_check_report(check, "account of the tenant does not add up", tenant, NULL, after == 0) : rc;
}

static int check_accounts(struct ld_check *check)
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

static int check_negative(struct ld_check *check)
{
	int mended, rc = ld_negative_check(check->store, check->repair, &mended);

	return rc == 1 ? ld_check_report(check, "count of \"not found\" entries does not add up", NULL, NULL, mended) : rc;
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
static int outbox_differs(struct ld_check *check, MDB_txn *txn, struct outbox_sum *ret_sum)
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

static int sum_outbox(struct ld_check *check, struct outbox_sum *ret_sum)
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

static int check_outbox(struct ld_check *check)
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
		after = put_outbox_right(store, &sum) == LARDER_E_CORRUPT ? LARDER_E_CORRUPT : sum_outbox(check, &sum);
	}
	ld_leave(store);
	if (after == LARDER_E_CORRUPT)
		return after;
	return rc == 1 ? ld_check_report(check, "counts of the outbox do not add up", NULL, NULL, after == 0) : rc;
}

int ld_check_counts(struct ld_check *check)
{
	int rc = check_accounts(check);

	if (rc == 0)
		rc = check_negative(check);
	if (rc == 0)
		rc = check_outbox(check);
	return rc;
}
