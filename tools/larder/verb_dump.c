/* SPDX-License-Identifier: MIT */
/*
 * `larder dump`: every entry that the filters let through. Runs at nice 19 in short slices, so that the workers do not feel it;
 * needs no secret.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "dump_write.h"
#include "progress.h"
#include "verbs.h"

static const char text[] =
	"List the entries of a cache, fresh and stale ones unless --state says otherwise,\n"
	"in no meaningful order. The workers go on meanwhile. Times are UTC. A NAME is\n"
	"known only where the space's policy keeps names.\n"
	"'larder dump --format jsonl --values hex' is what 'larder load' takes back.\n";

/* Why the walk was stopped by us; not among the results of larder. */
enum { STOP_OUTPUT = 1001, STOP_INTERRUPT, STOP_LIMIT };

struct dump {
	int format, values, progress_wanted;
	uint32_t states;
	uint64_t limit, printed;
	struct larder_filter filter;
	struct dump_writer writer;
	struct progress progress;
};

static int on_entry(void *ctx, const struct larder_entry *entry)
{
	struct dump *dump = ctx;
	dump_entry(&dump->writer, entry);
	dump->printed++;
	/* First: a write that a signal interrupts fails too. */
	if (cli_interrupted)
		return STOP_INTERRUPT;
	if (cli_output_gone())
		return STOP_OUTPUT;
	if (dump->limit && dump->printed >= dump->limit)
		return STOP_LIMIT;
	return 0;
}

static int on_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct dump *dump = ctx;
	progress_step(&dump->progress, done, total);
	/* Nothing may match for a long time: then only a flush tells that nobody listens any more. */
	if (dump->writer.format != DUMP_TABLE)
		fflush(stdout);
	return cli_interrupted ? STOP_INTERRUPT : cli_output_gone() ? STOP_OUTPUT : 0;
}

static int finish(struct dump *dump, int result)
{
	if (dump_finish(&dump->writer)) {
		cli_error("out of memory: rows are missing");
		return CLI_UNAVAILABLE;
	}
	switch (result) {
	case 0:
	case STOP_OUTPUT:
	case STOP_LIMIT:
		return CLI_DONE;
	case STOP_INTERRUPT:
		cli_error("interrupted: %" PRIu64 " entries printed, %" PRIu64 " of %" PRIu64 " looked at", dump->printed,
		          dump->progress.done, dump->progress.total);
		return CLI_INTERRUPTED;
	default:
		return cli_failed("dump", result);
	}
}

static int run(struct cli *cli, struct dump *dump)
{
	larder_inspector *inspector = NULL;
	int code = cli_inspect(cli, &inspector);
	if (code)
		return code;
	cli_catch_signals();
	cli_be_nice();
	/* Rows on the terminal and a line that is rewritten on it would overwrite each other. */
	enum progress_wanted wanted = dump->progress_wanted ? PROGRESS_ON : isatty(STDOUT_FILENO) ? PROGRESS_OFF : PROGRESS_AUTO;
	progress_start(&dump->progress, "dump", "entries", wanted);
	if (dump_begin(&dump->writer, (enum dump_format)dump->format, (enum record_values)dump->values)) {
		cli_error("out of memory");
		code = CLI_UNAVAILABLE;
	} else {
		int result = larder_inspect_entries(inspector, &dump->filter, on_entry, on_progress, dump);
		progress_end(&dump->progress);
		code = finish(dump, result);
	}
	larder_inspect_close(inspector);
	return code;
}

static int prepare(struct cli *cli, struct dump *dump)
{
	if (cli->json && dump->format != DUMP_TABLE && dump->format != DUMP_JSONL)
		return cli_usage(cli, "--json and --format csv contradict each other");
	if (cli->json)
		dump->format = DUMP_JSONL;
	dump->filter.size = sizeof dump->filter;
	dump->filter.states = dump->states & (LARDER_IS_ANY + 1) ? LARDER_IS_ANY : dump->states;
	dump->filter.flags = dump->values == RECORD_NONE ? 0 : LARDER_INSPECT_VALUES;
	return CLI_DONE;
}

int verb_dump(int argc, char **argv)
{
	struct cli cli;
	struct dump dump = { .format = DUMP_TABLE, .values = RECORD_NONE };
	const struct cli_option options[] = {
		{ "tenant", CLI_TEXT, &dump.filter.tenant, "TENANT", "only this tenant's; no other's are touched", NULL },
		{ "space", CLI_TEXT, &dump.filter.space, "SPACE", "only of this space", NULL },
		{ "state", CLI_CHOICES, &dump.states, "STATE,...", "fresh, stale, error, expired, cleared, damaged or any", RECORD_STATES },
		{ "min-age", CLI_TIME, &dump.filter.age_min_ms, "TIME", "stored at least this long ago", NULL },
		{ "max-age", CLI_TIME, &dump.filter.age_max_ms, "TIME", "stored at most this long ago", NULL },
		{ "min-size", CLI_SIZE, &dump.filter.value_min, "SIZE", "value at least so long", NULL },
		{ "max-size", CLI_SIZE, &dump.filter.value_max, "SIZE", "value at most so long", NULL },
		{ "limit", CLI_NUMBER, &dump.limit, "NUMBER", "stop after so many", NULL },
		{ "values", CLI_CHOICE, &dump.values, NULL, "show values, so encoded", RECORD_VALUES },
		{ "format", CLI_CHOICE, &dump.format, NULL, "default: table; --json is jsonl", DUMP_FORMATS },
		{ "progress", CLI_FLAG, &dump.progress_wanted, NULL, "tell progress on stderr, terminal or not", NULL },
		CLI_OPTIONS_END
	};
	const struct cli_verb verb = { "dump", "[options]", text, options, 0, 0 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	if (stop >= 0)
		return stop;
	int code = prepare(&cli, &dump);
	return cli_end(&cli, code ? code : run(&cli, &dump));
}
