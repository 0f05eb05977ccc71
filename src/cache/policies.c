/* SPDX-License-Identifier: MIT */
/*
 * Takes up LARDER_SPACES_FILE when it changes. Called by whatever call finds that half a second has passed; it must never wait, for a lock or for
 * another thread, and never leave a call without policies: until the new ones are whole, the old ones hold.
 *
 * Noticed are another file at the path and writes to the same one, by device, inode, size and both times. Times have a grain, so a file that was
 * changed in the grain before it was read is read again at the next look, when whatever came after the first read has another time or is
 * seen in the bytes. So a half-written file is refused, and what it becomes is taken up.
 *
 * Races, with R reading a state and N taking up a new one, which goes where the state before the present one is:
 *
 *   R  version is v   pin(v & 1)   version still v ?  yes: read, unpin     no: unpin, from the beginning
 *   N                      version = v + 1                 pins of (v & 1) are 0 ?   yes: free it, version = v + 2    no: at the next look
 *
 * All four are sequentially consistent: either R's second look at the version sees v + 1, and R touches nothing, or N sees R's pin.
 *
 *   fork while another thread pins or holds the lock    both words have the generation of the process in them: in the child they count for nothing.
 *   fork while another thread takes up a new state      turns[(v + 1) & 1] has the old state, none or the new one in the child, which is not in force
 *                                                       before the version says so; the mark is the old one until then, so it reads anew.
 *   fork while another thread writes a twin             the half that is good is not the one that is written; the other is written anew.
 */
#include "cache/policies.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/key.h"

/* A change is seen within EVERY_MS and the call that is then made. Times of files have a grain of a kernel's tick, or of two seconds where they have
 * no nanoseconds. A file from the future, by this host's clock, is read again a few times only. */
enum { EVERY_MS = 500, GRAIN_MS = 100, COARSE_GRAIN_MS = 2100, UNSETTLED_LOOKS = 5, PATH_ROOM = 4096 };
/* Of a log line of 1,024 bytes: what its other fields leave for faults. */
enum { FAULTS_ROOM = 600 };

#define PIN_BITS 24
#define PIN_COUNT ((UINT64_C(1) << PIN_BITS) - 1)

/* ---- pins ---- */

/* Of the process generation, in the upper bits of a pin word: a product's upper bits depend on all of its bits. */
static uint64_t pinner(void)
{
	return ld_process_generation() * UINT64_C(0x9e3779b97f4a7c15) & ~PIN_COUNT;
}

static void pin(_Atomic uint64_t *pins)
{
	uint64_t mine = pinner(), word = atomic_load(pins);

	while (!atomic_compare_exchange_weak(pins, &word, (word & ~PIN_COUNT) == mine ? word + 1 : mine + 1))
		;
}

static void unpin(_Atomic uint64_t *pins)
{
	uint64_t mine = pinner(), word = atomic_load(pins);

	while ((word & ~PIN_COUNT) == mine && word & PIN_COUNT && !atomic_compare_exchange_weak(pins, &word, word - 1))
		;
}

static int is_pinned(_Atomic uint64_t *pins)
{
	uint64_t word = atomic_load(pins);

	return (word & ~PIN_COUNT) == pinner() && word & PIN_COUNT;
}

const struct ld_spaces *ld_policies_pin(struct ld_policies *policies, uint64_t *ret_version)
{
	for (;;) {
		uint64_t version = atomic_load(&policies->version);
		struct ld_policies_turn *turn = &policies->turns[version & 1];

		pin(&turn->pins);
		if (atomic_load(&policies->version) == version) {
			*ret_version = version;
			return atomic_load(&turn->spaces);
		}
		unpin(&turn->pins);
	}
}

void ld_policies_unpin(struct ld_policies *policies, uint64_t version)
{
	unpin(&policies->turns[version & 1].pins);
}

/* ---- twins ---- */

void ld_twin_write(struct ld_twin *twin, uint64_t version, const void *data, size_t size)
{
	uint64_t turn = atomic_load_explicit(&twin->turn, memory_order_relaxed) + 1, words[LD_TWIN_WORDS] = { 0 };
	_Atomic uint64_t *half = twin->halves[turn & 1];

	memcpy(words, data, size);
	/* release, each: who sees one of them sees, by the acquire below, that the turn before this one was over. */
	atomic_store_explicit(&half[0], version, memory_order_release);
	for (size_t i = 0; i < size / sizeof(*words); i++)
		atomic_store_explicit(&half[1 + i], words[i], memory_order_release);
	atomic_store_explicit(&twin->turn, turn, memory_order_release);
}

int ld_twin_read(const struct ld_twin *twin, void *ret_data, size_t size, uint64_t *ret_version)
{
	uint64_t words[LD_TWIN_WORDS], version, turn = atomic_load_explicit(&twin->turn, memory_order_acquire), before;

	do {
		const _Atomic uint64_t *half = twin->halves[turn & 1];

		if (turn == 0)
			return 0;
		version = atomic_load_explicit(&half[0], memory_order_acquire);
		for (size_t i = 0; i < size / sizeof(*words); i++)
			words[i] = atomic_load_explicit(&half[1 + i], memory_order_acquire);
		before = turn;
		turn = atomic_load_explicit(&twin->turn, memory_order_acquire);
	} while (turn != before);
	memcpy(ret_data, words, size);
	*ret_version = version;
	return 1;
}

/* ---- the file ---- */

static int64_t ns_of(const struct timespec *time)
{
	return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

static struct ld_file_mark mark_of(const struct stat *st)
{
	return (struct ld_file_mark){ st->st_dev, st->st_ino, (uint64_t)st->st_size, ns_of(&st->st_mtim), ns_of(&st->st_ctim) };
}

static int is_same(const struct ld_file_mark *a, const struct ld_file_mark *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}

/* May the file have been changed again within the same grain of its times? Its own clock may be another host's, ahead of ours. */
static int is_fresh(const struct ld_file_mark *mark, int64_t wall_ms)
{
	int64_t grain_ms = mark->modified_ns % 1000000000 == 0 && mark->changed_ns % 1000000000 == 0 ? COARSE_GRAIN_MS : GRAIN_MS;

	return wall_ms - mark->changed_ns / 1000000 < grain_ms;
}

/* What was read, and whether to read it once more. */
static void note(struct ld_policies *policies, const struct ld_file_mark *mark, const unsigned char digest[32], int64_t wall_ms)
{
	if (!is_same(mark, &policies->mark))
		policies->unsettled = UNSETTLED_LOOKS;
	else if (policies->unsettled > 0)
		policies->unsettled--;
	if (!is_fresh(mark, wall_ms))
		policies->unsettled = 0;
	policies->mark = *mark;
	memcpy(policies->digest, digest, sizeof(policies->digest));
}

/* ---- telling ---- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* All faults, in as many lines as they need. The path comes last: the longest does not fit, and the faults matter more. */
static void tell_faults(const struct ld_policies *policies, const struct ld_log *log, const char *faults)
{
	char part[FAULTS_ROOM + 1];

	while (*faults) {
		size_t len = strlen(faults);

		if (len > FAULTS_ROOM) {
			len = FAULTS_ROOM;
			while (len > 1 && faults[len] != '\n')
				len--;
			len = len > 1 ? len : FAULTS_ROOM;
		}
		memcpy(part, faults, len);
		part[len] = '\0';
		for (char *end = part; (end = strchr(end, '\n')) != NULL;)
			*end = ';';
		LD_LOG(log, LARDER_LOG_WARN, "spaces_refused", NULL, LD_T("faults", part), LD_T("file", policies->path),);
		faults += len;
		faults += *faults == '\n';
	}
}

/* Once for each change: the same fault of the same file is not told again. 1 if it was told. */
static int refuse(struct ld_policies *policies, const struct ld_log *log, const struct ld_file_mark *mark, int rc, const struct ld_problems *problems)
{
	const char *faults = rc == LARDER_E_NOMEM || !problems->text ? "out of memory" : problems->text;
	unsigned char digest[32], both[sizeof(digest) + sizeof(*mark)];

	ld_key_sha256(faults, strlen(faults), digest);
	memcpy(both, digest, sizeof(digest));
	memcpy(both + sizeof(digest), mark, sizeof(*mark));
	ld_key_sha256(both, sizeof(both), digest);
	if (memcmp(digest, policies->told, sizeof(digest)) == 0)
		return 0;
	memcpy(policies->told, digest, sizeof(digest));
	tell_faults(policies, log, faults);
	return 1;
}

/* Removed, or out of reach since chroot() or seccomp: no fault of the file's, so it is told once, as what an operator may want to know. */
static void tell_unseen(struct ld_policies *policies, const struct ld_log *log)
{
	if (policies->unseen)
		return;
	policies->unseen = 1;
	LD_LOG(log, LARDER_LOG_INFO, "spaces_unseen", NULL, LD_T("file", policies->path),);
}

/* ---- looking ---- */

/* What stood there has no reader. Whenever another thread forks in here, it is a whole state in the child, or NULL. */
static void take_over(struct ld_policies *policies, struct ld_spaces *spaces)
{
	uint64_t version = atomic_load(&policies->version) + 1;
	struct ld_policies_turn *turn = &policies->turns[version & 1];

	ld_spaces_free(atomic_exchange(&turn->spaces, NULL));
	atomic_store(&turn->spaces, spaces);
	atomic_store(&policies->version, version);
}

/* Take up what was read, if it is not what was read last. 0, or what is wrong. Without memory nothing is known of it: the next look reads it again. */
static int take_text(struct ld_policies *policies, const struct ld_spaces_text *text, const struct ld_file_mark *mark, const struct ld_log *log,
    struct ld_problems *problems, enum ld_policies_look *ret_result)
{
	struct ld_spaces *spaces = NULL;
	unsigned char digest[32];
	int rc = 0;

	ld_key_sha256(text->json, text->len, digest);
	if (memcmp(digest, policies->digest, sizeof(digest)) != 0)
		rc = ld_spaces_parse(text->json, text->len, base_name(policies->path), &spaces, problems);
	if (rc == 0 && spaces) {
		take_over(policies, spaces);
		memset(policies->told, 0, sizeof(policies->told));
		LD_LOG(log, LARDER_LOG_INFO, "spaces_reloaded", NULL, LD_N("reloads", ld_policies_version(policies)), LD_T("file", policies->path),);
		*ret_result = LD_POLICIES_NEW;
	}
	if (rc != LARDER_E_NOMEM)
		note(policies, mark, digest, ld_clock_wall_ms());
	return rc;
}

/* With the lock. */
static enum ld_policies_look look(struct ld_policies *policies, const struct ld_log *log)
{
	struct ld_problems problems = { 0 };
	struct ld_spaces_text text = { 0 };
	enum ld_policies_look result = LD_POLICIES_SAME;
	struct ld_file_mark mark;
	struct stat st;
	int rc;

	if (stat(policies->path, &st) != 0) {
		tell_unseen(policies, log);
		return LD_POLICIES_SAME;
	}
	policies->unseen = 0;
	mark = mark_of(&st);
	if ((is_same(&mark, &policies->mark) && policies->unsettled == 0) ||
	    is_pinned(&policies->turns[(atomic_load(&policies->version) + 1) & 1].pins))
		return LD_POLICIES_SAME;
	rc = ld_spaces_read(policies->path, base_name(policies->path), &text, &problems);
	if (rc == 0) {
		mark = mark_of(&text.status);
		rc = take_text(policies, &text, &mark, log, &problems, &result);
	}
	if (rc != 0 && refuse(policies, log, &mark, rc, &problems))
		result = LD_POLICIES_REFUSED;
	ld_spaces_text_free(&text);
	ld_problems_free(&problems);
	return result;
}

enum ld_policies_look ld_policies_look(struct ld_policies *policies, const struct ld_log *log)
{
	int64_t due_ms = atomic_load(&policies->look_ms), now_ms = ld_clock_coarse_ms();
	enum ld_policies_look result;

	if (now_ms < due_ms || !atomic_compare_exchange_strong(&policies->look_ms, &due_ms, now_ms + EVERY_MS))
		return LD_POLICIES_SAME;
	if (ld_process_lock(&policies->lock, 0) != 0)
		return LD_POLICIES_SAME;
	result = look(policies, log);
	ld_process_unlock(&policies->lock);
	return result;
}

/* ---- opening ---- */

/* A daemon goes to another directory after it has opened. */
static char *absolute(const char *path)
{
	char here[PATH_ROOM], *made;
	size_t size;

	if (path[0] == '/' || !getcwd(here, sizeof(here)))
		return ld_strdup(path);
	size = strlen(here) + strlen(path) + 2;
	made = ld_malloc(size);
	if (made)
		(void)snprintf(made, size, "%s/%s", here, path);
	return made;
}

int ld_policies_open(struct ld_policies *policies, const char *path, struct ld_problems *problems)
{
	struct ld_spaces *spaces = NULL;
	struct ld_spaces_text text = { 0 };
	unsigned char digest[32];
	struct ld_file_mark mark;
	int rc;

	if (!path || !*path)
		rc = ld_spaces_load(NULL, &spaces, problems);
	else
		rc = ld_spaces_read(path, path, &text, problems);
	if (rc == 0 && text.json) {
		rc = ld_spaces_parse(text.json, text.len, path, &spaces, problems);
		policies->path = rc == 0 ? absolute(path) : NULL;
		rc = rc == 0 && !policies->path ? LARDER_E_NOMEM : rc;
		mark = mark_of(&text.status);
		ld_key_sha256(text.json, text.len, digest);
		note(policies, &mark, digest, ld_clock_wall_ms());
		atomic_store(&policies->look_ms, ld_clock_coarse_ms() + EVERY_MS);
	}
	atomic_store(&policies->turns[0].spaces, spaces);
	ld_spaces_text_free(&text);
	return rc;
}

void ld_policies_close(struct ld_policies *policies)
{
	ld_spaces_free(atomic_load(&policies->turns[0].spaces));
	ld_spaces_free(atomic_load(&policies->turns[1].spaces));
	free(policies->path);
	memset(policies, 0, sizeof(*policies));
}
