/* SPDX-License-Identifier: MIT */
/*
 * The fence: may a fill be stored? Called by put.c, in the fill's transaction, so that whoever begins to write later comes after it. It must never admit a
 * value that was fetched before a write of the key that has been completed, nor one that a write was begun after.
 *
 * F is the fill, L its look-up that found nothing fresh, W a write of the key, and each write raises the key's stamp to its own sequence:
 *
 *   W commits before L notes what has ended     L sees W's entry or row, and does not ask; if it is gone again, L2 has been told W before L asks.
 *   W begins after L noted                      W's sequence is above what L noted, and so is the stamp: F is discarded, whether W is committed, or killed,
 *                                               or fails.
 *   W cannot get the gate, while F is inside    W raises the stamp past what has begun, then the barrier to what has begun: either F sees the stamp,
 *                                               or F's own sequence is not above the barrier, and what it stores is hidden.
 *   W's row is pending                          F is discarded, for L2 was asked before it knew W; unless F is a loader's and L saw W.
 *   a clear                                     its word in the segment is above what L noted. Of clears that may be forgotten by now, the highest sequence
 *                                               is remembered.
 *   a tag of what F stores is invalidated       the same: the tag's word, which is never forgotten. L need not know the tags: they come with the value.
 *   a tag of what is there now is               the same: F's loader may have read what the tag stands for before it changed, and give no tags.
 *   invalidated
 *   another fill came first                     its entry has a sequence above what L noted: F is discarded, for it may have asked before the other one.
 *   the store or the segment was made anew      what L noted is of another generation, or of another segment.
 */
#include "l1/inside.h"

/* Is the entry that is there newer than what was seen, or was one of its tags invalidated since? */
static int is_overtaken(const struct ld_seg *seg, const MDB_val *row, uint64_t seen)
{
	struct ld_entry entry;

	if (ld_entry_decode(row->mv_data, row->mv_size, &entry) != 0)
		return 0;
	for (unsigned i = 0; i < entry.head.tag_count; i++)
		if (ld_tag_cleared(seg, ld_entry_tag(&entry, i)) > seen)
			return 1;
	return entry.head.seq > seen;
}

int ld_fence_admits(struct ld_write *write, const struct ld_key *key, const struct ld_put *put, const struct ld_seen *seen, const MDB_val *at,
    const MDB_val *row)
{
	struct ld_store *store = write->store;
	const struct ld_seg_header *h = store->seg.h;
	struct ld_pending pending;
	struct ld_hidden hidden;
	int rc;

	if (seen->segment != h->made_ms || seen->seq >> 48 != store->env.generation || atomic_load(&h->file_generation) != store->env.generation)
		return 0;
	/* The sequence of this transaction is written, then the marks are read: pairs with ld_seq_raise_past(). */
	atomic_thread_fence(memory_order_seq_cst);
	hidden = ld_hidden_of(&store->seg, ld_tenant_of(store, key), key->scope_tag, key->digest);
	if (atomic_load(ld_barrier_of(store->seg.stamps, key->digest)) > seen->seq || hidden.cleared > seen->seq ||
	    atomic_load(&h->clears_forgotten) > seen->seq)
		return 0;
	for (unsigned i = 0; i < put->tag_count; i++)
		if (ld_tag_cleared(&store->seg, put->tags[i]) > seen->seq)
			return 0;
	if (row && is_overtaken(&store->seg, row, seen->seq))
		return 0;
	rc = ld_pending_find(store, write->txn, at, &pending);
	return rc == LARDER_MISS || (rc == 0 && put->loaded && pending.seq <= seen->seq);
}
