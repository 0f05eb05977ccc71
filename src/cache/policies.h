/* SPDX-License-Identifier: MIT */
/**
 * The policies of LARDER_SPACES_FILE as they are now: the file is looked at twice a second, by whichever call comes then, and a changed one replaces
 * the policies in this process, while calls go on. Nothing here waits. Private to cache/.
 *
 * A process that makes no call looks at nothing; its next call does, before it asks for a policy. A file that cannot be looked at (removed, no
 * permission, behind chroot() or seccomp) or that has a fault changes nothing: the policies that were good last stay.
 *
 * Two states are kept, the one in force and the one before it, for whoever reads that still; a third change waits until nobody does. So memory is
 * bounded by two files, however often the file changes.
 *
 * Threads: any. Fork: a child goes on with what its parent had; what the parent's other threads had pinned or locked at that moment is free in it.
 */
#ifndef LD_CACHE_POLICIES_H
#define LD_CACHE_POLICIES_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "cache/spaces.h"

/** One state of the policies. pins: who reads it; upper 40 bits are of the process generation, lower 24 the readers in it. */
struct ld_policies_turn {
	_Atomic uint64_t pins;
	_Atomic(struct ld_spaces *) spaces; /* changed only with the lock, while no reader has pinned it */
};

/** Which bytes were read: another file, or the same one written to, differs in one of these. */
struct ld_file_mark {
	uint64_t dev, ino, size;
	int64_t modified_ns, changed_ns;
};

struct ld_policies {
	char *path;                  /* absolute where it can be; NULL: there is no file, and nothing is ever looked at */
	struct ld_policies_turn turns[2];
	_Atomic uint64_t version;    /* files taken up since the first; turns[version & 1] is in force. release, pairs with the acquire of readers */
	_Atomic int64_t look_ms;     /* coarse clock: when to look next; whoever raises it looks */
	struct ld_process_lock lock; /* guards everything below */
	struct ld_file_mark mark;    /* of what was read last */
	unsigned char digest[32];    /* of its bytes */
	unsigned char told[32];      /* of the fault that was told last, and its file's mark */
	int unsettled;               /* looks to come at which the file is read although its mark is the same */
	int unseen;                  /* 1: it is told that the file cannot be looked at */
};

/** What a look came to. */
enum ld_policies_look { LD_POLICIES_SAME = 0, LD_POLICIES_NEW = 1, LD_POLICIES_REFUSED = 2 };

/** Read the file for the first time. path NULL or "": no file. Results of ld_spaces_load(). */
int ld_policies_open(struct ld_policies *policies, const char *path, struct ld_problems *problems);
/** Zeroed is fine. No thread may be inside. */
void ld_policies_close(struct ld_policies *policies);

/** Is it time to look? One relaxed load and the coarse clock, about 6 ns; nothing where there is no file. */
static inline int ld_policies_due(const struct ld_policies *policies)
{
	return policies->path && ld_clock_coarse_ms() >= atomic_load_explicit(&policies->look_ms, memory_order_relaxed);
}

/**
 * Look at the file, if no other thread has just begun to. Takes up a changed one. A fault is told to the log once for each change.
 * May read and parse a file of up to 1 MiB.
 */
enum ld_policies_look ld_policies_look(struct ld_policies *policies, const struct ld_log *log);

/** The state in force, until it is unpinned with the version that is given here; to be held for a look-up only. */
const struct ld_spaces *ld_policies_pin(struct ld_policies *policies, uint64_t *ret_version);
void ld_policies_unpin(struct ld_policies *policies, uint64_t version);

static inline uint64_t ld_policies_version(const struct ld_policies *policies)
{
	return atomic_load_explicit(&policies->version, memory_order_acquire);
}

/**
 * A small struct that is worked out from the policies and kept beside what it belongs to: written by one thread, with the lock, and read by any,
 * without waiting. Zeroed is empty.
 */
enum { LD_TWIN_WORDS = 31 };
struct ld_twin {
	struct ld_process_lock lock;
	_Atomic uint64_t turn;                        /* times it was written; halves[turn & 1] is good */
	_Atomic uint64_t halves[2][LD_TWIN_WORDS + 1];  /* the version, then the struct */
};

/** size: a multiple of 8, at most LD_TWIN_WORDS of them. With the lock. */
void ld_twin_write(struct ld_twin *twin, uint64_t version, const void *data, size_t size);
/** 1 with what was written last and the version of the policies that it is of; 0 when it is empty. */
int ld_twin_read(const struct ld_twin *twin, void *ret_data, size_t size, uint64_t *ret_version);

#endif
