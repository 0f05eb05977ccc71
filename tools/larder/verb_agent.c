/* SPDX-License-Identifier: MIT */
/*
 * `larder agent`: the background work of a cache, as a process of its own, beside servers that start no thread. It waits for a cache
 * that is not there yet, and attaches again when it went away. It must never busy-loop, whatever is wrong.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "cli.h"
#include "human.h"
#include "verbs.h"

#define WORK_MS 1000
#define BACK_OFF_MIN_MS 100
#define BACK_OFF_MAX_MS 5000

static const char text[] =
	"Evict, sweep, and clear away dead readers and processes, until SIGTERM or SIGINT:\n"
	"for servers that run with LARDER_THREADS=off. While another process has that role\n"
	"it stands by, and takes over when that one ends. A cache that is not there yet is\n"
	"waited for. Where LARDER_L2_URL is set it also tells the second level what the\n"
	"outbox holds. Events go to stderr, up to LARDER_LOG_LEVEL.\n"
	"Exit code: 0 after SIGTERM or SIGINT.\n";

struct agent {
	struct cli *cli;
	larder_inspector *inspector;
	int once;
	int64_t back_off_ms;
	int waiting;              /* said already that there is no cache */
	uint64_t rounds, standby;
};

static void log_line(void *ctx, enum larder_log_level level, const char *line)
{
	(void)ctx;
	(void)level;
	fprintf(stderr, "%s\n", line);
	fflush(stderr);
}

/* Sleep so long, or until a signal comes. One that comes just before the sleep delays the end by this time, a few seconds. */
static void pause_ms(int64_t ms)
{
	struct timespec time = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
	if (!cli_interrupted)
		nanosleep(&time, NULL);
}

static void back_off(struct agent *agent)
{
	pause_ms(agent->back_off_ms);
	agent->back_off_ms = agent->back_off_ms * 2 > BACK_OFF_MAX_MS ? BACK_OFF_MAX_MS : agent->back_off_ms * 2;
}

/* Waiting helps against a cache that is not there or cannot be used now, not against wrong settings. */
static int is_worth_waiting(const struct agent *agent, int result)
{
	if (agent->once)
		return 0;
	return result == LARDER_MISS || result == LARDER_UNAVAILABLE ||
	       (result < 0 && cli_exit_of(result) == CLI_UNAVAILABLE && larder_classify(result) != LARDER_CLASS_BUG);
}

static void say_waiting(struct agent *agent, int result, const char *why)
{
	if (agent->waiting)
		return;
	agent->waiting = 1;
	cli_error("waiting for the cache: %s", why && *why ? why : result == LARDER_MISS ? "there is none yet" : larder_strerror(result));
}

/* Returns CLI_DONE, attached or to be tried again; or an exit code. */
static int attach(struct agent *agent)
{
	char *why = NULL;
	int result = larder_inspect_open(&agent->cli->options, &agent->inspector, &why);
	int code = CLI_DONE;
	if (result == 0) {
		agent->waiting = 0;
		return CLI_DONE;
	}
	agent->inspector = NULL;
	if (is_worth_waiting(agent, result)) {
		say_waiting(agent, result, why);
		larder_free(why);
		back_off(agent);
		return CLI_DONE;
	}
	if (why && *why)
		cli_error("%s", why);
	else
		code = cli_failed("agent", result);
	larder_free(why);
	return result == LARDER_MISS ? CLI_UNAVAILABLE : code ? code : cli_exit_of(result);
}

static void detach(struct agent *agent)
{
	larder_inspect_close(agent->inspector);
	agent->inspector = NULL;
}

static int work(struct agent *agent)
{
	int result = larder_inspect_work(agent->inspector, WORK_MS);
	switch (result) {
	case LARDER_OK:
		agent->rounds++;
		agent->back_off_ms = BACK_OFF_MIN_MS;
		return CLI_DONE;
	case LARDER_EXISTS:
		agent->standby++;
		if (agent->once)
			return CLI_MISS;
		pause_ms(WORK_MS);
		return CLI_DONE;
	default:
		detach(agent);
		if (agent->once || result == LARDER_E_SETTINGS)
			return cli_failed("agent", result);
		say_waiting(agent, result, larder_reason_text(larder_reason()));
		back_off(agent);
		return CLI_DONE;
	}
}

static int loop(struct agent *agent)
{
	int code = CLI_DONE;
	int done = 0;
	while (code == CLI_DONE && !cli_interrupted && !done) {
		if (!agent->inspector) {
			code = attach(agent);
			continue;
		}
		code = work(agent);
		done = agent->once;
	}
	return code;
}

static int run(struct agent *agent)
{
	struct cli *cli = agent->cli;
	cli->options.log = log_line;
	if (cli->json && cli_setting(cli, "LOG_FORMAT", "json"))
		return CLI_USAGE;
	agent->back_off_ms = BACK_OFF_MIN_MS;
	cli_catch_signals();
	int code = loop(agent);
	if (agent->inspector)
		detach(agent);
	if (cli->json && code == CLI_DONE)
		return cli_print_json(json_pack("{sI sI}", "rounds", (json_int_t)agent->rounds, "standby", (json_int_t)agent->standby));
	return code;
}

int verb_agent(int argc, char **argv)
{
	struct cli cli;
	struct agent agent = { .cli = &cli };
	const struct cli_option options[] = {
		{ "once", CLI_FLAG, &agent.once, NULL, "one round of a second at most, then end; 1 if another has the role", NULL },
		CLI_OPTIONS_END
	};
	const struct cli_verb verb = { "agent", "[options]", text, options, 0, 0 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	return stop >= 0 ? stop : cli_end(&cli, run(&agent));
}
