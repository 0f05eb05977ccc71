/* SPDX-License-Identifier: MIT */
/**
 * The segment: NAME.seg, one file mapped by every process of the host that uses the cache. It holds what processes share outside
 * LMDB: who is attached, the gates, barriers, clears, leases, the access sketch, the counters.
 *
 * A segment file can be
 *
 *   missing        ld_seg_attach() says LARDER_MISS; the caller takes the open lock and makes one
 *   being made     under another name, NAME.seg.new; invisible until rename(2), so what is at NAME.seg is always whole
 *   in use         attached by live processes: each holds a read lock on byte LD_LOCK_IN_USE of NAME.lock
 *   left           nobody holds that lock; the next process adopts it as it is: the cache survives a restart of all processes
 *   foreign        of another boot, layout, pid or time namespace, or with another lock file: made anew if it is left, refused if in use
 *   unlinked       somebody removed it; attached processes notice by ld_seg_is_gone() and attach to the new one
 *
 * Calling sequence: ld_seg_attach(); ld_seg_take_slot(); ...; ld_seg_detach(). After fork the child forgets what it inherited with
 * ld_seg_abandon() and attaches itself. The record locks belong to the process (fcntl(2)): they vanish with it, however it ends, also while
 * it is a zombie; and they vanish when any descriptor of NAME.lock is closed in the process, so it is opened once in each process.
 */
#ifndef LD_SHM_SEG_H
#define LD_SHM_SEG_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/text.h"
#include "shm/barrier.h"
#include "shm/breakers.h"
#include "shm/gate.h"
#include "shm/lease.h"
#include "shm/limiter.h"
#include "shm/retry.h"
#include "shm/sketch.h"
#include "shm/tenants.h"
#include "shm/unanswered.h"
#include "shm/wanted.h"

#define LD_SEG_MAGIC UINT64_C(0x3147455352444c01)
/** Grows whenever anything in the segment or the store changes its meaning. */
#define LD_SEG_LAYOUT 4u

/** Bytes of NAME.lock and what they mean; the bytes from LD_LOCK_SLOTS on are one for each slot. */
enum { LD_LOCK_OPEN = 0, LD_LOCK_IN_USE = 1, LD_LOCK_SLOTS = 64 };

/** Rows of the table of breakers, the shared one included: L2 addresses, and tenants whose policy differs. */
enum { LD_SEG_BREAKERS = 256 };

enum { LD_SEG_OUTBOX_COUNTS = 7 };

enum ld_role { LD_ROLE_WORKER = 1, LD_ROLE_INSPECTOR = 2, LD_ROLE_AGENT = 3 };

/** One attached process. 128 bytes, so that two never share a cache line pair. Written by its process only, under its slot lock. */
struct ld_slot {
	_Atomic uint32_t incarnation;    /* grows with each process that takes the slot; never 0 once taken */
	_Atomic uint32_t live;           /* 1 from taking to leaving; a dead process leaves 1 behind, its lock is gone */
	_Atomic int32_t pid;
	_Atomic uint32_t role;           /* enum ld_role */
	_Atomic uint64_t start_time;     /* of the process, clock ticks since boot */
	_Atomic uint64_t image;          /* of the program image: differs after exec */
	_Atomic uint64_t copy;           /* of this copy of the library in the process */
	_Atomic int64_t attached_ms;
	_Atomic uint32_t l2_inflight;    /* calls to L2 under way, shm/inflight.h; what a dead process leaves is not counted */
	char pad[128 - 52];
};
_Static_assert(sizeof(struct ld_slot) == 128, "layout");

/** What a segment is made with; adopted by whoever attaches later. */
struct ld_seg_params {
	uint64_t size_b;              /* usable size of the store */
	uint64_t map_b;               /* with the reserve */
	uint64_t low_b, high_b;       /* marks */
	uint64_t max_entries;         /* 0 = none */
	uint64_t capacity;            /* entries that the sketch is sized for */
	uint64_t sweep_ms;
	uint32_t slots, readers, tenants;
	uint32_t writable;            /* store mapped writable */
	uint32_t limit_rows;          /* rows of the limiter, at least */
	uint32_t negative_pct;        /* share of size_b and max_entries that "not found" entries may take */
	uint32_t leases;              /* rows of the table of leases, at least */
	uint32_t reserved;
	uint64_t outbox_rows;         /* bounds of the outbox: rows, bytes of entries that wait, time that one waits */
	uint64_t outbox_b;
	uint64_t outbox_age_ms;
	uint64_t l2_ttl_max_ms;       /* nothing lives longer in L2: so long invalidation times are kept */
};

/** The first page. Immutable after it was made, but for what is atomic. */
struct ld_seg_header {
	uint64_t magic;
	uint32_t layout;
	uint32_t header_size;
	uint64_t total_size;
	unsigned char boot_id[16];
	uint64_t pid_ns, time_ns;
	uint64_t lock_dev, lock_ino;  /* of NAME.lock */
	int64_t made_ms;              /* boot clock */
	int64_t made_wall_ms;
	struct ld_seg_params params;
	uint64_t slots_at, tenants_at, tenant_index_at, scopes_at, barriers_at, stamps_at, barrier_walls_at, l2_scopes_at, tags_at, tag_walls_at,
		breakers_at, sketch_at, limiter_at, leases_at, wanted_at, unanswered_at;
	uint64_t sketch_lines;

	/* Read by every call; written seldom. */
	_Atomic uint32_t file_generation __attribute__((aligned(64)));  /* store file in use is NAME.<this>.mdb; written under the open lock */
	_Atomic uint32_t off;                 /* 1 after `larder off` */
	_Atomic uint32_t tenants_taken;       /* rows of the directory that were handed out; shm/tenants.h */
	_Atomic uint64_t clear_seq;           /* entries below it are cleared; raised under the writer gate */

	/* Written by writers, under the writer gate. */
	_Atomic uint64_t write_seq __attribute__((aligned(64))); /* of the transaction begun last: nothing stored has a higher one */
	_Atomic uint64_t used_pages;          /* mirrors of the store after the last commit */
	_Atomic uint64_t entries;
	_Atomic uint64_t reusable_pages;      /* free and not pinned, as last counted, less what was taken since */
	_Atomic int64_t counted_ms;           /* when they were counted; 0 = never */
	_Atomic uint64_t last_page;           /* high-water mark of the file */
	_Atomic uint64_t negative_b;          /* of "not found" entries, and their number; l1/negative.c */
	_Atomic uint64_t negative_entries;
	_Atomic uint32_t recover;             /* 1: the gate was taken from a dead writer, LMDB's mutexes are not recovered yet */
	_Atomic uint32_t short_of_room;       /* 1: the last count was not enough: counting again at once is no use */
	_Atomic int64_t pinned_since_ms;      /* since when counts find that a reader keeps free pages back; 0 = it does not */

	struct ld_gate write_gate __attribute__((aligned(64)));
	struct ld_gate read_gate __attribute__((aligned(64)));   /* reader table of LMDB: first reads, reader checks */
	struct ld_gate open_gate __attribute__((aligned(64)));   /* mdb_env_open() */

	/* The background work; see shm/role.h */
	_Atomic uint64_t evictor __attribute__((aligned(64)));   /* holder's number, 0 = nobody */
	_Atomic int64_t evictor_beat_ms;
	_Atomic uint32_t evictor_wake;        /* futex word: counts calls for work */
	_Atomic uint32_t evictor_asleep;      /* 1: it sleeps and wants to be called */
	_Atomic int64_t sweep_began_ms;       /* present sweep */
	_Atomic int64_t sweep_ended_ms;       /* last full sweep; 0 = none yet */
	_Atomic uint32_t sweep_soon;          /* 1: something was cleared, the next sweep begins at once and hurries */
	_Atomic uint64_t accesses_halved;     /* accesses that had been counted at the last halving */
	_Atomic uint64_t halve_next;          /* line at which a halving goes on; 0 = none in progress */

	struct ld_retry l2_retry __attribute__((aligned(64)));   /* of calls to L2 */

	/* What L2 may be asked, and what it may hand back; l1/outbox.c, l1/invalid.c. Read by misses and fills, written seldom. */
	_Atomic uint32_t outbox_any __attribute__((aligned(64))); /* 0: surely nothing is pending; written under the writer gate */
	_Atomic uint64_t l2_invalid_ms;       /* wall clock: what L2 has from before it is not given out; 0 = none */
	_Atomic uint64_t l2_raised_ms;        /* boot clock: when an invalidation time of any kind was raised last; 0 = none is raised */
	_Atomic uint64_t clears_forgotten;    /* clears of spaces up to this sequence may be forgotten: a fill from before it cannot be judged */

	/* The drainer's lock: l1/drain.c. */
	struct ld_gate drain_gate __attribute__((aligned(64)));
	_Atomic uint64_t drain_until_ms;      /* boot clock: until then a request of whoever has or had it may be on its way */
	_Atomic uint64_t drain_from_ms;       /* before this the holder sends nothing, for its predecessor's sake; 0 = at once */
	_Atomic uint32_t drain_calls;         /* futex word: counts calls for the holder, who sleeps on it; written by whoever waits for a row */
	_Atomic uint32_t drain_ends;          /* futex word: counts settlings, and holders that have left; those who wait for a row sleep on it */

	/* Mirrors of the outbox after the last commit that changed it, in the order of struct ld_outbox_counts; for tools. */
	_Atomic uint64_t outbox_counts[LD_SEG_OUTBOX_COUNTS] __attribute__((aligned(64)));
	_Atomic int64_t outbox_oldest_ms;     /* boot clock: oldest row that the last pass over all of them saw; 0 = none */

	_Atomic uint64_t host_counters[LD_HOST_COUNTERS] __attribute__((aligned(64)));
};

struct ld_seg {
	struct ld_seg_header *h;      /* NULL = not attached */
	size_t size;
	int fd, lock_fd;
	struct ld_slot *slots;
	struct ld_tenants tenants;
	struct ld_scope *scopes;
	_Atomic uint64_t *barriers;
	struct ld_breakers breakers;
	_Atomic uint64_t *stamps;     /* beside the barriers: sequence of the last write of a key, LD_BARRIERS words */
	_Atomic uint64_t *tags;       /* LD_TAG_WORDS words: sequence below which entries of a tag are cleared; raised by whoever invalidates it */
	_Atomic uint64_t *tag_walls;  /* beside them: wall clock of it, 0 = nothing of L2's is refused */
	_Atomic uint64_t *barrier_walls; /* beside them too: wall clock when the barrier was raised, 0 = it was not */
	struct ld_scope *l2_scopes;   /* invalidation times of spaces, with wall clocks for sequences; written under the writer gate */
	struct ld_sketch sketch;
	struct ld_limiter limiter;
	struct ld_leases leases;
	struct ld_wanted *wanted;
	struct ld_unanswered *unanswered;
	int32_t slot;                 /* ours; -1 = none */
	uint32_t incarnation;
	uint64_t self;                /* our number in gates and roles; 0 without a slot */
	uint64_t first_invalid_ms;    /* l2_invalid_ms that ld_seg_make() begins with; the caller's */
};

/** Who we are, beyond the pid: computed once a process by the caller. */
struct ld_seg_self {
	uint64_t image;               /* hash of AT_RANDOM: differs after exec, the same for all copies of the library */
	uint64_t copy;                /* differs between two copies of the library in one process */
	uint32_t role;
};

/** Where: an open directory, the cache's name, and who shall own what is made (-1 = as it comes). */
struct ld_seg_place {
	int dir_fd;
	const char *name;
	uid_t uid;
	gid_t gid;
};

/** Nothing attached, nothing open. */
void ld_seg_init(struct ld_seg *seg);

/**
 * Map an existing segment. On anything but 0 nothing more is open than before.
 *
 * Returns 0; LARDER_MISS there is none; LARDER_STALE it is foreign and must be made anew (with the open lock); LARDER_E_REFUSED with a
 *         problem: wrong owner or mode; LARDER_E_IO, LARDER_E_NOMEM
 */
int ld_seg_attach(struct ld_seg *seg, const struct ld_seg_place *place, struct ld_problems *problems);

/**
 * Open NAME.lock for this process (made if missing), and lock byte LD_LOCK_OPEN, waiting for at most budget_ms.
 * Returns 0; LARDER_UNAVAILABLE another process has it; LARDER_E_REFUSED, LARDER_E_IO
 */
int ld_seg_open_lock(struct ld_seg *seg, const struct ld_seg_place *place, struct ld_problems *problems);
int ld_seg_lock_open(struct ld_seg *seg, int64_t budget_ms);
void ld_seg_unlock_open(struct ld_seg *seg);

/** Is any other process attached? Needs lock_fd. */
int ld_seg_in_use(const struct ld_seg *seg);

/**
 * Make a segment under the open lock and put it at its name, over a foreign one. Its room is allocated, so that a full file system is an
 * error here and not a SIGBUS later. first_generation: of its store file.
 *
 * Returns 0; LARDER_E_FULL, LARDER_E_IO
 */
int ld_seg_make(struct ld_seg *seg, const struct ld_seg_place *place, const struct ld_seg_params *params, uint32_t first_generation);

/** Bytes that a segment of these params takes. */
uint64_t ld_seg_size(const struct ld_seg_params *params);

/** Has another copy of the library in this very process a slot? Ask before NAME.lock is opened. */
int ld_seg_second_copy(const struct ld_seg *seg, const struct ld_seg_self *self);

/** Take a slot; needs lock_fd. Returns 0; LARDER_UNAVAILABLE all are taken by live processes. */
int ld_seg_take_slot(struct ld_seg *seg, const struct ld_seg_self *self, int64_t now_ms);

/** Give slot and mapping back, close the descriptors: our locks vanish. */
void ld_seg_detach(struct ld_seg *seg);
/** In a child: let go of what was inherited, without touching what the parent still has. */
void ld_seg_abandon(struct ld_seg *seg);

/** Does the file that we have mapped still stand at its name? 0 or 1. One fstat(2). */
int ld_seg_is_gone(const struct ld_seg *seg);

/** Does the process live that has this number? Reads a record lock of another process; our own number is always alive. */
int ld_seg_alive(const struct ld_seg *seg, uint64_t number);
/** The slot of a number, and its pid; 0 when number is 0. */
int32_t ld_seg_pid_of(const struct ld_seg *seg, uint64_t number);
/** Is the lock of this slot held by another process, or is it ours? */
int ld_seg_slot_alive(const struct ld_seg *seg, uint32_t slot);
/** Mark slots of dead processes as free. Returns how many. Any process may do so at any time. */
unsigned ld_seg_clear_slots(struct ld_seg *seg);

static inline void ld_host_count(const struct ld_seg *seg, enum ld_host_counter which, uint64_t n)
{
	atomic_fetch_add_explicit(&seg->h->host_counters[which], n, memory_order_relaxed);
}

static inline unsigned ld_seg_stripe(const struct ld_seg *seg)
{
	return (unsigned)seg->slot % LD_STRIPES;
}

#endif
