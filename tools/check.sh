#!/bin/sh
# SPDX-License-Identifier: MIT
# Set up where something is missing, build, and run the whole test suite. The last line is "N passed, N failed", and ", N skipped" if any
# were; each case of a test program counts.
#
#   sh tools/check.sh                                in build/
#   sh tools/check.sh --sanitizer=address,undefined  the same but for the lints, in build-asan/
#   sh tools/check.sh --sanitizer=thread             the tests that have threads, in build-tsan/
#   sh tools/check.sh --valgrind                     the unit tests under valgrind, in build/
#
# LARDER_TEST_DEADLINE  seconds that one test program may take, 600
# LARDER_TEST_LONG=1    the long form of the tests that have one
set -u
cd "$(dirname "$0")/.." || exit 1
. tools/setup.sh

usage() {
	sed -n 's/^# \{0,1\}//; 4,11p' "$0"
}

# The end of a run that could not build.
broken() {
	echo "check: $1; nothing was tested" >&2
	echo '0 passed, 1 failed'
	exit 1
}

dir=build flags= target=check packages="$setup_build_packages $setup_test_packages"
for option in "$@"; do
	case $option in
	--sanitizer=thread) dir=build-tsan flags=--with-sanitizer=thread target=check-threads ;;
	--sanitizer=*address*) dir=build-asan flags="--with-sanitizer=${option#*=}" target=check-code ;;
	--sanitizer=?*) dir=build-$(echo "${option#*=}" | tr , -) flags="--with-sanitizer=${option#*=}" ;;
	--valgrind) target=check-valgrind packages="$packages $setup_valgrind_packages" ;;
	--help) usage && exit 0 ;;
	*) usage >&2 && exit 2 ;;
	esac
done

# Some kernels place memory where ThreadSanitizer of this age cannot have it; without address randomisation it can.
runner=
if [ "$target" = check-threads ] && setarch "$(uname -m)" -R true 2> /dev/null; then
	runner="setarch $(uname -m) -R"
fi

# shellcheck disable=SC2086
{
	setup_packages $packages || broken 'packages are missing'
	case $target in
	check | check-code) setup_nginx ;;
	esac
	setup_configure "$dir" $flags || broken 'it could not be configured'
}
setup_say "make in $dir"
setup_make "$dir" all || broken 'the build failed'
setup_make "$dir" check TESTS= > "$dir/check-build.log" 2>&1 || {
	cat "$dir/check-build.log"
	broken 'the build of the tests failed'
}

find "$dir/tests" -type f \( -name '*.trs' -o -name '*.log' \) -exec rm -f {} +
setup_say "make $target in $dir"
# shellcheck disable=SC2086
$runner make -C "$dir" -k -j "$(setup_cores)" --no-print-directory "$target" < /dev/null
status=$?

# The log of every program with a case that failed, cut to what can be read.
results=$(find "$dir/tests" -name '*.trs' | sort)
for result in $results; do
	if grep -qE '^:test-result: (FAIL|XPASS|ERROR)' "$result"; then
		log=${result%.trs}.log
		echo
		echo "== $log"
		if [ "$(wc -l < "$log")" -gt 400 ]; then
			grep -nE '^(not ok|#|Bail out)' "$log" | head -n 200
			echo "... the last of $(wc -l < "$log") lines:"
		fi
		tail -n 200 "$log" | grep -vE '^(PASS|FAIL|SKIP|XFAIL|XPASS): '
	fi
done

echo
# shellcheck disable=SC2086
[ -n "$results" ] && cat $results | awk -v status="$status" '
	/^:test-result: (PASS|XFAIL)/ { passed++ }
	/^:test-result: (FAIL|XPASS|ERROR)/ { failed++ }
	/^:test-result: SKIP/ { skipped++ }
	END {
		if (status != 0 && !failed) {
			print "check: make failed although no test did"
			failed = 1
		}
		printf "%d passed, %d failed%s\n", passed, failed, skipped ? ", " skipped " skipped" : ""
		exit failed != 0
	}' && exit 0
[ -n "$results" ] || broken 'no test has run'
exit 1
