# SPDX-License-Identifier: MIT
# TAP for tests in POSIX sh. Source it, call ok, not_ok or skip once a case, and finish last: it prints the plan.

tap_count=0

# ok TEXT
ok() {
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s\n' "$tap_count" "$1"
}

# not_ok TEXT [DETAIL]: the detail, of any number of lines, says what was found.
not_ok() {
	tap_count=$((tap_count + 1))
	printf 'not ok %d - %s\n' "$tap_count" "$1"
	[ -z "${2-}" ] || printf '%s\n' "$2" | sed 's/^/# /'
}

# skip TEXT REASON
skip() {
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s # SKIP %s\n' "$tap_count" "$1" "$2"
}

# nothing TEXT FOUND: ok if nothing was found.
nothing() {
	if [ -z "$2" ]; then
		ok "$1"
	else
		not_ok "$1" "$2"
	fi
}

finish() {
	printf '1..%d\n' "$tap_count"
}
