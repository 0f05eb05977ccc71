/* SPDX-License-Identifier: MIT */
/**
 * A window of entries to choose victims from. Private to l1/evict.c.
 */
#ifndef LD_L1_EVICT_WINDOW_H
#define LD_L1_EVICT_WINDOW_H

#include "l1/choose.h"
#include "l1/inside.h"

struct ld_evict_window {
	struct ld_store *store;
	MDB_cursor *cursor;            /* while it is read */
	struct ld_candidate *rows;     /* the caller's to free */
	size_t count, max;
	int64_t now_ms, wall_ms;
	int negative;                  /* 1: only "not found" entries */
};

/** An empty one, for victims of so large a batch. Returns its rows, or NULL: no memory. */
struct ld_candidate *ld_evict_window_new(struct ld_store *store, unsigned batch, struct ld_evict_window *ret_window);
/** Read rows into it, of this tenant only unless NULL, until it is full or there are no more where it looked. 0 or an error. */
int ld_evict_window_read(struct ld_evict_window *window, MDB_txn *txn, const char *tenant);

#endif
