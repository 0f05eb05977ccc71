/* SPDX-License-Identifier: MIT */
/*
 * libcurl's verdict on a call, turned into an outcome. Called when a flight lands. libcurl's own words must never reach a caller or a log, for they hold
 * addresses.
 */
#include "l2/http_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <larder/larder.h>

#include "base/mem.h"

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

/* What a look-up of a name has open at once: a pair of sockets to wake its caller, one to a server, a file. Of a handshake that reads files: its
 * socket, and one file after the other. */
enum { NAME_DESCRIPTORS = 4, FILE_DESCRIPTORS = 2 };

/* Can this process not open so many descriptors more? Whatever libcurl opened for a call that failed is closed again by now. */
static int lacks(int count)
{
	int fds[NAME_DESCRIPTORS], had = 0, lacking;

	while (had < count && (fds[had] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) != -1)
		had++;
	lacking = had < count && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM);
	while (had > 0)
		(void)close(fds[--had]);
	return lacking;
}

/*
 * Has L2 nothing to do with it? A name server is asked over sockets, too, and is not heard of without one. Certificates and keys are files, and libcurl
 * does not say why one could not be opened. One that is there no more, or holds no certificate, is so for all of the host, and does count.
 */
static int is_without_descriptor(const struct ld_http_slot *slot, CURLcode rc)
{
	switch ((int)rc) {
	case CURLE_COULDNT_CONNECT:
		return slot->no_socket;
	case CURLE_COULDNT_RESOLVE_HOST:
		return slot->no_socket || lacks(NAME_DESCRIPTORS);
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
		return lacks(FILE_DESCRIPTORS);
	case CURLE_PEER_FAILED_VERIFICATION: /* the system's authorities may be a directory that is looked into for each */
		return slot->http->ca_file == NULL && lacks(FILE_DESCRIPTORS);
	default:
		return 0;
	}
}

/* Ten times the longest header line that libcurl takes. */
enum { PLENTY_B = 1 << 20 };

/* libcurl says of a line that is longer than it takes that memory is out. Where there was an answer, and is memory, it was that. */
static int is_line_too_long(const struct ld_http_slot *slot, CURLcode rc)
{
	curl_off_t began_us = 0;

	if (rc != CURLE_OUT_OF_MEMORY)
		return 0;
	(void)curl_easy_getinfo(slot->easy, CURLINFO_STARTTRANSFER_TIME_T, &began_us);
	return began_us > 0 && !ld_mem_lacks(PLENTY_B);
}

int ld_http_conclude(const struct ld_http_slot *slot, CURLcode rc, struct ld_http_answer *answer)
{
	const struct ld_http_receipt *receipt = &slot->receipt;
	int line_too_long = is_line_too_long(slot, rc);

	if ((rc == CURLE_OUT_OF_MEMORY && !line_too_long) || receipt->no_memory)
		return LARDER_E_NOMEM;
	if (is_without_descriptor(slot, rc))
		answer->outcome = LD_HTTP_POOL_BUSY;
	else if (receipt->too_many || line_too_long)
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
