/* SPDX-License-Identifier: MIT */
/*
 * Calls at random, and what is expected of each; see model_calls.h. The keys are few and the times short, so that every call meets every state.
 */
#include "multi/model_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "lib/sample.h"
#include "lib/team.h"

enum { TOGETHER = 12, TRIES_MAX = 100000 };

const struct larder_call model_patient = { sizeof(model_patient), 0, 3600000, NULL, NULL };
const char *const model_tenants[MODEL_TENANTS] = { "north", "south", "west" };
const char *const model_spaces[MODEL_SPACES] = { "config", "jwt-validation", "credits-check" };

/* ---- locks ---- */

static void take(pthread_mutex_t *lock)
{
	/* Its owner has failed, and said why. */
	if (pthread_mutex_lock(lock) != 0)
		TEAM_FAIL("a lock is not to be had");
}

static void give(pthread_mutex_t *lock)
{
	TEAM_CHECK(pthread_mutex_unlock(lock) == 0);
}

static void begin_shared(struct worker *worker)
{
	take(&worker->board->door);
	take(&worker->board->own[worker->index]);
	give(&worker->board->door);
}

void model_begin_alone(struct board *board)
{
	take(&board->door);
	for (unsigned i = 0; i < MODEL_PROCESSES; i++)
		take(&board->own[i]);
}

void model_end_alone(struct board *board)
{
	for (unsigned i = 0; i < MODEL_PROCESSES; i++)
		give(&board->own[i]);
	give(&board->door);
}

static void make_lock(pthread_mutex_t *lock)
{
	pthread_mutexattr_t kind;

	TEAM_CHECK(pthread_mutexattr_init(&kind) == 0 && pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED) == 0 &&
	    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST) == 0 && pthread_mutex_init(lock, &kind) == 0);
	pthread_mutexattr_destroy(&kind);
}

void model_make_locks(struct board *board)
{
	make_lock(&board->door);
	for (unsigned i = 0; i < MODEL_PROCESSES; i++)
		make_lock(&board->own[i]);
	for (unsigned key = 0; key < MODEL_KEYS; key++)
		make_lock(&board->locks[key]);
}

/* ---- keys and what is drawn ---- */

unsigned model_draw(struct worker *worker, unsigned below)
{
	return (unsigned)((team_random(&worker->random) >> 33) % below);
}

unsigned model_tenant_of(unsigned key)
{
	return key % MODEL_TENANTS;
}

unsigned model_space_of(unsigned key)
{
	return key / MODEL_TENANTS % MODEL_SPACES;
}

static const char *space_of(unsigned key)
{
	return model_spaces[model_space_of(key)];
}

static size_t name_of(unsigned key, char name[16])
{
	return (size_t)snprintf(name, 16, "name %u", key);
}

int64_t model_draw_time(struct worker *worker)
{
	unsigned bits = model_draw(worker, 28);

	return (INT64_C(1) << bits) + model_draw(worker, 1u << bits);
}

static int64_t draw_hard_end(struct worker *worker)
{
	int64_t near_ms = model_draw_time(worker);

	if (model_draw(worker, 4) != 0)
		return 0;
	return ld_clock_wall_ms() + (model_draw(worker, 3) == 0 ? -near_ms : near_ms);
}

/* What to give the call; the same with the policy filled in, for the model. */
static void draw_store(struct worker *worker, unsigned key, int64_t policy_ttl_ms, struct larder_store *ret_given, struct larder_store *ret_meant)
{
	struct larder_store store = LARDER_STORE_INIT;

	if (model_draw(worker, 4) != 0)
		store.ttl_ms = model_draw_time(worker);
	if (model_draw(worker, 4) != 0)
		store.stale_ms = model_draw(worker, 2) ? model_draw_time(worker) : 0;
	store.hard_end_ms = draw_hard_end(worker);
	store.flags = (model_draw(worker, 65535) + 1) << 16 | key;
	*ret_given = store;
	store.ttl_ms = store.ttl_ms == LARDER_POLICY ? policy_ttl_ms : store.ttl_ms;
	store.stale_ms = store.stale_ms == LARDER_POLICY ? MODEL_STALE_MS : store.stale_ms;
	*ret_meant = store;
}

static size_t draw_len(struct worker *worker)
{
	unsigned kind = model_draw(worker, 64);

	if (kind == 0)
		return 0;
	return sample_len(&worker->random, SAMPLE_MIN, kind == 1 ? MODEL_VALUE_MAX : 20000);
}

/* ---- comparing ---- */

void model_wrong(struct worker *worker, const char *what, unsigned key, const struct span *span, int result, const struct larder_value *value)
{
	const struct known *known = &worker->board->known[key];

	TEAM_FAIL("%s, key %u: %s (%s), age %lld fresh %lld left %lld; known as %d, len %zu, created %lld+%lld, fresh until %lld, dead %lld+%lld, "
	    "hard end %lld%s; boot clock %lld..%lld, wall clock %lld..%lld", what, key, larder_result_name(result), larder_reason_text(larder_reason()),
	    value ? (long long)value->age_ms : 0, value ? (long long)value->fresh_ms : 0, value ? (long long)value->left_ms : 0, (int)known->as,
	    known->len, (long long)known->created_ms, (long long)known->created_slack, (long long)known->fresh_until_ms, (long long)known->dead_ms,
	    (long long)known->times_slack, (long long)known->hard_end_ms, known->ended ? " reached" : "", (long long)span->boot_from,
	    (long long)span->boot_to, (long long)span->wall_from, (long long)span->wall_to);
}

static void expect_content(struct worker *worker, unsigned key, const struct span *span, int result, const struct larder_value *value)
{
	uint64_t version = 0;
	const char *fault = value->len ? sample_wrong(value->data, value->len, key, &version) : NULL;

	if (!fault && value->len && version != worker->board->known[key].version)
		fault = "another version of the value";
	if (fault)
		model_wrong(worker, fault, key, span, result, value);
}

/* A read in an exact span. value NULL: the call gives none. */
static void expect_read(struct worker *worker, const char *call, unsigned key, const struct span *span, int result, const struct larder_value *value)
{
	struct known *known = &worker->board->known[key];
	const char *fault;

	if (!(model_states(known, span) & model_bit(result)))
		model_wrong(worker, call, key, span, result, NULL);
	if (result == LARDER_MISS) {
		model_missed(known, span);
		atomic_fetch_add(&worker->board->missed, 1);
		return;
	}
	atomic_fetch_add(&worker->board->found, 1);
	if (!value)
		return;
	fault = model_found(known, span, value);
	if (fault)
		model_wrong(worker, fault, key, span, result, value);
	if (value->state != result || value->source != LARDER_FROM_L1)
		model_wrong(worker, "state or source", key, span, result, value);
	if (known->as == KNOWN_VALUE)
		expect_content(worker, key, span, result, value);
}

/* ---- reading ---- */

/* Until no clock moved during the call. */
#define EXACTLY(span, call) \
	do { \
		unsigned tries_ = 0; \
		do { \
			TEAM_CHECK(tries_++ < TRIES_MAX); \
			span_begin(span); \
			call; \
			span_end(span); \
		} while (!span_is_exact(span)); \
	} while (0)

void model_get(struct worker *worker, unsigned key)
{
	struct larder_value value = { 0 };
	struct span span;
	char name[16];
	size_t len = name_of(key, name);
	int rc;

	EXACTLY(&span, (larder_value_free(&value),
	    rc = larder_get(worker->tenants[model_tenant_of(key)], space_of(key), name, len, &model_patient, &value)));
	expect_read(worker, "get", key, &span, rc, &value);
	larder_value_free(&value);
}

static void do_get_into(struct worker *worker, unsigned key)
{
	size_t room = model_draw(worker, 2) ? MODEL_VALUE_MAX : model_draw(worker, 400);
	struct larder_value value = { 0 };
	struct span span;
	char name[16];
	size_t len = name_of(key, name);
	int rc;

	EXACTLY(&span, rc = larder_get_into(worker->tenants[model_tenant_of(key)], space_of(key), name, len, worker->buffer, room, &model_patient, &value));
	if (rc != LARDER_E_SPACE) {
		expect_read(worker, "get_into", key, &span, rc, &value);
		return;
	}
	if (!(model_states(&worker->board->known[key], &span) & (MAY_FRESH | MAY_STALE)) || value.len != worker->board->known[key].len || value.len <= room)
		model_wrong(worker, "get_into a small buffer", key, &span, rc, NULL);
}

static void do_exists(struct worker *worker, unsigned key)
{
	struct span span;
	char name[16];
	size_t len = name_of(key, name);
	int rc;

	EXACTLY(&span, rc = larder_exists(worker->tenants[model_tenant_of(key)], space_of(key), name, len, &model_patient));
	expect_read(worker, "exists", key, &span, rc, NULL);
}

/* ---- writing ---- */

static void do_set(struct worker *worker, unsigned key, enum known_as as)
{
	struct larder_store given, meant;
	struct known *known = &worker->board->known[key];
	uint64_t version = atomic_fetch_add(&worker->board->version, 1) + 1;
	size_t len = as == KNOWN_VALUE ? draw_len(worker) : 0, name_len;
	struct span span;
	char name[16];
	int rc;

	draw_store(worker, key, as == KNOWN_VALUE ? MODEL_TTL_MS : MODEL_NEGATIVE_MS, &given, &meant);
	name_len = name_of(key, name);
	if (len)
		sample_fill(worker->value, len, key, version);
	span_begin(&span);
	if (as == KNOWN_VALUE)
		rc = larder_set(worker->tenants[model_tenant_of(key)], space_of(key), name, name_len, worker->value, len, &given, &model_patient);
	else
		rc = larder_set_absent(worker->tenants[model_tenant_of(key)], space_of(key), name, name_len, &given, &model_patient);
	span_end(&span);
	if (rc != 0)
		model_wrong(worker, "set", key, &span, rc, NULL);
	/* A hard end that is over: nothing is stored. */
	if (given.hard_end_ms != 0 && given.hard_end_ms <= span.wall_from)
		model_remove(known);
	else
		model_put(known, &span, as, &meant, len, version);
	atomic_fetch_add(&worker->board->stored, 1);
}

static void do_add(struct worker *worker, unsigned key)
{
	struct larder_store given, meant;
	struct known *known = &worker->board->known[key];
	uint64_t version = atomic_fetch_add(&worker->board->version, 1) + 1;
	size_t len = draw_len(worker), name_len;
	struct span span;
	unsigned states;
	char name[16];
	int rc;

	draw_store(worker, key, MODEL_TTL_MS, &given, &meant);
	name_len = name_of(key, name);
	if (len)
		sample_fill(worker->value, len, key, version);
	span_begin(&span);
	rc = larder_add(worker->tenants[model_tenant_of(key)], space_of(key), name, name_len, worker->value, len, &given, &model_patient);
	span_end(&span);
	states = model_states(known, &span);
	if (!((rc == 0 && states & ~MAY_FRESH) || (rc == LARDER_EXISTS && states & MAY_FRESH)))
		model_wrong(worker, "add", key, &span, rc, NULL);
	if (rc == 0) {
		model_put(known, &span, KNOWN_VALUE, &meant, len, version);
		atomic_fetch_add(&worker->board->stored, 1);
	}
}

/* Something that finds an entry or not: 0 or LARDER_MISS. */
static void expect_there(struct worker *worker, const char *call, unsigned key, const struct span *span, int result)
{
	unsigned states = model_states(&worker->board->known[key], span);

	if (!((result == 0 && states & ~MAY_MISS) || (result == LARDER_MISS && states & MAY_MISS)))
		model_wrong(worker, call, key, span, result, NULL);
}

static void do_touch(struct worker *worker, unsigned key)
{
	struct larder_store given, meant;
	struct span span;
	char name[16];
	size_t len = name_of(key, name);
	int rc;

	draw_store(worker, key, MODEL_TTL_MS, &given, &meant);
	span_begin(&span);
	rc = larder_touch(worker->tenants[model_tenant_of(key)], space_of(key), name, len, given.ttl_ms, given.stale_ms, &model_patient);
	span_end(&span);
	expect_there(worker, "touch", key, &span, rc);
	if (rc == 0)
		model_touch(&worker->board->known[key], &span, meant.ttl_ms, meant.stale_ms);
	else
		model_missed(&worker->board->known[key], &span);
}

static void do_delete(struct worker *worker, unsigned key)
{
	struct span span;
	char name[16];
	size_t len = name_of(key, name);
	int rc;

	span_begin(&span);
	rc = larder_delete(worker->tenants[model_tenant_of(key)], space_of(key), name, len, &model_patient);
	span_end(&span);
	expect_there(worker, "delete", key, &span, rc);
	model_remove(&worker->board->known[key]);
	atomic_fetch_add(&worker->board->removed, 1);
}

/* ---- many at once ---- */

struct many {
	unsigned count, keys[TOGETHER], locked[TOGETHER];
	struct larder_item items[TOGETHER];
	char names[TOGETHER][16];
};

static int by_number(const void *a, const void *b)
{
	const unsigned *one = a, *other = b;

	return (*one > *other) - (*one < *other);
}

/* Keys of one tenant, the same one perhaps twice; each is locked once. */
static void begin_many(struct worker *worker, struct many *many)
{
	unsigned tenant = model_draw(worker, MODEL_TENANTS);

	many->count = 1 + model_draw(worker, TOGETHER);
	for (unsigned i = 0; i < many->count; i++) {
		unsigned key = model_draw(worker, MODEL_KEYS / MODEL_TENANTS) * MODEL_TENANTS + tenant;

		many->keys[i] = many->locked[i] = key;
		many->items[i] = (struct larder_item){ .space = space_of(key), .name = many->names[i], .name_len = name_of(key, many->names[i]) };
	}
	qsort(many->locked, many->count, sizeof(*many->locked), by_number);
	for (unsigned i = 0; i < many->count; i++)
		if (i == 0 || many->locked[i] != many->locked[i - 1])
			take(&worker->board->locks[many->locked[i]]);
}

static void end_many(struct worker *worker, struct many *many)
{
	for (unsigned i = 0; i < many->count; i++)
		if (i == 0 || many->locked[i] != many->locked[i - 1])
			give(&worker->board->locks[many->locked[i]]);
}

static void free_values(struct many *many)
{
	for (unsigned i = 0; i < many->count; i++)
		larder_value_free(&many->items[i].value);
}

static void do_mget(struct worker *worker)
{
	struct many many;
	struct span span;
	int rc;

	begin_many(worker, &many);
	EXACTLY(&span, (free_values(&many), rc = larder_mget(worker->tenants[model_tenant_of(many.keys[0])], many.items, many.count, &model_patient)));
	TEAM_EXPECT(rc, 0);
	for (unsigned i = 0; i < many.count; i++)
		expect_read(worker, "mget", many.keys[i], &span, many.items[i].result, &many.items[i].value);
	free_values(&many);
	end_many(worker, &many);
}

static void do_delete_many(struct worker *worker)
{
	struct many many;
	struct span span;
	int rc;

	begin_many(worker, &many);
	span_begin(&span);
	rc = larder_delete_many(worker->tenants[model_tenant_of(many.keys[0])], many.items, many.count, &model_patient);
	span_end(&span);
	TEAM_EXPECT(rc, 0);
	for (unsigned i = 0; i < many.count; i++) {
		expect_there(worker, "delete_many", many.keys[i], &span, many.items[i].result);
		model_remove(&worker->board->known[many.keys[i]]);
	}
	end_many(worker, &many);
	atomic_fetch_add(&worker->board->removed, many.count);
}

/* ---- any of them ---- */

static void on_one_key(struct worker *worker, unsigned key)
{
	unsigned what = model_draw(worker, 100);

	if (what < 30)
		model_get(worker, key);
	else if (what < 38)
		do_get_into(worker, key);
	else if (what < 47)
		do_exists(worker, key);
	else if (what < 70)
		do_set(worker, key, KNOWN_VALUE);
	else if (what < 75)
		do_set(worker, key, KNOWN_ABSENT);
	else if (what < 85)
		do_add(worker, key);
	else if (what < 93)
		do_touch(worker, key);
	else
		do_delete(worker, key);
}

void model_call(struct worker *worker)
{
	unsigned what = model_draw(worker, 20), key = model_draw(worker, MODEL_KEYS);

	begin_shared(worker);
	if (what == 0) {
		do_mget(worker);
	} else if (what == 1 && model_draw(worker, 3) == 0) {
		do_delete_many(worker);
	} else {
		take(&worker->board->locks[key]);
		on_one_key(worker, key);
		give(&worker->board->locks[key]);
	}
	give(&worker->board->own[worker->index]);
}
