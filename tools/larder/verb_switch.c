/* SPDX-License-Identifier: MIT */
/*
 * `larder off` and `larder on`: the emergency switch, for all running processes at once.
 */
#include "target.h"
#include "verbs.h"

static const char off_text[] =
	"Switch the cache off for every running process at once: gets miss, sets are not\n"
	"stored. Sets and deletes still remove what is there, so that nothing old is\n"
	"served when it is on again. Holds until 'larder on', or until the shared segment\n"
	"is made anew, as at a reboot.\n";

static const char on_text[] =
	"Switch the cache on again, for every running process at once.\n";

static int run(const struct cli_verb *verb, int on, int argc, char **argv)
{
	struct cli cli;
	larder_inspector *inspector = NULL;
	int stop = cli_begin(&cli, verb, argc, argv);
	if (stop >= 0)
		return stop;
	int code = cli_inspect(&cli, &inspector);
	if (code == CLI_DONE) {
		code = target_report(&cli, verb->name, larder_inspect_switch(inspector, on));
		larder_inspect_close(inspector);
	}
	return cli_end(&cli, code);
}

int verb_off(int argc, char **argv)
{
	const struct cli_verb verb = { "off", "[options]", off_text, NULL, 0, 0 };
	return run(&verb, 0, argc, argv);
}

int verb_on(int argc, char **argv)
{
	const struct cli_verb verb = { "on", "[options]", on_text, NULL, 0, 0 };
	return run(&verb, 1, argc, argv);
}
