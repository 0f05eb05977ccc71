/* SPDX-License-Identifier: MIT */
/*
 * What a tenant's policy says of the second level: a breaker of its own, which neither opens the shared one nor is kept back by it, and limits by
 * tenant and sub-key. Against a server that does as it is told; no thread of ours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "second.h"

enum { TOLD = 512 };

/* Transitions that the callback of the cache was told of, "name:transition " each. */
static char told[TOLD];

static void hear(void *ctx, const char *breaker, enum larder_breaker_state state, const char *transition)
{
	size_t len = strlen(told);

	(void)ctx;
	(void)state;
	(void)snprintf(told + len, sizeof(told) - len, "%s:%s ", breaker[0] == 'h' ? "host" : breaker, transition);
}

/* Tenant acme of the box, and another one. */
struct tenants {
	struct second *second;
	larder_tenant *other;
	char spaces_row[200];
};

static int begin(void **state)
{
	struct tenants *tenants = calloc(1, sizeof(*tenants));
	void *second = NULL;
	int rc = tenants ? second_begin(&second) : -1;

	told[0] = 0;
	if (tenants)
		tenants->second = second;
	*state = tenants;
	return rc;
}

static int end(void **state)
{
	struct tenants *tenants = *state;
	void *second = tenants->second;
	int rc;

	larder_tenant_close(tenants->other);
	rc = second_end(&second);
	free(tenants);
	return rc;
}

static void open_with(struct tenants *tenants, const char *policies, const char *const *more)
{
	struct second *second = tenants->second;
	struct box *box = second->box;
	struct larder_options options = LARDER_OPTIONS_INIT;
	const char *rows[SECOND_ROWS] = { second->url, "LOG_LEVEL=info", "L2_RETRIES=0", tenants->spaces_row }, *all[BOX_SETTINGS];
	char dir_row[160], file[180];
	FILE *stream;

	(void)snprintf(file, sizeof(file), "%s/spaces.json", box->dir);
	(void)snprintf(tenants->spaces_row, sizeof(tenants->spaces_row), "SPACES_FILE=%s", file);
	stream = fopen(file, "w");
	assert_non_null(stream);
	assert_true(fputs(policies, stream) >= 0);
	assert_int_equal(fclose(stream), 0);
	for (int i = 0; more && more[i]; i++)
		rows[4 + i] = more[i];
	box_settings(box, rows, dir_row, all);
	options.flags = LARDER_OPEN_NO_ENV;
	options.settings = all;
	options.log = box_log;
	options.log_ctx = box;
	options.breaker = hear;
	assert_int_equal(larder_open(&options, &box->cache, NULL), 0);
	assert_int_equal(larder_tenant_open(box->cache, "acme", &box->tenant), 0);
	assert_int_equal(larder_tenant_open(box->cache, "other", &tenants->other), 0);
	assert_int_equal(second_try_inspect(second, rows, &box->inspector), 0);
}

static int ask(larder_tenant *tenant, const char *name)
{
	return larder_exists(tenant, BOX_SPACE, name, strlen(name), NULL);
}

/* ---- breakers ---- */

struct wanted {
	const char *name;              /* NULL: that of the host */
	char state[32];
	uint32_t window_failures;
	uint64_t refused;
	unsigned count;
};

static int see_breaker(void *ctx, const struct larder_breaker *breaker)
{
	struct wanted *wanted = ctx;

	if (wanted->name ? strcmp(breaker->name, wanted->name) != 0 : breaker->name[0] != 'h')
		return 0;
	wanted->count++;
	(void)snprintf(wanted->state, sizeof(wanted->state), "%s", breaker->state);
	wanted->window_failures = breaker->window_failures;
	wanted->refused = breaker->refused;
	return 0;
}

static struct wanted breaker_of(struct tenants *tenants, const char *name)
{
	struct wanted wanted = { .name = name };

	assert_int_equal(larder_inspect_breakers(tenants->second->box->inspector, see_breaker, &wanted), 0);
	return wanted;
}

static void test_its_own_breaker_opens_alone(void **state)
{
	struct tenants *tenants = *state;
	struct box *box = tenants->second->box;
	uint64_t requests;

	open_with(tenants, "{\"tenants\":{\"acme\":{\"breaker\":{\"failures\":1,\"open\":\"1h\",\"open_max\":\"1h\"}}}}", NULL);
	second_answer(tenants->second, 500, 1);
	assert_int_equal(ask(box->tenant, "a"), LARDER_E_L2);
	assert_string_equal(told, "acme:opened-failures ");
	assert_string_equal(breaker_of(tenants, "acme").state, "open");
	/* The other tenant asks, and is answered. */
	requests = second_requests(tenants->second);
	assert_int_equal(ask(box->tenant, "a"), LARDER_E_L2);
	assert_int_equal(larder_reason(), LARDER_REASON_L2_OPEN);
	assert_int_equal(second_requests(tenants->second), requests);
	assert_int_equal(ask(tenants->other, "a"), LARDER_MISS);
	assert_int_equal(second_requests(tenants->second), requests + 1);
	assert_string_equal(breaker_of(tenants, NULL).state, "closed");
	assert_int_equal(breaker_of(tenants, NULL).window_failures, 0);
	assert_int_equal(breaker_of(tenants, "acme").refused, 1);
	assert_int_equal(breaker_of(tenants, "other").count, 0);
	assert_true(box_said(box, "breaker=acme"));
}

static void test_the_shared_one_keeps_it_not_back(void **state)
{
	struct tenants *tenants = *state;
	struct box *box = tenants->second->box;

	/* Its other fields are those of the settings: five failures. */
	open_with(tenants, "{\"tenants\":{\"acme\":{\"breaker\":{\"window\":\"1m\"}},\"other\":{\"breaker\":{}}}}",
	    (const char *const[]){ "BREAKER_OPEN_MS=1h", "BREAKER_OPEN_MAX_MS=1h", NULL });
	second_answer(tenants->second, 500, 9);
	for (int i = 0; i < 4; i++)
		assert_int_equal(ask(box->tenant, "a"), LARDER_E_L2);
	for (int i = 0; i < 5; i++)
		assert_int_equal(ask(tenants->other, "a"), LARDER_E_L2);
	assert_string_equal(told, "host:opened-failures ");
	assert_int_equal(breaker_of(tenants, "acme").window_failures, 4);
	assert_int_equal(ask(tenants->other, "a"), LARDER_E_L2);
	assert_int_equal(larder_reason(), LARDER_REASON_L2_OPEN);
	assert_int_equal(ask(box->tenant, "a"), LARDER_MISS);
	/* An empty policy is none. */
	assert_int_equal(breaker_of(tenants, "other").count, 0);
}

static void test_it_is_forced_by_its_name(void **state)
{
	struct tenants *tenants = *state;
	struct box *box = tenants->second->box;

	open_with(tenants, "{\"tenants\":{\"acme\":{\"breaker\":{\"failures\":3}}}}", NULL);
	assert_int_equal(ask(box->tenant, "a"), LARDER_MISS);
	assert_int_equal(ask(tenants->other, "a"), LARDER_MISS);
	assert_int_equal(larder_inspect_breaker_force(box->inspector, "acme", LARDER_BREAKER_ORDER_OPEN), 0);
	assert_int_equal(ask(box->tenant, "a"), LARDER_E_L2);
	assert_int_equal(ask(tenants->other, "a"), LARDER_MISS);
	assert_string_equal(breaker_of(tenants, "acme").state, "forced-open");
	assert_string_equal(breaker_of(tenants, NULL).state, "closed");
	assert_int_equal(larder_inspect_breaker_force(box->inspector, "acme", LARDER_BREAKER_ORDER_CLOSE), 0);
	assert_int_equal(ask(box->tenant, "a"), LARDER_MISS);
}

static void test_a_probe_of_its_own_closes_it(void **state)
{
	struct tenants *tenants = *state;
	struct box *box = tenants->second->box;
	int rc = LARDER_E_L2;

	open_with(tenants, "{\"tenants\":{\"acme\":{\"breaker\":{\"failures\":1,\"open\":10,\"open_max\":10,\"successes\":1}}}}", NULL);
	second_answer(tenants->second, 500, 1);
	assert_int_equal(ask(box->tenant, "a"), LARDER_E_L2);
	for (int i = 0; i < 5000 && rc == LARDER_E_L2; i++) {
		rc = ask(box->tenant, "a");
		(void)usleep(1000);
	}
	assert_int_equal(rc, LARDER_MISS);
	assert_string_equal(told, "acme:opened-failures acme:half-opened acme:closed ");
}

/* ---- limits ---- */

static int get_as(larder_tenant *tenant, const char *subkey, int i)
{
	struct larder_call call = LARDER_CALL_INIT;
	struct larder_value value = { 0 };
	char name[16];

	call.subkey = subkey;
	(void)snprintf(name, sizeof(name), "n%d", i);
	return larder_get(tenant, BOX_SPACE, name, strlen(name), &call, &value);
}

static int admitted(larder_tenant *tenant, const char *subkey, int times)
{
	int count = 0;

	for (int i = 0; i < times; i++) {
		int rc = get_as(tenant, subkey, i);

		assert_true(rc == LARDER_MISS || rc == LARDER_E_LIMIT);
		count += rc == LARDER_MISS;
	}
	return count;
}

/* A new cache is a cold host: half of each burst. */
static void test_a_subkey_is_kept_to_its_share(void **state)
{
	struct tenants *tenants = *state;
	struct box *box = tenants->second->box;

	open_with(tenants, "{\"tenants\":{\"acme\":{\"l2_rate\":\"1/h\",\"l2_burst\":20,\"l2_subkey_rate\":\"1/h\",\"l2_subkey_burst\":8}}}", NULL);
	assert_int_equal(admitted(box->tenant, "ann", 9), 4);
	assert_in_range(larder_retry_after(), 1000, 7300000);
	/* Without a sub-key, and for another, only what is left of the tenant's 10. */
	assert_int_equal(admitted(box->tenant, NULL, 3), 3);
	assert_int_equal(admitted(box->tenant, "bob", 9), 3);
	assert_int_equal(admitted(box->tenant, NULL, 3), 0);
	/* What was refused by one bucket was not taken from the other; the other tenant has no limit. */
	assert_int_equal(admitted(tenants->other, "ann", 30), 30);
	assert_int_equal(second_requests(tenants->second), 40);
}

static void test_a_subkey_by_the_settings(void **state)
{
	struct tenants *tenants = *state;
	struct box *box = tenants->second->box;

	open_with(tenants, "{}", (const char *const[]){ "L2_SUBKEY_RATE=1/h", "L2_SUBKEY_BURST=6", NULL });
	assert_int_equal(admitted(box->tenant, "ann", 9), 3);
	assert_int_equal(admitted(tenants->other, "ann", 9), 3);
	assert_int_equal(admitted(box->tenant, NULL, 9), 9);
	/* The server's own requests are counted elsewhere. */
	assert_int_equal(larder_limit_take(box->tenant, "ann", 1, NULL, NULL), 0);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "x", 1, &(const struct larder_call){ .size = sizeof(struct larder_call), .subkey = "ann" }),
	    LARDER_E_LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_its_own_breaker_opens_alone, begin, end),
		cmocka_unit_test_setup_teardown(test_the_shared_one_keeps_it_not_back, begin, end),
		cmocka_unit_test_setup_teardown(test_it_is_forced_by_its_name, begin, end),
		cmocka_unit_test_setup_teardown(test_a_probe_of_its_own_closes_it, begin, end),
		cmocka_unit_test_setup_teardown(test_a_subkey_is_kept_to_its_share, begin, end),
		cmocka_unit_test_setup_teardown(test_a_subkey_by_the_settings, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
