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

enum { OUTBOX_MAX = 200000000 };

/* ---- accounts ---- */

struct sum {
	struct ld_check *check;
	const char *tenant;
	size_t len;
	struct ld_account_row row;     /* what it ought to be */
	struct ld_account_row was;
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

/* Sum and account of a tenant. */
static int look_at_account(struct ld_store *store, MDB_txn *txn, void *ctx)
{
	static const unsigned char lowest[LARDER_DIGEST_SIZE];
	struct sum *sum = ctx;
	struct ld_walk walk = { .check = sum->check, .see = see_cost, .ctx = sum };
	int rc;

	memset(&sum->row, 0, sizeof(sum->row));
	walk.place_len = ld_entry_key(sum->tenant, lowest, walk.place);
	rc = ld_walk_rows(&walk, txn, INT32_MAX);
	if (rc < 0)
		return rc;
	walk = (struct ld_walk){ .check = sum->check, .table = LD_WALK_OUTBOX, .see = see_pending, .ctx = sum };
	walk.place_len = ld_entry_key(sum->tenant, lowest, walk.place);
	rc = ld_walk_rows(&walk, txn, INT32_MAX);
	if (rc < 0)
		return rc;
	rc = ld_account_read(&store->env, txn, sum->tenant, sum->len, &sum->was);
	sum->malformed = rc == LARDER_E_CORRUPT;
	return rc < 0 && !sum->malformed ? rc : sum->malformed || memcmp(&sum->was, &sum->row, sizeof(sum->was)) != 0;
}

/* The commit writes the account's mirror in the segment, too. */
static int touch_account(struct ld_write *write, const void *ctx)
{
	const struct sum *sum = ctx;

	return ld_write_account(write, sum->tenant, sum->len, 0, 0) == 0 ? 0 : LARDER_E_BUSY;
}

/* LARDER_E_CORRUPT is of the tree: an account that is no row now, and was one in the snapshot, is for the next count to see. */
static int change_account(struct ld_write *write, const void *ctx)
{
	const struct sum *sum = ctx;
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

/* A writer that was killed after its commit has left the mirror as it was, and one that is too high has the tenant refused for its quota, with nobody to
 * correct it. A writer that is between the two makes it look so as well, and no harm is done. */
static int is_mirror_off(struct ld_store *store, const struct sum *sum)
{
	const struct ld_tenant_row *row = ld_tenant_named(&store->seg, sum->tenant);

	return row != store->seg.tenants.rows && (atomic_load(&row->entries) != sum->was.entries || atomic_load(&row->bytes) != sum->was.bytes);
}

/* The account is right, what the segment has of it is not. Whatever other counts have been put right meanwhile. */
static int mend_mirror(struct ld_store *store, struct sum *sum)
{
	const struct ld_counting counting = { look_at_account, touch_account, sum };

	return ld_mend_after(store, &counting, UINT64_MAX);
}

static int check_account(struct ld_check *check, const char *tenant)
{
	struct ld_store *store = check->store;
	struct sum sum = { .check = check, .tenant = tenant, .len = strlen(tenant) };
	const struct ld_counting counting = { look_at_account, change_account, &sum };
	int64_t now_ms;
	int mended, rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return LARDER_E_BUSY;
	rc = ld_mend_counts(store, &counting, check->repair, &mended);
	if ((rc == 0 || mended) && check->repair && is_mirror_off(store, &sum) && mend_mirror(store, &sum) == LARDER_E_CORRUPT)
		rc = LARDER_E_CORRUPT;
	ld_leave(store);
	return rc == 1 ? ld_check_report(check, "account of the tenant does not add up", tenant, NULL, mended) : rc;
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
};

static uint64_t enqueued_by(const struct ld_outbox_counts *counts)
{
	return counts->acknowledged + counts->failed + counts->dropped + counts->coalesced + counts->pending;
}

/* Do the counts add up, and is so much in the table? */
static int look_at_outbox(struct ld_store *store, MDB_txn *txn, void *ctx)
{
	const struct ld_env *env = &store->env;
	struct outbox_sum *sum = ctx;
	struct ld_pending row;
	MDB_val key, data;
	MDB_cursor *cursor;
	int rc = ld_outbox_read_counts(env, txn, &sum->was);

	if (rc != 0)
		return rc;
	sum->pending = sum->pending_b = 0;
	rc = mdb_cursor_open(txn, env->outbox, &cursor);
	if (rc != 0)
		return ld_env_error(rc);
	while ((rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0 && sum->pending < OUTBOX_MAX) {
		if (ld_pending_decode(&data, &row) != 0)
			break;
		sum->pending++;
		sum->pending_b += row.bytes;
	}
	mdb_cursor_close(cursor);
	if (rc != MDB_NOTFOUND)
		return rc == 0 ? LARDER_E_CORRUPT : ld_env_error(rc);
	return sum->was.pending != sum->pending || sum->was.pending_b != sum->pending_b ||
	    sum->was.enqueued != enqueued_by(&sum->was);
}

static int change_outbox(struct ld_write *write, const void *ctx)
{
	const struct outbox_sum *sum = ctx;
	struct ld_outbox_counts *counts = &write->outbox;
	int rc = ld_outbox_use(write);

	if (rc != 0)
		return rc;
	counts->pending = ld_mend_count(counts->pending, sum->was.pending, sum->pending);
	counts->pending_b = ld_mend_count(counts->pending_b, sum->was.pending_b, sum->pending_b);
	counts->enqueued = enqueued_by(counts);
	return 0;
}

static int check_outbox(struct ld_check *check)
{
	struct ld_store *store = check->store;
	struct outbox_sum sum;
	const struct ld_counting counting = { look_at_outbox, change_outbox, &sum };
	int64_t now_ms;
	int mended, rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return LARDER_E_BUSY;
	rc = ld_mend_counts(store, &counting, check->repair, &mended);
	ld_leave(store);
	return rc == 1 ? ld_check_report(check, "counts of the outbox do not add up", NULL, NULL, mended) : rc;
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
