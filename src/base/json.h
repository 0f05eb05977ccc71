/* SPDX-License-Identifier: MIT */
/**
 * JSON as text, beside the parser (jansson, which is not spoken to here): what parsing would cost, asked before it is begun, since the
 * parser recurses and allocates as the text tells it to; and the text of a member as it was written, asked after it has been parsed,
 * since the parser keeps numbers as a double or 64 bits.
 *
 * Texts are borrowed for the call and need no NUL behind them. Nothing is allocated. Blocks: no. Threads, fork: any.
 */
#ifndef LD_BASE_JSON_H
#define LD_BASE_JSON_H

#include <stddef.h>

struct ld_json_size {
	size_t depth;        /* how deep the brackets go, those in strings not counted */
	size_t memory_b;     /* what a parsed tree takes at most, an upper bound: 288 bytes for {}, 112 for an item of an array */
};

/** Of text that is no JSON: of what stands before its first fault at least that much. */
void ld_json_measure(const char *json, size_t len, struct ld_json_size *ret_size);

/**
 * The text of the value of the object's n-th member, counted from 0 as written, with the blanks around it. json: an object that a
 * parser has accepted; of anything else, some part of it or -1. Returns 0; -1 there are fewer members.
 */
int ld_json_member(const char *json, size_t len, size_t n, const char **ret_text, size_t *ret_len);

/**
 * The same of the first member whose key is written exactly so, without escapes. json may be anything; where it is not an object, what
 * is found means nothing until a parser has looked at the rest. Returns 0, or -1.
 */
int ld_json_find(const char *json, size_t len, const char *key, const char **ret_text, size_t *ret_len);

/**
 * The bytes of a string, most strings only: text is one from quote to quote, blanks around it do not count, with no escape but those of
 * two characters. ret_data: room for len bytes. Returns 0 and the length; -1 it is not such a string, or not UTF-8, and a parser must say.
 */
int ld_json_plain(const char *text, size_t len, char *ret_data, size_t *ret_len);

/** How many bytes at the beginning stand for themselves in a string: none below 0x20, no quote, no backslash. */
size_t ld_json_run(const char *text, size_t len);

/** Copy without the blanks outside of strings. ret_text: room for len bytes, or NULL to count. Returns the length. */
size_t ld_json_compact(const char *json, size_t len, char *ret_text);

#endif
