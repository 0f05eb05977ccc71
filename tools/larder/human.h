/* SPDX-License-Identifier: MIT */
/**
 * Numbers, times and untrusted bytes as people write and read them. No output, no state.
 */
#ifndef LARDER_HUMAN_H
#define LARDER_HUMAN_H

#include <stddef.h>
#include <stdint.h>

/** Room for any text that the human_ functions write. */
#define HUMAN_SIZE 40

/** 1,024 -> "1.0 KiB". Each writes into buffer (HUMAN_SIZE bytes) and returns it. */
const char *human_bytes(char *buffer, uint64_t bytes);
/** 1234567 -> "1,234,567" */
const char *human_count(char *buffer, uint64_t count);
/** 90500 -> "1m30s"; 250 -> "250ms"; negative ones with a sign; two units at most. */
const char *human_duration(char *buffer, int64_t duration_ms);
/** Wall clock, UTC: "2026-01-02T03:04:05.678Z"; 0 and below -> "-". */
const char *human_time(char *buffer, int64_t wall_ms);

/** "64K" -> 65536. Returns 0, or -1 when it is no size or too large. */
int human_parse_size(const char *text, uint64_t *ret_bytes);
/** "1m", "250ms", "1.5h"; without a unit milliseconds. Returns 0, or -1: no time, negative, or above LARDER_TTL_MAX_MS. */
int human_parse_time(const char *text, int64_t *ret_ms);
/** "12", "0x1f". Returns 0, or -1. */
int human_parse_number(const char *text, uint64_t *ret_number);

/** "@1767323045" seconds since 1970, "+30m" from now, or "2026-01-02T03:04:05Z". Wall clock in milliseconds. Returns 0, or -1. */
int human_parse_when(const char *text, int64_t now_ms, int64_t *ret_ms);
/** The wall clock, milliseconds since 1970. */
int64_t human_now_ms(void);

/** What human_safe() leaves as it is besides printable text. */
#define HUMAN_KEEP_LINES 1     /**< newline and tab */
#define HUMAN_KEEP_BACKSLASH 2 /**< do not double it: the text cannot be read back */

/**
 * Bytes made safe for a terminal: printable UTF-8 stays, backslash is doubled, control characters, invalid bytes and characters
 * that reorder or hide text become \n, \t, \xNN or \u{NNNN}. max is the number of columns after which it is cut with "...", 0 = never.
 *
 * Returns a text to free(), or NULL when out of memory.
 */
char *human_safe(const void *data, size_t len, size_t max, unsigned keep);
/** Are these bytes valid UTF-8 (RFC 3629)? */
int human_is_utf8(const void *data, size_t len);
/** Are they valid UTF-8 without control characters (but newline and tab) and without characters that reorder or hide text? */
int human_is_plain(const void *data, size_t len);
/** Columns that a safe text takes. */
size_t human_width(const char *text);

#endif
