/* SPDX-License-Identifier: MIT */
/*
 * The Bearer token from its file, and its renewal. Called by the check of settings, by ld_http_new(), and by each call that has one. It must never
 * leave a copy behind: what is read goes through one buffer that is wiped, and lives in locked memory. (libcurl's copy of a request lives in memory
 * of its own, which we do not get to see.)
 *
 * Renewal, with threads A and B in calls:
 *
 *     A   lock: a second has passed, looking = 1     stat, read into a buffer of its own    lock: copy into text, looking = 0
 *     B   lock: A is looking, nothing to do          sends the old token                    or, after that, the new one
 *
 * `changed_ns`, `inode` and `size` belong to whoever has set `looking`. A look that never ends, at a file system that hangs, costs one thread its
 * call and all others nothing but the renewal.
 */
#include "l2/http_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <larder/larder.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/locked.h"

#define LOOK_MS 1000

/* What may stand in a header after "Bearer ", and is no blank. */
static int is_token(const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] <= ' ' || data[i] > '~')
			return 0;
	}
	return len > 0 && len <= LD_HTTP_TOKEN_MAX;
}

static size_t read_open(int fd, const char *path, char *data, struct ld_problems *problems)
{
	struct stat st;
	ssize_t got;
	size_t len;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
		ld_problem(problems, "LARDER_L2_TOKEN_FILE=%s: not a regular file, or open to others", path);
		return 0;
	}
	got = ld_file_read(fd, data, LD_HTTP_TOKEN_MAX + 2);
	if (got < 0) {
		ld_problem(problems, "LARDER_L2_TOKEN_FILE=%s: %s", path, strerrordesc_np(errno));
		return 0;
	}
	len = (size_t)got;
	if (len > 0 && data[len - 1] == '\n')
		len--;
	if (is_token(data, len))
		return len;
	ld_problem(problems, "LARDER_L2_TOKEN_FILE=%s: one line of 1..%d printable characters without blanks is wanted", path, LD_HTTP_TOKEN_MAX);
	return 0;
}

size_t ld_http_token_read(const char *path, char *data, struct ld_problems *problems)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	size_t len = 0;

	if (fd < 0) {
		ld_problem(problems, "LARDER_L2_TOKEN_FILE=%s: %s", path, strerrordesc_np(errno));
	} else {
		len = read_open(fd, path, data, problems);
		(void)close(fd);
	}
	if (len == 0)
		ld_wipe(data, LD_HTTP_TOKEN_MAX + 2);
	return len;
}

/* Is the file another one than last time? One that is not there counts as such once. */
static int is_changed(struct ld_http_token *token)
{
	struct stat st = { .st_size = -1 };
	int64_t changed_ns = 0;

	if (stat(token->path, &st) == 0)
		changed_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	else
		st = (struct stat){ .st_size = -1 };
	if (changed_ns == token->changed_ns && (int64_t)st.st_ino == token->inode && (int64_t)st.st_size == token->size)
		return 0;
	token->changed_ns = changed_ns;
	token->inode = (int64_t)st.st_ino;
	token->size = (int64_t)st.st_size;
	return 1;
}

int ld_http_token_init(struct ld_http_token *token, const char *path, int64_t now_ms, struct ld_problems *problems)
{
	int locked;

	*token = (struct ld_http_token){ .looked_ms = now_ms };
	if (path == NULL || path[0] == '\0')
		return 0;
	token->path = ld_strdup(path);
	token->arena = ld_locked_new(LD_HTTP_TOKEN_MAX + 2, &locked);
	token->text = token->path == NULL || token->arena == NULL ? NULL : ld_locked_take(token->arena, LD_HTTP_TOKEN_MAX + 2);
	if (token->text == NULL) {
		ld_http_token_free(token);
		return LARDER_E_NOMEM;
	}
	/* First what the file is, then what it holds: a change between the two is found by the next look. */
	(void)is_changed(token);
	token->len = ld_http_token_read(path, token->text, problems);
	if (token->len > 0)
		return 0;
	ld_http_token_free(token);
	return LARDER_E_SETTINGS;
}

void ld_http_token_free(struct ld_http_token *token)
{
	ld_locked_free(token->arena);
	free(token->path);
	*token = (struct ld_http_token){ .path = NULL };
}

static size_t read_again(struct ld_http_token *token, char *data, const struct ld_log *log)
{
	struct ld_problems problems = { 0 };
	size_t len = ld_http_token_read(token->path, data, &problems);

	if (len == 0)
		LD_LOG(log, LARDER_LOG_WARN, "l2_token_refused", NULL, LD_T("problem", problems.text == NULL ? "" : problems.text), );
	ld_problems_free(&problems);
	return len;
}

void ld_http_token_look(struct ld_http_token *token, pthread_mutex_t *lock, const struct ld_log *log, int64_t now_ms)
{
	char data[LD_HTTP_TOKEN_MAX + 2];
	size_t len;
	int mine;

	if (token->path == NULL)
		return;
	pthread_mutex_lock(lock);
	mine = !token->looking && now_ms - token->looked_ms >= LOOK_MS;
	if (mine) {
		token->looking = 1;
		token->looked_ms = now_ms;
	}
	pthread_mutex_unlock(lock);
	if (!mine)
		return;
	len = is_changed(token) ? read_again(token, data, log) : 0;
	pthread_mutex_lock(lock);
	if (len > 0) {
		memcpy(token->text, data, len);
		token->len = len;
	}
	token->looking = 0;
	pthread_mutex_unlock(lock);
	ld_wipe(data, sizeof(data));
}
