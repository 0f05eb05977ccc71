/* SPDX-License-Identifier: MIT */
/*
 * The files of an environment: NAME.G.mdb and NAME.G.mdb-lock for generation G. A new store has a new generation and so new names; processes that
 * have the old one open go on undisturbed until they notice.
 *
 * No LMDB here: names, room, who owns a file, and the removal of those of other generations. Called by l1/env.c, and by l1/files.c under the open
 * lock. It must never follow a link, nor let LMDB open what is not private.
 */
#include "l1/env.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <larder/larder.h>

#include "base/file.h"

void ld_env_data_name(const char *name, uint32_t generation, char ret[LD_ENV_NAME_SIZE])
{
	snprintf(ret, LD_ENV_NAME_SIZE, "%s.%" PRIu32 ".mdb", name, generation);
}

void ld_env_lock_name(const char *name, uint32_t generation, char ret[LD_ENV_NAME_SIZE])
{
	snprintf(ret, LD_ENV_NAME_SIZE, "%s.%" PRIu32 ".mdb-lock", name, generation);
}

int ld_env_make_file(const struct ld_env_place *place, const char *name, int create, uint64_t size)
{
	int fd = ld_file_open_at(place->dir_fd, name, O_RDWR | create | O_NOFOLLOW, 0600);
	struct stat st;
	int rc = 0;

	if (fd < 0)
		return LARDER_E_IO;
	/* What stands there may have become a link to somebody else's file since we made it. */
	if (!create && (fstat(fd, &st) != 0 || st.st_nlink != 1))
		rc = LARDER_E_IO;
	/* Whatever the umask left of its mode. */
	if (create && (ld_file_set_mode(fd, 0600) != 0 || (place->uid != (uid_t)-1 && fchown(fd, place->uid, place->gid) != 0)))
		rc = LARDER_E_IO;
	if (rc == 0 && size > 0 && posix_fallocate(fd, 0, (off_t)size) != 0)
		rc = LARDER_E_FULL;
	close(fd);
	return rc;
}

/* Private and ours, no link of any kind. */
static int check_private(const struct ld_env_place *place, const char *name, struct stat *ret_st, struct ld_problems *problems)
{
	struct stat dir;

	if (fstatat(place->dir_fd, name, ret_st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? LARDER_E_CORRUPT : LARDER_E_IO;
	if (fstat(place->dir_fd, &dir) != 0)
		return LARDER_E_IO;
	if (S_ISREG(ret_st->st_mode) && ret_st->st_uid == dir.st_uid && (ret_st->st_mode & 077) == 0 && ret_st->st_nlink == 1)
		return 0;
	ld_problem(problems, "%s: not a private file of the directory's owner: remove it", name);
	return LARDER_E_REFUSED;
}

int ld_env_check_files(const struct ld_env_place *place, struct ld_env *env, struct ld_problems *problems)
{
	char name[LD_ENV_NAME_SIZE];
	struct stat st;
	int rc;

	ld_env_lock_name(place->name, env->generation, name);
	rc = check_private(place, name, &st, problems);
	ld_env_data_name(place->name, env->generation, name);
	if (rc == 0)
		rc = check_private(place, name, &st, problems);
	if (rc != 0)
		return rc;
	/* LMDB would take an empty file for a new store. */
	if (st.st_size < 2 * LD_PAGE)
		return LARDER_E_CORRUPT;
	env->dev = st.st_dev;
	env->ino = st.st_ino;
	return 0;
}

/* The generation in "NAME.G.mdb" or "NAME.G.mdb-lock"; 0 when it is neither. */
static uint32_t generation_of(const char *file, const char *name)
{
	size_t len = strlen(name);
	unsigned long long generation;
	char *end;

	if (strncmp(file, name, len) != 0 || file[len] != '.' || file[len + 1] < '1' || file[len + 1] > '9')
		return 0;
	generation = strtoull(file + len + 1, &end, 10);
	if (generation > UINT16_MAX || (strcmp(end, ".mdb") != 0 && strcmp(end, ".mdb-lock") != 0))
		return 0;
	return (uint32_t)generation;
}

static void set_aside(const struct ld_env_place *place, const char *file)
{
	char bad[LD_ENV_NAME_SIZE];

	snprintf(bad, sizeof(bad), "%s.bad.mdb", place->name);
	if (renameat(place->dir_fd, file, place->dir_fd, bad) != 0)
		unlinkat(place->dir_fd, file, 0);
}

uint32_t ld_env_clean(const struct ld_env_place *place, uint32_t keep, uint32_t aside)
{
	int fd = ld_file_open_at(place->dir_fd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	uint32_t highest = 0;
	struct dirent *row;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while ((row = readdir(dir)) != NULL) {
		uint32_t generation = generation_of(row->d_name, place->name);

		if (generation > highest)
			highest = generation;
		if (generation == 0 || generation == keep)
			continue;
		if (generation == aside && strstr(row->d_name, "-lock") == NULL)
			set_aside(place, row->d_name);
		else
			unlinkat(place->dir_fd, row->d_name, 0);
	}
	closedir(dir);
	return highest;
}
