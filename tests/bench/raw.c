/* SPDX-License-Identifier: MIT */
/*
 * The other side: LMDB alone, with the flags, key length and row length that larder uses, in a table of the same kind, and
 * nothing around it. A look-up renews a transaction, copies the value out and resets; a set is one commit of one row.
 */
#include "bench.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "l1/entry.h"

enum { READERS = 64 };

static void must(int rc, const char *what)
{
	if (rc == 0)
		return;
	fprintf(stderr, "bench: raw LMDB: %s\n", mdb_strerror(rc));
	bench_must(0, what);
}

const char *bench_raw_version(void)
{
	return mdb_version(NULL, NULL, NULL);
}

/* As we plan a row of this value. */
static void plan(struct bench_raw *raw, int big)
{
	struct ld_entry_head head = { 0 };

	raw->row_len = big ? raw->load->value_len : ld_entry_plan(&head, strlen(BENCH_SPACE), 0, 0, raw->load->value_len);
	bench_must(head.chunks == 0, "the value does not fit a row");
	raw->head_len = raw->row_len - raw->load->value_len;
	raw->row = malloc(raw->row_len);
	raw->buffer = malloc(raw->load->value_len);
	bench_must(raw->row && raw->buffer, "memory");
	memset(raw->row, 0x5a, raw->head_len);
	memcpy(raw->row + raw->head_len, bench_bytes(raw->load->value_len), raw->load->value_len);
}

void bench_raw_again(struct bench_raw *raw)
{
	unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NOSYNC | MDB_NORDAHEAD | (raw->load->writable ? MDB_WRITEMAP : 0);
	MDB_txn *txn;

	must(mdb_env_create(&raw->env), "mdb_env_create");
	/* Our file is an eighth larger than LARDER_SIZE. */
	must(mdb_env_set_mapsize(raw->env, raw->load->map_b + raw->load->map_b / 8), "mdb_env_set_mapsize");
	must(mdb_env_set_maxreaders(raw->env, READERS), "mdb_env_set_maxreaders");
	must(mdb_env_set_maxdbs(raw->env, 3), "mdb_env_set_maxdbs");
	must(mdb_env_open(raw->env, raw->path, flags, 0600), "mdb_env_open");
	must(mdb_txn_begin(raw->env, NULL, 0, &txn), "mdb_txn_begin");
	must(mdb_dbi_open(txn, "entries", MDB_CREATE, &raw->table), "mdb_dbi_open");
	must(mdb_txn_commit(txn), "mdb_txn_commit");
	must(mdb_txn_begin(raw->env, NULL, MDB_RDONLY, &raw->reader), "mdb_txn_begin");
	mdb_txn_reset(raw->reader);
}

void bench_raw_open(const struct bench_options *options, const struct bench_load *load, struct bench_draw *draw, int big,
    struct bench_raw *raw)
{
	static unsigned number;

	memset(raw, 0, sizeof(*raw));
	raw->load = load;
	raw->draw = draw;
	snprintf(raw->path, sizeof(raw->path), "%s/raw-%u.mdb", options->dir, number++);
	plan(raw, big);
	bench_raw_again(raw);
}

void bench_raw_close(struct bench_raw *raw)
{
	mdb_txn_abort(raw->reader);
	mdb_env_close(raw->env);
	free(raw->row);
	free(raw->buffer);
	memset(raw, 0, sizeof(*raw));
}

static void set(struct bench_raw *raw, uint32_t entry)
{
	unsigned char bytes[BENCH_KEY];
	MDB_val key = { sizeof(bytes), bytes }, row = { raw->row_len, raw->row };
	MDB_txn *txn;

	bench_key(entry, bytes);
	must(mdb_txn_begin(raw->env, NULL, 0, &txn), "mdb_txn_begin");
	must(mdb_put(txn, raw->table, &key, &row, 0), "mdb_put");
	must(mdb_txn_commit(txn), "mdb_txn_commit");
}

/* A commit for each row, as ours are filled: pages then lie as scattered as ours. */
void bench_raw_fill(struct bench_raw *raw)
{
	for (uint32_t i = 0; i < raw->load->entries; i++)
		set(raw, i);
}

static void copy_out(struct bench_raw *raw, uint32_t entry, unsigned char *to)
{
	unsigned char bytes[BENCH_KEY];
	MDB_val key = { sizeof(bytes), bytes }, row;
	unsigned char *data = to;

	bench_key(entry, bytes);
	must(mdb_txn_renew(raw->reader), "mdb_txn_renew");
	must(mdb_get(raw->reader, raw->table, &key, &row), "mdb_get");
	bench_must(row.mv_size == raw->row_len, "a row of another length");
	if (!to)
		data = malloc(raw->load->value_len);
	bench_must(data != NULL, "memory");
	memcpy(data, (const unsigned char *)row.mv_data + raw->head_len, raw->load->value_len);
	mdb_txn_reset(raw->reader);
	bench_use(data);
	if (!to)
		free(data);
}

void bench_raw_get(void *ctx, uint64_t ops)
{
	struct bench_raw *raw = ctx;

	while (ops-- > 0)
		copy_out(raw, bench_draw_next(raw->draw), NULL);
}

void bench_raw_get_into(void *ctx, uint64_t ops)
{
	struct bench_raw *raw = ctx;

	while (ops-- > 0)
		copy_out(raw, bench_draw_next(raw->draw), raw->buffer);
}

void bench_raw_set(void *ctx, uint64_t ops)
{
	struct bench_raw *raw = ctx;

	while (ops-- > 0)
		set(raw, bench_draw_next(raw->draw));
}
