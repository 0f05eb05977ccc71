/* SPDX-License-Identifier: MIT */
/*
 * The JSON codec's writer (codec.h): the envelope {"value":V,"ttl":seconds,"created":ms}. Called by codec.c. By hand, into memory of
 * exactly the size: a library would copy the value twice. It must write nothing that a strict reader would refuse, and nothing that
 * would come back as other bytes, whatever the value is: what is not UTF-8 goes as base64, and only what jansson prints just so as JSON.
 */
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "l2/base64.h"
#include "l2/codec_inside.h"

/* What follows the value: ,"encoding":"base64","ttl":315360000.001,"stale":...,"stale_if_error":...,"created":...,"hard_end":...,"flags":...,"larder_tags":[...]} */
enum { TAIL_SIZE = 272 + 19 * LD_WIRE_TAGS_MAX };
static const char head[] = "{\"value\":";

enum form { AS_TEXT, AS_BASE64, AS_JSON };

/* The letter behind the backslash, 'u' for one of six characters. */
static char escape_of(unsigned char c)
{
	switch (c) {
	case '\b':
		return 'b';
	case '\f':
		return 'f';
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	default:
		return c < 0x20 ? 'u' : (char)c;
	}
}

static size_t escaped_size(const char *text, size_t len)
{
	size_t size = len;

	for (size_t i = ld_json_run(text, len); i < len; i += 1 + ld_json_run(text + i + 1, len - i - 1))
		size += escape_of((unsigned char)text[i]) == 'u' ? 5 : 1;
	return size;
}

static char *escape_one(unsigned char c, char *to)
{
	*to++ = '\\';
	*to++ = escape_of(c);
	if (to[-1] != 'u')
		return to;
	memcpy(to, "00", 2);
	ld_text_hex(&c, 1, to + 2);
	return to + 4;
}

static void escape_all(const char *text, size_t len, char *to)
{
	for (size_t i = 0; i < len; ) {
		size_t run = ld_json_run(text + i, len - i);

		memcpy(to, text + i, run);
		to += run;
		i += run;
		if (i < len)
			to = escape_one((unsigned char)text[i++], to);
	}
}

/* Milliseconds as seconds, with as many decimals as it takes. */
static void add_seconds(struct ld_text *text, const char *name, int64_t ms)
{
	int width = 3;
	int64_t rest = ms % 1000;

	ld_text_addf(text, ",\"%s\":%" PRId64, name, ms / 1000);
	if (rest == 0)
		return;
	for (; rest % 10 == 0; width--)
		rest /= 10;
	ld_text_addf(text, ".%0*" PRId64, width, rest);
}

static void add_tags(struct ld_text *text, const struct ld_wire_value *value)
{
	for (uint32_t i = 0; i < value->tag_count; i++)
		ld_text_addf(text, "%s\"%016" PRIx64 "\"", i == 0 ? ",\"larder_tags\":[" : ",", value->tags[i]);
	ld_text_add(text, value->tag_count > 0 ? "]" : "");
}

static void add_tail(struct ld_text *text, const struct ld_wire_value *value, enum form form)
{
	if (form == AS_BASE64)
		ld_text_add(text, ",\"encoding\":\"base64\"");
	add_seconds(text, "ttl", value->ttl_ms);
	if (value->stale_ms > 0)
		add_seconds(text, "stale", value->stale_ms);
	if (value->error_ms > 0)
		add_seconds(text, "stale_if_error", value->error_ms);
	if (value->created_ms > 0)
		ld_text_addf(text, ",\"created\":%" PRId64, value->created_ms);
	if (value->hard_end_ms > 0)
		ld_text_addf(text, ",\"hard_end\":%" PRId64, value->hard_end_ms);
	if (value->flags != 0)
		ld_text_addf(text, ",\"flags\":%" PRIu32, value->flags);
	add_tags(text, value);
	ld_text_add(text, "}");
}

static enum form form_of(const char *text, size_t len)
{
	if (!ld_text_is_utf8(text, len))
		return AS_BASE64;
	return ld_codec_json_is_value(text, len) ? AS_JSON : AS_TEXT;
}

/* V takes so many bytes, the quotes of a string included. */
static size_t value_size(enum form form, const char *text, size_t len)
{
	if (form == AS_JSON)
		return len;
	return 2 + (form == AS_TEXT ? escaped_size(text, len) : ld_base64_size(len));
}

static void write_value(enum form form, const char *text, size_t len, size_t size, char *to)
{
	if (form == AS_JSON) {
		memcpy(to, text, len);
		return;
	}
	to[0] = '"';
	if (form == AS_TEXT)
		escape_all(text, len, to + 1);
	else
		ld_base64_encode((const unsigned char *)text, len, to + 1);
	to[size - 1] = '"';
}

enum ld_codec_result ld_codec_json_encode(const struct ld_wire_value *value, struct ld_wire_body *ret_body)
{
	/* An empty value may be NULL. */
	const char *text = value->len > 0 ? (const char *)value->data : "";
	enum form form = form_of(text, value->len);
	size_t begin = sizeof(head) - 1, size = value_size(form, text, value->len);
	char tail_text[TAIL_SIZE], *json;
	struct ld_text tail;

	ld_text_init(&tail, tail_text, sizeof(tail_text));
	add_tail(&tail, value, form);
	json = ld_malloc(begin + size + tail.len);
	if (json == NULL)
		return LD_CODEC_E_NOMEM;
	memcpy(json, head, begin);
	write_value(form, text, value->len, size, json + begin);
	memcpy(json + begin + size, tail.data, tail.len);
	*ret_body = (struct ld_wire_body){ .data = (unsigned char *)json, .len = begin + size + tail.len, .memory = json };
	ld_wire_body_header(ret_body, "Content-Type", "application/json");
	return LD_CODEC_OK;
}
