/* SPDX-License-Identifier: MIT */
/**
 * For a test that cannot be made here: say so and return. It is not skip(), which cmocka 1.1.5 writes as "not ok ... # SKIP" and
 * the TAP driver takes for a failure. Include cmocka.h first.
 */
#ifndef LARDER_TESTS_UNIT_LEAVE_OUT_H
#define LARDER_TESTS_UNIT_LEAVE_OUT_H

#define LEAVE_OUT(why) \
	do { \
		print_message("# left out: %s\n", why); \
		return; \
	} while (0)

/** 1 in a build with a sanitizer that comes with a runtime of its own for threads and memory. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

/** 1 under the thread sanitizer, which cannot start threads in the child of a process that had some. */
#if defined(__SANITIZE_THREAD__)
#define UNDER_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_THREAD_SANITIZER 1
#endif
#endif
#ifndef UNDER_THREAD_SANITIZER
#define UNDER_THREAD_SANITIZER 0
#endif

#endif
