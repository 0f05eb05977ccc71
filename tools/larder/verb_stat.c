/* SPDX-License-Identifier: MIT */
/*
 * `larder stat`: what a cache does and who uses it, section by section; needs no secret.
 */
#include "cli.h"
#include "stat_show.h"
#include "verbs.h"

#define SECTIONS "cache|counters|l2|tenants|slots|readers"

static const char text[] =
	"Show the cache as a whole, its counters, the second level if there was one, the\n"
	"tenants, the processes that use it and the readers of its store. A process that\n"
	"keeps freed pages from being used again is named under READERS. --reset sets the\n"
	"counters to zero, after they were shown.\n";

static int (*const sections[])(struct stat_out *) = { stat_cache, stat_counters, stat_l2, stat_tenants, stat_slots, stat_readers };
#define SECTION_COUNT (sizeof sections / sizeof sections[0])

static int failed(int result)
{
	if (result != STAT_OUT_OF_MEMORY)
		return cli_failed("stat", result);
	cli_error("out of memory");
	return CLI_UNAVAILABLE;
}

static int show(struct cli *cli, struct stat_out *out, uint32_t wanted)
{
	int result = 0;
	out->json = cli->json ? json_object() : NULL;
	if (cli->json && !out->json)
		return failed(STAT_OUT_OF_MEMORY);
	for (size_t i = 0; i < SECTION_COUNT && result == 0; i++) {
		if (wanted && !(wanted & UINT32_C(1) << i))
			continue;
		result = sections[i](out);
		out->first = 0;
	}
	if (result) {
		json_decref(out->json);
		return failed(result);
	}
	return cli->json ? cli_print_json(out->json) : CLI_DONE;
}

static int run(struct cli *cli, uint32_t wanted, int with_reset)
{
	struct stat_out out = { NULL, NULL, 1, wanted != 0 };
	int code = cli_inspect(cli, &out.inspector);
	if (code)
		return code;
	code = show(cli, &out, wanted);
	if (code == CLI_DONE && with_reset) {
		int result = larder_inspect_reset(out.inspector);
		code = result ? cli_failed("stat --reset", result) : CLI_DONE;
	}
	larder_inspect_close(out.inspector);
	return code;
}

int verb_stat(int argc, char **argv)
{
	struct cli cli;
	uint32_t wanted = 0;
	int with_reset = 0;
	const struct cli_option options[] = {
		{ "section", CLI_CHOICES, &wanted, "NAME,...", "only these: cache, counters, l2, tenants, slots, readers", SECTIONS },
		{ "reset", CLI_FLAG, &with_reset, NULL, "set the counters to zero afterwards", NULL },
		CLI_OPTIONS_END
	};
	const struct cli_verb verb = { "stat", "[options]", text, options, 0, 0 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	return stop >= 0 ? stop : cli_end(&cli, run(&cli, wanted, with_reset));
}
