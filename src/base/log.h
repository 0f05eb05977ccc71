/* SPDX-License-Identifier: MIT */
/**
 * Structured events, given line by line to the sink of whoever opened the cache; without one they go nowhere. Every line has
 * the same first fields: time, level, event, cache name, pid; then the request id if there is one; then the event's own.
 *
 *   text  ts=2026-01-02T03:04:05.678Z level=warn event=store_remade cache=larder pid=12 reason="file vanished"
 *   json  {"ts":"...","level":"warn","event":"store_remade","cache":"larder","pid":12,"reason":"file vanished"}
 *
 * No name and no part of a digest is ever an argument of it.
 */
#ifndef LD_BASE_LOG_H
#define LD_BASE_LOG_H

#include <larder/larder.h>

struct ld_log {
	larder_log_fn fn;       /* NULL: nowhere */
	void *ctx;
	const char *cache;      /* name of the cache, borrowed for as long as the log is used */
	int level;              /* enum larder_log_level */
	int json;
};

/** A field: exactly one of text and number is used; text wins when not NULL. */
struct ld_field {
	const char *name;
	const char *text;
	int64_t number;
};

/**
 * Emit an event. event is lower_snake_case, fields end with a row whose name is NULL. A line is cut at 1,024 bytes, fields
 * whole. log NULL = nowhere. Thread-safe. Use LD_LOG() with LD_T()/LD_N().
 */
void ld_log_emit(const struct ld_log *log, enum larder_log_level level, const char *event, const char *request_id,
    const struct ld_field *fields);

#define LD_T(n, t) { (n), (t), 0 }
#define LD_N(n, v) { (n), NULL, (int64_t)(v) }
#define LD_LOG(log, level, event, request_id, ...) \
	ld_log_emit((log), (level), (event), (request_id), (const struct ld_field[]){ __VA_ARGS__ { NULL, NULL, 0 } })

/** Would an event of this level be seen? For those that cost something to describe. */
int ld_log_wants(const struct ld_log *log, enum larder_log_level level);

#endif
