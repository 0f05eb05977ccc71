/* SPDX-License-Identifier: MIT */
/*
 * Requests on their way: libcurl run on one or several of them by the thread whose they are. Called by the client, for single calls and for many at
 * once. It must never sleep past the limit of any of them, and never touch a connection that it does not hold.
 *
 * The time of a call:
 *
 *     | wait for a slot | name, TCP, TLS: <= connect_ms | request, answer, last byte of the body |
 *     |<---------------------------------- limit_ms ------------------------------------------->|
 *
 * Each slot has a multi handle of its own, which says by its callback what it waits for on which socket; so one poll() serves all flights of a thread,
 * and none knows of the others.
 *
 * libcurl sends a request again by itself when a connection that it used again turns out to be dead before a byte of the answer, and so do we, once,
 * where it does not; the clock goes on.
 *
 * A process that is killed in here leaves nothing on this host; the server sees its connections end.
 */
#include "l2/http_inside.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include <larder/larder.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/process.h"
#include "crypto/locked.h"

/* Between two looks whether an answer is still wanted; how late libcurl may be with a limit; timers run one after the other before a sleep. */
enum { LOOK_MS = 40, LATE_MS = 500, TIMERS = 8 };

/* ---- SIGPIPE ----
 *
 * OpenSSL may write(2) to a socket whose peer is gone, and CURLOPT_NOSIGNAL, which threads need, turns libcurl's own guard off. So the signal is
 * blocked in this thread, and one that came in meanwhile is taken away before the old mask is back. One that was pending before was not ours.
 * Without TLS there is nothing to guard: libcurl sends with MSG_NOSIGNAL.
 */

static sigset_t pipe_set(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGPIPE);
	return set;
}

void ld_http_pipe_begin(const struct ld_http *http, struct ld_http_pipe *guard)
{
	const sigset_t set = pipe_set();
	sigset_t pending;

	guard->on = http->tls;
	if (!guard->on)
		return;
	(void)sigemptyset(&pending);
	guard->eat = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 0;
	(void)pthread_sigmask(SIG_BLOCK, &set, &guard->before);
}

void ld_http_pipe_end(struct ld_http_pipe *guard)
{
	const struct timespec now = { 0, 0 };
	const sigset_t set = pipe_set();

	if (!guard->on)
		return;
	while (guard->eat && (sigtimedwait(&set, NULL, &now) == SIGPIPE || errno == EINTR))
		;
	(void)pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
}

/* ---- what libcurl waits for ---- */

int ld_http_slot_watch(CURL *easy, curl_socket_t fd, int what, void *ctx, void *of_fd)
{
	struct ld_http_slot *slot = ctx;
	unsigned i = 0;

	(void)easy;
	(void)of_fd;
	while (i < slot->watched && slot->watch[i].fd != fd)
		i++;
	if (what == CURL_POLL_REMOVE) {
		if (i < slot->watched)
			slot->watch[i] = slot->watch[--slot->watched];
		return 0;
	}
	if (i == LD_HTTP_WATCHES)
		return -1;
	slot->watched += i == slot->watched;
	slot->watch[i] = (struct pollfd){ .fd = fd };
	slot->watch[i].events = (short)((what & CURL_POLL_IN ? POLLIN : 0) | (what & CURL_POLL_OUT ? POLLOUT : 0));
	return 0;
}

/* ---- start and end of one ---- */

/* What libcurl knows of a call that is over. */
static void look_back(struct ld_http_flight *flight)
{
	struct ld_http_slot *slot = flight->slot;
	struct ld_http_answer *answer = flight->answer;
	curl_off_t connected_us = 0;
	long status = 0, connects = 0, sent_b = 0, version = 0;

	(void)curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(slot->easy, CURLINFO_NUM_CONNECTS, &connects);
	(void)curl_easy_getinfo(slot->easy, CURLINFO_REQUEST_SIZE, &sent_b);
	(void)curl_easy_getinfo(slot->easy, CURLINFO_CONNECT_TIME_T, &connected_us);
	(void)curl_easy_getinfo(slot->easy, CURLINFO_HTTP_VERSION, &version);
	answer->status = (int)status;
	answer->sent = sent_b > 0;
	answer->reused = connects == 0 && sent_b > 0;
	slot->multiplexed = version >= CURL_HTTP_VERSION_2_0;
	if (connects > 0) {
		slot->born_ms = flight->began_ms;
		if (connected_us > 0)
			atomic_fetch_add(&slot->http->opened, (uint64_t)connects);
	}
}

static void leave_air(struct ld_http_flight *flight)
{
	struct ld_http_slot *slot = flight->slot;

	if (flight->in_air) {
		(void)curl_multi_remove_handle(slot->multi, slot->easy);
		look_back(flight);
	}
	flight->in_air = 0;
	ld_wipe(slot->bearer, slot->bearer_len);
	slot->bearer_len = 0;
}

/* libcurl sees that a connection is dead when it reads, and when it sends the first piece; this is for those that die under a longer body. */
static int was_dead(const struct ld_http_flight *flight, CURLcode rc)
{
	return (rc == CURLE_SEND_ERROR || rc == CURLE_RECV_ERROR || rc == CURLE_GOT_NOTHING) && flight->answer->reused &&
	    flight->slot->receipt.lines == 0;
}

static void begin(struct ld_http_flight *flight);

static void land(struct ld_http_flight *flight, CURLcode rc)
{
	struct ld_http_answer *answer = flight->answer;

	leave_air(flight);
	if (!flight->again && was_dead(flight, rc)) {
		flight->again = 1;
		begin(flight);
		return;
	}
	if (flight->again)
		answer->sent = 1;
	if (answer->reused)
		atomic_fetch_add(&flight->http->reused, 1);
	flight->landed = 1;
	flight->result = ld_http_conclude(flight->slot, rc, answer);
	if (flight->result != 0) {
		ld_http_answer_free(answer);
		*answer = (struct ld_http_answer){ .outcome = LD_HTTP_OK, .sent = answer->sent };
		return;
	}
	answer->took_us = (ld_clock_boot_ns() - flight->from_ns) / 1000;
}

static void begin(struct ld_http_flight *flight)
{
	const struct ld_http_request *request = flight->request;
	int64_t now_ns = ld_clock_boot_ns(), left_ms = (flight->until_ns - now_ns) / 1000000;
	struct ld_http_slot *slot = flight->slot;
	size_t body_max = flight->http->body_max;
	CURLcode rc;

	if (left_ms < 1) {
		land(flight, CURLE_OPERATION_TIMEDOUT);
		return;
	}
	flight->began_ms = flight->looked_ms = now_ns / 1000000;
	if (request->body_max > 0 && request->body_max < body_max)
		body_max = request->body_max;
	ld_http_receipt_init(&slot->receipt, flight->answer, body_max, request->method == LD_HTTP_HEAD, ld_clock_wall_ms());
	slot->error[0] = '\0';
	slot->no_socket = 0;
	slot->write_until_ms = request->method == LD_HTTP_GET || request->method == LD_HTTP_HEAD ? 0 : flight->until_ns / 1000000;
	ld_http_slot_limit(slot);
	rc = ld_http_request_lay_out(slot, request, left_ms < INT32_MAX ? left_ms : INT32_MAX);
	if (rc == CURLE_OK) {
		CURLMcode added = curl_multi_add_handle(slot->multi, slot->easy);

		flight->in_air = added == CURLM_OK;
		rc = added == CURLM_OK ? CURLE_OK : added == CURLM_OUT_OF_MEMORY ? CURLE_OUT_OF_MEMORY : CURLE_FAILED_INIT;
	}
	if (rc != CURLE_OK)
		land(flight, rc);
}

/* ---- in the air ---- */

/* The one callback that aborts a call does so when it is too late. */
static CURLcode result_of(struct ld_http_slot *slot)
{
	CURLcode result = CURLE_FAILED_INIT;
	const CURLMsg *message;
	int queued;

	while ((message = curl_multi_info_read(slot->multi, &queued)) != NULL)
		if (message->msg == CURLMSG_DONE)
			result = message->data.result;
	return result == CURLE_ABORTED_BY_CALLBACK ? CURLE_OPERATION_TIMEDOUT : result;
}

/* By the boot clock, which does not stop while the host sleeps; that by which libcurl keeps its limits does. */
static int is_too_late(const struct ld_http_slot *slot)
{
	return slot->write_until_ms != 0 && ld_clock_boot_ms() >= slot->write_until_ms;
}

/* libcurl calls it when it has a connection, and sends next. */
int ld_http_slot_sends(void *ctx, char *peer_ip, char *own_ip, int peer_port, int own_port)
{
	const struct ld_http_slot *slot = ctx;

	(void)peer_ip;
	(void)own_ip;
	(void)peer_port;
	(void)own_port;
	if (slot->write_until_ms != 0)
		LD_POINT(http_sending);
	return is_too_late(slot) ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* Let libcurl do what may be done now: flags of what a socket is ready for, or of CURL_SOCKET_TIMEOUT none. */
static void act(struct ld_http_flight *flight, curl_socket_t fd, int flags)
{
	int running = 1;
	CURLMcode rc;

	/* The rest of a long body is not sent then either. */
	if (is_too_late(flight->slot)) {
		land(flight, CURLE_OPERATION_TIMEDOUT);
		return;
	}
	rc = curl_multi_socket_action(flight->slot->multi, fd, flags, &running);
	if (rc != CURLM_OK)
		land(flight, rc == CURLM_OUT_OF_MEMORY ? CURLE_OUT_OF_MEMORY : CURLE_FAILED_INIT);
	else if (!running)
		land(flight, result_of(flight->slot));
}

/* Returns how long libcurl can be left alone, -1 = until a socket is ready. */
static long run_timers(struct ld_http_flight *flight)
{
	long due_ms = -1;

	for (int i = 0; i < TIMERS && !flight->landed; i++) {
		if (curl_multi_timeout(flight->slot->multi, &due_ms) != CURLM_OK)
			due_ms = -1;
		if (due_ms != 0)
			break;
		act(flight, CURL_SOCKET_TIMEOUT, 0);
	}
	return due_ms;
}

/* Is the answer wanted no longer? The limit is libcurl's to keep; should it not, it ends here. */
static void look(struct ld_http_flight *flight, int64_t now_ns)
{
	const struct ld_http_request *request = flight->request;

	flight->looked_ms = now_ns / 1000000;
	if (flight->slot->write_until_ms != 0)
		ld_http_slot_limit(flight->slot);
	if (request->stop && request->stop(request->stop_ctx))
		land(flight, CURLE_ABORTED_BY_CALLBACK);
	else if (now_ns / 1000000 > flight->until_ns / 1000000 + LATE_MS)
		land(flight, CURLE_OPERATION_TIMEDOUT);
}

/* Everything that is due, and the longest sleep until something is again. Returns how many have landed. */
static unsigned run_all(struct ld_http_flight *const *flights, unsigned count, int64_t *sleep_ms)
{
	int64_t now_ns = ld_clock_boot_ns(), now_ms = now_ns / 1000000;
	unsigned landed = 0;

	for (unsigned i = 0; i < count; i++) {
		struct ld_http_flight *flight = flights[i];
		int64_t due_ms;

		if (!flight->landed && now_ms - flight->looked_ms >= LOOK_MS)
			look(flight, now_ns);
		due_ms = run_timers(flight);
		landed += flight->landed != 0;
		if (due_ms >= 0 && due_ms < *sleep_ms)
			*sleep_ms = due_ms;
		if (flight->looked_ms + LOOK_MS - now_ms < *sleep_ms)
			*sleep_ms = flight->looked_ms + LOOK_MS - now_ms;
	}
	return landed;
}

static void act_on(struct ld_http_flight *flight, const struct pollfd *fds, unsigned count)
{
	for (unsigned i = 0; i < count && !flight->landed; i++) {
		int flags = (fds[i].revents & (POLLIN | POLLHUP) ? CURL_CSELECT_IN : 0) | (fds[i].revents & POLLOUT ? CURL_CSELECT_OUT : 0) |
		    (fds[i].revents & (POLLERR | POLLNVAL) ? CURL_CSELECT_ERR : 0);

		if (flags != 0)
			act(flight, fds[i].fd, flags);
	}
}

/* One sleep over the sockets of all. Acting changes what is watched: so it is copied. */
static void sleep_over(struct ld_http_flight *const *flights, unsigned count, int64_t sleep_ms)
{
	struct pollfd fds[LD_HTTP_FLIGHTS_MAX * LD_HTTP_WATCHES];
	unsigned used = 0, at = 0, counts[LD_HTTP_FLIGHTS_MAX];

	for (unsigned i = 0; i < count; i++) {
		counts[i] = flights[i]->landed ? 0 : flights[i]->slot->watched;
		memcpy(&fds[used], flights[i]->slot->watch, counts[i] * sizeof(fds[0]));
		used += counts[i];
	}
	if (poll(fds, used, (int)sleep_ms) <= 0)
		return;
	for (unsigned i = 0; i < count; at += counts[i++])
		act_on(flights[i], &fds[at], counts[i]);
}

void ld_http_fly(struct ld_http_flight *const *flights, unsigned count, int64_t wait_ms)
{
	int64_t until_ms = ld_clock_boot_ms() + wait_ms;
	struct ld_http_pipe guard;

	if (count == 0 || count > LD_HTTP_FLIGHTS_MAX)
		return;
	ld_http_pipe_begin(flights[0]->http, &guard);
	for (;;) {
		int64_t sleep_ms = LOOK_MS, left_ms;

		if (run_all(flights, count, &sleep_ms) > 0)
			break;
		left_ms = until_ms - ld_clock_boot_ms();
		if (left_ms <= 0)
			break;
		sleep_over(flights, count, left_ms < sleep_ms ? left_ms : sleep_ms);
	}
	ld_http_pipe_end(&guard);
}

/* ---- for whoever asks ---- */

int ld_http_hold(struct ld_http *http, int64_t wait_ms, struct ld_http_flight *flight)
{
	enum ld_http_took took;

	memset(flight, 0, sizeof(*flight));
	if (http->process != ld_process_generation())
		return LARDER_E_BUG;
	ld_http_token_look(&http->token, &http->lock, http->log, ld_clock_boot_ms());
	took = ld_http_take(http, wait_ms, &flight->slot);
	if (took != LD_HTTP_TOOK)
		return took == LD_HTTP_TOOK_NOMEM ? LARDER_E_NOMEM : LARDER_E_BUSY;
	flight->http = http;
	return 0;
}

int ld_http_depart(struct ld_http_flight *flight, const struct ld_http_request *request, int64_t from_ns, struct ld_http_answer *ret_answer)
{
	struct ld_http_receipt empty;

	*ret_answer = (struct ld_http_answer){ .outcome = LD_HTTP_OK };
	if (!ld_http_request_is_sound(request))
		return LARDER_E_USAGE;
	/* The fields say "missing" also where there was no answer. */
	ld_http_receipt_init(&empty, ret_answer, 0, 0, 0);
	flight->request = request;
	flight->answer = ret_answer;
	flight->from_ns = from_ns;
	flight->until_ns = from_ns + request->limit_ms * 1000000;
	begin(flight);
	return 0;
}

void ld_http_release(struct ld_http_flight *flight)
{
	struct ld_http_pipe guard;

	if (flight->slot == NULL)
		return;
	if (flight->in_air) {
		ld_http_pipe_begin(flight->http, &guard);
		leave_air(flight);
		ld_http_pipe_end(&guard);
		ld_http_answer_free(flight->answer);
	}
	ld_http_give(flight->http, flight->slot);
	flight->slot = NULL;
}

int ld_http_perform(struct ld_http *http, const struct ld_http_request *request, struct ld_http_answer *ret_answer)
{
	struct ld_http_flight flight, *const flights[] = { &flight };
	int64_t from_ns = ld_clock_boot_ns(), wait_ms = http->pool_wait_ms < request->limit_ms ? http->pool_wait_ms : request->limit_ms;
	struct ld_http_receipt empty;
	int rc;

	*ret_answer = (struct ld_http_answer){ .outcome = LD_HTTP_OK };
	if (!ld_http_request_is_sound(request))
		return http->process != ld_process_generation() ? LARDER_E_BUG : LARDER_E_USAGE;
	rc = ld_http_hold(http, wait_ms, &flight);
	if (rc == LARDER_E_BUSY) {
		ld_http_receipt_init(&empty, ret_answer, 0, 0, 0);
		ret_answer->outcome = LD_HTTP_POOL_BUSY;
		ret_answer->took_us = (ld_clock_boot_ns() - from_ns) / 1000;
		return 0;
	}
	if (rc != 0)
		return rc;
	rc = ld_http_depart(&flight, request, from_ns, ret_answer);
	while (rc == 0 && !flight.landed)
		ld_http_fly(flights, 1, request->limit_ms);
	ld_http_release(&flight);
	return rc != 0 ? rc : flight.result;
}
