/* SPDX-License-Identifier: MIT */
/*
 * Reads LARDER_SPACES_FILE: one of two readers of JSON in the library. Called when a cache is opened, when the file has changed, and by `larder
 * config`. The file is written by people: it must tell every fault at once, with its place, and never guess. What it says goes to
 * spaces_table.c.
 */
#include "cache/spaces.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cache/settings.h"
#include "cache/spaces_table.h"

#define FILE_MAX_B ((size_t)1 << 20)
#define DEPTH_MAX 8
/* A file that is wrong throughout is not told line by line. */
#define PROBLEMS_MAX 100

struct parsing {
	const char *file;
	struct ld_spaces *spaces;
	struct ld_problems *problems;
	unsigned told;
	int nomem;
};

/* Longest place: "tenants.", an id or a quoted key, ".spaces.", the same, ".", the same. */
#define PLACE_SIZE 256

static const struct ld_setting_row quota_bounds = { "quota", LD_SIZE, 64 << 10, INT64_C(1) << 40, "", NULL, "" };

static void fault(struct parsing *parsing, const char *place, const char *what)
{
	parsing->told++;
	if (parsing->told <= PROBLEMS_MAX)
		ld_problem(parsing->problems, "%s: %s: %s", parsing->file, place, what);
	else if (parsing->told == PROBLEMS_MAX + 1)
		ld_problem(parsing->problems, "%s: more than %d faults, the rest is not told", parsing->file, PROBLEMS_MAX);
}

static void enter(char ret_place[PLACE_SIZE], const char *place, const char *key)
{
	char quoted[LD_QUOTE_SIZE];
	struct ld_text text;

	ld_text_init(&text, ret_place, PLACE_SIZE);
	ld_text_add(&text, place);
	ld_text_add(&text, *place != '\0' ? "." : "");
	ld_text_add(&text, ld_setting_quote(key, quoted));
}

static int is_object(struct parsing *parsing, const char *place, const json_t *value)
{
	if (!json_is_object(value))
		fault(parsing, place, "not an object");
	return json_is_object(value);
}

static int is_id(struct parsing *parsing, const char *place, const char *key, size_t max)
{
	char what[64];

	if (ld_text_is_id(key, max))
		return 1;
	(void)snprintf(what, sizeof(what), "not an id, allowed are a-z, 0-9 and '-', 1..%zu of them", max);
	fault(parsing, place, what);
	return 0;
}

static const char *wrong_kind(enum ld_setting_type type, const json_t *value)
{
	if (json_is_real(value))
		return "not a whole number";
	if (type == LD_DECIMAL)
		return "not a number";
	return type == LD_RATE ? "not a text like \"30/m\", nor a number" : "not a text like \"5m\", nor a whole number";
}

/* A size or time, as text with a unit or as a number. Left alone when it is not good. */
static void read_number(struct parsing *parsing, const char *place, const json_t *value, const struct ld_setting_row *row,
    int64_t *ret_number)
{
	char digits[32], quoted[LD_QUOTE_SIZE], complaint[160], what[256];
	const char *text = digits;

	if (json_is_string(value)) {
		text = json_string_value(value);
	} else if (json_is_integer(value)) {
		(void)snprintf(digits, sizeof(digits), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	} else if (json_is_real(value) && (row->type == LD_RATE || row->type == LD_DECIMAL)) {
		/* One that does not fit is out of range, cut or not. */
		(void)snprintf(digits, sizeof(digits), "%.*f", row->type == LD_RATE ? 9 : 2, json_real_value(value));
	} else {
		fault(parsing, place, wrong_kind(row->type, value));
		return;
	}
	if (ld_setting_judge(row, text, ret_number, complaint, sizeof(complaint)) == 0)
		return;
	(void)snprintf(what, sizeof(what), "%s: %s", ld_setting_quote(text, quoted), complaint);
	fault(parsing, place, what);
}

static void read_names(struct parsing *parsing, const char *place, const json_t *value, int *ret_keep)
{
	if (json_is_boolean(value))
		*ret_keep = json_is_true(value);
	else
		fault(parsing, place, "not true or false");
}

static void read_busy(struct parsing *parsing, const char *place, const json_t *value, int *ret_on_busy)
{
	char complaint[160];
	int64_t word;

	if (json_is_string(value) && ld_setting_judge(&ld_setting_rows[LD_SET_ON_BUSY], json_string_value(value), &word, complaint, sizeof(complaint)) == 0)
		*ret_on_busy = (int)word;
	else
		fault(parsing, place, "not \"load\" or \"fail\"");
}

static void read_policy(struct parsing *parsing, const char *place, const json_t *fields, struct ld_policy *policy)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)fields, key, value) {
		char inner[PLACE_SIZE];

		enter(inner, place, key);
		if (strcmp(key, "ttl") == 0)
			read_number(parsing, inner, value, &ld_setting_rows[LD_SET_TTL], &policy->ttl_ms);
		else if (strcmp(key, "stale") == 0)
			read_number(parsing, inner, value, &ld_setting_rows[LD_SET_STALE], &policy->stale_ms);
		else if (strcmp(key, "stale_if_error") == 0)
			read_number(parsing, inner, value, &ld_setting_rows[LD_SET_STALE_IF_ERROR], &policy->error_ms);
		else if (strcmp(key, "l2_ttl") == 0)
			read_number(parsing, inner, value, &ld_setting_rows[LD_SET_L2_TTL], &policy->l2_ttl_ms);
		else if (strcmp(key, "jitter") == 0)
			read_number(parsing, inner, value, &ld_setting_rows[LD_SET_TTL_JITTER], &policy->jitter_pct);
		else if (strcmp(key, "beta") == 0)
			read_number(parsing, inner, value, &ld_setting_rows[LD_SET_BETA], &policy->beta);
		else if (strcmp(key, "busy") == 0)
			read_busy(parsing, inner, value, &policy->on_busy);
		else if (strcmp(key, "negative") == 0)
			read_number(parsing, inner, value, &ld_setting_rows[LD_SET_NEGATIVE_TTL], &policy->negative_ms);
		else if (strcmp(key, "names") == 0)
			read_names(parsing, inner, value, &policy->keep_names);
		else
			fault(parsing, inner, "unknown field, allowed are ttl, stale, stale_if_error, negative, l2_ttl, jitter, beta, busy, names");
	}
}

/* tenant "" for the policies of all tenants. */
static void read_spaces(struct parsing *parsing, const char *place, const json_t *spaces, const char *tenant)
{
	const char *key;
	json_t *value;

	if (!is_object(parsing, place, spaces))
		return;
	json_object_foreach((json_t *)spaces, key, value) {
		char inner[PLACE_SIZE];
		struct ld_policy *policy;

		enter(inner, place, key);
		if (!is_id(parsing, inner, key, LARDER_SPACE_MAX) || !is_object(parsing, inner, value))
			continue;
		policy = ld_spaces_add_policy(parsing->spaces, tenant, key);
		if (policy == NULL) {
			parsing->nomem = 1;
			return;
		}
		read_policy(parsing, inner, value, policy);
	}
}

static void read_breaker(struct parsing *parsing, const char *place, const json_t *fields, struct ld_spaces_tenant *own)
{
	/* In the order of the settings. */
	static const char *const names[LD_SPACES_BREAKER] = { "failures", "error_pct", "volume", "window", "slow", "slow_pct", "open", "open_max",
		"successes" };
	const char *key;
	json_t *value;

	if (!is_object(parsing, place, fields))
		return;
	json_object_foreach((json_t *)fields, key, value) {
		char inner[PLACE_SIZE];
		int i = 0;

		enter(inner, place, key);
		while (i < LD_SPACES_BREAKER && strcmp(key, names[i]) != 0)
			i++;
		if (i < LD_SPACES_BREAKER)
			read_number(parsing, inner, value, &ld_setting_rows[LD_SET_BREAKER_FAILURES + i], &own->breaker[i]);
		else
			fault(parsing, inner, "unknown field, allowed are failures, error_pct, volume, window, slow, slow_pct, open, open_max, successes");
	}
}

static void read_quota(struct parsing *parsing, const char *place, const json_t *value, struct ld_spaces_tenant *own)
{
	int64_t bytes = 0;

	read_number(parsing, place, value, &quota_bounds, &bytes);
	own->quota_b = (uint64_t)bytes;
}

/* The fields of a tenant that limit it, each with the setting whose bounds it has. 1 if it is one of them. */
static int read_limit(struct parsing *parsing, const char *place, const char *key, const json_t *value, struct ld_limits *limits)
{
	const struct {
		const char *name;
		enum ld_setting_id setting;
		int64_t *to;
	} fields[] = {
		{ "rate", LD_SET_LIMIT_RATE, &limits->rate }, { "burst", LD_SET_LIMIT_BURST, &limits->burst },
		{ "subkey_rate", LD_SET_LIMIT_SUBKEY_RATE, &limits->subkey_rate }, { "subkey_burst", LD_SET_LIMIT_SUBKEY_BURST, &limits->subkey_burst },
		{ "l2_rate", LD_SET_L2_RATE, &limits->l2_rate }, { "l2_burst", LD_SET_L2_BURST, &limits->l2_burst },
		{ "l2_subkey_rate", LD_SET_L2_SUBKEY_RATE, &limits->l2_subkey_rate },
		{ "l2_subkey_burst", LD_SET_L2_SUBKEY_BURST, &limits->l2_subkey_burst },
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strcmp(key, fields[i].name) == 0) {
			read_number(parsing, place, value, &ld_setting_rows[fields[i].setting], fields[i].to);
			return 1;
		}
	}
	return 0;
}

static void read_tenant(struct parsing *parsing, const char *place, const json_t *fields, const char *tenant)
{
	struct ld_spaces_tenant *own = ld_spaces_add_tenant(parsing->spaces, tenant);
	const char *key;
	json_t *value;

	if (own == NULL) {
		parsing->nomem = 1;
		return;
	}
	json_object_foreach((json_t *)fields, key, value) {
		char inner[PLACE_SIZE];

		enter(inner, place, key);
		if (strcmp(key, "quota") == 0)
			read_quota(parsing, inner, value, own);
		else if (strcmp(key, "breaker") == 0)
			read_breaker(parsing, inner, value, own);
		else if (strcmp(key, "spaces") == 0)
			read_spaces(parsing, inner, value, tenant);
		else if (!read_limit(parsing, inner, key, value, &own->limits))
			fault(parsing, inner, "unknown field, allowed are quota, rate, burst, subkey_rate, subkey_burst, l2_rate, l2_burst, "
			    "l2_subkey_rate, l2_subkey_burst, breaker, spaces");
	}
}

static void read_tenants(struct parsing *parsing, const json_t *tenants)
{
	const char *key;
	json_t *value;

	if (!is_object(parsing, "tenants", tenants))
		return;
	json_object_foreach((json_t *)tenants, key, value) {
		char inner[PLACE_SIZE];

		enter(inner, "tenants", key);
		if (is_id(parsing, inner, key, LARDER_TENANT_MAX) && is_object(parsing, inner, value))
			read_tenant(parsing, inner, value, key);
	}
}

static void read_root(struct parsing *parsing, const json_t *root)
{
	const char *key;
	json_t *value;

	if (!json_is_object(root)) {
		fault(parsing, "the whole", "not an object");
		return;
	}
	json_object_foreach((json_t *)root, key, value) {
		char inner[PLACE_SIZE];

		enter(inner, "", key);
		if (strcmp(key, "spaces") == 0)
			read_spaces(parsing, inner, value, "");
		else if (strcmp(key, "tenants") == 0)
			read_tenants(parsing, value);
		else
			fault(parsing, inner, "unknown field, allowed are spaces, tenants");
	}
}

/* jansson's text repeats a piece of the file. */
static void syntax_fault(struct parsing *parsing, const json_error_t *error)
{
	char place[64], what[sizeof(error->text)];
	size_t i;

	(void)snprintf(place, sizeof(place), "line %d, column %d", error->line, error->column);
	for (i = 0; i + 1 < sizeof(what) && error->text[i] != '\0'; i++)
		what[i] = error->text[i] >= 0x20 && error->text[i] < 0x7f ? error->text[i] : '?';
	what[i] = '\0';
	fault(parsing, place, what);
}

static void parse(struct parsing *parsing, const char *json, size_t len)
{
	struct ld_json_size size;
	json_error_t error;
	json_t *root;

	if (len > FILE_MAX_B) {
		fault(parsing, "the whole", "longer than 1M, allowed 0..1M");
		return;
	}
	/* Before jansson recurses. */
	ld_json_measure(json, len, &size);
	if (size.depth > DEPTH_MAX) {
		fault(parsing, "the whole", "nested too deep, allowed 1..8");
		return;
	}
	root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &error);
	if (root != NULL)
		read_root(parsing, root);
	else if (json_error_code(&error) == json_error_out_of_memory)
		parsing->nomem = 1;
	else
		syntax_fault(parsing, &error);
	json_decref(root);
}

int ld_spaces_parse(const char *json, size_t len, const char *file_name, struct ld_spaces **ret_spaces,
    struct ld_problems *problems)
{
	struct parsing parsing = { file_name, ld_calloc(1, sizeof(*parsing.spaces)), problems, 0, 0 };

	if (parsing.spaces == NULL)
		return LARDER_E_NOMEM;
	parse(&parsing, json, len);
	if (parsing.nomem || problems->lost || parsing.told != 0) {
		ld_spaces_free(parsing.spaces);
		return parsing.nomem || problems->lost ? LARDER_E_NOMEM : LARDER_E_SETTINGS;
	}
	ld_spaces_sort(parsing.spaces);
	*ret_spaces = parsing.spaces;
	return 0;
}

static int unreadable(struct ld_problems *problems, const char *path, const char *why)
{
	ld_problem(problems, "%s: %s", path, why);
	return problems->lost ? LARDER_E_NOMEM : LARDER_E_SETTINGS;
}

static int read_open(int fd, const char *file_name, struct ld_spaces_text *text, struct ld_problems *problems)
{
	ssize_t len;

	if (fstat(fd, &text->status) != 0)
		return unreadable(problems, file_name, strerrordesc_np(errno));
	if (!S_ISREG(text->status.st_mode))
		return unreadable(problems, file_name, "not a regular file");
	text->json = ld_malloc(FILE_MAX_B + 1);
	if (text->json == NULL)
		return LARDER_E_NOMEM;
	len = ld_file_read(fd, text->json, FILE_MAX_B + 1);
	if (len < 0)
		return unreadable(problems, file_name, strerrordesc_np(errno));
	text->len = (size_t)len;
	return 0;
}

int ld_spaces_read(const char *path, const char *file_name, struct ld_spaces_text *ret_text, struct ld_problems *problems)
{
	int fd, result;

	memset(ret_text, 0, sizeof(*ret_text));
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return unreadable(problems, file_name, strerrordesc_np(errno));
	result = read_open(fd, file_name, ret_text, problems);
	(void)close(fd);
	if (result != 0)
		ld_spaces_text_free(ret_text);
	return result;
}

void ld_spaces_text_free(struct ld_spaces_text *text)
{
	free(text->json);
	text->json = NULL;
}

int ld_spaces_load(const char *path, struct ld_spaces **ret_spaces, struct ld_problems *problems)
{
	struct ld_spaces_text text;
	int result;

	if (path == NULL || *path == '\0')
		return ld_spaces_parse("{}", 2, "", ret_spaces, problems);
	result = ld_spaces_read(path, path, &text, problems);
	if (result == 0)
		result = ld_spaces_parse(text.json, text.len, path, ret_spaces, problems);
	ld_spaces_text_free(&text);
	return result;
}
