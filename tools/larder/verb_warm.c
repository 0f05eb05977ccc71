/* SPDX-License-Identifier: MIT */
/*
 * `larder warm`: names, asked for as a worker would ask, so that what L2 has is in the store before the first request. Many at a time, through
 * larder_mget(). It must never hold more than a batch of values, nor press on an L2 that refuses: a batch that finds nobody waits and tries again,
 * and when that does not help it stops.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "codec.h"
#include "cli.h"
#include "lines.h"
#include "progress.h"
#include "record.h"
#include "target.h"
#include "verbs.h"

/* Names of one call, unless --batch says otherwise. */
#define BATCH 64
#define BATCH_MAX 1024
/* Longest time of one call, unless --wait says otherwise. */
#define WAIT_MS 10000
/* Bad lines that are told one by one; the rest are only counted. */
#define TOLD_MAX 10
/* What failed in a batch is asked for again, after a pause, until so many times in a row have brought nothing; after so many batches in a row in which
 * everything failed there is no use. */
#define TRIES 4
#define PAUSE_MS 100
#define PAUSE_MAX_MS 1000
#define HOPELESS 3
/* Different results that are counted apart. */
#define OUTCOMES 16
/* Longest line of --jsonl: that of a dump with a value of 8 MiB, of which each byte is escaped. */
#define JSON_LINE_MAX ((size_t)64 << 20)

static const char text[] =
	"Fetch the values of the names in FILE (or, as -, stdin), one a line, from L2 into\n"
	"the cache, as a worker's gets would: many at a time, within the limits, through the\n"
	"breaker. What is there already is left alone. With --jsonl the lines are those of\n"
	"'larder dump --format jsonl', of this host or another; of each the name is used,\n"
	"and lines of another tenant or space, or without a name, are passed over.\n"
	"Needs the secret of the cache (LARDER_SECRET_FILE), and LARDER_L2_URL.\n"
	"Exit code: 0 done, 2 lines that could not be read, 3 names that could not be\n"
	"asked for. A name that L2 does not have is no failure.\n";

struct warm {
	struct cli *cli;
	struct target target;
	FILE *in;
	const char *file;
	int hex, jsonl, progress_wanted;
	uint64_t batch, rate;
	int64_t wait_ms;
	struct larder_item *items;
	size_t count;
	uint64_t lines, bytes, bytes_total;
	uint64_t names, here, stale, fetched, missing, failed, elsewhere, bad;
	struct {
		int result;
		uint64_t count;
	} outcomes[OUTCOMES];
	unsigned hopeless;
	struct progress progress;
};

static void pause_ms(int64_t ms)
{
	const struct timespec pause = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
	if (ms > 0 && !cli_interrupted)
		nanosleep(&pause, NULL);
}

static void tell_bad(struct warm *warm, const char *problem)
{
	warm->bad++;
	progress_hide(&warm->progress);
	if (warm->bad <= TOLD_MAX)
		cli_error("%s:%" PRIu64 ": %s", warm->file, warm->lines, problem);
	else if (warm->bad == TOLD_MAX + 1)
		cli_error("%s: more bad lines, which are only counted", warm->file);
}

/* ---- a batch ---- */

static int is_failure(int result)
{
	return result < 0 || result == LARDER_UNAVAILABLE;
}

/* May the same call do later? */
static int is_worth_waiting(int result)
{
	return result == LARDER_UNAVAILABLE || result == LARDER_E_L2 || larder_classify(result) == LARDER_CLASS_AGAIN;
}

static void count_failure(struct warm *warm, int result)
{
	size_t i = 0;
	warm->failed++;
	while (i < OUTCOMES - 1 && warm->outcomes[i].count && warm->outcomes[i].result != result)
		i++;
	warm->outcomes[i].result = result;
	warm->outcomes[i].count++;
}

static void count_item(struct warm *warm, const struct larder_item *item)
{
	int l1 = item->value.source == LARDER_FROM_L1;
	if (is_failure(item->result))
		count_failure(warm, item->result);
	else if (item->result == LARDER_MISS)
		warm->missing++;
	else if (item->result == LARDER_STALE && l1)
		warm->stale++;
	else if (l1)
		warm->here++;
	else
		warm->fetched++;
}

/* Ask for all items; then again for those that failed, which are moved to the front. Returns how many still fail. */
static size_t ask(struct warm *warm)
{
	size_t left = warm->count;
	for (int tries = 0; tries < TRIES && left && !cli_interrupted; tries++) {
		size_t again = 0;
		if (tries) {
			int64_t wait_ms = larder_retry_after();
			pause_ms(wait_ms < PAUSE_MS ? PAUSE_MS : wait_ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : wait_ms);
		}
		int result = larder_mget(warm->target.tenant, warm->items, left, &warm->target.call);
		for (size_t k = 0; k < left; k++) {
			struct larder_item item = warm->items[k];
			if (result)
				item.result = result;
			if (!is_worth_waiting(item.result))
				count_item(warm, &item);
			if (!is_failure(item.result))
				larder_value_free(&item.value);
			warm->items[k] = warm->items[again];
			warm->items[again] = item;
			again += is_worth_waiting(item.result) != 0;
		}
		tries = again < left ? 0 : tries;
		left = again;
	}
	return left;
}

/* Returns CLI_DONE to go on, or an exit code. */
static int ask_batch(struct warm *warm)
{
	size_t all = warm->count, left = ask(warm);
	for (size_t i = 0; i < all; i++) {
		if (i < left && (!cli_interrupted || warm->items[i].result))
			count_item(warm, &warm->items[i]);
		free((void *)(uintptr_t)warm->items[i].name);
	}
	warm->count = 0;
	if (all && warm->items[0].result == LARDER_E_SPACE_NAME)
		return cli_failed(warm->target.space, LARDER_E_SPACE_NAME);
	warm->hopeless = all && left == all ? warm->hopeless + 1 : 0;
	if (warm->hopeless < HOPELESS || cli_interrupted)
		return CLI_DONE;
	progress_hide(&warm->progress);
	cli_error("nothing could be asked for, %d times in a row; the last: %s", HOPELESS, larder_strerror(warm->outcomes[0].result));
	return CLI_UNAVAILABLE;
}

static void step(struct warm *warm)
{
	uint64_t total = 0;
	if (warm->bytes_total && warm->bytes)
		total = (uint64_t)((double)warm->lines * (double)warm->bytes_total / (double)warm->bytes);
	progress_note(&warm->progress, "%" PRIu64 " fetched, %" PRIu64 " failed", warm->fetched, warm->failed);
	progress_step(&warm->progress, warm->lines, total);
}

/* No faster than --rate on the whole. */
static void keep_rate(const struct warm *warm)
{
	if (warm->rate)
		pause_ms((int64_t)(((double)warm->names / (double)warm->rate - progress_seconds(&warm->progress)) * 1000));
}

/* ---- lines ---- */

/* data is taken. */
static int add(struct warm *warm, unsigned char *data, size_t len)
{
	int code = CLI_DONE;
	warm->items[warm->count++] = (struct larder_item){ .space = warm->target.space, .name = data, .name_len = len };
	warm->names++;
	if (warm->count == warm->batch) {
		code = ask_batch(warm);
		step(warm);
		keep_rate(warm);
	}
	return code;
}

static int is_elsewhere(const json_t *object, const char *field, const char *wanted)
{
	const char *there = json_string_value(json_object_get(object, field));
	return there && strcmp(there, wanted) != 0;
}

/* NULL when the line is passed over or bad. */
static unsigned char *name_of_json(struct warm *warm, const char *line, size_t len, size_t *ret_len)
{
	json_error_t error;
	json_t *object = json_loadb(line, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
	unsigned char *name = NULL;
	if (!json_is_object(object))
		tell_bad(warm, "it is no JSON object: --jsonl takes the lines of 'larder dump --format jsonl'");
	else if (is_elsewhere(object, "tenant", warm->cli->args[0]) || is_elsewhere(object, "space", warm->cli->args[1]))
		warm->elsewhere++;
	else if (record_take_name(object, &name, ret_len))
		tell_bad(warm, "its name cannot be read");
	else if (!name)
		warm->elsewhere++;
	json_decref(object);
	return name;
}

static unsigned char *name_of_text(struct warm *warm, const char *line, size_t len, size_t *ret_len)
{
	unsigned char *name = warm->hex ? codec_unhex(line, len, ret_len) : (unsigned char *)strndup(line, len);
	if (!warm->hex)
		*ret_len = name ? strlen((char *)name) : 0;
	if (!name || *ret_len != (warm->hex ? len / 2 : len))
		tell_bad(warm, warm->hex ? "it is not hex" : "it has a NUL in it: give such names in hex, or as JSON lines");
	else if (*ret_len <= LARDER_NAME_MAX)
		return name;
	else
		tell_bad(warm, larder_strerror(LARDER_E_NAME));
	free(name);
	return NULL;
}

static int take_line(struct warm *warm, const char *line, size_t len)
{
	size_t name_len = 0;
	if (len && line[len - 1] == '\n')
		len--;
	if (len == 0)
		return CLI_DONE;
	unsigned char *name = warm->jsonl ? name_of_json(warm, line, len, &name_len) : name_of_text(warm, line, len, &name_len);
	return name ? add(warm, name, name_len) : CLI_DONE;
}

static int take_long_line(struct warm *warm)
{
	tell_bad(warm, warm->jsonl ? "it is longer than 64 MiB: dump without values" : larder_strerror(LARDER_E_NAME));
	return CLI_DONE;
}

static size_t longest(const struct warm *warm)
{
	return warm->jsonl ? JSON_LINE_MAX : warm->hex ? 2 * LARDER_NAME_MAX : LARDER_NAME_MAX;
}

static int read_all(struct warm *warm)
{
	struct lines lines = { .file = warm->in, .most = longest(warm) };
	enum lines_result result = LINES_LINE;
	const char *line = NULL;
	size_t len = 0;
	int code = CLI_DONE;
	while (code == CLI_DONE && !cli_interrupted) {
		result = lines_next(&lines, &line, &len);
		if (result != LINES_LINE && result != LINES_LONG)
			break;
		warm->lines++;
		warm->bytes += len;
		code = result == LINES_LINE ? take_line(warm, line, len) : take_long_line(warm);
	}
	if (result == LINES_FAILED || result == LINES_ENDLESS)
		code = lines_error(warm->file, warm->lines, result);
	if (code == CLI_DONE && !cli_interrupted)
		code = ask_batch(warm);
	while (warm->count)
		free((void *)(uintptr_t)warm->items[--warm->count].name);
	lines_free(&lines);
	return code;
}

/* ---- the end ---- */

static json_t *outcomes_of(const struct warm *warm)
{
	json_t *object = json_object();
	for (size_t i = 0; i < OUTCOMES && warm->outcomes[i].count; i++)
		json_object_set_new(object, larder_result_name(warm->outcomes[i].result), json_integer((json_int_t)warm->outcomes[i].count));
	return object;
}

static int say(const struct warm *warm, int code)
{
	if (warm->cli->json)
		return cli_print_json(json_pack("{sI sI sI sI sI sI sI sI sI so sb}", "lines", (json_int_t)warm->lines, "names",
		                                (json_int_t)warm->names, "here", (json_int_t)warm->here, "stale", (json_int_t)warm->stale,
		                                "fetched", (json_int_t)warm->fetched, "missing", (json_int_t)warm->missing, "failed",
		                                (json_int_t)warm->failed, "elsewhere", (json_int_t)warm->elsewhere, "bad",
		                                (json_int_t)warm->bad, "outcomes", outcomes_of(warm), "complete", code == CLI_DONE));
	printf("%s%" PRIu64 " fetched, %" PRIu64 " here already, %" PRIu64 " here and stale, %" PRIu64 " not in L2, %" PRIu64
	       " failed, %" PRIu64 " passed over, %" PRIu64 " bad lines\n",
	       code == CLI_DONE ? "" : "not complete: ", warm->fetched, warm->here, warm->stale, warm->missing, warm->failed,
	       warm->elsewhere, warm->bad);
	for (size_t i = 0; i < OUTCOMES && warm->outcomes[i].count; i++)
		printf("  %-20s %8" PRIu64 "  %s\n", larder_result_name(warm->outcomes[i].result), warm->outcomes[i].count,
		       larder_strerror(warm->outcomes[i].result));
	return CLI_DONE;
}

static int run(struct warm *warm)
{
	struct stat status;
	if (fstat(fileno(warm->in), &status) == 0 && S_ISREG(status.st_mode))
		warm->bytes_total = (uint64_t)status.st_size;
	/* Without a thread of its own it leaves the background work to those who stay. */
	int code = cli_setting(warm->cli, "THREADS", "0") ? CLI_UNAVAILABLE : target_open(warm->cli, warm->wait_ms, &warm->target);
	if (code)
		return code;
	cli_catch_signals();
	progress_start(&warm->progress, "warm", "names", warm->progress_wanted ? PROGRESS_ON : PROGRESS_AUTO);
	code = read_all(warm);
	progress_end(&warm->progress);
	if (cli_interrupted) {
		cli_error("interrupted");
		code = CLI_INTERRUPTED;
	}
	int said = say(warm, code);
	if (code || said)
		return code ? code : said;
	return warm->bad ? CLI_USAGE : warm->failed ? CLI_UNAVAILABLE : CLI_DONE;
}

static int check(struct warm *warm)
{
	if (!warm->file)
		return cli_usage(warm->cli, "--names FILE is missing");
	if (warm->hex && warm->jsonl)
		return cli_usage(warm->cli, "--hex and --jsonl contradict each other");
	if (warm->batch < 1 || warm->batch > BATCH_MAX)
		return cli_usage(warm->cli, "--batch is 1..%d", BATCH_MAX);
	/* So that it does not come in jerks. */
	if (warm->rate && warm->rate < warm->batch)
		warm->batch = warm->rate;
	if (target_has_l2(warm->cli))
		return CLI_DONE;
	cli_error("LARDER_L2_URL is not set: there is nobody to fetch from");
	return CLI_USAGE;
}

static int open_input(struct warm *warm)
{
	warm->in = stdin;
	if (strcmp(warm->file, "-") == 0)
		warm->file = "standard input";
	else
		warm->in = fopen(warm->file, "re");
	warm->items = calloc(warm->batch, sizeof *warm->items);
	if (warm->in && warm->items)
		return CLI_DONE;
	cli_error("%s: %s", warm->file, strerror(errno));
	return CLI_USAGE;
}

int verb_warm(int argc, char **argv)
{
	struct cli cli;
	struct warm warm = { .cli = &cli, .batch = BATCH, .wait_ms = WAIT_MS };
	const struct cli_option options[] = {
		{ "names", CLI_TEXT, &warm.file, "FILE", "the names, one a line; - is stdin", NULL },
		{ "jsonl", CLI_FLAG, &warm.jsonl, NULL, "lines are JSON objects with a name, as dump writes", NULL },
		{ "hex", CLI_FLAG, &warm.hex, NULL, "names are in hex", NULL },
		{ "batch", CLI_NUMBER, &warm.batch, "N", "names to ask for at a time (64)", NULL },
		{ "rate", CLI_NUMBER, &warm.rate, "N", "at most so many names a second", NULL },
		{ "wait", CLI_TIME, &warm.wait_ms, "TIME", "longest time that a batch may take (10s)", NULL },
		{ "progress", CLI_FLAG, &warm.progress_wanted, NULL, "tell progress on stderr, terminal or not", NULL },
		CLI_OPTIONS_END
	};
	const struct cli_verb verb = { "warm", "[options] --names FILE TENANT SPACE", text, options, 2, 2 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	if (stop >= 0)
		return stop;
	int code = check(&warm);
	if (code == CLI_DONE)
		code = open_input(&warm);
	if (code == CLI_DONE)
		code = run(&warm);
	target_close(&warm.target);
	free(warm.items);
	if (warm.in && warm.in != stdin)
		fclose(warm.in);
	return cli_end(&cli, code);
}
