/* SPDX-License-Identifier: MIT */
/*
 * Requests carried out on the cache (serve.h). An outage is said as an outage: a cache that cannot answer is 503 with Retry-After, never 404 and
 * never 204. Of two writes of a key the one that larder commits last stays, as HTTP has it; no creation time is compared.
 */
#include "serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <microhttpd.h>

#include "answer.h"
#include "envelope.h"
#include "once.h"

#define SPACE "l2d"
#define HEALTH_TENANT "larder-l2d"
#define HEALTH_SPACE "health"

static struct larder_call call_of(const struct l2d_request *request)
{
	struct larder_call call = LARDER_CALL_INIT;
	call.budget_ms = L2D_BUDGET_MS;
	call.request_id = request->headers.request_id;
	return call;
}

static int answer_error(struct l2d_request *request, unsigned status, const char *name, const char *why)
{
	const struct l2d_refusal refusal = { status, status == 503 ? 1 : 0, name, why };
	return l2d_answer_refusal(request, &refusal);
}

/* What larder returned and is no success. */
static int answer_result(struct l2d_request *request, int result)
{
	if (result == LARDER_UNAVAILABLE)
		return answer_error(request, 503, larder_result_name(result), larder_reason_text(larder_reason()));
	if (result == LARDER_E_TOO_LARGE)
		return answer_error(request, 413, larder_result_name(result), larder_strerror(result));
	if (result == LARDER_E_USAGE || result == LARDER_E_TTL)
		return answer_error(request, 400, larder_result_name(result), larder_strerror(result));
	return answer_error(request, result == LARDER_E_BUG ? 500 : 503, larder_result_name(result), larder_strerror(result));
}

static int serve_get(struct l2d_request *request, larder_tenant *tenant)
{
	const struct larder_call call = call_of(request);
	struct larder_value found = { 0 };
	struct l2d_value value;
	int rc = larder_get(tenant, SPACE, request->route.key, request->route.key_len, &call, &found);

	if (rc == LARDER_OK || rc == LARDER_STALE) {
		if (l2d_value_unpack(found.data, found.len, &value) == 0)
			return l2d_answer_value(request, &found, &value);
		/* Of another version: it cannot be read, so there is none. */
		larder_value_free(&found);
		rc = LARDER_MISS;
	}
	if (rc == LARDER_MISS || rc == LARDER_ABSENT)
		return answer_error(request, 404, "LARDER_MISS", "there is no such entry");
	return answer_result(request, rc);
}

/* ---- writes ---- */

/* So long it is of use to anybody. */
static int64_t life_of(const struct l2d_value *value)
{
	return value->ttl_ms + value->stale_ms + value->error_ms;
}

/* The value of the body, in *room behind a head. Returns 0; 1 it is not to be kept; an error and its text. */
static int read_body(struct l2d_request *request, unsigned char **room, struct l2d_value *value, const char **ret_why)
{
	const struct l2d_options *options = &request->worker->service->options;
	int rc;

	if (request->codec == L2D_JSON) {
		const char *text = request->room ? (const char *)request->room + L2D_HEAD_SIZE : "";
		rc = l2d_envelope_read(text, request->len, options->ttl_ms, room, value, ret_why);
	} else {
		*room = request->room;
		request->room = NULL;
		*value = (struct l2d_value){ .data = *room ? *room + L2D_HEAD_SIZE : NULL, .len = request->len };
		rc = l2d_raw_read(&request->headers, options->ttl_ms, value, ret_why);
	}
	if (rc == 0 && value->len > options->max_value_b) {
		*ret_why = "the value is larger than --max-value";
		rc = LARDER_E_TOO_LARGE;
	}
	return rc == 0 && life_of(value) == 0 ? 1 : rc;
}

/* Store it. Returns 0 with the status to answer, or what larder returned. */
static int store(struct l2d_request *request, larder_tenant *tenant, unsigned char *room, struct l2d_value *value, unsigned *ret_status)
{
	const struct larder_call call = call_of(request);
	struct larder_store how = LARDER_STORE_INIT;
	int64_t life_ms = life_of(value);
	int before = larder_exists(tenant, SPACE, request->route.key, request->route.key_len, &call);

	how.ttl_ms = life_ms < LARDER_TTL_MAX_MS ? life_ms : LARDER_TTL_MAX_MS;
	how.stale_ms = 0;
	how.hard_end_ms = value->hard_end_ms;
	l2d_value_pack(value, room);
	int rc = larder_set(tenant, SPACE, request->route.key, request->route.key_len, room, L2D_HEAD_SIZE + value->len, &how, &call);
	*ret_status = before == LARDER_OK || before == LARDER_STALE ? 204 : 201;
	return rc;
}

static int erase(struct l2d_request *request, larder_tenant *tenant, unsigned *ret_status)
{
	const struct larder_call call = call_of(request);
	int rc = larder_delete(tenant, SPACE, request->route.key, request->route.key_len, &call);

	*ret_status = 204;
	return rc == LARDER_MISS ? 0 : rc;
}

/* A write that is ready to be done: value NULL removes what is there. */
static int write_now(struct l2d_request *request, larder_tenant *tenant, unsigned char *room, struct l2d_value *value, unsigned *ret_status)
{
	return value ? store(request, tenant, room, value, ret_status) : erase(request, tenant, ret_status);
}

static int write_once(struct l2d_request *request, larder_tenant *tenant, unsigned char *room, struct l2d_value *value)
{
	const struct l2d_worker *worker = request->worker;
	const struct larder_call call = call_of(request);
	struct l2d_once once = { .shared = worker->service->shared, .tenant = tenant, .call = &call, .slot = worker->index, .life = worker->life };
	enum l2d_once_result result;
	unsigned status = 0;

	l2d_once_name(&once, request->method_text, request->route.key, request->headers.idempotency_key);
	int rc = l2d_once_begin(&once, &result, &status);
	if (rc != 0)
		return answer_result(request, rc);
	if (result == L2D_ONCE_RUNNING)
		return answer_error(request, 503, "LARDER_E_BUSY", "the first try of this write is still running");
	if (result == L2D_ONCE_REPEAT) {
		l2d_add(&worker->slot->repeats, 1);
		return l2d_answer_empty(request, status);
	}
	rc = write_now(request, tenant, room, value, &status);
	if (rc != 0) {
		l2d_once_undo(&once);
		return answer_result(request, rc);
	}
	l2d_once_done(&once, status);
	return l2d_answer_empty(request, status);
}

static int serve_write(struct l2d_request *request, larder_tenant *tenant, unsigned char *room, struct l2d_value *value)
{
	unsigned status;

	if (request->headers.idempotency_key)
		return write_once(request, tenant, room, value);
	int rc = write_now(request, tenant, room, value, &status);
	return rc == 0 ? l2d_answer_empty(request, status) : answer_result(request, rc);
}

static int serve_put(struct l2d_request *request, larder_tenant *tenant)
{
	unsigned char *room = NULL, none[L2D_HEAD_SIZE + 1];
	struct l2d_value value;
	const char *why = NULL;
	int rc = read_body(request, &room, &value, &why), answered;

	if (rc < 0) {
		const unsigned status = rc == LARDER_E_TOO_LARGE ? 413 : rc == LARDER_E_NOMEM ? 503 : 400;
		answered = answer_error(request, status, larder_result_name(rc), why);
	} else if (room == NULL) {
		value.data = none + L2D_HEAD_SIZE;
		answered = serve_write(request, tenant, none, rc == 1 ? NULL : &value);
	} else {
		answered = serve_write(request, tenant, room, rc == 1 ? NULL : &value);
	}
	free(room);
	return answered;
}

int l2d_serve_key(struct l2d_request *request)
{
	larder_tenant *tenant = l2d_worker_tenant(request->worker, request->route.tenant);

	if (tenant == NULL)
		return answer_result(request, LARDER_E_NOMEM);
	switch (request->method) {
	case L2D_PUT:
	case L2D_POST:
		return serve_put(request, tenant);
	case L2D_DELETE:
		return serve_write(request, tenant, NULL, NULL);
	default:
		return serve_get(request, tenant);
	}
}

/* ---- the service itself ---- */

static int64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Set, get and delete, each with its time. Returns 0, or what larder returned and the step that did. */
static int try_cache(larder_tenant *tenant, const char *name, const struct larder_call *call, int64_t us[3], const char **ret_step)
{
	static const char text[] = "larder-l2d";
	struct larder_store how = LARDER_STORE_INIT;
	struct larder_value value;
	char back[sizeof(text)];
	int64_t begin_us = now_us(), next_us;

	how.ttl_ms = 10000;
	*ret_step = "set";
	int rc = larder_set(tenant, HEALTH_SPACE, name, strlen(name), text, sizeof(text), &how, call);
	us[0] = (next_us = now_us()) - begin_us;
	if (rc != 0)
		return rc;
	*ret_step = "get";
	rc = larder_get_into(tenant, HEALTH_SPACE, name, strlen(name), back, sizeof(back), call, &value);
	us[1] = (begin_us = now_us()) - next_us;
	if (rc == 0 && (value.len != sizeof(text) || memcmp(back, text, sizeof(text)) != 0))
		rc = LARDER_E_CORRUPT;
	if (rc != 0)
		return rc;
	*ret_step = "delete";
	rc = larder_delete(tenant, HEALTH_SPACE, name, strlen(name), call);
	us[2] = now_us() - begin_us;
	return rc;
}

int l2d_serve_health(struct l2d_request *request)
{
	const struct larder_call call = call_of(request);
	larder_tenant *tenant = l2d_worker_tenant(request->worker, HEALTH_TENANT);
	int64_t us[3] = { 0 };
	const char *step = "open";
	char name[32], *text = NULL;

	/* Workers must not delete each other's. */
	snprintf(name, sizeof(name), "worker-%u", request->worker->index);
	int rc = tenant ? try_cache(tenant, name, &call, us, &step) : LARDER_E_NOMEM;
	int len = rc == 0
	    ? asprintf(&text, "{\"status\":\"up\",\"set_us\":%lld,\"get_us\":%lld,\"delete_us\":%lld}\n", (long long)us[0], (long long)us[1],
	    (long long)us[2])
	    : asprintf(&text, "{\"status\":\"down\",\"step\":\"%s\",\"error\":\"%s\",\"message\":\"%s\"}\n", step, larder_result_name(rc),
	    rc == LARDER_UNAVAILABLE ? larder_reason_text(larder_reason()) : larder_strerror(rc));
	return l2d_answer_text(request, rc == 0 ? 200 : 503, "application/json", len < 0 ? NULL : text, len < 0 ? 0 : (size_t)len);
}

int l2d_serve_metrics(struct l2d_request *request)
{
	size_t len = 0;
	char *text = l2d_metrics_text(request->worker->service->shared, request->worker->service->cache, &len);

	return l2d_answer_text(request, 200, "text/plain; version=0.0.4", text, len);
}
