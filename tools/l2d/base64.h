/* SPDX-License-Identifier: MIT */
/**
 * base64 (RFC 4648, section 4, with padding), and what may stand in a JSON string. No allocation, no state.
 */
#ifndef L2D_BASE64_H
#define L2D_BASE64_H

#include <stddef.h>

/** Characters that len bytes take. */
size_t l2d_base64_size(size_t len);
/** Write them to `to`, without a NUL; returns how many. */
size_t l2d_base64_encode(const void *data, size_t len, char *to);
/** Strict. `to` needs len / 4 * 3 bytes and may be the text itself. Returns 0; or -1 when it is not exactly the encoding of some bytes. */
int l2d_base64_decode(const char *text, size_t len, unsigned char *to, size_t *ret_len);

/** Are these bytes valid UTF-8 (RFC 3629) without a NUL? */
int l2d_is_text(const void *data, size_t len);

#endif
