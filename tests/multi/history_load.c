/* SPDX-License-Identifier: MIT */
/*
 * The loader of test_history.c, and how its versions are stored. It gives what the source says, is slow now and then, before it asks or after, fails, finds
 * nothing, will not have its value kept, or says that the old one is unchanged. It runs in threads of larder's too.
 */
#include "history_calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "history.h"
#include "lib/sample.h"
#include "lib/team.h"

const char *const history_tags[HISTORY_TAGS] = { "tag-0", "tag-1", "tag-2" };

/* By the policy, which is longer in L2 than here; or short, so that all windows pass; or with a hard end, which may be over. */
struct larder_store history_store(unsigned key, uint64_t version, uint64_t lot)
{
	struct larder_store store = LARDER_STORE_INIT;

	store.flags = (uint32_t)version;
	store.tags = &history_tags[key % HISTORY_TAGS];
	store.tag_count = 1;
	if (lot % 3 == 0) {
		store.ttl_ms = 1 + (int64_t)(lot / 3 % 3000);
		store.stale_ms = (int64_t)(lot / 16 % 500);
		store.error_ms = (int64_t)(lot / 64 % 2000);
	}
	if (lot % 16 == 1)
		store.hard_end_ms = ld_clock_wall_ms() - 100 + (int64_t)(lot / 128 % 2000);
	return store;
}

static void pause_us(unsigned us)
{
	if (us)
		usleep(us);
}

static unsigned load_time(uint64_t lot)
{
	return lot % 24 == 0 ? (unsigned)(lot / 50 % 100000) : lot % 3 ? 0 : (unsigned)(lot / 50 % 3000);
}

/* Slow before it asks the source, or after. */
uint64_t history_ask_source(const struct history_order *order)
{
	unsigned us = load_time(order->lot);
	uint64_t version;

	pause_us(order->lot >> 40 & 1 ? us : 0);
	version = history_source(order->key);
	pause_us(order->lot >> 40 & 1 ? 0 : us);
	return version;
}

int history_load(struct larder_load *to, void *ctx)
{
	const struct history_order *order = ctx;
	uint64_t lot = order->lot >> 16, version = history_ask_source(order), old = 0;
	unsigned char value[HISTORY_VALUE_MAX];
	uint64_t random = order->lot | 1;
	size_t len = sample_len(&random, SAMPLE_MIN, HISTORY_VALUE_MAX);
	const char *wrong = to->old ? sample_wrong(to->old->data, to->old->len, order->key, &old) : NULL;

	if (wrong)
		TEAM_FAIL("the old value of key %u is %s", order->key, wrong);
	atomic_fetch_add(&order->counts->loads, 1);
	if (lot % 20 == 0)
		return LARDER_LOAD_FAILED;
	if (lot % 8 == 1)
		(void)!larder_load_renew(to, 1000);
	to->store = history_store(order->key, version, lot);
	to->no_store = lot % 16 == 2;
	if (to->old && old == version && lot % 2)
		return LARDER_LOADED_UNCHANGED;
	if (lot % 16 == 3)
		return LARDER_LOADED_ABSENT;
	sample_fill(value, len, order->key, version);
	TEAM_EXPECT(larder_load_give(to, value, len), 0);
	return LARDER_LOADED;
}
