/* SPDX-License-Identifier: MIT */
/**
 * An entry as one JSON object: what `larder dump --format jsonl` writes and `larder load` reads. larder(1), DUMP FORMAT, has the fields;
 * a record that was written with values other than JSON gives back the same entry, byte for byte.
 */
#ifndef LARDER_RECORD_H
#define LARDER_RECORD_H

#include <jansson.h>

#include <larder/inspect.h>

/** Version of the format, the field "v". */
#define RECORD_VERSION 1

/** How values are shown: enum order is that of the option's words, RECORD_VALUES. */
enum record_values { RECORD_TEXT, RECORD_HEX, RECORD_BASE64, RECORD_JSON, RECORD_NONE };
#define RECORD_VALUES "text|hex|base64|json"

/** The word for a state bit, "fresh"; "damaged" for what is none. */
const char *record_state(uint32_t state);
/** The words of all states, for options; a bit each by index, as LARDER_IS_*; then "any". */
#define RECORD_STATES "fresh|stale|expired|cleared|damaged|error|any"
/** Is this one, by its index, of an entry that somebody may still be given? */
static inline int record_is_alive(int state)
{
	return ((LARDER_IS_FRESH | LARDER_IS_STALE | LARDER_IS_ERROR_WINDOW) >> state & 1) != 0;
}

/** Add bytes to an object: as `field` when the encoding can, else as field_hex; field_base64 or field_json by encoding. Returns 0, or -1. */
int record_put(json_t *object, const char *field, const void *data, size_t len, enum record_values values);

/** A new object, or NULL when out of memory. */
json_t *record_pack(const struct larder_entry *entry, enum record_values values);

/** What was read. The entry points into it and into the object it was read from; release with record_release(). */
struct record {
	struct larder_entry entry;
	unsigned char *name;      /* owned, or NULL */
	unsigned char *value;     /* owned, or NULL */
	int state;                /* index into RECORD_STATES */
	uint64_t tags[LARDER_ENTRY_TAGS_MAX];
	const char *problem;      /* static: why it could not be read */
};

/**
 * Returns 0; -1 with record->problem set. Times: fresh_ms, left_ms and error_left_ms as of the dump, expires_ms, stale_end_ms, dead_ms and hard_end_ms
 * wall clock. The entry points into the record, which is not to be moved.
 */
int record_unpack(json_t *object, struct record *record);
/** Its name alone: 0 with a text to free(), or NULL when it has none; -1 when it cannot be read, is empty or too long. */
int record_take_name(json_t *object, unsigned char **ret_name, size_t *ret_len);
void record_release(struct record *record);

#endif
