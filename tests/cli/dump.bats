#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# dump: its three forms, its filters, and what happens to bytes that are not text.

load helper

fill() {
	larder set --flags 7 acme named alpha "first value"
	larder set acme named beta '{"b":[1,2]}'
	larder set acme secret gamma "third"
	larder set other named delta "$(printf '%02000d' 4)"
}

@test "without a cache: exit code 3, and it says so" {
	exits 3 larder dump
	equal "$output" ""
	contains "$stderr" "larder: "
}

@test "it needs no secret" {
	fill
	unset LARDER_SECRET_FILE
	exits 0 larder dump --json
	equal "${#lines[@]}" 4
}

@test "the table: a line of titles, aligned, no tabs, no colours, no trailing blanks on a pipe" {
	fill
	larder dump > "$BATS_TEST_TMPDIR/out"
	equal "$(wc -l < "$BATS_TEST_TMPDIR/out")" 5
	equal "$(head -1 "$BATS_TEST_TMPDIR/out" | tr -s ' ')" "TENANT SPACE NAME KEY CREATED EXPIRES STATE SIZE HITS FLAGS"
	equal "$(grep -c $'\t\|\033\| $' "$BATS_TEST_TMPDIR/out")" 0
	# Each title stands where its column begins, or, of numbers, ends.
	key=$(head -1 "$BATS_TEST_TMPDIR/out" | grep -bo KEY | cut -d: -f1)
	equal "$(sed 1d "$BATS_TEST_TMPDIR/out" | cut -c$((key + 1))-$((key + 64)) | grep -cE '^[0-9a-f]{64}$')" 4
	row=$(grep alpha "$BATS_TEST_TMPDIR/out" | tr -s ' ')
	[[ $row =~ ^acme\ named\ alpha\ [0-9a-f]{64}\ 20[0-9-]+T[0-9:.]+Z\ 20[0-9-]+T[0-9:.]+Z\ fresh\ 11\ [0-9]+\ 0x7$ ]]
}

@test "names only where the policy keeps them" {
	fill
	exits 0 larder dump
	contains "$output" alpha
	lacks "$output" gamma
	exits 0 larder dump --json --space secret
	equal "$(json .name <<< "$output")" "(none)"
	equal "$(json .name_hex <<< "$output")" "(none)"
}

@test "jsonl has each field of the manual" {
	fill
	exits 0 larder dump --json --tenant acme --space named --max-size 11 --values text --limit 1000
	line=$(grep '"name":"alpha"' <<< "$output")
	equal "$(json .v <<< "$line")" 1
	equal "$(json .tenant <<< "$line")" acme
	equal "$(json .space <<< "$line")" named
	equal "$(json .state <<< "$line")" fresh
	equal "$(json .absent <<< "$line")" false
	equal "$(json .size <<< "$line")" 11
	equal "$(json .flags <<< "$line")" 7
	equal "$(json .key_id <<< "$line")" 0
	equal "$(json .hard_end_ms <<< "$line")" 0
	equal "$(json .value <<< "$line")" "first value"
	[[ $(json .key <<< "$line") =~ ^[0-9a-f]{64}$ ]]
	created=$(json .created_ms <<< "$line") expires=$(json .expires_ms <<< "$line") dead=$(json .dead_ms <<< "$line")
	now=$(date +%s%3N)
	between "$created" $((now - 60000)) "$now"
	# The policy's hour; the two are computed from one clock and may differ by the rounding.
	between $((expires - created)) 3599990 3600010
	equal "$expires" "$dead"
	[ "$(json .fresh_ms <<< "$line")" -le 3600000 ]
	[ "$(json .left_ms <<< "$line")" -gt 3500000 ]
	[ "$(json .age_ms <<< "$line")" -lt 60000 ]
	[ "$(json .stored_bytes <<< "$line")" -ge 11 ]
	[ "$(json .sequence <<< "$line")" -ge 1 ]
	[ "$(json .hits_estimate <<< "$line")" -le 15 ]
}

@test "a key is the same whatever the process, and differs by name" {
	fill
	one=$(larder dump --json | sort | cut -d, -f4)
	two=$(larder dump --json | sort | cut -d, -f4)
	equal "$one" "$two"
	equal "$(sort -u <<< "$one" | wc -l)" 4
}

@test "--values: hex, base64, json, and text that is none" {
	larder set acme named alpha 'plain'
	exits 0 larder dump --json --values hex
	equal "$(json .value_hex <<< "$output")" 706c61696e
	exits 0 larder dump --json --values base64
	equal "$(json .value_base64 <<< "$output")" cGxhaW4=
	exits 0 larder dump --json --values json
	equal "$(json .value <<< "$output")" plain
	larder set acme named alpha '{"b": [1, 2]}'
	exits 0 larder dump --json --values json
	equal "$(json .value_json.b.1 <<< "$output")" 2
	printf '\200' | larder set acme named alpha
	exits 0 larder dump --json --values text
	equal "$(json .value_hex <<< "$output")" 80
	exits 0 larder dump --json
	equal "$(json .value_hex <<< "$output")" "(none)"
}

@test "filters by tenant and space" {
	fill
	equal "$(entries)" 4
	equal "$(entries --tenant acme)" 3
	equal "$(entries --tenant acme --space named)" 2
	equal "$(entries --space named)" 3
	equal "$(entries --tenant nobody)" 0
	exits 2 larder dump --tenant Acme
	exits 2 larder dump --tenant acme --space 'a b'
}

@test "filters by size" {
	fill
	equal "$(entries --min-size 1K)" 1
	equal "$(entries --max-size 5)" 1
	equal "$(entries --min-size 6 --max-size 100)" 2
}

@test "filters by age" {
	fill
	equal "$(entries --min-age 1h)" 0
	equal "$(entries --max-age 1h)" 4
	until_true sh -c '[ "$("$0" dump --json --min-age 300ms | wc -l)" = 4 ]' "$LARDER"
}

@test "filters by state: fresh, stale, expired, cleared" {
	export LARDER_EVICTOR=off LARDER_SWEEP_MS=1h
	larder set acme named fresh value
	larder set --ttl 1ms --stale 1h acme named stale value
	larder set --ttl 1ms acme named expired value
	larder set acme secret cleared value
	larder clear acme secret
	until_true sh -c '[ "$("$0" dump --json --state expired | wc -l)" = 1 ]' "$LARDER"
	until_true sh -c '[ "$("$0" dump --json --state stale | wc -l)" = 1 ]' "$LARDER"
	equal "$(entries)" 2
	equal "$(entries --state fresh)" 1
	exits 0 larder dump --json --state stale
	equal "$(json .state <<< "$output")" stale
	equal "$(json .name <<< "$output")" stale
	[ "$(json .fresh_ms <<< "$output")" -lt 0 ]
	exits 0 larder dump --json --state expired
	equal "$(json .name <<< "$output")" expired
	exits 0 larder dump --json --state cleared
	equal "$(json .space <<< "$output")" secret
	equal "$(entries --state fresh,cleared)" 2
	equal "$(entries --state any)" 4
}

@test "an absent entry is shown as such" {
	larder set --absent acme named nobody
	exits 0 larder dump --json --values hex
	equal "$(json .absent <<< "$output")" true
	equal "$(json .value_hex <<< "$output")" "(none)"
	exits 0 larder dump
	contains "$output" "fresh/absent"
}

@test "--limit" {
	fill
	equal "$(entries --limit 2)" 2
	exits 0 larder dump --limit 1
	equal "${#lines[@]}" 2
}

@test "CSV is RFC 4180: CRLF, quotes doubled, titles, bytes with their encoding" {
	larder set acme named 'a "quoted", name' $'two\nlines'
	larder dump --format csv --values text > "$BATS_TEST_TMPDIR/out"
	head -1 "$BATS_TEST_TMPDIR/out" | grep -q $'^tenant,space,name,name_encoding,key,state,absent,size,.*,value,value_encoding\r$'
	grep -q '^acme,named,"a ""quoted"", name",text,[0-9a-f]\{64\},fresh,0,9,' "$BATS_TEST_TMPDIR/out"
	printf 'lines",text\r\n' | cmp - <(tail -1 "$BATS_TEST_TMPDIR/out")
	grep -q $',"two$' "$BATS_TEST_TMPDIR/out"
}

@test "CSV: as many fields in each row as titles, with values and without" {
	fill
	for values in "" --values=hex; do
		larder dump --format csv $values | tr -d '\r' | awk -F, '{ print NF }' | sort -u > "$BATS_TEST_TMPDIR/fields"
		equal "$(wc -l < "$BATS_TEST_TMPDIR/fields")" 1
	done
}

@test "bytes that are not text: escaped in a table, hex in JSON and CSV" {
	larder set --hex acme named 1b5b33316d00ff value
	exits 0 larder dump
	contains "$output" '\x1b[31m\x00\xff'
	exits 0 larder dump --json
	equal "$(json .name_hex <<< "$output")" 1b5b33316d00ff
	exits 0 larder dump --format csv
	contains "$output" ',1b5b33316d00ff,hex,'
}

@test "characters that reorder text, and a backslash, are escaped in a table" {
	larder set acme named $'a\u202eb\\c' value
	exits 0 larder dump
	contains "$output" 'a\u{202e}b\\c'
}

@test "dump | head ends quietly, also with pipefail" {
	export LARDER_SIZE=16M
	seq 1 3000 | awk '{ printf "{\"v\":1,\"tenant\":\"acme\",\"space\":\"named\",\"key\":\"%064x\",\"left_ms\":9000000,\"fresh_ms\":9000000,\"value\":\"x\"}\n", $1 }' > "$BATS_TEST_TMPDIR/many"
	larder set acme named first value
	larder load --remaining "$BATS_TEST_TMPDIR/many"
	for format in table jsonl csv; do
		run --separate-stderr bash -o pipefail -c '"$0" dump --format "$1" | head -1' "$LARDER" "$format"
		equal "$status" 0
		equal "${#lines[@]}" 1
		equal "$stderr" ""
	done
	equal "$(entries)" 3001
}

@test "--progress on a pipe: one line on stderr at least, nothing of it on stdout" {
	fill
	exits 0 larder dump --progress --json
	contains "$stderr" "dump: "
	contains "$stderr" "entries"
	lacks "$output" "dump: "
	exits 0 larder dump --json
	equal "$stderr" ""
}

# A dump of 160 KB into a pipe that nobody reads yet: it cannot end. Its pid is in started_pid, the pipe is descriptor 9.
# It catches signals by then: that comes before nice.
start_blocked_dump() {
	for i in $(seq 1 40); do
		larder set acme named "key$i" "$(printf '%04000d' "$i")"
	done
	mkfifo "$BATS_TEST_TMPDIR/pipe"
	start dump sh -c 'exec "$0" dump --json --values hex > "$1"' "$LARDER" "$BATS_TEST_TMPDIR/pipe"
	exec 9< "$BATS_TEST_TMPDIR/pipe"
	until_true sh -c '[ "$(cut -d" " -f19 "/proc/$0/stat")" = 19 ]' "$started_pid"
}

@test "it runs at nice 19" {
	start_blocked_dump
	equal "$(wc -l <&9)" 40
	exec 9<&-
	ends "$started_pid" 0
}

@test "SIGINT stops it cleanly: it says what was done, exit code 130" {
	start_blocked_dump
	kill -INT "$started_pid"
	cat <&9 > /dev/null
	exec 9<&-
	ends "$started_pid" 130
	contains "$(cat "$BATS_TEST_TMPDIR/dump.err")" "interrupted: "
}
