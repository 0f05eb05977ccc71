/* SPDX-License-Identifier: MIT */
/*
 * What tools see of the second level without asking it: the breakers of the segment, and the outbox of the store; and orders to breakers. Callbacks run outside
 * the store, a row at a time; it must never ask L2, nor need the secret.
 */
#include "cache/handle.h"

#include <string.h>

#include "base/clock.h"
#include "base/process.h"
#include "base/text.h"
#include "l1/outbox.h"

/* ---- breakers ---- */

/* A look at one row of the table, and an order to it if there is one. */
struct row_look {
	const larder_inspector *inspector;
	const char *wanted;                /* of an order: only the breaker of this name; NULL = every one */
	int order;                         /* enum larder_breaker_order; 0 = only look */
	uint32_t row;
	int end, there;
	enum ld_breaker_event event;       /* what the order did */
	const struct ld_spaces *spaces;    /* for the windows of tenants' own breakers; NULL where they are not known */
	int64_t now_ms;
	struct ld_breaker_view view;
	char name[LD_BREAKER_NAME];
};

/* Row 0 is nobody's own, and in use only when all others are taken. Rows are taken in their order and never given back. */
static int is_taken(const struct ld_breakers *table, uint32_t row)
{
	return atomic_load_explicit(&table->rows[row == 0 ? table->max - 1 : row].tag, memory_order_acquire) != 0;
}

static enum ld_breaker_event give_order(struct ld_breaker *breaker, int order, int64_t now_ms)
{
	switch (order) {
	case LARDER_BREAKER_ORDER_OPEN:
		return ld_breaker_force_open(breaker, now_ms);
	case LARDER_BREAKER_ORDER_CLOSE:
		return ld_breaker_close(breaker, now_ms);
	default:
		return ld_breaker_reset(breaker, now_ms);
	}
}

/* What a look needs to know of a breaker: its window, of the tenant whose name it has, or of the settings. */
static struct ld_breaker_settings settings_of(const struct row_look *look)
{
	int64_t numbers[LD_SETTINGS];

	memcpy(numbers, look->inspector->settings.number, sizeof(numbers));
	ld_spaces_breaker(look->spaces, look->name, numbers);
	return (struct ld_breaker_settings){ .window_ms = numbers[LD_SET_BREAKER_WINDOW_MS] };
}

static int look_in(struct ld_seg *seg, int64_t now_ms, void *ctx)
{
	const struct ld_breakers *table = &seg->breakers;
	struct row_look *look = ctx;
	struct ld_breaker_settings settings;

	look->end = look->row >= table->max || (look->row > 0 && !is_taken(table, look->row));
	look->there = !look->end && is_taken(table, look->row);
	look->event = LD_BREAKER_NO_EVENT;
	if (!look->there)
		return 0;
	if (!ld_breakers_name(table, look->row, look->name))
		strcpy(look->name, "(unnamed)");
	/* A longer name is cut in the table. */
	if (look->wanted && strncmp(look->wanted, look->name, LD_BREAKER_NAME - 1) != 0)
		look->there = 0;
	else if (look->order)
		look->event = give_order(&table->rows[look->row].breaker, look->order, now_ms);
	look->now_ms = now_ms;
	settings = settings_of(look);
	ld_breaker_look(&table->rows[look->row].breaker, &settings, now_ms, &look->view);
	return 0;
}

static int look_at_row(struct row_look *look)
{
	return ld_store_with(look->inspector->store, look->inspector->settings.number[LD_SET_WRITE_WAIT_MS], look_in, look);
}

static int64_t ago(int64_t then_ms, int64_t now_ms)
{
	return then_ms == 0 ? -1 : then_ms < now_ms ? now_ms - then_ms : 0;
}

static void describe(const struct row_look *look, struct larder_transition transitions[LD_BREAKER_EVENTS], struct larder_breaker *to)
{
	const struct ld_breaker_view *view = &look->view;

	*to = (struct larder_breaker){
		.name = look->name, .state = ld_breaker_state_name(view->word.state), .retry_after_ms = view->retry_after_ms,
		.failures_in_row = view->streak, .successes = view->word.state == LD_BREAKER_HALF_OPEN ? view->word.successes : 0,
		.window_calls = view->window.calls, .window_failures = view->window.failures, .window_slow = view->window.slow,
		.transition_count = LD_BREAKER_EVENTS - 1, .transitions = transitions, .refused = view->refused,
		.failures = view->failures, .slow = view->slow, .neutral = view->neutral, .probes = view->probes,
		.probes_lost = view->probes_lost, .late_reports = view->late, .opened_ms = ago(view->opened_ms, look->now_ms),
		.half_opened_ms = ago(view->half_opened_ms, look->now_ms), .closed_ms = ago(view->closed_ms, look->now_ms),
	};
	for (int i = LD_BREAKER_NO_EVENT + 1; i < LD_BREAKER_EVENTS; i++)
		transitions[i - 1] = (struct larder_transition){ ld_breaker_event_name((enum ld_breaker_event)i), view->events[i] };
}

int larder_inspect_breakers(larder_inspector *inspector, larder_breaker_info_fn fn, void *ctx)
{
	struct row_look look = { .inspector = inspector };
	struct ld_problems problems = { 0 };
	struct ld_spaces *spaces = NULL;
	struct larder_transition transitions[LD_BREAKER_EVENTS];
	struct larder_breaker breaker;
	int rc;

	if (!ld_is_inspector(inspector))
		return LARDER_E_CLOSED;
	if (!fn)
		return LARDER_E_USAGE;
	/* A file that is wrong, or not for us to read, costs the windows of tenants' breakers their right length and nothing else. */
	if (ld_spaces_load(inspector->settings.text[LD_SET_SPACES_FILE], &spaces, &problems) == 0)
		look.spaces = spaces;
	ld_problems_free(&problems);
	for (rc = look_at_row(&look); rc == 0 && !look.end; rc = rc != 0 ? rc : look_at_row(&look)) {
		if (look.there) {
			describe(&look, transitions, &breaker);
			rc = fn(ctx, &breaker);
		}
		look.row++;
	}
	ld_spaces_free(spaces);
	return rc;
}

/* Outside of the store, for the callback may do what it likes. */
static void announce(const struct row_look *look)
{
	const larder_inspector *inspector = look->inspector;
	int opened = look->event == LD_BREAKER_FORCED;

	if (look->event == LD_BREAKER_NO_EVENT)
		return;
	LD_LOG(ld_store_log(inspector->store), opened ? LARDER_LOG_WARN : LARDER_LOG_INFO, "breaker", NULL, LD_T("breaker", look->name),
	    LD_T("transition", ld_breaker_event_name(look->event)),);
	if (inspector->on_breaker)
		inspector->on_breaker(inspector->on_breaker_ctx, look->name, opened ? LARDER_BREAKER_OPEN : LARDER_BREAKER_CLOSED,
		    ld_breaker_event_name(look->event));
}

int larder_inspect_breaker_force(larder_inspector *inspector, const char *name, enum larder_breaker_order order)
{
	struct row_look look = { .inspector = inspector, .wanted = name, .order = (int)order };
	int rc, found = 0;

	if (!ld_is_inspector(inspector))
		return LARDER_E_CLOSED;
	if (order < LARDER_BREAKER_ORDER_OPEN || order > LARDER_BREAKER_ORDER_RESET)
		return LARDER_E_USAGE;
	for (rc = look_at_row(&look); rc == 0 && !look.end; rc = look_at_row(&look)) {
		found |= look.there;
		announce(&look);
		look.row++;
	}
	return rc != 0 || found ? rc : LARDER_MISS;
}

/* ---- the outbox ---- */

static const char *state_of_teller(const struct ld_outbox_summary *summary)
{
	char process;

	if (summary->drainer_pid == 0)
		return "none";
	if (!summary->drainer_alive)
		return "dead";
	process = ld_process_state(summary->drainer_pid);
	return process == 'T' || process == 't' ? "stopped" : "live";
}

int larder_inspect_outbox(larder_inspector *inspector, struct larder_outbox *ret_outbox)
{
	struct ld_outbox_summary summary;
	int rc;

	if (!ld_is_inspector(inspector))
		return LARDER_E_CLOSED;
	if (!ret_outbox || ret_outbox->size < sizeof(*ret_outbox))
		return LARDER_E_USAGE;
	rc = ld_outbox_summary(inspector->store, &summary);
	if (rc != 0)
		return rc;
	*ret_outbox = (struct larder_outbox){
		.size = ret_outbox->size, .enqueued = summary.counts.enqueued, .acknowledged = summary.counts.acknowledged,
		.failed = summary.counts.failed, .dropped = summary.counts.dropped, .coalesced = summary.counts.coalesced,
		.pending = summary.counts.pending, .pending_bytes = summary.counts.pending_b, .rows_max = summary.rows_max,
		.bytes_max = summary.bytes_max, .age_max_ms = summary.age_max_ms, .oldest_ms = summary.oldest_ms,
		.teller = state_of_teller(&summary), .teller_pid = summary.drainer_pid, .sending_ms = summary.drain_until_ms,
	};
	return 0;
}

struct rows {
	larder_outbox_fn fn;
	void *ctx;
};

static int see_row(void *ctx, const struct ld_outbox_row *row)
{
	const struct rows *rows = ctx;
	struct larder_outbox_row told = {
		.tenant = row->tenant, .op = row->op == LD_OUTBOX_SET ? "set" : "delete", .created_ms = row->created_wall_ms,
		.age_ms = ago(row->enqueued_ms, ld_clock_boot_ms()), .value_len = row->len, .left_ms = row->left_ms, .sequence = row->seq,
	};

	memcpy(told.digest, row->digest, sizeof(told.digest));
	return rows->fn(rows->ctx, &told);
}

int larder_inspect_outbox_each(larder_inspector *inspector, const char *tenant, larder_outbox_fn fn, void *ctx)
{
	struct rows rows = { fn, ctx };

	if (!ld_is_inspector(inspector))
		return LARDER_E_CLOSED;
	if (!fn)
		return LARDER_E_USAGE;
	if (tenant && !ld_text_is_id(tenant, LARDER_TENANT_MAX))
		return LARDER_E_TENANT;
	return ld_outbox_walk(inspector->store, tenant, see_row, &rows);
}
