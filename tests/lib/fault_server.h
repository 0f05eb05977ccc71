/* SPDX-License-Identifier: MIT */
/**
 * An HTTP/1.1 server for tests that misbehaves by order: in processes of its own, on a port of 127.0.0.1 that the kernel chose, or on a unix socket,
 * with or without TLS. What it is to do, what it has seen, and the gate that holds it are in memory shared with the test and all its children.
 *
 *     struct fault_server *server = fault_server_start(NULL);
 *     fault_server_rule(server, "/bad", &(struct fault_answer){ .fault = FAULT_RESET }, 1);     the first request under /bad
 *     fault_server_rule(server, "/", &(struct fault_answer){ .body = "yes" }, 0);               every other one
 *     ... ask fault_server_url(server) ...
 *     assert_int_equal(fault_server_counts(server)->requests, 2);
 *     fault_server_free(server);
 *
 * The first rule that was made, has times left, and whose prefix fits, is the one; without any the answer is 404. Rules may be made at any time, by one
 * process at a time. A connection is served by a process of its own, until it is closed or a fault ends it. Needs libssl and zlib.
 */
#ifndef LARDER_TESTS_LIB_FAULT_SERVER_H
#define LARDER_TESTS_LIB_FAULT_SERVER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum fault_kind {
	FAULT_NONE = 0,         /* answer as ordered */
	FAULT_SILENT,           /* read the request, never answer, keep the connection */
	FAULT_CLOSE,            /* close instead of answering */
	FAULT_RESET,            /* RST instead of answering */
	FAULT_RESET_MID,        /* RST after half of the body */
	FAULT_HALF,             /* close after half of the body */
	FAULT_STALL,            /* half of the body, then nothing more, keep the connection */
	FAULT_BYTES,            /* byte by byte, pause_ms apart, headers too */
	FAULT_LENGTH_LESS,      /* Content-Length is half of what is sent */
	FAULT_LENGTH_MORE,      /* Content-Length is ten more than what is sent; then close */
	FAULT_CHUNKED,          /* no fault: in chunks */
	FAULT_CHUNKED_HALF,     /* in chunks, closed without the last one */
	FAULT_CHUNKED_BAD,      /* a chunk whose length is no number */
	FAULT_ENDLESS,          /* chunks without end */
	FAULT_HEADERS,          /* header lines without end */
	FAULT_LINE,             /* one header line without end */
	FAULT_STATUS_LINE,      /* the status line without end */
	FAULT_NOT_HTTP,         /* some other protocol */
	FAULT_DELIMITED,        /* neither length nor chunks: the body ends with the connection */
	FAULT_GZIP,             /* no fault: body and fill compressed, with Content-Encoding */
	FAULT_GZIP_BAD,         /* Content-Encoding: gzip, and it is not */
	FAULT_CLOSE_AFTER,      /* a good answer, and then a close that it did not announce */
	FAULT_LATE              /* a good answer; when the gate opens, another one that nobody asked for: 200, "EVIL" */
};

enum { FAULT_RULES = 32, FAULT_LOG = 64, FAULT_BODY_MAX = 65536, FAULT_HEADERS_MAX = 1024, FAULT_SEEN_BODY_MAX = 4096, FAULT_SEEN_HEADERS_MAX = 8192 };

struct fault_answer {
	enum fault_kind fault;
	int status;             /* 0 = 200 */
	const char *headers;    /* lines, each with \r\n; NULL = none */
	const void *body;       /* NULL = none */
	size_t body_len;        /* 0 = strlen(body); at most FAULT_BODY_MAX */
	uint64_t fill;          /* bytes of 'x' after the body */
	int echo;               /* 1: the body is "METHOD PATH BODY" of the request instead */
	int percent;            /* 0 = always; else of a hundred requests of this rule that many, evenly; the others: 200 and the body */
	int pause_ms;           /* before the answer; for FAULT_BYTES after each byte */
	int hold;               /* 1: wait at the gate before the answer */
};

struct fault_options {
	const char *socket;     /* path of a unix socket; NULL = TCP */
	const char *cert_file, *key_file; /* TLS; both or neither */
	const char *client_ca_file;       /* a client must show a certificate of these */
	int old_tls;            /* 1: TLS 1.1 and no other */
};

struct fault_counts {
	_Atomic uint64_t requests, connections;
	_Atomic uint64_t open;          /* connections that are served now */
	_Atomic uint64_t holding;       /* requests that wait at the gate now */
	_Atomic uint64_t late;          /* answers of FAULT_LATE that were sent unasked */
	_Atomic uint64_t handshakes_failed;
};

struct fault_request {
	_Atomic uint64_t number;        /* 1 for the first; written last */
	uint64_t connection;            /* 1 for the first */
	char method[16];
	char path[1024];
	char headers[FAULT_SEEN_HEADERS_MAX]; /* as they came, cut */
	unsigned char body[FAULT_SEEN_BODY_MAX]; /* cut */
	size_t body_len;                /* all of it */
};

struct fault_server;

/** Start one; options NULL = plain TCP. NULL when it cannot be. It dies with the process that started it. */
struct fault_server *fault_server_start(const struct fault_options *options);
/** "http://127.0.0.1:PORT", "https://...", "unix:PATH". */
const char *fault_server_url(const struct fault_server *server);
int fault_server_port(const struct fault_server *server);
/** As a crash: every process of it is killed, connections end, the port refuses. The port stays reserved; rules and counts stay. */
void fault_server_stop(struct fault_server *server);
/** Listen again, on the same port. Returns 0. */
int fault_server_again(struct fault_server *server);
void fault_server_free(struct fault_server *server);

/** Add a rule; times 0 = always. The answer is copied. */
void fault_server_rule(struct fault_server *server, const char *prefix, const struct fault_answer *answer, unsigned times);
/** Forget all rules. */
void fault_server_clear(struct fault_server *server);
/** Shut the gate, before which answers with `hold` and the second answer of FAULT_LATE wait; it is open at first. Open it again. */
void fault_server_shut(struct fault_server *server);
void fault_server_open(struct fault_server *server);

struct fault_counts *fault_server_counts(struct fault_server *server);
/** The last request but `back`, NULL when there is none or it is no longer remembered. A request is there before its answer is sent. */
const struct fault_request *fault_server_seen(const struct fault_server *server, unsigned back);
/** A header of it, up to the end of the line, copied; 1 if it is there. */
int fault_request_header(const struct fault_request *request, const char *name, char *ret_value, size_t size);

/**
 * Make a key and a certificate that it signs for itself, PEM. names as OpenSSL writes them: "IP:127.0.0.1,DNS:localhost". valid_s: seconds from now, negative =
 * it has ended. Returns 0. Whoever names the certificate as its CA file trusts it.
 */
int fault_certificate(const char *cert_file, const char *key_file, const char *names, long valid_s);

#endif
