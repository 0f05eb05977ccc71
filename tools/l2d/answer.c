/* SPDX-License-Identifier: MIT */
/* Answers (answer.h). A found value goes out of the memory that larder put it into; it is freed when it has been sent. */
#include "answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <microhttpd.h>

#include "envelope.h"

static void add(struct MHD_Response *response, const char *name, const char *value)
{
	/* Fails for want of memory alone; an answer without one field is better than none. */
	enum MHD_Result added = MHD_add_response_header(response, name, value);
	(void)added;
}

static void add_number(struct MHD_Response *response, const char *name, int64_t number)
{
	char text[24];
	snprintf(text, sizeof(text), "%lld", (long long)number);
	add(response, name, text);
}

static int queue(struct l2d_request *request, unsigned status, struct MHD_Response *response, size_t len)
{
	if (response == NULL)
		return MHD_NO;
	if (request->worker->draining || request->headers.unclear)
		add(response, MHD_HTTP_HEADER_CONNECTION, "close");
	request->status = status;
	request->bytes_out = request->method == L2D_HEAD ? 0 : len;
	int rc = MHD_queue_response(request->connection, status, response);
	MHD_destroy_response(response);
	return rc;
}

static char no_bytes[1];

int l2d_answer_empty(struct l2d_request *request, unsigned status)
{
	return queue(request, status, MHD_create_response_from_buffer(0, no_bytes, MHD_RESPMEM_PERSISTENT), 0);
}

int l2d_answer_refusal(struct l2d_request *request, const struct l2d_refusal *refusal)
{
	char text[400];
	/* No text of a refusal has a character that JSON would escape. */
	int len = snprintf(text, sizeof(text), "{\"error\":\"%s\",\"message\":\"%s\"}\n", refusal->name, refusal->why);
	struct MHD_Response *response = MHD_create_response_from_buffer((size_t)len, text, MHD_RESPMEM_MUST_COPY);

	if (response == NULL)
		return MHD_NO;
	add(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	add(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (refusal->retry_after_s > 0)
		add_number(response, MHD_HTTP_HEADER_RETRY_AFTER, refusal->retry_after_s);
	if (refusal->status == 401)
		add(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	if (refusal->status == 405)
		add(response, MHD_HTTP_HEADER_ALLOW, request->route.place == L2D_AT_KEY ? "GET, HEAD, PUT, POST, DELETE" : "GET, HEAD");
	return queue(request, refusal->status, response, (size_t)len);
}

static int out_of_memory(struct l2d_request *request)
{
	const struct l2d_refusal refusal = { 503, 1, "LARDER_E_NOMEM", "out of memory" };
	return l2d_answer_refusal(request, &refusal);
}

int l2d_answer_text(struct l2d_request *request, unsigned status, const char *type, char *text, size_t len)
{
	if (text == NULL)
		return out_of_memory(request);
	struct MHD_Response *response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	if (response == NULL) {
		free(text);
		return MHD_NO;
	}
	add(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	add(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	return queue(request, status, response, len);
}

/* ---- values ---- */

static void free_found(void *cls)
{
	larder_value_free(cls);
	free(cls);
}

/* The bytes where they are; found is the response's from now on, or freed. */
static struct MHD_Response *response_of_found(struct larder_value *found, const struct l2d_value *value)
{
	struct larder_value *kept = malloc(sizeof(*kept));
	struct MHD_Response *response = NULL;

	if (kept != NULL) {
		*kept = *found;
		response = MHD_create_response_from_buffer_with_free_callback_cls(value->len, (void *)(uintptr_t)value->data, free_found, kept);
	}
	if (response == NULL) {
		free(kept);
		larder_value_free(found);
	}
	return response;
}

static struct MHD_Response *response_in_json(const struct l2d_value *value, size_t *ret_len)
{
	char *text = l2d_envelope_write(value, ret_len);
	struct MHD_Response *response = text ? MHD_create_response_from_buffer(*ret_len, text, MHD_RESPMEM_MUST_FREE) : NULL;

	if (response == NULL)
		free(text);
	return response;
}

static void add_times(struct MHD_Response *response, const struct l2d_value *value, int64_t age_ms)
{
	char text[19 * L2D_TAGS_MAX + 1];

	l2d_raw_freshness(value, text, sizeof(text));
	add(response, MHD_HTTP_HEADER_CACHE_CONTROL, text);
	add_number(response, MHD_HTTP_HEADER_AGE, age_ms / 1000);
	if (value->content & L2D_CONTENT_DATED)
		add_number(response, "X-Larder-Created", value->created_ms);
	if (value->hard_end_ms)
		add_number(response, "X-Larder-Hard-End", value->hard_end_ms);
	if (value->flags)
		add_number(response, "X-Larder-Flags", value->flags);
	if (l2d_tags_write(value, "", text, sizeof(text)) > 0)
		add(response, "X-Larder-Tags", text);
}

int l2d_answer_value(struct l2d_request *request, struct larder_value *found, const struct l2d_value *value)
{
	enum l2d_codec codec = l2d_codec_accepted(request->headers.accept, value->codec);
	const char *none_match = request->headers.if_none_match;
	struct l2d_value copy = *value;
	int64_t age_ms = found->age_ms;
	char etag[L2D_ETAG_SIZE];
	size_t len = value->len;
	struct MHD_Response *response;

	l2d_value_etag(value, codec, etag);
	int same = none_match && l2d_value_etag_in(none_match, etag);
	if (same) {
		response = MHD_create_response_from_buffer(0, no_bytes, MHD_RESPMEM_PERSISTENT);
		larder_value_free(found);
		len = 0;
	} else if (codec == L2D_JSON) {
		response = response_in_json(value, &len);
		larder_value_free(found);
	} else {
		response = response_of_found(found, value);
	}
	if (response == NULL)
		return out_of_memory(request);
	if (!same)
		add(response, MHD_HTTP_HEADER_CONTENT_TYPE, codec == L2D_JSON ? "application/json" : "application/octet-stream");
	add(response, MHD_HTTP_HEADER_ETAG, etag);
	add(response, MHD_HTTP_HEADER_VARY, "Accept");
	add_times(response, &copy, age_ms);
	return queue(request, same ? 304 : 200, response, len);
}
