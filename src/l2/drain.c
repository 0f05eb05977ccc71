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
 *   somebody waits for a key   its row is taken out of turn, in every other round: the others are not kept back for ever. The order of a key's writes is that
 *   (ld_drain_wait_for())      of its one row, whichever round it is in.
 *   somebody waits where a     he calls the teller, which cuts its sleep short, whichever process it is in, and gives the request its whole time; he waits for
 *   thread tells               it only for as long as he likes.
 *   stopped                    another process tells when the time of our last request is over (l1/drain.c). When we go on, what we had begun to send is
 *                              not sent any more, and nothing further is.
 */
#include "l2/drain.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/futex.h"
#include "base/mem.h"
#include "base/process.h"
#include "l1/outbox.h"
#include "shm/barrier.h"

enum { AT_ONCE = 64, SENDERS = 4, AT_ONCE_B = 4 << 20, MARGIN_MS = 500, TICK_MS = 25, OTHERS_MS = 400, BACK_OFF_MS = 200, BUSY_MS = 20,
	OTHERS_TICK_MS = 10, REMIND_MS = 50 };

struct ld_drain {
	struct ld_l2 *l2;
	struct ld_store *store;
	const struct ld_log *log;
	struct ld_process_lock lock;       /* one round at a time in a process; guards what follows */
	_Atomic uint64_t locked_by;        /* process generation that has the outbox's lock, 0 = none as far as we know */
	_Atomic uint64_t quiet_until_ms;   /* boot clock: until then we send nothing, for want of room to note a key; 0 = at once */
	struct ld_outbox_place place;
	int turn;                          /* 1: the last round was of rows that somebody waits for */
	int left;                          /* 1: in the last round L2 did not take what it was sent */
	int kept;                          /* 1: the last round found rows that may not be told yet, and nothing else */
	struct ld_outbox_row rows[AT_ONCE];

	struct ld_process_lock starting;   /* guards thread and thread_of */
	pthread_t thread;
	_Atomic uint64_t thread_of;        /* process generation that has a thread, 0 = none */
	_Atomic uint32_t wake;             /* futex word: lowest bit: stop; above it a count of calls from this process */
};

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

static enum ld_outbox_outcome send(struct ld_drain *drain, const struct ld_key *key, const struct ld_outbox_row *row, int64_t budget_ms)
{
	struct ld_l2_call call = { .key = key, .budget_ms = budget_ms };
	struct ld_l2_end end = { 0 };
	enum ld_l2_outcome outcome;
	int64_t until_ms;
	int rc = ld_outbox_sending(drain->store, ld_l2_longest_ms(drain->l2) + MARGIN_MS, &until_ms);

	/* Not ours any more, or not yet: the next round asks. Where the store is away for a moment we still have it. */
	if (rc == LARDER_E_BUSY)
		atomic_store(&drain->locked_by, 0);
	if (rc != 0)
		return LD_OUTBOX_LEFT;
	/* A successor sends from until_ms on: we end before. */
	call.until_ms = until_ms - MARGIN_MS / 2;
	LD_POINT(tell_sending);
	outcome = row->op == LD_OUTBOX_SET ? send_set(drain, &call, row, &end) : send_delete(drain, &call, row, &end);
	LD_POINT(tell_sent);
	if (end.unanswered)
		give_up(drain, key, until_ms);
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

static void *send_some(void *ctx)
{
	struct batch *batch = ctx;
	size_t at;

	while (!atomic_load(&batch->left) && (at = atomic_fetch_add(&batch->next, 1)) < batch->count) {
		struct ld_outbox_row *row = &batch->drain->rows[at];
		struct ld_key key = key_of(row);

		if (is_kept_back(batch, &key))
			continue;
		row->outcome = send(batch->drain, &key, row, batch->budget_ms);
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

/* The caller is one of the senders; the others live for this batch. Where none can be started, it sends alone. */
static void send_all(struct batch *batch)
{
	pthread_t threads[SENDERS];
	int started = 0;

	while (started + 1 < SENDERS && (size_t)started + 1 < batch->count && start_thread(&threads[started], send_some, batch) == 0)
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
		return drain->turn || !ld_outbox_is_wanted(drain->store) ? BACK_OFF_MS : BUSY_MS;
	if (told || drain->turn)
		return 0;
	return kept_ms == 0 ? BACK_OFF_MS : kept_ms < TICK_MS ? kept_ms : TICK_MS;
}

static enum ld_drain_result round_locked(struct ld_drain *drain, const struct round *round, int64_t *ret_wait_ms)
{
	struct batch batch = { .drain = drain, .budget_ms = round->budget_ms };
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
	batch.count = take(drain, round);
	if (batch.count == 0) {
		*ret_wait_ms = TICK_MS;
		return LD_DRAIN_EMPTY;
	}
	send_all(&batch);
	told = settle(drain, batch.count);
	ld_outbox_forget(drain->rows, batch.count);
	*ret_wait_ms = wait_after(drain, &batch, told);
	return told ? LD_DRAIN_TOLD : LD_DRAIN_BLOCKED;
}

/* What the caller of a round does about it. */
struct after {
	int64_t wait_ms;                   /* before the next one is any use */
	int left, kept;                    /* as in struct ld_drain */
};

static enum ld_drain_result do_round(struct ld_drain *drain, const struct round *round, struct after *ret_after)
{
	enum ld_drain_result result;

	*ret_after = (struct after){ BUSY_MS, 0, 0 };
	if (ld_process_lock(&drain->lock, BUSY_MS) != 0)
		return LD_DRAIN_OTHERS;
	result = round_locked(drain, round, &ret_after->wait_ms);
	ret_after->left = drain->left;
	ret_after->kept = drain->kept;
	ld_process_unlock(&drain->lock);
	return result;
}

enum ld_drain_result ld_drain_round(struct ld_drain *drain, int64_t *ret_wait_ms)
{
	const struct round round = { NULL, 0, 0 };
	struct after after;
	enum ld_drain_result result = do_round(drain, &round, &after);

	*ret_wait_ms = after.wait_ms;
	return result;
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

/* Will L2 surely not be told of it within this time? */
static int is_in_vain(struct ld_drain *drain, const struct ld_key *key, int64_t left_ms)
{
	int64_t retry_ms;

	if (ld_l2_is_open(drain->l2, &retry_ms) && (retry_ms < 0 || retry_ms > left_ms))
		return 1;
	return ld_outbox_unanswered_left(drain->store, key) > left_ms;
}

/* Who waits, for which keys, and until when. */
struct wait {
	struct ld_drain *drain;
	const struct ld_key *keys;
	size_t count, at;                  /* L2 has been told of those before `at` */
	int64_t end_ms, remind_ms;
};

static void call_thread(struct ld_drain *drain)
{
	atomic_fetch_add(&drain->wake, CALL);
	ld_futex_wake(&drain->wake, 1);
}

/* To whoever has the lock: hints, when there is something new to say or the last ones may be lost. */
static void ask(struct wait *wait, int is_new, int64_t now_ms)
{
	if (!is_new && now_ms < wait->remind_ms)
		return;
	remind(wait->drain, wait->keys, wait->at, wait->count);
	wait->remind_ms = now_ms + REMIND_MS;
	ld_outbox_call(wait->drain->store);
}

/* The same. Our own thread tells where nobody does; where nothing comes of the hints, it looks whether the holder is dead. */
static void ask_thread(struct wait *wait, int is_new, int64_t now_ms)
{
	int looks = wait->remind_ms != 0 && now_ms >= wait->remind_ms;

	ask(wait, is_new, now_ms);
	if (looks || !ld_outbox_is_held(wait->drain->store))
		call_thread(wait->drain);
}

/*
 * Tell them from here, if nobody else tells. Returns how long to pause, 0 = not at all. Whoever has nothing but rows that are kept back lets others tell theirs
 * meanwhile; that is an end as well, and *ends is read again: he is not to be woken by himself.
 */
static int64_t tell(struct wait *wait, int is_new, int64_t now_ms, uint32_t *ends)
{
	struct round round = { wait->keys + wait->at, wait->count - wait->at, wait->end_ms - now_ms };
	struct after after;

	switch (do_round(wait->drain, &round, &after)) {
	case LD_DRAIN_TOLD:
		return 0;
	case LD_DRAIN_OTHERS:
		ask(wait, is_new, now_ms);
		return OTHERS_TICK_MS;
	default:
		if (after.kept) {
			ld_drain_leave(wait->drain);
			*ends = ld_outbox_count(wait->drain->store, LD_OUTBOX_ENDS);
		}
		return BUSY_MS;
	}
}

static int has_thread(struct ld_drain *drain)
{
	return atomic_load_explicit(&drain->thread_of, memory_order_relaxed) == ld_process_generation();
}

/* 1 = look again; 0 told; LARDER_E_BUSY. Between look and sleep, for somebody may settle in between: the count comes first. */
static int wait_some(struct wait *wait)
{
	uint32_t ends = ld_outbox_count(wait->drain->store, LD_OUTBOX_ENDS);
	size_t before = wait->at;
	int64_t now_ms, pause_ms = REMIND_MS;

	wait->at = first_pending(wait->drain, wait->keys, wait->at, wait->count);
	if (wait->at == wait->count)
		return 0;
	now_ms = ld_clock_boot_ms();
	if (now_ms >= wait->end_ms)
		return LARDER_E_BUSY;
	if (has_thread(wait->drain))
		ask_thread(wait, wait->at != before, now_ms);
	else
		pause_ms = tell(wait, wait->at != before, now_ms, &ends);
	if (pause_ms == 0)
		return 1;
	now_ms = ld_clock_boot_ms();
	if (now_ms >= wait->end_ms || is_in_vain(wait->drain, &wait->keys[wait->at], wait->end_ms - now_ms))
		return LARDER_E_BUSY;
	ld_outbox_sleep(wait->drain->store, LD_OUTBOX_ENDS, ends, pause_ms < wait->end_ms - now_ms ? pause_ms : wait->end_ms - now_ms);
	return 1;
}

int ld_drain_wait_for(struct ld_drain *drain, const struct ld_key *keys, size_t count, int64_t budget_ms)
{
	struct wait wait = { .drain = drain, .keys = keys, .count = count, .end_ms = ld_clock_boot_ms() + budget_ms };
	int rc;

	while ((rc = wait_some(&wait)) > 0)
		;
	ld_drain_leave(drain);
	return rc;
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
	if (!has_thread(drain))
		leave(drain);
}

/* ---- the thread ---- */

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
	const struct round round = { NULL, 0, 0 };
	struct ld_drain *drain = ctx;

	for (;;) {
		uint32_t wake = atomic_load(&drain->wake), calls = ld_outbox_count(drain->store, LD_OUTBOX_CALLS);
		struct after after;

		if (wake & STOP)
			break;
		(void)do_round(drain, &round, &after);
		if (after.left)
			pause_deaf(drain, BUSY_MS);
		if (after.wait_ms > (after.left ? BUSY_MS : 0))
			rest(drain, wake, calls, after.wait_ms - (after.left ? BUSY_MS : 0));
	}
	leave(drain);
	return NULL;
}

void ld_drain_start(struct ld_drain *drain)
{
	uint64_t process = ld_process_generation();

	if (atomic_load_explicit(&drain->thread_of, memory_order_relaxed) == process || ld_process_lock(&drain->starting, BUSY_MS) != 0)
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
	if (has_thread(drain)) {
		atomic_fetch_or(&drain->wake, STOP);
		ld_futex_wake(&drain->wake, 1);
		ld_outbox_call(drain->store);
		pthread_join(drain->thread, NULL);
	}
	free(drain);
}
