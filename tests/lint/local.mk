# SPDX-License-Identifier: MIT
# Tests that read the tree instead of running it.

lint_tests += tests/lint/documented.sh tests/lint/example.sh tests/lint/headers.sh tests/lint/layers.sh tests/lint/sources.sh tests/lint/symbols.sh \
	tests/lint/words.sh

EXTRA_DIST += $(lint_tests) tests/lint/exported-symbols tests/lint/layers.table tests/lint/foreign.table
