/* SPDX-License-Identifier: MIT */
/*
 * Rounds of telling: take some rows, send them, settle them. Called by the thread of a process, `larder agent` included, by larder_flush(), and by callers of
 * LARDER_L2_WRITE=through where there is no such thread. It must never send two writes of one key at once, nor while a predecessor's request may be on its way:
 * the outbox's lock sees to both (l1/outbox.h). Nor may it send a newer write while L2 may still carry out an older one that it was not waited for:
 *
 *     a request of key k                                            its time, as ld_outbox_sending() has written it
 *     |--- sent --- given up: no answer, a lost connection, the breaker, the caller's own budget ...............|
 *                   note k: nothing of it is sent, by us or a successor --------------------------------------->| the next write of k
 *
 * What was answered, refused, or never sent keeps nobody back. What this host's kernel still has of it goes with its connection (l2/http_pool.c). That L2 carries
 * out nothing later than this time is what it all rests on.
 *
 *   killed after taking        nothing has happened.
 *   killed while sending       L2 may have the write or not; the row is told again, with the same Idempotency-Key, when the request's time is over.
 *   killed before settling     the same.
 *   the row is written anew    its sequence differs: settling leaves it, and the newer write is told after ours has been answered, or after our
 *   meanwhile                  request's time is over.
 *   the key is written beside  whoever does that raises the key's barrier, and then sends. We read the barrier before the row's entry, and again when our request
 *   the outbox meanwhile       has been announced: unless it is the same, nothing is sent, and the row is read anew. What is left is what both send at once.
 *   somebody waits for a key   its row is taken out of turn, in every other round: the others are not kept back for ever. The order of a key's writes is that
 *   (l2/drain_wait.c)          of its one row, whichever round it is in.
 *   stopped                    another process tells when the time of our last request is over (l1/drain.c). When we go on, what we had begun to send is
 *                              not sent any more, and nothing further is.
 */
#include "l2/drain_inside.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/background.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/futex.h"
#include "base/mem.h"
#include "base/process.h"
#include "shm/barrier.h"

enum { SENDERS = 4, AT_ONCE_B = 4 << 20, MARGIN_MS = 500, TICK_MS = 25, OTHERS_MS = 400, BACK_OFF_MS = 200, SPARE_MAX_MS = 30000 };

enum { STOP = 1, CALL = 2 };

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

static enum ld_l2_outcome send_delete(struct ld_drain *drain, const struct ld_l2_call *call, const struct ld_outbox_row *row, struct ld_l2_end *end)
{
	enum ld_l2_outcome outcome = ld_l2_delete(drain->l2, call, row->idempotency, end);

	return outcome == LD_L2_MISS ? LD_L2_HIT : outcome;
}

_Static_assert(sizeof(((struct ld_wire_value *)0)->tags) == sizeof(((struct ld_outbox_row *)0)->tags), "as many tags here as there");

static enum ld_l2_outcome send_set(struct ld_drain *drain, const struct ld_l2_call *call, const struct ld_outbox_row *row, struct ld_l2_end *end)
{
	struct ld_wire_value value = { .data = row->value, .len = row->len, .ttl_ms = row->ttl_ms, .stale_ms = row->stale_ms,
		.created_ms = row->created_wall_ms, .hard_end_ms = row->hard_end_ms, .flags = row->flags,
		.error_ms = row->error_ms, .tag_count = row->tag_count };
	enum ld_l2_outcome outcome;

	memcpy(value.tags, row->tags, sizeof(value.tags));
	outcome = ld_l2_put(drain->l2, call, &value, row->idempotency, end);
	/* Too short a life for the codec: then at least nothing older is left there. */
	return outcome == LD_L2_UNKEPT ? send_delete(drain, call, row, end) : outcome;
}

/* L2 may carry out later what it was not waited for: nothing of the key is sent before. Where nobody can note that, nothing at all. */
static void give_up(struct ld_drain *drain, const struct ld_key *key, int64_t until_ms)
{
	if (ld_outbox_unanswered(drain->store, key, until_ms) != 0)
		ld_seq_raise(&drain->quiet_until_ms, (uint64_t)until_ms);
}

static int64_t quiet_left(const struct ld_drain *drain)
{
	int64_t left_ms = (int64_t)atomic_load(&drain->quiet_until_ms) - ld_clock_boot_ms();

	return left_ms > 0 ? left_ms : 0;
}

/* 429 or 503 with Retry-After: so long only what somebody waits for is told. */
static void spare(struct ld_drain *drain, const struct ld_l2_end *end)
{
	int64_t wait_ms = end->retry_after_ms < SPARE_MAX_MS ? end->retry_after_ms : SPARE_MAX_MS;

	if (wait_ms > 0 && (end->status == 429 || end->status == 503))
		ld_seq_raise(&drain->spare_until_ms, (uint64_t)(ld_clock_boot_ms() + wait_ms));
}

static int is_spared(const struct ld_drain *drain)
{
	return (int64_t)atomic_load(&drain->spare_until_ms) > ld_clock_boot_ms();
}

static enum ld_outbox_outcome send(struct ld_drain *drain, const struct ld_key *key, const struct ld_outbox_row *row, int64_t budget_ms, int64_t until_ms)
{
	/* A successor sends from until_ms on: we end before. */
	struct ld_l2_call call = { .key = key, .budget_ms = budget_ms, .until_ms = until_ms - MARGIN_MS / 2 };
	struct ld_l2_end end = { 0 };
	enum ld_l2_outcome outcome;

	LD_POINT(tell_sending);
	outcome = row->op == LD_OUTBOX_SET ? send_set(drain, &call, row, &end) : send_delete(drain, &call, row, &end);
	LD_POINT(tell_sent);
	if (end.unanswered)
		give_up(drain, key, until_ms);
	if (outcome == LD_L2_HIT)
		return LD_OUTBOX_ACKNOWLEDGED;
	spare(drain, &end);
	/* Who is not let in, or sent elsewhere, today may not be tomorrow; what is malformed today is so for ever. */
	return outcome == LD_L2_REJECTED && end.status >= 400 ? LD_OUTBOX_FAILED : LD_OUTBOX_LEFT;
}

/* ---- several at once ---- */

struct batch {
	struct ld_drain *drain;
	size_t count;
	int64_t budget_ms;                 /* of each request; 0 = the limit of the settings */
	_Atomic size_t next;
	_Atomic int left;                  /* a row could not be told: the rest need not be tried now */
	_Atomic int64_t kept_ms;           /* some rows may not be told yet, one of them from then on; 0 = none */
};

/* May nothing of the key be sent yet? The others can. */
static int is_kept_back(struct batch *batch, const struct ld_key *key)
{
	int64_t left_ms = ld_outbox_unanswered_left(batch->drain->store, key);

	if (left_ms > 0)
		atomic_store(&batch->kept_ms, left_ms);
	return left_ms > 0;
}

/* The end of its request's time; 0 it is not to be sent in this round. */
static int64_t announce(struct batch *batch, const struct ld_key *key, const struct ld_outbox_row *row)
{
	struct ld_drain *drain = batch->drain;
	int64_t until_ms;
	int rc;

	if (is_kept_back(batch, key))
		return 0;
	rc = ld_outbox_sending(drain->store, ld_l2_longest_ms(drain->l2) + MARGIN_MS, &until_ms);
	/* Not ours any more, or not yet: the next round asks. Where the store is away for a moment we still have it. */
	if (rc == LARDER_E_BUSY)
		atomic_store(&drain->locked_by, 0);
	if (rc != 0) {
		atomic_store(&batch->left, 1);
		return 0;
	}
	if (ld_outbox_is_outdated(drain->store, row)) {
		atomic_store(&batch->kept_ms, 1);
		return 0;
	}
	return until_ms;
}

static void *send_some(void *ctx)
{
	struct batch *batch = ctx;
	size_t at;

	while (!atomic_load(&batch->left) && (at = atomic_fetch_add(&batch->next, 1)) < batch->count) {
		struct ld_outbox_row *row = &batch->drain->rows[at];
		struct ld_key key = key_of(row);
		int64_t until_ms = announce(batch, &key, row);

		if (until_ms == 0)
			continue;
		row->outcome = send(batch->drain, &key, row, batch->budget_ms, until_ms);
		if (row->outcome == LD_OUTBOX_LEFT)
			atomic_store(&batch->left, 1);
	}
	return NULL;
}

/* The same in a thread of its own. */
static void *send_beside(void *ctx)
{
	if (ld_background_begin()) {
		send_some(ctx);
		ld_background_end();
	}
	return NULL;
}

static int start_thread(pthread_t *thread, void *(*run)(void *), void *ctx)
{
	sigset_t all, before;
	int rc;

	ld_background_prepare();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(thread, NULL, run, ctx);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* The caller is one of the senders; the others live for this batch. Where none can be started, it sends alone. */
static void send_all(struct batch *batch)
{
	pthread_t threads[SENDERS];
	int started = 0;

	while (started + 1 < SENDERS && (size_t)started + 1 < batch->count && start_thread(&threads[started], send_beside, batch) == 0)
		started++;
	send_some(batch);
	while (started > 0)
		pthread_join(threads[--started], NULL);
}

static int settle(struct ld_drain *drain, size_t count)
{
	size_t told = 0;

	for (size_t i = 0; i < count; i++)
		told += drain->rows[i].outcome != LD_OUTBOX_LEFT;
	LD_POINT(tell_settling);
	/* What is not settled is told again: it does no harm, and there is nobody to tell. */
	if (told > 0 && ld_outbox_settle(drain->store, drain->rows, count, LD_DRAIN_BUSY_MS) != 0)
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

static size_t take(struct ld_drain *drain, const struct ld_drain_scope *scope)
{
	size_t count = 0;

	if (scope->keys || !drain->turn)
		ld_outbox_take_these(drain->store, scope->keys, scope->count, drain->rows, LD_DRAIN_AT_ONCE, AT_ONCE_B, &count);
	if (scope->keys)
		return count;
	drain->turn = count > 0;
	if (count == 0 && !is_spared(drain) && ld_outbox_take(drain->store, &drain->place, drain->rows, LD_DRAIN_AT_ONCE, AT_ONCE_B, &count) != 0)
		count = 0;
	return count;
}

/*
 * Before the next round. Whoever waits for a row does not wait for the others, which L2 does not take just now; but L2 is not asked without a pause. Rows that
 * were told and could not be settled would be told again at once. Those that are kept back do not hold up what is written meanwhile.
 */
static int64_t wait_after(struct ld_drain *drain, struct batch *batch, int told)
{
	int64_t kept_ms = atomic_load(&batch->kept_ms);

	drain->left = atomic_load(&batch->left);
	drain->kept = !drain->left && !told && kept_ms > 0;
	if (drain->left)
		return drain->turn || !ld_outbox_is_wanted(drain->store) ? BACK_OFF_MS : LD_DRAIN_BUSY_MS;
	if (told || drain->turn)
		return 0;
	return kept_ms == 0 ? BACK_OFF_MS : kept_ms < TICK_MS ? kept_ms : TICK_MS;
}

static enum ld_drain_result round_locked(struct ld_drain *drain, const struct ld_drain_scope *scope, int64_t *ret_wait_ms)
{
	struct batch batch = { .drain = drain, .budget_ms = scope->budget_ms };
	int told;

	drain->left = drain->kept = 0;
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
	if (*ret_wait_ms == 0)
		*ret_wait_ms = quiet_left(drain);
	if (*ret_wait_ms > 0 || ld_l2_is_open(drain->l2, ret_wait_ms)) {
		*ret_wait_ms = *ret_wait_ms < 1 || *ret_wait_ms > BACK_OFF_MS ? BACK_OFF_MS : *ret_wait_ms;
		return LD_DRAIN_BLOCKED;
	}
	batch.count = take(drain, scope);
	if (batch.count == 0) {
		*ret_wait_ms = TICK_MS;
		return is_spared(drain) ? LD_DRAIN_BLOCKED : LD_DRAIN_EMPTY;
	}
	send_all(&batch);
	told = settle(drain, batch.count);
	ld_outbox_forget(drain->rows, batch.count);
	*ret_wait_ms = wait_after(drain, &batch, told);
	return told ? LD_DRAIN_TOLD : LD_DRAIN_BLOCKED;
}

enum ld_drain_result ld_drain_do_round(struct ld_drain *drain, const struct ld_drain_scope *scope, struct ld_drain_after *ret_after)
{
	enum ld_drain_result result;

	*ret_after = (struct ld_drain_after){ LD_DRAIN_BUSY_MS, 0, 0 };
	if (ld_process_lock(&drain->lock, LD_DRAIN_BUSY_MS) != 0)
		return LD_DRAIN_OTHERS;
	result = round_locked(drain, scope, &ret_after->wait_ms);
	ret_after->left = drain->left;
	ret_after->kept = drain->kept;
	ld_process_unlock(&drain->lock);
	return result;
}

enum ld_drain_result ld_drain_round(struct ld_drain *drain, int64_t *ret_wait_ms)
{
	const struct ld_drain_scope all = { NULL, 0, 0 };
	struct ld_drain_after after;
	enum ld_drain_result result = ld_drain_do_round(drain, &all, &after);

	*ret_wait_ms = after.wait_ms;
	return result;
}

void ld_drain_beside(struct ld_drain *drain, const struct ld_key *key, struct ld_beside *ret_beside)
{
	int64_t until_ms = ld_clock_boot_ms() + ld_l2_longest_ms(drain->l2) + MARGIN_MS;

	ret_beside->claim = ld_outbox_claim(drain->store, key, until_ms);
	ret_beside->until_ms = until_ms - MARGIN_MS / 2;
}

void ld_drain_beside_end(struct ld_drain *drain, const struct ld_key *key, const struct ld_beside *beside, int unanswered)
{
	ld_outbox_claim_end(drain->store, key, beside->claim, !unanswered);
}

int ld_drain_has_thread(struct ld_drain *drain)
{
	return atomic_load_explicit(&drain->thread_of, memory_order_relaxed) == ld_process_generation();
}

static void leave(struct ld_drain *drain)
{
	/* A thread of ours that is in a round leaves after it. */
	if (ld_process_lock(&drain->lock, 0) != 0)
		return;
	if (atomic_exchange(&drain->locked_by, 0) == ld_process_generation())
		ld_outbox_unlock(drain->store, quiet_left(drain) == 0);
	ld_process_unlock(&drain->lock);
}

void ld_drain_leave(struct ld_drain *drain)
{
	if (!ld_drain_has_thread(drain))
		leave(drain);
}

/* ---- the thread ---- */

void ld_drain_call_thread(struct ld_drain *drain)
{
	atomic_fetch_add(&drain->wake, CALL);
	ld_futex_wake(&drain->wake, 1);
}

/* Whatever calls come: L2 has just not taken something, and whoever waits for a row calls all the time. To stop is another thing. */
static void pause_deaf(struct ld_drain *drain, int64_t wait_ms)
{
	int64_t left_ms = wait_ms, end_ms = ld_clock_boot_ms() + wait_ms;
	uint32_t wake;

	while (left_ms > 0 && !((wake = atomic_load(&drain->wake)) & STOP)) {
		ld_futex_wait(&drain->wake, wake, left_ms);
		left_ms = end_ms - ld_clock_boot_ms();
	}
}

/* Until it is time, or somebody calls: anybody of the host where we tell, this process where another one does. */
static void rest(struct ld_drain *drain, uint32_t wake, uint32_t calls, int64_t wait_ms)
{
	int64_t left_ms = wait_ms, end_ms = ld_clock_boot_ms() + wait_ms;

	if (atomic_load(&drain->locked_by) != ld_process_generation()) {
		ld_futex_wait(&drain->wake, wake, wait_ms);
		return;
	}
	while (left_ms > 0 && atomic_load(&drain->wake) == wake && ld_outbox_count(drain->store, LD_OUTBOX_CALLS) == calls) {
		ld_outbox_sleep(drain->store, LD_OUTBOX_CALLS, calls, left_ms);
		left_ms = end_ms - ld_clock_boot_ms();
	}
}

static void *run(void *ctx)
{
	const struct ld_drain_scope all = { NULL, 0, 0 };
	struct ld_drain *drain = ctx;

	for (;;) {
		uint32_t wake = atomic_load(&drain->wake), calls = ld_outbox_count(drain->store, LD_OUTBOX_CALLS);
		struct ld_drain_after after;

		if (wake & STOP || !ld_background_begin())
			break;
		(void)ld_drain_do_round(drain, &all, &after);
		ld_background_end();
		if (after.left)
			pause_deaf(drain, LD_DRAIN_BUSY_MS);
		if (after.wait_ms > (after.left ? LD_DRAIN_BUSY_MS : 0))
			rest(drain, wake, calls, after.wait_ms - (after.left ? LD_DRAIN_BUSY_MS : 0));
	}
	leave(drain);
	return NULL;
}

void ld_drain_start(struct ld_drain *drain)
{
	uint64_t process = ld_process_generation();

	if (atomic_load_explicit(&drain->thread_of, memory_order_relaxed) == process || ld_process_lock(&drain->starting, LD_DRAIN_BUSY_MS) != 0)
		return;
	if (atomic_load(&drain->thread_of) != process) {
		atomic_store(&drain->wake, 0);
		if (start_thread(&drain->thread, run, drain) == 0)
			atomic_store(&drain->thread_of, process);
	}
	ld_process_unlock(&drain->starting);
}

void ld_drain_free(struct ld_drain *drain)
{
	if (!drain)
		return;
	if (ld_drain_has_thread(drain)) {
		atomic_fetch_or(&drain->wake, STOP);
		ld_futex_wake(&drain->wake, 1);
		ld_outbox_call(drain->store);
		pthread_join(drain->thread, NULL);
	}
	free(drain);
}
