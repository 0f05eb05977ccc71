/* SPDX-License-Identifier: MIT */
/*
 * Texts of headers as numbers and flags (http_text.h; dates are in http_date.c). Called by the HTTP client for every answer. It must
 * never believe a text: what is not understood is left out, and where a server contradicts itself the shorter time counts.
 */
#include "l2/http_text.h"

#include <string.h>

static int is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static int is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Without the blanks at both ends. */
static const char *trim(const char *text, size_t *len)
{
	while (*len > 0 && is_blank(text[0])) {
		text++;
		(*len)--;
	}
	while (*len > 0 && is_blank(text[*len - 1]))
		(*len)--;
	return text;
}

/* word in lower case. Not strncasecmp(3): in the host program's locale an I may not be the capital of an i. */
static int is_word(const char *text, size_t len, const char *word)
{
	if (len != strlen(word))
		return 0;
	for (size_t i = 0; i < len; i++) {
		char c = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + ('a' - 'A')) : text[i];

		if (c != word[i])
			return 0;
	}
	return 1;
}

/* A token of RFC 9110, 5.6.2, as long as it goes. */
static size_t token(const char *text, size_t len)
{
	static const char others[] = "!#$%&'*+-.^_`|~";
	size_t i = 0;

	for (; i < len; i++) {
		char c = text[i];

		if (!is_digit(c) && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && (c == '\0' || strchr(others, c) == NULL))
			break;
	}
	return i;
}

/* A quoted string, with its quotes; of one that does not end, all that is left. text[0] is the quote. */
static size_t quoted(const char *text, size_t len)
{
	for (size_t i = 1; i < len; i++) {
		if (text[i] == '"')
			return i + 1;
		i += text[i] == '\\';
	}
	return len;
}

/* One digit or more and nothing else. Above LD_HTTP_SECONDS_MAX it does not matter by how much. */
static int seconds(const char *text, size_t len, int64_t *ret_s)
{
	int64_t s = 0;

	if (len == 0)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (!is_digit(text[i]))
			return -1;
		s = s * 10 + (text[i] - '0');
		s = s > LD_HTTP_SECONDS_MAX ? LD_HTTP_SECONDS_MAX : s;
	}
	*ret_s = s;
	return 0;
}

/* Cache-Control: a list of directives. */

static void lower(int64_t *known_s, const char *value, size_t len)
{
	int64_t s = 0;

	/* No number: the freshness is not known, which is as good as none (RFC 9111, 4.2.1). */
	if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
		value++;
		len -= 2;
	}
	if (seconds(value, len, &s) != 0)
		s = 0;
	if (*known_s < 0 || s < *known_s)
		*known_s = s;
}

static void directive(struct ld_http_cache_control *control, const char *name, size_t name_len, const char *value, size_t len)
{
	if (is_word(name, name_len, "max-age"))
		lower(&control->max_age_s, value, len);
	else if (is_word(name, name_len, "s-maxage"))
		lower(&control->s_maxage_s, value, len);
	else if (is_word(name, name_len, "stale-while-revalidate"))
		lower(&control->stale_while_revalidate_s, value, len);
	else if (is_word(name, name_len, "stale-if-error"))
		lower(&control->stale_if_error_s, value, len);
	else if (is_word(name, name_len, "no-store") || is_word(name, name_len, "private"))
		control->no_store = 1;
	else if (is_word(name, name_len, "no-cache"))
		control->no_cache = 1;
}

/* Up to the comma that ends a member, those in quotes not counted. */
static size_t member(const char *text, size_t len)
{
	size_t i = 0;

	while (i < len && text[i] != ',')
		i += text[i] == '"' ? quoted(text + i, len - i) : 1;
	return i;
}

static void take_member(struct ld_http_cache_control *control, const char *text, size_t len)
{
	const char *value;
	size_t name_len, value_len;

	text = trim(text, &len);
	name_len = token(text, len);
	value = text + name_len;
	value_len = len - name_len;
	/* Blanks round the sign are not allowed, and do come; what else follows a name is as a value that is no number. */
	value = trim(value, &value_len);
	if (value_len > 0 && value[0] == '=') {
		value++;
		value_len--;
	}
	value = trim(value, &value_len);
	directive(control, text, name_len, value, value_len);
}

void ld_http_cache_control(const char *text, size_t len, struct ld_http_cache_control *control)
{
	while (len > 0) {
		size_t size = member(text, len);

		take_member(control, text, size);
		size += size < len;
		text += size;
		len -= size;
	}
}

/* Numbers */

int ld_http_age(const char *text, size_t len, int64_t *ret_s)
{
	const char *comma = len > 0 ? memchr(text, ',', len) : NULL;

	if (comma != NULL)
		len = (size_t)(comma - text);
	text = trim(text, &len);
	return seconds(text, len, ret_s);
}

int ld_http_number(const char *text, size_t len, uint64_t max, uint64_t *ret_number)
{
	uint64_t number = 0;

	text = trim(text, &len);
	if (len == 0)
		return -1;
	for (size_t i = 0; i < len; i++) {
		uint64_t digit = (uint64_t)(text[i] - '0');

		if (!is_digit(text[i]) || number > max / 10 || digit > max - number * 10)
			return -1;
		number = number * 10 + digit;
	}
	*ret_number = number;
	return 0;
}

/* Tags */

int ld_http_tag(const char *text, size_t len, uint64_t *ret_tag)
{
	uint64_t tag = 0;

	if (len != 16)
		return -1;
	for (size_t i = 0; i < len; i++) {
		int letter = text[i] >= 'a' && text[i] <= 'f';

		if (!is_digit(text[i]) && !letter)
			return -1;
		tag = tag << 4 | (uint64_t)(letter ? text[i] - 'a' + 10 : text[i] - '0');
	}
	*ret_tag = tag;
	return 0;
}

int ld_http_tags(const char *text, size_t len, uint64_t tags[LD_HTTP_TAGS_MAX], uint32_t *count)
{
	uint32_t used = *count;

	for (size_t at = 0; at <= len; at++) {
		const char *comma = at < len ? memchr(text + at, ',', len - at) : NULL;
		size_t part_len = comma != NULL ? (size_t)(comma - text) - at : len - at;
		const char *part = text + at;

		at += part_len;
		part = trim(part, &part_len);
		if (used == LD_HTTP_TAGS_MAX || ld_http_tag(part, part_len, &tags[used]) != 0)
			return -1;
		used++;
	}
	*count = used;
	return 0;
}

int ld_http_retry_after(const char *text, size_t len, int64_t now_ms, int64_t *ret_ms)
{
	int64_t s, at_ms, wait_ms;

	text = trim(text, &len);
	if (seconds(text, len, &s) == 0) {
		*ret_ms = s * 1000;
		return 0;
	}
	if (ld_http_date(text, len, now_ms, &at_ms) != 0)
		return -1;
	wait_ms = at_ms > now_ms ? at_ms - now_ms : 0;
	*ret_ms = wait_ms > LD_HTTP_SECONDS_MAX * 1000 ? LD_HTTP_SECONDS_MAX * 1000 : wait_ms;
	return 0;
}

/* Words */

int ld_http_etag(const char *text, size_t len, char ret_etag[LD_HTTP_ETAG_SIZE])
{
	size_t first;

	text = trim(text, &len);
	first = len >= 2 && text[0] == 'W' && text[1] == '/' ? 2 : 0;
	if (len < first + 2 || len >= LD_HTTP_ETAG_SIZE || text[first] != '"' || text[len - 1] != '"')
		return -1;
	for (size_t i = first + 1; i < len - 1; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c <= 0x20 || c == '"' || c == 0x7f)
			return -1;
	}
	memcpy(ret_etag, text, len);
	ret_etag[len] = '\0';
	return 0;
}

int ld_http_is_json(const char *text, size_t len)
{
	const char *end = len > 0 ? memchr(text, ';', len) : NULL;

	if (end != NULL)
		len = (size_t)(end - text);
	text = trim(text, &len);
	return is_word(text, len, "application/json");
}
