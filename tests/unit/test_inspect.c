/* SPDX-License-Identifier: MIT */
/*
 * The inspector: walking with filters and values, restoring what a walk gave, figures, the check and its repair on damage that the test
 * makes, and background work.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "cache.h"
#include "child.h"

enum { MANY = 500 };

/* ---- walking ---- */

struct seen {
	unsigned count, stop_at;
	struct larder_entry last;
	char tenant[LARDER_TENANT_MAX + 1], space[LARDER_SPACE_MAX + 1], value[64];
	uint64_t done, total;
	unsigned slices;
};

static int see(void *ctx, const struct larder_entry *entry)
{
	struct seen *seen = ctx;

	seen->last = *entry;
	(void)snprintf(seen->tenant, sizeof(seen->tenant), "%s", entry->tenant);
	(void)snprintf(seen->space, sizeof(seen->space), "%s", entry->space);
	if (entry->value && entry->value_len < sizeof(seen->value))
		memcpy(seen->value, entry->value, entry->value_len);
	return ++seen->count == seen->stop_at ? 42 : 0;
}

static int see_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct seen *seen = ctx;

	seen->slices++;
	seen->done = done;
	seen->total = total;
	return 0;
}

static unsigned count_with(struct box *box, struct larder_filter filter)
{
	struct seen seen = { 0 };

	filter.size = sizeof(filter);
	assert_int_equal(larder_inspect_entries(box->inspector, &filter, see, NULL, &seen), 0);
	return seen.count;
}

static void set_for(struct box *box, const char *name, size_t len, int64_t ttl_ms, int64_t stale_ms)
{
	struct larder_store store = LARDER_STORE_INIT;
	static char data[20000];

	store.ttl_ms = ttl_ms;
	store.stale_ms = stale_ms;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, name, strlen(name), data, len, &store, NULL), 0);
}

static void test_filters(void **state)
{
	struct box *box = *state;
	larder_tenant *other;

	box_open(box, NULL);
	box_inspect(box);
	set_for(box, "small", 10, 600000, 0);
	set_for(box, "large", 20000, 600000, 0);
	set_for(box, "stale", 100, 1, 600000);
	set_for(box, "dead", 100, 1, 0);
	assert_int_equal(larder_set(box->tenant, "other", "a", 1, "x", 1, NULL, NULL), 0);
	assert_int_equal(larder_set(box->tenant, "cleared", "a", 1, "x", 1, NULL, NULL), 0);
	assert_int_equal(larder_clear_space(box->tenant, "cleared", NULL), 0);
	assert_int_equal(larder_tenant_open(box->cache, "second", &other), 0);
	assert_int_equal(larder_set_absent(other, BOX_SPACE, "a", 1, NULL, NULL), 0);
	larder_tenant_close(other);
	assert_true(CHILD_POLL(larder_exists(box->tenant, BOX_SPACE, "dead", 4, NULL) == LARDER_MISS &&
	    larder_exists(box->tenant, BOX_SPACE, "stale", 5, NULL) == LARDER_STALE));
	assert_int_equal(count_with(box, (struct larder_filter){ 0 }), 5);
	assert_int_equal(count_with(box, (struct larder_filter){ .states = LARDER_IS_ANY }), 7);
	assert_int_equal(count_with(box, (struct larder_filter){ .states = LARDER_IS_FRESH }), 4);
	assert_int_equal(count_with(box, (struct larder_filter){ .states = LARDER_IS_STALE }), 1);
	assert_int_equal(count_with(box, (struct larder_filter){ .states = LARDER_IS_EXPIRED }), 1);
	assert_int_equal(count_with(box, (struct larder_filter){ .states = LARDER_IS_CLEARED }), 1);
	assert_int_equal(count_with(box, (struct larder_filter){ .states = LARDER_IS_DAMAGED }), 0);
	assert_int_equal(count_with(box, (struct larder_filter){ .tenant = "acme" }), 4);
	assert_int_equal(count_with(box, (struct larder_filter){ .tenant = "second" }), 1);
	assert_int_equal(count_with(box, (struct larder_filter){ .tenant = "acm" }), 0);
	assert_int_equal(count_with(box, (struct larder_filter){ .space = "other" }), 1);
	assert_int_equal(count_with(box, (struct larder_filter){ .tenant = "acme", .space = BOX_SPACE }), 3);
	assert_int_equal(count_with(box, (struct larder_filter){ .value_min = 11 }), 2);
	assert_int_equal(count_with(box, (struct larder_filter){ .value_min = 20000 }), 1);
	assert_int_equal(count_with(box, (struct larder_filter){ .value_max = 10 }), 3);
	assert_int_equal(count_with(box, (struct larder_filter){ .age_min_ms = 3600000 }), 0);
	assert_int_equal(count_with(box, (struct larder_filter){ .age_max_ms = 3600000 }), 5);
}

static void test_wrong_filters(void **state)
{
	struct box *box = *state;
	struct larder_filter filter = { .size = sizeof(filter) - 1 };
	struct seen seen = { 0 };

	box_open(box, NULL);
	box_inspect(box);
	assert_int_equal(larder_inspect_entries(box->inspector, &filter, see, NULL, &seen), LARDER_E_USAGE);
	filter = (struct larder_filter){ .size = sizeof(filter), .states = 64 };
	assert_int_equal(larder_inspect_entries(box->inspector, &filter, see, NULL, &seen), LARDER_E_USAGE);
	filter = (struct larder_filter){ .size = sizeof(filter), .flags = 2 };
	assert_int_equal(larder_inspect_entries(box->inspector, &filter, see, NULL, &seen), LARDER_E_USAGE);
	filter = (struct larder_filter){ .size = sizeof(filter), .tenant = "Bad" };
	assert_int_equal(larder_inspect_entries(box->inspector, &filter, see, NULL, &seen), LARDER_E_TENANT);
	filter = (struct larder_filter){ .size = sizeof(filter), .space = "Bad" };
	assert_int_equal(larder_inspect_entries(box->inspector, &filter, see, NULL, &seen), LARDER_E_SPACE_NAME);
	assert_int_equal(larder_inspect_entries(box->inspector, NULL, NULL, NULL, &seen), LARDER_E_USAGE);
	assert_int_equal(larder_inspect_entries(NULL, NULL, see, NULL, &seen), LARDER_E_CLOSED);
	assert_int_equal(seen.count, 0);
}

static void test_a_walk_tells_progress_and_can_be_stopped(void **state)
{
	struct box *box = *state;
	struct seen seen = { 0 };

	box_open(box, NULL);
	box_inspect(box);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), "x", 1, NULL, NULL), 0);
	assert_int_equal(larder_inspect_entries(box->inspector, NULL, see, see_progress, &seen), 0);
	assert_true(seen.count == MANY && seen.done == MANY && seen.total == MANY && seen.slices >= MANY / 200);
	seen = (struct seen){ .stop_at = 250 };
	assert_int_equal(larder_inspect_entries(box->inspector, NULL, see, see_progress, &seen), 42);
	assert_int_equal(seen.count, 250);
}

/* ---- restoring ---- */

/* What a dump would keep of an entry. */
struct kept {
	struct larder_entry entry;
	char tenant[LARDER_TENANT_MAX + 1], space[LARDER_SPACE_MAX + 1];
	unsigned char *value;
};

struct dump {
	struct kept rows[8];
	unsigned count;
};

static int keep(void *ctx, const struct larder_entry *entry)
{
	struct dump *dump = ctx;
	struct kept *row = &dump->rows[dump->count++];

	row->entry = *entry;
	(void)snprintf(row->tenant, sizeof(row->tenant), "%s", entry->tenant);
	(void)snprintf(row->space, sizeof(row->space), "%s", entry->space);
	row->entry.tenant = row->tenant;
	row->entry.space = row->space;
	row->entry.name = NULL;
	row->value = malloc(entry->value_len + 1);
	if (entry->value)
		memcpy(row->value, entry->value, entry->value_len);
	row->entry.value = entry->value ? row->value : NULL;
	return dump->count == 8;
}

static void test_a_dump_can_be_restored(void **state)
{
	struct larder_filter filter = { .size = sizeof(filter), .flags = LARDER_INSPECT_VALUES };
	struct larder_store store = LARDER_STORE_INIT;
	struct box *box = *state;
	struct dump dump = { .count = 0 };
	struct larder_value value;
	char data[9000];

	memset(data, 'd', sizeof(data));
	box_open(box, NULL);
	box_inspect(box);
	store.ttl_ms = 600000;
	store.stale_ms = 300000;
	store.flags = 77;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, data, sizeof(data), &store, NULL), 0);
	assert_int_equal(larder_set(box->tenant, "other", "empty", 5, "", 0, NULL, NULL), 0);
	assert_int_equal(larder_set_absent(box->tenant, BOX_SPACE, "none", 4, NULL, NULL), 0);
	set_for(box, "stale", 5, 1, 600000);
	assert_true(CHILD_POLL(larder_exists(box->tenant, BOX_SPACE, "stale", 5, NULL) == LARDER_STALE));
	assert_int_equal(larder_inspect_entries(box->inspector, &filter, keep, NULL, &dump), 0);
	assert_int_equal(dump.count, 4);
	assert_int_equal(larder_clear_all(box->cache, NULL), 0);
	for (unsigned i = 0; i < dump.count; i++)
		assert_int_equal(larder_inspect_restore(box->inspector, &dump.rows[i].entry), 0);
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, &value), 0);
	assert_true(value.len == sizeof(data) && memcmp(value.data, data, sizeof(data)) == 0 && value.flags == 77);
	assert_in_range(value.fresh_ms, 590000, 600000);
	assert_in_range(value.left_ms, 890000, 900000);
	larder_value_free(&value);
	assert_int_equal(larder_exists(box->tenant, "other", "empty", 5, NULL), 0);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "none", 4, NULL), LARDER_ABSENT);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "stale", 5, NULL), LARDER_STALE);
	for (unsigned i = 0; i < dump.count; i++)
		free(dump.rows[i].value);
}

static void test_what_cannot_be_restored(void **state)
{
	struct larder_entry good = { .tenant = "acme", .space = "s", .value = "x", .value_len = 1, .fresh_ms = 1000, .left_ms = 1000 }, bad;
	struct box *box = *state;

	box_open(box, NULL);
	box_inspect(box);
	assert_int_equal(larder_inspect_restore(box->inspector, &good), 0);
	assert_int_equal(larder_inspect_restore(box->inspector, NULL), LARDER_E_USAGE);
	bad = good, bad.tenant = "Bad";
	assert_int_equal(larder_inspect_restore(box->inspector, &bad), LARDER_E_TENANT);
	bad = good, bad.tenant = NULL;
	assert_int_equal(larder_inspect_restore(box->inspector, &bad), LARDER_E_TENANT);
	bad = good, bad.space = NULL;
	assert_int_equal(larder_inspect_restore(box->inspector, &bad), LARDER_E_SPACE_NAME);
	bad = good, bad.value = NULL;
	assert_int_equal(larder_inspect_restore(box->inspector, &bad), LARDER_E_USAGE);
	bad = good, bad.name = "n", bad.name_len = LARDER_NAME_MAX + 1;
	assert_int_equal(larder_inspect_restore(box->inspector, &bad), LARDER_E_NAME);
	bad = good, bad.left_ms = 0;
	assert_int_equal(larder_inspect_restore(box->inspector, &bad), LARDER_MISS);
	bad = good, bad.hard_end_ms = 1;
	assert_int_equal(larder_inspect_restore(box->inspector, &bad), LARDER_MISS);
	bad = good, bad.fresh_ms = bad.left_ms = INT64_MAX;
	assert_int_equal(larder_inspect_restore(box->inspector, &bad), LARDER_E_TTL);
	bad = good, bad.value_len = SIZE_MAX;
	assert_int_equal(larder_inspect_restore(box->inspector, &bad), LARDER_E_TOO_LARGE);
}

/* ---- figures ---- */

static int find_hits(void *ctx, const char *name, const char *text, uint64_t value)
{
	if (strcmp(name, "hits") == 0)
		*(uint64_t *)ctx = value;
	return strlen(text) < 5;
}

static int see_slot(void *ctx, const struct larder_slot *slot)
{
	unsigned *mine = ctx;

	*mine += slot->pid == (int32_t)getpid() && strcmp(slot->state, "live") == 0 && strcmp(slot->role, "worker") == 0;
	return 0;
}

static int see_reader(void *ctx, const struct larder_reader *reader)
{
	unsigned *mine = ctx;

	*mine += reader->pid == (int32_t)getpid() && !reader->pinning;
	return 0;
}

static int see_tenant(void *ctx, const struct larder_tenant_info *info)
{
	struct larder_tenant_info *found = ctx;

	if (strcmp(info->tenant, "acme") == 0)
		*found = *info;
	return 0;
}

static void test_figures(void **state)
{
	struct larder_summary summary = { .size = sizeof(summary) };
	struct larder_tenant_info info = { 0 };
	struct box *box = *state;
	unsigned slots = 0, readers = 0;
	uint64_t hits = 0;

	box_open(box, NULL);
	box_inspect(box);
	set_for(box, "a", 9000, 600000, 0);
	assert_true(box_gives(box, "a", 0, NULL) && box_gives(box, "a", 0, NULL));
	assert_int_equal(larder_inspect_summary(box->inspector, &summary), 0);
	assert_string_equal(summary.directory, box->dir);
	assert_string_equal(summary.name, "larder");
	assert_true(summary.entries == 1 && summary.chunks == 2 && summary.size_bytes == 8 << 20 && summary.map_bytes > summary.size_bytes);
	assert_true(summary.tenants == 1 && summary.tenants_max == 1024 && summary.slots == 1 && summary.slots_max == 32 && summary.readers >= 1);
	assert_true(summary.on == 1 && summary.file_generation == 1 && summary.gate_pid == 0 && summary.sweep_ms == -1 && summary.layout >= 1);
	assert_true(summary.low_bytes < summary.high_bytes && summary.high_bytes < summary.size_bytes && summary.made_ms > 1600000000000);
	assert_int_equal(larder_inspect_counters(box->inspector, find_hits, &hits), 0);
	assert_int_equal(hits, 2);
	assert_int_equal(larder_inspect_slots(box->inspector, see_slot, &slots), 0);
	assert_int_equal(slots, 1);
	assert_int_equal(larder_inspect_readers(box->inspector, see_reader, &readers), 0);
	assert_true(readers >= 1);
	assert_int_equal(larder_inspect_tenants(box->inspector, see_tenant, &info), 0);
	assert_true(info.entries == 1 && info.bytes > 8192 && info.quota_bytes == 0 && info.stats.hits == 2 && info.stats.sets == 1);
	assert_int_equal(larder_inspect_reset(box->inspector), 0);
	assert_int_equal(larder_inspect_counters(box->inspector, find_hits, &hits), 0);
	assert_int_equal(hits, 0);
	summary.size--;
	assert_int_equal(larder_inspect_summary(box->inspector, &summary), LARDER_E_USAGE);
	assert_int_equal(larder_inspect_summary(NULL, &summary), LARDER_E_CLOSED);
	assert_int_equal(larder_inspect_counters(box->inspector, NULL, NULL), LARDER_E_USAGE);
}

static void test_clears_by_name(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	box_inspect(box);
	for (int i = 0; i < 3; i++) {
		set_for(box, "a", 1, 600000, 0);
		assert_int_equal(larder_set(box->tenant, "other", "a", 1, "x", 1, NULL, NULL), 0);
		assert_int_equal(larder_inspect_clear(box->inspector, i < 2 ? "acme" : NULL, i < 1 ? BOX_SPACE : NULL), 0);
		assert_true(box_gives(box, "a", LARDER_MISS, NULL));
		assert_int_equal(larder_exists(box->tenant, "other", "a", 1, NULL), i < 1 ? 0 : LARDER_MISS);
	}
	assert_int_equal(larder_inspect_clear(box->inspector, NULL, BOX_SPACE), LARDER_E_USAGE);
	assert_int_equal(larder_inspect_clear(box->inspector, "Bad", NULL), LARDER_E_TENANT);
	assert_int_equal(larder_inspect_clear(box->inspector, "acme", "Bad"), LARDER_E_SPACE_NAME);
}

/* ---- the check ---- */

struct findings {
	unsigned count, mended, damaged, chunks, accounts;
};

static int find(void *ctx, const struct larder_finding *finding)
{
	struct findings *findings = ctx;

	findings->count++;
	findings->mended += finding->mended != 0;
	findings->damaged += strstr(finding->what, "damaged") != NULL;
	findings->chunks += strstr(finding->what, "chunk") != NULL;
	findings->accounts += strstr(finding->what, "account") != NULL;
	return 0;
}

static struct findings check(struct box *box, int repair)
{
	struct findings findings = { 0 };
	uint64_t found = 99;

	assert_int_equal(larder_inspect_check(box->inspector, repair, find, NULL, &findings, &found), 0);
	assert_int_equal(found, findings.count);
	return findings;
}

/* Flip a byte of each place in the store file where this text stands, with nobody there. Returns how many. */
static unsigned flip(const struct box *box, const char *text)
{
	char path[256];
	int fd = open(box_path(box, "larder.1.mdb", path), O_RDWR | O_CLOEXEC);
	unsigned count = 0;
	struct stat st;
	char *file;

	assert_int_equal(fstat(fd, &st), 0);
	file = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(file, MAP_FAILED);
	for (char *at = file; (at = memmem(at, (size_t)(file + st.st_size - at), text, strlen(text))) != NULL; count++)
		*at ^= 1;
	assert_int_equal(munmap(file, (size_t)st.st_size), 0);
	assert_int_equal(close(fd), 0);
	return count;
}

static void test_a_whole_cache_has_no_findings(void **state)
{
	struct box *box = *state;
	char data[30000] = "x";

	box_open(box, NULL);
	box_inspect(box);
	assert_int_equal(check(box, 0).count, 0);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), data, (size_t)(i * 97) % sizeof(data), NULL, NULL), 0);
	for (int i = 0; i < MANY; i += 3)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), data, 10, NULL, NULL), 0);
	assert_int_equal(larder_clear_space(box->tenant, BOX_SPACE, NULL), 0);
	assert_int_equal(check(box, 0).count, 0);
	assert_int_equal(check(box, 1).count, 0);
}

/* Damage in a row, in a chunk; the rows go, and what they held is put right. */
static void test_damaged_entries_are_found_and_removed(void **state)
{
	struct box *box = *state;
	char data[9000];
	struct findings findings;
	struct larder_stats stats = { .size = sizeof(stats) };

	memset(data, 'd', sizeof(data));
	memcpy(data + 4080, "text in a chunk", 15);
	box_open(box, NULL);
	assert_int_equal(box_set(box, "row", "text in a row"), 0);
	assert_int_equal(box_set(box, "whole", "whole"), 0);
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "chunk", 5, data, sizeof(data), NULL, NULL), 0);
	box_close(box);
	assert_true(flip(box, "text in a row") >= 1 && flip(box, "text in a chunk") >= 1);
	box_open(box, NULL);
	box_inspect(box);
	assert_int_equal(count_with(box, (struct larder_filter){ .states = LARDER_IS_DAMAGED }), 1);
	assert_int_equal(count_with(box, (struct larder_filter){ .states = LARDER_IS_DAMAGED, .flags = LARDER_INSPECT_VALUES }), 2);
	findings = check(box, 0);
	assert_true(findings.count == 2 && findings.damaged == 2 && findings.mended == 0);
	findings = check(box, 1);
	assert_true(findings.damaged == 2 && findings.mended == findings.count);
	assert_int_equal(check(box, 0).count, 0);
	assert_true(box_gives(box, "row", LARDER_MISS, NULL) && box_gives(box, "chunk", LARDER_MISS, NULL) && box_gives(box, "whole", 0, "whole"));
	assert_int_equal(larder_get_stats(box->cache, &stats), 0);
	assert_int_equal(stats.entries, 1);
}

/* A row that cannot be taken apart names no chunks: they are left, found as nobody's, and the account is too high. */
static void test_lost_chunks_and_accounts_are_put_right(void **state)
{
	struct box *box = *state;
	char data[9000];
	struct findings findings;
	struct larder_stats stats = { .size = sizeof(stats) };

	memset(data, 'd', sizeof(data));
	box_open(box, NULL);
	assert_int_equal(larder_set(box->tenant, "marked-space", "lost", 4, data, sizeof(data), NULL, NULL), 0);
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "kept", 4, data, sizeof(data), NULL, NULL), 0);
	box_close(box);
	{
		/* The version stands eight bytes before the space; 0 is none. */
		const char version[] = { 12, 0, 2, 0, 0, 0, 0, 0, 0, 0, 'm', 'a', 'r', 'k', 'e', 'd', 0 };
		char path[256];
		int fd = open(box_path(box, "larder.1.mdb", path), O_RDWR | O_CLOEXEC);
		struct stat st;
		char *file, *at;
		unsigned count = 0;

		assert_int_equal(fstat(fd, &st), 0);
		file = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		for (at = file; (at = memmem(at, (size_t)(file + st.st_size - at), version, sizeof(version) - 1)) != NULL; count++)
			at[2] = 9;
		assert_true(count >= 1);
		assert_int_equal(munmap(file, (size_t)st.st_size), 0);
		assert_int_equal(close(fd), 0);
	}
	box_open(box, NULL);
	box_inspect(box);
	findings = check(box, 0);
	assert_true(findings.damaged == 1 && findings.chunks == 2 && findings.accounts == 1 && findings.mended == 0);
	findings = check(box, 1);
	assert_true(findings.damaged == 1 && findings.chunks == 2 && findings.accounts == 1 && findings.mended == 4);
	assert_int_equal(check(box, 0).count, 0);
	assert_int_equal(larder_exists(box->tenant, "marked-space", "lost", 4, NULL), LARDER_MISS);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "kept", 4, NULL), 0);
	assert_int_equal(larder_tenant_get_stats(box->tenant, &stats), 0);
	assert_int_equal(stats.entries, 1);
}

/* ---- background work ---- */

static void test_work_sweeps_and_evicts(void **state)
{
	struct larder_stats stats = { .size = sizeof(stats) };
	struct larder_summary summary = { .size = sizeof(summary) };
	struct box *box = *state;

	box_open(box, (const char *const[]){ "SWEEP_MS=100", NULL });
	box_inspect(box);
	set_for(box, "dead", 100, 1, 0);
	set_for(box, "fresh", 100, 600000, 0);
	assert_int_equal(larder_set(box->tenant, "cleared", "a", 1, "x", 1, NULL, NULL), 0);
	assert_int_equal(larder_clear_space(box->tenant, "cleared", NULL), 0);
	assert_true(CHILD_POLL((larder_inspect_work(box->inspector, 5) == 0 && larder_get_stats(box->cache, &stats) == 0 && stats.expiries == 2)));
	assert_int_equal(stats.entries, 1);
	assert_int_equal(larder_inspect_summary(box->inspector, &summary), 0);
	assert_int_equal(summary.evictor_pid, getpid());
	assert_true(summary.sweep_ms >= 0);
	/* Filled above the low mark, it is brought below it. */
	for (int i = 0; i < 4000; i++)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), (char[3000]){ 0 }, 3000, NULL, NULL), 0);
	assert_true(CHILD_POLL((larder_inspect_work(box->inspector, 5) == 0 && larder_inspect_summary(box->inspector, &summary) == 0 &&
	    summary.used_bytes <= summary.low_bytes)));
	assert_true(summary.used_bytes > summary.low_bytes / 2);
	assert_int_equal(check(box, 0).count, 0);
}

#define WITH_BOX(test) cmocka_unit_test_setup_teardown(test, box_begin, box_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BOX(test_filters),
		WITH_BOX(test_wrong_filters),
		WITH_BOX(test_a_walk_tells_progress_and_can_be_stopped),
		WITH_BOX(test_a_dump_can_be_restored),
		WITH_BOX(test_what_cannot_be_restored),
		WITH_BOX(test_figures),
		WITH_BOX(test_clears_by_name),
		WITH_BOX(test_a_whole_cache_has_no_findings),
		WITH_BOX(test_damaged_entries_are_found_and_removed),
		WITH_BOX(test_lost_chunks_and_accounts_are_put_right),
		WITH_BOX(test_work_sweeps_and_evicts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
