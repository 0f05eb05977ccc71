#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# larder replay: what it reads, what it counts, that it finds wrong values, and how it ends when it or its workers are stopped.

load helper

L2D=${L2D:-${top_builddir:?run by make, or set L2D}/larder-l2d}

setup() {
	common_setup
	# Enough time for a writer that a busy machine keeps waiting: these tests count every set.
	export LARDER_SIZE=64M LARDER_WRITE_WAIT_MS=10s
	cd "$BATS_TEST_TMPDIR" || return 1
}

# replay CODE [OPTION...]: run it for JSON, which is in $output then.
replay() {
	local code=$1
	shift
	exits "$code" larder replay --json --quiet "$@"
}

# figure PATH NUMBER: it is this number in $output.
figure() {
	local found
	found=$(json "$1" <<< "$output")
	[ "$found" = "$2" ] || fail "$1 is $found, expected $2" "$output"
}

# figure_in PATH LOW HIGH: it is a number in these bounds.
figure_in() {
	local found
	found=$(json "$1" <<< "$output")
	[ "$found" -ge "$2" ] && [ "$found" -le "$3" ] || fail "$1 is $found, expected $2..$3" "$output"
}

@test "replay --load: each missing value is loaded once on the host" {
	replay 0 --workers 4 --generate zipf:1.0,keys=500,requests=20000,seed=3,scan=0 --load --fetch 1ms
	figure together.wrong_values 0
	figure together.gets 20000
	figure together.errors 0
	figure together.sets 0
	# As many as there are different names in the trace: at most 500.
	figure_in together.loads 300 500
	figure together.hits $((20000 - $(json together.loads <<< "$output")))
}

@test "a generated trace is replayed to its end by four workers" {
	replay 0 --generate zipf:1.0,keys=2000,requests=40000
	figure together.gets 40000
	figure together.wrong_values 0
	figure together.errors 0
	figure_in together.hits 20001 999999999
	figure_in cache.entries 1001 999999999
	figure workers 4
}

@test "one worker keeps the order: every repeated key is a hit, and the same again" {
	printf '%s\n' a b a c a b > trace
	for dir in one two; do
		replay 0 --workers 1 --trace trace --dir "$PWD/$dir"
		figure together.gets 6
		figure together.hits 3
		figure together.sets 3
		figure cache.entries 3
	done
	replay 0 --workers 1 --trace trace --dir "$PWD/two"
	figure together.hits 6
}

@test "plain, gzip and standard input are the same trace" {
	seq 1 1000 > trace
	seq 1 500 >> trace
	gzip -k trace
	replay 0 --workers 1 --trace trace --dir "$PWD/plain"
	figure together.hits 500
	figure trace.keys 1000
	replay 0 --workers 1 --trace trace.gz --dir "$PWD/gzip"
	figure together.hits 500
	replay 0 --workers 1 --trace - --dir "$PWD/stdin" < trace.gz
	figure together.hits 500
}

@test "of an access log the GET requests count" {
	for request in 'GET /a' 'POST /a' 'GET /b?c' 'GET /a'; do
		echo "192.0.2.7 - - [10/Oct/2020:13:55:36 +0000] \"$request HTTP/1.1\" 200 2326 \"-\" \"curl/8\""
	done > access.log
	replay 0 --workers 1 --trace access.log
	figure together.gets 3
	figure together.hits 1
	figure trace.skipped_lines 1
	figure trace.format access-log
}

@test "each key belongs to one worker with --deal hash" {
	seq 1 2000 > trace
	seq 1 2000 >> trace
	replay 0 --deal hash --trace trace
	figure together.gets 4000
	figure together.hits 2000
}

@test "without set-on-miss nothing is stored" {
	replay 0 --no-set-on-miss --generate zipf:1,keys=100,requests=5000
	figure together.gets 5000
	figure together.hits 0
	figure together.sets 0
	figure cache.entries 0
}

@test "values of several lengths come back right, also where an earlier run used others" {
	replay 0 --value-size uniform:1-20000 --generate zipf:1,keys=200,requests=4000
	replay 0 --value-size lognormal:1000,1 --generate zipf:1,keys=400,requests=4000
	figure together.wrong_values 0
	figure_in together.hits 2001 999999999
}

@test "a wrong value is found, counted and exit status 4" {
	printf '%s\n' a b c > trace
	larder set replay trace b 'not the value that belongs to b'
	replay 4 --workers 1 --trace trace
	figure together.wrong_values 1
	contains "$stderr" 'wrong value of 31 bytes'
}

@test "entries are bounded by --entries and evictions are counted" {
	replay 0 --entries 500 --generate zipf:0.5,keys=5000,requests=20000,scan=0
	figure_in cache.evictions 1001 999999999
	figure_in cache.entries 0 500
}

@test "the tables have a line for each worker and one for all" {
	exits 0 larder replay --quiet --workers 3 --generate zipf:1,keys=100,requests=3000
	[ "$(echo "$output" | grep -c '^[012]  ')" -eq 6 ]
	[ "$(echo "$output" | grep -c '^all ')" -eq 2 ]
	contains "$output" '3,000 requests'
	contains "$output" ' evictions'
}

@test "progress goes to stderr, and --quiet silences it" {
	exits 0 larder replay --json --generate zipf:1,keys=100,requests=3000
	contains "$stderr" '3,000 of 3,000 gets'
	replay 0 --generate zipf:1,keys=100,requests=3000
	equal "$stderr" ""
}

@test "killed workers are replaced, and no value is wrong" {
	skip_where_fork_may_hang
	replay 0 --kill-every 10ms --generate zipf:1,keys=20000,requests=500K
	figure_in killed 3 999999999
	figure died 0
	figure together.wrong_values 0
	figure_in together.gets 490000 510000
}

# start_long: a replay that lasts longer than any of these tests, with four workers. Its pid is in $started_pid.
start_long() {
	start replay "$LARDER" replay --quiet --value-size 16K --generate zipf:1,keys=1000,requests=5M,scan=0
	until_true four_workers
}

workers() {
	cat "/proc/$started_pid/task/$started_pid/children"
}

four_workers() {
	[ "$(workers | wc -w)" -eq 4 ]
}

# A process that nobody has waited for yet is gone too.
gone() {
	! grep -q '^State:.[^ZX]' "/proc/$1/status" 2> /dev/null
}

@test "an interrupt stops the workers, and what was done is told" {
	start_long
	pids=$(workers)
	kill -INT "$started_pid"
	ends "$started_pid" 130
	grep -q '^stopped    after .* of 5,000,000 requests' replay.out
	grep -q '^all ' replay.out
	for pid in $pids; do
		gone "$pid"
	done
}

@test "a worker that is lost is reported, the others go on" {
	start_long
	kill -KILL "$(workers | cut -d ' ' -f 1)"
	until_true grep -q 'was ended by signal 9' replay.err
	equal "$(workers | wc -w)" 3
	kill -INT "$started_pid"
	ends "$started_pid" 130
	grep -q '^lost       1 worker' replay.out
}

@test "when workers were lost the exit code is 3" {
	start_long
	# shellcheck disable=SC2046
	kill -KILL $(workers)
	ends "$started_pid" 3
	grep -q '^lost       4 workers' replay.out
}

@test "workers die with their master" {
	start_long
	pids=$(workers)
	kill -KILL "$started_pid"
	ends "$started_pid" 137
	for pid in $pids; do
		until_true gone "$pid"
	done
}

@test "a wrong command line, trace or setting is exit status 2 and says why" {
	while IFS='|' read -r arguments reason; do
		# shellcheck disable=SC2086
		exits 2 larder replay $arguments
		contains "$stderr" "$reason"
	done <<-'CASES'
		--workers 0|--workers: 1..4096
		--workers 4097|--workers: 1..4096
		--trace a --generate zipf:1|exclude each other
		--value-size big|--value-size
		--generate uniform:1|does not begin with
		--generate zipf:1,keys=0|a whole number 1..
		--generate zipf:1,scan=200|a number 0..100
		--trace /nonexistent|No such file
		--trace /|Is a directory
		--trace /dev/null|there is no key
		--size 1 --generate zipf:1,requests=1|SIZE
		--l2-outage 1s:1s|need --l2d
		--l2-size 64M|need --l2d
		--l2d l2d --l2-outage 40|AT:FOR
		--l2d l2d --l2-outage 0%:1s|AT:FOR
		--tenant NO --generate zipf:1,requests=1|tenant
		--space NO --generate zipf:1,requests=1|space
		extra|too many arguments
	CASES
}

@test "without a secret it does not start" {
	unset LARDER_SECRET_FILE
	replay 2 --generate zipf:1,requests=1
	contains "$stderr" SECRET
	equal "$output" ""
}

# with_l2 CODE [OPTION...]: as replay, with an L2 of its own, and a breaker that soon tries again.
with_l2() {
	[ -x "$L2D" ] || skip 'larder-l2d was not built'
	export LARDER_BREAKER_OPEN_MS=50ms LARDER_BREAKER_OPEN_MAX_MS=200ms
	replay "$@" --l2d "$L2D" --l2-size 64M
}

# Processes of the L2 that a replay of this test has started.
services() {
	pgrep -f -- "--dir $LARDER_DIR/l2"
}

no_service() {
	[ -z "$(services)" ]
}

# seconds PATH: it is a time in $output, 0 or longer.
seconds() {
	local found
	found=$(json "$1" <<< "$output")
	[[ $found =~ ^[0-9]+(\.[0-9]+)?(e-[0-9]+)?$ ]] || fail "$1 is $found, no time" "$output"
}

@test "values come from L2 to a host that has none, and every one is right" {
	with_l2 0 --workers 1 --generate zipf:1,keys=1000,requests=20000
	figure l2.calls.l2_hit.count 0
	figure l2.outbox.empty true
	figure l2.outbox.pending 0
	figure l2.breaker.transition_count 0
	figure l2.outage.open_s '(none)'
	stored=$(json l2.requests.writes <<< "$output")
	between "$stored" 500 2000
	no_service
	with_l2 0 --workers 1 --name another --generate zipf:1,keys=1000,requests=20000
	figure l2.calls.l2_hit.count "$stored"
	figure l2.calls.miss.count 0
	figure together.wrong_values 0
	figure together.hits 20000
	figure workers.0.wrong_values 0
}

@test "L2 is taken away and comes back: the breaker opens and closes, no value is wrong, all is told" {
	with_l2 0 --l2-outage 40%:20% --generate zipf:1,keys=20000,requests=40000
	figure together.gets 40000
	figure together.wrong_values 0
	figure together.errors 0
	seconds l2.outage.open_s
	seconds l2.outage.recover_s
	figure_in l2.calls.l2_outage.count 1 1000
	figure_in l2.calls.refused.count 1 16000
	figure l2.breaker.state closed
	figure l2.breaker.transitions.0.state open
	figure_in l2.breaker.transition_count 3 1000
	figure l2.outbox.empty true
	figure l2.outbox.pending 0
	no_service
}

@test "an outage to the end of the trace is over after it" {
	with_l2 0 --l2-outage 50%:1h --generate zipf:1,keys=20000,requests=20000
	seconds l2.outage.recover_s
	figure l2.breaker.state closed
	figure l2.outbox.empty true
	no_service
}

@test "an L2 that nobody serves is an outage, never a miss" {
	export LARDER_L2_URL=http://127.0.0.1:1
	replay 0 --l2-wait 0 --generate zipf:1,keys=1000,requests=20000
	figure l2.calls.miss.count 0
	figure l2.calls.l2_hit.count 0
	figure_in l2.calls.l2_outage.count 1 1000
	figure_in l2.calls.refused.count 500 2000
	figure l2.outbox.empty false
	figure l2.breaker.transitions.0.transition opened-failures
	replay 3 --no-set-on-miss --l2-wait 0 --name empty --generate zipf:1,keys=1000,requests=20000
	figure together.hits 0
}

@test "the tables tell the tiers apart, in 80 columns" {
	[ -x "$L2D" ] || skip 'larder-l2d was not built'
	exits 0 larder replay --quiet --l2d "$L2D" --l2-size 64M --generate zipf:1,keys=100,requests=3000
	contains "$output" 'L2         http://127.0.0.1:'
	contains "$output" 'breaker    closed at the end, 0 transitions, 0 gets refused'
	contains "$output" ': 0 pending'
	for call in 'L1 hit' 'L2 hit' 'stale hit' 'miss' 'L2 outage' 'breaker open' 'unserved' 'set'; do
		[ "$(echo "$output" | grep -c "^$call  ")" -eq 1 ] || fail "no line for $call" "$output"
	done
	equal "$(echo "$output" | grep -E '.{81}')" ''
}

@test "an L2 that does not start is exit status 3, and says why" {
	replay 3 --l2d /nonexistent --generate zipf:1,requests=1
	contains "$stderr" 'did not start'
	contains "$stderr" 'No such file'
	replay 3 --l2d false --generate zipf:1,requests=1
}

# start_with_l2: a replay that lasts longer than any of these tests, with an L2 of its own.
start_with_l2() {
	[ -x "$L2D" ] || skip 'larder-l2d was not built'
	start replay "$LARDER" replay --quiet --l2d "$L2D" --l2-size 64M --fetch 1ms --generate zipf:0,keys=4M,requests=5M,scan=0
	until_true services
	until_true has_value
}

has_value() {
	[ "$(larder dump --json | wc -l)" -gt 0 ]
}

@test "an interrupt stops L2 too" {
	start_with_l2
	kill -INT "$started_pid"
	ends "$started_pid" 130
	no_service
}

@test "L2 ends with a replay that is killed" {
	start_with_l2
	kill -KILL "$started_pid"
	ends "$started_pid" 137
	until_true no_service
}
