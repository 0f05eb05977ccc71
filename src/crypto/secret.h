/* SPDX-License-Identifier: MIT */
/**
 * Where the secret comes from: the file of LARDER_SECRET_FILE, else $CREDENTIALS_DIRECTORY/larder-secret, else the text of
 * LARDER_SECRET. At least 32 bytes; one newline at the end of a file is not part of it. There is no default. At most 4,096 bytes.
 *
 * A file must be a regular file, not a symlink at its last component, owned by us or by root, and not readable or writable by
 * group or others.
 */
#ifndef LD_CRYPTO_SECRET_H
#define LD_CRYPTO_SECRET_H

#include <stddef.h>

#include "base/text.h"

#define LD_SECRET_MIN 32
#define LD_SECRET_MAX 4096

struct ld_secret {
	unsigned char *data;    /* in the arena */
	size_t len;
	const char *origin;     /* "LARDER_SECRET_FILE", "CREDENTIALS_DIRECTORY", "LARDER_SECRET"; static */
};

struct ld_locked;

/**
 * file, credentials_dir, text: NULL or empty = not given. The first one that is given counts, also when it turns out to be bad.
 *
 * Returns 0; LARDER_E_SECRET with a problem that names what to do; LARDER_E_NOMEM
 */
int ld_secret_load(struct ld_locked *arena, const char *file, const char *credentials_dir, const char *text,
    struct ld_problems *problems, struct ld_secret *ret_secret);

#endif
