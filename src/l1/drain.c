/* SPDX-License-Identifier: MIT */
/*
 * The drainer's side of the outbox: rows are taken out as they must be told, and settled when L2 has answered; one process of the host has the lock. Called by
 * the drainer in l2/, and by tools. Nothing is held between taking and settling.
 *
 * A row that is taken, T, and what may happen before it is settled, S:
 *
 *   the key is written again       the row has another sequence: S leaves it alone, and the newer write is told after it, by the same drainer.
 *   a set's entry is gone          T was a set, the next taking is a delete, with another Idempotency-Key: L2 must not take it for the same write.
 *   the drainer is killed          nothing is settled: its successor tells the row again with the same key, after the last request has ended.
 *   killed in S                    all of the transaction or nothing: counts and rows are one.
 *
 * The lock, with D the drainer and E its successor:
 *
 *   D is stopped                   E finds D's process stopped and the time of its last request over, and takes the gate from D's exact number. If D has gone on
 *                                  since E looked, it is as if it had been killed: see the next row. When D goes on later it finds the gate not its own
 *                                  before its next request, and the request that it had begun is over: it has a time, on the same clock, after which
 *                                  nothing of it is sent (client.h, until_ms), and which is looked at when the connection stands and the request is sent next
 *                                  (l2/http_flight.c). What is left is the way from there to the system call: stopped just there, for longer than drain_until_ms, and with a newer write of the very key told by E meanwhile, D leaves
 *                                  an older value in L2, until that ends there or the key is written again. No client can close that; some microseconds
 *                                  of each request.
 *   D's request is not answered    D gives it up, L2 may not: D notes the key, with the time that it wrote for the request, before it sends anything else of it or
 *                                  leaves the gate. Whoever has the gate looks there before each request (shm/unanswered.h). Where there is no room for
 *                                  the key, D sends nothing at all for so long, and leaves drain_until_ms as it is.
 *   killed before the note         drain_until_ms stands: as if the request were on its way.
 *   D is slow, frozen by a cgroup  nobody takes it, for it may go on at any moment: its process is not stopped.
 *   D is killed, or has let go of  its number is dead, E takes the gate over. D wrote drain_until_ms before each request, and then looked whether the gate is
 *   the segment, a request is on   still its own: either E reads the time after it has the gate, and waits for it, or D sees that the gate is not
 *   its way                        its own and sends nothing.
 *   killed between gate and        the next one reads drain_until_ms again.
 *   drain_from_ms
 *   the segment is replaced        a new one begins with a free gate: it also begins with an invalidation time, but a request of the old drainer may overtake
 *                                  what the new one sends. Nobody is to remove the segment of a running host.
 */
#include "l1/inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/fault.h"
#include "base/mem.h"

/* ---- a row as it must be told ---- */

/* What a look at rows needs. */
struct looking {
	struct ld_store *store;
	MDB_txn *txn;
	int64_t now_ms, wall_ms;
	int want_values;
};

/* In L2, from the write on: its own there, or what the entry has here. */
static int64_t ttl_of(const struct ld_entry_head *head, const struct ld_pending *row)
{
	return row->l2_ttl_ms > 0 ? row->l2_ttl_ms : head->fresh_until_ms - row->enqueued_ms;
}

/* The entry that a set tells of, if it is still what it was and fresh. 0, or LARDER_MISS. */
static int entry_of(struct looking *looking, const MDB_val *key, const struct ld_pending *row, const char *tenant, struct ld_entry *ret_entry)
{
	struct ld_store *store = looking->store;
	const unsigned char *digest = (const unsigned char *)key->mv_data + key->mv_size - LARDER_DIGEST_SIZE;
	char space[LARDER_SPACE_MAX + 1];
	struct ld_hidden hidden;
	MDB_val at = *key, data;

	if (row->op != LD_OUTBOX_SET || row->expires_ms <= looking->now_ms || mdb_get(looking->txn, store->env.entries, &at, &data) != 0)
		return LARDER_MISS;
	if (ld_entry_decode(data.mv_data, data.mv_size, ret_entry) != 0 || ld_entry_verify(data.mv_data, data.mv_size, digest) != 0 ||
	    ret_entry->head.seq != row->entry_seq || ret_entry->head.bits & LD_ENTRY_ABSENT)
		return LARDER_MISS;
	memcpy(space, ret_entry->space, ret_entry->head.space_len);
	space[ret_entry->head.space_len] = 0;
	hidden = ld_entry_hidden(&store->seg, ld_tenant_named(&store->seg, tenant), ld_store_tag(tenant, space), digest, ret_entry);
	if (ld_entry_state(&ret_entry->head, &hidden, looking->now_ms, &looking->wall_ms) != LARDER_IS_FRESH)
		return LARDER_MISS;
	return ttl_of(&ret_entry->head, row) > looking->now_ms - row->enqueued_ms ? 0 : LARDER_MISS;
}

static void tell_entry(const struct looking *looking, const struct ld_entry *entry, const struct ld_pending *row, struct ld_outbox_row *to)
{
	const struct ld_entry_head *head = &entry->head;

	to->len = head->value_len;
	to->ttl_ms = ttl_of(head, row);
	to->stale_ms = head->stale_until_ms - head->fresh_until_ms;
	to->error_ms = head->dead_ms - head->stale_until_ms;
	to->left_ms = to->ttl_ms - (looking->now_ms - row->enqueued_ms);
	to->hard_end_ms = head->hard_end_ms;
	to->flags = head->flags;
	to->tag_count = head->tag_count;
	for (unsigned i = 0; i < head->tag_count; i++)
		to->tags[i] = ld_entry_tag(entry, i);
}

static void tell_delete(struct ld_outbox_row *to, const struct ld_pending *row)
{
	to->op = LD_OUTBOX_DELETE;
	/* Of a set that may have been sent already: another write. */
	if (row->op == LD_OUTBOX_SET)
		to->idempotency[0] ^= 0xff;
}

/* 0; LARDER_E_NOMEM; LARDER_E_SPACE more than max_b; LARDER_E_CORRUPT. Unless 0 nothing is allocated. */
static int tell_row(struct looking *looking, const MDB_val *key, const MDB_val *data, size_t max_b, struct ld_outbox_row *to)
{
	size_t tenant_len = ld_entry_key_tenant(key->mv_data, key->mv_size);
	struct ld_pending row;
	struct ld_entry entry;

	if (tenant_len == 0 || ld_pending_decode(data, &row) != 0)
		return LARDER_E_CORRUPT;
	memset(to, 0, sizeof(*to));
	memcpy(to->tenant, key->mv_data, tenant_len);
	memcpy(to->digest, (const char *)key->mv_data + tenant_len + 1, LARDER_DIGEST_SIZE);
	/* Before the entry is looked at: see l2/drain.c. */
	to->barrier = atomic_load(ld_barrier_of(looking->store->seg.barriers, to->digest));
	memcpy(to->idempotency, row.idempotency, sizeof(to->idempotency));
	to->op = (enum ld_outbox_op)row.op;
	to->seq = row.seq;
	to->created_wall_ms = row.created_wall_ms;
	to->enqueued_ms = row.enqueued_ms;
	if (entry_of(looking, key, &row, to->tenant, &entry) != 0) {
		tell_delete(to, &row);
		return 0;
	}
	tell_entry(looking, &entry, &row, to);
	if (!looking->want_values)
		return 0;
	if (to->len > max_b)
		return LARDER_E_SPACE;
	to->value = ld_malloc(to->len ? to->len : 1);
	if (!to->value)
		return LARDER_E_NOMEM;
	if (ld_value_copy(&looking->store->env, looking->txn, &entry, to->value) != 0) {
		free(to->value);
		to->value = NULL;
		to->len = 0;
		tell_delete(to, &row);
	}
	return 0;
}

/* ---- a slice of rows ---- */

struct slice {
	struct ld_outbox_row *rows;
	size_t max, max_b, count;
	const char *tenant;            /* only of this one; NULL = all */
};

static int is_outside(const struct slice *slice, const MDB_val *key)
{
	size_t len = slice->tenant ? strlen(slice->tenant) : 0;

	return slice->tenant && (ld_entry_key_tenant(key->mv_data, key->mv_size) != len || memcmp(key->mv_data, slice->tenant, len) != 0);
}

/* From after the place on; MDB_NOTFOUND at the end. */
static int read_rows(struct looking *looking, struct ld_outbox_place *place, struct slice *slice, MDB_cursor *cursor)
{
	MDB_val key = { place->key_len, place->key }, data;
	size_t used_b = 0;
	int rc = mdb_cursor_get(cursor, &key, &data, place->key_len ? MDB_SET_RANGE : MDB_FIRST);

	if (rc == 0 && key.mv_size == place->key_len && memcmp(key.mv_data, place->key, key.mv_size) == 0)
		rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
	while (rc == 0 && slice->count < slice->max) {
		struct ld_outbox_row *to = &slice->rows[slice->count];

		if (is_outside(slice, &key))
			return MDB_NOTFOUND;
		/* A damaged tree may go round in circles. */
		if (key.mv_size > sizeof(place->key) || !ld_key_follows(looking->txn, looking->store->env.outbox, &key, place->key, place->key_len))
			return MDB_CORRUPTED;
		rc = tell_row(looking, &key, &data, slice->count ? slice->max_b - used_b : SIZE_MAX, to);
		if (rc != 0)
			return rc == LARDER_E_NOMEM && slice->count == 0 ? ENOMEM : rc == LARDER_E_CORRUPT ? MDB_CORRUPTED : 0;
		used_b += to->value ? to->len : 0;
		slice->count++;
		place->key_len = (uint32_t)key.mv_size;
		memcpy(place->key, key.mv_data, key.mv_size);
		if (used_b > slice->max_b)
			return 0;
		rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
	}
	return rc;
}

static int read_slice(struct looking *looking, struct ld_outbox_place *place, struct slice *slice)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(looking->txn, looking->store->env.outbox, &cursor);

	if (rc != 0)
		return ld_env_error(rc);
	rc = read_rows(looking, place, slice, cursor);
	mdb_cursor_close(cursor);
	if (rc != MDB_NOTFOUND)
		return ld_env_error(rc);
	place->key_len = 0;
	place->passes++;
	return 0;
}

/* The next rows, inside one read transaction. wrap: where there are none behind the place, from the beginning. */
static int read_some(struct ld_store *store, struct ld_outbox_place *place, struct slice *slice, int want_values, int wrap)
{
	struct looking looking = { .store = store, .want_values = want_values };
	uint32_t generation, from = place->key_len;
	int rc = ld_enter(store, store->config.wait_ms, &looking.now_ms);

	if (rc != 0)
		return rc;
	generation = store->env.generation;
	rc = ld_read_begin(store, store->config.wait_ms, &looking.txn);
	if (rc == 0) {
		rc = read_slice(&looking, place, slice);
		if (rc == 0 && slice->count == 0 && wrap && from != 0)
			rc = read_slice(&looking, place, slice);
		ld_env_read_end(&store->env, looking.txn);
	}
	ld_leave(store);
	if (rc >= 0)
		return rc;
	ld_outbox_forget(slice->rows, slice->count);
	slice->count = 0;
	ld_reason_set(rc == LARDER_E_NOMEM ? LARDER_REASON_NOMEM : LARDER_REASON_CORRUPT);
	if (rc == LARDER_E_CORRUPT)
		ld_store_condemn(store, generation, "damaged", 1);
	return LARDER_UNAVAILABLE;
}

int ld_outbox_take(struct ld_store *store, struct ld_outbox_place *place, struct ld_outbox_row *rows, size_t max, size_t max_b, size_t *ret_count)
{
	struct slice slice = { rows, max < LD_OUTBOX_TAKE_MAX ? max : LD_OUTBOX_TAKE_MAX, max_b, 0, NULL };
	int rc = read_some(store, place, &slice, 1, 1);

	*ret_count = slice.count;
	return rc;
}

/* ---- rows that somebody waits for ---- */

void ld_outbox_want(struct ld_store *store, const struct ld_key *key)
{
	unsigned char bytes[LD_KEY_MAX];
	int64_t now_ms;

	_Static_assert(sizeof(bytes) <= LD_WANTED_KEY, "room for every key");
	if (ld_enter(store, store->config.wait_ms, &now_ms) != 0)
		return;
	ld_wanted_post(store->seg.wanted, bytes, ld_entry_key(key->tenant, key->digest, bytes));
	ld_leave(store);
}

int ld_outbox_pending(struct ld_store *store, const struct ld_key *key)
{
	unsigned char bytes[LD_KEY_MAX];
	MDB_val at = { ld_entry_key(key->tenant, key->digest, bytes), bytes };
	struct ld_pending row;
	int64_t now_ms;
	MDB_txn *txn;
	int pending = 0;

	if (ld_enter(store, store->config.wait_ms, &now_ms) != 0)
		return 0;
	if (ld_read_begin(store, store->config.wait_ms, &txn) == 0) {
		pending = ld_pending_find(store, txn, &at, &row) == 0;
		ld_env_read_end(&store->env, txn);
	}
	ld_leave(store);
	return pending;
}

/* Posted twice, or by two who wait: a key may be in a slice once. */
static int is_in(const struct slice *slice, const unsigned char *key, size_t len)
{
	for (size_t i = 0; i < slice->count; i++)
		if (memcmp(slice->rows[i].digest, key + len - LARDER_DIGEST_SIZE, LARDER_DIGEST_SIZE) == 0)
			return 1;
	return 0;
}

/* What cannot be taken now - it is not pending, it is damaged, or there is no room for it - comes in its turn, or not at all. */
static void read_one(struct looking *looking, struct slice *slice, MDB_val *key, size_t *used_b)
{
	struct ld_outbox_row *to = &slice->rows[slice->count];
	MDB_val data;

	if (slice->count == slice->max || *used_b > slice->max_b || key->mv_size <= LARDER_DIGEST_SIZE || key->mv_size > LD_KEY_MAX ||
	    is_in(slice, key->mv_data, key->mv_size) || mdb_get(looking->txn, looking->store->env.outbox, key, &data) != 0)
		return;
	if (tell_row(looking, key, &data, slice->count ? slice->max_b - *used_b : SIZE_MAX, to) != 0)
		return;
	*used_b += to->value ? to->len : 0;
	slice->count++;
}

/* keys NULL: those of the ring of hints. */
static void read_these(struct looking *looking, struct slice *slice, const struct ld_key *keys, size_t count)
{
	unsigned char bytes[LD_WANTED_KEY];
	size_t used_b = 0;

	for (size_t i = 0; i < (keys ? count : LD_WANTED_ROWS) && slice->count < slice->max; i++) {
		MDB_val key = { 0, bytes };

		key.mv_size = keys ? ld_entry_key(keys[i].tenant, keys[i].digest, bytes) : ld_wanted_take(looking->store->seg.wanted, (unsigned)i, bytes);
		read_one(looking, slice, &key, &used_b);
	}
}

int ld_outbox_take_these(struct ld_store *store, const struct ld_key *keys, size_t key_count, struct ld_outbox_row *rows, size_t max, size_t max_b,
    size_t *ret_count)
{
	struct slice slice = { rows, max < LD_OUTBOX_TAKE_MAX ? max : LD_OUTBOX_TAKE_MAX, max_b, 0, NULL };
	struct looking looking = { .store = store, .want_values = 1 };
	int rc = ld_enter(store, store->config.wait_ms, &looking.now_ms);

	*ret_count = 0;
	if (rc != 0)
		return rc;
	if (keys || ld_wanted_look(store->seg.wanted)) {
		rc = ld_read_begin(store, store->config.wait_ms, &looking.txn);
		if (rc == 0) {
			read_these(&looking, &slice, keys, key_count);
			ld_env_read_end(&store->env, looking.txn);
		}
	}
	ld_leave(store);
	*ret_count = slice.count;
	return rc;
}

void ld_outbox_forget(struct ld_outbox_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(rows[i].value);
		memset(&rows[i], 0, sizeof(rows[i]));
	}
}

int ld_outbox_walk(struct ld_store *store, const char *tenant, ld_outbox_fn fn, void *ctx)
{
	static const unsigned char lowest[LARDER_DIGEST_SIZE];
	struct ld_outbox_place place = { .passes = 0 };
	struct slice slice = { NULL, LD_PENDING_SLICE, SIZE_MAX, 0, tenant };
	int rc = 0;

	slice.rows = ld_calloc(LD_PENDING_SLICE, sizeof(*slice.rows));
	if (!slice.rows) {
		ld_reason_set(LARDER_REASON_NOMEM);
		return LARDER_UNAVAILABLE;
	}
	if (tenant)
		place.key_len = (uint32_t)ld_entry_key(tenant, lowest, place.key);
	while (rc == 0 && place.passes == 0) {
		slice.count = 0;
		rc = read_some(store, &place, &slice, 0, 0);
		for (size_t i = 0; i < slice.count && rc == 0; i++)
			rc = fn(ctx, &slice.rows[i]);
	}
	free(slice.rows);
	return rc;
}

int ld_outbox_any(struct ld_store *store)
{
	int64_t now_ms;
	int any = 0;

	if (ld_enter(store, store->config.wait_ms, &now_ms) == 0) {
		any = atomic_load(&store->seg.h->outbox_any) != 0;
		ld_leave(store);
	}
	return any;
}
