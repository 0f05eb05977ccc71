/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target over files instead of random input, a TAP case a file: what was once found stays found, with any compiler.
 * A small file is also run cut short at every length, which is where parsers err. A target that finds something ends the
 * process, so the plan at the end is missing and the test has failed.
 *
 *     fuzz_X [FILE | DIRECTORY]...     without an argument: the corpus of this target, $srcdir/tests/fuzz/corpus/X
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Longest file that is run at every length; longest file at all. */
#define CUT_MAX 2048
#define FILE_MAX_B ((size_t)16 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int cases;
static int failures;

/* In a block of exactly its size, so that a sanitizer sees the first byte read beyond it. */
static int run_input(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (copy == NULL)
		return -1;
	if (size > 0)
		memcpy(copy, data, size);
	(void)LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	return 0;
}

static int run_data(const uint8_t *data, size_t size)
{
	int result = run_input(data, size);

	for (size_t cut = 0; size <= CUT_MAX && cut < size && result == 0; cut++)
		result = run_input(data, cut);
	return result;
}

static int run_stream(FILE *file)
{
	uint8_t *data = malloc(FILE_MAX_B + 1);
	size_t size;
	int result = -1;

	if (data == NULL)
		return -1;
	size = fread(data, 1, FILE_MAX_B + 1, file);
	if (!ferror(file) && size <= FILE_MAX_B)
		result = run_data(data, size);
	free(data);
	return result;
}

static void run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	int result = file != NULL ? run_stream(file) : -1;

	if (file != NULL)
		(void)fclose(file);
	cases++;
	failures += result != 0;
	printf("%sok %d - %s%s\n", result == 0 ? "" : "not ", cases, path, result == 0 ? "" : ": cannot be read, or too long");
	(void)fflush(stdout);
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void run_directory(const char *path)
{
	struct dirent **entries = NULL;
	int count = scandir(path, &entries, is_visible, alphasort);

	for (int i = 0; i < count; i++) {
		char file[4096];

		(void)snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
		run_file(file);
		free(entries[i]);
	}
	free(entries);
	if (count > 0)
		return;
	cases++;
	failures++;
	printf("not ok %d - %s: no file in it, or %s\n", cases, path, strerror(errno));
}

static void run_path(const char *path)
{
	struct stat status;

	if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
		run_directory(path);
	else
		run_file(path);
}

/* libtool runs a program that is not installed as lt-NAME. */
static void run_own_corpus(void)
{
	const char *name = program_invocation_short_name, *top = getenv("srcdir");
	char path[4096];

	name += strncmp(name, "lt-", 3) == 0 ? 3 : 0;
	name += strncmp(name, "fuzz_", 5) == 0 ? 5 : 0;
	(void)snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", top != NULL ? top : ".", name);
	run_path(path);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	if (argc < 2)
		run_own_corpus();
	printf("1..%d\n", cases);
	return failures != 0;
}
