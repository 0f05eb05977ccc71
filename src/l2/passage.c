/* SPDX-License-Identifier: MIT */
/*
 * A call's way through the segment: breaker, bound on calls under way, retry budget, counters. Each step enters the store, does its few instructions and
 * leaves; between admission and report nobody is inside, so a store that is replaced meanwhile waits for no request.
 *
 *   segment replaced between     the report finds another breaker there: its pass is of an older word, so it is late and changes nothing. The count of
 *   admission and report         calls under way was in the old slot: it is not taken off the new one (`serial`).
 *   no segment at all            the process's own breaker and budget do; there is no bound then, but the pool's.
 */
#include "l2/client_inside.h"

#include <string.h>

#include "base/background.h"
#include "base/clock.h"
#include "crypto/hash.h"
#include "shm/inflight.h"

enum { LEASE_MARGIN_MS = 1000, INSIDE_MS = 5 };

uint64_t ld_l2_tag_of(const char *text)
{
	return ld_hash64(text, strlen(text));
}

uint64_t ld_l2_seed(const struct ld_l2 *l2)
{
	uint64_t mix[3] = { (uint64_t)ld_clock_boot_ns(), (uint64_t)(uintptr_t)l2, ld_process_generation() };

	return ld_hash64(mix, sizeof(mix));
}

static int slot_alive(void *ctx, uint32_t slot)
{
	return ld_seg_slot_alive(ctx, slot);
}

static struct ld_inflight inflight_of(struct ld_seg *seg)
{
	return (struct ld_inflight){ &seg->slots[0].l2_inflight, sizeof(struct ld_slot), seg->h->params.slots, (uint32_t)seg->slot, slot_alive, seg };
}

/* The host's breaker, or the tenant's own where its policy differs. */
static struct ld_breaker *breaker_of(struct passage *passage, struct ld_seg *seg, const char **ret_name)
{
	struct ld_l2 *l2 = passage->l2;
	const struct ld_key *key = passage->call->key;

	*ret_name = passage->call->breaker ? key->tenant : l2->name;
	if (!seg)
		return &l2->own_breaker;
	return &ld_breakers_row(&seg->breakers, *ret_name, passage->call->breaker ? l2->tag ^ key->tenant_tag : l2->tag)->breaker;
}

/* A transition is told by the one call that made it. Outside the store: the callback may do what it likes. */
static void announce(struct passage *passage, enum ld_breaker_event event)
{
	const struct ld_l2 *l2 = passage->l2;
	const char *name = passage->call->breaker ? passage->call->key->tenant : l2->name;
	int opened = event != LD_BREAKER_HALF_OPENED && event != LD_BREAKER_CLOSED_AGAIN;

	if (event == LD_BREAKER_NO_EVENT)
		return;
	/* Everybody comes at once now: the tenants' limits are halved for a while. A tenant's own breaker keeps nobody else back. */
	if (event == LD_BREAKER_CLOSED_AGAIN && !passage->call->breaker)
		(void)ld_store_limit_half(l2->store, LD_LIMIT_COLD_MS);
	LD_LOG(l2->log, opened ? LARDER_LOG_WARN : LARDER_LOG_INFO, "breaker", passage->call->request_id, LD_T("breaker", name),
	    LD_T("transition", ld_breaker_event_name(event)),);
	if (l2->config.on_breaker)
		l2->config.on_breaker(l2->config.on_breaker_ctx, name, opened ? LARDER_BREAKER_OPEN :
		    event == LD_BREAKER_HALF_OPENED ? LARDER_BREAKER_HALF_OPEN : LARDER_BREAKER_CLOSED, ld_breaker_event_name(event));
}

/* ---- admission ---- */

struct admission {
	struct passage *passage;
	enum ld_l2_outcome outcome;
};

static enum ld_l2_outcome admit(struct passage *passage, struct ld_breaker *breaker, int64_t now_ms)
{
	enum ld_breaker_verdict verdict = ld_breaker_admit(breaker, passage->settings, now_ms, passage->limit_ms + LEASE_MARGIN_MS, &passage->pass);

	passage->probe = verdict == LD_BREAKER_PROBE;
	return verdict == LD_BREAKER_REFUSED ? LD_L2_OPEN : LD_L2_HIT;
}

static enum ld_tenant_counter counter_of(enum ld_l2_outcome outcome);

static void count(struct ld_seg *seg, const struct ld_key *key, enum ld_tenant_counter which, uint64_t n)
{
	if (n != 0)
		ld_tenant_count(ld_tenants_row(&seg->tenants, key->tenant, key->tenant_tag), ld_seg_stripe(seg), which, n);
}

static int admit_in(struct ld_seg *seg, int64_t now_ms, void *ctx)
{
	struct admission *admission = ctx;
	struct passage *passage = admission->passage;
	struct ld_inflight inflight = inflight_of(seg);
	const char *name;
	struct ld_breaker *breaker = breaker_of(passage, seg, &name);

	admission->outcome = admit(passage, breaker, now_ms);
	if (admission->outcome == LD_L2_HIT && !ld_inflight_enter(&inflight, passage->l2->config.inflight)) {
		ld_breaker_report(breaker, passage->settings, &passage->pass, LD_BREAKER_NEUTRAL, now_ms, ld_l2_seed(passage->l2));
		admission->outcome = LD_L2_BUSY;
	}
	if (admission->outcome == LD_L2_HIT)
		ld_retry_earn(&seg->h->l2_retry, LD_RETRY_PCT);
	else if (admission->outcome != LD_L2_BUSY || !passage->patient)
		count(seg, passage->call->key, counter_of(admission->outcome), 1);
	passage->serial = ld_store_serial(passage->l2->store);
	return 0;
}

enum ld_l2_outcome ld_l2_admit(struct passage *passage, struct ld_l2_end *end)
{
	struct admission admission = { passage, LD_L2_OPEN };
	const char *name;

	if (ld_store_with(passage->l2->store, INSIDE_MS, admit_in, &admission) != 0) {
		passage->own = 1;
		admission.outcome = admit(passage, breaker_of(passage, NULL, &name), ld_clock_boot_ms());
		ld_retry_earn(&passage->l2->own_retry, LD_RETRY_PCT);
	}
	end->retry_after_ms = passage->pass.retry_after_ms;
	announce(passage, passage->pass.event);
	return admission.outcome;
}

/* ---- retries ---- */

/* 0 while the breaker is as it was when the call was admitted. */
static int moved_in(struct ld_seg *seg, int64_t now_ms, void *ctx)
{
	struct passage *passage = ctx;
	const char *name;

	(void)now_ms;
	return atomic_load_explicit(&breaker_of(passage, seg, &name)->word, memory_order_relaxed) != passage->pass.word;
}

int ld_l2_is_futile(void *ctx)
{
	struct passage *passage = ctx;

	if (ld_background_is_over())
		return 1;
	if (passage->call->until_ms && ld_clock_boot_ms() >= passage->call->until_ms)
		return 1;
	/* A probe is the only one there is; where there is no segment nobody else learns anything. */
	return !passage->probe && !passage->own && ld_store_with(passage->l2->store, INSIDE_MS, moved_in, passage) == 1;
}

static int retry_in(struct ld_seg *seg, int64_t now_ms, void *ctx)
{
	/* Whoever was admitted while it was closed does not go on when it has opened. */
	return !moved_in(seg, now_ms, ctx) && ld_retry_take(&seg->h->l2_retry, LD_RETRY_CAP) ? 0 : LARDER_MISS;
}

int ld_l2_may_retry(struct passage *passage)
{
	if (passage->probe)
		return 0;
	if (passage->own)
		return ld_retry_take(&passage->l2->own_retry, LD_RETRY_CAP);
	return ld_store_with(passage->l2->store, INSIDE_MS, retry_in, passage) == 0;
}

/* ---- report ---- */

static enum ld_tenant_counter counter_of(enum ld_l2_outcome outcome)
{
	static const enum ld_tenant_counter counters[LD_L2_OUTCOMES] = {
		[LD_L2_HIT] = LD_TC_l2_hits, [LD_L2_MISS] = LD_TC_l2_misses, [LD_L2_SAME] = LD_TC_l2_hits,
		[LD_L2_TIMEOUT] = LD_TC_l2_timeouts, [LD_L2_CONNECT] = LD_TC_l2_unreachable, [LD_L2_RESET] = LD_TC_l2_unreachable,
		[LD_L2_TLS] = LD_TC_l2_unreachable, [LD_L2_SERVER] = LD_TC_l2_errors, [LD_L2_THROTTLED] = LD_TC_l2_throttled,
		[LD_L2_DENIED] = LD_TC_l2_denied, [LD_L2_REJECTED] = LD_TC_l2_rejected, [LD_L2_BODY] = LD_TC_l2_bad_bodies,
		[LD_L2_OPEN] = LD_TC_l2_refused, [LD_L2_BUSY] = LD_TC_l2_busy, [LD_L2_LOCAL] = LD_TC_l2_busy, [LD_L2_UNKEPT] = LD_TC_l2_rejected,
	};

	return counters[outcome];
}

struct report {
	struct passage *passage;
	enum ld_l2_outcome outcome;
	enum ld_breaker_outcome lesson;
	enum ld_breaker_event event;
};

static void count_call(struct ld_seg *seg, const struct passage *passage, enum ld_l2_outcome outcome)
{
	const struct ld_key *key = passage->call->key;

	count(seg, key, passage->write && (outcome == LD_L2_HIT || outcome == LD_L2_MISS) ? LD_TC_l2_writes : counter_of(outcome), 1);
	count(seg, key, LD_TC_l2_retries, passage->tries > 1 ? passage->tries - 1 : 0);
	count(seg, key, LD_TC_l2_bytes_in, passage->bytes_in);
	count(seg, key, LD_TC_l2_bytes_out, passage->bytes_out);
	count(seg, key, LD_TC_l2_ms, (uint64_t)passage->took_ms);
}

static int report_in(struct ld_seg *seg, int64_t now_ms, void *ctx)
{
	struct report *report = ctx;
	struct passage *passage = report->passage;
	struct ld_inflight inflight = inflight_of(seg);
	const char *name;

	count_call(seg, passage, report->outcome);
	if (passage->own)
		return 0;
	if (passage->serial == ld_store_serial(passage->l2->store))
		ld_inflight_leave(&inflight);
	report->event = ld_breaker_report(breaker_of(passage, seg, &name), passage->settings, &passage->pass, report->lesson, now_ms,
	    ld_l2_seed(passage->l2));
	return 0;
}

void ld_l2_report(struct passage *passage, enum ld_l2_outcome outcome, enum ld_breaker_outcome lesson)
{
	struct report report = { passage, outcome, lesson, LD_BREAKER_NO_EVENT };
	const char *name;

	ld_store_with(passage->l2->store, INSIDE_MS, report_in, &report);
	if (passage->own)
		report.event = ld_breaker_report(breaker_of(passage, NULL, &name), passage->settings, &passage->pass, lesson, ld_clock_boot_ms(),
		    ld_l2_seed(passage->l2));
	announce(passage, report.event);
}

/* ---- for those who look ---- */

struct look {
	const struct ld_breaker_settings *settings;
	uint64_t tag;
	struct ld_breaker_view *view;
};

static int look_in(struct ld_seg *seg, int64_t now_ms, void *ctx)
{
	static const struct ld_breaker unused;
	struct look *look = ctx;
	const struct ld_breakers *table = &seg->breakers;
	const struct ld_breaker_row *row = ld_breakers_find(table, look->tag);

	/* Looking makes no row. Where all are taken it is the shared one that counts. */
	if (!row && atomic_load_explicit(&table->rows[table->max - 1].tag, memory_order_acquire) != 0)
		row = &table->rows[0];
	ld_breaker_look(row ? &row->breaker : &unused, look->settings, now_ms, look->view);
	return 0;
}

int ld_l2_breaker(struct ld_l2 *l2, struct ld_breaker_view *ret_view)
{
	struct look look = { &l2->config.breaker, l2->tag, ret_view };

	return ld_store_with(l2->store, INSIDE_MS, look_in, &look) == 0 ? 0 : -1;
}

int ld_l2_breaker_of(struct ld_l2 *l2, const struct ld_l2_call *call, struct ld_breaker_view *ret_view)
{
	struct look look = { call->breaker, l2->tag ^ call->key->tenant_tag, ret_view };

	if (!call->breaker)
		return ld_l2_breaker(l2, ret_view);
	return ld_store_with(l2->store, INSIDE_MS, look_in, &look) == 0 ? 0 : -1;
}

int ld_l2_is_open(struct ld_l2 *l2, int64_t *ret_retry_after_ms)
{
	struct ld_breaker_view view;

	*ret_retry_after_ms = ld_l2_breaker(l2, &view) == 0 ? view.retry_after_ms : 0;
	return *ret_retry_after_ms != 0;
}
