/* SPDX-License-Identifier: MIT */
/*
 * A worker's life (worker.h): one loop over the server's epoll descriptor and a descriptor for signals.
 *
 *     SIGTERM    take what still waits in the queue -> close the socket -> until no request runs and nothing has come for a moment, or the
 *                time is over -> end. Every answer of that time says "Connection: close".
 *     SIGKILL    the accepted connections are reset; the queue is the master's too, and waits for the successor (listener.h)
 *     master gone    the kernel sends SIGKILL; a master that went before that was asked for is seen by its pid
 *
 * The master closes its copies of the sockets before it sends SIGTERM, so nobody is put into a queue that nobody will ever look at, but for those
 * who connect between the last look and the close: they are reset, as by any server that stops.
 */
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <microhttpd.h>

#include "connection.h"
#include "log.h"
#include "request.h"
#include "value.h"

#define TICK_MS 1000
#define QUIET_MS 50
#define ACCEPT_ROUNDS 200

int64_t l2d_now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

larder_tenant *l2d_worker_tenant(struct l2d_worker *worker, const char *name)
{
	struct l2d_tenant_slot *slot = &worker->tenants[l2d_hash(name, strlen(name), 0) % L2D_TENANTS];
	larder_tenant *handle;

	if (slot->handle && strcmp(slot->name, name) == 0)
		return slot->handle;
	if (larder_tenant_open(worker->service->cache, name, &handle) != 0)
		return NULL;
	larder_tenant_close(slot->handle);
	slot->handle = handle;
	strncpy(slot->name, name, sizeof(slot->name) - 1);
	return handle;
}

/* ---- the loop ---- */

/* How long to wait for events, at most max_ms. */
static int wait_ms(struct l2d_worker *worker, int max_ms)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (MHD_get_timeout(worker->daemon, &ms) == MHD_YES && ms < (MHD_UNSIGNED_LONG_LONG)max_ms)
		return (int)ms;
	return max_ms;
}

/* One wait and what came of it. Returns 1 if anything happened. */
static int turn(struct l2d_worker *worker, struct pollfd fds[2], nfds_t count, int max_ms)
{
	int limit_ms = wait_ms(worker, max_ms);
	int ready = poll(fds, count, limit_ms);

	MHD_run(worker->daemon);
	return ready > 0 || limit_ms == 0;
}

static void serve(struct l2d_worker *worker, struct pollfd fds[2])
{
	int64_t tick_ms = l2d_now_ms();
	struct signalfd_siginfo info;

	while (read(fds[1].fd, &info, sizeof(info)) < 0) {
		turn(worker, fds, 2, TICK_MS);
		int64_t now_ms = l2d_now_ms();
		if (now_ms - tick_ms >= TICK_MS) {
			l2d_connections_cut(worker, now_ms);
			tick_ms = now_ms;
		}
	}
}

static void drain(struct l2d_worker *worker, struct pollfd fds[2], int listen_fd)
{
	const int64_t end_ms = l2d_now_ms() + worker->service->options.drain_ms;
	struct pollfd waiting = { listen_fd, POLLIN, 0 };

	worker->draining = 1;
	for (int i = 0; i < ACCEPT_ROUNDS && poll(&waiting, 1, 0) > 0; i++)
		MHD_run(worker->daemon);
	MHD_quiesce_daemon(worker->daemon);
	close(listen_fd);
	while (l2d_now_ms() < end_ms) {
		int happened = turn(worker, fds, 1, QUIET_MS);
		if (!happened && worker->active == 0)
			break;
	}
	if (worker->active > 0)
		l2d_log(LARDER_LOG_WARN, "drain_cut_off", "worker=%u requests=%u", worker->index, worker->active);
}

static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void end(struct l2d_worker *worker)
{
	MHD_stop_daemon(worker->daemon);
	for (unsigned i = 0; i < L2D_TENANTS; i++)
		larder_tenant_close(worker->tenants[i].handle);
	larder_close(worker->service->cache);
}

int l2d_worker_run(struct l2d_service *service, unsigned index)
{
	static struct l2d_worker worker;
	struct pollfd fds[2] = { { -1, POLLIN, 0 }, { -1, POLLIN, 0 } };
	int listen_fd = service->listener.fds[index];
	sigset_t set;

	worker.service = service;
	worker.index = index;
	worker.slot = &service->shared->slot[index];
	worker.life = atomic_load(&worker.slot->life);
	raise_descriptors();
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	fds[1].fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fds[1].fd < 0 || l2d_server_start(&worker, listen_fd) < 0) {
		l2d_log(LARDER_LOG_ERROR, "worker_cannot_start", "worker=%u error=\"%s\"", index, strerror(errno));
		return 1;
	}
	/* An attach that fails is tried again by every call. */
	if (larder_attach(service->cache) != 0)
		l2d_log(LARDER_LOG_WARN, "not_attached", "worker=%u reason=\"%s\"", index, larder_reason_text(larder_reason()));
	fds[0].fd = MHD_get_daemon_info(worker.daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	serve(&worker, fds);
	drain(&worker, fds, listen_fd);
	end(&worker);
	return 0;
}
