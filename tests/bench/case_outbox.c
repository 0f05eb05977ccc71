/* SPDX-License-Identifier: MIT */
/*
 * A set that is told to L2, beside one that is not, in one store. A thread takes the rows and settles them as a drainer whose L2 answers at once, so that the
 * outbox stays as short as it is while L2 is up; its own time is not in the figure. "outbox-long": nobody takes anything, and every set finds
 * its key's row there already.
 */
#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cache/handle.h"
#include "l1/outbox.h"

enum { ENTRIES = 100000, VALUE_B = 512 };

struct telling {
	struct bench_load load;
	struct bench_draw told_draw, untold_draw;
	struct bench_ours ours;
	pthread_t drainer;
	_Atomic int stop;
};

static void set(struct telling *telling, uint32_t entry, int tell)
{
	const struct ld_put put = { .data = bench_bytes(VALUE_B), .len = VALUE_B, .ttl_ms = 3600000 };
	const struct ld_way way = { 1000, 0 };
	const struct ld_keyspace *keyspace;
	struct ld_keyspace room;
	char name[BENCH_NAME];
	struct ld_key key;

	bench_name(entry, name);
	bench_must(ld_prepare_key(telling->ours.tenant, BENCH_SPACE, name, sizeof(name), &room, &keyspace, &key) == 0, "key");
	key.tell_l2 = tell;
	bench_must(ld_store_put(telling->ours.cache->store, &key, &way, &put) == 0, "ld_store_put");
}

static void set_told(void *ctx, uint64_t ops)
{
	struct telling *telling = ctx;

	while (ops-- > 0)
		set(telling, bench_draw_next(&telling->told_draw), 1);
}

static void set_untold(void *ctx, uint64_t ops)
{
	struct telling *telling = ctx;

	while (ops-- > 0)
		set(telling, bench_draw_next(&telling->untold_draw), 0);
}

static void *drain(void *arg)
{
	static struct ld_outbox_row rows[LD_OUTBOX_TAKE_MAX];
	struct telling *telling = arg;
	struct ld_store *store = telling->ours.cache->store;
	struct ld_outbox_place place = { .passes = 0 };
	const struct timespec pause = { 0, 2000000L };

	while (!atomic_load(&telling->stop)) {
		size_t count;

		bench_must(ld_outbox_take(store, &place, rows, LD_OUTBOX_TAKE_MAX, 1 << 20, &count) == 0, "ld_outbox_take");
		for (size_t i = 0; i < count; i++)
			rows[i].outcome = LD_OUTBOX_ACKNOWLEDGED;
		bench_must(count == 0 || ld_outbox_settle(store, rows, count, 1000) == 0, "ld_outbox_settle");
		ld_outbox_forget(rows, count);
		if (count < LD_OUTBOX_TAKE_MAX)
			nanosleep(&pause, NULL);
	}
	return NULL;
}

void bench_case_outbox(const struct bench_options *options, const char *name)
{
	struct telling telling = { .load = { .entries = ENTRIES, .value_len = VALUE_B, .map_b = 1 << 30 } };
	const struct bench_side told = { set_told, &telling }, untold = { set_untold, &telling };
	struct bench_row row = { .name = name, .beside = "the same without the outbox" };
	int is_long = strcmp(name, "outbox-long") == 0;

	row.target = is_long ? 0 : 1.6;

	bench_draw_init(&telling.told_draw, ENTRIES, 0, 7);
	bench_draw_init(&telling.untold_draw, ENTRIES, 0, 8);
	bench_ours_open(options, &telling.load, &telling.told_draw, &telling.ours);
	for (uint32_t i = 0; i < ENTRIES; i++)
		set(&telling, i, is_long);
	bench_must(is_long || pthread_create(&telling.drainer, NULL, drain, &telling) == 0, "pthread_create");
	bench_pair(options, &told, &untold, &row);
	atomic_store(&telling.stop, 1);
	if (!is_long)
		pthread_join(telling.drainer, NULL);
	bench_report(options, &row);
	bench_ours_close(&telling.ours);
	bench_draw_free(&telling.told_draw);
	bench_draw_free(&telling.untold_draw);
}
