/* SPDX-License-Identifier: MIT */
/**
 * Barriers: "nothing stored up to this sequence is to be served under keys that hash here". A set or delete that cannot commit marks its
 * key, so that the old value is not served again (DESIGN decision 5). Also the table of clears, by scope.
 *
 * Sequences only grow, so a mark is a maximum: marks never need to be taken back, and a collision only over-invalidates. What is stored
 * later has a higher sequence and is served again.
 */
#ifndef LD_SHM_BARRIER_H
#define LD_SHM_BARRIER_H

#include <stdatomic.h>
#include <stdint.h>

/**
 * Raise *word above *last, the sequence of the transaction that was begun last. Of two sides, one that begins (writes *last, then reads *word) and one that
 * raises, either the one that begins sees the new mark, or its sequence is below it: the races are drawn in the .c.
 */
void ld_seq_raise_past(_Atomic uint64_t *word, const _Atomic uint64_t *last);

/** A mark hides one in so many entries besides its own key's. */
enum { LD_BARRIERS = 32768 };

/** *word = max(*word, seq), seen by every load that starts after this returned. */
void ld_seq_raise(_Atomic uint64_t *word, uint64_t seq);

/** The word of a key; digest: 24 uniform bytes or more. */
static inline _Atomic uint64_t *ld_barrier_of(_Atomic uint64_t *table, const unsigned char *digest)
{
	return table + (((unsigned)digest[16] | (unsigned)digest[17] << 8) & (LD_BARRIERS - 1));
}

/**
 * Tags: a word for each of so many sets of them, by the low bits of a tag's hash. Entries of a tag with a sequence below its word are cleared: as with
 * scopes, but the table is never full, so a word needs neither a name nor the writer gate, and never has to be forgotten. An invalidation hides one in
 * so many tagged entries besides its own.
 */
enum { LD_TAG_WORDS = 65536 };
static inline _Atomic uint64_t *ld_tag_of(_Atomic uint64_t *table, uint64_t tag)
{
	return table + (tag & (LD_TAG_WORDS - 1));
}

/** Clears by scope: a scope is a (tenant, space), as a 64-bit tag that is never 0. Entries below `seq` are cleared. */
struct ld_scope {
	_Atomic uint64_t tag;
	_Atomic uint64_t seq;
};
enum { LD_SCOPE_WAYS = 8, LD_SCOPE_SETS = 512 };

/** Sequence below which entries of the scope are cleared; 0 = never cleared. Lock-free. */
uint64_t ld_scope_seq(const struct ld_scope *table, uint64_t tag);

/** Raise a scope's sequence. Only one caller at a time (the holder of the writer gate). Returns 0, or -1 when its set is full. */
int ld_scope_raise(struct ld_scope *table, uint64_t tag, uint64_t seq);

/** Forget a scope none of whose cleared entries is left, unless it was raised past seq since. Only under the writer gate. */
void ld_scope_forget(struct ld_scope *table, uint64_t tag, uint64_t seq);

#endif
