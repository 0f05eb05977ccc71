/* SPDX-License-Identifier: MIT */
/**
 * Files of the service besides the cache's own: the lock of the directory, the secret, the token, the port. Each function complains on stderr
 * and returns -1 on an error. For the master, before the first fork.
 */
#ifndef L2D_FILES_H
#define L2D_FILES_H

#include <stddef.h>

/**
 * Make the directory if it is missing (mode 0700), and lock it for this service and its children: two services on one directory would not know
 * each other's workers. Waits three seconds for the workers of one that was killed.
 *
 * Returns   a descriptor that holds the lock for as long as any process has it
 */
int l2d_dir_lock(const char *dir);

/** The secret to use: given, else $LARDER_SECRET_FILE, else `secret` in dir, made with mode 0600 if it is missing. *ret_path is to be freed. */
int l2d_secret_path(const char *given, const char *dir, char **ret_path);

/** First line of the file, 1..4096 characters without blanks; nobody else may read the file. *ret_token is to be freed. */
int l2d_token_read(const char *path, char **ret_token, size_t *ret_len);

/** Write the text and a newline, as a whole or not at all. */
int l2d_file_write(const char *path, const char *text);

#endif
