/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: bodies of L2, read by both codecs. Whatever they are, they are refused with a reason, or become a value whose times are in
 * their bounds and not past its hard end, and which both codecs write and read again as it is.
 */
#include "l2/codec.h"

#include <larder/larder.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS INT64_C(1700000000000)
#define VALUE_MAX_B ((size_t)1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "broken: %s\n", what);
	abort();
}

static enum ld_codec_result decode(const void *body, size_t len, int is_json, struct ld_wire_value *ret_value)
{
	struct ld_wire_answer answer = { .body = body, .len = len, .is_json = is_json, .age_ms = -1, .max_age_s = -1,
		.stale_while_revalidate_s = -1, .default_ttl_ms = 300000, .default_stale_ms = 1000 };
	const char *why = NULL;
	enum ld_codec_result result = ld_codec_decode(&answer, NOW_MS, VALUE_MAX_B, ret_value, &why);

	require((result == LD_CODEC_OK) == (why == NULL), "a reason, and only for what is not taken");
	require(result == LD_CODEC_OK || result == LD_CODEC_EXPIRED || result == LD_CODEC_E_BODY, "result");
	return result;
}

static void check_life(const struct ld_wire_value *value)
{
	require(value->ttl_ms >= 0 && value->ttl_ms <= LARDER_TTL_MAX_MS, "TTL");
	require(value->stale_ms >= 0 && value->stale_ms <= LARDER_TTL_MAX_MS, "stale window");
	require(value->left_ms >= 0 && value->left_ms <= value->ttl_ms, "left of the TTL");
	require(value->stale_left_ms >= 0 && value->stale_left_ms <= value->stale_ms, "left of the stale window");
	require(value->error_ms >= 0 && value->error_ms <= LARDER_TTL_MAX_MS, "error window");
	require(value->error_left_ms >= 0 && value->error_left_ms <= value->error_ms, "left of the error window");
	require(value->left_ms + value->stale_left_ms > 0, "something is left");
	require(value->tag_count <= LD_WIRE_TAGS_MAX, "tags");
	require(value->created_ms >= 0 && value->created_ms <= NOW_MS, "creation");
	if (value->hard_end_ms != 0)
		require(NOW_MS + value->left_ms + value->stale_left_ms + value->error_left_ms <= value->hard_end_ms, "hard end");
	require(value->etag[0] == '\0' && !value->no_store, "what was not given");
}

/* As it was read, it is written and read again. */
static void check_json(const struct ld_wire_value *value)
{
	struct ld_wire_value again;
	struct ld_wire_body body;
	enum ld_codec_result result = ld_codec_encode(LD_CODEC_JSON, value, &body);

	require(result == (value->ttl_ms > 0 ? LD_CODEC_OK : LD_CODEC_UNKEPT), "writing JSON");
	if (result != LD_CODEC_OK)
		return;
	require(body.len <= ld_codec_body_max(value->len), "length of a body");
	require(decode(body.data, body.len, 1, &again) == LD_CODEC_OK, "reading what was written");
	require(again.len == value->len && memcmp(again.data, value->data, value->len) == 0, "bytes");
	require(again.ttl_ms == value->ttl_ms && again.stale_ms == value->stale_ms && again.created_ms == value->created_ms, "times");
	require(again.left_ms == value->left_ms && again.stale_left_ms == value->stale_left_ms, "what is left");
	require(again.error_ms == value->error_ms && again.error_left_ms == value->error_left_ms, "error window");
	require(again.tag_count == value->tag_count && memcmp(again.tags, value->tags, 8 * (size_t)value->tag_count) == 0, "tags as written");
	require(again.hard_end_ms == value->hard_end_ms && again.flags == value->flags, "hard end, flags");
	ld_wire_value_free(&again);
	ld_wire_body_free(&body);
}

/* Each header is a line of printable text. */
static void check_raw(const struct ld_wire_value *value)
{
	struct ld_wire_body body;
	enum ld_codec_result result = ld_codec_encode(LD_CODEC_RAW, value, &body);

	require(result == (value->ttl_ms >= 1000 ? LD_CODEC_OK : LD_CODEC_UNKEPT), "writing raw");
	if (result != LD_CODEC_OK)
		return;
	require(body.header_count >= 2 && body.header_count <= LD_WIRE_HEADERS_MAX && body.data == value->data, "headers");
	for (size_t i = 0; i < body.header_count; i++) {
		for (const char *at = body.headers[i].value; *at != '\0'; at++)
			require(*at >= 0x20 && *at < 0x7f, "a header's text");
	}
	ld_wire_body_free(&body);
}

/* The same body with another spelling of the key. Returns its length. */
static size_t respell(const uint8_t *data, size_t size, char *ret_body)
{
	static const char key[] = "\"value\"", other[] = "\"v\\u0061lue\"";
	size_t len = 0;

	for (size_t i = 0; i < size; ) {
		int is_key = size - i >= sizeof(key) - 1 && memcmp(data + i, key, sizeof(key) - 1) == 0;

		memcpy(ret_body + len, is_key ? (const void *)other : data + i, is_key ? sizeof(other) - 1 : 1);
		len += is_key ? sizeof(other) - 1 : 1;
		i += is_key ? sizeof(key) - 1 : 1;
	}
	return len;
}

/* A string taken out of the body beforehand is what jansson makes of it, which it is asked when the key is not spelled plainly. */
static void check_spelling(const uint8_t *data, size_t size)
{
	char *body = malloc(2 * size + 1);
	struct ld_wire_value plain = { 0 }, spelled = { 0 };
	enum ld_codec_result result = decode(data, size, 1, &plain);

	require(body != NULL, "memory");
	require(decode(body, respell(data, size, body), 1, &spelled) == result, "another spelling, another result");
	require(plain.left_ms == spelled.left_ms && plain.created_ms == spelled.created_ms && plain.flags == spelled.flags, "fields");
	/* In a value that is JSON, keys have been spelled anew, too. */
	if (result == LD_CODEC_OK && memmem(spelled.data, spelled.len, "\"v\\u0061lue\"", 12) == NULL)
		require(plain.len == spelled.len && memcmp(plain.data, spelled.data, plain.len) == 0, "another spelling, another value");
	ld_wire_value_free(&plain);
	ld_wire_value_free(&spelled);
	free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ld_wire_value value;

	check_spelling(data, size);
	if (decode(data, size, 1, &value) == LD_CODEC_OK) {
		check_life(&value);
		check_json(&value);
		check_raw(&value);
		ld_wire_value_free(&value);
	}
	if (decode(data, size, 0, &value) == LD_CODEC_OK) {
		require(value.data == data && value.len == size, "a raw value is the body");
		check_life(&value);
		check_json(&value);
	}
	return 0;
}
