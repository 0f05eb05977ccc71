/* SPDX-License-Identifier: MIT */
/*
 * Dates of HTTP (RFC 9110, 5.6.7) as milliseconds. Called for Last-Modified and Retry-After. Not strptime(3), which knows the locale
 * and not the zone, nor timegm(3): a date from outside is either exactly of one of the three forms, or none.
 *
 *     Sun, 06 Nov 1994 08:49:37 GMT      IMF-fixdate, the only one that may be sent today
 *     Sunday, 06-Nov-94 08:49:37 GMT     RFC 850
 *     Sun Nov  6 08:49:37 1994           asctime()
 */
#include "l2/http_text.h"

#include <string.h>

#define DAY_MS INT64_C(86400000)
/* Of the Gregorian calendar, on average: enough to tell a year with two digits. */
#define YEAR_MS INT64_C(31556952000)
/* The end of the year 9999. */
#define LAST_MS INT64_C(253402300799999)

/* What is left of the text; once something was not as expected, bad. */
struct cursor {
	const char *at;
	const char *end;
	int bad;
};

struct date {
	int year, month, day;      /* month 0..11, day 1..31 */
	int hour, minute, second;
};

static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
static const char long_days[7][10] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" };

static int is_next(const struct cursor *cursor, const char *word)
{
	size_t len = strlen(word);

	return (size_t)(cursor->end - cursor->at) >= len && memcmp(cursor->at, word, len) == 0;
}

static void literal(struct cursor *cursor, const char *word)
{
	if (!cursor->bad && is_next(cursor, word))
		cursor->at += strlen(word);
	else
		cursor->bad = 1;
}

/* Exactly so many digits. */
static int digits(struct cursor *cursor, int count)
{
	int number = 0;

	for (int i = 0; i < count && !cursor->bad; i++) {
		if (cursor->at == cursor->end || *cursor->at < '0' || *cursor->at > '9')
			cursor->bad = 1;
		else
			number = number * 10 + (*cursor->at++ - '0');
	}
	return number;
}

/* One of the words, its index. */
static int word_of(struct cursor *cursor, const char *words, size_t width, int count)
{
	for (int i = 0; i < count && !cursor->bad; i++) {
		const char *word = words + (size_t)i * width;

		if (is_next(cursor, word)) {
			cursor->at += strlen(word);
			return i;
		}
	}
	cursor->bad = 1;
	return 0;
}

static void time_of_day(struct cursor *cursor, struct date *date)
{
	date->hour = digits(cursor, 2);
	literal(cursor, ":");
	date->minute = digits(cursor, 2);
	literal(cursor, ":");
	date->second = digits(cursor, 2);
}

static void imf(struct cursor *cursor, struct date *date)
{
	(void)word_of(cursor, days[0], sizeof(days[0]), 7);
	literal(cursor, ", ");
	date->day = digits(cursor, 2);
	literal(cursor, " ");
	date->month = word_of(cursor, months[0], sizeof(months[0]), 12);
	literal(cursor, " ");
	date->year = digits(cursor, 4);
	literal(cursor, " ");
	time_of_day(cursor, date);
	literal(cursor, " GMT");
}

/* A year that would be more than 50 years ahead is the last one with these digits. */
static int century(int two, int64_t now_ms)
{
	int now = 1970 + (int)((now_ms < 0 ? 0 : now_ms > LAST_MS ? LAST_MS : now_ms) / YEAR_MS);
	int year = now - now % 100 + two;

	if (year > now + 50)
		return year - 100;
	/* At the end of a century, "05" is in the next one. */
	return year + 100 <= now + 50 ? year + 100 : year;
}

static void rfc850(struct cursor *cursor, int64_t now_ms, struct date *date)
{
	(void)word_of(cursor, long_days[0], sizeof(long_days[0]), 7);
	literal(cursor, ", ");
	date->day = digits(cursor, 2);
	literal(cursor, "-");
	date->month = word_of(cursor, months[0], sizeof(months[0]), 12);
	literal(cursor, "-");
	date->year = century(digits(cursor, 2), now_ms);
	literal(cursor, " ");
	time_of_day(cursor, date);
	literal(cursor, " GMT");
}

static void asctime_form(struct cursor *cursor, struct date *date)
{
	(void)word_of(cursor, days[0], sizeof(days[0]), 7);
	literal(cursor, " ");
	date->month = word_of(cursor, months[0], sizeof(months[0]), 12);
	literal(cursor, " ");
	if (is_next(cursor, " ")) {
		literal(cursor, " ");
		date->day = digits(cursor, 1);
	} else {
		date->day = digits(cursor, 2);
	}
	literal(cursor, " ");
	time_of_day(cursor, date);
	literal(cursor, " ");
	date->year = digits(cursor, 4);
}

static int is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Second 60 is a leap second. */
static int is_possible(const struct date *date)
{
	static const int lengths[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int length = lengths[date->month] + (date->month == 1 && is_leap(date->year));

	return date->year >= 1970 && date->day >= 1 && date->day <= length && date->hour < 24 && date->minute < 60 && date->second <= 60;
}

static int64_t date_ms(const struct date *date)
{
	static const int before[12] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
	int64_t past = date->year - 1;
	int64_t day = past * 365 + past / 4 - past / 100 + past / 400 - 719162;

	day += before[date->month] + (date->month > 1 && is_leap(date->year)) + date->day - 1;
	return day * DAY_MS + ((date->hour * 60 + date->minute) * 60 + date->second) * INT64_C(1000);
}

/* By the fourth byte: a comma after the short name of a day, a blank after that of asctime(), a letter of a long name. */
static void any_form(struct cursor *cursor, int64_t now_ms, struct date *date)
{
	if (cursor->end - cursor->at < 4)
		cursor->bad = 1;
	else if (cursor->at[3] == ',')
		imf(cursor, date);
	else if (cursor->at[3] == ' ')
		asctime_form(cursor, date);
	else
		rfc850(cursor, now_ms, date);
}

static int is_blank(char c)
{
	return c == ' ' || c == '\t';
}

int ld_http_date(const char *text, size_t len, int64_t now_ms, int64_t *ret_ms)
{
	struct cursor cursor = { text, text + len, 0 };
	struct date date = { 0 };

	while (cursor.at < cursor.end && is_blank(*cursor.at))
		cursor.at++;
	while (cursor.at < cursor.end && is_blank(cursor.end[-1]))
		cursor.end--;
	any_form(&cursor, now_ms, &date);
	if (cursor.bad || cursor.at != cursor.end || !is_possible(&date))
		return -1;
	*ret_ms = date_ms(&date);
	return 0;
}
