/* SPDX-License-Identifier: MIT */
/**
 * Answers: each queues exactly one on the request's connection and notes its status for the counters.
 *
 * Returns   MHD_YES, or MHD_NO when there is no memory for it: the server then closes the connection
 */
#ifndef L2D_ANSWER_H
#define L2D_ANSWER_H

#include "request.h"

/** A status alone: 201, 204. */
int l2d_answer_empty(struct l2d_request *request, unsigned status);
/** `{"error":"LARDER_E_...","message":"..."}` */
int l2d_answer_refusal(struct l2d_request *request, const struct l2d_refusal *refusal);
/** A text of the service's own. text is taken over and freed; NULL is answered as being out of memory. */
int l2d_answer_text(struct l2d_request *request, unsigned status, const char *type, char *text, size_t len);
/** A value that was found, or 304 if the caller has it. found is taken over; value is in it. */
int l2d_answer_value(struct l2d_request *request, struct larder_value *found, const struct l2d_value *value);

#endif
