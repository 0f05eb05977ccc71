/* SPDX-License-Identifier: MIT */
/*
 * Processes that are stopped where it hurts: a writer inside its transaction, a reader in mid-copy, an opener, a first reader, whoever checks the
 * readers, and the elected evictor. Everyone else returns within its deadline, nothing old is served, and all heals when the stopped one goes on or
 * is killed.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/sample.h"
#include "lib/team.h"

/*
 * A call may take its budget and this; a call without a deadline would take for ever. After five budgets of a call the holder of a gate counts as
 * stopped, and is not waited for at all (shm/gate.c).
 */
enum { BUDGET_MS = 100, SLACK_MS = 1200, WAIT_MS = 300, KNOWN_MS = 5 * BUDGET_MS + 50, AT_ONCE_MS = BUDGET_MS - 20 };
enum { LARGE = 300 << 10 };

static const char *dir;
static larder *cache;
static larder_tenant *tenant;
/* With WAIT_MS when all is well, with BUDGET_MS while somebody is stopped. */
static const struct larder_call stopped_call = { sizeof(stopped_call), 0, BUDGET_MS, NULL, NULL };
static const struct larder_call *call_with;

static int set_text(const char *name, const char *value)
{
	return larder_set(tenant, "stop", name, strlen(name), value, strlen(value), NULL, call_with);
}

static int get_text(const char *name, char ret_value[64])
{
	struct larder_value value = { 0 };
	int rc = larder_get(tenant, "stop", name, strlen(name), call_with, &value);

	if (rc == 0) {
		TEAM_CHECK(value.len < 64);
		memcpy(ret_value, value.data, value.len);
		ret_value[value.len] = 0;
		larder_value_free(&value);
	}
	return rc;
}

static void expect_text(const char *name, const char *value)
{
	int64_t start = team_now_ms();
	char found[64];
	int rc = get_text(name, found);

	if (rc != 0)
		TEAM_FAIL("%s is %s (%s) after %lld ms", name, larder_result_name(rc), larder_reason_text(larder_reason()),
		    (long long)(team_now_ms() - start));
	if (strcmp(found, value) != 0)
		TEAM_FAIL("%s is %s, not %s", name, found, value);
}

/* Expects a result within the budget; returns how long it took. */
#define TIMED(limit_ms, call, expected) \
	__extension__({ \
		int64_t timed_start_ = team_now_ms(), timed_took_; \
		TEAM_EXPECT(call, expected); \
		timed_took_ = team_now_ms() - timed_start_; \
		if (timed_took_ > (limit_ms)) \
			TEAM_FAIL("%s took %lld ms", #call, (long long)timed_took_); \
		timed_took_; \
	})

static void begin(const char *size)
{
	dir = team_directory();
	team_disarm();
	cache = team_open(dir, size, "WORKERS=16", "TENANTS=16", "TTL=1h", "MAX_ENTRIES=20000", "WRITE_WAIT_MS=300ms", NULL);
	tenant = team_tenant(cache, "stopped");
}

static void end(void)
{
	team_disarm();
	larder_tenant_close(tenant);
	larder_close(cache);
	team_remove(dir);
}

/* ---- a writer ---- */

struct victim {
	enum ld_fault_point point;
	void (*act)(void);
	int ends;                   /* it is killed in the end, not continued */
	int known;                  /* wait until it counts as stopped */
};

/* Waits until it is armed by name, so that nothing of its attaching is taken for the act. */
static void be_victim(void *arg)
{
	const struct victim *victim = arg;

	TEAM_EXPECT(larder_attach(cache), 0);
	team_arm(victim->point, LD_FAULT_STOP, getpid(), 1);
	victim->act();
}

static unsigned char large[LARGE];

static void set_small(void)
{
	TEAM_EXPECT(set_text("key", "second"), 0);
}

static void set_large(void)
{
	sample_fill(large, sizeof(large), 7, 2);
	TEAM_EXPECT(larder_set(tenant, "stop", "key", 3, large, sizeof(large), NULL, call_with), 0);
}

static void delete_key(void)
{
	TEAM_EXPECT(larder_delete(tenant, "stop", "key", 3, call_with), 0);
}

static int see_slot(void *ctx, const struct larder_slot *slot)
{
	pid_t pid = *(pid_t *)ctx;

	if (slot->pid == (int32_t)pid && slot->gate && strcmp(slot->state, "stopped") == 0)
		*(pid_t *)ctx = 0;
	return 0;
}

static void expect_named_as_holder(pid_t pid)
{
	larder_inspector *inspector = team_inspect(dir);
	struct larder_summary summary = { .size = sizeof(summary) };
	pid_t left = pid;

	TEAM_EXPECT(larder_inspect_summary(inspector, &summary), 0);
	TEAM_EXPECT(summary.gate_pid, pid);
	TEAM_EXPECT(larder_inspect_slots(inspector, see_slot, &left), 0);
	TEAM_EXPECT(left, 0);
	larder_inspect_close(inspector);
}

static int list_none(void *ctx, const struct larder_listed *entry)
{
	(void)ctx;
	(void)entry;
	return 0;
}

/* What needs no gate goes on as if nothing had happened. */
static void expect_readers_go_on(void)
{
	struct larder_item items[2] = { { .space = "stop", .name = "kept", .name_len = 4 }, { .space = "stop", .name = "none", .name_len = 4 } };
	struct larder_stats stats = { .size = sizeof(stats) };

	expect_text("kept", "kept");
	TIMED(AT_ONCE_MS, larder_exists(tenant, "stop", "kept", 4, NULL), 0);
	TIMED(AT_ONCE_MS, larder_mget(tenant, items, 2, NULL), 0);
	TEAM_EXPECT(items[0].result, 0);
	TEAM_EXPECT(items[1].result, LARDER_MISS);
	larder_value_free(&items[0].value);
	TIMED(AT_ONCE_MS, larder_list(tenant, NULL, list_none, NULL, NULL), 0);
	TIMED(AT_ONCE_MS, larder_get_stats(cache, &stats), 0);
}

/* What needs it returns within its budget; once the holder is known to be stopped, at once. */
static void expect_writers_give_up(int known)
{
	struct larder_item item = { .space = "stop", .name = "many", .name_len = 4 };
	int64_t start = team_now_ms(), limit_ms = known ? AT_ONCE_MS : BUDGET_MS + SLACK_MS;
	larder_tenant *beside;
	char found[64];

	call_with = &stopped_call;
	TIMED(BUDGET_MS + SLACK_MS, set_text("key", "third"), LARDER_UNAVAILABLE);
	TEAM_EXPECT(larder_reason(), LARDER_REASON_WRITE_GATE);
	TIMED(AT_ONCE_MS, get_text("key", found), LARDER_MISS);
	TIMED(BUDGET_MS + SLACK_MS, larder_delete(tenant, "stop", "gone", 4, call_with), LARDER_E_BUSY);
	if (known)
		TEAM_POLL(TEAM_DEADLINE_MS, team_now_ms() - start > KNOWN_MS);
	TIMED(AT_ONCE_MS, get_text("gone", found), LARDER_MISS);
	TIMED(limit_ms, larder_delete_many(tenant, &item, 1, call_with), LARDER_E_BUSY);
	TEAM_EXPECT(item.result, LARDER_E_BUSY);
	TIMED(AT_ONCE_MS, get_text("many", found), LARDER_MISS);
	TIMED(limit_ms, larder_add(tenant, "stop", "new", 3, "x", 1, NULL, call_with), LARDER_E_BUSY);
	TIMED(limit_ms, larder_touch(tenant, "stop", "kept", 4, 1000, 0, call_with), LARDER_UNAVAILABLE);
	TEAM_EXPECT(larder_reason(), LARDER_REASON_WRITE_GATE);
	expect_text("cleared", "cleared");
	/* It hides at least the space; of another tenant, for the table of spaces is out of reach and the whole tenant goes. */
	beside = team_tenant(cache, "beside");
	TIMED(limit_ms, larder_clear_space(beside, "other", call_with), LARDER_E_BUSY);
	TIMED(AT_ONCE_MS, larder_exists(beside, "other", "x", 1, NULL), LARDER_MISS);
	larder_tenant_close(beside);
	expect_text("kept", "kept");
	call_with = NULL;
}

/* A new process can still come in and read. */
static void come_late(void *arg)
{
	(void)arg;
	TIMED(3 * WAIT_MS + SLACK_MS, larder_attach(cache), 0);
	expect_readers_go_on();
}

static void expect_healed(void)
{
	larder_tenant *beside;
	char found[64];

	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, set_text("healed", "yes") == 0));
	expect_text("healed", "yes");
	TEAM_EXPECT(get_text("gone", found), LARDER_MISS);
	TEAM_EXPECT(get_text("many", found), LARDER_MISS);
	beside = team_tenant(cache, "beside");
	TEAM_EXPECT(larder_exists(beside, "other", "x", 1, NULL), LARDER_MISS);
	larder_tenant_close(beside);
	TEAM_EXPECT(set_text("key", "fourth"), 0);
	expect_text("key", "fourth");
	expect_text("kept", "kept");
}

/* Values from before. */
static void prepare_values(void)
{
	static const char *const names[] = { "key", "kept", "gone", "many", "cleared" };
	larder_tenant *beside;

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		TEAM_EXPECT(set_text(names[i], i == 0 ? "first" : names[i]), 0);
	beside = team_tenant(cache, "beside");
	TEAM_EXPECT(larder_set(beside, "other", "x", 1, "x", 1, NULL, NULL), 0);
	larder_tenant_close(beside);
	/* The first read of this process takes its place in the reader table. */
	expect_text("kept", "kept");
}

static void stop_writer(const struct victim *victim)
{
	pid_t pid;

	prepare_values();
	pid = team_start(be_victim, (void *)(uintptr_t)victim);
	team_await_stop(pid);
	expect_named_as_holder(pid);
	expect_readers_go_on();
	expect_writers_give_up(victim->known);
	team_run(come_late, NULL);
	if (victim->ends) {
		team_kill(pid);
	} else {
		team_continue(pid);
		team_join(pid);
	}
	expect_healed();
}

static void test_stopped_writer(void **state)
{
	static const struct victim victims[] = {
		{ LD_FAULT_gate_taken, set_small, 0, 1 },
		{ LD_FAULT_gate_taken, delete_key, 1, 0 },
		{ LD_FAULT_txn_begin, set_small, 1, 0 },
		{ LD_FAULT_set_old_removed, set_small, 0, 0 },
		{ LD_FAULT_set_row_put, set_small, 0, 0 },
		{ LD_FAULT_set_row_put, set_large, 1, 0 },
		{ LD_FAULT_set_chunks_put, set_large, 0, 0 },
		{ LD_FAULT_delete_removed, delete_key, 0, 0 },
		{ LD_FAULT_txn_commit, set_large, 0, 1 },
		{ LD_FAULT_txn_commit, delete_key, 1, 0 },
		{ LD_FAULT_txn_committed, set_small, 0, 0 },
		{ LD_FAULT_txn_committed, set_small, 1, 0 },
		{ LD_FAULT_gate_leaving, delete_key, 0, 0 },
		{ LD_FAULT_gate_leaving, set_large, 1, 0 },
	};

	(void)state;
	begin("SIZE=16M");
	for (unsigned i = 0; i < sizeof(victims) / sizeof(*victims); i++) {
		print_message("# %s, %s\n", ld_fault_name(victims[i].point), victims[i].ends ? "killed" : "continued");
		stop_writer(&victims[i]);
	}
	end();
}

/* Killed inside the gate; the next writer is stopped while LMDB recovers, and holds the read gate too. */
static void be_killed(void *arg)
{
	(void)arg;
	TEAM_EXPECT(larder_attach(cache), 0);
	team_arm(LD_FAULT_set_row_put, LD_FAULT_KILL, getpid(), 1);
	set_small();
}

/* 0 if it was not stopped. */
static pid_t start_recovering(const struct victim *victim)
{
	pid_t pid;

	TEAM_EXPECT(team_end(team_start(be_killed, NULL)), 256 + SIGKILL);
	pid = team_start(be_victim, (void *)(uintptr_t)victim);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, team_is_stopped(pid) || team_has_ended(pid)));
	if (team_is_stopped(pid))
		return pid;
	team_join(pid);
	return 0;
}

static void come_while_recovering(void *arg)
{
	char found[64];

	(void)arg;
	TIMED(3 * WAIT_MS + SLACK_MS, get_text("kept", found), LARDER_UNAVAILABLE);
	TEAM_CHECK(larder_reason() == LARDER_REASON_ATTACH || larder_reason() == LARDER_REASON_READ_GATE);
}

static void test_stopped_while_recovering(void **state)
{
	static const struct victim victim = { LD_FAULT_gate_recovering, set_small, 0, 0 };
	pid_t pid;

	(void)state;
	begin("SIZE=16M");
	prepare_values();
	/* Somebody's background work may recover first. */
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, (pid = start_recovering(&victim)) != 0));
	expect_readers_go_on();
	expect_writers_give_up(0);
	team_run(come_while_recovering, NULL);
	team_continue(pid);
	team_join(pid);
	expect_healed();
	end();
}

/* ---- a reader ---- */

enum { PINNED = 256 << 10, KEYS = 12, ROUNDS = 4000 };

static void read_large(void *arg)
{
	struct larder_value value = { 0 };
	uint64_t version;

	(void)arg;
	TEAM_EXPECT(larder_attach(cache), 0);
	team_arm(LD_FAULT_get_mid_copy, LD_FAULT_STOP, getpid(), 1);
	TEAM_EXPECT(larder_get(tenant, "stop", "large", 5, NULL, &value), 0);
	TEAM_CHECK(sample_wrong(value.data, value.len, 7, &version) == NULL && version == 1);
	larder_value_free(&value);
}

static int set_some(unsigned round)
{
	char name[16];
	size_t len = (size_t)snprintf(name, sizeof(name), "some-%u", round % KEYS);

	sample_fill(large, PINNED, round % KEYS, round);
	return larder_set(tenant, "stop", name, len, large, PINNED, NULL, NULL);
}

static int see_reader(void *ctx, const struct larder_reader *reader)
{
	if (reader->pid == *(pid_t *)ctx && reader->active && reader->pinning && reader->lag > 0)
		*(pid_t *)ctx = 0;
	return 0;
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* Refused ones are quick; the middle of many, so that a busy machine does not matter. */
static void expect_refused_at_once(void)
{
	int64_t took[41];

	for (unsigned i = 0; i < 41; i++) {
		int64_t start = team_now_us();

		TEAM_EXPECT(set_some(i), LARDER_UNAVAILABLE);
		TEAM_EXPECT(larder_reason(), LARDER_REASON_PINNED);
		took[i] = team_now_us() - start;
	}
	qsort(took, 41, sizeof(*took), by_size);
	if (took[20] > 8000)
		TEAM_FAIL("a refused set took %lld us", (long long)took[20]);
	print_message("# a refused set takes %lld us\n", (long long)took[20]);
}

static void expect_pins(pid_t pid)
{
	larder_inspector *inspector = team_inspect(dir);
	struct larder_summary summary = { .size = sizeof(summary) };
	pid_t left = pid;

	TEAM_EXPECT(larder_inspect_readers(inspector, see_reader, &left), 0);
	TEAM_EXPECT(left, 0);
	TEAM_EXPECT(larder_inspect_summary(inspector, &summary), 0);
	TEAM_CHECK(summary.pinned_bytes > 1 << 20);
	larder_inspect_close(inspector);
}

static void fill_while_stopped(pid_t pid)
{
	struct larder_stats before = { .size = sizeof(before) }, after = { .size = sizeof(after) };
	unsigned stored = 0, refused_in_a_row = 0;

	TEAM_EXPECT(larder_get_stats(cache, &before), 0);
	for (unsigned round = 0; round < ROUNDS && refused_in_a_row < 20; round++) {
		int rc = set_some(round);

		TEAM_CHECK(rc == 0 || rc == LARDER_UNAVAILABLE);
		stored += rc == 0;
		refused_in_a_row = rc == 0 ? 0 : refused_in_a_row + 1;
	}
	print_message("# %u sets until the map was full\n", stored);
	TEAM_CHECK(stored > 10 && refused_in_a_row == 20);
	expect_refused_at_once();
	TEAM_EXPECT(larder_get_stats(cache, &after), 0);
	TEAM_CHECK(after.sets_dropped >= before.sets_dropped + 61);
	expect_pins(pid);
}

/* Full size again: what is stored is there, round after round. */
static void expect_room_again(void)
{
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, set_some(0) == 0));
	for (unsigned round = 0; round < 10 * KEYS; round++)
		TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, set_some(round) == 0));
	for (unsigned round = 0; round < 10 * KEYS; round++)
		TEAM_EXPECT(set_some(round), 0);
}

static void stop_reader(int ends)
{
	pid_t pid;

	begin("SIZE=8M");
	sample_fill(large, sizeof(large), 7, 1);
	TEAM_EXPECT(larder_set(tenant, "stop", "large", 5, large, sizeof(large), NULL, NULL), 0);
	pid = team_start(read_large, NULL);
	team_await_stop(pid);
	fill_while_stopped(pid);
	if (ends) {
		team_kill(pid);
	} else {
		team_continue(pid);
		team_join(pid);
	}
	expect_room_again();
	end();
}

static void test_stopped_reader_goes_on(void **state)
{
	(void)state;
	stop_reader(0);
}

static void test_stopped_reader_is_killed(void **state)
{
	(void)state;
	stop_reader(1);
}

/* ---- attaching ---- */

static void attach_and_stop(void *arg)
{
	team_arm((enum ld_fault_point)(uintptr_t)arg, LD_FAULT_STOP, getpid(), 1);
	TEAM_EXPECT(larder_attach(cache), 0);
}

/* Others: those who are attached go on; a new one degrades within its time. */
static void come_degraded(void *arg)
{
	char found[64];

	(void)arg;
	tenant = tenant ? tenant : team_tenant(cache, "stopped");
	TIMED(3 * WAIT_MS + SLACK_MS, get_text("kept", found), LARDER_UNAVAILABLE);
	TIMED(3 * WAIT_MS + SLACK_MS, set_text("kept", "newer"), LARDER_UNAVAILABLE);
	TIMED(3 * WAIT_MS + SLACK_MS, get_text("kept", found), LARDER_UNAVAILABLE);
}

static void come_healed(void *arg)
{
	char found[64];

	(void)arg;
	tenant = tenant ? tenant : team_tenant(cache, "stopped");
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, set_text("late", "late") == 0));
	/* What was set while it could not attach hides what was older. */
	TEAM_EXPECT(get_text("kept", found), LARDER_MISS);
	expect_text("late", "late");
}

static void stop_attaching(enum ld_fault_point point, int ends)
{
	pid_t pid;

	print_message("# %s, %s\n", ld_fault_name(point), ends ? "killed" : "continued");
	begin("SIZE=16M");
	prepare_values();
	pid = team_start(attach_and_stop, (void *)(uintptr_t)point);
	team_await_stop(pid);
	expect_readers_go_on();
	TIMED(WAIT_MS + SLACK_MS, set_text("key", "third"), 0);
	team_run(come_degraded, NULL);
	if (ends)
		team_kill(pid);
	else
		team_continue(pid);
	team_run(come_healed, NULL);
	if (!ends)
		team_join(pid);
	end();
}

static void test_stopped_while_it_opens(void **state)
{
	(void)state;
	stop_attaching(LD_FAULT_store_opening, 0);
	stop_attaching(LD_FAULT_store_opening, 1);
}

static void test_stopped_in_its_first_read(void **state)
{
	(void)state;
	stop_attaching(LD_FAULT_first_read, 0);
	stop_attaching(LD_FAULT_first_read, 1);
}

/* The only keeper of the host, so that it is the one who checks. */
static void wait_for_check(void *arg)
{
	(void)arg;
	TEAM_EXPECT(larder_attach(cache), 0);
	/* Not before: stopped on its own way in it would find, when it goes on, that its time is over. */
	team_arm(LD_FAULT_reader_check, LD_FAULT_STOP, getpid(), 1);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&team_plan()->acted) > 0));
}

/* A dead slot makes it look at once. */
static void leave_dead_slot(void *arg)
{
	(void)arg;
	(void)!larder_attach(cache);
	(void)kill(getpid(), SIGKILL);
}

static void prepare_in_child(void *arg)
{
	(void)arg;
	tenant = team_tenant(cache, "stopped");
	prepare_values();
}

static void stop_reader_check(int ends)
{
	pid_t pid;

	print_message("# reader_check, %s\n", ends ? "killed" : "continued");
	dir = team_directory();
	team_disarm();
	cache = team_open(dir, "SIZE=16M", "WORKERS=16", "TENANTS=16", "TTL=1h", "WRITE_WAIT_MS=300ms", NULL);
	tenant = NULL;
	team_run(prepare_in_child, NULL);
	pid = team_start(wait_for_check, NULL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, (team_end(team_start(leave_dead_slot, NULL)), team_is_stopped(pid))));
	team_run(come_degraded, NULL);
	if (ends)
		team_kill(pid);
	else
		team_continue(pid);
	team_run(come_healed, NULL);
	if (!ends)
		team_join(pid);
	end();
}

static void test_stopped_in_the_reader_check(void **state)
{
	(void)state;
	stop_reader_check(0);
	stop_reader_check(1);
}

/* ---- making ---- */

static larder *open_here(int64_t *ret_took_ms)
{
	int64_t start = team_now_ms();
	larder *opened = team_open(dir, "SIZE=16M", "WORKERS=16", "TENANTS=16", "WRITE_WAIT_MS=300ms", NULL);

	*ret_took_ms = team_now_ms() - start;
	return opened;
}

static void make_and_stop(void *arg)
{
	int64_t took;

	team_arm((enum ld_fault_point)(uintptr_t)arg, LD_FAULT_STOP, getpid(), 1);
	larder_close(open_here(&took));
}

static void stop_maker(enum ld_fault_point point, int ends)
{
	int64_t took;
	char found[64];
	pid_t pid;

	print_message("# %s, %s\n", ld_fault_name(point), ends ? "killed" : "continued");
	dir = team_directory();
	team_disarm();
	pid = team_start(make_and_stop, (void *)(uintptr_t)point);
	team_await_stop(pid);
	cache = open_here(&took);
	TEAM_CHECK(took < 1000 + SLACK_MS);
	tenant = team_tenant(cache, "stopped");
	TIMED(WAIT_MS + SLACK_MS, get_text("kept", found), LARDER_UNAVAILABLE);
	TEAM_EXPECT(larder_reason(), LARDER_REASON_ATTACH);
	TIMED(WAIT_MS + SLACK_MS, set_text("kept", "kept"), LARDER_UNAVAILABLE);
	if (ends)
		team_kill(pid);
	else
		team_continue(pid);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, set_text("kept", "kept") == 0));
	expect_text("kept", "kept");
	if (!ends)
		team_join(pid);
	end();
}

static void test_stopped_maker(void **state)
{
	(void)state;
	stop_maker(LD_FAULT_seg_before_rename, 0);
	stop_maker(LD_FAULT_seg_before_rename, 1);
	stop_maker(LD_FAULT_store_made_files, 1);
	stop_maker(LD_FAULT_store_made, 0);
}

/* ---- the evictor ---- */

static void keep(void *arg)
{
	_Atomic int *go = arg;

	TEAM_EXPECT(larder_attach(cache), 0);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(go) != 0));
}

static int64_t evictor(larder_inspector *inspector)
{
	struct larder_summary summary = { .size = sizeof(summary) };

	TEAM_EXPECT(larder_inspect_summary(inspector, &summary), 0);
	return summary.evictor_pid;
}

/* Two seconds, and a look's own time on a busy machine. */
static void expect_successor(larder_inspector *inspector, pid_t was, const pid_t *pids)
{
	int64_t start = team_now_ms(), now = 0;

	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, (now = evictor(inspector)) != was && now != 0));
	print_message("# a successor after %lld ms\n", (long long)(team_now_ms() - start));
	TEAM_CHECK(team_now_ms() - start <= 2000 + 500);
	TEAM_CHECK(now == pids[0] || now == pids[1] || now == pids[2]);
}

static void test_elected_evictor_is_replaced(void **state)
{
	_Atomic int *go = team_share(sizeof(*go));
	larder_inspector *inspector;
	pid_t pids[3], was;

	(void)state;
	dir = team_directory();
	team_disarm();
	cache = team_open(dir, "SIZE=16M", "WORKERS=16", "TENANTS=16", "WRITE_WAIT_MS=10s", NULL);
	for (int i = 0; i < 3; i++)
		pids[i] = team_start(keep, (void *)go);
	larder_close(cache);
	inspector = team_inspect(dir);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, (was = (pid_t)evictor(inspector)) != 0));
	kill(was, SIGSTOP);
	team_await_stop(was);
	expect_successor(inspector, was, pids);
	/* It steps down when it goes on. */
	was = (pid_t)evictor(inspector);
	for (int i = 0; i < 3; i++)
		team_continue(pids[i]);
	TEAM_EXPECT(evictor(inspector), was);
	kill(was, SIGKILL);
	expect_successor(inspector, was, pids);
	atomic_store(go, 1);
	for (int i = 0; i < 3; i++)
		TEAM_EXPECT(team_end(pids[i]), pids[i] == was ? 256 + SIGKILL : 0);
	larder_inspect_close(inspector);
	team_unshare((void *)go, sizeof(*go));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stopped_writer),
		cmocka_unit_test(test_stopped_while_recovering),
		cmocka_unit_test(test_stopped_reader_goes_on),
		cmocka_unit_test(test_stopped_reader_is_killed),
		cmocka_unit_test(test_stopped_while_it_opens),
		cmocka_unit_test(test_stopped_in_its_first_read),
		cmocka_unit_test(test_stopped_in_the_reader_check),
		cmocka_unit_test(test_stopped_maker),
		cmocka_unit_test(test_elected_evictor_is_replaced),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests_name("stop", tests, NULL, NULL);
}
