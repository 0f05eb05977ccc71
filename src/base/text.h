/* SPDX-License-Identifier: MIT */
/**
 * Bounded text: a cursor over the caller's buffer that never overruns, always ends in NUL, and remembers that it was too short;
 * and a growing list of problems, for errors that are told all at once.
 */
#ifndef LD_BASE_TEXT_H
#define LD_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct ld_text {
	char *data;
	size_t size;      /* of data, NUL included */
	size_t len;
	int truncated;
};

/** size >= 1. */
void ld_text_init(struct ld_text *text, char *data, size_t size);
void ld_text_add(struct ld_text *text, const char *more);
void ld_text_addf(struct ld_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** A JSON string with its quotes; bytes that are not valid UTF-8 become U+FFFD. */
void ld_text_add_json(struct ld_text *text, const char *data, size_t len);

/** Problems, a line each, without a newline at the end. Zeroed = empty. text is allocated; lost means that memory ran out. */
struct ld_problems {
	char *text;
	size_t len;
	unsigned count;
	int lost;
};
void ld_problem(struct ld_problems *problems, const char *format, ...) __attribute__((format(printf, 2, 3)));
void ld_problems_free(struct ld_problems *problems);

/** Is it all valid UTF-8 (RFC 3629), without a NUL? 1 or 0. */
int ld_text_is_utf8(const void *data, size_t len);

/** `^[a-z0-9-]{1,max}$`: 1 or 0. Reads at most max + 1 bytes. */
int ld_text_is_id(const char *text, size_t max);
/** Lower-case hex with a NUL: 2 * len + 1 bytes. */
void ld_text_hex(const unsigned char *data, size_t len, char *ret_hex);

#endif
