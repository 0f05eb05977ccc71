/* SPDX-License-Identifier: MIT */
/*
 * What a request to L2 is made of, and what its answer means: to the caller, to the breaker, and to whoever thinks of trying again. Called by client.c for
 * one key and by client_many.c for several, which must not differ in any of it.
 */
#include "l2/client_inside.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "crypto/hash.h"

enum { BACKOFF_MS = 50, SHIFT_MAX = 10 };

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

/* ---- the request ---- */

void ld_l2_add_header(struct ld_l2_made *made, const char *name, const char *value)
{
	made->headers[made->request.headers_count++] = (struct ld_http_header){ name, value };
}

/* 128 bits that no other call has, here or in another process, without a system call for each. Nobody must be unable to guess them. */
static const char *request_id_of(struct ld_l2 *l2, const struct ld_l2_call *call, struct ld_l2_made *made)
{
	uint64_t mix[2], id[2];

	if (call->request_id)
		return call->request_id;
	/* In a child this draws numbers of its own first. */
	(void)ld_l2_connections(l2);
	mix[0] = l2->id_base[0];
	mix[1] = atomic_fetch_add_explicit(&l2->ids, 1, memory_order_relaxed);
	id[0] = ld_hash64(mix, sizeof(mix));
	mix[0] = l2->id_base[1];
	id[1] = ld_hash64(mix, sizeof(mix));
	ld_text_hex((const unsigned char *)id, sizeof(id), made->request_id);
	return made->request_id;
}

void ld_l2_make(struct ld_l2 *l2, const struct ld_l2_call *call, enum ld_http_method method, struct ld_l2_made *made)
{
	const char *tenant = call->key->tenant;
	char *at = made->path;

	memset(&made->request, 0, sizeof(made->request));
	made->etag = NULL;
	*at++ = '/';
	if (l2->config.tenant_in != LD_L2_IN_HEADER)
		at += snprintf(at, LARDER_TENANT_MAX + 2, "%s/", tenant);
	ld_text_hex(call->key->digest, LARDER_DIGEST_SIZE, at);
	made->request.method = method;
	made->request.path = made->path;
	made->request.headers = made->headers;
	if (l2->config.tenant_in != LD_L2_IN_PATH)
		ld_l2_add_header(made, "X-Tenant-Id", tenant);
	ld_l2_add_header(made, "X-Request-Id", request_id_of(l2, call, made));
}

void ld_l2_make_write(struct ld_l2 *l2, const struct ld_l2_call *call, enum ld_http_method method,
    const unsigned char write_id[LD_L2_WRITE_ID], struct ld_l2_made *made)
{
	ld_l2_make(l2, call, method, made);
	ld_text_hex(write_id, LD_L2_WRITE_ID, made->write_id);
	ld_l2_add_header(made, "Idempotency-Key", made->write_id);
}

/* ---- the answer ---- */

/* A part of a value is not the value, and no content is not an empty one; to a write or a HEAD any 2xx says that it is well. */
static enum ld_l2_outcome of_success(const struct ld_l2_made *made, int status)
{
	return made->request.method != LD_HTTP_GET || status == 200 || status == 203 ? LD_L2_HIT : LD_L2_BODY;
}

/* Weak comparison (RFC 9110, 8.8.3.2). */
static const char *opaque_tag(const char *etag)
{
	return strncmp(etag, "W/", 2) == 0 ? etag + 2 : etag;
}

/* One that names another value than the one that was asked about renews nothing (RFC 9111, 4.3.4); one that was not asked for is a 3xx like any other. */
static enum ld_l2_outcome of_unchanged(const struct ld_l2_made *made, const struct ld_http_answer *answer)
{
	if (!made->etag)
		return LD_L2_REJECTED;
	return answer->etag[0] && strcmp(opaque_tag(answer->etag), opaque_tag(made->etag)) != 0 ? LD_L2_BODY : LD_L2_SAME;
}

static enum ld_l2_outcome of_status(const struct ld_l2_made *made, const struct ld_http_answer *answer)
{
	int status = answer->status;

	if (status < 300)
		return of_success(made, status);
	if (status >= 500)
		return LD_L2_SERVER;
	switch (status) {
	case 304:
		return of_unchanged(made, answer);
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

/* A redirect is what the service says; what is no answer of HTTP's is a failure of whoever is there; what never left this host says nothing of either. */
static enum ld_l2_outcome of_bad_answer(const struct ld_http_answer *answer)
{
	if (answer->status >= 300 && answer->status <= 399)
		return LD_L2_REJECTED;
	return answer->sent ? LD_L2_BODY : LD_L2_LOCAL;
}

enum ld_l2_outcome ld_l2_of_answer(const struct ld_l2_made *made, const struct ld_http_answer *answer)
{
	switch (answer->outcome) {
	case LD_HTTP_OK:
		return of_status(made, answer);
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
		return of_bad_answer(answer);
	}
}

int ld_l2_is_unanswered(const struct ld_http_answer *answer)
{
	return answer->sent && (answer->status < 200 || (answer->status >= 500 && !(answer->status == 503 && answer->retry_after_ms >= 0)));
}

/* Worth another try? What was refused for good is not; what timed out only if nothing was sent. */
int ld_l2_is_passing(enum ld_l2_outcome outcome, const struct ld_http_answer *answer)
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
int64_t ld_l2_back_off(const struct ld_l2 *l2, uint32_t tries, int64_t retry_after_ms)
{
	int64_t full_ms = (int64_t)BACKOFF_MS << (tries - 1 < SHIFT_MAX ? tries - 1 : SHIFT_MAX);
	int64_t wait_ms = full_ms / 2 + (int64_t)(ld_l2_seed(l2) % (uint64_t)(full_ms / 2 + 1));

	return wait_ms < retry_after_ms ? retry_after_ms : wait_ms;
}

/* What a call teaches the breaker. A short time of the caller's own, a refusal that is the caller's fault, and what never left the host teach nothing. */
enum ld_breaker_outcome ld_l2_lesson(const struct passage *passage, enum ld_l2_outcome outcome, int64_t took_ms)
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

	*ret_value = *have->copy;
	ret_value->data = NULL;
	ret_value->len = 0;
	ret_value->memory = NULL;
	return ld_codec_renew(&wire, ld_clock_wall_ms(), ret_value) == LD_CODEC_OK ? LD_L2_SAME : LD_L2_MISS;
}

void ld_l2_make_get(struct ld_l2 *l2, const struct ld_l2_call *call, const struct ld_l2_have *have, struct ld_l2_made *made)
{
	ld_l2_make(l2, call, LD_HTTP_GET, made);
	ld_l2_add_header(made, "Accept", l2->config.codec == LD_CODEC_JSON ? "application/json, application/octet-stream;q=0.9" :
	    "application/octet-stream, application/json;q=0.9");
	if (have->copy && have->copy->etag[0]) {
		made->etag = have->copy->etag;
		ld_l2_add_header(made, "If-None-Match", made->etag);
	}
	made->request.body_max = ld_codec_body_max(l2->config.value_max);
}

enum ld_l2_outcome ld_l2_take_value(const struct ld_l2 *l2, enum ld_l2_outcome outcome, struct ld_http_answer *answer, const struct ld_l2_have *have,
    struct ld_wire_value *ret_value)
{
	if (outcome == LD_L2_HIT)
		return read_value(l2, answer, have, ret_value);
	return outcome == LD_L2_SAME ? renew_value(answer, have, ret_value) : outcome;
}
