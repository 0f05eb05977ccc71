/* SPDX-License-Identifier: MIT */
/*
 * What the benchmark prints: the machine, the table row by row, and at the end the rows as JSON.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <larder/larder.h>

enum { ROWS_MAX = 64, TMPFS = 0x01021994 };

static struct bench_row rows[ROWS_MAX];
static char names[ROWS_MAX][32];
static unsigned row_count;

static void cpu_model(char *ret_model, size_t size)
{
	FILE *file = fopen("/proc/cpuinfo", "r");
	char line[256];

	snprintf(ret_model, size, "unknown CPU");
	while (file && fgets(line, sizeof(line), file)) {
		char *colon = strchr(line, ':');

		if (strncmp(line, "model name", 10) != 0 || !colon)
			continue;
		colon[strcspn(colon, "\n")] = 0;
		snprintf(ret_model, size, "%s", colon + 2);
		break;
	}
	if (file)
		fclose(file);
}

void bench_report_machine(const struct bench_options *options)
{
	struct utsname kernel;
	struct statfs fs;
	char model[128];

	cpu_model(model, sizeof(model));
	bench_must(uname(&kernel) == 0 && statfs(options->dir, &fs) == 0, "uname, statfs");
	printf("%s, %ld CPUs, %s %s; %s; larder %s; files on %s\n", model, sysconf(_SC_NPROCESSORS_ONLN), kernel.sysname, kernel.release,
	    bench_raw_version(), larder_version(), (unsigned long)fs.f_type == TMPFS ? "tmpfs" : "another file system than tmpfs");
	printf("medians of %u alternating rounds%s\n\n", bench_rounds(options), options->quick ? "; --quick: figures are rough" : "");
	printf("%-24s %11s  %11s  %6s  %7s  %-4s %s\n", "case", "ours ns", "beside ns", "ratio", "at most", "", "beside");
	fflush(stdout);
}

void bench_report(const struct bench_options *options, const struct bench_row *row)
{
	char target[16] = "-";

	(void)options;
	bench_must(row_count < ROWS_MAX, "too many rows");
	rows[row_count] = *row;
	snprintf(names[row_count], sizeof(names[row_count]), "%s", row->name);
	rows[row_count].name = names[row_count];
	row_count++;
	if (row->target > 0)
		snprintf(target, sizeof(target), "%.2f", row->target);
	printf("%-24s %11.1f  %11.1f  %6.3f  %7s  %-4s %s%s%s\n", row->name, row->ours_ns, row->beside_ns, row->ratio, target,
	    row->target > 0 ? row->ratio <= row->target ? "ok" : "over" : "", row->beside, row->note[0] ? "; " : "", row->note);
	fflush(stdout);
}

void bench_report_end(const struct bench_options *options)
{
	if (!options->json)
		return;
	printf("\n");
	/* Names and texts are our own: nothing in them needs an escape. */
	for (unsigned i = 0; i < row_count; i++)
		printf("{\"case\": \"%s\", \"ours_ns\": %.1f, \"beside\": \"%s\", \"beside_ns\": %.1f, \"ratio\": %.3f}\n", rows[i].name,
		    rows[i].ours_ns, rows[i].beside, rows[i].beside_ns, rows[i].ratio);
}
