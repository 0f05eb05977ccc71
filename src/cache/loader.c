/* SPDX-License-Identifier: MIT */
/*
 * Running a caller's loader, and keeping what it gives. The loader runs with no lock held and outside the store; only the lease, if there is one, is kept
 * while it does. Its value goes to its caller whatever becomes of it; it is stored, and told to L2, only if the key was not written since the look that
 * missed.
 */
#include "cache/fill.h"

#include <stdlib.h>
#include <string.h>

#include "base/background.h"
#include "base/clock.h"
#include "base/errors.h"
#include "base/fault.h"
#include "base/mem.h"

enum { RENEW_MAX_MS = 600000 };

/* What stands behind struct larder_load's `inside`. */
struct inside {
	struct ld_fill *fill;
	unsigned char *data;
	size_t len;
	int given;
};

int larder_load_give(struct larder_load *load, const void *data, size_t len)
{
	struct inside *inside = load ? load->inside : NULL;
	unsigned char *copy;

	if (!inside || (!data && len != 0))
		return LARDER_E_USAGE;
	copy = ld_malloc(len ? len : 1);
	if (!copy)
		return LARDER_E_NOMEM;
	if (len)
		memcpy(copy, data, len);
	free(inside->data);
	inside->data = copy;
	inside->len = len;
	inside->given = 1;
	return 0;
}

int larder_load_renew(struct larder_load *load, uint32_t lease_ms)
{
	struct inside *inside = load ? load->inside : NULL;

	if (!inside || lease_ms < 1 || lease_ms > RENEW_MAX_MS)
		return LARDER_E_USAGE;
	if (!inside->fill->held)
		return LARDER_MISS;
	return ld_store_lease_renew(inside->fill->asked->tenant->cache->store, &inside->fill->lease, lease_ms);
}

static void describe_old(const struct ld_found *found, int was, struct larder_value *old)
{
	old->data = found->data;
	old->len = found->len;
	old->flags = found->flags;
	old->age_ms = found->now_ms - found->created_ms;
	old->fresh_ms = found->fresh_until_ms - found->now_ms;
	old->hard_end_ms = found->hard_end_ms;
	old->state = (int16_t)was;
}

/* Store a put of the loader's. What the lease's waiters are to do. */
static enum ld_lease_end keep(struct ld_fill *fill, const struct ld_put *put)
{
	const struct ld_asked *asked = fill->asked;
	struct ld_key key = asked->key;
	int rc;

	key.tell_l2 = ld_second_tells(asked->tenant->cache, asked->call);
	LD_POINT(fill_loaded);
	rc = ld_store_fill(asked->tenant->cache->store, &key, &asked->way, put, &fill->found->seen);
	if (rc == 0)
		ld_second_told(asked->tenant->cache, &key, 1, asked->call);
	ld_reason_set(LARDER_REASON_NONE);
	return rc == 0 || rc == LARDER_EXISTS ? LD_LEASE_STORED : LD_LEASE_UNSTORED;
}

static void tell_times(const struct ld_put *put, struct ld_found *found)
{
	found->now_ms = ld_clock_boot_ms();
	found->wall_ms = ld_clock_wall_ms();
	found->created_ms = found->now_ms;
	found->fresh_until_ms = found->now_ms + put->ttl_ms;
	found->stale_until_ms = found->fresh_until_ms + put->stale_ms;
	found->dead_ms = found->stale_until_ms + put->error_ms;
	found->hard_end_ms = put->hard_end_ms;
	found->flags = put->flags;
	found->error_only = 0;
}

static int hand_out(struct ld_fill *fill, unsigned char *data, size_t len)
{
	free(fill->found->data);
	fill->found->data = data;
	fill->found->len = len;
	fill->source = LARDER_FROM_LOADER;
	return 0;
}

static int is_past(const struct ld_put *put)
{
	return put->hard_end_ms != 0 && put->hard_end_ms <= ld_clock_wall_ms();
}

static int without_value(struct ld_fill *fill, int rc)
{
	free(fill->found->data);
	fill->found->data = NULL;
	return rc;
}

/* A value that the loader gave. */
static int take_value(struct ld_fill *fill, struct inside *inside, const struct larder_load *load, struct ld_put *put, enum ld_lease_end *ret_end)
{
	const int64_t *number = fill->asked->tenant->cache->settings.number;

	put->data = inside->data;
	put->len = inside->len;
	put->etag = load->etag && strnlen(load->etag, LD_ETAG_MAX + 1) <= LD_ETAG_MAX ? load->etag : NULL;
	*ret_end = LD_LEASE_UNSTORED;
	if (is_past(put)) {
		free(inside->data);
		return without_value(fill, LARDER_MISS);
	}
	if (!load->no_store && put->len <= (size_t)number[LD_SET_MAX_VALUE] && !fill->found->bypassed)
		*ret_end = keep(fill, put);
	tell_times(put, fill->found);
	return hand_out(fill, inside->data, inside->len);
}

static int take_absent(struct ld_fill *fill, const struct larder_load *load, struct ld_put *put, enum ld_lease_end *ret_end)
{
	*ret_end = load->no_store || fill->found->bypassed ? LD_LEASE_UNSTORED : keep(fill, put);
	tell_times(put, fill->found);
	fill->source = LARDER_FROM_LOADER;
	return without_value(fill, LARDER_ABSENT);
}

/* The old value again, with new times. */
static int take_unchanged(struct ld_fill *fill, const struct larder_load *load, struct ld_put *put, enum ld_lease_end *ret_end)
{
	struct ld_found *found = fill->found;

	put->data = found->data;
	put->len = found->len;
	put->flags = found->flags;
	put->tags = fill->look->tags;
	put->tag_count = found->tag_count;
	put->hard_end_ms = put->hard_end_ms == 0 || (found->hard_end_ms != 0 && found->hard_end_ms < put->hard_end_ms) ? found->hard_end_ms : put->hard_end_ms;
	put->etag = load->old_etag && load->old_etag[0] ? load->old_etag : NULL;
	*ret_end = LD_LEASE_UNSTORED;
	if (is_past(put))
		return without_value(fill, LARDER_MISS);
	if (!load->no_store)
		*ret_end = keep(fill, put);
	tell_times(put, found);
	fill->source = LARDER_FROM_LOADER;
	return 0;
}

static void count(const struct ld_fill *fill, enum ld_tenant_counter which)
{
	ld_store_count(fill->asked->tenant->cache->store, &fill->asked->key, which);
}

static int fail(struct ld_fill *fill, int was, int rc, enum ld_lease_end *ret_end)
{
	*ret_end = LD_LEASE_FAILED;
	count(fill, LD_TC_load_failures);
	if (was == LARDER_STALE || was == 0)
		return was;
	/* Only the end of a lease keeps others, and us, from trying again at once. */
	ld_retry_after_set(fill->held && !fill->found->bypassed ? fill->asked->tenant->cache->settings.number[LD_SET_FAIL_THROTTLE_MS] : 0);
	return without_value(fill, rc);
}

int ld_fill_load(struct ld_fill *fill, int was, enum ld_lease_end *ret_end)
{
	const struct ld_asked *asked = fill->asked;
	struct inside inside = { .fill = fill };
	struct larder_value old = { 0 };
	struct larder_load load = { .size = sizeof(load), .space = asked->keyspace->space, .name = asked->name, .name_len = asked->name_len,
		.old_etag = "", .left_ms = fill->end_ms - ld_clock_boot_ms(), .request_id = asked->call ? asked->call->request_id : NULL,
		.store = LARDER_STORE_INIT, .inside = &inside };
	int64_t began_ns = ld_clock_boot_ns(), took_ms;
	struct ld_put put = { .loaded = 1 };
	uint64_t tags[LD_TAGS_MAX];
	int said, rc;

	if (was == LARDER_STALE || was == 0) {
		describe_old(fill->found, was, &old);
		load.old = &old;
		load.old_etag = fill->look->etag ? fill->look->etag : "";
	}
	load.left_ms = load.left_ms < 0 ? 0 : load.left_ms;
	count(fill, LD_TC_loads);
	ld_background_step_out();
	said = fill->loading->loader(&load, fill->loading->ctx);
	if (!ld_background_step_in()) {
		free(inside.data);
		*ret_end = LD_LEASE_UNSTORED;
		return was;
	}
	/* Neither what kept L2 from being asked counts any more, nor what the loader's own calls said. */
	ld_retry_after_set(0);
	took_ms = (ld_clock_boot_ns() - began_ns + 999999) / 1000000;
	put.load_ms = took_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)took_ms;
	put.absent = said == LARDER_LOADED_ABSENT;
	rc = ld_put_make(asked, &load.store, tags, &put);
	if (rc == 0 && (said < 0 || said > LARDER_LOADED_UNCHANGED || (said == LARDER_LOADED && !inside.given) || (said == LARDER_LOADED_UNCHANGED && !load.old)))
		rc = LARDER_E_LOAD;
	if (rc != 0 || said != LARDER_LOADED) {
		free(inside.data);
		inside.data = NULL;
	}
	if (rc != 0)
		return fail(fill, was, rc, ret_end);
	if (said == LARDER_LOADED_ABSENT)
		return take_absent(fill, &load, &put, ret_end);
	return said == LARDER_LOADED ? take_value(fill, &inside, &load, &put, ret_end) : take_unchanged(fill, &load, &put, ret_end);
}
