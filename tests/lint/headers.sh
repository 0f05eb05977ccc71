# SPDX-License-Identifier: MIT
# Every header compiles alone, twice in one file, without a warning; the public ones in C++ too, and in C of 1999.

. "$top_srcdir/tests/lib/tap.sh"
if ! here=$(mktemp -d "${TMPDIR:-/tmp}/larder-headers.XXXXXX"); then
	exit 99
fi
trap 'rm -rf "$here"' EXIT
cd "$top_srcdir" || exit 99
warnings='-Wall -Wextra -Werror -Wpedantic'

# try TEXT SUFFIX HEADER COMPILER FLAG...
try() {
	text=$1
	printf '#include <%s>\n#include <%s>\nint larder_lint;\n' "$3" "$3" > "$here/try.$2"
	shift 3
	nothing "$text" "$("$@" -fsyntax-only "$here"/try.* 2>&1)"
	rm -f "$here"/try.*
}

for header in larder/larder.h larder/inspect.h; do
	try "<$header> alone, C11" c $header $CC -std=c11 $warnings -Wshadow -Iinclude
	try "<$header> alone, C99" c $header $CC -std=c99 $warnings -Wshadow -Iinclude
	if [ -n "$CXX" ]; then
		try "<$header> alone, C++11" cc $header $CXX -std=c++11 $warnings -Iinclude
		try "<$header> alone, C++20" cc $header $CXX -std=c++20 $warnings -Iinclude
	else
		skip "<$header> alone, C++" 'there is no C++ compiler'
	fi
done

for header in $(find src -name '*.h' | sort); do
	own=${header#src/}
	try "$own alone" c "$own" $CC -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -Iinclude -Isrc $LINT_CPPFLAGS
	try "$own alone, with fault points" c "$own" $CC -std=gnu11 -D_GNU_SOURCE -DLARDER_FAULTS -Wall -Wextra -Werror \
		-Iinclude -Isrc $LINT_CPPFLAGS
done
for header in $(find tools -name '*.h' | sort); do
	try "$header alone" c "$(basename "$header")" $CC -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -Iinclude \
		"-I$(dirname "$header")" $LINT_CPPFLAGS
done
finish
