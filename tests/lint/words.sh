# SPDX-License-Identifier: MIT
# Words that do not land: notes of unfinished work, bare asserts, sleeps in tests, paths of somebody's machine; and a licence line first.

. "$top_srcdir/tests/lib/tap.sh"
cd "$top_srcdir" || exit 99
# In two halves, so that this file does not find itself.
unfinished='TO''DO|FIX''ME|XX''X|HA''CK'

files=$(find include src tools tests -type f \( -name '*.[ch15]' -o -name '*.3' -o -name '*.8' -o -name '*.sh' -o -name '*.bats' -o -name '*.def' \
	-o -name '*.mk' -o -name '*.md' -o -name '*.in' -o -name '*.awk' \) ! -path '*/.libs/*' ! -path src/cache/larder.5 | sort)
code=$(echo "$files" | grep -E '\.[ch]$')
tests=$(echo "$files" | grep -E '^tests/.*\.(c|h|bats|sh)$' | grep -v -e '^tests/lint/words\.sh$' -e '^tests/bench/')

nothing 'nothing is marked as unfinished' "$(grep -nwE "$unfinished" configure.ac Makefile.am $files)"
nothing 'no bare assert in the library or the tools' "$(grep -nE '(^|[^_a-z])assert\(|<assert\.h>' $(echo "$code" | grep -E '^(src|tools)/'))"
# A poll with a deadline may nap for a moment; nobody waits for whole seconds and hopes.
nothing 'no sleep in tests' "$(grep -nE '(^|[^_a-z>.])sleep(\(| +[0-9.]*[1-9][0-9]*( |$|;)| +[1-9])' $tests | grep -vE 'sleep 0?\.[0-9]' |
	grep -vE '^[^:]*:[0-9]*:[[:space:]]*(#|\*|//|/\*)')"
nothing 'no call that ends the process in the library' \
	"$(grep -nE '(^|[^_a-z])(_?exit|abort|quick_exit)\(' $(echo "$code" | grep '^src/'))"
nothing 'the library does not print' "$(grep -nE '(^|[^_a-z])(printf|puts|putchar|perror|psignal)\(|\b(stdout|stderr)\b' \
	$(echo "$code" | grep '^src/') | grep -vE ':[[:space:]]*(/?\*)')"
nothing 'a licence line first' "$(for file in $files; do
	head -n 2 "$file" | grep -q 'SPDX-License-Identifier: MIT' || echo "$file"
done)"
nothing 'no blank at the end of a line' "$(grep -nE '[ 	]+$' $files)"
finish
