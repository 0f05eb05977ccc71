# SPDX-License-Identifier: MIT
# Tests with several processes; all run with fault points, for that is how a process is killed or stopped at a known place. A new test is
# one block. LARDER_TEST_LONG=1 makes their long forms, LARDER_TEST_SEED=N repeats a run.

multi_cppflags = $(fault_cppflags) -I$(top_srcdir)/tests
multi_lib = tests/lib/team.c tests/lib/team.h tests/lib/sample.c tests/lib/sample.h

multi_tests += tests/multi/test_kill
tests_multi_test_kill_SOURCES = tests/multi/test_kill.c $(multi_lib)
tests_multi_test_kill_CPPFLAGS = $(multi_cppflags)
tests_multi_test_kill_LDADD = $(fault_libs)

multi_tests += tests/multi/test_stop
tests_multi_test_stop_SOURCES = tests/multi/test_stop.c $(multi_lib)
tests_multi_test_stop_CPPFLAGS = $(multi_cppflags)
tests_multi_test_stop_LDADD = $(fault_libs)

multi_tests += tests/multi/test_evictor
tests_multi_test_evictor_SOURCES = tests/multi/test_evictor.c $(multi_lib)
tests_multi_test_evictor_CPPFLAGS = $(multi_cppflags)
tests_multi_test_evictor_LDADD = $(fault_libs)

multi_tests += tests/multi/test_churn
tests_multi_test_churn_SOURCES = tests/multi/test_churn.c $(multi_lib)
tests_multi_test_churn_CPPFLAGS = $(multi_cppflags)
tests_multi_test_churn_LDADD = $(fault_libs)

multi_tests += tests/multi/test_fair
tests_multi_test_fair_SOURCES = tests/multi/test_fair.c $(multi_lib)
tests_multi_test_fair_CPPFLAGS = $(multi_cppflags)
tests_multi_test_fair_LDADD = $(fault_libs)

multi_tests += tests/multi/test_fork
tests_multi_test_fork_SOURCES = tests/multi/test_fork.c $(multi_lib)
tests_multi_test_fork_CPPFLAGS = $(multi_cppflags)
tests_multi_test_fork_LDADD = $(fault_libs)

multi_tests += tests/multi/test_model
tests_multi_test_model_SOURCES = tests/multi/test_model.c $(multi_lib)
tests_multi_test_model_CPPFLAGS = $(multi_cppflags)
tests_multi_test_model_LDADD = $(fault_libs)

multi_tests += tests/multi/test_exact
tests_multi_test_exact_SOURCES = tests/multi/test_exact.c tests/multi/model.c tests/multi/model.h tests/multi/model_calls.c \
	tests/multi/model_calls.h $(multi_lib)
tests_multi_test_exact_CPPFLAGS = $(multi_cppflags)
tests_multi_test_exact_LDADD = $(fault_libs)

multi_tests += tests/multi/test_readers
tests_multi_test_readers_SOURCES = tests/multi/test_readers.c $(multi_lib)
tests_multi_test_readers_CPPFLAGS = $(multi_cppflags)
tests_multi_test_readers_LDADD = $(fault_libs)

multi_tests += tests/multi/test_heal
tests_multi_test_heal_SOURCES = tests/multi/test_heal.c $(multi_lib)
tests_multi_test_heal_CPPFLAGS = $(multi_cppflags)
tests_multi_test_heal_LDADD = $(fault_libs)

multi_tests += tests/multi/test_namespaces
tests_multi_test_namespaces_SOURCES = tests/multi/test_namespaces.c $(multi_lib)
tests_multi_test_namespaces_CPPFLAGS = $(multi_cppflags)
tests_multi_test_namespaces_LDADD = $(fault_libs)

multi_tests += tests/multi/test_seccomp
tests_multi_test_seccomp_SOURCES = tests/multi/test_seccomp.c $(multi_lib)
tests_multi_test_seccomp_CPPFLAGS = $(multi_cppflags)
tests_multi_test_seccomp_LDADD = $(fault_libs)

multi_tests += tests/multi/test_breaker
tests_multi_test_breaker_SOURCES = tests/multi/test_breaker.c $(multi_lib)
tests_multi_test_breaker_CPPFLAGS = $(multi_cppflags)
tests_multi_test_breaker_LDADD = $(fault_libs)

multi_tests += tests/multi/test_down
tests_multi_test_down_SOURCES = tests/multi/test_down.c $(multi_lib) $(fault_server_lib)
tests_multi_test_down_CPPFLAGS = $(multi_cppflags) $(SSL_CFLAGS) $(ZLIB_CFLAGS)
tests_multi_test_down_LDADD = $(fault_libs) $(fault_server_libs)

multi_tests += tests/multi/test_outbox
tests_multi_test_outbox_SOURCES = tests/multi/test_outbox.c $(multi_lib)
tests_multi_test_outbox_CPPFLAGS = $(multi_cppflags)
tests_multi_test_outbox_LDADD = $(fault_libs)

multi_tests += tests/multi/test_history
tests_multi_test_history_SOURCES = tests/multi/test_history.c tests/multi/history.c tests/multi/history.h tests/multi/history_calls.c \
	tests/multi/history_calls.h tests/multi/history_load.c tests/multi/history_l2.c $(multi_lib)
tests_multi_test_history_CPPFLAGS = $(multi_cppflags)
tests_multi_test_history_LDADD = $(fault_libs)

multi_tests += tests/multi/test_limiter
tests_multi_test_limiter_SOURCES = tests/multi/test_limiter.c $(multi_lib)
tests_multi_test_limiter_CPPFLAGS = $(multi_cppflags)
tests_multi_test_limiter_LDADD = $(fault_libs)

multi_tests += tests/multi/test_herd
tests_multi_test_herd_SOURCES = tests/multi/test_herd.c $(multi_lib)
tests_multi_test_herd_CPPFLAGS = $(multi_cppflags)
tests_multi_test_herd_LDADD = $(fault_libs)

multi_tests += tests/multi/test_fill_edges
tests_multi_test_fill_edges_SOURCES = tests/multi/test_fill_edges.c $(multi_lib)
tests_multi_test_fill_edges_CPPFLAGS = $(multi_cppflags)
tests_multi_test_fill_edges_LDADD = $(fault_libs)

multi_tests += tests/multi/test_fill_ends
tests_multi_test_fill_ends_SOURCES = tests/multi/test_fill_ends.c $(multi_lib)
tests_multi_test_fill_ends_CPPFLAGS = $(multi_cppflags)
tests_multi_test_fill_ends_LDADD = $(fault_libs)

multi_tests += tests/multi/test_fill_together
tests_multi_test_fill_together_SOURCES = tests/multi/test_fill_together.c $(multi_lib) $(fault_server_lib)
tests_multi_test_fill_together_CPPFLAGS = $(multi_cppflags) $(SSL_CFLAGS) $(ZLIB_CFLAGS)
tests_multi_test_fill_together_LDADD = $(fault_libs) $(fault_server_libs)

multi_tests += tests/multi/test_lease
tests_multi_test_lease_SOURCES = tests/multi/test_lease.c $(multi_lib)
tests_multi_test_lease_CPPFLAGS = $(multi_cppflags)
tests_multi_test_lease_LDADD = $(fault_libs)

multi_tests += tests/multi/test_exit
tests_multi_test_exit_SOURCES = tests/multi/test_exit.c $(multi_lib) $(fault_server_lib)
tests_multi_test_exit_CPPFLAGS = $(multi_cppflags) $(SSL_CFLAGS) $(ZLIB_CFLAGS)
tests_multi_test_exit_LDADD = $(fault_libs) $(fault_server_libs)

multi_tests += tests/multi/test_guest
tests_multi_test_guest_SOURCES = tests/multi/test_guest.c $(multi_lib) $(fault_server_lib)
tests_multi_test_guest_CPPFLAGS = $(multi_cppflags) $(SSL_CFLAGS) $(ZLIB_CFLAGS)
tests_multi_test_guest_LDADD = $(fault_libs) $(fault_server_libs)

multi_tests += tests/multi/test_teller
tests_multi_test_teller_SOURCES = tests/multi/test_teller.c $(multi_lib) $(fault_server_lib)
tests_multi_test_teller_CPPFLAGS = $(multi_cppflags) $(SSL_CFLAGS) $(ZLIB_CFLAGS)
tests_multi_test_teller_LDADD = $(fault_libs) $(fault_server_libs)

multi_tests += tests/multi/test_hosts
tests_multi_test_hosts_SOURCES = tests/multi/test_hosts.c tests/lib/l2d.h $(multi_lib) $(fault_server_lib)
tests_multi_test_hosts_CPPFLAGS = $(multi_cppflags) $(SSL_CFLAGS) $(ZLIB_CFLAGS)
tests_multi_test_hosts_LDADD = $(fault_libs) $(fault_server_libs)

# How much of a worker's memory is its own is asked as `larder replay` asks it.
multi_tests += tests/multi/test_growth
tests_multi_test_growth_SOURCES = tests/multi/test_growth.c tests/lib/l2d.h tools/larder/replay_memory.c tools/larder/replay_memory.h $(multi_lib)
tests_multi_test_growth_CPPFLAGS = $(multi_cppflags) -I$(top_srcdir)/tools/larder
tests_multi_test_growth_LDADD = $(fault_libs)
