/* SPDX-License-Identifier: MIT */
/*
 * `larder get`: the value of a name, as it is on a pipe, made safe on a terminal; with --json what is known about it.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "human.h"
#include "record.h"
#include "target.h"
#include "verbs.h"

static const char text[] =
	"Print the value that is stored under a name, and nothing else. On a terminal\n"
	"control characters are escaped, unless --raw. With --json its times and flags\n"
	"are printed, and the value only if --values says how.\n"
	"Needs the secret of the cache (LARDER_SECRET_FILE).\n"
	"Exit code: 0 fresh or stale, 1 miss, or remembered as absent.\n";

struct get {
	int hex, raw, values;
	int64_t wait_ms;
};

static int print_raw(const struct larder_value *value, int raw)
{
	int terminal = isatty(STDOUT_FILENO);
	char *safe = NULL;
	if (!terminal || raw) {
		fwrite(value->data, 1, value->len, stdout);
		return CLI_DONE;
	}
	safe = human_safe(value->data, value->len, 0, HUMAN_KEEP_LINES | HUMAN_KEEP_BACKSLASH);
	if (!safe) {
		cli_error("out of memory");
		return CLI_UNAVAILABLE;
	}
	size_t len = strlen(safe);
	printf("%s%s", safe, len && safe[len - 1] == '\n' ? "" : "\n");
	free(safe);
	return CLI_DONE;
}

static int print_json(int result, const struct larder_value *value, int values)
{
	json_t *object = target_result(result);
	int found = result == LARDER_OK || result == LARDER_STALE;
	json_t *times = found || result == LARDER_ABSENT
		? json_pack("{sI sI sI sI sI sI ss}", "size", (json_int_t)value->len, "age_ms", (json_int_t)value->age_ms,
		            "fresh_ms", (json_int_t)value->fresh_ms, "left_ms", (json_int_t)value->left_ms,
		            "hard_end_ms", (json_int_t)value->hard_end_ms, "flags", (json_int_t)value->flags,
		            "source", value->source == LARDER_FROM_L1 ? "l1" : value->source == LARDER_FROM_L2 ? "l2" : "none")
		: json_object();
	int failed = !object || !times || json_object_update(object, times);
	if (!failed && found && values != RECORD_NONE)
		failed = record_put(object, "value", value->data, value->len, (enum record_values)values);
	json_decref(times);
	if (!failed)
		return cli_print_json(object);
	json_decref(object);
	return cli_print_json(NULL);
}

static int report(struct cli *cli, const struct get *get, int result, const struct larder_value *value)
{
	int code = CLI_DONE;
	if (cli->json)
		code = print_json(result, value, get->values);
	else if (result == LARDER_OK || result == LARDER_STALE)
		code = print_raw(value, get->raw);
	if (code)
		return code;
	if (result < 0 || result == LARDER_UNAVAILABLE)
		return cli_failed("get", result);
	return cli_exit_of(result);
}

static int run(struct cli *cli, const struct get *get, struct target *target)
{
	struct larder_value value = { 0 };
	struct target_name name;
	int code = target_name(cli, cli->args[2], get->hex, &name);
	if (code)
		return code;
	code = target_open(cli, get->wait_ms, target);
	if (code == CLI_DONE) {
		int result = larder_get(target->tenant, target->space, name.data, name.len, &target->call, &value);
		code = report(cli, get, result, &value);
		larder_value_free(&value);
	}
	free(name.owned);
	return code;
}

int verb_get(int argc, char **argv)
{
	struct cli cli;
	struct target target = { 0 };
	struct get get = { .values = RECORD_NONE, .wait_ms = TARGET_WAIT_MS };
	const struct cli_option options[] = {
		{ "values", CLI_CHOICE, &get.values, NULL, "with --json: show the value so", RECORD_VALUES },
		{ "raw", CLI_FLAG, &get.raw, NULL, "escape nothing, not even on a terminal", NULL },
		TARGET_HEX_OPTION(&get.hex),
		TARGET_WAIT_OPTION(&get.wait_ms),
		CLI_OPTIONS_END
	};
	const struct cli_verb verb = { "get", "[options] TENANT SPACE NAME", text, options, 3, 3 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	if (stop >= 0)
		return stop;
	int code = run(&cli, &get, &target);
	target_close(&target);
	return cli_end(&cli, code);
}
