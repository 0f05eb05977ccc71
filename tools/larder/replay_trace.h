/* SPDX-License-Identifier: MIT */
/**
 * A trace in memory: the accesses as 32-bit key ids in their order, and each distinct key once. The master makes it before it
 * forks; the workers only read it, so that its pages stay shared by all of them.
 *
 * Room: 4 bytes an access, and for each distinct key its bytes + 4, and while it is read 4 to 8 more. A generated trace keeps
 * no keys: the name of id 17 is "17".
 */
#ifndef LARDER_TOOL_REPLAY_TRACE_H
#define LARDER_TOOL_REPLAY_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include "replay_generator.h"
#include "replay_line.h"

/** Bytes of all distinct keys of a trace together, at most. */
#define REPLAY_NAMES_MAX UINT32_MAX

/** Memory that grows in place where it can; mapped, so that it can be given back whole. */
struct replay_region {
	void *data;
	size_t size;              /* mapped */
};

struct replay_trace {
	uint64_t count;           /* accesses */
	uint64_t skipped;         /* lines without a key */
	uint32_t keys;            /* distinct ids: 0..keys-1; for a generated trace an upper bound */
	enum replay_format format;
	int generated;
	size_t names_len;
	struct replay_region requests; /* uint32_t[count] */
	struct replay_region names;    /* the keys, one after another, without separators */
	struct replay_region ends;     /* uint32_t[keys]: where each ends in names */
	struct replay_region table;    /* while reading: open addressing, id + 1 or 0 */
	uint32_t table_mask;
};

/** Room for the name of a generated id. */
#define REPLAY_NAME_ROOM 16

/** Told now and then how far the reading is, in accesses; total 0 = unknown. Returns not 0 to stop. */
typedef int (*replay_trace_progress)(void *ctx, uint64_t done, uint64_t total);

/**
 * Read a trace from a file, gzip or plain; "-" is standard input.
 *
 * ret_trace on 0: the trace, to be freed with replay_trace_free()
 * why       on -1: one sentence, why_size bytes at most
 *
 * Returns   0; -1 it cannot be read, is damaged, has no key, or memory ran out; 1 the progress call asked to stop
 */
int replay_trace_read(const char *path, replay_trace_progress progress, void *ctx, struct replay_trace *ret_trace, char *why,
    size_t why_size);

/** Make a trace by a recipe. Results as replay_trace_read(). */
int replay_trace_generate(const struct replay_recipe *recipe, replay_trace_progress progress, void *ctx,
    struct replay_trace *ret_trace, char *why, size_t why_size);

/** Add one access to a zeroed or growing trace. Returns 0; -1 memory ran out or there are too many keys. */
int replay_trace_add(struct replay_trace *trace, const char *key, size_t key_len);

/** Give back what only adding needs; nothing can be added afterwards. */
void replay_trace_finish(struct replay_trace *trace);

/** The id of an access, at < trace->count. */
uint32_t replay_trace_id(const struct replay_trace *trace, uint64_t at);

/** The name of an id: *ret_len bytes, in the trace or in buffer (REPLAY_NAME_ROOM bytes). */
const char *replay_trace_name(const struct replay_trace *trace, uint32_t id, char *buffer, size_t *ret_len);

/** A zeroed trace is allowed; it is zeroed again. */
void replay_trace_free(struct replay_trace *trace);

#endif
