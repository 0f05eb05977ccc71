# SPDX-License-Identifier: MIT
# The tool: one command, a file for each verb. It sees only the public headers, and links the library that is installed.

larder_tool_sources = \
	tools/larder/cli.c tools/larder/cli.h tools/larder/codec.c tools/larder/codec.h tools/larder/dump_write.c \
	tools/larder/dump_write.h tools/larder/human.c tools/larder/human.h tools/larder/lines.c tools/larder/lines.h tools/larder/options.c tools/larder/progress.c \
	tools/larder/progress.h tools/larder/record.c tools/larder/record.h tools/larder/replay_breaker.c \
	tools/larder/replay_breaker.h tools/larder/replay_generator.c \
	tools/larder/replay_generator.h tools/larder/replay_histogram.c tools/larder/replay_histogram.h \
	tools/larder/replay_json.c tools/larder/replay_l2.c tools/larder/replay_l2.h tools/larder/replay_line.c \
	tools/larder/replay_line.h tools/larder/replay_live.c tools/larder/replay_live.h tools/larder/replay_master.c \
	tools/larder/replay_master.h tools/larder/replay_memory.c tools/larder/replay_memory.h \
	tools/larder/replay_outage.c tools/larder/replay_outage.h \
	tools/larder/replay_random.h tools/larder/replay_read.c tools/larder/replay_recipe.c tools/larder/replay_report.c \
	tools/larder/replay_report.h tools/larder/replay_tiers.c tools/larder/replay_tiers.h \
	tools/larder/replay_tiers_print.c tools/larder/replay_trace.c tools/larder/replay_trace.h tools/larder/replay_value.c \
	tools/larder/replay_value.h tools/larder/replay_worker.c tools/larder/replay_worker.h tools/larder/safe.c \
	tools/larder/stat_cache.c tools/larder/stat_l2.c tools/larder/stat_rows.c tools/larder/stat_show.h tools/larder/table.c \
	tools/larder/table.h tools/larder/target.c tools/larder/target.h tools/larder/verb_agent.c tools/larder/verb_breaker.c \
	tools/larder/verb_check.c tools/larder/verb_clear.c tools/larder/verb_config.c tools/larder/verb_del.c \
	tools/larder/verb_dump.c tools/larder/verb_explain.c tools/larder/verb_get.c tools/larder/verb_health.c tools/larder/verb_load.c \
	tools/larder/verb_outbox.c tools/larder/verb_replay.c tools/larder/verb_set.c tools/larder/verb_stat.c tools/larder/verb_switch.c \
	tools/larder/verb_warm.c tools/larder/verbs.def \
	tools/larder/verbs.h

tool_cppflags = -I$(top_srcdir)/include -I$(top_srcdir)/tools/larder -D_GNU_SOURCE $(larder_cppflags) \
	$(JANSSON_CFLAGS) $(ZLIB_CFLAGS)
tool_libs = $(JANSSON_LIBS) $(ZLIB_LIBS) -lm

# Everything but main, so that tests can have its parts.
noinst_LIBRARIES += liblarder-tool.a
liblarder_tool_a_SOURCES = $(larder_tool_sources)
liblarder_tool_a_CPPFLAGS = $(tool_cppflags)

bin_PROGRAMS += larder
larder_SOURCES = tools/larder/main.c
larder_CPPFLAGS = $(tool_cppflags)
larder_LDADD = liblarder-tool.a liblarder.la $(tool_libs)

dist_man_MANS += tools/larder/larder.1
