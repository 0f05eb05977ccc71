/* SPDX-License-Identifier: MIT */
/* Events on stderr (log.h). It must never fail its caller: what cannot be written is lost. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 1000

static enum larder_log_level most = LARDER_LOG_WARN;

void l2d_log_level(enum larder_log_level level)
{
	most = level;
}

static void put_line(char *line, size_t len)
{
	line[len] = '\n';
	ssize_t written = write(STDERR_FILENO, line, len + 1);
	(void)written;
}

/* What snprintf() wanted to write, made into what it did. */
static size_t fitted(int wanted, size_t room)
{
	return wanted < 0 ? 0 : (size_t)wanted < room ? (size_t)wanted : room - 1;
}

static size_t put_first_fields(char *line, enum larder_log_level level, const char *event)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	struct timespec now;
	struct tm parts;
	char date[32] = "";

	clock_gettime(CLOCK_REALTIME, &now);
	if (gmtime_r(&now.tv_sec, &parts) != NULL)
		strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &parts);
	return fitted(snprintf(line, LINE_SIZE, "ts=%s.%03ldZ level=%s event=%s pid=%ld", date, now.tv_nsec / 1000000, names[level], event,
	    (long)getpid()), LINE_SIZE);
}

void l2d_log(enum larder_log_level level, const char *event, const char *format, ...)
{
	char line[LINE_SIZE + 1];
	va_list arguments;

	if (level > most)
		return;
	size_t len = put_first_fields(line, level, event);
	if (*format && len + 2 < LINE_SIZE) {
		line[len++] = ' ';
		va_start(arguments, format);
		len += fitted(vsnprintf(line + len, LINE_SIZE - len, format, arguments), LINE_SIZE - len);
		va_end(arguments);
	}
	put_line(line, len);
}

void l2d_log_line(void *ctx, enum larder_log_level level, const char *line)
{
	char copy[1100];
	size_t len = strnlen(line, sizeof(copy) - 1);

	(void)ctx;
	if (level > most)
		return;
	memcpy(copy, line, len);
	put_line(copy, len);
}

void l2d_complain(const char *format, ...)
{
	char line[LINE_SIZE + 1];
	va_list arguments;
	size_t len = fitted(snprintf(line, LINE_SIZE, "larder-l2d: "), LINE_SIZE);

	va_start(arguments, format);
	len += fitted(vsnprintf(line + len, LINE_SIZE - len, format, arguments), LINE_SIZE - len);
	va_end(arguments);
	put_line(line, len);
}
