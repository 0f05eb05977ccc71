/* SPDX-License-Identifier: MIT */
/*
 * larder_settings_each(): a row for every setting, then the unknown variables, then what is wrong with them together and with
 * the spaces file; and no secret in any of them. The tests run with an environment of their own, which each begins empty.
 */
#include <larder/inspect.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fault.h"
#include "cache/settings.h"

#define SECRET "0123456789abcdef-this-is-secret-0123456789"

static char **real_environment;

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

struct told {
	int rows, settings, unknown, general, problems;
	int stop_at;
	char text[16384];
};

static const char *or_dash(const char *text)
{
	return text != NULL ? text : "-";
}

static int note(void *ctx, const struct larder_setting *setting)
{
	struct told *told = ctx;
	size_t len = strlen(told->text);

	told->rows++;
	if (setting->type != NULL) {
		assert_int_equal(told->unknown + told->general, 0);
		assert_string_equal(setting->name, ld_setting_rows[told->settings++].name);
		assert_true(setting->bounds[0] != '\0' && setting->text[0] != '\0' && setting->origin[0] != '\0');
	} else if (setting->name != NULL) {
		assert_int_equal(told->general, 0);
		assert_non_null(setting->problem);
		told->unknown++;
	} else {
		assert_non_null(setting->problem);
		told->general++;
	}
	told->problems += setting->problem != NULL;
	snprintf(told->text + len, sizeof(told->text) - len, "%s|%s|%s|%s|%s|%s|%s\n", or_dash(setting->name),
	    or_dash(setting->type), or_dash(setting->bounds), or_dash(setting->fallback), or_dash(setting->value),
	    or_dash(setting->origin), or_dash(setting->problem));
	return told->rows == told->stop_at ? 42 : 0;
}

static void each_tells_all_well(void **state)
{
	struct told told = { 0 };

	(void)state;
	set("LARDER_SIZE", "1G");
	set("LARDER_SECRET", SECRET);
	set("RUNTIME_DIRECTORY", "/run/web");
	assert_int_equal(larder_settings_each(NULL, note, &told), 0);
	assert_int_equal(told.settings, LD_SETTINGS);
	assert_int_equal(told.rows, LD_SETTINGS);
	assert_int_equal(told.problems, 0);
	assert_non_null(strstr(told.text, "LARDER_SIZE|size|1M..1T|256M|1G|environment|-\n"));
	assert_non_null(strstr(told.text, "LARDER_DIR|path|1..4000 bytes||/run/web/larder|RUNTIME_DIRECTORY|-\n"));
	assert_non_null(strstr(told.text, "LARDER_SECRET|text|32..4096 bytes||(set)|environment|-\n"));
	assert_non_null(strstr(told.text, "LARDER_EVICTOR|choice|thread|inline|off|thread|thread|default|-\n"));
	assert_non_null(strstr(told.text, "LARDER_ENABLED|flag|0|1|off|on|no|yes|false|true|1|on|default|-\n"));
	assert_non_null(strstr(told.text, "LARDER_ROLLOUT|percent|0%..100%|100|100%|default|-\n"));
	assert_non_null(strstr(told.text, "LARDER_LIMIT_RATE|rate|0, 0.000001..1000000|0|0|default|-\n"));
	assert_non_null(strstr(told.text, "LARDER_LIMIT_ON_FAILURE|choice|open|closed|open|open|default|-\n"));
	assert_non_null(strstr(told.text, "LARDER_TTL|time|1ms..3650d|5m|5m|default|-\n"));
	assert_non_null(strstr(told.text, "LARDER_WORKERS|number|4..16000|256|256|default|-\n"));
	assert_null(strstr(told.text, SECRET));
}

static void each_tells_all_problems(void **state)
{
	struct told told = { 0 };

	(void)state;
	set("LARDER_TTL", "never");
	set("LARDER_SISE", SECRET);
	set("LARDER_SECRET", "too-short-a-secret");
	set("LARDER_EVICT_LOW", "96");
	set("LARDER_SPACES_FILE", "/nonexistent/spaces.json");
	assert_int_equal(larder_settings_each(NULL, note, &told), LARDER_E_SETTINGS);
	assert_int_equal(told.settings, LD_SETTINGS);
	assert_int_equal(told.unknown, 1);
	assert_int_equal(told.general, 2);
	assert_int_equal(told.problems, 5);
	assert_non_null(strstr(told.text, "|5m|5m|environment|LARDER_TTL=never: "
	    "not a time (digits, then ms, s, m, h, d or nothing), allowed 1ms..3650d\n"));
	assert_non_null(strstr(told.text, "|(set)|environment|LARDER_SECRET: too short, allowed 32..4096 bytes\n"));
	assert_non_null(strstr(told.text, "\nLARDER_SISE|-|-|-|-|environment|no such setting\n"));
	assert_non_null(strstr(told.text, "\n-|-|-|-|-|-|"
	    "LARDER_EVICT_LOW=96% is not below LARDER_EVICT_HIGH=95%, allowed 10%..94%\n"));
	assert_non_null(strstr(told.text, "|/nonexistent/spaces.json: No such file or directory\n"));
	assert_null(strstr(told.text, SECRET));
	assert_null(strstr(told.text, "too-short-a-secret"));
}

static void each_stops_when_told(void **state)
{
	struct told told = { .stop_at = 3 };
	struct larder_options options = { 0 };

	(void)state;
	set("LARDER_SISE", "1");
	assert_int_equal(larder_settings_each(NULL, note, &told), 42);
	assert_int_equal(told.rows, 3);
	told = (struct told){ .stop_at = LD_SETTINGS + 1 };
	assert_int_equal(larder_settings_each(NULL, note, &told), 42);
	assert_int_equal(told.rows, LD_SETTINGS + 1);
	told = (struct told){ 0 };
	assert_int_equal(larder_settings_each(&options, note, &told), LARDER_E_USAGE);
	assert_int_equal(told.rows, 0);
	assert_int_equal(larder_settings_each(NULL, NULL, NULL), LARDER_E_USAGE);
}

#ifdef LARDER_FAULTS
static int ignore(void *ctx, const struct larder_setting *setting)
{
	(void)ctx;
	(void)setting;
	return 0;
}

/* Every allocation failed in turn: the result is always that memory ran out, and (under a sanitizer) nothing leaks. */
static int sweep(int result)
{
	static struct ld_fault_plan plan;
	int64_t failed = 0;
	int got;

	ld_fault_use(&plan);
	for (;; failed++) {
		atomic_store(&plan.alloc_countdown, failed + 1);
		got = larder_settings_each(NULL, ignore, NULL);
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
	assert_int_equal(sweep(0), 4);
	set("LARDER_TTL", "never");
	set("LARDER_EVICT_LOW", "96");
	set("LARDER_SPACES_FILE", "/nonexistent/spaces.json");
	assert_int_equal(sweep(LARDER_E_SETTINGS), 7);
}
#endif

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(each_tells_all_well), TEST(each_tells_all_problems), TEST(each_stops_when_told),
#ifdef LARDER_FAULTS
		TEST(allocations_fail),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
