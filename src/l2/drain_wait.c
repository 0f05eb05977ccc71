/* SPDX-License-Identifier: MIT */
/*
 * Callers that wait until L2 has been told of their keys (LARDER_L2_WRITE=through). On the caller's own thread, with nothing held; must end within its time.
 *
 *   a thread tells, whichever process it is in   it is called, which cuts its sleep short, and gives the request its whole time.
 *   it is killed meanwhile                       it is reminded in vain; then the thread of the caller's process is called, which looks whether the holder is dead.
 *   no process has a thread                      the caller tells, its own keys only, each within its time; with others that do so it takes turns.
 *   the caller is killed                         its row is pending, and told in its turn. If it was telling: l2/drain.c.
 */
#include "l2/drain_inside.h"

#include "base/clock.h"

enum { OTHERS_TICK_MS = 10, REMIND_MS = 50 };

/* The first that L2 has not been told of; count where it has been told of all. */
static size_t first_pending(struct ld_drain *drain, const struct ld_key *keys, size_t at, size_t count)
{
	while (at < count && !ld_outbox_pending(drain->store, &keys[at]))
		at++;
	return at;
}

/* For whoever has the lock. A few at a time: the ring of hints is small, and others wait too. */
static void remind(struct ld_drain *drain, const struct ld_key *keys, size_t at, size_t count)
{
	for (size_t i = at; i < count && i - at < LD_WANTED_ROWS / 2; i++)
		ld_outbox_want(drain->store, &keys[i]);
}

/* Will L2 surely not be told of it within this time? */
static int is_in_vain(struct ld_drain *drain, const struct ld_key *key, int64_t left_ms)
{
	int64_t retry_ms;

	if (ld_l2_is_open(drain->l2, &retry_ms) && (retry_ms < 0 || retry_ms > left_ms))
		return 1;
	return ld_outbox_unanswered_left(drain->store, key) > left_ms;
}

/* Who waits, for which keys, and until when. */
struct wait {
	struct ld_drain *drain;
	const struct ld_key *keys;
	size_t count, at;                  /* L2 has been told of those before `at` */
	int64_t end_ms, remind_ms;
};

/* To whoever has the lock: hints, when there is something new to say or the last ones may be lost. */
static void ask(struct wait *wait, int is_new, int64_t now_ms)
{
	if (!is_new && now_ms < wait->remind_ms)
		return;
	remind(wait->drain, wait->keys, wait->at, wait->count);
	wait->remind_ms = now_ms + REMIND_MS;
	ld_outbox_call(wait->drain->store);
}

/* The same. Our own thread tells where nobody does; where nothing comes of the hints, it looks whether the holder is dead. */
static void ask_thread(struct wait *wait, int is_new, int64_t now_ms)
{
	int looks = wait->remind_ms != 0 && now_ms >= wait->remind_ms;

	ask(wait, is_new, now_ms);
	if (looks || !ld_outbox_is_held(wait->drain->store))
		ld_drain_call_thread(wait->drain);
}

/*
 * Tell them from here, if nobody else tells. Returns how long to pause, 0 = not at all. Whoever has nothing but rows that are kept back lets others tell theirs
 * meanwhile; that is an end as well, and *ends is read again: he is not to be woken by himself.
 */
static int64_t tell(struct wait *wait, int is_new, int64_t now_ms, uint32_t *ends)
{
	struct ld_drain_scope scope = { wait->keys + wait->at, wait->count - wait->at, wait->end_ms - now_ms };
	struct ld_drain_after after;

	switch (ld_drain_do_round(wait->drain, &scope, &after)) {
	case LD_DRAIN_TOLD:
		return 0;
	case LD_DRAIN_OTHERS:
		ask(wait, is_new, now_ms);
		return OTHERS_TICK_MS;
	default:
		if (after.kept) {
			ld_drain_leave(wait->drain);
			*ends = ld_outbox_count(wait->drain->store, LD_OUTBOX_ENDS);
		}
		return LD_DRAIN_BUSY_MS;
	}
}

/* 1 = look again; 0 told; LARDER_E_BUSY. Between look and sleep, for somebody may settle in between: the count comes first. */
static int wait_some(struct wait *wait)
{
	uint32_t ends = ld_outbox_count(wait->drain->store, LD_OUTBOX_ENDS);
	size_t before = wait->at;
	int64_t now_ms, pause_ms = REMIND_MS;

	wait->at = first_pending(wait->drain, wait->keys, wait->at, wait->count);
	if (wait->at == wait->count)
		return 0;
	now_ms = ld_clock_boot_ms();
	if (now_ms >= wait->end_ms)
		return LARDER_E_BUSY;
	if (ld_drain_has_thread(wait->drain))
		ask_thread(wait, wait->at != before, now_ms);
	else
		pause_ms = tell(wait, wait->at != before, now_ms, &ends);
	if (pause_ms == 0)
		return 1;
	now_ms = ld_clock_boot_ms();
	if (now_ms >= wait->end_ms || is_in_vain(wait->drain, &wait->keys[wait->at], wait->end_ms - now_ms))
		return LARDER_E_BUSY;
	ld_outbox_sleep(wait->drain->store, LD_OUTBOX_ENDS, ends, pause_ms < wait->end_ms - now_ms ? pause_ms : wait->end_ms - now_ms);
	return 1;
}

int ld_drain_wait_for(struct ld_drain *drain, const struct ld_key *keys, size_t count, int64_t budget_ms)
{
	struct wait wait = { .drain = drain, .keys = keys, .count = count, .end_ms = ld_clock_boot_ms() + budget_ms };
	int rc;

	while ((rc = wait_some(&wait)) > 0)
		;
	ld_drain_leave(drain);
	return rc;
}
