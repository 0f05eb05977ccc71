/* SPDX-License-Identifier: MIT */
/**
 * Threads of ours that may be at work when the process exits, or returns from main, and nobody has closed the cache. Its exit handlers free what
 * OpenSSL has, and a thread that is inside OpenSSL then crashes. So a handler of ours, which runs before those, has them leave off and waits until they have.
 *
 *     thread     while (ld_background_begin()) { a piece of work; ld_background_end(); sleep }
 *     handler    no piece begins any more; those under way end soon, for what takes long asks ld_background_is_over()
 *
 * Other threads, the one that exits among them, are not concerned: nothing here holds their calls up.
 */
#ifndef LD_BASE_BACKGROUND_H
#define LD_BASE_BACKGROUND_H

/** Before a thread is started, and after OpenSSL has been used for the first time: register the handler, once for the program and its children. */
void ld_background_prepare(void);

/** Begin a piece of work. 1; 0 the process is ending: return from the thread. */
int ld_background_begin(void);
void ld_background_end(void);

/** Is this thread one of those, and the process ending? Leave off. */
int ld_background_is_over(void);

/**
 * Round the caller's own code (a loader), which nobody can have leave off: the handler does not wait for it. Step in returns 0 when the process is ending: use
 * nothing of OpenSSL. Neither does anything in other threads.
 */
void ld_background_step_out(void);
int ld_background_step_in(void);

#endif
