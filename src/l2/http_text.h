/* SPDX-License-Identifier: MIT */
/**
 * What the texts of HTTP headers say: Cache-Control and Age (RFC 9111), Retry-After, dates and entity tags (RFC 9110), as pure
 * functions of a text and its length. The texts come from a server that nobody vouches for: any bytes are taken, a NUL need not
 * follow, nothing is read beyond len. No text is NULL.
 *
 * Blanks and tabs around a text do not count. A result of 0 means that the output is written, -1 that the text is not what it should
 * be and the output is untouched; such a header is to be ignored, as if the server had not sent it.
 *
 * Ownership: texts are borrowed for the call, nothing is allocated, nothing is kept. Blocks: no. Threads, fork: any.
 */
#ifndef LD_L2_HTTP_TEXT_H
#define LD_L2_HTTP_TEXT_H

#include <stddef.h>
#include <stdint.h>

/** Seconds above this are taken as this (RFC 9111, 1.2.2). */
#define LD_HTTP_SECONDS_MAX INT64_C(2147483648)
/** An entity tag with its quotes, `W/` and a NUL; longer ones are refused. */
enum { LD_HTTP_ETAG_SIZE = 128 };
/** Most tags of a value. */
enum { LD_HTTP_TAGS_MAX = 16 };

/**
 * What all Cache-Control headers of an answer say together. Begin with LD_HTTP_CACHE_CONTROL_INIT. Seconds: 0..LD_HTTP_SECONDS_MAX, or
 * -1 not given; one that is given but is no number is 0, of two the smaller one counts. The flags are 0 or 1.
 */
struct ld_http_cache_control {
	int64_t max_age_s;
	int64_t s_maxage_s;                /* for shared caches, which we are: see ld_http_fresh_s() */
	int64_t stale_while_revalidate_s;
	int64_t stale_if_error_s;
	int no_store;                      /* no-store, or private, with or without names of fields */
	int no_cache;                      /* not to be used again without asking: larder does not keep it either */
};
#define LD_HTTP_CACHE_CONTROL_INIT { -1, -1, -1, -1, 0, 0 }

/** Add a header's text to what is known already: once for each Cache-Control header. Directives that are unknown do not count. */
void ld_http_cache_control(const char *text, size_t len, struct ld_http_cache_control *control);

/** The seconds that an answer is fresh: s-maxage where it is given, else max-age, else -1. */
static inline int64_t ld_http_fresh_s(const struct ld_http_cache_control *control)
{
	return control->s_maxage_s >= 0 ? control->s_maxage_s : control->max_age_s;
}

/** Age, in seconds, 0..LD_HTTP_SECONDS_MAX. Of a list the first member counts. Returns 0 or -1. */
int ld_http_age(const char *text, size_t len, int64_t *ret_s);

/** Digits and nothing else, at most max: X-Larder-Created, X-Larder-Hard-End, X-Larder-Flags, Content-Length. Returns 0 or -1. */
int ld_http_number(const char *text, size_t len, uint64_t max, uint64_t *ret_number);

/** A tag's hash: 16 hex digits in lower case, nothing else. Returns 0 or -1. */
int ld_http_tag(const char *text, size_t len, uint64_t *ret_tag);

/**
 * X-Larder-Tags: tags with commas between them, added to the *count that are there already, LD_HTTP_TAGS_MAX in all. Returns 0; -1 one is none, or there
 * are too many: *count is as it was.
 */
int ld_http_tags(const char *text, size_t len, uint64_t tags[LD_HTTP_TAGS_MAX], uint32_t *count);

/**
 * A date in any of the three forms of RFC 9110, 5.6.7 (Last-Modified, Date): milliseconds since 1970, never negative. now_ms (wall)
 * decides the century of a year with two digits. The day of the week must be one, and need not be the right one. Returns 0 or -1.
 */
int ld_http_date(const char *text, size_t len, int64_t now_ms, int64_t *ret_ms);

/** Retry-After, seconds or a date, as milliseconds from now_ms (wall): 0 when the date has passed, at most LD_HTTP_SECONDS_MAX * 1000. */
int ld_http_retry_after(const char *text, size_t len, int64_t now_ms, int64_t *ret_ms);

/** ETag: copied with its quotes and `W/`, a NUL behind it. Returns 0; -1 not an entity tag, or too long. */
int ld_http_etag(const char *text, size_t len, char ret_etag[LD_HTTP_ETAG_SIZE]);

/** Is the Content-Type `application/json`, with whatever parameters? Not so `application/x+json`: that is a value. 1 or 0. */
int ld_http_is_json(const char *text, size_t len);

#endif
