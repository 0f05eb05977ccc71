/* SPDX-License-Identifier: MIT */
/*
 * Which stores this process has open. One directory and name is opened once, however often it is asked for: POSIX record locks, which our slots and
 * LMDB both rest on, are dropped when any descriptor of the file is closed in the process.
 *
 * The list is the only global state of the library. It is inherited by fork, as the handles are; the lock can be taken by a child whose parent had
 * it locked in another thread.
 */
#include "cache/handle.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/process.h"

enum { LOCK_MS = 5000 };

static struct ld_process_lock lock;
static struct ld_shared *list;

int ld_registry_lock(void)
{
	return ld_process_lock(&lock, LOCK_MS);
}

void ld_registry_unlock(void)
{
	ld_process_unlock(&lock);
}

struct ld_shared *ld_registry_find(const char *dir, const char *name)
{
	struct ld_shared *shared;
	struct stat st;

	if (stat(dir, &st) != 0)
		return NULL;
	for (shared = list; shared; shared = shared->next)
		if (shared->dev == st.st_dev && shared->ino == st.st_ino && strcmp(shared->name, name) == 0)
			return shared;
	return NULL;
}

struct ld_shared *ld_registry_of_cache(const larder *cache)
{
	struct ld_shared *shared = list;

	while (shared && shared->cache != cache)
		shared = shared->next;
	return shared;
}

static int add(const struct ld_store_config *config, struct ld_store *store, struct ld_shared **ret_shared)
{
	struct ld_shared *shared = ld_calloc(1, sizeof(*shared));
	struct stat st;

	if (!shared || stat(config->dir, &st) != 0) {
		free(shared);
		return shared ? LARDER_E_IO : LARDER_E_NOMEM;
	}
	shared->dev = st.st_dev;
	shared->ino = st.st_ino;
	strncpy(shared->name, config->name, sizeof(shared->name) - 1);
	shared->store = store;
	shared->next = list;
	list = shared;
	*ret_shared = shared;
	return 0;
}

int ld_registry_use(const struct ld_store_config *config, struct ld_shared **ret_shared, struct ld_problems *problems)
{
	struct ld_shared *shared = ld_registry_find(config->dir, config->name);
	struct ld_store *store;
	int rc;

	if (shared) {
		ld_store_promote(shared->store, config);
		shared->store_users++;
		*ret_shared = shared;
		return 0;
	}
	rc = ld_store_open(config, &store, problems);
	if (rc != 0)
		return rc;
	rc = add(config, store, &shared);
	if (rc != 0) {
		ld_store_close(store);
		return rc;
	}
	shared->store_users = 1;
	*ret_shared = shared;
	return 0;
}

void ld_registry_drop(struct ld_store *store)
{
	struct ld_shared **at = &list, *shared;

	while (*at && (*at)->store != store)
		at = &(*at)->next;
	shared = *at;
	if (!shared || --shared->store_users > 0)
		return;
	*at = shared->next;
	ld_store_close(store);
	free(shared);
}
