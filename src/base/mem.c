/* SPDX-License-Identifier: MIT */
/*
 * The allocator of the build with fault points: malloc(3) and friends, but for the one allocation that the plan fails. What is
 * shipped calls them directly. Called by everything that allocates. And the question whether there is memory, in both.
 */
#include "base/mem.h"

#include <stdlib.h>

#ifdef LARDER_FAULTS

#include <errno.h>
#include <string.h>

#include "base/fault.h"

/* By compare-and-swap, so that of all threads and processes exactly one sees 1 -> 0. */
static int is_refused(void)
{
	struct ld_fault_plan *plan = ld_fault_current();
	int64_t left = plan == NULL ? 0 : atomic_load(&plan->alloc_countdown);

	while (left > 0) {
		if (!atomic_compare_exchange_weak(&plan->alloc_countdown, &left, left - 1))
			continue;
		if (left > 1)
			return 0;
		atomic_fetch_add(&plan->alloc_failed, 1);
		errno = ENOMEM;
		return 1;
	}
	return 0;
}

void *ld_malloc(size_t size)
{
	return is_refused() ? NULL : malloc(size);
}

void *ld_calloc(size_t count, size_t size)
{
	return is_refused() ? NULL : calloc(count, size);
}

void *ld_realloc(void *old, size_t size)
{
	return is_refused() ? NULL : realloc(old, size);
}

char *ld_strdup(const char *text)
{
	return is_refused() ? NULL : strdup(text);
}

static int has_refused(void)
{
	struct ld_fault_plan *plan = ld_fault_current();

	return plan != NULL && atomic_load(&plan->alloc_failed) > 0;
}
#else
static int has_refused(void)
{
	return 0;
}
#endif

int ld_mem_lacks(size_t size)
{
	/* volatile: a compiler may leave out what is only had and given back, and take it that it was had. */
	void *volatile probe = malloc(size);
	int lacking = probe == NULL;

	free(probe);
	return lacking || has_refused();
}
