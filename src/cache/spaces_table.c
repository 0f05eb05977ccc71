/* SPDX-License-Identifier: MIT */
/*
 * Policies by space, and quotas, limits and breakers by tenant, as two sorted arrays. Called by the reader of the spaces file, when a tenant
 * is opened, and when its handle meets a space for the first time. It must never be changed after it was sorted: many threads read
 * it without a lock.
 *
 * A policy of all tenants has the tenant "", which is no tenant's id and sorts first.
 */
#include "cache/spaces_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <larder/larder.h>

#include "base/mem.h"

/* A field that a policy does not have. */
#define NOT_GIVEN (-1)

struct policy_row {
	char tenant[LARDER_TENANT_MAX + 1];
	char space[LARDER_SPACE_MAX + 1];
	struct ld_policy policy;
};

struct tenant_row {
	char tenant[LARDER_TENANT_MAX + 1];
	struct ld_spaces_tenant own;
};

/* A zeroed row at the end of a table, or NULL. */
static void *add_row(struct ld_spaces_table *table, size_t row_size)
{
	char *row;

	if (table->count == table->room) {
		size_t room = table->room != 0 ? 2 * table->room : 16;
		void *rows = ld_realloc(table->rows, room * row_size);

		if (rows == NULL)
			return NULL;
		table->rows = rows;
		table->room = room;
	}
	row = (char *)table->rows + table->count++ * row_size;
	memset(row, 0, row_size);
	return row;
}

struct ld_policy *ld_spaces_add_policy(struct ld_spaces *spaces, const char *tenant, const char *space)
{
	struct policy_row *row = add_row(&spaces->policies, sizeof(*row));

	if (row == NULL)
		return NULL;
	(void)snprintf(row->tenant, sizeof(row->tenant), "%s", tenant);
	(void)snprintf(row->space, sizeof(row->space), "%s", space);
	row->policy = (struct ld_policy){ .ttl_ms = NOT_GIVEN, .stale_ms = NOT_GIVEN, .error_ms = NOT_GIVEN, .negative_ms = NOT_GIVEN,
		.l2_ttl_ms = NOT_GIVEN, .jitter_pct = NOT_GIVEN, .beta = NOT_GIVEN, .on_busy = NOT_GIVEN, .keep_names = NOT_GIVEN };
	return &row->policy;
}

struct ld_spaces_tenant *ld_spaces_add_tenant(struct ld_spaces *spaces, const char *tenant)
{
	struct tenant_row *row = add_row(&spaces->tenants, sizeof(*row));

	if (row == NULL)
		return NULL;
	(void)snprintf(row->tenant, sizeof(row->tenant), "%s", tenant);
	row->own.limits = (struct ld_limits){ NOT_GIVEN, NOT_GIVEN, NOT_GIVEN, NOT_GIVEN, NOT_GIVEN, NOT_GIVEN, NOT_GIVEN, NOT_GIVEN };
	for (int i = 0; i < LD_SPACES_BREAKER; i++)
		row->own.breaker[i] = NOT_GIVEN;
	return &row->own;
}

static int order_policies(const void *a, const void *b)
{
	const struct policy_row *left = a, *right = b;
	int order = strcmp(left->tenant, right->tenant);

	return order != 0 ? order : strcmp(left->space, right->space);
}

static int order_tenants(const void *a, const void *b)
{
	const struct tenant_row *left = a, *right = b;

	return strcmp(left->tenant, right->tenant);
}

/* An empty table has no array, which neither qsort() nor bsearch() may be given. */
static void sort(struct ld_spaces_table *table, size_t row_size, int (*order)(const void *, const void *))
{
	if (table->count > 0)
		qsort(table->rows, table->count, row_size, order);
}

static const void *find(const struct ld_spaces_table *table, const void *wanted, size_t row_size,
    int (*order)(const void *, const void *))
{
	return table->count > 0 ? bsearch(wanted, table->rows, table->count, row_size, order) : NULL;
}

void ld_spaces_sort(struct ld_spaces *spaces)
{
	sort(&spaces->policies, sizeof(struct policy_row), order_policies);
	sort(&spaces->tenants, sizeof(struct tenant_row), order_tenants);
}

void ld_spaces_free(struct ld_spaces *spaces)
{
	if (spaces == NULL)
		return;
	free(spaces->policies.rows);
	free(spaces->tenants.rows);
	free(spaces);
}

static void overlay_number(const int64_t *own, int64_t *number)
{
	if (*own != NOT_GIVEN)
		*number = *own;
}

/* Lay the fields that a row has over a policy. */
static void overlay(const struct ld_spaces *spaces, const char *tenant, const char *space, struct ld_policy *policy)
{
	const struct policy_row *row;
	struct policy_row wanted = { .policy = { 0 } };

	(void)snprintf(wanted.tenant, sizeof(wanted.tenant), "%s", tenant);
	(void)snprintf(wanted.space, sizeof(wanted.space), "%s", space);
	row = find(&spaces->policies, &wanted, sizeof(*row), order_policies);
	if (row == NULL)
		return;
	overlay_number(&row->policy.ttl_ms, &policy->ttl_ms);
	overlay_number(&row->policy.stale_ms, &policy->stale_ms);
	overlay_number(&row->policy.error_ms, &policy->error_ms);
	overlay_number(&row->policy.negative_ms, &policy->negative_ms);
	overlay_number(&row->policy.l2_ttl_ms, &policy->l2_ttl_ms);
	overlay_number(&row->policy.jitter_pct, &policy->jitter_pct);
	overlay_number(&row->policy.beta, &policy->beta);
	if (row->policy.on_busy != NOT_GIVEN)
		policy->on_busy = row->policy.on_busy;
	if (row->policy.keep_names != NOT_GIVEN)
		policy->keep_names = row->policy.keep_names;
}

void ld_spaces_policy(const struct ld_spaces *spaces, const char *tenant, const char *space, const struct ld_policy *fallback,
    struct ld_policy *ret_policy)
{
	struct ld_policy policy = *fallback;

	if (spaces != NULL) {
		overlay(spaces, "", space, &policy);
		overlay(spaces, tenant, space, &policy);
	}
	*ret_policy = policy;
}

static const struct ld_spaces_tenant *find_tenant(const struct ld_spaces *spaces, const char *tenant)
{
	const struct tenant_row *row;
	struct tenant_row wanted = { .own = { 0 } };

	if (spaces == NULL)
		return NULL;
	(void)snprintf(wanted.tenant, sizeof(wanted.tenant), "%s", tenant);
	row = find(&spaces->tenants, &wanted, sizeof(*row), order_tenants);
	return row != NULL ? &row->own : NULL;
}

uint64_t ld_spaces_quota(const struct ld_spaces *spaces, const char *tenant)
{
	const struct ld_spaces_tenant *own = find_tenant(spaces, tenant);

	return own != NULL ? own->quota_b : 0;
}

/* A burst goes with its rate: that of the settings says nothing about another one. */
static void overlay_limit(int64_t own_rate, int64_t own_burst, int64_t *rate, int64_t *burst)
{
	if (own_rate != NOT_GIVEN) {
		*rate = own_rate;
		*burst = 0;
	}
	if (own_burst != NOT_GIVEN)
		*burst = own_burst;
}

void ld_spaces_limits(const struct ld_spaces *spaces, const char *tenant, const struct ld_limits *fallback, struct ld_limits *ret_limits)
{
	const struct ld_spaces_tenant *own = find_tenant(spaces, tenant);
	struct ld_limits limits = *fallback;

	if (own != NULL) {
		overlay_limit(own->limits.rate, own->limits.burst, &limits.rate, &limits.burst);
		overlay_limit(own->limits.subkey_rate, own->limits.subkey_burst, &limits.subkey_rate, &limits.subkey_burst);
		overlay_limit(own->limits.l2_rate, own->limits.l2_burst, &limits.l2_rate, &limits.l2_burst);
		overlay_limit(own->limits.l2_subkey_rate, own->limits.l2_subkey_burst, &limits.l2_subkey_rate, &limits.l2_subkey_burst);
	}
	*ret_limits = limits;
}

int ld_spaces_breaker(const struct ld_spaces *spaces, const char *tenant, int64_t *numbers)
{
	const struct ld_spaces_tenant *own = find_tenant(spaces, tenant);
	int given = 0;

	for (int i = 0; own != NULL && i < LD_SPACES_BREAKER; i++) {
		if (own->breaker[i] == NOT_GIVEN)
			continue;
		numbers[LD_SET_BREAKER_FAILURES + i] = own->breaker[i];
		given = 1;
	}
	return given;
}
