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
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:f, s:f, s:f, s:o, s:o, s:o}",
	    "gets", number(counts->gets), "hits", number(counts->hits), "unavailable", number(counts->unavailable),
	    "errors", number(counts->errors), "sets", number(counts->sets), "sets_refused", number(counts->refused),
	    "wrong_values", number(counts->wrong), "seconds", row->seconds, "gets_per_s", row->gets_per_s,
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

json_t *replay_report_json(const struct replay_report *report)
{
	const struct replay_outcome *outcome = report->outcome;
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:b, s:s?}",
	    "trace", trace_json(report), "workers", rows_json(report),
	    "together", row_json(&report->together), "cache", cache_json(report), "reasons", reasons_json(report), "killed",
	    (int)outcome->killed, "died", (int)outcome->died, "interrupted", outcome->interrupted, "last_error",
	    report->last_error ? larder_result_name(report->last_error) : NULL);
}
