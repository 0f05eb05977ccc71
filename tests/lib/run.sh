# SPDX-License-Identifier: MIT
# Run one test program with a deadline: a test that hangs is a failed test, not a hung suite.
#
#   sh tests/lib/run.sh COMMAND [ARGUMENT...]
#
# LARDER_TEST_DEADLINE  seconds, 600 if it is not set
#
# cmocka 1.1 writes a skipped test as "not ok N # SKIP"; TAP wants "ok N # SKIP".

deadline=${LARDER_TEST_DEADLINE:-600}

# The filter's output goes to our own, as descriptor 3; the exit code of the program comes back as text.
exec 3>&1
status=$({
	{
		timeout -k 10 "$deadline" "$@" 3>&- 4>&-
		echo $? >&4
	} | sed -u 's/^not ok \([0-9]*\) # SKIP/ok \1 # SKIP/' >&3
} 4>&1)
exec 3>&-

if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
	echo "Bail out! no end after $deadline seconds, or killed: $*"
fi
exit "$status"
