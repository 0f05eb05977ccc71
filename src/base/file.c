/* SPDX-License-Identifier: MIT */
/*
 * Reads a file to its end (file.h). Called for settings, secrets and tokens; it must never leave a byte of them anywhere but where the caller wants them.
 */
#include "base/file.h"

#include <errno.h>
#include <unistd.h>

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
