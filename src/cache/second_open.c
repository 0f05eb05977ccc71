/* SPDX-License-Identifier: MIT */
/*
 * The second level of a cache that is being opened or closed: its settings checked, client and teller made. Called by larder_open(), by inspectors and by
 * larder_close(); nothing here speaks to L2.
 */
#include "cache/second.h"

#include <string.h>

#include "l2/drain.h"

void ld_breaker_settings_of(const int64_t *number, struct ld_breaker_settings *ret_breaker)
{
	*ret_breaker = (struct ld_breaker_settings){
		.failures = (uint32_t)number[LD_SET_BREAKER_FAILURES], .error_pct = (uint32_t)number[LD_SET_BREAKER_ERROR_PCT],
		.slow_pct = (uint32_t)number[LD_SET_BREAKER_SLOW_PCT], .volume = (uint32_t)number[LD_SET_BREAKER_VOLUME],
		.successes = (uint32_t)number[LD_SET_BREAKER_SUCCESSES], .jitter_pct = 20, .window_ms = number[LD_SET_BREAKER_WINDOW_MS],
		.slow_ms = number[LD_SET_BREAKER_SLOW_MS], .open_ms = number[LD_SET_BREAKER_OPEN_MS],
		.open_max_ms = number[LD_SET_BREAKER_OPEN_MAX_MS],
	};
}

static void config_of(const struct ld_settings *settings, struct ld_l2_config *config)
{
	const int64_t *number = settings->number;
	char *const *text = settings->text;

	memset(config, 0, sizeof(*config));
	config->http = (struct ld_http_config){
		.url = text[LD_SET_L2_URL], .ca_file = text[LD_SET_L2_CA_FILE], .cert_file = text[LD_SET_L2_CERT_FILE],
		.key_file = text[LD_SET_L2_KEY_FILE], .token_file = text[LD_SET_L2_TOKEN_FILE], .allow_hosts = text[LD_SET_L2_ALLOW_HOSTS],
		.connect_ms = number[LD_SET_L2_CONNECT_MS], .idle_ms = number[LD_SET_L2_IDLE_MS], .max_age_ms = number[LD_SET_L2_MAX_AGE_MS],
		.pool_wait_ms = number[LD_SET_L2_POOL_WAIT_MS], .pool = (uint32_t)number[LD_SET_L2_POOL], .http2 = (int)number[LD_SET_L2_HTTP2],
		.body_max = ld_codec_body_max((size_t)number[LD_SET_MAX_VALUE]),
	};
	config->codec = number[LD_SET_L2_CODEC] == 1 ? LD_CODEC_RAW : LD_CODEC_JSON;
	config->tenant_in = (enum ld_l2_tenant_in)number[LD_SET_L2_TENANT_IN];
	config->get_ms = number[LD_SET_L2_GET_MS];
	config->set_ms = number[LD_SET_L2_SET_MS];
	config->delete_ms = number[LD_SET_L2_DELETE_MS];
	config->retries = (uint32_t)number[LD_SET_L2_RETRIES];
	config->inflight = (uint32_t)number[LD_SET_L2_INFLIGHT];
	config->value_max = (size_t)number[LD_SET_MAX_VALUE];
	ld_breaker_settings_of(number, &config->breaker);
}

int ld_second_check(const struct ld_settings *settings, struct ld_problems *problems)
{
	struct ld_l2_config config;

	if (!settings->text[LD_SET_L2_URL])
		return 0;
	config_of(settings, &config);
	return ld_http_config_check(&config.http, problems);
}

int ld_second_make(const struct ld_settings *settings, larder_breaker_fn on_breaker, void *on_breaker_ctx, struct ld_store *store,
    struct ld_l2 **ret_l2, struct ld_drain **ret_drain, struct ld_problems *problems)
{
	struct ld_l2_config config;
	struct ld_drain *drain;
	struct ld_l2 *l2;
	int rc;

	config_of(settings, &config);
	config.on_breaker = on_breaker;
	config.on_breaker_ctx = on_breaker_ctx;
	rc = ld_l2_new(&config, store, ld_store_log(store), &l2, problems);
	if (rc != 0)
		return rc;
	drain = ld_drain_new(l2, store, ld_store_log(store));
	if (!drain) {
		ld_l2_free(l2);
		return LARDER_E_NOMEM;
	}
	*ret_l2 = l2;
	*ret_drain = drain;
	return 0;
}

int ld_second_open(larder *cache, const struct larder_options *options, struct ld_problems *problems)
{
	int given = options && options->size >= sizeof(*options);

	if (!cache->settings.text[LD_SET_L2_URL])
		return 0;
	return ld_second_make(&cache->settings, given ? options->breaker : NULL, given ? options->breaker_ctx : NULL, cache->store, &cache->l2,
	    &cache->drain, problems);
}

void ld_second_close(larder *cache)
{
	ld_drain_free(cache->drain);
	ld_l2_free(cache->l2);
	cache->drain = NULL;
	cache->l2 = NULL;
}
