/* SPDX-License-Identifier: MIT */
/*
 * `larder health`: larder_health() for people, monitors and start scripts. It must never look healthier than the servers are: it starts no thread, so that it
 * does not do the background work which it asks about, and makes no cache where there is none.
 */
#include <inttypes.h>
#include <string.h>

#include "cli.h"
#include "human.h"
#include "table.h"
#include "verbs.h"

static const char text[] =
	"Write, read and remove a value in the cache, and in the second level if\n"
	"LARDER_L2_URL is set; look at the breaker, the background work and the outbox.\n"
	"Needs the secret.\n"
	"Exit code: 0 ok, 1 degraded, 2 down - or no check could be made.\n";

enum { EXIT_OK = 0, EXIT_DEGRADED = 1, EXIT_DOWN = 2 };

static const char *const levels[] = { "ok", "degraded", "down" };
static const enum table_colour level_colours[] = { TABLE_GREEN, TABLE_YELLOW, TABLE_RED };
static const char *const breakers[] = { "closed", "open", "half-open" };

static const char *breaker_name(int32_t state)
{
	return state >= 0 && state < (int32_t)(sizeof breakers / sizeof breakers[0]) ? breakers[state] : "none";
}

/* ---- as text ---- */

static void row_level(struct table *table, const struct larder_health *health)
{
	table_cell(table, "health");
	table_colour(table, level_colours[health->level]);
	table_cell(table, levels[health->level]);
	if (health->reason[0]) {
		table_cell(table, "because");
		table_bytes(table, health->reason, strlen(health->reason), 0);
	}
	table_cell(table, "switched");
	table_colour(table, health->on ? TABLE_PLAIN : TABLE_YELLOW);
	table_cell(table, health->on ? "on" : "off");
}

static void row_breaker(struct table *table, const struct larder_health *health)
{
	char retry[HUMAN_SIZE];
	if (!health->l2.asked)
		return;
	table_cell(table, "breaker");
	table_colour(table, health->breaker == LARDER_BREAKER_CLOSED ? TABLE_GREEN : TABLE_RED);
	if (health->breaker_retry_ms > 0)
		table_cellf(table, "%s, lets a call in after %s", breaker_name(health->breaker), human_duration(retry, health->breaker_retry_ms));
	else
		table_cell(table, breaker_name(health->breaker));
}

static void row_evictor(struct table *table, const struct larder_health *health)
{
	char beat[HUMAN_SIZE];
	table_cell(table, "background work");
	if (health->evictor_pid)
		table_cellf(table, "pid %" PRId32 ", last sign of life %s ago", health->evictor_pid, human_duration(beat, health->evictor_beat_ms));
	else
		table_cell(table, "nobody");
}

static void row_outbox(struct table *table, const struct larder_health *health)
{
	char count[HUMAN_SIZE], age[HUMAN_SIZE];
	table_cell(table, "outbox");
	if (health->outbox_pending)
		table_cellf(table, "%s pending, the oldest for %s", human_count(count, health->outbox_pending),
		            human_duration(age, health->outbox_oldest_ms));
	else
		table_cell(table, "nothing pending");
}

static void row_step(struct table *table, const char *tier, const char *name, const struct larder_health_step *step, int good)
{
	table_cell(table, tier);
	table_cell(table, name);
	if (step->took_us < 0) {
		table_colour(table, TABLE_DIM);
		table_cell(table, "not done");
		table_cell(table, "-");
		table_cell(table, "");
		return;
	}
	table_colour(table, good ? TABLE_GREEN : TABLE_RED);
	table_cell(table, larder_result_name(step->result));
	table_cellf(table, "%" PRId64 " us", step->took_us);
	table_cell(table, step->reason ? larder_reason_text((enum larder_reason)step->reason) : "");
}

static void rows_tier(struct table *table, const char *name, const struct larder_health_tier *tier)
{
	if (!tier->asked)
		return;
	row_step(table, name, "write", &tier->write, tier->write.result == LARDER_OK);
	row_step(table, name, "read", &tier->read, tier->reads);
	row_step(table, name, "remove", &tier->removal, tier->removal.result == LARDER_OK || tier->removal.result == LARDER_MISS);
}

static int print(const struct larder_health *health)
{
	static const struct table_column pairs[] = { { NULL, TABLE_LEFT }, { NULL, TABLE_LEFT } };
	static const struct table_column steps[] = {
		{ "TIER", TABLE_LEFT }, { "STEP", TABLE_LEFT }, { "RESULT", TABLE_LEFT }, { "TIME", TABLE_RIGHT }, { "REASON", TABLE_LEFT },
	};
	table_heading(stdout, "HEALTH", 1);
	struct table *table = table_new(stdout, pairs, sizeof pairs / sizeof pairs[0]);
	row_level(table, health);
	row_breaker(table, health);
	row_evictor(table, health);
	row_outbox(table, health);
	int lost = table_free(table);
	table_heading(stdout, "TIERS", 0);
	table = table_new(stdout, steps, sizeof steps / sizeof steps[0]);
	rows_tier(table, "L1", &health->l1);
	rows_tier(table, "L2", &health->l2);
	return table_free(table) || lost ? -1 : 0;
}

/* ---- as JSON ---- */

static json_t *pack_step(const struct larder_health_step *step)
{
	return json_pack("{ss ss? sI}", "result", larder_result_name(step->result), "reason",
	                 step->reason ? larder_reason_text((enum larder_reason)step->reason) : NULL, "took_us", (json_int_t)step->took_us);
}

static json_t *pack_tier(const struct larder_health_tier *tier)
{
	if (!tier->asked)
		return json_null();
	return json_pack("{sb sb so so so}", "reads", tier->reads, "writes", tier->writes, "write", pack_step(&tier->write), "read",
	                 pack_step(&tier->read), "remove", pack_step(&tier->removal));
}

static json_t *pack(const struct larder_health *health)
{
	return json_pack("{ss ss sb so so ss sI sI sI sI sI}", "health", levels[health->level], "reason", health->reason, "on", health->on,
	                 "l1", pack_tier(&health->l1), "l2", pack_tier(&health->l2), "breaker", breaker_name(health->breaker),
	                 "breaker_retry_ms", (json_int_t)health->breaker_retry_ms, "evictor_pid", (json_int_t)health->evictor_pid,
	                 "evictor_beat_ms", (json_int_t)health->evictor_beat_ms, "outbox_pending", (json_int_t)health->outbox_pending,
	                 "outbox_oldest_ms", (json_int_t)health->outbox_oldest_ms);
}

static int check(struct cli *cli, larder *cache)
{
	struct larder_health health = { .size = sizeof health };
	int result = larder_health(cache, &health);
	if (result) {
		(void)cli_failed("health", result);
		return EXIT_DOWN;
	}
	if (cli->json ? cli_print_json(pack(&health)) : print(&health))
		return EXIT_DOWN;
	return health.level == LARDER_HEALTH_OK ? EXIT_OK : health.level == LARDER_HEALTH_DEGRADED ? EXIT_DEGRADED : EXIT_DOWN;
}

static int run(struct cli *cli)
{
	larder_inspector *inspector = NULL;
	larder *cache = NULL;
	int code = EXIT_DOWN;
	if (cli_setting(cli, "THREADS", "0") || cli_inspect(cli, &inspector))
		return EXIT_DOWN;
	if (cli_open(cli, &cache) == CLI_DONE) {
		code = check(cli, cache);
		larder_close(cache);
	}
	larder_inspect_close(inspector);
	return code;
}

int verb_health(int argc, char **argv)
{
	struct cli cli;
	const struct cli_verb verb = { "health", "[options]", text, NULL, 0, 0 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	return stop >= 0 ? stop : cli_end(&cli, run(&cli));
}
