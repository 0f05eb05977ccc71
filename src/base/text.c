/* SPDX-License-Identifier: MIT */
/*
 * Text in a bounded buffer, and the list of problems that an error tells all at once. Called by the log, the settings, the
 * secret and the wire codecs. It must never write past the buffer: every byte goes through append(). Once a text is cut nothing is added any more,
 * so that it stays a prefix of what it should have been.
 */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

void ld_text_init(struct ld_text *text, char *data, size_t size)
{
	text->data = data;
	text->size = size;
	text->len = 0;
	text->truncated = 0;
	data[0] = '\0';
}

static void append(struct ld_text *text, const char *more, size_t len)
{
	size_t room = text->size - 1 - text->len;

	if (text->truncated || len == 0)
		return;
	if (len > room) {
		len = room;
		text->truncated = 1;
	}
	memcpy(text->data + text->len, more, len);
	text->len += len;
	text->data[text->len] = '\0';
}

void ld_text_add(struct ld_text *text, const char *more)
{
	append(text, more, strlen(more));
}

void ld_text_addf(struct ld_text *text, const char *format, ...)
{
	size_t room = text->size - text->len;
	va_list args;
	int wanted;

	if (text->truncated)
		return;
	va_start(args, format);
	wanted = vsnprintf(text->data + text->len, room, format, args);
	va_end(args);
	if (wanted >= 0 && (size_t)wanted < room) {
		text->len += (size_t)wanted;
		return;
	}
	text->truncated = 1;
	if (wanted >= 0)
		text->len = text->size - 1;
	text->data[text->len] = '\0';
}

/* How many bytes the sequence that starts with this byte has, and what its second byte may be (RFC 3629, section 4). */
static size_t lead(unsigned char first, unsigned char *ret_low, unsigned char *ret_high)
{
	*ret_low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
	*ret_high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
	if (first < 0x80)
		return 1;
	if (first >= 0xC2 && first <= 0xDF)
		return 2;
	if (first >= 0xE0 && first <= 0xEF)
		return 3;
	if (first >= 0xF0 && first <= 0xF4)
		return 4;
	return 0;
}

/* Length of the valid UTF-8 sequence at data, 0 when there is none. left >= 1. */
static size_t sequence(const unsigned char *data, size_t left)
{
	unsigned char low, high;
	size_t len = lead(data[0], &low, &high);

	if (len > left)
		return 0;
	if (len > 1 && (data[1] < low || data[1] > high))
		return 0;
	for (size_t i = 2; i < len; i++) {
		if (data[i] < 0x80 || data[i] > 0xBF)
			return 0;
	}
	return len;
}

/* Eight bytes at a time, as far as they are ASCII without NUL. */
static size_t ascii_run(const unsigned char *bytes, size_t len)
{
	uint64_t ones = UINT64_C(0x0101010101010101), word;
	size_t i = 0;

	for (; len - i >= sizeof(word); i += sizeof(word)) {
		memcpy(&word, bytes + i, sizeof(word));
		if (((word | (word - ones)) & (ones << 7)) != 0)
			break;
	}
	return i;
}

int ld_text_is_utf8(const void *data, size_t len)
{
	const unsigned char *bytes = data;

	for (size_t i = ascii_run(bytes, len); i < len; ) {
		size_t step = sequence(bytes + i, len - i);

		if (step == 0 || bytes[i] == '\0')
			return 0;
		i += step;
		i += ascii_run(bytes + i, len - i);
	}
	return 1;
}

/* What a terminal could take for a command is a control character: C0, DEL, and C1 in its two-byte form. */
static int is_control(const unsigned char *data, size_t len)
{
	return (len == 1 && (data[0] < 0x20 || data[0] == 0x7F)) || (len == 2 && data[0] == 0xC2 && data[1] < 0xA0);
}

static void append_control(struct ld_text *text, unsigned char c)
{
	static const char shorts[] = "\bb\ff\nn\rr\tt";
	char escape[8];

	for (size_t i = 0; i + 1 < sizeof(shorts); i += 2) {
		if ((unsigned char)shorts[i] == c) {
			append(text, (const char[]){ '\\', shorts[i + 1] }, 2);
			return;
		}
	}
	(void)snprintf(escape, sizeof(escape), "\\u%04x", c);
	append(text, escape, 6);
}

static void append_character(struct ld_text *text, const unsigned char *data, size_t len)
{
	if (is_control(data, len))
		append_control(text, data[len - 1]);
	else if (len == 1 && (data[0] == '"' || data[0] == '\\'))
		append(text, (const char[]){ '\\', (char)data[0] }, 2);
	else
		append(text, (const char *)data, len);
}

void ld_text_add_json(struct ld_text *text, const char *data, size_t len)
{
	const unsigned char *bytes = (const unsigned char *)data;

	append(text, "\"", 1);
	for (size_t i = 0; i < len && !text->truncated; ) {
		size_t step = sequence(bytes + i, len - i);

		if (step == 0)
			append(text, REPLACEMENT, sizeof(REPLACEMENT) - 1);
		else
			append_character(text, bytes + i, step);
		i += step == 0 ? 1 : step;
	}
	append(text, "\"", 1);
}

/* Room for a separator, len more bytes and the NUL; where the new line begins, or NULL. */
static char *grow(struct ld_problems *problems, size_t len)
{
	size_t separator = problems->len > 0 ? 1 : 0;
	char *text = ld_realloc(problems->text, problems->len + separator + len + 1);

	if (text == NULL)
		return NULL;
	problems->text = text;
	if (separator)
		text[problems->len] = '\n';
	return text + problems->len + separator;
}

/* A problem that could not be written down still counts: the caller's decision must not hang on memory. */
void ld_problem(struct ld_problems *problems, const char *format, ...)
{
	va_list args, again;
	char *line = NULL;
	int wanted;

	va_start(args, format);
	va_copy(again, args);
	wanted = vsnprintf(NULL, 0, format, args);
	if (wanted >= 0)
		line = grow(problems, (size_t)wanted);
	if (line != NULL) {
		(void)vsnprintf(line, (size_t)wanted + 1, format, again);
		problems->len = (size_t)(line - problems->text) + (size_t)wanted;
	} else {
		problems->lost = 1;
	}
	problems->count++;
	va_end(again);
	va_end(args);
}

void ld_problems_free(struct ld_problems *problems)
{
	free(problems->text);
	*problems = (struct ld_problems){ 0 };
}

int ld_text_is_id(const char *text, size_t max)
{
	size_t len = 0;

	if (text == NULL)
		return 0;
	for (; len <= max && text[len] != '\0'; len++) {
		char c = text[len];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
			return 0;
	}
	return len >= 1 && len <= max;
}

void ld_text_hex(const unsigned char *data, size_t len, char *ret_hex)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		ret_hex[2 * i] = digits[data[i] >> 4];
		ret_hex[2 * i + 1] = digits[data[i] & 15];
	}
	ret_hex[2 * len] = '\0';
}
