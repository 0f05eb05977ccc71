/* SPDX-License-Identifier: MIT */
/**
 * What `larder replay` tells at the end: tables and a few figures, or one JSON object.
 */
#ifndef LARDER_TOOL_REPLAY_REPORT_H
#define LARDER_TOOL_REPLAY_REPORT_H

#include "replay_master.h"
#include "replay_worker.h"

/** One line of the tables: a worker, or all together. */
struct replay_row {
	struct replay_counts counts;
	double seconds;
	double gets_per_s;
	double hit_percent;
	uint64_t hit_ns[3];       /* of fresh hits in this host's cache: p50, p99, p99.9; 0 = nothing was timed */
	uint64_t set_ns[3];
	uint64_t private_b;       /* together: the largest of any worker; 0 = not known */
};

/** One kind of call, of all workers. */
struct replay_kind {
	uint64_t ns[3];           /* p50, p99, p99.9; 0 = nothing was timed */
	uint64_t worst_ns;
	int64_t worst_began_ns;   /* CLOCK_MONOTONIC; 0 = nothing was timed */
};

/** What the breaker did, and how soon. Only where there is a second level. */
struct replay_story {
	struct replay_transition transitions[REPLAY_TRANSITIONS_MAX];
	size_t count;             /* of those above */
	uint32_t noted;           /* all that there were */
	enum larder_breaker_state state; /* at the end */
	struct replay_reaction reaction;
};

struct replay_report {
	const struct replay_plan *plan;
	const struct replay_outcome *outcome;
	const char *source;       /* what was replayed, as the user named it */
	struct replay_row *rows;  /* by worker */
	struct replay_row together;
	struct replay_kind kinds[REPLAY_CALLS];
	struct replay_story story;
	const char *l2;           /* where L2 is; NULL = there is none */
	uint64_t reasons[LARDER_REASON_COUNT];
	int last_error;
};

/**
 * Read the slots of a run that is over.
 *
 * l2        where L2 is, NULL = there is none
 * ret_report on 0: to be freed with replay_report_free(); plan, outcome, source and l2 are borrowed until then
 *
 * Returns   0; -1 memory ran out
 */
int replay_report_make(const struct replay_plan *plan, const struct replay_outcome *outcome, const char *source, const char *l2,
    struct replay_report *ret_report);
void replay_report_free(struct replay_report *report);

/** The exit code that a run deserves: 4 wrong values, 130 interrupted, 3 a worker was lost or nothing was served, else 0. */
int replay_report_exit(const struct replay_report *report);

/** Print the tables on stdout, and on stderr what was not as it should be. */
void replay_report_print(const struct replay_report *report);

/** The part of it about both tiers: calls by how they ended, outages, the breaker's transitions, the outbox. */
void replay_report_print_tiers(const struct replay_report *report);

/** The same as a new JSON object; NULL when memory ran out. */
json_t *replay_report_json(const struct replay_report *report);

/** A line of the report that says why calls were not served: the label, then how often and why; broken where it would be longer than 80 columns. */
void replay_report_reason(const char *label, uint64_t times, enum larder_reason reason);

/** The longest call of any kind; *ret_call is its kind. 0 = nothing was timed. */
uint64_t replay_report_worst(const struct replay_report *report, enum replay_call *ret_call);

/** 850 -> "850 ns", 12345 -> "12.3 us"; 0 -> "-". Writes at most HUMAN_SIZE bytes into buffer and returns it. */
const char *replay_report_ns(char *buffer, uint64_t ns);

#endif
