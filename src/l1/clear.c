/* SPDX-License-Identifier: MIT */
/*
 * Clears: one word in the segment hides everything of a scope that was stored before, and one row in the store remembers it. The entries themselves
 * are removed by the sweep, which then forgets row and word.
 *
 * Under the writer gate, so no entry is being stored meanwhile. The word is raised to the clear's own sequence before the commit: entries
 * below it are hidden. What L2 has from before it is not given out any more either: an invalidation time, with a row in the same transaction.
 *
 *   killed before the word       nothing happened, the call never returned.
 *   killed between word and      hidden, and not remembered in the store: it holds as long as the segment, which is as long as the store file.
 *   commit
 *   the commit fails             as above; the caller is told. Later transactions have higher sequences.
 *   it cannot get in             the tenant is hidden, or everything, past whatever has begun; a fill that is inside sees it or is below it (shm/barrier.c).
 */
#include "l1/inside.h"

#include <string.h>
#include <time.h>

#include "base/errors.h"
#include "base/fault.h"
#include "shm/role.h"

enum { FORGET_MAX = 64, OLD_READER_LOOKS = 20 };

static void hide(struct ld_store *store, const char *tenant, const char *space, uint64_t seq)
{
	struct ld_seg *seg = &store->seg;

	if (!tenant)
		ld_seq_raise(&seg->h->clear_seq, seq);
	/* No room for another scope: the whole tenant is cleared, which only over-invalidates. */
	else if (!space || ld_scope_raise(seg->scopes, ld_store_tag(tenant, space), seq) != 0)
		ld_seq_raise(&ld_tenant_named(seg, tenant)->clear_seq, seq);
}

static int remember(struct ld_write *write, const char *tenant, const char *space)
{
	unsigned char bytes[LD_SCOPE_KEY_MAX];
	MDB_val key = { ld_scope_key('C', tenant, space, bytes), bytes }, data = { sizeof(write->seq), &write->seq };
	int rc = ld_env_error(mdb_put(write->txn, write->store->env.main, &key, &data, 0));

	write->changed = 1;
	return rc;
}

static int clear_inside(struct ld_store *store, const char *tenant, const char *space)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_write write;
	int rc = ld_write_begin(&write, store, accounts);

	if (rc != 0) {
		/* Hide it all the same: up to what anybody has begun. */
		hide(store, tenant, space, atomic_load(&store->seg.h->write_seq) + 1);
		ld_invalid_raise(&store->seg, tenant, space);
		return rc;
	}
	hide(store, tenant, space, write.seq);
	LD_POINT(clear_hidden);
	rc = ld_invalid_write(&write, tenant, space);
	if (rc == 0)
		rc = remember(&write, tenant, space);
	if (rc == 0)
		return ld_write_commit(&write);
	ld_write_abort(&write);
	return rc;
}

/* The tables of scopes are written under the gate only: the whole tenant is hidden, or everything. */
static void hide_in(struct ld_seg *seg, const void *tenant)
{
	ld_invalid_raise(seg, tenant, NULL);
	ld_seq_raise_past(tenant ? &ld_tenant_named(seg, tenant)->clear_seq : &seg->h->clear_seq, &seg->h->write_seq);
}

int ld_store_clear(struct ld_store *store, const char *tenant, const char *space, const struct ld_way *way)
{
	int64_t budget_ms = ld_budget(store, way), now_ms;
	int rc = ld_enter_within(store, &budget_ms, &now_ms);

	if (rc != 0) {
		ld_from_outside(store, hide_in, tenant);
		return LARDER_E_BUSY;
	}
	if (ld_gate_in(store, budget_ms) != 0) {
		/* A writer is stopped inside the gate, perhaps in a transaction of the next sequence. */
		hide_in(&store->seg, tenant);
		ld_leave(store);
		return LARDER_E_BUSY;
	}
	rc = clear_inside(store, tenant, space);
	ld_gate_out(store);
	ld_tenant_count(tenant ? ld_tenant_named(&store->seg, tenant) : &store->seg.tenants.rows[0], ld_seg_stripe(&store->seg), LD_TC_clears, 1);
	atomic_store(&store->seg.h->sweep_soon, 1);
	ld_role_call(&store->seg);
	ld_leave(store);
	return rc == 0 || rc == LARDER_E_FULL ? rc : LARDER_E_IO;
}

/* ---- forgetting ---- */

struct old_clear {
	unsigned char key[LD_SCOPE_KEY_MAX];
	size_t len;
	uint64_t seq;
};

static unsigned list_old(struct ld_store *store, MDB_txn *txn, uint64_t up_to_seq, struct old_clear *old)
{
	unsigned char first = 'C';
	MDB_val key = { 1, &first }, data;
	MDB_cursor *cursor;
	unsigned count = 0;
	int rc = mdb_cursor_open(txn, store->env.main, &cursor);

	if (rc != 0)
		return 0;
	rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
	for (; rc == 0 && count < FORGET_MAX && ((unsigned char *)key.mv_data)[0] == 'C'; rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
		if (key.mv_size > LD_SCOPE_KEY_MAX || data.mv_size != sizeof(old->seq))
			continue;
		memcpy(&old[count].seq, data.mv_data, sizeof(old->seq));
		if (old[count].seq > up_to_seq)
			continue;
		memcpy(old[count].key, key.mv_data, key.mv_size);
		old[count++].len = key.mv_size;
	}
	mdb_cursor_close(cursor);
	return count;
}

/* The word of a tenant or of everything may stay: it hides only what is gone. The row of a scope is wanted for others. */
static void unhide_scope(struct ld_store *store, const struct old_clear *old)
{
	char text[LD_SCOPE_KEY_MAX + 1];
	const char *space;

	memcpy(text, old->key + 1, old->len - 1);
	text[old->len - 1] = 0;
	space = memchr(text, 0, old->len - 1);
	if (space)
		ld_scope_forget(store->seg.scopes, ld_store_tag(text, space + 1), old->seq);
}

static int forget_inside(struct ld_store *store, uint64_t up_to_seq)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct old_clear old[FORGET_MAX];
	struct ld_write write;
	unsigned count;
	int rc = ld_write_begin(&write, store, accounts);

	if (rc != 0)
		return rc;
	count = list_old(store, write.txn, up_to_seq, old);
	for (unsigned i = 0; i < count && rc == 0; i++) {
		MDB_val key = { old[i].len, old[i].key };

		rc = ld_env_error(mdb_del(write.txn, store->env.main, &key, NULL));
	}
	if (rc != 0 || count == 0) {
		ld_write_abort(&write);
		return rc;
	}
	rc = ld_write_commit(&write);
	/* Before the first word goes: a fill that began to be fetched before one of these clears would not see it. */
	ld_seq_raise(&store->seg.h->clears_forgotten, up_to_seq);
	LD_POINT(clear_forgotten);
	for (unsigned i = 0; i < count && rc == 0; i++)
		unhide_scope(store, &old[i]);
	return rc;
}

/* A reader that took its snapshot before the last entries were removed may look at the words only now: they must still be there for it. Waits a
 * moment for such readers; 0, or -1 when one does not move. */
static int old_readers_left(struct ld_store *store)
{
	const struct timespec pause = { 0, 500000L };
	MDB_envinfo info;

	if (mdb_env_info(store->env.lmdb, &info) != 0)
		return -1;
	for (int looks = 0; looks < OLD_READER_LOOKS; looks++) {
		if (ld_env_oldest(&store->env) >= info.me_last_txnid)
			return 0;
		nanosleep(&pause, NULL);
	}
	return -1;
}

void ld_clears_forget(struct ld_store *store, uint64_t up_to_seq)
{
	/* The next sweep tries again. */
	if (old_readers_left(store) != 0)
		return;
	if (ld_gate_in(store, store->config.wait_ms) != 0)
		return;
	forget_inside(store, up_to_seq);
	ld_gate_out(store);
}
