/* SPDX-License-Identifier: MIT */
/*
 * Workers that set, get, add, touch, delete and invalidate by tag, killed at random times and at every fault point: no wrong value, no hang, and everything that the
 * dead held comes back.
 *
 * Each key has one writer, so there is an exact bound for what a get may return: `floor` is the version below which nothing may be served, raised
 * when a set, a delete or the invalidation of the key's tag has returned. A reader takes the floor before it asks. What a killed writer was storing may be there or not.
 *
 *   kind of point   how it is reached
 *   WORK            by workers at work
 *   SELDOM          by workers at work, every few seconds
 *   ATTACH          by a worker that starts
 *   RECOVER         by the first writer after one that was killed inside the gate
 *   MAKE            by a process that makes the cache, in a directory of its own
 *   REMAKE          by a process that finds the store file gone
 *   NEVER           not by these calls; the row says why
 */
#include <errno.h>
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

#include "lib/sample.h"
#include "lib/team.h"

enum { WORKERS = 4, KEYS = 512, VALUE_MAX = 48 << 10, TENANTS = 2, ENTRIES_MAX = 320 };

enum kind { UNSAID = 0, WORK, SELDOM, ATTACH, RECOVER, MAKE, REMAKE, NEVER };

/* Every row of base/fault.def; a new one is UNSAID until somebody says here how it is reached. */
static const struct {
	enum kind kind;
	const char *why;
} points[LD_FAULT_POINTS] = {
	[LD_FAULT_none] = { NEVER, "is no point" },
	[LD_FAULT_process_page] = { NEVER, "is passed once in a process, before anything is shared; an error point" },
	[LD_FAULT_key_random] = { MAKE, NULL },
	[LD_FAULT_seg_made_file] = { MAKE, NULL },
	[LD_FAULT_seg_allocate] = { MAKE, NULL },
	[LD_FAULT_seg_before_rename] = { MAKE, NULL },
	[LD_FAULT_seg_after_rename] = { MAKE, NULL },
	[LD_FAULT_slot_locked] = { ATTACH, NULL },
	[LD_FAULT_slot_new_incarnation] = { ATTACH, NULL },
	[LD_FAULT_store_made_files] = { MAKE, NULL },
	[LD_FAULT_store_made_tables] = { MAKE, NULL },
	[LD_FAULT_store_opening] = { ATTACH, NULL },
	[LD_FAULT_first_read] = { ATTACH, NULL },
	[LD_FAULT_reader_check] = { SELDOM, NULL },
	[LD_FAULT_store_made] = { MAKE, NULL },
	[LD_FAULT_store_remade] = { REMAKE, NULL },
	[LD_FAULT_get_mid_copy] = { WORK, NULL },
	[LD_FAULT_gate_taken] = { WORK, NULL },
	[LD_FAULT_gate_recovering] = { RECOVER, NULL },
	[LD_FAULT_txn_begin] = { WORK, NULL },
	[LD_FAULT_set_old_removed] = { WORK, NULL },
	[LD_FAULT_set_row_put] = { WORK, NULL },
	[LD_FAULT_set_chunks_put] = { WORK, NULL },
	[LD_FAULT_delete_removed] = { WORK, NULL },
	[LD_FAULT_txn_commit] = { WORK, NULL },
	[LD_FAULT_txn_committed] = { WORK, NULL },
	[LD_FAULT_gate_leaving] = { WORK, NULL },
	[LD_FAULT_evict_chosen] = { WORK, NULL },
	[LD_FAULT_evict_removed] = { WORK, NULL },
	[LD_FAULT_sweep_removed] = { WORK, NULL },
	[LD_FAULT_clear_hidden] = { WORK, NULL },
	[LD_FAULT_tag_invalidated] = { WORK, NULL },
	[LD_FAULT_tag_hidden] = { WORK, NULL },
	[LD_FAULT_clear_forgotten] = { SELDOM, NULL },
	[LD_FAULT_check_counted] = { NEVER, "is passed by `larder check --repair` alone, where counts are wrong" },
	[LD_FAULT_keeper_round] = { WORK, NULL },
	[LD_FAULT_sketch_halving] = { SELDOM, NULL },
	[LD_FAULT_breaker_row_taken] = { NEVER, "is of the breaker, which test_breaker kills at" },
	[LD_FAULT_breaker_counted] = { NEVER, "is of the breaker" },
	[LD_FAULT_breaker_probe_taken] = { NEVER, "is of the breaker" },
	[LD_FAULT_breaker_report] = { NEVER, "is of the breaker" },
	[LD_FAULT_breaker_turned] = { NEVER, "is of the breaker" },
	[LD_FAULT_outbox_row_put] = { NEVER, "tells L2: test_outbox.c kills there" },
	[LD_FAULT_outbox_counted] = { NEVER, "tells L2: test_outbox.c kills there" },
	[LD_FAULT_outbox_folding] = { NEVER, "tells L2: test_outbox.c kills there" },
	[LD_FAULT_outbox_invalidated] = { WORK, NULL },
	[LD_FAULT_outbox_settling] = { NEVER, "tells L2: test_outbox.c kills there" },
	[LD_FAULT_outbox_emptied] = { NEVER, "tells L2: test_outbox.c kills there" },
	[LD_FAULT_outbox_aging] = { NEVER, "tells L2: test_outbox.c kills there" },
	[LD_FAULT_stamp_raised] = { WORK, NULL },
	[LD_FAULT_fill_admitted] = { NEVER, "asks L2: test_outbox.c kills there" },
	[LD_FAULT_drain_taken] = { NEVER, "tells L2: test_outbox.c kills there" },
	[LD_FAULT_tell_sending] = { NEVER, "tells L2: test_down.c kills there" },
	[LD_FAULT_http_sending] = { NEVER, "tells L2: test_history.c kills there" },
	[LD_FAULT_tell_sent] = { NEVER, "tells L2: test_down.c kills there" },
	[LD_FAULT_tell_settling] = { NEVER, "tells L2: test_down.c kills there" },
	[LD_FAULT_drain_sending] = { NEVER, "tells L2: test_outbox.c kills there" },
	[LD_FAULT_limit_frozen] = { NEVER, "is of the limiter, which test_limiter kills at" },
	[LD_FAULT_limit_named] = { NEVER, "is of the limiter" },
	[LD_FAULT_limit_charged] = { NEVER, "is of the limiter" },
	[LD_FAULT_limit_between] = { NEVER, "is of the limiter" },
	[LD_FAULT_fill_taken] = { NEVER, "fetches: test_history.c kills there" },
	[LD_FAULT_fill_loaded] = { NEVER, "fetches: test_history.c kills there" },
	[LD_FAULT_fill_stored] = { NEVER, "fetches: test_history.c kills there" },
	[LD_FAULT_refresh_queued] = { NEVER, "fetches: test_history.c kills there" },
	[LD_FAULT_refresh_begun] = { NEVER, "fetches: test_history.c kills there" },
	[LD_FAULT_lease_naming] = { NEVER, "is of the leases, which test_lease kills at" },
	[LD_FAULT_lease_noted] = { NEVER, "is of the leases" },
	[LD_FAULT_lease_named] = { NEVER, "is of the leases" },
	[LD_FAULT_lease_seen] = { NEVER, "is of the leases" },
	[LD_FAULT_lease_held] = { NEVER, "is of the leases" },
	[LD_FAULT_lease_ended] = { NEVER, "is of the leases" },
};

/* What the workers share beside the cache. */
struct board {
	_Atomic int stop;
	_Atomic uint64_t gets, hits, sets, sets_dropped, deletes, adds, exists, touches, clears, invalidations;
	_Atomic uint64_t next[KEYS];      /* version to be stored next; written by the key's writer only */
	_Atomic uint64_t floor[KEYS];     /* nothing below it may be served */
};

static struct board *board;
static const char *dir;
static larder *cache;

struct worker {
	unsigned index;
	uint64_t random;
	larder_tenant *tenants[TENANTS];
	unsigned char value[VALUE_MAX];
};

static larder_tenant *tenant_of(struct worker *worker, unsigned key)
{
	return worker->tenants[key % TENANTS];
}

static size_t name_of(unsigned key, char name[16])
{
	return (size_t)snprintf(name, 16, "key-%u", key);
}

/* ---- a worker ---- */

static void get_one(struct worker *worker, unsigned key)
{
	uint64_t least = atomic_load(&board->floor[key]), version = 0;
	struct larder_value value = { 0 };
	const char *wrong;
	char name[16];
	int rc = larder_get(tenant_of(worker, key), "kill", name, name_of(key, name), NULL, &value);

	TEAM_CHECK(rc == 0 || rc == LARDER_MISS || rc == LARDER_UNAVAILABLE);
	atomic_fetch_add(&board->gets, 1);
	if (rc == LARDER_UNAVAILABLE)
		TEAM_CHECK(larder_reason() != LARDER_REASON_CORRUPT && larder_reason() != LARDER_REASON_DISK);
	if (rc != 0)
		return;
	atomic_fetch_add(&board->hits, 1);
	wrong = sample_wrong(value.data, value.len, key, &version);
	if (wrong)
		TEAM_FAIL("the value of key %u is %s", key, wrong);
	if (version < least)
		TEAM_FAIL("key %u: version %llu was served after %llu had been stored or deleted", key, (unsigned long long)version,
		    (unsigned long long)least);
	larder_value_free(&value);
}

/* Each key has a tag of its own, and its values are stored under that and another one. */
static const char *tag_of(unsigned key, char tag[16])
{
	(void)snprintf(tag, 16, "tag-%u", key);
	return tag;
}

static void raise_floor(unsigned key, uint64_t version)
{
	atomic_store(&board->floor[key], version);
}

static void put_one(struct worker *worker, unsigned key, int only_new)
{
	uint64_t version = atomic_fetch_add(&board->next[key], 1) + 1;
	size_t len = sample_len(&worker->random, SAMPLE_MIN, VALUE_MAX);
	char name[16];
	size_t name_len = name_of(key, name);
	char tag[16];
	const char *tags[] = { "all", tag_of(key, tag) };
	struct larder_store store = LARDER_STORE_INIT;
	int rc;

	store.tags = tags;
	store.tag_count = 2;
	sample_fill(worker->value, len, key, version);
	if (!only_new) {
		rc = larder_set(tenant_of(worker, key), "kill", name, name_len, worker->value, len, &store, NULL);
		TEAM_CHECK(rc == 0 || rc == LARDER_UNAVAILABLE);
		/* A set that was dropped leaves nothing older either. */
		raise_floor(key, version);
		atomic_fetch_add(rc == 0 ? &board->sets : &board->sets_dropped, 1);
		return;
	}
	rc = larder_add(tenant_of(worker, key), "kill", name, name_len, worker->value, len, &store, NULL);
	TEAM_CHECK(rc == 0 || rc == LARDER_EXISTS || rc == LARDER_E_BUSY || rc == LARDER_E_FULL);
	if (rc == 0)
		raise_floor(key, version);
	atomic_fetch_add(rc == 0 ? &board->adds : &board->exists, 1);
}

static void delete_one(struct worker *worker, unsigned key)
{
	uint64_t version = atomic_fetch_add(&board->next[key], 1) + 1;
	char name[16];
	int rc = larder_delete(tenant_of(worker, key), "kill", name, name_of(key, name), NULL);

	TEAM_CHECK(rc == 0 || rc == LARDER_MISS || rc == LARDER_E_BUSY || rc == LARDER_E_FULL);
	raise_floor(key, version);
	atomic_fetch_add(&board->deletes, 1);
}

/* Done or not, nothing older is served. */
static void invalidate_one(struct worker *worker, unsigned key)
{
	uint64_t version = atomic_fetch_add(&board->next[key], 1) + 1;
	char text[16];
	const char *tag = tag_of(key, text);
	int rc = larder_invalidate_tags(tenant_of(worker, key), &tag, 1, NULL);

	TEAM_CHECK(rc == 0 || rc == LARDER_E_BUSY || rc == LARDER_E_FULL);
	raise_floor(key, version);
	atomic_fetch_add(&board->invalidations, 1);
}

static void touch_one(struct worker *worker, unsigned key)
{
	char name[16];
	int rc = larder_touch(tenant_of(worker, key), "kill", name, name_of(key, name), 3600000, 0, NULL);

	TEAM_CHECK(rc == 0 || rc == LARDER_MISS || rc == LARDER_UNAVAILABLE);
	atomic_fetch_add(&board->touches, 1);
}

/* Entries that die of themselves, and a clear now and then: work for the sweep. */
static void work_for_sweep(struct worker *worker)
{
	struct larder_store soon = LARDER_STORE_INIT;
	larder_tenant *tenant = worker->tenants[0];
	char name[16];
	size_t len = (size_t)snprintf(name, sizeof(name), "dead-%u", (unsigned)(team_random(&worker->random) % 64));
	int rc;

	soon.ttl_ms = 5;
	rc = larder_set(tenant, "dying", name, len, name, len, &soon, NULL);
	TEAM_CHECK(rc == 0 || rc == LARDER_UNAVAILABLE);
	if (team_random(&worker->random) % 8 != 0)
		return;
	rc = larder_clear_space(tenant, "dying", NULL);
	TEAM_CHECK(rc == 0 || rc == LARDER_E_BUSY || rc == LARDER_E_FULL);
	atomic_fetch_add(&board->clears, 1);
}

static void do_something(struct worker *worker)
{
	unsigned any = (unsigned)(team_random(&worker->random) % KEYS);
	unsigned own = any / WORKERS * WORKERS + worker->index;
	unsigned what = (unsigned)(team_random(&worker->random) >> 32) % 100;

	if (what < 55)
		get_one(worker, any);
	else if (what < 78)
		put_one(worker, own, 0);
	else if (what < 86)
		put_one(worker, own, 1);
	else if (what < 90)
		delete_one(worker, own);
	else if (what < 92)
		invalidate_one(worker, own);
	else if (what < 97)
		touch_one(worker, own);
	else
		work_for_sweep(worker);
}

static void work(void *arg)
{
	static struct worker worker;

	worker.index = *(unsigned *)arg;
	worker.random = (team_seed() ^ ((uint64_t)getpid() << 20)) | 1;
	worker.tenants[0] = team_tenant(cache, "first");
	worker.tenants[1] = team_tenant(cache, "second");
	while (!atomic_load(&board->stop))
		do_something(&worker);
}

/* ---- the killing ---- */

static pid_t pids[WORKERS];
static unsigned indices[WORKERS];
static uint64_t kills;

static void start_worker(unsigned i)
{
	indices[i] = i;
	pids[i] = team_start(work, &indices[i]);
}

/* Whoever is dead by now is replaced. Returns how many had been killed; one that ended otherwise has found something. */
static unsigned replace_dead(void)
{
	unsigned killed = 0;

	for (unsigned i = 0; i < WORKERS; i++) {
		int status;

		if (waitpid(pids[i], &status, WNOHANG) != pids[i])
			continue;
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			TEAM_FAIL("a worker ended with status %x", (unsigned)status);
		killed++;
		start_worker(i);
	}
	kills += killed;
	return killed;
}

static void kill_someone(uint64_t *random)
{
	unsigned victim = (unsigned)(team_random(random) % WORKERS);
	int64_t until_us = team_now_us() + (int64_t)(team_random(random) % 4000);

	while (team_now_us() < until_us)
		team_pause();
	kill(pids[victim], SIGKILL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, replace_dead() > 0));
}

/* One who dies inside the gate, so that the next one has to recover; which may do so before the next point is armed. */
static int is_recovered_at(enum ld_fault_point point)
{
	team_arm(LD_FAULT_set_row_put, LD_FAULT_KILL, 0, 1);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, (replace_dead(), atomic_load(&team_plan()->acted) > 0)));
	team_arm(point, LD_FAULT_KILL, 0, 1);
	return TEAM_POLL(500, (replace_dead(), atomic_load(&team_plan()->acted) > 0));
}

static void kill_at(enum ld_fault_point point, enum kind kind, uint64_t *random)
{
	if (kind == RECOVER) {
		TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, is_recovered_at(point)));
	} else {
		team_arm(point, LD_FAULT_KILL, 0, kind == WORK ? 1 + (int64_t)(team_random(random) % 5) : 1);
		if (kind == ATTACH)
			kill(pids[team_random(random) % WORKERS], SIGKILL);
	}
	if (!TEAM_POLL(TEAM_DEADLINE_MS, (replace_dead(), atomic_load(&team_plan()->acted) > 0)))
		TEAM_FAIL("point %s was not reached", ld_fault_name(point));
	/* The pass that acted and the end of the process are two moments. */
	TEAM_POLL(1000, replace_dead() > 0);
	team_disarm();
}

static void kill_at_each_point(uint64_t *random, unsigned times)
{
	for (unsigned p = 0; p < LD_FAULT_POINTS; p++) {
		enum kind kind = points[p].kind;

		if (kind != WORK && kind != SELDOM && kind != ATTACH && kind != RECOVER)
			continue;
		for (unsigned i = 0; i < (kind == SELDOM ? (times + 9) / 10 : times); i++)
			kill_at((enum ld_fault_point)p, kind, random);
	}
}

/* ---- afterwards ---- */

static int print_finding(void *ctx, const struct larder_finding *finding)
{
	(void)ctx;
	print_message("# found: %s, tenant %s\n", finding->what, finding->tenant ? finding->tenant : "-");
	return 0;
}

static int count_entry(void *ctx, const struct larder_entry *entry)
{
	(void)entry;
	++*(uint64_t *)ctx;
	return 0;
}

struct seen_slots {
	unsigned live, dead, mine;
};

static int see_slot(void *ctx, const struct larder_slot *slot)
{
	struct seen_slots *seen = ctx;

	seen->live += strcmp(slot->state, "live") == 0;
	seen->dead += strcmp(slot->state, "dead") == 0;
	seen->mine += slot->pid == (int32_t)getpid();
	return 0;
}

static int see_reader(void *ctx, const struct larder_reader *reader)
{
	*(unsigned *)ctx += reader->pid != (int32_t)getpid();
	return 0;
}

static struct larder_summary summary_of(larder_inspector *inspector)
{
	struct larder_summary summary = { .size = sizeof(summary) };

	TEAM_EXPECT(larder_inspect_summary(inspector, &summary), 0);
	return summary;
}

static unsigned readers_of_others(larder_inspector *inspector)
{
	unsigned others = 0;

	TEAM_EXPECT(larder_inspect_readers(inspector, see_reader, &others), 0);
	return others;
}

static struct seen_slots slots_of(larder_inspector *inspector)
{
	struct seen_slots seen = { 0 };

	TEAM_EXPECT(larder_inspect_slots(inspector, see_slot, &seen), 0);
	return seen;
}

static void expect_sound(larder_inspector *inspector)
{
	const struct larder_filter all = { .size = sizeof(all), .states = LARDER_IS_ANY };
	uint64_t found = 1, entries = 0;

	TEAM_EXPECT(larder_inspect_check(inspector, 0, print_finding, NULL, NULL, &found), 0);
	TEAM_EXPECT((int64_t)found, 0);
	TEAM_EXPECT(larder_inspect_entries(inspector, &all, count_entry, NULL, &entries), 0);
	TEAM_EXPECT((int64_t)summary_of(inspector).entries, (int64_t)entries);
}

/* A set counts the mirrors of the store anew, and passes gates that a dead process may have left taken. */
static void set_within_a_moment(larder_tenant *tenant)
{
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, larder_set(tenant, "last", "x", 1, "x", 1, NULL, NULL) == 0));
	TEAM_EXPECT(larder_delete(tenant, "last", "x", 1, NULL), 0);
}

static void fill_again(larder_tenant *tenant, larder_inspector *inspector)
{
	static unsigned char value[VALUE_MAX];
	struct larder_summary summary;
	char name[16];

	for (unsigned key = 0; key < 4 * ENTRIES_MAX; key++) {
		size_t len = (size_t)snprintf(name, sizeof(name), "new-%u", key);

		sample_fill(value, sizeof(value) / 2, key, 1);
		TEAM_EXPECT(larder_set(tenant, "kill", name, len, value, sizeof(value) / 2, NULL, NULL), 0);
	}
	summary = summary_of(inspector);
	TEAM_CHECK(summary.entries > ENTRIES_MAX / 2 && summary.entries <= ENTRIES_MAX);
}

static void look_afterwards(void *arg)
{
	larder_tenant *tenant = team_tenant(cache, "first");
	larder_inspector *inspector = team_inspect(dir);
	struct seen_slots slots;

	(void)arg;
	set_within_a_moment(tenant);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, readers_of_others(inspector) == 0 && slots_of(inspector).dead == 0));
	slots = slots_of(inspector);
	TEAM_CHECK(slots.live == 1 && slots.mine == 1);
	TEAM_EXPECT(summary_of(inspector).pinned_bytes / 4096 > 16, 0);
	TEAM_EXPECT(summary_of(inspector).gate_pid, 0);
	expect_sound(inspector);
	TEAM_EXPECT(larder_clear_all(cache, NULL), 0);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, summary_of(inspector).entries == 0));
	TEAM_EXPECT((int64_t)summary_of(inspector).chunks, 0);
	TEAM_CHECK(summary_of(inspector).used_bytes < 64 * 4096);
	fill_again(tenant, inspector);
	expect_sound(inspector);
	larder_inspect_close(inspector);
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* ---- the tests ---- */

static void test_each_point_is_said(void **state)
{
	(void)state;
	for (unsigned p = 0; p < LD_FAULT_POINTS; p++) {
		if (points[p].kind == UNSAID || (points[p].kind == NEVER) != (points[p].why != NULL))
			fail_msg("fault point %s: say in test_kill.c how it is reached, or why it is not", ld_fault_name((enum ld_fault_point)p));
	}
}

static void test_workers_are_killed(void **state)
{
	uint64_t random = team_seed(), wanted = team_size(200, 10000);

	(void)state;
	kills = 0;
	dir = team_directory();
	board = team_share(sizeof(*board));
	team_plan();
	cache = team_open(dir, "SIZE=12M", "MAX_ENTRIES=320", "WORKERS=16", "TENANTS=16", "SWEEP_MS=200", "TTL=1h", "WRITE_WAIT_MS=100", NULL);
	for (unsigned i = 0; i < WORKERS; i++)
		start_worker(i);
	kill_at_each_point(&random, team_is_long() ? 100 : 3);
	while (kills < wanted)
		kill_someone(&random);
	atomic_store(&board->stop, 1);
	for (unsigned i = 0; i < WORKERS; i++)
		team_join(pids[i]);
	print_message("# %llu kills; %llu gets, %llu hits, %llu sets, %llu dropped, %llu deletes, %llu adds, %llu not, %llu clears, %llu tags\n",
	    (unsigned long long)kills, (unsigned long long)board->gets, (unsigned long long)board->hits, (unsigned long long)board->sets,
	    (unsigned long long)board->sets_dropped, (unsigned long long)board->deletes, (unsigned long long)board->adds,
	    (unsigned long long)board->exists, (unsigned long long)board->clears, (unsigned long long)board->invalidations);
	/* It was at work, and not merely degraded. */
	assert_true(board->hits > 1000 && board->hits > board->gets / 20);
	assert_true(board->sets > 1000 && board->sets_dropped < board->sets / 4);
	team_run(look_afterwards, NULL);
	larder_close(cache);
	team_unshare(board, sizeof(*board));
}

/* ---- making, and making anew ---- */

static void make_cache(void *arg)
{
	larder *made = NULL;
	char *why = NULL;
	int rc = team_try_open(&made, &why, arg, "SIZE=1M", "WORKERS=4", "TENANTS=16", NULL);

	if (rc != 0)
		TEAM_FAIL("open gave %s: %s", larder_result_name(rc), why);
	TEAM_EXPECT(larder_attach(made), 0);
	larder_close(made);
}

static void use_cache(void *arg)
{
	larder *used = team_open(arg, "SIZE=1M", "WORKERS=4", "TENANTS=16", NULL);
	larder_tenant *tenant = team_tenant(used, "after");
	larder_inspector *inspector = team_inspect(arg);
	struct larder_value value = { 0 };

	TEAM_EXPECT(larder_set(tenant, "made", "key", 3, "value", 5, NULL, NULL), 0);
	TEAM_EXPECT(larder_get(tenant, "made", "key", 3, NULL, &value), 0);
	TEAM_CHECK(value.len == 5 && memcmp(value.data, "value", 5) == 0);
	larder_value_free(&value);
	expect_sound(inspector);
	larder_inspect_close(inspector);
	larder_tenant_close(tenant);
	larder_close(used);
}

static void kill_maker(enum ld_fault_point point, const char *where, void (*maker)(void *))
{
	team_arm(point, LD_FAULT_KILL, 0, 1);
	if (team_end(team_start(maker, (void *)(uintptr_t)where)) != 256 + SIGKILL || atomic_load(&team_plan()->acted) != 1)
		TEAM_FAIL("point %s was not reached", ld_fault_name(point));
	team_disarm();
	team_run(use_cache, (void *)(uintptr_t)where);
}

static void test_a_maker_is_killed(void **state)
{
	(void)state;
	for (unsigned p = 0; p < LD_FAULT_POINTS; p++) {
		if (points[p].kind == MAKE)
			kill_maker((enum ld_fault_point)p, team_directory(), make_cache);
	}
}

static void remake_cache(void *arg)
{
	larder *used = team_open(arg, "SIZE=1M", "WORKERS=4", "TENANTS=16", NULL);

	TEAM_EXPECT(larder_attach(used), 0);
	larder_close(used);
}

static void test_a_remaker_is_killed(void **state)
{
	(void)state;
	for (unsigned p = 0; p < LD_FAULT_POINTS; p++) {
		const char *where = team_directory();
		char file[256];

		if (points[p].kind != REMAKE)
			continue;
		team_run(use_cache, (void *)(uintptr_t)where);
		snprintf(file, sizeof(file), "%s/larder.1.mdb", where);
		assert_int_equal(unlink(file), 0);
		kill_maker((enum ld_fault_point)p, where, remake_cache);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_point_is_said),
		cmocka_unit_test(test_a_maker_is_killed),
		cmocka_unit_test(test_a_remaker_is_killed),
		cmocka_unit_test(test_workers_are_killed),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests_name("kill", tests, NULL, NULL);
}
