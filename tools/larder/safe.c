/* SPDX-License-Identifier: MIT */
/*
 * Untrusted bytes made safe for a terminal, and their width (human.h). Names and values come from whoever uses the cache: an escape
 * sequence in one of them must not reach the operator's terminal.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "human.h"

struct safe {
	char *data;
	size_t len, size;
	size_t columns;
};

/* Length of the valid UTF-8 sequence at data, with its code point; 0 when there is none. */
static size_t decode(const unsigned char *data, size_t len, uint32_t *ret_point)
{
	static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char first = data[0];
	size_t need = first < 0x80 ? 1 : first >= 0xf0 && first < 0xf5 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
	if (need == 0 || need > len || first >= 0xf5)
		return 0;
	uint32_t point = need == 1 ? first : first & (0xffU >> (need + 1));
	for (size_t i = 1; i < need; i++) {
		if ((data[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (data[i] & 0x3f);
	}
	if (point < lowest[need] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
		return 0;
	*ret_point = point;
	return need;
}

/* Characters that change the order of others, or are not seen: they could make one name look like another. */
static int hides(uint32_t point)
{
	return point == 0xad || point == 0x61c || (point >= 0x200b && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
	       (point >= 0x2060 && point <= 0x206f) || point == 0xfeff || (point >= 0xfff9 && point <= 0xfffb) || point >= 0xe0000;
}

static int width_of(uint32_t point)
{
	if (point < 0x7f)
		return point >= 0x20 ? 1 : -1;
	return point < 0xa0 || hides(point) ? -1 : wcwidth((wchar_t)point);
}

static int add(struct safe *safe, const char *text, size_t len, size_t columns)
{
	if (safe->len + len + 1 > safe->size) {
		size_t size = (safe->len + len + 16) * 2;
		char *data = realloc(safe->data, size);
		if (!data)
			return -1;
		safe->data = data;
		safe->size = size;
	}
	memcpy(safe->data + safe->len, text, len);
	safe->len += len;
	safe->data[safe->len] = '\0';
	safe->columns += columns;
	return 0;
}

static size_t escape(char *buffer, size_t size, unsigned char byte, uint32_t point)
{
	int len;
	if (point == '\n' || point == '\t' || point == '\r')
		len = snprintf(buffer, size, "\\%c", point == '\n' ? 'n' : point == '\t' ? 't' : 'r');
	else if (point == '\\')
		len = snprintf(buffer, size, "\\\\");
	else if (point >= 0x80)
		len = snprintf(buffer, size, "\\u{%x}", (unsigned)point);
	else
		len = snprintf(buffer, size, "\\x%02x", byte);
	return (size_t)len;
}

static int stays(uint32_t point, unsigned keep)
{
	if ((point == '\n' || point == '\t') && keep & HUMAN_KEEP_LINES)
		return 1;
	if (point == '\\')
		return keep & HUMAN_KEEP_BACKSLASH ? 1 : 0;
	return width_of(point) >= 0;
}

/* One character. Returns the bytes taken, 0 when it does not fit in max columns, -1 out of memory. */
static int step(struct safe *safe, const unsigned char *data, size_t len, size_t max, unsigned keep)
{
	char buffer[16];
	uint32_t point = 0;
	size_t taken = decode(data, len, &point);
	int plain = taken && stays(point, keep);
	size_t bytes = plain ? taken : escape(buffer, sizeof buffer, data[0], taken ? point : 0);
	int width = plain ? width_of(point) : (int)bytes;
	size_t columns = width < 0 ? 0 : (size_t)width;
	if (max && safe->columns + columns > max)
		return 0;
	if (add(safe, plain ? (const char *)data : buffer, bytes, columns))
		return -1;
	return taken ? (int)taken : 1;
}

char *human_safe(const void *data, size_t len, size_t max, unsigned keep)
{
	struct safe safe = { NULL, 0, 0, 0 };
	const unsigned char *at = data, *end = at + len;
	if (add(&safe, "", 0, 0))
		return NULL;
	while (at < end) {
		int taken = step(&safe, at, (size_t)(end - at), max, keep);
		if (taken < 0)
			goto lost;
		if (taken == 0)
			break;
		at += taken;
	}
	if (at < end && add(&safe, "...", 3, 3))
		goto lost;
	return safe.data;
lost:
	free(safe.data);
	return NULL;
}

size_t human_width(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;
	size_t left = strlen(text), columns = 0;
	while (left) {
		uint32_t point = 0;
		size_t taken = decode(at, left, &point);
		int width = taken ? width_of(point) : 1;
		columns += width < 0 ? 0 : (size_t)width;
		taken = taken ? taken : 1;
		at += taken;
		left -= taken;
	}
	return columns;
}

static int is_text(const void *data, size_t len, int plain)
{
	const unsigned char *at = data;
	while (len) {
		uint32_t point;
		size_t taken = decode(at, len, &point);
		if (!taken || (plain && !stays(point, HUMAN_KEEP_LINES | HUMAN_KEEP_BACKSLASH)))
			return 0;
		at += taken;
		len -= taken;
	}
	return 1;
}

int human_is_utf8(const void *data, size_t len)
{
	return is_text(data, len, 0);
}

int human_is_plain(const void *data, size_t len)
{
	return is_text(data, len, 1);
}
