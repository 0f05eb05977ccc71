#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# load: what a dump gave comes back, byte for byte, and bad lines are told.

load helper

key() {
	printf '%064x' "$1"
}

# What differs between two caches with the same entries: times, where they are stored, how often they were asked for.
normal() {
	sed -E 's/"(stored_bytes|created_ms|expires_ms|stale_end_ms|dead_ms|age_ms|fresh_ms|left_ms|error_left_ms|hits_estimate|sequence)":-?[0-9]+,?//g' | sort
}

fill() {
	printf 'a\0b\n\377' | larder set --flags 0xfffffffe acme named bytes
	larder set --hard-end 2099-01-02T03:04:05Z --ttl 2h --stale 3h --stale-if-error 4h --tags red,blue acme named token abc
	larder set --hex acme named 00ff01 'a name of bytes'
	larder set --absent --ttl 1h acme named nobody
	larder set acme secret hidden 'no name is kept'
	larder set other named empty ''
	head -c 300000 /dev/urandom | larder set other named big
}

@test "dump --values hex | load is a faithful round trip" {
	fill
	larder dump --format jsonl --values hex > "$BATS_TEST_TMPDIR/dump"
	equal "$(wc -l < "$BATS_TEST_TMPDIR/dump")" 7
	export LARDER_DIR="$BATS_TEST_TMPDIR/new"
	exits 0 larder load "$BATS_TEST_TMPDIR/dump"
	contains "$output" "7 stored, 0 over already, 0 dead when dumped, 0 bad lines"
	normal < "$BATS_TEST_TMPDIR/dump" > "$BATS_TEST_TMPDIR/one"
	larder dump --format jsonl --values hex | normal > "$BATS_TEST_TMPDIR/two"
	cmp "$BATS_TEST_TMPDIR/one" "$BATS_TEST_TMPDIR/two"
	# And it is found by its names again.
	larder get acme named bytes > "$BATS_TEST_TMPDIR/value"
	printf 'a\0b\n\377' | cmp - "$BATS_TEST_TMPDIR/value"
	exits 0 larder get acme secret hidden
	equal "$output" 'no name is kept'
	exits 0 larder get --hex acme named 00ff01
	exits 1 larder get --json acme named nobody
	equal "$(json .result <<< "$output")" LARDER_ABSENT
	exits 0 larder get --json acme named token
	equal "$(json .hard_end_ms <<< "$output")" 4071006245000
	exits 0 larder get --json acme named bytes
	equal "$(json .flags <<< "$output")" 4294967294
}

@test "the times go on by the wall clock: no entry lives longer for having been dumped" {
	fill
	larder dump --json --values hex --tenant acme > "$BATS_TEST_TMPDIR/dump"
	before=$(grep '"name":"token"' "$BATS_TEST_TMPDIR/dump")
	larder clear --all
	exits 0 larder load "$BATS_TEST_TMPDIR/dump"
	after=$(larder dump --json --tenant acme | grep '"name":"token"')
	equal $(($(json .dead_ms <<< "$after") - $(json .stale_end_ms <<< "$after"))) 14400000
	equal $(($(json .error_left_ms <<< "$after") - $(json .left_ms <<< "$after"))) 14400000
	[[ $(json .tags.0 <<< "$after") =~ ^[0-9a-f]{16}$ && $(json .tags.1 <<< "$after") =~ ^[0-9a-f]{16}$ ]]
	equal "$(json .tags.0 <<< "$after")" "$(json .tags.0 <<< "$before")"
	for field in expires_ms stale_end_ms dead_ms; do
		difference=$(($(json .$field <<< "$after") - $(json .$field <<< "$before")))
		between "$difference" -50 50
	done
}

@test "text and base64 values come back as well" {
	fill
	for values in text base64; do
		larder dump --json --values "$values" > "$BATS_TEST_TMPDIR/dump"
		larder dump --json --values hex | normal > "$BATS_TEST_TMPDIR/one"
		larder clear --all
		exits 0 larder load "$BATS_TEST_TMPDIR/dump"
		larder dump --json --values hex | normal > "$BATS_TEST_TMPDIR/two"
		cmp "$BATS_TEST_TMPDIR/one" "$BATS_TEST_TMPDIR/two"
	done
}

@test "where there is no cache, load makes one; where there is one, it needs no secret" {
	larder set acme named key value
	larder dump --json --values hex > "$BATS_TEST_TMPDIR/dump"
	LARDER_DIR="$BATS_TEST_TMPDIR/new" exits 0 larder load "$BATS_TEST_TMPDIR/dump"
	LARDER_DIR="$BATS_TEST_TMPDIR/new" exits 0 larder get acme named key
	equal "$output" value
	larder clear --all
	LARDER_SECRET_FILE='' exits 0 larder load "$BATS_TEST_TMPDIR/dump"
	exits 0 larder get acme named key
}

@test "from stdin, named by a hyphen or not at all" {
	larder set acme named key value
	larder dump --json --values hex > "$BATS_TEST_TMPDIR/dump"
	for file in "" -; do
		larder clear --all
		equal "$(entries)" 0
		# shellcheck disable=SC2086
		larder load $file < "$BATS_TEST_TMPDIR/dump"
		equal "$(entries)" 1
	done
}

@test "what is over is passed over; --remaining gives it the time it had left" {
	larder set acme named seed seed
	past=$(($(date +%s%3N) - 1000))
	printf '{"v":1,"tenant":"acme","space":"named","key":"%s","expires_ms":%s,"dead_ms":%s,"fresh_ms":60000,"left_ms":60000,"value":"x"}\n' \
		"$(key 1)" "$past" "$past" > "$BATS_TEST_TMPDIR/dump"
	exits 0 larder load "$BATS_TEST_TMPDIR/dump"
	contains "$output" "0 stored, 1 over already"
	equal "$(entries)" 1
	exits 0 larder load --remaining "$BATS_TEST_TMPDIR/dump"
	contains "$output" "1 stored, 0 over already"
	equal "$(entries)" 2
}

@test "what was dead in the dump is not stored" {
	larder set acme named seed seed
	for state in expired cleared damaged; do
		printf '{"v":1,"tenant":"acme","space":"named","key":"%s","state":"%s","left_ms":60000,"fresh_ms":60000,"value":"x"}\n' "$(key 1)" "$state"
	done > "$BATS_TEST_TMPDIR/dump"
	exits 0 larder load --remaining --json "$BATS_TEST_TMPDIR/dump"
	equal "$(json .dead <<< "$output")" 3
	equal "$(json .stored <<< "$output")" 0
	equal "$(json .complete <<< "$output")" true
}

@test "a stale entry is stale again, for the time that its window has left" {
	export LARDER_EVICTOR=off
	larder set --ttl 1ms --stale 1h acme named old value
	until_true sh -c '"$0" dump --json --state stale | grep -q old' "$LARDER"
	larder dump --json --values hex > "$BATS_TEST_TMPDIR/dump"
	larder clear --all
	exits 0 larder load "$BATS_TEST_TMPDIR/dump"
	contains "$output" "1 stored"
	exits 0 larder get --json acme named old
	equal "$(json .result <<< "$output")" LARDER_STALE
	left=$(json .left_ms <<< "$output")
	between "$left" 3500000 3600000
}

@test "a value longer than the cache takes is a bad line" {
	LARDER_SIZE=2M larder set acme named seed seed
	printf '{"v":1,"tenant":"acme","space":"named","key":"%s","fresh_ms":60000,"left_ms":60000,"value":"%01000000d"}\n' "$(key 1)" 1 > "$BATS_TEST_TMPDIR/dump"
	exits 2 larder load --remaining "$BATS_TEST_TMPDIR/dump"
	contains "$output" "1 bad lines"
	equal "$(entries)" 1
}

@test "a cache that is off takes nothing: exit code 3, and it says so" {
	larder set acme named key value
	larder dump --json --values hex > "$BATS_TEST_TMPDIR/dump"
	larder off
	exits 3 larder load "$BATS_TEST_TMPDIR/dump"
	contains "$stderr" "off"
	contains "$output" "not complete: 0 stored"
}

# bad LINE TEXT: the line is told with this text, and nothing is stored.
bad() {
	printf '%s\n' "$1" > "$BATS_TEST_TMPDIR/bad"
	exits 2 larder load --remaining "$BATS_TEST_TMPDIR/bad"
	contains "$stderr" "larder: $BATS_TEST_TMPDIR/bad:1: "
	contains "$stderr" "$2"
	contains "$output" "0 stored, 0 over already, 0 dead when dumped, 1 bad lines"
}

@test "bad lines: each kind is told with file and line, exit code 2, and nothing of it is stored" {
	larder set acme named seed seed
	ids='"v":1,"tenant":"acme","space":"named"'
	good="$ids,\"key\":\"$(key 1)\",\"fresh_ms\":60000,\"left_ms\":60000"
	bad 'TENANT SPACE NAME' 'not JSON'
	bad '[1]' 'no JSON object'
	bad '{}' '"v"'
	bad "{\"v\":2,${good#*,}}" '"v"'
	bad "{\"v\":1,\"space\":\"named\",\"key\":\"$(key 1)\",\"value\":\"x\"}" 'tenant'
	bad "{\"v\":1,\"tenant\":\"Acme\",\"space\":\"named\",\"key\":\"$(key 1)\",\"value\":\"x\"}" 'tenant'
	bad "{\"v\":1,\"tenant\":\"acme\",\"space\":\"na\\u0000med\",\"key\":\"$(key 1)\",\"value\":\"x\"}" 'space'
	bad "{$ids,\"key\":\"abc\",\"value\":\"x\"}" 'key'
	bad "{$ids,\"key\":\"$(key 1)00\",\"value\":\"x\"}" 'key'
	bad "{$good}" 'no value'
	bad "{$good,\"value\":\"x\",\"value_hex\":\"78\"}" 'more than one value'
	bad "{$good,\"value_hex\":\"7\"}" 'value'
	bad "{$good,\"value_hex\":\"zz\"}" 'value'
	bad "{$good,\"value_base64\":\"eA=\"}" 'value'
	bad "{$good,\"value_base64\":\"eB==\"}" 'value'
	bad "{$good,\"value\":12}" 'value'
	bad "{$good,\"flags\":4294967296,\"value\":\"x\"}" 'numbers'
	bad "{$good,\"flags\":-1,\"value\":\"x\"}" 'numbers'
	bad "{$good,\"hard_end_ms\":\"soon\",\"value\":\"x\"}" 'numbers'
	bad "{$good,\"state\":\"rotten\",\"value\":\"x\"}" 'state'
	bad "{$good,\"name\":\"\",\"value\":\"x\"}" 'name'
	bad "{$good,\"name_hex\":\"0\",\"value\":\"x\"}" 'name'
	bad "{$good,\"name\":\"$(printf '%04097d' 1)\",\"value\":\"x\"}" 'name'
	bad "{$good,\"value\":\"x\"" 'not JSON'
	equal "$(entries)" 1
}

@test "bad lines do not keep the good ones back; more than ten are only counted; empty lines are nothing" {
	larder set acme named seed seed
	{
		for i in $(seq 1 12); do echo rubbish; done
		printf '\n{"v":1,"tenant":"acme","space":"named","key":"%s","fresh_ms":60000,"left_ms":60000,"value":"x"}\n' "$(key 1)"
	} > "$BATS_TEST_TMPDIR/dump"
	exits 2 larder load --remaining "$BATS_TEST_TMPDIR/dump"
	contains "$output" "1 stored, 0 over already, 0 dead when dumped, 12 bad lines"
	equal "$(grep -c 'not JSON' <<< "$stderr")" 10
	contains "$stderr" "only counted"
	equal "$(entries)" 2
}

@test "a last line without a newline counts" {
	larder set acme named key value
	larder dump --json --values hex | tr -d '\n' > "$BATS_TEST_TMPDIR/dump"
	larder clear --all
	exits 0 larder load "$BATS_TEST_TMPDIR/dump"
	equal "$(entries)" 1
}

@test "a table is no dump" {
	larder set acme named key value
	larder dump > "$BATS_TEST_TMPDIR/dump"
	exits 2 larder load "$BATS_TEST_TMPDIR/dump"
	contains "$stderr" "--format jsonl --values hex"
	larder dump --json > "$BATS_TEST_TMPDIR/dump"
	exits 2 larder load "$BATS_TEST_TMPDIR/dump"
	contains "$stderr" "--values hex"
}

@test "no file, no cache" {
	exits 2 larder load "$BATS_TEST_TMPDIR/missing"
	contains "$stderr" "missing: No such file"
	LARDER_SECRET_FILE='' exits 2 larder load /dev/null
	contains "$stderr" "LARDER_SECRET_FILE"
	[ ! -e "$LARDER_DIR" ]
	exits 2 larder load "$BATS_TEST_TMPDIR"
	contains "$stderr" "larder: "
}

@test "--progress tells lines on stderr" {
	larder set acme named key value
	larder dump --json --values hex > "$BATS_TEST_TMPDIR/dump"
	exits 0 larder load --progress "$BATS_TEST_TMPDIR/dump"
	contains "$stderr" "load: 1 of 1 entries  100 %"
}

@test "SIGTERM and SIGINT stop it cleanly: it says what was done, exit code 130" {
	larder set acme named key value
	larder dump --json --values hex > "$BATS_TEST_TMPDIR/dump"
	for signal in TERM INT; do
		larder clear --all
		rm -f "$BATS_TEST_TMPDIR/pipe"
		mkfifo "$BATS_TEST_TMPDIR/pipe"
		start load "$LARDER" load --json "$BATS_TEST_TMPDIR/pipe"
		exec 9> "$BATS_TEST_TMPDIR/pipe"
		cat "$BATS_TEST_TMPDIR/dump" >&9
		until_true "$LARDER" get acme named key
		kill -"$signal" "$started_pid"
		ends "$started_pid" 130
		exec 9>&-
		equal "$(json .stored < "$BATS_TEST_TMPDIR/load.out")" 1
		equal "$(json .complete < "$BATS_TEST_TMPDIR/load.out")" false
		contains "$(cat "$BATS_TEST_TMPDIR/load.err")" "interrupted"
	done
}

@test "an entry in its error window is dumped and comes back; a dump from before there was one loads" {
	larder set --ttl 1ms --stale 0 --stale-if-error 1h acme named broken value
	exits 1 larder get acme named broken
	larder dump --json --values hex > "$BATS_TEST_TMPDIR/dump"
	equal "$(json .state < "$BATS_TEST_TMPDIR/dump")" error
	larder clear --all
	exits 0 larder load "$BATS_TEST_TMPDIR/dump"
	contains "$output" "1 stored"
	exits 1 larder get acme named broken
	equal "$(larder dump --json --state error | wc -l)" 1
	equal "$(larder dump --json --state fresh,stale | wc -l)" 0
	# Its stale window ended where it died.
	now=$(date +%s%3N)
	printf '{"v":1,"tenant":"acme","space":"named","key":"%s","expires_ms":%s,"dead_ms":%s,"fresh_ms":1,"left_ms":1,"value":"x"}\n' \
		"$(key 7)" $((now + 60000)) $((now + 90000)) > "$BATS_TEST_TMPDIR/old"
	exits 0 larder load "$BATS_TEST_TMPDIR/old"
	line=$(larder dump --json | grep "$(key 7)")
	equal "$(json .dead_ms <<< "$line")" "$(json .stale_end_ms <<< "$line")"
	between $(($(json .dead_ms <<< "$line") - now)) 89900 90100
}

@test "tags of a dump are checked" {
	for tags in '"red"' '["red"]' '["0123456789ABCDEF"]' '[1]' '["0123456789abcde"]' \
		"[$(printf '"0123456789abcdef",%.0s' {1..16})\"0123456789abcdef\"]"; do
		printf '{"v":1,"tenant":"acme","space":"named","key":"%s","fresh_ms":60000,"left_ms":60000,"value":"x","tags":%s}\n' "$(key 1)" "$tags" > "$BATS_TEST_TMPDIR/dump"
		exits 2 larder load --remaining "$BATS_TEST_TMPDIR/dump"
		contains "$stderr" "tags"
	done
	exits 2 larder set --tags 'a b' acme named x y
	contains "$stderr" '--tags'
	exits 2 larder set --tags a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q acme named x y
	contains "$stderr" "--tags"
}

@test "a line that does not end is an error, and takes no memory" {
	larder set acme named key value
	exits_within 400000 2 load /dev/zero
	contains "$stderr" "larder: /dev/zero:1: it is longer than that of any value"
	contains "$stderr" "larder: /dev/zero:1: it does not end"
	lacks "$stderr" "out of memory"
	contains "$output" "1 bad lines"
}

@test "a line that is too long is passed over, and what follows is loaded" {
	larder set acme named key value
	larder dump --format jsonl --values hex > "$BATS_TEST_TMPDIR/one"
	{
		head -c 20000000 /dev/zero | tr '\0' x
		echo
		cat "$BATS_TEST_TMPDIR/one"
	} > "$BATS_TEST_TMPDIR/two"
	larder del acme named key
	exits 2 larder load "$BATS_TEST_TMPDIR/two"
	contains "$output" "1 stored, 0 over already, 0 dead when dumped, 1 bad lines"
	contains "$stderr" "two:1: "
	exits 0 larder get acme named key
}

@test "a signal is seen within a line" {
	larder set acme named key value
	mkfifo "$BATS_TEST_TMPDIR/pipe"
	for signal in INT TERM; do
		start load "$LARDER" load "$BATS_TEST_TMPDIR/pipe"
		exec 5> "$BATS_TEST_TMPDIR/pipe"
		printf '{"v":1,' >&5
		until_true grep -q 'SigCgt:.*[4-7c-f]...$' "/proc/$started_pid/status"
		kill -"$signal" "$started_pid"
		ends "$started_pid" 130
		exec 5>&-
	done
}
