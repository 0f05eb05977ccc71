/* SPDX-License-Identifier: MIT */
/*
 * The files of a store: the directory is checked, the segment found or made, the store file opened, or made anew where it is damaged. Called by whoever
 * attaches, with l1/store.c's lock or in the master; waits only for the open lock and the gates, and no longer than until the caller's time is over.
 *
 * Killed while making: what is half made has a name that nobody looks for, or a generation that the segment does not name yet; the next maker removes it.
 */
#include "l1/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/fault.h"
#include "base/file.h"

/* What is left of a call's time for the next thing that it waits for; whatever it passes on its way, it waits no longer in all. */
static int64_t left_until(int64_t end_ms)
{
	int64_t left_ms = end_ms - ld_clock_boot_ms();

	return left_ms > 0 ? left_ms : 0;
}

struct ld_seg_place ld_files_seg_place(const struct ld_store *store)
{
	return (struct ld_seg_place){ store->dir_fd, store->config.name, store->config.uid, store->config.gid };
}

struct ld_env_place ld_files_env_place(const struct ld_store *store)
{
	return (struct ld_env_place){ store->config.dir, store->dir_fd, store->config.name, store->config.uid, store->config.gid };
}

/* ---- the directory ---- */

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

/*
 * Made, and opened: with mode 0700 even where the umask takes more away than others' rights, so that the owner cannot open it. Nobody else can put another
 * in its place meanwhile, where the directory above it is not theirs: its name is changed by no link.
 */
static int open_made(const char *dir, int made)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
	int fd = ld_file_open_at(AT_FDCWD, dir, flags, 0);

	if (fd < 0 && made && errno == EACCES && fchmodat(AT_FDCWD, dir, 0700, AT_SYMLINK_NOFOLLOW) == 0)
		fd = ld_file_open_at(AT_FDCWD, dir, flags, 0);
	return fd;
}

int ld_files_open_directory(const struct ld_store *store, struct ld_problems *problems, int *ret_fd)
{
	const char *dir = store->config.dir;
	int made = store->config.create && mkdir(dir, 0700) == 0, rc = 0;
	int fd = open_made(dir, made);

	if (fd < 0) {
		if (errno == ENOENT && !store->config.create)
			return LARDER_MISS;
		ld_problem(problems, "LARDER_DIR=%s: %s", dir, errno == ELOOP || errno == ENOTDIR ? "is a symbolic link or no directory: remove it, or name another" :
		    errno == ENOENT ? "its parent directory does not exist: make it" : strerror(errno));
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? LARDER_E_IO : LARDER_E_REFUSED;
	}
	if (made && ld_file_set_mode(fd, 0700) != 0)
		rc = LARDER_E_IO;
	if (rc == 0 && made && store->config.uid != (uid_t)-1 && fchown(fd, store->config.uid, store->config.gid) != 0) {
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
int ld_files_directory_again(struct ld_store *store, struct ld_problems *problems)
{
	struct stat st;
	int fd, rc;

	if (fstat(store->dir_fd, &st) == 0 && st.st_nlink > 0)
		return 0;
	rc = ld_files_open_directory(store, problems, &fd);
	if (rc != 0)
		return rc;
	rc = dup3(fd, store->dir_fd, O_CLOEXEC) < 0 ? LARDER_E_IO : 0;
	close(fd);
	return rc;
}

/* The whole must fit the file system: what does not fit it when full, fails when it is least wanted. */
int ld_files_check_room(const struct ld_store *store, struct ld_problems *problems)
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

/*
 * A write beyond RLIMIT_FSIZE is a signal, SIGXFSZ, that ends the process, and not an error: so one whose limit is below what the store may grow to, or what
 * making it anew takes, is not let in. Asked at each attach: a child may have a limit of its own.
 */
static int check_limit(const struct ld_store *store, const struct ld_seg_params *params, struct ld_problems *problems)
{
	uint64_t seg_b = ld_seg_size(params), need = params->map_b > seg_b ? params->map_b : seg_b;
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= need)
		return 0;
	ld_problem(problems, "%s: the limit on file sizes (ulimit -f) is below %" PRIu64 "M, the size that the files of the cache may reach: it is %" PRIu64
	    " bytes: raise it, or lower LARDER_SIZE", store->config.dir, (need + 1048575) >> 20, (uint64_t)limit.rlim_cur);
	ld_reason_set(LARDER_REASON_DISK);
	return LARDER_E_FULL;
}

/* ---- making ---- */

/*
 * What a store knew of L2 goes with it: what L2 was not told yet, and what was cleared. So a new one in its place begins with an invalidation time of
 * everything: what L2 has from before it is not given out for as long as that lives there.
 */
static struct ld_env_lost lost_if(int lost, const struct ld_seg_params *params)
{
	if (!lost)
		return (struct ld_env_lost){ 0, 0 };
	return (struct ld_env_lost){ ld_clock_wall_ms(), ld_clock_boot_ms() + (int64_t)params->l2_ttl_max_ms };
}

/*
 * Make store file and segment anew. Under the open lock, with nobody attached to what was there. A segment that is foreign is of another boot, layout or
 * namespace: nothing is promised beyond these. One that is missing while its store file stands was removed under a running host.
 */
static int make_all(struct ld_store *store, struct ld_seg *seg, int was_lost)
{
	struct ld_seg_place sp = ld_files_seg_place(store);
	struct ld_env_place ep = ld_files_env_place(store);
	uint32_t generation = ld_env_clean(&ep, 0, 0) + 1;
	struct ld_env_lost lost = lost_if(was_lost && generation > 1, &store->config.params);
	int rc = generation > UINT16_MAX ? LARDER_E_IO : ld_env_make(&ep, generation, &store->config.params, &lost);

	seg->first_invalid_ms = (uint64_t)lost.wall_ms;

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
	struct ld_seg_place place = ld_files_seg_place(store);
	int rc = ld_seg_attach(seg, &place, problems);

	if (rc != LARDER_MISS && rc != LARDER_STALE)
		return rc;
	if (rc == LARDER_STALE && ld_seg_in_use(seg))
		return refuse_in_use(store, problems);
	rc = make_all(store, seg, rc == LARDER_MISS);
	if (rc == 0)
		LD_LOG(&store->config.log, LARDER_LOG_INFO, "cache_made", NULL, LD_N("size", store->config.params.size_b),);
	return rc;
}

/* Map the segment, making it where it is missing and we may. */
int ld_files_map_segment(struct ld_store *store, struct ld_seg *seg, int64_t end_ms, struct ld_problems *problems)
{
	struct ld_seg_place place = ld_files_seg_place(store);
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
	if (check_limit(store, rc == 0 ? &seg->h->params : &store->config.params, problems) != 0)
		return LARDER_E_FULL;
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

/* ---- opening and making anew ---- */

static int open_env_gated(struct ld_store *store, struct ld_seg *seg, struct ld_env *env, int64_t end_ms,
    struct ld_problems *problems)
{
	struct ld_gate_user user = ld_env_gate_user(seg);
	struct ld_env_place place = ld_files_env_place(store);
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
	struct ld_env_place place = ld_files_env_place(store);
	struct ld_env_lost lost = lost_if(1, &seg->h->params);
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
	rc = next > UINT16_MAX ? LARDER_E_IO : ld_env_make(&place, next, &seg->h->params, &lost);
	LD_POINT(store_remade);
	if (rc != 0)
		return rc;
	atomic_store(&seg->h->used_pages, 0);
	atomic_store(&seg->h->entries, 0);
	atomic_store(&seg->h->negative_b, 0);
	atomic_store(&seg->h->negative_entries, 0);
	atomic_store(&seg->h->counted_ms, 0);
	for (uint32_t i = 0; i < ld_tenants_used(&seg->tenants); i++) {
		atomic_store(&seg->tenants.rows[i].entries, 0);
		atomic_store(&seg->tenants.rows[i].bytes, 0);
	}
	for (uint32_t i = 0; i < LD_SEG_OUTBOX_COUNTS; i++)
		atomic_store(&seg->h->outbox_counts[i], 0);
	ld_invalid_raise(seg, NULL, NULL);
	ld_seq_raise(&seg->h->write_seq, (uint64_t)next << 48);
	/* Everything is to be fetched again: as cold as at the start. */
	ld_limiter_half_until(&seg->limiter, ld_clock_boot_ms() + LD_LIMIT_COLD_MS);
	/* Last: from here on everybody goes over to the new file. */
	atomic_store(&seg->h->file_generation, next);
	forget_scopes(store, seg, (uint64_t)next << 48);
	ld_host_count(seg, LD_HC_stores_remade, 1);
	LD_LOG(&store->config.log, LARDER_LOG_WARN, "store_remade", NULL, LD_T("reason", why), LD_N("generation", next),
	    LD_N("set_aside", aside),);
	return 0;
}

int ld_files_remake(struct ld_store *store, struct ld_seg *seg, uint32_t bad, const char *why, int aside, int64_t end_ms)
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

int ld_files_open_env(struct ld_store *store, struct ld_seg *seg, struct ld_env *env, int64_t end_ms, struct ld_problems *problems)
{
	uint32_t generation = atomic_load(&seg->h->file_generation);
	int rc = open_env_gated(store, seg, env, end_ms, problems);

	if (rc != LARDER_E_CORRUPT)
		return rc;
	rc = ld_files_remake(store, seg, generation, why_of(rc), 1, end_ms);
	return rc == 0 ? open_env_gated(store, seg, env, end_ms, problems) : rc;
}
