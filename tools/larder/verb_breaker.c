/* SPDX-License-Identifier: MIT */
/*
 * `larder breaker`: the circuit breakers of the host, and orders to them; needs no secret.
 */
#include <inttypes.h>
#include <string.h>

#include "human.h"
#include "table.h"
#include "target.h"
#include "verbs.h"

static const char text[] =
	"Show the circuit breakers between the cache and its second level: one for each\n"
	"address of L2, and one for each tenant whose policy has its own. With NAME only\n"
	"that one. --open keeps every call from L2 until --close or --reset; --close lets\n"
	"calls through again; --reset makes a breaker as new, its statistics too. They\n"
	"hold at once for every process, for NAME or, without one, for all breakers.\n"
	"Exit code: 0, or 1 if there is no such breaker.\n";

/* One walk over the breakers: to one of two tables, or to a JSON array. */
struct walk {
	const char *wanted;       /* NULL = all */
	struct table *table;
	int transitions;          /* the table is that of transitions */
	json_t *array;
	int lost;
	unsigned found;
};

static const struct table_column state_columns[] = {
	{ "BREAKER", TABLE_LEFT }, { "STATE", TABLE_LEFT }, { "LETS CALLS IN", TABLE_LEFT }, { "FAILED IN A ROW", TABLE_RIGHT },
	{ "WINDOW", TABLE_LEFT }, { "REFUSED", TABLE_RIGHT }, { "PROBES", TABLE_RIGHT }, { "LOST", TABLE_RIGHT },
	{ "LATE REPORTS", TABLE_RIGHT }, { "OPENED", TABLE_RIGHT }, { "CLOSED", TABLE_RIGHT },
};

static const struct table_column transition_columns[] = {
	{ "BREAKER", TABLE_LEFT }, { "TRANSITION", TABLE_LEFT }, { "TIMES", TABLE_RIGHT },
};

static enum table_colour state_colour(const char *state)
{
	if (strcmp(state, "closed") == 0)
		return TABLE_GREEN;
	return strcmp(state, "half-open") == 0 ? TABLE_YELLOW : TABLE_RED;
}

static void cell_count(struct table *table, uint64_t count)
{
	char number[HUMAN_SIZE];
	table_cell(table, human_count(number, count));
}

static void cell_ago(struct table *table, int64_t ago_ms)
{
	char duration[HUMAN_SIZE];
	if (ago_ms < 0)
		table_cell(table, "never");
	else
		table_cellf(table, "%s ago", human_duration(duration, ago_ms));
}

static void cell_retry(struct table *table, const struct larder_breaker *breaker)
{
	char duration[HUMAN_SIZE];
	if (breaker->retry_after_ms < 0)
		table_cell(table, "after --close");
	else if (breaker->retry_after_ms > 0)
		table_cellf(table, "in %s", human_duration(duration, breaker->retry_after_ms));
	else
		table_cell(table, strcmp(breaker->state, "closed") == 0 ? "yes" : "one, as a probe");
}

static void add_row(struct table *table, const struct larder_breaker *breaker)
{
	table_bytes(table, breaker->name, strlen(breaker->name), 0);
	table_colour(table, state_colour(breaker->state));
	table_cell(table, breaker->state);
	cell_retry(table, breaker);
	cell_count(table, breaker->failures_in_row);
	table_cellf(table, "%" PRIu32 " calls, %" PRIu32 " failed, %" PRIu32 " slow", breaker->window_calls, breaker->window_failures,
	            breaker->window_slow);
	cell_count(table, breaker->refused);
	cell_count(table, breaker->probes);
	cell_count(table, breaker->probes_lost);
	cell_count(table, breaker->late_reports);
	cell_ago(table, breaker->opened_ms);
	cell_ago(table, breaker->closed_ms);
}

/* Those that have happened. */
static void add_transitions(struct table *table, const struct larder_breaker *breaker)
{
	for (uint32_t i = 0; i < breaker->transition_count; i++) {
		if (breaker->transitions[i].count == 0)
			continue;
		table_bytes(table, breaker->name, strlen(breaker->name), 0);
		table_cell(table, breaker->transitions[i].name);
		cell_count(table, breaker->transitions[i].count);
	}
}

static json_t *pack_transitions(const struct larder_breaker *breaker)
{
	json_t *object = json_object();
	for (uint32_t i = 0; object && i < breaker->transition_count; i++) {
		const struct larder_transition *transition = &breaker->transitions[i];
		if (json_object_set_new(object, transition->name, json_integer((json_int_t)transition->count))) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static json_t *pack(const struct larder_breaker *b)
{
	return json_pack("{ss ss sI sI sI sI sI sI sI sI sI sI sI sI sI sI sI sI so}", "name", b->name, "state", b->state,
	                 "retry_after_ms", (json_int_t)b->retry_after_ms, "failures_in_row", (json_int_t)b->failures_in_row,
	                 "successes", (json_int_t)b->successes, "window_calls", (json_int_t)b->window_calls, "window_failures",
	                 (json_int_t)b->window_failures, "window_slow", (json_int_t)b->window_slow, "refused", (json_int_t)b->refused,
	                 "failures", (json_int_t)b->failures, "slow", (json_int_t)b->slow, "neutral", (json_int_t)b->neutral, "probes",
	                 (json_int_t)b->probes, "probes_lost", (json_int_t)b->probes_lost, "late_reports", (json_int_t)b->late_reports,
	                 "opened_ms", (json_int_t)b->opened_ms, "half_opened_ms", (json_int_t)b->half_opened_ms, "closed_ms",
	                 (json_int_t)b->closed_ms, "transitions", pack_transitions(b));
}

static int on_breaker(void *ctx, const struct larder_breaker *breaker)
{
	struct walk *walk = ctx;
	if (walk->wanted && strcmp(walk->wanted, breaker->name) != 0)
		return 0;
	walk->found++;
	if (walk->array)
		walk->lost |= json_array_append_new(walk->array, pack(breaker)) != 0;
	else if (walk->transitions)
		add_transitions(walk->table, breaker);
	else
		add_row(walk->table, breaker);
	return 0;
}

/* Returns CLI_DONE, CLI_MISS when the wanted one is not there, or another exit code with the error said. */
static int finish(const struct walk *walk, int result)
{
	if (result)
		return cli_failed("breaker", result);
	if (walk->lost) {
		cli_error("out of memory");
		return CLI_UNAVAILABLE;
	}
	return walk->wanted && !walk->found ? CLI_MISS : CLI_DONE;
}

static int print(larder_inspector *inspector, const char *wanted, int transitions)
{
	struct walk walk = { .wanted = wanted, .transitions = transitions };
	table_heading(stdout, transitions ? "TRANSITIONS" : "BREAKERS", !transitions);
	walk.table = table_new(stdout, transitions ? transition_columns : state_columns,
	                       transitions ? sizeof transition_columns / sizeof transition_columns[0] :
	                                     sizeof state_columns / sizeof state_columns[0]);
	int result = larder_inspect_breakers(inspector, on_breaker, &walk);
	walk.lost |= table_free(walk.table) != 0;
	return finish(&walk, result);
}

static int print_json(larder_inspector *inspector, const char *wanted)
{
	struct walk walk = { .wanted = wanted, .array = json_array() };
	walk.lost = !walk.array;
	int code = finish(&walk, walk.array ? larder_inspect_breakers(inspector, on_breaker, &walk) : 0);
	int said = code <= CLI_MISS ? cli_print_json(json_pack("{sO}", "breakers", walk.array)) : CLI_DONE;
	json_decref(walk.array);
	return said ? said : code;
}

static int show(struct cli *cli, larder_inspector *inspector)
{
	const char *wanted = cli->arg_count ? cli->args[0] : NULL;
	if (cli->json)
		return print_json(inspector, wanted);
	int code = print(inspector, wanted, 0);
	return code ? code : print(inspector, wanted, 1);
}

static int run(struct cli *cli, const int given[3])
{
	static const enum larder_breaker_order orders[] = { LARDER_BREAKER_ORDER_OPEN, LARDER_BREAKER_ORDER_CLOSE, LARDER_BREAKER_ORDER_RESET };
	larder_inspector *inspector = NULL;
	if (given[0] + given[1] + given[2] > 1)
		return cli_usage(cli, "--open, --close and --reset contradict each other");
	int code = cli_inspect(cli, &inspector);
	if (code)
		return code;
	int ordered = 0;
	for (int i = 0; i < 3; i++) {
		if (!given[i])
			continue;
		ordered = 1;
		code = target_report(cli, "breaker", larder_inspect_breaker_force(inspector, cli->arg_count ? cli->args[0] : NULL, orders[i]));
	}
	if (!ordered)
		code = show(cli, inspector);
	larder_inspect_close(inspector);
	return code;
}

int verb_breaker(int argc, char **argv)
{
	struct cli cli;
	int given[3] = { 0, 0, 0 };
	const struct cli_option options[] = {
		{ "open", CLI_FLAG, &given[0], NULL, "refuse every call until it is closed by hand", NULL },
		{ "close", CLI_FLAG, &given[1], NULL, "let calls through", NULL },
		{ "reset", CLI_FLAG, &given[2], NULL, "make it as new", NULL },
		CLI_OPTIONS_END
	};
	const struct cli_verb verb = { "breaker", "[options] [NAME]", text, options, 0, 1 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	return stop >= 0 ? stop : cli_end(&cli, run(&cli, given));
}
