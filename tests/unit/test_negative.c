/* SPDX-License-Identifier: MIT */
/*
 * "Not found" entries and their share of the store: a flood of names that do not exist pushes out no value, and the counts that this rests on are always
 * those of what is stored.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>

#include "child.h"
#include "told.h"

static int set_absent(larder_tenant *tenant, const char *name)
{
	return larder_set_absent(tenant, BOX_SPACE, name, strlen(name), NULL, NULL);
}

struct sum {
	uint64_t entries, bytes, values;
};

static int add(void *ctx, const struct larder_entry *entry)
{
	struct sum *sum = ctx;

	sum->entries += entry->absent;
	sum->bytes += entry->absent ? entry->stored_bytes : 0;
	sum->values += !entry->absent;
	return 0;
}

/* What there is; the mirrors and the row in the store must say the same. */
static struct sum count(struct box *box)
{
	const struct ld_scan scan = { .states = LARDER_IS_ANY, .fn = add, .ctx = &(struct sum){ 0 } };
	const struct sum *sum = scan.ctx;
	uint64_t found = 1;

	assert_int_equal(ld_store_scan(told_store(box), &scan), 0);
	assert_int_equal(told_header(box)->negative_entries, sum->entries);
	assert_int_equal(told_header(box)->negative_b, sum->bytes);
	assert_int_equal(ld_store_check(told_store(box), 0, NULL, NULL, NULL, &found), 0);
	assert_int_equal(found, 0);
	return *sum;
}

static void test_each_change_is_counted(void **state)
{
	struct box *box = *state;
	struct larder_item item = { .space = BOX_SPACE, .name = "c", .name_len = 1 };
	struct sum sum;

	box_open(box, NULL);
	assert_int_equal(count(box).entries, 0);
	assert_int_equal(set_absent(box->tenant, "a"), 0);
	assert_int_equal(set_absent(box->tenant, "b"), 0);
	assert_int_equal(box_set(box, "v", "value"), 0);
	sum = count(box);
	assert_true(sum.entries == 2 && sum.values == 1 && sum.bytes > 200);
	/* Over itself, by a value, over a value, deleted, touched. */
	assert_int_equal(set_absent(box->tenant, "a"), 0);
	assert_int_equal(count(box).entries, 2);
	assert_int_equal(box_set(box, "a", "value"), 0);
	assert_int_equal(count(box).entries, 1);
	assert_int_equal(set_absent(box->tenant, "v"), 0);
	assert_int_equal(count(box).entries, 2);
	assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "v", 1, 5000, 0, NULL), 0);
	assert_int_equal(count(box).entries, 2);
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "v", 1, "x", 1, NULL, NULL), 0);
	assert_int_equal(count(box).entries, 1);
	assert_int_equal(set_absent(box->tenant, "c"), 0);
	assert_int_equal(larder_delete_many(box->tenant, &item, 1, NULL), 0);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "b", 1, NULL), 0);
	assert_true(count(box).entries == 0 && count(box).bytes == 0);
	/* A store that is made anew has none. */
	assert_int_equal(set_absent(box->tenant, "a"), 0);
	ld_store_condemn(told_store(box), told_store(box)->env.generation, "for the test", 0);
	assert_int_equal(set_absent(box->tenant, "d"), 0);
	assert_int_equal(count(box).entries, 1);
	box_close(box);
	box_open(box, NULL);
	assert_int_equal(count(box).entries, 1);
}

static void flood(larder_tenant *tenant, unsigned first, unsigned names, unsigned *ret_refused)
{
	char name[32];

	*ret_refused = 0;
	for (unsigned i = 0; i < names; i++) {
		int rc;

		snprintf(name, sizeof(name), "no-such-name-%u", first + i);
		rc = set_absent(tenant, name);
		assert_true(rc == 0 || rc == LARDER_UNAVAILABLE);
		*ret_refused += rc != 0;
	}
}

static unsigned values_left(larder_tenant *tenant, unsigned values)
{
	unsigned left = 0;
	char name[32];

	for (unsigned i = 0; i < values; i++) {
		snprintf(name, sizeof(name), "value-%u", i);
		left += larder_exists(tenant, BOX_SPACE, name, strlen(name), NULL) == 0;
	}
	return left;
}

static void set_values(larder_tenant *tenant, unsigned values, size_t len)
{
	static char data[8192];
	char name[32];

	for (unsigned i = 0; i < values; i++) {
		snprintf(name, sizeof(name), "value-%u", i);
		assert_int_equal(larder_set(tenant, BOX_SPACE, name, strlen(name), data, len, NULL, NULL), 0);
	}
}

/* Half of the store is values, and then come seven times as many unknown names as their share holds, and more than would fill the other half. */
static void test_a_flood_pushes_out_no_value(void **state)
{
	static const size_t lens[] = { 10, 600, 5000 };
	static const unsigned values[] = { 8000, 4000, 400 };
	struct box *box = *state;

	for (size_t i = 0; i < 3; i++) {
		char row[32];
		struct sum sum;
		unsigned refused;

		snprintf(row, sizeof(row), "NAME=cache-%zu", i);
		box_open(box, (const char *const[]){ row, NULL });
		set_values(box->tenant, values[i], lens[i]);
		flood(box->tenant, 0, 33000, &refused);
		sum = count(box);
		assert_int_equal(refused, 0);
		assert_int_equal(values_left(box->tenant, values[i]), values[i]);
		assert_true(sum.bytes <= (8 << 20) / 10 && sum.bytes > (8 << 20) / 10 * 8 / 10);
		/* They are remembered as far as there is room. */
		assert_true(sum.entries > 2000);
		box_close(box);
	}
}

static void test_the_share_is_a_setting(void **state)
{
	struct box *box = *state;
	unsigned refused;
	struct sum sum;

	box_open(box, (const char *const[]){ "NEGATIVE_SHARE=2", NULL });
	flood(box->tenant, 0, 5000, &refused);
	sum = count(box);
	assert_true(refused == 0 && sum.bytes <= (8 << 20) / 50);
	box_close(box);
	box_open(box, (const char *const[]){ "NEGATIVE_SHARE=100", "NAME=whole", NULL });
	flood(box->tenant, 0, 20000, &refused);
	assert_int_equal(count(box).entries, 20000);
}

static void test_it_is_a_share_of_the_number_too(void **state)
{
	struct box *box = *state;
	unsigned refused;

	box_open(box, (const char *const[]){ "MAX_ENTRIES=1000", NULL });
	set_values(box->tenant, 800, 100);
	flood(box->tenant, 0, 3000, &refused);
	assert_int_equal(refused, 0);
	assert_int_equal(values_left(box->tenant, 800), 800);
	assert_in_range(count(box).entries, 90, 100);
	box_close(box);
	/* However few there may be, one may. */
	box_open(box, (const char *const[]){ "MAX_ENTRIES=5", "NAME=few", NULL });
	flood(box->tenant, 0, 20, &refused);
	assert_int_equal(count(box).entries, 1);
}

/* A tenant at its quota makes room for them among its own of them, once there are any. */
static void test_a_tenant_at_its_quota(void **state)
{
	struct box *box = *state;
	char path[256];
	unsigned refused, left;
	FILE *file = fopen(box_path(box, "spaces.json", path), "w");
	char row[300];

	assert_non_null(file);
	assert_true(fputs("{\"tenants\":{\"acme\":{\"quota\":\"256K\"}}}", file) > 0);
	assert_int_equal(fclose(file), 0);
	snprintf(row, sizeof(row), "SPACES_FILE=%s", path);
	box_open(box, (const char *const[]){ row, NULL });
	set_values(box->tenant, 300, 600);
	assert_int_equal(values_left(box->tenant, 300), 300);
	/* Asked for more often than the values were, they would be the last to go. */
	for (unsigned i = 0; i < 4000; i++)
		for (int times = 0; times < 4; times++) {
			flood(box->tenant, i, 1, &refused);
			assert_int_equal(refused, 0);
		}
	left = values_left(box->tenant, 300);
	assert_true(left >= 250);
	assert_true(count(box).entries > 100);
}

/* No room, nothing of its like to go: it is not remembered, and what was there is not served. */
static void test_one_that_finds_no_room_hides_the_value_all_the_same(void **state)
{
	struct box *box = *state;
	struct ld_seg_header *h;

	box_open(box, NULL);
	assert_int_equal(box_set(box, "a", "value"), 0);
	h = told_header(box);
	atomic_store(&h->negative_b, h->params.size_b);
	assert_int_equal(set_absent(box->tenant, "a"), LARDER_UNAVAILABLE);
	assert_int_equal(larder_reason(), LARDER_REASON_FULL);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	/* A mirror that is wrong is right again after the next of them is removed or stored. */
	atomic_store(&h->negative_b, 0);
	assert_int_equal(set_absent(box->tenant, "b"), 0);
	assert_int_equal(count(box).entries, 1);
}

static int see(void *ctx, const struct larder_finding *finding)
{
	(void)ctx;
	assert_string_equal(finding->what, "count of \"not found\" entries does not add up");
	return 0;
}

/* The counts say more than there is. */
static void damage_counts(struct box *box)
{
	struct ld_store *store = told_store(box);
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_write write;

	assert_int_equal(ld_store_attach(store), 0);
	assert_int_equal(ld_gate_in(store, 1000), 0);
	assert_int_equal(ld_write_begin(&write, store, accounts), 0);
	write.negative_entries = 7;
	write.negative_bytes = 700;
	assert_int_equal(ld_write_commit(&write), 0);
	ld_gate_out(store);
}

static void test_the_check_puts_it_right(void **state)
{
	struct box *box = *state;
	uint64_t found;

	box_open(box, NULL);
	assert_int_equal(set_absent(box->tenant, "a"), 0);
	damage_counts(box);
	assert_int_equal(told_header(box)->negative_entries, 8);
	for (int repair = 0; repair < 2; repair++) {
		assert_int_equal(ld_store_check(told_store(box), repair, see, NULL, NULL, &found), 0);
		assert_int_equal(found, 1);
	}
	assert_int_equal(count(box).entries, 1);
}

/* The row in the store, as it should not be: of so many bytes. */
static void damage_row(struct box *box, size_t len)
{
	struct ld_store *store = told_store(box);
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_write write;
	char junk[64] = "junk", name[] = "N";
	MDB_val key = { 1, name }, data = { len, junk };

	assert_int_equal(ld_store_attach(store), 0);
	assert_int_equal(ld_gate_in(store, 1000), 0);
	assert_int_equal(ld_write_begin(&write, store, accounts), 0);
	assert_int_equal(mdb_put(write.txn, store->env.main, &key, &data, 0), 0);
	assert_int_equal(ld_write_commit(&write), 0);
	ld_gate_out(store);
}

static int see_mended(void *ctx, const struct larder_finding *finding)
{
	*(int *)ctx = finding->mended;
	return see(ctx, finding);
}

/* One that is no row is put right, too, and the rest of the store stays. */
static void test_the_check_mends_a_row_that_is_none(void **state)
{
	static const size_t lens[] = { 0, 3, 64 };
	struct box *box = *state;
	uint64_t found;
	int mended;

	box_open(box, NULL);
	assert_int_equal(box_set(box, "v", "value"), 0);
	assert_int_equal(set_absent(box->tenant, "a"), 0);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		damage_row(box, lens[i]);
		assert_int_equal(ld_store_check(told_store(box), 0, see_mended, NULL, &mended, &found), 0);
		assert_true(found == 1 && !mended);
		assert_int_equal(ld_store_check(told_store(box), 1, see_mended, NULL, &mended, &found), 0);
		assert_true(found == 1 && mended);
		assert_int_equal(count(box).entries, 1);
	}
	assert_int_equal(set_absent(box->tenant, "b"), 0);
	assert_int_equal(count(box).entries, 2);
	assert_true(box_gives(box, "v", 0, "value"));
}

#ifdef LARDER_FAULTS
static void check_and_mend(void *arg)
{
	struct box *box = arg;
	uint64_t found = 0;
	int mended = 0;

	CHILD_CHECK(ld_store_check(told_store(box), 1, see_mended, NULL, &mended, &found) == 0);
	CHILD_CHECK(found == 1 && mended);
}

/* A check that is stopped between counting and putting right. */
static pid_t stop_counted(struct box *box, struct ld_fault_plan *plan)
{
	int status;
	pid_t pid;

	plan->point = LD_FAULT_check_counted;
	plan->action = LD_FAULT_STOP;
	plan->countdown = 1;
	pid = child_start(check_and_mend, box);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	plan->countdown = 0;
	return pid;
}

/* Nobody waits for the count, what is written meanwhile counts, and two checks do not put it right twice. */
static void test_writers_go_on_while_the_check_counts(void **state)
{
	struct box *box = *state;
	struct ld_fault_plan *plan = child_share(sizeof(*plan));
	pid_t first, second;

	assert_non_null(plan);
	box_open(box, NULL);
	assert_int_equal(set_absent(box->tenant, "a"), 0);
	damage_counts(box);
	ld_fault_use(plan);
	first = stop_counted(box, plan);
	second = stop_counted(box, plan);
	assert_int_equal(set_absent(box->tenant, "b"), 0);
	assert_int_equal(set_absent(box->tenant, "c"), 0);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), 0);
	assert_int_equal(told_header(box)->negative_entries, 9);
	assert_int_equal(kill(first, SIGCONT), 0);
	assert_int_equal(child_end(first), 0);
	assert_int_equal(count(box).entries, 2);
	assert_int_equal(kill(second, SIGCONT), 0);
	assert_int_equal(child_end(second), 0);
	assert_int_equal(count(box).entries, 2);
	ld_fault_use(NULL);
	assert_int_equal(munmap(plan, sizeof(*plan)), 0);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_change_is_counted, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_a_flood_pushes_out_no_value, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_the_share_is_a_setting, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_it_is_a_share_of_the_number_too, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_a_tenant_at_its_quota, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_one_that_finds_no_room_hides_the_value_all_the_same, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_the_check_puts_it_right, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_the_check_mends_a_row_that_is_none, box_begin, box_end),
#ifdef LARDER_FAULTS
		cmocka_unit_test_setup_teardown(test_writers_go_on_while_the_check_counts, box_begin, box_end),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
