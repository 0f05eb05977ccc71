/* SPDX-License-Identifier: MIT */
/*
 * Random operations of several processes against a reference map in shared memory, in virtual time. Operations on a key are serialised by the key's
 * own lock, so each expectation is exact; clears and steps of the clocks are made while nobody is inside a call. The cache is large enough that nothing
 * is evicted, and a call has so much time that none is refused.
 *
 * Real time goes on beside the virtual one: what an entry is just at the end of its time is not known to a few milliseconds, and any of the two
 * answers will do then (UNSURE). A run is repeated with the seed that is printed; the interleaving is the machine's.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "lib/sample.h"
#include "lib/team.h"

enum { WORKERS = 3, KEYS = 600, TENANTS = 2, SPACES = 2, MANY = 4, VALUE_MAX = 12000 };
enum state { GONE, FRESH, STALE, UNSURE };

/* What is known of a key. Times are of the boot clock, from..to, for the call that set them took a while. */
struct model {
	pthread_mutex_t lock;
	int present, absent;
	int doubtful;               /* its hard end was over once; the wall clock may have gone back since, and the entry may be gone */
	uint64_t version;
	int64_t fresh_from, fresh_to, dead_from, dead_to, hard_end;
	uint32_t flags;
	char last[16];              /* operation */
};

static struct board {
	pthread_rwlock_t calls;     /* read: in a call; write: nobody is */
	struct model models[KEYS];
	_Atomic uint64_t steps, versions, unsure, found[4], shifts, clears, works;
} *board;

static const char *dir;
static larder *cache;
static uint64_t steps;

struct worker {
	uint64_t random;
	larder_tenant *tenants[TENANTS];
	larder_inspector *inspector;
	unsigned char value[VALUE_MAX];
};

static const struct larder_call patient = { sizeof(patient), 0, 30000, NULL, NULL };
static const char *const space_names[SPACES] = { "one", "two" };

static const char *space_of(unsigned key)
{
	return space_names[key / TENANTS % SPACES];
}

static larder_tenant *tenant_of(struct worker *worker, unsigned key)
{
	return worker->tenants[key % TENANTS];
}

/* ---- the model ---- */

struct moment {
	int64_t boot, wall;
};

static struct moment now(void)
{
	return (struct moment){ ld_clock_boot_ms(), ld_clock_wall_ms() };
}

static enum state state_of(const struct model *model, struct moment from, struct moment to)
{
	if (!model->present || from.boot >= model->dead_to || (model->hard_end && from.wall >= model->hard_end))
		return GONE;
	if (to.boot >= model->dead_from || (model->hard_end && to.wall >= model->hard_end))
		return UNSURE;
	if (model->doubtful)
		return UNSURE;
	if (to.boot < model->fresh_from)
		return FRESH;
	/* A remembered not-found is not served beyond its time. */
	return from.boot >= model->fresh_to && !model->absent ? STALE : UNSURE;
}

static void set_times(struct model *model, int64_t ttl, int64_t stale, struct moment from, struct moment to)
{
	model->fresh_from = from.boot + ttl;
	model->fresh_to = to.boot + ttl;
	model->dead_from = model->fresh_from + stale;
	model->dead_to = model->fresh_to + stale;
}

static void __attribute__((noreturn)) tell_model(const char *what, unsigned key, enum state state, int rc)
{
	static const char *const names[] = { "gone", "fresh", "stale", "unsure" };
	const struct model *model = &board->models[key];
	struct moment at = now();

	TEAM_FAIL("step %llu: %s of key %u gave %s (%s), the model says %s: version %llu%s, fresh for %lld ms, dead in %lld ms, hard end in %lld ms, "
	    "last: %s", (unsigned long long)board->steps, what, key, larder_result_name(rc), larder_reason_text(larder_reason()), names[state],
	    (unsigned long long)model->version, model->absent ? ", absent" : "", (long long)(model->fresh_from - at.boot),
	    (long long)(model->dead_from - at.boot), model->hard_end ? (long long)(model->hard_end - at.wall) : 0, model->last);
}

static void expect(const char *what, unsigned key, enum state state, int rc, int if_fresh, int if_stale, int if_gone)
{
	int expected = state == FRESH ? if_fresh : state == STALE ? if_stale : if_gone;

	atomic_fetch_add(&board->found[state], 1);
	if (state == UNSURE ? rc != if_fresh && rc != if_stale && rc != if_gone : rc != expected)
		tell_model(what, key, state, rc);
	snprintf(board->models[key].last, sizeof(board->models[key].last), "%s", what);
}

/* ---- the operations; the key is locked ---- */

static void check_value(unsigned key, const struct model *model, int rc, struct larder_value *value)
{
	const char *wrong;
	uint64_t version;

	if (rc != 0 && rc != LARDER_STALE)
		return;
	wrong = sample_wrong(value->data, value->len, key, &version);
	if (wrong || version != model->version || value->flags != model->flags)
		TEAM_FAIL("key %u: %s, not version %llu", key, wrong ? wrong : "another version", (unsigned long long)model->version);
	larder_value_free(value);
}

static void get_one(struct worker *worker, unsigned key)
{
	struct model *model = &board->models[key];
	struct larder_value value = { 0 };
	struct moment from = now();
	int rc = larder_get(tenant_of(worker, key), space_of(key), &key, sizeof(key), &patient, &value);

	expect("get", key, state_of(model, from, now()), rc, model->absent ? LARDER_ABSENT : 0, LARDER_STALE, LARDER_MISS);
	check_value(key, model, rc, &value);
}

static void ask_exists(struct worker *worker, unsigned key)
{
	struct model *model = &board->models[key];
	struct moment from = now();
	int rc = larder_exists(tenant_of(worker, key), space_of(key), &key, sizeof(key), &patient);

	expect("exists", key, state_of(model, from, now()), rc, model->absent ? LARDER_ABSENT : 0, LARDER_STALE, LARDER_MISS);
}

static void draw_store(struct worker *worker, struct larder_store *store)
{
	*store = (struct larder_store)LARDER_STORE_INIT;
	store->ttl_ms = 1000 + (int64_t)(team_random(&worker->random) % 200000);
	store->stale_ms = team_random(&worker->random) % 4 ? (int64_t)(team_random(&worker->random) % 600000) : 0;
	if (team_random(&worker->random) % 4 == 0)
		store->hard_end_ms = ld_clock_wall_ms() + 10000 + (int64_t)(team_random(&worker->random) % 1000000);
	store->flags = (uint32_t)team_random(&worker->random);
}

static void put_one(struct worker *worker, unsigned key, int only_new, int absent)
{
	struct model *model = &board->models[key];
	uint64_t version = atomic_fetch_add(&board->versions, 1) + 1;
	size_t len = sample_len(&worker->random, SAMPLE_MIN, VALUE_MAX);
	larder_tenant *tenant = tenant_of(worker, key);
	struct larder_store store;
	struct moment from;
	int rc;

	draw_store(worker, &store);
	if (absent)
		store.stale_ms = 0;
	sample_fill(worker->value, len, key, version);
	from = now();
	if (only_new) {
		rc = larder_add(tenant, space_of(key), &key, sizeof(key), worker->value, len, &store, &patient);
		expect("add", key, model->absent ? GONE : state_of(model, from, now()), rc, LARDER_EXISTS, 0, 0);
	} else if (absent) {
		rc = larder_set_absent(tenant, space_of(key), &key, sizeof(key), &store, &patient);
		TEAM_EXPECT(rc, 0);
	} else {
		rc = larder_set(tenant, space_of(key), &key, sizeof(key), worker->value, len, &store, &patient);
		TEAM_EXPECT(rc, 0);
	}
	if (rc != 0)
		return;
	model->present = 1;
	model->doubtful = 0;
	model->absent = absent;
	model->version = version;
	model->flags = store.flags;
	model->hard_end = store.hard_end_ms;
	set_times(model, store.ttl_ms, store.stale_ms, from, now());
}

static void touch_one(struct worker *worker, unsigned key)
{
	struct model *model = &board->models[key];
	int64_t ttl = 1000 + (int64_t)(team_random(&worker->random) % 600000);
	int64_t stale = model->absent ? 0 : (int64_t)(team_random(&worker->random) % 1000);
	struct moment from = now();
	int rc = larder_touch(tenant_of(worker, key), space_of(key), &key, sizeof(key), ttl, stale, &patient);

	expect("touch", key, state_of(model, from, now()), rc, 0, 0, LARDER_MISS);
	if (rc == 0)
		set_times(model, ttl, stale, from, now());
}

static void delete_one(struct worker *worker, unsigned key)
{
	struct model *model = &board->models[key];
	struct moment from = now();
	int rc = larder_delete(tenant_of(worker, key), space_of(key), &key, sizeof(key), &patient);

	expect("delete", key, state_of(model, from, now()), rc, 0, 0, LARDER_MISS);
	model->present = 0;
}

static void do_many(struct worker *worker, const unsigned *keys, int delete)
{
	struct larder_item items[MANY] = { 0 };
	struct moment from = now(), to;

	for (int i = 0; i < MANY; i++)
		items[i] = (struct larder_item){ .space = space_of(keys[i]), .name = &keys[i], .name_len = sizeof(keys[i]) };
	if (delete)
		TEAM_EXPECT(larder_delete_many(worker->tenants[keys[0] % TENANTS], items, MANY, &patient), 0);
	else
		TEAM_EXPECT(larder_mget(worker->tenants[keys[0] % TENANTS], items, MANY, &patient), 0);
	to = now();
	for (int i = 0; i < MANY; i++) {
		struct model *model = &board->models[keys[i]];
		enum state state = state_of(model, from, to);

		if (delete) {
			expect("delete_many", keys[i], state, items[i].result, 0, 0, LARDER_MISS);
			model->present = 0;
		} else {
			expect("mget", keys[i], state, items[i].result, model->absent ? LARDER_ABSENT : 0, LARDER_STALE, LARDER_MISS);
			check_value(keys[i], model, items[i].result, &items[i].value);
		}
	}
}

/* ---- choosing ---- */

static void lock_many(struct worker *worker, int delete)
{
	/* Ascending, of one tenant. */
	unsigned keys[MANY], key = (unsigned)(team_random(&worker->random) % (KEYS - 64));

	for (int i = 0; i < MANY; i++) {
		keys[i] = key;
		key += TENANTS * (1 + (unsigned)(team_random(&worker->random) % 4));
		pthread_mutex_lock(&board->models[keys[i]].lock);
	}
	do_many(worker, keys, delete);
	for (int i = 0; i < MANY; i++)
		pthread_mutex_unlock(&board->models[keys[i]].lock);
}

static void on_one_key(struct worker *worker, unsigned what)
{
	unsigned key = (unsigned)(team_random(&worker->random) % KEYS);
	struct model *model = &board->models[key];

	pthread_mutex_lock(&model->lock);
	if (what < 38)
		get_one(worker, key);
	else if (what < 60)
		put_one(worker, key, 0, 0);
	else if (what < 65)
		put_one(worker, key, 0, 1);
	else if (what < 75)
		put_one(worker, key, 1, 0);
	else if (what < 84)
		touch_one(worker, key);
	else if (what < 92)
		delete_one(worker, key);
	else
		ask_exists(worker, key);
	pthread_mutex_unlock(&model->lock);
}

static void clear_some(struct worker *worker)
{
	unsigned of = (unsigned)(team_random(&worker->random) % (TENANTS * SPACES)), scope = (unsigned)(team_random(&worker->random) % 16);

	atomic_fetch_add(&board->clears, 1);
	if (scope == 0)
		TEAM_EXPECT(larder_clear_all(cache, &patient), 0);
	else if (scope < 4)
		TEAM_EXPECT(larder_clear_tenant(tenant_of(worker, of), &patient), 0);
	else
		TEAM_EXPECT(larder_clear_space(tenant_of(worker, of), space_of(of), &patient), 0);
	for (unsigned key = 0; key < KEYS; key++)
		if (scope == 0 || (key % TENANTS == of % TENANTS && (scope < 4 || space_of(key) == space_of(of))))
			board->models[key].present = 0;
}

/* The boot clock goes forward only, the wall clock a day either way. */
static void step_clocks(struct worker *worker)
{
	static const int64_t days[] = { 86400000, -86400000 };
	struct moment at = now();

	atomic_fetch_add(&board->shifts, 1);
	for (unsigned key = 0; key < KEYS; key++)
		if (board->models[key].hard_end && at.wall >= board->models[key].hard_end)
			board->models[key].doubtful = 1;
	atomic_fetch_add(&team_plan()->boot_shift_ms, (int64_t)(team_random(&worker->random) % 60000));
	if (team_random(&worker->random) % 8 == 0)
		atomic_fetch_add(&team_plan()->wall_shift_ms, days[team_random(&worker->random) % 2]);
	else
		atomic_fetch_add(&team_plan()->wall_shift_ms, (int64_t)(team_random(&worker->random) % 60000));
}

static void do_alone(struct worker *worker, int clear)
{
	pthread_rwlock_wrlock(&board->calls);
	if (clear)
		clear_some(worker);
	else
		step_clocks(worker);
	pthread_rwlock_unlock(&board->calls);
}

static void do_something(struct worker *worker)
{
	unsigned what = (unsigned)(team_random(&worker->random) >> 32) % 1000;
	int rc;

	if (what < 8) {
		do_alone(worker, what < 2);
		return;
	}
	pthread_rwlock_rdlock(&board->calls);
	if (what < 20) {
		rc = larder_inspect_work(worker->inspector, 0);
		TEAM_CHECK(rc == 0 || rc == LARDER_EXISTS);
		atomic_fetch_add(&board->works, rc == 0);
	} else if (what < 80) {
		lock_many(worker, what < 40);
	} else {
		on_one_key(worker, (unsigned)(team_random(&worker->random) >> 32) % 100);
	}
	pthread_rwlock_unlock(&board->calls);
}

static void work(void *arg)
{
	static struct worker worker;

	worker.random = (team_seed() + (uintptr_t)arg * UINT64_C(0x9e3779b97f4a7c15)) | 1;
	/* Attaching has the cache's own time limit, which a step of the clock would end. */
	pthread_rwlock_rdlock(&board->calls);
	worker.tenants[0] = team_tenant(cache, "even");
	worker.tenants[1] = team_tenant(cache, "odd");
	worker.inspector = team_inspect(dir);
	pthread_rwlock_unlock(&board->calls);
	while (atomic_fetch_add(&board->steps, 1) < steps)
		do_something(&worker);
	larder_inspect_close(worker.inspector);
	larder_tenant_close(worker.tenants[0]);
	larder_tenant_close(worker.tenants[1]);
}

static void make_board(void)
{
	pthread_mutexattr_t mutex;
	pthread_rwlockattr_t rwlock;

	board = team_share(sizeof(*board));
	pthread_mutexattr_init(&mutex);
	pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
	pthread_rwlockattr_init(&rwlock);
	pthread_rwlockattr_setpshared(&rwlock, PTHREAD_PROCESS_SHARED);
	pthread_rwlockattr_setkind_np(&rwlock, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&board->calls, &rwlock);
	for (unsigned key = 0; key < KEYS; key++)
		pthread_mutex_init(&board->models[key].lock, &mutex);
}

/* A failed worker may leave a lock taken: the others are not waited for. */
static void join_all(pid_t *pids)
{
	for (int64_t end = team_now_ms() + 20 * TEAM_DEADLINE_MS; team_now_ms() < end; team_pause()) {
		unsigned left = WORKERS;

		for (int i = 0; i < WORKERS; i++) {
			if (pids[i] > 0 && !team_has_ended(pids[i]))
				continue;
			left--;
			if (pids[i] > 0)
				team_join(pids[i]);
			pids[i] = 0;
		}
		if (left == 0)
			return;
	}
	TEAM_FAIL("the workers do not come to their end");
}

static void test_model(void **state)
{
	larder_inspector *inspector;
	uint64_t found = 1, sure;
	pid_t pids[WORKERS];

	(void)state;
	make_board();
	team_plan();
	steps = team_size(50000, 1000000);
	dir = team_directory();
	cache = team_open(dir, "SIZE=64M", "WORKERS=16", "TENANTS=16", "THREADS=off", "SWEEP_MS=2s", "WRITE_WAIT_MS=10s", NULL);
	for (uintptr_t i = 0; i < WORKERS; i++)
		pids[i] = team_start(work, (void *)i);
	join_all(pids);
	sure = board->found[GONE] + board->found[FRESH] + board->found[STALE];
	print_message("# answers: %llu gone, %llu fresh, %llu stale, %llu unsure; %llu steps of the clock, %llu clears, %llu rounds of work\n",
	    (unsigned long long)board->found[GONE], (unsigned long long)board->found[FRESH], (unsigned long long)board->found[STALE],
	    (unsigned long long)board->found[UNSURE], (unsigned long long)board->shifts, (unsigned long long)board->clears,
	    (unsigned long long)board->works);
	assert_true(board->found[UNSURE] < sure / 10);
	assert_true(board->found[FRESH] > sure / 20 && board->found[STALE] > sure / 100 && board->found[GONE] > sure / 20);
	inspector = team_inspect(dir);
	TEAM_EXPECT(larder_inspect_check(inspector, 0, NULL, NULL, NULL, &found), 0);
	TEAM_EXPECT((int64_t)found, 0);
	larder_inspect_close(inspector);
	larder_close(cache);
	team_unshare(board, sizeof(*board));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
