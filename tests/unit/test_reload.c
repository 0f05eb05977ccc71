/* SPDX-License-Identifier: MIT */
/*
 * LARDER_SPACES_FILE changes while the cache is open: who sees it and when, what is refused and how it is told, and that neither a reader nor
 * memory suffers, however often it changes. Where no time is to be measured the test says itself that half a second has passed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>

#include "cache.h"
#include "child.h"
#include "cache/handle.h"

enum { HOUR_MS = 3600000, READERS = 4, RELOADS_READ = 400, RELOADS_LONG = 10000, TWIN_READS = 300000, SPACES_MORE = LD_KEYSPACES + 20 };

static char file[256];

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
}

/* The policy of the box's space: so many hours, and ten times as long stale. */
static void write_hours(const char *path, unsigned hours)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "{\"spaces\":{\"" BOX_SPACE "\":{\"ttl\":\"%uh\",\"stale\":\"%uh\"}}}", hours, 10 * hours);
	write_text(path, text);
}

static void rename_hours(unsigned hours)
{
	char other[300];

	(void)snprintf(other, sizeof(other), "%s.new", file);
	write_hours(other, hours);
	assert_int_equal(rename(other, file), 0);
}

static void open_with(struct box *box, const char *first)
{
	char row[300];

	(void)box_path(box, "spaces.json", file);
	write_text(file, first);
	(void)snprintf(row, sizeof(row), "SPACES_FILE=%s", file);
	box_open(box, (const char *const[]){ row, "LOG_LEVEL=info", NULL });
}

static void open_hours(struct box *box, unsigned hours)
{
	char row[300];

	(void)box_path(box, "spaces.json", file);
	write_hours(file, hours);
	(void)snprintf(row, sizeof(row), "SPACES_FILE=%s", file);
	box_open(box, (const char *const[]){ row, "LOG_LEVEL=info", "WRITE_WAIT_MS=10s", NULL });
}

/* The hours of what is stored now: 0 when they are torn, or nothing can be stored. */
static unsigned hours_of(larder_tenant *tenant, const char *space)
{
	struct larder_value value = { 0 };
	int64_t fresh, left;

	if (larder_set(tenant, space, "n", 1, "v", 1, NULL, NULL) != 0 || larder_get(tenant, space, "n", 1, NULL, &value) != 0)
		return 0;
	larder_value_free(&value);
	if (larder_get(tenant, space, "n", 1, NULL, &value) != 0)
		return 0;
	fresh = (value.fresh_ms + HOUR_MS / 2) / HOUR_MS;
	left = (value.left_ms + HOUR_MS / 2) / HOUR_MS;
	larder_value_free(&value);
	return left == 11 * fresh ? (unsigned)fresh : 0;
}

static unsigned hours(struct box *box)
{
	return hours_of(box->tenant, BOX_SPACE);
}

static void time_to_look(larder *cache)
{
	atomic_store(&cache->policies.look_ms, 0);
}

static unsigned hours_at_once(struct box *box)
{
	time_to_look(box->cache);
	return hours(box);
}

static unsigned said(struct box *box, const char *text)
{
	unsigned times = 0;

	for (const char *at = box->lines; (at = strstr(at, text)) != NULL; at++)
		times++;
	return times;
}

static int see_counter(void *ctx, const char *name, const char *text, uint64_t count)
{
	(void)text;
	if (strcmp(name, "spaces_reloads") == 0)
		((uint64_t *)ctx)[0] = count;
	if (strcmp(name, "spaces_refused") == 0)
		((uint64_t *)ctx)[1] = count;
	return 0;
}

static void expect_counted(struct box *box, unsigned reloads, unsigned refused)
{
	uint64_t counts[2] = { 99, 99 };

	if (!box->inspector)
		box_inspect(box);
	assert_int_equal(larder_inspect_counters(box->inspector, see_counter, counts), 0);
	assert_int_equal(counts[0], reloads);
	assert_int_equal(counts[1], refused);
}

/* ---- who sees it ---- */

static void test_within_a_second(void **state)
{
	struct box *box = *state;
	int64_t began_ms;

	open_hours(box, 2);
	assert_int_equal(hours(box), 2);
	write_hours(file, 3);
	began_ms = child_now_ms();
	assert_true(CHILD_POLL(hours(box) == 3));
	assert_in_range(child_now_ms() - began_ms, 0, 1000);
	rename_hours(4);
	began_ms = child_now_ms();
	assert_true(CHILD_POLL(hours(box) == 4));
	assert_in_range(child_now_ms() - began_ms, 0, 1000);
	assert_int_equal(said(box, "event=spaces_reloaded"), 2);
	assert_int_equal(said(box, file), 2);
	expect_counted(box, 2, 0);
}

struct board {
	struct box *box;
	_Atomic uint32_t ready;
	_Atomic int64_t changed_ms;
};

static void see_five(void *arg)
{
	struct board *board = arg;
	larder_tenant *own = NULL;

	CHILD_CHECK(hours(board->box) == 2);
	atomic_fetch_add(&board->ready, 1);
	CHILD_CHECK(CHILD_POLL(atomic_load(&board->changed_ms) != 0));
	CHILD_CHECK(CHILD_POLL(hours(board->box) == 5));
	CHILD_CHECK(child_now_ms() - atomic_load(&board->changed_ms) <= 1000);
	CHILD_CHECK(larder_tenant_open(board->box->cache, "other", &own) == 0 && hours_of(own, BOX_SPACE) == 5);
}

static void test_every_worker(void **state)
{
	struct board *board = child_share(sizeof(*board));
	pid_t pids[3];

	assert_non_null(board);
	board->box = *state;
	open_hours(board->box, 2);
	for (int i = 0; i < 3; i++)
		pids[i] = child_start(see_five, board);
	assert_true(CHILD_POLL(atomic_load(&board->ready) == 3));
	rename_hours(5);
	atomic_store(&board->changed_ms, child_now_ms());
	for (int i = 0; i < 3; i++)
		assert_int_equal(child_end(pids[i]), 0);
	(void)munmap(board, sizeof(*board));
}

/* A daemon that goes to another directory has its file all the same. */
static void test_relative_path(void **state)
{
	struct box *box = *state;
	char here[4096];

	assert_non_null(getcwd(here, sizeof(here)));
	(void)box_path(box, "spaces.json", file);
	write_hours(file, 2);
	assert_int_equal(chdir(box->dir), 0);
	box_open(box, (const char *const[]){ "SPACES_FILE=spaces.json", NULL });
	assert_int_equal(chdir("/"), 0);
	write_hours(file, 3);
	assert_int_equal(hours_at_once(box), 3);
	assert_int_equal(chdir(here), 0);
}

static void test_without_a_file(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	time_to_look(box->cache);
	assert_false(ld_policies_due(&box->cache->policies));
	assert_int_equal(box_set(box, "n", "v"), 0);
	assert_int_equal(ld_policies_version(&box->cache->policies), 0);
}

/* More key spaces than are remembered: those that are not have the new policy too. */
static void test_key_spaces_without_a_row(void **state)
{
	struct box *box = *state;
	char space[16];

	open_with(box, "{\"spaces\":{\"last\":{\"ttl\":\"2h\",\"stale\":\"20h\"}}}");
	for (unsigned i = 0; i < SPACES_MORE; i++) {
		(void)snprintf(space, sizeof(space), "s%u", i);
		assert_int_equal(larder_exists(box->tenant, space, "n", 1, NULL), LARDER_MISS);
	}
	assert_int_equal(hours_of(box->tenant, "last"), 2);
	write_text(file, "{\"spaces\":{\"last\":{\"ttl\":\"3h\",\"stale\":\"30h\"}}}");
	time_to_look(box->cache);
	assert_int_equal(hours_of(box->tenant, "last"), 3);
}

/* ---- what a tenant has ---- */

static int see_quota(void *ctx, const struct larder_tenant_info *tenant)
{
	if (strcmp(tenant->tenant, "acme") == 0)
		*(uint64_t *)ctx = tenant->quota_bytes;
	return 0;
}

static uint64_t quota_of_acme(struct box *box)
{
	uint64_t quota = 99;

	if (!box->inspector)
		box_inspect(box);
	assert_int_equal(larder_inspect_tenants(box->inspector, see_quota, &quota), 0);
	return quota;
}

static void test_quota_and_limits(void **state)
{
	struct box *box = *state;
	int64_t retry_ms = 0;

	open_with(box, "{\"tenants\":{\"acme\":{\"quota\":\"1M\"}}}");
	assert_int_equal(box_set(box, "n", "v"), 0);
	assert_int_equal(quota_of_acme(box), 1 << 20);
	for (int i = 0; i < 100; i++)
		assert_int_equal(larder_limit_take(box->tenant, NULL, 1, NULL, &retry_ms), 0);
	write_text(file, "{\"tenants\":{\"acme\":{\"quota\":\"2M\",\"rate\":\"1/h\",\"burst\":3}}}");
	time_to_look(box->cache);
	for (int i = 0; i < 3; i++)
		assert_int_equal(larder_limit_take(box->tenant, NULL, 1, NULL, &retry_ms), 0);
	assert_int_equal(larder_limit_take(box->tenant, NULL, 1, NULL, &retry_ms), LARDER_E_LIMIT);
	assert_int_equal(box_set(box, "n", "v"), 0);
	assert_int_equal(quota_of_acme(box), 2 << 20);
	write_text(file, "{}");
	time_to_look(box->cache);
	assert_int_equal(larder_limit_take(box->tenant, NULL, 1, NULL, &retry_ms), 0);
	assert_true(box_gives(box, "n", 0, "v"));
	assert_int_equal(quota_of_acme(box), 0);
}

/* ---- what is refused ---- */

static void test_a_bad_file_is_told_once(void **state)
{
	struct box *box = *state;

	open_hours(box, 2);
	write_text(file, "{\"spaces\":{\"" BOX_SPACE "\":{\"ttl\":\"0\",\"colour\":1}}}");
	for (int i = 0; i < 10; i++)
		assert_int_equal(hours_at_once(box), 2);
	assert_int_equal(said(box, "level=warn event=spaces_refused"), 1);
	assert_int_equal(said(box, BOX_SPACE ".ttl: 0"), 1);
	assert_int_equal(said(box, "colour"), 1);
	expect_counted(box, 0, 1);
	/* Another change, the same faults: it is another event. */
	write_text(file, "{\"spaces\":{\"" BOX_SPACE "\":{\"ttl\":\"0\",\"colour\":2}}}");
	for (int i = 0; i < 10; i++)
		assert_int_equal(hours_at_once(box), 2);
	expect_counted(box, 0, 2);
	write_hours(file, 3);
	assert_int_equal(hours_at_once(box), 3);
	expect_counted(box, 1, 2);
	assert_int_equal(said(box, "event=spaces_refused"), 2);
}

/* A hundred faults are in as many lines as they need, each of them whole. */
static void test_all_faults_are_told(void **state)
{
	struct box *box = *state;
	char text[8192] = "{\"spaces\":{", name[32];
	size_t len = strlen(text);

	open_hours(box, 2);
	for (unsigned i = 0; i < 90; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s\"fault-%u-\":{\"ttl\":true}", i ? "," : "", i);
	(void)snprintf(text + len, sizeof(text) - len, "}}");
	write_text(file, text);
	assert_int_equal(hours_at_once(box), 2);
	assert_in_range(said(box, "event=spaces_refused"), 5, 30);
	for (unsigned i = 0; i < 90; i++) {
		(void)snprintf(name, sizeof(name), "fault-%u-", i);
		assert_int_equal(said(box, name), 1);
	}
	expect_counted(box, 0, 1);
}

static void test_a_removed_file_changes_nothing(void **state)
{
	struct box *box = *state;

	open_hours(box, 2);
	assert_int_equal(unlink(file), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(hours_at_once(box), 2);
	assert_int_equal(said(box, "level=info event=spaces_unseen"), 1);
	assert_int_equal(mkdir(file, 0700), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(hours_at_once(box), 2);
	assert_int_equal(said(box, "not a regular file"), 1);
	assert_int_equal(rmdir(file), 0);
	write_hours(file, 3);
	assert_int_equal(hours_at_once(box), 3);
	expect_counted(box, 1, 1);
}

static void test_touched_is_not_changed(void **state)
{
	struct box *box = *state;

	open_hours(box, 2);
	for (int i = 0; i < 5; i++) {
		write_hours(file, 2);
		assert_int_equal(hours_at_once(box), 2);
	}
	expect_counted(box, 0, 0);
}

/* ---- a file that is being written ---- */

/* The mark of the file is made to be that of what was read, as it is when both happen within one grain of the times. */
static void same_grain(struct box *box)
{
	struct stat st;
	struct ld_file_mark *mark = &box->cache->policies.mark;

	assert_int_equal(stat(file, &st), 0);
	mark->size = (uint64_t)st.st_size;
	mark->modified_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	mark->changed_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
}

static void test_written_in_the_same_grain(void **state)
{
	struct box *box = *state;

#ifdef LARDER_FAULTS
	/* As seen from an hour ago every file is too new to be trusted. */
	box->plan->wall_shift_ms = -HOUR_MS;
#endif
	open_hours(box, 2);
	write_text(file, "{\"spaces\":");
	assert_int_equal(hours_at_once(box), 2);
#ifdef LARDER_FAULTS
	assert_in_range(box->cache->policies.unsettled, 2, 10);
#else
	/* On a busy machine the file may have been read too late to be doubted. */
	box->cache->policies.unsettled = 1;
#endif
	write_hours(file, 3);
	same_grain(box);
	assert_int_equal(hours_at_once(box), 3);
	expect_counted(box, 1, 1);
	/* Reading again comes to an end. */
	assert_true(CHILD_POLL((hours_at_once(box), box->cache->policies.unsettled == 0)));
	expect_counted(box, 1, 1);
}

/* Written bit by bit, with a look after each: what it settles on is the whole. */
static void test_written_bit_by_bit(void **state)
{
	struct box *box = *state;
	static const char whole[] = "{\"spaces\":{\"" BOX_SPACE "\":{\"ttl\":\"7h\",\"stale\":\"70h\"}}}";

	open_hours(box, 2);
	for (int round = 0; round < 20; round++) {
		int fd = open(file, O_WRONLY | O_TRUNC);

		assert_true(fd >= 0);
		for (size_t i = 0; i + 1 < sizeof(whole); i++) {
			assert_int_equal(write(fd, whole + i, 1), 1);
			if (i + 2 < sizeof(whole))
				assert_int_equal(hours_at_once(box), round == 0 ? 2 : 7);
		}
		assert_int_equal(close(fd), 0);
		assert_int_equal(hours_at_once(box), 7);
	}
}

/* ---- readers ---- */

static void test_a_reader_is_waited_for(void **state)
{
	struct box *box = *state;
	struct ld_policies *policies;
	const struct ld_spaces *pinned;
	const struct ld_policy fallback = { 0 };
	struct ld_policy policy;
	uint64_t version = 99;

	open_hours(box, 2);
	policies = &box->cache->policies;
	pinned = ld_policies_pin(policies, &version);
	assert_int_equal(version, 0);
	write_hours(file, 3);
	assert_int_equal(hours_at_once(box), 3);
	write_hours(file, 4);
	for (int i = 0; i < 5; i++)
		assert_int_equal(hours_at_once(box), 3);
	ld_spaces_policy(pinned, "acme", BOX_SPACE, &fallback, &policy);
	assert_int_equal(policy.ttl_ms, 2 * HOUR_MS);
	ld_policies_unpin(policies, version);
	assert_int_equal(hours_at_once(box), 4);
	expect_counted(box, 2, 0);
}

static void see_three_and_four(void *arg)
{
	struct box *box = arg;

	time_to_look(box->cache);
	CHILD_CHECK(hours(box) == 3);
	rename_hours(4);
	time_to_look(box->cache);
	CHILD_CHECK(hours(box) == 4);
}

/* What another thread of the parent had pinned or locked when it forked holds nobody up in the child. */
static void test_fork_while_reading(void **state)
{
	struct box *box = *state;
	struct ld_policies *policies;
	uint64_t version;

	open_hours(box, 2);
	assert_int_equal(hours(box), 2);
	policies = &box->cache->policies;
	(void)ld_policies_pin(policies, &version);
	assert_int_equal(ld_process_lock(&policies->lock, 0), 0);
	assert_int_equal(ld_process_lock(&box->tenant->rights.lock, 0), 0);
	assert_int_equal(ld_process_lock(&atomic_load(&box->tenant->seen[0])->policy.lock, 0), 0);
	write_hours(file, 3);
	assert_int_equal(child_run(see_three_and_four, box), 0);
	/* Here they are held. */
	assert_int_equal(hours_at_once(box), 2);
	ld_process_unlock(&policies->lock);
	assert_int_equal(hours_at_once(box), 2);
	assert_int_equal(ld_policies_version(policies), 1);
	ld_process_unlock(&box->tenant->rights.lock);
	ld_process_unlock(&atomic_load(&box->tenant->seen[0])->policy.lock);
	assert_int_equal(hours_at_once(box), 4);
	ld_policies_unpin(policies, version);
}

struct twins {
	struct ld_twin twin;
	_Atomic uint32_t stop;
};

static void *write_on(void *arg)
{
	struct twins *twins = arg;
	uint64_t words[LD_TWIN_WORDS];

	for (uint64_t n = 1; !atomic_load(&twins->stop); n++) {
		for (unsigned i = 0; i < LD_TWIN_WORDS; i++)
			words[i] = n;
		ld_twin_write(&twins->twin, n, words, sizeof(words));
	}
	return NULL;
}

static void test_a_twin_is_whole(void **state)
{
	struct twins twins = { .stop = 0 };
	uint64_t words[LD_TWIN_WORDS] = { 0 }, version = 0, before = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(ld_twin_read(&twins.twin, words, sizeof(words), &version), 0);
	assert_int_equal(pthread_create(&thread, NULL, write_on, &twins), 0);
	assert_true(CHILD_POLL(ld_twin_read(&twins.twin, words, sizeof(words), &version)));
	for (int reads = 0; reads < TWIN_READS || version < 1000; reads++) {
		assert_int_equal(ld_twin_read(&twins.twin, words, sizeof(words), &version), 1);
		assert_true(version >= before);
		before = version;
		for (unsigned i = 0; i < LD_TWIN_WORDS; i++)
			assert_int_equal(words[i], version);
	}
	atomic_store(&twins.stop, 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

struct reading {
	struct box *box;
	larder_tenant *own;
	_Atomic uint32_t stop, ready;
	_Atomic uint64_t torn, reads;
};

/* A tenant of all threads, and one of its own opened again and again. */
static void *read_on(void *arg)
{
	struct reading *reading = arg;
	unsigned before = 0;

	atomic_fetch_add(&reading->ready, 1);
	while (!atomic_load(&reading->stop)) {
		const struct ld_keyspace *keyspace;
		struct ld_keyspace room;
		larder_tenant *own = NULL;
		int64_t retry_ms;
		unsigned now;

		time_to_look(reading->box->cache);
		keyspace = ld_keyspace_of(reading->box->tenant, BOX_SPACE, &room);
		now = (unsigned)(keyspace->policy.ttl_ms / HOUR_MS);
		if (keyspace->policy.stale_ms != 10 * keyspace->policy.ttl_ms || now < before)
			atomic_fetch_add(&reading->torn, 1);
		before = now;
		if (larder_limit_take(reading->box->tenant, NULL, 1, NULL, &retry_ms) != 0 ||
		    larder_tenant_open(reading->box->cache, "acme", &own) != 0 || larder_exists(own, BOX_SPACE, "none", 4, NULL) != LARDER_MISS)
			atomic_fetch_add(&reading->torn, 1);
		larder_tenant_close(own);
		atomic_fetch_add(&reading->reads, 1);
	}
	return NULL;
}

/* Nobody sees a half of one file and a half of another, nor an older file after a newer one. */
static void test_threads_that_read(void **state)
{
	struct reading reading = { .box = *state };
	pthread_t threads[READERS];

	open_hours(reading.box, 1);
	for (int i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_on, &reading), 0);
	assert_true(CHILD_POLL(atomic_load(&reading.ready) == READERS));
	for (unsigned i = 2; i <= RELOADS_READ; i++) {
		rename_hours(i);
		assert_true(CHILD_POLL(hours_at_once(reading.box) != 0 && ld_policies_version(&reading.box->cache->policies) == i - 1));
	}
	atomic_store(&reading.stop, 1);
	for (int i = 0; i < READERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_true(atomic_load(&reading.reads) > READERS);
	assert_int_equal(atomic_load(&reading.torn), 0);
	assert_true(CHILD_POLL(hours_at_once(reading.box) == RELOADS_READ));
}

/* ---- memory ---- */

static void test_memory_is_bounded(void **state)
{
	struct box *box = *state;
	struct mallinfo2 before = { 0 };

	open_hours(box, 1);
	for (unsigned i = 2; i <= RELOADS_LONG; i++) {
		write_hours(file, i % 1000 + 1);
		time_to_look(box->cache);
		assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "n", 1, NULL), LARDER_MISS);
		assert_int_equal(ld_policies_version(&box->cache->policies), i - 1);
		box_forget_lines(box);
		if (i == 100)
			before = mallinfo2();
	}
	assert_int_equal(hours(box), RELOADS_LONG % 1000 + 1);
	assert_in_range(mallinfo2().uordblks + 65536 - before.uordblks, 0, 2 * 65536);
	assert_in_range(mallinfo2().arena + (1 << 20) - before.arena, 0, 2 << 20);
}

#ifdef LARDER_FAULTS
/* Without memory the old ones stay, and the file is read again when there is some. */
static void test_every_allocation_fails(void **state)
{
	struct box *box = *state;
	int64_t left = 0;
	unsigned n;
	int rc;

	open_hours(box, 2);
	assert_int_equal(hours(box), 2);
	for (n = 1; n < 100 && left == 0; n++) {
		write_hours(file, 100 + n);
		time_to_look(box->cache);
		box->plan->alloc_countdown = n;
		rc = larder_exists(box->tenant, BOX_SPACE, "n", 1, NULL);
		left = box->plan->alloc_countdown;
		box->plan->alloc_countdown = 0;
		assert_int_equal(rc, 0);
		if (left == 0)
			assert_in_range(hours(box), n == 1 ? 2 : 100 + n - 1, n == 1 ? 2 : 100 + n - 1);
		assert_int_equal(hours_at_once(box), 100 + n);
	}
	assert_in_range(n, 3, 50);
}
#endif

#define TEST(name) cmocka_unit_test_setup_teardown(name, box_begin, box_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_within_a_second),
		TEST(test_every_worker),
		TEST(test_relative_path),
		TEST(test_without_a_file),
		TEST(test_key_spaces_without_a_row),
		TEST(test_quota_and_limits),
		TEST(test_a_bad_file_is_told_once),
		TEST(test_all_faults_are_told),
		TEST(test_a_removed_file_changes_nothing),
		TEST(test_touched_is_not_changed),
		TEST(test_written_in_the_same_grain),
		TEST(test_written_bit_by_bit),
		TEST(test_a_reader_is_waited_for),
		TEST(test_fork_while_reading),
		cmocka_unit_test(test_a_twin_is_whole),
		TEST(test_threads_that_read),
		TEST(test_memory_is_bounded),
#ifdef LARDER_FAULTS
		TEST(test_every_allocation_fails),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
