/* SPDX-License-Identifier: MIT */
/**
 * A loader that does as it is told, for tests of fills. Include cmocka.h first.
 *
 *     struct source source = source_of(box, "blue");
 *     assert_int_equal(source_gives(&source, "k", NULL, "blue", LARDER_FROM_LOADER), 0);
 */
#ifndef LARDER_TESTS_UNIT_SOURCE_H
#define LARDER_TESTS_UNIT_SOURCE_H

#include "cache.h"

struct source {
	struct box *box;
	int says;                      /* enum larder_loaded */
	const char *text;              /* NULL: nothing is given */
	const char *etag;
	const char *const *tags;
	size_t tag_count;
	void (*meanwhile)(struct source *source);
	_Atomic unsigned calls;
	_Atomic unsigned ended;        /* calls that have written what follows; for loads of another thread */
	char old[64], old_etag[64];    /* what it was given; "" = none */
	char request_id[64];
	int64_t left_ms;
};

static inline struct source source_of(struct box *box, const char *text)
{
	return (struct source){ .box = box, .says = text ? LARDER_LOADED : LARDER_LOAD_FAILED, .text = text };
}

static inline int source_load(struct larder_load *load, void *ctx)
{
	struct source *source = ctx;

	source->left_ms = load->left_ms;
	source->old[0] = 0;
	if (load->old && load->old->len < sizeof(source->old)) {
		memcpy(source->old, load->old->data, load->old->len);
		source->old[load->old->len] = 0;
	}
	(void)snprintf(source->old_etag, sizeof(source->old_etag), "%s", load->old_etag);
	(void)snprintf(source->request_id, sizeof(source->request_id), "%s", load->request_id ? load->request_id : "");
	atomic_fetch_add(&source->calls, 1);
	if (source->meanwhile)
		source->meanwhile(source);
	atomic_fetch_add(&source->ended, 1);
	load->etag = source->etag;
	load->store.tags = source->tags;
	load->store.tag_count = source->tag_count;
	if (source->text && larder_load_give(load, source->text, strlen(source->text)) != 0)
		return LARDER_LOAD_FAILED;
	return source->says;
}

/** What the call returns; with a value, its text is compared, and -100 says that it is another or from elsewhere. For any thread. */
static inline int source_gives(struct source *source, const char *name, const struct larder_call *call, const char *text, int from)
{
	const struct larder_loading loading = { sizeof(loading), 0, 0, source_load, source, NULL };
	struct larder_value value = { 0 };
	int rc = larder_get_or_set(source->box->tenant, BOX_SPACE, name, strlen(name), &loading, call, &value);

	if (rc != 0 && rc != LARDER_STALE)
		return rc;
	if (!text || value.len != strlen(text) || memcmp(value.data, text, value.len) != 0 || value.source != from || value.state != rc) {
		print_message("# %s: got %.*s from %d, %s\n", name, (int)value.len, (const char *)value.data, value.source, larder_result_name(rc));
		rc = -100;
	}
	larder_value_free(&value);
	return rc;
}

static inline void source_shift(struct box *box, int64_t ms)
{
	atomic_fetch_add(&box->plan->boot_shift_ms, ms);
}

/** Of all processes. */
static inline struct larder_stats source_stats(struct box *box)
{
	struct larder_stats stats = { .size = sizeof(stats) };

	assert_int_equal(larder_get_stats(box->cache, &stats), 0);
	return stats;
}

#define NEEDS_CLOCK(box) \
	do { \
		if (!(box)->plan) \
			LEAVE_OUT("no clock that can be moved"); \
	} while (0)

#endif
