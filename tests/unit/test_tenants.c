/* SPDX-License-Identifier: MIT */
/*
 * The directory of tenants on a table of the test's own: rows are found again, a full table shares row 0, races and torn rows are
 * completed, and counters add up.
 */
#include "shm/tenants.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

enum { MAX = 40, THREADS = 4, ADDS = 100000 };

struct table {
	struct ld_tenants tenants;
	_Atomic uint32_t taken;
};

static int make(void **state)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return -1;
	table->tenants.max = MAX;
	table->tenants.index_size = ld_tenants_index_size(MAX);
	table->tenants.rows = calloc(MAX, sizeof(*table->tenants.rows));
	table->tenants.index = calloc(table->tenants.index_size, sizeof(*table->tenants.index));
	table->tenants.taken = &table->taken;
	*state = table;
	return table->tenants.rows && table->tenants.index ? 0 : -1;
}

static int drop(void **state)
{
	struct table *table = *state;

	free(table->tenants.rows);
	free((void *)(uintptr_t)table->tenants.index);
	free(table);
	return 0;
}

static uint64_t tag_of(unsigned n)
{
	return (n + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
}

static struct ld_tenant_row *row_of(struct table *table, unsigned n)
{
	char name[16];

	(void)snprintf(name, sizeof(name), "t-%u", n);
	return ld_tenants_row(&table->tenants, name, tag_of(n));
}

static unsigned indexed(const struct table *table)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < table->tenants.index_size; i++)
		count += table->tenants.index[i] != 0;
	return count;
}

static void test_index_sizes(void **state)
{
	(void)state;
	assert_int_equal(ld_tenants_index_size(2), 64);
	assert_int_equal(ld_tenants_index_size(32), 64);
	assert_int_equal(ld_tenants_index_size(33), 128);
	assert_int_equal(ld_tenants_index_size(65001), 131072);
}

static void test_rows_are_made_and_found(void **state)
{
	struct table *table = *state;
	struct ld_tenant_row *rows[MAX];

	assert_int_equal(ld_tenants_used(&table->tenants), 1);
	for (unsigned n = 0; n < MAX - 1; n++) {
		char name[16];

		rows[n] = row_of(table, n);
		(void)snprintf(name, sizeof(name), "t-%u", n);
		assert_string_equal(rows[n]->name, name);
		assert_true(rows[n] != table->tenants.rows && rows[n]->ready == 1 && rows[n]->tag == tag_of(n));
	}
	for (unsigned n = 0; n < MAX - 1; n++)
		assert_ptr_equal(row_of(table, n), rows[n]);
	assert_int_equal(ld_tenants_used(&table->tenants), MAX);
	assert_int_equal(indexed(table), MAX - 1);
}

static void test_a_full_table_shares_the_first_row(void **state)
{
	struct table *table = *state;
	struct ld_tenant_row *first = row_of(table, 0);

	for (unsigned n = 0; n < 10 * MAX; n++)
		(void)row_of(table, n);
	for (unsigned n = MAX - 1; n < 10 * MAX; n++)
		assert_ptr_equal(row_of(table, n), table->tenants.rows);
	assert_ptr_equal(row_of(table, 0), first);
	assert_int_equal(ld_tenants_used(&table->tenants), MAX);
	assert_true(table->taken <= MAX + 1);
	assert_int_equal(table->tenants.rows[0].ready, 0);
}

/* Tags whose upper 48 bits are equal, or zero: told apart by the whole tag. */
static void test_tags_that_collide(void **state)
{
	struct table *table = *state;
	struct ld_tenant_row *a, *b, *c, *d;

	a = ld_tenants_row(&table->tenants, "a", UINT64_C(0xabcdef0123450001));
	b = ld_tenants_row(&table->tenants, "b", UINT64_C(0xabcdef0123450002));
	c = ld_tenants_row(&table->tenants, "c", 1);
	d = ld_tenants_row(&table->tenants, "d", UINT64_C(0x10001));
	assert_true(a != b && c != d && a != table->tenants.rows && c != table->tenants.rows);
	assert_ptr_equal(ld_tenants_row(&table->tenants, "a", UINT64_C(0xabcdef0123450001)), a);
	assert_ptr_equal(ld_tenants_row(&table->tenants, "b", UINT64_C(0xabcdef0123450002)), b);
	assert_ptr_equal(ld_tenants_row(&table->tenants, "c", 1), c);
	assert_ptr_equal(ld_tenants_row(&table->tenants, "d", UINT64_C(0x10001)), d);
}

/* The index is full of others from this tag's place on to its end: the probe goes on at its start. */
static void test_a_probe_goes_round(void **state)
{
	struct table *table = *state;
	uint64_t tag = (uint64_t)(table->tenants.index_size - 1) << 16 | 5;
	struct ld_tenant_row *last = ld_tenants_row(&table->tenants, "last", tag), *round;

	round = ld_tenants_row(&table->tenants, "round", tag | UINT64_C(1) << 60);
	assert_true(table->tenants.index[table->tenants.index_size - 1] != 0 && table->tenants.index[0] != 0);
	assert_true(last != round);
	assert_ptr_equal(ld_tenants_row(&table->tenants, "round", tag | UINT64_C(1) << 60), round);
}

/* Killed between index and ready: whoever comes next completes the row. */
static void test_a_row_that_is_not_ready_is_completed(void **state)
{
	struct table *table = *state;
	struct ld_tenant_row *row = row_of(table, 3);

	row->ready = 0;
	assert_ptr_equal(row_of(table, 3), row);
	assert_int_equal(row->ready, 1);
	assert_string_equal(row->name, "t-3");
}

/* Killed before the index word: the row is lost, and the tenant gets another. */
static void test_a_row_that_is_not_in_the_index_is_lost(void **state)
{
	struct table *table = *state;
	struct ld_tenant_row *first = row_of(table, 3), *second;

	for (uint32_t i = 0; i < table->tenants.index_size; i++)
		table->tenants.index[i] = 0;
	first->ready = 0;
	second = row_of(table, 3);
	assert_true(second != first && second != table->tenants.rows);
	assert_int_equal(first->ready, 0);
	assert_int_equal(second->ready, 1);
	assert_ptr_equal(row_of(table, 3), second);
}

static void *add_same(void *arg)
{
	struct table *table = arg;
	struct ld_tenant_row *rows[8];

	for (unsigned n = 0; n < 8; n++)
		rows[n] = row_of(table, n);
	for (unsigned i = 0; i < ADDS; i++)
		ld_tenant_count(rows[i % 8], i % LD_STRIPES, LD_TC_hits, 1);
	return NULL;
}

static void test_threads_get_one_row_each_tenant(void **state)
{
	struct table *table = *state;
	pthread_t threads[THREADS];
	uint64_t sum = 0;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_same, table), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(indexed(table), 8);
	for (unsigned n = 0; n < 8; n++) {
		assert_int_equal(ld_tenant_counted(row_of(table, n), LD_TC_hits), THREADS * ADDS / 8);
		sum += ld_tenant_counted(row_of(table, n), LD_TC_hits) + ld_tenant_counted(row_of(table, n), LD_TC_misses);
	}
	assert_int_equal(sum, THREADS * ADDS);
	/* The losers of a race may cost a row each, and those are never ready. */
	for (uint32_t i = 0, ready = 0; i < ld_tenants_used(&table->tenants); i++) {
		ready += table->tenants.rows[i].ready;
		assert_true(ready <= 8);
	}
}

static void test_counters_have_names(void **state)
{
	(void)state;
	for (int i = 0; i < LD_TENANT_COUNTERS; i++)
		assert_true(strlen(ld_tenant_counter_names[i]) > 3 && strlen(ld_tenant_counter_texts[i]) > 10);
	for (int i = 0; i < LD_HOST_COUNTERS; i++)
		assert_true(strlen(ld_host_counter_names[i]) > 3 && strlen(ld_host_counter_texts[i]) > 10);
	assert_string_equal(ld_tenant_counter_names[LD_TC_hits], "hits");
	assert_string_equal(ld_host_counter_names[LD_HC_stores_remade], "stores_remade");
}

#define WITH_TABLE(test) cmocka_unit_test_setup_teardown(test, make, drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_index_sizes),
		WITH_TABLE(test_rows_are_made_and_found),
		WITH_TABLE(test_a_full_table_shares_the_first_row),
		WITH_TABLE(test_tags_that_collide),
		WITH_TABLE(test_a_probe_goes_round),
		WITH_TABLE(test_a_row_that_is_not_ready_is_completed),
		WITH_TABLE(test_a_row_that_is_not_in_the_index_is_lost),
		WITH_TABLE(test_threads_get_one_row_each_tenant),
		cmocka_unit_test(test_counters_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
