/* SPDX-License-Identifier: MIT */
/*
 * Which codec, and how long what it read may live (codec.h). Called by the client of L2 for each answer with a value and each write.
 * It must never hand out a time that is longer than the one that L2 has left: each rule here takes the shorter, and a clock that
 * is ahead elsewhere makes a value younger than it is only to the point that it is new.
 */
#include "l2/codec.h"

#include <larder/larder.h>
#include <stdlib.h>
#include <string.h>

#include "l2/codec_inside.h"

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Writing */

static int64_t bounded_ms(int64_t ms)
{
	return smaller(larger(ms, 0), LARDER_TTL_MAX_MS);
}

enum ld_codec_result ld_codec_encode(enum ld_codec codec, const struct ld_wire_value *value, struct ld_wire_body *ret_body)
{
	struct ld_wire_value bounded = *value;

	bounded.ttl_ms = bounded_ms(value->ttl_ms);
	bounded.stale_ms = bounded_ms(value->stale_ms);
	bounded.error_ms = bounded_ms(value->error_ms);
	bounded.tag_count = value->tag_count < LD_WIRE_TAGS_MAX ? value->tag_count : LD_WIRE_TAGS_MAX;
	if (bounded.ttl_ms == 0)
		return LD_CODEC_UNKEPT;
	return codec == LD_CODEC_JSON ? ld_codec_json_encode(&bounded, ret_body) : ld_codec_raw_encode(&bounded, ret_body);
}

void ld_wire_body_header(struct ld_wire_body *body, const char *name, const char *value)
{
	body->headers[body->header_count++] = (struct ld_wire_header){ name, value };
}

void ld_wire_body_free(struct ld_wire_body *body)
{
	free(body->memory);
	*body = (struct ld_wire_body){ 0 };
}

size_t ld_codec_body_max(size_t value_max)
{
	/* The frame of the envelope, and as much again for fields that are not ours. */
	size_t frame = 4096;

	return value_max > (SIZE_MAX - frame) / 6 ? SIZE_MAX : value_max * 6 + frame;
}

/* Reading: the times */

/* Seconds that may be anything as milliseconds in bounds. */
static int64_t seconds_ms(int64_t s)
{
	return s > LARDER_TTL_MAX_MS / 1000 ? LARDER_TTL_MAX_MS : bounded_ms(s * 1000);
}

/* Since a moment that is given, at most now; of one that is not given, 0. */
static int64_t since_ms(int64_t moment_ms, int64_t now_ms)
{
	return moment_ms > 0 && moment_ms < now_ms ? now_ms - moment_ms : 0;
}

static int64_t earlier_end(int64_t a_ms, int64_t b_ms)
{
	if (a_ms <= 0 || b_ms <= 0)
		return larger(larger(a_ms, b_ms), 0);
	return smaller(a_ms, b_ms);
}

static int64_t creation(const struct ld_wire_answer *answer, const struct ld_wire_told *told, int64_t now_ms)
{
	int64_t created_ms = told->created_ms > 0 ? told->created_ms : answer->created_ms > 0 ? answer->created_ms : answer->last_modified_ms;

	return smaller(larger(created_ms, 0), now_ms);
}

/* The TTL, the windows that go with it, and how much of them is over. */
static int64_t times(const struct ld_wire_answer *answer, const struct ld_wire_told *told, int64_t now_ms, struct ld_wire_value *value)
{
	int64_t created_ms = told->created_ms > 0 ? told->created_ms : answer->created_ms;

	value->ttl_ms = told->ttl_ms;
	value->stale_ms = told->stale_ms;
	value->error_ms = told->error_ms;
	if (told->ttl_ms < 0 && answer->max_age_s >= 0) {
		value->ttl_ms = seconds_ms(answer->max_age_s);
		value->stale_ms = larger(told->stale_ms, seconds_ms(answer->stale_while_revalidate_s));
		value->error_ms = larger(told->error_ms, seconds_ms(answer->stale_if_error_s) - value->stale_ms);
	} else if (told->ttl_ms < 0) {
		value->ttl_ms = bounded_ms(answer->default_ttl_ms);
		value->stale_ms = told->stale_ms >= 0 ? told->stale_ms : bounded_ms(answer->default_stale_ms);
		value->error_ms = told->error_ms >= 0 ? told->error_ms : bounded_ms(answer->default_error_ms);
		created_ms = created_ms > 0 ? created_ms : answer->last_modified_ms;
	}
	value->stale_ms = larger(value->stale_ms, 0);
	value->error_ms = larger(value->error_ms, 0);
	return larger(answer->age_ms, since_ms(created_ms, now_ms));
}

/*
 * Fill in everything about time. hard_end_ms of the value is what is known already.
 *
 *     created        ttl_ms          stale_ms        error_ms
 *     |-----------------------------|---------------|---------------|
 *     |  age  |       left_ms       | stale_left_ms | error_left_ms |      and the hard end cuts off what is behind it
 *            now
 */
static void find_left(int64_t age_ms, int64_t room_ms, struct ld_wire_value *value)
{
	int64_t stale_end_ms = value->ttl_ms + value->stale_ms;

	value->left_ms = smaller(larger(value->ttl_ms - age_ms, 0), room_ms);
	value->stale_left_ms = smaller(larger(stale_end_ms - larger(age_ms, value->ttl_ms), 0), room_ms - value->left_ms);
	value->error_left_ms = smaller(larger(stale_end_ms + value->error_ms - larger(age_ms, stale_end_ms), 0),
	    room_ms - value->left_ms - value->stale_left_ms);
}

static enum ld_codec_result find_life(const struct ld_wire_answer *answer, const struct ld_wire_told *told, int64_t now_ms,
    struct ld_wire_value *value)
{
	int64_t age_ms = times(answer, told, now_ms, value), room_ms;

	value->hard_end_ms = earlier_end(value->hard_end_ms, earlier_end(told->hard_end_ms, answer->hard_end_ms));
	room_ms = value->hard_end_ms > 0 ? value->hard_end_ms - now_ms : INT64_MAX;
	find_left(age_ms, larger(room_ms, 0), value);
	value->created_ms = creation(answer, told, now_ms);
	value->no_store = answer->no_store != 0;
	if (room_ms <= 0)
		return LD_CODEC_EXPIRED;
	/* What is not to be kept has no life here: it is the answer to this call. */
	return value->left_ms > 0 || value->stale_left_ms > 0 || value->no_store || (answer->want_error_window && value->error_left_ms > 0) ?
	    LD_CODEC_OK : LD_CODEC_EXPIRED;
}

static void copy_etag(const struct ld_wire_answer *answer, struct ld_wire_value *value)
{
	size_t len = answer->etag != NULL ? strnlen(answer->etag, LD_HTTP_ETAG_SIZE) : 0;

	if (len == 0 || len == LD_HTTP_ETAG_SIZE)
		return;
	memcpy(value->etag, answer->etag, len);
	value->etag[len] = '\0';
}

static void copy_tags(const uint64_t *tags, uint32_t count, struct ld_wire_value *value)
{
	value->tag_count = count;
	if (count > 0)
		memcpy(value->tags, tags, sizeof(*tags) * count);
}

/* A wall clock before 1970 would turn the sums round. */
static int64_t sane_now(int64_t now_ms)
{
	return larger(now_ms, 0);
}

enum ld_codec_result ld_codec_decode(const struct ld_wire_answer *answer, int64_t now_ms, size_t value_max,
    struct ld_wire_value *ret_value, const char **ret_why)
{
	struct ld_wire_told told = LD_WIRE_TOLD_NOTHING;
	struct ld_wire_value value = { 0 };
	enum ld_codec_result result;

	if (answer->bad_tags) {
		*ret_why = "its X-Larder-Tags are not hashes";
		return LD_CODEC_E_BODY;
	}
	if (answer->is_json)
		result = ld_codec_json_decode(answer, value_max, &told, ret_why);
	else
		result = ld_codec_raw_decode(answer, value_max, &told, ret_why);
	if (result != LD_CODEC_OK)
		return result;
	result = find_life(answer, &told, sane_now(now_ms), &value);
	if (result != LD_CODEC_OK) {
		*ret_why = "nothing is left of its time";
		free(told.memory);
		return result;
	}
	value.data = told.data;
	value.len = told.len;
	value.memory = told.memory;
	value.flags = told.has_flags ? told.flags : answer->flags;
	copy_etag(answer, &value);
	if (told.has_tags)
		copy_tags(told.tags, told.tag_count, &value);
	else
		copy_tags(answer->tags, answer->tag_count, &value);
	*ret_value = value;
	return LD_CODEC_OK;
}

void ld_wire_value_free(struct ld_wire_value *value)
{
	free(value->memory);
	*value = (struct ld_wire_value){ 0 };
}

enum ld_codec_result ld_codec_renew(const struct ld_wire_answer *answer, int64_t now_ms, struct ld_wire_value *value)
{
	static const struct ld_wire_told nothing = LD_WIRE_TOLD_NOTHING;
	struct ld_wire_value renewed = *value;
	enum ld_codec_result result = answer->bad_tags ? LD_CODEC_EXPIRED : find_life(answer, &nothing, sane_now(now_ms), &renewed);

	if (result != LD_CODEC_OK)
		return result;
	if (renewed.created_ms == 0)
		renewed.created_ms = value->created_ms;
	copy_etag(answer, &renewed);
	if (answer->tag_count > 0)
		copy_tags(answer->tags, answer->tag_count, &renewed);
	*value = renewed;
	return LD_CODEC_OK;
}
