/* SPDX-License-Identifier: MIT */
/*
 * larder-l2d: the second level of larder as an HTTP service, and a pre-forking server that uses liblarder as any other would: the master opens
 * the cache, the workers that it forks use the handle. DESIGN.md says why it is as it is.
 *
 * The cache of the service reads nothing of LARDER_* from the environment: the same environment may make the server beside it a client of this one.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include "files.h"
#include "log.h"
#include "master.h"
#include "value.h"

#define FAILED 1
#define OWN_SETTINGS 8

/* "NAME=value" of a number or a text, to be freed. */
static char *setting(const char *name, const char *text, uint64_t number)
{
	char *made;
	int len = text ? asprintf(&made, "%s=%s", name, text) : asprintf(&made, "%s=%llu", name, (unsigned long long)number);
	return len < 0 ? NULL : made;
}

static int open_with(struct l2d_service *service, const char *const *settings)
{
	struct larder_options options = LARDER_OPTIONS_INIT;
	char *why = NULL;

	options.flags = LARDER_OPEN_NO_ENV;
	options.settings = settings;
	options.log = l2d_log_line;
	int rc = larder_open(&options, &service->cache, &why);
	if (rc != 0) {
		char *named = l2d_options_name(&service->options, why && *why ? why : larder_strerror(rc));
		l2d_complain("the cache cannot be opened: %s", named ? named : larder_strerror(rc));
		free(named);
	}
	larder_free(why);
	return rc == 0 ? 0 : -1;
}

static int open_cache(struct l2d_service *service, const char *dir, const char *secret)
{
	const struct l2d_options *options = &service->options;
	char *own[OWN_SETTINGS] = {
		setting("DIR", dir, 0), setting("NAME", "l2d", 0), setting("SECRET_FILE", secret, 0),
		setting("MAX_VALUE", NULL, options->max_value_b + L2D_HEAD_SIZE), setting("SIZE", options->size, 0),
		setting("LIMIT_RATE", NULL, options->rate), setting("LIMIT_BURST", NULL, options->burst),
		setting("LOG_LEVEL", options->log ? "info" : "warn", 0),
	};
	const char *all[OWN_SETTINGS + L2D_SETTINGS_MAX + 1];
	unsigned count = 0;
	int rc = 0;

	for (; count < OWN_SETTINGS; count++) {
		all[count] = own[count];
		rc = own[count] ? rc : -1;
	}
	for (unsigned i = 0; i < options->settings_count; i++)
		all[count++] = options->settings[i];
	all[count] = NULL;
	if (rc == 0)
		rc = open_with(service, all);
	for (unsigned i = 0; i < OWN_SETTINGS; i++)
		free(own[i]);
	return rc;
}

/* What a worker must find. */
static int open_all(struct l2d_service *service)
{
	const struct l2d_options *options = &service->options;
	char *secret = NULL;

	if (options->token_file && l2d_token_read(options->token_file, &service->token, &service->token_len) < 0)
		return -1;
	/* The socket before the cache: two services on one port are seen first, and nothing was touched. */
	if (l2d_listen(options->listen, options->workers, &service->listener) < 0)
		return -1;
	/* Never closed: the workers hold the lock with it until the last one is gone. */
	if (l2d_dir_lock(options->dir) < 0 || l2d_secret_path(options->secret_file, options->dir, &secret) < 0)
		return -1;
	/* The cache wants an absolute path. */
	char *dir = realpath(options->dir, NULL);
	int rc = dir ? open_cache(service, dir, secret) : -1;
	free(dir);
	free(secret);
	service->shared = rc == 0 ? l2d_shared_make(options->workers) : NULL;
	if (rc == 0 && service->shared == NULL)
		l2d_complain("out of memory");
	return service->shared ? 0 : -1;
}

static int announce(const struct l2d_service *service)
{
	char port[16];

	printf("larder-l2d: %s, %u workers\n", service->listener.address, service->options.workers);
	fflush(stdout);
	snprintf(port, sizeof(port), "%u", service->listener.port);
	if (service->options.port_file && l2d_file_write(service->options.port_file, port) < 0)
		return -1;
	return 0;
}

static void release(struct l2d_service *service)
{
	l2d_listener_close(&service->listener);
	larder_close(service->cache);
	if (service->token)
		explicit_bzero(service->token, service->token_len);
	free(service->token);
}

/*
 * A standard descriptor that is closed is the next number that open(2) gives out: output would land in a file of the cache. /dev/null takes its place, open
 * the wrong way round, so that reads and writes fail as they did.
 */
static void fill_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		/* The lowest free number, and so this one. */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
			return;
}

int main(int argc, char **argv)
{
	static struct l2d_service service;

	fill_standard_descriptors();
	/* What is ours we may read and write; what it takes from others stays as it is told. */
	umask(umask(0) & 077);
	int code = l2d_options_read(argc, argv, &service.options);
	if (code >= 0)
		return code;
	if (service.options.log)
		l2d_log_level(LARDER_LOG_INFO);
	code = open_all(&service) == 0 && announce(&service) == 0 ? l2d_master_run(&service) : FAILED;
	release(&service);
	return code;
}
