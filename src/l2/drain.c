/* SPDX-License-Identifier: MIT */
/*
 * Rounds of telling: take some rows, send them, settle them. Called by the thread of a process, `larder agent` included, and by larder_flush(). It must never
 * send two writes of one key at once, nor while a predecessor's request may be on its way: the outbox's lock sees to both (l1/outbox.h).
 *
 *   killed after taking        nothing has happened.
 *   killed while sending       L2 may have the write or not; the row is told again, with the same Idempotency-Key.
 *   killed before settling     the same.
 *   the row is written anew    its sequence differs: settling leaves it, and the newer write is told after ours has been answered, or after our
 *   meanwhile                  request's time is over.
 *   somebody waits for a key   its row is taken out of turn, in every other round: the others are not kept back for ever. The order of a key's writes is that
 *   (ld_drain_wait_for())      of its one row, whichever round it is in.
 *   stopped                    another process tells when the time of our last request is over (l1/drain.c). When we go on, what we had begun to send is
 *                              not sent any more, and nothing further is.
 */
#include "l2/drain.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/futex.h"
#include "base/mem.h"
#include "base/process.h"
#include "l1/outbox.h"

enum { AT_ONCE = 64, SENDERS = 4, AT_ONCE_B = 4 << 20, MARGIN_MS = 500, TICK_MS = 25, OTHERS_MS = 400, BACK_OFF_MS = 200, BUSY_MS = 20,
	WAIT_TICK_MS = 2, REMIND_MS = 50 };

struct ld_drain {
	struct ld_l2 *l2;
	struct ld_store *store;
	const struct ld_log *log;
	struct ld_process_lock lock;       /* one round at a time in a process; guards what follows */
	_Atomic uint64_t locked_by;        /* process generation that has the outbox's lock, 0 = none as far as we know */
	struct ld_outbox_place place;
	int turn;                          /* 1: the last round was of rows that somebody waits for */
	struct ld_outbox_row rows[AT_ONCE];

	struct ld_process_lock starting;   /* guards thread and thread_of */
	pthread_t thread;
	_Atomic uint64_t thread_of;        /* process generation that has a thread, 0 = none */
	_Atomic uint32_t stop;             /* futex word too */
};

struct ld_drain *ld_drain_new(struct ld_l2 *l2, struct ld_store *store, const struct ld_log *log)
{
	struct ld_drain *drain = ld_calloc(1, sizeof(*drain));

	if (drain) {
		drain->l2 = l2;
		drain->store = store;
		drain->log = log;
	}
	return drain;
}

/* ---- one row ---- */

static struct ld_key key_of(const struct ld_outbox_row *row)
{
	struct ld_key key = { .tenant = row->tenant, .tenant_tag = ld_store_tag(row->tenant, NULL), .keep_quota = 1 };

	memcpy(key.digest, row->digest, sizeof(key.digest));
	return key;
}

static enum ld_l2_outcome send_delete(struct ld_drain *drain, const struct ld_l2_call *call, const struct ld_outbox_row *row)
{
	struct ld_l2_end end;
	enum ld_l2_outcome outcome = ld_l2_delete(drain->l2, call, row->idempotency, &end);

	return outcome == LD_L2_MISS ? LD_L2_HIT : outcome;
}

_Static_assert(sizeof(((struct ld_wire_value *)0)->tags) == sizeof(((struct ld_outbox_row *)0)->tags), "as many tags here as there");

static enum ld_l2_outcome send_set(struct ld_drain *drain, const struct ld_l2_call *call, const struct ld_outbox_row *row)
{
	struct ld_wire_value value = { .data = row->value, .len = row->len, .ttl_ms = row->ttl_ms, .stale_ms = row->stale_ms,
		.created_ms = row->created_wall_ms, .hard_end_ms = row->hard_end_ms, .flags = row->flags,
		.error_ms = row->error_ms, .tag_count = row->tag_count };
	enum ld_l2_outcome outcome;
	struct ld_l2_end end;

	memcpy(value.tags, row->tags, sizeof(value.tags));
	outcome = ld_l2_put(drain->l2, call, &value, row->idempotency, &end);
	/* Too short a life for the codec: then at least nothing older is left there. */
	return outcome == LD_L2_UNKEPT ? send_delete(drain, call, row) : outcome;
}

static void pause_for(int64_t wait_ms, int64_t end_ms)
{
	int64_t left_ms = end_ms - ld_clock_boot_ms();
	struct timespec pause = { 0, (wait_ms < left_ms ? wait_ms : left_ms) * 1000000 };

	if (left_ms > 0)
		nanosleep(&pause, NULL);
}

static enum ld_outbox_outcome send(struct ld_drain *drain, const struct ld_outbox_row *row, int64_t budget_ms)
{
	struct ld_key key = key_of(row);
	struct ld_l2_call call = { .key = &key, .budget_ms = budget_ms };
	enum ld_l2_outcome outcome;

	if (ld_outbox_sending(drain->store, ld_l2_longest_ms(drain->l2) + MARGIN_MS, &call.until_ms) != 0) {
		/* Not ours any more, or not yet: the next round asks. */
		atomic_store(&drain->locked_by, 0);
		return LD_OUTBOX_LEFT;
	}
	/* A successor sends from until_ms on: we end before. */
	call.until_ms -= MARGIN_MS / 2;
	LD_POINT(tell_sending);
	outcome = row->op == LD_OUTBOX_SET ? send_set(drain, &call, row) : send_delete(drain, &call, row);
	LD_POINT(tell_sent);
	if (outcome == LD_L2_HIT)
		return LD_OUTBOX_ACKNOWLEDGED;
	/* Who is not let in today may be tomorrow; what is malformed today is so for ever. */
	return outcome == LD_L2_REJECTED ? LD_OUTBOX_FAILED : LD_OUTBOX_LEFT;
}

/* ---- several at once ---- */

struct batch {
	struct ld_drain *drain;
	size_t count;
	int64_t budget_ms;                 /* of each request; 0 = the limit of the settings */
	_Atomic size_t next;
	_Atomic int left;                  /* a row could not be told: the rest need not be tried now */
};

static void *send_some(void *ctx)
{
	struct batch *batch = ctx;
	size_t at;

	while (!atomic_load(&batch->left) && (at = atomic_fetch_add(&batch->next, 1)) < batch->count) {
		struct ld_outbox_row *row = &batch->drain->rows[at];

		row->outcome = send(batch->drain, row, batch->budget_ms);
		if (row->outcome == LD_OUTBOX_LEFT)
			atomic_store(&batch->left, 1);
	}
	return NULL;
}

static int start_thread(pthread_t *thread, void *(*run)(void *), void *ctx)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(thread, NULL, run, ctx);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* The caller is one of the senders; the others live for this batch. Where none can be started, it sends alone. Returns 1 if a row was left. */
static int send_all(struct ld_drain *drain, size_t count, int senders, int64_t budget_ms)
{
	struct batch batch = { .drain = drain, .count = count, .budget_ms = budget_ms };
	pthread_t threads[SENDERS];
	int started = 0;

	while (started + 1 < senders && (size_t)started + 1 < count && start_thread(&threads[started], send_some, &batch) == 0)
		started++;
	send_some(&batch);
	while (started > 0)
		pthread_join(threads[--started], NULL);
	return atomic_load(&batch.left);
}

static int settle(struct ld_drain *drain, size_t count)
{
	size_t told = 0;

	for (size_t i = 0; i < count; i++)
		told += drain->rows[i].outcome != LD_OUTBOX_LEFT;
	LD_POINT(tell_settling);
	/* What is not settled is told again: it does no harm, and there is nobody to tell. */
	if (told > 0 && ld_outbox_settle(drain->store, drain->rows, count, BUSY_MS) != 0)
		return 0;
	return told > 0;
}

/* ---- rounds ---- */

/* Be the host's teller, or stay it. 0 with the time before the first request; LARDER_EXISTS, LARDER_UNAVAILABLE. */
static int be_teller(struct ld_drain *drain, int64_t *ret_wait_ms)
{
	uint64_t process = ld_process_generation();
	int rc;

	*ret_wait_ms = 0;
	if (atomic_load(&drain->locked_by) == process)
		return 0;
	rc = ld_outbox_lock(drain->store, ret_wait_ms);
	if (rc == 0 && *ret_wait_ms == 0)
		atomic_store(&drain->locked_by, process);
	else if (rc == 0)
		ld_outbox_unlock(drain->store, 0);
	return rc;
}

/* What a round may tell: all, or, for one who waits, only his own keys, each within his time. */
struct round {
	const struct ld_key *keys;         /* NULL = all */
	size_t count;
	int64_t budget_ms;                 /* 0 = the limits of the settings */
};

static size_t take(struct ld_drain *drain, const struct round *round)
{
	size_t count = 0;

	if (round->keys || !drain->turn)
		ld_outbox_take_these(drain->store, round->keys, round->count, drain->rows, AT_ONCE, AT_ONCE_B, &count);
	if (round->keys)
		return count;
	drain->turn = count > 0;
	if (count == 0 && ld_outbox_take(drain->store, &drain->place, drain->rows, AT_ONCE, AT_ONCE_B, &count) != 0)
		count = 0;
	return count;
}

static enum ld_drain_result round_locked(struct ld_drain *drain, const struct round *round, int64_t *ret_wait_ms)
{
	size_t count;
	int left, told;

	if (!ld_outbox_any(drain->store)) {
		*ret_wait_ms = TICK_MS;
		return LD_DRAIN_EMPTY;
	}
	switch (be_teller(drain, ret_wait_ms)) {
	case 0:
		break;
	case LARDER_EXISTS:
		*ret_wait_ms = OTHERS_MS;
		return LD_DRAIN_OTHERS;
	default:
		*ret_wait_ms = BACK_OFF_MS;
		return LD_DRAIN_BLOCKED;
	}
	if (*ret_wait_ms > 0 || ld_l2_is_open(drain->l2, ret_wait_ms)) {
		*ret_wait_ms = *ret_wait_ms < 1 || *ret_wait_ms > BACK_OFF_MS ? BACK_OFF_MS : *ret_wait_ms;
		return LD_DRAIN_BLOCKED;
	}
	count = take(drain, round);
	if (count == 0) {
		*ret_wait_ms = TICK_MS;
		return LD_DRAIN_EMPTY;
	}
	left = send_all(drain, count, SENDERS, round->budget_ms);
	told = settle(drain, count);
	ld_outbox_forget(drain->rows, count);
	*ret_wait_ms = left ? BACK_OFF_MS : 0;
	return told ? LD_DRAIN_TOLD : LD_DRAIN_BLOCKED;
}

static enum ld_drain_result do_round(struct ld_drain *drain, const struct round *round, int64_t *ret_wait_ms)
{
	enum ld_drain_result result;

	if (ld_process_lock(&drain->lock, BUSY_MS) != 0) {
		*ret_wait_ms = BUSY_MS;
		return LD_DRAIN_OTHERS;
	}
	result = round_locked(drain, round, ret_wait_ms);
	ld_process_unlock(&drain->lock);
	return result;
}

enum ld_drain_result ld_drain_round(struct ld_drain *drain, int64_t *ret_wait_ms)
{
	const struct round round = { NULL, 0, 0 };

	return do_round(drain, &round, ret_wait_ms);
}

/* The first that L2 has not been told of; count where it has been told of all. */
static size_t first_pending(struct ld_drain *drain, const struct ld_key *keys, size_t at, size_t count)
{
	while (at < count && !ld_outbox_pending(drain->store, &keys[at]))
		at++;
	return at;
}

/* For whoever has the lock. A few at a time: the ring of hints is small, and others wait too. */
static void remind(struct ld_drain *drain, const struct ld_key *keys, size_t at, size_t count)
{
	for (size_t i = at; i < count && i - at < LD_WANTED_ROWS / 2; i++)
		ld_outbox_want(drain->store, &keys[i]);
}

int ld_drain_wait_for(struct ld_drain *drain, const struct ld_key *keys, size_t count, int64_t budget_ms)
{
	int64_t end_ms = ld_clock_boot_ms() + budget_ms, remind_ms = 0, wait_ms, retry_ms;
	size_t at = 0, before;

	while (before = at, (at = first_pending(drain, keys, at, count)) < count) {
		int64_t now_ms = ld_clock_boot_ms();
		struct round round = { keys + at, count - at, end_ms - now_ms };
		enum ld_drain_result result;

		if (now_ms >= end_ms)
			return LARDER_E_BUSY;
		result = do_round(drain, &round, &wait_ms);
		if (result == LD_DRAIN_OTHERS && (at != before || now_ms >= remind_ms)) {
			remind(drain, keys, at, count);
			remind_ms = now_ms + REMIND_MS;
		}
		if (result == LD_DRAIN_BLOCKED && ld_l2_is_open(drain->l2, &retry_ms) && (retry_ms < 0 || retry_ms > end_ms - ld_clock_boot_ms()))
			return LARDER_E_BUSY;
		if (result != LD_DRAIN_TOLD)
			pause_for(result == LD_DRAIN_BLOCKED ? BUSY_MS : WAIT_TICK_MS, end_ms);
	}
	return 0;
}

void ld_drain_leave(struct ld_drain *drain)
{
	if (atomic_exchange(&drain->locked_by, 0) == ld_process_generation())
		ld_outbox_unlock(drain->store, 1);
}

/* ---- the thread ---- */

static void *run(void *ctx)
{
	struct ld_drain *drain = ctx;

	while (!atomic_load(&drain->stop)) {
		int64_t wait_ms = TICK_MS;

		ld_drain_round(drain, &wait_ms);
		if (wait_ms > 0)
			ld_futex_wait(&drain->stop, 0, wait_ms);
	}
	ld_drain_leave(drain);
	return NULL;
}

void ld_drain_start(struct ld_drain *drain)
{
	uint64_t process = ld_process_generation();

	if (atomic_load_explicit(&drain->thread_of, memory_order_relaxed) == process || ld_process_lock(&drain->starting, BUSY_MS) != 0)
		return;
	if (atomic_load(&drain->thread_of) != process) {
		atomic_store(&drain->stop, 0);
		if (start_thread(&drain->thread, run, drain) == 0)
			atomic_store(&drain->thread_of, process);
	}
	ld_process_unlock(&drain->starting);
}

void ld_drain_free(struct ld_drain *drain)
{
	if (!drain)
		return;
	if (atomic_load(&drain->thread_of) == ld_process_generation()) {
		atomic_store(&drain->stop, 1);
		ld_futex_wake(&drain->stop, 1);
		pthread_join(drain->thread, NULL);
	}
	free(drain);
}
