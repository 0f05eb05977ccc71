/* SPDX-License-Identifier: MIT */
/*
 * The second level: a get that L2 answers, through larder-l2d on loopback, beside plain libcurl to the same address.
 */
#include "bench.h"

#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <larder/larder.h>

enum { ROUND = 300, WAIT_MS = 10000, TICK_US = 20000, FLUSH_MS = 120000, VALUE_B = 512 };

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

struct body {
	size_t len;
	char bytes[64 * 1024];
};

static size_t take(char *data, size_t size, size_t count, void *ctx)
{
	struct body *body = ctx;

	if (count > sizeof(body->bytes) - body->len)
		return 0;
	memcpy(body->bytes + body->len, data, count);
	body->len += count;
	return size * count;
}

static double curl_some(CURL *curl, const char *url, const struct keys *keys, uint32_t from)
{
	static struct body body;
	int64_t began_ns = bench_wall_ns();
	char address[160];
	long status;

	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
	for (uint32_t i = from; i < from + ROUND; i++) {
		int len = snprintf(address, sizeof(address), "%s/", url);

		for (int b = 0; b < LARDER_DIGEST_SIZE; b++)
			len += snprintf(address + len, 3, "%02x", keys->digests[i][b]);
		body.len = 0;
		curl_easy_setopt(curl, CURLOPT_URL, address);
		bench_must(curl_easy_perform(curl) == CURLE_OK && curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status == 200 &&
		    body.len > VALUE_B, "plain libcurl was not answered");
	}
	return (double)(bench_wall_ns() - began_ns) / ROUND;
}

static void measure(const struct bench_options *options, const char *name, const struct service *service)
{
	double ours_ns[BENCH_ROUNDS_MAX], beside_ns[BENCH_ROUNDS_MAX], ratios[BENCH_ROUNDS_MAX];
	struct bench_row row = { .name = name, .beside = "plain libcurl to the same address", .target = 1.15 };
	unsigned rounds = bench_rounds(options);
	struct curl_slist *headers = curl_slist_append(NULL, "X-Tenant-Id: " BENCH_TENANT);
	CURL *curl = curl_easy_init();
	struct keys keys = { NULL, 0, 0 };
	larder_tenant *tenant;
	larder *cache;

	bench_must(curl && headers && curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK, "libcurl");
	fill(options, service->url, (rounds + 1) * ROUND, &keys);
	cache = open_host(options, "host-b", service->url, &tenant);
	get_some(tenant, rounds * ROUND);
	curl_some(curl, service->url, &keys, rounds * ROUND);
	for (unsigned i = 0; i < rounds; i++) {
		if (i % 2)
			beside_ns[i] = curl_some(curl, service->url, &keys, i * ROUND);
		ours_ns[i] = get_some(tenant, i * ROUND);
		if (i % 2 == 0)
			beside_ns[i] = curl_some(curl, service->url, &keys, i * ROUND);
		ratios[i] = ours_ns[i] / beside_ns[i];
	}
	row.ours_ns = bench_median(ours_ns, rounds);
	row.beside_ns = bench_median(beside_ns, rounds);
	row.ratio = bench_median(ratios, rounds);
	snprintf(row.note, sizeof(row.note), "wall time, the look here and the keeping of the answer included");
	bench_report(options, &row);
	larder_tenant_close(tenant);
	larder_close(cache);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	free(keys.digests);
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
