/* SPDX-License-Identifier: MIT */
/**
 * The directory of tenants in the segment: counters, quota, account and clear of each. Rows are only ever added. Row 0 is shared by
 * all tenants that found the table full: they are counted together and have no quota.
 */
#ifndef LD_SHM_TENANTS_H
#define LD_SHM_TENANTS_H

#include <stdatomic.h>
#include <stdint.h>

enum ld_tenant_counter {
#define LD_TENANT_COUNTER(id, text) LD_TC_##id,
#define LD_HOST_COUNTER(id, text)
#include "shm/counters.def"
#undef LD_TENANT_COUNTER
#undef LD_HOST_COUNTER
	LD_TENANT_COUNTERS
};

enum ld_host_counter {
#define LD_TENANT_COUNTER(id, text)
#define LD_HOST_COUNTER(id, text) LD_HC_##id,
#include "shm/counters.def"
#undef LD_TENANT_COUNTER
#undef LD_HOST_COUNTER
	LD_HOST_COUNTERS
};

/** Processes add to one of these copies each, so that they seldom write the same cache line; readers add them up. A copy is whole cache lines. */
enum { LD_STRIPES = 4, LD_STRIPE_COUNTERS = (LD_TENANT_COUNTERS + 7) / 8 * 8, LD_TENANT_ROW = 128 + LD_STRIPES * LD_STRIPE_COUNTERS * 8 };

/** Whole cache lines too. tag: hash of the name; written, with the name, before the row is in the index. */
struct ld_tenant_row {
	_Atomic uint64_t tag;
	_Atomic uint32_t ready;           /* 1: the index names it; release, pairs with the acquire of whoever lists rows */
	uint32_t reserved;
	char name[64];                    /* written by the process that took the row, never again */
	_Atomic uint64_t clear_seq;       /* entries below it are cleared */
	_Atomic uint64_t quota_b;         /* written by whoever opens the tenant; 0 = none */
	_Atomic uint64_t entries;         /* mirror of the account in the store; written under the writer gate */
	_Atomic uint64_t bytes;
	_Atomic uint64_t l2_invalid_ms;   /* wall clock: what L2 has of the tenant from before it is not given out; 0 = none */
	char pad[128 - 120];
	_Atomic uint64_t counters[LD_STRIPES][LD_STRIPE_COUNTERS];
};
_Static_assert(sizeof(struct ld_tenant_row) == LD_TENANT_ROW, "layout");

/** The directory: rows in the order in which they came, and a hash index to them. */
struct ld_tenants {
	struct ld_tenant_row *rows;
	_Atomic uint64_t *index;          /* index_size words: upper 48 bits of a tag << 16 | row; 0 = free */
	_Atomic uint32_t *taken;          /* rows handed out, the shared row 0 included; may run past max */
	uint32_t max, index_size;
};

/** Words of the index for so many rows. */
uint32_t ld_tenants_index_size(uint32_t max);

/** The row of a tenant, made if it is new; rows[0] when the table is full. Lock-free. */
struct ld_tenant_row *ld_tenants_row(const struct ld_tenants *tenants, const char *tenant, uint64_t tag);

/** Rows that may be in use: 0 .. this - 1. Those that are not `ready` have no tenant. */
static inline uint32_t ld_tenants_used(const struct ld_tenants *tenants)
{
	uint32_t taken = atomic_load_explicit(tenants->taken, memory_order_acquire);

	return taken < 1 ? 1 : taken < tenants->max ? taken : tenants->max;
}

static inline void ld_tenant_count(struct ld_tenant_row *row, unsigned stripe, enum ld_tenant_counter which, uint64_t n)
{
	atomic_fetch_add_explicit(&row->counters[stripe][which], n, memory_order_relaxed);
}

/** Sum of the stripes. */
uint64_t ld_tenant_counted(const struct ld_tenant_row *row, enum ld_tenant_counter which);

/** Names and texts, in the order of the enums. */
extern const char *const ld_tenant_counter_names[LD_TENANT_COUNTERS];
extern const char *const ld_tenant_counter_texts[LD_TENANT_COUNTERS];
extern const char *const ld_host_counter_names[LD_HOST_COUNTERS];
extern const char *const ld_host_counter_texts[LD_HOST_COUNTERS];

#endif
