# SPDX-License-Identifier: MIT
# Unit tests. Each program is built twice: test_X against the library as shipped, test_X-fault against the one with fault points.
# A new test is one block: its two names, and where the twin has its source and library from.

EXTRA_DIST += tests/unit/child.h tests/unit/leave_out.h

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

# Tests of the tool's own parts: tool_tests, without twins, since the tool has no fault points.
tool_tests += tests/unit/test_replay
tests_unit_test_replay_CPPFLAGS = $(tool_cppflags) $(CMOCKA_CFLAGS)
tests_unit_test_replay_LDADD = liblarder-tool.a libcore.la $(tool_libs) $(CMOCKA_LIBS)
