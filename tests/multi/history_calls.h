/* SPDX-License-Identifier: MIT */
/**
 * A worker of test_history.c: reads, fills and writes of a few keys in two tenants and two spaces, under three tags, drawn by lot, each judged by history.h.
 */
#ifndef LARDER_TESTS_MULTI_HISTORY_CALLS_H
#define LARDER_TESTS_MULTI_HISTORY_CALLS_H

#include <stdatomic.h>
#include <stdint.h>

#include <larder/larder.h>

/** Shared by all of them. */
struct history_counts {
	_Atomic int stop;
	_Atomic uint64_t from_l1, from_l2, from_loader, stale, absent, nothing, loads, fills, unfilled, writes, undone, clears, invalidations;
};

enum { HISTORY_TAGS = 3, HISTORY_VALUE_MAX = 9000 };
extern const char *const history_tags[HISTORY_TAGS];

/** What a loader is told, and its lot. Copied where it runs later. */
struct history_order {
	struct history_counts *counts;
	uint64_t lot;
	unsigned key;
};

/** How a version is stored: under the key's tag, with the version as its flags; the times are as the lot has it. */
struct larder_store history_store(unsigned key, uint64_t version, uint64_t lot);
/** What the source says, after a while, or a while before this returns. */
uint64_t history_ask_source(const struct history_order *order);
/** The loader. ctx is an order. */
int history_load(struct larder_load *to, void *ctx);

/** Until `stop`. Fails the test from its process. */
void history_work(larder *cache, unsigned index, struct history_counts *counts);

#endif
