/* SPDX-License-Identifier: MIT */
/**
 * Files that are read whole. Nothing is copied on the way: what is read of a secret is in the caller's memory and nowhere else.
 */
#ifndef LD_BASE_FILE_H
#define LD_BASE_FILE_H

#include <sys/types.h>

/** Up to size bytes, to the end of the file; goes on after a signal. Returns their number, or -1 with errno. Blocks as read(2). Threads, fork: any. */
ssize_t ld_file_read(int fd, void *data, size_t size);

#endif
