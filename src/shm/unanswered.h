/* SPDX-License-Identifier: MIT */
/**
 * Keys of which a request to L2 was sent and not answered, and until when L2 may still carry it out: so long nothing newer of them is sent. One word
 * a key, in sets of eight; a key that shares a word's label with another waits for it, which costs time and nothing else.
 *
 *     word   until, ms of the boot clock (40 bits)  |  beside (1 bit)  |  label (23 bits)         free: its time is over, or 0
 *
 * A word with the bit is the claim of one request that is on its way, made before it and taken back when it is answered. Nobody else writes to it before its
 * time, and two claims never share a word: so what is taken back is that request's claim, and nothing that was noted of another one.
 *
 * Zeroed = empty. No locks, never blocks, allocates nothing; any process and thread. A word is written by one compare-and-swap, so whoever is killed has
 * written it or not; a note whose time is not over is never written over but by a later time of the same label.
 */
#ifndef LD_SHM_UNANSWERED_H
#define LD_SHM_UNANSWERED_H

#include <stdatomic.h>
#include <stdint.h>

enum { LD_UNANSWERED_SETS = 64, LD_UNANSWERED_WAYS = 8, LD_UNANSWERED_BESIDE = 6 };

/** A cache line each. */
struct ld_unanswered_set {
	_Atomic uint64_t words[LD_UNANSWERED_WAYS];
};
_Static_assert(sizeof(struct ld_unanswered_set) == 64, "layout");

struct ld_unanswered {
	struct ld_unanswered_set sets[LD_UNANSWERED_SETS];
};

/** tag: any 64 bits that differ from key to key. Returns 1; 0 there is no room: nothing is remembered. */
int ld_unanswered_note(struct ld_unanswered *table, uint64_t tag, int64_t until_ms, int64_t now_ms);
/** Before a request: a claim of its own, in one of LD_UNANSWERED_BESIDE words of its set, so that notes always find others. The claim; 0 there is no room. */
uint64_t ld_unanswered_claim(struct ld_unanswered *table, uint64_t tag, int64_t until_ms, int64_t now_ms);
/** It was answered: nobody waits for it any more. A claim whose time is over, or 0, is allowed. */
void ld_unanswered_take_back(struct ld_unanswered *table, uint64_t tag, uint64_t claim);
/** It was not answered: a note instead, shared with others of the key, until its time. */
void ld_unanswered_keep(struct ld_unanswered *table, uint64_t tag, uint64_t claim);
/** How long to wait before something newer is sent, ms; 0 = not at all. */
int64_t ld_unanswered_left(struct ld_unanswered *table, uint64_t tag, int64_t now_ms);

#endif
