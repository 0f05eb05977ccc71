/* SPDX-License-Identifier: MIT */
/*
 * Barrier words and the table of cleared scopes: read by every get, written by the rare call that invalidates without touching the entries.
 *
 * The scope table is 8-way set-associative, so a look-up is a look at 8 rows and needs no chain to be whole. Writers are serialised by the
 * writer gate; readers race with them:
 *
 *   new row        seq is written before the tag (release); a reader that sees the tag (acquire) sees that seq or a later one.
 *   killed between the two writes: a free row with some seq in it; the next writer overwrites it.
 *   reused row     a reader may see the old tag and the new, higher seq: it over-invalidates, once. It never sees too low a seq, because a
 *                  row is forgotten only after everything below its seq has been removed from the store.
 */
#include "shm/barrier.h"

#include <stddef.h>

void ld_seq_raise(_Atomic uint64_t *word, uint64_t seq)
{
	uint64_t old = atomic_load(word);

	while (old < seq && !atomic_compare_exchange_weak(word, &old, seq))
		;
}

/*
 *   R reads last = 7, B begins 8 and reads the word, R raises the word to 8      B has seen nothing. R reads last again, finds 8, raises to 9:
 *                                                                                B's 8 is below the mark.
 *   R raises the word to 8, B begins 8 and reads the word                        B sees 8; R finds last = 8 and raises to 9.
 *   R raises to 8, finds last = 7 still and is done, B begins 8                  B sees 8.
 * Each round needs somebody who begins meanwhile, which takes far longer than a round.
 */
void ld_seq_raise_past(_Atomic uint64_t *word, const _Atomic uint64_t *last)
{
	uint64_t seq;

	do {
		seq = atomic_load(last);
		ld_seq_raise(word, seq + 1);
	} while (atomic_load(last) != seq);
}

static struct ld_scope *set_of(const struct ld_scope *table, uint64_t tag)
{
	return (struct ld_scope *)(uintptr_t)table + (tag % LD_SCOPE_SETS) * LD_SCOPE_WAYS;
}

static struct ld_scope *find(const struct ld_scope *table, uint64_t tag)
{
	struct ld_scope *set = set_of(table, tag);

	for (int i = 0; i < LD_SCOPE_WAYS; i++)
		/* acquire: pairs with the release in ld_scope_raise() */
		if (atomic_load_explicit(&set[i].tag, memory_order_acquire) == tag)
			return &set[i];
	return NULL;
}

uint64_t ld_scope_seq(const struct ld_scope *table, uint64_t tag)
{
	struct ld_scope *row = find(table, tag);

	return row ? atomic_load_explicit(&row->seq, memory_order_acquire) : 0;
}

int ld_scope_raise(struct ld_scope *table, uint64_t tag, uint64_t seq)
{
	struct ld_scope *row = find(table, tag);

	if (row) {
		ld_seq_raise(&row->seq, seq);
		return 0;
	}
	row = set_of(table, tag);
	for (int i = 0; i < LD_SCOPE_WAYS; i++) {
		if (atomic_load_explicit(&row[i].tag, memory_order_relaxed) != 0)
			continue;
		atomic_store_explicit(&row[i].seq, seq, memory_order_relaxed);
		/* release: pairs with the acquire in find() */
		atomic_store_explicit(&row[i].tag, tag, memory_order_release);
		return 0;
	}
	return -1;
}

void ld_scope_forget(struct ld_scope *table, uint64_t tag, uint64_t seq)
{
	struct ld_scope *row = find(table, tag);

	if (row && atomic_load_explicit(&row->seq, memory_order_relaxed) <= seq)
		atomic_store_explicit(&row->tag, 0, memory_order_release);
}
