/* SPDX-License-Identifier: MIT */
/*
 * What the check puts right beside the writers: an account of a tenant, and the counts of the outbox. Nobody waits while it counts, what is written
 * meanwhile counts, and of two checks that have found the same one puts it right. What the segment has of an account is put right with it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>

#include "child.h"
#include "told.h"

enum damage { ACCOUNT, MALFORMED_ACCOUNT, OUTBOX, DAMAGES };

static const char *const texts[DAMAGES] = {
	"account of the tenant does not add up",
	"account of the tenant does not add up",
	"counts of the outbox do not add up",
};

struct seen {
	const char *what;
	int mended;
};

static int see(void *ctx, const struct larder_finding *finding)
{
	struct seen *seen = ctx;

	seen->what = finding->what;
	seen->mended = finding->mended;
	return 0;
}

static int do_damage(struct ld_write *write, enum damage damage)
{
	char name[] = "Tacme", junk[] = "junk";
	MDB_val key = { sizeof(name) - 1, name }, data = { sizeof(junk), junk };
	int rc;

	switch (damage) {
	case ACCOUNT:
		return ld_write_account(write, "acme", 4, 5, -10);
	case MALFORMED_ACCOUNT:
		return mdb_put(write->txn, write->store->env.main, &key, &data, 0);
	default:
		rc = ld_outbox_use(write);
		write->outbox.pending += 3;
		write->outbox.enqueued += 5;
		return rc;
	}
}

static void damage_counts(struct box *box, enum damage damage)
{
	struct ld_store *store = told_store(box);
	struct ld_account accounts[LD_ACCOUNTS];
	struct ld_write write;

	assert_int_equal(ld_store_attach(store), 0);
	assert_int_equal(ld_gate_in(store, 1000), 0);
	assert_int_equal(ld_write_begin(&write, store, accounts), 0);
	assert_int_equal(do_damage(&write, damage), 0);
	assert_int_equal(ld_write_commit(&write), 0);
	ld_gate_out(store);
}

static void expect_found(struct box *box, int repair, uint64_t count, const char *text)
{
	struct seen seen = { "nothing", 0 };
	uint64_t found = 99;

	assert_int_equal(ld_store_check(told_store(box), repair, see, NULL, &seen, &found), 0);
	assert_int_equal(found, count);
	if (count > 0) {
		assert_string_equal(seen.what, text);
		assert_int_equal(seen.mended, repair);
	}
}

static void begin(struct box *box)
{
	box_open(box, NULL);
	assert_int_equal(told_set(box, "a", "value"), 0);
	assert_int_equal(told_set(box, "b", "value"), 0);
	assert_int_equal(untold_set(box, "c", "value"), 0);
}

static void test_each_is_found_and_put_right(void **state)
{
	struct box *box = *state;

	begin(box);
	for (int damage = 0; damage < DAMAGES; damage++) {
		damage_counts(box, (enum damage)damage);
		expect_found(box, 0, 1, texts[damage]);
		expect_found(box, 1, 1, texts[damage]);
		expect_found(box, 1, 0, NULL);
	}
	assert_int_equal(told_set(box, "d", "value"), 0);
	expect_found(box, 0, 0, NULL);
	assert_true(box_gives(box, "c", 0, "value"));
	assert_false(box_said(box, "store_remade"));
}

/* As a writer leaves it that is killed between its commit and the mirror: the account is right, and nobody can store anything that would correct it. */
static void test_a_mirror_that_is_off_is_put_right(void **state)
{
	struct box *box = *state;
	char path[256], setting[300];
	FILE *file = fopen(box_path(box, "spaces.json", path), "w");
	struct ld_tenant_row *row;
	uint64_t bytes;

	assert_non_null(file);
	assert_true(fputs("{\"tenants\":{\"acme\":{\"quota\":\"256K\"}}}", file) > 0);
	assert_int_equal(fclose(file), 0);
	snprintf(setting, sizeof(setting), "SPACES_FILE=%s", path);
	box_open(box, (const char *const[]){ setting, NULL });
	assert_int_equal(box_set(box, "a", "value"), 0);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), 0);
	row = ld_tenant_named(&told_store(box)->seg, "acme");
	assert_int_equal(row->bytes, 0);
	atomic_store(&row->bytes, 1 << 20);
	atomic_store(&row->entries, 1);
	assert_int_equal(box_set(box, "b", "value"), LARDER_UNAVAILABLE);
	expect_found(box, 0, 0, NULL);
	assert_int_equal(row->bytes, 1 << 20);
	expect_found(box, 1, 0, NULL);
	assert_true(row->bytes == 0 && row->entries == 0);
	assert_int_equal(box_set(box, "b", "value"), 0);
	/* With the account, where that is off. */
	bytes = row->bytes;
	damage_counts(box, ACCOUNT);
	assert_int_equal(row->entries, 6);
	expect_found(box, 1, 1, texts[ACCOUNT]);
	assert_true(row->entries == 1 && row->bytes == bytes);
}

#ifdef LARDER_FAULTS
/* The count that is off is not all: what is found when it is put right is the tree's. */
static void test_a_tree_that_is_damaged_is_no_count(void **state)
{
	struct box *box = *state;

	begin(box);
	for (int damage = 0; damage < DAMAGES; damage++) {
		damage_counts(box, (enum damage)damage);
		box->plan->point = LD_FAULT_txn_commit;
		box->plan->action = LD_FAULT_ERROR;
		box->plan->error = MDB_CORRUPTED;
		box->plan->countdown = 1;
		box_forget_lines(box);
		expect_found(box, 1, 1, "tree of the store damaged");
		assert_true(box_said(box, "store_remade"));
		assert_int_equal(told_set(box, "a", "value"), 0);
		expect_found(box, 0, 0, NULL);
	}
}

static void check_and_mend(void *arg)
{
	struct box *box = arg;
	struct seen seen = { "nothing", 0 };
	uint64_t found = 0;

	CHILD_CHECK(ld_store_check(told_store(box), 1, see, NULL, &seen, &found) == 0);
	CHILD_CHECK(found == 1 && seen.mended);
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
	return pid;
}

static void go_on(pid_t pid)
{
	assert_int_equal(kill(pid, SIGCONT), 0);
	assert_int_equal(child_end(pid), 0);
}

static void test_writers_go_on_while_it_counts(void **state)
{
	static const enum damage damages[] = { ACCOUNT, OUTBOX };
	struct box *box = *state;
	struct ld_fault_plan *plan = child_share(sizeof(*plan));

	assert_non_null(plan);
	begin(box);
	ld_fault_use(plan);
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		pid_t first, second;

		damage_counts(box, damages[i]);
		first = stop_counted(box, plan);
		second = stop_counted(box, plan);
		assert_int_equal(told_set(box, i == 0 ? "e" : "f", "longer value"), 0);
		assert_int_equal(told_delete(box, i == 0 ? "a" : "b"), 0);
		go_on(first);
		expect_found(box, 0, 0, NULL);
		go_on(second);
		expect_found(box, 0, 0, NULL);
	}
	ld_fault_use(NULL);
	assert_int_equal(munmap(plan, sizeof(*plan)), 0);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_is_found_and_put_right, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_a_mirror_that_is_off_is_put_right, box_begin, box_end),
#ifdef LARDER_FAULTS
		cmocka_unit_test_setup_teardown(test_a_tree_that_is_damaged_is_no_count, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_writers_go_on_while_it_counts, box_begin, box_end),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
