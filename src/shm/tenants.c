/* SPDX-License-Identifier: MIT */
/*
 * Rows of tenants, taken once and kept for the life of the segment. Any process adds rows at any time:
 *
 *   two processes add the same tenant   each takes a row and fills it, unseen; one compare-and-swap of the index word wins, the loser's row stays
 *                                       unready and is lost: a race of two first calls of one tenant may cost a row.
 *   killed before the index word        the row is lost, as above.
 *   killed between index and ready      look-ups find the row; whoever finds it next makes it ready, for listings.
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

uint32_t ld_tenants_index_size(uint32_t max)
{
	uint32_t size = 64;

	while (size < 2 * max)
		size *= 2;
	return size;
}

/* The upper 48 bits of a tag, never 0. */
static uint64_t label(uint64_t tag)
{
	uint64_t upper = tag & ~UINT64_C(0xffff);

	return upper ? upper : UINT64_C(0x10000);
}

/* A fresh row with its name; 0 when there is none left. */
static uint32_t take_row(const struct ld_tenants *tenants, const char *tenant, uint64_t tag)
{
	uint32_t at;

	/* The count starts at 0 in a new segment; row 0 is the shared one. */
	if (atomic_load(tenants->taken) >= tenants->max)
		return 0;
	at = atomic_fetch_add(tenants->taken, 1);
	if (at == 0)
		at = atomic_fetch_add(tenants->taken, 1);
	if (at >= tenants->max)
		return 0;
	strncpy(tenants->rows[at].name, tenant, sizeof(tenants->rows[at].name) - 1);
	atomic_store(&tenants->rows[at].tag, tag);
	return at;
}

static struct ld_tenant_row *made_ready(struct ld_tenant_row *row)
{
	if (!atomic_load_explicit(&row->ready, memory_order_relaxed))
		atomic_store_explicit(&row->ready, 1, memory_order_release);
	return row;
}

struct ld_tenant_row *ld_tenants_row(const struct ld_tenants *tenants, const char *tenant, uint64_t tag)
{
	uint32_t mask = tenants->index_size - 1, fresh = 0;

	for (uint32_t i = 0; i <= mask; i++) {
		_Atomic uint64_t *word = &tenants->index[((tag >> 16) + i) & mask];
		uint64_t seen = atomic_load_explicit(word, memory_order_acquire);

		if (seen == 0) {
			fresh = fresh ? fresh : take_row(tenants, tenant, tag);
			if (fresh == 0)
				break;
			/* release: the row's name and tag are written; pairs with the acquire above */
			if (atomic_compare_exchange_strong(word, &seen, label(tag) | fresh))
				return made_ready(&tenants->rows[fresh]);
		}
		if ((seen & ~UINT64_C(0xffff)) == label(tag) && atomic_load(&tenants->rows[seen & 0xffff].tag) == tag)
			return made_ready(&tenants->rows[seen & 0xffff]);
	}
	return &tenants->rows[0];
}

uint64_t ld_tenant_counted(const struct ld_tenant_row *row, enum ld_tenant_counter which)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < LD_STRIPES; i++)
		sum += atomic_load_explicit(&row->counters[i][which], memory_order_relaxed);
	return sum;
}
