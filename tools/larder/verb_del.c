/* SPDX-License-Identifier: MIT */
/*
 * `larder del`: remove names, in one transaction.
 */
#include <stdlib.h>

#include "target.h"
#include "verbs.h"

static const char text[] =
	"Remove the values of one or more names.\n"
	"Needs the secret of the cache (LARDER_SECRET_FILE).\n"
	"Exit code: 0 all of them were there and are gone, 1 at least one was not there.\n";

struct del {
	int hex;
	int64_t wait_ms;
	size_t count;
	struct larder_item *items;
	struct target_name *names;
};

static int take_names(struct cli *cli, struct del *del)
{
	del->count = (size_t)cli->arg_count - 2;
	del->items = calloc(del->count, sizeof *del->items);
	del->names = calloc(del->count, sizeof *del->names);
	if (!del->items || !del->names) {
		cli_error("out of memory");
		return CLI_UNAVAILABLE;
	}
	for (size_t i = 0; i < del->count; i++) {
		int code = target_name(cli, cli->args[i + 2], del->hex, &del->names[i]);
		if (code)
			return code;
		del->items[i].space = cli->args[1];
		del->items[i].name = del->names[i].data;
		del->items[i].name_len = del->names[i].len;
		del->items[i].result = LARDER_E_USAGE;
	}
	return CLI_DONE;
}

/* An error outweighs a miss, a miss outweighs success. */
static int worst(const struct del *del)
{
	int result = LARDER_OK;
	for (size_t i = 0; i < del->count; i++) {
		int one = del->items[i].result;
		if (one < 0 || (result >= 0 && one > result))
			result = one;
	}
	return result;
}

static int run(struct cli *cli, struct del *del, struct target *target)
{
	int code = take_names(cli, del);
	if (code == CLI_DONE)
		code = target_open(cli, del->wait_ms, target);
	if (code)
		return code;
	int result = larder_delete_many(target->tenant, del->items, del->count, &target->call);
	return target_report(cli, "del", result < 0 ? result : worst(del));
}

int verb_del(int argc, char **argv)
{
	struct cli cli;
	struct target target = { 0 };
	struct del del = { .wait_ms = TARGET_WAIT_MS };
	const struct cli_option options[] = { TARGET_HEX_OPTION(&del.hex), TARGET_WAIT_OPTION(&del.wait_ms), CLI_OPTIONS_END };
	const struct cli_verb verb = { "del", "[options] TENANT SPACE NAME...", text, options, 3, -1 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	if (stop >= 0)
		return stop;
	int code = run(&cli, &del, &target);
	target_close(&target);
	for (size_t i = 0; del.names && i < del.count; i++)
		free(del.names[i].owned);
	free(del.names);
	free(del.items);
	return cli_end(&cli, code);
}
