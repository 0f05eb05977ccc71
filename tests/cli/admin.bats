#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# clear, off and on, stat, check: none of them needs a secret.

load helper

fill() {
	larder set acme named one 1
	larder set acme secret two 2
	larder set other named three 3
}

# The store's file.
store() {
	find "$LARDER_DIR" -name '*.mdb' | sort | tail -1
}

# damage TEXT: overwrite a byte of this text where it stands in the store.
damage() {
	local at
	at=$(LC_ALL=C grep -obUa -m1 -- "$1" "$(store)" | head -1 | cut -d: -f1)
	[ -n "$at" ] || fail "not found in the store"
	printf '#' | dd of="$(store)" bs=1 seek="$((at + 3))" conv=notrunc status=none
}

@test "clear a space, a tenant, everything" {
	fill
	unset LARDER_SECRET_FILE
	exits 0 larder clear acme named
	equal "$output" ""
	equal "$(entries)" 2
	exits 0 larder clear acme
	equal "$(entries)" 1
	exits 0 larder clear --all --json
	equal "$(json .result <<< "$output")" LARDER_OK
	equal "$(entries)" 0
}

@test "clear what was stored under a tag" {
	larder set --tags user-1,plan-a acme named tagged value
	larder set --tags user-2 acme named other value
	larder set acme named plain value
	exits 0 larder clear --tags nobody acme
	exits 0 larder get acme named tagged
	exits 0 larder clear --tags plan-a,plan-b acme
	equal "$output" ""
	exits 1 larder get acme named tagged
	exits 0 larder get acme named other
	exits 0 larder get acme named plain
	larder set --tags user-1 acme named tagged again
	exits 0 larder get acme named tagged
	exits 2 larder clear --tags a --all
	exits 2 larder clear --tags a acme named
	exits 2 larder clear --tags 'a b' acme
}

@test "what is set after a clear is there" {
	fill
	larder clear --all
	exits 1 larder get acme named one
	larder set acme named one again
	exits 0 larder get acme named one
	equal "$output" again
}

@test "clear wants to know what" {
	fill
	exits 2 larder clear
	contains "$stderr" "--all"
	exits 2 larder clear --all acme
	exits 2 larder clear Acme
	exits 2 larder clear acme 'a b'
	equal "$(entries)" 3
}

@test "without a cache clear, off, on, stat, check give 3 and make nothing" {
	for verb in "clear --all" off on stat check dump; do
		# shellcheck disable=SC2086
		exits 3 larder $verb
		contains "$stderr" "larder: "
		equal "$output" ""
	done
	[ ! -e "$LARDER_DIR" ]
}

@test "off: gets miss, sets are not stored, but remove what is there; on: nothing old is served" {
	fill
	exits 0 larder off
	exits 1 larder get acme named one
	exits 3 larder set acme named one newer
	contains "$stderr" "off"
	exits 0 larder del acme secret two
	exits 1 larder get acme named one
	exits 0 larder stat --json --section cache
	equal "$(json .cache.on <<< "$output")" false
	exits 0 larder on --json
	equal "$(json .result <<< "$output")" LARDER_OK
	exits 1 larder get acme named one
	exits 1 larder get acme secret two
	exits 0 larder get other named three
	equal "$output" 3
	larder set acme named one again
	exits 0 larder get acme named one
}

@test "stat shows each section, and only those asked for" {
	fill
	exits 0 larder stat
	for heading in CACHE COUNTERS TENANTS PROCESSES READERS; do
		equal "$(grep -c "^$heading\$" <<< "$output")" 1
	done
	contains "$output" "$LARDER_DIR"
	exits 0 larder stat --section counters,tenants
	equal "$(head -1 <<< "$output")" COUNTERS
	equal "$(grep -c '^TENANTS$' <<< "$output")" 1
	equal "$(grep -c '^CACHE$' <<< "$output")" 0
	exits 2 larder stat --section everything
}

counter() {
	larder stat --json --section counters | perl -MJSON::PP -e '
		local $/; my $stat = decode_json(<STDIN>);
		for (@{ $stat->{counters} }) { print "$_->{value}\n" if $_->{name} eq $ARGV[0] }' "$1"
}

@test "stat counts: hits, misses, sets, deletes, by numbers" {
	larder set acme named one 1
	larder set acme named two 2
	larder set acme named two 22
	larder get acme named one
	larder get acme named one
	larder get acme named two
	larder get acme named nothing || true
	larder del acme named two
	equal "$(counter hits)" 3
	equal "$(counter misses)" 1
	equal "$(counter sets)" 3
	equal "$(counter deletes)" 1
	exits 0 larder stat --json
	equal "$(json .hit_ratio <<< "$output")" 0.75
	equal "$(json .cache.entries <<< "$output")" 1
	equal "$(json .cache.name <<< "$output")" larder
	equal "$(json .cache.directory <<< "$output")" "$LARDER_DIR"
	equal "$(json .cache.size_bytes <<< "$output")" 8388608
	equal "$(json .cache.on <<< "$output")" true
	equal "$(json .tenants.0.tenant <<< "$output")" acme
	equal "$(json .tenants.0.entries <<< "$output")" 1
	equal "$(json .tenants.0.hits <<< "$output")" 3
	[ "$(json .cache.used_bytes <<< "$output")" -gt 0 ]
	[ "$(json .cache.file_bytes <<< "$output")" -ge "$(json .cache.used_bytes <<< "$output")" ]
}

@test "stat lists itself among the processes, as an inspector" {
	fill
	exits 0 larder stat --json --section slots
	equal "$(json .slots <<< "$output")" 1
	equal "$(json .slots.0.role <<< "$output")" inspector
	equal "$(json .slots.0.state <<< "$output")" live
	[ "$(json .slots.0.pid <<< "$output")" -gt 0 ]
}

@test "stat --reset sets the counters to zero, and needs no secret" {
	larder set acme named one 1
	larder get acme named one
	equal "$(counter hits)" 1
	unset LARDER_SECRET_FILE
	exits 0 larder stat --reset --json --section counters
	equal "$(json .hit_ratio <<< "$output")" 1
	equal "$(counter hits)" 0
	equal "$(entries)" 1
}

@test "stat on a pipe has no colours and no tabs" {
	fill
	exits 0 larder stat
	lacks "$output" $'\033'
	lacks "$output" $'\t'
}

@test "check finds nothing in a sound cache" {
	fill
	head -c 100000 /dev/urandom | larder set acme named big
	unset LARDER_SECRET_FILE
	exits 0 larder check
	contains "$output" "0 findings, 0 mended"
	exits 0 larder check --json
	equal "$(json .found <<< "$output")" 0
	equal "$(json .findings <<< "$output")" 0
	equal "$(json .complete <<< "$output")" true
	exits 0 larder check --progress
	contains "$stderr" "check: "
}

@test "check finds a damaged value, exit code 4; --repair mends it; then all is well" {
	export LARDER_EVICTOR=off
	fill
	larder set acme named victim 'a-value-that-will-be-damaged'
	damage 'a-value-that-will-be-damaged'
	exits 4 larder check
	contains "$output" "acme"
	contains "$output" "0 mended"
	exits 4 larder check --json
	equal "$(json .findings.0.tenant <<< "$output")" acme
	equal "$(json .findings.0.mended <<< "$output")" false
	[[ $(json .findings.0.key <<< "$output") =~ ^[0-9a-f]{64}$ ]]
	exits 0 larder dump --json --state damaged
	equal "${#lines[@]}" 1
	equal "$(json .state <<< "$output")" damaged
	exits 4 larder check --repair
	contains "$output" "yes"
	exits 0 larder check
	exits 1 larder get acme named victim
	exits 0 larder get acme named one
}

@test "a damaged entry is never served" {
	export LARDER_EVICTOR=off
	larder set acme named victim 'a-value-that-will-be-damaged'
	damage 'a-value-that-will-be-damaged'
	exits 3 larder get acme named victim
	lacks "$output" "damaged"
	contains "$stderr" "larder: get: "
}
