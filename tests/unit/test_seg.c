/* SPDX-License-Identifier: MIT */
/*
 * The segment: making and mapping it, every field of its header that makes it foreign, files that are refused, slots with real processes,
 * and who does the background work, by an invented clock.
 */
#include "shm/seg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "cache.h"
#include "child.h"
#include "leave_out.h"
#include "shm/role.h"

enum { SLOTS = 5 };

static const struct ld_seg_params params = { .size_b = 1 << 20, .map_b = 3 << 20, .low_b = 900000, .high_b = 950000, .capacity = 1024,
	.sweep_ms = 60000, .slots = SLOTS, .readers = 10, .tenants = 17 };
static const struct ld_seg_self self = { 11, 22, LD_ROLE_WORKER };

/* A place of the test's own. */
struct spot {
	struct box *box;
	struct ld_seg_place place;
	struct ld_problems problems;
};

static int begin(void **state)
{
	struct spot *spot = calloc(1, sizeof(*spot));

	if (!spot)
		return -1;
	spot->box = box_new();
	if (!spot->box)
		return -1;
	spot->place = (struct ld_seg_place){ open(spot->box->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), "s", (uid_t)-1, (gid_t)-1 };
	*state = spot;
	return spot->place.dir_fd < 0 ? -1 : 0;
}

static int end(void **state)
{
	struct spot *spot = *state;
	int rc = box_free(spot->box);

	(void)close(spot->place.dir_fd);
	ld_problems_free(&spot->problems);
	free(spot);
	return rc;
}

static void make(struct spot *spot, struct ld_seg *seg)
{
	ld_seg_init(seg);
	assert_int_equal(ld_seg_open_lock(seg, &spot->place, &spot->problems), 0);
	assert_int_equal(ld_seg_lock_open(seg, 0), 0);
	assert_int_equal(ld_seg_make(seg, &spot->place, &params, 9), 0);
	ld_seg_unlock_open(seg);
}

static void attach(struct spot *spot, struct ld_seg *seg)
{
	ld_seg_init(seg);
	assert_int_equal(ld_seg_attach(seg, &spot->place, &spot->problems), 0);
	assert_int_equal(ld_seg_open_lock(seg, &spot->place, &spot->problems), 0);
}

/* ---- making and mapping ---- */

static void test_made_and_mapped(void **state)
{
	struct spot *spot = *state;
	struct ld_seg seg;
	struct stat st;
	char path[256];

	ld_seg_init(&seg);
	assert_int_equal(ld_seg_attach(&seg, &spot->place, &spot->problems), LARDER_MISS);
	make(spot, &seg);
	assert_int_equal(stat(box_path(spot->box, "s.seg", path), &st), 0);
	assert_true((uint64_t)st.st_size == ld_seg_size(&params) && st.st_blocks * 512 >= st.st_size && (st.st_mode & 07777) == 0600);
	atomic_store(&seg.barriers[LD_BARRIERS - 1], 123);
	atomic_store(&seg.sketch.words[(seg.sketch.line_mask + 1) * LD_SKETCH_LINE_WORDS - 1], 456);
	ld_seg_detach(&seg);
	assert_null(seg.h);
	attach(spot, &seg);
	assert_true(seg.h->params.size_b == params.size_b && seg.h->file_generation == 9 && seg.h->layout == LD_SEG_LAYOUT);
	assert_int_equal(seg.barriers[LD_BARRIERS - 1], 123);
	assert_int_equal(seg.sketch.words[(seg.sketch.line_mask + 1) * LD_SKETCH_LINE_WORDS - 1], 456);
	assert_int_equal(seg.tenants.max, 17);
	assert_int_equal(ld_seg_is_gone(&seg), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ld_seg_is_gone(&seg), 1);
	ld_seg_detach(&seg);
	assert_int_equal(spot->problems.count, 0);
}

/* The parts lie one after the other and do not overlap. */
static void test_parts_do_not_overlap(void **state)
{
	struct spot *spot = *state;
	struct ld_seg seg;
	const struct ld_seg_header *h;

	make(spot, &seg);
	h = seg.h;
	assert_true(h->slots_at >= sizeof(*h));
	assert_true(h->tenants_at >= h->slots_at + SLOTS * sizeof(struct ld_slot));
	assert_true(h->tenant_index_at >= h->tenants_at + 17 * sizeof(struct ld_tenant_row));
	assert_true(h->scopes_at >= h->tenant_index_at + seg.tenants.index_size * 8);
	assert_true(h->barriers_at >= h->scopes_at + LD_SCOPE_SETS * LD_SCOPE_WAYS * sizeof(struct ld_scope));
	assert_true(h->sketch_at >= h->barriers_at + LD_BARRIERS * 8);
	assert_true(h->total_size >= h->sketch_at + h->sketch_lines * 64);
	assert_int_equal(h->sketch_at % 64, 0);
	assert_true(h->limiter_at >= h->sketch_at + h->sketch_lines * 64);
	assert_true(h->total_size >= h->limiter_at + ld_limiter_size(params.limit_rows));
	assert_int_equal(h->limiter_at % 128, 0);
	assert_true(h->leases_at >= h->limiter_at + ld_limiter_size(params.limit_rows));
	assert_true(h->total_size >= h->leases_at + ld_lease_size(params.leases));
	assert_int_equal(h->leases_at % 128, 0);
	assert_int_equal(seg.limiter.head->half_until_ms, h->made_ms + LD_LIMIT_COLD_MS);
	ld_seg_detach(&seg);
}

#define FIELD(field) { #field, offsetof(struct ld_seg_header, field), sizeof(((struct ld_seg_header *)0)->field) }

static const struct field {
	const char *name;
	size_t at, size;
} fields[] = {
	FIELD(magic), FIELD(layout), FIELD(header_size), FIELD(total_size), FIELD(boot_id), FIELD(pid_ns), FIELD(time_ns), FIELD(lock_dev),
	FIELD(lock_ino), FIELD(params.capacity), FIELD(params.slots), FIELD(params.tenants), FIELD(slots_at), FIELD(tenants_at),
	FIELD(tenant_index_at), FIELD(scopes_at), FIELD(barriers_at), FIELD(sketch_at), FIELD(sketch_lines),
	FIELD(limiter_at), FIELD(params.limit_rows), FIELD(leases_at), FIELD(params.leases),
};

/* Each byte of each field that says what the file is, changed by itself. */
static void test_a_foreign_header_is_not_used(void **state)
{
	struct spot *spot = *state;
	struct ld_seg seg, second;

	make(spot, &seg);
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		for (size_t k = 0; k < fields[i].size; k++) {
			unsigned char *byte = (unsigned char *)seg.h + fields[i].at + k;

			/* A few entries of capacity more need no other sketch. */
			if (strcmp(fields[i].name, "params.capacity") == 0 && k < 2)
				continue;
			*byte ^= 0xff;
			ld_seg_init(&second);
			if (ld_seg_attach(&second, &spot->place, &spot->problems) != LARDER_STALE)
				fail_msg("%s, byte %zu", fields[i].name, k);
			assert_true(second.h == NULL && second.fd == -1);
			*byte ^= 0xff;
		}
	ld_seg_init(&second);
	assert_int_equal(ld_seg_attach(&second, &spot->place, &spot->problems), 0);
	ld_seg_abandon(&second);
	ld_seg_detach(&seg);
}

static void test_a_file_of_another_length_is_not_used(void **state)
{
	static const off_t lengths[] = { 0, 1, 4096, -4096, -1, 1 << 30 };
	struct spot *spot = *state;
	struct ld_seg seg;
	char path[256];

	make(spot, &seg);
	ld_seg_detach(&seg);
	(void)box_path(spot->box, "s.seg", path);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(truncate(path, lengths[i] < 0 ? (off_t)ld_seg_size(&params) + lengths[i] : lengths[i]), 0);
		ld_seg_init(&seg);
		assert_int_equal(ld_seg_attach(&seg, &spot->place, &spot->problems), LARDER_STALE);
	}
	/* It is made anew over it. */
	make(spot, &seg);
	ld_seg_detach(&seg);
	attach(spot, &seg);
	ld_seg_detach(&seg);
}

static void test_what_is_left_of_a_killed_maker_is_removed(void **state)
{
	struct spot *spot = *state;
	struct ld_seg seg;
	char path[256];

	assert_int_equal(close(open(box_path(spot->box, "s.seg.new", path), O_CREAT | O_WRONLY, 0644)), 0);
	make(spot, &seg);
	assert_int_equal(access(path, F_OK), -1);
	ld_seg_detach(&seg);
}

static void refused(struct spot *spot, const char *file)
{
	struct ld_seg seg;
	unsigned before = spot->problems.count;

	ld_seg_init(&seg);
	if (strcmp(file, "s.seg") == 0)
		assert_int_equal(ld_seg_attach(&seg, &spot->place, &spot->problems), LARDER_E_REFUSED);
	else
		assert_int_equal(ld_seg_open_lock(&seg, &spot->place, &spot->problems), LARDER_E_REFUSED);
	assert_int_equal(spot->problems.count, before + 1);
	assert_non_null(strstr(spot->problems.text, file));
	assert_true(seg.h == NULL && seg.fd == -1 && seg.lock_fd == -1);
}

static void test_files_that_are_not_ours_are_refused(void **state)
{
	static const char *const files[] = { "s.seg", "s.lock" };
	static const mode_t modes[] = { 0640, 0604, 0620, 0666, 0601 };
	struct spot *spot = *state;
	struct ld_seg seg;
	char path[256], other[256];

	make(spot, &seg);
	ld_seg_detach(&seg);
	for (int i = 0; i < 2; i++) {
		(void)box_path(spot->box, files[i], path);
		for (int k = 0; k < 5; k++) {
			assert_int_equal(chmod(path, modes[k]), 0);
			refused(spot, files[i]);
		}
		assert_int_equal(chmod(path, 0600), 0);
		assert_int_equal(link(path, box_path(spot->box, "other", other)), 0);
		refused(spot, files[i]);
		assert_int_equal(rename(path, other), 0);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(symlink("other", path), 0);
		refused(spot, files[i]);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(rename(other, path), 0);
		if (geteuid() == 0) {
			assert_int_equal(chown(path, 54321, (gid_t)-1), 0);
			refused(spot, files[i]);
			assert_int_equal(chown(path, 0, (gid_t)-1), 0);
		}
	}
	attach(spot, &seg);
	ld_seg_detach(&seg);
}

/* ---- the open lock ---- */

struct other {
	struct spot *spot;
	_Atomic int phase;
};

static void hold_open_lock(void *arg)
{
	struct other *other = arg;
	struct ld_seg seg;

	ld_seg_init(&seg);
	CHILD_CHECK(ld_seg_open_lock(&seg, &other->spot->place, &other->spot->problems) == 0);
	CHILD_CHECK(ld_seg_lock_open(&seg, 1000) == 0);
	other->phase = 1;
	CHILD_CHECK(CHILD_POLL(other->phase == 2));
}

static void test_the_open_lock_is_waited_for_with_a_limit(void **state)
{
	struct spot *spot = *state;
	struct other *other = child_share(sizeof(*other));
	struct ld_seg seg;
	int64_t from_ms;
	pid_t child;

	other->spot = spot;
	child = child_start(hold_open_lock, other);
	ld_seg_init(&seg);
	assert_int_equal(ld_seg_open_lock(&seg, &spot->place, &spot->problems), 0);
	assert_true(CHILD_POLL(other->phase == 1));
	from_ms = child_now_ms();
	assert_int_equal(ld_seg_lock_open(&seg, 30), LARDER_UNAVAILABLE);
	assert_in_range(child_now_ms() - from_ms, 28, 2000);
	/* It goes with its holder, however it ends. */
	other->phase = 2;
	assert_int_equal(ld_seg_lock_open(&seg, 5000), 0);
	assert_int_equal(child_end(child), 0);
	ld_seg_detach(&seg);
	(void)munmap(other, sizeof(*other));
}

/* ---- slots ---- */

static void hold_slot(void *arg)
{
	struct other *other = arg;
	struct ld_seg seg;

	ld_seg_init(&seg);
	CHILD_CHECK(ld_seg_attach(&seg, &other->spot->place, &other->spot->problems) == 0);
	CHILD_CHECK(ld_seg_open_lock(&seg, &other->spot->place, &other->spot->problems) == 0);
	CHILD_CHECK(ld_seg_take_slot(&seg, &self, 5) == 0);
	seg.slots[seg.slot].l2_inflight = 7;
	atomic_fetch_add(&other->phase, 1);
	CHILD_CHECK(CHILD_POLL(other->phase >= 100));
	/* Without detaching, as a killed one would. */
}

static void test_slots_fill_up_and_come_free(void **state)
{
	struct spot *spot = *state;
	struct other *other = child_share(sizeof(*other));
	struct ld_seg seg;
	pid_t children[SLOTS];
	uint64_t numbers[SLOTS];

	make(spot, &seg);
	other->spot = spot;
	assert_int_equal(ld_seg_in_use(&seg), 0);
	for (int i = 0; i < SLOTS; i++) {
		children[i] = child_start(hold_slot, other);
		assert_true(CHILD_POLL(other->phase == i + 1));
	}
	assert_int_equal(ld_seg_in_use(&seg), 1);
	assert_int_equal(ld_seg_take_slot(&seg, &self, 5), LARDER_UNAVAILABLE);
	assert_int_equal(seg.slot, -1);
	for (uint32_t i = 0; i < SLOTS; i++) {
		numbers[i] = (uint64_t)seg.slots[i].incarnation << 16 | (i + 1);
		assert_int_equal(seg.slots[i].live, 1);
		assert_int_equal(ld_seg_slot_alive(&seg, i), 1);
		assert_int_equal(ld_seg_alive(&seg, numbers[i]), 1);
		assert_int_equal(ld_seg_alive(&seg, numbers[i] + 65536), 0);
		assert_true(ld_seg_pid_of(&seg, numbers[i]) > 1);
	}
	assert_int_equal(ld_seg_clear_slots(&seg), 0);
	other->phase = 100;
	for (int i = 0; i < SLOTS; i++)
		assert_int_equal(child_end(children[i]), 0);
	for (uint32_t i = 0; i < SLOTS; i++) {
		assert_int_equal(seg.slots[i].live, 1);
		assert_int_equal(ld_seg_alive(&seg, numbers[i]), 0);
	}
	assert_int_equal(ld_seg_take_slot(&seg, &self, 5), 0);
	assert_true(seg.slot == 0 && seg.self == (UINT64_C(2) << 16 | 1) && ld_seg_alive(&seg, seg.self) == 1);
	/* What the dead had under way is not the newcomer's. */
	assert_true(seg.slots[0].l2_inflight == 0 && seg.slots[1].l2_inflight == 7);
	assert_int_equal(ld_seg_alive(&seg, numbers[0]), 0);
	assert_int_equal(ld_seg_clear_slots(&seg), SLOTS - 1);
	assert_int_equal(ld_seg_clear_slots(&seg), 0);
	assert_int_equal(seg.slots[0].live, 1);
	assert_int_equal(ld_seg_in_use(&seg), 0);
	ld_seg_detach(&seg);
	(void)munmap(other, sizeof(*other));
}

static void test_numbers_that_are_none(void **state)
{
	struct spot *spot = *state;
	struct ld_seg seg;

	make(spot, &seg);
	assert_int_equal(ld_seg_pid_of(&seg, 0), 0);
	assert_int_equal(ld_seg_pid_of(&seg, UINT64_MAX), 0);
	assert_int_equal(ld_seg_alive(&seg, UINT64_C(1) << 16 | (SLOTS + 1)), 0);
	assert_int_equal(ld_seg_alive(&seg, UINT64_MAX), 0);
	ld_seg_detach(&seg);
}

/* Two copies of the library in one process differ in `copy`; after exec the image differs and it is no second copy. */
static void test_a_second_copy_is_seen(void **state)
{
	const struct ld_seg_self again = { 11, 22, LD_ROLE_AGENT }, copy = { 11, 33, LD_ROLE_WORKER }, exec = { 12, 33, LD_ROLE_WORKER };
	struct spot *spot = *state;
	struct ld_seg seg, other;

	make(spot, &seg);
	assert_int_equal(ld_seg_second_copy(&seg, &copy), 0);
	assert_int_equal(ld_seg_take_slot(&seg, &self, 1), 0);
	ld_seg_init(&other);
	assert_int_equal(ld_seg_attach(&other, &spot->place, &spot->problems), 0);
	assert_int_equal(ld_seg_second_copy(&other, &copy), 1);
	assert_int_equal(ld_seg_second_copy(&other, &again), 0);
	assert_int_equal(ld_seg_second_copy(&other, &exec), 0);
	ld_seg_abandon(&other);
	ld_seg_detach(&seg);
}

/* ---- the role ---- */

static void test_the_role_passes_on_after_silence(void **state)
{
	struct spot *spot = *state;
	struct other *other = child_share(sizeof(*other));
	struct ld_seg seg;
	uint64_t holder;
	pid_t child;

	make(spot, &seg);
	other->spot = spot;
	child = child_start(hold_slot, other);
	assert_true(CHILD_POLL(other->phase == 1));
	holder = (uint64_t)seg.slots[0].incarnation << 16 | 1;
	assert_int_equal(ld_seg_take_slot(&seg, &self, 1), 0);
	assert_int_equal(ld_role_hold(&seg, 1000), 1);
	assert_int_equal(ld_role_hold(&seg, 1100), 1);
	assert_true(seg.h->evictor == seg.self && seg.h->evictor_beat_ms == 1100);
	assert_int_equal(seg.h->host_counters[LD_HC_evictor_elections], 1);
	/* A live one that gives signs of life keeps it. */
	seg.h->evictor = holder;
	assert_int_equal(ld_role_hold(&seg, 1100 + LD_ROLE_SILENT_MS - 1), 0);
	assert_true(seg.h->evictor == holder && seg.h->evictor_beat_ms == 1100);
	ld_role_drop(&seg);
	assert_true(seg.h->evictor == holder);
	assert_int_equal(ld_role_hold(&seg, 1100 + LD_ROLE_SILENT_MS), 1);
	assert_true(seg.h->evictor == seg.self);
	/* A dead one is replaced at once. */
	seg.h->evictor = holder;
	other->phase = 100;
	assert_int_equal(child_end(child), 0);
	assert_int_equal(ld_role_hold(&seg, 1200), 1);
	assert_int_equal(seg.h->host_counters[LD_HC_evictor_elections], 3);
	ld_role_drop(&seg);
	assert_true(seg.h->evictor == 0);
	ld_seg_detach(&seg);
	(void)munmap(other, sizeof(*other));
}

static void *sleep_long(void *arg)
{
	ld_role_sleep(arg, 60000);
	return NULL;
}

static void test_a_call_wakes_the_holder(void **state)
{
	struct spot *spot = *state;
	struct ld_seg seg;
	int64_t from_ms = child_now_ms();
	pthread_t thread;

	make(spot, &seg);
	/* Nobody sleeps: nothing happens. */
	ld_role_call(&seg);
	assert_int_equal(seg.h->evictor_wake, 0);
	assert_int_equal(pthread_create(&thread, NULL, sleep_long, &seg), 0);
	assert_true(CHILD_POLL(seg.h->evictor_asleep != 0));
	ld_role_call(&seg);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(child_now_ms() - from_ms < 30000);
	assert_int_equal(seg.h->evictor_wake, 1);
	assert_int_equal(seg.h->evictor_asleep, 0);
	ld_seg_detach(&seg);
}

#define AT_A_SPOT(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		AT_A_SPOT(test_made_and_mapped),
		AT_A_SPOT(test_parts_do_not_overlap),
		AT_A_SPOT(test_a_foreign_header_is_not_used),
		AT_A_SPOT(test_a_file_of_another_length_is_not_used),
		AT_A_SPOT(test_what_is_left_of_a_killed_maker_is_removed),
		AT_A_SPOT(test_files_that_are_not_ours_are_refused),
		AT_A_SPOT(test_the_open_lock_is_waited_for_with_a_limit),
		AT_A_SPOT(test_slots_fill_up_and_come_free),
		AT_A_SPOT(test_numbers_that_are_none),
		AT_A_SPOT(test_a_second_copy_is_seen),
		AT_A_SPOT(test_the_role_passes_on_after_silence),
		AT_A_SPOT(test_a_call_wakes_the_holder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
