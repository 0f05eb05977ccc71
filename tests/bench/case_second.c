/* SPDX-License-Identifier: MIT */
/*
 * The second level: a get that L2 answers, through larder-l2d on loopback. Three rows:
 *
 *     l2-hit       larder_get(), which looks here, asks L2 and keeps the answer, beside plain libcurl that sends the same request and does nothing else
 *     l2-hit-kept  the same larder_get(), beside plain libcurl that takes the value out of the answer, and a commit of it with raw LMDB
 *     l2-ask       the asking alone, breaker and codec included (ld_l2_get()), beside plain libcurl that sends the same request
 *
 * The second row says what the first one cannot be below as long as the answer is kept before the call returns.
 */
#include "bench.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <larder/larder.h>

#include "cache/handle.h"
#include "l2/client.h"

enum { ROUND = 200, WAIT_MS = 10000, TICK_US = 20000, FLUSH_MS = 120000, VALUE_B = 512 };

#define SECRET "SECRET=a-secret-for-the-benchmark-alone-32"

/* ---- larder-l2d ---- */

struct service {
	pid_t pid;
	int port;
	char url[64], dir[300], port_file[320];
};

static int read_port(const struct service *service)
{
	FILE *file = fopen(service->port_file, "r");
	int port = 0;

	if (file) {
		if (fscanf(file, "%d", &port) != 1)
			port = 0;
		fclose(file);
	}
	return port;
}

static void start(const struct bench_options *options, struct service *service)
{
	snprintf(service->dir, sizeof(service->dir), "%s/l2d", options->dir);
	snprintf(service->port_file, sizeof(service->port_file), "%s/l2d.port", options->dir);
	service->pid = fork();
	bench_must(service->pid >= 0, "fork");
	if (service->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		execl("./larder-l2d", "larder-l2d", "--dir", service->dir, "--listen", "127.0.0.1:0", "--port-file", service->port_file, "--workers", "1",
		    (char *)NULL);
		_exit(127);
	}
	for (int waited_us = 0; !read_port(service) && waited_us < WAIT_MS * 1000; waited_us += TICK_US)
		usleep(TICK_US);
	service->port = read_port(service);
	bench_must(service->port != 0, "larder-l2d does not start");
	snprintf(service->url, sizeof(service->url), "http://127.0.0.1:%d", service->port);
}

static void stop(struct service *service)
{
	kill(service->pid, SIGTERM);
	while (waitpid(service->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* ---- the two sides ---- */

static larder *open_host(const struct bench_options *options, const char *name, const char *url, larder_tenant **ret_tenant)
{
	char dir[300], l2[100];
	const char *settings[] = { dir, "SIZE=64M", SECRET, "TTL=24h", "THREADS=0", url ? l2 : NULL, "L2_GET_MS=10s", NULL };
	struct larder_options open = LARDER_OPTIONS_INIT;
	larder *cache = NULL;
	char *why = NULL;

	snprintf(dir, sizeof(dir), "DIR=%s/%s", options->dir, name);
	snprintf(l2, sizeof(l2), "L2_URL=%s", url ? url : "");
	open.flags = LARDER_OPEN_NO_ENV;
	open.settings = settings;
	if (larder_open(&open, &cache, &why) != 0)
		bench_must(0, why ? why : "larder_open");
	bench_must(larder_tenant_open(cache, BENCH_TENANT, ret_tenant) == 0, "larder_tenant_open");
	return cache;
}

struct keys {
	unsigned char (*digests)[LARDER_DIGEST_SIZE];
	size_t count, room;
};

static int add_key(void *ctx, const struct larder_listed *entry)
{
	struct keys *keys = ctx;

	bench_must(keys->count < keys->room, "more entries than were set");
	memcpy(keys->digests[keys->count++], entry->digest, LARDER_DIGEST_SIZE);
	return 0;
}

/* One host fills L2; another one, whose own store is empty, reads. */
static void fill(const struct bench_options *options, const char *url, uint32_t count, struct keys *keys)
{
	larder_tenant *tenant;
	larder *cache = open_host(options, "host-a", url, &tenant);
	char name[BENCH_NAME];

	for (uint32_t i = 0; i < count; i++) {
		bench_name(i, name);
		bench_must(larder_set(tenant, BENCH_SPACE, name, sizeof(name), bench_bytes(VALUE_B), VALUE_B, NULL, NULL) == 0, "larder_set");
	}
	bench_must(larder_flush(cache, FLUSH_MS) == 0, "L2 was not told everything");
	keys->digests = calloc(count, LARDER_DIGEST_SIZE);
	keys->room = count;
	bench_must(keys->digests && larder_list(tenant, NULL, add_key, keys, NULL) == 0 && keys->count == count, "the list is not whole");
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* A host that has run for a while: its file has had all these entries, and its tables have been touched. */
static void warm(larder_tenant *tenant, uint32_t count)
{
	const struct larder_call here = { sizeof(here), LARDER_CALL_THIS_TIER, 0, NULL, NULL };
	char name[BENCH_NAME];

	for (uint32_t i = 0; i < count; i++) {
		bench_name(i, name);
		bench_must(larder_set(tenant, BENCH_SPACE, name, sizeof(name), bench_bytes(VALUE_B), VALUE_B, NULL, &here) == 0, "larder_set");
	}
	for (uint32_t i = 0; i < count; i++) {
		bench_name(i, name);
		bench_must(larder_delete(tenant, BENCH_SPACE, name, sizeof(name), &here) == 0, "larder_delete");
	}
}

static double get_some(larder_tenant *tenant, uint32_t from)
{
	int64_t began_ns = bench_wall_ns();
	struct larder_value value;
	char name[BENCH_NAME];

	for (uint32_t i = from; i < from + ROUND; i++) {
		bench_name(i, name);
		bench_must(larder_get(tenant, BENCH_SPACE, name, sizeof(name), NULL, &value) == 0 && value.source == LARDER_FROM_L2, "not from L2");
		bench_use(value.data);
		larder_value_free(&value);
	}
	return (double)(bench_wall_ns() - began_ns) / ROUND;
}

/* The asking alone. */
static double ask_some(larder *cache, larder_tenant *tenant, const struct keys *keys, uint32_t from)
{
	const struct ld_l2_have have = { .default_ttl_ms = 60000 };
	int64_t began_ns = bench_wall_ns();

	for (uint32_t i = from; i < from + ROUND; i++) {
		struct ld_key key = { .tenant = BENCH_TENANT, .space = BENCH_SPACE, .tenant_tag = tenant->tag, .row_hint = &tenant->row_hint };
		const struct ld_l2_call call = { .key = &key };
		struct ld_wire_value value;
		struct ld_l2_end end;

		memcpy(key.digest, keys->digests[i], sizeof(key.digest));
		bench_must(ld_l2_get(cache->l2, &call, &have, &value, &end) == LD_L2_HIT, "ld_l2_get");
		bench_use(value.data);
		ld_wire_value_free(&value);
	}
	return (double)(bench_wall_ns() - began_ns) / ROUND;
}

/* ---- plain libcurl ---- */

struct plain {
	CURL *curl;
	struct curl_slist *headers;
	struct bench_load load;
	struct bench_draw draw;
	struct bench_raw raw;
	size_t len;
	char bytes[64 * 1024];
};

static size_t take(char *data, size_t size, size_t count, void *ctx)
{
	struct plain *plain = ctx;

	if (count > sizeof(plain->bytes) - plain->len)
		return 0;
	memcpy(plain->bytes + plain->len, data, count);
	plain->len += count;
	return size * count;
}

/* What a careful user of libcurl sets, threads in mind, and the headers of our own request. */
static void open_plain(const struct bench_options *options, uint32_t entries, struct plain *plain)
{
	static const char *const lines[] = { ("X-Tenant-Id: " BENCH_TENANT), "X-Request-Id: 00112233445566778899aabbccddeeff",
		"Accept: application/json, application/octet-stream;q=0.9" };

	plain->curl = curl_easy_init();
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		plain->headers = curl_slist_append(plain->headers, lines[i]);
	bench_must(plain->curl && plain->headers && curl_easy_setopt(plain->curl, CURLOPT_HTTPHEADER, plain->headers) == CURLE_OK &&
	    curl_easy_setopt(plain->curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK && curl_easy_setopt(plain->curl, CURLOPT_TIMEOUT_MS, 10000L) == CURLE_OK &&
	    curl_easy_setopt(plain->curl, CURLOPT_ACCEPT_ENCODING, "gzip, deflate") == CURLE_OK &&
	    curl_easy_setopt(plain->curl, CURLOPT_USERAGENT, "plain/1.0.0") == CURLE_OK &&
	    curl_easy_setopt(plain->curl, CURLOPT_WRITEFUNCTION, take) == CURLE_OK &&
	    curl_easy_setopt(plain->curl, CURLOPT_WRITEDATA, plain) == CURLE_OK, "libcurl");
	plain->load = (struct bench_load){ .entries = entries, .value_len = VALUE_B, .map_b = 64 << 20 };
	bench_draw_init(&plain->draw, entries, 0, 1);
	bench_raw_open(options, &plain->load, &plain->draw, 0, &plain->raw);
}

static void close_plain(struct plain *plain)
{
	bench_raw_close(&plain->raw);
	bench_draw_free(&plain->draw);
	curl_slist_free_all(plain->headers);
	curl_easy_cleanup(plain->curl);
}

/* The value out of the answer, and a row for it. */
static void keep(struct plain *plain)
{
	json_t *root = json_loadb(plain->bytes, plain->len, 0, NULL);
	const json_t *value = json_object_get(root, "value");

	bench_must(json_string_length(value) >= VALUE_B, "no value in the answer");
	bench_use(json_string_value(value));
	bench_raw_set(&plain->raw, 1);
	json_decref(root);
}

static double plain_some(struct plain *plain, const char *url, const struct keys *keys, uint32_t from, int kept)
{
	int64_t began_ns = bench_wall_ns();
	char address[160];
	long status;

	for (uint32_t i = from; i < from + ROUND; i++) {
		int len = snprintf(address, sizeof(address), "%s/", url);

		for (int b = 0; b < LARDER_DIGEST_SIZE; b++)
			len += snprintf(address + len, 3, "%02x", keys->digests[i][b]);
		plain->len = 0;
		curl_easy_setopt(plain->curl, CURLOPT_URL, address);
		bench_must(curl_easy_perform(plain->curl) == CURLE_OK && curl_easy_getinfo(plain->curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK &&
		    status == 200 && plain->len > VALUE_B, "plain libcurl was not answered");
		if (kept)
			keep(plain);
	}
	return (double)(bench_wall_ns() - began_ns) / ROUND;
}

/* ---- the rows ---- */

enum { HIT, ASK, PLAIN, KEPT, SIDES };

struct run {
	const struct bench_options *options;
	const struct service *service;
	struct keys keys;
	struct plain plain;
	larder *cache;
	larder_tenant *tenant;
	double ns[SIDES][BENCH_ROUNDS_MAX];
};

static double side(struct run *run, int which, uint32_t from)
{
	if (which == HIT)
		return get_some(run->tenant, from);
	if (which == ASK)
		return ask_some(run->cache, run->tenant, &run->keys, from);
	return plain_some(&run->plain, run->service->url, &run->keys, from, which == KEPT);
}

static void report(const struct run *run, const char *name, const char *beside, const char *note, int ours, int other, double target)
{
	struct bench_row row = { .name = name, .beside = beside, .target = target };
	unsigned rounds = bench_rounds(run->options);
	double ratios[BENCH_ROUNDS_MAX];

	for (unsigned i = 0; i < rounds; i++)
		ratios[i] = run->ns[ours][i] / run->ns[other][i];
	row.ours_ns = bench_median(run->ns[ours], rounds);
	row.beside_ns = bench_median(run->ns[other], rounds);
	row.ratio = bench_median(ratios, rounds);
	snprintf(row.note, sizeof(row.note), "%s", note);
	bench_report(run->options, &row);
}

static void measure(const struct bench_options *options, const char *name, const struct service *service)
{
	static struct run run;
	unsigned rounds = bench_rounds(options);
	uint32_t entries = (rounds + 1) * ROUND;

	run.options = options;
	run.service = service;
	fill(options, service->url, entries, &run.keys);
	run.cache = open_host(options, "host-b", service->url, &run.tenant);
	warm(run.tenant, entries);
	open_plain(options, entries, &run.plain);
	bench_raw_fill(&run.plain.raw);
	for (int which = 0; which < SIDES; which++)
		side(&run, which, rounds * ROUND);
	/* Each side begins as often as any other. */
	for (unsigned i = 0; i < rounds; i++) {
		for (unsigned k = 0; k < SIDES; k++) {
			int which = (int)((i + k) % SIDES);

			run.ns[which][i] = side(&run, which, i * ROUND);
		}
	}
	report(&run, name, "plain libcurl, the same request", "wall time, the look here and the keeping of the answer included", HIT, PLAIN, 1.15);
	report(&run, "l2-hit-kept", "plain libcurl, jansson, and a commit of raw LMDB", "", HIT, KEPT, 1.15);
	report(&run, "l2-ask", "plain libcurl, the same request", "without look and keeping", ASK, PLAIN, 0);
	close_plain(&run.plain);
	larder_tenant_close(run.tenant);
	larder_close(run.cache);
	free(run.keys.digests);
}

void bench_case_l2_hit(const struct bench_options *options, const char *name)
{
	struct service service = { 0 };

	if (access("./larder-l2d", X_OK) != 0) {
		fprintf(stderr, "bench: %s is left out: there is no ./larder-l2d here\n", name);
		return;
	}
	start(options, &service);
	measure(options, name, &service);
	stop(&service);
}
