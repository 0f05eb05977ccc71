/* SPDX-License-Identifier: MIT */
/* The master of `larder replay`, as a pre-forking server has one: it opened the cache, forks, and from then on only watches.
 * It must never wait without an end for a worker, as any of them may be killed at any moment, also before it has started.
 *
 *     master   pipe, fork ... fork     read a byte each      close go      SIGCHLD, 4 times a second the progress line
 *     worker   attach, write a byte    read: waits on go     end of file   replay .......... exit
 *
 * A pipe's end of file lets all go at once, and a worker that comes later, in the place of a killed one, does not wait at
 * all. The pipes need no care when somebody dies: the kernel closes them.
 */
#include "replay_master.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "replay_live.h"
#include "replay_random.h"

#define TICK_MS 250
#define START_TRIES 120           /* of TICK_MS each, until every worker has attached */
#define PIPE_TICKS 16             /* on a pipe a line of progress every 4 seconds */

struct master {
	struct replay_plan *plan;
	const struct replay_conduct *conduct;
	struct replay_outcome *outcome;
	pid_t *pids;              /* by worker; 0 = not running */
	unsigned running;
	int ready[2], go[2];
	pid_t victim;             /* killed by us, not yet waited for; 0 = none */
	int64_t kill_ns;          /* when the next one is due */
	uint64_t random;
	unsigned ticks;
	struct replay_live live;
};

int replay_shared_make(struct replay_plan *plan)
{
	size_t size = sizeof(struct replay_shared) + plan->workers * sizeof(struct replay_slot);
	void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return -1;
	plan->shared = shared;
	return 0;
}

void replay_shared_free(struct replay_plan *plan)
{
	if (plan->shared != NULL)
		munmap(plan->shared, sizeof(struct replay_shared) + plan->workers * sizeof(struct replay_slot));
	plan->shared = NULL;
}

static void stop_all(struct master *master)
{
	atomic_store_explicit(&master->plan->shared->stop, 1, memory_order_relaxed);
	master->outcome->interrupted = 1;
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Wait for the end of file on `go`. */
static void await_go(int fd)
{
	char byte;
	ssize_t got;
	do
		got = read(fd, &byte, 1);
	while (got > 0 || (got < 0 && errno == EINTR));
}

/* The life of a worker. A terminal sends Ctrl-C to it too; it is the master's to say when to stop. */
static void worker_main(struct master *master, unsigned index, pid_t parent)
{
	struct replay_plan *plan = master->plan;
	sigset_t none;

	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(CLI_UNAVAILABLE);
	close_end(&master->go[1]);
	close_end(&master->ready[0]);
	int r = replay_worker_attach(plan);
	if (r != 0)
		_exit(cli_failed("worker cannot attach", r));
	/* A successor finds it closed: nobody waits for its word, nor it for anybody's. */
	if (master->ready[1] >= 0 && write(master->ready[1], "", 1) < 0 && errno != EPIPE)
		_exit(CLI_UNAVAILABLE);
	close_end(&master->ready[1]);
	await_go(master->go[0]);
	int code = replay_worker_run(plan, index);
	larder_tenant_close(plan->tenant);
	larder_close(plan->cache);
	_exit(code);
}

static int start_worker(struct master *master, unsigned index)
{
	pid_t parent = getpid();
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0) {
		cli_error("cannot fork worker %u: %s", index, strerror(errno));
		return -1;
	}
	if (pid == 0)
		worker_main(master, index, parent);
	master->pids[index] = pid;
	master->running++;
	return 0;
}

static unsigned index_of(const struct master *master, pid_t pid)
{
	unsigned index = 0;
	while (index < master->plan->workers && master->pids[index] != pid)
		index++;
	return index;
}

static void report_death(struct master *master, unsigned index, int status)
{
	master->outcome->died++;
	progress_hide(&master->live.progress);
	if (WIFSIGNALED(status))
		cli_error("worker %u was ended by signal %d (%s)", index, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		cli_error("worker %u gave up", index);
	if (WIFEXITED(status) && WEXITSTATUS(status) > master->outcome->worker_exit)
		master->outcome->worker_exit = WEXITSTATUS(status);
}

static void bury(struct master *master, pid_t pid, int status)
{
	unsigned index = index_of(master, pid);
	if (index == master->plan->workers)
		return;
	master->pids[index] = 0;
	master->running--;
	if (pid == master->victim) {
		master->victim = 0;
		if (WIFSIGNALED(status) && !master->outcome->interrupted && start_worker(master, index) < 0)
			master->outcome->died++;
	} else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		report_death(master, index, status);
	}
}

static void bury_the_dead(struct master *master)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (!replay_l2_buried(&master->conduct->tiers->l2, pid))
			bury(master, pid, status);
}

/* Kill one of the running workers, wherever it is in its work; bury() starts its successor. */
static void kill_one(struct master *master)
{
	unsigned chosen = (unsigned)(replay_next(&master->random) % master->plan->workers);
	for (unsigned i = 0; i < master->plan->workers; i++) {
		pid_t pid = master->pids[(chosen + i) % master->plan->workers];
		if (pid > 0 && kill(pid, SIGKILL) == 0) {
			master->victim = pid;
			master->outcome->killed++;
			return;
		}
	}
}

static void kill_if_due(struct master *master, int64_t now_ns)
{
	int64_t every_ns = master->conduct->kill_every_ms * 1000000;
	if (every_ns == 0 || now_ns < master->kill_ns || master->victim != 0 || master->outcome->interrupted)
		return;
	kill_one(master);
	master->kill_ns = now_ns + every_ns;
}

/* The outage, if there is to be one. */
static void tend_second(struct master *master)
{
	struct replay_counts sum;

	replay_live_sum(master->plan, &sum);
	replay_tiers_tick(master->conduct->tiers, replay_counts_gets(&sum), master->plan->trace.count, master->outcome->began_ns);
}

static void tick(struct master *master)
{
	master->ticks++;
	if (master->live.progress.terminal || master->ticks % PIPE_TICKS == 0)
		replay_live_draw(&master->live, master->plan, master->conduct->tiers);
}

static int64_t wait_ns(const struct master *master, int64_t tick_ns)
{
	int64_t now_ns = replay_now_ns();
	int64_t until_ns = tick_ns;
	if (master->conduct->kill_every_ms > 0 && master->victim == 0 && master->kill_ns < until_ns)
		until_ns = master->kill_ns;
	int64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
	return master->plan->has_l2 ? replay_tiers_wait_ns(master->conduct->tiers, left_ns) : left_ns;
}

/* Until no worker is left. A signal handler of cli.h ends the wait early, a tick does it at the latest. */
static void watch(struct master *master)
{
	sigset_t child;
	int64_t tick_ns = replay_now_ns() + TICK_MS * INT64_C(1000000);

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	while (master->running > 0) {
		int64_t left_ns = wait_ns(master, tick_ns);
		struct timespec left = { left_ns / 1000000000, left_ns % 1000000000 };
		sigtimedwait(&child, NULL, &left);
		bury_the_dead(master);
		if (cli_interrupted)
			stop_all(master);
		int64_t now_ns = replay_now_ns();
		kill_if_due(master, now_ns);
		if (master->plan->has_l2)
			tend_second(master);
		if (now_ns >= tick_ns) {
			tick(master);
			tick_ns = now_ns + TICK_MS * INT64_C(1000000);
		}
	}
}

/* Until every running worker has said that it is attached, or died, or the time is over: then the others go without it. */
static void await_ready(struct master *master)
{
	struct pollfd ready = { master->ready[0], POLLIN, 0 };
	unsigned attached = 0;
	char bytes[64];

	for (int tries = 0; tries < START_TRIES && attached < master->running && !cli_interrupted;) {
		int r = poll(&ready, 1, TICK_MS);
		if (r > 0) {
			ssize_t got = read(master->ready[0], bytes, sizeof(bytes));
			if (got <= 0)
				break;
			attached += (unsigned)got;
		} else if (r == 0) {
			tries++;
		}
		bury_the_dead(master);
	}
}

static void take_stats(const struct master *master, struct larder_stats *ret_stats)
{
	struct larder_stats stats = { .size = sizeof(stats) };
	if (larder_get_stats(master->plan->cache, &stats) == 0)
		*ret_stats = stats;
}

static int start_all(struct master *master)
{
	if (pipe2(master->ready, O_CLOEXEC) < 0 || pipe2(master->go, O_CLOEXEC) < 0) {
		cli_error("cannot make a pipe: %s", strerror(errno));
		return -1;
	}
	for (unsigned i = 0; i < master->plan->workers; i++)
		if (start_worker(master, i) < 0)
			break;
	close_end(&master->ready[1]);
	return master->running == master->plan->workers ? 0 : -1;
}

/* Let those go that were started; the trace is done even if some could not be, but not when there is none. */
static void let_go(struct master *master, int stop)
{
	if (stop || cli_interrupted)
		stop_all(master);
	take_stats(master, &master->outcome->before);
	if (master->plan->has_l2)
		replay_tiers_begin(master->conduct->tiers, &master->outcome->second);
	master->outcome->began_ns = replay_now_ns();
	master->kill_ns = master->outcome->began_ns + master->conduct->kill_every_ms * 1000000;
	close_end(&master->go[1]);
}

static int conduct_run(struct master *master)
{
	int failed = start_all(master);
	if (!failed)
		await_ready(master);
	let_go(master, failed);
	replay_live_start(&master->live, master->plan, master->conduct->quiet, master->outcome->before.evictions);
	watch(master);
	replay_live_draw(&master->live, master->plan, master->conduct->tiers);
	master->outcome->ended_ns = replay_now_ns();
	if (master->plan->has_l2 && !failed)
		replay_tiers_settle(master->conduct->tiers, master->plan, &master->live.progress, &master->outcome->second);
	progress_end(&master->live.progress);
	take_stats(master, &master->outcome->after);
	replay_tiers_end(master->conduct->tiers);
	return failed;
}

int replay_master_run(struct replay_plan *plan, const struct replay_conduct *conduct, struct replay_outcome *ret_outcome)
{
	struct replay_outcome outcome = { 0 };
	struct master master = { .plan = plan, .conduct = conduct, .outcome = &outcome, .ready = { -1, -1 }, .go = { -1, -1 } };
	sigset_t child, before;

	master.random = conduct->seed;
	master.pids = calloc(plan->workers, sizeof(*master.pids));
	if (master.pids == NULL) {
		cli_error("out of memory");
		return -1;
	}
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &before);
	int r = conduct_run(&master);
	sigprocmask(SIG_SETMASK, &before, NULL);
	for (int i = 0; i < 2; i++) {
		close_end(&master.ready[i]);
		close_end(&master.go[i]);
	}
	free(master.pids);
	if (r == 0)
		*ret_outcome = outcome;
	return r;
}
