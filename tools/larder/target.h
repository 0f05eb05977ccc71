/* SPDX-License-Identifier: MIT */
/**
 * What get, set, del and warm work on: TENANT SPACE NAME of the command line, opened with the secret.
 */
#ifndef LARDER_TARGET_H
#define LARDER_TARGET_H

#include "cli.h"

/** Longest time that a call of the tool waits for other processes, unless --wait says otherwise. */
#define TARGET_WAIT_MS 1000
#define TARGET_WAIT_OPTION(target) { "wait", CLI_TIME, (target), "TIME", "longest time to wait for other processes (1s)", NULL }
#define TARGET_HEX_OPTION(target) { "hex", CLI_FLAG, (target), NULL, "NAME is given in hex", NULL }

struct target {
	larder *cache;
	larder_tenant *tenant;
	const char *space;
	struct larder_call call;
};

/** Bytes of a name: borrowed from the argument, or owned when decoded from hex. */
struct target_name {
	const void *data;
	size_t len;
	unsigned char *owned;
};

/** Open cli->args[0] (tenant) of the cache, with args[1] as the space. Returns CLI_DONE, or an exit code with the error said. */
int target_open(struct cli *cli, int64_t wait_ms, struct target *target);
void target_close(struct target *target);

/** Returns CLI_DONE, or an exit code with the error said. Release with free(name->owned). */
int target_name(struct cli *cli, const char *argument, int hex, struct target_name *name);

/** A list of tags with commas, as the command line has it. list NULL: none. LARDER_TAGS_MAX is the library's to judge. Release with free(tags->owned). */
struct target_tags {
	const char *tag[LARDER_ENTRY_TAGS_MAX];
	size_t count;
	char *owned;
};
int target_tags(struct cli *cli, const char *list, struct target_tags *tags);

/** Is there a second level, by the settings that the cache will be opened with? */
int target_has_l2(struct cli *cli);

/** {"result":"LARDER_MISS","text":"..."}, with "reason" when the cache or L2 was not available. NULL when out of memory. */
json_t *target_result(int result);
/** The exit code of a call; errors are said, and with --json its result is printed. */
int target_report(struct cli *cli, const char *what, int result);

#endif
