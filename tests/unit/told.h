/* SPDX-License-Identifier: MIT */
/**
 * A box (cache.h) whose store is spoken to below the public calls, with writes that are told to L2. Include cmocka.h first.
 */
#ifndef LARDER_TESTS_UNIT_TOLD_H
#define LARDER_TESTS_UNIT_TOLD_H

#include "cache.h"
#include "base/clock.h"
#include "cache/handle.h"
#include "l1/inside.h"
#include "l1/outbox.h"

enum { TOLD_ROWS = LD_OUTBOX_TAKE_MAX, TOLD_HOUR = 3600000 };

static const struct ld_way told_way = { 1000, 0 };

static inline struct ld_store *told_store(const struct box *box)
{
	return box->cache->store;
}

static inline struct ld_seg_header *told_header(const struct box *box)
{
	struct ld_store *store = told_store(box);

	assert_int_equal(ld_store_attach(store), 0);
	return store->seg.h;
}

/** A key of another tenant's, kept until the program ends; tell: its writes are told. */
static inline struct ld_key told_key_in(struct box *box, larder_tenant *tenant, const char *space, const char *name, int tell)
{
	const struct ld_keyspace *keyspace;
	static struct ld_keyspace room;
	struct ld_key key;

	(void)box;
	assert_int_equal(ld_prepare_key(tenant, space, name, strlen(name), &room, &keyspace, &key), 0);
	key.tell_l2 = tell;
	return key;
}

static inline struct ld_key told_key(struct box *box, const char *name)
{
	return told_key_in(box, box->tenant, BOX_SPACE, name, 1);
}

static inline struct ld_key untold_key(struct box *box, const char *name)
{
	return told_key_in(box, box->tenant, BOX_SPACE, name, 0);
}

static inline struct ld_put told_put(const char *text)
{
	return (struct ld_put){ .data = text, .len = strlen(text), .ttl_ms = TOLD_HOUR };
}

static inline int told_set(struct box *box, const char *name, const char *text)
{
	const struct ld_key key = told_key(box, name);
	const struct ld_put put = told_put(text);

	return ld_store_put(told_store(box), &key, &told_way, &put);
}

static inline int untold_set(struct box *box, const char *name, const char *text)
{
	const struct ld_key key = untold_key(box, name);
	const struct ld_put put = told_put(text);

	return ld_store_put(told_store(box), &key, &told_way, &put);
}

static inline int told_delete(struct box *box, const char *name)
{
	const struct ld_key key = told_key(box, name);
	int result, rc = ld_store_delete(told_store(box), &key, 1, &told_way, &result);

	return rc ? rc : result;
}

/** A look-up as a caller with L2 makes it; the value is freed. */
static inline int told_look(struct box *box, const char *name, struct ld_found *ret_found)
{
	static const struct ld_look look = { .want_data = 1, .note = LD_NOTE_ACCESS | LD_NOTE_SEEN };
	const struct ld_key key = told_key(box, name);
	int rc;

	memset(ret_found, 0, sizeof(*ret_found));
	rc = ld_store_get(told_store(box), &key, &told_way, &look, ret_found);
	if (rc == 0 || rc == LARDER_STALE)
		free(ret_found->data);
	return rc;
}

static inline struct ld_seen told_miss(struct box *box, const char *name)
{
	struct ld_found found;

	assert_int_equal(told_look(box, name, &found), LARDER_MISS);
	return found.seen;
}

static inline int told_is_pending(struct box *box, const char *name)
{
	struct ld_found found;

	assert_int_equal(told_look(box, name, &found), LARDER_MISS);
	return found.pending;
}

/** Of a value without tags. */
static inline int told_admits_of(struct box *box, const struct ld_key *key, int64_t created_wall_ms, int64_t skew_ms)
{
	const struct ld_l2_given given = { .created_wall_ms = created_wall_ms, .skew_ms = skew_ms };

	return ld_store_l2_admits(told_store(box), key, &given);
}

static inline int told_touch(struct box *box, const struct ld_key *key, int64_t ttl_ms, int64_t stale_ms)
{
	const struct ld_touch touch = { .ttl_ms = ttl_ms, .stale_ms = stale_ms };

	return ld_store_touch(told_store(box), key, &told_way, &touch);
}

static inline int told_admits(struct box *box, const char *name, int64_t created_wall_ms, int64_t skew_ms)
{
	const struct ld_key key = told_key(box, name);

	return told_admits_of(box, &key, created_wall_ms, skew_ms);
}

static inline struct ld_outbox_summary told_summary(struct box *box)
{
	struct ld_outbox_summary summary;

	assert_int_equal(ld_outbox_summary(told_store(box), &summary), 0);
	return summary;
}

/** The counts, which must add up, be mirrored, and agree with the table. */
static inline struct ld_outbox_counts told_counts(struct box *box)
{
	struct ld_outbox_counts counts = told_summary(box).counts;
	const struct ld_seg_header *h = told_header(box);
	uint64_t found = 1;

	assert_int_equal(counts.enqueued, counts.acknowledged + counts.failed + counts.dropped + counts.coalesced + counts.pending);
	assert_int_equal(h->outbox_counts[0], counts.enqueued);
	assert_int_equal(h->outbox_counts[5], counts.pending);
	assert_int_equal(h->outbox_counts[6], counts.pending_b);
	if (counts.pending != 0)
		assert_int_equal(h->outbox_any, 1);
	assert_int_equal(ld_store_check(told_store(box), 0, NULL, NULL, NULL, &found), 0);
	assert_int_equal(found, 0);
	return counts;
}

static inline void told_expect(struct box *box, uint64_t enqueued, uint64_t acknowledged, uint64_t failed, uint64_t dropped, uint64_t coalesced,
    uint64_t pending)
{
	struct ld_outbox_counts counts = told_counts(box);

	if (counts.enqueued != enqueued || counts.acknowledged != acknowledged || counts.failed != failed || counts.dropped != dropped ||
	    counts.coalesced != coalesced || counts.pending != pending)
		print_message("# enqueued %u, acknowledged %u, failed %u, dropped %u, coalesced %u, pending %u\n", (unsigned)counts.enqueued,
		    (unsigned)counts.acknowledged, (unsigned)counts.failed, (unsigned)counts.dropped, (unsigned)counts.coalesced,
		    (unsigned)counts.pending);
	assert_int_equal(counts.enqueued, enqueued);
	assert_int_equal(counts.acknowledged, acknowledged);
	assert_int_equal(counts.failed, failed);
	assert_int_equal(counts.dropped, dropped);
	assert_int_equal(counts.coalesced, coalesced);
	assert_int_equal(counts.pending, pending);
}

/** All rows that are pending, from the beginning; returns how many. */
static inline size_t told_take(struct box *box, struct ld_outbox_row *rows)
{
	struct ld_outbox_place place = { .passes = 0 };
	size_t count = 99;

	assert_int_equal(ld_outbox_take(told_store(box), &place, rows, TOLD_ROWS, 16 << 20, &count), 0);
	return count;
}

/** Take all and settle all with this outcome; returns how many. */
static inline size_t told_settle(struct box *box, enum ld_outbox_outcome outcome)
{
	static struct ld_outbox_row rows[TOLD_ROWS];
	size_t count = told_take(box, rows);

	for (size_t i = 0; i < count; i++)
		rows[i].outcome = outcome;
	assert_int_equal(ld_outbox_settle(told_store(box), rows, count, 1000), 0);
	ld_outbox_forget(rows, count);
	return count;
}

#endif
