/* SPDX-License-Identifier: MIT */
/*
 * Base64 (base64.h), for values that are no text. Called by the JSON codec. Strict when decoding: a text that was cut or edited must
 * not be read as some other value, so each value has one text and each text at most one value.
 */
#include "l2/base64.h"

#include <stdint.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Larger than any digit; four of them or'ed together still show. */
enum { NO_DIGIT = 64 };

static void encode_group(uint32_t bits, char *to)
{
	to[0] = digits[bits >> 18];
	to[1] = digits[bits >> 12 & 63];
	to[2] = digits[bits >> 6 & 63];
	to[3] = digits[bits & 63];
}

void ld_base64_encode(const void *data, size_t len, char *ret_text)
{
	const unsigned char *from = data;
	size_t whole = len / 3 * 3, rest = len - whole;

	for (size_t i = 0; i < whole; i += 3, ret_text += 4)
		encode_group((uint32_t)from[i] << 16 | (uint32_t)from[i + 1] << 8 | from[i + 2], ret_text);
	if (rest == 0)
		return;
	encode_group((uint32_t)from[whole] << 16 | (rest == 2 ? (uint32_t)from[whole + 1] << 8 : 0), ret_text);
	memset(ret_text + 1 + rest, '=', 3 - rest);
}

static uint32_t value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (uint32_t)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (uint32_t)(c - 'a') + 26;
	if (c >= '0' && c <= '9')
		return (uint32_t)(c - '0') + 52;
	return c == '+' ? 62 : c == '/' ? 63 : NO_DIGIT;
}

/* Four digits as 24 bits. */
static int decode_group(const char *text, uint32_t *ret_bits)
{
	uint32_t a = value_of(text[0]), b = value_of(text[1]), c = value_of(text[2]), d = value_of(text[3]);

	*ret_bits = a << 18 | b << 12 | c << 6 | d;
	return ((a | b | c | d) & NO_DIGIT) != 0 ? -1 : 0;
}

static unsigned char *put_bytes(unsigned char *to, uint32_t bits, size_t count)
{
	for (size_t i = 0; i < count; i++)
		*to++ = (unsigned char)(bits >> (16 - 8 * i));
	return to;
}

/* The last group, which may be padded: the bits under the padding are zero. */
static int decode_last(const char *text, unsigned char *to, size_t *ret_count)
{
	char padded[4];
	size_t pad = text[3] != '=' ? 0 : text[2] != '=' ? 1 : 2;
	uint32_t bits;

	memcpy(padded, text, 4);
	memset(padded + 4 - pad, 'A', pad);
	if (decode_group(padded, &bits) != 0 || (bits & ((UINT32_C(1) << (8 * pad)) - 1)) != 0)
		return -1;
	(void)put_bytes(to, bits, 3 - pad);
	*ret_count = 3 - pad;
	return 0;
}

int ld_base64_decode(const char *text, size_t text_len, unsigned char *ret_data, size_t *ret_len)
{
	unsigned char *to = ret_data;
	size_t last = 0;
	uint32_t bits;

	if (text_len % 4 != 0)
		return -1;
	for (; text_len > 4; text += 4, text_len -= 4) {
		if (decode_group(text, &bits) != 0)
			return -1;
		to = put_bytes(to, bits, 3);
	}
	if (text_len == 4 && decode_last(text, to, &last) != 0)
		return -1;
	*ret_len = (size_t)(to - ret_data) + last;
	return 0;
}
