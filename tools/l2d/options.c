/* SPDX-License-Identifier: MIT */
/* The command line (options.h): one table of options, from which the usage is printed too. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <larder/larder.h>

#include "log.h"

enum kind { OPTION_TEXT, OPTION_NUMBER, OPTION_SIZE, OPTION_TIME, OPTION_FLAG, OPTION_SETTING, OPTION_HELP, OPTION_VERSION };

struct row {
	const char *name;
	enum kind kind;
	void *place;              /* const char *, unsigned, uint64_t, int64_t or int, by kind */
	uint64_t low, high;
	const char *argument;
	const char *text;
};

#define ROWS 18

static void make_table(struct l2d_options *to, struct row table[ROWS])
{
	const struct row rows[ROWS] = {
		{ "listen", OPTION_TEXT, &to->listen, 0, 0, "WHERE", "HOST:PORT, [V6]:PORT or unix:/path; port 0 takes a free one (127.0.0.1:8420)" },
		{ "workers", OPTION_NUMBER, &to->workers, 1, L2D_WORKERS_MAX, "N", "processes that serve (2)" },
		{ "dir", OPTION_TEXT, &to->dir, 0, 0, "DIR", "directory of the cache; needed" },
		{ "size", OPTION_TEXT, &to->size, 0, 0, "SIZE", "usable size of the cache (256M)" },
		{ "secret-file", OPTION_TEXT, &to->secret_file, 0, 0, "FILE", "secret of the cache ($LARDER_SECRET_FILE, else one is made in DIR)" },
		{ "token-file", OPTION_TEXT, &to->token_file, 0, 0, "FILE", "ask for the token in it, as Bearer (none)" },
		{ "max-value", OPTION_SIZE, &to->max_value_b, 1, UINT64_C(1) << 29, "SIZE", "largest value that is taken (8M, or a quarter of the cache)" },
		{ "ttl", OPTION_TIME, &to->ttl_ms, 1, LARDER_TTL_MAX_MS, "TIME", "time to live of writes that name none (1h)" },
		{ "rate", OPTION_SIZE, &to->rate, 0, 1000000, "N", "requests a second that a tenant may make; 0 = any number (0)" },
		{ "burst", OPTION_SIZE, &to->burst, 0, 1000000, "N", "requests that it may be ahead; 0 = as many as the rate (0)" },
		{ "connections", OPTION_NUMBER, &to->connections, 1, 100000, "N", "open connections of a worker (1000)" },
		{ "idle", OPTION_TIME, &to->idle_ms, 1000, 3600000, "TIME", "a connection without traffic is closed (60s)" },
		{ "drain-ms", OPTION_NUMBER, NULL, 0, 3600000, "MS", "after SIGTERM, until what still runs is cut off (10000)" },
		{ "port-file", OPTION_TEXT, &to->port_file, 0, 0, "FILE", "write the port there once it is listened to" },
		{ "set", OPTION_SETTING, NULL, 0, 0, "NAME=VALUE", "a setting of larder(5) for the cache, without LARDER_" },
		{ "log", OPTION_FLAG, &to->log, 0, 0, NULL, "a line on stderr for each request" },
		{ "help", OPTION_HELP, NULL, 0, 0, NULL, "print this" },
		{ "version", OPTION_VERSION, NULL, 0, 0, NULL, "print the version" },
	};
	memcpy(table, rows, sizeof(rows));
}

int l2d_parse_number(const char *text, uint64_t max, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (*text == '\0')
		return -1;
	for (; *text; text++) {
		unsigned digit = (unsigned char)*text - (unsigned)'0';
		if (digit > 9 || number > (max - digit) / 10 || digit > max)
			return -1;
		number = number * 10 + digit;
	}
	*ret_number = number;
	return 0;
}

/* Leading digits as number; *ret_unit is what follows them. */
static int split(const char *text, uint64_t *ret_number, const char **ret_unit)
{
	char digits[24];
	size_t len = strspn(text, "0123456789");

	if (len == 0 || len >= sizeof(digits))
		return -1;
	memcpy(digits, text, len);
	digits[len] = '\0';
	*ret_unit = text + len;
	return l2d_parse_number(digits, UINT64_MAX / 2, ret_number);
}

int l2d_parse_size(const char *text, uint64_t *ret_bytes)
{
	static const char units[] = "KMGT";
	uint64_t number;
	const char *unit;
	unsigned shift = 0;

	if (split(text, &number, &unit) < 0)
		return -1;
	if (*unit) {
		const char *at = strchr(units, *unit);
		if (at == NULL || unit[1] != '\0')
			return -1;
		shift = 10 * (unsigned)(at - units + 1);
	}
	if (number > UINT64_MAX >> (shift + 1))
		return -1;
	*ret_bytes = number << shift;
	return 0;
}

int l2d_parse_time(const char *text, int64_t *ret_ms)
{
	static const struct { const char *unit; int64_t ms; } units[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 },
		{ "h", 3600000 }, { "d", 86400000 } };
	uint64_t number;
	const char *unit;

	if (split(text, &number, &unit) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(unit, units[i].unit) == 0 && number <= (uint64_t)(LARDER_TTL_MAX_MS / units[i].ms)) {
			*ret_ms = (int64_t)number * units[i].ms;
			return 0;
		}
	return -1;
}

static void print_usage(const struct row *rows)
{
	printf("Usage: larder-l2d --dir DIR [OPTION...]\n\n"
	    "A cache over HTTP, the second level for servers that use larder: GET, HEAD, PUT, POST and\n"
	    "DELETE of /KEY with the tenant in X-Tenant-Id, or of /TENANT/KEY.\n\n");
	for (unsigned i = 0; i < ROWS; i++) {
		char left[32];
		snprintf(left, sizeof(left), "--%s%s%s", rows[i].name, rows[i].argument ? " " : "", rows[i].argument ? rows[i].argument : "");
		printf("  %-20s %s\n", left, rows[i].text);
	}
	printf("\nSIGTERM or SIGINT: stop in good order. larder-l2d(8) has the rest.\n");
}

static int refuse(const struct row *row, const char *text)
{
	l2d_complain("--%s %s: not a %s of %s", row->name, text, row->kind == OPTION_TIME ? "time" : "number",
	    row->kind == OPTION_TIME ? "larder-l2d(8)" : "its range");
	return 2;
}

static int in_range(const struct row *row, uint64_t number)
{
	return number >= row->low && number <= row->high;
}

static int take_number(struct l2d_options *to, const struct row *row, const char *text)
{
	uint64_t number;
	int64_t ms;

	if (row->kind == OPTION_TIME) {
		if (l2d_parse_time(text, &ms) < 0 || !in_range(row, (uint64_t)ms))
			return refuse(row, text);
		*(int64_t *)row->place = ms;
	} else if (row->kind == OPTION_SIZE) {
		if (l2d_parse_size(text, &number) < 0 || !in_range(row, number))
			return refuse(row, text);
		*(uint64_t *)row->place = number;
	} else {
		if (l2d_parse_number(text, row->high, &number) < 0 || !in_range(row, number))
			return refuse(row, text);
		if (row->place == NULL)
			to->drain_ms = (int64_t)number;
		else
			*(unsigned *)row->place = (unsigned)number;
	}
	return -1;
}

static int take(struct l2d_options *to, const struct row *row, const char *text)
{
	switch (row->kind) {
	case OPTION_TEXT:
		*(const char **)row->place = text;
		return -1;
	case OPTION_FLAG:
		*(int *)row->place = 1;
		return -1;
	case OPTION_SETTING:
		if (to->settings_count == L2D_SETTINGS_MAX || strchr(text, '=') == NULL) {
			l2d_complain("--set %s: not NAME=VALUE, or too many of them", text);
			return 2;
		}
		to->settings[to->settings_count++] = text;
		return -1;
	default:
		return take_number(to, row, text);
	}
}

static int check(struct l2d_options *options)
{
	if (options->dir == NULL || *options->dir == '\0') {
		l2d_complain("--dir is needed: where the cache is to be");
		return 2;
	}
	options->idle_ms -= options->idle_ms % 1000;
	return l2d_options_fit(options);
}

/* What was asked for is all there is to be done: it failed if it could not be written. */
static int finish(void)
{
	int failed = ferror(stdout);

	if (fflush(stdout) == 0 && !failed)
		return 0;
	l2d_complain("standard output: %s", strerror(errno));
	return 2;
}

int l2d_options_read(int argc, char **argv, struct l2d_options *ret_options)
{
	struct l2d_options options = { .listen = "127.0.0.1:8420", .size = "256M", .workers = 2, .connections = 1000,
		.ttl_ms = 3600000, .idle_ms = 60000, .drain_ms = 10000 };
	struct row rows[ROWS];
	struct option longs[ROWS + 1] = { { 0 } };
	int at, stop = -1;

	make_table(&options, rows);
	for (unsigned i = 0; i < ROWS; i++)
		longs[i] = (struct option){ rows[i].name, rows[i].argument ? required_argument : no_argument, NULL, (int)i + 256 };
	while (stop < 0 && (at = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (at == '?')
			return 2;
		const struct row *row = &rows[at - 256];
		if (row->kind == OPTION_HELP) {
			print_usage(rows);
			return finish();
		}
		if (row->kind == OPTION_VERSION) {
			printf("larder-l2d %s\n", larder_version());
			return finish();
		}
		stop = take(&options, row, optarg);
	}
	if (stop < 0 && optind < argc) {
		l2d_complain("'%s' is no option; see larder-l2d --help", argv[optind]);
		stop = 2;
	}
	if (stop < 0)
		stop = check(&options);
	if (stop < 0)
		*ret_options = options;
	return stop;
}
