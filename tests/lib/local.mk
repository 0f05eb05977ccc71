# SPDX-License-Identifier: MIT
# How tests are run: every test speaks TAP, under a deadline, with an environment that holds nothing of the caller's LARDER_*.

LDADD = libcore.la $(CMOCKA_LIBS)
fault_cppflags = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) -DLARDER_FAULTS
fault_libs = libcore-fault.a $(core_libs) $(CMOCKA_LIBS)

# A server that misbehaves by order: the sources go to a test's _SOURCES, the libraries to the end of its _LDADD; it includes "lib/fault_server.h".
fault_server_lib = tests/lib/fault_inside.h tests/lib/fault_serve.c tests/lib/fault_server.c tests/lib/fault_server.h tests/lib/fault_tls.c
fault_server_libs = $(SSL_LIBS) $(ZLIB_LIBS)

# A scheduler of races and an explorer of states: the sources go to a test's _SOURCES, the flags to its _CPPFLAGS; it includes "lib/schedules.h" or
# "lib/states.h".
schedules_lib = tests/lib/schedules.c tests/lib/schedules.h
states_lib = tests/lib/states.c tests/lib/states.h
orders_cppflags = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) -I$(top_srcdir)/tests
orders_fault_cppflags = $(fault_cppflags) -I$(top_srcdir)/tests

TEST_EXTENSIONS = .sh .bats
tap_driver = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
test_run = $(SHELL) $(top_srcdir)/tests/lib/run.sh
LOG_DRIVER = $(tap_driver)
LOG_COMPILER = $(test_run)
SH_LOG_DRIVER = $(tap_driver)
SH_LOG_COMPILER = $(test_run) $(SHELL)
BATS_LOG_DRIVER = $(tap_driver)
BATS_LOG_COMPILER = $(test_run) $(BATS) --tap

AM_TESTS_ENVIRONMENT = \
	top_srcdir='$(abs_top_srcdir)'; top_builddir='$(abs_top_builddir)'; \
	CC='$(CC)'; CXX='$(CXX)'; NM='$(NM)'; SED='$(SED)'; \
	LINT_CPPFLAGS='$(CRYPTO_CFLAGS) $(LMDB_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS)'; PACKAGE_VERSION='$(PACKAGE_VERSION)'; \
	. $(top_srcdir)/tests/lib/environment.sh;

EXTRA_DIST += tests/lib/environment.sh tests/lib/run.sh tests/lib/tap.sh tests/lib/valgrind.supp

if CAN_CHECK
check_PROGRAMS += $(unit_tests) $(tool_tests) $(multi_tests) $(fuzz_tests)
TESTS += $(unit_tests) $(tool_tests) $(multi_tests) $(fuzz_tests) $(cli_tests) $(lint_tests)
else
check-local:
	@echo 'make check cannot run, for want of:$(missing_for_check)' \
		'(Debian: apt-get install libcmocka-dev bats); then run configure again' >&2; exit 1
endif

# Every unit test may have threads; a multi-process test that has some adds itself to thread_tests.
thread_tests += $(unit_tests)

# All that runs our code, for builds with other sanitizers; the tests that have threads, for --with-sanitizer=thread; the unit tests under valgrind.
check-code:
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(unit_tests) $(tool_tests) $(multi_tests) $(fuzz_tests) $(cli_tests)'

# Those that try every state do so in one thread, with a clock of their own: they have nothing for the thread sanitizer.
check-threads:
	$(MAKE) $(AM_MAKEFLAGS) check TESTS="`echo $(thread_tests) | tr ' ' '\n' | $(GREP) -vE '/test_(breaker|lease)_states(-fault)?$$' | tr '\n' ' '`"

valgrind_run = $(VALGRIND) -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,possible \
	--errors-for-leak-kinds=definite --child-silent-after-fork=yes --suppressions=$(abs_top_srcdir)/tests/lib/valgrind.supp

# Under valgrind one of each pair of twins will do: the one with fault points, which has every line of the other and the ways out of a call that fails.
# (Under the thread sanitizer it will not: a fault point counts atomically, and may so put in order what has no order as shipped.) Left out are the
# test of the pool, which tests limits of time with threads that valgrind makes take turns, and the one that tries every order of the breaker's steps,
# whose every call test_breaker makes too. The other sanitizers run both.
valgrind_left_out = test_(http_pool|breaker_states)-fault

check-valgrind:
	@test -n '$(VALGRIND)' || { echo 'check-valgrind needs valgrind; install it and run configure again' >&2; exit 1; }
	$(MAKE) $(AM_MAKEFLAGS) check LOG_COMPILER='$(test_run) $(valgrind_run)' \
		TESTS="`echo $(unit_tests) | tr ' ' '\n' | $(GREP) -e '-fault$$' | $(GREP) -vE '/$(valgrind_left_out)$$' | tr '\n' ' '`"
