/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: rows of the store. Whatever bytes stand in a row, taking it apart reads nothing outside of it; one that is taken apart can
 * be put together again to the same bytes, and its keys and costs stay in their bounds.
 */
#include "l1/entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "broken: %s\n", what);
	abort();
}

/* Pointers lead into the row, and what they lead to is all in it. */
static void check_parts(const uint8_t *row, size_t size, const struct ld_entry *entry)
{
	const struct ld_entry_head *head = &entry->head;
	const uint8_t *end = row + size;

	require(entry->tags == row + sizeof(*head) && head->tag_count <= LARDER_ENTRY_TAGS_MAX, "tags");
	require((const uint8_t *)entry->space == row + sizeof(*head) + 8 * (size_t)head->tag_count && head->space_len >= 1 && head->space_len <= LARDER_SPACE_MAX, "space");
	require(entry->name == NULL || (entry->name >= row && entry->name + head->name_len <= end), "name");
	require(entry->tail >= row && entry->tail + head->tail_len == end, "tail");
	require(head->name_len <= LARDER_NAME_MAX && ld_entry_name_chunks(head) <= 2, "chunks of the name");
	require((uint64_t)head->chunks * LD_CHUNK_B + head->tail_len >= head->value_len, "chunks of the value");
	require(ld_entry_cost(head, size, LD_KEY_MAX) >= size, "cost");
}

/* Encoded anew from its parts it is what it was; the value is there as far as it is in the row. */
static void check_encoding(const uint8_t *row, size_t size, const struct ld_entry *entry)
{
	uint64_t tags[LARDER_ENTRY_TAGS_MAX];
	unsigned char again[LD_ROW_MAX];
	unsigned char *value = calloc(1, (size_t)entry->head.tail_len + 1);

	require(value != NULL, "memory");
	if (entry->head.chunks == 0) {
		memcpy(value, entry->tail, entry->head.tail_len);
		for (unsigned i = 0; i < entry->head.tag_count; i++)
			tags[i] = ld_entry_tag(entry, i);
		ld_entry_encode(&entry->head, tags, entry->space, entry->name, entry->etag, value, again);
		require(memcmp(again, row, size) == 0, "encoding");
	}
	free(value);
	memcpy(again, row, size);
	ld_entry_stamp(again, size, 42);
	require(ld_entry_verify(again, size, row) == 0 || memcmp(again + 16, row + LARDER_DIGEST_SIZE - 8, 8) != 0, "stamp");
	ld_entry_retime(again, size, &(struct ld_entry_times){ 1, 2, 3 });
	require(again[size - 1] == row[size - 1], "new times change the head only");
}

static void check_key(const uint8_t *key, size_t size)
{
	size_t len = ld_entry_key_tenant(key, size);

	require(len <= LARDER_TENANT_MAX && (len == 0 || len + 1 + LARDER_DIGEST_SIZE == size), "tenant of a key");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ld_entry entry;
	int rc = ld_entry_decode(data, size, &entry);

	require(rc == 0 || rc == LARDER_E_CORRUPT, "result");
	check_key(data, size);
	if (rc != 0)
		return 0;
	check_parts(data, size, &entry);
	check_encoding(data, size, &entry);
	rc = ld_entry_verify(data, size, data);
	require(rc == 0 || rc == LARDER_E_CORRUPT, "verdict");
	return 0;
}
