/* SPDX-License-Identifier: MIT */
/*
 * How a verb opens a cache, speaks and is interrupted (cli.h). Errors go to stderr and nowhere else; what comes from outside is made
 * safe for a terminal before it is printed.
 */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "human.h"

volatile sig_atomic_t cli_interrupted;

static void on_signal(int number)
{
	(void)number;
	cli_interrupted = 1;
}

void cli_catch_signals(void)
{
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_handler = on_signal;
	action.sa_flags = (int)SA_RESETHAND;
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

void cli_be_nice(void)
{
	/* Going on at the old priority is better than not going on. */
	(void)!setpriority(PRIO_PROCESS, 0, 19);
}

static void error_line(const char *line, size_t len)
{
	char *safe = human_safe(line, len, 0, HUMAN_KEEP_BACKSLASH);
	if (safe)
		fprintf(stderr, "larder: %s\n", safe);
	free(safe);
}

static void error_lines(const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");
		if (len)
			error_line(text, len);
		text += len + (text[len] == '\n');
	}
}

static void __attribute__((format(printf, 1, 0))) error_v(const char *format, va_list arguments)
{
	char *text;
	if (vasprintf(&text, format, arguments) < 0) {
		fputs("larder: out of memory\n", stderr);
		return;
	}
	error_lines(text);
	free(text);
}

void cli_error(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	error_v(format, arguments);
	va_end(arguments);
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	error_v(format, arguments);
	va_end(arguments);
	fprintf(stderr, "Try 'larder %s --help'.\n", cli->verb->name);
	return CLI_USAGE;
}

int cli_exit_of(int result)
{
	switch (result) {
	case LARDER_OK:
	case LARDER_STALE:
		return CLI_DONE;
	case LARDER_MISS:
	case LARDER_ABSENT:
	case LARDER_EXISTS:
		return CLI_MISS;
	case LARDER_E_CORRUPT:
		return CLI_DAMAGE;
	case LARDER_E_TOO_LARGE:
		return CLI_USAGE;
	default:
		break;
	}
	switch (result < 0 ? larder_classify(result) : LARDER_CLASS_NONE) {
	case LARDER_CLASS_USAGE:
	case LARDER_CLASS_REFUSED:
		return CLI_USAGE;
	default:
		return CLI_UNAVAILABLE;
	}
}

int cli_failed(const char *what, int result)
{
	if (result == LARDER_UNAVAILABLE)
		cli_error("%s: the cache is not available: %s", what, larder_reason_text(larder_reason()));
	else if (result == LARDER_E_L2)
		cli_error("%s: %s: %s", what, larder_strerror(result), larder_reason_text(larder_reason()));
	else
		cli_error("%s: %s (%s)", what, larder_strerror(result), larder_result_name(result));
	return cli_exit_of(result);
}

int cli_setting(struct cli *cli, const char *name, const char *value)
{
	char *text = NULL;
	if (cli->setting_count == CLI_SETTINGS_MAX || asprintf(&text, "%s=%s", name, value) < 0) {
		cli_error("too many options, or out of memory");
		return -1;
	}
	cli->settings[cli->setting_count++] = text;
	return 0;
}

/* Warnings of the library, such as a store that was made anew; what it returns as an error is told by cli_failed(). */
static void log_line(void *ctx, enum larder_log_level level, const char *line)
{
	(void)ctx;
	if (level <= LARDER_LOG_WARN)
		cli_error("%s", line);
}

static void listen_to_log(struct cli *cli)
{
	if (!cli->options.log)
		cli->options.log = log_line;
}

static int open_failed(int result, char *why)
{
	int code = cli_exit_of(result);
	if (why && *why)
		error_lines(why);
	else
		code = cli_failed("open", result);
	larder_free(why);
	return code;
}

int cli_open(struct cli *cli, larder **ret_cache)
{
	char *why = NULL;
	listen_to_log(cli);
	int result = larder_open(&cli->options, ret_cache, &why);
	return result ? open_failed(result, why) : CLI_DONE;
}

int cli_inspect(struct cli *cli, larder_inspector **ret_inspector)
{
	char *why = NULL;
	listen_to_log(cli);
	int result = larder_inspect_open(&cli->options, ret_inspector, &why);
	if (result == 0)
		return CLI_DONE;
	if (result == LARDER_MISS) {
		if (why && *why)
			error_lines(why);
		else
			cli_error("there is no cache in %s", cli->dir ? cli->dir : "that directory; 'larder config' shows where it is looked for");
		larder_free(why);
		return CLI_UNAVAILABLE;
	}
	return open_failed(result, why);
}

int cli_inspect_or_make(struct cli *cli, larder_inspector **ret_inspector)
{
	char *why = NULL;
	larder *cache = NULL;
	listen_to_log(cli);
	int result = larder_inspect_open(&cli->options, ret_inspector, &why);
	if (result == 0)
		return CLI_DONE;
	if (result != LARDER_MISS)
		return open_failed(result, why);
	larder_free(why);
	int code = cli_open(cli, &cache);
	if (code)
		return code;
	larder_close(cache);
	return cli_inspect(cli, ret_inspector);
}

int cli_output_gone(void)
{
	return ferror(stdout) != 0;
}

int cli_print_json(json_t *value)
{
	size_t flags = isatty(STDOUT_FILENO) ? JSON_INDENT(2) | JSON_ENSURE_ASCII : JSON_COMPACT;
	if (!value) {
		cli_error("out of memory");
		return CLI_UNAVAILABLE;
	}
	/* A failed write leaves its mark on stdout, which cli_end() looks at. */
	(void)!json_dumpf(value, stdout, flags | JSON_ENCODE_ANY);
	putchar('\n');
	json_decref(value);
	return CLI_DONE;
}

int cli_colours(FILE *out)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");
	if (no_color && *no_color)
		return 0;
	if (term && strcmp(term, "dumb") == 0)
		return 0;
	return isatty(fileno(out));
}

static int is_pipe(int fd)
{
	struct stat status;
	return fstat(fd, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
}

/* The errno of a write that failed, now or before; 0 for a closed pipe: its reader has what it wanted. */
static int close_output(void)
{
	int failed = ferror(stdout);
	errno = 0;
	if (fflush(stdout) == 0 && !failed)
		return 0;
	if (is_pipe(STDOUT_FILENO))
		return 0;
	return errno ? errno : EIO;
}

int cli_end(struct cli *cli, int exit_code)
{
	while (cli->setting_count)
		free(cli->settings[--cli->setting_count]);
	return cli_finish(exit_code);
}

int cli_finish(int exit_code)
{
	int error = close_output();
	if (error) {
		cli_error("standard output: %s", strerror(error));
		return CLI_USAGE;
	}
	return exit_code;
}
