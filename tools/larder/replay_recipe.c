/* SPDX-License-Identifier: MIT */
/* Reads what `larder replay --generate` is given. It trusts nothing about the text but its terminating NUL, and is called
 * once, before anything is opened. */
#include "replay_generator.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One `name=value` part. Whole numbers have max_count, the others max_real. */
struct field {
	const char *name;
	uint64_t *count;
	double *real;
	uint64_t min_count, max_count;
	double max_real;
};

/* The end of a number: nothing, or K, M, G. */
static int scale_of(const char *end, double *ret_scale)
{
	static const char units[] = "KMG";
	const char *unit = *end ? strchr(units, *end) : NULL;
	if (*end == '\0') {
		*ret_scale = 1;
		return 0;
	}
	if (unit == NULL || end[1] != '\0')
		return -1;
	*ret_scale = pow(1000, (double)(unit - units + 1));
	return 0;
}

static int parse_real(const char *text, double max, double *ret_value)
{
	char *end;
	if (*text < '0' || *text > '9')
		return -1;
	double value = strtod(text, &end);
	if (*end != '\0' || !(value >= 0 && value <= max))
		return -1;
	*ret_value = value;
	return 0;
}

static int parse_count(const char *text, uint64_t min, uint64_t max, uint64_t *ret_value)
{
	char *end;
	double scale;
	if (*text < '0' || *text > '9')
		return -1;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (errno != 0 || scale_of(end, &scale) < 0)
		return -1;
	if (value > max / (uint64_t)scale || value * (uint64_t)scale < min)
		return -1;
	*ret_value = value * (uint64_t)scale;
	return 0;
}

static int parse_field(const struct field *fields, char *part, char *why, size_t why_size)
{
	char *value = strchr(part, '=');
	if (value != NULL)
		*value++ = '\0';
	for (const struct field *f = fields; value != NULL && f->name != NULL; f++) {
		if (strcmp(f->name, part) != 0)
			continue;
		if (f->count != NULL ? parse_count(value, f->min_count, f->max_count, f->count) == 0 :
		    parse_real(value, f->max_real, f->real) == 0)
			return 0;
		if (f->count != NULL)
			snprintf(why, why_size, "%s=%.40s: a whole number %llu..%llu is wanted", part, value,
			    (unsigned long long)f->min_count, (unsigned long long)f->max_count);
		else
			snprintf(why, why_size, "%s=%.40s: a number 0..%g is wanted", part, value, f->max_real);
		return -1;
	}
	snprintf(why, why_size, "\"%.40s\": only keys=, requests=, seed=, shift=, scan= and scan_len= may follow the exponent",
	    part);
	return -1;
}

/* text is the caller's copy and is cut up. */
static int parse_parts(char *text, struct replay_recipe *recipe, char *why, size_t why_size)
{
	static const char kind[] = "zipf:";
	uint64_t keys = recipe->keys, shift = recipe->shift, scan_len = recipe->scan_len;
	const struct field fields[] = {
		{ "keys", &keys, NULL, 1, REPLAY_KEYS_MAX, 0 },
		{ "requests", &recipe->requests, NULL, 1, REPLAY_REQUESTS_MAX, 0 },
		{ "seed", &recipe->seed, NULL, 0, UINT64_MAX, 0 },
		{ "shift", &shift, NULL, 0, 1000000, 0 },
		{ "scan", NULL, &recipe->scan_percent, 0, 0, 100 },
		{ "scan_len", &scan_len, NULL, 1, REPLAY_KEYS_MAX, 0 },
		{ NULL, NULL, NULL, 0, 0, 0 }
	};
	char *rest = text + sizeof(kind) - 1;

	if (strncmp(text, kind, sizeof(kind) - 1) != 0) {
		snprintf(why, why_size, "\"%.40s\" does not begin with \"zipf:\"", text);
		return -1;
	}
	char *part = strsep(&rest, ",");
	if (parse_real(part, 10, &recipe->alpha) < 0) {
		snprintf(why, why_size, "zipf:%.40s: an exponent 0..10 is wanted", part);
		return -1;
	}
	while ((part = strsep(&rest, ",")) != NULL)
		if (parse_field(fields, part, why, why_size) < 0)
			return -1;
	recipe->keys = (uint32_t)keys;
	recipe->shift = (uint32_t)shift;
	recipe->scan_len = (uint32_t)scan_len;
	return 0;
}

int replay_recipe_parse(const char *text, struct replay_recipe *ret_recipe, char *why, size_t why_size)
{
	struct replay_recipe recipe = { 1.0, 200000, 2000000, 1, 4, 5.0, 1000 };
	char *copy = strdup(text);
	if (copy == NULL) {
		snprintf(why, why_size, "out of memory");
		return -1;
	}
	int r = parse_parts(copy, &recipe, why, why_size);
	if (r == 0)
		*ret_recipe = recipe;
	free(copy);
	return r;
}
