/* SPDX-License-Identifier: MIT */
/*
 * Cases that look at one part of a call, or of the background work. They use the library's inside, which is why the program is
 * linked with it and not with the shared library.
 */
#include "bench.h"

#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/handle.h"
#include "shm/sketch.h"

#define SWEEP_ENTRIES 1000000
#define SWEEP_S 60
#define SWEEP_SHARE 0.03
#define SECRET "a-secret-for-the-benchmark-alone-32"

/* ---- the access note ---- */

static void look_up(struct bench_ours *ours, uint64_t ops, int note)
{
	const struct ld_look look = { .buffer = ours->buffer, .buffer_size = ours->load->value_len, .want_data = 1, .note = note };
	const struct ld_way way = { 0, 0 };
	char name[BENCH_NAME];

	while (ops-- > 0) {
		const struct ld_keyspace *keyspace;
		struct ld_keyspace room;
		struct ld_found found = { 0 };
		struct ld_key key;

		bench_name(bench_draw_next(ours->draw), name);
		bench_must(ld_prepare_key(ours->tenant, BENCH_SPACE, name, sizeof(name), &room, &keyspace, &key) == 0, "ld_prepare_key");
		bench_must(ld_store_get(ours->tenant->cache->store, &key, &way, &look, &found) == 0, "ld_store_get");
		bench_use(ours->buffer);
	}
}

static void with_note(void *ctx, uint64_t ops)
{
	look_up(ctx, ops, 1);
}

static void without_note(void *ctx, uint64_t ops)
{
	look_up(ctx, ops, 0);
}

static void note_alone(void *ctx, uint64_t ops)
{
	struct ld_sketch *sketch = ctx;
	unsigned char key[BENCH_KEY];

	while (ops-- > 0) {
		bench_key((uint32_t)ops, key);
		ld_sketch_bump(sketch, key + BENCH_TENANT_LEN + 1);
	}
}

static void new_sketch(uint64_t capacity, struct ld_sketch *ret_sketch)
{
	uint64_t lines = ld_sketch_lines(capacity);

	ret_sketch->words = aligned_alloc(64, lines * 64);
	bench_must(ret_sketch->words != NULL, "memory");
	memset((void *)ret_sketch->words, 0, lines * 64);
	ret_sketch->line_mask = lines - 1;
}

void bench_case_note(const struct bench_options *options, const char *name)
{
	const struct bench_load load = { .entries = 100000, .value_len = 512, .map_b = 256 << 20 };
	struct bench_row row = { .name = name, .beside = "the same get without the note" };
	struct bench_row alone = { .name = "note-alone", .beside = "the same get without the note" };
	struct ld_sketch sketch;
	struct bench_draw draw;
	struct bench_ours ours;
	const struct bench_side noting = { with_note, &ours }, plain = { without_note, &ours }, bumping = { note_alone, &sketch };

	bench_draw_init(&draw, load.entries, 0, 7);
	bench_ours_open(options, &load, &draw, &ours);
	bench_ours_fill(&ours);
	new_sketch(load.entries, &sketch);
	bench_pair(options, &noting, &plain, &row);
	bench_report(options, &row);
	bench_pair(options, &bumping, &plain, &alone);
	bench_report(options, &alone);
	free((void *)sketch.words);
	bench_ours_close(&ours);
	bench_draw_free(&draw);
}

/* ---- HMAC ---- */

static void from_states(void *ctx, uint64_t ops)
{
	const struct ld_key_state *state = ctx;
	unsigned char digest[32];
	char name[BENCH_NAME];

	while (ops-- > 0) {
		bench_name((uint32_t)ops, name);
		ld_key_derive(state, name, sizeof(name), digest);
		bench_use(digest);
	}
}

static void at_once(void *ctx, uint64_t ops)
{
	unsigned char digest[32];
	char name[BENCH_NAME];
	unsigned len;

	(void)ctx;
	while (ops-- > 0) {
		bench_name((uint32_t)ops, name);
		bench_must(HMAC(EVP_sha256(), SECRET, sizeof(SECRET) - 1, (const unsigned char *)name, sizeof(name), digest, &len) != NULL,
		    "HMAC");
		bench_use(digest);
	}
}

void bench_case_hmac(const struct bench_options *options, const char *name)
{
	struct bench_row row = { .name = name, .beside = "OpenSSL's HMAC() in one call" };
	struct ld_key_state state;
	const struct bench_side ours = { from_states, &state }, openssl = { at_once, NULL };

	ld_key_prepare((const unsigned char *)SECRET, sizeof(SECRET) - 1, BENCH_TENANT, BENCH_SPACE, &state);
	bench_pair(options, &ours, &openssl, &row);
	bench_report(options, &row);
}

/* ---- the sweep ---- */

static uint64_t swept(struct ld_store *store)
{
	struct ld_tallies tallies;

	bench_must(ld_store_tallies(store, NULL, &tallies) == 0, "ld_store_tallies");
	return tallies.host[LD_HC_swept];
}

/* The rounds of background work as the agent does them, at the pace that the default LARDER_SWEEP_MS asks for, with its naps. */
static double sweep_entry_ns(const struct bench_ours *ours, int64_t for_ms)
{
	struct ld_store *store = ours->tenant->cache->store;
	uint64_t before = swept(store), rows;
	int64_t from_ns = bench_cpu_ns(), used_ns;

	bench_must(ld_store_work(store, for_ms) == 0, "ld_store_work");
	used_ns = bench_cpu_ns() - from_ns;
	rows = swept(store) - before;
	bench_must(rows > 0, "nothing was swept");
	return (double)used_ns / (double)rows;
}

void bench_case_sweep(const struct bench_options *options, const char *name)
{
	struct bench_load load = { .entries = options->quick ? SWEEP_ENTRIES / 10 : SWEEP_ENTRIES, .value_len = 16, .no_thread = 1,
		.map_b = 512 << 20 };
	struct bench_row row = { .name = name, .beside = "3 % of a core over 60 s, an entry", .target = 1 };
	struct bench_ours ours;

	bench_ours_open(options, &load, NULL, &ours);
	bench_ours_fill(&ours);
	row.ours_ns = sweep_entry_ns(&ours, options->quick ? 500 : 5000);
	row.beside_ns = SWEEP_SHARE * SWEEP_S * 1e9 / SWEEP_ENTRIES;
	row.ratio = row.ours_ns / row.beside_ns;
	snprintf(row.note, sizeof(row.note), "%.2f %% of a core for %d entries", row.ours_ns * SWEEP_ENTRIES / (SWEEP_S * 1e7),
	    SWEEP_ENTRIES);
	bench_report(options, &row);
	bench_ours_close(&ours);
}
