/* SPDX-License-Identifier: MIT */
/*
 * JSON as text (json.h). Called by the reader of the spaces file and by the JSON codec, before and after jansson. It is no parser: it
 * knows strings, brackets, commas and colons, and must stay inside the text whatever that is.
 *
 * The measure may be asked of faulty text: up to the first fault it sees what the parser will see, and there the parser ends.
 */
#include "base/json.h"

#include <string.h>

/* What jansson 2.14 allocates, malloc's overhead included, rounded up. */
enum { OBJECT_B = 288, MEMBER_B = 128, ARRAY_B = 208, ITEM_B = 112 };

/* Where the string that begins at json[at] has ended. */
static size_t string_end(const char *json, size_t len, size_t at)
{
	for (at++; at < len; at++) {
		if (json[at] == '"')
			return at + 1;
		at += json[at] == '\\';
	}
	return len;
}

static size_t cost(char c)
{
	switch (c) {
	case '{':
		return OBJECT_B;
	case '[':
		return ARRAY_B;
	case ':':
		return MEMBER_B;
	case ',':
		return ITEM_B;
	default:
		return 0;
	}
}

void ld_json_measure(const char *json, size_t len, struct ld_json_size *ret_size)
{
	/* Each byte of the text is in a key or a string at most once, twice while the parser grows its buffer. */
	struct ld_json_size size = { 0, 2 * len + ITEM_B };
	size_t depth = 0;

	for (size_t i = 0; i < len; ) {
		char c = json[i];

		size.memory_b += cost(c);
		if (c == '{' || c == '[')
			size.depth = ++depth > size.depth ? depth : size.depth;
		else if ((c == '}' || c == ']') && depth > 0)
			depth--;
		i = c == '"' ? string_end(json, len, i) : i + 1;
	}
	*ret_size = size;
}

/* From a place inside a value of the outermost object to the comma or bracket behind it. */
static size_t value_end(const char *json, size_t len, size_t at)
{
	size_t depth = 0;

	while (at < len) {
		char c = json[at];

		if (depth == 0 && (c == ',' || c == '}'))
			return at;
		if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && depth > 0)
			depth--;
		at = c == '"' ? string_end(json, len, at) : at + 1;
	}
	return len;
}

/* Behind the next colon, a key passed over. */
static size_t value_begin(const char *json, size_t len, size_t at)
{
	while (at < len && json[at] != ':')
		at = json[at] == '"' ? string_end(json, len, at) : at + 1;
	return at < len ? at + 1 : len;
}

int ld_json_member(const char *json, size_t len, size_t n, const char **ret_text, size_t *ret_len)
{
	const char *begin = len > 0 ? memchr(json, '{', len) : NULL;
	size_t at = begin != NULL ? (size_t)(begin - json) + 1 : len;

	for (;;) {
		size_t from = value_begin(json, len, at), to = value_end(json, len, from);

		if (from >= len)
			return -1;
		if (n == 0) {
			*ret_text = json + from;
			*ret_len = to - from;
			return 0;
		}
		n--;
		at = to;
	}
}

static int is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

size_t ld_json_compact(const char *json, size_t len, char *ret_text)
{
	size_t out = 0;

	for (size_t i = 0; i < len; ) {
		size_t end = json[i] == '"' ? string_end(json, len, i) : i + 1;

		if (!is_blank(json[i])) {
			if (ret_text != NULL)
				memcpy(ret_text + out, json + i, end - i);
			out += end - i;
		}
		i = end;
	}
	return out;
}
