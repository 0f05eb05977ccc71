/* SPDX-License-Identifier: MIT */
/**
 * What one line of a trace asks for. Two formats: a key on each line, and the access log of nginx and Apache ("common" and
 * "combined" format), of which the GET requests count: their key is method and target, "GET /path?query".
 *
 * Lines come from outside: any bytes, any length. Nothing here allocates or reads past len.
 */
#ifndef LARDER_TOOL_REPLAY_LINE_H
#define LARDER_TOOL_REPLAY_LINE_H

#include <stddef.h>

enum replay_format {
	REPLAY_KEYS,              /* one key per line */
	REPLAY_ACCESS_LOG
};

/** "keys" or "access-log". */
const char *replay_format_name(enum replay_format format);

/**
 * Tell the format from the beginning of a file: an access log if more than half of its first 20 lines that are not empty look
 * like one. A last line that is cut off does not count, unless it is the only one.
 */
enum replay_format replay_format_detect(const char *data, size_t len);

/**
 * The key of a line.
 *
 * line      len bytes without the newline; a carriage return at its end is ignored
 * ret_key   on 1: into line; *ret_key_len is 1..LARDER_NAME_MAX
 *
 * Returns   1; 0 the line has no key: empty, too long, another method, or not of this format
 */
int replay_line_key(enum replay_format format, const char *line, size_t len, const char **ret_key, size_t *ret_key_len);

#endif
