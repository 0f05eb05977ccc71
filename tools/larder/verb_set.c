/* SPDX-License-Identifier: MIT */
/*
 * `larder set`: store a value, from the command line or, byte for byte, from stdin.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "human.h"
#include "target.h"
#include "verbs.h"

/* Upper bound of LARDER_MAX_VALUE in larder(5): no value can be longer, whatever the settings are. */
#define VALUE_MAX (UINT64_C(1) << 30)

static const char text[] =
	"Store a value under a name, over any older one. Without VALUE it is read from\n"
	"stdin, to its end and as it is. Times that are not given are those of the\n"
	"space's policy. With --absent it is remembered that there is no such thing.\n"
	"Needs the secret of the cache (LARDER_SECRET_FILE).\n"
	"Exit code: 0 stored, 1 not stored because it exists (--add).\n";

struct set {
	int hex, add, absent;
	int64_t wait_ms;
	const char *hard_end, *tags;
	const char *tag[LARDER_ENTRY_TAGS_MAX];
	uint64_t flags;
	struct larder_store store;
};

struct bytes {
	unsigned char *data;
	size_t len, size;
};

static int grow(struct bytes *bytes)
{
	if (bytes->len < bytes->size)
		return 0;
	size_t size = bytes->size ? bytes->size * 2 : 65536;
	unsigned char *data = realloc(bytes->data, size);
	if (!data)
		return -1;
	bytes->data = data;
	bytes->size = size;
	return 0;
}

static int read_stdin(struct bytes *bytes)
{
	for (;;) {
		if (grow(bytes) || bytes->len > VALUE_MAX) {
			cli_error("standard input: the value is too long");
			return CLI_USAGE;
		}
		ssize_t n = read(STDIN_FILENO, bytes->data + bytes->len, bytes->size - bytes->len);
		if (n == 0)
			return CLI_DONE;
		if (n < 0 && errno != EINTR) {
			cli_error("standard input: %s", strerror(errno));
			return CLI_USAGE;
		}
		bytes->len += n > 0 ? (size_t)n : 0;
	}
}

/* As larder.h has it. The library would say no more than that some argument is wrong. */
static int is_tag(const char *tag)
{
	size_t len = 0;

	while (tag[len] > ' ' && tag[len] <= '~')
		len++;
	return tag[len] == '\0' && len >= 1 && len <= LARDER_TAG_MAX;
}

/* A list with commas, cut in place. LARDER_TAGS_MAX is the library's to judge. */
static int take_tags(struct cli *cli, struct set *set, struct bytes *list)
{
	char *rest, *tag;

	if (!set->tags)
		return CLI_DONE;
	rest = strdup(set->tags);
	if (!rest)
		return cli_failed("set", LARDER_E_NOMEM);
	list->data = (unsigned char *)rest;
	while ((tag = strsep(&rest, ",")) != NULL) {
		if (set->store.tag_count == LARDER_ENTRY_TAGS_MAX)
			return cli_usage(cli, "--tags: at most %d, and at most LARDER_TAGS_MAX", LARDER_ENTRY_TAGS_MAX);
		if (!is_tag(tag))
			return cli_usage(cli, "--tags: a tag is 1 to %d printable characters without blanks", LARDER_TAG_MAX);
		set->tag[set->store.tag_count++] = tag;
	}
	set->store.tags = set->tag;
	return CLI_DONE;
}

/* What the options say about times and flags, checked before anything is read or opened. */
static int prepare(struct cli *cli, struct set *set)
{
	if (set->flags > UINT32_MAX)
		return cli_usage(cli, "--flags: expected 0..0xffffffff");
	set->store.flags = (uint32_t)set->flags;
	if (set->hard_end && human_parse_when(set->hard_end, human_now_ms(), &set->store.hard_end_ms))
		return cli_usage(cli, "--hard-end %s: expected 2026-01-02T03:04:05Z, @SECONDS since 1970, or +TIME from now", set->hard_end);
	if (set->absent && (cli->arg_count > 3 || set->add))
		return cli_usage(cli, "--absent goes with neither a VALUE nor --add");
	return CLI_DONE;
}

static int store(struct target *target, const struct set *set, const struct target_name *name, const struct bytes *value)
{
	if (set->absent)
		return larder_set_absent(target->tenant, target->space, name->data, name->len, &set->store, &target->call);
	if (set->add)
		return larder_add(target->tenant, target->space, name->data, name->len, value->data, value->len, &set->store, &target->call);
	return larder_set(target->tenant, target->space, name->data, name->len, value->data, value->len, &set->store, &target->call);
}

static int run(struct cli *cli, struct set *set, struct target *target)
{
	struct bytes input = { 0 }, value = { 0 }, tags = { 0 };
	struct target_name name = { 0 };
	int code = prepare(cli, set);
	if (code == CLI_DONE)
		code = take_tags(cli, set, &tags);
	if (code == CLI_DONE)
		code = target_name(cli, cli->args[2], set->hex, &name);
	/* Opened first: who has no cache need not type a value. */
	if (code == CLI_DONE)
		code = target_open(cli, set->wait_ms, target);
	if (code == CLI_DONE && cli->arg_count == 3 && !set->absent) {
		code = read_stdin(&input);
		value = input;
	} else if (code == CLI_DONE && cli->arg_count > 3) {
		value = (struct bytes){ (unsigned char *)cli->args[3], strlen(cli->args[3]), 0 };
	}
	if (code == CLI_DONE)
		code = target_report(cli, "set", store(target, set, &name, &value));
	free(tags.data);
	free(input.data);
	free(name.owned);
	return code;
}

int verb_set(int argc, char **argv)
{
	struct cli cli;
	struct target target = { 0 };
	struct set set = { .wait_ms = TARGET_WAIT_MS, .store = LARDER_STORE_INIT };
	const struct cli_option options[] = {
		{ "ttl", CLI_TIME, &set.store.ttl_ms, "TIME", "time to live", NULL },
		{ "stale", CLI_TIME, &set.store.stale_ms, "TIME", "stale window after it", NULL },
		{ "stale-if-error", CLI_TIME, &set.store.error_ms, "TIME", "window after that one, for when its source fails", NULL },
		{ "tags", CLI_TEXT, &set.tags, "TAG,...", "what it belongs to, for invalidation", NULL },
		{ "hard-end", CLI_TEXT, &set.hard_end, "WHEN", "never serve it at or after this time", NULL },
		{ "flags", CLI_NUMBER, &set.flags, "NUMBER", "32 bits of your own", NULL },
		{ "add", CLI_FLAG, &set.add, NULL, "only if there is none", NULL },
		{ "absent", CLI_FLAG, &set.absent, NULL, "remember that there is no such thing", NULL },
		TARGET_HEX_OPTION(&set.hex),
		TARGET_WAIT_OPTION(&set.wait_ms),
		CLI_OPTIONS_END
	};
	const struct cli_verb verb = { "set", "[options] TENANT SPACE NAME [VALUE]", text, options, 3, 4 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	if (stop >= 0)
		return stop;
	int code = run(&cli, &set, &target);
	target_close(&target);
	return cli_end(&cli, code);
}
