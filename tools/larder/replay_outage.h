/* SPDX-License-Identifier: MIT */
/**
 * When `larder replay --l2-outage AT:FOR` takes the second level away, and when it gives it back. Pure: the master tells how far the run is.
 */
#ifndef LARDER_TOOL_REPLAY_OUTAGE_H
#define LARDER_TOOL_REPLAY_OUTAGE_H

#include <stdint.h>

/** A part of the trace or a time. */
struct replay_span {
	double percent;           /* of the requests, above 0 and at most 100; 0 = it is a time */
	int64_t time_ms;
};

struct replay_outage {
	struct replay_span at;    /* from the beginning */
	struct replay_span length;/* from the kill */
};

/**
 * Read "40%:20%", "3s:2s", or one of each.
 *
 * Returns   0; -1 it is none, or a share is not above 0 and at most 100
 */
int replay_outage_parse(const char *text, struct replay_outage *ret_outage);

/**
 * Is a span over?
 *
 * done      requests since it began, of total in the whole trace
 * took_ns   time since it began
 */
int replay_span_is_over(const struct replay_span *span, uint64_t done, uint64_t total, int64_t took_ns);

#endif
