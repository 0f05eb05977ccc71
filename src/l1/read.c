/* SPDX-License-Identifier: MIT */
/*
 * Look-ups. No lock, no write to LMDB: renew a pooled read transaction, find the row, judge it (l1/state.c), copy out (l1/value.c), reset. The access
 * is noted in the segment's sketch. Called by cache/ through l1/store.h; must never wait for a writer.
 *
 * Order against those who invalidate: a delete, set or clear that has completed before this call began has either committed before our
 * snapshot is taken, or raised a word of the segment before we read it; both are looked at, so its old value is never returned.
 *
 * Killed at any line: the reader slot stays taken until somebody clears dead readers; nothing else is shared. Stopped in the copy: its
 * snapshot pins pages until it goes on (tests stop one here).
 */
#include "l1/inside.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/mem.h"

int ld_read_begin(struct ld_store *store, int64_t budget_ms, MDB_txn **ret_txn)
{
	const struct ld_env_gate gate = { &store->seg, budget_ms };
	int rc = ld_env_read_begin(&store->env, &gate, ret_txn);

	if (rc != LARDER_E_CORRUPT)
		return rc;
	ld_reason_set(LARDER_REASON_CORRUPT);
	return LARDER_UNAVAILABLE;
}

/* A quota may change while handles are open. Row 0 is shared. Processes that know different ones, for a moment, write in turns. */
static void set_quota(const struct ld_tenant_row *rows, struct ld_tenant_row *row, const struct ld_key *key)
{
	if (row != rows && !key->keep_quota && atomic_load_explicit(&row->quota_b, memory_order_relaxed) != key->quota_b)
		atomic_store_explicit(&row->quota_b, key->quota_b, memory_order_relaxed);
}

struct ld_tenant_row *ld_tenant_of(struct ld_store *store, const struct ld_key *key)
{
	uint64_t hint = key->row_hint ? atomic_load_explicit(key->row_hint, memory_order_relaxed) : 0;
	uint32_t serial = atomic_load_explicit(&store->serial, memory_order_relaxed);
	struct ld_tenant_row *rows = store->seg.tenants.rows, *row;

	if (hint >> 32 == serial && hint != 0) {
		row = &rows[(uint32_t)hint];
		set_quota(rows, row, key);
		return row;
	}
	row = ld_tenants_row(&store->seg.tenants, key->tenant, key->tenant_tag);
	set_quota(rows, row, key);
	if (key->row_hint)
		atomic_store_explicit(key->row_hint, (uint64_t)serial << 32 | (uint64_t)(row - rows), memory_order_relaxed);
	return row;
}

static int unavailable(enum larder_reason reason)
{
	ld_reason_set(reason);
	return LARDER_UNAVAILABLE;
}

static int copy_out(struct ld_store *store, MDB_txn *txn, const struct ld_look *look, const struct ld_entry *entry,
    struct ld_found *ret_found)
{
	size_t len = entry->head.value_len;
	unsigned char *data = look->buffer;

	ret_found->len = len;
	if (data && len > look->buffer_size)
		return LARDER_E_SPACE;
	if (!data) {
		data = ld_malloc(len ? len : 1);
		if (!data)
			return unavailable(LARDER_REASON_NOMEM);
	}
	if (ld_value_copy(&store->env, txn, entry, data) != 0) {
		if (!look->buffer)
			free(data);
		return unavailable(LARDER_REASON_CORRUPT);
	}
	ret_found->data = data;
	return 0;
}

static void tell_times(const struct ld_entry_head *head, int64_t now_ms, int64_t wall_ms, struct ld_found *ret_found)
{
	ret_found->created_ms = head->created_ms;
	ret_found->fresh_until_ms = head->fresh_until_ms;
	ret_found->stale_until_ms = head->stale_until_ms;
	ret_found->dead_ms = head->dead_ms;
	ret_found->load_ms = head->load_ms;
	ret_found->hard_end_ms = head->hard_end_ms;
	ret_found->flags = head->flags;
	ret_found->now_ms = now_ms;
	ret_found->wall_ms = wall_ms;
}

/* Nothing was found: has the key a write that L2 has not been told? Returns what was found, or LARDER_E_CORRUPT. */
static int note_pending(struct ld_store *store, MDB_txn *txn, const MDB_val *key, int result, struct ld_found *ret_found)
{
	struct ld_pending row;
	int rc = ld_pending_find(store, txn, key, &row);

	ret_found->pending = rc == 0;
	if (rc == LARDER_E_CORRUPT)
		return rc;
	return rc == 0 || rc == LARDER_MISS ? result : unavailable(LARDER_REASON_DISK);
}

/* What a refresh needs to know of the value that it is to replace. */
static void tell_kept(const struct ld_look *look, const struct ld_entry *entry, struct ld_found *ret_found)
{
	if (look->etag) {
		memcpy(look->etag, entry->etag, entry->head.etag_len);
		look->etag[entry->head.etag_len] = '\0';
	}
	if (look->tags) {
		memcpy(look->tags, entry->tags, sizeof(*look->tags) * entry->head.tag_count);
		ret_found->tag_count = entry->head.tag_count;
	}
}

/* Is an entry in this state what the caller asks for? */
static int is_wanted(uint32_t state, const struct ld_entry_head *head, const struct ld_look *look)
{
	if (state == LARDER_IS_FRESH)
		return 1;
	if (head->bits & LD_ENTRY_ABSENT)
		return 0;
	return state == LARDER_IS_STALE || (state == LARDER_IS_ERROR_WINDOW && look->note & (LD_NOTE_ERROR_WINDOW | LD_NOTE_SOURCE_FAILED));
}

/* The entry is there and wanted: what it is, and its value. As find(). */
static int give(struct ld_store *store, MDB_txn *txn, const MDB_val *key, const struct ld_look *look, const struct ld_entry *entry, uint32_t state,
    struct ld_found *ret_found)
{
	int error_only = state == LARDER_IS_ERROR_WINDOW && !(look->note & LD_NOTE_SOURCE_FAILED), rc = 0;

	/* A value that is not fresh may be refreshed: not while L2 has not been told the last write. */
	if (state != LARDER_IS_FRESH && look->note & LD_NOTE_SEEN) {
		rc = note_pending(store, txn, key, LARDER_STALE, ret_found);
		if (rc != LARDER_STALE)
			return rc;
	}
	if (look->want_data) {
		rc = copy_out(store, txn, look, entry, ret_found);
		/* Perhaps nobody will be given it: how long it is does not matter yet. */
		if (rc == LARDER_E_SPACE && error_only)
			return LARDER_MISS;
		if (rc != 0)
			return rc;
	}
	ret_found->error_only = error_only;
	if (state != LARDER_IS_FRESH || look->note & LD_NOTE_EARLY)
		tell_kept(look, entry, ret_found);
	return state == LARDER_IS_FRESH ? 0 : LARDER_STALE;
}

/* One look-up in an open snapshot. LARDER_E_CORRUPT: LMDB's own structure is damaged, not just this entry. */
static int find(struct ld_store *store, MDB_txn *txn, const struct ld_key *key, const struct ld_tenant_row *row, int64_t now_ms,
    const struct ld_look *look, struct ld_found *ret_found)
{
	unsigned char bytes[LD_KEY_MAX];
	MDB_val at = { ld_entry_key(key->tenant, key->digest, bytes), bytes }, data;
	struct ld_hidden hidden;
	struct ld_entry entry;
	int64_t wall_ms = 0;
	uint32_t state;
	int rc;

	/* Both lie anywhere in their tables: they come near while the tree is searched. */
	__builtin_prefetch(ld_barrier_of(store->seg.barriers, key->digest), 0);
	if (look->note & LD_NOTE_ACCESS)
		ld_sketch_prefetch(&store->seg.sketch, key->digest);
	rc = mdb_get(txn, store->env.entries, &at, &data);
	if (rc == MDB_NOTFOUND)
		return note_pending(store, txn, &at, LARDER_MISS, ret_found);
	if (rc != 0)
		return ld_env_error(rc) == LARDER_E_CORRUPT ? LARDER_E_CORRUPT : unavailable(LARDER_REASON_DISK);
	if (ld_entry_decode(data.mv_data, data.mv_size, &entry) != 0 || ld_entry_verify(data.mv_data, data.mv_size, key->digest) != 0)
		return unavailable(LARDER_REASON_CORRUPT);
	hidden = ld_entry_hidden(&store->seg, row, key->scope_tag, key->digest, &entry);
	state = ld_entry_state(&entry.head, &hidden, now_ms, &wall_ms);
	if (!is_wanted(state, &entry.head, look))
		return note_pending(store, txn, &at, LARDER_MISS, ret_found);
	tell_times(&entry.head, now_ms, wall_ms, ret_found);
	if (look->note & LD_NOTE_ACCESS)
		ld_sketch_bump(&store->seg.sketch, key->digest);
	return entry.head.bits & LD_ENTRY_ABSENT ? LARDER_ABSENT : give(store, txn, &at, look, &entry, state, ret_found);
}

static enum ld_tenant_counter counter_of(int result)
{
	switch (result) {
	case 0:
		return LD_TC_hits;
	case LARDER_STALE:
		return LD_TC_stale_hits;
	case LARDER_ABSENT:
		return LD_TC_absent_hits;
	case LARDER_MISS:
		return LD_TC_misses;
	case LARDER_UNAVAILABLE:
		return LD_TC_unavailable;
	default:
		return LD_TC_get_errors;
	}
}

/* A value in its error window is a miss, until its source is found to fail. */
static void count(struct ld_store *store, struct ld_tenant_row *row, int result, const struct ld_found *found)
{
	unsigned stripe = ld_seg_stripe(&store->seg);

	if (result == LARDER_STALE && found->error_only)
		result = LARDER_MISS;
	ld_tenant_count(row, stripe, counter_of(result), 1);
	if (result != LARDER_UNAVAILABLE)
		return;
	if (larder_reason() >= LARDER_REASON_ATTACH && larder_reason() <= LARDER_REASON_NOMEM)
		ld_host_count(&store->seg, LD_HC_unavailable_attach + (larder_reason() - LARDER_REASON_ATTACH), 1);
	if (larder_reason() == LARDER_REASON_CORRUPT)
		ld_tenant_count(row, stripe, LD_TC_corrupt, 1);
}

/* Damage in LMDB's own structure is for a new store; to the caller it is as a damaged entry. */
static int hide_damage(int rc, int *damaged)
{
	if (rc != LARDER_E_CORRUPT)
		return rc;
	*damaged = 1;
	return unavailable(LARDER_REASON_CORRUPT);
}

static void leave_read(struct ld_store *store, const struct ld_reading *reading, int damaged)
{
	uint32_t generation = store->env.generation;

	ld_reading_end(store, reading);
	if (damaged)
		ld_store_condemn(store, generation, "damaged", 1);
}

/* What has ended by now, in the words of the present store file; then a snapshot that has all of it. 0 or LARDER_UNAVAILABLE. */
static int see(struct ld_store *store, struct ld_reading *reading, struct ld_seen *ret_seen)
{
	uint64_t seq = ld_finished_seq(&store->seg), base = store->env.base_seq;

	ret_seen->seq = seq > base ? seq : base;
	ret_seen->segment = store->seg.h->made_ms;
	return ld_reading_again(reading);
}

/* Nothing fresh was found, and somebody wants to fetch it: look once more, in a snapshot that is newer than what is noted. */
static int look_again(struct ld_store *store, struct ld_reading *reading, const struct ld_key *key, const struct ld_tenant_row *row, int64_t now_ms,
    const struct ld_look *look, int was, struct ld_found *found)
{
	struct ld_look again = *look;
	int rc;

	if (was != LARDER_MISS && look->want_data && !look->buffer)
		free(found->data);
	found->data = NULL;
	found->error_only = 0;
	rc = see(store, reading, &found->seen);
	if (rc != 0)
		return rc;
	again.note &= ~LD_NOTE_ACCESS;
	return find(store, reading->txn, key, row, now_ms, &again, found);
}

/* We are inside and cannot look: what may be pending is taken as pending. */
static void doubt(const struct ld_store *store, int rc, struct ld_found *found)
{
	if (rc == LARDER_UNAVAILABLE)
		found->pending = atomic_load(&store->seg.h->outbox_any) != 0;
}

/* The same, where we could not get in: whoever cannot look must not ask L2 for what it may not have been told yet. Without a segment nothing is known. */
static void look_outside(struct ld_seg *seg, const void *ctx)
{
	int *const *any = ctx;

	**any = atomic_load(&seg->h->outbox_any) != 0;
}

static int doubt_outside(struct ld_store *store)
{
	int pending = 0, *any = &pending;

	ld_from_outside(store, look_outside, &any);
	return pending;
}

int ld_store_get(struct ld_store *store, const struct ld_key *key, const struct ld_way *way, const struct ld_look *look,
    struct ld_found *ret_found)
{
	struct ld_reading reading;
	int64_t now_ms;
	struct ld_tenant_row *row;
	int rc = ld_reading_begin(store, ld_budget(store, way), &now_ms, &reading), damaged = 0;

	ret_found->pending = ret_found->error_only = 0;
	ret_found->tag_count = 0;
	ret_found->seen = (struct ld_seen){ 0, 0 };
	if (!reading.inside) {
		if (look->note & LD_NOTE_SEEN)
			ret_found->pending = doubt_outside(store);
		return rc;
	}
	row = ld_tenant_of(store, key);
	if (ld_is_off(store, way)) {
		if (!(look->note & LD_NOTE_UNCOUNTED))
			ld_tenant_count(row, ld_seg_stripe(&store->seg), LD_TC_bypassed, 1);
		ret_found->bypassed = 1;
		rc = LARDER_MISS;
	} else {
		if (rc == 0)
			rc = find(store, reading.txn, key, row, now_ms, look, ret_found);
		if (look->note & LD_NOTE_SEEN && (rc == LARDER_MISS || rc == LARDER_STALE || (rc == 0 && look->note & LD_NOTE_EARLY)))
			rc = look_again(store, &reading, key, row, now_ms, look, rc, ret_found);
		rc = hide_damage(rc, &damaged);
		doubt(store, rc, ret_found);
		if (!(look->note & LD_NOTE_UNCOUNTED))
			count(store, row, rc, ret_found);
	}
	leave_read(store, &reading, damaged);
	return rc;
}

static void all_results(int *results, size_t count, int rc)
{
	for (size_t i = 0; i < count; i++)
		results[i] = rc;
}

void ld_store_get_many(struct ld_store *store, const struct ld_key *keys, size_t count_of, const struct ld_way *way,
    const struct ld_look *look, struct ld_found *ret_found, int *ret_results)
{
	struct ld_seen seen = { 0, 0 };
	struct ld_reading reading;
	int64_t now_ms;
	int rc = ld_reading_begin(store, ld_budget(store, way), &now_ms, &reading), off, damaged = 0;

	for (size_t i = 0; i < count_of; i++) {
		ret_found[i].pending = ret_found[i].error_only = 0;
		ret_found[i].tag_count = 0;
		ret_found[i].seen = seen;
	}
	if (!reading.inside) {
		int pending = look->note & LD_NOTE_SEEN ? doubt_outside(store) : 0;

		for (size_t i = 0; i < count_of; i++)
			ret_found[i].pending = pending;
		all_results(ret_results, count_of, rc);
		return;
	}
	off = ld_is_off(store, way);
	if (rc == 0 && !off && look->note & LD_NOTE_SEEN)
		rc = see(store, &reading, &seen);
	rc = off ? LARDER_MISS : rc;
	for (size_t i = 0; i < count_of; i++) {
		struct ld_tenant_row *row = ld_tenant_of(store, &keys[i]);

		ret_found[i].seen = seen;
		ret_results[i] = rc != 0 ? rc : hide_damage(find(store, reading.txn, &keys[i], row, now_ms, look, &ret_found[i]), &damaged);
		ret_found[i].bypassed = off;
		if (off)
			ld_tenant_count(row, ld_seg_stripe(&store->seg), LD_TC_bypassed, 1);
		else
			count(store, row, ret_results[i], &ret_found[i]);
		doubt(store, ret_results[i], &ret_found[i]);
	}
	leave_read(store, &reading, damaged);
}

void ld_store_count(struct ld_store *store, const struct ld_key *key, enum ld_tenant_counter which)
{
	int64_t now_ms;

	if (ld_enter(store, store->config.wait_ms, &now_ms) != 0)
		return;
	ld_tenant_count(ld_tenant_of(store, key), ld_seg_stripe(&store->seg), which, 1);
	ld_leave(store);
}
