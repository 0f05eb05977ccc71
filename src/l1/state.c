/* SPDX-License-Identifier: MIT */
/*
 * Is an entry given to anybody, and as what? Called by everything that looks at entries: look-ups, writes, the sweep, scans, explanations. It reads
 * the words of the segment and nothing else, waits for nobody, and must never find an entry that was invalidated before the look began.
 */
#include "l1/inside.h"

#include "base/clock.h"

struct ld_hidden ld_hidden_of(const struct ld_seg *seg, const struct ld_tenant_row *row, uint64_t scope_tag, const unsigned char *digest)
{
	/* acquire: pairs with the raising in clear.c and ld_barrier_raise() */
	uint64_t all = atomic_load_explicit(&seg->h->clear_seq, memory_order_acquire);
	uint64_t tenant = atomic_load_explicit(&row->clear_seq, memory_order_acquire);
	uint64_t scope = ld_scope_seq(seg->scopes, scope_tag);
	struct ld_hidden hidden = { all > tenant ? all : tenant, 0 };

	if (scope > hidden.cleared)
		hidden.cleared = scope;
	hidden.barrier = atomic_load_explicit(ld_barrier_of(seg->barriers, digest), memory_order_acquire);
	return hidden;
}

struct ld_hidden ld_entry_hidden(const struct ld_seg *seg, const struct ld_tenant_row *row, uint64_t scope_tag, const unsigned char *digest,
    const struct ld_entry *entry)
{
	struct ld_hidden hidden = ld_hidden_of(seg, row, scope_tag, digest);

	for (unsigned i = 0; i < entry->head.tag_count; i++) {
		uint64_t tag = ld_tag_cleared(seg, ld_entry_tag(entry, i));

		hidden.cleared = tag > hidden.cleared ? tag : hidden.cleared;
	}
	return hidden;
}

uint32_t ld_entry_state(const struct ld_entry_head *head, const struct ld_hidden *hidden, int64_t now_ms, int64_t *wall_ms)
{
	if (ld_is_hidden(hidden, head->seq))
		return LARDER_IS_CLEARED;
	if (now_ms >= head->dead_ms)
		return LARDER_IS_EXPIRED;
	if (head->hard_end_ms != 0) {
		if (*wall_ms == 0)
			*wall_ms = ld_clock_wall_ms();
		if (*wall_ms >= head->hard_end_ms)
			return LARDER_IS_EXPIRED;
	}
	if (now_ms < head->fresh_until_ms)
		return LARDER_IS_FRESH;
	return now_ms < head->stale_until_ms ? LARDER_IS_STALE : LARDER_IS_ERROR_WINDOW;
}
