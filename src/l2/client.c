/* SPDX-License-Identifier: MIT */
/*
 * One call to L2, from admission to report. Called by cache/ for reads, and by whoever tells the outbox. It must never be inside the store while a
 * request is on its way, and never take longer than the limit: the waits between tries come off it too.
 *
 *   killed after admission    a probe's lease runs out, the count in the slot goes with the slot.
 *   killed after the answer   as if it had not come; the breaker learns nothing.
 *   fork in the midst         the child has no call under way; it lets go of the parent's connections at its own first call.
 */
#include "l2/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/background.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/process.h"
#include "crypto/key.h"
#include "l2/client_inside.h"

enum { LOCK_MS = 1000, SLICE_MS = 50 };

/* ---- making ---- */

int ld_l2_new(const struct ld_l2_config *config, struct ld_store *store, const struct ld_log *log, struct ld_l2 **ret_l2,
    struct ld_problems *problems)
{
	int rc = ld_http_config_check(&config->http, problems);
	struct ld_l2 *l2;

	if (rc == 0)
		rc = ld_http_prepare();
	if (rc != 0)
		return rc;
	l2 = ld_calloc(1, sizeof(*l2));
	if (!l2)
		return LARDER_E_NOMEM;
	l2->config = *config;
	l2->config.http.log = log;
	l2->store = store;
	l2->log = log;
	/* What a breaker is told by is the address, without what a password could be in: user information is refused. */
	snprintf(l2->name, sizeof(l2->name), "%s", config->http.url);
	l2->tag = ld_store_tag("l2", NULL) ^ ld_l2_tag_of(config->http.url);
	*ret_l2 = l2;
	return 0;
}

void ld_l2_free(struct ld_l2 *l2)
{
	struct ld_http *http;

	if (!l2)
		return;
	http = atomic_exchange(&l2->http, NULL);
	if (l2->made_by == ld_process_generation())
		ld_http_free(http);
	else
		ld_http_abandon(http);
	free(l2);
}

struct ld_http *ld_l2_connections(struct ld_l2 *l2)
{
	uint64_t process = ld_process_generation();
	struct ld_http *http = NULL;

	/* acquire: pairs with the release below: made_by is written after http */
	if (atomic_load_explicit(&l2->made_by, memory_order_acquire) == process)
		return atomic_load_explicit(&l2->http, memory_order_relaxed);
	if (ld_process_lock(&l2->lock, LOCK_MS) != 0)
		return NULL;
	if (atomic_load(&l2->made_by) != process) {
		ld_http_abandon(atomic_exchange(&l2->http, NULL));
		/* Without random numbers requests go with ids of little worth rather than not at all. */
		if (ld_key_random(l2->id_base, sizeof(l2->id_base)) != 0)
			l2->id_base[0] = process;
		if (ld_http_new(&l2->config.http, &http) == 0) {
			atomic_store(&l2->http, http);
			atomic_store_explicit(&l2->made_by, process, memory_order_release);
		}
	}
	http = atomic_load(&l2->http);
	ld_process_unlock(&l2->lock);
	return http;
}

int64_t ld_l2_longest_ms(const struct ld_l2 *l2)
{
	const struct ld_l2_config *config = &l2->config;
	int64_t write_ms = config->set_ms > config->delete_ms ? config->set_ms : config->delete_ms;

	return write_ms > config->get_ms ? write_ms : config->get_ms;
}

/* ---- one request ---- */

static void pause_for(int64_t wait_ms)
{
	int64_t end_ms = ld_clock_boot_ms() + wait_ms;

	while (wait_ms > 0 && !ld_background_is_over()) {
		struct timespec slice = { 0, (long)(wait_ms < SLICE_MS ? wait_ms : SLICE_MS) * 1000000 };

		(void)nanosleep(&slice, NULL);
		wait_ms = end_ms - ld_clock_boot_ms();
	}
}

/* Requests until one is answered, or nothing more may be tried. The last answer is the caller's to free. */
static enum ld_l2_outcome perform(struct ld_l2 *l2, struct passage *passage, struct ld_http *http, struct ld_l2_made *made, int64_t end_ms,
    struct ld_http_answer *answer, struct ld_l2_end *end)
{
	enum ld_l2_outcome outcome = LD_L2_TIMEOUT;

	if (passage->call->until_ms && passage->call->until_ms < end_ms)
		end_ms = passage->call->until_ms;
	for (;;) {
		int64_t left_ms = end_ms - ld_clock_boot_ms(), wait_ms;

		if (left_ms < 1)
			return outcome;
		ld_http_answer_free(answer);
		made->request.limit_ms = left_ms;
		made->request.stop = ld_l2_is_futile;
		made->request.stop_ctx = passage;
		if (ld_http_perform(http, &made->request, answer) != 0) {
			/* Out of memory in the midst of it, perhaps. */
			end->unanswered |= answer->sent;
			return LD_L2_LOCAL;
		}
		end->tries++;
		end->status = answer->status;
		outcome = ld_l2_of_answer(made, answer);
		/*
		 * Done, and so not again, for what was sent before it had the same Idempotency-Key. Refused, or nothing there to delete, one before it may still
		 * be under way.
		 */
		if (outcome == LD_L2_HIT)
			end->unanswered = 0;
		else
			end->unanswered |= ld_l2_is_unanswered(answer);
		end->retry_after_ms = answer->retry_after_ms > 0 ? answer->retry_after_ms : 0;
		if (!ld_l2_is_passing(outcome, answer) || end->tries > l2->config.retries)
			return outcome;
		wait_ms = ld_l2_back_off(l2, end->tries, end->retry_after_ms);
		if (wait_ms >= end_ms - ld_clock_boot_ms() || !ld_l2_may_retry(passage))
			return outcome;
		pause_for(wait_ms);
	}
}

/* The whole of it, but for the codec: admission, requests, report. */
static enum ld_l2_outcome converse(struct ld_l2 *l2, const struct ld_l2_call *call, int64_t limit_ms, struct ld_l2_made *made,
    struct ld_http_answer *answer, struct ld_l2_end *end)
{
	struct passage passage = { .l2 = l2, .call = call, .settings = call->breaker ? call->breaker : &l2->config.breaker };
	struct ld_http *http = ld_l2_connections(l2);
	enum ld_l2_outcome outcome;
	int64_t began_ms;

	memset(answer, 0, sizeof(*answer));
	memset(end, 0, sizeof(*end));
	if (!http)
		return LD_L2_LOCAL;
	passage.write = made->request.method != LD_HTTP_GET && made->request.method != LD_HTTP_HEAD;
	passage.short_time = call->budget_ms > 0 && call->budget_ms < limit_ms;
	passage.limit_ms = passage.short_time ? call->budget_ms : limit_ms;
	outcome = ld_l2_admit(&passage, end);
	if (outcome != LD_L2_HIT)
		return outcome;
	began_ms = ld_clock_boot_ms();
	outcome = perform(l2, &passage, http, made, began_ms + passage.limit_ms, answer, end);
	end->took_ms = ld_clock_boot_ms() - began_ms;
	passage.tries = end->tries;
	passage.bytes_out = made->request.body_len;
	passage.bytes_in = answer->body_len;
	passage.took_ms = end->took_ms;
	ld_l2_report(&passage, outcome, ld_l2_lesson(&passage, outcome, end->took_ms));
	return outcome;
}

/* ---- calls ---- */

enum ld_l2_outcome ld_l2_get(struct ld_l2 *l2, const struct ld_l2_call *call, const struct ld_l2_have *have,
    struct ld_wire_value *ret_value, struct ld_l2_end *ret_end)
{
	struct ld_http_answer answer;
	enum ld_l2_outcome outcome;
	struct ld_l2_made made;

	ld_l2_make_get(l2, call, have, &made);
	outcome = converse(l2, call, l2->config.get_ms, &made, &answer, ret_end);
	outcome = ld_l2_take_value(l2, outcome, &answer, have, ret_value);
	ld_http_answer_free(&answer);
	return outcome;
}

/* A call whose answer has nothing in it for us. */
static enum ld_l2_outcome tell(struct ld_l2 *l2, const struct ld_l2_call *call, int64_t limit_ms, struct ld_l2_made *made, struct ld_l2_end *ret_end)
{
	struct ld_http_answer answer;
	enum ld_l2_outcome outcome = converse(l2, call, limit_ms, made, &answer, ret_end);

	ld_http_answer_free(&answer);
	return outcome;
}

enum ld_l2_outcome ld_l2_head(struct ld_l2 *l2, const struct ld_l2_call *call, struct ld_l2_end *ret_end)
{
	struct ld_l2_made made;

	ld_l2_make(l2, call, LD_HTTP_HEAD, &made);
	return tell(l2, call, l2->config.get_ms, &made, ret_end);
}

enum ld_l2_outcome ld_l2_put(struct ld_l2 *l2, const struct ld_l2_call *call, const struct ld_wire_value *value,
    const unsigned char write_id[LD_L2_WRITE_ID], struct ld_l2_end *ret_end)
{
	enum ld_l2_outcome outcome;
	struct ld_wire_body body;
	struct ld_l2_made made;
	enum ld_codec_result result = ld_codec_encode(l2->config.codec, value, &body);

	memset(ret_end, 0, sizeof(*ret_end));
	if (result != LD_CODEC_OK)
		return result == LD_CODEC_UNKEPT ? LD_L2_UNKEPT : LD_L2_LOCAL;
	ld_l2_make_write(l2, call, l2->config.codec == LD_CODEC_JSON ? LD_HTTP_POST : LD_HTTP_PUT, write_id, &made);
	for (size_t i = 0; i < body.header_count; i++)
		ld_l2_add_header(&made, body.headers[i].name, body.headers[i].value);
	made.request.body = body.data;
	made.request.body_len = body.len;
	outcome = tell(l2, call, l2->config.set_ms, &made, ret_end);
	ld_wire_body_free(&body);
	/* A service that knows no such path does not keep it. */
	return outcome == LD_L2_MISS ? LD_L2_REJECTED : outcome;
}

enum ld_l2_outcome ld_l2_delete(struct ld_l2 *l2, const struct ld_l2_call *call, const unsigned char write_id[LD_L2_WRITE_ID],
    struct ld_l2_end *ret_end)
{
	struct ld_l2_made made;

	ld_l2_make_write(l2, call, LD_HTTP_DELETE, write_id, &made);
	return tell(l2, call, l2->config.delete_ms, &made, ret_end);
}
