/* SPDX-License-Identifier: MIT */
/*
 * Leases as handles, for callers that fill later: event loops, and whoever was given a stale value with the lease. A handle has copies of all that it needs
 * but the tenant's handle, which must stay open.
 */
#include "cache/fill.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/process.h"

#define LD_LEASE_MAGIC UINT64_C(0x4c444c4541534531)
enum { RENEW_MAX_MS = 600000 };

struct larder_lease {
	uint64_t magic;
	uint64_t process;              /* generation of the process that got it */
	struct ld_asked asked;         /* its name and key space are in here, or live as long as the cache */
	struct ld_seen seen;
	struct ld_lease lease;
	int held;                      /* 0: there was no room for one; the fill is not deduplicated */
	int64_t began_ns;
	size_t name_len;
	unsigned char name[];
};

static int is_lease(const larder_lease *lease)
{
	return lease && lease->magic == LD_LEASE_MAGIC;
}

larder_lease *ld_lease_of(const struct ld_asked *asked, const struct ld_lease *lease, const struct ld_seen *seen)
{
	larder_lease *made = ld_calloc(1, sizeof(*made) + asked->name_len);

	if (!made)
		return NULL;
	made->magic = LD_LEASE_MAGIC;
	made->process = ld_process_generation();
	made->asked = *asked;
	if (asked->keyspace == &asked->room) {
		made->asked.keyspace = &made->asked.room;
		if (asked->room.id == asked->room.space)
			made->asked.room.id = made->asked.room.space;
	}
	memcpy(made->name, asked->name, asked->name_len);
	made->name_len = asked->name_len;
	made->asked.name = made->name;
	made->asked.key.space = made->asked.keyspace->id;
	made->asked.call = NULL;
	made->seen = *seen;
	made->held = lease != NULL;
	if (lease)
		made->lease = *lease;
	made->began_ns = ld_clock_boot_ns();
	return made;
}

int larder_lease_try(larder_tenant *tenant, const char *space, const void *name, size_t name_len, const struct larder_call *call,
    larder_lease **ret_lease)
{
	const struct ld_look look = { .note = LD_NOTE_SEEN | LD_NOTE_UNCOUNTED };
	struct ld_found found = { 0 };
	struct ld_asked asked;
	struct ld_fill fill = { .asked = &asked, .look = &look, .found = &found };
	enum ld_lease_answer answer;
	int64_t retry_ms = 0;
	int rc;

	if (!ret_lease)
		return LARDER_E_USAGE;
	*ret_lease = NULL;
	rc = ld_ask(tenant, space, name, name_len, call, &asked);
	if (rc != 0)
		return rc;
	rc = ld_fill_look(&fill);
	if (found.bypassed) {
		ld_reason_set(LARDER_REASON_OFF);
		return LARDER_UNAVAILABLE;
	}
	if (rc == 0 || rc == LARDER_ABSENT)
		return LARDER_EXISTS;
	answer = ld_store_lease_try(tenant->cache->store, &asked.key, &asked.way, &found.seen, tenant->cache->settings.number[LD_SET_LEASE_MS], &fill.lease,
	    &retry_ms);
	if (answer == LD_LEASE_HELD || answer == LD_LEASE_THROTTLED) {
		ld_retry_after_set(retry_ms);
		return answer == LD_LEASE_HELD ? LARDER_E_BUSY : LARDER_E_LOAD;
	}
	fill.held = answer == LD_LEASE_TAKEN;
	/* Another one may have filled it between the look and the lease. */
	if (fill.held && (ld_fill_look(&fill) == 0 || fill.result == LARDER_ABSENT)) {
		ld_fill_end(&fill, LD_LEASE_STORED, 0);
		return LARDER_EXISTS;
	}
	*ret_lease = ld_lease_of(&asked, fill.held ? &fill.lease : NULL, &found.seen);
	if (*ret_lease)
		return 0;
	ld_fill_end(&fill, LD_LEASE_STORED, 0);
	return LARDER_E_NOMEM;
}

static int is_ours(const larder_lease *lease)
{
	return lease->held && lease->process == ld_process_generation();
}

static void end(larder_lease *lease, enum ld_lease_end how, int64_t throttle_ms)
{
	if (is_ours(lease))
		ld_store_lease_end(lease->asked.tenant->cache->store, &lease->lease, how, throttle_ms);
	ld_wipe(lease->name, lease->name_len);
	lease->magic = 0;
	free(lease);
}

static int fill(larder_lease *lease, struct ld_put *put, const struct larder_call *call)
{
	larder *cache = lease->asked.tenant->cache;
	struct ld_key key = lease->asked.key;
	int64_t took_ms = (ld_clock_boot_ns() - lease->began_ns + 999999) / 1000000;
	struct ld_way way;
	int rc;

	key.tell_l2 = ld_second_tells(cache, call);
	way = ld_way_of(cache, call, &key);
	put->load_ms = took_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)took_ms;
	put->loaded = 1;
	if (put->hard_end_ms != 0 && put->hard_end_ms <= ld_clock_wall_ms())
		return LARDER_EXISTS;
	rc = ld_store_fill(cache->store, &key, &way, put, &lease->seen);
	if (rc == 0)
		ld_second_told(cache, &key, 1, call);
	return rc;
}

static int fill_and_end(larder_lease *lease, struct ld_put *put, const struct larder_store *store, const struct larder_call *call)
{
	uint64_t tags[LD_TAGS_MAX];
	larder *cache;
	int rc;

	if (!is_lease(lease))
		return LARDER_E_USAGE;
	cache = lease->asked.tenant->cache;
	rc = ld_begin_call(call);
	if (rc == 0 && !put->data && put->len != 0)
		rc = LARDER_E_USAGE;
	if (rc == 0)
		rc = ld_put_make(&lease->asked, store, tags, put);
	if (rc == 0 && put->len > (size_t)cache->settings.number[LD_SET_MAX_VALUE])
		rc = LARDER_E_TOO_LARGE;
	if (rc == 0 && lease->process != ld_process_generation())
		rc = LARDER_E_USAGE;
	if (rc == 0) {
		ld_store_count(cache->store, &lease->asked.key, LD_TC_loads);
		rc = fill(lease, put, call);
	}
	LD_POINT(fill_stored);
	end(lease, rc == 0 || rc == LARDER_EXISTS ? LD_LEASE_STORED : LD_LEASE_UNSTORED, 0);
	return rc;
}

int larder_fill(larder_lease *lease, const void *data, size_t len, const struct larder_store *store, const struct larder_call *call)
{
	struct ld_put put = { .data = data, .len = len };

	return fill_and_end(lease, &put, store, call);
}

int larder_fill_absent(larder_lease *lease, const struct larder_store *store, const struct larder_call *call)
{
	struct ld_put put = { .absent = 1 };

	return fill_and_end(lease, &put, store, call);
}

int larder_lease_renew(larder_lease *lease, uint32_t lease_ms)
{
	if (!is_lease(lease) || lease_ms < 1 || lease_ms > RENEW_MAX_MS)
		return LARDER_E_USAGE;
	return is_ours(lease) ? ld_store_lease_renew(lease->asked.tenant->cache->store, &lease->lease, lease_ms) : LARDER_MISS;
}

void larder_lease_drop(larder_lease *lease, int failed)
{
	larder *cache;

	if (!is_lease(lease))
		return;
	cache = lease->asked.tenant->cache;
	if (failed && is_ours(lease))
		ld_store_count(cache->store, &lease->asked.key, LD_TC_load_failures);
	end(lease, failed ? LD_LEASE_FAILED : LD_LEASE_STORED, failed ? cache->settings.number[LD_SET_FAIL_THROTTLE_MS] : 0);
}
