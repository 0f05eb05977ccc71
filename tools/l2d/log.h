/* SPDX-License-Identifier: MIT */
/**
 * Events of the service on stderr, a line each, in the form of larder's own: ts=, level=, event=, pid=, then the event's fields. A line is one
 * write(2), so that lines of several processes do not mix; it is cut at 1,000 bytes. Neither tenants nor keys nor values are ever an argument.
 *
 * Any process, any thread. Never blocks but on stderr itself.
 */
#ifndef L2D_LOG_H
#define L2D_LOG_H

#include <larder/larder.h>

/** Most detailed level that is written; LARDER_LOG_WARN at the start. Set before the first fork. */
void l2d_log_level(enum larder_log_level level);

/** event is lower_snake_case; format gives the further fields, "worker=3 status=204", or is "". */
void l2d_log(enum larder_log_level level, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));

/** For struct larder_options: the lines of the embedded cache, as they are. */
void l2d_log_line(void *ctx, enum larder_log_level level, const char *line);

/** A word on stderr for whoever typed the command, without time and level. */
void l2d_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
