#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# config: every setting, its value and origin, and everything that is wrong, at once.

load helper

# setting NAME FIELD: of the JSON of the last run.
setting() {
	perl -MJSON::PP -e '
		local $/; my $config = decode_json(<STDIN>);
		for (@{ $config->{settings} }) { print $_->{$ARGV[1]} // "(none)", "\n" if $_->{name} eq $ARGV[0] }' "$1" "$2" <<< "$output"
}

@test "each setting of the table has a row" {
	exits 0 larder config
	table=$output
	for name in $(sed -n 's/^LD_SETTING(\([A-Z0-9_]*\),.*/\1/p' "${top_srcdir:-$BATS_TEST_DIRNAME/../..}/src/cache/settings.def"); do
		grep -q "^LARDER_$name  *" <<< "$table" || fail "no row for LARDER_$name"
	done
	equal "$(head -1 <<< "$table" | tr -s ' ')" "SETTING VALUE ORIGIN DEFAULT RANGE"
}

@test "value and origin: default, environment, options" {
	LARDER_TTL=90s exits 0 larder config --json --name other
	equal "$(setting LARDER_TTL origin)" environment
	equal "$(setting LARDER_TTL default)" 5m
	equal "$(setting LARDER_NAME value)" other
	equal "$(setting LARDER_NAME origin)" options
	equal "$(setting LARDER_STALE origin)" default
	equal "$(setting LARDER_SIZE origin)" environment
	equal "$(json .problems <<< "$output")" 0
	contains "$(setting LARDER_TTL value)" "90"
}

@test "the default directory comes from RUNTIME_DIRECTORY, and is told so" {
	unset LARDER_DIR
	RUNTIME_DIRECTORY="$BATS_TEST_TMPDIR/run" exits 0 larder config --json
	equal "$(setting LARDER_DIR value)" "$BATS_TEST_TMPDIR/run/larder"
	equal "$(setting LARDER_DIR origin)" RUNTIME_DIRECTORY
	exits 0 larder config --json
	equal "$(setting LARDER_DIR value)" "/dev/shm/larder-$(id -u)"
}

@test "a secret is never shown" {
	unset LARDER_SECRET_FILE
	LARDER_SECRET=this-is-a-secret-of-more-than-32-bytes exits 0 larder config
	lacks "$output$stderr" "this-is-a-secret"
	contains "$output" "(set)"
}

@test "an unknown LARDER_ variable is an error, exit code 2, but each setting is shown" {
	LARDER_SIZZE=1 exits 2 larder config
	contains "$stderr" "larder: LARDER_SIZZE"
	contains "$output" "LARDER_SIZE"
	LARDER_SIZZE=1 exits 2 larder config --json
	equal "$(json .problems.0.name <<< "$output")" LARDER_SIZZE
}

@test "every problem is told at once, with the allowed range" {
	LARDER_SIZE=1K LARDER_TTL=never LARDER_EVICT_LOW=95 LARDER_EVICT_HIGH=90 LARDER_EVICTOR=sometimes exits 2 larder config
	contains "$stderr" "LARDER_SIZE"
	contains "$stderr" "LARDER_TTL"
	contains "$stderr" "LARDER_EVICTOR"
	contains "$stderr" "LARDER_EVICT_LOW"
	[ "$(grep -c '^larder: ' <<< "$stderr")" -ge 4 ]
}

@test "a fault in the spaces file is told with the file" {
	echo '{ "spaces": { "Bad Name": {} } }' > "$LARDER_SPACES_FILE"
	exits 2 larder config
	contains "$stderr" "spaces.json"
	echo '{ nonsense' > "$LARDER_SPACES_FILE"
	exits 2 larder config
	LARDER_SPACES_FILE="$BATS_TEST_TMPDIR/nowhere" exits 2 larder config
	contains "$stderr" "nowhere"
}

@test "single settings, with and without the prefix; an unknown one is an error" {
	exits 0 larder config LARDER_TTL STALE
	equal "${#lines[@]}" 3
	contains "$output" "LARDER_TTL"
	contains "$output" "LARDER_STALE"
	exits 2 larder config NONSENSE
	contains "$stderr" "'NONSENSE' is no setting"
}

@test "--explain tells what a setting means" {
	exits 0 larder config --explain TTL
	contains "$output" "MEANING"
	contains "$output" "Time to live"
}

@test "it opens no cache" {
	exits 0 larder config
	[ ! -e "$LARDER_DIR" ]
}
