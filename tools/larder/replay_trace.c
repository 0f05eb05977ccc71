/* SPDX-License-Identifier: MIT */
/* The trace of `larder replay` as it lies in memory: interning of keys, growing arrays. It knows nothing of files. The reader
 * and the generator fill it in the master, the workers read it. */
#include "replay_trace.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "replay_random.h"

#define FIRST_REGION ((size_t)1 << 20)
#define FIRST_TABLE ((size_t)1 << 16)
#define PROGRESS_EVERY 65536

static int map_region(struct replay_region *region, size_t size)
{
	void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (data == MAP_FAILED)
		return -1;
	*region = (struct replay_region){ data, size };
	return 0;
}

static void unmap_region(struct replay_region *region)
{
	if (region->data != NULL)
		munmap(region->data, region->size);
	*region = (struct replay_region){ NULL, 0 };
}

/* Room for `needed` bytes. Untouched pages cost nothing, so doubling wastes address space alone. */
static int reserve(struct replay_region *region, size_t needed)
{
	size_t size = region->size ? region->size : FIRST_REGION;
	if (needed <= region->size)
		return 0;
	while (size < needed)
		size *= 2;
	if (region->data == NULL)
		return map_region(region, size);
	void *data = mremap(region->data, region->size, size, MREMAP_MAYMOVE);
	if (data == MAP_FAILED)
		return -1;
	*region = (struct replay_region){ data, size };
	return 0;
}

static int add_request(struct replay_trace *trace, uint32_t id)
{
	if (reserve(&trace->requests, (trace->count + 1) * sizeof(uint32_t)) < 0)
		return -1;
	((uint32_t *)trace->requests.data)[trace->count++] = id;
	return 0;
}

uint32_t replay_trace_id(const struct replay_trace *trace, uint64_t at)
{
	return ((const uint32_t *)trace->requests.data)[at];
}

static const char *name_of(const struct replay_trace *trace, uint32_t id, size_t *ret_len)
{
	const uint32_t *ends = trace->ends.data;
	uint32_t begin = id > 0 ? ends[id - 1] : 0;
	*ret_len = ends[id] - begin;
	return (const char *)trace->names.data + begin;
}

/* Decimal by hand: this is in the workers' loop, where snprintf would cost as much as a look-up. */
static const char *decimal(uint32_t id, char *buffer, size_t *ret_len)
{
	char *end = buffer + REPLAY_NAME_ROOM;
	char *at = end;
	do
		*--at = (char)('0' + id % 10);
	while ((id /= 10) > 0);
	*ret_len = (size_t)(end - at);
	return at;
}

const char *replay_trace_name(const struct replay_trace *trace, uint32_t id, char *buffer, size_t *ret_len)
{
	return trace->generated ? decimal(id, buffer, ret_len) : name_of(trace, id, ret_len);
}

/* Eight bytes at a time, so that long targets of access logs are cheap; spread well enough for a table at most half full. */
static uint32_t hash_key(const char *key, size_t len)
{
	uint64_t hash = len * REPLAY_GOLDEN;
	for (; len >= 8; key += 8, len -= 8) {
		uint64_t word;
		memcpy(&word, key, 8);
		hash = replay_mix(hash ^ word) + REPLAY_GOLDEN;
	}
	uint64_t last = 0;
	memcpy(&last, key, len);
	return (uint32_t)(replay_mix(hash ^ last) >> 32);
}

/* The slot of a key, or the empty slot where it belongs. */
static uint32_t *find_slot(const struct replay_trace *trace, const char *key, size_t key_len)
{
	uint32_t *table = trace->table.data;
	uint32_t at = hash_key(key, key_len) & trace->table_mask;
	for (; table[at] != 0; at = (at + 1) & trace->table_mask) {
		size_t len;
		const char *name = name_of(trace, table[at] - 1, &len);
		if (len == key_len && memcmp(name, key, len) == 0)
			break;
	}
	return &table[at];
}

static int grow_table(struct replay_trace *trace)
{
	size_t slots = trace->table_mask ? ((size_t)trace->table_mask + 1) * 2 : FIRST_TABLE;
	struct replay_region old = trace->table;
	if (slots > UINT32_MAX || map_region(&trace->table, slots * sizeof(uint32_t)) < 0) {
		trace->table = old;
		return -1;
	}
	unmap_region(&old);
	trace->table_mask = (uint32_t)(slots - 1);
	for (uint32_t id = 0; id < trace->keys; id++) {
		size_t len;
		const char *name = name_of(trace, id, &len);
		*find_slot(trace, name, len) = id + 1;
	}
	return 0;
}

static int add_key(struct replay_trace *trace, const char *key, size_t key_len)
{
	size_t end = trace->names_len + key_len;
	if (end > REPLAY_NAMES_MAX || reserve(&trace->names, end) < 0 ||
	    reserve(&trace->ends, ((size_t)trace->keys + 1) * sizeof(uint32_t)) < 0)
		return -1;
	memcpy((char *)trace->names.data + trace->names_len, key, key_len);
	trace->names_len = end;
	((uint32_t *)trace->ends.data)[trace->keys++] = (uint32_t)end;
	return 0;
}

int replay_trace_add(struct replay_trace *trace, const char *key, size_t key_len)
{
	if ((size_t)trace->keys * 2 >= trace->table_mask && grow_table(trace) < 0)
		return -1;
	uint32_t *slot = find_slot(trace, key, key_len);
	if (*slot == 0) {
		if (add_key(trace, key, key_len) < 0)
			return -1;
		*slot = trace->keys;
	}
	return add_request(trace, *slot - 1);
}

void replay_trace_finish(struct replay_trace *trace)
{
	unmap_region(&trace->table);
	trace->table_mask = 0;
}

int replay_trace_generate(const struct replay_recipe *recipe, replay_trace_progress progress, void *ctx,
    struct replay_trace *ret_trace, char *why, size_t why_size)
{
	struct replay_trace trace = { .generated = 1, .keys = recipe->keys * 2 };
	struct replay_generator generator;
	int r = 0;

	replay_generator_init(&generator, recipe);
	for (uint64_t i = 0; r == 0 && i < recipe->requests; i++) {
		r = add_request(&trace, replay_generator_next(&generator));
		if (r < 0)
			snprintf(why, why_size, "out of memory after %llu requests", (unsigned long long)i);
		else if (i % PROGRESS_EVERY == 0)
			r = progress(ctx, i, recipe->requests) ? 1 : 0;
	}
	if (r != 0) {
		replay_trace_free(&trace);
		return r;
	}
	*ret_trace = trace;
	return 0;
}

void replay_trace_free(struct replay_trace *trace)
{
	unmap_region(&trace->requests);
	unmap_region(&trace->names);
	unmap_region(&trace->ends);
	unmap_region(&trace->table);
	*trace = (struct replay_trace){ 0 };
}
