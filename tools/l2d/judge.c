/* SPDX-License-Identifier: MIT */
/*
 * What is wrong with a request can be told from its head (l2d_request_judge() of request.h): the order of the checks is that of the document - who may
 * ask at all, then where to, then what, then how much and how often.
 */
#include <string.h>
#include <strings.h>

#include "request.h"

#define JSON_GROWTH 6             /* of a text that is nothing but control characters, as \u00XX */
#define JSON_FRAME 4096

static void refuse(struct l2d_request *request, unsigned status, const char *name, const char *why)
{
	if (request->refusal.status == 0)
		request->refusal = (struct l2d_refusal){ status, 0, name, why };
}

static enum l2d_method method_of(const char *text)
{
	static const char *const names[] = { "GET", "HEAD", "PUT", "POST", "DELETE" };
	unsigned method = 0;

	while (method < L2D_OTHER && strcmp(text, names[method]) != 0)
		method++;
	return (enum l2d_method)method;
}

static int is_write(const struct l2d_request *request)
{
	return request->method == L2D_PUT || request->method == L2D_POST;
}

/*
 * A proxy in front that sees the end of a request elsewhere than we do would take what we read as the next request for a part of this one, and give its
 * answer to somebody else (RFC 9112, 11.2). So a head that leaves this open is refused, and the connection ends with the answer.
 */
static void judge_framing(struct l2d_request *request)
{
	struct l2d_headers *headers = &request->headers;

	if (headers->transfer_encoding && (headers->content_length || strcasecmp(headers->transfer_encoding, "chunked") != 0))
		headers->unclear = 1;
	if (headers->unclear)
		refuse(request, 400, "LARDER_E_USAGE", "where the body ends is not clear: one Content-Length, or Transfer-Encoding: chunked, and no blank before a colon");
}

static void judge_message(struct l2d_request *request)
{
	const struct l2d_headers *headers = &request->headers;

	judge_framing(request);
	if (headers->twice)
		refuse(request, 400, "LARDER_E_USAGE", "a header field that may be there once is there twice");
	if (headers->content_length && l2d_parse_number(headers->content_length, UINT64_MAX / 2, &request->announced) < 0)
		refuse(request, 400, "LARDER_E_USAGE", "Content-Length is no number");
	if (headers->idempotency_key && !l2d_is_token(headers->idempotency_key))
		refuse(request, 400, "LARDER_E_USAGE", "an Idempotency-Key is 1 to 128 printable ASCII characters without blanks and quotes");
	/* Passed on to the log, so what cannot be is dropped. */
	if (headers->request_id && !l2d_is_token(headers->request_id))
		request->headers.request_id = NULL;
}

static void judge_caller(struct l2d_request *request)
{
	const struct l2d_service *service = request->worker->service;

	if (service->token && request->route.place != L2D_AT_HEALTH &&
	    !l2d_is_bearer(request->headers.authorization, service->token, service->token_len))
		refuse(request, 401, "LARDER_E_REFUSED", "a Bearer token is needed");
}

static void judge_method(struct l2d_request *request)
{
	if (request->method == L2D_OTHER || (request->route.place != L2D_AT_KEY && request->method > L2D_HEAD))
		refuse(request, 405, "LARDER_E_USAGE", "not a method of this resource");
}

static void judge_body(struct l2d_request *request)
{
	const struct l2d_headers *headers = &request->headers;
	const size_t max = request->worker->service->options.max_value_b;

	request->codec = L2D_RAW;
	request->limit = is_write(request) ? max : 0;
	if (!is_write(request))
		return;
	if (headers->content_length == NULL && headers->transfer_encoding == NULL)
		refuse(request, 411, "LARDER_E_USAGE", "neither Content-Length nor chunks");
	if (headers->content_encoding && strcasecmp(headers->content_encoding, "identity") != 0)
		refuse(request, 415, "LARDER_E_USAGE", "no Content-Encoding is taken");
	/* What has no type is bytes, as of a PUT by a tool that knows nothing of us. */
	if (l2d_codec_of_type(headers->content_type, &request->codec) < 0 && (headers->content_type || request->method == L2D_POST))
		refuse(request, 415, "LARDER_E_USAGE", "the types are application/json and application/octet-stream");
	if (request->codec == L2D_JSON)
		request->limit = max * JSON_GROWTH + JSON_FRAME;
	if (request->announced > request->limit)
		refuse(request, 413, "LARDER_E_TOO_LARGE", "the value is larger than --max-value");
}

static void judge_rate(struct l2d_request *request)
{
	larder_tenant *tenant;
	int64_t wait_ms = 0;

	if (request->worker->service->options.rate == 0 || request->route.place != L2D_AT_KEY || request->refusal.status != 0)
		return;
	tenant = l2d_worker_tenant(request->worker, request->route.tenant);
	if (tenant && larder_limit_take(tenant, NULL, 1, NULL, &wait_ms) == LARDER_E_LIMIT) {
		refuse(request, 429, larder_result_name(LARDER_E_LIMIT), "the tenant makes more requests than --rate");
		request->refusal.retry_after_s = (unsigned)((wait_ms + 999) / 1000);
	}
}

void l2d_request_judge(struct l2d_request *request, const char *path)
{
	const char *why = NULL;

	request->method = method_of(request->method_text);
	int rc = l2d_route_read(path, request->headers.tenant, &request->route, &why);
	judge_caller(request);
	judge_message(request);
	if (request->cut)
		refuse(request, 400, larder_result_name(LARDER_E_NAME), "a path holds no NUL");
	if (rc != 0)
		refuse(request, 400, larder_result_name(rc), why);
	judge_method(request);
	judge_body(request);
	judge_rate(request);
}
