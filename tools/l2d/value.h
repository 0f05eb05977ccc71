/* SPDX-License-Identifier: MIT */
/**
 * A value as the service keeps it: what was written, in which codec, and the times that came with it. In the cache it is a head of
 * L2D_HEAD_SIZE bytes, little-endian, and then the value's bytes, whatever codec it came in.
 *
 *     0  "L2D2"   4  codec   5  content   6  tags (1)   7  zero (1)   8  created ms   16  ttl ms   24  stale ms   32  hard end ms
 *     40  flags   44  zero (4)   48  hash of the bytes and of all other fields (8)   56  error ms   64  tags, zeros behind them (16 x 8)
 */
#ifndef L2D_VALUE_H
#define L2D_VALUE_H

#include <stddef.h>
#include <stdint.h>

#define L2D_TAGS_MAX 16
#define L2D_HEAD_SIZE (64 + 8 * L2D_TAGS_MAX)

enum l2d_codec { L2D_RAW = 0, L2D_JSON = 1 };

/** The bytes are the compact text of a JSON value that is no string. */
#define L2D_CONTENT_JSON 1
/** They came as base64, and go back so in JSON. */
#define L2D_CONTENT_BASE64 2
/** created_ms is known. */
#define L2D_CONTENT_DATED 4

struct l2d_value {
	const void *data;         /* borrowed */
	size_t len;
	int64_t created_ms;       /* wall clock, ms since 1970; 0 and not DATED = unknown */
	int64_t ttl_ms;
	int64_t stale_ms;
	int64_t error_ms;         /* after the stale window */
	int64_t hard_end_ms;      /* 0 = none */
	uint64_t hash;
	uint32_t flags;
	uint8_t codec;
	uint8_t content;
	uint8_t tag_count;        /* 0..L2D_TAGS_MAX */
	uint64_t tags[L2D_TAGS_MAX];
};

/** A tag as it travels: 16 hex digits in lower case, nothing else. Returns 0 or -1. */
int l2d_tag_read(const char *text, size_t len, uint64_t *ret_tag);
/** All of its tags with commas between them, each in quotes of this kind, "" for none. room: 19 bytes a tag, and one. Returns the length. */
size_t l2d_tags_write(const struct l2d_value *value, const char *quote, char *to, size_t room);

/** Write the head, and set value->hash. */
void l2d_value_pack(struct l2d_value *value, unsigned char head[L2D_HEAD_SIZE]);
/** Read head and bytes; value->data is inside data. Returns 0, or -1 when it is none of ours. */
int l2d_value_unpack(const void *data, size_t len, struct l2d_value *ret_value);

/** Room for an entity tag, with its quotes. */
#define L2D_ETAG_SIZE 24
/** A strong tag of the representation in this codec. */
void l2d_value_etag(const struct l2d_value *value, enum l2d_codec codec, char etag[L2D_ETAG_SIZE]);
/** Does an If-None-Match have this tag? Weak comparison, as RFC 9110 has it; "*" has every tag. */
int l2d_value_etag_in(const char *list, const char *etag);

/** 64 bits of a hash of bytes, for tables in memory. */
uint64_t l2d_hash(const void *data, size_t len, uint64_t seed);

#endif
