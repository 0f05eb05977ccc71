# SPDX-License-Identifier: MIT
# larder-l2d: the reference service of the second level. It sees only the public headers, libmicrohttpd and jansson; where libmicrohttpd is
# missing it is not built, and its tests are skipped.

l2d_sources = \
	tools/l2d/answer.c tools/l2d/answer.h tools/l2d/connection.c tools/l2d/connection.h tools/l2d/files.c tools/l2d/files.h \
	tools/l2d/judge.c tools/l2d/listener.c tools/l2d/listener.h tools/l2d/master.c tools/l2d/master.h tools/l2d/metrics.c \
	tools/l2d/request.c tools/l2d/request.h tools/l2d/serve.c tools/l2d/serve.h tools/l2d/worker.c tools/l2d/worker.h

# What needs neither libmicrohttpd nor a running service: built everywhere, so that its tests run everywhere.
l2d_pure_sources = \
	tools/l2d/base64.c tools/l2d/base64.h tools/l2d/envelope.c tools/l2d/envelope.h tools/l2d/headers.c tools/l2d/headers.h \
	tools/l2d/log.c tools/l2d/log.h tools/l2d/once.c tools/l2d/once.h tools/l2d/options.c tools/l2d/options.h \
	tools/l2d/options_cache.c tools/l2d/shared.c tools/l2d/shared.h tools/l2d/value.c tools/l2d/value.h

l2d_cppflags = -I$(top_srcdir)/include -I$(top_srcdir)/tools/l2d -D_GNU_SOURCE $(larder_cppflags) $(JANSSON_CFLAGS) $(MICROHTTPD_CFLAGS)

noinst_LIBRARIES += libl2d-pure.a
libl2d_pure_a_SOURCES = $(l2d_pure_sources)
libl2d_pure_a_CPPFLAGS = $(l2d_cppflags)

if L2D
bin_PROGRAMS += larder-l2d
larder_l2d_SOURCES = tools/l2d/main.c $(l2d_sources)
larder_l2d_CPPFLAGS = $(l2d_cppflags)
larder_l2d_LDADD = libl2d-pure.a liblarder.la $(JANSSON_LIBS) $(MICROHTTPD_LIBS)

dist_man_MANS += tools/l2d/larder-l2d.8
endif

EXTRA_DIST += tools/l2d/DESIGN.md
