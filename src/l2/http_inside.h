/* SPDX-License-Identifier: MIT */
/**
 * What the files of the HTTP layer share: the pool and its slots, the base address, the token, an answer that is being received. For src/l2/http*.c
 * only; everybody else includes l2/http.h.
 */
#ifndef LD_L2_HTTP_INSIDE_H
#define LD_L2_HTTP_INSIDE_H

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include <curl/curl.h>

#include "l2/http.h"

enum {
	LD_HTTP_SOCKETS = 8,                  /* of one handle: one, while connecting one for each family, and some to spare */
	LD_HTTP_WATCHES = LD_HTTP_SOCKETS + 2, /* what libcurl may wait for: those, and its look-up of a name */
	LD_HTTP_LINES = LD_HTTP_HEADERS_MAX + 3, /* with Expect, Content-Type and Authorization */
	LD_HTTP_ANSWER_LINES_MAX = 256,       /* header lines of one answer, interim answers and trailers included */
	LD_HTTP_ANSWER_LINES_MAX_B = 65536
};

/* ---- the address ---- */

struct ld_http_base {
	char url[LD_HTTP_URL_MAX + 1];        /* scheme, host, port, prefix; no slash at its end */
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* empty = TCP */
};

/** Take a configuration's address apart. Returns 0, or LARDER_E_SETTINGS with problems. */
int ld_http_base_parse(const struct ld_http_config *config, struct ld_http_base *ret_base, struct ld_problems *problems);
/** "/...", of [A-Za-z0-9/_.~-] and of `also`, without a "." or ".." between slashes, at most max bytes. */
int ld_http_is_path(const char *path, const char *also, size_t max);

/* ---- the token ---- */

struct ld_http_token {
	char *path;             /* NULL: there is none */
	struct ld_locked *arena;
	char *text;             /* in the arena; under the pool's lock */
	size_t len;
	int64_t looked_ms;      /* under the pool's lock: when the file was last looked at */
	int looking;            /* under the pool's lock: 1 = somebody does */
	int64_t changed_ns, inode, size; /* of the file that text is from, or that was refused; theirs who look */
};

/** Read a token file. Returns its length; 0 with a problem, which has no part of it. data: LD_HTTP_TOKEN_MAX + 2 bytes, wiped on failure. */
size_t ld_http_token_read(const char *path, char *data, struct ld_problems *problems);
/** Returns 0, LARDER_E_SETTINGS, LARDER_E_NOMEM. path NULL or empty: no token. */
int ld_http_token_init(struct ld_http_token *token, const char *path, int64_t now_ms, struct ld_problems *problems);
void ld_http_token_free(struct ld_http_token *token);
/** Read it again if a second has passed and the file is another one. One that cannot be read or used leaves the old token in use, and is logged. */
void ld_http_token_look(struct ld_http_token *token, pthread_mutex_t *lock, const struct ld_log *log, int64_t now_ms);

/* ---- an answer on its way ---- */

struct ld_http_receipt {
	struct ld_http_answer *answer;
	size_t body_max, body_room;
	size_t lines_b;
	int64_t length;         /* Content-Length of the block that is being read, -1 = none */
	int64_t wall_ms;        /* now, for dates */
	int64_t expires_ms, date_ms; /* of the block that is being read; -1 = none; an Expires that is no date is 0, long over */
	unsigned lines;
	int block_status;       /* of the block that is being read */
	uint8_t head;           /* the request is a HEAD */
	uint8_t chunked, encoded;
	uint8_t closed;         /* the final answer's headers are complete: what follows are trailers */
	uint8_t too_large, too_many, no_memory; /* why a callback gave up */
};

void ld_http_receipt_init(struct ld_http_receipt *receipt, struct ld_http_answer *answer, size_t body_max, int head, int64_t wall_ms);
/** Callbacks of libcurl: ctx is a receipt; less than size * count = give up. */
size_t ld_http_receipt_header(char *data, size_t size, size_t count, void *ctx);
size_t ld_http_receipt_body(char *data, size_t size, size_t count, void *ctx);
/** 1 when the end of the body was told, by length or chunks, or there can be none. For HTTP/1. */
int ld_http_receipt_is_told(const struct ld_http_receipt *receipt);

/* ---- the pool ---- */

/** A connection and all that a call on it needs. In use by one thread, or idle and under the pool's lock. */
struct ld_http_slot {
	CURL *easy;
	CURLM *multi;                          /* of this one handle; it has the connection */
	struct ld_http *http;
	unsigned place;                        /* in http->slots */
	_Atomic int busy;                      /* 1: libcurl may be inside the handle; read by a child in ld_http_abandon() */
	_Atomic int sockets[LD_HTTP_SOCKETS];  /* open descriptors, -1 = none; written by the callbacks, read as above */
	unsigned watched;                      /* what libcurl waits for; written by its callback, in the thread that has the slot */
	struct pollfd watch[LD_HTTP_WATCHES];
	int64_t born_ms, used_ms;
	int64_t write_until_ms;                /* boot clock: the limit of the write that it was last used for; 0 = that was a read */
	int patience;                          /* 1: sockets have a limit of their own for what is not acknowledged */
	int no_socket;                         /* 1: this process could not make one for the call that it is used for */
	int multiplexed;                       /* HTTP/2: what comes in while it is idle belongs to no answer */
	struct ld_http_receipt receipt;
	struct curl_slist lines[LD_HTTP_LINES];
	char target[LD_HTTP_URL_MAX + LD_HTTP_PATH_MAX + 1];
	char text[LD_HTTP_HEADERS_MAX_B];
	size_t bearer_len;                     /* what is to be wiped after the call */
	char bearer[LD_HTTP_TOKEN_MAX + 32];
	char error[CURL_ERROR_SIZE];
};

struct ld_http {
	uint64_t process;                      /* generation of its maker */
	struct ld_http_base base;
	const char *prefix;                    /* in base.url: its path, "" where it has none */
	int tls;
	char *ca_file, *cert_file, *key_file;
	int64_t connect_ms, idle_ms, max_age_ms, pool_wait_ms;
	size_t body_max;
	int http2;
	const struct ld_log *log;
	struct ld_http_token token;

	pthread_mutex_t lock;                  /* held for a few lines, never over a call of libcurl or of the kernel */
	pthread_cond_t freed;
	unsigned char *taken;                  /* `pool` places; 1 = counted in `made` */
	struct ld_http_slot **slots;           /* of the places; NULL = free, or being filled */
	struct ld_http_slot **idle;            /* a stack: the last one used is taken first, so that those in excess grow old at the bottom */
	unsigned pool, made, idle_count;
	_Atomic uint64_t opened, reused, closed_idle, closed_age, waits, busy;
};

enum ld_http_took { LD_HTTP_TOOK, LD_HTTP_TOOK_BUSY, LD_HTTP_TOOK_NOMEM };

/** A slot with a handle that is ready for use, waiting for at most wait_ms. */
enum ld_http_took ld_http_take(struct ld_http *http, int64_t wait_ms, struct ld_http_slot **ret_slot);
/** Give it back; closes one that has been idle for too long, if there is one. */
void ld_http_give(struct ld_http *http, struct ld_http_slot *slot);

/** Close its connection and its handle. */
void ld_http_slot_close(struct ld_http_slot *slot);
/** In a child, of a slot of its parent's: close the copies of its descriptors, let go of the rest, free it. nowhere: a descriptor that answers nothing, or -1. */
void ld_http_slot_abandon(struct ld_http_slot *slot, int nowhere);
int ld_http_slot_is_connected(const struct ld_http_slot *slot);
/**
 * Let the kernel send nothing of a write again after its limit, should this process be killed: on the sockets that there are. Of a read: as the system has it.
 * Again while it is on its way.
 */
void ld_http_slot_limit(struct ld_http_slot *slot);

/* ---- one call ---- */

/** 1 when nothing in it could be taken for anything else by a server, and all of it is within bounds. */
int ld_http_request_is_sound(const struct ld_http_request *request);
/** Set all options of this call, in the slot's memory. */
CURLcode ld_http_request_lay_out(struct ld_http_slot *slot, const struct ld_http_request *request, int64_t left_ms);

/** Callbacks of libcurl: ctx is the slot. */
int ld_http_slot_watch(CURL *easy, curl_socket_t fd, int what, void *ctx, void *of_fd);
int ld_http_slot_sends(void *ctx, char *peer_ip, char *own_ip, int peer_port, int own_port);
/** Turn libcurl's result into the answer's outcome. Returns 0 or LARDER_E_NOMEM. */
int ld_http_conclude(const struct ld_http_slot *slot, CURLcode rc, struct ld_http_answer *answer);

/** SIGPIPE is kept from the calling thread between the two, where TLS could raise it; one that was pending before is left to whoever waits for it. */
struct ld_http_pipe {
	sigset_t before;
	int on, eat;
};
void ld_http_pipe_begin(const struct ld_http *http, struct ld_http_pipe *guard);
void ld_http_pipe_end(struct ld_http_pipe *guard);

#endif
