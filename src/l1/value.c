/* SPDX-License-Identifier: MIT */
/*
 * Values and names out of the rows and chunks that they are stored in. Called by look-ups and scans, in their read transaction, with an entry that
 * has been decoded. It must never copy more than the entry says, nor return a value whose sum is another: what is stored may be damaged.
 */
#include "l1/inside.h"

#include <string.h>

#include "base/errors.h"
#include "base/fault.h"
#include "crypto/hash.h"

/* Copy len bytes out of the chunks from number `index` on. */
static int copy_chunks(const struct ld_env *env, MDB_txn *txn, uint64_t chunk_id, uint32_t index, unsigned char *data, size_t len)
{
	unsigned char bytes[LD_CHUNK_KEY];
	MDB_val key = { sizeof(bytes), bytes }, chunk;
	MDB_cursor *cursor;
	int rc = len ? mdb_cursor_open(txn, env->chunks, &cursor) : 0;

	if (len == 0)
		return 0;
	if (rc != 0)
		return ld_env_error(rc);
	ld_entry_chunk_key(chunk_id, index, bytes);
	rc = mdb_cursor_get(cursor, &key, &chunk, MDB_SET);
	while (rc == 0 && len > 0) {
		size_t want = len < LD_CHUNK_B ? len : LD_CHUNK_B;

		ld_entry_chunk_key(chunk_id, index++, bytes);
		if (chunk.mv_size != want || key.mv_size != sizeof(bytes) || memcmp(key.mv_data, bytes, sizeof(bytes)) != 0)
			break;
		memcpy(data, chunk.mv_data, want);
		data += want;
		len -= want;
		if (len > 0)
			rc = mdb_cursor_get(cursor, &key, &chunk, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return rc == 0 && len == 0 ? 0 : LARDER_E_CORRUPT;
}

int ld_value_copy(const struct ld_env *env, MDB_txn *txn, const struct ld_entry *entry, unsigned char *data)
{
	const struct ld_entry_head *head = &entry->head;
	size_t chunked = head->value_len - head->tail_len;
	int rc = head->chunks ? copy_chunks(env, txn, head->chunk_id, 0, data, chunked) : 0;

	if (rc != 0)
		return rc;
	LD_POINT(get_mid_copy);
	if (head->tail_len)
		memcpy(data + chunked, entry->tail, head->tail_len);
	return head->chunks && ld_hash64(data, head->value_len) != head->value_sum ? LARDER_E_CORRUPT : 0;
}

int ld_name_copy(const struct ld_env *env, MDB_txn *txn, const struct ld_entry *entry, unsigned char *name)
{
	return copy_chunks(env, txn, entry->head.chunk_id, entry->head.chunks, name, entry->head.name_len);
}
