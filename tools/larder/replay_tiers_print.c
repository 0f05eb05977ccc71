/* SPDX-License-Identifier: MIT */
/* The part of the report of `larder replay` that is about both tiers: which call ended how and how long it took, what L2 could not tell, what the
 * breaker did, and what became of the outbox. 80 columns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "human.h"
#include "replay_report.h"
#include "table.h"

/* Of many transitions the first ones and the last ones. */
#define SHOWN_FIRST 9
#define SHOWN_LAST 3

static double seconds_since(const struct replay_report *report, int64_t at_ns)
{
	return (double)(at_ns - report->outcome->began_ns) / 1e9;
}

static enum table_colour colour_of(enum replay_call call)
{
	return call == REPLAY_OUTAGE || call == REPLAY_UNSERVED ? TABLE_RED : call == REPLAY_REFUSED ? TABLE_YELLOW : TABLE_PLAIN;
}

static void print_call(struct table *table, const struct replay_report *report, enum replay_call call)
{
	const struct replay_kind *kind = &report->kinds[call];
	uint64_t count = report->together.counts.calls[call], gets = replay_counts_gets(&report->together.counts);
	char buffer[HUMAN_SIZE];

	table_colour(table, count ? colour_of(call) : TABLE_PLAIN);
	table_cell(table, replay_call_title(call));
	table_cell(table, human_count(buffer, count));
	if (call == REPLAY_SET || gets == 0)
		table_cell(table, "");
	else
		table_cellf(table, "%.2f", 100.0 * (double)count / (double)gets);
	for (int i = 0; i < 3; i++)
		table_cell(table, replay_report_ns(buffer, kind->ns[i]));
	table_cell(table, replay_report_ns(buffer, kind->worst_ns));
	if (kind->worst_began_ns != 0)
		table_cellf(table, "%.2f s", seconds_since(report, kind->worst_began_ns));
	else
		table_cell(table, "-");
}

static void print_calls(const struct replay_report *report)
{
	static const struct table_column columns[] = {
		{ "call", TABLE_LEFT }, { "count", TABLE_RIGHT }, { "% gets", TABLE_RIGHT }, { "p50", TABLE_RIGHT }, { "p99", TABLE_RIGHT },
		{ "p99.9", TABLE_RIGHT }, { "worst", TABLE_RIGHT }, { "at", TABLE_RIGHT },
	};
	struct table *table = table_new(stdout, columns, sizeof(columns) / sizeof(columns[0]));

	for (int call = 0; call < REPLAY_CALLS; call++)
		print_call(table, report, (enum replay_call)call);
	if (table_free(table) < 0)
		cli_error("out of memory");
}

static void print_reasons(const struct replay_report *report)
{
	const char *label = "outages";

	for (unsigned i = LARDER_REASON_L2_TIMEOUT; i < LARDER_REASON_COUNT; i++)
		if (report->reasons[i] > 0) {
			replay_report_reason(label, report->reasons[i], (enum larder_reason)i);
			label = "";
		}
}

static void print_reaction(const char *what, int64_t ns)
{
	char buffer[HUMAN_SIZE];
	if (ns < 0)
		printf("           %s: not seen\n", what);
	else
		printf("           %s: %s\n", what, replay_report_ns(buffer, (uint64_t)(ns ? ns : 1)));
}

static void print_outage(const struct replay_report *report)
{
	const struct replay_second *second = &report->outcome->second;

	if (second->killed_ns == 0)
		return;
	printf("outage     L2 killed at %.2f s", seconds_since(report, second->killed_ns));
	if (second->returned_ns != 0)
		printf(", started again at %.2f s", seconds_since(report, second->returned_ns));
	printf("\n");
	print_reaction("from the kill until the breaker opened", report->story.reaction.open_ns);
	print_reaction("from the start until it had closed", report->story.reaction.recover_ns);
}

static void print_breaker(const struct replay_report *report)
{
	const struct replay_story *story = &report->story;
	char number[HUMAN_SIZE];

	printf("breaker    %s at the end, %u transition%s, %s gets refused\n", replay_breaker_name(story->state), story->noted, story->noted == 1 ? "" : "s",
	    human_count(number, report->together.counts.calls[REPLAY_REFUSED]));
	for (size_t i = 0; i < story->count; i++) {
		if (i == SHOWN_FIRST && story->count > SHOWN_FIRST + SHOWN_LAST) {
			i = story->count - SHOWN_LAST;
			printf("                  ...   %u more, --json lists them\n", story->noted - SHOWN_FIRST - SHOWN_LAST);
		}
		printf("           %8.3f s  %s\n", seconds_since(report, story->transitions[i].at_ns), story->transitions[i].name);
	}
}

static void print_outbox(const struct replay_second *second)
{
	const struct larder_outbox *before = &second->before, *after = &second->after;
	char took[HUMAN_SIZE], numbers[4][HUMAN_SIZE];

	if (second->flush_ns < 0)
		printf("outbox     not flushed");
	else
		printf("outbox     %s %s after the last get", second->flushed ? "empty" : "not empty", replay_report_ns(took, (uint64_t)second->flush_ns));
	if (before->size == 0 || after->size == 0) {
		printf("\n");
		return;
	}
	printf(": %s pending\n", human_count(numbers[0], after->pending));
	printf("           %s writes: %s told, %s over its bounds, %s replaced\n", human_count(numbers[0], after->enqueued - before->enqueued),
	    human_count(numbers[1], after->acknowledged - before->acknowledged),
	    human_count(numbers[2], after->dropped - before->dropped + after->failed - before->failed),
	    human_count(numbers[3], after->coalesced - before->coalesced));
}

static void print_worst(const struct replay_report *report)
{
	enum replay_call call = REPLAY_L1_HIT;
	uint64_t ns = replay_report_worst(report, &call);
	char buffer[HUMAN_SIZE];

	if (ns > 0)
		printf("worst      %s, at %.2f s: %s\n", replay_report_ns(buffer, ns), seconds_since(report, report->kinds[call].worst_began_ns),
		    replay_call_title(call));
}

void replay_report_print_tiers(const struct replay_report *report)
{
	char *l2 = human_safe(report->l2, strlen(report->l2), 0, 0);

	printf("L2         %s\n", l2 ? l2 : "");
	free(l2);
	print_reasons(report);
	print_outage(report);
	print_breaker(report);
	print_outbox(&report->outcome->second);
	print_worst(report);
	printf("\n");
	print_calls(report);
}
