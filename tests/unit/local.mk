# SPDX-License-Identifier: MIT
# Unit tests. Each program is built twice: test_X against the library as shipped, test_X-fault against the one with fault points.
# A new test is one block: its two names, and where the twin has its source and library from.

EXTRA_DIST += tests/unit/cache.h tests/unit/child.h tests/unit/leave_out.h tests/unit/told.h

unit_tests += tests/unit/test_settings tests/unit/test_settings-fault
tests_unit_test_settings_fault_SOURCES = tests/unit/test_settings.c
tests_unit_test_settings_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_settings_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_spaces tests/unit/test_spaces-fault
tests_unit_test_spaces_fault_SOURCES = tests/unit/test_spaces.c
tests_unit_test_spaces_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_spaces_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_clock tests/unit/test_clock-fault
tests_unit_test_clock_fault_SOURCES = tests/unit/test_clock.c
tests_unit_test_clock_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_clock_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_errors tests/unit/test_errors-fault
tests_unit_test_errors_fault_SOURCES = tests/unit/test_errors.c
tests_unit_test_errors_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_errors_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_fault tests/unit/test_fault-fault
tests_unit_test_fault_fault_SOURCES = tests/unit/test_fault.c
tests_unit_test_fault_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_fault_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_key tests/unit/test_key-fault
tests_unit_test_key_fault_SOURCES = tests/unit/test_key.c
tests_unit_test_key_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_key_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_log tests/unit/test_log-fault
tests_unit_test_log_fault_SOURCES = tests/unit/test_log.c
tests_unit_test_log_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_log_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_process tests/unit/test_process-fault
tests_unit_test_process_fault_SOURCES = tests/unit/test_process.c
tests_unit_test_process_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_process_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_text tests/unit/test_text-fault
tests_unit_test_text_fault_SOURCES = tests/unit/test_text.c
tests_unit_test_text_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_text_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_secret tests/unit/test_secret-fault
tests_unit_test_secret_fault_SOURCES = tests/unit/test_secret.c
tests_unit_test_secret_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_secret_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_config tests/unit/test_config-fault
tests_unit_test_config_fault_SOURCES = tests/unit/test_config.c
tests_unit_test_config_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_config_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_api tests/unit/test_api-fault
tests_unit_test_api_fault_SOURCES = tests/unit/test_api.c
tests_unit_test_api_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_api_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_api_bad tests/unit/test_api_bad-fault
tests_unit_test_api_bad_fault_SOURCES = tests/unit/test_api_bad.c
tests_unit_test_api_bad_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_api_bad_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_api_many tests/unit/test_api_many-fault
tests_unit_test_api_many_fault_SOURCES = tests/unit/test_api_many.c
tests_unit_test_api_many_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_api_many_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_api_time tests/unit/test_api_time-fault
tests_unit_test_api_time_fault_SOURCES = tests/unit/test_api_time.c
tests_unit_test_api_time_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_api_time_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_handles tests/unit/test_handles-fault
tests_unit_test_handles_fault_SOURCES = tests/unit/test_handles.c
tests_unit_test_handles_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_handles_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_reload tests/unit/test_reload-fault
tests_unit_test_reload_fault_SOURCES = tests/unit/test_reload.c
tests_unit_test_reload_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_reload_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_stats tests/unit/test_stats-fault
tests_unit_test_stats_fault_SOURCES = tests/unit/test_stats.c
tests_unit_test_stats_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_stats_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_switch tests/unit/test_switch-fault
tests_unit_test_switch_fault_SOURCES = tests/unit/test_switch.c
tests_unit_test_switch_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_switch_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_luck tests/unit/test_luck-fault
tests_unit_test_luck_fault_SOURCES = tests/unit/test_luck.c
tests_unit_test_luck_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_luck_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_damage tests/unit/test_damage-fault
tests_unit_test_damage_fault_SOURCES = tests/unit/test_damage.c
tests_unit_test_damage_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_damage_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_entry tests/unit/test_entry-fault
tests_unit_test_entry_fault_SOURCES = tests/unit/test_entry.c
tests_unit_test_entry_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_entry_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_choose tests/unit/test_choose-fault
tests_unit_test_choose_fault_SOURCES = tests/unit/test_choose.c
tests_unit_test_choose_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_choose_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_sketch tests/unit/test_sketch-fault
tests_unit_test_sketch_fault_SOURCES = tests/unit/test_sketch.c
tests_unit_test_sketch_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_sketch_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_barrier tests/unit/test_barrier-fault
tests_unit_test_barrier_fault_SOURCES = tests/unit/test_barrier.c
tests_unit_test_barrier_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_barrier_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_gate tests/unit/test_gate-fault
tests_unit_test_gate_fault_SOURCES = tests/unit/test_gate.c
tests_unit_test_gate_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_gate_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_limit tests/unit/test_limit-fault
tests_unit_test_limit_fault_SOURCES = tests/unit/test_limit.c
tests_unit_test_limit_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_limit_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_limiter tests/unit/test_limiter-fault
tests_unit_test_limiter_fault_SOURCES = tests/unit/test_limiter.c
tests_unit_test_limiter_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_limiter_fault_LDADD = $(fault_libs)

# The module is compiled into this one, with atomics of its own.
unit_tests += tests/unit/test_limiter_races tests/unit/test_limiter_races-fault
tests_unit_test_limiter_races_SOURCES = tests/unit/test_limiter_races.c $(schedules_lib)
tests_unit_test_limiter_races_CPPFLAGS = $(orders_cppflags)
tests_unit_test_limiter_races_fault_SOURCES = tests/unit/test_limiter_races.c $(schedules_lib)
tests_unit_test_limiter_races_fault_CPPFLAGS = $(orders_fault_cppflags)
tests_unit_test_limiter_races_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_lease tests/unit/test_lease-fault
tests_unit_test_lease_fault_SOURCES = tests/unit/test_lease.c
tests_unit_test_lease_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_lease_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_lease_states tests/unit/test_lease_states-fault
tests_unit_test_lease_states_SOURCES = tests/unit/test_lease_states.c $(states_lib)
tests_unit_test_lease_states_CPPFLAGS = $(orders_cppflags)
tests_unit_test_lease_states_fault_SOURCES = tests/unit/test_lease_states.c $(states_lib)
tests_unit_test_lease_states_fault_CPPFLAGS = $(orders_fault_cppflags)
tests_unit_test_lease_states_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_lease_races tests/unit/test_lease_races-fault
tests_unit_test_lease_races_SOURCES = tests/unit/test_lease_races.c $(schedules_lib)
tests_unit_test_lease_races_CPPFLAGS = $(orders_cppflags)
tests_unit_test_lease_races_fault_SOURCES = tests/unit/test_lease_races.c $(schedules_lib)
tests_unit_test_lease_races_fault_CPPFLAGS = $(orders_fault_cppflags)
tests_unit_test_lease_races_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_tenants tests/unit/test_tenants-fault
tests_unit_test_tenants_fault_SOURCES = tests/unit/test_tenants.c
tests_unit_test_tenants_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_tenants_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_window tests/unit/test_window-fault
tests_unit_test_window_fault_SOURCES = tests/unit/test_window.c
tests_unit_test_window_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_window_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_breaker tests/unit/test_breaker-fault
tests_unit_test_breaker_fault_SOURCES = tests/unit/test_breaker.c
tests_unit_test_breaker_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_breaker_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_breaker_states tests/unit/test_breaker_states-fault
tests_unit_test_breaker_states_SOURCES = tests/unit/test_breaker_states.c $(states_lib)
tests_unit_test_breaker_states_CPPFLAGS = $(orders_cppflags)
tests_unit_test_breaker_states_fault_SOURCES = tests/unit/test_breaker_states.c $(states_lib)
tests_unit_test_breaker_states_fault_CPPFLAGS = $(orders_fault_cppflags)
tests_unit_test_breaker_states_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_breakers tests/unit/test_breakers-fault
tests_unit_test_breakers_fault_SOURCES = tests/unit/test_breakers.c
tests_unit_test_breakers_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_breakers_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_retry tests/unit/test_retry-fault
tests_unit_test_retry_fault_SOURCES = tests/unit/test_retry.c
tests_unit_test_retry_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_retry_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_seg tests/unit/test_seg-fault
tests_unit_test_seg_fault_SOURCES = tests/unit/test_seg.c
tests_unit_test_seg_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_seg_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_inspect tests/unit/test_inspect-fault
tests_unit_test_inspect_fault_SOURCES = tests/unit/test_inspect.c
tests_unit_test_inspect_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_inspect_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_alloc tests/unit/test_alloc-fault
tests_unit_test_alloc_fault_SOURCES = tests/unit/test_alloc.c
tests_unit_test_alloc_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_alloc_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_json tests/unit/test_json-fault
tests_unit_test_json_fault_SOURCES = tests/unit/test_json.c
tests_unit_test_json_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_json_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_http_text tests/unit/test_http_text-fault
tests_unit_test_http_text_fault_SOURCES = tests/unit/test_http_text.c
tests_unit_test_http_text_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_http_text_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_codec tests/unit/test_codec-fault
tests_unit_test_codec_fault_SOURCES = tests/unit/test_codec.c
tests_unit_test_codec_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_codec_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_codec_time tests/unit/test_codec_time-fault
tests_unit_test_codec_time_fault_SOURCES = tests/unit/test_codec_time.c
tests_unit_test_codec_time_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_codec_time_fault_LDADD = $(fault_libs)
# Tests of the HTTP layer, with a server that misbehaves by order.
EXTRA_DIST += tests/unit/http.h
http_cppflags = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(CURL_CFLAGS) -I$(top_srcdir)/tests
http_fault_cppflags = $(fault_cppflags) $(CURL_CFLAGS) -I$(top_srcdir)/tests

unit_tests += tests/unit/test_http tests/unit/test_http-fault
tests_unit_test_http_SOURCES = tests/unit/test_http.c $(fault_server_lib)
tests_unit_test_http_CPPFLAGS = $(http_cppflags)
tests_unit_test_http_LDADD = $(LDADD) $(fault_server_libs)
tests_unit_test_http_fault_SOURCES = tests/unit/test_http.c $(fault_server_lib)
tests_unit_test_http_fault_CPPFLAGS = $(http_fault_cppflags)
tests_unit_test_http_fault_LDADD = $(fault_libs) $(fault_server_libs)

unit_tests += tests/unit/test_http_answer tests/unit/test_http_answer-fault
tests_unit_test_http_answer_SOURCES = tests/unit/test_http_answer.c $(fault_server_lib)
tests_unit_test_http_answer_CPPFLAGS = $(http_cppflags)
tests_unit_test_http_answer_LDADD = $(LDADD) $(fault_server_libs)
tests_unit_test_http_answer_fault_SOURCES = tests/unit/test_http_answer.c $(fault_server_lib)
tests_unit_test_http_answer_fault_CPPFLAGS = $(http_fault_cppflags)
tests_unit_test_http_answer_fault_LDADD = $(fault_libs) $(fault_server_libs)

unit_tests += tests/unit/test_codec_tags tests/unit/test_codec_tags-fault
tests_unit_test_codec_tags_CPPFLAGS = $(http_cppflags)
tests_unit_test_codec_tags_fault_SOURCES = tests/unit/test_codec_tags.c
tests_unit_test_codec_tags_fault_CPPFLAGS = $(http_fault_cppflags)
tests_unit_test_codec_tags_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_http_config tests/unit/test_http_config-fault
tests_unit_test_http_config_SOURCES = tests/unit/test_http_config.c $(fault_server_lib)
tests_unit_test_http_config_CPPFLAGS = $(http_cppflags)
tests_unit_test_http_config_LDADD = $(LDADD) $(fault_server_libs)
tests_unit_test_http_config_fault_SOURCES = tests/unit/test_http_config.c $(fault_server_lib)
tests_unit_test_http_config_fault_CPPFLAGS = $(http_fault_cppflags)
tests_unit_test_http_config_fault_LDADD = $(fault_libs) $(fault_server_libs)

unit_tests += tests/unit/test_http_pool tests/unit/test_http_pool-fault
tests_unit_test_http_pool_SOURCES = tests/unit/test_http_pool.c $(fault_server_lib)
tests_unit_test_http_pool_CPPFLAGS = $(http_cppflags)
tests_unit_test_http_pool_LDADD = $(LDADD) $(fault_server_libs)
tests_unit_test_http_pool_fault_SOURCES = tests/unit/test_http_pool.c $(fault_server_lib)
tests_unit_test_http_pool_fault_CPPFLAGS = $(http_fault_cppflags)
tests_unit_test_http_pool_fault_LDADD = $(fault_libs) $(fault_server_libs)
unit_tests += tests/unit/test_outbox tests/unit/test_outbox-fault
tests_unit_test_outbox_fault_SOURCES = tests/unit/test_outbox.c
tests_unit_test_outbox_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_outbox_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_load tests/unit/test_load-fault
tests_unit_test_load_fault_SOURCES = tests/unit/test_load.c
tests_unit_test_load_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_load_fault_LDADD = $(fault_libs)

# A loader that does as it is told.
EXTRA_DIST += tests/unit/source.h

unit_tests += tests/unit/test_fill_edges tests/unit/test_fill_edges-fault
tests_unit_test_fill_edges_fault_SOURCES = tests/unit/test_fill_edges.c
tests_unit_test_fill_edges_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_fill_edges_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_fill_l2 tests/unit/test_fill_l2-fault
tests_unit_test_fill_l2_SOURCES = tests/unit/test_fill_l2.c $(fault_server_lib)
tests_unit_test_fill_l2_CPPFLAGS = $(http_cppflags)
tests_unit_test_fill_l2_LDADD = $(LDADD) $(fault_server_libs)
tests_unit_test_fill_l2_fault_SOURCES = tests/unit/test_fill_l2.c $(fault_server_lib)
tests_unit_test_fill_l2_fault_CPPFLAGS = $(http_fault_cppflags)
tests_unit_test_fill_l2_fault_LDADD = $(fault_libs) $(fault_server_libs)

unit_tests += tests/unit/test_fill_l2_fails tests/unit/test_fill_l2_fails-fault
tests_unit_test_fill_l2_fails_SOURCES = tests/unit/test_fill_l2_fails.c $(fault_server_lib)
tests_unit_test_fill_l2_fails_CPPFLAGS = $(http_cppflags)
tests_unit_test_fill_l2_fails_LDADD = $(LDADD) $(fault_server_libs)
tests_unit_test_fill_l2_fails_fault_SOURCES = tests/unit/test_fill_l2_fails.c $(fault_server_lib)
tests_unit_test_fill_l2_fails_fault_CPPFLAGS = $(http_fault_cppflags)
tests_unit_test_fill_l2_fails_fault_LDADD = $(fault_libs) $(fault_server_libs)

unit_tests += tests/unit/test_source_failed tests/unit/test_source_failed-fault
tests_unit_test_source_failed_SOURCES = tests/unit/test_source_failed.c $(fault_server_lib)
tests_unit_test_source_failed_CPPFLAGS = $(http_cppflags)
tests_unit_test_source_failed_LDADD = $(LDADD) $(fault_server_libs)
tests_unit_test_source_failed_fault_SOURCES = tests/unit/test_source_failed.c $(fault_server_lib)
tests_unit_test_source_failed_fault_CPPFLAGS = $(http_fault_cppflags)
tests_unit_test_source_failed_fault_LDADD = $(fault_libs) $(fault_server_libs)

unit_tests += tests/unit/test_fill tests/unit/test_fill-fault
tests_unit_test_fill_fault_SOURCES = tests/unit/test_fill.c
tests_unit_test_fill_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_fill_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_lease_store tests/unit/test_lease_store-fault
tests_unit_test_lease_store_fault_SOURCES = tests/unit/test_lease_store.c
tests_unit_test_lease_store_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_lease_store_fault_LDADD = $(fault_libs)

# What tools and health checks see of the second level.
EXTRA_DIST += tests/unit/second.h

unit_tests += tests/unit/test_mend tests/unit/test_mend-fault
tests_unit_test_mend_fault_SOURCES = tests/unit/test_mend.c
tests_unit_test_mend_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_mend_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_negative tests/unit/test_negative-fault
tests_unit_test_negative_fault_SOURCES = tests/unit/test_negative.c
tests_unit_test_negative_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_negative_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_tags tests/unit/test_tags-fault
tests_unit_test_tags_fault_SOURCES = tests/unit/test_tags.c
tests_unit_test_tags_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_tags_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_inspect_l2 tests/unit/test_inspect_l2-fault
tests_unit_test_inspect_l2_SOURCES = tests/unit/test_inspect_l2.c $(fault_server_lib)
tests_unit_test_inspect_l2_CPPFLAGS = $(http_cppflags)
tests_unit_test_inspect_l2_LDADD = $(LDADD) $(fault_server_libs)
tests_unit_test_inspect_l2_fault_SOURCES = tests/unit/test_inspect_l2.c $(fault_server_lib)
tests_unit_test_inspect_l2_fault_CPPFLAGS = $(http_fault_cppflags)
tests_unit_test_inspect_l2_fault_LDADD = $(fault_libs) $(fault_server_libs)

unit_tests += tests/unit/test_health tests/unit/test_health-fault
tests_unit_test_health_SOURCES = tests/unit/test_health.c $(fault_server_lib)
tests_unit_test_health_CPPFLAGS = $(http_cppflags)
tests_unit_test_health_LDADD = $(LDADD) $(fault_server_libs)
tests_unit_test_health_fault_SOURCES = tests/unit/test_health.c $(fault_server_lib)
tests_unit_test_health_fault_CPPFLAGS = $(http_fault_cppflags)
tests_unit_test_health_fault_LDADD = $(fault_libs) $(fault_server_libs)

# Tests of the tool's own parts: tool_tests, without twins, since the tool has no fault points.
tool_tests += tests/unit/test_replay
tests_unit_test_replay_CPPFLAGS = $(tool_cppflags) $(CMOCKA_CFLAGS)
tests_unit_test_replay_LDADD = liblarder-tool.a libcore.la $(tool_libs) $(CMOCKA_LIBS)

tool_tests += tests/unit/test_l2d
tests_unit_test_l2d_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tools/l2d $(CMOCKA_CFLAGS)
tests_unit_test_l2d_LDADD = libl2d-pure.a libcore.la $(JANSSON_LIBS) $(CMOCKA_LIBS)

unit_tests += tests/unit/test_explain tests/unit/test_explain-fault
tests_unit_test_explain_SOURCES = tests/unit/test_explain.c $(fault_server_lib)
tests_unit_test_explain_CPPFLAGS = $(http_cppflags)
tests_unit_test_explain_LDADD = $(LDADD) $(fault_server_libs)
tests_unit_test_explain_fault_SOURCES = tests/unit/test_explain.c $(fault_server_lib)
tests_unit_test_explain_fault_CPPFLAGS = $(http_fault_cppflags)
tests_unit_test_explain_fault_LDADD = $(fault_libs) $(fault_server_libs)

unit_tests += tests/unit/test_second tests/unit/test_second-fault
tests_unit_test_second_SOURCES = tests/unit/test_second.c $(fault_server_lib)
tests_unit_test_second_CPPFLAGS = $(http_cppflags)
tests_unit_test_second_LDADD = $(LDADD) $(fault_server_libs)
tests_unit_test_second_fault_SOURCES = tests/unit/test_second.c $(fault_server_lib)
tests_unit_test_second_fault_CPPFLAGS = $(http_fault_cppflags)
tests_unit_test_second_fault_LDADD = $(fault_libs) $(fault_server_libs)

unit_tests += tests/unit/test_second_tenants tests/unit/test_second_tenants-fault
tests_unit_test_second_tenants_SOURCES = tests/unit/test_second_tenants.c $(fault_server_lib)
tests_unit_test_second_tenants_CPPFLAGS = $(http_cppflags)
tests_unit_test_second_tenants_LDADD = $(LDADD) $(fault_server_libs)
tests_unit_test_second_tenants_fault_SOURCES = tests/unit/test_second_tenants.c $(fault_server_lib)
tests_unit_test_second_tenants_fault_CPPFLAGS = $(http_fault_cppflags)
tests_unit_test_second_tenants_fault_LDADD = $(fault_libs) $(fault_server_libs)

unit_tests += tests/unit/test_unanswered tests/unit/test_unanswered-fault
tests_unit_test_unanswered_fault_SOURCES = tests/unit/test_unanswered.c
tests_unit_test_unanswered_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_unanswered_fault_LDADD = $(fault_libs)

unit_tests += tests/unit/test_wanted tests/unit/test_wanted-fault
tests_unit_test_wanted_fault_SOURCES = tests/unit/test_wanted.c
tests_unit_test_wanted_fault_CPPFLAGS = $(fault_cppflags)
tests_unit_test_wanted_fault_LDADD = $(fault_libs)
unit_tests += tests/unit/test_second_many tests/unit/test_second_many-fault
tests_unit_test_second_many_SOURCES = tests/unit/test_second_many.c $(fault_server_lib)
tests_unit_test_second_many_CPPFLAGS = $(http_cppflags)
tests_unit_test_second_many_LDADD = $(LDADD) $(fault_server_libs)
tests_unit_test_second_many_fault_SOURCES = tests/unit/test_second_many.c $(fault_server_lib)
tests_unit_test_second_many_fault_CPPFLAGS = $(http_fault_cppflags)
tests_unit_test_second_many_fault_LDADD = $(fault_libs) $(fault_server_libs)
