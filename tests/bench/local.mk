# SPDX-License-Identifier: MIT
# Benchmarks: `make bench`, never part of check. BENCH_FLAGS are given to the program, as in
# make bench BENCH_FLAGS='--case get-zipf --json'.
#
# The program is compiled with the tests, so that it keeps up with the library, and linked with the library's inside.

BENCH_FLAGS =

check_PROGRAMS += tests/bench/bench
tests_bench_bench_SOURCES = \
	tests/bench/bench.c tests/bench/bench.h tests/bench/case_breaker.c tests/bench/case_calls.c tests/bench/case_outbox.c \
	tests/bench/case_lease.c tests/bench/case_parts.c tests/bench/case_processes.c tests/bench/case_second.c tests/bench/load.c tests/bench/ours.c \
	tests/bench/raw.c tests/bench/report.c tests/bench/rounds.c
tests_bench_bench_CPPFLAGS = $(AM_CPPFLAGS) $(LMDB_CFLAGS) $(CRYPTO_CFLAGS) $(CURL_CFLAGS) $(JANSSON_CFLAGS)
tests_bench_bench_LDADD = libcore.la $(LMDB_LIBS) $(CRYPTO_LIBS) $(CURL_LIBS) $(JANSSON_LIBS) -lm

bench: tests/bench/bench
	@./tests/bench/bench $(BENCH_FLAGS)
