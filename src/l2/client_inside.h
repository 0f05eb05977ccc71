/* SPDX-License-Identifier: MIT */
/**
 * What the parts of the client share: its struct, and a call's passage through what is in the segment (l2/passage.c). Private to l2/.
 */
#ifndef LD_L2_CLIENT_INSIDE_H
#define LD_L2_CLIENT_INSIDE_H

#include <stdatomic.h>

#include "base/process.h"
#include "l2/client.h"
#include "shm/breakers.h"
#include "shm/retry.h"

struct ld_l2 {
	struct ld_l2_config config;
	struct ld_store *store;
	const struct ld_log *log;
	char name[LD_BREAKER_NAME];
	uint64_t tag;
	struct ld_process_lock lock;       /* guards the making of connections */
	_Atomic uint64_t made_by;          /* process generation that `http` belongs to, 0 = none; written under `lock`, after http */
	_Atomic(struct ld_http *) http;
	uint64_t id_base[2];               /* random, of this process: what request ids are made from; written with http */
	_Atomic uint64_t ids;              /* request ids made */
	/* What a call passes where there is no segment just now; of this process alone. */
	struct ld_breaker own_breaker;
	struct ld_retry own_retry;
};

/** One call on its way; zeroed but for the first three. */
struct passage {
	struct ld_l2 *l2;
	const struct ld_l2_call *call;
	const struct ld_breaker_settings *settings;
	int64_t limit_ms;
	int short_time;                    /* the caller's budget is shorter than the settings' limit */
	int own;                           /* 1: admitted without a segment */
	int write;                         /* 1: PUT or DELETE */
	int probe;                         /* 1: no retries */
	int patient;                       /* 1: being told that there are too many calls under way is no outcome, and not counted */
	uint32_t serial;                   /* of the attachment in which it was counted in */
	struct ld_breaker_pass pass;
	uint32_t tries;
	uint64_t bytes_in, bytes_out;
	int64_t took_ms;
};

/** Ask the breaker, count the call in. LD_L2_HIT = go; LD_L2_OPEN with the time to wait; LD_L2_BUSY. */
enum ld_l2_outcome ld_l2_admit(struct passage *passage, struct ld_l2_end *end);
/**
 * Has the breaker opened since this call was admitted? Then it is not waited for any longer: the host learns once, and all its callers at that moment. ctx: its
 * passage.
 */
int ld_l2_is_futile(void *ctx);
/** May one more request be sent? Takes of the host's retry budget. */
int ld_l2_may_retry(struct passage *passage);
/** Count it out, tell the breaker, count the outcome. */
void ld_l2_report(struct passage *passage, enum ld_l2_outcome outcome, enum ld_breaker_outcome lesson);

/** A number that differs from call to call and host to host; for jitter. */
uint64_t ld_l2_seed(const struct ld_l2 *l2);
uint64_t ld_l2_tag_of(const char *text);

enum { LD_L2_HEADERS = 12 };

/** What a request is made of; lives as long as the call. It points into itself. */
struct ld_l2_made {
	struct ld_http_request request;
	struct ld_http_header headers[LD_L2_HEADERS];
	char path[1 + LARDER_TENANT_MAX + 1 + 2 * LARDER_DIGEST_SIZE + 1];
	char request_id[2 * LD_L2_WRITE_ID + 1], write_id[2 * LD_L2_WRITE_ID + 1];
	const char *etag;                  /* what a 304 would be about: sent as If-None-Match; NULL = none was */
};

/** The connections of this process, made at its first call; NULL when memory is out. */
struct ld_http *ld_l2_connections(struct ld_l2 *l2);

void ld_l2_make(struct ld_l2 *l2, const struct ld_l2_call *call, enum ld_http_method method, struct ld_l2_made *made);
void ld_l2_make_get(struct ld_l2 *l2, const struct ld_l2_call *call, const struct ld_l2_have *have, struct ld_l2_made *made);
void ld_l2_make_write(struct ld_l2 *l2, const struct ld_l2_call *call, enum ld_http_method method,
    const unsigned char write_id[LD_L2_WRITE_ID], struct ld_l2_made *made);
/** name and value are borrowed. */
void ld_l2_add_header(struct ld_l2_made *made, const char *name, const char *value);

/** What an answer to this request is; for the value in it ld_l2_take_value() has the last word. */
enum ld_l2_outcome ld_l2_of_answer(const struct ld_l2_made *made, const struct ld_http_answer *answer);
/**
 * Was something sent of which nobody says what became of it? A gateway that was itself not answered says 502 or 504, some say 500 or 503. Who gives a time
 * with its 503 turns away what it has not begun.
 */
int ld_l2_is_unanswered(const struct ld_http_answer *answer);
/** Is it worth another try? What was refused for good is not; what timed out only if nothing was sent. */
int ld_l2_is_passing(enum ld_l2_outcome outcome, const struct ld_http_answer *answer);
/** How long to wait before it: exponential, with equal jitter; never shorter than L2 has asked for. tries >= 1: requests sent. */
int64_t ld_l2_back_off(const struct ld_l2 *l2, uint32_t tries, int64_t retry_after_ms);
/** What a call teaches the breaker. */
enum ld_breaker_outcome ld_l2_lesson(const struct passage *passage, enum ld_l2_outcome outcome, int64_t took_ms);
/** The value out of the answer to a GET, after its report: what the outcome is then. The answer is still to be freed. */
enum ld_l2_outcome ld_l2_take_value(const struct ld_l2 *l2, enum ld_l2_outcome outcome, struct ld_http_answer *answer, const struct ld_l2_have *have,
    struct ld_wire_value *ret_value);

#endif
