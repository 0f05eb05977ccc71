/* SPDX-License-Identifier: MIT */
/*
 * What the workers of test_history.c do: one call after the other, drawn by lot, each told to the checker before and after. See history_calls.h.
 */
#include "history_calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "history.h"
#include "lib/sample.h"
#include "lib/team.h"

enum { TENANTS = 2, SPACES = 2, VALUE_MAX = HISTORY_VALUE_MAX, ALL = (1 << HISTORY_KEYS) - 1 };

static const char *const tenant_names[TENANTS] = { "first", "second" };
static const char *const spaces[SPACES] = { "s-even", "s-odd" };

static struct worker {
	unsigned index;
	uint64_t random;
	larder *cache;
	larder_tenant *tenants[TENANTS];
	unsigned char value[VALUE_MAX], into[VALUE_MAX];
	struct larder_call call;
} worker;

static struct history_counts *counts;

/* ---- keys ---- */

struct name {
	larder_tenant *tenant;
	const char *space;
	char text[8];
	size_t len;
};

static const char *space_of(unsigned key)
{
	return spaces[key / TENANTS % SPACES];
}

static struct name name_of(unsigned key)
{
	struct name name = { .tenant = worker.tenants[key % TENANTS], .space = space_of(key) };

	name.len = (size_t)snprintf(name.text, sizeof(name.text), "k%u", key);
	return name;
}

static unsigned keys_of(unsigned tenant, int space, int tag)
{
	unsigned keys = 0;

	for (unsigned key = 0; key < HISTORY_KEYS; key++)
		if (key % TENANTS == tenant && (space < 0 || key / TENANTS % SPACES == (unsigned)space) && (tag < 0 || key % HISTORY_TAGS == (unsigned)tag))
			keys |= 1u << key;
	return keys;
}

static unsigned luck(unsigned of)
{
	return (unsigned)(team_random(&worker.random) >> 33) % of;
}

/* Mostly little time for the gate and for L2, at times the usual. */
static const struct larder_call *some_call(void)
{
	static const uint32_t budgets[] = { 0, 0, 1, 3, 30, 200 };

	worker.call = (struct larder_call)LARDER_CALL_INIT;
	worker.call.budget_ms = budgets[luck(sizeof(budgets) / sizeof(*budgets))];
	return luck(4) ? &worker.call : NULL;
}

/* ---- reads ---- */

static void judge(unsigned key, const struct history_read *read, int rc, const struct larder_value *value, const char *call)
{
	uint64_t version = value->flags;
	const char *wrong;

	if (rc != 0 && rc != LARDER_STALE && rc != LARDER_ABSENT) {
		TEAM_CHECK(rc == LARDER_MISS || rc == LARDER_UNAVAILABLE || rc == LARDER_E_L2 || rc == LARDER_E_LOAD || rc == LARDER_E_BUSY);
		atomic_fetch_add(&counts->nothing, 1);
		return;
	}
	if (rc != LARDER_ABSENT) {
		wrong = sample_wrong(value->data, value->len, key, &version);
		if (wrong)
			TEAM_FAIL("the value of key %u is %s", key, wrong);
		if (version != value->flags)
			TEAM_FAIL("key %u: version %llu has the flags of %u", key, (unsigned long long)version, value->flags);
	}
	atomic_fetch_add(value->source == LARDER_FROM_L1 ? &counts->from_l1 : value->source == LARDER_FROM_L2 ? &counts->from_l2 : &counts->from_loader, 1);
	if (rc == LARDER_STALE)
		atomic_fetch_add(&counts->stale, 1);
	if (rc == LARDER_ABSENT)
		atomic_fetch_add(&counts->absent, 1);
	history_was_given(key, read, version, value, call);
}

static void get_one(unsigned key)
{
	struct name name = name_of(key);
	struct larder_value value = { 0 };
	struct history_read read = history_read(key);

	judge(key, &read, larder_get(name.tenant, name.space, name.text, name.len, some_call(), &value), &value, "a get");
	larder_value_free(&value);
}

static void get_into(unsigned key)
{
	struct name name = name_of(key);
	struct larder_value value = { 0 };
	struct history_read read = history_read(key);

	judge(key, &read, larder_get_into(name.tenant, name.space, name.text, name.len, worker.into, VALUE_MAX, some_call(), &value), &value,
	    "a get into a buffer");
}

static void get_many(unsigned tenant)
{
	struct larder_item items[HISTORY_KEYS] = { 0 };
	struct name names[HISTORY_KEYS];
	struct history_read reads[HISTORY_KEYS];
	unsigned keys[HISTORY_KEYS], used = 0;

	for (unsigned key = tenant; key < HISTORY_KEYS; key += TENANTS) {
		names[used] = name_of(key);
		reads[used] = history_read(key);
		items[used] = (struct larder_item){ .space = names[used].space, .name = names[used].text, .name_len = names[used].len };
		keys[used++] = key;
	}
	TEAM_EXPECT(larder_mget(worker.tenants[tenant], items, used, some_call()), 0);
	for (unsigned i = 0; i < used; i++) {
		judge(keys[i], &reads[i], items[i].result, &items[i].value, "a get of many");
		larder_value_free(&items[i].value);
	}
}

/* ---- loading ---- */

/* The lease is used, after a while, with what the source says then. */
static void fill_lease(unsigned key, larder_lease *lease)
{
	const struct history_order order = { counts, team_random(&worker.random), key };
	uint64_t version = history_ask_source(&order);
	struct larder_store store = history_store(key, version, order.lot >> 16);
	size_t len = sample_len(&worker.random, SAMPLE_MIN, VALUE_MAX);
	int rc;

	if (luck(8) == 0) {
		larder_lease_drop(lease, luck(2) ? 1 : 0);
		return;
	}
	if (luck(8) == 0)
		(void)!larder_lease_renew(lease, 1000);
	sample_fill(worker.value, len, key, version);
	if (luck(8) == 0)
		rc = larder_fill_absent(lease, &store, some_call());
	else
		rc = larder_fill(lease, worker.value, len, &store, some_call());
	TEAM_CHECK(rc == 0 || rc == LARDER_EXISTS || rc == LARDER_UNAVAILABLE);
	atomic_fetch_add(rc == 0 ? &counts->fills : &counts->unfilled, 1);
}

static void get_or_set(unsigned key)
{
	struct history_order order = { counts, team_random(&worker.random), key };
	struct name name = name_of(key);
	struct larder_value value = { 0 };
	struct larder_loading loading = LARDER_LOADING_INIT;
	larder_lease *lease = NULL;
	struct history_read read = history_read(key);
	int rc;

	loading.loader = history_load;
	loading.ctx = &order;
	loading.ctx_size = sizeof(order);
	loading.flags = luck(2) ? LARDER_LOAD_ANY_THREAD : 0;
	loading.ret_lease = luck(2) ? &lease : NULL;
	rc = larder_get_or_set(name.tenant, name.space, name.text, name.len, &loading, some_call(), &value);
	judge(key, &read, rc, &value, "a get_or_set");
	larder_value_free(&value);
	if (lease)
		fill_lease(key, lease);
}

static void try_lease(unsigned key)
{
	struct name name = name_of(key);
	larder_lease *lease = NULL;
	int rc = larder_lease_try(name.tenant, name.space, name.text, name.len, some_call(), &lease);

	TEAM_CHECK(rc == 0 || rc == LARDER_EXISTS || rc == LARDER_E_BUSY || rc == LARDER_E_LOAD || rc == LARDER_UNAVAILABLE);
	if (rc == 0)
		fill_lease(key, lease);
}

/* ---- writes ---- */

static int is_undone(int rc)
{
	return rc == LARDER_E_BUSY || rc == LARDER_E_FULL || rc == LARDER_E_IO;
}

static void wrote(unsigned promised, int rc)
{
	history_wrote(worker.index, promised, rc);
	atomic_fetch_add(rc == 0 || rc == LARDER_MISS ? &counts->writes : &counts->undone, 1);
}

/* Stored or not, nothing older is given out. An add promises that only if it has stored. */
static void put_one(unsigned key, int only_new)
{
	struct name name = name_of(key);
	uint64_t versions[HISTORY_KEYS];
	size_t len = sample_len(&worker.random, SAMPLE_MIN, VALUE_MAX);
	int is_absent = !only_new && luck(6) == 0, rc;
	struct larder_store store;

	history_write(worker.index, only_new ? "an add" : is_absent ? "a set_absent" : "a set", 1u << key, versions);
	store = history_store(key, versions[key], team_random(&worker.random) >> 8);
	sample_fill(worker.value, len, key, versions[key]);
	if (only_new) {
		rc = larder_add(name.tenant, name.space, name.text, name.len, worker.value, len, &store, some_call());
		TEAM_CHECK(rc == 0 || rc == LARDER_EXISTS || is_undone(rc));
		wrote(rc == 0 ? 1u << key : 0, rc);
		return;
	}
	if (is_absent)
		rc = larder_set_absent(name.tenant, name.space, name.text, name.len, &store, some_call());
	else
		rc = larder_set(name.tenant, name.space, name.text, name.len, worker.value, len, &store, some_call());
	TEAM_CHECK(rc == 0 || rc == LARDER_UNAVAILABLE);
	wrote(1u << key, rc);
}

static void delete_one(unsigned key)
{
	struct name name = name_of(key);
	uint64_t versions[HISTORY_KEYS];
	int rc;

	history_write(worker.index, "a delete", 1u << key, versions);
	rc = larder_delete(name.tenant, name.space, name.text, name.len, some_call());
	TEAM_CHECK(rc == 0 || rc == LARDER_MISS || is_undone(rc));
	wrote(1u << key, rc);
}

static void delete_many(unsigned tenant)
{
	struct larder_item items[HISTORY_KEYS] = { 0 };
	struct name names[HISTORY_KEYS];
	uint64_t versions[HISTORY_KEYS];
	unsigned keys = 0, used = 0;
	int rc;

	for (unsigned key = tenant; key < HISTORY_KEYS; key += TENANTS) {
		if (luck(2))
			continue;
		names[used] = name_of(key);
		items[used] = (struct larder_item){ .space = names[used].space, .name = names[used].text, .name_len = names[used].len };
		used++;
		keys |= 1u << key;
	}
	history_write(worker.index, "a delete of many", keys, versions);
	rc = larder_delete_many(worker.tenants[tenant], items, used, some_call());
	TEAM_CHECK(rc == 0 || is_undone(rc));
	wrote(keys, rc);
}

static void clear_some(unsigned tenant)
{
	int space = luck(3) ? (int)luck(SPACES) : -1, all = luck(8) == 0, rc;
	unsigned keys = all ? ALL : keys_of(tenant, space, -1);
	uint64_t versions[HISTORY_KEYS];

	history_write(worker.index, all ? "a clear of all" : space < 0 ? "a clear of a tenant" : "a clear of a space", keys, versions);
	if (all)
		rc = larder_clear_all(worker.cache, some_call());
	else if (space < 0)
		rc = larder_clear_tenant(worker.tenants[tenant], some_call());
	else
		rc = larder_clear_space(worker.tenants[tenant], spaces[space], some_call());
	TEAM_CHECK(rc == 0 || is_undone(rc));
	wrote(keys, rc);
	atomic_fetch_add(&counts->clears, 1);
}

static void invalidate(unsigned tenant)
{
	unsigned tag = luck(HISTORY_TAGS), keys = keys_of(tenant, -1, (int)tag);
	uint64_t versions[HISTORY_KEYS];
	int rc;

	history_write(worker.index, "an invalidation", keys, versions);
	rc = larder_invalidate_tags(worker.tenants[tenant], &history_tags[tag], 1, some_call());
	TEAM_CHECK(rc == 0 || is_undone(rc));
	wrote(keys, rc);
	atomic_fetch_add(&counts->invalidations, 1);
}

/* ---- what is neither ---- */

static void touch_one(unsigned key)
{
	struct name name = name_of(key);
	int rc = larder_touch(name.tenant, name.space, name.text, name.len, luck(2) ? LARDER_POLICY : 1 + (int64_t)luck(3000), LARDER_POLICY, some_call());

	TEAM_CHECK(rc == 0 || rc == LARDER_MISS || rc == LARDER_UNAVAILABLE);
}

/* As if it had been evicted: L2 is not told, and asked next. */
static void forget_one(unsigned key)
{
	const struct larder_call here = { .size = sizeof(here), .flags = LARDER_CALL_THIS_TIER };
	struct name name = name_of(key);
	int rc = larder_delete(name.tenant, name.space, name.text, name.len, &here);

	TEAM_CHECK(rc == 0 || rc == LARDER_MISS || is_undone(rc));
}

static void flush(void)
{
	int rc = larder_flush(worker.cache, luck(60));

	TEAM_CHECK(rc == 0 || rc == LARDER_E_BUSY);
}

static void do_something(void)
{
	static const struct {
		unsigned share;
		void (*of_key)(unsigned key);
		void (*of_tenant)(unsigned tenant);
	} calls[] = {
		{ 273, get_one, NULL }, { 60, get_into, NULL }, { 60, NULL, get_many }, { 330, get_or_set, NULL }, { 60, try_lease, NULL },
		{ 14, delete_one, NULL }, { 4, NULL, delete_many }, { 7, NULL, clear_some }, { 8, NULL, invalidate },
		{ 10, touch_one, NULL }, { 60, forget_one, NULL },
	};
	unsigned what = luck(1000), key = luck(HISTORY_KEYS);

	for (unsigned i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		if (what < calls[i].share) {
			if (calls[i].of_key)
				calls[i].of_key(key);
			else
				calls[i].of_tenant(key % TENANTS);
			return;
		}
		what -= calls[i].share;
	}
	if (what < 60)
		put_one(key, 0);
	else if (what < 80)
		put_one(key, 1);
	else
		flush();
}

void history_work(larder *cache, unsigned index, struct history_counts *shared)
{
	counts = shared;
	worker.index = index;
	worker.cache = cache;
	worker.random = (team_seed() ^ ((uint64_t)getpid() << 20)) | 1;
	for (unsigned i = 0; i < TENANTS; i++)
		worker.tenants[i] = team_tenant(cache, tenant_names[i]);
	while (!atomic_load(&counts->stop)) {
		do_something();
		/* So few keys would always be changing. */
		usleep(luck(1000) + 1);
	}
}
