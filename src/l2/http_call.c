/* SPDX-License-Identifier: MIT */
/*
 * libcurl's verdict on a call, turned into an outcome. Called when a flight lands. libcurl's own words must never reach a caller or a log, for they hold
 * addresses.
 */
#include "l2/http_inside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <larder/larder.h>

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

/* Has L2 nothing to do with it? A name server is asked over sockets, too, and is not heard of without one. */
static int is_without_socket(const struct ld_http_slot *slot, CURLcode rc)
{
	int fd;

	if (slot->no_socket || rc != CURLE_COULDNT_RESOLVE_HOST)
		return slot->no_socket && rc == CURLE_COULDNT_CONNECT;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd != -1)
		(void)close(fd);
	return fd == -1;
}

int ld_http_conclude(const struct ld_http_slot *slot, CURLcode rc, struct ld_http_answer *answer)
{
	const struct ld_http_receipt *receipt = &slot->receipt;

	if (rc == CURLE_OUT_OF_MEMORY || receipt->no_memory)
		return LARDER_E_NOMEM;
	if (is_without_socket(slot, rc))
		answer->outcome = LD_HTTP_POOL_BUSY;
	else if (receipt->too_many)
		answer->outcome = LD_HTTP_BAD_ANSWER;
	else if (receipt->too_large)
		answer->outcome = LD_HTTP_BAD_BODY;
	else
		answer->outcome = rc == CURLE_OK ? judge(slot, answer) : outcome_of(rc, slot->error);
	if (answer->outcome != LD_HTTP_OK)
		ld_http_answer_free(answer);
	return 0;
}

void ld_http_answer_free(struct ld_http_answer *answer)
{
	free(answer->body);
	answer->body = NULL;
	answer->body_len = 0;
}
