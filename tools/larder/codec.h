/* SPDX-License-Identifier: MIT */
/**
 * Bytes as text and back: lower-case hex, and base64 (RFC 4648, section 4, with padding).
 *
 * The encoders and decoders return memory to free(). A decoder returns NULL for what is not exactly the encoding of some bytes (and when
 * out of memory); hex digits may be of either case.
 */
#ifndef LARDER_CODEC_H
#define LARDER_CODEC_H

#include <stddef.h>

char *codec_hex(const void *data, size_t len);
char *codec_base64(const void *data, size_t len);
/** ret_len: length in bytes; the memory has a NUL behind it. */
unsigned char *codec_unhex(const char *text, size_t len, size_t *ret_len);
unsigned char *codec_unbase64(const char *text, size_t len, size_t *ret_len);

#endif
