/* SPDX-License-Identifier: MIT */
/*
 * `larder explain`: larder_inspect_explain() for people and as JSON. It must leave no trace: it starts no thread, makes no cache where there is none, and
 * shows neither the name nor the value.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "cli.h"
#include "human.h"
#include "record.h"
#include "table.h"
#include "target.h"
#include "verbs.h"

static const char text[] =
	"Say what a get of NAME would do now, and why: its key, its entry and how old it is,\n"
	"what hides it, who fetches it, whether L2 has been told, and whether the breaker and\n"
	"the tenant's limit let L2 be asked. Nothing is changed, counted or asked.\n"
	"Needs the secret of the cache (LARDER_SECRET_FILE).\n"
	"Exit code: 0 a get would find a value, 1 a miss, or only L2 knows, 3 it would fail.\n";

static const char *const breakers[] = { "closed", "open", "half-open" };

static const char *breaker_name(int32_t state)
{
	return state >= 0 && state < (int32_t)(sizeof breakers / sizeof breakers[0]) ? breakers[state] : "none";
}

static const char *state_name(const struct larder_explanation *e)
{
	return e->state ? record_state(e->state) : "none";
}

static int has_entry(const struct larder_explanation *e)
{
	return e->state && e->state != LARDER_IS_DAMAGED;
}

/* ---- as text ---- */

static struct table *section(const char *title, int first)
{
	static const struct table_column pairs[] = { { NULL, TABLE_LEFT }, { NULL, TABLE_LEFT } };
	table_heading(stdout, title, first);
	return table_new(stdout, pairs, sizeof pairs / sizeof pairs[0]);
}

static void row_duration(struct table *table, const char *what, int64_t ms)
{
	char buffer[HUMAN_SIZE];
	table_cell(table, what);
	table_cell(table, human_duration(buffer, ms));
}

static void row_left(struct table *table, const char *what, int64_t ms)
{
	char buffer[HUMAN_SIZE];
	table_cell(table, what);
	table_colour(table, ms > 0 ? TABLE_GREEN : TABLE_YELLOW);
	table_cellf(table, ms > 0 ? "%s more" : "over for %s", human_duration(buffer, ms > 0 ? ms : -ms));
}

static void row_moment(struct table *table, const char *what, int64_t wall_ms)
{
	char buffer[HUMAN_SIZE];
	if (!wall_ms)
		return;
	table_cell(table, what);
	table_cell(table, human_time(buffer, wall_ms));
}

static int print_get(const struct larder_explanation *e)
{
	struct table *table = section("A GET NOW", 1);
	int found = e->result == LARDER_OK || e->result == LARDER_STALE;
	table_cell(table, "would");
	table_colour(table, found ? TABLE_GREEN : TABLE_YELLOW);
	if (e->asks_l2 || e->waits)
		table_cellf(table, "%s; if that has nothing: %s, if it fails: %s", e->asks_l2 ? "ask L2" : "wait for another one's fetch",
		            larder_result_name(e->result), larder_result_name(e->if_l2_fails));
	else
		table_cellf(table, "%s: %s", larder_result_name(e->result), larder_strerror(e->result));
	table_cell(table, "because");
	table_cell(table, e->why);
	table_cell(table, "with a loader");
	table_cellf(table, "%s; if that failed: %s", e->load_why, larder_result_name(e->load_result));
	table_cell(table, "switched");
	table_colour(table, e->on && !e->passed ? TABLE_PLAIN : TABLE_YELLOW);
	table_cell(table, !e->on ? "off" : e->passed ? "on, but not for this key by this process's settings" : "on");
	return table_free(table);
}

static int print_key(const struct larder_explanation *e)
{
	char ttl[HUMAN_SIZE], stale[HUMAN_SIZE], error[HUMAN_SIZE], negative[HUMAN_SIZE];
	char *hex = codec_hex(e->digest, sizeof e->digest);
	struct table *table = section("KEY", 0);
	table_cell(table, "digest");
	table_cell(table, hex ? hex : "-");
	table_cell(table, "policy");
	table_cellf(table, "ttl %s, stale %s, stale if error %s, negative %s, names %s", human_duration(ttl, e->ttl_ms),
	            human_duration(stale, e->stale_ms), human_duration(error, e->error_ms), human_duration(negative, e->negative_ms),
	            e->keeps_names ? "kept" : "not kept");
	free(hex);
	return table_free(table);
}

static int print_entry(const struct larder_explanation *e)
{
	char size[HUMAN_SIZE], stored[HUMAN_SIZE];
	struct table *table = section("ENTRY", 0);
	table_cell(table, "state");
	table_colour(table, e->state == LARDER_IS_FRESH ? TABLE_GREEN : e->state == LARDER_IS_DAMAGED ? TABLE_RED : TABLE_YELLOW);
	table_cellf(table, "%s%s", state_name(e), e->absent ? ", remembered as not found" : "");
	if (has_entry(e)) {
		row_duration(table, "age", e->age_ms);
		row_left(table, "fresh", e->fresh_ms);
		row_left(table, "served", e->left_ms);
		if (e->error_left_ms != e->left_ms)
			row_left(table, "if L2 or a loader fails", e->error_left_ms);
		row_moment(table, "hard end", e->hard_end_ms);
		table_cell(table, "size");
		table_cellf(table, "%s, stored as %s", human_bytes(size, e->value_len), human_bytes(stored, e->stored_bytes));
		if (e->load_ms)
			row_duration(table, "took to load", e->load_ms);
		table_cell(table, "flags");
		table_cellf(table, "0x%" PRIx32, e->flags);
		table_cell(table, "asked for");
		table_cellf(table, "%" PRIu32 " of 15", e->hits_estimate);
		table_cell(table, "sequence");
		table_cellf(table, "%" PRIu64, e->sequence);
		if (e->etag[0]) {
			table_cell(table, "etag");
			table_bytes(table, e->etag, strlen(e->etag), 0);
		}
	}
	return table_free(table);
}

static void row_sequence(struct table *table, const char *what, uint64_t sequence, int hides)
{
	table_cell(table, what);
	if (!sequence) {
		table_cell(table, "none");
		return;
	}
	table_colour(table, hides ? TABLE_YELLOW : TABLE_PLAIN);
	table_cellf(table, "%" PRIu64 "%s", sequence, hides ? ", hides the entry" : "");
}

static int print_hiding(const struct larder_explanation *e)
{
	struct table *table = section("CLEARS AND BARRIER", 0);
	int there = has_entry(e);
	row_sequence(table, "everything cleared at", e->cleared_all, there && e->sequence < e->cleared_all);
	row_sequence(table, "tenant cleared at", e->cleared_tenant, there && e->sequence < e->cleared_tenant);
	row_sequence(table, "space cleared at", e->cleared_space, there && e->sequence < e->cleared_space);
	row_sequence(table, "barrier at", e->barrier, there && e->sequence <= e->barrier);
	return table_free(table);
}

static int print_tags(const struct larder_explanation *e)
{
	struct table *table;
	if (!e->tag_count)
		return 0;
	table = section("TAGS", 0);
	table_cell(table, "of the entry");
	table_cellf(table, "%" PRIu32, e->tag_count);
	row_sequence(table, "invalidated at", e->tag_cleared, e->sequence < e->tag_cleared);
	if (e->tag_cleared) {
		table_cell(table, "hash of that one");
		table_cellf(table, "%016" PRIx64, e->tag);
	}
	return table_free(table);
}

static int print_lease(const struct larder_explanation *e)
{
	char buffer[HUMAN_SIZE];
	struct table *table = section("LEASE", 0);
	table_cell(table, "held by");
	if (!e->lease_held) {
		table_cell(table, "nobody");
	} else {
		table_colour(table, e->lease_alive && !e->lease_outdated ? TABLE_PLAIN : TABLE_YELLOW);
		if (e->lease_pid)
			table_cellf(table, "pid %" PRId32, e->lease_pid);
		else
			table_cell(table, "a process that is dead");
		table_cell(table, "by whoever comes next");
		table_cell(table, !e->lease_alive ? "taken over: its holder is dead" : e->lease_outdated ? "taken over: the key was written since" : "waited for");
		row_duration(table, "age", e->lease_age_ms);
		row_left(table, "time", e->lease_left_ms);
		table_cell(table, "calls that came to wait");
		table_cellf(table, "%" PRIu32, e->lease_waiting);
	}
	table_cell(table, "last failure");
	if (e->failed_ago_ms < 0)
		table_cell(table, "none that is known");
	else
		table_cellf(table, "%s ago", human_duration(buffer, e->failed_ago_ms));
	if (e->throttled_ms) {
		table_cell(table, "loaded again");
		table_cellf(table, "in %s at the earliest", human_duration(buffer, e->throttled_ms));
	}
	return table_free(table);
}

static int print_l2(const struct larder_explanation *e)
{
	char buffer[HUMAN_SIZE];
	struct table *table = section("SECOND LEVEL", 0);
	table_cell(table, "address");
	table_cell(table, e->l2 ? e->tells_l2 ? "set; writes are told" : "set; writes are not told" : "none");
	table_cell(table, "waits to be told");
	if (strcmp(e->pending, "none") != 0)
		table_cellf(table, "a %s, for %s", e->pending, human_duration(buffer, e->pending_ms));
	else
		table_cell(table, "nothing");
	row_moment(table, "older is not taken", e->l2_invalid_ms);
	if (e->l2) {
		table_cell(table, e->breaker_own ? "breaker, the tenant's" : "breaker");
		table_colour(table, e->breaker == LARDER_BREAKER_CLOSED ? TABLE_GREEN : TABLE_RED);
		if (e->breaker_retry_ms > 0)
			table_cellf(table, "%s, lets a call in after %s", breaker_name(e->breaker), human_duration(buffer, e->breaker_retry_ms));
		else
			table_cellf(table, "%s%s", breaker_name(e->breaker), e->breaker_retry_ms < 0 ? ", until it is closed by hand" : "");
		table_cell(table, "tenant's limit");
		if (!e->limit_rate)
			table_cell(table, "none");
		else if (e->limit_retry_ms)
			table_cellf(table, "%g a second, lets a get in after %s", (double)e->limit_rate / 1e9, human_duration(buffer, e->limit_retry_ms));
		else
			table_cellf(table, "%g a second, not reached", (double)e->limit_rate / 1e9);
	}
	return table_free(table);
}

static int print(const struct larder_explanation *e)
{
	int lost = print_get(e);
	lost |= print_key(e);
	lost |= print_entry(e);
	lost |= print_hiding(e);
	lost |= print_tags(e);
	lost |= print_lease(e);
	lost |= print_l2(e);
	if (lost)
		cli_error("out of memory");
	return lost ? CLI_UNAVAILABLE : CLI_DONE;
}

/* ---- as JSON ---- */

static json_t *pack_entry(const struct larder_explanation *e)
{
	json_t *entry = json_pack("{ss sb}", "state", state_name(e), "absent", e->absent);
	json_t *more = !has_entry(e) ? json_object()
		: json_pack("{sI sI sI sI sI sI sI sI sI sI sI ss}", "age_ms", (json_int_t)e->age_ms, "fresh_ms", (json_int_t)e->fresh_ms, "left_ms",
		            (json_int_t)e->left_ms, "error_left_ms", (json_int_t)e->error_left_ms, "load_ms", (json_int_t)e->load_ms, "hard_end_ms", (json_int_t)e->hard_end_ms, "size", (json_int_t)e->value_len, "stored_bytes",
		            (json_int_t)e->stored_bytes, "flags", (json_int_t)e->flags, "hits_estimate", (json_int_t)e->hits_estimate, "sequence",
		            (json_int_t)e->sequence, "etag", human_is_utf8(e->etag, strlen(e->etag)) ? e->etag : "");
	json_object_update(entry, more);
	json_decref(more);
	return entry;
}

static json_t *pack_tags(const struct larder_explanation *e)
{
	char hash[17] = "";
	if (e->tag_cleared)
		snprintf(hash, sizeof hash, "%016" PRIx64, e->tag);
	return json_pack("{sI sI sb ss}", "count", (json_int_t)e->tag_count, "invalidated", (json_int_t)e->tag_cleared, "hides",
	                 e->sequence < e->tag_cleared, "tag", hash);
}

static json_t *pack_lease(const struct larder_explanation *e)
{
	return json_pack("{sb si sb sb sI sI sI sI sI}", "held", e->lease_held, "pid", e->lease_pid, "alive", e->lease_alive, "outdated",
	                 e->lease_outdated, "age_ms", (json_int_t)e->lease_age_ms, "left_ms", (json_int_t)e->lease_left_ms, "waiting",
	                 (json_int_t)e->lease_waiting, "throttled_ms", (json_int_t)e->throttled_ms, "failed_ago_ms",
	                 (json_int_t)e->failed_ago_ms);
}

static json_t *pack_loader(const struct larder_explanation *e)
{
	return json_pack("{sb sb sb ss ss}", "loads", e->loads, "waits", e->load_waits, "may_be_early", e->may_be_early, "if_it_fails",
	                 larder_result_name(e->load_result), "why", e->load_why);
}

static json_t *pack_l2(const struct larder_explanation *e)
{
	return json_pack("{sb sb ss sI sI ss sb sI sf sI}", "there", e->l2, "told", e->tells_l2, "pending", e->pending, "pending_ms",
	                 (json_int_t)e->pending_ms, "invalid_before_ms", (json_int_t)e->l2_invalid_ms, "breaker", breaker_name(e->breaker),
	                 "breaker_own", e->breaker_own, "breaker_retry_ms", (json_int_t)e->breaker_retry_ms, "limit_rate", (double)e->limit_rate / 1e9, "limit_retry_ms",
	                 (json_int_t)e->limit_retry_ms);
}

static json_t *pack(const struct larder_explanation *e)
{
	char *hex = codec_hex(e->digest, sizeof e->digest);
	json_t *object = json_pack("{ss ss ss sb sb sb sb sb ss? s{sI sI sI sI sb} so s{sI sI sI} sI so so so so}", "result",
	                           larder_result_name(e->result), "why", e->why, "if_l2_fails", larder_result_name(e->if_l2_fails), "asks_l2",
	                           e->asks_l2, "waits", e->waits, "refreshes", e->refreshes, "on", e->on, "passed", e->passed, "key", hex, "policy",
	                           "ttl_ms", (json_int_t)e->ttl_ms, "stale_ms", (json_int_t)e->stale_ms, "error_ms", (json_int_t)e->error_ms,
	                           "negative_ms", (json_int_t)e->negative_ms, "names", e->keeps_names, "entry", pack_entry(e), "cleared", "all",
	                           (json_int_t)e->cleared_all, "tenant", (json_int_t)e->cleared_tenant, "space", (json_int_t)e->cleared_space,
	                           "barrier", (json_int_t)e->barrier, "tags", pack_tags(e), "lease", pack_lease(e), "loader", pack_loader(e), "l2",
	                           pack_l2(e));
	free(hex);
	return object;
}

/* ---- the verb ---- */

static int exit_of(const struct larder_explanation *e)
{
	if (e->result == LARDER_OK || e->result == LARDER_STALE)
		return CLI_DONE;
	return e->asks_l2 || e->waits ? CLI_MISS : cli_exit_of(e->result);
}

static int explain(struct cli *cli, struct target *target, int hex)
{
	struct larder_explanation explanation = { .size = sizeof explanation };
	struct target_name name;
	int code = target_name(cli, cli->args[2], hex, &name);
	if (code)
		return code;
	code = target_open(cli, TARGET_WAIT_MS, target);
	if (code == CLI_DONE) {
		int result = larder_inspect_explain(target->tenant, target->space, name.data, name.len, &explanation);
		code = result ? cli_failed("explain", result) : cli->json ? cli_print_json(pack(&explanation)) : print(&explanation);
		code = code ? code : exit_of(&explanation);
	}
	free(name.owned);
	return code;
}

int verb_explain(int argc, char **argv)
{
	struct cli cli;
	struct target target = { 0 };
	larder_inspector *inspector = NULL;
	int hex = 0;
	const struct cli_option options[] = { TARGET_HEX_OPTION(&hex), CLI_OPTIONS_END };
	const struct cli_verb verb = { "explain", "[options] TENANT SPACE NAME", text, options, 3, 3 };
	int stop = cli_begin(&cli, &verb, argc, argv);
	if (stop >= 0)
		return stop;
	int code = cli_setting(&cli, "THREADS", "0") ? CLI_UNAVAILABLE : cli_inspect(&cli, &inspector);
	if (code == CLI_DONE)
		code = explain(&cli, &target, hex);
	target_close(&target);
	larder_inspect_close(inspector);
	return cli_end(&cli, code);
}
