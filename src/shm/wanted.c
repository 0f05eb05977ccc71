/* SPDX-License-Identifier: MIT */
/*
 * The ring of rows that somebody waits for. Called by callers of LARDER_L2_WRITE=through, and by the teller before each round. A reader must never take
 * a key that nobody has posted.
 *
 *   two post into one row             after 32 posts that nobody took: their words mix, the hash does not fit, both hints are lost.
 *   one is killed while it posts      the same for that row, until it is posted to again.
 *   posted while the teller looks     `looked` is written before the rows are read: it is found now, or `posted` differs at the next look.
 *   two take one row                  both may have it, and look for the row in the outbox; only the teller takes, and there is one.
 */
#include "shm/wanted.h"

#include <string.h>

/* Any mixture in which every bit counts: it tells words that belong together from words that do not, not friend from foe. */
static uint64_t check_of(const uint64_t words[LD_WANTED_KEY / 8], size_t len)
{
	uint64_t check = len;

	for (unsigned i = 0; i < LD_WANTED_KEY / 8; i++) {
		check = (check ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
		check ^= check >> 29;
	}
	return check ? check : 1;
}

void ld_wanted_post(struct ld_wanted *wanted, const void *key, size_t len)
{
	struct ld_wanted_row *row = &wanted->rows[atomic_fetch_add(&wanted->posted, 1) % LD_WANTED_ROWS];
	uint64_t words[LD_WANTED_KEY / 8] = { 0 };

	memcpy(words, key, len);
	atomic_store_explicit(&row->check, 0, memory_order_relaxed);
	for (unsigned i = 0; i < LD_WANTED_KEY / 8; i++)
		atomic_store_explicit(&row->key[i], words[i], memory_order_relaxed);
	atomic_store_explicit(&row->len, len, memory_order_relaxed);
	/* release: pairs with the acquire in ld_wanted_take() */
	atomic_store_explicit(&row->check, check_of(words, len), memory_order_release);
	/* Once more, for a teller that looked between the count above and the key. */
	atomic_fetch_add(&wanted->posted, LD_WANTED_ROWS);
}

int ld_wanted_look(struct ld_wanted *wanted)
{
	uint32_t posted = atomic_load(&wanted->posted);

	return atomic_exchange(&wanted->looked, posted) != posted;
}

int ld_wanted_is_new(const struct ld_wanted *wanted)
{
	return atomic_load(&wanted->looked) != atomic_load(&wanted->posted);
}

size_t ld_wanted_take(struct ld_wanted *wanted, unsigned row, unsigned char ret_key[LD_WANTED_KEY])
{
	struct ld_wanted_row *from = &wanted->rows[row];
	uint64_t check = atomic_load_explicit(&from->check, memory_order_acquire), words[LD_WANTED_KEY / 8];
	size_t len;

	if (check == 0)
		return 0;
	for (unsigned i = 0; i < LD_WANTED_KEY / 8; i++)
		words[i] = atomic_load_explicit(&from->key[i], memory_order_relaxed);
	len = (size_t)atomic_load_explicit(&from->len, memory_order_relaxed);
	if (len == 0 || len > LD_WANTED_KEY || check_of(words, len) != check)
		return 0;
	/* Another key may stand there by now: it stays for the next look. */
	atomic_compare_exchange_strong(&from->check, &check, 0);
	memcpy(ret_key, words, len);
	return len;
}
