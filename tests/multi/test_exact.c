/* SPDX-License-Identifier: MIT */
/*
 * Random calls from several processes, each compared with what a plain model says it must give: result, value, age, times left, flags, to the
 * millisecond. Time is virtual: the boot clock jumps forward by up to half an hour, the wall clock by a day in either direction. The keepers of
 * the processes sweep meanwhile, in the same time. Nothing is evicted, so nothing may be missing.
 *
 * A run is not repeated exactly by its seed, for calls on different keys run at once; but each process makes the same calls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/process.h"
#include "lib/team.h"
#include "multi/model_calls.h"

enum { STEPS_A_ROUND = 10000, DAYS_MAX = 3, AFTER_ALL_DAYS = 1000 };
static const int64_t DAY_MS = 86400000, JUMP_MS = 1800000;

static struct board *board;
static const char *dir;
static larder *cache;

/* ---- what is done alone ---- */

static void jump(struct worker *worker)
{
	unsigned kind = model_draw(worker, 60);
	int64_t by_ms = 1 + model_draw(worker, kind == 0 ? (unsigned)JUMP_MS : kind < 24 ? 2000 : 20);

	atomic_fetch_add(&team_plan()->boot_shift_ms, by_ms);
}

/* A keeper may have looked at the clock just before it is set back: what had come to its end by then may be gone. */
static void step_wall_clock(struct worker *worker)
{
	int64_t days = model_draw(worker, 2) ? 1 : -1, now_ms, latest_ms;

	if (board->days + days > DAYS_MAX || board->days + days < -DAYS_MAX)
		days = -days;
	board->days += days;
	atomic_fetch_add(&team_plan()->wall_shift_ms, days * DAY_MS);
	now_ms = ld_clock_wall_ms();
	latest_ms = days < 0 ? now_ms - days * DAY_MS : now_ms;
	for (unsigned key = 0; key < MODEL_KEYS; key++)
		model_wall_was(&board->known[key], latest_ms);
}

static void clear_some(struct worker *worker)
{
	unsigned kind = model_draw(worker, 10), tenant = model_draw(worker, MODEL_TENANTS), space = model_draw(worker, MODEL_SPACES);
	int all = kind == 0, whole = kind < 3;

	if (all)
		TEAM_EXPECT(larder_clear_all(cache, &model_patient), 0);
	else if (whole)
		TEAM_EXPECT(larder_clear_tenant(worker->tenants[tenant], &model_patient), 0);
	else
		TEAM_EXPECT(larder_clear_space(worker->tenants[tenant], model_spaces[space], &model_patient), 0);
	for (unsigned key = 0; key < MODEL_KEYS; key++)
		if (all || (model_tenant_of(key) == tenant && (whole || model_space_of(key) == space)))
			model_remove(&board->known[key]);
}

/* What a listing showed: the flags say which key it is. */
struct listing {
	struct worker *worker;
	unsigned tenant;
	int state[MODEL_KEYS];
	unsigned times[MODEL_KEYS];
};

static int see(void *ctx, const struct larder_listed *entry)
{
	struct listing *listing = ctx;
	unsigned key = entry->flags & 0xffff;
	const struct known *known = &board->known[key];

	TEAM_CHECK(key < MODEL_KEYS && model_tenant_of(key) == listing->tenant);
	TEAM_CHECK(strcmp(entry->space, model_spaces[model_space_of(key)]) == 0);
	TEAM_CHECK(entry->flags == known->flags && entry->value_len == known->len);
	listing->state[key] = entry->state;
	listing->times[key]++;
	return 0;
}

static void list_tenant(struct worker *worker)
{
	struct listing listing = { .worker = worker, .tenant = model_draw(worker, MODEL_TENANTS) };
	struct span span;

	span_begin(&span);
	TEAM_EXPECT(larder_list(worker->tenants[listing.tenant], NULL, see, &listing, &model_patient), 0);
	span_end(&span);
	for (unsigned key = listing.tenant; key < MODEL_KEYS; key += MODEL_TENANTS) {
		int result = listing.times[key] ? listing.state[key] : LARDER_MISS;

		if (listing.times[key] > 1 || !(model_states(&board->known[key], &span) & model_bit(result)))
			model_wrong(worker, "list", key, &span, result, NULL);
	}
}

static void do_alone(struct worker *worker)
{
	unsigned what = model_draw(worker, 100);

	model_begin_alone(board);
	if (what < 85)
		jump(worker);
	else if (what < 90)
		step_wall_clock(worker);
	else if (what < 96)
		clear_some(worker);
	else
		list_tenant(worker);
	model_end_alone(board);
}

/* ---- processes ---- */

struct task {
	unsigned index, round;
	uint64_t steps;
};

static void begin_worker(struct worker *worker, unsigned index, unsigned round)
{
	worker->board = board;
	worker->index = index;
	worker->random = (team_seed() * UINT64_C(0x9e3779b97f4a7c15) + round * MODEL_PROCESSES + index) | 1;
	for (unsigned i = 0; i < 8; i++)
		team_random(&worker->random);
	/* So that no call pays for attaching. */
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, larder_attach(cache) == 0));
	for (unsigned i = 0; i < MODEL_TENANTS; i++)
		worker->tenants[i] = team_tenant(cache, model_tenants[i]);
}

static void work(void *arg)
{
	static struct worker worker;
	const struct task *task = arg;

	begin_worker(&worker, task->index, task->round);
	for (uint64_t i = 0; i < task->steps; i++) {
		if (model_draw(&worker, 64) == 0)
			do_alone(&worker);
		else
			model_call(&worker);
	}
}

static void run_round(unsigned round, uint64_t steps)
{
	struct task tasks[MODEL_PROCESSES];
	pid_t pids[MODEL_PROCESSES];

	for (unsigned i = 0; i < MODEL_PROCESSES; i++) {
		tasks[i] = (struct task){ i, round, steps / MODEL_PROCESSES };
		pids[i] = team_start(work, &tasks[i]);
	}
	for (unsigned i = 0; i < MODEL_PROCESSES; i++)
		team_join(pids[i]);
}

/* ---- afterwards ---- */

static struct larder_stats stats_now(void)
{
	struct larder_stats stats = { .size = sizeof(stats) };

	TEAM_EXPECT(larder_get_stats(cache, &stats), 0);
	return stats;
}

static void expect_nothing_lost(void)
{
	struct larder_stats stats = stats_now();

	TEAM_EXPECT((int64_t)stats.evictions, 0);
	TEAM_EXPECT((int64_t)stats.sets_dropped, 0);
	TEAM_EXPECT((int64_t)stats.deletes_failed, 0);
	TEAM_EXPECT((int64_t)stats.unavailable, 0);
	TEAM_EXPECT((int64_t)stats.corrupt, 0);
	TEAM_CHECK(stats.hits > 0 && stats.stale_hits > 0 && stats.absent_hits > 0 && stats.misses > 0);
}

static int expect_no_store_lost(void *ctx, const char *name, const char *text, uint64_t value)
{
	(void)ctx;
	(void)text;
	if (strcmp(name, "stores_remade") == 0)
		TEAM_EXPECT((int64_t)value, 0);
	return 0;
}

static void expect_sound(void)
{
	larder_inspector *inspector = team_inspect(dir);
	uint64_t found = 1;

	TEAM_EXPECT(larder_inspect_counters(inspector, expect_no_store_lost, NULL), 0);
	TEAM_EXPECT(larder_inspect_check(inspector, 0, NULL, NULL, NULL, &found), 0);
	TEAM_EXPECT((int64_t)found, 0);
	larder_inspect_close(inspector);
}

/* In the end everything is dead, and swept. */
static void expect_all_to_go(void)
{
	atomic_fetch_add(&team_plan()->boot_shift_ms, AFTER_ALL_DAYS * DAY_MS);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, stats_now().entries == 0));
	TEAM_CHECK(stats_now().expiries > 0);
}

static void test_every_call_does_as_the_model(void **state)
{
	uint64_t steps = team_size(100000, 1000000);
	static struct worker last;

	(void)state;
	dir = team_directory();
	board = team_share(sizeof(*board));
	model_make_locks(board);
	/* Shifted from the start, so that nothing is below the shift of an earlier test. */
	team_plan();
	cache = team_open(dir, "SIZE=64M", "WORKERS=16", "TENANTS=16", "TTL=40s", "STALE=10s", "NEGATIVE_TTL=5s", "SWEEP_MS=1s",
	    "WRITE_WAIT_MS=2s", NULL);
	for (unsigned round = 0; round * STEPS_A_ROUND < steps; round++)
		run_round(round, STEPS_A_ROUND);
	begin_worker(&last, 0, UINT32_MAX);
	for (unsigned key = 0; key < MODEL_KEYS; key++)
		model_get(&last, key);
	print_message("# %llu steps: %llu found, %llu missed, %llu stored, %llu removed\n", (unsigned long long)steps,
	    (unsigned long long)board->found, (unsigned long long)board->missed, (unsigned long long)board->stored,
	    (unsigned long long)board->removed);
	expect_nothing_lost();
	expect_sound();
	expect_all_to_go();
	for (unsigned i = 0; i < MODEL_TENANTS; i++)
		larder_tenant_close(last.tenants[i]);
	larder_close(cache);
	team_unshare(board, sizeof(*board));
}

/* ---- growing ---- */

enum { GROWTH_SETS = 500, GROWTH_B = 100000 };

static void grow(void *arg)
{
	larder_tenant *tenant = team_tenant(cache, model_tenants[0]);
	static unsigned char value[GROWTH_B];

	(void)arg;
	for (unsigned i = 0; i < GROWTH_SETS; i++)
		TEAM_EXPECT(larder_set(tenant, "growing", &i, sizeof(i), value, sizeof(value), NULL, &model_patient), 0);
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* Each second each process looks whether the store file still stands; here each call does. */
static void test_a_file_that_grows_is_not_taken_for_one_cut_short(void **state)
{
	struct larder_value value = { 0 };
	larder_tenant *tenant;
	pid_t grower;

	(void)state;
	dir = team_directory();
	team_plan();
	cache = team_open(dir, "SIZE=64M", "WORKERS=16", "TENANTS=16", "TTL=30d", "THREADS=0", "EVICTOR=inline", "WRITE_WAIT_MS=2s", NULL);
	tenant = team_tenant(cache, model_tenants[0]);
	grower = team_start(grow, NULL);
	while (ld_process_state(grower) != 'Z') {
		int rc;

		atomic_fetch_add(&team_plan()->boot_shift_ms, 1001);
		rc = larder_get(tenant, "growing", &(unsigned){ 0 }, sizeof(unsigned), &model_patient, &value);
		TEAM_CHECK(rc == 0 || rc == LARDER_MISS);
		larder_value_free(&value);
	}
	team_join(grower);
	TEAM_EXPECT((int64_t)stats_now().entries, GROWTH_SETS);
	larder_tenant_close(tenant);
	larder_close(cache);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_call_does_as_the_model),
		cmocka_unit_test(test_a_file_that_grows_is_not_taken_for_one_cut_short),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
