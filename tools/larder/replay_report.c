/* SPDX-License-Identifier: MIT */
/* Sums up a run of `larder replay` and prints it as tables. Reads the shared area after the last worker is gone, so that
 * nothing moves any more. replay_json.c prints the same figures as JSON. */
#include "replay_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "human.h"
#include "table.h"

#define COLUMNS 79u
#define INDENT 11

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
	uint64_t gets = replay_counts_gets(&row->counts), hits = replay_counts_hits(&row->counts);
	row->gets_per_s = row->seconds > 0 ? (double)gets / row->seconds : 0;
	row->hit_percent = gets ? 100.0 * (double)hits / (double)gets : 0;
}

static void read_slot(struct replay_report *report, unsigned index)
{
	const struct replay_slot *slot = &report->plan->shared->slots[index];
	struct replay_row *row = &report->rows[index];
	int64_t finished_ns = atomic_load_explicit(&slot->finished_ns, memory_order_relaxed);
	int error = atomic_load_explicit(&slot->last_error, memory_order_relaxed);

	replay_counts_read(slot, &row->counts);
	read_percentiles(&slot->calls[REPLAY_L1_HIT], row->hit_ns);
	read_percentiles(&slot->calls[REPLAY_SET], row->set_ns);
	row->private_b = atomic_load_explicit(&slot->private_b, memory_order_relaxed);
	finish_row(row, report->outcome->began_ns, finished_ns ? finished_ns : report->outcome->ended_ns);
	for (unsigned i = 0; i < LARDER_REASON_COUNT; i++)
		report->reasons[i] += atomic_load_explicit(&slot->reasons[i], memory_order_relaxed);
	if (error != 0)
		report->last_error = error;
}

/* The clock of all together stops when the last worker has done its share; that its process then ends is not part of the
 * work. */
static void read_together(struct replay_report *report)
{
	struct replay_row *all = &report->together;
	int64_t last_ns = 0;
	for (unsigned i = 0; i < report->plan->workers; i++) {
		const struct replay_slot *slot = &report->plan->shared->slots[i];
		int64_t finished_ns = atomic_load_explicit(&slot->finished_ns, memory_order_relaxed);
		add_counts(&all->counts, &report->rows[i].counts);
		if (report->rows[i].private_b > all->private_b)
			all->private_b = report->rows[i].private_b;
		if (finished_ns > last_ns)
			last_ns = finished_ns;
	}
	memcpy(all->hit_ns, report->kinds[REPLAY_L1_HIT].ns, sizeof(all->hit_ns));
	memcpy(all->set_ns, report->kinds[REPLAY_SET].ns, sizeof(all->set_ns));
	finish_row(all, report->outcome->began_ns, last_ns ? last_ns : report->outcome->ended_ns);
}

/* scratch is for the sum of the workers' histograms. */
static void read_kind(struct replay_report *report, enum replay_call call, struct replay_histogram *scratch)
{
	struct replay_kind *kind = &report->kinds[call];

	memset(scratch, 0, sizeof(*scratch));
	for (unsigned i = 0; i < report->plan->workers; i++) {
		const struct replay_slot *slot = &report->plan->shared->slots[i];
		uint64_t ns = atomic_load_explicit(&slot->worst[call].ns, memory_order_relaxed);
		replay_histogram_merge(scratch, &slot->calls[call]);
		if (ns > kind->worst_ns) {
			kind->worst_ns = ns;
			kind->worst_began_ns = atomic_load_explicit(&slot->worst[call].began_ns, memory_order_relaxed);
		}
	}
	read_percentiles(scratch, kind->ns);
}

static void read_story(struct replay_report *report)
{
	struct replay_breaker_log *log = &report->plan->shared->breaker;
	struct replay_story *story = &report->story;
	const struct replay_second *second = &report->outcome->second;

	story->count = replay_breaker_read(log, story->transitions);
	story->noted = replay_breaker_count(log);
	story->state = replay_breaker_state(log);
	story->reaction = replay_breaker_reaction(story->transitions, story->count, second->killed_ns, second->returned_ns);
}

int replay_report_make(const struct replay_plan *plan, const struct replay_outcome *outcome, const char *source, const char *l2,
    struct replay_report *ret_report)
{
	struct replay_histogram *scratch = malloc(sizeof(*scratch));
	struct replay_row *rows = calloc(plan->workers, sizeof(*rows));
	if (scratch == NULL || rows == NULL) {
		free(scratch);
		free(rows);
		return -1;
	}
	memset(ret_report, 0, sizeof(*ret_report));
	ret_report->plan = plan;
	ret_report->outcome = outcome;
	ret_report->source = source;
	ret_report->l2 = l2;
	ret_report->rows = rows;
	for (int call = 0; call < REPLAY_CALLS; call++)
		read_kind(ret_report, (enum replay_call)call, scratch);
	for (unsigned i = 0; i < plan->workers; i++)
		read_slot(ret_report, i);
	read_together(ret_report);
	read_story(ret_report);
	free(scratch);
	return 0;
}

uint64_t replay_report_worst(const struct replay_report *report, enum replay_call *ret_call)
{
	uint64_t worst_ns = 0;
	for (int call = 0; call < REPLAY_CALLS; call++)
		if (report->kinds[call].worst_ns > worst_ns) {
			worst_ns = report->kinds[call].worst_ns;
			*ret_call = (enum replay_call)call;
		}
	return worst_ns;
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
	uint64_t gets = replay_counts_gets(counts);
	uint64_t unanswered = counts->unavailable + counts->calls[REPLAY_OUTAGE] + counts->calls[REPLAY_REFUSED];
	if (counts->errors > 0 || (gets > 0 && unanswered == gets))
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
		table_cell(table, human_count(buffer, replay_counts_gets(&row->counts)));
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
		table_cell(table, human_count(buffer, replay_counts_stored(&row->counts)));
		table_colour(table, row->counts.unstored ? TABLE_YELLOW : TABLE_PLAIN);
		table_cell(table, human_count(buffer, row->counts.unstored));
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

void replay_report_reason(const char *label, uint64_t times, enum larder_reason reason)
{
	const char *text = larder_reason_text(reason);
	char number[HUMAN_SIZE];
	size_t room = COLUMNS - INDENT - strlen(human_count(number, times)) - strlen(" times: ");
	size_t len = strlen(text), first = len;

	while (first > room) {
		do
			first--;
		while (first > 0 && text[first] != ' ');
	}
	printf("%-*s%s times: %.*s\n", INDENT, label, number, (int)first, text);
	if (first < len)
		printf("%*s%s\n", INDENT, "", text + first + (text[first] == ' '));
}

/* How seldom the store behind the cache was asked. */
static void print_loads(const struct replay_report *report)
{
	const struct replay_counts *counts = &report->together.counts;
	uint64_t gets = replay_counts_gets(counts);
	char number[HUMAN_SIZE], all[HUMAN_SIZE];
	if (report->plan->load && gets > 0)
		printf("loads      %s for %s requests: %.2f %%\n", human_count(number, counts->loads), human_count(all, gets),
		    100.0 * (double)counts->loads / (double)gets);
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
	if (counts->unstored > 0)
		printf("%-10s %s sets were not stored\n", counts->unavailable > 0 ? "" : "unserved", human_count(number, counts->unstored));
	for (unsigned i = 1; i < LARDER_REASON_L2_TIMEOUT; i++)
		if (report->reasons[i] > 0)
			replay_report_reason("", report->reasons[i], (enum larder_reason)i);
	if (counts->errors > 0)
		printf("errors     %s, the last: %s\n", human_count(number, counts->errors), larder_strerror(report->last_error));
	if (report->outcome->died > 0)
		printf("lost       %u workers\n", report->outcome->died);
	if (report->outcome->interrupted)
		printf("stopped    after %s of %s requests\n", human_count(number, replay_counts_gets(counts)),
		    human_count((char[HUMAN_SIZE]){ 0 }, report->plan->trace.count));
}

void replay_report_print(const struct replay_report *report)
{
	print_trace(report);
	print_cache(report);
	print_loads(report);
	print_trouble(report);
	if (report->l2 != NULL)
		replay_report_print_tiers(report);
	printf("\n");
	print_gets(report);
	printf("\n");
	print_sets(report);
}
