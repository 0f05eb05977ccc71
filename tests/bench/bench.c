/* SPDX-License-Identifier: MIT */
/*
 * `make bench`: larder beside raw LMDB doing the same work in the same run. This file has the options, the table of cases, and
 * the directory of the run. The first process only waits and removes the directory, so nothing is left behind when the run is
 * interrupted or fails.
 */
#include "bench.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
	const char *name;
	bench_case_fn run;
	const char *text;
} cases[] = {
	{ "get-uniform", bench_case_get, "get of 512 B out of 100,000 entries, uniform; allocated, and into a buffer" },
	{ "get-zipf", bench_case_get, "the same under Zipf 0.99" },
	{ "get-or-set", bench_case_get_or_set, "a hit of larder_get_or_set() beside larder_get()" },
	{ "get-16k", bench_case_big, "get of 16 KB; raw: one value in overflow pages" },
	{ "get-1m", bench_case_big, "get of 1 MB" },
	{ "set-protected", bench_case_set, "overwrite one of 100,000 entries of 512 B; raw: a commit of one row" },
	{ "set-writable", bench_case_set, "the same with LARDER_L1_MAP=writable; raw: with MDB_WRITEMAP" },
	{ "set-outbox", bench_case_outbox, "a set that is told to L2, the outbox short; beside one that is not told" },
	{ "outbox-long", bench_case_outbox, "the same, every key with a row in the outbox" },
	{ "readers", bench_case_readers, "1, 2 and 4 processes that read, together" },
	{ "readers-writer", bench_case_writer, "readers beside one writer at full speed: throughput and p99.9" },
	{ "note", bench_case_note, "a get with the access note, beside one without" },
	{ "breaker", bench_case_breaker, "asking a closed breaker and reporting to it, beside 10 ns; and being refused" },
	{ "lease", bench_case_lease, "a lease taken and given back, nobody else wanting it, beside 200 ns" },
	{ "wake", bench_case_wake, "sixteen processes that wait for a lease are woken, beside a raw futex: p99" },
	{ "l2-hit", bench_case_l2_hit, "a get that larder-l2d on loopback answers, beside plain libcurl with the same request" },
	{ "hmac", bench_case_hmac, "a key from prepared states, beside HMAC() in one call" },
	{ "sweep", bench_case_sweep, "the sweep of 1,000,000 entries in 60 s, beside 3 % of a core" },
};

static void usage(FILE *to)
{
	fputs("usage: bench [--case NAME] [--quick] [--json] [--dir DIRECTORY] [--no-pin]\n\n"
	    "  --case NAME  only this case\n"
	    "  --quick      fewer and shorter rounds, a smaller sweep: to see that it runs\n"
	    "  --json       at the end one JSON object a row: case, ours_ns, beside, beside_ns, ratio\n"
	    "  --dir DIR    make the files under DIR; default /dev/shm\n"
	    "  --no-pin     do not pin the cases of one process to a CPU\n\ncases:\n", to);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		fprintf(to, "  %-15s %s\n", cases[i].name, cases[i].text);
}

void bench_must(int ok, const char *what)
{
	if (ok)
		return;
	fflush(stdout);
	fprintf(stderr, "bench: %s\n", what);
	exit(1);
}

static int is_case(const char *name)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (strcmp(cases[i].name, name) == 0)
			return 1;
	return 0;
}

static void parse(int argc, char **argv, struct bench_options *options)
{
	static const struct option known[] = {
		{ "case", required_argument, NULL, 'c' }, { "quick", no_argument, NULL, 'q' }, { "json", no_argument, NULL, 'j' },
		{ "dir", required_argument, NULL, 'd' }, { "no-pin", no_argument, NULL, 'n' }, { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int got;

	while ((got = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (got == 'h') {
			usage(stdout);
			exit(0);
		}
		options->only = got == 'c' ? optarg : options->only;
		options->under = got == 'd' ? optarg : options->under;
		options->quick |= got == 'q';
		options->json |= got == 'j';
		options->pin = got == 'n' ? -1 : options->pin;
		if (got == '?' || (options->only && !is_case(options->only))) {
			usage(stderr);
			exit(2);
		}
	}
	if (optind < argc) {
		usage(stderr);
		exit(2);
	}
}

/* The last CPU that we may use: interrupts and others' work are seldom there first. */
static int last_cpu(void)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return -1;
	for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--)
		if (CPU_ISSET(cpu, &allowed))
			return cpu;
	return -1;
}

/* Cases with several processes need all CPUs, the others one. Returns what was allowed before. */
static cpu_set_t pin(const struct bench_options *options, bench_case_fn run)
{
	cpu_set_t before, one;

	bench_must(sched_getaffinity(0, sizeof(before), &before) == 0, "sched_getaffinity");
	if (options->pin < 0 || run == bench_case_readers || run == bench_case_writer || run == bench_case_l2_hit ||
	    run == bench_case_wake)
		return before;
	CPU_ZERO(&one);
	CPU_SET(options->pin, &one);
	sched_setaffinity(0, sizeof(one), &one);
	return before;
}

static int run_cases(const struct bench_options *options)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	bench_report_machine(options);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		cpu_set_t before;

		if (options->only && strcmp(options->only, cases[i].name) != 0)
			continue;
		before = pin(options, cases[i].run);
		cases[i].run(options, cases[i].name);
		sched_setaffinity(0, sizeof(before), &before);
	}
	bench_report_end(options);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	(void)kind;
	(void)where;
	return remove(path);
}

static int wait_for(pid_t worker)
{
	int status;

	while (waitpid(worker, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	fprintf(stderr, "bench: ended by signal %d\n", WTERMSIG(status));
	return 1;
}

int main(int argc, char **argv)
{
	struct bench_options options = { .under = "/dev/shm", .pin = last_cpu() };
	pid_t worker;
	int rc;

	parse(argc, argv, &options);
	snprintf(options.dir, sizeof(options.dir), "%.200s/larder-bench.XXXXXX", options.under);
	bench_must(mkdtemp(options.dir) != NULL, "cannot make a directory there: give another with --dir");
	fflush(NULL);
	worker = fork();
	bench_must(worker >= 0, "fork");
	if (worker == 0)
		exit(run_cases(&options));
	/* Ctrl-C and the like go to the worker as well; it ends, and we go on to clean up. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	rc = wait_for(worker);
	nftw(options.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return rc;
}
