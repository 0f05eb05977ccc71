/* SPDX-License-Identifier: MIT */
/*
 * Reads a file line by line within bounds (lines.h). Called by the verbs that take lists. It must never hold more than the longest legal line, whatever the
 * file is, nor read on through a line without looking whether it was told to stop.
 */
#include "lines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define CHUNK ((size_t)1 << 16)
/* What is skipped of a line that was too long. */
#define SKIP_MAX ((size_t)1 << 28)

/* Room for another chunk behind what is unread. */
static int make_room(struct lines *lines)
{
	size_t unread = lines->end - lines->begin;
	if (lines->begin)
		memmove(lines->data, lines->data + lines->begin, unread);
	lines->begin = 0;
	lines->end = unread;
	if (lines->size - unread >= CHUNK)
		return 0;
	/* Twice as much, but not more than the longest line takes. */
	size_t size = lines->size * 2 < lines->most + CHUNK ? lines->size * 2 : lines->most + CHUNK;
	size = size < unread + CHUNK ? unread + CHUNK : size;
	char *data = realloc(lines->data, size);
	if (!data)
		return -1;
	lines->data = data;
	lines->size = size;
	return 0;
}

/* One read. LINES_LINE: go on. */
static enum lines_result fill(struct lines *lines)
{
	ssize_t got;
	if (make_room(lines)) {
		errno = ENOMEM;
		return LINES_FAILED;
	}
	do
		got = cli_interrupted ? -1 : read(fileno(lines->file), lines->data + lines->end, CHUNK);
	while (got < 0 && !cli_interrupted && errno == EINTR);
	if (cli_interrupted)
		return LINES_STOPPED;
	if (got < 0)
		return LINES_FAILED;
	lines->at_end = got == 0;
	lines->end += (size_t)got;
	return LINES_LINE;
}

/* The rest of a line that was told already. */
static enum lines_result skip(struct lines *lines)
{
	for (size_t skipped = 0; skipped < SKIP_MAX;) {
		size_t unread = lines->end - lines->begin;
		const char *newline = unread ? memchr(lines->data + lines->begin, '\n', unread) : NULL;
		lines->begin = newline ? (size_t)(newline + 1 - lines->data) : lines->end;
		lines->skipping = !newline && !lines->at_end;
		if (!lines->skipping)
			return LINES_LINE;
		skipped += unread;
		enum lines_result result = fill(lines);
		if (result != LINES_LINE)
			return result;
	}
	return LINES_ENDLESS;
}

enum lines_result lines_next(struct lines *lines, const char **ret_line, size_t *ret_len)
{
	enum lines_result result = lines->skipping ? skip(lines) : lines->data ? LINES_LINE : fill(lines);
	size_t seen = 0;
	while (result == LINES_LINE) {
		size_t unread = lines->end - lines->begin;
		const char *line = lines->data + lines->begin;
		const char *newline = unread > seen ? memchr(line + seen, '\n', unread - seen) : NULL;
		size_t len = newline ? (size_t)(newline - line) : unread;
		if (len > lines->most) {
			lines->skipping = 1;
			return LINES_LONG;
		}
		if (newline || (lines->at_end && unread)) {
			*ret_line = line;
			*ret_len = newline ? len + 1 : len;
			lines->begin += *ret_len;
			return LINES_LINE;
		}
		if (lines->at_end)
			return LINES_END;
		seen = unread;
		result = fill(lines);
	}
	return result;
}

int lines_error(const char *file, uint64_t line, enum lines_result result)
{
	if (result == LINES_ENDLESS)
		cli_error("%s:%" PRIu64 ": it does not end: this is no list", file, line);
	else
		cli_error("%s: %s", file, strerror(errno));
	return CLI_USAGE;
}

void lines_free(struct lines *lines)
{
	free(lines->data);
	lines->data = NULL;
}
