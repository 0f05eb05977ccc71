/* SPDX-License-Identifier: MIT */
/* Reads the file of `larder replay --trace` into memory. zlib's gz calls take gzip and plain alike. The file is not trusted:
 * a line of any length is cut where it stops being a key, damage and truncation are errors. Called once, in the master,
 * before it forks. */
#include "replay_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include <zlib.h>

#define CHUNK ((size_t)1 << 18)
#define PROGRESS_LINES 65536

/* The unread bytes are data[begin..end). A line that does not fit into CHUNK is no key: what is left of it is skipped. */
struct reader {
	gzFile file;
	char *data;
	size_t begin, end;
	int at_end;
	int skipping;             /* inside a line that was too long */
	uint64_t lines;
	uint64_t file_size;       /* 0 = unknown */
};

static int open_reader(struct reader *reader, const char *path, char *why, size_t why_size)
{
	struct stat st;
	int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || (S_ISDIR(st.st_mode) && (errno = EISDIR))) {
		snprintf(why, why_size, "%.200s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	reader->file_size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	reader->data = malloc(CHUNK);
	reader->file = reader->data ? gzdopen(fd, "rb") : NULL;
	if (reader->file == NULL) {
		snprintf(why, why_size, "out of memory");
		close(fd);
		return -1;
	}
	gzbuffer(reader->file, (unsigned)CHUNK);
	return 0;
}

static void close_reader(struct reader *reader)
{
	if (reader->file != NULL)
		gzclose_r(reader->file);
	free(reader->data);
}

/* Move the rest of a line to the front and read on. Returns 0, or -1 with why. */
static int refill(struct reader *reader, char *why, size_t why_size)
{
	memmove(reader->data, reader->data + reader->begin, reader->end - reader->begin);
	reader->end -= reader->begin;
	reader->begin = 0;
	if (reader->end == CHUNK) {
		reader->skipping = 1;
		reader->end = 0;
	}
	int got = gzread(reader->file, reader->data + reader->end, (unsigned)(CHUNK - reader->end));
	int code;
	const char *text = gzerror(reader->file, &code);
	/* A gzip file that ends too early is told as Z_BUF_ERROR beside a normal count of bytes. */
	if (got < 0 || code != Z_OK) {
		snprintf(why, why_size, "cannot be read to its end: %.100s", code == Z_ERRNO ? strerror(errno) : text);
		return -1;
	}
	reader->at_end = got == 0;
	reader->end += (size_t)got;
	return 0;
}

static int take_line(struct reader *reader, struct replay_trace *trace, const char *line, size_t len)
{
	const char *key;
	size_t key_len;
	reader->lines++;
	if (reader->skipping || !replay_line_key(trace->format, line, len, &key, &key_len)) {
		reader->skipping = 0;
		trace->skipped++;
		return 0;
	}
	return replay_trace_add(trace, key, key_len);
}

/* All whole lines of the buffer, and at the end of the file the last one, with or without its newline. */
static int take_lines(struct reader *reader, struct replay_trace *trace)
{
	while (reader->begin < reader->end) {
		const char *line = reader->data + reader->begin;
		size_t left = reader->end - reader->begin;
		const char *newline = memchr(line, '\n', left);
		size_t len = newline ? (size_t)(newline - line) : left;
		if (newline == NULL && !reader->at_end)
			break;
		if (take_line(reader, trace, line, len) < 0)
			return -1;
		reader->begin += newline ? len + 1 : len;
	}
	return 0;
}

/* From the share of the file that was read so far; the file may be compressed, so this is an estimate. */
static uint64_t expected_total(const struct reader *reader)
{
	z_off_t offset = gzoffset(reader->file);
	if (reader->file_size == 0 || offset <= 0)
		return 0;
	double share = (double)offset / (double)reader->file_size;
	return share >= 1 ? reader->lines : (uint64_t)((double)reader->lines / share);
}

static int read_all(struct reader *reader, struct replay_trace *trace, replay_trace_progress progress, void *ctx, char *why,
    size_t why_size)
{
	uint64_t told = 0;
	int first = 1;
	while (!reader->at_end) {
		if (refill(reader, why, why_size) < 0)
			return -1;
		if (first)
			trace->format = replay_format_detect(reader->data, reader->end);
		first = 0;
		if (take_lines(reader, trace) < 0) {
			snprintf(why, why_size, "out of memory, or more than 4 GB of keys, at line %llu",
			    (unsigned long long)reader->lines);
			return -1;
		}
		if (reader->lines - told >= PROGRESS_LINES) {
			told = reader->lines;
			if (progress(ctx, told, expected_total(reader)))
				return 1;
		}
	}
	if (trace->count == 0) {
		snprintf(why, why_size, "there is no key in it");
		return -1;
	}
	return 0;
}

int replay_trace_read(const char *path, replay_trace_progress progress, void *ctx, struct replay_trace *ret_trace, char *why,
    size_t why_size)
{
	struct reader reader = { 0 };
	struct replay_trace trace = { 0 };
	char reason[160];

	int r = open_reader(&reader, path, why, why_size);
	if (r == 0) {
		r = read_all(&reader, &trace, progress, ctx, reason, sizeof(reason));
		if (r < 0)
			snprintf(why, why_size, "%.200s: %s", path, reason);
	}
	close_reader(&reader);
	if (r != 0) {
		replay_trace_free(&trace);
		return r;
	}
	replay_trace_finish(&trace);
	*ret_trace = trace;
	return 0;
}
