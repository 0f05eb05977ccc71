# SPDX-License-Identifier: MIT
# Every file of the tree is named in a list of the build, so that it is compiled, run or at least distributed. Only for a checkout:
# a distribution has nothing else by construction.

. "$top_srcdir/tests/lib/tap.sh"
cd "$top_srcdir" || exit 99

# The fragments as words, one a line.
words=$(cat Makefile.am $(find include src tests tools -name local.mk) | tr -s ' \t\\' '\n\n\n' | sort -u)

nothing 'every file is named in a fragment' "$(find include src tests tools -type f ! -path 'tests/fuzz/corpus/*' ! -name local.mk \
	! -name '*.in' ! -name '*.o' ! -name '*.lo' ! -name '*.log' ! -name '*.trs' ! -name '.dirstamp' ! -path '*/.deps/*' \
	! -path '*/.libs/*' ! -path src/cache/larder.5 ! -perm -u+x | sort | while read -r file; do
	echo "$words" | grep -qxF "$file" && continue
	# The plain twin of a unit test has its source by automake's rule: the name of the program and .c.
	echo "$words" | grep -qxF "${file%.c}" && continue
	echo "$file"
done)"

nothing 'every unit test has a twin with fault points' "$(echo "$words" | grep '^tests/unit/test_' | grep -v -e '-fault$' -e '\.c$' |
	while read -r test; do
		grep -q "^tool_tests += $test\$" tests/unit/local.mk && continue
		echo "$words" | grep -qxF "$test-fault" || echo "$test"
	done)"
finish
