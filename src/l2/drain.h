/* SPDX-License-Identifier: MIT */
/**
 * The teller: sends what the outbox holds to L2. One process of the host does it at a time, under the outbox's lock, with a few requests at once, each of
 * another key; so the writes of a key keep their order. What cannot be told stays, and is tried again when the breaker lets a call through.
 *
 *     in each process   ld_drain_start() at its first call      a thread, which becomes the teller when nobody else is
 *     `larder agent`    the same, for a slow L2 must not keep it from its other work
 *     larder_flush()    ld_drain_round(), or a wait for who does
 *     LARDER_L2_WRITE=through   ld_drain_wait_for(): asks the teller; tells by itself where there is no such thread
 */
#ifndef LD_L2_DRAIN_H
#define LD_L2_DRAIN_H

#include <stdint.h>

#include "l2/client.h"

struct ld_drain;

/** Made in the master, with no thread. l2 and store are borrowed. NULL when memory is out. */
struct ld_drain *ld_drain_new(struct ld_l2 *l2, struct ld_store *store, const struct ld_log *log);
/** Stop the thread of this process, if it has one, and free. A request under way is waited for. NULL is allowed. */
void ld_drain_free(struct ld_drain *drain);

/** Start the thread of this process, once; signals blocked. Fork: the child starts its own. Cheap when it runs. */
void ld_drain_start(struct ld_drain *drain);

/** How a round ended: something was told; nothing was pending; another process tells; L2 takes nothing just now. */
enum ld_drain_result { LD_DRAIN_TOLD, LD_DRAIN_EMPTY, LD_DRAIN_OTHERS, LD_DRAIN_BLOCKED };

/**
 * Tell some rows. ret_wait_ms: how long to wait before the next round is any use. Keeps the lock between rounds until ld_drain_leave().
 * Blocks  up to the longest limit of a call to L2
 */
enum ld_drain_result ld_drain_round(struct ld_drain *drain, int64_t *ret_wait_ms);
/**
 * Wait until L2 has acknowledged all of these keys, or has refused them for good, however many others wait before them. The teller is asked, in whatever process
 * it is, and gives each request its whole time; where this process has no thread that could be it and nobody else tells, they are told from here, and a request
 * whose time is cut short by budget_ms keeps the key back afterwards (l2/drain.c). budget_ms: the longest time. Ends sooner where the breaker, or an earlier
 * request of the key, will not let a call through in that time. Includes ld_drain_leave().
 * Returns 0 told; LARDER_E_BUSY one is pending still, and will be told later
 */
int ld_drain_wait_for(struct ld_drain *drain, const struct ld_key *keys, size_t count, int64_t budget_ms);
/** A request beside the outbox. */
struct ld_beside {
	int64_t until_ms;                  /* boot clock, for struct ld_l2_call: nothing of it may be sent later */
	uint64_t claim;                    /* 0: nobody waits for it */
};
/**
 * This key is told from elsewhere, now, by one who has no outbox: the teller sends nothing of it before that request has been answered, or its time is over.
 * Where there is no room to say so the teller does not know, and the two have no order.
 */
void ld_drain_beside(struct ld_drain *drain, const struct ld_key *key, struct ld_beside *ret_beside);
/** It is over. unanswered: of its struct ld_l2_end. */
void ld_drain_beside_end(struct ld_drain *drain, const struct ld_key *key, const struct ld_beside *beside, int unanswered);
/** Let others tell. Where this process has a thread it keeps the lock. */
void ld_drain_leave(struct ld_drain *drain);

#endif
