/* SPDX-License-Identifier: MIT */
/*
 * One call: libcurl run on a request, its verdict turned into an outcome. Called by whatever asks the second level. libcurl's
 * own words must never reach a caller or a log, for they hold addresses.
 *
 * The time of a call:
 *
 *     | wait for a slot | name, TCP, TLS: <= connect_ms | request, answer, last byte of the body |
 *     |<---------------------------------- limit_ms ------------------------------------------->|
 *
 * libcurl sends a request again by itself when a connection that it used again turns out to be dead before a byte of the answer, and so do we, once,
 * where it does not; the clock goes on.
 *
 * A process that is killed in here leaves nothing on this host; the server sees its connection end.
 */
#include "l2/http_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <larder/larder.h>

#include "base/clock.h"
#include "base/process.h"
#include "crypto/locked.h"

enum { LOOK_MS = 50 };

static const char *const outcome_names[LD_HTTP_OUTCOMES] = {
	[LD_HTTP_OK] = "ok",
	[LD_HTTP_TIMEOUT] = "timeout",
	[LD_HTTP_REFUSED] = "refused",
	[LD_HTTP_RESET] = "reset",
	[LD_HTTP_BAD_BODY] = "bad_body",
	[LD_HTTP_TLS] = "tls",
	[LD_HTTP_POOL_BUSY] = "pool_busy",
	[LD_HTTP_BAD_ANSWER] = "bad_answer",
	[LD_HTTP_STOPPED] = "stopped",
};

const char *ld_http_outcome_name(enum ld_http_outcome outcome)
{
	return (unsigned)outcome < LD_HTTP_OUTCOMES ? outcome_names[outcome] : "unknown";
}

/* ---- SIGPIPE ----
 *
 * OpenSSL may write(2) to a socket whose peer is gone, and CURLOPT_NOSIGNAL, which threads need, turns libcurl's own guard off. So the signal is
 * blocked in this thread, and one that came in meanwhile is taken away before the old mask is back. One that was pending before was not ours.
 */

static sigset_t pipe_set(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGPIPE);
	return set;
}

void ld_http_pipe_begin(struct ld_http_pipe *guard)
{
	const sigset_t set = pipe_set();
	sigset_t pending;

	(void)sigemptyset(&pending);
	guard->eat = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 0;
	(void)pthread_sigmask(SIG_BLOCK, &set, &guard->before);
}

void ld_http_pipe_end(struct ld_http_pipe *guard)
{
	const struct timespec now = { 0, 0 };
	const sigset_t set = pipe_set();

	while (guard->eat && (sigtimedwait(&set, NULL, &now) == SIGPIPE || errno == EINTR))
		;
	(void)pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
}

/* ---- the verdict ---- */

/* A handshake that broke off is no refused certificate: only the text tells the two apart. */
static enum ld_http_outcome outcome_of_handshake(const char *text)
{
	static const char *const broken[] = { "unexpected eof", "SSL_ERROR_SYSCALL", "Connection reset", "Broken pipe" };

	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		if (strstr(text, broken[i]) != NULL)
			return LD_HTTP_RESET;
	}
	return LD_HTTP_TLS;
}

static enum ld_http_outcome outcome_of(CURLcode rc, const char *text)
{
	switch ((int)rc) {
	case CURLE_ABORTED_BY_CALLBACK:
		return LD_HTTP_STOPPED;
	case CURLE_OPERATION_TIMEDOUT:
		return LD_HTTP_TIMEOUT;
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST:
		return LD_HTTP_REFUSED;
	case CURLE_PARTIAL_FILE:
	case CURLE_BAD_CONTENT_ENCODING:
	case CURLE_WRITE_ERROR: /* ours have been dealt with: what decoding found */
		return LD_HTTP_BAD_BODY;
	case CURLE_RECV_ERROR:
		return strstr(text, "chunked-encoding") != NULL ? LD_HTTP_BAD_BODY : LD_HTTP_RESET;
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		return LD_HTTP_RESET;
	case CURLE_SSL_CONNECT_ERROR:
		return outcome_of_handshake(text);
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CLIENTCERT:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
		return LD_HTTP_TLS;
	default:
		return LD_HTTP_BAD_ANSWER;
	}
}

/* Of a call that libcurl found good. */
static enum ld_http_outcome judge(const struct ld_http_slot *slot, const struct ld_http_answer *answer)
{
	if (answer->status < 200 || answer->status > 599 || (answer->status >= 300 && answer->status <= 399 && answer->status != 304))
		return LD_HTTP_BAD_ANSWER;
	/* A value whose end is only the end of the connection may be half a value. */
	if (!slot->multiplexed && answer->status <= 299 && !ld_http_receipt_is_told(&slot->receipt))
		return LD_HTTP_BAD_BODY;
	return LD_HTTP_OK;
}

/* Returns 0 or LARDER_E_NOMEM. */
static int conclude(struct ld_http_slot *slot, CURLcode rc, struct ld_http_answer *answer)
{
	const struct ld_http_receipt *receipt = &slot->receipt;

	if (rc == CURLE_OUT_OF_MEMORY || receipt->no_memory)
		return LARDER_E_NOMEM;
	if (receipt->too_many)
		answer->outcome = LD_HTTP_BAD_ANSWER;
	else if (receipt->too_large)
		answer->outcome = LD_HTTP_BAD_BODY;
	else
		answer->outcome = rc == CURLE_OK ? judge(slot, answer) : outcome_of(rc, slot->error);
	if (answer->outcome != LD_HTTP_OK)
		ld_http_answer_free(answer);
	return 0;
}

/* What libcurl knows of a call that is over. */
static void look_back(struct ld_http_slot *slot, int64_t began_ms, struct ld_http_answer *answer)
{
	curl_off_t connected_us = 0;
	long status = 0, connects = 0, sent_b = 0, version = 0;

	(void)curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(slot->easy, CURLINFO_NUM_CONNECTS, &connects);
	(void)curl_easy_getinfo(slot->easy, CURLINFO_REQUEST_SIZE, &sent_b);
	(void)curl_easy_getinfo(slot->easy, CURLINFO_CONNECT_TIME_T, &connected_us);
	(void)curl_easy_getinfo(slot->easy, CURLINFO_HTTP_VERSION, &version);
	answer->status = (int)status;
	answer->sent = sent_b > 0;
	answer->reused = connects == 0 && sent_b > 0;
	slot->multiplexed = version >= CURL_HTTP_VERSION_2_0;
	if (connects > 0) {
		slot->born_ms = began_ms;
		if (connected_us > 0)
			atomic_fetch_add(&slot->http->opened, (uint64_t)connects);
	}
}

/* curl_easy_perform(), which sleeps for up to a second at a time, with a look in between whether the answer is still wanted. */
static CURLcode transfer(struct ld_http_slot *slot, const struct ld_http_request *request)
{
	CURLMcode rc = curl_multi_add_handle(slot->multi, slot->easy);
	CURLcode result = CURLE_FAILED_INIT;
	const CURLMsg *message;
	int running = rc == CURLM_OK, queued;

	while (rc == CURLM_OK && running) {
		rc = curl_multi_perform(slot->multi, &running);
		if (rc == CURLM_OK && running && request->stop && request->stop(request->stop_ctx)) {
			result = CURLE_ABORTED_BY_CALLBACK;
			break;
		}
		if (rc == CURLM_OK && running)
			rc = curl_multi_poll(slot->multi, NULL, 0, LOOK_MS, NULL);
	}
	while ((message = curl_multi_info_read(slot->multi, &queued)) != NULL)
		if (message->msg == CURLMSG_DONE)
			result = message->data.result;
	(void)curl_multi_remove_handle(slot->multi, slot->easy);
	return rc == CURLM_OUT_OF_MEMORY ? CURLE_OUT_OF_MEMORY : result;
}

static CURLcode attempt(struct ld_http_slot *slot, const struct ld_http_request *request, int64_t left_ms, struct ld_http_answer *answer)
{
	size_t body_max = slot->http->body_max;
	int64_t began_ms = ld_clock_boot_ms();
	struct ld_http_pipe guard;
	CURLcode rc;

	if (request->body_max > 0 && request->body_max < body_max)
		body_max = request->body_max;
	ld_http_receipt_init(&slot->receipt, answer, body_max, request->method == LD_HTTP_HEAD, ld_clock_wall_ms());
	slot->error[0] = '\0';
	rc = ld_http_request_lay_out(slot, request, left_ms < INT32_MAX ? left_ms : INT32_MAX);
	if (rc == CURLE_OK) {
		ld_http_pipe_begin(&guard);
		rc = transfer(slot, request);
		ld_http_pipe_end(&guard);
		look_back(slot, began_ms, answer);
	}
	ld_wipe(slot->bearer, sizeof(slot->bearer));
	return rc;
}

/* libcurl sees that a connection is dead when it reads, and when it sends the first piece; this is for those that die under a longer body. */
static int was_dead(const struct ld_http_slot *slot, CURLcode rc, const struct ld_http_answer *answer)
{
	return (rc == CURLE_SEND_ERROR || rc == CURLE_RECV_ERROR || rc == CURLE_GOT_NOTHING) && answer->reused && slot->receipt.lines == 0;
}

static int run(struct ld_http_slot *slot, const struct ld_http_request *request, int64_t until_ns, struct ld_http_answer *answer)
{
	int64_t left_ms = (until_ns - ld_clock_boot_ns()) / 1000000;
	CURLcode rc = CURLE_OPERATION_TIMEDOUT;

	if (left_ms >= 1)
		rc = attempt(slot, request, left_ms, answer);
	if (was_dead(slot, rc, answer)) {
		left_ms = (until_ns - ld_clock_boot_ns()) / 1000000;
		rc = left_ms >= 1 ? attempt(slot, request, left_ms, answer) : CURLE_OPERATION_TIMEDOUT;
		answer->sent = 1;
	}
	if (answer->reused)
		atomic_fetch_add(&slot->http->reused, 1);
	return conclude(slot, rc, answer);
}

static int call(struct ld_http *http, const struct ld_http_request *request, int64_t from_ns, struct ld_http_answer *answer)
{
	int64_t wait_ms = http->pool_wait_ms < request->limit_ms ? http->pool_wait_ms : request->limit_ms;
	struct ld_http_slot *slot;
	int rc;

	ld_http_token_look(&http->token, &http->lock, http->log, ld_clock_boot_ms());
	switch (ld_http_take(http, wait_ms, &slot)) {
	case LD_HTTP_TOOK_NOMEM:
		return LARDER_E_NOMEM;
	case LD_HTTP_TOOK_BUSY:
		answer->outcome = LD_HTTP_POOL_BUSY;
		return 0;
	case LD_HTTP_TOOK:
		break;
	}
	rc = run(slot, request, from_ns + request->limit_ms * 1000000, answer);
	ld_http_give(http, slot);
	return rc;
}

int ld_http_perform(struct ld_http *http, const struct ld_http_request *request, struct ld_http_answer *ret_answer)
{
	int64_t from_ns = ld_clock_boot_ns();
	struct ld_http_receipt empty;
	int rc;

	*ret_answer = (struct ld_http_answer){ .outcome = LD_HTTP_OK };
	if (http->process != ld_process_generation())
		return LARDER_E_BUG;
	if (!ld_http_request_is_sound(request))
		return LARDER_E_USAGE;
	/* The fields say "missing" also where there was no answer. */
	ld_http_receipt_init(&empty, ret_answer, 0, 0, 0);
	rc = call(http, request, from_ns, ret_answer);
	if (rc != 0) {
		ld_http_answer_free(ret_answer);
		*ret_answer = (struct ld_http_answer){ .outcome = LD_HTTP_OK };
		return rc;
	}
	ret_answer->took_us = (ld_clock_boot_ns() - from_ns) / 1000;
	return 0;
}

void ld_http_answer_free(struct ld_http_answer *answer)
{
	free(answer->body);
	answer->body = NULL;
	answer->body_len = 0;
}
