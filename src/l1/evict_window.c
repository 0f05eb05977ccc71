/* SPDX-License-Identifier: MIT */
/*
 * The window that eviction chooses from. Called by l1/evict.c; it only reads, and must never be long in a transaction: it reads so many rows as the
 * chooser wants, and no more.
 *
 * It is made of short runs, each from a random digest in a tenant drawn in proportion to its entries (DESIGN decision 25).
 */
#include "l1/evict_window.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

enum { RUN = 16, RUNS_MAX = 256 };

static int ascending(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Tenants for so many runs, drawn in proportion to their entries, as rows of the directory; row 0 for tenants without a row of their own. */
static void draw_tenants(struct ld_store *store, uint32_t *rows, unsigned runs)
{
	const struct ld_tenants *tenants = &store->seg.tenants;
	uint64_t picks[RUNS_MAX], named = 0, all = atomic_load_explicit(&store->seg.h->entries, memory_order_relaxed), sum = 0;
	uint32_t used = ld_tenants_used(tenants), row = 1;

	for (uint32_t i = 1; i < used; i++)
		named += atomic_load_explicit(&tenants->rows[i].entries, memory_order_relaxed);
	all = all > named ? all : named;
	for (unsigned i = 0; i < runs; i++)
		picks[i] = all ? ld_store_random(store) % all : 0;
	qsort(picks, runs, sizeof(*picks), ascending);
	for (unsigned i = 0; i < runs; i++) {
		while (row < used && picks[i] >= sum + atomic_load_explicit(&tenants->rows[row].entries, memory_order_relaxed))
			sum += atomic_load_explicit(&tenants->rows[row++].entries, memory_order_relaxed);
		rows[i] = row < used ? row : 0;
	}
}

/* Where a run begins that is of no named tenant: anywhere among the names. */
static void random_name(struct ld_store *store, char ret_name[4])
{
	static const char letters[] = "-0123456789abcdefghijklmnopqrstuvwxyz";
	uint64_t random = ld_store_random(store) >> 16;

	for (int i = 0; i < 3; i++, random /= sizeof(letters) - 1)
		ret_name[i] = letters[random % (sizeof(letters) - 1)];
	ret_name[3] = 0;
}

static int is_negative(const MDB_val *row)
{
	struct ld_entry entry;

	return ld_entry_decode(row->mv_data, row->mv_size, &entry) == 0 && entry.head.bits & LD_ENTRY_ABSENT;
}

static void add_row(struct ld_evict_window *window, const MDB_val *key, const MDB_val *row)
{
	struct ld_candidate *to = &window->rows[window->count];
	const unsigned char *digest = (const unsigned char *)key->mv_data + key->mv_size - LARDER_DIGEST_SIZE;
	size_t tenant_len = ld_entry_key_tenant(key->mv_data, key->mv_size);
	struct ld_entry entry;

	if (tenant_len == 0 || (window->negative && !is_negative(row)))
		return;
	memset(to, 0, sizeof(*to));
	memcpy(to->key, key->mv_data, key->mv_size);
	to->key_len = (uint8_t)key->mv_size;
	window->count++;
	if (ld_entry_decode(row->mv_data, row->mv_size, &entry) != 0) {
		to->dead = 1;
		return;
	}
	to->pages = entry.head.chunks + 1;
	to->estimate = (uint8_t)ld_sketch_estimate(&window->store->seg.sketch, digest);
	to->dead = (uint8_t)ld_row_is_dead(&window->store->seg, key, row, window->now_ms, &window->wall_ms, &to->seq);
}

static int same_tenant(const MDB_val *key, const char *tenant, size_t len)
{
	return ld_entry_key_tenant(key->mv_data, key->mv_size) == len && memcmp(key->mv_data, tenant, len) == 0;
}

/* A run of rows from a random place; of one tenant only, from its start again when its end is reached. */
static void add_run(struct ld_evict_window *window, const char *tenant, int only, size_t rows)
{
	unsigned char digest[LARDER_DIGEST_SIZE] = { 0 }, bytes[LD_KEY_MAX];
	uint64_t random = ld_store_random(window->store);
	size_t len = strlen(tenant);
	MDB_val key, row;
	int rc;

	memcpy(digest, &random, sizeof(random));
	key.mv_size = ld_entry_key(tenant, digest, bytes);
	key.mv_data = bytes;
	rc = mdb_cursor_get(window->cursor, &key, &row, MDB_SET_RANGE);
	for (int wrapped = 0; rows > 0 && window->count < window->max; rows--) {
		if (rc != 0 || (only && !same_tenant(&key, tenant, len))) {
			if (wrapped)
				return;
			wrapped = 1;
			memset(digest, 0, sizeof(digest));
			key.mv_size = ld_entry_key(only ? tenant : "", digest, bytes);
			key.mv_data = bytes;
			rc = mdb_cursor_get(window->cursor, &key, &row, MDB_SET_RANGE);
			continue;
		}
		add_row(window, &key, &row);
		rc = mdb_cursor_get(window->cursor, &key, &row, MDB_NEXT);
	}
}

int ld_evict_window_read(struct ld_evict_window *window, MDB_txn *txn, const char *tenant)
{
	const struct ld_env *env = &window->store->env;
	unsigned runs = (unsigned)(window->max + RUN - 1) / RUN;
	uint32_t rows[RUNS_MAX];
	int rc = mdb_cursor_open(txn, env->entries, &window->cursor);

	if (rc != 0)
		return ld_env_error(rc);
	if (!tenant)
		draw_tenants(window->store, rows, runs);
	for (unsigned i = 0; i < runs && window->count < window->max; i++) {
		const char *from = tenant ? tenant : window->store->seg.tenants.rows[rows[i]].name;
		char name[4];

		if (!tenant && rows[i] == 0) {
			random_name(window->store, name);
			from = name;
		}
		add_run(window, from, tenant != NULL, RUN);
	}
	mdb_cursor_close(window->cursor);
	return 0;
}

struct ld_candidate *ld_evict_window_new(struct ld_store *store, unsigned batch, struct ld_evict_window *ret_window)
{
	memset(ret_window, 0, sizeof(*ret_window));
	ret_window->store = store;
	ret_window->max = ld_choose_window(batch);
	ret_window->now_ms = ld_clock_boot_ms();
	ret_window->rows = ld_malloc(ret_window->max * sizeof(*ret_window->rows));
	return ret_window->rows;
}
