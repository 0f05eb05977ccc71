#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# agent: it waits for a cache, takes the background work, stands by, and ends in good order.

load helper

evictor() {
	larder stat --json --section cache | json .cache.evictor_pid
}

evictor_is() {
	[ "$(evictor)" = "$1" ]
}

has_text() {
	grep -q -- "$2" "$1"
}

@test "it waits for a cache that is not there, takes the work, and ends with 0 on SIGTERM" {
	export LARDER_THREADS=0
	start agent "$LARDER" agent
	agent=$started_pid
	until_true has_text "$BATS_TEST_TMPDIR/agent.err" "waiting for the cache"
	larder set acme named key value
	# The tool may be a script that runs the program: then the pid is the program's, which exec kept.
	until_true evictor_is "$agent"
	exits 0 larder stat --json --section slots
	contains "$output" '"role":"agent"'
	kill -TERM "$agent"
	ends "$agent" 0
	equal "$(evictor)" 0
}

@test "it removes what is expired" {
	export LARDER_THREADS=0 LARDER_SWEEP_MS=200ms
	larder set --ttl 1ms acme named gone value
	larder set --ttl 1h acme named stays value
	start agent "$LARDER" agent
	until_true sh -c '[ "$("$0" dump --json --state any | wc -l)" = 1 ]' "$LARDER"
	kill -INT "$started_pid"
	ends "$started_pid" 0
	exits 0 larder get acme named stays
}

@test "a second one stands by, and takes over when the first is killed" {
	export LARDER_THREADS=0
	larder set acme named key value
	start first "$LARDER" agent
	first=$started_pid
	until_true evictor_is "$first"
	exits 1 larder agent --once
	start second "$LARDER" agent
	second=$started_pid
	kill -KILL "$first"
	until_true evictor_is "$second"
	kill -TERM "$second"
	ends "$second" 0
}

@test "it follows a cache that was removed and made anew" {
	export LARDER_THREADS=0
	larder set acme named key value
	start agent "$LARDER" agent
	agent=$started_pid
	until_true evictor_is "$agent"
	rm -r "$LARDER_DIR"
	larder set acme named key value
	until_true evictor_is "$agent"
	kill -TERM "$agent"
	ends "$agent" 0
}

@test "--once: 0 after a round, 3 without a cache" {
	export LARDER_THREADS=0
	exits 3 larder agent --once
	larder set acme named key value
	exits 0 larder agent --once --json
	equal "$(json .rounds <<< "$output")" 1
}

@test "wrong settings end it at once, exit code 2" {
	LARDER_SIZE=1 exits 2 larder agent
	contains "$stderr" "LARDER_SIZE"
}

# Its messages would go into the first file that it opened.
@test "without standard descriptors it says nothing, and does no harm" {
	export LARDER_THREADS=0
	"$LARDER" agent <&- >&- 2>&- 3>&- &
	agent=$!
	background_pids="${background_pids:-} $agent"
	until_true larder set acme named key value
	until_true evictor_is "$agent"
	for fd in 0 1 2; do
		equal "$(readlink "/proc/$agent/fd/$fd")" /dev/null
	done
	rm -r "$LARDER_DIR"
	larder set acme named key value
	until_true evictor_is "$agent"
	exits 0 larder get acme named key
	exits 0 larder check
	kill -TERM "$agent"
	ends "$agent" 0
}
