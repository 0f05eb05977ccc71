/* SPDX-License-Identifier: MIT */
/**
 * The tables behind cache/spaces.h: filled by the reader of the file, sorted once, then only looked into, by any thread. Whoever
 * fills them has checked the ids, and gives no pair of tenant and space twice.
 */
#ifndef LD_CACHE_SPACES_TABLE_H
#define LD_CACHE_SPACES_TABLE_H

#include "cache/settings.h"
#include "cache/spaces.h"

struct ld_spaces_table {
	void *rows;
	size_t count;
	size_t room;
};

struct ld_spaces {
	struct ld_spaces_table policies;  /* by tenant and space */
	struct ld_spaces_table tenants;   /* by tenant */
};

/** The settings LARDER_BREAKER_*, which follow one another. */
enum { LD_SPACES_BREAKER = LD_SET_BREAKER_SUCCESSES - LD_SET_BREAKER_FAILURES + 1 };
_Static_assert(LD_SPACES_BREAKER == 9, "a field for each, and nothing else between them");

/** What a tenant has that its spaces have not. */
struct ld_spaces_tenant {
	uint64_t quota_b;                 /* 0 = none */
	struct ld_limits limits;
	int64_t breaker[LD_SPACES_BREAKER]; /* by setting, from LD_SET_BREAKER_FAILURES on */
};

/**
 * A policy without a field, to be filled in; tenant "" is all tenants. Borrowed, until the next is added. NULL: out of memory.
 * Fields that stay as they are come from the next wider policy.
 */
struct ld_policy *ld_spaces_add_policy(struct ld_spaces *spaces, const char *tenant, const char *space);
/** The same for a tenant. */
struct ld_spaces_tenant *ld_spaces_add_tenant(struct ld_spaces *spaces, const char *tenant);
/** After the last row, before the first look. */
void ld_spaces_sort(struct ld_spaces *spaces);

#endif
