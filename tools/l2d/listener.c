/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets (listener.h). The first one is bound without SO_REUSEPORT, so that a port that another service has - even one of the same
 * user with SO_REUSEPORT - is an error and not a silent sharing; it gets the option once it is bound, and the others join it.
 */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "log.h"

#define BACKLOG 1024

static int failed(const char *where, const char *what)
{
	l2d_complain("%s: %s: %s", where, what, strerror(errno));
	return -1;
}

static int option(int fd, int name)
{
	const int on = 1;
	return setsockopt(fd, SOL_SOCKET, name, &on, sizeof(on));
}

/* "HOST:PORT" or "[HOST]:PORT" in two. Returns -1 when it is neither. */
static int split(const char *where, char *host, size_t room, const char **ret_port)
{
	const char *colon = strrchr(where, ':');
	uint64_t port;

	if (colon == NULL || l2d_parse_number(colon + 1, 65535, &port) < 0)
		return -1;
	size_t len = (size_t)(colon - where);
	if (len >= 2 && where[0] == '[' && where[len - 1] == ']')
		where++, len -= 2;
	else if (memchr(where, ':', len) != NULL)
		return -1;
	if (len == 0 || len >= room)
		return -1;
	memcpy(host, where, len);
	host[len] = '\0';
	*ret_port = colon + 1;
	return 0;
}

static int open_tcp(const struct addrinfo *at, const struct sockaddr_storage *bound, int first)
{
	int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const struct sockaddr *address = first ? at->ai_addr : (const struct sockaddr *)bound;

	if (fd < 0)
		return -1;
	if (option(fd, SO_REUSEADDR) < 0 || (!first && option(fd, SO_REUSEPORT) < 0) || bind(fd, address, at->ai_addrlen) < 0 ||
	    (first && option(fd, SO_REUSEPORT) < 0) || listen(fd, BACKLOG) < 0) {
		int error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static void name_tcp(struct l2d_listener *listener, const struct sockaddr_storage *bound, socklen_t len)
{
	char host[100] = "?", port[16] = "0";

	getnameinfo((const struct sockaddr *)bound, len, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(listener->address, sizeof(listener->address), bound->ss_family == AF_INET6 ? "http://[%s]:%s" : "http://%s:%s", host, port);
	listener->port = bound->ss_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)bound)->sin6_port)
	    : ntohs(((const struct sockaddr_in *)bound)->sin_port);
}

static int listen_tcp(const char *where, const struct addrinfo *at, unsigned count, struct l2d_listener *listener)
{
	struct sockaddr_storage bound = { 0 };
	socklen_t len = sizeof(bound);

	for (unsigned i = 0; i < count; i++) {
		int fd = open_tcp(at, &bound, i == 0);
		if (fd < 0)
			return failed(where, "cannot listen there");
		listener->fds[listener->count++] = fd;
		if (i == 0 && getsockname(fd, (struct sockaddr *)&bound, &len) < 0)
			return failed(where, "cannot listen there");
	}
	name_tcp(listener, &bound, len);
	return 0;
}

/* Returns 1 if somebody accepts connections at this path, 0 if nobody does. */
static int is_served(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int served = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return served;
}

/* Remove what is left of a service that was killed; nothing that is no socket. */
static int clear_path(const struct sockaddr_un *address)
{
	struct stat st;

	if (lstat(address->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -1;
	if (!S_ISSOCK(st.st_mode) || is_served(address)) {
		errno = EADDRINUSE;
		return -1;
	}
	return unlink(address->sun_path);
}

static int listen_unix(const char *path, unsigned count, struct l2d_listener *listener)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;

	if (*path == '\0' || strlen(path) >= sizeof(address.sun_path)) {
		l2d_complain("unix:%s: a path of 1 to %zu characters is needed", path, sizeof(address.sun_path) - 1);
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return failed(path, "cannot listen there");
	listener->fds[listener->count++] = fd;
	if (clear_path(&address) < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0 ||
	    lstat(path, &st) < 0)
		return failed(path, "cannot listen there");
	listener->dev = st.st_dev;
	listener->ino = st.st_ino;
	memcpy(listener->path, path, strlen(path) + 1);
	snprintf(listener->address, sizeof(listener->address), "unix:%s", path);
	for (unsigned i = 1; i < count; i++) {
		int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (copy < 0)
			return failed(path, "cannot listen there");
		listener->fds[listener->count++] = copy;
	}
	return 0;
}

int l2d_listen(const char *where, unsigned count, struct l2d_listener *ret_listener)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct l2d_listener listener = { .count = 0 };
	struct addrinfo *found = NULL;
	char host[256];
	const char *port;
	int rc = -1;

	if (strncmp(where, "unix:", 5) == 0) {
		rc = listen_unix(where + 5, count, &listener);
	} else if (split(where, host, sizeof(host), &port) < 0) {
		l2d_complain("--listen %s: neither HOST:PORT, [V6]:PORT nor unix:/path", where);
	} else {
		int wrong = getaddrinfo(host, port, &hints, &found);
		if (wrong != 0)
			l2d_complain("%s: %s", where, gai_strerror(wrong));
		else
			rc = listen_tcp(where, found, count, &listener);
	}
	if (found)
		freeaddrinfo(found);
	if (rc < 0)
		l2d_listener_close(&listener);
	else
		*ret_listener = listener;
	return rc;
}

void l2d_listener_keep(struct l2d_listener *listener, unsigned index)
{
	for (unsigned i = 0; i < listener->count; i++)
		if (i != index) {
			close(listener->fds[i]);
			listener->fds[i] = -1;
		}
}

void l2d_listener_close(struct l2d_listener *listener)
{
	struct stat st;

	for (unsigned i = 0; i < listener->count; i++)
		close(listener->fds[i]);
	listener->count = 0;
	if (*listener->path && lstat(listener->path, &st) == 0 && st.st_dev == listener->dev && st.st_ino == listener->ino)
		unlink(listener->path);
}
