/* SPDX-License-Identifier: MIT */
/*
 * The pure parts of `larder replay`: the trace reader and its two line formats, the generator, the values that can be checked,
 * the histogram, and the sum over smaps. No cache is involved.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <larder/larder.h>
#include <zlib.h>

#include "replay_breaker.h"
#include "replay_generator.h"
#include "replay_histogram.h"
#include "replay_line.h"
#include "replay_memory.h"
#include "replay_outage.h"
#include "replay_random.h"
#include "replay_trace.h"
#include "replay_value.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* ---- histogram ---- */

/* Every bucket ends where the next one begins, and both ends of each are counted in it. */
static void test_buckets_follow_each_other(void **state)
{
	uint64_t begin = 0;

	(void)state;
	for (unsigned i = 0; i < REPLAY_HISTOGRAM_BUCKETS; i++) {
		uint64_t edge = replay_histogram_edge(i);
		assert_true(edge >= begin);
		assert_int_equal(replay_histogram_bucket(begin), i);
		assert_int_equal(replay_histogram_bucket(edge), i);
		assert_true(edge - begin <= begin / REPLAY_HISTOGRAM_SUB);
		begin = edge + 1;
	}
	assert_int_equal(begin, REPLAY_HISTOGRAM_MAX_NS + 1);
	assert_int_equal(replay_histogram_bucket(UINT64_MAX), REPLAY_HISTOGRAM_BUCKETS - 1);
}

static void test_percentiles_of_an_even_spread(void **state)
{
	static struct replay_histogram histogram;

	(void)state;
	assert_int_equal(replay_histogram_percentile(&histogram, 50), 0);
	for (uint64_t ns = 1; ns <= 100000; ns++)
		replay_histogram_add(&histogram, ns);
	assert_int_equal(replay_histogram_count(&histogram), 100000);
	assert_in_range(replay_histogram_percentile(&histogram, 50), 50000, 50000 + 50000 / 64);
	assert_in_range(replay_histogram_percentile(&histogram, 99), 99000, 99000 + 99000 / 64);
	assert_in_range(replay_histogram_percentile(&histogram, 99.9), 99900, 99900 + 99900 / 64);
	assert_in_range(replay_histogram_percentile(&histogram, 100), 100000, 100000 + 100000 / 64);
	assert_int_equal(replay_histogram_percentile(&histogram, 0.001), 1);
}

static void test_merged_is_as_if_one_had_counted_all(void **state)
{
	static struct replay_histogram one, other, all;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++) {
		uint64_t ns = replay_mix(i) >> 30;
		replay_histogram_add(i % 3 ? &one : &other, ns);
		replay_histogram_add(&all, ns);
	}
	replay_histogram_merge(&one, &other);
	assert_memory_equal(&one, &all, sizeof(all));
}

/* ---- lines ---- */

#define LOG_LINE(request) "192.0.2.7 - alice [10/Oct/2020:13:55:36 +0000] \"" request "\" 200 2326 \"-\" \"curl/8\""

struct line_case {
	enum replay_format format;
	const char *line;
	const char *key; /* NULL: none */
};

static void test_keys_of_lines(void **state)
{
	static const struct line_case cases[] = {
		{ REPLAY_KEYS, "42", "42" },
		{ REPLAY_KEYS, "with a blank\r", "with a blank" },
		{ REPLAY_KEYS, "", NULL },
		{ REPLAY_KEYS, "\r", NULL },
		{ REPLAY_ACCESS_LOG, LOG_LINE("GET /a/b?c=1 HTTP/1.1"), "GET /a/b?c=1" },
		{ REPLAY_ACCESS_LOG, "::1 - - [10/Oct/2020:13:55:36 +0000] \"GET / HTTP/1.0\" 304 0\r", "GET /" },
		{ REPLAY_ACCESS_LOG, LOG_LINE("GET /old-style"), "GET /old-style" },
		{ REPLAY_ACCESS_LOG, LOG_LINE("POST /a HTTP/1.1"), NULL },
		{ REPLAY_ACCESS_LOG, LOG_LINE("HEAD /a HTTP/1.1"), NULL },
		{ REPLAY_ACCESS_LOG, LOG_LINE("\\x16\\x03\\x01"), NULL },
		{ REPLAY_ACCESS_LOG, LOG_LINE("GET "), NULL },
		{ REPLAY_ACCESS_LOG, LOG_LINE("-"), NULL },
		{ REPLAY_ACCESS_LOG, "192.0.2.7 - - [10/Oct/2020:13:55:36 +0000] \"GET /cut-off", NULL },
		{ REPLAY_ACCESS_LOG, "192.0.2.7 - - [10/Oct/2020", NULL },
		{ REPLAY_ACCESS_LOG, "192.0.2.7 - - [x]", NULL },
		{ REPLAY_ACCESS_LOG, "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		size_t len = strlen(cases[i].line), key_len = 0;
		char *line = malloc(len + 1); /* without a NUL, so that a sanitizer sees a step too far */
		const char *key = NULL;
		memcpy(line, cases[i].line, len);
		line[len] = '"';
		int r = replay_line_key(cases[i].format, line, len, &key, &key_len);
		assert_int_equal(r, cases[i].key != NULL);
		if (cases[i].key != NULL) {
			assert_int_equal(key_len, strlen(cases[i].key));
			assert_memory_equal(key, cases[i].key, key_len);
		}
		free(line);
	}
}

static void test_longest_key(void **state)
{
	static char line[LARDER_NAME_MAX + 1];
	const char *key;
	size_t key_len;

	(void)state;
	memset(line, 'k', sizeof(line));
	assert_int_equal(replay_line_key(REPLAY_KEYS, line, LARDER_NAME_MAX, &key, &key_len), 1);
	assert_int_equal(key_len, LARDER_NAME_MAX);
	assert_int_equal(replay_line_key(REPLAY_KEYS, line, LARDER_NAME_MAX + 1, &key, &key_len), 0);
}

static enum replay_format detect(const char *text)
{
	return replay_format_detect(text, strlen(text));
}

static void test_format_is_detected(void **state)
{
	(void)state;
	assert_int_equal(detect(""), REPLAY_KEYS);
	assert_int_equal(detect("1\n2\n3\n"), REPLAY_KEYS);
	assert_int_equal(detect(LOG_LINE("GET / HTTP/1.1")), REPLAY_ACCESS_LOG);
	assert_int_equal(detect(LOG_LINE("POST / HTTP/1.1") "\n\n" LOG_LINE("-") "\n" LOG_LINE("GET / HTTP/1.1") "\n"),
	    REPLAY_ACCESS_LOG);
	assert_int_equal(detect("1\n" LOG_LINE("GET / HTTP/1.1") "\n"), REPLAY_KEYS);
	/* The cut-off line at the end says nothing. */
	assert_int_equal(detect(LOG_LINE("GET / HTTP/1.1") "\n192.0.2.7 - - ["), REPLAY_ACCESS_LOG);
}

/* ---- trace ---- */

static int go_on(void *ctx, uint64_t done, uint64_t total)
{
	(void)ctx, (void)done, (void)total;
	return 0;
}

static int stop(void *ctx, uint64_t done, uint64_t total)
{
	(void)ctx, (void)done, (void)total;
	return 1;
}

/* A file in the temporary directory that is gone when the test is. */
struct scratch {
	char path[64];
};

static void scratch_make(struct scratch *scratch)
{
	strcpy(scratch->path, "/tmp/larder-test-replay-XXXXXX");
	int fd = mkstemp(scratch->path);
	assert_true(fd >= 0);
	close(fd);
}

static void scratch_write(const struct scratch *scratch, const char *mode, const void *data, size_t len)
{
	gzFile file = gzopen(scratch->path, mode);
	assert_non_null(file);
	assert_int_equal(gzwrite(file, data, (unsigned)len), (int)len);
	assert_int_equal(gzclose(file), Z_OK);
}

static int scratch_read(const struct scratch *scratch, struct replay_trace *ret_trace, char *why)
{
	return replay_trace_read(scratch->path, go_on, NULL, ret_trace, why, 300);
}

static void assert_name(const struct replay_trace *trace, uint64_t at, const char *expected)
{
	char room[REPLAY_NAME_ROOM];
	size_t len;
	const char *name = replay_trace_name(trace, replay_trace_id(trace, at), room, &len);
	assert_int_equal(len, strlen(expected));
	assert_memory_equal(name, expected, len);
}

/* The same file, plain and compressed ("T" is zlib's word for plain), with and without its last newline. */
static void test_trace_plain_and_gzip(void **state)
{
	static const char text[] = "a\nbb\r\na\n\nccc\nbb\na\n";
	static const char *const expected[] = { "a", "bb", "a", "ccc", "bb", "a" };
	struct scratch scratch;
	char why[300];

	(void)state;
	scratch_make(&scratch);
	for (int i = 0; i < 4; i++) {
		struct replay_trace trace;
		scratch_write(&scratch, i & 1 ? "wb" : "wbT", text, sizeof(text) - 1 - (i & 2 ? 1 : 0));
		assert_int_equal(scratch_read(&scratch, &trace, why), 0);
		assert_int_equal(trace.count, LENGTH(expected));
		assert_int_equal(trace.keys, 3);
		assert_int_equal(trace.skipped, 1);
		assert_int_equal(trace.format, REPLAY_KEYS);
		for (uint64_t at = 0; at < trace.count; at++)
			assert_name(&trace, at, expected[at]);
		replay_trace_free(&trace);
		assert_int_equal(trace.count, 0);
	}
	unlink(scratch.path);
}

static void test_trace_of_an_access_log(void **state)
{
	static const char text[] = LOG_LINE("GET /a HTTP/1.1") "\n" LOG_LINE("POST /a HTTP/1.1") "\nrubbish\n"
	    LOG_LINE("GET /b HTTP/1.1") "\n" LOG_LINE("GET /a HTTP/2.0") "\n";
	struct scratch scratch;
	struct replay_trace trace;
	char why[300];

	(void)state;
	scratch_make(&scratch);
	scratch_write(&scratch, "wb", text, sizeof(text) - 1);
	assert_int_equal(scratch_read(&scratch, &trace, why), 0);
	assert_int_equal(trace.format, REPLAY_ACCESS_LOG);
	assert_int_equal(trace.count, 3);
	assert_int_equal(trace.keys, 2);
	assert_int_equal(trace.skipped, 2);
	assert_name(&trace, 0, "GET /a");
	assert_name(&trace, 1, "GET /b");
	assert_name(&trace, 2, "GET /a");
	replay_trace_free(&trace);
	unlink(scratch.path);
}

/* Enough keys for the table and every region to grow several times, and for lines to lie across the reader's buffer. */
static void test_trace_of_many_keys(void **state)
{
	const uint64_t count = 400000, keys = 150000;
	struct scratch scratch;
	struct replay_trace trace;
	char why[300], name[40];

	(void)state;
	scratch_make(&scratch);
	gzFile file = gzopen(scratch.path, "wbT");
	assert_non_null(file);
	for (uint64_t i = 0; i < count; i++)
		gzprintf(file, "key-%llu-of-many\n", (unsigned long long)(i * 7919 % keys));
	assert_int_equal(gzclose(file), Z_OK);
	assert_int_equal(scratch_read(&scratch, &trace, why), 0);
	assert_int_equal(trace.count, count);
	assert_int_equal(trace.keys, keys);
	assert_int_equal(trace.skipped, 0);
	for (uint64_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "key-%llu-of-many", (unsigned long long)(i * 7919 % keys));
		assert_name(&trace, i, name);
	}
	replay_trace_free(&trace);
	unlink(scratch.path);
}

/* A line longer than any buffer is one skipped line, and its neighbours are whole. */
static void test_trace_with_an_endless_line(void **state)
{
	const size_t len = 1500000;
	struct scratch scratch;
	struct replay_trace trace;
	char why[300];
	char *text = malloc(len);

	(void)state;
	assert_non_null(text);
	memset(text, 'x', len);
	memcpy(text, "before\n", 7);
	memcpy(text + len - 7, "\nafter\n", 7);
	scratch_make(&scratch);
	scratch_write(&scratch, "wb", text, len);
	assert_int_equal(scratch_read(&scratch, &trace, why), 0);
	assert_int_equal(trace.count, 2);
	assert_int_equal(trace.skipped, 1);
	assert_name(&trace, 0, "before");
	assert_name(&trace, 1, "after");
	replay_trace_free(&trace);
	free(text);
	unlink(scratch.path);
}

static void test_trace_that_cannot_be_read(void **state)
{
	struct scratch scratch;
	struct replay_trace trace;
	char why[300] = "";
	char text[20000];

	(void)state;
	scratch_make(&scratch);
	assert_int_equal(scratch_read(&scratch, &trace, why), -1);
	assert_non_null(strstr(why, "no key"));

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 9 == 8 ? '\n' : (char)('a' + replay_mix(i) % 26);
	scratch_write(&scratch, "wb", text, sizeof(text));
	assert_int_equal(truncate(scratch.path, 5000), 0);
	assert_int_equal(scratch_read(&scratch, &trace, why), -1);
	assert_non_null(strstr(why, "cannot be read to its end"));

	unlink(scratch.path);
	assert_int_equal(scratch_read(&scratch, &trace, why), -1);
	assert_non_null(strstr(why, "No such file"));
	assert_int_equal(replay_trace_read("/", go_on, NULL, &trace, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "Is a directory"));
}

static void test_reading_stops_when_asked(void **state)
{
	struct replay_recipe recipe;
	struct replay_trace trace;
	char why[300];

	(void)state;
	assert_int_equal(replay_recipe_parse("zipf:1", &recipe, why, sizeof(why)), 0);
	assert_int_equal(replay_trace_generate(&recipe, stop, NULL, &trace, why, sizeof(why)), 1);
}

/* ---- generator ---- */

static void test_recipes(void **state)
{
	struct replay_recipe recipe;
	char why[300];

	(void)state;
	assert_int_equal(replay_recipe_parse(REPLAY_RECIPE_DEFAULT, &recipe, why, sizeof(why)), 0);
	assert_true(recipe.alpha == 1.0 && recipe.scan_percent == 5.0);
	assert_int_equal(recipe.keys, 200000);
	assert_int_equal(recipe.requests, 2000000);
	assert_int_equal(recipe.seed, 1);
	assert_int_equal(recipe.shift, 4);
	assert_int_equal(recipe.scan_len, 1000);
	assert_int_equal(replay_recipe_parse("zipf:0.75,scan_len=7,keys=3K,requests=2M,scan=0.5,shift=0,seed=9", &recipe, why,
	    sizeof(why)), 0);
	assert_true(recipe.alpha == 0.75 && recipe.scan_percent == 0.5);
	assert_int_equal(recipe.keys, 3000);
	assert_int_equal(recipe.requests, 2000000);
	assert_int_equal(recipe.scan_len, 7);
}

static void test_recipes_refused(void **state)
{
	static const char *const bad[] = { "", "zipf", "zipf:", "zipf:x", "zipf:-1", "zipf:11", "zipf:nan", "uniform:1",
		"zipf:1,", "zipf:1,keys", "zipf:1,keys=", "zipf:1,keys=0", "zipf:1,keys=1.5", "zipf:1,keys=1T", "zipf:1,keys=2000000000",
		"zipf:1,keys=-1", "zipf:1,requests=0", "zipf:1,requests=5G", "zipf:1,scan=101", "zipf:1,scan=5%", "zipf:1,scan_len=0",
		"zipf:1,key=5", "zipf:1;keys=5", "zipf:1,seed=99999999999999999999" };
	struct replay_recipe recipe = { .keys = 77 };

	(void)state;
	for (size_t i = 0; i < LENGTH(bad); i++) {
		char why[300] = "";
		assert_int_equal(replay_recipe_parse(bad[i], &recipe, why, sizeof(why)), -1);
		assert_true(strlen(why) > 10);
		assert_int_equal(recipe.keys, 77);
	}
}

/* Each of the first ranks within five standard deviations of its probability, for exponents on both sides of 1. */
static void test_ranks_follow_zipf(void **state)
{
	static const double alphas[] = { 0, 0.5, 0.99, 1, 1.0000001, 1.5, 3 };
	enum { KEYS = 1000, DRAWS = 400000 };
	static uint32_t drawn[KEYS + 1];

	(void)state;
	for (size_t a = 0; a < LENGTH(alphas); a++) {
		struct replay_recipe recipe = { alphas[a], KEYS, DRAWS, a + 1, 0, 0, 1 };
		struct replay_generator generator;
		double sum = 0;
		memset(drawn, 0, sizeof(drawn));
		replay_generator_init(&generator, &recipe);
		for (int i = 0; i < DRAWS; i++) {
			uint32_t rank = replay_generator_rank(&generator);
			assert_in_range(rank, 1, KEYS);
			drawn[rank]++;
		}
		for (int k = 1; k <= KEYS; k++)
			sum += pow(k, -alphas[a]);
		for (int k = 1; k <= 50; k++) {
			double expected = DRAWS * pow(k, -alphas[a]) / sum;
			assert_true(fabs(drawn[k] - expected) <= 5 * sqrt(expected) + 1);
		}
	}
}

static void test_same_seed_same_trace(void **state)
{
	struct replay_recipe recipe = { 1.0, 1000, 20000, 5, 4, 10, 50 };
	struct replay_trace one, two, other;
	char why[300];
	uint64_t differing = 0;

	(void)state;
	assert_int_equal(replay_trace_generate(&recipe, go_on, NULL, &one, why, sizeof(why)), 0);
	assert_int_equal(replay_trace_generate(&recipe, go_on, NULL, &two, why, sizeof(why)), 0);
	recipe.seed = 6;
	assert_int_equal(replay_trace_generate(&recipe, go_on, NULL, &other, why, sizeof(why)), 0);
	assert_int_equal(one.count, 20000);
	for (uint64_t at = 0; at < one.count; at++) {
		assert_int_equal(replay_trace_id(&one, at), replay_trace_id(&two, at));
		differing += replay_trace_id(&one, at) != replay_trace_id(&other, at);
	}
	assert_true(differing > 10000);
	replay_trace_free(&one);
	replay_trace_free(&two);
	replay_trace_free(&other);
}

/* A generated trace keeps no names: they are the ids in decimal, also the longest ones. */
static void test_generated_names_are_the_ids(void **state)
{
	struct replay_recipe recipe = { 1.0, 1000000000, 10, 1, 0, 100, 1000 };
	struct replay_trace trace;
	char why[300];

	(void)state;
	assert_int_equal(replay_trace_generate(&recipe, go_on, NULL, &trace, why, sizeof(why)), 0);
	assert_name(&trace, 0, "1000000000");
	assert_name(&trace, 9, "1000000009");
	replay_trace_free(&trace);
}

/* In each part of the run another key is the hottest, and it is the one that the turning says. */
static void test_hot_set_moves(void **state)
{
	enum { KEYS = 1000, REQUESTS = 40000, PARTS = 4 };
	struct replay_recipe recipe = { 1.2, KEYS, REQUESTS, 3, PARTS, 0, 1 };
	struct replay_generator generator;

	(void)state;
	replay_generator_init(&generator, &recipe);
	for (uint32_t part = 0; part < PARTS; part++) {
		uint32_t counts[KEYS] = { 0 }, hottest = 0;
		for (int i = 0; i < REQUESTS / PARTS; i++)
			counts[replay_generator_next(&generator)]++;
		for (uint32_t key = 1; key < KEYS; key++)
			if (counts[key] > counts[hottest])
				hottest = key;
		assert_int_equal(hottest, part * KEYS / PARTS);
	}
}

/* The share of scans is as asked for; their keys are consecutive, apart from the popular ones, in runs of the right length. */
static void test_scans(void **state)
{
	enum { KEYS = 100000, REQUESTS = 1000000, LEN = 100 };
	struct replay_recipe recipe = { 1.0, KEYS, REQUESTS, 8, 0, 20, LEN };
	struct replay_generator generator;
	uint64_t scanned = 0, run = 0;

	(void)state;
	replay_generator_init(&generator, &recipe);
	for (int i = 0; i < REQUESTS; i++) {
		uint32_t key = replay_generator_next(&generator);
		if (key < KEYS) {
			assert_int_equal(run % LEN, 0);
			run = 0;
			continue;
		}
		assert_int_equal(key, KEYS + scanned % KEYS);
		scanned++;
		run++;
	}
	assert_in_range(scanned, REQUESTS / 100 * 18, REQUESTS / 100 * 22);
}

/* ---- values ---- */

static void test_sizes(void **state)
{
	struct replay_sizes sizes;

	(void)state;
	assert_int_equal(replay_sizes_parse("4K", &sizes), 0);
	assert_int_equal(replay_value_len(&sizes, 1), 4096);
	assert_int_equal(replay_value_len(&sizes, 2), 4096);
	assert_int_equal(replay_sizes_parse("uniform:16-4096", &sizes), 0);
	uint64_t sum = 0, low = UINT64_MAX, high = 0;
	for (uint64_t i = 0; i < 100000; i++) {
		uint64_t len = replay_value_len(&sizes, replay_mix(i));
		assert_int_equal(len, replay_value_len(&sizes, replay_mix(i)));
		sum += len;
		low = len < low ? len : low;
		high = len > high ? len : high;
	}
	assert_int_equal(low, 16);
	assert_int_equal(high, 4096);
	assert_in_range(sum / 100000, 2056 - 20, 2056 + 20);
	assert_int_equal(replay_sizes_parse("lognormal:2000,0.5", &sizes), 0);
	sum = 0;
	for (uint64_t i = 0; i < 100000; i++)
		sum += replay_value_len(&sizes, replay_mix(i));
	assert_in_range(sum / 100000, 1980, 2020);
}

static void test_sizes_refused(void **state)
{
	static const char *const bad[] = { "", "x", "-1", "2G", "uniform:", "uniform:5", "uniform:5-4", "uniform:1-2G",
		"uniform:-5",
		"lognormal:100", "lognormal:0,1", "lognormal:100,-1", "lognormal:100,5", "lognormal:100,x", "zipf:3" };
	struct replay_sizes sizes;

	(void)state;
	for (size_t i = 0; i < LENGTH(bad); i++)
		assert_int_equal(replay_sizes_parse(bad[i], &sizes), -1);
}

static void test_wrong_values_are_found(void **state)
{
	uint64_t seed = replay_value_seed("some key", 8), other = replay_value_seed("some kez", 8);

	(void)state;
	assert_true(seed != other);
	for (size_t len = 1; len <= 100; len++) {
		unsigned char *value = malloc(len);
		replay_value_fill(seed, value, len);
		assert_int_equal(replay_value_is_right(seed, value, len), 1);
		for (size_t i = 0; i < len; i++) {
			value[i] ^= 0x10;
			assert_int_equal(replay_value_is_right(seed, value, len), 0);
			value[i] ^= 0x10;
		}
		if (len >= 8) {
			assert_int_equal(replay_value_is_right(other, value, len), 0);
			assert_int_equal(replay_value_is_right(seed, value, len - 1), 0);
		}
		free(value);
	}
}

/* ---- memory ---- */

static void test_private_memory_leaves_shared_mappings_out(void **state)
{
	static char smaps[] =
	    "55d0c0000000-55d0c0010000 r-xp 00000000 08:01 131 /usr/bin/larder\n"
	    "Size: 64 kB\nPrivate_Clean:        12 kB\nPrivate_Dirty:         0 kB\n"
	    "7f0000000000-7f0010000000 rw-s 00000000 00:19 7 /dev/shm/larder-0/larder.mdb\n"
	    "Private_Clean:  500 kB\nPrivate_Dirty:  300 kB\n"
	    "7f1000000000-7f1000010000 rw-p 00000000 00:00 0 [heap]\n"
	    "Shared_Dirty:  800 kB\nPrivate_Clean:  0 kB\nPrivate_Dirty:  30 kB\n";
	FILE *file = fmemopen(smaps, sizeof(smaps) - 1, "r");

	(void)state;
	assert_non_null(file);
	assert_int_equal(replay_memory_sum(file), 42 * 1024);
	fclose(file);
}

/* What a process writes to becomes its own, and is counted once. */
static void test_own_memory_grows_with_use(void **state)
{
	const size_t size = (size_t)64 << 20, slack = (size_t)16 << 20; /* slack is for the heap's and a sanitizer's own */
	uint64_t before = replay_memory_own();
	char *data = malloc(size);

	(void)state;
	assert_non_null(data);
	assert_true(before > 0);
	memset(data, 1, size);
	uint64_t after = replay_memory_own();
	assert_in_range(after, before + size - slack, before + size + slack);
	free(data);
}

/* ---- outage ---- */

static void test_outages_are_shares_or_times(void **state)
{
	static const char *const wrong[] = { "", ":", "40%", "40%:", ":20%", "0%:20%", "101%:1s", "40:x", "-1%:1s", "%:1s", "4x%:1s", "nan%:1s", "1s:2s:3s",
		"1s:99999999999999999999999999999999999999999999999999s" };
	struct replay_outage outage = { .at = { 7, 7 } };

	(void)state;
	assert_int_equal(replay_outage_parse("40%:2.5%", &outage), 0);
	assert_true(outage.at.percent == 40 && outage.length.percent == 2.5);
	assert_int_equal(replay_outage_parse("3s:250ms", &outage), 0);
	assert_true(outage.at.percent == 0 && outage.length.percent == 0);
	assert_int_equal(outage.at.time_ms, 3000);
	assert_int_equal(outage.length.time_ms, 250);
	assert_int_equal(replay_outage_parse("100%:0", &outage), 0);
	for (size_t i = 0; i < LENGTH(wrong); i++)
		assert_int_equal(replay_outage_parse(wrong[i], &outage), -1);
	assert_true(outage.at.percent == 100 && outage.length.time_ms == 0);
}

static void test_spans_are_over_at_their_end(void **state)
{
	const struct replay_span share = { 40, 0 }, time = { 0, 3 };

	(void)state;
	assert_false(replay_span_is_over(&share, 399, 1000, INT64_MAX));
	assert_true(replay_span_is_over(&share, 400, 1000, 0));
	assert_false(replay_span_is_over(&time, 1000, 1000, 2999999));
	assert_true(replay_span_is_over(&time, 0, 1000, 3000000));
}

/* ---- the breaker's log ---- */

static void test_transitions_are_kept_in_order_of_time(void **state)
{
	static struct replay_breaker_log log;
	static struct replay_transition read[REPLAY_TRANSITIONS_MAX];

	(void)state;
	assert_int_equal(replay_breaker_state(&log), LARDER_BREAKER_CLOSED);
	assert_int_equal(replay_breaker_read(&log, read), 0);
	replay_breaker_note(&log, LARDER_BREAKER_OPEN, "opened-failures", 200);
	replay_breaker_note(&log, LARDER_BREAKER_HALF_OPEN, "half-opened", 100);
	assert_int_equal(replay_breaker_state(&log), LARDER_BREAKER_HALF_OPEN);
	assert_int_equal(replay_breaker_read(&log, read), 2);
	assert_int_equal(read[0].at_ns, 100);
	assert_string_equal(read[0].name, "half-opened");
	assert_int_equal(read[1].state, LARDER_BREAKER_OPEN);
	/* Killed before it wrote its time. */
	atomic_fetch_add(&log.count, 1);
	replay_breaker_note(&log, LARDER_BREAKER_CLOSED, "a name that is longer than any that there is today", 300);
	assert_int_equal(replay_breaker_read(&log, read), 3);
	assert_int_equal(strlen(read[2].name), REPLAY_TRANSITION_SIZE - 1);
	assert_int_equal(replay_breaker_count(&log), 4);
	for (int i = 0; i < 1000; i++)
		replay_breaker_note(&log, LARDER_BREAKER_OPEN, "reopened", 1000 + i);
	assert_int_equal(replay_breaker_read(&log, read), REPLAY_TRANSITIONS_MAX - 1);
	assert_int_equal(replay_breaker_count(&log), 1004);
	assert_int_equal(replay_breaker_state(&log), LARDER_BREAKER_OPEN);
}

/* Somebody who is slow does not put an older state over a newer one. */
static void test_the_latest_state_stays(void **state)
{
	static struct replay_breaker_log log;

	(void)state;
	atomic_store(&log.now, (UINT64_C(9) << 2) | LARDER_BREAKER_HALF_OPEN);
	replay_breaker_note(&log, LARDER_BREAKER_OPEN, "reopened", 100);
	assert_int_equal(replay_breaker_state(&log), LARDER_BREAKER_HALF_OPEN);
}

static void test_reactions_are_counted_from_kill_and_return(void **state)
{
	static const struct replay_transition transitions[] = {
		{ 50, LARDER_BREAKER_OPEN, "opened-slow" }, { 60, LARDER_BREAKER_CLOSED, "closed" },
		{ 104, LARDER_BREAKER_OPEN, "opened-failures" }, { 110, LARDER_BREAKER_HALF_OPEN, "half-opened" },
		{ 111, LARDER_BREAKER_OPEN, "reopened" }, { 207, LARDER_BREAKER_CLOSED, "closed" },
	};
	struct replay_reaction reaction = replay_breaker_reaction(transitions, 6, 100, 200);

	(void)state;
	assert_int_equal(reaction.open_ns, 4);
	assert_int_equal(reaction.recover_ns, 7);
	reaction = replay_breaker_reaction(transitions, 5, 100, 200);
	assert_int_equal(reaction.recover_ns, -1);
	reaction = replay_breaker_reaction(transitions, 6, 112, 0);
	assert_int_equal(reaction.open_ns, -1);
	assert_int_equal(reaction.recover_ns, -1);
	/* What opens after the return was not the outage. */
	reaction = replay_breaker_reaction(transitions, 6, 61, 100);
	assert_int_equal(reaction.open_ns, -1);
	reaction = replay_breaker_reaction(transitions, 6, 0, 0);
	assert_int_equal(reaction.open_ns, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buckets_follow_each_other),
		cmocka_unit_test(test_percentiles_of_an_even_spread),
		cmocka_unit_test(test_merged_is_as_if_one_had_counted_all),
		cmocka_unit_test(test_outages_are_shares_or_times),
		cmocka_unit_test(test_spans_are_over_at_their_end),
		cmocka_unit_test(test_transitions_are_kept_in_order_of_time),
		cmocka_unit_test(test_the_latest_state_stays),
		cmocka_unit_test(test_reactions_are_counted_from_kill_and_return),
		cmocka_unit_test(test_keys_of_lines),
		cmocka_unit_test(test_longest_key),
		cmocka_unit_test(test_format_is_detected),
		cmocka_unit_test(test_trace_plain_and_gzip),
		cmocka_unit_test(test_trace_of_an_access_log),
		cmocka_unit_test(test_trace_of_many_keys),
		cmocka_unit_test(test_trace_with_an_endless_line),
		cmocka_unit_test(test_trace_that_cannot_be_read),
		cmocka_unit_test(test_reading_stops_when_asked),
		cmocka_unit_test(test_recipes),
		cmocka_unit_test(test_recipes_refused),
		cmocka_unit_test(test_ranks_follow_zipf),
		cmocka_unit_test(test_same_seed_same_trace),
		cmocka_unit_test(test_generated_names_are_the_ids),
		cmocka_unit_test(test_hot_set_moves),
		cmocka_unit_test(test_scans),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_sizes_refused),
		cmocka_unit_test(test_wrong_values_are_found),
		cmocka_unit_test(test_private_memory_leaves_shared_mappings_out),
		cmocka_unit_test(test_own_memory_grows_with_use),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
