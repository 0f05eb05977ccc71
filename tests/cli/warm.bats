#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# warm: names are fetched from larder-l2d into the store, what is there or cannot be had is counted, and it stops when it is told to.

load helper

L2D=${L2D:-${top_builddir:?run by make, or set L2D}/larder-l2d}

setup() {
	common_setup
	nobody=http://127.0.0.1:9
	names=$BATS_TEST_TMPDIR/names
}

# serve: start larder-l2d; the cache has it as its second level from here on.
serve() {
	[ -x "$L2D" ] || skip 'larder-l2d was not built'
	start l2d env -u LARDER_DIR -u LARDER_SECRET_FILE -u LARDER_SPACES_FILE -u LARDER_SIZE -u LARDER_WORKERS -u LARDER_TENANTS "$L2D" \
		--dir "$BATS_TEST_TMPDIR/l2d" --size 64M --listen 127.0.0.1:0 --port-file "$BATS_TEST_TMPDIR/port"
	served=$started_pid
	until_true test -s "$BATS_TEST_TMPDIR/port"
	export LARDER_L2_URL=http://127.0.0.1:$(cat "$BATS_TEST_TMPDIR/port")
}

# Values that L2 has and this host, in another directory, has not.
fill_l2() {
	local name
	for name in "$@"; do
		LARDER_L2_WRITE=through larder set acme named "$name" "value of $name"
	done
	export LARDER_DIR="$BATS_TEST_TMPDIR/cold"
}

@test "warm: what L2 has is in the store, and the rest is counted" {
	serve
	fill_l2 one two 'three three'
	LARDER_L2_WRITE=off larder set acme named four here
	printf 'one\ntwo\n\nthree three\nfour\nnobody\n' > "$names"
	exits 0 larder warm --names "$names" acme named
	equal "$output" "3 fetched, 1 here already, 0 here and stale, 1 not in L2, 0 failed, 0 passed over, 0 bad lines"
	equal "$stderr" ""
	kill -KILL "$served"
	exits 0 larder get acme named 'three three'
	equal "$output" "value of three three"
	# All there: nobody is asked for them.
	printf 'one\ntwo\nthree three\nfour' > "$names"
	exits 0 larder warm --json --names - acme named < "$names"
	equal "$(json .here <<< "$output")" 4
	equal "$(json .names <<< "$output")" 4
	equal "$(json .complete <<< "$output")" true
}

@test "warm: names in hex, and the lines of a dump" {
	serve
	LARDER_L2_WRITE=through larder set --hex acme named 00ff0a bytes
	LARDER_L2_WRITE=through larder set acme named '{"a"' brace
	LARDER_L2_WRITE=through larder set acme secret hidden 'no name is kept'
	LARDER_L2_WRITE=through larder set other named elsewhere x
	larder dump --format jsonl > "$BATS_TEST_TMPDIR/dump"
	export LARDER_DIR="$BATS_TEST_TMPDIR/cold"
	exits 0 larder warm --json --jsonl --names "$BATS_TEST_TMPDIR/dump" acme named
	equal "$(json .fetched <<< "$output")" 2
	equal "$(json .elsewhere <<< "$output")" 2
	equal "$(larder dump --json | wc -l)" 2
	# Lines that are made by hand need a name only.
	export LARDER_DIR="$BATS_TEST_TMPDIR/colder"
	printf '{"name":"{\\"a\\""}\n{"name_hex":"00ff0a"}\n' > "$names"
	exits 0 larder warm --json --jsonl --names "$names" acme named
	equal "$(json .fetched <<< "$output")" 2
	export LARDER_DIR="$BATS_TEST_TMPDIR/coldest"
	printf '00ff0a\n7b226122\n' > "$names"
	exits 0 larder warm --json --hex --names "$names" acme named
	equal "$(json .fetched <<< "$output")" 2
}

@test "warm: bad lines are told and passed over" {
	serve
	fill_l2 one
	head -c 5000 /dev/zero | tr '\0' x > "$names"
	printf '\na\0b\none\n' >> "$names"
	exits 2 larder warm --json --names "$names" acme named
	equal "$(json .bad <<< "$output")" 2
	equal "$(json .fetched <<< "$output")" 1
	contains "$stderr" "names:1: "
	contains "$stderr" "names:2: it has a NUL in it"
	printf 'abc\n00\n' > "$names"
	exits 2 larder warm --hex --names "$names" acme named
	contains "$stderr" "names:1: it is not hex"
	printf 'no json\n[1]\n{"name":""}\n{"name":"a","name_hex":"00"}\n{"name":"one"}\n{}\n' > "$names"
	exits 2 larder warm --json --jsonl --names "$names" acme named
	equal "$(json .bad <<< "$output")" 4
	equal "$(json .here <<< "$output")" 1
	equal "$(json .elsewhere <<< "$output")" 1
}

@test "warm: an L2 that does not answer is left alone after a while" {
	seq 1 1000 > "$names"
	LARDER_L2_URL=$nobody exits 3 larder warm --json --batch 10 --names "$names" acme named
	equal "$(json .complete <<< "$output")" false
	equal "$(json .failed <<< "$output")" 30
	equal "$(json .outcomes.LARDER_E_L2 <<< "$output")" 30
	equal "$(json .names <<< "$output")" 30
	contains "$stderr" "3 times in a row"
	# Fewer than that are asked for to the end.
	seq 1 5 > "$names"
	LARDER_L2_URL=$nobody exits 3 larder warm --names "$names" acme named
	contains "$output" "0 fetched, 0 here already, 0 here and stale, 0 not in L2, 5 failed"
	[[ ${lines[1]} =~ ^\ +LARDER_E_L2\ +5\  ]]
}

@test "warm: a tenant's limit on L2 is waited for" {
	serve
	fill_l2 1 2 3 4 5 6
	export LARDER_L2_RATE=20 LARDER_L2_BURST=2
	seq 1 6 > "$names"
	exits 0 larder warm --json --names "$names" acme named
	equal "$(json .fetched <<< "$output")" 6
	equal "$(json .failed <<< "$output")" 0
}

@test "warm: no faster than --rate, with progress" {
	serve
	fill_l2 1
	seq 1 40 > "$names"
	before=$(date +%s%N)
	exits 0 larder warm --progress --rate 20 --names "$names" acme named
	[ $(($(date +%s%N) - before)) -ge 1900000000 ]
	contains "$output" "1 fetched, 0 here already, 0 here and stale, 39 not in L2"
	contains "$stderr" "warm"
	contains "$stderr" "1 fetched"
}

@test "warm: interrupted, it says how far it came" {
	serve
	fill_l2 1
	seq 1 100000 > "$names"
	start warm "$LARDER" warm --json --rate 50 --names "$names" acme named
	until_true larder get acme named 1
	until_true sh -c '[ "$("$0" dump --json | wc -l)" -ge 1 ]' "$LARDER"
	kill -INT "$started_pid"
	ends "$started_pid" 130
	contains "$(cat "$BATS_TEST_TMPDIR/warm.err")" interrupted
	result=$(cat "$BATS_TEST_TMPDIR/warm.out")
	equal "$(json .complete <<< "$result")" false
	between "$(json .names <<< "$result")" 0 5000
	equal "$(json .failed <<< "$result")" 0
}

@test "warm: what it cannot do" {
	printf 'a\n' > "$names"
	exits 2 larder warm --names "$names" acme named
	contains "$stderr" "LARDER_L2_URL"
	export LARDER_L2_URL=$nobody
	exits 2 larder warm acme named
	contains "$stderr" "--names"
	exits 2 larder warm --names "$names" acme
	exits 2 larder warm --names "$BATS_TEST_TMPDIR/none" acme named
	contains "$stderr" "No such file"
	exits 2 larder warm --names "$names" --hex --jsonl acme named
	exits 2 larder warm --names "$names" --batch 0 acme named
	exits 2 larder warm --names "$names" --batch 1025 acme named
	exits 2 larder warm --names "$names" ACME named
	exits 2 larder warm --names "$names" acme NAMED
	contains "$stderr" "NAMED"
	unset LARDER_SECRET_FILE
	exits 2 larder warm --names "$names" acme named
	contains "$stderr" "secret"
}

# A process that takes more memory than this is refused it.
MEMORY_KB=400000

@test "warm: a line that does not end is an error, and takes no memory" {
	export LARDER_L2_URL=$nobody
	for option in '' --hex; do
		exits_within "$MEMORY_KB" 2 warm ${option:+"$option"} --names /dev/zero acme named
		contains "$stderr" "larder: /dev/zero:1: "
		contains "$stderr" "it does not end"
		lacks "$stderr" memory
	done
	exits_within "$MEMORY_KB" 2 warm --jsonl --names /dev/zero acme named
	contains "$stderr" "larder: /dev/zero:1: it is longer than 64 MiB"
}

@test "warm: the longest name is taken, the next longer one is not, nor is what follows lost" {
	export LARDER_L2_URL=$nobody
	longest=$(head -c 4096 /dev/zero | tr '\0' x)
	printf '%s\n%sx\none' "$longest" "$longest" > "$names"
	LARDER_L2_WRITE=off larder set acme named one value
	LARDER_L2_WRITE=off larder set acme named "$longest" value
	exits 2 larder warm --json --names "$names" acme named
	equal "$(json .here <<< "$output")" 2
	equal "$(json .bad <<< "$output")" 1
	equal "$(json .lines <<< "$output")" 3
	contains "$stderr" "names:2: "
}

@test "warm: a signal is seen within a line" {
	export LARDER_L2_URL=$nobody
	mkfifo "$names"
	for signal in INT TERM; do
		start warm "$LARDER" warm --names "$names" acme named
		exec 5> "$names"
		printf 'the beginning of a line' >&5
		until_true grep -q 'SigCgt:.*[4-7c-f]...$' "/proc/$started_pid/status"
		kill -"$signal" "$started_pid"
		ends "$started_pid" 130
		exec 5>&-
	done
}
