/* SPDX-License-Identifier: MIT */
/*
 * The JSON codec (envelope.h). Jansson reads what strangers send; what goes out is written here, for it is mostly one long string. A V that is
 * no string is cut out of the text that came, not printed again: a number keeps its digits, an object its order.
 */
#include "envelope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <larder/larder.h>

#include "base64.h"

/* Wall-clock times up to the year 9999. */
#define WALL_MAX_MS 253402300799999.0

/* ---- a value's own text, in a text that is known to be valid JSON ---- */

static const char *skip_blanks(const char *at)
{
	return at + strspn(at, " \t\r\n");
}

/* at is on the opening quote; returns what follows the closing one. */
static const char *skip_string(const char *at)
{
	for (at++; *at != '"'; at++)
		if (*at == '\\')
			at++;
	return at + 1;
}

/* Returns what follows the value, and copies it without blanks to *to if that is not NULL. */
static const char *copy_value(const char *at, char **to)
{
	unsigned depth = 0;

	do {
		const char *end = *at == '"' ? skip_string(at) : at + 1;
		if (*at == '{' || *at == '[')
			depth++;
		else if (*at == '}' || *at == ']')
			depth--;
		else if (*at != '"' && depth == 0)
			end = at + strcspn(at, ",}] \t\r\n");
		if (to) {
			memcpy(*to, at, (size_t)(end - at));
			*to += end - at;
		}
		at = depth > 0 ? skip_blanks(end) : end;
	} while (depth > 0);
	return at;
}

/* Copy the last value of this field of the object; returns its length, 0 when the field's name was written with escapes. */
static size_t cut_out(const char *text, const char *field, char *to)
{
	size_t len = 0, field_len = strlen(field);
	const char *at = skip_blanks(skip_blanks(text) + 1);

	while (*at == '"') {
		const char *name = at + 1, *end = skip_string(at);
		int is_it = (size_t)(end - name) == field_len + 1 && memcmp(name, field, field_len) == 0;
		char *copy = to;
		at = skip_blanks(skip_blanks(end) + 1);
		at = skip_blanks(copy_value(at, is_it ? &copy : NULL));
		if (is_it)
			len = (size_t)(copy - to);
		if (*at == ',')
			at = skip_blanks(at + 1);
	}
	return len;
}

/* ---- reading ---- */

struct reading {
	const char *text;
	size_t len;
	json_t *root;
	unsigned char *room;
	struct l2d_value value;
	const char *why;
};

static int bad(struct reading *reading, int result, const char *why)
{
	reading->why = why;
	return result;
}

/* A field that may be missing. Returns 1 with the number, 0 when it is not there, or an error. */
static int number_of(struct reading *reading, const char *field, double max, double *ret_number)
{
	const json_t *json = json_object_get(reading->root, field);

	if (json == NULL || json_is_null(json))
		return 0;
	if (!json_is_number(json))
		return bad(reading, LARDER_E_USAGE, "ttl, stale, stale_if_error, created, hard_end and flags are numbers");
	double number = json_number_value(json);
	if (!(number >= 0 && number <= max))
		return bad(reading, max == (double)UINT32_MAX ? LARDER_E_USAGE : LARDER_E_TTL, "a time or the flags are out of range");
	*ret_number = number;
	return 1;
}

static int read_numbers(struct reading *reading, int64_t ttl_ms)
{
	struct l2d_value *value = &reading->value;
	const double max_s = (double)LARDER_TTL_MAX_MS / 1000;
	double ttl = (double)ttl_ms / 1000, stale = 0, error = 0, created = 0, hard_end = 0, flags = 0;
	int rc;

	if ((rc = number_of(reading, "ttl", max_s, &ttl)) < 0 || (rc = number_of(reading, "stale", max_s, &stale)) < 0 ||
	    (rc = number_of(reading, "stale_if_error", max_s, &error)) < 0 || (rc = number_of(reading, "hard_end", WALL_MAX_MS, &hard_end)) < 0 ||
	    (rc = number_of(reading, "flags", UINT32_MAX, &flags)) < 0 || (rc = number_of(reading, "created", WALL_MAX_MS, &created)) < 0)
		return rc;
	if (rc == 1)
		value->content |= L2D_CONTENT_DATED;
	value->ttl_ms = (int64_t)(ttl * 1000 + 0.5);
	value->stale_ms = (int64_t)(stale * 1000 + 0.5);
	value->error_ms = (int64_t)(error * 1000 + 0.5);
	value->created_ms = (int64_t)created;
	value->hard_end_ms = (int64_t)hard_end;
	value->flags = (uint32_t)flags;
	return 0;
}

static int take_tags(struct reading *reading, const json_t *tags)
{
	struct l2d_value *value = &reading->value;

	if (!json_is_array(tags) || json_array_size(tags) > L2D_TAGS_MAX)
		return bad(reading, LARDER_E_USAGE, "larder_tags are a list of at most 16");
	for (size_t i = 0; i < json_array_size(tags); i++) {
		const json_t *tag = json_array_get(tags, i);

		if (!json_is_string(tag) || l2d_tag_read(json_string_value(tag), json_string_length(tag), &value->tags[i]) < 0)
			return bad(reading, LARDER_E_USAGE, "a tag is 16 hex digits in lower case");
	}
	value->tag_count = (uint8_t)json_array_size(tags);
	return 0;
}

/* "tags" was their name once, and may be somebody else's: where it is not as larder wrote it, it is a field that is not known. */
static int read_tags(struct reading *reading)
{
	const json_t *tags = json_object_get(reading->root, "larder_tags"), *old = json_object_get(reading->root, "tags");

	if (tags != NULL && !json_is_null(tags))
		return take_tags(reading, tags);
	if (old != NULL && take_tags(reading, old) != 0) {
		memset(reading->value.tags, 0, sizeof(reading->value.tags));
		reading->why = NULL;
	}
	return 0;
}

static int read_string(struct reading *reading, const json_t *json, const char *encoding)
{
	struct l2d_value *value = &reading->value;
	const char *string = json_string_value(json);
	size_t len = json_string_length(json);
	unsigned char *to = reading->room + L2D_HEAD_SIZE;

	if (encoding == NULL) {
		memcpy(to, string, len);
		value->len = len;
		return 0;
	}
	value->content |= L2D_CONTENT_BASE64;
	if (strcmp(encoding, "base64") != 0)
		return bad(reading, LARDER_E_USAGE, "the one encoding is base64");
	if (l2d_base64_decode(string, len, to, &value->len) < 0)
		return bad(reading, LARDER_E_USAGE, "the value is not the base64 of some bytes");
	return 0;
}

/* The V that is no string: from the text, or, where its name has escapes, printed. */
static int read_other(struct reading *reading, const json_t *json, const char *field)
{
	struct l2d_value *value = &reading->value;
	char *to = (char *)reading->room + L2D_HEAD_SIZE;

	value->content |= L2D_CONTENT_JSON;
	value->len = cut_out(reading->text, field, to);
	if (value->len > 0)
		return 0;
	/* Printed it may be longer than it was: it has to fit. */
	value->len = json_dumpb(json, to, reading->len, JSON_COMPACT | JSON_ENCODE_ANY);
	return value->len == 0 || value->len > reading->len ? bad(reading, LARDER_E_USAGE, "the name of the value is written with escapes") : 0;
}

static int read_value(struct reading *reading)
{
	const char *field = json_object_get(reading->root, "value") ? "value" : "data";
	const json_t *json = json_object_get(reading->root, field);
	const json_t *encoding = json_object_get(reading->root, "encoding");

	if (json == NULL)
		return bad(reading, LARDER_E_USAGE, "there is no value");
	if (encoding && !json_is_null(encoding) && (!json_is_string(encoding) || !json_is_string(json)))
		return bad(reading, LARDER_E_USAGE, "encoding is a string, and of a string");
	/* What is kept is never longer than the text that it came in. */
	reading->room = malloc(L2D_HEAD_SIZE + reading->len + 1);
	if (reading->room == NULL)
		return bad(reading, LARDER_E_NOMEM, "out of memory");
	if (json_is_string(json))
		return read_string(reading, json, json_string_value(encoding));
	return read_other(reading, json, field);
}

int l2d_envelope_read(const char *text, size_t len, int64_t ttl_ms, unsigned char **ret_room, struct l2d_value *ret_value,
    const char **ret_why)
{
	struct reading reading = { .text = text, .len = len, .value = { .codec = L2D_JSON } };
	json_error_t error;
	int rc;

	reading.root = json_loadb(text, len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
	if (!json_is_object(reading.root))
		rc = bad(&reading, LARDER_E_USAGE, "the body is not one JSON object");
	else if ((rc = read_numbers(&reading, ttl_ms)) == 0 && (rc = read_tags(&reading)) == 0)
		rc = read_value(&reading);
	json_decref(reading.root);
	if (rc != 0) {
		free(reading.room);
		*ret_why = reading.why;
		return rc;
	}
	reading.value.data = reading.room + L2D_HEAD_SIZE;
	*ret_room = reading.room;
	*ret_value = reading.value;
	return 0;
}

/* ---- writing ---- */

static size_t escaped_size(unsigned char byte)
{
	if (byte >= 0x20)
		return byte == '"' || byte == '\\' ? 2 : 1;
	return strchr("\b\f\n\r\t", byte) && byte ? 2 : 6;
}

static char *put_escaped(char *to, const unsigned char *from, size_t len)
{
	static const char short_ones[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt", hex[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		size_t size = escaped_size(from[i]);
		if (size == 1) {
			*to++ = (char)from[i];
			continue;
		}
		*to++ = '\\';
		if (size == 2) {
			*to++ = letters[strchr(short_ones, from[i]) - short_ones];
			continue;
		}
		memcpy(to, "u00", 3);
		to[3] = hex[from[i] >> 4];
		to[4] = hex[from[i] & 15];
		to += 5;
	}
	return to;
}

enum form { AS_JSON, AS_TEXT, AS_BASE64 };

static size_t value_size(const struct l2d_value *value, enum form form)
{
	const unsigned char *data = value->data;
	size_t size = 0;

	if (form == AS_BASE64)
		return l2d_base64_size(value->len);
	if (form == AS_JSON)
		return value->len;
	for (size_t i = 0; i < value->len; i++)
		size += escaped_size(data[i]);
	return size;
}

static int put_seconds(char *to, size_t room, const char *field, int64_t ms)
{
	int len = snprintf(to, room, ",\"%s\":%lld", field, (long long)(ms / 1000));
	unsigned rest = (unsigned)(ms % 1000), digits = 3;

	if (rest == 0)
		return len;
	for (; rest % 10 == 0; rest /= 10)
		digits--;
	return len + snprintf(to + len, room - (size_t)len, ".%0*u", (int)digits, rest);
}

/* The fields behind V, at most 240 characters and 19 for each tag. */
static size_t put_fields(char *to, size_t room, const struct l2d_value *value, enum form form)
{
	size_t len = 0;

	if (form == AS_BASE64)
		len += (size_t)snprintf(to + len, room - len, ",\"encoding\":\"base64\"");
	len += (size_t)put_seconds(to + len, room - len, "ttl", value->ttl_ms);
	if (value->content & L2D_CONTENT_DATED)
		len += (size_t)snprintf(to + len, room - len, ",\"created\":%lld", (long long)value->created_ms);
	if (value->stale_ms)
		len += (size_t)put_seconds(to + len, room - len, "stale", value->stale_ms);
	if (value->hard_end_ms)
		len += (size_t)snprintf(to + len, room - len, ",\"hard_end\":%lld", (long long)value->hard_end_ms);
	if (value->flags)
		len += (size_t)snprintf(to + len, room - len, ",\"flags\":%lu", (unsigned long)value->flags);
	if (value->error_ms)
		len += (size_t)put_seconds(to + len, room - len, "stale_if_error", value->error_ms);
	if (value->tag_count > 0) {
		len += (size_t)snprintf(to + len, room - len, ",\"larder_tags\":[");
		len += l2d_tags_write(value, "\"", to + len, room - len);
		len += (size_t)snprintf(to + len, room - len, "]");
	}
	return len + (size_t)snprintf(to + len, room - len, "}");
}

char *l2d_envelope_write(const struct l2d_value *value, size_t *ret_len)
{
	enum form form = value->content & L2D_CONTENT_JSON ? AS_JSON
	    : value->content & L2D_CONTENT_BASE64 || !l2d_is_text(value->data, value->len) ? AS_BASE64 : AS_TEXT;
	char fields[300 + 19 * L2D_TAGS_MAX], *text, *at;
	size_t fields_len = put_fields(fields, sizeof(fields), value, form);

	text = malloc(10 + value_size(value, form) + 1 + fields_len + 1);
	if (text == NULL)
		return NULL;
	at = text + sprintf(text, form == AS_JSON ? "{\"value\":" : "{\"value\":\"");
	if (form == AS_TEXT) {
		at = put_escaped(at, value->data, value->len);
	} else if (form == AS_BASE64) {
		at += l2d_base64_encode(value->data, value->len, at);
	} else {
		memcpy(at, value->data, value->len);
		at += value->len;
	}
	if (form != AS_JSON)
		*at++ = '"';
	memcpy(at, fields, fields_len + 1);
	*ret_len = (size_t)(at - text) + fields_len;
	return text;
}
