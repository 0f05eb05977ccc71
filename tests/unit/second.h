/* SPDX-License-Identifier: MIT */
/**
 * A box whose second level is a server that does as it is told. Include cmocka.h first.
 *
 *     second_open(second, (const char *const[]){ "L2_RETRIES=0", NULL });   box->cache and box->inspector, one with the other's settings
 *     second_open_cache(second, NULL, NULL);                                box->cache alone
 *     second_answer(second, 503, 0);                                        every request, until it is told otherwise
 */
#ifndef LARDER_TESTS_UNIT_SECOND_H
#define LARDER_TESTS_UNIT_SECOND_H

#include "cache.h"
#include "lib/fault_server.h"

enum { SECOND_ROWS = 28, SECOND_EVENTS = 64 };

struct second {
	struct box *box;
	struct fault_server *server;
	char url[300];
	unsigned told;                 /* transitions that the inspector's callback was told of */
	enum larder_breaker_state told_state;
	char told_transition[SECOND_EVENTS];
};

static inline int second_begin(void **state)
{
	struct second *second = calloc(1, sizeof(*second));

	*state = second;
	if (!second)
		return -1;
	second->box = box_new();
	second->server = fault_server_start(NULL);
	if (!second->box || !second->server)
		return -1;
	(void)snprintf(second->url, sizeof(second->url), "L2_URL=%s", fault_server_url(second->server));
	return 0;
}

static inline int second_end(void **state)
{
	struct second *second = *state;
	int rc = box_free(second->box);

	fault_server_free(second->server);
	free(second);
	return rc;
}

static inline const char *second_name(const struct second *second)
{
	return second->url + strlen("L2_URL=");
}

static inline void second_told(void *ctx, const char *breaker, enum larder_breaker_state state, const char *transition)
{
	struct second *second = ctx;

	second->told += strcmp(breaker, second_name(second)) == 0;
	second->told_state = state;
	(void)snprintf(second->told_transition, sizeof(second->told_transition), "%s", transition);
}

/* The inspector has no secret. */
static inline int second_try_inspect(struct second *second, const char *const *rows, larder_inspector **ret_inspector)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	const char *all[BOX_SETTINGS];
	char dir_row[160];
	size_t used = 0;

	box_settings(second->box, rows, dir_row, all);
	for (size_t i = 0; all[i]; i++)
		if (strncmp(all[i], "SECRET=", 7) != 0)
			all[used++] = all[i];
	all[used] = NULL;
	options.flags = LARDER_OPEN_NO_ENV;
	options.settings = all;
	options.log = box_log;
	options.log_ctx = second->box;
	options.breaker = second_told;
	options.breaker_ctx = second;
	return larder_inspect_open(&options, ret_inspector, NULL);
}

/** With the server as L2, a setting of the test's (or NULL), and more. */
static inline void second_rows(const struct second *second, const char *own, const char *const *more, const char *rows[SECOND_ROWS])
{
	int used = 0;

	rows[used++] = second->url;
	if (own)
		rows[used++] = own;
	for (; more && *more && used < SECOND_ROWS - 1; more++)
		rows[used++] = *more;
	rows[used] = NULL;
}

static inline struct box *second_open_cache(struct second *second, const char *own, const char *const *more)
{
	const char *rows[SECOND_ROWS];

	second_rows(second, own, more, rows);
	box_open(second->box, rows);
	return second->box;
}

static inline struct box *second_open(struct second *second, const char *const *more)
{
	const char *rows[SECOND_ROWS];

	second_rows(second, "LOG_LEVEL=info", more, rows);
	box_open(second->box, rows);
	assert_int_equal(second_try_inspect(second, rows, &second->box->inspector), 0);
	return second->box;
}

static inline void second_answer(struct second *second, int status, unsigned times)
{
	fault_server_rule(second->server, "/", &(struct fault_answer){ .status = status }, times);
}

static inline uint64_t second_requests(struct second *second)
{
	return fault_server_counts(second->server)->requests;
}

#endif
