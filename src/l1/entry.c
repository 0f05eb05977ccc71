/* SPDX-License-Identifier: MIT */
/*
 * Encoding and decoding of entries, without a store: plain bytes in, plain bytes out. Called by whoever reads or writes rows. It must never
 * read outside the row, whatever the row holds: a fuzz target feeds it anything.
 */
#include "l1/entry.h"

#include <stddef.h>
#include <string.h>

#include "crypto/hash.h"

#define SUM_FROM (offsetof(struct ld_entry_head, value_sum))

/* How a value lies: the one way for these lengths. */
struct layout {
	size_t row_len;
	uint32_t chunks;
	uint16_t tail_len;
	uint8_t name_chunked;
};

/* space_len: of all that stands before the tail but the head and the name. */
static struct layout lay_out(size_t space_len, size_t name_len, size_t value_len)
{
	struct layout layout = { .name_chunked = name_len > LD_NAME_INLINE_MAX ? LD_ENTRY_NAME_CHUNKED : 0 };
	size_t fixed = sizeof(struct ld_entry_head) + space_len + (layout.name_chunked ? 0 : name_len), tail = value_len;

	if (fixed + value_len > LD_ROW_MAX) {
		layout.chunks = (uint32_t)(value_len / LD_CHUNK_B);
		tail = value_len % LD_CHUNK_B;
		if (fixed + tail > LD_ROW_MAX) {
			layout.chunks++;
			tail = 0;
		}
	}
	layout.tail_len = (uint16_t)tail;
	layout.row_len = fixed + tail;
	return layout;
}

static size_t tags_len(const struct ld_entry_head *head)
{
	return sizeof(uint64_t) * (size_t)head->tag_count;
}

size_t ld_entry_plan(struct ld_entry_head *head, size_t space_len, size_t name_len, size_t etag_len, size_t value_len)
{
	struct layout layout = lay_out(tags_len(head) + space_len + etag_len, name_len, value_len);

	head->space_len = (uint8_t)space_len;
	head->name_len = (uint16_t)name_len;
	head->etag_len = (uint8_t)etag_len;
	head->value_len = (uint32_t)value_len;
	head->bits = (uint8_t)((head->bits & ~LD_ENTRY_NAME_CHUNKED) | layout.name_chunked);
	head->chunks = layout.chunks;
	head->tail_len = layout.tail_len;
	return layout.row_len;
}

uint32_t ld_entry_name_chunks(const struct ld_entry_head *head)
{
	return head->bits & LD_ENTRY_NAME_CHUNKED ? (head->name_len + LD_CHUNK_B - 1u) / LD_CHUNK_B : 0;
}

static size_t inline_name(const struct ld_entry_head *head)
{
	return head->bits & LD_ENTRY_NAME_CHUNKED ? 0 : head->name_len;
}

void ld_entry_encode(const struct ld_entry_head *head, const uint64_t *tags, const char *space, const void *name, const char *etag, const void *value, unsigned char *row)
{
	unsigned char *at = row;

	memcpy(at, head, sizeof(*head));
	at += sizeof(*head);
	if (head->tag_count)
		memcpy(at, tags, tags_len(head));
	at += tags_len(head);
	memcpy(at, space, head->space_len);
	at += head->space_len;
	if (inline_name(head))
		memcpy(at, name, head->name_len);
	at += inline_name(head);
	if (head->etag_len)
		memcpy(at, etag, head->etag_len);
	at += head->etag_len;
	if (head->tail_len)
		memcpy(at, (const unsigned char *)value + (head->value_len - head->tail_len), head->tail_len);
}

static void seal(unsigned char *row, size_t row_len)
{
	uint64_t sum = ld_hash64(row + SUM_FROM, row_len - SUM_FROM);

	memcpy(row, &sum, sizeof(sum));
}

static void put_number(unsigned char *row, size_t at, const void *number)
{
	memcpy(row + at, number, 8);
}

void ld_entry_stamp(unsigned char *row, size_t row_len, uint64_t seq)
{
	struct ld_entry_head head;
	uint64_t chunk_id;

	memcpy(&head, row, sizeof(head));
	chunk_id = head.chunks + ld_entry_name_chunks(&head) ? seq : 0;
	put_number(row, offsetof(struct ld_entry_head, seq), &seq);
	put_number(row, offsetof(struct ld_entry_head, chunk_id), &chunk_id);
	seal(row, row_len);
}

void ld_entry_retime(unsigned char *row, size_t row_len, const struct ld_entry_times *times)
{
	put_number(row, offsetof(struct ld_entry_head, fresh_until_ms), &times->fresh_until_ms);
	put_number(row, offsetof(struct ld_entry_head, stale_until_ms), &times->stale_until_ms);
	put_number(row, offsetof(struct ld_entry_head, dead_ms), &times->dead_ms);
	seal(row, row_len);
}

/* Do chunks and tail hold exactly the value, in the one way that there is? */
static int layout_is_whole(const struct ld_entry_head *head, size_t row_len)
{
	struct layout layout = lay_out(tags_len(head) + head->space_len + head->etag_len, head->name_len, head->value_len);

	return layout.row_len == row_len && layout.chunks == head->chunks && layout.tail_len == head->tail_len &&
	    layout.name_chunked == (head->bits & LD_ENTRY_NAME_CHUNKED);
}

int ld_entry_decode(const void *row, size_t row_len, struct ld_entry *ret_entry)
{
	struct ld_entry_head *head = &ret_entry->head;
	const unsigned char *at = row;

	if (row_len < sizeof(*head) || row_len > LD_ROW_MAX)
		return LARDER_E_CORRUPT;
	memcpy(head, row, sizeof(*head));
	if (head->version != LD_ENTRY_VERSION || head->bits & ~(LD_ENTRY_ABSENT | LD_ENTRY_NAME_CHUNKED) || head->space_len < 1 ||
	    head->space_len > LARDER_SPACE_MAX || head->name_len > LARDER_NAME_MAX ||
	    head->etag_len > LD_ETAG_MAX || head->tag_count > LARDER_ENTRY_TAGS_MAX || !layout_is_whole(head, row_len))
		return LARDER_E_CORRUPT;
	at += sizeof(*head);
	ret_entry->tags = at;
	at += tags_len(head);
	ret_entry->space = (const char *)at;
	at += head->space_len;
	ret_entry->name = inline_name(head) ? at : NULL;
	at += inline_name(head);
	ret_entry->etag = (const char *)at;
	at += head->etag_len;
	ret_entry->tail = at;
	return 0;
}

int ld_entry_verify(const void *row, size_t row_len, const unsigned char *digest)
{
	const unsigned char *bytes = row;
	uint64_t sum;

	memcpy(&sum, bytes, sizeof(sum));
	if (memcmp(bytes + offsetof(struct ld_entry_head, digest_tail), digest + LARDER_DIGEST_SIZE - 8, 8) != 0)
		return LARDER_E_CORRUPT;
	return ld_hash64(bytes + SUM_FROM, row_len - SUM_FROM) == sum ? 0 : LARDER_E_CORRUPT;
}

uint64_t ld_entry_cost(const struct ld_entry_head *head, size_t row_len, size_t key_len)
{
	/* A row of more than half a page goes to a page of its own. */
	uint64_t row = row_len + key_len > 2000 ? 4096 : row_len + key_len + 16;

	return row + 4096u * (uint64_t)(head->chunks + ld_entry_name_chunks(head));
}

size_t ld_entry_key(const char *tenant, const unsigned char *digest, unsigned char ret_key[LD_KEY_MAX])
{
	size_t len = strlen(tenant);

	memcpy(ret_key, tenant, len);
	ret_key[len] = 0;
	memcpy(ret_key + len + 1, digest, LARDER_DIGEST_SIZE);
	return len + 1 + LARDER_DIGEST_SIZE;
}

size_t ld_entry_key_tenant(const void *key, size_t key_len)
{
	size_t len = key_len - 1 - LARDER_DIGEST_SIZE;

	if (key_len < 2 + LARDER_DIGEST_SIZE || len > LARDER_TENANT_MAX || ((const unsigned char *)key)[len] != 0 ||
	    memchr(key, 0, len) != NULL)
		return 0;
	return len;
}

void ld_entry_chunk_key(uint64_t chunk_id, uint32_t index, unsigned char ret_key[LD_CHUNK_KEY])
{
	for (int i = 0; i < 8; i++)
		ret_key[i] = (unsigned char)(chunk_id >> (56 - 8 * i));
	for (int i = 0; i < 4; i++)
		ret_key[8 + i] = (unsigned char)(index >> (24 - 8 * i));
}
