/* SPDX-License-Identifier: MIT */
/**
 * One line on stderr that tells how far a long work is: done, total, share, rate, time left. On a terminal it is rewritten in place
 * at most ten times a second; elsewhere, if asked for, it is a line of its own once a second.
 *
 *     struct progress progress;
 *     progress_start(&progress, "dump", "entries", PROGRESS_AUTO);
 *     progress_step(&progress, done, total);         as often as you like
 *     progress_end(&progress);                       before anything else is printed
 */
#ifndef LARDER_PROGRESS_H
#define LARDER_PROGRESS_H

#include <stdint.h>

enum progress_wanted {
	PROGRESS_AUTO = -1,       /**< when stderr is a terminal */
	PROGRESS_OFF = 0,
	PROGRESS_ON = 1
};

struct progress {
	const char *what;         /**< borrowed, "dump" */
	const char *unit;         /**< borrowed, "entries" */
	int shown;                /**< 0: silent */
	int terminal;
	int brief;                /* set it after progress_start(): only the share, then the note */
	int drawn;                /**< there is a line on the terminal that is to be wiped */
	int64_t began_ns;
	int64_t drawn_ns;
	uint64_t done;
	uint64_t total;
	char note[80];            /**< more for the end of the line */
};

void progress_start(struct progress *progress, const char *what, const char *unit, enum progress_wanted wanted);
/** total 0 = unknown: no share and no time left. */
void progress_step(struct progress *progress, uint64_t done, uint64_t total);
/** A text for the end of the line, such as "hit 93.1 %", from the next step on; cut at 79 bytes. */
void progress_note(struct progress *progress, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Wipe the line from the terminal so that another line can be printed; the next step draws it again. */
void progress_hide(struct progress *progress);
/** Hide it for good. */
void progress_end(struct progress *progress);
/** Seconds since progress_start(). */
double progress_seconds(const struct progress *progress);

#endif
