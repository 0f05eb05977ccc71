/* SPDX-License-Identifier: MIT */
/* base64 and UTF-8 (base64.h), a few million times a second, on bytes of strangers: every look is inside the length. */
#include "base64.h"

#include <stdint.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t l2d_base64_size(size_t len)
{
	return (len + 2) / 3 * 4;
}

size_t l2d_base64_encode(const void *data, size_t len, char *to)
{
	const unsigned char *from = data;
	char *at = to;

	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t bits = (uint32_t)from[i] << 16 | (n > 1 ? (uint32_t)from[i + 1] << 8 : 0) | (n > 2 ? from[i + 2] : 0U);
		*at++ = digits[bits >> 18];
		*at++ = digits[bits >> 12 & 63];
		*at++ = n > 1 ? digits[bits >> 6 & 63] : '=';
		*at++ = n > 2 ? digits[bits & 63] : '=';
	}
	return (size_t)(at - to);
}

/* The value of a digit, 64 for anything else. */
static uint32_t value_of(unsigned char digit)
{
	if (digit >= 'A' && digit <= 'Z')
		return digit - 'A' + 0U;
	if (digit >= 'a' && digit <= 'z')
		return digit - 'a' + 26U;
	if (digit >= '0' && digit <= '9')
		return digit - '0' + 52U;
	return digit == '+' ? 62 : digit == '/' ? 63 : 64;
}

/* Four digits, the last `pad` of which are '='. Returns -1 when they are not, or leave bits behind. */
static int take_group(const char *text, unsigned pad, uint32_t *ret_bits)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < 4; i++) {
		uint32_t value = i < 4 - pad ? value_of((unsigned char)text[i]) : 0;
		if (value > 63)
			return -1;
		bits = bits << 6 | value;
	}
	*ret_bits = bits;
	return bits & ((1U << (8 * pad)) - 1) ? -1 : 0;
}

int l2d_base64_decode(const char *text, size_t len, unsigned char *to, size_t *ret_len)
{
	unsigned pad = len && text[len - 1] == '=' ? (len > 1 && text[len - 2] == '=' ? 2 : 1) : 0;
	unsigned char *at = to;
	uint32_t bits;

	if (len % 4 != 0)
		return -1;
	for (size_t i = 0; i < len; i += 4) {
		if (take_group(text + i, i + 4 == len ? pad : 0, &bits) < 0)
			return -1;
		*at++ = (unsigned char)(bits >> 16);
		*at++ = (unsigned char)(bits >> 8);
		*at++ = (unsigned char)bits;
	}
	*ret_len = (size_t)(at - to) - (len ? pad : 0);
	return 0;
}

/* Length of the valid sequence at data; 0 when there is none. */
static size_t sequence(const unsigned char *data, size_t len)
{
	static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char first = data[0];
	size_t need = first >= 0xf0 && first < 0xf5 ? 4 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xc2 && first < 0xe0 ? 2 : 0;

	if (need == 0 || need > len)
		return 0;
	uint32_t point = first & (0xffU >> (need + 1));
	for (size_t i = 1; i < need; i++) {
		if ((data[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (data[i] & 0x3f);
	}
	return point < lowest[need] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000) ? 0 : need;
}

int l2d_is_text(const void *data, size_t len)
{
	const unsigned char *at = data;

	for (size_t i = 0; i < len;) {
		uint64_t eight;
		if (len - i >= 8 && (memcpy(&eight, at + i, 8), (eight & UINT64_C(0x8080808080808080)) == 0) &&
		    ((eight - UINT64_C(0x0101010101010101)) & UINT64_C(0x8080808080808080)) == 0) {
			i += 8;
			continue;
		}
		size_t n = at[i] == 0 ? 0 : at[i] < 0x80 ? 1 : sequence(at + i, len - i);
		if (n == 0)
			return 0;
		i += n;
	}
	return 1;
}
