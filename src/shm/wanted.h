/* SPDX-License-Identifier: MIT */
/**
 * Rows of the outbox that somebody waits for: a hint to the teller, which takes them before those that nobody waits for. A ring of fixed size; what is
 * posted when it is full overwrites the oldest, and who waits posts again from time to time. So a hint that is lost costs time and nothing else, and
 * nothing is wrong with one that means nothing any more.
 *
 * Zeroed = empty. No locks, never blocks, allocates nothing; any process and thread.
 */
#ifndef LD_SHM_WANTED_H
#define LD_SHM_WANTED_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { LD_WANTED_ROWS = 32, LD_WANTED_KEY = 96 };

/** 128 bytes. `check` is a hash of the words, 0 = empty: words of two writers, or of one that was killed, do not have it. */
struct ld_wanted_row {
	_Atomic uint64_t check;
	_Atomic uint64_t len;
	_Atomic uint64_t key[LD_WANTED_KEY / 8];
	uint64_t reserved[2];
};
_Static_assert(sizeof(struct ld_wanted_row) == 128, "layout");

struct ld_wanted {
	_Atomic uint32_t posted;        /* counts; the row that is written next, modulo LD_WANTED_ROWS */
	_Atomic uint32_t looked;        /* `posted` at the last look: the same now means that there is nothing new */
	char pad[120];
	struct ld_wanted_row rows[LD_WANTED_ROWS];
};

/** key: 1..LD_WANTED_KEY bytes. */
void ld_wanted_post(struct ld_wanted *wanted, const void *key, size_t len);

/** Is it worth while to take? 1 or 0: nothing was posted since it was last asked. */
int ld_wanted_look(struct ld_wanted *wanted);
/** The same question, for one who will not take now: the next look answers as if it had not been asked. */
int ld_wanted_is_new(const struct ld_wanted *wanted);
/** What row 0..LD_WANTED_ROWS - 1 has, and empty it. Returns the length; 0 = nothing. */
size_t ld_wanted_take(struct ld_wanted *wanted, unsigned row, unsigned char ret_key[LD_WANTED_KEY]);

#endif
