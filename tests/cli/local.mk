# SPDX-License-Identifier: MIT
# Tests of the command line, in bats. A row: cli_tests += tests/cli/X.bats

cli_tests += \
	tests/cli/admin.bats tests/cli/agent.bats tests/cli/config.bats tests/cli/data.bats tests/cli/dump.bats \
	tests/cli/explain.bats tests/cli/help.bats tests/cli/l2d.bats tests/cli/load.bats tests/cli/nginx.bats \
	tests/cli/quickstart.bats tests/cli/replay.bats tests/cli/second.bats \
	tests/cli/terminal.bats tests/cli/warm.bats

EXTRA_DIST += $(cli_tests) tests/cli/helper.bash
