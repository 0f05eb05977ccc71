/* SPDX-License-Identifier: MIT */
/*
 * larder(1): finds the verb and runs it. The table of verbs is verbs.def; what they share is in cli.h. Nothing of a verb's own
 * work may be here.
 */
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "verbs.h"

struct row {
	const char *name;
	const char *text;
	int (*run)(int argc, char **argv);
};

static const struct row rows[] = {
#define VERB(name, text) { #name, text, verb_##name },
#include "verbs.def"
#undef VERB
};
#define ROWS (sizeof rows / sizeof rows[0])

static const struct row *find(const char *name)
{
	for (size_t i = 0; i < ROWS; i++)
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}

static void usage(FILE *out)
{
	fprintf(out, "usage: larder VERB [options] [arguments]\n"
	             "       larder VERB --help\n\n"
	             "Look into a shared cache, and change it.\n\nVerbs:\n");
	for (size_t i = 0; i < ROWS; i++)
		fprintf(out, "  %-8s %s\n", rows[i].name, rows[i].text);
	fprintf(out, "\nOptions of every verb:\n"
	             "  --dir DIR    directory of the cache (LARDER_DIR)\n"
	             "  --name NAME  name of the cache (LARDER_NAME)\n"
	             "  --json       print JSON\n"
	             "  --help       explain the verb\n\n"
	             "Exit codes: 0 hit or done, 1 miss, 2 usage or settings, 3 cache not available, 4 damage found, 130 interrupted.\n"
	             "See larder(1) and larder(5).\n");
}

/* `larder help` and `larder help VERB`. */
static int help(int argc, char **argv)
{
	const struct row *row = argc > 2 ? find(argv[2]) : NULL;
	if (row) {
		char option[] = "--help";
		char *arguments[] = { argv[2], option, NULL };
		return row->run(2, arguments);
	}
	if (argc > 2) {
		cli_error("there is no verb '%s'", argv[2]);
		return CLI_USAGE;
	}
	usage(stdout);
	return cli_finish(CLI_DONE);
}

static int is_any(const char *text, const char *one, const char *two, const char *three)
{
	return strcmp(text, one) == 0 || strcmp(text, two) == 0 || strcmp(text, three) == 0;
}

/*
 * A standard descriptor that is closed is the next number that open(2) gives out: output would land in a file of the cache. /dev/null takes its place, open
 * the wrong way round, so that reads and writes fail as they did.
 */
static void fill_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		/* The lowest free number, and so this one. */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
			return;
}

int main(int argc, char **argv)
{
	fill_standard_descriptors();
	/* Names are bytes; shown as UTF-8 whatever the locale, so that a dump reads the same everywhere. */
	setlocale(LC_CTYPE, "C.UTF-8");
	/* A closed pipe is seen as EPIPE, so that the cache is left in order. */
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		usage(stderr);
		return CLI_USAGE;
	}
	if (is_any(argv[1], "help", "--help", "-h"))
		return help(argc, argv);
	if (is_any(argv[1], "version", "--version", "-V")) {
		printf("larder %s\n", larder_version());
		return cli_finish(CLI_DONE);
	}
	const struct row *row = find(argv[1]);
	if (!row) {
		cli_error("there is no verb '%s'; see 'larder --help'", argv[1]);
		return CLI_USAGE;
	}
	return row->run(argc - 1, argv + 1);
}
