/* SPDX-License-Identifier: MIT */
/*
 * Reads all settings: options first, then the environment, then the defaults of the table; then what no single row can say
 * (contradictions, the default directory, where the secret is). Called once by larder_open(), by inspectors and by `larder
 * config`. It must never stop at the first problem, and never put a secret, or a mistyped line that may hold one, into a
 * problem.
 */
#include "cache/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define PREFIX "LARDER_"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
/* A struct of options longer than this comes from no version of larder: the size was not set. */
#define OPTIONS_SIZE_MAX 4096
#define OPTIONS_SIZE_MIN (offsetof(struct larder_options, settings) + sizeof(const char *const *))

const struct ld_setting_row ld_setting_rows[LD_SETTINGS] = {
#define LD_SETTING(id, type, low, high, fallback, choices, text) \
	[LD_SET_##id] = { PREFIX #id, type, low, high, fallback, choices, text },
#include "cache/settings.def"
#undef LD_SETTING
};

struct reading {
	const struct larder_options *options;
	struct ld_settings *settings;
	struct ld_setting_faults *faults;
};

static int uses_environment(const struct larder_options *options)
{
	return options == NULL || !(options->flags & LARDER_OPEN_NO_ENV);
}

/* A variable, NULL when it is empty or must not be looked at. */
static const char *variable(const struct larder_options *options, const char *name)
{
	const char *value = uses_environment(options) ? getenv(name) : NULL;

	return value != NULL && *value != '\0' ? value : NULL;
}

/* The row with this name (len bytes, without the prefix), or -1. */
static int find_row(const char *name, size_t len)
{
	for (int id = 0; id < LD_SETTINGS; id++) {
		const char *own = ld_setting_rows[id].name + PREFIX_LEN;

		if (strlen(own) == len && memcmp(own, name, len) == 0)
			return id;
	}
	return -1;
}

/* Fields that this version does not know must be zero, as a newer caller leaves them when it does not use them. */
static const char *options_fault(const struct larder_options *options)
{
	if (options->size < OPTIONS_SIZE_MIN || options->size > OPTIONS_SIZE_MAX)
		return "options: size is not sizeof(struct larder_options)";
	for (size_t at = sizeof(*options); at < options->size; at++) {
		if (((const unsigned char *)options)[at] != 0)
			return "options: a field is set that this version of larder does not know";
	}
	if ((options->flags & ~LARDER_OPEN_NO_ENV) != 0 || options->reserved != 0)
		return "options: an unknown flag, or reserved is not 0";
	return NULL;
}

static int is_plain_name(const char *name, size_t len)
{
	return len > 0 && len <= 40 && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == len;
}

/* Of a line that names no setting only the name is told, and only if it looks like one: the rest may be a secret. */
static void check_option_names(const struct larder_options *options, struct ld_problems *problems)
{
	if (options == NULL || options->settings == NULL)
		return;
	for (size_t i = 0; options->settings[i] != NULL; i++) {
		const char *line = options->settings[i];
		size_t len = strcspn(line, "=");

		if (line[len] == '=' && find_row(line, len) >= 0)
			continue;
		if (line[len] == '=' && is_plain_name(line, len))
			ld_problem(problems, "options: unknown setting %.*s, allowed are the names of larder(5) without " PREFIX,
			    (int)len, line);
		else
			ld_problem(problems, "options: setting %zu is not NAME=value", i + 1);
	}
}

static const char *option_value(const struct larder_options *options, enum ld_setting_id id)
{
	const char *own = ld_setting_rows[id].name + PREFIX_LEN, *value = NULL;
	size_t len = strlen(own);

	if (options == NULL || options->settings == NULL)
		return NULL;
	for (size_t i = 0; options->settings[i] != NULL; i++) {
		if (strncmp(options->settings[i], own, len) == 0 && options->settings[i][len] == '=')
			value = options->settings[i] + len + 1;
	}
	return value != NULL && *value != '\0' ? value : NULL;
}

static const char *raw_value(const struct larder_options *options, enum ld_setting_id id, enum ld_origin *ret_origin)
{
	const char *value = option_value(options, id);

	*ret_origin = LD_FROM_OPTIONS;
	if (value != NULL)
		return value;
	value = variable(options, ld_setting_rows[id].name);
	*ret_origin = value != NULL ? LD_FROM_ENVIRONMENT : LD_FROM_DEFAULT;
	return value != NULL ? value : ld_setting_rows[id].fallback;
}

static int keep_text(struct ld_settings *settings, enum ld_setting_id id, const char *value)
{
	size_t len = strlen(value);

	settings->text[id] = ld_strdup(value);
	if (settings->text[id] == NULL)
		return LARDER_E_NOMEM;
	if (ld_setting_rows[id].type == LD_DIRECTORY) {
		while (len > 1 && settings->text[id][len - 1] == '/')
			settings->text[id][--len] = '\0';
	}
	return 0;
}

static int parse_row(const struct ld_setting_row *row, const char *value, int64_t *ret_number, struct ld_problems *problems)
{
	return ld_setting_parse(row->type, row->name, value, row->low, row->high, row->choices, ret_number, problems);
}

/* One setting. A bad value is told, and its default taken instead, so that the rest can be checked. */
static int take(struct reading *reading, enum ld_setting_id id)
{
	const struct ld_setting_row *row = &ld_setting_rows[id];
	struct ld_settings *settings = reading->settings;
	const char *value = raw_value(reading->options, id, &settings->origin[id]);

	if (*value != '\0' && parse_row(row, value, &settings->number[id], &reading->faults->of[id]) != 0) {
		value = row->fallback;
		if (*value != '\0')
			(void)parse_row(row, value, &settings->number[id], &reading->faults->of[id]);
	}
	if (*value == '\0' || row->type < LD_PATH)
		return 0;
	return keep_text(settings, id, value);
}

/* Was it given, and well? */
static int is_given(const struct reading *reading, enum ld_setting_id id)
{
	return reading->settings->origin[id] != LD_FROM_DEFAULT && reading->faults->of[id].count == 0;
}

static int is_well(const struct reading *reading, enum ld_setting_id id)
{
	return reading->faults->of[id].count == 0;
}

/* A value must fit beside others. One that nobody asked for gives way in silence. */
static void check_max_value(struct reading *reading)
{
	struct ld_settings *settings = reading->settings;
	int64_t most = settings->number[LD_SET_SIZE] / 4;
	char value[64], size[64], allowed[64];
	struct ld_settings limit = { .number = { [LD_SET_MAX_VALUE] = most } };

	if (settings->number[LD_SET_MAX_VALUE] <= most || !is_well(reading, LD_SET_SIZE))
		return;
	if (is_given(reading, LD_SET_MAX_VALUE))
		ld_problem(&reading->faults->general, "LARDER_MAX_VALUE=%s: more than a quarter of LARDER_SIZE=%s, allowed 1..%s",
		    ld_setting_show(settings, LD_SET_MAX_VALUE, value, sizeof(value)),
		    ld_setting_show(settings, LD_SET_SIZE, size, sizeof(size)),
		    ld_setting_show(&limit, LD_SET_MAX_VALUE, allowed, sizeof(allowed)));
	else
		settings->number[LD_SET_MAX_VALUE] = most;
}

/* The high mark is at least 11, so there is always something below it that is allowed. */
static void check_marks(struct reading *reading)
{
	int64_t low = reading->settings->number[LD_SET_EVICT_LOW], high = reading->settings->number[LD_SET_EVICT_HIGH];

	if (low < high || !is_well(reading, LD_SET_EVICT_LOW) || !is_well(reading, LD_SET_EVICT_HIGH))
		return;
	ld_problem(&reading->faults->general, "LARDER_EVICT_LOW=%d%% is not below LARDER_EVICT_HIGH=%d%%, allowed %d%%..%d%%",
	    (int)low, (int)high, (int)ld_setting_rows[LD_SET_EVICT_LOW].low, (int)high - 1);
}

static void check_contradictions(struct reading *reading)
{
	const int64_t *number = reading->settings->number;

	check_max_value(reading);
	check_marks(reading);
	if (!number[LD_SET_THREADS] && number[LD_SET_EVICTOR] == 0 && is_given(reading, LD_SET_EVICTOR))
		ld_problem(&reading->faults->general, "LARDER_EVICTOR=thread needs a thread, but LARDER_THREADS=off: "
		    "allowed inline or off, or leave LARDER_EVICTOR unset");
}

static char *join(const char *directory, size_t len, const char *more)
{
	size_t size = len + strlen(more) + 1;
	char *path = ld_malloc(size);

	if (path != NULL)
		(void)snprintf(path, size, "%.*s%s", (int)len, directory, more);
	return path;
}

/* $RUNTIME_DIRECTORY may hold several, with colons between them (systemd.exec(5)); ours is in the first. */
static int resolve_directory(struct reading *reading)
{
	const struct ld_setting_row *row = &ld_setting_rows[LD_SET_DIR];
	struct ld_settings *settings = reading->settings;
	const char *runtime = variable(reading->options, "RUNTIME_DIRECTORY");
	char fallback[64];
	int64_t none;

	if (settings->text[LD_SET_DIR] != NULL || !is_well(reading, LD_SET_DIR))
		return 0;
	(void)snprintf(fallback, sizeof(fallback), "/dev/shm/larder-%u", (unsigned)geteuid());
	if (runtime != NULL) {
		settings->origin[LD_SET_DIR] = LD_FROM_RUNTIME_DIRECTORY;
		if (ld_setting_parse(row->type, "RUNTIME_DIRECTORY", runtime, row->low, row->high - 7, NULL, &none,
		    &reading->faults->of[LD_SET_DIR]) != 0)
			return 0;
		settings->text[LD_SET_DIR] = join(runtime, strcspn(runtime, ":"), "/larder");
	} else {
		settings->text[LD_SET_DIR] = join(fallback, strlen(fallback), "");
	}
	return settings->text[LD_SET_DIR] != NULL ? 0 : LARDER_E_NOMEM;
}

/*
 * A service may have credentials, and none of them ours: then LARDER_SECRET has its turn. What else may be wrong with the file
 * ld_secret_load() tells.
 */
static int resolve_credentials(struct reading *reading)
{
	const struct ld_setting_row *row = &ld_setting_rows[LD_SET_DIR];
	struct ld_settings *settings = reading->settings;
	const char *directory = variable(reading->options, "CREDENTIALS_DIRECTORY");
	char *file;
	int64_t none;
	int is_absent;

	if (directory == NULL || settings->text[LD_SET_SECRET_FILE] != NULL || !is_well(reading, LD_SET_SECRET_FILE))
		return 0;
	if (ld_setting_parse(row->type, "CREDENTIALS_DIRECTORY", directory, row->low, row->high, NULL, &none,
	    &reading->faults->of[LD_SET_SECRET_FILE]) != 0)
		return 0;
	file = join(directory, strlen(directory), "/larder-secret");
	if (file == NULL)
		return LARDER_E_NOMEM;
	is_absent = access(file, F_OK) != 0 && errno == ENOENT;
	free(file);
	if (is_absent)
		return 0;
	settings->origin[LD_SET_SECRET_FILE] = LD_FROM_CREDENTIALS;
	settings->credentials_dir = ld_strdup(directory);
	return settings->credentials_dir != NULL ? 0 : LARDER_E_NOMEM;
}

/* What the collected problems amount to. */
static int verdict(const struct ld_setting_faults *faults)
{
	unsigned count = faults->general.count;
	int lost = faults->general.lost;

	for (int id = 0; id < LD_SETTINGS; id++) {
		count += faults->of[id].count;
		lost |= faults->of[id].lost;
	}
	if (lost)
		return LARDER_E_NOMEM;
	return count != 0 ? LARDER_E_SETTINGS : 0;
}

int ld_settings_read_sorted(const struct larder_options *options, struct ld_settings *ret_settings,
    struct ld_setting_faults *faults)
{
	const char *fault = options != NULL ? options_fault(options) : NULL;
	struct reading reading;
	int result = 0;

	memset(ret_settings, 0, sizeof(*ret_settings));
	reading = (struct reading){ options, ret_settings, faults };
	if (fault != NULL) {
		ld_problem(&faults->general, "%s", fault);
		return LARDER_E_USAGE;
	}
	check_option_names(options, &faults->general);
	for (int id = 0; id < LD_SETTINGS && result == 0; id++)
		result = take(&reading, (enum ld_setting_id)id);
	if (result == 0) {
		check_contradictions(&reading);
		result = resolve_directory(&reading);
	}
	if (result == 0)
		result = resolve_credentials(&reading);
	return result != 0 ? result : verdict(faults);
}

/* Each line becomes a problem of its own, so that the count stays right. */
static void move_problems(struct ld_problems *from, struct ld_problems *to)
{
	char *rest = from->text, *line;

	while ((line = strsep(&rest, "\n")) != NULL)
		ld_problem(to, "%s", line);
	ld_problems_free(from);
}

int ld_settings_read(const struct larder_options *options, struct ld_settings *ret_settings, struct ld_problems *problems,
    void (*unknown)(void *ctx, const char *variable), void *ctx)
{
	struct ld_setting_faults faults = { 0 };
	int result = ld_settings_read_sorted(options, ret_settings, &faults);

	for (int id = 0; id < LD_SETTINGS; id++)
		move_problems(&faults.of[id], problems);
	move_problems(&faults.general, problems);
	if (unknown != NULL && result != LARDER_E_USAGE)
		ld_settings_unknown(options, unknown, ctx);
	return problems->lost ? LARDER_E_NOMEM : result;
}

void ld_settings_unknown(const struct larder_options *options, void (*unknown)(void *ctx, const char *variable), void *ctx)
{
	if (!uses_environment(options) || environ == NULL)
		return;
	for (char **line = environ; *line != NULL; line++) {
		size_t len = strcspn(*line, "=");
		char name[128];

		if (strncmp(*line, PREFIX, PREFIX_LEN) != 0 || (*line)[len] != '=' || (*line)[len + 1] == '\0')
			continue;
		if (find_row(*line + PREFIX_LEN, len - PREFIX_LEN) >= 0)
			continue;
		(void)snprintf(name, sizeof(name), "%.*s", (int)(len < sizeof(name) ? len : sizeof(name) - 1), *line);
		unknown(ctx, name);
	}
}

void ld_setting_faults_free(struct ld_setting_faults *faults)
{
	for (int id = 0; id < LD_SETTINGS; id++)
		ld_problems_free(&faults->of[id]);
	ld_problems_free(&faults->general);
}

void ld_settings_wipe_secret(struct ld_settings *settings)
{
	char *secret = settings->text[LD_SET_SECRET];

	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	free(secret);
	settings->text[LD_SET_SECRET] = NULL;
}

void ld_settings_free(struct ld_settings *settings)
{
	ld_settings_wipe_secret(settings);
	for (int id = 0; id < LD_SETTINGS; id++)
		free(settings->text[id]);
	free(settings->credentials_dir);
	memset(settings, 0, sizeof(*settings));
}

static int same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

const char *ld_settings_differ(const struct ld_settings *a, const struct ld_settings *b)
{
	for (int id = 0; id < LD_SETTINGS; id++) {
		if (id == LD_SET_SECRET || id == LD_SET_SECRET_FILE)
			continue;
		if (a->number[id] != b->number[id] || !same_text(a->text[id], b->text[id]))
			return ld_setting_rows[id].name;
	}
	return NULL;
}
