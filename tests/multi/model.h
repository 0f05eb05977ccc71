/* SPDX-License-Identifier: MIT */
/**
 * The reference that test_exact.c compares larder with: what is known of one key, and what may be found of it at a time.
 *
 * Time goes on while a call runs, so a call has a span of times, and what it did has one too. A span of one millisecond gives one answer; reads
 * are repeated until theirs is. A write cannot be: what it leaves open is kept as a slack, which the first read that finds the entry closes.
 */
#ifndef LARDER_TESTS_MULTI_MODEL_H
#define LARDER_TESTS_MULTI_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include <larder/larder.h>

/** Clocks before and after a call, both ends included. */
struct span {
	int64_t boot_from, boot_to, wall_from, wall_to;
};
void span_begin(struct span *span);
void span_end(struct span *span);
/** 1 if no clock moved. */
int span_is_exact(const struct span *span);

enum known_as { KNOWN_NONE = 0, KNOWN_VALUE, KNOWN_ABSENT };

/** One key. All zero: there is no such entry. Real times are at least those given, and at most the slack later. */
struct known {
	enum known_as as;
	uint32_t flags;
	size_t len;
	uint64_t version;
	int64_t created_ms, created_slack;
	int64_t fresh_until_ms, dead_ms, times_slack;
	int64_t hard_end_ms;
	int ended;                  /* its hard end has been reached once, so it may have been removed, whatever the wall clock says now */
};

/** What a call may find: bits. */
enum { MAY_FRESH = 1, MAY_STALE = 2, MAY_ABSENT = 4, MAY_MISS = 8 };
unsigned model_states(const struct known *known, const struct span *span);
/** The bit of a result of a get; 0 for any other result. */
unsigned model_bit(int result);

/** A set, set_absent or add has stored this. store: with no time by policy. */
void model_put(struct known *known, const struct span *span, enum known_as as, const struct larder_store *store, size_t len, uint64_t version);
/** A touch has found it. */
void model_touch(struct known *known, const struct span *span, int64_t ttl_ms, int64_t stale_ms);
/** It was deleted or cleared. */
void model_remove(struct known *known);
/** Something has not found it. */
void model_missed(struct known *known, const struct span *span);
/** A read has found it, in an exact span: closes slacks. NULL, or what is wrong with the times, flags or length. */
const char *model_found(struct known *known, const struct span *span, const struct larder_value *value);
/** The wall clock has been as far as this since. */
void model_wall_was(struct known *known, int64_t wall_ms);

#endif
