/* SPDX-License-Identifier: MIT */
/*
 * The command line of a verb: its table of options, with the common ones added, is given to getopt_long(3), parsed into the
 * targets, and printed by --help. Called by each verb through cli_begin(). Never ends the process.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "human.h"

#define OPTIONS_MAX 40
/* What getopt returns for the common options; a verb's own are OWN + index. */
enum { COMMON_DIR = 256, COMMON_NAME, COMMON_JSON, COMMON_HELP, OWN };

static const struct option common[] = {
	{ "dir", required_argument, NULL, COMMON_DIR },
	{ "name", required_argument, NULL, COMMON_NAME },
	{ "json", no_argument, NULL, COMMON_JSON },
	{ "help", no_argument, NULL, COMMON_HELP },
};
#define COMMON (sizeof common / sizeof common[0])

static const struct cli_option none[] = { CLI_OPTIONS_END };

static const struct cli_option *options_of(const struct cli_verb *verb)
{
	return verb->options ? verb->options : none;
}

static int takes_argument(const struct cli_option *option)
{
	return option->type != CLI_FLAG && option->type != CLI_NO_FLAG;
}

static void help_line(const char *name, const char *argument, const char *text)
{
	char left[80];
	snprintf(left, sizeof left, "--%s%s%s", name, argument ? " " : "", argument ? argument : "");
	if (strlen(left) > 22)
		printf("  %s\n  %-22s %s\n", left, "", text);
	else
		printf("  %-22s %s\n", left, text);
}

static void help(const struct cli_verb *verb)
{
	printf("usage: larder %s %s\n\n%s\nOptions:\n", verb->name, verb->synopsis, verb->text);
	for (const struct cli_option *option = options_of(verb); option->name; option++)
		help_line(option->name, option->argument ? option->argument : option->choices, option->text);
	help_line("dir", "DIR", "directory of the cache (LARDER_DIR)");
	help_line("name", "NAME", "name of the cache (LARDER_NAME)");
	help_line("json", NULL, "print JSON");
	help_line("help", NULL, "print this");
}

/* Index of a word of len bytes in "one|two|three", or -1. */
static int choice_index(const char *choices, const char *word, size_t len)
{
	int index = 0;
	for (const char *at = choices; *at; index++) {
		size_t n = strcspn(at, "|");
		if (n == len && memcmp(at, word, n) == 0)
			return index;
		at += n + (at[n] == '|');
	}
	return -1;
}

static int parse_choices(const char *choices, const char *value, uint32_t *ret_bits)
{
	uint32_t bits = 0;
	for (const char *at = value;; at++) {
		size_t n = strcspn(at, ",");
		int index = choice_index(choices, at, n);
		if (index < 0)
			return -1;
		bits |= UINT32_C(1) << index;
		at += n;
		if (!*at)
			break;
	}
	*ret_bits = bits;
	return 0;
}

static int parse_value(const struct cli_option *option, const char *value)
{
	int index;
	switch (option->type) {
	case CLI_FLAG:
	case CLI_NO_FLAG:
		*(int *)option->target = option->type == CLI_FLAG;
		return 0;
	case CLI_TEXT:
		*(const char **)option->target = value;
		return 0;
	case CLI_NUMBER:
		return human_parse_number(value, option->target);
	case CLI_SIZE:
		return human_parse_size(value, option->target);
	case CLI_TIME:
		return human_parse_time(value, option->target);
	case CLI_CHOICES:
		return parse_choices(option->choices, value, option->target);
	case CLI_CHOICE:
		index = choice_index(option->choices, value, strlen(value));
		if (index >= 0)
			*(int *)option->target = index;
		return index < 0 ? -1 : 0;
	}
	return -1;
}

static const char *expected(const struct cli_option *option)
{
	switch (option->type) {
	case CLI_NUMBER:
		return "a number such as 12 or 0x1f";
	case CLI_SIZE:
		return "a size such as 512, 64K, 8M or 1G";
	case CLI_TIME:
		return "a time such as 250ms, 30s, 5m, 2h or 1d, ten years at most";
	case CLI_CHOICE:
	case CLI_CHOICES:
		return option->choices;
	default:
		return "a text";
	}
}

static int own_option(struct cli *cli, const struct cli_option *option)
{
	if (parse_value(option, optarg) == 0)
		return -1;
	return cli_usage(cli, "--%s %s: expected %s%s", option->name, optarg,
	                 option->type == CLI_CHOICES ? "one or more, with commas, of " : option->type == CLI_CHOICE ? "one of " : "",
	                 expected(option));
}

/* -1 to go on, or an exit code. */
static int take(struct cli *cli, int id, char **argv)
{
	switch (id) {
	case COMMON_DIR:
		cli->dir = optarg;
		return cli_setting(cli, "DIR", optarg) ? CLI_USAGE : -1;
	case COMMON_NAME:
		cli->name = optarg;
		return cli_setting(cli, "NAME", optarg) ? CLI_USAGE : -1;
	case COMMON_JSON:
		cli->json = 1;
		return -1;
	case 'h':
	case COMMON_HELP:
		help(cli->verb);
		return CLI_DONE;
	case ':':
		return cli_usage(cli, "option '%s' needs an argument", argv[optind - 1]);
	case '?':
		if (optopt > ' ' && optopt < 127)
			return cli_usage(cli, "there is no option '-%c'", optopt);
		return cli_usage(cli, "there is no such option, or it takes no argument, or it is ambiguous: '%s'", argv[optind - 1]);
	default:
		return own_option(cli, &options_of(cli->verb)[id - OWN]);
	}
}

/* The rows that getopt wants: the common ones, then the verb's. */
static void fill_rows(const struct cli_verb *verb, struct option *rows)
{
	size_t count = COMMON;
	memcpy(rows, common, sizeof common);
	for (const struct cli_option *option = options_of(verb); option->name && count < OPTIONS_MAX; option++, count++)
		rows[count] = (struct option){ option->name, takes_argument(option), NULL, OWN + (int)(count - COMMON) };
	rows[count] = (struct option){ NULL, 0, NULL, 0 };
}

static int check_count(struct cli *cli)
{
	const struct cli_verb *verb = cli->verb;
	if (cli->arg_count < verb->args_min)
		return cli_usage(cli, "too few arguments: larder %s %s", verb->name, verb->synopsis);
	if (verb->args_max >= 0 && cli->arg_count > verb->args_max)
		return cli_usage(cli, "too many arguments: larder %s %s", verb->name, verb->synopsis);
	return -1;
}

int cli_begin(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	struct option rows[OPTIONS_MAX + 1];
	int id, stop = -1;
	*cli = (struct cli){ .verb = verb, .options = LARDER_OPTIONS_INIT };
	cli->options.settings = (const char *const *)cli->settings;
	fill_rows(verb, rows);
	opterr = 0;
	optind = 0;
	while (stop < 0 && (id = getopt_long(argc, argv, ":h", rows, NULL)) != -1)
		stop = take(cli, id, argv);
	if (stop < 0) {
		cli->args = argv + optind;
		cli->arg_count = argc - optind;
		stop = check_count(cli);
	}
	return stop < 0 ? -1 : cli_end(cli, stop);
}
