/* SPDX-License-Identifier: MIT */
/*
 * Making and unmaking a client, and what it says of itself. Called by whoever builds on HTTP, once in each process. It must never send a byte on
 * behalf of another process: a child that inherited a client lets go of it, whichever of the two calls it makes.
 */
#include "l2/http_inside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <larder/larder.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/process.h"

#define START_WAIT_MS 10000

/* ---- libcurl itself ---- */

static struct ld_process_lock starting;
static _Atomic int started;

/* In the build with fault points libcurl's allocations can be failed too. */
static CURLcode start(void)
{
#ifdef LARDER_FAULTS
	return curl_global_init_mem(CURL_GLOBAL_DEFAULT, ld_malloc, free, ld_realloc, ld_strdup, ld_calloc);
#else
	return curl_global_init(CURL_GLOBAL_DEFAULT);
#endif
}

/* Never undone: the host program may use libcurl too. */
int ld_http_prepare(void)
{
	if (atomic_load(&started))
		return 0;
	if (ld_process_lock(&starting, START_WAIT_MS) != 0)
		return LARDER_E_NOMEM;
	if (!atomic_load(&started) && start() == CURLE_OK)
		atomic_store(&started, 1);
	ld_process_unlock(&starting);
	return atomic_load(&started) ? 0 : LARDER_E_NOMEM;
}

/* ---- making ---- */

/* Returns 0, or -1 when memory is out. NULL and "" are NULL. */
static int copy_text(const char *text, char **ret_copy)
{
	*ret_copy = NULL;
	if (text == NULL || text[0] == '\0')
		return 0;
	*ret_copy = ld_strdup(text);
	return *ret_copy == NULL ? -1 : 0;
}

static int make_lock(struct ld_http *http)
{
	pthread_condattr_t attr;
	int rc;

	if (pthread_condattr_init(&attr) != 0)
		return -1;
	rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (rc == 0)
		rc = pthread_cond_init(&http->freed, &attr);
	(void)pthread_condattr_destroy(&attr);
	if (rc == 0 && pthread_mutex_init(&http->lock, NULL) != 0) {
		(void)pthread_cond_destroy(&http->freed);
		return -1;
	}
	return rc == 0 ? 0 : -1;
}

/* All but the lock: what can be freed in any process. */
static void free_memory(struct ld_http *http)
{
	ld_http_token_free(&http->token);
	free(http->ca_file);
	free(http->cert_file);
	free(http->key_file);
	free(http->slots);
	free(http->idle);
	free(http->taken);
	free(http);
}

/* The path of an address that is taken apart already, "" = none. */
static const char *prefix_of(const char *url)
{
	const char *host = strstr(url, "://");
	const char *slash = host != NULL ? strchr(host + 3, '/') : NULL;

	return slash != NULL ? slash : "";
}

static int fill(struct ld_http *http, const struct ld_http_config *config, struct ld_problems *problems)
{
	int rc = ld_http_config_check(config, problems);

	if (rc == 0)
		rc = ld_http_base_parse(config, &http->base, problems);
	if (rc == 0)
		rc = ld_http_token_init(&http->token, config->token_file, ld_clock_boot_ms(), problems);
	if (rc != 0)
		return problems->lost ? LARDER_E_NOMEM : rc;
	if (copy_text(config->ca_file, &http->ca_file) != 0 || copy_text(config->cert_file, &http->cert_file) != 0 ||
	    copy_text(config->key_file, &http->key_file) != 0)
		return LARDER_E_NOMEM;
	http->process = ld_process_generation();
	http->prefix = prefix_of(http->base.url);
	http->tls = strncmp(http->base.url, "https:", 6) == 0;
	http->connect_ms = config->connect_ms;
	http->idle_ms = config->idle_ms;
	http->max_age_ms = config->max_age_ms;
	http->pool_wait_ms = config->pool_wait_ms;
	http->body_max = config->body_max;
	http->http2 = config->http2;
	http->log = config->log;
	http->pool = config->pool;
	http->slots = ld_calloc(config->pool, sizeof(http->slots[0]));
	http->idle = ld_calloc(config->pool, sizeof(http->idle[0]));
	http->taken = ld_calloc(config->pool, sizeof(http->taken[0]));
	return http->slots == NULL || http->idle == NULL || http->taken == NULL || make_lock(http) != 0 ? LARDER_E_NOMEM : 0;
}

int ld_http_new(const struct ld_http_config *config, struct ld_http **ret_http)
{
	struct ld_problems problems = { 0 };
	struct ld_http *http;
	int rc = ld_http_prepare();

	if (rc != 0)
		return rc;
	http = ld_calloc(1, sizeof(*http));
	if (http == NULL)
		return LARDER_E_NOMEM;
	rc = fill(http, config, &problems);
	if (rc == 0) {
		*ret_http = http;
	} else {
		/* They were right when settings were read: a file has changed, or this process may not read it. */
		LD_LOG(config->log, LARDER_LOG_ERROR, "l2_settings_refused", NULL, LD_T("result", larder_result_name(rc)),
		    LD_T("problem", problems.text == NULL ? "" : problems.text),);
		free_memory(http);
	}
	ld_problems_free(&problems);
	return rc;
}

/* ---- unmaking ---- */

void ld_http_abandon(struct ld_http *http)
{
	int pair[2] = { -1, -1 };

	if (http == NULL)
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		pair[0] = pair[1] = -1;
	for (unsigned i = 0; i < http->pool; i++) {
		if (http->slots[i] != NULL)
			ld_http_slot_abandon(http->slots[i], pair[0]);
	}
	if (pair[0] != -1) {
		(void)close(pair[0]);
		(void)close(pair[1]);
	}
	/* The lock may be held by a thread that does not exist here. It owns nothing. */
	free_memory(http);
}

void ld_http_free(struct ld_http *http)
{
	if (http == NULL)
		return;
	if (http->process != ld_process_generation()) {
		ld_http_abandon(http);
		return;
	}
	for (unsigned i = 0; i < http->pool; i++) {
		if (http->slots[i] != NULL)
			ld_http_slot_close(http->slots[i]);
		free(http->slots[i]);
	}
	(void)pthread_cond_destroy(&http->freed);
	(void)pthread_mutex_destroy(&http->lock);
	free_memory(http);
}

/* ---- what it says ---- */

void ld_http_stats(struct ld_http *http, struct ld_http_stats *ret_stats)
{
	*ret_stats = (struct ld_http_stats){
		.opened = atomic_load(&http->opened),
		.reused = atomic_load(&http->reused),
		.closed_idle = atomic_load(&http->closed_idle),
		.closed_age = atomic_load(&http->closed_age),
		.waits = atomic_load(&http->waits),
		.busy = atomic_load(&http->busy),
	};
	if (http->process != ld_process_generation())
		return;
	pthread_mutex_lock(&http->lock);
	ret_stats->in_use = http->made - http->idle_count;
	for (unsigned i = 0; i < http->idle_count; i++)
		ret_stats->idle += ld_http_slot_is_connected(http->idle[i]) != 0;
	pthread_mutex_unlock(&http->lock);
}
