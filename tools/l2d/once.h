/* SPDX-License-Identifier: MIT */
/**
 * A write with an Idempotency-Key takes effect once, whichever workers its tries reach: the first leaves a mark in the cache, in two steps, and for
 * ten minutes a repeat is answered as the first was. The key is one of (tenant, method, resource key, Idempotency-Key). once.c draws
 * what each crash gives.
 */
#ifndef L2D_ONCE_H
#define L2D_ONCE_H

#include "shared.h"

#define L2D_ONCE_MS 600000

struct l2d_once {
	const struct l2d_shared *shared;
	larder_tenant *tenant;
	const struct larder_call *call;
	uint32_t slot;            /* of the caller */
	uint64_t life;            /* of the caller, in that slot */
	char name[420];
	size_t name_len;
};

enum l2d_once_result {
	L2D_ONCE_FIRST,           /* do it, then l2d_once_done() or l2d_once_undo() */
	L2D_ONCE_REPEAT,          /* done before; the status it was answered with */
	L2D_ONCE_RUNNING          /* another worker is at it, and was not done in the time that a call may wait */
};

/** Make the name of the mark. once's other fields are the caller's to fill in. key: at most 256 characters, idempotency_key at most 128. */
void l2d_once_name(struct l2d_once *once, const char *method, const char *key, const char *idempotency_key);

/** Returns 0, then *ret_result, and *ret_status for a repeat; or an error of larder_add(): nothing was begun. Blocks up to 25 ms and the call's budget. */
int l2d_once_begin(struct l2d_once *once, enum l2d_once_result *ret_result, unsigned *ret_status);
void l2d_once_done(struct l2d_once *once, unsigned status);
void l2d_once_undo(struct l2d_once *once);

#endif
