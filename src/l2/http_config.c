/* SPDX-License-Identifier: MIT */
/*
 * The settings of the HTTP layer: whether they can be used, and the address taken apart. Called when settings are read, and by ld_http_new(). A
 * problem must never repeat the address, which may hold a password, nor a byte of a file.
 *
 * Our own rules come first and are narrow: printable ASCII, no user, query or fragment. Only then libcurl's parser sees the text, so that the
 * host which is compared with the allow-list is the one that will be asked: 0x7f.1 and 2130706433 are 127.0.0.1 in both.
 */
#include "l2/http_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <larder/larder.h>

#include "crypto/locked.h"

#define DAY_MS INT64_C(86400000)
#define OTHERS 07
#define GROUP_AND_OTHERS 077

static int is_given(const char *text)
{
	return text != NULL && text[0] != '\0';
}

static int is_printable(const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text <= ' ' || *text > '~')
			return 0;
	}
	return 1;
}

int ld_http_is_path(const char *path, const char *also, size_t max)
{
	size_t len = strnlen(path, max + 1);

	if (path[0] != '/' || len > max)
		return 0;
	for (const char *at = path; *at != '\0'; at++) {
		size_t dots;

		if (!((*at >= '0' && *at <= '9') || (*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z')) && !strchr("/_.~-", *at) &&
		    !strchr(also, *at))
			return 0;
		if (*at != '/')
			continue;
		dots = strspn(at + 1, ".");
		if ((dots == 1 || dots == 2) && (at[dots + 1] == '/' || at[dots + 1] == '\0'))
			return 0;
	}
	return 1;
}

/* ---- the address ---- */

/* Append the prefix without the slashes at its end. */
static int add_prefix(struct ld_text *url, const char *prefix, struct ld_problems *problems)
{
	size_t len = strlen(prefix);

	if (len > 0 && !ld_http_is_path(prefix, "%", LD_HTTP_URL_MAX)) {
		ld_problem(problems, "LARDER_L2_URL: the path may hold letters, digits and any of /_.~-%%, and no \"..\"");
		return LARDER_E_SETTINGS;
	}
	while (len > 0 && prefix[len - 1] == '/')
		len--;
	ld_text_addf(url, "%.*s", (int)len, prefix);
	if (url->truncated)
		ld_problem(problems, "LARDER_L2_URL: longer than %d bytes", LD_HTTP_URL_MAX);
	return url->truncated ? LARDER_E_SETTINGS : 0;
}

/* What follows "unix:". */
static int parse_socket(const char *text, struct ld_http_base *ret_base, struct ld_problems *problems)
{
	const char *colon = strstr(text, ":/");
	size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);
	struct ld_text url;

	if (text[0] != '/' || len < 2 || len >= sizeof(ret_base->socket)) {
		ld_problem(problems, "LARDER_L2_URL: unix:PATH needs an absolute path of at most %zu bytes", sizeof(ret_base->socket) - 1);
		return LARDER_E_SETTINGS;
	}
	memcpy(ret_base->socket, text, len);
	ret_base->socket[len] = '\0';
	ld_text_init(&url, ret_base->url, sizeof(ret_base->url));
	ld_text_add(&url, "http://localhost");
	return add_prefix(&url, colon != NULL ? colon + 1 : "", problems);
}

/* One entry of the list against a host, brackets and the dot at the end of a host taken off. */
static int is_match(const char *entry, size_t entry_len, const char *host, size_t host_len)
{
	if (entry_len > 1 && entry[0] == '[' && entry[entry_len - 1] == ']') {
		entry++;
		entry_len -= 2;
	}
	if (entry_len > 1 && entry[0] == '.')
		return host_len > entry_len && strncasecmp(host + host_len - entry_len, entry, entry_len) == 0;
	return host_len == entry_len && strncasecmp(host, entry, entry_len) == 0;
}

static int is_allowed(const char *list, const char *host)
{
	size_t host_len = strlen(host);

	if (host_len > 1 && host[0] == '[') {
		host++;
		host_len -= 2;
	}
	if (host_len > 1 && host[host_len - 1] == '.')
		host_len--;
	while (*list != '\0') {
		size_t len;

		list += strspn(list, ", ");
		len = strcspn(list, ", ");
		if (len > 0 && is_match(list, len, host, host_len))
			return 1;
		list += len;
	}
	return 0;
}

/* The parts as libcurl sees them, put together again. */
static int compose(CURLU *parts, const struct ld_http_config *config, struct ld_http_base *ret_base, struct ld_problems *problems)
{
	char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL;
	struct ld_text url;
	int rc = LARDER_E_SETTINGS;

	/* What parsed has all four: there is no other reason than memory. */
	if (curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK || curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
	    curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
	    curl_url_get(parts, CURLUPART_PATH, &path, 0) != CURLUE_OK) {
		problems->lost = 1;
	} else if (is_given(config->allow_hosts) && !is_allowed(config->allow_hosts, host)) {
		ld_problem(problems, "LARDER_L2_URL: its host is not in LARDER_L2_ALLOW_HOSTS");
	} else {
		ld_text_init(&url, ret_base->url, sizeof(ret_base->url));
		ld_text_addf(&url, "%s://%s:%s", scheme, host, port);
		rc = add_prefix(&url, path, problems);
	}
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(path);
	return rc;
}

static int parse_url(const struct ld_http_config *config, struct ld_http_base *ret_base, struct ld_problems *problems)
{
	CURLU *parts;
	CURLUcode parsed;
	int rc = LARDER_E_SETTINGS;

	if (strchr(config->url, '@') != NULL) {
		ld_problem(problems, "LARDER_L2_URL: a user or password has no place in it: use LARDER_L2_TOKEN_FILE");
		return rc;
	}
	if (strpbrk(config->url, "?#\\") != NULL) {
		ld_problem(problems, "LARDER_L2_URL: no query, fragment or backslash");
		return rc;
	}
	parts = curl_url();
	if (parts == NULL) {
		problems->lost = 1;
		return rc;
	}
	parsed = curl_url_set(parts, CURLUPART_URL, config->url, CURLU_DISALLOW_USER | CURLU_PATH_AS_IS);
	if (parsed == CURLUE_OUT_OF_MEMORY)
		problems->lost = 1;
	else if (parsed != CURLUE_OK)
		ld_problem(problems, "LARDER_L2_URL: cannot be read: http://HOST[:PORT][/PREFIX]");
	else
		rc = compose(parts, config, ret_base, problems);
	curl_url_cleanup(parts);
	return rc;
}

int ld_http_base_parse(const struct ld_http_config *config, struct ld_http_base *ret_base, struct ld_problems *problems)
{
	*ret_base = (struct ld_http_base){ .socket = "" };
	if (!is_given(config->url)) {
		ld_problem(problems, "LARDER_L2_URL: not given");
	} else if (strnlen(config->url, LD_HTTP_URL_MAX + 1) > LD_HTTP_URL_MAX) {
		ld_problem(problems, "LARDER_L2_URL: longer than %d bytes", LD_HTTP_URL_MAX);
	} else if (!is_printable(config->url)) {
		ld_problem(problems, "LARDER_L2_URL: holds a blank, a control character, or one that is not ASCII");
	} else if (strncasecmp(config->url, "unix:", 5) == 0) {
		return parse_socket(config->url + 5, ret_base, problems);
	} else if (strncasecmp(config->url, "http://", 7) == 0 || strncasecmp(config->url, "https://", 8) == 0) {
		return parse_url(config, ret_base, problems);
	} else {
		ld_problem(problems, "LARDER_L2_URL: must begin with http://, https:// or unix:/");
	}
	return LARDER_E_SETTINGS;
}

/* ---- files and numbers ---- */

static void check_open_file(const char *setting, const char *path, int fd, mode_t forbidden, struct ld_problems *problems)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		ld_problem(problems, "%s=%s: %s", setting, path, strerrordesc_np(errno));
	else if (!S_ISREG(st.st_mode))
		ld_problem(problems, "%s=%s: not a regular file", setting, path);
	else if ((st.st_mode & forbidden) != 0)
		ld_problem(problems, "%s=%s: open to others (mode %04o): chmod 600 it", setting, path, (unsigned)(st.st_mode & 07777));
}

/* O_NONBLOCK: a FIFO without a writer must not hold us. */
static void check_file(const char *setting, const char *path, mode_t forbidden, struct ld_problems *problems)
{
	int fd;

	if (!is_given(path))
		return;
	for (const char *at = path; *at != '\0'; at++) {
		if ((unsigned char)*at < 0x20 || *at == 0x7f) {
			ld_problem(problems, "%s: holds a control character", setting);
			return;
		}
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		ld_problem(problems, "%s=%s: cannot be opened by user %ld: %s", setting, path, (long)geteuid(), strerrordesc_np(errno));
		return;
	}
	check_open_file(setting, path, fd, forbidden, problems);
	(void)close(fd);
}

static void check_files(const struct ld_http_config *config, struct ld_problems *problems)
{
	unsigned before;

	check_file("LARDER_L2_CA_FILE", config->ca_file, 0, problems);
	check_file("LARDER_L2_CERT_FILE", config->cert_file, 0, problems);
	check_file("LARDER_L2_KEY_FILE", config->key_file, OTHERS, problems);
	if (is_given(config->cert_file) != is_given(config->key_file))
		ld_problem(problems, "%s: is of no use without %s", is_given(config->cert_file) ? "LARDER_L2_CERT_FILE" : "LARDER_L2_KEY_FILE",
		    is_given(config->cert_file) ? "LARDER_L2_KEY_FILE" : "LARDER_L2_CERT_FILE");
	before = problems->count;
	check_file("LARDER_L2_TOKEN_FILE", config->token_file, GROUP_AND_OTHERS, problems);
	if (is_given(config->token_file) && problems->count == before) {
		char data[LD_HTTP_TOKEN_MAX + 2];

		(void)ld_http_token_read(config->token_file, data, problems);
		ld_wipe(data, sizeof(data));
	}
}

static void check_range(const char *setting, int64_t value, int64_t least, int64_t most, struct ld_problems *problems)
{
	if (value < least || value > most)
		ld_problem(problems, "%s: %lld is out of bounds, %lld..%lld", setting, (long long)value, (long long)least, (long long)most);
}

static void check_numbers(const struct ld_http_config *config, struct ld_problems *problems)
{
	check_range("LARDER_L2_CONNECT_MS", config->connect_ms, 1, DAY_MS, problems);
	check_range("LARDER_L2_IDLE_MS", config->idle_ms, 1, DAY_MS, problems);
	check_range("LARDER_L2_MAX_AGE_MS", config->max_age_ms, 1, DAY_MS, problems);
	check_range("LARDER_L2_POOL_WAIT_MS", config->pool_wait_ms, 0, DAY_MS, problems);
	check_range("LARDER_L2_POOL", config->pool, 1, LD_HTTP_POOL_MAX, problems);
	check_range("LARDER_L2_HTTP2", config->http2, 0, 1, problems);
	if (config->body_max == 0 || config->body_max > SIZE_MAX / 4)
		ld_problem(problems, "the largest body is out of bounds");
	if (config->http2 == 1 && (curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_HTTP2) == 0)
		ld_problem(problems, "LARDER_L2_HTTP2: this libcurl was built without it");
}

static void check_list(const char *list, struct ld_problems *problems)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:[], ";

	if (is_given(list) && list[strspn(list, allowed)] != '\0')
		ld_problem(problems, "LARDER_L2_ALLOW_HOSTS: hosts and .DOMAINs with commas between them, without ports");
}

int ld_http_config_check(const struct ld_http_config *config, struct ld_problems *problems)
{
	struct ld_http_base base;
	unsigned before = problems->count;

	if (ld_http_base_parse(config, &base, problems) == 0 && strncmp(base.url, "https:", 6) == 0 &&
	    (curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_SSL) == 0)
		ld_problem(problems, "LARDER_L2_URL: this libcurl was built without TLS");
	check_list(config->allow_hosts, problems);
	check_numbers(config, problems);
	check_files(config, problems);
	return problems->count == before && !problems->lost ? 0 : LARDER_E_SETTINGS;
}
