/* SPDX-License-Identifier: MIT */
/**
 * Policies by space and by tenant, from LARDER_SPACES_FILE (JSON, RFC 8259):
 *
 *     { "spaces":  { "jwt-validation": { "ttl": "60s", "l2_ttl": "300s", "stale": "5m", "stale_if_error": "1h", "negative": "10s", "jitter": 10,
 *                                        "beta": 1.5, "busy": "load", "names": false } },
 *       "tenants": { "acme": { "quota": "64M", "rate": 100, "burst": 200, "subkey_rate": "30/m", "subkey_burst": 10,
 *                              "breaker": { "failures": 3, "open": "5s" },
 *                              "spaces": { "config": { "ttl": "1h" } } } } }
 *
 * Times, sizes, percents, factors and rates are strings as in settings, or numbers (milliseconds, bytes, percent, takes a second). A policy of a
 * tenant's space wins over the space's, which wins over the settings; each field by itself. Unknown fields, wrong types, values out of bounds and
 * malformed ids are problems, all told at once. The file is at most 1 MiB, nested at most 8 deep.
 */
#ifndef LD_CACHE_SPACES_H
#define LD_CACHE_SPACES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/text.h"

struct ld_policy {
	int64_t ttl_ms;
	int64_t stale_ms;
	int64_t error_ms;               /* window after the stale one, in which a value is served only when its source fails */
	int64_t negative_ms;
	int64_t l2_ttl_ms;              /* TTL in L2 of what has this one's; 0 = the same */
	int64_t jitter_pct;             /* 0..90: share by which a stored TTL is shortened at most, drawn by lot */
	int64_t beta;                   /* of early refreshes, in hundredths; 0 = none */
	int on_busy;                    /* enum ld_on_busy */
	int keep_names;
};

/** What a caller does whose budget ends while another process loads the value that it waits for; the words of LARDER_ON_BUSY, in their order. */
enum ld_on_busy { LD_ON_BUSY_LOAD = 0, LD_ON_BUSY_FAIL = 1 };

/** Limits of a tenant, and of each of its sub-keys; rates in 10^9 seconds, 0 = no limit; bursts 0 = what the rate gives in a second. */
struct ld_limits {
	int64_t rate, burst;
	int64_t subkey_rate, subkey_burst;
	int64_t l2_rate, l2_burst;      /* of calls to L2 */
	int64_t l2_subkey_rate, l2_subkey_burst;
};

struct ld_spaces;

/** Parse a text. Returns 0; LARDER_E_SETTINGS with problems; LARDER_E_NOMEM. file_name is for the problems only. */
int ld_spaces_parse(const char *json, size_t len, const char *file_name, struct ld_spaces **ret_spaces,
    struct ld_problems *problems);
/** Read a file. As above; a file that cannot be read is a problem. path NULL or "" gives an empty set of policies. */
int ld_spaces_load(const char *path, struct ld_spaces **ret_spaces, struct ld_problems *problems);
void ld_spaces_free(struct ld_spaces *spaces);

/** The bytes of a file, at most one more than is allowed, and what it was before they were read. json is allocated. */
struct ld_spaces_text {
	char *json;
	size_t len;
	struct stat status;
};
/** The first half of ld_spaces_load(), to be given to ld_spaces_parse(). file_name is for the problems only. Results of ld_spaces_load(). */
int ld_spaces_read(const char *path, const char *file_name, struct ld_spaces_text *ret_text, struct ld_problems *problems);
void ld_spaces_text_free(struct ld_spaces_text *text);

/**
 * The policy of a tenant's space over the fallback's fields. spaces NULL: the fallback. Ids are as ld_text_is_id() wants them.
 * Never fails. Called seldom: its result is kept with the tenant handle.
 */
void ld_spaces_policy(const struct ld_spaces *spaces, const char *tenant, const char *space, const struct ld_policy *fallback,
    struct ld_policy *ret_policy);
/** A tenant's quota in bytes, 0 = none. */
uint64_t ld_spaces_quota(const struct ld_spaces *spaces, const char *tenant);
/** A tenant's limits over the fallback's fields; as ld_spaces_policy(). A tenant with a rate of its own has not the fallback's burst. */
void ld_spaces_limits(const struct ld_spaces *spaces, const char *tenant, const struct ld_limits *fallback, struct ld_limits *ret_limits);
/**
 * Has a tenant a breaker of its own, because its policy says something of one? 1: its fields are laid over those of the settings, which are in
 * numbers by enum ld_setting_id; 0: numbers are left alone.
 */
int ld_spaces_breaker(const struct ld_spaces *spaces, const char *tenant, int64_t *numbers);

#endif
