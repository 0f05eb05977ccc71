/* SPDX-License-Identifier: MIT */
/* `larder replay`: a pre-forking server in miniature. The master reads or makes a trace of accesses, opens the cache and forks
 * workers, which replay the trace through it. It shows how larder is used, what it reaches on a given trace, and that no value
 * is ever wrong. It leaves the cache in place, to be looked into. Options and the order of things are here; the parts are in
 * replay_*.c. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "human.h"
#include "progress.h"
#include "replay_master.h"
#include "replay_report.h"
#include "verbs.h"

#define READERS_SPARE 16          /* slots for the master, the agent and the tools that look on */
#define WORKERS_SETTING 256       /* default of LARDER_WORKERS */
#define WHY_SIZE 512
#define L2_WAIT_MS 120000

static const char help[] =
    "Fork workers that replay an access trace through one shared cache, as the\n"
    "workers of a pre-forking server would: get, and on a miss set. Each value is\n"
    "made from its key, and every hit is compared with it.\n"
    "\n"
    "--trace takes a file with one key per line, or an access log of nginx or\n"
    "Apache (the GET requests of it), gzip or plain; - is standard input.\n"
    "--generate takes zipf:EXPONENT and, after commas, keys=N, requests=N, seed=N,\n"
    "shift=N (how often the hot keys move), scan=PERCENT (requests in sequential\n"
    "runs over other keys) and scan_len=N. Without either:\n"
    "zipf:1.0,keys=200000,requests=2000000,seed=1,shift=4,scan=5\n"
    "\n"
    "--value-size takes 512, uniform:16-4K, or lognormal:MEAN,SIGMA.\n"
    "--deal blocks gives each free worker the next 64 requests, so that the order\n"
    "of the trace is nearly kept; --deal hash gives each key to one worker.\n"
    "With --workers 1 the order is exact, and nothing runs in the background\n"
    "(EVICTOR=inline) unless LARDER_EVICTOR says otherwise.\n"
    "--fetch makes a worker wait after a miss, as it would for the slow store behind\n"
    "the cache; without it sets come faster than any server makes them. With --load the\n"
    "workers call larder_get_or_set(), so that a missing value is fetched by one of them.\n"
    "--kill-every ends a random worker with SIGKILL every so often and puts another\n"
    "in its place.\n"
    "\n"
    "Where LARDER_L2_URL names a second level, the workers read through to it, and what\n"
    "they set is told to it. --l2d starts a larder-l2d for the run, on a free port of\n"
    "the loopback, with its data in DIR/l2, and stops it at the end; it is used in the\n"
    "place of LARDER_L2_URL. --l2-outage kills it, and starts it again: 40%:20% when\n"
    "40 % of the requests are done, for another 20 % of them; 3s:2s after 3 seconds,\n"
    "for 2. After the last get the replay waits, --l2-wait at most, until L2 has been\n"
    "told everything and, after an outage, until the breaker is closed again.\n"
    "\n"
    "Private memory is what a worker has for itself alone at its end: pages of the\n"
    "cache are shared, and so is the trace, which the master holds.\n"
    "\n"
    "Exit status: 0 done; 2 usage, settings or trace; 3 cache not available, or a\n"
    "worker was lost; 4 a value was wrong; 130 interrupted.\n";

/* What the command line says. */
struct request {
	uint64_t workers;
	const char *tenant, *space;
	const char *trace, *generate;
	const char *value_size;
	const char *size, *entries;
	int64_t ttl_ms, kill_every_ms, fetch_ms;
	const char *l2d, *l2_size, *l2_outage;
	int64_t l2_wait_ms;
	int set_on_miss, latency, quiet, load;
	int deal;
};

static void fill_defaults(struct request *request)
{
	*request = (struct request){ .workers = 4, .tenant = "replay", .space = "trace", .value_size = "512",
		.set_on_miss = 1, .latency = 1, .l2_wait_ms = L2_WAIT_MS };
}

static int trace_progress(void *ctx, uint64_t done, uint64_t total)
{
	progress_step(ctx, done, total);
	return cli_interrupted != 0;
}

/* Returns -1 to go on, or an exit code. */
static int load_trace(const struct request *request, struct replay_plan *plan)
{
	struct replay_recipe recipe;
	struct progress progress;
	char why[WHY_SIZE];
	const char *text = request->generate ? request->generate : REPLAY_RECIPE_DEFAULT;
	int r = 0;

	progress_start(&progress, request->trace ? "reading the trace" : "making the trace", "requests",
	    request->quiet ? PROGRESS_OFF : PROGRESS_AUTO);
	if (request->trace != NULL)
		r = replay_trace_read(request->trace, trace_progress, &progress, &plan->trace, why, sizeof(why));
	else if (replay_recipe_parse(text, &recipe, why, sizeof(why)) < 0)
		r = -1;
	else
		r = replay_trace_generate(&recipe, trace_progress, &progress, &plan->trace, why, sizeof(why));
	progress_end(&progress);
	if (r < 0)
		cli_error("%s", why);
	return r == 0 ? -1 : r < 0 ? CLI_USAGE : CLI_INTERRUPTED;
}

/* Returns -1 to go on, or an exit code. */
static int check_outage(struct cli *cli, const struct request *request, struct replay_tiers *tiers)
{
	if (request->l2d == NULL && (request->l2_outage != NULL || request->l2_size != NULL))
		return cli_usage(cli, "--l2-outage and --l2-size need --l2d: only an L2 of the replay's own is sized and killed");
	if (request->l2_outage == NULL)
		return -1;
	tiers->has_outage = 1;
	if (replay_outage_parse(request->l2_outage, &tiers->outage) < 0)
		return cli_usage(cli, "--l2-outage: AT:FOR, each a share of the requests (40%%) or a time (3s)");
	return -1;
}

/* Returns -1 to go on, or an exit code. */
static int check_request(struct cli *cli, const struct request *request, struct replay_plan *plan)
{
	if (request->workers < 1 || request->workers > REPLAY_WORKERS_MAX)
		return cli_usage(cli, "--workers: 1..%d", REPLAY_WORKERS_MAX);
	if (request->trace != NULL && request->generate != NULL)
		return cli_usage(cli, "--trace and --generate exclude each other");
	if (replay_sizes_parse(request->value_size, &plan->sizes) < 0)
		return cli_usage(cli, "--value-size: 512, uniform:16-4K or lognormal:MEAN,SIGMA, at most 1G");
	plan->workers = (unsigned)request->workers;
	plan->space = request->space;
	plan->deal = request->deal ? REPLAY_DEAL_HASH : REPLAY_DEAL_BLOCKS;
	plan->set_on_miss = request->set_on_miss;
	plan->fetch_ms = request->fetch_ms;
	plan->load = request->load;
	plan->latency = request->latency;
	plan->store = (struct larder_store)LARDER_STORE_INIT;
	if (request->ttl_ms > 0)
		plan->store.ttl_ms = request->ttl_ms;
	return -1;
}

/* The settings that options stand for; those that only help give way to the environment. */
static int add_settings(struct cli *cli, const struct request *request)
{
	char workers[HUMAN_SIZE];
	snprintf(workers, sizeof(workers), "%u", (unsigned)request->workers + READERS_SPARE);
	if (request->size != NULL && cli_setting(cli, "SIZE", request->size) < 0)
		return -1;
	if (request->entries != NULL && cli_setting(cli, "MAX_ENTRIES", request->entries) < 0)
		return -1;
	if (request->workers == 1 && getenv("LARDER_EVICTOR") == NULL && cli_setting(cli, "EVICTOR", "inline") < 0)
		return -1;
	if (request->workers + READERS_SPARE > WORKERS_SETTING && getenv("LARDER_WORKERS") == NULL &&
	    cli_setting(cli, "WORKERS", workers) < 0)
		return -1;
	return 0;
}

/* What the settings say of the two things that the replay itself must know. Freed by the caller. */
struct places {
	char *dir;
	char *l2;
};

static int find_place(void *ctx, const struct larder_setting *setting)
{
	struct places *places = ctx;
	char **place = setting->name == NULL ? NULL : strcmp(setting->name, "LARDER_DIR") == 0 ? &places->dir :
	    strcmp(setting->name, "LARDER_L2_URL") == 0 ? &places->l2 : NULL;

	if (place != NULL && setting->value != NULL && *setting->value != '\0') {
		free(*place);
		*place = strdup(setting->value);
	}
	return 0;
}

/* Problems of settings are told when the cache is opened. */
static void find_places(const struct cli *cli, struct places *places)
{
	int r = larder_settings_each(&cli->options, find_place, places);
	(void)r;
}

/* Returns -1 to go on, or an exit code. The address is known only when the service listens, so it is started before the cache is opened. */
static int start_l2(struct cli *cli, const struct request *request, struct replay_tiers *tiers, struct places *places)
{
	char url[sizeof(tiers->l2.address) + 8];

	find_places(cli, places);
	if (request->l2d == NULL)
		return -1;
	if (places->dir == NULL)
		return cli_usage(cli, "--l2d needs the directory of the cache: give --dir or LARDER_DIR");
	if (replay_l2_start(request->l2d, request->l2_size, places->dir, &tiers->l2) < 0)
		return cli_interrupted ? CLI_INTERRUPTED : CLI_UNAVAILABLE;
	snprintf(url, sizeof(url), "http://%s", tiers->l2.address);
	if (cli_setting(cli, "L2_URL", url) < 0)
		return CLI_USAGE;
	find_places(cli, places);
	return -1;
}

static void on_breaker(void *ctx, const char *breaker, enum larder_breaker_state state, const char *transition)
{
	struct replay_shared *shared = ctx;
	(void)breaker;
	replay_breaker_note(&shared->breaker, state, transition, replay_now_ns());
}

/* Transitions of the breaker are in the table; as lines of their own they are told only to who asks for a log. */
static void on_log(void *ctx, enum larder_log_level level, const char *line)
{
	(void)ctx;
	(void)level;
	if (getenv("LARDER_LOG_LEVEL") == NULL && (strstr(line, " event=breaker ") != NULL || strstr(line, "\"event\":\"breaker\"") != NULL))
		return;
	/* The progress line of another process may stand there. */
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	cli_error("%s", line);
}

/* Returns -1 to go on, or an exit code. One look-up of a made-up name finds a malformed space before there are workers to find
 * it. */
static int open_cache(struct cli *cli, const struct request *request, struct replay_plan *plan)
{
	if (replay_shared_make(plan) < 0) {
		cli_error("out of memory");
		return CLI_UNAVAILABLE;
	}
	cli->options.log = on_log;
	cli->options.breaker = on_breaker;
	cli->options.breaker_ctx = plan->shared;
	int code = cli_open(cli, &plan->cache);
	if (code != CLI_DONE)
		return code;
	int r = larder_tenant_open(plan->cache, request->tenant, &plan->tenant);
	/* Is the space well formed? A call without a name says so and goes no further: this process shall not attach before it forks. */
	if (r == 0)
		r = larder_set(plan->tenant, plan->space, NULL, 0, NULL, 0, NULL, NULL);
	return r < 0 && r != LARDER_E_NAME ? cli_failed(request->tenant, r) : -1;
}

static int report(struct cli *cli, struct replay_report *report)
{
	int code = replay_report_exit(report);
	if (!cli->json)
		replay_report_print(report);
	else if (cli_print_json(replay_report_json(report)) < 0)
		code = CLI_UNAVAILABLE;
	replay_report_free(report);
	return code;
}

static int run(struct cli *cli, const struct request *request, struct replay_plan *plan, struct replay_tiers *tiers, const char *l2)
{
	static struct replay_report summary;
	struct replay_conduct conduct = { request->kill_every_ms, (uint64_t)time(NULL), request->quiet, tiers };
	struct replay_outcome outcome;
	const char *source = request->trace ? request->trace : request->generate ? request->generate : REPLAY_RECIPE_DEFAULT;

	if (replay_master_run(plan, &conduct, &outcome) < 0)
		return CLI_UNAVAILABLE;
	if (replay_report_make(plan, &outcome, source, l2, &summary) < 0) {
		cli_error("out of memory");
		return CLI_UNAVAILABLE;
	}
	int code = report(cli, &summary);
	return code == CLI_DONE && tiers->l2.lost ? CLI_UNAVAILABLE : code;
}

static int replay(struct cli *cli, const struct request *request)
{
	struct replay_plan plan = { .cache = NULL };
	struct replay_tiers tiers = { .options = &cli->options, .wait_ms = request->l2_wait_ms };
	struct places places = { NULL, NULL };
	int code = check_request(cli, request, &plan);

	cli_catch_signals();
	if (code < 0)
		code = check_outage(cli, request, &tiers);
	if (code < 0)
		code = load_trace(request, &plan);
	if (code < 0 && add_settings(cli, request) < 0)
		code = CLI_USAGE;
	if (code < 0)
		code = start_l2(cli, request, &tiers, &places);
	plan.has_l2 = places.l2 != NULL;
	if (code < 0)
		code = open_cache(cli, request, &plan);
	if (code < 0)
		code = run(cli, request, &plan, &tiers, places.l2);
	larder_tenant_close(plan.tenant);
	larder_close(plan.cache);
	replay_l2_stop(&tiers.l2);
	replay_shared_free(&plan);
	replay_trace_free(&plan.trace);
	free(places.dir);
	free(places.l2);
	return code;
}

int verb_replay(int argc, char **argv)
{
	struct cli cli;
	struct request request;
	const struct cli_option options[] = {
		{ "workers", CLI_NUMBER, &request.workers, "N", "worker processes (4)", NULL },
		{ "trace", CLI_TEXT, &request.trace, "FILE", "replay this file; - is standard input", NULL },
		{ "generate", CLI_TEXT, &request.generate, "RECIPE", "replay a generated trace, zipf:1.0,keys=N,...", NULL },
		{ "deal", CLI_CHOICE, &request.deal, NULL, "how requests are given to workers", "blocks|hash" },
		{ "size", CLI_TEXT, &request.size, "SIZE", "size of the cache, as LARDER_SIZE", NULL },
		{ "entries", CLI_TEXT, &request.entries, "N", "most entries, as LARDER_MAX_ENTRIES", NULL },
		{ "value-size", CLI_TEXT, &request.value_size, "SIZES", "length of values (512)", NULL },
		{ "ttl", CLI_TIME, &request.ttl_ms, "TIME", "time to live of what is set (the space's policy)", NULL },
		{ "set-on-miss", CLI_FLAG, &request.set_on_miss, NULL, "set after a miss (as is done anyway)", NULL },
		{ "no-set-on-miss", CLI_NO_FLAG, &request.set_on_miss, NULL, "only look up", NULL },
		{ "fetch", CLI_TIME, &request.fetch_ms, "TIME", "what a miss costs before the set (nothing)", NULL },
		{ "load", CLI_FLAG, &request.load, NULL, "get or load: --fetch is what the loader costs, once a host", NULL },
		{ "no-latency", CLI_NO_FLAG, &request.latency, NULL, "take no times, to measure throughput alone", NULL },
		{ "kill-every", CLI_TIME, &request.kill_every_ms, "TIME", "kill and replace a worker every so often", NULL },
		{ "l2d", CLI_TEXT, &request.l2d, "PROGRAM", "start this larder-l2d as second level for the run", NULL },
		{ "l2-size", CLI_TEXT, &request.l2_size, "SIZE", "size of its cache (its default)", NULL },
		{ "l2-outage", CLI_TEXT, &request.l2_outage, "AT:FOR", "kill it, and start it again: 40%:20% or 3s:2s", NULL },
		{ "l2-wait", CLI_TIME, &request.l2_wait_ms, "TIME", "wait so long for L2 after the last get (2m)", NULL },
		{ "tenant", CLI_TEXT, &request.tenant, "TENANT", "whose entries they are (replay)", NULL },
		{ "space", CLI_TEXT, &request.space, "SPACE", "space of the entries (trace)", NULL },
		{ "quiet", CLI_FLAG, &request.quiet, NULL, "no progress on stderr", NULL },
		CLI_OPTIONS_END
	};
	const struct cli_verb verb = { "replay", "[options]", help, options, 0, 0 };

	fill_defaults(&request);
	int stop = cli_begin(&cli, &verb, argc, argv);
	if (stop >= 0)
		return stop;
	return cli_end(&cli, replay(&cli, &request));
}
