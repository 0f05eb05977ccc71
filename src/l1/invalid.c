/* SPDX-License-Identifier: MIT */
/*
 * What L2 may not hand back: invalidation times, by tag, by space, by tenant and of everything, and the walls of keys whose write could not be done. Raised
 * by clears, invalidations of tags, folds of the outbox, and when a store was lost; asked by whoever has an answer of L2; forgotten by the background work when
 * nothing in L2 can be so old any more (LARDER_L2_TTL_MAX).
 *
 * Each time is a word in the segment, which is what is asked, and a row in the store, which says until when it is wanted. The word is raised before
 * the row is committed:
 *
 *   killed between word and      L2's older values are refused although nothing was cleared or folded: misses that need not have been.
 *   commit, or the commit fails
 *   raised without a row         by a clear that could not get in, or a write that could not be done: nobody may have had the gate. Such words are
 *                                lowered together, when nothing at all was raised for so long that the last of them is over.
 *   A raises while B lowers      A writes l2_raised_ms, then the word. B reads the word, then l2_raised_ms, then exchanges the word that it read: either B
 *                                sees that somebody raised and stops, or A's word comes later and B's exchange fails, or finds 0.
 *   a tenant without a row of    its word is the shared row's, which stands for others too: it is lowered only together with all.
 *   its own in the segment
 *   two tags with one word       they have one row too: the later of both times is kept, for both.
 *
 * Times are compared by the wall clock, for L2 is on other hosts. A wall clock that is set back by more than the skew makes what was created before look
 * newer than it is; one that runs ahead refuses too much. Rows are kept by the boot clock.
 */
#include "l1/inside.h"

#include <string.h>

#include "base/clock.h"
#include "base/fault.h"

enum { FORGET_MAX = 64, CHECK_PARTS = 16, CHECK_MIN_MS = 1000, CHECK_MAX_MS = 60000 };

size_t ld_scope_key(char kind, const char *tenant, const char *space, unsigned char bytes[LD_SCOPE_KEY_MAX])
{
	size_t len = 0;

	bytes[len++] = (unsigned char)kind;
	if (tenant) {
		memcpy(bytes + len, tenant, strlen(tenant));
		len += strlen(tenant);
	}
	if (space) {
		bytes[len++] = 0;
		memcpy(bytes + len, space, strlen(space));
		len += strlen(space);
	}
	return len;
}

/* ---- raising ---- */

static void raise_word(struct ld_seg *seg, _Atomic uint64_t *word, uint64_t wall_ms)
{
	/* First: pairs with the look at it in lower(). */
	ld_seq_raise(&seg->h->l2_raised_ms, (uint64_t)ld_clock_boot_ms());
	ld_seq_raise(word, wall_ms);
}

static void raise_to(struct ld_seg *seg, const char *tenant, const char *space, uint64_t wall_ms)
{
	ld_seq_raise(&seg->h->l2_raised_ms, (uint64_t)ld_clock_boot_ms());
	if (!tenant)
		raise_word(seg, &seg->h->l2_invalid_ms, wall_ms);
	/* No room for another space: the whole tenant's, which only refuses more. */
	else if (!space || ld_scope_raise(seg->l2_scopes, ld_store_tag(tenant, space), wall_ms) != 0)
		raise_word(seg, &ld_tenant_named(seg, tenant)->l2_invalid_ms, wall_ms);
}

void ld_invalid_raise(struct ld_seg *seg, const char *tenant, const char *space)
{
	raise_to(seg, tenant, space, (uint64_t)ld_clock_wall_ms());
}

int ld_invalid_write(struct ld_write *write, const char *tenant, const char *space)
{
	struct ld_seg *seg = &write->store->seg;
	const struct ld_invalid_row row = { ld_clock_wall_ms(), ld_clock_boot_ms() + (int64_t)seg->h->params.l2_ttl_max_ms };
	unsigned char bytes[LD_SCOPE_KEY_MAX];
	MDB_val key = { ld_scope_key('V', tenant, space, bytes), bytes }, data = { sizeof(row), (void *)(uintptr_t)&row };

	raise_to(seg, tenant, space, (uint64_t)row.wall_ms);
	LD_POINT(outbox_invalidated);
	write->changed = 1;
	return ld_env_error(mdb_put(write->txn, write->store->env.main, &key, &data, 0));
}

static void raise_tags(struct ld_seg *seg, const uint64_t *tags, size_t count, uint64_t wall_ms)
{
	for (size_t i = 0; i < count; i++)
		raise_word(seg, ld_tag_of(seg->tag_walls, tags[i]), wall_ms);
}

void ld_invalid_raise_tags(struct ld_seg *seg, const uint64_t *tags, size_t count)
{
	raise_tags(seg, tags, count, (uint64_t)ld_clock_wall_ms());
}

int ld_invalid_write_tags(struct ld_write *write, const uint64_t *tags, size_t count)
{
	struct ld_seg *seg = &write->store->seg;
	const struct ld_invalid_row row = { ld_clock_wall_ms(), ld_clock_boot_ms() + (int64_t)seg->h->params.l2_ttl_max_ms };
	int rc = 0;

	/* All of them, for a row may fail. */
	raise_tags(seg, tags, count, (uint64_t)row.wall_ms);
	LD_POINT(tag_invalidated);
	write->changed = 1;
	for (size_t i = 0; i < count && rc == 0; i++) {
		uint64_t word = tags[i] & (LD_TAG_WORDS - 1);
		unsigned char bytes[LD_TAG_KEY] = { 'G', (unsigned char)(word >> 8), (unsigned char)word };
		MDB_val key = { sizeof(bytes), bytes }, data = { sizeof(row), (void *)(uintptr_t)&row };

		rc = ld_env_error(mdb_put(write->txn, write->store->env.main, &key, &data, 0));
	}
	return rc;
}

void ld_invalid_raise_key(struct ld_seg *seg, const unsigned char *digest)
{
	/* The wall first: a value that is asked of L2 after the stamp is raised is judged by it. */
	raise_word(seg, ld_barrier_of(seg->barrier_walls, digest), (uint64_t)ld_clock_wall_ms());
	ld_seq_raise_past(ld_barrier_of(seg->stamps, digest), &seg->h->write_seq);
}

/* ---- asking ---- */

static uint64_t newest(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

uint64_t ld_invalid_before(const struct ld_seg *seg, const struct ld_tenant_row *row, const struct ld_key *key, const struct ld_l2_given *given)
{
	uint64_t wall_ms = newest(atomic_load(&seg->h->l2_invalid_ms), atomic_load(&row->l2_invalid_ms));

	wall_ms = newest(wall_ms, ld_scope_seq(seg->l2_scopes, key->scope_tag));
	for (unsigned i = 0; i < given->tag_count; i++)
		wall_ms = newest(wall_ms, atomic_load(ld_tag_of(seg->tag_walls, given->tags[i])));
	return newest(wall_ms, atomic_load(ld_barrier_of(seg->barrier_walls, key->digest)));
}

static int admits(const struct ld_seg *seg, const struct ld_tenant_row *row, const struct ld_key *key, const struct ld_l2_given *given)
{
	uint64_t before_ms = ld_invalid_before(seg, row, key, given);

	/* No sum: both may be anything. */
	if (before_ms == 0 || (given->created_wall_ms > (int64_t)before_ms && given->created_wall_ms - (int64_t)before_ms > given->skew_ms))
		return 1;
	ld_host_count(seg, LD_HC_l2_too_old, 1);
	return 0;
}

struct question {
	const struct ld_key *key;
	const struct ld_l2_given *given;
	int *answer;
};

static void ask_outside(struct ld_seg *seg, const void *ctx)
{
	const struct question *question = ctx;

	*question->answer = admits(seg, ld_tenants_row(&seg->tenants, question->key->tenant, question->key->tenant_tag), question->key,
	    question->given);
}

int ld_store_l2_admits(struct ld_store *store, const struct ld_key *key, const struct ld_l2_given *given)
{
	int answer = 1;
	const struct question question = { key, given, &answer };
	int64_t now_ms;

	if (ld_enter(store, store->config.wait_ms, &now_ms) != 0) {
		ld_from_outside(store, ask_outside, &question);
		return answer;
	}
	answer = admits(&store->seg, ld_tenant_of(store, key), key, given);
	ld_leave(store);
	return answer;
}

/* ---- forgetting ---- */

struct old_row {
	unsigned char key[LD_SCOPE_KEY_MAX];
	size_t len;
	uint64_t wall_ms;
};

/* The same of one kind of rows. A table that is full of them is not walked to its end. */
static int list_kind(MDB_cursor *cursor, char kind, int64_t now_ms, struct old_row *old, unsigned *ret_old, uint64_t *ret_others)
{
	MDB_val key = { 1, &kind }, data;
	struct ld_invalid_row row;
	int rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);

	for (; rc == 0 && ((char *)key.mv_data)[0] == kind && (*ret_old < FORGET_MAX || *ret_others == 0); rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
		if (key.mv_size > LD_SCOPE_KEY_MAX || data.mv_size != sizeof(row))
			continue;
		memcpy(&row, data.mv_data, sizeof(row));
		if (row.keep_until_ms > now_ms || *ret_old == FORGET_MAX) {
			++*ret_others;
			continue;
		}
		memcpy(old[*ret_old].key, key.mv_data, key.mv_size);
		old[*ret_old].len = key.mv_size;
		old[(*ret_old)++].wall_ms = (uint64_t)row.wall_ms;
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Rows that are over, as many as there is room for; are there others? */
static int list_over(struct ld_store *store, MDB_txn *txn, int64_t now_ms, struct old_row *old, unsigned *ret_old, uint64_t *ret_others)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn, store->env.main, &cursor);

	*ret_old = 0;
	*ret_others = 0;
	if (rc != 0)
		return ld_env_error(rc);
	rc = list_kind(cursor, 'V', now_ms, old, ret_old, ret_others);
	if (rc == 0)
		rc = list_kind(cursor, 'G', now_ms, old, ret_old, ret_others);
	mdb_cursor_close(cursor);
	return rc == 0 ? 0 : ld_env_error(rc);
}

/* Only if it is still this row's: one that was raised since stays. */
static void lower_of(struct ld_store *store, const struct old_row *old)
{
	struct ld_seg *seg = &store->seg;
	char text[LD_SCOPE_KEY_MAX];
	uint64_t wall_ms = old->wall_ms;
	struct ld_tenant_row *row;
	const char *space;

	if (old->key[0] == 'G') {
		if (old->len == LD_TAG_KEY)
			atomic_compare_exchange_strong(&seg->tag_walls[(unsigned)old->key[1] << 8 | old->key[2]], &wall_ms, 0);
		return;
	}
	memcpy(text, old->key + 1, old->len - 1);
	text[old->len - 1] = 0;
	space = memchr(text, 0, old->len - 1);
	if (old->len == 1) {
		atomic_compare_exchange_strong(&seg->h->l2_invalid_ms, &wall_ms, 0);
	} else if (space) {
		ld_scope_forget(seg->l2_scopes, ld_store_tag(text, space + 1), wall_ms);
	} else {
		row = ld_tenant_named(seg, text);
		if (row != seg->tenants.rows)
			atomic_compare_exchange_strong(&row->l2_invalid_ms, &wall_ms, 0);
	}
}

/* Returns how many were forgotten, or an error. */
static int forget_inside(struct ld_store *store, int64_t now_ms, uint64_t *ret_others)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct old_row old[FORGET_MAX];
	struct ld_write write;
	unsigned count;
	int rc = ld_write_begin(&write, store, accounts);

	if (rc != 0)
		return rc;
	rc = list_over(store, write.txn, now_ms, old, &count, ret_others);
	for (unsigned i = 0; i < count && rc == 0; i++) {
		MDB_val key = { old[i].len, old[i].key };

		rc = ld_env_error(mdb_del(write.txn, store->env.main, &key, NULL));
	}
	if (rc != 0 || count == 0) {
		ld_write_abort(&write);
		return rc;
	}
	rc = ld_write_commit(&write);
	for (unsigned i = 0; i < count && rc == 0; i++)
		lower_of(store, &old[i]);
	return rc != 0 ? rc : (int)count;
}

/* Returns 1 if somebody raised something since. */
static int lower(const struct ld_seg *seg, _Atomic uint64_t *word, uint64_t raised_ms)
{
	uint64_t was = atomic_load(word);

	if (was == 0)
		return 0;
	if (atomic_load(&seg->h->l2_raised_ms) != raised_ms)
		return 1;
	atomic_compare_exchange_strong(word, &was, 0);
	return 0;
}

/* Nothing was raised for so long that all is over, whatever has a row and whatever has none. Inside the gate, for the table of spaces. */
static void lower_all(struct ld_store *store, uint64_t raised_ms)
{
	struct ld_seg *seg = &store->seg;
	int stop = lower(seg, &seg->h->l2_invalid_ms, raised_ms);

	for (uint32_t i = 0; i < ld_tenants_used(&seg->tenants) && !stop; i++)
		stop = lower(seg, &seg->tenants.rows[i].l2_invalid_ms, raised_ms);
	for (uint32_t i = 0; i < LD_BARRIERS && !stop; i++)
		stop = lower(seg, &seg->barrier_walls[i], raised_ms);
	for (uint32_t i = 0; i < LD_TAG_WORDS && !stop; i++)
		stop = lower(seg, &seg->tag_walls[i], raised_ms);
	for (uint32_t i = 0; i < (uint32_t)LD_SCOPE_SETS * LD_SCOPE_WAYS && !stop; i++)
		stop = lower(seg, &seg->l2_scopes[i].tag, raised_ms);
	if (!stop)
		atomic_compare_exchange_strong(&seg->h->l2_raised_ms, &raised_ms, 0);
}

static int64_t check_every_ms(const struct ld_seg_params *params)
{
	int64_t every_ms = (int64_t)(params->l2_ttl_max_ms / CHECK_PARTS);

	return every_ms < CHECK_MIN_MS ? CHECK_MIN_MS : every_ms > CHECK_MAX_MS ? CHECK_MAX_MS : every_ms;
}

/* A look first, so that nothing is written while nothing is over. */
static int is_any_over(struct ld_store *store, int64_t now_ms)
{
	struct old_row old[FORGET_MAX];
	uint64_t others;
	unsigned count = 0;
	MDB_txn *txn;

	if (ld_read_begin(store, store->config.wait_ms, &txn) != 0)
		return 0;
	if (list_over(store, txn, now_ms, old, &count, &others) != 0)
		count = 0;
	ld_env_read_end(&store->env, txn);
	return count > 0;
}

void ld_invalid_forget(struct ld_store *store, int64_t now_ms)
{
	struct ld_seg_header *h = store->seg.h;
	uint64_t raised_ms = atomic_load(&h->l2_raised_ms), others = 1;
	int all_over = raised_ms != 0 && now_ms > (int64_t)(raised_ms + h->params.l2_ttl_max_ms), rc;

	if (raised_ms == 0 || now_ms < store->invalid_check_ms)
		return;
	store->invalid_check_ms = now_ms + check_every_ms(&h->params);
	if ((!all_over && !is_any_over(store, now_ms)) || ld_gate_in(store, store->config.wait_ms) != 0)
		return;
	rc = forget_inside(store, now_ms, &others);
	if (rc >= 0 && others == 0 && all_over)
		lower_all(store, raised_ms);
	ld_gate_out(store);
	/* There may be more of them. */
	if (rc == FORGET_MAX)
		store->invalid_check_ms = now_ms;
}
