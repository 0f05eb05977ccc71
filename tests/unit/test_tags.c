/* SPDX-License-Identifier: MIT */
/*
 * Tags: what is invalidated and what stays, in this host's store, in fills that were under way and in what L2 hands back, also when the invalidation
 * could not be done; and what an entry keeps beside its value - tags, an error window, a load time, a TTL of its own in L2, jitter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "child.h"
#include "told.h"

/* ---- helpers ---- */

static int set_tagged(struct box *box, larder_tenant *tenant, const char *name, const char *text, size_t count, const char *const *tags)
{
	struct larder_store store = LARDER_STORE_INIT;

	(void)box;
	store.tags = tags;
	store.tag_count = count;
	return larder_set(tenant, BOX_SPACE, name, strlen(name), text, strlen(text), &store, NULL);
}

#define SET(name, text, ...) \
	assert_int_equal(set_tagged(box, box->tenant, name, text, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *), \
	    (const char *const[]){ __VA_ARGS__ }), 0)

static int invalidate(struct box *box, const char *tag)
{
	return larder_invalidate_tags(box->tenant, &tag, 1, NULL);
}

static uint64_t hash_of(larder_tenant *tenant, const char *tag)
{
	uint64_t hash = 0;

	assert_int_equal(ld_tags_of(tenant, &tag, 1, &hash), 0);
	return hash;
}

/* An invalidation by hash, as no caller can make it: for collisions. */
static int invalidate_hash(struct box *box, uint64_t hash)
{
	const struct ld_key key = told_key(box, "any");

	return ld_store_invalidate_tags(told_store(box), &key, &hash, 1, &told_way);
}

static int fill_tagged(struct box *box, const char *name, const char *text, uint64_t tag, const struct ld_seen *seen)
{
	const struct ld_key key = told_key(box, name);
	struct ld_put put = told_put(text);

	put.tags = &tag;
	put.tag_count = 1;
	return ld_store_fill(told_store(box), &key, &told_way, &put, seen);
}

static int admits_tagged(struct box *box, const char *name, uint64_t tag, int64_t created_wall_ms)
{
	const struct ld_key key = told_key(box, name);
	const struct ld_l2_given given = { .created_wall_ms = created_wall_ms, .tags = &tag, .tag_count = 1 };

	return ld_store_l2_admits(told_store(box), &key, &given);
}

static void hold_gate(struct box *box, int held)
{
	atomic_store(&told_header(box)->write_gate.holder, held ? told_store(box)->seg.self : 0);
}

static uint64_t entries_of(struct box *box)
{
	struct larder_stats stats = { .size = sizeof(stats) };

	assert_int_equal(larder_get_stats(box->cache, &stats), 0);
	return stats.entries;
}

/* ---- here ---- */

static void test_a_tag_takes_its_entries_along(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	SET("one", "1", "red");
	SET("two", "2", "blue", "red");
	SET("three", "3", "blue");
	assert_int_equal(box_set(box, "plain", "0"), 0);
	assert_int_equal(invalidate(box, "red"), 0);
	assert_true(box_gives(box, "one", LARDER_MISS, NULL) && box_gives(box, "two", LARDER_MISS, NULL));
	assert_true(box_gives(box, "three", 0, "3") && box_gives(box, "plain", 0, "0"));
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "one", 3, NULL), LARDER_MISS);
	assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "one", 3, 1000, 0, NULL), LARDER_MISS);
	assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "one", 3, NULL), LARDER_MISS);
	/* What is stored afterwards is served. */
	SET("one", "new", "red");
	assert_true(box_gives(box, "one", 0, "new"));
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "two", 3, "a", 1, NULL, NULL), 0);
}

static void test_many_tags_at_once(void **state)
{
	const char *tags[LARDER_INVALIDATE_MAX];
	char texts[LARDER_INVALIDATE_MAX][16], name[16];
	struct box *box = *state;
	struct larder_stats stats = { .size = sizeof(stats) };
	uint64_t seq;

	box_open(box, (const char *const[]){ "TAGS_MAX=16", NULL });
	for (size_t i = 0; i < LARDER_INVALIDATE_MAX; i++) {
		snprintf(texts[i], sizeof(texts[i]), "tag-%zu", i);
		tags[i] = texts[i];
	}
	for (size_t i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "n%zu", i);
		assert_int_equal(set_tagged(box, box->tenant, name, "x", 16, tags + 16 * i), 0);
	}
	seq = atomic_load(&told_header(box)->write_seq);
	assert_int_equal(larder_invalidate_tags(box->tenant, tags, 240, NULL), 0);
	/* One transaction. */
	assert_true(atomic_load(&told_header(box)->write_seq) == seq + 1);
	for (size_t i = 0; i < 15; i++) {
		snprintf(name, sizeof(name), "n%zu", i);
		assert_true(box_gives(box, name, LARDER_MISS, NULL));
	}
	assert_true(box_gives(box, "n15", 0, "x"));
	assert_int_equal(larder_invalidate_tags(box->tenant, tags, LARDER_INVALIDATE_MAX, NULL), 0);
	assert_true(box_gives(box, "n15", LARDER_MISS, NULL));
	assert_int_equal(larder_get_stats(box->cache, &stats), 0);
}

static void test_a_tag_is_its_tenants(void **state)
{
	struct box *box = *state;
	larder_tenant *other;
	struct larder_value value;

	box_open(box, NULL);
	assert_int_equal(larder_tenant_open(box->cache, "other", &other), 0);
	assert_true(hash_of(box->tenant, "red") != hash_of(other, "red"));
	assert_true(hash_of(box->tenant, "red") != hash_of(box->tenant, "blue"));
	assert_int_equal(set_tagged(box, other, "a", "theirs", 1, (const char *const[]){ "red" }), 0);
	SET("a", "ours", "red");
	assert_int_equal(invalidate(box, "red"), 0);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	assert_int_equal(larder_get(other, BOX_SPACE, "a", 1, NULL, &value), 0);
	larder_value_free(&value);
	larder_tenant_close(other);
}

/* It travels to L2: secret, tenant and tag make it, nothing else does. The number is that of HMAC-SHA-256 (crypto/key.h), worked out apart. */
static void test_a_hash_is_the_same_on_every_host(void **state)
{
	struct box *box = *state;
	uint64_t first;

	box_open(box, NULL);
	first = hash_of(box->tenant, "red");
	box_close(box);
	box_open(box, (const char *const[]){ "NAME=another", "SIZE=16M", NULL });
	assert_true(hash_of(box->tenant, "red") == first);
	box_close(box);
	box_open(box, (const char *const[]){ "NAME=third", "SECRET=another-secret-another-secret-another-", NULL });
	assert_true(hash_of(box->tenant, "red") != first);
	assert_true(first == UINT64_C(0x51c47a8bd9eefc2a));
}

static void test_a_collision_hides_more_and_never_less(void **state)
{
	struct box *box = *state;
	uint64_t red;

	box_open(box, NULL);
	red = hash_of(box->tenant, "red");
	SET("a", "1", "red");
	SET("b", "2", "blue");
	/* Another tag of the same word, then one of the next word. */
	assert_int_equal(invalidate_hash(box, red + 1), 0);
	assert_true(box_gives(box, "a", 0, "1"));
	assert_int_equal(invalidate_hash(box, red ^ (UINT64_C(1) << 40)), 0);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	assert_true(box_gives(box, "b", 0, "2"));
	SET("a", "3", "red");
	assert_true(box_gives(box, "a", 0, "3"));
}

static void test_what_is_no_tag(void **state)
{
	static const char *const bad[] = { "", " ", "a b", "a\tb", "\x7f", "caf\xc3\xa9", "a\n", NULL };
	char longest[LARDER_TAG_MAX + 2];
	const char *tags[17], *tag = longest;
	struct box *box = *state;

	box_open(box, NULL);
	memset(longest, 'x', sizeof(longest));
	longest[LARDER_TAG_MAX] = '\0';
	assert_int_equal(set_tagged(box, box->tenant, "a", "1", 1, &tag), 0);
	assert_int_equal(larder_invalidate_tags(box->tenant, &tag, 1, NULL), 0);
	longest[LARDER_TAG_MAX] = 'x';
	longest[LARDER_TAG_MAX + 1] = '\0';
	assert_int_equal(set_tagged(box, box->tenant, "a", "1", 1, &tag), LARDER_E_USAGE);
	assert_int_equal(larder_invalidate_tags(box->tenant, &tag, 1, NULL), LARDER_E_USAGE);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const char *two[] = { "good", bad[i] };

		assert_int_equal(set_tagged(box, box->tenant, "a", "1", 2, two), LARDER_E_USAGE);
		assert_int_equal(larder_invalidate_tags(box->tenant, two, 2, NULL), LARDER_E_USAGE);
	}
	for (size_t i = 0; i < 17; i++)
		tags[i] = "same";
	assert_int_equal(set_tagged(box, box->tenant, "a", "1", 8, tags), 0);
	assert_int_equal(set_tagged(box, box->tenant, "a", "1", 9, tags), LARDER_E_USAGE);
	assert_int_equal(set_tagged(box, box->tenant, "a", "1", 1, NULL), LARDER_E_USAGE);
	assert_int_equal(set_tagged(box, box->tenant, "a", "1", 0, NULL), 0);
	assert_int_equal(larder_invalidate_tags(box->tenant, tags, 0, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_invalidate_tags(box->tenant, tags, LARDER_INVALIDATE_MAX + 1, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_invalidate_tags(box->tenant, NULL, 1, NULL), LARDER_E_USAGE);
	assert_int_equal(larder_invalidate_tags(NULL, tags, 1, NULL), LARDER_E_CLOSED);
	box_close(box);
	box_open(box, (const char *const[]){ "TAGS_MAX=0", NULL });
	assert_int_equal(set_tagged(box, box->tenant, "a", "1", 1, tags), LARDER_E_USAGE);
	box_close(box);
	box_open(box, (const char *const[]){ "TAGS_MAX=16", NULL });
	assert_int_equal(set_tagged(box, box->tenant, "a", "1", 16, tags), 0);
	assert_int_equal(set_tagged(box, box->tenant, "a", "1", 17, tags), LARDER_E_USAGE);
}

static void test_what_is_remembered_as_absent_has_tags_too(void **state)
{
	struct larder_store store = LARDER_STORE_INIT;
	struct box *box = *state;
	const char *tag = "red";

	box_open(box, NULL);
	store.tags = &tag;
	store.tag_count = 1;
	assert_int_equal(larder_set_absent(box->tenant, BOX_SPACE, "a", 1, &store, NULL), 0);
	assert_true(box_gives(box, "a", LARDER_ABSENT, NULL));
	assert_int_equal(invalidate(box, tag), 0);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
}

static void test_the_sweep_removes_what_is_hidden(void **state)
{
	struct box *box = *state;

	box_open(box, (const char *const[]){ "SWEEP_MS=100", NULL });
	for (int i = 0; i < 500; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		SET(name, "x", i % 5 ? "red" : "blue");
	}
	assert_int_equal(entries_of(box), 500);
	assert_int_equal(invalidate(box, "red"), 0);
	assert_int_equal(entries_of(box), 500);
	assert_true(CHILD_POLL(ld_store_work(told_store(box), 10) == 0 && entries_of(box) == 100));
	assert_true(box_gives(box, "n5", 0, "x"));
}

static void test_a_value_in_chunks(void **state)
{
	static char data[20000];
	struct larder_store store = LARDER_STORE_INIT;
	struct box *box = *state;
	const char *tags[] = { "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8" };

	box_open(box, NULL);
	store.tags = tags;
	store.tag_count = 8;
	for (size_t len = 3700; len < sizeof(data); len += 150) {
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, data, len, &store, NULL), 0);
		assert_true(box_gives(box, "a", 0, NULL));
	}
	assert_int_equal(invalidate(box, "t8"), 0);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
}

/* ---- when it cannot be done ---- */

static void test_it_holds_behind_a_stopped_writer(void **state)
{
	struct box *box = *state;
	uint64_t red;
	struct ld_seen seen;

	box_open(box, (const char *const[]){ "WRITE_WAIT_MS=5", NULL });
	red = hash_of(box->tenant, "red");
	SET("a", "1", "red");
	seen = told_miss(box, "b");
	hold_gate(box, 1);
	assert_int_equal(invalidate(box, "red"), LARDER_E_BUSY);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	hold_gate(box, 0);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	assert_int_equal(fill_tagged(box, "b", "old", red, &seen), LARDER_EXISTS);
	assert_false(admits_tagged(box, "b", red, ld_clock_wall_ms() - 1000));
	/* The next write is after it. */
	SET("a", "2", "red");
	assert_true(box_gives(box, "a", 0, "2"));
}

static void test_it_holds_in_a_full_store(void **state)
{
	static char data[4000];
	struct box *box = *state;
	struct larder_store store = LARDER_STORE_INIT;
	const char *tag = "red";

	box_open(box, (const char *const[]){ "SIZE=1M", "EVICTOR=off", NULL });
	store.tags = &tag;
	store.tag_count = 1;
	for (int i = 0; i < 1000; i++) {
		char name[16];
		int rc;

		snprintf(name, sizeof(name), "n%d", i);
		rc = larder_set(box->tenant, BOX_SPACE, name, strlen(name), data, sizeof(data), &store, NULL);
		assert_true(rc == 0 || rc == LARDER_UNAVAILABLE);
	}
	/* Some of the last ones are there still. */
	assert_true(entries_of(box) > 50);
	assert_int_equal(invalidate(box, tag), 0);
	for (int i = 0; i < 1000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		assert_true(box_gives(box, name, LARDER_MISS, NULL));
	}
}

#ifdef LARDER_FAULTS
static void test_it_holds_when_the_disk_fails(void **state)
{
	static const enum ld_fault_point points[] = { LD_FAULT_txn_begin, LD_FAULT_txn_commit };
	struct box *box = *state;
	uint64_t red;

	box_open(box, NULL);
	red = hash_of(box->tenant, "red");
	for (size_t i = 0; i < 2; i++) {
		struct ld_seen seen;
		int64_t wall_ms;

		SET("a", "1", "red");
		seen = told_miss(box, "b");
		assert_true(admits_tagged(box, "b", red, ld_clock_wall_ms() + 1));
		box->plan->error = ENOSPC;
		box->plan->point = points[i];
		box->plan->action = LD_FAULT_ERROR;
		box->plan->countdown = 1;
		wall_ms = ld_clock_wall_ms();
		assert_int_equal(invalidate(box, "red"), LARDER_E_FULL);
		box->plan->action = LD_FAULT_NOTHING;
		assert_true(box_gives(box, "a", LARDER_MISS, NULL));
		assert_int_equal(fill_tagged(box, "b", "old", red, &seen), LARDER_EXISTS);
		assert_false(admits_tagged(box, "b", red, wall_ms - 1));
	}
}
#endif

/* ---- fills ---- */

static void test_a_fill_from_before_is_discarded(void **state)
{
	struct box *box = *state;
	uint64_t red;
	struct ld_seen seen;

	box_open(box, NULL);
	red = hash_of(box->tenant, "red");
	seen = told_miss(box, "a");
	assert_int_equal(invalidate(box, "red"), 0);
	assert_int_equal(fill_tagged(box, "a", "old", red, &seen), LARDER_EXISTS);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	/* One with another tag, or with none, is none of its business. */
	assert_int_equal(fill_tagged(box, "b", "other", hash_of(box->tenant, "blue"), &seen), 0);
	seen = told_miss(box, "a");
	assert_int_equal(fill_tagged(box, "a", "new", red, &seen), 0);
	assert_true(box_gives(box, "a", 0, "new"));
	assert_int_equal(invalidate(box, "red"), 0);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	assert_true(box_gives(box, "b", 0, "other"));
}

/* ---- L2 ---- */

static void test_what_L2_has_from_before_is_refused(void **state)
{
	struct box *box = *state;
	uint64_t red, both[2];
	int64_t wall_ms;
	struct ld_l2_given given;

	box_open(box, NULL);
	red = hash_of(box->tenant, "red");
	both[0] = hash_of(box->tenant, "blue");
	both[1] = red;
	assert_true(admits_tagged(box, "a", red, 0));
	assert_int_equal(invalidate(box, "red"), 0);
	wall_ms = ld_clock_wall_ms();
	assert_false(admits_tagged(box, "a", red, 0));
	assert_false(admits_tagged(box, "a", red, wall_ms - 5000));
	assert_true(admits_tagged(box, "a", red, wall_ms + 1));
	assert_true(admits_tagged(box, "a", both[0], 0));
	assert_true(told_admits(box, "a", 0, 0));
	given = (struct ld_l2_given){ .created_wall_ms = wall_ms + 500, .skew_ms = 1000, .tags = both, .tag_count = 2 };
	assert_false(ld_store_l2_admits(told_store(box), &(struct ld_key){ .tenant = "acme", .tenant_tag = ld_store_tag("acme", NULL) }, &given));
	/* Closed and opened again it is the same. */
	box_close(box);
	box_open(box, NULL);
	assert_false(admits_tagged(box, "a", red, wall_ms - 5000));
}

#ifdef LARDER_FAULTS
static void travel(struct box *box, int64_t by_ms)
{
	atomic_fetch_add(&box->plan->boot_shift_ms, by_ms);
	atomic_fetch_add(&box->plan->wall_shift_ms, by_ms);
	assert_int_equal(ld_store_work(told_store(box), 1), 0);
}

static void test_its_time_is_forgotten_when_it_is_over(void **state)
{
	struct box *box = *state;
	uint64_t red, blue;

	box_open(box, (const char *const[]){ "L2_TTL_MAX=10m", NULL });
	red = hash_of(box->tenant, "red");
	blue = hash_of(box->tenant, "blue");
	assert_int_equal(invalidate(box, "red"), 0);
	travel(box, 300000);
	assert_int_equal(invalidate(box, "blue"), 0);
	travel(box, 299000);
	assert_false(admits_tagged(box, "a", red, 0));
	travel(box, 40000);
	assert_true(admits_tagged(box, "a", red, 0));
	assert_false(admits_tagged(box, "a", blue, 0));
	travel(box, 300000);
	assert_true(admits_tagged(box, "a", blue, 0));
}

/* More of them than are forgotten at once; and what was raised without a row. */
static void test_all_times_are_forgotten(void **state)
{
	struct box *box = *state;
	char text[16];

	box_open(box, (const char *const[]){ "L2_TTL_MAX=10m", "WRITE_WAIT_MS=5", NULL });
	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "t%d", i);
		assert_int_equal(invalidate(box, text), 0);
	}
	hold_gate(box, 1);
	assert_int_equal(invalidate(box, "unwritten"), LARDER_E_BUSY);
	hold_gate(box, 0);
	assert_false(admits_tagged(box, "a", hash_of(box->tenant, "unwritten"), 0));
	travel(box, 660000);
	for (int i = 0; i < 10; i++)
		travel(box, 60000);
	assert_true(admits_tagged(box, "a", hash_of(box->tenant, "unwritten"), 0));
	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "t%d", i);
		assert_true(admits_tagged(box, "a", hash_of(box->tenant, text), 0));
	}
	assert_int_equal(told_header(box)->l2_raised_ms, 0);
}
#endif

static void test_L2_is_told_all_of_it(void **state)
{
	static struct ld_outbox_row rows[TOLD_ROWS];
	struct box *box = *state;
	const struct ld_key *key;
	struct ld_key keys[2];
	uint64_t tags[2];
	struct ld_put put = told_put("value");

	box_open(box, NULL);
	keys[0] = told_key(box, "a");
	keys[1] = told_key(box, "b");
	key = keys;
	tags[0] = hash_of(box->tenant, "red");
	tags[1] = hash_of(box->tenant, "blue");
	put.tags = tags;
	put.tag_count = 2;
	put.stale_ms = 5000;
	put.error_ms = 7000;
	put.l2_ttl_ms = 9 * TOLD_HOUR;
	assert_int_equal(ld_store_put(told_store(box), key, &told_way, &put), 0);
	assert_int_equal(told_take(box, rows), 1);
	assert_int_equal(rows[0].op, LD_OUTBOX_SET);
	assert_true(rows[0].ttl_ms == 9 * TOLD_HOUR && rows[0].left_ms > 8 * TOLD_HOUR && rows[0].stale_ms == 5000 && rows[0].error_ms == 7000);
	assert_true(rows[0].tag_count == 2 && rows[0].tags[0] == tags[0] && rows[0].tags[1] == tags[1]);
	ld_outbox_forget(rows, 1);
	/* Touched, it keeps tags and error window. */
	assert_int_equal(told_touch(box, key, 2 * TOLD_HOUR, 100), 0);
	assert_int_equal(told_take(box, rows), 1);
	/* A TTL that is told counts from the moment of the row, which is another one than the entry's. */
	assert_in_range(rows[0].ttl_ms, 2 * TOLD_HOUR - 60000, 2 * TOLD_HOUR + 60000);
	assert_true(rows[0].stale_ms == 100 && rows[0].error_ms == 7000 && rows[0].tag_count == 2);
	ld_outbox_forget(rows, 1);
	/* Invalidated before it was told, L2 is told a delete. */
	assert_int_equal(invalidate(box, "blue"), 0);
	assert_int_equal(told_take(box, rows), 1);
	assert_int_equal(rows[0].op, LD_OUTBOX_DELETE);
	ld_outbox_forget(rows, 1);
}

#ifdef LARDER_FAULTS
static void test_a_shorter_time_in_L2_ends_there(void **state)
{
	static struct ld_outbox_row rows[TOLD_ROWS];
	struct box *box = *state;
	struct ld_put put = told_put("value");
	struct ld_key key;

	box_open(box, NULL);
	key = told_key(box, "a");
	put.l2_ttl_ms = 60000;
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	atomic_fetch_add(&box->plan->boot_shift_ms, 50000);
	assert_int_equal(told_take(box, rows), 1);
	assert_true(rows[0].op == LD_OUTBOX_SET && rows[0].ttl_ms == 60000 && rows[0].left_ms <= 10000);
	ld_outbox_forget(rows, 1);
	atomic_fetch_add(&box->plan->boot_shift_ms, 10000);
	assert_int_equal(told_take(box, rows), 1);
	assert_int_equal(rows[0].op, LD_OUTBOX_DELETE);
	ld_outbox_forget(rows, 1);
	assert_true(box_gives(box, "a", 0, "value"));
}

/* ---- the error window ---- */

static int look(struct box *box, int note, char *buffer, size_t size, struct ld_found *found)
{
	const struct ld_key key = told_key(box, "a");
	static uint64_t tags[LD_TAGS_MAX];
	char etag[LD_ETAG_MAX + 1] = "?";
	const struct ld_look how = { .buffer = buffer, .buffer_size = size, .want_data = 1, .note = note, .etag = etag, .tags = tags };
	int rc;

	memset(found, 0, sizeof(*found));
	found->error_only = found->tag_count = 99;
	rc = ld_store_get(told_store(box), &key, &told_way, &how, found);
	if (rc == LARDER_STALE) {
		assert_string_equal(etag, "\"e1\"");
		assert_int_equal(found->tag_count, 1);
		assert_true(tags[0] == 42);
	}
	return rc;
}

static void test_the_error_window(void **state)
{
	struct box *box = *state;
	uint64_t tag = 42;
	struct ld_put put = told_put("value");
	struct ld_found found;
	struct ld_key key;
	char buffer[8];
	struct ld_tallies tallies;

	box_open(box, (const char *const[]){ "SWEEP_MS=100", NULL });
	key = untold_key(box, "a");
	put.ttl_ms = 10000;
	put.stale_ms = 20000;
	put.error_ms = 30000;
	put.load_ms = 123;
	put.etag = "\"e1\"";
	put.tags = &tag;
	put.tag_count = 1;
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	assert_int_equal(look(box, LD_NOTE_ERROR_WINDOW, buffer, 8, &found), 0);
	assert_true(found.error_only == 0 && found.load_ms == 123 && found.stale_until_ms == found.fresh_until_ms + 20000 &&
	    found.dead_ms == found.stale_until_ms + 30000);
	atomic_fetch_add(&box->plan->boot_shift_ms, 29900);
	assert_int_equal(look(box, LD_NOTE_ERROR_WINDOW, buffer, 8, &found), LARDER_STALE);
	assert_int_equal(found.error_only, 0);
	atomic_fetch_add(&box->plan->boot_shift_ms, 100);
	assert_int_equal(look(box, 0, buffer, 8, &found), LARDER_MISS);
	assert_int_equal(look(box, LD_NOTE_SEEN, buffer, 8, &found), LARDER_MISS);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	assert_int_equal(look(box, LD_NOTE_ERROR_WINDOW | LD_NOTE_SEEN, buffer, 8, &found), LARDER_STALE);
	assert_int_equal(found.error_only, 1);
	assert_true(found.seen.segment != 0 && found.len == 5 && memcmp(buffer, "value", 5) == 0);
	assert_int_equal(look(box, LD_NOTE_ERROR_WINDOW, NULL, 0, &found), LARDER_STALE);
	free(found.data);
	/* No room for what nobody may want: a miss. */
	assert_int_equal(look(box, LD_NOTE_ERROR_WINDOW, buffer, 4, &found), LARDER_MISS);
	/* Counted as misses: five of these, and the public call's. */
	assert_int_equal(ld_store_tallies(told_store(box), NULL, &tallies), 0);
	assert_int_equal(tallies.tenant[LD_TC_misses], 6);
	assert_int_equal(tallies.tenant[LD_TC_stale_hits], 1);
	/* It is no obstacle to an add, nothing for a touch or delete to find, and stays when swept. */
	assert_int_equal(told_touch(box, &key, 1000, 0), LARDER_MISS);
	assert_int_equal(ld_store_work(told_store(box), 1), 0);
	assert_int_equal(entries_of(box), 1);
	atomic_fetch_add(&box->plan->boot_shift_ms, 30000);
	assert_int_equal(look(box, LD_NOTE_ERROR_WINDOW, buffer, 8, &found), LARDER_MISS);
	assert_true(CHILD_POLL(ld_store_work(told_store(box), 1) == 0 && entries_of(box) == 0));
}

static void test_a_hard_end_ends_the_error_window(void **state)
{
	struct box *box = *state;
	struct ld_put put = told_put("value");
	struct ld_found found;
	struct ld_key key;
	char buffer[8];

	box_open(box, NULL);
	key = untold_key(box, "a");
	put.ttl_ms = 10000;
	put.error_ms = 30000;
	put.hard_end_ms = ld_clock_wall_ms() + 20000;
	put.etag = "\"e1\"";
	put.tags = (const uint64_t[]){ 42 };
	put.tag_count = 1;
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	travel(box, 15000);
	assert_int_equal(look(box, LD_NOTE_ERROR_WINDOW, buffer, 8, &found), LARDER_STALE);
	travel(box, 5000);
	assert_int_equal(look(box, LD_NOTE_ERROR_WINDOW, buffer, 8, &found), LARDER_MISS);
}

static void test_a_touch_keeps_the_length_of_the_error_window(void **state)
{
	struct box *box = *state;
	struct ld_put put = told_put("value");
	struct ld_found found;
	struct ld_key key;
	char buffer[8];

	box_open(box, NULL);
	key = untold_key(box, "a");
	put.stale_ms = 1000;
	put.error_ms = 30000;
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	assert_int_equal(told_touch(box, &key, 5000, 7000), 0);
	assert_int_equal(look(box, 0, buffer, 8, &found), 0);
	assert_true(found.stale_until_ms == found.fresh_until_ms + 7000 && found.dead_ms == found.stale_until_ms + 30000);
	put.absent = 1;
	put.len = 0;
	put.stale_ms = put.error_ms = 0;
	assert_int_equal(ld_store_put(told_store(box), &key, &told_way, &put), 0);
	assert_int_equal(told_touch(box, &key, 5000, 7000), 0);
	assert_int_equal(look(box, 0, buffer, 8, &found), LARDER_ABSENT);
	assert_true(found.dead_ms == found.fresh_until_ms);
}
#endif

/* ---- by the public call ---- */

static void test_times_of_a_set(void **state)
{
	struct larder_store store = LARDER_STORE_INIT;
	struct larder_value value;
	struct box *box = *state;
	struct ld_key key;
	struct ld_found found = { 0 };
	const struct ld_look times = { .want_data = 0 };

	box_open(box, (const char *const[]){ "STALE_IF_ERROR=40s", "STALE=20s", "TTL=10s", NULL });
	key = untold_key(box, "a");
	assert_int_equal(box_set(box, "a", "x"), 0);
	assert_int_equal(ld_store_get(told_store(box), &key, &told_way, &times, &found), 0);
	assert_true(found.stale_until_ms == found.fresh_until_ms + 20000 && found.dead_ms == found.stale_until_ms + 40000);
	/* Until nobody is served any more who has no source. */
	assert_int_equal(larder_get(box->tenant, BOX_SPACE, "a", 1, NULL, &value), 0);
	assert_true(value.left_ms <= 30000 && value.left_ms > 20000);
	larder_value_free(&value);
	store.error_ms = 5;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, "x", 1, &store, NULL), 0);
	assert_int_equal(ld_store_get(told_store(box), &key, &told_way, &times, &found), 0);
	assert_true(found.dead_ms == found.stale_until_ms + 5);
	for (int i = 0; i < 2; i++) {
		store.error_ms = i ? -1 : LARDER_TTL_MAX_MS + 1;
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, "x", 1, &store, NULL), LARDER_E_TTL);
	}
	store.error_ms = LARDER_TTL_MAX_MS;
	assert_int_equal(larder_set_absent(box->tenant, BOX_SPACE, "a", 1, &store, NULL), 0);
	assert_int_equal(ld_store_get(told_store(box), &key, &told_way, &times, &found), LARDER_ABSENT);
	assert_true(found.dead_ms == found.fresh_until_ms);
}

static int64_t ttl_of(struct box *box, const char *name)
{
	struct larder_value value;
	int64_t ttl_ms;

	assert_int_equal(larder_get(box->tenant, BOX_SPACE, name, strlen(name), NULL, &value), 0);
	ttl_ms = value.fresh_ms + value.age_ms;
	larder_value_free(&value);
	return ttl_ms;
}

static void test_jitter_shortens_within_its_bounds(void **state)
{
	struct box *box = *state;
	int64_t least_ms = INT64_MAX, most_ms = 0;
	struct larder_store store = LARDER_STORE_INIT;

	box_open(box, (const char *const[]){ "TTL_JITTER=30", "TTL=1000s", NULL });
	for (int i = 0; i < 300; i++) {
		char name[16];
		int64_t ttl_ms;

		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(box_set(box, name, "x"), 0);
		if (i % 3 == 0)
			assert_int_equal(larder_touch(box->tenant, BOX_SPACE, name, strlen(name), LARDER_POLICY, LARDER_POLICY, NULL), 0);
		ttl_ms = ttl_of(box, name);
		assert_true(ttl_ms >= 700000 && ttl_ms <= 1000000);
		least_ms = ttl_ms < least_ms ? ttl_ms : least_ms;
		most_ms = ttl_ms > most_ms ? ttl_ms : most_ms;
	}
	/* Each half of the first and last tenth is missed once in 10^7 runs. */
	assert_true(least_ms < 730000 && most_ms > 970000);
	store.ttl_ms = 1;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "short", 5, "x", 1, &store, NULL), 0);
	store.ttl_ms = LARDER_TTL_MAX_MS;
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "long", 4, "x", 1, &store, NULL), 0);
	assert_in_range(ttl_of(box, "long"), LARDER_TTL_MAX_MS / 10 * 7, LARDER_TTL_MAX_MS);
	box_close(box);
	/* Without it they are what they were. */
	box_open(box, (const char *const[]){ "TTL=1000s", NULL });
	for (int i = 0; i < 20; i++) {
		assert_int_equal(box_set(box, "a", "x"), 0);
		assert_int_equal(ttl_of(box, "a"), 1000000);
	}
}

static void test_many_deletes_are_one_transaction(void **state)
{
	struct larder_item items[50];
	char names[50][8];
	struct box *box = *state;
	uint64_t seq;

	box_open(box, NULL);
	for (int i = 0; i < 50; i++) {
		snprintf(names[i], sizeof(names[i]), "n%d", i);
		items[i] = (struct larder_item){ .space = BOX_SPACE, .name = names[i], .name_len = strlen(names[i]) };
		SET(names[i], "x", "red", "blue");
	}
	assert_int_equal(invalidate(box, "none"), 0);
	seq = atomic_load(&told_header(box)->write_seq);
	assert_int_equal(larder_delete_many(box->tenant, items, 50, NULL), 0);
	assert_true(atomic_load(&told_header(box)->write_seq) == seq + 1);
	for (int i = 0; i < 50; i++)
		assert_int_equal(items[i].result, 0);
	assert_int_equal(entries_of(box), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_tag_takes_its_entries_along, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_many_tags_at_once, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_a_tag_is_its_tenants, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_a_hash_is_the_same_on_every_host, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_a_collision_hides_more_and_never_less, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_what_is_no_tag, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_what_is_remembered_as_absent_has_tags_too, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_the_sweep_removes_what_is_hidden, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_a_value_in_chunks, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_it_holds_behind_a_stopped_writer, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_it_holds_in_a_full_store, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_a_fill_from_before_is_discarded, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_what_L2_has_from_before_is_refused, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_L2_is_told_all_of_it, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_times_of_a_set, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_jitter_shortens_within_its_bounds, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_many_deletes_are_one_transaction, box_begin, box_end),
#ifdef LARDER_FAULTS
		cmocka_unit_test_setup_teardown(test_it_holds_when_the_disk_fails, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_its_time_is_forgotten_when_it_is_over, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_all_times_are_forgotten, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_a_shorter_time_in_L2_ends_there, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_the_error_window, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_a_hard_end_ends_the_error_window, box_begin, box_end),
		cmocka_unit_test_setup_teardown(test_a_touch_keeps_the_length_of_the_error_window, box_begin, box_end),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
