/* SPDX-License-Identifier: MIT */
/*
 * Takes from buckets in shared memory, without a lock. Called by l1/limit.c with the segment's table, and by tests with one on the stack. It must
 * never let through more than the rule says, and never leave a row that nobody can use again. All atomics are sequentially consistent: the
 * arguments below need one order of what is written and read.
 *
 * A row with an owner: a take reads `until`, then `owner`, then moves `until` on by compare-and-swap from exactly what it read.
 *
 *   two take from one row             one compare-and-swap succeeds, the other take looks again.
 *   the row changes its owner         `owner` is changed only while the top bit of `until` is set, and what `until` is afterwards it never was
 *   between the two reads             before: it was more than LD_LIMIT_IDLE_NS behind, and comes to lie ahead. So if the compare-and-swap
 *                                     succeeds, there was one owner from the first read on.
 *   killed anywhere                   the take is charged or it is not.
 *
 * A row is given to another owner, which needs both words, in three steps:
 *
 *     until   idle time -----> freeze: top bit, a lease of LEASE_NS ----------------------> thaw: first charge
 *     owner   old label, n                           -----> name: new label, n + 1
 *
 *   the old owner comes               before the freeze: the freeze fails. After it: a frozen row is nobody's, and its bucket was full, so a row
 *                                     that is new to it is as good.
 *   killed after freeze or name       nobody takes from the row, until its lease is over for LD_LIMIT_IDLE_NS: then it is idle, and is given away
 *                                     by the same three steps, the first of which replaces the frozen time by another one.
 *   stopped there, and goes on        it names only while the row has its own lease, and from the owner it read before it saw that. If the
 *                                     row has been given away in between, the owner has another count, and naming fails; if it has been frozen
 *                                     again and not named, the later one finds a new name and names it once more. Thawing fails in both cases.
 *                                     (The count has 16 bits: the row would have to go through 65,536 hands between two instructions of ours.)
 *
 * A tag may come to have two rows: two processes that find none at the same time give it one each. Therefore every take, after it has charged
 * one row, looks at the others of the set, and undoes itself if all rows of its tag together are ahead by more than the bucket is deep. Of two
 * takes in two rows the one that charged later sees the other. Undone or not, killed or not: what is charged and not admitted is only too much.
 *
 * The shared row, with A a take without a row, and B giving a row to the same tag:
 *
 *     A: charge the shared row ---> look whether a row has our name: if so, not admitted, look again
 *     B: freeze ---> name ---> read the shared row ---> thaw, with all that the shared row is ahead (at most the bucket's depth)
 *
 *   Either A sees B's name, or B sees A's charge. B killed in between: A's tag waits for the lease, if the set has no other idle row.
 */
#include "shm/limiter.h"

#include "base/fault.h"

#define TICKS_PER_NS 16
#define TICKS_PER_MS (UINT64_C(1000000) * TICKS_PER_NS)
#define FROZEN (UINT64_C(1) << 63)
/* Deepest bucket, and the largest charge: two years and a quarter. Far from what a sum of some of them could overflow. */
#define DEPTH_MAX (UINT64_C(1) << 60)
#define LABEL_BITS 48
#define LEASE_NS 10000000
/* Tries without a pause, for a race lost by chance. */
enum { QUICK_TRIES = 4, PAUSES = 20 };

/* What a take wants, in ticks. */
struct want {
	uint64_t label;
	uint64_t now;
	uint64_t interval, charge, depth;
	uint64_t limit;     /* admitted if the bucket is not ahead by more than this */
	int never;          /* the cost is above the burst */
};

/* What a set has for a tag. */
struct seen {
	int own;            /* row of its own, -1 = none */
	int named;          /* a frozen row has its name */
	int idle;           /* row that may be given to it, -1 = none */
	uint64_t own_until, idle_until;
	uint64_t elsewhere; /* how far its other rows are ahead */
};

uint64_t ld_limiter_sets(uint64_t rows)
{
	return rows < 1 ? 1 : (rows + LD_LIMIT_WAYS - 1) / LD_LIMIT_WAYS;
}

uint64_t ld_limiter_size(uint64_t rows)
{
	return sizeof(struct ld_limiter_head) + ld_limiter_sets(rows) * sizeof(struct ld_limiter_set);
}

void ld_limiter_half_until(const struct ld_limiter *limiter, int64_t until_ms)
{
	int64_t seen = atomic_load(&limiter->head->half_until_ms);

	while (seen < until_ms && !atomic_compare_exchange_weak(&limiter->head->half_until_ms, &seen, until_ms))
		;
}

static uint64_t times(uint64_t n, uint64_t interval)
{
	uint64_t ticks;

	return __builtin_mul_overflow(n, interval, &ticks) || ticks > DEPTH_MAX ? DEPTH_MAX : ticks;
}

static void work_out(const struct ld_limiter *limiter, uint64_t tag, const struct ld_limit_rule *rule, uint32_t cost, int64_t now_ns,
    struct want *want)
{
	uint64_t rate = (uint64_t)rule->rate, burst = (uint64_t)rule->burst;
	int half = rule->cold && now_ns / 1000000 < atomic_load(&limiter->head->half_until_ms);

	if (burst == 0)
		burst = rate < LD_LIMIT_PER_S ? 1 : rate / LD_LIMIT_PER_S;
	want->label = tag & ((UINT64_C(1) << LABEL_BITS) - 1);
	want->label = want->label ? want->label : 1;
	want->now = (uint64_t)now_ns * TICKS_PER_NS;
	want->interval = (UINT64_C(1000000000000000000) * TICKS_PER_NS + rate - 1) / rate;
	want->depth = times(burst, want->interval);
	if (half)
		want->interval = times(2, want->interval);
	want->charge = times(cost, want->interval);
	want->limit = want->charge < want->depth ? want->depth - want->charge : 0;
	want->never = cost > burst;
}

static struct ld_limiter_set *set_of(const struct ld_limiter *limiter, uint64_t tag)
{
	return &limiter->sets[(tag >> 32) * limiter->set_count >> 32];
}

static uint64_t ahead(uint64_t until, uint64_t now)
{
	return until > now ? until - now : 0;
}

static int64_t to_ms(uint64_t ticks)
{
	return (int64_t)((ticks + TICKS_PER_MS - 1) / TICKS_PER_MS);
}

static int is_idle(uint64_t until, uint64_t now)
{
	return until == 0 || (until & ~FROZEN) + (uint64_t)LD_LIMIT_IDLE_NS * TICKS_PER_NS <= now;
}

static void look(struct ld_limiter_set *set, const struct want *want, struct seen *seen)
{
	*seen = (struct seen){ .own = -1, .idle = -1 };
	for (int i = 0; i < LD_LIMIT_WAYS; i++) {
		/* In this order: see above. */
		uint64_t until = atomic_load(&set->rows[i].until);
		int ours = atomic_load(&set->rows[i].owner) >> 16 == want->label;

		if (ours && (until & FROZEN) == 0) {
			if (seen->own >= 0) {
				seen->elsewhere += ahead(until, want->now);
			} else {
				seen->own = i;
				seen->own_until = until;
			}
		} else if (is_idle(until, want->now)) {
			/* The one that is idle for the longest time: all who look at the same moment choose the same. */
			if (seen->idle < 0 || (until & ~FROZEN) < (seen->idle_until & ~FROZEN)) {
				seen->idle = i;
				seen->idle_until = until;
			}
		} else if (ours) {
			seen->named = 1;
		}
	}
}

/* How far all rows of the tag but this one are ahead, after it was charged. */
static uint64_t elsewhere(struct ld_limiter_set *set, const struct want *want, int charged)
{
	uint64_t sum = 0;

	for (int i = 0; i < LD_LIMIT_WAYS; i++) {
		uint64_t until;

		if (i == charged)
			continue;
		until = atomic_load(&set->rows[i].until);
		if ((until & FROZEN) == 0 && atomic_load(&set->rows[i].owner) >> 16 == want->label)
			sum += ahead(until, want->now);
	}
	return sum;
}

int ld_limiter_give_back(const struct ld_limit_taken *taken)
{
	uint64_t after = taken->after;

	return atomic_compare_exchange_strong(taken->until, &after, taken->before);
}

/* How a try ended: admitted, refused by this many ticks, or to be made again. */
enum outcome { ADMITTED, REFUSED, AGAIN };

/* The row is charged. Do the other rows of the tag allow it? */
static enum outcome verify(struct ld_limiter_set *set, const struct want *want, int row, const struct ld_limit_taken *taken)
{
	LD_POINT(limit_charged);
	if (ahead(taken->before, want->now) + elsewhere(set, want, row) <= want->limit)
		return ADMITTED;
	ld_limiter_give_back(taken);
	return AGAIN;
}

static enum outcome take_own(struct ld_limiter_set *set, const struct want *want, const struct seen *seen, struct ld_limit_taken *taken,
    uint64_t *ret_over)
{
	uint64_t used = ahead(seen->own_until, want->now) + seen->elsewhere, until = seen->own_until;

	if (used > want->limit) {
		*ret_over = used - want->limit;
		return REFUSED;
	}
	*taken = (struct ld_limit_taken){ &set->rows[seen->own].until, until > want->now ? until : want->now, 0, 0 };
	taken->after = taken->before + want->charge;
	if (!atomic_compare_exchange_strong(taken->until, &until, taken->after))
		return AGAIN;
	return verify(set, want, seen->own, taken);
}

/* Put the tag's name on a row that we froze. 0 when it is not ours any more. */
static int name_row(struct ld_limiter_row *row, uint64_t label, uint64_t frozen)
{
	for (int tries = 0; tries < LD_LIMIT_TRIES; tries++) {
		uint64_t owner = atomic_load(&row->owner);

		if (atomic_load(&row->until) != frozen)
			return 0;
		if (atomic_compare_exchange_strong(&row->owner, &owner, label << 16 | ((owner + 1) & 0xffff)))
			return 1;
	}
	return 0;
}

static enum outcome take_idle(struct ld_limiter_set *set, const struct want *want, const struct seen *seen, struct ld_limit_taken *taken,
    uint64_t *ret_over)
{
	struct ld_limiter_row *row = &set->rows[seen->idle];
	uint64_t was = seen->idle_until, frozen = FROZEN | (want->now + (uint64_t)LEASE_NS * TICKS_PER_NS), debt;

	if (!atomic_compare_exchange_strong(&row->until, &was, frozen))
		return AGAIN;
	LD_POINT(limit_frozen);
	if (!name_row(row, want->label, frozen))
		return AGAIN;
	LD_POINT(limit_named);
	debt = ahead(atomic_load(&set->shared.until), want->now);
	if (debt > want->depth)
		debt = want->depth;
	*taken = (struct ld_limit_taken){ &row->until, want->now + debt, want->now + debt, 0 };
	if (debt <= want->limit)
		taken->after += want->charge;
	if (!atomic_compare_exchange_strong(&row->until, &frozen, taken->after))
		return AGAIN;
	if (debt <= want->limit)
		return verify(set, want, seen->idle, taken);
	*ret_over = debt - want->limit;
	return REFUSED;
}

static enum outcome take_shared(struct ld_limiter_set *set, const struct want *want, struct ld_limit_taken *taken, uint64_t *ret_over)
{
	uint64_t until = atomic_load(&set->shared.until), used = ahead(until, want->now);
	struct seen seen;

	if (used > want->limit) {
		*ret_over = used - want->limit;
		return REFUSED;
	}
	*taken = (struct ld_limit_taken){ &set->shared.until, want->now + used, want->now + used + want->charge, 1 };
	if (!atomic_compare_exchange_strong(taken->until, &until, taken->after))
		return AGAIN;
	LD_POINT(limit_charged);
	look(set, want, &seen);
	if (seen.own < 0 && !seen.named)
		return ADMITTED;
	ld_limiter_give_back(taken);
	return AGAIN;
}

static void pause_briefly(void)
{
	for (int i = 0; i < PAUSES; i++)
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#else
		atomic_signal_fence(memory_order_seq_cst);
#endif
}

int64_t ld_limiter_take(const struct ld_limiter *limiter, uint64_t tag, const struct ld_limit_rule *rule, uint32_t cost, int64_t now_ns,
    struct ld_limit_taken *ret_taken)
{
	struct ld_limiter_set *set = set_of(limiter, tag);
	struct want want;
	uint64_t over = 0;

	work_out(limiter, tag, rule, cost, now_ns, &want);
	if (want.never)
		return -1;
	for (int tries = 0; tries < LD_LIMIT_TRIES; tries++) {
		enum outcome outcome = AGAIN;
		struct seen seen;

		if (tries >= QUICK_TRIES)
			pause_briefly();
		look(set, &want, &seen);
		if (seen.own >= 0)
			outcome = take_own(set, &want, &seen, ret_taken, &over);
		else if (seen.idle >= 0)
			outcome = take_idle(set, &want, &seen, ret_taken, &over);
		else if (!seen.named)
			outcome = take_shared(set, &want, ret_taken, &over);
		if (outcome != AGAIN)
			return outcome == ADMITTED ? 0 : to_ms(over);
	}
	return 1;
}

/* How far the bucket of the tag is ahead, wherever it is kept. */
static uint64_t used_of(struct ld_limiter_set *set, const struct want *want, int *ret_known)
{
	struct seen seen;
	uint64_t shared;

	look(set, want, &seen);
	*ret_known = seen.own >= 0;
	if (seen.own >= 0)
		return ahead(seen.own_until, want->now) + seen.elsewhere;
	shared = ahead(atomic_load(&set->shared.until), want->now);
	return seen.idle >= 0 && shared > want->depth ? want->depth : shared;
}

int64_t ld_limiter_wait_ms(const struct ld_limiter *limiter, uint64_t tag, const struct ld_limit_rule *rule, uint32_t cost, int64_t now_ns)
{
	struct want want;
	uint64_t used;
	int known;

	work_out(limiter, tag, rule, cost, now_ns, &want);
	if (want.never)
		return -1;
	used = used_of(set_of(limiter, tag), &want, &known);
	return used > want.limit ? to_ms(used - want.limit) : 0;
}

void ld_limiter_look(const struct ld_limiter *limiter, uint64_t tag, const struct ld_limit_rule *rule, int64_t now_ns,
    struct ld_limit_view *ret_view)
{
	struct want want;
	uint64_t used;

	work_out(limiter, tag, rule, 1, now_ns, &want);
	used = used_of(set_of(limiter, tag), &want, &ret_view->known);
	ret_view->left = used < want.depth ? (int64_t)((want.depth - used) / want.interval) : 0;
	/* The burst of a cold host may be less than one: a full bucket has that one. */
	if (used == 0 && ret_view->left == 0)
		ret_view->left = 1;
	ret_view->full_ms = to_ms(used);
}
