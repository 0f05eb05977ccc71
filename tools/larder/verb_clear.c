/* SPDX-License-Identifier: MIT */
/*
 * `larder clear`: one small transaction, whatever there is to clear; needs no secret.
 */
#include "target.h"
#include "verbs.h"

static const char text[] =
	"Remove all entries of a tenant's space, of a tenant, or (--all) of everybody, at\n"
	"once for every process. Their room is reclaimed in the background.\n"
	"Needs no secret.\n";

static int check(struct cli *cli, int all)
{
	if (all && cli->arg_count)
		return cli_usage(cli, "--all goes with neither a TENANT nor a SPACE");
	if (!all && !cli->arg_count)
		return cli_usage(cli, "what is to be cleared? a TENANT, a TENANT and a SPACE, or --all");
	return CLI_DONE;
}

static int run(struct cli *cli, int all)
{
	larder_inspector *inspector = NULL;
	int code = check(cli, all);
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
	int all = 0;
	const struct cli_option options[] = {
		{ "all", CLI_FLAG, &all, NULL, "everything, of all tenants", NULL },
		CLI_OPTIONS_END
	};
	const struct cli_verb verb = { "clear", "[options] TENANT [SPACE] | --all", text, options, 0, 2 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	return stop >= 0 ? stop : cli_end(&cli, run(&cli, all));
}
