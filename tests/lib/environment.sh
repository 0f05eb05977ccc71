# SPDX-License-Identifier: MIT
# Sourced by make before each test, with top_srcdir, top_builddir and what configure found set. It takes the caller's settings out
# of the environment, so that a test sees only its own.

for larder_variable in $(env | "$SED" -n 's/^\(LARDER_[A-Z0-9_]*\)=.*/\1/p'); do
	case $larder_variable in
	LARDER_TEST_*) ;;
	*) unset "$larder_variable" ;;
	esac
done
unset larder_variable RUNTIME_DIRECTORY CREDENTIALS_DIRECTORY NO_COLOR

CMOCKA_MESSAGE_OUTPUT=TAP
LC_ALL=C.UTF-8
TZ=UTC
# A finding of a sanitizer fails the test that made it.
ASAN_OPTIONS="detect_leaks=1:abort_on_error=0:exitcode=99${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"
TSAN_OPTIONS="halt_on_error=0:exitcode=99:die_after_fork=0:second_deadlock_stack=1${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
export top_srcdir top_builddir CC CXX NM SED LINT_CPPFLAGS PACKAGE_VERSION
export CMOCKA_MESSAGE_OUTPUT LC_ALL TZ ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
