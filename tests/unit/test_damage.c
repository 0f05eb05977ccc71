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

enum { PAGE = 4096, ROWS = 300, CIRCLE_ROWS = 4 * ROWS };

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

static void set_rows_from(struct box *box, int from)
{
	char data[1500] = "row";

	for (int i = from; i < from + ROWS; i++)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), data, sizeof(data), NULL, NULL), 0);
}

static void set_rows(struct box *box)
{
	set_rows_from(box, 0);
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

/* ---- a tree that goes round in circles ---- */

/*
 * LMDB 0.9's page: number, padding, flags, two bounds, then an offset for each node; a branch's node begins with the number of the page below it, in
 * three pieces of 16 bits.
 */
enum { PAGE_FLAGS = 10, PAGE_LOWER = 12, PAGE_HEAD = 16, PAGE_IS_BRANCH = 1, NODES_MIN = 4, CHILD_B = 6 };

static uint16_t number_at(const unsigned char *page, size_t at)
{
	uint16_t number;

	memcpy(&number, page + at, sizeof(number));
	return number;
}

/* The second half of a branch is said to lie below its first node: a walk in key order begins anew there, and a search for what it finds leads back
 * into the first half. */
static int bend(unsigned char *page, uint64_t number)
{
	unsigned nodes = (number_at(page, PAGE_LOWER) - (unsigned)PAGE_HEAD) / 2;
	uint64_t own;

	memcpy(&own, page, sizeof(own));
	if (own != number || number_at(page, PAGE_FLAGS) != PAGE_IS_BRANCH || nodes < NODES_MIN)
		return 0;
	for (unsigned i = nodes / 2; i < nodes; i++)
		memcpy(page + number_at(page, PAGE_HEAD + 2 * i), page + number_at(page, PAGE_HEAD), CHILD_B);
	return 1;
}

/* Old copies of branches too. */
static void bend_branches(const struct box *box)
{
	uint64_t pages = (uint64_t)size_of(box) / PAGE;
	int fd = open_store(box, O_RDWR), bent = 0;
	unsigned char page[PAGE];

	for (uint64_t number = 2; number < pages; number++) {
		assert_int_equal(pread(fd, page, PAGE, (off_t)(number * PAGE)), PAGE);
		if (!bend(page, number))
			continue;
		assert_int_equal(pwrite(fd, page, PAGE, (off_t)(number * PAGE)), PAGE);
		bent++;
	}
	assert_int_equal(close(fd), 0);
	assert_true(bent > 0);
}

/* So many rows that no slice of a walk, of 200, reaches from the whole half of the tree to its end. */
static void begin_with_circles(struct box *box, const char *const *settings)
{
	box_open(box, settings);
	for (int from = 0; from < CIRCLE_ROWS; from += ROWS)
		set_rows_from(box, from);
	box_close(box);
	bend_branches(box);
	box_open(box, settings);
	box_inspect(box);
}

/* A walk that has no end is stopped. */
static int see_entry(void *ctx, const struct larder_entry *entry)
{
	(void)entry;
	return ++*(int *)ctx > 10 * CIRCLE_ROWS ? LARDER_EXISTS : 0;
}

static int see_listed(void *ctx, const struct larder_listed *entry)
{
	(void)entry;
	return ++*(int *)ctx > 10 * CIRCLE_ROWS ? LARDER_EXISTS : 0;
}

static int see_counter(void *ctx, const char *name, const char *text, uint64_t value)
{
	(void)text;
	if (strcmp(name, "stores_remade") == 0)
		*(uint64_t *)ctx = value;
	return 0;
}

static uint64_t stores_remade(struct box *box)
{
	uint64_t remade = UINT64_MAX;

	assert_int_equal(larder_inspect_counters(box->inspector, see_counter, &remade), 0);
	return remade;
}

static void expect_a_new_store(struct box *box)
{
	char path[256];

	assert_int_equal(stores_remade(box), 1);
	assert_true(box_said(box, "event=store_remade"));
	assert_true(box_said(box, "reason=damaged"));
	assert_int_equal(access(box_path(box, "larder.bad.mdb", path), F_OK), 0);
	set_rows(box);
	for (int i = 0; i < ROWS; i++)
		assert_int_equal(larder_exists(box->tenant, BOX_SPACE, &i, sizeof(i), NULL), 0);
	assert_int_equal(stores_remade(box), 1);
}

static void test_walks_over_circles_end(void **state)
{
	const struct larder_filter filter = { .size = sizeof(filter), .tenant = "acme", .states = LARDER_IS_ANY };
	struct box *box = *state;
	int seen = 0;

	begin_with_circles(box, NULL);
	assert_int_equal(larder_inspect_entries(box->inspector, NULL, see_entry, NULL, &seen), LARDER_UNAVAILABLE);
	assert_int_equal(larder_reason(), LARDER_REASON_CORRUPT);
	seen = 0;
	assert_int_equal(larder_inspect_entries(box->inspector, &filter, see_entry, NULL, &seen), LARDER_UNAVAILABLE);
	assert_int_equal(larder_reason(), LARDER_REASON_CORRUPT);
	seen = 0;
	assert_int_equal(larder_list(box->tenant, NULL, see_listed, &seen, NULL), LARDER_UNAVAILABLE);
	assert_int_equal(larder_reason(), LARDER_REASON_CORRUPT);
	/* Looking harms nothing. */
	assert_int_equal(stores_remade(box), 0);
}

static void test_the_sweep_makes_a_store_with_circles_anew(void **state)
{
	struct box *box = *state;

	begin_with_circles(box, NULL);
	assert_true(CHILD_POLL(larder_inspect_work(box->inspector, 1) != 0 || stores_remade(box) != 0));
	expect_a_new_store(box);
}

/* A sweep that the writers make. */
static void test_writers_make_a_store_with_circles_anew(void **state)
{
	struct box *box = *state;

	begin_with_circles(box, (const char *const[]){ "EVICTOR=inline", "SWEEP_MS=100", NULL });
	assert_true(CHILD_POLL(box_set(box, "one", "text") != 0 || stores_remade(box) != 0));
	expect_a_new_store(box);
}

struct found {
	char what[64];
	int count, mended;
};

static int see_finding(void *ctx, const struct larder_finding *finding)
{
	struct found *found = ctx;

	(void)snprintf(found->what, sizeof(found->what), "%s", finding->what);
	found->mended += finding->mended;
	return ++found->count > 10 * CIRCLE_ROWS ? LARDER_EXISTS : 0;
}

static void expect_tree_found(struct box *box, int repair)
{
	struct found found = { "", 0, 0 };
	uint64_t count = 0;

	assert_int_equal(larder_inspect_check(box->inspector, repair, see_finding, NULL, &found, &count), 0);
	assert_string_equal(found.what, "tree of the store damaged");
	assert_true(count > 0 && count == (uint64_t)found.count);
	assert_int_equal(found.mended, repair);
}

static void test_the_check_finds_circles(void **state)
{
	struct box *box = *state;
	struct found found = { "", 0, 0 };
	uint64_t count = 1;

	begin_with_circles(box, NULL);
	expect_tree_found(box, 0);
	assert_int_equal(stores_remade(box), 0);
	expect_tree_found(box, 1);
	expect_a_new_store(box);
	assert_int_equal(larder_inspect_check(box->inspector, 0, see_finding, NULL, &found, &count), 0);
	assert_int_equal(count, 0);
}

/* The entries' own tree is a page; that of their chunks is bent. */
static void test_the_check_finds_circles_among_chunks(void **state)
{
	struct box *box = *state;
	size_t len = 1900000;
	char *data = calloc(1, len);

	assert_non_null(data);
	box_open(box, NULL);
	for (int i = 0; i < 3; i++)
		assert_int_equal(larder_set(box->tenant, BOX_SPACE, &i, sizeof(i), data, len, NULL, NULL), 0);
	free(data);
	box_close(box);
	bend_branches(box);
	box_open(box, NULL);
	box_inspect(box);
	expect_tree_found(box, 0);
	assert_int_equal(stores_remade(box), 0);
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
		WITH_BOX(test_walks_over_circles_end),
		WITH_BOX(test_the_sweep_makes_a_store_with_circles_anew),
		WITH_BOX(test_writers_make_a_store_with_circles_anew),
		WITH_BOX(test_the_check_finds_circles),
		WITH_BOX(test_the_check_finds_circles_among_chunks),
		WITH_BOX(test_a_damaged_value_is_not_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
