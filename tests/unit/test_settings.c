/* SPDX-License-Identifier: MIT */
/*
 * Settings: every value that is taken or refused, where each comes from, and that all problems are told at once and no secret
 * ever is. The tests run with an environment of their own, which each begins empty.
 */
#include "cache/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fault.h"

#define SECRET "0123456789abcdef-this-is-secret-0123456789"
#define SIZE_T INT64_C(1099511627776)
#define TEN_YEARS INT64_C(315360000000)

static char **real_environment;

/* Environment */

static int begin(void **state)
{
	(void)state;
	real_environment = environ;
	return clearenv();
}

static int end(void **state)
{
	(void)state;
	clearenv();
	environ = real_environment;
	return 0;
}

static void set(const char *name, const char *value)
{
	assert_int_equal(setenv(name, value, 1), 0);
}

static struct larder_options options_of(const char *const *settings, uint32_t flags)
{
	struct larder_options options = LARDER_OPTIONS_INIT;

	options.settings = settings;
	options.flags = flags;
	return options;
}

struct outcome {
	struct ld_settings settings;
	struct ld_problems problems;
	int result;
};

static void read_with(struct outcome *outcome, const struct larder_options *options)
{
	memset(outcome, 0, sizeof(*outcome));
	outcome->result = ld_settings_read(options, &outcome->settings, &outcome->problems, NULL, NULL);
}

static void drop(struct outcome *outcome)
{
	ld_settings_free(&outcome->settings);
	ld_problems_free(&outcome->problems);
}

/* Read from the environment alone, expect problems; their text is in outcome. */
static void expect_text(const struct larder_options *options, int result, unsigned count, const char *text)
{
	struct outcome outcome;

	read_with(&outcome, options);
	assert_int_equal(outcome.result, result);
	assert_int_equal(outcome.problems.count, count);
	if (text != NULL)
		assert_string_equal(outcome.problems.text, text);
	else
		assert_null(outcome.problems.text);
	drop(&outcome);
}

/* Single values */

struct value_case {
	enum ld_setting_type type;
	const char *value;
	int64_t low, high;
	int64_t number;         /* when it is taken */
	const char *problem;    /* NULL: it is taken */
};

#define NOT_SIZE(v) "X=" v ": not a size (digits, then K, M, G, T or nothing), allowed 1..1T"
#define NOT_TIME(v) "X=" v ": not a time (digits, then ms, s, m, h, d or nothing), allowed 0..3650d"
#define NOT_NUMBER(v) "X=" v ": not a whole number (digits only), allowed 0..100"
#define NOT_PERCENT(v) "X=" v ": not a percentage (digits, then % or nothing), allowed 1%..99%"
#define NOT_DECIMAL(v) "X=" v ": not a number (digits, up to two decimals), allowed 0..10"
#define NOT_FLAG(v) "X=" v ": not a flag, allowed 0|1|off|on|no|yes|false|true"

#define RATE_LOW 1000
#define RATE_HIGH INT64_C(1000000000000000)
#define NOT_RATE(v) "X=" v ": not a rate (digits, up to nine decimals, then /s, /m, /h or nothing), allowed 0, 0.000001..1000000"
#define RATE_OUT(v) "X=" v ": out of range, allowed 0, 0.000001..1000000"

static const struct value_case value_cases[] = {
	{ LD_SIZE, "1", 1, SIZE_T, 1, NULL },
	{ LD_SIZE, "007", 1, SIZE_T, 7, NULL },
	{ LD_SIZE, "1K", 1, SIZE_T, 1024, NULL },
	{ LD_SIZE, "3k", 1, SIZE_T, 3072, NULL },
	{ LD_SIZE, "5M", 1, SIZE_T, 5242880, NULL },
	{ LD_SIZE, "5m", 1, SIZE_T, 5242880, NULL },
	{ LD_SIZE, "2G", 1, SIZE_T, INT64_C(2147483648), NULL },
	{ LD_SIZE, "2g", 1, SIZE_T, INT64_C(2147483648), NULL },
	{ LD_SIZE, "1T", 1, SIZE_T, SIZE_T, NULL },
	{ LD_SIZE, "1t", 1, SIZE_T, SIZE_T, NULL },
	{ LD_SIZE, "0K", 0, SIZE_T, 0, NULL },
	{ LD_SIZE, "0", 1, SIZE_T, 0, "X=0: out of range, allowed 1..1T" },
	{ LD_SIZE, "-1", 1, SIZE_T, 0, "X=-1: out of range, allowed 1..1T" },
	{ LD_SIZE, "-5M", 1, SIZE_T, 0, "X=-5M: out of range, allowed 1..1T" },
	{ LD_SIZE, "-0", 0, SIZE_T, 0, "X=-0: out of range, allowed 0..1T" },
	{ LD_SIZE, "1025G", 1, SIZE_T, 0, "X=1025G: out of range, allowed 1..1T" },
	{ LD_SIZE, "9223372036854775807", 1, SIZE_T, 0, "X=9223372036854775807: out of range, allowed 1..1T" },
	{ LD_SIZE, "9223372036854775808", 1, SIZE_T, 0, "X=9223372036854775808: out of range, allowed 1..1T" },
	{ LD_SIZE, "18446744073709551617", 1, SIZE_T, 0, "X=18446744073709551617: out of range, allowed 1..1T" },
	{ LD_SIZE, "16777216T", 1, SIZE_T, 0, "X=16777216T: out of range, allowed 1..1T" },
	{ LD_SIZE, "18014398509481984K", 1, SIZE_T, 0, "X=18014398509481984K: out of range, allowed 1..1T" },
	{ LD_SIZE, "1.5G", 1, SIZE_T, 0, "X=1.5G: a fraction, which is not taken: write it in a smaller unit, allowed 1..1T" },
	{ LD_SIZE, "1,5G", 1, SIZE_T, 0, "X=1,5G: a fraction, which is not taken: write it in a smaller unit, allowed 1..1T" },
	{ LD_SIZE, "1.", 1, SIZE_T, 0, NOT_SIZE("1.") },
	{ LD_SIZE, ".5G", 1, SIZE_T, 0, NOT_SIZE(".5G") },
	{ LD_SIZE, "", 1, SIZE_T, 0, NOT_SIZE("") },
	{ LD_SIZE, "M", 1, SIZE_T, 0, NOT_SIZE("M") },
	{ LD_SIZE, "-", 1, SIZE_T, 0, NOT_SIZE("-") },
	{ LD_SIZE, "--1", 1, SIZE_T, 0, NOT_SIZE("--1") },
	{ LD_SIZE, "+1", 1, SIZE_T, 0, NOT_SIZE("+1") },
	{ LD_SIZE, " 1", 1, SIZE_T, 0, NOT_SIZE(" 1") },
	{ LD_SIZE, "\t1", 1, SIZE_T, 0, NOT_SIZE("\\x091") },
	{ LD_SIZE, "1 ", 1, SIZE_T, 0, NOT_SIZE("1 ") },
	{ LD_SIZE, "12 M", 1, SIZE_T, 0, NOT_SIZE("12 M") },
	{ LD_SIZE, "12MB", 1, SIZE_T, 0, NOT_SIZE("12MB") },
	{ LD_SIZE, "12MM", 1, SIZE_T, 0, NOT_SIZE("12MM") },
	{ LD_SIZE, "12s", 1, SIZE_T, 0, NOT_SIZE("12s") },
	{ LD_SIZE, "1e3", 1, SIZE_T, 0, NOT_SIZE("1e3") },
	{ LD_SIZE, "0x10", 1, SIZE_T, 0, NOT_SIZE("0x10") },
	{ LD_SIZE, "\xd9\xa3", 1, SIZE_T, 0, NOT_SIZE("\\xd9\\xa3") },
	{ LD_SIZE, "1\n2", 1, SIZE_T, 0, NOT_SIZE("1\\x0a2") },
	{ LD_SIZE, "inf", 1, SIZE_T, 0, NOT_SIZE("inf") },
	{ LD_TIME, "0", 0, TEN_YEARS, 0, NULL },
	{ LD_TIME, "0h", 0, TEN_YEARS, 0, NULL },
	{ LD_TIME, "20", 0, TEN_YEARS, 20, NULL },
	{ LD_TIME, "20ms", 0, TEN_YEARS, 20, NULL },
	{ LD_TIME, "5s", 0, TEN_YEARS, 5000, NULL },
	{ LD_TIME, "5m", 0, TEN_YEARS, 300000, NULL },
	{ LD_TIME, "2h", 0, TEN_YEARS, 7200000, NULL },
	{ LD_TIME, "3650d", 0, TEN_YEARS, TEN_YEARS, NULL },
	{ LD_TIME, "3651d", 0, TEN_YEARS, 0, "X=3651d: out of range, allowed 0..3650d" },
	{ LD_TIME, "-1s", 0, TEN_YEARS, 0, "X=-1s: out of range, allowed 0..3650d" },
	{ LD_TIME, "106751991168d", 0, TEN_YEARS, 0, "X=106751991168d: out of range, allowed 0..3650d" },
	{ LD_TIME, "1.5s", 0, TEN_YEARS, 0,
	  "X=1.5s: a fraction, which is not taken: write it in a smaller unit, allowed 0..3650d" },
	{ LD_TIME, "1M", 0, TEN_YEARS, 0, NOT_TIME("1M") },
	{ LD_TIME, "1S", 0, TEN_YEARS, 0, NOT_TIME("1S") },
	{ LD_TIME, "1us", 0, TEN_YEARS, 0, NOT_TIME("1us") },
	{ LD_TIME, "1m30s", 0, TEN_YEARS, 0, NOT_TIME("1m30s") },
	{ LD_TIME, "ms", 0, TEN_YEARS, 0, NOT_TIME("ms") },
	{ LD_NUMBER, "0", 0, 100, 0, NULL },
	{ LD_NUMBER, "100", 0, 100, 100, NULL },
	{ LD_NUMBER, "101", 0, 100, 0, "X=101: out of range, allowed 0..100" },
	{ LD_NUMBER, "-1", 0, 100, 0, "X=-1: out of range, allowed 0..100" },
	{ LD_NUMBER, "1K", 0, 100, 0, NOT_NUMBER("1K") },
	{ LD_NUMBER, "10%", 0, 100, 0, NOT_NUMBER("10%") },
	{ LD_DECIMAL, "0", 0, 1000, 0, NULL },
	{ LD_DECIMAL, "1", 0, 1000, 100, NULL },
	{ LD_DECIMAL, "1.5", 0, 1000, 150, NULL },
	{ LD_DECIMAL, "0.07", 0, 1000, 7, NULL },
	{ LD_DECIMAL, "10.00", 0, 1000, 1000, NULL },
	{ LD_DECIMAL, "10.01", 0, 1000, 0, "X=10.01: out of range, allowed 0..10" },
	{ LD_DECIMAL, "-1", 0, 1000, 0, "X=-1: out of range, allowed 0..10" },
	{ LD_DECIMAL, "-0.01", 0, 1000, 0, "X=-0.01: out of range, allowed 0..10" },
	{ LD_DECIMAL, "92233720368547759", 0, 1000, 0, "X=92233720368547759: out of range, allowed 0..10" },
	{ LD_DECIMAL, "99999999999999999999", 5, 1050, 0, "X=99999999999999999999: out of range, allowed 0.05..10.5" },
	{ LD_DECIMAL, "1.", 0, 1000, 0, NOT_DECIMAL("1.") },
	{ LD_DECIMAL, ".5", 0, 1000, 0, NOT_DECIMAL(".5") },
	{ LD_DECIMAL, "1.125", 0, 1000, 0, NOT_DECIMAL("1.125") },
	{ LD_DECIMAL, "1,5", 0, 1000, 0, NOT_DECIMAL("1,5") },
	{ LD_DECIMAL, "1/s", 0, 1000, 0, NOT_DECIMAL("1/s") },
	{ LD_DECIMAL, "1e1", 0, 1000, 0, NOT_DECIMAL("1e1") },
	{ LD_PERCENT, "1", 1, 99, 1, NULL },
	{ LD_PERCENT, "99%", 1, 99, 99, NULL },
	{ LD_PERCENT, "0%", 1, 99, 0, "X=0%: out of range, allowed 1%..99%" },
	{ LD_PERCENT, "100", 1, 99, 0, "X=100: out of range, allowed 1%..99%" },
	{ LD_PERCENT, "5%%", 1, 99, 0, NOT_PERCENT("5%%") },
	{ LD_PERCENT, "%", 1, 99, 0, NOT_PERCENT("%") },
	{ LD_PERCENT, "5 %", 1, 99, 0, NOT_PERCENT("5 %") },
	{ LD_RATE, "0", RATE_LOW, RATE_HIGH, 0, NULL },
	{ LD_RATE, "0.000", RATE_LOW, RATE_HIGH, 0, NULL },
	{ LD_RATE, "0/m", RATE_LOW, RATE_HIGH, 0, NULL },
	{ LD_RATE, "1", RATE_LOW, RATE_HIGH, 1000000000, NULL },
	{ LD_RATE, "100/s", RATE_LOW, RATE_HIGH, INT64_C(100000000000), NULL },
	{ LD_RATE, "0.5", RATE_LOW, RATE_HIGH, 500000000, NULL },
	{ LD_RATE, "007.250", RATE_LOW, RATE_HIGH, INT64_C(7250000000), NULL },
	{ LD_RATE, "30/m", RATE_LOW, RATE_HIGH, 500000000, NULL },
	{ LD_RATE, "1/m", RATE_LOW, RATE_HIGH, 16666666, NULL },
	{ LD_RATE, "1/h", RATE_LOW, RATE_HIGH, 277777, NULL },
	{ LD_RATE, "0.000001", RATE_LOW, RATE_HIGH, 1000, NULL },
	{ LD_RATE, "0.123456789", RATE_LOW, RATE_HIGH, 123456789, NULL },
	{ LD_RATE, "1000000", RATE_LOW, RATE_HIGH, RATE_HIGH, NULL },
	{ LD_RATE, "60000000/m", RATE_LOW, RATE_HIGH, RATE_HIGH, NULL },
	{ LD_RATE, "1000000.000000001", RATE_LOW, RATE_HIGH, 0, RATE_OUT("1000000.000000001") },
	{ LD_RATE, "0.000000999", RATE_LOW, RATE_HIGH, 0, RATE_OUT("0.000000999") },
	{ LD_RATE, "0.000000001/h", RATE_LOW, RATE_HIGH, 0, RATE_OUT("0.000000001/h") },
	{ LD_RATE, "9223372036854775808", RATE_LOW, RATE_HIGH, 0, RATE_OUT("9223372036854775808") },
	{ LD_RATE, "9223372036.999999999", RATE_LOW, RATE_HIGH, 0, RATE_OUT("9223372036.999999999") },
	{ LD_RATE, "-1", RATE_LOW, RATE_HIGH, 0, RATE_OUT("-1") },
	{ LD_RATE, "-0", RATE_LOW, RATE_HIGH, 0, RATE_OUT("-0") },
	{ LD_RATE, "0.1234567890", RATE_LOW, RATE_HIGH, 0, NOT_RATE("0.1234567890") },
	{ LD_RATE, "1.", RATE_LOW, RATE_HIGH, 0, NOT_RATE("1.") },
	{ LD_RATE, ".5", RATE_LOW, RATE_HIGH, 0, NOT_RATE(".5") },
	{ LD_RATE, "1,5", RATE_LOW, RATE_HIGH, 0, NOT_RATE("1,5") },
	{ LD_RATE, "1e3", RATE_LOW, RATE_HIGH, 0, NOT_RATE("1e3") },
	{ LD_RATE, "", RATE_LOW, RATE_HIGH, 0, NOT_RATE("") },
	{ LD_RATE, "/s", RATE_LOW, RATE_HIGH, 0, NOT_RATE("/s") },
	{ LD_RATE, "5/", RATE_LOW, RATE_HIGH, 0, NOT_RATE("5/") },
	{ LD_RATE, "5/d", RATE_LOW, RATE_HIGH, 0, NOT_RATE("5/d") },
	{ LD_RATE, "5 /s", RATE_LOW, RATE_HIGH, 0, NOT_RATE("5 /s") },
	{ LD_RATE, "5m", RATE_LOW, RATE_HIGH, 0, NOT_RATE("5m") },
	{ LD_FLAG, "0", 0, 1, 0, NULL },
	{ LD_FLAG, "1", 0, 1, 1, NULL },
	{ LD_FLAG, "off", 0, 1, 0, NULL },
	{ LD_FLAG, "on", 0, 1, 1, NULL },
	{ LD_FLAG, "no", 0, 1, 0, NULL },
	{ LD_FLAG, "yes", 0, 1, 1, NULL },
	{ LD_FLAG, "false", 0, 1, 0, NULL },
	{ LD_FLAG, "true", 0, 1, 1, NULL },
	{ LD_FLAG, "2", 0, 1, 0, NOT_FLAG("2") },
	{ LD_FLAG, "On", 0, 1, 0, NOT_FLAG("On") },
	{ LD_FLAG, "", 0, 1, 0, NOT_FLAG("") },
	{ LD_FLAG, "0|1", 0, 1, 0, NOT_FLAG("0|1") },
	{ LD_FLAG, "tru", 0, 1, 0, NOT_FLAG("tru") },
};

static void values(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(value_cases) / sizeof(value_cases[0]); i++) {
		const struct value_case *c = &value_cases[i];
		struct ld_problems problems = { 0 };
		int64_t number = 4711;
		int result = ld_setting_parse(c->type, "X", c->value, c->low, c->high, NULL, &number, &problems);

		assert_int_equal(result, c->problem == NULL ? 0 : -1);
		assert_int_equal(number, c->problem == NULL ? c->number : 4711);
		assert_int_equal(problems.count, c->problem != NULL);
		if (c->problem != NULL)
			assert_string_equal(problems.text, c->problem);
		ld_problems_free(&problems);
	}
}

static void long_values_are_cut(void **state)
{
	struct ld_problems problems = { 0 };
	char value[10001];
	int64_t number;

	(void)state;
	memset(value, '9', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	assert_int_equal(ld_setting_parse(LD_SIZE, "X", value, 1, 100, NULL, &number, &problems), -1);
	assert_int_equal(strlen(problems.text), strlen("X=") + 71 + strlen("...: out of range, allowed 1..100"));
	ld_problems_free(&problems);
}

/* The table */

static int faults_of(enum ld_setting_id id, const char *value, struct ld_settings *ret_settings)
{
	static char line[8300];
	const char *lines[] = { line, NULL };
	struct larder_options options = options_of(lines, LARDER_OPEN_NO_ENV);
	struct ld_setting_faults faults = { 0 };
	int count;

	snprintf(line, sizeof(line), "%s=%s", ld_setting_rows[id].name + strlen("LARDER_"), value);
	assert_int_not_equal(ld_settings_read_sorted(&options, ret_settings, &faults), LARDER_E_NOMEM);
	count = (int)faults.of[id].count;
	if (count != 0)
		assert_non_null(strstr(faults.of[id].text, ld_setting_rows[id].name));
	ld_setting_faults_free(&faults);
	return count;
}

static void check_number(enum ld_setting_id id, int64_t number, int taken)
{
	struct ld_settings settings;
	char value[48];

	if (ld_setting_rows[id].type == LD_RATE)
		snprintf(value, sizeof(value), "%" PRId64 ".%09" PRId64, number / 1000000000, number % 1000000000);
	else if (ld_setting_rows[id].type == LD_DECIMAL)
		snprintf(value, sizeof(value), "%s%" PRId64 ".%02" PRId64, number < 0 ? "-" : "", number / 100, number < 0 ? -number : number % 100);
	else
		snprintf(value, sizeof(value), "%" PRId64, number);
	assert_int_equal(faults_of(id, value, &settings), !taken);
	if (taken && id != LD_SET_MAX_VALUE)
		assert_int_equal(settings.number[id], number);
	assert_int_equal(settings.origin[id], LD_FROM_OPTIONS);
	ld_settings_free(&settings);
}

/* A text of this length, absolute where it must be. */
static void check_length(enum ld_setting_id id, int64_t len, int taken)
{
	struct ld_settings settings;
	char value[8200];

	memset(value, 'a', sizeof(value));
	value[len] = '\0';
	if (len > 0 && ld_setting_rows[id].type == LD_DIRECTORY)
		value[0] = '/';
	assert_int_equal(faults_of(id, value, &settings), !taken);
	if (taken && len > 0) {
		assert_string_equal(settings.text[id], value);
		assert_int_equal(settings.origin[id], LD_FROM_OPTIONS);
	}
	ld_settings_free(&settings);
}

static int is_text(enum ld_setting_type type)
{
	return type == LD_PATH || type == LD_DIRECTORY || type == LD_LINE || type == LD_TEXT || type == LD_SECRET_TEXT;
}

/* Both sides of both bounds, for each row. An empty value is one that is not set. */
static void bounds_of_every_row(void **state)
{
	int numbers = 0, texts = 0;

	(void)state;
	for (int id = 0; id < LD_SETTINGS; id++) {
		const struct ld_setting_row *row = &ld_setting_rows[id];
		void (*check)(enum ld_setting_id, int64_t, int) = is_text(row->type) ? check_length : check_number;

		if (row->type == LD_CHOICE)
			continue;
		check(id, row->low - 1, is_text(row->type) && row->low == 1);
		check(id, row->low, 1);
		check(id, row->high, 1);
		check(id, row->high + 1, 0);
		is_text(row->type) ? texts++ : numbers++;
	}
	assert_in_range(numbers, 15, LD_SETTINGS);
	assert_in_range(texts, 5, LD_SETTINGS);
}

static void check_choice(enum ld_setting_id id, const char *value, int index)
{
	struct ld_settings settings;
	char shown[64];

	assert_int_equal(faults_of(id, value, &settings), index < 0);
	if (index >= 0) {
		assert_int_equal(settings.number[id], index);
		assert_string_equal(ld_setting_show(&settings, id, shown, sizeof(shown)), value);
	}
	ld_settings_free(&settings);
}

static void words_of_every_choice(void **state)
{
	int choices = 0;

	(void)state;
	for (int id = 0; id < LD_SETTINGS; id++) {
		char words[128], *rest = words, *word;
		int index = 0;

		if (ld_setting_rows[id].type != LD_CHOICE)
			continue;
		snprintf(words, sizeof(words), "%s", ld_setting_rows[id].choices);
		while ((word = strsep(&rest, "|")) != NULL)
			check_choice(id, word, index++);
		check_choice(id, ld_setting_rows[id].choices, -1);
		check_choice(id, "t", -1);
		check_choice(id, "nonsense", -1);
		choices++;
	}
	assert_int_equal(choices, 9);
}

static const struct {
	enum ld_setting_id id;
	const char *shown;
} defaults[] = {
	{ LD_SET_ENABLED, "on" }, { LD_SET_NAME, "larder" }, { LD_SET_SIZE, "256M" }, { LD_SET_MAX_ENTRIES, "0" },
	{ LD_SET_MAX_VALUE, "8M" }, { LD_SET_TTL, "5m" }, { LD_SET_STALE, "0" }, { LD_SET_STALE_IF_ERROR, "0" }, { LD_SET_TTL_JITTER, "0%" },
	{ LD_SET_BETA, "1" }, { LD_SET_ON_BUSY, "load" }, { LD_SET_TAGS_MAX, "8" }, { LD_SET_NEGATIVE_SHARE, "10%" }, { LD_SET_L2_TTL, "0" },
	{ LD_SET_NEGATIVE_TTL, "30s" },
	{ LD_SET_SECRET_FILE, "" }, { LD_SET_SECRET, "" }, { LD_SET_L1_MAP, "protected" }, { LD_SET_WRITE_WAIT_MS, "20ms" },
	{ LD_SET_WORKERS, "256" }, { LD_SET_TENANTS, "1024" }, { LD_SET_THREADS, "on" }, { LD_SET_EVICTOR, "thread" },
	{ LD_SET_EVICT_LOW, "90%" }, { LD_SET_EVICT_HIGH, "95%" }, { LD_SET_SWEEP_MS, "1m" }, { LD_SET_OUTBOX_ROWS, "100000" },
	{ LD_SET_OUTBOX_BYTES, "0" }, { LD_SET_OUTBOX_AGE, "1h" }, { LD_SET_L2_TTL_MAX, "1d" }, { LD_SET_SPACES_FILE, "" },
	{ LD_SET_LIMIT_RATE, "0" }, { LD_SET_LIMIT_BURST, "0" },
	{ LD_SET_LIMIT_SUBKEY_RATE, "0" }, { LD_SET_LIMIT_SUBKEY_BURST, "0" }, { LD_SET_LIMIT_ROWS, "16384" }, { LD_SET_LIMIT_ON_FAILURE, "open" },
	{ LD_SET_LEASES, "4096" }, { LD_SET_FILL_WAIT_MS, "2s" }, { LD_SET_LEASE_MS, "5s" }, { LD_SET_FAIL_THROTTLE_MS, "1s" }, { LD_SET_FILL_EXTRA, "4" },
	{ LD_SET_L2_URL, "" }, { LD_SET_L2_CODEC, "json" }, { LD_SET_L2_TENANT_IN, "header" }, { LD_SET_L2_WRITE, "behind" },
	{ LD_SET_L2_GET_MS, "2s" }, { LD_SET_L2_SET_MS, "3s" }, { LD_SET_L2_DELETE_MS, "1500ms" }, { LD_SET_L2_CONNECT_MS, "500ms" },
	{ LD_SET_L2_RETRIES, "2" }, { LD_SET_L2_INFLIGHT, "256" }, { LD_SET_L2_POOL, "8" }, { LD_SET_L2_POOL_WAIT_MS, "100ms" },
	{ LD_SET_L2_IDLE_MS, "30s" }, { LD_SET_L2_MAX_AGE_MS, "5m" }, { LD_SET_L2_HTTP2, "off" }, { LD_SET_L2_CA_FILE, "" },
	{ LD_SET_L2_CERT_FILE, "" }, { LD_SET_L2_KEY_FILE, "" }, { LD_SET_L2_TOKEN_FILE, "" }, { LD_SET_L2_ALLOW_HOSTS, "" },
	{ LD_SET_L2_SKEW_MS, "1s" }, { LD_SET_L2_RATE, "0" }, { LD_SET_L2_BURST, "0" }, { LD_SET_L2_SUBKEY_RATE, "0" }, { LD_SET_L2_SUBKEY_BURST, "0" },
	{ LD_SET_BREAKER_FAILURES, "5" }, { LD_SET_BREAKER_ERROR_PCT, "50%" }, { LD_SET_BREAKER_VOLUME, "10" },
	{ LD_SET_BREAKER_WINDOW_MS, "10s" }, { LD_SET_BREAKER_SLOW_MS, "0" }, { LD_SET_BREAKER_SLOW_PCT, "0%" },
	{ LD_SET_BREAKER_OPEN_MS, "1s" }, { LD_SET_BREAKER_OPEN_MAX_MS, "30s" }, { LD_SET_BREAKER_SUCCESSES, "3" },
	{ LD_SET_ROLLOUT, "100%" }, { LD_SET_LOG_LEVEL, "warn" }, { LD_SET_LOG_FORMAT, "text" },
};

static void defaults_are_good(void **state)
{
	struct outcome outcome;
	char shown[64], directory[64];

	(void)state;
	read_with(&outcome, NULL);
	assert_int_equal(outcome.result, 0);
	assert_int_equal(outcome.problems.count, 0);
	assert_int_equal(sizeof(defaults) / sizeof(defaults[0]) + 1, LD_SETTINGS);
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
		assert_string_equal(ld_setting_show(&outcome.settings, defaults[i].id, shown, sizeof(shown)), defaults[i].shown);
		assert_int_equal(outcome.settings.origin[defaults[i].id], LD_FROM_DEFAULT);
	}
	snprintf(directory, sizeof(directory), "/dev/shm/larder-%u", (unsigned)geteuid());
	assert_string_equal(outcome.settings.text[LD_SET_DIR], directory);
	assert_int_equal(outcome.settings.origin[LD_SET_DIR], LD_FROM_DEFAULT);
	assert_null(outcome.settings.credentials_dir);
	drop(&outcome);
}

static void show_is_natural(void **state)
{
	static const struct { const char *value, *shown; } cases[] = {
		{ "SIZE=268435456", "256M" }, { "SIZE=1024K", "1M" }, { "SIZE=1048577", "1048577" }, { "SIZE=1024G", "1T" },
		{ "TTL=1000", "1s" }, { "TTL=1001", "1001ms" }, { "TTL=90s", "90s" }, { "TTL=120s", "2m" }, { "TTL=24h", "1d" },
		{ "TTL=36h", "36h" }, { "STALE=0h", "0" }, { "ROLLOUT=0", "0%" }, { "ROLLOUT=7", "7%" }, { "ENABLED=no", "off" },
		{ "WORKERS=0100", "100" }, { "NAME=a-b", "a-b" }, { "EVICTOR=inline", "inline" },
		{ "SPACES_FILE=x.json", "x.json" }, { "LIMIT_RATE=0.0/m", "0" }, { "LIMIT_RATE=100/s", "100" }, { "LIMIT_RATE=1000000.0", "1000000" },
		{ "LIMIT_RATE=30/m", "0.5" }, { "LIMIT_RATE=1/m", "0.016666666" }, { "LIMIT_RATE=7.250", "7.25" }, { "LIMIT_BURST=07", "7" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *lines[] = { cases[i].value, NULL };
		struct larder_options options = options_of(lines, 0);
		struct outcome outcome;
		char shown[64];
		int id = 0;

		read_with(&outcome, &options);
		assert_int_equal(outcome.result, 0);
		while (outcome.settings.origin[id] != LD_FROM_OPTIONS)
			id++;
		ld_setting_show(&outcome.settings, (enum ld_setting_id)id, shown, sizeof(shown));
		assert_string_equal(shown, cases[i].shown);
		drop(&outcome);
	}
}

/* Where values come from */

static void options_win_over_the_environment(void **state)
{
	const char *lines[] = { "SIZE=1G", "TTL=1s", "TTL=2s", "STALE=", "WORKERS=8", "WORKERS=", NULL };
	struct larder_options options = options_of(lines, 0);
	struct outcome outcome;

	(void)state;
	set("LARDER_SIZE", "2G");
	set("LARDER_STALE", "7s");
	set("LARDER_WORKERS", "16");
	set("LARDER_ROLLOUT", "");
	read_with(&outcome, &options);
	assert_int_equal(outcome.result, 0);
	assert_int_equal(outcome.settings.number[LD_SET_SIZE], 1 << 30);
	assert_int_equal(outcome.settings.origin[LD_SET_SIZE], LD_FROM_OPTIONS);
	assert_int_equal(outcome.settings.number[LD_SET_TTL], 2000);
	assert_int_equal(outcome.settings.number[LD_SET_STALE], 7000);
	assert_int_equal(outcome.settings.origin[LD_SET_STALE], LD_FROM_ENVIRONMENT);
	assert_int_equal(outcome.settings.number[LD_SET_WORKERS], 16);
	assert_int_equal(outcome.settings.number[LD_SET_ROLLOUT], 100);
	assert_int_equal(outcome.settings.origin[LD_SET_ROLLOUT], LD_FROM_DEFAULT);
	drop(&outcome);
}

static void count_unknown(void *ctx, const char *variable)
{
	assert_int_equal(strncmp(variable, "LARDER_", 7), 0);
	++*(int *)ctx;
}

static void no_env_is_deaf(void **state)
{
	struct larder_options options = options_of(NULL, LARDER_OPEN_NO_ENV);
	struct outcome outcome;
	char directory[64];
	int unknown = 0;

	(void)state;
	set("LARDER_SIZE", "nonsense");
	set("LARDER_TTL", "9s");
	set("LARDER_SISE", "1G");
	set("LARDER_SECRET", SECRET);
	set("RUNTIME_DIRECTORY", "/run/x");
	set("CREDENTIALS_DIRECTORY", "relative");
	memset(&outcome, 0, sizeof(outcome));
	outcome.result = ld_settings_read(&options, &outcome.settings, &outcome.problems, count_unknown, &unknown);
	assert_int_equal(outcome.result, 0);
	assert_int_equal(unknown, 0);
	assert_int_equal(outcome.settings.number[LD_SET_TTL], 300000);
	assert_null(outcome.settings.text[LD_SET_SECRET]);
	assert_null(outcome.settings.credentials_dir);
	snprintf(directory, sizeof(directory), "/dev/shm/larder-%u", (unsigned)geteuid());
	assert_string_equal(outcome.settings.text[LD_SET_DIR], directory);
	drop(&outcome);
}

static void unknown_variables_are_told(void **state)
{
	struct outcome outcome;
	int unknown = 0;

	(void)state;
	set("LARDER_SISE", "1G");
	set("LARDER_", "1");
	set("LARDER_SIZE_", "1");
	set("LARDER_EMPTY", "");
	set("LARDER_SIZE", "1G");
	set("LARDERSIZE", "1G");
	set("XLARDER_SIZE", "1G");
	memset(&outcome, 0, sizeof(outcome));
	outcome.result = ld_settings_read(NULL, &outcome.settings, &outcome.problems, count_unknown, &unknown);
	assert_int_equal(outcome.result, 0);
	assert_int_equal(unknown, 3);
	drop(&outcome);
}

static void unknown_options_are_problems(void **state)
{
	const char *lines[] = { "SISE=1G", "LARDER_SIZE=1G", "SIZE", "=x", "SECRET:" SECRET, SECRET "=",
		"size=1G", "SIZE=1G", NULL };
	struct larder_options options = options_of(lines, 0);

	(void)state;
	expect_text(&options, LARDER_E_SETTINGS, 7,
	    "options: unknown setting SISE, allowed are the names of larder(5) without LARDER_\n"
	    "options: unknown setting LARDER_SIZE, allowed are the names of larder(5) without LARDER_\n"
	    "options: setting 3 is not NAME=value\n"
	    "options: setting 4 is not NAME=value\n"
	    "options: setting 5 is not NAME=value\n"
	    "options: setting 6 is not NAME=value\n"
	    "options: setting 7 is not NAME=value");
}

static void options_of_other_versions(void **state)
{
	const char *lines[] = { "TTL=1s", NULL };
	struct { struct larder_options options; uint64_t later; } newer = { options_of(lines, 0), 0 };
	struct larder_options *options = &newer.options;
	const size_t shortest = offsetof(struct larder_options, settings) + sizeof(options->settings);
	static const size_t bad_sizes[] = { 0, 1, 8, 16, 23, 4097, SIZE_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(bad_sizes) / sizeof(bad_sizes[0]); i++) {
		options->size = bad_sizes[i];
		expect_text(options, LARDER_E_USAGE, 1, "options: size is not sizeof(struct larder_options)");
	}
	options->size = shortest;
	expect_text(options, 0, 0, NULL);
	options->size = sizeof(newer);
	expect_text(options, 0, 0, NULL);
	newer.later = UINT64_C(1) << 56;
	expect_text(options, LARDER_E_USAGE, 1, "options: a field is set that this version of larder does not know");
	options->size = sizeof(*options);
	options->flags = 2;
	expect_text(options, LARDER_E_USAGE, 1, "options: an unknown flag, or reserved is not 0");
	options->flags = LARDER_OPEN_NO_ENV;
	options->reserved = 1;
	expect_text(options, LARDER_E_USAGE, 1, "options: an unknown flag, or reserved is not 0");
}

/* Problems */

static void all_problems_at_once(void **state)
{
	const char *lines[] = { "ROLLOUT=101", "NAME=Larder", "WIDTH=3", NULL };
	struct larder_options options = options_of(lines, 0);

	(void)state;
	set("LARDER_SIZE", "12");
	set("LARDER_MAX_VALUE", "1.5G");
	set("LARDER_EVICTOR", "cron");
	set("LARDER_THREADS", "maybe");
	set("LARDER_DIR", "var/cache");
	set("LARDER_SPACES_FILE", "/etc/\nx");
	set("LARDER_SECRET", "short");
	set("LARDER_EVICT_LOW", "90");
	set("LARDER_EVICT_HIGH", "80");
	set("LARDER_L2_URL", "http://h/\nx");
	expect_text(&options, LARDER_E_SETTINGS, 12,
	    "LARDER_DIR=var/cache: not an absolute path without control characters, allowed 1..4000 bytes\n"
	    "LARDER_NAME=Larder: not an id (a-z, 0-9 and '-'), allowed 1..31 bytes\n"
	    "LARDER_SIZE=12: out of range, allowed 1M..1T\n"
	    "LARDER_MAX_VALUE=1.5G: a fraction, which is not taken: write it in a smaller unit, allowed 1..1G\n"
	    "LARDER_SECRET: too short, allowed 32..4096 bytes\n"
	    "LARDER_THREADS=maybe: not a flag, allowed 0|1|off|on|no|yes|false|true\n"
	    "LARDER_EVICTOR=cron: not a choice, allowed thread|inline|off\n"
	    "LARDER_SPACES_FILE=/etc/\\x0ax: not a path without control characters, allowed 1..4000 bytes\n"
	    "LARDER_ROLLOUT=101: out of range, allowed 0%..100%\n"
	    "LARDER_L2_URL=http://h/\\x0ax: not a text without control characters, allowed 1..1024 bytes\n"
	    "options: unknown setting WIDTH, allowed are the names of larder(5) without LARDER_\n"
	    "LARDER_EVICT_LOW=90% is not below LARDER_EVICT_HIGH=80%, allowed 10%..79%");
}

static void low_is_below_high(void **state)
{
	(void)state;
	set("LARDER_EVICT_LOW", "95");
	expect_text(NULL, LARDER_E_SETTINGS, 1, "LARDER_EVICT_LOW=95% is not below LARDER_EVICT_HIGH=95%, allowed 10%..94%");
	set("LARDER_EVICT_LOW", "94");
	expect_text(NULL, 0, 0, NULL);
	set("LARDER_EVICT_LOW", "98");
	set("LARDER_EVICT_HIGH", "x");
	expect_text(NULL, LARDER_E_SETTINGS, 1,
	    "LARDER_EVICT_HIGH=x: not a percentage (digits, then % or nothing), allowed 11%..99%");
}

static void max_value_is_a_quarter_at_most(void **state)
{
	struct outcome outcome;

	(void)state;
	set("LARDER_SIZE", "16M");
	read_with(&outcome, NULL);
	assert_int_equal(outcome.result, 0);
	assert_int_equal(outcome.settings.number[LD_SET_MAX_VALUE], 4 << 20);
	assert_int_equal(outcome.settings.origin[LD_SET_MAX_VALUE], LD_FROM_DEFAULT);
	drop(&outcome);
	set("LARDER_MAX_VALUE", "4M");
	expect_text(NULL, 0, 0, NULL);
	set("LARDER_MAX_VALUE", "4194305");
	expect_text(NULL, LARDER_E_SETTINGS, 1,
	    "LARDER_MAX_VALUE=4194305: more than a quarter of LARDER_SIZE=16M, allowed 1..4M");
	set("LARDER_MAX_VALUE", "8M");
	expect_text(NULL, LARDER_E_SETTINGS, 1, "LARDER_MAX_VALUE=8M: more than a quarter of LARDER_SIZE=16M, allowed 1..4M");
	unsetenv("LARDER_MAX_VALUE");
	set("LARDER_SIZE", "32M");
	read_with(&outcome, NULL);
	assert_int_equal(outcome.settings.number[LD_SET_MAX_VALUE], 8 << 20);
	drop(&outcome);
}

static void no_thread_for_the_evictor(void **state)
{
	static const char problem[] = "LARDER_EVICTOR=thread needs a thread, but LARDER_THREADS=off: "
	    "allowed inline or off, or leave LARDER_EVICTOR unset";
	(void)state;
	set("LARDER_THREADS", "off");
	expect_text(NULL, 0, 0, NULL);
	set("LARDER_EVICTOR", "thread");
	expect_text(NULL, LARDER_E_SETTINGS, 1, problem);
	set("LARDER_EVICTOR", "inline");
	expect_text(NULL, 0, 0, NULL);
	set("LARDER_EVICTOR", "thread");
	set("LARDER_THREADS", "1");
	expect_text(NULL, 0, 0, NULL);
}

/* Directories */

static void expect_directory(const char *directory, enum ld_origin origin)
{
	struct outcome outcome;

	read_with(&outcome, NULL);
	assert_int_equal(outcome.result, 0);
	assert_string_equal(outcome.settings.text[LD_SET_DIR], directory);
	assert_int_equal(outcome.settings.origin[LD_SET_DIR], origin);
	drop(&outcome);
}

static void directories(void **state)
{
	(void)state;
	set("RUNTIME_DIRECTORY", "/run/web");
	expect_directory("/run/web/larder", LD_FROM_RUNTIME_DIRECTORY);
	set("RUNTIME_DIRECTORY", "/run/web:/run/other");
	expect_directory("/run/web/larder", LD_FROM_RUNTIME_DIRECTORY);
	set("LARDER_DIR", "/srv/larder//");
	expect_directory("/srv/larder", LD_FROM_ENVIRONMENT);
	set("LARDER_DIR", "/");
	expect_directory("/", LD_FROM_ENVIRONMENT);
	set("LARDER_DIR", "/srv/l\xc3\xa4rder x");
	expect_directory("/srv/l\xc3\xa4rder x", LD_FROM_ENVIRONMENT);
	unsetenv("LARDER_DIR");
	set("RUNTIME_DIRECTORY", "run/web");
	expect_text(NULL, LARDER_E_SETTINGS, 1,
	    "RUNTIME_DIRECTORY=run/web: not an absolute path without control characters, allowed 1..3993 bytes");
	unsetenv("RUNTIME_DIRECTORY");
	set("LARDER_DIR", "/a\x7f");
	expect_text(NULL, LARDER_E_SETTINGS, 1,
	    "LARDER_DIR=/a\\x7f: not an absolute path without control characters, allowed 1..4000 bytes");
}

static void credentials(void **state)
{
	char directory[] = "/tmp/larder-test-XXXXXX", file[64], shown[128];
	struct outcome outcome;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(file, sizeof(file), "%s/larder-secret", directory);
	set("CREDENTIALS_DIRECTORY", directory);
	read_with(&outcome, NULL);
	assert_int_equal(outcome.result, 0);
	assert_null(outcome.settings.credentials_dir);
	assert_int_equal(outcome.settings.origin[LD_SET_SECRET_FILE], LD_FROM_DEFAULT);
	drop(&outcome);

	assert_int_equal(mkdir(file, 0700), 0);
	read_with(&outcome, NULL);
	assert_int_equal(outcome.result, 0);
	assert_string_equal(outcome.settings.credentials_dir, directory);
	assert_int_equal(outcome.settings.origin[LD_SET_SECRET_FILE], LD_FROM_CREDENTIALS);
	assert_null(outcome.settings.text[LD_SET_SECRET_FILE]);
	assert_string_equal(ld_setting_show(&outcome.settings, LD_SET_SECRET_FILE, shown, sizeof(shown)), file);
	drop(&outcome);

	set("LARDER_SECRET_FILE", "/etc/secret");
	read_with(&outcome, NULL);
	assert_null(outcome.settings.credentials_dir);
	assert_string_equal(outcome.settings.text[LD_SET_SECRET_FILE], "/etc/secret");
	drop(&outcome);
	unsetenv("LARDER_SECRET_FILE");
	set("CREDENTIALS_DIRECTORY", "cred");
	expect_text(NULL, LARDER_E_SETTINGS, 1,
	    "CREDENTIALS_DIRECTORY=cred: not an absolute path without control characters, allowed 1..4000 bytes");
	assert_int_equal(rmdir(file), 0);
	assert_int_equal(rmdir(directory), 0);
}

/* The secret */

static void secret_is_kept_and_wiped(void **state)
{
	struct outcome outcome;
	char shown[64];

	(void)state;
	set("LARDER_SECRET", SECRET);
	set("LARDER_SECRET_FILE", "/etc/secret");
	read_with(&outcome, NULL);
	assert_int_equal(outcome.result, 0);
	assert_string_equal(outcome.settings.text[LD_SET_SECRET], SECRET);
	assert_string_equal(ld_setting_show(&outcome.settings, LD_SET_SECRET, shown, sizeof(shown)), "(set)");
	ld_settings_wipe_secret(&outcome.settings);
	assert_null(outcome.settings.text[LD_SET_SECRET]);
	assert_string_equal(ld_setting_show(&outcome.settings, LD_SET_SECRET, shown, sizeof(shown)), "(set)");
	ld_settings_wipe_secret(&outcome.settings);
	drop(&outcome);
	assert_null(outcome.settings.text[LD_SET_NAME]);
	drop(&outcome);
}

static void differences(void **state)
{
	struct outcome a, b;

	(void)state;
	set("LARDER_SECRET", SECRET);
	read_with(&a, NULL);
	set("LARDER_SECRET", "another-" SECRET);
	set("LARDER_SECRET_FILE", "/etc/secret");
	read_with(&b, NULL);
	assert_null(ld_settings_differ(&a.settings, &b.settings));
	drop(&b);
	set("LARDER_TTL", "300s");
	read_with(&b, NULL);
	assert_null(ld_settings_differ(&a.settings, &b.settings));
	drop(&b);
	set("LARDER_TTL", "301s");
	set("LARDER_SPACES_FILE", "/etc/spaces.json");
	read_with(&b, NULL);
	assert_string_equal(ld_settings_differ(&a.settings, &b.settings), "LARDER_TTL");
	drop(&a);
	unsetenv("LARDER_SPACES_FILE");
	read_with(&a, NULL);
	assert_string_equal(ld_settings_differ(&a.settings, &b.settings), "LARDER_SPACES_FILE");
	assert_string_equal(ld_settings_differ(&b.settings, &a.settings), "LARDER_SPACES_FILE");
	drop(&a);
	drop(&b);
}

#ifdef LARDER_FAULTS
static int run_read(void)
{
	struct outcome outcome;

	read_with(&outcome, NULL);
	drop(&outcome);
	return outcome.result;
}

/* Every allocation failed in turn: the result is always that memory ran out, and (under a sanitizer) nothing leaks. */
static int sweep(int (*run)(void), int result)
{
	static struct ld_fault_plan plan;
	int64_t failed = 0;
	int got;

	ld_fault_use(&plan);
	for (;; failed++) {
		atomic_store(&plan.alloc_countdown, failed + 1);
		got = run();
		if (atomic_load(&plan.alloc_countdown) != 0)
			break;
		assert_int_equal(got, LARDER_E_NOMEM);
	}
	ld_fault_use(NULL);
	assert_int_equal(got, result);
	return (int)failed;
}

static void allocations_fail(void **state)
{
	(void)state;
	set("LARDER_SECRET", SECRET);
	set("RUNTIME_DIRECTORY", "/run/web");
	set("CREDENTIALS_DIRECTORY", "/proc/self/status");
	assert_int_equal(sweep(run_read, 0), 5);
	set("LARDER_TTL", "never");
	set("LARDER_EVICT_LOW", "96");
	assert_int_equal(sweep(run_read, LARDER_E_SETTINGS), 5 + 2 * 2);
}
#endif

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(values), TEST(long_values_are_cut), TEST(bounds_of_every_row), TEST(words_of_every_choice),
		TEST(defaults_are_good), TEST(show_is_natural), TEST(options_win_over_the_environment), TEST(no_env_is_deaf),
		TEST(unknown_variables_are_told), TEST(unknown_options_are_problems), TEST(options_of_other_versions),
		TEST(all_problems_at_once), TEST(low_is_below_high),
		TEST(max_value_is_a_quarter_at_most), TEST(no_thread_for_the_evictor), TEST(directories), TEST(credentials),
		TEST(secret_is_kept_and_wiped), TEST(differences),
#ifdef LARDER_FAULTS
		TEST(allocations_fail),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
