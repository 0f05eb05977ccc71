#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The second level as the tool sees it: breaker, outbox, health, stat and agent; against larder-l2d, and against addresses where nobody answers.

load helper

L2D=${L2D:-${top_builddir:?run by make, or set L2D}/larder-l2d}

setup() {
	common_setup
	# A port of the discard service, which nobody runs: connections are refused.
	nobody=http://127.0.0.1:9
}

# serve [PORT]: start larder-l2d; the cache has it as its second level from here on. Its pid is in served, its port in port.
serve() {
	[ -x "$L2D" ] || skip 'larder-l2d was not built'
	rm -f "$BATS_TEST_TMPDIR/port"
	start l2d env -u LARDER_DIR -u LARDER_SECRET_FILE -u LARDER_SPACES_FILE -u LARDER_SIZE -u LARDER_WORKERS -u LARDER_TENANTS "$L2D" \
		--dir "$BATS_TEST_TMPDIR/l2d" --size 64M --listen "127.0.0.1:${1:-0}" --port-file "$BATS_TEST_TMPDIR/port"
	served=$started_pid
	until_true test -s "$BATS_TEST_TMPDIR/port"
	port=$(cat "$BATS_TEST_TMPDIR/port")
	export LARDER_L2_URL=http://127.0.0.1:$port
}

# Work done by an agent, so that somebody does it.
with_agent() {
	start agent "$LARDER" agent
	until_true sh -c '[ "$("$0" stat --json --section cache | sed "s/.*evictor_pid\":\([0-9]*\).*/\1/")" != 0 ]' "$LARDER"
}

pending() {
	larder outbox --json | json .pending
}

pending_is() {
	[ "$(pending)" = "$1" ]
}

# ---- breaker ----

@test "breaker: a table of those that were used, and none before" {
	larder set acme named key value
	exits 0 larder breaker
	equal "$(grep -c http <<< "$output")" 0
	LARDER_L2_URL=$nobody exits 3 larder get acme named other
	exits 0 larder breaker
	contains "$output" "BREAKERS"
	contains "$output" "TRANSITIONS"
	[[ $(grep "$nobody" <<< "$output" | head -1) =~ ^http://127.0.0.1:9\ +closed\ +yes ]]
	exits 0 larder breaker --json
	equal "$(json .breakers <<< "$output")" 1
	equal "$(json .breakers.0.name <<< "$output")" "$nobody"
	equal "$(json .breakers.0.state <<< "$output")" closed
	[ "$(json .breakers.0.failures <<< "$output")" -ge 1 ]
	equal "$(json .breakers.0.opened_ms <<< "$output")" -1
}

@test "breaker: --open, --close and --reset, for one or for all, without a secret" {
	LARDER_L2_URL=$nobody exits 3 larder get acme named key
	unset LARDER_SECRET_FILE
	exits 0 larder breaker --open
	contains "$stderr" "transition=forced-open"
	equal "$output" ""
	equal "$(larder breaker --json | json .breakers.0.state)" forced-open
	equal "$(larder breaker --json | json .breakers.0.retry_after_ms)" -1
	contains "$(larder breaker)" "after --close"
	exits 1 larder breaker --close http://elsewhere
	equal "$(larder breaker --json | json .breakers.0.state)" forced-open
	exits 0 larder breaker --close --json "$nobody"
	equal "$(json .result <<< "$output")" LARDER_OK
	equal "$(larder breaker --json | json .breakers.0.transitions.closed-by-hand)" 1
	exits 0 larder breaker --reset
	equal "$(larder breaker --json | json .breakers.0.transitions.closed-by-hand)" 0
	exits 0 larder breaker "$nobody"
	exits 1 larder breaker http://elsewhere
	exits 1 larder breaker --json http://elsewhere
	equal "$(json .breakers <<< "$output")" 0
	exits 2 larder breaker --open --close
	contains "$stderr" "contradict"
}

@test "breaker: while it is held open a get says so, and nothing is asked" {
	serve
	larder get acme named key || true
	larder breaker --open
	exits 3 larder get acme named key
	contains "$stderr" "breaker is open"
	larder breaker --close
	exits 1 larder get acme named key
}

# ---- outbox ----

@test "outbox: what waits, row by row, and what becomes of it" {
	export LARDER_THREADS=0
	LARDER_L2_URL=$nobody larder set acme named one 12345
	LARDER_L2_URL=$nobody larder set other named two 1
	LARDER_L2_URL=$nobody larder set other named two 22
	LARDER_L2_URL=$nobody larder del acme named one
	exits 0 larder outbox --json
	equal "$(json .enqueued <<< "$output")" 4
	equal "$(json .pending <<< "$output")" 2
	equal "$(json .coalesced <<< "$output")" 2
	equal "$(json .teller <<< "$output")" none
	[ "$(json .oldest_ms <<< "$output")" -gt 0 ]
	exits 0 larder outbox
	[[ $output =~ pending\ +2\ of\ 4,096 ]]
	[[ $output =~ told\ by\ +nobody ]]
	exits 0 larder outbox --list
	equal "${#lines[@]}" 3
	[[ ${lines[0]} =~ ^TENANT\ +WRITE\ +KEY\ +AGE\ +SIZE\ +LEFT$ ]]
	[[ ${lines[1]} =~ ^acme\ +delete\ +[0-9a-f]{64}\ +[0-9a-z.]+\ +-\ +-$ ]]
	[[ ${lines[2]} =~ ^other\ +set\ +[0-9a-f]{64}\ .*\ 2\ B\ +[0-9]+m ]]
	lacks "$output" two
	exits 0 larder outbox --list --tenant other --json
	equal "${#lines[@]}" 1
	equal "$(json .op <<< "$output")" set
	equal "$(json .size <<< "$output")" 2
	equal "$(json .key <<< "$output")" "$(larder dump --json --tenant other | json .key)"
	equal "$(json .value <<< "$output")" "(none)"
	serve
	exits 0 larder outbox --flush 20s
	equal "$output" ""
	equal "$(pending)" 0
	equal "$(larder outbox --json | json .acknowledged)" 2
	exits 0 larder outbox --flush 0 --json
	equal "$(json .result <<< "$output")" LARDER_OK
}

@test "outbox: --flush says what it cannot do" {
	export LARDER_THREADS=0
	LARDER_L2_URL=$nobody larder set acme named one 1
	exits 2 larder outbox --flush 1s
	contains "$stderr" "LARDER_L2_URL"
	LARDER_L2_URL=$nobody exits 3 larder outbox --flush 10ms
	contains "$stderr" "not done within its time"
	equal "$(pending)" 1
	exits 2 larder outbox --flush soon
	exits 2 larder outbox --list --flush 1s
	exits 2 larder outbox --tenant acme
	exits 2 larder outbox --list --tenant Acme
	unset LARDER_SECRET_FILE
	LARDER_L2_URL=$nobody exits 2 larder outbox --flush 1s
	contains "$stderr" "secret"
	exits 0 larder outbox
}

@test "outbox: --flush says that the breaker is open, and for how long" {
	export LARDER_THREADS=0 LARDER_BREAKER_OPEN_MS=1m LARDER_BREAKER_OPEN_MAX_MS=1m
	serve
	exits 1 larder get acme named one
	larder set acme named one 1
	larder breaker --open
	exits 3 larder outbox --flush 20ms
	contains "$stderr" "the circuit breaker is open, and tells L2 nothing for 1m; see larder breaker"
	exits 3 larder outbox --flush 20ms --json
	equal "$(json .result <<< "$output")" LARDER_E_BUSY
	contains "$(json .reason <<< "$output")" "the circuit breaker is open"
	equal "$(json .retry_after_ms <<< "$output")" 60000
	equal "$(pending)" 1
	larder breaker --reset
	exits 0 larder outbox --flush 20s
	equal "$(pending)" 0
}

@test "outbox: a list into a closed pipe ends quietly" {
	export LARDER_THREADS=0
	for i in 1 2 3; do
		LARDER_L2_URL=$nobody larder set acme named "$i" 1
	done
	first=$(larder outbox --list --json | head -1)
	equal "$(json .tenant <<< "$first")" acme
}

# ---- health ----

@test "health: degraded, and why, where nobody does the background work; exit code 1" {
	larder set acme named key value
	exits 1 larder health
	[[ $output =~ health\ +degraded ]]
	contains "$output" "nobody does the background work"
	[[ $output =~ L1\ +write\ +LARDER_OK\ +[0-9]+\ us ]]
	lacks "$output" L2
	exits 1 larder health --json
	equal "$(json .health <<< "$output")" degraded
	equal "$(json .l2 <<< "$output")" "(none)"
	equal "$(json .breaker <<< "$output")" none
	equal "$(entries)" 1
}

@test "health: ok in both tiers, in both codecs; exit code 0" {
	export LARDER_THREADS=0
	serve
	larder set acme named key value
	with_agent
	for codec in json raw; do
		LARDER_L2_CODEC=$codec exits 0 larder health --json
		equal "$(json .health <<< "$output")" ok
		equal "$(json .reason <<< "$output")" ""
		for tier in l1 l2; do
			for step in write read remove; do
				equal "$(json .$tier.$step.result <<< "$output")" LARDER_OK
				[ "$(json .$tier.$step.took_us <<< "$output")" -gt 0 ]
			done
			equal "$(json .$tier.reads <<< "$output")" true
			equal "$(json .$tier.writes <<< "$output")" true
		done
		equal "$(json .breaker <<< "$output")" closed
		equal "$(json .outbox_pending <<< "$output")" 0
	done
	exits 0 larder health
	[[ $output =~ health\ +ok ]]
	equal "$(grep -c '^L2 .*LARDER_OK' <<< "$output")" 3
}

@test "health: degraded while L2 is away, ok when it is back" {
	export LARDER_THREADS=0 LARDER_L2_RETRIES=0
	serve
	larder set acme named key value
	with_agent
	exits 0 larder health
	kill -TERM "$served"
	ends "$served" 0
	exits 1 larder health --json
	contains "$(json .reason <<< "$output")" "L2 can be neither written nor read"
	equal "$(json .l2.write.result <<< "$output")" LARDER_E_L2
	equal "$(json .l2.read.took_us <<< "$output")" -1
	equal "$(json .l1.reads <<< "$output")" true
	serve "$port"
	exits 0 larder health
}

@test "health: degraded and not down while the cache is off" {
	larder set acme named key value
	larder off
	exits 1 larder health --json
	equal "$(json .on <<< "$output")" false
	contains "$(json .reason <<< "$output")" "switched off"
}

@test "health: exit code 2 without a cache, of which it makes none, and without a secret" {
	exits 2 larder health
	contains "$stderr" "there is no cache"
	[ ! -e "$LARDER_DIR" ]
	larder set acme named key value
	unset LARDER_SECRET_FILE
	exits 2 larder health
	contains "$stderr" "secret"
}

# ---- stat and agent ----

@test "stat shows the second level once there was one, or when it is asked for" {
	larder set acme named key value
	exits 0 larder stat
	lacks "$output" "SECOND LEVEL"
	exits 0 larder stat --json
	equal "$(json .l2 <<< "$output")" "(none)"
	exits 0 larder stat --section l2
	contains "$output" "nothing pending"
	serve
	LARDER_THREADS=0 larder set acme named waits 1
	larder get acme named key
	larder get acme named nothing || true
	exits 0 larder stat
	contains "$output" "SECOND LEVEL"
	[[ $output =~ hits\ here\ +1\ of\ 2\ gets\ +50.0\ % ]]
	[[ $output =~ hits\ in\ L2\ +0\ of\ 1\ answers ]]
	[[ $output =~ breaker\ +closed\ +http://127.0.0.1 ]]
	[[ $output =~ outbox\ +[1n] ]]
	exits 0 larder stat --json --section l2
	equal "$(json .l2.l1_hits <<< "$output")" 1
	equal "$(json .l2.l1_asked <<< "$output")" 2
	equal "$(json .l2.l2_misses <<< "$output")" 1
	equal "$(json .l2.breakers.0.state <<< "$output")" closed
}

@test "agent tells L2 what waits, without a secret" {
	export LARDER_THREADS=0
	LARDER_L2_URL=$nobody larder set acme named key value
	serve
	unset LARDER_SECRET_FILE
	start agent "$LARDER" agent
	agent=$started_pid
	until_true pending_is 0
	exits 0 larder outbox --json
	equal "$(json .acknowledged <<< "$output")" 1
	kill -TERM "$agent"
	ends "$agent" 0
}

@test "agent: wrong settings of L2 end it, exit code 2" {
	larder set acme named key value
	LARDER_L2_URL=https://127.0.0.1:9 LARDER_L2_CA_FILE=/nowhere exits 2 larder agent
	contains "$stderr" "L2_CA_FILE"
	LARDER_L2_URL=https://127.0.0.1:9 LARDER_L2_CA_FILE=/nowhere exits 0 larder stat
}

# ---- on a terminal ----

@test "on a terminal states have colours, unless NO_COLOR" {
	command -v script > /dev/null || skip 'there is no script(1)'
	export LARDER_THREADS=0
	LARDER_L2_URL=$nobody larder set acme named key value
	LARDER_L2_URL=$nobody larder get acme named other || true
	contains "$(on_terminal "$LARDER" breaker)" $'\033[32mclosed\033[0m'
	contains "$(on_terminal "$LARDER" outbox --list)" $'\033[32mset\033[0m'
	contains "$(on_terminal "$LARDER" health)" $'\033[33mdegraded\033[0m'
	larder breaker --open
	contains "$(on_terminal "$LARDER" breaker)" $'\033[31mforced-open\033[0m'
	for verb in breaker outbox health; do
		lacks "$(NO_COLOR=1 on_terminal "$LARDER" $verb)" $'\033'
		lacks "$(larder $verb)" $'\t'
	done
	contains "$(on_terminal "$LARDER" outbox --json)" $'{\r\n  "enqueued": 1'
}
