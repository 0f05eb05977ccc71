/* SPDX-License-Identifier: MIT */
/**
 * Allocation, in one place so that a test can fail each one in turn (base/fault.h, alloc_countdown). As malloc(3) and friends;
 * what they return goes to free(3).
 */
#ifndef LD_BASE_MEM_H
#define LD_BASE_MEM_H

#include <stddef.h>

#ifdef LARDER_FAULTS
void *ld_malloc(size_t size) __attribute__((malloc, alloc_size(1)));
void *ld_calloc(size_t count, size_t size) __attribute__((malloc, alloc_size(1, 2)));
void *ld_realloc(void *old, size_t size) __attribute__((alloc_size(2)));
char *ld_strdup(const char *text) __attribute__((malloc));
#else
#include <stdlib.h>
#include <string.h>
#define ld_malloc malloc
#define ld_calloc calloc
#define ld_realloc realloc
#define ld_strdup strdup
#endif

/**
 * Can so much not be had just now? 1 or 0. For whoever is told by somebody else that memory is out, who says so of other things too. With fault points
 * also 1 from the moment on that the plan has failed an allocation.
 */
int ld_mem_lacks(size_t size);

#endif
