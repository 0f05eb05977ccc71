/* SPDX-License-Identifier: MIT */
/*
 * The refreshing threads: they fetch what a caller was given stale, after that caller has gone. Up to THREADS in each process that may have threads, started
 * as jobs come and all others are busy, so that one slow load does not keep the rest; signals blocked. The queue is short, for each job holds a lease that
 * runs. A job opens a tenant handle of its own, for the caller's may be closed.
 *
 *   the queue is full          the caller is told so and refreshes by itself, or leaves it to the next one.
 *   killed with jobs queued    their leases are taken over as those of any dead process: the value stays stale a moment longer.
 *   a job waits for too long   its lease ends and another process refreshes; the job finds a fresh value and does nothing, or its fill is discarded.
 *   fork                       the child has the queue's memory and neither threads nor leases: it frees the jobs and starts its own. Places are written
 *                              one word at a time, so that a fork in the midst leaves a job or none in each.
 *   exit without a close       what is queued stays so, what is under way is left off (base/background.h), but for a loader: their leases are a dead process's.
 *   close                      what is queued is let go, what is under way is waited for.
 */
#include "cache/fill.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/background.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/futex.h"
#include "base/mem.h"
#include "base/process.h"

enum { QUEUE = 64, THREADS = 4, BUSY_MS = 20, TICK_MS = 1000 };

struct job {
	char tenant[LARDER_TENANT_MAX + 1];
	char space[LARDER_SPACE_MAX + 1];
	char request_id[129];              /* "" = none, as the next one */
	char subkey[LD_SUBKEY_MAX + 1];
	uint32_t call_flags;
	struct ld_lease lease;
	int early;
	int has_loading;
	struct larder_loading loading;     /* ctx is in `bytes` where it was copied */
	size_t name_len;
	unsigned char bytes[];             /* the context, if it was copied, then the name */
};

struct ld_refresh {
	larder *cache;
	struct ld_process_lock lock;       /* guards what follows */
	uint64_t process;                  /* generation that queue and threads belong to */
	_Atomic(struct job *) queue[QUEUE];/* a ring; NULL = free */
	unsigned first, count;
	pthread_t threads[THREADS];
	unsigned started, busy;
	_Atomic uint32_t calls;            /* futex word: grows with each job */
	_Atomic uint32_t stop;
};

struct ld_refresh *ld_refresh_new(larder *cache)
{
	struct ld_refresh *refresh = ld_calloc(1, sizeof(*refresh));

	if (refresh)
		refresh->cache = cache;
	return refresh;
}

static void free_job(struct job *job)
{
	size_t ctx_size = job->has_loading ? job->loading.ctx_size : 0;

	/* A name may be a secret. */
	ld_wipe(job->bytes, ctx_size + job->name_len);
	free(job);
}

static void let_go(const struct ld_refresh *refresh, struct job *job)
{
	ld_store_lease_end(refresh->cache->store, &job->lease, LD_LEASE_STORED, 0);
	free_job(job);
}

static struct job *make_job(const struct ld_fill *fill)
{
	const struct ld_asked *asked = fill->asked;
	size_t ctx_size = fill->loading ? fill->loading->ctx_size : 0;
	struct job *job = ld_calloc(1, sizeof(*job) + ctx_size + asked->name_len);

	if (!job)
		return NULL;
	memcpy(job->tenant, asked->tenant->name, sizeof(job->tenant));
	memcpy(job->space, asked->keyspace->space, sizeof(job->space));
	if (asked->call && asked->call->request_id)
		strncpy(job->request_id, asked->call->request_id, sizeof(job->request_id) - 1);
	if (asked->call && asked->call->subkey)
		strncpy(job->subkey, asked->call->subkey, sizeof(job->subkey) - 1);
	job->call_flags = asked->call ? asked->call->flags : 0;
	job->lease = fill->lease;
	job->early = fill->early;
	job->has_loading = fill->loading != NULL;
	if (fill->loading) {
		job->loading = *fill->loading;
		job->loading.ret_lease = NULL;
		if (ctx_size) {
			memcpy(job->bytes, fill->loading->ctx, ctx_size);
			job->loading.ctx = job->bytes;
		}
	}
	job->name_len = asked->name_len;
	memcpy(job->bytes + ctx_size, asked->name, asked->name_len);
	return job;
}

/* ---- a job ---- */

static void run_asked(struct ld_refresh *refresh, struct job *job, const struct ld_asked *asked)
{
	char etag[LD_ETAG_MAX + 1] = "";
	uint64_t tags[LD_TAGS_MAX];
	const struct ld_look look = { .want_data = 1, .note = LD_NOTE_SEEN | LD_NOTE_ERROR_WINDOW, .etag = etag, .tags = tags };
	struct ld_found found = { 0 };
	struct ld_fill fill = { .asked = asked, .loading = job->has_loading ? &job->loading : NULL, .look = &look, .found = &found, .early = job->early,
		.lease = job->lease, .held = 1 };

	/* Nobody waits: a loader may take as long as its lease. */
	fill.end_ms = ld_clock_boot_ms() + ld_fill_lease_ms(asked, fill.loading);
	ld_fill_look(&fill);
	/* Somebody has refreshed it meanwhile, or it is gone: nobody waits for this one. */
	if (found.bypassed || !(fill.result == LARDER_STALE || (fill.result == 0 && job->early))) {
		ld_fill_end(&fill, LD_LEASE_STORED, 0);
	} else {
		LD_POINT(refresh_begun);
		ld_fill_fetch(&fill);
		ld_store_count(refresh->cache->store, &asked->key, LD_TC_refreshes);
	}
	free(found.data);
}

static void run_job(struct ld_refresh *refresh, struct job *job)
{
	const struct larder_call call = { sizeof(call), job->call_flags, 0, job->request_id[0] ? job->request_id : NULL,
		job->subkey[0] ? job->subkey : NULL };
	size_t ctx_size = job->has_loading ? job->loading.ctx_size : 0;
	larder_tenant *tenant = NULL;
	struct ld_asked asked;

	if (larder_tenant_open(refresh->cache, job->tenant, &tenant) != 0 ||
	    ld_ask(tenant, job->space, job->bytes + ctx_size, job->name_len, &call, &asked) != 0)
		ld_store_lease_end(refresh->cache->store, &job->lease, LD_LEASE_STORED, 0);
	else
		run_asked(refresh, job, &asked);
	larder_tenant_close(tenant);
	free_job(job);
}

/* ---- the thread ---- */

/* Under the lock. NULL: the queue is empty. */
static struct job *take_first(struct ld_refresh *refresh)
{
	struct job *job;

	if (refresh->count == 0)
		return NULL;
	job = atomic_exchange(&refresh->queue[refresh->first], NULL);
	refresh->first = (refresh->first + 1) % QUEUE;
	refresh->count--;
	return job;
}

static struct job *next_job(struct ld_refresh *refresh, int was_busy)
{
	struct job *job;

	while (ld_process_lock(&refresh->lock, BUSY_MS) != 0)
		;
	job = take_first(refresh);
	refresh->busy += (unsigned)(job != NULL) - (unsigned)was_busy;
	ld_process_unlock(&refresh->lock);
	return job;
}

static void *run(void *ctx)
{
	struct ld_refresh *refresh = ctx;
	struct job *job = NULL;

	while (!atomic_load(&refresh->stop)) {
		uint32_t calls = atomic_load(&refresh->calls);

		if (!ld_background_begin())
			break;
		job = next_job(refresh, job != NULL);
		if (job)
			run_job(refresh, job);
		ld_background_end();
		if (!job)
			ld_futex_wait(&refresh->calls, calls, TICK_MS);
	}
	return NULL;
}

/* Under the lock. */
static void start_one(struct ld_refresh *refresh)
{
	sigset_t all, before;

	ld_background_prepare();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&refresh->threads[refresh->started], NULL, run, refresh) == 0)
		refresh->started++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Under the lock: what is here is the parent's. */
static void forget_inherited(struct ld_refresh *refresh)
{
	if (refresh->process == ld_process_generation())
		return;
	for (unsigned i = 0; i < QUEUE; i++) {
		struct job *job = atomic_exchange(&refresh->queue[i], NULL);

		if (job)
			free_job(job);
	}
	refresh->first = refresh->count = refresh->started = refresh->busy = 0;
	atomic_store(&refresh->stop, 0);
	refresh->process = ld_process_generation();
}

int ld_refresh_queue(struct ld_refresh *refresh, const struct ld_fill *fill)
{
	struct job *job = make_job(fill);
	int queued = 0;

	if (!job)
		return 0;
	if (ld_process_lock(&refresh->lock, BUSY_MS) == 0) {
		forget_inherited(refresh);
		if (refresh->busy + refresh->count >= refresh->started && refresh->started < THREADS)
			start_one(refresh);
		if (refresh->started && refresh->count < QUEUE) {
			atomic_store(&refresh->queue[(refresh->first + refresh->count) % QUEUE], job);
			refresh->count++;
			queued = 1;
		}
		ld_process_unlock(&refresh->lock);
	}
	if (!queued) {
		free_job(job);
		return 0;
	}
	atomic_fetch_add(&refresh->calls, 1);
	ld_futex_wake(&refresh->calls, 1);
	LD_POINT(refresh_queued);
	return 1;
}

void ld_refresh_free(struct ld_refresh *refresh)
{
	if (!refresh)
		return;
	forget_inherited(refresh);
	atomic_store(&refresh->stop, 1);
	atomic_fetch_add(&refresh->calls, 1);
	ld_futex_wake(&refresh->calls, THREADS);
	while (refresh->started > 0)
		pthread_join(refresh->threads[--refresh->started], NULL);
	for (struct job *job = take_first(refresh); job; job = take_first(refresh))
		let_go(refresh, job);
	free(refresh);
}
