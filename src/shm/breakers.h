/* SPDX-License-Identifier: MIT */
/**
 * Breakers by name: one for each L2 address, and one for each tenant whose policy differs. Rows are only ever added, and keep their breaker for
 * the life of the segment: a process that comes later finds it as it is. Row 0 is shared by all that found the table full.
 */
#ifndef LD_SHM_BREAKERS_H
#define LD_SHM_BREAKERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "shm/breaker.h"

enum { LD_BREAKER_NAME = 104, LD_BREAKER_ROW = 512 };

/** 512 bytes. Zeroed = free. The first word of the tag that wins the row is its only owner for ever. */
struct ld_breaker_row {
	struct ld_breaker breaker;
	_Atomic uint64_t tag;             /* 0 = free; acquire and release: whoever sees it may use the breaker */
	_Atomic uint32_t ready;           /* 1: the name is written; release, pairs with the acquire in ld_breakers_name() */
	uint32_t reserved;
	_Atomic uint64_t name[LD_BREAKER_NAME / 8]; /* as bytes, ended by 0; written by all that find it not ready, all the same */
	char pad[8];
};
_Static_assert(sizeof(struct ld_breaker_row) == LD_BREAKER_ROW, "layout");

/** The table: max rows (at least 1), zeroed when the segment is made. */
struct ld_breakers {
	struct ld_breaker_row *rows;
	uint32_t max;
};

/**
 * The row of a name, taken if it is new; rows[0] when the table is full. tag: 64-bit hash of the name, by which rows are told apart. The name is for
 * people, cut to LD_BREAKER_NAME - 1 bytes. Lock-free; looks at every row before its own, so keep what it returns.
 */
struct ld_breaker_row *ld_breakers_row(const struct ld_breakers *table, const char *name, uint64_t tag);
/** The same without taking one: NULL when there is none. */
struct ld_breaker_row *ld_breakers_find(const struct ld_breakers *table, uint64_t tag);

/** The name of a row into ret_name; returns 1, or 0 when the row is free or its name not written yet. "shared" for row 0. */
int ld_breakers_name(const struct ld_breakers *table, uint32_t row, char ret_name[LD_BREAKER_NAME]);

#endif
