/* SPDX-License-Identifier: MIT */
/*
 * The health check: a real write, read and removal in each tier, then a look at breaker, evictor and outbox, and a judgement. L2 is asked itself, past store and
 * outbox, so that one tier never answers for the other. It must never fail because something is unwell: that is what it tells.
 *
 *   killed anywhere     what it wrote lives for TTL_MS in either tier, under a key that nobody else has.
 *   two at once         have two keys: neither sees the other's.
 */
#include "cache/second.h"

#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/text.h"
#include "l1/outbox.h"
#include "l2/client.h"

#define TENANT "larder-health"
#define SPACE "health"

enum { TTL_MS = 10000, SILENT_MS = 5000, WAITING_MS = 60000, NAME_B = 16, VALUE_B = 64, REASON_B = sizeof(((struct larder_health *)0)->reason) };

/* A check on its way. */
struct check {
	larder *cache;
	struct ld_key key;
	struct ld_keyspace room;           /* where the key's space may be */
	char value[VALUE_B + 1];
	struct larder_health health;
	int evictor_judged;
	struct ld_text why;
};

static void take_down(struct larder_health_step *step, int result, enum larder_reason reason, int64_t began_ns)
{
	step->result = result;
	step->reason = reason;
	step->took_us = (ld_clock_boot_ns() - began_ns) / 1000;
}

static int is_gone(int result)
{
	return result == 0 || result == LARDER_MISS;
}

/* Where nothing could be written, a miss is the right answer. */
static int is_right(const struct larder_health_tier *tier)
{
	return tier->read.result == (tier->write.result == 0 && tier->write.took_us >= 0 ? LARDER_OK : LARDER_MISS);
}

static int compare(const struct check *check, const void *data, size_t len)
{
	return len == VALUE_B && memcmp(data, check->value, VALUE_B) == 0 ? 0 : LARDER_E_CORRUPT;
}

/* ---- this host's store ---- */

static void finish(struct larder_health_step *step, int result, int64_t began_ns)
{
	take_down(step, result, result == LARDER_UNAVAILABLE ? larder_reason() : LARDER_REASON_NONE, began_ns);
}

static int read_l1(struct check *check, const struct ld_way *way)
{
	const struct ld_look look = { .want_data = 1 };
	struct ld_found found = { 0 };
	struct larder_value value;
	int rc = ld_store_get(check->cache->store, &check->key, way, &look, &found);

	if (rc != 0)
		return rc;
	rc = compare(check, found.data, found.len);
	value = (struct larder_value){ .data = found.data };
	larder_value_free(&value);
	return rc;
}

static void ask_l1(struct check *check)
{
	const struct ld_put put = { .data = check->value, .len = VALUE_B, .ttl_ms = TTL_MS };
	/* Even in a process that passes through: what is asked is how the store fares. */
	const struct ld_way way = { 0, 0 };
	struct larder_health_tier *tier = &check->health.l1;
	int64_t began_ns = ld_clock_boot_ns();
	int rc, gone = LARDER_MISS;

	finish(&tier->write, ld_store_put(check->cache->store, &check->key, &way, &put), began_ns);
	began_ns = ld_clock_boot_ns();
	finish(&tier->read, read_l1(check, &way), began_ns);
	began_ns = ld_clock_boot_ns();
	rc = ld_store_delete(check->cache->store, &check->key, 1, &way, &gone);
	finish(&tier->removal, rc != 0 ? rc : gone, began_ns);
	tier->asked = 1;
	tier->reads = is_right(tier);
	tier->writes = tier->write.result == 0 && is_gone(tier->removal.result);
}

/* ---- L2 ---- */

/* Returns 1 if further steps are no use. */
static int finish_l2(struct larder_health_step *step, enum ld_l2_outcome outcome, int result, int64_t began_ns)
{
	enum larder_reason reason = ld_l2_reason(outcome);

	take_down(step, reason != LARDER_REASON_NONE ? LARDER_E_L2 : outcome == LD_L2_MISS ? LARDER_MISS : result, reason, began_ns);
	return outcome == LD_L2_TIMEOUT || outcome == LD_L2_CONNECT || outcome == LD_L2_TLS || outcome == LD_L2_OPEN;
}

static int write_l2(struct check *check, const struct ld_l2_call *call)
{
	const struct ld_wire_value value = { .data = (const unsigned char *)check->value, .len = VALUE_B, .ttl_ms = TTL_MS, .created_ms = ld_clock_wall_ms() };
	unsigned char id[LD_L2_WRITE_ID];
	enum ld_l2_outcome outcome = LD_L2_LOCAL;
	int64_t began_ns = ld_clock_boot_ns();
	struct ld_l2_end end;

	if (ld_key_random(id, sizeof(id)) == 0)
		outcome = ld_l2_put(check->cache->l2, call, &value, id, &end);
	return finish_l2(&check->health.l2.write, outcome, 0, began_ns);
}

static int read_l2(struct check *check, const struct ld_l2_call *call)
{
	const struct ld_l2_have have = { .default_ttl_ms = TTL_MS };
	int64_t began_ns = ld_clock_boot_ns();
	struct ld_wire_value value;
	struct ld_l2_end end;
	enum ld_l2_outcome outcome = ld_l2_get(check->cache->l2, call, &have, &value, &end);
	int result = 0;

	if (outcome == LD_L2_HIT) {
		result = compare(check, value.data, value.len);
		ld_wire_value_free(&value);
	}
	return finish_l2(&check->health.l2.read, outcome, result, began_ns);
}

static void remove_l2(struct check *check, const struct ld_l2_call *call)
{
	unsigned char id[LD_L2_WRITE_ID];
	enum ld_l2_outcome outcome = LD_L2_LOCAL;
	int64_t began_ns = ld_clock_boot_ns();
	struct ld_l2_end end;

	if (ld_key_random(id, sizeof(id)) == 0)
		outcome = ld_l2_delete(check->cache->l2, call, id, &end);
	finish_l2(&check->health.l2.removal, outcome, 0, began_ns);
}

static void leave_out(struct larder_health_step *step, const struct larder_health_step *before)
{
	*step = (struct larder_health_step){ before ? before->result : 0, before ? before->reason : LARDER_REASON_NONE, -1 };
}

static int is_written(const struct check *check)
{
	return check->cache->settings.number[LD_SET_L2_WRITE] != LD_L2_WRITE_OFF;
}

static void ask_l2(struct check *check)
{
	const struct ld_l2_call call = { .key = &check->key };
	struct larder_health_tier *tier = &check->health.l2;
	int writes = is_written(check), ended = 0;

	if (!check->cache->l2)
		return;
	if (writes)
		ended = write_l2(check, &call);
	else
		leave_out(&tier->write, NULL);
	if (ended)
		leave_out(&tier->read, &tier->write);
	else
		ended = read_l2(check, &call);
	if (writes && !ended)
		remove_l2(check, &call);
	else
		leave_out(&tier->removal, writes ? &tier->read : NULL);
	tier->asked = 1;
	tier->reads = is_right(tier);
	tier->writes = writes && tier->write.result == 0 && is_gone(tier->removal.result);
}

/* ---- around them ---- */

static void look_at_breaker(struct check *check)
{
	struct ld_breaker_view view;

	check->health.breaker = -1;
	if (!check->cache->l2 || ld_l2_breaker(check->cache->l2, &view) != 0)
		return;
	check->health.breaker = view.word.state == LD_BREAKER_CLOSED ? LARDER_BREAKER_CLOSED :
	    view.word.state == LD_BREAKER_HALF_OPEN ? LARDER_BREAKER_HALF_OPEN : LARDER_BREAKER_OPEN;
	check->health.breaker_retry_ms = view.retry_after_ms;
}

static int look_in_segment(struct ld_seg *seg, int64_t now_ms, void *ctx)
{
	struct check *check = ctx;
	const int64_t *number = check->cache->settings.number;
	int64_t beat_ms = atomic_load(&seg->h->evictor_beat_ms), attached_ms = atomic_load(&seg->slots[seg->slot].attached_ms);
	int own = number[LD_SET_THREADS] && number[LD_SET_EVICTOR] == LD_EVICTOR_THREAD;

	check->health.on = number[LD_SET_ENABLED] && !atomic_load(&seg->h->off);
	check->health.evictor_pid = ld_seg_pid_of(seg, atomic_load(&seg->h->evictor));
	check->health.evictor_beat_ms = beat_ms == 0 ? -1 : now_ms > beat_ms ? now_ms - beat_ms : 0;
	check->evictor_judged = number[LD_SET_EVICTOR] != LD_EVICTOR_INLINE && !(own && now_ms - attached_ms < SILENT_MS);
	return 0;
}

static void look_around(struct check *check)
{
	larder *cache = check->cache;
	struct ld_outbox_summary outbox;

	check->health.on = cache->settings.number[LD_SET_ENABLED] != 0;
	check->health.evictor_beat_ms = -1;
	if (ld_store_with(cache->store, cache->settings.number[LD_SET_WRITE_WAIT_MS], look_in_segment, check) != 0)
		check->evictor_judged = 0;
	if (ld_outbox_summary(cache->store, &outbox) == 0) {
		check->health.outbox_pending = outbox.counts.pending;
		check->health.outbox_oldest_ms = outbox.oldest_ms;
	}
	look_at_breaker(check);
}

/* ---- the judgement ---- */

static void because(struct check *check, const char *text)
{
	if (check->why.len)
		ld_text_add(&check->why, "; ");
	ld_text_add(&check->why, text);
	if (check->health.level == LARDER_HEALTH_OK)
		check->health.level = LARDER_HEALTH_DEGRADED;
}

static void because_of(struct check *check, const char *tier, const char *what, const struct larder_health_step *step)
{
	because(check, tier);
	ld_text_addf(&check->why, " %s: %s", what, step->reason != LARDER_REASON_NONE ? larder_reason_text((enum larder_reason)step->reason) :
	    larder_strerror(step->result));
}

static void judge_tier(struct check *check, const char *name, const struct larder_health_tier *tier, int writes)
{
	if (writes && tier->write.result != 0)
		because_of(check, name, tier->reads ? "cannot be written" : "can be neither written nor read", &tier->write);
	else if (!tier->reads)
		because_of(check, name, "cannot be read", &tier->read);
	else if (writes && !tier->writes)
		because_of(check, name, "does not remove", &tier->removal);
}

static void judge_evictor(struct check *check)
{
	const struct larder_health *health = &check->health;

	if (!check->evictor_judged || (health->evictor_pid != 0 && health->evictor_beat_ms >= 0 && health->evictor_beat_ms <= SILENT_MS))
		return;
	if (health->evictor_pid == 0 || health->evictor_beat_ms < 0) {
		because(check, "nobody does the background work");
		return;
	}
	because(check, "the process that does the background work ");
	ld_text_addf(&check->why, "(%d) gave no sign of life for %lld s", health->evictor_pid, (long long)(health->evictor_beat_ms / 1000));
}

static void judge(struct check *check)
{
	struct larder_health *health = &check->health;
	int l1_down = health->on && !health->l1.reads && !health->l1.writes;

	ld_text_init(&check->why, health->reason, REASON_B);
	if (health->on)
		judge_tier(check, "L1", &health->l1, 1);
	if (health->l2.asked)
		judge_tier(check, "L2", &health->l2, is_written(check));
	/* A step that it refused has said so. */
	if (health->breaker > LARDER_BREAKER_CLOSED && health->l2.write.reason != LARDER_REASON_L2_OPEN && health->l2.read.reason != LARDER_REASON_L2_OPEN)
		because(check, health->breaker == LARDER_BREAKER_OPEN ? "the breaker is open" : "the breaker is half-open");
	if (!health->on)
		because(check, "the cache is switched off");
	judge_evictor(check);
	if (health->outbox_oldest_ms > WAITING_MS) {
		because(check, "a write waits to be told to L2 ");
		ld_text_addf(&check->why, "for %lld s", (long long)(health->outbox_oldest_ms / 1000));
	}
	if (l1_down && !health->l2.reads && !health->l2.writes)
		health->level = LARDER_HEALTH_DOWN;
}

/* A key and a value that nobody else has. 0, LARDER_E_NOMEM. */
static int prepare(struct check *check, larder_tenant *tenant)
{
	unsigned char name[NAME_B], value[VALUE_B / 2];
	const struct ld_keyspace *keyspace;

	if (ld_key_random(name, sizeof(name)) != 0 || ld_key_random(value, sizeof(value)) != 0)
		return LARDER_E_NOMEM;
	ld_text_hex(value, sizeof(value), check->value);
	return ld_prepare_key(tenant, SPACE, name, sizeof(name), &check->room, &keyspace, &check->key);
}

int larder_health(larder *cache, struct larder_health *ret_health)
{
	struct check check = { .cache = cache };
	larder_tenant *tenant;
	int rc;

	if (!ret_health || ret_health->size < sizeof(*ret_health))
		return LARDER_E_USAGE;
	rc = larder_tenant_open(cache, TENANT, &tenant);
	if (rc != 0)
		return rc;
	rc = prepare(&check, tenant);
	if (rc == 0) {
		ask_l1(&check);
		ask_l2(&check);
		look_around(&check);
		judge(&check);
		check.health.size = ret_health->size;
		*ret_health = check.health;
	}
	larder_tenant_close(tenant);
	return rc;
}
