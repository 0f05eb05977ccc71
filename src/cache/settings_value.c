/* SPDX-License-Identifier: MIT */
/*
 * One value of a setting: from text, to text, and what its row allows. Called by the reader of the settings, by the spaces file
 * and by `larder config`. It reads digits itself: strtoll() takes blanks, signs and, by locale, more. It must never repeat a
 * value in a complaint, for the value may be a secret.
 */
#include "cache/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *name;
	int64_t factor;
};

/* Largest first, so that showing takes the first that divides; a row without a name ends the search of a value to show. */
static const struct unit sizes[] = {
	{ "T", INT64_C(1) << 40 }, { "G", 1 << 30 }, { "M", 1 << 20 }, { "K", 1 << 10 }, { "", 1 },
	{ "t", INT64_C(1) << 40 }, { "g", 1 << 30 }, { "m", 1 << 20 }, { "k", 1 << 10 }, { NULL, 0 },
};
static const struct unit times[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }, { "", 1 }, { NULL, 0 },
};
static const struct unit percents[] = { { "%", 1 }, { "", 1 }, { NULL, 0 } };
static const struct unit numbers[] = { { "", 1 }, { NULL, 0 } };

/* A rate is kept in so many seconds; see shm/limiter.h. */
#define RATE_UNIT INT64_C(1000000000)
#define DECIMAL_UNIT INT64_C(100)

static const char flag_words[] = "0|1|off|on|no|yes|false|true";

static const struct {
	const char *name;
	const char *shape;          /* how a value looks, for complaints */
	const struct unit *units;   /* NULL: not a number with a unit */
} types[] = {
	[LD_SIZE] = { "size", "a size (digits, then K, M, G, T or nothing)", sizes },
	[LD_TIME] = { "time", "a time (digits, then ms, s, m, h, d or nothing)", times },
	[LD_NUMBER] = { "number", "a whole number (digits only)", numbers },
	[LD_PERCENT] = { "percent", "a percentage (digits, then % or nothing)", percents },
	[LD_RATE] = { "rate", "a rate (digits, up to nine decimals, then /s, /m, /h or nothing)", NULL },
	[LD_DECIMAL] = { "decimal", "a number (digits, up to two decimals)", NULL },
	[LD_FLAG] = { "flag", "a flag", NULL },
	[LD_CHOICE] = { "choice", "a choice", NULL },
	[LD_PATH] = { "path", "a path", NULL },
	[LD_DIRECTORY] = { "path", "an absolute path", NULL },
	[LD_LINE] = { "text", "a text", NULL },
	[LD_TEXT] = { "text", "an id (a-z, 0-9 and '-')", NULL },
	[LD_SECRET_TEXT] = { "text", "a secret", NULL },
};

static int has_fraction(enum ld_setting_type type)
{
	return type == LD_RATE || type == LD_DECIMAL;
}

const char *ld_setting_type_name(enum ld_setting_type type)
{
	return types[type].name;
}

/* 0 has no unit. */
static void show_number(enum ld_setting_type type, int64_t number, char *buffer, size_t size)
{
	const struct unit *unit = types[type].units;

	while (number % unit->factor != 0)
		unit++;
	(void)snprintf(buffer, size, "%" PRId64 "%s", number / unit->factor, number == 0 && type != LD_PERCENT ? "" : unit->name);
}

/* A rate in a second, or hundredths as a number, without zeros at the end. */
static void show_parts(int64_t number, int64_t unit, int places, char *buffer, size_t size)
{
	char decimals[16];
	size_t len = (size_t)snprintf(decimals, sizeof(decimals), ".%0*" PRId64, places, number % unit);

	while (len > 0 && (decimals[len - 1] == '0' || decimals[len - 1] == '.'))
		decimals[--len] = '\0';
	(void)snprintf(buffer, size, "%" PRId64 "%s", number / unit, decimals);
}

static void show_fraction(enum ld_setting_type type, int64_t number, char *buffer, size_t size)
{
	show_parts(number, type == LD_RATE ? RATE_UNIT : DECIMAL_UNIT, type == LD_RATE ? 9 : 2, buffer, size);
}

/* The index of a word among those separated by '|', or -1. */
static int word_index(const char *words, const char *value)
{
	size_t len = strlen(value);

	for (int index = 0; ; index++) {
		size_t word = strcspn(words, "|");

		if (word == len && memcmp(words, value, len) == 0)
			return index;
		if (words[word] == '\0')
			return -1;
		words += word + 1;
	}
}

static void show_word(const char *words, int64_t index, char *buffer, size_t size)
{
	for (; index > 0; index--)
		words += strcspn(words, "|") + 1;
	(void)snprintf(buffer, size, "%.*s", (int)strcspn(words, "|"), words);
}

const char *ld_setting_bounds(const struct ld_setting_row *row, char *buffer, size_t size)
{
	char low[32], high[32];

	if (row->type == LD_FLAG || row->type == LD_CHOICE) {
		(void)snprintf(buffer, size, "%s", row->type == LD_FLAG ? flag_words : row->choices);
	} else if (types[row->type].units != NULL) {
		show_number(row->type, row->low, low, sizeof(low));
		show_number(row->type, row->high, high, sizeof(high));
		(void)snprintf(buffer, size, "%s..%s", low, high);
	} else if (has_fraction(row->type)) {
		show_fraction(row->type, row->low, low, sizeof(low));
		show_fraction(row->type, row->high, high, sizeof(high));
		(void)snprintf(buffer, size, "%s%s..%s", row->type == LD_RATE ? "0, " : "", low, high);
	} else {
		(void)snprintf(buffer, size, "%" PRId64 "..%" PRId64 " bytes", row->low, row->high);
	}
	return buffer;
}

/* Digits to a number that stops at INT64_MAX, which is above every bound. Returns where the digits end. */
static const char *read_digits(const char *text, int64_t *ret_number)
{
	int64_t number = 0;

	for (; *text >= '0' && *text <= '9'; text++) {
		if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, *text - '0', &number))
			number = INT64_MAX;
	}
	*ret_number = number;
	return text;
}

static const struct unit *find_unit(const struct unit *unit, const char *name)
{
	for (; unit->name != NULL; unit++) {
		if (strcmp(unit->name, name) == 0)
			return unit;
	}
	return NULL;
}

/* Why a text is no number of the row's type, or NULL with the number. A negative number is one: it is merely out of range. */
static const char *read_number(const struct ld_setting_row *row, const char *value, int64_t *ret_number)
{
	const char *start = value + (*value == '-'), *rest = read_digits(start, ret_number);
	const struct unit *unit;

	if (rest != start && (*rest == '.' || *rest == ',') && rest[1] >= '0' && rest[1] <= '9')
		return "a fraction, which is not taken: write it in a smaller unit";
	unit = rest != start ? find_unit(types[row->type].units, rest) : NULL;
	if (unit == NULL)
		return "not ";
	if (__builtin_mul_overflow(*ret_number, unit->factor, ret_number))
		*ret_number = INT64_MAX;
	if (*value == '-' || *ret_number < row->low || *ret_number > row->high)
		return "out of range";
	return NULL;
}

/* Up to two decimals, as hundredths. As read_number(). */
static const char *read_decimal(const struct ld_setting_row *row, const char *value, int64_t *ret_number)
{
	const char *start = value + (*value == '-'), *rest = read_digits(start, ret_number), *point = rest;
	int64_t decimals = 0;

	if (rest == start)
		return "not ";
	if (*point == '.') {
		rest = read_digits(point + 1, &decimals);
		if (rest == point + 1 || rest > point + 3)
			return "not ";
		decimals *= rest == point + 2 ? 10 : 1;
	}
	if (*rest != '\0')
		return "not ";
	if (__builtin_mul_overflow(*ret_number, DECIMAL_UNIT, ret_number) || __builtin_add_overflow(*ret_number, decimals, ret_number))
		*ret_number = INT64_MAX;
	return *value == '-' || *ret_number < row->low || *ret_number > row->high ? "out of range" : NULL;
}

/* How many seconds the unit of a rate has; 0 = there is no such unit. */
static int64_t rate_seconds(const char *unit)
{
	if (*unit == '\0' || strcmp(unit, "/s") == 0)
		return 1;
	return strcmp(unit, "/m") == 0 ? 60 : strcmp(unit, "/h") == 0 ? 3600 : 0;
}

/* As read_number(). */
static const char *read_rate(const struct ld_setting_row *row, const char *value, int64_t *ret_rate)
{
	const char *start = value + (*value == '-'), *rest = read_digits(start, ret_rate), *point = rest;
	int64_t decimals = 0, seconds;

	if (rest == start)
		return "not ";
	/* Far above every bound, and with room for decimals. */
	if (*ret_rate >= INT64_MAX / RATE_UNIT)
		*ret_rate = INT64_MAX / RATE_UNIT - 1;
	*ret_rate *= RATE_UNIT;
	if (*point == '.') {
		rest = read_digits(point + 1, &decimals);
		if (rest == point + 1 || rest > point + 10)
			return "not ";
		for (const char *digit = rest; digit < point + 10; digit++)
			decimals *= 10;
	}
	seconds = rate_seconds(rest);
	if (seconds == 0)
		return "not ";
	*ret_rate = (*ret_rate + decimals) / seconds;
	/* What is rounded down to nothing is no limit that anyone meant. */
	if (*ret_rate == 0 && value[strspn(value, "0.")] != '\0' && value[strspn(value, "0.")] != '/')
		return "out of range";
	return *value == '-' || (*ret_rate != 0 && (*ret_rate < row->low || *ret_rate > row->high)) ? "out of range" : NULL;
}

static int judge_number(const struct ld_setting_row *row, const char *value, int64_t *ret_number, char *complaint, size_t size)
{
	char bounds[64];
	int64_t number;
	const char *why = row->type == LD_RATE ? read_rate(row, value, &number) :
	    row->type == LD_DECIMAL ? read_decimal(row, value, &number) : read_number(row, value, &number);

	if (why == NULL) {
		*ret_number = number;
		return 0;
	}
	(void)snprintf(complaint, size, "%s%s, allowed %s", why, strcmp(why, "not ") == 0 ? types[row->type].shape : "",
	    ld_setting_bounds(row, bounds, sizeof(bounds)));
	return -1;
}

static int judge_word(const struct ld_setting_row *row, const char *value, int64_t *ret_number, char *complaint, size_t size)
{
	const char *words = row->type == LD_FLAG ? flag_words : row->choices;
	int index = word_index(words, value);

	if (index < 0) {
		(void)snprintf(complaint, size, "not %s, allowed %s", types[row->type].shape, words);
		return -1;
	}
	*ret_number = row->type == LD_FLAG ? index & 1 : index;
	return 0;
}

static int has_control(const char *value)
{
	for (; *value != '\0'; value++) {
		if ((unsigned char)*value < 0x20 || *value == 0x7f)
			return 1;
	}
	return 0;
}

static int is_shaped(enum ld_setting_type type, const char *value)
{
	if (type == LD_TEXT)
		return ld_text_is_id(value, strlen(value));
	if (type == LD_DIRECTORY && value[0] != '/')
		return 0;
	return type == LD_SECRET_TEXT || !has_control(value);
}

static int judge_text(const struct ld_setting_row *row, const char *value, int64_t *ret_number, char *complaint, size_t size)
{
	size_t len = strlen(value);
	char bounds[64];

	ld_setting_bounds(row, bounds, sizeof(bounds));
	if (len < (uint64_t)row->low || len > (uint64_t)row->high) {
		(void)snprintf(complaint, size, "too %s, allowed %s", len < (uint64_t)row->low ? "short" : "long", bounds);
		return -1;
	}
	if (!is_shaped(row->type, value)) {
		(void)snprintf(complaint, size, "not %s%s, allowed %s", types[row->type].shape,
		    row->type == LD_TEXT ? "" : " without control characters", bounds);
		return -1;
	}
	*ret_number = 0;
	return 0;
}

int ld_setting_judge(const struct ld_setting_row *row, const char *value, int64_t *ret_number, char *complaint, size_t size)
{
	if (types[row->type].units != NULL || has_fraction(row->type))
		return judge_number(row, value, ret_number, complaint, size);
	if (row->type == LD_FLAG || row->type == LD_CHOICE)
		return judge_word(row, value, ret_number, complaint, size);
	return judge_text(row, value, ret_number, complaint, size);
}

const char *ld_setting_quote(const char *value, char buffer[LD_QUOTE_SIZE])
{
	struct ld_text text;

	ld_text_init(&text, buffer, LD_QUOTE_SIZE);
	for (; *value != '\0'; value++) {
		if (text.len > 70) {
			ld_text_add(&text, "...");
			break;
		}
		ld_text_addf(&text, *value >= 0x20 && *value < 0x7f ? "%c" : "\\x%02x", (unsigned char)*value);
	}
	return buffer;
}

int ld_setting_parse(enum ld_setting_type type, const char *what, const char *value, int64_t low, int64_t high,
    const char *choices, int64_t *ret_number, struct ld_problems *problems)
{
	const struct ld_setting_row row = { what, type, low, high, "", choices, "" };
	char complaint[160], quoted[LD_QUOTE_SIZE];

	if (ld_setting_judge(&row, value, ret_number, complaint, sizeof(complaint)) == 0)
		return 0;
	if (type == LD_SECRET_TEXT)
		ld_problem(problems, "%s: %s", what, complaint);
	else
		ld_problem(problems, "%s=%s: %s", what, ld_setting_quote(value, quoted), complaint);
	return -1;
}

const char *ld_setting_show(const struct ld_settings *settings, enum ld_setting_id id, char *buffer, size_t size)
{
	const struct ld_setting_row *row = &ld_setting_rows[id];
	const char *text = settings->text[id];

	if (types[row->type].units != NULL)
		show_number(row->type, settings->number[id], buffer, size);
	else if (has_fraction(row->type))
		show_fraction(row->type, settings->number[id], buffer, size);
	else if (row->type == LD_FLAG)
		(void)snprintf(buffer, size, "%s", settings->number[id] ? "on" : "off");
	else if (row->type == LD_CHOICE)
		show_word(row->choices, settings->number[id], buffer, size);
	else if (row->type == LD_SECRET_TEXT)
		(void)snprintf(buffer, size, "%s", settings->origin[id] != LD_FROM_DEFAULT ? "(set)" : "");
	else if (text == NULL && settings->origin[id] == LD_FROM_CREDENTIALS)
		(void)snprintf(buffer, size, "%s/larder-secret", settings->credentials_dir);
	else
		(void)snprintf(buffer, size, "%s", text != NULL ? text : "");
	return buffer;
}
