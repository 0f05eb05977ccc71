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

/** Processes add to one of these copies each, so that they seldom write the same cache line; readers add them up. */
enum { LD_STRIPES = 4, LD_TENANT_ROW = 640 };

/** 640 bytes. tag: hash of the name, 0 = free row; claimed by compare-and-swap. */
struct ld_tenant_row {
	_Atomic uint64_t tag;
	_Atomic uint32_t ready;           /* 1: name is whole (release; pairs with the acquire in find) */
	uint32_t reserved;
	char name[64];                    /* written by every process that claims or finds the row unready: always the same bytes */
	_Atomic uint64_t clear_seq;       /* entries below it are cleared */
	_Atomic uint64_t quota_b;         /* written by whoever opens the tenant; 0 = none */
	_Atomic uint64_t entries;         /* mirror of the account in the store; written under the writer gate */
	_Atomic uint64_t bytes;
	char pad[LD_TENANT_ROW - 112 - LD_STRIPES * LD_TENANT_COUNTERS * 8];
	_Atomic uint64_t counters[LD_STRIPES][LD_TENANT_COUNTERS];
};
_Static_assert(sizeof(struct ld_tenant_row) == LD_TENANT_ROW, "layout");

/** The row of a tenant, made if it is new. Lock-free; killed at any line it leaves a row that the next caller completes. */
uint32_t ld_tenants_row(struct ld_tenant_row *rows, uint32_t max, const char *tenant, uint64_t tag);

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
