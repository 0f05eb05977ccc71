/* SPDX-License-Identifier: MIT */
/**
 * What the parts of the store share among themselves: its state in this process, entering and leaving it, and write transactions. Private to
 * l1/.
 */
#ifndef LD_L1_INSIDE_H
#define LD_L1_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/process.h"
#include "l1/entry.h"
#include "l1/env.h"
#include "l1/outbox.h"
#include "l1/store.h"

#define LD_STORE_MAGIC UINT64_C(0x4c4453544f524531)

struct ld_store {
	uint64_t magic;
	struct ld_store_config config; /* dir, name: our copies */
	int dir_fd;                    /* opened in the master, inherited */

	/* Whether this process is here: the generation of the process that attached, 0 = away or draining. Written under `lock`. */
	_Atomic uint64_t here;
	_Atomic uint32_t users;        /* calls inside but for those of ld_reading_begin(); counted before `here` is looked at again */
	_Atomic uint32_t serial;       /* grows with each attach: row hints of another one are void */
	_Atomic int64_t next_check_ms; /* when somebody shall look whether the files still stand */
	_Atomic int64_t retry_ms;      /* not before this a failed attach is tried again */
	_Atomic uint32_t retry_reason;
	_Atomic uint64_t tried_by;     /* process generation that has attached, or has tried to, 0 = none */

	struct ld_process_lock remake_lock; /* record locks do not keep threads of one process apart */
	struct ld_process_lock lock;   /* guards everything below but while a user is inside */
	uint64_t attached_by;          /* process generation that seg and env belong to, 0 = none */
	struct ld_seg seg;
	struct ld_env env;

	/* The keeper thread of this process; see l1/keeper.c */
	uint64_t keeper_of;            /* process generation that started it, 0 = none */
	pthread_t keeper;
	_Atomic uint32_t keeper_stop;  /* futex word too */

	/* The sweep of the process that has the role: key it goes on after; a copy, so that slices need no open cursor. */
	unsigned char sweep_key[LD_KEY_MAX];
	size_t sweep_key_len;
	_Atomic uint32_t damaged;      /* generation whose tree was found damaged by background work; 0 = none */
	int sweep_fast;                /* 1: it hurries */
	int sweep_clean;               /* 1: no dead entry had to be left so far */
	uint64_t sweep_from_seq;
	_Atomic uint64_t random;
	int64_t housekeeping_ms;
	/* The walk over the outbox of the process that has the role, and when it looks at invalidation times again. */
	unsigned char outbox_key[LD_KEY_MAX];
	size_t outbox_key_len;
	int64_t outbox_oldest_ms;      /* of this pass so far; 0 = nothing seen */
	int64_t invalid_check_ms;
	_Atomic uint32_t inline_calls; /* writes since the last share of background work, where writers do it */
	_Atomic uint32_t inline_busy;  /* 1: a thread of this process is at it */
};

/* The files of the store; l1/files.c. Whatever waits, waits until end_ms at most. */
struct ld_seg_place ld_files_seg_place(const struct ld_store *store);
struct ld_env_place ld_files_env_place(const struct ld_store *store);
/** Open the directory, made where it is missing and we may. 0; LARDER_MISS without `create`; LARDER_E_REFUSED or LARDER_E_IO with a problem. */
int ld_files_open_directory(const struct ld_store *store, struct ld_problems *problems, int *ret_fd);
/** Is the directory that we have open still the one at its name? If not, open that. */
int ld_files_directory_again(struct ld_store *store, struct ld_problems *problems);
/** Would the whole fit the file system if it were empty? 0; LARDER_E_FULL with a problem; LARDER_E_IO. */
int ld_files_check_room(const struct ld_store *store, struct ld_problems *problems);
/** Map the segment, making it where it is missing and we may. As ld_seg_attach(). */
int ld_files_map_segment(struct ld_store *store, struct ld_seg *seg, int64_t end_ms, struct ld_problems *problems);
/** Open the store file of the segment, made anew where it is damaged or missing. As ld_env_open(). */
int ld_files_open_env(struct ld_store *store, struct ld_seg *seg, struct ld_env *env, int64_t end_ms, struct ld_problems *problems);
/** Make a new store file in the place of generation `bad`, once for all threads and processes; aside: keep that one if there is room. */
int ld_files_remake(struct ld_store *store, struct ld_seg *seg, uint32_t bad, const char *why, int aside, int64_t end_ms);

/**
 * Enter: from 0 to ld_leave() seg and env stay as they are. Attaches where needed. Returns 0 with the time, or LARDER_UNAVAILABLE with
 * the reason set.
 */
int ld_enter(struct ld_store *store, int64_t budget_ms, int64_t *ret_now_ms);
/** The same, and what is left of the budget afterwards, which is less where it had to attach. */
int ld_enter_within(struct ld_store *store, int64_t *budget_ms, int64_t *ret_now_ms);
void ld_leave(struct ld_store *store);

/** A read in progress, in a call that has entered. */
struct ld_reading {
	MDB_txn *txn;                  /* NULL: there is none */
	_Atomic uintptr_t *place;      /* of the pool: the mark there stands for our place in `users`; NULL = we are counted */
	int inside;
};
/**
 * Enter and begin a read transaction, at the price of one locked instruction where the pool has one and nothing is to be looked after. On anything but
 * inside == 1 there is nothing to end. Returns as ld_enter() and ld_read_begin().
 */
int ld_reading_begin(struct ld_store *store, int64_t budget_ms, int64_t *ret_now_ms, struct ld_reading *ret_reading);
void ld_reading_end(struct ld_store *store, const struct ld_reading *reading);

/**
 * We cannot attach, but others can: do something to the segment through a mapping of the moment, which needs neither slot nor lock. Where there is no
 * segment there is nobody to be told.
 */
void ld_from_outside(struct ld_store *store, void (*fn)(struct ld_seg *seg, const void *ctx), const void *ctx);

/** Wake the background work, if we are here; never attaches. */
void ld_call_keeper(struct ld_store *store);

/** For good: let go of what this process has attached or inherited. With `lock`. 0, or -1: a call is still inside. */
int ld_store_let_go(struct ld_store *store, int64_t budget_ms);

/** The store is damaged or vanished: make a new one, once for all processes. Not from inside ld_enter(). */
void ld_store_condemn(struct ld_store *store, uint32_t generation, const char *why, int aside);

static inline int64_t ld_budget(const struct ld_store *store, const struct ld_way *way)
{
	return way && way->budget_ms > 0 ? way->budget_ms : store->config.wait_ms;
}

/** Inside the store: does this call pass it by, by its own settings or the host's switch (`larder off`)? */
static inline int ld_is_off(const struct ld_store *store, const struct ld_way *way)
{
	return way->pass || atomic_load_explicit(&store->seg.h->off, memory_order_relaxed);
}

/** A read transaction inside ld_enter(). Returns as ld_env_read_begin(), damage as LARDER_UNAVAILABLE. */
int ld_read_begin(struct ld_store *store, int64_t budget_ms, MDB_txn **ret_txn);

/** The same transaction on a new snapshot. 0, or LARDER_UNAVAILABLE with the reason set; ld_reading_end() is due in either case. */
int ld_reading_again(struct ld_reading *reading);

/** The row of a tenant in the segment, by name. */
static inline struct ld_tenant_row *ld_tenant_named(const struct ld_seg *seg, const char *tenant)
{
	return ld_tenants_row(&seg->tenants, tenant, ld_store_tag(tenant, NULL));
}
/** The same for a key, remembered in its hint. */
struct ld_tenant_row *ld_tenant_of(struct ld_store *store, const struct ld_key *key);

/* ---- is an entry given to anybody?; l1/state.c ---- */

/** Sequence up to which entries of this scope, or of these tags, are cleared, and of this key are under a barrier: an entry is hidden if its own is
 * below `cleared`, or not above `barrier`. */
struct ld_hidden { uint64_t cleared, barrier; };
struct ld_hidden ld_hidden_of(const struct ld_seg *seg, const struct ld_tenant_row *row, uint64_t scope_tag, const unsigned char *digest);
/** Sequence up to which entries of a tag are cleared. */
static inline uint64_t ld_tag_cleared(const struct ld_seg *seg, uint64_t tag)
{
	/* acquire: pairs with the raising in l1/tags.c */
	return atomic_load_explicit(ld_tag_of(seg->tags, tag), memory_order_acquire);
}
/** The same as ld_hidden_of(), of an entry and all its tags. */
struct ld_hidden ld_entry_hidden(const struct ld_seg *seg, const struct ld_tenant_row *row, uint64_t scope_tag, const unsigned char *digest,
    const struct ld_entry *entry);
static inline int ld_is_hidden(const struct ld_hidden *hidden, uint64_t seq)
{
	return seq < hidden->cleared || seq <= hidden->barrier;
}

/** States of an entry that somebody may still be given. */
#define LD_IS_ALIVE (LARDER_IS_FRESH | LARDER_IS_STALE | LARDER_IS_ERROR_WINDOW)
/** What is an entry's state now? One LARDER_IS_ bit (never DAMAGED). */
uint32_t ld_entry_state(const struct ld_entry_head *head, const struct ld_hidden *hidden, int64_t now_ms, int64_t *wall_ms);

/** A write transaction under the writer gate. */
struct ld_write {
	struct ld_store *store;
	MDB_txn *txn;              /* NULL between transactions */
	uint64_t seq;
	struct ld_env_use use;     /* before it */
	/* Accounts that it changes, written at the end. */
	struct ld_account {
		char tenant[LARDER_TENANT_MAX + 1];
		int64_t entries, bytes, pending; /* changes */
		uint64_t entries_after, bytes_after;
		struct ld_tenant_row *row;
	} *accounts;               /* room for LD_ACCOUNTS, the caller's */
	unsigned accounts_used;
	int changed;               /* something was removed or put */
	int64_t negative_entries, negative_bytes; /* changes; l1/negative.c */
	int negative_used;         /* the row below was written */
	struct ld_negative { uint64_t entries, bytes; } negative_after;
	int outbox_used;           /* the counts were read, and are written at the end */
	struct ld_outbox_counts outbox;
};
enum { LD_ACCOUNTS = 64 };

/** Take the gate. 0, or LARDER_UNAVAILABLE with the reason set. Then any number of transactions, then leave it. */
int ld_gate_in(struct ld_store *store, int64_t budget_ms);
void ld_gate_out(struct ld_store *store);

/** Every transaction up to this sequence has ended: read the sequence first, then see whether anybody is inside the gate. */
static inline uint64_t ld_finished_seq(const struct ld_seg *seg)
{
	uint64_t last = atomic_load(&seg->h->write_seq);

	return last != 0 && atomic_load(&seg->h->write_gate.holder) != 0 ? last - 1 : last;
}

/** Begin and end a transaction inside the gate. An LMDB error is mapped; the transaction is then gone. */
int ld_write_begin(struct ld_write *write, struct ld_store *store, struct ld_account *accounts);
int ld_write_commit(struct ld_write *write);
void ld_write_abort(struct ld_write *write);

/** Change a tenant's account within the transaction. Returns 0, or -1 when it has no room for another tenant: commit first. */
int ld_write_account(struct ld_write *write, const char *tenant, size_t tenant_len, int64_t entries, int64_t bytes);

/** Change the number of a tenant's pending rows; as ld_write_account(). */
int ld_write_pending(struct ld_write *write, const char *tenant, size_t tenant_len, int64_t pending);

/**
 * Take an entry's chunks away, and its cost off its tenant's account; its row stays, for the caller to overwrite or delete.
 * LARDER_E_BUSY: no room for another account, commit first.
 */
int ld_write_unlink(struct ld_write *write, const MDB_val *key, const MDB_val *row);
/** The same, and delete the row under the cursor. */
int ld_write_remove(struct ld_write *write, MDB_cursor *cursor, const MDB_val *key, const MDB_val *row);

/** Read an account of a tenant from the store; zeros when there is none. */
struct ld_account_row { uint64_t entries, bytes, pending; };
int ld_account_read(const struct ld_env *env, MDB_txn *txn, const char *tenant, size_t tenant_len, struct ld_account_row *ret_row);
/** Write it as it is; for the check. */
int ld_account_write(const struct ld_env *env, MDB_txn *txn, const char *tenant, size_t tenant_len, const struct ld_account_row *row);

/** Is there room for this many pages? Inside the gate, in a transaction. 0; LARDER_E_FULL with the thread's reason set to FULL or PINNED. */
int ld_write_room(struct ld_write *write, uint64_t pages);

/* ---- how much "not found" entries take; l1/negative.c ---- */

/** An entry that is put (by 1) or removed (by -1) in the transaction. */
static inline void ld_negative_change(struct ld_write *write, const struct ld_entry_head *head, int by, uint64_t cost)
{
	if (!(head->bits & LD_ENTRY_ABSENT))
		return;
	write->negative_entries += by;
	write->negative_bytes += by * (int64_t)cost;
}
/** At the end of a transaction: write the counts; after its commit: the mirrors in the segment. */
int ld_negative_save(struct ld_write *write);
void ld_negative_mirror(struct ld_write *write);
/** Would one more of so many bytes be beyond their share? */
int ld_negative_is_over(const struct ld_store *store, uint64_t more_b);
/** Beyond their share they push out each other, whatever room there is. Inside the gate. 0; LARDER_E_FULL with the reason: none was found to go; an error. */
int ld_negative_make_room(struct ld_store *store, uint64_t cost);
/** Do the counts agree with the entries? 0; 1 they do not, *ret_mended 1 if they do now; or an error. */
int ld_negative_check(struct ld_store *store, int repair, int *ret_mended);

/* ---- counts that the check puts right; l1/mend.c ---- */

/** Counts, and what they count. ctx has what the last look saw. */
struct ld_counting {
	/** Count, as this transaction sees it. 0; 1 the counts are off; an error. */
	int (*look)(struct ld_store *store, MDB_txn *txn, void *ctx);
	/** Change them by as much. 0; LARDER_E_BUSY they are no longer what was seen: look again; an error. */
	int (*change)(struct ld_write *write, const void *ctx);
	void *ctx;
};
/**
 * Inside the store, outside the gate. With repair put them right and look again, some times.
 * Returns what the first look did; LARDER_E_CORRUPT; *ret_mended 1 they were off and are not now.
 */
int ld_mend_counts(struct ld_store *store, const struct ld_counting *counting, int repair, int *ret_mended);
/** Under the gate, in a transaction of its own: the change, unless counts were put right after this snapshot (its mdb_txn_id()). As the change. */
int ld_mend_after(struct ld_store *store, const struct ld_counting *counting, uint64_t snapshot);
/** What the count is to be now, if it was `was` in the snapshot and ought to have been `right`. */
static inline uint64_t ld_mend_count(uint64_t now, uint64_t was, uint64_t right)
{
	return right >= was ? now + (right - was) : now - (now < was - right ? now : was - right);
}

/** Where the store stands against its bounds. */
struct ld_pressure {
	int over_low, over_high, over_entries;
	int over_quota;
};
/** row: whose quota is looked at, or NULL; more_b: bytes about to be added to it. */
void ld_pressure_now(const struct ld_store *store, const struct ld_tenant_row *row, uint64_t more_b, struct ld_pressure *ret_pressure);

/* ---- the fence of fills; l1/fence.c ---- */

/** Has the fill's look-up seen everything that was done to the key? at: its key in the store; row: what is there, or NULL. 1 or 0. */
int ld_fence_admits(struct ld_write *write, const struct ld_key *key, const struct ld_put *put, const struct ld_seen *seen, const MDB_val *at,
    const MDB_val *row);

/* ---- the outbox, in the transaction of whoever writes; l1/outbox.c ---- */

/** A row as it is stored, under the key of the entry. 80 bytes. */
struct ld_pending {
	uint64_t seq;              /* of the write; names this state of the row */
	uint64_t entry_seq;        /* of the entry that is the value; 0 = a delete */
	int64_t created_wall_ms;
	int64_t enqueued_ms;       /* boot clock, as the next one */
	int64_t expires_ms;        /* when a set is older than its TTL; 0 = a delete */
	int64_t l2_ttl_ms;         /* TTL of a set in L2; 0 = that of the entry */
	uint64_t bytes;            /* of the entry that it keeps */
	unsigned char idempotency[LD_OUTBOX_IDEMPOTENCY];
	uint8_t op;                /* enum ld_outbox_op */
	uint8_t pad[7];
};
_Static_assert(sizeof(struct ld_pending) == 80, "layout");
enum { LD_PENDING_SLICE = 200 };

/** What a write tells. entry_seq, bytes and the times only of a set. */
struct ld_tell {
	const char *tenant;
	const unsigned char *digest;
	enum ld_outbox_op op;
	uint64_t entry_seq, bytes;
	int64_t expires_ms;
	int64_t l2_ttl_ms;         /* 0 = until expires_ms */
};
/** Write its row down, over an older one of the key. 0 or an error; LARDER_E_BUSY: no room for another tenant's account. */
int ld_outbox_tell(struct ld_write *write, const struct ld_tell *tell);

/** What becomes of a row that is given up: which counter, and what of it stays. */
enum ld_give_up { LD_GIVE_UP_DROPPED, LD_GIVE_UP_FAILED };
/** A set that is given up: a delete in its place. The cursor stands at its row. */
int ld_outbox_to_delete(struct ld_write *write, MDB_cursor *cursor, const MDB_val *key, const struct ld_pending *row, enum ld_give_up why);
/** A row that is given up: its tenant's invalidation time instead. LARDER_E_BUSY as above, nothing is changed then. */
int ld_outbox_fold(struct ld_write *write, MDB_cursor *cursor, const MDB_val *key, const struct ld_pending *row, enum ld_give_up why);
/** A row that L2 has acknowledged. LARDER_E_BUSY as above. */
int ld_outbox_acknowledge(struct ld_write *write, MDB_cursor *cursor, const MDB_val *key, const struct ld_pending *row);

/** Take a row apart. 0 or LARDER_E_CORRUPT. */
int ld_pending_decode(const MDB_val *data, struct ld_pending *ret_row);
/** The row of a key. 0, LARDER_MISS, or an error. Looks at the segment's word first: where nothing is pending it costs a load. */
int ld_pending_find(const struct ld_store *store, MDB_txn *txn, const MDB_val *key, struct ld_pending *ret_row);
/** Is the entry of this key and sequence the value of a pending set? */
int ld_pending_keeps(const struct ld_store *store, MDB_txn *txn, const MDB_val *key, uint64_t entry_seq);
/** Give such a set up, for want of room. */
int ld_pending_give_up(struct ld_write *write, const MDB_val *key);

/** The counts of a snapshot, as stored. 0 or an error. */
int ld_outbox_read_counts(const struct ld_env *env, MDB_txn *txn, struct ld_outbox_counts *ret_counts);
/** Read them into a transaction, which then writes them at its end. 0 or an error. */
int ld_outbox_use(struct ld_write *write);
/** At the end of a transaction: write the counts; after its commit: the mirrors in the segment. */
int ld_outbox_save(struct ld_write *write);
void ld_outbox_mirror(struct ld_write *write);
/** Inside the store: it has happened, whoever sleeps until then looks again. */
void ld_outbox_tell_event(const struct ld_store *store, enum ld_outbox_event event);
/** Most rows that may be pending in this store. */
uint64_t ld_outbox_rows_max(const struct ld_seg_params *params);
/** Go on with the walk over all rows: what is too old is given up. Outside the gate. */
void ld_outbox_age_some(struct ld_store *store, int64_t now_ms);

/* ---- what L2 may hand back; l1/invalid.c ---- */

enum { LD_SCOPE_KEY_MAX = 1 + LARDER_TENANT_MAX + 1 + LARDER_SPACE_MAX };
/** Key in the main table of a row about a space (tenant and space), a tenant (space NULL) or everything (both NULL). */
size_t ld_scope_key(char kind, const char *tenant, const char *space, unsigned char bytes[LD_SCOPE_KEY_MAX]);
/** An invalidation time as it is stored under kind 'V'. */
struct ld_invalid_row {
	int64_t wall_ms;
	int64_t keep_until_ms;     /* boot clock */
};
/** What a tag's invalidation time is stored under: kind 'G', then the number of its word. */
enum { LD_TAG_KEY = 3 };
/** Raise the times of tags in the segment, and write their rows in the transaction. The first does not need the writer gate. */
void ld_invalid_raise_tags(struct ld_seg *seg, const uint64_t *tags, size_t count);
int ld_invalid_write_tags(struct ld_write *write, const uint64_t *tags, size_t count);
/** Raise the time of a scope in the segment to the wall time now. With a space only under the writer gate. */
void ld_invalid_raise(struct ld_seg *seg, const char *tenant, const char *space);
/** The same, and its row in the transaction. */
int ld_invalid_write(struct ld_write *write, const char *tenant, const char *space);
/** What an answer of L2 about a key must be newer than, wall clock; 0 = nothing is. */
uint64_t ld_invalid_before(const struct ld_seg *seg, const struct ld_tenant_row *row, const struct ld_key *key, const struct ld_l2_given *given);
/** A write of this key could not be done: fills that are under way are discarded, what L2 has of it is not given out. */
void ld_invalid_raise_key(struct ld_seg *seg, const unsigned char *digest);
/** Forget the times that are over. Outside the gate. */
void ld_invalid_forget(struct ld_store *store, int64_t now_ms);

/** This key is being written by the transaction: fills that saw less are discarded from now on. */
static inline void ld_stamp(struct ld_write *write, const unsigned char *digest)
{
	ld_seq_raise(ld_barrier_of(write->store->seg.stamps, digest), write->seq);
}

/** A number to draw lots with; no secret. */
uint64_t ld_store_random(struct ld_store *store);
/** A TTL less a random share of at most jitter_pct, 0..90. */
int64_t ld_jittered(struct ld_store *store, const unsigned char *digest, int64_t ttl_ms, uint32_t jitter_pct);

/* ---- what the writing calls share; l1/write.c ---- */

/** Put the key under a barrier: the write could not be done. */
void ld_raise_barrier(struct ld_seg *seg, const void *key);
/** Error of a transaction to the reason that the caller may ask for. */
void ld_tell_reason(int rc);
void ld_count_reason(struct ld_store *store);

/** Evict one batch inside the gate; only of this tenant unless NULL. Returns how many entries went, or an error < 0. */
int ld_evict_inside(struct ld_store *store, const char *tenant, unsigned batch);
/** The same of "not found" entries alone. 0 as well when none was found where it looked. */
int ld_evict_negative(struct ld_store *store, const char *tenant, unsigned batch);
/** Evict in the background until below the low mark, or until end_ms. Returns 1 if something was done. */
int ld_evict_background(struct ld_store *store, int64_t end_ms);
/**
 * Is nobody given this row any more: expired, past its hard end, cleared, under a barrier? ret_seq: its sequence, 0 for one that cannot be decoded
 * (which is left to the check). wall_ms 0 = not read yet.
 */
int ld_row_is_dead(const struct ld_seg *seg, const MDB_val *key, const MDB_val *row, int64_t now_ms, int64_t *wall_ms, uint64_t *ret_seq);
/** Does key come after the place, as it must in a whole tree? 1 if there is no place yet. */
static inline int ld_key_follows(MDB_txn *txn, MDB_dbi table, const MDB_val *key, unsigned char *place, size_t place_len)
{
	const MDB_val before = { place_len, place };

	return place_len == 0 || mdb_cmp(txn, table, key, &before) > 0;
}

/** Go on with the sweep: at most `rows` rows. */
void ld_sweep_some(struct ld_store *store, uint64_t rows);
/** A writer's share of the background work, where writers do all of it (LARDER_EVICTOR=inline). Inside ld_enter(), outside the gate. */
void ld_work_inline(struct ld_store *store, int64_t now_ms);
/** Make the store anew if background work has found it damaged. Outside ld_enter(). */
void ld_work_mend(struct ld_store *store);
/** Start the keeper if this process shall have one and has none yet. Called with `lock`. */
void ld_keeper_start(struct ld_store *store);
/** Stop it and wait for its end. Called without `lock`. */
void ld_keeper_stop(struct ld_store *store);

/** Forget the clears up to this sequence: a full sweep has removed what they hid. Outside the gate. */
void ld_clears_forget(struct ld_store *store, uint64_t up_to_seq);

/* ---- values and names out of their chunks; l1/value.c ---- */

/** Copy value (chunks first, then the tail) into data, value_len bytes. 0 or LARDER_E_CORRUPT. */
int ld_value_copy(const struct ld_env *env, MDB_txn *txn, const struct ld_entry *entry, unsigned char *data);
/** Copy a chunked name, name_len bytes. */
int ld_name_copy(const struct ld_env *env, MDB_txn *txn, const struct ld_entry *entry, unsigned char *name);

#endif
