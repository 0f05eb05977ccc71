/* SPDX-License-Identifier: MIT */
/* larder-l2d as a child of `larder replay` (replay_l2.h). It must never outlive the master:
 *
 *     master ends by itself       it stops the service before
 *     Ctrl-C                      the service has a process group of its own, so only the master hears it, and stops the service
 *     master killed               the kernel kills the service's master (PR_SET_PDEATHSIG), and with it, the same way, its workers
 *     master dies before that     the child sees that its parent is another one, and ends
 *
 * After a SIGKILL the port and the lock of the directory are free when the last worker is gone, which takes a moment: a start that fails is
 * tried again. */
#include "replay_l2.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cli.h"
#include "human.h"
#include "replay_worker.h"

#define STEP_NS 5000000
#define LISTEN_NS INT64_C(20000000000)
#define STOP_NS INT64_C(5000000000)
#define AGAIN_NS 100000000
#define TRIES_MAX 50
#define LOG_SHOWN 2000

static void nap(void)
{
	const struct timespec step = { 0, STEP_NS };
	nanosleep(&step, NULL);
}

static void redirect(const char *path)
{
	int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (log >= 0) {
		dup2(log, STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
	}
	if (nothing >= 0)
		dup2(nothing, STDIN_FILENO);
}

/* The child. Its signals are as if the user had started it: the master has some blocked and some caught. */
static void become(const struct replay_l2 *l2, pid_t parent)
{
	const char *const fixed[] = { l2->program, "--listen", l2->address, "--dir", l2->dir, "--port-file", l2->port_file };
	char *arguments[sizeof(fixed) / sizeof(fixed[0]) + 3] = { NULL };
	size_t count = 0;
	sigset_t none;

	for (; count < sizeof(fixed) / sizeof(fixed[0]); count++)
		arguments[count] = (char *)(uintptr_t)fixed[count];
	if (l2->size != NULL) {
		arguments[count++] = (char *)(uintptr_t)"--size";
		arguments[count++] = (char *)(uintptr_t)l2->size;
	}
	setpgid(0, 0);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(CLI_UNAVAILABLE);
	redirect(l2->log);
	execvp(l2->program, arguments);
	fprintf(stderr, "%s: %s\n", l2->program, strerror(errno));
	_exit(127);
}

static int launch(struct replay_l2 *l2)
{
	pid_t parent = getpid();

	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		become(l2, parent);
	if (pid < 0)
		return -1;
	/* Both do it: whoever comes first, the group is there before anybody kills it. */
	setpgid(pid, pid);
	l2->pid = pid;
	return 0;
}

/* What the service said before it ended. */
static void say_log(const struct replay_l2 *l2)
{
	char text[LOG_SHOWN + 1];
	FILE *log = fopen(l2->log, "r");

	if (log == NULL)
		return;
	size_t len = fread(text, 1, LOG_SHOWN, log);
	fclose(log);
	text[len] = '\0';
	if (len > 0)
		cli_error("%s", text);
}

/* The port that it took: 0 = it does not listen yet. */
static unsigned read_port(const struct replay_l2 *l2)
{
	FILE *file = fopen(l2->port_file, "r");
	unsigned port = 0;

	if (file == NULL)
		return 0;
	if (fscanf(file, "%5u", &port) != 1)
		port = 0;
	fclose(file);
	return port;
}

static int name_paths(struct replay_l2 *l2, const char *dir)
{
	int len = snprintf(l2->dir, sizeof(l2->dir), "%s/l2", dir);
	if (len < 0 || (size_t)len + sizeof("/l2d.log") > sizeof(l2->dir))
		return -1;
	snprintf(l2->port_file, sizeof(l2->port_file), "%.*s/port", len, l2->dir);
	snprintf(l2->log, sizeof(l2->log), "%.*s/l2d.log", len, l2->dir);
	return 0;
}

/* The directories of cache and service; what an earlier run left of port and log would mislead us. */
static int prepare(struct replay_l2 *l2, const char *dir)
{
	if (name_paths(l2, dir) < 0) {
		cli_error("%s: too long a path for the directory of L2", dir);
		return -1;
	}
	if ((mkdir(dir, 0700) < 0 && errno != EEXIST) || (mkdir(l2->dir, 0700) < 0 && errno != EEXIST)) {
		cli_error("%s cannot be made: %s", l2->dir, strerror(errno));
		return -1;
	}
	unlink(l2->port_file);
	unlink(l2->log);
	return 0;
}

static int await_port(struct replay_l2 *l2)
{
	int64_t end_ns = replay_now_ns() + LISTEN_NS;
	unsigned port = 0;

	while ((port = read_port(l2)) == 0 && replay_now_ns() < end_ns && !cli_interrupted) {
		if (waitpid(l2->pid, NULL, WNOHANG) == l2->pid) {
			l2->pid = 0;
			break;
		}
		nap();
	}
	if (port == 0)
		return -1;
	snprintf(l2->address, sizeof(l2->address), "127.0.0.1:%u", port);
	return 0;
}

int replay_l2_start(const char *program, const char *size, const char *dir, struct replay_l2 *ret_l2)
{
	struct replay_l2 l2 = { .program = program, .size = size, .address = "127.0.0.1:0" };

	if (prepare(&l2, dir) < 0)
		return -1;
	if (launch(&l2) < 0) {
		cli_error("cannot start %s: %s", program, strerror(errno));
		return -1;
	}
	if (await_port(&l2) < 0) {
		if (!cli_interrupted) {
			cli_error("%s did not start:", program);
			say_log(&l2);
		}
		replay_l2_stop(&l2);
		return -1;
	}
	l2.wanted = 1;
	*ret_l2 = l2;
	return 0;
}

void replay_l2_kill(struct replay_l2 *l2)
{
	l2->wanted = 0;
	if (l2->pid <= 0)
		return;
	kill(-l2->pid, SIGKILL);
	l2->killed_ns = replay_now_ns();
}

void replay_l2_revive(struct replay_l2 *l2)
{
	if (l2->program == NULL || l2->wanted)
		return;
	l2->wanted = 1;
	l2->tries = 0;
	l2->due_ns = 0;
}

int replay_l2_buried(struct replay_l2 *l2, pid_t pid)
{
	if (l2->pid <= 0 || pid != l2->pid)
		return 0;
	l2->pid = 0;
	l2->due_ns = replay_now_ns() + AGAIN_NS;
	return 1;
}

void replay_l2_tick(struct replay_l2 *l2)
{
	int64_t now_ns = replay_now_ns();

	if (l2->pid > 0 && waitpid(l2->pid, NULL, WNOHANG) == l2->pid)
		replay_l2_buried(l2, l2->pid);
	if (!l2->wanted || l2->pid != 0 || l2->lost || now_ns < l2->due_ns)
		return;
	if (l2->tries++ == TRIES_MAX) {
		l2->lost = 1;
		cli_error("%s does not stay: %s has what it said", l2->program, l2->log);
		return;
	}
	if (launch(l2) < 0)
		l2->due_ns = now_ns + AGAIN_NS;
	else if (l2->killed_ns != 0)
		l2->returned_ns = now_ns;
}

static int has_ended(pid_t pid)
{
	siginfo_t info = { .si_pid = 0 };
	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid != 0;
}

void replay_l2_stop(struct replay_l2 *l2)
{
	int64_t end_ns = replay_now_ns() + STOP_NS;

	l2->wanted = 0;
	if (l2->pid <= 0)
		return;
	kill(l2->pid, SIGTERM);
	while (!has_ended(l2->pid) && replay_now_ns() < end_ns)
		nap();
	/* Whoever is left of it. Not waited for yet, its master still has the number, so no other group can have it. */
	kill(-l2->pid, SIGKILL);
	while (waitpid(l2->pid, NULL, 0) < 0 && errno == EINTR)
		;
	l2->pid = 0;
}
