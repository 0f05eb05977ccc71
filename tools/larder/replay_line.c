/* SPDX-License-Identifier: MIT */
/* The two line formats of `larder replay`. It parses untrusted bytes and must not read beyond the line; the trace reader
 * calls it for each line. */
#include "replay_line.h"

#include <string.h>

#include <larder/larder.h>

#define DETECT_LINES 20

const char *replay_format_name(enum replay_format format)
{
	return format == REPLAY_ACCESS_LOG ? "access-log" : "keys";
}

static size_t trimmed(const char *line, size_t len)
{
	return len > 0 && line[len - 1] == '\r' ? len - 1 : len;
}

static int is_method(const char *data, size_t len)
{
	if (len < 3 || len > 16)
		return 0;
	for (size_t i = 0; i < len; i++)
		if (data[i] < 'A' || data[i] > 'Z')
			return 0;
	return 1;
}

/* The request of an access log line, from the method to the end of the target; NULL if the line has none:
 *
 *     192.0.2.7 - alice [10/Oct/2020:13:55:36 +0000] "GET /a/b?c HTTP/1.1" 200 2326 ...
 *                       ^ bracket                   ^ quote    ^ space after the target
 */
static const char *request_of(const char *line, size_t len, size_t *ret_method_len, size_t *ret_len)
{
	const char *end = line + len;
	const char *bracket = memchr(line, '[', len);
	const char *close = bracket ? memchr(bracket, ']', (size_t)(end - bracket)) : NULL;
	if (close == NULL || end - close < 4 || close[1] != ' ' || close[2] != '"')
		return NULL;
	const char *method = close + 3;
	const char *space = memchr(method, ' ', (size_t)(end - method));
	if (space == NULL || !is_method(method, (size_t)(space - method)))
		return NULL;
	const char *stop = space + 1;
	while (stop < end && *stop != ' ' && *stop != '"')
		stop++;
	if (stop == end || stop == space + 1)
		return NULL;
	*ret_method_len = (size_t)(space - method);
	*ret_len = (size_t)(stop - method);
	return method;
}

enum replay_format replay_format_detect(const char *data, size_t len)
{
	size_t at = 0, lines = 0, logs = 0;
	while (at < len && lines < DETECT_LINES) {
		const char *newline = memchr(data + at, '\n', len - at);
		size_t line_len = newline ? (size_t)(newline - data) - at : len - at;
		size_t method_len, request_len;
		if (newline == NULL && lines > 0)
			break;
		if (trimmed(data + at, line_len) > 0) {
			lines++;
			logs += request_of(data + at, line_len, &method_len, &request_len) != NULL;
		}
		at += line_len + 1;
	}
	return logs * 2 > lines ? REPLAY_ACCESS_LOG : REPLAY_KEYS;
}

int replay_line_key(enum replay_format format, const char *line, size_t len, const char **ret_key, size_t *ret_key_len)
{
	const char *key = line;
	size_t key_len = trimmed(line, len);
	size_t method_len;

	if (format == REPLAY_ACCESS_LOG) {
		key = request_of(line, len, &method_len, &key_len);
		if (key == NULL || method_len != 3 || memcmp(key, "GET", 3) != 0)
			return 0;
	}
	if (key_len == 0 || key_len > LARDER_NAME_MAX)
		return 0;
	*ret_key = key;
	*ret_key_len = key_len;
	return 1;
}
