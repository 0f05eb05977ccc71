/* SPDX-License-Identifier: MIT */
/* The counters as text (l2d_metrics_text() of shared.h), in the exposition format of Prometheus, version 0.0.4. No tenant and no key is in it. */
#include <stdio.h>
#include <stdlib.h>

#include "shared.h"

static const char *const methods[L2D_METHODS] = { "GET", "HEAD", "PUT", "POST", "DELETE", "other" };

/* A sum over all slots of a counter at this offset in the slot. */
static uint64_t sum_of(const struct l2d_shared *shared, size_t offset)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < shared->slots; i++) {
		const _Atomic uint64_t *counter = (const _Atomic uint64_t *)(const void *)((const char *)&shared->slot[i] + offset);
		sum += atomic_load_explicit(counter, memory_order_relaxed);
	}
	return sum;
}

static void put(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
	fprintf(out, "# HELP larder_%s %s\n# TYPE larder_%s %s\nlarder_%s %llu\n", name, help, name, type, name, (unsigned long long)value);
}

static void put_requests(FILE *out, const struct l2d_shared *shared)
{
	fprintf(out, "# HELP larder_l2d_requests_total Requests answered, by method and status; status 0 is any other.\n"
	    "# TYPE larder_l2d_requests_total counter\n");
	for (unsigned method = 0; method < L2D_METHODS; method++)
		for (unsigned row = 0; row < L2D_STATUSES; row++) {
			size_t offset = offsetof(struct l2d_slot, requests) + (method * L2D_STATUSES + row) * sizeof(uint64_t);
			uint64_t sum = sum_of(shared, offset);
			if (sum > 0)
				fprintf(out, "larder_l2d_requests_total{method=\"%s\",status=\"%u\"} %llu\n", methods[method], l2d_statuses[row],
				    (unsigned long long)sum);
		}
}

static void put_service(FILE *out, const struct l2d_shared *shared)
{
	uint64_t alive = 0;

	for (uint64_t i = 0; i < shared->slots; i++)
		alive += atomic_load_explicit(&shared->slot[i].life, memory_order_relaxed) & 1;
	put(out, "l2d_body_bytes_in_total", "counter", "Bytes of bodies received.", sum_of(shared, offsetof(struct l2d_slot, bytes_in)));
	put(out, "l2d_body_bytes_out_total", "counter", "Bytes of bodies sent.", sum_of(shared, offsetof(struct l2d_slot, bytes_out)));
	put(out, "l2d_repeats_total", "counter", "Writes answered as their first try was.", sum_of(shared, offsetof(struct l2d_slot, repeats)));
	put(out, "l2d_connections", "gauge", "Open connections.", sum_of(shared, offsetof(struct l2d_slot, connections)));
	put(out, "l2d_workers", "gauge", "Workers that run.", alive);
	put(out, "l2d_worker_restarts_total", "counter", "Workers that were replaced.", sum_of(shared, offsetof(struct l2d_slot, restarts)));
}

static void put_cache(FILE *out, larder *cache)
{
	struct larder_stats stats = { .size = sizeof(stats) };
	static const struct { const char *name, *help; } rows[] = {
		{ "gets_total", "Look-ups in the cache." },
		{ "hits_total", "Look-ups that found a fresh value." },
		{ "misses_total", "Look-ups that found none." },
		{ "unavailable_total", "Look-ups that could not be answered." },
		{ "sets_total", "Values stored." },
		{ "sets_dropped_total", "Values not stored for want of the gate, room or disk." },
		{ "deletes_total", "Entries removed by a delete." },
		{ "evictions_total", "Entries removed to make room." },
		{ "expiries_total", "Entries removed because their time was over." },
		{ "corrupt_total", "Entries that failed their checksum." },
	};

	if (larder_get_stats(cache, &stats) != 0)
		return;
	const uint64_t values[] = { stats.gets, stats.hits, stats.misses, stats.unavailable, stats.sets, stats.sets_dropped, stats.deletes,
		stats.evictions, stats.expiries, stats.corrupt };
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		put(out, rows[i].name, "counter", rows[i].help, values[i]);
	put(out, "entries", "gauge", "Entries in the cache.", stats.entries);
	put(out, "used_bytes", "gauge", "Bytes of the store in use.", stats.used_bytes);
	put(out, "size_bytes", "gauge", "Usable size of the store.", stats.size_bytes);
}

char *l2d_metrics_text(const struct l2d_shared *shared, larder *cache, size_t *ret_len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_len);

	if (out == NULL)
		return NULL;
	put_requests(out, shared);
	put_service(out, shared);
	put_cache(out, cache);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
