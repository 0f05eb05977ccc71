/* SPDX-License-Identifier: MIT */
/*
 * The fault server's life: its port, its processes, its rules, and what the test asks it. The processes:
 *
 *     test ----- fork ----> listener (a process group of its own) ---- fork ----> one for each connection (fault_serve.c)
 *
 * Each dies with its parent; to stop is to kill the group. The port is reserved by a socket of the test that never listens: while the server is stopped
 * the port refuses, and nobody else on the machine is given it.
 */
#include "fault_inside.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- its processes ---- */

static void serve_in_child(struct fault_server *server, int listener, int fd)
{
	pid_t us = getpid();

	atomic_fetch_add(&server->shared->counts.open, 1);
	switch (fork()) {
	case 0:
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != us)
			_exit(1);
		close(listener);
		fault_serve(server->shared, server->tls, fd);
		_exit(0);
	case -1:
		atomic_fetch_sub(&server->shared->counts.open, 1);
		break;
	default:
		break;
	}
	close(fd);
}

static void listen_for_ever(struct fault_server *server, int listener)
{
	/* Children are not waited for. */
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd >= 0)
			serve_in_child(server, listener, fd);
		else if (errno != EINTR && errno != ECONNABORTED)
			_exit(1);
	}
}

static int listen_tcp(struct fault_server *server, int fd)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)server->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		return -1;
	return 0;
}

static int listen_unix(struct fault_server *server, int fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	memcpy(address.sun_path, server->socket, sizeof(server->socket));
	unlink(server->socket);
	return bind(fd, (const struct sockaddr *)&address, sizeof(address));
}

/* The socket listens before the fork, so that whoever asks after our return is not refused. */
int fault_server_again(struct fault_server *server)
{
	int is_unix = server->socket[0] != '\0';
	int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int alive[2];
	pid_t us = getpid();

	if (fd < 0 || (is_unix ? listen_unix(server, fd) : listen_tcp(server, fd)) != 0 || listen(fd, 512) != 0 || pipe2(alive, O_CLOEXEC) != 0) {
		close(fd);
		return -1;
	}
	server->pid = fork();
	if (server->pid == 0) {
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != us)
			_exit(1);
		listen_for_ever(server, fd);
	}
	close(fd);
	close(alive[1]);
	server->alive = alive[0];
	if (server->pid < 0)
		return -1;
	setpgid(server->pid, server->pid);
	return 0;
}

void fault_server_stop(struct fault_server *server)
{
	if (server->pid <= 0)
		return;
	kill(-server->pid, SIGKILL);
	while (waitpid(server->pid, NULL, 0) < 0 && errno == EINTR)
		;
	/* Those of the connections are killed and nobody's children now: wait until none holds its end of the pipe. */
	(void)poll(&(struct pollfd){ .fd = server->alive, .events = POLLIN }, 1, 10000);
	close(server->alive);
	server->pid = 0;
	atomic_store(&server->shared->counts.open, 0);
	atomic_store(&server->shared->counts.holding, 0);
	if (server->socket[0] != '\0')
		unlink(server->socket);
}

/* ---- made and unmade ---- */

static int reserve_port(struct fault_server *server)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int on = 1;

	server->reserved = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server->reserved < 0 || setsockopt(server->reserved, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    bind(server->reserved, (const struct sockaddr *)&address, len) != 0 ||
	    getsockname(server->reserved, (struct sockaddr *)&address, &len) != 0)
		return -1;
	server->port = ntohs(address.sin_port);
	snprintf(server->url, sizeof(server->url), "%s://127.0.0.1:%d", server->tls != NULL ? "https" : "http", server->port);
	return 0;
}

static int prepare(struct fault_server *server, const struct fault_options *options)
{
	if (options->cert_file != NULL) {
		server->tls = fault_tls_context(options->cert_file, options->key_file, options->client_ca_file, options->old_tls);
		if (server->tls == NULL)
			return -1;
	}
	if (options->socket == NULL)
		return reserve_port(server);
	if (strlen(options->socket) >= sizeof(server->socket))
		return -1;
	snprintf(server->socket, sizeof(server->socket), "%s", options->socket);
	snprintf(server->url, sizeof(server->url), "unix:%s", options->socket);
	return 0;
}

struct fault_server *fault_server_start(const struct fault_options *options)
{
	static const struct fault_options plain;
	struct fault_server *server = calloc(1, sizeof(*server));

	if (server == NULL)
		return NULL;
	server->reserved = -1;
	server->shared = mmap(NULL, sizeof(*server->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (server->shared == MAP_FAILED) {
		free(server);
		return NULL;
	}
	if (prepare(server, options != NULL ? options : &plain) != 0 || fault_server_again(server) != 0) {
		fault_server_free(server);
		return NULL;
	}
	return server;
}

void fault_server_free(struct fault_server *server)
{
	if (server == NULL)
		return;
	fault_server_stop(server);
	if (server->reserved >= 0)
		close(server->reserved);
	SSL_CTX_free(server->tls);
	munmap(server->shared, sizeof(*server->shared));
	free(server);
}

/* ---- rules and questions ---- */

static size_t length_of(const struct fault_answer *answer)
{
	size_t len = answer->body == NULL ? 0 : answer->body_len > 0 ? answer->body_len : strlen(answer->body);

	return len < FAULT_BODY_MAX ? len : FAULT_BODY_MAX;
}

void fault_server_rule(struct fault_server *server, const char *prefix, const struct fault_answer *answer, unsigned times)
{
	for (unsigned i = 0; i < FAULT_RULES; i++) {
		struct fault_rule *rule = &server->shared->rules[i];

		if (atomic_load(&rule->on))
			continue;
		rule->answer = *answer;
		rule->answer.body_len = length_of(answer);
		if (answer->body != NULL)
			memcpy(rule->body, answer->body, rule->answer.body_len);
		snprintf(rule->headers, sizeof(rule->headers), "%s", answer->headers != NULL ? answer->headers : "");
		snprintf(rule->prefix, sizeof(rule->prefix), "%s", prefix);
		atomic_store(&rule->used, 0);
		atomic_store(&rule->left, times == 0 ? INT64_MAX : (int64_t)times);
		atomic_store(&rule->on, 1);
		return;
	}
	fprintf(stderr, "fault server: more than %d rules\n", FAULT_RULES);
	abort();
}

void fault_server_clear(struct fault_server *server)
{
	for (unsigned i = 0; i < FAULT_RULES; i++)
		atomic_store(&server->shared->rules[i].on, 0);
}

void fault_server_shut(struct fault_server *server)
{
	atomic_store(&server->shared->shut, 1);
}

void fault_server_open(struct fault_server *server)
{
	atomic_store(&server->shared->shut, 0);
}

const char *fault_server_url(const struct fault_server *server)
{
	return server->url;
}

int fault_server_port(const struct fault_server *server)
{
	return server->port;
}

struct fault_counts *fault_server_counts(struct fault_server *server)
{
	return &server->shared->counts;
}

const struct fault_request *fault_server_seen(const struct fault_server *server, unsigned back)
{
	uint64_t number = atomic_load(&server->shared->counts.requests);
	const struct fault_request *request;

	if (back >= number)
		return NULL;
	number -= back;
	request = &server->shared->log[number % FAULT_LOG];
	return atomic_load(&request->number) == number ? request : NULL;
}

int fault_request_header(const struct fault_request *request, const char *name, char *ret_value, size_t size)
{
	size_t len = strlen(name);

	for (const char *line = request->headers; *line != '\0'; line = strchr(line, '\n') + 1) {
		const char *value = line + len + 1;

		if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
			value += strspn(value, " ");
			snprintf(ret_value, size, "%.*s", (int)strcspn(value, "\r\n"), value);
			return 1;
		}
		if (strchr(line, '\n') == NULL)
			break;
	}
	return 0;
}
