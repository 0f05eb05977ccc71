/* SPDX-License-Identifier: MIT */
/*
 * Our side: a cache with settings as users have them, in a directory of its own, and the calls that users make.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <larder/larder.h>

void bench_ours_open(const struct bench_options *options, const struct bench_load *load, struct bench_draw *draw,
    struct bench_ours *ours)
{
	static unsigned number;
	char dir[300], size[64];
	const char *settings[] = { dir, size, "SECRET=a-secret-for-the-benchmark-alone-32", "TTL=24h",
		load->writable ? "L1_MAP=writable" : "L1_MAP=protected", load->no_thread ? "THREADS=0" : "THREADS=1", NULL };
	struct larder_options open = LARDER_OPTIONS_INIT;
	char *why = NULL;

	memset(ours, 0, sizeof(*ours));
	snprintf(dir, sizeof(dir), "DIR=%s/ours-%u", options->dir, number++);
	snprintf(size, sizeof(size), "SIZE=%llu", (unsigned long long)load->map_b);
	open.flags = LARDER_OPEN_NO_ENV;
	open.settings = settings;
	if (larder_open(&open, &ours->cache, &why) != 0)
		bench_must(0, why ? why : "larder_open");
	bench_must(larder_tenant_open(ours->cache, BENCH_TENANT, &ours->tenant) == 0, "larder_tenant_open");
	ours->load = load;
	ours->draw = draw;
	ours->buffer = malloc(load->value_len);
	bench_must(ours->buffer != NULL, "memory");
}

static void set(struct bench_ours *ours, uint32_t entry)
{
	char name[BENCH_NAME];
	int rc;

	bench_name(entry, name);
	rc = larder_set(ours->tenant, BENCH_SPACE, name, sizeof(name), bench_bytes(ours->load->value_len), ours->load->value_len, NULL,
	    NULL);
	if (rc != 0)
		bench_must(0, rc == LARDER_UNAVAILABLE ? larder_reason_text(larder_reason()) : larder_strerror(rc));
}

void bench_ours_fill(struct bench_ours *ours)
{
	for (uint32_t i = 0; i < ours->load->entries; i++)
		set(ours, i);
}

void bench_ours_close(struct bench_ours *ours)
{
	larder_tenant_close(ours->tenant);
	larder_close(ours->cache);
	free(ours->buffer);
	memset(ours, 0, sizeof(*ours));
}

void bench_ours_get(void *ctx, uint64_t ops)
{
	struct bench_ours *ours = ctx;
	struct larder_value value;
	char name[BENCH_NAME];

	while (ops-- > 0) {
		bench_name(bench_draw_next(ours->draw), name);
		bench_must(larder_get(ours->tenant, BENCH_SPACE, name, sizeof(name), NULL, &value) == 0, "larder_get");
		bench_use(value.data);
		larder_value_free(&value);
	}
}

static int load_nothing(struct larder_load *load, void *ctx)
{
	(void)load;
	(void)ctx;
	return LARDER_LOAD_FAILED;
}

void bench_ours_get_or_set(void *ctx, uint64_t ops)
{
	static const struct larder_loading loading = { sizeof(loading), 0, 0, load_nothing, NULL, NULL };
	struct bench_ours *ours = ctx;
	struct larder_value value;
	char name[BENCH_NAME];

	while (ops-- > 0) {
		bench_name(bench_draw_next(ours->draw), name);
		bench_must(larder_get_or_set(ours->tenant, BENCH_SPACE, name, sizeof(name), &loading, NULL, &value) == 0, "larder_get_or_set");
		bench_use(value.data);
		larder_value_free(&value);
	}
}

void bench_ours_get_into(void *ctx, uint64_t ops)
{
	struct bench_ours *ours = ctx;
	struct larder_value value;
	char name[BENCH_NAME];

	while (ops-- > 0) {
		bench_name(bench_draw_next(ours->draw), name);
		bench_must(larder_get_into(ours->tenant, BENCH_SPACE, name, sizeof(name), ours->buffer, ours->load->value_len, NULL,
		    &value) == 0, "larder_get_into");
		bench_use(ours->buffer);
	}
}

void bench_ours_set(void *ctx, uint64_t ops)
{
	struct bench_ours *ours = ctx;

	while (ops-- > 0)
		set(ours, bench_draw_next(ours->draw));
}
