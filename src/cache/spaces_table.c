/* SPDX-License-Identifier: MIT */
/*
 * Policies and quotas as two sorted arrays. Called by the reader of the spaces file, and when a tenant's handle meets a space for
 * the first time. It must never be changed after it was sorted: many threads read it without a lock.
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

struct quota_row {
	char tenant[LARDER_TENANT_MAX + 1];
	uint64_t bytes;
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
	row->policy = (struct ld_policy){ NOT_GIVEN, NOT_GIVEN, NOT_GIVEN, NOT_GIVEN };
	return &row->policy;
}

int ld_spaces_add_quota(struct ld_spaces *spaces, const char *tenant, uint64_t bytes)
{
	struct quota_row *row = add_row(&spaces->quotas, sizeof(*row));

	if (row == NULL)
		return LARDER_E_NOMEM;
	(void)snprintf(row->tenant, sizeof(row->tenant), "%s", tenant);
	row->bytes = bytes;
	return 0;
}

static int order_policies(const void *a, const void *b)
{
	const struct policy_row *left = a, *right = b;
	int order = strcmp(left->tenant, right->tenant);

	return order != 0 ? order : strcmp(left->space, right->space);
}

static int order_quotas(const void *a, const void *b)
{
	const struct quota_row *left = a, *right = b;

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
	sort(&spaces->quotas, sizeof(struct quota_row), order_quotas);
}

void ld_spaces_free(struct ld_spaces *spaces)
{
	if (spaces == NULL)
		return;
	free(spaces->policies.rows);
	free(spaces->quotas.rows);
	free(spaces);
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
	if (row->policy.ttl_ms != NOT_GIVEN)
		policy->ttl_ms = row->policy.ttl_ms;
	if (row->policy.stale_ms != NOT_GIVEN)
		policy->stale_ms = row->policy.stale_ms;
	if (row->policy.negative_ms != NOT_GIVEN)
		policy->negative_ms = row->policy.negative_ms;
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

uint64_t ld_spaces_quota(const struct ld_spaces *spaces, const char *tenant)
{
	const struct quota_row *row;
	struct quota_row wanted = { .bytes = 0 };

	if (spaces == NULL)
		return 0;
	(void)snprintf(wanted.tenant, sizeof(wanted.tenant), "%s", tenant);
	row = find(&spaces->quotas, &wanted, sizeof(*row), order_quotas);
	return row != NULL ? row->bytes : 0;
}
