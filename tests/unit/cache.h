/* SPDX-License-Identifier: MIT */
/**
 * A cache of a test's own: a fresh directory, small settings, no environment, no thread, the log kept in memory. Include cmocka.h
 * first. With fault points it has a plan too, with which the test moves the clocks.
 *
 *     static int begin(void **state) { return box_begin(state); }
 *     box_open(box, NULL) or box_open(box, (const char *const[]){ "STALE=1m", NULL });
 *     box->tenant, box->cache
 *
 * Settings that are given win over those of the box. box_end() closes what is open and removes the directory.
 */
#ifndef LARDER_TESTS_UNIT_CACHE_H
#define LARDER_TESTS_UNIT_CACHE_H

#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <larder/inspect.h>

#include "base/fault.h"

#define BOX_SECRET "SECRET=0123456789abcdef-this-is-secret-0123456789"
#define BOX_SPACE "config"

enum { BOX_SETTINGS = 32, BOX_LINES = 65536 };

struct box {
	char dir[128];
	larder *cache;
	larder_tenant *tenant;         /* "acme" */
	larder_inspector *inspector;
	struct ld_fault_plan *plan;    /* NULL in the build as shipped */
	pthread_mutex_t lock;          /* guards the lines */
	char lines[BOX_LINES];
	size_t lines_len;
};

static inline void box_log(void *ctx, enum larder_log_level level, const char *line)
{
	struct box *box = ctx;
	int len;

	(void)level;
	(void)pthread_mutex_lock(&box->lock);
	len = snprintf(box->lines + box->lines_len, sizeof(box->lines) - box->lines_len, "%s\n", line);
	if (len > 0 && (size_t)len < sizeof(box->lines) - box->lines_len)
		box->lines_len += (size_t)len;
	(void)pthread_mutex_unlock(&box->lock);
}

/** Has an event with this text in its line been logged? */
static inline int box_said(struct box *box, const char *text)
{
	int said;

	(void)pthread_mutex_lock(&box->lock);
	said = strstr(box->lines, text) != NULL;
	(void)pthread_mutex_unlock(&box->lock);
	return said;
}

static inline void box_forget_lines(struct box *box)
{
	(void)pthread_mutex_lock(&box->lock);
	box->lines_len = 0;
	box->lines[0] = 0;
	(void)pthread_mutex_unlock(&box->lock);
}

/* The given ones, then those of the box that they do not name. */
static inline void box_settings(const struct box *box, const char *const *given, char dir_row[160], const char **rows)
{
	const char *own[] = { dir_row, BOX_SECRET, "SIZE=8M", "THREADS=0", "WORKERS=16", NULL };
	size_t used = 0;

	(void)snprintf(dir_row, 160, "DIR=%s", box->dir);
	for (; given && *given && used < BOX_SETTINGS - 8; given++)
		rows[used++] = *given;
	for (size_t i = 0; own[i]; i++) {
		size_t name = strcspn(own[i], "=") + 1, k = 0;

		while (k < used && strncmp(rows[k], own[i], name) != 0)
			k++;
		if (k == used)
			rows[used++] = own[i];
	}
	rows[used] = NULL;
}

/** As larder_open(), with the box's settings. */
static inline int box_try(struct box *box, const char *const *given, larder **ret_cache, char **ret_why)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	const char *rows[BOX_SETTINGS];
	char dir_row[160];

	box_settings(box, given, dir_row, rows);
	options.flags = LARDER_OPEN_NO_ENV;
	options.settings = rows;
	options.log = box_log;
	options.log_ctx = box;
	return larder_open(&options, ret_cache, ret_why);
}

static inline int box_try_inspect(struct box *box, const char *const *given, larder_inspector **ret_inspector, char **ret_why)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	const char *rows[BOX_SETTINGS];
	char dir_row[160];

	box_settings(box, given, dir_row, rows);
	options.flags = LARDER_OPEN_NO_ENV;
	options.settings = rows;
	options.log = box_log;
	options.log_ctx = box;
	return larder_inspect_open(&options, ret_inspector, ret_why);
}

static inline void box_open(struct box *box, const char *const *given)
{
	char *why = NULL;
	int rc = box_try(box, given, &box->cache, &why);

	if (rc != 0)
		print_message("# open: %s: %s\n", larder_result_name(rc), why ? why : "no reason");
	assert_int_equal(rc, 0);
	assert_null(why);
	assert_int_equal(larder_tenant_open(box->cache, "acme", &box->tenant), 0);
}

static inline void box_inspect(struct box *box)
{
	assert_int_equal(box_try_inspect(box, NULL, &box->inspector, NULL), 0);
}

static inline void box_close(struct box *box)
{
	larder_inspect_close(box->inspector);
	larder_tenant_close(box->tenant);
	larder_close(box->cache);
	box->inspector = NULL;
	box->tenant = NULL;
	box->cache = NULL;
}

static inline struct box *box_new(void)
{
	const char *top = getenv("TMPDIR");
	struct box *box = calloc(1, sizeof(*box));

	if (!box)
		return NULL;
	(void)pthread_mutex_init(&box->lock, NULL);
	(void)snprintf(box->dir, sizeof(box->dir), "%s/larder-test-XXXXXX", top && strlen(top) < 80 ? top : "/tmp");
	if (!mkdtemp(box->dir)) {
		free(box);
		return NULL;
	}
#ifdef LARDER_FAULTS
	box->plan = mmap(NULL, sizeof(*box->plan), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ld_fault_use(box->plan);
#endif
	return box;
}

static inline int box_remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(path);
}

static inline int box_free(struct box *box)
{
	int rc;

	box_close(box);
#ifdef LARDER_FAULTS
	ld_fault_use(NULL);
	(void)munmap(box->plan, sizeof(*box->plan));
#endif
	rc = nftw(box->dir, box_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	(void)pthread_mutex_destroy(&box->lock);
	free(box);
	return rc;
}

/** Set-up and tear-down for cmocka. */
static inline int box_begin(void **state)
{
	*state = box_new();
	return *state ? 0 : -1;
}

static inline int box_end(void **state)
{
	return box_free(*state);
}

static inline int box_set(struct box *box, const char *name, const char *text)
{
	return larder_set(box->tenant, BOX_SPACE, name, strlen(name), text, strlen(text), NULL, NULL);
}

/** 1 when a get of this name returns `result` and, if that has a value, this text. text NULL: any. */
static inline int box_gives(struct box *box, const char *name, int result, const char *text)
{
	struct larder_value value = { 0 };
	int rc = larder_get(box->tenant, BOX_SPACE, name, strlen(name), NULL, &value);
	int holds = rc == result;

	if (holds && text && (rc == LARDER_OK || rc == LARDER_STALE))
		holds = value.len == strlen(text) && memcmp(value.data, text, value.len) == 0;
	if (rc == LARDER_OK || rc == LARDER_STALE)
		larder_value_free(&value);
	if (!holds)
		print_message("# %s: got %s (%s)\n", name, larder_result_name(rc), larder_reason_text(larder_reason()));
	return holds;
}

/** A path of a file of the box; NULL-terminated, in a static buffer of the caller's. */
static inline const char *box_path(const struct box *box, const char *file, char path[256])
{
	(void)snprintf(path, 256, "%s/%s", box->dir, file);
	return path;
}

#endif
