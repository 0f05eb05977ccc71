/* SPDX-License-Identifier: MIT */
/*
 * The JSON codec's reader (codec.h): the envelope {"value":V,"ttl":seconds,"created":ms}. Called by codec.c; the only file of l2/ that
 * speaks to jansson. It must take nothing on trust: the body comes from another host, and only what is exactly right becomes a value.
 *
 * jansson reads a byte in some 15 ns, and begins with a dozen allocations. So most values never come to it: a V that is a string, with short escapes at
 * most, is taken out of the body, and what is around it is read by hand where it is as it nearly always is (codec_json_quick.c); else jansson reads it,
 * with "" in the value's place. Whatever else V is, jansson judges the whole body; a V that is no
 * string is then taken from the body's own text, digit for digit. Numbers are read as doubles, which hold every time and flag
 * exactly, so that long integers in V are no error.
 */
#include <jansson.h>
#include <larder/larder.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "l2/base64.h"
#include "l2/codec_inside.h"

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

/* Returns 0, or -1: not a list of hashes, or too many of them. */
static int take_tags(const json_t *field, struct ld_wire_told *told)
{
	if (!json_is_array(field) || json_array_size(field) > LD_WIRE_TAGS_MAX)
		return -1;
	for (size_t i = 0; i < json_array_size(field); i++) {
		const json_t *tag = json_array_get(field, i);

		if (!json_is_string(tag) || ld_http_tag(json_string_value(tag), json_string_length(tag), &told->tags[i]) != 0)
			return -1;
	}
	told->tag_count = (uint32_t)json_array_size(field);
	return 0;
}

/*
 * As read_number(); -1 they cannot be taken. "tags" is a name that another service may have for something of its own, and that ours once was: where it
 * is not as we wrote it, it is an unknown field; and what a header says counts before it.
 */
static int read_tags(const struct reading *reading)
{
	const json_t *field = json_object_get(reading->root, "larder_tags"), *old = json_object_get(reading->root, "tags");
	struct ld_wire_told *told = reading->told;

	if (field != NULL && !json_is_null(field)) {
		told->has_tags = 1;
		return take_tags(field, told) == 0 ? 1 : -1;
	}
	if (old != NULL && reading->answer->tag_count == 0)
		told->has_tags = take_tags(old, told) == 0;
	return told->has_tags;
}

static enum ld_codec_result read_fields(const struct reading *reading)
{
	struct ld_wire_told *told = reading->told;

	if (read_seconds(reading, "ttl", &told->ttl_ms) < 0)
		return bad(reading, "its ttl is not a number of seconds");
	if (read_seconds(reading, "stale", &told->stale_ms) < 0)
		return bad(reading, "its stale is not a number of seconds");
	if (read_seconds(reading, "stale_if_error", &told->error_ms) < 0)
		return bad(reading, "its stale_if_error is not a number of seconds");
	if (read_tags(reading) < 0)
		return bad(reading, "its larder_tags are not hashes");
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

/* A string's bytes: taken from the body before, or jansson's. */
static enum ld_codec_result read_string(const struct reading *reading, const json_t *string, int is_encoded)
{
	struct ld_wire_told *told = reading->told;
	unsigned char *data = told->memory;

	if (data == NULL) {
		data = value_room(reading, json_string_length(string));
		if (data == NULL)
			return no_memory(reading);
		memcpy(data, json_string_value(string), told->len);
	}
	if (is_encoded && ld_base64_decode((const char *)data, told->len, data, &told->len) != 0)
		return bad(reading, "its value is not base64");
	data[told->len] = '\0';
	return told->len > reading->value_max ? too_large(reading) : LD_CODEC_OK;
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
	return json_is_string(field) ? read_string(reading, field, is_encoded) : read_other(reading, field);
}

static enum ld_codec_result read_root(const struct reading *reading)
{
	enum ld_codec_result result;

	if (!json_is_object(reading->root))
		return bad(reading, "it is not a JSON object");
	result = read_fields(reading);
	return result == LD_CODEC_OK ? read_value(reading) : result;
}

/*
 * What jansson prints of it is the same text, so it has parsed it as it was meant: keys in their order, no number that a double would change, nothing that
 * our reader would refuse. The reader takes the text itself.
 */
static int prints_the_same(const json_t *root, const char *text, size_t len)
{
	char *printed = ld_malloc(len);
	int same = printed != NULL && json_dumpb(root, printed, len, JSON_COMPACT | JSON_REAL_PRECISION(15)) == len && memcmp(printed, text, len) == 0;

	free(printed);
	return same;
}

int ld_codec_json_is_value(const char *text, size_t len)
{
	struct ld_json_size size;
	json_error_t error;
	json_t *root;
	int is_value;

	if (len < 2 || len > LD_WIRE_JSON_MAX_B || (text[0] != '{' && text[0] != '['))
		return 0;
	ld_json_measure(text, len, &size);
	/* Inside the envelope it lies one deeper. */
	if (size.depth >= LD_WIRE_DEPTH_MAX)
		return 0;
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	is_value = root != NULL && prints_the_same(root, text, len);
	json_decref(root);
	return is_value;
}

/* What jansson is given is the body, or the body without its value. */
static enum ld_codec_result parse(struct reading *reading, const char *json, size_t len)
{
	enum ld_codec_result result;
	struct ld_json_size size;
	json_error_t error = { .text = "" };
	json_t *root;

	ld_json_measure(json, len, &size);
	if (size.depth > LD_WIRE_DEPTH_MAX)
		return bad(reading, "it is nested too deep");
	if (size.memory_b > LD_WIRE_TREE_MAX_B + 2 * len)
		return bad(reading, "it has too many parts");
	root = json_loadb(json, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
	/* Where jansson could not even begin, for want of memory, it says nothing at all. */
	if (root == NULL)
		return error.text[0] == '\0' || json_error_code(&error) == json_error_out_of_memory ? no_memory(reading) : bad(reading, "it is not JSON");
	reading->root = root;
	result = read_root(reading);
	json_decref(root);
	return result;
}

/*
 * The value is told already; judge what is around it. A string that is whole and right may stand where "" may, and nowhere else, so
 * jansson says of this what it would say of the body. Where the text is no JSON, and the value was none, it says that, too.
 */
static enum ld_codec_result parse_around(struct reading *reading, const char *value, size_t value_len)
{
	const char *body = reading->answer->body;
	size_t before = (size_t)(value - body), after = reading->answer->len - before - value_len;
	char *json = ld_malloc(before + 2 + after);
	enum ld_codec_result result;

	if (json == NULL)
		return no_memory(reading);
	memcpy(json, body, before);
	memcpy(json + before, "\"\"", 2);
	memcpy(json + before + 2, value + value_len, after);
	result = parse(reading, json, before + 2 + after);
	free(json);
	return result;
}

static enum ld_codec_result parse_body(struct reading *reading)
{
	const struct ld_wire_answer *answer = reading->answer;
	struct ld_wire_told *told = reading->told;
	int is_encoded = 0;
	const char *value;
	size_t len;

	if (ld_json_find(answer->body, answer->len, "value", &value, &len) != 0)
		return parse(reading, answer->body, answer->len);
	if (value_room(reading, len) == NULL)
		return no_memory(reading);
	if (ld_json_plain(value, len, told->memory, &told->len) == 0)
		return ld_codec_json_quick(answer->body, answer->len, value, len, told, &is_encoded) == 0 ?
		    read_string(reading, NULL, is_encoded) : parse_around(reading, value, len);
	free(told->memory);
	told->memory = NULL;
	return parse(reading, answer->body, answer->len);
}

enum ld_codec_result ld_codec_json_decode(const struct ld_wire_answer *answer, size_t value_max, struct ld_wire_told *ret_told,
    const char **ret_why)
{
	struct reading reading = { answer, value_max, NULL, ret_told, ret_why };
	enum ld_codec_result result;

	if (answer->len > ld_codec_body_max(value_max))
		return too_large(&reading);
	result = parse_body(&reading);
	if (result != LD_CODEC_OK) {
		free(ret_told->memory);
		ret_told->memory = NULL;
	}
	return result;
}
