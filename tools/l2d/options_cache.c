/* SPDX-License-Identifier: MIT */
/*
 * The command line where it meets the settings of the cache (options.h): how large a value fits into it, and what the user calls a setting that the library
 * complains about. Bounds are the library's to check; here is only what it cannot know.
 */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "value.h"

#define PREFIX "LARDER_"
#define DEFAULT_MAX_VALUE_B (UINT64_C(8) << 20)
enum { PREFIX_LEN = sizeof(PREFIX) - 1, GIVEN_SIZE = 80 };

/* The value of the last --set of this name; NULL = there is none. */
static const char *set_value(const struct l2d_options *options, const char *name, size_t len)
{
	for (unsigned i = options->settings_count; i-- > 0;)
		if (strncmp(options->settings[i], name, len) == 0 && options->settings[i][len] == '=' && options->settings[i][len + 1] != '\0')
			return options->settings[i] + len + 1;
	return NULL;
}

int l2d_options_fit(struct l2d_options *options)
{
	const char *set = set_value(options, "SIZE", 4), *size = set ? set : options->size;
	uint64_t size_b, most;

	/* The library says what is wrong with it. */
	if (l2d_parse_size(size, &size_b) < 0 || size_b / 4 <= L2D_HEAD_SIZE) {
		options->max_value_b = options->max_value_b ? options->max_value_b : DEFAULT_MAX_VALUE_B;
		return -1;
	}
	most = size_b / 4 - L2D_HEAD_SIZE;
	if (options->max_value_b == 0)
		options->max_value_b = most < DEFAULT_MAX_VALUE_B ? most : DEFAULT_MAX_VALUE_B;
	if (options->max_value_b <= most)
		return -1;
	l2d_complain("--max-value %llu: more than a quarter of %s%s less %d bytes, allowed 1..%llu", (unsigned long long)options->max_value_b,
	    set ? "--set SIZE=" : "--size ", size, L2D_HEAD_SIZE, (unsigned long long)most);
	return 2;
}

/* What was given, by the user or by us for him, for a setting; NULL = it has no other name. */
static const char *given_as(const struct l2d_options *options, const char *name, size_t len, char given[GIVEN_SIZE])
{
	static const struct { const char *setting, *option; } own[] = { { "DIR", "--dir " }, { "SIZE", "--size " }, { "MAX_VALUE", "--max-value " },
		{ "LIMIT_RATE", "--rate " }, { "LIMIT_BURST", "--burst " }, { "SECRET_FILE", "--secret-file " } };

	if (set_value(options, name, len)) {
		snprintf(given, GIVEN_SIZE, "--set %.*s=", (int)len, name);
		return given;
	}
	/* That of the environment, or the file of our own. */
	if (len == 11 && memcmp(name, "SECRET_FILE", len) == 0 && options->secret_file == NULL) {
		const char *named = getenv("LARDER_SECRET_FILE");
		return named && *named ? NULL : "";
	}
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (strlen(own[i].setting) == len && memcmp(own[i].setting, name, len) == 0)
			return own[i].option;
	return NULL;
}

char *l2d_options_name(const struct l2d_options *options, const char *why)
{
	char *text = NULL, room[GIVEN_SIZE];
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (to == NULL)
		return NULL;
	while (*why) {
		size_t len = strncmp(why, PREFIX, PREFIX_LEN) == 0 ? strspn(why + PREFIX_LEN, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") : 0;
		const char *given = len > 0 && why[PREFIX_LEN + len] == '=' ? given_as(options, why + PREFIX_LEN, len, room) : NULL;

		if (given) {
			fputs(given, to);
			why += PREFIX_LEN + len + 1;
		} else {
			fputc(*why++, to);
		}
	}
	if (fclose(to) == 0)
		return text;
	free(text);
	return NULL;
}
