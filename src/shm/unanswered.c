/* SPDX-License-Identifier: MIT */
/*
 * The table of keys with a request that was not answered. Called by the teller, through l1/. It must never let go of a word before its time.
 *
 *   claimed, and then killed             the key waits until the claim's time is over.
 *   two claim one key, to the same ms    two words that are alike: each takes back one of them, and it is the same whichever.
 *   a claim is taken back after its      whatever is in the word by now has a later time: it is left alone.
 *   time
 *   two note keys of one set at once     one compare-and-swap of a free word fails; that one takes the next word.
 *   an old teller, stopped and replaced, its successor waited for the time of its request: it writes a time that is over by now, into a word that is
 *   goes on and notes its key            free or its own.
 *   the boot clock passes 2^40 ms        after 34 years.
 */
#include "shm/unanswered.h"

#include <stddef.h>

enum { LABEL_BITS = 23, TIME_AT = 24 };
#define BESIDE (UINT64_C(1) << LABEL_BITS)

static struct ld_unanswered_set *set_of(struct ld_unanswered *table, uint64_t tag)
{
	return &table->sets[tag % LD_UNANSWERED_SETS];
}

/* Not of the bits that choose the set. */
static uint64_t label_of(uint64_t tag)
{
	return tag >> (64 - LABEL_BITS);
}

static int is_of(uint64_t word, uint64_t tag)
{
	return ((word ^ label_of(tag)) & ((UINT64_C(1) << LABEL_BITS) - 1)) == 0;
}

static int64_t until_of(uint64_t word)
{
	return (int64_t)(word >> TIME_AT);
}

static uint64_t word_of(uint64_t tag, int64_t until_ms)
{
	return (uint64_t)until_ms << TIME_AT | label_of(tag);
}

/* A note of the same label: one that may have a later time. */
static int is_note_of(uint64_t word, uint64_t tag)
{
	return is_of(word, tag) && !(word & BESIDE);
}

int ld_unanswered_note(struct ld_unanswered *table, uint64_t tag, int64_t until_ms, int64_t now_ms)
{
	uint64_t wanted = word_of(tag, until_ms);
	struct ld_unanswered_set *set = set_of(table, tag);

	for (unsigned way = 0; way < LD_UNANSWERED_WAYS; way++) {
		uint64_t word = atomic_load(&set->words[way]);

		if (is_note_of(word, tag) && until_of(word) >= until_ms)
			return 1;
		if ((is_note_of(word, tag) || until_of(word) <= now_ms) && atomic_compare_exchange_strong(&set->words[way], &word, wanted))
			return 1;
	}
	return 0;
}

uint64_t ld_unanswered_claim(struct ld_unanswered *table, uint64_t tag, int64_t until_ms, int64_t now_ms)
{
	uint64_t claim = word_of(tag, until_ms) | BESIDE;
	struct ld_unanswered_set *set = set_of(table, tag);

	for (unsigned way = 0; way < LD_UNANSWERED_BESIDE; way++) {
		uint64_t word = atomic_load(&set->words[way]);

		if (until_of(word) <= now_ms && atomic_compare_exchange_strong(&set->words[way], &word, claim))
			return claim;
	}
	return 0;
}

static void replace(struct ld_unanswered_set *set, uint64_t claim, uint64_t with)
{
	for (unsigned way = 0; way < LD_UNANSWERED_BESIDE; way++) {
		uint64_t word = claim;

		if (atomic_compare_exchange_strong(&set->words[way], &word, with))
			return;
	}
}

void ld_unanswered_take_back(struct ld_unanswered *table, uint64_t tag, uint64_t claim)
{
	if (claim)
		replace(set_of(table, tag), claim, 0);
}

void ld_unanswered_keep(struct ld_unanswered *table, uint64_t tag, uint64_t claim)
{
	struct ld_unanswered_set *set = set_of(table, tag);
	uint64_t note = claim & ~BESIDE;

	/* The note first: at no moment is there neither. */
	for (unsigned way = 0; claim && way < LD_UNANSWERED_WAYS; way++) {
		uint64_t word = atomic_load(&set->words[way]);

		if (is_note_of(word, tag) && (word >= note || atomic_compare_exchange_strong(&set->words[way], &word, note))) {
			replace(set, claim, 0);
			return;
		}
	}
	if (claim)
		replace(set, claim, note);
}

int64_t ld_unanswered_left(struct ld_unanswered *table, uint64_t tag, int64_t now_ms)
{
	const struct ld_unanswered_set *set = set_of(table, tag);
	int64_t until_ms = 0;

	for (unsigned way = 0; way < LD_UNANSWERED_WAYS; way++) {
		uint64_t word = atomic_load(&set->words[way]);

		if (is_of(word, tag) && until_of(word) > until_ms)
			until_ms = until_of(word);
	}
	return until_ms > now_ms ? until_ms - now_ms : 0;
}
