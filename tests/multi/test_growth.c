/* SPDX-License-Identifier: MIT */
/*
 * A worker with L2 in use, against larder-l2d: neither its descriptors nor its private memory grow with the number of calls, and its private memory is under
 * 50 MB. 20,000 calls; LARDER_TEST_LONG=1: ten million. LARDER_TEST_GROWTH_S: end after so many seconds, and say how many calls there were.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>

#include "lib/l2d.h"
#include "lib/team.h"
#include "replay_memory.h"

/* The most connections that a process may have to L2 (LARDER_L2_POOL), and what else comes and goes: a directory that is read, a socket that is made. */
enum { KEYS = 1000, LOOKS = 40, POOL = 8, OTHERS = 3, WARM = 20, VALUE_MAX = 20000, CALLS_A_TURN = 6, GROWTH_B = 1 << 20, MOST_B = 50 * 1000 * 1000 };

/* What a look has seen. */
struct look {
	uint64_t calls, memory_b;
	unsigned descriptors;
};

struct board {
	struct look looks[LOOKS + 1];
	_Atomic unsigned count;
	_Atomic uint64_t l1, l2, misses, sets;
};

static struct board *board;
static struct l2d l2d;
static const char *dir;

static unsigned descriptors(void)
{
	DIR *open = opendir("/proc/self/fd");
	unsigned count = 0;

	TEAM_CHECK(open != NULL);
	while (readdir(open))
		count++;
	(void)closedir(open);
	return count;
}

static void look(uint64_t calls)
{
	struct look *to = &board->looks[atomic_load(&board->count)];

	*to = (struct look){ calls, replay_memory_own(), descriptors() };
	TEAM_CHECK(to->memory_b > 0);
	atomic_fetch_add(&board->count, 1);
}

static void read_one(larder_tenant *tenant, const char *name, size_t len)
{
	struct larder_value value = { 0 };
	int rc = larder_get(tenant, "s", name, len, NULL, &value);

	TEAM_CHECK(rc == 0 || rc == LARDER_MISS);
	atomic_fetch_add(rc != 0 ? &board->misses : value.source == LARDER_FROM_L2 ? &board->l2 : &board->l1, 1);
	larder_value_free(&value);
}

/* Calls of each kind: one that L1 answers, one that L2 does, one that neither has; a set, a delete here, now and then one that L2 is told of. */
static void turn(larder_tenant *tenant, const char *value, uint64_t *random)
{
	const struct larder_call here = { .size = sizeof(here), .flags = LARDER_CALL_THIS_TIER };
	unsigned key = (unsigned)(team_random(random) >> 32) % KEYS, other = (unsigned)(team_random(random) >> 32) % KEYS;
	size_t size = 1 + (size_t)(team_random(random) >> 32) % (key % 10 == 0 ? VALUE_MAX : 500), len;
	char name[32];

	len = (size_t)snprintf(name, sizeof(name), "k%u", key);
	TEAM_EXPECT(larder_set(tenant, "s", name, len, value, size, NULL, NULL), 0);
	read_one(tenant, name, len);
	if (key % 20 == 0)
		TEAM_CHECK(larder_delete(tenant, "s", name, len, NULL) >= 0);
	else
		read_one(tenant, name, len);
	len = (size_t)snprintf(name, sizeof(name), "k%u", other);
	TEAM_CHECK(larder_delete(tenant, "s", name, len, &here) >= 0);
	read_one(tenant, name, len);
	len = (size_t)snprintf(name, sizeof(name), "none-%u", other);
	read_one(tenant, name, len);
	atomic_fetch_add(&board->sets, 1);
}

static void work(void *arg)
{
	const char *seconds = getenv("LARDER_TEST_GROWTH_S");
	int64_t end_ms = seconds ? team_now_ms() + atoll(seconds) * 1000 : INT64_MAX;
	larder *cache = team_open(dir, "SIZE=16M", "WORKERS=16", "TTL=1h", "L2_GET_MS=20s", "L2_SET_MS=20s", "L2_POOL=8", l2d.url, NULL);
	larder_tenant *tenant = team_tenant(cache, "acme");
	uint64_t random = team_seed() | 1, most = team_size(20000, 10000000), calls = 0;
	char *value = malloc(VALUE_MAX);

	(void)arg;
	TEAM_CHECK(value != NULL);
	for (size_t i = 0; i < VALUE_MAX; i++)
		value[i] = (char)('a' + i % 26);
	for (unsigned i = 1; i <= LOOKS && team_now_ms() < end_ms; i++) {
		for (; calls < most / LOOKS * i && team_now_ms() < end_ms; calls += CALLS_A_TURN)
			turn(tenant, value, &random);
		look(calls);
	}
	free(value);
	larder_tenant_close(tenant);
	larder_close(cache);
}

static void test_nothing_grows(void **state)
{
	uint64_t warm_b = 0, most_b = 0;
	unsigned warm = 0, most = 0;
	const struct look *last;

	(void)state;
	board = team_share(sizeof(*board));
	dir = team_directory();
	if (!l2d_start(&l2d, dir))
		skip();
	team_run(work, NULL);
	l2d_stop(&l2d);
	last = &board->looks[atomic_load(&board->count) - 1];
	for (const struct look *at = board->looks; at <= last; at++) {
		int is_warm = at - board->looks < WARM;

		*(is_warm ? &warm_b : &most_b) = at->memory_b > (is_warm ? warm_b : most_b) ? at->memory_b : is_warm ? warm_b : most_b;
		*(is_warm ? &warm : &most) = at->descriptors > (is_warm ? warm : most) ? at->descriptors : is_warm ? warm : most;
	}
	print_message("# %llu calls: %llu gets by L1, %llu by L2, %llu by neither, %llu sets; descriptors %u, then %u; private memory %llu KiB, then %llu KiB\n",
	    (unsigned long long)last->calls, (unsigned long long)board->l1, (unsigned long long)board->l2, (unsigned long long)board->misses,
	    (unsigned long long)board->sets, warm, most, (unsigned long long)(warm_b >> 10), (unsigned long long)(most_b >> 10));
	assert_true(board->l1 > 0 && board->l2 > 0 && board->misses > 0);
	/* Connections come and go; what leaks does not go. */
	assert_true(most <= warm + POOL + OTHERS);
	assert_true(last->descriptors <= board->looks[0].descriptors + POOL + OTHERS);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	/* Half of the looks are for warming up: the allocator gives each thread an area of its own, and the last thread may come late. */
	assert_true(most_b <= warm_b + GROWTH_B);
	assert_true(most_b < MOST_B);
#endif
	team_remove(dir);
	team_unshare(board, sizeof(*board));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_grows),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
