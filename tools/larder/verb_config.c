/* SPDX-License-Identifier: MIT */
/*
 * `larder config`: each setting as a process started from here would see it, where the value comes from, and what is wrong. Opens no
 * cache. A secret is never printed: the library gives "(set)" for it.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "human.h"
#include "table.h"
#include "verbs.h"

static const char text[] =
	"Show each setting, its value in effect and where that comes from, for a process\n"
	"with this environment; or only the settings that are named. A value out of\n"
	"bounds, a contradiction, a fault in the spaces file, or a variable LARDER_* that\n"
	"is no setting is an error (exit code 2).\n";

struct config {
	struct cli *cli;
	struct table *table;
	json_t *settings, *problems;
	int explain;
	int matched;
	int lost;
};

static const struct table_column columns[] = {
	{ "SETTING", TABLE_LEFT }, { "VALUE", TABLE_LEFT }, { "ORIGIN", TABLE_LEFT }, { "DEFAULT", TABLE_LEFT }, { "RANGE", TABLE_LEFT },
	{ "MEANING", TABLE_LEFT },
};

/* "LARDER_SIZE" and "SIZE" both name LARDER_SIZE. */
static int is_wanted(const struct cli *cli, const char *name)
{
	if (!cli->arg_count)
		return 1;
	for (int i = 0; i < cli->arg_count; i++)
		if (strcmp(cli->args[i], name) == 0 || (strncmp(name, "LARDER_", 7) == 0 && strcmp(cli->args[i], name + 7) == 0))
			return 1;
	return 0;
}

static void tell_problem(struct config *config, const struct larder_setting *setting)
{
	const char *name = setting->name;
	const char *problem = setting->problem;
	int named = !name || strstr(problem, name);
	cli_error("%s%s%s", named ? "" : name, named ? "" : ": ", problem);
	json_t *row = json_pack("{ss? ss}", "name", name, "problem", problem);
	config->lost |= json_array_append_new(config->problems, row) != 0;
}

static void add_json(struct config *config, const struct larder_setting *setting)
{
	json_t *row = json_pack("{ss ss? ss? ss? ss? ss? ss?}", "name", setting->name, "type", setting->type, "bounds", setting->bounds,
	                        "default", setting->fallback, "text", setting->text, "value", setting->value,
	                        "origin", setting->origin);
	config->lost |= json_array_append_new(config->settings, row) != 0;
}

static void cell(struct table *table, const char *value)
{
	if (value && *value)
		table_bytes(table, value, strlen(value), 0);
	else
		table_cell(table, "-");
}

static void add_row(struct config *config, const struct larder_setting *setting)
{
	struct table *table = config->table;
	int from_default = setting->origin && strcmp(setting->origin, "default") == 0;
	table_cell(table, setting->name);
	table_colour(table, setting->problem ? TABLE_RED : from_default ? TABLE_PLAIN : TABLE_CYAN);
	cell(table, setting->value);
	table_colour(table, from_default ? TABLE_DIM : TABLE_PLAIN);
	cell(table, setting->origin);
	table_colour(table, TABLE_DIM);
	cell(table, setting->fallback);
	table_colour(table, TABLE_DIM);
	cell(table, setting->bounds);
	if (config->explain)
		cell(table, setting->text);
}

static int on_setting(void *ctx, const struct larder_setting *setting)
{
	struct config *config = ctx;
	if (setting->problem)
		tell_problem(config, setting);
	if (!setting->name || !setting->type || !is_wanted(config->cli, setting->name))
		return 0;
	config->matched++;
	if (config->cli->json)
		add_json(config, setting);
	else
		add_row(config, setting);
	return 0;
}

static int print(struct config *config)
{
	int lost = config->lost;
	if (!config->cli->json) {
		lost |= table_free(config->table) != 0;
	} else {
		json_t *object = json_pack("{sO sO}", "settings", config->settings, "problems", config->problems);
		lost |= !object || cli_print_json(object) != CLI_DONE;
	}
	if (!lost)
		return CLI_DONE;
	cli_error("out of memory");
	return CLI_UNAVAILABLE;
}

static int run(struct config *config)
{
	struct cli *cli = config->cli;
	config->settings = json_array();
	config->problems = json_array();
	if (!cli->json)
		config->table = table_new(stdout, columns, config->explain ? 6 : 5);
	int result = larder_settings_each(&cli->options, on_setting, config);
	int code = print(config);
	json_decref(config->settings);
	json_decref(config->problems);
	if (code)
		return code;
	if (result == LARDER_E_SETTINGS)
		return CLI_USAGE;
	if (result)
		return cli_failed("config", result);
	if (cli->arg_count && !config->matched)
		return cli_usage(cli, "'%s' is no setting", cli->args[0]);
	return CLI_DONE;
}

int verb_config(int argc, char **argv)
{
	struct cli cli;
	struct config config = { .cli = &cli };
	const struct cli_option options[] = {
		{ "explain", CLI_FLAG, &config.explain, NULL, "tell what each setting means", NULL },
		CLI_OPTIONS_END
	};
	const struct cli_verb verb = { "config", "[options] [SETTING...]", text, options, 0, -1 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	return stop >= 0 ? stop : cli_end(&cli, run(&config));
}
