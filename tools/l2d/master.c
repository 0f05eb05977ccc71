/* SPDX-License-Identifier: MIT */
/*
 * The master (master.h). It takes no part in serving and touches neither the cache nor a connection, so that nothing can stop it; it waits for
 * signals and for the time at which a worker may be born again.
 *
 *     SIGCHLD        waitpid -> life of the slot is over (shared.h) -> fork, at once if the worker lived for a second, else after a pause
 *                    that doubles from 100 ms to 5 s. The socket of the slot stays open meanwhile: its queue waits.
 *     SIGTERM        close the sockets -> SIGTERM to the workers -> wait -> SIGKILL to those that are not done --drain-ms and two seconds later
 *     SIGHUP         nothing
 *     SIGKILL        the workers get SIGKILL from the kernel; one that is just being forked sees that its parent is another
 */
#include "master.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "log.h"

#define LIVED_MS 1000
#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 5000
#define KILL_AFTER_MS 2000
#define WAIT_MS 60000

struct place {
	pid_t pid;                /* 0 = nobody */
	int64_t born_ms;
	int64_t due_ms;           /* when the next one may be born */
	int64_t pause_ms;
};

struct master {
	struct l2d_service *service;
	struct place places[L2D_WORKERS_MAX];
	unsigned running;
	int killed;
	sigset_t signals;
};

static void child(struct master *master, unsigned index, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	/* Ctrl-C goes to the whole group of a terminal: it is the master's to say when to stop. */
	signal(SIGINT, SIG_IGN);
	l2d_listener_keep(&master->service->listener, index);
	_exit(l2d_worker_run(master->service, index));
}

static void bear(struct master *master, unsigned index, int64_t now_ms)
{
	struct place *place = &master->places[index];
	struct l2d_slot *slot = &master->service->shared->slot[index];
	pid_t parent = getpid();

	/* Release; pairs with the acquire in l2d_is_over(). Before the fork: the child reads its own life from it. */
	atomic_fetch_add_explicit(&slot->life, 1, memory_order_release);
	pid_t pid = fork();
	if (pid == 0)
		child(master, index, parent);
	place->born_ms = now_ms;
	if (pid < 0) {
		atomic_fetch_add_explicit(&slot->life, 1, memory_order_release);
		place->due_ms = now_ms + PAUSE_MAX_MS;
		l2d_log(LARDER_LOG_ERROR, "cannot_fork", "worker=%u error=\"%s\"", index, strerror(errno));
		return;
	}
	place->pid = pid;
	master->running++;
	l2d_log(LARDER_LOG_INFO, "worker_started", "worker=%u worker_pid=%ld", index, (long)pid);
}

/* When the next worker of a place may be born: at once, or later each time if they die at once. */
static void set_due(struct place *place, int64_t now_ms)
{
	if (now_ms - place->born_ms >= LIVED_MS)
		place->pause_ms = 0;
	else if (place->pause_ms == 0)
		place->pause_ms = PAUSE_MIN_MS;
	else
		place->pause_ms = place->pause_ms * 2 < PAUSE_MAX_MS ? place->pause_ms * 2 : PAUSE_MAX_MS;
	place->due_ms = now_ms + place->pause_ms;
}

static void bury(struct master *master, pid_t pid, int status, int stopping)
{
	int64_t now_ms = l2d_now_ms();

	for (unsigned i = 0; i < master->service->options.workers; i++) {
		struct place *place = &master->places[i];
		struct l2d_slot *slot = &master->service->shared->slot[i];
		if (place->pid != pid)
			continue;
		place->pid = 0;
		master->running--;
		/* Release; pairs with the acquire in l2d_is_over(). */
		atomic_fetch_add_explicit(&slot->life, 1, memory_order_release);
		atomic_store_explicit(&slot->connections, 0, memory_order_relaxed);
		set_due(place, now_ms);
		if (stopping && WIFEXITED(status) && WEXITSTATUS(status) == 0)
			return;
		l2d_add(&slot->restarts, 1);
		l2d_log(LARDER_LOG_WARN, "worker_died", "worker=%u worker_pid=%ld signal=%d exit=%d pause_ms=%lld", i, (long)pid,
		    WIFSIGNALED(status) ? WTERMSIG(status) : 0, WIFEXITED(status) ? WEXITSTATUS(status) : 0, (long long)place->pause_ms);
	}
}

static void bury_the_dead(struct master *master, int stopping)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		bury(master, pid, status, stopping);
}

/* Bear whoever is due; returns the ms until the next one is. */
static int64_t bear_the_due(struct master *master)
{
	int64_t now_ms = l2d_now_ms(), wait_ms = WAIT_MS;

	for (unsigned i = 0; i < master->service->options.workers; i++) {
		struct place *place = &master->places[i];
		if (place->pid == 0 && place->due_ms <= now_ms)
			bear(master, i, now_ms);
		if (place->pid == 0 && place->due_ms - now_ms < wait_ms)
			wait_ms = place->due_ms - now_ms;
	}
	return wait_ms;
}

/* Returns the signal that came, or -1. */
static int wait_for_signal(struct master *master, int64_t ms)
{
	const struct timespec time = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
	return sigtimedwait(&master->signals, NULL, &time);
}

static void signal_all(struct master *master, int number)
{
	for (unsigned i = 0; i < master->service->options.workers; i++)
		if (master->places[i].pid > 0)
			kill(master->places[i].pid, number);
}

static void stop(struct master *master)
{
	int64_t end_ms = l2d_now_ms() + master->service->options.drain_ms + KILL_AFTER_MS;

	l2d_log(LARDER_LOG_INFO, "stopping", "workers=%u", master->running);
	l2d_listener_close(&master->service->listener);
	signal_all(master, SIGTERM);
	for (;;) {
		bury_the_dead(master, 1);
		if (master->running == 0)
			return;
		int64_t left_ms = end_ms - l2d_now_ms();
		int number = wait_for_signal(master, left_ms > 0 ? left_ms : 1);
		if (number == SIGTERM || number == SIGINT || left_ms <= 0) {
			master->killed = 1;
			signal_all(master, SIGKILL);
			end_ms = l2d_now_ms() + KILL_AFTER_MS;
		}
	}
}

int l2d_master_run(struct l2d_service *service)
{
	static struct master master;
	int number;

	master.service = service;
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&master.signals);
	sigaddset(&master.signals, SIGCHLD);
	sigaddset(&master.signals, SIGTERM);
	sigaddset(&master.signals, SIGINT);
	sigprocmask(SIG_BLOCK, &master.signals, NULL);
	do {
		bury_the_dead(&master, 0);
		number = wait_for_signal(&master, bear_the_due(&master));
	} while (number != SIGTERM && number != SIGINT);
	stop(&master);
	return master.killed;
}
