/* SPDX-License-Identifier: MIT */
/* Sums up a run of `larder replay` and prints it as tables. Reads the shared area after the last worker is gone, so that
 * nothing moves any more. replay_json.c prints the same figures as JSON. */
#include "replay_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "human.h"
#include "table.h"

static const double percentiles[3] = { 50, 99, 99.9 };

static void read_percentiles(const struct replay_histogram *histogram, uint64_t ret_ns[3])
{
	for (int i = 0; i < 3; i++)
		ret_ns[i] = replay_histogram_percentile(histogram, percentiles[i]);
}

static void add_counts(struct replay_counts *sum, const struct replay_counts *counts)
{
	uint64_t *into = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)counts;
	for (size_t i = 0; i < REPLAY_COUNTS; i++)
		into[i] += from[i];
}

static void finish_row(struct replay_row *row, int64_t began_ns, int64_t ended_ns)
{
	row->seconds = ended_ns > began_ns ? (double)(ended_ns - began_ns) / 1e9 : 0;
	row->gets_per_s = row->seconds > 0 ? (double)row->counts.gets / row->seconds : 0;
	row->hit_percent = row->counts.gets ? 100.0 * (double)row->counts.hits / (double)row->counts.gets : 0;
}

static void read_slot(struct replay_report *report, unsigned index)
{
	const struct replay_slot *slot = &report->plan->shared->slots[index];
	struct replay_row *row = &report->rows[index];
	int64_t finished_ns = atomic_load_explicit(&slot->finished_ns, memory_order_relaxed);
	int error = atomic_load_explicit(&slot->last_error, memory_order_relaxed);

	replay_counts_read(slot, &row->counts);
	read_percentiles(&slot->hits, row->hit_ns);
	read_percentiles(&slot->sets, row->set_ns);
	row->private_b = atomic_load_explicit(&slot->private_b, memory_order_relaxed);
	finish_row(row, report->outcome->began_ns, finished_ns ? finished_ns : report->outcome->ended_ns);
	for (unsigned i = 0; i < LARDER_REASON_COUNT; i++)
		report->reasons[i] += atomic_load_explicit(&slot->reasons[i], memory_order_relaxed);
	if (error != 0)
		report->last_error = error;
}

/* The clock of all together stops when the last worker has done its share; that its process then ends is not part of the
 * work. */
static void read_together(struct replay_report *report, struct replay_histogram *hits, struct replay_histogram *sets)
{
	struct replay_row *all = &report->together;
	int64_t last_ns = 0;
	for (unsigned i = 0; i < report->plan->workers; i++) {
		const struct replay_slot *slot = &report->plan->shared->slots[i];
		int64_t finished_ns = atomic_load_explicit(&slot->finished_ns, memory_order_relaxed);
		add_counts(&all->counts, &report->rows[i].counts);
		replay_histogram_merge(hits, &slot->hits);
		replay_histogram_merge(sets, &slot->sets);
		if (report->rows[i].private_b > all->private_b)
			all->private_b = report->rows[i].private_b;
		if (finished_ns > last_ns)
			last_ns = finished_ns;
	}
	read_percentiles(hits, all->hit_ns);
	read_percentiles(sets, all->set_ns);
	finish_row(all, report->outcome->began_ns, last_ns ? last_ns : report->outcome->ended_ns);
}

int replay_report_make(const struct replay_plan *plan, const struct replay_outcome *outcome, const char *source,
    struct replay_report *ret_report)
{
	struct replay_report report = { .plan = plan, .outcome = outcome, .source = source };
	struct replay_histogram *both = calloc(2, sizeof(*both));
	report.rows = calloc(plan->workers, sizeof(*report.rows));
	if (both == NULL || report.rows == NULL) {
		free(both);
		free(report.rows);
		return -1;
	}
	for (unsigned i = 0; i < plan->workers; i++)
		read_slot(&report, i);
	read_together(&report, &both[0], &both[1]);
	free(both);
	*ret_report = report;
	return 0;
}

void replay_report_free(struct replay_report *report)
{
	free(report->rows);
	report->rows = NULL;
}

int replay_report_exit(const struct replay_report *report)
{
	const struct replay_counts *counts = &report->together.counts;
	if (counts->wrong > 0)
		return CLI_DAMAGE;
	if (report->outcome->interrupted)
		return CLI_INTERRUPTED;
	if (report->outcome->died > 0)
		return report->outcome->worker_exit ? report->outcome->worker_exit : CLI_UNAVAILABLE;
	if (counts->errors > 0 || (counts->gets > 0 && counts->unavailable == counts->gets))
		return CLI_UNAVAILABLE;
	return CLI_DONE;
}

const char *replay_report_ns(char *buffer, uint64_t ns)
{
	static const char *const units[] = { "us", "ms", "s" };
	double value = (double)ns;
	int unit = -1;
	while (value >= 999.5 && unit < 2) {
		value /= 1000;
		unit++;
	}
	if (ns == 0)
		snprintf(buffer, HUMAN_SIZE, "-");
	else if (unit < 0)
		snprintf(buffer, HUMAN_SIZE, "%.0f ns", value);
	else
		snprintf(buffer, HUMAN_SIZE, value < 99.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return buffer;
}

static void cell_percentiles(struct table *table, const uint64_t ns[3])
{
	char buffer[HUMAN_SIZE];
	for (int i = 0; i < 3; i++)
		table_cell(table, replay_report_ns(buffer, ns[i]));
}

static void cell_label(struct table *table, const struct replay_report *report, unsigned index)
{
	if (index < report->plan->workers)
		table_cellf(table, "%u", index);
	else
		table_cell(table, "all");
}

static const struct replay_row *row_at(const struct replay_report *report, unsigned index)
{
	return index < report->plan->workers ? &report->rows[index] : &report->together;
}

static void print_gets(const struct replay_report *report)
{
	static const struct table_column columns[] = {
		{ "worker", TABLE_LEFT }, { "gets", TABLE_RIGHT }, { "gets/s", TABLE_RIGHT }, { "hit %", TABLE_RIGHT },
		{ "hit p50", TABLE_RIGHT }, { "p99", TABLE_RIGHT }, { "p99.9", TABLE_RIGHT }, { "wrong", TABLE_RIGHT },
	};
	char buffer[HUMAN_SIZE];
	struct table *table = table_new(stdout, columns, sizeof(columns) / sizeof(columns[0]));
	for (unsigned i = 0; i <= report->plan->workers; i++) {
		const struct replay_row *row = row_at(report, i);
		cell_label(table, report, i);
		table_cell(table, human_count(buffer, row->counts.gets));
		table_cell(table, human_count(buffer, (uint64_t)row->gets_per_s));
		table_cellf(table, "%.2f", row->hit_percent);
		cell_percentiles(table, row->hit_ns);
		table_colour(table, row->counts.wrong ? TABLE_RED : TABLE_PLAIN);
		table_cell(table, human_count(buffer, row->counts.wrong));
	}
	if (table_free(table) < 0)
		cli_error("out of memory");
}

static void print_sets(const struct replay_report *report)
{
	static const struct table_column columns[] = {
		{ "worker", TABLE_LEFT }, { "sets", TABLE_RIGHT }, { "refused", TABLE_RIGHT }, { "set p50", TABLE_RIGHT },
		{ "p99", TABLE_RIGHT }, { "p99.9", TABLE_RIGHT }, { "private memory", TABLE_RIGHT },
	};
	char buffer[HUMAN_SIZE];
	struct table *table = table_new(stdout, columns, sizeof(columns) / sizeof(columns[0]));
	for (unsigned i = 0; i <= report->plan->workers; i++) {
		const struct replay_row *row = row_at(report, i);
		cell_label(table, report, i);
		table_cell(table, human_count(buffer, row->counts.sets));
		table_colour(table, row->counts.refused ? TABLE_YELLOW : TABLE_PLAIN);
		table_cell(table, human_count(buffer, row->counts.refused));
		cell_percentiles(table, row->set_ns);
		table_cellf(table, "%s%s", i == report->plan->workers ? "max " : "",
		    row->private_b ? human_bytes(buffer, row->private_b) : "-");
	}
	if (table_free(table) < 0)
		cli_error("out of memory");
}

static void print_trace(const struct replay_report *report)
{
	const struct replay_trace *trace = &report->plan->trace;
	char *source = human_safe(report->source, strlen(report->source), 0, 0);
	char requests[HUMAN_SIZE], keys[HUMAN_SIZE], skipped[HUMAN_SIZE];

	human_count(requests, trace->count);
	human_count(keys, trace->keys);
	printf("trace      %s\n", source ? source : "");
	if (trace->generated)
		printf("           %s requests, generated\n", requests);
	else
		printf("           %s requests, %s keys, %s, %s lines skipped\n", requests, keys,
		    trace->format == REPLAY_ACCESS_LOG ? "an access log" : "one a line",
		    human_count(skipped, trace->skipped));
	printf("time       %.2f s, %u worker%s\n", report->together.seconds, report->plan->workers,
	    report->plan->workers == 1 ? "" : "s");
	free(source);
}

static void print_cache(const struct replay_report *report)
{
	const struct larder_stats *before = &report->outcome->before, *after = &report->outcome->after;
	char entries[HUMAN_SIZE], used[HUMAN_SIZE], size[HUMAN_SIZE], evictions[HUMAN_SIZE], expiries[HUMAN_SIZE];
	if (after->size == 0 || before->size == 0) {
		printf("cache      not available\n");
		return;
	}
	printf("cache      %s entries, %s of %s, %s evictions, %s expiries\n", human_count(entries, after->entries),
	    human_bytes(used, after->used_bytes), human_bytes(size, after->size_bytes),
	    human_count(evictions, after->evictions - before->evictions),
	    human_count(expiries, after->expiries - before->expiries));
}

/* What was not served, and why; nothing where all went well. */
static void print_trouble(const struct replay_report *report)
{
	const struct replay_counts *counts = &report->together.counts;
	char number[HUMAN_SIZE];
	if (report->outcome->killed > 0)
		printf("killed     %u times a worker, and replaced it\n", report->outcome->killed);
	if (counts->unavailable > 0)
		printf("unserved   %s gets found the cache not available\n", human_count(number, counts->unavailable));
	for (unsigned i = 1; i < LARDER_REASON_COUNT; i++)
		if (report->reasons[i] > 0)
			printf("           %s times: %s\n", human_count(number, report->reasons[i]),
			    larder_reason_text((enum larder_reason)i));
	if (counts->errors > 0)
		printf("errors     %s, the last: %s\n", human_count(number, counts->errors), larder_strerror(report->last_error));
	if (report->outcome->died > 0)
		printf("lost       %u workers\n", report->outcome->died);
	if (report->outcome->interrupted)
		printf("stopped    after %s of %s requests\n", human_count(number, counts->gets),
		    human_count((char[HUMAN_SIZE]){ 0 }, report->plan->trace.count));
}

void replay_report_print(const struct replay_report *report)
{
	print_trace(report);
	print_cache(report);
	print_trouble(report);
	printf("\n");
	print_gets(report);
	printf("\n");
	print_sets(report);
}
