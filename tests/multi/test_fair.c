/* SPDX-License-Identifier: MIT */
/*
 * Who pays for the room: of a hot and a cold tenant of equal size the cold one, and of all tenants the one that is over its quota.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/sample.h"
#include "lib/team.h"

enum { VALUE = 1000, EACH = 7000, NEWCOMERS = 6000, GETS = 6 };

static const char *dir;
static larder *cache;

static struct larder_stats stats_of(larder_tenant *tenant)
{
	struct larder_stats stats = { .size = sizeof(stats) };

	TEAM_EXPECT(larder_tenant_get_stats(tenant, &stats), 0);
	return stats;
}

static void set_one(larder_tenant *tenant, uint32_t key)
{
	unsigned char value[VALUE];

	sample_fill(value, sizeof(value), key, 1);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, larder_set(tenant, "fair", &key, sizeof(key), value, sizeof(value), NULL, NULL) == 0));
}

static int is_there(larder_tenant *tenant, uint32_t key)
{
	struct larder_value value = { 0 };
	uint64_t version;
	int rc = larder_get(tenant, "fair", &key, sizeof(key), NULL, &value);

	TEAM_CHECK(rc == 0 || rc == LARDER_MISS);
	if (rc == 0)
		TEAM_CHECK(sample_wrong(value.data, value.len, key, &version) == NULL);
	larder_value_free(&value);
	return rc == 0;
}

/* Gets of a tenant, from a process of its own. */
static void keep_hot(void *arg)
{
	larder_tenant *hot = team_tenant(cache, "hot");

	(void)arg;
	for (unsigned round = 0; round < GETS; round++)
		for (uint32_t key = 0; key < EACH; key++)
			(void)is_there(hot, key);
	larder_tenant_close(hot);
}

static void test_cold_tenant_pays(void **state)
{
	larder_tenant *hot, *cold;
	uint64_t hot_lost, cold_lost;

	(void)state;
	dir = team_directory();
	/* Bounded by entries: 16,000, of which 14,000 are there before the pressure begins. */
	cache = team_open(dir, "SIZE=64M", "MAX_ENTRIES=16000", "WORKERS=16", "TENANTS=16", "TTL=1h", NULL);
	hot = team_tenant(cache, "hot");
	cold = team_tenant(cache, "cold");
	for (uint32_t key = 0; key < EACH; key++) {
		set_one(hot, key);
		set_one(cold, key);
	}
	TEAM_EXPECT((int64_t)(stats_of(hot).evictions + stats_of(cold).evictions), 0);
	team_run(keep_hot, NULL);
	for (uint32_t key = EACH; key < EACH + NEWCOMERS; key++) {
		set_one(cold, key);
		/* The hot one stays in use while the other grows. */
		(void)is_there(hot, key % EACH);
	}
	hot_lost = stats_of(hot).evictions;
	cold_lost = stats_of(cold).evictions;
	print_message("# evicted: %llu hot, %llu cold\n", (unsigned long long)hot_lost, (unsigned long long)cold_lost);
	/* A set that came too late for its gate puts its key under a barrier, and a bystander or two with it: those go as dead. */
	TEAM_CHECK(hot_lost + cold_lost + stats_of(hot).expiries + stats_of(cold).expiries >= NEWCOMERS - 2000);
	TEAM_CHECK(cold_lost * 10 >= (hot_lost + cold_lost) * 9);
	larder_tenant_close(hot);
	larder_tenant_close(cold);
	larder_close(cache);
}

static void write_spaces(char path[256])
{
	static const char text[] = "{ \"tenants\": { \"bounded\": { \"quota\": \"1M\" } } }\n";
	FILE *file;

	snprintf(path, 256, "SPACES_FILE=%s/spaces.json", team_directory());
	file = fopen(strchr(path, '=') + 1, "w");
	TEAM_CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
	TEAM_CHECK(chmod(strchr(path, '=') + 1, 0600) == 0);
}

/* Two processes store for the tenant that has a quota. */
static void exceed(void *arg)
{
	larder_tenant *bounded = team_tenant(cache, "bounded");
	uint32_t from = (uint32_t)(uintptr_t)arg;

	for (uint32_t key = from; key < from + 3000; key++) {
		set_one(bounded, key);
		TEAM_CHECK(stats_of(bounded).used_bytes <= 1 << 20);
	}
	larder_tenant_close(bounded);
}

static void test_quota_costs_its_own_tenant_only(void **state)
{
	larder_tenant *bounded, *other;
	struct larder_stats stats;
	char spaces[256];
	unsigned kept = 0;
	pid_t pids[2];

	(void)state;
	write_spaces(spaces);
	dir = team_directory();
	cache = team_open(dir, "SIZE=64M", "WORKERS=16", "TENANTS=16", "TTL=1h", spaces, NULL);
	bounded = team_tenant(cache, "bounded");
	other = team_tenant(cache, "other");
	for (uint32_t key = 0; key < 3000; key++)
		set_one(other, key);
	for (uintptr_t i = 0; i < 2; i++)
		pids[i] = team_start(exceed, (void *)(i * 100000));
	for (int i = 0; i < 2; i++)
		team_join(pids[i]);
	stats = stats_of(bounded);
	print_message("# the bounded tenant has %llu entries, %llu bytes of %llu, lost %llu\n", (unsigned long long)stats.entries,
	    (unsigned long long)stats.used_bytes, (unsigned long long)stats.size_bytes, (unsigned long long)stats.evictions);
	TEAM_EXPECT((int64_t)stats.size_bytes, 1 << 20);
	/* It may use its quota, and no more. */
	TEAM_CHECK(stats.used_bytes <= 1 << 20 && stats.used_bytes >= 700 << 10);
	TEAM_EXPECT((int64_t)(stats.entries + stats.evictions), 6000);
	TEAM_EXPECT((int64_t)stats_of(other).evictions, 0);
	for (uint32_t key = 0; key < 3000; key++)
		kept += (unsigned)is_there(other, key);
	TEAM_EXPECT(kept, 3000);
	larder_tenant_close(bounded);
	larder_tenant_close(other);
	larder_close(cache);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cold_tenant_pays),
		cmocka_unit_test(test_quota_costs_its_own_tenant_only),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests_name("fair", tests, NULL, NULL);
}
