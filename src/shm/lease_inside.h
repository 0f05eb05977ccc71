/* SPDX-License-Identifier: MIT */
/**
 * What lease.c and lease_wait.c share: the parts of a row's word and of its list of ends, asking and waking. Private to them.
 */
#ifndef LD_SHM_LEASE_INSIDE_H
#define LD_SHM_LEASE_INSIDE_H

#include "shm/lease.h"

#define LD_LEASE_GENERATIONS UINT32_C(255)
/* Looks at a row that is being named, or at a set where one is, before it counts as held. */
enum { LD_LEASE_LOOKS = 60, LD_LEASE_PAUSES = 10 };

static inline uint64_t ld_lease_word_of(enum ld_lease_state state, uint32_t holder, uint32_t generation, int64_t time_ms)
{
	const struct ld_lease_word word = { state, holder, generation, (uint32_t)(uint64_t)time_ms };

	return ld_lease_pack(&word);
}

static inline enum ld_lease_state ld_lease_state_of(uint64_t word)
{
	return (enum ld_lease_state)(word >> 61);
}

static inline uint32_t ld_lease_generation_of(uint64_t word)
{
	return (uint32_t)(word >> 32) & LD_LEASE_GENERATIONS;
}

static inline int ld_lease_is_busy(uint64_t word)
{
	return ld_lease_state_of(word) >= LD_LEASE_IS_NAMING;
}

/** What is left until the word's time; 0 = it is over. */
static inline int64_t ld_lease_left_of(uint64_t word, int64_t now_ms)
{
	uint32_t left = (uint32_t)word - (uint32_t)(uint64_t)now_ms;

	return left <= LD_LEASE_TIME_MAX_MS ? left : 0;
}

static inline int64_t ld_lease_bounded(int64_t time_ms)
{
	return time_ms < 1 ? 1 : time_ms > LD_LEASE_TIME_MAX_MS ? LD_LEASE_TIME_MAX_MS : time_ms;
}

static inline void ld_lease_pause(void)
{
	for (int i = 0; i < LD_LEASE_PAUSES; i++)
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#else
		atomic_signal_fence(memory_order_seq_cst);
#endif
}

/** How the generation of a word ended: nobody has said, while it is held. */
static inline enum ld_lease_end ld_lease_end_of(uint64_t word)
{
	return ld_lease_is_busy(word) ? LD_LEASE_GONE : (enum ld_lease_end)((word >> 40) & LD_LEASE_END_MAX);
}

/** How a generation ended, for the list of ends: the list with it, and what the list says. */
static inline uint64_t ld_lease_ends_with(uint64_t ends, uint32_t generation, enum ld_lease_end end)
{
	uint32_t since = (generation - (uint32_t)ends) & LD_LEASE_GENERATIONS;
	uint64_t list = ends >> 8;

	/* Those between that nobody has noted ended as GONE, which is 0. */
	if (since == 0)
		list &= ~UINT64_C(15);
	else
		list = since < LD_LEASE_ENDS ? list << 4 * since & ((UINT64_C(1) << 4 * LD_LEASE_ENDS) - 1) : 0;
	return (list | (uint64_t)end) << 8 | generation;
}

static inline enum ld_lease_end ld_lease_end_in(uint64_t ends, uint32_t generation)
{
	uint32_t ago = ((uint32_t)ends - generation) & LD_LEASE_GENERATIONS;

	return ago < LD_LEASE_ENDS ? (enum ld_lease_end)(ends >> 8 >> 4 * ago & 15) : LD_LEASE_GONE;
}

/** What a set has for a tag. */
struct ld_lease_found {
	struct ld_lease_row *own;       /* the row with its name, NULL = none; the held one, if there is one */
	struct ld_lease_row *idle;      /* a row that may be given to it, NULL = none */
	int naming;                     /* another row is being given to somebody */
	uint64_t own_word, idle_word;
};
/** The set of a tag, its label, and what is there. */
struct ld_lease_row *ld_lease_set_of(const struct ld_leases *table, uint64_t tag);
uint64_t ld_lease_label_of(uint64_t tag);
void ld_lease_find(struct ld_lease_row *set, uint64_t label, int64_t now_ms, struct ld_lease_found *ret_found);

/** Wake all who wait at the row. */
void ld_lease_wake_all(struct ld_lease_row *row);
/** Is the holder surely dead? One of all who want to know asks, once in a while; for the others it lives. */
int ld_lease_is_dead(struct ld_lease_row *row, uint64_t word, const struct ld_lease_ask *ask);

#endif
