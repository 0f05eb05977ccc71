/* SPDX-License-Identifier: MIT */
/*
 * Workers that set, add, touch, delete, clear, look up and fill; drainers that tell an L2 in memory; all killed at random times and at every fault point on
 * their way. Nothing older than a completed write is ever read, from either tier; no older write overtakes a newer one on its way to L2; the outbox's
 * counts add up in every snapshot; and in the end L2 has of each key what the store has, or nothing.
 *
 *   workers   each key has one writer. `floor` is the version below which nothing may be read: raised when a call has returned. A reader takes it
 *             before it looks, asks L2 where nothing was found and nothing is pending, and fills what L2 admits.
 *   drainers  two; one has the lock. They post requests and wait for the answers.
 *   L2        one process that nobody kills. It carries requests out after a while, also those of a drainer that is dead by then, but none after its
 *             time limit; it loses some, refuses some, and carries some out without saying so.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cache/handle.h"
#include "l1/outbox.h"
#include "lib/sample.h"
#include "lib/team.h"

enum { WORKERS = 3, DRAINERS = 2, TEAM = WORKERS + DRAINERS, KEYS = 384, VALUE_MAX = 9000, WITHIN_MS = 25, RING = 1 << 14, AT_ONCE = 24, TENANTS = 8, LULL_MS = 300 };

static const char *const tenants[TENANTS] = { "t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7" };

static const enum ld_fault_point points[] = { LD_FAULT_outbox_row_put, LD_FAULT_outbox_counted, LD_FAULT_outbox_folding, LD_FAULT_outbox_invalidated,
	LD_FAULT_outbox_settling, LD_FAULT_outbox_emptied, LD_FAULT_outbox_aging, LD_FAULT_stamp_raised, LD_FAULT_fill_admitted, LD_FAULT_drain_taken,
	LD_FAULT_drain_sending, LD_FAULT_txn_commit, LD_FAULT_txn_committed, LD_FAULT_gate_leaving, LD_FAULT_clear_hidden };

/* A request on its way to L2. */
enum request_state { UNPOSTED = 0, POSTED, DONE, FAILED, LOST };
struct request {
	_Atomic uint32_t state;
	uint32_t key;
	enum ld_outbox_op op;
	uint64_t seq, version;
	int64_t created_wall_ms, due_us, deadline_ms;
};

/* What L2 has of a key. Written by L2 only; `turn` is odd while it does. */
struct held {
	_Atomic uint64_t turn, version, seq;
	_Atomic int64_t created_wall_ms;
	_Atomic uint32_t present;
};

struct board {
	_Atomic int stop, finishing, l2_stop;
	_Atomic int lulls;                /* 1: now and then nobody writes, and the outbox comes to be empty */
	_Atomic uint64_t next[KEYS], done[KEYS], floor[KEYS];
	struct held l2[KEYS];
	_Atomic uint64_t posted;
	struct request ring[RING];
	_Atomic uint64_t sets, deletes, clears, hits, misses, pending, asked, refused, fills, discarded, told, retold, locks, lost, snapshots;
};

static struct board *board;
static const char *dir;
static larder *cache;
static struct ld_store *store;
static struct ld_key keys[KEYS];
static larder_tenant *handles[TENANTS];
static const struct ld_way way = { 200, 0 };

static void make_keys(void)
{
	static struct ld_keyspace rooms[TENANTS];

	for (unsigned t = 0; t < TENANTS; t++)
		handles[t] = team_tenant(cache, tenants[t]);
	for (unsigned key = 0; key < KEYS; key++) {
		const struct ld_keyspace *keyspace;
		char name[16];
		size_t len = (size_t)snprintf(name, sizeof(name), "key-%u", key);

		TEAM_EXPECT(ld_prepare_key(handles[key % TENANTS], "outbox", name, len, &rooms[key % TENANTS], &keyspace, &keys[key]), 0);
		keys[key].tell_l2 = 1;
	}
	store = cache->store;
}

static unsigned key_of(const struct ld_outbox_row *row)
{
	for (unsigned key = 0; key < KEYS; key++)
		if (memcmp(keys[key].digest, row->digest, sizeof(row->digest)) == 0 && strcmp(keys[key].tenant, row->tenant) == 0)
			return key;
	TEAM_FAIL("a row of no key");
}

static void lift(_Atomic uint64_t *word, uint64_t to)
{
	uint64_t was = atomic_load(word);

	while (was < to && !atomic_compare_exchange_weak(word, &was, to))
		;
}

/* ---- L2 ---- */

static void carry_out(struct request *request)
{
	struct held *held = &board->l2[request->key];

	/* A later state of the row was told before it: an older write would overtake a newer one. */
	if (request->seq < atomic_load(&held->seq))
		TEAM_FAIL("key %u: sequence %llu was told after %llu", request->key, (unsigned long long)request->seq,
		    (unsigned long long)atomic_load(&held->seq));
	atomic_fetch_add(request->seq == atomic_load(&held->seq) ? &board->retold : &board->told, 1);
	atomic_fetch_add(&held->turn, 1);
	atomic_store(&held->seq, request->seq);
	atomic_store(&held->version, request->version);
	atomic_store(&held->created_wall_ms, request->created_wall_ms);
	atomic_store(&held->present, request->op == LD_OUTBOX_SET);
	atomic_fetch_add(&held->turn, 1);
}

static void serve(struct request *request, uint64_t *random)
{
	unsigned luck = atomic_load(&board->finishing) ? 1000 : (unsigned)(team_random(random) >> 32) % 1000;

	if (ld_clock_boot_ms() >= request->deadline_ms || luck < 20) {
		atomic_store(&request->state, LOST);
	} else if (luck < 25) {
		atomic_store(&request->state, FAILED);
	} else {
		carry_out(request);
		atomic_store(&request->state, luck < 60 ? LOST : DONE);
	}
}

static void be_l2(void *arg)
{
	uint64_t random = team_seed() ^ 0x12;

	(void)arg;
	while (!atomic_load(&board->l2_stop)) {
		uint64_t end = atomic_load(&board->posted), from = end > 256 ? end - 256 : 0;

		for (uint64_t i = from; i < end; i++) {
			struct request *request = &board->ring[i % RING];

			if (atomic_load(&request->state) == POSTED && (team_now_us() >= request->due_us || atomic_load(&board->finishing)))
				serve(request, &random);
		}
		team_pause();
	}
}

static struct held ask_l2(unsigned key)
{
	struct held *held = &board->l2[key], copy;
	uint64_t turn;

	do {
		turn = atomic_load(&held->turn);
		copy.version = atomic_load(&held->version);
		copy.created_wall_ms = atomic_load(&held->created_wall_ms);
		copy.present = atomic_load(&held->present);
	} while (turn % 2 != 0 || atomic_load(&held->turn) != turn);
	return copy;
}

/* ---- a drainer ---- */

static struct request *post(const struct ld_outbox_row *row, int64_t deadline_ms, uint64_t *random)
{
	struct request *request = &board->ring[atomic_fetch_add(&board->posted, 1) % RING];

	atomic_store(&request->state, UNPOSTED);
	request->key = key_of(row);
	request->op = row->op;
	request->seq = row->seq;
	request->version = 0;
	request->created_wall_ms = row->created_wall_ms;
	request->deadline_ms = deadline_ms;
	request->due_us = team_now_us() + (int64_t)(team_random(random) % 3000);
	if (row->op == LD_OUTBOX_SET) {
		const char *wrong = sample_wrong(row->value, row->len, request->key, &request->version);

		if (wrong)
			TEAM_FAIL("the value of a row of key %u is %s", request->key, wrong);
	}
	atomic_store(&request->state, POSTED);
	return request;
}

/* Not before nobody's request may be on its way. NULL: we have the lock no more. */
static struct request *send_row(const struct ld_outbox_row *row, uint64_t *random)
{
	int64_t limit_ms = team_now_ms() + TEAM_DEADLINE_MS;

	while (!atomic_load(&board->stop) && team_now_ms() < limit_ms) {
		int64_t now_ms = ld_clock_boot_ms(), until_ms;
		int rc = ld_outbox_sending(store, WITHIN_MS, &until_ms);
		struct ld_outbox_summary summary;

		TEAM_CHECK(rc == 0 || rc == LARDER_E_BUSY || rc == LARDER_UNAVAILABLE);
		if (rc == 0)
			return post(row, now_ms + WITHIN_MS, random);
		if (ld_outbox_summary(store, &summary) == 0 && summary.drainer_pid != (int32_t)getpid())
			return NULL;
		team_pause();
	}
	return NULL;
}

static enum ld_outbox_outcome outcome_of(struct request *request)
{
	/* Its time limit is ours; L2 says LOST then, if it comes to it. */
	if (!TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&request->state) != POSTED))
		TEAM_FAIL("L2 does not answer");
	if (atomic_load(&request->state) == DONE)
		return LD_OUTBOX_ACKNOWLEDGED;
	if (atomic_load(&request->state) == FAILED)
		return LD_OUTBOX_FAILED;
	atomic_fetch_add(&board->lost, 1);
	return LD_OUTBOX_LEFT;
}

/* Returns how many rows there were, or -1 without the lock. */
static int drain_some(struct ld_outbox_place *place, uint64_t *random)
{
	struct ld_outbox_row rows[AT_ONCE];
	struct request *requests[AT_ONCE] = { NULL };
	size_t count = 0, sent = 0;
	int rc = ld_outbox_take(store, place, rows, AT_ONCE, 1 << 20, &count);

	TEAM_CHECK(rc == 0 || rc == LARDER_UNAVAILABLE);
	while (sent < count && (requests[sent] = send_row(&rows[sent], random)) != NULL)
		sent++;
	for (size_t i = 0; i < sent; i++)
		rows[i].outcome = outcome_of(requests[i]);
	TEAM_CHECK(sent == 0 || TEAM_POLL(TEAM_DEADLINE_MS, ld_outbox_settle(store, rows, sent, 0) == 0));
	ld_outbox_forget(rows, count);
	return sent < count ? -1 : (int)count;
}

static void drain(void *arg)
{
	uint64_t random = (team_seed() ^ ((uint64_t)getpid() << 21)) | 1;

	(void)arg;
	while (!atomic_load(&board->stop)) {
		struct ld_outbox_place place = { .passes = 0 };
		int64_t wait_ms;
		int rc = ld_outbox_lock(store, &wait_ms);

		TEAM_CHECK(rc == 0 || rc == LARDER_EXISTS || rc == LARDER_UNAVAILABLE);
		if (rc == 0) {
			atomic_fetch_add(&board->locks, 1);
			while (!atomic_load(&board->stop) && drain_some(&place, &random) >= 0 && team_random(&random) % 64 != 0)
				;
			ld_outbox_unlock(store, 1);
		}
		team_pause();
	}
}

/* ---- a worker ---- */

struct worker {
	unsigned index;
	uint64_t random;
	unsigned char value[VALUE_MAX];
};

static void check_version(unsigned key, uint64_t version, uint64_t least, const char *whence)
{
	if (version < least)
		TEAM_FAIL("key %u: version %llu was read from %s after %llu had been written, deleted or cleared", key, (unsigned long long)version, whence,
		    (unsigned long long)least);
}

static void fill_with(struct worker *worker, unsigned key, uint64_t version, const struct ld_seen *seen)
{
	size_t len = sample_len(&worker->random, SAMPLE_MIN, VALUE_MAX);
	const struct ld_put put = { .data = worker->value, .len = len, .ttl_ms = 3600000 };
	int rc;

	sample_fill(worker->value, len, key, version);
	rc = ld_store_fill(store, &keys[key], &way, &put, seen);
	TEAM_CHECK(rc == 0 || rc == LARDER_EXISTS || rc == LARDER_UNAVAILABLE);
	if (rc == 0)
		atomic_fetch_add(&board->fills, 1);
	if (rc == LARDER_EXISTS)
		atomic_fetch_add(&board->discarded, 1);
}

static void read_through(struct worker *worker, unsigned key)
{
	static const struct ld_look look = { .want_data = 1, .note = LD_NOTE_ACCESS | LD_NOTE_SEEN };
	uint64_t least = atomic_load(&board->floor[key]), version = 0;
	struct ld_found found = { 0 };
	int rc = ld_store_get(store, &keys[key], &way, &look, &found);
	struct held held;

	TEAM_CHECK(rc == 0 || rc == LARDER_MISS || rc == LARDER_UNAVAILABLE);
	if (rc == 0) {
		const char *wrong = sample_wrong(found.data, found.len, key, &version);

		if (wrong)
			TEAM_FAIL("the value of key %u is %s", key, wrong);
		check_version(key, version, least, "the store");
		free(found.data);
		atomic_fetch_add(&board->hits, 1);
	}
	if (rc != LARDER_MISS)
		return;
	atomic_fetch_add(found.pending ? &board->pending : &board->misses, 1);
	if (found.pending)
		return;
	held = ask_l2(key);
	/* The answer takes a while. */
	if (team_random(&worker->random) % 4 == 0)
		team_pause();
	if (!held.present)
		return;
	atomic_fetch_add(&board->asked, 1);
	if (!ld_store_l2_admits(store, &keys[key], &(struct ld_l2_given){ .created_wall_ms = held.created_wall_ms })) {
		atomic_fetch_add(&board->refused, 1);
		return;
	}
	check_version(key, held.version, least, "L2");
	fill_with(worker, key, held.version, &found.seen);
}

static void put_one(struct worker *worker, unsigned key, int only_new)
{
	uint64_t version = atomic_fetch_add(&board->next[key], 1) + 1;
	size_t len = sample_len(&worker->random, SAMPLE_MIN, VALUE_MAX);
	const struct ld_put put = { .data = worker->value, .len = len, .ttl_ms = 3600000, .only_new = only_new };
	int rc;

	sample_fill(worker->value, len, key, version);
	rc = ld_store_put(store, &keys[key], &way, &put);
	TEAM_CHECK(rc == 0 || rc == LARDER_UNAVAILABLE || (only_new && (rc == LARDER_EXISTS || rc == LARDER_E_BUSY || rc == LARDER_E_FULL)));
	if (rc == 0 || !only_new)
		lift(&board->floor[key], version);
	lift(&board->done[key], version);
	atomic_fetch_add(&board->sets, 1);
}

static void delete_one(unsigned key)
{
	uint64_t version = atomic_fetch_add(&board->next[key], 1) + 1;
	int result, rc = ld_store_delete(store, &keys[key], 1, &way, &result);

	TEAM_CHECK(rc == 0 || rc == LARDER_E_BUSY || rc == LARDER_E_FULL);
	lift(&board->floor[key], version);
	lift(&board->done[key], version);
	atomic_fetch_add(&board->deletes, 1);
}

static void clear_tenant(unsigned tenant, int whole)
{
	uint64_t done[KEYS];
	int rc;

	for (unsigned key = 0; key < KEYS; key++)
		done[key] = atomic_load(&board->done[key]);
	rc = ld_store_clear(store, tenants[tenant], whole ? NULL : "outbox", &way);
	TEAM_CHECK(rc == 0 || rc == LARDER_E_BUSY || rc == LARDER_E_FULL);
	for (unsigned key = tenant; key < KEYS; key += TENANTS)
		lift(&board->floor[key], done[key] + 1);
	atomic_fetch_add(&board->clears, 1);
}

static void expect_equation(void)
{
	struct ld_outbox_summary summary;
	const struct ld_outbox_counts *counts = &summary.counts;

	if (ld_outbox_summary(store, &summary) != 0)
		return;
	if (counts->enqueued != counts->acknowledged + counts->failed + counts->dropped + counts->coalesced + counts->pending)
		TEAM_FAIL("enqueued %llu, acknowledged %llu, failed %llu, dropped %llu, coalesced %llu, pending %llu", (unsigned long long)counts->enqueued,
		    (unsigned long long)counts->acknowledged, (unsigned long long)counts->failed, (unsigned long long)counts->dropped,
		    (unsigned long long)counts->coalesced, (unsigned long long)counts->pending);
	atomic_fetch_add(&board->snapshots, 1);
}

static void do_something(struct worker *worker)
{
	unsigned any = (unsigned)(team_random(&worker->random) % KEYS);
	unsigned own = any / WORKERS * WORKERS + worker->index;
	unsigned what = (unsigned)(team_random(&worker->random) >> 32) % 1000;
	int rc;

	if (what < 800 || (atomic_load(&board->lulls) && team_now_ms() / LULL_MS % 2 == 0)) {
		read_through(worker, any);
	} else if (what < 900) {
		put_one(worker, own, 0);
	} else if (what < 920) {
		put_one(worker, own, 1);
	} else if (what < 960) {
		delete_one(own);
	} else if (what < 980) {
		rc = ld_store_touch(store, &keys[own], &way, &(struct ld_touch){ .ttl_ms = 3600000 });
		TEAM_CHECK(rc == 0 || rc == LARDER_MISS || rc == LARDER_UNAVAILABLE);
	} else if (what < 981) {
		clear_tenant(any % TENANTS, (team_random(&worker->random) >> 40) % 2);
	} else {
		expect_equation();
	}
}

static void work(void *arg)
{
	static struct worker worker;

	worker.index = *(unsigned *)arg;
	worker.random = (team_seed() ^ ((uint64_t)getpid() << 20)) | 1;
	while (!atomic_load(&board->stop))
		do_something(&worker);
}

/* ---- the killing ---- */

static pid_t pids[TEAM];
static unsigned indices[TEAM];
static uint64_t kills;

static void print_board(void)
{
	print_message("# %llu kills; %llu sets, %llu deletes, %llu clears; %llu hits, %llu local misses, %llu misses, %llu in L2, %llu too old, %llu fills, %llu "
	    "discarded; %llu told, %llu again, %llu lost, %llu locks; %llu snapshots\n", (unsigned long long)kills, (unsigned long long)board->sets,
	    (unsigned long long)board->deletes, (unsigned long long)board->clears, (unsigned long long)board->hits, (unsigned long long)board->pending,
	    (unsigned long long)board->misses, (unsigned long long)board->asked, (unsigned long long)board->refused, (unsigned long long)board->fills,
	    (unsigned long long)board->discarded, (unsigned long long)board->told, (unsigned long long)board->retold, (unsigned long long)board->lost,
	    (unsigned long long)board->locks, (unsigned long long)board->snapshots);
}

static void start_one(unsigned i)
{
	indices[i] = i;
	pids[i] = team_start(i < WORKERS ? work : drain, &indices[i]);
}

/* Whoever is dead by now is replaced. Returns how many had been killed; one that ended otherwise has found something. */
static unsigned replace_dead(void)
{
	unsigned killed = 0;

	for (unsigned i = 0; i < TEAM; i++) {
		int status;

		if (waitpid(pids[i], &status, WNOHANG) != pids[i])
			continue;
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			TEAM_FAIL("process %u ended with status %x", i, (unsigned)status);
		killed++;
		start_one(i);
	}
	kills += killed;
	return killed;
}

static void kill_someone(uint64_t *random)
{
	unsigned victim = (unsigned)(team_random(random) % TEAM);
	int64_t until_us = team_now_us() + (int64_t)(team_random(random) % 8000);

	while (team_now_us() < until_us)
		team_pause();
	kill(pids[victim], SIGKILL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, replace_dead() > 0));
}

static void kill_at(enum ld_fault_point point, uint64_t *random)
{
	/* The lock is taken seldom, and the outbox seldom empty; all else is often. */
	int is_seldom = point == LD_FAULT_drain_taken || point == LD_FAULT_outbox_emptied;

	atomic_store(&board->lulls, point == LD_FAULT_outbox_emptied);
	team_arm(point, LD_FAULT_KILL, 0, is_seldom ? 1 : 1 + (int64_t)(team_random(random) % 5));
	if (!TEAM_POLL(TEAM_DEADLINE_MS, (replace_dead(), atomic_load(&team_plan()->acted) > 0))) {
		print_board();
		TEAM_FAIL("point %s was not reached", ld_fault_name(point));
	}
	/* The pass that acted and the end of the process are two moments. */
	TEAM_POLL(1000, replace_dead() > 0);
	team_disarm();
	atomic_store(&board->lulls, 0);
}

/* ---- afterwards ---- */

static int print_finding(void *ctx, const struct larder_finding *finding)
{
	(void)ctx;
	print_message("# found: %s, tenant %s\n", finding->what, finding->tenant ? finding->tenant : "-");
	return 0;
}

static void drain_all(void *arg)
{
	struct ld_outbox_place place = { .passes = 0 };
	uint64_t random = team_seed() | 1;
	int64_t wait_ms;

	(void)arg;
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, ld_outbox_lock(store, &wait_ms) == 0));
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, drain_some(&place, &random) == 0));
	ld_outbox_unlock(store, 1);
}

/* Of each key the store and L2 have the same, or one of them has nothing that may be read. */
static void compare(unsigned key)
{
	static const struct ld_look look = { .want_data = 1, .note = LD_NOTE_SEEN };
	struct ld_found found = { 0 };
	struct held held = ask_l2(key);
	uint64_t version = 0;
	int rc = ld_store_get(store, &keys[key], &way, &look, &found);

	TEAM_CHECK(rc == 0 || rc == LARDER_MISS);
	TEAM_EXPECT(found.pending, 0);
	if (rc == 0) {
		TEAM_CHECK(sample_wrong(found.data, found.len, key, &version) == NULL);
		free(found.data);
		check_version(key, version, atomic_load(&board->floor[key]), "the store");
	}
	if (!held.present || !ld_store_l2_admits(store, &keys[key], &(struct ld_l2_given){ .created_wall_ms = held.created_wall_ms }))
		return;
	check_version(key, held.version, atomic_load(&board->floor[key]), "L2");
	if (rc == 0 && held.version != version)
		TEAM_FAIL("key %u: the store has version %llu, L2 has %llu", key, (unsigned long long)version, (unsigned long long)held.version);
}

static void look_afterwards(void *arg)
{
	struct ld_outbox_summary summary;
	uint64_t found = 1;

	(void)arg;
	TEAM_EXPECT(ld_outbox_summary(store, &summary), 0);
	TEAM_EXPECT((int64_t)summary.counts.pending, 0);
	TEAM_EXPECT((int64_t)summary.counts.pending_b, 0);
	expect_equation();
	TEAM_EXPECT(ld_store_check(store, 0, print_finding, NULL, NULL, &found), 0);
	TEAM_EXPECT((int64_t)found, 0);
	TEAM_EXPECT(ld_outbox_any(store), 0);
	for (unsigned key = 0; key < KEYS; key++)
		compare(key);
	print_message("# outbox: enqueued %llu, acknowledged %llu, failed %llu, dropped %llu, coalesced %llu\n",
	    (unsigned long long)summary.counts.enqueued, (unsigned long long)summary.counts.acknowledged, (unsigned long long)summary.counts.failed,
	    (unsigned long long)summary.counts.dropped, (unsigned long long)summary.counts.coalesced);
}

static void run_and_kill(uint64_t wanted)
{
	uint64_t random = team_seed();
	unsigned times = team_is_long() ? 60 : 3;

	for (unsigned i = 0; i < TEAM; i++)
		start_one(i);
	for (unsigned i = 0; i < times * sizeof(points) / sizeof(*points); i++)
		kill_at(points[i % (sizeof(points) / sizeof(*points))], &random);
	while (kills < wanted)
		kill_someone(&random);
	atomic_store(&board->stop, 1);
	for (unsigned i = 0; i < TEAM; i++)
		team_join(pids[i]);
}

static void test_everybody_is_killed(void **state)
{
	pid_t l2;

	(void)state;
	dir = team_directory();
	board = team_share(sizeof(*board));
	team_plan();
	/* So few rows and entries that folds and evictions are frequent. */
	cache = team_open(dir, "SIZE=12M", "MAX_ENTRIES=200", "WORKERS=16", "TENANTS=16", "SWEEP_MS=200", "WRITE_WAIT_MS=100", "OUTBOX_ROWS=160",
	    "OUTBOX_BYTES=300K", NULL);
	make_keys();
	l2 = team_start(be_l2, NULL);
	run_and_kill(team_size(200, 5000));
	atomic_store(&board->finishing, 1);
	/* The stop word is theirs who are joined. */
	atomic_store(&board->stop, 0);
	team_run(drain_all, NULL);
	team_run(look_afterwards, NULL);
	atomic_store(&board->l2_stop, 1);
	team_join(l2);
	print_board();
	/* It was at work, and everything came to pass. */
	assert_true(board->sets > 500 && board->hits > 500 && board->told > 200 && board->retold > 0 && board->pending > 0);
	assert_true(board->asked > 20 && board->fills > 10 && board->snapshots > 20);
	for (unsigned t = 0; t < TENANTS; t++)
		larder_tenant_close(handles[t]);
	larder_close(cache);
	team_unshare(board, sizeof(*board));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everybody_is_killed),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests_name("outbox", tests, NULL, NULL);
}
