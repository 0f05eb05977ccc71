/* SPDX-License-Identifier: MIT */
/*
 * The pool of connections: used by the threads of one process, let go of by its children. Called by http_call.c and http.c. It must never let two
 * calls, or two processes, use one connection: an answer would reach the wrong one, which here is another tenant's data.
 *
 * One easy handle of libcurl for each connection, each used by one thread at a time. Sharing connections between handles (CURL_LOCK_DATA_CONNECT) is
 * documented as unsafe between threads; handles that share nothing need no such promise.
 *
 * A place of the pool:
 *
 *     free ----> making ----> in use <----> idle          free: taken is 0, the slot is NULL
 *      ^                        |            |            making: taken is 1, the slot is NULL until there is a handle
 *      +------- closing <-------+------------+            closing: in use by whoever closes it, and taken until nothing is left of it
 *
 * Threads. Every step on an arrow is made under the lock; what is in use belongs to the thread that took it, without the lock.
 *
 * Idle connections. Whatever comes in on one while nobody has asked for anything is the end of it, or the rest of an answer that was longer than it
 * had said; libcurl 7.88 would take the latter for the beginning of the next answer. So one that has anything to read is closed, not used. (With
 * HTTP/2 each answer names its request, and the server may speak at any time.)
 *
 * A write that nobody answered. What the kernel has of it, it would send again after close(), for as long as the network is away, and so after a newer write of
 * the same key:
 *
 *     given up                                  the connection is broken off (RST), with all that was queued; with HTTP/2 too, where others could go on with it
 *     killed                                    the kernel itself gives up by the write's limit: TCP_USER_TIMEOUT, set anew while the write is on its way
 *     stopped, and killed later                 the same
 *
 * Fork, in a thread F of the parent, and ld_http_abandon() in the child, while a thread T of the parent is in the pool:
 *
 *     T holds the lock                          the child never takes it
 *     T is in a call                            busy is 1: the handle may be half changed; its descriptors are closed, the rest is lost memory
 *     T opens a socket, not yet recorded        the child keeps a copy of it, unknown and unused, until it ends or execs (it is close-on-exec)
 *     T closes a socket, no longer recorded     the same; the parent's shutdown() ends the connection nevertheless
 *     T makes or closes a slot                  busy is 1 from before the handle exists in `slots` until after it is gone
 *     an idle one                               the descriptor is replaced by one end of a socket pair, and only then libcurl tidies up: its
 *                                               goodbye over TLS, and what it reads to answer it, go nowhere
 *
 * Killed: sockets end with the process; nothing of this is shared.
 */
#include "l2/http_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <larder/larder.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/process.h"
#include "crypto/locked.h"

#define TEXT(x) TEXT_(x)
#define TEXT_(x) #x
#define AGENT "larder/" TEXT(LARDER_VERSION_MAJOR) "." TEXT(LARDER_VERSION_MINOR) "." TEXT(LARDER_VERSION_PATCH)

/* ---- descriptors ---- */

/* A write went out, and no final answer has come: its connection is good for nothing else. */
static int is_undecided(const struct ld_http_slot *slot)
{
	return slot->write_until_ms != 0 && !slot->receipt.closed;
}

/* What is sent just before the limit may be lost and is sent again for a moment; the teller's margin is longer (l2/drain.c). */
enum { LIMIT_SLACK_MS = 100 };

/* 0 = the system's own. Sockets that are not TCP's refuse it, and send nothing again. */
static void limit(const struct ld_http_slot *slot, int fd)
{
	int64_t left_ms = slot->write_until_ms == 0 ? 0 : slot->write_until_ms - ld_clock_boot_ms();
	unsigned most_ms = slot->write_until_ms == 0 ? 0 : (unsigned)(left_ms > 0 ? left_ms < INT32_MAX / 2 ? left_ms : INT32_MAX / 2 : 0) + LIMIT_SLACK_MS;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &most_ms, sizeof(most_ms));
}

void ld_http_slot_limit(struct ld_http_slot *slot)
{
	if (slot->write_until_ms == 0 && !slot->patience)
		return;
	slot->patience = slot->write_until_ms != 0;
	for (unsigned i = 0; i < LD_HTTP_SOCKETS; i++) {
		int fd = atomic_load(&slot->sockets[i]);

		if (fd != -1)
			limit(slot, fd);
	}
}

/* Close-on-exec, which libcurl's own are not; one that cannot be recorded could not be closed in a child, and is refused. */
static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct ld_http_slot *slot = ctx;
	struct ld_file_low low;

	(void)purpose;
	for (unsigned i = 0; i < LD_HTTP_SOCKETS; i++) {
		int fd;

		if (atomic_load(&slot->sockets[i]) != -1)
			continue;
		ld_file_low_hold(&low);
		fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
		ld_file_low_release(&low);
		/* A host without IPv6 tries the other addresses. All else - no descriptors, a filter of system calls - is this process's own. */
		slot->no_socket |= fd == -1 && errno != EAFNOSUPPORT && errno != EPROTONOSUPPORT;
		atomic_store(&slot->sockets[i], fd);
		if (fd != -1 && slot->write_until_ms != 0)
			limit(slot, fd);
		return fd;
	}
	return CURL_SOCKET_BAD;
}

/* Out of the record first: a child that finds a closed number in it would close something else. */
static int close_socket(void *ctx, curl_socket_t fd)
{
	const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
	struct ld_http_slot *slot = ctx;

	for (unsigned i = 0; i < LD_HTTP_SOCKETS; i++) {
		if (atomic_load(&slot->sockets[i]) == fd)
			atomic_store(&slot->sockets[i], -1);
	}
	/* Children may still hold copies, which would keep the connection open, and what is queued alive. */
	if (is_undecided(slot))
		(void)connect(fd, &nowhere, sizeof(nowhere));
	(void)shutdown(fd, SHUT_RDWR);
	return close(fd);
}

int ld_http_slot_is_connected(const struct ld_http_slot *slot)
{
	for (unsigned i = 0; i < LD_HTTP_SOCKETS; i++) {
		if (atomic_load(&slot->sockets[i]) != -1)
			return 1;
	}
	return 0;
}

static int is_silent(const struct ld_http_slot *slot)
{
	struct pollfd fds[LD_HTTP_SOCKETS];
	nfds_t count = 0;

	for (unsigned i = 0; i < LD_HTTP_SOCKETS; i++) {
		int fd = atomic_load(&slot->sockets[i]);

		if (fd != -1)
			fds[count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}
	return count == 0 || poll(fds, count, 0) == 0;
}

/* ---- slots ---- */

#define SET(option, value) (curl_easy_setopt(slot->easy, (option), (value)) == CURLE_OK)

static int prepare_limits(struct ld_http_slot *slot)
{
	const struct ld_http *http = slot->http;

	/* libcurl's own limits are in seconds, and stand behind ours. QUICK_EXIT: a call whose time is over does not wait for a name server. */
	return SET(CURLOPT_PROTOCOLS_STR, "http,https") && SET(CURLOPT_FOLLOWLOCATION, 0L) && SET(CURLOPT_PROXY, "") && SET(CURLOPT_NOPROXY, "*") &&
	    SET(CURLOPT_NOSIGNAL, 1L) && SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) && SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) &&
	    SET(CURLOPT_PATH_AS_IS, 1L) && SET(CURLOPT_QUICK_EXIT, 1L) && SET(CURLOPT_MAXCONNECTS, 1L) &&
	    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)http->connect_ms) && SET(CURLOPT_MAXAGE_CONN, (long)(http->idle_ms / 1000 + 1)) &&
	    SET(CURLOPT_MAXLIFETIME_CONN, (long)(http->max_age_ms / 1000 + 1)) && SET(CURLOPT_BUFFERSIZE, 16384L) &&
	    SET(CURLOPT_UPLOAD_BUFFERSIZE, 16384L);
}

static int prepare_tls(struct ld_http_slot *slot)
{
	const struct ld_http *http = slot->http;

	if (!SET(CURLOPT_SSL_VERIFYPEER, 1L) || !SET(CURLOPT_SSL_VERIFYHOST, 2L) || !SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) ||
	    !SET(CURLOPT_HTTP_VERSION, http->http2 ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1))
		return 0;
	/* Who names a file means these and no others: not the directory that libcurl was built with as well. */
	if (http->ca_file != NULL && (!SET(CURLOPT_CAINFO, http->ca_file) || !SET(CURLOPT_CAPATH, NULL)))
		return 0;
	return http->cert_file == NULL || (SET(CURLOPT_SSLCERT, http->cert_file) && SET(CURLOPT_SSLKEY, http->key_file));
}

static int prepare_callbacks(struct ld_http_slot *slot)
{
	return SET(CURLOPT_OPENSOCKETFUNCTION, open_socket) && SET(CURLOPT_OPENSOCKETDATA, slot) && SET(CURLOPT_CLOSESOCKETFUNCTION, close_socket) &&
	    SET(CURLOPT_CLOSESOCKETDATA, slot) && SET(CURLOPT_HEADERFUNCTION, ld_http_receipt_header) && SET(CURLOPT_HEADERDATA, &slot->receipt) &&
	    SET(CURLOPT_WRITEFUNCTION, ld_http_receipt_body) && SET(CURLOPT_WRITEDATA, &slot->receipt) && SET(CURLOPT_ERRORBUFFER, slot->error) &&
	    SET(CURLOPT_PREREQFUNCTION, ld_http_slot_sends) && SET(CURLOPT_PREREQDATA, slot) &&
	    SET(CURLOPT_URL, slot->http->base.url) && SET(CURLOPT_USERAGENT, AGENT) && SET(CURLOPT_ACCEPT_ENCODING, "gzip, deflate") &&
	    (slot->http->base.socket[0] == '\0' || SET(CURLOPT_UNIX_SOCKET_PATH, slot->http->base.socket));
}

static int prepare(struct ld_http_slot *slot)
{
	return prepare_limits(slot) && prepare_tls(slot) && prepare_callbacks(slot);
}

static int prepare_multi(struct ld_http_slot *slot)
{
	return curl_multi_setopt(slot->multi, CURLMOPT_MAXCONNECTS, 1L) == CURLM_OK &&
	    curl_multi_setopt(slot->multi, CURLMOPT_SOCKETFUNCTION, ld_http_slot_watch) == CURLM_OK &&
	    curl_multi_setopt(slot->multi, CURLMOPT_SOCKETDATA, slot) == CURLM_OK;
}

/* Into a place that is counted already. NULL: memory is out, the place is still counted. */
static struct ld_http_slot *make_slot(struct ld_http *http, unsigned place)
{
	struct ld_http_slot *slot = ld_calloc(1, sizeof(*slot));
	struct ld_file_low low;

	if (slot == NULL)
		return NULL;
	slot->http = http;
	slot->place = place;
	atomic_init(&slot->busy, 1);
	for (unsigned i = 0; i < LD_HTTP_SOCKETS; i++)
		atomic_init(&slot->sockets[i], -1);
	/* It keeps a pair of sockets to be woken by. */
	ld_file_low_hold(&low);
	slot->easy = curl_easy_init();
	slot->multi = curl_multi_init();
	ld_file_low_release(&low);
	if (slot->easy == NULL || slot->multi == NULL || !prepare_multi(slot) || !prepare(slot)) {
		curl_easy_cleanup(slot->easy);
		curl_multi_cleanup(slot->multi);
		free(slot);
		return NULL;
	}
	return slot;
}

/* libcurl says goodbye over TLS, without waiting. The slot is in use by us, or by nobody any more. */
void ld_http_slot_close(struct ld_http_slot *slot)
{
	struct ld_http_pipe guard;

	ld_http_pipe_begin(slot->http, &guard);
	curl_easy_cleanup(slot->easy);
	/* It has the connection. */
	curl_multi_cleanup(slot->multi);
	ld_http_pipe_end(&guard);
}

static void free_place(struct ld_http *http, unsigned place)
{
	pthread_mutex_lock(&http->lock);
	http->slots[place] = NULL;
	http->taken[place] = 0;
	http->made--;
	pthread_cond_signal(&http->freed);
	pthread_mutex_unlock(&http->lock);
}

static void drop_slot(struct ld_http_slot *slot)
{
	ld_http_slot_close(slot);
	free_place(slot->http, slot->place);
	free(slot);
}

/* ---- taking and giving back ---- */

/* The place of a slot that is to be made. Under the lock; there is one, for made < pool. */
static unsigned count_place(struct ld_http *http)
{
	unsigned place = 0;

	while (http->taken[place])
		place++;
	http->taken[place] = 1;
	http->made++;
	return place;
}

/* Idle for too long, or too old; counted as closed where it had a connection. */
static int is_past(struct ld_http_slot *slot, int64_t now_ms)
{
	struct ld_http *http = slot->http;
	int idle = now_ms - slot->used_ms > http->idle_ms;

	if (!idle && (now_ms - slot->born_ms <= http->max_age_ms || !ld_http_slot_is_connected(slot)))
		return 0;
	if (ld_http_slot_is_connected(slot))
		atomic_fetch_add(idle ? &http->closed_idle : &http->closed_age, 1);
	return 1;
}

/* Wait under the lock until a slot may be free. Returns 0 when the time is over. */
static int wait_for_slot(struct ld_http *http, const struct timespec *deadline)
{
	return pthread_cond_timedwait(&http->freed, &http->lock, deadline) != ETIMEDOUT;
}

static struct timespec deadline_after(int64_t wait_ms)
{
	struct timespec at = { 0, 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += (time_t)(wait_ms / 1000);
	at.tv_nsec += (long)(wait_ms % 1000) * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

/* An idle slot, or NULL and a place for a new one. Returns 0, or -1: busy to the end of the wait. wait_ms < 0: only looked, not counted. */
static int take_place(struct ld_http *http, int64_t wait_ms, struct ld_http_slot **ret_slot, unsigned *ret_place)
{
	struct timespec deadline;
	int waited = 0, rc = 0;

	pthread_mutex_lock(&http->lock);
	while (http->idle_count == 0 && http->made == http->pool && rc == 0) {
		if (wait_ms < 0) {
			rc = -1;
			break;
		}
		if (!waited)
			deadline = deadline_after(wait_ms);
		waited = 1;
		if (!wait_for_slot(http, &deadline) && http->idle_count == 0 && http->made == http->pool)
			rc = -1;
	}
	*ret_slot = NULL;
	if (rc == 0 && http->idle_count > 0) {
		*ret_slot = http->idle[--http->idle_count];
		*ret_place = (*ret_slot)->place;
		atomic_store(&(*ret_slot)->busy, 1);
	} else if (rc == 0) {
		*ret_place = count_place(http);
	}
	pthread_mutex_unlock(&http->lock);
	if (waited)
		atomic_fetch_add(&http->waits, 1);
	if (waited && rc != 0)
		atomic_fetch_add(&http->busy, 1);
	return rc;
}

enum ld_http_took ld_http_take(struct ld_http *http, int64_t wait_ms, struct ld_http_slot **ret_slot)
{
	struct ld_http_slot *slot, *made;
	unsigned place = 0;

	if (take_place(http, wait_ms, &slot, &place) != 0)
		return LD_HTTP_TOOK_BUSY;
	if (slot != NULL && !is_past(slot, ld_clock_boot_ms()) && (slot->multiplexed || is_silent(slot))) {
		*ret_slot = slot;
		return LD_HTTP_TOOK;
	}
	/* A new handle in the old one's place. */
	made = make_slot(http, place);
	if (made == NULL) {
		if (slot != NULL)
			drop_slot(slot);
		else
			free_place(http, place);
		return LD_HTTP_TOOK_NOMEM;
	}
	if (slot != NULL)
		ld_http_slot_close(slot);
	pthread_mutex_lock(&http->lock);
	http->slots[place] = made;
	pthread_mutex_unlock(&http->lock);
	free(slot);
	*ret_slot = made;
	return LD_HTTP_TOOK;
}

/* Under the lock: one that is past its time, taken out of the idle ones. The bottom of the stack has waited longest; age is anybody's. */
static struct ld_http_slot *take_past(struct ld_http *http, int64_t now_ms)
{
	for (unsigned i = 0; i < http->idle_count; i++) {
		struct ld_http_slot *slot = http->idle[i];

		if (!is_past(slot, now_ms))
			continue;
		memmove(&http->idle[i], &http->idle[i + 1], (http->idle_count - i - 1) * sizeof(http->idle[0]));
		http->idle_count--;
		atomic_store(&slot->busy, 1);
		return slot;
	}
	return NULL;
}

void ld_http_give(struct ld_http *http, struct ld_http_slot *slot)
{
	struct ld_http_slot *past;
	int64_t now_ms = ld_clock_boot_ms();

	if (is_undecided(slot) && ld_http_slot_is_connected(slot)) {
		drop_slot(slot);
		return;
	}
	slot->used_ms = now_ms;
	pthread_mutex_lock(&http->lock);
	atomic_store(&slot->busy, 0);
	http->idle[http->idle_count++] = slot;
	past = take_past(http, now_ms);
	pthread_cond_signal(&http->freed);
	pthread_mutex_unlock(&http->lock);
	if (past != NULL)
		drop_slot(past);
}

void ld_http_tidy(struct ld_http *http)
{
	struct ld_http_slot *past;

	if (http->process != ld_process_generation())
		return;
	do {
		pthread_mutex_lock(&http->lock);
		past = take_past(http, ld_clock_boot_ms());
		pthread_mutex_unlock(&http->lock);
		if (past != NULL)
			drop_slot(past);
	} while (past != NULL);
}

void ld_http_slot_abandon(struct ld_http_slot *slot, int nowhere)
{
	int whole = !atomic_load(&slot->busy) && nowhere != -1;

	for (unsigned i = 0; i < LD_HTTP_SOCKETS; i++) {
		int fd = atomic_load(&slot->sockets[i]);

		if (fd == -1)
			continue;
		if (whole && dup3(nowhere, fd, O_CLOEXEC) == fd)
			continue;
		(void)close(fd);
		whole = 0;
	}
	if (whole)
		ld_http_slot_close(slot);
	ld_wipe(slot->bearer, sizeof(slot->bearer));
	free(slot);
}
