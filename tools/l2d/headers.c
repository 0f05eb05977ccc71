/* SPDX-License-Identifier: MIT */
/* The head of a request (headers.h). Everything here reads what strangers wrote: lengths first, no copies but of a checked tenant. */
#include "headers.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <larder/larder.h>

#include "options.h"

#define WALL_MAX_MS UINT64_C(253402300799999)

void l2d_headers_note(struct l2d_headers *headers, const char *name, const char *value)
{
	const struct { const char *name; const char **place; int once, frames; } rows[] = {
		{ "Accept", &headers->accept, 0, 0 },
		{ "Authorization", &headers->authorization, 1, 0 },
		{ "Cache-Control", &headers->cache_control, 1, 0 },
		{ "Content-Encoding", &headers->content_encoding, 1, 0 },
		{ "Content-Length", &headers->content_length, 1, 1 },
		{ "Content-Type", &headers->content_type, 1, 0 },
		{ "Expect", &headers->expect, 0, 0 },
		{ "Idempotency-Key", &headers->idempotency_key, 1, 0 },
		{ "If-None-Match", &headers->if_none_match, 0, 0 },
		{ "Transfer-Encoding", &headers->transfer_encoding, 1, 1 },
		{ "X-Larder-Created", &headers->created, 1, 0 },
		{ "X-Larder-Flags", &headers->flags, 1, 0 },
		{ "X-Larder-Hard-End", &headers->hard_end, 1, 0 },
		{ "X-Larder-Tags", &headers->tags, 1, 0 },
		{ "X-Request-Id", &headers->request_id, 0, 0 },
		{ "X-Tenant-Id", &headers->tenant, 1, 0 },
	};

	/* "Content-Length : 5" is a length to some, and to others a field that they do not know. */
	if (strpbrk(name, " \t"))
		headers->unclear = 1;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if ((name[0] | 0x20) != (rows[i].name[0] | 0x20) || strcasecmp(name, rows[i].name) != 0)
			continue;
		if (*rows[i].place == NULL)
			*rows[i].place = value;
		else if (rows[i].once)
			headers->twice = rows[i].name;
		headers->unclear |= headers->twice == rows[i].name && rows[i].frames;
		return;
	}
}

/* ---- where ---- */

static size_t span(const char *text, size_t max, int key)
{
	size_t len = 0;

	for (; len <= max; len++) {
		char c = text[len];
		int common = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
		if (!common && !(key && ((c >= 'A' && c <= 'Z') || c == '_')))
			break;
	}
	return len;
}

static int is_tenant(const char *text, size_t len)
{
	return len >= 1 && len <= LARDER_TENANT_MAX && span(text, LARDER_TENANT_MAX, 0) == len;
}

static int no_route(int result, const char *why, const char **ret_why)
{
	*ret_why = why;
	return result;
}

static int take_tenant(const char *in_path, size_t path_len, const char *in_header, struct l2d_route *route, const char **ret_why)
{
	const char *tenant = in_path ? in_path : in_header;

	if (tenant == NULL)
		return no_route(LARDER_E_TENANT, "no tenant: neither X-Tenant-Id nor /TENANT/KEY", ret_why);
	size_t len = in_path ? path_len : strnlen(in_header, LARDER_TENANT_MAX + 1);
	if (!is_tenant(tenant, len))
		return no_route(LARDER_E_TENANT, "a tenant is 1 to 63 of a-z, 0-9 and '-'", ret_why);
	if (in_path && in_header && (strlen(in_header) != len || memcmp(in_header, in_path, len) != 0))
		return no_route(LARDER_E_USAGE, "X-Tenant-Id and the path name different tenants", ret_why);
	memcpy(route->tenant, tenant, len);
	route->tenant[len] = '\0';
	return 0;
}

int l2d_route_read(const char *path, const char *tenant, struct l2d_route *ret_route, const char **ret_why)
{
	struct l2d_route route = { .place = L2D_AT_KEY };

	if (*path != '/')
		return no_route(LARDER_E_USAGE, "the path does not begin with a slash", ret_why);
	if (strcmp(path, "/_health") == 0 || strcmp(path, "/_metrics") == 0) {
		route.place = path[2] == 'h' ? L2D_AT_HEALTH : L2D_AT_METRICS;
		*ret_route = route;
		return 0;
	}
	const char *first = path + 1, *slash = strchr(first, '/');
	route.key = slash ? slash + 1 : first;
	route.key_len = span(route.key, L2D_KEY_MAX, 1);
	if (route.key_len == 0 || route.key_len > L2D_KEY_MAX || route.key[route.key_len] != '\0')
		return no_route(LARDER_E_NAME, "a key is 1 to 256 of a-z, A-Z, 0-9, '_' and '-'", ret_why);
	int rc = take_tenant(slash ? first : NULL, slash ? (size_t)(slash - first) : 0, tenant, &route, ret_why);
	if (rc == 0)
		*ret_route = route;
	return rc;
}

/* ---- codecs ---- */

/* Does the text begin with this media type, and does the type end there? */
static int is_type(const char *text, const char *type)
{
	size_t len = strlen(type);
	return strncasecmp(text, type, len) == 0 && strchr("; \t,", text[len]) != NULL;
}

int l2d_codec_of_type(const char *content_type, enum l2d_codec *ret_codec)
{
	if (content_type == NULL)
		return -1;
	content_type += strspn(content_type, " \t");
	if (is_type(content_type, "application/json"))
		*ret_codec = L2D_JSON;
	else if (is_type(content_type, "application/octet-stream"))
		*ret_codec = L2D_RAW;
	else
		return -1;
	return 0;
}

/* Do the parameters of a media range, up to the comma, say q=0? */
static int is_refused(const char *range, size_t len)
{
	const char *end = range + len;

	for (const char *at = range; (at = memchr(at, ';', (size_t)(end - at))) != NULL;) {
		at++;
		while (at < end && (*at == ' ' || *at == '\t'))
			at++;
		if (end - at >= 3 && (*at == 'q' || *at == 'Q') && at[1] == '=')
			return at[2] == '0' && strspn(at + 2, "0.") >= strcspn(at + 2, ",; \t");
	}
	return 0;
}

enum l2d_codec l2d_codec_accepted(const char *accept, enum l2d_codec kept)
{
	enum l2d_codec codec;

	while (accept && *accept) {
		accept += strspn(accept, " \t,");
		size_t len = strcspn(accept, ",");
		if (l2d_codec_of_type(accept, &codec) == 0 && !is_refused(accept, len))
			return codec;
		accept += len;
	}
	return kept;
}

/* ---- raw writes ---- */

/* The seconds of a directive, at most ten years, as ms. -1 when they are no number. */
static int64_t seconds(const char *text, size_t len)
{
	int64_t s = 0;

	if (len >= 2 && text[0] == '"' && text[len - 1] == '"')
		text++, len -= 2;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		s = s * 10 + (text[i] - '0');
		s = s > LARDER_TTL_MAX_MS / 1000 ? LARDER_TTL_MAX_MS / 1000 : s;
	}
	return len > 0 ? s * 1000 : -1;
}

/* One directive of Cache-Control. Returns 0, 1 for no-store, or LARDER_E_TTL. error_ms is from the end of the TTL on, as RFC 5861 has it. */
static int take_directive(const char *text, size_t len, struct l2d_value *value)
{
	const struct { const char *name; int64_t *ms; } rows[] = {
		{ "max-age=", &value->ttl_ms }, { "stale-while-revalidate=", &value->stale_ms }, { "stale-if-error=", &value->error_ms },
	};

	if (len == 8 && strncasecmp(text, "no-store", 8) == 0)
		return 1;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t name_len = strlen(rows[i].name);
		if (len < name_len || strncasecmp(text, rows[i].name, name_len) != 0)
			continue;
		*rows[i].ms = seconds(text + name_len, len - name_len);
		return *rows[i].ms < 0 ? LARDER_E_TTL : 0;
	}
	return 0;
}

static int take_cache_control(const char *text, struct l2d_value *value)
{
	int no_store = 0;

	while (text && *text) {
		text += strspn(text, " \t,");
		size_t len = strcspn(text, ","), trimmed = len;
		while (trimmed > 0 && (text[trimmed - 1] == ' ' || text[trimmed - 1] == '\t'))
			trimmed--;
		int rc = take_directive(text, trimmed, value);
		if (rc < 0)
			return rc;
		no_store |= rc;
		text += len;
	}
	return no_store;
}

/* A list with commas. Returns 0 or -1. */
static int take_tags(const char *text, struct l2d_value *value)
{
	for (;;) {
		text += strspn(text, " \t");
		size_t len = strcspn(text, ", \t");
		if (value->tag_count == L2D_TAGS_MAX || l2d_tag_read(text, len, &value->tags[value->tag_count]) < 0)
			return -1;
		value->tag_count++;
		text += len;
		text += strspn(text, " \t");
		if (*text != ',')
			return *text == '\0' ? 0 : -1;
		text++;
	}
}

int l2d_raw_read(const struct l2d_headers *headers, int64_t ttl_ms, struct l2d_value *value, const char **ret_why)
{
	struct l2d_value read = { .data = value->data, .len = value->len, .codec = L2D_RAW, .ttl_ms = ttl_ms };
	uint64_t created = 0, hard_end = 0, flags = 0;
	int rc = take_cache_control(headers->cache_control, &read);

	if (rc < 0)
		return no_route(rc, "max-age, stale-while-revalidate and stale-if-error are whole seconds", ret_why);
	if ((headers->created && l2d_parse_number(headers->created, WALL_MAX_MS, &created) < 0) ||
	    (headers->hard_end && l2d_parse_number(headers->hard_end, WALL_MAX_MS, &hard_end) < 0))
		return no_route(LARDER_E_TTL, "X-Larder-Created and X-Larder-Hard-End are milliseconds since 1970", ret_why);
	if (headers->flags && l2d_parse_number(headers->flags, UINT32_MAX, &flags) < 0)
		return no_route(LARDER_E_USAGE, "X-Larder-Flags is a number of 32 bits", ret_why);
	if (headers->tags && take_tags(headers->tags, &read) < 0)
		return no_route(LARDER_E_USAGE, "X-Larder-Tags are at most 16 of 16 hex digits in lower case, with commas", ret_why);
	read.error_ms = read.error_ms > read.stale_ms ? read.error_ms - read.stale_ms : 0;
	read.created_ms = (int64_t)created;
	read.hard_end_ms = (int64_t)hard_end;
	read.flags = (uint32_t)flags;
	read.content = headers->created ? L2D_CONTENT_DATED : 0;
	*value = read;
	return rc;
}

void l2d_raw_freshness(const struct l2d_value *value, char *to, size_t room)
{
	int len = snprintf(to, room, "max-age=%lld", (long long)(value->ttl_ms / 1000));

	if (value->stale_ms >= 1000 && len > 0 && (size_t)len < room)
		len += snprintf(to + len, room - (size_t)len, ", stale-while-revalidate=%lld", (long long)(value->stale_ms / 1000));
	if (value->error_ms >= 1000 && len > 0 && (size_t)len < room)
		snprintf(to + len, room - (size_t)len, ", stale-if-error=%lld", (long long)((value->stale_ms + value->error_ms) / 1000));
}

/* ---- small checks ---- */

int l2d_is_token(const char *text)
{
	size_t len = 0;

	for (; len <= 128 && text[len] > ' ' && text[len] <= '~' && text[len] != '"'; len++)
		;
	return len >= 1 && len <= 128 && text[len] == '\0';
}

int l2d_is_bearer(const char *authorization, const char *token, size_t token_len)
{
	volatile unsigned different = 0;

	if (authorization == NULL || strncasecmp(authorization, "Bearer ", 7) != 0)
		return 0;
	const char *given = authorization + 7 + strspn(authorization + 7, " ");
	size_t len = strlen(given);
	for (size_t i = 0; i < len; i++)
		different |= (unsigned char)given[i] ^ (unsigned char)token[i % token_len];
	different |= len != token_len;
	return different == 0;
}
