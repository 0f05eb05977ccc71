/* SPDX-License-Identifier: MIT */
/*
 * The words for results, and the thread's last reason. Called by applications, tools and the log. One row a result: a number
 * that has none is answered as unknown, never with NULL.
 */
#include "base/errors.h"

#include <stdlib.h>

struct row {
	int result;
	enum larder_error_class class;
	const char *name;
	const char *text;
};

#define ROW(result, class, text) { result, LARDER_CLASS_##class, #result, text }
static const struct row rows[] = {
	ROW(LARDER_OK, NONE, "done"),
	ROW(LARDER_STALE, NONE, "a stale value"),
	ROW(LARDER_MISS, NONE, "no such entry"),
	ROW(LARDER_ABSENT, NONE, "remembered as not found"),
	ROW(LARDER_EXISTS, NONE, "an entry is there already"),
	ROW(LARDER_UNAVAILABLE, NONE, "the cache could not answer"),
	ROW(LARDER_E_USAGE, USAGE, "an argument that no caller may pass"),
	ROW(LARDER_E_TENANT, USAGE, "the tenant id is malformed, empty or too long"),
	ROW(LARDER_E_SPACE_NAME, USAGE, "the space is malformed, empty or too long"),
	ROW(LARDER_E_NAME, USAGE, "the name is empty or too long"),
	ROW(LARDER_E_TTL, USAGE, "the TTL or stale window is out of bounds"),
	ROW(LARDER_E_TOO_LARGE, CAPACITY, "the value is larger than LARDER_MAX_VALUE"),
	ROW(LARDER_E_SPACE, CAPACITY, "the buffer is too small"),
	ROW(LARDER_E_SETTINGS, USAGE, "settings are out of bounds or contradict each other"),
	ROW(LARDER_E_SECRET, USAGE, "there is no secret, or it may not be used"),
	ROW(LARDER_E_REFUSED, REFUSED, "the directory, file or segment may not be used by this process"),
	ROW(LARDER_E_BUSY, AGAIN, "not done within its time"),
	ROW(LARDER_E_FULL, CAPACITY, "not done for want of room"),
	ROW(LARDER_E_IO, IO, "the store failed"),
	ROW(LARDER_E_CORRUPT, CORRUPT, "damage was found"),
	ROW(LARDER_E_NOMEM, CAPACITY, "out of memory"),
	ROW(LARDER_E_CLOSED, USAGE, "the handle is closed, or is no handle"),
	ROW(LARDER_E_BUG, BUG, "a defect in larder; please report it"),
	ROW(LARDER_E_LIMIT, AGAIN, "over the limit"),
	ROW(LARDER_E_L2, AGAIN, "missing here, and L2 could not be asked"),
	ROW(LARDER_E_LOAD, AGAIN, "missing, and the loader failed now or a moment ago"),
};
#undef ROW

static const char *const reasons[] = {
	[LARDER_REASON_NONE] = "no reason",
	[LARDER_REASON_ATTACH] = "the shared files cannot be opened just now",
	[LARDER_REASON_SLOTS] = "every process slot is taken: raise LARDER_WORKERS",
	[LARDER_REASON_READERS] = "every reader slot is taken: raise LARDER_WORKERS",
	[LARDER_REASON_READ_GATE] = "another process holds the reader table",
	[LARDER_REASON_WRITE_GATE] = "another process held the writer gate for longer than LARDER_WRITE_WAIT_MS",
	[LARDER_REASON_FULL] = "there is no room, and nothing could be evicted",
	[LARDER_REASON_PINNED] = "there is no room, because a reader that does not move pins freed pages",
	[LARDER_REASON_DISK] = "the file system is full, or failed",
	[LARDER_REASON_CORRUPT] = "the entry failed its checksum",
	[LARDER_REASON_NOMEM] = "the process is out of memory",
	[LARDER_REASON_OFF] = "the cache is off, or the key is outside the rollout",
	[LARDER_REASON_L2_TIMEOUT] = "L2 did not answer in time",
	[LARDER_REASON_L2_CONNECT] = "there is no connection to L2",
	[LARDER_REASON_L2_RESET] = "the connection to L2 broke",
	[LARDER_REASON_L2_TLS] = "no TLS with L2: a certificate was refused",
	[LARDER_REASON_L2_SERVER] = "L2 answered with a server error",
	[LARDER_REASON_L2_THROTTLED] = "L2 asks for fewer calls",
	[LARDER_REASON_L2_DENIED] = "L2 does not let us in: look at LARDER_L2_TOKEN_FILE",
	[LARDER_REASON_L2_REJECTED] = "L2 does not take the request",
	[LARDER_REASON_L2_BODY] = "an answer of L2 could not be read",
	[LARDER_REASON_L2_OPEN] = "the circuit breaker is open: L2 was not asked",
	[LARDER_REASON_L2_BUSY] = "no connection to L2 is free, or too many calls are under way",
};
_Static_assert(sizeof(reasons) / sizeof(reasons[0]) == LARDER_REASON_COUNT, "each reason has its text");

static _Thread_local enum larder_reason last_reason;
static _Thread_local int64_t last_retry_after_ms;

static const struct row *find(int result)
{
	/* A negative number that we never gave can only be a defect. */
	static const struct row unknown_error = { 0, LARDER_CLASS_BUG, "LARDER_E_UNKNOWN", "unknown error" };
	static const struct row unknown = { 0, LARDER_CLASS_NONE, "LARDER_UNKNOWN", "unknown result" };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].result == result)
			return &rows[i];
	}
	return result < 0 ? &unknown_error : &unknown;
}

const char *larder_strerror(int result)
{
	return find(result)->text;
}

const char *larder_result_name(int result)
{
	return find(result)->name;
}

enum larder_error_class larder_classify(int result)
{
	return find(result)->class;
}

void ld_reason_set(enum larder_reason reason)
{
	last_reason = reason;
}

void ld_retry_after_set(int64_t retry_after_ms)
{
	last_retry_after_ms = retry_after_ms;
}

void ld_retry_after_raise(int64_t retry_after_ms)
{
	if (retry_after_ms > last_retry_after_ms)
		last_retry_after_ms = retry_after_ms;
}

int64_t larder_retry_after(void)
{
	return last_retry_after_ms;
}

enum larder_reason larder_reason(void)
{
	return last_reason;
}

const char *larder_reason_text(enum larder_reason reason)
{
	return (unsigned)reason < LARDER_REASON_COUNT ? reasons[reason] : "unknown reason";
}

#define TEXT_OF(number) #number
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *larder_version(void)
{
	return VERSION_TEXT(LARDER_VERSION_MAJOR, LARDER_VERSION_MINOR, LARDER_VERSION_PATCH);
}

void larder_free(void *text)
{
	free(text);
}
