/* SPDX-License-Identifier: MIT */
/*
 * The breaker with an invented clock: what opens it, for how long, who may probe, what closes it, what is late. The faults that breakers of other
 * libraries have had are tests by name. Every state that three processes can bring it into is in test_breaker_states.
 */
#include "shm/breakers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/fault.h"
#include "child.h"

enum { LEASE = 2000, SEED = 7, THREADS = 8, ROUNDS = 300, RACES = 50000, NOW = 5000000 };

static const struct ld_breaker_settings defaults = LD_BREAKER_DEFAULTS;
static const struct ld_breaker_settings steady = { .failures = 5, .error_pct = 50, .volume = 10, .successes = 3, .window_ms = 10000, .open_ms = 1000,
	.open_max_ms = 30000 };

/* A breaker, its settings and the time. */
struct bench {
	struct ld_breaker breaker;
	struct ld_breaker_settings settings;
	int64_t now_ms;
};

static int make(void **state)
{
	static struct bench bench;

	memset(&bench, 0, sizeof(bench));
	bench.settings = steady;
	bench.now_ms = NOW;
	*state = &bench;
	return 0;
}

static enum ld_breaker_verdict admit(struct bench *bench, struct ld_breaker_pass *ret_pass)
{
	return ld_breaker_admit(&bench->breaker, &bench->settings, bench->now_ms, LEASE, ret_pass);
}

static enum ld_breaker_event report(struct bench *bench, const struct ld_breaker_pass *pass, enum ld_breaker_outcome outcome)
{
	return ld_breaker_report(&bench->breaker, &bench->settings, pass, outcome, bench->now_ms, SEED);
}

/* A call that must be admitted, and ends at once. */
static enum ld_breaker_event call(struct bench *bench, enum ld_breaker_verdict verdict, enum ld_breaker_outcome outcome)
{
	struct ld_breaker_pass pass;

	assert_int_equal(admit(bench, &pass), verdict);
	return report(bench, &pass, outcome);
}

static void some_fail(struct bench *bench, int times)
{
	while (times-- > 0)
		assert_int_equal(call(bench, LD_BREAKER_ADMITTED, LD_BREAKER_FAILURE), LD_BREAKER_NO_EVENT);
}

static struct ld_breaker_view look(struct bench *bench)
{
	struct ld_breaker_view view;

	ld_breaker_look(&bench->breaker, &bench->settings, bench->now_ms, &view);
	return view;
}

static enum ld_breaker_state state_of(struct bench *bench)
{
	return look(bench).word.state;
}

static void open_it(struct bench *bench)
{
	some_fail(bench, 4);
	assert_int_equal(call(bench, LD_BREAKER_ADMITTED, LD_BREAKER_FAILURE), LD_BREAKER_OPENED_FAILURES);
	assert_int_equal(state_of(bench), LD_BREAKER_OPEN);
}

static void wait_out(struct bench *bench)
{
	bench->now_ms += look(bench).retry_after_ms;
}

static void close_it(struct bench *bench)
{
	wait_out(bench);
	while (look(bench).word.successes < 2)
		assert_int_equal(call(bench, LD_BREAKER_PROBE, LD_BREAKER_SUCCESS), LD_BREAKER_NO_EVENT);
	assert_int_equal(call(bench, LD_BREAKER_PROBE, LD_BREAKER_SUCCESS), LD_BREAKER_CLOSED_AGAIN);
	assert_int_equal(state_of(bench), LD_BREAKER_CLOSED);
}

/* ---- the word ---- */

static void test_the_word_holds_its_parts(void **state)
{
	static const struct ld_breaker_word words[] = {
		{ LD_BREAKER_CLOSED, 0, 0, 0, 0 },
		{ LD_BREAKER_HALF_OPEN, 15, 27, 8191, (INT64_C(1) << 40) - 1 },
		{ LD_BREAKER_FORCED_OPEN, 0, 31, 4096, INT64_C(1) << 39 },
		{ LD_BREAKER_OPEN, 5, 0, 1, 1 },
	};

	(void)state;
	assert_true(ld_breaker_pack(&words[0]) == 0);
	assert_true(ld_breaker_pack(&words[1]) == (UINT64_MAX & ~UINT64_C(0x7ff)) + (27 << 6) + (15 << 2) + 2);
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct ld_breaker_word again = ld_breaker_unpack(ld_breaker_pack(&words[i]));

		assert_true(again.state == words[i].state && again.successes == words[i].successes && again.level == words[i].level);
		assert_true(again.generation == words[i].generation && again.time_ms == words[i].time_ms);
	}
	/* Years of uptime: 2^40 ms are 34. */
	assert_true((INT64_C(1) << 40) / 1000 / 86400 / 365 >= 34);
}

static void test_generations_go_round(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_word parts = { LD_BREAKER_CLOSED, 0, 0, 8190, bench->now_ms };

	bench->breaker.word = ld_breaker_pack(&parts);
	open_it(bench);
	assert_int_equal(look(bench).word.generation, 8191);
	close_it(bench);
	assert_int_equal(look(bench).word.generation, 3);
	open_it(bench);
}

/* After ten years of uptime it does what it does after an hour. */
static void test_years_of_uptime(void **state)
{
	struct bench *bench = *state;

	bench->now_ms = INT64_C(10) * 365 * 86400 * 1000;
	open_it(bench);
	assert_int_equal(look(bench).retry_after_ms, 1000);
	close_it(bench);
}

/* ---- what opens it ---- */

static void test_closed_admits_everybody(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_pass pass = { 1, 1, LD_BREAKER_RESET };

	for (int i = 0; i < 1000; i++) {
		assert_int_equal(admit(bench, &pass), LD_BREAKER_ADMITTED);
		assert_true(pass.retry_after_ms == 0 && pass.event == LD_BREAKER_NO_EVENT);
		assert_int_equal(report(bench, &pass, LD_BREAKER_SUCCESS), LD_BREAKER_NO_EVENT);
	}
	assert_int_equal(look(bench).window.calls, 1000);
	assert_int_equal(look(bench).refused + look(bench).late + look(bench).probes, 0);
}

static void test_failures_in_a_row_open_it(void **state)
{
	struct bench *bench = *state;

	/* A good call between ends the row, a slow one too; one that says nothing does not. */
	some_fail(bench, 4);
	(void)call(bench, LD_BREAKER_ADMITTED, LD_BREAKER_SUCCESS);
	assert_int_equal(look(bench).streak, 0);
	bench->now_ms += 10001;
	some_fail(bench, 4);
	(void)call(bench, LD_BREAKER_ADMITTED, LD_BREAKER_SLOW);
	bench->now_ms += 10001;
	some_fail(bench, 4);
	(void)call(bench, LD_BREAKER_ADMITTED, LD_BREAKER_NEUTRAL);
	assert_int_equal(look(bench).streak, 4);
	assert_int_equal(call(bench, LD_BREAKER_ADMITTED, LD_BREAKER_FAILURE), LD_BREAKER_OPENED_FAILURES);
	assert_int_equal(look(bench).neutral, 1);
	assert_int_equal(look(bench).failures, 13);
	assert_int_equal(look(bench).slow, 1);
}

/* So many calls, failures spread among them so that no two follow each other. Returns the last event. */
static enum ld_breaker_event spread(struct bench *bench, int calls, int every, enum ld_breaker_outcome bad)
{
	enum ld_breaker_event event = LD_BREAKER_NO_EVENT;

	for (int i = 1; i <= calls && event == LD_BREAKER_NO_EVENT; i++)
		event = call(bench, LD_BREAKER_ADMITTED, i % every == 0 ? bad : LD_BREAKER_SUCCESS);
	return event;
}

static void test_a_share_of_failures_opens_it(void **state)
{
	struct bench *bench = *state;

	/* A third is not enough, however many. */
	assert_int_equal(spread(bench, 3000, 3, LD_BREAKER_FAILURE), LD_BREAKER_NO_EVENT);
	bench->now_ms += 10001;
	/* Half of eight is below the volume, and so is the ninth; the tenth call makes it five of ten. */
	assert_int_equal(spread(bench, 9, 2, LD_BREAKER_FAILURE), LD_BREAKER_NO_EVENT);
	assert_int_equal(look(bench).window.calls, 9);
	assert_int_equal(call(bench, LD_BREAKER_ADMITTED, LD_BREAKER_FAILURE), LD_BREAKER_OPENED_ERRORS);
	assert_int_equal(look(bench).events[LD_BREAKER_OPENED_ERRORS], 1);
}

static void test_old_failures_leave_the_window(void **state)
{
	struct bench *bench = *state;

	for (int i = 0; i < 50; i++) {
		assert_int_equal(spread(bench, 3, 3, LD_BREAKER_FAILURE), LD_BREAKER_NO_EVENT);
		(void)call(bench, LD_BREAKER_ADMITTED, LD_BREAKER_FAILURE);
		assert_int_equal(state_of(bench), LD_BREAKER_CLOSED);
		bench->now_ms += 5001;
		/* Two rounds at most are in the window: eight calls, below the volume. */
		assert_true(look(bench).window.calls <= 4);
	}
}

static void test_a_share_of_slow_calls_opens_it(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_settings *slow = &bench->settings;

	slow->slow_ms = 300;
	assert_int_equal(ld_breaker_answered(slow, 300), LD_BREAKER_SUCCESS);
	assert_int_equal(ld_breaker_answered(slow, 301), LD_BREAKER_SLOW);
	assert_int_equal(ld_breaker_answered(&steady, INT64_MAX), LD_BREAKER_SUCCESS);
	assert_int_equal(spread(bench, 100, 1, LD_BREAKER_SLOW), LD_BREAKER_NO_EVENT);
	bench->now_ms += 10001;
	slow->slow_pct = 100;
	assert_int_equal(spread(bench, 9, 1, LD_BREAKER_SLOW), LD_BREAKER_NO_EVENT);
	assert_int_equal(call(bench, LD_BREAKER_ADMITTED, LD_BREAKER_SLOW), LD_BREAKER_OPENED_SLOW);
	/* A slow probe opens it again; where slow calls do not open it, it is as good as any. */
	wait_out(bench);
	assert_int_equal(call(bench, LD_BREAKER_PROBE, LD_BREAKER_SLOW), LD_BREAKER_REOPENED);
	slow->slow_pct = 0;
	wait_out(bench);
	for (int i = 0; i < 2; i++)
		assert_int_equal(call(bench, LD_BREAKER_PROBE, LD_BREAKER_SLOW), LD_BREAKER_NO_EVENT);
	assert_int_equal(call(bench, LD_BREAKER_PROBE, LD_BREAKER_SLOW), LD_BREAKER_CLOSED_AGAIN);
}

static void test_each_cause_can_be_off(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_settings *off = &bench->settings;

	off->failures = off->error_pct = 0;
	some_fail(bench, 1000);
	off->failures = 1001;
	assert_int_equal(call(bench, LD_BREAKER_ADMITTED, LD_BREAKER_FAILURE), LD_BREAKER_OPENED_FAILURES);
}

/* ---- open and half-open ---- */

static void test_refused_until_its_time(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_pass pass;

	open_it(bench);
	for (int64_t left = 1000; left > 0; left--) {
		assert_int_equal(admit(bench, &pass), LD_BREAKER_REFUSED);
		assert_int_equal(pass.retry_after_ms, left);
		assert_int_equal(look(bench).retry_after_ms, left);
		bench->now_ms++;
	}
	assert_int_equal(look(bench).refused, 1000);
	assert_int_equal(admit(bench, &pass), LD_BREAKER_PROBE);
	assert_int_equal(pass.event, LD_BREAKER_HALF_OPENED);
	assert_int_equal(look(bench).half_opened_ms, bench->now_ms);
	bench->now_ms += LEASE - 1;
	assert_int_equal(admit(bench, &pass), LD_BREAKER_REFUSED);
	assert_int_equal(pass.retry_after_ms, 1);
	/* One who was refused has nothing to report: he does not speak for the probe that is out. */
	assert_int_equal(report(bench, &pass, LD_BREAKER_FAILURE), LD_BREAKER_NO_EVENT);
	assert_true(look(bench).late == 1 && state_of(bench) == LD_BREAKER_HALF_OPEN && look(bench).retry_after_ms == 1);
}

/* Fault: half-open lets everybody through. */
static void test_half_open_lets_one_through(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_pass pass, others;

	open_it(bench);
	wait_out(bench);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(admit(bench, &pass), LD_BREAKER_PROBE);
		assert_int_equal(pass.event, round == 0 ? LD_BREAKER_HALF_OPENED : LD_BREAKER_NO_EVENT);
		for (int i = 0; i < 1000; i++) {
			assert_int_equal(admit(bench, &others), LD_BREAKER_REFUSED);
			assert_in_range(others.retry_after_ms, LEASE - 1000, LEASE);
			bench->now_ms += i & 1;
		}
		assert_int_equal(look(bench).probes, round + 1);
		(void)report(bench, &pass, LD_BREAKER_SUCCESS);
	}
	assert_int_equal(state_of(bench), LD_BREAKER_CLOSED);
}

/* Fault: a filtered outcome wedges half-open, for it neither closes nor opens it. */
static void test_a_filtered_outcome_does_not_wedge_it(void **state)
{
	struct bench *bench = *state;

	open_it(bench);
	wait_out(bench);
	assert_int_equal(call(bench, LD_BREAKER_PROBE, LD_BREAKER_SUCCESS), LD_BREAKER_NO_EVENT);
	/* A thousand of them, each releases the probe at once, and the success before them still counts. */
	for (int i = 0; i < 1000; i++)
		assert_int_equal(call(bench, LD_BREAKER_PROBE, LD_BREAKER_NEUTRAL), LD_BREAKER_NO_EVENT);
	assert_int_equal(look(bench).word.successes, 1);
	assert_int_equal(look(bench).neutral, 1000);
	assert_int_equal(look(bench).probes_lost, 0);
	assert_int_equal(call(bench, LD_BREAKER_PROBE, LD_BREAKER_SUCCESS), LD_BREAKER_NO_EVENT);
	assert_int_equal(call(bench, LD_BREAKER_PROBE, LD_BREAKER_SUCCESS), LD_BREAKER_CLOSED_AGAIN);
}

/* Fault: a probe that is cancelled, or whose process is killed, wedges half-open. */
static void test_a_cancelled_probe_does_not_wedge_it(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_pass lost, pass;

	open_it(bench);
	wait_out(bench);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(admit(bench, i == 0 ? &lost : &pass), LD_BREAKER_PROBE);
		bench->now_ms += LEASE - 1;
		assert_int_equal(admit(bench, &pass), LD_BREAKER_REFUSED);
		bench->now_ms++;
	}
	assert_int_equal(look(bench).probes_lost, 99);
	assert_int_equal(admit(bench, &pass), LD_BREAKER_PROBE);
	/* The first of them wakes up and reports: it is late, whatever it has to say. */
	assert_int_equal(report(bench, &lost, LD_BREAKER_FAILURE), LD_BREAKER_NO_EVENT);
	assert_int_equal(report(bench, &lost, LD_BREAKER_SUCCESS), LD_BREAKER_NO_EVENT);
	assert_int_equal(look(bench).late, 2);
	assert_int_equal(look(bench).word.successes, 0);
	assert_int_equal(report(bench, &pass, LD_BREAKER_SUCCESS), LD_BREAKER_NO_EVENT);
	close_it(bench);
}

static void test_a_report_after_the_lease_is_late(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_pass pass;

	open_it(bench);
	wait_out(bench);
	assert_int_equal(admit(bench, &pass), LD_BREAKER_PROBE);
	bench->now_ms += LEASE;
	assert_int_equal(report(bench, &pass, LD_BREAKER_SUCCESS), LD_BREAKER_NO_EVENT);
	assert_true(look(bench).late == 1 && look(bench).word.successes == 0);
	/* Twice in time: the second is late. */
	assert_int_equal(admit(bench, &pass), LD_BREAKER_PROBE);
	bench->now_ms += LEASE - 1;
	(void)report(bench, &pass, LD_BREAKER_SUCCESS);
	(void)report(bench, &pass, LD_BREAKER_SUCCESS);
	(void)report(bench, &pass, LD_BREAKER_FAILURE);
	assert_true(look(bench).late == 3 && look(bench).word.successes == 1);
}

/* Fault: results of calls that were made before it opened count in a later episode. */
static void test_results_of_an_older_episode_change_nothing(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_pass old[40], pass;
	uint64_t word, late = 0;

	for (int i = 0; i < 40; i++)
		assert_int_equal(admit(bench, &old[i]), LD_BREAKER_ADMITTED);
	open_it(bench);
	for (int phase = 0; phase < 4; phase++) {
		/* Open, with the probe out, half-open without one, closed again. */
		if (phase == 1) {
			wait_out(bench);
			assert_int_equal(admit(bench, &pass), LD_BREAKER_PROBE);
		} else if (phase == 2) {
			(void)report(bench, &pass, LD_BREAKER_SUCCESS);
		} else if (phase == 3) {
			(void)call(bench, LD_BREAKER_PROBE, LD_BREAKER_SUCCESS);
			assert_int_equal(call(bench, LD_BREAKER_PROBE, LD_BREAKER_SUCCESS), LD_BREAKER_CLOSED_AGAIN);
		}
		word = bench->breaker.word;
		for (int i = 0; i < 10; i++)
			assert_int_equal(report(bench, &old[phase * 10 + i], i & 1 ? LD_BREAKER_FAILURE : LD_BREAKER_SUCCESS), LD_BREAKER_NO_EVENT);
		late += 10;
		assert_int_equal(look(bench).late, late);
		assert_true(bench->breaker.word == word);
		assert_true(look(bench).window.calls == 0 && look(bench).streak == 0);
	}
}

/* Fault: failures from before it opened are still counted when it has closed, and open it again at the first one. */
static void test_counters_start_anew_when_it_closes(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_settings *quick = &bench->settings;

	quick->open_ms = quick->open_max_ms = 1;
	for (int i = 0; i < 3000; i++) {
		/* All of it in one bucket of the window, again and again, and the generations go round. */
		bench->now_ms = 7000000;
		open_it(bench);
		close_it(bench);
		assert_int_equal(look(bench).streak, 0);
		assert_int_equal(look(bench).window.calls, 0);
	}
}

/* Fault: a step of the wall clock keeps it open for ever, or lets everybody through at once. */
static void test_steps_of_the_wall_clock_do_nothing(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_pass pass;
#ifdef LARDER_FAULTS
	struct ld_fault_plan plan = { 0 };
	int64_t wall_ms = ld_clock_wall_ms();

	ld_fault_use(&plan);
	bench->now_ms = ld_clock_boot_ms();
	open_it(bench);
	/* A day forward: still refused. A day back: its time comes as before. */
	plan.wall_shift_ms = 86400000;
	assert_true(ld_clock_wall_ms() - wall_ms >= 86400000);
	bench->now_ms = ld_clock_boot_ms();
	assert_int_equal(admit(bench, &pass), LD_BREAKER_REFUSED);
	assert_in_range(pass.retry_after_ms, 1, 1000);
	plan.wall_shift_ms = -86400000;
	plan.boot_shift_ms = 1001;
	bench->now_ms = ld_clock_boot_ms();
	assert_int_equal(admit(bench, &pass), LD_BREAKER_PROBE);
	ld_fault_use(NULL);
#else
	/* The boot clock is not the wall clock: a breaker opened by the one knows nothing of the other. */
	bench->now_ms = ld_clock_boot_ms();
	open_it(bench);
	assert_int_equal(admit(bench, &pass), LD_BREAKER_REFUSED);
	assert_in_range(look(bench).retry_after_ms, 1, 1000);
	assert_in_range(look(bench).word.time_ms - ld_clock_boot_ms(), 1, 1000);
#endif
}

static void come_later(void *arg)
{
	struct ld_breakers *table = arg;
	struct ld_breaker_row *row = ld_breakers_row(table, "http://l2", 77);
	struct ld_breaker_pass pass;

	CHILD_CHECK(row == &table->rows[1]);
	CHILD_CHECK(ld_breaker_admit(&row->breaker, &steady, 1000500, LEASE, &pass) == LD_BREAKER_REFUSED);
	CHILD_CHECK(pass.retry_after_ms == 500);
}

/* Fault: a process that starts sets the state that the others live by back. */
static void test_a_new_process_resets_nothing(void **state)
{
	struct ld_breakers table = { child_share(4 * sizeof(struct ld_breaker_row)), 4 };
	struct ld_breaker_row *row = ld_breakers_row(&table, "http://l2", 77);
	struct ld_breaker_pass pass;
	uint64_t word;

	(void)state;
	assert_non_null(table.rows);
	for (int i = 0; i < 5; i++) {
		(void)ld_breaker_admit(&row->breaker, &steady, 1000000, LEASE, &pass);
		(void)ld_breaker_report(&row->breaker, &steady, &pass, LD_BREAKER_FAILURE, 1000000, SEED);
	}
	word = row->breaker.word;
	for (int i = 0; i < 3; i++)
		assert_int_equal(child_run(come_later, &table), 0);
	assert_true(row->breaker.word == word && row->breaker.refused == 3);
	assert_int_equal(munmap(table.rows, 4 * sizeof(struct ld_breaker_row)), 0);
}

/* ---- how long it stays open ---- */

static void test_the_time_open_doubles_up_to_a_bound(void **state)
{
	static const int64_t expected[] = { 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000 };
	struct bench *bench = *state;

	open_it(bench);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(look(bench).retry_after_ms, expected[i]);
		assert_int_equal(look(bench).word.level, i < 5 ? i : 5);
		wait_out(bench);
		assert_int_equal(call(bench, LD_BREAKER_PROBE, i & 1 ? LD_BREAKER_SUCCESS : LD_BREAKER_NEUTRAL), LD_BREAKER_NO_EVENT);
		assert_int_equal(call(bench, LD_BREAKER_PROBE, LD_BREAKER_FAILURE), LD_BREAKER_REOPENED);
		/* The successes before the failure are gone. */
		assert_int_equal(look(bench).word.successes, 0);
	}
}

static void test_the_time_open_is_jittered(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_settings *jittered = &bench->settings;
	int64_t least = INT64_MAX, most = 0;
	struct ld_breaker_pass pass;

	jittered->jitter_pct = 20;
	for (uint64_t seed = 0; seed < 2000; seed++) {
		int64_t left;

		memset(&bench->breaker, 0, sizeof(bench->breaker));
		some_fail(bench, 4);
		(void)admit(bench, &pass);
		(void)ld_breaker_report(&bench->breaker, jittered, &pass, LD_BREAKER_FAILURE, bench->now_ms, seed);
		left = look(bench).retry_after_ms;
		least = left < least ? left : least;
		most = left > most ? left : most;
	}
	assert_in_range(least, 800, 805);
	assert_in_range(most, 1195, 1200);
	/* One seed for the life of a host gives other times at other moments; the bound holds with jitter too. */
	jittered->open_ms = jittered->open_max_ms;
	least = INT64_MAX;
	most = 0;
	for (int i = 0; i < 500; i++) {
		int64_t left;

		(void)ld_breaker_reset(&bench->breaker, bench->now_ms++);
		open_it(bench);
		left = look(bench).retry_after_ms;
		least = left < least ? left : least;
		most = left > most ? left : most;
	}
	assert_in_range(least, 24000, 24200);
	assert_in_range(most, 29800, 30000);
}

static void test_flapping_lengthens_it_and_health_shortens_it(void **state)
{
	static const int64_t expected[] = { 1000, 2000, 4000, 8000, 16000, 30000, 30000 };
	struct bench *bench = *state;

	for (int i = 0; i < 7; i++) {
		open_it(bench);
		assert_int_equal(look(bench).retry_after_ms, expected[i]);
		close_it(bench);
	}
	/* Level 5 now; 30 healthy seconds take one doubling back, and one ms less does not. */
	bench->now_ms += 29999;
	open_it(bench);
	assert_int_equal(look(bench).retry_after_ms, 30000);
	close_it(bench);
	bench->now_ms += 30000;
	open_it(bench);
	assert_int_equal(look(bench).retry_after_ms, 16000);
	close_it(bench);
	bench->now_ms += 3 * 30000;
	open_it(bench);
	assert_int_equal(look(bench).retry_after_ms, 4000);
	close_it(bench);
	bench->now_ms += INT64_C(86400) * 1000 * 365;
	open_it(bench);
	assert_int_equal(look(bench).retry_after_ms, 1000);
}

static void test_settings_out_of_range(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_settings *wild = &bench->settings;

	*wild = (struct ld_breaker_settings){ .failures = 1 };
	assert_int_equal(call(bench, LD_BREAKER_ADMITTED, LD_BREAKER_FAILURE), LD_BREAKER_OPENED_FAILURES);
	assert_int_equal(look(bench).retry_after_ms, 1);
	wait_out(bench);
	assert_int_equal(call(bench, LD_BREAKER_PROBE, LD_BREAKER_SUCCESS), LD_BREAKER_CLOSED_AGAIN);
	*wild = (struct ld_breaker_settings){ UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, INT64_MAX, INT64_MAX, INT64_MAX,
		INT64_MAX };
	wild->failures = 1;
	assert_int_equal(call(bench, LD_BREAKER_ADMITTED, LD_BREAKER_FAILURE), LD_BREAKER_OPENED_FAILURES);
	assert_in_range(look(bench).retry_after_ms, 1, LD_BREAKER_TIME_MAX_MS);
	wait_out(bench);
	for (int i = 0; i < 14; i++)
		assert_int_equal(call(bench, LD_BREAKER_PROBE, LD_BREAKER_SUCCESS), LD_BREAKER_NO_EVENT);
	assert_int_equal(call(bench, LD_BREAKER_PROBE, LD_BREAKER_SUCCESS), LD_BREAKER_CLOSED_AGAIN);
	/* One ms, doubled up to a day, never more. */
	*wild = (struct ld_breaker_settings){ .failures = 1, .successes = 1, .open_ms = 1, .open_max_ms = INT64_MAX };
	(void)ld_breaker_reset(&bench->breaker, bench->now_ms);
	(void)call(bench, LD_BREAKER_ADMITTED, LD_BREAKER_FAILURE);
	for (int i = 0; i < 40; i++) {
		assert_int_equal(look(bench).retry_after_ms, i < 27 ? INT64_C(1) << i : LD_BREAKER_TIME_MAX_MS);
		wait_out(bench);
		(void)call(bench, LD_BREAKER_PROBE, LD_BREAKER_FAILURE);
	}
}

/* A stray write that leaves a deadline of years does not keep it open for years. */
static void test_a_deadline_far_off_is_over(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_word far = { LD_BREAKER_OPEN, 0, 0, 9, bench->now_ms + 3 * (int64_t)LD_BREAKER_TIME_MAX_MS };

	for (int i = 0; i < 2; i++) {
		bench->breaker.word = ld_breaker_pack(&far);
		assert_int_equal(look(bench).retry_after_ms, 0);
		assert_int_equal(call(bench, LD_BREAKER_PROBE, LD_BREAKER_FAILURE), LD_BREAKER_REOPENED);
		far.state = LD_BREAKER_HALF_OPEN;
	}
}

/* One that read the clock, was stopped for a while, and goes on with the old time. */
static void test_an_old_time_takes_nothing_from_others(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_pass stopped, pass;
	int64_t old_ms;

	open_it(bench);
	wait_out(bench);
	old_ms = bench->now_ms;
	bench->now_ms += LEASE + 50;
	assert_int_equal(ld_breaker_admit(&bench->breaker, &bench->settings, old_ms, LEASE, &stopped), LD_BREAKER_PROBE);
	/* Its lease has run out before it began. */
	assert_int_equal(admit(bench, &pass), LD_BREAKER_PROBE);
	(void)report(bench, &stopped, LD_BREAKER_FAILURE);
	(void)ld_breaker_report(&bench->breaker, &bench->settings, &stopped, LD_BREAKER_FAILURE, old_ms, SEED);
	assert_int_equal(look(bench).late, 2);
	assert_int_equal(ld_breaker_admit(&bench->breaker, &bench->settings, old_ms, LEASE, &stopped), LD_BREAKER_REFUSED);
	(void)report(bench, &pass, LD_BREAKER_SUCCESS);
	close_it(bench);
}

/* ---- by hand ---- */

static void test_forced_open_stays(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_pass before, pass;

	assert_int_equal(admit(bench, &before), LD_BREAKER_ADMITTED);
	assert_int_equal(ld_breaker_force_open(&bench->breaker, bench->now_ms), LD_BREAKER_FORCED);
	assert_int_equal(ld_breaker_force_open(&bench->breaker, bench->now_ms), LD_BREAKER_NO_EVENT);
	for (int i = 0; i < 100; i++) {
		bench->now_ms += 86400000;
		assert_int_equal(admit(bench, &pass), LD_BREAKER_REFUSED);
		assert_int_equal(pass.retry_after_ms, 30000);
	}
	assert_int_equal(look(bench).retry_after_ms, -1);
	(void)report(bench, &before, LD_BREAKER_SUCCESS);
	(void)report(bench, &pass, LD_BREAKER_SUCCESS);
	assert_true(look(bench).late == 2 && state_of(bench) == LD_BREAKER_FORCED_OPEN);
	assert_int_equal(ld_breaker_close(&bench->breaker, bench->now_ms), LD_BREAKER_CLOSED_BY_HAND);
	assert_int_equal(ld_breaker_close(&bench->breaker, bench->now_ms), LD_BREAKER_NO_EVENT);
	assert_int_equal(look(bench).closed_ms, bench->now_ms);
	assert_int_equal(look(bench).refused, 100);
	open_it(bench);
	assert_int_equal(look(bench).retry_after_ms, 1000);
}

static void test_by_hand_from_every_state(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_pass probe;

	/* The probe is out: forced open, or closed, its report is late. */
	for (int i = 0; i < 2; i++) {
		open_it(bench);
		wait_out(bench);
		assert_int_equal(admit(bench, &probe), LD_BREAKER_PROBE);
		if (i == 0)
			assert_int_equal(ld_breaker_force_open(&bench->breaker, bench->now_ms), LD_BREAKER_FORCED);
		assert_int_equal(ld_breaker_close(&bench->breaker, bench->now_ms), LD_BREAKER_CLOSED_BY_HAND);
		assert_int_equal(report(bench, &probe, LD_BREAKER_FAILURE), LD_BREAKER_NO_EVENT);
		assert_int_equal(look(bench).late, i + 1);
		some_fail(bench, 4);
		(void)call(bench, LD_BREAKER_ADMITTED, LD_BREAKER_SUCCESS);
		bench->now_ms += 10001;
	}
	open_it(bench);
	assert_int_equal(ld_breaker_close(&bench->breaker, bench->now_ms), LD_BREAKER_CLOSED_BY_HAND);
	assert_int_equal(look(bench).streak, 0);
}

static void test_reset_makes_it_new(void **state)
{
	struct bench *bench = *state;
	struct ld_breaker_pass old;
	struct ld_breaker_view view;

	open_it(bench);
	close_it(bench);
	open_it(bench);
	close_it(bench);
	some_fail(bench, 3);
	(void)admit(bench, &old);
	assert_int_equal(ld_breaker_reset(&bench->breaker, bench->now_ms), LD_BREAKER_RESET);
	view = look(bench);
	assert_int_equal(view.word.state, LD_BREAKER_CLOSED);
	assert_int_equal(view.word.level, 0);
	assert_int_equal(view.streak + view.window.calls, 0);
	assert_int_equal(view.refused + view.late + view.probes + view.probes_lost + view.failures + view.slow + view.neutral, 0);
	assert_true(view.opened_ms == 0 && view.half_opened_ms == 0 && view.closed_ms == bench->now_ms);
	for (int i = 0; i < LD_BREAKER_EVENTS; i++)
		assert_int_equal(view.events[i], i == LD_BREAKER_RESET);
	(void)report(bench, &old, LD_BREAKER_FAILURE);
	assert_int_equal(look(bench).late, 1);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(ld_breaker_state_name(LD_BREAKER_HALF_OPEN), "half-open");
	assert_string_equal(ld_breaker_event_name(LD_BREAKER_EVENTS), "unknown");
	for (int i = 0; i < LD_BREAKER_EVENTS; i++)
		for (int k = 0; k < i; k++)
			assert_string_not_equal(ld_breaker_event_name((enum ld_breaker_event)i), ld_breaker_event_name((enum ld_breaker_event)k));
	assert_int_equal(defaults.failures, 5);
	assert_int_equal(defaults.jitter_pct, 20);
	assert_true(defaults.window_ms == 10000 && defaults.slow_ms == 0 && defaults.open_ms == 1000 && defaults.open_max_ms == 30000);
	assert_true(defaults.error_pct == 50 && defaults.slow_pct == 0 && defaults.volume == 10 && defaults.successes == 3);
}

/* ---- threads ---- */

struct crowd {
	struct ld_breaker breaker;
	_Atomic int64_t now_ms;
	_Atomic uint64_t told[LD_BREAKER_EVENTS], probing, both;
	uint64_t begun;
	pthread_barrier_t gate;
};

/* Each round: all fail at once; it opens, and one of them is told. Then all want the probe, until it has closed. */
static void *be_one_of_many(void *arg)
{
	struct crowd *crowd = arg;
	struct ld_breaker_pass pass;

	for (int i = 0; i < ROUNDS; i++) {
		(void)ld_breaker_admit(&crowd->breaker, &steady, crowd->now_ms, LEASE, &pass);
		pthread_barrier_wait(&crowd->gate);
		crowd->told[ld_breaker_report(&crowd->breaker, &steady, &pass, LD_BREAKER_FAILURE, crowd->now_ms, SEED)]++;
		if (pthread_barrier_wait(&crowd->gate) == PTHREAD_BARRIER_SERIAL_THREAD)
			crowd->now_ms += 60000;
		pthread_barrier_wait(&crowd->gate);
		for (;;) {
			enum ld_breaker_verdict verdict = ld_breaker_admit(&crowd->breaker, &steady, crowd->now_ms, LEASE, &pass);

			if (verdict == LD_BREAKER_ADMITTED)
				break;
			if (verdict != LD_BREAKER_PROBE)
				continue;
			crowd->told[pass.event]++;
			crowd->both += atomic_fetch_add(&crowd->probing, 1) != 0;
			atomic_fetch_sub(&crowd->probing, 1);
			crowd->told[ld_breaker_report(&crowd->breaker, &steady, &pass, LD_BREAKER_SUCCESS, crowd->now_ms, SEED)]++;
		}
		pthread_barrier_wait(&crowd->gate);
	}
	return NULL;
}

static void test_each_transition_is_told_to_one(void **state)
{
	static struct crowd crowd;
	pthread_t threads[THREADS];

	(void)state;
	crowd.now_ms = 1000000;
	assert_int_equal(pthread_barrier_init(&crowd.gate, NULL, THREADS), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, be_one_of_many, &crowd), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(pthread_barrier_destroy(&crowd.gate), 0);
	assert_int_equal(crowd.told[LD_BREAKER_OPENED_FAILURES], ROUNDS);
	assert_int_equal(crowd.told[LD_BREAKER_HALF_OPENED], ROUNDS);
	assert_int_equal(crowd.told[LD_BREAKER_CLOSED_AGAIN], ROUNDS);
	assert_int_equal(crowd.both, 0);
	assert_int_equal(crowd.breaker.probes, 3 * ROUNDS);
	for (int i = 1; i < LD_BREAKER_EVENTS; i++)
		assert_int_equal(crowd.breaker.events[i], crowd.told[i]);
	/* Five of each round open it; the others came just in time to count, or were late. */
	assert_int_equal(crowd.breaker.failures + crowd.breaker.late, THREADS * ROUNDS);
	assert_true(crowd.breaker.failures >= 5 * ROUNDS);
}

struct race {
	struct ld_breaker breaker;
	_Atomic uint32_t ready, won;
};

/* Failures of two at once are all counted. */
static void *fail_often(void *arg)
{
	static const struct ld_breaker_settings never = { .window_ms = 10000 };
	struct race *race = arg;
	struct ld_breaker_pass pass;

	child_meet(&race->ready, 2);
	for (int i = 0; i < LD_BREAKER_STREAK_MAX / 2; i++) {
		(void)ld_breaker_admit(&race->breaker, &never, NOW, LEASE, &pass);
		(void)ld_breaker_report(&race->breaker, &never, &pass, LD_BREAKER_FAILURE, NOW, SEED);
	}
	return NULL;
}

static void test_failures_of_two_at_once(void **state)
{
	static struct race race;
	pthread_t thread;
	struct ld_breaker_view view;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, fail_often, &race), 0);
	(void)fail_often(&race);
	assert_int_equal(pthread_join(thread, NULL), 0);
	ld_breaker_look(&race.breaker, &steady, NOW, &view);
	assert_int_equal(view.streak, LD_BREAKER_STREAK_MAX - 1);
	assert_int_equal(view.failures, LD_BREAKER_STREAK_MAX - 1);
	assert_true(view.late == 0 && view.word.state == LD_BREAKER_CLOSED);
	assert_int_equal(view.window.calls, view.window.failures);
}

/* Two at one word at the same moment, as nearly as two threads can: never may both have it. */
static void *race_for_it(void *arg)
{
	struct race *race = arg;
	struct ld_breaker_pass pass;

	/* Three meetings a round: the word is there, both have asked, the first has looked at what came of it. */
	for (uint32_t i = 0; i < RACES; i++) {
		child_meet(&race->ready, 6 * i + 2);
		race->won += ld_breaker_admit(&race->breaker, &steady, NOW, LEASE, &pass) == LD_BREAKER_PROBE;
		child_meet(&race->ready, 6 * i + 4);
		child_meet(&race->ready, 6 * i + 6);
	}
	return NULL;
}

static void test_two_never_have_one_probe(void **state)
{
	static struct race race;
	struct ld_breaker_pass pass;
	uint32_t both = 0, nobody = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, race_for_it, &race), 0);
	for (uint32_t i = 0; i < RACES; i++) {
		race.breaker.word = ld_breaker_pack(&(struct ld_breaker_word){ LD_BREAKER_OPEN, 0, 0, i, NOW - 1 });
		race.won = 0;
		child_meet(&race.ready, 6 * i + 2);
		race.won += ld_breaker_admit(&race.breaker, &steady, NOW, LEASE, &pass) == LD_BREAKER_PROBE;
		child_meet(&race.ready, 6 * i + 4);
		both += race.won > 1;
		nobody += race.won == 0;
		child_meet(&race.ready, 6 * i + 6);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(both, 0);
	assert_int_equal(nobody, 0);
	assert_int_equal(race.breaker.probes, RACES);
}

#define WITH_BENCH(test) cmocka_unit_test_setup(test, make)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_word_holds_its_parts),
		WITH_BENCH(test_generations_go_round),
		WITH_BENCH(test_years_of_uptime),
		WITH_BENCH(test_closed_admits_everybody),
		WITH_BENCH(test_failures_in_a_row_open_it),
		WITH_BENCH(test_a_share_of_failures_opens_it),
		WITH_BENCH(test_old_failures_leave_the_window),
		WITH_BENCH(test_a_share_of_slow_calls_opens_it),
		WITH_BENCH(test_each_cause_can_be_off),
		WITH_BENCH(test_refused_until_its_time),
		WITH_BENCH(test_half_open_lets_one_through),
		WITH_BENCH(test_a_filtered_outcome_does_not_wedge_it),
		WITH_BENCH(test_a_cancelled_probe_does_not_wedge_it),
		WITH_BENCH(test_a_report_after_the_lease_is_late),
		WITH_BENCH(test_results_of_an_older_episode_change_nothing),
		WITH_BENCH(test_counters_start_anew_when_it_closes),
		WITH_BENCH(test_steps_of_the_wall_clock_do_nothing),
		cmocka_unit_test(test_a_new_process_resets_nothing),
		WITH_BENCH(test_the_time_open_doubles_up_to_a_bound),
		WITH_BENCH(test_the_time_open_is_jittered),
		WITH_BENCH(test_flapping_lengthens_it_and_health_shortens_it),
		WITH_BENCH(test_settings_out_of_range),
		WITH_BENCH(test_a_deadline_far_off_is_over),
		WITH_BENCH(test_an_old_time_takes_nothing_from_others),
		WITH_BENCH(test_forced_open_stays),
		WITH_BENCH(test_by_hand_from_every_state),
		WITH_BENCH(test_reset_makes_it_new),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_each_transition_is_told_to_one),
		cmocka_unit_test(test_failures_of_two_at_once),
		cmocka_unit_test(test_two_never_have_one_probe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
