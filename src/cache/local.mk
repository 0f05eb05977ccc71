# SPDX-License-Identifier: MIT
# Settings, tenants, the public calls.

larder_sources += \
	src/cache/call.c src/cache/config.c src/cache/explain.c src/cache/fill.c src/cache/fill.h src/cache/flush.c \
	src/cache/get.c src/cache/handle.h src/cache/health.c src/cache/inspect.c src/cache/inspect_l2.c src/cache/lease.c \
	src/cache/limit.c src/cache/loader.c src/cache/open.c src/cache/policies.c src/cache/policies.h src/cache/refresh.c \
	src/cache/registry.c src/cache/second.c src/cache/second.h src/cache/second_open.c src/cache/set.c \
	src/cache/settings.c src/cache/settings.def src/cache/settings.h src/cache/settings_value.c src/cache/spaces.c \
	src/cache/spaces.h src/cache/spaces_table.c src/cache/spaces_table.h src/cache/stats.c src/cache/tags.c \
	src/cache/tenant.c

dist_doc_DATA = src/cache/SPACES.md src/cache/spaces.example.json

# larder(5): a frame written by hand, and the table of settings.

dist_man_MANS += src/cache/liblarder.3
nodist_man_MANS += src/cache/larder.5
CLEANFILES += src/cache/larder.5
EXTRA_DIST += src/cache/larder.5.in src/cache/settings-man.awk

src/cache/larder.5: $(top_srcdir)/src/cache/larder.5.in $(top_srcdir)/src/cache/settings.def $(top_srcdir)/src/cache/settings-man.awk
	$(AM_V_GEN)$(MKDIR_P) src/cache && \
	LC_ALL=C $(AWK) -f $(top_srcdir)/src/cache/settings-man.awk -v frame='$(top_srcdir)/src/cache/larder.5.in' \
		$(top_srcdir)/src/cache/settings.def > $@.tmp && mv $@.tmp $@
