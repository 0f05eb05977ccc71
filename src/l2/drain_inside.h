/* SPDX-License-Identifier: MIT */
/**
 * What the teller and those who wait for it share. Private to l2/.
 */
#ifndef LD_L2_DRAIN_INSIDE_H
#define LD_L2_DRAIN_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/process.h"
#include "l1/outbox.h"
#include "l2/drain.h"

enum { LD_DRAIN_AT_ONCE = 64, LD_DRAIN_BUSY_MS = 20 };

struct ld_drain {
	struct ld_l2 *l2;
	struct ld_store *store;
	const struct ld_log *log;
	struct ld_process_lock lock;       /* one round at a time in a process; guards what follows */
	_Atomic uint64_t locked_by;        /* process generation that has the outbox's lock, 0 = none as far as we know */
	_Atomic uint64_t quiet_until_ms;   /* boot clock: until then we send nothing, for want of room to note a key; 0 = at once */
	_Atomic uint64_t spare_until_ms;   /* boot clock: until then L2 has asked to be left alone: nothing is sent that nobody waits for; 0 = no such time */
	struct ld_outbox_place place;
	int turn;                          /* 1: the last round was of rows that somebody waits for */
	int left;                          /* 1: in the last round L2 did not take what it was sent */
	int kept;                          /* 1: the last round found rows that may not be told yet, and nothing else */
	struct ld_outbox_row rows[LD_DRAIN_AT_ONCE];

	struct ld_process_lock starting;   /* guards thread and thread_of */
	pthread_t thread;
	_Atomic uint64_t thread_of;        /* process generation that has a thread, 0 = none */
	_Atomic uint32_t wake;             /* futex word: lowest bit: stop; above it a count of calls from this process */
};

/** What a round may tell: all, or, for one who waits, only his own keys, each within his time. */
struct ld_drain_scope {
	const struct ld_key *keys;         /* NULL = all */
	size_t count;
	int64_t budget_ms;                 /* 0 = the limits of the settings */
};

/** What the caller of a round does about it. */
struct ld_drain_after {
	int64_t wait_ms;                   /* before the next one is any use */
	int left, kept;                    /* as in struct ld_drain */
};

/** One round of the host's teller, if this process can be it; for one thread of it at a time. Keeps the lock until ld_drain_leave(). */
enum ld_drain_result ld_drain_do_round(struct ld_drain *drain, const struct ld_drain_scope *scope, struct ld_drain_after *ret_after);
/** Has this process a thread that tells? 1 or 0. */
int ld_drain_has_thread(struct ld_drain *drain);
/** Wake it. */
void ld_drain_call_thread(struct ld_drain *drain);

#endif
