/* SPDX-License-Identifier: MIT */
/**
 * Between the files of the codec (codec.h): what each form knows how to do, and what a body told about its value. Nobody else
 * includes this.
 */
#ifndef LD_L2_CODEC_INSIDE_H
#define LD_L2_CODEC_INSIDE_H

#include "l2/codec.h"

/** A value's bytes, and what the body said of it. Zeroed but for ttl_ms, stale_ms and error_ms, which are -1, = nothing. */
struct ld_wire_told {
	const unsigned char *data;
	size_t len;
	void *memory;
	int64_t ttl_ms;         /* -1 or 0..LARDER_TTL_MAX_MS */
	int64_t stale_ms;       /* the same */
	int64_t error_ms;       /* the same */
	int64_t created_ms;
	int64_t hard_end_ms;
	uint32_t flags;
	int has_flags;
	int has_tags;
	uint32_t tag_count;
	uint64_t tags[LD_WIRE_TAGS_MAX];
};
#define LD_WIRE_TOLD_NOTHING { .ttl_ms = -1, .stale_ms = -1, .error_ms = -1 }

/**
 * May this text be V itself, as an object or array, and come back byte for byte from whoever keeps JSON by its meaning, if not from one who sorts keys?
 * 1 or 0; 0 when memory is out. At most LD_WIRE_JSON_MAX_B are looked at: 16 ns a byte for the parser, 8 to print it again.
 */
int ld_codec_json_is_value(const char *text, size_t len);

/** value is in its bounds. Returns LD_CODEC_OK or LD_CODEC_E_NOMEM. */
enum ld_codec_result ld_codec_json_encode(const struct ld_wire_value *value, struct ld_wire_body *ret_body);
/** Returns LD_CODEC_OK, LD_CODEC_E_BODY or LD_CODEC_E_NOMEM; unless OK there is a reason. memory is the caller's to free. */
enum ld_codec_result ld_codec_json_decode(const struct ld_wire_answer *answer, size_t value_max, struct ld_wire_told *ret_told,
    const char **ret_why);

/**
 * What is around the value of an envelope, when it is nothing but numbers that are known, and perhaps "encoding":"base64". value: a whole string,
 * perhaps with blanks around it, in the body. Returns 0, told has the times and flags, ret_encoded is 1 or 0; -1 it is something else, told is
 * untouched, and jansson must say.
 */
int ld_codec_json_quick(const char *body, size_t len, const char *value, size_t value_len, struct ld_wire_told *told, int *ret_encoded);

/** Returns LD_CODEC_OK or LD_CODEC_UNKEPT. */
enum ld_codec_result ld_codec_raw_encode(const struct ld_wire_value *value, struct ld_wire_body *ret_body);
enum ld_codec_result ld_codec_raw_decode(const struct ld_wire_answer *answer, size_t value_max, struct ld_wire_told *ret_told,
    const char **ret_why);

/** Append a header whose value is a constant, or lies in body->text. */
void ld_wire_body_header(struct ld_wire_body *body, const char *name, const char *value);

#endif
