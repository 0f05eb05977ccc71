/* SPDX-License-Identifier: MIT */
/* The two points of an outage (replay_outage.h). No state, no clock. */
#include "replay_outage.h"

#include <stdlib.h>
#include <string.h>

#include "human.h"

static int parse_span(const char *text, size_t len, struct replay_span *ret_span)
{
	char room[HUMAN_SIZE];
	char *end;

	if (len == 0 || len >= sizeof(room))
		return -1;
	memcpy(room, text, len);
	room[len] = '\0';
	*ret_span = (struct replay_span){ 0, 0 };
	if (room[len - 1] != '%')
		return human_parse_time(room, &ret_span->time_ms);
	if (*room < '0' || *room > '9')
		return -1;
	ret_span->percent = strtod(room, &end);
	return end == room + len - 1 && ret_span->percent > 0 && ret_span->percent <= 100 ? 0 : -1;
}

int replay_outage_parse(const char *text, struct replay_outage *ret_outage)
{
	const char *colon = strchr(text, ':');
	struct replay_outage outage;

	if (colon == NULL || parse_span(text, (size_t)(colon - text), &outage.at) < 0 || parse_span(colon + 1, strlen(colon + 1), &outage.length) < 0)
		return -1;
	*ret_outage = outage;
	return 0;
}

int replay_span_is_over(const struct replay_span *span, uint64_t done, uint64_t total, int64_t took_ns)
{
	if (span->percent > 0)
		return (double)done * 100 >= span->percent * (double)total;
	return took_ns >= span->time_ms * 1000000;
}
