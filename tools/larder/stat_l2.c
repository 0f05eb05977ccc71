/* SPDX-License-Identifier: MIT */
/*
 * The section of `larder stat` about the second level: hits by tier, breakers, outbox. A host that never had one is not shown it, unless it is asked for.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "human.h"
#include "stat_show.h"
#include "table.h"

/* Sums of counters, and the outbox. */
struct second {
	uint64_t l1_hits, l1_asked, l2_hits, l2_misses, l2_any;
	struct larder_outbox outbox;
};

static int is_any(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(name, *names) == 0)
			return 1;
	return 0;
}

static int on_counter(void *ctx, const char *name, const char *text, uint64_t value)
{
	static const char *const hits[] = { "hits", "stale_hits", "absent_hits", NULL };
	static const char *const others[] = { "misses", "unavailable", NULL };
	struct second *second = ctx;
	(void)text;
	if (is_any(name, hits))
		second->l1_hits += value;
	if (is_any(name, hits) || is_any(name, others))
		second->l1_asked += value;
	if (strcmp(name, "l2_hits") == 0)
		second->l2_hits = value;
	if (strcmp(name, "l2_misses") == 0)
		second->l2_misses = value;
	if (strncmp(name, "l2_", 3) == 0)
		second->l2_any += value;
	return 0;
}

static double share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : 0;
}

/* ---- as text ---- */

static const struct table_column columns[] = { { NULL, TABLE_LEFT }, { NULL, TABLE_LEFT } };

static void row_hits(struct table *table, const char *title, uint64_t hits, uint64_t asked, const char *what)
{
	char number[HUMAN_SIZE], all[HUMAN_SIZE];
	table_cell(table, title);
	table_cellf(table, "%s of %s %s  %.1f %%", human_count(number, hits), human_count(all, asked), what, 100 * share(hits, asked));
}

static int on_breaker(void *ctx, const struct larder_breaker *breaker)
{
	struct table *table = ctx;
	char retry[HUMAN_SIZE];
	table_cell(table, "breaker");
	char *name = human_safe(breaker->name, strlen(breaker->name), 0, 0);
	table_colour(table, strcmp(breaker->state, "closed") == 0 ? TABLE_GREEN : TABLE_RED);
	if (breaker->retry_after_ms > 0)
		table_cellf(table, "%s for %s  %s", breaker->state, human_duration(retry, breaker->retry_after_ms), name ? name : "");
	else
		table_cellf(table, "%s  %s", breaker->state, name ? name : "");
	free(name);
	return 0;
}

static void row_outbox(struct table *table, const struct larder_outbox *outbox)
{
	char count[HUMAN_SIZE], age[HUMAN_SIZE];
	table_cell(table, "outbox");
	if (!outbox->pending)
		table_cell(table, "nothing pending");
	else if (outbox->teller_pid)
		table_cellf(table, "%s pending, the oldest for %s, told by pid %" PRId32 " (%s)", human_count(count, outbox->pending),
		            human_duration(age, outbox->oldest_ms), outbox->teller_pid, outbox->teller);
	else
		table_cellf(table, "%s pending, the oldest for %s, told by nobody", human_count(count, outbox->pending),
		            human_duration(age, outbox->oldest_ms));
}

static int print(const struct stat_out *out, const struct second *second)
{
	table_heading(stdout, "SECOND LEVEL", out->first);
	struct table *table = table_new(stdout, columns, 2);
	row_hits(table, "hits here", second->l1_hits, second->l1_asked, "gets");
	row_hits(table, "hits in L2", second->l2_hits, second->l2_hits + second->l2_misses, "answers");
	int result = larder_inspect_breakers(out->inspector, on_breaker, table);
	row_outbox(table, &second->outbox);
	int lost = table_free(table);
	return result ? result : lost ? STAT_OUT_OF_MEMORY : 0;
}

/* ---- as JSON ---- */

static int pack_breaker(void *ctx, const struct larder_breaker *breaker)
{
	json_t *row = json_pack("{ss ss sI}", "name", breaker->name, "state", breaker->state, "retry_after_ms",
	                        (json_int_t)breaker->retry_after_ms);
	return json_array_append_new(ctx, row) ? STAT_OUT_OF_MEMORY : 0;
}

static int add(const struct stat_out *out, const struct second *second)
{
	const struct larder_outbox *outbox = &second->outbox;
	json_t *breakers = json_array();
	int result = breakers ? larder_inspect_breakers(out->inspector, pack_breaker, breakers) : STAT_OUT_OF_MEMORY;
	json_t *object = json_pack("{sI sI sf sI sI sf sO? s{sI sI ss sI}}", "l1_hits", (json_int_t)second->l1_hits, "l1_asked",
	                           (json_int_t)second->l1_asked, "l1_hit_ratio", share(second->l1_hits, second->l1_asked), "l2_hits",
	                           (json_int_t)second->l2_hits, "l2_misses", (json_int_t)second->l2_misses, "l2_hit_ratio",
	                           share(second->l2_hits, second->l2_hits + second->l2_misses), "breakers", breakers, "outbox", "pending",
	                           (json_int_t)outbox->pending, "oldest_ms", (json_int_t)outbox->oldest_ms, "teller", outbox->teller,
	                           "teller_pid", (json_int_t)outbox->teller_pid);
	json_decref(breakers);
	if (json_object_set_new(out->json, "l2", object) && result == 0)
		result = STAT_OUT_OF_MEMORY;
	return result;
}

int stat_l2(struct stat_out *out)
{
	struct second second = { .outbox = { .size = sizeof second.outbox } };
	int result = larder_inspect_counters(out->inspector, on_counter, &second);
	if (result == 0)
		result = larder_inspect_outbox(out->inspector, &second.outbox);
	if (result)
		return result;
	if (!out->asked && second.l2_any == 0 && second.outbox.enqueued == 0)
		return out->json && json_object_set_new(out->json, "l2", json_null()) ? STAT_OUT_OF_MEMORY : 0;
	return out->json ? add(out, &second) : print(out, &second);
}
