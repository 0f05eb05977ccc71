# SPDX-License-Identifier: MIT
# Tests of the command line, in bats. A row: cli_tests += tests/cli/X.bats

EXTRA_DIST += $(cli_tests)
