/* SPDX-License-Identifier: MIT */
/*
 * One key, looked at for an operator. Called by cache/explain.c. It must leave no trace: it counts nothing, notes no access, makes no row for a tenant
 * that has none, and does not mend what it finds damaged; the next get does all that.
 */
#include "l1/inside.h"

#include <string.h>

#include "base/clock.h"
#include "base/errors.h"

_Static_assert(sizeof(((struct ld_store_explained *)NULL)->etag) == LD_ETAG_MAX + 1, "room for the longest");

/* The tenant's row if it has one; else the shared one, which is its own where the table is full, and otherwise hides nothing of its. */
static struct ld_tenant_row *row_of(const struct ld_seg *seg, const struct ld_key *key, int *ret_there)
{
	const struct ld_tenants *tenants = &seg->tenants;
	uint32_t used = ld_tenants_used(tenants);

	for (uint32_t i = 1; i < used; i++) {
		struct ld_tenant_row *row = &tenants->rows[i];

		/* acquire: pairs with the release of whoever names the row */
		if (atomic_load_explicit(&row->ready, memory_order_acquire) && strcmp(row->name, key->tenant) == 0) {
			*ret_there = 1;
			return row;
		}
	}
	*ret_there = used >= tenants->max;
	return &tenants->rows[0];
}

/* entry NULL: there is none, and no tags. */
static void explain_hiding(const struct ld_seg *seg, const struct ld_key *key, const struct ld_entry *entry, struct ld_store_explained *to,
    struct ld_hidden *ret_hidden)
{
	uint64_t tags[LD_TAGS_MAX];
	const struct ld_l2_given given = { .tags = tags, .tag_count = entry ? entry->head.tag_count : 0 };
	int there;
	struct ld_tenant_row *row = row_of(seg, key, &there);

	for (unsigned i = 0; i < given.tag_count; i++) {
		uint64_t cleared;

		tags[i] = ld_entry_tag(entry, i);
		cleared = ld_tag_cleared(seg, tags[i]);
		if (cleared <= to->tag_cleared)
			continue;
		to->tag = tags[i];
		to->tag_cleared = cleared;
	}
	to->tag_count = given.tag_count;
	to->cleared_all = atomic_load_explicit(&seg->h->clear_seq, memory_order_acquire);
	to->cleared_tenant = there ? atomic_load_explicit(&row->clear_seq, memory_order_acquire) : 0;
	to->cleared_space = ld_scope_seq(seg->scopes, key->scope_tag);
	to->l2_invalid_ms = (int64_t)ld_invalid_before(seg, row, key, &given);
	*ret_hidden = entry ? ld_entry_hidden(seg, row, key->scope_tag, key->digest, entry) : ld_hidden_of(seg, row, key->scope_tag, key->digest);
	to->barrier = ret_hidden->barrier;
}

static void explain_entry(const struct ld_store *store, const struct ld_key *key, const MDB_val *at, const MDB_val *data,
    struct ld_store_explained *to)
{
	struct ld_hidden hidden;
	struct ld_entry entry;

	if (ld_entry_decode(data->mv_data, data->mv_size, &entry) != 0 || ld_entry_verify(data->mv_data, data->mv_size, key->digest) != 0) {
		explain_hiding(&store->seg, key, NULL, to, &hidden);
		to->state = LARDER_IS_DAMAGED;
		return;
	}
	explain_hiding(&store->seg, key, &entry, to, &hidden);
	to->state = ld_entry_state(&entry.head, &hidden, to->now_ms, &to->wall_ms);
	to->absent = entry.head.bits & LD_ENTRY_ABSENT ? 1 : 0;
	to->created_ms = entry.head.created_ms;
	to->fresh_until_ms = entry.head.fresh_until_ms;
	to->stale_until_ms = entry.head.stale_until_ms;
	to->dead_ms = entry.head.dead_ms;
	to->load_ms = entry.head.load_ms;
	to->hard_end_ms = entry.head.hard_end_ms;
	to->seq = entry.head.seq;
	to->value_len = entry.head.value_len;
	to->stored_b = ld_entry_cost(&entry.head, data->mv_size, at->mv_size);
	to->flags = entry.head.flags;
	to->hits = ld_sketch_estimate(&store->seg.sketch, key->digest);
	memcpy(to->etag, entry.etag, entry.head.etag_len);
}

static int failed(int rc)
{
	ld_reason_set(rc == LARDER_E_CORRUPT ? LARDER_REASON_CORRUPT : LARDER_REASON_DISK);
	return LARDER_UNAVAILABLE;
}

static int explain(const struct ld_store *store, MDB_txn *txn, const struct ld_key *key, struct ld_store_explained *to)
{
	unsigned char bytes[LD_KEY_MAX];
	MDB_val at = { ld_entry_key(key->tenant, key->digest, bytes), bytes }, data;
	struct ld_pending pending;
	struct ld_hidden hidden;
	int rc = mdb_get(txn, store->env.entries, &at, &data);

	if (rc != 0 && rc != MDB_NOTFOUND)
		return failed(ld_env_error(rc));
	if (rc == 0)
		explain_entry(store, key, &at, &data, to);
	else
		explain_hiding(&store->seg, key, NULL, to, &hidden);
	rc = ld_pending_find(store, txn, &at, &pending);
	if (rc != 0 && rc != LARDER_MISS)
		return failed(rc);
	to->pending = rc == 0 ? pending.op : 0;
	to->pending_since_ms = rc == 0 ? pending.enqueued_ms : 0;
	return 0;
}

int ld_store_explain(struct ld_store *store, const struct ld_key *key, struct ld_store_explained *ret_explained)
{
	struct ld_reading reading;
	int64_t now_ms;
	int rc = ld_reading_begin(store, store->config.wait_ms, &now_ms, &reading);

	if (!reading.inside)
		return rc;
	memset(ret_explained, 0, sizeof(*ret_explained));
	ret_explained->off = (int)atomic_load_explicit(&store->seg.h->off, memory_order_relaxed);
	ret_explained->now_ms = now_ms;
	ret_explained->wall_ms = ld_clock_wall_ms();
	if (rc == 0)
		rc = explain(store, reading.txn, key, ret_explained);
	ld_reading_end(store, &reading);
	return rc;
}
