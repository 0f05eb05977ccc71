/* SPDX-License-Identifier: MIT */
/*
 * What the breaker adds to a call to L2 while it is closed: asking and reporting a success, less the loop round them; beside the 10 ns that it may
 * cost. And a refused call, beside the 5 us that one may cost.
 */
#include "bench.h"

#include "shm/breaker.h"

enum { ALLOWED_NS = 10, REFUSED_NS = 5000, NOW_MS = 86400000, LEASE_MS = 3000, CALLS_A_MS = 1024 };

static const struct ld_breaker_settings settings = LD_BREAKER_DEFAULTS;

static void ask_and_report(void *ctx, uint64_t ops)
{
	struct ld_breaker *breaker = ctx;
	struct ld_breaker_pass pass;

	for (uint64_t i = 0; i < ops; i++) {
		int64_t now_ms = NOW_MS + (int64_t)(i / CALLS_A_MS);

		bench_must(ld_breaker_admit(breaker, &settings, now_ms, LEASE_MS, &pass) == LD_BREAKER_ADMITTED, "not closed");
		bench_use(&pass);
		(void)ld_breaker_report(breaker, &settings, &pass, LD_BREAKER_SUCCESS, now_ms, 1);
	}
}

static void ask_in_vain(void *ctx, uint64_t ops)
{
	struct ld_breaker *breaker = ctx;
	struct ld_breaker_pass pass;

	for (uint64_t i = 0; i < ops; i++) {
		int64_t now_ms = NOW_MS + (int64_t)(i / CALLS_A_MS);

		bench_must(ld_breaker_admit(breaker, &settings, now_ms, LEASE_MS, &pass) == LD_BREAKER_REFUSED, "not open");
		bench_use(&pass);
	}
}

static void nothing(void *ctx, uint64_t ops)
{
	for (uint64_t i = 0; i < ops; i++) {
		int64_t now_ms = NOW_MS + (int64_t)(i / CALLS_A_MS);

		bench_use(&now_ms);
		bench_use(ctx);
	}
}

static void measure(const struct bench_options *options, const char *name, struct ld_breaker *breaker, void (*run)(void *, uint64_t),
    const char *beside, double allowed_ns)
{
	struct bench_row row = { .name = name, .beside = beside, .target = 1 };
	const struct bench_side ours = { run, breaker }, loop = { nothing, breaker };

	bench_pair(options, &ours, &loop, &row);
	row.ours_ns -= row.beside_ns;
	row.beside_ns = allowed_ns;
	row.ratio = row.ours_ns / allowed_ns;
	bench_report(options, &row);
}

void bench_case_breaker(const struct bench_options *options, const char *name)
{
	static struct ld_breaker breaker;

	measure(options, name, &breaker, ask_and_report, "10 ns, which a closed breaker may add to a call", ALLOWED_NS);
	(void)ld_breaker_force_open(&breaker, NOW_MS);
	measure(options, "breaker-open", &breaker, ask_in_vain, "5 us, which a refused call may cost", REFUSED_NS);
}
