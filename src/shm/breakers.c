/* SPDX-License-Identifier: MIT */
/*
 * The table of breakers. Rows are taken by any process at any time, in their order, and never given back:
 *
 *   two processes take the same name  both look at the rows in the same order and come to the same first free one; one compare-and-swap wins, the
 *                                     other then finds its own tag there. So no name ever has two rows.
 *   two take different names          the loser finds a foreign tag and goes on to the next row.
 *   killed after the swap             the breaker is in use, the row is without its name: whoever looks the name up next writes it.
 *   two write the name                the same words, one by one; `ready` follows them.
 */
#include "shm/breakers.h"

#include <stddef.h>
#include <string.h>

#include "base/fault.h"

static uint64_t never_zero(uint64_t tag)
{
	return tag ? tag : 1;
}

/* The row with this tag, or the first free one, or NULL; row 0 is nobody's. */
static struct ld_breaker_row *look_up(const struct ld_breakers *table, uint64_t tag, uint64_t *ret_seen)
{
	for (uint32_t i = 1; i < table->max; i++) {
		/* acquire: pairs with the swap in ld_breakers_row() */
		*ret_seen = atomic_load_explicit(&table->rows[i].tag, memory_order_acquire);
		if (*ret_seen == 0 || *ret_seen == tag)
			return &table->rows[i];
	}
	return NULL;
}

static void write_name(struct ld_breaker_row *row, const char *name)
{
	char text[LD_BREAKER_NAME] = { 0 };
	uint64_t word;

	memcpy(text, name, strnlen(name, LD_BREAKER_NAME - 1));
	for (unsigned i = 0; i < LD_BREAKER_NAME / 8; i++) {
		memcpy(&word, text + 8 * i, 8);
		atomic_store_explicit(&row->name[i], word, memory_order_relaxed);
	}
	atomic_store_explicit(&row->ready, 1, memory_order_release);
}

struct ld_breaker_row *ld_breakers_row(const struct ld_breakers *table, const char *name, uint64_t tag)
{
	struct ld_breaker_row *row;
	uint64_t seen;

	tag = never_zero(tag);
	do {
		row = look_up(table, tag, &seen);
		if (row == NULL)
			return &table->rows[0];
	} while (seen == 0 && !atomic_compare_exchange_strong(&row->tag, &seen, tag) && seen != tag);
	LD_POINT(breaker_row_taken);
	if (!atomic_load_explicit(&row->ready, memory_order_relaxed))
		write_name(row, name);
	return row;
}

struct ld_breaker_row *ld_breakers_find(const struct ld_breakers *table, uint64_t tag)
{
	uint64_t seen = 0;
	struct ld_breaker_row *row = look_up(table, never_zero(tag), &seen);

	return row && seen != 0 ? row : NULL;
}

int ld_breakers_name(const struct ld_breakers *table, uint32_t row, char ret_name[LD_BREAKER_NAME])
{
	const struct ld_breaker_row *from = &table->rows[row];
	char text[LD_BREAKER_NAME] = "shared";

	if (row != 0 && !atomic_load_explicit(&from->ready, memory_order_acquire))
		return 0;
	for (unsigned i = 0; row != 0 && i < LD_BREAKER_NAME / 8; i++) {
		uint64_t word = atomic_load_explicit(&from->name[i], memory_order_relaxed);

		memcpy(text + 8 * i, &word, 8);
	}
	text[LD_BREAKER_NAME - 1] = '\0';
	memcpy(ret_name, text, LD_BREAKER_NAME);
	return 1;
}
