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

/** Until `stop`. Fails the test from its process. */
void history_work(larder *cache, unsigned index, struct history_counts *counts);

#endif
