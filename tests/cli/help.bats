#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# How the tool explains itself, and what it says to a command line that is wrong.

load helper

verbs() {
	sed -n 's/^VERB(\([a-z]*\),.*/\1/p' "${top_srcdir:-$BATS_TEST_DIRNAME/../..}/tools/larder/verbs.def"
}

@test "the table of verbs is not empty" {
	[ "$(verbs | wc -l)" -ge 13 ]
}

@test "each verb explains itself with --help, on stdout, exit code 0" {
	for verb in $(verbs); do
		exits 0 larder "$verb" --help
		contains "$output" "usage: larder $verb"
		contains "$output" "--json"
		contains "$output" "--dir DIR"
		equal "$stderr" ""
	done
}

@test "larder --help lists each verb, and 'help VERB' explains it" {
	exits 0 larder --help
	list=$output
	for verb in $(verbs); do
		contains "$list" "  $verb "
		exits 0 larder help "$verb"
		contains "$output" "usage: larder $verb"
	done
}

@test "no help line is wider than 100 columns" {
	for verb in $(verbs); do
		wide=$(larder "$verb" --help | awk 'length > 100')
		equal "$wide" ""
	done
}

@test "larder --version" {
	exits 0 larder --version
	[[ $output =~ ^larder\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "larder alone prints its usage on stderr, exit code 2" {
	exits 2 larder
	equal "$output" ""
	contains "$stderr" "usage: larder"
}

@test "an unknown verb is named, exit code 2" {
	exits 2 larder frobnicate
	contains "$stderr" "larder: there is no verb 'frobnicate'"
}

@test "an unknown option is named, in each verb, exit code 2" {
	for verb in $(verbs); do
		exits 2 larder "$verb" --frobnicate
		contains "$stderr" "--frobnicate"
		contains "$stderr" "Try 'larder $verb --help'."
		equal "$output" ""
	done
}

@test "an option without its argument" {
	exits 2 larder dump --tenant
	contains "$stderr" "'--tenant' needs an argument"
}

@test "too few and too many arguments" {
	exits 2 larder get acme named
	contains "$stderr" "too few arguments"
	exits 2 larder get acme named one two
	contains "$stderr" "too many arguments"
	exits 2 larder del acme named
	contains "$stderr" "too few arguments"
	exits 2 larder stat now
	contains "$stderr" "too many arguments"
}

@test "bad values of options name what is expected" {
	exits 2 larder dump --min-age soon
	contains "$stderr" "larder: --min-age soon: expected a time such as"
	exits 2 larder dump --min-size 1X
	contains "$stderr" "larder: --min-size 1X: expected a size such as"
	exits 2 larder dump --limit -1
	contains "$stderr" "--limit -1: expected a number"
	exits 2 larder dump --format xml
	contains "$stderr" "expected one of table|jsonl|csv"
	exits 2 larder dump --state fresh,rotten
	contains "$stderr" "fresh|stale|expired|cleared|damaged|error|any"
	exits 2 larder dump --json --format csv
	contains "$stderr" "contradict"
}

@test "times: units, bounds, no sign, no exponent" {
	for time in 1x 1e3 -5s 20y inf 0x10 "" " 5s" 5s5 3651d; do
		exits 2 larder dump --min-age="$time"
	done
	# These are taken: what is missing then is the cache.
	for time in 250ms 30s 5m 2h 1d 1.5h 3650d 0; do
		exits 3 larder dump --min-age="$time"
	done
}

@test "control characters of the command line do not reach the terminal" {
	exits 2 larder $'dump\033[31m'
	lacks "$stderr" $'\033'
	contains "$stderr" '\x1b'
}

@test "help and the version on a full disk are an error, exit code 2" {
	for arguments in --help help 'help get' 'get --help' --version version; do
		run -2 --separate-stderr bash -c "'$LARDER' $arguments > /dev/full"
		equal "$stderr" "larder: standard output: No space left on device"
	done
	L2D=${L2D:-${top_builddir:-.}/larder-l2d}
	[ -x "$L2D" ] || skip 'larder-l2d was not built'
	for arguments in --help --version; do
		run -2 --separate-stderr bash -c "'$L2D' $arguments > /dev/full"
		contains "$stderr" "standard output: No space left on device"
	done
}
