/* SPDX-License-Identifier: MIT */
/*
 * TENANT SPACE NAME, opened (target.h). Called by get, set, del and warm.
 */
#include "target.h"

#include <stdlib.h>
#include <string.h>

#include "codec.h"

int target_open(struct cli *cli, int64_t wait_ms, struct target *target)
{
	memset(target, 0, sizeof *target);
	int code = cli_open(cli, &target->cache);
	if (code)
		return code;
	target->call = (struct larder_call)LARDER_CALL_INIT;
	target->call.budget_ms = wait_ms < 1 ? 1 : wait_ms > 3600000 ? 3600000 : (uint32_t)wait_ms;
	target->space = cli->args[1];
	int result = larder_tenant_open(target->cache, cli->args[0], &target->tenant);
	return result ? cli_failed(cli->args[0], result) : CLI_DONE;
}

void target_close(struct target *target)
{
	if (target->tenant)
		larder_tenant_close(target->tenant);
	larder_close(target->cache);
}

int target_name(struct cli *cli, const char *argument, int hex, struct target_name *name)
{
	*name = (struct target_name){ argument, strlen(argument), NULL };
	if (!hex)
		return CLI_DONE;
	name->owned = codec_unhex(argument, name->len, &name->len);
	name->data = name->owned;
	return name->owned ? CLI_DONE : cli_usage(cli, "--hex: '%s' is not hex", argument);
}

/* As larder.h has it. The library would say no more than that some argument is wrong. */
static int is_tag(const char *tag)
{
	size_t len = 0;

	while (tag[len] > ' ' && tag[len] <= '~')
		len++;
	return tag[len] == '\0' && len >= 1 && len <= LARDER_TAG_MAX;
}

int target_tags(struct cli *cli, const char *list, struct target_tags *tags)
{
	char *rest, *tag;

	memset(tags, 0, sizeof *tags);
	if (!list)
		return CLI_DONE;
	tags->owned = rest = strdup(list);
	if (!rest)
		return cli_failed("--tags", LARDER_E_NOMEM);
	while ((tag = strsep(&rest, ",")) != NULL) {
		if (tags->count == LARDER_ENTRY_TAGS_MAX)
			return cli_usage(cli, "--tags: at most %d, and at most LARDER_TAGS_MAX", LARDER_ENTRY_TAGS_MAX);
		if (!is_tag(tag))
			return cli_usage(cli, "--tags: a tag is 1 to %d printable characters without blanks", LARDER_TAG_MAX);
		tags->tag[tags->count++] = tag;
	}
	return CLI_DONE;
}

static int on_setting(void *ctx, const struct larder_setting *setting)
{
	if (setting->name && setting->type && strcmp(setting->name, "LARDER_L2_URL") == 0)
		*(int *)ctx = setting->value && *setting->value;
	return 0;
}

/* Settings that cannot be read are told when the cache is opened. */
int target_has_l2(struct cli *cli)
{
	int there = 0;
	return larder_settings_each(&cli->options, on_setting, &there) != 0 || there;
}

json_t *target_result(int result)
{
	json_t *object = json_pack("{ss ss}", "result", larder_result_name(result), "text", larder_strerror(result));
	if (object && (result == LARDER_UNAVAILABLE || result == LARDER_E_L2))
		json_object_set_new(object, "reason", json_string(larder_reason_text(larder_reason())));
	return object;
}

int target_report(struct cli *cli, const char *what, int result)
{
	json_t *object = cli->json ? target_result(result) : NULL;
	if (cli->json && cli_print_json(object))
		return CLI_UNAVAILABLE;
	if (result < 0 || result == LARDER_UNAVAILABLE)
		return cli_failed(what, result);
	return cli_exit_of(result);
}
