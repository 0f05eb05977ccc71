/* SPDX-License-Identifier: MIT */
/*
 * The life of a store: making it in the master, attaching in each process, noticing that it was replaced, healing. Every operation enters here
 * and leaves here; between the two, segment and environment stay mapped.
 *
 * Races inside one process, with A inside a call and B replacing:
 *
 *   A adds itself to `users`, then looks at `here` again; B clears `here`, then looks at `users`. Both are sequentially consistent, so either
 *   A sees that it is away and leaves, or B sees A and waits. B waits for a bounded time; when A does not come out (it is stopped under a
 *   debugger, it copies a gigabyte) the store stays draining, and whoever calls next goes on waiting.
 *   A reader marks a transaction of the pool instead, to the same effect: the mark before the look at `here`, `here` before the look at the marks. One
 *   that marks after B has looked sees `here` cleared and unmarks; until then B does not take that transaction down (l1/env.c), so
 *   no reader is ever left with a transaction of a closed environment, nor with one of the same address in the next.
 *
 * Races between processes:
 *
 *   two find no segment       the open lock lets one make it; the other attaches to what it finds afterwards.
 *   one makes a new store     file generation and so file names are new; the generation in the segment is raised last. Killed before that: the
 *                             next one cleans up what it left and makes another. Others go on with the old file until they see the number.
 *   the segment is replaced   whoever has the old one sees that its file is unlinked, within a second, and attaches to the new one. The new one
 *                             begins with a new store file, so two groups never write one file under two gates.
 */
#include "l1/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/fault.h"
#include "base/mem.h"
#include "crypto/hash.h"
#include "crypto/key.h"
#include "shm/role.h"

enum { OPEN_BUDGET_MS = 1000, DRAIN_MS = 50, CHECK_EVERY_MS = 1000, RETRY_MS = 100 };

/* What is left of a call's time for the next thing that it waits for; whatever it passes on its way, it waits no longer in all. */
static int64_t left_until(int64_t end_ms)
{
	int64_t left_ms = end_ms - ld_clock_boot_ms();

	return left_ms > 0 ? left_ms : 0;
}

static struct ld_seg_place seg_place(const struct ld_store *store)
{
	return (struct ld_seg_place){ store->dir_fd, store->config.name, store->config.uid, store->config.gid };
}

static struct ld_env_place env_place(const struct ld_store *store)
{
	return (struct ld_env_place){ store->config.dir, store->dir_fd, store->config.name, store->config.uid, store->config.gid };
}

uint64_t ld_store_tag(const char *tenant, const char *space)
{
	char text[LARDER_TENANT_MAX + LARDER_SPACE_MAX + 2];
	size_t len = strlen(tenant);
	uint64_t tag;

	memcpy(text, tenant, len);
	if (space) {
		text[len++] = 0;
		memcpy(text + len, space, strlen(space));
		len += strlen(space);
	}
	tag = ld_hash64(text, len);
	return tag ? tag : 1;
}

/* ---- making ---- */

/* Make store file and segment anew. Under the open lock, with nobody attached to what was there. */
static int make_all(struct ld_store *store, struct ld_seg *seg)
{
	struct ld_seg_place sp = seg_place(store);
	struct ld_env_place ep = env_place(store);
	uint32_t generation = ld_env_clean(&ep, 0, 0) + 1;
	int rc = generation > UINT16_MAX ? LARDER_E_IO : ld_env_make(&ep, generation, &store->config.params);

	LD_POINT(store_made);
	if (rc == 0)
		rc = ld_seg_make(seg, &sp, &store->config.params, generation);
	if (rc != 0)
		ld_env_clean(&ep, 0, 0);
	return rc;
}

/* A foreign segment may be replaced only when nobody uses it. */
static int refuse_in_use(const struct ld_store *store, struct ld_problems *problems)
{
	ld_problem(problems, "%s/%s.seg: in use by processes of another larder version, boot, pid namespace or time namespace: stop them, "
	    "share their namespace, or give this one another LARDER_NAME or LARDER_DIR", store->config.dir, store->config.name);
	return LARDER_E_REFUSED;
}

static int make_locked(struct ld_store *store, struct ld_seg *seg, struct ld_problems *problems)
{
	struct ld_seg_place place = seg_place(store);
	int rc = ld_seg_attach(seg, &place, problems);

	if (rc != LARDER_MISS && rc != LARDER_STALE)
		return rc;
	if (rc == LARDER_STALE && ld_seg_in_use(seg))
		return refuse_in_use(store, problems);
	rc = make_all(store, seg);
	if (rc == 0)
		LD_LOG(&store->config.log, LARDER_LOG_INFO, "cache_made", NULL, LD_N("size", store->config.params.size_b),);
	return rc;
}

/* Map the segment, making it where it is missing and we may. */
static int map_segment(struct ld_store *store, struct ld_seg *seg, int64_t end_ms, struct ld_problems *problems)
{
	struct ld_seg_place place = seg_place(store);
	int rc = ld_seg_attach(seg, &place, problems);

	if (rc == 0 && ld_seg_second_copy(seg, &store->config.self)) {
		ld_problem(problems, "%s/%s.seg: another copy of liblarder in this process has it open already: link one copy only",
		    store->config.dir, store->config.name);
		return LARDER_E_REFUSED;
	}
	if (rc != 0 && rc != LARDER_MISS && rc != LARDER_STALE)
		return rc;
	if (rc != 0 && !store->config.create)
		return LARDER_MISS;
	if (ld_seg_open_lock(seg, &place, problems) != 0)
		return LARDER_E_REFUSED;
	if (rc == 0)
		return 0;
	rc = ld_seg_lock_open(seg, left_until(end_ms));
	if (rc != 0)
		return rc;
	rc = make_locked(store, seg, problems);
	ld_seg_unlock_open(seg);
	return rc;
}

/* ---- attaching ---- */

static int open_env_gated(struct ld_store *store, struct ld_seg *seg, struct ld_env *env, int64_t end_ms,
    struct ld_problems *problems)
{
	struct ld_gate_user user = ld_env_gate_user(seg);
	struct ld_env_place place = env_place(store);
	int rc;

	if (ld_gate_take(&seg->h->open_gate, &user, left_until(end_ms)) == LD_GATE_TIMEOUT)
		return LARDER_UNAVAILABLE;
	/* Opening reads the tables in a first transaction, which takes the reader mutex. */
	if (ld_gate_take(&seg->h->read_gate, &user, left_until(end_ms)) == LD_GATE_TIMEOUT) {
		ld_gate_leave(&seg->h->open_gate);
		return LARDER_UNAVAILABLE;
	}
	rc = ld_env_open(env, &place, atomic_load(&seg->h->file_generation), &seg->h->params, problems);
	ld_gate_leave(&seg->h->read_gate);
	ld_gate_leave(&seg->h->open_gate);
	return rc;
}

static const char *why_of(int rc)
{
	return rc == LARDER_E_CORRUPT ? "damaged or missing" : "cannot be opened";
}

/* Clears of spaces in an older store hide nothing in this one: their rows are free for others. The table is written under the writer gate; where
 * that cannot be had, they stay. */
static void forget_scopes(const struct ld_store *store, struct ld_seg *seg, uint64_t below_seq)
{
	struct ld_gate_user user = ld_env_gate_user(seg);
	enum ld_gate_result taken = ld_gate_take(&seg->h->write_gate, &user, store->config.wait_ms);

	if (taken == LD_GATE_TIMEOUT)
		return;
	if (taken == LD_GATE_TAKEN_OVER)
		atomic_store(&seg->h->recover, 1);
	for (uint32_t i = 0; i < (uint32_t)LD_SCOPE_SETS * LD_SCOPE_WAYS; i++)
		if (atomic_load(&seg->scopes[i].seq) < below_seq)
			atomic_store(&seg->scopes[i].tag, 0);
	ld_gate_leave(&seg->h->write_gate);
}

/* Make a new store file beside a segment that stays. Under the open lock. */
static int remake_store(struct ld_store *store, struct ld_seg *seg, uint32_t bad, const char *why, int aside)
{
	struct ld_env_place place = env_place(store);
	struct statfs fs;
	uint32_t next;
	int rc;

	if (atomic_load(&seg->h->file_generation) != bad)
		return 0;
	/* A copy of the damaged file is kept where there is plenty of room for it. */
	if (fstatfs(store->dir_fd, &fs) != 0 || (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize < 2 * seg->h->params.map_b)
		aside = 0;
	next = ld_env_clean(&place, 0, aside ? bad : 0) + 1;
	if (next <= bad)
		next = bad + 1;
	rc = next > UINT16_MAX ? LARDER_E_IO : ld_env_make(&place, next, &seg->h->params);
	LD_POINT(store_remade);
	if (rc != 0)
		return rc;
	atomic_store(&seg->h->used_pages, 0);
	atomic_store(&seg->h->entries, 0);
	atomic_store(&seg->h->counted_ms, 0);
	for (uint32_t i = 0; i < ld_tenants_used(&seg->tenants); i++) {
		atomic_store(&seg->tenants.rows[i].entries, 0);
		atomic_store(&seg->tenants.rows[i].bytes, 0);
	}
	ld_seq_raise(&seg->h->write_seq, (uint64_t)next << 48);
	/* Last: from here on everybody goes over to the new file. */
	atomic_store(&seg->h->file_generation, next);
	forget_scopes(store, seg, (uint64_t)next << 48);
	ld_host_count(seg, LD_HC_stores_remade, 1);
	LD_LOG(&store->config.log, LARDER_LOG_WARN, "store_remade", NULL, LD_T("reason", why), LD_N("generation", next),
	    LD_N("set_aside", aside),);
	return 0;
}

static int remake_locked(struct ld_store *store, struct ld_seg *seg, uint32_t bad, const char *why, int aside, int64_t end_ms)
{
	int rc;

	if (ld_process_lock(&store->remake_lock, left_until(end_ms)) != 0)
		return LARDER_UNAVAILABLE;
	rc = ld_seg_lock_open(seg, left_until(end_ms));
	if (rc == 0) {
		rc = remake_store(store, seg, bad, why, aside);
		ld_seg_unlock_open(seg);
	}
	ld_process_unlock(&store->remake_lock);
	return rc;
}

static int open_env(struct ld_store *store, struct ld_seg *seg, struct ld_env *env, int64_t end_ms, struct ld_problems *problems)
{
	uint32_t generation = atomic_load(&seg->h->file_generation);
	int rc = open_env_gated(store, seg, env, end_ms, problems);

	if (rc != LARDER_E_CORRUPT)
		return rc;
	rc = remake_locked(store, seg, generation, why_of(rc), 1, end_ms);
	return rc == 0 ? open_env_gated(store, seg, env, end_ms, problems) : rc;
}

static int attach_parts(struct ld_store *store, int64_t end_ms, struct ld_problems *problems)
{
	int rc;

	ld_seg_init(&store->seg);
	rc = map_segment(store, &store->seg, end_ms, problems);
	if (rc == 0)
		rc = ld_seg_take_slot(&store->seg, &store->config.self, ld_clock_boot_ms());
	if (rc == LARDER_UNAVAILABLE && store->seg.h)
		ld_reason_set(LARDER_REASON_SLOTS);
	if (rc == 0)
		rc = open_env(store, &store->seg, &store->env, end_ms, problems);
	if (rc != 0)
		ld_seg_detach(&store->seg);
	return rc;
}

/* Let go of what belongs to another process: we are its child. */
static void forget_inherited(struct ld_store *store, uint64_t process)
{
	if (store->attached_by != 0 && store->attached_by != process) {
		ld_env_abandon(&store->env);
		ld_seg_abandon(&store->seg);
		store->attached_by = 0;
		atomic_store(&store->users, 0);
		atomic_store(&store->inline_busy, 0);
	}
	if (store->keeper_of != process)
		store->keeper_of = 0;
}

/* Wait until no call is inside. Bounded; 0 or -1. */
static int drain(struct ld_store *store, int64_t budget_ms)
{
	int64_t end_ms = ld_clock_boot_ms() + budget_ms;
	const struct timespec pause = { 0, 200000L };

	atomic_store(&store->here, 0);
	while (atomic_load(&store->users) != 0 || ld_env_is_taken(&store->env)) {
		if (store->attached_by != 0)
			ld_role_call(&store->seg);
		if (ld_clock_boot_ms() >= end_ms)
			return -1;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static void detach_parts(struct ld_store *store)
{
	ld_env_close(&store->env);
	ld_seg_detach(&store->seg);
	store->attached_by = 0;
}

static void note_failure(struct ld_store *store, int rc, const struct ld_problems *problems)
{
	enum larder_reason reason = larder_reason();

	if (reason == LARDER_REASON_NONE || rc < 0)
		reason = rc == LARDER_E_FULL ? LARDER_REASON_DISK : rc == LARDER_E_NOMEM ? LARDER_REASON_NOMEM : LARDER_REASON_ATTACH;
	atomic_store(&store->retry_reason, (uint32_t)reason);
	atomic_store(&store->retry_ms, ld_clock_boot_ms() + RETRY_MS);
	LD_LOG(&store->config.log, LARDER_LOG_WARN, "attach_failed", NULL, LD_T("result", larder_result_name(rc)),
	    LD_T("reason", problems->text ? problems->text : larder_reason_text(reason)),);
}

/* Is this directory nobody's but our owner's? */
static int check_directory(const struct ld_store *store, int fd, struct ld_problems *problems)
{
	const char *dir = store->config.dir;
	uid_t owner = store->config.uid != (uid_t)-1 ? store->config.uid : geteuid();
	struct stat st;

	if (fstat(fd, &st) != 0)
		return LARDER_E_IO;
	if (st.st_uid != owner) {
		ld_problem(problems, "LARDER_DIR=%s: belongs to uid %u, not to uid %u: run as its owner, or chown it", dir, (unsigned)st.st_uid,
		    (unsigned)owner);
		return LARDER_E_REFUSED;
	}
	if (st.st_mode & 077) {
		ld_problem(problems, "LARDER_DIR=%s: others may use it (mode %04o): chmod 700 it", dir, (unsigned)(st.st_mode & 07777));
		return LARDER_E_REFUSED;
	}
	return 0;
}

static int open_directory(const struct ld_store *store, struct ld_problems *problems, int *ret_fd)
{
	const char *dir = store->config.dir;
	int made = store->config.create && mkdir(dir, 0700) == 0, rc = 0;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0) {
		if (errno == ENOENT && !store->config.create)
			return LARDER_MISS;
		ld_problem(problems, "LARDER_DIR=%s: %s", dir, errno == ELOOP || errno == ENOTDIR ? "is a symbolic link or no directory: remove it, or name another" :
		    errno == ENOENT ? "its parent directory does not exist: make it" : strerror(errno));
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? LARDER_E_IO : LARDER_E_REFUSED;
	}
	if (made && store->config.uid != (uid_t)-1 && fchown(fd, store->config.uid, store->config.gid) != 0) {
		ld_problem(problems, "LARDER_DIR=%s: cannot give it to uid %u: %s", dir, (unsigned)store->config.uid, strerror(errno));
		rc = LARDER_E_REFUSED;
	}
	if (rc == 0)
		rc = check_directory(store, fd, problems);
	if (rc == 0)
		*ret_fd = fd;
	else
		close(fd);
	return rc;
}

/*
 * The directory was removed under us: the one that stands at its name now, if it may be used; if not, we keep the old one and ask again at the next
 * attach. It takes the old one's descriptor, for who clears or sets from outside may be using that number.
 */
static int directory_again(struct ld_store *store, struct ld_problems *problems)
{
	struct stat st;
	int fd, rc;

	if (fstat(store->dir_fd, &st) == 0 && st.st_nlink > 0)
		return 0;
	rc = open_directory(store, problems, &fd);
	if (rc != 0)
		return rc;
	rc = dup3(fd, store->dir_fd, O_CLOEXEC) < 0 ? LARDER_E_IO : 0;
	close(fd);
	return rc;
}

/* Under store->lock. */
static int attach_locked(struct ld_store *store, int64_t end_ms, struct ld_problems *problems)
{
	uint64_t process = ld_process_generation();
	int rc;

	if (atomic_load(&store->here) == process)
		return 0;
	forget_inherited(store, process);
	if (store->attached_by == process) {
		int64_t left_ms = left_until(end_ms);

		if (drain(store, left_ms < DRAIN_MS ? left_ms : DRAIN_MS) != 0)
			return LARDER_UNAVAILABLE;
		detach_parts(store);
	}
	ld_reason_set(LARDER_REASON_NONE);
	rc = directory_again(store, problems);
	if (rc == 0)
		rc = attach_parts(store, end_ms, problems);
	if (rc != 0) {
		note_failure(store, rc, problems);
		return rc;
	}
	store->attached_by = process;
	atomic_store(&store->retry_ms, 0);
	atomic_fetch_add(&store->serial, 1);
	atomic_store(&store->next_check_ms, ld_clock_boot_ms() + CHECK_EVERY_MS);
	atomic_store(&store->here, process);
	ld_keeper_start(store);
	return 0;
}

static int attach_slowly(struct ld_store *store, int64_t budget_ms)
{
	struct ld_problems problems = { 0 };
	int64_t retry_ms = atomic_load(&store->retry_ms), now_ms = ld_clock_boot_ms();
	int rc = LARDER_UNAVAILABLE;

	if (retry_ms != 0 && now_ms < retry_ms) {
		ld_reason_set((enum larder_reason)atomic_load(&store->retry_reason));
		return LARDER_UNAVAILABLE;
	}
	ld_reason_set(LARDER_REASON_ATTACH);
	if (ld_process_lock(&store->lock, budget_ms) == 0) {
		rc = attach_locked(store, now_ms + budget_ms, &problems);
		ld_process_unlock(&store->lock);
	}
	ld_problems_free(&problems);
	if (rc == 0)
		return 0;
	if (larder_reason() == LARDER_REASON_NONE)
		ld_reason_set(LARDER_REASON_ATTACH);
	return LARDER_UNAVAILABLE;
}

/* Once a second in each process: do the files still stand? */
static void look_around(struct ld_store *store, int64_t now_ms, int64_t due_ms)
{
	struct ld_env_place place = env_place(store);
	uint32_t generation = store->env.generation;

	if (!atomic_compare_exchange_strong(&store->next_check_ms, &due_ms, now_ms + CHECK_EVERY_MS))
		return;
	if (ld_seg_is_gone(&store->seg)) {
		LD_LOG(&store->config.log, LARDER_LOG_WARN, "segment_vanished", NULL, { NULL, NULL, 0 },);
		atomic_store(&store->here, 0);
		return;
	}
	if (ld_env_is_whole(&store->env, &place) || atomic_load(&store->seg.h->file_generation) != generation)
		return;
	if (remake_locked(store, &store->seg, generation, "file vanished, was replaced or cut short", 1, now_ms + store->config.wait_ms) == 0)
		atomic_store(&store->here, 0);
}

static int step_in(struct ld_store *store, uint64_t process)
{
	if (atomic_load_explicit(&store->here, memory_order_acquire) != process)
		return 0;
	atomic_fetch_add(&store->users, 1);
	if (atomic_load(&store->here) == process)
		return 1;
	atomic_fetch_sub(&store->users, 1);
	return 0;
}

int ld_enter(struct ld_store *store, int64_t budget_ms, int64_t *ret_now_ms)
{
	for (int tries = 0; tries < 3; tries++) {
		uint64_t process = ld_process_generation();
		int64_t now_ms, due_ms;

		if (!step_in(store, process)) {
			int rc = attach_slowly(store, budget_ms);

			if (rc != 0)
				return rc;
			continue;
		}
		now_ms = ld_clock_boot_ms();
		due_ms = atomic_load_explicit(&store->next_check_ms, memory_order_relaxed);
		if (now_ms >= due_ms)
			look_around(store, now_ms, due_ms);
		if (atomic_load_explicit(&store->seg.h->file_generation, memory_order_acquire) == store->env.generation &&
		    atomic_load_explicit(&store->here, memory_order_relaxed) == process) {
			*ret_now_ms = now_ms;
			return 0;
		}
		atomic_store(&store->here, 0);
		ld_leave(store);
	}
	ld_reason_set(LARDER_REASON_ATTACH);
	return LARDER_UNAVAILABLE;
}

int ld_enter_within(struct ld_store *store, int64_t *budget_ms, int64_t *ret_now_ms)
{
	/* The clock costs too much to be read for those who have nothing to wait for. */
	int64_t began_ms = atomic_load_explicit(&store->here, memory_order_relaxed) == ld_process_generation() ? 0 : ld_clock_boot_ms();
	int rc = ld_enter(store, *budget_ms, ret_now_ms);

	if (rc == 0 && began_ms != 0)
		*budget_ms -= *ret_now_ms - began_ms < *budget_ms ? *ret_now_ms - began_ms : *budget_ms;
	return rc;
}

void ld_leave(struct ld_store *store)
{
	/* release (and more): pairs with the look at `users` in drain() */
	atomic_fetch_sub(&store->users, 1);
}

/* The short way in: nothing is due, and the pool has a transaction. 1, or 0 = nothing was done. */
static int read_at_once(struct ld_store *store, int64_t *ret_now_ms, struct ld_reading *reading)
{
	uint64_t process = ld_process_generation();

	if (atomic_load_explicit(&store->here, memory_order_acquire) != process)
		return 0;
	reading->place = ld_env_take(&store->env, &reading->txn);
	if (!reading->place)
		return 0;
	if (atomic_load(&store->here) == process) {
		*ret_now_ms = ld_clock_boot_ms();
		if (*ret_now_ms < atomic_load_explicit(&store->next_check_ms, memory_order_relaxed) &&
		    atomic_load_explicit(&store->seg.h->file_generation, memory_order_acquire) == store->env.generation &&
		    mdb_txn_renew(reading->txn) == 0) {
			reading->inside = 1;
			return 1;
		}
	}
	ld_env_put(reading->place, reading->txn);
	return 0;
}

int ld_reading_begin(struct ld_store *store, int64_t budget_ms, int64_t *ret_now_ms, struct ld_reading *ret_reading)
{
	int rc;

	ret_reading->inside = 0;
	if (read_at_once(store, ret_now_ms, ret_reading))
		return 0;
	ret_reading->place = NULL;
	ret_reading->txn = NULL;
	rc = ld_enter_within(store, &budget_ms, ret_now_ms);
	if (rc != 0)
		return rc;
	ret_reading->inside = 1;
	rc = ld_read_begin(store, budget_ms, &ret_reading->txn);
	if (rc != 0)
		ret_reading->txn = NULL;
	return rc;
}

void ld_reading_end(struct ld_store *store, const struct ld_reading *reading)
{
	if (reading->place) {
		mdb_txn_reset(reading->txn);
		ld_env_put(reading->place, reading->txn);
		return;
	}
	if (reading->txn)
		ld_env_read_end(&store->env, reading->txn);
	ld_leave(store);
}

void ld_call_keeper(struct ld_store *store)
{
	if (!step_in(store, ld_process_generation()))
		return;
	ld_role_call(&store->seg);
	ld_leave(store);
}

void ld_store_condemn(struct ld_store *store, uint32_t generation, const char *why, int aside)
{
	if (!step_in(store, ld_process_generation()))
		return;
	if (store->env.generation == generation)
		remake_locked(store, &store->seg, generation, why, aside, ld_clock_boot_ms() + store->config.wait_ms);
	if (atomic_load(&store->seg.h->file_generation) != store->env.generation)
		atomic_store(&store->here, 0);
	ld_leave(store);
}

int ld_store_attach(struct ld_store *store)
{
	int64_t now_ms;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);
	MDB_txn *txn;

	if (rc != 0)
		return rc;
	rc = ld_read_begin(store, store->config.wait_ms, &txn);
	if (rc == 0)
		ld_env_read_end(&store->env, txn);
	ld_leave(store);
	return rc;
}

/* ---- opening and closing ---- */

/* The whole must fit the file system: what does not fit it when full, fails when it is least wanted. */
static int check_room(const struct ld_store *store, struct ld_problems *problems)
{
	const struct ld_seg_params *params = &store->config.params;
	uint64_t need = params->map_b + ld_seg_size(params), have;
	struct statfs fs;

	if (fstatfs(store->dir_fd, &fs) != 0)
		return LARDER_E_IO;
	have = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
	if (have == 0 || need <= have)
		return 0;
	ld_problem(problems, "LARDER_SIZE=%" PRIu64 "M: needs %" PRIu64 "M with its reserve and tables, but the file system of %s has %" PRIu64
	    "M: lower LARDER_SIZE, or make the file system larger (Docker: --shm-size)", params->size_b >> 20, (need + 1048575) >> 20,
	    store->config.dir, have >> 20);
	return LARDER_E_FULL;
}

static int adopt(struct ld_store *store)
{
	const struct ld_seg_params *ours = &store->config.params, *theirs = &store->seg.h->params;

	if (ours->size_b != theirs->size_b || ours->max_entries != theirs->max_entries || ours->writable != theirs->writable ||
	    ours->slots != theirs->slots || ours->tenants != theirs->tenants)
		LD_LOG(&store->config.log, LARDER_LOG_WARN, "settings_adopted", NULL, LD_N("size", theirs->size_b), LD_N("wanted_size", ours->size_b),
		    LD_N("max_entries", theirs->max_entries), LD_N("wanted_max_entries", ours->max_entries),);
	return 0;
}

/* Make and check everything once in the master, then let go, so that children inherit as little as can be. */
static int first_attach(struct ld_store *store, struct ld_problems *problems)
{
	int64_t end_ms = ld_clock_boot_ms() + OPEN_BUDGET_MS;
	int rc = ld_process_lock(&store->lock, OPEN_BUDGET_MS);

	if (rc != 0)
		return LARDER_E_BUG;
	ld_seg_init(&store->seg);
	rc = map_segment(store, &store->seg, end_ms, problems);
	if (rc == 0) {
		adopt(store);
		store->config.params = store->seg.h->params;
		rc = ld_seg_take_slot(&store->seg, &store->config.self, ld_clock_boot_ms());
	}
	if (rc == 0)
		rc = open_env(store, &store->seg, &store->env, end_ms, problems);
	if (rc == 0)
		ld_env_close(&store->env);
	ld_seg_detach(&store->seg);
	ld_process_unlock(&store->lock);
	return rc;
}

static void store_free(struct ld_store *store)
{
	if (store->dir_fd >= 0)
		close(store->dir_fd);
	free(store->config.dir);
	free(store->config.name);
	store->magic = 0;
	free(store);
}

int ld_store_open(const struct ld_store_config *config, struct ld_store **ret_store, struct ld_problems *problems)
{
	struct ld_store *store = ld_calloc(1, sizeof(*store));
	uint64_t seed = 0;
	int rc;

	if (!store)
		return LARDER_E_NOMEM;
	store->magic = LD_STORE_MAGIC;
	store->config = *config;
	store->dir_fd = -1;
	store->config.dir = ld_strdup(config->dir);
	store->config.name = ld_strdup(config->name);
	ld_seg_init(&store->seg);
	rc = store->config.dir && store->config.name ? 0 : LARDER_E_NOMEM;
	if (rc == 0 && ld_key_random(&seed, sizeof(seed)) != 0)
		rc = LARDER_E_IO;
	atomic_store(&store->random, seed | 1);
	store->config.log.cache = store->config.name;
	if (rc == 0)
		rc = open_directory(store, problems, &store->dir_fd);
	if (rc == 0 && config->create)
		rc = check_room(store, problems);
	if (rc == 0)
		rc = first_attach(store, problems);
	/* What is merely busy heals by itself: the handle is good. */
	if (rc == LARDER_UNAVAILABLE && config->create)
		rc = 0;
	if (rc == LARDER_E_FULL && problems->count == 0)
		ld_problem(problems, "%s: the file system is full: make room for %" PRIu64 "M", store->config.dir,
		    ld_seg_size(&store->config.params) >> 20);
	if (rc != 0) {
		store_free(store);
		return rc;
	}
	*ret_store = store;
	return 0;
}

void ld_store_close(struct ld_store *store)
{
	uint64_t process = ld_process_generation();
	int idle = 0;

	if (!store || store->magic != LD_STORE_MAGIC)
		return;
	ld_keeper_stop(store);
	if (ld_process_lock(&store->lock, OPEN_BUDGET_MS) == 0) {
		forget_inherited(store, process);
		idle = drain(store, OPEN_BUDGET_MS) == 0;
		if (idle && store->attached_by == process) {
			ld_role_drop(&store->seg);
			detach_parts(store);
		}
		ld_process_unlock(&store->lock);
	}
	/* A call that is still inside, against the rules, keeps its memory. */
	if (idle)
		store_free(store);
}

void ld_store_promote(struct ld_store *store, const struct ld_store_config *config)
{
	if (!config->create || store->config.create || ld_process_lock(&store->lock, OPEN_BUDGET_MS) != 0)
		return;
	store->config.create = 1;
	store->config.threads = config->threads;
	store->config.evictor = config->evictor;
	store->config.self.role = config->self.role;
	store->config.wait_ms = config->wait_ms;
	store->config.log = config->log;
	store->config.log.cache = store->config.name;
	if (atomic_load(&store->here) == ld_process_generation())
		ld_keeper_start(store);
	ld_process_unlock(&store->lock);
}

const struct ld_log *ld_store_log(const struct ld_store *store)
{
	return &store->config.log;
}

void ld_store_params(const struct ld_store *store, struct ld_seg_params *ret_params)
{
	*ret_params = store->config.params;
}
