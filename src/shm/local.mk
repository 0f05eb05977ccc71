# SPDX-License-Identifier: MIT
# The segment, and the lock-free states in it.

larder_sources += \
	src/shm/barrier.c src/shm/barrier.h src/shm/breaker.c src/shm/breaker.h src/shm/breaker_look.c \
	src/shm/breakers.c src/shm/breakers.h src/shm/counters.def src/shm/gate.c src/shm/gate.h src/shm/inflight.c \
	src/shm/inflight.h src/shm/lease.c src/shm/lease.h src/shm/lease_inside.h src/shm/lease_wait.c src/shm/limiter.c src/shm/limiter.h src/shm/retry.c src/shm/retry.h src/shm/role.c \
	src/shm/role.h src/shm/seg.c src/shm/seg.h src/shm/sketch.c src/shm/sketch.h src/shm/slot.c src/shm/tenants.c \
	src/shm/tenants.h src/shm/unanswered.c src/shm/unanswered.h src/shm/wanted.c src/shm/wanted.h src/shm/window.c src/shm/window.h
