/* SPDX-License-Identifier: MIT */
/**
 * The master: it has opened everything, forks the workers, replaces those that die, and ends them all.
 */
#ifndef L2D_MASTER_H
#define L2D_MASTER_H

#include "worker.h"

/**
 * Serve until SIGTERM or SIGINT; a second one cuts off what still runs.
 *
 * Returns   0 stopped in good order; 1 a worker had to be killed
 */
int l2d_master_run(struct l2d_service *service);

#endif
