/* SPDX-License-Identifier: MIT */
/*
 * `larder load`: the entries of a dump, back into a cache with the same secret. A line that cannot be read is told and passed over;
 * nothing of it is stored.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cli.h"
#include "human.h"
#include "lines.h"
#include "progress.h"
#include "record.h"
#include "verbs.h"

/* Bad lines that are told one by one; the rest are only counted. */
#define TOLD_MAX 10
/* An entry that finds the cache busy is tried again so often, a hundredth of a second apart. */
#define TRIES 100
/* Beside its value a line has a name of at most 4,096 bytes, and numbers; each byte of a text takes at most six. */
#define LINE_REST_B ((size_t)64 << 10)
#define ESCAPED 6

static const char text[] =
	"Store the entries of 'larder dump --format jsonl --values hex', from FILE or from\n"
	"stdin. The cache must have the secret that the dump's had: entries are stored\n"
	"under their keys, and names are not needed. An entry ends when it would have\n"
	"ended, by the wall clock; with --remaining it gets the time that it had left when\n"
	"it was dumped. Entries whose time is over are passed over. Where there is no\n"
	"cache one is made, which needs the secret.\n"
	"Exit code: 0 done, 2 lines that could not be read, 3 the cache went away.\n";

struct load {
	struct cli *cli;
	larder_inspector *inspector;
	FILE *in;
	const char *file;
	int remaining, progress_wanted;
	uint64_t lines, bytes, bytes_total;
	uint64_t stored, over, dead, bad;
	struct progress progress;
};

static void tell_bad(struct load *load, const char *problem)
{
	load->bad++;
	progress_hide(&load->progress);
	if (load->bad <= TOLD_MAX)
		cli_error("%s:%" PRIu64 ": %s", load->file, load->lines, problem);
	else if (load->bad == TOLD_MAX + 1)
		cli_error("%s: more bad lines, which are only counted", load->file);
}

/* With the wall clock: what is left of it now, not what was left when it was dumped. */
static void set_times(const struct load *load, struct larder_entry *entry)
{
	int64_t now_ms = human_now_ms();
	if (load->remaining)
		return;
	if (entry->expires_ms)
		entry->fresh_ms = entry->expires_ms - now_ms;
	/* An older dump has no end of the stale window: nothing was served after it. */
	if (entry->stale_end_ms || entry->dead_ms)
		entry->left_ms = (entry->stale_end_ms ? entry->stale_end_ms : entry->dead_ms) - now_ms;
	if (entry->dead_ms)
		entry->error_left_ms = entry->dead_ms - now_ms;
}

/* A busy cache is waited for, a second; one that is switched off is not. */
static int is_worth_waiting(int result)
{
	return result == LARDER_UNAVAILABLE && larder_reason() != LARDER_REASON_OFF && !cli_interrupted;
}

static int restore(struct load *load, const struct larder_entry *entry)
{
	const struct timespec pause = { 0, 10000000 };
	int result = larder_inspect_restore(load->inspector, entry);
	for (int i = 1; i < TRIES && is_worth_waiting(result); i++) {
		nanosleep(&pause, NULL);
		result = larder_inspect_restore(load->inspector, entry);
	}
	return result;
}

/* Returns CLI_DONE to go on, or an exit code. */
static int store(struct load *load, struct record *record)
{
	/* Expired, cleared and damaged ones are in a dump only to be looked at. */
	if (!record_is_alive(record->state)) {
		load->dead++;
		return CLI_DONE;
	}
	set_times(load, &record->entry);
	int result = restore(load, &record->entry);
	if (result == LARDER_OK) {
		load->stored++;
	} else if (result == LARDER_MISS) {
		load->over++;
	} else if (result == LARDER_E_TOO_LARGE || (result < 0 && larder_classify(result) == LARDER_CLASS_USAGE)) {
		tell_bad(load, larder_strerror(result));
	} else {
		progress_hide(&load->progress);
		return cli_failed("load", result);
	}
	return CLI_DONE;
}

static int take_line(struct load *load, const char *line, size_t len)
{
	struct record record;
	json_error_t error;
	json_t *object;
	int code = CLI_DONE;
	if (strspn(line, " \t\r\n") == len)
		return CLI_DONE;
	object = json_loadb(line, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
	if (!object) {
		tell_bad(load, "it is not JSON: load takes the lines of 'larder dump --format jsonl --values hex'");
		return CLI_DONE;
	}
	if (record_unpack(object, &record))
		tell_bad(load, record.problem);
	else
		code = store(load, &record);
	record_release(&record);
	json_decref(object);
	return code;
}

static void step(struct load *load)
{
	uint64_t total = 0;
	if (load->bytes_total && load->bytes)
		total = (uint64_t)((double)load->lines * (double)load->bytes_total / (double)load->bytes);
	progress_step(&load->progress, load->lines, total);
}

/* No value is larger than a quarter of its store. */
static int longest(const struct load *load, size_t *ret_most)
{
	struct larder_summary summary = { .size = sizeof(summary) };
	int result = larder_inspect_summary(load->inspector, &summary);
	if (result)
		return cli_failed("load", result);
	*ret_most = (size_t)summary.size_bytes / 4 * ESCAPED + LINE_REST_B;
	return CLI_DONE;
}

static int take_long_line(struct load *load)
{
	tell_bad(load, "it is longer than that of any value that the store could take");
	return CLI_DONE;
}

static int read_all(struct load *load)
{
	struct lines lines = { .file = load->in };
	enum lines_result result = LINES_LINE;
	const char *line = NULL;
	size_t len = 0;
	int code = longest(load, &lines.most);
	while (code == CLI_DONE && !cli_interrupted) {
		result = lines_next(&lines, &line, &len);
		if (result != LINES_LINE && result != LINES_LONG)
			break;
		load->lines++;
		load->bytes += len;
		code = result == LINES_LINE ? take_line(load, line, len) : take_long_line(load);
		step(load);
	}
	if (result == LINES_FAILED || result == LINES_ENDLESS)
		code = lines_error(load->file, load->lines, result);
	lines_free(&lines);
	return code;
}

static int say(const struct load *load, int code)
{
	if (load->cli->json)
		return cli_print_json(json_pack("{sI sI sI sI sI sb}", "lines", (json_int_t)load->lines, "stored", (json_int_t)load->stored,
		                                "over", (json_int_t)load->over, "dead", (json_int_t)load->dead, "bad",
		                                (json_int_t)load->bad, "complete", code == CLI_DONE));
	printf("%s%" PRIu64 " stored, %" PRIu64 " over already, %" PRIu64 " dead when dumped, %" PRIu64 " bad lines\n",
	       code == CLI_DONE ? "" : "not complete: ", load->stored, load->over, load->dead, load->bad);
	return CLI_DONE;
}

static int run(struct load *load)
{
	struct stat status;
	if (fstat(fileno(load->in), &status) == 0 && S_ISREG(status.st_mode))
		load->bytes_total = (uint64_t)status.st_size;
	int code = cli_inspect_or_make(load->cli, &load->inspector);
	if (code)
		return code;
	cli_catch_signals();
	progress_start(&load->progress, "load", "entries", load->progress_wanted ? PROGRESS_ON : PROGRESS_AUTO);
	code = read_all(load);
	progress_end(&load->progress);
	larder_inspect_close(load->inspector);
	if (cli_interrupted) {
		cli_error("interrupted");
		code = CLI_INTERRUPTED;
	}
	int said = say(load, code);
	if (code || said)
		return code ? code : said;
	return load->bad ? CLI_USAGE : CLI_DONE;
}

static int open_input(struct load *load)
{
	load->file = load->cli->arg_count ? load->cli->args[0] : "-";
	load->in = stdin;
	if (strcmp(load->file, "-") == 0) {
		load->file = "standard input";
		return CLI_DONE;
	}
	load->in = fopen(load->file, "re");
	if (load->in)
		return CLI_DONE;
	cli_error("%s: %s", load->file, strerror(errno));
	return CLI_USAGE;
}

int verb_load(int argc, char **argv)
{
	struct cli cli;
	struct load load = { .cli = &cli };
	const struct cli_option options[] = {
		{ "remaining", CLI_FLAG, &load.remaining, NULL, "give entries the time that they had left when dumped", NULL },
		{ "progress", CLI_FLAG, &load.progress_wanted, NULL, "tell progress on stderr, terminal or not", NULL },
		CLI_OPTIONS_END
	};
	const struct cli_verb verb = { "load", "[options] [FILE]", text, options, 0, 1 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	if (stop >= 0)
		return stop;
	int code = open_input(&load);
	if (code == CLI_DONE)
		code = run(&load);
	if (load.in && load.in != stdin)
		fclose(load.in);
	return cli_end(&cli, code);
}
