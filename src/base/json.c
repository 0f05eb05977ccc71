/* SPDX-License-Identifier: MIT */
/*
 * JSON as text (json.h). Called by the reader of the spaces file and by the JSON codec, before and after jansson. It is no parser: it
 * knows strings, brackets, commas and colons, and must stay inside the text whatever that is.
 *
 * The measure may be asked of faulty text: up to the first fault it sees what the parser will see, and there the parser ends.
 */
#include "base/json.h"

#include <stdint.h>
#include <string.h>

#include "base/text.h"

/* What jansson 2.14 allocates, malloc's overhead included, rounded up. */
enum { OBJECT_B = 288, MEMBER_B = 128, ARRAY_B = 208, ITEM_B = 112 };

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Is one of the eight bytes below 0x20, a quote or a backslash? (The usual trick: borrows spread only from a byte that is found.) */
static int has_special(uint64_t word)
{
	uint64_t quote = word ^ EACH('"'), backslash = word ^ EACH('\\');

	return ((((word - EACH(0x20)) & ~word) | ((quote - EACH(1)) & ~quote) | ((backslash - EACH(1)) & ~backslash)) & EACH(0x80)) != 0;
}

size_t ld_json_run(const char *text, size_t len)
{
	size_t i = 0;
	uint64_t word;

	for (; len - i >= sizeof(word); i += sizeof(word)) {
		memcpy(&word, text + i, sizeof(word));
		if (has_special(word))
			break;
	}
	while (i < len && (unsigned char)text[i] >= 0x20 && text[i] != '"' && text[i] != '\\')
		i++;
	return i;
}

/* Where the string that begins at json[at] has ended. */
static size_t string_end(const char *json, size_t len, size_t at)
{
	for (at++; at < len; at++) {
		at += ld_json_run(json + at, len - at);
		if (at < len && json[at] == '"')
			return at + 1;
		at += at < len && json[at] == '\\';
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

/* From a comma or bracket: the next key, quotes included, and what is behind its colon. Where there is none, len. */
static size_t value_begin(const char *json, size_t len, size_t at, const char **ret_key, size_t *ret_key_len)
{
	*ret_key_len = 0;
	while (at < len && json[at] != ':') {
		size_t end = json[at] == '"' ? string_end(json, len, at) : at + 1;

		if (json[at] == '"') {
			*ret_key = json + at;
			*ret_key_len = end - at;
		}
		at = end;
	}
	return at < len ? at + 1 : len;
}

static int is_key(const char *quoted, size_t len, const char *key)
{
	return len == strlen(key) + 2 && memcmp(quoted + 1, key, len - 2) == 0;
}

/* The n-th member, or with a key the first that has it. */
static int find(const char *json, size_t len, size_t n, const char *key, const char **ret_text, size_t *ret_len)
{
	const char *begin = len > 0 ? memchr(json, '{', len) : NULL;
	size_t at = begin != NULL ? (size_t)(begin - json) + 1 : len;

	for (size_t i = 0;; i++) {
		const char *quoted = NULL;
		size_t quoted_len, from = value_begin(json, len, at, &quoted, &quoted_len), to = value_end(json, len, from);

		if (from >= len)
			return -1;
		if (key != NULL ? is_key(quoted, quoted_len, key) : i == n) {
			*ret_text = json + from;
			*ret_len = to - from;
			return 0;
		}
		at = to;
	}
}

int ld_json_member(const char *json, size_t len, size_t n, const char **ret_text, size_t *ret_len)
{
	return find(json, len, n, NULL, ret_text, ret_len);
}

int ld_json_find(const char *json, size_t len, const char *key, const char **ret_text, size_t *ret_len)
{
	return find(json, len, 0, key, ret_text, ret_len);
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

/* What a backslash and this letter stand for, 0 for what only a parser knows. */
static char escaped(char letter)
{
	static const char letters[] = "\"\"\\\\//b\bf\fn\nr\rt\t";

	for (size_t i = 0; i + 1 < sizeof(letters); i += 2) {
		if (letters[i] == letter)
			return letters[i + 1];
	}
	return 0;
}

int ld_json_plain(const char *text, size_t len, char *ret_data, size_t *ret_len)
{
	size_t out = 0;

	for (; len > 0 && is_blank(text[0]); len--)
		text++;
	while (len > 0 && is_blank(text[len - 1]))
		len--;
	if (len < 2 || text[0] != '"' || text[len - 1] != '"')
		return -1;
	for (size_t i = 1; i < len - 1; ) {
		size_t run = ld_json_run(text + i, len - 1 - i);

		memcpy(ret_data + out, text + i, run);
		out += run;
		i += run;
		if (i == len - 1)
			break;
		/* The last quote is not escaped: its backslash would have nothing behind it. */
		ret_data[out] = text[i] == '\\' && i + 1 < len - 1 ? escaped(text[i + 1]) : 0;
		if (ret_data[out++] == 0)
			return -1;
		i += 2;
	}
	*ret_len = out;
	return ld_text_is_utf8(ret_data, out) ? 0 : -1;
}
