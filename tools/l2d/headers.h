/* SPDX-License-Identifier: MIT */
/**
 * The request's head as the service understands it: header fields, where it wants to go, and what the raw codec says in header fields.
 * Pure functions over texts that others wrote; nothing is allocated.
 */
#ifndef L2D_HEADERS_H
#define L2D_HEADERS_H

#include "value.h"

/** Fields that are looked at; NULL where there is none. Borrowed from whoever filled it in. */
struct l2d_headers {
	const char *tenant;
	const char *authorization;
	const char *content_type;
	const char *content_length;
	const char *content_encoding;
	const char *transfer_encoding;
	const char *expect;
	const char *accept;
	const char *cache_control;
	const char *created;
	const char *hard_end;
	const char *flags;
	const char *tags;
	const char *if_none_match;
	const char *idempotency_key;
	const char *request_id;
	const char *twice;        /* name of a field that must be there once, and was there more often */
	int unclear;              /* 1: somebody else may see the end of this request elsewhere, so the connection must not go on */
};

/** Note a field by its name, in any case; others are ignored. */
void l2d_headers_note(struct l2d_headers *headers, const char *name, const char *value);

#define L2D_KEY_MAX 256

enum l2d_place { L2D_AT_KEY, L2D_AT_HEALTH, L2D_AT_METRICS };

struct l2d_route {
	enum l2d_place place;
	char tenant[64];
	const char *key;          /* in the path, to its end */
	size_t key_len;
};

/**
 * Where a path leads: /_health, /_metrics, /KEY or /TENANT/KEY.
 *
 * tenant    the value of X-Tenant-Id, or NULL
 *
 * Returns   0; LARDER_E_TENANT, LARDER_E_NAME, LARDER_E_USAGE tenant and tenant differ; then *ret_why is a static text
 */
int l2d_route_read(const char *path, const char *tenant, struct l2d_route *ret_route, const char **ret_why);

/** The media type of a Content-Type: 0 and the codec; -1 for any other, or none. */
int l2d_codec_of_type(const char *content_type, enum l2d_codec *ret_codec);

/** The codec to answer in: the first of ours that Accept names without q=0, else `kept`. */
enum l2d_codec l2d_codec_accepted(const char *accept, enum l2d_codec kept);

/**
 * What the header fields of a raw write say: times, flags, creation.
 *
 * ttl_ms    used when Cache-Control has no max-age
 * value     data and len stay; the rest is set
 *
 * Returns   0; 1 it says no-store; LARDER_E_USAGE, LARDER_E_TTL: then *ret_why is a static text
 */
int l2d_raw_read(const struct l2d_headers *headers, int64_t ttl_ms, struct l2d_value *value, const char **ret_why);

/** `max-age=60, stale-while-revalidate=30`: whole seconds, rounded down. Writes at most 80 characters. */
void l2d_raw_freshness(const struct l2d_value *value, char *to, size_t room);

/** Printable characters without blanks, 1..128 of them: 1 or 0. */
int l2d_is_token(const char *text);

/** Compare `Bearer TOKEN` in a time that depends on the length of what was sent alone: 1 or 0. authorization may be NULL. */
int l2d_is_bearer(const char *authorization, const char *token, size_t token_len);

#endif
