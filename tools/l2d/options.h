/* SPDX-License-Identifier: MIT */
/**
 * The command line of larder-l2d. Everything is read and checked before anything is opened; texts are borrowed from argv.
 */
#ifndef L2D_OPTIONS_H
#define L2D_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

/** Workers of one service. */
#define L2D_WORKERS_MAX 128
/** `--set NAME=VALUE` given by the user, at most. */
#define L2D_SETTINGS_MAX 32

struct l2d_options {
	const char *listen;       /* "HOST:PORT", "[V6]:PORT" or "unix:/path" */
	const char *dir;
	const char *size;         /* as LARDER_SIZE */
	const char *secret_file;  /* NULL = LARDER_SECRET_FILE of the environment, else one in dir */
	const char *token_file;   /* NULL = no token is asked for */
	const char *port_file;    /* NULL = none */
	unsigned workers;
	unsigned connections;     /* of one worker at once */
	uint64_t max_value_b;     /* it fits into a cache of that size */
	int64_t ttl_ms;           /* of writes that name none */
	int64_t idle_ms;          /* a connection without traffic is closed; whole seconds */
	int64_t drain_ms;         /* after SIGTERM, until what still runs is cut off */
	uint64_t rate;            /* requests a second of a tenant; 0 = any */
	uint64_t burst;           /* that it may be ahead */
	int log;                  /* also level info, and a line for each request */
	const char *settings[L2D_SETTINGS_MAX];
	unsigned settings_count;
};

/** Returns -1 to go on; or the exit code: 0 after --help or --version, 2 after a complaint on stderr. */
int l2d_options_read(int argc, char **argv, struct l2d_options *ret_options);

/**
 * Part of it: the largest value, where none was given (0), and whether it fits into a quarter of the cache with the head that we put before it. A size that
 * cannot be read is left for the library to complain about. Returns -1 to go on, or 2 after a complaint.
 */
int l2d_options_fit(struct l2d_options *options);
/** A text of the library's about settings, with the options that they were given by instead of their names. To be freed; NULL = no memory. */
char *l2d_options_name(const struct l2d_options *options, const char *why);

/** "64K", "8M": bytes. "90", "1m", "500ms": milliseconds, seconds without a unit. Each returns 0, or -1 and writes nothing. */
int l2d_parse_size(const char *text, uint64_t *ret_bytes);
int l2d_parse_time(const char *text, int64_t *ret_ms);
/** Decimal digits alone. Returns 0, or -1 when there is anything else, or more than max. */
int l2d_parse_number(const char *text, uint64_t max, uint64_t *ret_number);

#endif
