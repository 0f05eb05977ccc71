/* SPDX-License-Identifier: MIT */
/*
 * The progress line (progress.h): stderr only, so that stdout stays what the verb prints.
 */
#include "progress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "human.h"

#define TERMINAL_EVERY_NS INT64_C(100000000)
#define PLAIN_EVERY_NS INT64_C(1000000000)

static int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void progress_start(struct progress *progress, const char *what, const char *unit, enum progress_wanted wanted)
{
	memset(progress, 0, sizeof *progress);
	progress->what = what;
	progress->unit = unit;
	progress->terminal = isatty(STDERR_FILENO);
	progress->shown = wanted == PROGRESS_AUTO ? progress->terminal : wanted == PROGRESS_ON;
	progress->began_ns = progress->drawn_ns = now_ns();
}

double progress_seconds(const struct progress *progress)
{
	return (double)(now_ns() - progress->began_ns) / 1e9;
}

/* "  42 %, 9s left", or nothing where the total is unknown. */
static void share_and_rest(const struct progress *progress, double rate, char *buffer, size_t size)
{
	char rest[HUMAN_SIZE];
	uint64_t left = progress->total > progress->done ? progress->total - progress->done : 0;
	buffer[0] = '\0';
	if (progress->total == 0)
		return;
	double share = left ? 100.0 * (double)progress->done / (double)progress->total : 100.0;
	double left_ms = rate > 0 ? (double)left * 1000 / rate : 0;
	if (left && rate > 0 && left_ms < 1e14)
		snprintf(buffer, size, "  %.0f %%  %s left", share, human_duration(rest, left_ms < 1000 ? 1000 : (int64_t)left_ms));
	else
		snprintf(buffer, size, "  %.0f %%", share);
}

static void draw_briefly(struct progress *progress)
{
	double share = progress->total ? 100.0 * (double)progress->done / (double)progress->total : 0;

	fprintf(stderr, "%s%.0f %%  %s%s", progress->terminal ? "\r" : "", share, progress->note, progress->terminal ? "\033[K" : "\n");
	fflush(stderr);
	progress->drawn = progress->terminal;
}

static void draw(struct progress *progress)
{
	char done[HUMAN_SIZE], total[HUMAN_SIZE], rate_text[HUMAN_SIZE], rest[80];
	double seconds = progress_seconds(progress);
	double rate = seconds > 0 ? (double)progress->done / seconds : 0;
	share_and_rest(progress, rate, rest, sizeof rest);
	human_count(done, progress->done);
	human_count(total, progress->total);
	human_count(rate_text, (uint64_t)rate);
	fprintf(stderr, "%s%s: %s%s%s %s%s  %s/s%s%s%s", progress->terminal ? "\r" : "", progress->what, done,
	        progress->total ? " of " : "", progress->total ? total : "", progress->unit, rest, rate_text,
	        progress->note[0] ? "  " : "", progress->note, progress->terminal ? "\033[K" : "\n");
	fflush(stderr);
	progress->drawn = progress->terminal;
}

void progress_step(struct progress *progress, uint64_t done, uint64_t total)
{
	progress->done = done;
	progress->total = total;
	if (!progress->shown)
		return;
	int64_t now = now_ns();
	if (now - progress->drawn_ns < (progress->terminal ? TERMINAL_EVERY_NS : PLAIN_EVERY_NS))
		return;
	progress->drawn_ns = now;
	if (progress->brief)
		draw_briefly(progress);
	else
		draw(progress);
}

void progress_note(struct progress *progress, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(progress->note, sizeof progress->note, format, arguments);
	va_end(arguments);
}

void progress_hide(struct progress *progress)
{
	if (!progress->drawn)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	progress->drawn = 0;
}

void progress_end(struct progress *progress)
{
	/* Who asked for progress without a terminal gets at least the last line, however short the work was. */
	if (progress->shown && !progress->terminal && progress->brief)
		draw_briefly(progress);
	else if (progress->shown && !progress->terminal)
		draw(progress);
	progress_hide(progress);
	progress->shown = 0;
}
