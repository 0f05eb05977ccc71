/* SPDX-License-Identifier: MIT */
/*
 * Makes one line of an event and hands it to the caller's sink. Called wherever an error is swallowed or the state of a cache
 * changes. It must never allocate, print, or take a lock: a sink may be called in a child that was forked while another thread
 * was logging. That is also why the date is computed here: gmtime_r() takes the C library's time-zone lock.
 */
#include "base/log.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

#define LINE_MAX_B 1024
#define DAY_MS INT64_C(86400000)

struct line {
	struct ld_text text;
	int json;
	int fields;
};

int ld_log_wants(const struct ld_log *log, enum larder_log_level level)
{
	return log != NULL && log->fn != NULL && (int)level <= log->level;
}

static const char *level_name(enum larder_log_level level)
{
	switch (level) {
	case LARDER_LOG_ERROR: return "error";
	case LARDER_LOG_WARN: return "warn";
	case LARDER_LOG_INFO: return "info";
	case LARDER_LOG_DEBUG: return "debug";
	}
	return "debug";
}

static int is_plain(const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:-";

	return text[0] != '\0' && text[strspn(text, plain)] == '\0';
}

/* A field that does not fit is taken back, and no later one follows: the line is cut between fields. */
static int add_field(struct line *line, const struct ld_field *field)
{
	struct ld_text *text = &line->text;
	size_t before = text->len;

	if (line->json)
		ld_text_addf(text, "%s\"%s\":", line->fields > 0 ? "," : "{", field->name);
	else
		ld_text_addf(text, "%s%s=", line->fields > 0 ? " " : "", field->name);
	if (field->text == NULL)
		ld_text_addf(text, "%" PRId64, field->number);
	else if (!line->json && is_plain(field->text))
		ld_text_add(text, field->text);
	else
		ld_text_add_json(text, field->text, strlen(field->text));
	if (text->truncated) {
		text->len = before;
		text->data[before] = '\0';
		return -1;
	}
	line->fields++;
	return 0;
}

static int add_fields(struct line *line, const struct ld_field *fields)
{
	for (; fields->name != NULL; fields++) {
		if (add_field(line, fields) != 0)
			return -1;
	}
	return 0;
}

/* Year, month and day of a day number since 1970-01-01, proleptic Gregorian (H. Hinnant, "chrono-compatible low-level date"). */
static void civil(int64_t days, int64_t *ret_year, int64_t *ret_month, int64_t *ret_day)
{
	int64_t shifted = days + 719468;
	int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	int64_t of_era = shifted - era * 146097;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * of_year + 2) / 153;

	*ret_day = of_year - (153 * month + 2) / 5 + 1;
	*ret_month = month < 10 ? month + 3 : month - 9;
	*ret_year = year + era * 400 + (*ret_month <= 2 ? 1 : 0);
}

static void stamp(int64_t wall_ms, char *ret_text, size_t size)
{
	int64_t days = wall_ms / DAY_MS - (wall_ms % DAY_MS < 0 ? 1 : 0);
	int64_t ms = wall_ms - days * DAY_MS;
	int64_t year, month, day;
	struct ld_text text;

	civil(days, &year, &month, &day);
	ld_text_init(&text, ret_text, size);
	ld_text_addf(&text, "%04" PRId64 "-%02" PRId64 "-%02" PRId64 "T", year, month, day);
	ld_text_addf(&text, "%02" PRId64 ":%02" PRId64 ":%02" PRId64 ".%03" PRId64 "Z", ms / 3600000, ms / 60000 % 60,
	    ms / 1000 % 60, ms % 1000);
}

void ld_log_emit(const struct ld_log *log, enum larder_log_level level, const char *event, const char *request_id,
    const struct ld_field *fields)
{
	char data[LINE_MAX_B + 1], ts[48];
	struct line line = { .fields = 0 };

	if (!ld_log_wants(log, level))
		return;
	stamp(ld_clock_wall_ms(), ts, sizeof(ts));
	line.json = log->json;
	/* The closing brace has its place kept free. */
	ld_text_init(&line.text, data, sizeof(data) - (log->json ? 1 : 0));

	const struct ld_field first[] = { LD_T("ts", ts), LD_T("level", level_name(level)), LD_T("event", event),
		LD_T("cache", log->cache == NULL ? "" : log->cache), LD_N("pid", getpid()),
		/* A row without a name ends the list, so a missing request id needs no case of its own. */
		LD_T(request_id == NULL ? NULL : "request_id", request_id), { NULL, NULL, 0 } };

	if (add_fields(&line, first) == 0)
		(void)add_fields(&line, fields);
	if (log->json)
		memcpy(data + line.text.len, "}", 2);
	log->fn(log->ctx, level, data);
}
