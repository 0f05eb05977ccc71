/* SPDX-License-Identifier: MIT */
/**
 * For the tests of the HTTP layer: a fault server and a client of it, and calls in one line. Include cmocka.h first.
 */
#ifndef LARDER_TESTS_UNIT_HTTP_H
#define LARDER_TESTS_UNIT_HTTP_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <larder/larder.h>

#include "child.h"
#include "l2/http.h"
#include "leave_out.h"
#include "lib/fault_server.h"

enum { BODY_MAX = 100000, LIMIT_MS = 20000 };

struct world {
	struct fault_server *server;
	struct ld_http *http;
	struct ld_http_config config;
	struct ld_http_answer answer;
	char dir[64];
};

static inline struct ld_http_config world_config(const char *url)
{
	return (struct ld_http_config){ .url = url, .connect_ms = 60000, .idle_ms = 60000, .max_age_ms = 60000, .pool_wait_ms = 2000, .pool = 4,
		.body_max = BODY_MAX };
}

static inline int world_begin(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	*state = world;
	if (world == NULL)
		return -1;
	(void)snprintf(world->dir, sizeof(world->dir), "/tmp/larder-http-XXXXXX");
	world->server = mkdtemp(world->dir) == NULL ? NULL : fault_server_start(NULL);
	if (world->server == NULL)
		return -1;
	world->config = world_config(fault_server_url(world->server));
	return ld_http_new(&world->config, &world->http);
}

static inline int world_end(void **state)
{
	struct world *world = *state;
	char command[128];

	ld_http_answer_free(&world->answer);
	ld_http_free(world->http);
	fault_server_free(world->server);
	(void)snprintf(command, sizeof(command), "rm -rf %s", world->dir);
	if (system(command) != 0)
		return -1;
	free(world);
	return 0;
}

/** Another client of the same server, by the changed configuration. */
static inline void world_again(struct world *world)
{
	ld_http_free(world->http);
	world->http = NULL;
	assert_int_equal(ld_http_new(&world->config, &world->http), 0);
}

/** Another server, and a client of it. */
static inline void world_serve(struct world *world, const struct fault_options *options)
{
	fault_server_free(world->server);
	world->server = fault_server_start(options);
	assert_non_null(world->server);
	world->config.url = fault_server_url(world->server);
	world_again(world);
}

static inline void world_rule(struct world *world, struct fault_answer answer)
{
	fault_server_clear(world->server);
	fault_server_rule(world->server, "/", &answer, 0);
}

static inline struct ld_http_answer *world_ask(struct world *world, struct ld_http_request request)
{
	ld_http_answer_free(&world->answer);
	if (request.limit_ms == 0)
		request.limit_ms = LIMIT_MS;
	if (request.path == NULL)
		request.path = "/k";
	assert_int_equal(ld_http_perform(world->http, &request, &world->answer), 0);
	return &world->answer;
}

static inline struct ld_http_answer *world_get(struct world *world, const char *path)
{
	return world_ask(world, (struct ld_http_request){ .path = path });
}

static inline void expect_body(const struct ld_http_answer *answer, const char *body)
{
	assert_string_equal(ld_http_outcome_name(answer->outcome), "ok");
	assert_int_equal(answer->body_len, strlen(body));
	if (body[0] != '\0')
		assert_memory_equal(answer->body, body, strlen(body) + 1);
}

static inline struct fault_counts *counts(struct world *world)
{
	return fault_server_counts(world->server);
}

static inline struct ld_http_stats stats(struct world *world)
{
	struct ld_http_stats found;

	ld_http_stats(world->http, &found);
	return found;
}

/** A path in the directory of the test; static, the next call but three overwrites it. */
static inline const char *world_path(const struct world *world, const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", world->dir, name);
	return path;
}

static inline void write_file(const char *path, const char *text, mode_t mode)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, world_begin, world_end)

#endif
