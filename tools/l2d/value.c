/* SPDX-License-Identifier: MIT */
/*
 * Head and entity tag of a kept value (value.h). The tag is of everything that a reader could tell apart - the bytes, the times, the flags, the
 * codec - so that a 304 never hides a change; it is a hash for finding accidents, not forgery.
 */
#include "value.h"

#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static const char magic[4] = { 'L', '2', 'D', '2' };

static void put(unsigned char *to, uint64_t number, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (unsigned char)(number >> (8 * i));
}

static uint64_t take(const unsigned char *from, unsigned bytes)
{
	uint64_t number = 0;
	for (unsigned i = 0; i < bytes; i++)
		number |= (uint64_t)from[i] << (8 * i);
	return number;
}

void l2d_value_pack(struct l2d_value *value, unsigned char head[L2D_HEAD_SIZE])
{
	memset(head, 0, L2D_HEAD_SIZE);
	memcpy(head, magic, sizeof(magic));
	head[4] = value->codec;
	head[5] = value->content;
	head[6] = value->tag_count;
	put(head + 8, (uint64_t)value->created_ms, 8);
	put(head + 16, (uint64_t)value->ttl_ms, 8);
	put(head + 24, (uint64_t)value->stale_ms, 8);
	put(head + 32, (uint64_t)value->hard_end_ms, 8);
	put(head + 40, value->flags, 4);
	put(head + 56, (uint64_t)value->error_ms, 8);
	for (unsigned i = 0; i < value->tag_count; i++)
		put(head + 64 + 8 * i, value->tags[i], 8);
	value->hash = XXH3_64bits_withSeed(value->data, value->len, XXH3_64bits(head, L2D_HEAD_SIZE));
	put(head + 48, value->hash, 8);
}

int l2d_value_unpack(const void *data, size_t len, struct l2d_value *ret_value)
{
	const unsigned char *head = data;

	if (len < L2D_HEAD_SIZE || memcmp(head, magic, sizeof(magic)) != 0 || head[4] > L2D_JSON || head[6] > L2D_TAGS_MAX)
		return -1;
	*ret_value = (struct l2d_value){
		.data = head + L2D_HEAD_SIZE, .len = len - L2D_HEAD_SIZE, .codec = head[4], .content = head[5],
		.created_ms = (int64_t)take(head + 8, 8), .ttl_ms = (int64_t)take(head + 16, 8), .stale_ms = (int64_t)take(head + 24, 8),
		.hard_end_ms = (int64_t)take(head + 32, 8), .flags = (uint32_t)take(head + 40, 4), .hash = take(head + 48, 8),
		.error_ms = (int64_t)take(head + 56, 8), .tag_count = head[6],
	};
	for (unsigned i = 0; i < ret_value->tag_count; i++)
		ret_value->tags[i] = take(head + 64 + 8 * i, 8);
	return 0;
}

int l2d_tag_read(const char *text, size_t len, uint64_t *ret_tag)
{
	uint64_t tag = 0;

	if (len != 16)
		return -1;
	for (size_t i = 0; i < len; i++) {
		int letter = text[i] >= 'a' && text[i] <= 'f';

		if (!letter && !(text[i] >= '0' && text[i] <= '9'))
			return -1;
		tag = tag << 4 | (uint64_t)(letter ? text[i] - 'a' + 10 : text[i] - '0');
	}
	*ret_tag = tag;
	return 0;
}

size_t l2d_tags_write(const struct l2d_value *value, const char *quote, char *to, size_t room)
{
	size_t len = 0;

	to[0] = '\0';
	for (unsigned i = 0; i < value->tag_count; i++)
		len += (size_t)snprintf(to + len, room - len, "%s%s%016llx%s", i ? "," : "", quote, (unsigned long long)value->tags[i], quote);
	return len;
}

void l2d_value_etag(const struct l2d_value *value, enum l2d_codec codec, char etag[L2D_ETAG_SIZE])
{
	snprintf(etag, L2D_ETAG_SIZE, "\"%016llx%c\"", (unsigned long long)value->hash, codec == L2D_JSON ? 'j' : 'r');
}

int l2d_value_etag_in(const char *list, const char *etag)
{
	size_t len = strlen(etag);

	while (*list) {
		list += strspn(list, " \t,");
		if (*list == '*')
			return 1;
		if (strncmp(list, "W/", 2) == 0)
			list += 2;
		if (*list != '"')
			return 0;
		const char *end = strchr(list + 1, '"');
		if (end == NULL)
			return 0;
		if ((size_t)(end + 1 - list) == len && memcmp(list, etag, len) == 0)
			return 1;
		list = end + 1;
	}
	return 0;
}

uint64_t l2d_hash(const void *data, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, len, seed);
}
