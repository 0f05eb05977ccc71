#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# explain: what a get of a name would do, as a screen and as JSON, and that it leaves no trace.

load helper

@test "explain: a name that is there, and one that is not" {
	larder set --ttl 1h --stale 2h --flags 5 acme named key value
	exits 0 larder explain acme named key
	equal "$stderr" ""
	[[ $output =~ would\ +LARDER_OK:\  ]]
	[[ $output =~ because\ +the\ value\ is\ fresh ]]
	[[ $output =~ digest\ +$(larder dump --json | json .key) ]]
	[[ $output =~ policy\ +ttl\ 1h ]]
	[[ $output =~ flags\ +0x5 ]]
	[[ $output =~ size\ +5\ B, ]]
	lacks "$output" value$'\n'
	exits 0 larder explain --json acme named key
	equal "$(json .result <<< "$output")" LARDER_OK
	equal "$(json .asks_l2 <<< "$output")" false
	equal "$(json .entry.state <<< "$output")" fresh
	between "$(json .entry.fresh_ms <<< "$output")" 3500000 3600000
	between "$(json .entry.left_ms <<< "$output")" 10700000 10800000
	equal "$(json .policy.ttl_ms <<< "$output")" 3600000
	equal "$(json .policy.names <<< "$output")" true
	equal "$(json .l2.there <<< "$output")" false
	equal "$(json .key <<< "$output")" "$(larder dump --json | json .key)"
	exits 1 larder explain --json acme named none
	equal "$(json .entry.state <<< "$output")" none
	equal "$(json .result <<< "$output")" LARDER_MISS
	exits 1 larder explain acme named none
	contains "$output" "there is no entry"
	larder set --absent acme named nobody
	exits 1 larder explain acme named nobody
	contains "$output" "remembered as not found"
	larder set --hex acme named 00ff x
	exits 0 larder explain --hex acme named 00ff
}

@test "explain: a clear, and the switch" {
	larder set acme named key value
	larder clear acme named
	exits 1 larder explain acme named key
	contains "$output" "the space was cleared"
	contains "$output" "hides the entry"
	larder set acme named key value
	larder off
	exits 1 larder explain --json acme named key
	equal "$(json .on <<< "$output")" false
	contains "$(json .why <<< "$output")" "switched off"
	larder on
	exits 0 larder explain acme named key
}

@test "explain: the way to L2" {
	export LARDER_THREADS=0
	larder set acme named other value
	LARDER_L2_URL=http://127.0.0.1:9 exits 1 larder explain --json acme named key
	equal "$(json .asks_l2 <<< "$output")" true
	equal "$(json .l2.breaker <<< "$output")" closed
	LARDER_L2_URL=http://127.0.0.1:9 exits 1 larder explain acme named key
	contains "$output" "ask L2; if that has nothing: LARDER_MISS"
	# It was asked for nothing: no breaker is known.
	equal "$(larder breaker --json | json .breakers)" 0
	LARDER_L2_URL=http://127.0.0.1:9 larder del acme named key || true
	LARDER_L2_URL=http://127.0.0.1:9 exits 1 larder explain acme named key
	contains "$output" "waits to be told to L2"
	[[ $output =~ waits\ to\ be\ told\ +a\ delete,\ for\  ]]
	LARDER_L2_URL=http://127.0.0.1:9 exits 3 larder get acme named third
	larder breaker --open
	LARDER_L2_URL=http://127.0.0.1:9 exits 3 larder explain acme named third
	contains "$output" "the breaker is open"
	contains "$output" "until it is closed by hand"
}

@test "explain: tags, and the lease" {
	# No thread that sweeps, here: it may remove the entry before we have seen what hides it.
	export LARDER_THREADS=0
	larder set --tags user:1,user:2 acme named key value
	exits 0 larder explain --json acme named key
	equal "$(json .tags.count <<< "$output")" 2
	equal "$(json .tags.hides <<< "$output")" false
	equal "$(json .tags.tag <<< "$output")" ""
	equal "$(json .lease.held <<< "$output")" false
	equal "$(json .lease.failed_ago_ms <<< "$output")" -1
	equal "$(json .loader.loads <<< "$output")" false
	equal "$(json .loader.if_it_fails <<< "$output")" LARDER_OK
	larder clear --tags user:2 acme
	exits 1 larder explain --json acme named key
	equal "$(json .tags.hides <<< "$output")" true
	[[ $(json .tags.tag <<< "$output") =~ ^[0-9a-f]{16}$ ]]
	equal "$(json .cleared.space <<< "$output")" 0
	equal "$(json .loader.loads <<< "$output")" true
	equal "$(json .loader.if_it_fails <<< "$output")" LARDER_E_LOAD
	exits 1 larder explain acme named key
	contains "$output" "a tag of the entry"
	[[ $output =~ invalidated\ at\ +[0-9]+,\ hides\ the\ entry ]]
	[[ $output =~ held\ by\ +nobody ]]
	[[ $output =~ with\ a\ loader\ +the\ caller\ loads\ it ]]
	lacks "$output" user:2
}

@test "explain: the error window, and a breaker of the tenant's own" {
	cat > "$LARDER_SPACES_FILE" <<-'END'
	{ "spaces": { "named": { "ttl": "1ms", "stale": 0, "stale_if_error": "1h" } }, "tenants": { "acme": { "breaker": { "failures": 1 } } } }
	END
	larder set acme named key value
	until_true eval '[ "$(larder explain --json acme named key | json .entry.state)" = error ]'
	exits 1 larder explain --json acme named key
	equal "$(json .result <<< "$output")" LARDER_MISS
	equal "$(json .policy.error_ms <<< "$output")" 3600000
	between "$(json .entry.error_left_ms <<< "$output")" 3500000 3600000
	equal "$(json .loader.if_it_fails <<< "$output")" LARDER_STALE
	LARDER_THREADS=0 LARDER_L2_URL=http://127.0.0.1:9 exits 1 larder explain --json acme named key
	equal "$(json .asks_l2 <<< "$output")" true
	equal "$(json .if_l2_fails <<< "$output")" LARDER_STALE
	equal "$(json .l2.breaker_own <<< "$output")" true
	LARDER_THREADS=0 LARDER_L2_URL=http://127.0.0.1:9 exits 1 larder explain acme named key
	contains "$output" "ask L2; if that has nothing: LARDER_MISS, if it fails: LARDER_STALE"
	contains "$output" "breaker, the tenant's"
	[[ $output =~ if\ L2\ or\ a\ loader\ fails\ +.*\ more ]]
}

@test "explain: no trace, and what it cannot do" {
	larder set acme named key value
	before=$(larder stat --json --section counters)
	larder explain acme named key > "$BATS_TEST_TMPDIR/out"
	equal "$(larder stat --json --section counters)" "$before"
	exits 2 larder explain acme named
	exits 2 larder explain ACME named key
	exits 2 larder explain acme NAMED key
	exits 2 larder explain --hex acme named xyz
	LARDER_DIR="$BATS_TEST_TMPDIR/nowhere" exits 3 larder explain acme named key
	[ ! -e "$BATS_TEST_TMPDIR/nowhere" ]
	unset LARDER_SECRET_FILE
	exits 2 larder explain acme named key
	contains "$stderr" secret
}
