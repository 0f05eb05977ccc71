# SPDX-License-Identifier: MIT
# What a user does first: install into a DESTDIR, compile the README's example against it with pkg-config, run it twice; compile those of
# liblarder(3); then uninstall, which leaves no file behind.

. "$top_srcdir/tests/lib/tap.sh"
if ! here=$(mktemp -d "${TMPDIR:-/tmp}/larder-example.XXXXXX"); then
	exit 99
fi
trap 'rm -rf "$here"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL
build=$(cd "$top_builddir" && pwd)

if $NM -D "$build/.libs/liblarder.so" | grep -q '__[atu]b*san_'; then
	skip 'install and example' 'a sanitizer build cannot be linked by a plain compiler call'
	finish
	exit 0
fi

if make -s -C "$build" install DESTDIR="$here/root" > "$here/log" 2>&1; then
	ok 'make install DESTDIR='
else
	not_ok 'make install DESTDIR=' "$(tail -n 20 "$here/log")"
fi

pc=$(find "$here/root" -name larder.pc)
prefix=$(sed -n 's/^prefix=//p' "$pc")
PKG_CONFIG_PATH=$(dirname "$pc") PKG_CONFIG_SYSROOT_DIR=$here/root
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
flags=$(pkg-config --cflags --libs larder 2>&1)
# With the prefix /usr pkg-config takes the paths for the system's own and leaves them out.
flags="-I$here/root$prefix/include -L$(dirname "$(dirname "$pc")") $flags"

sed -n '/^```c$/,/^```$/p' "$top_srcdir/README.md" | sed '1d;$d' > "$here/server.c"
# shellcheck disable=SC2086
nothing 'the example of the README compiles' "$($CC -std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Werror "$here/server.c" $flags -o "$here/server" 2>&1)"

(umask 077 && head -c 32 /dev/urandom | base64 > "$here/secret")
LD_LIBRARY_PATH=$(dirname "$(dirname "$pc")") LARDER_SECRET_FILE=$here/secret LARDER_DIR=$here/cache LARDER_SIZE=4M
export LD_LIBRARY_PATH LARDER_SECRET_FILE LARDER_DIR LARDER_SIZE
"$here/server" > "$here/first" 2>&1
nothing 'it runs' "$([ $? -eq 0 ] || cat "$here/first")"
if [ "$(grep -c '^loading theme$' "$here/first")" = 1 ] && [ "$(grep -c '^dark$' "$here/first")" = 4 ]; then
	ok 'four workers have loaded once'
else
	not_ok 'four workers have loaded once' "$(cat "$here/first")"
fi
if [ "$("$here/server" 2>&1 | sort -u)" = dark ]; then
	ok 'and finds at its second start what it stored at the first'
else
	not_ok 'and finds at its second start what it stored at the first' "$("$here/server" 2>&1)"
fi

# Each block of the page that begins with an #include.
awk -v to="$here/page" '
	/^\.Bd -literal/ { inside = 1; first = 1; next }
	/^\.Ed/ { inside = 0; next }
	inside && first { first = 0; count++; file = /^#include/ ? to count ".c" : "/dev/null" }
	inside { gsub(/\\e/, "\\"); print > file }' "$top_srcdir/src/cache/liblarder.3"
for page in "$here"/page*.c; do
	# shellcheck disable=SC2086
	nothing "an example of liblarder(3) compiles" "$($CC -std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Werror -c "$page" $flags -o "$page.o" 2>&1)"
done

make -s -C "$build" uninstall DESTDIR="$here/root" > "$here/log" 2>&1
nothing 'make uninstall leaves no file' "$(find "$here/root" -type f -o -type l)"
finish
