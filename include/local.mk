# SPDX-License-Identifier: MIT
# The public headers.

larderincludedir = $(includedir)/larder
larderinclude_HEADERS = include/larder/inspect.h include/larder/larder.h
