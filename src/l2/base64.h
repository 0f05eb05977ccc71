/* SPDX-License-Identifier: MIT */
/**
 * Bytes as base64 and back (RFC 4648, section 4, with padding), into the caller's memory. Nothing is allocated. Blocks: no. Threads,
 * fork: any.
 */
#ifndef LD_L2_BASE64_H
#define LD_L2_BASE64_H

#include <stddef.h>

/** Length of the text for so many bytes; len below SIZE_MAX / 2. */
static inline size_t ld_base64_size(size_t len)
{
	return (len + 2) / 3 * 4;
}

/** The most bytes that a text of this length can hold. */
static inline size_t ld_base64_room(size_t text_len)
{
	return text_len / 4 * 3;
}

/** Write exactly ld_base64_size(len) characters, no NUL. */
void ld_base64_encode(const void *data, size_t len, char *ret_text);

/**
 * Exactly what the encoder writes is taken: padded, no blanks, no bits left over. ret_data: ld_base64_room(text_len) bytes, which also
 * after a failure may be written to; it may be the text itself. Returns 0 and the length in ret_len; -1 it is not base64.
 */
int ld_base64_decode(const char *text, size_t text_len, unsigned char *ret_data, size_t *ret_len);

#endif
