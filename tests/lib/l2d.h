/* SPDX-License-Identifier: MIT */
/**
 * larder-l2d for tests in C: started on a free port of loopback, ended with the test. $L2D names it, else it is ./larder-l2d, where make leaves it. Needs
 * lib/team.h's deadlines.
 *
 *     struct l2d l2d;
 *     if (!l2d_start(&l2d, team_directory()))
 *             skip();
 *     ... l2d.url ...
 *     l2d_stop(&l2d);
 */
#ifndef LARDER_TESTS_LIB_L2D_H
#define LARDER_TESTS_LIB_L2D_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/team.h"

struct l2d {
	pid_t pid;
	char url[80], dir[300], port_file[320];
};

static inline int l2d_port(const struct l2d *l2d)
{
	FILE *file = fopen(l2d->port_file, "r");
	int port = 0;

	if (file) {
		if (fscanf(file, "%d", &port) != 1)
			port = 0;
		(void)fclose(file);
	}
	return port;
}

/** dir: one of its own, made by the caller. 1; 0 when there is no larder-l2d; one that does not come up fails the test. */
static inline int l2d_start(struct l2d *l2d, const char *dir)
{
	const char *program = getenv("L2D") ? getenv("L2D") : "./larder-l2d";

	if (access(program, X_OK) != 0)
		return 0;
	(void)snprintf(l2d->dir, sizeof(l2d->dir), "%s/l2d", dir);
	(void)snprintf(l2d->port_file, sizeof(l2d->port_file), "%s/port", dir);
	l2d->pid = fork();
	TEAM_CHECK(l2d->pid >= 0);
	if (l2d->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
		(void)execl(program, "larder-l2d", "--dir", l2d->dir, "--size", "64M", "--listen", "127.0.0.1:0", "--port-file", l2d->port_file,
		    "--workers", "2", (char *)NULL);
		_exit(127);
	}
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, l2d_port(l2d) != 0));
	(void)snprintf(l2d->url, sizeof(l2d->url), "L2_URL=http://127.0.0.1:%d", l2d_port(l2d));
	return 1;
}

static inline void l2d_stop(struct l2d *l2d)
{
	(void)kill(l2d->pid, SIGTERM);
	(void)team_end(l2d->pid);
}

#endif
