/* SPDX-License-Identifier: MIT */
/*
 * Finds and reads the secret. Called once, by the opening of a cache. The bytes go straight from the file into locked memory:
 * there must be no copy on the stack, in a stdio buffer, or in the text of a problem.
 */
#include "crypto/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <larder/larder.h>

#include "base/file.h"
#include "crypto/locked.h"

#define RECIPE "(umask 077; head -c 32 /dev/urandom | base64 > FILE)"
#define CREDENTIAL "larder-secret"

/* Where we read from, which is how its problems begin. path NULL: not from a file. */
struct source {
	const char *origin;
	const char *path;
	struct ld_problems *problems;
};

static int refuse_open(const struct source *from, int error)
{
	if (error == ELOOP)
		ld_problem(from->problems, "%s=%s: a symbolic link: name the file itself", from->origin, from->path);
	else if (error == ENOENT)
		ld_problem(from->problems, "%s=%s: there is no such file: make one with %s", from->origin, from->path, RECIPE);
	else if (error == EACCES || error == EPERM)
		ld_problem(from->problems, "%s=%s: user %ld may not read it: chown it to that user", from->origin, from->path,
		    (long)geteuid());
	else
		ld_problem(from->problems, "%s=%s: cannot be opened: %s", from->origin, from->path, strerrordesc_np(error));
	return LARDER_E_SECRET;
}

static int refuse_length(const struct source *from, size_t len)
{
	const char *equals = from->path == NULL ? "" : "=";
	const char *path = from->path == NULL ? "" : from->path;

	if (len < LD_SECRET_MIN)
		ld_problem(from->problems, "%s%s%s: %zu bytes are too few, %d..%d are allowed: make one with %s", from->origin,
		    equals, path, len, LD_SECRET_MIN, LD_SECRET_MAX, RECIPE);
	else
		ld_problem(from->problems, "%s%s%s: too long, %d..%d bytes are allowed: make one with %s", from->origin, equals,
		    path, LD_SECRET_MIN, LD_SECRET_MAX, RECIPE);
	return LARDER_E_SECRET;
}

static int is_length(size_t len)
{
	return len >= LD_SECRET_MIN && len <= LD_SECRET_MAX;
}

/* Everything but the length, which one more byte (the newline) may exceed. Returns 0 or LARDER_E_SECRET. */
static int check_file(const struct source *from, const struct stat *st)
{
	if (!S_ISREG(st->st_mode)) {
		ld_problem(from->problems, "%s=%s: not a regular file: name one", from->origin, from->path);
		return LARDER_E_SECRET;
	}
	if (st->st_uid != geteuid() && st->st_uid != 0) {
		ld_problem(from->problems, "%s=%s: belongs to user %ld: chown it to user %ld", from->origin, from->path,
		    (long)st->st_uid, (long)geteuid());
		return LARDER_E_SECRET;
	}
	if ((st->st_mode & 077) != 0) {
		ld_problem(from->problems, "%s=%s: %s by others (mode %04o): chmod 600 it", from->origin, from->path,
		    (st->st_mode & 044) != 0 ? "readable" : "open to use", (unsigned)(st->st_mode & 07777));
		return LARDER_E_SECRET;
	}
	return 0;
}

/* What was read and is refused is wiped at once: the arena lives on. */
static int accept_bytes(const struct source *from, unsigned char *data, size_t size, size_t len, struct ld_secret *ret_secret)
{
	if (len > 0 && data[len - 1] == '\n')
		data[--len] = '\0';
	if (!is_length(len)) {
		ld_wipe(data, size);
		return refuse_length(from, len);
	}
	ret_secret->data = data;
	ret_secret->len = len;
	ret_secret->origin = from->origin;
	return 0;
}

static int read_open(struct ld_locked *arena, const struct source *from, int fd, struct ld_secret *ret_secret)
{
	/* The newline, and one byte more that tells a file which is too long. */
	const size_t size = LD_SECRET_MAX + 2;
	struct stat st;
	unsigned char *data;
	ssize_t got;
	int rc;

	if (fstat(fd, &st) != 0)
		return refuse_open(from, errno);
	rc = check_file(from, &st);
	if (rc != 0)
		return rc;
	data = ld_locked_take(arena, size);
	if (data == NULL)
		return LARDER_E_NOMEM;
	got = ld_file_read(fd, data, size);
	if (got >= 0)
		return accept_bytes(from, data, size, (size_t)got, ret_secret);
	rc = refuse_open(from, errno);
	ld_wipe(data, size);
	return rc;
}

/* O_NONBLOCK: a FIFO without a writer must not hold us; it is refused a moment later. */
static int load_file(struct ld_locked *arena, const struct source *from, struct ld_secret *ret_secret)
{
	int fd = open(from->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	int rc;

	if (fd < 0)
		return refuse_open(from, errno);
	rc = read_open(arena, from, fd, ret_secret);
	(void)close(fd);
	return rc;
}

static int load_credential(struct ld_locked *arena, const char *dir, struct ld_problems *problems, struct ld_secret *ret_secret)
{
	char path[PATH_MAX];
	struct ld_text text;
	struct source from = { "CREDENTIALS_DIRECTORY", path, problems };

	ld_text_init(&text, path, sizeof(path));
	ld_text_addf(&text, "%s/%s", dir, CREDENTIAL);
	if (text.truncated)
		return refuse_open(&from, ENAMETOOLONG);
	return load_file(arena, &from, ret_secret);
}

static int load_text(struct ld_locked *arena, const char *secret, struct ld_problems *problems, struct ld_secret *ret_secret)
{
	struct source from = { "LARDER_SECRET", NULL, problems };
	size_t len = strnlen(secret, LD_SECRET_MAX + 1);
	unsigned char *data;

	if (!is_length(len))
		return refuse_length(&from, len);
	data = ld_locked_take(arena, len);
	if (data == NULL)
		return LARDER_E_NOMEM;
	memcpy(data, secret, len);
	*ret_secret = (struct ld_secret){ data, len, from.origin };
	return 0;
}

static int is_given(const char *text)
{
	return text != NULL && text[0] != '\0';
}

int ld_secret_load(struct ld_locked *arena, const char *file, const char *credentials_dir, const char *text,
    struct ld_problems *problems, struct ld_secret *ret_secret)
{
	if (is_given(file))
		return load_file(arena, &(struct source){ "LARDER_SECRET_FILE", file, problems }, ret_secret);
	if (is_given(credentials_dir))
		return load_credential(arena, credentials_dir, problems, ret_secret);
	if (is_given(text))
		return load_text(arena, text, problems, ret_secret);
	ld_problem(problems, "no secret: make one with %s and set LARDER_SECRET_FILE=FILE, or give the service a credential "
	    "named %s ($CREDENTIALS_DIRECTORY), or set LARDER_SECRET to %d bytes or more", RECIPE, CREDENTIAL, LD_SECRET_MIN);
	return LARDER_E_SECRET;
}
