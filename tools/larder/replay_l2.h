/* SPDX-License-Identifier: MIT */
/**
 * The second level that `larder replay --l2d` starts for itself: larder-l2d on a free port of the loopback, with its directory in the cache's. It is
 * killed with its workers, started again at the same port and directory, and stopped at the end; whatever happens to us, the kernel ends it with us.
 *
 *     replay_l2_start() --> { replay_l2_kill() --> replay_l2_revive() }... --> replay_l2_stop()
 *                              replay_l2_buried() and replay_l2_tick() in between
 *
 * Only for the single-threaded master. All zero means: there is none; every call but start does nothing then.
 */
#ifndef LARDER_TOOL_REPLAY_L2_H
#define LARDER_TOOL_REPLAY_L2_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

struct replay_l2 {
	const char *program;      /* borrowed */
	const char *size;         /* borrowed; NULL = its own default */
	char dir[PATH_MAX];       /* DIR/l2 */
	char port_file[PATH_MAX]; /* DIR/l2/port */
	char log[PATH_MAX];       /* DIR/l2/l2d.log: what it says */
	char address[64];         /* "127.0.0.1:PORT" */
	pid_t pid;                /* 0 = does not run. Leader of its process group */
	int wanted;               /* it is to run */
	int lost;                 /* it ended by itself, too often */
	unsigned tries;           /* starts in a row that failed */
	int64_t due_ns;           /* when the next try is */
	int64_t killed_ns;        /* by replay_l2_kill(); 0 = not yet */
	int64_t returned_ns;      /* when it was started anew; 0 = not yet */
};

/**
 * Start it, and wait until it listens.
 *
 * program   larder-l2d, as execvp() finds it
 * size      of its cache, or NULL
 * dir       of our cache; made with mode 0700 if it is missing
 * ret_l2    on 0: to be stopped with replay_l2_stop(); address is what goes into LARDER_L2_URL after http://
 *
 * Returns   0; -1, said on stderr, with nothing left running
 * Blocks    until it listens, 20 seconds at most
 */
int replay_l2_start(const char *program, const char *size, const char *dir, struct replay_l2 *ret_l2);

/** End it and its workers with SIGKILL. */
void replay_l2_kill(struct replay_l2 *l2);
/** Let it run again: the start is made by the next replay_l2_tick(). */
void replay_l2_revive(struct replay_l2 *l2);
/** Somebody else has waited for a child: was it this? Then 1. */
int replay_l2_buried(struct replay_l2 *l2, pid_t pid);
/** Start it if it is to run and does not. */
void replay_l2_tick(struct replay_l2 *l2);

/** Stop it: SIGTERM, and SIGKILL to those that are not done five seconds later. */
void replay_l2_stop(struct replay_l2 *l2);

#endif
