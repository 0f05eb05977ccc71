/* SPDX-License-Identifier: MIT */
/*
 * The inspector of inspect.h: attach to a cache that is there, without a secret, and look at it through the store.
 */
#include "cache/second.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/errors.h"
#include "base/mem.h"
#include "base/text.h"
#include "l2/drain.h"

static int open_store(const struct larder_options *options, larder_inspector *inspector, struct ld_problems *problems)
{
	struct ld_settings *settings = &inspector->settings;
	struct ld_store_config config;
	struct ld_shared *shared = NULL;
	int rc = ld_settings_read(options, settings, problems, NULL, NULL);

	ld_settings_wipe_secret(settings);
	if (rc == 0) {
		ld_store_config_of(settings, options, LD_ROLE_INSPECTOR, &config);
		rc = ld_owner_of(options, &config, problems);
	}
	if (rc == 0)
		rc = ld_registry_lock() == 0 ? 0 : LARDER_E_BUG;
	if (rc == 0) {
		rc = ld_registry_use(&config, &shared, problems);
		ld_registry_unlock();
		if (rc == 0)
			inspector->store = shared->store;
		if (rc == LARDER_MISS && problems->count == 0)
			ld_problem(problems, "%s: there is no cache named %s here", config.dir, config.name);
	}
	return rc;
}

int larder_inspect_open(const struct larder_options *options, larder_inspector **ret_inspector, char **ret_why)
{
	struct ld_problems problems = { 0 };
	larder_inspector *inspector;
	int rc;

	if (ret_why)
		*ret_why = NULL;
	if (!ret_inspector)
		return LARDER_E_USAGE;
	inspector = ld_calloc(1, sizeof(*inspector));
	if (!inspector)
		return LARDER_E_NOMEM;
	rc = open_store(options, inspector, &problems);
	ld_give_why(&problems, rc, ret_why);
	if (rc != 0) {
		ld_settings_free(&inspector->settings);
		free(inspector);
		return rc;
	}
	if (options && options->size >= sizeof(*options)) {
		inspector->on_breaker = options->breaker;
		inspector->on_breaker_ctx = options->breaker_ctx;
	}
	inspector->magic = LD_INSPECTOR_MAGIC;
	*ret_inspector = inspector;
	return 0;
}

void larder_inspect_close(larder_inspector *inspector)
{
	if (!ld_is_inspector(inspector))
		return;
	/* The teller may wait for an answer of L2: not under the lock. */
	ld_drain_free(inspector->drain);
	ld_l2_free(inspector->l2);
	inspector->drain = NULL;
	inspector->l2 = NULL;
	if (ld_registry_lock() != 0)
		return;
	ld_registry_drop(inspector->store);
	ld_registry_unlock();
	ld_settings_free(&inspector->settings);
	inspector->magic = 0;
	free(inspector);
}

/* ---- entries ---- */

struct filtered {
	const struct larder_filter *filter;
	larder_entry_fn fn;
	larder_progress_fn progress;
	void *ctx;
};

static int fits(const struct larder_filter *filter, const struct larder_entry *entry)
{
	return (filter->age_min_ms == 0 || entry->age_ms >= filter->age_min_ms) && (filter->age_max_ms == 0 || entry->age_ms <= filter->age_max_ms) &&
	    (filter->value_min == 0 || entry->value_len >= filter->value_min) && (filter->value_max == 0 || entry->value_len <= filter->value_max);
}

static int see(void *ctx, const struct larder_entry *entry)
{
	const struct filtered *filtered = ctx;

	return fits(filtered->filter, entry) ? filtered->fn(filtered->ctx, entry) : 0;
}

static int see_progress(void *ctx, uint64_t done, uint64_t total)
{
	const struct filtered *filtered = ctx;

	return filtered->progress(filtered->ctx, done, total);
}

int larder_inspect_entries(larder_inspector *inspector, const struct larder_filter *filter, larder_entry_fn fn, larder_progress_fn progress,
    void *ctx)
{
	static const struct larder_filter all = { .size = sizeof(all) };
	struct filtered filtered = { filter ? filter : &all, fn, progress, ctx };
	struct ld_scan scan = { NULL, NULL, 0, 0, see, progress ? see_progress : NULL, &filtered };

	filter = filtered.filter;
	if (!ld_is_inspector(inspector))
		return LARDER_E_CLOSED;
	if (!fn || filter->size < sizeof(*filter) || filter->states & ~LARDER_IS_ANY || filter->flags & ~LARDER_INSPECT_VALUES)
		return LARDER_E_USAGE;
	if (filter->tenant && !ld_text_is_id(filter->tenant, LARDER_TENANT_MAX))
		return LARDER_E_TENANT;
	if (filter->space && !ld_text_is_id(filter->space, LARDER_SPACE_MAX))
		return LARDER_E_SPACE_NAME;
	scan.tenant = filter->tenant;
	scan.space = filter->space;
	scan.states = filter->states ? filter->states : LARDER_IS_FRESH | LARDER_IS_STALE | LARDER_IS_ERROR_WINDOW;
	scan.values = (filter->flags & LARDER_INSPECT_VALUES) != 0;
	return ld_store_scan(inspector->store, &scan);
}

/* A restored entry keeps its age's end: its times count from now. */
static int fill_put(const struct larder_entry *entry, struct ld_put *put)
{
	int64_t end_ms = entry->error_left_ms > entry->left_ms ? entry->error_left_ms : entry->left_ms;

	if (end_ms <= 0 || (entry->absent && entry->fresh_ms <= 0) || (entry->hard_end_ms != 0 && entry->hard_end_ms <= ld_clock_wall_ms()))
		return LARDER_MISS;
	if (end_ms > 3 * LARDER_TTL_MAX_MS || entry->left_ms > 2 * LARDER_TTL_MAX_MS || entry->fresh_ms > LARDER_TTL_MAX_MS || entry->hard_end_ms < 0)
		return LARDER_E_TTL;
	put->data = entry->value;
	put->len = entry->absent ? 0 : entry->value_len;
	put->name = entry->name;
	put->name_len = entry->name ? entry->name_len : 0;
	/* One that is stale already gets no fresh time: its TTL ended at its birth. */
	put->ttl_ms = entry->fresh_ms > 0 ? entry->fresh_ms : 0;
	put->stale_ms = !entry->absent && entry->left_ms > put->ttl_ms ? entry->left_ms - put->ttl_ms : 0;
	put->error_ms = entry->absent ? 0 : end_ms - put->ttl_ms - put->stale_ms;
	put->load_ms = entry->load_ms;
	put->tags = entry->tags;
	put->tag_count = entry->tag_count;
	put->hard_end_ms = entry->hard_end_ms;
	put->flags = entry->flags;
	put->key_id = entry->key_id;
	put->absent = entry->absent;
	return 0;
}

int larder_inspect_restore(larder_inspector *inspector, const struct larder_entry *entry)
{
	const struct ld_way way = { 0, 0 };
	struct ld_put put = { 0 };
	struct ld_seg_params params;
	struct ld_key key;
	int rc;

	if (!ld_is_inspector(inspector))
		return LARDER_E_CLOSED;
	if (!entry || (!entry->value && !entry->absent && entry->value_len != 0) || entry->tag_count > LARDER_ENTRY_TAGS_MAX ||
	    (!entry->tags && entry->tag_count != 0))
		return LARDER_E_USAGE;
	if (!entry->tenant || !ld_text_is_id(entry->tenant, LARDER_TENANT_MAX))
		return LARDER_E_TENANT;
	if (!entry->space || !ld_text_is_id(entry->space, LARDER_SPACE_MAX))
		return LARDER_E_SPACE_NAME;
	if (entry->name && (entry->name_len < 1 || entry->name_len > LARDER_NAME_MAX))
		return LARDER_E_NAME;
	ld_store_params(inspector->store, &params);
	if (entry->value_len > params.size_b / 4)
		return LARDER_E_TOO_LARGE;
	rc = fill_put(entry, &put);
	if (rc != 0)
		return rc;
	key = (struct ld_key){ .tenant = entry->tenant, .space = entry->space, .tenant_tag = ld_store_tag(entry->tenant, NULL),
		.scope_tag = ld_store_tag(entry->tenant, entry->space), .keep_quota = 1 };
	memcpy(key.digest, entry->digest, sizeof(key.digest));
	return ld_store_put(inspector->store, &key, &way, &put);
}

/* ---- the rest is the store's ---- */

int larder_inspect_summary(larder_inspector *inspector, struct larder_summary *ret_summary)
{
	if (!ld_is_inspector(inspector))
		return LARDER_E_CLOSED;
	if (!ret_summary || ret_summary->size < sizeof(*ret_summary))
		return LARDER_E_USAGE;
	return ld_store_summary(inspector->store, ret_summary);
}

int larder_inspect_counters(larder_inspector *inspector, larder_counter_fn fn, void *ctx)
{
	struct ld_tallies tallies;
	int rc;

	if (!ld_is_inspector(inspector))
		return LARDER_E_CLOSED;
	if (!fn)
		return LARDER_E_USAGE;
	rc = ld_store_tallies(inspector->store, NULL, &tallies);
	for (unsigned i = 0; i < LD_TENANT_COUNTERS && rc == 0; i++)
		rc = fn(ctx, ld_tenant_counter_names[i], ld_tenant_counter_texts[i], tallies.tenant[i]);
	for (unsigned i = 0; i < LD_HOST_COUNTERS && rc == 0; i++)
		rc = fn(ctx, ld_host_counter_names[i], ld_host_counter_texts[i], tallies.host[i]);
	return rc;
}

int larder_inspect_slots(larder_inspector *inspector, larder_slot_fn fn, void *ctx)
{
	return !ld_is_inspector(inspector) ? LARDER_E_CLOSED : fn ? ld_store_slots(inspector->store, fn, ctx) : LARDER_E_USAGE;
}

int larder_inspect_readers(larder_inspector *inspector, larder_reader_fn fn, void *ctx)
{
	return !ld_is_inspector(inspector) ? LARDER_E_CLOSED : fn ? ld_store_readers(inspector->store, fn, ctx) : LARDER_E_USAGE;
}

struct tenants {
	larder_tenant_fn fn;
	void *ctx;
};

static int see_tenant(void *ctx, const char *tenant, uint64_t quota_b, const struct ld_tallies *tallies)
{
	const struct tenants *tenants = ctx;
	struct larder_tenant_info info = { .tenant = tenant, .entries = tallies->entries, .bytes = tallies->used_b, .quota_bytes = quota_b };

	info.stats.size = sizeof(info.stats);
	ld_fill_stats(tallies, &info.stats);
	return tenants->fn(tenants->ctx, &info);
}

int larder_inspect_tenants(larder_inspector *inspector, larder_tenant_fn fn, void *ctx)
{
	struct tenants tenants = { fn, ctx };

	if (!ld_is_inspector(inspector))
		return LARDER_E_CLOSED;
	return fn ? ld_store_tenants(inspector->store, see_tenant, &tenants) : LARDER_E_USAGE;
}

int larder_inspect_check(larder_inspector *inspector, int repair, larder_finding_fn fn, larder_progress_fn progress, void *ctx,
    uint64_t *ret_found)
{
	if (!ld_is_inspector(inspector))
		return LARDER_E_CLOSED;
	return ret_found ? ld_store_check(inspector->store, repair, fn, progress, ctx, ret_found) : LARDER_E_USAGE;
}

int larder_inspect_switch(larder_inspector *inspector, int on)
{
	return ld_is_inspector(inspector) ? ld_store_switch(inspector->store, on) : LARDER_E_CLOSED;
}

int larder_inspect_reset(larder_inspector *inspector)
{
	return ld_is_inspector(inspector) ? ld_store_tally_reset(inspector->store) : LARDER_E_CLOSED;
}

int larder_inspect_clear(larder_inspector *inspector, const char *tenant, const char *space)
{
	const struct ld_way way = { 0, 0 };

	if (!ld_is_inspector(inspector))
		return LARDER_E_CLOSED;
	if (!tenant && space)
		return LARDER_E_USAGE;
	if (tenant && !ld_text_is_id(tenant, LARDER_TENANT_MAX))
		return LARDER_E_TENANT;
	if (space && !ld_text_is_id(space, LARDER_SPACE_MAX))
		return LARDER_E_SPACE_NAME;
	return ld_store_clear(inspector->store, tenant, space, &way);
}

/* The teller's thread, from the first call on. The log says what is wrong with the settings: nobody reads a text here. */
static int tell_second(larder_inspector *inspector)
{
	struct ld_problems problems = { 0 };
	int rc = 0;

	if (!inspector->settings.text[LD_SET_L2_URL])
		return 0;
	if (!inspector->drain)
		rc = ld_second_make(&inspector->settings, inspector->on_breaker, inspector->on_breaker_ctx, inspector->store, &inspector->l2,
		    &inspector->drain, &problems);
	if (rc == 0)
		ld_drain_start(inspector->drain);
	else
		LD_LOG(ld_store_log(inspector->store), LARDER_LOG_ERROR, "l2_not_told", NULL,
		    LD_T("reason", problems.text ? problems.text : larder_strerror(rc)),);
	ld_problems_free(&problems);
	return rc;
}

int larder_inspect_work(larder_inspector *inspector, uint32_t wait_ms)
{
	int rc;

	if (!ld_is_inspector(inspector))
		return LARDER_E_CLOSED;
	ld_store_is_agent(inspector->store);
	rc = tell_second(inspector);
	return rc != 0 ? rc : ld_store_work(inspector->store, wait_ms);
}
