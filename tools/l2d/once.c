/* SPDX-License-Identifier: MIT */
/*
 * Writes that take effect once (once.h). The mark is an entry of the tenant in a space of its own.
 *
 *     worker A                              worker B, with a repeat
 *     add  "begun by A"   (0)
 *                         (1)               add: there is one. Begun, and A lives: look again for 25 ms, then "running"
 *     write the value     (2)
 *     set  "done, 201"    (3)               add: there is one. Done: answer 201, do nothing
 *     answer              (4)
 *
 * A is killed at
 *     (0)        nothing has happened; a repeat is the first
 *     (1)        the mark says A, and A's life in its slot is over: a repeat takes the mark over and does the write
 *     (2)        the same: the write is done a second time, with the same bytes. This is the one place where it takes effect twice, and it shows
 *                only if another write of the same key came in between
 *     (3) (4)    a repeat is answered 201
 * Two repeats that find A's mark at once both take it over, and both write the same. If the mark "done" cannot be stored, the value is there
 * all the same and the answer says so; a repeat does it again. If the value cannot be stored, the mark is removed with the answer 503, so that the
 * repeat is a first try. A mark can be evicted like every entry: then the repeat is a first try, too.
 *
 * "Begun" has a life of ten seconds besides, for the day when the owner's end is not seen; nothing hangs on it.
 */
#include "once.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define BEGUN_MS 10000
#define LOOKS 25
#define SPACE "once"

enum step { BEGUN = 1, DONE = 2 };

/* The mark as it is stored; written and read on one host, by one version. */
struct mark {
	char magic[4];
	uint16_t step;
	uint16_t status;
	uint32_t slot;
	uint32_t reserved;
	uint64_t run;
	uint64_t life;
};
_Static_assert(sizeof(struct mark) == 32, "a mark has no hole");

void l2d_once_name(struct l2d_once *once, const char *method, const char *key, const char *idempotency_key)
{
	/* No part has a blank in it, so no two triples make the same name. */
	int len = snprintf(once->name, sizeof(once->name), "%s %s %s", method, key, idempotency_key);
	once->name_len = len < (int)sizeof(once->name) ? (size_t)len : sizeof(once->name) - 1;
}

static struct mark mark_of(const struct l2d_once *once, enum step step, unsigned status)
{
	return (struct mark){ { 'o', 'n', 'c', '1' }, (uint16_t)step, (uint16_t)status, once->slot, 0, once->shared->run, once->life };
}

static struct larder_store life_of(int64_t ms)
{
	struct larder_store store = LARDER_STORE_INIT;
	store.ttl_ms = ms;
	store.stale_ms = 0;
	return store;
}

static int add_mark(struct l2d_once *once)
{
	const struct mark mark = mark_of(once, BEGUN, 0);
	const struct larder_store store = life_of(BEGUN_MS);
	return larder_add(once->tenant, SPACE, once->name, once->name_len, &mark, sizeof(mark), &store, once->call);
}

static int set_mark(struct l2d_once *once, enum step step, unsigned status)
{
	const struct mark mark = mark_of(once, step, status);
	const struct larder_store store = life_of(step == DONE ? L2D_ONCE_MS : BEGUN_MS);
	return larder_set(once->tenant, SPACE, once->name, once->name_len, &mark, sizeof(mark), &store, once->call);
}

/* Returns as larder_get(); what is no mark of ours is LARDER_MISS. */
static int get_mark(struct l2d_once *once, struct mark *ret_mark)
{
	struct larder_value value;
	struct mark mark;
	int rc = larder_get_into(once->tenant, SPACE, once->name, once->name_len, &mark, sizeof(mark), once->call, &value);

	if (rc != LARDER_OK)
		return rc;
	if (value.len != sizeof(mark) || memcmp(mark.magic, "onc1", 4) != 0)
		return LARDER_MISS;
	*ret_mark = mark;
	return LARDER_OK;
}

/* Whoever began it will not end it: its worker is gone; or is this one, which does one thing at a time. */
static int is_left_behind(const struct l2d_once *once, const struct mark *mark)
{
	if (mark->run == once->shared->run && mark->slot == once->slot && mark->life == once->life)
		return 1;
	return l2d_is_over(once->shared, mark->run, mark->slot, mark->life);
}

/* There was a mark. Returns 1 when it is gone meanwhile; 0 with a result; or an error. */
static int judge(struct l2d_once *once, enum l2d_once_result *ret_result, unsigned *ret_status)
{
	struct mark mark;
	int rc = get_mark(once, &mark);

	if (rc == LARDER_MISS)
		return 1;
	if (rc != LARDER_OK)
		return rc < 0 ? rc : LARDER_E_BUSY;
	*ret_result = L2D_ONCE_RUNNING;
	if (mark.step == DONE) {
		*ret_status = mark.status;
		*ret_result = L2D_ONCE_REPEAT;
	} else if (is_left_behind(once, &mark)) {
		if (set_mark(once, BEGUN, 0) != 0)
			return LARDER_E_BUSY;
		*ret_result = L2D_ONCE_FIRST;
	}
	return 0;
}

int l2d_once_begin(struct l2d_once *once, enum l2d_once_result *ret_result, unsigned *ret_status)
{
	const struct timespec a_moment = { 0, 1000000 };
	enum l2d_once_result result = L2D_ONCE_RUNNING;

	for (int look = 0; look < LOOKS && result == L2D_ONCE_RUNNING; look++) {
		int rc = add_mark(once);
		if (rc == LARDER_OK)
			result = L2D_ONCE_FIRST;
		else if (rc != LARDER_EXISTS)
			return rc;
		else if ((rc = judge(once, &result, ret_status)) < 0)
			return rc;
		if (result == L2D_ONCE_RUNNING)
			nanosleep(&a_moment, NULL);
	}
	*ret_result = result;
	return 0;
}

void l2d_once_done(struct l2d_once *once, unsigned status)
{
	/* Failed: a repeat will do it again; there is nobody to tell. */
	int rc = set_mark(once, DONE, status);
	(void)rc;
}

void l2d_once_undo(struct l2d_once *once)
{
	/* Failed: it is no longer served all the same, and would be ours to take over. */
	int rc = larder_delete(once->tenant, SPACE, once->name, once->name_len, once->call);
	(void)rc;
}
