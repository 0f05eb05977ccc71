/* SPDX-License-Identifier: MIT */
/*
 * Invalidation by tag: for each tag one word in the segment hides everything that was stored under it before, however much that is. Nothing is looked
 * for and no entry is touched; the sweep removes them in its time. Reads look at the words of the entry that they have found (l1/state.c).
 *
 * The word is raised to the invalidation's own sequence before the commit: entries below it are hidden. Words are never taken back, for sequences
 * only grow; so the store need not remember them: they live as long as the segment, and a store file that is made anew has higher sequences. What
 * the transaction holds is the invalidation time of each tag, for what L2 has from before (l1/invalid.c); and it is the transaction itself that gives the
 * sequence to fills: whoever looked before it began has noted a lower one.
 *
 * With I the invalidation, F a fill or set of the tag, R a read:
 *
 *   F commits before I begins    F's sequence is below the word.
 *   F begins after I             a set has a higher sequence, and is served. A fill whose look-up was before I sees that the word is above what it noted, and
 *                                is discarded.
 *   F is inside, I cannot get    I raises the word past whatever has begun: F's sequence is below it, or F begins later and sees the word (shm/barrier.c).
 *   in
 *   R found its entry before     it may give it out: R began before I had completed.
 *   the word was raised
 *   killed between two words     some tags are invalidated, the call never returned.
 *   killed between word and      hidden, though L2's older values are refused only as long as l2_raised_ms says (l1/invalid.c); the call never returned.
 *   commit
 *   the commit fails             hidden, and L2's older values are refused likewise; the caller is told.
 */
#include "l1/inside.h"

#include "base/errors.h"
#include "base/fault.h"

struct tags {
	const uint64_t *of;
	size_t count;
};

/* Walls first: a value that is asked of L2 after the word is raised is judged by them. */
static int write_inside(struct ld_store *store, const struct tags *tags)
{
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_seg *seg = &store->seg;
	struct ld_write write;
	int rc = ld_write_begin(&write, store, accounts), begun = rc == 0;
	uint64_t seq = begun ? write.seq : atomic_load(&seg->h->write_seq) + 1;

	if (begun)
		rc = ld_invalid_write_tags(&write, tags->of, tags->count);
	else
		ld_invalid_raise_tags(seg, tags->of, tags->count);
	for (size_t i = 0; i < tags->count; i++)
		ld_seq_raise(ld_tag_of(seg->tags, tags->of[i]), seq);
	LD_POINT(tag_hidden);
	if (!begun)
		return rc;
	if (rc == 0)
		return ld_write_commit(&write);
	ld_write_abort(&write);
	return rc;
}

/* Without the gate. */
static void hide_in(struct ld_seg *seg, const void *ctx)
{
	const struct tags *tags = ctx;

	ld_invalid_raise_tags(seg, tags->of, tags->count);
	for (size_t i = 0; i < tags->count; i++)
		ld_seq_raise_past(ld_tag_of(seg->tags, tags->of[i]), &seg->h->write_seq);
}

int ld_store_invalidate_tags(struct ld_store *store, const struct ld_key *key, const uint64_t *of, size_t count, const struct ld_way *way)
{
	const struct tags tags = { of, count };
	int64_t budget_ms = ld_budget(store, way), now_ms;
	int rc = ld_enter_within(store, &budget_ms, &now_ms);

	if (rc != 0) {
		ld_from_outside(store, hide_in, &tags);
		return LARDER_E_BUSY;
	}
	ld_reason_set(LARDER_REASON_NONE);
	if (ld_gate_in(store, budget_ms) != 0) {
		/* A writer is stopped inside the gate, perhaps in a transaction of the next sequence. */
		hide_in(&store->seg, &tags);
		ld_leave(store);
		return LARDER_E_BUSY;
	}
	rc = write_inside(store, &tags);
	ld_gate_out(store);
	ld_tenant_count(ld_tenant_of(store, key), ld_seg_stripe(&store->seg), LD_TC_tags_invalidated, count);
	ld_leave(store);
	return rc == 0 || rc == LARDER_E_FULL ? rc : LARDER_E_IO;
}
