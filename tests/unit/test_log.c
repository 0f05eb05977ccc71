/* SPDX-License-Identifier: MIT */
/*
 * base/log: both formats to the byte, levels, escapes, dates, and lines that are cut between fields.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"

#define LINE_MAX_B 1024
#define TS_LEN 24   /* 2026-01-02T03:04:05.678Z */

struct seen {
	char line[2048];
	size_t len;
	int level;
	unsigned calls;
};

static void keep(void *ctx, enum larder_log_level level, const char *line)
{
	struct seen *seen = ctx;

	seen->len = strlen(line);
	seen->level = (int)level;
	seen->calls++;
	(void)snprintf(seen->line, sizeof(seen->line), "%s", line);
}

/* The line without the value of ts, and with PID for ours. */
static const char *steady(struct seen *seen, int json)
{
	static char text[2048];
	size_t start = json ? strlen("{\"ts\":\"") : strlen("ts=");
	char pid[32];
	char *at;

	(void)snprintf(pid, sizeof(pid), json ? "\"pid\":%ld" : "pid=%ld", (long)getpid());
	(void)snprintf(text, sizeof(text), "%.*s%s", (int)start, seen->line, seen->line + start + TS_LEN);
	at = strstr(text, pid);
	assert_non_null(at);
	at = strchr(at, json ? ':' : '=') + 1;
	memmove(at + 3, at + strlen(pid) - (json ? 6 : 4), strlen(at) - (strlen(pid) - (json ? 6 : 4)) + 1);
	memcpy(at, "PID", 3);
	return text;
}

static void test_text_line(void **state)
{
	struct seen seen = { .calls = 0 };
	struct ld_log log = { keep, &seen, "larder", LARDER_LOG_INFO, 0 };

	(void)state;
	LD_LOG(&log, LARDER_LOG_WARN, "store_remade", NULL, LD_T("reason", "file vanished"), LD_N("size", -5),
	    LD_T("path", "/dev/shm/l_1.x:y-z"), LD_T("empty", ""), LD_T("tricky", "a=b \"c\"\\\n\x1b[0m"), );
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.level, LARDER_LOG_WARN);
	assert_string_equal(steady(&seen, 0), "ts= level=warn event=store_remade cache=larder pid=PID reason=\"file vanished\" "
	    "size=-5 path=/dev/shm/l_1.x:y-z empty=\"\" tricky=\"a=b \\\"c\\\"\\\\\\n\\u001b[0m\"");
}

static void test_json_line(void **state)
{
	struct seen seen = { .calls = 0 };
	struct ld_log log = { keep, &seen, "larder", LARDER_LOG_INFO, 1 };

	(void)state;
	LD_LOG(&log, LARDER_LOG_ERROR, "store_remade", NULL, LD_T("reason", "file\tvanished"), LD_N("size", INT64_MIN), );
	assert_int_equal(seen.level, LARDER_LOG_ERROR);
	assert_string_equal(steady(&seen, 1), "{\"ts\":\"\",\"level\":\"error\",\"event\":\"store_remade\","
	    "\"cache\":\"larder\",\"pid\":PID,\"reason\":\"file\\tvanished\",\"size\":-9223372036854775808}");
}

static void test_request_id_follows_the_pid(void **state)
{
	struct seen seen = { .calls = 0 };
	struct ld_log log = { keep, &seen, "c", LARDER_LOG_INFO, 0 };

	(void)state;
	LD_LOG(&log, LARDER_LOG_INFO, "x", "req-1 \"q\"", LD_N("n", 1), );
	assert_string_equal(steady(&seen, 0), "ts= level=info event=x cache=c pid=PID request_id=\"req-1 \\\"q\\\"\" n=1");
	log.json = 1;
	LD_LOG(&log, LARDER_LOG_INFO, "x", "req-1", );
	assert_string_equal(steady(&seen, 1), "{\"ts\":\"\",\"level\":\"info\",\"event\":\"x\",\"cache\":\"c\",\"pid\":PID,"
	    "\"request_id\":\"req-1\"}");
}

static void test_levels(void **state)
{
	struct seen seen = { .calls = 0 };
	struct ld_log log = { keep, &seen, "larder", 0, 0 };
	static const char *const names[] = { "level=error ", "level=warn ", "level=info ", "level=debug " };

	(void)state;
	for (int limit = LARDER_LOG_ERROR; limit <= LARDER_LOG_DEBUG; limit++) {
		log.level = limit;
		for (int level = LARDER_LOG_ERROR; level <= LARDER_LOG_DEBUG; level++) {
			seen.calls = 0;
			LD_LOG(&log, level, "x", NULL, );
			assert_int_equal(seen.calls, level <= limit);
			assert_int_equal(ld_log_wants(&log, level), level <= limit);
			assert_true(level > limit || strstr(seen.line, names[level]) != NULL);
		}
	}
}

static void test_without_a_sink_it_goes_nowhere(void **state)
{
	struct ld_log log = { NULL, NULL, "larder", LARDER_LOG_DEBUG, 0 };

	(void)state;
	assert_int_equal(ld_log_wants(&log, LARDER_LOG_ERROR), 0);
	assert_int_equal(ld_log_wants(NULL, LARDER_LOG_ERROR), 0);
	LD_LOG(&log, LARDER_LOG_ERROR, "x", NULL, );
	LD_LOG(NULL, LARDER_LOG_ERROR, "x", NULL, );
}

/*
 * For every length of a field around the limit: it is there whole or not at all, the line is at most 1,024 bytes, and none
 * that would still fit follows one that did not.
 */
static void test_cut_lies_between_fields(void **state)
{
	char big[1100], head[2048];
	struct seen seen = { .calls = 0 };
	struct ld_log log = { keep, &seen, "larder", LARDER_LOG_INFO, 0 };

	(void)state;
	for (int json = 0; json <= 1; json++) {
		size_t head_len, room;

		log.json = json;
		LD_LOG(&log, LARDER_LOG_INFO, "x", NULL, );
		(void)snprintf(head, sizeof(head), "%s", seen.line);
		head_len = seen.len - (json ? 1 : 0);
		/* " big=..." or `,"big":"..."}` */
		room = LINE_MAX_B - head_len - (json ? strlen(",\"big\":\"\"}") : strlen(" big="));
		for (size_t len = room - 40; len <= room + 40; len++) {
			memset(big, 'b', len);
			big[len] = '\0';
			LD_LOG(&log, LARDER_LOG_INFO, "x", NULL, LD_T("big", big), LD_N("n", 7), );
			assert_true(seen.len <= LINE_MAX_B);
			assert_int_equal(strstr(seen.line, big) != NULL, len <= room);
			if (len > room)
				assert_int_equal(seen.len, strlen(head));
			if (len == room)
				assert_int_equal(seen.len, LINE_MAX_B);
			if (len == room - (json ? strlen(",\"n\":7") : strlen(" n=7")))
				assert_int_equal(seen.len, LINE_MAX_B);
			assert_int_equal(strstr(seen.line, json ? "\"n\":7}" : " n=7") != NULL,
			    len + (json ? strlen(",\"n\":7") : strlen(" n=7")) <= room);
			if (json)
				assert_int_equal(seen.line[seen.len - 1], '}');
		}
	}
}

static int64_t parse_ts(const char *ts)
{
	struct tm tm = { .tm_isdst = 0 };
	const char *end = strptime(ts, "%Y-%m-%dT%H:%M:%S", &tm);
	int ms;

	assert_non_null(end);
	assert_int_equal(sscanf(end, ".%3dZ", &ms), 1);
	assert_int_equal(end[4], 'Z');
	return (int64_t)timegm(&tm) * 1000 + ms;
}

static void test_time_is_utc_now(void **state)
{
	struct seen seen = { .calls = 0 };
	struct ld_log log = { keep, &seen, "larder", LARDER_LOG_INFO, 0 };
	int64_t before = ld_clock_wall_ms();

	(void)state;
	LD_LOG(&log, LARDER_LOG_INFO, "x", NULL, );
	assert_in_range(parse_ts(seen.line + strlen("ts=")), before, ld_clock_wall_ms());
}

#ifdef LARDER_FAULTS
/* Noon of days from 1900 to 2200, the ends of months and leap days among them, against the C library's calendar. */
static void test_dates_of_three_centuries(void **state)
{
	struct ld_fault_plan plan = { 0 };
	struct seen seen = { .calls = 0 };
	struct ld_log log = { keep, &seen, "larder", LARDER_LOG_INFO, 0 };

	(void)state;
	ld_fault_use(&plan);
	for (int64_t day = -25567; day < 84000; day += 1) {
		time_t noon = (time_t)(day * 86400 + 43200);
		struct tm tm;
		char want[32];

		plan.wall_shift_ms = 0;
		plan.wall_shift_ms = (int64_t)noon * 1000 - ld_clock_wall_ms();
		LD_LOG(&log, LARDER_LOG_INFO, "x", NULL, );
		assert_non_null(gmtime_r(&noon, &tm));
		assert_int_equal(strftime(want, sizeof(want), "ts=%Y-%m-%dT12:0", &tm), 18);
		assert_memory_equal(seen.line, want, 18);
	}
	ld_fault_use(NULL);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_line),
		cmocka_unit_test(test_json_line),
		cmocka_unit_test(test_request_id_follows_the_pid),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_without_a_sink_it_goes_nowhere),
		cmocka_unit_test(test_cut_lies_between_fields),
		cmocka_unit_test(test_time_is_utc_now),
#ifdef LARDER_FAULTS
		cmocka_unit_test(test_dates_of_three_centuries),
#endif
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
