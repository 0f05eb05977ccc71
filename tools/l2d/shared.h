/* SPDX-License-Identifier: MIT */
/**
 * What the processes of one service share besides the cache: a mapping made before the first fork, with a slot of counters for each worker. A slot
 * has one writer, the worker that has it; anybody reads. A worker that dies leaves its counts behind, and
 * its successor counts on from them; every word may be read half-way between two others, and none is ever waited for.
 */
#ifndef L2D_SHARED_H
#define L2D_SHARED_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <larder/larder.h>

enum l2d_method { L2D_GET, L2D_HEAD, L2D_PUT, L2D_POST, L2D_DELETE, L2D_OTHER, L2D_METHODS };

#define L2D_STATUSES 16
/** The status that a column of counters is for; 0 = any other. */
extern const uint16_t l2d_statuses[L2D_STATUSES];

/** Counters of one worker, and who it is. */
struct l2d_slot {
	/** Written by the master: odd while a worker lives in the slot, one more at each birth and each death. */
	_Atomic uint64_t life;
	_Atomic uint64_t restarts;      /**< written by the master */
	_Atomic uint64_t requests[L2D_METHODS][L2D_STATUSES];
	_Atomic uint64_t bytes_in;      /**< bodies of requests */
	_Atomic uint64_t bytes_out;     /**< bodies of answers */
	_Atomic uint64_t repeats;       /**< writes that had been done before, by their Idempotency-Key */
	_Atomic uint64_t connections;   /**< open now */
	uint64_t reserved[2];
};
_Static_assert(sizeof(struct l2d_slot) % 64 == 0, "a slot of counters shares no cache line with another");

struct l2d_shared {
	uint64_t run;                   /**< random; of this run of the service alone */
	uint64_t slots;
	uint64_t reserved[6];
	struct l2d_slot slot[];
};

/** NULL: no memory. Lives until the process ends. */
struct l2d_shared *l2d_shared_make(unsigned slots);

/** Count a request that was answered. A status without a row of its own is counted as 0. */
void l2d_count(struct l2d_slot *slot, enum l2d_method method, unsigned status, uint64_t bytes_out);
/** Add to a counter that this process alone writes. */
void l2d_add(_Atomic uint64_t *counter, uint64_t more);

/** Has the worker that had this life in this slot of this run ended? A foreign run has. */
int l2d_is_over(const struct l2d_shared *shared, uint64_t run, uint32_t slot, uint64_t life);

/** Everything as text in Prometheus's format, to be freed; NULL: out of memory. cache's own counters are left out where they cannot be read. */
char *l2d_metrics_text(const struct l2d_shared *shared, larder *cache, size_t *ret_len);

#endif
