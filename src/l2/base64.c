/* SPDX-License-Identifier: MIT */
/*
 * Base64 (base64.h), for values that are no text. Called by the JSON codec. Strict when decoding: a text that was cut or edited must
 * not be read as some other value, so each value has one text and each text at most one value.
 */
#include "l2/base64.h"

#include <stdint.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* A digit's value and 1; 0 for what is no digit. */
static const uint8_t values[256] = {
	['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8, ['I'] = 9, ['J'] = 10, ['K'] = 11,
	['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22,
	['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33,
	['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44,
	['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55,
	['3'] = 56, ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

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
	return (uint32_t)values[(unsigned char)c] - 1;
}

/* Four digits as 24 bits; all of them are read before anything is written. */
static int decode_group(const char *text, uint32_t *ret_bits)
{
	uint32_t a = value_of(text[0]), b = value_of(text[1]), c = value_of(text[2]), d = value_of(text[3]);

	*ret_bits = a << 18 | b << 12 | c << 6 | d;
	return (a | b | c | d) > 63 ? -1 : 0;
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
	for (size_t i = 0; i < 3 - pad; i++)
		to[i] = (unsigned char)(bits >> (16 - 8 * i));
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
		*to++ = (unsigned char)(bits >> 16);
		*to++ = (unsigned char)(bits >> 8);
		*to++ = (unsigned char)bits;
	}
	if (text_len == 4 && decode_last(text, to, &last) != 0)
		return -1;
	*ret_len = (size_t)(to - ret_data) + last;
	return 0;
}
