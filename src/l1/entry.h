/* SPDX-License-Identifier: MIT */
/**
 * The format of an entry in the store: one row, and chunks of exactly one page for what does not fit (DESIGN decision 2).
 *
 *   key    tenant, one zero byte, digest (32 bytes)
 *   row    head (112 bytes), hashes of the tags, space, name (if kept and short enough), ETag (of a value from L2), tail of the value; at most
 *          LD_ROW_MAX bytes
 *   chunk  key: chunk id, index, both big-endian; data: LD_CHUNK_B bytes of the value from its start, then, if the name is
 *          chunked, the name
 *
 * A chunk id is the sequence of the transaction that wrote it: unique, growing, so chunks are appended. Numbers are native: a store never
 * leaves its host. Rows are checked against their own lengths and checksum before anything in them is believed.
 */
#ifndef LD_L1_ENTRY_H
#define LD_L1_ENTRY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <larder/larder.h>

/** One LMDB page less its header: a row or chunk up to this size takes one overflow page at most. */
enum { LD_CHUNK_B = 4080, LD_ROW_MAX = 4080, LD_NAME_INLINE_MAX = 1024 };
enum { LD_KEY_MAX = LARDER_TENANT_MAX + 1 + LARDER_DIGEST_SIZE, LD_CHUNK_KEY = 12 };
enum { LD_ENTRY_VERSION = 2 };
/** Longest ETag that is kept; a longer one is not. */
enum { LD_ETAG_MAX = 127 };
enum { LD_ENTRY_ABSENT = 1, LD_ENTRY_NAME_CHUNKED = 2 };

/**
 * 112 bytes. The times of an entry, each at or after the one before it:
 *
 *     created        fresh_until       stale_until        dead
 *     |---- fresh ----|---- stale ------|- error window ---|
 *                      served at once    served only when its source fails
 */
struct ld_entry_head {
	uint64_t row_sum;         /* of the row after this word */
	uint64_t value_sum;       /* of the whole value, if it has chunks; else 0 */
	uint64_t digest_tail;     /* last 8 bytes of the digest: a row under a wrong key is noticed */
	uint64_t seq;             /* write transaction: file generation << 48 | its number, never used again */
	uint64_t chunk_id;        /* 0 = no chunks */
	int64_t created_ms;       /* boot clock, as the next three */
	int64_t fresh_until_ms;
	int64_t stale_until_ms;   /* end of the stale window */
	int64_t dead_ms;          /* end of the error window */
	int64_t hard_end_ms;      /* wall clock; 0 = none; ends every window */
	uint32_t value_len;
	uint32_t flags;           /* the caller's */
	uint32_t chunks;
	uint32_t load_ms;         /* what it took to load it; 0 = not known */
	uint16_t name_len;
	uint16_t key_id;
	uint16_t tail_len;        /* bytes of the value in the row */
	uint8_t space_len;
	uint8_t bits;             /* LD_ENTRY_ABSENT, LD_ENTRY_NAME_CHUNKED */
	uint8_t version;
	uint8_t etag_len;         /* 0 = none */
	uint8_t tag_count;        /* 0..LARDER_ENTRY_TAGS_MAX */
	uint8_t pad[5];
};
_Static_assert(sizeof(struct ld_entry_head) == 112, "layout");

/** A row, taken apart. Pointers go into the row. */
struct ld_entry {
	struct ld_entry_head head;
	const unsigned char *tags;/* tag_count hashes of 8 bytes, not aligned: ld_entry_tag() */
	const char *space;        /* not terminated */
	const unsigned char *name;/* NULL when none is kept, or it is chunked */
	const char *etag;         /* not terminated; etag_len bytes */
	const unsigned char *tail;
};

/** A tag's hash: it says which words of the segment hide the entry (shm/barrier.h). */
static inline uint64_t ld_entry_tag(const struct ld_entry *entry, unsigned index)
{
	uint64_t tag;

	memcpy(&tag, entry->tags + 8 * (size_t)index, sizeof(tag));
	return tag;
}

/**
 * Lay a value out: sets value_len, name_len, space_len, etag_len, chunks, tail_len, bits of the head, whose tag_count is set already; returns the
 * row's size. etag_len 0..LD_ETAG_MAX.
 */
size_t ld_entry_plan(struct ld_entry_head *head, size_t space_len, size_t name_len, size_t etag_len, size_t value_len);

/** Write the row; head is whole but for row_sum. tags: its tag_count hashes. row has the planned size. */
void ld_entry_encode(const struct ld_entry_head *head, const uint64_t *tags, const char *space, const void *name, const char *etag, const void *value, unsigned char *row);

/** Put seq and chunk id of a transaction into an encoded row and seal it with its checksum. */
void ld_entry_stamp(unsigned char *row, size_t row_len, uint64_t seq);

/** Give an encoded row new times and seal it. */
struct ld_entry_times { int64_t fresh_until_ms, stale_until_ms, dead_ms; };
void ld_entry_retime(unsigned char *row, size_t row_len, const struct ld_entry_times *times);

/**
 * Take a row apart. Any bytes may come in. Returns 0; LARDER_E_CORRUPT lengths that do not add up, an unknown version.
 * ld_entry_verify() checks the checksum and the digest besides: 0 or LARDER_E_CORRUPT.
 */
int ld_entry_decode(const void *row, size_t row_len, struct ld_entry *ret_entry);
int ld_entry_verify(const void *row, size_t row_len, const unsigned char *digest);

/** Chunks that hold the name; they come after those of the value. */
uint32_t ld_entry_name_chunks(const struct ld_entry_head *head);

/** What an entry costs its tenant, in bytes: its row and key, or whole pages. */
uint64_t ld_entry_cost(const struct ld_entry_head *head, size_t row_len, size_t key_len);

/** Keys. The tenant is checked already. Return the length. */
size_t ld_entry_key(const char *tenant, const unsigned char *digest, unsigned char ret_key[LD_KEY_MAX]);
/** Split a key: length of the tenant, or 0 when it is no key. */
size_t ld_entry_key_tenant(const void *key, size_t key_len);
void ld_entry_chunk_key(uint64_t chunk_id, uint32_t index, unsigned char ret_key[LD_CHUNK_KEY]);

#endif
