/* SPDX-License-Identifier: MIT */
/**
 * The lines of a file that is not trusted: none longer than the caller says is held in memory, and a signal is seen within one.
 *
 *     struct lines lines = { .file = stdin, .most = 8192 };
 *     while (lines_next(&lines, &line, &len) == LINES_LINE) ...
 *     lines_free(&lines);
 */
#ifndef LARDER_LINES_H
#define LARDER_LINES_H

#include <stdint.h>
#include <stdio.h>

/** The caller sets file, which it reads in no other way, and most; the rest is zero. */
struct lines {
	FILE *file;               /**< borrowed */
	size_t most;              /**< longest line, without its newline */
	char *data;               /* the unread bytes are data[begin..end) */
	size_t begin, end, size;
	int at_end;
	int skipping;             /* inside a line that was too long */
};

enum lines_result {
	LINES_END,
	LINES_LINE,
	LINES_LONG,               /**< a line that is longer; the next call goes on after it */
	LINES_ENDLESS,            /**< one that was too long has no end within a reasonable length: there is no use going on */
	LINES_STOPPED,            /**< cli_interrupted */
	LINES_FAILED              /**< it cannot be read, or memory is out: errno */
};

/** On LINES_LINE: a line with its newline, if it has one; valid until the next call. Blocks as read(2). */
enum lines_result lines_next(struct lines *lines, const char **ret_line, size_t *ret_len);
/** Say why it ended with LINES_FAILED or LINES_ENDLESS, after so many lines. Returns CLI_USAGE. */
int lines_error(const char *file, uint64_t line, enum lines_result result);
void lines_free(struct lines *lines);

#endif
