/* SPDX-License-Identifier: MIT */
/*
 * `larder clear`: one small transaction, whatever there is to clear. It needs the secret for tags alone, which are kept as keyed hashes.
 */
#include "target.h"

#include <stdlib.h>

#include "verbs.h"

static const char text[] =
	"Remove all entries of a tenant's space, of a tenant, or (--all) of everybody, at\n"
	"once for every process. Their room is reclaimed in the background.\n"
	"With --tags: all of the tenant's that were stored under any of these tags.\n"
	"Needs no secret, but with --tags (LARDER_SECRET_FILE).\n";

/* What was stored under any of these tags. */
static int run_tags(struct cli *cli, const char *list)
{
	struct target target = { 0 };
	struct target_tags tags;
	int code = target_tags(cli, list, &tags);
	if (code == CLI_DONE)
		code = target_open(cli, TARGET_WAIT_MS, &target);
	if (code == CLI_DONE)
		code = target_report(cli, "clear", larder_invalidate_tags(target.tenant, tags.tag, tags.count, &target.call));
	target_close(&target);
	free(tags.owned);
	return code;
}

static int check(struct cli *cli, int all, const char *tags)
{
	if (tags && (all || cli->arg_count != 1))
		return cli_usage(cli, "--tags goes with a TENANT alone");
	if (all && cli->arg_count)
		return cli_usage(cli, "--all goes with neither a TENANT nor a SPACE");
	if (!all && !cli->arg_count)
		return cli_usage(cli, "what is to be cleared? a TENANT, a TENANT and a SPACE, or --all");
	return CLI_DONE;
}

static int run(struct cli *cli, int all, const char *tags)
{
	larder_inspector *inspector = NULL;
	int code = check(cli, all, tags);
	if (code == CLI_DONE && tags)
		return run_tags(cli, tags);
	if (code == CLI_DONE)
		code = cli_inspect(cli, &inspector);
	if (code)
		return code;
	const char *tenant = cli->arg_count > 0 ? cli->args[0] : NULL;
	const char *space = cli->arg_count > 1 ? cli->args[1] : NULL;
	code = target_report(cli, "clear", larder_inspect_clear(inspector, tenant, space));
	larder_inspect_close(inspector);
	return code;
}

int verb_clear(int argc, char **argv)
{
	struct cli cli;
	const char *tags = NULL;
	int all = 0;
	const struct cli_option options[] = {
		{ "all", CLI_FLAG, &all, NULL, "everything, of all tenants", NULL },
		{ "tags", CLI_TEXT, &tags, "TAG,...", "what was stored under any of these tags", NULL },
		CLI_OPTIONS_END
	};
	const struct cli_verb verb = { "clear", "[options] TENANT [SPACE] | --tags TAG,... TENANT | --all", text, options, 0, 2 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	return stop >= 0 ? stop : cli_end(&cli, run(&cli, all, tags));
}
