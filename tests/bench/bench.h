/* SPDX-License-Identifier: MIT */
/**
 * What the parts of the benchmark share. Each case does the same work with larder and with something to compare it to, mostly
 * raw LMDB, in short rounds that alternate, and reports the median of the rounds' ratios: a busy host slows both sides, and
 * moves the ratio little.
 *
 * Whatever goes wrong ends the program with a message: a benchmark of calls that fail measures nothing. All files are in one
 * directory of the run, which the first process removes, however the one that works ends.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stddef.h>
#include <stdint.h>

/** What was asked for. dir: of this run, on the file system that is measured. */
struct bench_options {
	int json, quick;
	const char *only;          /* a case, or NULL for all */
	const char *under;         /* where dir is made */
	char dir[256];
	int pin;                   /* CPU for the cases of one process; -1 = not pinned */
};

/** One line of the result. Times of one operation; `target` is the largest ratio that is wanted, 0 = none. */
struct bench_row {
	const char *name;          /* borrowed for the call that reports the row */
	const char *beside;        /* what beside_ns is of; static */
	double ours_ns, beside_ns, ratio, target;
	char note[96];             /* more to say, or empty */
};

/** Keep a row; print it at once, and as JSON at the end if that was asked for. */
void bench_report(const struct bench_options *options, const struct bench_row *row);
void bench_report_machine(const struct bench_options *options);
void bench_report_end(const struct bench_options *options);

/** End the program unless `ok`. */
void bench_must(int ok, const char *what);

/* ---- rounds (rounds.c) ---- */

/** One side of a case: does `ops` operations. */
struct bench_side {
	void (*run)(void *ctx, uint64_t ops);
	void *ctx;
};

/** Alternate the two sides in rounds; fills ours_ns, beside_ns and ratio. Time is the CPU time of this thread. */
void bench_pair(const struct bench_options *options, const struct bench_side *ours, const struct bench_side *beside,
    struct bench_row *row);

enum { BENCH_ROUNDS_MAX = 64 };
unsigned bench_rounds(const struct bench_options *options);
double bench_median(const double *values, size_t count);
int64_t bench_cpu_ns(void);
int64_t bench_wall_ns(void);
/** Keep the compiler from leaving work out whose result is at this address. */
static inline void bench_use(const void *result)
{
	__asm__ volatile("" : : "r"(result) : "memory");
}

/* ---- load (load.c) ---- */

/** Which entry is next: a ring of numbers below `entries`, drawn before the clock runs. */
struct bench_draw {
	uint32_t *ring;
	uint32_t size, at;
};
/** skew 0: uniform; else the exponent of Zipf's law, over ranks that are strewn over the entries. */
void bench_draw_init(struct bench_draw *draw, uint32_t entries, double skew, uint64_t seed);
void bench_draw_free(struct bench_draw *draw);
static inline uint32_t bench_draw_next(struct bench_draw *draw)
{
	uint32_t drawn = draw->ring[draw->at];

	draw->at = draw->at + 1 == draw->size ? 0 : draw->at + 1;
	return drawn;
}

/** A name as callers have them, "profile:0000beef"; a key of the same length as ours, for raw LMDB. */
enum { BENCH_NAME = 16, BENCH_TENANT_LEN = 12, BENCH_KEY = BENCH_TENANT_LEN + 1 + 32 };
#define BENCH_TENANT "bench-tenant"
#define BENCH_SPACE "profile"
void bench_name(uint32_t entry, char ret_name[BENCH_NAME]);
void bench_key(uint32_t entry, unsigned char ret_key[BENCH_KEY]);

/** Bytes for values, the same in every run. */
const unsigned char *bench_bytes(size_t len);

/* ---- the two stores (ours.c, raw.c) ---- */

/** What is put into both: entries of one size. */
struct bench_load {
	uint32_t entries;
	size_t value_len;
	int writable;              /* both maps writable */
	int no_thread;             /* ours without its background thread */
	uint64_t map_b;            /* LARDER_SIZE; the raw map is as large as ours with its reserve */
};

struct larder;
struct larder_tenant;
struct bench_ours {
	struct larder *cache;
	struct larder_tenant *tenant;
	const struct bench_load *load;
	struct bench_draw *draw;
	unsigned char *buffer;     /* room for one value */
};
/** Open in a directory of its own under options->dir; not filled. */
void bench_ours_open(const struct bench_options *options, const struct bench_load *load, struct bench_draw *draw,
    struct bench_ours *ours);
void bench_ours_fill(struct bench_ours *ours);
void bench_ours_close(struct bench_ours *ours);
/* Sides; ctx is a struct bench_ours. */
void bench_ours_get(void *ctx, uint64_t ops);
void bench_ours_get_or_set(void *ctx, uint64_t ops);
void bench_ours_get_into(void *ctx, uint64_t ops);
void bench_ours_set(void *ctx, uint64_t ops);

struct MDB_env;
struct MDB_txn;
struct bench_raw {
	struct MDB_env *env;
	struct MDB_txn *reader;    /* reset between look-ups */
	unsigned table;
	const struct bench_load *load;
	struct bench_draw *draw;
	unsigned char *row;        /* as long as ours */
	size_t row_len, head_len;  /* head_len: what we keep before the value */
	unsigned char *buffer;
	char path[300];
};
/** big: one value without our head, in overflow pages, as LMDB stores it by itself. */
void bench_raw_open(const struct bench_options *options, const struct bench_load *load, struct bench_draw *draw, int big,
    struct bench_raw *raw);
/** Open the same file in a child after fork. */
void bench_raw_again(struct bench_raw *raw);
void bench_raw_fill(struct bench_raw *raw);
void bench_raw_close(struct bench_raw *raw);
/* Sides; ctx is a struct bench_raw. */
void bench_raw_get(void *ctx, uint64_t ops);
void bench_raw_get_into(void *ctx, uint64_t ops);
void bench_raw_set(void *ctx, uint64_t ops);
const char *bench_raw_version(void);

/* ---- cases ---- */

typedef void (*bench_case_fn)(const struct bench_options *options, const char *name);
void bench_case_get(const struct bench_options *options, const char *name);
void bench_case_get_or_set(const struct bench_options *options, const char *name);
void bench_case_big(const struct bench_options *options, const char *name);
void bench_case_set(const struct bench_options *options, const char *name);
void bench_case_outbox(const struct bench_options *options, const char *name);
void bench_case_readers(const struct bench_options *options, const char *name);
void bench_case_writer(const struct bench_options *options, const char *name);
void bench_case_note(const struct bench_options *options, const char *name);
void bench_case_breaker(const struct bench_options *options, const char *name);
void bench_case_lease(const struct bench_options *options, const char *name);
void bench_case_wake(const struct bench_options *options, const char *name);
void bench_case_l2_hit(const struct bench_options *options, const char *name);
void bench_case_hmac(const struct bench_options *options, const char *name);
void bench_case_sweep(const struct bench_options *options, const char *name);

#endif
