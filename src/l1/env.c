/* SPDX-License-Identifier: MIT */
/*
 * Opening, closing and making of LMDB environments; the files themselves are l1/env_files.c's. One switch maps LMDB's errors; whoever opens checks
 * that the file is one of ours, of this generation, and as long as its own header says, before a page of it is touched: a page beyond the end would
 * be a SIGBUS. Called by l1/files.c and l1/store.c; a child must never close here what it inherited.
 */
#include "l1/env.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <larder/larder.h>

#include "base/errors.h"
#include "base/fault.h"
#include "base/file.h"

enum { PATH_SIZE = 4200, TABLES = 4, READER_B = 64, LOCK_HEAD_B = 256 };

/* The row of the main table that says whose store this is. */
static const char IDENTITY_KEY[] = "I";
struct identity {
	uint64_t magic;
	uint32_t layout;
	uint32_t generation;
};

int ld_env_error(int lmdb_code)
{
	switch (lmdb_code) {
	case 0:
		return 0;
	case MDB_NOTFOUND:
		return LARDER_MISS;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
		ld_reason_set(LARDER_REASON_FULL);
		return LARDER_E_FULL;
	case ENOSPC:
	case EDQUOT:
		ld_reason_set(LARDER_REASON_DISK);
		return LARDER_E_FULL;
	case MDB_PAGE_NOTFOUND:
	case MDB_CORRUPTED:
	case MDB_PANIC:
	case MDB_VERSION_MISMATCH:
	case MDB_INVALID:
	case MDB_BAD_TXN:
	case MDB_BAD_DBI:
		return LARDER_E_CORRUPT;
	case MDB_READERS_FULL:
		ld_reason_set(LARDER_REASON_READERS);
		return LARDER_UNAVAILABLE;
	case ENOMEM:
		return LARDER_E_NOMEM;
	case MDB_BAD_VALSIZE:
	case EINVAL:
		return LARDER_E_BUG;
	default:
		return LARDER_E_IO;
	}
}

static unsigned env_flags(const struct ld_seg_params *params)
{
	/* No sync: after a reboot the cache starts empty anyway, and a killed process loses nothing that the kernel has. No MDB_NOMEMINIT: it
	 * would write stale heap bytes into the file. */
	return MDB_NOSUBDIR | MDB_NOTLS | MDB_NOSYNC | MDB_NORDAHEAD | (params->writable ? MDB_WRITEMAP : 0);
}

static int create_env(const struct ld_seg_params *params, MDB_env **ret_env)
{
	int rc = mdb_env_create(ret_env);

	if (rc == 0)
		rc = mdb_env_set_mapsize(*ret_env, params->map_b);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(*ret_env, params->readers);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(*ret_env, TABLES);
	return rc;
}

/* LMDB takes a path only. Where the directory cannot be reached by its path any more (chroot), its descriptor may do. */
static int open_by_path(MDB_env *env, const struct ld_env_place *place, const char *name, unsigned flags)
{
	struct ld_file_low low;
	char path[PATH_SIZE];
	struct stat st;
	int rc;

	snprintf(path, sizeof(path), "%s/%s", place->dir, name);
	if (stat(path, &st) != 0)
		snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", place->dir_fd, name);
	ld_file_low_hold(&low);
	rc = mdb_env_open(env, path, flags, 0600);
	ld_file_low_release(&low);
	return rc;
}

/*
 * A process of user 0 that opens in another user's directory goes there with that user's rights: a link that is put in the way after the files were checked
 * then leads nowhere that the user could not go without us. setfsuid(2) is of this thread alone.
 */
static int open_path(MDB_env *env, const struct ld_env_place *place, const char *name, unsigned flags)
{
	int as_owner = place->uid != (uid_t)-1 && geteuid() == 0, rc;
	int gid = as_owner ? setfsgid(place->gid) : 0, uid = as_owner ? setfsuid(place->uid) : 0;

	rc = open_by_path(env, place, name, flags);
	if (as_owner) {
		setfsuid((uid_t)uid);
		setfsgid((gid_t)gid);
	}
	return rc;
}

/* In a full reader table, a dead process's place will do: nobody else may be left to look for the dead. With the read gate. */
static int begin_read(struct ld_env *env, MDB_txn **ret_txn)
{
	int dead = 0, rc = mdb_txn_begin(env->lmdb, NULL, MDB_RDONLY, ret_txn);

	if (rc == MDB_READERS_FULL && mdb_reader_check(env->lmdb, &dead) == 0 && dead > 0)
		rc = mdb_txn_begin(env->lmdb, NULL, MDB_RDONLY, ret_txn);
	return rc;
}

/*
 * The order of keys: memcmp's, a shorter one first, as LMDB's own is, eight bytes at a time and without a call. Half of a look-up is comparisons, and
 * ours differ early: behind the tenant comes a digest.
 */
static int compare_keys(const MDB_val *a, const MDB_val *b)
{
	const unsigned char *x = a->mv_data, *y = b->mv_data;
	size_t len = a->mv_size < b->mv_size ? a->mv_size : b->mv_size, at = 0;

	for (; at + 8 <= len; at += 8) {
		uint64_t left, right;

		memcpy(&left, x + at, 8);
		memcpy(&right, y + at, 8);
		if (left != right)
			return be64toh(left) < be64toh(right) ? -1 : 1;
	}
	for (; at < len; at++)
		if (x[at] != y[at])
			return x[at] < y[at] ? -1 : 1;
	return a->mv_size < b->mv_size ? -1 : a->mv_size > b->mv_size;
}

static int open_tables(struct ld_env *env, unsigned flags)
{
	MDB_txn *txn;
	int rc = flags & MDB_CREATE ? mdb_txn_begin(env->lmdb, NULL, 0, &txn) : begin_read(env, &txn);

	if (rc != 0)
		return rc;
	rc = mdb_dbi_open(txn, NULL, 0, &env->main);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "entries", flags, &env->entries);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "chunks", flags, &env->chunks);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "outbox", flags, &env->outbox);
	if (rc == 0)
		rc = mdb_set_compare(txn, env->entries, compare_keys);
	if (rc == 0)
		rc = mdb_set_compare(txn, env->outbox, compare_keys);
	if (rc != 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

static int write_identity(struct ld_env *env, uint32_t generation, const struct ld_env_lost *lost)
{
	struct identity identity = { LD_SEG_MAGIC, LD_SEG_LAYOUT, generation };
	MDB_val key = { sizeof(IDENTITY_KEY), (void *)(uintptr_t)IDENTITY_KEY }, data = { sizeof(identity), &identity };
	MDB_txn *txn;
	int rc = mdb_txn_begin(env->lmdb, NULL, 0, &txn);

	if (rc != 0)
		return rc;
	rc = mdb_put(txn, env->main, &key, &data, 0);
	if (rc == 0 && lost->wall_ms != 0) {
		/* As l1/invalid.c writes it, for everything. */
		key = (MDB_val){ 1, (void *)(uintptr_t)"V" };
		data = (MDB_val){ sizeof(*lost), (void *)(uintptr_t)lost };
		rc = mdb_put(txn, env->main, &key, &data, 0);
	}
	if (rc != 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

int ld_env_make(const struct ld_env_place *place, uint32_t generation, const struct ld_seg_params *params, const struct ld_env_lost *lost)
{
	struct ld_env env = { .generation = generation };
	char name[LD_ENV_NAME_SIZE];
	uint64_t lock_b = (LOCK_HEAD_B + (uint64_t)params->readers * READER_B + LD_PAGE - 1) / LD_PAGE * LD_PAGE;
	int rc;

	ld_env_lock_name(place->name, generation, name);
	rc = ld_env_make_file(place, name, O_CREAT | O_EXCL, lock_b);
	ld_env_data_name(place->name, generation, name);
	if (rc == 0)
		rc = ld_env_make_file(place, name, O_CREAT | O_EXCL, 0);
	if (rc != 0)
		return rc;
	LD_POINT(store_made_files);
	rc = create_env(params, &env.lmdb);
	if (rc == 0)
		rc = open_path(env.lmdb, place, name, env_flags(params) & ~(unsigned)MDB_WRITEMAP);
	if (rc == 0)
		rc = open_tables(&env, MDB_CREATE);
	LD_POINT(store_made_tables);
	if (rc == 0)
		rc = write_identity(&env, generation, lost);
	if (env.lmdb)
		mdb_env_close(env.lmdb);
	rc = ld_env_error(rc);
	/* Only now: LMDB takes a file that is not empty for a store, and this one shall be whole before anybody maps it writable. */
	return rc == 0 && params->writable ? ld_env_make_file(place, name, 0, params->map_b) : rc;
}

static int check_length(struct ld_env *env)
{
	MDB_envinfo info;
	struct stat st;

	if (mdb_env_info(env->lmdb, &info) != 0 || mdb_env_get_fd(env->lmdb, &env->data_fd) != 0 || fstat(env->data_fd, &st) != 0)
		return LARDER_E_IO;
	env->map = info.me_mapaddr;
	env->map_size = info.me_mapsize;
	return (uint64_t)st.st_size >= ((uint64_t)info.me_last_pgno + 1) * LD_PAGE ? 0 : LARDER_E_CORRUPT;
}

static int check_identity(struct ld_env *env)
{
	MDB_val key = { sizeof(IDENTITY_KEY), (void *)(uintptr_t)IDENTITY_KEY }, data;
	struct identity identity;
	MDB_stat stat;
	MDB_txn *txn;
	int rc = begin_read(env, &txn);

	if (rc != 0)
		return ld_env_error(rc);
	rc = mdb_get(txn, env->main, &key, &data);
	if (rc == 0 && data.mv_size == sizeof(identity)) {
		memcpy(&identity, data.mv_data, sizeof(identity));
		if (identity.magic != LD_SEG_MAGIC || identity.layout != LD_SEG_LAYOUT || identity.generation != env->generation)
			rc = MDB_INVALID;
	} else {
		rc = MDB_INVALID;
	}
	if (rc == 0 && (mdb_stat(txn, env->main, &stat) != 0 || stat.ms_psize != LD_PAGE))
		rc = MDB_INVALID;
	mdb_txn_abort(txn);
	return ld_env_error(rc);
}

int ld_env_open(struct ld_env *env, const struct ld_env_place *place, uint32_t generation, const struct ld_seg_params *params,
    struct ld_problems *problems)
{
	char name[LD_ENV_NAME_SIZE];
	int rc;

	memset(env, 0, sizeof(*env));
	env->generation = generation;
	env->base_seq = (uint64_t)generation << 48;
	ld_env_data_name(place->name, generation, name);
	rc = ld_env_check_files(place, env, problems);
	if (rc != 0)
		return rc;
	LD_POINT(store_opening);
	rc = ld_env_error(create_env(params, &env->lmdb));
	if (rc == 0)
		rc = ld_env_error(open_path(env->lmdb, place, name, env_flags(params)));
	if (rc == 0)
		rc = check_length(env);
	if (rc == 0) {
		rc = ld_env_error(open_tables(env, 0));
		rc = rc == LARDER_MISS ? LARDER_E_CORRUPT : rc;
	}
	if (rc == 0)
		rc = check_identity(env);
	if (rc != 0)
		ld_env_close(env);
	return rc;
}

/* A thread that takes one while we are away puts it back as soon as it has seen that (l1/store.c): to be waited for, it is some instructions. */
static void close_pooled(_Atomic uintptr_t *place)
{
	uintptr_t word = atomic_load(place);

	while (word != 0) {
		if (word & LD_ENV_TAKEN) {
			sched_yield();
			word = atomic_load(place);
		} else if (atomic_compare_exchange_strong(place, &word, 0)) {
			mdb_txn_abort((MDB_txn *)word);
			return;
		}
	}
}

void ld_env_close(struct ld_env *env)
{
	for (unsigned i = 0; i < LD_ENV_POOL; i++)
		close_pooled(&env->pool[i]);
	if (env->lmdb)
		mdb_env_close(env->lmdb);
	memset(env, 0, sizeof(*env));
}

void ld_env_abandon(struct ld_env *env)
{
	if (env->map)
		munmap(env->map, env->map_size);
	if (env->lmdb)
		close(env->data_fd);
	memset(env, 0, sizeof(*env));
}

int ld_env_is_whole(const struct ld_env *env, const struct ld_env_place *place)
{
	char name[LD_ENV_NAME_SIZE];
	MDB_envinfo info;
	struct stat st;

	ld_env_data_name(place->name, env->generation, name);
	/* In this order: a writer makes the file longer before it says so, and may do both at any time. */
	if (mdb_env_info(env->lmdb, &info) != 0)
		return 0;
	if (fstatat(place->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		/* A directory that cannot be looked at (chroot, seccomp) is no sign of a missing file. */
		return errno != ENOENT;
	if (st.st_ino != env->ino || st.st_dev != env->dev)
		return 0;
	return (uint64_t)st.st_size >= ((uint64_t)info.me_last_pgno + 1) * LD_PAGE;
}
