/* SPDX-License-Identifier: MIT */
/* A worker of `larder replay`: what a process of a pre-forking server does, and nothing else. It looks a key up, checks what it
 * finds, stores what it misses. It opens no cache: the handle came through fork. It must leave its slot in a state from which a
 * successor can go on, as it may be killed at any instruction.
 *
 * How requests are dealt in blocks, with a kill in the middle:
 *
 *     cursor   0 ------- 64 ------- 128 ------ 192 ---
 *     A        [0..64)  done         [128 .. 150 killed      A' goes on at 150: slot.next outlived A
 *     B                 [64..128)                 [192 ..    takes the next block, whatever happened to A
 */
#include "replay_worker.h"

#include <stdlib.h>
#include <time.h>

#include "cli.h"
#include "replay_memory.h"

#define ATTACH_TRIES 200
#define ATTACH_PAUSE_NS 10000000
#define FIRST_BUFFER ((size_t)64 << 10)
/* The value may grow between two tries only if it was set in between, which is rare; then the get counts as an error. */
#define GET_TRIES 4

struct worker {
	const struct replay_plan *plan;
	struct replay_slot *slot;
	unsigned index;
	char *buffer;             /* for values, both ways */
	size_t buffer_size;
	int told;                 /* a wrong value has been reported */
};

int64_t replay_now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void count(_Atomic uint64_t *counter)
{
	/* One writer: no locked instruction is needed. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

_Static_assert(offsetof(struct replay_counts, calls) == 0, "a call is its own place among the counts");
#define COUNT(worker, field) count(&(worker)->slot->counts[offsetof(struct replay_counts, field) / sizeof(uint64_t)])

void replay_counts_read(const struct replay_slot *slot, struct replay_counts *ret_counts)
{
	uint64_t *counts = (uint64_t *)ret_counts;
	for (size_t i = 0; i < REPLAY_COUNTS; i++)
		counts[i] = atomic_load_explicit(&slot->counts[i], memory_order_relaxed);
}

int replay_worker_attach(const struct replay_plan *plan)
{
	const struct timespec pause = { 0, ATTACH_PAUSE_NS };
	int r = larder_attach(plan->cache);
	for (int i = 1; i < ATTACH_TRIES && r == LARDER_UNAVAILABLE; i++) {
		nanosleep(&pause, NULL);
		r = larder_attach(plan->cache);
	}
	return r;
}

static int need_buffer(struct worker *worker, size_t size)
{
	if (size <= worker->buffer_size)
		return 0;
	char *buffer = realloc(worker->buffer, size);
	if (buffer == NULL)
		return -1;
	worker->buffer = buffer;
	worker->buffer_size = size;
	return 0;
}

static const struct {
	const char *title, *name;
} call_names[REPLAY_CALLS] = {
	[REPLAY_L1_HIT] = { "L1 hit", "l1_hit" }, [REPLAY_L2_HIT] = { "L2 hit", "l2_hit" }, [REPLAY_STALE] = { "stale hit", "stale_hit" },
	[REPLAY_MISS] = { "miss", "miss" }, [REPLAY_OUTAGE] = { "L2 outage", "l2_outage" }, [REPLAY_REFUSED] = { "breaker open", "refused" },
	[REPLAY_UNSERVED] = { "unserved", "unserved" }, [REPLAY_SET] = { "set", "set" },
};

const char *replay_call_title(enum replay_call call)
{
	return call_names[call].title;
}

const char *replay_call_name(enum replay_call call)
{
	return call_names[call].name;
}

uint64_t replay_counts_gets(const struct replay_counts *counts)
{
	uint64_t sum = 0;
	for (int i = 0; i < REPLAY_SET; i++)
		sum += counts->calls[i];
	return sum;
}

uint64_t replay_counts_hits(const struct replay_counts *counts)
{
	return counts->calls[REPLAY_L1_HIT] + counts->calls[REPLAY_L2_HIT] + counts->calls[REPLAY_STALE];
}

/* One that was killed between its two counters leaves one more of the second at most. */
uint64_t replay_counts_stored(const struct replay_counts *counts)
{
	uint64_t sets = counts->calls[REPLAY_SET];
	return sets > counts->unstored ? sets - counts->unstored : 0;
}

/* Two readings of the clock cost about 50 ns an operation, which is part of every figure in the tables; --no-latency takes none.
 * */
static int64_t stamp(const struct worker *worker)
{
	return worker->plan->latency ? replay_now_ns() : 0;
}

/* A call is over: counted, and timed. */
static void note_call(struct worker *worker, enum replay_call call, int64_t from_ns, int64_t to_ns)
{
	struct replay_worst *worst = &worker->slot->worst[call];
	uint64_t took_ns = to_ns > from_ns ? (uint64_t)(to_ns - from_ns) : 0;

	count(&worker->slot->counts[call]);
	if (!worker->plan->latency)
		return;
	replay_histogram_add(&worker->slot->calls[call], took_ns);
	if (took_ns <= atomic_load_explicit(&worst->ns, memory_order_relaxed))
		return;
	atomic_store_explicit(&worst->ns, took_ns, memory_order_relaxed);
	atomic_store_explicit(&worst->began_ns, from_ns, memory_order_relaxed);
}

static void count_failure(struct worker *worker, int result)
{
	if (result == LARDER_UNAVAILABLE || result == LARDER_E_L2) {
		count(&worker->slot->reasons[larder_reason()]);
	} else if (result < 0) {
		COUNT(worker, errors);
		atomic_store_explicit(&worker->slot->last_error, result, memory_order_relaxed);
	}
}

static int get(struct worker *worker, const char *name, size_t name_len, struct larder_value *ret_value)
{
	const struct replay_plan *plan = worker->plan;
	int r = LARDER_E_SPACE;
	for (int i = 0; i < GET_TRIES && r == LARDER_E_SPACE; i++) {
		if (i > 0 && need_buffer(worker, ret_value->len) < 0)
			return LARDER_E_NOMEM;
		r = larder_get_into(plan->tenant, plan->space, name, name_len, worker->buffer, worker->buffer_size, NULL,
		    ret_value);
	}
	return r;
}

static void check_value(struct worker *worker, uint64_t seed, const void *data, size_t len, uint64_t at)
{
	if (replay_value_is_right(seed, data, len))
		return;
	COUNT(worker, wrong);
	if (!worker->told)
		cli_error("worker %u: wrong value of %zu bytes at request %llu", worker->index, len,
		    (unsigned long long)at);
	worker->told = 1;
}

static int store(struct worker *worker, uint64_t seed, const char *name, size_t name_len)
{
	const struct replay_plan *plan = worker->plan;
	size_t len = replay_value_len(&plan->sizes, seed);
	if (need_buffer(worker, len) < 0)
		return -1;
	replay_value_fill(seed, worker->buffer, len);
	int64_t begin_ns = stamp(worker);
	int r = larder_set(plan->tenant, plan->space, name, name_len, worker->buffer, len, &plan->store, NULL);
	int64_t end_ns = stamp(worker);
	if (r != 0) {
		COUNT(worker, unstored);
		count_failure(worker, r);
	}
	note_call(worker, REPLAY_SET, begin_ns, end_ns);
	return 0;
}

/* What a get was. An outage is none of the cache's errors, and never a miss. */
static enum replay_call judge(int result, const struct larder_value *value)
{
	switch (result) {
	case LARDER_OK:
		return value->source == LARDER_FROM_L2 ? REPLAY_L2_HIT : REPLAY_L1_HIT;
	case LARDER_STALE:
		return REPLAY_STALE;
	case LARDER_E_L2:
		return larder_reason() == LARDER_REASON_L2_OPEN ? REPLAY_REFUSED : REPLAY_OUTAGE;
	default:
		return result == LARDER_UNAVAILABLE || result < 0 ? REPLAY_UNSERVED : REPLAY_MISS;
	}
}

/* What a server would do now: ask the slow store behind the cache. */
static void fetch(const struct worker *worker)
{
	int64_t ms = worker->plan->fetch_ms;
	const struct timespec time = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
	if (ms > 0)
		nanosleep(&time, NULL);
}

/* Whose value, and for whom. */
struct loading {
	struct worker *worker;
	uint64_t seed;
	int called;
};

static int load_value(struct larder_load *load, void *ctx)
{
	struct loading *loading = ctx;
	struct worker *worker = loading->worker;
	size_t len = replay_value_len(&worker->plan->sizes, loading->seed);
	loading->called = 1;
	COUNT(worker, loads);
	fetch(worker);
	if (need_buffer(worker, len) < 0)
		return LARDER_LOAD_FAILED;
	replay_value_fill(loading->seed, worker->buffer, len);
	load->store = worker->plan->store;
	return larder_load_give(load, worker->buffer, len) == 0 ? LARDER_LOADED : LARDER_LOAD_FAILED;
}

/* One request, with a loader: the host loads a missing value once. */
static int request_load(struct worker *worker, const char *name, size_t name_len, uint64_t seed, uint64_t at)
{
	const struct replay_plan *plan = worker->plan;
	struct loading ctx = { worker, seed, 0 };
	const struct larder_loading loading = { sizeof(loading), 0, 0, load_value, &ctx, NULL };
	struct larder_value value = { 0 };
	int64_t begin_ns = stamp(worker);
	int r = larder_get_or_set(plan->tenant, plan->space, name, name_len, &loading, NULL, &value);
	int64_t end_ns = stamp(worker);
	note_call(worker, ctx.called && r == LARDER_OK ? REPLAY_MISS : judge(r, &value), begin_ns, end_ns);
	if (r != LARDER_OK && r != LARDER_STALE) {
		count_failure(worker, r);
		return 0;
	}
	check_value(worker, seed, value.data, value.len, at);
	larder_value_free(&value);
	return 0;
}

/* One request of the trace. Returns 0, or -1 when memory ran out. */
static int request(struct worker *worker, uint64_t at)
{
	const struct replay_plan *plan = worker->plan;
	struct larder_value value = { 0 };
	char room[REPLAY_NAME_ROOM];
	size_t name_len;
	const char *name = replay_trace_name(&plan->trace, replay_trace_id(&plan->trace, at), room, &name_len);
	uint64_t seed = replay_value_seed(name, name_len);

	if (plan->load)
		return request_load(worker, name, name_len, seed, at);
	int64_t begin_ns = stamp(worker);
	int r = get(worker, name, name_len, &value);
	int64_t end_ns = stamp(worker);
	note_call(worker, judge(r, &value), begin_ns, end_ns);
	if (r == LARDER_OK || r == LARDER_STALE) {
		check_value(worker, seed, worker->buffer, value.len, at);
		return 0;
	}
	if (r == LARDER_UNAVAILABLE)
		COUNT(worker, unavailable);
	count_failure(worker, r);
	if (!plan->set_on_miss)
		return 0;
	fetch(worker);
	return store(worker, seed, name, name_len);
}

/* Take the next block. `next` is stored before `end`: killed in between, the block is lost; the other way round the successor
 * would do again all that lies between the two blocks. */
static int take_block(struct worker *worker)
{
	const struct replay_plan *plan = worker->plan;
	uint64_t total = plan->trace.count;
	uint64_t begin = 0, end = total;

	if (plan->deal == REPLAY_DEAL_HASH) {
		if (atomic_load_explicit(&worker->slot->end, memory_order_relaxed) != 0)
			return 0;
	} else {
		begin = atomic_fetch_add_explicit(&plan->shared->cursor, REPLAY_BLOCK, memory_order_relaxed);
		if (begin >= total)
			return 0;
		end = begin + REPLAY_BLOCK < total ? begin + REPLAY_BLOCK : total;
	}
	atomic_store_explicit(&worker->slot->next, begin, memory_order_relaxed);
	atomic_store_explicit(&worker->slot->end, end, memory_order_relaxed);
	return 1;
}

static int is_mine(const struct worker *worker, uint64_t at)
{
	const struct replay_plan *plan = worker->plan;
	uint64_t mixed;
	if (plan->deal == REPLAY_DEAL_BLOCKS)
		return 1;
	mixed = ((uint64_t)replay_trace_id(&plan->trace, at) + 1) * UINT64_C(0x9e3779b97f4a7c15);
	return (mixed >> 32) % plan->workers == worker->index;
}

static int run_block(struct worker *worker)
{
	struct replay_slot *slot = worker->slot;
	uint64_t end = atomic_load_explicit(&slot->end, memory_order_relaxed);
	uint64_t at = atomic_load_explicit(&slot->next, memory_order_relaxed);
	for (; at < end; at++) {
		if (atomic_load_explicit(&worker->plan->shared->stop, memory_order_relaxed))
			return 0;
		if (is_mine(worker, at) && request(worker, at) < 0)
			return -1;
		atomic_store_explicit(&slot->next, at + 1, memory_order_relaxed);
	}
	return 0;
}

int replay_worker_run(const struct replay_plan *plan, unsigned index)
{
	struct worker worker = { .plan = plan, .slot = &plan->shared->slots[index], .index = index };
	int r = need_buffer(&worker, FIRST_BUFFER);

	if (r == 0)
		r = run_block(&worker); /* what a predecessor left */
	while (r == 0 && !atomic_load_explicit(&plan->shared->stop, memory_order_relaxed) && take_block(&worker))
		r = run_block(&worker);
	atomic_store_explicit(&worker.slot->finished_ns, replay_now_ns(), memory_order_relaxed);
	atomic_store_explicit(&worker.slot->private_b, replay_memory_own(), memory_order_relaxed);
	if (r < 0)
		cli_error("worker %u: out of memory", index);
	free(worker.buffer);
	return r < 0 ? CLI_UNAVAILABLE : CLI_DONE;
}
