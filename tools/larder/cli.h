/* SPDX-License-Identifier: MIT */
/**
 * What every verb of larder(1) shares: its options, its exit codes, how it opens a cache, speaks, and is interrupted.
 *
 * Calling sequence of a verb:
 *
 *     struct cli cli;
 *     int64_t ttl_ms = 0;
 *     const struct cli_option options[] = { { "ttl", CLI_TIME, &ttl_ms, "TIME", "time to live", 0 }, CLI_OPTIONS_END };
 *     const struct cli_verb verb = { "set", "[options] TENANT SPACE NAME [VALUE]", "Store a value.", options, 3, 4 };
 *     int stop = cli_begin(&cli, &verb, argc, argv);
 *     if (stop >= 0)
 *             return stop;                       --help was given, or the command line is wrong
 *     code = cli_open(&cli, &cache);             says on stderr what is wrong
 *     ...
 *     return cli_end(&cli, code);                flushes stdout, frees
 *
 * The tool is single-threaded as far as these helpers go. Nothing here is called after fork() but cli_error().
 */
#ifndef LARDER_CLI_H
#define LARDER_CLI_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include <larder/inspect.h>
#include <larder/larder.h>

/** Exit codes of larder(1). */
enum cli_exit {
	CLI_DONE = 0,             /**< hit or done */
	CLI_MISS = 1,
	CLI_USAGE = 2,            /**< command line, settings, or a file of the caller's */
	CLI_UNAVAILABLE = 3,      /**< the cache is not there or cannot be used now */
	CLI_DAMAGE = 4,           /**< damage was found */
	CLI_INTERRUPTED = 130     /**< SIGINT or SIGTERM, after a clean stop */
};

/** What an option's target is. Written only when the option is given. */
enum cli_type {
	CLI_FLAG,                 /**< int: set to 1; takes no argument */
	CLI_NO_FLAG,              /**< int: set to 0; takes no argument */
	CLI_TEXT,                 /**< const char *: points into argv */
	CLI_NUMBER,               /**< uint64_t: decimal, or hex with 0x */
	CLI_SIZE,                 /**< uint64_t: bytes; K M G T are powers of 1,024 */
	CLI_TIME,                 /**< int64_t: milliseconds; ms s m h d; no unit = milliseconds, as in settings */
	CLI_CHOICE,               /**< int: index of the word in choices, "table|jsonl|csv" */
	CLI_CHOICES               /**< uint32_t: comma-separated words of choices, a bit each by index */
};

struct cli_option {
	const char *name;         /**< without "--" */
	enum cli_type type;
	void *target;
	const char *argument;     /**< what --help calls the argument, "SIZE"; NULL for flags and to show choices */
	const char *text;         /**< one line for --help */
	const char *choices;      /**< CLI_CHOICE, CLI_CHOICES; else NULL */
};
#define CLI_OPTIONS_END { NULL, CLI_FLAG, NULL, NULL, NULL, NULL }

/** What --help shows of a verb. options ends with CLI_OPTIONS_END, or NULL; the common ones are added to it. */
struct cli_verb {
	const char *name;
	const char *synopsis;     /**< after "larder NAME " */
	const char *text;         /**< paragraphs, lines of at most 78 columns, ending in a newline */
	const struct cli_option *options;
	int args_min, args_max;   /**< args_max -1 = any number */
};

#define CLI_SETTINGS_MAX 32

/** A verb's run. args are what is left of the command line, args[arg_count] is NULL. */
struct cli {
	const struct cli_verb *verb;
	int json;                 /**< --json was given */
	const char *dir;          /**< --dir or NULL */
	const char *name;         /**< --name or NULL */
	char **args;
	int arg_count;
	char *settings[CLI_SETTINGS_MAX + 1];
	size_t setting_count;
	struct larder_options options; /**< settings point to the above: hand it to larder_open() and to others */
};

/** Parse the command line. Returns -1 to go on; else the exit code to end with (0 after --help), everything is said and freed. */
int cli_begin(struct cli *cli, const struct cli_verb *verb, int argc, char **argv);

/** Flush stdout and free. Returns exit_code, or CLI_USAGE when stdout could not be written; a closed pipe is no error. */
int cli_end(struct cli *cli, int exit_code);
/** As cli_end(), where there is no verb. */
int cli_finish(int exit_code);

/** Add a setting for the opening to come: cli_setting(cli, "SIZE", "256M"). Returns 0, or -1 with the error said. */
int cli_setting(struct cli *cli, const char *name, const char *value);

/** Open the cache, or attach to it. Returns CLI_DONE, or an exit code with the error said. */
int cli_open(struct cli *cli, larder **ret_cache);
int cli_inspect(struct cli *cli, larder_inspector **ret_inspector);
/** As cli_inspect(); where there is no cache one is made, for which the secret is needed. */
int cli_inspect_or_make(struct cli *cli, larder_inspector **ret_inspector);

/** "larder: ..." on stderr; a text of several lines is printed line by line, control characters escaped. No newline at its end needed. */
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** As cli_error(), then where to find help. Returns CLI_USAGE. Does not free: end with cli_end(). */
int cli_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Say what a call of larder returned, "larder: WHAT: text", with the reason of an unavailable cache or L2. Returns its exit code. */
int cli_failed(const char *what, int result);
/** The exit code of a result of larder. */
int cli_exit_of(int result);

/** Not 0 once SIGINT or SIGTERM has come: stop at the next step. A second one ends the process at once. */
extern volatile sig_atomic_t cli_interrupted;
/** Let SIGINT and SIGTERM set cli_interrupted; system calls are not restarted. */
void cli_catch_signals(void);
/** Run at nice 19, so that the workers go first. */
void cli_be_nice(void);

/** Has stdout failed, by a closed pipe or a full disk? Then there is no use going on. */
int cli_output_gone(void);
/** Print a JSON value and a newline on stdout, indented on a terminal, and give its reference up. NULL = out of memory, said. */
int cli_print_json(json_t *value);

/** May out have colours: a terminal, NO_COLOR empty or not set, TERM not dumb. */
int cli_colours(FILE *out);

#endif
