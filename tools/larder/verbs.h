/* SPDX-License-Identifier: MIT */
/**
 * The verbs: verb_NAME() runs `larder NAME ...` with argv[0] = NAME and returns an exit code of enum cli_exit.
 */
#ifndef LARDER_VERBS_H
#define LARDER_VERBS_H

#define VERB(name, text) int verb_##name(int argc, char **argv);
#include "verbs.def"
#undef VERB

#endif
