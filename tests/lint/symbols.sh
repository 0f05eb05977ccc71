# SPDX-License-Identifier: MIT
# The symbols that others see: what liblarder.so exports is tests/lint/exported-symbols, which is what the public headers declare;
# the static library has no global name outside larder_ and ld_.

. "$top_srcdir/tests/lib/tap.sh"
list=$top_srcdir/tests/lint/exported-symbols
shared=$top_builddir/.libs/liblarder.so
archive=$top_builddir/.libs/liblarder.a
if ! here=$(mktemp -d "${TMPDIR:-/tmp}/larder-symbols.XXXXXX"); then
	exit 99
fi
trap 'rm -rf "$here"' EXIT

# Two sorted lists that should be one: what is only in one of them.
differ() {
	comm -23 "$1" "$2" | sed "s/^/only $3: /"
	comm -13 "$1" "$2" | sed "s/^/only $4: /"
}

LC_ALL=C
export LC_ALL
sort -u "$list" > "$here/listed"
sed -n '/^LARDER_API/s/^[^(]*[ *]\(larder_[a-z0-9_]*\)(.*/\1/p' "$top_srcdir"/include/larder/*.h | sort -u > "$here/declared"
sed -n '/^LARDER_API/s/^.*[ *]\(larder_[a-z0-9_]*\)$/\1/p' "$top_srcdir"/include/larder/*.h >> "$here/declared"
sort -u -o "$here/declared" "$here/declared"

nothing 'the list is sorted and has each name once' "$(cmp "$list" "$here/listed" 2>&1)"
nothing 'the list is what the headers declare' "$(differ "$here/listed" "$here/declared" 'in the list' 'in the headers')"

if [ -f "$shared" ]; then
	$NM -D --defined-only "$shared" | awk '$2 != "A" { print $NF }' | sed 's/@.*//' | sort -u > "$here/exported"
	nothing 'liblarder.so exports the list, and nothing else' "$(differ "$here/listed" "$here/exported" 'in the list' 'in the library')"
	nothing 'every exported symbol has the version LARDER_0.1' \
		"$($NM -D --defined-only "$shared" | awk '$2 != "A" { print $NF }' | grep -v '@@LARDER_0\.1$')"
	nothing 'the library names no symbol of its own from elsewhere' \
		"$($NM -D --undefined-only "$shared" | awk '{ print $NF }' | grep -E '^(larder|ld)_')"
else
	skip 'liblarder.so exports the list, and nothing else' 'configured without a shared library'
fi

if [ -f "$archive" ]; then
	$NM -g --defined-only "$archive" 2> "$here/errors" | awk 'NF == 3 { print $3 }' | sort -u > "$here/global"
	# What a compiler makes for sanitizers, coverage or position-independent code is not ours.
	nothing 'the static library shows only larder_ and ld_ names' \
		"$(grep -vE '^(larder|ld)_|^__(asan|odr_asan|ubsan|tsan|sanitizer|llvm|gcov|x86\.get_pc|sancov|start___|stop___|odr)' "$here/global")"
	if grep -q '^larder_open$' "$here/global"; then
		ok 'the static library has the public calls'
	else
		not_ok 'the static library has the public calls' "$(cat "$here/errors")"
	fi
else
	skip 'the static library shows only larder_ and ld_ names' 'configured without a static library'
fi
finish
