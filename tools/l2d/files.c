/* SPDX-License-Identifier: MIT */
/* Files of the service besides the cache's own (files.h). What others may read is refused, not mended: it may have been read. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "log.h"

#define LOCK_TRIES 60
#define LOCK_NAP_NS 50000000
#define TOKEN_MAX 4096

static int failed(const char *path, const char *what)
{
	l2d_complain("%s: %s: %s", path, what, strerror(errno));
	return -1;
}

static char *join(const char *dir, const char *name)
{
	char *path;
	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

int l2d_dir_lock(const char *dir)
{
	const struct timespec nap = { 0, LOCK_NAP_NS };
	char *path = join(dir, "l2d.lock");
	int fd = -1, tries = 0;

	if (path == NULL)
		return failed(dir, "lock");
	if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
		failed(dir, "cannot be made");
		goto out;
	}
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		failed(path, "cannot be opened");
		goto out;
	}
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK && tries++ < LOCK_TRIES) {
			nanosleep(&nap, NULL);
			continue;
		}
		l2d_complain("%s: another larder-l2d has this directory (or: %s)", dir, strerror(errno));
		close(fd);
		fd = -1;
		break;
	}
out:
	free(path);
	return fd;
}

int l2d_file_write(const char *path, const char *text)
{
	char *temporary = NULL;
	int fd = -1, rc = -1;
	size_t len = strlen(text);

	if (asprintf(&temporary, "%s.%ld", path, (long)getpid()) < 0)
		return failed(path, "cannot be written");
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && write(fd, text, len) == (ssize_t)len && write(fd, "\n", 1) == 1 && rename(temporary, path) == 0)
		rc = 0;
	else
		failed(path, "cannot be written");
	if (fd >= 0)
		close(fd);
	if (rc < 0)
		unlink(temporary);
	free(temporary);
	return rc;
}

static int make_secret(const char *path)
{
	unsigned char bytes[32];
	char text[2 * sizeof(bytes) + 1];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return failed(path, "no random bytes");
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	int rc = l2d_file_write(path, text);
	explicit_bzero(bytes, sizeof(bytes));
	explicit_bzero(text, sizeof(text));
	return rc;
}

int l2d_secret_path(const char *given, const char *dir, char **ret_path)
{
	const char *named = given ? given : getenv("LARDER_SECRET_FILE");
	char *path = named && *named ? strdup(named) : join(dir, "secret");

	if (path == NULL)
		return failed(dir, "secret");
	/* The lock of the directory is ours: nobody else makes it meanwhile. */
	if ((named == NULL || *named == '\0') && access(path, F_OK) < 0 && make_secret(path) < 0) {
		free(path);
		return -1;
	}
	*ret_path = path;
	return 0;
}

static int check_token(const char *path, int fd, const char *token, size_t len)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return failed(path, "cannot be read");
	if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
		l2d_complain("%s: readable by others, or no file: chmod 600 it", path);
		return -1;
	}
	if (len == 0 || len > TOKEN_MAX || strcspn(token, " \t\r") != len) {
		l2d_complain("%s: the first line is not a token of 1 to %d characters without blanks", path, TOKEN_MAX);
		return -1;
	}
	return 0;
}

int l2d_token_read(const char *path, char **ret_token, size_t *ret_len)
{
	char *token = calloc(1, TOKEN_MAX + 3);
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = -1;

	if (token == NULL || fd < 0) {
		failed(path, "cannot be read");
		goto out;
	}
	ssize_t got = read(fd, token, TOKEN_MAX + 2);
	if (got < 0) {
		failed(path, "cannot be read");
		goto out;
	}
	size_t len = strcspn(token, "\n");
	token[len] = '\0';
	rc = check_token(path, fd, token, len);
	if (rc == 0) {
		*ret_token = token;
		*ret_len = len;
		token = NULL;
	}
out:
	if (fd >= 0)
		close(fd);
	free(token);
	return rc;
}
