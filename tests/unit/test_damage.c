/* SPDX-License-Identifier: MIT */
/*
 * Store files found damaged: cut short, full of garbage, with a damaged header, missing, or of another version. They are set aside, a new
 * store is made, and the log says so. A damaged row is never served as a value.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "cache.h"
#include "child.h"
#include "l1/entry.h"
#include "shm/seg.h"

#define STORE "larder.1.mdb"

enum { PAGE = 4096, ROWS = 300 };

static int open_store(const struct box *box, int flags)
{
	char path[256];
	int fd = open(box_path(box, STORE, path), flags | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void put_bytes(const struct box *box, off_t at, const void *bytes, size_t len)
{
	int fd = open_store(box, O_WRONLY);

	assert_int_equal(pwrite(fd, bytes, len, at), len);
	assert_int_equal(close(fd), 0);
}

static void cut_to(const struct box *box, off_t size)
{
	char path[256];

	assert_int_equal(truncate(box_path(box, STORE, path), size), 0);
}

static off_t size_of(const struct box *box)
{
	struct stat st;
	char path[256];

	assert_int_equal(stat(box_path(box, STORE, path), &st), 0);
	return st.st_size;
}

static void fill_with(const struct box *box, off_t from, off_t to, unsigned char byte)
{
	unsigned char bytes[PAGE];

	memset(bytes, byte, sizeof(bytes));
	for (; from < to; from += PAGE)
		put_bytes(box, from, bytes, sizeof(bytes));
}

/* Where these bytes stand in the store file, from `from` on; -1 = nowhere. */
static off_t find_bytes(const struct box *box, const void *bytes, size_t len, off_t from)
{
	off_t size = size_of(box), found = -1;
	unsigned char *file = malloc((size_t)size);
	int fd = open_store(box, O_RDONLY);

	assert_int_equal(pread(fd, file, (size_t)size, 0), size);
	assert_int_equal(close(fd), 0);
	for (off_t at = from; at + (off_t)len <= size && found < 0; at++)
		if (memcmp(file + at, bytes, len) == 0)
			found = at;
	free(file);
	return found;
}

/* ---- whole files ---- */

static void cut_to_nothing(const struct box *box) { cut_to(box, 0); }
static void cut_to_some_bytes(const struct box *box) { cut_to(box, 100); }
static void cut_to_a_page(const struct box *box) { cut_to(box, PAGE); }
static void cut_to_its_headers(const struct box *box) { cut_to(box, 2 * PAGE); }
static void cut_in_half(const struct box *box) { cut_to(box, size_of(box) / 2 / PAGE * PAGE); }
static void cut_its_last_page(const struct box *box) { cut_to(box, size_of(box) - PAGE); }
static void full_of_zeros(const struct box *box) { fill_with(box, 0, size_of(box), 0); }
static void full_of_ones(const struct box *box) { fill_with(box, 0, size_of(box), 0xff); }
static void full_of_text(const struct box *box) { fill_with(box, 0, size_of(box), 'x'); }
static void headers_of_zeros(const struct box *box) { fill_with(box, 0, 2 * PAGE, 0); }

/* The magic and the version of both meta pages: behind the page's own header of 16 bytes. */
static void other_magic(const struct box *box)
{
	for (int i = 0; i < 2; i++)
		put_bytes(box, i * PAGE + 16, "????", 4);
}

static void other_version(const struct box *box)
{
	for (int i = 0; i < 2; i++)
		put_bytes(box, i * PAGE + 20, "\x63", 1);
}

static void deleted(const struct box *box)
{
	char path[256];

	assert_int_equal(unlink(box_path(box, STORE, path)), 0);
}

/* Our own row of identity: magic, layout, generation. There may be old copies of its page. */
static void poke_identity(const struct box *box, off_t at)
{
	const uint64_t magic = LD_SEG_MAGIC;
	off_t found = find_bytes(box, &magic, sizeof(magic), 0);

	assert_true(found >= 0);
	for (; found >= 0; found = find_bytes(box, &magic, sizeof(magic), found + 1))
		put_bytes(box, found + at, "\x77", 1);
}

static void of_another_layout(const struct box *box) { poke_identity(box, 8); }
static void of_another_generation(const struct box *box) { poke_identity(box, 12); }

static const struct damage {
	const char *what;
	void (*make)(const struct box *box);
} damages[] = {
	{ "cut to nothing", cut_to_nothing }, { "cut to some bytes", cut_to_some_bytes }, { "cut to a page", cut_to_a_page },
	{ "cut to its headers", cut_to_its_headers }, { "cut in half", cut_in_half }, { "cut by a page", cut_its_last_page },
	{ "zeros", full_of_zeros }, { "ones", full_of_ones }, { "text", full_of_text }, { "headers of zeros", headers_of_zeros },
	{ "other magic", other_magic }, { "other version", other_version }, { "deleted", deleted },
	{ "another layout", of_another_layout }, { "another generation", of_another_generation },
};

static void set_rows(struct box *box)
{
	char data[1500] = "row";

	for (int i = 0; i < ROWS; i++)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), data, sizeof(data), NULL, NULL), 0);
}

static void check_remade(struct box *box, const struct damage *damage)
{
	char path[256];

	if (!box_said(box, "event=store_remade"))
		print_message("# %s: nothing said\n", damage->what);
	assert_true(box_said(box, "event=store_remade"));
	if (damage->make != deleted)
		assert_int_equal(access(box_path(box, "larder.bad.mdb", path), F_OK), 0);
	for (int i = 0; i < ROWS; i++)
		assert_int_equal(larder_exists(box->tenant, BOX_SPACE, &i, sizeof(i), NULL), LARDER_MISS);
	set_rows(box);
	for (int i = 0; i < ROWS; i++)
		assert_int_equal(larder_exists(box->tenant, BOX_SPACE, &i, sizeof(i), NULL), 0);
}

static void test_a_damaged_file_is_set_aside(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(damages) / sizeof(*damages); i++) {
		struct box *box = box_new();
		struct larder_stats stats = { .size = sizeof(stats) };

		box_open(box, NULL);
		set_rows(box);
		box_close(box);
		damages[i].make(box);
		box_open(box, NULL);
		check_remade(box, &damages[i]);
		assert_int_equal(larder_get_stats(box->cache, &stats), 0);
		assert_int_equal(stats.entries, ROWS);
		assert_int_equal(box_free(box), 0);
	}
}

/* Only the newest is kept, and nothing else is left behind. */
static void test_one_damaged_file_is_kept(void **state)
{
	struct box *box = *state;
	char path[256];

	box_open(box, NULL);
	set_rows(box);
	box_close(box);
	full_of_text(box);
	box_open(box, NULL);
	box_close(box);
	assert_int_equal(access(box_path(box, "larder.2.mdb", path), F_OK), 0);
	assert_int_equal(truncate(path, 0), 0);
	box_open(box, NULL);
	assert_int_equal(access(box_path(box, "larder.3.mdb", path), F_OK), 0);
	assert_int_equal(access(box_path(box, STORE, path), F_OK), -1);
	assert_int_equal(access(box_path(box, "larder.2.mdb", path), F_OK), -1);
	assert_int_equal(access(box_path(box, "larder.2.mdb-lock", path), F_OK), -1);
	assert_int_equal(access(box_path(box, "larder.bad.mdb", path), F_OK), 0);
}

/* ---- links ---- */

#define LOCK "larder.1.mdb-lock"
#define THEIRS "a text of somebody else, which nobody of larder may write to\n"

static void put_theirs(const char *path)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(THEIRS, file) >= 0);
	/* As private as ours: that it is a link is all that is wrong. */
	assert_int_equal(fchmod(fileno(file), 0600), 0);
	assert_int_equal(fclose(file), 0);
}

static void expect_theirs(const char *path)
{
	char text[2 * sizeof(THEIRS)];
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	assert_int_equal(fread(text, 1, sizeof(text), file), sizeof(THEIRS) - 1);
	assert_memory_equal(text, THEIRS, sizeof(THEIRS) - 1);
	assert_int_equal(fclose(file), 0);
}

static void put_symbolic_link(const char *path, const char *theirs)
{
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(theirs, path), 0);
}

static void put_hard_link(const char *path, const char *theirs)
{
	assert_int_equal(unlink(path), 0);
	assert_int_equal(link(theirs, path), 0);
}

static void put_directory(const char *path, const char *theirs)
{
	(void)theirs;
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
}

/* With the file's own content: only its mode is wrong. */
static void open_to_others(const char *path, const char *theirs)
{
	(void)theirs;
	assert_int_equal(chmod(path, 0640), 0);
}

/* Not damage but somebody's doing: it is not ours to remove, and not ours to write through. */
static void is_refused(const char *file, void (*put)(const char *path, const char *theirs))
{
	struct box *box = box_new();
	char path[256], theirs[256], *why = NULL;
	struct stat before, after;
	larder *cache = NULL;

	box_open(box, NULL);
	set_rows(box);
	box_close(box);
	put_theirs(box_path(box, "theirs", theirs));
	put(box_path(box, file, path), theirs);
	assert_int_equal(lstat(path, &before), 0);
	assert_int_equal(box_try(box, NULL, &cache, &why), LARDER_E_REFUSED);
	assert_null(cache);
	assert_non_null(strstr(why, file));
	assert_non_null(strstr(why, "remove it"));
	larder_free(why);
	expect_theirs(theirs);
	assert_int_equal(lstat(path, &after), 0);
	assert_true(before.st_ino == after.st_ino && before.st_mode == after.st_mode && before.st_size == after.st_size);
	assert_false(box_said(box, "store_remade"));
	assert_int_equal(box_free(box), 0);
}

static void test_what_is_no_private_file_is_refused(void **state)
{
	static void (*const puts[])(const char *, const char *) = { put_symbolic_link, put_hard_link, put_directory, open_to_others };

	(void)state;
	for (size_t i = 0; i < sizeof(puts) / sizeof(*puts); i++) {
		is_refused(STORE, puts[i]);
		is_refused(LOCK, puts[i]);
	}
}

/* LMDB would make a file for a link that leads nowhere. */
static void test_a_link_that_leads_nowhere_makes_no_file(void **state)
{
	struct box *box = *state;
	char path[256], nowhere[256], *why = NULL;
	larder *cache = NULL;

	box_open(box, NULL);
	box_close(box);
	put_symbolic_link(box_path(box, LOCK, path), box_path(box, "nowhere", nowhere));
	assert_int_equal(box_try(box, NULL, &cache, &why), LARDER_E_REFUSED);
	assert_non_null(strstr(why, LOCK));
	larder_free(why);
	assert_int_equal(access(nowhere, F_OK), -1);
}

/* A handle that was open before is not refused but degraded: its calls say so, and go on when the link is gone. */
static void test_a_link_degrades_an_open_handle(void **state)
{
	struct box *box = *state;
	char path[256], theirs[256];

	box_open(box, NULL);
	put_theirs(box_path(box, "theirs", theirs));
	put_symbolic_link(box_path(box, LOCK, path), theirs);
	assert_true(box_gives(box, "row", LARDER_UNAVAILABLE, NULL));
	assert_int_equal(larder_reason(), LARDER_REASON_ATTACH);
	assert_true(box_said(box, LOCK ": not a private file"));
	expect_theirs(theirs);
	assert_int_equal(unlink(path), 0);
	assert_true(CHILD_POLL(box_set(box, "row", "text") == 0));
	assert_true(box_gives(box, "row", 0, "text"));
	expect_theirs(theirs);
}

/* ---- rows ---- */

/* Flip a bit of a stored value, with nobody there. Old copies of its page are changed too. */
static void flip(struct box *box, const char *text)
{
	off_t at = find_bytes(box, text, strlen(text), 0);

	assert_true(at >= 0);
	for (; at >= 0; at = find_bytes(box, text, strlen(text), at + 1))
		put_bytes(box, at, "#", 1);
}

static void test_a_damaged_value_is_not_served(void **state)
{
	struct larder_stats stats = { .size = sizeof(stats) };
	struct box *box = *state;
	struct larder_value value;
	char data[10000], buffer[10000];

	memset(data, 'c', sizeof(data));
	memcpy(data, "in a chunk of the value", 23);
	box_open(box, NULL);
	assert_int_equal(box_set(box, "row", "in the row of the entry"), 0);
	assert_int_equal(box_set(box, "good", "something else"), 0);
	assert_int_equal(larder_set(box->tenant, BOX_SPACE, "chunk", 5, data, sizeof(data), NULL, NULL), 0);
	box_close(box);
	flip(box, "in the row of the entry");
	flip(box, "in a chunk of the value");
	box_open(box, NULL);
	assert_true(box_gives(box, "row", LARDER_UNAVAILABLE, NULL));
	assert_int_equal(larder_reason(), LARDER_REASON_CORRUPT);
	assert_true(box_gives(box, "chunk", LARDER_UNAVAILABLE, NULL));
	assert_int_equal(larder_get_into(box->tenant, BOX_SPACE, "chunk", 5, buffer, sizeof(buffer), NULL, &value), LARDER_UNAVAILABLE);
	assert_int_equal(larder_reason(), LARDER_REASON_CORRUPT);
	assert_true(box_gives(box, "good", 0, "something else"));
	assert_int_equal(larder_get_stats(box->cache, &stats), 0);
	assert_true(stats.corrupt == 3 && stats.unavailable == 3 && stats.hits == 1);
	assert_false(box_said(box, "store_remade"));
	/* A damaged entry is overwritten, added over and deleted as one that is not there. */
	assert_int_equal(box_set(box, "chunk", "whole"), 0);
	assert_true(box_gives(box, "chunk", 0, "whole"));
	assert_int_equal(larder_touch(box->tenant, BOX_SPACE, "row", 3, 1000, 0, NULL), LARDER_MISS);
	assert_int_equal(larder_add(box->tenant, BOX_SPACE, "row", 3, "added", 5, NULL, NULL), 0);
	assert_true(box_gives(box, "row", 0, "added"));
}

#define WITH_BOX(test) cmocka_unit_test_setup_teardown(test, box_begin, box_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_damaged_file_is_set_aside),
		WITH_BOX(test_one_damaged_file_is_kept),
		cmocka_unit_test(test_what_is_no_private_file_is_refused),
		WITH_BOX(test_a_link_that_leads_nowhere_makes_no_file),
		WITH_BOX(test_a_link_degrades_an_open_handle),
		WITH_BOX(test_a_damaged_value_is_not_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
