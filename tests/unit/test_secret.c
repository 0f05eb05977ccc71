/* SPDX-License-Identifier: MIT */
/*
 * crypto/secret and crypto/locked: every way to give a secret and every way to give a bad one, with real files; memory that is
 * locked, kept out of dumps, inherited, and locked again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <larder/larder.h>

#include "child.h"
#include "crypto/locked.h"
#include "crypto/secret.h"
#include "leave_out.h"

#define NOBODY 65534
#define GOOD "0123456789abcdefghijklmnopqrstuv"    /* 32 bytes */

struct fixture {
	char dir[PATH_MAX / 2];
	char path[PATH_MAX];            /* dir/larder-secret */
	struct ld_locked *arena;
	struct ld_problems problems;
	struct ld_secret secret;
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	const char *tmp = getenv("TMPDIR");
	int locked;

	(void)snprintf(fixture->dir, sizeof(fixture->dir), "%s/larder-unit-XXXXXX", tmp == NULL || *tmp == '\0' ? "/tmp" : tmp);
	if (mkdtemp(fixture->dir) == NULL)
		return -1;
	(void)snprintf(fixture->path, sizeof(fixture->path), "%s/larder-secret", fixture->dir);
	fixture->arena = ld_locked_new(16384, &locked);
	*state = fixture;
	return fixture->arena == NULL ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	int rc;

	ld_problems_free(&fixture->problems);
	ld_locked_free(fixture->arena);
	if (unlink(fixture->path) != 0)
		(void)rmdir(fixture->path);
	rc = rmdir(fixture->dir);
	free(fixture);
	return rc;
}

/* len bytes of the alphabet, then tail. */
static void write_file(const char *path, size_t len, const char *tail, mode_t mode)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	for (size_t i = 0; i < len; i++)
		assert_true(fputc('a' + (int)(i % 26), file) != EOF);
	assert_true(fputs(tail, file) != EOF);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static int load(struct fixture *fixture, const char *file, const char *dir, const char *text)
{
	return ld_secret_load(fixture->arena, file, dir, text, &fixture->problems, &fixture->secret);
}

/* Refused with one problem that holds both texts, and nothing written to the result. */
static void expect_refused(struct fixture *fixture, int rc, const char *what, const char *advice)
{
	assert_int_equal(rc, LARDER_E_SECRET);
	assert_int_equal(fixture->problems.count, 1);
	assert_non_null(strstr(fixture->problems.text, what));
	assert_non_null(strstr(fixture->problems.text, advice));
	assert_null(strchr(fixture->problems.text, '\n'));
	assert_null(fixture->secret.data);
	ld_problems_free(&fixture->problems);
}

static void expect_secret(struct fixture *fixture, int rc, size_t len, const char *origin)
{
	assert_int_equal(rc, 0);
	assert_int_equal(fixture->problems.count, 0);
	assert_int_equal(fixture->secret.len, len);
	assert_string_equal(fixture->secret.origin, origin);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(fixture->secret.data[i], 'a' + (int)(i % 26));
	fixture->secret = (struct ld_secret){ 0 };
}

static unsigned open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		count++;
	(void)closedir(dir);
	return count;
}

static void test_nothing_given_names_the_three_ways(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < 2; i++) {
		const char *none = i == 0 ? NULL : "";

		assert_int_equal(load(fixture, none, none, none), LARDER_E_SECRET);
		assert_int_equal(fixture->problems.count, 1);
		assert_non_null(strstr(fixture->problems.text, "LARDER_SECRET_FILE"));
		assert_non_null(strstr(fixture->problems.text, "CREDENTIALS_DIRECTORY"));
		assert_non_null(strstr(fixture->problems.text, "LARDER_SECRET to"));
		expect_refused(fixture, LARDER_E_SECRET, "no secret", "(umask 077; head -c 32 /dev/urandom | base64 > FILE)");
	}
}

static void test_file_is_read_without_its_one_newline(void **state)
{
	struct fixture *fixture = *state;
	unsigned before = open_files();

	write_file(fixture->path, 44, "\n", 0600);
	expect_secret(fixture, load(fixture, fixture->path, NULL, NULL), 44, "LARDER_SECRET_FILE");
	write_file(fixture->path, 44, "", 0400);
	expect_secret(fixture, load(fixture, fixture->path, NULL, NULL), 44, "LARDER_SECRET_FILE");
	assert_int_equal(open_files(), before);
}

static void test_second_newline_belongs_to_the_secret(void **state)
{
	struct fixture *fixture = *state;

	write_file(fixture->path, 40, "\n\n", 0600);
	assert_int_equal(load(fixture, fixture->path, NULL, NULL), 0);
	assert_int_equal(fixture->secret.len, 41);
	assert_int_equal(fixture->secret.data[40], '\n');
}

static void test_file_may_hold_any_byte(void **state)
{
	struct fixture *fixture = *state;
	unsigned char bytes[256];
	int fd = open(fixture->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)i;
	assert_int_equal(write(fd, bytes, sizeof(bytes)), 256);
	assert_int_equal(close(fd), 0);
	assert_int_equal(load(fixture, fixture->path, NULL, NULL), 0);
	assert_int_equal(fixture->secret.len, 256);
	assert_memory_equal(fixture->secret.data, bytes, 256);
}

static void test_lengths_of_a_file(void **state)
{
	struct fixture *fixture = *state;
	static const struct {
		size_t len;
		const char *tail;
		size_t secret_len;
		const char *problem;
	} rows[] = {
		{ 0, "", 0, ": 0 bytes are too few" },
		{ 0, "\n", 0, ": 0 bytes are too few" },
		{ 31, "", 0, ": 31 bytes are too few" },
		{ 31, "\n", 0, ": 31 bytes are too few" },
		{ 32, "", 32, NULL },
		{ 32, "\n", 32, NULL },
		{ 4095, "\n", 4095, NULL },
		{ 4096, "", 4096, NULL },
		{ 4096, "\n", 4096, NULL },
		{ 4097, "", 0, ": too long, 32..4096 bytes" },
		{ 4097, "\n", 0, ": too long, 32..4096 bytes" },
		{ 100000, "", 0, ": too long, 32..4096 bytes" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int locked, rc;

		ld_locked_free(fixture->arena);
		fixture->arena = ld_locked_new(8192, &locked);
		write_file(fixture->path, rows[i].len, rows[i].tail, 0600);
		rc = load(fixture, fixture->path, NULL, NULL);
		if (rows[i].problem == NULL)
			expect_secret(fixture, rc, rows[i].secret_len, "LARDER_SECRET_FILE");
		else
			expect_refused(fixture, rc, rows[i].problem, "head -c 32 /dev/urandom");
	}
}

static void test_file_open_to_others_is_refused(void **state)
{
	struct fixture *fixture = *state;
	static const mode_t modes[] = { 0644, 0640, 0604, 0660, 0620, 0602, 0610, 0601, 0777 };
	char what[64];

	write_file(fixture->path, 44, "\n", 0600);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(chmod(fixture->path, modes[i]), 0);
		(void)snprintf(what, sizeof(what), "(mode %04o)", (unsigned)modes[i]);
		expect_refused(fixture, load(fixture, fixture->path, NULL, NULL), what, "chmod 600 it");
	}
	assert_int_equal(chmod(fixture->path, 0644), 0);
	assert_int_equal(load(fixture, fixture->path, NULL, NULL), LARDER_E_SECRET);
	(void)snprintf(what, sizeof(what), "LARDER_SECRET_FILE=");
	assert_memory_equal(fixture->problems.text, what, strlen(what));
	expect_refused(fixture, LARDER_E_SECRET, fixture->path, ": readable by others (mode 0644): chmod 600 it");
}

static void test_missing_file(void **state)
{
	struct fixture *fixture = *state;

	expect_refused(fixture, load(fixture, fixture->path, NULL, NULL), "there is no such file", "(umask 077;");
}

static void test_symbolic_link(void **state)
{
	struct fixture *fixture = *state;
	char target[PATH_MAX + 8];

	(void)snprintf(target, sizeof(target), "%s.real", fixture->path);
	write_file(target, 44, "\n", 0600);
	assert_int_equal(symlink(target, fixture->path), 0);
	expect_refused(fixture, load(fixture, fixture->path, NULL, NULL), "a symbolic link", "name the file itself");
	expect_secret(fixture, load(fixture, target, NULL, NULL), 44, "LARDER_SECRET_FILE");
	assert_int_equal(unlink(target), 0);
}

/* A FIFO without a writer, which would hold a plain open for ever. */
static void test_fifo(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(mkfifo(fixture->path, 0600), 0);
	expect_refused(fixture, load(fixture, fixture->path, NULL, NULL), "not a regular file", "name one");
}

static void test_directory_and_device(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(mkdir(fixture->path, 0700), 0);
	expect_refused(fixture, load(fixture, fixture->path, NULL, NULL), "not a regular file", "name one");
	expect_refused(fixture, load(fixture, "/dev/zero", NULL, NULL), "not a regular file", "name one");
}

static void test_path_that_cannot_be(void **state)
{
	struct fixture *fixture = *state;
	char *longest = malloc(2 * PATH_MAX);

	memset(longest, 'p', 2 * PATH_MAX - 1);
	longest[2 * PATH_MAX - 1] = '\0';
	expect_refused(fixture, load(fixture, longest, NULL, NULL), "cannot be opened", "too long");
	expect_refused(fixture, load(fixture, NULL, longest, NULL), "CREDENTIALS_DIRECTORY", "too long");
	free(longest);
}

static void test_owner(void **state)
{
	struct fixture *fixture = *state;

	if (geteuid() != 0)
		LEAVE_OUT("only root can give files away");
	write_file(fixture->path, 44, "\n", 0600);
	assert_int_equal(chown(fixture->path, NOBODY, NOBODY), 0);
	expect_refused(fixture, load(fixture, fixture->path, NULL, NULL), "belongs to user 65534", "chown it to user 0");
}

static void load_as_nobody(void *arg)
{
	struct fixture *fixture = arg;

	CHILD_CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	CHILD_CHECK(load(fixture, fixture->path, NULL, NULL) == LARDER_E_SECRET);
	CHILD_CHECK(strstr(fixture->problems.text, "user 65534 may not read it: chown it") != NULL);
	ld_problems_free(&fixture->problems);
}

static void load_own_as_nobody(void *arg)
{
	struct fixture *fixture = arg;

	CHILD_CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	CHILD_CHECK(load(fixture, fixture->path, NULL, NULL) == 0 && fixture->secret.len == 44);
}

/* As root with a file of root's and another user's eyes; as an ordinary user with a file that even its owner may not read. */
static void test_ordinary_user_needs_a_file_that_it_may_read(void **state)
{
	struct fixture *fixture = *state;

	if (geteuid() != 0) {
		write_file(fixture->path, 44, "\n", 0200);
		expect_refused(fixture, load(fixture, fixture->path, NULL, NULL), "may not read it", "chown it");
		return;
	}
	assert_int_equal(chmod(fixture->dir, 0711), 0);
	write_file(fixture->path, 44, "\n", 0600);
	assert_int_equal(child_run(load_as_nobody, fixture), 0);
	assert_int_equal(chown(fixture->path, NOBODY, NOBODY), 0);
	assert_int_equal(child_run(load_own_as_nobody, fixture), 0);
}

static void test_credential_of_the_service(void **state)
{
	struct fixture *fixture = *state;

	expect_refused(fixture, load(fixture, NULL, fixture->dir, NULL), fixture->path, "there is no such file");
	write_file(fixture->path, 32, "", 0400);
	expect_secret(fixture, load(fixture, NULL, fixture->dir, NULL), 32, "CREDENTIALS_DIRECTORY");
	expect_secret(fixture, load(fixture, "", fixture->dir, GOOD), 32, "CREDENTIALS_DIRECTORY");
}

static void test_text(void **state)
{
	struct fixture *fixture = *state;
	char text[4098] = GOOD;

	assert_int_equal(load(fixture, NULL, NULL, text), 0);
	/* It is a copy. */
	memset(text, 'x', 32);
	assert_int_equal(fixture->secret.len, 32);
	assert_memory_equal(fixture->secret.data, GOOD, 32);
	assert_string_equal(fixture->secret.origin, "LARDER_SECRET");
	/* A newline at the end of a text is part of it. */
	assert_int_equal(load(fixture, NULL, NULL, GOOD "\n"), 0);
	assert_int_equal(fixture->secret.len, 33);
	memset(text, 's', sizeof(text));
	text[4096] = '\0';
	assert_int_equal(load(fixture, NULL, NULL, text), 0);
	assert_int_equal(fixture->secret.len, 4096);
	fixture->secret = (struct ld_secret){ 0 };
	text[4096] = 's';
	text[4097] = '\0';
	expect_refused(fixture, load(fixture, NULL, NULL, text), "LARDER_SECRET: too long", "32..4096");
}

static void test_problem_does_not_tell_the_secret(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(load(fixture, NULL, NULL, "correct horse"), LARDER_E_SECRET);
	assert_null(strstr(fixture->problems.text, "horse"));
	expect_refused(fixture, LARDER_E_SECRET, "LARDER_SECRET: 13 bytes are too few, 32..4096 are allowed", "(umask 077;");
	write_file(fixture->path, 0, "correct horse\n", 0600);
	assert_int_equal(load(fixture, fixture->path, NULL, NULL), LARDER_E_SECRET);
	assert_null(strstr(fixture->problems.text, "horse"));
}

static void test_first_given_counts_also_when_bad(void **state)
{
	struct fixture *fixture = *state;

	expect_refused(fixture, load(fixture, "/nonesuch/s", fixture->dir, GOOD), "LARDER_SECRET_FILE=/nonesuch/s", "no such");
	expect_refused(fixture, load(fixture, NULL, "/nonesuch", GOOD), "CREDENTIALS_DIRECTORY=/nonesuch/larder-secret",
	    "no such");
}

/* What is read and refused may not lie about in the arena: the whole of it is looked through. */
static void test_refused_secret_is_wiped(void **state)
{
	struct fixture *fixture = *state;
	const unsigned char *first = ld_locked_take(fixture->arena, 16);

	write_file(fixture->path, 31, "\n", 0600);
	expect_refused(fixture, load(fixture, fixture->path, NULL, NULL), "31 bytes", "head -c 32");
	write_file(fixture->path, 4097, "", 0600);
	expect_refused(fixture, load(fixture, fixture->path, NULL, NULL), "too long", "head -c 32");
	assert_non_null(first);
	for (size_t i = 0; i < 12000; i++)
		assert_int_equal(first[i], 0);
}

static void test_full_arena_is_no_memory(void **state)
{
	struct fixture *fixture = *state;

	write_file(fixture->path, 44, "\n", 0600);
	while (ld_locked_take(fixture->arena, 16) != NULL)
		continue;
	assert_int_equal(load(fixture, fixture->path, NULL, NULL), LARDER_E_NOMEM);
	assert_int_equal(load(fixture, NULL, NULL, GOOD), LARDER_E_NOMEM);
	assert_null(fixture->secret.data);
}

static void test_arena_gives_aligned_zeros_until_it_is_used_up(void **state)
{
	int locked = -1;
	struct ld_locked *arena = ld_locked_new(10000, &locked);
	unsigned char *last = NULL;
	size_t given = 0;

	(void)state;
	assert_non_null(arena);
	assert_in_range(locked, 0, 1);
	for (;;) {
		unsigned char *taken = ld_locked_take(arena, 80);

		if (taken == NULL)
			break;
		assert_int_equal((uintptr_t)taken % 16, 0);
		assert_true(last == NULL || taken >= last + 80);
		for (int i = 0; i < 80; i++)
			assert_int_equal(taken[i], 0);
		memset(taken, 0xff, 80);
		last = taken;
		given += 80;
	}
	assert_in_range(given, 9920, 65536 + 10000);
	assert_null(ld_locked_take(arena, SIZE_MAX));
	assert_null(ld_locked_take(arena, SIZE_MAX - 8));
	ld_locked_free(arena);
	ld_locked_free(NULL);
}

static void test_whole_size_and_odd_sizes(void **state)
{
	int locked;
	struct ld_locked *arena = ld_locked_new(4096, &locked);
	unsigned char *one, *two;

	(void)state;
	assert_non_null(ld_locked_take(arena, 4096));
	ld_locked_free(arena);
	arena = ld_locked_new(0, &locked);
	one = ld_locked_take(arena, 1);
	two = ld_locked_take(arena, 0);
	assert_ptr_equal(two, one + 16);
	assert_ptr_equal(ld_locked_take(arena, 17), two + 16);
	assert_ptr_equal(ld_locked_take(arena, 1), two + 48);
	ld_locked_free(arena);
}

static void test_arena_that_cannot_be(void **state)
{
	int locked = 7;

	(void)state;
	assert_null(ld_locked_new(SIZE_MAX, &locked));
	assert_null(ld_locked_new(SIZE_MAX / 2 - 8192, &locked));
	assert_int_equal(locked, 7);
}

#define TAKES 500

struct taker {
	struct ld_locked *arena;
	unsigned char mark;
	unsigned char *taken[TAKES];
};

static void *take_and_mark(void *arg)
{
	struct taker *taker = arg;

	for (int i = 0; i < TAKES; i++) {
		taker->taken[i] = ld_locked_take(taker->arena, 32);
		if (taker->taken[i] != NULL)
			memset(taker->taken[i], taker->mark, 32);
	}
	return NULL;
}

static void test_threads_take_what_is_theirs(void **state)
{
	static struct taker takers[4];
	pthread_t threads[4];
	int locked;
	struct ld_locked *arena = ld_locked_new(4 * TAKES * 32, &locked);

	(void)state;
	for (int i = 0; i < 4; i++) {
		takers[i] = (struct taker){ .arena = arena, .mark = (unsigned char)(i + 1) };
		assert_int_equal(pthread_create(&threads[i], NULL, take_and_mark, &takers[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (int i = 0; i < 4 * TAKES; i++) {
		assert_non_null(takers[i / TAKES].taken[i % TAKES]);
		for (int k = 0; k < 32; k++)
			assert_int_equal(takers[i / TAKES].taken[i % TAKES][k], i / TAKES + 1);
	}
	ld_locked_free(arena);
}

/* Does the kernel show this flag (two letters) for the mapping at this address? -1 when it shows none at all. */
static int has_flag(const void *address, const char *flag)
{
	FILE *maps = fopen("/proc/self/smaps", "r");
	char line[512];
	int inside = 0, found = -1;

	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from <= (unsigned long)address && (unsigned long)address < to;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, flag) != NULL;
	}
	if (maps != NULL)
		(void)fclose(maps);
	return found;
}

struct inherited {
	struct ld_locked *arena;
	const char *data;
};

static void look_at_inherited(void *arg)
{
	struct inherited *inherited = arg;

	CHILD_CHECK(strcmp(inherited->data, GOOD) == 0);
	CHILD_CHECK(has_flag(inherited->data, " dd") != 0);
	/* Sanitizers answer mlock() themselves, and lock nothing. */
	if (UNDER_SANITIZER)
		return;
	CHILD_CHECK(has_flag(inherited->data, " lo") <= 0);
	CHILD_CHECK(ld_locked_again(inherited->arena) == 1);
	CHILD_CHECK(has_flag(inherited->data, " lo") != 0);
	CHILD_CHECK(strcmp(inherited->data, GOOD) == 0);
	ld_locked_free(inherited->arena);
}

/* Freeing it in the child, which look_at_inherited() does, leaves the parent's as it is. */
static void test_child_inherits_and_locks_again(void **state)
{
	int locked = 0;
	struct inherited inherited = { .arena = ld_locked_new(4096, &locked) };
	char *data = ld_locked_take(inherited.arena, 64);

	(void)state;
	memcpy(data, GOOD, sizeof(GOOD));
	inherited.data = data;
	assert_int_not_equal(has_flag(data, " dd"), 0);
	if (locked == 0) {
		ld_locked_free(inherited.arena);
		LEAVE_OUT("RLIMIT_MEMLOCK is too low");
	}
	if (!UNDER_SANITIZER)
		assert_int_not_equal(has_flag(data, " lo"), 0);
	assert_int_equal(child_run(look_at_inherited, &inherited), 0);
	assert_string_equal(data, GOOD);
	ld_locked_free(inherited.arena);
}

static void lock_without_permission(void *arg)
{
	const struct rlimit none = { 0, 0 };
	struct ld_locked *arena;
	int locked = 7;

	(void)arg;
	if (geteuid() == 0)
		CHILD_CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	CHILD_CHECK(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
	arena = ld_locked_new(4096, &locked);
	CHILD_CHECK(arena != NULL && locked == 0);
	CHILD_CHECK(ld_locked_again(arena) == 0);
	CHILD_CHECK(ld_locked_take(arena, 4096) != NULL);
	CHILD_CHECK(has_flag(arena, " dd") != 0);
	ld_locked_free(arena);
}

static void test_refused_lock_is_said_and_not_fatal(void **state)
{
	(void)state;
	if (UNDER_SANITIZER)
		LEAVE_OUT("the sanitizer answers mlock()");
	assert_int_equal(child_run(lock_without_permission, NULL), 0);
}

static void test_wipe(void **state)
{
	char data[64];

	(void)state;
	memset(data, 'x', sizeof(data));
	ld_wipe(data, 63);
	for (int i = 0; i < 63; i++)
		assert_int_equal(data[i], 0);
	assert_int_equal(data[63], 'x');
	ld_wipe(data, 0);
}

int main(void)
{
#define WITH_FILES(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_FILES(test_nothing_given_names_the_three_ways),
		WITH_FILES(test_file_is_read_without_its_one_newline),
		WITH_FILES(test_second_newline_belongs_to_the_secret),
		WITH_FILES(test_file_may_hold_any_byte),
		WITH_FILES(test_lengths_of_a_file),
		WITH_FILES(test_file_open_to_others_is_refused),
		WITH_FILES(test_missing_file),
		WITH_FILES(test_symbolic_link),
		WITH_FILES(test_fifo),
		WITH_FILES(test_directory_and_device),
		WITH_FILES(test_path_that_cannot_be),
		WITH_FILES(test_owner),
		WITH_FILES(test_ordinary_user_needs_a_file_that_it_may_read),
		WITH_FILES(test_credential_of_the_service),
		WITH_FILES(test_text),
		WITH_FILES(test_problem_does_not_tell_the_secret),
		WITH_FILES(test_first_given_counts_also_when_bad),
		WITH_FILES(test_refused_secret_is_wiped),
		WITH_FILES(test_full_arena_is_no_memory),
		cmocka_unit_test(test_arena_gives_aligned_zeros_until_it_is_used_up),
		cmocka_unit_test(test_whole_size_and_odd_sizes),
		cmocka_unit_test(test_arena_that_cannot_be),
		cmocka_unit_test(test_threads_take_what_is_theirs),
		cmocka_unit_test(test_child_inherits_and_locks_again),
		cmocka_unit_test(test_refused_lock_is_said_and_not_fatal),
		cmocka_unit_test(test_wipe),
	};

	return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
