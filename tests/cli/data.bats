#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# get, set and del: values, times, flags, exit codes, and every kind of bytes.

load helper

@test "set, get, del, and the exit codes 0 and 1" {
	exits 0 larder set acme named greeting hello
	equal "$output" ""
	exits 0 larder get acme named greeting
	equal "$output" "hello"
	exits 0 larder del acme named greeting
	exits 1 larder get acme named greeting
	equal "$output" ""
	equal "$stderr" ""
	exits 1 larder del acme named greeting
}

@test "get prints the bare value, without a newline" {
	larder set acme named bare xyz
	larder get acme named bare > "$BATS_TEST_TMPDIR/out"
	printf xyz | cmp - "$BATS_TEST_TMPDIR/out"
}

@test "the value of stdin comes back byte for byte: NUL, newlines, 0xff, nothing at the end added" {
	printf 'a\0b\n\n\377\0\n' > "$BATS_TEST_TMPDIR/in"
	larder set acme named bytes < "$BATS_TEST_TMPDIR/in"
	larder get acme named bytes > "$BATS_TEST_TMPDIR/out"
	cmp "$BATS_TEST_TMPDIR/in" "$BATS_TEST_TMPDIR/out"
}

@test "an empty value is a hit" {
	larder set acme named empty < /dev/null
	exits 0 larder get acme named empty
	equal "$output" ""
	exits 0 larder set acme named empty2 ""
	exits 0 larder get --json acme named empty2
	equal "$(json .size <<< "$output")" 0
}

@test "a value of 1 MB of random bytes" {
	head -c 1000000 /dev/urandom > "$BATS_TEST_TMPDIR/in"
	larder set acme named big < "$BATS_TEST_TMPDIR/in"
	larder get acme named big > "$BATS_TEST_TMPDIR/out"
	cmp "$BATS_TEST_TMPDIR/in" "$BATS_TEST_TMPDIR/out"
	exits 0 larder get --json acme named big
	equal "$(json .size <<< "$output")" 1000000
}

@test "a value above LARDER_MAX_VALUE is refused, and the older one stays" {
	export LARDER_MAX_VALUE=1000
	larder set acme named small old
	head -c 1001 /dev/zero > "$BATS_TEST_TMPDIR/in"
	run --separate-stderr larder set acme named small < "$BATS_TEST_TMPDIR/in"
	equal "$status" 2
	contains "$stderr" "LARDER_E_TOO_LARGE"
	exits 0 larder get acme named small
	equal "$output" old
}

@test "names that are not text: --hex" {
	larder set --hex acme named 00ff0a value
	exits 0 larder get --hex acme named 00FF0A
	equal "$output" value
	exits 1 larder get acme named 00ff0a
	exits 2 larder get --hex acme named 0g
	contains "$stderr" "is not hex"
	exits 2 larder get --hex acme named 123
	exits 0 larder del --hex acme named 00ff0a
}

@test "names that begin with a hyphen go behind --" {
	exits 0 larder set acme named -- --name value
	exits 0 larder get acme named -- --name
	equal "$output" value
}

@test "tenants and spaces are apart" {
	larder set acme named key one
	larder set other named key two
	larder set acme secret key three
	exits 0 larder get acme named key
	equal "$output" one
	exits 0 larder get other named key
	equal "$output" two
	exits 0 larder get acme secret key
	equal "$output" three
}

@test "malformed tenants, spaces and names: exit code 2, the result is named" {
	long=$(printf '%0300d' 1)
	for tenant in Acme "" a_b "a b" "$long" ../etc; do
		exits 2 larder get "$tenant" named key
		contains "$stderr" "LARDER_E_TENANT"
	done
	for space in Named "" a/b "$long"; do
		exits 2 larder get acme "$space" key
		contains "$stderr" "LARDER_E_SPACE_NAME"
		exits 2 larder set acme "$space" key value
	done
	exits 2 larder get acme named ""
	contains "$stderr" "LARDER_E_NAME"
	exits 2 larder get acme named "$(printf '%04097d' 1)"
	exits 1 larder get acme named "$(printf '%04096d' 1)"
}

@test "--ttl, --stale, --flags and --hard-end are seen by get --json" {
	larder set --ttl 10m --stale 1h --flags 0xdeadbeef --hard-end +2h acme named key value
	exits 0 larder get --json acme named key
	equal "$(json .result <<< "$output")" LARDER_OK
	equal "$(json .flags <<< "$output")" 3735928559
	equal "$(json .source <<< "$output")" l1
	fresh=$(json .fresh_ms <<< "$output")
	between "$fresh" 540000 600000
	left=$(json .left_ms <<< "$output")
	between "$left" 4140000 4200000
	hard=$(json .hard_end_ms <<< "$output")
	now=$(date +%s%3N)
	between "$hard" $((now + 7100000)) $((now + 7200000))
	equal "$(json .value <<< "$output")" "(none)"
}

@test "get --json --values shows the value in each encoding" {
	larder set acme named key '{"a": 1}'
	exits 0 larder get --json --values text acme named key
	equal "$(json .value <<< "$output")" '{"a": 1}'
	exits 0 larder get --json --values hex acme named key
	equal "$(json .value_hex <<< "$output")" 7b2261223a20317d
	exits 0 larder get --json --values base64 acme named key
	equal "$(json .value_base64 <<< "$output")" eyJhIjogMX0=
	exits 0 larder get --json --values json acme named key
	equal "$(json .value_json.a <<< "$output")" 1
	printf '\377' | larder set acme named raw
	exits 0 larder get --json --values text acme named raw
	equal "$(json .value_hex <<< "$output")" ff
}

@test "a value ends to the millisecond of its TTL, and is stale inside its window" {
	larder set --ttl 1ms --stale 1h acme named stale value
	until_true sh -c '"$0" get --json acme named stale | grep -q LARDER_STALE' "$LARDER"
	exits 0 larder get acme named stale
	equal "$output" value
	larder set --ttl 1ms acme named gone value
	until_true sh -c '! "$0" get acme named gone' "$LARDER"
	exits 1 larder get --json acme named gone
	equal "$(json .result <<< "$output")" LARDER_MISS
}

@test "--hard-end in each form; one that is past stores nothing and removes the older value" {
	exits 0 larder set --hard-end 2099-01-02T03:04:05Z acme named key value
	exits 0 larder get --json acme named key
	equal "$(json .hard_end_ms <<< "$output")" 4071006245000
	exits 0 larder set --hard-end @4071006246 acme named key value
	exits 0 larder get --json acme named key
	equal "$(json .hard_end_ms <<< "$output")" 4071006246000
	exits 0 larder set --hard-end @1000000000 acme named key newer
	exits 1 larder get acme named key
	for when in yesterday 2099-13-01T00:00:00Z +soon @ @-5 ""; do
		exits 2 larder set --hard-end "$when" acme named key value
		contains "$stderr" "--hard-end"
	done
}

@test "times that no entry may have: exit code 2" {
	exits 2 larder set --ttl 0 acme named key value
	contains "$stderr" "LARDER_E_TTL"
	exits 2 larder set --ttl 11000d acme named key value
	exits 2 larder set --flags 0x100000000 acme named key value
	exits 1 larder get acme named key
}

@test "--add stores only what is not there" {
	exits 0 larder set --add acme named key one
	exits 1 larder set --add --json acme named key two
	equal "$(json .result <<< "$output")" LARDER_EXISTS
	exits 0 larder get acme named key
	equal "$output" one
}

@test "--absent is a miss that is remembered" {
	exits 0 larder set --absent --ttl 1h acme named nobody
	exits 1 larder get --json acme named nobody
	equal "$(json .result <<< "$output")" LARDER_ABSENT
	exits 1 larder get acme named nobody
	equal "$output" ""
	exits 2 larder set --absent acme named nobody value
	exits 2 larder set --absent --add acme named nobody
}

@test "del takes several names, and says when one was not there" {
	larder set acme named one 1
	larder set acme named two 2
	larder set acme named three 3
	exits 0 larder del acme named one two
	exits 1 larder del --json acme named three four
	equal "$(json .result <<< "$output")" LARDER_MISS
	exits 1 larder get acme named three
}

@test "results with --json" {
	exits 0 larder set --json acme named key value
	equal "$(json .result <<< "$output")" LARDER_OK
	exits 0 larder del --json acme named key
	equal "$(json .result <<< "$output")" LARDER_OK
	exits 1 larder get --json acme named key
	equal "$(json .result <<< "$output")" LARDER_MISS
}

@test "no secret, a short one, one that others can read: exit code 2, and what to do" {
	unset LARDER_SECRET_FILE
	exits 2 larder get acme named key
	contains "$stderr" "LARDER_SECRET_FILE"
	printf short > "$BATS_TEST_TMPDIR/short"
	LARDER_SECRET_FILE="$BATS_TEST_TMPDIR/short" exits 2 larder get acme named key
	contains "$stderr" "32"
	export LARDER_SECRET_FILE="$BATS_TEST_TMPDIR/secret"
	chmod 644 "$LARDER_SECRET_FILE"
	exits 2 larder get acme named key
	contains "$stderr" "larder: "
	lacks "$stderr" "a-secret-for-tests"
}

@test "another secret finds nothing" {
	larder set acme named key value
	printf 'another-secret-for-tests-of-the-tool-0123456789\n' > "$BATS_TEST_TMPDIR/secret2"
	chmod 600 "$BATS_TEST_TMPDIR/secret2"
	LARDER_SECRET_FILE="$BATS_TEST_TMPDIR/secret2" exits 1 larder get acme named key
}

@test "settings that are wrong are all told, a line each, exit code 2" {
	LARDER_SIZE=1 LARDER_TTL=never exits 2 larder get acme named key
	contains "$stderr" "LARDER_SIZE"
	contains "$stderr" "LARDER_TTL"
	[ "$(grep -c '^larder: ' <<< "$stderr")" -ge 2 ]
}

@test "--dir and --name choose the cache" {
	larder set --dir "$BATS_TEST_TMPDIR/other" acme named key there
	exits 1 larder get acme named key
	exits 0 larder get --dir "$BATS_TEST_TMPDIR/other" acme named key
	equal "$output" there
	larder set --name second acme named key second
	exits 0 larder get --name second acme named key
	equal "$output" second
	exits 1 larder get acme named key
	exits 2 larder get --name 'a/b' acme named key
}

@test "a directory that is a symbolic link, or open to all, is refused with exit code 2" {
	mkdir "$BATS_TEST_TMPDIR/real" "$BATS_TEST_TMPDIR/open"
	ln -s real "$BATS_TEST_TMPDIR/link"
	exits 2 larder set --dir "$BATS_TEST_TMPDIR/link" acme named key value
	chmod 777 "$BATS_TEST_TMPDIR/open"
	exits 2 larder set --dir "$BATS_TEST_TMPDIR/open" acme named key value
	contains "$stderr" "larder: "
}

@test "a full standard output is an error, exit code 2" {
	larder set acme named key value
	run --separate-stderr bash -c '"$0" get acme named key > /dev/full' "$LARDER"
	equal "$status" 2
	contains "$stderr" "standard output"
}

@test "a standard input that cannot be read is an error, exit code 2, and nothing is stored" {
	run --separate-stderr bash -c '"$0" set acme named key < /' "$LARDER"
	equal "$status" 2
	contains "$stderr" "standard input"
	exits 1 larder get acme named key
}

@test "with standard descriptors closed it does no harm, and what it cannot write is an error" {
	# Attached meanwhile: what is damaged is not made anew unseen.
	start agent "$LARDER" agent
	until_true larder set acme named key value
	timeout 20 bash -c '"$0" set acme named one 1 <&-' "$LARDER"
	timeout 20 bash -c '"$0" set acme named two 2 <&- >&- 2>&-' "$LARDER"
	for i in 1 2 3; do
		run -2 timeout 20 bash -c '"$0" get acme named one >&-' "$LARDER"
		run -2 timeout 20 bash -c '"$0" stat <&- >&- 2>&-' "$LARDER"
	done
	exits 0 larder get acme named two
	equal "$output" 2
	exits 0 larder check
	kill -TERM "$started_pid"
	ends "$started_pid" 0
	equal "$(cat "$BATS_TEST_TMPDIR/agent.err" | grep -v waiting)" ""
}
