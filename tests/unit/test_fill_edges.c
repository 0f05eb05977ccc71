/* SPDX-License-Identifier: MIT */
/*
 * Edges of fills in one process, without L2: no room for a lease, a lease of another key's, more callers than may load by themselves, a refresh whose caller
 * has gone, with all that was its. tests/multi/test_fill_edges.c has those that need several processes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "child.h"
#include "leave_out.h"
#include "source.h"
#include "told.h"

enum { SMALLEST = 64, MANY = 200, THREADS = 4, SLOW = 6 };

static struct larder_call within(uint32_t budget_ms)
{
	return (struct larder_call){ sizeof(struct larder_call), 0, budget_ms, NULL, NULL };
}

/* One caller in a thread. */
struct caller {
	struct source *source;
	const char *name, *text;
	uint32_t budget_ms;
	int rc;
	int64_t retry_ms, took_ms;
	pthread_t thread;
};

static void *call(void *arg)
{
	struct caller *caller = arg;
	const struct larder_call how = within(caller->budget_ms);
	int64_t began_ms = child_now_ms();

	caller->rc = source_gives(caller->source, caller->name, &how, caller->text, LARDER_FROM_LOADER);
	caller->retry_ms = larder_retry_after();
	caller->took_ms = child_now_ms() - began_ms;
	return NULL;
}

static void start(struct caller *caller)
{
	assert_int_equal(pthread_create(&caller->thread, NULL, call, caller), 0);
}

static int result_of(struct caller *caller)
{
	assert_int_equal(pthread_join(caller->thread, NULL), 0);
	return caller->rc;
}

static larder_lease *lease_of(struct box *box, const char *name)
{
	larder_lease *lease = NULL;

	assert_int_equal(larder_lease_try(box->tenant, BOX_SPACE, name, strlen(name), NULL, &lease), 0);
	return lease;
}

static _Atomic int may_go_on;

static void wait_meanwhile(struct source *source)
{
	(void)source;
	(void)CHILD_POLL(atomic_load(&may_go_on));
}

/* ---- no lease, or another key's ---- */

static void test_a_full_table_costs_deduplication_only(void **state)
{
	struct box *box = *state;
	larder_lease *leases[MANY];
	struct ld_tallies tallies;
	char name[16];

	box_open(box, (const char *const[]){ "LEASES=64", NULL });
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "held%d", i);
		leases[i] = lease_of(box, name);
	}
	for (int i = 0; i < MANY; i++) {
		struct source source;

		(void)snprintf(name, sizeof(name), "free%d", i);
		source = source_of(box, name);
		assert_int_equal(source_gives(&source, name, NULL, name, LARDER_FROM_LOADER), 0);
		assert_int_equal(source_gives(&source, name, NULL, name, LARDER_FROM_L1), 0);
		assert_int_equal(source.calls, 1);
	}
	assert_int_equal(ld_store_tallies(told_store(box), NULL, &tallies), 0);
	assert_int_equal(tallies.host[LD_HC_leases_taken], SMALLEST);
	assert_int_equal(tallies.host[LD_HC_leases_full], MANY - SMALLEST + MANY);
	/* Those that got a handle without a lease fill as well, and have nothing to renew. */
	assert_int_equal(larder_lease_renew(leases[MANY - 1], 1000), LARDER_MISS);
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "held%d", i);
		assert_int_equal(larder_fill(leases[i], name, strlen(name), NULL, NULL), 0);
		assert_true(box_gives(box, name, 0, name));
	}
}

/* Another key whose lease has the same tag: the tag is made of the digest's first bytes. */
static struct ld_key twin_of(struct box *box, const char *name)
{
	struct ld_key key = told_key(box, name);

	memset(key.digest + 8, 0x5a, sizeof(key.digest) - 8);
	return key;
}

static uint32_t waiting_for(struct box *box, const struct ld_key *key)
{
	struct ld_lease_info info;

	return ld_store_lease_look(told_store(box), key, &info) == 0 ? info.waiting : 0;
}

static void test_two_keys_with_one_tag_wait_in_vain_and_no_more(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "mine"), second = source_of(box, "mine too");
	struct caller waits = { .source = &source, .name = "a", .text = "mine", .budget_ms = 20000 };
	const struct larder_call brief = within(50);
	struct ld_lease lease;
	struct ld_key twin;
	int64_t retry_ms;

	box_open(box, NULL);
	twin = twin_of(box, "a");
	assert_int_equal(ld_store_lease_try(told_store(box), &twin, &told_way, NULL, 60000, &lease, &retry_ms), LD_LEASE_TAKEN);
	start(&waits);
	assert_true(CHILD_POLL(waiting_for(box, &twin) == 1));
	assert_int_equal(source.calls, 0);
	/* The other value is there: ours is not, and is loaded. */
	ld_store_lease_end(told_store(box), &lease, LD_LEASE_STORED, 0);
	assert_int_equal(result_of(&waits), 0);
	assert_int_equal(source.calls, 1);
	twin = twin_of(box, "b");
	assert_int_equal(ld_store_lease_try(told_store(box), &twin, &told_way, NULL, 60000, &lease, &retry_ms), LD_LEASE_TAKEN);
	/* It does not end: whoever waited loads by himself. */
	assert_int_equal(source_gives(&second, "b", &brief, "mine too", LARDER_FROM_LOADER), 0);
	assert_true(box_gives(box, "b", 0, "mine too"));
	assert_true(box_gives(box, "a", 0, "mine"));
	assert_int_equal(source_stats(box).load_overflows, 1);
}

/* ---- more callers than may load by themselves ---- */

static struct box *the_box;

static void load_in_child(void *arg)
{
	struct source source = source_of(the_box, "c");
	const struct larder_call brief = within(20);

	(void)arg;
	CHILD_CHECK(source_gives(&source, "c", &brief, "c", LARDER_FROM_LOADER) == 0);
	CHILD_CHECK(source_gives(&source, "d", &brief, "c", LARDER_FROM_LOADER) == 0);
}

static void test_loads_without_a_lease_are_bounded(void **state)
{
	struct box *box = *state;
	struct source slow = source_of(box, "a"), other = source_of(box, "b");
	struct caller loads = { .source = &slow, .name = "a", .text = "a", .budget_ms = 20 };
	const struct larder_call brief = within(20);
	larder_lease *leases[4];

	box_open(box, (const char *const[]){ "FILL_EXTRA=1", NULL });
	the_box = box;
	for (int i = 0; i < 4; i++)
		leases[i] = lease_of(box, (const char *const[]){ "a", "b", "c", "d" }[i]);
	atomic_store(&may_go_on, 0);
	slow.meanwhile = wait_meanwhile;
	start(&loads);
	assert_true(CHILD_POLL(slow.calls == 1));
	assert_int_equal(source_gives(&other, "b", &brief, NULL, 0), LARDER_E_BUSY);
	/* The load that is under way is not the child's. */
	assert_int_equal(child_run(load_in_child, NULL), 0);
	atomic_store(&may_go_on, 1);
	assert_int_equal(result_of(&loads), 0);
	assert_int_equal(source_gives(&other, "b", &brief, "b", LARDER_FROM_LOADER), 0);
	assert_int_equal(other.calls, 1);
	for (int i = 0; i < 4; i++)
		larder_lease_drop(leases[i], 0);
}

/* What it is told is of the lease that it met, renewed as it is, and not of a call before. */
static void test_who_finds_no_place_knows_how_long_the_lease_has(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "v");
	const struct larder_call brief = within(20);
	larder_lease *lease;

	box_open(box, (const char *const[]){ "FILL_EXTRA=0", "LEASE_MS=1s", "LIMIT_RATE=1/h", "LIMIT_BURST=1", NULL });
	lease = lease_of(box, "k");
	assert_int_equal(larder_lease_renew(lease, 300000), 0);
	assert_int_equal(larder_limit_take(box->tenant, NULL, 1, NULL, NULL), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(larder_limit_take(box->tenant, NULL, 1, NULL, NULL), LARDER_E_LIMIT);
		assert_in_range(larder_retry_after(), 3000000, 3700000);
		assert_int_equal(source_gives(&source, "k", &brief, NULL, 0), LARDER_E_BUSY);
		assert_in_range(larder_retry_after(), 200000, 300000);
	}
	larder_lease_drop(lease, 0);
	assert_int_equal(source_gives(&source, "k", &brief, "v", LARDER_FROM_LOADER), 0);
	assert_int_equal(larder_retry_after(), 0);
}

static void test_who_waited_for_a_failure_knows_when_to_come_back(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "never");
	struct caller waits = { .source = &source, .name = "k", .budget_ms = 20000 };
	struct ld_key key;
	larder_lease *lease;

	box_open(box, (const char *const[]){ "FAIL_THROTTLE_MS=1m", NULL });
	key = told_key(box, "k");
	lease = lease_of(box, "k");
	start(&waits);
	assert_true(CHILD_POLL(waiting_for(box, &key) == 1));
	larder_lease_drop(lease, 1);
	assert_int_equal(result_of(&waits), LARDER_E_LOAD);
	assert_in_range(waits.retry_ms, 1, 60000);
	assert_int_equal(source.calls, 0);
}

/* Where no lease was ended there is no throttle, and nothing to wait for. */
static void test_with_the_cache_off_nobody_is_told_to_wait(void **state)
{
	struct box *box = *state;
	struct source fails = source_of(box, NULL), good = source_of(box, "good");
	struct caller waits = { .source = &good, .name = "k", .text = "good", .budget_ms = 20000 };
	struct caller sees = { .source = &good, .name = "l", .text = "good", .budget_ms = 20000 };
	struct ld_key key;
	larder_lease *lease;

	box_open(box, (const char *const[]){ "FAIL_THROTTLE_MS=1m", NULL });
	/* It joins, the cache is switched off, what it waits for fails. */
	key = told_key(box, "k");
	lease = lease_of(box, "k");
	start(&waits);
	assert_true(CHILD_POLL(waiting_for(box, &key) == 1));
	assert_int_equal(ld_store_switch(told_store(box), 0), 0);
	larder_lease_drop(lease, 1);
	assert_int_equal(result_of(&waits), LARDER_E_LOAD);
	assert_int_equal(waits.retry_ms, 0);
	assert_int_equal(source_gives(&fails, "k", NULL, NULL, 0), LARDER_E_LOAD);
	assert_int_equal(larder_retry_after(), 0);
	assert_int_equal(source_gives(&good, "k", NULL, "good", LARDER_FROM_LOADER), 0);
	/* The same, and what it waits for ends well: it loads for itself, and takes no lease for that. */
	assert_int_equal(ld_store_switch(told_store(box), 1), 0);
	key = told_key(box, "l");
	lease = lease_of(box, "l");
	start(&sees);
	assert_true(CHILD_POLL(waiting_for(box, &key) == 1));
	assert_int_equal(ld_store_switch(told_store(box), 0), 0);
	good.text = NULL;
	good.says = LARDER_LOAD_FAILED;
	larder_lease_drop(lease, 0);
	assert_int_equal(result_of(&sees), LARDER_E_LOAD);
	assert_int_equal(sees.retry_ms, 0);
	assert_int_equal(ld_store_switch(told_store(box), 1), 0);
	assert_int_equal(ld_store_lease_throttled(told_store(box), &key, &told_way), 0);
}

/* ---- time that jumps ---- */

static void sleep_meanwhile(struct source *source)
{
	source_shift(source->box, 8 * 3600000);
}

static void test_the_host_sleeps_during_a_load(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "v");

	NEEDS_CLOCK(box);
	box_open(box, (const char *const[]){ "TTL=1m", NULL });
	source.meanwhile = sleep_meanwhile;
	assert_int_equal(source_gives(&source, "k", NULL, "v", LARDER_FROM_LOADER), 0);
	assert_true(box_gives(box, "k", 0, "v"));
	/* Hours of a load are no measure of it: what can be said of a value that takes so long is that it is refreshed early. */
	source.meanwhile = NULL;
	assert_in_range(source_gives(&source, "k", NULL, "v", LARDER_FROM_LOADER), 0, 0);
}

static void test_the_host_sleeps_while_somebody_waits(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "v");
	struct caller waits = { .source = &source, .name = "k", .text = "v", .budget_ms = 20000 };
	larder_lease *lease;
	struct ld_key key;

	NEEDS_CLOCK(box);
	box_open(box, NULL);
	key = told_key(box, "k");
	lease = lease_of(box, "k");
	start(&waits);
	assert_true(CHILD_POLL(waiting_for(box, &key) == 1));
	source_shift(box, 8 * 3600000);
	/* Lease and budget are over: it loads, and is not left asleep. */
	assert_int_equal(result_of(&waits), 0);
	assert_true(waits.took_ms < 5000);
	assert_int_equal(source.calls, 1);
	/* Who slept with the lease finds a newer value. */
	assert_int_equal(larder_fill(lease, "slept", 5, NULL, NULL), LARDER_EXISTS);
	assert_true(box_gives(box, "k", 0, "v"));
}

/* ---- a refresh whose caller has gone ---- */

/* A stale value of this name for the thread to refresh; 1: it was given stale. */
static int queue_refresh(larder_tenant *tenant, const char *name, const struct larder_loading *loading, const struct larder_call *call)
{
	struct larder_value value = { 0 };
	int rc = larder_get_or_set(tenant, BOX_SPACE, name, strlen(name), loading, call, &value);

	larder_value_free(&value);
	return rc == LARDER_STALE;
}

static _Atomic unsigned under_way;

static int load_slowly(struct larder_load *load, void *ctx)
{
	(void)ctx;
	atomic_fetch_add(&under_way, 1);
	(void)CHILD_POLL(atomic_load(&may_go_on));
	return larder_load_give(load, "slow", 4) == 0 ? LARDER_LOADED : LARDER_LOAD_FAILED;
}

/* Open with stale values, and every thread busy. */
static void begin_queued(struct box *box)
{
	const struct larder_loading slow = { sizeof(slow), LARDER_LOAD_ANY_THREAD, 0, load_slowly, NULL, NULL };
	char name[16];

	box_open(box, (const char *const[]){ "TTL=10s", "STALE=1h", "THREADS=1", "LEASE_MS=50s", NULL });
	assert_int_equal(box_set(box, "k", "old"), 0);
	for (int i = 0; i < THREADS; i++) {
		(void)snprintf(name, sizeof(name), "slow%d", i);
		assert_int_equal(box_set(box, name, "old"), 0);
	}
	source_shift(box, 20000);
	atomic_store(&may_go_on, 0);
	atomic_store(&under_way, 0);
	for (int i = 0; i < THREADS; i++) {
		(void)snprintf(name, sizeof(name), "slow%d", i);
		assert_true(queue_refresh(box->tenant, name, &slow, NULL));
	}
	assert_true(CHILD_POLL(atomic_load(&under_way) == THREADS));
}

static void test_a_tenant_is_closed_while_its_refresh_is_queued(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "new");
	const struct larder_loading loading = { sizeof(loading), LARDER_LOAD_ANY_THREAD, 0, source_load, &source, NULL };
	struct larder_call how = { sizeof(how), 0, 0, NULL, NULL };
	larder_tenant *tenant = NULL;
	char request_id[8] = "req-17";

	NEEDS_CLOCK(box);
	begin_queued(box);
	how.request_id = request_id;
	assert_int_equal(larder_tenant_open(box->cache, "acme", &tenant), 0);
	assert_true(queue_refresh(tenant, "k", &loading, &how));
	larder_tenant_close(tenant);
	memset(request_id, 'x', sizeof(request_id) - 1);
	assert_int_equal(source.calls, 0);
	atomic_store(&may_go_on, 1);
	assert_true(CHILD_POLL(source.ended == 1 && source_stats(box).refreshes == THREADS + 1));
	assert_true(box_gives(box, "k", 0, "new"));
	assert_string_equal(source.request_id, "req-17");
	/* Nobody waits for it, so it has the time of its lease, not none. */
	assert_in_range(source.left_ms, 1, 50000);
}

struct copied {
	struct source *source;
	char text[100];
};

static int load_copied(struct larder_load *load, void *ctx)
{
	const struct copied *copied = ctx;

	atomic_fetch_add(&copied->source->calls, 1);
	return larder_load_give(load, copied->text, strlen(copied->text)) == 0 ? LARDER_LOADED : LARDER_LOAD_FAILED;
}

static void test_a_context_is_copied_for_a_load_that_runs_later(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, NULL);
	struct copied copied = { &source, "as it was" };
	const struct larder_loading loading = { sizeof(loading), LARDER_LOAD_ANY_THREAD, sizeof(copied), load_copied, &copied, NULL };

	NEEDS_CLOCK(box);
	begin_queued(box);
	assert_true(queue_refresh(box->tenant, "k", &loading, NULL));
	memset(&copied, 0xff, sizeof(copied));
	atomic_store(&may_go_on, 1);
	assert_true(CHILD_POLL(source.calls == 1 && source_stats(box).refreshes == THREADS + 1));
	assert_true(box_gives(box, "k", 0, "as it was"));
}

static void test_a_value_is_set_while_its_refresh_is_queued(void **state)
{
	struct box *box = *state;
	struct source source = source_of(box, "loaded");
	const struct larder_loading loading = { sizeof(loading), LARDER_LOAD_ANY_THREAD, 0, source_load, &source, NULL };

	NEEDS_CLOCK(box);
	begin_queued(box);
	assert_true(queue_refresh(box->tenant, "k", &loading, NULL));
	assert_int_equal(box_set(box, "k", "set"), 0);
	atomic_store(&may_go_on, 1);
	/* Closing ends what is under way. */
	assert_true(CHILD_POLL(source_stats(box).refreshes == THREADS));
	larder_tenant_close(box->tenant);
	assert_int_equal(larder_tenant_open(box->cache, "acme", &box->tenant), 0);
	assert_true(box_gives(box, "k", 0, "set"));
	assert_int_equal(source.calls, 0);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, box_begin, box_end)
	const struct CMUnitTest tests[] = {
		ROW(test_a_full_table_costs_deduplication_only), ROW(test_two_keys_with_one_tag_wait_in_vain_and_no_more),
		ROW(test_loads_without_a_lease_are_bounded), ROW(test_who_waited_for_a_failure_knows_when_to_come_back),
		ROW(test_who_finds_no_place_knows_how_long_the_lease_has),
		ROW(test_with_the_cache_off_nobody_is_told_to_wait),
		ROW(test_the_host_sleeps_during_a_load), ROW(test_the_host_sleeps_while_somebody_waits),
		ROW(test_a_tenant_is_closed_while_its_refresh_is_queued), ROW(test_a_context_is_copied_for_a_load_that_runs_later),
		ROW(test_a_value_is_set_while_its_refresh_is_queued),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
