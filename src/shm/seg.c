/* SPDX-License-Identifier: MIT */
/*
 * Making, mapping and leaving the segment file. It never waits for another process but in ld_seg_lock_open(), with a limit, and never trusts
 * what it maps before the header has been checked against this boot, this layout and these namespaces.
 *
 * Killed while making one: NAME.seg.new is left, unlocked; the next maker unlinks it. Killed after rename(2): the segment is whole.
 * Stopped while making one: the open lock is held; others that find no segment give up after their budget and try again later, those that find
 * one never need the lock.
 */
#include "shm/seg.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <larder/larder.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/process.h"

enum { FILE_NAME_MAX = 64, LOCK_POLL_MS = 2 };

static void file_name(const struct ld_seg_place *place, const char *suffix, char ret_name[FILE_NAME_MAX])
{
	snprintf(ret_name, FILE_NAME_MAX, "%s.%s", place->name, suffix);
}

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* Where each part lies; returns the size of the whole. */
static uint64_t plan(const struct ld_seg_params *params, struct ld_seg_header *h)
{
	uint64_t at = round_up(sizeof(*h), 4096);

	h->sketch_lines = ld_sketch_lines(params->capacity);
	h->slots_at = at;
	at += params->slots * sizeof(struct ld_slot);
	h->tenants_at = at = round_up(at, 128);
	at += params->tenants * sizeof(struct ld_tenant_row);
	h->tenant_index_at = at = round_up(at, 128);
	at += ld_tenants_index_size(params->tenants) * sizeof(uint64_t);
	h->scopes_at = at = round_up(at, 128);
	at += (uint64_t)LD_SCOPE_SETS * LD_SCOPE_WAYS * sizeof(struct ld_scope);
	h->barriers_at = at = round_up(at, 128);
	at += LD_BARRIERS * sizeof(uint64_t);
	h->stamps_at = at;
	at += LD_BARRIERS * sizeof(uint64_t);
	h->barrier_walls_at = at;
	at += LD_BARRIERS * sizeof(uint64_t);
	h->l2_scopes_at = at;
	at += (uint64_t)LD_SCOPE_SETS * LD_SCOPE_WAYS * sizeof(struct ld_scope);
	h->tags_at = at = round_up(at, 128);
	at += LD_TAG_WORDS * sizeof(uint64_t);
	h->tag_walls_at = at;
	at += LD_TAG_WORDS * sizeof(uint64_t);
	h->breakers_at = at = round_up(at, 128);
	at += LD_SEG_BREAKERS * sizeof(struct ld_breaker_row);
	h->sketch_at = at = round_up(at, 128);
	at += h->sketch_lines * 64;
	h->limiter_at = at = round_up(at, 128);
	at += ld_limiter_size(params->limit_rows);
	h->leases_at = at = round_up(at, 128);
	at += ld_lease_size(params->leases);
	h->wanted_at = at = round_up(at, 128);
	at += sizeof(struct ld_wanted);
	h->unanswered_at = at = round_up(at, 128);
	at += sizeof(struct ld_unanswered);
	return round_up(at, 4096);
}

uint64_t ld_seg_size(const struct ld_seg_params *params)
{
	struct ld_seg_header h;

	return plan(params, &h);
}

static void point_into(struct ld_seg *seg)
{
	struct ld_seg_header *h = seg->h;
	char *base = (char *)h;

	seg->slots = (struct ld_slot *)(base + h->slots_at);
	seg->tenants = (struct ld_tenants){ (struct ld_tenant_row *)(base + h->tenants_at), (_Atomic uint64_t *)(base + h->tenant_index_at),
		&h->tenants_taken, h->params.tenants, ld_tenants_index_size(h->params.tenants) };
	seg->scopes = (struct ld_scope *)(base + h->scopes_at);
	seg->barriers = (_Atomic uint64_t *)(base + h->barriers_at);
	seg->tags = (_Atomic uint64_t *)(base + h->tags_at);
	seg->tag_walls = (_Atomic uint64_t *)(base + h->tag_walls_at);
	seg->breakers = (struct ld_breakers){ (struct ld_breaker_row *)(base + h->breakers_at), LD_SEG_BREAKERS };
	seg->stamps = (_Atomic uint64_t *)(base + h->stamps_at);
	seg->barrier_walls = (_Atomic uint64_t *)(base + h->barrier_walls_at);
	seg->l2_scopes = (struct ld_scope *)(base + h->l2_scopes_at);
	seg->sketch.words = (_Atomic uint64_t *)(base + h->sketch_at);
	seg->sketch.line_mask = h->sketch_lines - 1;
	seg->limiter = (struct ld_limiter){ (struct ld_limiter_head *)(base + h->limiter_at),
		(struct ld_limiter_set *)(base + h->limiter_at + sizeof(struct ld_limiter_head)), ld_limiter_sets(h->params.limit_rows) };
	seg->leases = (struct ld_leases){ (struct ld_lease_row *)(base + h->leases_at), ld_lease_sets(h->params.leases) };
	seg->wanted = (struct ld_wanted *)(base + h->wanted_at);
	seg->unanswered = (struct ld_unanswered *)(base + h->unanswered_at);
}

void ld_seg_init(struct ld_seg *seg)
{
	memset(seg, 0, sizeof(*seg));
	seg->fd = seg->lock_fd = -1;
	seg->slot = -1;
}

/* Ours to use: a regular file of the directory's owner, one link, nobody else may read it. */
static int check_file(int fd, const struct ld_seg_place *place, const char *name, struct stat *ret_st, struct ld_problems *problems)
{
	struct stat dir;

	if (fstat(fd, ret_st) != 0 || fstat(place->dir_fd, &dir) != 0)
		return LARDER_E_IO;
	if (S_ISREG(ret_st->st_mode) && ret_st->st_uid == dir.st_uid && (ret_st->st_mode & 077) == 0 && ret_st->st_nlink <= 1)
		return 0;
	ld_problem(problems, "%s: not a private file of the directory's owner (mode %04o, uid %u, %u links): remove it", name,
	    (unsigned)(ret_st->st_mode & 07777), (unsigned)ret_st->st_uid, (unsigned)ret_st->st_nlink);
	return LARDER_E_REFUSED;
}

static int open_file(const struct ld_seg_place *place, const char *name, int flags, struct stat *ret_st,
    struct ld_problems *problems, int *ret_fd)
{
	int base = O_RDWR | O_NOFOLLOW | O_NONBLOCK, made = 0, fd = -1, rc;

	/* Only what we made is given away: a file that was there may be a link to somebody else's. Its mode is that of the umask until we say. */
	if (flags & O_CREAT) {
		fd = ld_file_open_at(place->dir_fd, name, base | O_CREAT | O_EXCL, 0600);
		made = fd >= 0;
	}
	if (fd < 0 && !(flags & O_EXCL))
		fd = ld_file_open_at(place->dir_fd, name, base, 0);
	if (fd < 0) {
		if (errno == ENOENT)
			return LARDER_MISS;
		ld_problem(problems, "%s: %s", name, errno == ELOOP ? "is a symbolic link: remove it" : strerror(errno));
		return errno == ELOOP || errno == EACCES || errno == EPERM ? LARDER_E_REFUSED : LARDER_E_IO;
	}
	if (made && (ld_file_set_mode(fd, 0600) != 0 || (place->uid != (uid_t)-1 && fchown(fd, place->uid, place->gid) != 0))) {
		close(fd);
		return LARDER_E_IO;
	}
	rc = check_file(fd, place, name, ret_st, problems);
	if (rc != 0) {
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

/* Is this header of this boot, layout, namespaces and lock file, and does it describe the file's size? */
static int is_ours(const struct ld_seg_header *h, uint64_t file_size, const struct ld_seg_place *place)
{
	struct ld_seg_header planned;
	unsigned char boot[16];
	struct stat lock;
	char name[FILE_NAME_MAX];

	if (h->magic != LD_SEG_MAGIC || h->layout != LD_SEG_LAYOUT || h->header_size != sizeof(*h) || h->total_size != file_size)
		return 0;
	if (h->params.slots == 0 || h->params.slots > 65535 || h->params.tenants < 2 || h->params.tenants > 65535 ||
	    h->params.capacity > UINT64_C(1) << 40)
		return 0;
	if (plan(&h->params, &planned) != file_size || planned.slots_at != h->slots_at || planned.tenants_at != h->tenants_at ||
	    planned.tenant_index_at != h->tenant_index_at ||
	    planned.scopes_at != h->scopes_at || planned.barriers_at != h->barriers_at || planned.stamps_at != h->stamps_at ||
	    planned.barrier_walls_at != h->barrier_walls_at || planned.l2_scopes_at != h->l2_scopes_at ||
	    planned.tags_at != h->tags_at || planned.tag_walls_at != h->tag_walls_at || planned.breakers_at != h->breakers_at ||
	    planned.sketch_at != h->sketch_at || planned.sketch_lines != h->sketch_lines || planned.limiter_at != h->limiter_at ||
	    planned.leases_at != h->leases_at || planned.wanted_at != h->wanted_at || planned.unanswered_at != h->unanswered_at)
		return 0;
	if (ld_clock_boot_id(boot) != 0 || memcmp(boot, h->boot_id, sizeof(boot)) != 0)
		return 0;
	if (h->pid_ns != ld_process_namespace("pid") || h->time_ns != ld_process_namespace("time"))
		return 0;
	file_name(place, "lock", name);
	return fstatat(place->dir_fd, name, &lock, AT_SYMLINK_NOFOLLOW) == 0 && lock.st_ino == h->lock_ino && lock.st_dev == h->lock_dev;
}

int ld_seg_attach(struct ld_seg *seg, const struct ld_seg_place *place, struct ld_problems *problems)
{
	char name[FILE_NAME_MAX];
	struct stat st;
	void *map;
	int fd, rc;

	file_name(place, "seg", name);
	rc = open_file(place, name, 0, &st, problems, &fd);
	if (rc != 0)
		return rc;
	if (st.st_size < (off_t)sizeof(struct ld_seg_header)) {
		close(fd);
		return LARDER_STALE;
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		close(fd);
		return LARDER_E_NOMEM;
	}
	if (!is_ours(map, (uint64_t)st.st_size, place)) {
		munmap(map, (size_t)st.st_size);
		close(fd);
		return LARDER_STALE;
	}
	seg->h = map;
	seg->size = (size_t)st.st_size;
	seg->fd = fd;
	point_into(seg);
	return 0;
}

int ld_seg_open_lock(struct ld_seg *seg, const struct ld_seg_place *place, struct ld_problems *problems)
{
	char name[FILE_NAME_MAX];
	struct stat st;

	if (seg->lock_fd >= 0)
		return 0;
	file_name(place, "lock", name);
	return open_file(place, name, O_CREAT, &st, problems, &seg->lock_fd);
}

static int set_lock(int fd, short type, off_t byte)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return fcntl(fd, F_SETLK, &lock);
}

int ld_seg_lock_open(struct ld_seg *seg, int64_t budget_ms)
{
	int64_t end_ms = ld_clock_boot_ms() + budget_ms;
	const struct timespec pause = { 0, LOCK_POLL_MS * 1000000L };

	while (set_lock(seg->lock_fd, F_WRLCK, LD_LOCK_OPEN) != 0) {
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return LARDER_E_IO;
		if (ld_clock_boot_ms() >= end_ms)
			return LARDER_UNAVAILABLE;
		/* Record locks can be waited for without a limit only: look again. */
		nanosleep(&pause, NULL);
	}
	return 0;
}

void ld_seg_unlock_open(struct ld_seg *seg)
{
	set_lock(seg->lock_fd, F_UNLCK, LD_LOCK_OPEN);
}

int ld_seg_in_use(const struct ld_seg *seg)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LD_LOCK_IN_USE, .l_len = 1 };

	return fcntl(seg->lock_fd, F_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

static int fill_header(struct ld_seg *seg, const struct ld_seg_place *place, const struct ld_seg_params *params, uint32_t generation)
{
	struct ld_seg_header *h = seg->h;
	struct stat lock;
	char name[FILE_NAME_MAX];

	file_name(place, "lock", name);
	if (fstatat(place->dir_fd, name, &lock, AT_SYMLINK_NOFOLLOW) != 0 || ld_clock_boot_id(h->boot_id) != 0)
		return LARDER_E_IO;
	h->magic = LD_SEG_MAGIC;
	h->layout = LD_SEG_LAYOUT;
	h->header_size = sizeof(*h);
	h->total_size = plan(params, h);
	h->pid_ns = ld_process_namespace("pid");
	h->time_ns = ld_process_namespace("time");
	h->lock_dev = lock.st_dev;
	h->lock_ino = lock.st_ino;
	h->made_ms = ld_clock_boot_ms();
	h->made_wall_ms = ld_clock_wall_ms();
	h->params = *params;
	atomic_store(&h->file_generation, generation);
	/* Marks that are raised before the first write are of this file already. */
	atomic_store(&h->write_seq, (uint64_t)generation << 48);
	if (seg->first_invalid_ms != 0) {
		atomic_store(&h->l2_raised_ms, (uint64_t)h->made_ms);
		atomic_store(&h->l2_invalid_ms, seg->first_invalid_ms);
	}
	/* A new segment is a cold host. */
	point_into(seg);
	ld_limiter_half_until(&seg->limiter, h->made_ms + LD_LIMIT_COLD_MS);
	return 0;
}

int ld_seg_make(struct ld_seg *seg, const struct ld_seg_place *place, const struct ld_seg_params *params, uint32_t first_generation)
{
	char name[FILE_NAME_MAX], made[FILE_NAME_MAX];
	uint64_t size = ld_seg_size(params);
	int fd = -1, rc;
	struct stat st;

	file_name(place, "seg", name);
	file_name(place, "seg.new", made);
	unlinkat(place->dir_fd, made, 0);
	rc = open_file(place, made, O_CREAT | O_EXCL, &st, &(struct ld_problems){ 0 }, &fd);
	if (rc != 0)
		return rc < 0 ? rc : LARDER_E_IO;
	LD_POINT(seg_made_file);
	rc = LD_FAULT(seg_allocate) ? LARDER_E_FULL : 0;
	if (rc == 0 && posix_fallocate(fd, 0, (off_t)size) != 0)
		rc = LARDER_E_FULL;
	if (rc == 0) {
		seg->h = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (seg->h == MAP_FAILED) {
			seg->h = NULL;
			rc = LARDER_E_NOMEM;
		}
	}
	if (rc == 0)
		rc = fill_header(seg, place, params, first_generation);
	LD_POINT(seg_before_rename);
	if (rc == 0 && renameat(place->dir_fd, made, place->dir_fd, name) != 0)
		rc = LARDER_E_IO;
	LD_POINT(seg_after_rename);
	if (rc != 0) {
		if (seg->h)
			munmap(seg->h, size);
		seg->h = NULL;
		close(fd);
		unlinkat(place->dir_fd, made, 0);
		return rc;
	}
	seg->size = size;
	seg->fd = fd;
	point_into(seg);
	return 0;
}

static void let_go(struct ld_seg *seg)
{
	if (seg->h)
		munmap(seg->h, seg->size);
	if (seg->fd >= 0)
		close(seg->fd);
	if (seg->lock_fd >= 0)
		close(seg->lock_fd);
	ld_seg_init(seg);
}

void ld_seg_detach(struct ld_seg *seg)
{
	if (seg->h && seg->slot >= 0) {
		struct ld_slot *slot = &seg->slots[seg->slot];

		/* Killed from here on: the slot looks dead, which it is. */
		atomic_store(&slot->live, 0);
		atomic_store_explicit(&slot->pid, 0, memory_order_relaxed);
	}
	let_go(seg);
}

void ld_seg_abandon(struct ld_seg *seg)
{
	let_go(seg);
}

int ld_seg_is_gone(const struct ld_seg *seg)
{
	struct stat st;

	return fstat(seg->fd, &st) != 0 || st.st_nlink == 0;
}
