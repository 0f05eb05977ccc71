/* SPDX-License-Identifier: MIT */
/*
 * One call to L2, from admission to report. Called by cache/ for reads, and by whoever tells the outbox. It must never be inside the store while a
 * request is on its way, and never take longer than the limit: the waits between tries come off it too.
 *
 *   killed after admission    a probe's lease runs out, the count in the slot goes with the slot.
 *   killed after the answer   as if it had not come; the breaker learns nothing.
 *   fork in the midst         the child has no call under way; it lets go of the parent's connections at its own first call.
 */
#include "l2/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/process.h"
#include "crypto/key.h"
#include "l2/client_inside.h"

enum { BACKOFF_MS = 50, LOCK_MS = 1000, HEADERS = 12, SHIFT_MAX = 10 };

const char *ld_l2_outcome_name(enum ld_l2_outcome outcome)
{
	static const char *const names[] = { "hit", "miss", "same", "unkept", "timeout", "connect", "reset", "tls", "server", "throttled",
		"denied", "rejected", "body", "open", "busy", "local" };

	_Static_assert(sizeof(names) / sizeof(*names) == LD_L2_OUTCOMES, "each has its name");
	return (unsigned)outcome < LD_L2_OUTCOMES ? names[outcome] : "unknown";
}

enum larder_reason ld_l2_reason(enum ld_l2_outcome outcome)
{
	static const enum larder_reason reasons[LD_L2_OUTCOMES] = {
		[LD_L2_TIMEOUT] = LARDER_REASON_L2_TIMEOUT,
		[LD_L2_CONNECT] = LARDER_REASON_L2_CONNECT,
		[LD_L2_RESET] = LARDER_REASON_L2_RESET,
		[LD_L2_TLS] = LARDER_REASON_L2_TLS,
		[LD_L2_SERVER] = LARDER_REASON_L2_SERVER,
		[LD_L2_THROTTLED] = LARDER_REASON_L2_THROTTLED,
		[LD_L2_DENIED] = LARDER_REASON_L2_DENIED,
		[LD_L2_REJECTED] = LARDER_REASON_L2_REJECTED,
		[LD_L2_BODY] = LARDER_REASON_L2_BODY,
		[LD_L2_OPEN] = LARDER_REASON_L2_OPEN,
		[LD_L2_BUSY] = LARDER_REASON_L2_BUSY,
		[LD_L2_LOCAL] = LARDER_REASON_NOMEM,
	};

	return (unsigned)outcome < LD_L2_OUTCOMES ? reasons[outcome] : LARDER_REASON_NONE;
}

/* ---- making ---- */

int ld_l2_new(const struct ld_l2_config *config, struct ld_store *store, const struct ld_log *log, struct ld_l2 **ret_l2,
    struct ld_problems *problems)
{
	int rc = ld_http_config_check(&config->http, problems);
	struct ld_l2 *l2;

	if (rc != 0)
		return rc;
	l2 = ld_calloc(1, sizeof(*l2));
	if (!l2)
		return LARDER_E_NOMEM;
	l2->config = *config;
	l2->config.http.log = log;
	l2->store = store;
	l2->log = log;
	/* What a breaker is told by is the address, without what a password could be in: user information is refused. */
	snprintf(l2->name, sizeof(l2->name), "%s", config->http.url);
	l2->tag = ld_store_tag("l2", NULL) ^ ld_l2_tag_of(config->http.url);
	*ret_l2 = l2;
	return 0;
}

void ld_l2_free(struct ld_l2 *l2)
{
	struct ld_http *http;

	if (!l2)
		return;
	http = atomic_exchange(&l2->http, NULL);
	if (l2->made_by == ld_process_generation())
		ld_http_free(http);
	else
		ld_http_abandon(http);
	free(l2);
}

/* The connections of this process, made at its first call; NULL when memory is out. */
static struct ld_http *connections(struct ld_l2 *l2)
{
	uint64_t process = ld_process_generation();
	struct ld_http *http = NULL;

	/* acquire: pairs with the release below: made_by is written after http */
	if (atomic_load_explicit(&l2->made_by, memory_order_acquire) == process)
		return atomic_load_explicit(&l2->http, memory_order_relaxed);
	if (ld_process_lock(&l2->lock, LOCK_MS) != 0)
		return NULL;
	if (atomic_load(&l2->made_by) != process) {
		ld_http_abandon(atomic_exchange(&l2->http, NULL));
		if (ld_http_new(&l2->config.http, &http) == 0) {
			atomic_store(&l2->http, http);
			atomic_store_explicit(&l2->made_by, process, memory_order_release);
		}
	}
	http = atomic_load(&l2->http);
	ld_process_unlock(&l2->lock);
	return http;
}

int64_t ld_l2_longest_ms(const struct ld_l2 *l2)
{
	const struct ld_l2_config *config = &l2->config;
	int64_t write_ms = config->set_ms > config->delete_ms ? config->set_ms : config->delete_ms;

	return write_ms > config->get_ms ? write_ms : config->get_ms;
}

void ld_l2_pool(struct ld_l2 *l2, struct ld_http_stats *ret_stats)
{
	struct ld_http *http = atomic_load(&l2->http);

	memset(ret_stats, 0, sizeof(*ret_stats));
	if (http && atomic_load(&l2->made_by) == ld_process_generation())
		ld_http_stats(http, ret_stats);
}

/* ---- one request ---- */

/* What a request is made of; lives as long as the call. */
struct made {
	struct ld_http_request request;
	struct ld_http_header headers[HEADERS];
	char path[1 + LARDER_TENANT_MAX + 1 + 2 * LARDER_DIGEST_SIZE + 1];
	char request_id[2 * LD_L2_WRITE_ID + 1], write_id[2 * LD_L2_WRITE_ID + 1];
};

static void add_header(struct made *made, const char *name, const char *value)
{
	made->headers[made->request.headers_count++] = (struct ld_http_header){ name, value };
}

/* Without random numbers a request goes without an id rather than not at all. */
static const char *request_id_of(const struct ld_l2_call *call, struct made *made)
{
	unsigned char random[LD_L2_WRITE_ID];

	if (call->request_id)
		return call->request_id;
	if (ld_key_random(random, sizeof(random)) != 0)
		memset(random, 0, sizeof(random));
	ld_text_hex(random, sizeof(random), made->request_id);
	return made->request_id;
}

static void make(const struct ld_l2 *l2, const struct ld_l2_call *call, enum ld_http_method method, struct made *made)
{
	const char *tenant = call->key->tenant;
	char *at = made->path;

	memset(&made->request, 0, sizeof(made->request));
	*at++ = '/';
	if (l2->config.tenant_in != LD_L2_IN_HEADER)
		at += snprintf(at, LARDER_TENANT_MAX + 2, "%s/", tenant);
	ld_text_hex(call->key->digest, LARDER_DIGEST_SIZE, at);
	made->request.method = method;
	made->request.path = made->path;
	made->request.headers = made->headers;
	if (l2->config.tenant_in != LD_L2_IN_PATH)
		add_header(made, "X-Tenant-Id", tenant);
	add_header(made, "X-Request-Id", request_id_of(call, made));
}

static void make_write(const struct ld_l2 *l2, const struct ld_l2_call *call, enum ld_http_method method,
    const unsigned char write_id[LD_L2_WRITE_ID], struct made *made)
{
	make(l2, call, method, made);
	ld_text_hex(write_id, LD_L2_WRITE_ID, made->write_id);
	add_header(made, "Idempotency-Key", made->write_id);
}

static enum ld_l2_outcome of_status(int status)
{
	if (status < 300)
		return LD_L2_HIT;
	if (status >= 500)
		return LD_L2_SERVER;
	switch (status) {
	case 304:
		return LD_L2_SAME;
	case 404:
	case 410:
		return LD_L2_MISS;
	case 429:
		return LD_L2_THROTTLED;
	case 401:
	case 403:
	case 407:
		return LD_L2_DENIED;
	default:
		return LD_L2_REJECTED;
	}
}

static enum ld_l2_outcome of_answer(const struct ld_http_answer *answer)
{
	switch (answer->outcome) {
	case LD_HTTP_OK:
		return of_status(answer->status);
	case LD_HTTP_TIMEOUT:
		return LD_L2_TIMEOUT;
	case LD_HTTP_REFUSED:
		return LD_L2_CONNECT;
	case LD_HTTP_RESET:
		return LD_L2_RESET;
	case LD_HTTP_TLS:
		return LD_L2_TLS;
	case LD_HTTP_POOL_BUSY:
		return LD_L2_BUSY;
	case LD_HTTP_BAD_BODY:
		return LD_L2_BODY;
	case LD_HTTP_STOPPED:
		return LD_L2_OPEN;
	default:
		return LD_L2_REJECTED;
	}
}

/* Worth another try? What was refused for good is not; what timed out only if nothing was sent. */
static int may_retry(enum ld_l2_outcome outcome, const struct ld_http_answer *answer)
{
	switch (outcome) {
	case LD_L2_CONNECT:
	case LD_L2_RESET:
	case LD_L2_THROTTLED:
		return 1;
	case LD_L2_TIMEOUT:
		return !answer->sent;
	case LD_L2_SERVER:
		return answer->status == 500 || (answer->status >= 502 && answer->status <= 504);
	default:
		return 0;
	}
}

/* Exponential, with equal jitter (half of it fixed, half random: Brooker 2015); never shorter than L2 has asked for. */
static int64_t back_off(const struct ld_l2 *l2, uint32_t tries, int64_t retry_after_ms)
{
	int64_t full_ms = (int64_t)BACKOFF_MS << (tries - 1 < SHIFT_MAX ? tries - 1 : SHIFT_MAX);
	int64_t wait_ms = full_ms / 2 + (int64_t)(ld_l2_seed(l2) % (uint64_t)(full_ms / 2 + 1));

	return wait_ms < retry_after_ms ? retry_after_ms : wait_ms;
}

static void pause_for(int64_t wait_ms)
{
	struct timespec left = { (time_t)(wait_ms / 1000), (long)(wait_ms % 1000) * 1000000 };

	while (nanosleep(&left, &left) != 0)
		;
}

/* Requests until one is answered, or nothing more may be tried. The last answer is the caller's to free. */
static enum ld_l2_outcome perform(struct ld_l2 *l2, struct passage *passage, struct ld_http *http, struct made *made, int64_t end_ms,
    struct ld_http_answer *answer, struct ld_l2_end *end)
{
	enum ld_l2_outcome outcome = LD_L2_TIMEOUT;

	if (passage->call->until_ms && passage->call->until_ms < end_ms)
		end_ms = passage->call->until_ms;
	for (;;) {
		int64_t left_ms = end_ms - ld_clock_boot_ms(), wait_ms;

		if (left_ms < 1)
			return outcome;
		ld_http_answer_free(answer);
		made->request.limit_ms = left_ms;
		made->request.stop = ld_l2_is_futile;
		made->request.stop_ctx = passage;
		if (ld_http_perform(http, &made->request, answer) != 0)
			return LD_L2_LOCAL;
		end->tries++;
		end->status = answer->status;
		outcome = of_answer(answer);
		end->retry_after_ms = answer->retry_after_ms > 0 ? answer->retry_after_ms : 0;
		if (!may_retry(outcome, answer) || end->tries > l2->config.retries)
			return outcome;
		wait_ms = back_off(l2, end->tries, end->retry_after_ms);
		if (wait_ms >= end_ms - ld_clock_boot_ms() || !ld_l2_may_retry(passage))
			return outcome;
		pause_for(wait_ms);
	}
}

/* What a call teaches the breaker. A short time of the caller's own, a refusal that is the caller's fault, and what never left the host teach nothing. */
static enum ld_breaker_outcome lesson(const struct passage *passage, enum ld_l2_outcome outcome, int64_t took_ms)
{
	switch (outcome) {
	case LD_L2_HIT:
	case LD_L2_MISS:
	case LD_L2_SAME:
		return ld_breaker_answered(passage->settings, took_ms);
	case LD_L2_TIMEOUT:
		return passage->short_time ? LD_BREAKER_NEUTRAL : LD_BREAKER_FAILURE;
	case LD_L2_CONNECT:
	case LD_L2_RESET:
	case LD_L2_TLS:
	case LD_L2_SERVER:
	case LD_L2_BODY:
		return LD_BREAKER_FAILURE;
	default:
		return LD_BREAKER_NEUTRAL;
	}
}

/* The whole of it, but for the codec: admission, requests, report. */
static enum ld_l2_outcome converse(struct ld_l2 *l2, const struct ld_l2_call *call, int64_t limit_ms, struct made *made,
    struct ld_http_answer *answer, struct ld_l2_end *end)
{
	struct passage passage = { .l2 = l2, .call = call, .settings = call->breaker ? call->breaker : &l2->config.breaker };
	struct ld_http *http = connections(l2);
	enum ld_l2_outcome outcome;
	int64_t began_ms;

	memset(answer, 0, sizeof(*answer));
	memset(end, 0, sizeof(*end));
	if (!http)
		return LD_L2_LOCAL;
	passage.write = made->request.method != LD_HTTP_GET && made->request.method != LD_HTTP_HEAD;
	passage.short_time = call->budget_ms > 0 && call->budget_ms < limit_ms;
	passage.limit_ms = passage.short_time ? call->budget_ms : limit_ms;
	outcome = ld_l2_admit(&passage, end);
	if (outcome != LD_L2_HIT)
		return outcome;
	began_ms = ld_clock_boot_ms();
	outcome = perform(l2, &passage, http, made, began_ms + passage.limit_ms, answer, end);
	end->took_ms = ld_clock_boot_ms() - began_ms;
	passage.tries = end->tries;
	passage.bytes_out = made->request.body_len;
	passage.bytes_in = answer->body_len;
	passage.took_ms = end->took_ms;
	ld_l2_report(&passage, outcome, lesson(&passage, outcome, end->took_ms));
	return outcome;
}

/* ---- calls ---- */

static struct ld_wire_answer to_codec(const struct ld_http_answer *answer, const struct ld_l2_have *have)
{
	return (struct ld_wire_answer){
		.body = answer->body, .len = answer->body_len, .is_json = answer->json, .no_store = answer->no_store || answer->no_cache,
		.age_ms = answer->age_s < 0 ? -1 : answer->age_s * 1000, .max_age_s = answer->max_age_s,
		.stale_while_revalidate_s = answer->stale_s, .stale_if_error_s = answer->error_s, .created_ms = answer->created_ms < 0 ? 0 : answer->created_ms,
		.hard_end_ms = answer->hard_end_ms < 0 ? 0 : answer->hard_end_ms,
		.last_modified_ms = answer->last_modified_ms < 0 ? 0 : answer->last_modified_ms,
		.flags = answer->flags < 0 ? 0 : (uint32_t)answer->flags, .etag = answer->etag[0] ? answer->etag : NULL,
		.default_ttl_ms = have->default_ttl_ms, .default_stale_ms = have->default_stale_ms, .default_error_ms = have->default_error_ms,
		.want_error_window = have->want_error_window, .bad_tags = answer->bad_tags, .tag_count = answer->tag_count, .tags = answer->tags,
	};
}

static enum ld_l2_outcome of_codec(enum ld_codec_result result)
{
	return result == LD_CODEC_OK ? LD_L2_HIT : result == LD_CODEC_E_BODY ? LD_L2_BODY : result == LD_CODEC_E_NOMEM ? LD_L2_LOCAL : LD_L2_MISS;
}

static enum ld_l2_outcome read_value(const struct ld_l2 *l2, struct ld_http_answer *answer, const struct ld_l2_have *have,
    struct ld_wire_value *ret_value)
{
	struct ld_wire_answer wire = to_codec(answer, have);
	const char *why = NULL;
	enum ld_l2_outcome outcome = of_codec(ld_codec_decode(&wire, ld_clock_wall_ms(), l2->config.value_max, ret_value, &why));

	if (outcome == LD_L2_BODY)
		LD_LOG(l2->log, LARDER_LOG_WARN, "l2_bad_body", NULL, LD_T("reason", why ? why : "unreadable"),);
	/* A raw value lies in the answer's own body. */
	if (outcome == LD_L2_HIT && !ret_value->memory) {
		ret_value->memory = answer->body;
		answer->body = NULL;
	}
	return outcome;
}

static enum ld_l2_outcome renew_value(struct ld_http_answer *answer, const struct ld_l2_have *have, struct ld_wire_value *ret_value)
{
	struct ld_wire_answer wire = to_codec(answer, have);

	if (!have->copy)
		return LD_L2_REJECTED;
	*ret_value = *have->copy;
	ret_value->data = NULL;
	ret_value->len = 0;
	ret_value->memory = NULL;
	return ld_codec_renew(&wire, ld_clock_wall_ms(), ret_value) == LD_CODEC_OK ? LD_L2_SAME : LD_L2_MISS;
}

enum ld_l2_outcome ld_l2_get(struct ld_l2 *l2, const struct ld_l2_call *call, const struct ld_l2_have *have,
    struct ld_wire_value *ret_value, struct ld_l2_end *ret_end)
{
	struct ld_http_answer answer;
	enum ld_l2_outcome outcome;
	struct made made;

	make(l2, call, LD_HTTP_GET, &made);
	add_header(&made, "Accept", l2->config.codec == LD_CODEC_JSON ? "application/json, application/octet-stream;q=0.9" :
	    "application/octet-stream, application/json;q=0.9");
	if (have->copy && have->copy->etag[0])
		add_header(&made, "If-None-Match", have->copy->etag);
	made.request.body_max = ld_codec_body_max(l2->config.value_max);
	outcome = converse(l2, call, l2->config.get_ms, &made, &answer, ret_end);
	if (outcome == LD_L2_HIT)
		outcome = read_value(l2, &answer, have, ret_value);
	else if (outcome == LD_L2_SAME)
		outcome = renew_value(&answer, have, ret_value);
	ld_http_answer_free(&answer);
	return outcome;
}

/* A call whose answer has nothing in it for us. */
static enum ld_l2_outcome tell(struct ld_l2 *l2, const struct ld_l2_call *call, int64_t limit_ms, struct made *made, struct ld_l2_end *ret_end)
{
	struct ld_http_answer answer;
	enum ld_l2_outcome outcome = converse(l2, call, limit_ms, made, &answer, ret_end);

	ld_http_answer_free(&answer);
	return outcome == LD_L2_SAME ? LD_L2_REJECTED : outcome;
}

enum ld_l2_outcome ld_l2_head(struct ld_l2 *l2, const struct ld_l2_call *call, struct ld_l2_end *ret_end)
{
	struct made made;

	make(l2, call, LD_HTTP_HEAD, &made);
	return tell(l2, call, l2->config.get_ms, &made, ret_end);
}

enum ld_l2_outcome ld_l2_put(struct ld_l2 *l2, const struct ld_l2_call *call, const struct ld_wire_value *value,
    const unsigned char write_id[LD_L2_WRITE_ID], struct ld_l2_end *ret_end)
{
	enum ld_l2_outcome outcome;
	struct ld_wire_body body;
	struct made made;
	enum ld_codec_result result = ld_codec_encode(l2->config.codec, value, &body);

	memset(ret_end, 0, sizeof(*ret_end));
	if (result != LD_CODEC_OK)
		return result == LD_CODEC_UNKEPT ? LD_L2_UNKEPT : LD_L2_LOCAL;
	make_write(l2, call, l2->config.codec == LD_CODEC_JSON ? LD_HTTP_POST : LD_HTTP_PUT, write_id, &made);
	for (size_t i = 0; i < body.header_count; i++)
		add_header(&made, body.headers[i].name, body.headers[i].value);
	made.request.body = body.data;
	made.request.body_len = body.len;
	outcome = tell(l2, call, l2->config.set_ms, &made, ret_end);
	ld_wire_body_free(&body);
	/* A service that knows no such path does not keep it. */
	return outcome == LD_L2_MISS ? LD_L2_REJECTED : outcome;
}

enum ld_l2_outcome ld_l2_delete(struct ld_l2 *l2, const struct ld_l2_call *call, const unsigned char write_id[LD_L2_WRITE_ID],
    struct ld_l2_end *ret_end)
{
	struct made made;

	make_write(l2, call, LD_HTTP_DELETE, write_id, &made);
	return tell(l2, call, l2->config.delete_ms, &made, ret_end);
}
