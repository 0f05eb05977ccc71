/* SPDX-License-Identifier: MIT */
/*
 * Cases of one process: a get and a set, each beside raw LMDB; and a hit of larder_get_or_set() beside a get.
 */
#include "bench.h"

#include <stdio.h>
#include <string.h>

#define SMALL_ENTRIES 100000
#define SMALL_B 512
#define ZIPF 0.99

/* Both stores, filled, and one order for both. */
struct pair {
	struct bench_load load;
	struct bench_draw ours_draw, raw_draw;
	struct bench_ours ours;
	struct bench_raw raw;
};

static void open_pair(const struct bench_options *options, double skew, int big, struct pair *pair)
{
	bench_draw_init(&pair->ours_draw, pair->load.entries, skew, 7);
	bench_draw_init(&pair->raw_draw, pair->load.entries, skew, 7);
	bench_ours_open(options, &pair->load, &pair->ours_draw, &pair->ours);
	bench_raw_open(options, &pair->load, &pair->raw_draw, big, &pair->raw);
	bench_ours_fill(&pair->ours);
	bench_raw_fill(&pair->raw);
}

static void close_pair(struct pair *pair)
{
	bench_ours_close(&pair->ours);
	bench_raw_close(&pair->raw);
	bench_draw_free(&pair->ours_draw);
	bench_draw_free(&pair->raw_draw);
}

static void measure_sides(const struct bench_options *options, const struct bench_side *ours, const struct bench_side *other, const char *name,
    const char *beside, double target)
{
	struct bench_row row = { .name = name, .beside = beside, .target = target };

	bench_pair(options, ours, other, &row);
	bench_report(options, &row);
}

static void measure(const struct bench_options *options, struct pair *pair, const char *name, void (*ours)(void *, uint64_t),
    void (*raw)(void *, uint64_t), const char *beside, double target)
{
	const struct bench_side our_side = { ours, &pair->ours }, raw_side = { raw, &pair->raw };

	measure_sides(options, &our_side, &raw_side, name, beside, target);
}

void bench_case_get(const struct bench_options *options, const char *name)
{
	struct pair pair = { .load = { .entries = SMALL_ENTRIES, .value_len = SMALL_B, .map_b = 256 << 20 } };
	char into[32];

	open_pair(options, strcmp(name, "get-zipf") == 0 ? ZIPF : 0, 0, &pair);
	snprintf(into, sizeof(into), "%s-into", name);
	measure(options, &pair, name, bench_ours_get, bench_raw_get, "raw: renew, mdb_get, malloc, copy, reset, free", 1.35);
	measure(options, &pair, into, bench_ours_get_into, bench_raw_get_into, "raw: renew, mdb_get, copy, reset", 1.35);
	close_pair(&pair);
}

void bench_case_get_or_set(const struct bench_options *options, const char *name)
{
	struct pair pair = { .load = { .entries = SMALL_ENTRIES, .value_len = SMALL_B, .map_b = 256 << 20 } };
	struct bench_ours get;

	open_pair(options, 0, 0, &pair);
	/* Both in one store, each with an order of its own, which is the same. */
	get = pair.ours;
	get.draw = &pair.raw_draw;
	measure_sides(options, &(struct bench_side){ bench_ours_get_or_set, &pair.ours }, &(struct bench_side){ bench_ours_get, &get }, name,
	    "larder_get()", 1.05);
	close_pair(&pair);
}

void bench_case_big(const struct bench_options *options, const char *name)
{
	int huge = strcmp(name, "get-1m") == 0;
	struct pair pair = { .load = { .entries = huge ? 64 : 4096, .value_len = huge ? 1 << 20 : 16 << 10, .map_b = 256 << 20 } };
	char into[32];

	open_pair(options, 0, 1, &pair);
	snprintf(into, sizeof(into), "%s-into", name);
	measure(options, &pair, name, bench_ours_get, bench_raw_get, "raw: the same of one value in overflow pages", 0);
	measure(options, &pair, into, bench_ours_get_into, bench_raw_get_into, "raw: the same of one value in overflow pages", 0);
	close_pair(&pair);
}

void bench_case_set(const struct bench_options *options, const char *name)
{
	int writable = strcmp(name, "set-writable") == 0;
	struct pair pair = { .load = { .entries = SMALL_ENTRIES, .value_len = SMALL_B, .writable = writable, .map_b = 256 << 20 } };

	open_pair(options, 0, 0, &pair);
	measure(options, &pair, name, bench_ours_set, bench_raw_set,
	    writable ? "raw: commit of one row, MDB_WRITEMAP" : "raw: commit of one row", writable ? 1.6 : 1.35);
	close_pair(&pair);
}
