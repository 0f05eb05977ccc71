/* SPDX-License-Identifier: MIT */
/*
 * What goes for every data call: how it begins, its options, and whether it is passed through.
 */
#include "cache/handle.h"

#include <string.h>

#include "base/errors.h"

#define CALL_FLAGS (LARDER_CALL_THIS_TIER | LARDER_CALL_SOURCE_FAILED)
enum { REQUEST_ID_MAX = 128, BUDGET_MAX_MS = 3600000, CALL_SIZE_MAX = 4096 };

/* Printable ASCII, at most max of it: it may end up in a log line or a header. */
static int is_printable(const char *text, size_t max)
{
	size_t len = strnlen(text, max + 1);

	if (len < 1 || len > max)
		return 0;
	for (size_t i = 0; i < len; i++)
		if (text[i] < 0x21 || text[i] > 0x7e)
			return 0;
	return 1;
}

int ld_check_subkey(const char *subkey)
{
	return subkey && !is_printable(subkey, LD_SUBKEY_MAX) ? LARDER_E_USAGE : 0;
}

int ld_begin_call(const struct larder_call *call)
{
	ld_retry_after_set(0);
	if (!call)
		return 0;
	if (call->size < sizeof(*call) || call->size > CALL_SIZE_MAX || call->flags & ~CALL_FLAGS || call->budget_ms > BUDGET_MAX_MS)
		return LARDER_E_USAGE;
	if (call->request_id && !is_printable(call->request_id, REQUEST_ID_MAX))
		return LARDER_E_USAGE;
	return ld_check_subkey(call->subkey);
}

/* The rollout is decided by two bytes of the digest that nothing else uses, so that it is the same in every process. */
static int outside_rollout(const larder *cache, const struct ld_key *key)
{
	int64_t share = cache->settings.number[LD_SET_ROLLOUT];

	return share < 100 && (key->digest[20] | key->digest[21] << 8) % 100 >= share;
}

struct ld_way ld_way_of(const larder *cache, const struct larder_call *call, const struct ld_key *key)
{
	return (struct ld_way){ call ? call->budget_ms : 0, !cache->settings.number[LD_SET_ENABLED] || (key && outside_rollout(cache, key)) };
}
