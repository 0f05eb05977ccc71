/* SPDX-License-Identifier: MIT */
/**
 * The JSON codec: {"value": V, "ttl": seconds, "created": ms, "stale": seconds, "hard_end": ms, "flags": n, "encoding": "base64"}.
 *
 * V is a string for text, a base64 string with "encoding":"base64" for other bytes; any other JSON value is kept as its own text, without
 * blanks. "data" is read in place of "value"; unknown fields are ignored; null is as if it were not there, but for V.
 */
#ifndef L2D_ENVELOPE_H
#define L2D_ENVELOPE_H

#include "value.h"

/**
 * Read an envelope.
 *
 * ttl_ms    used when it names no ttl
 * ret_value on 0: all but the hash; data lies behind L2D_HEAD_SIZE bytes in *ret_room, which is to be freed
 * ret_why   on an error: a static text
 *
 * Returns   0; LARDER_E_USAGE it is no such object; LARDER_E_TTL; LARDER_E_NOMEM
 */
int l2d_envelope_read(const char *text, size_t len, int64_t ttl_ms, unsigned char **ret_room, struct l2d_value *ret_value,
    const char **ret_why);

/** The envelope of a value, to be freed; *ret_len characters. NULL: out of memory. */
char *l2d_envelope_write(const struct l2d_value *value, size_t *ret_len);

#endif
