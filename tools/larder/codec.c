/* SPDX-License-Identifier: MIT */
/*
 * Hex and base64 (codec.h), for dumps and for names that cannot be typed. Strict when decoding: a dump that was cut or edited must not
 * load as something else.
 */
#include "codec.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *codec_hex(const void *data, size_t len)
{
	const unsigned char *from = data;
	char *text = malloc(len * 2 + 1);
	if (!text)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		text[2 * i] = hex_digits[from[i] >> 4];
		text[2 * i + 1] = hex_digits[from[i] & 15];
	}
	text[len * 2] = '\0';
	return text;
}

static int hex_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	if (digit >= 'A' && digit <= 'F')
		return digit - 'A' + 10;
	return -1;
}

unsigned char *codec_unhex(const char *text, size_t len, size_t *ret_len)
{
	unsigned char *data = len % 2 ? NULL : malloc(len / 2 + 1);
	if (!data)
		return NULL;
	for (size_t i = 0; i < len / 2; i++) {
		int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
		if (high < 0 || low < 0) {
			free(data);
			return NULL;
		}
		data[i] = (unsigned char)(high << 4 | low);
	}
	data[len / 2] = '\0';
	*ret_len = len / 2;
	return data;
}

char *codec_base64(const void *data, size_t len)
{
	const unsigned char *from = data;
	char *text = malloc((len + 2) / 3 * 4 + 1), *to = text;
	if (!text)
		return NULL;
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t bits = (uint32_t)from[i] << 16 | (n > 1 ? (uint32_t)from[i + 1] << 8 : 0) | (n > 2 ? from[i + 2] : 0U);
		*to++ = base64_digits[bits >> 18];
		*to++ = base64_digits[bits >> 12 & 63];
		*to++ = n > 1 ? base64_digits[bits >> 6 & 63] : '=';
		*to++ = n > 2 ? base64_digits[bits & 63] : '=';
	}
	*to = '\0';
	return text;
}

/* Four digits, the last pad of which are '='. Returns -1 when they are not, or leave bits behind. */
static int group(const char *text, unsigned pad, uint32_t *ret_bits)
{
	uint32_t bits = 0;
	for (unsigned i = 0; i < 4; i++) {
		const char *digit = i < 4 - pad ? memchr(base64_digits, text[i], 64) : base64_digits;
		if (!digit)
			return -1;
		bits = bits << 6 | (uint32_t)(digit - base64_digits);
	}
	*ret_bits = bits;
	return bits & ((1U << (8 * pad)) - 1) ? -1 : 0;
}

unsigned char *codec_unbase64(const char *text, size_t len, size_t *ret_len)
{
	unsigned pad = len && text[len - 1] == '=' ? (len > 1 && text[len - 2] == '=' ? 2 : 1) : 0;
	unsigned char *data = len % 4 ? NULL : malloc(len / 4 * 3 + 1), *to = data;
	if (!data)
		return NULL;
	for (size_t i = 0; i < len; i += 4) {
		uint32_t bits;
		if (group(text + i, i + 4 == len ? pad : 0, &bits)) {
			free(data);
			return NULL;
		}
		*to++ = (unsigned char)(bits >> 16);
		*to++ = (unsigned char)(bits >> 8);
		*to++ = (unsigned char)bits;
	}
	*ret_len = (size_t)(to - data) - (len ? pad : 0);
	data[*ret_len] = '\0';
	return data;
}
