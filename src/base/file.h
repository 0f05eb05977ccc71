/* SPDX-License-Identifier: MIT */
/**
 * Files that are read whole, and descriptors that are kept. Nothing is copied on the way: what is read of a secret is in the caller's memory and nowhere
 * else.
 *
 * A host may have closed its descriptors 0, 1 and 2, and prints nevertheless: what is opened then gets these numbers, and a line of its log lands in it.
 * So whatever the library keeps, or writes to, is opened while none of the three is free.
 */
#ifndef LD_BASE_FILE_H
#define LD_BASE_FILE_H

#include <sys/types.h>

/** Up to size bytes, to the end of the file; goes on after a signal. Returns their number, or -1 with errno. Blocks as read(2). Threads, fork: any. */
ssize_t ld_file_read(int fd, void *data, size_t size);

/** The numbers that are occupied for a moment; the caller's, for ld_file_low_release(). */
struct ld_file_low { unsigned held; int locked; };

/**
 * Occupy those of the descriptors 0, 1 and 2 that are free, with one that nobody can read from or write to (O_PATH): for whoever uses them they are as closed
 * as before. Until ld_file_low_release(), which keeps errno, nothing is given these numbers. For some system calls, not for anything that waits.
 *
 * Blocks  while another thread does the same; after a tenth of a second it goes on without      Threads  any      Fork  a child of that moment keeps what it
 *         inherits of it until it execs
 */
void ld_file_low_hold(struct ld_file_low *ret_low);
void ld_file_low_release(const struct ld_file_low *low);

/** As openat(2), with O_CLOEXEC, and above 2. */
int ld_file_open_at(int dir_fd, const char *path, int flags, mode_t mode);
/** Give what we have just made this mode, where the umask left another. Returns 0, or -1 with errno. */
int ld_file_set_mode(int fd, mode_t mode);

#endif
