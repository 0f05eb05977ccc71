/* SPDX-License-Identifier: MIT */
/*
 * What is true of each key, and the bound for what may be given out of it. See history.h. Every word is written by whoever may be killed at any moment: what is
 * not written yet is taken as not over, which finds less, never too much.
 */
#include "history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/team.h"

/* As many versions back as anybody may still be given; what is older is wrong in any case. */
enum { RING = 1 << 15, KILLED = 1000 };

struct version {
	_Atomic uint64_t number;        /* written last */
	_Atomic uint64_t begun, ended;  /* ended 0 = under way, or nobody knows */
	_Atomic(const char *) call;     /* for the message, as what follows */
	_Atomic int result, worker;
};

struct key {
	_Atomic uint64_t source, floor, shown;
	_Atomic uint64_t floor_version, shown_version; /* for the message */
	struct version versions[RING];
};

/* The write that a worker is about. */
struct under_way {
	_Atomic uint32_t keys;          /* written after the rest */
	uint64_t begun;
	_Atomic uint64_t versions[HISTORY_KEYS];
};

struct history {
	_Atomic uint64_t clock;
	struct key keys[HISTORY_KEYS];
	struct under_way under_way[HISTORY_WORKERS];
};

static struct history *history;

void history_make(void)
{
	history = team_share(sizeof(*history));
}

void history_free(void)
{
	team_unshare(history, sizeof(*history));
}

static uint64_t stamp(void)
{
	return atomic_fetch_add(&history->clock, 1) + 1;
}

static int lift(_Atomic uint64_t *word, uint64_t to)
{
	uint64_t was = atomic_load(word);

	while (was < to)
		if (atomic_compare_exchange_weak(word, &was, to))
			return 1;
	return 0;
}

uint64_t history_source(unsigned key)
{
	return atomic_load(&history->keys[key].source);
}

/* ---- writes ---- */

void history_write(unsigned worker, const char *call, unsigned keys, uint64_t *ret_versions)
{
	struct under_way *write = &history->under_way[worker];

	for (unsigned key = 0; key < HISTORY_KEYS; key++)
		atomic_store(&write->versions[key], 0);
	write->begun = stamp();
	atomic_store(&write->keys, keys);
	for (unsigned key = 0; key < HISTORY_KEYS; key++) {
		struct version *version;
		uint64_t number;

		if (!(keys >> key & 1))
			continue;
		number = atomic_fetch_add(&history->keys[key].source, 1) + 1;
		version = &history->keys[key].versions[number % RING];
		atomic_store(&version->ended, 0);
		atomic_store(&version->begun, write->begun);
		atomic_store(&version->call, call);
		atomic_store(&version->result, KILLED);
		atomic_store(&version->worker, (int)worker);
		atomic_store(&version->number, number);
		atomic_store(&write->versions[key], number);
		ret_versions[key] = number;
	}
}

/* Its versions are over. */
static void end(struct under_way *write, int result)
{
	uint64_t now = stamp();

	for (unsigned key = 0; key < HISTORY_KEYS; key++) {
		uint64_t number = atomic_load(&write->versions[key]);

		if (!(atomic_load(&write->keys) >> key & 1) || number == 0)
			continue;
		atomic_store(&history->keys[key].versions[number % RING].result, result);
		atomic_store(&history->keys[key].versions[number % RING].ended, now);
	}
}

void history_wrote(unsigned worker, unsigned promised, int result)
{
	struct under_way *write = &history->under_way[worker];

	end(write, result);
	for (unsigned key = 0; key < HISTORY_KEYS; key++)
		if (promised >> key & 1 && lift(&history->keys[key].floor, write->begun))
			atomic_store(&history->keys[key].floor_version, atomic_load(&write->versions[key]));
	atomic_store(&write->keys, 0);
}

void history_died(unsigned worker)
{
	end(&history->under_way[worker], KILLED);
	atomic_store(&history->under_way[worker].keys, 0);
}

/* ---- reads ---- */

struct history_read history_read(unsigned key)
{
	return (struct history_read){ atomic_load(&history->keys[key].floor), atomic_load(&history->keys[key].shown) };
}

static void describe(const struct key *of, uint64_t number, char *text, size_t size)
{
	const struct version *version = &of->versions[number % RING];
	const char *call = atomic_load(&version->call);
	int result = atomic_load(&version->result);

	snprintf(text, size, "%llu (%s of worker %d, %s, from %llu to %llu)", (unsigned long long)number, number && call ? call : "nothing",
	    atomic_load(&version->worker), result == KILLED ? "killed, or under way" : larder_result_name(result), (unsigned long long)atomic_load(&version->begun),
	    (unsigned long long)atomic_load(&version->ended));
}

/* The last versions too, for whoever is to find out why. */
static void violated(unsigned key, uint64_t number, const struct larder_value *value, const char *call, const char *why, uint64_t bound, uint64_t bound_version)
{
	const struct key *of = &history->keys[key];
	uint64_t newest = atomic_load(&of->source);
	char text[3][160];

	describe(of, number, text[0], sizeof(text[0]));
	describe(of, bound_version, text[1], sizeof(text[1]));
	describe(of, newest, text[2], sizeof(text[2]));
	TEAM_FAIL("key %u: %s gave version %s: %s at %llu, which is now version %s; newest %s; source %d, state %d, age %lld ms, fresh for %lld ms", key, call,
	    text[0], why, (unsigned long long)bound, text[1], text[2], value->source, value->state, (long long)value->age_ms, (long long)value->fresh_ms);
}

void history_was_given(unsigned key, const struct history_read *read, uint64_t number, const struct larder_value *value, const char *call)
{
	struct key *of = &history->keys[key];
	struct version *version = &of->versions[number % RING];
	uint64_t is = atomic_load(&version->number), ended = atomic_load(&version->ended), begun = atomic_load(&version->begun);
	uint64_t floor_version = atomic_load(&of->floor_version), shown_version = atomic_load(&of->shown_version);

	if (number == 0) {
		/* Nobody has written it; it was true until the first write began. */
		is = 0;
		ended = 1;
	}
	if (number > atomic_load(&of->source) || is > number)
		violated(key, number, value, call, "it does not exist, or no more", 0, 0);
	if (is < number)
		return;
	if (ended != 0 && ended < read->floor)
		violated(key, number, value, call, "a write had completed that began", read->floor, floor_version);
	if (ended != 0 && ended < read->shown)
		violated(key, number, value, call, "what had been given out already was begun", read->shown, shown_version);
	if (value->source != LARDER_FROM_LOADER && number != 0 && lift(&of->shown, begun))
		atomic_store(&of->shown_version, number);
}
