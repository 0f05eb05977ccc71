/* SPDX-License-Identifier: MIT */
/*
 * Rows of tenants, claimed once and kept for the life of the segment. Any process adds rows at any time:
 *
 *   two processes add the same tenant   both probe the same rows in the same order; one compare-and-swap of the tag wins, the other finds
 *                                       the tag there and writes the same name over it.
 *   killed between tag and name         the row has a tag and is not ready; whoever looks for this tenant next writes the name.
 *   killed between name and ready       as above.
 * A tool that lists rows passes over those that are not ready.
 */
#include "shm/tenants.h"

#include <stddef.h>
#include <string.h>

const char *const ld_tenant_counter_names[LD_TENANT_COUNTERS] = {
#define LD_TENANT_COUNTER(id, text) #id,
#define LD_HOST_COUNTER(id, text)
#include "shm/counters.def"
#undef LD_TENANT_COUNTER
#undef LD_HOST_COUNTER
};
const char *const ld_tenant_counter_texts[LD_TENANT_COUNTERS] = {
#define LD_TENANT_COUNTER(id, text) text,
#define LD_HOST_COUNTER(id, text)
#include "shm/counters.def"
#undef LD_TENANT_COUNTER
#undef LD_HOST_COUNTER
};
const char *const ld_host_counter_names[LD_HOST_COUNTERS] = {
#define LD_TENANT_COUNTER(id, text)
#define LD_HOST_COUNTER(id, text) #id,
#include "shm/counters.def"
#undef LD_TENANT_COUNTER
#undef LD_HOST_COUNTER
};
const char *const ld_host_counter_texts[LD_HOST_COUNTERS] = {
#define LD_TENANT_COUNTER(id, text)
#define LD_HOST_COUNTER(id, text) text,
#include "shm/counters.def"
#undef LD_TENANT_COUNTER
#undef LD_HOST_COUNTER
};

static void complete(struct ld_tenant_row *row, const char *tenant)
{
	/* acquire: pairs with the release below */
	if (atomic_load_explicit(&row->ready, memory_order_acquire))
		return;
	strncpy(row->name, tenant, sizeof(row->name) - 1);
	atomic_store_explicit(&row->ready, 1, memory_order_release);
}

uint32_t ld_tenants_row(struct ld_tenant_row *rows, uint32_t max, const char *tenant, uint64_t tag)
{
	uint32_t usable = max - 1;

	for (uint32_t i = 0; i < usable; i++) {
		uint32_t at = 1 + (uint32_t)((tag + i) % usable);
		uint64_t seen = 0;

		if (!atomic_compare_exchange_strong(&rows[at].tag, &seen, tag) && seen != tag)
			continue;
		complete(&rows[at], tenant);
		return at;
	}
	return 0;
}

uint64_t ld_tenant_counted(const struct ld_tenant_row *row, enum ld_tenant_counter which)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < LD_STRIPES; i++)
		sum += atomic_load_explicit(&row->counters[i][which], memory_order_relaxed);
	return sum;
}
