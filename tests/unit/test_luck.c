/* SPDX-License-Identifier: MIT */
/*
 * Bad luck with the place: directories that are not ours, file systems that are too small or full, files that vanish or change under
 * running processes, and openers that do not agree. Each is a clear error at open, or a cache that degrades and heals.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "cache.h"
#include "child.h"
#include "leave_out.h"
#include "shm/seg.h"

enum { OTHER_UID = 54321 };

/* Opening must be refused with a problem that holds this text. */
static void refused(struct box *box, const char *const *settings, int result, const char *text)
{
	larder *cache = NULL;
	char *why = NULL;
	int rc = box_try(box, settings, &cache, &why);

	if (rc != result || !why || !strstr(why, text))
		print_message("# %s: %s\n", larder_result_name(rc), why ? why : "no reason");
	assert_int_equal(rc, result);
	assert_null(cache);
	assert_non_null(why);
	assert_non_null(strstr(why, text));
	larder_free(why);
}

/* ---- the directory ---- */

static void test_a_directory_that_others_may_use(void **state)
{
	static const mode_t modes[] = { 0770, 0702, 0777, 0750, 0701 };
	struct box *box = *state;

	for (int i = 0; i < 5; i++) {
		assert_int_equal(chmod(box->dir, modes[i]), 0);
		refused(box, NULL, LARDER_E_REFUSED, "chmod 700");
	}
	assert_int_equal(chmod(box->dir, 0700), 0);
	box_open(box, NULL);
}

static void test_a_directory_of_another_user(void **state)
{
	struct box *box = *state;

	if (geteuid() != 0)
		LEAVE_OUT("only user 0 can give a directory away");
	assert_int_equal(chown(box->dir, OTHER_UID, (gid_t)-1), 0);
	refused(box, NULL, LARDER_E_REFUSED, "54321");
	assert_int_equal(chown(box->dir, 0, (gid_t)-1), 0);
	box_open(box, NULL);
}

static void test_a_directory_that_is_none(void **state)
{
	struct box *box = *state;
	char path[256], row[300];

	(void)snprintf(row, sizeof(row), "DIR=%s", box_path(box, "link", path));
	assert_int_equal(symlink("/tmp", path), 0);
	refused(box, (const char *const[]){ row, NULL }, LARDER_E_REFUSED, "symbolic link");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
	refused(box, (const char *const[]){ row, NULL }, LARDER_E_REFUSED, path);
	(void)snprintf(row, sizeof(row), "DIR=%s/no/such", box->dir);
	refused(box, (const char *const[]){ row, NULL }, LARDER_E_REFUSED, "parent directory");
}

/* Files in our directory that somebody else could have put there. */
static void test_files_that_are_not_plain(void **state)
{
	static const char *const files[] = { "larder.seg", "larder.lock" };
	struct box *box = *state;
	char path[256], other[256];

	for (int i = 0; i < 2; i++) {
		(void)box_path(box, files[i], path);
		assert_int_equal(symlink("/etc/passwd", path), 0);
		refused(box, NULL, LARDER_E_REFUSED, "");
		assert_int_equal(unlink(path), 0);
		assert_int_equal(mkfifo(path, 0600), 0);
		refused(box, NULL, LARDER_E_REFUSED, "");
		assert_int_equal(unlink(path), 0);
		assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
		assert_int_equal(link(path, box_path(box, "second", other)), 0);
		refused(box, NULL, LARDER_E_REFUSED, "links");
		assert_int_equal(unlink(other), 0);
		assert_int_equal(chmod(path, 0640), 0);
		refused(box, NULL, LARDER_E_REFUSED, "0640");
		assert_int_equal(unlink(path), 0);
	}
	box_open(box, NULL);
}

/* ---- room ---- */

/* A file system of the test's own over its directory; 0 when that cannot be had here. */
static int mount_small(const struct box *box, const char *size)
{
	char options[64];

	(void)snprintf(options, sizeof(options), "size=%s,mode=0700", size);
	return mount("tmpfs", box->dir, "tmpfs", 0, options) == 0;
}

static void unmount(struct box *box)
{
	box_close(box);
	assert_int_equal(umount(box->dir), 0);
}

static void test_a_file_system_that_is_too_small(void **state)
{
	struct box *box = *state;

	if (!mount_small(box, "64m"))
		LEAVE_OUT("a file system cannot be mounted here");
	refused(box, (const char *const[]){ "SIZE=256M", NULL }, LARDER_E_FULL, "LARDER_SIZE=256M");
	refused(box, (const char *const[]){ "SIZE=256M", NULL }, LARDER_E_FULL, "has 64M");
	box_open(box, (const char *const[]){ "SIZE=32M", NULL });
	assert_int_equal(box_set(box, "a", "x"), 0);
	unmount(box);
}

/* Take what room is left, but for `spare` bytes. */
static void fill_up(const struct box *box)
{
	static char zeros[65536];
	char path[256];
	int fd = open(box_path(box, "filler", path), O_CREAT | O_WRONLY, 0600);

	assert_true(fd >= 0);
	for (size_t part = sizeof(zeros); part >= 512; part /= 2)
		while (write(fd, zeros, part) == (ssize_t)part)
			;
	assert_int_equal(close(fd), 0);
}

static void test_a_file_system_that_fills_up(void **state)
{
	static char data[200000];
	struct box *box = *state;
	char path[256];
	int rc = 0;

	if (!mount_small(box, "48m"))
		LEAVE_OUT("a file system cannot be mounted here");
	box_open(box, (const char *const[]){ "SIZE=16M", NULL });
	assert_int_equal(box_set(box, "a", "old"), 0);
	assert_int_equal(box_set(box, "b", "other"), 0);
	fill_up(box);
	for (int i = 0; i < 100 && rc == 0; i++)
		rc = larder_set(box->tenant, BOX_SPACE, "a", 1, data, sizeof(data), NULL, NULL);
	assert_int_equal(rc, LARDER_UNAVAILABLE);
	assert_int_equal(larder_reason(), LARDER_REASON_DISK);
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	assert_true(box_gives(box, "b", 0, "other"));
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "c", 1, data, sizeof(data), NULL, NULL), LARDER_E_FULL);
	assert_true(box_gives(box, "c", LARDER_MISS, NULL));
	assert_int_equal(unlink(box_path(box, "filler", path)), 0);
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "a", 1, data, sizeof(data), NULL, NULL), 0);
	assert_int_equal(larder_exists(box->tenant, BOX_SPACE, "a", 1, NULL), 0);
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "c", 1, data, sizeof(data), NULL, NULL), 0);
	unmount(box);
}

static void test_opening_on_a_full_file_system(void **state)
{
	struct box *box = *state;
	char path[256];

	if (!mount_small(box, "48m"))
		LEAVE_OUT("a file system cannot be mounted here");
	fill_up(box);
	refused(box, (const char *const[]){ "SIZE=16M", NULL }, LARDER_E_FULL, "full");
	assert_int_equal(unlink(box_path(box, "filler", path)), 0);
	box_open(box, (const char *const[]){ "SIZE=16M", NULL });
	assert_int_equal(box_set(box, "a", "x"), 0);
	unmount(box);
}

/* ---- files that change under us ---- */

/* Calls notice once a second: go there where the clock can be moved, else wait for it. */
static int healed(struct box *box, const char *event)
{
#ifdef LARDER_FAULTS
	atomic_fetch_add(&box->plan->boot_shift_ms, 1100);
#endif
	return CHILD_POLL((larder_exists(box->tenant, BOX_SPACE, "a", 1, NULL) != 0 && box_said(box, event)));
}

static void check_works(struct box *box)
{
	assert_true(box_gives(box, "a", LARDER_MISS, NULL));
	assert_int_equal(box_set(box, "a", "again"), 0);
	assert_true(box_gives(box, "a", 0, "again"));
}

static void test_the_store_is_deleted_under_us(void **state)
{
	struct box *box = *state;
	char path[256];

	box_open(box, NULL);
	for (int i = 1; i < 4; i++) {
		char file[32];

		assert_int_equal(box_set(box, "a", "old"), 0);
		(void)snprintf(file, sizeof(file), "larder.%d.mdb", i);
		assert_int_equal(unlink(box_path(box, file, path)), 0);
		assert_true(healed(box, "event=store_remade"));
		check_works(box);
		box_forget_lines(box);
	}
}

static void test_the_segment_is_deleted_under_us(void **state)
{
	struct box *box = *state;
	char path[256];

	box_open(box, NULL);
	assert_int_equal(box_set(box, "a", "old"), 0);
	assert_int_equal(unlink(box_path(box, "larder.seg", path)), 0);
	assert_true(healed(box, "event=segment_vanished"));
	check_works(box);
	assert_int_equal(access(path, F_OK), 0);
}

static void test_everything_is_deleted_under_us(void **state)
{
	static const char *const files[] = { "larder.seg", "larder.lock", "larder.1.mdb", "larder.1.mdb-lock" };
	struct box *box = *state;
	char path[256];

	box_open(box, NULL);
	assert_int_equal(box_set(box, "a", "old"), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(unlink(box_path(box, files[i], path)), 0);
	assert_true(healed(box, "event=segment_vanished"));
	check_works(box);
}

static char program[4096];

static void open_and_set(void *arg)
{
	struct box *box = arg;

	/* As another program would: nothing inherited is used. */
	execl(program, "test_luck", "--open-and-set", box->dir, (char *)NULL);
	_exit(250);
}

/* The other program: sets "b" in the cache of this directory. */
static int be_other_program(const char *dir)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	larder_tenant *tenant;
	larder *cache;
	char row[256];
	int rc;

	(void)snprintf(row, sizeof(row), "DIR=%s", dir);
	options.flags = LARDER_OPEN_NO_ENV;
	options.settings = (const char *const[]){ row, BOX_SECRET, "SIZE=4M", "THREADS=0", "WORKERS=8", NULL };
	rc = larder_open(&options, &cache, NULL);
	if (rc != 0)
		return -rc;
	if (larder_tenant_open(cache, "acme", &tenant) != 0)
		return 101;
	rc = larder_set(tenant, BOX_SPACE, "b", 1, "of another", 10, NULL, NULL);
	larder_tenant_close(tenant);
	larder_close(cache);
	return rc == 0 ? 0 : 102;
}

/* Nobody can see any more who holds what: the other program makes all anew, and we go over to it. */
static void test_the_lock_file_is_deleted_under_us(void **state)
{
	struct box *box = *state;
	char path[256];

	box_open(box, NULL);
	assert_int_equal(box_set(box, "a", "old"), 0);
	assert_int_equal(unlink(box_path(box, "larder.lock", path)), 0);
	assert_true(box_gives(box, "a", 0, "old"));
	assert_int_equal(child_run(open_and_set, box), 0);
	assert_true(healed(box, "event=segment_vanished"));
	assert_true(box_gives(box, "b", 0, "of another"));
	check_works(box);
}

/* ---- openers that do not agree ---- */

static void test_another_size_is_adopted(void **state)
{
	struct larder_stats stats = { .size = sizeof(stats) };
	struct box *box = *state;

	box_open(box, NULL);
	assert_int_equal(box_set(box, "a", "x"), 0);
	assert_int_equal(child_run(open_and_set, box), 0);
	assert_true(box_gives(box, "b", 0, "of another"));
	box_close(box);
	box_open(box, (const char *const[]){ "SIZE=64M", "MAX_ENTRIES=10", NULL });
	assert_true(box_said(box, "event=settings_adopted"));
	assert_true(box_said(box, "wanted_size=67108864"));
	assert_int_equal(larder_get_stats(box->cache, &stats), 0);
	assert_int_equal(stats.size_bytes, 8 << 20);
	assert_true(box_gives(box, "a", 0, "x"));
}

/* Change a byte of the segment's header, as another version, boot or namespace would have it. */
static void poke_segment(const struct box *box, size_t at)
{
	char path[256];
	unsigned char byte;
	int fd = open(box_path(box, "larder.seg", path), O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	assert_int_equal(close(fd), 0);
}

static const size_t foreign[] = { offsetof(struct ld_seg_header, magic), offsetof(struct ld_seg_header, layout),
	offsetof(struct ld_seg_header, boot_id), offsetof(struct ld_seg_header, pid_ns), offsetof(struct ld_seg_header, time_ns),
	offsetof(struct ld_seg_header, lock_ino) };
enum { FOREIGN = sizeof(foreign) / sizeof(*foreign) };

static void test_a_foreign_segment_that_was_left_is_made_anew(void **state)
{
	struct box *box = *state;

	for (int i = 0; i < FOREIGN; i++) {
		box_open(box, (const char *const[]){ "LOG_LEVEL=info", NULL });
		assert_int_equal(box_set(box, "a", "old"), 0);
		box_close(box);
		poke_segment(box, foreign[i]);
		box_forget_lines(box);
		box_open(box, (const char *const[]){ "LOG_LEVEL=info", NULL });
		assert_true(box_said(box, "event=cache_made"));
		check_works(box);
		box_close(box);
	}
}

static void test_a_foreign_segment_in_use_is_refused(void **state)
{
	struct box *box = *state;

	box_open(box, NULL);
	assert_int_equal(box_set(box, "a", "old"), 0);
	for (int i = 0; i < FOREIGN; i++) {
		poke_segment(box, foreign[i]);
		assert_int_equal(child_run(open_and_set, box), -LARDER_E_REFUSED);
		poke_segment(box, foreign[i]);
	}
	assert_true(box_gives(box, "a", 0, "old"));
	assert_int_equal(child_run(open_and_set, box), 0);
	assert_true(box_gives(box, "b", 0, "of another"));
}

static void open_in_own_namespace(void *arg)
{
	if (unshare(CLONE_NEWPID) != 0)
		_exit(77);
	_exit(child_run(open_and_set, arg));
}

static void test_another_pid_namespace_is_refused(void **state)
{
	struct box *box = *state;
	int status;

	box_open(box, NULL);
	assert_int_equal(box_set(box, "a", "old"), 0);
	status = child_run(open_in_own_namespace, box);
	if (status == 77)
		LEAVE_OUT("a pid namespace cannot be had here");
	assert_int_equal(status, -LARDER_E_REFUSED);
	assert_true(box_gives(box, "a", 0, "old"));
	/* With nobody in it, it is made anew there. */
	box_close(box);
	assert_int_equal(child_run(open_in_own_namespace, box), 0);
}

/* ---- failed transactions ---- */

#ifdef LARDER_FAULTS

static void fail_next(struct box *box, enum ld_fault_point point, int error)
{
	box->plan->point = point;
	box->plan->action = LD_FAULT_ERROR;
	box->plan->error = error;
	box->plan->countdown = 1;
}

/* LMDB gives the next transaction the id of the failed one: what it stores must not be taken for what the failed one should hide. */
static void test_what_follows_a_failed_write_is_served(void **state)
{
	static const enum ld_fault_point points[] = { LD_FAULT_txn_begin, LD_FAULT_txn_commit };
	static const int errors[] = { ENOSPC, EIO, ENOMEM };
	static const int reasons[] = { LARDER_REASON_DISK, LARDER_REASON_DISK, LARDER_REASON_NOMEM };
	static const int results[] = { LARDER_E_FULL, LARDER_E_IO, LARDER_E_IO };
	struct box *box = *state;

	box_open(box, NULL);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(box_set(box, "a", "old"), 0);
		fail_next(box, points[i % 2], errors[i / 2]);
		assert_int_equal(box_set(box, "a", "lost"), LARDER_UNAVAILABLE);
		assert_int_equal(larder_reason(), reasons[i / 2]);
		assert_true(box_gives(box, "a", LARDER_MISS, NULL));
		assert_int_equal(box_set(box, "a", "new"), 0);
		assert_true(box_gives(box, "a", 0, "new"));
		fail_next(box, points[i % 2], errors[i / 2]);
		assert_int_equal(larder_delete(box->tenant, BOX_SPACE, "a", 1, NULL), results[i / 2]);
		assert_true(box_gives(box, "a", LARDER_MISS, NULL));
		fail_next(box, points[i % 2], errors[i / 2]);
		assert_int_equal(larder_add(box->tenant, BOX_SPACE, "a", 1, "lost", 4, NULL, NULL), results[i / 2]);
		assert_int_equal(larder_add(box->tenant, BOX_SPACE, "a", 1, "one", 3, NULL, NULL), 0);
		assert_int_equal(larder_add(box->tenant, BOX_SPACE, "a", 1, "two", 3, NULL, NULL), LARDER_EXISTS);
		assert_true(box_gives(box, "a", 0, "one"));
		fail_next(box, points[i % 2], errors[i / 2]);
		assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "a", 1, 1000, 0, NULL), LARDER_UNAVAILABLE);
		assert_true(box_gives(box, "a", 0, "one"));
	}
}

/* A clear that could not be recorded holds all the same, and hides nothing of what comes after it. */
static void test_a_clear_that_fails_holds(void **state)
{
	static const enum ld_fault_point points[] = { LD_FAULT_txn_begin, LD_FAULT_txn_commit };
	struct box *box = *state;

	box_open(box, NULL);
	for (int i = 0; i < 6; i++) {
		int rc;

		assert_int_equal(box_set(box, "a", "old"), 0);
		fail_next(box, points[i % 2], ENOSPC);
		rc = i / 2 == 0 ? larder_clear_space(box->tenant, BOX_SPACE, NULL) :
		    i / 2 == 1 ? larder_clear_tenant(box->tenant, NULL) : larder_clear_all(box->cache, NULL);
		assert_int_equal(rc, LARDER_E_FULL);
		assert_true(box_gives(box, "a", LARDER_MISS, NULL));
		assert_int_equal(box_set(box, "a", "new"), 0);
		assert_true(box_gives(box, "a", 0, "new"));
	}
}

#endif

static int end(void **state)
{
	struct box *box = *state;

	box_close(box);
	/* Of a test that failed half-way. */
	(void)umount2(box->dir, MNT_DETACH);
	return box_free(box);
}

#define WITH_BOX(test) cmocka_unit_test_setup_teardown(test, box_begin, end)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		WITH_BOX(test_a_directory_that_others_may_use),
		WITH_BOX(test_a_directory_of_another_user),
		WITH_BOX(test_a_directory_that_is_none),
		WITH_BOX(test_files_that_are_not_plain),
		WITH_BOX(test_a_file_system_that_is_too_small),
		WITH_BOX(test_a_file_system_that_fills_up),
		WITH_BOX(test_opening_on_a_full_file_system),
		WITH_BOX(test_the_store_is_deleted_under_us),
		WITH_BOX(test_the_segment_is_deleted_under_us),
		WITH_BOX(test_everything_is_deleted_under_us),
		WITH_BOX(test_the_lock_file_is_deleted_under_us),
		WITH_BOX(test_another_size_is_adopted),
		WITH_BOX(test_a_foreign_segment_that_was_left_is_made_anew),
		WITH_BOX(test_a_foreign_segment_in_use_is_refused),
		WITH_BOX(test_another_pid_namespace_is_refused),
#ifdef LARDER_FAULTS
		WITH_BOX(test_what_follows_a_failed_write_is_served),
		WITH_BOX(test_a_clear_that_fails_holds),
#endif
	};

	if (argc == 3 && strcmp(argv[1], "--open-and-set") == 0)
		return be_other_program(argv[2]);
	if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 1)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
