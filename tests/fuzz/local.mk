# SPDX-License-Identifier: MIT
# Fuzz targets. As tests they replay their corpus, with replay.c as main; configured with --enable-fuzzers they are linked with
# libFuzzer as well, and `make fuzz` runs each of those for FUZZ_SECONDS. A new target is two blocks.

libfuzzers =
FUZZ_SECONDS = 60

EXTRA_DIST += tests/fuzz/corpus

if FUZZERS
noinst_PROGRAMS += $(libfuzzers)
endif

# The corpus of a target grows in the build directory; what is worth keeping is copied to the source by hand.
fuzz: $(libfuzzers)
	@test -n '$(fuzzer_flags)' || { echo 'make fuzz needs clang: configure with CC=clang --enable-fuzzers' >&2; exit 1; }
	@for fuzzer in $(libfuzzers); do \
		name=$${fuzzer##*/libfuzzer_}; $(MKDIR_P) tests/fuzz/grown/$$name; \
		echo "fuzzing $$name for $(FUZZ_SECONDS) s"; \
		./$$fuzzer -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -artifact_prefix=tests/fuzz/ \
			tests/fuzz/grown/$$name $(top_srcdir)/tests/fuzz/corpus/$$name || exit 1; \
	done

fuzz_tests += tests/fuzz/fuzz_settings
tests_fuzz_fuzz_settings_SOURCES = tests/fuzz/fuzz_settings.c tests/fuzz/replay.c
if FUZZERS
libfuzzers += tests/fuzz/libfuzzer_settings
tests_fuzz_libfuzzer_settings_SOURCES = tests/fuzz/fuzz_settings.c
tests_fuzz_libfuzzer_settings_LDFLAGS = $(AM_LDFLAGS) $(fuzzer_flags)
endif

fuzz_tests += tests/fuzz/fuzz_spaces
tests_fuzz_fuzz_spaces_SOURCES = tests/fuzz/fuzz_spaces.c tests/fuzz/replay.c
if FUZZERS
libfuzzers += tests/fuzz/libfuzzer_spaces
tests_fuzz_libfuzzer_spaces_SOURCES = tests/fuzz/fuzz_spaces.c
tests_fuzz_libfuzzer_spaces_LDFLAGS = $(AM_LDFLAGS) $(fuzzer_flags)
endif

fuzz_tests += tests/fuzz/fuzz_entry
tests_fuzz_fuzz_entry_SOURCES = tests/fuzz/fuzz_entry.c tests/fuzz/replay.c
if FUZZERS
libfuzzers += tests/fuzz/libfuzzer_entry
tests_fuzz_libfuzzer_entry_SOURCES = tests/fuzz/fuzz_entry.c
tests_fuzz_libfuzzer_entry_LDFLAGS = $(AM_LDFLAGS) $(fuzzer_flags)
endif

fuzz_tests += tests/fuzz/fuzz_codec
tests_fuzz_fuzz_codec_SOURCES = tests/fuzz/fuzz_codec.c tests/fuzz/replay.c
if FUZZERS
libfuzzers += tests/fuzz/libfuzzer_codec
tests_fuzz_libfuzzer_codec_SOURCES = tests/fuzz/fuzz_codec.c
tests_fuzz_libfuzzer_codec_LDFLAGS = $(AM_LDFLAGS) $(fuzzer_flags)
endif

fuzz_tests += tests/fuzz/fuzz_http_text
tests_fuzz_fuzz_http_text_SOURCES = tests/fuzz/fuzz_http_text.c tests/fuzz/replay.c
if FUZZERS
libfuzzers += tests/fuzz/libfuzzer_http_text
tests_fuzz_libfuzzer_http_text_SOURCES = tests/fuzz/fuzz_http_text.c
tests_fuzz_libfuzzer_http_text_LDFLAGS = $(AM_LDFLAGS) $(fuzzer_flags)
endif

fuzz_tests += tests/fuzz/fuzz_l2d
tests_fuzz_fuzz_l2d_SOURCES = tests/fuzz/fuzz_l2d.c tests/fuzz/replay.c
tests_fuzz_fuzz_l2d_CPPFLAGS = $(l2d_cppflags)
tests_fuzz_fuzz_l2d_LDADD = libl2d-pure.a libcore.la $(JANSSON_LIBS)
if FUZZERS
libfuzzers += tests/fuzz/libfuzzer_l2d
tests_fuzz_libfuzzer_l2d_SOURCES = tests/fuzz/fuzz_l2d.c
tests_fuzz_libfuzzer_l2d_CPPFLAGS = $(l2d_cppflags)
tests_fuzz_libfuzzer_l2d_LDADD = libl2d-pure.a libcore.la $(JANSSON_LIBS)
tests_fuzz_libfuzzer_l2d_LDFLAGS = $(AM_LDFLAGS) $(fuzzer_flags)
endif
