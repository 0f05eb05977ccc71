/* SPDX-License-Identifier: MIT */
/**
 * One LMDB environment of this process: opening, closing, its pool of read transactions, and the map from LMDB's errors to ours. Private to
 * l1/: other modules see l1/store.h.
 *
 * What blocks in LMDB, and what stands in front of it:
 *
 *   mdb_env_open()              waits for a stopped opener (F_SETLKW)       the open gate, or the open lock while a store is made
 *   a slot's first transaction  takes the reader mutex                      the read gate
 *   mdb_reader_check()          takes the reader mutex                      the read gate
 *   a write transaction         takes the writer mutex; after a writer's    the write gate; after a take-over the read gate as well
 *                               death the reader mutex as well
 *   mdb_txn_renew(), _reset(), reads, _abort() of a reader, mdb_env_close()  nothing: they do not wait
 *
 * An environment belongs to the process that opened it. A child must never close one it inherited (that would clear its parent's reader
 * slots): it calls ld_env_abandon(), which unmaps the file, and leaks LMDB's own tables: some kilobytes of memory, some megabytes of
 * address space.
 */
#ifndef LD_L1_ENV_H
#define LD_L1_ENV_H

#include <lmdb.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/text.h"
#include "shm/seg.h"

enum { LD_ENV_POOL = 64, LD_PAGE = 4096 };

struct ld_env {
	MDB_env *lmdb;                 /* NULL = closed */
	MDB_dbi main, entries, chunks, outbox;
	uint32_t generation;           /* of the file */
	uint64_t base_seq;             /* generation << 48 */
	uint64_t dev, ino;             /* of the file */
	int data_fd;                   /* LMDB's own; borrowed */
	void *map;                     /* for a child that lets go */
	size_t map_size;
	_Atomic uintptr_t pool[LD_ENV_POOL]; /* a reset read transaction, with LD_ENV_TAKEN while a thread has it; 0 = none */
};
enum { LD_ENV_TAKEN = 1 };

/** The directory, by path for LMDB and by descriptor for ourselves; who shall own what is made (-1 = as it comes). */
struct ld_env_place {
	const char *dir;
	int dir_fd;
	const char *name;
	uid_t uid;
	gid_t gid;
};

/** Whether a new store stands for one that is lost, and with it what L2 was not told and what was cleared. wall_ms 0: it does not. */
struct ld_env_lost { int64_t wall_ms, keep_until_ms; };
/**
 * Make the store file of a generation: empty, with its tables, its identity, and an invalidation time of everything where a store was lost. Only under
 * the open lock; nobody else knows the file yet.
 * Returns 0; LARDER_E_FULL, LARDER_E_IO, LARDER_E_NOMEM
 */
int ld_env_make(const struct ld_env_place *place, uint32_t generation, const struct ld_seg_params *params, const struct ld_env_lost *lost);

/**
 * Open the store file of a generation. The caller passes the open gate, or holds the open lock.
 * Returns 0; LARDER_UNAVAILABLE every reader slot is taken, with that reason; LARDER_E_CORRUPT missing, truncated, damaged or another's: make a
 *         new one; LARDER_E_REFUSED with a problem; LARDER_E_IO; LARDER_E_NOMEM
 */
int ld_env_open(struct ld_env *env, const struct ld_env_place *place, uint32_t generation, const struct ld_seg_params *params,
    struct ld_problems *problems);
void ld_env_close(struct ld_env *env);
void ld_env_abandon(struct ld_env *env);

/** Is the file that we have open still at its name, and not shorter than what is stored in it? 1 or 0. Two system calls. */
int ld_env_is_whole(const struct ld_env *env, const struct ld_env_place *place);

/** Remove the store files of all generations but `keep` (0 = of all); `aside`: generation to keep once as NAME.bad.mdb, 0 = none. Only
 * under the open lock. Returns the highest generation that was seen. */
uint32_t ld_env_clean(const struct ld_env_place *place, uint32_t keep, uint32_t aside);

/* ---- the files, for l1/env.c; l1/env_files.c ---- */

enum { LD_ENV_NAME_SIZE = 80 };
void ld_env_data_name(const char *name, uint32_t generation, char ret[LD_ENV_NAME_SIZE]);
void ld_env_lock_name(const char *name, uint32_t generation, char ret[LD_ENV_NAME_SIZE]);
/**
 * A private file with its room allocated, so that a full file system is an error here and not a SIGBUS in LMDB. create: O_CREAT | O_EXCL, or 0.
 * Returns 0; LARDER_E_FULL; LARDER_E_IO
 */
int ld_env_make_file(const struct ld_env_place *place, const char *name, int create, uint64_t size);
/**
 * Data and lock file of env's generation must be private before LMDB opens them by path: it would follow a link, and write. Notes in env which file
 * it is.
 * Returns 0; LARDER_E_CORRUPT one is missing, or too short for a store; LARDER_E_REFUSED with a problem; LARDER_E_IO
 */
int ld_env_check_files(const struct ld_env_place *place, struct ld_env *env, struct ld_problems *problems);

/* ---- read transactions, and what LMDB knows; l1/reader.c ---- */

/** What the read gate needs. */
struct ld_env_gate {
	const struct ld_seg *seg;
	int64_t budget_ms;
};

/**
 * A read transaction on the newest snapshot. From the pool without waiting; a new one passes the read gate.
 * Returns 0; LARDER_UNAVAILABLE with the thread's reason set; LARDER_E_CORRUPT
 */
int ld_env_read_begin(struct ld_env *env, const struct ld_env_gate *gate, MDB_txn **ret_txn);
/** Reset it and put it back. */
void ld_env_read_end(struct ld_env *env, MDB_txn *txn);

/**
 * Take a transaction out of the pool, as it lies there: it must be renewed. Returns its place, or NULL when none is free. Sequentially consistent: whoever
 * then sees that the environment is still wanted has it for sure, and ld_env_is_taken() of others says so until ld_env_put().
 */
_Atomic uintptr_t *ld_env_take(struct ld_env *env, MDB_txn **ret_txn);
/** Put a reset one back to its place. One store. */
static inline void ld_env_put(_Atomic uintptr_t *place, MDB_txn *txn)
{
	/* release: pairs with the exchange in ld_env_take() */
	atomic_store_explicit(place, (uintptr_t)txn, memory_order_release);
}
/** Has any thread one of the pool's? */
int ld_env_is_taken(const struct ld_env *env);

/** Free reader slots of dead processes, through the read gate. Returns how many, or -1 when the gate was held. */
int ld_env_clear_readers(struct ld_env *env, const struct ld_env_gate *gate);

/** Walk the reader table: pid, snapshot (0 = idle). No lock. */
struct ld_env_reader { int32_t pid; uint64_t txn; };
/** Returns how many rows there are; fills at most max of them. */
unsigned ld_env_readers(struct ld_env *env, struct ld_env_reader *rows, unsigned max);

/** Snapshot of the oldest reader that is active; UINT64_MAX when none is. No lock. */
uint64_t ld_env_oldest(struct ld_env *env);

/** Pages in use by all tables, rows of the entry table and of the chunk table, as this transaction sees them. Constant time. */
struct ld_env_use { uint64_t pages, entries, chunks, last_page; };
int ld_env_use(const struct ld_env *env, MDB_txn *txn, struct ld_env_use *ret_use);

/** Walk the free list, in a read transaction: pages that a write transaction could take now, and those that a reader keeps back. */
int ld_env_count_free(struct ld_env *env, MDB_txn *txn, uint64_t *ret_reusable, uint64_t *ret_pinned);

/** Our number of a reader or gate user in this process. */
struct ld_gate_user ld_env_gate_user(const struct ld_seg *seg);

/* ---- errors; l1/env.c ---- */

/**
 * LMDB's code to ours, with the thread's reason for what is full: 0, LARDER_MISS (not found), LARDER_UNAVAILABLE (no reader slot), LARDER_E_FULL,
 * LARDER_E_CORRUPT, LARDER_E_NOMEM, LARDER_E_IO, LARDER_E_BUG.
 */
int ld_env_error(int lmdb_code);

#endif
