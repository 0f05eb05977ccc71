# SPDX-License-Identifier: MIT
# For all tests of the command line: a cache of its own for each test, in a private directory, with a secret, and nothing of the
# caller's settings. LARDER is the tool under test; make's environment says where it was built.

bats_require_minimum_version 1.5.0

LARDER=${LARDER:-${top_builddir:?run by make, or set LARDER}/larder}

# The names of the environment that are the tool's, but for LARDER itself.
unset_settings() {
	local variable
	for variable in $(compgen -v LARDER_); do
		unset "$variable"
	done
	unset RUNTIME_DIRECTORY CREDENTIALS_DIRECTORY NO_COLOR
}

# A space that keeps names, one that does not, and short times.
write_spaces() {
	cat > "$BATS_TEST_TMPDIR/spaces.json" <<-'END'
	{ "spaces": { "named": { "names": true, "ttl": "1h" }, "secret": { "names": false } } }
	END
}

common_setup() {
	unset_settings
	umask 077
	export TERM=xterm LC_ALL=C.UTF-8
	export LARDER_DIR="$BATS_TEST_TMPDIR/cache"
	export LARDER_SECRET_FILE="$BATS_TEST_TMPDIR/secret"
	export LARDER_SPACES_FILE="$BATS_TEST_TMPDIR/spaces.json"
	export LARDER_SIZE=8M LARDER_WORKERS=16 LARDER_TENANTS=16
	printf 'a-secret-for-tests-of-the-tool-0123456789\n' > "$LARDER_SECRET_FILE"
	write_spaces
}

setup() {
	common_setup
}

has_sanitizer() {
	local program="${top_builddir:-.}/.libs/larder"
	[ -e "$program" ] && ldd "$program" 2>/dev/null | grep -qE 'lib(asan|tsan)'
}

# exits_within KB CODE COMMAND...: as exits, of a larder that is refused more memory. A sanitizer maps terabytes: there is no limit beside it.
exits_within() {
	local limit="ulimit -v $1;" code=$2
	shift 2
	has_sanitizer && limit=
	exits "$code" bash -c "$limit"' exec timeout 60 "$@"' bash "$LARDER" "$@"
}

# The allocator of the address sanitizer may be locked by another thread at fork, for ever in the child: no forks from a process with threads.
skip_where_fork_may_hang() {
	if has_sanitizer; then
		skip 'a sanitizer cannot fork beside threads'
	fi
}

# Processes that a test put into the background: end them whatever happened.
teardown() {
	local pid
	for pid in ${background_pids:-}; do
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
}

larder() {
	"$LARDER" "$@"
}

# start NAME COMMAND...: in the background, with NAME.out and NAME.err; its pid is in started_pid.
start() {
	local name=$1
	shift
	"$@" > "$BATS_TEST_TMPDIR/$name.out" 2> "$BATS_TEST_TMPDIR/$name.err" 3>&- &
	started_pid=$!
	background_pids="${background_pids:-} $started_pid"
}

# ends PID CODE: the process ends by itself, with this exit code.
ends() {
	local code=0
	wait "$1" || code=$?
	[ "$code" -eq "$2" ] || fail "exit code $code, expected $2"
}

# until_true COMMAND...: try again until it succeeds, for a minute at most.
until_true() {
	local end=$((SECONDS + 60))
	until "$@" > /dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || fail "not within a minute: $*"
	done
}

fail() {
	printf '%s\n' "$@" >&2
	return 1
}

# exits CODE COMMAND...: run it, with output and stderr apart.
exits() {
	local code=$1
	shift
	run --separate-stderr "$@"
	[ "$status" -eq "$code" ] || fail "exit code $status, expected $code: $*" "$output" "$stderr"
}

contains() {
	[[ $1 == *"$2"* ]] || fail "no '$2' in:" "$1"
}

lacks() {
	[[ $1 != *"$2"* ]] || fail "there is '$2' in:" "$1"
}

equal() {
	[ "$1" = "$2" ] || fail "'$1' is not '$2'"
}

# between NUMBER LOW HIGH, both included.
between() {
	[ "$1" -ge "$2" ] || fail "$1 is below $2"
	[ "$1" -le "$3" ] || fail "$1 is above $3"
}

# json PATH: the value at a path such as .cache.entries or .0.name of the JSON on stdin; "(none)" when there is none. Fails when the
# input is no JSON.
json() {
	perl -MJSON::PP -e '
		local $/;
		binmode STDOUT, ":utf8";
		my $value = JSON::PP->new->utf8->allow_nonref->decode(<STDIN>);
		for my $step (grep { length } split /\./, shift) {
			$value = ref $value eq "ARRAY" ? $value->[$step] : ref $value eq "HASH" ? $value->{$step} : undef;
		}
		print ref $value eq "ARRAY" ? scalar @$value : JSON::PP::is_bool($value) ? ($value ? "true" : "false") : $value // "(none)", "\n";
	' -- "$1"
}

# On a terminal of its own: what it prints there, both streams together.
on_terminal() {
	local command
	printf -v command '%q ' "$@"
	script -qec "$command" /dev/null < /dev/null
}

# entries [OPTION...]: how many entries a dump lists.
entries() {
	larder dump --json "$@" | wc -l
}
