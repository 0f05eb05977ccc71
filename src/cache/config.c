/* SPDX-License-Identifier: MIT */
/*
 * Tells every setting with its value, its origin and what is wrong with it: all that `larder config` and the manual page know. It
 * must never show a secret, and never stop at a problem: this is what one runs when something is wrong.
 */
#include <larder/inspect.h>

#include <string.h>

#include "cache/second.h"

/* Room for the longest path, and for what is put behind it. */
#define VALUE_SIZE 4200

struct telling {
	larder_setting_fn fn;
	void *ctx;
	int stopped;        /* what the callback returned, if not 0: nothing more is told */
	int problems;
};

static const char *const origins[] = {
	[LD_FROM_DEFAULT] = "default",
	[LD_FROM_ENVIRONMENT] = "environment",
	[LD_FROM_OPTIONS] = "options",
	[LD_FROM_RUNTIME_DIRECTORY] = "RUNTIME_DIRECTORY",
	[LD_FROM_CREDENTIALS] = "CREDENTIALS_DIRECTORY",
};

static void tell(struct telling *telling, const struct larder_setting *setting)
{
	if (setting->problem != NULL)
		telling->problems = 1;
	if (telling->stopped == 0)
		telling->stopped = telling->fn(telling->ctx, setting);
}

static void tell_setting(struct telling *telling, const struct ld_settings *settings, enum ld_setting_id id, const char *problem)
{
	const struct ld_setting_row *row = &ld_setting_rows[id];
	char bounds[64], value[VALUE_SIZE];
	struct larder_setting setting = {
		.name = row->name,
		.type = ld_setting_type_name(row->type),
		.bounds = ld_setting_bounds(row, bounds, sizeof(bounds)),
		.fallback = row->fallback,
		.text = row->text,
		.value = ld_setting_show(settings, id, value, sizeof(value)),
		.origin = origins[settings->origin[id]],
		.problem = problem,
	};

	tell(telling, &setting);
}

static void tell_unknown(void *ctx, const char *variable)
{
	struct larder_setting setting = {
		.name = variable,
		.origin = origins[LD_FROM_ENVIRONMENT],
		.problem = "no such setting",
	};

	tell(ctx, &setting);
}

/* A row for each line. */
static void tell_problems(struct telling *telling, struct ld_problems *problems)
{
	char *rest = problems->text, *line;

	while ((line = strsep(&rest, "\n")) != NULL) {
		struct larder_setting setting = { .problem = line };

		tell(telling, &setting);
	}
}

static int tell_spaces(struct telling *telling, const struct ld_settings *settings)
{
	struct ld_problems problems = { 0 };
	struct ld_spaces *spaces = NULL;
	int result = ld_spaces_load(settings->text[LD_SET_SPACES_FILE], &spaces, &problems);

	tell_problems(telling, &problems);
	ld_spaces_free(spaces);
	ld_problems_free(&problems);
	return result;
}

/* What can be said of the second level without asking it. */
static void tell_second(struct telling *telling, const struct ld_settings *settings)
{
	struct ld_problems problems = { 0 };

	(void)ld_second_check(settings, &problems);
	tell_problems(telling, &problems);
	ld_problems_free(&problems);
}

int larder_settings_each(const struct larder_options *options, larder_setting_fn fn, void *ctx)
{
	struct telling telling = { fn, ctx, 0, 0 };
	struct ld_setting_faults faults = { 0 };
	struct ld_settings settings = { 0 };
	int result;

	if (fn == NULL)
		return LARDER_E_USAGE;
	result = ld_settings_read_sorted(options, &settings, &faults);
	ld_settings_wipe_secret(&settings);
	if (result != 0 && result != LARDER_E_SETTINGS)
		goto out;
	for (int id = 0; id < LD_SETTINGS; id++)
		tell_setting(&telling, &settings, (enum ld_setting_id)id, faults.of[id].text);
	ld_settings_unknown(options, tell_unknown, &telling);
	tell_problems(&telling, &faults.general);
	tell_second(&telling, &settings);
	result = tell_spaces(&telling, &settings);
	if (result != LARDER_E_NOMEM)
		result = telling.problems ? LARDER_E_SETTINGS : 0;
	if (telling.stopped != 0)
		result = telling.stopped;
out:
	ld_settings_free(&settings);
	ld_setting_faults_free(&faults);
	return result;
}
