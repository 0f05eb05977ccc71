/* SPDX-License-Identifier: MIT */
/*
 * Many processes at once: 127 and 1,000 attached readers that all get the right value; and what is told when the process slots or the reader
 * slots do not suffice, which heals when those who have them go, whether they end or are killed.
 *
 * Processes wait for each other at the end of a pipe, not by polling: a thousand that poll would be a load of their own. A thread is held inside a
 * look-up by a buffer whose memory cannot be written: the copying faults, and the handler waits there before it makes the memory writable.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/process.h"
#include "lib/sample.h"
#include "lib/team.h"
#include "unit/leave_out.h"

/*
 * With the fewest workers that may be set: slots = WORKERS + 16, readers = 2 * WORKERS + 16, as cache/open.c has it; but LMDB makes a whole page of
 * readers, fewer than 64, at once.
 */
enum { KEYS = 16, LEN = 3000, CROWD_MAX = 1000, FEW_SLOTS = 20, MANY_THREADS = 72, BUFFER_B = 4096 };

struct board {
	_Atomic uint32_t attached, right, waiting, turned_away;
	_Atomic int go_on;
};

static struct board *board;
static const char *dir;
static larder *cache;

/* Closing what the parent has of it lets all children go on. */
struct start_line {
	int ends[2];
};

static void draw_line(struct start_line *line)
{
	TEAM_CHECK(pipe(line->ends) == 0);
}

static void open_line(struct start_line *line)
{
	close(line->ends[1]);
	close(line->ends[0]);
}

/* The child's end of it too must be closed, or it would wait for itself. */
static void wait_at(struct start_line *line)
{
	char nothing;

	close(line->ends[1]);
	TEAM_CHECK(read(line->ends[0], &nothing, 1) == 0);
	close(line->ends[0]);
}

/* ---- the cache ---- */

static void begin(const char *workers)
{
	dir = team_directory();
	board = team_share(sizeof(*board));
	cache = team_open(dir, "SIZE=8M", workers, "TENANTS=16", "TTL=1h", "THREADS=0", "EVICTOR=inline", "WRITE_WAIT_MS=10s", NULL);
}

static void end(void)
{
	larder_close(cache);
	team_unshare(board, sizeof(*board));
	team_remove(dir);
}

static size_t name_of(unsigned key, char name[16])
{
	return (size_t)snprintf(name, 16, "key-%u", key);
}

static int set_key(larder_tenant *tenant, unsigned key, uint64_t version)
{
	unsigned char value[LEN];
	char name[16];

	sample_fill(value, sizeof(value), key, version);
	return larder_set(tenant, "crowd", name, name_of(key, name), value, sizeof(value), NULL, NULL);
}

static int get_key(larder_tenant *tenant, unsigned key)
{
	struct larder_value value = { 0 };
	uint64_t version;
	char name[16];
	int rc = larder_get(tenant, "crowd", name, name_of(key, name), NULL, &value);

	if (rc == 0)
		TEAM_CHECK(value.len == LEN && sample_wrong(value.data, value.len, key, &version) == NULL && version == 1);
	larder_value_free(&value);
	return rc;
}

static void fill(void *arg)
{
	larder_tenant *tenant = team_tenant(cache, "all");

	(void)arg;
	for (unsigned key = 0; key < KEYS; key++)
		TEAM_EXPECT(set_key(tenant, key, 1), 0);
	larder_tenant_close(tenant);
	larder_close(cache);
}

/* A thousand attach one after the other: a small machine that is busy with other things needs its time for that. */
enum { ATTACH_DEADLINE_MS = 4 * TEAM_DEADLINE_MS };

static int attaches_now(void)
{
	return TEAM_POLL(ATTACH_DEADLINE_MS, larder_attach(cache) == 0);
}

/* ---- a crowd ---- */

struct member {
	struct start_line start, leave;
};

static void be_member(void *arg)
{
	struct member *member = arg;
	larder_tenant *tenant;

	close(member->leave.ends[1]);
	wait_at(&member->start);
	TEAM_CHECK(attaches_now());
	atomic_fetch_add(&board->attached, 1);
	tenant = team_tenant(cache, "all");
	for (unsigned key = 0; key < KEYS; key++)
		TEAM_EXPECT(get_key(tenant, key), 0);
	atomic_fetch_add(&board->right, 1);
	TEAM_CHECK(read(member->leave.ends[0], &(char){ 0 }, 1) == 0);
}

static struct larder_summary summary_of(larder_inspector *inspector)
{
	struct larder_summary summary = { .size = sizeof(summary) };

	TEAM_EXPECT(larder_inspect_summary(inspector, &summary), 0);
	return summary;
}

static void expect_attached(uint32_t count)
{
	larder_inspector *inspector = team_inspect(dir);
	struct larder_summary summary = summary_of(inspector);

	TEAM_CHECK(summary.slots >= count && summary.slots <= count + 1);
	TEAM_CHECK(summary.readers >= count);
	larder_inspect_close(inspector);
}

/* All start at once, and stay until all have got everything. killed: how they go. */
static void make_crowd(uint32_t count, int killed)
{
	static pid_t pids[CROWD_MAX];
	struct member member;

	atomic_store(&board->attached, 0);
	atomic_store(&board->right, 0);
	draw_line(&member.start);
	draw_line(&member.leave);
	for (uint32_t i = 0; i < count; i++)
		pids[i] = team_start(be_member, &member);
	open_line(&member.start);
	if (!TEAM_POLL(ATTACH_DEADLINE_MS, atomic_load(&board->right) == count))
		TEAM_FAIL("of %u only %u attached, and %u got everything", count, atomic_load(&board->attached), atomic_load(&board->right));
	expect_attached(count);
	for (uint32_t i = 0; i < count && killed; i++)
		kill(pids[i], SIGKILL);
	open_line(&member.leave);
	for (uint32_t i = 0; i < count; i++)
		TEAM_EXPECT(team_end(pids[i]), killed ? 256 + SIGKILL : 0);
}

/* There are places for fewer than three crowds: the later ones need those that the first two, killed, have left behind. */
static void expect_crowds(const char *workers, uint32_t count)
{
	larder_inspector *inspector;

	begin(workers);
	team_run(fill, NULL);
	make_crowd(count, 1);
	make_crowd(count, 1);
	make_crowd(count, 0);
	inspector = team_inspect(dir);
	TEAM_CHECK(summary_of(inspector).slots_max < 3 * count && summary_of(inspector).readers_max < 3 * count);
	larder_inspect_close(inspector);
	end();
}

static void test_a_hundred_and_twenty_seven_readers(void **state)
{
	(void)state;
	expect_crowds("WORKERS=127", 127);
}

static void test_a_thousand_readers(void **state)
{
	(void)state;
	if (UNDER_SANITIZER)
		LEAVE_OUT("a thousand processes with the memory of a sanitizer");
	expect_crowds("WORKERS=1000", 1000);
}

/* ---- no slot left ---- */

/* Holds a slot; at the word of the parent looks whether what a newcomer could not store is served in its old form. */
static void hold_slot(void *arg)
{
	struct start_line *leave = arg;
	larder_tenant *tenant;

	TEAM_CHECK(attaches_now());
	tenant = team_tenant(cache, "all");
	atomic_fetch_add(&board->attached, 1);
	wait_at(leave);
	TEAM_EXPECT(get_key(tenant, 1), 0);
	TEAM_EXPECT(get_key(tenant, 2), LARDER_MISS);
	TEAM_EXPECT(get_key(tenant, 3), LARDER_MISS);
	atomic_fetch_add(&board->right, 1);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->go_on)));
}

static void expect_refused_for_slots(void *arg)
{
	struct start_line *leave = arg;
	larder_tenant *tenant = team_tenant(cache, "all");

	open_line(leave);
	TEAM_EXPECT(larder_attach(cache), LARDER_UNAVAILABLE);
	TEAM_EXPECT(larder_reason(), LARDER_REASON_SLOTS);
	TEAM_EXPECT(get_key(tenant, 1), LARDER_UNAVAILABLE);
	TEAM_EXPECT(larder_reason(), LARDER_REASON_SLOTS);
	TEAM_EXPECT(set_key(tenant, 2, 2), LARDER_UNAVAILABLE);
	TEAM_EXPECT(larder_reason(), LARDER_REASON_SLOTS);
	TEAM_EXPECT(larder_delete(tenant, "crowd", "key-3", 5, NULL), LARDER_E_BUSY);
	TEAM_EXPECT(larder_add(tenant, "crowd", "new", 3, "x", 1, NULL, NULL), LARDER_E_BUSY);
	TEAM_EXPECT(larder_reason(), LARDER_REASON_SLOTS);
	atomic_store(&board->waiting, 1);
	/* The same process, when others have gone. */
	TEAM_CHECK(attaches_now());
	TEAM_EXPECT(get_key(tenant, 1), 0);
	TEAM_EXPECT(get_key(tenant, 2), LARDER_MISS);
	TEAM_EXPECT(set_key(tenant, 2, 1), 0);
	TEAM_EXPECT(get_key(tenant, 2), 0);
}

static void expect_healing_of_slots(int killed)
{
	pid_t holders[FEW_SLOTS], refused;
	struct start_line leave;

	begin("WORKERS=4");
	team_run(fill, NULL);
	draw_line(&leave);
	for (unsigned i = 0; i < FEW_SLOTS; i++)
		holders[i] = team_start(hold_slot, &leave);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->attached) == FEW_SLOTS));
	refused = team_start(expect_refused_for_slots, &leave);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->waiting) || ld_process_state(refused) == 'Z'));
	open_line(&leave);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->right) == FEW_SLOTS));
	if (killed)
		team_kill(holders[FEW_SLOTS / 2]);
	else
		atomic_store(&board->go_on, 1);
	team_join(refused);
	atomic_store(&board->go_on, 1);
	for (unsigned i = 0; i < FEW_SLOTS; i++)
		if (!killed || i != FEW_SLOTS / 2)
			team_join(holders[i]);
	end();
}

static void test_no_slot_left_heals_when_one_is_killed(void **state)
{
	(void)state;
	expect_healing_of_slots(1);
}

static void test_no_slot_left_heals_when_they_end(void **state)
{
	(void)state;
	expect_healing_of_slots(0);
}

/* ---- no reader slot left ---- */

/* What SIGSEGV means in a process that holds readers: a thread has got as far as the copying. */
static void wait_in_copy(int sig, siginfo_t *info, void *context)
{
	void *page = (void *)((uintptr_t)info->si_addr & ~(uintptr_t)(BUFFER_B - 1));

	(void)sig;
	(void)context;
	atomic_fetch_add(&board->waiting, 1);
	while (!atomic_load(&board->go_on))
		team_pause();
	if (mprotect(page, BUFFER_B, PROT_READ | PROT_WRITE) != 0)
		_exit(3);
}

/* Until it gets in. */
static int read_into(larder_tenant *tenant, void *buffer, struct larder_value *ret_value)
{
	int rc;

	while ((rc = larder_get_into(tenant, "crowd", "key-0", 5, buffer, BUFFER_B, NULL, ret_value)) == LARDER_UNAVAILABLE) {
		TEAM_EXPECT(larder_reason(), LARDER_REASON_READERS);
		atomic_fetch_add(&board->turned_away, 1);
		team_pause();
	}
	return rc;
}

static void *read_slowly(void *arg)
{
	struct larder_value value = { 0 };
	void *buffer = mmap(NULL, BUFFER_B, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t version;

	TEAM_CHECK(buffer != MAP_FAILED);
	TEAM_EXPECT(read_into(arg, buffer, &value), 0);
	TEAM_CHECK(value.len == LEN && sample_wrong(buffer, value.len, 0, &version) == NULL);
	munmap(buffer, BUFFER_B);
	return NULL;
}

static pthread_t threads[MANY_THREADS];

static void start_reading(larder_tenant *tenant)
{
	struct sigaction action = { .sa_sigaction = wait_in_copy, .sa_flags = SA_SIGINFO };

	TEAM_CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
	for (unsigned i = 0; i < MANY_THREADS; i++)
		TEAM_CHECK(pthread_create(&threads[i], NULL, read_slowly, tenant) == 0);
}

static void end_reading(void)
{
	for (unsigned i = 0; i < MANY_THREADS; i++)
		TEAM_CHECK(pthread_join(threads[i], NULL) == 0);
}

/* One that is turned away has found all taken; and they stay so. */
static int are_all_taken(pid_t reader)
{
	return TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->turned_away) > 0 || ld_process_state(reader) == 'Z') &&
	    atomic_load(&board->turned_away) > 0;
}

/* More threads than there are readers. */
static void be_reader(void *arg)
{
	(void)arg;
	TEAM_CHECK(attaches_now());
	start_reading(team_tenant(cache, "all"));
	end_reading();
}

/* Has one reader itself, taken when there were some, and needs no other. */
static void expect_reads_with_own(void *arg)
{
	larder_tenant *tenant;

	(void)arg;
	TEAM_CHECK(attaches_now());
	tenant = team_tenant(cache, "all");
	atomic_store(&board->attached, 1);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->turned_away) > 0));
	TEAM_EXPECT(get_key(tenant, 1), 0);
	TEAM_EXPECT(set_key(tenant, 4, 1), 0);
	TEAM_EXPECT(get_key(tenant, 4), 0);
	TEAM_EXPECT(larder_delete(tenant, "crowd", "key-5", 5, NULL), 0);
	TEAM_EXPECT(get_key(tenant, 5), LARDER_MISS);
	/* Keeps it until the newcomer has asked. */
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->right) == 1));
}

static void expect_refused_for_readers(void *arg)
{
	larder_tenant *tenant = team_tenant(cache, "all");

	(void)arg;
	TEAM_EXPECT(get_key(tenant, 1), LARDER_UNAVAILABLE);
	TEAM_EXPECT(larder_reason(), LARDER_REASON_READERS);
	TEAM_EXPECT(set_key(tenant, 2, 2), LARDER_UNAVAILABLE);
	TEAM_EXPECT(larder_reason(), LARDER_REASON_READERS);
	atomic_store(&board->right, 1);
	TEAM_CHECK(attaches_now());
	TEAM_EXPECT(get_key(tenant, 1), 0);
	TEAM_EXPECT(get_key(tenant, 2), LARDER_MISS);
}

static void expect_healing_of_readers(int killed)
{
	pid_t reader, refused, own;

	begin("WORKERS=4");
	team_run(fill, NULL);
	own = team_start(expect_reads_with_own, NULL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->attached) == 1));
	reader = team_start(be_reader, NULL);
	TEAM_CHECK(are_all_taken(reader));
	refused = team_start(expect_refused_for_readers, NULL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->right) == 1 || ld_process_state(refused) == 'Z'));
	team_join(own);
	if (killed)
		team_kill(reader);
	atomic_store(&board->go_on, 1);
	if (!killed)
		team_join(reader);
	team_join(refused);
	end();
}

static void test_no_reader_left_heals_when_they_are_killed(void **state)
{
	(void)state;
	expect_healing_of_readers(1);
}

static void test_no_reader_left_heals_when_they_end(void **state)
{
	(void)state;
	expect_healing_of_readers(0);
}

/* Threads of one process: those that find no reader slot are told so, those that read go on, and then all read. */
static void read_with_too_many_threads(void *arg)
{
	larder_tenant *tenant;

	(void)arg;
	TEAM_CHECK(attaches_now());
	tenant = team_tenant(cache, "all");
	start_reading(tenant);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->turned_away) > 0));
	TEAM_EXPECT(get_key(tenant, 1), LARDER_UNAVAILABLE);
	TEAM_EXPECT(larder_reason(), LARDER_REASON_READERS);
	atomic_store(&board->go_on, 1);
	end_reading();
	TEAM_EXPECT(get_key(tenant, 1), 0);
}

static void test_too_many_threads_of_one_process(void **state)
{
	(void)state;
	begin("WORKERS=4");
	team_run(fill, NULL);
	team_run(read_with_too_many_threads, NULL);
	end();
}

/* A killed process leaves its reader slots full; nobody who looks for the dead is left, only one who sleeps, so that LMDB keeps its table. */
static void sleep_attached(void *arg)
{
	(void)arg;
	TEAM_CHECK(attaches_now());
	atomic_store(&board->attached, 1);
	TEAM_CHECK(TEAM_POLL(2 * TEAM_DEADLINE_MS, atomic_load(&board->go_on)));
}

static void get_once(void *arg)
{
	larder_tenant *tenant = team_tenant(cache, "all");

	(void)arg;
	TEAM_EXPECT(get_key(tenant, 1), 0);
}

static void test_a_newcomer_clears_dead_readers(void **state)
{
	pid_t sleeper, reader;

	(void)state;
	begin("WORKERS=4");
	team_run(fill, NULL);
	sleeper = team_start(sleep_attached, NULL);
	TEAM_CHECK(TEAM_POLL(TEAM_DEADLINE_MS, atomic_load(&board->attached) == 1));
	reader = team_start(be_reader, NULL);
	TEAM_CHECK(are_all_taken(reader));
	team_kill(reader);
	team_run(get_once, NULL);
	atomic_store(&board->go_on, 1);
	team_join(sleeper);
	end();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_hundred_and_twenty_seven_readers),
		cmocka_unit_test(test_a_thousand_readers),
		cmocka_unit_test(test_no_slot_left_heals_when_one_is_killed),
		cmocka_unit_test(test_no_slot_left_heals_when_they_end),
		cmocka_unit_test(test_no_reader_left_heals_when_they_are_killed),
		cmocka_unit_test(test_no_reader_left_heals_when_they_end),
		cmocka_unit_test(test_too_many_threads_of_one_process),
		cmocka_unit_test(test_a_newcomer_clears_dead_readers),
	};

	team_begin(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
