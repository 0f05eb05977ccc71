/* SPDX-License-Identifier: MIT */
/**
 * Settings: one table (cache/settings.def) declares each of them once - name, type, unit, bounds, default, text. The parser,
 * `larder config` and larder(5) come from it.
 *
 * A value comes from the options given to larder_open(), else from the environment, else from the default; each remembers
 * which. An empty one is not set, and of two options of one name the last counts. Sizes take K, M, G, T in either case (powers
 * of 1,024) and are bytes without; times take ms, s, m, h, d and are milliseconds without; percents are whole numbers with or
 * without '%'; rates take /s, /m, /h and are in a second without; flags are 0/1, on/off, yes/no, true/false. No value has blanks,
 * a sign or an exponent; a rate may have up to nine decimals, a factor (LARDER_BETA) up to two, nothing else a fraction.
 */
#ifndef LD_CACHE_SETTINGS_H
#define LD_CACHE_SETTINGS_H

#include <stdint.h>

#include <larder/inspect.h>

#include "base/text.h"

/**
 * LD_RATE is in 10^9 seconds, rounded down (shm/limiter.h); 0 is none, and allowed below the bounds. LD_DECIMAL is in hundredths. LD_TEXT is an id, `[a-z0-9-]`;
 * LD_PATH any path, LD_DIRECTORY an absolute one, LD_LINE any text, all without control characters. For these and for
 * LD_SECRET_TEXT the bounds are of the length in bytes.
 */
enum ld_setting_type { LD_SIZE, LD_TIME, LD_NUMBER, LD_PERCENT, LD_RATE, LD_DECIMAL, LD_FLAG, LD_CHOICE, LD_PATH, LD_DIRECTORY, LD_LINE,
	LD_TEXT, LD_SECRET_TEXT };

/** One index for each row: LD_SET_DIR, LD_SET_SIZE, ... */
enum ld_setting_id {
#define LD_SETTING(id, type, low, high, fallback, choices, text) LD_SET_##id,
#include "cache/settings.def"
#undef LD_SETTING
	LD_SETTINGS
};

/** A row of the table. name has the prefix LARDER_; choices is NULL but for LD_CHOICE; fallback "" is none. All static. */
struct ld_setting_row {
	const char *name;
	enum ld_setting_type type;
	int64_t low;
	int64_t high;
	const char *fallback;
	const char *choices;
	const char *text;
};
extern const struct ld_setting_row ld_setting_rows[LD_SETTINGS];

enum ld_origin { LD_FROM_DEFAULT, LD_FROM_ENVIRONMENT, LD_FROM_OPTIONS, LD_FROM_RUNTIME_DIRECTORY, LD_FROM_CREDENTIALS };

/**
 * Everything, read and checked. Numbers of every numeric type, flags and choices (index) in number[]; text of paths and texts
 * in text[]. A setting with a problem has its default, and the origin of the bad value. Where SECRET_FILE is not set and
 * $CREDENTIALS_DIRECTORY has a larder-secret, credentials_dir is that directory and SECRET_FILE's origin is
 * LD_FROM_CREDENTIALS, its text NULL.
 */
struct ld_settings {
	int64_t number[LD_SETTINGS];
	char *text[LD_SETTINGS];       /* allocated, NULL when empty */
	enum ld_origin origin[LD_SETTINGS];
	char *credentials_dir;         /* allocated, or NULL; for ld_secret_load() */
};

/** Problems sorted by what they belong to, at most one for each setting. Zeroed = empty. */
struct ld_setting_faults {
	struct ld_problems of[LD_SETTINGS];
	struct ld_problems general;    /* unknown options, contradictions: a line each */
};
void ld_setting_faults_free(struct ld_setting_faults *faults);

/**
 * Read from the options and, unless LARDER_OPEN_NO_ENV, the environment; check bounds and contradictions; resolve the default
 * directory ($RUNTIME_DIRECTORY/larder, else /dev/shm/larder-UID) and the credentials directory. All problems are collected. A
 * secret's value is in none of them, nor is anything that may be a secret whose name was mistyped.
 *
 * options   NULL for everything from the environment. A shorter struct of an older caller is read as far as it goes
 * unknown   NULL, or called for every LARDER_* variable that is no setting; the name is borrowed for the call
 *
 * Returns 0; LARDER_E_SETTINGS with problems; LARDER_E_USAGE with a problem: a size, flag or reserved field of the options that
 * no caller may pass; LARDER_E_NOMEM. Free with ld_settings_free() in every case. The environment must not change meanwhile.
 */
int ld_settings_read(const struct larder_options *options, struct ld_settings *ret_settings, struct ld_problems *problems,
    void (*unknown)(void *ctx, const char *variable), void *ctx);

/** As ld_settings_read(), but each problem is kept beside its setting; that of LARDER_E_USAGE is a general one. */
int ld_settings_read_sorted(const struct larder_options *options, struct ld_settings *ret_settings,
    struct ld_setting_faults *faults);

/** Only the look for variables that are no setting; none with LARDER_OPEN_NO_ENV. options as accepted by ld_settings_read(). */
void ld_settings_unknown(const struct larder_options *options, void (*unknown)(void *ctx, const char *variable), void *ctx);

/** Free what the settings own, the secret wiped. Zeroed settings are allowed; they are zeroed afterwards. */
void ld_settings_free(struct ld_settings *settings);
/** Wipe and free the text of SECRET as soon as it is not needed; ld_setting_show() still says that it was set. */
void ld_settings_wipe_secret(struct ld_settings *settings);

/**
 * The first setting in which they differ, as "LARDER_X", or NULL: for a second open of one directory. SECRET and SECRET_FILE
 * are left out: one secret can come from two places, so the caller compares the secrets themselves.
 */
const char *ld_settings_differ(const struct ld_settings *a, const struct ld_settings *b);

/**
 * A value as `larder config` shows it: 256M, 5m, 90%, on, a word of the choices, "(set)" for a secret, "" for nothing. buffer
 * of 64 bytes or more, which a long path is cut to. Returns buffer.
 */
const char *ld_setting_show(const struct ld_settings *settings, enum ld_setting_id id, char *buffer, size_t size);

/** What a row allows, "1M..1T" or the choices, and the public name of its type. buffer of 64 bytes or more; returns it. */
const char *ld_setting_bounds(const struct ld_setting_row *row, char *buffer, size_t size);
const char *ld_setting_type_name(enum ld_setting_type type);

/**
 * Judge one value by a row, whose name is not used. ret_number 0 for types without a number; complaint of 160 bytes or more.
 * Returns 0; -1 with a complaint that names the allowed range, not the value.
 */
int ld_setting_judge(const struct ld_setting_row *row, const char *value, int64_t *ret_number, char *complaint, size_t size);
/** A value for a problem: cut after some 70 bytes, all but printable ASCII as \xNN. Returns buffer. */
#define LD_QUOTE_SIZE 80
const char *ld_setting_quote(const char *value, char buffer[LD_QUOTE_SIZE]);

/** Parse one value. Returns 0, or -1 with a problem that names the allowed range. For spaces files and tests too. */
int ld_setting_parse(enum ld_setting_type type, const char *what, const char *value, int64_t low, int64_t high,
    const char *choices, int64_t *ret_number, struct ld_problems *problems);

#endif
