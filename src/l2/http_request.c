/* SPDX-License-Identifier: MIT */
/*
 * A request, checked and laid out for libcurl. Called by http_call.c. Not a byte of it may reach libcurl before all of it has been checked: a line end
 * in a header would begin another header, or another request.
 */
#include "l2/http_inside.h"

#include <string.h>
#include <strings.h>

#define LIMIT_MAX_MS INT64_C(86400000)

static const char *const method_names[] = {
	[LD_HTTP_GET] = "GET",
	[LD_HTTP_HEAD] = "HEAD",
	[LD_HTTP_PUT] = "PUT",
	[LD_HTTP_POST] = "POST",
	[LD_HTTP_DELETE] = "DELETE",
};

/* ---- the request ---- */

static int is_name(const char *name)
{
	static const char token[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

	return name != NULL && name[0] != '\0' && name[strspn(name, token)] == '\0';
}

/* Not empty, for libcurl takes "Name:" for an order to leave a header out; no blank at its ends, for that would not arrive. */
static int is_value(const char *value)
{
	if (value == NULL || value[0] == '\0' || value[0] == ' ' || value[strlen(value) - 1] == ' ')
		return 0;
	for (; *value != '\0'; value++) {
		if ((unsigned char)*value < 0x20 || *value == 0x7f)
			return 0;
	}
	return 1;
}

static int are_headers(const struct ld_http_request *request)
{
	size_t left = LD_HTTP_HEADERS_MAX_B;

	if (request->headers_count > LD_HTTP_HEADERS_MAX)
		return 0;
	for (unsigned i = 0; i < request->headers_count; i++) {
		const struct ld_http_header *header = &request->headers[i];
		size_t len;

		if (!is_name(header->name) || !is_value(header->value))
			return 0;
		len = strlen(header->name) + strlen(header->value) + 4;
		if (len > left)
			return 0;
		left -= len;
	}
	return 1;
}

int ld_http_request_is_sound(const struct ld_http_request *request)
{
	int with_body = request->method == LD_HTTP_PUT || request->method == LD_HTTP_POST;

	if ((unsigned)request->method >= sizeof(method_names) / sizeof(method_names[0]) || request->path == NULL || request->limit_ms < 1 ||
	    request->limit_ms > LIMIT_MAX_MS)
		return 0;
	if ((request->body_len > 0 && (!with_body || request->body == NULL)) || request->body_len > SIZE_MAX / 4)
		return 0;
	return ld_http_is_path(request->path, "", LD_HTTP_PATH_MAX) && are_headers(request);
}

/* ---- laid out for libcurl, in the slot's memory: nothing is allocated, and the token can be wiped ---- */

static void add_line(struct ld_http_slot *slot, unsigned *used, char *line)
{
	slot->lines[*used] = (struct curl_slist){ line, NULL };
	if (*used > 0)
		slot->lines[*used - 1].next = &slot->lines[*used];
	(*used)++;
}

static void add_bearer(struct ld_http_slot *slot, unsigned *used)
{
	static const char begin[] = "Authorization: Bearer ";
	struct ld_http *http = slot->http;

	if (http->token.path == NULL)
		return;
	memcpy(slot->bearer, begin, sizeof(begin) - 1);
	pthread_mutex_lock(&http->lock);
	memcpy(slot->bearer + sizeof(begin) - 1, http->token.text, http->token.len);
	slot->bearer_len = sizeof(begin) - 1 + http->token.len;
	slot->bearer[slot->bearer_len] = '\0';
	pthread_mutex_unlock(&http->lock);
	add_line(slot, used, slot->bearer);
}

/* What libcurl would add to a body by itself and nobody asked for is taken out by naming it without a value. */
static struct curl_slist *lay_headers(struct ld_http_slot *slot, const struct ld_http_request *request)
{
	static char no_expect[] = "Expect:", no_type[] = "Content-Type:";
	int with_body = request->method == LD_HTTP_PUT || request->method == LD_HTTP_POST, typed = 0;
	struct ld_text text;
	unsigned used = 0;

	ld_text_init(&text, slot->text, sizeof(slot->text));
	for (unsigned i = 0; i < request->headers_count; i++) {
		char *line = slot->text + text.len;

		ld_text_addf(&text, "%s: %s", request->headers[i].name, request->headers[i].value);
		/* The NUL between two lines; ld_http_request_is_sound() has seen to the room. */
		text.len++;
		typed |= strncasecmp(line, "Content-Type:", 13) == 0;
		add_line(slot, &used, line);
	}
	if (with_body) {
		add_line(slot, &used, no_expect);
		if (!typed)
			add_line(slot, &used, no_type);
	}
	add_bearer(slot, &used);
	return used > 0 ? &slot->lines[0] : NULL;
}

/* Methods from memory, so that libcurl can send the body again on a new connection without asking for it. */
static CURLcode lay_method(CURL *easy, const struct ld_http_request *request)
{
	CURLcode rc = CURLE_OK;

	switch (request->method) {
	case LD_HTTP_GET:
	case LD_HTTP_DELETE:
		rc = curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
		break;
	case LD_HTTP_HEAD:
		/* HTTPGET first: it undoes what a POST left, which NOBODY does not. */
		rc = curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
		rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		break;
	case LD_HTTP_PUT:
	case LD_HTTP_POST:
		rc = curl_easy_setopt(easy, CURLOPT_POST, 1L);
		rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
		rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body_len > 0 ? (const char *)request->body : "");
		break;
	}
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method == LD_HTTP_PUT || request->method == LD_HTTP_DELETE ?
		    method_names[request->method] : NULL);
	return rc;
}

CURLcode ld_http_request_lay_out(struct ld_http_slot *slot, const struct ld_http_request *request, int64_t left_ms)
{
	struct curl_slist *headers = lay_headers(slot, request);
	struct ld_text target;
	CURLcode rc;

	/* The address stays the same from call to call, which spares libcurl most of what it does with one; what differs is the target. */
	ld_text_init(&target, slot->target, sizeof(slot->target));
	ld_text_add(&target, slot->http->prefix);
	ld_text_add(&target, request->path);
	rc = lay_method(slot->easy, request);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(slot->easy, CURLOPT_REQUEST_TARGET, slot->target);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, headers);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(slot->easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
	return rc;
}
