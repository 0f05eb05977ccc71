/* SPDX-License-Identifier: MIT */
/*
 * Opening and closing a store: the handle, made in the master, and what is said of it. Called by cache/open.c and the inspector. It must never leave
 * anything attached in the master: what a child inherits it can only abandon.
 *
 * Races: other processes may open the same directory at any time; l1/files.c lets one of them make what is missing. Threads that close while others
 * are inside a call are against the rules: the memory of the handle is then kept.
 */
#include "l1/inside.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/mem.h"
#include "crypto/key.h"

enum { OPEN_BUDGET_MS = 1000, ATTACH_BUDGET_MS = 5000 };

/* The settings that made the segment hold: say so where ours are others. */
static void tell_adopted(const struct ld_store *store)
{
	const struct ld_seg_params *ours = &store->config.params, *theirs = &store->seg.h->params;

	if (ours->size_b != theirs->size_b || ours->max_entries != theirs->max_entries || ours->writable != theirs->writable ||
	    ours->slots != theirs->slots || ours->tenants != theirs->tenants || ours->limit_rows != theirs->limit_rows ||
	    ours->leases != theirs->leases)
		LD_LOG(&store->config.log, LARDER_LOG_WARN, "settings_adopted", NULL, LD_N("size", theirs->size_b), LD_N("wanted_size", ours->size_b),
		    LD_N("max_entries", theirs->max_entries), LD_N("wanted_max_entries", ours->max_entries),);
}

/* Make and check everything once in the master, then let go, so that children inherit as little as can be. */
static int first_attach(struct ld_store *store, struct ld_problems *problems)
{
	int64_t end_ms = ld_clock_boot_ms() + OPEN_BUDGET_MS;
	int rc = ld_process_lock(&store->lock, OPEN_BUDGET_MS);

	if (rc != 0)
		return LARDER_E_BUG;
	ld_seg_init(&store->seg);
	rc = ld_files_map_segment(store, &store->seg, end_ms, problems);
	if (rc == 0) {
		tell_adopted(store);
		store->config.params = store->seg.h->params;
		rc = ld_seg_take_slot(&store->seg, &store->config.self, ld_clock_boot_ms());
	}
	if (rc == 0)
		rc = ld_files_open_env(store, &store->seg, &store->env, end_ms, problems);
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
		rc = ld_files_open_directory(store, problems, &store->dir_fd);
	if (rc == 0 && config->create)
		rc = ld_files_check_room(store, problems);
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

/* Workers are started together and attach one after the other: one that asks for it before its first request has the time for that. */
int ld_store_attach(struct ld_store *store)
{
	int64_t wait_ms = store->config.wait_ms, budget_ms = wait_ms > ATTACH_BUDGET_MS ? wait_ms : ATTACH_BUDGET_MS, now_ms;
	int rc = ld_enter_within(store, &budget_ms, &now_ms);
	MDB_txn *txn;

	if (rc != 0)
		return rc;
	rc = ld_read_begin(store, budget_ms > wait_ms ? budget_ms : wait_ms, &txn);
	if (rc == 0)
		ld_env_read_end(&store->env, txn);
	ld_leave(store);
	return rc;
}

void ld_store_close(struct ld_store *store)
{
	int idle = 0;

	if (!store || store->magic != LD_STORE_MAGIC)
		return;
	ld_keeper_stop(store);
	if (ld_process_lock(&store->lock, OPEN_BUDGET_MS) == 0) {
		idle = ld_store_let_go(store, OPEN_BUDGET_MS) == 0;
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
