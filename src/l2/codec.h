/* SPDX-License-Identifier: MIT */
/**
 * Values on their way to L2 and back, in two forms (DESIGN decisions 21, 23):
 *
 *     JSON  {"value":V,"encoding":"base64","ttl":60.5,"stale":30,"stale_if_error":600,"created":1700000000000,"hard_end":1700000600000,"flags":7,
 *            "larder_tags":["0123456789abcdef"]}
 *     raw   the bytes; Cache-Control: max-age=60, stale-while-revalidate=30, stale-if-error=630; X-Larder-Created, X-Larder-Hard-End,
 *            X-Larder-Flags, X-Larder-Tags: 0123456789abcdef,...
 *
 * Which form a value is written in is a setting; an answer is read in the form that its content type says. In JSON, V is the value itself
 * where that is an object or array of at most LD_WIRE_JSON_MAX_B, written as jansson would: no blanks, numbers of at most 15 digits, no
 * escape that need not be. Else it is a string where the value is UTF-8 without NUL, else base64 in a string. In JSON the error window is told from the end
 * of the stale window on, in raw, as RFC 5861 has it, from the end of the TTL on. A tag is a keyed hash, 16 lower-case hex digits. Times in JSON have
 * milliseconds; those in raw whole seconds, rounded
 * down, so that nothing lives longer there than it may.
 *
 * `now` and every time that ends a name of `created`, `hard_end` or `modified` is wall clock, milliseconds since 1970, 0 = not given.
 * Blocks: no. Threads, fork: any. The only user of jansson in l2/ is codec_json.c.
 */
#ifndef LD_L2_CODEC_H
#define LD_L2_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "l2/http_text.h"

enum ld_codec {
	LD_CODEC_JSON = 0,
	LD_CODEC_RAW = 1
};

enum ld_codec_result {
	LD_CODEC_OK = 0,
	LD_CODEC_EXPIRED = 1,       /* neither fresh nor stale any more, or past its hard end: a miss */
	LD_CODEC_UNKEPT = 2,        /* this form cannot carry so short a life: delete what L2 has instead */
	LD_CODEC_E_BODY = -1,       /* not a body that this codec writes or reads */
	LD_CODEC_E_NOMEM = -2
};

/** Headers that a written value needs; names and texts live as long as the struct ld_wire_body. */
struct ld_wire_header {
	const char *name;
	const char *value;
};

enum {
	LD_WIRE_HEADERS_MAX = 6,
	LD_WIRE_TEXT_MAX = 480,     /* of all texts that are not constants */
	/** Most tags of a value. */
	LD_WIRE_TAGS_MAX = LD_HTTP_TAGS_MAX,
	/** Longest JSON object or array that is written as such: parsing it costs the reader more than a round trip if it is longer. */
	LD_WIRE_JSON_MAX_B = 4096,
	/** Deepest nesting of a JSON body. */
	LD_WIRE_DEPTH_MAX = 64
};
/** What a JSON body may take when it is parsed: a bound for bodies like [{},{},...], of a hundred times their size in memory. */
#define LD_WIRE_TREE_MAX_B ((size_t)64 << 20)

/** A value, to be written or as it was read. */
struct ld_wire_value {
	const unsigned char *data;  /* read: NULL only with len 0 in raw */
	size_t len;
	int64_t ttl_ms;             /* from its creation on; written: 1..LARDER_TTL_MAX_MS; read: 0..LARDER_TTL_MAX_MS */
	int64_t stale_ms;           /* 0..LARDER_TTL_MAX_MS */
	int64_t error_ms;           /* the same: window after the stale one, in which it is served only when its source fails */
	int64_t left_ms;            /* read only: 0..ttl_ms; 0 while stale_left_ms is not: stale already */
	int64_t stale_left_ms;      /* read only: 0..stale_ms, counted from the end of left_ms */
	int64_t error_left_ms;      /* read only: 0..error_ms, counted from the end of stale_left_ms */
	int64_t created_ms;         /* read: at most now, 0 undated */
	int64_t hard_end_ms;
	uint32_t flags;
	uint32_t tag_count;         /* 0..LD_WIRE_TAGS_MAX */
	uint64_t tags[LD_WIRE_TAGS_MAX]; /* keyed hashes */
	int no_store;               /* read only: 1 give it to the caller and do not keep it, whatever the times are */
	char etag[LD_HTTP_ETAG_SIZE]; /* read only: "" none */
	void *memory;               /* read only: what data lies in, if not in the answer's body; of malloc(3), a NUL behind the data; may be taken over */
};

/** A value as it is sent. Not to be copied: headers point into it. */
struct ld_wire_body {
	const unsigned char *data;  /* raw: the value's own bytes, borrowed */
	size_t len;
	void *memory;               /* JSON: what data lies in */
	size_t header_count;
	struct ld_wire_header headers[LD_WIRE_HEADERS_MAX];
	char text[LD_WIRE_TEXT_MAX];
};

/** An answer of L2, its headers parsed (http_text.h). All numbers may be anything; -1 or 0 where they were not given. */
struct ld_wire_answer {
	const void *body;           /* borrowed; ld_codec_renew() does not look at it */
	size_t len;
	int is_json;
	int no_store;               /* no-store, private or no-cache */
	int64_t age_ms;             /* -1 not given */
	int64_t max_age_s;          /* of max-age or Expires; -1 not given; malformed: 0 */
	int64_t stale_while_revalidate_s; /* -1 not given */
	int64_t stale_if_error_s;   /* -1 not given */
	int64_t created_ms;
	int64_t hard_end_ms;
	int64_t last_modified_ms;
	uint32_t flags;
	const char *etag;           /* as ld_http_etag() gives it, or NULL */
	int64_t default_ttl_ms;     /* the policy's times, for an answer that gives none; 0..LARDER_TTL_MAX_MS */
	int64_t default_stale_ms;
	int64_t default_error_ms;
	int want_error_window;      /* 1: a value that is in its error window is taken too, with left_ms and stale_left_ms 0 */
	int bad_tags;               /* 1: tags were given that are none: the value cannot be told from one that was invalidated */
	uint32_t tag_count;         /* 0..LD_WIRE_TAGS_MAX */
	const uint64_t *tags;
};

/**
 * Write a value. Raw borrows value->data until ld_wire_body_free(). value->len below SIZE_MAX / 8.
 *
 * Returns   LD_CODEC_OK; LD_CODEC_UNKEPT: raw with a TTL below a second, or a TTL below 1 ms; LD_CODEC_E_NOMEM. Unless OK nothing is written.
 */
enum ld_codec_result ld_codec_encode(enum ld_codec codec, const struct ld_wire_value *value, struct ld_wire_body *ret_body);

/** Free what it has; zeroed is fine. */
void ld_wire_body_free(struct ld_wire_body *body);

/** The longest body that a value of at most value_max bytes can come in: JSON, every byte an escape of six. For the client's cap. */
size_t ld_codec_body_max(size_t value_max);

/**
 * Read an answer that has a body (200). What is left of the TTL is ttl - max(Age, now - created), and never more than hard_end - now:
 *
 *   ttl      JSON's "ttl"; else max-age, or Expires; else the default, and then Last-Modified does for a creation time that is not given. (With a
 *            max-age it does not: max-age counts from the answer on, and is less by its Age.)
 *   stale    given together with that ttl: "stale", stale-while-revalidate or the default; the error window likewise
 *   tags     JSON's "larder_tags", else the header's, else JSON's "tags" where those are written as ours
 *   created  JSON's "created", else the header's; else Last-Modified, which then only dates the value. The future is taken as now.
 *   hard end the earlier one of JSON's and the header's
 *
 * Of JSON: null is as not given, but for the value; unknown fields do not count; "data" does for "value". A time or flag that is negative
 * or of a wrong type makes the body bad, and so do larder_tags that are none, or more than
 * LD_WIRE_TAGS_MAX, in either form, while "tags" that are not ours are an unknown field; a TTL or stale window above ten years is ten years. A V that
 * is no string is taken as its text, without blanks, digit for digit. Duplicate keys, a key with \u0000, numbers above 1e308, half surrogates, invalid UTF-8, base64
 * that is not exactly what RFC 4648 writes, a nesting or tree beyond the bounds above: bad.
 *
 * value_max most bytes of a value
 * ret_value on OK. Free with ld_wire_value_free(), or take `memory` over. data of a raw value is the answer's body.
 * ret_why   otherwise: the reason in words, static
 *
 * Returns   LD_CODEC_OK; LD_CODEC_EXPIRED; LD_CODEC_E_BODY; LD_CODEC_E_NOMEM. (When jansson runs out of memory in the middle of a
 *           string it says that the string is bad, and so do we.)
 */
enum ld_codec_result ld_codec_decode(const struct ld_wire_answer *answer, int64_t now_ms, size_t value_max,
    struct ld_wire_value *ret_value, const char **ret_why);

void ld_wire_value_free(struct ld_wire_value *value);

/**
 * The value that the caller has is still good (304): new times for it, from the headers, as ld_codec_decode() finds them. value has the
 * entry's hard_end_ms, created_ms, tags and etag; the earlier hard end counts, and what the answer does not give stays. Its data is not touched.
 *
 * Returns   LD_CODEC_OK; LD_CODEC_EXPIRED: nothing is left, or its tags are none; value is as it was
 */
enum ld_codec_result ld_codec_renew(const struct ld_wire_answer *answer, int64_t now_ms, struct ld_wire_value *value);

#endif
