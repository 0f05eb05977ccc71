# SPDX-License-Identifier: MIT
# The store on LMDB, the entry format, the evictor, the outbox; the only user of LMDB.

larder_sources += \
	src/l1/check.c src/l1/check.h src/l1/check_counts.c src/l1/choose.c src/l1/choose.h src/l1/clear.c src/l1/drain.c \
	src/l1/drain_lock.c src/l1/entry.c src/l1/entry.h src/l1/env.c src/l1/env.h src/l1/env_files.c src/l1/evict.c \
	src/l1/evict_window.c src/l1/evict_window.h src/l1/explain.c src/l1/fence.c src/l1/files.c src/l1/inside.h \
	src/l1/invalid.c src/l1/keeper.c src/l1/lease.c src/l1/limit.c src/l1/mend.c src/l1/negative.c src/l1/open.c \
	src/l1/outbox.c src/l1/outbox.h src/l1/outbox_age.c src/l1/put.c src/l1/read.c src/l1/reader.c src/l1/scan.c \
	src/l1/settle.c src/l1/state.c src/l1/store.c src/l1/store.h src/l1/sweep.c src/l1/tags.c src/l1/tally.c src/l1/txn.c \
	src/l1/value.c src/l1/write.c
