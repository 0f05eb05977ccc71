/* SPDX-License-Identifier: MIT */
/*
 * An answer as it comes in: its headers into fields, its body into memory up to the cap. libcurl calls these with one header line at a time, and with
 * pieces of the body after decoding; what they may never do is trust a number in them. A line that is malformed counts as missing. Lines are
 * counted and bounded over everything that one call receives.
 */
#include "l2/http_inside.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

#define SECONDS_MAX INT64_C(2147483647) /* RFC 9111: what is larger counts as this */
#define STAMP_MAX_MS INT64_C(253402300799999) /* the end of the year 9999 */
#define ROOM_FIRST_B 4096
#define ROOM_BELIEVED_B 65536

/* A piece of a line. */
struct span {
	const char *at;
	size_t len;
};

static struct span trim(struct span text)
{
	while (text.len > 0 && (text.at[0] == ' ' || text.at[0] == '\t')) {
		text.at++;
		text.len--;
	}
	while (text.len > 0 && strchr(" \t\r\n", text.at[text.len - 1]) != NULL)
		text.len--;
	return text;
}

static int is_word(struct span text, const char *word)
{
	return text.len == strlen(word) && strncasecmp(text.at, word, text.len) == 0;
}

/* Digits alone; what is larger than `most` is `over`. -1: malformed. */
static int64_t number(struct span text, int64_t most, int64_t over)
{
	int64_t value = 0;

	if (text.len == 0)
		return -1;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return -1;
		if (value <= most)
			value = value * 10 + (text.at[i] - '0');
	}
	return value > most ? over : value;
}

static int64_t seconds(struct span text)
{
	return number(text, SECONDS_MAX, SECONDS_MAX);
}

/* A date in one of HTTP's three forms, as milliseconds since 1970; -1 malformed. */
static int64_t date(struct span text)
{
	char copy[64];
	int64_t value;

	if (text.len < 8 || text.len >= sizeof(copy) || memchr(text.at, '\0', text.len) != NULL)
		return -1;
	memcpy(copy, text.at, text.len);
	copy[text.len] = '\0';
	value = (int64_t)curl_getdate(copy, NULL);
	return value < 0 || value > STAMP_MAX_MS / 1000 ? -1 : value * 1000;
}

/* The second of two values: the smaller or the larger, but any rather than none. */
static void keep_smaller(int64_t *field, int64_t value)
{
	if (value >= 0 && (*field < 0 || value < *field))
		*field = value;
}

static void keep_larger(int64_t *field, int64_t value)
{
	if (value > *field)
		*field = value;
}

/* ---- headers ---- */

/* A directive's argument may stand in quotes. */
static struct span unquote(struct span text)
{
	if (text.len >= 2 && text.at[0] == '"' && text.at[text.len - 1] == '"')
		return (struct span){ text.at + 1, text.len - 2 };
	return text;
}

/* Freshness that cannot be read is as good as over, not as not given. */
static int64_t or_none_left(int64_t value)
{
	return value < 0 ? 0 : value;
}

static void take_directive(struct ld_http_answer *answer, struct span directive)
{
	const char *equals = memchr(directive.at, '=', directive.len);
	size_t len = equals != NULL ? (size_t)(equals - directive.at) : directive.len;
	struct span name = trim((struct span){ directive.at, len });
	struct span value = { NULL, 0 };

	if (equals != NULL)
		value = unquote(trim((struct span){ equals + 1, directive.len - len - 1 }));
	if (is_word(name, "no-store"))
		answer->no_store = 1;
	else if (is_word(name, "no-cache"))
		answer->no_cache = 1;
	else if (is_word(name, "max-age"))
		keep_smaller(&answer->max_age_s, or_none_left(seconds(value)));
	else if (is_word(name, "stale-while-revalidate"))
		keep_smaller(&answer->stale_s, seconds(value));
	else if (is_word(name, "stale-if-error"))
		keep_smaller(&answer->error_s, seconds(value));
}

/* Directives with commas between them; a comma inside quotes is part of an argument. */
static void take_cache_control(struct ld_http_receipt *receipt, struct span value)
{
	size_t from = 0;
	int quoted = 0;

	for (size_t i = 0; i <= value.len; i++) {
		if (i < value.len && value.at[i] == '"')
			quoted = !quoted;
		if (i < value.len && (value.at[i] != ',' || quoted))
			continue;
		take_directive(receipt->answer, trim((struct span){ value.at + from, i - from }));
		from = i + 1;
	}
}

static void take_content_type(struct ld_http_receipt *receipt, struct span value)
{
	const char *semicolon = memchr(value.at, ';', value.len);
	struct span type = trim((struct span){ value.at, semicolon != NULL ? (size_t)(semicolon - value.at) : value.len });

	receipt->answer->json = is_word(type, "application/json") || is_word(type, "text/json") ||
	    (type.len > 5 && strncasecmp(type.at + type.len - 5, "+json", 5) == 0);
}

static void take_etag(struct ld_http_receipt *receipt, struct span value)
{
	char *etag = receipt->answer->etag;
	size_t skip = value.len > 2 && value.at[0] == 'W' && value.at[1] == '/' ? 2 : 0;

	if (etag[0] != '\0' || value.len > LD_HTTP_ETAG_MAX || value.len < skip + 2 || value.at[skip] != '"' || value.at[value.len - 1] != '"')
		return;
	for (size_t i = skip + 1; i < value.len - 1; i++) {
		if (value.at[i] < 0x21 || value.at[i] > 0x7e || value.at[i] == '"')
			return;
	}
	memcpy(etag, value.at, value.len);
	etag[value.len] = '\0';
}

static void take_retry_after(struct ld_http_receipt *receipt, struct span value)
{
	int64_t wait_ms = seconds(value), at_ms;

	if (wait_ms >= 0) {
		wait_ms *= 1000;
	} else {
		at_ms = date(value);
		if (at_ms < 0)
			return;
		wait_ms = at_ms > receipt->wall_ms ? at_ms - receipt->wall_ms : 0;
	}
	keep_larger(&receipt->answer->retry_after_ms, wait_ms < LD_HTTP_RETRY_AFTER_MAX_MS ? wait_ms : LD_HTTP_RETRY_AFTER_MAX_MS);
}

static void take_field(struct ld_http_receipt *receipt, struct span name, struct span value)
{
	struct ld_http_answer *answer = receipt->answer;

	if (is_word(name, "content-length"))
		keep_larger(&receipt->length, number(value, INT64_MAX / 16, INT64_MAX / 16));
	else if (is_word(name, "transfer-encoding"))
		receipt->chunked = 1;
	else if (is_word(name, "content-encoding"))
		receipt->encoded = 1;
	else if (is_word(name, "content-type"))
		take_content_type(receipt, value);
	else if (is_word(name, "cache-control"))
		take_cache_control(receipt, value);
	else if (is_word(name, "expires"))
		keep_smaller(&receipt->expires_ms, or_none_left(date(value)));
	else if (is_word(name, "date"))
		keep_larger(&receipt->date_ms, date(value));
	else if (is_word(name, "age"))
		keep_larger(&answer->age_s, seconds(value));
	else if (is_word(name, "etag"))
		take_etag(receipt, value);
	else if (is_word(name, "last-modified"))
		keep_smaller(&answer->last_modified_ms, date(value));
	else if (is_word(name, "retry-after"))
		take_retry_after(receipt, value);
	else if (is_word(name, "x-larder-created"))
		keep_smaller(&answer->created_ms, number(value, STAMP_MAX_MS, -1));
	else if (is_word(name, "x-larder-hard-end"))
		keep_smaller(&answer->hard_end_ms, number(value, STAMP_MAX_MS, -1));
	else if (is_word(name, "x-larder-flags") && answer->flags < 0)
		answer->flags = number(value, UINT32_MAX, -1);
	else if (is_word(name, "x-larder-tags"))
		answer->bad_tags |= ld_http_tags(value.at, value.len, answer->tags, &answer->tag_count) != 0;
}

/* A new block begins: whatever an interim answer said is forgotten. */
static void begin_block(struct ld_http_receipt *receipt, struct span line)
{
	const char *space = memchr(line.at, ' ', line.len);
	size_t left = space != NULL ? line.len - (size_t)(space - line.at) - 1 : 0;
	struct ld_http_answer *answer = receipt->answer;

	answer->age_s = answer->max_age_s = answer->stale_s = answer->error_s = answer->last_modified_ms = -1;
	answer->created_ms = answer->hard_end_ms = answer->retry_after_ms = answer->flags = -1;
	answer->no_store = answer->no_cache = answer->json = answer->bad_tags = 0;
	answer->tag_count = 0;
	answer->etag[0] = '\0';
	receipt->length = receipt->expires_ms = receipt->date_ms = -1;
	receipt->chunked = receipt->encoded = 0;
	receipt->block_status = left >= 3 ? (int)number((struct span){ space + 1, 3 }, 999, -1) : -1;
}

/* No body follows these, whatever the headers say. */
static int is_bodiless(const struct ld_http_receipt *receipt)
{
	return receipt->head || receipt->block_status == 204 || receipt->block_status == 304;
}

/* For those who give a date and no max-age. By the clock of whoever wrote it, if he told his. */
static void find_freshness(struct ld_http_receipt *receipt)
{
	int64_t from_ms = receipt->date_ms >= 0 ? receipt->date_ms : receipt->wall_ms, s = (receipt->expires_ms - from_ms) / 1000;

	if (receipt->answer->max_age_s < 0 && receipt->expires_ms >= 0)
		receipt->answer->max_age_s = s < SECONDS_MAX ? or_none_left(s) : SECONDS_MAX;
}

static void end_block(struct ld_http_receipt *receipt)
{
	if (receipt->block_status >= 100 && receipt->block_status <= 199)
		return;
	receipt->closed = 1;
	find_freshness(receipt);
	/* What is compressed may be longer so: its cap is met as it is unpacked. */
	if (!is_bodiless(receipt) && !receipt->chunked && !receipt->encoded && receipt->length > (int64_t)receipt->body_max)
		receipt->too_large = 1;
}

void ld_http_receipt_init(struct ld_http_receipt *receipt, struct ld_http_answer *answer, size_t body_max, int head, int64_t wall_ms)
{
	*receipt = (struct ld_http_receipt){ .answer = answer, .body_max = body_max, .wall_ms = wall_ms, .head = head != 0 };
	begin_block(receipt, (struct span){ "", 0 });
}

size_t ld_http_receipt_header(char *data, size_t size, size_t count, void *ctx)
{
	struct ld_http_receipt *receipt = ctx;
	size_t whole = size * count;
	struct span line = trim((struct span){ data, whole });
	const char *colon = memchr(line.at, ':', line.len);

	receipt->lines++;
	receipt->lines_b += whole;
	if (receipt->lines > LD_HTTP_ANSWER_LINES_MAX || receipt->lines_b > LD_HTTP_ANSWER_LINES_MAX_B) {
		receipt->too_many = 1;
		return whole == 0 ? 1 : 0;
	}
	if (receipt->closed)
		return whole;
	if (whole >= 5 && strncasecmp(data, "HTTP/", 5) == 0)
		begin_block(receipt, line);
	else if (line.len == 0)
		end_block(receipt);
	else if (colon != NULL && data == line.at)
		take_field(receipt, (struct span){ line.at, (size_t)(colon - line.at) },
		    trim((struct span){ colon + 1, line.len - (size_t)(colon - line.at) - 1 }));
	return receipt->too_large ? 0 : whole;
}

int ld_http_receipt_is_told(const struct ld_http_receipt *receipt)
{
	return is_bodiless(receipt) || receipt->chunked || receipt->length >= 0;
}

/* ---- the body ---- */

/* Room for len bytes more and a NUL. A length that was only promised is believed up to a point. */
static int make_room(struct ld_http_receipt *receipt, size_t len)
{
	size_t wanted = receipt->answer->body_len + len + 1;
	size_t room = receipt->body_room;
	unsigned char *body;

	if (wanted <= room)
		return 0;
	if (room == 0)
		room = receipt->length > 0 && receipt->length < ROOM_BELIEVED_B ? (size_t)receipt->length + 1 : ROOM_FIRST_B;
	else
		room *= 2;
	if (room > receipt->body_max + 1)
		room = receipt->body_max + 1;
	if (room < wanted)
		room = wanted;
	body = ld_realloc(receipt->answer->body, room);
	if (body == NULL)
		return -1;
	receipt->answer->body = body;
	receipt->body_room = room;
	return 0;
}

size_t ld_http_receipt_body(char *data, size_t size, size_t count, void *ctx)
{
	struct ld_http_receipt *receipt = ctx;
	struct ld_http_answer *answer = receipt->answer;
	size_t len = size * count;

	if (len > receipt->body_max - answer->body_len) {
		receipt->too_large = 1;
		return len == 0 ? 1 : 0;
	}
	if (len == 0)
		return 0;
	if (make_room(receipt, len) != 0) {
		receipt->no_memory = 1;
		return 0;
	}
	memcpy(answer->body + answer->body_len, data, len);
	answer->body_len += len;
	answer->body[answer->body_len] = '\0';
	return len;
}
