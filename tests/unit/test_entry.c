/* SPDX-License-Identifier: MIT */
/*
 * The format of entries: every split of a value between row and chunks, every place of a name, and that no byte of a row can change
 * without being noticed.
 */
#include "l1/entry.h"
#include "l1/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { HEAD = 112, VALUE_MAX = 3 * LD_CHUNK_B };

static const char spaces[] = "abcdefghijklmnopqrstuvwxyz01234";
static unsigned char digest[LARDER_DIGEST_SIZE];
static unsigned char name[LARDER_NAME_MAX], value[VALUE_MAX];

static int fill_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = (unsigned char)(i * 13 + 1);
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (unsigned char)(i * 7 + i / 251);
	for (size_t i = 0; i < sizeof(digest); i++)
		digest[i] = (unsigned char)(200 - i);
	return 0;
}

static struct ld_entry_head plain_head(void)
{
	struct ld_entry_head head;

	memset(&head, 0, sizeof(head));
	head.version = LD_ENTRY_VERSION;
	head.created_ms = 1000;
	head.fresh_until_ms = 2000;
	head.stale_until_ms = 2500;
	head.dead_ms = 3000;
	head.load_ms = 77;
	head.hard_end_ms = 4000;
	head.flags = 0xfeedface;
	head.key_id = 7;
	memcpy(&head.digest_tail, digest + LARDER_DIGEST_SIZE - 8, 8);
	return head;
}

/* Plan, encode and stamp into row (LD_ROW_MAX bytes); returns its length. */
static size_t make(size_t space_len, size_t name_len, size_t value_len, unsigned char *row)
{
	struct ld_entry_head head = plain_head();
	size_t len = ld_entry_plan(&head, space_len, name_len, 0, value_len);

	assert_true(len >= HEAD && len <= LD_ROW_MAX);
	ld_entry_encode(&head, NULL, spaces, name, NULL, value, row);
	ld_entry_stamp(row, len, UINT64_C(0x0001000000000042));
	return len;
}

static void check(size_t space_len, size_t name_len, size_t value_len)
{
	unsigned char row[LD_ROW_MAX];
	size_t len = make(space_len, name_len, value_len, row), chunked;
	struct ld_entry entry;

	assert_int_equal(ld_entry_decode(row, len, &entry), 0);
	assert_int_equal(ld_entry_verify(row, len, digest), 0);
	assert_int_equal(entry.head.value_len, value_len);
	assert_int_equal(entry.head.name_len, name_len);
	assert_int_equal(entry.head.space_len, space_len);
	assert_memory_equal(entry.space, spaces, space_len);
	/* Nothing is lost or stored twice: chunks, then the tail. */
	chunked = value_len - entry.head.tail_len;
	assert_int_equal(entry.head.chunks, (chunked + LD_CHUNK_B - 1) / LD_CHUNK_B);
	assert_int_equal(entry.head.tail_len ? memcmp(entry.tail, value + chunked, entry.head.tail_len) : 0, 0);
	assert_true(entry.head.tail_len == 0 || chunked % LD_CHUNK_B == 0);
	if (name_len == 0 || name_len > LD_NAME_INLINE_MAX)
		assert_int_equal(ld_entry_name_chunks(&entry.head), (name_len + LD_CHUNK_B - 1) / LD_CHUNK_B);
	else
		assert_int_equal(memcmp(entry.name, name, name_len), 0);
	assert_int_equal(entry.head.chunk_id, entry.head.chunks + ld_entry_name_chunks(&entry.head) ? UINT64_C(0x0001000000000042) : 0);
	assert_int_equal(entry.head.seq, UINT64_C(0x0001000000000042));
	assert_true(entry.head.flags == 0xfeedface && entry.head.key_id == 7 && entry.head.created_ms == 1000);
	assert_true(entry.head.fresh_until_ms == 2000 && entry.head.stale_until_ms == 2500 && entry.head.dead_ms == 3000 &&
	    entry.head.hard_end_ms == 4000 && entry.head.load_ms == 77);
}

static void test_every_length_of_a_value(void **state)
{
	static const size_t names[] = { 0, 1, 1023, 1024, 1025, 4080, 4081, LARDER_NAME_MAX };

	(void)state;
	for (size_t len = 0; len <= 5000; len++)
		for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
			check(6, names[i], len);
	for (size_t len = 2 * LD_CHUNK_B - 200; len <= VALUE_MAX; len += 3)
		check(31, 0, len);
}

static void test_every_length_of_a_name(void **state)
{
	static const size_t values[] = { 0, 1, 2900, 3962, 4080, 9000 };

	(void)state;
	for (size_t len = 0; len <= LARDER_NAME_MAX; len++)
		for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
			check(1 + len % LARDER_SPACE_MAX, len, values[i]);
}

/* What fits the row is in the row; the first byte more takes a chunk. */
static void test_where_chunks_begin(void **state)
{
	struct ld_entry_head head = plain_head();

	(void)state;
	assert_int_equal(ld_entry_plan(&head, 6, 0, 0, LD_ROW_MAX - HEAD - 6), LD_ROW_MAX);
	assert_int_equal(head.chunks, 0);
	assert_int_equal(ld_entry_plan(&head, 6, 0, 0, LD_ROW_MAX - HEAD - 5), HEAD + 6);
	assert_true(head.chunks == 1 && head.tail_len == 0);
	assert_int_equal(ld_entry_plan(&head, 6, 0, 0, LD_CHUNK_B), HEAD + 6);
	assert_int_equal(head.chunks, 1);
	assert_int_equal(ld_entry_plan(&head, 6, 0, 0, LD_CHUNK_B + 1), HEAD + 7);
	assert_true(head.chunks == 1 && head.tail_len == 1);
	assert_int_equal(ld_entry_plan(&head, 6, 1024, 0, 10), HEAD + 6 + 1024 + 10);
	assert_int_equal(head.bits, 0);
	assert_int_equal(ld_entry_plan(&head, 6, 1025, 0, 10), HEAD + 6 + 10);
	assert_int_equal(head.bits, LD_ENTRY_NAME_CHUNKED);
	/* A plan leaves nothing of an earlier one behind. */
	assert_int_equal(ld_entry_plan(&head, 6, 1, 0, 10), HEAD + 6 + 1 + 10);
	assert_true(head.bits == 0 && head.chunks == 0 && head.tail_len == 10);
}

static int is_noticed(const unsigned char *row, size_t len)
{
	struct ld_entry entry;

	return ld_entry_decode(row, len, &entry) != 0 || ld_entry_verify(row, len, digest) != 0;
}

static void test_every_changed_byte_is_noticed(void **state)
{
	static const size_t shapes[][3] = { { 6, 0, 0 }, { 1, 9, 40 }, { 31, 1025, 300 }, { 6, 20, 9000 }, { 6, 1024, 2900 } };
	static const unsigned char changes[] = { 0x01, 0x80, 0xff, 0x10 };
	unsigned char row[LD_ROW_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		size_t len = make(shapes[i][0], shapes[i][1], shapes[i][2], row);

		assert_false(is_noticed(row, len));
		for (size_t at = 0; at < len; at++)
			for (size_t k = 0; k < sizeof(changes); k++) {
				row[at] ^= changes[k];
				assert_true(is_noticed(row, len));
				row[at] ^= changes[k];
			}
		for (size_t cut = 0; cut < len; cut++) {
			unsigned char *copy = malloc(cut ? cut : 1);
			struct ld_entry entry;

			memcpy(copy, row, cut);
			assert_int_equal(ld_entry_decode(copy, cut, &entry), LARDER_E_CORRUPT);
			free(copy);
		}
	}
}

static void test_another_key_is_noticed(void **state)
{
	unsigned char row[LD_ROW_MAX], other[LARDER_DIGEST_SIZE];
	size_t len = make(6, 5, 100, row);

	(void)state;
	for (int i = 0; i < 8; i++) {
		memcpy(other, digest, sizeof(other));
		other[LARDER_DIGEST_SIZE - 1 - i] ^= 1;
		assert_int_equal(ld_entry_verify(row, len, other), LARDER_E_CORRUPT);
	}
}

static void test_new_times(void **state)
{
	unsigned char row[LD_ROW_MAX];
	struct ld_entry entry;
	size_t len = make(6, 5, 100, row);

	(void)state;
	ld_entry_retime(row, len, &(struct ld_entry_times){ 77, 80, 88 });
	assert_int_equal(ld_entry_decode(row, len, &entry), 0);
	assert_int_equal(ld_entry_verify(row, len, digest), 0);
	assert_true(entry.head.fresh_until_ms == 77 && entry.head.stale_until_ms == 80 && entry.head.dead_ms == 88 && entry.head.created_ms == 1000);
	assert_int_equal(memcmp(entry.tail, value, 100), 0);
}

static void test_cost_counts_pages(void **state)
{
	struct ld_entry_head head = plain_head();
	size_t len = ld_entry_plan(&head, 6, 0, 0, 100);

	(void)state;
	assert_int_equal(ld_entry_cost(&head, len, 40), len + 40 + 16);
	len = ld_entry_plan(&head, 6, 0, 0, 3000);
	assert_int_equal(ld_entry_cost(&head, len, 40), 4096);
	len = ld_entry_plan(&head, 6, 1025, 0, 2 * LD_CHUNK_B);
	assert_int_equal(ld_entry_cost(&head, len, 40), len + 40 + 16 + 3 * 4096);
}

static void test_keys(void **state)
{
	char tenant[LARDER_TENANT_MAX + 1];
	unsigned char key[LD_KEY_MAX];

	(void)state;
	for (size_t len = 1; len <= LARDER_TENANT_MAX; len++) {
		memset(tenant, 't', len);
		tenant[len] = 0;
		assert_int_equal(ld_entry_key(tenant, digest, key), len + 33);
		assert_int_equal(ld_entry_key_tenant(key, len + 33), len);
		assert_int_equal(memcmp(key, tenant, len + 1), 0);
		assert_int_equal(memcmp(key + len + 1, digest, 32), 0);
		assert_int_equal(ld_entry_key_tenant(key, len + 32), 0);
		if (len > 2) {
			key[1] = 0;
			assert_int_equal(ld_entry_key_tenant(key, len + 33), 0);
		}
	}
	for (size_t len = 0; len < 34; len++)
		assert_int_equal(ld_entry_key_tenant(key, len), 0);
}

/* Keys sort by tenant, then digest; chunks by id, then index. */
static void test_keys_sort(void **state)
{
	static const char *const tenants[] = { "-", "0", "a", "a-", "aa", "b" };
	unsigned char a[LD_KEY_MAX] = { 0 }, b[LD_KEY_MAX] = { 0 }, last[LD_CHUNK_KEY] = { 0 }, next[LD_CHUNK_KEY];

	(void)state;
	for (int i = 0; i < 5; i++) {
		memset(a, 0, sizeof(a));
		memset(b, 0, sizeof(b));
		(void)ld_entry_key(tenants[i], digest, a);
		(void)ld_entry_key(tenants[i + 1], digest, b);
		assert_true(memcmp(a, b, sizeof(a)) < 0);
	}
	for (uint64_t id = 1; id != 0 && id < UINT64_C(1) << 60; id = id * 255 + 1)
		for (uint32_t index = 0; index < 3; index++) {
			ld_entry_chunk_key(id, index * 300, next);
			assert_true(memcmp(last, next, sizeof(next)) < 0);
			memcpy(last, next, sizeof(next));
		}
	ld_entry_chunk_key(UINT64_C(0x0102030405060708), 0x090a0b0c, next);
	assert_memory_equal(next, "\1\2\3\4\5\6\7\x8\x9\xa\xb\xc", 12);
}

static void test_tags_lie_before_the_space(void **state)
{
	static const size_t values[] = { 0, 1, 500, 3700, 3960, 4080, 9000 };
	uint64_t tags[LD_TAGS_MAX];

	(void)state;
	for (unsigned i = 0; i < LD_TAGS_MAX; i++)
		tags[i] = UINT64_C(0x0123456789abcdef) * (i + 1);
	for (unsigned count = 0; count <= LD_TAGS_MAX; count++)
		for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
			unsigned char row[LD_ROW_MAX];
			struct ld_entry_head head = plain_head();
			struct ld_entry entry;
			size_t len;

			head.tag_count = (uint8_t)count;
			len = ld_entry_plan(&head, 6, 10, 3, values[i]);
			assert_true(len <= LD_ROW_MAX);
			ld_entry_encode(&head, tags, spaces, name, "\"e\"", value, row);
			ld_entry_stamp(row, len, 7);
			assert_int_equal(ld_entry_decode(row, len, &entry), 0);
			assert_int_equal(ld_entry_verify(row, len, digest), 0);
			assert_int_equal(entry.head.tag_count, count);
			for (unsigned k = 0; k < count; k++)
				assert_true(ld_entry_tag(&entry, k) == tags[k]);
			assert_memory_equal(entry.space, spaces, 6);
			assert_memory_equal(entry.name, name, 10);
			assert_memory_equal(entry.etag, "\"e\"", 3);
			assert_memory_equal(entry.tail, value + (values[i] - entry.head.tail_len), entry.head.tail_len);
			assert_int_equal(entry.tail - (const unsigned char *)row + entry.head.tail_len, len);
			/* One more than it has, or than there may be, does not add up. */
			row[offsetof(struct ld_entry_head, tag_count)]++;
			assert_int_equal(ld_entry_decode(row, len, &entry), LARDER_E_CORRUPT);
		}
}

static void test_an_etag_lies_before_the_tail(void **state)
{
	static const char etag[] = "\"v1-0123456789\"";
	static const size_t values[] = { 0, 1, 500, 3960, 3980, 4080, 9000 };
	size_t etag_len = sizeof(etag) - 1;

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		unsigned char row[LD_ROW_MAX];
		struct ld_entry_head head = plain_head();
		size_t len = ld_entry_plan(&head, 6, 10, etag_len, values[i]);
		struct ld_entry entry;

		ld_entry_encode(&head, NULL, spaces, name, etag, value, row);
		ld_entry_stamp(row, len, 7);
		assert_int_equal(ld_entry_decode(row, len, &entry), 0);
		assert_int_equal(ld_entry_verify(row, len, digest), 0);
		assert_int_equal(entry.head.etag_len, etag_len);
		assert_memory_equal(entry.etag, etag, etag_len);
		assert_memory_equal(entry.name, name, 10);
		assert_int_equal(entry.tail - (const unsigned char *)row + entry.head.tail_len, len);
		assert_memory_equal(entry.tail, value + (values[i] - entry.head.tail_len), entry.head.tail_len);
		/* A row whose ETag is longer than it says does not add up. */
		row[offsetof(struct ld_entry_head, etag_len)]++;
		assert_int_equal(ld_entry_decode(row, len, &entry), LARDER_E_CORRUPT);
		row[offsetof(struct ld_entry_head, etag_len)] = LD_ETAG_MAX + 1;
		assert_int_equal(ld_entry_decode(row, len, &entry), LARDER_E_CORRUPT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tags_lie_before_the_space),
		cmocka_unit_test(test_an_etag_lies_before_the_tail),
		cmocka_unit_test(test_every_length_of_a_value),
		cmocka_unit_test(test_every_length_of_a_name),
		cmocka_unit_test(test_where_chunks_begin),
		cmocka_unit_test(test_every_changed_byte_is_noticed),
		cmocka_unit_test(test_another_key_is_noticed),
		cmocka_unit_test(test_new_times),
		cmocka_unit_test(test_cost_counts_pages),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_keys_sort),
	};

	return cmocka_run_group_tests(tests, fill_bytes, NULL);
}
