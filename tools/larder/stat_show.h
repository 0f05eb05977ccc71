/* SPDX-License-Identifier: MIT */
/**
 * The sections of `larder stat`. Each asks the inspector and prints, or adds a member to a JSON object.
 *
 * They return 0, or a result of larder that the section could not be got with; -1000 out of memory.
 */
#ifndef LARDER_STAT_SHOW_H
#define LARDER_STAT_SHOW_H

#include "cli.h"

#define STAT_OUT_OF_MEMORY (-1000)

/** json NULL: print on stdout, with a heading; first: no blank line before it; asked: the sections were named on the command line. */
struct stat_out {
	larder_inspector *inspector;
	json_t *json;
	int first;
	int asked;
};

int stat_cache(struct stat_out *out);
int stat_counters(struct stat_out *out);
int stat_l2(struct stat_out *out);
int stat_tenants(struct stat_out *out);
int stat_slots(struct stat_out *out);
int stat_readers(struct stat_out *out);

#endif
