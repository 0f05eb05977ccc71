/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: settings as options, a line each. Whatever the lines are, either there are problems, told a line each in printable
 * ASCII, or every value is inside the bounds of its row and no two contradict each other.
 */
#include "cache/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "broken: %s\n", what);
	abort();
}

/* Cuts the text at its newlines. */
static void split(char *text, const char *lines[LINES_MAX + 1])
{
	size_t count = 0;

	while (count < LINES_MAX && text != NULL)
		lines[count++] = strsep(&text, "\n");
	lines[count] = NULL;
}

static void check_problems(const struct ld_problems *problems)
{
	unsigned lines = problems->count != 0;

	require(!problems->lost, "memory for problems");
	for (size_t i = 0; i < problems->len; i++) {
		char c = problems->text[i];

		require(c == '\n' || (c >= 0x20 && c < 0x7f), "problems are printable");
		lines += c == '\n';
	}
	require(lines == problems->count, "a problem is a line");
}

static void check_bounds(const struct ld_settings *settings)
{
	const int64_t *number = settings->number;
	char shown[64], bounds[64];

	for (int id = 0; id < LD_SETTINGS; id++) {
		const struct ld_setting_row *row = &ld_setting_rows[id];

		if (row->type < LD_CHOICE)
			require((number[id] >= row->low || (number[id] == 0 && row->type == LD_RATE)) && number[id] <= row->high,
			    "a number is inside its bounds");
		if (settings->text[id] != NULL)
			require(strlen(settings->text[id]) <= (size_t)row->high, "a text is no longer than allowed");
		ld_setting_show(settings, (enum ld_setting_id)id, shown, sizeof(shown));
		require(strlen(shown) < sizeof(shown), "a value is shown");
		require(ld_setting_bounds(row, bounds, sizeof(bounds))[0] != '\0', "bounds are shown");
	}
	require(number[LD_SET_EVICT_LOW] < number[LD_SET_EVICT_HIGH], "the low mark is below the high mark");
	require(number[LD_SET_MAX_VALUE] <= number[LD_SET_SIZE] / 4, "a value fits beside others");
	require(settings->text[LD_SET_DIR] != NULL && settings->text[LD_SET_DIR][0] == '/', "the directory is absolute");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	const char *lines[LINES_MAX + 1];
	struct larder_options options = LARDER_OPTIONS_INIT;
	struct ld_settings settings;
	struct ld_problems problems = { 0 };
	int result;

	if (text == NULL)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	split(text, lines);
	options.settings = lines;
	options.flags = LARDER_OPEN_NO_ENV;
	result = ld_settings_read(&options, &settings, &problems, NULL, NULL);
	require(result == (problems.count != 0 ? LARDER_E_SETTINGS : 0), "problems and only problems are an error");
	check_problems(&problems);
	if (result == 0)
		check_bounds(&settings);
	ld_settings_free(&settings);
	ld_problems_free(&problems);
	free(text);
	return 0;
}
