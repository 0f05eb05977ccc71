#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What is different on a terminal: colours, unless NO_COLOR; escapes; indented JSON.

load helper

setup() {
	common_setup
	command -v script > /dev/null || skip "there is no script(1)"
}

@test "a table has colours on a terminal, none with NO_COLOR or TERM=dumb" {
	larder set acme named key value
	contains "$(on_terminal "$LARDER" dump)" $'\033[32mfresh\033[0m'
	lacks "$(NO_COLOR=1 on_terminal "$LARDER" dump)" $'\033'
	lacks "$(TERM=dumb on_terminal "$LARDER" dump)" $'\033'
	contains "$(NO_COLOR='' on_terminal "$LARDER" dump)" $'\033[32m'
}

@test "get escapes control characters on a terminal, and adds a newline; --raw does not" {
	printf 'a\033[31mb' | larder set acme named key
	equal "$(on_terminal "$LARDER" get acme named key)" $'a\\x1b[31mb\r'
	contains "$(on_terminal "$LARDER" get --raw acme named key)" $'a\033[31mb'
}

@test "dump shows no control character of a name or value on a terminal, in any form" {
	larder set --hex acme named 1b5d303b6f776e6564 $'x\033[2J\302\233'
	for format in table jsonl csv; do
		printed=$(NO_COLOR=1 on_terminal "$LARDER" dump --format "$format" --values text)
		contains "$printed" acme
		lacks "$printed" $'\033'
		lacks "$printed" $'\302\233'
	done
}

@test "JSON is indented on a terminal" {
	larder set acme named key value
	contains "$(on_terminal "$LARDER" get --json acme named key)" $'{\r\n  "result": "LARDER_OK"'
}

@test "load draws its progress in place on a terminal, and wipes it" {
	larder set acme named key value
	seq 1 20000 | awk '{ printf "{\"v\":1,\"tenant\":\"acme\",\"space\":\"named\",\"key\":\"%064x\",\"left_ms\":9000000,\"fresh_ms\":9000000,\"value\":\"x\"}\n", $1 }' > "$BATS_TEST_TMPDIR/many"
	printed=$(on_terminal "$LARDER" load --remaining "$BATS_TEST_TMPDIR/many")
	contains "$printed" $'\rload: '
	contains "$printed" " of 20,00"
	contains "$printed" " left"
	contains "$printed" "/s"
	contains "$printed" $'\r\033[K'
	contains "$printed" "20000 stored"
}
