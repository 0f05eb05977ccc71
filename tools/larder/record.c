/* SPDX-License-Identifier: MIT */
/*
 * An entry as a JSON object and back (record.h). What is read comes from a file of anybody's: each field is checked before it is used.
 */
#include "record.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "human.h"

static const char *const states[] = { "fresh", "stale", "expired", "cleared", "damaged", "error" };
#define STATES (sizeof states / sizeof states[0])

const char *record_state(uint32_t state)
{
	for (size_t i = 0; i < STATES; i++)
		if (state == UINT32_C(1) << i)
			return states[i];
	return "damaged";
}

/* As hex, for a number of JSON has not room for all of them. Where there are none there is no field. */
static int put_tags(json_t *object, const struct larder_entry *entry)
{
	json_t *list = entry->tag_count ? json_array() : NULL;
	int failed = entry->tag_count && !list;
	for (unsigned i = 0; i < entry->tag_count && !failed; i++)
		failed = json_array_append_new(list, json_sprintf("%016" PRIx64, entry->tags[i]));
	if (!failed && list)
		return json_object_set_new(object, "tags", list);
	json_decref(list);
	return failed ? -1 : 0;
}

static int put_as(json_t *object, const char *field, const char *suffix, json_t *value)
{
	char name[64];
	snprintf(name, sizeof name, "%s%s", field, suffix);
	return json_object_set_new(object, name, value);
}

static int put_text(json_t *object, const char *field, const char *suffix, char *text)
{
	int result = text ? put_as(object, field, suffix, json_string_nocheck(text)) : -1;
	free(text);
	return result;
}

int record_put(json_t *object, const char *field, const void *data, size_t len, enum record_values values)
{
	if (values == RECORD_JSON) {
		json_t *value = json_loadb(len ? data : "", len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
		if (value)
			return put_as(object, field, "_json", value);
		values = RECORD_TEXT;
	}
	if (values == RECORD_TEXT && human_is_utf8(data, len))
		return put_as(object, field, "", json_stringn_nocheck(len ? data : "", len));
	if (values == RECORD_BASE64)
		return put_text(object, field, "_base64", codec_base64(data, len));
	return put_text(object, field, "_hex", codec_hex(data, len));
}

json_t *record_pack(const struct larder_entry *entry, enum record_values values)
{
	char *key = codec_hex(entry->digest, LARDER_DIGEST_SIZE);
	json_t *object = key ? json_pack("{si ss ss ss ss sb}", "v", RECORD_VERSION, "tenant", entry->tenant, "space", entry->space,
	                                 "key", key, "state", record_state(entry->state), "absent", entry->absent != 0)
	                     : NULL;
	free(key);
	json_t *rest = json_pack("{sI sI sI sI sI sI sI sI sI sI sI sI sI sI sI sI}", "size", (json_int_t)entry->value_len,
	                         "stored_bytes", (json_int_t)entry->stored_bytes, "created_ms", (json_int_t)entry->created_ms,
	                         "expires_ms", (json_int_t)entry->expires_ms, "stale_end_ms",
	                         (json_int_t)entry->stale_end_ms, "dead_ms", (json_int_t)entry->dead_ms,
	                         "hard_end_ms", (json_int_t)entry->hard_end_ms, "age_ms", (json_int_t)entry->age_ms,
	                         "fresh_ms", (json_int_t)entry->fresh_ms, "left_ms", (json_int_t)entry->left_ms, "error_left_ms",
	                         (json_int_t)entry->error_left_ms, "load_ms", (json_int_t)entry->load_ms,
	                         "hits_estimate", (json_int_t)entry->hits_estimate, "flags", (json_int_t)entry->flags,
	                         "key_id", (json_int_t)entry->key_id, "sequence", (json_int_t)entry->sequence);
	int failed = !object || !rest || json_object_update(object, rest) || put_tags(object, entry);
	if (!failed && entry->name)
		failed = record_put(object, "name", entry->name, entry->name_len, RECORD_TEXT);
	if (!failed && entry->value && values != RECORD_NONE)
		failed = record_put(object, "value", entry->value, entry->value_len, values);
	json_decref(rest);
	if (!failed)
		return object;
	json_decref(object);
	return NULL;
}

static int bad(struct record *record, const char *problem)
{
	record->problem = problem;
	return -1;
}

static int take_id(json_t *object, const char *field, size_t max, const char **ret_id)
{
	const char *text = json_string_value(json_object_get(object, field));
	size_t len = json_string_length(json_object_get(object, field));
	if (!text || len == 0 || len > max || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
		return -1;
	*ret_id = text;
	return 0;
}

static int take_key(json_t *object, unsigned char *ret_digest)
{
	json_t *key = json_object_get(object, "key");
	size_t len = 0;
	unsigned char *digest = json_is_string(key) ? codec_unhex(json_string_value(key), json_string_length(key), &len) : NULL;
	int ok = digest && len == LARDER_DIGEST_SIZE;
	if (ok)
		memcpy(ret_digest, digest, len);
	free(digest);
	return ok ? 0 : -1;
}

/* A field that is absent is 0; one that is there must be a whole number within the bounds. */
static int take_number(json_t *object, const char *field, int64_t low, int64_t high, int64_t *ret_number)
{
	json_t *value = json_object_get(object, field);
	*ret_number = 0;
	if (!value)
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < low || json_integer_value(value) > high)
		return -1;
	*ret_number = json_integer_value(value);
	return 0;
}

static unsigned char *copy(const void *data, size_t len)
{
	unsigned char *bytes = malloc(len + 1);
	if (!bytes)
		return NULL;
	memcpy(bytes, data, len);
	bytes[len] = '\0';
	return bytes;
}

static unsigned char *from_json(json_t *value, size_t *ret_len)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	*ret_len = text ? strlen(text) : 0;
	return (unsigned char *)text;
}

static unsigned char *from_text(json_t *value, unsigned char *(*decode)(const char *, size_t, size_t *), size_t *ret_len)
{
	if (!json_is_string(value))
		return NULL;
	*ret_len = json_string_length(value);
	return decode ? decode(json_string_value(value), *ret_len, ret_len) : copy(json_string_value(value), *ret_len);
}

/* Bytes under `field` in any of its forms. Returns how many forms there are; ret_data NULL when one could not be read. */
static int take_bytes(json_t *object, const char *field, unsigned char **ret_data, size_t *ret_len)
{
	static const char *const suffixes[] = { "", "_hex", "_base64", "_json" };
	int forms = 0;
	for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
		char name[64];
		snprintf(name, sizeof name, "%s%s", field, suffixes[i]);
		json_t *value = json_object_get(object, name);
		if (!value || forms++)
			continue;
		*ret_data = i == 3 ? from_json(value, ret_len)
		                   : from_text(value, i == 1 ? codec_unhex : i == 2 ? codec_unbase64 : NULL, ret_len);
	}
	return forms;
}

int record_take_name(json_t *object, unsigned char **ret_name, size_t *ret_len)
{
	unsigned char *name = NULL;
	size_t len = 0;
	int forms = take_bytes(object, "name", &name, &len);
	if (forms > 1 || (forms && (!name || len == 0 || len > LARDER_NAME_MAX))) {
		free(name);
		return -1;
	}
	*ret_name = name;
	*ret_len = forms ? len : 0;
	return 0;
}

static int take_contents(json_t *object, struct record *record)
{
	size_t len = 0;
	int forms;
	if (record_take_name(object, &record->name, &len))
		return bad(record, "its name cannot be read");
	record->entry.name = record->name;
	record->entry.name_len = len;
	forms = take_bytes(object, "value", &record->value, &len);
	if (forms > 1)
		return bad(record, "it has more than one value");
	if (forms && !record->value)
		return bad(record, "its value cannot be decoded");
	record->entry.value = record->value;
	record->entry.value_len = forms ? len : 0;
	return 0;
}

static int take_numbers(json_t *object, struct record *record)
{
	struct larder_entry *entry = &record->entry;
	const int64_t far = INT64_C(4) * LARDER_TTL_MAX_MS + INT64_C(253402300799000);
	int64_t flags, key_id, load_ms;
	if (take_number(object, "error_left_ms", -far, far, &entry->error_left_ms) || take_number(object, "stale_end_ms", 0, far, &entry->stale_end_ms) ||
	    take_number(object, "load_ms", 0, UINT32_MAX, &load_ms) ||
	    take_number(object, "fresh_ms", -far, far, &entry->fresh_ms) || take_number(object, "left_ms", -far, far, &entry->left_ms) ||
	    take_number(object, "expires_ms", 0, far, &entry->expires_ms) || take_number(object, "dead_ms", 0, far, &entry->dead_ms) ||
	    take_number(object, "hard_end_ms", 0, far, &entry->hard_end_ms) || take_number(object, "flags", 0, UINT32_MAX, &flags) ||
	    take_number(object, "key_id", 0, UINT16_MAX, &key_id))
		return bad(record, "one of its numbers is no whole number, or out of bounds");
	entry->flags = (uint32_t)flags;
	entry->key_id = (uint16_t)key_id;
	entry->load_ms = (uint32_t)load_ms;
	return 0;
}

static int take_tags(json_t *object, struct record *record)
{
	json_t *tags = json_object_get(object, "tags");
	if (!tags)
		return 0;
	if (!json_is_array(tags) || json_array_size(tags) > LARDER_ENTRY_TAGS_MAX)
		return bad(record, "its tags are no list of at most 16");
	for (size_t i = 0; i < json_array_size(tags); i++) {
		json_t *tag = json_array_get(tags, i);
		const char *text = json_string_value(tag);
		if (!text || json_string_length(tag) != 16 || strspn(text, "0123456789abcdef") != 16)
			return bad(record, "one of its tags is not 16 hex digits");
		record->tags[i] = strtoull(text, NULL, 16);
	}
	record->entry.tags = record->tags;
	record->entry.tag_count = (uint8_t)json_array_size(tags);
	return 0;
}

static int take_state(json_t *object, struct record *record)
{
	const char *text = json_string_value(json_object_get(object, "state"));
	record->state = 0;
	if (!json_object_get(object, "state"))
		return 0;
	for (size_t i = 0; text && i < STATES; i++)
		if (strcmp(text, states[i]) == 0) {
			record->state = (int)i;
			return 0;
		}
	return bad(record, "its state is unknown");
}

int record_unpack(json_t *object, struct record *record)
{
	int64_t version = json_integer_value(json_object_get(object, "v"));
	memset(record, 0, sizeof *record);
	if (!json_is_object(object))
		return bad(record, "it is no JSON object");
	if (version != RECORD_VERSION)
		return bad(record, "its field \"v\" is not 1: no line of a dump, or of a later version");
	if (take_id(object, "tenant", LARDER_TENANT_MAX, &record->entry.tenant))
		return bad(record, "its tenant is missing or malformed");
	if (take_id(object, "space", LARDER_SPACE_MAX, &record->entry.space))
		return bad(record, "its space is missing or malformed");
	if (take_key(object, record->entry.digest))
		return bad(record, "its key is not 64 hex digits");
	record->entry.absent = json_is_true(json_object_get(object, "absent"));
	if (take_state(object, record) || take_numbers(object, record) || take_tags(object, record) || take_contents(object, record))
		return -1;
	if (!record->value && !record->entry.absent && record_is_alive(record->state))
		return bad(record, "it has no value: dump with --values hex");
	return 0;
}

void record_release(struct record *record)
{
	free(record->name);
	free(record->value);
	record->name = record->value = NULL;
}
