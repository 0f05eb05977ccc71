/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: what larder-l2d reads of strangers. The first line is a path, the second a tenant, the third a Cache-Control, an Accept and an
 * If-None-Match at once; the rest is the body of a JSON write. What is taken is inside its bounds, and an envelope that was read comes back
 * from its own writing as the same value.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <larder/larder.h>

#include "envelope.h"
#include "headers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "broken: %s\n", what);
	abort();
}

static void check_head(const char *path, const char *tenant, const char *field)
{
	const struct l2d_headers headers = { .cache_control = field, .created = tenant, .flags = tenant, .tags = strchr(field, ',') ? field : NULL };
	struct l2d_route route;
	struct l2d_value value = { 0 };
	const char *why = NULL;
	int rc = l2d_route_read(path, *tenant ? tenant : NULL, &route, &why);

	require((rc == 0) == (why == NULL), "a refused path has a reason");
	if (rc == 0 && route.place == L2D_AT_KEY)
		require(route.key_len >= 1 && route.key_len <= L2D_KEY_MAX && strlen(route.tenant) >= 1, "a route has a key and a tenant");
	rc = l2d_raw_read(&headers, 1000, &value, &why);
	if (rc >= 0)
		require(value.ttl_ms >= 0 && value.ttl_ms <= LARDER_TTL_MAX_MS && value.stale_ms >= 0 && value.error_ms >= 0, "times are inside their bounds");
	require(l2d_codec_accepted(field, L2D_RAW) <= L2D_JSON, "a codec is one of ours");
	require(!l2d_value_etag_in(field, "\"0123456789abcdefr\"") || strpbrk(field, "*0") != NULL, "a tag is found where it is");
}

static int same(const struct l2d_value *one, const struct l2d_value *other)
{
	return one->len == other->len && memcmp(one->data, other->data, one->len) == 0 && one->ttl_ms == other->ttl_ms &&
	       one->stale_ms == other->stale_ms && one->created_ms == other->created_ms && one->hard_end_ms == other->hard_end_ms &&
	       one->flags == other->flags && one->error_ms == other->error_ms && one->tag_count == other->tag_count &&
	       memcmp(one->tags, other->tags, 8 * (size_t)one->tag_count) == 0;
}

static void check_body(const char *text, size_t len)
{
	unsigned char *room = NULL, *again_room = NULL;
	struct l2d_value value, again;
	const char *why = NULL;
	size_t written;

	if (l2d_envelope_read(text, len, 1000, &room, &value, &why) != 0) {
		require(why != NULL && room == NULL, "a refused body has a reason and no memory");
		return;
	}
	require(value.len <= len && value.ttl_ms >= 0 && value.ttl_ms <= LARDER_TTL_MAX_MS, "a value is inside its bounds");
	char *back = l2d_envelope_write(&value, &written);
	require(back != NULL, "memory");
	require(l2d_envelope_read(back, written, 7, &again_room, &again, &why) == 0, "what is written can be read");
	require(same(&value, &again), "what is written is what was read");
	free(back);
	free(room);
	free(again_room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *rest = text, *lines[3];

	if (text == NULL)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	for (int i = 0; i < 3; i++)
		lines[i] = rest ? strsep(&rest, "\n") : text + size;
	check_head(lines[0], lines[1], lines[2]);
	if (rest)
		check_body(rest, size - (size_t)(rest - text));
	free(text);
	return 0;
}
