/* SPDX-License-Identifier: MIT */
/*
 * The JSON codec's reader for what is around a value in nearly every envelope: members whose names are known and whose values are whole numbers,
 * and the encoding. Called by codec_json.c, which has taken the value out. Whatever is not exactly so is left to jansson, which then also says what is
 * wrong with it: this may refuse anything, and must never take what jansson would not, nor as something else.
 */
#include <string.h>

#include <larder/larder.h>

#include "l2/codec_inside.h"

/* Digits that a double has exactly, as jansson's reading has them. */
enum { DIGITS_MAX = 15 };

struct text {
	const char *at, *end;
};

/* What is seen, for a name that comes twice is an error. */
enum { SEEN_TTL = 1, SEEN_STALE = 2, SEEN_CREATED = 4, SEEN_HARD_END = 8, SEEN_FLAGS = 16, SEEN_ENCODING = 32 };

static void skip_blanks(struct text *text)
{
	while (text->at < text->end && (*text->at == ' ' || *text->at == '\t' || *text->at == '\n' || *text->at == '\r'))
		text->at++;
}

/* The byte that has to be next, with blanks before it. */
static int take(struct text *text, char c)
{
	skip_blanks(text);
	if (text->at == text->end || *text->at != c)
		return 0;
	text->at++;
	return 1;
}

/* A whole number that is not negative, no zero before it; it ends where the member does. */
static int take_number(struct text *text, int64_t *ret_number)
{
	int digits = 0;

	skip_blanks(text);
	*ret_number = 0;
	for (; text->at < text->end && *text->at >= '0' && *text->at <= '9'; text->at++, digits++) {
		if (digits == DIGITS_MAX || (digits == 1 && *ret_number == 0))
			return 0;
		*ret_number = *ret_number * 10 + (*text->at - '0');
	}
	skip_blanks(text);
	return digits > 0 && text->at < text->end && (*text->at == ',' || *text->at == '}');
}

static int is_name(const char *name, size_t len, const char *known)
{
	return len == strlen(known) && memcmp(name, known, len) == 0;
}

static int64_t seconds_ms(int64_t s)
{
	return s >= LARDER_TTL_MAX_MS / 1000 ? LARDER_TTL_MAX_MS : s * 1000;
}

/* Returns what it was, 0 = not known. */
static unsigned tell(const char *name, size_t len, int64_t number, struct ld_wire_told *told)
{
	if (is_name(name, len, "ttl"))
		return told->ttl_ms = seconds_ms(number), SEEN_TTL;
	if (is_name(name, len, "created"))
		return told->created_ms = number, SEEN_CREATED;
	if (is_name(name, len, "stale"))
		return told->stale_ms = seconds_ms(number), SEEN_STALE;
	if (is_name(name, len, "hard_end"))
		return told->hard_end_ms = number, SEEN_HARD_END;
	if (!is_name(name, len, "flags") || number > UINT32_MAX)
		return 0;
	told->flags = (uint32_t)number;
	told->has_flags = 1;
	return SEEN_FLAGS;
}

/* This text next, with blanks before it. */
static int take_text(struct text *text, const char *known)
{
	size_t len = strlen(known);

	skip_blanks(text);
	if ((size_t)(text->end - text->at) < len || memcmp(text->at, known, len) != 0)
		return 0;
	text->at += len;
	return 1;
}

/* "name":number, or "encoding":"base64" */
static int take_member(struct text *text, unsigned *seen, struct ld_wire_told *told)
{
	const char *name, *quote;
	unsigned what = SEEN_ENCODING;
	int64_t number;
	size_t len;

	if (!take(text, '"'))
		return 0;
	name = text->at;
	quote = memchr(name, '"', (size_t)(text->end - name));
	if (quote == NULL)
		return 0;
	len = (size_t)(quote - name);
	text->at = quote + 1;
	if (!take(text, ':'))
		return 0;
	if (is_name(name, len, "encoding")) {
		if (!take_text(text, "\"base64\""))
			return 0;
	} else {
		if (!take_number(text, &number))
			return 0;
		what = tell(name, len, number, told);
	}
	if (what == 0 || *seen & what)
		return 0;
	*seen |= what;
	return 1;
}

/* {"name":number, ... "value": */
static int take_before(struct text text, unsigned *seen, struct ld_wire_told *told)
{
	if (!take(&text, '{'))
		return 0;
	while (!take_text(&text, "\"value\"")) {
		if (!take_member(&text, seen, told) || !take(&text, ','))
			return 0;
	}
	if (!take(&text, ':'))
		return 0;
	skip_blanks(&text);
	return text.at == text.end;
}

/* , "name":number ... } */
static int take_after(struct text text, unsigned *seen, struct ld_wire_told *told)
{
	while (take(&text, ',')) {
		if (!take_member(&text, seen, told))
			return 0;
	}
	if (!take(&text, '}'))
		return 0;
	skip_blanks(&text);
	return text.at == text.end;
}

int ld_codec_json_quick(const char *body, size_t len, const char *value, size_t value_len, struct ld_wire_told *told, int *ret_encoded)
{
	struct ld_wire_told found = *told;
	unsigned seen = 0;

	if (!take_before((struct text){ body, value }, &seen, &found) ||
	    !take_after((struct text){ value + value_len, body + len }, &seen, &found))
		return -1;
	*told = found;
	*ret_encoded = (seen & SEEN_ENCODING) != 0;
	return 0;
}
