/* SPDX-License-Identifier: MIT */
/*
 * Several GETs of one thread at once, within one budget. Called by cache/ for what a bulk read does not find here. It must treat each key as ld_l2_get()
 * would, and never take longer than the budget, however many there are.
 *
 * A key's way:
 *
 *     WAITING ----> IN_AIR ----> DONE           WAITING: for its turn, or until a retry is due. IN_AIR: it holds a connection.
 *        ^  |          |          ^
 *        |  +----------+----------+             refused by the breaker, or its time is over, or answered
 *        +-------------+                        to be tried again
 *
 * A key is admitted when its turn comes, not before: so the breaker, when it opens in the midst, refuses those that still wait; and while it is half open
 * the first key is the probe, and the others are refused, as calls of other threads would be. A key that has no connection, or is over the host's bound,
 * waits for one of ours to land, if any is in the air; else it is busy, as a single call would be.
 *
 *   killed in the midst    as so many single calls: l2/client.c.
 *   fork in the midst      the child has no call under way.
 */
#include "l2/client_inside.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

enum state { WAITING = 0, IN_AIR, DONE };

struct talk {
	struct ld_l2_ask *ask;
	enum state state;
	int admitted;
	int64_t admitted_ms, due_ms;
	struct passage passage;
	struct ld_l2_made made;
	struct ld_http_answer answer;
	struct ld_http_flight flight;
};

struct many {
	struct ld_l2 *l2;
	struct ld_http *http;
	struct talk *talks;
	size_t count;
	size_t left;                       /* of them not DONE */
	unsigned in_air;
	int short_time;                    /* the caller's budget is shorter than the settings' limit */
	int crowded;                       /* all connections are others', and stayed so for as long as may be waited */
	int64_t end_ms;
};

/* ---- the end of one ---- */

static void finish(struct many *many, struct talk *talk, enum ld_l2_outcome outcome)
{
	struct passage *passage = &talk->passage;
	struct ld_l2_ask *ask = talk->ask;

	ld_http_release(&talk->flight);
	if (talk->admitted) {
		ask->end.took_ms = passage->took_ms = ld_clock_boot_ms() - talk->admitted_ms;
		passage->tries = ask->end.tries;
		passage->bytes_in = talk->answer.body_len;
		ld_l2_report(passage, outcome, ld_l2_lesson(passage, outcome, passage->took_ms));
	}
	ask->outcome = ld_l2_take_value(many->l2, outcome, &talk->answer, &ask->have, &ask->value);
	ld_http_answer_free(&talk->answer);
	talk->state = DONE;
	many->left--;
}

/* It was never admitted, so nobody else counts it. */
static void turn_away(struct many *many, struct talk *talk, enum ld_l2_outcome outcome)
{
	ld_store_count(many->l2->store, talk->ask->call.key, outcome == LD_L2_TIMEOUT ? LD_TC_l2_timeouts : LD_TC_l2_busy);
	finish(many, talk, outcome);
}

/* ---- the beginning of one ---- */

/* Returns LD_L2_HIT; or as ld_l2_admit(). */
static enum ld_l2_outcome admit(struct many *many, struct talk *talk, int64_t now_ms)
{
	const struct ld_l2 *l2 = many->l2;
	const struct ld_l2_call *call = &talk->ask->call;
	struct passage *passage = &talk->passage;
	enum ld_l2_outcome outcome;

	*passage = (struct passage){ .l2 = many->l2, .call = call, .settings = call->breaker ? call->breaker : &l2->config.breaker };
	passage->limit_ms = many->end_ms - now_ms;
	/* What is left to those that come late may be too little to say anything of L2. */
	passage->short_time = many->short_time || passage->limit_ms < l2->config.get_ms - l2->config.get_ms / 4;
	passage->patient = many->in_air > 0;
	outcome = ld_l2_admit(passage, &talk->ask->end);
	talk->admitted = outcome == LD_L2_HIT;
	talk->admitted_ms = now_ms;
	return outcome;
}

/* A connection for it. 0, LARDER_E_BUSY, or another error. While others of ours are in the air nobody waits for a stranger's. */
static int hold(struct many *many, struct talk *talk, int64_t now_ms)
{
	int64_t wait_ms = many->l2->config.http.pool_wait_ms, left_ms = many->end_ms - now_ms;
	int rc = ld_http_hold(many->http, many->in_air > 0 || many->crowded ? -1 : wait_ms < left_ms ? wait_ms : left_ms, &talk->flight);

	many->crowded = rc == LARDER_E_BUSY && many->in_air == 0;
	return rc;
}

static void depart(struct many *many, struct talk *talk, int64_t left_ms)
{
	struct ld_http_request *request = &talk->made.request;

	ld_http_answer_free(&talk->answer);
	request->limit_ms = left_ms;
	request->stop = ld_l2_is_futile;
	request->stop_ctx = &talk->passage;
	if (ld_http_depart(&talk->flight, request, ld_clock_boot_ns(), &talk->answer) != 0) {
		finish(many, talk, LD_L2_LOCAL);
		return;
	}
	talk->state = IN_AIR;
	many->in_air++;
}

/* Returns 0 when it, and so everybody behind it, has to wait for one of ours to land. */
static int begin(struct many *many, struct talk *talk)
{
	int64_t now_ms = ld_clock_boot_ms(), left_ms;
	enum ld_l2_outcome outcome = LD_L2_HIT;
	int rc = hold(many, talk, now_ms);

	if (rc == LARDER_E_BUSY && many->in_air > 0)
		return 0;
	if (rc == 0 && !talk->admitted)
		outcome = admit(many, talk, now_ms);
	if (outcome == LD_L2_BUSY && many->in_air > 0) {
		ld_http_release(&talk->flight);
		return 0;
	}
	/* Waiting for a connection takes time. */
	left_ms = many->end_ms - ld_clock_boot_ms();
	if (rc != 0)
		(talk->admitted ? finish : turn_away)(many, talk, rc == LARDER_E_BUSY ? LD_L2_BUSY : LD_L2_LOCAL);
	else if (outcome != LD_L2_HIT)
		finish(many, talk, outcome);
	else if (left_ms < 1)
		finish(many, talk, LD_L2_TIMEOUT);
	else
		depart(many, talk, left_ms);
	return 1;
}

/* Everybody whose turn has come. Returns when the next one's comes by the clock alone, the end at the latest. */
static int64_t begin_all(struct many *many)
{
	int64_t next_ms = many->end_ms;

	for (size_t i = 0; i < many->count; i++) {
		struct talk *talk = &many->talks[i];
		int64_t now_ms = ld_clock_boot_ms();

		if (talk->state != WAITING || now_ms >= many->end_ms)
			continue;
		if (talk->due_ms > now_ms)
			next_ms = talk->due_ms < next_ms ? talk->due_ms : next_ms;
		else if (many->in_air == LD_HTTP_FLIGHTS_MAX || !begin(many, talk))
			break;
	}
	return next_ms;
}

/* ---- landing ---- */

static void take_down(struct many *many, struct talk *talk)
{
	struct ld_l2_end *end = &talk->ask->end;
	enum ld_l2_outcome outcome;
	int64_t wait_ms, now_ms;

	many->in_air--;
	talk->state = WAITING;
	ld_http_release(&talk->flight);
	if (talk->flight.result != 0) {
		finish(many, talk, LD_L2_LOCAL);
		return;
	}
	end->tries++;
	end->status = talk->answer.status;
	outcome = ld_l2_of_answer(&talk->made, &talk->answer);
	end->retry_after_ms = talk->answer.retry_after_ms > 0 ? talk->answer.retry_after_ms : 0;
	if (!ld_l2_is_passing(outcome, &talk->answer) || end->tries > many->l2->config.retries) {
		finish(many, talk, outcome);
		return;
	}
	wait_ms = ld_l2_back_off(many->l2, end->tries, end->retry_after_ms);
	now_ms = ld_clock_boot_ms();
	if (wait_ms >= many->end_ms - now_ms || !ld_l2_may_retry(&talk->passage))
		finish(many, talk, outcome);
	else
		talk->due_ms = now_ms + wait_ms;
}

static void fly(struct many *many, int64_t until_ms)
{
	struct ld_http_flight *flights[LD_HTTP_FLIGHTS_MAX];
	int64_t wait_ms = until_ms - ld_clock_boot_ms();
	unsigned count = 0;

	for (size_t i = 0; i < many->count; i++)
		if (many->talks[i].state == IN_AIR)
			flights[count++] = &many->talks[i].flight;
	/* Their own limits end them, at about the end of all. */
	ld_http_fly(flights, count, wait_ms > 0 ? wait_ms : 1);
	for (size_t i = 0; i < many->count; i++)
		if (many->talks[i].state == IN_AIR && many->talks[i].flight.landed)
			take_down(many, &many->talks[i]);
}

static void pause_until(int64_t until_ms)
{
	int64_t wait_ms = until_ms - ld_clock_boot_ms();
	struct timespec left = { (time_t)(wait_ms / 1000), (long)(wait_ms % 1000) * 1000000 };

	while (wait_ms > 0 && nanosleep(&left, &left) != 0)
		;
}

static void end_all(struct many *many)
{
	for (size_t i = 0; i < many->count; i++) {
		struct talk *talk = &many->talks[i];

		if (talk->state != WAITING)
			continue;
		if (talk->admitted)
			finish(many, talk, talk->ask->end.tries > 0 ? ld_l2_of_answer(&talk->made, &talk->answer) : LD_L2_TIMEOUT);
		else
			turn_away(many, talk, LD_L2_TIMEOUT);
	}
}

static void run(struct many *many)
{
	while (many->left > 0) {
		int64_t next_ms = begin_all(many);

		if (many->in_air > 0)
			fly(many, next_ms);
		else if (many->left > 0)
			pause_until(next_ms);
		if (ld_clock_boot_ms() >= many->end_ms)
			end_all(many);
	}
}

void ld_l2_get_many(struct ld_l2 *l2, struct ld_l2_ask *const *asks, size_t count, int64_t budget_ms)
{
	struct many many = { .l2 = l2, .http = ld_l2_connections(l2), .talks = ld_calloc(count, sizeof(struct talk)), .count = count, .left = count };

	many.short_time = budget_ms > 0 && budget_ms < l2->config.get_ms;
	many.end_ms = ld_clock_boot_ms() + (many.short_time ? budget_ms : l2->config.get_ms);
	for (size_t i = 0; i < count; i++) {
		asks[i]->outcome = LD_L2_LOCAL;
		if (!many.talks)
			continue;
		many.talks[i].ask = asks[i];
		ld_l2_make_get(l2, &asks[i]->call, &asks[i]->have, &many.talks[i].made);
	}
	if (many.talks && many.http)
		run(&many);
	free(many.talks);
}
