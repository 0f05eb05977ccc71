/* SPDX-License-Identifier: MIT */
/* Private memory of a worker of `larder replay`, from /proc. Each worker asks once, when its share of the trace is done. */
#include "replay_memory.h"

#include <string.h>

/* "7f12a4000000-7f12a4021000 rw-p 00000000 00:00 0   [heap]": 1 private, 0 shared, -1 the line is no header of a mapping. */
static int is_private_mapping(const char *line)
{
	char kind;
	if (sscanf(line, "%*[0-9a-f]-%*[0-9a-f] %*1[r-]%*1[w-]%*1[x-]%c", &kind) != 1)
		return -1;
	return kind == 'p';
}

uint64_t replay_memory_sum(FILE *smaps)
{
	char line[512];
	uint64_t sum_kb = 0;
	int counted = 0;

	while (fgets(line, sizeof(line), smaps) != NULL) {
		unsigned long long kb;
		int kind = is_private_mapping(line);
		if (kind >= 0)
			counted = kind;
		else if (counted && (sscanf(line, "Private_Clean: %llu kB", &kb) == 1 ||
		    sscanf(line, "Private_Dirty: %llu kB", &kb) == 1))
			sum_kb += kb;
	}
	return sum_kb * 1024;
}

uint64_t replay_memory_own(void)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	if (smaps == NULL)
		return 0;
	uint64_t sum = replay_memory_sum(smaps);
	fclose(smaps);
	return sum;
}
