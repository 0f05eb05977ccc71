/* SPDX-License-Identifier: MIT */
/*
 * Reads a file to its end, and keeps the standard descriptors out of what is opened (file.h). Called for settings, secrets and tokens, of which it must never
 * leave a byte anywhere but where the caller wants them; and for whatever is opened to be kept, by l1/, shm/ and l2/.
 *
 * Two threads that open at once, with 1 free:
 *
 *   A holds 1, B finds it held, A lets go of it, B opens: it would get 1. So the whole, from the first look to the release, is under one lock.
 *   A holds 1, the host puts a file of its own there (dup2): that one has no O_PATH, and stays.
 *   the process forks while A holds 1: the child's lock is free (process.h), its 1 is a descriptor of no use, close-on-exec.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/process.h"

enum { LOCK_MS = 100 };

static struct ld_process_lock low_lock;

ssize_t ld_file_read(int fd, void *data, size_t size)
{
	size_t have = 0;

	while (have < size) {
		ssize_t got = read(fd, (char *)data + have, size - have);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

static int is_any_low_free(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) == -1)
			return 1;
	}
	return 0;
}

/* The lowest free number is given out first. Where none is to be had, none of these is. */
static unsigned occupy(void)
{
	unsigned held = 0;
	int fd;

	while ((fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)) >= 0 && fd <= STDERR_FILENO)
		held |= 1U << fd;
	if (fd >= 0)
		(void)close(fd);
	return held;
}

void ld_file_low_hold(struct ld_file_low *ret_low)
{
	*ret_low = (struct ld_file_low){ .locked = ld_process_lock(&low_lock, LOCK_MS) == 0 };
	if (!ret_low->locked)
		return;
	/* Where none is free, as nearly everywhere, nothing is opened: a filter of system calls need not allow it. */
	if (is_any_low_free())
		ret_low->held = occupy();
	if (ret_low->held == 0) {
		ld_process_unlock(&low_lock);
		ret_low->locked = 0;
	}
}

void ld_file_low_release(const struct ld_file_low *low)
{
	int error = errno;

	if (!low->locked)
		return;
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (low->held >> fd & 1 && fcntl(fd, F_GETFL) & O_PATH)
			(void)close(fd);
	}
	ld_process_unlock(&low_lock);
	errno = error;
}

int ld_file_open_at(int dir_fd, const char *path, int flags, mode_t mode)
{
	struct ld_file_low low;
	int fd;

	ld_file_low_hold(&low);
	fd = openat(dir_fd, path, flags | O_CLOEXEC, mode);
	ld_file_low_release(&low);
	return fd;
}

/* Asked first: a filter of system calls need not know of fchmod(2) where nothing is to be changed. */
int ld_file_set_mode(int fd, mode_t mode)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -1;
	return (st.st_mode & 07777) == mode ? 0 : fchmod(fd, mode);
}
