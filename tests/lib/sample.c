/* SPDX-License-Identifier: MIT */
/*
 * Making and recognising values of a test; see sample.h. The checksum is not the library's, whose own must not vouch for itself.
 */
#include "sample.h"

#include <string.h>

#include "team.h"

/* FNV-1a over words (Fowler, Noll, Vo), folded */
static uint64_t sum_of(const unsigned char *data, size_t len)
{
	uint64_t sum = UINT64_C(14695981039346656037), word;

	for (; len >= sizeof(word); data += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, data, sizeof(word));
		sum = (sum ^ word) * UINT64_C(1099511628211);
		sum ^= sum >> 29;
	}
	for (; len > 0; data++, len--)
		sum = (sum ^ *data) * UINT64_C(1099511628211);
	return sum;
}

/* Of the bytes after it, and of the length. */
static uint32_t sum_after(const void *data, size_t len)
{
	uint64_t sum = sum_of((const unsigned char *)data + sizeof(uint32_t), len - sizeof(uint32_t)) ^ len;

	return (uint32_t)(sum ^ sum >> 32);
}

void sample_fill(void *data, size_t len, uint32_t key, uint64_t version)
{
	struct sample head = { 0, key, version };
	uint64_t random = (key * UINT64_C(0x9e3779b97f4a7c15)) ^ version ^ len, word;
	unsigned char *at = data;

	random = random ? random : 1;
	memcpy(at, &head, sizeof(head));
	for (size_t i = sizeof(head); i < len; i += sizeof(word)) {
		word = team_random(&random);
		memcpy(at + i, &word, len - i < sizeof(word) ? len - i : sizeof(word));
	}
	head.sum = sum_after(data, len);
	memcpy(at, &head.sum, sizeof(head.sum));
}

const char *sample_wrong(const void *data, size_t len, uint32_t key, uint64_t *ret_version)
{
	struct sample head;

	if (len < sizeof(head))
		return "shorter than any value";
	memcpy(&head, data, sizeof(head));
	if (head.sum != sum_after(data, len))
		return "torn";
	if (head.key != key)
		return "of another key";
	*ret_version = head.version;
	return NULL;
}

size_t sample_len(uint64_t *random, size_t min, size_t max)
{
	uint64_t drawn = team_random(random) >> 8;
	unsigned rare = 0;

	/* Half of them within a 64th of the range, each further half twice as wide. */
	for (; rare < 6 && drawn & 1; drawn >>= 1)
		rare++;
	return min + (size_t)(team_random(random) % (((max - min) >> (6 - rare)) + 1));
}
