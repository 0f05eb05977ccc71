/* SPDX-License-Identifier: MIT */
/*
 * `larder outbox`: what L2 has not been told yet, as figures or row by row, without a secret; and --flush, which tells it. It must never show a value.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "human.h"
#include "table.h"
#include "target.h"
#include "verbs.h"

static const char text[] =
	"Show the outbox: sets and deletes of this host that the second level has not been\n"
	"told yet. What was ever put into it is acknowledged, failed, dropped, coalesced\n"
	"or pending. --list shows the pending ones, in the order of their keys.\n"
	"--flush TIME tells L2 what is pending, or waits for the process that does, for so\n"
	"long at most; it needs the secret and LARDER_L2_URL. While the breaker is open\n"
	"nothing is told: then it says for how long; larder breaker --reset ends that.\n"
	"Exit code: 0; 3 if something is still pending after --flush.\n";

#define STOP_INTERRUPT 1001

static int is_choice_of_one(struct cli *cli, int list, int64_t flush_ms, const char *tenant)
{
	if (list && flush_ms >= 0)
		return cli_usage(cli, "--list and --flush contradict each other");
	if (tenant && !list)
		return cli_usage(cli, "--tenant goes with --list");
	return CLI_DONE;
}

/* ---- the whole ---- */

static const struct table_column columns[] = { { NULL, TABLE_LEFT }, { NULL, TABLE_LEFT } };

static void row_count(struct table *table, const char *title, uint64_t count, uint64_t most)
{
	char number[HUMAN_SIZE], most_number[HUMAN_SIZE];
	table_cell(table, title);
	if (most)
		table_cellf(table, "%s of %s", human_count(number, count), human_count(most_number, most));
	else
		table_cell(table, human_count(number, count));
}

static void row_bytes(struct table *table, const struct larder_outbox *outbox)
{
	char size[HUMAN_SIZE], most[HUMAN_SIZE];
	table_cell(table, "kept for pending sets");
	table_cellf(table, "%s of %s", human_bytes(size, outbox->pending_bytes), human_bytes(most, outbox->bytes_max));
}

static void row_oldest(struct table *table, const struct larder_outbox *outbox)
{
	char age[HUMAN_SIZE], most[HUMAN_SIZE];
	table_cell(table, "oldest");
	if (outbox->oldest_ms)
		table_cellf(table, "%s of %s", human_duration(age, outbox->oldest_ms), human_duration(most, outbox->age_max_ms));
	else
		table_cell(table, "-");
}

static void row_teller(struct table *table, const struct larder_outbox *outbox)
{
	char sending[HUMAN_SIZE];
	int live = strcmp(outbox->teller, "live") == 0;
	table_cell(table, "told by");
	if (!outbox->teller_pid) {
		table_colour(table, outbox->pending ? TABLE_YELLOW : TABLE_PLAIN);
		table_cell(table, "nobody");
		return;
	}
	table_colour(table, live ? TABLE_GREEN : TABLE_RED);
	if (outbox->sending_ms)
		table_cellf(table, "pid %" PRId32 ", %s, requests may be on their way for %s", outbox->teller_pid, outbox->teller,
		            human_duration(sending, outbox->sending_ms));
	else
		table_cellf(table, "pid %" PRId32 ", %s", outbox->teller_pid, outbox->teller);
}

static int print(const struct larder_outbox *outbox)
{
	table_heading(stdout, "OUTBOX", 1);
	struct table *table = table_new(stdout, columns, 2);
	row_count(table, "enqueued", outbox->enqueued, 0);
	row_count(table, "acknowledged", outbox->acknowledged, 0);
	row_count(table, "failed", outbox->failed, 0);
	row_count(table, "dropped", outbox->dropped, 0);
	row_count(table, "coalesced", outbox->coalesced, 0);
	row_count(table, "pending", outbox->pending, outbox->rows_max);
	row_bytes(table, outbox);
	row_oldest(table, outbox);
	row_teller(table, outbox);
	if (table_free(table) == 0)
		return CLI_DONE;
	cli_error("out of memory");
	return CLI_UNAVAILABLE;
}

static json_t *pack(const struct larder_outbox *o)
{
	return json_pack("{sI sI sI sI sI sI sI sI sI sI sI ss sI sI}", "enqueued", (json_int_t)o->enqueued, "acknowledged",
	                 (json_int_t)o->acknowledged, "failed", (json_int_t)o->failed, "dropped", (json_int_t)o->dropped, "coalesced",
	                 (json_int_t)o->coalesced, "pending", (json_int_t)o->pending, "pending_bytes", (json_int_t)o->pending_bytes,
	                 "rows_max", (json_int_t)o->rows_max, "bytes_max", (json_int_t)o->bytes_max, "age_max_ms",
	                 (json_int_t)o->age_max_ms, "oldest_ms", (json_int_t)o->oldest_ms, "teller", o->teller, "teller_pid",
	                 (json_int_t)o->teller_pid, "sending_ms", (json_int_t)o->sending_ms);
}

static int show(struct cli *cli, larder_inspector *inspector)
{
	struct larder_outbox outbox = { .size = sizeof outbox };
	int result = larder_inspect_outbox(inspector, &outbox);
	if (result)
		return cli_failed("outbox", result);
	return cli->json ? cli_print_json(pack(&outbox)) : print(&outbox);
}

/* ---- row by row ---- */

static const struct table_column list_columns[] = {
	{ "TENANT", TABLE_LEFT }, { "WRITE", TABLE_LEFT }, { "KEY", TABLE_LEFT }, { "AGE", TABLE_RIGHT }, { "SIZE", TABLE_RIGHT },
	{ "LEFT", TABLE_RIGHT },
};

struct list {
	struct cli *cli;
	struct table *table;
	int lost;
};

static json_t *pack_row(const struct larder_outbox_row *row, const char *key)
{
	json_t *object = json_pack("{ss ss ss sI sI sI}", "tenant", row->tenant, "op", row->op, "key", key, "created_ms",
	                           (json_int_t)row->created_ms, "age_ms", (json_int_t)row->age_ms, "sequence", (json_int_t)row->sequence);
	if (object && strcmp(row->op, "set") == 0 &&
	    (json_object_set_new(object, "size", json_integer((json_int_t)row->value_len)) ||
	     json_object_set_new(object, "left_ms", json_integer((json_int_t)row->left_ms)))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static void add_row(struct table *table, const struct larder_outbox_row *row, const char *key)
{
	char age[HUMAN_SIZE], size[HUMAN_SIZE], left[HUMAN_SIZE];
	int set = strcmp(row->op, "set") == 0;
	table_bytes(table, row->tenant, strlen(row->tenant), 0);
	table_colour(table, set ? TABLE_GREEN : TABLE_YELLOW);
	table_cell(table, row->op);
	table_cell(table, key);
	table_cell(table, human_duration(age, row->age_ms));
	table_cell(table, set ? human_bytes(size, row->value_len) : "-");
	table_cell(table, set ? human_duration(left, row->left_ms) : "-");
}

static int on_row(void *ctx, const struct larder_outbox_row *row)
{
	struct list *list = ctx;
	char *key = codec_hex(row->digest, LARDER_DIGEST_SIZE);
	if (!key)
		list->lost = 1;
	else if (!list->cli->json)
		add_row(list->table, row, key);
	else if (cli_print_json(pack_row(row, key)))
		list->lost = 1;
	free(key);
	return cli_interrupted || cli_output_gone() || list->lost ? STOP_INTERRUPT : 0;
}

static int list_all(struct cli *cli, larder_inspector *inspector, const char *tenant)
{
	struct list list = { .cli = cli };
	cli_catch_signals();
	if (!cli->json)
		list.table = table_new(stdout, list_columns, sizeof list_columns / sizeof list_columns[0]);
	int result = larder_inspect_outbox_each(inspector, tenant, on_row, &list);
	if (!cli->json)
		list.lost |= table_free(list.table) != 0;
	if (list.lost) {
		cli_error("out of memory");
		return CLI_UNAVAILABLE;
	}
	if (result == STOP_INTERRUPT)
		return cli_interrupted ? CLI_INTERRUPTED : CLI_DONE;
	return result ? cli_failed("outbox", result) : CLI_DONE;
}

/* ---- telling ---- */

static json_t *pack_open(void)
{
	json_t *object = target_result(LARDER_E_BUSY);
	if (object && (json_object_set_new(object, "reason", json_string(larder_reason_text(LARDER_REASON_L2_OPEN))) ||
	               json_object_set_new(object, "retry_after_ms", json_integer((json_int_t)larder_retry_after())))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

/* How it ended. A longer time would not have helped while the breaker is open. */
static int report(struct cli *cli, int result)
{
	char left[HUMAN_SIZE];
	if (result != LARDER_E_BUSY || larder_reason() != LARDER_REASON_L2_OPEN)
		return target_report(cli, "outbox --flush", result);
	if (cli->json && cli_print_json(pack_open()))
		return CLI_UNAVAILABLE;
	cli_error("outbox --flush: %s (%s): the circuit breaker is open, and tells L2 nothing for %s; see larder breaker", larder_strerror(result),
	          larder_result_name(result), human_duration(left, larder_retry_after()));
	return cli_exit_of(result);
}

static int flush(struct cli *cli, int64_t flush_ms)
{
	larder *cache = NULL;
	if (!target_has_l2(cli)) {
		cli_error("LARDER_L2_URL is not set: there is nobody to tell");
		return CLI_USAGE;
	}
	/* Without a thread of its own it leaves the telling to others when it ends. */
	int code = cli_setting(cli, "THREADS", "0") ? CLI_UNAVAILABLE : cli_open(cli, &cache);
	if (code)
		return code;
	code = report(cli, larder_flush(cache, flush_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)flush_ms));
	larder_close(cache);
	return code;
}

static int run(struct cli *cli, int list, int64_t flush_ms, const char *tenant)
{
	larder_inspector *inspector = NULL;
	int code = is_choice_of_one(cli, list, flush_ms, tenant);
	if (code)
		return code;
	code = cli_inspect(cli, &inspector);
	if (code)
		return code;
	if (flush_ms >= 0)
		code = flush(cli, flush_ms);
	else
		code = list ? list_all(cli, inspector, tenant) : show(cli, inspector);
	larder_inspect_close(inspector);
	return code;
}

int verb_outbox(int argc, char **argv)
{
	struct cli cli;
	int list = 0;
	int64_t flush_ms = -1;
	const char *tenant = NULL;
	const struct cli_option options[] = {
		{ "list", CLI_FLAG, &list, NULL, "the pending ones, one by one, without values", NULL },
		{ "tenant", CLI_TEXT, &tenant, "TENANT", "with --list: only of this tenant", NULL },
		{ "flush", CLI_TIME, &flush_ms, "TIME", "tell L2 what is pending, within this time", NULL },
		CLI_OPTIONS_END
	};
	const struct cli_verb verb = { "outbox", "[options]", text, options, 0, 0 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	return stop >= 0 ? stop : cli_end(&cli, run(&cli, list, flush_ms, tenant));
}
