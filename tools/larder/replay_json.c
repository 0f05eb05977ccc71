/* SPDX-License-Identifier: MIT */
/* The report of `larder replay --json`: one object with the figures of the tables, in plain units (bytes, nanoseconds,
 * seconds, percent). */
#include "replay_report.h"

#include <string.h>

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

/* null where nothing was timed */
static json_t *nanoseconds(uint64_t ns)
{
	return ns ? number(ns) : json_null();
}

static json_t *percentiles_json(const uint64_t ns[3])
{
	return json_pack("{s:o, s:o, s:o}", "p50", nanoseconds(ns[0]), "p99", nanoseconds(ns[1]), "p99.9", nanoseconds(ns[2]));
}

static json_t *row_json(const struct replay_row *row)
{
	const struct replay_counts *counts = &row->counts;
	json_t *private_b = row->private_b ? number(row->private_b) : json_null();
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:f, s:f, s:f, s:o, s:o, s:o}",
	    "gets", number(replay_counts_gets(counts)), "hits", number(replay_counts_hits(counts)), "unavailable", number(counts->unavailable),
	    "errors", number(counts->errors), "sets", number(replay_counts_stored(counts)), "sets_refused", number(counts->unstored),
	    "wrong_values", number(counts->wrong), "loads", number(counts->loads), "seconds", row->seconds, "gets_per_s", row->gets_per_s,
	    "hit_percent", row->hit_percent, "hit_ns", percentiles_json(row->hit_ns), "set_ns", percentiles_json(row->set_ns),
	    "private_bytes", private_b);
}

static json_t *rows_json(const struct replay_report *report)
{
	json_t *rows = json_array();
	for (unsigned i = 0; i < report->plan->workers; i++)
		if (json_array_append_new(rows, row_json(&report->rows[i])) < 0) {
			json_decref(rows);
			return NULL;
		}
	return rows;
}

static json_t *trace_json(const struct replay_report *report)
{
	const struct replay_trace *trace = &report->plan->trace;
	/* A file name may hold bytes that are not UTF-8, which JSON cannot hold. */
	json_t *source = json_string(report->source);
	return json_pack("{s:o, s:s, s:o, s:o, s:o}", "source", source ? source : json_null(), "format",
	    trace->generated ? "generated" : replay_format_name(trace->format), "requests", number(trace->count), "keys",
	    trace->generated ? json_null() : number(trace->keys), "skipped_lines", number(trace->skipped));
}

static json_t *cache_json(const struct replay_report *report)
{
	const struct larder_stats *before = &report->outcome->before, *after = &report->outcome->after;
	if (after->size == 0 || before->size == 0)
		return json_null();
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "entries", number(after->entries), "used_bytes", number(after->used_bytes),
	    "size_bytes", number(after->size_bytes), "evictions", number(after->evictions - before->evictions), "expiries",
	    number(after->expiries - before->expiries));
}

static json_t *reasons_json(const struct replay_report *report)
{
	json_t *reasons = json_object();
	for (unsigned i = 1; i < LARDER_REASON_COUNT; i++) {
		if (report->reasons[i] == 0)
			continue;
		if (json_object_set_new(reasons, larder_reason_text((enum larder_reason)i), number(report->reasons[i])) < 0) {
			json_decref(reasons);
			return NULL;
		}
	}
	return reasons;
}

/* Seconds since the workers were let go; null for what did not happen. */
static json_t *moment(const struct replay_report *report, int64_t at_ns)
{
	return at_ns ? json_real((double)(at_ns - report->outcome->began_ns) / 1e9) : json_null();
}

static json_t *span(int64_t ns)
{
	return ns >= 0 ? json_real((double)ns / 1e9) : json_null();
}

static json_t *calls_json(const struct replay_report *report)
{
	json_t *calls = json_object();
	for (int i = 0; i < REPLAY_CALLS; i++) {
		const struct replay_kind *kind = &report->kinds[i];
		json_t *call = json_pack("{s:o, s:o, s:o, s:o}", "count", number(report->together.counts.calls[i]), "ns",
		    percentiles_json(kind->ns), "worst_ns", nanoseconds(kind->worst_ns), "worst_s", moment(report, kind->worst_began_ns));
		if (json_object_set_new(calls, replay_call_name((enum replay_call)i), call) < 0) {
			json_decref(calls);
			return NULL;
		}
	}
	return calls;
}

static json_t *transitions_json(const struct replay_report *report)
{
	const struct replay_story *story = &report->story;
	json_t *transitions = json_array();
	for (size_t i = 0; i < story->count; i++) {
		const struct replay_transition *transition = &story->transitions[i];
		json_t *row = json_pack("{s:o, s:s, s:s}", "at_s", moment(report, transition->at_ns), "state",
		    replay_breaker_name(transition->state), "transition", transition->name);
		if (json_array_append_new(transitions, row) < 0) {
			json_decref(transitions);
			return NULL;
		}
	}
	return transitions;
}

static json_t *outbox_json(const struct replay_second *second)
{
	const struct larder_outbox *before = &second->before, *after = &second->after;
	if (before->size == 0 || after->size == 0)
		return json_pack("{s:b, s:o}", "empty", second->flushed, "flush_s", span(second->flush_ns));
	return json_pack("{s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "empty", second->flushed, "flush_s", span(second->flush_ns), "pending",
	    number(after->pending), "enqueued", number(after->enqueued - before->enqueued), "acknowledged",
	    number(after->acknowledged - before->acknowledged), "failed", number(after->failed - before->failed), "dropped",
	    number(after->dropped - before->dropped), "coalesced", number(after->coalesced - before->coalesced));
}

static json_t *asked_json(const struct larder_stats *before, const struct larder_stats *after)
{
	if (before->size == 0 || after->size == 0)
		return json_null();
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "hits", number(after->l2_hits - before->l2_hits), "misses",
	    number(after->l2_misses - before->l2_misses), "writes", number(after->l2_writes - before->l2_writes), "refused",
	    number(after->l2_refused - before->l2_refused), "retries", number(after->l2_retries - before->l2_retries));
}

/* null where there is no second level */
static json_t *l2_json(const struct replay_report *report)
{
	const struct replay_story *story = &report->story;
	const struct replay_second *second = &report->outcome->second;
	enum replay_call call = REPLAY_L1_HIT;
	uint64_t worst_ns = replay_report_worst(report, &call);
	if (report->l2 == NULL)
		return json_null();
	json_t *breaker = json_pack("{s:s, s:i, s:o}", "state", replay_breaker_name(story->state), "transition_count", (int)story->noted,
	    "transitions", transitions_json(report));
	json_t *outage = json_pack("{s:o, s:o, s:o, s:o}", "killed_s", moment(report, second->killed_ns), "returned_s",
	    moment(report, second->returned_ns), "open_s", span(story->reaction.open_ns), "recover_s", span(story->reaction.recover_ns));
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o}", "address", json_string(report->l2), "calls", calls_json(report), "requests",
	    asked_json(&report->outcome->before, &report->outcome->after), "breaker", breaker, "outage", outage, "worst_ns", nanoseconds(worst_ns),
	    "worst_call", replay_call_name(call), "outbox", outbox_json(second));
}

json_t *replay_report_json(const struct replay_report *report)
{
	const struct replay_outcome *outcome = report->outcome;
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:b, s:s?}",
	    "trace", trace_json(report), "workers", rows_json(report),
	    "together", row_json(&report->together), "cache", cache_json(report), "l2", l2_json(report), "reasons", reasons_json(report), "killed",
	    (int)outcome->killed, "died", (int)outcome->died, "interrupted", outcome->interrupted, "last_error",
	    report->last_error ? larder_result_name(report->last_error) : NULL);
}
