/* SPDX-License-Identifier: MIT */
/*
 * Opening and closing a cache: settings, secret, policies and store, every problem told at once. Called in the master before fork, so it leaves
 * nothing behind that a child could not use.
 */
#include "cache/fill.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/errors.h"
#include "base/mem.h"
#include "base/process.h"
#include "crypto/hash.h"

enum { ARENA_B = 76 * 1024, TOOL_SLOTS = 16, RESERVE_MIN_B = 2 << 20, RESERVE_WANTED_B = 16 << 20, CAPACITY_MIN = 1024, BYTES_AN_ENTRY = 1024, NAME_BUFFER = 16384 };

/* ---- who we are ---- */

/* AT_RANDOM is sixteen bytes that the kernel draws at each exec: hashed, they tell two program images of one pid apart. */
static uint64_t image_id(void)
{
	const void *drawn = (const void *)getauxval(AT_RANDOM);
	unsigned char digest[32];
	uint64_t id = 0;

	if (!drawn)
		return 0;
	ld_key_sha256(drawn, 16, digest);
	memcpy(&id, digest, sizeof(id));
	return id;
}

/* Differs between two copies of the library in one process; the same in a child. */
static uint64_t copy_id(void)
{
	static _Atomic uint64_t id;
	uint64_t mine = 0, none = 0;

	if (atomic_load(&id) == 0) {
		/* Without random numbers the address of this copy's own variable still differs from another copy's. */
		if (ld_key_random(&mine, sizeof(mine)) != 0)
			mine = (uint64_t)(uintptr_t)&id;
		atomic_compare_exchange_strong(&id, &none, mine | 1);
	}
	return atomic_load(&id);
}

/* ---- settings to parameters ---- */

/*
 * An eighth, but a small store needs more: every commit copies some pages, and a reader that is preempted for some milliseconds keeps all of them
 * back. So 16 MiB, or half of a store that is smaller than 32 MiB, or at the very least 2 MiB.
 */
static uint64_t reserve_of(uint64_t size_b)
{
	uint64_t wanted = size_b / 2 < RESERVE_WANTED_B ? size_b / 2 : RESERVE_WANTED_B, reserve = size_b / 8;

	wanted = wanted < RESERVE_MIN_B ? RESERVE_MIN_B : wanted;
	return ((reserve < wanted ? wanted : reserve) + 4095) / 4096 * 4096;
}

static void fill_params(const struct ld_settings *settings, struct ld_seg_params *params)
{
	uint64_t size_b = (uint64_t)settings->number[LD_SET_SIZE] / 4096 * 4096;
	uint32_t workers = (uint32_t)settings->number[LD_SET_WORKERS];

	memset(params, 0, sizeof(*params));
	params->size_b = size_b;
	params->map_b = size_b + reserve_of(size_b);
	params->low_b = size_b / 100 * (uint64_t)settings->number[LD_SET_EVICT_LOW];
	params->high_b = size_b / 100 * (uint64_t)settings->number[LD_SET_EVICT_HIGH];
	params->max_entries = (uint64_t)settings->number[LD_SET_MAX_ENTRIES];
	params->capacity = params->max_entries ? params->max_entries : size_b / BYTES_AN_ENTRY;
	if (params->max_entries == 0 && params->capacity < CAPACITY_MIN)
		params->capacity = CAPACITY_MIN;
	params->sweep_ms = (uint64_t)settings->number[LD_SET_SWEEP_MS];
	params->slots = workers + TOOL_SLOTS;
	params->readers = 2 * workers + TOOL_SLOTS;
	/* Row 0 is shared by those that find no row of their own. */
	params->tenants = (uint32_t)settings->number[LD_SET_TENANTS] + 1;
	params->writable = settings->number[LD_SET_L1_MAP] == 1;
	params->outbox_rows = (uint64_t)settings->number[LD_SET_OUTBOX_ROWS];
	params->outbox_b = settings->number[LD_SET_OUTBOX_BYTES] ? (uint64_t)settings->number[LD_SET_OUTBOX_BYTES] : size_b / 8;
	params->outbox_age_ms = (uint64_t)settings->number[LD_SET_OUTBOX_AGE];
	params->l2_ttl_max_ms = (uint64_t)settings->number[LD_SET_L2_TTL_MAX];
	params->limit_rows = (uint32_t)settings->number[LD_SET_LIMIT_ROWS];
	params->negative_pct = (uint32_t)settings->number[LD_SET_NEGATIVE_SHARE];
	params->leases = (uint32_t)settings->number[LD_SET_LEASES];
}

void ld_store_config_of(const struct ld_settings *settings, const struct larder_options *options, enum ld_role role,
    struct ld_store_config *ret_config)
{
	memset(ret_config, 0, sizeof(*ret_config));
	ret_config->dir = settings->text[LD_SET_DIR];
	ret_config->name = settings->text[LD_SET_NAME];
	ret_config->uid = (uid_t)-1;
	ret_config->gid = (gid_t)-1;
	fill_params(settings, &ret_config->params);
	ret_config->wait_ms = settings->number[LD_SET_WRITE_WAIT_MS];
	ret_config->evictor = (enum ld_evictor_mode)settings->number[LD_SET_EVICTOR];
	ret_config->threads = role == LD_ROLE_WORKER && settings->number[LD_SET_THREADS] != 0;
	ret_config->create = role == LD_ROLE_WORKER;
	ret_config->self = (struct ld_seg_self){ image_id(), copy_id(), (uint32_t)role };
	ret_config->log.level = (int)settings->number[LD_SET_LOG_LEVEL];
	ret_config->log.json = settings->number[LD_SET_LOG_FORMAT] == 1;
	if (options && options->size >= sizeof(*options)) {
		ret_config->log.fn = options->log;
		ret_config->log.ctx = options->log_ctx;
	}
}

/* ---- user and group ---- */

static int is_number(const char *text, unsigned long *ret_number)
{
	char *end;

	errno = 0;
	*ret_number = strtoul(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0 && *ret_number < UINT32_MAX;
}

static int find_user(const char *user, struct ld_store_config *config, struct ld_problems *problems)
{
	struct passwd row, *found = NULL;
	char buffer[NAME_BUFFER];
	unsigned long number;
	int numeric = is_number(user, &number);

	if (numeric)
		getpwuid_r((uid_t)number, &row, buffer, sizeof(buffer), &found);
	else
		getpwnam_r(user, &row, buffer, sizeof(buffer), &found);
	if (!found && !numeric) {
		ld_problem(problems, "user %s: there is no such user", user);
		return LARDER_E_SETTINGS;
	}
	config->uid = found ? found->pw_uid : (uid_t)number;
	config->gid = found ? found->pw_gid : (gid_t)number;
	return 0;
}

static int find_group(const char *group, struct ld_store_config *config, struct ld_problems *problems)
{
	struct group row, *found = NULL;
	char buffer[NAME_BUFFER];
	unsigned long number;

	if (is_number(group, &number)) {
		config->gid = (gid_t)number;
		return 0;
	}
	getgrnam_r(group, &row, buffer, sizeof(buffer), &found);
	if (!found) {
		ld_problem(problems, "group %s: there is no such group", group);
		return LARDER_E_SETTINGS;
	}
	config->gid = found->gr_gid;
	return 0;
}

int ld_owner_of(const struct larder_options *options, struct ld_store_config *config, struct ld_problems *problems)
{
	int rc = 0;

	if (!options || options->size < sizeof(*options) || (!options->user && !options->group))
		return 0;
	if (geteuid() != 0) {
		ld_problem(problems, "user and group may be given by a process of user 0 only");
		return LARDER_E_SETTINGS;
	}
	if (!options->user)
		config->uid = geteuid();
	if (options->user)
		rc = find_user(options->user, config, problems);
	if (rc == 0 && options->group)
		rc = find_group(options->group, config, problems);
	return rc;
}

/* The default directory is named after the user who will use it, which is not root where a user was given. */
static int default_dir_of(struct ld_settings *settings, struct ld_store_config *config)
{
	char dir[64];
	char *copy;

	if (config->uid == (uid_t)-1 || settings->origin[LD_SET_DIR] != LD_FROM_DEFAULT)
		return 0;
	snprintf(dir, sizeof(dir), "/dev/shm/larder-%u", (unsigned)config->uid);
	copy = ld_strdup(dir);
	if (!copy)
		return LARDER_E_NOMEM;
	free(settings->text[LD_SET_DIR]);
	settings->text[LD_SET_DIR] = copy;
	config->dir = copy;
	return 0;
}

/* ---- the handle ---- */

static void free_cache(larder *cache)
{
	for (unsigned i = 0; i < LD_KEYSPACES; i++)
		free(atomic_load(&cache->keyspaces[i]));
	ld_locked_free(cache->arena);
	ld_policies_close(&cache->policies);
	ld_settings_free(&cache->settings);
	ld_wipe(cache->secret_digest, sizeof(cache->secret_digest));
	cache->magic = 0;
	free(cache);
}

static int load_secret(larder *cache, struct ld_problems *problems)
{
	const struct ld_settings *settings = &cache->settings;
	int rc = ld_secret_load(cache->arena, settings->text[LD_SET_SECRET_FILE], settings->credentials_dir, settings->text[LD_SET_SECRET],
	    problems, &cache->secret);

	ld_settings_wipe_secret(&cache->settings);
	if (rc == 0)
		ld_key_sha256(cache->secret.data, cache->secret.len, cache->secret_digest);
	return rc;
}

static int worse(int a, int b)
{
	return a != 0 ? a : b;
}

/* Everything that can be wrong before a file is touched, all at once. */
static int load_all(larder *cache, const struct larder_options *options, struct ld_store_config *config, struct ld_problems *problems)
{
	struct ld_settings *settings = &cache->settings;
	int locked, rc = ld_settings_read(options, settings, problems, NULL, NULL);

	if (rc == LARDER_E_USAGE || rc == LARDER_E_NOMEM)
		return rc;
	cache->arena = ld_locked_new(ARENA_B, &locked);
	if (!cache->arena)
		return LARDER_E_NOMEM;
	rc = worse(rc, load_secret(cache, problems));
	rc = worse(rc, ld_policies_open(&cache->policies, settings->text[LD_SET_SPACES_FILE], problems));
	rc = worse(rc, ld_second_check(settings, problems));
	ld_store_config_of(settings, options, LD_ROLE_WORKER, config);
	rc = worse(rc, ld_owner_of(options, config, problems));
	if (rc == 0)
		rc = default_dir_of(settings, config);
	cache->fallback = (struct ld_policy){
		.ttl_ms = settings->number[LD_SET_TTL], .stale_ms = settings->number[LD_SET_STALE], .error_ms = settings->number[LD_SET_STALE_IF_ERROR],
		.negative_ms = settings->number[LD_SET_NEGATIVE_TTL], .l2_ttl_ms = settings->number[LD_SET_L2_TTL],
		.jitter_pct = settings->number[LD_SET_TTL_JITTER], .beta = settings->number[LD_SET_BETA], .on_busy = (int)settings->number[LD_SET_ON_BUSY],
	};
	cache->limits = (struct ld_limits){ settings->number[LD_SET_LIMIT_RATE], settings->number[LD_SET_LIMIT_BURST],
		settings->number[LD_SET_LIMIT_SUBKEY_RATE], settings->number[LD_SET_LIMIT_SUBKEY_BURST],
		settings->number[LD_SET_L2_RATE], settings->number[LD_SET_L2_BURST],
		settings->number[LD_SET_L2_SUBKEY_RATE], settings->number[LD_SET_L2_SUBKEY_BURST] };
	return rc;
}

/* The directory is open already: the same handle, if the settings are the same. */
static int share(struct ld_shared *shared, larder *fresh, larder **ret_cache, struct ld_problems *problems)
{
	const char *differs = ld_settings_differ(&shared->cache->settings, &fresh->settings);

	if (!differs && memcmp(shared->cache->secret_digest, fresh->secret_digest, sizeof(fresh->secret_digest)) != 0)
		differs = "the secret";
	if (differs) {
		ld_problem(problems, "%s is open in this process already, with another value of %s", fresh->settings.text[LD_SET_DIR], differs);
		return LARDER_E_SETTINGS;
	}
	shared->cache_users++;
	*ret_cache = shared->cache;
	return 0;
}

static void tell_unknown(void *ctx, const char *variable)
{
	LD_LOG(ctx, LARDER_LOG_WARN, "unknown_setting", NULL, LD_T("variable", variable),);
}

/* Under the registry's lock. On 0 *ret_cache is `fresh`, or the handle that was open. */
static int open_registered(larder *fresh, const struct larder_options *options, const struct ld_store_config *config, larder **ret_cache,
    struct ld_problems *problems)
{
	struct ld_shared *shared = ld_registry_find(config->dir, config->name);
	int rc;

	if (shared && shared->cache)
		return share(shared, fresh, ret_cache, problems);
	rc = ld_registry_use(config, &shared, problems);
	if (rc != 0)
		return rc;
	fresh->store = shared->store;
	fresh->log = ld_store_log(fresh->store);
	rc = ld_second_open(fresh, options, problems);
	if (rc == 0 && fresh->settings.number[LD_SET_THREADS]) {
		fresh->refresh = ld_refresh_new(fresh);
		rc = fresh->refresh ? 0 : LARDER_E_NOMEM;
	}
	if (rc != 0) {
		ld_second_close(fresh);
		ld_registry_drop(fresh->store);
		return rc;
	}
	fresh->magic = LD_CACHE_MAGIC;
	atomic_store(&fresh->locked_in, ld_process_generation());
	shared->cache = fresh;
	shared->cache_users = 1;
	ld_settings_unknown(options, tell_unknown, (void *)(uintptr_t)fresh->log);
	*ret_cache = fresh;
	return 0;
}

void ld_give_why(struct ld_problems *problems, int rc, char **ret_why)
{
	if (ret_why)
		*ret_why = NULL;
	if (rc != 0 && ret_why) {
		*ret_why = problems->text;
		problems->text = NULL;
		if (!*ret_why)
			*ret_why = ld_strdup(larder_strerror(rc));
	}
	ld_problems_free(problems);
}

int larder_open(const struct larder_options *options, larder **ret_cache, char **ret_why)
{
	struct ld_problems problems = { 0 };
	struct ld_store_config config;
	larder *fresh, *opened = NULL;
	int rc;

	if (ret_why)
		*ret_why = NULL;
	if (!ret_cache)
		return LARDER_E_USAGE;
	fresh = ld_calloc(1, sizeof(*fresh));
	if (!fresh)
		return LARDER_E_NOMEM;
	rc = load_all(fresh, options, &config, &problems);
	if (rc == 0) {
		rc = ld_registry_lock() == 0 ? 0 : LARDER_E_BUG;
		if (rc == 0) {
			rc = open_registered(fresh, options, &config, &opened, &problems);
			ld_registry_unlock();
		}
	}
	if (opened != fresh)
		free_cache(fresh);
	if (rc == 0)
		*ret_cache = opened;
	ld_give_why(&problems, rc, ret_why);
	return rc;
}

void ld_relock(larder *cache)
{
	uint64_t process = ld_process_generation();

	if (atomic_load_explicit(&cache->locked_in, memory_order_relaxed) == process)
		return;
	if (!ld_locked_again(cache->arena))
		LD_LOG(cache->log, LARDER_LOG_INFO, "secret_not_locked", NULL, { NULL, NULL, 0 },);
	atomic_store(&cache->locked_in, process);
}

int larder_attach(larder *cache)
{
	if (!ld_is_cache(cache))
		return LARDER_E_CLOSED;
	ld_relock(cache);
	return ld_store_attach(cache->store);
}

void larder_close(larder *cache)
{
	struct ld_shared *shared;

	if (!ld_is_cache(cache) || ld_registry_lock() != 0)
		return;
	shared = ld_registry_of_cache(cache);
	if (shared && --shared->cache_users == 0) {
		shared->cache = NULL;
		ld_refresh_free(cache->refresh);
		ld_second_close(cache);
		ld_registry_drop(cache->store);
		free_cache(cache);
	}
	ld_registry_unlock();
}
