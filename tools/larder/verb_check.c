/* SPDX-License-Identifier: MIT */
/*
 * `larder check`: walk everything and tell each thing that is wrong; with --repair mend it. Runs at nice 19 in short slices.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "codec.h"
#include "progress.h"
#include "table.h"
#include "verbs.h"

static const char text[] =
	"Walk all rows, checksums, chunks and accounts of a cache, dead slots and readers,\n"
	"and report what is wrong. The workers go on meanwhile. With --repair damaged\n"
	"rows and lost chunks are removed and accounts put right.\n"
	"Exit code: 0 all well, 4 damage was found, mended or not.\n";

#define STOP_INTERRUPT 1001

struct check {
	struct cli *cli;
	int repair, progress_wanted;
	uint64_t found, mended;
	struct table *table;
	json_t *findings;
	int lost;
	struct progress progress;
};

static const struct table_column columns[] = {
	{ "FINDING", TABLE_LEFT }, { "TENANT", TABLE_LEFT }, { "KEY", TABLE_LEFT }, { "MENDED", TABLE_LEFT },
};

/* The table is begun by the first finding: a clean run prints one line. */
static void add_row(struct check *check, const struct larder_finding *finding, const char *key)
{
	if (!check->table)
		check->table = table_new(stdout, columns, 4);
	check->lost |= !check->table;
	table_colour(check->table, finding->mended ? TABLE_YELLOW : TABLE_RED);
	table_bytes(check->table, finding->what, strlen(finding->what), 0);
	if (finding->tenant)
		table_bytes(check->table, finding->tenant, strlen(finding->tenant), 0);
	else
		table_cell(check->table, "-");
	table_cell(check->table, key ? key : "-");
	table_cell(check->table, finding->mended ? "yes" : "no");
}

static int on_finding(void *ctx, const struct larder_finding *finding)
{
	struct check *check = ctx;
	char *key = finding->digest ? codec_hex(finding->digest, LARDER_DIGEST_SIZE) : NULL;
	check->found++;
	check->mended += finding->mended ? 1 : 0;
	check->lost |= finding->digest && !key;
	if (check->cli->json) {
		json_t *row = json_pack("{ss ss? ss? sb}", "what", finding->what, "tenant", finding->tenant, "key", key, "mended",
		                        finding->mended);
		check->lost |= json_array_append_new(check->findings, row) != 0;
	} else {
		add_row(check, finding, key);
	}
	free(key);
	return cli_interrupted ? STOP_INTERRUPT : 0;
}

static int on_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct check *check = ctx;
	progress_step(&check->progress, done, total);
	return cli_interrupted ? STOP_INTERRUPT : 0;
}

static int say(struct check *check, int complete)
{
	if (check->cli->json)
		return cli_print_json(json_pack("{sO sI sI sI sb}", "findings", check->findings, "found", (json_int_t)check->found, "mended",
		                                (json_int_t)check->mended, "looked_at", (json_int_t)check->progress.done, "complete",
		                                complete));
	if ((check->table && table_free(check->table)) || check->lost) {
		cli_error("out of memory");
		return CLI_UNAVAILABLE;
	}
	printf("%s%" PRIu64 " rows looked at, %" PRIu64 " findings, %" PRIu64 " mended\n", complete ? "" : "not complete: ",
	       check->progress.done, check->found, check->mended);
	return CLI_DONE;
}

static int finish(struct check *check, int result)
{
	int said = say(check, result == 0);
	if (result == STOP_INTERRUPT) {
		cli_error("interrupted");
		return CLI_INTERRUPTED;
	}
	if (check->found || result == LARDER_E_CORRUPT)
		return CLI_DAMAGE;
	return result ? cli_failed("check", result) : said;
}

static int run(struct check *check)
{
	larder_inspector *inspector = NULL;
	uint64_t found = 0;
	int code = cli_inspect(check->cli, &inspector);
	if (code)
		return code;
	cli_catch_signals();
	cli_be_nice();
	check->findings = json_array();
	progress_start(&check->progress, "check", "rows", check->progress_wanted ? PROGRESS_ON : PROGRESS_AUTO);
	int result = larder_inspect_check(inspector, check->repair, on_finding, on_progress, check, &found);
	progress_end(&check->progress);
	if (result == 0 && found > check->found)
		check->found = found;
	code = finish(check, result);
	json_decref(check->findings);
	larder_inspect_close(inspector);
	return code;
}

int verb_check(int argc, char **argv)
{
	struct cli cli;
	struct check check = { .cli = &cli };
	const struct cli_option options[] = {
		{ "repair", CLI_FLAG, &check.repair, NULL, "mend what can be mended", NULL },
		{ "progress", CLI_FLAG, &check.progress_wanted, NULL, "tell progress on stderr, terminal or not", NULL },
		CLI_OPTIONS_END
	};
	const struct cli_verb verb = { "check", "[options]", text, options, 0, 0 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	return stop >= 0 ? stop : cli_end(&cli, run(&check));
}
