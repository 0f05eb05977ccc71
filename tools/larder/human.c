/* SPDX-License-Identifier: MIT */
/*
 * Numbers and times for people, and back (human.h). Pure functions.
 */
#include "human.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <larder/larder.h>

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit time_units[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};
#define TIME_UNITS (sizeof time_units / sizeof time_units[0])

static const struct unit size_units[] = {
	{ "", 1 }, { "K", 1024 }, { "M", 1048576 }, { "G", 1073741824 }, { "T", INT64_C(1099511627776) },
};
#define SIZE_UNITS (sizeof size_units / sizeof size_units[0])

const char *human_bytes(char *buffer, uint64_t bytes)
{
	size_t unit = 0;
	double value = (double)bytes;
	while (unit + 1 < SIZE_UNITS && value >= 1023.95)
		value /= 1024, unit++;
	if (unit == 0)
		snprintf(buffer, HUMAN_SIZE, "%" PRIu64 " B", bytes);
	else
		snprintf(buffer, HUMAN_SIZE, "%.1f %siB", value, size_units[unit].name);
	return buffer;
}

const char *human_count(char *buffer, uint64_t count)
{
	char digits[24];
	int len = snprintf(digits, sizeof digits, "%" PRIu64, count);
	char *to = buffer;
	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return buffer;
}

const char *human_duration(char *buffer, int64_t duration_ms)
{
	const char *sign = duration_ms < 0 ? "-" : "";
	uint64_t left = duration_ms < 0 ? -(uint64_t)duration_ms : (uint64_t)duration_ms;
	size_t unit = 0;
	while (unit + 1 < TIME_UNITS && left < (uint64_t)time_units[unit].factor)
		unit++;
	uint64_t factor = (uint64_t)time_units[unit].factor;
	uint64_t rest = unit + 2 < TIME_UNITS ? left % factor / (uint64_t)time_units[unit + 1].factor : 0;
	if (unit == TIME_UNITS - 2 && left < 10000)
		snprintf(buffer, HUMAN_SIZE, "%s%.1fs", sign, (double)left / 1000);
	else if (rest)
		snprintf(buffer, HUMAN_SIZE, "%s%" PRIu64 "%s%" PRIu64 "%s", sign, left / factor, time_units[unit].name, rest,
		         time_units[unit + 1].name);
	else
		snprintf(buffer, HUMAN_SIZE, "%s%" PRIu64 "%s", sign, left / factor, time_units[unit].name);
	return buffer;
}

const char *human_time(char *buffer, int64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm parts;
	if (wall_ms <= 0 || !gmtime_r(&seconds, &parts)) {
		memcpy(buffer, "-", 2);
		return buffer;
	}
	char head[32];
	strftime(head, sizeof head, "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(buffer, HUMAN_SIZE, "%s.%03dZ", head, (int)(wall_ms % 1000));
	return buffer;
}

int human_parse_number(const char *text, uint64_t *ret_number)
{
	int hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *digits = hex ? text + 2 : text;
	size_t len = strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789");
	if (len == 0 || digits[len] || len > (hex ? 16 : 19))
		return -1;
	*ret_number = strtoull(digits, NULL, hex ? 16 : 10);
	return 0;
}

/* "1.5" -> 1.5 and what follows; digits and one point only: no sign, exponent, "inf" or hex, which strtod() would take. */
static int parse_decimal(const char *text, double *ret_value, const char **ret_rest)
{
	size_t whole = strspn(text, "0123456789");
	size_t part = text[whole] == '.' ? strspn(text + whole + 1, "0123456789") : 0;
	size_t len = whole + (part ? part + 1 : 0);
	char number[32];
	if (whole == 0 || len >= sizeof number)
		return -1;
	memcpy(number, text, len);
	number[len] = '\0';
	*ret_value = strtod(number, NULL);
	*ret_rest = text + len;
	return 0;
}

static int is_size_unit(const char *text, const char *unit)
{
	if (!*unit)
		return *text == '\0' || strcmp(text, "B") == 0;
	return (*text == *unit || *text == *unit + ('a' - 'A')) && (text[1] == '\0' || strcmp(text + 1, "iB") == 0);
}

int human_parse_size(const char *text, uint64_t *ret_bytes)
{
	double value;
	const char *rest;
	if (parse_decimal(text, &value, &rest))
		return -1;
	for (size_t i = 0; i < SIZE_UNITS; i++) {
		if (!is_size_unit(rest, size_units[i].name))
			continue;
		value *= (double)size_units[i].factor;
		if (value > 9e18)
			return -1;
		*ret_bytes = (uint64_t)value;
		return 0;
	}
	return -1;
}

int human_parse_time(const char *text, int64_t *ret_ms)
{
	double value;
	const char *rest;
	if (parse_decimal(text, &value, &rest))
		return -1;
	if (!*rest)
		rest = "ms";
	for (size_t i = 0; i < TIME_UNITS; i++) {
		if (strcmp(rest, time_units[i].name) != 0)
			continue;
		value *= (double)time_units[i].factor;
		if (value > (double)LARDER_TTL_MAX_MS)
			return -1;
		*ret_ms = (int64_t)llround(value);
		return 0;
	}
	return -1;
}

/* "2026-01-02T03:04:05Z", with or without seconds and Z; UTC. */
static int parse_calendar(const char *text, int64_t *ret_ms)
{
	static const char *const formats[] = { "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%MZ", "%Y-%m-%d" };
	for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
		struct tm parts;
		memset(&parts, 0, sizeof parts);
		const char *end = strptime(text, formats[i], &parts);
		if (!end || *end)
			continue;
		*ret_ms = (int64_t)timegm(&parts) * 1000;
		return *ret_ms > 0 ? 0 : -1;
	}
	return -1;
}

int human_parse_when(const char *text, int64_t now_ms, int64_t *ret_ms)
{
	int64_t ms;
	uint64_t seconds;
	if (*text == '+') {
		if (human_parse_time(text + 1, &ms))
			return -1;
		*ret_ms = now_ms + ms;
		return 0;
	}
	if (*text == '@') {
		if (human_parse_number(text + 1, &seconds) || seconds == 0 || seconds > UINT64_C(253402300799))
			return -1;
		*ret_ms = (int64_t)seconds * 1000;
		return 0;
	}
	return parse_calendar(text, ret_ms);
}

int64_t human_now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
