# SPDX-License-Identifier: MIT
# Error codes, clocks, text, log sink, fault points. Includes nothing of ours but the public header.

larder_sources += \
	src/base/background.c src/base/background.h src/base/clock.c src/base/clock.h src/base/errors.c src/base/errors.h src/base/fault.c src/base/fault.def \
	src/base/fault.h src/base/file.c src/base/file.h src/base/futex.c src/base/futex.h src/base/json.c src/base/json.h src/base/log.c src/base/log.h src/base/mem.c src/base/mem.h \
	src/base/process.c src/base/process.h src/base/text.c src/base/text.h
