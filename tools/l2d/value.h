/* SPDX-License-Identifier: MIT */
/**
 * A value as the service keeps it: what was written, in which codec, and the times that came with it. In the cache it is a head of
 * L2D_HEAD_SIZE bytes, little-endian, and then the value's bytes, whatever codec it came in.
 *
 *     0  "L2D1"   4  codec   5  content   6  zero (2)   8  created ms   16  ttl ms   24  stale ms   32  hard end ms
 *     40  flags   44  zero (4)   48  hash of the bytes and of the fields before (8)   56  zero (8)
 */
#ifndef L2D_VALUE_H
#define L2D_VALUE_H

#include <stddef.h>
#include <stdint.h>

#define L2D_HEAD_SIZE 64

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
	int64_t hard_end_ms;      /* 0 = none */
	uint64_t hash;
	uint32_t flags;
	uint8_t codec;
	uint8_t content;
};

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
