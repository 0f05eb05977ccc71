/* SPDX-License-Identifier: MIT */
/*
 * The JSON codec (codec.h): the envelope {"value":V,"ttl":seconds,"created":ms}. Called by codec.c; the only file of l2/ that
 * speaks to jansson. It must take nothing on trust: the body comes from another host, and only what is exactly right becomes a value.
 *
 * Writing is by hand, into memory of exactly the size: jansson would copy the value twice. Reading is jansson's, after a look at what
 * it would cost. Numbers are read as doubles, which hold every time and flag exactly, so that long integers in V are no error; a V that is
 * no string is taken from the body's own text, digit for digit.
 */
#include <inttypes.h>
#include <jansson.h>
#include <larder/larder.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "l2/base64.h"
#include "l2/codec_inside.h"

/* Writing */

/* What follows the value: ,"encoding":"base64","ttl":315360000.001,"stale":...,"created":...,"hard_end":...,"flags":...} */
enum { TAIL_SIZE = 224 };
static const char head[] = "{\"value\":\"";

/* The letter behind the backslash, 'u' for one of six characters, 0 for none. */
static char escape_of(unsigned char c)
{
	switch (c) {
	case '"':
	case '\\':
		return (char)c;
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
		return c < 0x20 ? 'u' : 0;
	}
}

static size_t escaped_size(const unsigned char *data, size_t len)
{
	size_t size = len;

	for (size_t i = 0; i < len; i++) {
		char escape = escape_of(data[i]);

		size += escape == 0 ? 0 : escape == 'u' ? 5 : 1;
	}
	return size;
}

static void escape_all(const unsigned char *data, size_t len, char *to)
{
	for (size_t i = 0; i < len; i++) {
		char escape = escape_of(data[i]);

		if (escape == 0) {
			*to++ = (char)data[i];
			continue;
		}
		*to++ = '\\';
		*to++ = escape;
		if (escape == 'u') {
			memcpy(to, "00", 2);
			ld_text_hex(&data[i], 1, to + 2);
			to += 4;
		}
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

static void add_tail(struct ld_text *text, const struct ld_wire_value *value, int is_text)
{
	ld_text_add(text, is_text ? "\"" : "\",\"encoding\":\"base64\"");
	add_seconds(text, "ttl", value->ttl_ms);
	if (value->stale_ms > 0)
		add_seconds(text, "stale", value->stale_ms);
	if (value->created_ms > 0)
		ld_text_addf(text, ",\"created\":%" PRId64, value->created_ms);
	if (value->hard_end_ms > 0)
		ld_text_addf(text, ",\"hard_end\":%" PRId64, value->hard_end_ms);
	if (value->flags != 0)
		ld_text_addf(text, ",\"flags\":%" PRIu32, value->flags);
	ld_text_add(text, "}");
}

enum ld_codec_result ld_codec_json_encode(const struct ld_wire_value *value, struct ld_wire_body *ret_body)
{
	int is_text = ld_text_is_utf8(value->data, value->len);
	size_t begin = sizeof(head) - 1, size = is_text ? escaped_size(value->data, value->len) : ld_base64_size(value->len);
	char tail_text[TAIL_SIZE], *json;
	struct ld_text tail;

	ld_text_init(&tail, tail_text, sizeof(tail_text));
	add_tail(&tail, value, is_text);
	/* A byte more: the hex digits of an escape end in NUL. */
	json = ld_malloc(begin + size + tail.len + 1);
	if (json == NULL)
		return LD_CODEC_E_NOMEM;
	memcpy(json, head, begin);
	if (is_text)
		escape_all(value->data, value->len, json + begin);
	else
		ld_base64_encode(value->data, value->len, json + begin);
	memcpy(json + begin + size, tail.data, tail.len);
	*ret_body = (struct ld_wire_body){ .data = (unsigned char *)json, .len = begin + size + tail.len, .memory = json };
	ld_wire_body_header(ret_body, "Content-Type", "application/json");
	return LD_CODEC_OK;
}

/* Reading */

/* Largest integer up to which a double has each; as milliseconds, some 285,000 years. */
#define WALL_MAX_MS 9007199254740992.0

struct reading {
	const struct ld_wire_answer *answer;
	size_t value_max;
	const json_t *root;
	struct ld_wire_told *told;
	const char **ret_why;
};

static enum ld_codec_result bad(const struct reading *reading, const char *why)
{
	*reading->ret_why = why;
	return LD_CODEC_E_BODY;
}

static enum ld_codec_result no_memory(const struct reading *reading)
{
	*reading->ret_why = "out of memory";
	return LD_CODEC_E_NOMEM;
}

/* 1 given, 0 not, -1 not a number that is 0 or more. */
static int read_number(const struct reading *reading, const char *name, double *ret_number)
{
	const json_t *field = json_object_get(reading->root, name);

	if (field == NULL || json_is_null(field))
		return 0;
	if (!json_is_number(field) || !(json_number_value(field) >= 0))
		return -1;
	*ret_number = json_number_value(field);
	return 1;
}

static int read_seconds(const struct reading *reading, const char *name, int64_t *ret_ms)
{
	double s = 0;
	int given = read_number(reading, name, &s);

	if (given > 0)
		*ret_ms = s >= (double)(LARDER_TTL_MAX_MS / 1000) ? LARDER_TTL_MAX_MS : (int64_t)(s * 1000 + 0.5);
	return given;
}

static int read_wall(const struct reading *reading, const char *name, int64_t *ret_ms)
{
	double ms = 0;
	int given = read_number(reading, name, &ms);

	if (given > 0)
		*ret_ms = (int64_t)(ms > WALL_MAX_MS ? WALL_MAX_MS : ms);
	return given;
}

static int read_flags(const struct reading *reading)
{
	double flags = 0;
	int given = read_number(reading, "flags", &flags);

	if (given > 0 && !(flags <= UINT32_MAX && flags == (double)(uint32_t)flags))
		return -1;
	reading->told->flags = (uint32_t)flags;
	reading->told->has_flags = given > 0;
	return given;
}

static enum ld_codec_result read_fields(const struct reading *reading)
{
	struct ld_wire_told *told = reading->told;

	if (read_seconds(reading, "ttl", &told->ttl_ms) < 0)
		return bad(reading, "its ttl is not a number of seconds");
	if (read_seconds(reading, "stale", &told->stale_ms) < 0)
		return bad(reading, "its stale is not a number of seconds");
	if (read_wall(reading, "created", &told->created_ms) < 0)
		return bad(reading, "its created is not a time");
	if (read_wall(reading, "hard_end", &told->hard_end_ms) < 0)
		return bad(reading, "its hard_end is not a time");
	if (read_flags(reading) < 0)
		return bad(reading, "its flags are not a number of 32 bits");
	return LD_CODEC_OK;
}

/* Room for a value, a NUL behind it. */
static unsigned char *value_room(const struct reading *reading, size_t len)
{
	unsigned char *data = ld_malloc(len + 1);

	reading->told->memory = data;
	reading->told->data = data;
	reading->told->len = len;
	return data;
}

static enum ld_codec_result too_large(const struct reading *reading)
{
	return bad(reading, "the value is larger than it may be");
}

static enum ld_codec_result read_text(const struct reading *reading, const json_t *string)
{
	size_t len = json_string_length(string);
	unsigned char *data;

	if (len > reading->value_max)
		return too_large(reading);
	data = value_room(reading, len);
	if (data == NULL)
		return no_memory(reading);
	memcpy(data, json_string_value(string), len);
	data[len] = '\0';
	return LD_CODEC_OK;
}

static enum ld_codec_result read_base64(const struct reading *reading, const json_t *string)
{
	const char *text = json_string_value(string);
	size_t len = json_string_length(string);
	unsigned char *data;

	/* Padding is two bytes at most; the exact length comes with the bytes. */
	if (ld_base64_room(len) > reading->value_max && ld_base64_room(len) - reading->value_max > 2)
		return too_large(reading);
	data = value_room(reading, ld_base64_room(len));
	if (data == NULL)
		return no_memory(reading);
	if (ld_base64_decode(text, len, data, &reading->told->len) != 0)
		return bad(reading, "its value is not base64");
	data[reading->told->len] = '\0';
	return reading->told->len > reading->value_max ? too_large(reading) : LD_CODEC_OK;
}

/* Which member of the envelope a field is: jansson keeps the order, and has refused a key that is there twice. */
static size_t place_of(const struct reading *reading, const json_t *field)
{
	size_t place = 0;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)reading->root, key, value) {
		if (value == field)
			return place;
		place++;
	}
	return place;
}

/* true, false and null are one object each for jansson, whatever member they are: their text is known. */
static const char *constant_text(const json_t *field)
{
	return json_is_true(field) ? "true" : json_is_false(field) ? "false" : json_is_null(field) ? "null" : NULL;
}

static enum ld_codec_result read_other(const struct reading *reading, const json_t *field)
{
	const char *text = constant_text(field);
	size_t len = text != NULL ? strlen(text) : 0, compact;
	unsigned char *data;

	if (text == NULL && ld_json_member(reading->answer->body, reading->answer->len, place_of(reading, field), &text, &len) != 0)
		return bad(reading, "its value is not where it should be");
	compact = ld_json_compact(text, len, NULL);
	if (compact > reading->value_max)
		return too_large(reading);
	data = value_room(reading, compact);
	if (data == NULL)
		return no_memory(reading);
	(void)ld_json_compact(text, len, (char *)data);
	data[compact] = '\0';
	return LD_CODEC_OK;
}

/* The whole string: a NUL in it does not end it. */
static int is_base64(const json_t *encoding)
{
	static const char name[] = "base64";

	return json_is_string(encoding) && json_string_length(encoding) == sizeof(name) - 1 &&
	    memcmp(json_string_value(encoding), name, sizeof(name) - 1) == 0;
}

static enum ld_codec_result read_value(const struct reading *reading)
{
	const json_t *field = json_object_get(reading->root, "value"), *encoding = json_object_get(reading->root, "encoding");
	int is_encoded = encoding != NULL && !json_is_null(encoding);

	if (field == NULL)
		field = json_object_get(reading->root, "data");
	if (field == NULL)
		return bad(reading, "it has no value");
	if (is_encoded && !is_base64(encoding))
		return bad(reading, "its encoding is not known");
	if (is_encoded && !json_is_string(field))
		return bad(reading, "its value is encoded, and not a string");
	if (is_encoded)
		return read_base64(reading, field);
	return json_is_string(field) ? read_text(reading, field) : read_other(reading, field);
}

static enum ld_codec_result read_envelope(const struct reading *reading)
{
	enum ld_codec_result result;

	if (!json_is_object(reading->root))
		return bad(reading, "it is not a JSON object");
	result = read_fields(reading);
	if (result == LD_CODEC_OK)
		result = read_value(reading);
	if (result != LD_CODEC_OK) {
		free(reading->told->memory);
		reading->told->memory = NULL;
	}
	return result;
}

enum ld_codec_result ld_codec_json_decode(const struct ld_wire_answer *answer, size_t value_max, struct ld_wire_told *ret_told,
    const char **ret_why)
{
	struct reading reading = { answer, value_max, NULL, ret_told, ret_why };
	enum ld_codec_result result;
	struct ld_json_size size;
	json_error_t error;
	json_t *root;

	if (answer->len > ld_codec_body_max(value_max))
		return too_large(&reading);
	ld_json_measure(answer->body, answer->len, &size);
	if (size.depth > LD_WIRE_DEPTH_MAX)
		return bad(&reading, "it is nested too deep");
	if (size.memory_b > LD_WIRE_TREE_MAX_B + 2 * answer->len)
		return bad(&reading, "it has too many parts");
	root = json_loadb(answer->body, answer->len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
	if (root == NULL)
		return json_error_code(&error) == json_error_out_of_memory ? no_memory(&reading) : bad(&reading, "it is not JSON");
	reading.root = root;
	result = read_envelope(&reading);
	json_decref(root);
	return result;
}
