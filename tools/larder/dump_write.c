/* SPDX-License-Identifier: MIT */
/*
 * How `larder dump` prints an entry (dump_write.h): stdout only. Names and values are somebody else's bytes; a table escapes them, CSV
 * turns to hex what is not plain text, JSON has its own escapes.
 */
#include "dump_write.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec.h"
#include "human.h"

static const struct table_column columns[] = {
	{ "TENANT", TABLE_LEFT }, { "SPACE", TABLE_LEFT }, { "NAME", TABLE_LEFT }, { "KEY", TABLE_LEFT }, { "CREATED", TABLE_LEFT },
	{ "EXPIRES", TABLE_LEFT }, { "STATE", TABLE_LEFT }, { "SIZE", TABLE_RIGHT }, { "HITS", TABLE_RIGHT }, { "FLAGS", TABLE_RIGHT },
	{ "VALUE", TABLE_LEFT },
};
#define COLUMNS (sizeof columns / sizeof columns[0])

static const char csv_head[] = "tenant,space,name,name_encoding,key,state,absent,size,stored_bytes,created,expires,dead,hard_end,"
			       "hits_estimate,flags,key_id,sequence";

int dump_begin(struct dump_writer *writer, enum dump_format format, enum record_values values)
{
	*writer = (struct dump_writer){ .format = format, .values = values, .terminal = isatty(STDOUT_FILENO) };
	if (format == DUMP_TABLE) {
		writer->table = table_new(stdout, columns, values == RECORD_NONE ? COLUMNS - 1 : COLUMNS);
		return writer->table ? 0 : -1;
	}
	if (format == DUMP_CSV)
		printf("%s%s\r\n", csv_head, values == RECORD_NONE ? "" : ",value,value_encoding");
	return 0;
}

static enum table_colour state_colour(uint32_t state)
{
	switch (state) {
	case LARDER_IS_FRESH:
		return TABLE_GREEN;
	case LARDER_IS_STALE:
	case LARDER_IS_ERROR_WINDOW:
		return TABLE_YELLOW;
	case LARDER_IS_DAMAGED:
		return TABLE_RED;
	default:
		return TABLE_DIM;
	}
}

/* A value as text in the encoding asked for, to free(); ret_encoding is what it came out as. */
static char *encode(const void *data, size_t len, enum record_values values, const char **ret_encoding)
{
	if (values == RECORD_JSON) {
		json_t *value = json_loadb(len ? data : "", len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII) : NULL;
		json_decref(value);
		*ret_encoding = "json";
		if (text)
			return text;
		values = RECORD_TEXT;
	}
	*ret_encoding = values == RECORD_TEXT ? "text" : values == RECORD_BASE64 ? "base64" : "hex";
	if (values == RECORD_TEXT)
		return NULL;
	return values == RECORD_BASE64 ? codec_base64(data, len) : codec_hex(data, len);
}

static void table_value(struct dump_writer *writer, const struct larder_entry *entry)
{
	const char *encoding = "";
	if (!entry->value) {
		table_cell(writer->table, "");
		return;
	}
	char *text = encode(entry->value, entry->value_len, writer->values, &encoding);
	if (text)
		table_cell(writer->table, text);
	else if (strcmp(encoding, "text") == 0)
		table_bytes(writer->table, entry->value, entry->value_len, 0);
	else
		table_cell(writer->table, NULL), writer->lost = 1;
	free(text);
}

static void write_table(struct dump_writer *writer, const struct larder_entry *entry)
{
	struct table *table = writer->table;
	char created[HUMAN_SIZE], expires[HUMAN_SIZE];
	char *key = codec_hex(entry->digest, LARDER_DIGEST_SIZE);
	writer->lost |= !key;
	table_cell(table, entry->tenant);
	table_cell(table, entry->space);
	if (entry->name)
		table_bytes(table, entry->name, entry->name_len, 0);
	else
		table_cell(table, "-");
	table_cell(table, key);
	table_cell(table, human_time(created, entry->created_ms));
	table_cell(table, human_time(expires, entry->expires_ms));
	table_colour(table, state_colour(entry->state));
	table_cellf(table, "%s%s", record_state(entry->state), entry->absent ? "/absent" : "");
	table_cellf(table, "%zu", entry->value_len);
	table_cellf(table, "%" PRIu32, entry->hits_estimate);
	table_cellf(table, "0x%" PRIx32, entry->flags);
	if (writer->values != RECORD_NONE)
		table_value(writer, entry);
	free(key);
}

/* A field of CSV: quoted where it has to be, quotes doubled. */
static void csv_text(const char *text, size_t len)
{
	if (!memchr(text, '"', len) && !memchr(text, ',', len) && !memchr(text, '\n', len) && !memchr(text, '\r', len)) {
		fwrite(text, 1, len, stdout);
		return;
	}
	putchar('"');
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"')
			putchar('"');
		putchar(text[i]);
	}
	putchar('"');
}

/* Bytes and how they are encoded: ",bytes,encoding". Text only where a terminal and any reader of CSV can bear it. */
static void csv_bytes(struct dump_writer *writer, const void *data, size_t len, enum record_values values)
{
	const char *encoding = "";
	char *text = encode(data, len, values, &encoding);
	putchar(',');
	if (!text && strcmp(encoding, "text") == 0 && human_is_plain(data, len)) {
		csv_text(len ? data : "", len);
	} else {
		if (!text)
			text = encode(data, len, RECORD_HEX, &encoding);
		if (text)
			csv_text(text, strlen(text));
		writer->lost |= !text;
	}
	printf(",%s", encoding);
	free(text);
}

static void csv_time(int64_t wall_ms)
{
	char buffer[HUMAN_SIZE];
	printf(",%s", wall_ms > 0 ? human_time(buffer, wall_ms) : "");
}

static void write_csv(struct dump_writer *writer, const struct larder_entry *entry)
{
	char *key = codec_hex(entry->digest, LARDER_DIGEST_SIZE);
	writer->lost |= !key;
	printf("%s,%s", entry->tenant, entry->space);
	if (entry->name)
		csv_bytes(writer, entry->name, entry->name_len, RECORD_TEXT);
	else
		fputs(",,", stdout);
	printf(",%s,%s,%d,%zu,%zu", key ? key : "", record_state(entry->state), entry->absent != 0, entry->value_len,
	       entry->stored_bytes);
	csv_time(entry->created_ms);
	csv_time(entry->expires_ms);
	csv_time(entry->dead_ms);
	csv_time(entry->hard_end_ms);
	printf(",%" PRIu32 ",%" PRIu32 ",%u,%" PRIu64, entry->hits_estimate, entry->flags, (unsigned)entry->key_id, entry->sequence);
	if (writer->values != RECORD_NONE && entry->value)
		csv_bytes(writer, entry->value, entry->value_len, writer->values);
	else if (writer->values != RECORD_NONE)
		fputs(",,", stdout);
	fputs("\r\n", stdout);
	free(key);
}

static void write_jsonl(struct dump_writer *writer, const struct larder_entry *entry)
{
	json_t *object = record_pack(entry, writer->values);
	if (!object) {
		writer->lost = 1;
		return;
	}
	/* A write that fails leaves its mark on stdout. */
	(void)!json_dumpf(object, stdout, JSON_COMPACT | (writer->terminal ? JSON_ENSURE_ASCII : 0));
	putchar('\n');
	json_decref(object);
}

void dump_entry(struct dump_writer *writer, const struct larder_entry *entry)
{
	switch (writer->format) {
	case DUMP_TABLE:
		write_table(writer, entry);
		break;
	case DUMP_JSONL:
		write_jsonl(writer, entry);
		break;
	case DUMP_CSV:
		write_csv(writer, entry);
		break;
	}
}

int dump_finish(struct dump_writer *writer)
{
	if (writer->format == DUMP_TABLE && table_free(writer->table))
		writer->lost = 1;
	writer->table = NULL;
	return writer->lost ? -1 : 0;
}
