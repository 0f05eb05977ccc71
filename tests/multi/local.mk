# SPDX-License-Identifier: MIT
# Tests with several processes; all run with fault points, for that is how a process is killed or stopped at a known place.
# A row: multi_tests += tests/multi/multi_X, then its _SOURCES, _CPPFLAGS = $(fault_cppflags) and _LDADD = $(fault_libs).
