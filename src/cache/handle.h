/* SPDX-License-Identifier: MIT */
/**
 * The handles behind larder.h, and what the files of cache/ share. Private to cache/.
 */
#ifndef LD_CACHE_HANDLE_H
#define LD_CACHE_HANDLE_H

#include <stdatomic.h>
#include <stdint.h>

#include <larder/inspect.h>

#include "base/log.h"
#include "cache/policies.h"
#include "cache/settings.h"
#include "cache/spaces.h"
#include "crypto/key.h"
#include "crypto/locked.h"
#include "crypto/secret.h"
#include "l1/store.h"
#include "shm/breaker.h"

#define LD_CACHE_MAGIC UINT64_C(0x4c44434143484531)
#define LD_TENANT_MAGIC UINT64_C(0x4c4454454e414e54)
#define LD_INSPECTOR_MAGIC UINT64_C(0x4c44494e53504543)

/** What is known of a (tenant, space). A call has it as it was when the call began, whatever the policies become meanwhile. */
struct ld_keyspace {
	char tenant[LARDER_TENANT_MAX + 1];
	char space[LARDER_SPACE_MAX + 1];
	const char *id;                    /* the space: of the row that remembers it, else of this struct; for keys */
	uint64_t tenant_tag, scope_tag;
	struct ld_policy policy;
	const struct ld_key_state *state;  /* in locked memory; NULL when that is used up: derived anew each time */
};

/** One that is remembered: made once, kept until the cache is closed, read without a lock. */
struct ld_keyspace_row {
	struct ld_keyspace first;          /* with the policy of the version below; never changed */
	uint64_t version;                  /* of the policies when it was made */
	struct ld_twin policy;             /* struct ld_policy, of later versions */
};
_Static_assert(sizeof(struct ld_policy) % 8 == 0 && sizeof(struct ld_policy) <= LD_TWIN_WORDS * 8, "a policy is words of a twin");

/** What a tenant has by the policies. */
struct ld_tenant_rights {
	uint64_t quota_b;
	int64_t own_breaker;               /* 1: its policy says so; `breaker` has the settings of it */
	struct ld_limits limits;
	struct ld_breaker_settings breaker;
};
_Static_assert(sizeof(struct ld_tenant_rights) % 8 == 0 && sizeof(struct ld_tenant_rights) <= LD_TWIN_WORDS * 8, "rights are words of a twin");

/** Key spaces that a cache remembers; more are worked out anew for each call. */
enum { LD_KEYSPACES = 1024, LD_KEYSPACES_OF_TENANT = 8 };
/** The setting FILL_EXTRA is below it, and the upper bits of a generation tell a process from its ancestors. */
#define LD_EXTRA_COUNT UINT64_C(0xffff)

struct larder {
	uint64_t magic;
	struct ld_settings settings;
	struct ld_locked *arena;
	struct ld_secret secret;
	unsigned char secret_digest[32];
	struct ld_policies policies;
	struct ld_policy fallback;
	struct ld_limits limits;           /* of tenants without their own */
	struct ld_store *store;            /* of the registry */
	const struct ld_log *log;
	struct ld_l2 *l2;                  /* NULL: there is no second level */
	struct ld_drain *drain;            /* with l2 */
	struct ld_refresh *refresh;        /* NULL: this cache starts no thread */
	_Atomic uint64_t extra;            /* loads without a lease that are under way: LD_EXTRA_COUNT; above it, of which process generation */
	_Atomic uint64_t locked_in;        /* process generation that has locked the secret */
	_Atomic(struct ld_keyspace_row *) keyspaces[LD_KEYSPACES];
};

/** What is limited: each has buckets of its own. */
enum ld_limit_kind { LD_LIMIT_REQUESTS = 0, LD_LIMIT_L2 = 1, LD_LIMIT_KINDS };

struct larder_tenant {
	uint64_t magic;
	larder *cache;
	char name[LARDER_TENANT_MAX + 1];
	uint64_t tag;
	struct ld_twin rights;             /* struct ld_tenant_rights; ld_tenant_rights() gives those of now */
	_Atomic uint64_t rights_version;   /* of the policies that they are of */
	_Atomic uint64_t quota_b;          /* of the rights, for the way of every call */
	_Atomic uint64_t row_hint;
	_Atomic uint64_t limit_tags[LD_LIMIT_KINDS];  /* of the tenant as a whole; 0 = not worked out yet */
	_Atomic(struct ld_keyspace_row *) seen[LD_KEYSPACES_OF_TENANT];
};

struct larder_inspector {
	uint64_t magic;
	struct ld_settings settings;       /* without the secret */
	struct ld_store *store;
	_Atomic uint64_t row_hint;
	larder_breaker_fn on_breaker;      /* of the options */
	void *on_breaker_ctx;
	struct ld_l2 *l2;                  /* both made by the first larder_inspect_work(), where there is a second level */
	struct ld_drain *drain;
};

/** Words of LARDER_L2_WRITE. */
enum { LD_L2_WRITE_BEHIND = 0, LD_L2_WRITE_THROUGH = 1, LD_L2_WRITE_OFF = 2 };

/** Settings of a breaker, from numbers by enum ld_setting_id. */
void ld_breaker_settings_of(const int64_t *number, struct ld_breaker_settings *ret_breaker);

/** See to it that this process has a teller's thread, where it may have threads. */
void ld_drain_start_if(larder *cache);

static inline int ld_is_cache(const larder *cache)
{
	return cache && cache->magic == LD_CACHE_MAGIC;
}

static inline int ld_is_inspector(const larder_inspector *inspector)
{
	return inspector && inspector->magic == LD_INSPECTOR_MAGIC;
}

static inline int ld_is_tenant(const larder_tenant *tenant)
{
	return tenant && tenant->magic == LD_TENANT_MAGIC && ld_is_cache(tenant->cache);
}

/**
 * The key space with the policy of now, from the tenant's own row, the cache's, or made in `room`, where it also is when the policies have changed
 * since it was first asked for. Returns NULL for a malformed space.
 */
const struct ld_keyspace *ld_keyspace_of(larder_tenant *tenant, const char *space, struct ld_keyspace *room);

/** Key of a name that is checked. */
void ld_make_key(larder_tenant *tenant, const struct ld_keyspace *keyspace, const void *name, size_t name_len, struct ld_key *ret_key);

/** The same for a space that no caller can name: it is not looked for among the tenant's own rows, and need not be an id. */
const struct ld_keyspace *ld_keyspace_reserved(larder_tenant *tenant, const char *space, struct ld_keyspace *room);

/** What goes for every call: looks whether the spaces file has changed, when it is time to, and gives the tenant its rights of now. */
void ld_tenant_refresh(larder_tenant *tenant);
/** The tenant's limits of now. */
struct ld_tenant_rights ld_tenant_rights(larder_tenant *tenant);
/** A key without a digest, for counting what concerns the tenant. */
struct ld_key ld_tenant_key(larder_tenant *tenant);

/** Tag of a bucket in the limiter: of a tenant, or of a sub-key of it. A keyed hash; subkey is checked, or NULL. */
uint64_t ld_limit_tag(larder_tenant *tenant, enum ld_limit_kind kind, const char *subkey);

/** Check tags and hash them; cache/tags.c. ret_hashes has room for count. 0 or LARDER_E_USAGE. */
int ld_tags_of(larder_tenant *tenant, const char *const *tags, size_t count, uint64_t *ret_hashes);

/** Check space and name, make the key. 0, LARDER_E_SPACE_NAME, LARDER_E_NAME. */
int ld_prepare_key(larder_tenant *tenant, const char *space, const void *name, size_t name_len, struct ld_keyspace *room,
    const struct ld_keyspace **ret_keyspace, struct ld_key *ret_key);

/** What each data call begins with: larder_retry_after() forgets the one before, and the options are checked. 0 or LARDER_E_USAGE. */
int ld_begin_call(const struct larder_call *call);
/** Check a sub-key given beside them. 0 or LARDER_E_USAGE. */
enum { LD_SUBKEY_MAX = 64 };
int ld_check_subkey(const char *subkey);
/** How this call runs for this key. */
struct ld_way ld_way_of(const larder *cache, const struct larder_call *call, const struct ld_key *key);

/** Lock the secret in memory in this process, once. */
void ld_relock(larder *cache);

/** A store of this process, shared by everyone who opens the same directory and name; see cache/registry.c. */
struct ld_shared {
	struct ld_shared *next;
	uint64_t dev, ino;
	char name[LARDER_SPACE_MAX + 1];
	struct ld_store *store;
	unsigned store_users;
	larder *cache;                     /* the one handle, or NULL */
	unsigned cache_users;
};
/** Guards the list and the counts; fork-safe. Returns 0 or -1. */
int ld_registry_lock(void);
void ld_registry_unlock(void);
/** Under the lock. */
struct ld_shared *ld_registry_find(const char *dir, const char *name);
struct ld_shared *ld_registry_of_cache(const larder *cache);
/** Open the store, or use the open one. Under the lock. Results of ld_store_open(). */
int ld_registry_use(const struct ld_store_config *config, struct ld_shared **ret_shared, struct ld_problems *problems);
/** Stop using a store; the last user closes it. Under the lock. */
void ld_registry_drop(struct ld_store *store);

/** Settings to what a store is opened with. dir and name are borrowed from the settings. */
void ld_store_config_of(const struct ld_settings *settings, const struct larder_options *options, enum ld_role role,
    struct ld_store_config *ret_config);
/** Owner of what is made, from options->user and group. 0, or LARDER_E_SETTINGS with a problem. */
int ld_owner_of(const struct larder_options *options, struct ld_store_config *config, struct ld_problems *problems);
/** The problems as a text for ret_why; frees them. */
void ld_give_why(struct ld_problems *problems, int rc, char **ret_why);

/** Counters to the public struct, but for its size. */
void ld_fill_stats(const struct ld_tallies *tallies, struct larder_stats *stats);

#endif
