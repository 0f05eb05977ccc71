/* SPDX-License-Identifier: MIT */
/*
 * The table of keys with a request that was not answered. Called by the teller, through l1/. It must never let go of a word before its time.
 *
 *   two note keys of one set at once     one compare-and-swap of a free word fails; that one takes the next word.
 *   an old teller, stopped and replaced, its successor waited for the time of its request: it writes a time that is over by now, into a word that is
 *   goes on and notes its key            free or its own.
 *   the boot clock passes 2^40 ms        after 34 years.
 */
#include "shm/unanswered.h"

#include <stddef.h>

enum { LABEL_BITS = 24 };

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
	return (int64_t)(word >> LABEL_BITS);
}

int ld_unanswered_note(struct ld_unanswered *table, uint64_t tag, int64_t until_ms, int64_t now_ms)
{
	uint64_t wanted = (uint64_t)until_ms << LABEL_BITS | label_of(tag);
	struct ld_unanswered_set *set = set_of(table, tag);

	for (unsigned way = 0; way < LD_UNANSWERED_WAYS; way++) {
		uint64_t word = atomic_load(&set->words[way]);

		if (is_of(word, tag) && until_of(word) >= until_ms)
			return 1;
		if ((is_of(word, tag) || until_of(word) <= now_ms) && atomic_compare_exchange_strong(&set->words[way], &word, wanted))
			return 1;
	}
	return 0;
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
