/* SPDX-License-Identifier: MIT */
/*
 * Figures for tools and for larder_get_stats(): counters, fill, slots, readers. Only reads, but for the reset of counters and the switch. No
 * figure is exact against another: each is read while the others move.
 */
#include "l1/inside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/mem.h"
#include "base/process.h"

static void add_row(struct ld_tallies *to, const struct ld_tenant_row *row)
{
	for (unsigned c = 0; c < LD_TENANT_COUNTERS; c++)
		to->tenant[c] += ld_tenant_counted(row, (enum ld_tenant_counter)c);
}

static void tally_all(const struct ld_seg *seg, struct ld_tallies *to)
{
	for (uint32_t i = 0; i < ld_tenants_used(&seg->tenants); i++)
		add_row(to, &seg->tenants.rows[i]);
	for (unsigned c = 0; c < LD_HOST_COUNTERS; c++)
		to->host[c] = atomic_load_explicit(&seg->h->host_counters[c], memory_order_relaxed);
	to->entries = atomic_load(&seg->h->entries);
	to->used_b = atomic_load(&seg->h->used_pages) * LD_PAGE;
	to->size_b = seg->h->params.size_b;
}

static void tally_tenant(const struct ld_tenant_row *row, struct ld_tallies *to)
{
	add_row(to, row);
	to->entries = atomic_load(&row->entries);
	to->used_b = atomic_load(&row->bytes);
	to->size_b = atomic_load(&row->quota_b);
}

int ld_store_tallies(struct ld_store *store, const struct ld_key *key, struct ld_tallies *ret_tallies)
{
	int64_t now_ms;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return rc;
	memset(ret_tallies, 0, sizeof(*ret_tallies));
	if (key)
		tally_tenant(ld_tenant_of(store, key), ret_tallies);
	else
		tally_all(&store->seg, ret_tallies);
	ld_leave(store);
	return 0;
}

int ld_store_tally_reset(struct ld_store *store)
{
	int64_t now_ms;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return rc;
	for (uint32_t i = 0; i < ld_tenants_used(&store->seg.tenants); i++)
		for (unsigned s = 0; s < LD_STRIPES; s++)
			for (unsigned c = 0; c < LD_TENANT_COUNTERS; c++)
				atomic_store_explicit(&store->seg.tenants.rows[i].counters[s][c], 0, memory_order_relaxed);
	for (unsigned c = 0; c < LD_HOST_COUNTERS; c++)
		atomic_store_explicit(&store->seg.h->host_counters[c], 0, memory_order_relaxed);
	atomic_store(&store->seg.h->accesses_halved, 0);
	ld_leave(store);
	return 0;
}

int ld_store_tenants(struct ld_store *store, ld_tenant_fn fn, void *ctx)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0; i++) {
		struct ld_tallies tallies;
		char name[LARDER_TENANT_MAX + 1] = "";
		uint64_t quota_b = 0;
		uint32_t max;
		int64_t now_ms;

		rc = ld_enter(store, store->config.wait_ms, &now_ms);
		if (rc != 0)
			return rc;
		max = ld_tenants_used(&store->seg.tenants);
		memset(&tallies, 0, sizeof(tallies));
		if (i < max && i > 0 && atomic_load_explicit(&store->seg.tenants.rows[i].ready, memory_order_acquire)) {
			memcpy(name, store->seg.tenants.rows[i].name, sizeof(name));
			quota_b = atomic_load(&store->seg.tenants.rows[i].quota_b);
			tally_tenant(&store->seg.tenants.rows[i], &tallies);
		}
		ld_leave(store);
		if (i >= max)
			break;
		if (name[0])
			rc = fn(ctx, name, quota_b, &tallies);
	}
	return rc;
}

int ld_store_switch(struct ld_store *store, int on)
{
	int64_t now_ms;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return rc;
	atomic_store(&store->seg.h->off, on ? 0 : 1);
	ld_leave(store);
	return 0;
}

/* ---- slots and readers ---- */

static const char *state_of(const struct ld_seg *seg, uint32_t index)
{
	char process = ld_process_state(atomic_load(&seg->slots[index].pid));

	if (!ld_seg_slot_alive(seg, index))
		return "dead";
	return process == 'T' || process == 't' ? "stopped" : "live";
}

static const char *role_name(uint32_t role)
{
	return role == LD_ROLE_INSPECTOR ? "inspector" : role == LD_ROLE_AGENT ? "agent" : "worker";
}

static void describe(const struct ld_seg *seg, uint32_t index, int64_t now_ms, struct larder_slot *to)
{
	const struct ld_slot *slot = &seg->slots[index];
	uint64_t number = (uint64_t)atomic_load(&slot->incarnation) << 16 | (index + 1);

	to->index = index;
	to->pid = atomic_load(&slot->pid);
	to->attached_ms = now_ms - atomic_load(&slot->attached_ms);
	to->state = state_of(seg, index);
	to->role = role_name(atomic_load(&slot->role));
	to->evictor = atomic_load(&seg->h->evictor) == number;
	to->gate = atomic_load(&seg->h->write_gate.holder) == number;
}

void ld_store_is_agent(struct ld_store *store)
{
	int64_t now_ms;

	if (store->config.self.role == LD_ROLE_AGENT || ld_enter(store, store->config.wait_ms, &now_ms) != 0)
		return;
	store->config.self.role = LD_ROLE_AGENT;
	atomic_store(&store->seg.slots[store->seg.slot].role, LD_ROLE_AGENT);
	ld_leave(store);
}

int ld_store_slots(struct ld_store *store, larder_slot_fn fn, void *ctx)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0; i++) {
		struct larder_slot slot;
		int64_t now_ms;
		int live = 0, end;

		rc = ld_enter(store, store->config.wait_ms, &now_ms);
		if (rc != 0)
			return rc;
		end = i >= store->seg.h->params.slots;
		if (!end && atomic_load(&store->seg.slots[i].live)) {
			describe(&store->seg, i, now_ms, &slot);
			live = 1;
		}
		ld_leave(store);
		if (end)
			break;
		if (live)
			rc = fn(ctx, &slot);
	}
	return rc;
}

/* A copy of the reader table; NULL when memory is out. */
static struct ld_env_reader *copy_readers(struct ld_store *store, unsigned *ret_count)
{
	unsigned max = store->seg.h->params.readers;
	struct ld_env_reader *rows = ld_malloc(max * sizeof(*rows));

	if (rows) {
		*ret_count = ld_env_readers(&store->env, rows, max);
		if (*ret_count > max)
			*ret_count = max;
	}
	return rows;
}

int ld_store_readers(struct ld_store *store, larder_reader_fn fn, void *ctx)
{
	uint64_t last, oldest = UINT64_MAX;
	struct ld_env_reader *rows;
	MDB_envinfo info;
	unsigned count = 0;
	int64_t now_ms;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return rc;
	rows = copy_readers(store, &count);
	last = mdb_env_info(store->env.lmdb, &info) == 0 ? info.me_last_txnid : 0;
	ld_leave(store);
	if (!rows) {
		ld_reason_set(LARDER_REASON_NOMEM);
		return LARDER_UNAVAILABLE;
	}
	for (unsigned i = 0; i < count; i++)
		if (rows[i].txn != 0 && rows[i].txn < oldest)
			oldest = rows[i].txn;
	for (unsigned i = 0; i < count && rc == 0; i++) {
		struct larder_reader reader = { rows[i].pid, rows[i].txn != 0, 0, 0 };

		if (reader.active && last > rows[i].txn) {
			reader.lag = last - rows[i].txn;
			reader.pinning = rows[i].txn == oldest;
		}
		rc = fn(ctx, &reader);
	}
	free(rows);
	return rc;
}

/* ---- the whole ---- */

static void count_slots(const struct ld_seg *seg, struct larder_summary *to)
{
	to->slots_max = seg->h->params.slots;
	for (uint32_t i = 0; i < seg->h->params.slots; i++)
		to->slots += atomic_load(&seg->slots[i].live) ? 1 : 0;
	to->tenants_max = seg->h->params.tenants - 1;
	for (uint32_t i = 1; i < ld_tenants_used(&seg->tenants); i++)
		to->tenants += atomic_load(&seg->tenants.rows[i].ready) ? 1 : 0;
}

static void tell_roles(const struct ld_seg *seg, int64_t now_ms, struct larder_summary *to)
{
	const struct ld_seg_header *h = seg->h;
	int64_t ended = atomic_load(&h->sweep_ended_ms), since = atomic_load(&h->write_gate.since_ms);

	to->made_ms = h->made_wall_ms;
	to->evictor_pid = ld_seg_pid_of(seg, atomic_load(&h->evictor));
	to->evictor_beat_ms = now_ms - atomic_load(&h->evictor_beat_ms);
	to->sweep_ms = ended ? now_ms - ended : -1;
	to->gate_pid = ld_seg_pid_of(seg, atomic_load(&h->write_gate.holder));
	to->gate_held_ms = to->gate_pid && since ? now_ms - since : 0;
	to->on = !atomic_load(&h->off);
	to->layout = h->layout;
	to->file_generation = atomic_load(&h->file_generation);
	to->sequence = atomic_load(&h->write_seq) & ((UINT64_C(1) << 48) - 1);
}

static int tell_store(struct ld_store *store, struct larder_summary *to)
{
	const struct ld_seg_params *params = &store->seg.h->params;
	struct ld_env_use use;
	uint64_t reusable = 0, pinned = 0;
	unsigned count = 0;
	struct stat st;
	MDB_txn *txn;
	int rc = ld_read_begin(store, store->config.wait_ms, &txn);

	if (rc != 0)
		return rc;
	rc = ld_env_use(&store->env, txn, &use);
	if (rc == 0)
		rc = ld_env_count_free(&store->env, txn, &reusable, &pinned);
	ld_env_read_end(&store->env, txn);
	if (rc != 0 || fstat(store->env.data_fd, &st) != 0) {
		ld_reason_set(LARDER_REASON_CORRUPT);
		return LARDER_UNAVAILABLE;
	}
	free(copy_readers(store, &count));
	to->readers = count;
	to->readers_max = params->readers;
	to->used_bytes = use.pages * LD_PAGE;
	to->entries = use.entries;
	to->chunks = use.chunks;
	to->free_bytes = reusable * LD_PAGE;
	to->pinned_bytes = pinned * LD_PAGE;
	to->file_bytes = (uint64_t)st.st_size;
	to->size_bytes = params->size_b;
	to->map_bytes = params->map_b;
	to->max_entries = params->max_entries;
	to->low_bytes = params->low_b;
	to->high_bytes = params->high_b;
	to->segment_bytes = store->seg.size;
	return 0;
}

int ld_store_summary(struct ld_store *store, struct larder_summary *ret_summary)
{
	int64_t now_ms;
	int rc = ld_enter(store, store->config.wait_ms, &now_ms);

	if (rc != 0)
		return rc;
	memset(ret_summary, 0, sizeof(*ret_summary));
	ret_summary->size = sizeof(*ret_summary);
	ret_summary->directory = store->config.dir;
	ret_summary->name = store->config.name;
	count_slots(&store->seg, ret_summary);
	tell_roles(&store->seg, now_ms, ret_summary);
	rc = tell_store(store, ret_summary);
	ld_leave(store);
	return rc;
}
