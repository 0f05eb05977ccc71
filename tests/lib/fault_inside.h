/* SPDX-License-Identifier: MIT */
/**
 * What the files of the fault server share; tests include fault_server.h.
 */
#ifndef LARDER_TESTS_LIB_FAULT_INSIDE_H
#define LARDER_TESTS_LIB_FAULT_INSIDE_H

#include <limits.h>
#include <sys/types.h>

#include <openssl/ssl.h>

#include "fault_server.h"

struct fault_rule {
	_Atomic uint32_t on;            /* written last */
	_Atomic int64_t left;           /* times, counted down; INT64_MAX = always */
	_Atomic uint64_t used;
	struct fault_answer answer;     /* its pointers are of no use here */
	char prefix[256];
	char headers[FAULT_HEADERS_MAX];
	unsigned char body[FAULT_BODY_MAX];
};

/** Shared between the test, its children, the server and the processes of its connections. */
struct fault_shared {
	struct fault_counts counts;
	_Atomic uint32_t shut;
	struct fault_rule rules[FAULT_RULES];
	struct fault_request log[FAULT_LOG];
};

struct fault_server {
	struct fault_shared *shared;
	struct fault_options options;
	SSL_CTX *tls;
	pid_t pid;                      /* and its group; 0 = stopped */
	int alive;                      /* read end of a pipe whose other end all its processes have */
	int reserved;                   /* bound to the port, never listening; -1 for a unix socket */
	int port;
	char url[PATH_MAX + 16];
	char socket[108];
};

/** NULL when the files are no good. */
SSL_CTX *fault_tls_context(const char *cert_file, const char *key_file, const char *client_ca_file, int old);

/** Serve one connection to its end; called in a process of its own. */
void fault_serve(struct fault_shared *shared, SSL_CTX *tls, int fd);

#endif
