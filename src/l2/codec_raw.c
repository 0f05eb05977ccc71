/* SPDX-License-Identifier: MIT */
/*
 * The raw codec (codec.h): the value is the body, everything about it is in headers. Called by codec.c. It copies nothing. It must
 * never write a longer time than the value has: whole seconds, rounded down.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "l2/codec_inside.h"

/* The next free place in body->text, which the longest texts together do not fill. */
static const char *finish(struct ld_text *text, struct ld_text *rest)
{
	const char *begin = text->data;

	ld_text_init(rest, text->data + text->len + 1, text->size - text->len - 1);
	return begin;
}

static const char *number_text(struct ld_text *rest, uint64_t number)
{
	struct ld_text text = *rest;

	ld_text_addf(&text, "%" PRIu64, number);
	return finish(&text, rest);
}

/* Each window ends when it would, to the second: what the TTL loses by rounding is not lost twice. Both are counted from the end of the TTL on. */
static const char *cache_control_text(struct ld_text *rest, const struct ld_wire_value *value)
{
	struct ld_text text = *rest;
	int64_t fresh_s = value->ttl_ms / 1000, stale_s = (value->ttl_ms + value->stale_ms) / 1000 - fresh_s;
	int64_t error_s = (value->ttl_ms + value->stale_ms + value->error_ms) / 1000 - fresh_s;

	ld_text_addf(&text, "max-age=%" PRId64, fresh_s);
	if (value->stale_ms > 0 && stale_s > 0)
		ld_text_addf(&text, ", stale-while-revalidate=%" PRId64, stale_s);
	if (value->error_ms > 0 && error_s > 0)
		ld_text_addf(&text, ", stale-if-error=%" PRId64, error_s);
	return finish(&text, rest);
}

static const char *tags_text(struct ld_text *rest, const struct ld_wire_value *value)
{
	struct ld_text text = *rest;

	for (uint32_t i = 0; i < value->tag_count; i++)
		ld_text_addf(&text, "%s%016" PRIx64, i == 0 ? "" : ",", value->tags[i]);
	return finish(&text, rest);
}

/* "max-age=315360000, stale-while-revalidate=315360000, stale-if-error=630720000", two numbers of 19 digits and one of 10, the tags, a NUL each, and one to
 * begin with. */
_Static_assert(LD_WIRE_TEXT_MAX >= 78 + 2 * 20 + 11 + 17 * LD_WIRE_TAGS_MAX + 1, "every text has its room");

enum ld_codec_result ld_codec_raw_encode(const struct ld_wire_value *value, struct ld_wire_body *ret_body)
{
	struct ld_text rest;

	if (value->ttl_ms < 1000)
		return LD_CODEC_UNKEPT;
	*ret_body = (struct ld_wire_body){ .data = value->data, .len = value->len };
	ld_text_init(&rest, ret_body->text, sizeof(ret_body->text));
	ld_wire_body_header(ret_body, "Content-Type", "application/octet-stream");
	ld_wire_body_header(ret_body, "Cache-Control", cache_control_text(&rest, value));
	if (value->created_ms > 0)
		ld_wire_body_header(ret_body, "X-Larder-Created", number_text(&rest, (uint64_t)value->created_ms));
	if (value->hard_end_ms > 0)
		ld_wire_body_header(ret_body, "X-Larder-Hard-End", number_text(&rest, (uint64_t)value->hard_end_ms));
	if (value->flags != 0)
		ld_wire_body_header(ret_body, "X-Larder-Flags", number_text(&rest, value->flags));
	if (value->tag_count > 0)
		ld_wire_body_header(ret_body, "X-Larder-Tags", tags_text(&rest, value));
	return LD_CODEC_OK;
}

enum ld_codec_result ld_codec_raw_decode(const struct ld_wire_answer *answer, size_t value_max, struct ld_wire_told *ret_told,
    const char **ret_why)
{
	if (answer->len > value_max) {
		*ret_why = "the value is larger than it may be";
		return LD_CODEC_E_BODY;
	}
	ret_told->data = answer->body;
	ret_told->len = answer->len;
	return LD_CODEC_OK;
}
