/* SPDX-License-Identifier: MIT */
/*
 * The table of breakers: rows found again, names, a full table, rows left half done, and threads and processes that want the same.
 */
#include "shm/breakers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>

#include "base/fault.h"
#include "child.h"

enum { MAX = 9, THREADS = 2, NAMES = 6, ROUNDS = 5000 };

struct table {
	struct ld_breakers table;
	struct ld_breaker_row rows[MAX];
	_Atomic uint32_t ready;
	struct taker {
		struct table *table;
		unsigned from;
		struct ld_breaker_row *got[NAMES];
	} takers[THREADS];
};

static int make(void **state)
{
	struct table *table = child_share(sizeof(*table));

	if (table == NULL)
		return -1;
	table->table = (struct ld_breakers){ table->rows, MAX };
	*state = table;
	return 0;
}

static int drop(void **state)
{
	return munmap(*state, sizeof(struct table));
}

static struct ld_breaker_row *row_of(struct table *table, unsigned n)
{
	char name[32];

	snprintf(name, sizeof(name), "http://l2-%u:8420", n);
	return ld_breakers_row(&table->table, name, (n + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

static void test_rows_are_taken_and_found(void **state)
{
	struct table *table = *state;
	char name[LD_BREAKER_NAME];

	assert_null(ld_breakers_find(&table->table, UINT64_C(0x9e3779b97f4a7c15)));
	for (unsigned round = 0; round < 2; round++)
		for (unsigned n = 0; n < 4; n++)
			assert_ptr_equal(row_of(table, n), &table->rows[n + 1]);
	assert_ptr_equal(ld_breakers_find(&table->table, UINT64_C(0x9e3779b97f4a7c15)), &table->rows[1]);
	assert_null(ld_breakers_find(&table->table, 12345));
	assert_int_equal(ld_breakers_name(&table->table, 2, name), 1);
	assert_string_equal(name, "http://l2-1:8420");
	assert_int_equal(ld_breakers_name(&table->table, 0, name), 1);
	assert_string_equal(name, "shared");
	assert_int_equal(ld_breakers_name(&table->table, 5, name), 0);
	assert_string_equal(name, "shared");
}

static void test_a_full_table_shares_the_first_row(void **state)
{
	struct table *table = *state;
	struct ld_breakers tiny = { table->rows, 1 };

	for (unsigned n = 0; n < MAX - 1; n++)
		assert_ptr_equal(row_of(table, n), &table->rows[n + 1]);
	for (unsigned n = MAX; n < 3 * MAX; n++)
		assert_ptr_equal(row_of(table, n), &table->rows[0]);
	assert_ptr_equal(row_of(table, MAX - 2), &table->rows[MAX - 1]);
	assert_null(ld_breakers_find(&table->table, MAX * UINT64_C(77)));
	assert_true(table->rows[0].tag == 0);
	assert_ptr_equal(ld_breakers_row(&tiny, "x", 5), &table->rows[0]);
}

static void test_names_of_any_length_and_tags_of_zero(void **state)
{
	struct table *table = *state;
	char lengthy[300], name[LD_BREAKER_NAME];

	memset(lengthy, 'x', sizeof(lengthy) - 1);
	lengthy[sizeof(lengthy) - 1] = '\0';
	assert_ptr_equal(ld_breakers_row(&table->table, lengthy, 7), &table->rows[1]);
	assert_int_equal(ld_breakers_name(&table->table, 1, name), 1);
	assert_int_equal(strlen(name), LD_BREAKER_NAME - 1);
	assert_ptr_equal(ld_breakers_row(&table->table, "", 0), &table->rows[2]);
	assert_ptr_equal(ld_breakers_row(&table->table, "", 0), &table->rows[2]);
	assert_ptr_equal(ld_breakers_find(&table->table, 0), &table->rows[2]);
	assert_int_equal(ld_breakers_name(&table->table, 2, name), 1);
	assert_string_equal(name, "");
}

/* Each row has a breaker of its own. */
static void test_rows_do_not_share_a_breaker(void **state)
{
	static const struct ld_breaker_settings settings = LD_BREAKER_DEFAULTS;
	struct table *table = *state;
	struct ld_breaker_pass pass;

	for (int i = 0; i < 5; i++) {
		assert_int_equal(ld_breaker_admit(&row_of(table, 0)->breaker, &settings, 1000, 100, &pass), LD_BREAKER_ADMITTED);
		(void)ld_breaker_report(&row_of(table, 0)->breaker, &settings, &pass, LD_BREAKER_FAILURE, 1000, 1);
	}
	assert_int_equal(ld_breaker_admit(&row_of(table, 0)->breaker, &settings, 1000, 100, &pass), LD_BREAKER_REFUSED);
	assert_int_equal(ld_breaker_admit(&row_of(table, 1)->breaker, &settings, 1000, 100, &pass), LD_BREAKER_ADMITTED);
	assert_int_equal((uintptr_t)&row_of(table, 1)->breaker % 64, 0);
}

#ifdef LARDER_FAULTS
static void take_first(void *arg)
{
	(void)row_of(arg, 0);
}

/* Killed with the row taken and no name in it: the row is in use all the same, and the next one names it. */
static void test_killed_before_the_name(void **state)
{
	struct ld_fault_plan *plan = child_share(sizeof(*plan));
	struct table *table = *state;
	char name[LD_BREAKER_NAME];

	assert_non_null(plan);
	plan->point = LD_FAULT_breaker_row_taken;
	plan->action = LD_FAULT_KILL;
	plan->countdown = 1;
	ld_fault_use(plan);
	assert_int_equal(child_run(take_first, table), 256 + SIGKILL);
	ld_fault_use(NULL);
	assert_int_equal(ld_breakers_name(&table->table, 1, name), 0);
	assert_ptr_equal(row_of(table, 1), &table->rows[2]);
	assert_ptr_equal(row_of(table, 0), &table->rows[1]);
	assert_int_equal(ld_breakers_name(&table->table, 1, name), 1);
	assert_string_equal(name, "http://l2-0:8420");
	assert_int_equal(munmap(plan, sizeof(*plan)), 0);
}
#endif

/* ---- threads ---- */

static void *take_all(void *arg)
{
	struct taker *taker = arg;
	struct table *table = taker->table;

	/* Three meetings a round: the table is empty, all have taken, the test has looked. */
	for (uint32_t round = 0; round < ROUNDS; round++) {
		child_meet(&table->ready, (3 * round + 1) * (THREADS + 1));
		for (unsigned i = taker->from; i < taker->from + NAMES; i++)
			taker->got[i % NAMES] = row_of(table, i % NAMES);
		child_meet(&table->ready, (3 * round + 2) * (THREADS + 1));
		child_meet(&table->ready, (3 * round + 3) * (THREADS + 1));
	}
	return NULL;
}

/* What is wrong with the rows that they got? All the same for one name, none for two, and none lost. */
static unsigned faults(const struct table *table)
{
	unsigned found = 0;

	for (unsigned n = 0; n < NAMES; n++) {
		for (int i = 1; i < THREADS; i++)
			found += table->takers[i].got[n] != table->takers[0].got[n];
		for (unsigned k = 0; k < n; k++)
			found += table->takers[0].got[n] == table->takers[0].got[k];
	}
	return found + (table->rows[NAMES].tag == 0) + (table->rows[NAMES + 1].tag != 0);
}

static void test_one_row_a_name_however_many_come(void **state)
{
	struct table *table = *state;
	pthread_t threads[THREADS];
	unsigned found = 0;

	for (unsigned i = 0; i < THREADS; i++) {
		table->takers[i] = (struct taker){ .table = table, .from = i % 2 * NAMES / 2 };
		assert_int_equal(pthread_create(&threads[i], NULL, take_all, &table->takers[i]), 0);
	}
	for (uint32_t round = 0; round < ROUNDS; round++) {
		memset((void *)table->rows, 0, sizeof(table->rows));
		child_meet(&table->ready, (3 * round + 1) * (THREADS + 1));
		child_meet(&table->ready, (3 * round + 2) * (THREADS + 1));
		found += faults(table);
		child_meet(&table->ready, (3 * round + 3) * (THREADS + 1));
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(found, 0);
}

#define WITH_TABLE(test) cmocka_unit_test_setup_teardown(test, make, drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TABLE(test_rows_are_taken_and_found),
		WITH_TABLE(test_a_full_table_shares_the_first_row),
		WITH_TABLE(test_names_of_any_length_and_tags_of_zero),
		WITH_TABLE(test_rows_do_not_share_a_breaker),
#ifdef LARDER_FAULTS
		WITH_TABLE(test_killed_before_the_name),
#endif
		WITH_TABLE(test_one_row_a_name_however_many_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
